/* A convolution, with what follows it, as a graph of cuDNN's operations, and the first plan for it that keeps our rules.
 *
 * Descriptors live as long as the plan. Everything that may take time or memory of the device's is done when the graph is made; a run
 * makes one descriptor of pointers and enqueues. */
#include "gpu_conv_state.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAX_KEPT = 32, MAX_OPS = 4, MAX_TENSORS = 5, MAX_CONFIGS = 64, MAX_NOTES = 32 };

/* Tensors of a graph; those from VIRTUAL on are never in memory. */
enum { ID_X = 1, ID_W, ID_D, ID_BIAS, ID_ADDEND, ID_OUT, ID_VIRTUAL };

struct gpu_graph {
    gpu_libraries *l;
    cudnnBackendDescriptor_t kept[MAX_KEPT], plan;
    int32_t kept_count, tensor_count;
    int64_t tensors[MAX_TENSORS]; /* ids of those in memory */
    int64_t workspace;
    int64_t engine; /* its number */
};

/* Makes descriptors until a call fails; from then on does nothing. */
typedef struct {
    gpu_graph *g;
    const gpu_conv_call *call;
    cudnnStatus_t status;
    char failure[512]; /* the call, what it was about, and what cuDNN says */
} maker;

static void note(maker *m, const char *function, const char *what, cudnnStatus_t status) {
    gpu_libraries *l = m->g->l;
    char detail[256] = "";
    l->cudnn.cudnnGetLastErrorString(detail, sizeof detail);
    m->status = status;
    (void)snprintf(m->failure, sizeof m->failure, "%s (%s): %s%s%s", function, what,
                   l->cudnn.cudnnGetErrorString(status), detail[0] != 0 ? ": " : "", detail);
}

static cudnnBackendDescriptor_t create(maker *m, cudnnBackendDescriptorType_t type, const char *what) {
    cudnnBackendDescriptor_t d = NULL;
    if (m->status != CUDNN_STATUS_SUCCESS) return NULL;
    const cudnnStatus_t status = m->g->l->cudnn.cudnnBackendCreateDescriptor(type, &d);
    if (status == CUDNN_STATUS_SUCCESS) return d;
    note(m, "cudnnBackendCreateDescriptor", what, status);
    return NULL;
}

static void destroy(gpu_libraries *l, cudnnBackendDescriptor_t d) {
    if (d != NULL) (void)l->cudnn.cudnnBackendDestroyDescriptor(d);
}

static void keep(gpu_graph *g, cudnnBackendDescriptor_t d) {
    if (d != NULL) g->kept[g->kept_count++] = d;
}

static cudnnBackendDescriptor_t create_kept(maker *m, cudnnBackendDescriptorType_t type, const char *what) {
    cudnnBackendDescriptor_t d = create(m, type, what);
    keep(m->g, d);
    return d;
}

static void set_named(maker *m, cudnnBackendDescriptor_t d, cudnnBackendAttributeName_t name,
                      const char *what, cudnnBackendAttributeType_t type, int64_t count, const void *values) {
    if (m->status != CUDNN_STATUS_SUCCESS) return;
    const cudnnStatus_t status = m->g->l->cudnn.cudnnBackendSetAttribute(d, name, type, count, values);
    if (status != CUDNN_STATUS_SUCCESS) note(m, "cudnnBackendSetAttribute", what, status);
}
#define SET(m, d, name, type, count, values) set_named(m, d, name, #name, type, count, values)

static void finalize(maker *m, cudnnBackendDescriptor_t d, const char *what) {
    if (m->status != CUDNN_STATUS_SUCCESS) return;
    const cudnnStatus_t status = m->g->l->cudnn.cudnnBackendFinalize(d);
    if (status != CUDNN_STATUS_SUCCESS) note(m, "cudnnBackendFinalize", what, status);
}

/* ---- tensors ---- */

static cudnnDataType_t data_type(dukd_type t) {
    return t == DUKD_TYPE_F32 ? CUDNN_DATA_FLOAT : CUDNN_DATA_BFLOAT16;
}

