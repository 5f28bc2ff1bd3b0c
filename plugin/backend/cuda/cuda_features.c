/* The operations on features: FAKD's affinity, CSD's contrast and its negatives; their workspaces. */
#include "cuda_backend.h"
#include "report.h"

#include <math.h>
#include <stdio.h>

/* Blocks of tiles that are worked on at a time: several times what any device holds at once. Images beyond them wait, so that the
 * workspace does not grow with the batch. */
#define GROUP_BLOCKS 1024

/* Where the parts of a workspace begin; each is a multiple of 256 bytes. */
typedef struct {
    char *at;
    double size; /* may be more than fits 64 bits */
} carver;

static void *carve(carver *c, double count, size_t element) {
    const double bytes = ceil(count * (double)element / 256.0) * 256.0;
    char *part = c->at;
    c->size += bytes;
    if (c->at != NULL) c->at += (int64_t)bytes;
    return part;
}

/* ---------------------------------------------------------------- affinity */

/* Fills tiles, images and, from `room` on (NULL: none yet), the workspace of p, whose maps are known; its size in bytes. */
static double lay_affinity(dukd_cuda_affinity *p, char *room) {
    p->tiles = (p->pixels - 1) / DUKD_CUDA_AFFINITY_TILE + 1;
    p->images = p->tiles < GROUP_BLOCKS ? GROUP_BLOCKS / p->tiles : 1;
    if (p->images > p->n) p->images = p->n;
    carver c = {room, 0.0};
    const double line = (double)p->tiles * DUKD_CUDA_AFFINITY_TILE * (double)p->images;
    p->unit_s = carve(&c, line * (double)p->student_c, sizeof *p->unit_s);
    p->unit_t = carve(&c, line * (double)p->teacher_c, sizeof *p->unit_t);
    p->slope = carve(&c, line * (double)p->student_c, sizeof *p->slope);
    p->inverse = carve(&c, line * 2.0, sizeof *p->inverse);
    p->partial = carve(&c, (double)p->tiles * (double)p->n, sizeof *p->partial);
    return c.size;
}

static void shape_affinity(dukd_cuda_affinity *p, const int64_t student[4], const int64_t teacher[4]) {
    p->n = student[0];
    p->student_c = student[1];
    p->teacher_c = teacher[1];
    p->w = student[3];
    p->pixels = student[2] * student[3];
}

static bool affinity_fits(const dukd_cuda_affinity *p) {
    const double columns = (double)p->images * (double)p->tiles * DUKD_CUDA_AFFINITY_TILE;
    const double groups = (double)p->student_c / (4.0 * DUKD_CUDA_AFFINITY_TILE);
    return columns <= INT32_MAX && groups < 65535.0;
}

int32_t dukd_cuda_affinity_op(dukd_backend *base, dukd_affinity_args *a, dukd_error *error) {
    dukd_cuda_backend *b = dukd_cuda_backend_of(base);
    dukd_cuda_turn turn;
    dukd_cuda_affinity p = {
        .student = dukd_cuda_view_of(a->student),
        .teacher = dukd_cuda_view_of(a->teacher),
        .grad = dukd_cuda_view_of(a->grad),
        .factor = 2.0 * a->factor, /* A is symmetric: each of its elements moves with two columns */
        .scale = a->scale_dev,
        .mean = a->mean,
        .add = a->add,
    };
    shape_affinity(&p, a->student->shape, a->teacher->shape);
    if (lay_affinity(&p, b->features) > (double)b->features_size || !affinity_fits(&p))
        return dukd_report(error, DUKD_E_INTERNAL, "the CUDA backend was not told of a map this large");
    int32_t status = dukd_cuda_enter(b, &turn, error);
    if (status != DUKD_OK) return status;
    const int64_t group = p.images;
    for (; p.first < p.n && status == DUKD_OK; p.first += group) {
        p.images = p.n - p.first < group ? p.n - p.first : group;
        status = dukd_cuda_check(dukd_cuda_launch_affinity(&p, b->stream), "launching the affinity of fakd",
                                 error);
    }
    dukd_cuda_leave(&turn);
    return status;
}

/* ---------------------------------------------------------------- contrast */

static double contrast_blocks(const int64_t shape[4]) {
    const double elements = (double)shape[1] * (double)shape[2] * (double)shape[3];
    return ceil(elements / DUKD_CUDA_CONTRAST_THREADS);
}

/* The kernels count the elements of an image in 31 bits. */
static bool contrast_fits(const int64_t shape[4]) {
    return dukd_cuda_grid(1, shape[1], shape[2], shape[3]) > 0;
}

static double lay_contrast(dukd_cuda_contrast *p, const int64_t shape[4], char *room) {
    carver c = {room, 0.0};
    p->partial = carve(&c, 2.0 * contrast_blocks(shape), sizeof *p->partial);
    p->slope = carve(&c, 2.0, sizeof *p->slope);
    return c.size;
}

