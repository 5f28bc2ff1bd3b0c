/* The operations: tensors to views, sizes that fit a grid, one launch or two. */
#include "cuda_backend.h"
#include "report.h"

#include <math.h>
#include <string.h>

dukd_cuda_view dukd_cuda_view_of(const dukd_tensor *t) {
    dukd_cuda_view v = {0};
    if (t == NULL) return v;
    v.data = (char *)t->data + t->byte_offset;
    v.type = t->dtype.bits == 32                ? DUKD_CUDA_F32
             : t->dtype.code == DUKD_TYPE_FLOAT ? DUKD_CUDA_F16
                                                : DUKD_CUDA_BF16;
    int64_t dense = 1;
    for (int i = 3; i >= 0; i--) {
        v.stride[i] = t->strides != NULL ? t->strides[i] : dense;
        dense *= t->shape[i];
    }
    return v;
}

int64_t dukd_cuda_grid(int64_t a, int64_t b, int64_t c, int64_t d) {
    const int64_t factor[4] = {a, b, c, d};
    int64_t product = 1;
    for (int i = 0; i < 4; i++) {
        if (factor[i] < 1 || product > INT32_MAX / factor[i]) return -1;
        product *= factor[i];
    }
    return product;
}

static int64_t tiles(int64_t size) {
    return (size - 1) / DUKD_CUDA_TILE + 1;
}

/* The kernels count rows and columns in 32 bits, up to the end of the last tile. */
int64_t dukd_cuda_partials(const int64_t shape[4]) {
    if (shape[2] > INT32_MAX - DUKD_CUDA_TILE || shape[3] > INT32_MAX - DUKD_CUDA_TILE) return -1;
    return dukd_cuda_grid(shape[0], shape[1], tiles(shape[2]), tiles(shape[3]));
}

int64_t dukd_cuda_columns(const dukd_backend_load *load) {
    const int64_t *s = load->hardest_shape;
    if (dukd_cuda_grid(s[0], tiles(s[3]), 1, 1) < 0) return -1;
    const int64_t offsets = s[2] - load->window_h + 1;
    const double count = (double)s[0] * (double)s[3] * (double)offsets;
    return count > (double)(INT64_MAX / 64) ? -1 : s[0] * s[3] * offsets;
}

int32_t dukd_cuda_too_large(const char *what, dukd_error *error) {
    return dukd_report(error, DUKD_E_UNSUPPORTED,
                       "%s is too large for one grid of the CUDA backend: use smaller batches", what);
}

/* ---------------------------------------------------------------- choices */

int32_t dukd_cuda_place_op(dukd_backend *base, void *to, const void *from, uint64_t size, dukd_error *error) {
    const dukd_cuda_backend *b = dukd_cuda_backend_of(base);
    dukd_cuda_turn turn;
    int32_t status = dukd_cuda_enter(b, &turn, error);
    if (status != DUKD_OK) return status;
    dukd_cuda_place p = {0};
    for (uint64_t at = 0; at < size && status == DUKD_OK; at += sizeof p.word) {
        const uint64_t bytes = size - at < sizeof p.word ? size - at : sizeof p.word;
        p.to = (uint32_t *)((char *)to + at);
        p.count = (uint32_t)(bytes / sizeof *p.word);
        memcpy(p.word, (const char *)from + at, bytes);
        status =
            dukd_cuda_check(dukd_cuda_launch_place(&p, b->stream), "writing the choices of a step", error);
    }
    dukd_cuda_leave(&turn);
    return status;
}

/* ---------------------------------------------------------------- images */

int32_t dukd_cuda_zoom_in_op(dukd_backend *base, const dukd_zoom_in_args *a, dukd_error *error) {
    const dukd_cuda_backend *b = dukd_cuda_backend_of(base);
    const dukd_tensor *made = a->plain != NULL ? a->plain : a->augmented;
    dukd_cuda_turn turn;
    if (made == NULL) return DUKD_OK;
    const dukd_cuda_zoom_in p = {
        .hr = dukd_cuda_view_of(a->hr),
        .plain = dukd_cuda_view_of(a->plain),
        .augmented = dukd_cuda_view_of(a->augmented),
        .n = made->shape[0],
        .c = made->shape[1],
        .h = made->shape[2], /* a D that transposes is of square images alone */
        .w = made->shape[3],
        .image = a->image,
        .row = a->row,
        .col = a->col,
        .augment = a->augment,
    };
    if (dukd_cuda_grid(p.n, p.c, p.h, p.w) < 0) return dukd_cuda_too_large("the zoomed-in image", error);
    int32_t status = dukd_cuda_enter(b, &turn, error);
    if (status != DUKD_OK) return status;
    status = dukd_cuda_check(dukd_cuda_launch_zoom_in(&p, b->stream), "launching the zoom in", error);
    dukd_cuda_leave(&turn);
    return status;
}

static double cubic(double x) {
    const double a = fabs(x);
    if (a <= 1.0) return (1.5 * a - 2.5) * a * a + 1.0;
    if (a < 2.0) return ((-0.5 * a + 2.5) * a - 4.0) * a + 2.0;
    return 0.0;
}

