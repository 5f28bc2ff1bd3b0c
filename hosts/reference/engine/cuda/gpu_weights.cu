/* Parameters to the weights that are run, and the gradient of those back: what packed_weights.c does with loops, as arithmetic on indices.
 *
 * A packed element (m, dy, dx, s) has one element of the parameter (out, in, ky, kx) or none, and is 0 then: packing is a gather. A parameter's
 * element is there once, or, where the convolution has swallowed a shuffle by r, once for each of the r^2 pixels (i, j) that a low pixel holds;
 * their gradients are added in that order.
 *
 * A block has one output channel, of the packed weights or of the parameter: its part of the parameter is one run of memory, and what is read out
 * of order stays in the first cache. */
#include "gpu_device.h"

#define THREADS 256

namespace {

using namespace gpu;

struct shape {
    gpu_packing p;
    int32_t inputs; /* packed: in_channels / groups */
    int32_t area,
        start; /* r^2; row of the large image where the kernel of its pixel 0 begins, counted from the first row of the side */
    int64_t elements;                               /* of an output channel, packed or of the parameter */
    divider by_inputs, by_side, by_kernel, by_taps; /* taps: kernel^2 */
    divider by_spread, by_area, by_param_out;
    divider by_order, by_order_area, by_source, by_source_area; /* channels / r^2 of an order r, and r^2 */
};

/* The channel of the graph at m of memory in order r, and back (packed_weights.c): of r^2 parts, `part` channels each. */
__device__ __forceinline__ uint32_t graph_channel(uint32_t m, const divider &part, uint32_t area) {
    const uint32_t which = part.split(&m);
    return m * area + which;
}
__device__ __forceinline__ uint32_t memory_channel(uint32_t c, const divider &area, uint32_t part) {
    const uint32_t rest = area.split(&c);
    return c * part + rest;
}

/* The parameter's channel that packed output m is of, and the pixel (i, j) it is for; false where m only pads. */
__device__ __forceinline__ bool output_of(const shape &z, uint32_t m, uint32_t *out, uint32_t *i,
                                          uint32_t *j) {
    if (m >= static_cast<uint32_t>(z.p.param_out * z.area)) return false;
    *i = *j = 0;
    if (z.p.spread == 1) {
        *out = graph_channel(m, z.by_order, z.by_order_area.divisor);
        return true;
    }
    *out = m;
    *j = z.by_param_out.split(out);
    *i = z.by_spread.split(j);
    return true;
}

template <class E>
__global__ void __launch_bounds__(THREADS) pack(const shape z, typename E::word *packed, const float *weight,
                                                float *packed_bias, const float *bias) {
    const uint32_t m = blockIdx.x;
    uint32_t out = 0, i = 0, j = 0;
    const bool used = output_of(z, m, &out, &i, &j);
    if (packed_bias != nullptr && threadIdx.x == 0)
        packed_bias[m] = used && bias != nullptr ? bias[out] * z.p.scale : 0.0f;
    typename E::word *to = packed + m * z.elements;
    const int32_t r = z.p.spread, k = z.p.kernel;
    const float *from = weight + static_cast<int64_t>(out) * z.p.param_in * k * k;
    const int32_t top = z.start - static_cast<int32_t>(i), left = z.start - static_cast<int32_t>(j);
    for (uint32_t e = threadIdx.x; e < static_cast<uint32_t>(z.elements); e += THREADS) {
        uint32_t s = e, dx = z.by_inputs.split(&s);
        const uint32_t dy = z.by_side.split(&dx);
        uint32_t in = graph_channel(s, z.by_source, z.by_source_area.divisor);
        int32_t ky = static_cast<int32_t>(dy), kx = static_cast<int32_t>(dx);
        if (r > 1) { /* the large image's channel, and which pixel of the low one */
            uint32_t x = in;
            in = z.by_area.split(&x);
            const uint32_t y = z.by_spread.split(&x);
            ky = ky * r + static_cast<int32_t>(y) + top;
            kx = kx * r + static_cast<int32_t>(x) + left;
        }
        float w = 0.0f;
        if (used && s < static_cast<uint32_t>(z.p.param_in * z.area) && ky >= 0 && ky < k && kx >= 0 &&
            kx < k)
            w = from[(static_cast<int64_t>(in) * k + ky) * k + kx] * z.p.scale;
        to[e] = E::to(w);
    }
}

__global__ void __launch_bounds__(THREADS)
    unpack(const shape z, float *d_weight, const float *d_packed, float *d_bias, const float *d_packed_bias) {
    const uint32_t out = blockIdx.x, param_out = static_cast<uint32_t>(z.p.param_out);
    const uint32_t r = static_cast<uint32_t>(z.p.spread), side = static_cast<uint32_t>(z.p.side);
    const uint32_t m0 = r > 1 ? out : memory_channel(out, z.by_order_area, z.by_order.divisor);
    if (d_bias != nullptr && threadIdx.x == 0) {
        float sum = 0.0f;
        for (uint32_t p = 0; p < static_cast<uint32_t>(z.area); p++) sum += d_packed_bias[p * param_out + m0];
        d_bias[out] += sum * z.p.scale;
    }
    if (d_weight == nullptr) return;
    float *to = d_weight + out * z.elements;
    for (uint32_t e = threadIdx.x; e < static_cast<uint32_t>(z.elements); e += THREADS) {
        uint32_t tap = e, in = z.by_taps.split(&tap), kx = tap;
        const uint32_t ky = z.by_kernel.split(&kx);
        float sum = 0.0f;
        for (uint32_t i = 0; i < r; i++) {
            uint32_t y = ky + i - static_cast<uint32_t>(z.start), dy = ky;
            if (r > 1) dy = z.by_spread.split(&y);
            for (uint32_t j = 0; j < r; j++) {
                uint32_t x = kx + j - static_cast<uint32_t>(z.start), dx = kx, channel = in;
                if (r > 1) {
                    dx = z.by_spread.split(&x);
                    channel = in * r * r + y * r + x;
                }
                const uint32_t s = memory_channel(channel, z.by_source_area, z.by_source.divisor);
                const int64_t m = (i * r + j) * param_out + m0;
                sum += d_packed[((m * side + dy) * side + dx) * z.inputs + s];
            }
        }
        to[e] += sum * z.p.scale;
    }
}

shape shape_of(const gpu_packing &p) {
    shape z = {};
    const int32_t r = p.spread, inputs = p.param_in * r * r, source_area = p.source_order * p.source_order;
    z.p = p;
    z.inputs = p.in_channels / p.groups;
    z.area = r * r;
    z.start = p.kernel / 2 - p.side / 2 * r; /* 0 without a spread, else negative or 0 */
    z.by_inputs = divider_of(z.inputs), z.by_side = divider_of(p.side), z.by_kernel = divider_of(p.kernel);
    z.by_taps = divider_of(p.kernel * p.kernel), z.by_spread = divider_of(r), z.by_area = divider_of(r * r);
    z.by_param_out = divider_of(p.param_out);
    const int32_t area = r > 1 ? 1 : p.order * p.order; /* with a spread the order is the spread's */
    z.by_order_area = divider_of(area), z.by_order = divider_of(p.param_out / area);
    z.by_source_area = divider_of(source_area), z.by_source = divider_of(inputs / source_area);
    return z;
}

} // namespace

