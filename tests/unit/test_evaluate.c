/* Evaluation: the numbers of a network on images, against the engine, the metrics and the eight orientations put together by hand. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "data_fixture.h"
#include "support/edsr_net.h"
#include "support/graph_ref.h"
#include "train/evaluate.h"
#include "train/weights.h"

enum { SCALE = 2 };

typedef struct {
    dukd_graph *g, *teacher;
    float *w, *tw;
    dukd_engine *engine;
    dukd_run_metric metrics[2];
    dukd_evaluate_options o;
} fixture;

static void open_fixture(fixture *t) {
    memset(t, 0, sizeof *t);
    t->g = dukd_edsr_net(4, 1, SCALE, 0.1);
    t->teacher = dukd_edsr_net(6, 2, SCALE, 0.1);
    t->w = dukd_weights_alloc(dukd_graph_weights(t->g));
    t->tw = dukd_weights_alloc(dukd_graph_weights(t->teacher));
    dukd_graph_init(t->g, 1, t->w);
    dukd_graph_init(t->teacher, 2, t->tw);
    assert_int_equal(dukd_engine_create(&t->engine, "onednn", 1, NULL), 0);
    t->metrics[0] = (dukd_run_metric){.name = "psnr", .kind = DUKD_METRIC_PSNR, .options = {2, 1}};
    t->metrics[1] = (dukd_run_metric){.name = "ssim", .kind = DUKD_METRIC_SSIM, .options = {2, 1}};
    t->o = (dukd_evaluate_options){
        .engine = t->engine, .graph = t->g, .weights = t->w, .metrics = t->metrics, .metric_count = 2};
}

static void close_fixture(fixture *t) {
    dukd_engine_destroy(t->engine);
    dukd_graph_destroy(t->g);
    dukd_graph_destroy(t->teacher);
    free(t->w);
    free(t->tw);
}

/* HR images of width 2w, height 2h; LR is made on the fly. */
static dukd_dataset *make_set(int count, int32_t w, int32_t h, int32_t grow, int32_t depth) {
    for (int i = 0; i < count; i++) {
        char name[64];
        snprintf(name, sizeof name, "hr/im%02d.png", i);
        data_png(data_path(name), SCALE * (w + i * grow), SCALE * (h + i), depth, (uint64_t)i + 1);
    }
    const dukd_dataset_options o = {.dataroot_gt = data_path("hr"), .scale = SCALE};
    return data_open(&o);
}

/* The network's output for `planes` in double, as floats. */
static float *run_ref(const dukd_graph *g, const float *w, const float *planes, int32_t width,
                      int32_t height) {
    dukd_graph_ref *r = dukd_graph_ref_run(g, w, 1, height, width, planes);
    const dukd_value out = dukd_graph_output(g);
    const int64_t size = dukd_graph_ref_count(r, out);
    float *planes_out = malloc((size_t)size * sizeof *planes_out);
    assert_non_null(planes_out);
    for (int64_t i = 0; i < size; i++) planes_out[i] = (float)dukd_graph_ref_value(r, out)[i];
    dukd_graph_ref_free(r);
    return planes_out;
}

/* One of the eight: way 0..3 quarter turns counter-clockwise, 4..7 the same after a left-right flip. */
static void orient(const float *in, int32_t w, int32_t h, int way, float *out) {
    const int32_t tw = way & 1 ? h : w, th = way & 1 ? w : h;
    for (int c = 0; c < 3; c++)
        for (int32_t y = 0; y < th; y++)
            for (int32_t x = 0; x < tw; x++) {
                int32_t sy = y, sx = x;
                if ((way & 3) == 1) sy = x, sx = w - 1 - y;
                if ((way & 3) == 2) sy = h - 1 - y, sx = w - 1 - x;
                if ((way & 3) == 3) sy = h - 1 - x, sx = y;
                if (way & 4) sx = w - 1 - sx;
                out[((int64_t)c * th + y) * tw + x] = in[((int64_t)c * h + sy) * w + sx];
            }
}

static float *ensemble_ref(const fixture *t, const float *planes, int32_t w, int32_t h) {
    const int64_t in = (int64_t)3 * w * h, out = in * SCALE * SCALE;
    float *turned = malloc((size_t)in * sizeof *turned), *sum = calloc((size_t)out, sizeof *sum);
    assert_true(turned && sum);
    for (int way = 0; way < 8; way++) {
        const int32_t tw = way & 1 ? h : w, th = way & 1 ? w : h;
        orient(planes, w, h, way, turned);
        float *y = run_ref(t->g, t->w, turned, tw, th);
        /* undone: where the pixel came from is where it goes */
        float *index = malloc((size_t)out * sizeof *index), *places = malloc((size_t)out * sizeof *places);
        assert_true(index && places);
        for (int64_t i = 0; i < out; i++) index[i] = (float)i;
        orient(index, SCALE * w, SCALE * h, way, places);
        for (int64_t i = 0; i < out; i++) sum[(int64_t)places[i]] += y[i];
        free(index);
        free(places);
        free(y);
    }
    for (int64_t i = 0; i < out; i++) sum[i] /= 8;
    free(turned);
    return sum;
}

