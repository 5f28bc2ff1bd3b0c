/* Group passes: the plan, the passes that a step hands out, and their inputs. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "conform.h"
#include "toy_step.h"

/* ---- structs ---- */

enum {
    PASS_FLAGS =
        DUKD_PASS_ZERO_GRAD_BEFORE | DUKD_PASS_BACKWARD | DUKD_PASS_OPTIMIZE_AFTER | DUKD_PASS_EMA_AFTER,
    TAP_FLAGS = DUKD_TAP_MODE_TRAIN | DUKD_TAP_WANT_GRAD | DUKD_TAP_KEEP,
    AUGMENTS = DUKD_AUGMENT_FLIP_W | DUKD_AUGMENT_FLIP_H | DUKD_AUGMENT_TRANSPOSE | DUKD_AUGMENT_INVERT
};

static conform_result input_is_whole(conform *c, const dukd_pass *pass, uint32_t k, int in_plan,
                                     dukd_dtype type) {
    const dukd_input *in = pass->inputs[k];
    REQUIRE(c, in && in->struct_size >= DUKD_INPUT_SIZE && in->id == k && in->tensor,
            "pass %u: input %u is incomplete, or has another id", pass->id, k);
    const dukd_tensor *t = in->tensor;
    REQUIRE(c, t->ndim == 4 && t->shape, "pass %u: input %u has no shape of 4 dimensions", pass->id, k);
    for (int d = 0; d < 4; d++)
        REQUIRE(c, t->shape[d] > 0, "pass %u: input %u has a size of %lld", pass->id, k,
                (long long)t->shape[d]);
    REQUIRE(c, toy_same_type(t->dtype, type), "pass %u: input %u is not of the session's dtype", pass->id, k);
    REQUIRE(c, t->device.device_type == DUKD_DEVICE_CPU, "pass %u: input %u is not on the session's device",
            pass->id, k);
    if (in_plan)
        REQUIRE(c, !t->data && !in->origin, "plan, pass %u: input %u has data or an origin", pass->id, k);
    else
        REQUIRE(c, t->data && in->origin, "pass %u: input %u has no data, or no origin", pass->id, k);
    return CONFORM_PASS;
}

static conform_result tap_is_whole(conform *c, const dukd_pass *pass, uint32_t k) {
    const dukd_tap *tap = pass->taps[k];
    REQUIRE(c, tap && tap->struct_size >= DUKD_TAP_SIZE && tap->id == k,
            "pass %u: tap %u is incomplete, or has another id", pass->id, k);
    REQUIRE(c, tap->network < TOY_NETWORKS, "pass %u: tap %u is of network %u, which is not there", pass->id,
            k, tap->network);
    REQUIRE(c, !(tap->flags & ~(uint32_t)TAP_FLAGS), "pass %u: tap %u has unknown flags, 0x%x", pass->id, k,
            tap->flags);
    REQUIRE(c, tap->source_kind == DUKD_SOURCE_INPUT || tap->source_kind == DUKD_SOURCE_TAP,
            "pass %u: tap %u has an unknown source_kind, %u", pass->id, k, tap->source_kind);
    uint32_t limit = tap->source_kind == DUKD_SOURCE_TAP ? k : pass->n_inputs;
    REQUIRE(c, tap->source_id < limit, "pass %u: the source of tap %u is not there yet", pass->id, k);
    return CONFORM_PASS;
}

static conform_result pass_is_whole(conform *c, const dukd_pass *pass, int in_plan, dukd_dtype type) {
    int wants = 0;
    REQUIRE(c, pass && pass->struct_size >= DUKD_PASS_SIZE, "a pass is incomplete");
    REQUIRE(c, !(pass->flags & ~(uint32_t)PASS_FLAGS), "pass %u has unknown flags, 0x%x", pass->id,
            pass->flags);
    REQUIRE(c, (!pass->n_taps || pass->taps) && (!pass->n_inputs || pass->inputs),
            "pass %u: inputs or taps is NULL", pass->id);
    for (uint32_t k = 0; k < pass->n_inputs; k++) TRY(input_is_whole(c, pass, k, in_plan, type));
    for (uint32_t k = 0; k < pass->n_taps; k++) {
        TRY(tap_is_whole(c, pass, k));
        wants |= (pass->taps[k]->flags & DUKD_TAP_WANT_GRAD) != 0;
    }
    REQUIRE(c, wants == ((pass->flags & DUKD_PASS_BACKWARD) != 0),
            "pass %u: BACKWARD and WANT_GRAD do not agree", pass->id);
    return CONFORM_PASS;
}

