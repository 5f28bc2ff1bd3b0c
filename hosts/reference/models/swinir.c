/* SwinIR: groups of Swin transformer blocks (attention in windows, shifted by half a window in every second block),
 * each group closed by a convolution and added to its input.
 *
 * Source: Liang et al., "SwinIR: Image Restoration Using Swin Transformer", ICCVW 2021; names, options and defaults
 * are those of BasicSR's class SwinIR, so that its checkpoints fit. Dropout other than DropPath is 0 in every
 * published network and is not here.
 *
 * Layers to tap: every convolution and linear layer by its name, "layers.G.residual_group.blocks.B" for the output of
 * a block, "layers.G" for that of a group, "norm", "long_skip" for the sum of "conv_after_body" and the head, and
 * "upsample". */
#include "models/swinir.h"

#include <stdio.h>

#include "models/blocks.h"

enum {
    IMG_SIZE,
    PATCH_SIZE,
    IN_CHANS,
    EMBED_DIM,
    DEPTHS,
    NUM_HEADS,
    WINDOW_SIZE,
    MLP_RATIO,
    QKV_BIAS,
    QK_SCALE,
    DROP_RATE,
    ATTN_DROP_RATE,
    DROP_PATH_RATE,
    APE,
    PATCH_NORM,
    USE_CHECKPOINT,
    UPSCALE,
    IMG_RANGE,
    UPSAMPLER,
    RESI_CONNECTION,
    OPTION_COUNT
};

enum { PIXELSHUFFLE, PIXELSHUFFLEDIRECT, NO_UPSAMPLER };
static const char *const upsamplers[] = {"pixelshuffle", "pixelshuffledirect", "", NULL};
enum { ONE_CONV, THREE_CONVS };
static const char *const connections[] = {"1conv", "3conv", NULL};

enum { COLOURS = DUKD_BLOCKS_COLOURS, TAIL_CHANNELS = 64 };
static const double mean[COLOURS] = {.4488, .4371, .4040};

static const dukd_model_option options[OPTION_COUNT] = {
    [IMG_SIZE] = {"img_size", DUKD_MODEL_INT, 1, 0, (const double[]){64}, 1, 4096,
                  .help = "Side of the images that BasicSR's module keeps a mask for; others run as well."},
    [PATCH_SIZE] = {"patch_size", DUKD_MODEL_INT, 1, 0, (const double[]){1}, 1, 1,
                    .help = "Side of a token: 1 pixel."},
    [IN_CHANS] = {"in_chans", DUKD_MODEL_INT, 1, 0, (const double[]){COLOURS}, COLOURS, COLOURS,
                  .help = "Channels of the image: 3 (RGB)."},
    [EMBED_DIM] = {"embed_dim", DUKD_MODEL_INT, 1, 0, (const double[]){96}, 1, 1024,
                   .help = "Channels of the feature maps."},
    [DEPTHS] = {"depths", DUKD_MODEL_INTS, 4, 0, (const double[]){6, 6, 6, 6}, 0, 64,
                .help = "Blocks of each group."},
    [NUM_HEADS] = {"num_heads", DUKD_MODEL_INTS, 4, 0, (const double[]){6, 6, 6, 6}, 1, 64,
                   .help = "Attention heads of each group's blocks; they divide embed_dim."},
    [WINDOW_SIZE] = {"window_size", DUKD_MODEL_INT, 1, 0, (const double[]){7}, 1, 64,
                     .help = "Side of the attention's windows."},
    [MLP_RATIO] = {"mlp_ratio", DUKD_MODEL_FLOAT, 1, 0, (const double[]){4}, 1e-3, 64,
                   .help = "Channels inside a block's two linear layers, as a multiple of embed_dim."},
    [QKV_BIAS] = {"qkv_bias", DUKD_MODEL_BOOL, 1, 0, (const double[]){1}, 0, 1,
                  .help = "Have queries, keys and values a bias?"},
    [QK_SCALE] = {"qk_scale", DUKD_MODEL_NULL, 1, 0, (const double[]){0}, 0, 0,
                  .help = "Factor of queries times keys: null, which is 1 / sqrt(channels of a head)."},
    [DROP_RATE] = {"drop_rate", DUKD_MODEL_FLOAT, 1, 0, (const double[]){0}, 0, 0, .help = "Dropout: 0."},
    [ATTN_DROP_RATE] = {"attn_drop_rate", DUKD_MODEL_FLOAT, 1, 0, (const double[]){0}, 0, 0,
                        .help = "Dropout in the attention: 0."},
    [DROP_PATH_RATE] =
        {"drop_path_rate", DUKD_MODEL_FLOAT, 1, 0, (const double[]){.1}, 0, .99,
         .help = "Probability of dropping the last block's paths in training; it rises from 0 at the first."},
    [APE] = {"ape", DUKD_MODEL_BOOL, 1, 0, (const double[]){0}, 0, 0,
             .help = "Absolute position embedding: false."},
    [PATCH_NORM] = {"patch_norm", DUKD_MODEL_BOOL, 1, 0, (const double[]){1}, 0, 1,
                    .help = "Is there a layer norm before the first block?"},
    [USE_CHECKPOINT] = {"use_checkpoint", DUKD_MODEL_BOOL, 1, 0, (const double[]){0}, 0, 1,
                        .help = "PyTorch's way to save memory; ignored here."},
    [UPSCALE] = {"upscale", DUKD_MODEL_INT, 1, 0, (const double[]){2}, 1, 16,
                 .help = "Scale: 1, 2, 3, 4, 8 or 16."},
    [IMG_RANGE] = {"img_range", DUKD_MODEL_FLOAT, 1, 0, (const double[]){1}, 1e-3, 1e6,
                   .help = "Factor between the image's values (0 to 1) and what the head sees."},
    [UPSAMPLER] = {"upsampler", DUKD_MODEL_WORD, 1, 0, (const double[]){NO_UPSAMPLER}, 0, NO_UPSAMPLER,
                   "The tail: pixelshuffle, pixelshuffledirect (one convolution), or '' for upscale 1.",
                   upsamplers},
    [RESI_CONNECTION] = {"resi_connection", DUKD_MODEL_WORD, 1, 0, (const double[]){ONE_CONV}, 0, THREE_CONVS,
                         "What closes a group: 1conv, or 3conv (narrower inside).", connections},
};