static void metrics_of(const float *planes, const dukd_image *hr, double values[2], dukd_image *image) {
    const dukd_metric_options o = {2, 1};
    assert_int_equal(dukd_image_from_planes(planes, hr->width, hr->height, image, NULL), 0);
    assert_int_equal(dukd_metric_psnr(image, hr, o, &values[0], NULL), 0);
    assert_int_equal(dukd_metric_ssim(image, hr, o, &values[1], NULL), 0);
}

/* One pixel that rounds the other way is 1e-3 dB on images this small. */
static void near(double got, double want) {
    if (!(fabs(got - want) < 2e-3)) fail_msg("%.8f, not %.8f", got, want);
}

static void numbers_of_an_image(void **state) {
    (void)state;
    fixture t;
    dukd_evaluation e;
    dukd_failure f = {0};
    open_fixture(&t);
    dukd_dataset *set = make_set(2, 14, 11, 0, 8);
    t.o.teacher_graph = t.teacher;
    t.o.teacher_weights = t.tw;
    t.o.self_ensemble = 1;
    if (dukd_evaluate(&e, &t.o, set, &f)) fail_msg("%s", f.message);
    assert_int_equal(e.count, 2);
    double mean[2] = {0};
    for (int64_t i = 0; i < 2; i++) {
        dukd_image lr, hr, s = {0}, x8 = {0}, teacher = {0};
        double values[2];
        assert_int_equal(dukd_dataset_read(set, i, &lr, &hr, NULL), 0);
        float *planes = malloc((size_t)lr.width * (size_t)lr.height * 3 * sizeof *planes);
        assert_non_null(planes);
        dukd_image_to_planes(&lr, planes);
        float *out = run_ref(t.g, t.w, planes, lr.width, lr.height);
        metrics_of(out, &hr, values, &s);
        for (int m = 0; m < 2; m++) {
            near(e.images[i].plain[m], values[m]);
            mean[m] += e.images[i].plain[m] / 2;
        }
        free(out);
        out = ensemble_ref(&t, planes, lr.width, lr.height);
        metrics_of(out, &hr, values, &x8);
        for (int m = 0; m < 2; m++) near(e.images[i].ensemble[m], values[m]);
        assert_true(e.images[i].ensemble[0] != e.images[i].plain[0]);
        free(out);
        out = run_ref(t.teacher, t.tw, planes, lr.width, lr.height);
        metrics_of(out, &hr, values, &teacher);
        for (int m = 0; m < 2; m++) near(e.images[i].teacher[m], values[m]);
        assert_int_equal(dukd_metric_psnr(&s, &teacher, (dukd_metric_options){2, 1}, &values[0], NULL), 0);
        near(e.images[i].agreement[0], values[0]);
        free(out);
        free(planes);
        dukd_image_free(&lr);
        dukd_image_free(&hr);
        dukd_image_free(&s);
        dukd_image_free(&x8);
        dukd_image_free(&teacher);
    }
    assert_string_equal(e.images[0].name, "im00");
    assert_true(fabs(e.mean.plain[0] - mean[0]) < 1e-12 && fabs(e.mean.plain[1] - mean[1]) < 1e-12);
    dukd_evaluation_free(&e);
    dukd_dataset_close(set);
    close_fixture(&t);
}

static void what_is_not_asked_for_is_nan(void **state) {
    (void)state;
    fixture t;
    dukd_evaluation e;
    open_fixture(&t);
    dukd_dataset *set = make_set(1, 14, 12, 0, 8);
    t.o.metric_count = 1;
    assert_int_equal(dukd_evaluate(&e, &t.o, set, NULL), 0);
    assert_false(isnan(e.mean.plain[0]));
    assert_true(isnan(e.mean.plain[1]) && isnan(e.mean.ensemble[0]) && isnan(e.mean.teacher[0]) &&
                isnan(e.mean.agreement[0]));
    dukd_evaluation_free(&e);
    dukd_dataset_close(set);
    close_fixture(&t);
}

