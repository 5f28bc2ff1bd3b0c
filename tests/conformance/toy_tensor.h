/* Tensors of the toy host: any layout, any type, between canaries, all memory filled with a pattern that is a NaN in each type.
 *
 * Whoever computes does it on dense arrays of float in N, C, H, W order: toy_read and toy_write go between. */
#ifndef TOY_TENSOR_H
#define TOY_TENSOR_H

#include "dukd_plugin.h"

typedef enum {
    TOY_DENSE,
    TOY_NULL_STRIDES,
    TOY_CHANNELS_LAST,
    TOY_PADDED,    /* rows with a gap between them */
    TOY_BACKWARDS, /* negative strides along H and W */
    TOY_OFFSET,    /* byte_offset is not 0 */
    TOY_BROADCAST, /* stride 0 along C: the channels are one; not for gradients */
    TOY_LAYOUTS
} toy_layout;

typedef struct {
    dukd_tensor t; /* points into this struct: not to be copied */
    int64_t shape[4], strides[4];
    uint64_t bytes;
    uint8_t *memory; /* NULL: there is no tensor */
} toy_tensor;

extern const dukd_dtype toy_f32, toy_f16, toy_bf16;
extern const char *const toy_layout_names[TOY_LAYOUTS];

/* 0, or -1 where there is no memory. Elements hold the pattern. */
int toy_tensor_make(toy_tensor *t, const int64_t shape[4], dukd_dtype type, toy_layout layout);
void toy_tensor_free(toy_tensor *t);

int64_t toy_count(const int64_t shape[4]);
int toy_same_type(dukd_dtype a, dukd_dtype b);
/* The value as a tensor of this type would hold it. */
float toy_round(float value, dukd_dtype type);
void toy_read(const dukd_tensor *t, float *out);
void toy_write(const dukd_tensor *t, const float *in);
/* The same as a new array; NULL where there is no memory. */
float *toy_values(const dukd_tensor *t);

/* Elements that still hold the pattern. */
int64_t toy_unwritten(const toy_tensor *t);
/* Whether memory beside the elements was written: before, after, or between them. */
int toy_spilled(const toy_tensor *t);

/* ---- numbers ---- */

double toy_unit(uint64_t key); /* in [0, 1), a pure function of the key */
void toy_hash(uint64_t *hash, const void *data, uint64_t size);
void toy_hash_tensor(uint64_t *hash, const dukd_tensor *t); /* type, shape and values */

#endif
