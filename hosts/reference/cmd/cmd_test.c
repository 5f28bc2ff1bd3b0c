/* dukd-host test: PSNR and SSIM of a network on the test sets of an option file. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd/args.h"
#include "cmd/commands.h"
#include "cmd/test_table.h"
#include "data/image.h"
#include "engine/mirror.h"
#include "train/evaluate.h"
#include "train/experiment.h"
#include "train/run_options.h"
#include "train/weights.h"

typedef enum { TEST_TEXT, TEST_MARKDOWN, TEST_JSON } test_format;

typedef struct {
    const char *weights, *key, *images, *format_name, *engine;
    test_format format;
    int32_t ensemble, json, markdown, quiet;
    int64_t tile, overlap; /* INT64_MIN: not given */
    dukd_texts set, force;
} test_arguments;

typedef struct {
    dukd_engine *engine;
    dukd_ready_network student, teacher;          /* the teacher's graph is NULL where there is none */
    dukd_mirror student_weights, teacher_weights; /* where the engine reads them */
    const dukd_run_options *o;
    const test_arguments *a;
    const char *save; /* images go to SAVE/SET; NULL: nowhere */
    int32_t tile, overlap, tiles_exact;
} test_networks;

static int show_progress(void *ctx, int64_t done, int64_t count, const dukd_evaluated_image *image) {
    (void)image;
    fprintf(stderr, "\r%s: %lld/%lld%s", (const char *)ctx, (long long)done, (long long)count,
            done == count ? "\r\033[K" : "");
    fflush(stderr);
    return 0;
}

/* FOLDER/SETNAME, made where it is not there yet. */
static int make_folder(const char *folder, const char *name, char *out, size_t size, dukd_failure *f) {
    int length = snprintf(out, size, "%s/%s", folder, name);
    if (length < 0 || (size_t)length >= size)
        return dukd_fail(f, DUKD_MISUSED, "%s: the path for the images is too long", folder);
    return dukd_make_folders(out, f);
}

/* A failure of one of several sets says which. */
static int fail_set(const dukd_run_dataset *set, int status, const dukd_failure *why, dukd_failure *f) {
    return dukd_fail(f, status, "%s: datasets.%s: %s", set->place, set->key, why->message);
}

static int test_set(const test_networks *n, dukd_test_result *out, dukd_failure *f) {
    char folder[4096];
    char name[256];
    const dukd_run_options *o = n->o;
    dukd_failure why = {0};
    int status = DUKD_DONE;
    snprintf(name, sizeof name, "%s", out->set->name);
    dukd_evaluate_options e = {
        .engine = n->engine,
        .precision = o->precision,
        .graph = n->student.graph,
        .weights = n->student_weights.there,
        .teacher_graph = n->teacher.graph,
        .teacher_weights = n->teacher_weights.there,
        .metrics = o->metrics,
        .metric_count = o->metric_count,
        .self_ensemble = n->a->ensemble,
        .tile = n->tile,
        .overlap = n->overlap,
        .image_suffix = o->suffix ? o->suffix : o->name,
        .on_image = isatty(STDERR_FILENO) && !n->a->quiet ? show_progress : NULL,
        .ctx = name,
    };
    if (n->save) {
        status = make_folder(n->save, out->set->name, folder, sizeof folder, &why);
        e.image_folder = folder;
    }
    if (status == DUKD_DONE) status = dukd_evaluate(&out->networks, &e, out->files, &why);
    if (status == DUKD_DONE) status = dukd_test_bicubic(out, o->metrics, o->metric_count, o->scale, &why);
    return status ? fail_set(out->set, status, &why, f) : DUKD_DONE;
}

/* Sets under `val` count too: BasicSR's test.py reads every entry of `datasets`. */
static const dukd_run_dataset *set_at(const dukd_run_options *o, int32_t i) {
    return i < o->test_count ? &o->test[i] : &o->val[i - o->test_count];
}

