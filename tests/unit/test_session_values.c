/* What a step computes, against a literal second computation: the images of every pass from the paper's
 * definitions, applied one operation at a time to small arrays; losses and their gradients, element by
 * element and by finite differences; element types, layouts, threads, and how a batch is cut. */
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
#include "support/fill.h"

#define OFFICIAL "model_type=DUKD", "train.pixel_opt.type=L1Loss", "train.kd_opt.type=L1Loss"

/* ---------------------------------------------------------------- a source that writes down what it gave */

enum { MOST = 512 };

typedef struct {
    uint64_t salt;
    bool no_turns; /* never a quarter turn */
    dukd_draw draw[MOST];
    uint64_t value[MOST];
    uint32_t n;
} recorder;

static int32_t record(void *ctx, const dukd_draw *draw, uint64_t *value) {
    recorder *r = ctx;
    const bool tile =
        draw->what == DUKD_DRAW_TILE; /* the crops of an image have neighbouring ones: all different */
    const uint64_t bits =
        dukd_fill_bits(r->salt + draw->what + 16 * draw->branch + (tile ? 0 : 64 * draw->crop),
                       (uint64_t)(draw->sample + 100 * draw->iteration));
    assert_true(r->n < MOST);
    *value = (bits / 2 + (tile ? draw->crop : 0)) % draw->bound;
    if (r->no_turns && (draw->what == DUKD_DRAW_ROTATE || draw->what == DUKD_DRAW_TRANSPOSE)) {
        *value &= ~(uint64_t)1;
    }
    r->draw[r->n] = *draw;
    r->value[r->n++] = *value;
    return 1;
}

static uint64_t recorded(const recorder *r, uint32_t what, uint32_t branch, int64_t sample, uint32_t crop) {
    for (uint32_t i = 0; i < r->n; i++) {
        const dukd_draw *d = &r->draw[i];
        if (d->what == what && d->branch == branch && d->sample == sample && d->crop == crop)
            return r->value[i];
    }
    fail_msg("nothing was drawn for %u, %u, %lld, %u", what, branch, (long long)sample, crop);
    return 0;
}

static void open_recorded(fixture *f, recorder *r, const char *const *options) {
    fixture_must_open(f, options);
    const dukd_ext_draws *draws = f->plugin->get_extension(DUKD_EXT_DRAWS);
    assert_int_equal(draws->set_source(f->session, record, r, &f->error), DUKD_OK);
}

/* ---------------------------------------------------------------- small images in double */

enum { SIDE = 32 };

typedef struct {
    int64_t h, w;
    double at[SIDE][SIDE];
} plane;

typedef enum { FLIP_W, FLIP_H, TURN, TURN_BACK, TRANSPOSE, INVERT } operation;

static plane apply(const plane *in, operation o) {
    static plane out; /* too large for many frames; copied at once */
    const bool swapped = o == TURN || o == TURN_BACK || o == TRANSPOSE;
    out.h = swapped ? in->w : in->h;
    out.w = swapped ? in->h : in->w;
    for (int64_t i = 0; i < out.h; i++) {
        for (int64_t j = 0; j < out.w; j++) {
            switch (o) {
            case FLIP_W:
                out.at[i][j] = in->at[i][in->w - 1 - j];
                break;
            case FLIP_H:
                out.at[i][j] = in->at[in->h - 1 - i][j];
                break;
            case TURN: /* counter-clockwise */
                out.at[i][j] = in->at[j][in->w - 1 - i];
                break;
            case TURN_BACK:
                out.at[i][j] = in->at[in->h - 1 - j][i];
                break;
            case TRANSPOSE:
                out.at[i][j] = in->at[j][i];
                break;
            default:
                out.at[i][j] = 1 - in->at[i][j];
            }
        }
    }
    return out;
}

/* The operations of an image's D, in order, and of what maps its output back. */
typedef struct {
    operation d[8], back[8];
    int n;
} mapping;