/* More shapes than plans are kept for: the same numbers as one by one. */
static void many_shapes(void **state) {
    (void)state;
    fixture t;
    dukd_evaluation e;
    open_fixture(&t);
    dukd_dataset *set = make_set(20, 14, 12, 1, 8);
    assert_int_equal(dukd_evaluate(&e, &t.o, set, NULL), 0);
    for (int64_t i = 0; i < 20; i++) {
        char name[64], alone[64];
        snprintf(name, sizeof name, "hr/im%02d.png", (int)i);
        snprintf(alone, sizeof alone, "alone%02d/im%02d.png", (int)i, (int)i);
        assert_int_equal(rename(data_path(name), data_path(alone)), 0);
        snprintf(alone, sizeof alone, "alone%02d", (int)i);
        const dukd_dataset_options o = {.dataroot_gt = data_path(alone), .scale = SCALE};
        dukd_dataset *single = data_open(&o);
        dukd_evaluation one;
        assert_int_equal(dukd_evaluate(&one, &t.o, single, NULL), 0);
        assert_true(one.images[0].plain[0] == e.images[i].plain[0] &&
                    one.images[0].plain[1] == e.images[i].plain[1]);
        dukd_evaluation_free(&one);
        dukd_dataset_close(single);
    }
    dukd_evaluation_free(&e);
    dukd_dataset_close(set);
    close_fixture(&t);
}

static void images_are_saved(void **state) {
    (void)state;
    fixture t;
    dukd_evaluation e;
    dukd_image image, lr, hr;
    double psnr;
    open_fixture(&t);
    dukd_dataset *set = make_set(1, 14, 12, 0, 8);
    data_path("out/x");
    t.o.image_folder = data_path("out");
    t.o.image_suffix = "500";
    t.o.self_ensemble = 1;
    assert_int_equal(dukd_evaluate(&e, &t.o, set, NULL), 0);
    assert_int_equal(dukd_image_read(data_path("out/im00_500.png"), &image, NULL), 0);
    assert_int_equal(dukd_dataset_read(set, 0, &lr, &hr, NULL), 0);
    assert_int_equal(dukd_metric_psnr(&image, &hr, t.metrics[0].options, &psnr, NULL), 0);
    assert_true(psnr == e.images[0].plain[0]);
    dukd_image_free(&image);
    assert_int_equal(dukd_image_read(data_path("out/im00_500_x8.png"), &image, NULL), 0);
    assert_int_equal(dukd_metric_psnr(&image, &hr, t.metrics[0].options, &psnr, NULL), 0);
    assert_true(psnr == e.images[0].ensemble[0]);
    dukd_image_free(&image);
    dukd_image_free(&lr);
    dukd_image_free(&hr);
    dukd_evaluation_free(&e);
    dukd_dataset_close(set);
    close_fixture(&t);
}

static void sixteen_bits(void **state) {
    (void)state;
    fixture t;
    dukd_evaluation e;
    open_fixture(&t);
    dukd_dataset *set = make_set(1, 14, 12, 0, 16);
    assert_int_equal(dukd_evaluate(&e, &t.o, set, NULL), 0);
    assert_true(isfinite(e.mean.plain[0]));
    dukd_evaluation_free(&e);
    dukd_dataset_close(set);
    close_fixture(&t);
}

static int stop_after_two(void *ctx, int64_t done, int64_t count, const dukd_evaluated_image *image) {
    assert_true(count == 4 && image->name);
    *(int64_t *)ctx = done;
    return done == 2;
}

static void it_can_be_stopped(void **state) {
    (void)state;
    fixture t;
    dukd_evaluation e;
    dukd_failure f = {0};
    int64_t done = 0;
    open_fixture(&t);
    dukd_dataset *set = make_set(4, 14, 12, 0, 8);
    t.o.on_image = stop_after_two;
    t.o.ctx = &done;
    assert_int_equal(dukd_evaluate(&e, &t.o, set, &f), DUKD_FAILED);
    assert_int_equal(done, 2);
    assert_string_equal(f.message, "interrupted");
    dukd_dataset_close(set);
    close_fixture(&t);
}

static void refused(void **state) {
    (void)state;
    fixture t;
    dukd_evaluation e;
    dukd_failure f = {0};
    open_fixture(&t);
    dukd_dataset *set = make_set(1, 14, 12, 0, 8);
    dukd_graph *other = dukd_edsr_net(4, 1, 3, 0.1);
    t.o.graph = other;
    assert_int_equal(dukd_evaluate(&e, &t.o, set, &f), DUKD_MISUSED);
    assert_non_null(strstr(f.message, "3 times"));
    dukd_graph_destroy(other);
    memset(&f, 0, sizeof f);
    t.o.graph = t.g;
    t.metrics[0].options.crop_border = 12;
    assert_int_not_equal(dukd_evaluate(&e, &t.o, set, &f), 0); /* the border leaves nothing */
    assert_true(f.message[0] != 0);
    dukd_dataset_close(set);
    close_fixture(&t);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, data_setup, data_teardown)
    const struct CMUnitTest tests[] = {
        TEST(numbers_of_an_image),
        TEST(what_is_not_asked_for_is_nan),
        TEST(many_shapes),
        TEST(images_are_saved),
        TEST(sixteen_bits),
        TEST(it_can_be_stopped),
        TEST(refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
