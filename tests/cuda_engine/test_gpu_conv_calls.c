/* gpu_conv.h's calls: every call of a library made to fail, captures into graphs, what an engine may not be, bad specifications. On the
 * emulated device, with the doubles. */
#include "gpu_fixture.h"

#include <cublasLt.h>
#include <cuda_runtime_api.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conv_reference.h"
#include "doubles/doubles.h"
#include "emulation.h"
#include "engine/cuda/gpu_conv_state.h"

/* A 3 x 3 convolution is cuDNN's, a 1 x 1 cuBLASLt's. */
static gpu_conv_spec spec_of(gpu_conv_kind kind, int32_t side, dukd_type type) {
    return (gpu_conv_spec){.kind = kind,
                           .images = 2,
                           .in_channels = 5,
                           .height = 4,
                           .width = 6,
                           .out_channels = 7,
                           .side = side,
                           .stride = 1,
                           .padding = side / 2,
                           .groups = 1,
                           .type = type};
}

/* Operands of a specification and what comes out, in the order of the output. */
typedef struct {
    gpu_pair x, w, d, addend, out, narrow_bias;
    gpu_pair dw; /* memory for f32; of the type that the convolution says */
    gpu_floats bias;
    double *want;
} fixture;

static fixture make(const gpu_conv_spec *s) {
    const gpu_size x = {s->images, s->in_channels, s->height, s->width},
                   w = {s->out_channels, s->in_channels, s->side, s->side},
                   d = {s->images, s->out_channels, s->height, s->width};
    fixture t = {.x = gpu_random(x, s->type, 1, -1, 1),
                 .w = gpu_random(w, s->type, 2, -1, 1),
                 .d = gpu_random(d, s->type, 3, -1, 1),
                 .addend = gpu_random(d, s->type, 4, -1, 1),
                 .out = gpu_random(s->kind == GPU_CONV_DATA_GRADIENT ? x : d, s->type, 5, -1, 1),
                 .bias = gpu_floats_random(s->out_channels, 6, -1, 1)};
    t.dw = gpu_empty(w, DUKD_TYPE_F32);
    t.narrow_bias = gpu_empty((gpu_size){1, s->out_channels, 1, 1}, DUKD_TYPE_BF16);
    for (int32_t c = 0; c < s->out_channels; c++) gpu_set(&t.narrow_bias.host, c, (double)t.bias.host[c]);
    gpu_push(&t.narrow_bias);
    double *vx = gpu_values(&t.x.host), *vw = gpu_values(&t.w.host), *vd = gpu_values(&t.d.host);
    if (s->kind == GPU_CONV_FORWARD) {
        t.want = gpu_doubles(gpu_count(&t.d.host));
        conv_reference(s, t.want, vx, vw);
        for (int64_t i = 0; i < gpu_count(&t.d.host); i++)
            t.want[i] = conv_reference_rest(s, t.want[i], s->has_bias ? t.bias.host[i % s->out_channels] : 0,
                                            s->has_addend ? gpu_get(&t.addend.host, i) : 0);
    } else if (s->kind == GPU_CONV_DATA_GRADIENT) {
        t.want = gpu_doubles(gpu_count(&t.x.host));
        conv_reference_data(s, t.want, vd, vw);
        for (int64_t i = 0; s->has_addend && i < gpu_count(&t.x.host); i++)
            t.want[i] += gpu_get(&t.out.host, i);
    } else {
        t.want = gpu_doubles(gpu_count(&t.w.host));
        conv_reference_weights(s, t.want, vx, vd);
    }
    free(vx);
    free(vw);
    free(vd);
    return t;
}

static void unmake(fixture *t) {
    gpu_pair *pairs[] = {&t->x, &t->w, &t->d, &t->addend, &t->out, &t->narrow_bias, &t->dw};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) gpu_pair_free(pairs[i]);
    gpu_floats_free(&t->bias);
    free(t->want);
}

