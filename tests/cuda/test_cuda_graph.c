/* A step captured into a CUDA graph: 100 replays give what 100 steps give, with draws, batches and answers of their own. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cuda_fixture.h"
#include "dukd_ext_graph.h"
#include "support/fill.h"

enum { MOST_PASSES = 3, MOST_TAPS = 4 };

static const dukd_plugin *plugin;
static const dukd_ext_graph *ext;

/* A session whose taps lie at fixed places, as a host's do that captures. What networks answer is not computed from the
 * inputs: any numbers do. */
typedef struct {
    fixture f;
    fixture_device device;
    cudaStream_t stream;
    fixture_tensor value[MOST_PASSES][MOST_TAPS], grad[MOST_PASSES][MOST_TAPS], input[MOST_PASSES][2];
    const void *input_data[MOST_PASSES][2];
    dukd_tensor value_there[MOST_PASSES][MOST_TAPS], grad_there[MOST_PASSES][MOST_TAPS];
    uint32_t passes, taps[MOST_PASSES], inputs[MOST_PASSES];
} steps;

static void send(const steps *s, fixture_tensor *t, dukd_tensor *there) {
    if (t->there_memory == NULL) t->there_memory = s->device.take(t->bytes);
    *there = t->tensor;
    there->data = t->there_memory;
    there->device = s->device.id;
    s->device.up(s->stream, t->there_memory, t->memory, t->bytes);
}

static void steps_open(steps *s, const char *const *options) {
    const dukd_plan *plan;
    memset(s, 0, sizeof *s);
    CUDA_OK(cudaStreamCreateWithFlags(&s->stream, cudaStreamNonBlocking));
    cuda_fixture_device(&s->device, s->stream);
    fixture_init(&s->f);
    s->f.plugin = plugin;
    s->f.device = &s->device;
    s->f.n = 3;
    fixture_must_open(&s->f, options);
    fixture_batch(&s->f, 0);
    assert_int_equal(plugin->get_plan(s->f.session, &plan, &s->f.error), DUKD_OK);
    s->passes = plan->n_passes;
    for (uint32_t p = 0; p < plan->n_passes; p++) {
        const dukd_pass *pass = plan->passes[p];
        s->taps[p] = pass->n_taps;
        s->inputs[p] = pass->n_inputs;
        for (uint32_t i = 0; i < pass->n_inputs; i++) {
            fixture_tensor_make(&s->input[p][i], pass->inputs[i]->tensor->shape, fixture_f32, LAYOUT_DENSE);
        }
        for (uint32_t t = 0; t < pass->n_taps; t++) {
            const int64_t *in = pass->inputs[pass->taps[t]->source_id]->tensor->shape;
            const int64_t shape[4] = {in[0], in[1], 2 * in[2], 2 * in[3]};
            fixture_tensor_make(&s->value[p][t], shape, fixture_f32, LAYOUT_DENSE);
            fixture_tensor_make(&s->grad[p][t], shape, fixture_f32, LAYOUT_DENSE);
        }
    }
}

static void steps_close(steps *s) {
    for (uint32_t p = 0; p < s->passes; p++) {
        for (uint32_t t = 0; t < s->taps[p]; t++) {
            s->device.give_back(s->value[p][t].there_memory);
            s->device.give_back(s->grad[p][t].there_memory);
            fixture_tensor_free(&s->value[p][t]);
            fixture_tensor_free(&s->grad[p][t]);
        }
        for (uint32_t i = 0; i < s->inputs[p]; i++) fixture_tensor_free(&s->input[p][i]);
    }
    fixture_close(&s->f);
    CUDA_OK(cudaStreamDestroy(s->stream));
}

