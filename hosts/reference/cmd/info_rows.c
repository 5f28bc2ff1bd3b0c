/* Counting a network's costs, and timing it. */
#include "cmd/info_rows.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "common/checked.h"
#include "engine/mirror.h"

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

/* One run from the processor's memory to the processor's. */
static int run_once(dukd_exec *exec, const dukd_mirror *input, const dukd_mirror *output, dukd_failure *f) {
    int status = dukd_mirror_up(input, input->count, f);
    if (status == DUKD_DONE)
        status = dukd_exec_forward(exec, 1, input->there, (float *const[]){output->there}, f);
    return status ? status : dukd_mirror_down(output, output->count, f);
}

/* One warm-up, then the timed runs; where time limits them and the warm-up alone takes as long, one. */
static int time_runs(const dukd_info_plan *plan, dukd_exec *exec, const dukd_mirror *input,
                     const dukd_mirror *output, dukd_info_speed *out, dukd_failure *f) {
    double times[DUKD_INFO_MAX_RUNS];
    const int64_t most = plan->runs ? plan->runs : DUKD_INFO_MAX_RUNS;
    int status = run_once(exec, input, output, f);
    const double end = now() + plan->seconds;
    int32_t n = 0;
    while (status == DUKD_DONE && n < most && (!n || plan->runs || now() < end)) {
        const double start = now();
        status = run_once(exec, input, output, f);
        times[n++] = now() - start;
    }
    if (status) return status;
    qsort(times, (size_t)n, sizeof *times, by_value);
    out->median = n % 2 ? times[n / 2] : 0.5 * (times[n / 2 - 1] + times[n / 2]);
    out->runs = n;
    return DUKD_DONE;
}

/* channels x height x width, or -1 where that is no number. */
static int64_t elements(int64_t channels, int64_t height, int64_t width) {
    int64_t n = channels;
    return dukd_checked_mul(n, height, &n) && dukd_checked_mul(n, width, &n) ? n : -1;
}

static int make_images(dukd_engine *e, const dukd_graph *g, const dukd_info_row *row, dukd_mirror *input,
                       dukd_mirror *output, dukd_failure *f) {
    static const char what[] = "an image of this size";
    const dukd_value last = dukd_graph_output(g);
    int64_t size[2];
    dukd_graph_size(g, last, row->height, row->width, size);
    const int64_t in = elements(dukd_graph_op(g, 0)->channels, row->height, row->width),
                  out = elements(dukd_graph_op(g, last)->channels, size[0], size[1]);
    int status = dukd_mirror_create(input, e, in, what, f);
    if (status == DUKD_DONE) status = dukd_mirror_create(output, e, out, what, f);
    for (int64_t i = 0; i < in && status == DUKD_DONE; i++) input->host[i] = (float)(i % 251) / 250.0f;
    return status;
}

static int measure(const dukd_info_plan *plan, const dukd_graph *g, dukd_precision precision,
                   dukd_info_row *row, dukd_failure *f) {
    dukd_engine *engine = NULL;
    dukd_network *network = NULL;
    dukd_exec *exec = NULL;
    dukd_mirror input = {0}, output = {0}, weights = {0};
    int64_t held = 0;
    const dukd_exec_spec spec = {
        .purpose = DUKD_INFER, .batch = 1, .height = row->height, .width = row->width};
    int status = dukd_engine_open(&engine, &plan->engine, f);
    if (status == DUKD_DONE) status = make_images(engine, g, row, &input, &output, f);
    if (status == DUKD_DONE)
        status = dukd_mirror_create(&weights, engine, dukd_graph_weights(g), "a network's weights", f);
    if (status) goto end;
    dukd_graph_init(g, 0, weights.host);
    if ((status = dukd_mirror_up(&weights, weights.count, f))) goto end;
    if ((status = dukd_network_create(&network, engine, g, precision, f))) goto end;
    if ((status = dukd_network_set_weights(network, weights.there, f))) goto end;
    if ((status = dukd_network_compile(network, &spec, &exec, f))) goto end;
    status = time_runs(plan, exec, &input, &output, &row->speed[precision], f);
    dukd_engine_memory(engine, &held, &row->speed[precision].memory);
end:
    dukd_network_destroy(network);
    dukd_mirror_free(&weights);
    dukd_mirror_free(&output);
    dukd_mirror_free(&input);
    dukd_engine_destroy(engine);
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
