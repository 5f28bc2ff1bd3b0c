/* Device memory. Blocks are the engine's own and are allocated while networks are compiled; arrays are others' and go through a pool, so
 * that a step that takes and gives back arrays allocates nothing after the first time. */
#include <cuda_runtime_api.h>
#include <stdlib.h>
#include <string.h>

#include "engine/cuda/gpu_state.h"

enum { ALIGNMENT = 256, COARSE = 1 << 20 };

static int64_t round_up(int64_t n, int64_t to) {
    return (n + to - 1) / to * to;
}

/* ---- from the device ---- */

int gpu_array_give_up_unused(gpu_engine *e) {
    int freed = 0;
    for (int32_t i = 0; i < e->array_count; i++) {
        gpu_array *a = &e->arrays[i];
        if (a->used || a->held) continue;
        if (cudaFree(a->data) != cudaSuccess) (void)cudaGetLastError();
        e->memory.now -= a->bytes;
        *a = e->arrays[--e->array_count];
        i--;
        freed = 1;
    }
    return freed;
}

static int take(gpu_engine *e, int64_t bytes, const char *what, void **out, dukd_failure *f) {
    if (e->recording)
        return dukd_fail(f, DUKD_FAILED, "a recorded step needs memory that it did not have before: %s",
                         what);
    cudaError_t status = cudaMalloc(out, (size_t)bytes);
    if (status == cudaErrorMemoryAllocation && gpu_array_give_up_unused(e)) {
        (void)cudaGetLastError();
        status = cudaMalloc(out, (size_t)bytes);
    }
    if (status == cudaErrorMemoryAllocation) {
        (void)cudaGetLastError();
        return dukd_fail(
            f, DUKD_FAILED,
            "the CUDA device is out of memory: there is no room for %s (%lld MiB) beside the %lld MiB that "
            "this engine holds: use a smaller batch, smaller patches or tiles, or a device that others do "
            "not use",
            what, (long long)((bytes >> 20) + 1), (long long)(e->memory.now >> 20));
    }
    if (status != cudaSuccess) return gpu_check((int)status, what, f);
    e->memory.now += bytes;
    if (e->memory.now > e->memory.peak) e->memory.peak = e->memory.now;
    return DUKD_DONE;
}

/* ---- blocks ---- */

void gpu_block_free(gpu_engine *e, dukd_block *b) {
    e->memory.now -= b->bytes;
    /* Waits for the device, so that work in progress may still use it. */
    if (b->data && cudaFree(b->data) != cudaSuccess) (void)cudaGetLastError();
    *b = (dukd_block){0};
}

/* Recordings have the block's address in them. */
int gpu_block_retire(gpu_engine *e, dukd_block *b, dukd_failure *f) {
    if (!b->data) return DUKD_DONE;
    if (!e->recordings) {
        gpu_block_free(e, b);
        return DUKD_DONE;
    }
    void *retired = e->retired;
    const int status = dukd_grow(&retired, e->retired_count, &e->retired_room, sizeof *e->retired, f);
    e->retired = retired;
    if (status != DUKD_DONE) return status;
    e->retired[e->retired_count++] = *b;
    *b = (dukd_block){0};
    return DUKD_DONE;
}

int gpu_block_reserve(gpu_engine *e, dukd_block *b, int64_t bytes, const char *what, dukd_failure *f) {
    if (bytes <= b->bytes) return DUKD_DONE;
    if (bytes > INT64_MAX / 2) return dukd_fail_memory(f, what, (unsigned long long)bytes);
    int status = e->recording ? DUKD_DONE : gpu_block_retire(e, b, f);
    const int64_t size = round_up(bytes, ALIGNMENT);
    void *data = NULL;
    if (status == DUKD_DONE) status = take(e, size, what, &data, f);
    if (status != DUKD_DONE) return status;
    *b = (dukd_block){.data = data, .bytes = size};
    return DUKD_DONE;
}

/* ---- arrays ---- */