/* Batch and answers of iteration i into their places; gradients become NaN. */
static dukd_step prepare(steps *s, int64_t i) {
    static dukd_tensor lr, hr;
    fixture_batch(&s->f, 3 * i);
    send(s, &s->f.lr, &lr);
    send(s, &s->f.hr, &hr);
    s->f.lr.there = lr;
    for (uint32_t p = 0; p < s->passes; p++) {
        for (uint32_t t = 0; t < s->taps[p]; t++) {
            float *x = s->value[p][t].memory;
            for (size_t k = 0; k < s->value[p][t].bytes / sizeof *x; k++) {
                x[k] = (float)(dukd_fill_bits((uint64_t)(i * 16 + p * 4 + t), k) % 1000) / 997;
            }
            memset(s->grad[p][t].memory, 0xff, s->grad[p][t].bytes);
            send(s, &s->value[p][t], &s->value_there[p][t]);
            send(s, &s->grad[p][t], &s->grad_there[p][t]);
        }
    }
    return (dukd_step){.struct_size = DUKD_STEP_SIZE,
                       .iteration = i,
                       .first_sample = 3 * i,
                       .micro_count = 1,
                       .lr = &lr,
                       .hr = &hr,
                       .stream = s->stream};
}

/* begin_step to end_step; nothing but enqueued. */
static void enqueue(steps *s, const dukd_step *step) {
    const dukd_pass *pass;
    int32_t status = plugin->begin_step(s->f.session, step, &s->f.error);
    if (status != DUKD_OK) fail_msg("begin_step: %s", s->f.error.message);
    while ((status = plugin->next_pass(s->f.session, &pass, &s->f.error)) == DUKD_OK) {
        const dukd_tensor *values[MOST_TAPS], *grads[MOST_TAPS] = {NULL};
        for (uint32_t i = 0; i < pass->n_inputs; i++)
            s->input_data[pass->plan_index][i] = pass->inputs[i]->tensor->data;
        for (uint32_t t = 0; t < pass->n_taps; t++) {
            values[t] = &s->value_there[pass->plan_index][t];
            if ((pass->taps[t]->flags & DUKD_TAP_WANT_GRAD) != 0)
                grads[t] = &s->grad_there[pass->plan_index][t];
        }
        const dukd_submit submit = {.struct_size = DUKD_SUBMIT_SIZE,
                                    .pass_id = pass->id,
                                    .n_taps = pass->n_taps,
                                    .values = values,
                                    .grads = grads,
                                    .grad_scale = 1};
        status = plugin->submit_pass(s->f.session, &submit, &s->f.error);
        if (status != DUKD_OK) fail_msg("submit_pass: %s", s->f.error.message);
    }
    assert_int_equal(status, DUKD_STEP_DONE);
    assert_int_equal(plugin->end_step(s->f.session, &s->f.error), DUKD_OK);
}

/* Gradients, inputs and losses as numbers; out has room. */
static size_t collect(steps *s, double *out) {
    size_t count = 0;
    dukd_losses losses = {.struct_size = DUKD_LOSSES_SIZE};
    const int32_t status = plugin->read_losses(s->f.session, &losses, &s->f.error);
    if (status != DUKD_OK) fail_msg("read_losses: %s", s->f.error.message);
    out[count++] = (double)losses.iteration;
    for (uint32_t i = 0; i < losses.n_losses; i++) out[count++] = losses.values[i];
    for (uint32_t p = 0; p < s->passes; p++) {
        for (uint32_t i = 0; i < s->inputs[p]; i++) {
            s->device.down(s->stream, s->input[p][i].memory, s->input_data[p][i], s->input[p][i].bytes);
            for (size_t k = 0; k < s->input[p][i].bytes / sizeof(float); k++)
                out[count++] = ((float *)s->input[p][i].memory)[k];
        }
        for (uint32_t t = 0; t < s->taps[p]; t++) {
            s->device.down(s->stream, s->grad[p][t].memory, s->grad_there[p][t].data, s->grad[p][t].bytes);
            for (size_t k = 0; k < s->grad[p][t].bytes / sizeof(float); k++)
                out[count++] = ((float *)s->grad[p][t].memory)[k];
        }
    }
    return count;
}

static cudaGraphExec_t capture(steps *s, const dukd_step *step) {
    cudaGraph_t graph;
    cudaGraphExec_t executable;
    CUDA_OK(cudaStreamBeginCapture(s->stream, cudaStreamCaptureModeGlobal));
    enqueue(s, step);
    CUDA_OK(cudaStreamEndCapture(s->stream, &graph));
    CUDA_OK(cudaGraphInstantiate(&executable, graph, 0));
    CUDA_OK(cudaGraphDestroy(graph));
    return executable;
}

