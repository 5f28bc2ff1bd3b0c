/* FAKD and CSD in a session: which passes, inputs and taps a step has, what is in the losses, which options do not go together,
 * what is asked of the host. (What the backend computes: tests/kernels. That gradients are derivatives: dukd-conform.) */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "session_fixture.h"

#define LAYERS "train.fakd.layers=[conv_first, 2]"
#define FAKD                                                                                                 \
    "model_type=FAKD", "train.feature_opt.type=L1Loss", "train.feature_opt.loss_weight=10",                  \
        "train.feature_distillation.type=SA"

/* ---------------------------------------------------------------- taps */

/* "student:conv_first<0 grad train" and so on: network, layer, source (t3: tap 3; 0: input 0), flags */
static void describe(const fixture *f, const dukd_tap *tap, char *room, size_t size) {
    const uint32_t known = DUKD_TAP_WANT_GRAD | DUKD_TAP_MODE_TRAIN;
    assert_int_equal(tap->flags & ~known, 0);
    assert_null(tap->from_layer);
    snprintf(room, size, "%s%s%s<%s%u%s%s", f->networks[tap->network], tap->layer != NULL ? ":" : "",
             tap->layer != NULL ? tap->layer : "", tap->source_kind == DUKD_SOURCE_TAP ? "t" : "",
             tap->source_id, (tap->flags & DUKD_TAP_WANT_GRAD) != 0 ? " grad" : "",
             (tap->flags & DUKD_TAP_MODE_TRAIN) != 0 ? " train" : "");
}

static void expect_taps(const char *const *options, uint32_t passes, const char *const *taps) {
    fixture f;
    const dukd_plan *plan = NULL;
    fixture_init(&f);
    fixture_must_open(&f, options);
    assert_int_equal(f.plugin->get_plan(f.session, &plan, &f.error), DUKD_OK);
    assert_int_equal(plan->n_passes, passes);
    const dukd_pass *pass = plan->passes[0];
    uint32_t n = 0;
    for (; taps[n] != NULL; n++) {
        char text[128];
        assert_true(n < pass->n_taps);
        describe(&f, pass->taps[n], text, sizeof text);
        assert_string_equal(text, taps[n]);
    }
    assert_int_equal(pass->n_taps, n);
    fixture_step(&f, 1, 0, 0); /* and such a step runs */
    fixture_close(&f);
}
#define TAPS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void taps(void **state) {
    (void)state;
    expect_taps(OPTIONS("train.terms=[fakd]", LAYERS), 1,
                TAPS("teacher<0", "student<0 grad train", "student:conv_first<0 grad train",
                     "teacher:conv_first<0", "student:body.2<0 grad train", "teacher:body.2<0"));
    expect_taps(OPTIONS("train.terms=[fakd]", LAYERS, "train.fakd.teacher_layers=[7, tail]", "train.w_kd=0",
                        "train.w_rec=0", "train.teacher_mode=train"),
                1,
                TAPS("student:conv_first<0 grad train", "teacher:body.7<0 train",
                     "student:body.2<0 grad train", "teacher:tail<0 train"));
    expect_taps(OPTIONS("train.terms=[dukd, fakd]", LAYERS, "train.w_fakd=0"), 3,
                TAPS("teacher<0", "student<0 grad train"));
    expect_taps(
        OPTIONS(FAKD, "train.feature_distillation.positions=[conv_first, 10]", "train.kd_opt.type=L1Loss"), 1,
        TAPS("teacher<0 train", "student<0 grad train", "student:conv_first<0 grad train",
             "teacher:conv_first<0 train", "student:body.10<0 grad train", "teacher:body.10<0 train"));
    expect_taps(OPTIONS(FAKD, "train.feature_distillation.positions.g=[1]",
                        "train.feature_distillation.positions.t=[8]"),
                1, TAPS("student:body.1<0 grad train", "teacher:body.8<0 train"));
    expect_taps(OPTIONS("train.terms=[csd]", "train.csd.layers=[a, b]", "train.csd.layer_weights=[1, 2]"), 1,
                TAPS("teacher<0 grad train", "student<0 grad train", "features:a<t1 grad",
                     "features:b<t1 grad", "features:a<t0", "features:b<t0", "features:a<1", "features:b<1"));
    /* what kd holds fixed is a tap of its own; a layer of weight 0 is none */
    expect_taps(OPTIONS("train.terms=[rec, kd, dukd, csd]", "train.csd.layers=[a, b]",
                        "train.csd.layer_weights=[0, 2]", "train.csd.detach_teacher=false"),
                3,
                TAPS("teacher<0 train", "teacher<0 grad train", "student<0 grad train", "features:b<t2 grad",
                     "features:b<t1 grad", "features:b<1"));
    /* nobody trains the teacher: one tap */
    expect_taps(
        OPTIONS("train.terms=[rec, kd, csd]", "train.csd.layers=[a]", "train.csd.layer_weights=[1]",
                "train.w_csd_teacher=0"),
        1, TAPS("teacher<0", "student<0 grad train", "features:a<t1 grad", "features:a<t0", "features:a<1"));
    expect_taps(OPTIONS("train.terms=[csd]", "train.w_csd=0"), 1,
                TAPS("teacher<0 grad train", "student<0 grad train"));
}