/* What all blocks have in common, and the names of one of them. */
typedef struct {
    dukd_graph *g;
    int32_t dim, inner; /* channels of the maps, and between a block's last two linear layers */
    int32_t window, img_size;
    int qkv_bias;
    char prefix[64]; /* of the block: "layers.0.residual_group.blocks.1" */
    char name[128];
} swin;

static const char *named(swin *s, const char *part) {
    snprintf(s->name, sizeof s->name, "%s.%s", s->prefix, part);
    return s->name;
}

/* Attention in windows, then two linear layers with a GELU between, each behind a layer norm and added to its
 * input; both may be dropped in training. */
static dukd_value block(swin *s, dukd_value x, int32_t heads, int32_t shift, float drop) {
    const float eps = 1e-5f; /* PyTorch's */
    dukd_graph *g = s->g;
    char mask[80];
    snprintf(mask, sizeof mask, "%s.attn_mask", s->prefix);
    dukd_value y = dukd_graph_layer_norm(g, x, eps, named(s, "norm1"));
    y = dukd_graph_conv_shape(
        g, y, &(dukd_conv_shape){.out_channels = 3 * s->dim, .linear = 1, .no_bias = !s->qkv_bias},
        named(s, "attn.qkv"));
    y = dukd_graph_attention(g, y, heads, s->window, shift, named(s, "attn"));
    dukd_graph_window_constants(g, named(s, "attn"), mask, s->window, shift, s->img_size, s->img_size);
    y = dukd_graph_linear(g, y, s->dim, named(s, "attn.proj"));
    x = dukd_graph_add(g, x, dukd_graph_drop_path(g, y, drop));
    y = dukd_graph_layer_norm(g, x, eps, named(s, "norm2"));
    y = dukd_graph_gelu(g, dukd_graph_linear(g, y, s->inner, named(s, "mlp.fc1")));
    y = dukd_graph_linear(g, y, s->dim, named(s, "mlp.fc2"));
    x = dukd_graph_add(g, x, dukd_graph_drop_path(g, y, drop));
    dukd_graph_layer(g, x, "%s", s->prefix);
    return x;
}

/* The convolution, or the three narrower ones, that close a group and the body. */
static dukd_value connection(dukd_graph *g, dukd_value x, int32_t dim, int kind, const char *name) {
    const float slope = .2f;
    if (kind == ONE_CONV) return dukd_graph_conv(g, x, dim, 3, name);
    x = dukd_graph_leaky_relu(g, dukd_blocks_conv(g, x, dim / 4, 3, "%s.0", name), slope);
    x = dukd_graph_leaky_relu(g, dukd_blocks_conv(g, x, dim / 4, 1, "%s.2", name), slope);
    x = dukd_blocks_conv(g, x, dim, 3, "%s.4", name);
    dukd_graph_layer(g, x, "%s", name);
    return x;
}

/* What ranges cannot say. */
static int check(const dukd_model_value *v, dukd_failure *f) {
    int upsampler = (int)v[UPSAMPLER].numbers[0], scale = (int)v[UPSCALE].numbers[0];
    int dim = (int)v[EMBED_DIM].numbers[0];
    if (v[DEPTHS].count != v[NUM_HEADS].count)
        return dukd_fail(f, DUKD_MISUSED, "depths has %d groups and num_heads %d; they must be as many",
                         (int)v[DEPTHS].count, (int)v[NUM_HEADS].count);
    for (int32_t i = 0; i < v[NUM_HEADS].count; i++)
        if (dim % (int)v[NUM_HEADS].numbers[i] != 0)
            return dukd_fail(f, DUKD_MISUSED,
                             "num_heads has %d heads, which do not divide the %d channels of embed_dim",
                             (int)v[NUM_HEADS].numbers[i], dim);
    if (v[RESI_CONNECTION].numbers[0] == THREE_CONVS && dim < 4)
        return dukd_fail(f, DUKD_MISUSED, "resi_connection '3conv' needs an embed_dim of 4 or more, not %d",
                         dim);
    if (upsampler == NO_UPSAMPLER && scale != 1)
        return dukd_fail(f, DUKD_MISUSED,
                         "upsampler is '', which is for upscale 1; for upscale %d choose pixelshuffle or "
                         "pixelshuffledirect",
                         scale);
    if ((int)(dim * v[MLP_RATIO].numbers[0]) < 1)
        return dukd_fail(f, DUKD_MISUSED,
                         "mlp_ratio is %g, which leaves none of the %d channels of embed_dim",
                         v[MLP_RATIO].numbers[0], dim);
    return upsampler == PIXELSHUFFLE ? dukd_blocks_check_scale(scale, "this upsampler", f) : DUKD_DONE;
}

