/* Whole sessions on the CUDA backend give what they give on the CPU: images, gradients, losses, in all modes, types, strides
 * and at sizes about those of a block. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cuda_fixture.h"

#define OFFICIAL "model_type=DUKD", "train.pixel_opt.type=L1Loss", "train.kd_opt.type=L1Loss"
#define ALWAYS                                                                                               \
    "train.augment.hflip=0.5", "train.augment.vflip=0.5", "train.augment.rot90=0.6",                         \
        "train.augment.invert=0.5"

static const dukd_plugin *plugin;

typedef struct {
    const char *name;
    const char *const *options;
    int64_t n, h, w; /* of LR */
    int32_t scale;
    int steps;
} way;

typedef void (*change)(fixture *f);

/* tolerance 0: the same bits */
static void compare_both(const way *w, change set, double tolerance, const char *name) {
    fixture f;
    fixture_device device;
    cuda_record cpu, cuda;
    cudaStream_t stream;
    char what[128];
    CUDA_OK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    for (int on_cuda = 0; on_cuda < 2; on_cuda++) {
        fixture_init(&f);
        f.plugin = plugin;
        f.n = w->n;
        f.h = w->h;
        f.w = w->w;
        f.scale = w->scale;
        if (set != NULL) set(&f);
        if (on_cuda) {
            cuda_fixture_device(&device, stream);
            f.device = &device;
        }
        cuda_run(&f, w->options, w->steps, on_cuda ? &cuda : &cpu);
    }
    snprintf(what, sizeof what, "%s %s", w->name, name);
    if (tolerance > 0) {
        cuda_assert_close(&cpu, &cuda, tolerance, 2e-6, what);
    } else {
        cuda_assert_same(&cpu, &cuda, what);
    }
    cuda_record_free(&cpu);
    cuda_record_free(&cuda);
    CUDA_OK(cudaStreamDestroy(stream));
}

static void run_both(const way *w, change set, const char *name) {
    compare_both(w, set, 0, name);
}

/* ---------------------------------------------------------------- modes and sizes */

static void every_mode_gives_what_the_cpu_gives(void **state) {
    (void)state;
    const way ways[] = {
        {"paper", OPTIONS(ALWAYS), 5, 8, 8, 2, 4},
        {"weights", OPTIONS(ALWAYS, "train.w_rec=0.5", "train.w_kd=2", "train.w_dukd=0.3"), 2, 12, 12, 3, 2},
        {"grid", OPTIONS(ALWAYS, "train.zoom_in=grid", "train.zoom_in_count=3"), 3, 8, 8, 2, 3},
        {"crops", OPTIONS(ALWAYS, "train.zoom_in_count=2"), 3, 9, 9, 3, 2},
        {"hardest", OPTIONS(ALWAYS, "train.zoom_in=hardest"), 4, 10, 10, 2, 4},
        {"no zoom out", OPTIONS(ALWAYS, "train.zoom_out=false"), 2, 7, 7, 4, 2},
        {"kd", OPTIONS("train.terms=[rec, kd]"), 2, 8, 8, 2, 2},
        {"kd alone", OPTIONS("train.terms=[kd]"), 2, 8, 8, 2, 1},
        {"rec", OPTIONS("train.terms=[rec]"), 2, 8, 8, 2, 1},
        {"dukd", OPTIONS("train.terms=[dukd]", ALWAYS), 2, 8, 8, 2, 1},
        {"official", OPTIONS(OFFICIAL, "train.noisy.prob=0.5", "train.dukd_opt.zoom_out=true"), 5, 8, 8, 2,
         4},
        {"official tiles", OPTIONS(OFFICIAL, "train.noisy.prob=0.5", "train.dukd_opt.n_gt_sub=[3]"), 2, 8, 8,
         2, 2},
        {"official off", OPTIONS(OFFICIAL), 2, 8, 8, 2, 1},
    };
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) run_both(&ways[i], NULL, "");
}

