/* Building: operations without parameters. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "graph/graph.h"
#include "graph/graph_state.h"

dukd_value dukd_graph_input(dukd_graph *g, int32_t channels) {
    if (!dukd_graph_is_building(g)) return -1;
    if (g->op_count > 0) {
        dukd_fail(&g->failure, DUKD_MISUSED, "a network's input must be its first and only one");
        return -1;
    }
    if (channels < 1 || channels > DUKD_GRAPH_MAX_CHANNELS) {
        dukd_fail(&g->failure, DUKD_MISUSED, "the network's input has %d channels; 1 to %d can be had",
                  (int)channels, DUKD_GRAPH_MAX_CHANNELS);
        return -1;
    }
    int32_t grid = dukd_graph_grid_input(g);
    if (grid < 0) return -1;
    const dukd_op like = {.channels = channels, .grid = grid};
    return dukd_graph_add_op(g, dukd_graph_op_like(DUKD_OP_INPUT, &like, -1));
}

/* An operation of one operand that keeps its shape. */
static dukd_value add_plain(dukd_graph *g, dukd_op_kind kind, dukd_value x, float factor, const char *what) {
    if (!dukd_graph_is_building(g)) return -1;
    const dukd_op *in = dukd_graph_operand(g, x, what);
    if (!in) return -1;
    dukd_op op = dukd_graph_op_like(kind, in, x);
    op.factor = factor;
    return dukd_graph_add_op(g, op);
}

dukd_value dukd_graph_relu(dukd_graph *g, dukd_value x) {
    return add_plain(g, DUKD_OP_RELU, x, 0, "ReLU");
}
dukd_value dukd_graph_gelu(dukd_graph *g, dukd_value x) {
    return add_plain(g, DUKD_OP_GELU, x, 0, "GELU");
}
dukd_value dukd_graph_sigmoid(dukd_graph *g, dukd_value x) {
    return add_plain(g, DUKD_OP_SIGMOID, x, 0, "sigmoid");
}

dukd_value dukd_graph_leaky_relu(dukd_graph *g, dukd_value x, float slope) {
    if (!dukd_graph_is_building(g)) return -1;
    if (slope >= 0 && slope < 1) return add_plain(g, DUKD_OP_RELU, x, slope, "leaky ReLU");
    dukd_fail(&g->failure, DUKD_MISUSED, "a leaky ReLU has a slope of %g; it must be at least 0 and below 1",
              (double)slope);
    return -1;
}

dukd_value dukd_graph_scale(dukd_graph *g, dukd_value x, float factor) {
    if (!dukd_graph_is_building(g)) return -1;
    if (isfinite(factor)) return add_plain(g, DUKD_OP_SCALE, x, factor, "scaling");
    dukd_fail(&g->failure, DUKD_MISUSED, "scaling by a factor that is not finite");
    return -1;
}

dukd_value dukd_graph_drop_path(dukd_graph *g, dukd_value x, float probability) {
    if (!dukd_graph_is_building(g) || probability == 0) return x;
    if (!(probability > 0 && probability < 1)) {
        dukd_fail(&g->failure, DUKD_MISUSED,
                  "a drop path has a probability of %g; it must be at least 0 and below 1",
                  (double)probability);
        return -1;
    }
    dukd_value value = add_plain(g, DUKD_OP_DROP_PATH, x, probability, "drop path");
    if (value >= 0) g->ops[value].drop = g->drops++;
    return value;
}

/* "3 channels at x2", for messages. */
static const char *shape_text(const dukd_graph *g, const dukd_op *op, char text[64]) {
    if (op->up > 0)
        snprintf(text, 64, "%d channels at x%d", (int)op->channels, (int)op->up);
    else if (dukd_graph_grid_is_one(g, op->grid))
        snprintf(text, 64, "%d channels of 1 x 1 pixels", (int)op->channels);
    else
        snprintf(text, 64, "%d channels of size rule %d", (int)op->channels, (int)op->grid);
    return text;
}

