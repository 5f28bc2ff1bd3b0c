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

enum { MOST_PASSES = 3, MOST_TAPS = 16, MOST_INPUTS = 2, MOST_MICRO = 2 };

static const dukd_plugin *plugin;
static const dukd_ext_graph *ext;

/* A micro-batch's batch and taps, at fixed places, as a host's are that captures. What networks answer is not computed from the
 * inputs: any numbers do. */
typedef struct {
    fixture_tensor lr, hr, value[MOST_PASSES][MOST_TAPS], grad[MOST_PASSES][MOST_TAPS];
} micro_batch;

typedef struct {
    fixture f;
    fixture_device device;
    cudaStream_t stream;
    micro_batch micro[MOST_MICRO];
    fixture_tensor input[MOST_PASSES][MOST_INPUTS];
    const void *input_data[MOST_PASSES][MOST_INPUTS];
    uint32_t passes, taps[MOST_PASSES], inputs[MOST_PASSES];
} steps;

static void send(const steps *s, fixture_tensor *t) {
    if (t->there_memory == NULL) t->there_memory = s->device.take(t->bytes);
    t->there = t->tensor;
    t->there.data = t->there_memory;
    t->there.device = s->device.id;
    s->device.up(s->stream, t->there_memory, t->memory, t->bytes);
}

static void give_back(const steps *s, fixture_tensor *t) {
    if (t->there_memory != NULL) s->device.give_back(t->there_memory);
    fixture_tensor_free(t);
}

static void make_taps(steps *s, const dukd_pass *pass, micro_batch *m) {
    const uint32_t p = pass->plan_index;
    assert_true(pass->n_taps <= MOST_TAPS);
    for (uint32_t t = 0; t < pass->n_taps; t++) {
        const dukd_tap *tap = pass->taps[t];
        const int64_t *in = tap->source_kind == DUKD_SOURCE_TAP ? m->value[p][tap->source_id].shape
                                                                : pass->inputs[tap->source_id]->tensor->shape;
        int64_t shape[4];
        assert_int_equal(s->f.host.tap_shape(s->f.host.ctx, tap, in, shape, NULL), 0);
        fixture_tensor_make(&m->value[p][t], shape, fixture_f32, LAYOUT_DENSE);
        fixture_tensor_make(&m->grad[p][t], shape, fixture_f32, LAYOUT_DENSE);
    }
}

static void steps_open(steps *s, const char *const *options, uint32_t micro_count) {
    const dukd_plan *plan;
    memset(s, 0, sizeof *s);
    assert_true(micro_count <= MOST_MICRO);
    CUDA_OK(cudaStreamCreateWithFlags(&s->stream, cudaStreamNonBlocking));
    cuda_fixture_device(&s->device, s->stream);
    fixture_init(&s->f);
    s->f.plugin = plugin;
    s->f.device = &s->device;
    s->f.n = 3;
    s->f.micro_count = micro_count;
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
        for (uint32_t m = 0; m < micro_count; m++) make_taps(s, pass, &s->micro[m]);
    }
    for (uint32_t m = 0; m < micro_count; m++) {
        fixture_tensor_make(&s->micro[m].lr, s->f.lr.shape, fixture_f32, LAYOUT_DENSE);
        fixture_tensor_make(&s->micro[m].hr, s->f.hr.shape, fixture_f32, LAYOUT_DENSE);
    }
}

static void steps_close(steps *s) {
    for (uint32_t p = 0; p < s->passes; p++) {
        for (uint32_t m = 0; m < s->f.micro_count; m++) {
            for (uint32_t t = 0; t < s->taps[p]; t++) {
                give_back(s, &s->micro[m].value[p][t]);
                give_back(s, &s->micro[m].grad[p][t]);
            }
        }
        for (uint32_t i = 0; i < s->inputs[p]; i++) fixture_tensor_free(&s->input[p][i]);
    }
    for (uint32_t m = 0; m < s->f.micro_count; m++) {
        give_back(s, &s->micro[m].lr);
        give_back(s, &s->micro[m].hr);
    }
    fixture_close(&s->f);
    CUDA_OK(cudaStreamDestroy(s->stream));
}

