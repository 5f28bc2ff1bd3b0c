/* Group numerics: gradients are the derivative of l_total, and depend on nothing but values, seed, iteration and samples. */
#include <math.h>
#include <string.h>

#include "conform.h"
#include "toy_host.h"

typedef struct {
    toy_host h;
    dukd_session *s;
} run_in;

static conform_result open_with(conform *c, run_in *r, int64_t n, uint32_t micro_count, uint64_t seed,
                                uint32_t threads, uint32_t flags) {
    dukd_error e = {.struct_size = DUKD_ERROR_SIZE};
    r->h.threads = threads;
    REQUIRE(c, !toy_host_open(&r->h, n, 12, 12, 2), "out of memory");
    dukd_session_params params = toy_params(&r->h, c);
    params.micro_count = micro_count;
    params.seed = seed;
    params.flags = flags;
    int32_t code = c->plugin->create_session(&params, &r->s, &e);
    if (code == DUKD_E_UNSUPPORTED && (micro_count > 1 || flags))
        return conform_skip(c, "refused: %s", e.message);
    REQUIRE(c, code == DUKD_OK, "create_session gave %d: %s", code, e.message);
    return CONFORM_PASS;
}

static void shut(conform *c, run_in *r) {
    c->plugin->destroy_session(r->s);
    toy_host_close(&r->h);
}

/* One session, one step of it. */
static conform_result one(conform *c, toy_run run, uint32_t threads, uint64_t seed, toy_result *out) {
    run_in r = {0};
    conform_result opened =
        open_with(c, &r, 4, 1, seed, threads, run.grad_scale != 0 ? DUKD_SESSION_LOSS_SCALE : 0);
    if (opened) return opened;
    int failed = toy_step(c, &r.h, r.s, &run, out);
    shut(c, &r);
    return failed ? CONFORM_FAIL : CONFORM_PASS;
}

#define RUN(result, threads, seed, ...)                                                                      \
    do {                                                                                                     \
        conform_result run_result = one(c, (toy_run){__VA_ARGS__}, threads, seed, &(result));                \
        if (run_result) return run_result;                                                                   \
    } while (0)

static conform_result derivative(conform *c) {
    const double step = 2e-4;
    for (int64_t i = 1; i <= 3; i++) {
        toy_result at, up, down;
        RUN(at, 0, 7, .iteration = i);
        RUN(up, 0, 7, .iteration = i, .step_along = step);
        RUN(down, 0, 7, .iteration = i, .step_along = -step);
        double measured = (up.total - down.total) / (2 * step);
        REQUIRE(c, at.norm > 0, "all gradients are zero");
        /* values are f32 and absolute values have a kink: what the step crosses is a small share of the elements */
        REQUIRE(c, fabs(measured - at.dot) <= 0.02 * at.norm,
                "iteration %lld: along a direction the loss changes by %g, the gradient says %g",
                (long long)i, measured, at.dot);
    }
    return CONFORM_PASS;
}

static conform_result repeats(conform *c) {
    toy_result a, b, other_iteration, other_seed;
    RUN(a, 0, 7, .iteration = 3, .first_sample = 40);
    RUN(b, 0, 7, .iteration = 3, .first_sample = 40);
    RUN(other_iteration, 0, 7, .iteration = 4, .first_sample = 40);
    RUN(other_seed, 0, 8, .iteration = 3, .first_sample = 40);
    REQUIRE(c, a.inputs_hash == b.inputs_hash && a.grads_hash == b.grads_hash && a.total == b.total,
            "two sessions of the same seed differ in the same step");
    (void)other_iteration, (void)other_seed; /* may be equal: a method need not draw */
    return CONFORM_PASS;
}

static conform_result no_history(conform *c) {
    toy_result alone, later;
    run_in r = {0};
    RUN(alone, 0, 7, .iteration = 9);
    conform_result opened = open_with(c, &r, 4, 1, 7, 0, 0);
    if (opened) return opened;
    int failed = 0;
    for (int64_t i = 1; i <= 3 && !failed; i++)
        failed = toy_step(c, &r.h, r.s, &(toy_run){.iteration = i}, &later);
    if (!failed)
        failed = toy_step(c, &r.h, r.s, &(toy_run){.iteration = 5, .leave_open = 1}, &later); /* given up */
    if (!failed) failed = toy_step(c, &r.h, r.s, &(toy_run){.iteration = 9}, &later);
    shut(c, &r);
    if (failed) return CONFORM_FAIL;
    REQUIRE(c, alone.inputs_hash == later.inputs_hash && alone.grads_hash == later.grads_hash,
            "a step depends on the steps before it, or on one that was given up: a run could not be resumed");
    return CONFORM_PASS;
}

