/* Adam and the moving average of the weights, over flat arrays. */
#include "train/adam.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/checked.h"

static float *zeros(int64_t count, dukd_failure *f) {
    int64_t bytes;
    float *p = NULL;
    if (dukd_checked_mul(count, (int64_t)sizeof *p, &bytes)) p = calloc(1, bytes ? (size_t)bytes : 1);
    if (!p) dukd_fail_memory(f, "the optimizer's state", (unsigned long long)count * sizeof *p);
    return p;
}

int dukd_adam_create(dukd_adam *a, dukd_adam_options options, int64_t count, dukd_failure *f) {
    *a = (dukd_adam){.options = options, .count = count};
    a->m = zeros(count, f);
    a->v = a->m ? zeros(count, f) : NULL;
    if (a->v) return 0;
    dukd_adam_free(a);
    return DUKD_FAILED;
}

void dukd_adam_free(dukd_adam *a) {
    if (!a) return;
    free(a->m);
    free(a->v);
    *a = (dukd_adam){0};
}

void dukd_adam_step(dukd_adam *a, double rate, const float *gradient, float *weights) {
    a->steps++;
    const double t = (double)a->steps;
    const double correction1 = 1 - pow(a->options.beta1, t), correction2 = 1 - pow(a->options.beta2, t);
    const float minus_step = (float)-(rate / correction1), root = (float)sqrt(correction2);
    const float new_m = (float)(1 - a->options.beta1), keep_v = (float)a->options.beta2,
                new_v = (float)(1 - a->options.beta2), eps = (float)a->options.eps,
                decay = (float)a->options.weight_decay;
    float *restrict m = a->m, *restrict v = a->v, *restrict w = weights;
    const float *restrict g = gradient;
    const int64_t count = a->count;
#pragma omp parallel for simd schedule(static)
    for (int64_t i = 0; i < count; i++) {
        float d = g[i];
        if (decay != 0) d += decay * w[i];
        m[i] += new_m * (d - m[i]);
        v[i] = v[i] * keep_v + new_v * d * d;
        w[i] += minus_step * m[i] / (sqrtf(v[i]) / root + eps);
    }
}

void dukd_ema_update(float *ema, const float *weights, int64_t count, double decay) {
    const float keep = (float)decay, take = (float)(1 - decay);
    float *restrict e = ema;
    const float *restrict w = weights;
#pragma omp parallel for simd schedule(static)
    for (int64_t i = 0; i < count; i++) e[i] = e[i] * keep + take * w[i];
}
