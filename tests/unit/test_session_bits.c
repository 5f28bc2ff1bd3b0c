/* Results that must agree bit for bit, or element for element: gradients of 16-bit taps, of any layout, for
 * any number of threads, for any loss scale, and however a batch is cut into micro-batches or ranks. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "augment/dihedral.h"
#include "session_fixture.h"

/* ---------------------------------------------------------------- everything that a step gave, by image and
 * crop */

enum { PASSES = 3, CROPS = 2, IMAGES = 6, MOST_ELEMENTS = 3 * 128 * 128 };

typedef struct {
    uint32_t passes[PASSES][CROPS][IMAGES];
    float *grad[PASSES][CROPS][IMAGES];  /* of the student's tap */
    float *input[PASSES][CROPS][IMAGES]; /* that the student saw */
    int64_t count[PASSES];
    int64_t first, n;
} record;

static void record_free(record *r) {
    for (int p = 0; p < PASSES; p++) {
        for (int c = 0; c < CROPS; c++) {
            for (int i = 0; i < IMAGES; i++) {
                free(r->grad[p][c][i]);
                free(r->input[p][c][i]);
            }
        }
    }
    memset(r, 0, sizeof *r);
}

static float *copy_image(const dukd_tensor *t, int64_t n, int64_t *count) {
    *count = t->shape[1] * t->shape[2] * t->shape[3];
    assert_true(*count <= MOST_ELEMENTS);
    float *out = malloc((size_t)*count * sizeof *out), *at = out;
    assert_non_null(out);
    for (int64_t c = 0; c < t->shape[1]; c++) {
        for (int64_t i = 0; i < t->shape[2]; i++) {
            for (int64_t j = 0; j < t->shape[3]; j++) *at++ = (float)fixture_get(t, n, c, i, j);
        }
    }
    return out;
}

static void write_down(void *ctx, const dukd_pass *pass, const dukd_tensor *const *values,
                       const dukd_tensor *const *grads) {
    record *r = ctx;
    const uint32_t tap = pass->n_taps - 1; /* the student's is the last */
    const dukd_input *input = pass->inputs[pass->taps[tap]->source_id];
    (void)values;
    for (uint32_t k = 0; k < input->origin->n_samples; k++) {
        const int64_t image = input->origin->samples[k] - r->first;
        const uint32_t crop = k / (uint32_t)r->n;
        int64_t unused;
        assert_true(image >= 0 && image < IMAGES && crop < CROPS);
        assert_null(r->grad[pass->plan_index][crop][image]);
        r->grad[pass->plan_index][crop][image] = copy_image(grads[tap], k, &r->count[pass->plan_index]);
        r->input[pass->plan_index][crop][image] = copy_image(input->tensor, k, &unused);
    }
}

static void assert_same_record(const record *a, const record *b) {
    for (int p = 0; p < PASSES; p++) {
        for (int c = 0; c < CROPS; c++) {
            for (int i = 0; i < IMAGES; i++) {
                assert_true((a->grad[p][c][i] == NULL) == (b->grad[p][c][i] == NULL));
                if (a->grad[p][c][i] == NULL) continue;
                assert_int_equal(a->count[p], b->count[p]);
                assert_memory_equal(a->grad[p][c][i], b->grad[p][c][i], (size_t)a->count[p] * sizeof(float));
                assert_memory_equal(a->input[p][c][i], b->input[p][c][i],
                                    (size_t)a->count[p] * sizeof(float) / 4); /* scale 2 */
            }
        }
    }
}

static void start(fixture *f, record *r, int64_t side) {
    fixture_init(f);
    memset(r, 0, sizeof *r);
    f->n = IMAGES;
    f->h = f->w = side;
    f->watch = write_down;
    f->watch_ctx = r;
    r->first = 20;
    r->n = IMAGES;
}

static const char *const crops_2[] = {"train.zoom_in_count=2", "train.w_kd=0.7", "train.w_dukd=1.3", NULL};

