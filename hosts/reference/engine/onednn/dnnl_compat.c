/* See dnnl_compat.h. In oneDNN 2 descriptions are structures and an operation's description is a step of its own;
 * in oneDNN 3 descriptions are handles and that step is gone. */
#include "engine/onednn/dnnl_compat.h"

#include <omp.h>
#include <oneapi/dnnl/dnnl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if DNNL_VERSION_MAJOR >= 3
typedef dnnl_memory_desc_t description;           /* owned */
typedef const_dnnl_memory_desc_t description_ref; /* borrowed */
#define REF(d) (d)
#else
typedef dnnl_memory_desc_t description;
typedef const dnnl_memory_desc_t *description_ref;
#define REF(d) (&(d))
#endif

struct dukd_dnnl {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
};

enum { MAX_ARGS = 6 };

struct dukd_conv {
    dukd_conv_spec spec;
    dukd_dnnl *dnnl;
    dnnl_primitive_desc_t hint, desc; /* hint: forward's, for gradients */
    dnnl_primitive_t primitive, reorder;
    dnnl_memory_t plain, packed; /* of the reorder: plain <-> packed */
    int64_t source_bytes, dest_bytes, packed_bytes, scratch_bytes;
    dnnl_exec_arg_t args[MAX_ARGS];
    int arg_count;
};

static int failed(dukd_failure *f, const char *what, dnnl_status_t status) {
    const char *why = status == dnnl_out_of_memory ? "out of memory"
                      : status == dnnl_unimplemented
                          ? "not implemented for this shape and type on this processor"
                      : status == dnnl_invalid_arguments ? "invalid arguments"
                                                         : "runtime error";
    return dukd_fail(f, DUKD_FAILED, "oneDNN: %s: %s (status %d)", what, why, (int)status);
}

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
        return failed(f, "making an engine", status);
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
    if (isa_has(dnnl_cpu_isa_avx512_core)) return DUKD_ISA_AVX512;
    return isa_has(dnnl_cpu_isa_avx2) ? DUKD_ISA_AVX2 : DUKD_ISA_BASE;
}

int dukd_dnnl_has_bf16(void) {
    return isa_has(dnnl_cpu_isa_avx512_core_bf16);
}

int dukd_dnnl_can_bf16(void) {
    return isa_has(dnnl_cpu_isa_avx512_core);
}

/* ---- descriptions ---- */

static dnnl_data_type_t type_of(int32_t type) {
    return type == DUKD_TYPE_F32 ? dnnl_f32 : dnnl_bf16;
}

static dnnl_status_t describe(description *out, int ndims, const int64_t *sizes, dnnl_data_type_t type,
                              dnnl_format_tag_t tag) {
    dnnl_dims_t dims = {0};
    for (int i = 0; i < ndims; i++) dims[i] = sizes[i];
#if DNNL_VERSION_MAJOR >= 3
    return dnnl_memory_desc_create_with_tag(out, ndims, dims, type, tag);
#else
    return dnnl_memory_desc_init_by_tag(out, ndims, dims, type, tag);
#endif
}

static void forget(description *d) {
#if DNNL_VERSION_MAJOR >= 3
    if (*d) dnnl_memory_desc_destroy(*d);
    *d = NULL;
#else
    (void)d;
#endif
}

static description_ref query(const dukd_conv *c, dnnl_query_t what) {
    return dnnl_primitive_desc_query_md(c->desc, what, 0);
}

/* 16 channels lie the same in NHWC and in blocks: they are described as what the other side is. */
static int goes_with_either(int32_t layout, int32_t channels) {
    return channels == 16 && (layout == DUKD_NHWC || layout == DUKD_BLOCK16);
}

static dnnl_format_tag_t tag_of(int32_t layout) {
    switch (layout) {
    case DUKD_NHWC:
        return dnnl_nhwc;
    case DUKD_BLOCK16:
        return dnnl_nChw16c;
    case DUKD_PLANAR:
        return dnnl_nchw;
    default:
        return dnnl_format_tag_any;
    }
}

typedef struct {
    dnnl_format_tag_t source, dest;
} tags;

