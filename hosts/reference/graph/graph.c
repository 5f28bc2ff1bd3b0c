/* Building a graph: values, parameters and layer names, each checked as it is added; and reading them back.
 */
#include "graph/graph.h"

#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/checked.h"

enum {
    MAX_KERNEL = 31,
    MAX_UP = 64,
    MAX_COUNT = 1 << 20, /* operations, parameters, layer names: more is a mistake, not a network */
    MAX_NAME = 128,
};

typedef struct {
    char *name;
    dukd_value value;
} layer_name;

struct dukd_graph {
    dukd_failure failure; /* the first call that could not be done */
    bool closed;
    dukd_value output;
    int64_t weights; /* elements of all parameters so far */
    dukd_op *ops;
    dukd_param *params;
    layer_name *layers;
    int32_t op_count, param_count, layer_count;
    int32_t op_room, param_room, layer_room;
};

dukd_graph *dukd_graph_create(void) {
    dukd_graph *g = calloc(1, sizeof *g);
    if (g) g->output = -1;
    return g;
}

/* The graph owns what its public structures show as const. */
static void free_const(const void *p) {
    free((void *)(uintptr_t)p);
}

void dukd_graph_destroy(dukd_graph *g) {
    if (!g) return;
    for (int32_t i = 0; i < g->op_count; i++) {
        free_const(g->ops[i].factors);
        free_const(g->ops[i].shifts);
    }
    for (int32_t i = 0; i < g->param_count; i++) free_const(g->params[i].name);
    for (int32_t i = 0; i < g->layer_count; i++) free(g->layers[i].name);
    free(g->ops);
    free(g->params);
    free(g->layers);
    free(g);
}

static bool is_building(const dukd_graph *g) {
    return g && !g->closed && g->failure.status == DUKD_DONE;
}

/* Makes room for one more element of a growing array. */
static bool grow(dukd_graph *g, void **array, int32_t count, int32_t *room, size_t element) {
    if (count < *room) return true;
    if (count >= MAX_COUNT) {
        dukd_fail(&g->failure, DUKD_MISUSED,
                  "the network has more than %d operations, parameters or layer names", MAX_COUNT);
        return false;
    }
    int32_t wanted = count ? 2 * count : 64;
    void *larger = realloc(*array, (size_t)wanted * element);
    if (!larger) {
        dukd_fail_memory(&g->failure, "a network's graph", (size_t)wanted * element);
        return false;
    }
    *array = larger;
    *room = wanted;
    return true;
}

static char *copy_name(dukd_graph *g, const char *name) {
    size_t size = strlen(name) + 1;
    char *copy = malloc(size);
    if (!copy) {
        dukd_fail_memory(&g->failure, "a name in a network", size);
        return NULL;
    }
    return memcpy(copy, name, size);
}

static const dukd_op *operand(dukd_graph *g, dukd_value x, const char *what) {
    if (x >= 0 && x < g->op_count) return &g->ops[x];
    dukd_fail(&g->failure, DUKD_MISUSED, "%s: its operand %d is no value of this graph", what, (int)x);
    return NULL;
}

static dukd_value add_op(dukd_graph *g, dukd_op op) {
    void *ops = g->ops;
    bool fits = grow(g, &ops, g->op_count, &g->op_room, sizeof *g->ops);
    g->ops = ops;
    if (!fits) return -1;
    g->ops[g->op_count] = op;
    return g->op_count++;
}

/* An operation on x that keeps its channels and resolution. */
static dukd_op op_like(dukd_op_kind kind, const dukd_op *like, dukd_value x) {
    return (dukd_op){.kind = kind,
                     .in = {x, -1},
                     .channels = like->channels,
                     .up = like->up,
                     .weight = -1,
                     .bias = -1,
                     .reach = -1};
}

