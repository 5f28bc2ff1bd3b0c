/* Element by element, and what has a number for each image or channel; channels copied and summed. */
#include "gpu_sums.h"

namespace {

using namespace gpu;

/* ---------------------------------------------------------------- functions of one, two or three numbers */

struct relu { /* a NaN goes through */
    static constexpr int INPUTS = 1;
    __device__ __forceinline__ float operator()(float x, float, float) const {
        return x > 0.0f || x != x ? x : 0.0f;
    }
};
struct leaky {
    static constexpr int INPUTS = 1;
    float slope;
    __device__ __forceinline__ float operator()(float x, float, float) const {
        return x > 0.0f ? x : x * slope;
    }
};
struct relu_back {
    static constexpr int INPUTS = 2;
    __device__ __forceinline__ float operator()(float d, float y, float) const { return y > 0.0f ? d : 0.0f; }
};
struct leaky_back {
    static constexpr int INPUTS = 2;
    float slope;
    __device__ __forceinline__ float operator()(float d, float y, float) const {
        return y > 0.0f ? d : d * slope;
    }
};

/* The normal distribution's function: erfc keeps the small values where 1 + erf would lose them. What is lost in rounding its argument would
 * be multiplied by x^2 there, and is put back: erfc(z + e) = erfc(z) (1 - 2 z e) for large z. */
__device__ __forceinline__ float normal_below(float x) {
    const float z = x * -0.70710678f, e = fmaf(x, -1.21016171e-8f, fmaf(x, -0.70710678f, -z));
    const float below = 0.5f * erfcf(z);
    return x < -1.0f ? fmaf(below * z * -2.0f, e, below) : below;
}

struct gelu {
    static constexpr int INPUTS = 1;
    __device__ __forceinline__ float operator()(float x, float, float) const { return x * normal_below(x); }
};
struct gelu_back {
    static constexpr int INPUTS = 2;
    __device__ __forceinline__ float operator()(float d, float x, float) const {
        const float density = 0.398942280f * expf(x * x * -0.5f);
        return d * (normal_below(x) + x * density);
    }
};
struct sigmoid {
    static constexpr int INPUTS = 1;
    __device__ __forceinline__ float operator()(float x, float, float) const {
        return 1.0f / (1.0f + expf(-x));
    }
};
struct sigmoid_back {
    static constexpr int INPUTS = 2;
    __device__ __forceinline__ float operator()(float d, float y, float) const {
        return d * (y * (1.0f - y));
    }
};
struct scale {
    static constexpr int INPUTS = 1;
    float factor;
    __device__ __forceinline__ float operator()(float x, float, float) const { return x * factor; }
};
struct scale_add {
    static constexpr int INPUTS = 2;
    float factor;
    __device__ __forceinline__ float operator()(float x, float y, float) const { return x * factor + y; }
};
struct add {
    static constexpr int INPUTS = 2;
    __device__ __forceinline__ float operator()(float x, float y, float) const { return x + y; }
};
struct mul {
    static constexpr int INPUTS = 2;
    float factor;
    __device__ __forceinline__ float operator()(float a, float b, float) const { return a * (factor * b); }
};
struct mul_add {
    static constexpr int INPUTS = 3;
    float factor;
    __device__ __forceinline__ float operator()(float a, float b, float c) const {
        return a * (factor * b) + c;
    }
};

/* out = f(a, b, c), all of them alike; out may be any of them. */
template <class E, class F> struct pointwise {
    static constexpr int WIDE = E::WIDE;
    typename E::word *out;
    const typename E::word *a, *b, *c;
    F f;
    template <int V> __device__ __forceinline__ void at(int64_t i) const {
        float x[V], y[V], z[V];
        load<E, V>(x, a + i);
        if constexpr (F::INPUTS > 1) load<E, V>(y, b + i);
        if constexpr (F::INPUTS > 2) load<E, V>(z, c + i);
#pragma unroll
        for (int v = 0; v < V; v++) x[v] = f(x[v], F::INPUTS > 1 ? y[v] : 0.0f, F::INPUTS > 2 ? z[v] : 0.0f);
        store<E, V>(out + i, x);
    }
};

/* The same where f has a factor that is the image's. */
template <class E, class F> struct of_image : pointwise<E, F> {
    const float *factors;
    __device__ __forceinline__ void image(int32_t n) { this->f.factor = factors[n]; }
};

/* From one type to another: so many that the shorter vector has 8 bytes. */
template <class O, class I> struct cast {
    static constexpr int WIDE = O::WIDE < I::WIDE ? O::WIDE : I::WIDE;
    typename O::word *out;
    const typename I::word *x;
    int sum;
    template <int V> __device__ __forceinline__ void at(int64_t i) const {
        float a[V], o[V];
        load<I, V>(a, x + i);
        if (sum) {
            load<O, V>(o, out + i);
#pragma unroll
            for (int v = 0; v < V; v++) a[v] += o[v];
        }
        store<O, V>(out + i, a);
    }
};

template <class E, class F>
pointwise<E, F> pointwise_of(const F &f, const dukd_tensor *out, const dukd_tensor *a, const dukd_tensor *b,
                             const dukd_tensor *c) {
    return {data_of<E>(out), data_of<E>(a), b ? data_of<E>(b) : nullptr, c ? data_of<E>(c) : nullptr, f};
}

template <class F>
int run(void *stream, const F &f, const dukd_tensor *out, const dukd_tensor *a,
        const dukd_tensor *b = nullptr, const dukd_tensor *c = nullptr) {
    return with_type(out->type, [&](auto e) {
        typedef decltype(e) E;
        return launch_each(stream, pointwise_of<E>(f, out, a, b, c), count_of(out));
    });
}

template <class F>
int run_images(void *stream, const F &f, const float *factors, const dukd_tensor *out, const dukd_tensor *a,
               const dukd_tensor *b) {
    return with_type(out->type, [&](auto e) {
        typedef decltype(e) E;
        of_image<E, F> g;
        static_cast<pointwise<E, F> &>(g) = pointwise_of<E>(f, out, a, b, nullptr);
        g.factors = factors;
        return launch_images(stream, g, pixels_of(out) * out->channels, out->images);
    });
}

/* ---------------------------------------------------------------- a number for each channel */

template <class E, int WIDTH> struct affine {
    static constexpr int V = WIDTH;
    typename E::word *out;
    const typename E::word *x;
    const float *factors, *shifts; /* NULL: 1 and 0 */
    int32_t channels;
    int sum;
    struct setup {
        float factor[V], shift[V];
        __device__ __forceinline__ setup(const affine &f, int32_t, int32_t c) {
            for (int v = 0; v < V; v++) {
                factor[v] = f.factors != nullptr ? f.factors[c + v] : 1.0f;
                shift[v] = f.shifts != nullptr ? f.shifts[c + v] : 0.0f;
            }
        }
    };
    __device__ __forceinline__ void at(const setup &s, int64_t pixel, int32_t c) const {
        const int64_t i = pixel * channels + c;
        float a[V], o[V];
        load<E, V>(a, x + i);
#pragma unroll
        for (int v = 0; v < V; v++) a[v] = a[v] * s.factor[v] + s.shift[v];
        if (sum) {
            load<E, V>(o, out + i);
#pragma unroll
            for (int v = 0; v < V; v++) a[v] += o[v];
        }
        store<E, V>(out + i, a);
    }
};

/* out = a factor b[image][c] + addend */
template <class E, int WIDTH> struct mul_channels {
    static constexpr int V = WIDTH;
    typename E::word *out;
    const typename E::word *a, *b, *addend; /* addend may be NULL */
    int32_t channels;
    float factor;
    struct setup {
        float g[V];
        __device__ __forceinline__ setup(const mul_channels &f, int32_t image, int32_t c) {
            load<E, V>(g, f.b + static_cast<int64_t>(image) * f.channels + c);
            for (int v = 0; v < V; v++) g[v] *= f.factor;
        }
    };
    __device__ __forceinline__ void at(const setup &s, int64_t pixel, int32_t c) const {
        const int64_t i = pixel * channels + c;
        float x[V], y[V];
        load<E, V>(x, a + i);
#pragma unroll
        for (int v = 0; v < V; v++) x[v] *= s.g[v];
        if (addend != nullptr) {
            load<E, V>(y, addend + i);
#pragma unroll
            for (int v = 0; v < V; v++) x[v] += y[v];
        }
        store<E, V>(out + i, x);
    }
};

/* Channels from one tensor's pixels to another's. `out` and `x` begin at the first of them. */
template <class E, int WIDTH> struct copy_channels {
    static constexpr int V = WIDTH;
    typename E::word *out;
    const typename E::word *x;
    int32_t out_step, x_step;
    int sum;
    struct setup {
        __device__ __forceinline__ setup(const copy_channels &, int32_t, int32_t) {}
    };
    __device__ __forceinline__ void at(const setup &, int64_t pixel, int32_t c) const {
        float a[V], o[V];
        load<E, V>(a, x + pixel * x_step + c);
        if (sum) {
            load<E, V>(o, out + pixel * out_step + c);
#pragma unroll
            for (int v = 0; v < V; v++) a[v] += o[v];
        }
        store<E, V>(out + pixel * out_step + c, a);
    }
};

/* out, of type O, = act(x + bias[c]) + addend */
template <class O, class I, int WIDTH> struct epilogue {
    static constexpr int V = WIDTH;
    typename O::word *out;
    const typename I::word *x;
    const typename O::word *addend; /* NULL allowed */
    const float *bias;              /* NULL allowed */
    int32_t channels;
    dukd_activation act;
    float slope;
    struct setup {
        float bias[V];
        __device__ __forceinline__ setup(const epilogue &f, int32_t, int32_t c) {
            for (int v = 0; v < V; v++) bias[v] = f.bias != nullptr ? f.bias[c + v] : 0.0f;
        }
    };
    __device__ __forceinline__ void at(const setup &s, int64_t pixel, int32_t c) const {
        const int64_t i = pixel * channels + c;
        float a[V], o[V];
        load<I, V>(a, x + i);
#pragma unroll
        for (int v = 0; v < V; v++) {
            a[v] += s.bias[v];
            if (act == DUKD_ACT_GELU) {
                a[v] = gelu()(a[v], 0.0f, 0.0f);
            } else if (act == DUKD_ACT_RELU) {
                a[v] = slope == 0.0f ? relu()(a[v], 0.0f, 0.0f) : leaky{slope}(a[v], 0.0f, 0.0f);
            }
        }
        if (addend != nullptr) {
            load<O, V>(o, addend + i);
#pragma unroll
            for (int v = 0; v < V; v++) a[v] += o[v];
        }
        store<O, V>(out + i, a);
    }
};

/* ---------------------------------------------------------------- what is summed over pixels */

template <class E, int WIDTH> struct value {
    static constexpr int V = WIDTH;
    const typename E::word *a;
    int32_t channels;
    __device__ __forceinline__ void at(int64_t pixel, int32_t c, float (&term)[V]) const {
        load<E, V>(term, a + pixel * channels + c);
    }
};

/* d, masked in its place */
template <class E, int WIDTH, class F> struct masked {
    static constexpr int V = WIDTH;
    typename E::word *d;
    const typename E::word *y;
    int32_t channels;
    F f;
    __device__ __forceinline__ void at(int64_t pixel, int32_t c, float (&term)[V]) const {
        const int64_t i = pixel * channels + c;
        float z[V];
        load<E, V>(term, d + i);
        load<E, V>(z, y + i);
#pragma unroll
        for (int v = 0; v < V; v++) term[v] = f(term[v], z[v], 0.0f);
        store<E, V>(d + i, term);
    }
};

template <class E, int WIDTH> struct product {
    static constexpr int V = WIDTH;
    const typename E::word *a, *b;
    int32_t channels;
    __device__ __forceinline__ void at(int64_t pixel, int32_t c, float (&term)[V]) const {
        float y[V];
        load<E, V>(term, a + pixel * channels + c);
        load<E, V>(y, b + pixel * channels + c);
#pragma unroll
        for (int v = 0; v < V; v++) term[v] *= y[v];
    }
};

sum_shape shape_of_images(const dukd_tensor *t) {
    return sum_shape_of(t->channels, pixels_of(t), t->images);
}

sum_shape shape_of_all(const dukd_tensor *t) {
    return sum_shape_of(t->channels, t->images * pixels_of(t), 1);
}

} // namespace

