/* RCAN: groups of residual blocks, each of which weighs its channels by their means.
 *
 * Source: Zhang et al., "Image Super-Resolution Using Very Deep Residual Channel Attention Networks", ECCV 2018;
 * names, options and defaults are those of BasicSR's class RCAN, so that its checkpoints fit.
 *
 * Layers to tap: every convolution by its name, "body.G.residual_group.B" for the output of a block, "body.G" for
 * that of a group, "body" for the last of them, "conv_after_body" or "long_skip" for the sum of that convolution and
 * the head, which BasicSR adds in place (see edsr.c), and "upsample". */
#include "models/rcan.h"

#include "models/blocks.h"

enum {
    NUM_IN_CH,
    NUM_OUT_CH,
    NUM_FEAT,
    NUM_GROUP,
    NUM_BLOCK,
    SQUEEZE_FACTOR,
    UPSCALE,
    RES_SCALE,
    IMG_RANGE,
    RGB_MEAN,
    OPTION_COUNT
};

enum { COLOURS = DUKD_BLOCKS_COLOURS };

static const dukd_model_option options[OPTION_COUNT] = {
    [NUM_IN_CH] = {"num_in_ch", DUKD_MODEL_INT, 1, 1, NULL, COLOURS, COLOURS,
                   .help = "Channels of the input: 3 (RGB)."},
    [NUM_OUT_CH] = {"num_out_ch", DUKD_MODEL_INT, 1, 1, NULL, COLOURS, COLOURS,
                    .help = "Channels of the output: 3 (RGB)."},
    [NUM_FEAT] = {"num_feat", DUKD_MODEL_INT, 1, 0, (const double[]){64}, 1, 1024,
                  .help = "Channels of the feature maps."},
    [NUM_GROUP] = {"num_group", DUKD_MODEL_INT, 1, 0, (const double[]){10}, 0, 256,
                   .help = "Groups of the body."},
    [NUM_BLOCK] = {"num_block", DUKD_MODEL_INT, 1, 0, (const double[]){16}, 0, 256,
                   .help = "Blocks of a group."},
    [SQUEEZE_FACTOR] = {"squeeze_factor", DUKD_MODEL_INT, 1, 0, (const double[]){16}, 1, 1024,
                        .help = "How many times fewer channels the attention has inside."},
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

/* conv -> ReLU -> conv, its channels weighed by sigmoid(conv(ReLU(conv(their means)))), scaled, added to its
 * input. */
static dukd_value block(dukd_graph *g, dukd_value x, int32_t feat, int32_t squeezed, double res_scale,
                        int group, int number) {
    const char *const place = "body.%d.residual_group.%d.rcab.%s";
    dukd_value inner = dukd_graph_relu(g, dukd_blocks_conv(g, x, feat, 3, place, group, number, "0"));
    inner = dukd_blocks_conv(g, inner, feat, 3, place, group, number, "2");
    dukd_value weight = dukd_graph_mean(g, inner);
    weight =
        dukd_graph_relu(g, dukd_blocks_conv(g, weight, squeezed, 1, place, group, number, "3.attention.1"));
    weight = dukd_blocks_conv(g, weight, feat, 1, place, group, number, "3.attention.3");
    inner = dukd_graph_mul(g, inner, dukd_graph_sigmoid(g, weight));
    if (res_scale != 1) inner = dukd_graph_scale(g, inner, (float)res_scale);
    dukd_value sum = dukd_graph_add(g, x, inner);
    dukd_graph_layer(g, sum, "body.%d.residual_group.%d", group, number);
    return sum;
}

static dukd_value build(dukd_graph *g, const dukd_model_value *values, dukd_failure *f) {
    int32_t feat = (int32_t)values[NUM_FEAT].numbers[0], scale = (int32_t)values[UPSCALE].numbers[0];
    int groups = (int)values[NUM_GROUP].numbers[0], blocks = (int)values[NUM_BLOCK].numbers[0];
    int32_t squeeze = (int32_t)values[SQUEEZE_FACTOR].numbers[0];
    double range = values[IMG_RANGE].numbers[0], res_scale = values[RES_SCALE].numbers[0];
    const double *mean = values[RGB_MEAN].numbers;

    if (dukd_blocks_check_scale(scale, "RCAN", f) != DUKD_DONE) return -1;
    if (squeeze > feat) {
        dukd_fail(f, DUKD_MISUSED, "squeeze_factor is %d, which leaves none of the %d channels of num_feat",
                  (int)squeeze, (int)feat);
        return -1;
    }
    dukd_value x = dukd_graph_input(g, (int32_t)values[NUM_IN_CH].numbers[0]);
    dukd_value head = dukd_graph_conv(g, dukd_blocks_colours_in(g, x, mean, range), feat, 3, "conv_first");
    x = head;
    for (int i = 0; i < groups; i++) {
        dukd_value first = x;
        for (int k = 0; k < blocks; k++) x = block(g, x, feat, feat / squeeze, res_scale, i, k);
        x = dukd_graph_add(g, first, dukd_blocks_conv(g, x, feat, 3, "body.%d.conv", i));
        dukd_graph_layer(g, x, "body.%d", i);
    }
    dukd_graph_layer(g, x, "body");
    x = dukd_graph_add(g, dukd_graph_conv(g, x, feat, 3, "conv_after_body"), head);
    dukd_graph_layer(g, x, "long_skip");
    dukd_graph_move_layer(g, x, "conv_after_body"); /* BasicSR: res += x */
    x = dukd_blocks_upsample(g, x, feat, scale, "upsample");
    x = dukd_graph_conv(g, x, (int32_t)values[NUM_OUT_CH].numbers[0], 3, "conv_last");
    return dukd_blocks_colours_out(g, x, mean, range);
}

/* Those of the authors' own code. */
static const dukd_model_alias aliases[] = {
    {"head.0", "conv_first", 0},
    {"body.#.body.#.body.0", "body.#.residual_group.#.rcab.0", 0},
    {"body.#.body.#.body.2", "body.#.residual_group.#.rcab.2", 0},
    {"body.#.body.#.body.3.conv_du.0", "body.#.residual_group.#.rcab.3.attention.1", 0},
    {"body.#.body.#.body.3.conv_du.2", "body.#.residual_group.#.rcab.3.attention.3", 0},
    {"body.#.body.#", "body.#.conv", 0}, /* behind the last block of a group */
    {"body.#", "conv_after_body", 0},    /* behind the last group */
    {"tail.0.#", "upsample.#", 0},
    {"tail.1", "conv_last", 0},
    {"sub_mean", NULL, -1},
    {"add_mean", NULL, 1},
};

const dukd_model_type dukd_model_rcan = {
    .name = "RCAN",
    .help = "Residual blocks with channel attention, in groups (Zhang et al., ECCV 2018).",
    .options = options,
    .option_count = OPTION_COUNT,
    .build = build,
    .aliases = aliases,
    .alias_count = sizeof aliases / sizeof *aliases,
};
