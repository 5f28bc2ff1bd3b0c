/* What the tests of engine/ops.h share: tensors between inaccessible pages, settings to try (instruction sets, types, layouts,
 * thread counts), and comparison with a reference in double. */
#ifndef DUKD_TEST_OPS_CASE_H
#define DUKD_TEST_OPS_CASE_H

#include <stdint.h>

#include "engine/ops.h"
#include "support/guard.h"

typedef struct {
    dukd_worker w;
    dukd_type type;
    dukd_layout layout;
    dukd_guard_side side; /* of every tensor made with this setting */
    uint64_t seed;
} ops_setting;

typedef struct {
    int32_t images, channels, h, w;
} ops_size;

/* Calls check for every size and setting: the instruction sets of this processor, f32 and bf16, NHWC (and BLOCK16, where
 * `blocks` and the channels allow it), guard pages behind and before, 1, 2 and 3 threads; and fails where what the check gave
 * to ops_note differs between the thread counts. */
void ops_for_each(const ops_size *sizes, int count, int blocks,
                  void (*check)(const ops_setting *s, const ops_size *z));

dukd_tensor ops_tensor(const ops_setting *s, int32_t images, int32_t channels, int32_t h, int32_t w);
/* Filled with uniform numbers of the type in [low, high), others for every call. */
dukd_tensor ops_random(ops_setting *s, const ops_size *z, double low, double high);
void ops_free(const ops_setting *s, dukd_tensor *t);
/* f32, guarded like a tensor; random as above. */
float *ops_floats(ops_setting *s, int64_t count, double low, double high);
void ops_free_floats(const ops_setting *s, float *p, int64_t count);
/* Guarded scratch, of exactly this size but aligned to 64, filled with NaN. */
void *ops_scratch(int64_t bytes);
void ops_free_scratch(void *p, int64_t bytes);

int64_t ops_count(const dukd_tensor *t);
/* The numbers in the order image, row, column, channel, whatever the layout. Freed by free(). */
double *ops_values(const dukd_tensor *t);
double *ops_doubles(int64_t count);                          /* zeros */
void ops_set(const dukd_tensor *t, int64_t i, double value); /* i: in that order */

/* Fails unless max|t - want| <= tolerance max|want|, with 1/200 more for bf16. Notes the tensor's bits. */
void ops_check(const char *name, const dukd_tensor *t, const double *want, double tolerance);
void ops_check_floats(const char *name, const float *got, const double *want, int64_t count,
                      double tolerance);
void ops_note(const void *data, int64_t bytes);

#endif
