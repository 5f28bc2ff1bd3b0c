/* What is wrong with a descriptor: the double's own look, which is all there is where the real library is not installed. */
#include "cudnn_double.hpp"

namespace cudnn_double {

bool read_shape(const node &n, shape *s) {
    return n.type == CUDNN_BACKEND_TENSOR_DESCRIPTOR && values(n, CUDNN_ATTR_TENSOR_UNIQUE_ID, 1, &s->id) &&
           values(n, CUDNN_ATTR_TENSOR_DIMENSIONS, 4, s->dims) &&
           values(n, CUDNN_ATTR_TENSOR_STRIDES, 4, s->strides) &&
           values(n, CUDNN_ATTR_TENSOR_DATA_TYPE, 1, &s->type) &&
           values(n, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, 1, &s->alignment) &&
           values(n, CUDNN_ATTR_TENSOR_IS_VIRTUAL, 1, &s->is_virtual);
}

bool read_conv(const node &op, conv_parts *p) {
    int x, w, y, conv, alpha, beta;
    switch (op.type) {
    case CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR:
        x = CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, w = CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W;
        y = CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y,
        conv = CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC;
        alpha = CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
        beta = CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA;
        break;
    case CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR:
        x = CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX, w = CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W;
        y = CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY,
        conv = CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC;
        alpha = CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
        beta = CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA;
        break;
    case CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR:
        x = CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X, w = CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW;
        y = CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY,
        conv = CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC;
        alpha = CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
        beta = CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA;
        break;
    default:
        return false;
    }
    p->x = child(op, x), p->w = child(op, w), p->y = child(op, y), p->conv = child(op, conv);
    return p->x && p->w && p->y && p->conv && values(op, alpha, 1, &p->alpha) &&
           values(op, beta, 1, &p->beta);
}

namespace {

std::string check_tensor(const node &n) {
    shape s;
    if (!read_shape(n, &s)) return "a tensor lacks an attribute";
    const int64_t *d = s.dims, nhwc[4] = {d[1] * d[2] * d[3], 1, d[1] * d[3], d[1]};
    for (int i = 0; i < 4; i++) {
        if (d[i] < 1) return "a tensor has an extent below 1";
        if (s.strides[i] != nhwc[i]) return "a tensor is not dense NHWC";
    }
    if (s.type != CUDNN_DATA_FLOAT && s.type != CUDNN_DATA_BFLOAT16)
        return "a tensor is neither f32 nor bf16";
    return "";
}

std::string check_conv_kind(const node &n) {
    int64_t dims = 0, strides[2], before[2], behind[2], dilations[2];
    cudnnDataType_t sums;
    cudnnConvolutionMode_t mode;
    if (!values(n, CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, 1, &dims) || dims != 2 ||
        !values(n, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, 2, strides) ||
        !values(n, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, 2, before) ||
        !values(n, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, 2, behind) ||
        !values(n, CUDNN_ATTR_CONVOLUTION_DILATIONS, 2, dilations) ||
        !values(n, CUDNN_ATTR_CONVOLUTION_COMP_TYPE, 1, &sums) ||
        !values(n, CUDNN_ATTR_CONVOLUTION_CONV_MODE, 1, &mode))
        return "a convolution lacks an attribute";
    if (sums != CUDNN_DATA_FLOAT) return "the sums of a convolution are not f32";
    if (mode != CUDNN_CROSS_CORRELATION) return "a convolution that mirrors its kernel";
    return dilations[0] == 1 && dilations[1] == 1 ? "" : "a convolution with gaps";
}

std::string check_conv(const node &n) {
    conv_parts p;
    shape x, w, y;
    int64_t strides[2], before[2], behind[2];
    if (!read_conv(n, &p) || !read_shape(*p.x, &x) || !read_shape(*p.w, &w) || !read_shape(*p.y, &y) ||
        !values(*p.conv, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, 2, strides) ||
        !values(*p.conv, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, 2, before) ||
        !values(*p.conv, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, 2, behind))
        return "a convolution's operation lacks an attribute";
    if (p.alpha != 1.0f) return "alpha is not 1";
    if (x.dims[0] != y.dims[0] || w.dims[0] != y.dims[1] || x.dims[1] % w.dims[1] != 0)
        return "images or channels do not agree";
    if (w.dims[0] % (x.dims[1] / w.dims[1]) != 0) return "groups do not divide the outputs";
    for (int i = 0; i < 2; i++) {
        const int64_t room = x.dims[2 + i] + before[i] + behind[i] - w.dims[2 + i];
        if (room < 0 || y.dims[2 + i] != room / strides[i] + 1)
            return "sizes do not agree with kernel, stride and padding";
    }
    return "";
}

std::string check_pointwise(const node &n) {
    const node_ref kind = child(n, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR),
                   from = child(n, CUDNN_ATTR_OPERATION_POINTWISE_XDESC),
                   b = child(n, CUDNN_ATTR_OPERATION_POINTWISE_BDESC),
                   to = child(n, CUDNN_ATTR_OPERATION_POINTWISE_YDESC);
    cudnnPointwiseMode_t mode;
    shape x, y, z;
    if (!kind || !from || !to || !read_shape(*from, &x) || !read_shape(*to, &y) ||
        !values(*kind, CUDNN_ATTR_POINTWISE_MODE, 1, &mode))
        return "a pointwise operation lacks an attribute";
    if ((mode == CUDNN_POINTWISE_ADD) != (b != nullptr))
        return "an operation of one operand with two, or the other way round";
    for (int i = 0; i < 4; i++) {
        if (x.dims[i] != y.dims[i]) return "a pointwise operation changes the shape";
        if (b != nullptr && (!read_shape(*b, &z) || (z.dims[i] != y.dims[i] && z.dims[i] != 1)))
            return "an operand does not broadcast";
    }
    return "";
}

} // namespace

std::string check(const node &n) {
    switch (n.type) {
    case CUDNN_BACKEND_TENSOR_DESCRIPTOR:
        return check_tensor(n);
    case CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR:
        return check_conv_kind(n);
    case CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR:
    case CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR:
    case CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR:
        return check_conv(n);
    case CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR:
        return check_pointwise(n);
    case CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR:
        if (n.attributes.count(CUDNN_ATTR_OPERATIONGRAPH_HANDLE) == 0)
            return "an operation graph without a handle";
        return children(n, CUDNN_ATTR_OPERATIONGRAPH_OPS) > 0 ? "" : "an operation graph without operations";
    case CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR:
        return child(n, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH) &&
                       n.attributes.count(CUDNN_ATTR_ENGINEHEUR_MODE) != 0
                   ? ""
                   : "heuristics lack an attribute";
    case CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR:
        return child(n, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG) &&
                       n.attributes.count(CUDNN_ATTR_EXECUTION_PLAN_HANDLE) != 0
                   ? ""
                   : "a plan lacks an attribute";
    default:
        return "";
    }
}

} // namespace cudnn_double
