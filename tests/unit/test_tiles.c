/* Tiles and continued images: what the engine gives for images of any size, against the oracle on the image continued by hand. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/tiles.h"
#include "support/compare.h"
#include "support/edsr_net.h"
#include "support/fill.h"
#include "support/graph_ref.h"

typedef struct {
    dukd_graph *g;
    float *weights;
    dukd_engine *engine;
    dukd_network *network;
    float *input, *output;
    int32_t h, w, up;
    int reads;
} picture;

static int read_part(void *ctx, int32_t row, int32_t col, int32_t height, int32_t width, float *planes,
                     dukd_failure *f) {
    picture *p = ctx;
    (void)f;
    assert_true(row >= 0 && col >= 0 && height >= 1 && width >= 1 && row + height <= p->h &&
                col + width <= p->w);
    for (int c = 0; c < 3; c++)
        for (int32_t y = 0; y < height; y++, planes += width)
            memcpy(planes, p->input + ((int64_t)c * p->h + row + y) * p->w + col,
                   (size_t)width * sizeof *planes);
    p->reads++;
    return 0;
}

/* Every pixel is written once: the output starts as NaN and what is written must have been NaN. */
static int write_part(void *ctx, int32_t row, int32_t col, int32_t height, int32_t width, const float *planes,
                      int64_t stride, int64_t plane, dukd_failure *f) {
    const picture *p = ctx;
    (void)f;
    for (int c = 0; c < 3; c++)
        for (int32_t y = 0; y < height; y++)
            for (int32_t x = 0; x < width; x++) {
                float *to = &p->output[((int64_t)c * p->h * p->up + row + y) * p->w * p->up + col + x];
                assert_true(isnan(*to));
                *to = planes[c * plane + y * stride + x];
            }
    return 0;
}

static void open_picture(picture *p, dukd_graph *g, int32_t h, int32_t w) {
    dukd_failure f = {0};
    *p = (picture){.g = g, .h = h, .w = w, .up = dukd_graph_upscale(g)};
    p->weights = malloc((size_t)dukd_graph_weights(g) * sizeof(float));
    p->input = malloc((size_t)(3 * h * w) * sizeof(float));
    p->output = malloc((size_t)(3 * h * w * p->up * p->up) * sizeof(float));
    assert_true(p->weights && p->input && p->output);
    dukd_graph_init(g, 5, p->weights);
    for (int64_t i = 0; i < dukd_graph_weights(g); i++) p->weights[i] += .05f; /* biases and tables too */
    dukd_fill_f32(p->input, 3 * h * w, 6, 0, 1);
    if (dukd_engine_create(&p->engine, "onednn", 1, &f) ||
        dukd_network_create(&p->network, p->engine, g, DUKD_F32, &f) ||
        dukd_network_set_weights(p->network, p->weights, &f))
        fail_msg("%s", f.message);
}

static void close_picture(picture *p) {
    dukd_network_destroy(p->network);
    dukd_engine_destroy(p->engine);
    dukd_graph_destroy(p->g);
    free(p->weights);
    free(p->input);
    free(p->output);
}

static dukd_tile_options options_of(picture *p, int32_t tile, int32_t overlap) {
    return (dukd_tile_options){
        .tile = tile, .overlap = overlap, .ctx = p, .read = read_part, .write = write_part};
}

static void run(picture *p, int32_t tile, int32_t overlap) {
    dukd_failure f = {0};
    dukd_tile_options o = options_of(p, tile, overlap);
    for (int64_t i = 0; i < (int64_t)3 * p->h * p->w * p->up * p->up; i++) p->output[i] = NAN;
    p->reads = 0;
    if (dukd_tiles_run(p->network, p->g, p->h, p->w, &o, &f)) fail_msg("%s", f.message);
}

/* Continues the image to h x w by reflection as numpy's pad does (mode reflect), runs the oracle, cuts. */
static void check(const picture *p, const char *what) {
    int32_t m = dukd_graph_multiple(p->g), h = (p->h + m - 1) / m * m, w = (p->w + m - 1) / m * m;
    float *wide = malloc((size_t)(3 * h * w) * sizeof *wide);
    double *want = malloc((size_t)(3 * p->h * p->w * p->up * p->up) * sizeof *want);
    assert_true(wide && want);
    for (int c = 0; c < 3; c++)
        for (int32_t y = 0; y < h; y++)
            for (int32_t x = 0; x < w; x++) {
                int32_t sy = y, sx = x; /* bounces off both ends until it is inside */
                while (sy >= p->h || sy < 0) sy = p->h == 1 ? 0 : sy < 0 ? -sy : 2 * (p->h - 1) - sy;
                while (sx >= p->w || sx < 0) sx = p->w == 1 ? 0 : sx < 0 ? -sx : 2 * (p->w - 1) - sx;
                wide[((int64_t)c * h + y) * w + x] = p->input[((int64_t)c * p->h + sy) * p->w + sx];
            }
    dukd_graph_ref *r = dukd_graph_ref_run(p->g, p->weights, 1, h, w, wide);
    const double *all = dukd_graph_ref_value(r, dukd_graph_output(p->g));
    int64_t rows = (int64_t)p->h * p->up, cols = (int64_t)p->w * p->up;
    for (int64_t c = 0; c < 3; c++)
        for (int64_t y = 0; y < rows; y++)
            memcpy(want + (c * rows + y) * cols, all + (c * h * p->up + y) * w * p->up,
                   (size_t)cols * sizeof *want);
    dukd_assert_error(what, dukd_relative_error_mixed(want, p->output, 3 * rows * cols), 1e-5);
    dukd_graph_ref_free(r);
    free(wide);
    free(want);
}

