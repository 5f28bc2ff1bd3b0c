/* Memory of an engine, and the arithmetic of training on flat f32 arrays in it.
 *
 * Everything that crosses engine.h lies in its engine's memory: on the processor (PLACE.on_host) that is memory like any other, which
 * the caller may read and write between calls; on a device only these functions reach it. They are ordered with the engine's runs
 * (one stream); on a device they return before they are done, but for dukd_engine_download and dukd_engine_wait, which wait.
 *
 * What changes from step to step is read from the engine's memory, never from an argument (the scalars of Adam, the flag that something
 * was not finite), so that a step that was recorded can be replayed. [one thread at a time per engine] */
#ifndef DUKD_ARRAYS_H
#define DUKD_ARRAYS_H

#include "engine/engine.h"

typedef struct {
    int32_t on_host;                /* 1: pointers are the processor's, and calls are done when they return */
    int32_t device_type, device_id; /* DLPack's numbers: 1 and 0 for the processor, 2 and an index for CUDA */
    void *stream;                   /* CUDA: cudaStream_t, in which everything is ordered; else NULL */
    char unique[40]; /* what no other device has, on any machine (CUDA: its UUID); "": nothing known */
} dukd_engine_place;

const dukd_engine_place *dukd_engine_get_place(const dukd_engine *e);

/* `bytes` >= 0 of zeros, aligned to 256; counted in dukd_engine_memory on a device. `what` is for the message. */
int dukd_engine_alloc(dukd_engine *e, int64_t bytes, const char *what, void **out, dukd_failure *f);
void dukd_engine_release(dukd_engine *e, void *p); /* NULL allowed; waits for what uses it */

/* Between the caller's memory and the engine's, and within the engine's (not overlapping). What is uploaded has been read when the call
 * returns. */
int dukd_engine_upload(dukd_engine *e, void *to, const void *from_host, int64_t bytes, dukd_failure *f);
int dukd_engine_download(dukd_engine *e, void *to_host, const void *from, int64_t bytes, dukd_failure *f);
int dukd_engine_copy(dukd_engine *e, void *to, const void *from, int64_t bytes, dukd_failure *f);
int dukd_engine_clear(dukd_engine *e, void *p, int64_t bytes, dukd_failure *f);
/* Until everything that was asked for is done. A failure of the device since the last call is told here at the latest. */
int dukd_engine_wait(dukd_engine *e, dukd_failure *f);

/* ---- arithmetic: all arrays in the engine's memory, `count` elements, f32; element by element, so that the result depends on no
 * number of threads ---- */

int dukd_engine_add(dukd_engine *e, float *to, const float *from, int64_t count, dukd_failure *f);
int dukd_engine_scale(dukd_engine *e, float *x, float factor, int64_t count, dukd_failure *f);
/* *flag = 1 where an element is infinite or NaN; never cleared here. */
int dukd_engine_note_nonfinite(dukd_engine *e, const float *x, int64_t count, int32_t *flag, dukd_failure *f);
/* out, dense N x C x H x W = a tensor of any strides (in elements). */
int dukd_engine_gather(dukd_engine *e, float *out, const float *x, const int64_t shape[4],
                       const int64_t strides[4], dukd_failure *f);
/* A tensor of any strides, none of whose elements overlap, += x, dense N x C x H x W. */
int dukd_engine_scatter_add(dukd_engine *e, float *to, const float *x, const int64_t shape[4],
                            const int64_t strides[4], dukd_failure *f);

/* Scalars of one step of an optimizer, computed by train/adam.h; in the engine's memory. */
typedef struct {
    float minus_step, root, new_m, keep_v, new_v, eps, decay; /* Adam */
    float rate;                                               /* plain descent: w -= rate (g + decay w) */
} dukd_optimizer_scalars;

/* One step each. `broken` (may be NULL): a flag in the engine's memory; where it is not 0 nothing is changed. */
int dukd_engine_adam(dukd_engine *e, const dukd_optimizer_scalars *s, const int32_t *broken, const float *g,
                     float *m, float *v, float *w, int64_t count, dukd_failure *f);
int dukd_engine_descend(dukd_engine *e, const dukd_optimizer_scalars *s, const int32_t *broken,
                        const float *g, float *w, int64_t count, dukd_failure *f);
/* ema = ema * keep + take * w */
int dukd_engine_average(dukd_engine *e, const int32_t *broken, float *ema, const float *w, float keep,
                        float take, int64_t count, dukd_failure *f);

/* ---- what a backend has for it; NULL in its table: the processor's, dukd_arrays_host ---- */
typedef struct {
    int (*alloc)(void *engine, int64_t bytes, const char *what, void **out, dukd_failure *f);
    void (*release)(void *engine, void *p);
    int (*upload)(void *engine, void *to, const void *from_host, int64_t bytes, dukd_failure *f);
    int (*download)(void *engine, void *to_host, const void *from, int64_t bytes, dukd_failure *f);
    int (*copy)(void *engine, void *to, const void *from, int64_t bytes, dukd_failure *f);
    int (*clear)(void *engine, void *p, int64_t bytes, dukd_failure *f);
    int (*wait)(void *engine, dukd_failure *f);
    int (*add)(void *engine, float *to, const float *from, int64_t count, dukd_failure *f);
    int (*scale)(void *engine, float *x, float factor, int64_t count, dukd_failure *f);
    int (*note_nonfinite)(void *engine, const float *x, int64_t count, int32_t *flag, dukd_failure *f);
    int (*gather)(void *engine, float *out, const float *x, const int64_t shape[4], const int64_t strides[4],
                  dukd_failure *f);
    int (*scatter_add)(void *engine, float *to, const float *x, const int64_t shape[4],
                       const int64_t strides[4], dukd_failure *f);
    int (*adam)(void *engine, const dukd_optimizer_scalars *s, const int32_t *broken, const float *g,
                float *m, float *v, float *w, int64_t count, dukd_failure *f);
    int (*descend)(void *engine, const dukd_optimizer_scalars *s, const int32_t *broken, const float *g,
                   float *w, int64_t count, dukd_failure *f);
    int (*average)(void *engine, const int32_t *broken, float *ema, const float *w, float keep, float take,
                   int64_t count, dukd_failure *f);
} dukd_array_ops;

extern const dukd_array_ops dukd_arrays_host; /* arrays.c; `engine` is not looked at */

#endif