static tags tags_of(const dukd_conv_spec *s) {
    tags t = {tag_of(s->source_layout), tag_of(s->dest_layout)};
    int source = goes_with_either(s->source_layout, s->in_channels),
        dest = goes_with_either(s->dest_layout, s->out_channels);
    /* Where both are free: what oneDNN has the faster code for. */
    if (source && dest) t.source = t.dest = s->kind == DUKD_CONV_FORWARD ? dnnl_nhwc : dnnl_nChw16c;
    if (source && !dest) t.source = t.dest == dnnl_nchw ? dnnl_nChw16c : t.dest;
    if (!source && dest) t.dest = t.source == dnnl_nchw ? dnnl_nChw16c : t.source;
    return t;
}

typedef struct {
    description source, weights, bias, dest, addend;
} descriptions;

static dnnl_status_t describe_all(descriptions *d, const dukd_conv_spec *s) {
    int64_t n = s->images, height = s->height + s->side - 1 - s->pad_top - s->pad_bottom,
            width = s->width + s->side - 1 - s->pad_left - s->pad_right;
    int gradient = s->kind == DUKD_CONV_WEIGHTS_GRADIENT;
    tags t = tags_of(s);
    dnnl_status_t status = describe(&d->source, 4, (int64_t[]){n, s->in_channels, height, width},
                                    type_of(s->source_type), t.source);
    if (status == dnnl_success)
        status = describe(&d->weights, 4, (int64_t[]){s->out_channels, s->in_channels, s->side, s->side},
                          gradient ? dnnl_f32 : type_of(s->source_type), dnnl_format_tag_any);
    if (status == dnnl_success)
        status = describe(&d->bias, 1, (int64_t[]){s->out_channels}, dnnl_f32, dnnl_x);
    if (status == dnnl_success)
        status = describe(&d->dest, 4, (int64_t[]){n, s->out_channels, s->height, s->width},
                          type_of(s->dest_type), t.dest);
    if (status == dnnl_success)
        status = describe(&d->addend, 4, (int64_t[]){n, s->out_channels, s->height, s->width},
                          type_of(s->source_type), t.dest);
    return status;
}

static void forget_all(descriptions *d) {
    forget(&d->source);
    forget(&d->weights);
    forget(&d->bias);
    forget(&d->dest);
    forget(&d->addend);
}

static dnnl_status_t make_attributes(dnnl_primitive_attr_t *out, const dukd_conv_spec *s,
                                     const descriptions *d) {
    dnnl_status_t status = dnnl_primitive_attr_create(out);
    if (status == dnnl_success)
        status = dnnl_primitive_attr_set_scratchpad_mode(*out, dnnl_scratchpad_mode_user);
    if (status != dnnl_success || s->post == DUKD_POST_NONE || s->kind != DUKD_CONV_FORWARD) return status;
    dnnl_post_ops_t ops = NULL;
    status = dnnl_post_ops_create(&ops);
    if (status == dnnl_success) {
#if DNNL_VERSION_MAJOR >= 3
        if (s->post == DUKD_POST_RELU) status = dnnl_post_ops_append_eltwise(ops, dnnl_eltwise_relu, 0, 0);
        if (s->post == DUKD_POST_SUM) status = dnnl_post_ops_append_sum(ops, 1, 0, dnnl_data_type_undef);
#else
        if (s->post == DUKD_POST_RELU) status = dnnl_post_ops_append_eltwise(ops, 1, dnnl_eltwise_relu, 0, 0);
        if (s->post == DUKD_POST_SUM) status = dnnl_post_ops_append_sum(ops, 1);
#endif
        if (s->post == DUKD_POST_ADD)
            status = dnnl_post_ops_append_binary(ops, dnnl_binary_add, REF(d->addend));
    }
    if (status == dnnl_success) status = dnnl_primitive_attr_set_post_ops(*out, ops);
    dnnl_post_ops_destroy(ops);
    return status;
}

/* The strides and the padding, as oneDNN takes them. */
typedef struct {
    dnnl_dims_t strides, dilates, before, after;
} geometry;

static geometry geometry_of(const dukd_conv_spec *s) {
    return (geometry){
        .strides = {1, 1}, .before = {s->pad_top, s->pad_left}, .after = {s->pad_bottom, s->pad_right}};
}