static conform_result threads(conform *c) {
    toy_result own, one_thread, two, five;
    RUN(own, 0, 7, .iteration = 2);
    RUN(one_thread, 1, 7, .iteration = 2);
    RUN(two, 2, 7, .iteration = 2);
    RUN(five, 5, 7, .iteration = 2);
    REQUIRE(c,
            own.grads_hash == one_thread.grads_hash && own.total == one_thread.total &&
                own.inputs_hash == one_thread.inputs_hash,
            "the plugin's own threads and one thread of the host give different bits");
    REQUIRE(c, one_thread.grads_hash == two.grads_hash && one_thread.total == two.total,
            "1 and 2 threads give different bits");
    REQUIRE(c, one_thread.grads_hash == five.grads_hash && one_thread.total == five.total,
            "1 and 5 threads give different bits");
    return CONFORM_PASS;
}

static conform_result strides(conform *c) {
    toy_result dense, last, padded;
    RUN(dense, 0, 7, .iteration = 2);
    RUN(last, 0, 7, .iteration = 2, .layout = TOY_CHANNELS_LAST);
    RUN(padded, 0, 7, .iteration = 2, .layout = TOY_PADDED);
    REQUIRE(c, dense.grads_hash == last.grads_hash, "channels_last gives another gradient");
    REQUIRE(c, dense.grads_hash == padded.grads_hash, "rows with a gap give another gradient");
    REQUIRE(c, fabs(dense.total - last.total) <= 1e-9 * fabs(dense.total),
            "channels_last gives another loss");
    return CONFORM_PASS;
}

static conform_result written(conform *c) {
    for (int layout = TOY_DENSE; layout <= TOY_PADDED; layout++) {
        toy_result r;
        RUN(r, 0, 7, .iteration = 2, .layout = (toy_layout)layout);
        REQUIRE(c, r.canaries_broken == 0, "memory before or after a gradient was written");
        REQUIRE(c, r.not_written == 0, "elements of a gradient were not written");
        REQUIRE(c, r.not_finite == 0,
                "gradients of finite values are not finite: memory is used before it is written");
    }
    return CONFORM_PASS;
}

static conform_result nan_shows(conform *c) {
    toy_result r;
    RUN(r, 0, 7, .iteration = 2, .nan_value = 1);
    REQUIRE(c, isnan(r.total), "a NaN in a value is hidden: l_total is %g", r.total);
    REQUIRE(c, r.not_finite > 0, "a NaN in a value does not show in its gradient");
    return CONFORM_PASS;
}

static conform_result scaled(conform *c) {
    toy_result plain, by;
    RUN(plain, 0, 7, .iteration = 2);
    RUN(by, 0, 7, .iteration = 2, .grad_scale = 1024);
    REQUIRE(c, by.total == plain.total, "grad_scale changes the loss");
    REQUIRE(c, fabs(by.dot - 1024 * plain.dot) <= 1e-5 * 1024 * plain.norm,
            "grad_scale 1024 does not multiply gradients by 1024");
    return CONFORM_PASS;
}

static conform_result half_values(conform *c) {
    toy_result wide, half;
    RUN(wide, 0, 7, .iteration = 2);
    RUN(half, 0, 7, .iteration = 2, .bf16_values = 1);
    REQUIRE(c, fabs(half.total - wide.total) <= 0.02 * fabs(wide.total) + 1e-3,
            "bf16 values: loss %g, f32 %g", half.total, wide.total);
    REQUIRE(c, fabs(half.norm - wide.norm) <= 0.1 * wide.norm, "bf16 values: gradients of another size");
    return CONFORM_PASS;
}

