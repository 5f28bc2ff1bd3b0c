/* See engine_case.h. */
#include "kernels/engine_case.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "engine/arrays.h"
#include "support/compare.h"
#include "support/fill.h"

static void done(int status, const dukd_failure *f) {
    if (status != DUKD_DONE) fail_msg("%s", f->message);
}

static void *zeros(int64_t count, size_t element) {
    void *p = calloc((size_t)count, element);
    assert_non_null(p);
    return p;
}

static double larger(double a, double b) {
    return a > b ? a : b;
}

static int64_t value_count(const engine_case *c, dukd_value v) {
    int64_t size[2];
    dukd_graph_size(c->graph, v, c->height, c->width, size);
    return (int64_t)c->batch * dukd_graph_op(c->graph, v)->channels * size[0] * size[1];
}

static double worst_output(const engine_case *c, const dukd_graph_ref *ref, int32_t count,
                           const dukd_value *values, float *const *got) {
    double worst = 0;
    for (int32_t i = 0; i < count; i++)
        worst = larger(worst, dukd_relative_error_mixed(dukd_graph_ref_value(ref, values[i]), got[i],
                                                        value_count(c, values[i])));
    return worst;
}

/* dukd_relative_error_mixed takes the oracle as what is measured: the same but for which maximum divides. */
static double gradient_error(const float *got, const double *want, int64_t count) {
    double most = 0, delta = 0;
    for (int64_t i = 0; i < count; i++) {
        if (!isfinite(got[i])) return INFINITY;
        most = larger(most, fabs(want[i]));
        delta = larger(delta, fabs(got[i] - want[i]));
    }
    if (most == 0) return delta == 0 ? 0 : INFINITY;
    return delta / most;
}

static double worst_parameter(const engine_case *c, const float *got, const double *want, double *norm) {
    double worst = 0, delta = 0, whole = 0;
    for (int32_t i = 0; i < dukd_graph_param_count(c->graph); i++) {
        const dukd_param *p = dukd_graph_param(c->graph, i);
        worst = larger(worst, gradient_error(got + p->offset, want + p->offset, p->count));
    }
    for (int64_t i = 0; i < dukd_graph_weights(c->graph); i++) {
        delta += (got[i] - want[i]) * (got[i] - want[i]);
        whole += want[i] * want[i];
    }
    *norm = whole > 0 ? sqrt(delta / whole) : 0;
    return worst;
}

const char *engine_case_engine(void) {
    const char *name = getenv("DUKD_TEST_ENGINE");
    return name && *name ? name : "onednn";
}

/* An array in the engine's memory, zeros or as `from`. */
static float *placed(dukd_engine *e, const float *from, int64_t count) {
    dukd_failure f = {0};
    void *p;
    done(dukd_engine_alloc(e, count * (int64_t)sizeof(float), "a test", &p, &f), &f);
    if (from) done(dukd_engine_upload(e, p, from, count * (int64_t)sizeof(float), &f), &f);
    return p;
}

static void fetch(dukd_engine *e, float *to, const float *from, int64_t count) {
    dukd_failure f = {0};
    done(dukd_engine_download(e, to, from, count * (int64_t)sizeof(float), &f), &f);
}

/* Runs forward in the engine's memory: outputs as on the host. */
static void forward(dukd_engine *e, dukd_exec *x, const engine_case *c, const float *input, int32_t count,
                    const dukd_value *values, float *const *device, float *const *outputs) {
    dukd_failure f = {0};
    for (int32_t i = 0; i < count; i++) {
        const int64_t elements = value_count(c, values[i]);
        dukd_fill_f32(outputs[i], elements, 99, 5, 6);
        done(dukd_engine_upload(e, device[i], outputs[i], elements * (int64_t)sizeof(float), &f), &f);
    }
    done(dukd_exec_forward(x, c->batch, input, device, &f), &f);
    for (int32_t i = 0; i < count; i++) fetch(e, outputs[i], device[i], value_count(c, values[i]));
}

