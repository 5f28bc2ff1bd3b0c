/* Plans (engine/plan.h) of a backend that computes nothing: what lies in memory is followed step by step. Every step must find there
 * what it reads: the values of the nodes that its node reads, what layer norm has left, and gradients in which all has come together that
 * flows back. So nothing is written over too early, by a value that takes its place or by a buffer that shares its addresses, and nothing is
 * lost; for parts of a batch, for bands, in any combination of what backends can say of themselves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "engine/plan.h"
#include "support/edsr_net.h"

/* What a buffer holds: the value of a node (its number), or these; what layer norm of node i has left is STATS - i. */
enum { NOTHING = -1, GRADIENT = -2, STATS = -3 };

/* A gradient is the number of ways by which it has come back from the outputs, which are added where gradients are (and may wrap around). */
typedef struct {
    int32_t what;
    uint64_t ways;
} content;

typedef struct {
    dukd_plan plan;
    int32_t part, adds; /* adds: convolutions and their data gradients can add */
    content *holds;     /* by buffer and part */
    uint64_t *ways;     /* of each node's gradient, by its readers */
    int32_t now;        /* the part that runs */
    int32_t step;
    const char *name;
} program;

/* ---- the backend ---- */

static int begin(void *of, dukd_failure *f) {
    program *p = of;
    (void)f;
    if (p->part) p->plan.part = p->part;
    return DUKD_DONE;
}

static int compile(void *of, dukd_plan_step *step, dukd_failure *f) {
    program *p = of;
    (void)f;
    step->conv = p;
    if (!p->adds && step->kind == DUKD_STEP_CONV && step->b.buffer != step->out.buffer) step->b.buffer = -1;
    return DUKD_DONE;
}

static int never(const dukd_node *n) {
    (void)n;
    return 0;
}

static int reserve(void *of, const dukd_plan_step *step, dukd_failure *f) {
    (void)of;
    (void)step;
    (void)f;
    return DUKD_DONE;
}

/* ---- memory ---- */

static int32_t parts_of(const dukd_plan *plan) {
    return (plan->batch + plan->part - 1) / plan->part;
}

static content *held(program *p, const dukd_plan_value *v, int32_t part) {
    return &p->holds[v->buffer * parts_of(&p->plan) + (p->plan.buffers[v->buffer].kept ? part : 0)];
}

static int64_t begins(const program *p, int32_t buffer, int32_t part) {
    const dukd_plan_buffer *b = &p->plan.buffers[buffer];
    return b->offset + (b->kept ? part * p->plan.part * b->image_bytes : 0);
}

/* What else lay there is lost. */
static void write_to(program *p, const dukd_plan_value *v, int32_t what, uint64_t ways) {
    const dukd_plan *plan = &p->plan;
    const int64_t first = begins(p, v->buffer, p->now),
                  end = first + plan->part * plan->buffers[v->buffer].image_bytes;
    assert_true(end <= plan->arena_bytes);
    for (int32_t i = 0; i < plan->buffer_count; i++)
        for (int32_t k = 0; k < (plan->buffers[i].kept ? parts_of(plan) : 1); k++) {
            const int64_t other = begins(p, i, k);
            if (other < end && other + plan->part * plan->buffers[i].image_bytes > first)
                held(p, &(dukd_plan_value){.buffer = i}, k)->what = NOTHING;
        }
    *held(p, v, p->now) = (content){what, ways};
}

static void fail_at(const program *p, const char *why, int64_t wanted, int64_t got) {
    fail_msg("%s: step %d, %s: %s: %lld, not %lld", p->name, (int)p->step,
             dukd_plan_step_name(&p->plan.steps[p->step]), why, (long long)got, (long long)wanted);
}

static void must_hold(program *p, const dukd_plan_value *v, int32_t what) {
    if (v->buffer < 0) fail_at(p, "it reads nothing", what, NOTHING);
    if (held(p, v, p->now)->what != what) fail_at(p, "it reads", what, held(p, v, p->now)->what);
}

