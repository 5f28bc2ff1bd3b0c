/* The operations of layout_kernels.h for one instruction set: TABLE is the name of the table to define. Included by
 * layout_base.c, layout_avx2.c and layout_avx512.c, which differ in the options of their compilation: the loops
 * are written for the compiler to vectorise. */
#include <string.h>

#include "engine/layout_kernels.h"

static inline float from_bf16(uint16_t x) {
    uint32_t bits = (uint32_t)x << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Rounds to nearest even; a NaN stays one. */
static inline uint16_t to_bf16(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    uint32_t rounded = (bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16;
    uint32_t nan = (bits >> 16) | 0x40u;
    return (uint16_t)((bits & 0x7FFFFFFFu) > 0x7F800000u ? nan : rounded);
}

static inline float from_f32(float x) {
    return x;
}

static inline float to_f32(float x) {
    return x;
}

/* Where an element lies: image * n + block * (channel / 16) + lane * (channel % 16) + pixel * (y * width + x). */
typedef struct {
    int64_t image, block, lane, pixel;
} strides;

static inline strides strides_of(const dukd_tensor *t) {
    int64_t plane = (int64_t)t->height * t->width;
    int64_t image = plane * t->channels;
    switch (t->layout) {
    case DUKD_BLOCK16:
        return (strides){.image = image, .block = 16 * plane, .lane = 1, .pixel = 16};
    case DUKD_PLANAR:
        return (strides){.image = image, .block = 16 * plane, .lane = plane, .pixel = 1};
    case DUKD_NHWC:
        break;
    }
    return (strides){.image = image, .block = 16, .lane = 1, .pixel = t->channels};
}

static inline int64_t at(const strides *s, const dukd_tensor *t, int64_t n, int64_t channel, int64_t y) {
    return n * s->image + (channel / 16) * s->block + channel % 16 * s->lane + y * t->width * s->pixel;
}

/* The graph's channel that lies at m of `count` channels in order r. */
static inline int64_t graph_channel(int64_t m, int64_t count, int64_t r) {
    if (r == 1) return m;
    int64_t c = count / (r * r);
    return (m % c) * r * r + m / c;
}

#define T           float
#define NAME(x)     x##_f32
#define LOAD        from_f32
#define STORE       to_f32
#define OTHER       uint16_t
#define LOAD_OTHER  from_bf16
#define STORE_OTHER to_bf16
#include "engine/layout_type.h"
#undef OTHER
#undef LOAD_OTHER
#undef STORE_OTHER
#undef T
#undef NAME
#undef LOAD
#undef STORE

#define T           uint16_t
#define NAME(x)     x##_bf16
#define LOAD        from_bf16
#define STORE       to_bf16
#define OTHER       float
#define LOAD_OTHER  from_f32
#define STORE_OTHER to_f32
#include "engine/layout_type.h"
#undef OTHER
#undef LOAD_OTHER
#undef STORE_OTHER
#undef T
#undef NAME
#undef LOAD
#undef STORE

const dukd_layout_kernels TABLE[2] = {
    [DUKD_TYPE_F32] = {relu_f32, relu_mask_f32, scale_f32, add_f32, cast_f32, scale_add_f32, channel_sums_f32,
                       affine_f32, shuffle_f32, unshuffle_f32, import_f32, export_f32},
    [DUKD_TYPE_BF16] = {relu_bf16, relu_mask_bf16, scale_bf16, add_bf16, cast_bf16, scale_add_bf16,
                        channel_sums_bf16, affine_bf16, shuffle_bf16, unshuffle_bf16, import_bf16,
                        export_bf16},
};
