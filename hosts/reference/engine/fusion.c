/* See fusion.h. One pass over the operations; what is fused is decided by who reads a value. */
#include "engine/fusion.h"

#include <stdbool.h>
#include <stdlib.h>

typedef struct {
    const dukd_graph *graph;
    dukd_fused *fused;
    int32_t ops;
    bool *live;       /* an output needs it */
    int32_t *readers; /* operations that read it, outputs included */
    int32_t *reader;  /* one of the operations that read it */
    int32_t *asked;   /* times it is an output */
    int32_t *node;    /* the node that holds it; -1: fused away */
} fusion;

static const dukd_op *op_at(const fusion *s, dukd_value v) {
    return dukd_graph_op(s->graph, v);
}

/* Whether a node may be extended over v: nobody else sees the value before the extension. */
static bool is_private(const fusion *s, dukd_value v) {
    return s->readers[v] == 1 && s->asked[v] == 0;
}

static dukd_node *node_of(const fusion *s, dukd_value v) {
    return &s->fused->nodes[s->node[v]];
}

static int32_t add_node(fusion *s, dukd_node n) {
    for (int k = 0; k < 2; k++)
        if (n.in[k] >= 0 && s->fused->nodes[n.in[k]].trained) n.trained = 1;
    s->fused->nodes[s->fused->count] = n;
    return s->fused->count++;
}

/* An affine map that nothing reads but outputs is done by their conversion. */
static bool is_final_affine(const fusion *s, dukd_value v) {
    return op_at(s, v)->kind == DUKD_OP_AFFINE && s->readers[v] == s->asked[v];
}

/* Whether nothing but outputs, maybe through final affine maps, reads v. */
static bool only_outputs_read(const fusion *s, dukd_value v) {
    for (int32_t i = v + 1; i < s->ops; i++) {
        const dukd_op *op = op_at(s, i);
        if (s->live[i] && (op->in[0] == v || op->in[1] == v) && !is_final_affine(s, i)) return false;
    }
    return true;
}

/* Whether the shuffle v can vanish into the convolution that reads it. The lower resolution has the same number of
 * multiply-adds once the outputs are padded to the 16 lanes of a vector; up to twice is worth the saved copy. */
static bool is_swallowed(const fusion *s, dukd_value v) {
    const dukd_op *op = op_at(s, v);
    if (op->kind != DUKD_OP_PIXEL_SHUFFLE || !is_private(s, v)) return false;
    const dukd_op *conv = op_at(s, s->reader[v]);
    if (conv->kind != DUKD_OP_CONV || !only_outputs_read(s, s->reader[v])) return false;
    int32_t r = op->kernel, radius = (conv->kernel / 2 + r - 1) / r, side = 2 * radius + 1;
    int64_t here = (int64_t)((conv->channels + 15) / 16) * conv->kernel * conv->kernel * r * r;
    int64_t low = (int64_t)((conv->channels * r * r + 15) / 16) * side * side * r * r;
    return low <= 2 * here;
}

/* Whether every reader of v is a shuffle by the same r: its channels can lie in the shuffle's order. */
static int32_t order_for_readers(const fusion *s, dukd_value v) {
    int32_t r = 1;
    for (int32_t i = v + 1; i < s->ops; i++) {
        const dukd_op *op = op_at(s, i);
        if (!s->live[i] || (op->in[0] != v && op->in[1] != v)) continue;
        if (op->kind != DUKD_OP_PIXEL_SHUFFLE || (r != 1 && r != op->kernel)) return 1;
        r = op->kernel;
    }
    return r;
}

static void fuse_conv(fusion *s, dukd_value v) {
    const dukd_op *op = op_at(s, v);
    dukd_value source = op->in[0];
    dukd_node n = {.kind = DUKD_NODE_CONV,
                   .in = {s->node[source], -1},
                   .channels = op->channels,
                   .up = op->up,
                   .order = 1,
                   .spread = 1,
                   .weight = op->weight,
                   .bias = op->bias,
                   .kernel = op->kernel,
                   .scale = 1,
                   .last = only_outputs_read(s, v),
                   .trained = 1};
    if (n.in[0] < 0) { /* its source is a swallowed shuffle */
        const dukd_op *shuffle = op_at(s, source);
        n.in[0] = s->node[shuffle->in[0]];
        n.spread = n.order = shuffle->kernel;
        n.channels *= n.spread * n.spread;
        n.up /= n.spread;
    } else {
        n.order = order_for_readers(s, v);
    }
    s->node[v] = add_node(s, n);
}

/* The convolution that computes v and can be extended over it, or NULL. */
static dukd_node *open_conv(const fusion *s, dukd_value v) {
    dukd_node *n = node_of(s, v);
    if (n->kind != DUKD_NODE_CONV || !is_private(s, v) || n->relu || n->in[1] >= 0 || n->spread > 1)
        return NULL;
    return n;
}

/* A ReLU, scale or addition ends a convolution: whoever reads the sum v now reads the node. */
static void extend(fusion *s, dukd_node *n, dukd_value v) {
    s->node[v] = (int32_t)(n - s->fused->nodes);
    n->order = order_for_readers(s, v);
    n->last = only_outputs_read(s, v);
}

static bool extend_by_add(fusion *s, dukd_value v) {
    const dukd_op *op = op_at(s, v);
    for (int k = 1; k >= 0; k--) {
        int32_t residual = s->node[op->in[1 - k]];
        dukd_node *n = open_conv(s, op->in[k]);
        /* The residual must be there when the convolution runs, and lie in memory as the sum will. */
        if (!n || residual >= s->node[op->in[k]]) continue;
        if (s->fused->nodes[residual].order != 1 || order_for_readers(s, v) != 1) continue;
        n->in[1] = residual;
        extend(s, n, v);
        return true;
    }
    return false;
}

