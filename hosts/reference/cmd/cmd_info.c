/* dukd-host info: parameters, multiply-adds, memory and speed of the networks of an option file. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cmd/args.h"
#include "cmd/commands.h"
#include "common/json_out.h"
#include "train/run_options.h"
#include "train/weights.h"

typedef struct {
    int64_t height, width;
    double seconds; /* how long one network may be timed in one precision */
    int32_t no_speed, json;
    dukd_texts set, force;
} info_arguments;

enum { MAX_RUNS = 101 };

typedef struct {
    double median; /* seconds an image; 0: not measured */
    int32_t runs;
    int64_t memory; /* bytes the engine held at most */
} info_speed;

typedef struct {
    const char *role;
    const dukd_run_network *network;
    int64_t parameters, multiply_adds;
    info_speed speed[2]; /* by dukd_precision */
    dukd_engine_info engine;
} info_row;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* One warm-up, then runs until the time is up; a network whose warm-up alone takes that long is run once more. */
static int time_runs(dukd_exec *exec, const float *input, float *output, double seconds, info_speed *out,
                     dukd_failure *f) {
    double times[MAX_RUNS];
    float *outputs[1] = {output};
    int status = dukd_exec_forward(exec, 1, input, outputs, f);
    double end = now() + seconds;
    for (out->runs = 0; status == DUKD_DONE && out->runs < MAX_RUNS && (!out->runs || now() < end);
         out->runs++) {
        double start = now();
        status = dukd_exec_forward(exec, 1, input, outputs, f);
        times[out->runs] = now() - start;
    }
    if (status) return status;
    qsort(times, (size_t)out->runs, sizeof *times, by_value);
    out->median = times[out->runs / 2];
    return DUKD_DONE;
}

static int measure(const dukd_run_options *o, const info_arguments *a, const dukd_graph *g,
                   const float *weights, dukd_precision precision, info_row *row, dukd_failure *f) {
    dukd_engine *engine = NULL;
    dukd_network *network = NULL;
    dukd_exec *exec = NULL;
    int64_t channels = dukd_graph_op(g, 0)->channels, up = dukd_graph_upscale(g), held = 0;
    int64_t pixels = a->height * a->width;
    float *input = dukd_weights_alloc(channels * pixels);
    float *output = dukd_weights_alloc(dukd_graph_op(g, dukd_graph_output(g))->channels * pixels * up * up);
    const dukd_exec_spec spec = {
        .purpose = DUKD_INFER, .batch = 1, .height = (int32_t)a->height, .width = (int32_t)a->width};
    int status = DUKD_DONE;
    if (!input || !output) {
        status = dukd_fail_memory(f, "an image of this size", (unsigned long long)(pixels * up * up * 12));
        goto end;
    }
    for (int64_t i = 0; i < channels * pixels; i++) input[i] = (float)(i % 251) / 250.0f;
    if ((status = dukd_run_engine_create(&engine, o, f))) goto end;
    if ((status = dukd_network_create(&network, engine, g, precision, f))) goto end;
    if ((status = dukd_network_set_weights(network, weights, f))) goto end;
    if ((status = dukd_network_compile(network, &spec, &exec, f))) goto end;
    row->engine = *dukd_engine_get_info(engine);
    status = time_runs(exec, input, output, a->seconds, &row->speed[precision], f);
    dukd_engine_memory(engine, &held, &row->speed[precision].memory);
end:
    dukd_network_destroy(network);
    dukd_engine_destroy(engine);
    free(output);
    free(input);
    return status;
}

static int fill_row(const dukd_run_options *o, const info_arguments *a, info_row *row, dukd_failure *f) {
    dukd_graph *graph = NULL;
    float *weights = NULL;
    int status = dukd_model_build(&graph, &row->network->spec, f);
    if (status) return status;
    row->parameters = dukd_graph_weights(graph);
    row->multiply_adds = dukd_graph_multiply_adds(graph, a->height, a->width);
    if (a->no_speed) goto end;
    weights = dukd_weights_alloc(row->parameters);
    if (!weights) {
        status = dukd_fail_memory(f, "the weights", (unsigned long long)row->parameters * sizeof *weights);
        goto end;
    }
    dukd_graph_init(graph, 0, weights); /* the speed does not depend on what the weights are */
    for (int p = DUKD_F32; p <= DUKD_BF16 && status == DUKD_DONE; p++)
        status = measure(o, a, graph, weights, (dukd_precision)p, row, f);
end:
    free(weights);
    dukd_graph_destroy(graph);
    return status;
}

static void print_text(const info_arguments *a, const info_row *rows, int count) {
    printf("%-8s %-8s %14s %20s", "network", "type", "parameters", "multiply-adds (G)");
    if (!a->no_speed) printf("  %10s %10s %10s %10s", "f32 fps", "MiB", "bf16 fps", "MiB");
    printf("\n");
    for (int i = 0; i < count; i++) {
        const info_row *r = &rows[i];
        printf("%-8s %-8s %14lld %20.2f", r->role, r->network->spec.type->name, (long long)r->parameters,
               (double)r->multiply_adds / 1e9);
        for (int p = 0; p < 2 && !a->no_speed; p++)
            printf("%s %10.3f %10.1f", p ? "" : " ", 1 / r->speed[p].median,
                   (double)r->speed[p].memory / 1048576);
        printf("\n");
    }
    printf("\nfor one image of 3 x %lld x %lld; multiply-adds of convolutions", (long long)a->height,
           (long long)a->width);
    if (!a->no_speed) {
        printf("; median of up to %d runs after a warm-up (at most %g s each), %s, %s, %d threads%s",
               MAX_RUNS, a->seconds, rows[0].engine.library, rows[0].engine.instruction_set,
               rows[0].engine.threads,
               rows[0].engine.bf16 ? "" : "; this processor has no bf16, it is emulated");
    }
    printf("\n");
}

