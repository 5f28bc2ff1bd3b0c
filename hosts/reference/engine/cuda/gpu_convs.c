/* Convolutions and packed weights, made once and shared: equal layers share a convolution, execs of a network share packed weights. */
#include <stdlib.h>
#include <string.h>

#include "engine/cuda/gpu_state.h"

enum { ALIGNMENT = 256 };

int gpu_get_conv(gpu_engine *e, const gpu_conv_spec *spec, gpu_conv **out, dukd_failure *f) {
    for (int32_t i = 0; i < e->conv_count; i++)
        if (memcmp(&e->conv_specs[i], spec, sizeof *spec) == 0) {
            *out = e->convs[i];
            return DUKD_DONE;
        }
    if (e->conv_count == e->conv_room) {
        const int32_t room = e->conv_room ? 2 * e->conv_room : 32;
        gpu_conv **convs = realloc(e->convs, (size_t)room * sizeof(gpu_conv *));
        if (convs) e->convs = convs;
        gpu_conv_spec *specs = realloc(e->conv_specs, (size_t)room * sizeof *specs);
        if (specs) e->conv_specs = specs;
        if (!convs || !specs) return dukd_fail_memory(f, "compiling a network", (size_t)room * sizeof *specs);
        e->conv_room = room;
    }
    gpu_conv *c = NULL;
    const int status = gpu_conv_create(&c, e->libraries, spec, f);
    if (status != DUKD_DONE) return status;
    e->conv_specs[e->conv_count] = *spec;
    e->convs[e->conv_count++] = c;
    *out = c;
    return DUKD_DONE;
}

/* ---- packed weights ---- */

int gpu_get_packed(gpu_network *n, const dukd_run_conv *run, dukd_type type, int32_t *out, dukd_failure *f) {
    for (int32_t i = 0; i < n->packed_count; i++)
        if (n->packed[i].type == type && dukd_run_conv_same(&n->packed[i].run, run)) {
            *out = i;
            return DUKD_DONE;
        }
    void *packed = n->packed;
    const int status = gpu_grow(&packed, n->packed_count, &n->packed_room, sizeof *n->packed, f);
    n->packed = packed;
    if (status != DUKD_DONE) return status;
    n->packed[n->packed_count] = (gpu_packed){.run = *run, .type = type, .version = -1, .recorded = -1};
    *out = n->packed_count++;
    return DUKD_DONE;
}

static int64_t aligned(int64_t bytes) {
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static int64_t weights_bytes(const gpu_packed *p) {
    return aligned(dukd_run_conv_elements(&p->run) * dukd_type_bytes(p->type));
}

static int64_t bias_bytes(const gpu_packed *p) {
    return p->run.bias ? aligned(p->run.out_channels * (int64_t)sizeof(float)) : 0;
}

/* One block for all that a program has added. */
int gpu_place_packed(gpu_network *n, dukd_failure *f) {
    int64_t bytes = 0;
    for (int32_t i = n->placed; i < n->packed_count; i++)
        bytes += weights_bytes(&n->packed[i]) + bias_bytes(&n->packed[i]);
    if (bytes == 0) return DUKD_DONE;
    void *memory = n->memory;
    int status = gpu_grow(&memory, n->memory_count, &n->memory_room, sizeof *n->memory, f);
    n->memory = memory;
    dukd_block block = {0};
    if (status == DUKD_DONE) status = gpu_block_reserve(n->engine, &block, bytes, "packed weights", f);
    if (status != DUKD_DONE) return status;
    n->memory[n->memory_count++] = block;
    char *at = block.data;
    for (int32_t i = n->placed; i < n->packed_count; i++) {
        gpu_packed *p = &n->packed[i];
        p->weights = at;
        at += weights_bytes(p);
        if (p->run.bias) p->bias = (float *)(void *)at;
        at += bias_bytes(p);
    }
    n->placed = n->packed_count;
    return DUKD_DONE;
}

/* Replayed steps change the weights of networks that are trained. */
static int64_t version_of(const gpu_network *n) {
    return n->version > 1 ? n->version + n->engine->changes : n->version;
}

/* Is there nothing to do? A recorded step packs weights that change by itself, once a change: nobody knows what happens before it is
 * replayed. Inside of it nothing runs, so that `version` stays. */
static int is_fresh(const gpu_network *n, const gpu_packed *p) {
    if (n->engine->recording && n->version > 1) return p->recorded == version_of(n);
    return p->version == version_of(n);
}

int gpu_refresh_packed(gpu_network *n, int32_t packed, dukd_failure *f) {
    gpu_packed *p = &n->packed[packed];
    if (is_fresh(n, p)) return DUKD_DONE;
    const gpu_packing how = gpu_packing_of(&p->run);
    const int status = gpu_check(gpu_pack_weights(n->engine->stream, &how, n->weights + p->run.weight->offset,
                                                  p->run.bias ? n->weights + p->run.bias->offset : NULL,
                                                  p->weights, p->type, p->bias),
                                 "packing weights", f);
    if (status != DUKD_DONE) return status;
    if (n->engine->recording)
        p->recorded = version_of(n);
    else
        p->version = version_of(n);
    return DUKD_DONE;
}
