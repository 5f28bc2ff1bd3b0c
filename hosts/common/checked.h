/* Sizes that cannot overflow: every product and sum that decides an allocation or an offset goes through
 * here. Operands are non-negative; a negative one counts as overflow. [thread-safe] */
#ifndef DUKD_CHECKED_H
#define DUKD_CHECKED_H

#include <stdbool.h>
#include <stdint.h>

/* *out = a * b, or false (and *out untouched) where that is no int64_t. */
static inline bool dukd_checked_mul(int64_t a, int64_t b, int64_t *out) {
    if (a < 0 || b < 0 || (b > 0 && a > INT64_MAX / b)) return false;
    *out = a * b;
    return true;
}

/* *out = a + b, or false (and *out untouched) where that is no int64_t. */
static inline bool dukd_checked_add(int64_t a, int64_t b, int64_t *out) {
    if (a < 0 || b < 0 || a > INT64_MAX - b) return false;
    *out = a + b;
    return true;
}

#endif
