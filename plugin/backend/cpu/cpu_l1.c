/* Operation l1: cuts the batch into pieces, adds their sums up in the order of the elements. */
#include "cpu_backend.h"

#include <string.h>

#define PARTIALS_ON_STACK 256

typedef struct {
    dukd_l1_job job;
    const dukd_kernels *kernels;
    double *partial; /* [N x pieces][2] */
} l1_work;

static void l1_range(void *arg, int64_t begin, int64_t end, uint32_t worker) {
    const l1_work *w = arg;
    (void)worker;
    w->kernels->l1(&w->job, begin, end, w->partial + 2 * begin);
}

typedef struct {
    dukd_view grad;
} zero_work;

static void zero_range(void *arg, int64_t begin, int64_t end, uint32_t worker) {
    const dukd_view *g = &((const zero_work *)arg)->grad;
    (void)worker;
    for (int64_t i = begin; i < end; i++) {
        const dukd_plane p = dukd_view_plane(g, i / g->c, i % g->c);
        const int64_t size = dukd_element_size(p.type);
        for (int64_t r = 0; r < p.rows; r++) {
            char *row = p.data + r * p.row_stride * size;
            if (p.col_stride == 1) {
                memset(row, 0, (size_t)(p.cols * size));
                continue;
            }
            for (int64_t c = 0; c < p.cols; c++) {
                dukd_element_store(row, p.type, c * p.col_stride, 0.0f);
            }
        }
    }
}

static bool is_channels_last(const dukd_view *v) {
    return v->data == NULL || (v->c_stride == 1 && v->w_stride == v->c && v->h_stride == v->c * v->w);
}

static bool is_identity(const dukd_l1_args *a) {
    for (int64_t n = 0; a->back != NULL && n < a->value->shape[0]; n++) {
        if ((a->back[n] & ~DUKD_AUGMENT_INVERT) != 0) return false;
    }
    return true;
}

static int64_t view_bytes(const dukd_view *v) {
    return v->data == NULL ? 0 : v->n * v->c * v->h * v->w * dukd_element_size(v->type);
}

int32_t dukd_cpu_l1(dukd_backend *base, dukd_l1_args *a, dukd_error *error) {
    dukd_cpu_backend *b = dukd_cpu_backend_of(base);
    a->sum[0] = a->sum[1] = 0.0;
    if (a->n_targets == 0) {
        if (a->grad == NULL) return DUKD_OK;
        zero_work z = {dukd_view_of(a->grad)};
        dukd_parallel_run(&b->parallel, dukd_parallel_team(&b->parallel, view_bytes(&z.grad)),
                          z.grad.n * z.grad.c, zero_range, &z);
        return DUKD_OK;
    }
    l1_work w = {.kernels = &b->kernels};
    dukd_l1_job *job = &w.job;
    *job = (dukd_l1_job){
        .value = dukd_view_of(a->value),
        .grad = dukd_view_of(a->grad),
        .target = {dukd_view_of(a->target[0]), dukd_view_of(a->n_targets > 1 ? a->target[1] : NULL)},
        .n_targets = a->n_targets,
        .factor = {(float)a->factor[0], (float)a->factor[1]},
        .back = a->back,
    };
    job->count = job->value.c * job->value.h * job->value.w;
    job->pieces = (job->count + DUKD_L1_PIECE - 1) / DUKD_L1_PIECE;
    job->channels_last = job->value.c > 1 && is_channels_last(&job->value) && is_channels_last(&job->grad) &&
                         is_channels_last(&job->target[0]) && is_channels_last(&job->target[1]) &&
                         is_identity(a);
    const int64_t bytes = view_bytes(&job->value) + view_bytes(&job->grad) + view_bytes(&job->target[0]) +
                          view_bytes(&job->target[1]);
    job->stream = bytes > b->cache_bytes / 2;

    const int64_t partials = job->value.n * job->pieces;
    double on_stack[2 * PARTIALS_ON_STACK];
    w.partial = on_stack;
    if (partials > PARTIALS_ON_STACK) {
        w.partial = dukd_cpu_workspace(b, partials, 2 * (int64_t)sizeof *w.partial, error);
        if (w.partial == NULL) return DUKD_E_MEMORY;
    }
    dukd_parallel_run(&b->parallel, dukd_parallel_team(&b->parallel, bytes), partials, l1_range, &w);
    for (int64_t i = 0; i < partials; i++) {
        a->sum[0] += w.partial[2 * i];
        if (job->n_targets > 1) a->sum[1] += w.partial[2 * i + 1];
    }
    return DUKD_OK;
}
