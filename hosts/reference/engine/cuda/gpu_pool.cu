/* See ops.h: means and deviations of channels, maxima of windows, bilinear resizing, and their gradients.
 *
 * A thread has a vector of the channels of a pixel (gpu_each.h), so that neighbours read neighbouring memory whatever the windows
 * are; what is read again comes from L1. Gradients are gathered by the pixel that receives them: one order of every sum. No shared memory but in
 * the sums (gpu_sums.h: 8 KiB). */
#include "gpu_sums.h"

using namespace gpu;

namespace {

/* ---------------------------------------------------------------- mean and deviation */

template <class E, int WIDTH> struct term_value {
    static constexpr int V = WIDTH;
    const typename E::word *x;
    int32_t channels;
    __device__ __forceinline__ void at(int64_t pixel, int32_t c, float (&term)[V]) const {
        load<E, V>(term, x + pixel * channels + c);
    }
};

/* The square of its distance from the mean of its image. */
template <class E, int WIDTH> struct term_square {
    static constexpr int V = WIDTH;
    const typename E::word *x;
    const float *means; /* images x channels */
    int32_t channels;
    int64_t pixels;
    __device__ __forceinline__ void at(int64_t pixel, int32_t c, float (&term)[V]) const {
        const float *mean = means + pixel / pixels * channels + c;
        load<E, V>(term, x + pixel * channels + c);
#pragma unroll
        for (int v = 0; v < V; v++) {
            const float d = term[v] - mean[v];
            term[v] = d * d;
        }
    }
};

/* dx (+)= factor d, the same for all pixels of an image. */
template <class E, int WIDTH> struct spread_mean {
    static constexpr int V = WIDTH;
    typename E::word *dx;
    const typename E::word *d;
    int32_t channels;
    float factor;
    int sum;
    struct setup {
        float g[V];
        __device__ __forceinline__ setup(const spread_mean &f, int64_t image, int32_t c) {
            load<E, V>(g, f.d + image * f.channels + c);
#pragma unroll
            for (int v = 0; v < V; v++) g[v] *= f.factor;
        }
    };
    __device__ __forceinline__ void at(const setup &s, int64_t pixel, int32_t c) const {
        typename E::word *to = dx + pixel * channels + c;
        float r[V];
        if (sum) load<E, V>(r, to);
#pragma unroll
        for (int v = 0; v < V; v++) r[v] = sum ? s.g[v] + r[v] : s.g[v];
        store<E, V>(to, r);
    }
};

/* Its vectors: with 8 numbers each of mean and factor it would spill. */
template <int V> constexpr int of_deviation() {
    return V > 4 ? 4 : V;
}

/* dx (+)= (x - mean) factor d / y, and nothing where y is 0. */
template <class E, int WIDTH> struct spread_deviation {
    static constexpr int V = WIDTH;
    typename E::word *dx;
    const typename E::word *d, *x, *y;
    const float *means;
    int32_t channels;
    float factor;
    int sum;
    struct setup {
        float g[V], mean[V];
        __device__ __forceinline__ setup(const spread_deviation &f, int64_t image, int32_t c) {
            float y[V];
            load<E, V>(g, f.d + image * f.channels + c);
            load<E, V>(y, f.y + image * f.channels + c);
#pragma unroll
            for (int v = 0; v < V; v++) {
                g[v] = y[v] == 0.0f ? 0.0f : f.factor * g[v] / y[v];
                mean[v] = f.means[image * f.channels + c + v];
            }
        }
    };
    __device__ __forceinline__ void at(const setup &s, int64_t pixel, int32_t c) const {
        typename E::word *to = dx + pixel * channels + c;
        float a[V], r[V];
        load<E, V>(a, x + pixel * channels + c);
        if (sum) load<E, V>(r, to);
#pragma unroll
        for (int v = 0; v < V; v++) r[v] = (a[v] - s.mean[v]) * s.g[v] + (sum ? r[v] : 0.0f);
        store<E, V>(to, r);
    }
};

/* ---------------------------------------------------------------- where pixels lie */

struct image_size {
    int32_t height, width, channels;
};

static image_size size_of(const dukd_tensor *t) {
    return {t->height, t->width, t->channels};
}

static __device__ __forceinline__ int64_t offset_of(const image_size &z, int64_t n, int64_t y, int64_t x,
                                                    int32_t c) {
    return ((n * z.height + y) * z.width + x) * z.channels + c;
}

/* Row and column of a pixel that was counted through all images. */
struct place {
    int64_t n;
    int32_t y, x;
    __device__ __forceinline__ place(const image_size &z, int64_t image, int64_t pixel) {
        const int64_t i = pixel - image * z.height * z.width;
        n = image;
        y = static_cast<int32_t>(i / z.width);
        x = static_cast<int32_t>(i - static_cast<int64_t>(y) * z.width);
    }
};

/* What is known of a thread's image: the operations below need no more. */
struct image_alone {
    int64_t n;
    template <class F> __device__ __forceinline__ image_alone(const F &, int64_t image, int32_t) : n(image) {}
};

/* ---------------------------------------------------------------- maxima */

template <class E, int WIDTH> struct find_maxima {
    static constexpr int V = WIDTH;
    typedef image_alone setup;
    typename E::word *out;
    const typename E::word *x;
    image_size of_out, of_x;
    int32_t kernel, stride;
    __device__ __forceinline__ void at(const setup &s, int64_t pixel, int32_t c) const {
        const place p(of_out, s.n, pixel);
        const typename E::word *row = x + offset_of(of_x, p.n, static_cast<int64_t>(p.y) * stride,
                                                    static_cast<int64_t>(p.x) * stride, c);
        float best[V];
        load<E, V>(best, row);
        for (int32_t i = 0; i < kernel; i++, row += static_cast<int64_t>(of_x.width) * of_x.channels) {
            for (int32_t k = 0; k < kernel; k++) {
                float a[V];
                load<E, V>(a, row + static_cast<int64_t>(k) * of_x.channels);
#pragma unroll
                for (int v = 0; v < V; v++) best[v] = a[v] > best[v] || a[v] != a[v] ? a[v] : best[v];
            }
        }
        store<E, V>(out + pixel * of_out.channels + c, best);
    }
};

/* Windows, or pixels of another size, that a pixel of one side goes into: [begin, end). */
struct range {
    int32_t begin, end;
};

static __device__ __forceinline__ range windows_of(int32_t i, int32_t kernel, int32_t stride, int32_t count) {
    const int32_t end = i / stride + 1;
    return {i < kernel ? 0 : (i - kernel) / stride + 1, end < count ? end : count};
}

/* The pixel gets a window's gradient where no other of the window comes before it: the first of the largest, or the last NaN. The window is
 * left as soon as that is so for no channel of the vector. */
template <class E, int WIDTH> struct give_to_maxima {
    static constexpr int V = WIDTH;
    typedef image_alone setup;
    typename E::word *dx;
    const typename E::word *d, *x;
    image_size of_x, of_d;
    int32_t kernel, stride;
    int sum;

    /* Bit v: channel c + v of the pixel, `mine`, is what its window at `corner` is the maximum of. */
    __device__ __forceinline__ uint32_t is_maximum(const typename E::word *corner, int32_t my_place,
                                                   const float (&mine)[V]) const {
        uint32_t still = (1u << V) - 1u;
        int32_t i = 0;
        for (int32_t row = 0; row < kernel && still != 0; row++) {
            const typename E::word *from = corner + static_cast<int64_t>(row) * of_x.width * of_x.channels;
            for (int32_t k = 0; k < kernel && still != 0; k++, i++) {
                float a[V];
                load<E, V>(a, from + static_cast<int64_t>(k) * of_x.channels);
#pragma unroll
                for (int v = 0; v < V; v++) {
                    const bool nan = a[v] != a[v], mine_nan = mine[v] != mine[v];
                    const bool before = mine_nan ? nan && i > my_place
                                                 : nan || a[v] > mine[v] || (a[v] == mine[v] && i < my_place);
                    if (before) still &= ~(1u << v);
                }
            }
        }
        return still;
    }

    __device__ __forceinline__ void at(const setup &s, int64_t pixel, int32_t c) const {
        const place p(of_x, s.n, pixel);
        const int64_t here = pixel * of_x.channels + c;
        const range down = windows_of(p.y, kernel, stride, of_d.height),
                    across = windows_of(p.x, kernel, stride, of_d.width);
        float mine[V], total[V];
        load<E, V>(mine, x + here);
#pragma unroll
        for (int v = 0; v < V; v++) total[v] = 0.0f;
        if (sum) load<E, V>(total, dx + here);
        for (int32_t i = down.begin; i < down.end; i++) {
            for (int32_t k = across.begin; k < across.end; k++) {
                const int32_t my_place = (p.y - i * stride) * kernel + p.x - k * stride;
                const uint32_t still =
                    is_maximum(x + offset_of(of_x, p.n, i * stride, k * stride, c), my_place, mine);
                if (still == 0) continue;
                float g[V];
                load<E, V>(g, d + offset_of(of_d, p.n, i, k, c));
#pragma unroll
                for (int v = 0; v < V; v++) total[v] += (still >> v & 1u) != 0 ? g[v] : 0.0f;
            }
        }
        store<E, V>(dx + here, total);
    }
};

/* ---------------------------------------------------------------- resizing: ops_taps.h has the same for the processor */

/* (1 - weight) in[first] + weight in[second] */
struct tap {
    int32_t first, second;
    float weight;
    __device__ __forceinline__ tap(int32_t o, int32_t in, int32_t out) {
        const float ratio = static_cast<float>(in) / static_cast<float>(out);
        float at = fmaf(static_cast<float>(o) + 0.5f, ratio, -0.5f);
        if (at < 0.0f) at = 0.0f;
        first = static_cast<int32_t>(at);
        if (first > in - 1) first = in - 1;
        second = first + (first < in - 1 ? 1 : 0);
        weight = at - static_cast<float>(first);
    }
    __device__ __forceinline__ float of(int32_t i) const { /* weight of in[i] */
        return (first == i ? 1.0f - weight : 0.0f) + (second == i ? weight : 0.0f);
    }
};

/* out / in, in 2^30ths: a division of 64 bits on the device is a call, about which registers would spill. */
static int64_t ratio_of(int32_t out, int32_t in) {
    return (static_cast<int64_t>(out) << 30) / in;
}

/* All out[o] that in[i] goes into lie there, and a few others. */
static __device__ __forceinline__ range takers_of(int32_t i, int64_t ratio, int32_t out) {
    const int64_t begin = ((2 * static_cast<int64_t>(i) - 1) * ratio >> 31) - 2,
                  end = ((2 * static_cast<int64_t>(i) + 3) * ratio >> 31) + 3;
    return {static_cast<int32_t>(begin < 0 ? 0 : begin), static_cast<int32_t>(end > out ? out : end)};
}

template <class E, int WIDTH> struct resize {
    static constexpr int V = WIDTH;
    typedef image_alone setup;
    typename E::word *out;
    const typename E::word *x;
    image_size of_out, of_x;
    __device__ __forceinline__ void at(const setup &s, int64_t pixel, int32_t c) const {
        const place p(of_out, s.n, pixel);
        const tap v(p.y, of_x.height, of_out.height), h(p.x, of_x.width, of_out.width);
        float corner[4][V], r[V];
        load<E, V>(corner[0], x + offset_of(of_x, p.n, v.first, h.first, c));
        load<E, V>(corner[1], x + offset_of(of_x, p.n, v.first, h.second, c));
        load<E, V>(corner[2], x + offset_of(of_x, p.n, v.second, h.first, c));
        load<E, V>(corner[3], x + offset_of(of_x, p.n, v.second, h.second, c));
#pragma unroll
        for (int i = 0; i < V; i++) {
            const float above = (1.0f - h.weight) * corner[0][i] + h.weight * corner[1][i];
            const float below = (1.0f - h.weight) * corner[2][i] + h.weight * corner[3][i];
            r[i] = (1.0f - v.weight) * above + v.weight * below;
        }
        store<E, V>(out + pixel * of_out.channels + c, r);
    }
};

template <class E, int WIDTH> struct resize_gather {
    static constexpr int V = WIDTH;
    typedef image_alone setup;
    typename E::word *dx;
    const typename E::word *d;
    image_size of_x, of_d;
    int64_t down_ratio, across_ratio;
    int sum;
    __device__ __forceinline__ void at(const setup &s, int64_t pixel, int32_t c) const {
        const place p(of_x, s.n, pixel);
        const range down = takers_of(p.y, down_ratio, of_d.height),
                    across = takers_of(p.x, across_ratio, of_d.width);
        const int64_t here = pixel * of_x.channels + c;
        float total[V];
#pragma unroll
        for (int v = 0; v < V; v++) total[v] = 0.0f;
        if (sum) load<E, V>(total, dx + here);
        for (int32_t i = down.begin; i < down.end; i++) {
            const float of_row = tap(i, of_x.height, of_d.height).of(p.y);
            if (of_row == 0.0f) continue;
#pragma unroll 1 /* more at a time would spill */
            for (int32_t k = across.begin; k < across.end; k++) {
                const float weight = of_row * tap(k, of_x.width, of_d.width).of(p.x);
                if (weight == 0.0f) continue;
                float g[V];
                load<E, V>(g, d + offset_of(of_d, p.n, i, k, c));
#pragma unroll
                for (int v = 0; v < V; v++) total[v] += weight * g[v];
            }
        }
        store<E, V>(dx + here, total);
    }
};

/* ---------------------------------------------------------------- launches */

/* d(E(), width<V>()): the type, and the widest vectors that divide the channels. */
template <class Do> static int with_vectors(const dukd_tensor *t, Do d) {
    return with_type(t->type, [&](auto e) {
        return with_width<decltype(e)>(t->channels, [&](auto w) { return d(e, w); });
    });
}

static sum_shape shape_of(const dukd_tensor *x) {
    return sum_shape_of(x->channels, pixels_of(x), x->images);
}

/* The means lie before the parts of sums. */
static int64_t means_bytes(const dukd_tensor *x) {
    return (static_cast<int64_t>(x->images) * x->channels * static_cast<int64_t>(sizeof(float)) + 255) / 256 *
           256;
}

/* Of f64, so that it adds no error: a channel that does not vary has deviation 0 where its sum is exact. */
static double part_of(const dukd_tensor *x) {
    return 1.0 / static_cast<double>(pixels_of(x));
}

static char *parts_in(void *scratch, const dukd_tensor *x) {
    return static_cast<char *>(scratch) + means_bytes(x);
}

static int find_means(void *stream, const dukd_tensor *x, void *scratch) {
    return with_vectors(x, [&](auto e, auto w) {
        typedef decltype(e) E;
        const term_value<E, decltype(w)::value> term = {data_of<E>(x), x->channels};
        return launch_sums<f32>(stream, static_cast<float *>(scratch), term, shape_of(x), part_of(x), 0,
                                parts_in(scratch, x));
    });
}

} // namespace