static conform_result plan(conform *c) {
    toy_session t;
    const dukd_plan *p = NULL, *q = NULL;
    uint32_t flags = 0;
    TRY(toy_open(c, &t, (toy_setup){.n = 4, .height = 12, .width = 12}));
    REQUIRE(c, c->plugin->get_plan(t.s, &p, NULL) == DUKD_OK && p, "get_plan failed");
    REQUIRE(c, c->plugin->get_plan(t.s, &q, NULL) == DUKD_OK && p == q, "get_plan gives another plan now");
    REQUIRE(c, p->struct_size >= DUKD_PLAN_SIZE && p->n_passes && p->passes, "the plan has no passes");
    for (uint32_t i = 0; i < p->n_passes; i++) {
        TRY(pass_is_whole(c, p->passes[i], 1, toy_f32));
        REQUIRE(c, p->passes[i]->plan_index == i, "pass %u of the plan says that it is pass %u", i,
                p->passes[i]->plan_index);
        flags |= p->passes[i]->flags;
    }
    REQUIRE(c, flags & DUKD_PASS_BACKWARD && flags & DUKD_PASS_OPTIMIZE_AFTER,
            "the plan never trains: no pass has BACKWARD, or none OPTIMIZE_AFTER");
    REQUIRE(c, flags & DUKD_PASS_ZERO_GRAD_BEFORE,
            "the plan never clears gradients: they would add up over all steps");
    toy_close(c, &t);
    return CONFORM_PASS;
}

/* ---- a step against the plan ---- */

typedef struct {
    const dukd_plan *plan;
    uint32_t handed;
    uint8_t seen[256]; /* by plan_index */
} kept;

static int same_text(const char *a, const char *b) {
    return a == b || (a && b && strcmp(a, b) == 0);
}

static conform_result keeps_to_plan(conform *c, toy_session *t, const dukd_pass *pass, void *arg) {
    kept *k = arg;
    TRY(pass_is_whole(c, pass, 0, t->params.dtype));
    REQUIRE(c, pass->id == k->handed++, "the passes of a step do not count from 0: id is %u", pass->id);
    REQUIRE(c, pass->plan_index < k->plan->n_passes && pass->plan_index < sizeof k->seen,
            "pass %u says that it is pass %u of the plan, which has %u", pass->id, pass->plan_index,
            k->plan->n_passes);
    REQUIRE(c, !k->seen[pass->plan_index]++, "pass %u of the plan was handed out twice", pass->plan_index);
    const dukd_pass *planned = k->plan->passes[pass->plan_index];
    REQUIRE(c, !(pass->flags & ~planned->flags), "pass %u has flags 0x%x, in the plan it has 0x%x", pass->id,
            pass->flags, planned->flags);
    REQUIRE(c, pass->n_inputs == planned->n_inputs && pass->n_taps == planned->n_taps,
            "pass %u has other inputs or taps than in the plan", pass->id);
    for (uint32_t i = 0; i < pass->n_inputs; i++)
        REQUIRE(
            c,
            !memcmp(pass->inputs[i]->tensor->shape, planned->inputs[i]->tensor->shape, 4 * sizeof(int64_t)),
            "pass %u: input %u has another shape than in the plan", pass->id, i);
    for (uint32_t i = 0; i < pass->n_taps; i++) {
        const dukd_tap *a = pass->taps[i], *b = planned->taps[i];
        REQUIRE(c,
                a->network == b->network && a->flags == b->flags && a->source_kind == b->source_kind &&
                    a->source_id == b->source_id && same_text(a->layer, b->layer) &&
                    same_text(a->from_layer, b->from_layer),
                "pass %u: tap %u is another one than in the plan", pass->id, i);
    }
    return CONFORM_PASS;
}

static conform_result plan_is_kept(conform *c) {
    toy_session t;
    TRY(toy_open(c, &t, (toy_setup){.n = 3, .height = 10, .width = 10}));
    for (int64_t i = 1; i <= 3; i++) {
        toy_result r;
        kept k = {.handed = 0};
        REQUIRE(c, c->plugin->get_plan(t.s, &k.plan, NULL) == DUKD_OK, "get_plan failed");
        if (toy_step(c, &t, &(toy_run){.iteration = i, .look = keeps_to_plan, .arg = &k}, &r))
            return CONFORM_FAIL;
        toy_result_free(&r);
    }
    toy_close(c, &t);
    return CONFORM_PASS;
}

