/* Where time goes, by kinds of steps that a reader of a benchmark knows. */
#include "engine/onednn/onednn_state.h"

static const char *const kind_names[] = {
    [STEP_IMPORT] = "import",
    [STEP_EXPORT] = "export",
    [STEP_RELU] = "activation",
    [STEP_RELU_BACK] = "activation, gradient",
    [STEP_SCALE] = "addition, scale",
    [STEP_ADD] = "addition, scale",
    [STEP_CAST] = "copies",
    [STEP_AFFINE] = "addition, scale",
    [STEP_SHUFFLE] = "pixel shuffle",
    [STEP_UNSHUFFLE] = "pixel shuffle",
    [STEP_CLEAR] = "copies",
    [STEP_EDGES] = "copies",
    [STEP_GELU] = "activation",
    [STEP_GELU_BACK] = "activation, gradient",
    [STEP_GELU_BACK_AGAIN] = "activation, gradient",
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

static const char *name_of(const onednn_step *s) {
    if (!s->conv) return kind_names[s->kind];
    int linear = dukd_conv_get_spec(s->conv)->side == 1, weights = s->kind == STEP_WEIGHTS_GRADIENT;
    if (linear) return weights ? "1 x 1, weights' gradient" : s->back ? "1 x 1, data gradient" : "1 x 1";
    return weights   ? "convolution, weights' gradient"
           : s->back ? "convolution, data gradient"
                     : "convolution";
}

void onednn_note_time(onednn_engine *e, const onednn_step *s, double seconds) {
    dukd_step_times_note(&e->times, name_of(s), seconds);
}

int32_t onednn_take_times(void *engine, dukd_engine_time *out, int32_t room) {
    onednn_engine *e = engine;
    return dukd_step_times_take(&e->times, out, room);
}
