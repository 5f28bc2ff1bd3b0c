/* Operation contrast: one layer of CSD's L_con and its gradients. Two walks over the maps: the distances, then, as the gradient of a ratio
 * needs both, the signs. */
#include "cpu_backend.h"
#include "cpu_gather.h"

#include <math.h>

#define PIECE   8192 /* elements; a sum a piece, and the pieces' sums are added up in their order */
#define BLOCK   512  /* of them at a time, in the first-level cache */
#define LANES   16   /* element e of a block is added to lane e % 16 */
#define EPSILON 1e-7

typedef struct {
    dukd_view student, teacher, negatives, grad_student, grad_teacher;
    int64_t count, pieces;         /* of an image */
    double *partial;               /* [N x pieces][2]: sums to the teacher, to the negatives */
    float to_teacher, to_negative; /* of one sign, in the student's gradient */
} contrast_work;

static void add_lanes(double lane[LANES], const float *x, const float *y, int64_t n) {
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        for (int k = 0; k < LANES; k++) lane[k] += (double)fabsf(x[i + k] - y[i + k]);
    }
    for (int k = 0; i + k < n; k++) lane[k] += (double)fabsf(x[i + k] - y[i + k]);
}

static double sum_lanes(const double lane[LANES]) {
    double sum = 0.0;
    for (int k = 0; k < LANES; k++) sum += lane[k];
    return sum;
}

static void distance_range(void *arg, int64_t begin, int64_t end, uint32_t worker) {
    const contrast_work *w = arg;
    float x[BLOCK], y[BLOCK];
    (void)worker;
    for (int64_t i = begin; i < end; i++) {
        const int64_t n = i / w->pieces, last = (i % w->pieces + 1) * PIECE;
        double teacher[LANES] = {0.0}, negatives[LANES] = {0.0};
        for (int64_t e = last - PIECE; e < last && e < w->count; e += BLOCK) {
            const int64_t size = w->count - e < BLOCK ? w->count - e : BLOCK;
            dukd_gather(x, &w->student, n, e, size);
            dukd_gather(y, &w->teacher, n, e, size);
            add_lanes(teacher, x, y, size);
            for (int64_t k = 0; k < w->negatives.n; k++) {
                dukd_gather(y, &w->negatives, k, e, size);
                add_lanes(negatives, x, y, size);
            }
        }
        w->partial[2 * i] = sum_lanes(teacher);
        w->partial[2 * i + 1] = sum_lanes(negatives);
    }
}

/* g + factor sign(x - y); NaN where that is */
static void add_signs(float *g, float factor, const float *x, const float *y, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        const float d = x[i] - y[i];
        g[i] += d > 0.0f ? factor : d < 0.0f ? -factor : d == 0.0f ? 0.0f : d;
    }
}

static void gradient_range(void *arg, int64_t begin, int64_t end, uint32_t worker) {
    const contrast_work *w = arg;
    float x[BLOCK], y[BLOCK], g[BLOCK];
    (void)worker;
    for (int64_t i = begin; i < end; i++) {
        const int64_t n = i / w->pieces, last = (i % w->pieces + 1) * PIECE;
        for (int64_t e = last - PIECE; e < last && e < w->count; e += BLOCK) {
            const int64_t size = w->count - e < BLOCK ? w->count - e : BLOCK;
            dukd_gather(x, &w->student, n, e, size);
            dukd_gather(y, &w->teacher, n, e, size);
            if (w->grad_teacher.data != NULL) {
                memset(g, 0, sizeof g);
                add_signs(g, w->to_teacher, y, x, size);
                dukd_scatter(&w->grad_teacher, n, e, g, size);
            }
            if (w->grad_student.data == NULL) continue;
            memset(g, 0, sizeof g);
            for (int64_t k = 0; k < w->negatives.n; k++) {
                float z[BLOCK];
                dukd_gather(z, &w->negatives, k, e, size);
                add_signs(g, w->to_negative, x, z, size);
            }
            add_signs(g, w->to_teacher, x, y, size);
            dukd_scatter(&w->grad_student, n, e, g, size);
        }
    }
}

int32_t dukd_cpu_contrast(dukd_backend *base, dukd_contrast_args *a, dukd_error *error) {
    dukd_cpu_backend *b = dukd_cpu_backend_of(base);
    contrast_work w = {.student = dukd_view_of(a->student),
                       .teacher = dukd_view_of(a->teacher),
                       .negatives = dukd_view_of(a->negatives),
                       .grad_student = dukd_view_of(a->grad_student),
                       .grad_teacher = dukd_view_of(a->grad_teacher)};
    w.count = w.student.c * w.student.h * w.student.w;
    w.pieces = (w.count + PIECE - 1) / PIECE;
    const int64_t pieces = w.student.n * w.pieces, images = w.negatives.n;
    const dukd_team team = dukd_parallel_team(&b->parallel, w.student.n * w.count * 4 * (2 + images));
    w.partial = dukd_cpu_workspace(b, pieces, 2 * (int64_t)sizeof *w.partial, error);
    if (w.partial == NULL) return DUKD_E_MEMORY;
    dukd_parallel_run(&b->parallel, team, pieces, distance_range, &w);
    double teacher = 0.0, negative = 0.0;
    for (int64_t i = 0; i < pieces; i++) {
        teacher += w.partial[2 * i];
        negative += w.partial[2 * i + 1];
    }
    const double elements = (double)w.student.n * (double)w.count;
    teacher /= elements;
    negative = negative / (elements * (double)images) + EPSILON;
    a->ratio = teacher / negative;
    if (a->grad_student == NULL && a->grad_teacher == NULL) return DUKD_OK;
    w.to_teacher = (float)(a->factor / (negative * elements));
    w.to_negative = (float)(-a->factor * a->ratio / (negative * elements * (double)images));
    dukd_parallel_run(&b->parallel, team, pieces, gradient_range, &w);
    return DUKD_OK;
}