/* n x c x h x w as cuDNN counts them, in memory n x h x w x c. */
static cudnnBackendDescriptor_t tensor(maker *m, int64_t id, const char *what, cudnnDataType_t type,
                                       int64_t n, int64_t c, int64_t h, int64_t w) {
    const int64_t dims[4] = {n, c, h, w}, strides[4] = {h * w * c, 1, w * c, c};
    const int64_t alignment = 16;
    const bool is_virtual = id >= ID_VIRTUAL;
    cudnnBackendDescriptor_t d = create_kept(m, CUDNN_BACKEND_TENSOR_DESCRIPTOR, what);
    SET(m, d, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, &id);
    SET(m, d, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type);
    SET(m, d, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4, dims);
    SET(m, d, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4, strides);
    SET(m, d, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, 1, &alignment);
    SET(m, d, CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, 1, &is_virtual);
    finalize(m, d, what);
    if (!is_virtual) m->g->tensors[m->g->tensor_count++] = id;
    return d;
}

static cudnnBackendDescriptor_t tensor_x(maker *m, int64_t id, const char *what, dukd_type type) {
    const gpu_conv_spec *s = &m->call->spec;
    return tensor(m, id, what, data_type(type), s->images, s->in_channels, s->height, s->width);
}

static cudnnBackendDescriptor_t tensor_w(maker *m, int64_t id, const char *what, dukd_type type) {
    const gpu_conv_spec *s = &m->call->spec;
    return tensor(m, id, what, data_type(type), s->out_channels, s->in_channels / s->groups, s->side,
                  s->side);
}

static cudnnBackendDescriptor_t tensor_out(maker *m, int64_t id, const char *what, cudnnDataType_t type) {
    const gpu_conv_call *c = m->call;
    return tensor(m, id, what, type, c->spec.images, c->spec.out_channels, c->out_height, c->out_width);
}

/* ---- operations ---- */

static cudnnBackendDescriptor_t convolution(maker *m) {
    const gpu_conv_spec *s = &m->call->spec;
    const int64_t dims = 2, stride[2] = {s->stride, s->stride}, padding[2] = {s->padding, s->padding},
                  dilation[2] = {1, 1};
    const cudnnDataType_t sums = CUDNN_DATA_FLOAT;
    const cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;
    cudnnBackendDescriptor_t d = create_kept(m, CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR, "convolution");
    SET(m, d, CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &sums);
    SET(m, d, CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, 1, &mode);
    SET(m, d, CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64, 1, &dims);
    SET(m, d, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, 2, stride);
    SET(m, d, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, 2, padding);
    SET(m, d, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, 2, padding);
    SET(m, d, CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, 2, dilation);
    finalize(m, d, "convolution");
    return d;
}

/* y = mode(x) or, with b, mode(x, b). */
static cudnnBackendDescriptor_t pointwise(maker *m, cudnnPointwiseMode_t mode, const char *what,
                                          cudnnBackendDescriptor_t x, cudnnBackendDescriptor_t b,
                                          cudnnBackendDescriptor_t y) {
    const cudnnDataType_t precision = CUDNN_DATA_FLOAT;
    cudnnBackendDescriptor_t kind = create_kept(m, CUDNN_BACKEND_POINTWISE_DESCRIPTOR, what);
    SET(m, kind, CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, 1, &mode);
    SET(m, kind, CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, 1, &precision);
    if (mode == CUDNN_POINTWISE_RELU_FWD && m->call->spec.slope != 0.0f) {
        const double slope = m->call->spec.slope;
        SET(m, kind, CUDNN_ATTR_POINTWISE_RELU_LOWER_CLIP_SLOPE, CUDNN_TYPE_DOUBLE, 1, &slope);
    }
    finalize(m, kind, what);
    cudnnBackendDescriptor_t op = create_kept(m, CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR, what);
    SET(m, op, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &kind);
    SET(m, op, CUDNN_ATTR_OPERATION_POINTWISE_XDESC, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &x);
    if (b != NULL) SET(m, op, CUDNN_ATTR_OPERATION_POINTWISE_BDESC, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &b);
    SET(m, op, CUDNN_ATTR_OPERATION_POINTWISE_YDESC, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &y);
    finalize(m, op, what);
    return op;
}