static dukd_value add_pair(dukd_graph *g, dukd_op_kind kind, dukd_value a, dukd_value b, const char *what) {
    if (!dukd_graph_is_building(g)) return -1;
    const dukd_op *x = dukd_graph_operand(g, a, what), *y = dukd_graph_operand(g, b, what);
    if (!x || !y) return -1;
    bool spread = kind == DUKD_OP_MUL && dukd_graph_grid_is_one(g, y->grid);
    if (x->channels != y->channels || (x->grid != y->grid && !spread)) {
        char left[64], right[64];
        dukd_fail(&g->failure, DUKD_MISUSED, "%s of values of different shapes: %s and %s", what,
                  shape_text(g, x, left), shape_text(g, y, right));
        return -1;
    }
    dukd_op op = dukd_graph_op_like(kind, x, a);
    op.in[1] = b;
    return dukd_graph_add_op(g, op);
}

dukd_value dukd_graph_add(dukd_graph *g, dukd_value a, dukd_value b) {
    return add_pair(g, DUKD_OP_ADD, a, b, "addition");
}
dukd_value dukd_graph_mul(dukd_graph *g, dukd_value a, dukd_value b) {
    return add_pair(g, DUKD_OP_MUL, a, b, "multiplication");
}

dukd_value dukd_graph_concat(dukd_graph *g, const dukd_value *parts, int32_t count) {
    if (!dukd_graph_is_building(g)) return -1;
    if (count < 2 || count > DUKD_OP_MAX_OPERANDS) {
        dukd_fail(&g->failure, DUKD_MISUSED, "concatenation of %d values; 2 to %d can be had", (int)count,
                  DUKD_OP_MAX_OPERANDS);
        return -1;
    }
    const dukd_op *first = dukd_graph_operand(g, parts[0], "concatenation");
    if (!first) return -1;
    dukd_op op = dukd_graph_op_like(DUKD_OP_CONCAT, first, parts[0]);
    for (int32_t i = 1; i < count; i++) {
        const dukd_op *part = dukd_graph_operand(g, parts[i], "concatenation");
        if (!part) return -1;
        if (part->grid != first->grid) {
            char left[64], right[64];
            dukd_fail(&g->failure, DUKD_MISUSED, "concatenation of values of different sizes: %s and %s",
                      shape_text(g, first, left), shape_text(g, part, right));
            return -1;
        }
        op.in[i] = parts[i];
        op.channels += part->channels; /* at most 8 times the largest */
    }
    if (op.channels > DUKD_GRAPH_MAX_CHANNELS) {
        dukd_fail(&g->failure, DUKD_MISUSED, "concatenation to %d channels; 1 to %d can be had",
                  (int)op.channels, DUKD_GRAPH_MAX_CHANNELS);
        return -1;
    }
    return dukd_graph_add_op(g, op);
}

dukd_value dukd_graph_slice(dukd_graph *g, dukd_value x, int32_t first, int32_t count) {
    if (!dukd_graph_is_building(g)) return -1;
    const dukd_op *in = dukd_graph_operand(g, x, "slice");
    if (!in) return -1;
    if (first < 0 || count < 1 || first > in->channels || count > in->channels - first) {
        dukd_fail(&g->failure, DUKD_MISUSED, "slice of %d channels from channel %d of %d", (int)count,
                  (int)first, (int)in->channels);
        return -1;
    }
    dukd_op op = dukd_graph_op_like(DUKD_OP_SLICE, in, x);
    op.first = first;
    op.channels = count;
    return dukd_graph_add_op(g, op);
}

static dukd_value add_pool(dukd_graph *g, dukd_op_kind kind, dukd_value x, const char *what) {
    if (!dukd_graph_is_building(g)) return -1;
    const dukd_op *in = dukd_graph_operand(g, x, what);
    if (!in) return -1;
    dukd_op op = dukd_graph_op_like(kind, in, x);
    op.grid = dukd_graph_grid_one(g);
    return op.grid < 0 ? -1 : dukd_graph_add_op(g, op);
}

