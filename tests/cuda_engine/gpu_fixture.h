/* What the tests of the CUDA engine's kernels share: a stream, device memory of exact size, tensors that are on both sides, and
 * comparison with a reference in double.
 *
 * A program is linked with the emulated runtime, or, with GPU_ON_DEVICE, with the real one. It ends with
 * `return GPU_RUN(gpu_load_..., tests);`, which opens the device (77, a skip with the reason, where there is none), loads the kernels, and
 * fails where a test has left memory behind or a kernel ran that had not been loaded. Everything here fails the running test where a call of the runtime does. */
#ifndef DUKD_TEST_GPU_FIXTURE_H
#define DUKD_TEST_GPU_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/cuda/gpu_kernels.h"

/* Fails the running test unless the call (a wrapper's or the runtime's) gave 0. */
#define GPU_OK(call) gpu_ok(call, #call, __FILE__, __LINE__)
void gpu_ok(int status, const char *call, const char *file, int line);

void gpu_open(int (*load_kernels)(void));
int gpu_close(int failed); /* the program's exit status */
#define GPU_RUN(load_kernels, tests)                                                                         \
    (gpu_open(load_kernels), gpu_close(cmocka_run_group_tests(tests, NULL, NULL)))

void *gpu_stream(void); /* a cudaStream_t of device 0 */
void gpu_wait(void);

/* `bytes` of device memory, neither more nor less; 0: NULL. Not initialised: reading it before writing is an error that the _races
 * program sees. */
void *gpu_alloc(int64_t bytes);
void gpu_free(void *p); /* NULL allowed */
/* Both wait. */
void gpu_upload(void *to, const void *from, int64_t bytes);
void gpu_download(void *to, const void *from, int64_t bytes);

/* Every launch of every call fails in turn: call(i, stream) for i < count must return its error; in the end it
 * is done without a failure, and must have memory to do it in. On a device this is a skip. */
void gpu_check_failures(int (*call)(int64_t i, void *stream), int64_t count);

/* ---- tensors, NHWC ---- */

typedef struct {
    int32_t images, channels, height, width;
} gpu_size;

/* One on each side, with the same contents when it is made. */
typedef struct {
    dukd_tensor host, device;
} gpu_pair;

gpu_pair gpu_empty(gpu_size z, dukd_type type); /* host: NaN; device: not initialised */
/* Uniform numbers of the type in [low, high); others for every seed. */
gpu_pair gpu_random(gpu_size z, dukd_type type, uint64_t seed, double low, double high);
void gpu_push(const gpu_pair *p); /* host -> device */
void gpu_pull(const gpu_pair *p); /* device -> host */
void gpu_pair_free(gpu_pair *p);

int64_t gpu_count(const dukd_tensor *t);                        /* elements */
double gpu_get(const dukd_tensor *host, int64_t i);             /* by its place in memory */
void gpu_set(const dukd_tensor *host, int64_t i, double value); /* rounded to the type */
double *gpu_values(const dukd_tensor *host);                    /* all of them; freed by free() */
double *gpu_doubles(int64_t count);                             /* zeros; likewise */

/* Flat f32 arrays. */
typedef struct {
    float *host, *device;
    int64_t count;
} gpu_floats;
gpu_floats gpu_floats_empty(int64_t count);
gpu_floats gpu_floats_random(int64_t count, uint64_t seed, double low, double high);
gpu_floats gpu_floats_zeros(int64_t count);
void gpu_floats_push(const gpu_floats *p);
void gpu_floats_pull(const gpu_floats *p);
void gpu_floats_free(gpu_floats *p);

/* ---- comparisons ---- */

/* Fails unless max|device - want| <= tolerance max|want|, with 1/200 more for bf16, over the elements where `want` is finite; where
 * it is not, the device must have the same infinity, or a NaN for a NaN. Overwrites the host's side with the device's. */
void gpu_check(const char *name, const gpu_pair *p, const double *want, double tolerance);
void gpu_check_floats(const char *name, const gpu_floats *p, const double *want, double tolerance);
/* The device's tensor has the bits of `want`, on the host. A NaN equals any NaN. */
void gpu_check_same(const char *name, const gpu_pair *p, const dukd_tensor *want);

/* Calls check for every size, f32 and bf16. */
void gpu_for_each(const gpu_size *sizes, int count, void (*check)(gpu_size z, dukd_type type));

#endif
