/* Sessions on a CUDA device for tests: the fixture of tests/unit with tensors in device memory, and what a run gave.
 *
 * A test program is linked with the emulated runtime, or with the real one for a machine with a GPU, and takes the plugin as
 * its argument: PROGRAM libdukd.so. */
#ifndef DUKD_TEST_CUDA_FIXTURE_H
#define DUKD_TEST_CUDA_FIXTURE_H

#include <cuda_runtime_api.h>

#include "unit/session_fixture.h"

/* Opens the plugin of argv[1]; ends the program where there is none, with 77 (a skip) where its CUDA backend is not usable. */
const dukd_plugin *cuda_open_plugin(int argc, char **argv);

/* Fails the running test unless this is cudaSuccess. */
#define CUDA_OK(call) assert_int_equal(call, cudaSuccess)

/* Memory and copies of CUDA device 0, on `stream`. */
void cuda_fixture_device(fixture_device *d, cudaStream_t stream);

/* All that a run of steps gave, as numbers in their order: inputs, gradients; and the losses apart. */
typedef struct {
    double *number;
    size_t count, room;
    size_t end[512], n_tensors; /* number[end[i]] is the first after tensor i */
    double loss[64];
    size_t n_losses;
    const fixture *f;
} cuda_record;

/* Runs `steps` steps of all micro-batches with f as it was set; f must not have been opened. */
void cuda_run(fixture *f, const char *const *options, int steps, cuda_record *out);
void cuda_record_free(cuda_record *r);
/* Same inputs and gradients bit for bit (a NaN equals a NaN), losses to rounding. */
void cuda_assert_same(const cuda_record *cpu, const cuda_record *cuda, const char *name);
/* Every input and gradient within `most` of its own largest element (NaN where the CPU has NaN), losses within `of_losses` of
 * themselves. */
void cuda_assert_close(const cuda_record *cpu, const cuda_record *cuda, double most, double of_losses,
                       const char *name);

#endif