static conform_result inputs_stay(conform *c) {
    for (int order = TOY_ONE_BY_ONE; order <= TOY_TOGETHER_BACKWARDS; order++) {
        toy_result r;
        TRY(toy_once(c, (toy_setup){0}, (toy_run){.iteration = 2, .order = (toy_order)order}, &r));
        REQUIRE(c, !r.inputs_changed, "the inputs of a pass have changed before end_step");
        REQUIRE(c, !r.structs_changed, "the structs of a pass have changed before end_step");
        toy_result_free(&r);
    }
    return CONFORM_PASS;
}

/* ---- origins ---- */

/* An image of C planes, dense. */
typedef struct {
    const float *values;
    int64_t channels, height, width;
} image;

/* The value at (y, x) of what was made of a source's window: `augment` undone. */
static float undone(const image *source, uint32_t augment, int64_t c, int64_t y, int64_t x, int64_t height,
                    int64_t width, int64_t row, int64_t col) {
    if (augment & DUKD_AUGMENT_TRANSPOSE) {
        int64_t swap = y;
        y = x, x = swap;
    }
    if (augment & DUKD_AUGMENT_FLIP_H) y = height - 1 - y;
    if (augment & DUKD_AUGMENT_FLIP_W) x = width - 1 - x;
    float v = source->values[(c * source->height + row + y) * source->width + col + x];
    return augment & DUKD_AUGMENT_INVERT ? 1 - v : v;
}

/* How exact an input must be: to the bit, but for 1 - x, which is rounded to the type. */
static double exactness(uint32_t augment, dukd_dtype type) {
    if (!(augment & DUKD_AUGMENT_INVERT)) return 0;
    return type.bits == 32 ? 0x1p-24 : type.code == DUKD_TYPE_BFLOAT ? 0x1p-8 : 0x1p-11;
}

static conform_result is_window(conform *c, const dukd_pass *pass, uint32_t k, int64_t n, const float *values,
                                const image *source, int64_t row, int64_t col) {
    const dukd_tensor *t = pass->inputs[k]->tensor;
    const dukd_origin *o = pass->inputs[k]->origin;
    uint32_t augment = o->augment ? o->augment[n] : 0;
    int64_t height = t->shape[2], width = t->shape[3];
    if (augment & DUKD_AUGMENT_TRANSPOSE) height = t->shape[3], width = t->shape[2];
    REQUIRE(
        c,
        t->shape[1] == source->channels && row >= 0 && col >= 0 && row + height <= source->height &&
            col + width <= source->width,
        "pass %u, input %u, image %lld: a window of %lld x %lld at (%lld, %lld) is not inside %lld x %lld",
        pass->id, k, (long long)n, (long long)height, (long long)width, (long long)row, (long long)col,
        (long long)source->height, (long long)source->width);
    for (int64_t ch = 0; ch < t->shape[1]; ch++)
        for (int64_t y = 0; y < t->shape[2]; y++)
            for (int64_t x = 0; x < t->shape[3]; x++) {
                float want = undone(source, augment, ch, y, x, height, width, row, col);
                float is = values[((n * t->shape[1] + ch) * t->shape[2] + y) * t->shape[3] + x];
                REQUIRE(c, fabs((double)is - (double)want) <= exactness(augment, t->dtype),
                        "pass %u, input %u, image %lld: not what its origin says (augment 0x%x): at (%lld, "
                        "%lld) it is %g, not %g",
                        pass->id, k, (long long)n, augment, (long long)y, (long long)x, (double)is,
                        (double)want);
            }
    return CONFORM_PASS;
}

static conform_result origin_is_whole(conform *c, const toy_session *t, const dukd_pass *pass, uint32_t k,
                                      int64_t first) {
    const dukd_origin *o = pass->inputs[k]->origin;
    const int64_t *shape = pass->inputs[k]->tensor->shape;
    REQUIRE(c, o && o->struct_size >= DUKD_ORIGIN_SIZE && o->kind <= DUKD_ORIGIN_LR_DOWN,
            "pass %u, input %u: origin is incomplete, or of an unknown kind", pass->id, k);
    REQUIRE(c, o->flags == 0, "pass %u, input %u: origin has flags 0x%x on the CPU", pass->id, k, o->flags);
    REQUIRE(c, o->n_samples == shape[0] && o->samples,
            "pass %u, input %u: origin has %u samples, the input %lld images", pass->id, k, o->n_samples,
            (long long)shape[0]);
    REQUIRE(c, (o->kind == DUKD_ORIGIN_HR) == (o->rows && o->cols),
            "pass %u, input %u: origin has rows and cols where it is a window of HR, and only there",
            pass->id, k);
    for (uint32_t n = 0; n < o->n_samples; n++) {
        REQUIRE(c, o->samples[n] >= first && o->samples[n] < first + t->h.setup.n,
                "pass %u, input %u: image %u is made from image %lld, which is not in the batch", pass->id, k,
                n, (long long)o->samples[n]);
        REQUIRE(c, !o->augment || !(o->augment[n] & ~(uint32_t)AUGMENTS),
                "pass %u, input %u: unknown augmentation 0x%x", pass->id, k, o->augment ? o->augment[n] : 0);
    }
    return CONFORM_PASS;
}

