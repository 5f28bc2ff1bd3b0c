/* Validation during training: every val set of the option file, measured with the averaged weights. Ranks share the images of a set; where
 * images are saved rank 0 measures all of them, because only it writes. All ranks get all results. [one thread] */
#ifndef DUKD_VALIDATE_H
#define DUKD_VALIDATE_H

#include <signal.h>
#include <stdint.h>

#include "common/failure.h"
#include "data/dataset.h"
#include "engine/engine.h"
#include "train/evaluate.h"
#include "train/ranks.h"
#include "train/run_log.h"
#include "train/run_options.h"

typedef struct {
    const dukd_run_options *options;
    dukd_engine *engine;
    const dukd_graph *graph;
    const char *image_root; /* val.save_img: images go to IMAGE_ROOT/SET/NAME_ITER.png */
    dukd_run_log *log;
    dukd_ranks *ranks;                 /* share the images among them; NULL: this one is alone */
    const volatile sig_atomic_t *stop; /* not 0: give up soon; may be NULL */
    dukd_dataset **sets;               /* [options->val_count] */
    dukd_evaluation *results;          /* [options->val_count] of the last validation */
} dukd_validator;

/* Opens the sets (so that a wrong path is found before training, not after). The fields above `sets` are the caller's. */
int dukd_validator_open(dukd_validator *v, dukd_failure *f);
void dukd_validator_close(dukd_validator *v); /* zeroed allowed */

/* weights: in the engine's memory. Measures all sets and logs a line for each. *interrupted: stop was set in between; then nothing was logged and the results
 * are not complete. */
int dukd_validator_run(dukd_validator *v, const float *weights, int64_t iteration, int *interrupted,
                       dukd_failure *f);
const dukd_evaluation *dukd_validator_result(const dukd_validator *v, int32_t set);

#endif