extern "C" int64_t gpu_pool_scratch(const dukd_tensor *x) {
    return means_bytes(x) + sum_bytes(shape_of(x));
}

extern "C" int gpu_mean(void *stream, const dukd_tensor *out, const dukd_tensor *x, void *scratch) {
    return with_vectors(x, [&](auto e, auto w) {
        typedef decltype(e) E;
        const term_value<E, decltype(w)::value> term = {data_of<E>(x), x->channels};
        return launch_sums<E>(stream, data_of<E>(out), term, shape_of(x), part_of(x), 0, scratch);
    });
}

extern "C" int gpu_mean_back(void *stream, const dukd_tensor *dx, const dukd_tensor *d, int sum) {
    return with_vectors(dx, [&](auto e, auto w) {
        typedef decltype(e) E;
        const spread_mean<E, decltype(w)::value> f = {data_of<E>(dx), data_of<E>(d), dx->channels,
                                                      static_cast<float>(part_of(dx)), sum};
        return launch_channels(stream, f, dx->channels, pixels_of(dx), dx->images);
    });
}

extern "C" int gpu_deviation(void *stream, const dukd_tensor *out, const dukd_tensor *x, void *scratch) {
    const int status = find_means(stream, x, scratch);
    if (status != 0) return status;
    return with_vectors(x, [&](auto e, auto w) {
        typedef decltype(e) E;
        const term_square<E, decltype(w)::value> term = {data_of<E>(x), static_cast<const float *>(scratch),
                                                         x->channels, pixels_of(x)};
        return launch_sums<E>(stream, data_of<E>(out), term, shape_of(x), part_of(x), 0, parts_in(scratch, x),
                              1);
    });
}