/* Attributes of the three operations, which differ in names only: `to` = conv of `a` and `b` + beta * to. */
typedef struct {
    cudnnBackendDescriptorType_t type;
    const char *what;
    cudnnBackendAttributeName_t alpha, beta, conv, a, b, to;
} conv_names;

static const conv_names names_of[] = {
    [GPU_CONV_FORWARD] =
        {
            CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
            "forward convolution",
            CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
            CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA,
            CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
            CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
            CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
            CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y,
        },
    [GPU_CONV_DATA_GRADIENT] =
        {
            CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
            "data gradient",
            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA,
            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY,
            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
        },
    [GPU_CONV_WEIGHTS_GRADIENT] =
        {
            CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
            "weights gradient",
            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA,
            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY,
            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
        },
};

static cudnnBackendDescriptor_t conv_operation(maker *m, cudnnBackendDescriptor_t a,
                                               cudnnBackendDescriptor_t b, cudnnBackendDescriptor_t to,
                                               float beta) {
    const conv_names *n = &names_of[m->call->spec.kind];
    const float alpha = 1.0f;
    cudnnBackendDescriptor_t conv = convolution(m), op = create_kept(m, n->type, n->what);
    set_named(m, op, n->conv, n->what, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &conv);
    set_named(m, op, n->a, n->what, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &a);
    set_named(m, op, n->b, n->what, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &b);
    set_named(m, op, n->to, n->what, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &to);
    set_named(m, op, n->alpha, n->what, CUDNN_TYPE_FLOAT, 1, &alpha);
    set_named(m, op, n->beta, n->what, CUDNN_TYPE_FLOAT, 1, &beta);
    finalize(m, op, n->what);
    return op;
}

/* What follows the convolution, in the order that it is computed in. Without an activation the addend comes before the bias: the
 * same sum, and the order in which cuDNN has compiled kernels for the three. */
typedef enum { STAGE_BIAS, STAGE_ACT, STAGE_ADDEND } stage;

static int stages_of(const gpu_conv_call *c, stage out[3]) {
    int n = 0;
    if (c->act == DUKD_ACT_NONE && c->addend) out[n++] = STAGE_ADDEND;
    if (c->bias) out[n++] = STAGE_BIAS;
    if (c->act != DUKD_ACT_NONE) {
        out[n++] = STAGE_ACT;
        if (c->addend) out[n++] = STAGE_ADDEND;
    }
    return n;
}

static cudnnBackendDescriptor_t stage_operation(maker *m, stage s, cudnnBackendDescriptor_t from,
                                                cudnnBackendDescriptor_t to) {
    const gpu_conv_call *c = m->call;
    switch (s) {
    case STAGE_BIAS: {
        cudnnBackendDescriptor_t bias =
            tensor(m, ID_BIAS, "tensor bias", data_type(c->bias_type), 1, c->spec.out_channels, 1, 1);
        return pointwise(m, CUDNN_POINTWISE_ADD, "bias", from, bias, to);
    }
    case STAGE_ADDEND: {
        cudnnBackendDescriptor_t addend = tensor_out(m, ID_ADDEND, "tensor addend", data_type(c->out_type));
        return pointwise(m, CUDNN_POINTWISE_ADD, "addend", from, addend, to);
    }
    case STAGE_ACT:
        break;
    }
    if (c->act == DUKD_ACT_GELU) return pointwise(m, CUDNN_POINTWISE_GELU_FWD, "GELU", from, NULL, to);
    return pointwise(m, CUDNN_POINTWISE_RELU_FWD, "ReLU", from, NULL, to);
}

