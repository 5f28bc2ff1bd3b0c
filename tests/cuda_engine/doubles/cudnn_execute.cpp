/* Execution: the operations of a graph as plain loops in double, in the stream's queue. */
#include "cudnn_double.hpp"
#include "emulation.h"
#include "numbers.hpp"

#include <cmath>

namespace cudnn_double {

namespace {

struct operand {
    shape s;
    char *at = nullptr; /* NULL: virtual */
};
using tensor_values = std::vector<double>;

struct work {
    node_ref graph;
    std::map<int64_t, operand> operands; /* by id */
    char *workspace = nullptr;
    int64_t workspace_size = 0;
    int config = -1;
};

int64_t bytes_of(const shape &s) {
    return s.elements() * (s.type == CUDNN_DATA_FLOAT ? 4 : 2);
}

bool is_f32(const operand &o) {
    return o.s.type == CUDNN_DATA_FLOAT;
}

bool has_note(int config, cudnnBackendNumericalNote_t note) {
    for (const auto n : engine_of(config).notes) {
        if (n == note) return true;
    }
    return false;
}

/* A tensor's values as the engine takes them: rounded as its notes say. */
tensor_values read(const work &w, const shape &s, std::map<int64_t, tensor_values> &made, bool multiplied) {
    const operand &o = w.operands.at(s.id);
    if (s.is_virtual) return made.at(s.id);
    tensor_values out(static_cast<size_t>(s.elements()));
    for (size_t i = 0; i < out.size(); i++) {
        out[i] = doubles_numbers::load(o.at, is_f32(o), static_cast<int64_t>(i));
        if (!multiplied) continue;
        if (has_note(w.config, CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS)) {
            out[i] = doubles_numbers::rounded(static_cast<float>(out[i]), 7);
        } else if (has_note(w.config, CUDNN_NUMERICAL_NOTE_TENSOR_CORE)) {
            out[i] = doubles_numbers::rounded(static_cast<float>(out[i]), 10); /* TF32; bf16 is exact in it */
        }
    }
    emulation_read(o.at, bytes_of(s));
    return out;
}

void write(const work &w, const shape &s, const tensor_values &from, std::map<int64_t, tensor_values> &made) {
    if (s.is_virtual) {
        made[s.id] = from;
        return;
    }
    const operand &o = w.operands.at(s.id);
    /* Engines of these kinds give other bits: far enough off to be seen. */
    double off = 1;
    static int run;
    if (has_note(w.config, CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC)) off += 1e-2 * (1 + run++ % 2);
    if (has_note(w.config, CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION) ||
        has_note(w.config, CUDNN_NUMERICAL_NOTE_FFT) ||
        has_note(w.config, CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_6x6))
        off += 1e-2;
    for (size_t i = 0; i < from.size(); i++)
        doubles_numbers::store(o.at, is_f32(o), static_cast<int64_t>(i), from[i] * off);
    emulation_wrote(o.at, bytes_of(s));
}

int64_t at(const shape &s, int64_t n, int64_t c, int64_t h, int64_t w) {
    return n * s.strides[0] + c * s.strides[1] + h * s.strides[2] + w * s.strides[3];
}

/* Calls term(index into x, into w, into y) for every product of the convolution. */
template <class F>
void each_product(const shape &x, const shape &w, const shape &y, const node &conv, F term) {
    int64_t stride[2], pad[2];
    (void)values(conv, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, 2, stride);
    (void)values(conv, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, 2, pad);
    const int64_t group_in = w.dims[1], group_out = y.dims[1] / (x.dims[1] / group_in);
    for (int64_t n = 0; n < y.dims[0]; n++) {
        for (int64_t k = 0; k < y.dims[1]; k++) {
            for (int64_t oh = 0; oh < y.dims[2]; oh++) {
                for (int64_t ow = 0; ow < y.dims[3]; ow++) {
                    for (int64_t r = 0; r < w.dims[2]; r++) {
                        for (int64_t q = 0; q < w.dims[3]; q++) {
                            const int64_t ih = oh * stride[0] - pad[0] + r, iw = ow * stride[1] - pad[1] + q;
                            if (ih < 0 || ih >= x.dims[2] || iw < 0 || iw >= x.dims[3]) continue;
                            for (int64_t c = 0; c < group_in; c++)
                                term(static_cast<size_t>(at(x, n, k / group_out * group_in + c, ih, iw)),
                                     static_cast<size_t>(at(w, k, c, r, q)),
                                     static_cast<size_t>(at(y, n, k, oh, ow)));
                        }
                    }
                }
            }
        }
    }
}

void run_conv(const work &job, const node &op, std::map<int64_t, tensor_values> &made) {
    conv_parts p;
    shape x, w, y;
    (void)read_conv(op, &p);
    (void)read_shape(*p.x, &x);
    (void)read_shape(*p.w, &w);
    (void)read_shape(*p.y, &y);
    const bool forward = op.type == CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
               data = op.type == CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR;
    const shape &to = forward ? y : data ? x : w;
    tensor_values out(static_cast<size_t>(to.elements()));
    if (p.beta != 0) {
        out = read(job, to, made, false);
        for (double &v : out) v *= p.beta;
    } else if (!to.is_virtual) {
        memset(job.operands.at(to.id).at, 0xff, static_cast<size_t>(bytes_of(to)));
    }
    tensor_values a, b;
    if (forward) {
        a = read(job, x, made, true), b = read(job, w, made, true);
        each_product(x, w, y, *p.conv, [&](size_t i, size_t j, size_t k) { out[k] += a[i] * b[j]; });
    } else if (data) {
        a = read(job, y, made, true), b = read(job, w, made, true);
        each_product(x, w, y, *p.conv, [&](size_t i, size_t j, size_t k) { out[i] += a[k] * b[j]; });
    } else {
        a = read(job, x, made, true), b = read(job, y, made, true);
        each_product(x, w, y, *p.conv, [&](size_t i, size_t j, size_t k) { out[j] += a[i] * b[k]; });
    }
    write(job, to, out, made);
}

double activation(const node &kind, cudnnPointwiseMode_t mode, double v) {
    double slope = 0;
    (void)values(kind, CUDNN_ATTR_POINTWISE_RELU_LOWER_CLIP_SLOPE, 1, &slope);
    switch (mode) {
    case CUDNN_POINTWISE_RELU_FWD:
        /* Real engines without the note STRICT_NAN_PROP make 0 of a NaN, which here is memory that nobody wrote. */
        return v > 0 || std::isnan(v) ? v : slope * v;
    case CUDNN_POINTWISE_GELU_FWD:
        return 0.5 * v * (1 + std::erf(v / std::sqrt(2.0)));
    default:
        return NAN;
    }
}

void run_pointwise(const work &job, const node &op, std::map<int64_t, tensor_values> &made) {
    const node_ref kind = child(op, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR),
                   second = child(op, CUDNN_ATTR_OPERATION_POINTWISE_BDESC);
    cudnnPointwiseMode_t mode = CUDNN_POINTWISE_ADD;
    shape x, y, z;
    (void)values(*kind, CUDNN_ATTR_POINTWISE_MODE, 1, &mode);
    (void)read_shape(*child(op, CUDNN_ATTR_OPERATION_POINTWISE_XDESC), &x);
    (void)read_shape(*child(op, CUDNN_ATTR_OPERATION_POINTWISE_YDESC), &y);
    tensor_values v = read(job, x, made, false), b;
    if (second != nullptr) {
        (void)read_shape(*second, &z);
        b = read(job, z, made, false);
    }
    for (int64_t i = 0; i < static_cast<int64_t>(v.size()); i++) {
        double &to = v[static_cast<size_t>(i)];
        const int64_t c = i % y.dims[1]; /* NHWC */
        to = second == nullptr
                 ? activation(*kind, mode, to)
                 : to + b[static_cast<size_t>(
                            z.dims[0] * z.dims[2] * z.dims[3] == 1 && z.elements() == y.dims[1] ? c : i)];
    }
    write(job, y, v, made);
}

void run(void *argument) {
    const work &job = *static_cast<const work *>(argument);
    std::map<int64_t, tensor_values> made;
    if (job.workspace_size > 0) {
        memset(job.workspace, 0xff, static_cast<size_t>(job.workspace_size));
        emulation_wrote(job.workspace, job.workspace_size);
    }
    const size_t count = children(*job.graph, CUDNN_ATTR_OPERATIONGRAPH_OPS);
    /* What is written is unknown from the beginning, not only when the operation that writes it comes. */
    for (const auto &o : job.operands) {
        if (!o.second.s.is_virtual && count > 1) {
            const node_ref last = child(*job.graph, CUDNN_ATTR_OPERATIONGRAPH_OPS, count - 1);
            shape to;
            (void)read_shape(*child(*last, CUDNN_ATTR_OPERATION_POINTWISE_YDESC), &to);
            if (to.id == o.first) memset(o.second.at, 0xff, static_cast<size_t>(bytes_of(to)));
        }
    }
    for (size_t i = 0; i < count; i++) {
        const node_ref op = child(*job.graph, CUDNN_ATTR_OPERATIONGRAPH_OPS, i);
        if (op->type == CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR) {
            run_pointwise(job, *op, made);
        } else {
            run_conv(job, *op, made);
        }
    }
}

void release(void *argument) {
    delete static_cast<work *>(argument);
}

/* All tensors that the graph's operations name. */
void add_operands(const node &graph, std::map<int64_t, operand> *out) {
    for (size_t i = 0; i < children(graph, CUDNN_ATTR_OPERATIONGRAPH_OPS); i++) {
        const node_ref op = child(graph, CUDNN_ATTR_OPERATIONGRAPH_OPS, i);
        for (const auto &a : op->attributes) {
            for (const node_ref &n : a.second.nodes) {
                operand o;
                if (read_shape(*n, &o.s)) (*out)[o.s.id] = o;
            }
        }
    }
}

} // namespace

cudnnStatus_t execute(cudaStream_t stream, const node_ref &plan, const node_ref &pack) {
    if (plan->type != CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR ||
        pack->type != CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR || !plan->finalized || !pack->finalized)
        return refuse(CUDNN_STATUS_BAD_PARAM_NOT_FINALIZED, "a plan or variant pack that is not finalized");
    std::unique_ptr<work> job(new work);
    job->graph = plan->graph;
    job->config = plan->real != nullptr ? -1 : plan->config;
    add_operands(*job->graph, &job->operands);
    const auto ids = pack->attributes.find(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS),
               pointers = pack->attributes.find(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS);
    if (ids == pack->attributes.end() || pointers == pack->attributes.end() ||
        ids->second.count != pointers->second.count)
        return refuse(CUDNN_STATUS_BAD_PARAM, "a variant pack without as many pointers as ids");
    for (int64_t i = 0; i < ids->second.count; i++) {
        int64_t id;
        memcpy(&id, ids->second.bytes.data() + 8 * i, 8);
        const auto found = job->operands.find(id);
        if (found == job->operands.end() || found->second.s.is_virtual)
            return refuse(CUDNN_STATUS_BAD_PARAM, "an id that is not the graph's");
        memcpy(&found->second.at, pointers->second.bytes.data() + 8 * i, 8);
    }
    for (const auto &o : job->operands) {
        const shape &s = o.second.s;
        if (s.is_virtual) continue;
        if (o.second.at == nullptr)
            return refuse(CUDNN_STATUS_BAD_PARAM_NULL_POINTER, "a tensor without a pointer");
        if (reinterpret_cast<uintptr_t>(o.second.at) % static_cast<uintptr_t>(s.alignment) != 0)
            return refuse(CUDNN_STATUS_BAD_PARAM_MISALIGNED_POINTER,
                          "a tensor that is not aligned as it says");
        if (emulation_is_device(o.second.at, bytes_of(s)) == 0)
            return refuse(CUDNN_STATUS_BAD_PARAM,
                          "a tensor that is not in device memory, or longer than its memory");
    }
    job->workspace_size = engine_of(plan->config).workspace;
    if (plan->real != nullptr) {
        int64_t count = 0;
        (void)real()->get(plan->real, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, 1, &count,
                          &job->workspace_size);
    }
    if (job->workspace_size > 0 && (!values(*pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, 1, &job->workspace) ||
                                    emulation_is_device(job->workspace, job->workspace_size) == 0))
        return refuse(CUDNN_STATUS_BAD_PARAM_SIZE_INSUFFICIENT,
                      "the workspace is too small, or not in device memory");
    doubles_log *log = doubles_log_mutable();
    log->graphs++;
    log->operations = static_cast<int32_t>(children(*job->graph, CUDNN_ATTR_OPERATIONGRAPH_OPS));
    log->engine = plan->config;
    conv_parts parts;
    const node_ref first = child(*job->graph, CUDNN_ATTR_OPERATIONGRAPH_OPS);
    log->adds = first != nullptr && read_conv(*first, &parts) && parts.beta != 0;
    return emulation_enqueue(stream, run, release, job.release()) == 0
               ? CUDNN_STATUS_SUCCESS
               : refuse(CUDNN_STATUS_EXECUTION_FAILED, "the stream is not one of this device");
}

} // namespace cudnn_double