static void replay(steps *s, cudaGraphExec_t graph, const dukd_step *step) {
    const int32_t status = ext->before_replay(s->f.session, step, &s->f.error);
    if (status != DUKD_OK) fail_msg("before_replay: %s", s->f.error.message);
    CUDA_OK(cudaGraphLaunch(graph, s->stream));
}

static bool same(double a, double b) {
    return a == b || (isnan(a) && isnan(b)); /* a gradient that nobody asked for stays NaN */
}

static void replays_equal_steps(const char *const *options, int64_t n) {
    const size_t room = 200000;
    double *eager = malloc(room * sizeof *eager), *replayed = malloc(room * sizeof *replayed);
    steps a, b;
    assert_non_null(eager);
    assert_non_null(replayed);
    steps_open(&a, options);
    steps_open(&b, options);
    dukd_step step = prepare(&b, 7);
    cudaGraphExec_t graph = capture(&b, &step);
    for (int64_t i = 1; i <= n; i++) {
        step = prepare(&a, i);
        enqueue(&a, &step);
        const size_t count = collect(&a, eager);
        step = prepare(&b, i);
        if (i % 10 == 0) {
            enqueue(&b, &step); /* a step without the graph between them */
        } else {
            replay(&b, graph, &step);
        }
        assert_int_equal(collect(&b, replayed), count);
        assert_true(count > 100 && count < room);
        for (size_t k = 0; k < count; k++) {
            if (same(eager[k], replayed[k])) continue;
            fail_msg("iteration %d, number %zu: %.17g, replayed %.17g", (int)i, k, eager[k], replayed[k]);
        }
    }
    CUDA_OK(cudaGraphExecDestroy(graph));
    steps_close(&a);
    steps_close(&b);
    free(eager);
    free(replayed);
}

static void a_hundred_replays(void **state) {
    (void)state;
    replays_equal_steps(
        OPTIONS("train.augment.hflip=0.5", "train.augment.rot90=0.5", "train.augment.invert=0.5"), 100);
    replays_equal_steps(OPTIONS("train.zoom_in=hardest"), 30);
    replays_equal_steps(OPTIONS("train.zoom_in=grid", "train.zoom_in_count=2"), 20);
    replays_equal_steps(OPTIONS("model_type=DUKD", "train.pixel_opt.type=L1Loss", "train.kd_opt.type=L1Loss",
                                "train.noisy.prob=0.5", "train.dukd_opt.zoom_out=true"),
                        20);
}

/* A captured step computes nothing: the losses stay those of the step before. */
static void capturing_is_no_step(void **state) {
    (void)state;
    steps s;
    dukd_losses losses = {.struct_size = DUKD_LOSSES_SIZE};
    steps_open(&s, NULL);
    dukd_step step = prepare(&s, 3);
    assert_int_equal(ext->before_replay(s.f.session, &step, &s.f.error), DUKD_E_STATE);
    EXPECT_MESSAGE(&s.f, "no step of this session was captured");
    enqueue(&s, &step);
    assert_int_equal(plugin->read_losses(s.f.session, &losses, &s.f.error), DUKD_OK);
    const double was = losses.values[0];
    step = prepare(&s, 4);
    cudaGraphExec_t graph = capture(&s, &step);
    assert_int_equal(plugin->read_losses(s.f.session, &losses, &s.f.error), DUKD_OK);
    assert_int_equal(losses.iteration, 3);
    assert_true(losses.values[0] == was);
    replay(&s, graph, &step);
    assert_int_equal(plugin->read_losses(s.f.session, &losses, &s.f.error), DUKD_OK);
    assert_int_equal(losses.iteration, 4);
    assert_true(losses.values[0] != was);
    CUDA_OK(cudaGraphExecDestroy(graph));
    steps_close(&s);
}

