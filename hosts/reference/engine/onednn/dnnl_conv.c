/* See dnnl_conv.h. What oneDNN is asked for: a convolution in one of the engine's layouts, or for the weight gradient of a 1 x 1
 * convolution on NHWC a matrix product, which is up to twice as fast there. Forward both are as fast. */
#include "engine/onednn/dnnl_conv.h"

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/onednn/dnnl_compat.h"

typedef enum { ROLE_SOURCE, ROLE_WEIGHTS, ROLE_BIAS, ROLE_DEST, ROLE_ADDEND, ROLE_SCRATCH } role;

enum { MAX_ARGS = 6 };

struct dukd_conv {
    dukd_conv_spec spec;
    dukd_dnnl *dnnl;
    int product; /* 0: a convolution; of a weight gradient: TALL, in x out, or WIDE, out x in */
    dnnl_primitive_desc_t hint, desc; /* hint: forward's, for gradients */
    dnnl_primitive_t primitive, reorder;
    dnnl_memory_t plain, packed;      /* of the reorder: plain <-> packed */
    dukd_description product_weights; /* of a product */
    int64_t source_bytes, dest_bytes, packed_bytes, scratch_bytes;
    dnnl_exec_arg_t args[MAX_ARGS];
    role roles[MAX_ARGS];
    int arg_count;
};

enum { TALL = 1, WIDE };

/* ---- descriptions ---- */

static dnnl_data_type_t type_of(int32_t type) {
    return type == DUKD_TYPE_F32 ? dnnl_f32 : dnnl_bf16;
}

static dukd_description_ref query(const dukd_conv *c, dnnl_query_t what) {
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

/* A product is in x pixels x out: it needs the pixels' channels together. */
static int product_of(const dukd_conv_spec *s) {
    int dense = s->source_layout == DUKD_NHWC && s->dest_layout == DUKD_NHWC;
    int one_by_one = s->side == 1 && s->stride == 1 && s->groups == 1 && s->pad_top == 0 && s->pad_left == 0;
    if (s->kind != DUKD_CONV_WEIGHTS_GRADIENT || !dense || !one_by_one) return 0;
    return s->out_channels >= s->in_channels ? TALL : WIDE; /* the wider matrix is the faster */
}

typedef struct {
    dukd_description source, weights, bias, dest, addend;
} descriptions;

static dnnl_status_t describe_weights(dukd_description *out, const dukd_conv_spec *s, dnnl_data_type_t type,
                                      int plain) {
    int64_t in = s->in_channels / s->groups, k = s->side;
    if (s->groups > 1)
        return dukd_describe(out, 5, (int64_t[]){s->groups, s->out_channels / s->groups, in, k, k}, type,
                             plain ? dnnl_goihw : dnnl_format_tag_any);
    return dukd_describe(out, 4, (int64_t[]){s->out_channels, in, k, k}, type,
                         plain ? dnnl_oihw : dnnl_format_tag_any);
}

static dnnl_status_t describe_all(descriptions *d, const dukd_conv_spec *s) {
    int64_t n = s->images;
    int gradient = s->kind == DUKD_CONV_WEIGHTS_GRADIENT;
    tags t = tags_of(s);
    dnnl_status_t status =
        dukd_describe(&d->source, 4, (int64_t[]){n, s->in_channels, s->source_height, s->source_width},
                      type_of(s->source_type), t.source);
    if (status == dnnl_success)
        status = describe_weights(&d->weights, s, gradient ? dnnl_f32 : type_of(s->source_type), 0);
    if (status == dnnl_success)
        status = dukd_describe(&d->bias, 1, (int64_t[]){s->out_channels}, dnnl_f32, dnnl_x);
    if (status == dnnl_success)
        status = dukd_describe(&d->dest, 4, (int64_t[]){n, s->out_channels, s->height, s->width},
                               type_of(s->dest_type), t.dest);
    if (status == dnnl_success)
        status = dukd_describe(&d->addend, 4, (int64_t[]){n, s->out_channels, s->height, s->width},
                               type_of(s->source_type), t.dest);
    return status;
}

static void forget_all(descriptions *d) {
    dukd_forget(&d->source);
    dukd_forget(&d->weights);
    dukd_forget(&d->bias);
    dukd_forget(&d->dest);
    dukd_forget(&d->addend);
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
        if (s->post == DUKD_POST_RELU) status = dukd_append_eltwise(ops, dnnl_eltwise_relu, s->slope);
        if (s->post == DUKD_POST_GELU) status = dukd_append_eltwise(ops, dnnl_eltwise_gelu_erf, 0);
        if (s->post == DUKD_POST_SUM) status = dukd_append_sum(ops);
        if (s->post == DUKD_POST_ADD)
            status = dnnl_post_ops_append_binary(ops, dnnl_binary_add, DUKD_REF(d->addend));
    }
    if (status == dnnl_success) status = dnnl_primitive_attr_set_post_ops(*out, ops);
    dnnl_post_ops_destroy(ops);
    return status;
}

