/* dukd-bench-engine: the engine's time against the bare convolutions of the same work, in the same run.
 *
 *     step     one DUKD step at x4: teacher EDSR 64c32b forward, student EDSR 16c32b forward and backward, each on x and x_zi (N x 48 x 48)
 *              and x_zo (N x 12 x 12); the student's weights are packed anew, as after an optimizer's step
 *     infer    EDSR 64c32b on a part of a large image
 *     networks the six networks of the paper's Table 1, see bench_networks.h
 *
 * --cpu counts the processor time of one thread instead of seconds, for machines that others use at the same time.
 *
 * Rounds alternate between the two sides and the best of each counts, so that neither has the quieter machine. */
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/bench/bare_convs.h"
#include "engine/bench/bench_clock.h"
#include "engine/bench/bench_edsr.h"
#include "engine/bench/bench_networks.h"
#include "engine/bench/fma_peak.h"
#include "engine/engine.h"

enum { TEACHER, STUDENT, STUDENT_DATA, STUDENT_WEIGHTS, GROUPS };
static const char *const group_names[GROUPS] = {"teacher forward", "student forward", "student data gradient",
                                                "student weight gradient"};

typedef struct {
    dukd_precision precision;
    int32_t rounds, threads, batch, patch;
    int32_t height, width; /* infer */
    int verbose, step, infer, networks, profile, only_infer, only_train;
    const char *only;
} options;

static float *floats(int64_t count) {
    float *p = malloc((size_t)count * sizeof *p);
    if (!p) {
        fprintf(stderr, "dukd-bench-engine: out of memory\n");
        exit(1);
    }
    for (int64_t i = 0; i < count; i++) p[i] = (float)(i * 2654435761u % 1000) / 1000.f;
    return p;
}

static int stop(const dukd_failure *f) {
    fprintf(stderr, "dukd-bench-engine: %s\n", f->message);
    return f->status ? f->status : 1;
}

/* ---- one step ---- */

enum { INPUTS = 3, SCALE = 4 };

typedef struct {
    dukd_graph *graph[2];
    dukd_network *network[2];
    float *weights[2], *d_weights;
    dukd_exec *teacher[INPUTS], *student[INPUTS];
    float *input[INPUTS], *teacher_out[INPUTS], *student_out[INPUTS], *d_out[INPUTS];
    double seconds[3][INPUTS]; /* the best of teacher, student forward, student backward on each input */
    double whole;              /* the best of a whole step */
} step_bench;

static int compile_step(step_bench *b, dukd_engine *e, const options *o, dukd_failure *f) {
    for (int k = 0; k < 2; k++) {
        b->graph[k] = dukd_bench_edsr(k ? "16" : "64", "32", f);
        if (!b->graph[k]) return f->status;
        int status = dukd_network_create(&b->network[k], e, b->graph[k], o->precision, f);
        if (status != DUKD_DONE) return status;
        b->weights[k] = floats(dukd_graph_weights(b->graph[k]));
        dukd_graph_init(b->graph[k], 1, b->weights[k]);
        status = dukd_network_set_weights(b->network[k], b->weights[k], f);
        if (status != DUKD_DONE) return status;
    }
    b->d_weights = floats(dukd_graph_weights(b->graph[1]));
    for (int i = 0; i < INPUTS; i++) {
        int32_t side = i < 2 ? o->patch : (o->patch + SCALE - 1) / SCALE;
        dukd_exec_spec spec = {.purpose = DUKD_INFER, .batch = o->batch, .height = side, .width = side};
        int status = dukd_network_compile(b->network[0], &spec, &b->teacher[i], f);
        spec.purpose = DUKD_TRAIN;
        if (status == DUKD_DONE) status = dukd_network_compile(b->network[1], &spec, &b->student[i], f);
        if (status != DUKD_DONE) return status;
        int64_t pixels = (int64_t)o->batch * 3 * side * side;
        b->input[i] = floats(pixels);
        b->teacher_out[i] = floats(pixels * SCALE * SCALE);
        b->student_out[i] = floats(pixels * SCALE * SCALE);
        b->d_out[i] = floats(pixels * SCALE * SCALE);
    }
    for (int k = 0; k < 3; k++)
        for (int i = 0; i < INPUTS; i++) b->seconds[k][i] = INFINITY;
    b->whole = INFINITY;
    return DUKD_DONE;
}