/* ---------------------------------------------------------------- the functions */

extern "C" int gpu_leaky_relu(void *stream, const dukd_tensor *out, const dukd_tensor *x, float slope) {
    return slope == 0.0f ? run(stream, relu(), out, x) : run(stream, leaky{slope}, out, x);
}

extern "C" int gpu_leaky_relu_back(void *stream, const dukd_tensor *d, const dukd_tensor *y, float slope) {
    return slope == 0.0f ? run(stream, relu_back(), d, d, y) : run(stream, leaky_back{slope}, d, d, y);
}

extern "C" int gpu_gelu(void *stream, const dukd_tensor *out, const dukd_tensor *x) {
    return run(stream, gelu(), out, x);
}

extern "C" int gpu_gelu_back(void *stream, const dukd_tensor *d, const dukd_tensor *x) {
    return run(stream, gelu_back(), d, d, x);
}

extern "C" int gpu_sigmoid(void *stream, const dukd_tensor *out, const dukd_tensor *x) {
    return run(stream, sigmoid(), out, x);
}

extern "C" int gpu_sigmoid_back(void *stream, const dukd_tensor *d, const dukd_tensor *y) {
    return run(stream, sigmoid_back(), d, d, y);
}

extern "C" int gpu_scale(void *stream, const dukd_tensor *out, const dukd_tensor *x, float factor) {
    return run(stream, scale{factor}, out, x);
}

