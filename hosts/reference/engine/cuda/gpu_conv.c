/* A convolution of the engine: asks the libraries for as much of it as they do in one call, and does the rest with kernels of ours. */
#include "common/checked.h"
#include "gpu_conv_state.h"
#include "gpu_kernels.h"

#include <cuda_runtime_api.h>
#include <stdio.h>
#include <stdlib.h>

enum { ALIGNMENT = 256, LEAST_WORKSPACE = 64 << 20, MOST_WORKSPACE = 1 << 30 };

struct gpu_conv {
    gpu_libraries *l;
    gpu_conv_call call; /* what the library does; one of the two */
    gpu_graph *graph;
    gpu_product *product;
    int64_t workspace;  /* the library's, first */
    int64_t temp_at;    /* out before the rest is done */
    int64_t x_at, d_at; /* f32 copies, where `casts` */
    int64_t total;
    int32_t casts;
};

int64_t gpu_conv_out_side(const gpu_conv_spec *s, int32_t size) {
    const int64_t room = (int64_t)size + 2 * (int64_t)s->padding - s->side;
    return room < 0 ? 0 : room / s->stride + 1;
}

/* Bytes of a tensor, or false where a tensor of the engine cannot be that large. */
static bool tensor_bytes(int64_t images, int64_t channels, int64_t height, int64_t width, dukd_type type,
                         int64_t *out) {
    int64_t n = images;
    return dukd_checked_mul(n, channels, &n) && dukd_checked_mul(n, height, &n) &&
           dukd_checked_mul(n, width, &n) && dukd_checked_mul(n, dukd_type_bytes(type), out);
}