static mapping mapping_of(const recorder *r, bool official, uint32_t branch, int64_t sample, uint32_t crop) {
    mapping m = {.n = 0};
    if (official) {
        if (recorded(r, DUKD_DRAW_INVERT, branch, sample, crop)) m.d[m.n++] = INVERT;
        if (recorded(r, DUKD_DRAW_FLIP_H, branch, sample, crop)) m.d[m.n++] = FLIP_H;
        if (recorded(r, DUKD_DRAW_FLIP_W, branch, sample, crop)) m.d[m.n++] = FLIP_W;
        if (recorded(r, DUKD_DRAW_TRANSPOSE, branch, sample, crop)) m.d[m.n++] = TRANSPOSE;
        memcpy(m.back, m.d, sizeof m.d); /* the same in the same order */
        return m;
    }
    if (recorded(r, DUKD_DRAW_FLIP_W, branch, sample, crop)) m.d[m.n++] = FLIP_W;
    if (recorded(r, DUKD_DRAW_FLIP_H, branch, sample, crop)) m.d[m.n++] = FLIP_H;
    for (uint64_t k = recorded(r, DUKD_DRAW_ROTATE, branch, sample, crop); k > 0; k--) m.d[m.n++] = TURN;
    if (recorded(r, DUKD_DRAW_INVERT, branch, sample, crop)) m.d[m.n++] = INVERT;
    for (int i = 0; i < m.n; i++) m.back[i] = m.d[m.n - 1 - i] == TURN ? TURN_BACK : m.d[m.n - 1 - i];
    return m;
}

static plane apply_all(plane p, const operation *o, int n) {
    for (int i = 0; i < n; i++) p = apply(&p, o[i]);
    return p;
}

static plane take(const dukd_tensor *t, int64_t n, int64_t c, int64_t row, int64_t col, int64_t h,
                  int64_t w) {
    static plane p;
    p.h = h;
    p.w = w;
    for (int64_t i = 0; i < h; i++) {
        for (int64_t j = 0; j < w; j++) p.at[i][j] = fixture_get(t, n, c, row + i, col + j);
    }
    return p;
}

/* MATLAB's imresize by 1 / s, antialiased bicubic, along rows of the transposed image, twice. */
static plane scaled_down(const plane *in, int32_t s) {
    plane p = *in;
    for (int pass = 0; pass < 2; pass++) {
        plane out = {.h = (p.h + s - 1) / s, .w = p.w};
        for (int64_t o = 0; o < out.h; o++) {
            const double centre = ((double)o + 0.5) * s - 0.5;
            double total = 0;
            for (int64_t j = 0; j < p.w; j++) out.at[o][j] = 0;
            for (int64_t i = (int64_t)floor(centre - 2.0 * s); i <= (int64_t)ceil(centre + 2.0 * s); i++) {
                const double x = fabs(centre - (double)i) / s;
                const double weight = x <= 1   ? (1.5 * x - 2.5) * x * x + 1
                                      : x <= 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2
                                               : 0;
                int64_t k = ((i % (2 * p.h)) + 2 * p.h) % (2 * p.h); /* ... 1 0 | 0 1 ... h-1 | h-1 ... */
                if (k >= p.h) k = 2 * p.h - 1 - k;
                total += weight;
                for (int64_t j = 0; j < p.w; j++) out.at[o][j] += weight * p.at[k][j];
            }
            for (int64_t j = 0; j < p.w; j++) out.at[o][j] /= total;
        }
        p = apply(&out, TRANSPOSE);
    }
    return p;
}

static plane network(const fixture_net *net, int32_t s, const plane *x, int64_t c) {
    plane y = {.h = x->h * s, .w = x->w * s};
    for (int64_t i = 0; i < y.h; i++) {
        for (int64_t j = 0; j < y.w; j++)
            y.at[i][j] = net->w * x->at[i / s][j / s] + net->b * fixture_pattern(c, i, j);
    }
    return y;
}

