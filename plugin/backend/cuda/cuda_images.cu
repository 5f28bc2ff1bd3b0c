/* The data hook's kernels: zoom in, zoom out, D of both, the choices they follow, and CSD's negatives. */
#include "cuda_device.h"

#define THREADS 128
#define OUTPUTS 32 /* of a block of zoom_out */

/* ---------------------------------------------------------------- place */

static __global__ void __launch_bounds__(THREADS) place_words(const dukd_cuda_place p) {
    for (uint32_t i = threadIdx.x; i < p.count; i += THREADS) p.to[i] = p.word[i];
}

/* ---------------------------------------------------------------- zoom in: a thread a pixel */

/* This thread's pixel of p.n x p.c planes; false after the last. */
template <class P>
static __device__ __forceinline__ bool pixel_of(const P &p, uint32_t *n, uint32_t *c, uint32_t *r,
                                                uint32_t *w) {
    const uint32_t index = blockIdx.x * THREADS + threadIdx.x;
    if (index >= static_cast<uint32_t>(p.n * p.c * p.h * p.w)) return false;
    *w = index;
    *r = dukd_cuda_split(&p.by_w, w);
    *c = dukd_cuda_split(&p.by_h, r);
    *n = dukd_cuda_split(&p.by_c, c);
    return true;
}

template <class P> static P divided(const P &p) {
    P q = p;
    q.by_w = dukd_cuda_divider_of(p.w);
    q.by_h = dukd_cuda_divider_of(p.h);
    q.by_c = dukd_cuda_divider_of(p.c);
    return q;
}

static unsigned blocks_for(int64_t threads) {
    return static_cast<unsigned>((threads + THREADS - 1) / THREADS);
}

/* Moves bits; only an inversion computes. E is the images' type, U its bits. */
template <class E, class U>
static __global__ void __launch_bounds__(THREADS) zoom_in_pixels(const dukd_cuda_zoom_in p) {
    uint32_t n, c, r, w;
    if (!pixel_of(p, &n, &c, &r, &w)) return;
    const int64_t from = dukd_index(p.hr, p.image[n], c, static_cast<int64_t>(p.row[n]) + r,
                                    static_cast<int64_t>(p.col[n]) + w);
    const U bits = reinterpret_cast<const U *>(p.hr.data)[from];
    if (p.plain.data != nullptr) reinterpret_cast<U *>(p.plain.data)[dukd_index(p.plain, n, c, r, w)] = bits;
    if (p.augmented.data == nullptr) return;
    const uint32_t augment = p.augment[n];
    uint32_t row, col;
    dukd_place_of(augment, static_cast<uint32_t>(p.h), static_cast<uint32_t>(p.w), r, w, &row, &col);
    const int64_t to = dukd_index(p.augmented, n, c, row, col);
    if ((augment & DUKD_AUGMENT_INVERT) != 0) {
        E::store(p.augmented.data, 0, to, 1.0f - E::load(reinterpret_cast<const char *>(&bits), 0, 0));
    } else {
        reinterpret_cast<U *>(p.augmented.data)[to] = bits;
    }
}

/* ---------------------------------------------------------------- zoom out: a block up to 32 pixels of a row */

/* i mirrored into 0 .. n - 1 at edges that repeat: ... 1 0 | 0 1 ... n-1 | n-1 n-2 ... */
static __device__ __forceinline__ int32_t mirrored(int32_t i, int32_t n) {
    if (static_cast<uint32_t>(i) < static_cast<uint32_t>(n)) return i; /* all but the border: no division */
    const int32_t period = 2 * n;
    i %= period;
    if (i < 0) i += period;
    return i < n ? i : period - 1 - i;
}

