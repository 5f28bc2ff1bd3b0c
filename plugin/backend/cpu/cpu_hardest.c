/* Operation hardest: the window with the largest error, by running sums over rows and columns.
 *
 * Every pixel's error is added once and taken away once, in f64: exact, and so are ties, where the errors are
 * whole multiples of a power of two that leave room (8- and 16-bit images over powers of two, the golden
 * maps). */
#include "cpu_backend.h"

#include <math.h>

typedef struct {
    const dukd_kernels *kernels;
    const dukd_hardest_args *args;
    dukd_view a, b;
    double *scratch; /* [workers][(window_h + 1) x w]: error rows in a ring, column sums */
    int64_t scratch_count;
} hardest_work;

/* A pixel without a finite error makes its windows the hardest: what is broken is shown, not passed over. It
 * also spoils all later sums, which then never win. */
static void make_infinite(double *error, int64_t count) {
    for (int64_t i = 0; i < count; i++) {
        if (!isfinite(error[i])) error[i] = (double)INFINITY;
    }
}

static void find_hardest(const hardest_work *w, int64_t image, double *ring, int32_t *best_row,
                         int32_t *best_col) {
    const int64_t rows = w->a.h, cols = w->a.w, window_h = w->args->window_h, window_w = w->args->window_w;
    double *column = ring + window_h * cols;
    for (int64_t c = 0; c < cols; c++) {
        column[c] = 0.0;
    }
    double best = -1.0;
    *best_row = *best_col = 0;
    for (int64_t r = 0; r < rows; r++) {
        double *error = ring + r % window_h * cols;
        if (r >= window_h) {
            for (int64_t c = 0; c < cols; c++) {
                column[c] -= error[c];
            }
        }
        const dukd_plane a = dukd_view_plane(&w->a, image, 0), b = dukd_view_plane(&w->b, image, 0);
        const dukd_error_row_job job = {
            .a = a.data + r * a.row_stride * dukd_element_size(a.type),
            .b = b.data + r * b.row_stride * dukd_element_size(b.type),
            .a_type = a.type,
            .b_type = b.type,
            .c = w->a.c,
            .w = cols,
            .a_c_stride = w->a.c_stride,
            .a_w_stride = w->a.w_stride,
            .b_c_stride = w->b.c_stride,
            .b_w_stride = w->b.w_stride,
        };
        w->kernels->error_row(&job, error);
        make_infinite(error, cols);
        for (int64_t c = 0; c < cols; c++) {
            column[c] += error[c];
        }
        if (r + 1 < window_h) continue;
        double sum = 0.0;
        for (int64_t c = 0; c < window_w; c++) {
            sum += column[c];
        }
        for (int64_t c = 0; c + window_w <= cols; c++) {
            if (c > 0) sum += column[c + window_w - 1] - column[c - 1];
            if (sum > best) {
                best = sum;
                *best_row = (int32_t)(r + 1 - window_h);
                *best_col = (int32_t)c;
            }
        }
    }
}

static void hardest_range(void *arg, int64_t begin, int64_t end, uint32_t worker) {
    const hardest_work *w = arg;
    for (int64_t n = begin; n < end; n++) {
        find_hardest(w, n, w->scratch + worker * w->scratch_count, &w->args->row[n], &w->args->col[n]);
    }
}

int32_t dukd_cpu_hardest(dukd_backend *base, const dukd_hardest_args *a, dukd_error *error) {
    dukd_cpu_backend *b = dukd_cpu_backend_of(base);
    hardest_work w = {.kernels = &b->kernels, .args = a, .a = dukd_view_of(a->a), .b = dukd_view_of(a->b)};
    const int64_t pixels = w.a.n * w.a.h * w.a.w;
    const dukd_team team = dukd_parallel_team(&b->parallel, pixels * w.a.c * 8);
    w.scratch_count = ((int64_t)a->window_h + 1) * w.a.w;
    w.scratch = dukd_cpu_workspace(b, team.workers, w.scratch_count * (int64_t)sizeof(double), error);
    if (w.scratch == NULL) return DUKD_E_MEMORY;
    dukd_parallel_run(&b->parallel, team, w.a.n, hardest_range, &w);
    return DUKD_OK;
}
