/* The operations of the CUDA backend by themselves, for tests: the module's own table, beside the CPU's reference. */
#ifndef DUKD_TEST_CUDA_OPS_FIXTURE_H
#define DUKD_TEST_CUDA_OPS_FIXTURE_H

#include "backend/backend.h"
#include "cuda_fixture.h"

typedef struct {
    dukd_backend *cuda, *cpu;
    fixture_device device;
    cudaStream_t stream;
    double *mean; /* one double on the device */
} cuda_ops;

/* Opens libdukd-cuda.so beside `library`. Fails the running test where it cannot be done. */
void cuda_ops_open(cuda_ops *o, const char *library);
void cuda_ops_close(cuda_ops *o);
/* A backend of its own for this load, on the stream; destroy it by cuda_ops_end. */
void cuda_ops_begin(cuda_ops *o, const dukd_backend_load *load);
void cuda_ops_end(cuda_ops *o);

/* A map of pseudo-random numbers in (-1, 1), here and on the device. */
void cuda_map_make(const cuda_ops *o, fixture_tensor *t, const int64_t shape[4], dukd_dtype type,
                   fixture_layout layout, uint64_t seed);
/* A gradient's room: NaN, here and on the device. */
void cuda_map_make_room(const cuda_ops *o, fixture_tensor *t, const int64_t shape[4], dukd_dtype type,
                        fixture_layout layout);
void cuda_map_send(const cuda_ops *o, fixture_tensor *t);
/* Brings it here; fails the test where bytes between the elements have changed. */
void cuda_map_fetch(const cuda_ops *o, fixture_tensor *t);
void cuda_map_free(const cuda_ops *o, fixture_tensor *t);
/* The mean that the last operation gave. */
double cuda_ops_mean(const cuda_ops *o);

/* Fails unless two maps have the same elements bit for bit; a NaN equals a NaN. */
void cuda_maps_same(const fixture_tensor *a, const fixture_tensor *b, const char *what);

#endif
