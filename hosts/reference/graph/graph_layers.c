/* Building: operations that have parameters. */
#include <math.h>
#include <stdio.h>

#include "graph/graph.h"
#include "graph/graph_state.h"

enum { MAX_STRIDE = 16, MAX_WINDOW = 64 };

static bool check_shape(dukd_graph *g, const dukd_conv_shape *s, int32_t in_channels, const char *name) {
    if (s->out_channels < 1 || s->out_channels > DUKD_GRAPH_MAX_CHANNELS) {
        dukd_fail(&g->failure, DUKD_MISUSED, "convolution '%s' has %d output channels; 1 to %d can be had",
                  name, (int)s->out_channels, DUKD_GRAPH_MAX_CHANNELS);
        return false;
    }
    bool odd_only = !s->no_padding;
    if (s->kernel < 1 || s->kernel > DUKD_GRAPH_MAX_KERNEL || (odd_only && s->kernel % 2 == 0)) {
        dukd_fail(&g->failure, DUKD_MISUSED, "convolution '%s' has a kernel of %d; %s of 1 to %d can be had",
                  name, (int)s->kernel, odd_only ? "odd ones" : "those", DUKD_GRAPH_MAX_KERNEL);
        return false;
    }
    if (s->stride < 1 || s->stride > MAX_STRIDE) {
        dukd_fail(&g->failure, DUKD_MISUSED, "convolution '%s' has a stride of %d; 1 to %d can be had", name,
                  (int)s->stride, MAX_STRIDE);
        return false;
    }
    if (s->groups < 1 || in_channels % s->groups != 0 || s->out_channels % s->groups != 0) {
        dukd_fail(&g->failure, DUKD_MISUSED,
                  "convolution '%s' has %d groups, which do not divide its %d input and %d output channels",
                  name, (int)s->groups, (int)in_channels, (int)s->out_channels);
        return false;
    }
    if (s->linear && (s->kernel != 1 || s->stride != 1 || s->groups != 1)) {
        dukd_fail(&g->failure, DUKD_MISUSED,
                  "linear layer '%s' has a kernel, a stride or groups; convolutions have", name);
        return false;
    }
    return true;
}

/* The parameters of an existing convolution, which must have the shape that a new one would have. */
static bool find_shared(dukd_graph *g, dukd_op *op, const int64_t *dims, int32_t ndim, bool bias,
                        const char *name) {
    char full[DUKD_GRAPH_MAX_NAME];
    snprintf(full, sizeof full, "%s.weight", name);
    op->weight = dukd_graph_find_param(g, full);
    snprintf(full, sizeof full, "%s.bias", name);
    op->bias = dukd_graph_find_param(g, full);
    bool same = op->weight >= 0 && g->params[op->weight].ndim == ndim && (op->bias >= 0) == bias;
    for (int32_t d = 0; same && d < ndim; d++) same = g->params[op->weight].dims[d] == dims[d];
    if (!same)
        dukd_fail(&g->failure, DUKD_MISUSED,
                  "convolution '%s' is to share the parameters of one that is not there or has another shape",
                  name);
    return same;
}

static bool add_own(dukd_graph *g, dukd_op *op, const int64_t *dims, int32_t ndim, bool bias,
                    const char *name) {
    double fan_in = (double)dims[1] * (ndim == 4 ? dims[2] * dims[3] : 1), bound = 1 / sqrt(fan_in);
    bool linear = ndim == 2;
    op->weight =
        dukd_graph_add_param(g, name, "weight", ndim, dims,
                             linear ? DUKD_INIT_TRUNC_NORMAL : DUKD_INIT_UNIFORM, linear ? .02 : bound);
    if (op->weight < 0) return false;
    if (bias)
        op->bias = dukd_graph_add_param(g, name, "bias", 1, dims,
                                        linear ? DUKD_INIT_CONSTANT : DUKD_INIT_UNIFORM, linear ? 0 : bound);
    return !bias || op->bias >= 0;
}

dukd_value dukd_graph_conv_shape(dukd_graph *g, dukd_value x, const dukd_conv_shape *shape,
                                 const char *name) {
    if (!dukd_graph_is_building(g)) return -1;
    const dukd_op *in = dukd_graph_operand(g, x, name);
    if (!in) return -1;
    dukd_conv_shape s = *shape;
    if (s.linear && s.kernel == 0) s.kernel = 1;
    if (s.stride == 0) s.stride = 1;
    if (s.groups == 0) s.groups = 1;
    if (!check_shape(g, &s, in->channels, name)) return -1;

    dukd_op op = dukd_graph_op_like(DUKD_OP_CONV, in, x);
    op.channels = s.out_channels;
    op.kernel = s.kernel;
    op.stride = s.stride;
    op.padding = s.no_padding ? 0 : s.kernel / 2;
    op.groups = s.groups;
    op.grid = dukd_graph_grid_cut(g, in->grid, op.kernel, op.stride, op.padding);
    if (op.grid < 0) return -1;
    const int64_t dims[4] = {s.out_channels, in->channels / s.groups, s.kernel, s.kernel};
    int32_t ndim = s.linear ? 2 : 4;
    if (!(s.shared ? find_shared : add_own)(g, &op, dims, ndim, !s.no_bias, name)) return -1;
    dukd_value value = dukd_graph_add_op(g, op);
    if (!s.shared) dukd_graph_layer(g, value, "%s", name);
    return value;
}

