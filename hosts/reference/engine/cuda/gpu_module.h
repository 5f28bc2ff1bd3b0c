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

/* Of everything that module and program share: what has changed is seen by its size. */
typedef struct {
    uint32_t backend, arrays, transfers, recording, join, options, info, spec, op, param;
} dukd_gpu_sizes;
#define DUKD_GPU_SIZES                                                                                       \
    {                                                                                                        \
        sizeof(dukd_backend), sizeof(dukd_array_ops), sizeof(dukd_transfer_ops), sizeof(dukd_recording_ops), \
            sizeof(dukd_join_ops), sizeof(dukd_engine_options), sizeof(dukd_engine_info),                    \
            sizeof(dukd_exec_spec), sizeof(dukd_op), sizeof(dukd_param)                                      \
    }

typedef struct {
    uint32_t struct_size; /* these two are the same in every version */
    dukd_gpu_sizes sizes;
    const char *version; /* of the project */
    const dukd_backend *backend;
} dukd_gpu_module_table;

__attribute__((visibility("default"))) const dukd_gpu_module_table *dukd_gpu_module(void);
typedef const dukd_gpu_module_table *(*dukd_gpu_module_fn)(void);

#endif
