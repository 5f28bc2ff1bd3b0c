/* The oneDNN backend's table: engines, networks and programs are made and destroyed here; the rest is in the files
 * that onednn_state.h names. */
#include <stdio.h>
#include <stdlib.h>

#include "engine/onednn/onednn_state.h"

static void engine_destroy(void *engine) {
    onednn_engine *e = engine;
    if (!e) return;
    for (int32_t i = 0; i < e->conv_count; i++) dukd_conv_destroy(e->convs[i]);
    free(e->convs);
    dukd_block_free(&e->train, &e->memory);
    dukd_block_free(&e->infer, &e->memory);
    dukd_block_free(&e->scratch, &e->memory);
    dukd_block_free(&e->plain, &e->memory);
    dukd_block_free(&e->packed_gradient, &e->memory);
    dukd_dnnl_destroy(e->dnnl);
    free(e);
}

static int engine_create(void **out, const dukd_engine_options *options, dukd_engine_info *info,
                         dukd_engine_place *place, dukd_failure *f) {
    (void)options;
    (void)place; /* the processor, as it is */
    onednn_engine *e = calloc(1, sizeof *e);
    if (!e) return dukd_fail_memory(f, "an engine", sizeof *e);
    int status = dukd_dnnl_create(&e->dnnl, f);
    if (status != DUKD_DONE) {
        engine_destroy(e);
        return status;
    }
    e->worker = (dukd_worker){.isa = dukd_dnnl_isa(), .threads = info->threads};
    dukd_dnnl_version(info->library, sizeof info->library);
    snprintf(info->instruction_set, sizeof info->instruction_set, "%s", dukd_dnnl_isa_name());
    info->bf16 = dukd_dnnl_has_bf16();
    *out = e;
    return DUKD_DONE;
}

static void engine_memory(const void *engine, int64_t *now, int64_t *peak) {
    const onednn_engine *e = engine;
    *now = e->memory.now;
    *peak = e->memory.peak;
}

static void engine_set_clock(void *engine, double (*now)(void)) {
    onednn_engine *e = engine;
    e->now = now;
}

static int32_t engine_times(void *engine, dukd_engine_time *out, int32_t room) {
    onednn_engine *e = engine;
    return dukd_step_times_take(&e->times, out, room);
}

static int network_create(void **out, void *engine, const dukd_graph *g, dukd_precision precision,
                          dukd_failure *f) {
    if (precision == DUKD_BF16 && !dukd_dnnl_can_bf16())
        return dukd_fail(f, DUKD_MISUSED,
                         "bf16 needs a processor with AVX-512, this one has %s: train and test in f32 here",
                         dukd_dnnl_isa_name());
    onednn_network *n = calloc(1, sizeof *n);
    if (!n) return dukd_fail_memory(f, "a network", sizeof *n);
    n->engine = engine;
    n->graph = g;
    n->type = precision == DUKD_BF16 ? DUKD_TYPE_BF16 : DUKD_TYPE_F32;
    *out = n;
    return DUKD_DONE;
}

static void network_destroy(void *network) {
    onednn_network *n = network;
    if (!n) return;
    for (int32_t i = 0; i < n->packed_count; i++) {
        dukd_block_free(&n->packed[i].weights, &n->engine->memory);
        dukd_block_free(&n->packed[i].bias, &n->engine->memory);
    }
    free(n->packed);
    free(n);
}

static int network_set_weights(void *network, const float *weights, dukd_failure *f) {
    onednn_network *n = network;
    (void)f; /* packing waits until a program needs it */
    n->weights = weights;
    n->version++;
    return DUKD_DONE;
}

static void exec_destroy(void *exec) {
    onednn_program *p = exec;
    if (!p) return;
    dukd_plan_free(&p->plan);
    free(p->part_drops);
    free(p);
}

static int exec_create(void **out, void *network, const dukd_exec_spec *spec, int drops, dukd_failure *f) {
    onednn_program *p = calloc(1, sizeof *p);
    if (!p) return dukd_fail_memory(f, "compiling a network", sizeof *p);
    p->network = network;
    onednn_engine *e = p->network->engine;
    int status = onednn_plan(p, spec, drops, f);
    /* One arena for all programs of a purpose: only one of them runs at a time. */
    if (status == DUKD_DONE)
        status = spec->purpose == DUKD_TRAIN ? dukd_block_reserve(&e->train, p->plan.arena_bytes, e->kept,
                                                                  &e->memory, "a network's activations", f)
                                             : dukd_block_reserve(&e->infer, p->plan.arena_bytes, 0,
                                                                  &e->memory, "a network's activations", f);
    if (status != DUKD_DONE) {
        exec_destroy(p);
        return status;
    }
    *out = p;
    return DUKD_DONE;
}

const dukd_backend dukd_backend_onednn = {
    .name = "onednn",
    .engine_create = engine_create,
    .engine_destroy = engine_destroy,
    .engine_memory = engine_memory,
    .engine_set_clock = engine_set_clock,
    .engine_times = engine_times,
    .network_create = network_create,
    .network_destroy = network_destroy,
    .network_set_weights = network_set_weights,
    .exec_create = exec_create,
    .exec_destroy = exec_destroy,
    .exec_forward = onednn_forward,
    .exec_backward = onednn_backward,
};