int32_t dukd_cuda_contrast_op(dukd_backend *base, dukd_contrast_args *a, dukd_error *error) {
    dukd_cuda_backend *b = dukd_cuda_backend_of(base);
    dukd_cuda_turn turn;
    const int64_t *shape = a->student->shape;
    dukd_cuda_contrast p = {
        .student = dukd_cuda_view_of(a->student),
        .teacher = dukd_cuda_view_of(a->teacher),
        .negatives = dukd_cuda_view_of(a->negatives),
        .grad_student = dukd_cuda_view_of(a->grad_student),
        .grad_teacher = dukd_cuda_view_of(a->grad_teacher),
        .n = shape[0],
        .negative_n = a->negatives->shape[0],
        .c = shape[1],
        .h = shape[2],
        .w = shape[3],
        .factor = a->factor,
        .scale = a->scale_dev,
        .mean = a->mean,
        .weight = a->weight,
        .add = a->add,
    };
    if (lay_contrast(&p, shape, b->features) > (double)b->features_size || !contrast_fits(shape))
        return dukd_report(error, DUKD_E_INTERNAL, "the CUDA backend was not told of a map this large");
    int32_t status = dukd_cuda_enter(b, &turn, error);
    if (status != DUKD_OK) return status;
    status =
        dukd_cuda_check(dukd_cuda_launch_contrast(&p, b->stream), "launching the contrast of csd", error);
    dukd_cuda_leave(&turn);
    return status;
}

/* ---------------------------------------------------------------- upscale */

static double cubic(double x) {
    const double a = -0.75, d = fabs(x);
    if (d <= 1.0) return ((a + 2.0) * d - (a + 3.0)) * d * d + 1.0;
    if (d < 2.0) return ((a * d - 5.0 * a) * d + 8.0 * a) * d - 4.0 * a;
    return 0.0;
}

/* Output o lies at (o + 1/2) / scale - 1/2 of the input; the CPU's weights. */
static void make_weights(dukd_cuda_upscale *p) {
    for (int64_t phase = 0; phase < p->scale; phase++) {
        const double at = ((double)phase + 0.5) / (double)p->scale - 0.5, whole = floor(at);
        p->first[phase] = (int32_t)whole - 1;
        for (int t = 0; t < 4; t++) p->weight[phase][t] = cubic(at - whole + 1.0 - t);
    }
}

int32_t dukd_cuda_upscale_op(dukd_backend *base, const dukd_upscale_args *a, dukd_error *error) {
    const dukd_cuda_backend *b = dukd_cuda_backend_of(base);
    dukd_cuda_turn turn;
    dukd_cuda_upscale p = {
        .lr = dukd_cuda_view_of(a->lr),
        .out = dukd_cuda_view_of(a->out),
        .n = a->out->shape[0],
        .c = a->out->shape[1],
        .h = a->out->shape[2],
        .w = a->out->shape[3],
        .lr_h = a->lr->shape[2],
        .lr_w = a->lr->shape[3],
        .scale = a->scale,
    };
    if (p.scale > DUKD_CUDA_MOST_PHASES) return dukd_cuda_too_large("the scale", error);
    if (dukd_cuda_grid(p.n, p.c, p.h, p.w) < 0) return dukd_cuda_too_large("the negatives' image", error);
    make_weights(&p);
    int32_t status = dukd_cuda_enter(b, &turn, error);
    if (status != DUKD_OK) return status;
    status = dukd_cuda_check(dukd_cuda_launch_upscale(&p, b->stream), "launching the upscaling of negatives",
                             error);
    dukd_cuda_leave(&turn);
    return status;
}

/* ---------------------------------------------------------------- before the first step */

void dukd_cuda_prepare_products(dukd_backend *base, char detail[256]) {
    (void)base;
    (void)snprintf(detail, 256, "the CUDA backend's own kernels (f32)");
}

int64_t dukd_cuda_features_room(const dukd_backend_load *load) {
    double most = 0.0;
    for (uint32_t i = 0; i < load->n_affinities; i++) {
        dukd_cuda_affinity p = {0};
        shape_affinity(&p, load->affinity[i].student, load->affinity[i].other);
        most = fmax(most, lay_affinity(&p, NULL));
        if (!affinity_fits(&p)) return -1;
    }
    for (uint32_t i = 0; i < load->n_contrasts; i++) {
        dukd_cuda_contrast p = {0};
        most = fmax(most, lay_contrast(&p, load->contrast[i].student, NULL));
        if (!contrast_fits(load->contrast[i].student)) return -1;
    }
    return most > (double)(INT64_MAX / 2) ? -1 : (int64_t)most;
}
