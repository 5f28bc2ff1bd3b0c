/* What is chosen for each image of a pass. */
#include "upcycle/samples.h"

#include "augment/dihedral.h"
#include "report.h"

#include <stddef.h>

uint64_t dukd_samples_size(uint64_t count) {
    const dukd_samples *s = NULL;
    const uint64_t size = count * (sizeof *s->sample + 3 * sizeof *s->image + 2 * sizeof *s->augment);
    return (size + 7) / 8 * 8;
}

void dukd_samples_lay(dukd_samples *s, void *block, uint32_t count) {
    s->count = count;
    s->sample = block;
    s->image = (int32_t *)(s->sample + count);
    s->row = s->image + count;
    s->col = s->row + count;
    s->augment = (uint32_t *)(s->col + count);
    s->back = s->augment + count;
}

/* ---------------------------------------------------------------- where */

static int32_t choose_window(dukd_samples *s, uint32_t k, dukd_draw draw, const dukd_geometry *g,
                             const dukd_draws *draws, dukd_error *error) {
    uint64_t row = 0, col = 0;
    draw.what = DUKD_DRAW_CROP_ROW;
    int32_t status = dukd_draw_below(draws, draw, (uint64_t)(g->h * g->scale - g->h + 1), &row, error);
    if (status != DUKD_OK) return status;
    draw.what = DUKD_DRAW_CROP_COL;
    status = dukd_draw_below(draws, draw, (uint64_t)(g->w * g->scale - g->w + 1), &col, error);
    s->row[k] = (int32_t)row;
    s->col[k] = (int32_t)col;
    return status;
}

static void set_tile(dukd_samples *s, uint32_t k, uint32_t tile, const dukd_geometry *g) {
    s->row[k] = (int32_t)(tile / (uint32_t)g->scale * (uint64_t)g->h);
    s->col[k] = (int32_t)(tile % (uint32_t)g->scale * (uint64_t)g->w);
}

/* Tiles of one image are all different: each crop takes the next of a random order. `image` < 0: the same for
 * the batch. */
static int32_t choose_tiles(dukd_samples *s, int64_t image, dukd_draw draw, uint32_t crops,
                            const dukd_geometry *g, const dukd_draws *draws, dukd_error *error) {
    const uint64_t tiles = (uint64_t)g->scale * (uint64_t)g->scale;
    draw.what = DUKD_DRAW_TILE;
    for (uint32_t crop = 0; crop < crops; crop++) {
        uint32_t tile = 0;
        draw.crop = crop;
        const int32_t status = dukd_draw_untaken(draws, draw, tiles, s->taken, crop, &tile, error);
        if (status != DUKD_OK) return status;
        const uint32_t first = crop * (uint32_t)g->n;
        if (image >= 0) {
            set_tile(s, first + (uint32_t)image, tile, g);
        } else {
            for (uint32_t b = 0; b < (uint32_t)g->n; b++) set_tile(s, first + b, tile, g);
        }
    }
    return DUKD_OK;
}

static int32_t choose_crops(dukd_samples *s, const dukd_config *c, const dukd_geometry *g,
                            const dukd_draws *draws, int64_t iteration, dukd_error *error) {
    const dukd_draw draw = dukd_draw_of(0, DUKD_BRANCH_ZOOM_IN, iteration, -1, 0);
    int32_t status = DUKD_OK;
    if (c->crop == DUKD_CROP_BATCH_TILES) return choose_tiles(s, -1, draw, c->crops, g, draws, error);
    for (uint32_t k = 0; k < s->count && status == DUKD_OK; k++) {
        dukd_draw own = draw;
        own.sample = s->sample[k];
        own.crop = k / (uint32_t)g->n;
        if (c->crop == DUKD_CROP_RANDOM) status = choose_window(s, k, own, g, draws, error);
        if (c->crop == DUKD_CROP_GRID && own.crop == 0)
            status = choose_tiles(s, k, own, c->crops, g, draws, error);
    }
    return status;
}

/* ---------------------------------------------------------------- D */

