/* IMDN: blocks that set a quarter of their channels aside at each of their steps, and weigh what they set aside by its contrast.
 *
 * Source: Hui et al., "Lightweight Image Super-Resolution with Information Multi-distillation Network", ACM MM 2019; the
 * names of parameters are those of the authors' checkpoints (Zheng222/IMDN), the options are named as BasicSR's are.
 *
 * Layers to tap: every convolution by its name, "IMDBn" for the output of block n (from 1), "long_skip" for the sum of
 * "LR_conv" and the head. */
#include "models/imdn.h"

#include "models/blocks.h"

enum { NUM_IN_CH, NUM_OUT_CH, NUM_FEAT, NUM_BLOCK, UPSCALE, OPTION_COUNT };

enum { COLOURS = DUKD_BLOCKS_COLOURS, STEPS = 4, REDUCTION = 16 };

static const dukd_model_option options[OPTION_COUNT] = {
    [NUM_IN_CH] = {"num_in_ch", DUKD_MODEL_INT, 1, 0, (const double[]){COLOURS}, COLOURS, COLOURS,
                   .help = "Channels of the input: 3 (RGB)."},
    [NUM_OUT_CH] = {"num_out_ch", DUKD_MODEL_INT, 1, 0, (const double[]){COLOURS}, COLOURS, COLOURS,
                    .help = "Channels of the output: 3 (RGB)."},
    [NUM_FEAT] = {"num_feat", DUKD_MODEL_INT, 1, 0, (const double[]){64}, 16, 512,
                  .help = "Channels of the feature maps; a multiple of 4."},
    [NUM_BLOCK] = {"num_block", DUKD_MODEL_INT, 1, 0, (const double[]){6}, 2, DUKD_OP_MAX_OPERANDS,
                   .help = "Blocks; their outputs are all joined at the end."},
    [UPSCALE] = {"upscale", DUKD_MODEL_INT, 1, 0, (const double[]){4}, 1, 8, .help = "Scale."},
};

/* Contrast-aware channel attention: channels weighed by what their deviations and means say. */
static dukd_value weigh(dukd_graph *g, dukd_value x, int32_t channels, int block) {
    dukd_value y = dukd_graph_add(g, dukd_graph_deviation(g, x), dukd_graph_mean(g, x));
    y = dukd_graph_relu(g, dukd_blocks_conv(g, y, channels / REDUCTION, 1, "IMDB%d.cca.conv_du.0", block));
    y = dukd_blocks_conv(g, y, channels, 1, "IMDB%d.cca.conv_du.2", block);
    return dukd_graph_mul(g, x, dukd_graph_sigmoid(g, y));
}

static dukd_value distil(dukd_graph *g, dukd_value x, int32_t feat, int block) {
    const int32_t aside = feat / STEPS;
    dukd_value rest = x, parts[STEPS];
    for (int i = 0; i < STEPS - 1; i++) {
        dukd_value y =
            dukd_graph_leaky_relu(g, dukd_blocks_conv(g, rest, feat, 3, "IMDB%d.c%d", block, i + 1), .05f);
        parts[i] = dukd_graph_slice(g, y, 0, aside);
        rest = dukd_graph_slice(g, y, aside, feat - aside);
    }
    parts[STEPS - 1] = dukd_blocks_conv(g, rest, aside, 3, "IMDB%d.c%d", block, STEPS);
    dukd_value y = weigh(g, dukd_graph_concat(g, parts, STEPS), feat, block);
    y = dukd_graph_add(g, x, dukd_blocks_conv(g, y, feat, 1, "IMDB%d.c5", block));
    dukd_graph_layer(g, y, "IMDB%d", block);
    return y;
}

static dukd_value build(dukd_graph *g, const dukd_model_value *values, dukd_failure *f) {
    int32_t feat = (int32_t)values[NUM_FEAT].numbers[0], scale = (int32_t)values[UPSCALE].numbers[0];
    int32_t blocks = (int32_t)values[NUM_BLOCK].numbers[0];
    if (feat % STEPS != 0) {
        dukd_fail(f, DUKD_MISUSED, "num_feat is %d; it must be a multiple of %d", (int)feat, STEPS);
        return -1;
    }
    dukd_value outputs[DUKD_OP_MAX_OPERANDS];
    dukd_value head =
        dukd_graph_conv(g, dukd_graph_input(g, (int32_t)values[NUM_IN_CH].numbers[0]), feat, 3, "fea_conv");
    for (int i = 0; i < blocks; i++) outputs[i] = distil(g, i ? outputs[i - 1] : head, feat, i + 1);
    dukd_value x = dukd_graph_conv(g, dukd_graph_concat(g, outputs, blocks), feat, 1, "c.0");
    x = dukd_graph_conv(g, dukd_graph_leaky_relu(g, x, .05f), feat, 3, "LR_conv");
    x = dukd_graph_add(g, x, head);
    dukd_graph_layer(g, x, "long_skip");
    x = dukd_graph_conv(g, x, (int32_t)values[NUM_OUT_CH].numbers[0] * scale * scale, 3, "upsampler.0");
    return dukd_graph_pixel_shuffle(g, x, scale);
}

const dukd_model_type dukd_model_imdn = {
    .name = "IMDN",
    .help = "Information multi-distillation with contrast-aware attention (Hui et al., ACM MM 2019).",
    .options = options,
    .option_count = OPTION_COUNT,
    .build = build,
};
