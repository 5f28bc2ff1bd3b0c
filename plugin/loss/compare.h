/* The comparisons of a pass: L1 between a tap, mapped back, and its targets, and the tap's gradient. */
#ifndef DUKD_COMPARE_H
#define DUKD_COMPARE_H

#include "backend/backend.h"
#include "recipe.h"

typedef struct {
    const dukd_recipe *recipe;
    const dukd_pass_recipe *pass;
    const dukd_tensor *const *values; /* by tap */
    const dukd_tensor *const *grads;  /* by tap; NULL for a tap that wants none */
    const dukd_tensor *lr, *hr;
    const uint32_t *back;   /* B of each image of the pass */
    double grad_scale;      /* of all gradients */
    const float *scale_dev; /* multiplies them too; on the device, or NULL */
    double *means;          /* where loss l of a device goes, means + l; NULL: the backend computes at once */
    uint32_t micro_count;   /* micro-batches whose mean the loss is */
} dukd_compare_job;

/* Writes every wanted gradient of the pass, grad_scale * d(loss)/d(tap), and mean[l] = the mean of |B(tap) -
 * target| for each loss l of the pass; other elements of mean are left alone. A device writes job->means instead. Micro-batches divide the
 * gradient by the elements of all of them together, in one division, so that it has the bits of the whole
 * batch's gradient. Errors are the backend's. */
int32_t dukd_compare_run(dukd_backend *backend, const dukd_compare_job *job, double mean[DUKD_MAX_LOSSES],
                         dukd_error *error);

#endif