static void fuse_op(fusion *s, dukd_value v) {
    const dukd_op *op = op_at(s, v);
    int32_t a = op->in[0] >= 0 ? s->node[op->in[0]] : -1, b = op->in[1] >= 0 ? s->node[op->in[1]] : -1;
    dukd_node n = {.in = {a, b},
                   .channels = op->channels,
                   .up = op->up,
                   .order = 1,
                   .spread = 1,
                   .weight = -1,
                   .bias = -1};
    dukd_node *conv;
    switch (op->kind) {
    case DUKD_OP_INPUT:
        if (is_private(s, v) && op_at(s, s->reader[v])->kind == DUKD_OP_AFFINE &&
            !is_final_affine(s, s->reader[v]))
            return; /* the affine map becomes the input node */
        n.kind = DUKD_NODE_INPUT;
        break;
    case DUKD_OP_AFFINE:
        if (is_final_affine(s, v)) {
            s->node[v] = a;
            return;
        }
        n.kind = a < 0 ? DUKD_NODE_INPUT : DUKD_NODE_AFFINE;
        n.factors = op->factors;
        n.shifts = op->shifts;
        break;
    case DUKD_OP_CONV:
        fuse_conv(s, v);
        return;
    case DUKD_OP_RELU:
        conv = open_conv(s, op->in[0]);
        if (conv && conv->scale == 1) {
            conv->relu = 1;
            extend(s, conv, v);
            return;
        }
        n.kind = DUKD_NODE_RELU;
        break;
    case DUKD_OP_SCALE:
        conv = open_conv(s, op->in[0]);
        if (conv) {
            conv->scale *= op->factor;
            extend(s, conv, v);
            return;
        }
        n.kind = DUKD_NODE_SCALE;
        n.scale = op->factor;
        break;
    case DUKD_OP_ADD:
        if (extend_by_add(s, v)) return;
        n.kind = DUKD_NODE_ADD;
        break;
    case DUKD_OP_PIXEL_SHUFFLE:
        if (is_swallowed(s, v)) return;
        n.kind = DUKD_NODE_SHUFFLE;
        n.shuffle = op->kernel;
        break;
    }
    s->node[v] = add_node(s, n);
}

static void add_outputs(fusion *s, dukd_value v, const dukd_value *outputs, int32_t output_count) {
    const dukd_op *op = op_at(s, v);
    bool affine = is_final_affine(s, v);
    for (int32_t i = 0; i < output_count; i++) {
        if (outputs[i] != v) continue;
        const dukd_node *source = node_of(s, v);
        add_node(s, (dukd_node){.kind = DUKD_NODE_OUTPUT,
                                .in = {s->node[v], -1},
                                .channels = op->channels,
                                .up = op->up,
                                .order = source->order,
                                .spread = source->spread,
                                .weight = -1,
                                .bias = -1,
                                .factors = affine ? op->factors : NULL,
                                .shifts = affine ? op->shifts : NULL,
                                .output = i});
    }
}

/* Who reads what, among the operations that the outputs need. */
static void find_readers(fusion *s, const dukd_value *outputs, int32_t output_count) {
    for (int32_t i = 0; i < output_count; i++) {
        s->live[outputs[i]] = true;
        s->asked[outputs[i]]++;
        s->readers[outputs[i]]++;
    }
    for (int32_t v = s->ops - 1; v >= 0; v--) {
        s->node[v] = -1;
        if (!s->live[v]) continue;
        for (int k = 0; k < 2; k++) {
            dukd_value in = op_at(s, v)->in[k];
            if (in < 0) continue;
            s->live[in] = true;
            s->readers[in]++;
            s->reader[in] = v;
        }
    }
}

int dukd_fuse(dukd_fused *out, const dukd_graph *g, const dukd_value *outputs, int32_t output_count,
              dukd_failure *f) {
    size_t ops = (size_t)dukd_graph_op_count(g);
    fusion s = {.graph = g, .fused = out, .ops = (int32_t)ops};
    *out = (dukd_fused){0};
    out->nodes = calloc(ops + (size_t)output_count, sizeof *out->nodes);
    s.live = calloc(ops, sizeof *s.live);
    int32_t *table = calloc(4 * ops, sizeof *table);
    int status = DUKD_DONE;
    if (!out->nodes || !s.live || !table) {
        status =
            dukd_fail_memory(f, "compiling a network", (ops + (size_t)output_count) * sizeof *out->nodes);
        goto fail;
    }
    s.readers = table;
    s.reader = table + ops;
    s.asked = table + 2 * ops;
    s.node = table + 3 * ops;
    find_readers(&s, outputs, output_count);
    for (int32_t v = 0; v < s.ops; v++) {
        if (!s.live[v]) continue;
        fuse_op(&s, v);
        if (s.asked[v]) add_outputs(&s, v, outputs, output_count);
    }
fail:
    free(s.live);
    free(table);
    if (status != DUKD_DONE) dukd_fused_free(out);
    return status;
}

void dukd_fused_free(dukd_fused *fused) {
    free(fused->nodes);
    *fused = (dukd_fused){0};
}

int32_t dukd_node_radius(const dukd_node *conv) {
    return (conv->kernel / 2 + conv->spread - 1) / conv->spread;
}
