/* EDSR: residual blocks without normalisation between a head and a sub-pixel tail.
 *
 * Source: Lim et al., "Enhanced Deep Residual Networks for Single Image Super-Resolution", CVPRW 2017; names,
 * options and defaults are those of BasicSR's class EDSR, so that its checkpoints fit.
 *
 * Layers to tap: every convolution by its name ("body.3.conv2" is before scaling and addition), "body.N" for
 * the output of a block, "body" for the last of them, "conv_after_body" or "long_skip" for the sum of that convolution
 * and the head, and "upsample". (BasicSR adds the head to the very tensor that the convolution returned, `res += x`:
 * what a hook on conv_after_body sees is the sum, and that is what FAKD's authors tapped.) */
#include "models/edsr.h"

#include "models/blocks.h"

enum { NUM_IN_CH, NUM_OUT_CH, NUM_FEAT, NUM_BLOCK, UPSCALE, RES_SCALE, IMG_RANGE, RGB_MEAN, OPTION_COUNT };

enum { COLOURS = DUKD_BLOCKS_COLOURS };

static const dukd_model_option options[OPTION_COUNT] = {
    [NUM_IN_CH] = {"num_in_ch", DUKD_MODEL_INT, 1, 1, NULL, COLOURS, COLOURS,
                   .help = "Channels of the input: 3 (RGB)."},
    [NUM_OUT_CH] = {"num_out_ch", DUKD_MODEL_INT, 1, 1, NULL, COLOURS, COLOURS,
                    .help = "Channels of the output: 3 (RGB)."},
    [NUM_FEAT] = {"num_feat", DUKD_MODEL_INT, 1, 0, (const double[]){64}, 1, 1024,
                  .help = "Channels of the feature maps."},
    [NUM_BLOCK] = {"num_block", DUKD_MODEL_INT, 1, 0, (const double[]){16}, 0, 1024,
                   .help = "Residual blocks of the body."},
    [UPSCALE] = {"upscale", DUKD_MODEL_INT, 1, 0, (const double[]){4}, 1, 16,
                 .help = "Scale: 1, 2, 3, 4, 8 or 16."},
    [RES_SCALE] = {"res_scale", DUKD_MODEL_FLOAT, 1, 0, (const double[]){1}, -1e3, 1e3,
                   .help = "Factor of a block's residual before it is added."},
    [IMG_RANGE] = {"img_range", DUKD_MODEL_FLOAT, 1, 0, (const double[]){255}, 1e-3, 1e6,
                   .help = "Factor between the image's values (0 to 1) and what the head sees."},
    [RGB_MEAN] =
        {"rgb_mean", DUKD_MODEL_FLOATS, COLOURS, 0, (const double[]){.4488, .4371, .4040}, -1e3, 1e3,
         .help =
             "Mean colour, taken off before the head and put back after the tail; the default is DIV2K's."},
};

/* conv -> ReLU -> conv, scaled and added to its input. */
static dukd_value residual_block(dukd_graph *g, dukd_value x, int32_t feat, double res_scale,
                                 int32_t number) {
    dukd_value residual = dukd_graph_relu(g, dukd_blocks_conv(g, x, feat, 3, "body.%d.conv1", (int)number));
    residual = dukd_blocks_conv(g, residual, feat, 3, "body.%d.conv2", (int)number);
    if (res_scale != 1) residual = dukd_graph_scale(g, residual, (float)res_scale);
    dukd_value sum = dukd_graph_add(g, x, residual);
    dukd_graph_layer(g, sum, "body.%d", (int)number);
    return sum;
}

static dukd_value build(dukd_graph *g, const dukd_model_value *values, dukd_failure *f) {
    int32_t in_channels = (int32_t)values[NUM_IN_CH].numbers[0],
            out_channels = (int32_t)values[NUM_OUT_CH].numbers[0];
    int32_t feat = (int32_t)values[NUM_FEAT].numbers[0], blocks = (int32_t)values[NUM_BLOCK].numbers[0];
    int32_t scale = (int32_t)values[UPSCALE].numbers[0];
    double range = values[IMG_RANGE].numbers[0];
    const double *mean = values[RGB_MEAN].numbers;

    if (dukd_blocks_check_scale(scale, "EDSR", f) != DUKD_DONE) return -1;
    dukd_value x = dukd_blocks_colours_in(g, dukd_graph_input(g, in_channels), mean, range);
    dukd_value head = dukd_graph_conv(g, x, feat, 3, "conv_first");
    x = head;
    for (int32_t i = 0; i < blocks; i++) x = residual_block(g, x, feat, values[RES_SCALE].numbers[0], i);
    dukd_graph_layer(g, x, "body");
    x = dukd_graph_add(g, dukd_graph_conv(g, x, feat, 3, "conv_after_body"), head);
    dukd_graph_layer(g, x, "long_skip");
    dukd_graph_move_layer(g, x, "conv_after_body"); /* BasicSR: res += x */
    x = dukd_blocks_upsample(g, x, feat, scale, "upsample");
    x = dukd_graph_conv(g, x, out_channels, 3, "conv_last");
    return dukd_blocks_colours_out(g, x, mean, range);
}

/* Those of EDSR-PyTorch, which the authors published. */
static const dukd_model_alias aliases[] = {
    {"head.0", "conv_first", 0},
    {"body.#.body.0", "body.#.conv1", 0},
    {"body.#.body.2", "body.#.conv2", 0},
    {"body.#", "conv_after_body", 0}, /* behind the last block */
    {"tail.0.#", "upsample.#", 0},
    {"tail.1", "conv_last", 0},
    {"sub_mean", NULL, -1},
    {"add_mean", NULL, 1},
};

const dukd_model_type dukd_model_edsr = {
    .name = "EDSR",
    .help = "Residual blocks without normalisation (Lim et al., CVPRW 2017).",
    .options = options,
    .option_count = OPTION_COUNT,
    .build = build,
    .aliases = aliases,
    .alias_count = sizeof aliases / sizeof *aliases,
};
