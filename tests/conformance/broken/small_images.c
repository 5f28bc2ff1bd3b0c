/* The inputs that a step makes, and the draws that choose them. */
#include <math.h>
#include <string.h>

#include "small.h"

/* ---- draws: pure functions of seed, iteration, sample, crop and purpose ---- */

static uint64_t mix(uint64_t x) {
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

static double uniform(const dukd_session *s, const dukd_draw *d) {
    uint64_t moment = BROKEN(draws_by_steps) ? s->steps : (uint64_t)d->iteration;
    uint64_t key = mix(small_seed_of(s) + 0x9e3779b97f4a7c15u);
    key = mix(key ^ moment);
    key = mix(key ^ (uint64_t)d->sample);
    key = mix(key ^ ((uint64_t)d->crop << 32 | d->what));
    return (double)(key >> 11) * 0x1p-53;
}

/* A value below the bound; with a probability: 1 as often as it says, else 0. */
static int32_t draw(const dukd_session *s, dukd_draw d, uint64_t *value, dukd_error *error) {
    if (s->source && !BROKEN(deaf_to_source)) {
        int32_t given = s->source(s->source_ctx, &d, value);
        if (given < 0) return small_error(error, given, "the source of draws gave %d", given);
        if (given && *value >= d.bound && !BROKEN(source_unchecked))
            return small_error(error, DUKD_E_ARGUMENT, "the source of draws gave %llu, not below %llu",
                               (unsigned long long)*value, (unsigned long long)d.bound);
        if (given && *value < d.bound) return DUKD_OK;
    }
    double u = uniform(s, &d);
    *value = d.what == DUKD_DRAW_FLIP_W ? u < d.probability : (uint64_t)(u * (double)d.bound);
    return DUKD_OK;
}

static int32_t choose_crop(const dukd_session *s, const dukd_step *step, small_pass *p, int64_t k,
                           dukd_error *error) {
    dukd_draw d = {.struct_size = DUKD_DRAW_SIZE,
                   .what = DUKD_DRAW_CROP_ROW,
                   .branch = DUKD_BRANCH_ZOOM_IN,
                   .crop = (uint32_t)(k / s->n),
                   .iteration = step->iteration,
                   .sample = BROKEN(draws_by_place) ? k % s->n : step->first_sample + k % s->n,
                   .bound = (uint64_t)(s->h * s->scale - s->h + 1)};
    uint64_t row = 0, col = 0, flip = 0;
    int32_t status = s->config.corner ? DUKD_OK : draw(s, d, &row, error);
    d.what = DUKD_DRAW_CROP_COL;
    d.bound = (uint64_t)(s->w * s->scale - s->w + 1);
    if (!status && !s->config.corner) status = draw(s, d, &col, error);
    d.what = DUKD_DRAW_FLIP_W;
    d.bound = 2;
    d.probability = s->config.flip;
    if (!status) status = draw(s, d, &flip, error);
    if (status) return status;
    int64_t images = p->shape[0], *samples = s->chosen[p->pass.id];
    int32_t *rows = (int32_t *)(void *)(samples + images);
    rows[k] = (int32_t)row;
    rows[images + k] = (int32_t)col;
    ((uint32_t *)(void *)(samples + 2 * images))[k] = flip ? DUKD_AUGMENT_FLIP_W : 0;
    return DUKD_OK;
}

/* ---- zoom in ---- */

/* Moves elements as they are, of whatever type. */
static void make_crops(const dukd_session *s, const small_pass *p) {
    small_view from = small_view_of(&s->hr);
    uint8_t *to = p->tensor.data;
    const int64_t size = s->type.bits / 8, *z = p->shape;
    const uint32_t *augment = (const uint32_t *)(const void *)(s->chosen[p->pass.id] + 2 * z[0]);
    for (int64_t k = 0; k < z[0]; k++)
        for (int64_t c = 0; c < z[1]; c++)
            for (int64_t y = 0; y < z[2]; y++)
                for (int64_t x = 0; x < z[3]; x++, to += size) {
                    int64_t source = augment[k] ? z[3] - 1 - x : x;
                    memcpy(to,
                           from.base + k % s->n * from.stride[0] + c * from.stride[1] +
                               (p->origin.rows[k] + y) * from.stride[2] +
                               (p->origin.cols[k] + source) * from.stride[3],
                           (size_t)size);
                }
}

/* ---- zoom out: antialiased bicubic, a = -1/2 ---- */

static double kernel(double x) {
    x = fabs(x);
    if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
    return x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0;
}

/* Beyond the border the image goes on as in a mirror. */
static int64_t mirrored(int64_t i, int64_t n) {
    while (i < 0 || i >= n) i = i < 0 ? -1 - i : 2 * n - 1 - i;
    return i;
}

static float scaled(const dukd_session *s, const small_view *lr, int64_t n, int64_t c, int64_t y, int64_t x) {
    double sum = 0, weights = 0, scale = s->scale;
    double middle_y = ((double)y + 0.5) * scale - 0.5, middle_x = ((double)x + 0.5) * scale - 0.5;
    if (BROKEN(nearest_pixel))
        return small_load(lr, n, c, y * s->scale < s->h ? y * s->scale : s->h - 1,
                          x * s->scale < s->w ? x * s->scale : s->w - 1);
    for (int64_t i = (int64_t)floor(middle_y - 2 * scale); (double)i <= middle_y + 2 * scale; i++)
        for (int64_t k = (int64_t)floor(middle_x - 2 * scale); (double)k <= middle_x + 2 * scale; k++) {
            double w = kernel(((double)i - middle_y) / scale) * kernel(((double)k - middle_x) / scale);
            if (w == 0) continue;
            sum += w * (double)small_load(lr, n, c, mirrored(i, s->h), mirrored(k, s->w));
            weights += w;
        }
    return (float)(sum / weights);
}

static void scale_down(const dukd_session *s, const small_pass *p) {
    small_view from = small_view_of(&s->lr), to = small_view_of(&p->tensor);
    to.type = s->type;
    for (int64_t n = 0; n < p->shape[0]; n++)
        for (int64_t c = 0; c < p->shape[1]; c++)
            for (int64_t y = 0; y < p->shape[2]; y++)
                for (int64_t x = 0; x < p->shape[3]; x++)
                    small_store(&to, n, c, y, x, scaled(s, &from, n, c, y, x));
}

/* ---- all of them ---- */

static int32_t choose(dukd_session *s, const dukd_step *step, uint32_t i, dukd_error *error) {
    small_pass *p = &s->live[i];
    for (int64_t k = 0; k < p->shape[0]; k++) {
        s->chosen[i][k] = step->first_sample + k % s->n;
        int32_t status = s->kind[i] == PASS_ZOOM_IN ? choose_crop(s, step, p, k, error) : DUKD_OK;
        if (status) return status;
    }
    return DUKD_OK;
}

int32_t small_make_images(dukd_session *s, const dukd_step *step, dukd_error *error) {
    for (uint32_t i = 0; i < s->n_passes; i++) {
        int32_t status = choose(s, step, i, error);
        if (status) return status;
    }
    for (uint32_t i = 0; i < s->n_passes; i++) {
        small_pass *p = &s->live[i];
        if (s->kind[i] == PASS_ZOOM_IN) make_crops(s, p);
        if (s->kind[i] == PASS_ZOOM_OUT) scale_down(s, p);
        if (s->kind[i] != PASS_REC) continue;
        p->tensor = s->lr; /* the batch itself */
        p->tensor.dtype = BROKEN(f32_inputs) ? small_f32 : s->type;
    }
    for (uint32_t i = 0; i < s->n_passes && BROKEN(flips_unsaid) && s->type.bits == 32; i++)
        s->live[i].origin.augment = NULL;
    return DUKD_OK;
}
