/* D, the invertible augmentation of a sample, as a set of DUKD_AUGMENT_ bits: flip columns (left-right), flip
 * rows (up-down), transpose, invert, applied in this order. Every sequence of flips, quarter turns,
 * transposes and inversions has exactly one such normal form: the eight symmetries of a square times {x, 1 -
 * x}. All functions are pure. [thread-safe] */
#ifndef DUKD_DIHEDRAL_H
#define DUKD_DIHEDRAL_H

#include "dukd_plugin.h"

/* first, then second */
uint32_t dukd_augment_then(uint32_t first, uint32_t second);
/* dukd_augment_then(d, dukd_augment_inverse(d)) is 0 */
uint32_t dukd_augment_inverse(uint32_t d);
/* `turns` quarter turns counter-clockwise, numpy's rot90(x, turns, (H, W)); turns of 0 .. 3 */
uint32_t dukd_augment_turn(uint32_t turns);

#endif