dukd_value dukd_graph_mean(dukd_graph *g, dukd_value x) {
    return add_pool(g, DUKD_OP_MEAN, x, "mean");
}
dukd_value dukd_graph_deviation(dukd_graph *g, dukd_value x) {
    return add_pool(g, DUKD_OP_DEVIATION, x, "deviation");
}

dukd_value dukd_graph_max_pool(dukd_graph *g, dukd_value x, int32_t kernel, int32_t stride) {
    if (!dukd_graph_is_building(g)) return -1;
    const dukd_op *in = dukd_graph_operand(g, x, "max pool");
    if (!in) return -1;
    if (kernel < 1 || kernel > DUKD_GRAPH_MAX_KERNEL || stride < 1 || stride > DUKD_GRAPH_MAX_KERNEL) {
        dukd_fail(&g->failure, DUKD_MISUSED, "max pool of %d x %d at steps of %d; 1 to %d can be had",
                  (int)kernel, (int)kernel, (int)stride, DUKD_GRAPH_MAX_KERNEL);
        return -1;
    }
    dukd_op op = dukd_graph_op_like(DUKD_OP_MAX_POOL, in, x);
    op.kernel = kernel;
    op.stride = stride;
    op.grid = dukd_graph_grid_cut(g, in->grid, kernel, stride, 0);
    return op.grid < 0 ? -1 : dukd_graph_add_op(g, op);
}

dukd_value dukd_graph_resize_like(dukd_graph *g, dukd_value x, dukd_value like) {
    if (!dukd_graph_is_building(g)) return -1;
    const dukd_op *in = dukd_graph_operand(g, x, "resize"), *size = dukd_graph_operand(g, like, "resize");
    if (!in || !size) return -1;
    dukd_op op = dukd_graph_op_like(DUKD_OP_RESIZE, in, x);
    op.in[1] = like;
    op.grid = size->grid;
    return dukd_graph_add_op(g, op);
}

dukd_value dukd_graph_pixel_shuffle(dukd_graph *g, dukd_value x, int32_t r) {
    if (!dukd_graph_is_building(g)) return -1;
    const dukd_op *in = dukd_graph_operand(g, x, "pixel shuffle");
    if (!in) return -1;
    int32_t already = dukd_graph_grid_factor(g, in->grid);
    if (r < 1 || r > DUKD_GRAPH_MAX_UP || already * r > DUKD_GRAPH_MAX_UP || in->channels % (r * r) != 0) {
        dukd_fail(&g->failure, DUKD_MISUSED,
                  "pixel shuffle by %d of %d channels at x%d: channels must divide by its square, and x%d is "
                  "the most",
                  (int)r, (int)in->channels, (int)already, DUKD_GRAPH_MAX_UP);
        return -1;
    }
    dukd_op op = dukd_graph_op_like(DUKD_OP_PIXEL_SHUFFLE, in, x);
    op.channels = in->channels / (r * r);
    op.kernel = r;
    op.grid = dukd_graph_grid_up(g, in->grid, r);
    return op.grid < 0 ? -1 : dukd_graph_add_op(g, op);
}

dukd_value dukd_graph_affine(dukd_graph *g, dukd_value x, const float *factors, const float *shifts) {
    if (!dukd_graph_is_building(g)) return -1;
    const dukd_op *in = dukd_graph_operand(g, x, "affine map");
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
        dukd_op op = dukd_graph_op_like(DUKD_OP_AFFINE, in, x);
        op.factors = memcpy(own_factors, factors, size);
        op.shifts = memcpy(own_shifts, shifts, size);
        value = dukd_graph_add_op(g, op);
    } else {
        dukd_fail_memory(&g->failure, "an affine map", 2 * size);
    }
    if (value < 0) {
        free(own_factors);
        free(own_shifts);
    }
    return value;
}
