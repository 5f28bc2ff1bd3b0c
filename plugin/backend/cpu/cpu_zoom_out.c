/* Operation zoom out: antialiased bicubic as MATLAB's imresize does it (Keys 1981, a = -0.5, widened by the
 * scale). */
#include "cpu_backend.h"

#include <math.h>

typedef struct {
    const dukd_kernels *kernels;
    const uint32_t *augment;
    dukd_view lr, plain, augmented;
    dukd_zoom_out_job job; /* all but the planes */
    char *scratch;         /* [workers][scratch_bytes] */
    int64_t scratch_bytes;
} zoom_out_work;

static double cubic(double x) {
    const double a = fabs(x);
    if (a <= 1.0) return (1.5 * a - 2.5) * a * a + 1.0;
    if (a < 2.0) return ((-0.5 * a + 2.5) * a - 4.0) * a + 2.0;
    return 0.0;
}

/* Output o lies at o * scale + (scale - 1) / 2 of the input: a whole or a half number, the same fraction for
 * all o. So all outputs have the same weights. */
static int64_t taps_of(int64_t scale) {
    return scale % 2 == 0 ? 4 * scale : 4 * scale - 1;
}

static void make_weights(double *weight, int64_t taps, int64_t scale) {
    double sum = 0.0;
    for (int64_t t = 0; t < taps; t++) {
        weight[t] = cubic(((double)t - (double)(taps - 1) / 2.0) / (double)scale);
        sum += weight[t];
    }
    for (int64_t t = 0; t < taps; t++) {
        weight[t] /= sum;
    }
}

static void zoom_out_range(void *arg, int64_t begin, int64_t end, uint32_t worker) {
    const zoom_out_work *w = arg;
    for (int64_t i = begin; i < end; i++) {
        const int64_t n = i / w->lr.c, c = i % w->lr.c;
        dukd_zoom_out_job job = w->job;
        job.source = dukd_view_plane(&w->lr, n, c);
        if (w->plain.data != NULL) job.plain = dukd_view_plane(&w->plain, n, c);
        if (w->augmented.data != NULL) {
            job.augmented = dukd_view_plane(&w->augmented, n, c);
            job.augment = w->augment[n];
        }
        w->kernels->zoom_out(&job, 0, job.rows, w->scratch + worker * w->scratch_bytes);
    }
}

int32_t dukd_cpu_zoom_out(dukd_backend *base, const dukd_zoom_out_args *a, dukd_error *error) {
    dukd_cpu_backend *b = dukd_cpu_backend_of(base);
    zoom_out_work w = {
        .kernels = &b->kernels,
        .augment = a->augment,
        .lr = dukd_view_of(a->lr),
        .plain = dukd_view_of(a->plain),
        .augmented = dukd_view_of(a->augmented),
    };
    if (w.plain.data == NULL && w.augmented.data == NULL) return DUKD_OK;
    dukd_zoom_out_job *job = &w.job;
    job->scale = a->scale;
    job->taps = taps_of(job->scale);
    job->first = -((job->taps - job->scale) / 2);
    job->rows = (w.lr.h + job->scale - 1) / job->scale;
    job->cols = (w.lr.w + job->scale - 1) / job->scale;

    const int64_t planes = w.lr.n * w.lr.c;
    const dukd_team team = dukd_parallel_team(&b->parallel, planes * w.lr.h * w.lr.w * 16);
    w.scratch_bytes = (dukd_zoom_out_scratch(w.lr.w, job->scale, job->taps) + 63) / 64 * 64;
    const int64_t weight_bytes = (job->taps * (int64_t)sizeof *job->weight + 63) / 64 * 64;
    double *weight = dukd_cpu_workspace(b, 1, weight_bytes + team.workers * w.scratch_bytes, error);
    if (weight == NULL) return DUKD_E_MEMORY;
    make_weights(weight, job->taps, job->scale);
    job->weight = weight;
    w.scratch = (char *)weight + weight_bytes;
    dukd_parallel_run(&b->parallel, team, planes, zoom_out_range, &w);
    return DUKD_OK;
}