static int32_t add_param(dukd_graph *g, const char *layer, const char *suffix, int32_t ndim,
                         const int64_t *dims, double bound) {
    char name[MAX_NAME];
    int length = snprintf(name, sizeof name, "%s.%s", layer, suffix);
    if (length < 0 || length >= MAX_NAME) {
        dukd_fail(&g->failure, DUKD_MISUSED, "the name of parameter '%s.%s' is longer than %d bytes", layer,
                  suffix, MAX_NAME - 1);
        return -1;
    }
    if (dukd_graph_find_param(g, name) >= 0) {
        dukd_fail(&g->failure, DUKD_MISUSED, "two parameters are named '%s'", name);
        return -1;
    }
    void *params = g->params;
    bool fits = grow(g, &params, g->param_count, &g->param_room, sizeof *g->params);
    g->params = params;
    if (!fits) return -1;

    dukd_param p = {
        .ndim = ndim, .count = 1, .offset = g->weights, .init = DUKD_INIT_UNIFORM, .init_value = bound};
    for (int32_t d = 0; d < ndim; d++) {
        p.dims[d] = dims[d];
        p.count *= dims[d]; /* at most 4096 * 4096 * 31 * 31 */
    }
    int64_t bytes;
    if (!dukd_checked_mul(p.offset + p.count, sizeof(float), &bytes) || (uint64_t)bytes > SIZE_MAX / 2) {
        dukd_fail(&g->failure, DUKD_MISUSED, "the network's parameters do not fit into memory (at '%s')",
                  name);
        return -1;
    }
    p.name = copy_name(g, name);
    if (!p.name) return -1;
    g->weights += p.count;
    g->params[g->param_count] = p;
    return g->param_count++;
}

dukd_value dukd_graph_input(dukd_graph *g, int32_t channels) {
    if (!is_building(g)) return -1;
    if (g->op_count > 0) {
        dukd_fail(&g->failure, DUKD_MISUSED, "a network's input must be its first and only one");
        return -1;
    }
    if (channels < 1 || channels > DUKD_GRAPH_MAX_CHANNELS) {
        dukd_fail(&g->failure, DUKD_MISUSED, "the network's input has %d channels; 1 to %d can be had",
                  (int)channels, DUKD_GRAPH_MAX_CHANNELS);
        return -1;
    }
    return add_op(g, (dukd_op){.kind = DUKD_OP_INPUT,
                               .in = {-1, -1},
                               .channels = channels,
                               .up = 1,
                               .weight = -1,
                               .bias = -1,
                               .reach = -1});
}

dukd_value dukd_graph_conv(dukd_graph *g, dukd_value x, int32_t out_channels, int32_t kernel,
                           const char *name) {
    if (!is_building(g)) return -1;
    const dukd_op *in = operand(g, x, name);
    if (!in) return -1;
    if (out_channels < 1 || out_channels > DUKD_GRAPH_MAX_CHANNELS) {
        dukd_fail(&g->failure, DUKD_MISUSED, "convolution '%s' has %d output channels; 1 to %d can be had",
                  name, (int)out_channels, DUKD_GRAPH_MAX_CHANNELS);
        return -1;
    }
    if (kernel < 1 || kernel > MAX_KERNEL || kernel % 2 == 0) {
        dukd_fail(&g->failure, DUKD_MISUSED,
                  "convolution '%s' has a kernel of %d; odd ones of 1 to %d can be had", name, (int)kernel,
                  MAX_KERNEL);
        return -1;
    }
    dukd_op op = op_like(DUKD_OP_CONV, in, x);
    op.channels = out_channels;
    op.kernel = kernel;
    double bound = 1.0 / sqrt((double)in->channels * kernel * kernel);
    op.weight =
        add_param(g, name, "weight", 4, (int64_t[]){out_channels, in->channels, kernel, kernel}, bound);
    if (op.weight < 0) return -1;
    op.bias = add_param(g, name, "bias", 1, (int64_t[]){out_channels}, bound);
    if (op.bias < 0) return -1;
    dukd_value value = add_op(g, op);
    dukd_graph_layer(g, value, "%s", name);
    return value;
}

