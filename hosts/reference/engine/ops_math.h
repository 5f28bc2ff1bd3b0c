/* Functions of a vector, without libm; NaN goes through. The polynomials are least-maximum fits of the relative error.
 * Included after ops_vec.h. */
#ifndef DUKD_OPS_MATH_H
#define DUKD_OPS_MATH_H

#include "engine/ops_vec.h"

/* 2^x to a relative 2e-7; x is at most 127, and -126 stands for what is less. */
ALWAYS_INLINE vec vec_exp2(vec x) {
    x = vec_max(vec_set(-126), x); /* in this order of operands a NaN stays */
    vec n = vec_round(x), r = vec_sub(x, n);
    vec p = vec_fma(vec_set(.00132644549f), r, vec_set(.00967172533f));
    p = vec_fma(p, r, vec_set(.0555073619f));
    p = vec_fma(p, r, vec_set(.240222394f));
    p = vec_fma(p, r, vec_set(.693147004f));
    return vec_scale(vec_fma(p, r, vec_set(1)), n);
}

/* exp(x) to a relative 3e-7; x is clamped to -87 .. 88, so the smallest value is 1.6e-38 and the largest 1.7e38. */
ALWAYS_INLINE vec vec_exp(vec x) {
    x = vec_min(vec_set(88), vec_max(vec_set(-87), x)); /* in this order of operands a NaN stays */
    vec n = vec_round(vec_mul(x, vec_set(1.44269504f)));
    vec r = vec_fma(n, vec_set(-.693145752f), x); /* ln 2 = .693145752 + 1.42860677e-6 */
    r = vec_fma(n, vec_set(-1.42860677e-6f), r);
    vec q = vec_fma(vec_set(.00831247779f), r, vec_set(.0418905502f));
    q = vec_fma(q, r, vec_set(.166671163f));
    q = vec_fma(q, r, vec_set(.499992288f));
    return vec_scale(vec_fma(vec_mul(q, r), r, vec_add(r, vec_set(1))), n);
}

ALWAYS_INLINE vec vec_sigmoid(vec x) {
    return vec_div(vec_set(1), vec_add(vec_set(1), vec_exp(vec_sub(vec_set(0), x))));
}

/* The normal distribution's function and density at x: erfc(z) = t exp(-z^2) P(t), t = 1 / (1 + .3275911 z), the form of
 * Abramowitz and Stegun 7.1.26 with eight coefficients. Relative error of both 6e-7 (1 + x^2 / 16) where |x| < 9, of P
 * alone 3e-7; beyond, exp's clamp keeps them from vanishing altogether (below 1e-18). */
typedef struct {
    vec below, density;
} vec_normal;
ALWAYS_INLINE vec_normal vec_normal_of(vec x) {
    vec size = vec_abs(x);
    vec t = vec_div(vec_set(1), vec_fma(size, vec_set(.231641888f), vec_set(1))); /* .3275911 / sqrt 2 */
    vec p = vec_fma(vec_set(-.144472942f), t, vec_set(.511003554f));
    p = vec_fma(p, t, vec_set(-.431419075f));
    p = vec_fma(p, t, vec_set(.477750003f));
    p = vec_fma(p, t, vec_set(.0117468415f));
    p = vec_fma(p, t, vec_set(.210324898f));
    p = vec_fma(p, t, vec_set(.179958105f));
    p = vec_fma(p, t, vec_set(.185108542f));
    vec e = vec_exp(vec_mul(vec_mul(x, x), vec_set(-.5f)));
    vec tail = vec_mul(vec_mul(vec_set(.5f), t), vec_mul(p, e)); /* beyond |x|, on one side */
    vec_normal v = {.below = vec_greater(x, vec_set(0), vec_sub(vec_set(1), tail), tail),
                    .density = vec_mul(e, vec_set(.398942280f))};
    return v;
}

ALWAYS_INLINE vec vec_gelu(vec x) {
    return vec_mul(x, vec_normal_of(x).below);
}

ALWAYS_INLINE vec vec_gelu_slope(vec x) {
    vec_normal v = vec_normal_of(x);
    return vec_fma(x, v.density, v.below);
}

#endif