static gpu_conv_operands operands_of(const gpu_conv_spec *s, const fixture *t, void *workspace) {
    return (gpu_conv_operands){
        .x = t->x.device.data,
        .w = t->w.device.data,
        .d = t->d.device.data,
        .bias = s->has_bias ? t->bias.device : NULL,
        .narrow_bias = s->has_bias && s->type == DUKD_TYPE_BF16 ? t->narrow_bias.device.data : NULL,
        .addend = s->kind == GPU_CONV_FORWARD && s->has_addend ? t->addend.device.data : NULL,
        .out = s->kind == GPU_CONV_WEIGHTS_GRADIENT ? t->dw.device.data : t->out.device.data,
        .workspace = workspace};
}

static void note_type(const gpu_conv_spec *s, fixture *t, const gpu_conv *c) {
    if (s->kind == GPU_CONV_WEIGHTS_GRADIENT) t->dw.host.type = t->dw.device.type = gpu_conv_gradient_type(c);
}

static void check(const gpu_conv_spec *s, const fixture *t, const char *name) {
    const double tolerance = s->type == DUKD_TYPE_BF16 ? 1. / 256 : 1e-6;
    if (s->kind == GPU_CONV_WEIGHTS_GRADIENT) {
        gpu_check(name, &t->dw, t->want, 1e-6);
    } else {
        gpu_check(name, &t->out, t->want, tolerance);
    }
}

/* What runs below, all with everything that may follow. */
static const struct {
    gpu_conv_kind kind;
    int32_t side;
    dukd_type type;
    int32_t refuse;
} cases[] = {
    {GPU_CONV_FORWARD, 3, DUKD_TYPE_F32, 0},
    {GPU_CONV_FORWARD, 3, DUKD_TYPE_BF16, DOUBLES_NO_MIXED_BIAS},
    {GPU_CONV_FORWARD, 3, DUKD_TYPE_F32, DOUBLES_NO_FUSION},
    {GPU_CONV_FORWARD, 1, DUKD_TYPE_F32, 0},
    {GPU_CONV_FORWARD, 1, DUKD_TYPE_BF16, DOUBLES_NO_MIXED_BIAS},
    {GPU_CONV_FORWARD, 1, DUKD_TYPE_F32, DOUBLES_NO_PRODUCT},
    {GPU_CONV_DATA_GRADIENT, 3, DUKD_TYPE_F32, 0},
    {GPU_CONV_DATA_GRADIENT, 3, DUKD_TYPE_BF16, DOUBLES_NO_BETA},
    {GPU_CONV_DATA_GRADIENT, 1, DUKD_TYPE_F32, 0},
    {GPU_CONV_WEIGHTS_GRADIENT, 3, DUKD_TYPE_BF16, DOUBLES_NO_MIXED},
    {GPU_CONV_WEIGHTS_GRADIENT, 3, DUKD_TYPE_BF16, DOUBLES_NO_MIXED | DOUBLES_NO_NARROW},
    {GPU_CONV_WEIGHTS_GRADIENT, 1, DUKD_TYPE_BF16, 0},
};
enum { CASES = sizeof cases / sizeof *cases };

static gpu_conv_spec case_of(int i) {
    gpu_conv_spec s = spec_of(cases[i].kind, cases[i].side, cases[i].type);
    s.has_bias = s.kind == GPU_CONV_FORWARD;
    s.has_addend = s.kind != GPU_CONV_WEIGHTS_GRADIENT;
    if (s.kind == GPU_CONV_FORWARD && i % 2 == 0) s.act = DUKD_ACT_RELU;
    return s;
}