engine_errors engine_case_run(const engine_case *c) {
    dukd_failure f = {0};
    dukd_engine *e = NULL;
    dukd_network *n = NULL;
    dukd_exec *infer = NULL, *train = NULL;
    dukd_value values[ENGINE_CASE_OUTPUTS] = {dukd_graph_output(c->graph)};
    int32_t count = c->output_count ? c->output_count : 1;
    for (int32_t i = 0; i < c->output_count; i++) values[i] = c->outputs[i];

    int64_t weight_count = dukd_graph_weights(c->graph);
    int64_t input_count = (int64_t)c->batch * dukd_graph_op(c->graph, 0)->channels * c->height * c->width;
    float *weights = zeros(weight_count + 1, sizeof *weights), *input = zeros(input_count, sizeof *input);
    float *outputs[ENGINE_CASE_OUTPUTS], *cotangents[ENGINE_CASE_OUTPUTS];
    const float *given[ENGINE_CASE_OUTPUTS];
    if (c->weight_bound > 0)
        dukd_fill_f32(weights, weight_count, c->seed, -c->weight_bound, c->weight_bound);
    else
        dukd_graph_init(c->graph, c->seed, weights);
    dukd_fill_f32(input, input_count, c->seed + 1, 0, 1);
    for (int32_t i = 0; i < count; i++) {
        outputs[i] = zeros(value_count(c, values[i]), sizeof **outputs);
        cotangents[i] = zeros(value_count(c, values[i]), sizeof **cotangents);
        dukd_fill_f32(cotangents[i], value_count(c, values[i]), c->seed + 2 + (uint64_t)i, -1, 1);
        given[i] = c->silent == i + 1 ? NULL : cotangents[i];
    }

    int32_t factors = dukd_graph_drop_count(c->graph) * c->batch;
    float *drops = zeros(factors + 1, sizeof *drops);
    for (int32_t i = 0; i < factors; i++) drops[i] = i % 3 == 1 ? 0 : 1.25f;

    dukd_graph_ref *ref = dukd_graph_ref_run_drops(c->graph, weights, c->batch, c->height, c->width, input,
                                                   c->drops ? drops : NULL);
    double *want_weights = zeros(weight_count + 1, sizeof *want_weights);
    double *want_input = zeros(input_count, sizeof *want_input);
    dukd_graph_ref_backward(ref, count, values, given, want_weights, want_input);

    done(dukd_engine_create(&e, engine_case_engine(), c->threads ? c->threads : 2, &f), &f);
    done(dukd_network_create(&n, e, c->graph, c->precision, &f), &f);
    float *in = placed(e, input, input_count), *parameters = placed(e, weights, weight_count),
          *dropped = placed(e, drops, factors), *results[ENGINE_CASE_OUTPUTS];
    const float *given_in[ENGINE_CASE_OUTPUTS];
    for (int32_t i = 0; i < count; i++) {
        results[i] = placed(e, NULL, value_count(c, values[i]));
        given_in[i] = given[i] ? placed(e, given[i], value_count(c, values[i])) : NULL;
    }
    done(dukd_network_set_weights(n, parameters, &f), &f);
    dukd_exec_spec spec = {.purpose = DUKD_INFER,
                           .batch = c->batch,
                           .height = c->height,
                           .width = c->width,
                           .output_count = c->output_count,
                           .outputs = c->outputs};
    engine_errors errors = {0};
    done(dukd_network_compile(n, &spec, &infer, &f), &f);
    dukd_exec_set_drops(infer, c->drops ? dropped : NULL);
    forward(e, infer, c, in, count, values, results, outputs);
    errors.infer = worst_output(c, ref, count, values, outputs);

    spec.purpose = DUKD_TRAIN;
    done(dukd_network_compile(n, &spec, &train, &f), &f);
    dukd_exec_set_drops(train, c->drops ? dropped : NULL);
    forward(e, train, c, in, count, values, results, outputs);
    errors.train = worst_output(c, ref, count, values, outputs);

    float *d_weights = zeros(weight_count + 1, sizeof *d_weights),
          *d_input = zeros(input_count, sizeof *d_input);
    float *d_parameters = placed(e, NULL, weight_count), *d_in = placed(e, NULL, input_count);
    done(dukd_exec_backward(train, given_in, d_parameters, d_in, &f), &f);
    fetch(e, d_weights, d_parameters, weight_count);
    fetch(e, d_input, d_in, input_count);
    errors.d_input = gradient_error(d_input, want_input, input_count);
    errors.d_weights = worst_parameter(c, d_weights, want_weights, &errors.d_norm);
    int64_t now;
    dukd_engine_memory(e, &now, &errors.peak_bytes);

    dukd_network_destroy(n);
    for (int32_t i = 0; i < count; i++) {
        dukd_engine_release(e, results[i]);
        dukd_engine_release(e, (void *)(uintptr_t)given_in[i]);
    }
    float *const arrays[] = {in, parameters, dropped, d_parameters, d_in};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) dukd_engine_release(e, arrays[i]);
    dukd_engine_destroy(e);
    dukd_graph_ref_free(ref);
    for (int32_t i = 0; i < count; i++) {
        free(outputs[i]);
        free(cotangents[i]);
    }
    free(weights);
    free(drops);
    free(input);
    free(want_weights);
    free(want_input);
    free(d_weights);
    free(d_input);
    return errors;
}

double engine_case_bound(double on_processor) {
    return getenv("DUKD_TEST_DEVICES") ? 10 * on_processor : on_processor;
}

void engine_case_check(const char *name, const engine_case *c, double output, double gradient) {
    engine_errors e = engine_case_run(c);
    output = engine_case_bound(output);
    gradient = engine_case_bound(gradient);
    print_message("%s: infer %.1e train %.1e d_input %.1e d_weights %.1e (norm %.1e)\n", name, e.infer,
                  e.train, e.d_input, e.d_weights, e.d_norm);
    char what[128];
    snprintf(what, sizeof what, "%s: output (infer)", name);
    dukd_assert_error(what, e.infer, output);
    snprintf(what, sizeof what, "%s: output (train)", name);
    dukd_assert_error(what, e.train, output);
    snprintf(what, sizeof what, "%s: input's gradient", name);
    dukd_assert_error(what, e.d_input, gradient);
    snprintf(what, sizeof what, "%s: parameters' gradients", name);
    dukd_assert_error(what, e.d_weights, gradient);
}