/* Output o lies at o * scale + (scale - 1) / 2 of the input: the same fraction for all o, so the same weights. */
static void make_weights(dukd_cuda_zoom_out *p) {
    double sum = 0.0;
    p->taps = p->scale % 2 == 0 ? 4 * p->scale : 4 * p->scale - 1;
    p->first = -((p->taps - p->scale) / 2);
    for (int64_t t = 0; t < p->taps; t++) {
        p->weight[t] = cubic(((double)t - (double)(p->taps - 1) / 2.0) / (double)p->scale);
        sum += p->weight[t];
    }
    for (int64_t t = 0; t < p->taps; t++) p->weight[t] /= sum;
}

int32_t dukd_cuda_zoom_out_op(dukd_backend *base, const dukd_zoom_out_args *a, dukd_error *error) {
    const dukd_cuda_backend *b = dukd_cuda_backend_of(base);
    dukd_cuda_turn turn;
    if (a->plain == NULL && a->augmented == NULL) return DUKD_OK;
    dukd_cuda_zoom_out p = {
        .lr = dukd_cuda_view_of(a->lr),
        .plain = dukd_cuda_view_of(a->plain),
        .augmented = dukd_cuda_view_of(a->augmented),
        .n = a->lr->shape[0],
        .c = a->lr->shape[1],
        .h = a->lr->shape[2],
        .w = a->lr->shape[3],
        .scale = a->scale,
        .augment = a->augment,
    };
    if (4 * p.scale > DUKD_CUDA_MOST_TAPS) return dukd_cuda_too_large("the scale", error);
    p.out_h = (p.h - 1) / p.scale + 1;
    p.out_w = (p.w - 1) / p.scale + 1;
    p.tiles_w = tiles(p.out_w);
    make_weights(&p);
    if (p.h > DUKD_CUDA_MOST_PIXELS || p.w > DUKD_CUDA_MOST_PIXELS ||
        dukd_cuda_grid(p.n, p.c, p.out_h, p.tiles_w) < 0)
        return dukd_cuda_too_large("the zoomed-out image", error);
    int32_t status = dukd_cuda_enter(b, &turn, error);
    if (status != DUKD_OK) return status;
    status = dukd_cuda_check(dukd_cuda_launch_zoom_out(&p, b->stream), "launching the zoom out", error);
    dukd_cuda_leave(&turn);
    return status;
}

/* ---------------------------------------------------------------- losses */

int32_t dukd_cuda_l1_op(dukd_backend *base, dukd_l1_args *a, dukd_error *error) {
    const dukd_cuda_backend *b = dukd_cuda_backend_of(base);
    dukd_cuda_turn turn;
    if (a->n_targets == 0 && a->grad == NULL) return DUKD_OK;
    const dukd_tensor *shape = a->value != NULL ? a->value : a->grad;
    dukd_cuda_l1 p = {
        .value = dukd_cuda_view_of(a->value),
        .grad = dukd_cuda_view_of(a->grad),
        .n = shape->shape[0],
        .c = shape->shape[1],
        .h = shape->shape[2],
        .w = shape->shape[3],
        .factor = {a->factor[0], a->factor[1]},
        .scale = a->scale_dev,
        .back = a->back,
        .partial = b->partial,
        .mean = {a->mean[0], a->mean[1]},
        .n_targets = a->n_targets,
    };
    for (uint32_t t = 0; t < a->n_targets; t++) p.target[t] = dukd_cuda_view_of(a->target[t]);
    p.tiles_h = tiles(p.h);
    p.tiles_w = tiles(p.w);
    const int64_t blocks = dukd_cuda_partials(shape->shape);
    if (blocks < 0) return dukd_cuda_too_large("a tap", error);
    if (blocks > b->partials)
        return dukd_report(error, DUKD_E_INTERNAL, "the CUDA backend was not told of a tap this large");
    int32_t status = dukd_cuda_enter(b, &turn, error);
    if (status != DUKD_OK) return status;
    if (a->n_targets == 0) {
        status = dukd_cuda_check(dukd_cuda_launch_zero(&p, b->stream), "clearing a gradient", error);
    } else {
        status = dukd_cuda_check(dukd_cuda_launch_l1(&p, b->stream), "launching a loss", error);
    }
    dukd_cuda_leave(&turn);
    return status;
}

int32_t dukd_cuda_hardest_op(dukd_backend *base, const dukd_hardest_args *a, dukd_error *error) {
    const dukd_cuda_backend *b = dukd_cuda_backend_of(base);
    dukd_cuda_turn turn;
    const dukd_backend_load load = {
        .hardest_shape = {a->a->shape[0], a->a->shape[1], a->a->shape[2], a->a->shape[3]},
        .window_h = a->window_h,
        .window_w = a->window_w,
    };
    const int64_t columns = dukd_cuda_columns(&load);
    if (columns < 0) return dukd_cuda_too_large("the error map", error);
    if (columns > b->columns)
        return dukd_report(error, DUKD_E_INTERNAL,
                           "the CUDA backend was not told of an error map this large");
    const dukd_cuda_hardest p = {
        .a = dukd_cuda_view_of(a->a),
        .b = dukd_cuda_view_of(a->b),
        .n = a->a->shape[0],
        .c = a->a->shape[1],
        .h = a->a->shape[2],
        .w = a->a->shape[3],
        .window_h = a->window_h,
        .window_w = a->window_w,
        .column = b->column,
        .row = a->row,
        .col = a->col,
    };
    int32_t status = dukd_cuda_enter(b, &turn, error);
    if (status != DUKD_OK) return status;
    status = dukd_cuda_check(dukd_cuda_launch_hardest(&p, b->stream),
                             "launching the search for the hardest crop", error);
    dukd_cuda_leave(&turn);
    return status;
}
