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
    const int status = dukd_grow(&packed, n->packed_count, &n->packed_room, sizeof *n->packed, f);
    n->packed = packed;
    if (status != DUKD_DONE) return status;
    n->packed[n->packed_count] = (gpu_packed){.run = *run, .type = type};
    *out = n->packed_count++;
    return DUKD_DONE;
}

static int64_t aligned(int64_t bytes) {
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static int64_t weights_bytes(const gpu_packed *p) {
    return aligned(dukd_run_conv_elements(&p->run) * dukd_type_bytes(p->type));
}

static int64_t bias_bytes(const gpu_packed *p, dukd_type type) {
    return p->run.bias && (type == DUKD_TYPE_F32 || p->type == type)
               ? aligned(p->run.out_channels * (int64_t)dukd_type_bytes(type))
               : 0;
}

/* Of packed weights that lie at `at`, or somewhere; returns their bytes. */
static int64_t place(gpu_packed *p, char *at) {
    const int64_t weights = weights_bytes(p), bias = bias_bytes(p, DUKD_TYPE_F32),
                  narrow = bias_bytes(p, DUKD_TYPE_BF16);
    if (at) {
        p->weights = at;
        p->bias = bias ? (float *)(void *)(at + weights) : NULL;
        p->narrow_bias = narrow ? at + weights + bias : NULL;
    }
    return weights + bias + narrow;
}

static gpu_pack_job job_of(const gpu_packed *p) {
    return (gpu_pack_job){.how = gpu_packing_of(&p->run),
                          .weight = p->run.weight->offset,
                          .bias = p->run.bias ? p->run.bias->offset : -1,
                          .packed = p->weights,
                          .type = p->type,
                          .packed_bias = p->bias,
                          .narrow_bias = p->narrow_bias};
}

/* One block for all that a program has added, and for the table of all there are: recordings read the tables from before. */
int gpu_place_packed(gpu_network *n, dukd_failure *f) {
    if (n->placed == n->packed_count) return DUKD_DONE;
    int64_t bytes = 0;
    gpu_pack_job *jobs = calloc((size_t)n->packed_count, sizeof *jobs);
    if (!jobs) return dukd_fail_memory(f, "compiling a network", (size_t)n->packed_count * sizeof *jobs);
    for (int32_t i = 0; i < n->packed_count; i++) {
        if (i >= n->placed) bytes += place(&n->packed[i], NULL);
        jobs[i] = job_of(&n->packed[i]);
    }
    gpu_table table = gpu_pack_table(NULL, jobs, n->packed_count);
    char *image = NULL;
    void *memory = n->memory;
    dukd_block block = {0};
    int status = dukd_grow(&memory, n->memory_count, &n->memory_room, sizeof *n->memory, f);
    n->memory = memory;
    if (status == DUKD_DONE && !(image = malloc((size_t)table.bytes)))
        status = dukd_fail_memory(f, "compiling a network", (unsigned long long)table.bytes);
    if (status == DUKD_DONE)
        status = gpu_block_reserve(n->engine, &block, bytes + table.bytes, "packed weights", f);
    if (status == DUKD_DONE) {
        char *at = block.data;
        for (int32_t i = n->placed; i < n->packed_count; i++) {
            at += place(&n->packed[i], at);
            jobs[i] = job_of(&n->packed[i]);
        }
        table = gpu_pack_table(image, jobs, n->packed_count);
        status = gpu_upload(n->engine, at, image, table.bytes, f);
        if (status == DUKD_DONE) {
            n->memory[n->memory_count++] = block;
            n->table = table;
            n->on_device = at;
            n->placed = n->packed_count;
            n->packed_version = -1;
        } else {
            gpu_block_free(n->engine, &block);
        }
    }
    free(image);
    free(jobs);
    return status;
}

/* Replayed steps change the weights of networks that are trained. */
static int64_t version_of(const gpu_network *n) {
    return n->version > 1 ? n->version + n->engine->changes : n->version;
}

/* Is there nothing to do? A recorded step packs weights that change by itself, once a change: nobody knows what happens before it is
 * replayed. Inside of it nothing runs, so that packed_version stays. */
static int is_fresh(const gpu_network *n) {
    const int now = n->packed_version == version_of(n);
    if (!n->engine->recording) return now;
    if (now && n->version <= 1) return 1;
    return n->recorded_in == n->engine->recording && n->recorded_version == version_of(n);
}

int gpu_refresh_packed(gpu_network *n, dukd_failure *f) {
    if (is_fresh(n)) return DUKD_DONE;
    const int status = gpu_check(gpu_pack_weights(n->engine->stream, &n->table, n->on_device, n->weights),
                                 "packing weights", f);
    if (status != DUKD_DONE) return status;
    if (n->engine->recording) {
        n->recorded_in = n->engine->recording;
        n->recorded_version = version_of(n);
    } else {
        n->packed_version = version_of(n);
    }
    return DUKD_DONE;
}