static double distance(const plane *a, const plane *b) {
    double sum = 0;
    assert_true(a->h == b->h && a->w == b->w);
    for (int64_t i = 0; i < a->h; i++) {
        for (int64_t j = 0; j < a->w; j++) sum += fabs(a->at[i][j] - b->at[i][j]);
    }
    return sum / (double)(a->h * a->w);
}

/* ---------------------------------------------------------------- a whole step, literally */

typedef struct {
    double rec, kd, zoom_out, zoom_in, zoom_out_pix;
} losses;

typedef struct {
    double rec, kd, zoom_out, zoom_in, zoom_out_pix;
} weights;

typedef struct {
    fixture *f;
    const recorder *r;
    weights weight; /* 0: not computed */
    bool official, augments;
    uint32_t crops;
    int64_t first;
    const int32_t *rows, *cols; /* where zoom in was, where the source did not say */
    bool tiles, batch_tiles;
} literal;

static void window_of(const literal *l, int64_t b, uint32_t crop, int64_t *row, int64_t *col) {
    const int64_t sample = l->first + b;
    if (l->rows != NULL) {
        *row = l->rows[crop * l->f->n + b];
        *col = l->cols[crop * l->f->n + b];
    } else if (l->tiles) {
        const int64_t tile =
            (int64_t)recorded(l->r, DUKD_DRAW_TILE, DUKD_BRANCH_ZOOM_IN, l->batch_tiles ? -1 : sample, crop);
        *row = tile / l->f->scale * l->f->h;
        *col = tile % l->f->scale * l->f->w;
    } else {
        *row = (int64_t)recorded(l->r, DUKD_DRAW_CROP_ROW, DUKD_BRANCH_ZOOM_IN, sample, crop);
        *col = (int64_t)recorded(l->r, DUKD_DRAW_CROP_COL, DUKD_BRANCH_ZOOM_IN, sample, crop);
    }
}

static double upcycled(const literal *l, const plane *x, int64_t c, int64_t b, uint32_t branch, uint32_t crop,
                       bool augments, const fixture_net *student) {
    const fixture *f = l->f;
    const mapping m =
        augments ? mapping_of(l->r, l->official, branch, l->first + b, crop) : (mapping){.n = 0};
    const plane seen = apply_all(*x, m.d, m.n), answer = network(&f->net[FIXTURE_TEACHER], f->scale, x, c);
    const plane given = apply_all(network(student, f->scale, &seen, c), m.back, m.n);
    return distance(&given, &answer);
}

static losses literal_losses(const literal *l, const fixture_net *student) {
    const fixture *f = l->f;
    const double images = (double)(f->n * f->c);
    losses sum = {0};
    for (int64_t b = 0; b < f->n; b++) {
        for (int64_t c = 0; c < f->c; c++) {
            const plane x = take(&f->lr.tensor, b, c, 0, 0, f->h, f->w);
            const plane y = take(&f->hr.tensor, b, c, 0, 0, f->h * f->scale, f->w * f->scale);
            const plane s = network(student, f->scale, &x, c),
                        t = network(&f->net[FIXTURE_TEACHER], f->scale, &x, c);
            sum.rec += distance(&s, &y) / images;
            sum.kd += distance(&s, &t) / images;
            const plane zo = scaled_down(&x, f->scale);
            if (l->weight.zoom_out > 0) {
                sum.zoom_out +=
                    upcycled(l, &zo, c, b, DUKD_BRANCH_ZOOM_OUT, 0, l->augments && !l->official, student) /
                    images;
            }
            if (l->weight.zoom_out_pix > 0) {
                const plane back = network(student, f->scale, &zo, c);
                sum.zoom_out_pix += distance(&back, &x) / images;
            }
            for (uint32_t crop = 0; crop < l->crops && l->weight.zoom_in > 0; crop++) {
                int64_t row, col;
                window_of(l, b, crop, &row, &col);
                const plane zi = take(&f->hr.tensor, b, c, row, col, f->h, f->w);
                sum.zoom_in += upcycled(l, &zi, c, b, DUKD_BRANCH_ZOOM_IN, crop, l->augments, student) /
                               images / l->crops;
            }
        }
    }
    return sum;
}