/* ---------------------------------------------------------------- losses */

/* mean |A_S - A_T| in double */
static double affinity(const dukd_tensor *s, const dukd_tensor *t) {
    enum { MOST = 64 };
    double sum = 0;
    const dukd_tensor *maps[2] = {s, t};
    const int64_t w = s->shape[3], pixels = s->shape[2] * w;
    assert_true(pixels <= MOST);
    for (int64_t n = 0; n < s->shape[0]; n++) {
        double a[2][MOST][MOST], norm[2][MOST];
        for (int m = 0; m < 2; m++) {
            for (int64_t p = 0; p < pixels; p++) {
                norm[m][p] = 0;
                for (int64_t c = 0; c < maps[m]->shape[1]; c++) {
                    const double x = fixture_get(maps[m], n, c, p / w, p % w);
                    norm[m][p] += x * x;
                }
                norm[m][p] = sqrt(norm[m][p]) + 1e-8;
            }
            for (int64_t p = 0; p < pixels; p++) {
                for (int64_t q = 0; q < pixels; q++) {
                    a[m][p][q] = 0;
                    for (int64_t c = 0; c < maps[m]->shape[1]; c++)
                        a[m][p][q] += fixture_get(maps[m], n, c, p / w, p % w) *
                                      fixture_get(maps[m], n, c, q / w, q % w);
                    a[m][p][q] /= norm[m][p] * norm[m][q];
                }
            }
        }
        for (int64_t p = 0; p < pixels; p++)
            for (int64_t q = 0; q < pixels; q++) sum += fabs(a[0][p][q] - a[1][p][q]);
    }
    return sum / (double)(s->shape[0] * pixels * pixels);
}

/* mean |a_k - b_n| over all pairs of images, or over the same ones */
static double distance(const dukd_tensor *a, const dukd_tensor *b, bool pairs) {
    double sum = 0, count = 0;
    for (int64_t k = 0; k < a->shape[0]; k++) {
        EACH_ELEMENT(b, n, c, i, j) {
            if (!pairs && n != k) continue;
            sum += fabs(fixture_get(a, k, c, i, j) - fixture_get(b, n, c, i, j));
            count++;
        }
    }
    return sum / count;
}

typedef struct {
    fixture *f;
    double fakd, contrast, rec, kd, teacher;
    uint64_t images; /* of the passes but the first */
    double gradient; /* sum of |gradient| of the student's layers */
} seen;

static bool is(const fixture *f, const dukd_tap *tap, const char *network, const char *layer) {
    return strcmp(f->networks[tap->network], network) == 0 && (layer == NULL) == (tap->layer == NULL) &&
           (layer == NULL || strcmp(layer, tap->layer) == 0);
}

static void look(void *ctx, const dukd_pass *pass, const dukd_tensor *const *values,
                 const dukd_tensor *const *grads) {
    seen *s = ctx;
    const dukd_tensor *student = NULL, *teacher = NULL, *features[3] = {NULL};
    if (pass->id > 0) {
        const dukd_tensor *x = pass->inputs[0]->tensor;
        EACH_ELEMENT(x, n, c, i, j) s->images = s->images * 31 + (uint64_t)(fixture_get(x, n, c, i, j) * 1e6);
        return;
    }
    s->fakd = s->contrast = s->gradient = 0;
    for (uint32_t i = 0; i < pass->n_taps; i++) {
        const dukd_tap *tap = pass->taps[i];
        if (is(s->f, tap, "student", NULL)) student = values[i];
        if (is(s->f, tap, "teacher", NULL)) teacher = values[i];
        if (tap->layer != NULL && is(s->f, tap, "student", tap->layer)) {
            s->fakd += affinity(values[i], values[i + 1]);
            EACH_ELEMENT(grads[i], n, c, y, x) s->gradient += fabs(fixture_get(grads[i], n, c, y, x));
        }
        if (tap->layer != NULL && is(s->f, tap, "features", "a"))
            features[tap->source_kind == DUKD_SOURCE_INPUT                   ? 2
                     : is(s->f, pass->taps[tap->source_id], "teacher", NULL) ? 1
                                                                             : 0] = values[i];
    }
    if (features[2] != NULL)
        s->contrast =
            distance(features[1], features[0], false) / (distance(features[2], features[0], true) + 1e-7);
    if (student != NULL) s->rec = distance(&s->f->hr.tensor, student, false);
    if (student != NULL && teacher != NULL) s->kd = distance(teacher, student, false);
    if (teacher != NULL) s->teacher = distance(&s->f->hr.tensor, teacher, false);
}