/* Opens, makes, runs, closes: everything that a session does with the libraries. */
static int whole(const gpu_conv_spec *s, fixture *t, dukd_failure *f) {
    gpu_libraries *l = NULL;
    gpu_conv *c = NULL;
    void *workspace = NULL;
    int status = gpu_libraries_open(&l, gpu_stream(), f);
    if (status == DUKD_DONE) status = gpu_conv_create(&c, l, s, f);
    if (status == DUKD_DONE) {
        note_type(s, t, c);
        workspace = gpu_alloc(gpu_conv_workspace(c));
        const gpu_conv_operands o = operands_of(s, t, workspace);
        status = gpu_conv_run(c, &o, f);
    }
    gpu_conv_destroy(c);
    gpu_libraries_close(l);
    gpu_wait();
    gpu_free(workspace);
    return status;
}

/* Each call in turn: the message names it, or another way was found and the result is right; nothing is left either way. */
static void test_failures(void **state) {
    (void)state;
    for (int i = 0; i < CASES; i++) {
        const gpu_conv_spec s = case_of(i);
        int64_t calls = 1, reported = 0, absorbed = 0;
        for (int64_t at = 0; at <= calls; at++) {
            fixture t = make(&s);
            dukd_failure f = {0};
            doubles_reset();
            doubles_refuse(cases[i].refuse);
            doubles_arm(at);
            const int status = whole(&s, &t, &f);
            const int64_t made = doubles_disarm();
            assert_int_equal(doubles_alive(), 0);
            if (at == 0) {
                calls = made;
                assert_int_equal(status, DUKD_DONE);
            } else if (status != DUKD_DONE) {
                if (strstr(f.message, doubles_failed_call()) == NULL)
                    fail_msg("%s failed: %s", doubles_failed_call(), f.message);
                assert_int_equal(f.status, DUKD_FAILED);
                reported++;
            } else {
                assert_string_not_equal(doubles_failed_call(), "");
                absorbed++;
            }
            if (status == DUKD_DONE) check(&s, &t, doubles_failed_call());
            unmake(&t);
        }
        printf("case %d: %lld calls, %lld failures reported, %lld absorbed\n", i, (long long)calls,
               (long long)reported, (long long)absorbed);
        assert_true(reported > 0);
    }
    doubles_reset();
}

/* The kernels that a call launches itself. */
static void test_launch_failures(void **state) {
    (void)state;
    for (int i = 0; i < CASES; i++) {
        const gpu_conv_spec s = case_of(i);
        for (int64_t at = 1;; at++) {
            fixture t = make(&s);
            dukd_failure f = {0};
            gpu_libraries *l = NULL;
            gpu_conv *c = NULL;
            doubles_refuse(cases[i].refuse);
            assert_int_equal(gpu_libraries_open(&l, gpu_stream(), &f), DUKD_DONE);
            assert_int_equal(gpu_conv_create(&c, l, &s, &f), DUKD_DONE);
            note_type(&s, &t, c);
            void *workspace = gpu_alloc(gpu_conv_workspace(c));
            const gpu_conv_operands o = operands_of(&s, &t, workspace);
            emulation_arm(at, cudaErrorLaunchFailure);
            emulation_watch(1);
            const int status = gpu_conv_run(c, &o, &f);
            const int64_t calls = emulation_disarm();
            assert_int_equal(status, at <= calls ? DUKD_FAILED : DUKD_DONE);
            if (status != DUKD_DONE) assert_non_null(strstr(f.message, "CUDA: launching"));
            gpu_conv_destroy(c);
            gpu_libraries_close(l);
            gpu_wait();
            gpu_free(workspace);
            unmake(&t);
            if (status == DUKD_DONE) break;
        }
    }
    doubles_reset();
}