/* ---- a convolution's description ---- */

/* A gradient's hint is a forward of the same types. */
static dnnl_status_t make_hint(dukd_conv *c, dukd_conv_description d) {
    dukd_description any = {0};
    dnnl_status_t status = describe_weights(&any, &c->spec, type_of(c->spec.source_type), 0);
    d.weights = DUKD_REF(any);
    d.attributes = NULL;
    if (status == dnnl_success) status = dukd_describe_forward(&c->hint, c->dnnl, dnnl_forward_training, &d);
    dukd_forget(&any);
    return status;
}

static dnnl_status_t make_conv(dukd_conv *c, const descriptions *all, dnnl_primitive_attr_t attributes) {
    const dukd_conv_spec *s = &c->spec;
    dukd_conv_description d = {.source = DUKD_REF(all->source),
                               .weights = DUKD_REF(all->weights),
                               .bias = s->bias || s->kind != DUKD_CONV_FORWARD ? DUKD_REF(all->bias) : NULL,
                               .dest = DUKD_REF(all->dest),
                               .strides = {s->stride, s->stride},
                               .before = {s->pad_top, s->pad_left},
                               .after = {s->pad_bottom, s->pad_right},
                               .attributes = attributes};
    if (s->kind == DUKD_CONV_FORWARD)
        return dukd_describe_forward(&c->desc, c->dnnl, dnnl_forward_inference, &d);
    dnnl_status_t status = make_hint(c, d);
    d.hint = c->hint;
    if (status != dnnl_success) return status;
    return s->kind == DUKD_CONV_WEIGHTS_GRADIENT ? dukd_describe_weights_gradient(&c->desc, c->dnnl, &d)
                                                 : dukd_describe_data_gradient(&c->desc, c->dnnl, &d);
}

/* in x out = source^T dest, or out x in = dest^T source, over all pixels. */
static dnnl_status_t make_product(dukd_conv *c, dnnl_primitive_attr_t attributes) {
    const dukd_conv_spec *s = &c->spec;
    int64_t in = s->in_channels, out = s->out_channels, pixels = (int64_t)s->images * s->height * s->width;
    int64_t m = c->product == TALL ? in : out, n = c->product == TALL ? out : in;
    dnnl_data_type_t type = type_of(s->source_type);
    dukd_description a = {0}, b = {0}, product = {0};
    dnnl_status_t status = dukd_describe_strides(&a, 2, (int64_t[]){m, pixels}, (int64_t[]){1, m}, type);
    if (status == dnnl_success) status = dukd_describe(&b, 2, (int64_t[]){pixels, n}, type, dnnl_ab);
    if (status == dnnl_success) status = dukd_describe(&product, 2, (int64_t[]){m, n}, dnnl_f32, dnnl_ab);
    if (status == dnnl_success)
        status =
            dukd_describe_product(&c->desc, c->dnnl, DUKD_REF(a), DUKD_REF(b), DUKD_REF(product), attributes);
    if (status == dnnl_success)
        status = dukd_describe_strides(
            &c->product_weights, 4, (int64_t[]){out, in, 1, 1},
            c->product == TALL ? (int64_t[]){1, out, 1, 1} : (int64_t[]){in, 1, 1, 1}, dnnl_f32);
    dukd_forget(&a);
    dukd_forget(&b);
    dukd_forget(&product);
    return status;
}

/* ---- arguments ---- */

/* What oneDNN calls the arguments, and where it says how they lie. */
typedef struct {
    int source, weights, bias, dest;
    dnnl_query_t source_md, weights_md, dest_md;
} arguments;

