/* Where the tokens of a window lie, and the scratch of attention. Included by ops_body.h after the vectors. */
#ifndef DUKD_OPS_WINDOW_H
#define DUKD_OPS_WINDOW_H

#include "engine/ops_kernels.h"
#include "engine/ops_product.h"
#include "engine/ops_softmax.h"
#include "engine/ops_vec.h"

typedef struct {
    int64_t pixel[DUKD_ATTENTION_TOKENS]; /* index of each token's pixel in its tensor */
    float region[DUKD_ATTENTION_TOKENS];  /* side of the rolled image's seams that it comes from */
    int32_t seam;                         /* whether the regions are not all one */
} window_place;

static void window_find(window_place *p, const dukd_attention_job *j, int64_t window) {
    int64_t side = j->window, down = j->height / side, across = j->width / side;
    int64_t image = window / (down * across);
    int64_t y0 = window / across % down * side, x0 = window % across * side;
    p->seam = j->shift > 0 && (y0 + side == j->height || x0 + side == j->width);
    for (int64_t t = 0; t < j->tokens; t++) {
        int64_t y = y0 + t / side, x = x0 + t % side;
        int32_t below = y < j->height - side ? 0 : y < j->height - j->shift ? 1 : 2;
        int32_t beside = x < j->width - side ? 0 : x < j->width - j->shift ? 1 : 2;
        p->region[t] = (float)(3 * below + beside);
        y = (y + j->shift) % j->height;
        x = (x + j->shift) % j->width;
        p->pixel[t] = (image * j->height + y) * j->width + x;
    }
}

/* The regions of queries [first, first + count), in `room` (DUKD_ATTENTION_BLOCK floats) where they count. */
static seam_regions window_regions(const window_place *p, float *room, int64_t first, int64_t count) {
    if (!p->seam) return (seam_regions){NULL, NULL};
    memset(room, 0, DUKD_ATTENTION_BLOCK * sizeof *room);
    memcpy(room, p->region + first, (size_t)count * sizeof *room);
    return (seam_regions){room, p->region};
}

/* The pixels of the next window that will be read and written, asked for during `products` products for each head. */
static ahead window_ahead(const dukd_attention_job *j, const window_place *next, int64_t element,
                          int64_t products) {
    int64_t bytes = j->channels * element;
    ahead a = {.tensor = {j->qkv, j->out, j->d},
               .bytes = {3 * bytes, j->d ? 3 * bytes : bytes, bytes},
               .tensors = j->d ? 3 : 2,
               .pixel = next->pixel,
               .pixels = j->tokens};
    int64_t lines = (j->d ? 7 : 4) * bytes / AHEAD_LINE + 3, tiles = j->heads * products;
    a.lines = (lines * TILE_ROWS + tiles - 1) / tiles; /* tokens lines in tokens / TILE_ROWS tiles */
    return a;
}

/* Matrices of one head of one window. Rows of tokens have `row` floats: the head's channels and zeros. */
typedef struct {
    int64_t row;
    float *k, *v, *dk, *dv;       /* tokens x row */
    float *q, *o;                 /* a block of queries x row */
    float *q_columns, *d_columns; /* channels of the head x block */
    float *s, *ds;                /* keys x block */
    float *inverse, *regions;     /* block */
} head_scratch;

/* Divides `scratch` up; dukd_attention_floats in ops_windows.c counts the same. */
static head_scratch head_scratch_of(float *scratch, const dukd_attention_job *j) {
    head_scratch h = {.row = (j->channels / j->heads + 15) / 16 * 16};
    int64_t keys = j->tokens * h.row, queries = DUKD_ATTENTION_BLOCK * h.row;
    float **const of_keys[] = {&h.k, &h.v, &h.dk, &h.dv},
                  **const of_queries[] = {&h.q, &h.o, &h.q_columns, &h.d_columns};
    for (int i = 0; i < 4; i++, scratch += keys) *of_keys[i] = scratch;
    for (int i = 0; i < 4; i++, scratch += queries) *of_queries[i] = scratch;
    h.s = scratch;
    h.ds = h.s + (int64_t)j->tokens * DUKD_ATTENTION_BLOCK;
    h.inverse = h.ds + (int64_t)j->tokens * DUKD_ATTENTION_BLOCK;
    h.regions = h.inverse + DUKD_ATTENTION_BLOCK;
    return h;
}

#endif