/* Two micro-batches of two against one batch of four: the same images, the same draws, half the gradient each. */
static conform_result micro_batches(conform *c) {
    toy_result whole, first, second;
    run_in full = {0}, parts = {0};
    conform_result r = open_with(c, &full, 4, 1, 7, 0, 0);
    if (r) return r;
    if ((r = open_with(c, &parts, 2, 2, 7, 0, 0))) return r;
    if (toy_step(c, &full.h, full.s, &(toy_run){.iteration = 2, .first_sample = 8}, &whole))
        return CONFORM_FAIL;
    memcpy(parts.h.lr.t.data, full.h.lr.t.data, parts.h.lr.bytes);
    memcpy(parts.h.hr.t.data, full.h.hr.t.data, parts.h.hr.bytes);
    if (toy_step(c, &parts.h, parts.s, &(toy_run){.iteration = 2, .first_sample = 8, .micro_count = 2},
                 &first))
        return CONFORM_FAIL;
    memcpy(parts.h.lr.t.data, (uint8_t *)full.h.lr.t.data + parts.h.lr.bytes, parts.h.lr.bytes);
    memcpy(parts.h.hr.t.data, (uint8_t *)full.h.hr.t.data + parts.h.hr.bytes, parts.h.hr.bytes);
    if (toy_step(c, &parts.h, parts.s,
                 &(toy_run){.iteration = 2, .first_sample = 10, .micro_index = 1, .micro_count = 2}, &second))
        return CONFORM_FAIL;
    REQUIRE(c, first.zeroed == whole.zeroed && second.zeroed == 0,
            "gradients must be cleared in the first micro-batch only");
    REQUIRE(c, first.optimizer_steps == 0 && second.optimizer_steps == whole.optimizer_steps,
            "the optimizer must step in the last micro-batch only");
    REQUIRE(c, first.averaged == 0 && second.averaged == whole.averaged,
            "the average must be updated in the last micro-batch only");
    REQUIRE(c, fabs(first.norm + second.norm - whole.norm) <= 1e-4 * whole.norm,
            "gradients of two micro-batches add up to %g, not to %g", first.norm + second.norm, whole.norm);
    shut(c, &full);
    shut(c, &parts);
    return CONFORM_PASS;
}

static conform_result plan(conform *c) {
    run_in r = {0};
    toy_result result;
    const dukd_plan *p = NULL;
    dukd_error e = {.struct_size = DUKD_ERROR_SIZE};
    conform_result opened = open_with(c, &r, 4, 1, 7, 0, 0);
    if (opened) return opened;
    REQUIRE(c, c->plugin->get_plan(r.s, &p, &e) == DUKD_OK && p && p->n_passes, "get_plan: %s", e.message);
    int backward = 0, optimize = 0;
    for (uint32_t i = 0; i < p->n_passes; i++) {
        const dukd_pass *pass = p->passes[i];
        int wants = 0;
        REQUIRE(c, pass && pass->plan_index == i && pass->n_inputs, "pass %u of the plan is incomplete", i);
        for (uint32_t k = 0; k < pass->n_inputs; k++) {
            const dukd_tensor *t = pass->inputs[k]->tensor;
            REQUIRE(c, t && !t->data && t->ndim == 4 && pass->inputs[k]->id == k,
                    "pass %u, input %u: a shape without data is wanted", i, k);
            for (int d = 0; d < 4; d++) REQUIRE(c, t->shape[d] > 0, "pass %u, input %u: no shape", i, k);
        }
        for (uint32_t k = 0; k < pass->n_taps; k++) {
            const dukd_tap *tap = pass->taps[k];
            REQUIRE(c, tap->id == k && tap->network < TOY_NETWORKS, "pass %u, tap %u: no such network", i, k);
            uint32_t limit = tap->source_kind == DUKD_SOURCE_TAP ? k : pass->n_inputs;
            REQUIRE(c, tap->source_id < limit, "pass %u, tap %u: its source is not there yet", i, k);
            wants |= (tap->flags & DUKD_TAP_WANT_GRAD) != 0;
        }
        REQUIRE(c, wants == ((pass->flags & DUKD_PASS_BACKWARD) != 0),
                "pass %u: BACKWARD and WANT_GRAD do not agree", i);
        backward |= wants;
        optimize |= (pass->flags & DUKD_PASS_OPTIMIZE_AFTER) != 0;
    }
    REQUIRE(c, backward && optimize, "the plan never trains: no BACKWARD or no OPTIMIZE_AFTER");
    if (toy_step(c, &r.h, r.s, &(toy_run){.iteration = 1}, &result)) return CONFORM_FAIL;
    REQUIRE(c, (uint32_t)result.passes <= p->n_passes, "a step handed out %d passes, the plan has %u",
            result.passes, p->n_passes);
    shut(c, &r);
    return CONFORM_PASS;
}

