/* The module libdukd-onednn.so: oneDNN's matrix products for libdukd, and nothing else of it. It is opened apart (RTLD_LOCAL,
 * RTLD_DEEPBIND), so that its oneDNN and another one in the process do not see each other. Both files are built together; the
 * number tells of one that was not. */
#ifndef DUKD_ONEDNN_MODULE_H
#define DUKD_ONEDNN_MODULE_H

#include <stdint.h>

#define DUKD_ONEDNN_MODULE_NAME    "libdukd-onednn.so"
#define DUKD_ONEDNN_MODULE_VERSION 1u

typedef struct {
    /* c (+)= op(a) op(b), op(a) m x k, op(b) k x n, rows of elements that lie together, ld_ apart; transposed where trans_ is not
     * 0. On the calling thread alone. 0: done. [thread-safe] */
    int32_t (*product)(int32_t trans_a, int32_t trans_b, int64_t m, int64_t n, int64_t k, const float *a,
                       int64_t lda, const float *b, int64_t ldb, int32_t accumulate, float *c, int64_t ldc);
    char name[64]; /* "oneDNN 2.6.3" */
} dukd_onednn_module;

/* The module's entry: fills *out. 0: done; else why not, as text in out->name. */
typedef int32_t (*dukd_onednn_module_fn)(uint32_t version, dukd_onednn_module *out);
#define DUKD_ONEDNN_MODULE_ENTRY "dukd_onednn_module_open"

#endif
