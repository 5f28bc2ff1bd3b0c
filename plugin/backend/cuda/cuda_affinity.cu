/* FAKD's affinity: A = F^T F of columns of norm 1, of student and teacher, and the gradient of sum |A_S - A_T|.
 *
 * A block has 64 pixels j of an image and walks over tiles of 64 pixels i: it computes the tile A_S(i, j) and the tile A_T(i, j), keeps their
 * signs in shared memory and adds what these signs give to the gradient of its own 64 columns, which stays in registers (64 channels
 * of it, or 256). So a tile lives for a moment in one block, nothing is added by two blocks, and each sum has one order. On the CPU the
 * symmetry of A saves a third of the multiply-adds; here it would need rounds of launches or atomics.
 *
 * Multiply-adds of an image of P pixels, C channels of the student, C' of the teacher: P^2 (2 C + C'). Each thread has 4 x 4 elements of a
 * 64 x 64 product. Products are chains of fused multiply-adds in the order of the channels, as the CPU's own kernels do them, so that
 * both see the same signs. */
#include "cuda_device.h"
#include "cuda_reduce.h"

#define TILE          DUKD_CUDA_AFFINITY_TILE
#define CHUNK         16 /* of the inner index in shared memory at a time */
#define THREADS       256
#define PIXEL_THREADS 128 /* of the kernels that have a thread a pixel */
#define EPSILON       1e-8

/* ---------------------------------------------------------------- columns of norm 1: a thread a pixel of a map */

static __device__ __forceinline__ int64_t line(const dukd_cuda_affinity &p) {
    return p.tiles * TILE;
}

static __device__ __forceinline__ void normalise(const dukd_cuda_affinity &p, const dukd_cuda_view &v,
                                                 int64_t channels, float *unit, float *inverse, int64_t image,
                                                 int64_t pixel) {
    using dukd_element::mixed;
    const int64_t ld = line(p);
    if (pixel >= p.pixels) { /* columns beyond the last pixel are nothing: they add 0 to each sum */
        for (int64_t c = 0; c < channels; c++) unit[c * ld] = 0.0f;
        return;
    }
    const int64_t at = dukd_index(v, p.first + image, 0, pixel / p.w, pixel % p.w);
    double squares = 0.0;
    for (int64_t c = 0; c < channels; c++) {
        const double x = static_cast<double>(mixed::load(v.data, v.type, at + c * v.stride[1]));
        squares += x * x;
    }
    const double norm = sqrt(squares);
    const float scale = static_cast<float>(1.0 / (norm + EPSILON));
    for (int64_t c = 0; c < channels; c++)
        unit[c * ld] = mixed::load(v.data, v.type, at + c * v.stride[1]) * scale;
    if (inverse == nullptr) return;
    inverse[0] = scale;
    inverse[ld] = norm == 0.0 ? 0.0f : static_cast<float>(1.0 / norm);
}

static __global__ void __launch_bounds__(PIXEL_THREADS) affinity_columns(const dukd_cuda_affinity p) {
    const int64_t ld = line(p), index = static_cast<int64_t>(blockIdx.x) * PIXEL_THREADS + threadIdx.x;
    const int64_t image = index / ld, pixel = index % ld;
    if (image >= p.images) return;
    if (blockIdx.y == 0) {
        normalise(p, p.student, p.student_c, p.unit_s + image * p.student_c * ld + pixel,
                  p.inverse + image * 2 * ld + pixel, image, pixel);
    } else {
        normalise(p, p.teacher, p.teacher_c, p.unit_t + image * p.teacher_c * ld + pixel, nullptr, image,
                  pixel);
    }
}

/* ---------------------------------------------------------------- tiles */

static __device__ __forceinline__ float4 load_four(const float *p) {
    return *reinterpret_cast<const float4 *>(p);
}

static __device__ __forceinline__ float part(const float4 &v, int k) {
    return k == 0 ? v.x : k == 1 ? v.y : k == 2 ? v.z : v.w;
}

/* acc[r][s] = the product of columns i + 4 y + r and j + 4 x + s of `unit`. a and b: room for CHUNK rows of both blocks of columns. */
static __device__ __forceinline__ void tile_product(float acc[4][4], const float *unit, int64_t channels,
                                                    int64_t ld, int64_t i, int64_t j, float4 *a, float4 *b) {
    const int thread = static_cast<int>(threadIdx.x), x = thread % 16, y = thread / 16;
    for (int64_t from = 0; from < channels; from += CHUNK) {
        /* thread: row y of the chunk, four columns; rows after the last channel are 0 */
        float4 of_i = make_float4(0.0f, 0.0f, 0.0f, 0.0f), of_j = of_i;
        if (from + y < channels) {
            of_i = load_four(unit + (from + y) * ld + i + 4 * x);
            of_j = load_four(unit + (from + y) * ld + j + 4 * x);
        }
        __syncthreads(); /* what was there before has been used */
        a[thread] = of_i;
        b[thread] = of_j;
        __syncthreads();
#pragma unroll
        for (int k = 0; k < CHUNK; k++) {
            const float4 u = a[k * 16 + y], v = b[k * 16 + x];
#pragma unroll
            for (int r = 0; r < 4; r++) {
#pragma unroll
                for (int s = 0; s < 4; s++) acc[r][s] = fmaf(part(u, r), part(v, s), acc[r][s]);
            }
        }
    }
}

