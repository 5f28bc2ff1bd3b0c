/* Operation affinity: FAKD's loss and its gradient, tile by tile.
 *
 * The pixels of a map are cut into blocks; tile (i, j) of A is block i against block j. A is symmetric, so tiles j >= i are enough: tile (i, j)
 * counts twice in the sum, and its signs give the gradient of both blocks. Tiles are taken in rounds in each of which a block is met at
 * most once (a tournament's), so that no two threads add to one block, and each block adds up in the order of the rounds whatever
 * the number of threads.
 *
 * Multiply-adds, of C channels of the student, C' of the teacher, P pixels: P^2 (C + C') / 2 for the tiles, P^2 C for the gradient (and the
 * halves of the P / 256 tiles on the diagonal). Without the symmetry it would be P^2 (2 C + C'). */
#include "cpu_backend.h"
#include "cpu_gather.h"
#include "report.h"

#include <math.h>
#include <stdatomic.h>

#define TILE                                                                                                 \
    256 /* pixels of a block: two tiles of signs and the blocks they are of fit the second-level cache */
#define EPSILON 1e-8               /* FAKD's */
#define GROUP   (24 * 1024 * 1024) /* bytes of maps that are worked on at a time, unless one image has more */

typedef struct {
    dukd_cpu_backend *backend;
    dukd_view student, teacher, grad;
    int64_t first, images;  /* of the group */
    int64_t pixels, blocks; /* of an image */
    int64_t tile,
        ld; /* pixels of a block; elements between channels, more than that, lest they meet in the cache */
    float *unit_s, *unit_t; /* [images][blocks][C][ld] columns of norm 1, pixels side by side */
    float *slope;           /* the same: the gradient of unit_s, up to its factor; NULL: not wanted */
    float
        *inverse; /* [images][blocks][2][tile] 1 / (norm + eps) of the student's columns; 1 / norm, 0 for 0 */
    double *partial; /* [images][tiles] sums of the tiles */
    int64_t tiles;   /* room for those of an image */
    float *scratch;  /* [workers][scratch_size] */
    int64_t scratch_size;
    int64_t round, pairs; /* of the tournament; pairs -1: the diagonal */
    float factor;
    atomic_bool failed; /* the library of products */
} affinity_work;

static int64_t block_pixels(const affinity_work *w, int64_t block) {
    const int64_t left = w->pixels - block * w->tile;
    return left < w->tile ? left : w->tile;
}

/* Block `block` of a map of the group. */
static float *block_of(const affinity_work *w, float *map, int64_t channels, int64_t image, int64_t block) {
    return map + (image * w->blocks + block) * channels * w->ld;
}

/* ---------------------------------------------------------------- columns of norm 1 */

static void normalise(const affinity_work *w, const dukd_view *v, float *map, int64_t image, int64_t block,
                      float *inverse) {
    const int64_t n = block_pixels(w, block);
    float *unit = block_of(w, map, v->c, image, block);
    double squares[TILE] = {0.0};
    for (int64_t c = 0; c < v->c; c++) {
        float *row = unit + c * w->ld;
        dukd_gather(row, v, w->first + image, c * w->pixels + block * w->tile, n);
        for (int64_t p = 0; p < n; p++) squares[p] += (double)row[p] * (double)row[p];
    }
    float scale[TILE];
    for (int64_t p = 0; p < n; p++) {
        const double norm = sqrt(squares[p]);
        scale[p] = (float)(1.0 / (norm + EPSILON));
        if (inverse == NULL) continue;
        inverse[p] = scale[p];
        inverse[w->tile + p] = norm == 0.0 ? 0.0f : (float)(1.0 / norm);
    }
    for (int64_t c = 0; c < v->c; c++) {
        float *row = unit + c * w->ld;
        for (int64_t p = 0; p < n; p++) row[p] *= scale[p];
    }
}

static float *inverse_of(const affinity_work *w, int64_t image, int64_t block) {
    return w->inverse + (image * w->blocks + block) * 2 * w->tile;
}

static void normalise_range(void *arg, int64_t begin, int64_t end, uint32_t worker) {
    const affinity_work *w = arg;
    (void)worker;
    for (int64_t i = begin; i < end; i++) {
        const int64_t image = i / w->blocks, block = i % w->blocks;
        normalise(w, &w->student, w->unit_s, image, block, inverse_of(w, image, block));
        normalise(w, &w->teacher, w->unit_t, image, block, NULL);
        if (w->slope == NULL) continue;
        memset(block_of(w, w->slope, w->student.c, image, block), 0,
               (size_t)(w->student.c * w->ld) * sizeof *w->slope);
    }
}

