/* The module libdukd-onednn.so. */
#include "onednn_module.h"

#include <oneapi/dnnl/dnnl.h>
#include <stdio.h>

#ifdef _OPENMP
#include <omp.h>
#endif

/* libdukd has threads of its own (or the host's): oneDNN gets none. The number of OpenMP threads belongs to the calling
 * thread, and is put back. */
static int32_t product(int32_t trans_a, int32_t trans_b, int64_t m, int64_t n, int64_t k, const float *a,
                       int64_t lda, const float *b, int64_t ldb, int32_t accumulate, float *c, int64_t ldc) {
#ifdef _OPENMP
    const int threads = omp_get_max_threads();
    if (threads != 1) omp_set_num_threads(1);
#endif
    const dnnl_status_t status = dnnl_sgemm(trans_a != 0 ? 'T' : 'N', trans_b != 0 ? 'T' : 'N', m, n, k, 1.0f,
                                            a, lda, b, ldb, accumulate != 0 ? 1.0f : 0.0f, c, ldc);
#ifdef _OPENMP
    if (threads != 1) omp_set_num_threads(threads);
#endif
    return status == dnnl_success ? 0 : -1;
}

__attribute__((visibility("default"))) int32_t dukd_onednn_module_open(uint32_t version,
                                                                       dukd_onednn_module *out);

int32_t dukd_onednn_module_open(uint32_t version, dukd_onednn_module *out) {
    const dnnl_version_t *v = dnnl_version();
    if (version != DUKD_ONEDNN_MODULE_VERSION) {
        snprintf(out->name, sizeof out->name, "it is of another build of libdukd");
        return -1;
    }
    /* a runtime of other threads could not be told to use none */
    if (v->cpu_runtime != DNNL_RUNTIME_SEQ && v->cpu_runtime != DNNL_RUNTIME_OMP) {
        snprintf(out->name, sizeof out->name, "oneDNN %d.%d.%d has neither OpenMP nor no threads", v->major,
                 v->minor, v->patch);
        return -1;
    }
    out->product = product;
    snprintf(out->name, sizeof out->name, "oneDNN %d.%d.%d", v->major, v->minor, v->patch);
    return 0;
}
