/* cuBLASLt: descriptors also made by the real library where it is installed; heuristics and products doubled. */
#include "doubles.h"
#include "emulation.h"
#include "numbers.hpp"

#include <cublasLt.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <map>
#include <memory>
#include <set>
#include <vector>

namespace {

struct real_functions {
    decltype(&cublasLtMatrixLayoutCreate) layout_create;
    decltype(&cublasLtMatrixLayoutDestroy) layout_destroy;
    decltype(&cublasLtMatmulDescCreate) product_create;
    decltype(&cublasLtMatmulDescDestroy) product_destroy;
    decltype(&cublasLtMatmulDescSetAttribute) product_set;
    decltype(&cublasLtMatmulPreferenceCreate) preference_create;
    decltype(&cublasLtMatmulPreferenceDestroy) preference_destroy;
    decltype(&cublasLtMatmulPreferenceSetAttribute) preference_set;
    decltype(&cublasLtGetStatusString) status_string;
};

template <class F> bool find(void *library, const char *name, F *out) {
    void *symbol = dlsym(library, name);
    memcpy(out, &symbol, sizeof symbol);
    return symbol != nullptr;
}

const real_functions *real() {
    static real_functions functions;
    static const bool there = [] {
        if (DOUBLES_REAL_CUBLASLT[0] == 0) return false;
        void *library = dlopen(DOUBLES_REAL_CUBLASLT, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
        if (library == nullptr) {
            fprintf(stderr, "the real cuBLASLt cannot be opened: %s\n", dlerror());
            return false;
        }
        return find(library, "cublasLtMatrixLayoutCreate", &functions.layout_create) &&
               find(library, "cublasLtMatrixLayoutDestroy", &functions.layout_destroy) &&
               find(library, "cublasLtMatmulDescCreate", &functions.product_create) &&
               find(library, "cublasLtMatmulDescDestroy", &functions.product_destroy) &&
               find(library, "cublasLtMatmulDescSetAttribute", &functions.product_set) &&
               find(library, "cublasLtMatmulPreferenceCreate", &functions.preference_create) &&
               find(library, "cublasLtMatmulPreferenceDestroy", &functions.preference_destroy) &&
               find(library, "cublasLtMatmulPreferenceSetAttribute", &functions.preference_set) &&
               find(library, "cublasLtGetStatusString", &functions.status_string);
    }();
    return there ? &functions : nullptr;
}

struct matrix {
    cudaDataType type;
    uint64_t rows, columns;
    int64_t leading;
    cublasLtMatrixLayout_t real = nullptr;
};

struct product {
    cublasComputeType_t compute;
    cublasOperation_t transpose_a = CUBLAS_OP_N, transpose_b = CUBLAS_OP_N;
    cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
    const void *bias = nullptr;
    cudaDataType bias_type = CUDA_R_32F;
    bool has_bias_type = false;
    cublasLtMatmulDesc_t real = nullptr;
};

struct preference {
    size_t workspace = 0;
    uint32_t reductions = CUBLASLT_REDUCTION_SCHEME_MASK;
    cublasLtMatmulPreference_t real = nullptr;
};

std::set<void *> handles, matrices, products, preferences;

/* What the heuristics give and a product is run with. */
enum { ALGORITHM_OUTPUT_SUMS = 1, ALGORITHM_LARGE, ALGORITHM_FAILED, ALGORITHM_GOOD };
const size_t good_workspace = 777;

struct work {
    product p;
    matrix a, b, d;
    const char *at_a, *at_b, *at_c;
    char *at_d, *workspace;
    size_t workspace_size;
    float alpha, beta;
    uint64_t algorithm;
};

int64_t size_of(cudaDataType type) {
    return type == CUDA_R_32F ? 4 : 2;
}

int64_t bytes_of(const matrix &m) {
    return (m.leading * static_cast<int64_t>(m.columns - 1) + static_cast<int64_t>(m.rows)) * size_of(m.type);
}

double operand(const work &w, const char *at, cudaDataType type, int64_t i) {
    const double v = doubles_numbers::load(at, type == CUDA_R_32F, i);
    return w.p.compute == CUBLAS_COMPUTE_32F_FAST_TF32 ? doubles_numbers::rounded(static_cast<float>(v), 10)
                                                       : v;
}

double epilogue(const work &w, double v, int64_t row) {
    const int e = w.p.epilogue;
    if ((e & CUBLASLT_EPILOGUE_BIAS) != 0)
        v += doubles_numbers::load(static_cast<const char *>(w.p.bias), w.p.bias_type == CUDA_R_32F, row);
    return (e & CUBLASLT_EPILOGUE_RELU) != 0 && v < 0 ? 0 : v;
}

void run(void *argument) {
    const work &w = *static_cast<const work *>(argument);
    const int64_t m = static_cast<int64_t>(w.d.rows), n = static_cast<int64_t>(w.d.columns),
                  k = static_cast<int64_t>(w.p.transpose_a == CUBLAS_OP_T ? w.a.rows : w.a.columns);
    emulation_read(w.at_a, bytes_of(w.a));
    emulation_read(w.at_b, bytes_of(w.b));
    if (w.beta != 0) emulation_read(w.at_c, bytes_of(w.d));
    if (w.workspace_size > 0) {
        memset(w.workspace, 0xff, w.workspace_size);
        emulation_wrote(w.workspace, static_cast<int64_t>(w.workspace_size));
    }
    std::vector<double> sums(static_cast<size_t>(m * n));
    if (w.beta != 0) {
        for (int64_t j = 0; j < n; j++) {
            for (int64_t i = 0; i < m; i++)
                sums[static_cast<size_t>(i + j * m)] =
                    w.beta * doubles_numbers::load(w.at_c, w.d.type == CUDA_R_32F, i + j * w.d.leading);
        }
    } else {
        memset(w.at_d, 0xff, static_cast<size_t>(bytes_of(w.d)));
    }
    for (int64_t j = 0; j < n; j++) {
        for (int64_t i = 0; i < m; i++) {
            double sum = 0;
            for (int64_t l = 0; l < k; l++) {
                const int64_t a = w.p.transpose_a == CUBLAS_OP_T ? l + i * w.a.leading : i + l * w.a.leading,
                              b = w.p.transpose_b == CUBLAS_OP_T ? j + l * w.b.leading : l + j * w.b.leading;
                sum += operand(w, w.at_a, w.a.type, a) * operand(w, w.at_b, w.b.type, b);
            }
            sums[static_cast<size_t>(i + j * m)] += w.alpha * sum;
        }
    }
    const double off = w.algorithm == ALGORITHM_GOOD ? 1 : 1.01; /* what should not have been taken is seen */
    for (int64_t j = 0; j < n; j++) {
        for (int64_t i = 0; i < m; i++)
            doubles_numbers::store(w.at_d, w.d.type == CUDA_R_32F, i + j * w.d.leading,
                                   off * epilogue(w, sums[static_cast<size_t>(i + j * m)], i));
    }
    emulation_wrote(w.at_d, bytes_of(w.d));
}

void release(void *argument) {
    delete static_cast<work *>(argument);
}

/* Whether the matrices of a product go together. */
bool agree(const product &p, const matrix &a, const matrix &b, const matrix &c, const matrix &d) {
    const uint64_t m = p.transpose_a == CUBLAS_OP_T ? a.columns : a.rows,
                   k = p.transpose_a == CUBLAS_OP_T ? a.rows : a.columns,
                   kb = p.transpose_b == CUBLAS_OP_T ? b.columns : b.rows,
                   n = p.transpose_b == CUBLAS_OP_T ? b.rows : b.columns;
    return k == kb && d.rows == m && d.columns == n && c.rows == m && c.columns == n && c.type == d.type &&
           a.type == b.type;
}

bool supported(const product &p, const matrix &a, const matrix &d) {
    const int32_t refused = doubles_refused();
    if ((refused & DOUBLES_NO_PRODUCT) != 0 || ((refused & DOUBLES_NO_MIXED) != 0 && a.type != d.type))
        return false;
    if ((p.epilogue & CUBLASLT_EPILOGUE_BIAS) != 0 && p.bias == nullptr) return false;
    return (refused & DOUBLES_NO_MIXED_BIAS) == 0 || (p.epilogue & CUBLASLT_EPILOGUE_BIAS) == 0 ||
           d.type == p.bias_type;
}

template <class T> T *known(const std::set<void *> &all, const void *p) {
    void *key = const_cast<void *>(p);
    return all.count(key) != 0 ? static_cast<T *>(key) : nullptr;
}

template <class T> void forget(std::set<void *> &all, T *p) {
    all.erase(p);
    delete p;
    doubles_count(-1);
}

template <class T> T *add(std::set<void *> &all, T *p) {
    all.insert(p);
    doubles_count(1);
    return p;
}

} // namespace

#define CALL                                                                                                 \
    if (doubles_told_to_fail(__func__) != 0) return CUBLAS_STATUS_INTERNAL_ERROR

#pragma GCC visibility push(default)
extern "C" {

size_t CUBLASWINAPI cublasLtGetVersion(void) {
    return CUBLAS_VERSION;
}

const char *CUBLASWINAPI cublasLtGetStatusString(cublasStatus_t status) {
    if (real() != nullptr) return real()->status_string(status);
    return status == CUBLAS_STATUS_SUCCESS         ? "success"
           : status == CUBLAS_STATUS_NOT_SUPPORTED ? "not supported"
                                                   : "an error";
}

cublasStatus_t CUBLASWINAPI cublasLtCreate(cublasLtHandle_t *out) {
    CALL;
    if ((doubles_refused() & DOUBLES_NO_DEVICE) != 0) return CUBLAS_STATUS_NOT_INITIALIZED;
    doubles_note("cuBLASLt: handle", 0);
    *out = reinterpret_cast<cublasLtHandle_t>(add(handles, new int));
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t CUBLASWINAPI cublasLtDestroy(cublasLtHandle_t h) {
    int *p = known<int>(handles, h);
    if (p == nullptr) return CUBLAS_STATUS_INVALID_VALUE;
    forget(handles, p);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t CUBLASWINAPI cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *out, cudaDataType type,
                                                       uint64_t rows, uint64_t columns, int64_t leading) {
    CALL;
    if ((type != CUDA_R_32F && type != CUDA_R_16BF) || rows < 1 || columns < 1 ||
        leading < static_cast<int64_t>(rows))
        return CUBLAS_STATUS_INVALID_VALUE;
    std::unique_ptr<matrix> m(new matrix{type, rows, columns, leading});
    if (real() != nullptr) {
        const cublasStatus_t status = real()->layout_create(&m->real, type, rows, columns, leading);
        if (status != CUBLAS_STATUS_SUCCESS) return status;
    }
    doubles_note("cuBLASLt: matrix layout", m->real != nullptr);
    *out = reinterpret_cast<cublasLtMatrixLayout_t>(add(matrices, m.release()));
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t CUBLASWINAPI cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) {
    matrix *m = known<matrix>(matrices, layout);
    if (m == nullptr) abort();
    if (m->real != nullptr) (void)real()->layout_destroy(m->real);
    forget(matrices, m);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t CUBLASWINAPI cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *out, cublasComputeType_t compute,
                                                     cudaDataType_t scale) {
    CALL;
    if (scale != CUDA_R_32F || (compute != CUBLAS_COMPUTE_32F && compute != CUBLAS_COMPUTE_32F_FAST_TF32))
        return CUBLAS_STATUS_INVALID_VALUE;
    std::unique_ptr<product> p(new product);
    p->compute = compute;
    if (real() != nullptr) {
        const cublasStatus_t status = real()->product_create(&p->real, compute, scale);
        if (status != CUBLAS_STATUS_SUCCESS) return status;
    }
    doubles_note("cuBLASLt: product", p->real != nullptr);
    *out = reinterpret_cast<cublasLtMatmulDesc_t>(add(products, p.release()));
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t CUBLASWINAPI cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t desc) {
    product *p = known<product>(products, desc);
    if (p == nullptr) abort();
    if (p->real != nullptr) (void)real()->product_destroy(p->real);
    forget(products, p);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t CUBLASWINAPI cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t desc,
                                                           cublasLtMatmulDescAttributes_t name,
                                                           const void *data, size_t size) {
    CALL;
    product *p = known<product>(products, desc);
    if (p == nullptr || data == nullptr) return CUBLAS_STATUS_INVALID_VALUE;
    void *to;
    size_t expected;
    switch (name) {
    case CUBLASLT_MATMUL_DESC_TRANSA:
        to = &p->transpose_a, expected = sizeof p->transpose_a;
        break;
    case CUBLASLT_MATMUL_DESC_TRANSB:
        to = &p->transpose_b, expected = sizeof p->transpose_b;
        break;
    case CUBLASLT_MATMUL_DESC_EPILOGUE:
        to = &p->epilogue, expected = sizeof p->epilogue;
        break;
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER:
        to = &p->bias, expected = sizeof p->bias;
        break;
    case CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE:
        to = &p->bias_type, expected = sizeof p->bias_type;
        p->has_bias_type = true;
        break;
    default:
        return CUBLAS_STATUS_INVALID_VALUE;
    }
    if (size != expected) return CUBLAS_STATUS_INVALID_VALUE;
    memcpy(to, data, size);
    if (p->real != nullptr) {
        const cublasStatus_t status = real()->product_set(p->real, name, data, size);
        if (status != CUBLAS_STATUS_SUCCESS) return status;
    }
    doubles_note("cuBLASLt: product's attribute", p->real != nullptr);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t CUBLASWINAPI cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *out) {
    CALL;
    std::unique_ptr<preference> p(new preference);
    if (real() != nullptr) {
        const cublasStatus_t status = real()->preference_create(&p->real);
        if (status != CUBLAS_STATUS_SUCCESS) return status;
    }
    doubles_note("cuBLASLt: preference", p->real != nullptr);
    *out = reinterpret_cast<cublasLtMatmulPreference_t>(add(preferences, p.release()));
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t CUBLASWINAPI cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t pref) {
    preference *p = known<preference>(preferences, pref);
    if (p == nullptr) abort();
    if (p->real != nullptr) (void)real()->preference_destroy(p->real);
    forget(preferences, p);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t CUBLASWINAPI cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t pref,
                                                                 cublasLtMatmulPreferenceAttributes_t name,
                                                                 const void *data, size_t size) {
    CALL;
    preference *p = known<preference>(preferences, pref);
    if (p == nullptr || data == nullptr) return CUBLAS_STATUS_INVALID_VALUE;
    if (name == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES && size == sizeof p->workspace) {
        memcpy(&p->workspace, data, size);
    } else if (name == CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK && size == sizeof p->reductions) {
        memcpy(&p->reductions, data, size);
    } else {
        return CUBLAS_STATUS_INVALID_VALUE;
    }
    return p->real != nullptr ? real()->preference_set(p->real, name, data, size) : CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t CUBLASWINAPI cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t h, cublasLtMatmulDesc_t desc,
                                                           cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                                           cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                                           cublasLtMatmulPreference_t pref, int asked,
                                                           cublasLtMatmulHeuristicResult_t results[],
                                                           int *count) {
    CALL;
    const product *p = known<product>(products, desc);
    const matrix *ma = known<matrix>(matrices, a), *mb = known<matrix>(matrices, b),
                 *mc = known<matrix>(matrices, c), *md = known<matrix>(matrices, d);
    const preference *pr = known<preference>(preferences, pref);
    *count = 0;
    if (handles.count(h) == 0 || !p || !ma || !mb || !mc || !md || !pr || asked < 1)
        return CUBLAS_STATUS_INVALID_VALUE;
    if (!agree(*p, *ma, *mb, *mc, *md)) return CUBLAS_STATUS_INVALID_VALUE;
    if (!supported(*p, *ma, *md)) return CUBLAS_STATUS_NOT_SUPPORTED;
    doubles_note("cuBLASLt: heuristics", 0);
    for (uint64_t algorithm = ALGORITHM_OUTPUT_SUMS; algorithm <= ALGORITHM_GOOD && *count < asked;
         algorithm++) {
        if (algorithm == ALGORITHM_OUTPUT_SUMS &&
            (pr->reductions & CUBLASLT_REDUCTION_SCHEME_OUTPUT_TYPE) == 0)
            continue;
        cublasLtMatmulHeuristicResult_t r = {};
        r.algo.data[0] = algorithm;
        r.workspaceSize = algorithm == ALGORITHM_LARGE ? size_t(1) << 40 : good_workspace;
        r.state = algorithm == ALGORITHM_FAILED ? CUBLAS_STATUS_NOT_SUPPORTED : CUBLAS_STATUS_SUCCESS;
        results[(*count)++] = r;
    }
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t CUBLASWINAPI cublasLtMatmul(cublasLtHandle_t h, cublasLtMatmulDesc_t desc, const void *alpha,
                                           const void *a, cublasLtMatrixLayout_t a_layout, const void *b,
                                           cublasLtMatrixLayout_t b_layout, const void *beta, const void *c,
                                           cublasLtMatrixLayout_t c_layout, void *d,
                                           cublasLtMatrixLayout_t d_layout,
                                           const cublasLtMatmulAlgo_t *algorithm, void *workspace,
                                           size_t workspace_size, cudaStream_t stream) {
    CALL;
    const product *p = known<product>(products, desc);
    const matrix *ma = known<matrix>(matrices, a_layout), *mb = known<matrix>(matrices, b_layout),
                 *mc = known<matrix>(matrices, c_layout), *md = known<matrix>(matrices, d_layout);
    if (handles.count(h) == 0 || !p || !ma || !mb || !mc || !md || !algorithm || !alpha || !beta)
        return CUBLAS_STATUS_INVALID_VALUE;
    if (emulation_is_device(alpha, 1) != 0 || emulation_is_device(beta, 1) != 0)
        return CUBLAS_STATUS_INVALID_VALUE; /* pointer mode: host */
    if (!agree(*p, *ma, *mb, *mc, *md)) return CUBLAS_STATUS_INVALID_VALUE;
    if (!supported(*p, *ma, *md)) return CUBLAS_STATUS_NOT_SUPPORTED;
    std::unique_ptr<work> w(new work{
        *p, *ma, *mb, *md, static_cast<const char *>(a), static_cast<const char *>(b),
        static_cast<const char *>(c), static_cast<char *>(d), static_cast<char *>(workspace), workspace_size,
        *static_cast<const float *>(alpha), *static_cast<const float *>(beta), algorithm->data[0]});
    const bool biased = (p->epilogue & CUBLASLT_EPILOGUE_BIAS) != 0;
    if (emulation_is_device(a, bytes_of(*ma)) == 0 || emulation_is_device(b, bytes_of(*mb)) == 0 ||
        emulation_is_device(d, bytes_of(*md)) == 0 ||
        (w->beta != 0 && emulation_is_device(c, bytes_of(*md)) == 0) ||
        (biased && emulation_is_device(p->bias, static_cast<int64_t>(md->rows) * size_of(p->bias_type)) == 0))
        return CUBLAS_STATUS_INVALID_VALUE; /* not in device memory, or longer than its memory */
    if (biased && !p->has_bias_type && md->type != CUDA_R_32F) w->p.bias_type = md->type;
    if (w->algorithm < ALGORITHM_OUTPUT_SUMS || w->algorithm > ALGORITHM_GOOD ||
        workspace_size < good_workspace ||
        emulation_is_device(workspace, static_cast<int64_t>(workspace_size)) == 0)
        return CUBLAS_STATUS_INVALID_VALUE;
    if ((d == a || d == b) || (w->beta != 0 && c != d && reinterpret_cast<uintptr_t>(c) % 16 != 0))
        return CUBLAS_STATUS_INVALID_VALUE;
    doubles_note("cuBLASLt: product run", 0);
    doubles_log *log = doubles_log_mutable();
    log->products++;
    log->epilogue = p->epilogue;
    log->compute = p->compute;
    return emulation_enqueue(stream, run, release, w.release()) == 0 ? CUBLAS_STATUS_SUCCESS
                                                                     : CUBLAS_STATUS_EXECUTION_FAILED;
}

} // extern "C"
#pragma GCC visibility pop
