/* Where time goes, by kinds of steps that a reader of a benchmark knows. */
#include "engine/cuda/gpu_state.h"

static const char *const kind_names[] = {
    [STEP_IMPORT] = "import",
    [STEP_EXPORT] = "export",
    [STEP_UNPACK] = "gradients unpacked",
    [STEP_RELU] = "activation",
    [STEP_RELU_BACK] = "activation, gradient",
    [STEP_SCALE] = "addition, scale",
    [STEP_ADD] = "addition, scale",
    [STEP_CAST] = "copies",
    [STEP_AFFINE] = "addition, scale",
    [STEP_SHUFFLE] = "pixel shuffle",
    [STEP_UNSHUFFLE] = "pixel shuffle",
    [STEP_CLEAR] = "copies",
    [STEP_GELU] = "activation",
    [STEP_GELU_BACK] = "activation, gradient",
    [STEP_SIGMOID] = "activation",
    [STEP_SIGMOID_BACK] = "activation, gradient",
    [STEP_MUL] = "product",
    [STEP_MUL_BACK] = "product, gradient",
    [STEP_MUL_BACK_CHANNELS] = "product, channels' gradient",
    [STEP_COPY_CHANNELS] = "copies",
    [STEP_LAYER_NORM] = "layer norm",
    [STEP_LAYER_NORM_BACK] = "layer norm, gradient",
    [STEP_ATTENTION] = "attention",
    [STEP_ATTENTION_BACK] = "attention, gradient",
    [STEP_DROP_PATH] = "drop path",
    [STEP_MEAN] = "pooling",
    [STEP_MEAN_BACK] = "pooling, gradient",
    [STEP_DEVIATION] = "pooling",
    [STEP_DEVIATION_BACK] = "pooling, gradient",
    [STEP_MAX_POOL] = "pooling",
    [STEP_MAX_POOL_BACK] = "pooling, gradient",
    [STEP_RESIZE] = "pooling",
    [STEP_RESIZE_BACK] = "pooling, gradient",
};

const char *gpu_kind_name(const gpu_step *s) {
    if (!s->conv) return kind_names[s->kind];
    const int linear = dukd_node_side(s->node) == 1;
    switch (s->kind) {
    case STEP_WEIGHTS_GRADIENT:
        return linear ? "1 x 1, weights' gradient" : "convolution, weights' gradient";
    case STEP_DATA_GRADIENT:
        return linear ? "1 x 1, data gradient" : "convolution, data gradient";
    default:
        return linear ? "1 x 1" : "convolution";
    }
}

void gpu_note_time(gpu_engine *e, const gpu_step *s, double seconds) {
    dukd_step_times_note(&e->times, gpu_kind_name(s), seconds);
}

int32_t gpu_take_times(void *engine, dukd_engine_time *out, int32_t room) {
    gpu_engine *e = engine;
    return dukd_step_times_take(&e->times, out, room);
}