enum { FIRST_SAMPLE = 40 };

/* Inputs whose origin is LR or HR really are that. */
static conform_result matches_origin(conform *c, toy_session *t, const dukd_pass *pass, void *arg) {
    int *looked = arg;
    for (uint32_t k = 0; k < pass->n_inputs; k++) {
        TRY(origin_is_whole(c, t, pass, k, FIRST_SAMPLE));
        const dukd_origin *o = pass->inputs[k]->origin;
        if (o->kind != DUKD_ORIGIN_LR && o->kind != DUKD_ORIGIN_HR) continue;
        const toy_tensor *from = o->kind == DUKD_ORIGIN_LR ? &t->h.lr : &t->h.hr;
        int64_t size = from->shape[1] * from->shape[2] * from->shape[3];
        float *values = toy_values(pass->inputs[k]->tensor), *batch = toy_values(&from->t);
        REQUIRE(c, values && batch, "the suite is out of memory");
        for (uint32_t n = 0; n < o->n_samples; n++) {
            const image source = {batch + (o->samples[n] - FIRST_SAMPLE) * size, from->shape[1],
                                  from->shape[2], from->shape[3]};
            int64_t row = o->kind == DUKD_ORIGIN_HR ? o->rows[n] : 0;
            int64_t col = o->kind == DUKD_ORIGIN_HR ? o->cols[n] : 0;
            if (o->kind == DUKD_ORIGIN_LR)
                REQUIRE(c, toy_count(pass->inputs[k]->tensor->shape) == (int64_t)o->n_samples * size,
                        "pass %u, input %u is called the whole LR image, but is of another size", pass->id,
                        k);
            TRY(is_window(c, pass, k, n, values, &source, row, col));
        }
        free(values);
        free(batch);
        ++*looked;
    }
    return CONFORM_PASS;
}

static conform_result origin(conform *c) {
    int looked = 0;
    for (int64_t i = 1; i <= 8; i++) {
        toy_result r;
        const toy_run run = {
            .iteration = i, .first_sample = FIRST_SAMPLE, .look = matches_origin, .arg = &looked};
        TRY(toy_once(c, (toy_setup){.n = 4, .height = 10, .width = 10}, run, &r));
        toy_result_free(&r);
    }
    return looked ? CONFORM_PASS : conform_skip(c, "no input is LR or a window of HR");
}

/* LR is a slope, of which every kernel that is worth its name makes a slope, away from the borders. */
static void draw_slope(toy_tensor *t, float *values) {
    int64_t i = 0;
    for (int64_t n = 0; n < t->shape[0]; n++)
        for (int64_t c = 0; c < t->shape[1]; c++)
            for (int64_t y = 0; y < t->shape[2]; y++)
                for (int64_t x = 0; x < t->shape[3]; x++)
                    values[i++] =
                        (float)(0.1 + 0.01 * (double)(n + c) + 0.012 * (double)y + 0.008 * (double)x);
    toy_write(&t->t, values);
}