/* ---------------------------------------------------------------- tiles */

static bool tile_product(affinity_work *w, float *map, int64_t channels, int64_t image, int64_t i, int64_t j,
                         float *tile) {
    const dukd_products_job job = {.a = block_of(w, map, channels, image, i),
                                   .b = block_of(w, map, channels, image, j),
                                   .c = tile,
                                   .m = block_pixels(w, i),
                                   .n = block_pixels(w, j),
                                   .k = channels,
                                   .lda = w->ld,
                                   .ldb = w->ld,
                                   .ldc = w->ld,
                                   .trans_a = true};
    return dukd_products_run(&w->backend->products, &job);
}

/* slope[to] += unit[from] signs, the signs being those of tile (from, to), or, transposed, of (to, from). */
static bool tile_slope(affinity_work *w, int64_t image, int64_t from, int64_t to, const float *signs,
                       bool transposed, float *scratch[2]) {
    const dukd_products_job job = {.a = block_of(w, w->unit_s, w->student.c, image, from),
                                   .b = signs,
                                   .c = block_of(w, w->slope, w->student.c, image, to),
                                   .m = w->student.c,
                                   .n = block_pixels(w, to),
                                   .k = block_pixels(w, from),
                                   .lda = w->ld,
                                   .ldb = w->ld,
                                   .ldc = w->ld,
                                   .trans_b = transposed,
                                   .accumulate = true,
                                   .scratch = {scratch[0], scratch[1]}};
    return dukd_products_run(&w->backend->products, &job);
}

static void do_tile(affinity_work *w, int64_t image, int64_t i, int64_t j, float *scratch) {
    float *x = scratch, *y = x + w->tile * w->ld;
    float *room[2] = {y + w->tile * w->ld, y}; /* y has done its work when the slopes begin */
    bool done = tile_product(w, w->unit_s, w->student.c, image, i, j, x) &&
                tile_product(w, w->unit_t, w->teacher.c, image, i, j, y);
    const dukd_signs_job signs = {x, y, block_pixels(w, i), block_pixels(w, j), w->ld};
    const double sum = w->backend->kernels.signs(&signs);
    w->partial[image * w->tiles + j * (j + 1) / 2 + i] = i == j ? sum : 2.0 * sum;
    if (w->slope != NULL) {
        done = done && tile_slope(w, image, i, j, x, false, room);
        if (i != j) done = done && tile_slope(w, image, j, i, x, true, room);
    }
    if (!done) atomic_store(&w->failed, true);
}

/* Pair `pair` of a round: the circle method, block `size - 1` (which may not be there) standing still. */
static void pair_of(int64_t round, int64_t pair, int64_t size, int64_t *i, int64_t *j) {
    const int64_t turn = size - 1;
    int64_t a = (round + pair) % turn, b = pair == 0 ? turn : (round + turn - pair) % turn;
    *i = a < b ? a : b;
    *j = a < b ? b : a;
}

static void tile_range(void *arg, int64_t begin, int64_t end, uint32_t worker) {
    affinity_work *w = arg;
    float *scratch = w->scratch + worker * w->scratch_size;
    for (int64_t item = begin; item < end; item++) {
        if (w->pairs < 0) {
            do_tile(w, item / w->blocks, item % w->blocks, item % w->blocks, scratch);
            continue;
        }
        int64_t i, j;
        pair_of(w->round, item % w->pairs, 2 * w->pairs, &i, &j);
        if (j < w->blocks) do_tile(w, item / w->pairs, i, j, scratch);
    }
}

static void all_tiles(affinity_work *w, dukd_team team) {
    const dukd_parallel *parallel = &w->backend->parallel;
    w->pairs = -1;
    dukd_parallel_run(parallel, team, w->images * w->blocks, tile_range, w);
    if (w->blocks < 2) return;
    w->pairs = (w->blocks + 1) / 2;
    for (w->round = 0; w->round < 2 * w->pairs - 1; w->round++)
        dukd_parallel_run(parallel, team, w->images * w->pairs, tile_range, w);
}

/* ---------------------------------------------------------------- back through the norm */