/* ---------------------------------------------------------------- layouts, threads, scale */

static void any_layout_gives_the_same_bits(void **state) {
    (void)state;
    fixture f;
    record dense, other;
    double total;
    start(&f, &dense, 12);
    fixture_must_open(&f, crops_2);
    fixture_step(&f, 6, 20, 0);
    total = fixture_loss(&f, "l_total");
    fixture_close(&f);
    for (int taps = 0; taps < LAYOUTS; taps++) {
        for (int batch = 0; batch < LAYOUTS; batch++) {
            start(&f, &other, 12);
            f.tap_layout = (fixture_layout)taps;
            f.batch_layout = (fixture_layout)batch;
            fixture_must_open(&f, crops_2);
            fixture_step(&f, 6, 20, 0);
            assert_same_record(&dense, &other);
            assert_true(fabs(fixture_loss(&f, "l_total") - total) <
                        1e-12); /* sums follow the memory's order */
            fixture_close(&f);
            record_free(&other);
        }
    }
    record_free(&dense);
}

static void any_number_of_threads_gives_the_same_bits(void **state) {
    (void)state;
    const uint32_t threads[] = {1, 2, 3, 8};
    fixture f;
    record own, other;
    double values[5];
    dukd_losses losses = {.struct_size = DUKD_LOSSES_SIZE};
    start(&f, &own, 64);
    fixture_must_open(&f, crops_2);
    fixture_step(&f, 6, 20, 0);
    assert_int_equal(f.plugin->read_losses(f.session, &losses, &f.error), DUKD_OK);
    assert_int_equal(losses.n_losses, 5);
    memcpy(values, losses.values, sizeof values);
    fixture_close(&f);
    for (size_t i = 0; i < sizeof threads / sizeof *threads; i++) {
        start(&f, &other, 64);
        f.threads = threads[i];
        fixture_must_open(&f, crops_2);
        fixture_step(&f, 6, 20, 0);
        assert_same_record(&own, &other);
        assert_int_equal(f.plugin->read_losses(f.session, &losses, &f.error), DUKD_OK);
        assert_memory_equal(losses.values, values, sizeof values);
        fixture_close(&f);
        record_free(&other);
    }
    record_free(&own);
}

static void a_loss_scale_multiplies_gradients_and_not_losses(void **state) {
    (void)state;
    fixture f;
    record one, scaled;
    start(&f, &one, 8);
    f.flags = DUKD_SESSION_LOSS_SCALE;
    fixture_must_open(&f, crops_2);
    fixture_step(&f, 6, 20, 0);
    const double total = fixture_loss(&f, "l_total");
    fixture_close(&f);
    start(&f, &scaled, 8);
    f.flags = DUKD_SESSION_LOSS_SCALE;
    f.grad_scale = 1024;
    fixture_must_open(&f, crops_2);
    fixture_step(&f, 6, 20, 0);
    assert_true(fixture_loss(&f, "l_total") == total);
    for (int p = 0; p < PASSES; p++) {
        for (int64_t e = 0; e < scaled.count[p]; e++) scaled.grad[p][0][0][e] /= 1024;
        assert_memory_equal(one.grad[p][0][0], scaled.grad[p][0][0], (size_t)one.count[p] * sizeof(float));
    }
    fixture_close(&f);
    record_free(&one);
    record_free(&scaled);
}

/* ---------------------------------------------------------------- cutting the batch */

/* The whole batch of 4 as `parts` micro-batches of one session. */
static void run_cut(record *r, uint32_t parts, double *total, const char *const *options) {
    fixture f;
    start(&f, r, 10);
    f.n = IMAGES / parts;
    f.micro_count = parts;
    r->n = f.n;
    fixture_must_open(&f, options);
    for (uint32_t part = 0; part < parts; part++) fixture_step(&f, 9, 20 + part * f.n, part);
    *total = fixture_loss(&f, "l_total");
    fixture_close(&f);
}