/* All of the node's gradient. */
static uint64_t must_hold_gradient(program *p, const dukd_plan_value *v, int32_t node) {
    must_hold(p, v, GRADIENT);
    const uint64_t ways = held(p, v, p->now)->ways;
    if (ways != p->ways[node]) fail_at(p, "ways", (int64_t)p->ways[node], (int64_t)ways);
    return ways;
}

/* What a step sees of a buffer is in it, wherever the band is. */
static void check_rows(const program *p, const dukd_plan_value *v) {
    if (v->buffer < 0) return;
    const int64_t has = (v->banded ? p->plan.band_rows * v->up : v->height) + 2 * v->halo,
                  moves = v->moves ? (p->plan.height - p->plan.band_rows) * v->up : 0,
                  bytes = has * v->width * v->channels * dukd_type_bytes(v->type);
    if (v->skip < 0) fail_at(p, "its first row", 0, v->skip);
    if (v->skip + moves + v->rows > has) fail_at(p, "its last row", has, v->skip + moves + v->rows);
    if (bytes > p->plan.buffers[v->buffer].image_bytes)
        fail_at(p, "bytes", p->plan.buffers[v->buffer].image_bytes, bytes);
}

static int is_element_by_element(const dukd_plan_step *s) {
    return (s->kind >= DUKD_STEP_RELU && s->kind <= DUKD_STEP_ADD) || s->kind == DUKD_STEP_MUL;
}

static void check_operands(const program *p, const dukd_plan_step *s) {
    const dukd_plan_value *operands[] = {&s->a, &s->b, &s->out};
    for (int k = 0; k < 3; k++) {
        check_rows(p, operands[k]);
        /* A convolution may write another type. */
        const int mixed = s->kind == DUKD_STEP_CONV && !s->back;
        if (s->kind == DUKD_STEP_CAST || mixed || operands[k]->buffer < 0 || s->a.buffer < 0) continue;
        if (operands[k]->type != s->a.type) fail_at(p, "type", s->a.type, operands[k]->type);
    }
    if (s->kind == DUKD_STEP_CAST && s->a.type == s->out.type) fail_at(p, "type", !s->a.type, s->a.type);
    if (!is_element_by_element(s) && s->out.buffer >= 0 && s->out.buffer == s->a.buffer)
        fail_at(p, "in place", -1, s->a.buffer);
    if (s->kind == DUKD_STEP_CONV && s->out.banded &&
        s->a.rows != s->out.rows + 2 * dukd_node_padding(s->node))
        fail_at(p, "rows", s->out.rows + 2 * dukd_node_padding(s->node), s->a.rows);
}

/* ---- steps ---- */

static void must_hold_operand(program *p, const dukd_plan_value *v, const dukd_node *n) {
    for (int k = 0; k < DUKD_OP_MAX_OPERANDS; k++)
        if (n->in[k] >= 0 && held(p, v, p->now)->what == n->in[k]) return;
    fail_at(p, "it reads", n->in[0], held(p, v, p->now)->what);
}