/* A run inside of a capture allocates nothing and waits for nothing; the graph computes anew from what is there when it is launched. */
static void test_capture(void **state) {
    (void)state;
    for (int i = 0; i < CASES; i++) {
        const gpu_conv_spec s = case_of(i);
        fixture t = make(&s);
        dukd_failure f = {0};
        gpu_libraries *l = NULL;
        gpu_conv *c = NULL;
        cudaGraph_t graph;
        cudaGraphExec_t ready;
        cudaStream_t stream = gpu_stream();
        doubles_refuse(cases[i].refuse);
        assert_int_equal(gpu_libraries_open(&l, stream, &f), DUKD_DONE);
        assert_int_equal(gpu_conv_create(&c, l, &s, &f), DUKD_DONE);
        note_type(&s, &t, c);
        void *workspace = gpu_alloc(gpu_conv_workspace(c));
        const gpu_conv_operands o = operands_of(&s, &t, workspace);
        gpu_wait();
        const int64_t waits = emulation_waits(), bytes = emulation_bytes_allocated();
        GPU_OK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
        if (gpu_conv_run(c, &o, &f) != DUKD_DONE) fail_msg("%s", f.message);
        GPU_OK(cudaStreamEndCapture(stream, &graph));
        assert_int_equal(emulation_waits(), waits);
        assert_int_equal(emulation_bytes_allocated(), bytes);
        GPU_OK(cudaGraphInstantiate(&ready, graph, 0));
        GPU_OK(cudaGraphDestroy(graph));
        for (int replay = 0; replay < 2; replay++) {
            if (replay == 1) gpu_push(&t.out); /* what a sum begins with */
            GPU_OK(cudaGraphLaunch(ready, stream));
            gpu_wait();
        }
        check(&s, &t, "replayed");
        GPU_OK(cudaGraphExecDestroy(ready));
        gpu_conv_destroy(c);
        gpu_libraries_close(l);
        gpu_free(workspace);
        unmake(&t);
    }
    doubles_reset();
    assert_int_equal(doubles_alive(), 0);
}