/* slope[r][s] += the sum over i of channel 4 y + r of column i, and the sign of (i, j + 4 x + s), for the 64 channels from `unit`
 * on, of which `channels` are there. */
static __device__ __forceinline__ void tile_slope(float slope[4][4], const float *unit, int64_t channels,
                                                  int64_t ld, int64_t i, const float4 *signs, float4 *a) {
    const int thread = static_cast<int>(threadIdx.x), x = thread % 16, y = thread / 16;
    for (int from = 0; from < TILE; from += CHUNK) {
        const int channel = thread / 4, column = from + thread % 4 * 4;
        float4 four = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
        if (channel < channels) four = load_four(unit + channel * ld + i + column);
        __syncthreads();
        a[thread] = four; /* [64 channels][16 columns] */
        __syncthreads();
#pragma unroll
        for (int k = 0; k < CHUNK; k += 4) {
            float4 u[4];
#pragma unroll
            for (int r = 0; r < 4; r++) u[r] = a[(4 * y + r) * 4 + k / 4];
#pragma unroll
            for (int q = 0; q < 4; q++) {
                const float4 v = signs[(from + k + q) * 16 + x];
#pragma unroll
                for (int r = 0; r < 4; r++) {
#pragma unroll
                    for (int s = 0; s < 4; s++) slope[r][s] = fmaf(part(u[r], q), part(v, s), slope[r][s]);
                }
            }
        }
    }
}

/* GROUPS of 64 channels of the gradient in registers; 0: the sum only. Grid: tiles, images, groups of GROUPS groups. */
template <int GROUPS>
static __global__ void __launch_bounds__(THREADS, GROUPS > 1 ? 1 : 2)
    affinity_tiles(const dukd_cuda_affinity p) {
    DUKD_SHARED(float4, a, [THREADS]);
    DUKD_SHARED(float4, b, [THREADS]);
    DUKD_SHARED(float4, signs, [GROUPS > 0 ? TILE * 16 : 1]);
    const int thread = static_cast<int>(threadIdx.x), x = thread % 16, y = thread / 16;
    const int64_t ld = line(p), image = blockIdx.y, j = static_cast<int64_t>(blockIdx.x) * TILE;
    const int64_t first_channel = static_cast<int64_t>(blockIdx.z) * GROUPS * TILE;
    const float *unit_s = p.unit_s + image * p.student_c * ld, *unit_t = p.unit_t + image * p.teacher_c * ld;
    float slope[GROUPS > 0 ? GROUPS : 1][4][4] = {};
    double sum[1] = {0.0};
    for (int64_t i = 0; i < ld; i += TILE) {
        float of_s[4][4] = {}, of_t[4][4] = {};
        tile_product(of_s, unit_s, p.student_c, ld, i, j, a, b);
        tile_product(of_t, unit_t, p.teacher_c, ld, i, j, a, b);
        float rows[4];
#pragma unroll
        for (int r = 0; r < 4; r++) {
            float sign[4], size[4];
#pragma unroll
            for (int s = 0; s < 4; s++) {
                const float d = of_s[r][s] - of_t[r][s]; /* 0 beyond the last pixel, or NaN beside one */
                size[s] = fabsf(d);
                sign[s] = dukd_signed(1.0f, d);
            }
            rows[r] = (size[0] + size[1]) + (size[2] + size[3]);
            /* nobody reads the signs of the tile before: two barriers lie between */
            if (GROUPS > 0) signs[(4 * y + r) * 16 + x] = make_float4(sign[0], sign[1], sign[2], sign[3]);
        }
        sum[0] += static_cast<double>((rows[0] + rows[1]) + (rows[2] + rows[3]));
#pragma unroll
        for (int g = 0; g < GROUPS; g++) {
            const int64_t channel = first_channel + g * TILE;
            if (channel < p.student_c)
                tile_slope(slope[g], unit_s + channel * ld, p.student_c - channel, ld, i, signs, a);
        }
    }
    for (int g = 0; g < GROUPS; g++) {
        for (int r = 0; r < 4; r++) {
            const int64_t channel = first_channel + g * TILE + 4 * y + r;
            if (channel >= p.student_c) continue;
            float *to = p.slope + (image * p.student_c + channel) * ld + j + 4 * x;
            *reinterpret_cast<float4 *>(to) =
                make_float4(slope[g][r][0], slope[g][r][1], slope[g][r][2], slope[g][r][3]);
        }
    }
    if (blockIdx.z != 0) return; /* the sum is another block's */
    if (dukd_sums_of_block<THREADS>(sum)) p.partial[(p.first + image) * p.tiles + blockIdx.x] = sum[0];
}

/* ---------------------------------------------------------------- back through the norm, and the mean */