static void micro_batches_together_are_the_whole_batch(void **state) {
    (void)state;
    const char *const *const options[] = {
        crops_2,
        OPTIONS("train.zoom_in=grid", "train.zoom_in_count=2"),
        OPTIONS("train.zoom_in=hardest"),
        OPTIONS("model_type=BaseKD", "train.kd_opt.type=L1Loss", "train.pixel_opt.type=L1Loss"),
    };
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        record whole, cut;
        double total, total_cut;
        run_cut(&whole, 1, &total, options[i]);
        const uint32_t parts[] = {2, 3, 6}; /* 3: nothing may depend on divisions by powers of two */
        for (int k = 0; k < 3; k++) {
            run_cut(&cut, parts[k], &total_cut, options[i]);
            assert_same_record(&whole, &cut);
            assert_true(fabs(total - total_cut) < 1e-12);
            record_free(&cut);
        }
        record_free(&whole);
    }
}

/* Two ranks, each its own session: they draw as one. The gradients are those of half a batch each. */
static void ranks_draw_as_one(void **state) {
    (void)state;
    record whole, ranks;
    double total;
    fixture f;
    run_cut(&whole, 1, &total, crops_2);
    memset(&ranks, 0, sizeof ranks);
    for (int rank = 0; rank < 2; rank++) {
        record keep = ranks;
        start(&f, &ranks, 10);
        ranks = keep;
        ranks.first = 20;
        ranks.n = f.n = IMAGES / 2;
        fixture_must_open(&f, crops_2);
        fixture_step(&f, 9, 20 + rank * f.n, 0);
        fixture_close(&f);
    }
    for (int p = 0; p < PASSES; p++) {
        for (int i = 0; i < IMAGES; i++) {
            for (int64_t e = 0; e < ranks.count[p]; e++) ranks.grad[p][0][i][e] /= 2;
            if (ranks.grad[p][1][i] != NULL) {
                for (int64_t e = 0; e < ranks.count[p]; e++) ranks.grad[p][1][i][e] /= 2;
            }
        }
    }
    assert_same_record(&whole, &ranks);
    record_free(&whole);
    record_free(&ranks);
}

/* The batch-wide tiles of official mode, too. */
static void ranks_take_the_same_tiles(void **state) {
    (void)state;
    int32_t rows[2][8], cols[2][8];
    for (int rank = 0; rank < 2; rank++) {
        fixture f;
        const dukd_pass *pass = NULL;
        fixture_init(&f);
        f.scale = 4;
        fixture_must_open(
            &f, OPTIONS("model_type=DUKD", "train.kd_opt.type=L1Loss", "train.dukd_opt.n_gt_sub=[4]"));
        for (int64_t iteration = 1; iteration < 30; iteration++) {
            const int64_t first = 4 * iteration + 2 * rank;
            fixture_batch(&f, first);
            assert_int_equal(fixture_begin(&f, iteration, first, 0), DUKD_OK);
            assert_int_equal(f.plugin->next_pass(f.session, &pass, &f.error), DUKD_OK);
            assert_int_equal(fixture_submit(&f, pass), DUKD_OK);
            assert_int_equal(f.plugin->next_pass(f.session, &pass, &f.error), DUKD_OK);
            const dukd_origin *o = pass->inputs[0]->origin;
            assert_int_equal(o->n_samples, 8);
            for (int k = 0; k < 8; k++) {
                assert_int_equal(o->rows[k] % 8, 0);
                assert_int_equal(o->cols[k] % 8, 0);
                assert_true(o->rows[k] == o->rows[k - k % 2] && o->cols[k] == o->cols[k - k % 2]);
                for (int j = 0; j < k - k % 2; j++)
                    assert_true(o->rows[k] != o->rows[j] || o->cols[k] != o->cols[j]);
            }
            if (iteration == 17) {
                memcpy(rows[rank], o->rows, sizeof rows[rank]);
                memcpy(cols[rank], o->cols, sizeof cols[rank]);
            }
            (void)f.plugin->cancel_step(f.session, &f.error);
        }
        fixture_close(&f);
    }
    assert_memory_equal(rows[0], rows[1], sizeof rows[0]);
    assert_memory_equal(cols[0], cols[1], sizeof cols[0]);
}