static arguments arguments_of(const dukd_conv *c) {
    if (c->product == TALL)
        return (arguments){DNNL_ARG_SRC,      DNNL_ARG_DST,         0, DNNL_ARG_WEIGHTS, dnnl_query_src_md,
                           dnnl_query_dst_md, dnnl_query_weights_md};
    if (c->product == WIDE)
        return (arguments){DNNL_ARG_WEIGHTS,  DNNL_ARG_DST,     0, DNNL_ARG_SRC, dnnl_query_weights_md,
                           dnnl_query_dst_md, dnnl_query_src_md};
    if (c->spec.kind == DUKD_CONV_WEIGHTS_GRADIENT)
        return (arguments){DNNL_ARG_SRC,          DNNL_ARG_DIFF_WEIGHTS, DNNL_ARG_DIFF_BIAS,
                           DNNL_ARG_DIFF_DST,     dnnl_query_src_md,     dnnl_query_diff_weights_md,
                           dnnl_query_diff_dst_md};
    if (c->spec.kind == DUKD_CONV_DATA_GRADIENT)
        return (arguments){DNNL_ARG_DIFF_SRC,     DNNL_ARG_WEIGHTS,       DNNL_ARG_BIAS,
                           DNNL_ARG_DIFF_DST,     dnnl_query_diff_src_md, dnnl_query_weights_md,
                           dnnl_query_diff_dst_md};
    return (arguments){DNNL_ARG_SRC,      DNNL_ARG_WEIGHTS,      DNNL_ARG_BIAS,    DNNL_ARG_DST,
                       dnnl_query_src_md, dnnl_query_weights_md, dnnl_query_dst_md};
}

static dnnl_status_t add_argument(dukd_conv *c, role what, int index, dukd_description_ref d) {
    dnnl_exec_arg_t *a = &c->args[c->arg_count];
    a->arg = index;
    c->roles[c->arg_count] = what;
    dnnl_status_t status = dnnl_memory_create(&a->memory, d, c->dnnl->engine, DNNL_MEMORY_NONE);
    if (status == dnnl_success) c->arg_count++;
    return status;
}

static dnnl_status_t make_arguments(dukd_conv *c, const descriptions *d) {
    arguments a = arguments_of(c);
    dukd_description_ref source = query(c, a.source_md), weights = query(c, a.weights_md),
                         dest = query(c, a.dest_md), scratch = query(c, dnnl_query_scratchpad_md);
    c->source_bytes = (int64_t)dnnl_memory_desc_get_size(source);
    c->packed_bytes = (int64_t)dnnl_memory_desc_get_size(weights);
    c->dest_bytes = (int64_t)dnnl_memory_desc_get_size(dest);
    c->scratch_bytes = scratch ? (int64_t)dnnl_memory_desc_get_size(scratch) : 0;
    dnnl_status_t status = add_argument(c, ROLE_SOURCE, a.source, source);
    if (status == dnnl_success) status = add_argument(c, ROLE_WEIGHTS, a.weights, weights);
    if (status == dnnl_success) status = add_argument(c, ROLE_DEST, a.dest, dest);
    if (status == dnnl_success && c->scratch_bytes)
        status = add_argument(c, ROLE_SCRATCH, DNNL_ARG_SCRATCHPAD, scratch);
    int bias = c->spec.kind == DUKD_CONV_WEIGHTS_GRADIENT ? !c->product : c->spec.bias;
    if (status == dnnl_success && bias) status = add_argument(c, ROLE_BIAS, a.bias, DUKD_REF(d->bias));
    if (status == dnnl_success && c->spec.post == DUKD_POST_ADD)
        status = add_argument(c, ROLE_ADDEND, DNNL_ARG_ATTR_MULTIPLE_POST_OP(0) | DNNL_ARG_SRC_1,
                              DUKD_REF(d->addend));
    return status;
}

/* ---- packing ---- */

/* Small weights are reordered by one thread: starting the others would take longer. */
static int set_reorder_threads(const dukd_conv *c) {
    enum { SMALL = 1 << 16 };
    int before = omp_get_max_threads();
    if (dukd_conv_weights(&c->spec) <= SMALL) omp_set_num_threads(1);
    return before;
}

static dukd_description_ref packed_description(const dukd_conv *c) {
    return c->product ? DUKD_REF(c->product_weights) : query(c, arguments_of(c).weights_md);
}

static dnnl_status_t make_reorder(dukd_conv *c) {
    const dukd_conv_spec *s = &c->spec;
    int gradient = s->kind == DUKD_CONV_WEIGHTS_GRADIENT;
    dukd_description plain = {0};
    dnnl_primitive_desc_t desc = NULL;
    dnnl_engine_t e = c->dnnl->engine;
    int threads = set_reorder_threads(c);
    dukd_description_ref packed = packed_description(c);
    dnnl_status_t status = describe_weights(&plain, s, dnnl_f32, 1);
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
    c->product = product_of(spec);
    descriptions all = {0};
    dnnl_primitive_attr_t attr = NULL;
    dnnl_status_t status = describe_all(&all, spec);
    if (status == dnnl_success) status = make_attributes(&attr, spec, &all);
    if (status == dnnl_success) status = c->product ? make_product(c, attr) : make_conv(c, &all, attr);
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
           dnnl_memory_desc_equal(packed_description(a), packed_description(b));
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

static void *handle_for(role what, const dukd_conv_memory *m) {
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
