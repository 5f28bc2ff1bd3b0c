/* See fusion.h. One pass over the operations; what is fused is decided by who reads a value. */
#include "engine/fusion.h"

#include <stdbool.h>
#include <stdlib.h>

typedef struct {
    const dukd_graph *graph;
    dukd_fused *fused;
    dukd_fuse_mode mode;
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

/* The k-th value that an operation reads; -1: none. Only the size of what is resized to matters. */
static dukd_value operand(const dukd_op *op, int k) {
    return op->kind == DUKD_OP_RESIZE && k > 0 ? -1 : op->in[k];
}

static bool does_read(const dukd_op *op, dukd_value v) {
    for (int k = 0; k < DUKD_OP_MAX_OPERANDS; k++)
        if (operand(op, k) == v) return true;
    return false;
}

/* A drop path that drops nothing is no node: its value is its operand's. */
static bool is_vanished(const fusion *s, dukd_value v) {
    return op_at(s, v)->kind == DUKD_OP_DROP_PATH && !s->mode.drops;
}

/* Whether a node may be extended over v: nobody else sees the value before the extension. */
static bool is_private(const fusion *s, dukd_value v) {
    while (s->readers[v] == 1 && s->asked[v] == 0) {
        if (!is_vanished(s, v)) return true;
        v = op_at(s, v)->in[0];
    }
    return false;
}

static dukd_node *node_of(const fusion *s, dukd_value v) {
    return &s->fused->nodes[s->node[v]];
}

static int32_t add_node(fusion *s, dukd_node n) {
    for (int k = 0; k < DUKD_OP_MAX_OPERANDS; k++)
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
    for (int32_t i = v + 1; i < s->ops; i++)
        if (s->live[i] && does_read(op_at(s, i), v) && !is_final_affine(s, i)) return false;
    return true;
}

static bool is_plain(const dukd_op *conv) {
    return conv->stride == 1 && conv->groups == 1 && 2 * conv->padding + 1 == conv->kernel;
}

/* Whether the shuffle v can vanish into the convolution that reads it. The lower resolution has the same number of
 * multiply-adds once the outputs are padded to the 16 lanes of a vector; up to twice is worth the saved copy. */
static bool is_swallowed(const fusion *s, dukd_value v) {
    const dukd_op *op = op_at(s, v);
    if (op->kind != DUKD_OP_PIXEL_SHUFFLE || s->readers[v] != 1 || s->asked[v]) return false;
    const dukd_op *conv = op_at(s, s->reader[v]);
    if (conv->kind != DUKD_OP_CONV || !is_plain(conv) || !only_outputs_read(s, s->reader[v])) return false;
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
        if (!s->live[i] || !does_read(op, v)) continue;
        if (op->kind != DUKD_OP_PIXEL_SHUFFLE || (r != 1 && r != op->kernel)) return 1;
        r = op->kernel;
    }
    return r;
}

static dukd_node node_for(const fusion *s, dukd_node_kind kind, dukd_value v) {
    const dukd_op *op = op_at(s, v);
    dukd_node n = {.kind = kind,
                   .op = op,
                   .channels = op->channels,
                   .up = op->up,
                   .size_of = v,
                   .order = 1,
                   .spread = 1,
                   .scale = 1,
                   .factors = op->factors,
                   .shifts = op->shifts};
    for (int k = 0; k < DUKD_OP_MAX_OPERANDS; k++) {
        dukd_value in = operand(op, k);
        n.in[k] = in >= 0 ? s->node[in] : -1;
    }
    return n;
}

static void fuse_conv(fusion *s, dukd_value v) {
    dukd_node n = node_for(s, DUKD_NODE_CONV, v);
    n.last = only_outputs_read(s, v);
    n.trained = 1;
    if (n.in[0] < 0) { /* its source is a swallowed shuffle */
        const dukd_op *shuffle = op_at(s, n.op->in[0]);
        n.in[0] = s->node[shuffle->in[0]];
        n.size_of = shuffle->in[0];
        n.spread = n.order = shuffle->kernel;
        n.channels *= n.spread * n.spread;
        n.up /= n.spread;
    } else if (n.op->groups == 1) {
        n.order = order_for_readers(s, v);
    }
    s->node[v] = add_node(s, n);
}

/* The convolution that computes v and can be extended over it, or NULL. */
static dukd_node *open_conv(const fusion *s, dukd_value v) {
    dukd_node *n = node_of(s, v);
    if (n->kind != DUKD_NODE_CONV || !is_private(s, v) || n->act || n->in[1] >= 0 || n->spread > 1)
        return NULL;
    return n;
}