/* Also of backward, where it computes a value again. */
static void forward(program *p, const dukd_plan_step *s) {
    const dukd_node *n = s->node;
    const int32_t i = (int32_t)(n - p->plan.fused.nodes);
    const dukd_plan_value *operands[] = {&s->a, &s->b, &s->c};
    int32_t reads = 3;
    switch (s->kind) {
    case DUKD_STEP_CAST: /* for a last layer */
        must_hold_operand(p, &s->a, n);
        write_to(p, &s->out, held(p, &s->a, p->now)->what, 0);
        return;
    case DUKD_STEP_EDGES:
        must_hold(p, &s->out, i);
        return;
    case DUKD_STEP_COPY_CHANNELS:
        must_hold_operand(p, &s->a, n);
        reads = 0;
        break;
    case DUKD_STEP_ADD:
        if (n->kind != DUKD_NODE_CONV) break;
        must_hold(p, &s->a, i); /* what the convolution could not add */
        must_hold(p, &s->b, n->in[1]);
        reads = 0;
        break;
    case DUKD_STEP_CONV:
        reads = s->b.buffer < 0 ? 1 : 2;
        break;
    case DUKD_STEP_LAYER_NORM:
        if (s->c.buffer >= 0) write_to(p, &s->c, STATS - i, 0);
        reads = 1;
        break;
    default:
        break;
    }
    for (int32_t k = 0; k < reads; k++)
        if (n->in[k] >= 0) must_hold(p, operands[k], n->in[k]);
    if (s->out.buffer >= 0) write_to(p, &s->out, i, 0);
}

/* Values that a step of backward reads. */
static void check_values(program *p, const dukd_plan_step *s) {
    const dukd_node *n = s->node;
    const int32_t i = (int32_t)(n - p->plan.fused.nodes);
    switch (s->kind) {
    case DUKD_STEP_RELU_BACK:
    case DUKD_STEP_SIGMOID_BACK:
        must_hold(p, &s->a, i);
        break;
    case DUKD_STEP_WEIGHTS_GRADIENT:
    case DUKD_STEP_GELU_BACK:
    case DUKD_STEP_GELU_BACK_AGAIN:
        must_hold(p, &s->a, n->in[0]);
        break;
    case DUKD_STEP_MUL_BACK:
    case DUKD_STEP_MUL_BACK_CHANNELS:
        must_hold_operand(p, &s->b, n);
        break;
    case DUKD_STEP_LAYER_NORM_BACK:
        must_hold(p, &s->b, n->in[0]);
        must_hold(p, &s->c, STATS - i);
        break;
    case DUKD_STEP_DEVIATION_BACK:
        must_hold(p, &s->b, n->in[0]);
        must_hold(p, &s->c, i);
        break;
    case DUKD_STEP_ATTENTION_BACK:
    case DUKD_STEP_MAX_POOL_BACK:
        must_hold(p, &s->b, n->in[0]);
        break;
    default:
        break;
    }
}

static void backward(program *p, const dukd_plan_step *s) {
    const int32_t i = (int32_t)(s->node - p->plan.fused.nodes);
    const int again = s->kind == DUKD_STEP_GELU || s->kind == DUKD_STEP_LAYER_NORM ||
                      (s->kind == DUKD_STEP_CAST && held(p, &s->a, p->now)->what != GRADIENT);
    if (again) {
        forward(p, s);
        return;
    }
    check_values(p, s);
    uint64_t ways = 0;
    switch (s->kind) {
    case DUKD_STEP_IMPORT:
        ways = 1;
        break;
    case DUKD_STEP_CLEAR:
        break;
    case DUKD_STEP_WEIGHTS_GRADIENT:
    case DUKD_STEP_ADD:
        ways = must_hold_gradient(p, &s->b, i);
        break;
    case DUKD_STEP_RELU_BACK:
    case DUKD_STEP_SIGMOID_BACK:
    case DUKD_STEP_GELU_BACK:
    case DUKD_STEP_GELU_BACK_AGAIN:
        ways = must_hold_gradient(p, &s->out, i);
        break;
    default:
        ways = must_hold_gradient(p, &s->a, i);
        break;
    }
    if (s->out.buffer < 0) return;
    if (s->accumulate || s->kind == DUKD_STEP_ADD) {
        must_hold(p, &s->out, GRADIENT);
        ways += held(p, &s->out, p->now)->ways;
    }
    write_to(p, &s->out, GRADIENT, ways);
    if (s->kind == DUKD_STEP_GELU_BACK_AGAIN) write_to(p, &s->a, i, 0);
}