/* As much as there is is asked for in one call, and TF32 only where it may be. */
static void test_choices(void **state) {
    (void)state;
    enum { FIRST_TENSOR_CORE = 8, FIRST_PLAIN = 9, FALLBACK = 10 }; /* cudnn_heuristics.cpp */
    static const struct {
        gpu_conv_kind kind;
        int32_t side;
        dukd_type type;
        int32_t tf32, refuse, graphs, products, operations, engine, epilogue, compute;
    } wanted[] = {
        {GPU_CONV_FORWARD, 3, DUKD_TYPE_F32, 0, 0, 1, 0, 4, FIRST_PLAIN, 0, 0},
        {GPU_CONV_FORWARD, 3, DUKD_TYPE_F32, 1, 0, 1, 0, 4, FIRST_TENSOR_CORE, 0, 0},
        {GPU_CONV_FORWARD, 3, DUKD_TYPE_BF16, 0, 0, 1, 0, 4, FIRST_TENSOR_CORE, 0, 0},
        {GPU_CONV_FORWARD, 3, DUKD_TYPE_BF16, 0, DOUBLES_NO_MIXED_BIAS, 1, 0, 4, FIRST_TENSOR_CORE, 0, 0},
        {GPU_CONV_FORWARD, 3, DUKD_TYPE_F32, 0, DOUBLES_NO_FUSED_ADDEND, 1, 0, 3, FIRST_PLAIN, 0, 0},
        {GPU_CONV_FORWARD, 3, DUKD_TYPE_F32, 0, DOUBLES_NO_FUSION, 1, 0, 1, FIRST_PLAIN, 0, 0},
        {GPU_CONV_FORWARD, 3, DUKD_TYPE_F32, 0, DOUBLES_NO_POINTWISE, 1, 0, 1, FIRST_PLAIN, 0, 0},
        {GPU_CONV_FORWARD, 3, DUKD_TYPE_F32, 0, DOUBLES_NO_HEURISTICS, 1, 0, 4, FALLBACK, 0, 0},
        {GPU_CONV_FORWARD, 1, DUKD_TYPE_F32, 0, 0, 0, 1, 0, 0, CUBLASLT_EPILOGUE_RELU_BIAS,
         CUBLAS_COMPUTE_32F},
        {GPU_CONV_FORWARD, 1, DUKD_TYPE_F32, 1, 0, 0, 1, 0, 0, CUBLASLT_EPILOGUE_RELU_BIAS,
         CUBLAS_COMPUTE_32F_FAST_TF32},
        {GPU_CONV_FORWARD, 1, DUKD_TYPE_BF16, 1, DOUBLES_NO_MIXED_BIAS, 0, 1, 0, 0,
         CUBLASLT_EPILOGUE_RELU_BIAS, CUBLAS_COMPUTE_32F},
        {GPU_CONV_FORWARD, 1, DUKD_TYPE_F32, 0, DOUBLES_NO_PRODUCT, 1, 0, 4, FIRST_PLAIN, 0, 0},
        {GPU_CONV_DATA_GRADIENT, 3, DUKD_TYPE_F32, 0, 0, 1, 0, 1, FIRST_PLAIN, 0, 0},
        {GPU_CONV_DATA_GRADIENT, 1, DUKD_TYPE_F32, 0, 0, 0, 1, 0, 0, CUBLASLT_EPILOGUE_DEFAULT,
         CUBLAS_COMPUTE_32F},
        {GPU_CONV_WEIGHTS_GRADIENT, 3, DUKD_TYPE_BF16, 0, DOUBLES_NO_MIXED, 1, 0, 1, FIRST_TENSOR_CORE, 0, 0},
        {GPU_CONV_WEIGHTS_GRADIENT, 3, DUKD_TYPE_BF16, 0, DOUBLES_NO_MIXED | DOUBLES_NO_NARROW, 1, 0, 1,
         FIRST_TENSOR_CORE, 0, 0},
        {GPU_CONV_WEIGHTS_GRADIENT, 1, DUKD_TYPE_BF16, 0, 0, 0, 1, 0, 0, CUBLASLT_EPILOGUE_DEFAULT,
         CUBLAS_COMPUTE_32F},
    };
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        gpu_conv_spec s = spec_of(wanted[i].kind, wanted[i].side, wanted[i].type);
        s.tf32 = wanted[i].tf32;
        if (s.kind == GPU_CONV_FORWARD) {
            s.has_bias = s.has_addend = 1;
            s.act = DUKD_ACT_RELU;
        } else {
            s.has_addend = s.kind == GPU_CONV_DATA_GRADIENT;
        }
        fixture t = make(&s);
        dukd_failure f = {0};
        doubles_reset();
        doubles_refuse(wanted[i].refuse);
        if (whole(&s, &t, &f) != DUKD_DONE) fail_msg("%zu: %s", i, f.message);
        const doubles_log log = doubles_executed();
        if (log.graphs != wanted[i].graphs || log.products != wanted[i].products ||
            log.operations != wanted[i].operations || log.engine != wanted[i].engine ||
            log.epilogue != wanted[i].epilogue || log.compute != wanted[i].compute)
            fail_msg(
                "%zu: %d graphs of %d operations by engine %d, %d products with epilogue %d computing %d", i,
                (int)log.graphs, log.operations, log.engine, (int)log.products, log.epilogue, log.compute);
        unmake(&t);
    }
    doubles_reset();
}