/* Blocks are 32 x 32 pixels of a tap, 32 pixels of a zoomed-out row, 64 columns and 128 rows of the hardest. */
static void sizes_about_a_block(void **state) {
    (void)state;
    static const int64_t sides[] = {1, 2, 15, 16, 17, 31, 33};
    for (size_t i = 0; i < sizeof sides / sizeof *sides; i++) {
        const way square = {"square", OPTIONS(ALWAYS), 2, sides[i], sides[i], 2, 2};
        run_both(&square, NULL, "");
    }
    const way others[] = {
        {"tall", OPTIONS("train.augment.rot90=0", "train.augment.hflip=0.5", "train.augment.invert=0.5"), 2,
         40, 5, 2, 2},
        {"wide", OPTIONS("train.augment.rot90=0", "train.augment.vflip=0.5", "train.augment.invert=0.5"), 2,
         3, 70, 2, 2},
        {"scale 1", OPTIONS(ALWAYS), 1, 33, 33, 1, 1},
        {"scale 3", OPTIONS(ALWAYS), 1, 35, 35, 3, 1},
        {"scale 8", OPTIONS(ALWAYS, "train.zoom_in=hardest"), 1, 9, 9, 8, 1},
        {"wide zoom out", OPTIONS("train.augment.rot90=0", "train.zoom_in=hardest"), 1, 4, 132, 2, 1},
        {"tall hardest", OPTIONS("train.augment.rot90=0", "train.zoom_in=hardest"), 1, 133, 4, 2, 1},
        {"large scale", OPTIONS(ALWAYS), 1, 2, 2, 64, 1},
    };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) run_both(&others[i], NULL, "");
}

/* More images than one launch of choices carries. */
static void large_batches(void **state) {
    (void)state;
    const way many = {"many images", OPTIONS(ALWAYS, "train.zoom_in_count=2"), 90, 2, 2, 2, 2};
    run_both(&many, NULL, "");
}

/* ---------------------------------------------------------------- types, strides */

static dukd_dtype batch_type, tap_type, grad_type;
static fixture_layout tap_layout, batch_layout;
static uint32_t grad_layout_after;

static void set_types(fixture *f) {
    f->dtype = batch_type;
    f->tap_dtype = tap_type;
    f->grad_dtype = grad_type;
    f->tap_layout = tap_layout;
    f->batch_layout = batch_layout;
    f->grad_layout_after = grad_layout_after;
}

static void every_type(void **state) {
    (void)state;
    const dukd_dtype types[] = {fixture_f32, fixture_f16, fixture_bf16};
    const way w = {"types", OPTIONS(ALWAYS), 3, 9, 9, 2, 1},
              hardest = {"types", OPTIONS("train.zoom_in=hardest"), 2, 8, 8, 2, 1};
    tap_layout = batch_layout = LAYOUT_DENSE;
    for (int batch = 0; batch < 3; batch++) {
        for (int tap = 0; tap < 3; tap++) {
            for (int full = 0; full < 2; full++) {
                char name[64];
                batch_type = types[batch];
                tap_type = types[tap];
                grad_type = full ? fixture_f32 : types[tap];
                snprintf(name, sizeof name, "batch %d, tap %d, %s gradient", batch, tap,
                         full ? "f32" : "the tap's");
                run_both(&w, set_types, name);
                if (full) run_both(&hardest, set_types, name);
            }
        }
    }
}

static void any_strides(void **state) {
    (void)state;
    const way w = {"layouts", OPTIONS(ALWAYS, "train.zoom_in=hardest"), 3, 9, 9, 2, 1};
    for (int type = 0; type < 2; type++) {
        batch_type = tap_type = grad_type = type == 0 ? fixture_f32 : fixture_bf16;
        for (int tap = 0; tap < LAYOUTS; tap++) {
            for (int batch = 0; batch < LAYOUTS; batch++) {
                char name[64];
                tap_layout = (fixture_layout)tap;
                batch_layout = (fixture_layout)batch;
                grad_layout_after = (uint32_t)(tap + batch) % LAYOUTS;
                snprintf(name, sizeof name, "tap %d, batch %d", tap, batch);
                run_both(&w, set_types, name);
            }
        }
    }
}

/* ---------------------------------------------------------------- micro-batches, scaling, what is not finite */

static void set_micro(fixture *f) {
    f->micro_count = 3;
}

static void set_scaled(fixture *f) {
    f->flags = DUKD_SESSION_LOSS_SCALE;
    f->grad_scale = 1024;
}

static void set_nan(fixture *f) {
    f->net[FIXTURE_STUDENT].b = NAN;
}

static void set_inf(fixture *f) {
    f->net[FIXTURE_TEACHER].w = INFINITY;
}