/* All sets are looked at before the first network runs: what is wrong with the last is not found after an hour. */
static int open_sets(const test_networks *n, dukd_test_result *results, int32_t count, dukd_failure *f) {
    const dukd_run_options *o = n->o;
    for (int32_t i = 0; i < count; i++) {
        const dukd_run_dataset *set = results[i].set = set_at(o, i);
        dukd_failure why = {0};
        for (int32_t k = 0; k < i && n->save; k++)
            if (!strcmp(results[k].set->name, set->name))
                return dukd_fail(
                    f, DUKD_MISUSED,
                    "%s: datasets.%s has the name '%s', which datasets.%s has too: their images would "
                    "be saved over each other; give it another",
                    set->place, set->key, set->name, results[k].set->key);
        int status = dukd_run_dataset_open(&results[i].files, set, f);
        if (status) return status;
        status = dukd_evaluate_check(results[i].files, o->metrics, o->metric_count, &why);
        if (status) return fail_set(set, status, &why, f);
    }
    return DUKD_DONE;
}

static int place_weights(const test_networks *n, const dukd_ready_network *from, dukd_mirror *out,
                         dukd_failure *f) {
    return dukd_mirror_of_host(out, n->engine, from->weights, dukd_graph_weights(from->graph),
                               "a network's weights", f);
}

static int open_networks(test_networks *n, dukd_failure *f) {
    dukd_run_network student = n->o->student;
    int status = DUKD_DONE;
    if (n->a->weights) student.pretrained = n->a->weights;
    if (n->a->key) student.param_key = n->a->key;
    if (!student.pretrained)
        return dukd_fail(f, DUKD_MISUSED,
                         "%s: names no weights to test: set path.pretrain_network_g, or give --weights FILE",
                         n->o->file);
    status = dukd_run_engine_create(&n->engine, n->o, NULL, f);
    if (status == DUKD_DONE) status = dukd_ready_network_open(&n->student, &student, 0, f);
    if (status == DUKD_DONE && n->a->key)
        status = dukd_ready_network_check_key(&n->student, n->a->key, student.pretrained, f);
    if (status == DUKD_DONE && n->o->teacher.is_set && n->o->teacher.pretrained)
        status = dukd_ready_network_open(&n->teacher, &n->o->teacher, 0, f);
    if (status == DUKD_DONE) status = place_weights(n, &n->student, &n->student_weights, f);
    if (status == DUKD_DONE && n->teacher.graph)
        status = place_weights(n, &n->teacher, &n->teacher_weights, f);
    return status;
}

/* One margin for both networks, and whether it is enough for both. */
static void choose_tiles(test_networks *n) {
    const int32_t asked = n->a->overlap == INT64_MIN ? -1 : (int32_t)n->a->overlap;
    int32_t exact = 0, exact_t = 1;
    if (n->a->tile == INT64_MIN) return;
    n->tile = (int32_t)n->a->tile;
    n->overlap = dukd_evaluate_overlap(n->student.graph, asked, &exact);
    if (n->teacher.graph) {
        const int32_t more = dukd_evaluate_overlap(n->teacher.graph, asked, NULL);
        if (more > n->overlap) n->overlap = more;
        dukd_evaluate_overlap(n->student.graph, n->overlap, &exact);
        dukd_evaluate_overlap(n->teacher.graph, n->overlap, &exact_t);
    }
    n->tiles_exact = exact && exact_t;
}

static int print_report(const test_networks *n, const dukd_test_result *results, int32_t count,
                        dukd_failure *f) {
    const int32_t of_student = dukd_graph_multiple(n->student.graph),
                  of_teacher = n->teacher.graph ? dukd_graph_multiple(n->teacher.graph) : 1;
    const dukd_test_report report = {
        .options = n->o,
        .results = results,
        .count = count,
        .ensemble = n->a->ensemble,
        .tile = n->tile,
        .overlap = n->overlap,
        .tiles_exact = n->tiles_exact,
        .multiple = of_student > of_teacher ? of_student : of_teacher,
        .weights = n->a->weights ? n->a->weights : n->o->student.pretrained,
        .key = n->student.report.key,
        .teacher = n->teacher.graph ? n->o->teacher.pretrained : NULL,
        .teacher_key = n->teacher.report.key,
        .engine = dukd_engine_get_info(n->engine),
    };
    if (n->a->format == TEST_JSON) return dukd_test_print_json(&report, f);
    dukd_test_print_table(&report, n->a->format == TEST_MARKDOWN);
    return DUKD_DONE;
}

