/* Parameters to the weights that are run, and the gradient of those back: what packed_weights.c does with loops, as arithmetic on indices.
 *
 * A packed element (m, dy, dx, s) has one element of the parameter (out, in, ky, kx) or none, and is 0 then: packing is a gather. A parameter's
 * element is there once, or, where the convolution has swallowed a shuffle by r, once for each of the r^2 pixels (i, j) that a low pixel holds;
 * their gradients are added in that order.
 *
 * A block has one output channel, of the packed weights or of the parameter: its part of the parameter is one run of memory, and what is read out
 * of order stays in the first cache. Or it has 32 channels of a bias, whose gradient's parts it adds in f64 (as finish_sums does).
 *
 * A launch is for a table of jobs, and the blocks' jobs behind them: a block reads which it is for. */
#include "gpu_device.h"

#define THREADS 256

enum { BIAS_CHANNELS = 32, BIAS_ROWS = THREADS / BIAS_CHANNELS };

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

/* ---- tables: jobs, then each block's job ---- */

struct pack_job {
    shape z;
    int64_t weight, bias;
    void *packed;
    float *packed_bias;
    uint16_t *narrow_bias;
    uint32_t first; /* block */
    int32_t narrow; /* bf16 */
};

struct unpack_job {
    shape z;
    int64_t weight, bias, packed, parts;
    uint32_t first; /* block: param_out for the weights, then those for the bias */
    int32_t narrow;
    int32_t part_count;
    int32_t next; /* job of the same parameters; -1: none */
};

template <class Job> __device__ __forceinline__ uint32_t job_of_block(const Job *jobs, int32_t count) {
    return reinterpret_cast<const uint32_t *>(jobs + count)[blockIdx.x];
}

template <class E>
__device__ __forceinline__ void pack_channel(const shape &z, uint32_t m, typename E::word *to,
                                             const float *weight, bool used, uint32_t out, uint32_t i,
                                             uint32_t j) {
    const int32_t r = z.p.spread, k = z.p.kernel;
    const float *from = weight + static_cast<int64_t>(out) * z.p.param_in * k * k;
    const int32_t top = z.start - static_cast<int32_t>(i), left = z.start - static_cast<int32_t>(j);
    to += m * z.elements;
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

__global__ void __launch_bounds__(THREADS) pack(const pack_job *jobs, int32_t count, const float *weights) {
    const pack_job &job = jobs[job_of_block(jobs, count)];
    const shape z = job.z;
    const uint32_t m = blockIdx.x - job.first;
    uint32_t out = 0, i = 0, j = 0;
    const bool used = output_of(z, m, &out, &i, &j);
    if (threadIdx.x == 0) {
        const float b = used && job.bias >= 0 ? weights[job.bias + out] * z.p.scale : 0.0f;
        if (job.packed_bias != nullptr) job.packed_bias[m] = b;
        if (job.narrow_bias != nullptr) job.narrow_bias[m] = bf16::to(b);
    }
    const float *weight = weights + job.weight;
    if (job.narrow)
        pack_channel<bf16>(z, m, static_cast<uint16_t *>(job.packed), weight, used, out, i, j);
    else
        pack_channel<f32>(z, m, static_cast<float *>(job.packed), weight, used, out, i, j);
}

template <class E>
__device__ __forceinline__ void unpack_channel(const shape &z, uint32_t out, float *d_weight,
                                               const typename E::word *d_packed) {
    const uint32_t param_out = static_cast<uint32_t>(z.p.param_out);
    const uint32_t r = static_cast<uint32_t>(z.p.spread), side = static_cast<uint32_t>(z.p.side);
    const uint32_t m0 = r > 1 ? out : memory_channel(out, z.by_order_area, z.by_order.divisor);
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
                sum += E::from(d_packed[((m * side + dy) * side + dx) * z.inputs + s]);
            }
        }
        to[e] += sum * z.p.scale;
    }
}

/* Channels `first` and up to 31 more of a bias: threads (channel, every 8th part). */
__device__ __forceinline__ void unpack_bias(const shape &z, uint32_t first, float *d_bias, const float *parts,
                                            int32_t part_count, double (*row_sum)[BIAS_CHANNELS]) {
    const uint32_t x = threadIdx.x % BIAS_CHANNELS, y = threadIdx.x / BIAS_CHANNELS, out = first + x;
    const uint32_t param_out = static_cast<uint32_t>(z.p.param_out);
    double total = 0.0;
    if (out < param_out) {
        const uint32_t m0 = z.p.spread > 1 ? out : memory_channel(out, z.by_order_area, z.by_order.divisor);
        for (int32_t p = static_cast<int32_t>(y); p < part_count; p += BIAS_ROWS) {
            const float *from = parts + static_cast<int64_t>(p) * z.p.out_channels + m0;
            for (int32_t pixel = 0; pixel < z.area; pixel++)
                total += static_cast<double>(from[static_cast<int64_t>(pixel) * param_out]);
        }
    }
    row_sum[y][x] = total;
    __syncthreads();
    if (y == 0 && out < param_out) {
        for (int i = 1; i < BIAS_ROWS; i++) total += row_sum[i][x];
        d_bias[out] += static_cast<float>(total * static_cast<double>(z.p.scale));
    }
    __syncthreads(); /* the next job's sums may come */
}

