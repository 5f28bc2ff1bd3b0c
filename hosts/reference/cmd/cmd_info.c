/* dukd-host info: parameters, multiply-adds, memory and speed of the networks of an option file, of a weights file, or of the
 * paper's Table 1. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cmd/args.h"
#include "cmd/commands.h"
#include "cmd/info_rows.h"
#include "train/file_network.h"
#include "train/run_options.h"

typedef struct {
    dukd_info_plan plan;
    int32_t table1, json, quiet, only_counts;
    const char *precision; /* NULL: both */
    const char *engine;    /* NULL: not given */
    const char *model;     /* a weights file that says which network it is for; NULL: none */
    double seconds;        /* less than 0: not given */
    dukd_texts set, force;
} info_arguments;

enum { MAX_ROWS = DUKD_INFO_TABLE1 };

/* The networks of the option file. */
static int rows_of_file(const dukd_run_options *o, const info_arguments *a, dukd_info_row *rows,
                        int32_t *count, dukd_failure *f) {
    const struct {
        const char *name;
        const dukd_run_network *network;
    } both[] = {{"student", &o->student}, {"teacher", &o->teacher}};
    int status = DUKD_DONE;
    for (int i = 0; i < 2 && status == DUKD_DONE; i++) {
        if (!both[i].network->is_set) continue;
        dukd_info_row *row = &rows[(*count)++];
        *row = (dukd_info_row){.spec = both[i].network->spec};
        snprintf(row->name, sizeof row->name, "%s", both[i].name);
        status = dukd_info_count(&a->plan, row, f);
    }
    if (status == DUKD_DONE && !*count)
        status = dukd_fail(f, DUKD_MISUSED, "%s: has neither network_g nor network_t: nothing to tell about",
                           o->file);
    return status;
}

/* The network that a weights file names as its own. */
static int row_of_model(const info_arguments *a, dukd_info_row *row, int32_t *count, dukd_failure *f) {
    *row = (dukd_info_row){.name = "network"};
    *count = 1;
    int status = dukd_file_network(a->model, &row->spec, f);
    return status ? status : dukd_info_count(&a->plan, row, f);
}

/* Networks that this host does not have stay in the table, with the reason. */
static void rows_of_table1(const info_arguments *a, dukd_info_row *rows) {
    dukd_info_table1(rows);
    for (int i = 0; i < DUKD_INFO_TABLE1; i++)
        if (rows[i].is_known && dukd_info_count(&a->plan, &rows[i], &rows[i].problem)) rows[i].is_known = 0;
}

static void measure_all(const info_arguments *a, dukd_info_row *rows, int32_t count) {
    const int show = !a->quiet && isatty(STDERR_FILENO);
    for (int32_t i = 0; i < count; i++)
        for (int p = DUKD_F32; p <= DUKD_BF16; p++) {
            if (!rows[i].is_known || !a->plan.measured[p]) continue;
            if (show) fprintf(stderr, "\r\033[K%s, %s ...", rows[i].name, p == DUKD_F32 ? "f32" : "bf16");
            dukd_info_measure(&a->plan, (dukd_precision)p, &rows[i]);
        }
    if (show) fprintf(stderr, "\r\033[K");
}

/* What was asked for and could not be done is in the table; the exit status says so too. */
static int count_problems(const dukd_info_row *rows, int32_t count, dukd_failure *f) {
    int32_t wrong = 0;
    for (int32_t i = 0; i < count; i++)
        wrong += rows[i].problem.status || rows[i].speed[0].problem.status || rows[i].speed[1].problem.status;
    if (!wrong) return DUKD_DONE;
    return dukd_fail(f, DUKD_FAILED, "%d of %d networks: see the reasons in the table", (int)wrong,
                     (int)count);
}

/* Reads the file where there is one, and makes an engine where one is needed: for what it says of itself, and so that a
 * wrong name of one is an error of the file. */
