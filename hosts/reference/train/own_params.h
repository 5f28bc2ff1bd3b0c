/* The parameters that a plugin brings itself (abi/dukd_ext_params.h): their memory, their part of an optimizer step, and their rows in
 * a training state.
 *
 * They are trained with the student's optimizer and rate, and averaged with its decay. A network file has none of them. In a state
 * each is four tensors: plugin.NAME, plugin_exp_avg.NAME, plugin_exp_avg_sq.NAME (Adam's m and v) and, with an average,
 * plugin_ema.NAME. [one thread] */
#ifndef DUKD_OWN_PARAMS_H
#define DUKD_OWN_PARAMS_H

#include <stddef.h>
#include <stdint.h>

#include "common/failure.h"
#include "common/safetensors.h"
#include "dukd_ext_params.h"
#include "engine/mirror.h"
#include "train/adam.h"

#define DUKD_OWN_ARRAYS 4 /* of a parameter in a state */

/* Zeroed: a plugin without any; then every function does nothing. Arrays are in the engine's memory. */
typedef struct {
    dukd_engine *engine;
    const dukd_param_list *list; /* the session's */
    int64_t count;               /* elements of all parameters */
    float *values, *gradient;    /* [count], one parameter after the other */
    float *ema;                  /* [count], or NULL: no average is kept */
    dukd_adam adam;
} dukd_own_params;

/* Asks the session, makes the memory and binds it; the plugin writes the first values. A list that is not as the header says is
 * DUKD_FAILED. */
int dukd_own_params_open(dukd_own_params *out, dukd_engine *engine, const dukd_plugin *plugin,
                         dukd_session *session, dukd_adam_options adam, int average, dukd_failure *f);
void dukd_own_params_free(dukd_own_params *p); /* after the session, which has it bound */

int dukd_own_params_clear(dukd_own_params *p, dukd_failure *f); /* the gradient */
int dukd_own_params_optimize(dukd_own_params *p, int sgd, const dukd_optimizer_scalars *scalars,
                             const int32_t *broken, dukd_failure *f); /* see dukd_adam_step */
int dukd_own_params_average(dukd_own_params *p, double decay, const int32_t *broken, dukd_failure *f);

int32_t dukd_own_params_row_count(const dukd_own_params *p);
/* Fills so many rows of a training state: names are allocated (dukd_weights_rows_free), data are the views', which the caller frees when
 * the rows have been used, whatever is returned. -1: `f` says why. */
int32_t dukd_own_params_rows(const dukd_own_params *p, dukd_mirror views[DUKD_OWN_ARRAYS],
                             dukd_st_tensor *rows, dukd_failure *f);
/* From a training state; `path` begins the messages. A state that has other ones is DUKD_FAILED. The count of optimizer steps is the
 * caller's to set. */
int dukd_own_params_load(dukd_own_params *p, const dukd_tensor_file *file, const char *path, dukd_failure *f);

/* "projection.weight 64x64x1x1, projection.bias 64", cut where it does not fit. */
void dukd_own_params_text(const dukd_own_params *p, char *out, size_t size);

#endif