static void run_range(program *p, int32_t first, int32_t end) {
    for (p->step = first; p->step < end; p->step++) {
        const dukd_plan_step *s = &p->plan.steps[p->step];
        check_operands(p, s);
        if (s->back)
            backward(p, s);
        else
            forward(p, s);
    }
}

static void count_ways(program *p) {
    const dukd_fused *fused = &p->plan.fused;
    p->ways = calloc((size_t)fused->count, sizeof *p->ways);
    assert_non_null(p->ways);
    for (int32_t i = fused->count - 1; i >= 0; i--) {
        const dukd_node *n = &fused->nodes[i];
        if (n->kind == DUKD_NODE_OUTPUT) p->ways[i] = 1;
        for (int k = 0; k < DUKD_OP_MAX_OPERANDS; k++)
            if (n->in[k] >= 0) p->ways[n->in[k]] += p->ways[i];
    }
}

/* Forward for all parts, bands twice; then backward for all parts. */
static void run_program(program *p) {
    const dukd_plan *plan = &p->plan;
    const int32_t parts = parts_of(plan);
    p->holds = malloc((size_t)(plan->buffer_count * parts) * sizeof *p->holds);
    assert_non_null(p->holds);
    for (int32_t i = 0; i < plan->buffer_count * parts; i++) p->holds[i].what = NOTHING;
    count_ways(p);
    for (p->now = 0; p->now < parts; p->now++) {
        run_range(p, 0, plan->whole_steps);
        for (int band = 0; band < 2 && plan->whole_steps < plan->forward_steps; band++)
            run_range(p, plan->whole_steps, plan->forward_steps);
    }
    for (p->now = 0; p->now < parts; p->now++) run_range(p, plan->forward_steps, plan->step_count);
    free(p->holds);
    free(p->ways);
}

/* ---- networks ---- */

#define RGB "num_in_ch=3 num_out_ch=3 "
static const struct {
    const char *type, *options;
    int32_t drops;
} nets[] = {
    {"EDSR", RGB "num_feat=16 num_block=2 upscale=4 res_scale=0.1", 0},
    {"RCAN", RGB "num_feat=16 num_group=2 num_block=2 squeeze_factor=4 upscale=2", 0},
    {"SwinIR",
     "upscale=4 img_size=8 window_size=4 mlp_ratio=2 upsampler=pixelshuffle embed_dim=12 depths=[2,2] "
     "num_heads=[2,3]",
     0},
    {"SwinIR",
     "upscale=2 img_size=8 window_size=4 mlp_ratio=2 upsampler=pixelshuffledirect embed_dim=10 depths=[2] "
     "num_heads=[2] drop_path_rate=0.3",
     1},
    {"CARN_M", "num_feat=8 group=2 upscale=2", 0},
    {"RFDN", "num_feat=12 num_block=2 upscale=4", 0},
    {"IMDN", "num_feat=16 num_block=2 upscale=3", 0},
    {"VGG19", "use_input_norm=true", 0},
};
enum { NETS = sizeof nets / sizeof *nets, BATCH = 4, SIDE = 24, HEIGHT = 1024, WIDTH = 1024 };

