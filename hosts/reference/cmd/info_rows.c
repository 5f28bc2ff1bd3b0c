/* Counting a network's costs, and timing it. */
#include "cmd/info_rows.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "common/checked.h"
#include "train/weights.h"

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Inference pads an image to the network's multiple: that is what an image of this size costs. */
static int32_t round_up(int64_t side, int64_t multiple) {
    return (int32_t)((side + multiple - 1) / multiple * multiple);
}

int dukd_info_count(const dukd_info_plan *plan, dukd_info_row *row, dukd_failure *f) {
    dukd_graph *graph = NULL;
    int status = dukd_model_build(&graph, &row->spec, f);
    if (status) return status;
    row->is_known = 1;
    row->parameters = dukd_graph_weights(graph);
    row->height = round_up(plan->height, dukd_graph_multiple(graph));
    row->width = round_up(plan->width, dukd_graph_multiple(graph));
    row->multiply_adds = dukd_graph_multiply_adds(graph, row->height, row->width);
    status = dukd_graph_check_size(graph, row->height, row->width, f);
    dukd_graph_destroy(graph);
    return status;
}

/* One warm-up, then the timed runs; where time limits them and the warm-up alone takes as long, one. */
static int time_runs(const dukd_info_plan *plan, dukd_exec *exec, const float *input, float *output,
                     dukd_info_speed *out, dukd_failure *f) {
    double times[DUKD_INFO_MAX_RUNS];
    float *outputs[1] = {output};
    const int64_t most = plan->runs ? plan->runs : DUKD_INFO_MAX_RUNS;
    int status = dukd_exec_forward(exec, 1, input, outputs, f);
    const double end = now() + plan->seconds;
    int32_t n = 0;
    while (status == DUKD_DONE && n < most && (!n || plan->runs || now() < end)) {
        const double start = now();
        status = dukd_exec_forward(exec, 1, input, outputs, f);
        times[n++] = now() - start;
    }
    if (status) return status;
    qsort(times, (size_t)n, sizeof *times, by_value);
    out->median = n % 2 ? times[n / 2] : 0.5 * (times[n / 2 - 1] + times[n / 2]);
    out->runs = n;
    return DUKD_DONE;
}

static int measure(const dukd_info_plan *plan, const dukd_graph *g, dukd_precision precision,
                   dukd_info_row *row, dukd_failure *f) {
    dukd_engine *engine = NULL;
    dukd_network *network = NULL;
    dukd_exec *exec = NULL;
    float *input = NULL, *output = NULL, *weights = dukd_weights_alloc(dukd_graph_weights(g));
    const dukd_value last = dukd_graph_output(g);
    int64_t in = dukd_graph_op(g, 0)->channels, out = dukd_graph_op(g, last)->channels, size[2], held = 0;
    const dukd_exec_spec spec = {
        .purpose = DUKD_INFER, .batch = 1, .height = row->height, .width = row->width};
    int status = DUKD_DONE;
    dukd_graph_size(g, last, row->height, row->width, size);
    if (dukd_checked_mul(in, row->height, &in) && dukd_checked_mul(in, row->width, &in))
        input = dukd_weights_alloc(in);
    if (dukd_checked_mul(out, size[0], &out) && dukd_checked_mul(out, size[1], &out))
        output = dukd_weights_alloc(out);
    if (!weights || !input || !output) {
        status = dukd_fail_memory(f, "an image of this size", (unsigned long long)out * sizeof *output);
        goto end;
    }
    for (int64_t i = 0; i < in; i++) input[i] = (float)(i % 251) / 250.0f;
    dukd_graph_init(g, 0, weights);
    if ((status = dukd_engine_create(&engine, plan->engine, (int32_t)plan->threads, f))) goto end;
    if ((status = dukd_network_create(&network, engine, g, precision, f))) goto end;
    if ((status = dukd_network_set_weights(network, weights, f))) goto end;
    if ((status = dukd_network_compile(network, &spec, &exec, f))) goto end;
    status = time_runs(plan, exec, input, output, &row->speed[precision], f);
    dukd_engine_memory(engine, &held, &row->speed[precision].memory);
end:
    dukd_network_destroy(network);
    dukd_engine_destroy(engine);
    free(weights);
    free(output);
    free(input);
    return status;
}

void dukd_info_measure(const dukd_info_plan *plan, dukd_precision precision, dukd_info_row *row) {
    dukd_info_speed *speed = &row->speed[precision];
    dukd_failure why = {0};
    dukd_graph *graph = NULL;
    int status = dukd_model_build(&graph, &row->spec, &why);
    if (status == DUKD_DONE) status = measure(plan, graph, precision, row, &why);
    dukd_graph_destroy(graph);
    if (status) *speed = (dukd_info_speed){.problem = why};
}