static int open_engine(const char *file, info_arguments *a, dukd_run_options **o, dukd_engine **engine,
                       dukd_failure *f) {
    const dukd_run_overrides overrides = {a->set.items, a->set.count, a->force.items, a->force.count};
    int status = file ? dukd_run_options_read(o, file, &overrides, NULL, f) : DUKD_DONE;
    if (!status && *o) status = dukd_run_options_for_engine(*o, a->engine, f);
    if (status) return status;
    for (int32_t i = 0; *o && i < (*o)->note_count && !a->quiet; i++)
        fprintf(stderr, "dukd-host info: %s\n", (*o)->notes[i]);
    if (*o && a->plan.threads >= 0) (*o)->threads = (int32_t)a->plan.threads;
    a->plan.threads = *o ? (*o)->threads : a->plan.threads < 0 ? 0 : a->plan.threads;
    a->plan.engine = (dukd_engine_options){.name = a->engine ? a->engine
                                                   : *o      ? (*o)->engine
                                                             : "auto",
                                           .threads = (int32_t)a->plan.threads,
                                           .device = *o ? (*o)->device : -1,
                                           .tf32 = *o ? (*o)->tf32 : 0};
    if (a->only_counts) return DUKD_DONE;
    dukd_failure why = {0};
    status =
        *o ? dukd_run_engine_create(engine, *o, NULL, &why) : dukd_engine_open(engine, &a->plan.engine, &why);
    if (status == DUKD_DONE) return DUKD_DONE;
    return dukd_fail(f, status, "%s%s", a->engine && !*o ? "--engine: " : "", why.message);
}

static int run(const char *file, info_arguments *a, dukd_failure *f) {
    dukd_info_row rows[MAX_ROWS];
    dukd_run_options *o = NULL;
    dukd_engine *engine = NULL;
    int32_t count = 0;
    int status = open_engine(file, a, &o, &engine, f);
    if (status == DUKD_DONE && o) status = rows_of_file(o, a, rows, &count, f);
    if (status == DUKD_DONE && a->model) status = row_of_model(a, rows, &count, f);
    if (status) goto end;
    if (a->table1) {
        rows_of_table1(a, rows);
        count = DUKD_INFO_TABLE1;
    }
    const dukd_engine_info *info = engine ? dukd_engine_get_info(engine) : NULL;
    if (engine) measure_all(a, rows, count);
    if (a->json)
        status = dukd_info_print_json(&a->plan, rows, count, info, f);
    else
        dukd_info_print_text(&a->plan, rows, count, info);
    if (status == DUKD_DONE) status = count_problems(rows, count, f);
end:
    dukd_engine_destroy(engine);
    dukd_run_options_destroy(o);
    return status;
}

/* ---- arguments ---- */

static int parse_size(const char *text, dukd_info_plan *plan, dukd_failure *f) {
    char extra;
    long long h, w;
    if (sscanf(text, "%lldx%lld%c", &h, &w, &extra) != 2 || h < 1 || w < 1 || h > 65500 || w > 65500)
        return dukd_fail(f, DUKD_MISUSED, "--size wants HEIGHTxWIDTH of at most 65500, as 256x256, not '%s'",
                         text);
    plan->height = h;
    plan->width = w;
    return DUKD_DONE;
}

static int check(info_arguments *a, const dukd_texts *files, int64_t runs, int64_t threads, dukd_failure *f) {
    const int sources = (a->table1 != 0) + (a->model != NULL) + (files->count != 0);
    if (!sources)
        return dukd_fail(f, DUKD_MISUSED,
                         "which networks? give OPT.yml, -m NET.safetensors, or --table1 for the paper's");
    if (sources > 1 || (!files->count && (a->set.count || a->force.count)))
        return dukd_fail(f, DUKD_MISUSED, "%s has networks of its own: no OPT.yml, no --set",
                         a->table1 ? "--table1" : "-m");
    if (a->seconds >= 0 && runs != INT64_MIN)
        return dukd_fail(f, DUKD_MISUSED, "--runs and --seconds: choose one");
    if (a->seconds == 0 || (a->seconds < 0 && a->seconds != -1))
        return dukd_fail(f, DUKD_MISUSED, "--seconds wants a number above 0");
    if (runs != INT64_MIN && (runs < 1 || runs > DUKD_INFO_MAX_RUNS))
        return dukd_fail(f, DUKD_MISUSED, "--runs wants 1 to %d, not %lld", DUKD_INFO_MAX_RUNS,
                         (long long)runs);
    if (threads != INT64_MIN && (threads < 0 || threads > 1024))
        return dukd_fail(f, DUKD_MISUSED, "--threads wants 0 (all) to 1024, not %lld", (long long)threads);
    if (a->precision && strcmp(a->precision, "f32") != 0 && strcmp(a->precision, "bf16") != 0)
        return dukd_fail(f, DUKD_MISUSED, "--precision is f32 or bf16, not '%s'", a->precision);
    for (int p = DUKD_F32; p <= DUKD_BF16; p++)
        a->plan.measured[p] =
            !a->only_counts && (!a->precision || (strcmp(a->precision, "bf16") == 0) == (p == DUKD_BF16));
    if (a->seconds > 0) a->plan.seconds = a->seconds;
    a->plan.runs = runs == INT64_MIN ? 0 : runs;
    a->plan.threads = threads == INT64_MIN ? -1 : threads; /* -1: what the option file says */
    return DUKD_DONE;
}