static conform_result is_slope(conform *c, const toy_session *t, const dukd_pass *pass, uint32_t k) {
    const dukd_tensor *in = pass->inputs[k]->tensor;
    const dukd_origin *o = pass->inputs[k]->origin;
    const int64_t scale = t->h.setup.scale, *s = in->shape, border = 3;
    float *values = toy_values(in), *lr = toy_values(&t->h.lr.t);
    REQUIRE(c, values && lr, "the suite is out of memory");
    REQUIRE(c, s[2] * scale == t->h.setup.height && s[3] * scale == t->h.setup.width,
            "pass %u, input %u is called LR scaled down by %lld, but has %lld x %lld pixels of %lld x %lld",
            pass->id, k, (long long)scale, (long long)s[2], (long long)s[3], (long long)t->h.setup.height,
            (long long)t->h.setup.width);
    for (int64_t n = 0; n < s[0]; n++) {
        int64_t image_of = o->samples[n] - FIRST_SAMPLE;
        uint32_t augment = o->augment ? o->augment[n] : 0;
        for (int64_t ch = 0; ch < s[1]; ch++)
            for (int64_t y = border; y < s[2] - border; y++)
                for (int64_t x = border; x < s[3] - border; x++) {
                    int64_t at_y = y, at_x = x;
                    if (augment & DUKD_AUGMENT_TRANSPOSE) at_y = x, at_x = y;
                    if (augment & DUKD_AUGMENT_FLIP_H) at_y = s[2] - 1 - at_y;
                    if (augment & DUKD_AUGMENT_FLIP_W) at_x = s[3] - 1 - at_x;
                    /* the middle of scale x scale pixels */
                    double mid_y = (double)(at_y * scale) + 0.5 * (double)(scale - 1);
                    double mid_x = (double)(at_x * scale) + 0.5 * (double)(scale - 1);
                    double want = 0.1 + 0.01 * (double)(image_of + ch) + 0.012 * mid_y + 0.008 * mid_x;
                    double is = (double)values[((n * s[1] + ch) * s[2] + y) * s[3] + x];
                    if (augment & DUKD_AUGMENT_INVERT) want = 1 - want;
                    REQUIRE(c, fabs(is - want) <= 1e-4,
                            "pass %u, input %u, image %lld: not LR scaled down: at (%lld, %lld) a slope is "
                            "%g, not %g",
                            pass->id, k, (long long)n, (long long)y, (long long)x, is, want);
                }
    }
    free(values);
    free(lr);
    return CONFORM_PASS;
}

static conform_result matches_scaled(conform *c, toy_session *t, const dukd_pass *pass, void *arg) {
    int *looked = arg;
    for (uint32_t k = 0; k < pass->n_inputs; k++) {
        TRY(origin_is_whole(c, t, pass, k, FIRST_SAMPLE));
        if (pass->inputs[k]->origin->kind != DUKD_ORIGIN_LR_DOWN) continue;
        TRY(is_slope(c, t, pass, k));
        ++*looked;
    }
    return CONFORM_PASS;
}

static conform_result scaled_down(conform *c) {
    int looked = 0;
    for (int64_t i = 1; i <= 8; i++) {
        toy_session t;
        toy_result r;
        TRY(toy_open(c, &t, (toy_setup){.n = 4, .height = 24, .width = 24}));
        float *room = toy_values(&t.h.lr.t);
        REQUIRE(c, room, "the suite is out of memory");
        draw_slope(&t.h.lr, room);
        const toy_run run = {.iteration = i,
                             .first_sample = FIRST_SAMPLE,
                             .keep_batch = 1,
                             .look = matches_scaled,
                             .arg = &looked};
        if (toy_step(c, &t, &run, &r)) return CONFORM_FAIL;
        free(room);
        toy_result_free(&r);
        toy_close(c, &t);
    }
    return looked ? CONFORM_PASS : conform_skip(c, "no input is LR scaled down");
}

/* ---- the batch in parts ---- */

/* One image of an input, and of which sample of which pass it is. */
typedef struct {
    uint32_t plan_index, input, occurrence; /* the how-many-eth of this sample in this input */
    int64_t sample;
    uint64_t hash;
} made;

typedef struct {
    made *list;
    uint32_t n, room;
} made_list;

static conform_result collect(conform *c, toy_session *t, const dukd_pass *pass, void *arg) {
    made_list *all = arg;
    for (uint32_t k = 0; k < pass->n_inputs; k++) {
        const dukd_tensor *in = pass->inputs[k]->tensor;
        const dukd_origin *o = pass->inputs[k]->origin;
        TRY(origin_is_whole(c, t, pass, k, o && o->samples ? t->h.first_sample : 0));
        if (o->kind == DUKD_ORIGIN_OTHER) continue;
        float *values = toy_values(in);
        REQUIRE(c, values, "the suite is out of memory");
        int64_t size = in->shape[1] * in->shape[2] * in->shape[3];
        for (uint32_t n = 0; n < o->n_samples; n++) {
            made m = {pass->plan_index, k, 0, o->samples[n], 0};
            for (uint32_t i = 0; i < n; i++) m.occurrence += o->samples[i] == o->samples[n];
            toy_hash(&m.hash, values + n * size, (uint64_t)size * sizeof *values);
            if (o->rows) toy_hash(&m.hash, &o->rows[n], sizeof *o->rows);
            if (o->cols) toy_hash(&m.hash, &o->cols[n], sizeof *o->cols);
            if (o->augment) toy_hash(&m.hash, &o->augment[n], sizeof *o->augment);
            REQUIRE(c, all->n < all->room, "more images than this suite can follow");
            all->list[all->n++] = m;
        }
        free(values);
    }
    return CONFORM_PASS;
}

