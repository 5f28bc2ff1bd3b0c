/* What libdukd-cuda.so exports: one function, which gives this table. libdukd opens it only when somebody asks for CUDA, so
 * that a machine without CUDA loads libdukd all the same. Module and library must be of one build. */
#ifndef DUKD_CUDA_MODULE_H
#define DUKD_CUDA_MODULE_H

#include "backend.h"

#define DUKD_CUDA_MODULE_FILE  "libdukd-cuda.so"
#define DUKD_CUDA_MODULE_ENTRY "dukd_cuda_module"

typedef struct {
    /* These two are the same in every version. */
    uint32_t struct_size;
    uint32_t backend_size; /* sizeof(dukd_backend): a table that has grown is another one */
    const char *version;   /* of the project */
    /* As in backend.h. */
    int32_t (*create)(dukd_backend **out, const dukd_host *host, int32_t device_id, dukd_error *error);
    void (*describe)(dukd_backend_info *out);
} dukd_cuda_module_table;

__attribute__((visibility("default"))) const dukd_cuda_module_table *dukd_cuda_module(void);
typedef const dukd_cuda_module_table *(*dukd_cuda_module_fn)(void);

#endif
