/* How the operations of layout.h and ops.h divide their work over threads. Between layout.c and ops_*.c. */
#ifndef DUKD_OPS_WORK_H
#define DUKD_OPS_WORK_H

#include <omp.h>
#include <stddef.h>

#include "engine/ops.h"
#include "engine/ops_kernels.h"

static inline const dukd_ops_kernels *dukd_ops_of(const dukd_worker *w, dukd_type type) {
#ifdef DUKD_X86
    if (w->isa == DUKD_ISA_AVX512_BF16) return &dukd_ops_avx512_bf16[type];
    if (w->isa == DUKD_ISA_AVX512) return &dukd_ops_avx512[type];
    if (w->isa == DUKD_ISA_AVX2) return &dukd_ops_avx2[type];
#endif
    (void)w;
    return &dukd_ops_base[type];
}

static inline int64_t dukd_tensor_pixels(const dukd_tensor *t) { /* of one image */
    return (int64_t)t->height * t->width;
}

static inline int64_t dukd_tensor_elements(const dukd_tensor *t) {
    return t->images * dukd_tensor_pixels(t) * t->channels;
}

static inline void *dukd_tensor_at(const dukd_tensor *t, int64_t element) {
    return (char *)t->data + element * dukd_type_bytes(t->type);
}

/* One where the tensor is so small that threads cost more than they help. */
static inline int dukd_threads_for(const dukd_worker *w, const dukd_tensor *t) {
    enum { SMALL = 1 << 15 }; /* bytes */
    return dukd_tensor_elements(t) * dukd_type_bytes(t->type) < SMALL ? 1 : w->threads;
}

typedef struct {
    int64_t begin, end;
} dukd_span;

/* The calling thread's part of `count` things, in whole units. */
static inline dukd_span dukd_my_share(int64_t count, int64_t unit) {
    int64_t units = (count + unit - 1) / unit, n = omp_get_num_threads(), i = omp_get_thread_num();
    dukd_span s = {units * i / n * unit, units * (i + 1) / n * unit};
    if (s.begin > count) s.begin = count;
    if (s.end > count) s.end = count;
    return s;
}

/* The i-th of `parts` parts of `count` things: the same for any number of threads. */
static inline dukd_span dukd_part(int64_t count, int64_t parts, int64_t i) {
    return (dukd_span){count * i / parts, count * (i + 1) / parts};
}

/* A tensor in blocks of 16 channels is the same memory as one of 16 channels and more images in NHWC: what treats every
 * channel by itself needs no other code for it. */
static inline dukd_tensor dukd_as_nhwc(const dukd_tensor *t) {
    dukd_tensor n = *t;
    if (t->layout != DUKD_BLOCK16) return n;
    n.images = t->images * (t->channels / 16);
    n.channels = 16;
    n.layout = DUKD_NHWC;
    return n;
}

#endif