/* ---------------------------------------------------------------- element types */

typedef struct {
    const fixture *f;
    double weight_rec, weight_kd, weight_dukd;
    uint32_t passes;
} element_check;

/* Pixel (i, j) of B(x) is which pixel of x, for a square x of `side`. */
static void source_pixel(uint32_t back, int64_t side, int64_t i, int64_t j, int64_t *from_i,
                         int64_t *from_j) {
    if ((back & DUKD_AUGMENT_TRANSPOSE) != 0) {
        const int64_t swap = i;
        i = j;
        j = swap;
    }
    *from_i = (back & DUKD_AUGMENT_FLIP_H) != 0 ? side - 1 - i : i;
    *from_j = (back & DUKD_AUGMENT_FLIP_W) != 0 ? side - 1 - j : j;
}

static double sign(float x) {
    return x > 0 ? 1 : x < 0 ? -1 : 0;
}

/* Every element of the student's gradient, from the values as they were handed over. */
static void check_elements(void *ctx, const dukd_pass *pass, const dukd_tensor *const *values,
                           const dukd_tensor *const *grads) {
    element_check *check = ctx;
    const fixture *f = check->f;
    const dukd_tensor *teacher = values[0], *student = values[1], *grad = grads[1];
    const uint32_t *augment = pass->inputs[pass->n_inputs - 1]->origin->augment;
    const double count = (double)fixture_count(student);
    fixture_tensor want;
    fixture_tensor_make(&want, student->shape, f->grad_dtype, LAYOUT_DENSE);
    EACH_ELEMENT(student, n, c, i, j) {
        const uint32_t back = augment != NULL ? dukd_augment_inverse(augment[n]) : 0;
        int64_t from_i, from_j;
        source_pixel(back, student->shape[2], i, j, &from_i, &from_j);
        const bool inverted = (back & DUKD_AUGMENT_INVERT) != 0;
        const float given = (float)fixture_get(student, n, c, from_i, from_j);
        const float mapped = inverted ? 1.0f - given : given;
        const double kd = sign(mapped - (float)fixture_get(teacher, n, c, i, j));
        double factor = augment != NULL ? check->weight_dukd / count * kd : check->weight_kd / count * kd;
        if (augment == NULL)
            factor +=
                check->weight_rec / count * sign(mapped - (float)fixture_get(&f->hr.tensor, n, c, i, j));
        fixture_set(&want.tensor, n, c, from_i, from_j, f->grad_scale * (inverted ? -factor : factor));
    }
    EACH_ELEMENT(grad, n, c, i, j) {
        const double got = fixture_get(grad, n, c, i, j), expected = fixture_get(&want.tensor, n, c, i, j);
        const double unit = f->grad_dtype.bits == 32                ? 1e-6
                            : f->grad_dtype.code == DUKD_TYPE_FLOAT ? 0x1p-10
                                                                    : 0x1p-7;
        if (!(fabs(got - expected) <= unit * fabs(expected))) {
            fail_msg("pass %u, gradient (%lld, %lld, %lld, %lld) is %.9g, expected %.9g", pass->id,
                     (long long)n, (long long)c, (long long)i, (long long)j, got, expected);
        }
    }
    fixture_tensor_free(&want);
    check->passes++;
}