/* The same for a product, and a drop path; nothing is added to it yet. */
static dukd_node *open_product(const fusion *s, dukd_value v) {
    dukd_node *n = node_of(s, v);
    if (!is_private(s, v)) return NULL;
    if (n->kind == DUKD_NODE_MUL && n->in[2] < 0) return n;
    return n->kind == DUKD_NODE_DROP_PATH && n->in[1] < 0 ? n : NULL;
}

/* A shuffle that nothing but outputs read is done by their conversion, where a convolution computes what it reads. */
static bool is_exported(const fusion *s, dukd_value v) {
    const dukd_op *op = op_at(s, v);
    const dukd_node *n = node_of(s, op->in[0]);
    return only_outputs_read(s, v) && is_private(s, op->in[0]) && n->kind == DUKD_NODE_CONV &&
           n->spread == 1 && n->order == op->kernel;
}

/* What ends a node: whoever reads v now reads the node. */
static void extend(fusion *s, dukd_node *n, dukd_value v) {
    s->node[v] = (int32_t)(n - s->fused->nodes);
    if (n->kind != DUKD_NODE_CONV) return;
    if (n->op->groups == 1) n->order = order_for_readers(s, v);
    n->last = only_outputs_read(s, v);
}

static bool extend_by_add(fusion *s, dukd_value v) {
    const dukd_op *op = op_at(s, v);
    for (int k = 1; k >= 0; k--) {
        int32_t residual = s->node[op->in[1 - k]];
        dukd_node *n = open_conv(s, op->in[k]);
        if (!n) n = open_product(s, op->in[k]);
        /* The residual must be there when the node runs, and lie in memory as the sum will. */
        if (!n || residual >= s->node[op->in[k]]) continue;
        if (s->fused->nodes[residual].order != 1 || order_for_readers(s, v) != 1) continue;
        n->in[n->kind == DUKD_NODE_MUL ? 2 : 1] = residual;
        if (s->fused->nodes[residual].trained) n->trained = 1;
        extend(s, n, v);
        return true;
    }
    return false;
}

static bool extend_by_activation(fusion *s, dukd_value v) {
    const dukd_op *op = op_at(s, v);
    dukd_node *conv = open_conv(s, op->in[0]);
    if (!conv || conv->scale != 1 || (op->kind == DUKD_OP_GELU && s->mode.train)) return false;
    conv->act = op->kind == DUKD_OP_GELU ? DUKD_ACT_GELU : DUKD_ACT_RELU;
    conv->slope = op->kind == DUKD_OP_RELU ? op->factor : 0;
    extend(s, conv, v);
    return true;
}

static bool extend_by_scale(fusion *s, dukd_value v) {
    dukd_node *n = open_conv(s, op_at(s, v)->in[0]);
    if (!n) n = open_product(s, op_at(s, v)->in[0]);
    if (!n || n->kind == DUKD_NODE_DROP_PATH) return false;
    n->scale *= op_at(s, v)->factor;
    extend(s, n, v);
    return true;
}

static const dukd_node_kind kind_of[] = {
    [DUKD_OP_INPUT] = DUKD_NODE_INPUT,
    [DUKD_OP_CONV] = DUKD_NODE_CONV,
    [DUKD_OP_RELU] = DUKD_NODE_RELU,
    [DUKD_OP_GELU] = DUKD_NODE_GELU,
    [DUKD_OP_SIGMOID] = DUKD_NODE_SIGMOID,
    [DUKD_OP_SCALE] = DUKD_NODE_SCALE,
    [DUKD_OP_ADD] = DUKD_NODE_ADD,
    [DUKD_OP_MUL] = DUKD_NODE_MUL,
    [DUKD_OP_PIXEL_SHUFFLE] = DUKD_NODE_SHUFFLE,
    [DUKD_OP_AFFINE] = DUKD_NODE_AFFINE,
    [DUKD_OP_CONCAT] = DUKD_NODE_CONCAT,
    [DUKD_OP_SLICE] = DUKD_NODE_SLICE,
    [DUKD_OP_LAYER_NORM] = DUKD_NODE_LAYER_NORM,
    [DUKD_OP_ATTENTION] = DUKD_NODE_ATTENTION,
    [DUKD_OP_DROP_PATH] = DUKD_NODE_DROP_PATH,
    [DUKD_OP_MEAN] = DUKD_NODE_MEAN,
    [DUKD_OP_DEVIATION] = DUKD_NODE_DEVIATION,
    [DUKD_OP_MAX_POOL] = DUKD_NODE_MAX_POOL,
    [DUKD_OP_RESIZE] = DUKD_NODE_RESIZE,
};