/* Paper: flip columns, flip rows, quarter turns, invert; B is the inverse. */
static int32_t choose_paper(uint32_t *augment, uint32_t *back, dukd_draw draw, const dukd_config *c,
                            const dukd_draws *draws, dukd_error *error) {
    uint32_t flip_w = 0, flip_h = 0, turns = 0, invert = 0;
    draw.what = DUKD_DRAW_FLIP_W;
    int32_t status = dukd_draw_yes(draws, draw, c->p_flip_w, &flip_w, error);
    draw.what = DUKD_DRAW_FLIP_H;
    if (status == DUKD_OK) status = dukd_draw_yes(draws, draw, c->p_flip_h, &flip_h, error);
    draw.what = DUKD_DRAW_ROTATE;
    if (status == DUKD_OK) status = dukd_draw_turns(draws, draw, c->p_turn, &turns, error);
    draw.what = DUKD_DRAW_INVERT;
    if (status == DUKD_OK) status = dukd_draw_yes(draws, draw, c->p_invert, &invert, error);
    uint32_t d = flip_w != 0 ? DUKD_AUGMENT_FLIP_W : 0;
    d = dukd_augment_then(d, flip_h != 0 ? DUKD_AUGMENT_FLIP_H : 0);
    d = dukd_augment_then(d, dukd_augment_turn(turns));
    d = dukd_augment_then(d, invert != 0 ? DUKD_AUGMENT_INVERT : 0);
    *augment = d;
    *back = dukd_augment_inverse(d);
    return status;
}

/* Official: invert, flip rows, flip columns, transpose, which is the normal form already; B is the same in
 * the same order again, and that is not the inverse where a transpose meets exactly one flip. */
static int32_t choose_official(uint32_t *augment, uint32_t *back, dukd_draw draw, const dukd_config *c,
                               const dukd_draws *draws, dukd_error *error) {
    uint32_t invert = 0, flip_h = 0, flip_w = 0, transpose = 0;
    draw.what = DUKD_DRAW_INVERT;
    int32_t status = dukd_draw_yes(draws, draw, c->p_invert, &invert, error);
    draw.what = DUKD_DRAW_FLIP_H;
    if (status == DUKD_OK) status = dukd_draw_yes(draws, draw, c->p_flip_h, &flip_h, error);
    draw.what = DUKD_DRAW_FLIP_W;
    if (status == DUKD_OK) status = dukd_draw_yes(draws, draw, c->p_flip_w, &flip_w, error);
    draw.what = DUKD_DRAW_TRANSPOSE;
    if (status == DUKD_OK) status = dukd_draw_yes(draws, draw, c->p_turn, &transpose, error);
    *augment = (invert != 0 ? DUKD_AUGMENT_INVERT : 0) | (flip_h != 0 ? DUKD_AUGMENT_FLIP_H : 0) |
               (flip_w != 0 ? DUKD_AUGMENT_FLIP_W : 0) | (transpose != 0 ? DUKD_AUGMENT_TRANSPOSE : 0);
    *back = *augment;
    return status;
}

static int32_t choose_augments(dukd_samples *s, const dukd_pass_recipe *pass, const dukd_config *c,
                               const dukd_geometry *g, const dukd_draws *draws, int64_t iteration,
                               dukd_error *error) {
    const uint32_t branch = pass->images == DUKD_IMAGES_ZOOM_IN ? DUKD_BRANCH_ZOOM_IN : DUKD_BRANCH_ZOOM_OUT;
    int64_t shape[4];
    dukd_geometry_images(g, pass->images, 1, shape);
    for (uint32_t k = 0; k < s->count; k++) {
        const dukd_draw draw = dukd_draw_of(0, branch, iteration, s->sample[k], k / (uint32_t)g->n);
        const int32_t status = c->mode == DUKD_MODE_OFFICIAL
                                   ? choose_official(&s->augment[k], &s->back[k], draw, c, draws, error)
                                   : choose_paper(&s->augment[k], &s->back[k], draw, c, draws, error);
        if (status != DUKD_OK) return status;
        if ((s->augment[k] & DUKD_AUGMENT_TRANSPOSE) != 0 && shape[2] != shape[3]) {
            /* only a source can ask for it: dukd_geometry_suits */
            return dukd_report(error, DUKD_E_ARGUMENT,
                               "the source of draws turns or transposes sample %lld of iteration %lld, but "
                               "%s is %lld x %lld, and "
                               "only square ones can be",
                               (long long)s->sample[k], (long long)iteration, dukd_images_name(pass->images),
                               (long long)shape[2], (long long)shape[3]);
        }
    }
    return DUKD_OK;
}

int32_t dukd_samples_choose(dukd_samples *s, const dukd_pass_recipe *pass, const dukd_config *c,
                            const dukd_geometry *g, const dukd_draws *draws, int64_t iteration,
                            int64_t first_sample, dukd_error *error) {
    for (uint32_t k = 0; k < s->count; k++) {
        s->image[k] = (int32_t)(k % (uint32_t)g->n);
        s->sample[k] = first_sample + s->image[k];
    }
    int32_t status = DUKD_OK;
    if (pass->images == DUKD_IMAGES_ZOOM_IN) status = choose_crops(s, c, g, draws, iteration, error);
    if (status == DUKD_OK && pass->augmented != pass->plain) {
        status = choose_augments(s, pass, c, g, draws, iteration, error);
    }
    return status;
}