extern "C" int gpu_pack_weights(void *stream, const gpu_packing *p, const float *weight, const float *bias,
                                void *packed, dukd_type type, float *packed_bias) {
    shape z = shape_of(*p);
    z.elements = static_cast<int64_t>(p->side) * p->side * z.inputs;
    if (p->out_channels <= 0) return 0;
    return with_type(type, [&](auto e) {
        typedef decltype(e) E;
        DUKD_LAUNCH(pack<E>, dim3(static_cast<unsigned>(p->out_channels)), dim3(THREADS), 0, stream, z,
                    static_cast<typename E::word *>(packed), weight, packed_bias, bias);
        return static_cast<int>(cudaGetLastError());
    });
}

extern "C" int gpu_unpack_gradient(void *stream, const gpu_packing *p, float *d_weight, const float *d_packed,
                                   float *d_bias, const float *d_packed_bias) {
    shape z = shape_of(*p);
    z.elements = static_cast<int64_t>(p->param_in) * p->kernel * p->kernel;
    if (p->param_out <= 0 || (!d_weight && !d_bias)) return 0;
    DUKD_LAUNCH(unpack, dim3(static_cast<unsigned>(p->param_out)), dim3(THREADS), 0, stream, z, d_weight,
                d_packed, d_bias, d_packed_bias);
    return static_cast<int>(cudaGetLastError());
}

extern "C" int gpu_load_weights(void) {
    return load_kernels(pack<f32>, pack<bf16>, unpack);
}