static int64_t aligned(int64_t bytes) {
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static int check_spec(const gpu_conv_spec *s, dukd_failure *f) {
    const int sizes = s->images >= 1 && s->in_channels >= 1 && s->out_channels >= 1 && s->height >= 1 &&
                      s->width >= 1 && s->side >= 1 && s->stride >= 1 && s->padding >= 0 && s->groups >= 1;
    if (!sizes || s->in_channels % s->groups != 0 || s->out_channels % s->groups != 0)
        return dukd_fail(f, DUKD_FAILED,
                         "a convolution of %d images, %d to %d channels in %d groups, %d x %d pixels, kernel "
                         "%d, stride %d, "
                         "padding %d cannot be: sizes are at least 1, and groups divide the channels",
                         s->images, s->in_channels, s->out_channels, s->groups, s->height, s->width, s->side,
                         s->stride, s->padding);
    const int64_t h = gpu_conv_out_side(s, s->height), w = gpu_conv_out_side(s, s->width);
    if (h < 1 || w < 1)
        return dukd_fail(f, DUKD_FAILED,
                         "a kernel of %d x %d does not fit an image of %d x %d with padding %d", s->side,
                         s->side, s->height, s->width, s->padding);
    int64_t x, out, weights;
    if (h > INT32_MAX || w > INT32_MAX ||
        !tensor_bytes(s->images, s->in_channels, s->height, s->width, DUKD_TYPE_F32, &x) ||
        !tensor_bytes(s->images, s->out_channels, h, w, DUKD_TYPE_F32, &out) ||
        !tensor_bytes(s->out_channels, s->in_channels / s->groups, s->side, s->side, DUKD_TYPE_F32,
                      &weights) ||
        x > INT64_MAX / 16 || out > INT64_MAX / 16)
        return dukd_fail(f, DUKD_FAILED, "a convolution of %d x %d x %d x %d is too large", s->images,
                         s->in_channels, s->height, s->width);
    return DUKD_DONE;
}

/* ---- making ---- */

static int64_t x_bytes(const gpu_conv_spec *s, dukd_type type) {
    return (int64_t)s->images * s->in_channels * s->height * s->width * dukd_type_bytes(type);
}

static int64_t out_bytes(const gpu_conv_call *c, dukd_type type) {
    return (int64_t)c->spec.images * c->spec.out_channels * c->out_height * c->out_width *
           dukd_type_bytes(type);
}

static int ask_product(gpu_conv *c, const gpu_conv_call *call, gpu_refusal *why, dukd_failure *f) {
    int status = DUKD_DONE;
    if (gpu_product_fits(&call->spec)) status = gpu_product_create(&c->product, c->l, call, why, f);
    c->call = *call;
    return status;
}

static int ask_graph(gpu_conv *c, const gpu_conv_call *call, gpu_refusal *why, dukd_failure *f) {
    const int status = gpu_graph_create(&c->graph, c->l, call, why, f);
    c->call = *call;
    return status;
}

/* A call with its bias in f32 and, for a bf16 output, in bf16: cuDNN's compiled kernels and cuBLASLt take no other. */
static int with_bias(gpu_conv_call *calls, int count, const gpu_conv_call *call) {
    calls[count] = *call;
    calls[count++].bias_type = DUKD_TYPE_F32;
    if (call->bias && call->out_type == DUKD_TYPE_BF16) {
        calls[count] = *call;
        calls[count++].bias_type = DUKD_TYPE_BF16;
    }
    return count;
}

/* From the most that one call may do to the bare convolution; a product of cuBLASLt before a graph of cuDNN's. */
static int ask_all(gpu_conv *c, const gpu_conv_call *full, gpu_refusal *why, dukd_failure *f) {
    gpu_conv_call calls[5], less = *full;
    if (gpu_avoids(c->l, full->spec.kind == GPU_CONV_FORWARD ? "fusion" : "sums")) {
        less.bias = less.addend = 0;
        less.act = DUKD_ACT_NONE;
        full = &less;
    }
    int count = with_bias(calls, 0, full);
    if (full->addend && (full->bias || full->act != DUKD_ACT_NONE)) {
        less.addend = 0;
        count = with_bias(calls, count, &less);
    }
    if (full->bias || full->addend || full->act != DUKD_ACT_NONE) {
        less.bias = less.addend = 0;
        less.act = DUKD_ACT_NONE;
        calls[count++] = less;
    }
    int status = DUKD_DONE;
    for (int i = 0; i < count && status == DUKD_DONE && c->product == NULL; i++)
        status = ask_product(c, &calls[i], why, f);
    for (int i = 0; i < count && status == DUKD_DONE && c->product == NULL && c->graph == NULL; i++)
        status = ask_graph(c, &calls[i], why, f);
    return status;
}

static int nothing(const gpu_conv *c) {
    return c->product == NULL && c->graph == NULL;
}

/* Where everything lies in the workspace. */
static void lay_out(gpu_conv *c) {
    const gpu_conv_spec *s = &c->call.spec;
    c->workspace = c->product != NULL ? gpu_product_workspace(c->product) : gpu_graph_workspace(c->graph);
    c->total = aligned(c->workspace);
    const int summed_in_place = c->call.addend && (c->product != NULL || s->kind == GPU_CONV_DATA_GRADIENT);
    if (s->has_addend && !summed_in_place) {
        const int64_t bytes =
            s->kind == GPU_CONV_FORWARD ? out_bytes(&c->call, s->type) : x_bytes(s, s->type);
        c->temp_at = c->total;
        c->total += aligned(bytes);
    }
    if (c->casts) {
        c->x_at = c->total;
        c->d_at = c->x_at + aligned(x_bytes(s, DUKD_TYPE_F32));
        c->total = c->d_at + aligned(out_bytes(&c->call, DUKD_TYPE_F32));
    }
}

int gpu_conv_create(gpu_conv **out, gpu_libraries *l, const gpu_conv_spec *spec, dukd_failure *f) {
    *out = NULL;
    int status = check_spec(spec, f);
    if (status != DUKD_DONE) return status;
    gpu_conv *c = calloc(1, sizeof *c);
    if (c == NULL) return dukd_fail_memory(f, "a convolution", sizeof *c);
    c->l = l;
    const int forward = spec->kind == GPU_CONV_FORWARD, weights = spec->kind == GPU_CONV_WEIGHTS_GRADIENT;
    gpu_conv_call full = {
        .spec = *spec,
        .out_height = (int32_t)gpu_conv_out_side(spec, spec->height),
        .out_width = (int32_t)gpu_conv_out_side(spec, spec->width),
        .type = spec->type,
        .out_type = weights ? DUKD_TYPE_F32 : spec->type,
        .bias = forward && spec->has_bias,
        .addend = !weights && spec->has_addend,
        .act = forward ? spec->act : DUKD_ACT_NONE,
        .tf32 = spec->tf32,
    };
    /* A few times what the convolution reads and writes, as Winograd's transforms and sums in parts need: small beside what a network
     * keeps. At least 64 MiB, for the smallest ones; at most 1 GiB, which a device of 8 GiB still has beside a large image. Not what is
     * free now: the same engine is to be taken from run to run. */
    const int64_t traffic = 4 * (x_bytes(spec, spec->type) + out_bytes(&full, spec->type));
    full.workspace_limit = traffic < LEAST_WORKSPACE  ? LEAST_WORKSPACE
                           : traffic > MOST_WORKSPACE ? MOST_WORKSPACE
                                                      : traffic;
    gpu_refusal why = {""};
    status = ask_all(c, &full, &why, f);
    /* No kernel that gives f32 for bf16 operands, as with cuDNN's compiled ones: rounded to bf16 when it has been added up. If not that
     * either, f32 copies; their products are exact in TF32, too. */
    if (status == DUKD_DONE && nothing(c) && weights && spec->type == DUKD_TYPE_BF16) {
        full.out_type = DUKD_TYPE_BF16;
        status = ask_all(c, &full, &why, f);
    }
    if (status == DUKD_DONE && nothing(c) && weights && spec->type == DUKD_TYPE_BF16) {
        full.type = full.out_type = DUKD_TYPE_F32;
        full.tf32 = 1;
        c->casts = 1;
        status = ask_all(c, &full, &why, f);
    }
    if (status == DUKD_DONE && nothing(c))
        status = dukd_fail(
            f, DUKD_FAILED,
            "there is nothing on this device for a convolution of %d to %d channels in %d groups, %d x %d "
            "pixels, kernel %d, stride %d: %s",
            spec->in_channels, spec->out_channels, spec->groups, spec->height, spec->width, spec->side,
            spec->stride, why.text);
    if (status != DUKD_DONE) {
        gpu_conv_destroy(c);
        return status;
    }
    lay_out(c);
    *out = c;
    return DUKD_DONE;
}

void gpu_conv_destroy(gpu_conv *c) {
    if (c == NULL) return;
    gpu_graph_destroy(c->graph);
    gpu_product_destroy(c->product);
    free(c);
}

dukd_type gpu_conv_gradient_type(const gpu_conv *c) {
    return c->call.out_type;
}

int64_t gpu_conv_workspace(const gpu_conv *c) {
    return c->total;
}

/* ---- running ---- */

static int launched(int error, const char *what, dukd_failure *f) {
    if (error == 0) return DUKD_DONE;
    return dukd_fail(f, DUKD_FAILED, "CUDA: launching %s: %s", what, cudaGetErrorString((cudaError_t)error));
}

static dukd_tensor tensor_at(const void *data, dukd_type type, const gpu_conv_spec *s, int32_t channels,
                             int32_t height, int32_t width) {
    return (dukd_tensor){
        .images = s->images,
        .channels = channels,
        .height = height,
        .width = width,
        .type = type,
        .layout = DUKD_NHWC,
        .data = (void *)(uintptr_t)data, /* read only where it is const */
    };
}

/* to, in the workspace, = from in the other type. */
static int cast(gpu_conv *c, const gpu_conv_operands *o, int64_t at, dukd_type to, const dukd_tensor *from,
                const void **out, dukd_failure *f) {
    dukd_tensor copy = *from;
    copy.type = to;
    copy.data = (char *)o->workspace + at;
    *out = copy.data;
    return launched(gpu_cast(c->l->stream, &copy, from, 0), "a conversion of a convolution's operand", f);
}

static int run_library(gpu_conv *c, const gpu_conv_operands *o, dukd_failure *f) {
    return c->product != NULL ? gpu_product_run(c->product, o, f) : gpu_graph_run(c->graph, o, f);
}

static int run_forward(gpu_conv *c, const gpu_conv_operands *o, dukd_failure *f) {
    const gpu_conv_call *call = &c->call;
    const gpu_conv_spec *s = &call->spec;
    const int bias = s->has_bias && !call->bias, act = s->act != call->act,
              addend = s->has_addend && !call->addend;
    gpu_conv_operands first = *o;
    /* A graph may write its output before it reads its addend. */
    if (s->has_addend && o->addend == o->out && (addend || c->graph != NULL))
        first.out = (char *)o->workspace + c->temp_at;
    if (call->bias && call->bias_type == DUKD_TYPE_BF16)
        first.bias = o->narrow_bias; /* as the library was told */
    const int status = run_library(c, &first, f);
    if (status != DUKD_DONE || (!bias && !act && !addend && first.out == o->out)) return status;
    const dukd_tensor out = tensor_at(o->out, s->type, s, s->out_channels, call->out_height, call->out_width);
    dukd_tensor x = out, z = out;
    x.data = first.out;
    z.data = (void *)(uintptr_t)o->addend;
    return launched(gpu_epilogue(c->l->stream, &out, &x, bias ? o->bias : NULL, act ? s->act : DUKD_ACT_NONE,
                                 s->slope, addend ? &z : NULL),
                    "what follows a convolution", f);
}

static int run_data_gradient(gpu_conv *c, const gpu_conv_operands *o, dukd_failure *f) {
    const gpu_conv_spec *s = &c->call.spec;
    gpu_conv_operands first = *o;
    const int apart = s->has_addend && !c->call.addend;
    if (apart) first.out = (char *)o->workspace + c->temp_at;
    const int status = run_library(c, &first, f);
    if (status != DUKD_DONE || !apart) return status;
    const dukd_tensor dx = tensor_at(o->out, s->type, s, s->in_channels, s->height, s->width);
    dukd_tensor x = dx;
    x.data = first.out;
    return launched(gpu_epilogue(c->l->stream, &dx, &x, NULL, DUKD_ACT_NONE, 0.0f, &dx), "a sum of gradients",
                    f);
}

static int run_weights_gradient(gpu_conv *c, const gpu_conv_operands *o, dukd_failure *f) {
    const gpu_conv_spec *s = &c->call.spec;
    gpu_conv_operands first = *o;
    if (c->casts) {
        const dukd_tensor x = tensor_at(o->x, s->type, s, s->in_channels, s->height, s->width);
        const dukd_tensor d =
            tensor_at(o->d, s->type, s, s->out_channels, c->call.out_height, c->call.out_width);
        int status = cast(c, o, c->x_at, DUKD_TYPE_F32, &x, &first.x, f);
        if (status == DUKD_DONE) status = cast(c, o, c->d_at, DUKD_TYPE_F32, &d, &first.d, f);
        if (status != DUKD_DONE) return status;
    }
    return run_library(c, &first, f);
}

int gpu_conv_run(gpu_conv *c, const gpu_conv_operands *o, dukd_failure *f) {
    switch (c->call.spec.kind) {
    case GPU_CONV_FORWARD:
        return run_forward(c, o, f);
    case GPU_CONV_DATA_GRADIENT:
        return run_data_gradient(c, o, f);
    case GPU_CONV_WEIGHTS_GRADIENT:
        break;
    }
    return run_weights_gradient(c, o, f);
}
