/* A convolution whose kernel is 1 x 1 as a product of matrices by cuBLASLt.
 *
 * cuBLASLt counts matrices by columns: a tensor of P pixels by C channels is C x P with leading dimension C, the filters are in x out. */
#include "gpu_conv_state.h"

#include <stdio.h>
#include <stdlib.h>

enum { MAX_ALGORITHMS = 8 };

struct gpu_product {
    gpu_libraries *l;
    gpu_conv_kind kind;
    int32_t has_bias, has_addend;
    cublasLtMatmulDesc_t product;
    cublasLtMatrixLayout_t a, b, d; /* what is added has d's */
    cublasLtMatmulAlgo_t algorithm;
    size_t workspace;
};

int gpu_product_fits(const gpu_conv_spec *s) {
    return s->side == 1 && s->stride == 1 && s->padding == 0 && s->groups == 1;
}

/* What cuBLASLt adds an epilogue for. Its GELU is the form with tanh, which is not ours; its addend comes before the activation. */
static int epilogue_of(const gpu_conv_call *c, cublasLtEpilogue_t *out) {
    const int relu = c->act == DUKD_ACT_RELU;
    if (c->act == DUKD_ACT_GELU || (relu && (c->spec.slope != 0.0f || c->addend))) return 0;
    *out = relu ? (c->bias ? CUBLASLT_EPILOGUE_RELU_BIAS : CUBLASLT_EPILOGUE_RELU)
                : (c->bias ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT);
    return 1;
}

static int check(const gpu_libraries *l, cublasStatus_t status, const char *function, const char *what,
                 dukd_failure *f) {
    if (status == CUBLAS_STATUS_SUCCESS) return DUKD_DONE;
    return dukd_fail(f, DUKD_FAILED, "cuBLASLt: %s (%s): %s", function, what,
                     l->lt.cublasLtGetStatusString(status));
}

static int set(gpu_product *p, cublasLtMatmulDescAttributes_t name, const char *what, const void *value,
               size_t size, dukd_failure *f) {
    return check(p->l, p->l->lt.cublasLtMatmulDescSetAttribute(p->product, name, value, size),
                 "cublasLtMatmulDescSetAttribute", what, f);
}
#define SET(p, name, value, f) set(p, name, #name, &(value), sizeof(value), f)

static cudaDataType_t data_type(dukd_type t) {
    return t == DUKD_TYPE_F32 ? CUDA_R_32F : CUDA_R_16BF;
}

static int layout(gpu_libraries *l, cublasLtMatrixLayout_t *out, dukd_type type, int64_t rows,
                  int64_t columns, dukd_failure *f) {
    return check(
        l, l->lt.cublasLtMatrixLayoutCreate(out, data_type(type), (uint64_t)rows, (uint64_t)columns, rows),
        "cublasLtMatrixLayoutCreate", "a matrix", f);
}

static int layouts(gpu_product *p, const gpu_conv_call *c, dukd_failure *f) {
    const gpu_conv_spec *s = &c->spec;
    const int64_t in = s->in_channels, out = s->out_channels,
                  pixels = (int64_t)s->images * s->height * s->width;
    int status = DUKD_DONE;
    switch (s->kind) {
    case GPU_CONV_FORWARD: /* out x pixels = w^T (in x out) by x (in x pixels) */
        status = layout(p->l, &p->a, c->type, in, out, f);
        if (status == DUKD_DONE) status = layout(p->l, &p->b, c->type, in, pixels, f);
        if (status == DUKD_DONE) status = layout(p->l, &p->d, c->out_type, out, pixels, f);
        break;
    case GPU_CONV_DATA_GRADIENT: /* in x pixels = w (in x out) by d (out x pixels) */
        status = layout(p->l, &p->a, c->type, in, out, f);
        if (status == DUKD_DONE) status = layout(p->l, &p->b, c->type, out, pixels, f);
        if (status == DUKD_DONE) status = layout(p->l, &p->d, c->out_type, in, pixels, f);
        break;
    case GPU_CONV_WEIGHTS_GRADIENT: /* in x out = x (in x pixels) by d^T (out x pixels) */
        status = layout(p->l, &p->a, c->type, in, pixels, f);
        if (status == DUKD_DONE) status = layout(p->l, &p->b, c->type, out, pixels, f);
        if (status == DUKD_DONE) status = layout(p->l, &p->d, c->out_type, in, out, f);
        break;
    }
    return status;
}

static int describe(gpu_product *p, const gpu_conv_call *c, cublasLtEpilogue_t epilogue, dukd_failure *f) {
    const cublasComputeType_t compute =
        c->type == DUKD_TYPE_F32 && c->tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
    const cublasOperation_t transposed = CUBLAS_OP_T;
    int status = check(p->l, p->l->lt.cublasLtMatmulDescCreate(&p->product, compute, CUDA_R_32F),
                       "cublasLtMatmulDescCreate", "a product", f);
    if (status == DUKD_DONE && c->spec.kind == GPU_CONV_FORWARD)
        status = SET(p, CUBLASLT_MATMUL_DESC_TRANSA, transposed, f);
    if (status == DUKD_DONE && c->spec.kind == GPU_CONV_WEIGHTS_GRADIENT)
        status = SET(p, CUBLASLT_MATMUL_DESC_TRANSB, transposed, f);
    if (status == DUKD_DONE) status = SET(p, CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue, f);
    if (status == DUKD_DONE && c->bias) {
        /* Until the first run a number that is aligned as the bias will be: the heuristics look at it. */
        const uintptr_t later = 256;
        const cudaDataType_t type = data_type(c->bias_type);
        status = SET(p, CUBLASLT_MATMUL_DESC_BIAS_POINTER, later, f);
        if (status == DUKD_DONE) status = SET(p, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, type, f);
    }
    return status;
}

