/* The double of cuBLASLt by itself against a loop in double: transposes, leading dimensions, alpha, beta, bias, ReLU, f32 and TF32. It is what
 * the engine's products are tested by, so it must not be tested by them alone. */
#include "gpu_fixture.h"

#include <cublasLt.h>
#include <math.h>
#include <stdlib.h>

enum { M = 5, N = 7, K = 6, PAD = 3 };

typedef struct {
    int transpose_a, transpose_b, pad, bias, relu, tf32;
    float alpha, beta;
} product_case;

static int32_t rows(int transposed, int32_t m, int32_t k) {
    return transposed ? k : m;
}

/* An element as TF32 has it: to nearest, ties to even, 10 bits of fraction. */
static double taken(const product_case *c, float v) {
    int exponent;
    if (!c->tf32) return v;
    const double fraction = frexp(v, &exponent);
    return ldexp(rint(ldexp(fraction, 11)), exponent - 11);
}

static void check(const product_case *c, cublasLtHandle_t handle) {
    const int32_t ra = rows(c->transpose_a, M, K), ca = M + K - ra, rb = rows(c->transpose_b, K, N),
                  cb = K + N - rb, la = ra + c->pad, lb = rb + c->pad, ld = M + c->pad;
    gpu_floats a = gpu_floats_random(la * ca, 1, -1, 1), b = gpu_floats_random(lb * cb, 2, -1, 1),
               d = gpu_floats_random(ld * N, 3, -1, 1), bias = gpu_floats_random(M, 4, -1, 1);
    double *want = gpu_doubles(ld * N);
    for (int32_t j = 0; j < N; j++)
        for (int32_t i = 0; i < M; i++) {
            double sum = c->beta * (double)d.host[i + j * ld];
            for (int32_t k = 0; k < K; k++)
                sum += c->alpha * taken(c, a.host[c->transpose_a ? k + i * la : i + k * la]) *
                       taken(c, b.host[c->transpose_b ? j + k * lb : k + j * lb]);
            if (c->bias) sum += bias.host[i];
            want[i + j * ld] = c->relu && sum < 0 ? 0 : sum;
        }
    cublasLtMatmulDesc_t product;
    cublasLtMatrixLayout_t in_a, in_b, out;
    cublasLtMatmulPreference_t preference;
    cublasLtMatmulHeuristicResult_t found[8];
    int count = 0;
    const size_t most = 1 << 20;
    const uint32_t reductions = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
    const cublasOperation_t transposed = CUBLAS_OP_T;
    const cublasLtEpilogue_t epilogue = c->bias
                                            ? c->relu ? CUBLASLT_EPILOGUE_RELU_BIAS : CUBLASLT_EPILOGUE_BIAS
                                        : c->relu ? CUBLASLT_EPILOGUE_RELU
                                                  : CUBLASLT_EPILOGUE_DEFAULT;
#define LT(call) assert_int_equal(call, CUBLAS_STATUS_SUCCESS)
    LT(cublasLtMatmulDescCreate(&product, c->tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F,
                                CUDA_R_32F));
#define SET(name, value) LT(cublasLtMatmulDescSetAttribute(product, name, &(value), sizeof(value)))
    if (c->transpose_a) SET(CUBLASLT_MATMUL_DESC_TRANSA, transposed);
    if (c->transpose_b) SET(CUBLASLT_MATMUL_DESC_TRANSB, transposed);
    SET(CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue);
    if (c->bias) SET(CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias.device);
    LT(cublasLtMatrixLayoutCreate(&in_a, CUDA_R_32F, (uint64_t)ra, (uint64_t)ca, la));
    LT(cublasLtMatrixLayoutCreate(&in_b, CUDA_R_32F, (uint64_t)rb, (uint64_t)cb, lb));
    LT(cublasLtMatrixLayoutCreate(&out, CUDA_R_32F, M, N, ld));
    LT(cublasLtMatmulPreferenceCreate(&preference));
    LT(cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &most,
                                            sizeof most));
    LT(cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
                                            &reductions, sizeof reductions));
    LT(cublasLtMatmulAlgoGetHeuristic(handle, product, in_a, in_b, out, out, preference, 8, found, &count));
    int best = 0;
    while (best < count && (found[best].state != CUBLAS_STATUS_SUCCESS || found[best].workspaceSize > most))
        best++;
    assert_true(best < count);
    void *workspace = gpu_alloc((int64_t)found[best].workspaceSize);
    LT(cublasLtMatmul(handle, product, &c->alpha, a.device, in_a, b.device, in_b, &c->beta, d.device, out,
                      d.device, out, &found[best].algo, workspace, found[best].workspaceSize, gpu_stream()));
    gpu_wait();
    float *got = malloc(sizeof *got * (size_t)(ld * N));
    assert_non_null(got);
    gpu_download(got, d.device, (int64_t)sizeof *got * ld * N);
    for (int32_t i = 0; i < ld * N; i++)
        if (i % ld < M && !(fabs(got[i] - want[i]) <= 1e-6))
            fail_msg(
                "transposes %d %d, pad %d, bias %d, relu %d, alpha %g, beta %g: element %d is %g, not %g",
                c->transpose_a, c->transpose_b, c->pad, c->bias, c->relu, (double)c->alpha, (double)c->beta,
                i, (double)got[i], want[i]);
    free(got);
    free(want);
    gpu_free(workspace);
    LT(cublasLtMatmulPreferenceDestroy(preference));
    LT(cublasLtMatrixLayoutDestroy(in_a));
    LT(cublasLtMatrixLayoutDestroy(in_b));
    LT(cublasLtMatrixLayoutDestroy(out));
    LT(cublasLtMatmulDescDestroy(product));
    gpu_floats *const floats[] = {&a, &b, &d, &bias};
    for (int i = 0; i < 4; i++) gpu_floats_free(floats[i]);
}

static void products(void **state) {
    (void)state;
    cublasLtHandle_t handle;
    LT(cublasLtCreate(&handle));
    for (int i = 0; i < 128; i++) {
        const product_case c = {.transpose_a = i & 1,
                                .transpose_b = i >> 1 & 1,
                                .pad = i & 4 ? PAD : 0,
                                .bias = i >> 3 & 1,
                                .relu = i >> 4 & 1,
                                .tf32 = i >> 5 & 1,
                                .alpha = i & 64 ? .5f : 1,
                                .beta = i & 64 ? -2 : 0};
        check(&c, handle);
    }
    LT(cublasLtDestroy(handle));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(products)};
    return GPU_RUN(gpu_load_elements, tests);
}