dukd_value dukd_graph_relu(dukd_graph *g, dukd_value x) {
    if (!is_building(g)) return -1;
    const dukd_op *in = operand(g, x, "ReLU");
    return in ? add_op(g, op_like(DUKD_OP_RELU, in, x)) : -1;
}

dukd_value dukd_graph_scale(dukd_graph *g, dukd_value x, float factor) {
    if (!is_building(g)) return -1;
    const dukd_op *in = operand(g, x, "scaling");
    if (!in) return -1;
    if (!isfinite(factor)) {
        dukd_fail(&g->failure, DUKD_MISUSED, "scaling by a factor that is not finite");
        return -1;
    }
    dukd_op op = op_like(DUKD_OP_SCALE, in, x);
    op.factor = factor;
    return add_op(g, op);
}

dukd_value dukd_graph_add(dukd_graph *g, dukd_value a, dukd_value b) {
    if (!is_building(g)) return -1;
    const dukd_op *x = operand(g, a, "addition"), *y = operand(g, b, "addition");
    if (!x || !y) return -1;
    if (x->channels != y->channels || x->up != y->up) {
        dukd_fail(&g->failure, DUKD_MISUSED,
                  "addition of values of different shapes: %d channels at x%d and %d channels at x%d",
                  (int)x->channels, (int)x->up, (int)y->channels, (int)y->up);
        return -1;
    }
    dukd_op op = op_like(DUKD_OP_ADD, x, a);
    op.in[1] = b;
    return add_op(g, op);
}

dukd_value dukd_graph_pixel_shuffle(dukd_graph *g, dukd_value x, int32_t r) {
    if (!is_building(g)) return -1;
    const dukd_op *in = operand(g, x, "pixel shuffle");
    if (!in) return -1;
    if (r < 1 || r > MAX_UP || in->up * r > MAX_UP || in->channels % (r * r) != 0) {
        dukd_fail(&g->failure, DUKD_MISUSED,
                  "pixel shuffle by %d of %d channels at x%d: channels must divide by its square, and x%d is "
                  "the most",
                  (int)r, (int)in->channels, (int)in->up, MAX_UP);
        return -1;
    }
    dukd_op op = op_like(DUKD_OP_PIXEL_SHUFFLE, in, x);
    op.channels = in->channels / (r * r);
    op.up = in->up * r;
    op.kernel = r;
    return add_op(g, op);
}

dukd_value dukd_graph_affine(dukd_graph *g, dukd_value x, const float *factors, const float *shifts) {
    if (!is_building(g)) return -1;
    const dukd_op *in = operand(g, x, "affine map");
    if (!in) return -1;
    for (int32_t c = 0; c < in->channels; c++) {
        if (isfinite(factors[c]) && isfinite(shifts[c])) continue;
        dukd_fail(&g->failure, DUKD_MISUSED, "affine map with a constant that is not finite, in channel %d",
                  (int)c);
        return -1;
    }
    size_t size = (size_t)in->channels * sizeof(float);
    float *own_factors = malloc(size), *own_shifts = malloc(size);
    dukd_value value = -1;
    if (own_factors && own_shifts) {
        dukd_op op = op_like(DUKD_OP_AFFINE, in, x);
        op.factors = memcpy(own_factors, factors, size);
        op.shifts = memcpy(own_shifts, shifts, size);
        value = add_op(g, op);
    } else {
        dukd_fail_memory(&g->failure, "an affine map", 2 * size);
    }
    if (value < 0) {
        free(own_factors);
        free(own_shifts);
    }
    return value;
}

