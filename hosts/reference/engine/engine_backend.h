/* What a backend is: one table of operations. engine.c checks arguments, keeps the list of compiled execs and the
 * order of calls; a backend only computes. Adding one: a folder beside onednn/, a table, a line in engine.c.
 *
 * Every function is called for one engine by one thread at a time, with arguments that engine.c has checked. */
#ifndef DUKD_ENGINE_BACKEND_H
#define DUKD_ENGINE_BACKEND_H

#include "engine/arrays.h"
#include "engine/engine.h"
#include "engine/join.h"
#include "engine/recording.h"
#include "engine/transfers.h"

typedef struct {
    const char *name;
    const dukd_array_ops *arrays;        /* NULL: its memory is the processor's */
    const dukd_transfer_ops *transfers;  /* NULL: by upload and download */
    const dukd_recording_ops *recording; /* NULL: steps are not recorded */
    const dukd_join_ops *join;           /* NULL: it joins no others */
    /* Of the options device and tf32 are for backends that know them. `info`: name and threads (the number to use) are set; the rest
     * is the backend's to fill. `place`: the processor, unless the backend writes another. */
    int (*engine_create)(void **out, const dukd_engine_options *options, dukd_engine_info *info,
                         dukd_engine_place *place, dukd_failure *f);
    void (*engine_destroy)(void *engine);
    void (*engine_memory)(const void *engine, int64_t *now, int64_t *peak);
    void (*engine_set_clock)(void *engine, double (*now)(void));
    int32_t (*engine_times)(void *engine, dukd_engine_time *out, int32_t room);

    int (*network_create)(void **out, void *engine, const dukd_graph *g, dukd_precision precision,
                          dukd_failure *f);
    void (*network_destroy)(void *network);
    int (*network_set_weights)(void *network, const float *weights, dukd_failure *f);

    /* spec->output_count is at least 1. `drops`: drop paths have factors; 0: they do nothing. */
    int (*exec_create)(void **out, void *network, const dukd_exec_spec *spec, int drops, dukd_failure *f);
    void (*exec_destroy)(void *exec);
    /* factors: of the drop paths (dukd_exec_set_drops), valid until the backward; NULL for an exec without `drops`. */
    int (*exec_forward)(void *exec, int32_t images, const float *input, float *const *outputs,
                        const float *factors, dukd_failure *f);
    /* listener: see dukd_exec_set_listener; NULL: nobody. A backend without `announces` leaves it to engine.c, which tells of
     * everything at the end. */
    int (*exec_backward)(void *exec, const float *const *d_outputs, float *d_weights, float *d_input,
                         const dukd_gradient_listener *listener, dukd_failure *f);
    int32_t announces;
} dukd_backend;

extern const dukd_backend dukd_backend_onednn;

/* The CUDA backend's table, out of its module (engine/cuda/cuda_open.c); NULL: `f` says what is missing. */
const dukd_backend *dukd_backend_cuda_open(dukd_failure *f);

#endif
