/* The two terms, image by image: each image has a row of its own in s->work, and the rows are added up in their order, so that any
 * number of threads gives the same bits. */
#include "fitnets.h"

#include <math.h>
#include <string.h>

/* An image's row. */
typedef struct {
    double *sum;            /* [FIT_TERMS] of the term over the image's elements */
    double *weight, *bias;  /* [C_T x C_S], [C_T]: d(sum of squares)/d(parameter) */
    double *source, *error; /* [C_S], [C_T]: F_S and 2 (P F_S - F_T) at one pixel */
} row;

static int64_t channels(const dukd_session *s, uint32_t tap) {
    return s->config.term[FIT_HINT] ? s->tap_shape[tap][1] : 0;
}

uint64_t fit_row(const dukd_session *s) {
    const uint64_t from = (uint64_t)channels(s, s->hint), to = (uint64_t)channels(s, s->target);
    return FIT_TERMS + to * from + to + from + to;
}

static row row_of(const dukd_session *s, int64_t n) {
    const int64_t from = channels(s, s->hint), to = channels(s, s->target);
    row r = {.sum = s->work + (uint64_t)n * fit_row(s)};
    r.weight = r.sum + FIT_TERMS;
    r.bias = r.weight + to * from;
    r.source = r.bias + to;
    r.error = r.source + from;
    return r;
}

typedef struct {
    const dukd_session *s;
    fit_view output, output_grad, hr;     /* S */
    fit_view source, source_grad, target; /* F_S, F_T */
    double rec_step, hint_step;           /* what one element's derivative weighs in a gradient */
    bool same;                            /* F_S is S: their gradients add up in one tensor */
} job;

/* ---- rec: |S - y| ---- */

/* Adds the element's difference to *sum; its derivative. NaN - NaN is NaN, as it should be. */
static double absolute(const job *j, const uint8_t *value, int64_t n, int64_t c, int64_t y, int64_t x,
                       double *sum) {
    const double d = fit_load(&j->output, value) - fit_load(&j->hr, fit_at(&j->hr, n, c, y, x));
    *sum += fabs(d);
    return j->rec_step * (isnan(d) ? d : d > 0 ? 1 : d < 0 ? -1 : 0);
}

static void rec_image(const job *j, int64_t n, double *sum) {
    const int64_t *z = j->s->tap_shape[j->s->output];
    for (int64_t c = 0; c < z[1]; c++)
        for (int64_t y = 0; y < z[2]; y++)
            for (int64_t x = 0; x < z[3]; x++) {
                const double g = absolute(j, fit_at(&j->output, n, c, y, x), n, c, y, x, sum);
                fit_store(&j->output_grad, fit_at(&j->output_grad, n, c, y, x), g);
            }
}

/* ---- hint: (P F_S - F_T)^2 ---- */

/* r->source and r->error at a pixel, the square added to *sum. */
static void project(const job *j, const row *r, int64_t n, int64_t y, int64_t x) {
    const dukd_session *s = j->s;
    const int64_t from = channels(s, s->hint), to = channels(s, s->target);
    for (int64_t c = 0; c < from; c++) r->source[c] = fit_load(&j->source, fit_at(&j->source, n, c, y, x));
    for (int64_t o = 0; o < to; o++) {
        double p = (double)s->projection.bias[o];
        for (int64_t c = 0; c < from; c++) p += (double)s->projection.weight[o * from + c] * r->source[c];
        const double d = p - fit_load(&j->target, fit_at(&j->target, n, o, y, x));
        r->sum[FIT_HINT] += d * d;
        r->error[o] = 2 * d;
    }
}

static void add_to_parameters(const job *j, const row *r) {
    const int64_t from = channels(j->s, j->s->hint), to = channels(j->s, j->s->target);
    for (int64_t o = 0; o < to; o++) {
        for (int64_t c = 0; c < from; c++) r->weight[o * from + c] += r->error[o] * r->source[c];
        r->bias[o] += r->error[o];
    }
}