extern "C" int gpu_add(void *stream, const dukd_tensor *out, const dukd_tensor *a, const dukd_tensor *b) {
    return run(stream, add(), out, a, b);
}

extern "C" int gpu_cast(void *stream, const dukd_tensor *out, const dukd_tensor *x, int sum) {
    return with_type(out->type, [&](auto o) {
        return with_type(x->type, [&](auto i) {
            typedef decltype(o) O;
            typedef decltype(i) I;
            return launch_each(stream, cast<O, I>{data_of<O>(out), data_of<I>(x), sum}, count_of(out));
        });
    });
}

extern "C" int gpu_image_add(void *stream, const dukd_tensor *out, const dukd_tensor *x, const float *factors,
                             const dukd_tensor *b) {
    return run_images(stream, scale_add{0.0f}, factors, out, x, b);
}

extern "C" int gpu_image_scale(void *stream, const dukd_tensor *out, const dukd_tensor *x,
                               const float *factors, int sum) {
    return sum ? run_images(stream, scale_add{0.0f}, factors, out, x, out)
               : run_images(stream, scale{0.0f}, factors, out, x, nullptr);
}

extern "C" int gpu_affine(void *stream, const dukd_tensor *out, const dukd_tensor *x, const float *factors,
                          const float *shifts, int sum) {
    return with_type(out->type, [&](auto e) {
        typedef decltype(e) E;
        return with_width<E>(out->channels, [&](auto w) {
            const affine<E, w.value> f = {data_of<E>(out), data_of<E>(x), factors,
                                          shifts,          out->channels, sum};
            return launch_channels(stream, f, out->channels, out->images * pixels_of(out), 1);
        });
    });
}