static void taps_of_16_bits_have_right_gradients(void **state) {
    (void)state;
    const dukd_dtype types[] = {fixture_f32, fixture_f16, fixture_bf16};
    for (int batch = 0; batch < 3; batch++) {
        for (int tap = 0; tap < 3; tap++) {
            for (int grad_is_f32 = 0; grad_is_f32 < 2; grad_is_f32++) {
                for (int layout = 0; layout < LAYOUTS; layout++) {
                    fixture f;
                    element_check check = {&f, 1, 0.5, 2, 0};
                    fixture_init(&f);
                    f.dtype = types[batch];
                    f.tap_dtype = types[tap];
                    f.grad_dtype = grad_is_f32 ? fixture_f32 : types[tap];
                    f.tap_layout = (fixture_layout)layout;
                    f.flags = DUKD_SESSION_LOSS_SCALE;
                    f.grad_scale = 256; /* or f16 would have subnormal gradients */
                    f.net[FIXTURE_STUDENT] = (fixture_net){0.9137281, 0.4123977};
                    f.watch = check_elements;
                    f.watch_ctx = &check;
                    fixture_must_open(&f, OPTIONS("train.w_kd=0.5", "train.w_dukd=2"));
                    fixture_step(&f, 3, 6, 0);
                    assert_int_equal(check.passes, 3);
                    assert_true(isfinite(fixture_loss(&f, "l_total")));
                    fixture_close(&f);
                }
            }
        }
    }
}

/* What the plugin makes has the batch's type; 16-bit images are the rounded f32 ones. */
static void images_have_the_type_of_the_batch(void **state) {
    (void)state;
    fixture f, g;
    const dukd_pass *pass = NULL, *half = NULL;
    const dukd_dtype types[] = {fixture_f16, fixture_bf16};
    for (int t = 0; t < 2; t++) {
        fixture_init(&f);
        fixture_init(&g);
        g.dtype = types[t];
        fixture_must_open(&f, NULL);
        fixture_must_open(&g, NULL);
        fixture_batch(&f, 3);
        fixture_batch(&g, 3);
        /* bf16 cannot hold k / 256: the f32 session gets what the other has */
        EACH_ELEMENT(&f.lr.tensor, n, c, i, j) {
            fixture_set(&f.lr.tensor, n, c, i, j, fixture_get(&g.lr.tensor, n, c, i, j));
        }
        EACH_ELEMENT(&f.hr.tensor, n, c, i, j) {
            fixture_set(&f.hr.tensor, n, c, i, j, fixture_get(&g.hr.tensor, n, c, i, j));
        }
        assert_int_equal(fixture_begin(&f, 2, 3, 0), DUKD_OK);
        assert_int_equal(fixture_begin(&g, 2, 3, 0), DUKD_OK);
        for (int p = 0; p < 3; p++) {
            assert_int_equal(f.plugin->next_pass(f.session, &pass, &f.error), DUKD_OK);
            assert_int_equal(g.plugin->next_pass(g.session, &half, &g.error), DUKD_OK);
            for (uint32_t k = 0; k < pass->n_inputs; k++) {
                const dukd_tensor *a = pass->inputs[k]->tensor, *b = half->inputs[k]->tensor;
                assert_memory_equal(&b->dtype, &types[t], sizeof types[t]);
                fixture_tensor rounded;
                fixture_tensor_make(&rounded, a->shape, types[t], LAYOUT_DENSE);
                EACH_ELEMENT(a, n, c, i, j) {
                    fixture_set(&rounded.tensor, n, c, i, j, fixture_get(a, n, c, i, j));
                    assert_true(fixture_get(&rounded.tensor, n, c, i, j) == fixture_get(b, n, c, i, j));
                }
                fixture_tensor_free(&rounded);
            }
        }
        fixture_close(&f);
        fixture_close(&g);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_layout_gives_the_same_bits),
        cmocka_unit_test(any_number_of_threads_gives_the_same_bits),
        cmocka_unit_test(a_loss_scale_multiplies_gradients_and_not_losses),
        cmocka_unit_test(micro_batches_together_are_the_whole_batch),
        cmocka_unit_test(ranks_draw_as_one),
        cmocka_unit_test(ranks_take_the_same_tiles),
        cmocka_unit_test(taps_of_16_bits_have_right_gradients),
        cmocka_unit_test(images_have_the_type_of_the_batch),
    };
    return cmocka_run_group_tests_name("session_bits", tests, NULL, NULL);
}
