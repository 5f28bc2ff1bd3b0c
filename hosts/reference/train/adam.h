/* Adam, as torch.optim.Adam computes it one tensor at a time (foreach off, capturable off, amsgrad off).
 *
 * Kingma and Ba, "Adam: a method for stochastic optimization", 2015. State in f32; the scalars of a step
 * (bias corrections, step size) in double, rounded to f32 where PyTorch rounds them. Every element is
 * computed by itself, so that the result does not depend on the number of threads. */
#ifndef DUKD_ADAM_H
#define DUKD_ADAM_H

#include <stdint.h>

#include "common/failure.h"

/* Plain data; the rate comes with each step. */
typedef struct {
    double beta1, beta2; /* 0 <= beta < 1 */
    double eps;
    double weight_decay; /* L2: added to the gradient */
} dukd_adam_options;

typedef struct {
    dukd_adam_options options;
    int64_t count; /* elements */
    int64_t steps; /* taken so far: the t of the bias correction */
    float *m, *v;  /* [count] moving averages of the gradient and of its square; owned */
} dukd_adam;

int dukd_adam_create(dukd_adam *a, dukd_adam_options options, int64_t count, dukd_failure *f);
void dukd_adam_free(dukd_adam *a); /* NULL and zeroed allowed */

/* One step: weights[count] change, gradient[count] is read. */
void dukd_adam_step(dukd_adam *a, double rate, const float *gradient, float *weights);

/* ema = ema * decay + weights * (1 - decay), elementwise: BasicSR's model_ema (torch's mul_ and add_ with
 * alpha: two roundings, or one where the machine's add fuses them). */
void dukd_ema_update(float *ema, const float *weights, int64_t count, double decay);

#endif