#define SWINIR                                                                                               \
    "img_size=8 window_size=4 embed_dim=8 depths=[2] num_heads=[2] mlp_ratio=2 upscale=2 "                   \
    "upsampler=pixelshuffledirect"

static void test_images_are_continued(void **state) {
    (void)state;
    static const int32_t sizes[][2] = {{8, 12}, {13, 10}, {9, 7}, {3, 5}, {1, 2}, {1, 1}, {5, 17}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        picture p;
        char what[64];
        open_picture(&p, dukd_test_net("SwinIR", SWINIR), sizes[i][0], sizes[i][1]);
        snprintf(what, sizeof what, "%d x %d", (int)p.h, (int)p.w);
        run(&p, 64, -1);
        assert_int_equal(p.reads, 1);
        check(&p, what);
        close_picture(&p);
    }
}

/* Tiles whose margin is the receptive radius give what the whole continued image gives; so with windows, which begin at
 * multiples. Smaller margins do not. */
static void test_tiles_with_windows(void **state) {
    (void)state;
    picture p;
    open_picture(&p, dukd_test_net("SwinIR", SWINIR), 37, 50);
    assert_int_equal(dukd_graph_receptive_radius(p.g), 1 + 3 + 3 + 1 + 1 + 1);
    static const int32_t tiles[] = {1, 7, 8, 20};
    for (int i = 0; i < 4; i++) {
        run(&p, tiles[i], -1);
        assert_true(p.reads > 1);
        check(&p, "tiles");
    }
    dukd_tile_options whole = options_of(&p, 50, 0), cut = options_of(&p, 20, 8),
                      exact = options_of(&p, 20, 9);
    assert_int_equal(dukd_tiles_differ(p.g, p.h, p.w, &whole), 0);
    assert_int_equal(dukd_tiles_differ(p.g, p.h, p.w, &cut), 1);
    assert_int_equal(dukd_tiles_differ(p.g, p.h, p.w, &exact), 0); /* rounded up to 12 */
    close_picture(&p);
}

/* A mean over the image makes tiles differ; one tile does not. */
static void test_networks_that_see_everything(void **state) {
    (void)state;
    picture p;
    open_picture(&p,
                 dukd_test_net("RCAN",
                               "num_in_ch=3 num_out_ch=3 num_feat=8 num_group=1 num_block=1 squeeze_factor=2 "
                               "upscale=2"),
                 20, 30);
    dukd_tile_options cut = options_of(&p, 16, -1), one = options_of(&p, 30, -1);
    assert_int_equal(dukd_tiles_differ(p.g, p.h, p.w, &cut), 1);
    assert_int_equal(dukd_tiles_differ(p.g, p.h, p.w, &one), 0);
    run(&p, 30, -1);
    assert_int_equal(p.reads, 1);
    check(&p, "whole");
    run(&p, 16, -1); /* the default margin is finite: every pixel is there */
    for (int64_t i = 0; i < (int64_t)3 * p.h * p.w * 4; i++) assert_true(isfinite(p.output[i]));
    close_picture(&p);
}

static void test_axis(void **state) {
    (void)state;
    for (int32_t size = 1; size < 70; size++)
        for (int32_t tile = 1; tile < 40; tile += 3)
            for (int32_t multiple = 1; multiple <= 8; multiple += 7)
                for (int32_t overlap = 0; overlap < 20; overlap += 9) {
                    dukd_tile_axis a = dukd_tile_axis_cut(size, tile, overlap, multiple);
                    assert_true(a.size >= size && a.size < size + multiple && a.size % multiple == 0);
                    assert_true(a.inner % multiple == 0 && a.window % multiple == 0 && a.window <= a.size);
                    assert_true(a.inner < tile + multiple && (size > tile || a.count == 1));
                    assert_true((int64_t)a.count * a.inner >= size &&
                                (int64_t)(a.count - 1) * a.inner < size);
                    assert_true(a.window == a.size || a.window >= a.inner + 2 * overlap);
                }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_axis),
        cmocka_unit_test(test_images_are_continued),
        cmocka_unit_test(test_tiles_with_windows),
        cmocka_unit_test(test_networks_that_see_everything),
    };
    return cmocka_run_group_tests_name("tiles", tests, NULL, NULL);
}
