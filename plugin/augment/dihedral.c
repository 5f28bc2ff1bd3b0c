/* The group of augmentations. */
#include "augment/dihedral.h"

#define FLIPS ((uint32_t)(DUKD_AUGMENT_FLIP_W | DUKD_AUGMENT_FLIP_H))

/* A flip after a transpose is the other flip before it. */
static uint32_t exchange_flips(uint32_t d) {
    uint32_t other = 0;
    if (d & DUKD_AUGMENT_FLIP_W) other |= DUKD_AUGMENT_FLIP_H;
    if (d & DUKD_AUGMENT_FLIP_H) other |= DUKD_AUGMENT_FLIP_W;
    return (d & ~FLIPS) | other;
}

uint32_t dukd_augment_then(uint32_t first, uint32_t second) {
    /* flips are their own inverses and commute; so do the transpose among itself and the inversion with
     * everything */
    return first ^ ((first & DUKD_AUGMENT_TRANSPOSE) ? exchange_flips(second) : second);
}

uint32_t dukd_augment_inverse(uint32_t d) {
    return (d & DUKD_AUGMENT_TRANSPOSE) ? exchange_flips(d) : d;
}

uint32_t dukd_augment_turn(uint32_t turns) {
    /* out[i][j] = in[j][W - 1 - i] is a flip of the columns, then a transpose */
    static const uint32_t turn[4] = {0, DUKD_AUGMENT_FLIP_W | DUKD_AUGMENT_TRANSPOSE,
                                     DUKD_AUGMENT_FLIP_W | DUKD_AUGMENT_FLIP_H,
                                     DUKD_AUGMENT_FLIP_H | DUKD_AUGMENT_TRANSPOSE};
    return turn[turns & 3u];
}