dukd_value dukd_graph_conv(dukd_graph *g, dukd_value x, int32_t out_channels, int32_t kernel,
                           const char *name) {
    return dukd_graph_conv_shape(g, x, &(dukd_conv_shape){.out_channels = out_channels, .kernel = kernel},
                                 name);
}

dukd_value dukd_graph_linear(dukd_graph *g, dukd_value x, int32_t out_channels, const char *name) {
    return dukd_graph_conv_shape(g, x, &(dukd_conv_shape){.out_channels = out_channels, .linear = 1}, name);
}

dukd_value dukd_graph_layer_norm(dukd_graph *g, dukd_value x, float eps, const char *name) {
    if (!dukd_graph_is_building(g)) return -1;
    const dukd_op *in = dukd_graph_operand(g, x, name);
    if (!in) return -1;
    if (!isfinite(eps) || eps <= 0) {
        dukd_fail(&g->failure, DUKD_MISUSED, "layer norm '%s' has an epsilon of %g; it must be above 0", name,
                  (double)eps);
        return -1;
    }
    dukd_op op = dukd_graph_op_like(DUKD_OP_LAYER_NORM, in, x);
    op.factor = eps;
    const int64_t dims[1] = {in->channels};
    op.weight = dukd_graph_add_param(g, name, "weight", 1, dims, DUKD_INIT_CONSTANT, 1);
    if (op.weight < 0) return -1;
    op.bias = dukd_graph_add_param(g, name, "bias", 1, dims, DUKD_INIT_CONSTANT, 0);
    if (op.bias < 0) return -1;
    dukd_value value = dukd_graph_add_op(g, op);
    dukd_graph_layer(g, value, "%s", name);
    return value;
}

static int32_t common_divisor(int32_t a, int32_t b) {
    while (b != 0) {
        int32_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* Sides of the value must be multiples of the window: the input's, then, of window / gcd(window, scale). */
static bool add_multiple(dukd_graph *g, int32_t window, int32_t scale, const char *name) {
    enum { MOST = 1 << 16 };
    int32_t of_input = window / common_divisor(window, scale);
    int32_t all = g->multiple / common_divisor(g->multiple, of_input) * of_input; /* <= 2^16 * 64 */
    if (all > MOST) {
        dukd_fail(&g->failure, DUKD_MISUSED,
                  "the windows of this network (the last is that of '%s') have no common multiple below %d",
                  name, MOST);
        return false;
    }
    g->multiple = all;
    return true;
}

dukd_value dukd_graph_attention(dukd_graph *g, dukd_value x, int32_t heads, int32_t window, int32_t shift,
                                const char *name) {
    if (!dukd_graph_is_building(g)) return -1;
    const dukd_op *in = dukd_graph_operand(g, x, name);
    if (!in) return -1;
    if (in->up == 0) {
        dukd_fail(&g->failure, DUKD_MISUSED,
                  "attention '%s' is on a value whose size is no multiple of the image's", name);
        return -1;
    }
    if (heads < 1 || in->channels % 3 != 0 || in->channels / 3 % heads != 0) {
        dukd_fail(
            &g->failure, DUKD_MISUSED,
            "attention '%s' has %d heads on %d channels; channels must be three times a multiple of heads",
            name, (int)heads, (int)in->channels);
        return -1;
    }
    if (window < 1 || window > MAX_WINDOW || shift < 0 || shift >= window) {
        dukd_fail(
            &g->failure, DUKD_MISUSED,
            "attention '%s' has a window of %d shifted by %d; windows are 1 to %d, shifts less than that",
            name, (int)window, (int)shift, MAX_WINDOW);
        return -1;
    }
    if (!add_multiple(g, window, in->up, name)) return -1;
    dukd_op op = dukd_graph_op_like(DUKD_OP_ATTENTION, in, x);
    op.channels = in->channels / 3;
    op.kernel = window;
    op.heads = heads;
    op.shift = shift;
    op.weight = dukd_graph_add_param(g, name, "relative_position_bias_table", 2,
                                     (int64_t[]){(int64_t)(2 * window - 1) * (2 * window - 1), heads},
                                     DUKD_INIT_TRUNC_NORMAL, .02);
    return op.weight < 0 ? -1 : dukd_graph_add_op(g, op);
}