static conform_result state(conform *c) {
    run_in a = {0}, b = {0};
    static uint8_t blob[1 << 16];
    uint64_t size = 0, room = sizeof blob;
    dukd_error e = {.struct_size = DUKD_ERROR_SIZE};
    conform_result r = open_with(c, &a, 4, 1, 7, 0, 0);
    if (r || (r = open_with(c, &b, 4, 1, 7, 0, 0))) return r;
    toy_result x, y;
    for (int64_t i = 1; i <= 2; i++)
        if (toy_step(c, &a.h, a.s, &(toy_run){.iteration = i}, &x)) return CONFORM_FAIL;
    REQUIRE(c, c->plugin->get_state(a.s, NULL, &size, &e) == DUKD_OK && size <= sizeof blob,
            "get_state: %s (%llu bytes)", e.message, (unsigned long long)size);
    if (size) {
        uint64_t little = size - 1;
        REQUIRE(c, c->plugin->get_state(a.s, blob, &little, &e) == DUKD_E_ARGUMENT,
                "get_state into too little room is accepted");
    }
    REQUIRE(c, c->plugin->get_state(a.s, blob, &room, &e) == DUKD_OK && room == size,
            "get_state gave another size than it said");
    int32_t code = c->plugin->set_state(b.s, blob, size, &e);
    REQUIRE(c, code == DUKD_OK, "set_state gave %d: %s", code, e.message);
    if (toy_step(c, &a.h, a.s, &(toy_run){.iteration = 3}, &x) ||
        toy_step(c, &b.h, b.s, &(toy_run){.iteration = 3}, &y))
        return CONFORM_FAIL;
    REQUIRE(c, x.grads_hash == y.grads_hash && x.inputs_hash == y.inputs_hash,
            "after set_state the run goes on differently");
    if (size) {
        blob[size / 2] ^= 0x55;
        REQUIRE(c, c->plugin->set_state(b.s, blob, size, &e) < 0, "a damaged state is accepted");
        REQUIRE(c, c->plugin->set_state(b.s, blob, size - 1, &e) < 0,
                "a state that is too short is accepted");
    }
    shut(c, &a);
    shut(c, &b);
    return CONFORM_PASS;
}

const conform_check conform_numerics[] = {
    {"plan", "numerics", "the plan lists every pass with shapes, sources and flags that agree (dukd_plan)",
     plan},
    {"derivative", "numerics",
     "gradients are the derivative of l_total, by finite differences (dukd_submit.grads)", derivative},
    {"repeats", "numerics",
     "the same seed, iteration and samples give the same bits (dukd_step.first_sample)", repeats},
    {"no-history", "numerics",
     "a step does not depend on earlier ones or on one that was given up (cancel_step)", no_history},
    {"threads", "numerics", "the same bits for any number of threads (dukd_host.parallel_for)", threads},
    {"strides", "numerics", "any strides of values and gradients (tensors)", strides},
    {"written", "numerics",
     "every element of a gradient is written, and nothing beside it (dukd_submit.grads)", written},
    {"nan-shows", "numerics", "a NaN goes through losses and gradients (dukd_losses)", nan_shows},
    {"grad-scale", "numerics", "grad_scale multiplies gradients and never losses (dukd_submit.grad_scale)",
     scaled},
    {"bf16-values", "numerics", "taps may be bf16 with f32 gradients (tensors)", half_values},
    {"micro-batches", "numerics", "micro-batches together are the batch (dukd_step.micro_index)",
     micro_batches},
    {"state", "numerics",
     "get_state and set_state go on where it was, damaged states are refused (get_state)", state},
};
const int conform_numerics_count = sizeof conform_numerics / sizeof *conform_numerics;
