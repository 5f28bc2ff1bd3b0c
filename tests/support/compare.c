/* Differences of tensors. */
#include "support/compare.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

typedef struct {
    double delta, size; /* max|got - want|, max|want|; INFINITY once anything is not finite */
} extent;

static void widen(extent *e, double got, double want) {
    if (!isfinite(got) || !isfinite(want)) e->delta = INFINITY;
    e->delta = fmax(e->delta, fabs(got - want));
    e->size = fmax(e->size, fabs(want));
}

static double relative(extent e) {
    if (e.delta == 0) return 0;
    return isinf(e.delta) || e.size == 0 ? INFINITY : e.delta / e.size;
}

double dukd_relative_error(const float *got, const float *want, int64_t count) {
    extent e = {0, 0};
    for (int64_t i = 0; i < count; i++) widen(&e, got[i], want[i]);
    return relative(e);
}

double dukd_relative_error_f64(const double *got, const double *want, int64_t count) {
    extent e = {0, 0};
    for (int64_t i = 0; i < count; i++) widen(&e, got[i], want[i]);
    return relative(e);
}

double dukd_relative_error_mixed(const double *got, const float *want, int64_t count) {
    extent e = {0, 0};
    for (int64_t i = 0; i < count; i++) widen(&e, got[i], want[i]);
    return relative(e);
}

double dukd_absolute_error(const float *got, const float *want, int64_t count) {
    extent e = {0, 0};
    for (int64_t i = 0; i < count; i++) widen(&e, got[i], want[i]);
    return e.delta;
}

void dukd_assert_error(const char *tensor, double error, double tolerance) {
    if (!(error <= tolerance)) fail_msg("%s: error %.3g, at most %.3g wanted", tensor, error, tolerance);
}