extern "C" int gpu_mul(void *stream, const dukd_tensor *out, const dukd_tensor *a, const dukd_tensor *b,
                       const dukd_tensor *addend, float factor) {
    if (pixels_of(b) == pixels_of(out))
        return addend ? run(stream, mul_add{factor}, out, a, b, addend) : run(stream, mul{factor}, out, a, b);
    return with_type(out->type, [&](auto e) {
        typedef decltype(e) E;
        return with_width<E>(out->channels, [&](auto w) {
            const mul_channels<E, w.value> f = {data_of<E>(out), data_of<E>(a),
                                                data_of<E>(b),   addend ? data_of<E>(addend) : nullptr,
                                                out->channels,   factor};
            return launch_channels(stream, f, out->channels, pixels_of(out), out->images);
        });
    });
}

extern "C" int gpu_mul_back(void *stream, const dukd_tensor *da, const dukd_tensor *d, const dukd_tensor *b,
                            float factor, int sum) {
    return gpu_mul(stream, da, d, b, sum ? da : nullptr, factor);
}

extern "C" int64_t gpu_mul_back_channels_scratch(const dukd_tensor *d) {
    return sum_bytes(shape_of_images(d));
}

extern "C" int gpu_mul_back_channels(void *stream, const dukd_tensor *db, const dukd_tensor *d,
                                     const dukd_tensor *a, float factor, int sum, void *scratch) {
    return with_type(d->type, [&](auto e) {
        typedef decltype(e) E;
        return with_width<E>(d->channels, [&](auto w) {
            const product<E, w.value> s = {data_of<E>(d), data_of<E>(a), d->channels};
            return launch_sums<E>(stream, data_of<E>(db), s, shape_of_images(d), factor, sum, scratch);
        });
    });
}

