/* What the kernels of gpu_weights.cu need to know of a convolution. */
#include "engine/cuda/gpu_kernels.h"

gpu_packing gpu_packing_of(const dukd_run_conv *c) {
    return (gpu_packing){.out_channels = c->out_channels,
                         .in_channels = c->in_channels,
                         .groups = c->groups,
                         .kernel = c->kernel,
                         .side = c->side,
                         .order = c->order,
                         .source_order = c->source_order,
                         .spread = c->spread,
                         .param_out = (int32_t)c->weight->dims[0],
                         .param_in = (int32_t)c->weight->dims[1],
                         .scale = c->scale};
}
