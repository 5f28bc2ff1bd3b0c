/* A CUDA engine of another build, as far as the program can tell: its table has another version. */
#include "engine/cuda/gpu_module.h"

__attribute__((visibility("default"))) const dukd_gpu_module_table *dukd_gpu_module(void) {
    static const dukd_backend backend = {.name = "cuda"};
    static const dukd_gpu_module_table table = {
        .struct_size = sizeof table, .sizes = DUKD_GPU_SIZES, .version = "0.0.1", .backend = &backend};
    return &table;
}