static int run(const char *file, const test_arguments *a, dukd_failure *f) {
    char folder[4096];
    dukd_run_options *o = NULL;
    const dukd_run_overrides overrides = {a->set.items, a->set.count, a->force.items, a->force.count};
    dukd_test_result *results = NULL;
    int status = dukd_run_options_read(&o, file, &overrides, NULL, f);
    if (status) return status;
    for (int32_t i = 0; i < o->note_count && !a->quiet; i++)
        fprintf(stderr, "dukd-host test: %s\n", o->notes[i]);
    test_networks n = {.o = o, .a = a, .save = a->images};
    int32_t count = o->test_count + o->val_count;
    if ((status = dukd_run_options_for_engine(o, a->engine, f))) goto end;
    if ((status = dukd_run_options_need_test(o, f))) goto end;
    if (!n.save && o->save_img) {
        const int length = snprintf(folder, sizeof folder, "%s/visualization", o->results_root);
        if (length < 0 || (size_t)length >= sizeof folder) {
            status = dukd_fail(f, DUKD_MISUSED, "%s: path.results_root is too long", o->file);
            goto end;
        }
        n.save = folder;
    }
    results = calloc((size_t)count, sizeof *results);
    if (!results) {
        status = dukd_fail_memory(f, "the results", (unsigned long long)count * sizeof *results);
        goto end;
    }
    status = open_sets(&n, results, count, f);
    if (status == DUKD_DONE) status = open_networks(&n, f);
    if (status == DUKD_DONE) choose_tiles(&n);
    for (int32_t i = 0; i < count && status == DUKD_DONE; i++) status = test_set(&n, &results[i], f);
    if (status == DUKD_DONE) status = print_report(&n, results, count, f);
end:
    for (int32_t i = 0; results && i < count; i++) {
        dukd_evaluation_free(&results[i].networks);
        free(results[i].bicubic);
        dukd_dataset_close(results[i].files);
    }
    free(results);
    dukd_mirror_free(&n.student_weights);
    dukd_mirror_free(&n.teacher_weights);
    dukd_ready_network_close(&n.student);
    dukd_ready_network_close(&n.teacher);
    dukd_engine_destroy(n.engine);
    dukd_run_options_destroy(o);
    return status;
}

static int choose_format(test_arguments *a, dukd_failure *f) {
    static const char *const names[] = {
        [TEST_TEXT] = "text", [TEST_MARKDOWN] = "markdown", [TEST_JSON] = "json"};
    if (a->json + a->markdown + (a->format_name != NULL) > 1)
        return dukd_fail(f, DUKD_MISUSED, "--format, --json and --markdown: choose one");
    a->format = a->json ? TEST_JSON : a->markdown ? TEST_MARKDOWN : TEST_TEXT;
    if (!a->format_name) return DUKD_DONE;
    for (int i = 0; i < (int)(sizeof names / sizeof *names); i++)
        if (!strcmp(a->format_name, names[i])) {
            a->format = (test_format)i;
            return DUKD_DONE;
        }
    return dukd_fail(f, DUKD_MISUSED, "--format is text, markdown or json, not '%s'", a->format_name);
}

static int check_tiles(const test_arguments *a, dukd_failure *f) {
    if (a->tile != INT64_MIN && (a->tile < 16 || a->tile > DUKD_IMAGE_MAX_SIDE))
        return dukd_fail(f, DUKD_MISUSED, "--tile wants 16 to %d pixels, not %lld", DUKD_IMAGE_MAX_SIDE,
                         (long long)a->tile);
    if (a->overlap != INT64_MIN && (a->overlap < 0 || a->overlap > 4096))
        return dukd_fail(f, DUKD_MISUSED, "--overlap wants 0 to 4096 pixels, not %lld",
                         (long long)a->overlap);
    if (a->overlap != INT64_MIN && a->tile == INT64_MIN)
        return dukd_fail(f, DUKD_MISUSED, "--overlap is the margin of tiles: give --tile too");
    return DUKD_DONE;
}

