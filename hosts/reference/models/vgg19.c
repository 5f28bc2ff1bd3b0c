/* VGG19's convolutions, as a feature extractor (network_f).
 *
 * Source: Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", 2015, configuration E; numbers
 * and parameter names are those of torchvision's vgg19().features, so that its vgg19-*.pth is read. use_input_norm and its default are
 * those of BasicSR's VGGFeatureExtractor.
 *
 * Layers to tap: "features.N", ReLUs included (1, 6, 11, 20, 29 are what CSD taps). A convolution's is the map before its ReLU.
 * The fifth pooling (36) is left out: nothing reads it, and without it an image of 16 x 16 is large enough. An engine
 * computes no further than what is tapped. */
#include "models/vgg19.h"

#include <stdio.h>

enum { USE_INPUT_NORM, IMG_RANGE, OPTION_COUNT };
enum { COLOURS = 3 };

static const dukd_model_option options[OPTION_COUNT] = {
    [USE_INPUT_NORM] = {"use_input_norm", DUKD_MODEL_BOOL, 1, 0, (const double[]){1}, 0, 1,
                        .help = "Take ImageNet's mean colour off and divide by its deviation; CSD's authors "
                                "do not."},
    [IMG_RANGE] = {"img_range", DUKD_MODEL_FLOAT, 1, 0, (const double[]){1}, 1e-3, 1e6,
                   .help = "Factor between the image's values (0 to 1) and what comes first; CSD's authors "
                           "have 255."},
};

/* img_range x, and then (x - mean) / deviation. */
static dukd_value input(dukd_graph *g, double range, int norm) {
    static const double mean[COLOURS] = {.485, .456, .406}, deviation[COLOURS] = {.229, .224, .225};
    float factors[COLOURS], shifts[COLOURS];
    dukd_value x = dukd_graph_input(g, COLOURS);
    if (!norm) return range == 1 ? x : dukd_graph_scale(g, x, (float)range);
    for (int c = 0; c < COLOURS; c++) {
        factors[c] = (float)(range / deviation[c]);
        shifts[c] = (float)(-mean[c] / deviation[c]);
    }
    return dukd_graph_affine(g, x, factors, shifts);
}

static dukd_value build(dukd_graph *g, const dukd_model_value *values, dukd_failure *f) {
    static const struct {
        int32_t channels, convolutions;
    } stages[] = {{64, 2}, {128, 2}, {256, 4}, {512, 4}, {512, 4}};
    enum { STAGES = sizeof stages / sizeof *stages };
    (void)f;
    char name[32];
    int number = 0;
    dukd_value x = input(g, values[IMG_RANGE].numbers[0], values[USE_INPUT_NORM].numbers[0] != 0);
    for (int s = 0; s < STAGES; s++) {
        if (s > 0) {
            x = dukd_graph_max_pool(g, x, 2, 2);
            dukd_graph_layer(g, x, "features.%d", number++);
        }
        for (int i = 0; i < stages[s].convolutions; i++) {
            snprintf(name, sizeof name, "features.%d", number++);
            x = dukd_graph_relu(g, dukd_graph_conv(g, x, stages[s].channels, 3, name));
            dukd_graph_layer(g, x, "features.%d", number++);
        }
    }
    return x;
}

static const dukd_model_alias aliases[] = {
    {"classifier.#", NULL, 0}, /* torchvision's file has the classifier too */
};

const dukd_model_type dukd_model_vgg19 = {
    .name = "VGG19",
    .help = "Features of images for network_f (Simonyan and Zisserman, 2015; torchvision's weights).",
    .options = options,
    .option_count = OPTION_COUNT,
    .build = build,
    .aliases = aliases,
    .alias_count = sizeof aliases / sizeof *aliases,
};
