/* How far two tensors are apart, measured as the design asks: max|delta| / max|reference| per tensor. */
#ifndef DUKD_TEST_COMPARE_H
#define DUKD_TEST_COMPARE_H

#include <stdint.h>

/* max|got - want| / max|want|. 0 where both are all zeros; INFINITY where anything is not finite, or where `want` is all
 * zeros and `got` is not. */
double dukd_relative_error(const float *got, const float *want, int64_t count);
double dukd_relative_error_f64(const double *got, const double *want, int64_t count);
/* The same for an oracle in double against numbers in float. */
double dukd_relative_error_mixed(const double *got, const float *want, int64_t count);
/* max|got - want|; INFINITY where anything is not finite. */
double dukd_absolute_error(const float *got, const float *want, int64_t count);

/* Fails the running test with the name of the tensor, the error and the tolerance unless error <= tolerance (a NaN
 * fails). */
void dukd_assert_error(const char *tensor, double error, double tolerance);

#endif
