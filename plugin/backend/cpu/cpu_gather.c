/* Elements of one image of a tensor as dense f32, and back. */
#include "cpu_gather.h"

#include <stdbool.h>

/* From element e on: where it lies, and how many follow it at one stride, at most `count`. */
static char *run_at(const dukd_view *v, int64_t n, int64_t e, int64_t count, int64_t *run) {
    const int64_t w = e % v->w, h = e / v->w % v->h, c = e / (v->w * v->h);
    const bool flat =
        v->h == 1 || v->h_stride == v->w * v->w_stride; /* rows follow each other as elements do */
    const int64_t left = flat ? v->h * v->w - (h * v->w + w) : v->w - w;
    *run = left < count ? left : count;
    return v->data + (n * v->n_stride + c * v->c_stride + h * v->h_stride + w * v->w_stride) *
                         dukd_element_size(v->type);
}

void dukd_gather(float *to, const dukd_view *v, int64_t n, int64_t e, int64_t count) {
    for (int64_t done = 0, run; done < count; done += run) {
        const char *from = run_at(v, n, e + done, count - done, &run);
        if (v->type == DUKD_ELEMENT_F32 && (v->w_stride == 1 || run == 1)) {
            memcpy(to + done, from, (size_t)run * sizeof *to);
            continue;
        }
        for (int64_t i = 0; i < run; i++) to[done + i] = dukd_element_load(from, v->type, i * v->w_stride);
    }
}

void dukd_scatter(const dukd_view *v, int64_t n, int64_t e, const float *from, int64_t count) {
    for (int64_t done = 0, run; done < count; done += run) {
        char *to = run_at(v, n, e + done, count - done, &run);
        if (v->type == DUKD_ELEMENT_F32 && (v->w_stride == 1 || run == 1)) {
            memcpy(to, from + done, (size_t)run * sizeof *from);
            continue;
        }
        for (int64_t i = 0; i < run; i++) dukd_element_store(to, v->type, i * v->w_stride, from[done + i]);
    }
}
