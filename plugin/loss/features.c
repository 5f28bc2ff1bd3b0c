/* The terms on features of a pass. */
#include "loss/features.h"

static int32_t run_affinities(dukd_backend *backend, const dukd_compare_job *job,
                              double mean[DUKD_MAX_LOSSES], dukd_error *error) {
    const dukd_pass_recipe *pass = job->pass;
    for (uint32_t i = 0; i < pass->n_affinities; i++) mean[pass->affinity[i].loss] = 0;
    for (uint32_t i = 0; i < pass->n_affinities; i++) {
        const dukd_affinity_recipe *affinity = &pass->affinity[i];
        const dukd_tensor *student = job->values[affinity->student];
        const double pixels = (double)student->shape[2] * (double)student->shape[3];
        const double count = (double)student->shape[0] * pixels * pixels;
        const double weight = job->recipe->loss[affinity->loss].weight;
        dukd_affinity_args args = {.student = student,
                                   .teacher = job->values[affinity->teacher],
                                   .grad = job->grads[affinity->student],
                                   .factor = weight * job->grad_scale / (count * job->micro_count)};
        const int32_t status = backend->affinity(backend, &args, error);
        if (status != DUKD_OK) return status;
        mean[affinity->loss] += args.sum / count;
    }
    return DUKD_OK;
}

static int32_t run_contrasts(dukd_backend *backend, const dukd_compare_job *job, double mean[DUKD_MAX_LOSSES],
                             dukd_error *error) {
    const dukd_pass_recipe *pass = job->pass;
    for (uint32_t i = 0; i < pass->n_contrasts; i++) mean[pass->contrast[i].loss] = 0;
    for (uint32_t i = 0; i < pass->n_contrasts; i++) {
        const dukd_contrast_recipe *contrast = &pass->contrast[i];
        const double weight = job->recipe->loss[contrast->loss].weight * contrast->weight;
        dukd_contrast_args args = {.student = job->values[contrast->student],
                                   .teacher = job->values[contrast->teacher],
                                   .negatives = job->values[contrast->negatives],
                                   .grad_student = job->grads[contrast->student],
                                   .grad_teacher = job->grads[contrast->teacher],
                                   .factor = weight * job->grad_scale / job->micro_count};
        const int32_t status = backend->contrast(backend, &args, error);
        if (status != DUKD_OK) return status;
        mean[contrast->loss] += contrast->weight * args.ratio;
    }
    return DUKD_OK;
}

int32_t dukd_features_run(dukd_backend *backend, const dukd_compare_job *job, double mean[DUKD_MAX_LOSSES],
                          dukd_error *error) {
    const int32_t status = run_affinities(backend, job, mean, error);
    return status != DUKD_OK ? status : run_contrasts(backend, job, mean, error);
}