static void fuse_op(fusion *s, dukd_value v) {
    const dukd_op *op = op_at(s, v);
    dukd_node n = node_for(s, kind_of[op->kind], v);
    switch (op->kind) {
    case DUKD_OP_INPUT:
        if (is_private(s, v) && op_at(s, s->reader[v])->kind == DUKD_OP_AFFINE &&
            !is_final_affine(s, s->reader[v]))
            return; /* the affine map becomes the input node */
        break;
    case DUKD_OP_AFFINE:
        if (is_final_affine(s, v)) {
            s->node[v] = n.in[0];
            return;
        }
        if (n.in[0] < 0) n.kind = DUKD_NODE_INPUT;
        break;
    case DUKD_OP_CONV:
        fuse_conv(s, v);
        return;
    case DUKD_OP_RELU:
    case DUKD_OP_GELU:
        if (extend_by_activation(s, v)) return;
        break;
    case DUKD_OP_SCALE:
        if (extend_by_scale(s, v)) return;
        n.scale = op->factor;
        break;
    case DUKD_OP_ADD:
        if (extend_by_add(s, v)) return;
        break;
    case DUKD_OP_PIXEL_SHUFFLE:
        if (is_swallowed(s, v)) return;
        if (is_exported(s, v)) {
            s->node[v] = n.in[0];
            node_of(s, v)->last = 1;
            return;
        }
        break;
    case DUKD_OP_DROP_PATH:
        if (is_vanished(s, v)) {
            s->node[v] = n.in[0];
            return;
        }
        break;
    case DUKD_OP_LAYER_NORM:
    case DUKD_OP_ATTENTION:
        n.trained = 1;
        break;
    default:
        break;
    }
    s->node[v] = add_node(s, n);
}

static void add_outputs(fusion *s, dukd_value v, const dukd_value *outputs, int32_t output_count) {
    bool affine = is_final_affine(s, v);
    for (int32_t i = 0; i < output_count; i++) {
        if (outputs[i] != v) continue;
        const dukd_node *source = node_of(s, v);
        dukd_node n = node_for(s, DUKD_NODE_OUTPUT, v);
        for (int k = 0; k < DUKD_OP_MAX_OPERANDS; k++) n.in[k] = k == 0 ? s->node[v] : -1;
        n.size_of = source->size_of;
        n.order = source->order;
        n.spread = source->channels == n.channels ? 1 : source->order;
        n.factors = affine ? n.op->factors : NULL;
        n.shifts = affine ? n.op->shifts : NULL;
        n.output = i;
        add_node(s, n);
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
        for (int k = 0; k < DUKD_OP_MAX_OPERANDS; k++) {
            dukd_value in = operand(op_at(s, v), k);
            if (in < 0) continue;
            s->live[in] = true;
            s->readers[in]++;
            s->reader[in] = v;
        }
    }
}

int dukd_fuse(dukd_fused *out, const dukd_graph *g, const dukd_value *outputs, int32_t output_count,
              dukd_fuse_mode mode, dukd_failure *f) {
    size_t ops = (size_t)dukd_graph_op_count(g);
    fusion s = {.graph = g, .fused = out, .mode = mode, .ops = (int32_t)ops};
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

int32_t dukd_node_side(const dukd_node *conv) {
    return conv->spread == 1 ? conv->op->kernel : 2 * dukd_node_padding(conv) + 1;
}

int32_t dukd_node_padding(const dukd_node *conv) {
    if (conv->spread == 1) return conv->op->padding;
    return (conv->op->kernel / 2 + conv->spread - 1) / conv->spread;
}

int32_t dukd_node_is_plain(const dukd_node *conv) {
    return is_plain(conv->op);
}

void dukd_fused_note_kept(const dukd_fused *fused, int32_t i, int32_t *keep, int32_t *again) {
    const dukd_node *n = &fused->nodes[i];
    switch (n->kind) {
    case DUKD_NODE_CONV:
        again[n->in[0]] = 1;
        if (n->act) keep[i] = 1;
        break;
    case DUKD_NODE_RELU:
    case DUKD_NODE_SIGMOID:
        keep[i] = 1;
        break;
    case DUKD_NODE_MUL:
        keep[n->in[0]] = keep[n->in[1]] = 1;
        break;
    case DUKD_NODE_DEVIATION:
        keep[i] = keep[n->in[0]] = 1;
        break;
    case DUKD_NODE_GELU:
    case DUKD_NODE_LAYER_NORM:
    case DUKD_NODE_ATTENTION:
    case DUKD_NODE_MAX_POOL:
        keep[n->in[0]] = 1;
        break;
    default:
        break;
    }
}
