/* What oneDNN is asked for: a convolution in one of the engine's layouts, or for the weight gradient of a 1 x 1
 * convolution on NHWC a matrix product, which is up to twice as fast there. Forward both are as fast. */
#include "engine/onednn/dnnl_conv_state.h"

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
    return s->out_channels >= s->in_channels ? DUKD_PRODUCT_TALL
                                             : DUKD_PRODUCT_WIDE; /* the wider matrix is the faster */
}

typedef struct {
    dukd_description source, weights, bias, dest, addend;
} descriptions;

dnnl_status_t dukd_conv_describe_weights(dukd_description *out, const dukd_conv_spec *s,
                                         dnnl_data_type_t type, int plain) {
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
        status = dukd_conv_describe_weights(&d->weights, s, gradient ? dnnl_f32 : type_of(s->source_type), 0);
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
    dnnl_status_t status = dukd_conv_describe_weights(&any, &c->spec, type_of(c->spec.source_type), 0);
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
    int64_t m = c->product == DUKD_PRODUCT_TALL ? in : out, n = c->product == DUKD_PRODUCT_TALL ? out : in;
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
            c->product == DUKD_PRODUCT_TALL ? (int64_t[]){1, out, 1, 1} : (int64_t[]){in, 1, 1, 1}, dnnl_f32);
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
    if (c->product == DUKD_PRODUCT_TALL)
        return (arguments){DNNL_ARG_SRC,      DNNL_ARG_DST,         0, DNNL_ARG_WEIGHTS, dnnl_query_src_md,
                           dnnl_query_dst_md, dnnl_query_weights_md};
    if (c->product == DUKD_PRODUCT_WIDE)
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

static dnnl_status_t add_argument(dukd_conv *c, dukd_conv_role what, int index, dukd_description_ref d) {
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

dukd_description_ref dukd_conv_packed_description(const dukd_conv *c) {
    return c->product ? DUKD_REF(c->product_weights) : query(c, arguments_of(c).weights_md);
}

dnnl_status_t dukd_conv_make(dukd_conv *c) {
    descriptions all = {0};
    dnnl_primitive_attr_t attr = NULL;
    c->product = product_of(&c->spec);
    dnnl_status_t status = describe_all(&all, &c->spec);
    if (status == dnnl_success) status = make_attributes(&attr, &c->spec, &all);
    if (status == dnnl_success) status = c->product ? make_product(c, attr) : make_conv(c, &all, attr);
    if (status == dnnl_success) status = dnnl_primitive_create(&c->primitive, c->desc);
    if (status == dnnl_success) status = make_arguments(c, &all);
    forget_all(&all);
    if (attr) dnnl_primitive_attr_destroy(attr);
    return status;
}
