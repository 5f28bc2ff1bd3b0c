/* Arrays of the processor, and of a backend that has memory of its own. */
#include "engine/arrays.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/engine_state.h"

/* ---------------------------------------------------------------- on the processor */

static int host_alloc(void *engine, int64_t bytes, const char *what, void **out, dukd_failure *f) {
    const size_t size = bytes > 0 ? ((size_t)bytes + 255) / 256 * 256 : 256;
    (void)engine;
    *out = aligned_alloc(256, size);
    if (!*out) return dukd_fail_memory(f, what, (unsigned long long)bytes);
    memset(*out, 0, size);
    return DUKD_DONE;
}

static void host_release(void *engine, void *p) {
    (void)engine;
    free(p);
}

static int host_copy(void *engine, void *to, const void *from, int64_t bytes, dukd_failure *f) {
    (void)engine;
    (void)f;
    if (bytes) memcpy(to, from, (size_t)bytes);
    return DUKD_DONE;
}

static int host_clear(void *engine, void *p, int64_t bytes, dukd_failure *f) {
    (void)engine;
    (void)f;
    if (bytes) memset(p, 0, (size_t)bytes);
    return DUKD_DONE;
}

static int host_wait(void *engine, dukd_failure *f) {
    (void)engine;
    (void)f;
    return DUKD_DONE;
}

static int host_add(void *engine, float *to, const float *from, int64_t count, dukd_failure *f) {
    float *restrict y = to;
    const float *restrict x = from;
    (void)engine;
    (void)f;
#pragma omp parallel for simd schedule(static)
    for (int64_t i = 0; i < count; i++) y[i] += x[i];
    return DUKD_DONE;
}

static int host_scale(void *engine, float *x, float factor, int64_t count, dukd_failure *f) {
    (void)engine;
    (void)f;
#pragma omp parallel for simd schedule(static)
    for (int64_t i = 0; i < count; i++) x[i] *= factor;
    return DUKD_DONE;
}

static int host_note_nonfinite(void *engine, const float *x, int64_t count, int32_t *flag, dukd_failure *f) {
    uint32_t bad = 0;
    (void)engine;
    (void)f;
#pragma omp parallel for simd schedule(static) reduction(| : bad)
    for (int64_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        bad |= (bits & 0x7f800000u) == 0x7f800000u;
    }
    if (bad) *flag = 1;
    return DUKD_DONE;
}

static int host_gather(void *engine, float *out, const float *x, const int64_t shape[4],
                       const int64_t strides[4], dukd_failure *f) {
    (void)engine;
    (void)f;
    for (int64_t n = 0; n < shape[0]; n++)
        for (int64_t c = 0; c < shape[1]; c++)
            for (int64_t h = 0; h < shape[2]; h++, out += shape[3]) {
                const float *row = x + n * strides[0] + c * strides[1] + h * strides[2];
                for (int64_t w = 0; w < shape[3]; w++) out[w] = row[w * strides[3]];
            }
    return DUKD_DONE;
}

static int host_scatter_add(void *engine, float *to, const float *x, const int64_t shape[4],
                            const int64_t strides[4], dukd_failure *f) {
    (void)engine;
    (void)f;
    for (int64_t n = 0; n < shape[0]; n++)
        for (int64_t c = 0; c < shape[1]; c++)
            for (int64_t h = 0; h < shape[2]; h++, x += shape[3]) {
                float *row = to + n * strides[0] + c * strides[1] + h * strides[2];
                for (int64_t w = 0; w < shape[3]; w++) row[w * strides[3]] += x[w];
            }
    return DUKD_DONE;
}

static int host_adam(void *engine, const dukd_optimizer_scalars *s, const int32_t *broken, const float *g,
                     float *m, float *v, float *w, int64_t count, dukd_failure *f) {
    const dukd_optimizer_scalars k = *s;
    float *restrict a = m, *restrict b = v, *restrict p = w;
    const float *restrict d0 = g;
    (void)engine;
    (void)f;
    if (broken && *broken) return DUKD_DONE;
#pragma omp parallel for simd schedule(static)
    for (int64_t i = 0; i < count; i++) {
        float d = d0[i];
        if (k.decay != 0) d += k.decay * p[i];
        a[i] += k.new_m * (d - a[i]);
        b[i] = b[i] * k.keep_v + k.new_v * d * d;
        p[i] += k.minus_step * a[i] / (sqrtf(b[i]) / k.root + k.eps);
    }
    return DUKD_DONE;
}

static int host_descend(void *engine, const dukd_optimizer_scalars *s, const int32_t *broken, const float *g,
                        float *w, int64_t count, dukd_failure *f) {
    const float rate = s->rate, decay = s->decay;
    float *restrict p = w;
    const float *restrict d0 = g;
    (void)engine;
    (void)f;
    if (broken && *broken) return DUKD_DONE;
#pragma omp parallel for simd schedule(static)
    for (int64_t i = 0; i < count; i++) {
        const float d = decay != 0 ? d0[i] + decay * p[i] : d0[i];
        p[i] -= rate * d;
    }
    return DUKD_DONE;
}

