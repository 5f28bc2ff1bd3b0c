/* What the kernels of l1 share: the tile that a block has, what is done with an element; and how l1 is launched by vectors. */
#ifndef DUKD_CUDA_L1_DEVICE_H
#define DUKD_CUDA_L1_DEVICE_H

#include "cuda_device.h"
#include "cuda_reduce.h"

#define TILE DUKD_CUDA_TILE

struct l1_tile {
    uint32_t n, c, row, col; /* of its first pixel */
};

static __device__ __forceinline__ l1_tile l1_tile_of(const dukd_cuda_l1 &p) {
    l1_tile t;
    uint32_t plane = blockIdx.x;
    t.col = plane;
    plane = dukd_cuda_split(&p.by_tiles, &t.col);
    t.row = dukd_cuda_split(&p.by_tiles_w, &t.col) * TILE;
    t.col *= TILE;
    t.c = plane;
    t.n = dukd_cuda_split(&p.by_planes, &t.c);
    return t;
}

/* An image's B, and the factors of its gradient. */
struct l1_image {
    uint32_t back;
    float sign, offset; /* B's value is sign * value + offset: exact but for the one rounding of 1 - value */
    float factor[2];
};

static __device__ __forceinline__ l1_image l1_image_of(const dukd_cuda_l1 &p, uint32_t n) {
    l1_image image;
    image.back = p.back != nullptr ? p.back[n] : 0;
    const bool invert = (image.back & DUKD_AUGMENT_INVERT) != 0;
    image.sign = invert ? -1.0f : 1.0f;
    image.offset = invert ? 1.0f : 0.0f;
    const double scale = p.scale != nullptr ? static_cast<double>(*p.scale) : 1.0;
    for (int t = 0; t < 2; t++) {
        image.factor[t] = static_cast<float>(p.factor[t] * scale);
        if (invert) image.factor[t] = -image.factor[t];
    }
    return image;
}

/* Adds |B(value) - target[t]| to each sum; the gradient. */
template <int TARGETS>
static __device__ __forceinline__ float l1_element(const l1_image &image, float value,
                                                   const float (&target)[TARGETS],
                                                   dukd_cuda_pair (&sum)[TARGETS]) {
    const float restored = fmaf(value, image.sign, image.offset);
    float gradient = 0.0f;
#pragma unroll
    for (int t = 0; t < TARGETS; t++) {
        const float d = restored - target[t], part = dukd_signed(image.factor[t], d);
        dukd_add(&sum[t], fabsf(d));
        gradient = t == 0 ? part : gradient + part;
    }
    return gradient;
}

/* Writes the block's sums. */
template <int THREADS, int TARGETS>
static __device__ __forceinline__ void l1_write_sums(const dukd_cuda_l1 &p, dukd_cuda_pair (&sum)[TARGETS]) {
    if (!dukd_sums_of_block<THREADS>(sum)) return;
    for (int t = 0; t < TARGETS; t++) p.partial[t * static_cast<int64_t>(gridDim.x) + blockIdx.x] = sum[t];
}

/* ---------------------------------------------------------------- by vectors (cuda_l1_vectors.cu), on the host */

/* Channels that a block then has: 1, or 3 where tensors of three channels lie with their channels last; 0: only element by element. */
int dukd_cuda_l1_channels(const dukd_cuda_l1 *p);
/* A cudaError_t. p->by_planes: groups of so many channels. */
int dukd_cuda_launch_l1_vectors(const dukd_cuda_l1 *p, int channels, unsigned blocks, void *stream);
int dukd_cuda_load_l1_vectors(void);

#endif