extern "C" int gpu_deviation_back(void *stream, const dukd_tensor *dx, const dukd_tensor *d,
                                  const dukd_tensor *x, const dukd_tensor *y, int sum, void *scratch) {
    const int status = find_means(stream, x, scratch);
    if (status != 0) return status;
    return with_vectors(dx, [&](auto e, auto w) {
        typedef decltype(e) E;
        const spread_deviation<E, of_deviation<decltype(w)::value>()> f = {
            data_of<E>(dx),
            data_of<E>(d),
            data_of<E>(x),
            data_of<E>(y),
            static_cast<const float *>(scratch),
            dx->channels,
            static_cast<float>(part_of(dx)),
            sum};
        return launch_channels(stream, f, dx->channels, pixels_of(dx), dx->images);
    });
}

extern "C" int gpu_max_pool(void *stream, const dukd_tensor *out, const dukd_tensor *x, int32_t kernel,
                            int32_t stride) {
    return with_vectors(out, [&](auto e, auto w) {
        typedef decltype(e) E;
        const find_maxima<E, decltype(w)::value> f = {data_of<E>(out), data_of<E>(x), size_of(out),
                                                      size_of(x),      kernel,        stride};
        return launch_channels(stream, f, out->channels, pixels_of(out), out->images);
    });
}