static int host_average(void *engine, const int32_t *broken, float *ema, const float *w, float keep,
                        float take, int64_t count, dukd_failure *f) {
    float *restrict y = ema;
    const float *restrict x = w;
    (void)engine;
    (void)f;
    if (broken && *broken) return DUKD_DONE;
#pragma omp parallel for simd schedule(static)
    for (int64_t i = 0; i < count; i++) y[i] = y[i] * keep + take * x[i];
    return DUKD_DONE;
}

const dukd_array_ops dukd_arrays_host = {
    .alloc = host_alloc,
    .release = host_release,
    .upload = host_copy,
    .download = host_copy,
    .copy = host_copy,
    .clear = host_clear,
    .wait = host_wait,
    .add = host_add,
    .scale = host_scale,
    .note_nonfinite = host_note_nonfinite,
    .gather = host_gather,
    .scatter_add = host_scatter_add,
    .adam = host_adam,
    .descend = host_descend,
    .average = host_average,
};

/* ---------------------------------------------------------------- of an engine */

static const dukd_array_ops *ops_of(const dukd_engine *e) {
    return e->backend->arrays ? e->backend->arrays : &dukd_arrays_host;
}

const dukd_engine_place *dukd_engine_get_place(const dukd_engine *e) {
    return &e->place;
}

/* OpenMP's thread count belongs to the calling thread: it is set for the length of a call and put back. */
#define RUN(call)                                                                                            \
    const int before = dukd_engine_enter(e);                                                                 \
    const int status = ops_of(e)->call;                                                                      \
    dukd_engine_leave(before);                                                                               \
    return status

int dukd_engine_alloc(dukd_engine *e, int64_t bytes, const char *what, void **out, dukd_failure *f) {
    *out = NULL;
    return ops_of(e)->alloc(e->state, bytes, what, out, f);
}

void dukd_engine_release(dukd_engine *e, void *p) {
    if (p) ops_of(e)->release(e->state, p);
}

int dukd_engine_upload(dukd_engine *e, void *to, const void *from_host, int64_t bytes, dukd_failure *f) {
    return ops_of(e)->upload(e->state, to, from_host, bytes, f);
}

int dukd_engine_download(dukd_engine *e, void *to_host, const void *from, int64_t bytes, dukd_failure *f) {
    return ops_of(e)->download(e->state, to_host, from, bytes, f);
}

int dukd_engine_copy(dukd_engine *e, void *to, const void *from, int64_t bytes, dukd_failure *f) {
    return ops_of(e)->copy(e->state, to, from, bytes, f);
}

int dukd_engine_clear(dukd_engine *e, void *p, int64_t bytes, dukd_failure *f) {
    return ops_of(e)->clear(e->state, p, bytes, f);
}

int dukd_engine_wait(dukd_engine *e, dukd_failure *f) {
    return ops_of(e)->wait(e->state, f);
}

int dukd_engine_add(dukd_engine *e, float *to, const float *from, int64_t count, dukd_failure *f) {
    RUN(add(e->state, to, from, count, f));
}

int dukd_engine_scale(dukd_engine *e, float *x, float factor, int64_t count, dukd_failure *f) {
    RUN(scale(e->state, x, factor, count, f));
}

int dukd_engine_note_nonfinite(dukd_engine *e, const float *x, int64_t count, int32_t *flag,
                               dukd_failure *f) {
    RUN(note_nonfinite(e->state, x, count, flag, f));
}

int dukd_engine_gather(dukd_engine *e, float *out, const float *x, const int64_t shape[4],
                       const int64_t strides[4], dukd_failure *f) {
    RUN(gather(e->state, out, x, shape, strides, f));
}

int dukd_engine_scatter_add(dukd_engine *e, float *to, const float *x, const int64_t shape[4],
                            const int64_t strides[4], dukd_failure *f) {
    RUN(scatter_add(e->state, to, x, shape, strides, f));
}

int dukd_engine_adam(dukd_engine *e, const dukd_optimizer_scalars *s, const int32_t *broken, const float *g,
                     float *m, float *v, float *w, int64_t count, dukd_failure *f) {
    RUN(adam(e->state, s, broken, g, m, v, w, count, f));
}

int dukd_engine_descend(dukd_engine *e, const dukd_optimizer_scalars *s, const int32_t *broken,
                        const float *g, float *w, int64_t count, dukd_failure *f) {
    RUN(descend(e->state, s, broken, g, w, count, f));
}

int dukd_engine_average(dukd_engine *e, const int32_t *broken, float *ema, const float *w, float keep,
                        float take, int64_t count, dukd_failure *f) {
    RUN(average(e->state, broken, ema, w, keep, take, count, f));
}
