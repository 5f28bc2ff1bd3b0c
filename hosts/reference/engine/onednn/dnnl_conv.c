/* See dnnl_conv.h: the packing of weights, and running. */
#include "engine/onednn/dnnl_conv.h"

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/onednn/dnnl_conv_state.h"

/* ---- packing ---- */

/* Small weights are reordered by one thread: starting the others would take longer. */
static int set_reorder_threads(const dukd_conv *c) {
    enum { SMALL = 1 << 16 };
    int before = omp_get_max_threads();
    if (dukd_conv_weights(&c->spec) <= SMALL) omp_set_num_threads(1);
    return before;
}

static dnnl_status_t make_reorder(dukd_conv *c) {
    const dukd_conv_spec *s = &c->spec;
    int gradient = s->kind == DUKD_CONV_WEIGHTS_GRADIENT;
    dukd_description plain = {0};
    dnnl_primitive_desc_t desc = NULL;
    dnnl_engine_t e = c->dnnl->engine;
    int threads = set_reorder_threads(c);
    dukd_description_ref packed = dukd_conv_packed_description(c);
    dnnl_status_t status = dukd_conv_describe_weights(&plain, s, dnnl_f32, 1);
    if (status == dnnl_success) status = dnnl_memory_create(&c->plain, DUKD_REF(plain), e, DNNL_MEMORY_NONE);
    if (status == dnnl_success) status = dnnl_memory_create(&c->packed, packed, e, DNNL_MEMORY_NONE);
    if (status == dnnl_success)
        status = gradient ? dnnl_reorder_primitive_desc_create(&desc, packed, e, DUKD_REF(plain), e, NULL)
                          : dnnl_reorder_primitive_desc_create(&desc, DUKD_REF(plain), e, packed, e, NULL);
    if (status == dnnl_success) status = dnnl_primitive_create(&c->reorder, desc);
    omp_set_num_threads(threads);
    if (desc) dnnl_primitive_desc_destroy(desc);
    dukd_forget(&plain);
    return status;
}

static int run_reorder(dukd_conv *c, const float *plain, const void *packed, dukd_failure *f) {
    int gradient = c->spec.kind == DUKD_CONV_WEIGHTS_GRADIENT;
    dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, gradient ? c->packed : c->plain},
                              {DNNL_ARG_TO, gradient ? c->plain : c->packed}};
    int threads = set_reorder_threads(c);
    /* oneDNN takes what it only reads as void * too. */
    dnnl_status_t status = dnnl_memory_set_data_handle(c->plain, (void *)(uintptr_t)plain);
    if (status == dnnl_success) status = dnnl_memory_set_data_handle(c->packed, (void *)(uintptr_t)packed);
    if (status == dnnl_success) status = dnnl_primitive_execute(c->reorder, c->dnnl->stream, 2, args);
    if (status == dnnl_success) status = dnnl_stream_wait(c->dnnl->stream);
    omp_set_num_threads(threads);
    return status == dnnl_success ? DUKD_DONE : dukd_dnnl_failed(f, "packing weights", status);
}

int dukd_conv_pack(dukd_conv *c, void *packed, const float *plain, dukd_failure *f) {
    return run_reorder(c, plain, packed, f);
}

int dukd_conv_unpack(dukd_conv *c, float *plain, const void *packed, dukd_failure *f) {
    return run_reorder(c, plain, packed, f);
}

/* ---- a convolution ---- */

int dukd_conv_create(dukd_conv **out, dukd_dnnl *d, const dukd_conv_spec *spec, dukd_failure *f) {
    *out = NULL;
    dukd_conv *c = calloc(1, sizeof *c);
    if (!c) return dukd_fail_memory(f, "a convolution", sizeof *c);
    c->spec = *spec;
    c->dnnl = d;
    dnnl_status_t status = dukd_conv_make(c);
    if (status == dnnl_success) status = make_reorder(c);
    if (status != dnnl_success) {
        dukd_conv_destroy(c);
        char what[160];
        snprintf(what, sizeof what, "a %s of %d x %d pixels, %d images, %d to %d channels, kernel %d",
                 spec->kind == DUKD_CONV_FORWARD ? "convolution" : "convolution's gradient", (int)spec->width,
                 (int)spec->height, (int)spec->images, (int)spec->in_channels, (int)spec->out_channels,
                 (int)spec->side);
        return dukd_dnnl_failed(f, what, status);
    }
    *out = c;
    return DUKD_DONE;
}

