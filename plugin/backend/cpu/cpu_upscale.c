/* Operation upscale: torch's bicubic interpolation (Keys 1981, a = -0.75), which makes CSD's negatives. */
#include "cpu_backend.h"

#include <math.h>

#define TAPS 4

typedef struct {
    dukd_view lr, out;
    int64_t scale;
    const double *weight; /* [scale][TAPS]: of output pixels o = i scale + phase */
    const int64_t *first; /* [scale]: the first of the four, relative to i */
    double *row;          /* [workers][lr.w]: an output row before the width pass */
} upscale_work;

static double cubic(double x) {
    const double a = -0.75, d = fabs(x);
    if (d <= 1.0) return ((a + 2.0) * d - (a + 3.0)) * d * d + 1.0;
    if (d < 2.0) return ((a * d - 5.0 * a) * d + 8.0 * a) * d - 4.0 * a;
    return 0.0;
}

/* Output o lies at (o + 1/2) / scale - 1/2 of the input. */
static void make_weights(double *weight, int64_t *first, int64_t scale) {
    for (int64_t phase = 0; phase < scale; phase++) {
        const double at = ((double)phase + 0.5) / (double)scale - 0.5, whole = floor(at);
        first[phase] = (int64_t)whole - 1;
        for (int t = 0; t < TAPS; t++) weight[phase * TAPS + t] = cubic(at - whole + 1.0 - t);
    }
}

static int64_t clamped(int64_t i, int64_t n) {
    return i < 0 ? 0 : i < n ? i : n - 1;
}

static void upscale_plane(const upscale_work *w, const dukd_plane *x, const dukd_plane *y, double *reduced) {
    for (int64_t r = 0; r < y->rows; r++) {
        const double *v = w->weight + r % w->scale * TAPS;
        const int64_t from = r / w->scale + w->first[r % w->scale];
        for (int64_t c = 0; c < x->cols; c++) {
            reduced[c] = 0.0;
            for (int t = 0; t < TAPS; t++)
                reduced[c] += v[t] * (double)dukd_plane_load(x, clamped(from + t, x->rows), c);
        }
        for (int64_t c = 0; c < y->cols; c++) {
            const double *h = w->weight + c % w->scale * TAPS;
            const int64_t left = c / w->scale + w->first[c % w->scale];
            double sum = 0.0;
            for (int t = 0; t < TAPS; t++) sum += h[t] * reduced[clamped(left + t, x->cols)];
            dukd_plane_store(y, r, c, (float)sum);
        }
    }
}

static void upscale_range(void *arg, int64_t begin, int64_t end, uint32_t worker) {
    const upscale_work *w = arg;
    for (int64_t i = begin; i < end; i++) {
        const dukd_plane x = dukd_view_plane(&w->lr, i / w->out.c, i % w->out.c);
        const dukd_plane y = dukd_view_plane(&w->out, i / w->out.c, i % w->out.c);
        upscale_plane(w, &x, &y, w->row + worker * w->lr.w);
    }
}

int32_t dukd_cpu_upscale(dukd_backend *base, const dukd_upscale_args *a, dukd_error *error) {
    dukd_cpu_backend *b = dukd_cpu_backend_of(base);
    upscale_work w = {.lr = dukd_view_of(a->lr), .out = dukd_view_of(a->out), .scale = a->scale};
    const int64_t planes = w.out.n * w.out.c;
    const dukd_team team = dukd_parallel_team(&b->parallel, planes * w.out.h * w.out.w * 16);
    const int64_t size = w.scale * TAPS * (int64_t)sizeof *w.weight + w.scale * (int64_t)sizeof *w.first;
    double *weight = dukd_cpu_workspace(b, 1, size + team.workers * w.lr.w * (int64_t)sizeof *w.row, error);
    if (weight == NULL) return DUKD_E_MEMORY;
    int64_t *first = (int64_t *)(weight + w.scale * TAPS);
    make_weights(weight, first, w.scale);
    w.weight = weight;
    w.first = first;
    w.row = (double *)(first + w.scale);
    dukd_parallel_run(&b->parallel, team, planes, upscale_range, &w);
    return DUKD_OK;
}
