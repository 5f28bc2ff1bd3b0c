/* See dnnl_compat.h. */
#include "engine/onednn/dnnl_compat.h"

#include <stdio.h>
#include <stdlib.h>

int dukd_dnnl_failed(dukd_failure *f, const char *what, dnnl_status_t status) {
    const char *why = status == dnnl_out_of_memory ? "out of memory"
                      : status == dnnl_unimplemented
                          ? "not implemented for this shape and type on this processor"
                      : status == dnnl_invalid_arguments ? "invalid arguments"
                                                         : "runtime error";
    return dukd_fail(f, DUKD_FAILED, "oneDNN: %s: %s (status %d)", what, why, (int)status);
}

/* ---- engine, version, instruction sets ---- */

int dukd_dnnl_create(dukd_dnnl **out, dukd_failure *f) {
    *out = NULL;
    const dnnl_version_t *v = dnnl_version();
    if (v->major != DNNL_VERSION_MAJOR)
        return dukd_fail(f, DUKD_FAILED,
                         "this program was built for oneDNN %d and runs with oneDNN %d.%d: install the one "
                         "it was built for",
                         DNNL_VERSION_MAJOR, v->major, v->minor);
    dukd_dnnl *d = calloc(1, sizeof *d);
    if (!d) return dukd_fail_memory(f, "an engine", sizeof *d);
    dnnl_status_t status = dnnl_engine_create(&d->engine, dnnl_cpu, 0);
    if (status == dnnl_success) status = dnnl_stream_create(&d->stream, d->engine, dnnl_stream_default_flags);
    if (status != dnnl_success) {
        dukd_dnnl_destroy(d);
        return dukd_dnnl_failed(f, "making an engine", status);
    }
    *out = d;
    return DUKD_DONE;
}

void dukd_dnnl_destroy(dukd_dnnl *d) {
    if (!d) return;
    if (d->stream) dnnl_stream_destroy(d->stream);
    if (d->engine) dnnl_engine_destroy(d->engine);
    free(d);
}

void dukd_dnnl_version(char *text, int size) {
    const dnnl_version_t *v = dnnl_version();
    snprintf(text, (size_t)size, "oneDNN %d.%d.%d", v->major, v->minor, v->patch);
}

static int isa_has(dnnl_cpu_isa_t isa) {
    return (dnnl_get_effective_cpu_isa() & isa) == isa;
}

const char *dukd_dnnl_isa_name(void) {
    switch ((int)dnnl_get_effective_cpu_isa()) {
    case dnnl_cpu_isa_sse41:
        return "sse41";
    case dnnl_cpu_isa_avx:
        return "avx";
    case dnnl_cpu_isa_avx2:
        return "avx2";
    case dnnl_cpu_isa_avx512_core:
        return "avx512_core";
    case dnnl_cpu_isa_avx512_core_vnni:
        return "avx512_core_vnni";
    case dnnl_cpu_isa_avx512_core_bf16:
        return "avx512_core_bf16";
    default:
        break;
    }
    if (isa_has(dnnl_cpu_isa_avx512_core_bf16)) return "avx512_core_bf16+";
    if (isa_has(dnnl_cpu_isa_avx512_core)) return "avx512_core+";
    if (isa_has(dnnl_cpu_isa_avx2)) return "avx2+";
    return "generic";
}

dukd_isa dukd_dnnl_isa(void) {
    if (isa_has(dnnl_cpu_isa_avx512_core_bf16)) return DUKD_ISA_AVX512_BF16;
    if (isa_has(dnnl_cpu_isa_avx512_core)) return DUKD_ISA_AVX512;
    return isa_has(dnnl_cpu_isa_avx2) ? DUKD_ISA_AVX2 : DUKD_ISA_BASE;
}

int dukd_dnnl_has_bf16(void) {
    return isa_has(dnnl_cpu_isa_avx512_core_bf16);
}

int dukd_dnnl_can_bf16(void) {
    return isa_has(dnnl_cpu_isa_avx512_core);
}

/* ---- descriptions of tensors ---- */

static void copy_dims(dnnl_dims_t to, int ndims, const int64_t *from) {
    for (int i = 0; i < ndims; i++) to[i] = from[i];
}

dnnl_status_t dukd_describe(dukd_description *out, int ndims, const int64_t *sizes, dnnl_data_type_t type,
                            dnnl_format_tag_t tag) {
    dnnl_dims_t dims = {0};
    copy_dims(dims, ndims, sizes);
#if DNNL_VERSION_MAJOR >= 3
    return dnnl_memory_desc_create_with_tag(out, ndims, dims, type, tag);
#else
    return dnnl_memory_desc_init_by_tag(out, ndims, dims, type, tag);
#endif
}

