/* What the host offers is tried: memory, threads, log, shapes. */
#include <math.h>
#include <string.h>

#include "spy.h"

/* ---- memory ---- */

static void try_memory(const dukd_host *h, int32_t device) {
    static const uint64_t sizes[] = {1, 100, 4096, 1 << 20, 3, 65537}, aligns[] = {1, 64, 4096, 64, 16, 256};
    enum { BLOCKS = 6 };
    uint8_t *p[BLOCKS];
    for (int i = 0; i < BLOCKS; i++) {
        p[i] = h->alloc(h->ctx, device, 0, sizes[i], aligns[i], NULL);
        if (!p[i]) {
            spy_wrong("memory", "alloc of %llu bytes gives NULL", (unsigned long long)sizes[i]);
            return;
        }
        if ((uintptr_t)p[i] % aligns[i])
            spy_wrong("memory", "alloc of %llu bytes is not aligned to %llu", (unsigned long long)sizes[i],
                      (unsigned long long)aligns[i]);
        memset(p[i], i + 1, sizes[i]);
    }
    for (int i = 0; i < BLOCKS; i++)
        for (uint64_t b = 0; b < sizes[i]; b++)
            if (p[i][b] != i + 1) {
                spy_wrong("memory", "two blocks of alloc share memory");
                return;
            }
    for (int i = 0; i < BLOCKS; i++) h->free(h->ctx, p[i], device, 0, NULL);
    spy_note("{\"call\": \"memory_tried\"}");
}

/* ---- threads ---- */

enum { TASKS = 500, WORKERS = 1024 };

typedef struct {
    atomic_int done[TASKS], busy[WORKERS], shared, outside;
    uint32_t workers;
} crew;

static void task(void *arg, uint32_t i, uint32_t worker) {
    crew *c = arg;
    if (i >= TASKS || worker >= c->workers) {
        atomic_store(&c->outside, 1);
        return;
    }
    if (atomic_exchange(&c->busy[worker], 1)) atomic_store(&c->shared, 1);
    volatile double x = i; /* some work, so that tasks overlap */
    for (int k = 0; k < 2000; k++) x = sqrt(x + k);
    atomic_fetch_add(&c->done[i], 1);
    atomic_store(&c->busy[worker], 0);
}

static void try_threads(const dukd_host *h) {
    static crew c; /* large; a host that makes two sessions at once is not asked for this */
    memset(&c, 0, sizeof c);
    c.workers = h->max_threads(h->ctx);
    if (c.workers < 1 || c.workers > WORKERS) {
        spy_wrong("threads", "max_threads is %u", c.workers);
        return;
    }
    h->parallel_for(h->ctx, TASKS, task, &c);
    int wrong = 0;
    for (int i = 0; i < TASKS; i++) wrong += atomic_load(&c.done[i]) != 1;
    if (atomic_load(&c.outside))
        spy_wrong("threads", "parallel_for gives an index or a worker that is too large");
    if (atomic_load(&c.shared))
        spy_wrong("threads", "parallel_for has two tasks at a time for the same worker");
    if (wrong)
        spy_wrong("threads", "parallel_for returns with %d of %d tasks not done once", wrong, (int)TASKS);
    h->parallel_for(h->ctx, 0, task, &c);
    spy_note("{\"call\": \"threads_tried\"}");
}

void spy_try_services(const dukd_session *s) {
    const dukd_host *h = &s->host;
    if (h->alloc && h->free) try_memory(h, s->device.device_type);
    if (h->parallel_for && h->max_threads) try_threads(h);
    if (h->should_cancel && h->should_cancel(h->ctx)) spy_wrong("limits", "should_cancel says so, unasked");
    if (h->get_extension && h->get_extension(h->ctx, "dukd.no-such-extension/1"))
        spy_wrong("limits", "get_extension gives something for a name that nobody has");
    if (h->log) h->log(h->ctx, DUKD_LOG_WARNING, SPY_WARNING);
}

/* ---- shapes ---- */

void spy_try_shapes(const dukd_session *s) {
    const dukd_host *h = &s->host;
    int64_t out[4];
    dukd_error why = {.struct_size = DUKD_ERROR_SIZE};
    dukd_tap tap = {.struct_size = DUKD_TAP_SIZE, .network = s->network[0], .layer = "no such layer"};
    if (h->tap_shape(h->ctx, &tap, s->lr_shape, out, &why) == 0)
        spy_wrong("tap-shape", "tap_shape knows a layer 'no such layer'");
    tap.layer = NULL;
    tap.from_layer = "no such layer";
    if (h->tap_shape(h->ctx, &tap, s->lr_shape, out, &why) == 0)
        spy_wrong("tap-shape", "tap_shape knows a layer 'no such layer' to start from");
    spy_note("{\"call\": \"shapes_tried\"}");
}