static int print_json(const info_arguments *a, const info_row *rows, int count, dukd_failure *f) {
    dukd_json j = dukd_json_begin(stdout);
    dukd_json_object(&j, NULL);
    dukd_json_integer(&j, "height", a->height);
    dukd_json_integer(&j, "width", a->width);
    dukd_json_array(&j, "networks");
    for (int i = 0; i < count; i++) {
        char spec[1024];
        dukd_model_spec_text(&rows[i].network->spec, spec, sizeof spec);
        dukd_json_object(&j, NULL);
        dukd_json_text(&j, "role", rows[i].role);
        dukd_json_text(&j, "network", spec);
        dukd_json_integer(&j, "parameters", rows[i].parameters);
        dukd_json_integer(&j, "multiply_adds", rows[i].multiply_adds);
        for (int p = 0; p < 2 && !a->no_speed; p++) {
            dukd_json_object(&j, p ? "bf16" : "f32");
            dukd_json_number(&j, "frames_per_second", 1 / rows[i].speed[p].median);
            dukd_json_integer(&j, "runs", rows[i].speed[p].runs);
            dukd_json_integer(&j, "peak_bytes", rows[i].speed[p].memory);
            dukd_json_close(&j);
        }
        dukd_json_close(&j);
    }
    dukd_json_close(&j);
    if (!a->no_speed) {
        dukd_json_text(&j, "library", rows[0].engine.library);
        dukd_json_text(&j, "instruction_set", rows[0].engine.instruction_set);
        dukd_json_integer(&j, "threads", rows[0].engine.threads);
    }
    dukd_json_close(&j);
    return dukd_json_end(&j, "standard output", f);
}

static int parse_size(const char *text, info_arguments *a, dukd_failure *f) {
    char extra;
    long long h, w;
    if (sscanf(text, "%lldx%lld%c", &h, &w, &extra) != 2 || h < 1 || w < 1 || h > 65500 || w > 65500)
        return dukd_fail(f, DUKD_MISUSED, "--size wants HEIGHTxWIDTH of at most 65500, as 256x256, not '%s'",
                         text);
    a->height = h;
    a->width = w;
    return DUKD_DONE;
}

static int run(const char *file, const info_arguments *a, dukd_failure *f) {
    dukd_run_options *o = NULL;
    const dukd_run_overrides overrides = {a->set.items, a->set.count, a->force.items, a->force.count};
    info_row rows[2] = {{0}, {0}};
    int count = 0;
    int status = dukd_run_options_read(&o, file, &overrides, NULL, f);
    if (status) return status;
    if (o->student.is_set) rows[count++] = (info_row){.role = "student", .network = &o->student};
    if (o->teacher.is_set) rows[count++] = (info_row){.role = "teacher", .network = &o->teacher};
    if (!count)
        status = dukd_fail(f, DUKD_MISUSED, "%s: has neither network_g nor network_t: nothing to tell about",
                           file);
    for (int i = 0; i < count && status == DUKD_DONE; i++) status = fill_row(o, a, &rows[i], f);
    if (status == DUKD_DONE && a->json)
        status = print_json(a, rows, count, f);
    else if (status == DUKD_DONE)
        print_text(a, rows, count);
    dukd_run_options_destroy(o);
    return status;
}

int dukd_cmd_info(int argc, char **argv) {
    info_arguments a = {.height = 256, .width = 256, .seconds = 5};
    const char *size = NULL;
    dukd_texts files = {0};
    dukd_failure f = {0};
    const dukd_arg args[] = {
        {"--size", NULL, DUKD_ARG_TEXT, "HxW", "size of the input image (256x256)", &size},
        {"--seconds", NULL, DUKD_ARG_NUMBER, "S", "time for each network and precision (5)", &a.seconds},
        {"--no-speed", NULL, DUKD_ARG_FLAG, NULL, "count only, run nothing", &a.no_speed},
        {"--json", NULL, DUKD_ARG_FLAG, NULL, "print JSON, for a program", &a.json},
        {"--set", NULL, DUKD_ARG_TEXTS, "KEY=VALUE", "replace a key of the option file", &a.set},
        {"--force_yml", NULL, DUKD_ARG_MANY, "KEY:KEY=VALUE", "the same in BasicSR's spelling", &a.force},
    };
    const dukd_command command = {
        .command = "info",
        .summary = "Parameters, multiply-adds, memory and frames per second of an option file's networks.",
        .positionals = "OPT.yml",
        .example = "dukd-host info yaml/demo/dukd.yml\n"
                   "dukd-host info yaml/demo/dukd.yml --size 339x510 --set network_g.num_feat=32",
        .min_positionals = 1,
        .max_positionals = 1,
        .args = args,
        .arg_count = sizeof args / sizeof *args,
    };
    int status = dukd_args_parse(&command, argc, argv, &files, &f);
    if (status == DUKD_DONE && size) status = parse_size(size, &a, &f);
    if (status == DUKD_DONE && a.seconds <= 0)
        status = dukd_fail(&f, DUKD_MISUSED, "--seconds wants a number above 0");
    if (status == DUKD_DONE) status = run(files.items[0], &a, &f);
    dukd_texts_free(&a.set);
    dukd_texts_free(&a.force);
    dukd_texts_free(&files);
    return dukd_command_end("info", status, &f);
}
