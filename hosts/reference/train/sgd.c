/* Plain gradient descent over flat arrays. */
#include "train/sgd.h"

void dukd_sgd_step(double rate, double weight_decay, const float *gradient, float *weights, int64_t count) {
    const float step = (float)rate, decay = (float)weight_decay;
    float *restrict w = weights;
    const float *restrict g = gradient;
#pragma omp parallel for simd schedule(static)
    for (int64_t i = 0; i < count; i++) {
        const float d = decay != 0 ? g[i] + decay * w[i] : g[i];
        w[i] -= step * d;
    }
}