static void what_cannot_be_replayed(void **state) {
    (void)state;
    steps s;
    dukd_losses losses = {.struct_size = DUKD_LOSSES_SIZE};
    steps_open(&s, NULL);
    dukd_step step = prepare(&s, 1);
    enqueue(&s, &step);
    cudaGraphExec_t graph = capture(&s, &step);
    cudaGraph_t other;
    /* a batch elsewhere */
    dukd_tensor moved = *step.lr;
    dukd_step wrong = step;
    moved.data = s.device.take(s.f.lr.bytes);
    wrong.lr = &moved;
    assert_int_equal(ext->before_replay(s.f.session, &wrong, &s.f.error), DUKD_E_ARGUMENT);
    EXPECT_MESSAGE(&s.f, "step->lr is not where it was when the step was captured");
    s.device.give_back(moved.data);
    wrong = step;
    wrong.iteration = 0;
    assert_int_equal(ext->before_replay(s.f.session, &wrong, &s.f.error), DUKD_E_ARGUMENT);
    /* inside a capture */
    CUDA_OK(cudaStreamBeginCapture(s.stream, cudaStreamCaptureModeGlobal));
    assert_int_equal(ext->before_replay(s.f.session, &step, &s.f.error), DUKD_E_STATE);
    EXPECT_MESSAGE(&s.f, "the stream is being captured");
    assert_int_equal(plugin->read_losses(s.f.session, &losses, &s.f.error), DUKD_E_STATE);
    EXPECT_MESSAGE(&s.f, "being captured");
    CUDA_OK(cudaStreamEndCapture(s.stream, &other));
    CUDA_OK(cudaGraphDestroy(other));
    /* a step open */
    assert_int_equal(plugin->begin_step(s.f.session, &step, &s.f.error), DUKD_OK);
    assert_int_equal(ext->before_replay(s.f.session, &step, &s.f.error), DUKD_E_STATE);
    assert_int_equal(plugin->cancel_step(s.f.session, &s.f.error), DUKD_OK);
    replay(&s, graph, &step); /* and none of it did harm */
    assert_int_equal(plugin->read_losses(s.f.session, &losses, &s.f.error), DUKD_OK);
    CUDA_OK(cudaGraphExecDestroy(graph));
    steps_close(&s);
    /* on the CPU, and with micro-batches */
    fixture f;
    fixture_init(&f);
    f.plugin = plugin;
    fixture_must_open(&f, NULL);
    assert_int_equal(ext->before_replay(f.session, &step, &f.error), DUKD_E_UNSUPPORTED);
    EXPECT_MESSAGE(&f, "the session is on the CPU");
    fixture_close(&f);
}

static void micro_batches_are_not_captured(void **state) {
    (void)state;
    fixture f;
    fixture_device device;
    cudaStream_t stream;
    cudaGraph_t graph;
    CUDA_OK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    cuda_fixture_device(&device, stream);
    fixture_init(&f);
    f.plugin = plugin;
    f.device = &device;
    f.micro_count = 2;
    fixture_must_open(&f, NULL);
    fixture_batch(&f, 0);
    assert_int_equal(fixture_begin(&f, 1, 0, 0), DUKD_OK);
    assert_int_equal(plugin->cancel_step(f.session, &f.error), DUKD_OK);
    const dukd_step step = {.struct_size = DUKD_STEP_SIZE,
                            .iteration = 1,
                            .micro_count = 2,
                            .lr = &f.lr.there,
                            .hr = &f.hr.there,
                            .stream = stream};
    CUDA_OK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
    assert_int_equal(plugin->begin_step(f.session, &step, &f.error), DUKD_E_UNSUPPORTED);
    EXPECT_MESSAGE(&f, "2 micro-batches cannot be captured");
    CUDA_OK(cudaStreamEndCapture(stream, &graph));
    CUDA_OK(cudaGraphDestroy(graph));
    assert_int_equal(plugin->begin_step(f.session, &step, &f.error), DUKD_OK); /* nothing had changed */
    assert_int_equal(plugin->cancel_step(f.session, &f.error), DUKD_OK);
    fixture_close(&f);
    CUDA_OK(cudaStreamDestroy(stream));
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_hundred_replays),
        cmocka_unit_test(capturing_is_no_step),
        cmocka_unit_test(what_cannot_be_replayed),
        cmocka_unit_test(micro_batches_are_not_captured),
    };
    plugin = cuda_open_plugin(argc, argv);
    ext = plugin->get_extension(DUKD_EXT_GRAPH);
    return cmocka_run_group_tests_name("cuda_graph", tests, NULL, NULL);
}