static void note(double *best, double begin) {
    double took = dukd_bench_now() - begin;
    if (took < *best) *best = took;
}

static int run_step(step_bench *b, const options *o, dukd_failure *f) {
    double whole = dukd_bench_now();
    int status = dukd_network_set_weights(b->network[1], b->weights[1], f);
    for (int i = 0; i < INPUTS && status == DUKD_DONE; i++) {
        double begin = dukd_bench_now();
        status = dukd_exec_forward(b->teacher[i], o->batch, b->input[i], &b->teacher_out[i], f);
        note(&b->seconds[0][i], begin);
        begin = dukd_bench_now();
        if (status == DUKD_DONE)
            status = dukd_exec_forward(b->student[i], o->batch, b->input[i], &b->student_out[i], f);
        note(&b->seconds[1][i], begin);
        begin = dukd_bench_now();
        const float *d = b->d_out[i];
        if (status == DUKD_DONE) status = dukd_exec_backward(b->student[i], &d, b->d_weights, NULL, f);
        note(&b->seconds[2][i], begin);
    }
    note(&b->whole, whole);
    return status;
}

static int add_bare(dukd_bare_convs *bare, const step_bench *b, const options *o, dukd_failure *f) {
    int status = DUKD_DONE;
    for (int i = 0; i < 2 && status == DUKD_DONE; i++) {
        int32_t side = i == 0 ? o->patch : (o->patch + SCALE - 1) / SCALE;
        double times = i == 0 ? 2 : 1;
        status = dukd_bare_add(bare, TEACHER, b->graph[0], DUKD_CONV_FORWARD, o->batch, side, side, times, f);
        if (status == DUKD_DONE)
            status =
                dukd_bare_add(bare, STUDENT, b->graph[1], DUKD_CONV_FORWARD, o->batch, side, side, times, f);
        if (status == DUKD_DONE)
            status = dukd_bare_add(bare, STUDENT_DATA, b->graph[1], DUKD_CONV_DATA_GRADIENT, o->batch, side,
                                   side, times, f);
        if (status == DUKD_DONE)
            status = dukd_bare_add(bare, STUDENT_WEIGHTS, b->graph[1], DUKD_CONV_WEIGHTS_GRADIENT, o->batch,
                                   side, side, times, f);
    }
    return status;
}

static void report_step(const step_bench *b, const dukd_bare_convs *bare, const options *o, double peak) {
    double total = 0, adds = 0;
    for (int g = 0; g < GROUPS; g++) {
        double seconds = dukd_bare_seconds(bare, g);
        printf("  bare   %-24s %7.3f s  %5.1f %% of the FMA peak\n", group_names[g], seconds,
               peak > 0 ? 100 * dukd_bare_multiply_adds(bare, g) / seconds / peak : 0.);
        total += seconds;
        adds += dukd_bare_multiply_adds(bare, g);
    }
    const char *const names[3] = {"teacher forward", "student forward", "student backward"};
    double bare_of[3] = {dukd_bare_seconds(bare, TEACHER), dukd_bare_seconds(bare, STUDENT),
                         dukd_bare_seconds(bare, STUDENT_DATA) + dukd_bare_seconds(bare, STUDENT_WEIGHTS)};
    double engine = 0;
    for (int k = 0; k < 3; k++) {
        const double *s = b->seconds[k];
        double sum = s[0] + s[1] + s[2];
        printf("  engine %-24s %7.3f s  %.3f x bare (%.1f + %.1f + %.1f ms)\n", names[k], sum,
               sum / bare_of[k], s[0] * 1e3, s[1] * 1e3, s[2] * 1e3);
        engine += sum;
    }
    printf(
        "step %s: engine %.3f s (best of a whole step %.3f s), bare convolutions %.3f s: %.3f x (limit 1.2); "
        "%.1f %% of the FMA peak\n",
        o->precision == DUKD_BF16 ? "bf16" : "f32", engine, b->whole, total, engine / total,
        peak > 0 ? 100 * adds / engine / peak : 0.);
}

