/* Plain gradient descent, as torch.optim.SGD without momentum computes it. It has no state: of what a training state holds for the
 * optimizer only the zeros of Adam's moments are there. */
#ifndef DUKD_SGD_H
#define DUKD_SGD_H

#include <stdint.h>

/* weights[count] -= rate * (gradient[count] + weight_decay * weights). Every element by itself, for any number of threads. */
void dukd_sgd_step(double rate, double weight_decay, const float *gradient, float *weights, int64_t count);

#endif