extern "C" int gpu_copy_channels(void *stream, const dukd_tensor *out, int32_t out_first,
                                 const dukd_tensor *x, int32_t x_first, int32_t count, int sum) {
    return with_type(out->type, [&](auto e) {
        typedef decltype(e) E;
        const int32_t places = out->channels | out_first | x->channels | x_first | count;
        return with_width<E>(places, [&](auto w) {
            const copy_channels<E, w.value> f = {data_of<E>(out) + out_first, data_of<E>(x) + x_first,
                                                 out->channels, x->channels, sum};
            return launch_channels(stream, f, count, out->images * pixels_of(out), 1);
        });
    });
}

extern "C" int gpu_epilogue(void *stream, const dukd_tensor *out, const dukd_tensor *x, const float *bias,
                            dukd_activation act, float slope, const dukd_tensor *addend) {
    return with_type(out->type, [&](auto o) {
        return with_type(x->type, [&](auto i) {
            typedef decltype(o) O;
            typedef decltype(i) I;
            typedef typename std::conditional<O::WIDE == 4, O, I>::type narrow; /* of f32 and bf16: f32 */
            return with_width<narrow>(out->channels, [&](auto w) {
                const epilogue<O, I, w.value> f = {data_of<O>(out),
                                                   data_of<I>(x),
                                                   addend ? data_of<O>(addend) : nullptr,
                                                   bias,
                                                   out->channels,
                                                   act,
                                                   slope};
                return launch_channels(stream, f, out->channels, out->images * pixels_of(out), 1);
            });
        });
    });
}

extern "C" int32_t gpu_channel_part_count(const dukd_tensor *x) {
    return count_of(x) > 0 ? shape_of_all(x).parts : 0;
}