extern "C" int gpu_max_pool_back(void *stream, const dukd_tensor *dx, const dukd_tensor *d,
                                 const dukd_tensor *x, int32_t kernel, int32_t stride, int sum) {
    return with_vectors(dx, [&](auto e, auto w) {
        typedef decltype(e) E;
        const give_to_maxima<E, decltype(w)::value> f = {
            data_of<E>(dx), data_of<E>(d), data_of<E>(x), size_of(x), size_of(d), kernel, stride, sum};
        return launch_channels(stream, f, dx->channels, pixels_of(dx), dx->images);
    });
}

extern "C" int gpu_resize(void *stream, const dukd_tensor *out, const dukd_tensor *x) {
    return with_vectors(out, [&](auto e, auto w) {
        typedef decltype(e) E;
        const resize<E, decltype(w)::value> f = {data_of<E>(out), data_of<E>(x), size_of(out), size_of(x)};
        return launch_channels(stream, f, out->channels, pixels_of(out), out->images);
    });
}

extern "C" int gpu_resize_back(void *stream, const dukd_tensor *dx, const dukd_tensor *d, int sum) {
    return with_vectors(dx, [&](auto e, auto w) {
        typedef decltype(e) E;
        const resize_gather<E, decltype(w)::value> f = {data_of<E>(dx),
                                                        data_of<E>(d),
                                                        size_of(dx),
                                                        size_of(d),
                                                        ratio_of(d->height, dx->height),
                                                        ratio_of(d->width, dx->width),
                                                        sum};
        return launch_channels(stream, f, dx->channels, pixels_of(dx), dx->images);
    });
}

template <class E, int V> static int load_of() {
    return load_kernels(sum_parts<term_value<E, V>>, sum_parts<term_square<E, V>>,
                        each_channel<spread_mean<E, V>>, each_channel<spread_deviation<E, of_deviation<V>()>>,
                        each_channel<find_maxima<E, V>>, each_channel<give_to_maxima<E, V>>,
                        each_channel<resize<E, V>>, each_channel<resize_gather<E, V>>);
}

extern "C" int gpu_load_pool(void) {
    int status = load_kernels(finish_sums<f32>, finish_sums<bf16>);
    if (status == 0) status = load_of<f32, 4>();
    if (status == 0) status = load_of<f32, 1>();
    if (status == 0) status = load_of<bf16, 8>();
    if (status == 0) status = load_of<bf16, 4>();
    if (status == 0) status = load_of<bf16, 1>();
    return status;
}