/* Engines that are named are not taken, nor those with faults on a device like this; what is done in one call can be less. */
static void test_avoided(void **state) {
    (void)state;
    static const struct {
        gpu_conv_kind kind;
        const char *avoid;
        int32_t engine, operations, adds;
    } wanted[] = {
        {GPU_CONV_FORWARD, NULL, 9, 3, 0},
        {GPU_CONV_FORWARD, "forward:9", 10, 3, 0},
        {GPU_CONV_FORWARD, "forward:90,data:9,weights:9,forward:", 9, 3, 0},
        {GPU_CONV_FORWARD, "data:1,forward:9", 10, 3, 0},
        {GPU_CONV_FORWARD, "fusion", 9, 1, 0},
        {GPU_CONV_FORWARD, "sums", 9, 3, 0},
        {GPU_CONV_DATA_GRADIENT, "fusion", 9, 1, 1},
        {GPU_CONV_DATA_GRADIENT, "data:9", 10, 1, 1},
        {GPU_CONV_DATA_GRADIENT, "sums", 9, 1, 0},
        {GPU_CONV_WEIGHTS_GRADIENT, "weights:9,sums", 10, 1, 0},
    };
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        gpu_conv_spec s = spec_of(wanted[i].kind, 3, DUKD_TYPE_F32);
        s.has_bias = s.kind == GPU_CONV_FORWARD;
        s.act = s.has_bias ? DUKD_ACT_RELU : DUKD_ACT_NONE;
        s.has_addend = s.kind == GPU_CONV_DATA_GRADIENT;
        fixture t = make(&s);
        dukd_failure f = {0};
        doubles_reset();
        if (wanted[i].avoid != NULL) setenv("DUKD_CUDNN_AVOID", wanted[i].avoid, 1);
        if (whole(&s, &t, &f) != DUKD_DONE) fail_msg("%s: %s", wanted[i].avoid, f.message);
        unsetenv("DUKD_CUDNN_AVOID");
        const doubles_log log = doubles_executed();
        if (log.engine != wanted[i].engine || log.operations != wanted[i].operations ||
            log.adds != wanted[i].adds)
            fail_msg("%s: %d operations by engine %d, adds: %d", wanted[i].avoid, log.operations, log.engine,
                     log.adds);
        check(&s, &t, wanted[i].avoid);
        unmake(&t);
    }
}

static void test_faults(void **state) {
    (void)state;
    static const struct {
        gpu_conv_kind kind;
        int64_t engine;
        int32_t capability;
        size_t cudnn, lt;
        bool avoided;
    } known[] = {
        {GPU_CONV_FORWARD, 5, 86, 92301, 130000, true},
        {GPU_CONV_FORWARD, 5, 86, 92400, 130000, false},
        {GPU_CONV_FORWARD, 5, 86, 91900, 130000, false},
        {GPU_CONV_FORWARD, 5, 80, 92301, 130000, false},
        {GPU_CONV_FORWARD, 6, 86, 92301, 130000, false},
        {GPU_CONV_DATA_GRADIENT, 5, 86, 92301, 130000, false},
        {GPU_CONV_WEIGHTS_GRADIENT, 58, 120, 91900, 130500, true},
        {GPU_CONV_FORWARD, 63, 120, 92400, 120900, true},
        {GPU_CONV_FORWARD, 63, 120, 92400, 130601, false},
        {GPU_CONV_FORWARD, 63, 100, 92400, 130000, false},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        const gpu_libraries l = {
            .capability = known[i].capability, .cudnn_version = known[i].cudnn, .lt_version = known[i].lt};
        if (gpu_avoids_engine(&l, known[i].kind, known[i].engine) != known[i].avoided)
            fail_msg("case %zu", i);
    }
}

/* However large a convolution is, its workspace has a limit that a device has beside it. */
static void test_workspace(void **state) {
    (void)state;
    dukd_failure f = {0};
    gpu_libraries *l = NULL;
    gpu_conv *c = NULL;
    gpu_conv_spec s = spec_of(GPU_CONV_FORWARD, 3, DUKD_TYPE_F32);
    s.in_channels = s.out_channels = 64;
    s.height = s.width = 2048;
    assert_int_equal(gpu_libraries_open(&l, gpu_stream(), &f), DUKD_DONE);
    assert_int_equal(gpu_conv_create(&c, l, &s, &f), DUKD_DONE);
    assert_true(gpu_conv_workspace(c) <= (int64_t)1 << 30);
    gpu_conv_destroy(c);
    gpu_libraries_close(l);
}

static void refused(gpu_libraries *l, const gpu_conv_spec *s, const char *part) {
    dukd_failure f = {0};
    gpu_conv *c = NULL;
    assert_int_equal(gpu_conv_create(&c, l, s, &f), DUKD_FAILED);
    assert_null(c);
    if (strstr(f.message, part) == NULL) fail_msg("no '%s' in: %s", part, f.message);
}