dnnl_status_t dukd_describe_strides(dukd_description *out, int ndims, const int64_t *sizes,
                                    const int64_t *strides, dnnl_data_type_t type) {
    dnnl_dims_t dims = {0}, steps = {0};
    copy_dims(dims, ndims, sizes);
    copy_dims(steps, ndims, strides);
#if DNNL_VERSION_MAJOR >= 3
    return dnnl_memory_desc_create_with_strides(out, ndims, dims, type, steps);
#else
    return dnnl_memory_desc_init_by_strides(out, ndims, dims, type, steps);
#endif
}

void dukd_forget(dukd_description *d) {
#if DNNL_VERSION_MAJOR >= 3
    if (*d) dnnl_memory_desc_destroy(*d);
    *d = NULL;
#else
    (void)d;
#endif
}

/* ---- post-operations ---- */

dnnl_status_t dukd_append_eltwise(dnnl_post_ops_t ops, dnnl_alg_kind_t kind, float alpha) {
#if DNNL_VERSION_MAJOR >= 3
    return dnnl_post_ops_append_eltwise(ops, kind, alpha, 0);
#else
    return dnnl_post_ops_append_eltwise(ops, 1, kind, alpha, 0);
#endif
}

dnnl_status_t dukd_append_sum(dnnl_post_ops_t ops) {
#if DNNL_VERSION_MAJOR >= 3
    return dnnl_post_ops_append_sum(ops, 1, 0, dnnl_data_type_undef);
#else
    return dnnl_post_ops_append_sum(ops, 1);
#endif
}

/* ---- descriptions of operations ---- */

dnnl_status_t dukd_describe_forward(dnnl_primitive_desc_t *out, const dukd_dnnl *d, dnnl_prop_kind_t prop,
                                    const dukd_conv_description *c) {
#if DNNL_VERSION_MAJOR >= 3
    const dnnl_dims_t dilates = {0};
    return dnnl_convolution_forward_primitive_desc_create(out, d->engine, prop, dnnl_convolution_direct,
                                                          c->source, c->weights, c->bias, c->dest, c->strides,
                                                          dilates, c->before, c->after, c->attributes);
#else
    dnnl_convolution_desc_t op;
    dnnl_status_t status =
        dnnl_convolution_forward_desc_init(&op, prop, dnnl_convolution_direct, c->source, c->weights, c->bias,
                                           c->dest, c->strides, c->before, c->after);
    return status == dnnl_success ? dnnl_primitive_desc_create(out, &op, c->attributes, d->engine, NULL)
                                  : status;
#endif
}

dnnl_status_t dukd_describe_weights_gradient(dnnl_primitive_desc_t *out, const dukd_dnnl *d,
                                             const dukd_conv_description *c) {
#if DNNL_VERSION_MAJOR >= 3
    const dnnl_dims_t dilates = {0};
    return dnnl_convolution_backward_weights_primitive_desc_create(
        out, d->engine, dnnl_convolution_direct, c->source, c->weights, c->bias, c->dest, c->strides, dilates,
        c->before, c->after, c->hint, c->attributes);
#else
    dnnl_convolution_desc_t op;
    dnnl_status_t status =
        dnnl_convolution_backward_weights_desc_init(&op, dnnl_convolution_direct, c->source, c->weights,
                                                    c->bias, c->dest, c->strides, c->before, c->after);
    return status == dnnl_success ? dnnl_primitive_desc_create(out, &op, c->attributes, d->engine, c->hint)
                                  : status;
#endif
}

dnnl_status_t dukd_describe_data_gradient(dnnl_primitive_desc_t *out, const dukd_dnnl *d,
                                          const dukd_conv_description *c) {
#if DNNL_VERSION_MAJOR >= 3
    const dnnl_dims_t dilates = {0};
    return dnnl_convolution_backward_data_primitive_desc_create(
        out, d->engine, dnnl_convolution_direct, c->source, c->weights, c->dest, c->strides, dilates,
        c->before, c->after, c->hint, c->attributes);
#else
    dnnl_convolution_desc_t op;
    dnnl_status_t status = dnnl_convolution_backward_data_desc_init(
        &op, dnnl_convolution_direct, c->source, c->weights, c->dest, c->strides, c->before, c->after);
    return status == dnnl_success ? dnnl_primitive_desc_create(out, &op, c->attributes, d->engine, c->hint)
                                  : status;
#endif
}

dnnl_status_t dukd_describe_product(dnnl_primitive_desc_t *out, const dukd_dnnl *d, dukd_description_ref a,
                                    dukd_description_ref b, dukd_description_ref c,
                                    dnnl_primitive_attr_t attributes) {
#if DNNL_VERSION_MAJOR >= 3
    return dnnl_matmul_primitive_desc_create(out, d->engine, a, b, NULL, c, attributes);
#else
    dnnl_matmul_desc_t op;
    dnnl_status_t status = dnnl_matmul_desc_init(&op, a, b, NULL, c);
    return status == dnnl_success ? dnnl_primitive_desc_create(out, &op, attributes, d->engine, NULL)
                                  : status;
#endif
}