/* Fills *out, c->hint or c->desc. A gradient's hint is a forward of the same types. */
static dnnl_status_t make_forward(dukd_conv *c, dnnl_primitive_desc_t *out, const descriptions *d,
                                  description_ref weights, dnnl_primitive_attr_t attr) {
    geometry g = geometry_of(&c->spec);
    int hint = c->spec.kind != DUKD_CONV_FORWARD;
    dnnl_prop_kind_t prop = hint ? dnnl_forward_training : dnnl_forward_inference;
    description_ref bias = c->spec.bias || hint ? REF(d->bias) : NULL;
#if DNNL_VERSION_MAJOR >= 3
    return dnnl_convolution_forward_primitive_desc_create(out, c->dnnl->engine, prop, dnnl_convolution_direct,
                                                          d->source, weights, bias, d->dest, g.strides,
                                                          g.dilates, g.before, g.after, attr);
#else
    dnnl_convolution_desc_t op;
    dnnl_status_t status =
        dnnl_convolution_forward_desc_init(&op, prop, dnnl_convolution_direct, REF(d->source), weights, bias,
                                           REF(d->dest), g.strides, g.before, g.after);
    return status == dnnl_success ? dnnl_primitive_desc_create(out, &op, attr, c->dnnl->engine, NULL)
                                  : status;
#endif
}

static dnnl_status_t make_hint(dukd_conv *c, const descriptions *d) {
    const dukd_conv_spec *s = &c->spec;
    description any = {0};
    dnnl_status_t status = describe(&any, 4, (int64_t[]){s->out_channels, s->in_channels, s->side, s->side},
                                    type_of(s->source_type), dnnl_format_tag_any);
    if (status == dnnl_success) status = make_forward(c, &c->hint, d, REF(any), NULL);
    forget(&any);
    return status;
}

static dnnl_status_t make_weights_gradient(dukd_conv *c, const descriptions *d, dnnl_primitive_attr_t attr) {
    geometry g = geometry_of(&c->spec);
    dnnl_status_t status = make_hint(c, d);
    if (status != dnnl_success) return status;
#if DNNL_VERSION_MAJOR >= 3
    return dnnl_convolution_backward_weights_primitive_desc_create(
        &c->desc, c->dnnl->engine, dnnl_convolution_direct, d->source, d->weights, d->bias, d->dest,
        g.strides, g.dilates, g.before, g.after, c->hint, attr);
#else
    dnnl_convolution_desc_t op;
    status = dnnl_convolution_backward_weights_desc_init(&op, dnnl_convolution_direct, REF(d->source),
                                                         REF(d->weights), REF(d->bias), REF(d->dest),
                                                         g.strides, g.before, g.after);
    return status == dnnl_success ? dnnl_primitive_desc_create(&c->desc, &op, attr, c->dnnl->engine, c->hint)
                                  : status;
#endif
}

static dnnl_status_t make_data_gradient(dukd_conv *c, const descriptions *d, dnnl_primitive_attr_t attr) {
    geometry g = geometry_of(&c->spec);
    dnnl_status_t status = make_hint(c, d);
    if (status != dnnl_success) return status;
#if DNNL_VERSION_MAJOR >= 3
    return dnnl_convolution_backward_data_primitive_desc_create(
        &c->desc, c->dnnl->engine, dnnl_convolution_direct, d->source, d->weights, d->dest, g.strides,
        g.dilates, g.before, g.after, c->hint, attr);
#else
    dnnl_convolution_desc_t op;
    status =
        dnnl_convolution_backward_data_desc_init(&op, dnnl_convolution_direct, REF(d->source),
                                                 REF(d->weights), REF(d->dest), g.strides, g.before, g.after);
    return status == dnnl_success ? dnnl_primitive_desc_create(&c->desc, &op, attr, c->dnnl->engine, c->hint)
                                  : status;
#endif
}

/* What a kind of convolution calls its arguments. */
typedef struct {
    int source, weights, bias, dest;
    dnnl_query_t source_md, weights_md, dest_md;
} roles;

