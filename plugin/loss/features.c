/* The terms on features of a pass. */
#include "loss/features.h"

#include <stddef.h>

static void add_up(double *mean, bool add, double of_layer) {
    *mean = add ? *mean + of_layer : of_layer;
}

static int32_t run_affinities(dukd_backend *backend, const dukd_compare_job *job,
                              double mean[DUKD_MAX_LOSSES], dukd_error *error) {
    const dukd_pass_recipe *pass = job->pass;
    uint32_t begun = 0; /* a bit a loss: it has a layer already */
    for (uint32_t i = 0; i < pass->n_affinities; i++) {
        const dukd_affinity_recipe *affinity = &pass->affinity[i];
        const dukd_tensor *student = job->values[affinity->student];
        const double pixels = (double)student->shape[2] * (double)student->shape[3];
        const double count = (double)student->shape[0] * pixels * pixels;
        const double weight = job->recipe->loss[affinity->loss].weight;
        dukd_affinity_args args = {.student = student,
                                   .teacher = job->values[affinity->teacher],
                                   .grad = job->grads[affinity->student],
                                   .factor = weight * job->grad_scale / (count * job->micro_count),
                                   .mean = job->means != NULL ? job->means + affinity->loss : NULL,
                                   .scale_dev = job->scale_dev,
                                   .add = (begun >> affinity->loss & 1) != 0};
        const int32_t status = backend->affinity(backend, &args, error);
        if (status != DUKD_OK) return status;
        if (job->means == NULL) add_up(&mean[affinity->loss], args.add, args.sum / count);
        begun |= 1u << affinity->loss;
    }
    return DUKD_OK;
}

static int32_t run_contrasts(dukd_backend *backend, const dukd_compare_job *job, double mean[DUKD_MAX_LOSSES],
                             dukd_error *error) {
    const dukd_pass_recipe *pass = job->pass;
    uint32_t begun = 0;
    for (uint32_t i = 0; i < pass->n_contrasts; i++) {
        const dukd_contrast_recipe *contrast = &pass->contrast[i];
        const double weight = job->recipe->loss[contrast->loss].weight * contrast->weight;
        dukd_contrast_args args = {.student = job->values[contrast->student],
                                   .teacher = job->values[contrast->teacher],
                                   .negatives = job->values[contrast->negatives],
                                   .grad_student = job->grads[contrast->student],
                                   .grad_teacher = job->grads[contrast->teacher],
                                   .factor = weight * job->grad_scale / job->micro_count,
                                   .mean = job->means != NULL ? job->means + contrast->loss : NULL,
                                   .weight = contrast->weight,
                                   .scale_dev = job->scale_dev,
                                   .add = (begun >> contrast->loss & 1) != 0};
        const int32_t status = backend->contrast(backend, &args, error);
        if (status != DUKD_OK) return status;
        if (job->means == NULL) add_up(&mean[contrast->loss], args.add, contrast->weight * args.ratio);
        begun |= 1u << contrast->loss;
    }
    return DUKD_OK;
}

int32_t dukd_features_run(dukd_backend *backend, const dukd_compare_job *job, double mean[DUKD_MAX_LOSSES],
                          dukd_error *error) {
    const int32_t status = run_affinities(backend, job, mean, error);
    return status != DUKD_OK ? status : run_contrasts(backend, job, mean, error);
}