static void test_bad(void **state) {
    (void)state;
    dukd_failure f = {0};
    gpu_libraries *l = NULL;
    assert_int_equal(gpu_libraries_open(&l, gpu_stream(), &f), DUKD_DONE);
    gpu_conv_spec s = spec_of(GPU_CONV_FORWARD, 3, DUKD_TYPE_F32);
    s.groups = 2;
    refused(l, &s, "groups divide the channels");
    s = spec_of(GPU_CONV_FORWARD, 3, DUKD_TYPE_F32);
    s.stride = 0;
    refused(l, &s, "at least 1");
    s = spec_of(GPU_CONV_FORWARD, 9, DUKD_TYPE_F32);
    s.padding = 1;
    refused(l, &s, "does not fit");
    s = spec_of(GPU_CONV_FORWARD, 3, DUKD_TYPE_F32);
    s.images = s.height = s.width = INT32_MAX;
    refused(l, &s, "too large");
    doubles_refuse(DOUBLES_NO_CONVOLUTION);
    s = spec_of(GPU_CONV_FORWARD, 3, DUKD_TYPE_F32);
    refused(l, &s, "there is nothing on this device");
    doubles_reset();
    gpu_libraries_close(l);
    doubles_refuse(DOUBLES_NO_DEVICE);
    assert_int_equal(gpu_libraries_open(&l, gpu_stream(), &f), DUKD_FAILED);
    assert_null(l);
    assert_non_null(strstr(f.message, "is there a GPU"));
    doubles_reset();
    assert_int_equal(doubles_alive(), 0);
    gpu_conv_destroy(NULL);
    gpu_libraries_close(NULL);
}

/* The doubles look: pointers of the host, and a workspace that is too small. */
static void test_doubles_refuse(void **state) {
    (void)state;
    for (int side = 1; side <= 3; side += 2) {
        const gpu_conv_spec s = spec_of(GPU_CONV_FORWARD, side, DUKD_TYPE_F32);
        fixture t = make(&s);
        dukd_failure f = {0};
        gpu_libraries *l = NULL;
        gpu_conv *c = NULL;
        assert_int_equal(gpu_libraries_open(&l, gpu_stream(), &f), DUKD_DONE);
        assert_int_equal(gpu_conv_create(&c, l, &s, &f), DUKD_DONE);
        void *workspace = gpu_alloc(gpu_conv_workspace(c)), *small = gpu_alloc(512);
        gpu_conv_operands o = operands_of(&s, &t, small);
        assert_int_equal(gpu_conv_run(c, &o, &f), DUKD_FAILED);
        o = operands_of(&s, &t, workspace);
        o.x = t.x.host.data;
        assert_int_equal(gpu_conv_run(c, &o, &f), DUKD_FAILED);
        o = operands_of(&s, &t, workspace);
        o.out = (char *)t.out.device.data + 16; /* reaches beyond its end */
        assert_int_equal(gpu_conv_run(c, &o, &f), DUKD_FAILED);
        o = operands_of(&s, &t, workspace);
        memset(&f, 0, sizeof f);
        assert_int_equal(gpu_conv_run(c, &o, &f), DUKD_DONE);
        gpu_wait();
        gpu_conv_destroy(c);
        gpu_libraries_close(l);
        gpu_free(workspace);
        gpu_free(small);
        unmake(&t);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_failures),       cmocka_unit_test(test_launch_failures),
        cmocka_unit_test(test_capture),        cmocka_unit_test(test_avoided),
        cmocka_unit_test(test_faults),         cmocka_unit_test(test_workspace),
        cmocka_unit_test(test_choices),        cmocka_unit_test(test_bad),
        cmocka_unit_test(test_doubles_refuse),
    };
    return GPU_RUN(gpu_load_elements, tests);
}