static int operations(maker *m, cudnnBackendDescriptor_t ops[MAX_OPS]) {
    const gpu_conv_call *c = m->call;
    cudnnBackendDescriptor_t a, b, to;
    int count = 0;
    switch (c->spec.kind) {
    case GPU_CONV_FORWARD: {
        stage stages[3];
        const int n = stages_of(c, stages);
        a = tensor_x(m, ID_X, "tensor x", c->type);
        b = tensor_w(m, ID_W, "tensor w", c->type);
        for (int i = 0; i <= n; i++) { /* the convolution, then its stages; f32 between them */
            cudnnBackendDescriptor_t from = i > 0 ? to : NULL;
            to = i == n ? tensor_out(m, ID_OUT, "tensor out", data_type(c->out_type))
                        : tensor_out(m, ID_VIRTUAL + i, "virtual tensor", CUDNN_DATA_FLOAT);
            ops[count++] =
                i == 0 ? conv_operation(m, a, b, to, 0.0f) : stage_operation(m, stages[i - 1], from, to);
        }
        break;
    }
    case GPU_CONV_DATA_GRADIENT:
        a = tensor_out(m, ID_D, "tensor d", data_type(c->type));
        b = tensor_w(m, ID_W, "tensor w", c->type);
        to = tensor_x(m, ID_OUT, "tensor dx", c->out_type);
        ops[count++] = conv_operation(m, a, b, to, c->addend ? 1.0f : 0.0f);
        break;
    case GPU_CONV_WEIGHTS_GRADIENT:
        a = tensor_x(m, ID_X, "tensor x", c->type);
        b = tensor_out(m, ID_D, "tensor d", data_type(c->type));
        to = tensor_w(m, ID_OUT, "tensor dw", c->out_type);
        ops[count++] = conv_operation(m, a, b, to, 0.0f);
        break;
    }
    return count;
}

/* ---- plans ---- */

static int64_t get(maker *m, cudnnBackendDescriptor_t d, cudnnBackendAttributeName_t name, const char *what,
                   cudnnBackendAttributeType_t type, int64_t room, void *out) {
    int64_t count = 0;
    if (m->status != CUDNN_STATUS_SUCCESS) return 0;
    const cudnnStatus_t status = m->g->l->cudnn.cudnnBackendGetAttribute(d, name, type, room, &count, out);
    if (status != CUDNN_STATUS_SUCCESS) note(m, "cudnnBackendGetAttribute", what, status);
    return status == CUDNN_STATUS_SUCCESS ? count : 0;
}

/* Whether an engine keeps our rules: the same bits from run to run, products of the operands as they are, sums in f32, TF32 only
 * where it was asked for. Winograd's transforms lose about a digit in f32 with tiles up to 4 x 4, and more with larger ones and in
 * bf16; so do Fourier transforms. */
static int allowed(const gpu_conv_call *c, const cudnnBackendNumericalNote_t *notes, int64_t count) {
    const int f32 = c->type == DUKD_TYPE_F32;
    for (int64_t i = 0; i < count; i++) {
        switch ((int)notes[i]) {
        case CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC:
        case CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS:
        case CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION:
        case CUDNN_NUMERICAL_NOTE_FFT:
        case CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_6x6:
        case CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_13x13:
            return 0;
        case CUDNN_NUMERICAL_NOTE_TENSOR_CORE:
            if (f32 && !c->tf32) return 0;
            break;
        case CUDNN_NUMERICAL_NOTE_WINOGRAD:
            if (!f32) return 0;
            break;
        default:
            break;
        }
    }
    return 1;
}

static int config_allowed(maker *m, cudnnBackendDescriptor_t config) {
    cudnnBackendNumericalNote_t notes[MAX_NOTES];
    int64_t index = -1;
    cudnnBackendDescriptor_t engine = create(m, CUDNN_BACKEND_ENGINE_DESCRIPTOR, "engine");
    (void)get(m, config, CUDNN_ATTR_ENGINECFG_ENGINE, "engine of a configuration",
              CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &engine);
    int64_t count = get(m, engine, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, "numerical notes of an engine",
                        CUDNN_TYPE_NUMERICAL_NOTE, MAX_NOTES, notes);
    if (count > MAX_NOTES) count = MAX_NOTES;
    (void)get(m, engine, CUDNN_ATTR_ENGINE_GLOBAL_INDEX, "number of an engine", CUDNN_TYPE_INT64, 1, &index);
    destroy(m->g->l, engine);
    m->g->engine = index;
    return m->status == CUDNN_STATUS_SUCCESS && allowed(m->call, notes, count) &&
           !gpu_avoids_engine(m->g->l, m->call->spec.kind, index);
}

