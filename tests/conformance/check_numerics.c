/* Group numerics: gradients are the derivative of l_total, whatever the tensors look like. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "conform.h"
#include "toy_step.h"

/* ---- finite differences ---- */

/* The batch that is differentiated: whole, or the first of two micro-batches. */
static conform_result total_of(conform *c, uint32_t micro_count, const toy_run *run, toy_result *out,
                               double *total) {
    toy_session t;
    toy_result last;
    TRY(toy_open(c, &t, (toy_setup){.micro_count = micro_count}));
    if (toy_step(c, &t, run, out)) return CONFORM_FAIL;
    *total = out->total;
    if (micro_count > 1) {
        const toy_run second = {
            .iteration = run->iteration, .first_sample = run->first_sample + 2, .micro_index = 1};
        if (toy_step(c, &t, &second, &last)) return CONFORM_FAIL;
        *total = last.total;
        toy_result_free(&last);
    }
    toy_close(c, &t);
    return CONFORM_PASS;
}

/* Along a direction that is not zero in `share` of the elements the loss changes as the gradient says. Values are f32 and absolute
 * values have a kink: some elements' kink lies within the step; and the loss itself is rounded. */
static conform_result along(conform *c, uint32_t micro_count, toy_run run, const toy_result *at,
                            int32_t which, const float *direction, double share) {
    const double step = 2e-4;
    const toy_wanted *w = &at->wanted[which];
    double totals[2], says = 0, norm = 0;
    uint64_t inputs[2];
    for (int64_t i = 0; i < w->count; i++) {
        says += (double)w->grad[i] * (double)direction[i];
        norm += fabs((double)w->grad[i]);
    }
    REQUIRE(c, norm > 0, "the gradient of tap %u of pass %u is all zeros", w->tap, w->pass);
    run.probe = which;
    run.probe_direction = direction;
    for (int side = 0; side < 2; side++) {
        toy_result r;
        run.probe_step = side ? -step : step;
        TRY(total_of(c, micro_count, &run, &r, &totals[side]));
        inputs[side] = r.inputs_hash;
        toy_result_free(&r);
    }
    /* where what the student answers decides which inputs come, the loss jumps */
    if (inputs[0] != at->inputs_hash || inputs[1] != at->inputs_hash) return CONFORM_PASS;
    double measured = (totals[0] - totals[1]) / (2 * step);
    REQUIRE(
        c, fabs(measured - says) <= 0.02 * share * norm + 1e-3 * fabs(totals[0]),
        "tap %u of pass %u: along a direction the loss changes by %g, the gradient says %g (of at most %g)",
        w->tap, w->pass, measured, says, share * norm);
    return CONFORM_PASS;
}

/* The gradient's own direction shows whether its signs and its size are right; parts of the tensor, moved each by itself, show
 * where there should be a gradient and is none. */
static conform_result differentiate_tap(conform *c, uint32_t micro_count, const toy_run *run,
                                        const toy_result *at, int32_t which) {
    enum { PARTS = 8 };
    const toy_wanted *w = &at->wanted[which];
    float *direction = malloc((uint64_t)w->count * sizeof *direction);
    REQUIRE(c, direction, "the suite is out of memory");
    for (int64_t n = 0; n < w->count; n++) direction[n] = w->grad[n] < 0 ? -1 : w->grad[n] > 0 ? 1 : 0;
    TRY(along(c, micro_count, *run, at, which, direction, 1));
    for (int64_t part = 0; part < PARTS; part++) {
        for (int64_t n = 0; n < w->count; n++) direction[n] = n * PARTS / w->count == part ? 1 : 0;
        TRY(along(c, micro_count, *run, at, which, direction, 1.0 / PARTS));
    }
    free(direction);
    return CONFORM_PASS;
}

static conform_result differentiate(conform *c, uint32_t micro_count) {
    for (int64_t i = 1; i <= 2; i++) {
        toy_result at;
        double total;
        const toy_run run = {.iteration = i, .first_sample = 4};
        TRY(total_of(c, micro_count, &run, &at, &total));
        REQUIRE(c, at.n_wanted, "no gradient is wanted");
        for (int32_t k = 0; k < at.n_wanted; k++) TRY(differentiate_tap(c, micro_count, &run, &at, k));
        toy_result_free(&at);
    }
    return CONFORM_PASS;
}

static conform_result derivative(conform *c) {
    return differentiate(c, 1);
}

static conform_result micro_derivative(conform *c) {
    return differentiate(c, 2);
}

/* ---- layouts ---- */

static conform_result alike(conform *c, const toy_result *a, const toy_result *b, const char *what,
                            const char *layout) {
    double d = toy_difference(a, b);
    REQUIRE(c, d <= 1e-6, "%s with %s: another gradient (difference %g)", what, layout, d);
    REQUIRE(c, fabs(a->total - b->total) <= 1e-6 * fabs(a->total), "%s with %s: l_total is %g, not %g", what,
            layout, b->total, a->total);
    return CONFORM_PASS;
}

