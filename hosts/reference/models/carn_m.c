/* CARN-M: cascades of residual blocks, whose convolutions are grouped and, inside a cascade, the same three times over.
 *
 * Source: Ahn et al., "Fast, Accurate, and Lightweight Super-Resolution with Cascading Residual Network", ECCV 2018; the
 * names of parameters are those of the authors' checkpoints (nmhkahn/CARN-pytorch, carn_m), the options are named as
 * BasicSR's are. Their checkpoints hold the tails of three scales (multi_scale); this network has the one it needs.
 *
 * Layers to tap: every convolution by its name (one that is used three times: its first use), "bN" for the output of cascade
 * N (from 1), "cN" for what joins the cascades so far, "upsample". */
#include "models/carn_m.h"

#include <stdio.h>

#include "models/blocks.h"

enum { NUM_IN_CH, NUM_OUT_CH, NUM_FEAT, GROUP, MULTI_SCALE, UPSCALE, RGB_MEAN, OPTION_COUNT };

enum { COLOURS = DUKD_BLOCKS_COLOURS, STEPS = 3 };

static const dukd_model_option options[OPTION_COUNT] = {
    [NUM_IN_CH] = {"num_in_ch", DUKD_MODEL_INT, 1, 0, (const double[]){COLOURS}, COLOURS, COLOURS,
                   .help = "Channels of the input: 3 (RGB)."},
    [NUM_OUT_CH] = {"num_out_ch", DUKD_MODEL_INT, 1, 0, (const double[]){COLOURS}, COLOURS, COLOURS,
                    .help = "Channels of the output: 3 (RGB)."},
    [NUM_FEAT] = {"num_feat", DUKD_MODEL_INT, 1, 0, (const double[]){64}, 1, 256,
                  .help = "Channels of the feature maps."},
    [GROUP] = {"group", DUKD_MODEL_INT, 1, 0, (const double[]){4}, 1, 256,
               .help = "Groups of the 3 x 3 convolutions; they divide num_feat."},
    [MULTI_SCALE] =
        {"multi_scale", DUKD_MODEL_BOOL, 1, 0, (const double[]){1}, 0, 1,
         .help = "Is the tail named as in the authors' files for several scales (upsample.up4)? Those of "
                 "other scales "
                 "in such a file are not read (strict_load_g: false)."},
    [UPSCALE] = {"upscale", DUKD_MODEL_INT, 1, 0, (const double[]){4}, 2, 8, .help = "Scale: 2, 3, 4 or 8."},
    [RGB_MEAN] =
        {"rgb_mean", DUKD_MODEL_FLOATS, COLOURS, 0, (const double[]){.4488, .4371, .4040}, -1e3, 1e3,
         .help =
             "Mean colour, taken off before the head and put back after the tail; the default is DIV2K's."},
};

/* Their shift of the mean is a frozen convolution; here it is part of the graph. */
static const dukd_model_alias aliases[] = {
    {"sub_mean.shifter", NULL, -1},
    {"add_mean.shifter", NULL, 1},
};

/* Two grouped convolutions and one of single pixels that mixes the groups, added to the input. */
static dukd_value residual(dukd_graph *g, dukd_value x, int32_t feat, int32_t groups, int shared,
                           int cascade) {
    const dukd_conv_shape wide = {.out_channels = feat, .kernel = 3, .groups = groups, .shared = shared};
    const dukd_conv_shape mix = {.out_channels = feat, .kernel = 1, .shared = shared};
    dukd_value y = dukd_graph_relu(g, dukd_blocks_conv_shape(g, x, &wide, "b%d.b1.body.0", cascade));
    y = dukd_graph_relu(g, dukd_blocks_conv_shape(g, y, &wide, "b%d.b1.body.2", cascade));
    y = dukd_blocks_conv_shape(g, y, &mix, "b%d.b1.body.4", cascade);
    return dukd_graph_relu(g, dukd_graph_add(g, y, x));
}

/* Joins everything so far with the newest and mixes it down to `feat` channels. */
static dukd_value join(dukd_graph *g, dukd_value *all, dukd_value newest, int32_t feat, const char *prefix,
                       int step) {
    *all = dukd_graph_concat(g, (dukd_value[]){*all, newest}, 2);
    return dukd_graph_relu(g, dukd_blocks_conv(g, *all, feat, 1, "%sc%d.body.0", prefix, step));
}

static dukd_value cascade(dukd_graph *g, dukd_value x, int32_t feat, int32_t groups, int number) {
    char prefix[16];
    snprintf(prefix, sizeof prefix, "b%d.", number);
    dukd_value all = x;
    for (int i = 0; i < STEPS; i++)
        x = join(g, &all, residual(g, x, feat, groups, i > 0, number), feat, prefix, i + 1);
    dukd_graph_layer(g, x, "b%d", number);
    return x;
}

/* Sub-pixel steps with a ReLU before each shuffle. */
static dukd_value upsample(dukd_graph *g, dukd_value x, int32_t feat, int32_t groups, int32_t scale,
                           const char *prefix) {
    int32_t step = scale == 3 ? 3 : 2;
    for (int place = 0; scale > 1; place += 3, scale /= step) {
        const dukd_conv_shape wide = {.out_channels = feat * step * step, .kernel = 3, .groups = groups};
        x = dukd_blocks_conv_shape(g, x, &wide, "upsample.%s.body.%d", prefix, place);
        x = dukd_graph_pixel_shuffle(g, dukd_graph_relu(g, x), step);
    }
    dukd_graph_layer(g, x, "upsample");
    return x;
}

static dukd_value build(dukd_graph *g, const dukd_model_value *values, dukd_failure *f) {
    int32_t feat = (int32_t)values[NUM_FEAT].numbers[0], groups = (int32_t)values[GROUP].numbers[0];
    int32_t scale = (int32_t)values[UPSCALE].numbers[0];
    const double *mean = values[RGB_MEAN].numbers;
    char tail[16];
    if (feat % groups != 0) {
        dukd_fail(f, DUKD_MISUSED, "group is %d, which does not divide num_feat, %d", (int)groups, (int)feat);
        return -1;
    }
    if (dukd_blocks_check_scale(scale, "CARN_M", f) != DUKD_DONE) return -1;
    dukd_value x =
        dukd_blocks_colours_in(g, dukd_graph_input(g, (int32_t)values[NUM_IN_CH].numbers[0]), mean, 1);
    x = dukd_graph_conv(g, x, feat, 3, "entry");
    dukd_value all = x;
    for (int i = 1; i <= STEPS; i++) {
        x = join(g, &all, cascade(g, x, feat, groups, i), feat, "", i);
        dukd_graph_layer(g, x, "c%d", i);
    }
    if (values[MULTI_SCALE].numbers[0] != 0)
        snprintf(tail, sizeof tail, "up%d", (int)scale);
    else
        snprintf(tail, sizeof tail, "up");
    x = upsample(g, x, feat, groups, scale, tail);
    x = dukd_graph_conv(g, x, (int32_t)values[NUM_OUT_CH].numbers[0], 3, "exit");
    return dukd_blocks_colours_out(g, x, mean, 1);
}

const dukd_model_type dukd_model_carn_m = {
    .name = "CARN_M",
    .help = "Cascading residual network, the mobile one (Ahn et al., ECCV 2018).",
    .options = options,
    .option_count = OPTION_COUNT,
    .build = build,
    .aliases = aliases,
    .alias_count = sizeof aliases / sizeof *aliases,
};