static void assert_close(const char *what, double got, double want, double tolerance) {
    if (!(fabs(got - want) <= tolerance * fmax(1, fabs(want))))
        fail_msg("%s: %.12g, expected %.12g", what, got, want);
}

static double weighted(const losses *l, const weights *w) {
    return w->rec * l->rec + w->kd * l->kd + w->zoom_out * l->zoom_out + w->zoom_in * l->zoom_in +
           w->zoom_out_pix * l->zoom_out_pix;
}

/* d(loss)/dw and d(loss)/db by central differences. */
static void literal_gradient(const literal *l, const fixture_net *at, double *dw, double *db) {
    const double step = 1e-6;
    const fixture_net near[4] = {
        {at->w + step, at->b}, {at->w - step, at->b}, {at->w, at->b + step}, {at->w, at->b - step}};
    double loss[4];
    for (int i = 0; i < 4; i++) {
        const losses sums = literal_losses(l, &near[i]);
        loss[i] = weighted(&sums, &l->weight);
    }
    *dw = (loss[0] - loss[1]) / (2 * step);
    *db = (loss[2] - loss[3]) / (2 * step);
}

/* No ties but where everything is 0. */
static const fixture_net student_start = {0.9137281, 0.4123977};

static void paper_case(const char *const *options, int32_t scale, int64_t h, int64_t w, uint32_t crops,
                       bool tiles, weights weight, bool oblong) {
    fixture f;
    recorder r = {.salt = (uint64_t)scale * 1000 + crops, .no_turns = oblong};
    fixture_init(&f);
    f.scale = scale;
    f.h = h;
    f.w = w;
    f.n = 3;
    f.net[FIXTURE_STUDENT] = student_start;
    open_recorded(&f, &r, options);
    for (int64_t iteration = 1; iteration <= 3; iteration++) {
        const literal l = {.f = &f,
                           .r = &r,
                           .augments = true,
                           .crops = crops,
                           .first = 10 * iteration,
                           .tiles = tiles,
                           .weight = weight};
        const fixture_net at = f.net[FIXTURE_STUDENT];
        double dw, db;
        r.n = 0;
        fixture_step(&f, iteration, l.first, 0);
        const losses want = literal_losses(&l, &at);
        if (weight.rec > 0) assert_close("l_rec", fixture_loss(&f, "l_rec"), want.rec, 1e-6);
        if (weight.kd > 0) assert_close("l_kd", fixture_loss(&f, "l_kd"), want.kd, 1e-6);
        if (weight.zoom_out > 0)
            assert_close("l_zoom_out", fixture_loss(&f, "l_zoom_out"), want.zoom_out, 1e-6);
        if (weight.zoom_in > 0) assert_close("l_zoom_in", fixture_loss(&f, "l_zoom_in"), want.zoom_in, 1e-6);
        assert_close("l_total", fixture_loss(&f, "l_total"), weighted(&want, &weight), 1e-6);
        literal_gradient(&l, &at, &dw, &db);
        assert_close("dw", f.dw_at[0], dw, 1e-5);
        assert_close("db", f.db_at[0], db, 1e-5);
        assert_int_equal(f.optimized, 1);
    }
    fixture_close(&f);
}