extern "C" int gpu_channel_parts(void *stream, float *parts, const dukd_tensor *x) {
    if (count_of(x) <= 0) return 0;
    return with_type(x->type, [&](auto e) {
        typedef decltype(e) E;
        return with_width<E>(x->channels, [&](auto w) {
            const value<E, w.value> s = {data_of<E>(x), x->channels};
            return launch_sum_parts(stream, s, shape_of_all(x), parts);
        });
    });
}

namespace {

template <class E, int V, class F>
int relu_back_parts(void *stream, const F &f, const dukd_tensor *d, const dukd_tensor *y, float *parts,
                    const dukd_tensor *other, float *other_parts) {
    const masked<E, V, F> a = {data_of<E>(d), data_of<E>(y), d->channels, f};
    const sum_shape z = shape_of_all(d);
    if (other == nullptr) return launch_sum_parts(stream, a, z, parts);
    const value<E, V> b = {data_of<E>(other), other->channels};
    const sum_shape of_other = shape_of_all(other);
    DUKD_LAUNCH((sum_two_parts<masked<E, V, F>, value<E, V>>),
                dim3(static_cast<unsigned>(z.parts) + static_cast<unsigned>(of_other.parts)),
                block_for(d->channels / V), 0, stream, a, z, parts, b, of_other, other_parts);
    return static_cast<int>(cudaGetLastError());
}

} // namespace

extern "C" int gpu_leaky_relu_back_parts(void *stream, const dukd_tensor *d, const dukd_tensor *y,
                                         float slope, float *parts, const dukd_tensor *other,
                                         float *other_parts) {
    if (count_of(d) <= 0) return 0;
    return with_type(d->type, [&](auto e) {
        typedef decltype(e) E;
        return with_width<E>(d->channels, [&](auto w) {
            return slope == 0.0f
                       ? relu_back_parts<E, w.value>(stream, relu_back(), d, y, parts, other, other_parts)
                       : relu_back_parts<E, w.value>(stream, leaky_back{slope}, d, y, parts, other,
                                                     other_parts);
        });
    });
}

/* ---------------------------------------------------------------- registration */

namespace {

template <class E, class... F> int load_pointwise() {
    return load_kernels(each<pointwise<E, F>>...);
}

template <class E, class F> int load_images() {
    return load_kernels(each_image<of_image<E, F>, E::WIDE>, each_image<of_image<E, F>, 1>);
}

template <class E, int... V> int load_widths() {
    return load_kernels(each_channel<affine<E, V>>..., each_channel<mul_channels<E, V>>...,
                        each_channel<copy_channels<E, V>>..., each_channel<epilogue<E, E, V>>...,
                        sum_parts<value<E, V>>..., sum_parts<product<E, V>>..., finish_sums<E>,
                        sum_parts<masked<E, V, relu_back>>..., sum_parts<masked<E, V, leaky_back>>...,
                        sum_two_parts<masked<E, V, relu_back>, value<E, V>>...,
                        sum_two_parts<masked<E, V, leaky_back>, value<E, V>>...);
}

template <class E> int load_type() {
    int status = load_pointwise<E, relu, leaky, relu_back, leaky_back, gelu, gelu_back, sigmoid, sigmoid_back,
                                scale, add, mul, mul_add>();
    if (status == 0) status = load_images<E, scale>();
    if (status == 0) status = load_images<E, scale_add>();
    if (status == 0) status = load_kernels(each<cast<E, f32>>, each<cast<E, bf16>>);
    return status;
}

} // namespace

extern "C" int gpu_load_elements(void) {
    int status = load_type<f32>();
    if (status == 0) status = load_type<bf16>();
    if (status == 0) status = load_widths<f32, 4, 1>();
    if (status == 0) status = load_widths<bf16, 8, 4, 1>();
    if (status == 0)
        status = load_kernels(each_channel<epilogue<f32, bf16, 4>>, each_channel<epilogue<f32, bf16, 1>>,
                              each_channel<epilogue<bf16, f32, 4>>, each_channel<epilogue<bf16, f32, 1>>);
    return status;
}