/* Batch and answers of micro-batch m of iteration i into their places; gradients become NaN. */
static dukd_step prepare_micro(steps *s, int64_t i, uint32_t m) {
    const int64_t first = 3 * (i * s->f.micro_count + m);
    micro_batch *to = &s->micro[m];
    fixture_batch(&s->f, first);
    memcpy(to->lr.memory, s->f.lr.memory, to->lr.bytes);
    memcpy(to->hr.memory, s->f.hr.memory, to->hr.bytes);
    send(s, &to->lr);
    send(s, &to->hr);
    for (uint32_t p = 0; p < s->passes; p++) {
        for (uint32_t t = 0; t < s->taps[p]; t++) {
            float *x = to->value[p][t].memory;
            for (size_t k = 0; k < to->value[p][t].bytes / sizeof *x; k++) {
                x[k] = (float)(dukd_fill_bits((uint64_t)(first * 64 + p * 16 + t), k) % 1000) / 997;
            }
            memset(to->grad[p][t].memory, 0xff, to->grad[p][t].bytes);
            send(s, &to->value[p][t]);
            send(s, &to->grad[p][t]);
        }
    }
    return (dukd_step){.struct_size = DUKD_STEP_SIZE,
                       .iteration = i,
                       .first_sample = first,
                       .micro_index = m,
                       .micro_count = s->f.micro_count,
                       .lr = &to->lr.there,
                       .hr = &to->hr.there,
                       .stream = s->stream};
}

static dukd_step prepare(steps *s, int64_t i) {
    return prepare_micro(s, i, 0);
}