static void hint_image(const job *j, int64_t n, const row *r) {
    const dukd_session *s = j->s;
    const int64_t *z = s->tap_shape[s->hint], from = z[1], to = channels(s, s->target);
    for (int64_t y = 0; y < z[2]; y++)
        for (int64_t x = 0; x < z[3]; x++) {
            project(j, r, n, y, x);
            add_to_parameters(j, r);
            for (int64_t c = 0; c < from; c++) {
                double g = 0;
                for (int64_t o = 0; o < to; o++)
                    g += (double)s->projection.weight[o * from + c] * r->error[o];
                g *= j->hint_step;
                if (j->same) g += absolute(j, fit_at(&j->output, n, c, y, x), n, c, y, x, &r->sum[FIT_REC]);
                fit_store(&j->source_grad, fit_at(&j->source_grad, n, c, y, x), g);
            }
        }
}

/* ---- all images ---- */

static void one_image(void *arg, uint32_t image, uint32_t worker) {
    const job *j = arg;
    const dukd_session *s = j->s;
    const row r = row_of(s, image);
    (void)worker;
    memset(r.sum, 0, fit_row(s) * sizeof *r.sum);
    if (s->config.term[FIT_REC] && !j->same) rec_image(j, image, &r.sum[FIT_REC]);
    if (s->config.term[FIT_HINT]) hint_image(j, image, &r);
}

/* The rows of all images into that of the first. */
static void add_rows(const dukd_session *s) {
    const uint64_t size = fit_row(s);
    for (int64_t n = 1; n < s->lr_shape[0]; n++)
        for (uint64_t k = 0; k < size; k++) s->work[k] += s->work[(uint64_t)n * size + k];
}

static double elements(const int64_t shape[4]) {
    return (double)shape[0] * (double)shape[1] * (double)shape[2] * (double)shape[3];
}

static void finish(dukd_session *s, double hint_step) {
    const row r = row_of(s, 0);
    const fit_projection *p = &s->projection;
    if (s->config.term[FIT_REC]) s->mean[FIT_REC] = r.sum[FIT_REC] / elements(s->hr_shape);
    if (!s->config.term[FIT_HINT]) return;
    const int64_t from = channels(s, s->hint), to = channels(s, s->target);
    s->mean[FIT_HINT] = r.sum[FIT_HINT] / elements(s->tap_shape[s->target]);
    for (int64_t i = 0; i < to * from; i++)
        p->weight_grad[i] = (float)((double)p->weight_grad[i] + hint_step * r.weight[i]);
    for (int64_t i = 0; i < to; i++)
        p->bias_grad[i] = (float)((double)p->bias_grad[i] + hint_step * r.bias[i]);
}

void fit_loss(dukd_session *s, const dukd_submit *submit) {
    const double scale = submit->grad_scale / s->micro_count;
    const uint32_t images = (uint32_t)s->lr_shape[0];
    job j = {.s = s, .hr = fit_view_of(&s->hr), .same = s->hint == s->output};
    if (s->config.term[FIT_REC]) {
        j.output = fit_view_of(submit->values[s->output]);
        j.output_grad = fit_view_of(submit->grads[s->output]);
        j.rec_step = scale * s->config.weight[FIT_REC] / elements(s->hr_shape);
    }
    if (s->config.term[FIT_HINT]) {
        j.source = fit_view_of(submit->values[s->hint]);
        j.source_grad = fit_view_of(submit->grads[s->hint]);
        j.target = fit_view_of(submit->values[s->target]);
        j.hint_step = scale * s->config.weight[FIT_HINT] / elements(s->tap_shape[s->target]);
    }
    if (s->host.parallel_for)
        s->host.parallel_for(s->host.ctx, images, one_image, &j);
    else
        for (uint32_t n = 0; n < images; n++) one_image(&j, n, 0);
    add_rows(s);
    finish(s, j.hint_step);
}
