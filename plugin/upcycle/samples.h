/* What is chosen for each image of a pass: where it is cut out of HR, and its D. */
#ifndef DUKD_SAMPLES_H
#define DUKD_SAMPLES_H

#include "draws.h"
#include "upcycle/geometry.h"

/* Image k of the pass; all arrays have `count` elements and lie in one block. */
typedef struct {
    uint32_t count;
    int64_t *sample;    /* global index of the batch image it is made of */
    int32_t *image;     /* the same within the batch, 0 .. N - 1 */
    int32_t *row, *col; /* in HR; zoom in only, else 0 */
    uint32_t *augment;  /* D_k, normal form */
    uint32_t *back;     /* B_k, which maps the student's output back */
    uint32_t *taken;    /* [crops] room for the tiles chosen so far; elsewhere, only where is chosen */
} dukd_samples;

/* Bytes of the arrays of `count` images, without `taken`: a multiple of 8. count fits 31 bits (dukd_geometry_check). */
uint64_t dukd_samples_size(uint64_t count);
/* Lays the arrays out in `block`, which is never touched here: it may be a device's. `taken` stays as it is. */
void dukd_samples_lay(dukd_samples *s, void *block, uint32_t count);

/* Fills s for one step: samples, crops (but those of DUKD_CROP_HARDEST, which the teacher decides) and, where
 * the pass has a D, D and B. Errors are those of the draws. */
int32_t dukd_samples_choose(dukd_samples *s, const dukd_pass_recipe *pass, const dukd_config *c,
                            const dukd_geometry *g, const dukd_draws *draws, int64_t iteration,
                            int64_t first_sample, dukd_error *error);

#endif