/* begin_step to end_step; nothing but enqueued. */
static void enqueue(steps *s, const dukd_step *step) {
    const dukd_pass *pass;
    micro_batch *m = &s->micro[step->micro_index];
    int32_t status = plugin->begin_step(s->f.session, step, &s->f.error);
    if (status != DUKD_OK) fail_msg("begin_step: %s", s->f.error.message);
    while ((status = plugin->next_pass(s->f.session, &pass, &s->f.error)) == DUKD_OK) {
        const uint32_t p = pass->plan_index;
        const dukd_tensor *values[MOST_TAPS], *grads[MOST_TAPS] = {NULL};
        for (uint32_t i = 0; i < pass->n_inputs; i++) s->input_data[p][i] = pass->inputs[i]->tensor->data;
        for (uint32_t t = 0; t < pass->n_taps; t++) {
            values[t] = &m->value[p][t].there;
            if ((pass->taps[t]->flags & DUKD_TAP_WANT_GRAD) != 0) grads[t] = &m->grad[p][t].there;
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
    if (plugin->end_step(s->f.session, &s->f.error) != DUKD_OK) fail_msg("end_step: %s", s->f.error.message);
}

static size_t collect_tensor(const steps *s, double *out, fixture_tensor *t, const void *there) {
    const size_t count = t->bytes / sizeof(float);
    s->device.down(s->stream, t->memory, there, t->bytes);
    for (size_t k = 0; k < count; k++) out[k] = ((float *)t->memory)[k];
    return count;
}

/* Losses, the last micro-batch's inputs and all gradients as numbers; out has room. */
static size_t collect(steps *s, double *out) {
    size_t count = 0;
    dukd_losses losses = {.struct_size = DUKD_LOSSES_SIZE};
    const int32_t status = plugin->read_losses(s->f.session, &losses, &s->f.error);
    if (status != DUKD_OK) fail_msg("read_losses: %s", s->f.error.message);
    out[count++] = (double)losses.iteration;
    for (uint32_t i = 0; i < losses.n_losses; i++) out[count++] = losses.values[i];
    for (uint32_t p = 0; p < s->passes; p++) {
        for (uint32_t i = 0; i < s->inputs[p]; i++)
            count += collect_tensor(s, out + count, &s->input[p][i], s->input_data[p][i]);
        for (uint32_t m = 0; m < s->f.micro_count; m++) {
            for (uint32_t t = 0; t < s->taps[p]; t++) {
                fixture_tensor *grad = &s->micro[m].grad[p][t];
                count += collect_tensor(s, out + count, grad, grad->there.data);
            }
        }
    }
    return count;
}

static void begin_capture(const steps *s) {
    CUDA_OK(cudaStreamBeginCapture(s->stream, cudaStreamCaptureModeGlobal));
}

static cudaGraphExec_t end_capture(const steps *s) {
    cudaGraph_t graph;
    cudaGraphExec_t executable;
    CUDA_OK(cudaStreamEndCapture(s->stream, &graph));
    CUDA_OK(cudaGraphInstantiate(&executable, graph, 0));
    CUDA_OK(cudaGraphDestroy(graph));
    return executable;
}

static cudaGraphExec_t capture(steps *s, const dukd_step *step) {
    begin_capture(s);
    enqueue(s, step);
    return end_capture(s);
}

static void before_replay(steps *s, const dukd_step *step) {
    const int32_t status = ext->before_replay(s->f.session, step, &s->f.error);
    if (status != DUKD_OK) fail_msg("before_replay: %s", s->f.error.message);
}

static void replay(steps *s, cudaGraphExec_t graph, const dukd_step *step) {
    before_replay(s, step);
    CUDA_OK(cudaGraphLaunch(graph, s->stream));
}

static bool same(double a, double b) {
    return a == b || (isnan(a) && isnan(b)); /* a gradient that nobody asked for stays NaN */
}

/* The micro-batches of a step in one graph, or in a graph each; with one micro-batch it is the same. */
typedef enum { IN_ONE_GRAPH, IN_A_GRAPH_EACH } arrangement;

typedef struct {
    cudaGraphExec_t graph[MOST_MICRO];
    uint32_t count;
} graphs;

static void capture_all(steps *s, arrangement how, graphs *g) {
    dukd_step step[MOST_MICRO];
    const uint32_t micro_count = s->f.micro_count;
    for (uint32_t m = 0; m < micro_count; m++) step[m] = prepare_micro(s, 7, m); /* no copies in a graph */
    g->count = how == IN_ONE_GRAPH ? 1 : micro_count;
    for (uint32_t m = 0; m < micro_count; m++) {
        if (m == 0 || how == IN_A_GRAPH_EACH) begin_capture(s);
        enqueue(s, &step[m]);
        if (m + 1 == micro_count || how == IN_A_GRAPH_EACH)
            g->graph[how == IN_ONE_GRAPH ? 0 : m] = end_capture(s);
    }
}

static void run_step(steps *s, int64_t i, const graphs *g) {
    dukd_step step[MOST_MICRO];
    const uint32_t micro_count = s->f.micro_count;
    for (uint32_t m = 0; m < micro_count; m++) step[m] = prepare_micro(s, i, m);
    for (uint32_t m = 0; m < micro_count; m++) {
        if (g == NULL) {
            enqueue(s, &step[m]);
        } else if (g->count == micro_count) {
            replay(s, g->graph[m], &step[m]);
        } else {
            before_replay(s, &step[m]);
        }
    }
    if (g != NULL && g->count != micro_count) CUDA_OK(cudaGraphLaunch(g->graph[0], s->stream));
}

static void replays_equal_steps(const char *const *options, int64_t n, uint32_t micro_count,
                                arrangement how) {
    const size_t room = 200000;
    double *eager = malloc(room * sizeof *eager), *replayed = malloc(room * sizeof *replayed);
    static steps a, b;
    graphs g;
    assert_non_null(eager);
    assert_non_null(replayed);
    steps_open(&a, options, micro_count);
    steps_open(&b, options, micro_count);
    capture_all(&b, how, &g);
    for (int64_t i = 1; i <= n; i++) {
        run_step(&a, i, NULL);
        const size_t count = collect(&a, eager);
        run_step(&b, i, i % 10 == 0 ? NULL : &g); /* now and then a step without the graph between them */
        assert_int_equal(collect(&b, replayed), count);
        assert_true(count > 100 && count < room);
        for (size_t k = 0; k < count; k++) {
            if (same(eager[k], replayed[k])) continue;
            fail_msg("iteration %d, number %zu: %.17g, replayed %.17g", (int)i, k, eager[k], replayed[k]);
        }
    }
    for (uint32_t k = 0; k < g.count; k++) CUDA_OK(cudaGraphExecDestroy(g.graph[k]));
    steps_close(&a);
    steps_close(&b);
    free(eager);
    free(replayed);
}

#define ALWAYS "train.augment.hflip=0.5", "train.augment.rot90=0.5", "train.augment.invert=0.5"
#define FAKD   "train.terms=[rec, kd, dukd, fakd]", "train.fakd.layers=[conv_first, 2]"
#define CSD    "train.terms=[csd]", "train.csd.layers=[a, b]", "train.csd.layer_weights=[1, 2]"

static void a_hundred_replays(void **state) {
    (void)state;
    replays_equal_steps(OPTIONS(ALWAYS), 100, 1, IN_ONE_GRAPH);
    replays_equal_steps(OPTIONS("train.zoom_in=hardest"), 30, 1, IN_ONE_GRAPH);
    replays_equal_steps(OPTIONS("train.zoom_in=grid", "train.zoom_in_count=2"), 20, 1, IN_ONE_GRAPH);
    replays_equal_steps(OPTIONS("model_type=DUKD", "train.pixel_opt.type=L1Loss", "train.kd_opt.type=L1Loss",
                                "train.noisy.prob=0.5", "train.dukd_opt.zoom_out=true"),
                        20, 1, IN_ONE_GRAPH);
    replays_equal_steps(OPTIONS(FAKD), 10, 1, IN_ONE_GRAPH);
    replays_equal_steps(OPTIONS(CSD, "train.csd.detach_teacher=false"), 10, 1, IN_ONE_GRAPH);
}

static void a_hundred_replays_in_micro_batches(void **state) {
    (void)state;
    for (int how = IN_ONE_GRAPH; how <= IN_A_GRAPH_EACH; how++) {
        replays_equal_steps(OPTIONS(ALWAYS), 100, 2, (arrangement)how);
        replays_equal_steps(OPTIONS("train.zoom_in=hardest"), 20, 2, (arrangement)how);
        replays_equal_steps(OPTIONS(FAKD, ALWAYS), 5, 2, (arrangement)how);
        replays_equal_steps(OPTIONS(CSD), 5, 2, (arrangement)how);
    }
}

/* A captured step computes nothing: the losses stay those of the step before. */
static void capturing_is_no_step(void **state) {
    (void)state;
    static steps s;
    dukd_losses losses = {.struct_size = DUKD_LOSSES_SIZE};
    steps_open(&s, NULL, 1);
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
    static steps s;
    dukd_losses losses = {.struct_size = DUKD_LOSSES_SIZE};
    steps_open(&s, NULL, 1);
    dukd_step step = prepare(&s, 1);
    enqueue(&s, &step);
    cudaGraphExec_t graph = capture(&s, &step);
    cudaGraph_t other;
    /* a batch elsewhere */
    dukd_tensor moved = *step.lr;
    dukd_step wrong = step;
    moved.data = s.device.take(s.micro[0].lr.bytes);
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
    /* on the CPU */
    fixture f;
    fixture_init(&f);
    f.plugin = plugin;
    fixture_must_open(&f, NULL);
    assert_int_equal(ext->before_replay(f.session, &step, &f.error), DUKD_E_UNSUPPORTED);
    EXPECT_MESSAGE(&f, "the session is on the CPU");
    fixture_close(&f);
}

/* The micro-batches of a step are run in one way, in their order; a session that refused one goes on where it was. */
static void micro_batches_of_a_step_are_alike(void **state) {
    (void)state;
    static steps s;
    graphs g;
    cudaGraph_t graph;
    dukd_losses losses = {.struct_size = DUKD_LOSSES_SIZE};
    steps_open(&s, NULL, 2);
    dukd_step first = prepare_micro(&s, 1, 0), second = prepare_micro(&s, 1, 1);
    assert_int_equal(ext->before_replay(s.f.session, &first, &s.f.error), DUKD_E_STATE);
    EXPECT_MESSAGE(&s.f, "no step of this session was captured");
    capture_all(&s, IN_A_GRAPH_EACH, &g);
    assert_int_equal(plugin->read_losses(s.f.session, &losses, &s.f.error), DUKD_E_STATE);
    /* one that is out of order */
    assert_int_equal(ext->before_replay(s.f.session, &second, &s.f.error), DUKD_E_STATE);
    EXPECT_MESSAGE(&s.f, "micro_index is 1, but micro-batch 0 of this step comes next");
    /* the first replayed, the second not */
    replay(&s, g.graph[0], &first);
    assert_int_equal(plugin->begin_step(s.f.session, &second, &s.f.error), DUKD_E_STATE);
    EXPECT_MESSAGE(&s.f, "begin_step", "was replayed", "micro-batch 1 cannot be run without a graph");
    assert_int_equal(plugin->read_losses(s.f.session, &losses, &s.f.error), DUKD_E_STATE);
    EXPECT_MESSAGE(&s.f, "1 of 2 micro-batches are done");
    /* a batch of the first's place in the second's */
    dukd_step wrong = second;
    wrong.lr = first.lr;
    assert_int_equal(ext->before_replay(s.f.session, &wrong, &s.f.error), DUKD_E_ARGUMENT);
    EXPECT_MESSAGE(&s.f, "step->lr is not where it was");
    replay(&s, g.graph[1], &second);
    assert_int_equal(plugin->read_losses(s.f.session, &losses, &s.f.error), DUKD_OK);
    const double replayed = losses.values[0];
    /* the first run, the second replayed or captured */
    enqueue(&s, &first);
    assert_int_equal(ext->before_replay(s.f.session, &second, &s.f.error), DUKD_E_STATE);
    EXPECT_MESSAGE(&s.f, "before_replay", "was run without a graph", "micro-batch 1 cannot be replayed");
    begin_capture(&s);
    assert_int_equal(plugin->begin_step(s.f.session, &second, &s.f.error), DUKD_E_STATE);
    EXPECT_MESSAGE(&s.f, "micro-batch 1 cannot be captured");
    CUDA_OK(cudaStreamEndCapture(s.stream, &graph));
    CUDA_OK(cudaGraphDestroy(graph));
    enqueue(&s, &second);
    assert_int_equal(plugin->read_losses(s.f.session, &losses, &s.f.error), DUKD_OK);
    assert_true(losses.values[0] == replayed);
    /* a capture that was given up: that micro-batch cannot be replayed any more, the other can */
    begin_capture(&s);
    enqueue(&s, &first);
    assert_int_equal(plugin->begin_step(s.f.session, &second, &s.f.error), DUKD_OK);
    assert_int_equal(plugin->cancel_step(s.f.session, &s.f.error), DUKD_OK);
    CUDA_OK(cudaStreamEndCapture(s.stream, &graph));
    CUDA_OK(cudaGraphDestroy(graph));
    replay(&s, g.graph[0], &first);
    assert_int_equal(ext->before_replay(s.f.session, &second, &s.f.error), DUKD_E_STATE);
    EXPECT_MESSAGE(&s.f, "or not micro-batch 1 of it");
    for (uint32_t k = 0; k < g.count; k++) CUDA_OK(cudaGraphExecDestroy(g.graph[k]));
    steps_close(&s);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_hundred_replays),
        cmocka_unit_test(capturing_is_no_step),
        cmocka_unit_test(what_cannot_be_replayed),
        cmocka_unit_test(a_hundred_replays_in_micro_batches),
        cmocka_unit_test(micro_batches_of_a_step_are_alike),
    };
    plugin = cuda_open_plugin(argc, argv);
    ext = plugin->get_extension(DUKD_EXT_GRAPH);
    return cmocka_run_group_tests_name("cuda_graph", tests, NULL, NULL);
}
