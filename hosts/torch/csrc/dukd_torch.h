/* What the Python package dukd needs in C: the plugin's loops on PyTorch's own threads, and tensors of the plugin's as
 * DLPack's managed tensors. Called by ctypes alone (dukd/bridge.py); knows neither Python nor PyTorch's headers. */
#ifndef DUKD_TORCH_H
#define DUKD_TORCH_H

#include "dukd_plugin.h"

#ifdef __GNUC__
#define DUKD_TORCH_EXPORT __attribute__((visibility("default")))
#else
#define DUKD_TORCH_EXPORT
#endif

/* The OpenMP runtime of PyTorch's, found by dukd_torch_team_init; the ctx of a dukd_host with the two functions below. */
typedef struct dukd_torch_team {
    void (*parallel)(void (*body)(void *), void *data, unsigned threads, unsigned flags); /* GOMP_parallel */
    int (*thread_num)(void); /* omp_get_thread_num */
    uint32_t threads;
    uint32_t pad0;
} dukd_torch_team;

#define DUKD_TORCH_TEAM_SIZE 24u

/* Looks for the OpenMP functions that the loaded library `path` (libtorch_cpu.so) was linked to, and nowhere else, so
 * that a second runtime in the process is never taken for it. 0; or -1: the library is not loaded, or uses no OpenMP
 * that knows gcc's calls. threads >= 1. [any thread] */
DUKD_TORCH_EXPORT int32_t dukd_torch_team_init(dukd_torch_team *team, const char *path, uint32_t threads);
/* dukd_host.parallel_for and max_threads; ctx is a dukd_torch_team. */
DUKD_TORCH_EXPORT void dukd_torch_parallel_for(void *ctx, uint32_t n,
                                               void (*task)(void *arg, uint32_t i, uint32_t worker),
                                               void *arg);
DUKD_TORCH_EXPORT uint32_t dukd_torch_max_threads(void *ctx);

/* A DLManagedTensor that views the same memory, which stays its owner's: shape and strides are copied, and its deleter
 * frees these copies alone. NULL: no memory, or ndim is negative. [thread-safe] */
DUKD_TORCH_EXPORT void *dukd_torch_view(const dukd_tensor *t);
/* Frees a view that nobody has taken over; NULL is allowed. */
DUKD_TORCH_EXPORT void dukd_torch_view_free(void *view);

#endif
