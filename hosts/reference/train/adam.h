/* Adam, as torch.optim.Adam computes it one tensor at a time (foreach off, capturable off, amsgrad off).
 *
 * Kingma and Ba, "Adam: a method for stochastic optimization", 2015. State in f32; the scalars of a step
 * (bias corrections, step size) in double, rounded to f32 where PyTorch rounds them. The arrays are the engine's
 * (engine/arrays.h), where every element is computed by itself, so that the result does not depend on the number of threads. */
#ifndef DUKD_ADAM_H
#define DUKD_ADAM_H

#include <stdint.h>

#include "common/failure.h"
#include "engine/arrays.h"

/* Plain data; the rate comes with each step. */
typedef struct {
    double beta1, beta2; /* 0 <= beta < 1 */
    double eps;
    double weight_decay; /* L2: added to the gradient */
} dukd_adam_options;

typedef struct {
    dukd_engine *engine;
    dukd_adam_options options;
    int64_t count; /* elements */
    int64_t steps; /* taken so far: the t of the bias correction */
    float *m,
        *v; /* [count] moving averages of the gradient and of its square; owned, in the engine's memory */
} dukd_adam;

/* The engine outlives it. */
int dukd_adam_create(dukd_adam *a, dukd_engine *engine, dukd_adam_options options, int64_t count,
                     dukd_failure *f);
void dukd_adam_free(dukd_adam *a); /* NULL and zeroed allowed */

/* Of step `t`, which is `steps` + 1 for the next one. Plain descent reads its part of them: rate and decay. */
dukd_optimizer_scalars dukd_adam_scalars(const dukd_adam_options *o, int64_t t, double rate);

/* One step: weights[count] change, gradient[count] is read; both, the scalars of this step and `broken` (NULL, or a flag that lets
 * nothing change) are in the engine's memory. */
int dukd_adam_step(dukd_adam *a, const dukd_optimizer_scalars *scalars, const int32_t *broken,
                   const float *gradient, float *weights, dukd_failure *f);
/* The same of plain gradient descent, as torch.optim.SGD without momentum computes it: weights -= rate (gradient + weight_decay
 * weights). It has no state: of what a training state holds for the optimizer only the zeros of Adam's moments are there. */
int dukd_sgd_step(const dukd_adam *a, const dukd_optimizer_scalars *scalars, const int32_t *broken,
                  const float *gradient, float *weights, dukd_failure *f);

/* ema = ema * decay + weights * (1 - decay), elementwise: BasicSR's model_ema (torch's mul_ and add_ with
 * alpha: two roundings, or one where the machine's add fuses them). In the engine's memory, as `broken`. */
int dukd_ema_update(dukd_engine *e, const int32_t *broken, float *ema, const float *weights, int64_t count,
                    double decay, dukd_failure *f);

#endif
