/* Adam and the moving average of the weights: what is computed once a step, in double. */
#include "train/adam.h"

#include <math.h>

#include "train/weights.h"

int dukd_adam_create(dukd_adam *a, dukd_engine *engine, dukd_adam_options options, int64_t count,
                     dukd_failure *f) {
    *a = (dukd_adam){.engine = engine, .options = options, .count = count};
    int status = dukd_weights_room(engine, count, "the optimizer's state", &a->m, f);
    if (!status) status = dukd_weights_room(engine, count, "the optimizer's state", &a->v, f);
    if (status) dukd_adam_free(a);
    return status;
}

void dukd_adam_free(dukd_adam *a) {
    if (!a) return;
    dukd_engine_release(a->engine, a->m);
    dukd_engine_release(a->engine, a->v);
    *a = (dukd_adam){0};
}

dukd_optimizer_scalars dukd_adam_scalars(const dukd_adam_options *o, int64_t t, double rate) {
    const double correction1 = 1 - pow(o->beta1, (double)t), correction2 = 1 - pow(o->beta2, (double)t);
    return (dukd_optimizer_scalars){.minus_step = (float)-(rate / correction1),
                                    .root = (float)sqrt(correction2),
                                    .new_m = (float)(1 - o->beta1),
                                    .keep_v = (float)o->beta2,
                                    .new_v = (float)(1 - o->beta2),
                                    .eps = (float)o->eps,
                                    .decay = (float)o->weight_decay,
                                    .rate = (float)rate};
}

int dukd_adam_step(dukd_adam *a, const dukd_optimizer_scalars *scalars, const int32_t *broken,
                   const float *gradient, float *weights, dukd_failure *f) {
    a->steps++;
    return dukd_engine_adam(a->engine, scalars, broken, gradient, a->m, a->v, weights, a->count, f);
}

int dukd_sgd_step(const dukd_adam *a, const dukd_optimizer_scalars *scalars, const int32_t *broken,
                  const float *gradient, float *weights, dukd_failure *f) {
    return dukd_engine_descend(a->engine, scalars, broken, gradient, weights, a->count, f);
}

int dukd_ema_update(dukd_engine *e, const int32_t *broken, float *ema, const float *weights, int64_t count,
                    double decay, dukd_failure *f) {
    return dukd_engine_average(e, broken, ema, weights, (float)decay, (float)(1 - decay), count, f);
}
