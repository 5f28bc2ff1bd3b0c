/* A CUDA engine of another build, as far as the program can tell: its table has another version. */
#include "engine/cuda/gpu_module.h"

__attribute__((visibility("default"))) const dukd_gpu_module_table *dukd_gpu_module(void) {
    static const dukd_backend backend = {.name = "cuda"};
    static const dukd_gpu_module_table table = {.struct_size = sizeof table,
                                                .backend_size = sizeof backend,
                                                .arrays_size = sizeof(dukd_array_ops),
                                                .transfers_size = sizeof(dukd_transfer_ops),
                                                .recording_size = sizeof(dukd_recording_ops),
                                                .join_size = sizeof(dukd_join_ops),
                                                .options_size = sizeof(dukd_engine_options),
                                                .info_size = sizeof(dukd_engine_info),
                                                .spec_size = sizeof(dukd_exec_spec),
                                                .op_size = sizeof(dukd_op),
                                                .param_size = sizeof(dukd_param),
                                                .version = "0.0.1",
                                                .backend = &backend};
    return &table;
}