/* Makes the plan of a configuration, if that can be done within the workspace. */
static void try_config(maker *m, cudnnBackendDescriptor_t config) {
    gpu_graph *g = m->g;
    cudnnBackendDescriptor_t plan = create(m, CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR, "plan");
    SET(m, plan, CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, 1, &g->l->cudnn_handle);
    SET(m, plan, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &config);
    finalize(m, plan, "plan");
    int64_t workspace = 0;
    (void)get(m, plan, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, "workspace of a plan", CUDNN_TYPE_INT64, 1,
              &workspace);
    if (m->status == CUDNN_STATUS_SUCCESS && workspace <= m->call->workspace_limit) {
        g->plan = plan;
        g->workspace = workspace;
        return;
    }
    if (m->status == CUDNN_STATUS_SUCCESS)
        (void)snprintf(m->failure, sizeof m->failure,
                       "a plan needs a workspace of %lld bytes, and may have %lld", (long long)workspace,
                       (long long)m->call->workspace_limit);
    destroy(g->l, plan);
}

/* Goes through what a mode of the heuristics proposes. A configuration that makes no plan is no failure: there are others. */
static void try_mode(maker *m, cudnnBackendDescriptor_t graph, cudnnBackendHeurMode_t mode) {
    gpu_graph *g = m->g;
    cudnnBackendDescriptor_t configs[MAX_CONFIGS] = {NULL};
    cudnnBackendDescriptor_t heuristics = create(m, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR, "heuristics");
    SET(m, heuristics, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &graph);
    SET(m, heuristics, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode);
    finalize(m, heuristics, "heuristics");
    int64_t count = get(m, heuristics, CUDNN_ATTR_ENGINEHEUR_RESULTS, "number of configurations",
                        CUDNN_TYPE_BACKEND_DESCRIPTOR, 0, NULL);
    if (count > MAX_CONFIGS) count = MAX_CONFIGS;
    for (int64_t i = 0; i < count; i++)
        configs[i] = create(m, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, "configuration");
    if (count > 0)
        count = get(m, heuristics, CUDNN_ATTR_ENGINEHEUR_RESULTS, "configurations",
                    CUDNN_TYPE_BACKEND_DESCRIPTOR, count, configs);
    for (int64_t i = 0; i < count && i < MAX_CONFIGS && g->plan == NULL; i++) {
        if (config_allowed(m, configs[i])) try_config(m, configs[i]);
        m->status = CUDNN_STATUS_SUCCESS;
        if (g->plan != NULL) {
            keep(g, configs[i]);
            configs[i] = NULL;
        }
    }
    for (int i = 0; i < MAX_CONFIGS; i++) destroy(g->l, configs[i]);
    destroy(g->l, heuristics);
}

/* Whether another call may do: this one is not for this cuDNN, which is none of its failures. */
static int refuses(cudnnStatus_t status) {
    return (int)status / 1000 == CUDNN_STATUS_BAD_PARAM / 1000 ||
           (int)status / 1000 == CUDNN_STATUS_NOT_SUPPORTED / 1000;
}

/* 1: cuDNN refuses; 0: done, or m->status is a failure. */
static int build(maker *m) {
    cudnnBackendDescriptor_t ops[MAX_OPS];
    const int count = operations(m, ops);
    cudnnBackendDescriptor_t graph =
        create_kept(m, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR, "operation graph");
    SET(m, graph, CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, 1, &m->g->l->cudnn_handle);
    SET(m, graph, CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, count, ops);
    if (m->status != CUDNN_STATUS_SUCCESS) return refuses(m->status);
    finalize(m, graph, "operation graph");
    if (m->status != CUDNN_STATUS_SUCCESS) return 1;
    static const cudnnBackendHeurMode_t modes[] = {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK};
    for (size_t i = 0; i < sizeof modes / sizeof *modes && m->g->plan == NULL; i++) {
        m->status = CUDNN_STATUS_SUCCESS;
        try_mode(m, graph, modes[i]);
    }
    return m->g->plan == NULL;
}