void dukd_conv_destroy(dukd_conv *c) {
    if (!c) return;
    for (int i = 0; i < c->arg_count; i++) dnnl_memory_destroy(c->args[i].memory);
    if (c->plain) dnnl_memory_destroy(c->plain);
    if (c->packed) dnnl_memory_destroy(c->packed);
    if (c->reorder) dnnl_primitive_destroy(c->reorder);
    if (c->primitive) dnnl_primitive_destroy(c->primitive);
    if (c->desc) dnnl_primitive_desc_destroy(c->desc);
    if (c->hint) dnnl_primitive_desc_destroy(c->hint);
    dukd_forget(&c->product_weights);
    free(c);
}

const dukd_conv_spec *dukd_conv_get_spec(const dukd_conv *c) {
    return &c->spec;
}

int64_t dukd_conv_source_bytes(const dukd_conv *c) {
    return c->source_bytes;
}

int64_t dukd_conv_dest_bytes(const dukd_conv *c) {
    return c->dest_bytes;
}

int64_t dukd_conv_packed_bytes(const dukd_conv *c) {
    return c->packed_bytes;
}

int64_t dukd_conv_scratch_bytes(const dukd_conv *c) {
    return c->scratch_bytes;
}

int64_t dukd_conv_weights(const dukd_conv_spec *s) {
    return (int64_t)s->out_channels * (s->in_channels / s->groups) * s->side * s->side;
}

double dukd_conv_multiply_adds(const dukd_conv_spec *s) {
    return (double)dukd_conv_weights(s) * s->images * s->height * s->width;
}

int dukd_conv_same_packing(const dukd_conv *a, const dukd_conv *b) {
    return a->spec.kind == b->spec.kind &&
           dnnl_memory_desc_equal(dukd_conv_packed_description(a), dukd_conv_packed_description(b));
}

int dukd_conv_leaves_bias(const dukd_conv *c) {
    return c->product != 0;
}

const char *dukd_conv_implementation(const dukd_conv *c) {
    const char *name = NULL;
    if (dnnl_primitive_desc_query(c->desc, dnnl_query_impl_info_str, 0, (void *)&name) != dnnl_success)
        return "?";
    return name;
}

int dukd_conv_adds(const dukd_conv *c) {
    return strstr(dukd_conv_implementation(c), "gemm") == NULL;
}

static void *handle_for(dukd_conv_role what, const dukd_conv_memory *m) {
    switch (what) {
    case ROLE_SOURCE:
        return m->source;
    case ROLE_WEIGHTS:
        return m->weights;
    case ROLE_BIAS:
        return m->bias;
    case ROLE_DEST:
        return m->dest;
    case ROLE_SCRATCH:
        return m->scratch;
    case ROLE_ADDEND:
        break;
    }
    return (void *)(uintptr_t)m->addend; /* oneDNN takes what it only reads as void * too */
}

int dukd_conv_run(dukd_conv *c, const dukd_conv_memory *m, dukd_failure *f) {
    dnnl_status_t status = dnnl_success;
    for (int i = 0; i < c->arg_count && status == dnnl_success; i++)
        status = dnnl_memory_set_data_handle(c->args[i].memory, handle_for(c->roles[i], m));
    if (status == dnnl_success)
        status = dnnl_primitive_execute(c->primitive, c->dnnl->stream, c->arg_count, c->args);
    if (status == dnnl_success) status = dnnl_stream_wait(c->dnnl->stream);
    return status == dnnl_success ? DUKD_DONE : dukd_dnnl_failed(f, "running a convolution", status);
}
