/* The comparisons of a pass. */
#include "loss/compare.h"

#include <stddef.h>

static double elements(const dukd_tensor *t) {
    return (double)t->shape[0] * (double)t->shape[1] * (double)t->shape[2] * (double)t->shape[3];
}

static const dukd_tensor *target_tensor(const dukd_compare_job *job, const dukd_target_recipe *target) {
    return target->kind == DUKD_TARGET_TAP  ? job->values[target->tap]
           : target->kind == DUKD_TARGET_LR ? job->lr
                                            : job->hr;
}

int32_t dukd_compare_run(dukd_backend *backend, const dukd_compare_job *job, double mean[DUKD_MAX_LOSSES],
                         dukd_error *error) {
    for (uint32_t i = 0; i < job->pass->n_compares; i++) {
        const dukd_compare_recipe *compare = &job->pass->compare[i];
        const dukd_tensor *value = job->values[compare->value];
        const double count = elements(value);
        dukd_l1_args args = {.value = value,
                             .grad = job->grads[compare->value],
                             .n_targets = compare->n_targets,
                             .back = compare->map_back ? job->back : NULL,
                             .scale_dev = job->scale_dev};
        for (uint32_t t = 0; t < compare->n_targets; t++) {
            const double weight = job->recipe->loss[compare->target[t].loss].weight;
            args.target[t] = target_tensor(job, &compare->target[t]);
            args.factor[t] = weight * job->grad_scale / (count * job->micro_count);
            if (job->means != NULL) args.mean[t] = job->means + compare->target[t].loss;
        }
        const int32_t status = backend->l1(backend, &args, error);
        if (status != DUKD_OK) return status;
        for (uint32_t t = 0; t < compare->n_targets && job->means == NULL; t++) {
            mean[compare->target[t].loss] = args.sum[t] / count;
        }
    }
    return DUKD_OK;
}
