/* Matrix products of the CPU backend. */
#include "cpu_products.h"

#include <dlfcn.h>
#include <stdio.h>

/* A sanitizer's runtime refuses RTLD_DEEPBIND, which would hide its own functions from the module. */
static bool is_sanitized(void) {
    return dlsym(RTLD_DEFAULT, "__asan_init") != NULL || dlsym(RTLD_DEFAULT, "__tsan_init") != NULL ||
           dlsym(RTLD_DEFAULT, "__msan_init") != NULL;
}

/* The module's name in the folder of this code's own file. False: that cannot be told, or is too long. */
static bool find_beside(char *room, size_t size) {
    Dl_info info = {0};
    static const char here = 0;
    if (dladdr(&here, &info) == 0 || info.dli_fname == NULL) return false;
    const char *slash = strrchr(info.dli_fname, '/');
    const int folder = slash != NULL ? (int)(slash - info.dli_fname) + 1 : 0;
    const int n = snprintf(room, size, "%.*s%s", folder, info.dli_fname, DUKD_ONEDNN_MODULE_NAME);
    return n > 0 && (size_t)n < size && slash != NULL; /* without a slash dlopen would search elsewhere */
}

/* Never closed: its OpenMP threads' library would not survive it. */
static void open_module(dukd_products *p, const char *path, char why[128]) {
    const int flags = RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE | (is_sanitized() ? 0 : RTLD_DEEPBIND);
    void *handle = dlopen(path, flags);
    if (handle == NULL) {
        const char *message = dlerror();
        snprintf(why, 128, "%.120s", message != NULL ? message : "it cannot be opened");
        return;
    }
    dukd_onednn_module_fn entry;
    void *symbol = dlsym(handle, DUKD_ONEDNN_MODULE_ENTRY);
    memcpy(&entry, &symbol, sizeof entry); /* ISO C has no cast from one to the other */
    dukd_onednn_module module = {0};
    if (symbol == NULL) {
        snprintf(why, 128, "%s is not a module of libdukd", DUKD_ONEDNN_MODULE_NAME);
    } else if (entry(DUKD_ONEDNN_MODULE_VERSION, &module) != 0) {
        snprintf(why, 128, "%s: %.64s", DUKD_ONEDNN_MODULE_NAME, module.name);
    } else {
        p->module = module;
    }
    dlclose(handle); /* RTLD_NODELETE: it stays */
}

void dukd_products_open(dukd_products *p, const char *path) {
    char beside[4096], why[128] = "";
    if (p->looked) return;
    p->looked = true;
    if (path == NULL && !find_beside(beside, sizeof beside)) {
        snprintf(why, sizeof why, "the folder of libdukd is not known");
    } else {
        open_module(p, path != NULL ? path : beside, why);
    }
    if (p->module.product != NULL) {
        snprintf(p->detail, sizeof p->detail, "%s", p->module.name);
    } else {
        snprintf(p->detail, sizeof p->detail, "the own kernels (%s), without oneDNN: %s", p->kernels->name,
                 why);
    }
}

/* The kernel wants a with k rows and b with k rows: what lies otherwise is transposed first. */
static bool run_own(const dukd_products *p, const dukd_products_job *job) {
    dukd_product_job own = {.a = job->a,
                            .b = job->b,
                            .c = job->c,
                            .m = job->m,
                            .n = job->n,
                            .k = job->k,
                            .lda = job->lda,
                            .ldb = job->ldb,
                            .ldc = job->ldc,
                            .accumulate = job->accumulate};
    if (!job->trans_a) {
        own.lda = (job->m + 15) / 16 * 16;
        const dukd_transpose_job turn = {job->a, job->scratch[0], job->m, job->k, job->lda, own.lda};
        p->kernels->transpose(&turn);
        own.a = job->scratch[0];
    }
    if (job->trans_b) {
        own.ldb = (job->n + 15) / 16 * 16;
        const dukd_transpose_job turn = {job->b, job->scratch[1], job->n, job->k, job->ldb, own.ldb};
        p->kernels->transpose(&turn);
        own.b = job->scratch[1];
    }
    p->kernels->product(&own);
    return true;
}

bool dukd_products_run(const dukd_products *p, const dukd_products_job *job) {
    if (p->module.product == NULL) return run_own(p, job);
    return p->module.product(job->trans_a, job->trans_b, job->m, job->n, job->k, job->a, job->lda, job->b,
                             job->ldb, job->accumulate, job->c, job->ldc) == 0;
}
