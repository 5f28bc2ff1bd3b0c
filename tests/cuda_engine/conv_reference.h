/* Convolutions as plain loops in double, NHWC, for the tests of the CUDA engine. */
#ifndef DUKD_TEST_CONV_REFERENCE_H
#define DUKD_TEST_CONV_REFERENCE_H

#include "engine/cuda/gpu_conv.h"

/* All are dense: x images x height x width x in, w out x side x side x in / groups, d and out images x out's height x width x out.
 * What is computed is written over. */
void conv_reference(const gpu_conv_spec *s, double *out, const double *x, const double *w);
void conv_reference_data(const gpu_conv_spec *s, double *dx, const double *d, const double *w);
void conv_reference_weights(const gpu_conv_spec *s, double *dw, const double *x, const double *d);
/* act(value + bias) + addend; bias by channel, 0 and 0 without. */
double conv_reference_rest(const gpu_conv_spec *s, double value, double bias, double addend);

#endif
