/* See arena.h. */
#include "engine/arena.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "common/checked.h"

enum { PAGE = 4096, LARGE_PAGE = 1 << 21 };

static int64_t round_up(int64_t n, int64_t to) {
    return (n + to - 1) / to * to;
}

int dukd_block_reserve(dukd_block *b, int64_t bytes, int keep, dukd_memory_count *count, const char *what,
                       dukd_failure *f) {
    if (bytes <= b->bytes) return DUKD_DONE;
    if (bytes > INT64_MAX / 2) return dukd_fail_memory(f, what, (unsigned long long)bytes);
    if (!keep) dukd_block_free(b, count);
    int64_t align = bytes >= LARGE_PAGE ? LARGE_PAGE : PAGE, size = round_up(bytes, align);
    char *data = aligned_alloc((size_t)align, (size_t)size);
    if (!data) return dukd_fail_memory(f, what, (unsigned long long)size);
    if (align == LARGE_PAGE) madvise(data, (size_t)size, MADV_HUGEPAGE); /* a hint: it may fail */
    count->now += size;
    if (count->now > count->peak) count->peak = count->now;
    if (b->data) memcpy(data, b->data, (size_t)b->bytes);
    dukd_block_free(b, count);
    *b = (dukd_block){.data = data, .bytes = size};
    return DUKD_DONE;
}

void dukd_block_free(dukd_block *b, dukd_memory_count *count) {
    count->now -= b->bytes;
    free(b->data);
    *b = (dukd_block){0};
}

int dukd_grow(void **array, int32_t count, int32_t *room, size_t element, dukd_failure *f) {
    if (count < *room) return DUKD_DONE;
    if (count > INT32_MAX / 2) return dukd_fail_memory(f, "compiling a network", SIZE_MAX);
    const int32_t wanted = count ? 2 * count : 32;
    void *larger = realloc(*array, (size_t)wanted * element);
    if (!larger) return dukd_fail_memory(f, "compiling a network", (size_t)wanted * element);
    *array = larger;
    *room = wanted;
    return DUKD_DONE;
}

static int larger_first(const void *a, const void *b) {
    const dukd_buffer *x = *(dukd_buffer *const *)a, *y = *(dukd_buffer *const *)b;
    if (x->bytes != y->bytes) return x->bytes < y->bytes ? 1 : -1;
    return x < y ? -1 : 1; /* the same plan whatever qsort does */
}

static int by_offset(const void *a, const void *b) {
    const dukd_buffer *x = *(dukd_buffer *const *)a, *y = *(dukd_buffer *const *)b;
    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

/* The smallest gap between `n` neighbours sorted by offset that holds `bytes`; else behind the last. */
static int64_t best_gap(dukd_buffer *const *neighbours, int32_t n, int64_t bytes) {
    int64_t end = 0, best = -1, best_size = INT64_MAX;
    for (int32_t i = 0; i < n; i++) {
        int64_t gap = neighbours[i]->offset - end;
        if (gap >= bytes && gap < best_size) {
            best = end;
            best_size = gap;
        }
        int64_t behind = neighbours[i]->offset + round_up(neighbours[i]->bytes, PAGE);
        if (behind > end) end = behind;
    }
    return best >= 0 ? best : end;
}

int dukd_arena_plan(dukd_buffer *buffers, int32_t count, int64_t *total, dukd_failure *f) {
    *total = 0;
    if (count <= 0) return DUKD_DONE;
    int64_t sum = 0;
    for (int32_t i = 0; i < count; i++)
        if (!dukd_checked_add(sum, buffers[i].bytes, &sum) || sum > INT64_MAX / 4)
            return dukd_fail(
                f, DUKD_MISUSED,
                "a network compiled for images this large needs more memory than can be addressed");

    dukd_buffer **order = malloc(2 * (size_t)count * sizeof(dukd_buffer *));
    if (!order) return dukd_fail_memory(f, "planning memory", 2 * (size_t)count * sizeof(dukd_buffer *));
    dukd_buffer **neighbours = order + count;
    for (int32_t i = 0; i < count; i++) order[i] = &buffers[i];
    qsort(order, (size_t)count, sizeof *order, larger_first);
    for (int32_t i = 0; i < count; i++) {
        int32_t n = 0;
        for (int32_t k = 0; k < i; k++)
            if (order[k]->first <= order[i]->last && order[k]->last >= order[i]->first)
                neighbours[n++] = order[k];
        qsort(neighbours, (size_t)n, sizeof *neighbours, by_offset);
        order[i]->offset = best_gap(neighbours, n, round_up(order[i]->bytes, PAGE));
        int64_t end = order[i]->offset + round_up(order[i]->bytes, PAGE);
        if (end > *total) *total = end;
    }
    free(order);
    return DUKD_DONE;
}