__global__ void __launch_bounds__(THREADS)
    unpack(const unpack_job *jobs, int32_t count, float *d_weights, const char *gradients) {
    DUKD_SHARED(double, row_sum, [BIAS_ROWS][BIAS_CHANNELS]);
    int32_t k = static_cast<int32_t>(job_of_block(jobs, count));
    const uint32_t out = blockIdx.x - jobs[k].first;
    for (; k >= 0; k = jobs[k].next) { /* a thread has the same parameters in all of them */
        const unpack_job &job = jobs[k];
        const shape z = job.z;
        const uint32_t param_out = static_cast<uint32_t>(z.p.param_out);
        const char *packed = gradients + job.packed;
        if (out >= param_out)
            unpack_bias(z, (out - param_out) * BIAS_CHANNELS, d_weights + job.bias,
                        reinterpret_cast<const float *>(gradients + job.parts), job.part_count, row_sum);
        else if (job.narrow)
            unpack_channel<bf16>(z, out, d_weights + job.weight, reinterpret_cast<const uint16_t *>(packed));
        else
            unpack_channel<f32>(z, out, d_weights + job.weight, reinterpret_cast<const float *>(packed));
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

/* Counts a job's blocks, and says of each what it is for. */
void add_blocks(gpu_table *t, uint32_t *job_of, uint32_t *first, int64_t blocks, int32_t job) {
    *first = static_cast<uint32_t>(t->blocks);
    for (int64_t i = 0; job_of != nullptr && i < blocks; i++)
        job_of[t->blocks + i] = static_cast<uint32_t>(job);
    t->blocks += blocks;
}

template <class Job> uint32_t *blocks_of(void *out, int32_t count) {
    return out == nullptr ? nullptr : reinterpret_cast<uint32_t *>(static_cast<Job *>(out) + count);
}

template <class Job> void finish_table(gpu_table *t) {
    t->bytes =
        static_cast<int64_t>(sizeof(Job)) * t->count + t->blocks * static_cast<int64_t>(sizeof(uint32_t));
}

} // namespace

extern "C" gpu_table gpu_pack_table(void *out, const gpu_pack_job *jobs, int32_t count) {
    gpu_table t = {0, 0, count};
    uint32_t *job_of = blocks_of<pack_job>(out, count);
    for (int32_t k = 0; k < count; k++) {
        const gpu_pack_job &from = jobs[k];
        pack_job job = {};
        job.z = shape_of(from.how);
        job.z.elements = static_cast<int64_t>(from.how.side) * from.how.side * job.z.inputs;
        job.weight = from.weight, job.bias = from.bias;
        job.packed = from.packed, job.packed_bias = from.packed_bias;
        job.narrow_bias = static_cast<uint16_t *>(from.narrow_bias);
        job.narrow = from.type == DUKD_TYPE_BF16;
        add_blocks(&t, job_of, &job.first, from.how.out_channels, k);
        if (out != nullptr) static_cast<pack_job *>(out)[k] = job;
    }
    finish_table<pack_job>(&t);
    return t;
}

extern "C" int gpu_pack_weights(void *stream, const gpu_table *t, const void *table, const float *weights) {
    if (t->blocks <= 0) return 0;
    DUKD_LAUNCH(pack, dim3(static_cast<unsigned>(t->blocks)), dim3(THREADS), 0, stream,
                static_cast<const pack_job *>(table), t->count, weights);
    return static_cast<int>(cudaGetLastError());
}

extern "C" gpu_table gpu_unpack_table(void *out, const gpu_unpack_job *jobs, int32_t count) {
    gpu_table t = {0, 0, count};
    uint32_t *job_of = blocks_of<unpack_job>(out, count);
    for (int32_t k = 0; k < count; k++) {
        const gpu_unpack_job &from = jobs[k];
        unpack_job job = {};
        job.z = shape_of(from.how);
        job.z.elements = static_cast<int64_t>(from.how.param_in) * from.how.kernel * from.how.kernel;
        job.weight = from.weight, job.bias = from.bias;
        job.packed = from.packed, job.parts = from.parts;
        job.narrow = from.type == DUKD_TYPE_BF16;
        job.part_count = from.part_count;
        job.next = -1;
        int32_t before = k - 1; /* who has the same parameters */
        while (before >= 0 && jobs[before].weight != from.weight) before--;
        const int64_t biases = from.bias < 0 ? 0 : (from.how.param_out + BIAS_CHANNELS - 1) / BIAS_CHANNELS;
        if (before < 0) add_blocks(&t, job_of, &job.first, from.how.param_out + biases, k);
        if (out == nullptr) continue;
        static_cast<unpack_job *>(out)[k] = job;
        if (before >= 0) static_cast<unpack_job *>(out)[before].next = k;
    }
    finish_table<unpack_job>(&t);
    return t;
}

extern "C" int gpu_unpack_gradients(void *stream, const gpu_table *t, const void *table, float *d_weights,
                                    const void *gradients) {
    if (t->blocks <= 0) return 0;
    DUKD_LAUNCH(unpack, dim3(static_cast<unsigned>(t->blocks)), dim3(THREADS), 0, stream,
                static_cast<const unpack_job *>(table), t->count, d_weights,
                static_cast<const char *>(gradients));
    return static_cast<int>(cudaGetLastError());
}

extern "C" int gpu_load_weights(void) {
    return load_kernels(pack, unpack);
}