int gpu_array_take(gpu_engine *e, int64_t bytes, const char *what, void **out, dukd_failure *f) {
    if (bytes > INT64_MAX / 2) return dukd_fail_memory(f, what, (unsigned long long)bytes);
    const int64_t size = bytes <= 0 ? ALIGNMENT : round_up(bytes, bytes < COARSE ? ALIGNMENT : COARSE / 8);
    for (int32_t i = 0; i < e->array_count; i++) {
        gpu_array *a = &e->arrays[i];
        if (a->used || (a->held && a->held != e->recording) || a->bytes != size) continue;
        a->used = 1;
        *out = a->data;
        return DUKD_DONE;
    }
    void *arrays = e->arrays, *data = NULL;
    int status = dukd_grow(&arrays, e->array_count, &e->array_room, sizeof *e->arrays, f);
    e->arrays = arrays;
    if (status == DUKD_DONE) status = take(e, size, what, &data, f);
    if (status != DUKD_DONE) return status;
    e->arrays[e->array_count++] = (gpu_array){.data = data, .bytes = size, .used = 1};
    *out = data;
    return DUKD_DONE;
}

/* What was asked for before is done with it before what the next owner asks for: one stream. But what a recording has used it uses again
 * with each replay: only that recording finds it. */
void gpu_array_give(gpu_engine *e, void *p) {
    for (int32_t i = 0; i < e->array_count; i++) {
        if (e->arrays[i].data != p) continue;
        e->arrays[i].used = 0;
        if (e->recording) e->arrays[i].held = e->recording;
        return;
    }
}

/* ---- staging ---- */

static int make_slots(gpu_engine *e, dukd_failure *f) {
    for (int32_t i = 0; i < GPU_SLOTS; i++) {
        cudaError_t status = cudaSuccess;
        if (!e->slot[i]) status = cudaHostAlloc(&e->slot[i], GPU_SLOT_BYTES, cudaHostAllocDefault);
        if (status != cudaSuccess) {
            e->slot[i] = NULL;
            return gpu_check((int)status, "allocating pinned memory", f);
        }
        cudaEvent_t event = NULL;
        if (!e->slot_read[i]) {
            status = cudaEventCreateWithFlags(&event, cudaEventDisableTiming);
            if (status != cudaSuccess) return gpu_check((int)status, "making an event", f);
            e->slot_read[i] = event;
        }
    }
    return DUKD_DONE;
}

int gpu_upload(gpu_engine *e, void *to, const void *from, int64_t bytes, dukd_failure *f) {
    if (e->recording)
        return dukd_fail(f, DUKD_FAILED, "the processor's memory is uploaded inside of a recorded step");
    int status = make_slots(e, f);
    for (int64_t done = 0; done < bytes && status == DUKD_DONE;) {
        const int64_t part = bytes - done < GPU_SLOT_BYTES ? bytes - done : GPU_SLOT_BYTES;
        const int32_t i = e->next_slot;
        e->next_slot = (i + 1) % GPU_SLOTS;
        status = gpu_check((int)cudaEventSynchronize(e->slot_read[i]), "waiting for an upload", f);
        if (status != DUKD_DONE) break;
        memcpy(e->slot[i], (const char *)from + done, (size_t)part);
        status = gpu_check((int)cudaMemcpyAsync((char *)to + done, e->slot[i], (size_t)part,
                                                cudaMemcpyHostToDevice, e->stream),
                           "uploading", f);
        if (status == DUKD_DONE)
            status = gpu_check((int)cudaEventRecord(e->slot_read[i], e->stream), "recording an event", f);
        done += part;
    }
    return status;
}

void gpu_memory_close(gpu_engine *e) {
    for (int32_t i = 0; i < e->array_count; i++)
        if (cudaFree(e->arrays[i].data) != cudaSuccess) (void)cudaGetLastError();
    free(e->arrays);
    for (int32_t i = 0; i < e->retired_count; i++) gpu_block_free(e, &e->retired[i]);
    free(e->retired);
    for (int32_t i = 0; i < GPU_SLOTS; i++) {
        if (e->slot[i] && cudaFreeHost(e->slot[i]) != cudaSuccess) (void)cudaGetLastError();
        if (e->slot_read[i] && cudaEventDestroy(e->slot_read[i]) != cudaSuccess) (void)cudaGetLastError();
    }
}