template <class E>
static __global__ void __launch_bounds__(THREADS) zoom_out_rows(const dukd_cuda_zoom_out p) {
    DUKD_DYNAMIC_SHARED(double,
                        reduced); /* the columns that the block's pixels see, over one window of rows */
    uint32_t tile = blockIdx.x;
    uint32_t r = dukd_cuda_split(&p.by_tiles_w, &tile);
    uint32_t c = dukd_cuda_split(&p.by_out_h, &r);
    const uint32_t n = dukd_cuda_split(&p.by_c, &c);
    const int32_t scale = static_cast<int32_t>(p.scale), taps = static_cast<int32_t>(p.taps),
                  h = static_cast<int32_t>(p.h), out_w = static_cast<int32_t>(p.out_w);
    const int32_t col0 = static_cast<int32_t>(tile) * OUTPUTS;
    const int32_t outputs = col0 + OUTPUTS < out_w ? OUTPUTS : out_w - col0;
    const int32_t columns = (outputs - 1) * scale + taps, first = static_cast<int32_t>(p.first),
                  first_col = col0 * scale + first, first_row = static_cast<int32_t>(r) * scale + first;

    for (int32_t i = static_cast<int32_t>(threadIdx.x); i < columns; i += THREADS) {
        const int64_t at = dukd_index(p.lr, n, c, 0, mirrored(first_col + i, static_cast<int32_t>(p.w)));
        double sum = 0.0;
        for (int32_t t = 0; t < taps; t++) {
            const int64_t row = mirrored(first_row + t, h);
            sum +=
                p.weight[t] * static_cast<double>(E::load(p.lr.data, p.lr.type, at + row * p.lr.stride[2]));
        }
        reduced[i] = sum;
    }
    __syncthreads();
    const int32_t o = static_cast<int32_t>(threadIdx.x);
    if (o >= outputs) return;
    double sum = 0.0;
    for (int32_t t = 0; t < taps; t++) sum += p.weight[t] * reduced[o * scale + t];
    /* rounded to the type once; D is of what was rounded */
    const uint32_t w = static_cast<uint32_t>(col0 + o);
    alignas(4) char rounded[4];
    E::store(rounded, p.lr.type, 0, static_cast<float>(sum));
    const float pixel = E::load(rounded, p.lr.type, 0);
    if (p.plain.data != nullptr) E::store(p.plain.data, p.lr.type, dukd_index(p.plain, n, c, r, w), pixel);
    if (p.augmented.data == nullptr) return;
    const uint32_t augment = p.augment[n];
    uint32_t row, col;
    dukd_place_of(augment, static_cast<uint32_t>(p.out_h), static_cast<uint32_t>(p.out_w), r, w, &row, &col);
    E::store(p.augmented.data, p.lr.type, dukd_index(p.augmented, n, c, row, col),
             (augment & DUKD_AUGMENT_INVERT) != 0 ? 1.0f - pixel : pixel);
}

/* ---------------------------------------------------------------- upscale: a thread a pixel */

static __device__ __forceinline__ int64_t clamped(int64_t i, int64_t n) {
    return i < 0 ? 0 : i < n ? i : n - 1;
}

/* Height first, then width, taps ascending, rounded once, as on the CPU: the same bits. */
static __global__ void __launch_bounds__(THREADS) upscale_pixels(const dukd_cuda_upscale p) {
    using dukd_element::mixed;
    uint32_t n, c, r, w;
    if (!pixel_of(p, &n, &c, &r, &w)) return;
    uint32_t phase_r = r, phase_w = w;
    const uint32_t above = dukd_cuda_split(&p.by_scale, &phase_r),
                   before = dukd_cuda_split(&p.by_scale, &phase_w);
    const int64_t top = static_cast<int64_t>(above) + p.first[phase_r],
                  left = static_cast<int64_t>(before) + p.first[phase_w];
    double sum = 0.0;
    for (int j = 0; j < 4; j++) {
        const int64_t col = clamped(left + j, p.lr_w);
        double reduced = 0.0;
        for (int i = 0; i < 4; i++) {
            const int64_t row = clamped(top + i, p.lr_h);
            reduced +=
                p.weight[phase_r][i] *
                static_cast<double>(mixed::load(p.lr.data, p.lr.type, dukd_index(p.lr, n, c, row, col)));
        }
        sum += p.weight[phase_w][j] * reduced;
    }
    mixed::store(p.out.data, p.out.type, dukd_index(p.out, n, c, r, w), static_cast<float>(sum));
}