int dukd_cmd_test(int argc, char **argv) {
    test_arguments a = {.tile = INT64_MIN, .overlap = INT64_MIN};
    const char *opt = NULL;
    dukd_texts files = {0};
    dukd_failure f = {0};
    const dukd_arg args[] = {
        {"--weights", "-w", DUKD_ARG_TEXT, "FILE", "test these weights (else path.pretrain_network_g)",
         &a.weights},
        {"--param-key", NULL, DUKD_ARG_TEXT, "KEY", "params or params_ema (else path.param_key_g)", &a.key},
        {"--self-ensemble", NULL, DUKD_ARG_FLAG, NULL, "also average eight orientations: a column of its own",
         &a.ensemble},
        {"--engine", NULL, DUKD_ARG_TEXT, "NAME", "auto, onednn or cuda (else engine of the option file)",
         &a.engine},
        {"--save", NULL, DUKD_ARG_TEXT, "DIR", "save the images in DIR/SET (else as val.save_img says)",
         &a.images},
        {"--tile", NULL, DUKD_ARG_INTEGER, "N",
         "run images larger than this in tiles, where memory is short (whole images)", &a.tile},
        {"--overlap", NULL, DUKD_ARG_INTEGER, "N", "margin of a tile (what the network sees, at most 64)",
         &a.overlap},
        {"--format", NULL, DUKD_ARG_TEXT, "FORMAT", "text, markdown or json (text)", &a.format_name},
        {"--json", NULL, DUKD_ARG_FLAG, NULL, "--format json, for a program", &a.json},
        {"--markdown", NULL, DUKD_ARG_FLAG, NULL, "--format markdown", &a.markdown},
        {"--quiet", "-q", DUKD_ARG_FLAG, NULL, "no progress, no notes on keys that are not read", &a.quiet},
        {"--set", NULL, DUKD_ARG_TEXTS, "KEY=VALUE", "replace a key of the option file", &a.set},
        {"--opt", "-opt", DUKD_ARG_TEXT, "OPT.yml", "the option file, in BasicSR's spelling", &opt},
        {"--force_yml", NULL, DUKD_ARG_MANY, "KEY:KEY=VALUE", "--set in BasicSR's spelling", &a.force},
    };
    const dukd_command command = {
        .command = "test",
        .summary = "PSNR and SSIM on the test sets of an option file, image by image and on average.",
        .positionals = "OPT.yml",
        .details =
            "Sets are the entries of `datasets` but train: test_1, test_2, val, ... With network_t and its\n"
            "weights the teacher is measured too, and the student against it. Images are run whole, unless "
            "--tile\n"
            "says otherwise; the table then says whether that changes what comes out.\n"
            "val.save_img: true saves results/NAME/visualization/SET/IMAGE_SUFFIX.png, 8 bits, as BasicSR\n"
            "does (path.results_root for another folder; val.suffix, else the run's name).",
        .example =
            "dukd-host test yaml/demo/dukd.yml --weights experiments/demo/models/net_g_best.safetensors\n"
            "dukd-host test OPT.yml --self-ensemble --save results --format markdown",
        .max_positionals = 1,
        .args = args,
        .arg_count = sizeof args / sizeof *args,
    };
    int status = dukd_args_parse(&command, argc, argv, &files, &f);
    const char *file = files.count ? files.items[0] : opt;
    if (status == DUKD_DONE && (!file || (files.count && opt)))
        status = dukd_fail(&f, DUKD_MISUSED, "give one option file: dukd-host test OPT.yml (see --help)");
    if (status == DUKD_DONE) status = choose_format(&a, &f);
    if (status == DUKD_DONE) status = check_tiles(&a, &f);
    if (status == DUKD_DONE) status = run(file, &a, &f);
    dukd_texts_free(&a.set);
    dukd_texts_free(&a.force);
    dukd_texts_free(&files);
    return dukd_command_end("test", status, &f);
}
