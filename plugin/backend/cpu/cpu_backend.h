/* The CPU backend's own state, and what its operations share. */
#ifndef DUKD_CPU_BACKEND_H
#define DUKD_CPU_BACKEND_H

#include "backend.h"
#include "cpu_kernels.h"
#include "cpu_parallel.h"
#include "cpu_products.h"

typedef struct {
    dukd_backend base; /* first: a dukd_backend * is a dukd_cpu_backend * */
    dukd_kernels kernels;
    dukd_parallel parallel;
    dukd_products products;
    bool own_products;   /* a level was asked for: no library */
    int64_t cache_bytes; /* of the last level, as far as one can tell */
    /* the host's memory, or NULL */
    void *ctx;
    void *(*alloc)(void *ctx, int32_t device_type, int32_t device_id, uint64_t size, uint64_t align,
                   void *stream);
    void (*free)(void *ctx, void *p, int32_t device_type, int32_t device_id, void *stream);
    void *workspace; /* kept between calls; only grows */
    uint64_t workspace_bytes;
} dukd_cpu_backend;

static inline dukd_cpu_backend *dukd_cpu_backend_of(dukd_backend *b) {
    return (dukd_cpu_backend *)b;
}

/* At least count * bytes, aligned to 64, contents undefined, valid until the next call. NULL: *error says so
 * (DUKD_E_MEMORY). */
void *dukd_cpu_workspace(dukd_cpu_backend *b, int64_t count, int64_t bytes, dukd_error *error);

/* The operations of backend.h. */
int32_t dukd_cpu_zoom_in(dukd_backend *b, const dukd_zoom_in_args *a, dukd_error *error);
int32_t dukd_cpu_zoom_out(dukd_backend *b, const dukd_zoom_out_args *a, dukd_error *error);
int32_t dukd_cpu_l1(dukd_backend *b, dukd_l1_args *a, dukd_error *error);
int32_t dukd_cpu_hardest(dukd_backend *b, const dukd_hardest_args *a, dukd_error *error);
int32_t dukd_cpu_affinity(dukd_backend *b, dukd_affinity_args *a, dukd_error *error);
int32_t dukd_cpu_contrast(dukd_backend *b, dukd_contrast_args *a, dukd_error *error);
int32_t dukd_cpu_upscale(dukd_backend *b, const dukd_upscale_args *a, dukd_error *error);

#endif
