/* A vector of LANES f32 of the instruction set that the file is compiled for: AVX-512, AVX2 with FMA, or four lanes by the
 * compiler's own vectors, which exist for every processor. This header and its three parts are the only ones of the
 * operations that know intrinsics and compiler extensions.
 *
 * vec_get and vec_put: `left` is the number of elements that are there, LANES or more, or fewer at the end of a run; memory
 * past them is not touched and their lanes read as 0. bf16 is the upper half of an f32, rounded to nearest even; a NaN stays
 * one.
 *   vec_keep(x, left)           0 in the lanes that are not there
 *   vec_fma(a, b, c)            a b + c
 *   vec_max, vec_min            the second operand where either is NaN
 *   vec_greater(a, b, x, y)     a > b ? x : y; vec_equal(a, b, x, y): a == b ? x : y; a NaN gives y
 *   vec_round                   to the nearest whole number, |a| < 2^22
 *   vec_scale(a, n)             a 2^n for a whole n of -126 .. 127
 *   vec_sum                     of the lanes, by halves
 *   vec_transpose               x[i][j] and x[j][i] exchanged
 *
 * Where VEC_PAIRS is defined, a lane can also hold two neighbouring bf16, its lower half the first:
 *   vec_dot(a, b, c)            a0 b0 + a1 b1 + c, in f32 (subnormal numbers count as 0)
 *   vec_pairs(a, b)             (a, b) in each lane, rounded; vec_zip: of what vec_get_bf16 read, with nothing to round
 *   vec_row(a, b)               the lanes of a, then of b: 2 LANES bf16 as they lie in memory
 *   vec_get_row, vec_put_row    2 LANES bf16 from and to memory, as vec_get */
#ifndef DUKD_OPS_VEC_H
#define DUKD_OPS_VEC_H

#define ALWAYS_INLINE static inline __attribute__((always_inline))

#if defined(__AVX512F__)
#include "engine/ops_vec_avx512.h"
#elif defined(__AVX2__)
#include "engine/ops_vec_avx2.h"
#else
#include "engine/ops_vec_plain.h"
#endif

/* Asks for memory that will be read soon, into the second cache. */
ALWAYS_INLINE void vec_prefetch(const void *p) {
    __builtin_prefetch(p, 0, 2);
}

#endif