/* All windows that have the spot are alike: the first row of them is not the first row of the first thread. */
static void set_spot(fixture *f) {
    f->net[FIXTURE_TEACHER] = (fixture_net){0, 0};
    f->spot.on = f->spot.alone = true;
    f->spot.row = 140;
    f->spot.col = 5;
    f->spot.value = 0.5;
}

/* Its windows are the hardest, and no sum that it was in is believed. */
static void set_nan_pixel(fixture *f) {
    f->spot.on = true;
    f->spot.row = 11;
    f->spot.col = 13;
    f->spot.value = NAN;
}

static void set_own_memory(fixture *f) {
    f->own_memory = false;
}

static void what_a_host_can_ask_for(void **state) {
    (void)state;
    const way w = {"paper", OPTIONS(ALWAYS), 2, 8, 8, 2, 2},
              hardest = {"hardest", OPTIONS("train.zoom_in=hardest"), 2, 8, 8, 2, 2};
    run_both(&w, set_micro, "in micro-batches");
    run_both(&hardest, set_micro, "in micro-batches");
    run_both(&w, set_scaled, "scaled");
    run_both(&w, set_nan, "with NaN");
    run_both(&hardest, set_nan, "with NaN");
    run_both(&w, set_inf, "with Inf");
    run_both(&hardest, set_inf, "with Inf");
    run_both(&hardest, set_own_memory, "in its own memory");
    const way tall = {"ties", OPTIONS("train.augment.rot90=0", "train.zoom_in=hardest"), 1, 133, 4, 2, 1};
    run_both(&tall, set_spot, "of the hardest");
    run_both(&hardest, set_nan_pixel, "with one NaN");
}

/* A scale on the device multiplies gradients, not losses. */
static void a_scale_on_the_device(void **state) {
    (void)state;
    const float scale = 4096;
    fixture f;
    fixture_device device;
    cuda_record given, read;
    cudaStream_t stream;
    CUDA_OK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    cuda_fixture_device(&device, stream);
    dukd_tensor t = {.data = device.take(sizeof scale), .device = device.id, .dtype = fixture_f32};
    device.up(stream, t.data, &scale, sizeof scale);
    for (int on_device = 0; on_device < 2; on_device++) {
        fixture_init(&f);
        f.plugin = plugin;
        f.device = &device;
        f.flags = DUKD_SESSION_LOSS_SCALE;
        f.grad_scale = on_device ? 1 : scale;
        f.grad_scale_dev = on_device ? &t : NULL;
        cuda_run(&f,
                 OPTIONS("train.terms=[rec, kd, dukd, fakd, csd]", ALWAYS, "train.fakd.layers=[1]",
                         "train.csd.layers=[a]", "train.csd.layer_weights=[1]"),
                 1, on_device ? &read : &given);
    }
    cuda_assert_same(&given, &read, "scale");
    cuda_record_free(&given);
    cuda_record_free(&read);
    device.give_back(t.data);
    CUDA_OK(cudaStreamDestroy(stream));
}

/* The losses of the last step that was ended stay, whatever is given up after it. */
static void a_step_that_is_given_up_leaves_the_losses(void **state) {
    (void)state;
    fixture f;
    fixture_device device;
    const dukd_pass *pass;
    cudaStream_t stream;
    CUDA_OK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    cuda_fixture_device(&device, stream);
    fixture_init(&f);
    f.plugin = plugin;
    f.device = &device;
    fixture_must_open(&f, OPTIONS(ALWAYS));
    for (int i = 1; i < 4; i++) {
        double was;
        fixture_step(&f, i, 2 * i, 0);
        fixture_batch(&f, 50);
        assert_int_equal(fixture_begin(&f, i + 1, 50, 0), DUKD_OK);
        assert_int_equal(plugin->next_pass(f.session, &pass, &f.error), DUKD_OK);
        assert_int_equal(fixture_submit(&f, pass), DUKD_OK);
        assert_int_equal(plugin->cancel_step(f.session, &f.error), DUKD_OK);
        was = fixture_loss(&f, "l_rec");
        assert_true(was > 0);
        /* the same step alone, in another session */
        fixture other;
        fixture_init(&other);
        other.plugin = plugin;
        fixture_must_open(&other, OPTIONS(ALWAYS));
        for (int k = 1; k <= i; k++) fixture_step(&other, k, 2 * k, 0);
        assert_true(fabs(fixture_loss(&other, "l_rec") - was) <= 1e-12 * was);
        fixture_close(&other);
    }
    fixture_close(&f);
    CUDA_OK(cudaStreamDestroy(stream));
}