static void paper_mode_is_the_papers_loss(void **state) {
    (void)state;
    paper_case(NULL, 2, 8, 8, 1, false, (weights){1, 1, 1, 1, 0}, false);
    paper_case(OPTIONS("train.w_rec=1", "train.w_kd=0.5", "train.w_dukd=2"), 3, 6, 6, 1, false,
               (weights){1, 0.5, 2, 2, 0}, false);
    paper_case(OPTIONS("train.zoom_in_count=3"), 2, 7, 7, 3, false, (weights){1, 1, 1, 1, 0}, false);
    paper_case(OPTIONS("train.zoom_in=grid", "train.zoom_in_count=2"), 3, 5, 5, 2, true,
               (weights){1, 1, 1, 1, 0}, false);
    paper_case(OPTIONS("train.terms=[dukd]", "train.zoom_out=false"), 2, 8, 8, 1, false,
               (weights){0, 0, 0, 1, 0}, false);
    paper_case(OPTIONS("train.zoom_in=none", "train.w_kd=0"), 2, 8, 8, 0, false, (weights){1, 0, 1, 0, 0},
               false);
    paper_case(OPTIONS("train.augment.rot90=0"), 2, 6, 9, 1, false, (weights){1, 1, 1, 1, 0},
               true); /* oblong */
}

static void official_case(const char *const *options, int32_t scale, uint32_t crops, bool augments,
                          bool zoom_out, double w_pix, double w_kd) {
    fixture f;
    recorder r = {.salt = (uint64_t)scale * 77 + crops};
    fixture_init(&f);
    f.scale = scale;
    f.h = f.w = 6;
    f.n = 3;
    f.net[FIXTURE_STUDENT] = student_start;
    open_recorded(&f, &r, options);
    for (int64_t iteration = 1; iteration <= 3; iteration++) {
        const literal a = {
            .f = &f, .r = &r, .official = true, .first = 5 * iteration, .weight = {.rec = w_pix, .kd = w_kd}};
        literal b = a;
        b.augments = augments;
        b.crops = crops;
        b.tiles = b.batch_tiles = true;
        b.weight =
            (weights){.zoom_in = w_kd, .zoom_out = zoom_out ? w_kd : 0, .zoom_out_pix = zoom_out ? w_pix : 0};
        const fixture_net start = f.net[FIXTURE_STUDENT];
        double dw_a, db_a, dw_b, db_b;
        r.n = 0;
        fixture_step(&f, iteration, a.first, 0);
        assert_int_equal(f.optimized, 2);
        literal_gradient(&a, &start, &dw_a, &db_a);
        assert_close("dw of A", f.dw_at[0], dw_a, 1e-5);
        assert_close("db of A", f.db_at[0], db_a, 1e-5);
        /* B is computed with the weights that A's step has moved, and its gradient comes on top of A's */
        const fixture_net moved = {start.w - f.rate * f.dw_at[0], start.b - f.rate * f.db_at[0]};
        literal_gradient(&b, &moved, &dw_b, &db_b);
        assert_close("dw of A + B", f.dw_at[1], f.dw_at[0] + dw_b, 1e-5);
        assert_close("db of A + B", f.db_at[1], f.db_at[0] + db_b, 1e-5);
        const losses first = literal_losses(&a, &start), second = literal_losses(&b, &moved);
        assert_close("l_pix", fixture_loss(&f, "l_pix"), w_pix * first.rec, 1e-6);
        assert_close("l_kd", fixture_loss(&f, "l_kd"), w_kd * first.kd, 1e-6);
        assert_close("l_zoom_in", fixture_loss(&f, "l_zoom_in"), w_kd * second.zoom_in, 1e-6);
        if (!zoom_out) continue;
        assert_close("l_zoom_out_pix", fixture_loss(&f, "l_zoom_out_pix"), w_pix * second.zoom_out_pix, 1e-6);
        assert_close("l_zoom_out_kd", fixture_loss(&f, "l_zoom_out_kd"), w_kd * second.zoom_out, 1e-6);
    }
    fixture_close(&f);
}

static void official_mode_is_the_released_code(void **state) {
    (void)state;
    official_case(OPTIONS(OFFICIAL, "train.pixel_opt.loss_weight=5", "train.noisy.prob=0.3",
                          "train.dukd_opt.n_gt_sub=[2]", "train.dukd_opt.zoom_out=true"),
                  2, 2, true, true, 5, 1);
    official_case(OPTIONS(OFFICIAL, "train.kd_opt.loss_weight=0.5", "train.noisy.prob=0.3",
                          "train.dukd_opt.zoom_out=true"),
                  3, 1, true, true, 1, 0.5);
    official_case(OPTIONS(OFFICIAL), 2, 1, false, false, 1, 1);
}