static dukd_value tail(dukd_graph *g, dukd_value x, dukd_value image, int upsampler, int32_t scale) {
    char name[] = "upsample.0";
    if (upsampler == NO_UPSAMPLER)
        return dukd_graph_add(g, image, dukd_graph_conv(g, x, COLOURS, 3, "conv_last"));
    if (upsampler == PIXELSHUFFLEDIRECT) {
        x = dukd_graph_pixel_shuffle(g, dukd_graph_conv(g, x, COLOURS * scale * scale, 3, name), scale);
        dukd_graph_layer(g, x, "upsample");
        return x;
    }
    x = dukd_graph_leaky_relu(g, dukd_graph_conv(g, x, TAIL_CHANNELS, 3, "conv_before_upsample.0"), .01f);
    x = dukd_blocks_upsample(g, x, TAIL_CHANNELS, scale, "upsample");
    return dukd_graph_conv(g, x, COLOURS, 3, "conv_last");
}

static dukd_value build(dukd_graph *g, const dukd_model_value *v, dukd_failure *f) {
    if (check(v, f) != DUKD_DONE) return -1;
    swin s = {.g = g,
              .dim = (int32_t)v[EMBED_DIM].numbers[0],
              .window = (int32_t)v[WINDOW_SIZE].numbers[0],
              .img_size = (int32_t)v[IMG_SIZE].numbers[0],
              .qkv_bias = v[QKV_BIAS].numbers[0] != 0};
    s.inner = (int32_t)(s.dim * v[MLP_RATIO].numbers[0]); /* cut, as Python's int() does */
    int32_t half = s.window / 2;
    if (s.img_size <= s.window) { /* BasicSR's: one window, and nothing to shift */
        s.window = s.img_size;
        half = 0;
    }
    if (s.img_size % s.window != 0) {
        dukd_fail(f, DUKD_MISUSED, "img_size is %d, which is no multiple of window_size, %d", (int)s.img_size,
                  (int)s.window);
        return -1;
    }
    int kind = (int)v[RESI_CONNECTION].numbers[0], blocks = 0, number = 0;
    for (int32_t i = 0; i < v[DEPTHS].count; i++) blocks += (int)v[DEPTHS].numbers[i];

    double range = v[IMG_RANGE].numbers[0];
    dukd_value image = dukd_blocks_colours_in(g, dukd_graph_input(g, COLOURS), mean, range);
    dukd_value head = dukd_graph_conv(g, image, s.dim, 3, "conv_first"), x = head;
    if (v[PATCH_NORM].numbers[0] != 0) x = dukd_graph_layer_norm(g, x, 1e-5f, "patch_embed.norm");
    for (int i = 0; i < v[DEPTHS].count; i++) {
        dukd_value first = x;
        for (int k = 0; k < (int)v[DEPTHS].numbers[i]; k++, number++) {
            double drop = blocks > 1 ? v[DROP_PATH_RATE].numbers[0] * number / (blocks - 1) : 0;
            snprintf(s.prefix, sizeof s.prefix, "layers.%d.residual_group.blocks.%d", i, k);
            x = block(&s, x, (int32_t)v[NUM_HEADS].numbers[i], k % 2 == 0 ? 0 : half, (float)drop);
        }
        char name[32];
        snprintf(name, sizeof name, "layers.%d.conv", i);
        x = dukd_graph_add(g, first, connection(g, x, s.dim, kind, name));
        dukd_graph_layer(g, x, "layers.%d", i);
    }
    x = dukd_graph_layer_norm(g, x, 1e-5f, "norm");
    x = dukd_graph_add(g, connection(g, x, s.dim, kind, "conv_after_body"), head);
    dukd_graph_layer(g, x, "long_skip");
    x = tail(g, x, image, (int)v[UPSAMPLER].numbers[0], (int32_t)v[UPSCALE].numbers[0]);
    return dukd_blocks_colours_out(g, x, mean, range);
}

const dukd_model_type dukd_model_swinir = {
    .name = "SwinIR",
    .help = "Swin transformer blocks in groups with convolutions (Liang et al., ICCVW 2021).",
    .options = options,
    .option_count = OPTION_COUNT,
    .build = build,
};
