/* The colours at both ends, the sub-pixel tail, and convolutions with numbered names. */
#include "models/blocks.h"

#include <stdarg.h>
#include <stdio.h>

dukd_value dukd_blocks_colours_in(dukd_graph *g, dukd_value x, const double mean[3], double range) {
    float factors[DUKD_BLOCKS_COLOURS], shifts[DUKD_BLOCKS_COLOURS];
    for (int c = 0; c < DUKD_BLOCKS_COLOURS; c++) {
        factors[c] = (float)range;
        shifts[c] = (float)(-mean[c] * range);
    }
    return dukd_graph_affine(g, x, factors, shifts);
}

dukd_value dukd_blocks_colours_out(dukd_graph *g, dukd_value x, const double mean[3], double range) {
    float factors[DUKD_BLOCKS_COLOURS], shifts[DUKD_BLOCKS_COLOURS];
    for (int c = 0; c < DUKD_BLOCKS_COLOURS; c++) {
        factors[c] = (float)(1 / range);
        shifts[c] = (float)mean[c];
    }
    return dukd_graph_affine(g, x, factors, shifts);
}

dukd_value dukd_blocks_conv_shape(dukd_graph *g, dukd_value x, const dukd_conv_shape *shape,
                                  const char *format, ...) {
    char name[160];
    va_list args;
    va_start(args, format);
    vsnprintf(name, sizeof name, format, args);
    va_end(args);
    return dukd_graph_conv_shape(g, x, shape, name);
}

dukd_value dukd_blocks_conv(dukd_graph *g, dukd_value x, int32_t out_channels, int32_t kernel,
                            const char *format, ...) {
    char name[160]; /* longer than a graph takes, so that the graph reports it */
    va_list args;
    va_start(args, format);
    vsnprintf(name, sizeof name, format, args);
    va_end(args);
    return dukd_graph_conv(g, x, out_channels, kernel, name);
}

dukd_value dukd_blocks_upsample(dukd_graph *g, dukd_value x, int32_t feat, int32_t scale, const char *name) {
    int32_t step = scale == 3 ? 3 : 2;
    for (int place = 0; scale > 1; place += 2, scale /= step)
        x = dukd_graph_pixel_shuffle(g, dukd_blocks_conv(g, x, feat * step * step, 3, "%s.%d", name, place),
                                     step);
    dukd_graph_layer(g, x, "%s", name);
    return x;
}

int dukd_blocks_check_scale(int32_t scale, const char *network, dukd_failure *f) {
    if (scale == 3 || (scale & (scale - 1)) == 0) return DUKD_DONE;
    return dukd_fail(f, DUKD_MISUSED, "upscale is %d; %s has 1, 2, 3, 4, 8 and 16", (int)scale, network);
}