/* ---------------------------------------------------------------- the images of the passes */

static void images_are_exact_and_their_origins_say_what_they_are(void **state) {
    (void)state;
    fixture f;
    recorder r = {.salt = 5};
    const dukd_pass *pass[3];
    fixture_init(&f);
    f.n = 2;
    open_recorded(&f, &r, OPTIONS("train.zoom_in_count=2"));
    fixture_batch(&f, 30);
    assert_int_equal(fixture_begin(&f, 4, 30, 0), DUKD_OK);
    for (int i = 0; i < 3; i++) assert_int_equal(f.plugin->next_pass(f.session, &pass[i], &f.error), DUKD_OK);
    for (int p = 0; p < 3; p++) {
        for (uint32_t k = 0; k < pass[p]->n_inputs; k++) {
            const dukd_origin *o = pass[p]->inputs[k]->origin;
            const dukd_tensor *t = pass[p]->inputs[k]->tensor;
            const uint32_t kinds[3] = {DUKD_ORIGIN_LR, DUKD_ORIGIN_LR_DOWN, DUKD_ORIGIN_HR};
            assert_int_equal(o->struct_size, DUKD_ORIGIN_SIZE);
            assert_int_equal(o->kind, kinds[p]);
            assert_int_equal(o->flags, 0);
            assert_int_equal(o->n_samples, t->shape[0]);
            assert_true((o->rows != NULL) == (p == 2) && (o->cols != NULL) == (p == 2));
            assert_true((o->augment != NULL) == (k == 1));
            for (uint32_t n = 0; n < o->n_samples; n++) {
                const int64_t b = n % f.n;
                const uint32_t crop = n / (uint32_t)f.n,
                               branch = p == 2 ? DUKD_BRANCH_ZOOM_IN : DUKD_BRANCH_ZOOM_OUT;
                assert_int_equal(o->samples[n], 30 + b);
                if (p == 2) {
                    assert_int_equal(o->rows[n], recorded(&r, DUKD_DRAW_CROP_ROW, branch, 30 + b, crop));
                    assert_int_equal(o->cols[n], recorded(&r, DUKD_DRAW_CROP_COL, branch, 30 + b, crop));
                }
                for (int64_t c = 0; c < f.c; c++) {
                    plane want = take(&f.lr.tensor, b, c, 0, 0, f.h, f.w);
                    if (p == 1) want = scaled_down(&want, f.scale);
                    if (p == 2) want = take(&f.hr.tensor, b, c, o->rows[n], o->cols[n], f.h, f.w);
                    plane described = want;
                    if (k == 1) {
                        const mapping m = mapping_of(&r, false, branch, 30 + b, crop);
                        want = apply_all(want, m.d, m.n);
                        /* the origin's bits mean the same */
                        if ((o->augment[n] & DUKD_AUGMENT_FLIP_W) != 0) described = apply(&described, FLIP_W);
                        if ((o->augment[n] & DUKD_AUGMENT_FLIP_H) != 0) described = apply(&described, FLIP_H);
                        if ((o->augment[n] & DUKD_AUGMENT_TRANSPOSE) != 0)
                            described = apply(&described, TRANSPOSE);
                        if ((o->augment[n] & DUKD_AUGMENT_INVERT) != 0) described = apply(&described, INVERT);
                    }
                    for (int64_t i = 0; i < want.h; i++) {
                        for (int64_t j = 0; j < want.w; j++) {
                            const double got = fixture_get(t, n, c, i, j);
                            /* crops and 1 - k/256 are exact, a scaled-down image is rounded to f32 */
                            assert_true(fabs(got - want.at[i][j]) <= (p == 1 ? 2e-7 : 0));
                            assert_true(want.at[i][j] == described.at[i][j]);
                        }
                    }
                }
            }
        }
    }
    fixture_close(&f);
}