/* f^ = f / (|f| + eps): d f = g / (|f| + eps) - f^ (g . f^) / |f|. */
static __device__ __forceinline__ void finish_pixel(const dukd_cuda_affinity &p, int64_t image,
                                                    int64_t pixel) {
    using dukd_element::mixed;
    const int64_t ld = line(p);
    const float *unit = p.unit_s + image * p.student_c * ld + pixel,
                *slope = p.slope + image * p.student_c * ld + pixel;
    double along = 0.0;
    for (int64_t c = 0; c < p.student_c; c++)
        along += static_cast<double>(slope[c * ld]) * static_cast<double>(unit[c * ld]);
    const float per_norm = p.inverse[(image * 2 + 1) * ld + pixel];
    const float share = static_cast<float>(along) * per_norm;
    /* a column of zeros gets none; one of NaN keeps it */
    const float scale = per_norm == 0.0f ? 0.0f : p.inverse[image * 2 * ld + pixel];
    const float factor =
        static_cast<float>(p.factor * (p.scale != nullptr ? static_cast<double>(*p.scale) : 1.0));
    const int64_t to = dukd_index(p.grad, p.first + image, 0, pixel / p.w, pixel % p.w);
    for (int64_t c = 0; c < p.student_c; c++) {
        mixed::store(p.grad.data, p.grad.type, to + c * p.grad.stride[1],
                     factor * (slope[c * ld] * scale - unit[c * ld] * share));
    }
}

/* Blocks 0 .. pixel_blocks - 1 have pixels; the one after them, where it is there, the mean of all images. */
static __global__ void __launch_bounds__(PIXEL_THREADS)
    affinity_finish(const dukd_cuda_affinity p, int64_t pixel_blocks) {
    const int64_t index = static_cast<int64_t>(blockIdx.x) * PIXEL_THREADS + threadIdx.x;
    if (blockIdx.x < pixel_blocks) {
        if (index < p.images * p.pixels) finish_pixel(p, index / p.pixels, index % p.pixels);
        return;
    }
    double sum[1] = {0.0};
    for (int64_t i = threadIdx.x; i < p.n * p.tiles; i += PIXEL_THREADS) sum[0] += p.partial[i];
    if (!dukd_sums_of_block<PIXEL_THREADS>(sum) || p.mean == nullptr) return;
    const double pixels = static_cast<double>(p.pixels);
    sum[0] /= static_cast<double>(p.n) * pixels * pixels;
    *p.mean = p.add != 0 ? *p.mean + sum[0] : sum[0];
}

/* ---------------------------------------------------------------- the wrappers */

static int64_t blocks_for(int64_t threads) {
    return (threads + PIXEL_THREADS - 1) / PIXEL_THREADS;
}

extern "C" int dukd_cuda_launch_affinity(const dukd_cuda_affinity *p, void *stream) {
    const unsigned tiles = static_cast<unsigned>(p->tiles), images = static_cast<unsigned>(p->images);
    const bool grad = p->grad.data != nullptr, last = p->first + p->images == p->n;
    const dim3 columns(static_cast<unsigned>(blocks_for(p->images * p->tiles * TILE)), 2);
    DUKD_LAUNCH(affinity_columns, columns, dim3(PIXEL_THREADS), 0, stream, *p);
    int status = static_cast<int>(cudaGetLastError());
    if (status != 0) return status;
    if (!grad) {
        DUKD_LAUNCH(affinity_tiles<0>, dim3(tiles, images), dim3(THREADS), 0, stream, *p);
    } else if (p->student_c <= TILE) {
        DUKD_LAUNCH(affinity_tiles<1>, dim3(tiles, images), dim3(THREADS), 0, stream, *p);
    } else {
        const unsigned groups = static_cast<unsigned>((p->student_c - 1) / (4 * TILE) + 1);
        DUKD_LAUNCH(affinity_tiles<4>, dim3(tiles, images, groups), dim3(THREADS), 0, stream, *p);
    }
    status = static_cast<int>(cudaGetLastError());
    if (status != 0) return status;
    const int64_t pixel_blocks = grad ? blocks_for(p->images * p->pixels) : 0;
    const dim3 grid(static_cast<unsigned>(pixel_blocks + (last ? 1 : 0)));
    if (grid.x == 0) return 0;
    DUKD_LAUNCH(affinity_finish, grid, dim3(PIXEL_THREADS), 0, stream, *p, pixel_blocks);
    return static_cast<int>(cudaGetLastError());
}

extern "C" int dukd_cuda_load_affinity(void) {
    cudaFuncAttributes a;
    int status = static_cast<int>(cudaFuncGetAttributes(&a, affinity_columns));
    if (status == 0) status = static_cast<int>(cudaFuncGetAttributes(&a, affinity_tiles<0>));
    if (status == 0) status = static_cast<int>(cudaFuncGetAttributes(&a, affinity_tiles<1>));
    if (status == 0) status = static_cast<int>(cudaFuncGetAttributes(&a, affinity_tiles<4>));
    if (status == 0) status = static_cast<int>(cudaFuncGetAttributes(&a, affinity_finish));
    return status;
}