/* The first algorithm that the heuristics propose within the workspace; partial sums are added up in f32, never in bf16. */
static int choose(gpu_product *p, const gpu_conv_call *c, int *found, gpu_refusal *why, dukd_failure *f) {
    const gpu_lt_functions *lt = &p->l->lt;
    const size_t most = (size_t)c->workspace_limit;
    const uint32_t reductions = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE; /* and none, always */
    cublasLtMatmulPreference_t preference = NULL;
    cublasLtMatmulHeuristicResult_t results[MAX_ALGORITHMS];
    int count = 0;
    *found = 0;
    int status = check(p->l, lt->cublasLtMatmulPreferenceCreate(&preference),
                       "cublasLtMatmulPreferenceCreate", "a product", f);
    if (status != DUKD_DONE) return status;
    status = check(p->l,
                   lt->cublasLtMatmulPreferenceSetAttribute(
                       preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &most, sizeof most),
                   "cublasLtMatmulPreferenceSetAttribute", "CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES", f);
    if (status == DUKD_DONE)
        status =
            check(p->l,
                  lt->cublasLtMatmulPreferenceSetAttribute(
                      preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &reductions, sizeof reductions),
                  "cublasLtMatmulPreferenceSetAttribute", "CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK", f);
    if (status == DUKD_DONE) {
        const cublasStatus_t asked = lt->cublasLtMatmulAlgoGetHeuristic(
            p->l->lt_handle, p->product, p->a, p->b, p->d, p->d, preference, MAX_ALGORITHMS, results, &count);
        (void)snprintf(why->text, sizeof why->text, "cuBLASLt: cublasLtMatmulAlgoGetHeuristic: %s",
                       asked != CUBLAS_STATUS_SUCCESS ? lt->cublasLtGetStatusString(asked)
                                                      : "it proposes nothing");
        if (asked != CUBLAS_STATUS_SUCCESS) count = 0;
    }
    for (int i = 0; i < count && !*found; i++) {
        if (results[i].state != CUBLAS_STATUS_SUCCESS || results[i].workspaceSize > most) continue;
        p->algorithm = results[i].algo;
        p->workspace = results[i].workspaceSize;
        *found = 1;
    }
    const int closed = check(p->l, lt->cublasLtMatmulPreferenceDestroy(preference),
                             "cublasLtMatmulPreferenceDestroy", "a product", f);
    return status != DUKD_DONE ? status : closed;
}

int gpu_product_create(gpu_product **out, gpu_libraries *l, const gpu_conv_call *call, gpu_refusal *why,
                       dukd_failure *f) {
    cublasLtEpilogue_t epilogue;
    *out = NULL;
    if (!epilogue_of(call, &epilogue)) {
        (void)snprintf(why->text, sizeof why->text, "cuBLASLt has no epilogue for it");
        return DUKD_DONE;
    }
    gpu_product *p = calloc(1, sizeof *p);
    if (p == NULL) return dukd_fail_memory(f, "a product of matrices", sizeof *p);
    p->l = l;
    p->kind = call->spec.kind;
    p->has_bias = call->bias;
    p->has_addend = call->addend;
    int found = 0;
    int status = layouts(p, call, f);
    if (status == DUKD_DONE) status = describe(p, call, epilogue, f);
    if (status == DUKD_DONE) status = choose(p, call, &found, why, f);
    if (status == DUKD_DONE && found) {
        *out = p;
        return DUKD_DONE;
    }
    gpu_product_destroy(p);
    return status;
}

void gpu_product_destroy(gpu_product *p) {
    if (p == NULL) return;
    const gpu_lt_functions *lt = &p->l->lt;
    const cublasLtMatrixLayout_t matrices[] = {p->a, p->b, p->d};
    for (int i = 0; i < 3; i++) {
        if (matrices[i] != NULL) (void)lt->cublasLtMatrixLayoutDestroy(matrices[i]);
    }
    if (p->product != NULL) (void)lt->cublasLtMatmulDescDestroy(p->product);
    free(p);
}

int64_t gpu_product_workspace(const gpu_product *p) {
    return (int64_t)p->workspace;
}

int gpu_product_run(gpu_product *p, const gpu_conv_operands *o, dukd_failure *f) {
    static const float one = 1.0f, zero = 0.0f;
    if (p->has_bias) {
        const int status = SET(p, CUBLASLT_MATMUL_DESC_BIAS_POINTER, o->bias, f);
        if (status != DUKD_DONE) return status;
    }
    const void *a = p->kind == GPU_CONV_WEIGHTS_GRADIENT ? o->x : o->w;
    const void *b = p->kind == GPU_CONV_FORWARD ? o->x : o->d;
    const void *c = p->has_addend && p->kind == GPU_CONV_FORWARD ? o->addend : o->out;
    return check(p->l,
                 p->l->lt.cublasLtMatmul(p->l->lt_handle, p->product, &one, a, p->a, b, p->b,
                                         p->has_addend ? &one : &zero, c, p->d, o->out, p->d, &p->algorithm,
                                         o->workspace, p->workspace, p->l->stream),
                 "cublasLtMatmul", "a product", f);
}
