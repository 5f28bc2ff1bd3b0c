/* What libdukd-engine-cuda.so exports: one function, which gives this table. dukd-host opens the module only when somebody asks for
 * the engine `cuda`, so that a machine without CUDA runs the same program. Module and program must be of one build: they share the
 * structs of engine_backend.h, arrays.h and graph.h. */
#ifndef DUKD_GPU_MODULE_H
#define DUKD_GPU_MODULE_H

#include "engine/engine_backend.h"

#define DUKD_GPU_MODULE_FILE  "libdukd-engine-cuda.so"
#define DUKD_GPU_MODULE_ENTRY "dukd_gpu_module"
#define DUKD_GPU_MODULE_VARIABLE                                                                             \
    "DUKD_ENGINE_CUDA" /* environment: the module's path, instead of looking for it */

typedef struct {
    /* These are the same in every version: what has changed is seen by its size. */
    uint32_t struct_size, backend_size, arrays_size, transfers_size, recording_size, join_size, options_size,
        info_size, spec_size, op_size, param_size;
    const char *version; /* of the project */
    const dukd_backend *backend;
} dukd_gpu_module_table;

__attribute__((visibility("default"))) const dukd_gpu_module_table *dukd_gpu_module(void);
typedef const dukd_gpu_module_table *(*dukd_gpu_module_fn)(void);

#endif