static roles roles_of(int32_t kind) {
    if (kind == DUKD_CONV_WEIGHTS_GRADIENT)
        return (roles){DNNL_ARG_SRC,          DNNL_ARG_DIFF_WEIGHTS, DNNL_ARG_DIFF_BIAS,
                       DNNL_ARG_DIFF_DST,     dnnl_query_src_md,     dnnl_query_diff_weights_md,
                       dnnl_query_diff_dst_md};
    if (kind == DUKD_CONV_DATA_GRADIENT)
        return (roles){DNNL_ARG_DIFF_SRC,     DNNL_ARG_WEIGHTS,       DNNL_ARG_BIAS,
                       DNNL_ARG_DIFF_DST,     dnnl_query_diff_src_md, dnnl_query_weights_md,
                       dnnl_query_diff_dst_md};
    return (roles){DNNL_ARG_SRC,      DNNL_ARG_WEIGHTS,      DNNL_ARG_BIAS,    DNNL_ARG_DST,
                   dnnl_query_src_md, dnnl_query_weights_md, dnnl_query_dst_md};
}

/* ---- a convolution ---- */

static dnnl_status_t add_argument(dukd_conv *c, int index, description_ref d) {
    dnnl_exec_arg_t *a = &c->args[c->arg_count];
    a->arg = index;
    dnnl_status_t status = dnnl_memory_create(&a->memory, d, c->dnnl->engine, DNNL_MEMORY_NONE);
    if (status == dnnl_success) c->arg_count++;
    return status;
}

static dnnl_status_t make_arguments(dukd_conv *c, const descriptions *d) {
    roles role = roles_of(c->spec.kind);
    description_ref source = query(c, role.source_md), weights = query(c, role.weights_md),
                    dest = query(c, role.dest_md);
    description_ref scratch = query(c, dnnl_query_scratchpad_md);
    c->source_bytes = (int64_t)dnnl_memory_desc_get_size(source);
    c->packed_bytes = (int64_t)dnnl_memory_desc_get_size(weights);
    c->dest_bytes = (int64_t)dnnl_memory_desc_get_size(dest);
    c->scratch_bytes = scratch ? (int64_t)dnnl_memory_desc_get_size(scratch) : 0;
    dnnl_status_t status = add_argument(c, role.source, source);
    if (status == dnnl_success) status = add_argument(c, role.weights, weights);
    if (status == dnnl_success) status = add_argument(c, role.dest, dest);
    if (status == dnnl_success && c->scratch_bytes) status = add_argument(c, DNNL_ARG_SCRATCHPAD, scratch);
    if (status == dnnl_success && (c->spec.bias || c->spec.kind == DUKD_CONV_WEIGHTS_GRADIENT))
        status = add_argument(c, role.bias, REF(d->bias));
    if (status == dnnl_success && c->spec.post == DUKD_POST_ADD)
        status = add_argument(c, DNNL_ARG_ATTR_MULTIPLE_POST_OP(0) | DNNL_ARG_SRC_1, REF(d->addend));
    return status;
}

/* Small weights are reordered by one thread: starting the others would take longer. */
static int set_reorder_threads(const dukd_conv *c) {
    enum { SMALL = 1 << 16 };
    const dukd_conv_spec *s = &c->spec;
    int before = omp_get_max_threads();
    if ((int64_t)s->out_channels * s->in_channels * s->side * s->side <= SMALL) omp_set_num_threads(1);
    return before;
}

static dnnl_status_t make_reorder(dukd_conv *c) {
    const dukd_conv_spec *s = &c->spec;
    int gradient = s->kind == DUKD_CONV_WEIGHTS_GRADIENT;
    description plain = {0};
    dnnl_primitive_desc_t desc = NULL;
    dnnl_engine_t e = c->dnnl->engine;
    int threads = set_reorder_threads(c);
    description_ref packed = query(c, roles_of(s->kind).weights_md);
    dnnl_status_t status = describe(&plain, 4, (int64_t[]){s->out_channels, s->in_channels, s->side, s->side},
                                    dnnl_f32, dnnl_oihw);
    if (status == dnnl_success) status = dnnl_memory_create(&c->plain, REF(plain), e, DNNL_MEMORY_NONE);
    if (status == dnnl_success) status = dnnl_memory_create(&c->packed, packed, e, DNNL_MEMORY_NONE);
    if (status == dnnl_success)
        status = gradient ? dnnl_reorder_primitive_desc_create(&desc, packed, e, REF(plain), e, NULL)
                          : dnnl_reorder_primitive_desc_create(&desc, REF(plain), e, packed, e, NULL);
    if (status == dnnl_success) status = dnnl_primitive_create(&c->reorder, desc);
    omp_set_num_threads(threads);
    if (desc) dnnl_primitive_desc_destroy(desc);
    forget(&plain);
    return status;
}