int dukd_cmd_info(int argc, char **argv) {
    info_arguments a = {.plan = {.height = 256, .width = 256, .seconds = 5}, .seconds = -1};
    const char *size = NULL;
    int64_t runs = INT64_MIN, threads = INT64_MIN;
    dukd_texts files = {0};
    dukd_failure f = {0};
    const dukd_arg args[] = {
        {"--table1", NULL, DUKD_ARG_FLAG, NULL, "the six networks of the paper's Table 1, beside its figures",
         &a.table1},
        {"--model", "-m", DUKD_ARG_TEXT, "NET", "the network of these weights, as train writes them",
         &a.model},
        {"--size", NULL, DUKD_ARG_TEXT, "HxW", "size of the input image (256x256)", &size},
        {"--no-speed", NULL, DUKD_ARG_FLAG, NULL, "count only, run nothing", &a.only_counts},
        {"--precision", NULL, DUKD_ARG_TEXT, "TYPE", "run in f32 or in bf16 alone (both)", &a.precision},
        {"--seconds", NULL, DUKD_ARG_NUMBER, "S", "time for each network and precision (5)", &a.seconds},
        {"--runs", NULL, DUKD_ARG_INTEGER, "N", "so many timed runs, however long they take", &runs},
        {"--threads", NULL, DUKD_ARG_INTEGER, "N", "threads (num_threads of the option file, else all)",
         &threads},
        {"--engine", NULL, DUKD_ARG_TEXT, "NAME",
         "auto, onednn or cuda (engine of the option file, else auto)", &a.engine},
        {"--json", NULL, DUKD_ARG_FLAG, NULL, "print JSON, for a program", &a.json},
        {"--quiet", "-q", DUKD_ARG_FLAG, NULL, "no progress, no notes on keys that are not read", &a.quiet},
        {"--set", NULL, DUKD_ARG_TEXTS, "KEY=VALUE", "replace a key of the option file", &a.set},
        {"--force_yml", NULL, DUKD_ARG_MANY, "KEY:KEY=VALUE", "the same in BasicSR's spelling", &a.force},
    };
    const dukd_command command = {
        .command = "info",
        .summary = "Parameters, multiply-adds, peak memory and frames per second of networks.",
        .positionals = "OPT.yml | -m NET | --table1",
        .details =
            "Frames per second are one over the median of the timed runs after a warm-up, of one image at\n"
            "a time, in f32 and in bf16. Exit status 1: a network could not be run; its row says why.",
        .example = "dukd-host info yaml/demo/dukd.yml\n"
                   "dukd-host info yaml/demo/dukd.yml --size 339x510 --set network_g.num_feat=32\n"
                   "dukd-host info -m net_g_best.safetensors\n"
                   "dukd-host info --table1 --no-speed",
        .max_positionals = 1,
        .args = args,
        .arg_count = sizeof args / sizeof *args,
    };
    int status = dukd_args_parse(&command, argc, argv, &files, &f);
    if (status == DUKD_DONE) status = check(&a, &files, runs, threads, &f);
    if (status == DUKD_DONE && size) status = parse_size(size, &a.plan, &f);
    if (status == DUKD_DONE) status = run(files.count ? files.items[0] : NULL, &a, &f);
    dukd_texts_free(&a.set);
    dukd_texts_free(&a.force);
    dukd_texts_free(&files);
    return dukd_command_end("info", status, &f);
}