static conform_result strides(conform *c) {
    toy_result dense, flat, r;
    const toy_run plain = {.iteration = 2}, same = {.iteration = 2, .same_channels = 1};
    TRY(toy_once(c, (toy_setup){0}, plain, &dense));
    TRY(toy_once(c, (toy_setup){0}, same, &flat));
    for (int k = TOY_DENSE + 1; k < TOY_LAYOUTS; k++) {
        toy_run values = k == TOY_BROADCAST ? same : plain, grads = plain;
        values.values = (toy_layout)k;
        TRY(toy_once(c, (toy_setup){0}, values, &r));
        TRY(alike(c, k == TOY_BROADCAST ? &flat : &dense, &r, "values", toy_layout_names[k]));
        toy_result_free(&r);
        if (k == TOY_BROADCAST) continue; /* elements of a gradient may not overlap */
        grads.grads = (toy_layout)k;
        TRY(toy_once(c, (toy_setup){0}, grads, &r));
        TRY(alike(c, &dense, &r, "gradients", toy_layout_names[k]));
        toy_result_free(&r);
    }
    toy_result_free(&dense);
    toy_result_free(&flat);
    return CONFORM_PASS;
}

static conform_result batch_strides(conform *c) {
    toy_result dense, r;
    TRY(toy_once(c, (toy_setup){0}, (toy_run){.iteration = 2}, &dense));
    for (int k = TOY_DENSE + 1; k < TOY_LAYOUTS; k++) {
        if (k == TOY_BROADCAST) continue; /* is another batch */
        TRY(toy_once(c, (toy_setup){.layout = (toy_layout)k}, (toy_run){.iteration = 2}, &r));
        REQUIRE(c, dense.inputs_hash == r.inputs_hash, "LR and HR with %s: other inputs",
                toy_layout_names[k]);
        TRY(alike(c, &dense, &r, "LR and HR", toy_layout_names[k]));
        toy_result_free(&r);
    }
    TRY(toy_once(c, (toy_setup){.layout = TOY_BROADCAST}, (toy_run){.iteration = 2}, &r));
    REQUIRE(c, !r.not_finite && isfinite(r.total), "LR and HR with %s: l_total is %g",
            toy_layout_names[TOY_BROADCAST], r.total);
    toy_result_free(&r);
    toy_result_free(&dense);
    return CONFORM_PASS;
}

/* Gradients are made of NaNs before: what is added to, or left out, shows. */
static conform_result written(conform *c) {
    for (int k = TOY_DENSE; k < TOY_BROADCAST; k++) {
        toy_result r;
        TRY(toy_once(c, (toy_setup){0}, (toy_run){.iteration = 2, .grads = (toy_layout)k}, &r));
        REQUIRE(c, r.n_wanted, "no gradient is wanted");
        REQUIRE(c, !r.spilled, "memory beside the elements of a gradient was written (%s)",
                toy_layout_names[k]);
        REQUIRE(c, !r.not_written, "%lld elements of gradients were not written (%s)",
                (long long)r.not_written, toy_layout_names[k]);
        REQUIRE(
            c, !r.not_finite,
            "gradients of finite values are not finite (%s): added to what was there before, or memory is "
            "used before it is written",
            toy_layout_names[k]);
        toy_result_free(&r);
    }
    return CONFORM_PASS;
}

/* ---- numbers ---- */

static conform_result nan_shows(conform *c) {
    toy_result r;
    TRY(toy_once(c, (toy_setup){0}, (toy_run){.iteration = 2, .nan_value = 1}, &r));
    REQUIRE(c, isnan(r.total), "a NaN in a value is hidden: l_total is %g", r.total);
    REQUIRE(c, r.not_finite > 0, "a NaN in a value does not show in any gradient");
    toy_result_free(&r);
    return CONFORM_PASS;
}

static conform_result grad_scale(conform *c) {
    const double scales[] = {1024, -0.5};
    toy_result plain;
    TRY(toy_once(c, (toy_setup){0}, (toy_run){.iteration = 2}, &plain));
    for (size_t k = 0; k < sizeof scales / sizeof *scales; k++) {
        toy_result r;
        TRY(toy_once(c, (toy_setup){0}, (toy_run){.iteration = 2, .grad_scale = scales[k]}, &r));
        REQUIRE(c, fabs(r.total - plain.total) <= 1e-9 * fabs(plain.total),
                "grad_scale %g changes l_total from %g to %g", scales[k], plain.total, r.total);
        for (int32_t i = 0; i < r.n_wanted; i++)
            for (int64_t n = 0; n < r.wanted[i].count; n++)
                r.wanted[i].grad[n] = (float)((double)r.wanted[i].grad[n] / scales[k]);
        for (uint32_t i = 0; i < r.n_params; i++)
            for (int64_t n = 0; n < r.params[i].count; n++)
                r.params[i].grad[n] = (float)((double)r.params[i].grad[n] / scales[k]);
        double d = toy_difference(&plain, &r);
        REQUIRE(c, d <= 1e-6, "grad_scale %g does not multiply gradients by it (difference %g)", scales[k],
                d);
        toy_result_free(&r);
    }
    toy_result_free(&plain);
    return CONFORM_PASS;
}