int dukd_conv_create(dukd_conv **out, dukd_dnnl *d, const dukd_conv_spec *spec, dukd_failure *f) {
    *out = NULL;
    dukd_conv *c = calloc(1, sizeof *c);
    if (!c) return dukd_fail_memory(f, "a convolution", sizeof *c);
    c->spec = *spec;
    c->dnnl = d;
    descriptions all = {0};
    dnnl_primitive_attr_t attr = NULL;
    dnnl_status_t status = describe_all(&all, spec);
    if (status == dnnl_success) status = make_attributes(&attr, spec, &all);
    if (status == dnnl_success && spec->kind == DUKD_CONV_FORWARD)
        status = make_forward(c, &c->desc, &all, REF(all.weights), attr);
    if (status == dnnl_success && spec->kind == DUKD_CONV_WEIGHTS_GRADIENT)
        status = make_weights_gradient(c, &all, attr);
    if (status == dnnl_success && spec->kind == DUKD_CONV_DATA_GRADIENT)
        status = make_data_gradient(c, &all, attr);
    if (status == dnnl_success) status = dnnl_primitive_create(&c->primitive, c->desc);
    if (status == dnnl_success) status = make_arguments(c, &all);
    if (status == dnnl_success) status = make_reorder(c);
    forget_all(&all);
    if (attr) dnnl_primitive_attr_destroy(attr);
    if (status != dnnl_success) {
        dukd_conv_destroy(c);
        char what[160];
        snprintf(what, sizeof what, "a %s of %d x %d pixels, %d images, %d to %d channels, kernel %d",
                 spec->kind == DUKD_CONV_FORWARD ? "convolution" : "convolution's gradient", (int)spec->width,
                 (int)spec->height, (int)spec->images, (int)spec->in_channels, (int)spec->out_channels,
                 (int)spec->side);
        return failed(f, what, status);
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

int dukd_conv_same_packing(const dukd_conv *a, const dukd_conv *b) {
    dnnl_query_t what = roles_of(a->spec.kind).weights_md;
    return a->spec.kind == b->spec.kind && dnnl_memory_desc_equal(query(a, what), query(b, what));
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
    return status == dnnl_success ? DUKD_DONE : failed(f, "packing weights", status);
}

int dukd_conv_pack(dukd_conv *c, void *packed, const float *plain, dukd_failure *f) {
    return run_reorder(c, plain, packed, f);
}

int dukd_conv_unpack(dukd_conv *c, float *plain, const void *packed, dukd_failure *f) {
    return run_reorder(c, plain, packed, f);
}

static void *handle_for(int index, const dukd_conv_memory *m) {
    switch (index) {
    case DNNL_ARG_SRC:
    case DNNL_ARG_DIFF_SRC:
        return m->source;
    case DNNL_ARG_WEIGHTS:
    case DNNL_ARG_DIFF_WEIGHTS:
        return m->weights;
    case DNNL_ARG_BIAS:
    case DNNL_ARG_DIFF_BIAS:
        return m->bias;
    case DNNL_ARG_DST:
    case DNNL_ARG_DIFF_DST:
        return m->dest;
    case DNNL_ARG_SCRATCHPAD:
        return m->scratch;
    default:
        return (void *)(uintptr_t)m->addend; /* oneDNN takes what it only reads as void * too */
    }
}

int dukd_conv_run(dukd_conv *c, const dukd_conv_memory *m, dukd_failure *f) {
    dnnl_status_t status = dnnl_success;
    for (int i = 0; i < c->arg_count && status == dnnl_success; i++)
        status = dnnl_memory_set_data_handle(c->args[i].memory, handle_for(c->args[i].arg, m));
    if (status == dnnl_success)
        status = dnnl_primitive_execute(c->primitive, c->dnnl->stream, c->arg_count, c->args);
    if (status == dnnl_success) status = dnnl_stream_wait(c->dnnl->stream);
    return status == dnnl_success ? DUKD_DONE : failed(f, "running a convolution", status);
}