/* ---------------------------------------------------------------- losses on features */

#define LAYERS "train.fakd.layers=[conv_first, 2]"
#define CSD    "train.csd.layers=[a, b]", "train.csd.layer_weights=[1, 0.5]"

static void set_features_types(fixture *f) {
    set_types(f);
    f->micro_count = 2;
    f->flags = DUKD_SESSION_LOSS_SCALE;
    f->grad_scale = 256;
}

static void set_identical(fixture *f) {
    f->net[FIXTURE_TEACHER] = f->net[FIXTURE_STUDENT]; /* maps alike: all signs are 0 */
    f->rate = 0;
}

/* 5e-6 of the largest element in f32: what test_cuda_features says of affinity. In 16 bits one of their units. */
static void losses_on_features(void **state) {
    (void)state;
    const way ways[] = {
        {"fakd", OPTIONS("train.terms=[fakd]", LAYERS), 2, 8, 8, 2, 3},
        {"fakd alone", OPTIONS("train.terms=[fakd]", LAYERS, "train.w_rec=0", "train.w_kd=0"), 1, 9, 5, 3, 1},
        {"fakd and dukd", OPTIONS("train.terms=[rec, kd, dukd, fakd]", LAYERS, "train.zoom_in=hardest"), 2,
         10, 10, 2, 2},
        {"official fakd",
         OPTIONS("model_type=FAKD", "train.feature_opt.type=L1Loss", "train.feature_opt.loss_weight=10",
                 "train.feature_distillation.type=SA",
                 "train.feature_distillation.positions=[conv_first, 10]", "train.kd_opt.type=L1Loss"),
         2, 8, 8, 2, 2},
        {"large fakd", OPTIONS("train.terms=[fakd]", LAYERS), 1, 19, 20, 2, 1},
        {"csd", OPTIONS("train.terms=[csd]", CSD), 3, 8, 8, 2, 3},
        {"csd, both gradients", OPTIONS("train.terms=[csd]", CSD, "train.csd.detach_teacher=false"), 2, 7, 9,
         3, 1},
        {"csd, two negatives", OPTIONS("train.terms=[rec, kd, csd]", CSD, "train.csd.negatives=2"), 4, 5, 5,
         4, 1},
        {"all", OPTIONS("train.terms=[rec, kd, dukd, fakd, csd]", LAYERS, CSD, ALWAYS), 3, 8, 8, 2, 2},
    };
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) compare_both(&ways[i], NULL, 5e-6, "");
    const dukd_dtype types[] = {fixture_f32, fixture_f16, fixture_bf16};
    for (int k = 0; k < 3 * LAYOUTS; k++) {
        char name[64];
        batch_type = types[k / LAYOUTS];
        tap_type = types[k % 3];
        grad_type = k % 2 == 0 ? fixture_f32 : tap_type;
        tap_layout = (fixture_layout)(k % LAYOUTS);
        batch_layout = (fixture_layout)(k / 2 % LAYOUTS);
        grad_layout_after = (uint32_t)k / 3 % LAYOUTS;
        snprintf(name, sizeof name, "types and layouts %d", k);
        compare_both(&ways[8], set_features_types, grad_type.bits == 32 ? 5e-6 : 0x1p-7, name);
    }
    compare_both(&ways[0], set_nan, 5e-6, "with NaN");
    compare_both(&ways[5], set_nan, 5e-6, "with NaN");
    compare_both(&ways[8], set_identical, 5e-6, "of twins");
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_mode_gives_what_the_cpu_gives),
        cmocka_unit_test(sizes_about_a_block),
        cmocka_unit_test(large_batches),
        cmocka_unit_test(every_type),
        cmocka_unit_test(any_strides),
        cmocka_unit_test(what_a_host_can_ask_for),
        cmocka_unit_test(a_scale_on_the_device),
        cmocka_unit_test(losses_on_features),
        cmocka_unit_test(a_step_that_is_given_up_leaves_the_losses),
    };
    plugin = cuda_open_plugin(argc, argv);
    return cmocka_run_group_tests_name("cuda_session", tests, NULL, NULL);
}