static void run(fixture *f, seen *s, const char *const *options) {
    *s = (seen){.f = f};
    f->watch = look;
    f->watch_ctx = s;
    fixture_must_open(f, options);
    fixture_step(f, 1, 0, 0);
}

#define NEAR(a, b) assert_true(fabs((a) - (b)) <= 2e-6 * fabs(b) + 1e-9)

static void losses_of_fakd(void **state) {
    (void)state;
    const struct {
        const char *const *options;
        double rec, kd, fakd;
        const char *names[3];
        bool weighted;
    } cases[] = {
        {OPTIONS("train.terms=[fakd]", LAYERS), 0.5, 0.5, 10, {"l_rec", "l_kd", "l_fakd"}, false},
        {OPTIONS("train.terms=[fakd]", LAYERS, "train.w_rec=2", "train.w_fakd=3"),
         2,
         0.5,
         3,
         {"l_rec", "l_kd", "l_fakd"},
         false},
        {OPTIONS("train.terms=[kd, fakd]", LAYERS), 0, 1, 10, {NULL, "l_kd", "l_fakd"}, false},
        {OPTIONS("train.terms=[rec, kd, fakd]", LAYERS), 1, 1, 10, {"l_rec", "l_kd", "l_fakd"}, false},
        {OPTIONS(FAKD, "train.feature_distillation.positions=[conv_first, 2]", "train.pixel_opt.type=L1Loss",
                 "train.pixel_opt.loss_weight=4", "train.kd_opt.type=L1Loss"),
         4,
         1,
         10,
         {"l_pix", "l_kd", "l_feature"},
         true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fixture f;
        seen s;
        const double *w = &cases[i].rec;
        fixture_init(&f);
        run(&f, &s, cases[i].options);
        const double values[3] = {s.rec, s.kd, s.fakd};
        for (int k = 0; k < 3; k++) {
            if (cases[i].names[k] == NULL) continue;
            NEAR(fixture_loss(&f, cases[i].names[k]), cases[i].weighted ? w[k] * values[k] : values[k]);
        }
        NEAR(fixture_loss(&f, "l_total"), w[0] * s.rec + w[1] * s.kd + w[2] * s.fakd);
        assert_true(s.fakd > 0 && s.gradient > 0);
        fixture_close(&f);
    }
}

static void losses_of_csd(void **state) {
    (void)state;
    for (int64_t n = 1; n <= 4; n += 3) { /* fewer images than negatives, and more */
        fixture f;
        seen s;
        fixture_init(&f);
        f.n = n;
        run(&f, &s,
            OPTIONS("train.terms=[csd]", "train.csd.layers=[a]", "train.csd.layer_weights=[0.25]",
                    "train.csd.negatives=3"));
        NEAR(fixture_loss(&f, "l_csd"), 0.25 * s.contrast);
        NEAR(fixture_loss(&f, "l_csd_teacher"), s.teacher);
        NEAR(fixture_loss(&f, "l_total"), s.rec + 200 * 0.25 * s.contrast + s.teacher);
        assert_false(fixture_has_loss(&f, "l_kd"));
        fixture_close(&f);
    }
}

static void negatives(void **state) {
    (void)state;
    fixture f;
    const dukd_pass *pass = NULL;
    fixture_init(&f);
    f.n = 4;
    fixture_must_open(&f, OPTIONS("train.terms=[csd]", "train.csd.negatives=3"));
    fixture_batch(&f, 40);
    assert_int_equal(fixture_begin(&f, 5, 40, 0), DUKD_OK);
    assert_int_equal(f.plugin->next_pass(f.session, &pass, &f.error), DUKD_OK);
    assert_int_equal(pass->n_inputs, 2);
    assert_true(pass->inputs[0]->tensor->data == f.lr.memory);
    const dukd_tensor *x = pass->inputs[1]->tensor;
    const int64_t shape[4] = {3, f.c, f.h * 2, f.w * 2};
    assert_memory_equal(x->shape, shape, sizeof shape);
    const dukd_origin *origin = pass->inputs[1]->origin;
    assert_int_equal(origin->kind, DUKD_ORIGIN_OTHER);
    assert_int_equal(origin->n_samples, 3);
    for (int64_t k = 0; k < 3; k++) assert_int_equal(origin->samples[k], 40 + k);
    /* a pixel in the middle, by hand: phase 0 at scale 2 lies 1/4 before its input pixel */
    const double v[4] = {-0.03515625, 0.26171875, 0.87890625, -0.10546875};
    for (int64_t k = 0; k < 3; k++) {
        double want = 0;
        for (int i = 0; i < 4; i++)
            for (int j = 0; j < 4; j++)
                want += v[i] * v[j] * fixture_get(&f.lr.tensor, k, 1, 4 + i - 2, 3 + j - 2);
        assert_true(fabs(fixture_get(x, k, 1, 8, 6) - want) < 1e-6);
    }
    fixture_close(&f);
}

/* What dukd draws, and so its images, is the same with and without other terms. */
static void draws_are_not_moved(void **state) {
    (void)state;
    uint64_t images[2];
    for (int i = 0; i < 2; i++) {
        fixture f;
        seen s;
        fixture_init(&f);
        run(&f, &s,
            i == 0 ? OPTIONS("train.terms=[dukd, rec]")
                   : OPTIONS("train.terms=[dukd, rec, fakd, csd]", LAYERS));
        images[i] = s.images;
        fixture_close(&f);
    }
    assert_true(images[0] != 0 && images[0] == images[1]);
}

static void micro_batches_are_the_whole(void **state) {
    (void)state;
    double total[2], gradient[2];
    for (uint32_t m = 1; m <= 2; m++) {
        fixture f;
        seen s = {.f = &f};
        fixture_init(&f);
        f.micro_count = m;
        f.n = 2 / m;
        f.watch = look;
        f.watch_ctx = &s;
        gradient[m - 1] = 0;
        fixture_must_open(&f, OPTIONS("train.terms=[fakd]", LAYERS));
        for (uint32_t k = 0; k < m; k++) {
            fixture_step(&f, 1, k, k);
            gradient[m - 1] += s.gradient;
        }
        total[m - 1] = fixture_loss(&f, "l_total");
        fixture_close(&f);
    }
    NEAR(total[1], total[0]);
    NEAR(gradient[1], gradient[0]);
}

/* ---------------------------------------------------------------- what is refused */

static void refuses(int32_t code, uint64_t without, const char *const *options, const char *const *parts) {
    fixture f;
    fixture_init(&f);
    f.caps &= ~without;
    if (fixture_open(&f, options) != code) fail_msg("expected %s", parts[0]);
    fixture_expect_message(&f, parts);
    fixture_close(&f);
}
#define REFUSES(options, ...) refuses(DUKD_E_OPTION, 0, options, (const char *const[]){__VA_ARGS__, NULL})

static void options_are_checked(void **state) {
    (void)state;
    REFUSES(OPTIONS("train.terms=[fakd]"), "train.fakd.layers is missing", "conv_after_body");
    REFUSES(OPTIONS("train.terms=[fakd]", "train.fakd.layers=[2, body.2]"), "opt.yml:2:3",
            "body.2 is there twice");
    REFUSES(OPTIONS("train.terms=[fakd]", LAYERS, "train.fakd.teacher_layers=[1]"), "opt.yml:3:3",
            "has 1 layers", "has 2");
    REFUSES(OPTIONS("train.terms=[fakd]", "train.fakd.layers=[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17]"),
            "more than 16");
    REFUSES(
        OPTIONS(
            "train.terms=[fakd]",
            "train.fakd.layers=[a23456789aaaaaaaaaaa123456789a123456789a123456789a123456789a123456789abcd]"),
        "1 to 63 characters");
    REFUSES(OPTIONS("train.terms=[fakd, csd]", LAYERS), "opt.yml:1:3", "fakd and csd bring different weights",
            "train.w_rec");
    REFUSES(OPTIONS("train.terms=[csd]", "train.csd.layers=[a]"), "train.csd.layer_weights has 5",
            "1 layers");
    REFUSES(OPTIONS("train.terms=[csd]", "train.csd.layers=[a]", "train.csd.layer_weights=[0]"), "all 0",
            "train.w_csd: 0");
    REFUSES(OPTIONS("train.terms=[csd]", "train.csd.layer_weights=[x, 1, 1, 1, 1]"), "found 'x'", "a number");
    REFUSES(OPTIONS("train.terms=[csd]", "train.w_csd=0", "train.w_csd_teacher=0", "train.w_rec=0"),
            "no term of the loss is left");
    REFUSES(OPTIONS("model_type=FAKD"), "train.feature_opt is missing", "L1Loss");
    REFUSES(OPTIONS("model_type=FAKD", "train.feature_opt.type=L1Loss"),
            "train.feature_distillation.type is missing", "SA");
    REFUSES(OPTIONS(FAKD), "train.feature_distillation.positions is missing");
    REFUSES(OPTIONS("model_type=FAKD", "train.feature_opt.type=L1Loss", "train.feature_distillation.type=AT"),
            "found 'AT', expected SA");
    REFUSES(OPTIONS(FAKD, "train.feature_distillation.positions=[1]",
                    "train.feature_distillation.positions.t=[1]"),
            "is a list already");
    REFUSES(OPTIONS("train.fakd.layers=[1]", "model_type=DUKD", "train.kd_opt.type=L1Loss"),
            "train.fakd.layers", "does not go together with model_type: DUKD");
    REFUSES(OPTIONS("train.fakd.layer=[1]"), "is train.fakd.layers meant?");
}

static void hosts_are_checked(void **state) {
    (void)state;
    const char *const *fakd = OPTIONS("train.terms=[fakd]", LAYERS), *const *csd =
                                                                         OPTIONS("train.terms=[csd]");
    refuses(DUKD_E_UNSUPPORTED, DUKD_CAP_LAYERS, fakd,
            (const char *const[]){"DUKD_CAP_LAYERS", "without fakd", NULL});
    refuses(DUKD_E_UNSUPPORTED, DUKD_CAP_LAYERS, csd,
            (const char *const[]){"DUKD_CAP_LAYERS", "without csd", NULL});
    refuses(DUKD_E_UNSUPPORTED, DUKD_CAP_DERIVED, csd,
            (const char *const[]){"DUKD_CAP_DERIVED", "without csd", NULL});
    refuses(DUKD_E_UNSUPPORTED, DUKD_CAP_OTHER_GRAD, csd,
            (const char *const[]){"DUKD_CAP_OTHER_GRAD", "without csd", NULL});
    fixture f;
    fixture_init(&f);
    f.n_networks = 2;
    assert_int_equal(fixture_open(&f, csd), DUKD_E_UNSUPPORTED);
    EXPECT_MESSAGE(&f, "no network \"features\"", "VGG19", "without csd");
    fixture_init(&f);
    f.odd_layer = 3;
    assert_int_equal(fixture_open(&f, fakd), DUKD_E_OPTION);
    EXPECT_MESSAGE(&f, "conv_first, 8 x 8 pixels", "8 x 11", "train.fakd.teacher_layers");
    f.odd_layer = -1;
    assert_int_equal(fixture_open(&f, fakd), DUKD_E_UNSUPPORTED);
    EXPECT_MESSAGE(&f, "the teacher cannot give layer conv_first", "its layers are body.0 and body.1");
    fixture_close(&f);
}

/* The log and the state say what is trained by. */
static void text_says_what(void **state) {
    (void)state;
    fixture f;
    char saved[8192];
    uint64_t size = sizeof saved;
    fixture_init(&f);
    fixture_must_open(&f, OPTIONS("train.terms=[fakd]", LAYERS));
    assert_non_null(strstr(f.log, "weight of rec = 0.5; weight of kd = 0.5"));
    assert_non_null(strstr(f.log, "weight of fakd = 10; layers of fakd = conv_first body.2;"));
    assert_non_null(strstr(f.log, "matrix products of fakd by "));
    assert_int_equal(f.plugin->get_state(f.session, saved, &size, &f.error), DUKD_OK);
    fixture_close(&f);
    fixture_init(&f);
    fixture_must_open(&f, OPTIONS("train.terms=[fakd]", "train.fakd.layers=[conv_first, 3]"));
    assert_int_equal(f.plugin->set_state(f.session, saved, size, &f.error), DUKD_E_ARGUMENT);
    EXPECT_MESSAGE(&f, "layers of fakd = conv_first body.2", "conv_first body.3");
    fixture_close(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(taps),
        cmocka_unit_test(losses_of_fakd),
        cmocka_unit_test(losses_of_csd),
        cmocka_unit_test(negatives),
        cmocka_unit_test(draws_are_not_moved),
        cmocka_unit_test(micro_batches_are_the_whole),
        cmocka_unit_test(options_are_checked),
        cmocka_unit_test(hosts_are_checked),
        cmocka_unit_test(text_says_what),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