/* f^ = f / (|f| + eps): d f = g / (|f| + eps) - f^ (g . f^) / |f|; twice the slope is g, up to the factor. */
static void finish_block(const affinity_work *w, int64_t image, int64_t block) {
    const int64_t n = block_pixels(w, block), channels = w->student.c;
    const float *unit = block_of(w, w->unit_s, channels, image, block),
                *inverse = inverse_of(w, image, block);
    float *slope = block_of(w, w->slope, channels, image, block);
    double along[TILE] = {0.0};
    for (int64_t c = 0; c < channels; c++) {
        for (int64_t p = 0; p < n; p++)
            along[p] += (double)slope[c * w->ld + p] * (double)unit[c * w->ld + p];
    }
    float share[TILE], scale[TILE];
    for (int64_t p = 0; p < n; p++) {
        const float per_norm = inverse[w->tile + p];
        share[p] = (float)along[p] * per_norm;
        scale[p] =
            per_norm == 0.0f ? 0.0f : inverse[p]; /* a column of zeros gets none; one of NaN keeps it */
    }
    for (int64_t c = 0; c < channels; c++) {
        float *g = slope + c * w->ld;
        const float *f = unit + c * w->ld;
        for (int64_t p = 0; p < n; p++) g[p] = w->factor * (g[p] * scale[p] - f[p] * share[p]);
        dukd_scatter(&w->grad, w->first + image, c * w->pixels + block * w->tile, g, n);
    }
}

static void finish_range(void *arg, int64_t begin, int64_t end, uint32_t worker) {
    const affinity_work *w = arg;
    (void)worker;
    for (int64_t i = begin; i < end; i++) finish_block(w, i / w->blocks, i % w->blocks);
}

/* ---------------------------------------------------------------- the operation */

static int64_t padded(int64_t floats) {
    return (floats + 15) / 16 * 16;
}

/* Room of an image in the workspace, in floats; where its parts begin, from `base` on (NULL: only the size). */
static int64_t lay_out(affinity_work *w, float *base, bool grad) {
    const int64_t s = w->blocks * w->student.c * w->ld, t = w->blocks * w->teacher.c * w->ld;
    const int64_t inverse = padded(w->blocks * 2 * w->tile), partial = padded(w->blocks * (w->blocks + 1));
    w->tiles = partial / 2;
    const int64_t size = s + t + (grad ? s : 0) + inverse + partial;
    if (base == NULL) return size;
    w->unit_s = base;
    w->unit_t = w->unit_s + w->images * s;
    w->inverse = w->unit_t + w->images * t;
    w->partial = (double *)(void *)(w->inverse +
                                    w->images * inverse); /* aligned: all sizes are multiples of 64 bytes */
    w->slope = grad ? w->inverse + w->images * (inverse + partial) : NULL;
    w->scratch = w->inverse + w->images * (inverse + partial) + (grad ? w->images * s : 0);
    return size;
}

static int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

int32_t dukd_cpu_affinity(dukd_backend *base, dukd_affinity_args *a, dukd_error *error) {
    affinity_work w = {.backend = dukd_cpu_backend_of(base),
                       .student = dukd_view_of(a->student),
                       .teacher = dukd_view_of(a->teacher),
                       .grad = dukd_view_of(a->grad),
                       .factor = (float)(2.0 * a->factor)};
    const bool grad = a->grad != NULL;
    atomic_init(&w.failed, false);
    w.pixels = w.student.h * w.student.w;
    w.tile = least(TILE, padded(w.pixels));
    w.ld = w.tile + 16;
    w.blocks = (w.pixels + w.tile - 1) / w.tile;
    const int64_t size = lay_out(&w, NULL, grad), all = w.student.n;
    int64_t group = GROUP / (size * (int64_t)sizeof(float));
    group = group < 1 ? 1 : least(group, all);
    const dukd_team team = dukd_parallel_team(&w.backend->parallel, group * w.pixels * w.pixels);
    w.scratch_size = 2 * w.tile * w.ld + padded(w.student.c) * w.tile;
    float *room = dukd_cpu_workspace(w.backend, group * size + team.workers * w.scratch_size,
                                     (int64_t)sizeof *room, error);
    if (room == NULL) return DUKD_E_MEMORY;
    a->sum = 0.0;
    for (; w.first < all; w.first += group) {
        w.images = least(group, all - w.first);
        lay_out(&w, room, grad);
        dukd_parallel_run(&w.backend->parallel, team, w.images * w.blocks, normalise_range, &w);
        all_tiles(&w, team);
        if (atomic_load(&w.failed))
            return dukd_report(error, DUKD_E_BACKEND, "oneDNN's matrix product failed");
        for (int64_t n = 0; n < w.images; n++) {
            for (int64_t k = 0; k < w.blocks * (w.blocks + 1) / 2; k++) a->sum += w.partial[n * w.tiles + k];
        }
        if (grad) dukd_parallel_run(&w.backend->parallel, team, w.images * w.blocks, finish_range, &w);
    }
    return DUKD_OK;
}