void dukd_graph_layer(dukd_graph *g, dukd_value x, const char *format, ...) {
    if (!is_building(g)) return;
    char name[MAX_NAME];
    va_list args;
    va_start(args, format);
    int length = vsnprintf(name, sizeof name, format, args);
    va_end(args);
    if (length < 1 || length >= MAX_NAME) {
        dukd_fail(&g->failure, DUKD_MISUSED, "layer name '%s...' is empty or longer than %d bytes", name,
                  MAX_NAME - 1);
        return;
    }
    if (!operand(g, x, name)) return;
    if (dukd_graph_find_layer(g, name) >= 0) {
        dukd_fail(&g->failure, DUKD_MISUSED, "two layers are named '%s'", name);
        return;
    }
    void *layers = g->layers;
    bool fits = grow(g, &layers, g->layer_count, &g->layer_room, sizeof *g->layers);
    g->layers = layers;
    char *copy = fits ? copy_name(g, name) : NULL;
    if (!copy) return;
    g->layers[g->layer_count++] = (layer_name){copy, x};
    if (!g->ops[x].layer) g->ops[x].layer = copy;
}

static void reach_at_least(dukd_graph *g, dukd_value x, int32_t pixels) {
    if (x >= 0 && g->ops[x].reach < pixels) g->ops[x].reach = pixels;
}

/* An output pixel depends on the pixels p - reach .. p + reach of a value, p being where it lies there. From
 * the output back to the input a k x k convolution adds k/2; a pixel shuffle divides by r, and rounding up is
 * exact: over all positions p of a pixel in its r x r cell, the farthest cell is ceil(reach / r) away. */
static void find_reach(dukd_graph *g) {
    g->ops[g->output].reach = 0;
    for (int32_t i = g->output; i >= 0; i--) {
        const dukd_op *op = &g->ops[i];
        if (op->reach < 0) continue;
        int32_t reach = op->reach;
        if (op->kind == DUKD_OP_CONV) reach += op->kernel / 2; /* at most 2^20 * 15: no overflow */
        if (op->kind == DUKD_OP_PIXEL_SHUFFLE) reach = (reach + op->kernel - 1) / op->kernel;
        reach_at_least(g, op->in[0], reach);
        reach_at_least(g, op->in[1], reach);
    }
}

int dukd_graph_finish(dukd_graph *g, dukd_value output, dukd_failure *f) {
    if (!g) return dukd_fail_memory(f, "a network's graph", sizeof *g);
    if (is_building(g)) operand(g, output, "the network's output");
    if (g->failure.status != DUKD_DONE) return dukd_fail(f, g->failure.status, "%s", g->failure.message);
    if (g->closed) return dukd_fail(f, DUKD_MISUSED, "the network's graph is finished already");
    g->output = output;
    g->closed = true;
    find_reach(g);
    return DUKD_DONE;
}

int32_t dukd_graph_op_count(const dukd_graph *g) {
    return g->op_count;
}
const dukd_op *dukd_graph_op(const dukd_graph *g, int32_t i) {
    return &g->ops[i];
}
dukd_value dukd_graph_output(const dukd_graph *g) {
    return g->output;
}
int32_t dukd_graph_upscale(const dukd_graph *g) {
    return g->ops[g->output].up;
}
int32_t dukd_graph_param_count(const dukd_graph *g) {
    return g->param_count;
}
const dukd_param *dukd_graph_param(const dukd_graph *g, int32_t i) {
    return &g->params[i];
}
int64_t dukd_graph_weights(const dukd_graph *g) {
    return g->weights;
}
int32_t dukd_graph_receptive_radius(const dukd_graph *g) {
    return g->ops[0].reach < 0 ? 0 : g->ops[0].reach;
}
int32_t dukd_graph_layer_count(const dukd_graph *g) {
    return g->layer_count;
}

const char *dukd_graph_layer_name(const dukd_graph *g, int32_t i, dukd_value *value) {
    if (value) *value = g->layers[i].value;
    return g->layers[i].name;
}

int32_t dukd_graph_find_param(const dukd_graph *g, const char *name) {
    for (int32_t i = 0; i < g->param_count; i++)
        if (strcmp(g->params[i].name, name) == 0) return i;
    return -1;
}

dukd_value dukd_graph_find_layer(const dukd_graph *g, const char *layer) {
    for (int32_t i = 0; i < g->layer_count; i++)
        if (strcmp(g->layers[i].name, layer) == 0) return g->layers[i].value;
    return -1;
}