static conform_result collect_step(conform *c, toy_setup setup, int64_t first_sample, made_list *all) {
    toy_result r;
    const toy_run run = {.iteration = 3, .first_sample = first_sample, .look = collect, .arg = all};
    TRY(toy_once(c, setup, run, &r));
    toy_result_free(&r);
    return CONFORM_PASS;
}

static conform_result ranks(conform *c) {
    enum { ROOM = 1024 };
    static made whole_room[ROOM], part_room[ROOM];
    made_list whole = {whole_room, 0, ROOM}, parts = {part_room, 0, ROOM};
    TRY(collect_step(c, (toy_setup){.n = 4}, 8, &whole));
    TRY(collect_step(c, (toy_setup){.n = 1}, 8, &parts));
    TRY(collect_step(c, (toy_setup){.n = 3}, 9, &parts));
    REQUIRE(c, whole.n == parts.n, "a batch of 4 and its parts, 1 and 3, have different numbers of images");
    for (uint32_t i = 0; i < whole.n; i++) {
        const made *a = &whole.list[i];
        uint32_t k = 0;
        while (k < parts.n &&
               (parts.list[k].plan_index != a->plan_index || parts.list[k].input != a->input ||
                parts.list[k].sample != a->sample || parts.list[k].occurrence != a->occurrence))
            k++;
        REQUIRE(c, k < parts.n && parts.list[k].hash == a->hash,
                "pass %u of the plan, input %u: for image %lld of the run a batch of 4 draws in another way "
                "than a batch of 1 and one of 3",
                a->plan_index, a->input, (long long)a->sample);
    }
    return whole.n ? CONFORM_PASS : conform_skip(c, "no input is made from the batch in a known way");
}

static conform_result is_of_batch_type(conform *c, toy_session *t, const dukd_pass *pass, void *arg) {
    (void)arg;
    for (uint32_t k = 0; k < pass->n_inputs; k++) TRY(input_is_whole(c, pass, k, 0, t->params.dtype));
    return CONFORM_PASS;
}

static conform_result half_batch(conform *c) {
    const dukd_dtype types[] = {toy_f16, toy_bf16};
    int taken = 0, looked = 0;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        toy_session t;
        toy_result r;
        const toy_setup setup = {.n = 3, .height = 10, .width = 10, .type = types[i]};
        conform_result opened = toy_open(c, &t, setup);
        if (opened == CONFORM_SKIP) {
            toy_close(c, &t);
            continue;
        }
        TRY(opened);
        if (toy_step(c, &t, &(toy_run){.look = is_of_batch_type}, &r)) return CONFORM_FAIL;
        toy_result_free(&r);
        const toy_run run = {
            .iteration = 2, .first_sample = FIRST_SAMPLE, .look = matches_origin, .arg = &looked};
        if (toy_step(c, &t, &run, &r)) return CONFORM_FAIL;
        REQUIRE(c, !r.not_finite && !r.not_written, "gradients are not finite, or not written");
        toy_result_free(&r);
        toy_close(c, &t);
        taken++;
    }
    return taken ? CONFORM_PASS : CONFORM_SKIP;
}

static const conform_check checks[] = {
    {"plan", "the plan lists passes whose inputs, taps and flags are whole and agree (dukd_plan)", plan},
    {"plan-is-kept", "a step hands out passes of the plan, each once, as they are there (dukd_plan)",
     plan_is_kept},
    {"inputs-stay", "passes and their inputs stay as they are until end_step (dukd_pass)", inputs_stay},
    {"origin", "an input whose origin is LR or HR is that image, so augmented (dukd_origin)", origin},
    {"scaled-down", "an input whose origin is LR_DOWN is LR at its size / scale (DUKD_ORIGIN_LR_DOWN)",
     scaled_down},
    {"ranks", "images are made alike in whatever batch they come (dukd_step.first_sample)", ranks},
    {"half-batch", "a 16-bit batch has inputs of its type (dukd_session_params.dtype)", half_batch},
};
const conform_group conform_passes = {"passes", "the plan, and what a step hands out", 0, checks,
                                      sizeof checks / sizeof *checks};