/* ---------------------------------------------------------------- the wrappers */

extern "C" int dukd_cuda_launch_place(const dukd_cuda_place *p, void *stream) {
    DUKD_LAUNCH(place_words, dim3(1), dim3(THREADS), 0, stream, *p);
    return static_cast<int>(cudaGetLastError());
}

extern "C" int dukd_cuda_launch_zoom_in(const dukd_cuda_zoom_in *p, void *stream) {
    using namespace dukd_element;
    const dim3 grid(blocks_for(p->n * p->c * p->h * p->w)), block(THREADS);
    const dukd_cuda_zoom_in q = divided(*p);
    if (p->hr.type == DUKD_CUDA_F32) {
        DUKD_LAUNCH((zoom_in_pixels<f32, uint32_t>), grid, block, 0, stream, q);
    } else if (p->hr.type == DUKD_CUDA_F16) {
        DUKD_LAUNCH((zoom_in_pixels<f16, uint16_t>), grid, block, 0, stream, q);
    } else {
        DUKD_LAUNCH((zoom_in_pixels<bf16, uint16_t>), grid, block, 0, stream, q);
    }
    return static_cast<int>(cudaGetLastError());
}

extern "C" int dukd_cuda_launch_zoom_out(const dukd_cuda_zoom_out *p, void *stream) {
    using namespace dukd_element;
    const dim3 grid(static_cast<unsigned>(p->n * p->c * p->out_h * p->tiles_w)), block(THREADS);
    dukd_cuda_zoom_out q = *p;
    q.by_tiles_w = dukd_cuda_divider_of(p->tiles_w);
    q.by_out_h = dukd_cuda_divider_of(p->out_h);
    q.by_c = dukd_cuda_divider_of(p->c);
    const int64_t outputs = p->out_w < OUTPUTS ? p->out_w : OUTPUTS;
    const size_t bytes = static_cast<size_t>((outputs - 1) * p->scale + p->taps) * sizeof(double);
    if (p->lr.type == DUKD_CUDA_F32) {
        DUKD_LAUNCH(zoom_out_rows<f32>, grid, block, bytes, stream, q);
    } else if (p->lr.type == DUKD_CUDA_F16) {
        DUKD_LAUNCH(zoom_out_rows<f16>, grid, block, bytes, stream, q);
    } else {
        DUKD_LAUNCH(zoom_out_rows<bf16>, grid, block, bytes, stream, q);
    }
    return static_cast<int>(cudaGetLastError());
}

extern "C" int dukd_cuda_launch_upscale(const dukd_cuda_upscale *p, void *stream) {
    const dim3 grid(blocks_for(p->n * p->c * p->h * p->w));
    dukd_cuda_upscale q = divided(*p);
    q.by_scale = dukd_cuda_divider_of(p->scale);
    DUKD_LAUNCH(upscale_pixels, grid, dim3(THREADS), 0, stream, q);
    return static_cast<int>(cudaGetLastError());
}

extern "C" int dukd_cuda_load_images(void) {
    using namespace dukd_element;
    cudaFuncAttributes a;
    int status = static_cast<int>(cudaFuncGetAttributes(&a, place_words));
    if (status == 0) status = static_cast<int>(cudaFuncGetAttributes(&a, zoom_in_pixels<f32, uint32_t>));
    if (status == 0) status = static_cast<int>(cudaFuncGetAttributes(&a, zoom_in_pixels<f16, uint16_t>));
    if (status == 0) status = static_cast<int>(cudaFuncGetAttributes(&a, zoom_in_pixels<bf16, uint16_t>));
    if (status == 0) status = static_cast<int>(cudaFuncGetAttributes(&a, zoom_out_rows<f32>));
    if (status == 0) status = static_cast<int>(cudaFuncGetAttributes(&a, zoom_out_rows<f16>));
    if (status == 0) status = static_cast<int>(cudaFuncGetAttributes(&a, zoom_out_rows<bf16>));
    if (status == 0) status = static_cast<int>(cudaFuncGetAttributes(&a, upscale_pixels));
    return status;
}