/* Bits of `choices`: what the backend says of itself. */
static int32_t run_net(const dukd_graph *g, const char *name, int32_t drops, dukd_purpose purpose,
                       dukd_type type, int32_t choices, int32_t large) {
    dukd_failure f = {0};
    const dukd_value output = dukd_graph_output(g);
    program p = {.name = name, .adds = choices & 1, .part = large ? 1 : (choices & 2) ? 2 : BATCH};
    const dukd_plan_backend backend = {.bands = 1,
                                       .mixed_types = choices >> 2 & 1,
                                       .norm_again = choices >> 3 & 1,
                                       .gelu_back_again = choices >> 4 & 1,
                                       .begin = begin,
                                       .compile = compile,
                                       .adds_data_gradient = p.adds ? NULL : never,
                                       .sums_in_place = choices >> 5 & 1 ? never : NULL,
                                       .reserve = reserve};
    const dukd_exec_spec spec = {.purpose = purpose,
                                 .batch = large ? 1 : BATCH,
                                 .height = large ? HEIGHT : SIDE,
                                 .width = large ? WIDTH : SIDE,
                                 .output_count = 1,
                                 .outputs = &output};
    if (dukd_plan_make(&p.plan, &backend, &p, g, type, &spec, drops, &f) != DUKD_DONE)
        fail_msg("%s: %s", name, f.message);
    run_program(&p);
    int32_t gradients = 0;
    for (int32_t i = 0; i < p.plan.fused.count && purpose == DUKD_TRAIN; i++)
        gradients +=
            p.plan.fused.nodes[i].kind == DUKD_NODE_CONV || p.plan.fused.nodes[i].kind == DUKD_NODE_INPUT;
    for (int32_t i = p.plan.forward_steps; i < p.plan.step_count; i++)
        gradients -=
            p.plan.steps[i].kind == DUKD_STEP_WEIGHTS_GRADIENT || p.plan.steps[i].kind == DUKD_STEP_EXPORT;
    assert_int_equal(gradients, 0); /* each convolution's, and the input's */
    const int32_t banded = p.plan.whole_steps < p.plan.forward_steps;
    dukd_plan_free(&p.plan);
    return banded;
}

static void test_small(void **state) {
    (void)state;
    for (int i = 0; i < NETS; i++) {
        dukd_graph *g = dukd_test_net(nets[i].type, nets[i].options);
        for (int32_t choices = 0; choices < 64; choices++)
            for (int k = 0; k < 4; k++)
                run_net(g, nets[i].type, nets[i].drops, k & 1 ? DUKD_TRAIN : DUKD_INFER,
                        k & 2 ? DUKD_TYPE_BF16 : DUKD_TYPE_F32, choices, 0);
        dukd_graph_destroy(g);
    }
}

static void test_bands(void **state) {
    (void)state;
    int32_t banded = 0;
    for (int i = 0; i < NETS; i++) {
        dukd_graph *g = dukd_test_net(nets[i].type, nets[i].options);
        for (int32_t choices = 0; choices < 64; choices++)
            for (int k = 0; k < 2; k++)
                banded += run_net(g, nets[i].type, nets[i].drops, DUKD_INFER,
                                  k ? DUKD_TYPE_BF16 : DUKD_TYPE_F32, choices, 1);
        dukd_graph_destroy(g);
    }
    assert_true(banded > 0);
}

/* Of a batch that goes through at once, what forward has left makes room as backward goes on; in parts it stays for the others. */
static void test_memory(void **state) {
    (void)state;
    dukd_failure f = {0};
    dukd_graph *g = dukd_test_net(nets[0].type, nets[0].options);
    const dukd_value output = dukd_graph_output(g);
    const dukd_plan_backend backend = {.begin = begin, .compile = compile, .reserve = reserve};
    const dukd_exec_spec spec = {.purpose = DUKD_TRAIN,
                                 .batch = BATCH,
                                 .height = SIDE,
                                 .width = SIDE,
                                 .output_count = 1,
                                 .outputs = &output};
    int64_t bytes[2];
    for (int k = 0; k < 2; k++) {
        program p = {.adds = 1, .part = k ? 1 : BATCH};
        assert_int_equal(dukd_plan_make(&p.plan, &backend, &p, g, DUKD_TYPE_F32, &spec, 0, &f), DUKD_DONE);
        bytes[k] = p.plan.arena_bytes;
        dukd_plan_free(&p.plan);
    }
    print_message("at once: %lld bytes, in parts %lld\n", (long long)bytes[0], (long long)bytes[1]);
    assert_true(bytes[0] < bytes[1]);
    dukd_graph_destroy(g);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_small), cmocka_unit_test(test_bands),
                                       cmocka_unit_test(test_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
