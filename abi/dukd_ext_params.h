/* Extension "dukd.params/1": a method with parameters of its own that are trained along with the student (a learned projection
 * between features, a learned temperature).
 *
 * The plugin says which there are and computes their gradients; the host keeps their memory and does with them all that it does
 * with the student's parameters: it clears, optimizes (same optimizer, same rate), averages, checkpoints, and combines gradients
 * over ranks. So a plugin needs no optimizer, and a run resumes like any other. For use by networks they are nothing: a network
 * file has none of them.
 *
 *     create_session            caps has DUKD_CAP_PARAMS
 *     list(session, &list)      names and shapes; none at all where this session trains none
 *     bind(session, &bind)      values and gradients; DUKD_BIND_INIT: the plugin writes the first values
 *     the loop of dukd_plugin.h:
 *         ZERO_GRAD_BEFORE      clears these gradients, too, before the pass is submitted
 *         submit_pass           ADDS to these gradients, where the pass has DUKD_PASS_BACKWARD
 *         OPTIMIZE_AFTER        changes these values, too
 *         EMA_AFTER             averages these values, too
 *     checkpoint                values, their average and the optimizer's moments of each, by name; resumed: bind without INIT
 *
 * A plugin asks for it by having it: a host looks for the extension after it has made a session. One that needs parameters
 * refuses the session of a host without DUKD_CAP_PARAMS (DUKD_E_UNSUPPORTED). */
#ifndef DUKD_EXT_PARAMS_H
#define DUKD_EXT_PARAMS_H

#include "dukd_plugin.h"

#ifdef __cplusplus
extern "C" {
#endif

#define DUKD_EXT_PARAMS "dukd.params/1"

/* One parameter. Belongs to the session, until destroy_session. */
typedef struct dukd_param_info {
    uint32_t struct_size;
    uint32_t flags; /* 0 */
    const char *
        name; /* unique in its session, the same in every session of this configuration: letters, digits, '_' and
                             '.', at most 63 of them; a checkpoint has it as "plugin.NAME" */
    const int64_t *shape; /* [ndim], each >= 1 */
    uint32_t ndim;        /* 0 (a scalar) to 8 */
    uint32_t pad0;
} dukd_param_info;

/* Fixed when the session is made. */
typedef struct dukd_param_list {
    uint32_t struct_size;
    uint32_t n_params; /* 0: the session is one without parameters, and bind need not be called */
    const dukd_param_info *const *params; /* [n_params] */
} dukd_param_list;

/* The plugin writes the first values: a function of the session's seed and configuration alone, so that all ranks begin with the
 * same. Without the flag bind neither reads nor writes values and gradients. */
#define DUKD_BIND_INIT 0x1u

/* Tensors of the host's: f32, of the shape listed, dense (strides NULL, or those of row-major order), aligned to 4 bytes, on the
 * session's device, none overlapping another or a tap. The structs are needed only during the call; the data until the next bind or
 * destroy_session. Gradients are first cleared where a pass says so, as all gradients are. */
typedef struct dukd_param_bind {
    uint32_t struct_size;
    uint32_t flags;    /* DUKD_BIND_... */
    uint32_t n_params; /* as listed */
    uint32_t pad0;
    const dukd_tensor *const
        *values; /* [n_params] read in submit_pass: they are those of that moment, as a network's weights */
    const dukd_tensor *const *grads; /* [n_params] */
    void *stream;                    /* CUDA: on which the first values are made, cudaStream_t; CPU: NULL */
} dukd_param_bind;

/* What submit_pass adds to grads[i] is grad_scale * d(loss)/d(values[i]), all taps held fixed, divided by micro_count as the
 * gradients of taps are. In a pass without DUKD_PASS_BACKWARD, in all other calls, and where submit_pass refuses its
 * arguments, gradients stay as they are; values are written by BIND_INIT alone. After cancel_step they are the
 * host's to restore, as a network's. A host that divides a loss scale out of the student's gradients divides it out of these. */
typedef struct dukd_ext_params {
    uint32_t struct_size;
    uint32_t pad0;
    /* [session] Any time. *out lives until destroy_session, the same each time. */
    int32_t (*list)(dukd_session *session, const dukd_param_list **out, dukd_error *error);
    /* [session] Between steps (micro-batches included); again whenever the memory moves. With parameters listed, begin_step is
     * DUKD_E_STATE before the first bind. A bind that is refused leaves the one before in force. */
    int32_t (*bind)(dukd_session *session, const dukd_param_bind *bind, dukd_error *error);
} dukd_ext_params;

#define DUKD_PARAM_INFO_SIZE 32u
#define DUKD_PARAM_LIST_SIZE 16u
#define DUKD_PARAM_BIND_SIZE 40u
#define DUKD_EXT_PARAMS_SIZE 24u

#ifdef __cplusplus
}
#endif

#endif