static int bench_step(dukd_engine *e, const options *given, double peak, dukd_failure *f) {
    options whole = *given, *o = &whole;
    if (!o->batch) o->batch = 16;
    step_bench *b = calloc(1, sizeof *b);
    dukd_bare_convs *bare = NULL;
    if (!b) return dukd_fail_memory(f, "a benchmark", sizeof *b);
    int status = dukd_bare_create(&bare, o->precision == DUKD_BF16 ? DUKD_TYPE_BF16 : DUKD_TYPE_F32, f);
    if (status == DUKD_DONE) status = compile_step(b, e, o, f);
    if (status == DUKD_DONE) status = add_bare(bare, b, o, f);
    for (int r = 0; r < o->rounds && status == DUKD_DONE; r++) {
        status = dukd_bare_measure(bare, f);
        if (status == DUKD_DONE) status = run_step(b, o, f);
    }
    if (status == DUKD_DONE) {
        if (o->verbose) dukd_bare_print(bare);
        report_step(b, bare, o, peak);
        int64_t now, most;
        dukd_engine_memory(e, &now, &most);
        printf("  engine's memory: %.1f MiB\n", (double)most / (1 << 20));
    }
    dukd_bare_destroy(bare);
    for (int k = 0; k < 2; k++) {
        dukd_network_destroy(b->network[k]);
        dukd_graph_destroy(b->graph[k]);
        free(b->weights[k]);
    }
    for (int i = 0; i < INPUTS; i++) {
        free(b->input[i]);
        free(b->teacher_out[i]);
        free(b->student_out[i]);
        free(b->d_out[i]);
    }
    free(b->d_weights);
    free(b);
    return status;
}

/* ---- inference ---- */

static int bench_infer(dukd_engine *e, const options *given, double peak, dukd_failure *f) {
    options whole = *given, *o = &whole;
    if (!o->height) o->height = 339;
    if (!o->width) o->width = 510;
    enum { PART = 4 }; /* bare convolutions see a part of the image: their memory is not bounded */
    dukd_bare_convs *bare = NULL;
    dukd_network *n = NULL;
    dukd_exec *x = NULL;
    dukd_graph *g = dukd_bench_edsr("64", "32", f);
    if (!g) return f->status;
    float *weights = floats(dukd_graph_weights(g));
    int64_t pixels = 3 * (int64_t)o->height * o->width;
    float *in = floats(pixels), *out = floats(pixels * SCALE * SCALE);
    dukd_graph_init(g, 1, weights);
    dukd_exec_spec spec = {.purpose = DUKD_INFER, .batch = 1, .height = o->height, .width = o->width};
    int32_t height = (o->height + PART - 1) / PART, width = (o->width + PART - 1) / PART;
    double share = (double)o->height * o->width / ((double)height * width);
    int status = dukd_bare_create(&bare, o->precision == DUKD_BF16 ? DUKD_TYPE_BF16 : DUKD_TYPE_F32, f);
    if (status == DUKD_DONE)
        status = dukd_bare_add(bare, 0, g, DUKD_CONV_FORWARD, 1, height, width, share, f);
    if (status == DUKD_DONE) status = dukd_network_create(&n, e, g, o->precision, f);
    if (status == DUKD_DONE) status = dukd_network_set_weights(n, weights, f);
    if (status == DUKD_DONE) status = dukd_network_compile(n, &spec, &x, f);
    double best = INFINITY;
    for (int r = 0; r < o->rounds && status == DUKD_DONE; r++) {
        status = dukd_bare_measure(bare, f);
        double begin = dukd_bench_now();
        if (status == DUKD_DONE) status = dukd_exec_forward(x, 1, in, &out, f);
        double took = dukd_bench_now() - begin;
        if (took < best) best = took;
    }
    if (status == DUKD_DONE) {
        if (o->verbose) dukd_bare_print(bare);
        double seconds = dukd_bare_seconds(bare, 0);
        int64_t now, most;
        dukd_engine_memory(e, &now, &most);
        printf("infer %s %d x %d: engine %.3f s, bare convolutions %.3f s: %.3f x (limit 1.25); %.1f %% of "
               "the FMA peak; "
               "%.1f MiB\n",
               o->precision == DUKD_BF16 ? "bf16" : "f32", (int)o->width, (int)o->height, best, seconds,
               best / seconds, peak > 0 ? 100 * dukd_bare_multiply_adds(bare, 0) / best / peak : 0.,
               (double)most / (1 << 20));
    }
    dukd_bare_destroy(bare);
    dukd_network_destroy(n);
    dukd_graph_destroy(g);
    free(weights);
    free(in);
    free(out);
    return status;
}

