/* RFDN: residual feature distillation, with spatial attention drawn from a much smaller map.
 *
 * Source: Liu et al., "Residual Feature Distillation Network for Lightweight Image Super-Resolution", ECCVW 2020; the names
 * of parameters are those of the authors' checkpoints (njulj/RFDN), the options are named as BasicSR's are. The attention's
 * small map is found by a stride and a pooling, so that images are 15 x 15 pixels or more, and every output pixel depends on
 * the size of the image.
 *
 * Layers to tap: every convolution by its name, "Bn" for the output of block n (from 1), "long_skip" for the sum of
 * "LR_conv" and the head. */
#include "models/rfdn.h"

#include "models/blocks.h"

enum { NUM_IN_CH, NUM_OUT_CH, NUM_FEAT, NUM_BLOCK, UPSCALE, IMG_RANGE, OPTION_COUNT };

enum { COLOURS = DUKD_BLOCKS_COLOURS, STEPS = 4 };

static const dukd_model_option options[OPTION_COUNT] = {
    [NUM_IN_CH] = {"num_in_ch", DUKD_MODEL_INT, 1, 0, (const double[]){COLOURS}, COLOURS, COLOURS,
                   .help = "Channels of the input: 3 (RGB)."},
    [NUM_OUT_CH] = {"num_out_ch", DUKD_MODEL_INT, 1, 0, (const double[]){COLOURS}, COLOURS, COLOURS,
                    .help = "Channels of the output: 3 (RGB)."},
    [NUM_FEAT] = {"num_feat", DUKD_MODEL_INT, 1, 0, (const double[]){50}, 4, 512,
                  .help = "Channels of the feature maps."},
    [NUM_BLOCK] = {"num_block", DUKD_MODEL_INT, 1, 0, (const double[]){4}, 2, DUKD_OP_MAX_OPERANDS,
                   .help = "Blocks; their outputs are all joined at the end."},
    [UPSCALE] = {"upscale", DUKD_MODEL_INT, 1, 0, (const double[]){4}, 1, 8, .help = "Scale."},
    [IMG_RANGE] = {"img_range", DUKD_MODEL_FLOAT, 1, 0, (const double[]){255}, 1e-3, 1e6,
                   .help = "Factor between the image's values (0 to 1) and what the head sees; the default "
                           "is the authors'."},
};

/* Enhanced spatial attention: each element weighed by what a map of a sixth of the size says of its place. */
static dukd_value attend(dukd_graph *g, dukd_value x, int32_t feat, int block) {
    const int32_t inner = feat / 4;
    dukd_value first = dukd_blocks_conv(g, x, inner, 1, "B%d.esa.conv1", block);
    const dukd_conv_shape halving = {.out_channels = inner, .kernel = 3, .stride = 2, .no_padding = 1};
    dukd_value y =
        dukd_graph_max_pool(g, dukd_blocks_conv_shape(g, first, &halving, "B%d.esa.conv2", block), 7, 3);
    y = dukd_graph_relu(g, dukd_blocks_conv(g, y, inner, 3, "B%d.esa.conv_max", block));
    y = dukd_graph_relu(g, dukd_blocks_conv(g, y, inner, 3, "B%d.esa.conv3", block));
    y = dukd_blocks_conv(g, y, inner, 3, "B%d.esa.conv3_", block);
    y = dukd_graph_add(g, dukd_graph_resize_like(g, y, x),
                       dukd_blocks_conv(g, first, inner, 1, "B%d.esa.conv_f", block));
    y = dukd_blocks_conv(g, y, feat, 1, "B%d.esa.conv4", block);
    return dukd_graph_mul(g, x, dukd_graph_sigmoid(g, y));
}

static dukd_value distil(dukd_graph *g, dukd_value x, int32_t feat, int block) {
    const float slope = .05f;
    dukd_value parts[STEPS];
    for (int i = 0; i < STEPS - 1; i++) {
        parts[i] =
            dukd_graph_leaky_relu(g, dukd_blocks_conv(g, x, feat / 2, 1, "B%d.c%d_d", block, i + 1), slope);
        dukd_value y = dukd_blocks_conv(g, x, feat, 3, "B%d.c%d_r", block, i + 1);
        x = dukd_graph_leaky_relu(g, dukd_graph_add(g, y, x), slope);
    }
    parts[STEPS - 1] = dukd_graph_leaky_relu(g, dukd_blocks_conv(g, x, feat / 2, 3, "B%d.c4", block), slope);
    x = dukd_blocks_conv(g, dukd_graph_concat(g, parts, STEPS), feat, 1, "B%d.c5", block);
    x = attend(g, x, feat, block);
    dukd_graph_layer(g, x, "B%d", block);
    return x;
}

static dukd_value build(dukd_graph *g, const dukd_model_value *values, dukd_failure *f) {
    int32_t feat = (int32_t)values[NUM_FEAT].numbers[0], scale = (int32_t)values[UPSCALE].numbers[0];
    int32_t blocks = (int32_t)values[NUM_BLOCK].numbers[0];
    float range = (float)values[IMG_RANGE].numbers[0];
    (void)f;
    dukd_value outputs[DUKD_OP_MAX_OPERANDS], x = dukd_graph_input(g, (int32_t)values[NUM_IN_CH].numbers[0]);
    if (range != 1) x = dukd_graph_scale(g, x, range);
    dukd_value head = dukd_graph_conv(g, x, feat, 3, "fea_conv");
    for (int i = 0; i < blocks; i++) outputs[i] = distil(g, i ? outputs[i - 1] : head, feat, i + 1);
    x = dukd_graph_conv(g, dukd_graph_concat(g, outputs, blocks), feat, 1, "c.0");
    x = dukd_graph_conv(g, dukd_graph_leaky_relu(g, x, .05f), feat, 3, "LR_conv");
    x = dukd_graph_add(g, x, head);
    dukd_graph_layer(g, x, "long_skip");
    x = dukd_graph_conv(g, x, (int32_t)values[NUM_OUT_CH].numbers[0] * scale * scale, 3, "upsampler.0");
    x = dukd_graph_pixel_shuffle(g, x, scale);
    return range != 1 ? dukd_graph_scale(g, x, 1 / range) : x;
}

const dukd_model_type dukd_model_rfdn = {
    .name = "RFDN",
    .help = "Residual feature distillation with spatial attention (Liu et al., ECCVW 2020).",
    .options = options,
    .option_count = OPTION_COUNT,
    .build = build,
};