static void tell(const gpu_graph *g, const gpu_conv_call *c) {
    static const char *const kinds[] = {"forward", "data", "weights"};
    const gpu_conv_spec *s = &c->spec;
    (void)fprintf(
        stderr,
        "cuDNN: %s, %d x %d x %d x %d to %d, kernel %d, %s%s%s%s%s: engine %lld, workspace of %lld bytes\n",
        kinds[s->kind], s->images, s->in_channels, s->height, s->width, s->out_channels, s->side,
        c->type == DUKD_TYPE_F32 ? "f32" : "bf16", c->tf32 ? ", TF32" : "", c->bias ? ", bias" : "",
        c->act != DUKD_ACT_NONE ? ", activation" : "", c->addend ? ", sum" : "", (long long)g->engine,
        (long long)g->workspace);
}

int gpu_graph_create(gpu_graph **out, gpu_libraries *l, const gpu_conv_call *call, gpu_refusal *why,
                     dukd_failure *f) {
    *out = NULL;
    gpu_graph *g = calloc(1, sizeof *g);
    if (g == NULL) return dukd_fail_memory(f, "a convolution's graph", sizeof *g);
    g->l = l;
    maker m = {.g = g, .call = call, .status = CUDNN_STATUS_SUCCESS};
    const int refused = build(&m);
    if (g->plan != NULL) {
        if (l->tells) tell(g, call);
        *out = g;
        return DUKD_DONE;
    }
    gpu_graph_destroy(g);
    if (!refused) return dukd_fail(f, DUKD_FAILED, "cuDNN: %s", m.failure);
    (void)snprintf(why->text, sizeof why->text, "cuDNN: %.480s",
                   m.failure[0] != 0 ? m.failure : "no engine keeps the rules for precision and order");
    return DUKD_DONE;
}

void gpu_graph_destroy(gpu_graph *g) {
    if (g == NULL) return;
    destroy(g->l, g->plan);
    for (int i = g->kept_count - 1; i >= 0; i--) destroy(g->l, g->kept[i]);
    free(g);
}

int64_t gpu_graph_workspace(const gpu_graph *g) {
    return g->workspace;
}

int gpu_graph_run(gpu_graph *g, const gpu_conv_operands *o, dukd_failure *f) {
    const void *const operands[] = {[ID_X] = o->x,       [ID_W] = o->w,           [ID_D] = o->d,
                                    [ID_BIAS] = o->bias, [ID_ADDEND] = o->addend, [ID_OUT] = o->out};
    const void *pointers[MAX_TENSORS];
    for (int i = 0; i < g->tensor_count; i++) pointers[i] = operands[g->tensors[i]];
    maker m = {.g = g, .status = CUDNN_STATUS_SUCCESS};
    cudnnBackendDescriptor_t pack = create(&m, CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, "variant pack");
    SET(&m, pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, g->tensor_count, g->tensors);
    SET(&m, pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, g->tensor_count, pointers);
    if (g->workspace > 0)
        SET(&m, pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, &o->workspace);
    finalize(&m, pack, "variant pack");
    if (m.status == CUDNN_STATUS_SUCCESS) {
        const cudnnStatus_t status = g->l->cudnn.cudnnBackendExecute(g->l->cudnn_handle, g->plan, pack);
        if (status != CUDNN_STATUS_SUCCESS) note(&m, "cudnnBackendExecute", "convolution", status);
    }
    destroy(g->l, pack);
    if (m.status != CUDNN_STATUS_SUCCESS) return dukd_fail(f, DUKD_FAILED, "cuDNN: %s", m.failure);
    return DUKD_DONE;
}