static const char usage[] =
    "usage: dukd-bench-engine [step|infer|networks]... [--bf16] [--rounds N] [--threads N] [--batch N] "
    "[--patch N]\n"
    "                         [--size WIDTHxHEIGHT] [--cpu] [--verbose]\n"
    "       of networks also: [--only NAME] [--only-infer] [--only-train] [--profile]\n"
    "Times the engine against oneDNN's bare convolutions. Example: dukd-bench-engine step --bf16 --rounds "
    "5\n";

static int read_options(options *o, int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        const char *a = argv[i];
        int *number = strcmp(a, "--rounds") == 0    ? &o->rounds
                      : strcmp(a, "--threads") == 0 ? &o->threads
                      : strcmp(a, "--batch") == 0   ? &o->batch
                      : strcmp(a, "--patch") == 0   ? &o->patch
                                                    : NULL;
        if (strcmp(a, "step") == 0) {
            o->step = 1;
        } else if (strcmp(a, "infer") == 0) {
            o->infer = 1;
        } else if (strcmp(a, "networks") == 0) {
            o->networks = 1;
        } else if (strcmp(a, "--profile") == 0) {
            o->profile = 1;
        } else if (strcmp(a, "--only-infer") == 0) {
            o->only_infer = 1;
        } else if (strcmp(a, "--only-train") == 0) {
            o->only_train = 1;
        } else if (strcmp(a, "--only") == 0 && i + 1 < argc) {
            o->only = argv[++i];
        } else if (strcmp(a, "--bf16") == 0) {
            o->precision = DUKD_BF16;
        } else if (strcmp(a, "--cpu") == 0) {
            dukd_bench_count_cpu();
            o->threads = 1;
        } else if (strcmp(a, "--verbose") == 0) {
            o->verbose = 1;
        } else if (number && i + 1 < argc) {
            *number = atoi(argv[++i]);
        } else if (strcmp(a, "--size") == 0 && i + 1 < argc) {
            if (sscanf(argv[++i], "%dx%d", &o->width, &o->height) != 2) return 0;
        } else {
            return 0;
        }
    }
    if (!o->step && !o->infer && !o->networks) o->step = 1;
    return o->rounds > 0 && o->batch >= 0 && o->patch > 0 && o->height >= 0 && o->width >= 0 &&
           o->threads >= 0;
}

int main(int argc, char **argv) {
    options o = {.rounds = 5, .patch = 48};
    if (!read_options(&o, argc, argv)) {
        fputs(usage, stderr);
        return 2;
    }
    dukd_failure f = {0};
    dukd_engine *e = NULL;
    if (dukd_engine_create(&e, "onednn", o.threads, &f) != DUKD_DONE) return stop(&f);
    const dukd_engine_info *info = dukd_engine_get_info(e);
    omp_set_num_threads(info->threads);
    double peak = dukd_fma_peak(info->threads, o.precision == DUKD_BF16);
    printf("%s, %s, %d threads; FMA peak %.1f G multiply-adds/s (%s)\n", info->library, info->instruction_set,
           (int)info->threads, peak * 1e-9, o.precision == DUKD_BF16 ? "bf16" : "f32");
    int status = o.step ? bench_step(e, &o, peak, &f) : DUKD_DONE;
    if (status == DUKD_DONE && o.infer) status = bench_infer(e, &o, peak, &f);
    if (status == DUKD_DONE && o.networks) {
        dukd_bench_network_options n = {.precision = o.precision,
                                        .rounds = o.rounds,
                                        .batch = o.batch,
                                        .patch = o.patch,
                                        .height = o.height ? o.height : 256,
                                        .width = o.width ? o.width : 256,
                                        .only = o.only,
                                        .infer = !o.only_train,
                                        .train = !o.only_infer,
                                        .verbose = o.verbose,
                                        .profile = o.profile};
        status = dukd_bench_networks(e, &n, peak, &f);
    }
    dukd_engine_destroy(e);
    return status == DUKD_DONE ? 0 : stop(&f);
}