typedef struct {
    const fixture *f;
    uint32_t found;
    int32_t rows[8], cols[8];
} hardest_check;

/* When the zoom-in pass is submitted: its crops are where |T(x) - y| is largest. */
static void check_hardest(void *ctx, const dukd_pass *pass, const dukd_tensor *const *values,
                          const dukd_tensor *const *grads) {
    hardest_check *check = ctx;
    const fixture *f = check->f;
    (void)values;
    (void)grads;
    const dukd_origin *o = pass->inputs[0]->origin;
    if (o->kind != DUKD_ORIGIN_HR) return;
    for (uint32_t b = 0; b < o->n_samples; b++) {
        double best = -1;
        int64_t best_row = -1, best_col = -1;
        for (int64_t row = 0; row + f->h <= f->h * f->scale; row++) {
            for (int64_t col = 0; col + f->w <= f->w * f->scale; col++) {
                double error = 0;
                for (int64_t c = 0; c < f->c; c++) {
                    for (int64_t i = 0; i < f->h; i++) {
                        for (int64_t j = 0; j < f->w; j++) {
                            const double t = f->net[FIXTURE_TEACHER].w * fixture_get(&f->lr.tensor, b, c,
                                                                                     (row + i) / f->scale,
                                                                                     (col + j) / f->scale) +
                                             f->net[FIXTURE_TEACHER].b * fixture_pattern(c, row + i, col + j);
                            error += fabs(t - fixture_get(&f->hr.tensor, b, c, row + i, col + j));
                        }
                    }
                }
                if (error > best * (1 + 1e-9)) {
                    best = error;
                    best_row = row;
                    best_col = col;
                }
            }
        }
        assert_int_equal(o->rows[b], best_row);
        assert_int_equal(o->cols[b], best_col);
        check->rows[b] = o->rows[b];
        check->cols[b] = o->cols[b];
        check->found++;
    }
}

static void the_hardest_crop_is_where_the_teacher_errs_most(void **state) {
    (void)state;
    fixture f;
    for (int collect = 0; collect < 2; collect++) {
        hardest_check check = {.f = &f};
        recorder r = {.salt = 9};
        fixture_init(&f);
        f.n = 3;
        f.scale = 3;
        f.w = 8;
        f.h = 8;
        f.collect = collect;
        f.net[FIXTURE_STUDENT] = student_start;
        f.watch = check_hardest;
        f.watch_ctx = &check;
        open_recorded(&f, &r, OPTIONS("train.zoom_in=hardest"));
        for (int64_t iteration = 1; iteration <= 3; iteration++) {
            const literal l = {.f = &f,
                               .r = &r,
                               .augments = true,
                               .crops = 1,
                               .first = 3 * iteration,
                               .rows = check.rows,
                               .cols = check.cols,
                               .weight = {1, 1, 1, 1, 0}};
            const fixture_net at = f.net[FIXTURE_STUDENT];
            double dw, db;
            r.n = 0;
            fixture_step(&f, iteration, l.first, 0);
            assert_close("l_zoom_in", fixture_loss(&f, "l_zoom_in"), literal_losses(&l, &at).zoom_in, 1e-6);
            literal_gradient(&l, &at, &dw, &db);
            assert_close("dw", f.dw_at[0], dw, 1e-5);
            assert_close("db", f.db_at[0], db, 1e-5);
        }
        assert_int_equal(check.found, 9);
        fixture_close(&f);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paper_mode_is_the_papers_loss),
        cmocka_unit_test(official_mode_is_the_released_code),
        cmocka_unit_test(images_are_exact_and_their_origins_say_what_they_are),
        cmocka_unit_test(the_hardest_crop_is_where_the_teacher_errs_most),
    };
    return cmocka_run_group_tests_name("session_values", tests, NULL, NULL);
}