static const struct {
    const char *name;
    dukd_dtype type;
    double step; /* between 1 and the number below it, relative to 1 */
} halves[] = {{"f16", {DUKD_TYPE_FLOAT, 16, 1}, 0x1p-11}, {"bf16", {DUKD_TYPE_BFLOAT, 16, 1}, 0x1p-8}};

/* A step with 16-bit values: PASS, or SKIP where the plugin does not have the type. */
static conform_result half_step(conform *c, const toy_run *run, const char *name, toy_result *out) {
    toy_session t;
    TRY(toy_open(c, &t, (toy_setup){0}));
    int32_t code = toy_step(c, &t, run, out);
    toy_close(c, &t);
    if (!code) return CONFORM_PASS;
    toy_result_free(out);
    if (code != DUKD_E_UNSUPPORTED) return CONFORM_FAIL;
    c->why[0] = 0;
    return conform_skip(c, "taps of %s are refused", name);
}

/* The same numbers in 16 bits and in 32 give the same. */
static conform_result half_values(conform *c) {
    int taken = 0;
    for (size_t k = 0; k < sizeof halves / sizeof *halves; k++) {
        const toy_run wide = {.iteration = 2, .round_to = halves[k].type},
                      half = {.iteration = 2, .round_to = halves[k].type, .value_type = halves[k].type};
        toy_result a, b;
        conform_result r = half_step(c, &half, halves[k].name, &b);
        if (r == CONFORM_FAIL) return r;
        if (r == CONFORM_SKIP) continue;
        TRY(toy_once(c, (toy_setup){0}, wide, &a));
        TRY(alike(c, &a, &b, halves[k].name, "f32 gradients"));
        toy_result_free(&a);
        toy_result_free(&b);
        taken++;
    }
    return taken ? CONFORM_PASS : CONFORM_SKIP;
}

static conform_result half_grads(conform *c) {
    int taken = 0;
    for (size_t k = 0; k < sizeof halves / sizeof *halves; k++) {
        /* scaled, or they would be too small for f16 */
        toy_run wide = {.iteration = 2, .round_to = halves[k].type, .value_type = halves[k].type};
        toy_run half = wide;
        wide.grad_scale = half.grad_scale = 1024;
        half.grad_type = halves[k].type;
        toy_result a, b;
        conform_result r = toy_once(c, (toy_setup){0}, wide, &a);
        if (r == CONFORM_SKIP) {
            wide.grad_scale = half.grad_scale = 0;
            c->why[0] = 0;
            r = half_step(c, &wide, halves[k].name, &a);
        }
        if (r == CONFORM_FAIL) return r;
        if (r == CONFORM_SKIP) continue;
        TRY(toy_once(c, (toy_setup){0}, half, &b));
        double d = toy_difference(&a, &b);
        REQUIRE(c, d <= halves[k].step, "gradients in %s differ from those in f32 by %g", halves[k].name, d);
        REQUIRE(c, !b.spilled && !b.not_written, "%s: a gradient was not written, or memory beside it",
                halves[k].name);
        toy_result_free(&a);
        toy_result_free(&b);
        taken++;
    }
    return taken ? CONFORM_PASS : CONFORM_SKIP;
}

static const conform_check checks[] = {
    {"derivative", "gradients are the derivative of l_total, by finite differences (dukd_losses)",
     derivative},
    {"micro-derivative", "so they are with micro-batches: l_total is the mean over them (dukd_losses.values)",
     micro_derivative},
    {"strides", "values and gradients of any strides (tensors)", strides},
    {"batch-strides", "LR and HR of any strides (tensors)", batch_strides},
    {"written", "every element of a gradient is overwritten, and nothing beside it (dukd_submit.grads)",
     written},
    {"nan-shows", "a NaN in a value shows in l_total and in a gradient (dukd_losses)", nan_shows},
    {"grad-scale", "grad_scale multiplies gradients and never losses (dukd_submit.grad_scale)", grad_scale},
    {"half-values", "values of 16 bits count as what they are (tensors)", half_values},
    {"half-grads", "gradients may have the value's type (dukd_submit.grads)", half_grads},
};
const conform_group conform_numerics = {"numerics", "losses and gradients", 0, checks,
                                        sizeof checks / sizeof *checks};
