/* The terms on features of a pass: FAKD's affinities and CSD's contrasts. */
#ifndef DUKD_LOSS_FEATURES_H
#define DUKD_LOSS_FEATURES_H

#include "loss/compare.h"

/* Writes the gradients of the taps of FAKD and CSD, grad_scale * d(loss)/d(tap), and mean[l] for their losses l: the sum over
 * layers of mean |A_S - A_T|, L_con. Other elements of mean are left alone; a device writes job->means instead. The gradient is divided by the micro-batches. L_con is of this
 * micro-batch: a ratio of its own. Errors are the backend's. */
int32_t dukd_features_run(dukd_backend *backend, const dukd_compare_job *job, double mean[DUKD_MAX_LOSSES],
                          dukd_error *error);

#endif
