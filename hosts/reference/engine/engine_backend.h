/* What a backend is: one table of operations. engine.c checks arguments, keeps the list of compiled execs and the
 * order of calls; a backend only computes. Adding one: a folder beside onednn/, a table, a line in engine.c.
 *
 * Every function is called for one engine by one thread at a time, with arguments that engine.c has checked. */
#ifndef DUKD_ENGINE_BACKEND_H
#define DUKD_ENGINE_BACKEND_H

#include "engine/engine.h"

typedef struct {
    const char *name;
    /* `info`: name and threads (the number to use) are set; the rest is the backend's to fill. */
    int (*engine_create)(void **out, dukd_engine_info *info, dukd_failure *f);
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
    int (*exec_backward)(void *exec, const float *const *d_outputs, float *d_weights, float *d_input,
                         dukd_failure *f);
} dukd_backend;

extern const dukd_backend dukd_backend_onednn;

#endif
