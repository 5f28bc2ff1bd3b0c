/* dukd-host test: PSNR and SSIM of a network on the test sets of an option file. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd/args.h"
#include "cmd/commands.h"
#include "cmd/test_table.h"
#include "train/evaluate.h"
#include "train/experiment.h"
#include "train/run_options.h"
#include "train/weights.h"

typedef struct {
    const char *weights, *key, *images;
    int32_t ensemble, json, markdown, quiet;
    dukd_texts set, force;
} test_arguments;

typedef struct {
    dukd_engine *engine;
    dukd_ready_network student, teacher; /* the teacher's graph is NULL where there is none */
    const dukd_run_options *o;
    const test_arguments *a;
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
        return dukd_fail(f, DUKD_MISUSED, "--save: the path is too long");
    return dukd_make_folders(out, f);
}

static int test_set(const test_networks *n, const dukd_run_dataset *set, dukd_test_result *out,
                    dukd_failure *f) {
    char folder[4096];
    char name[256];
    const dukd_run_options *o = n->o;
    snprintf(name, sizeof name, "%s", set->name);
    dukd_evaluate_options e = {
        .engine = n->engine,
        .precision = o->precision,
        .graph = n->student.graph,
        .weights = n->student.weights,
        .teacher_graph = n->teacher.graph,
        .teacher_weights = n->teacher.weights,
        .metrics = o->metrics,
        .metric_count = o->metric_count,
        .self_ensemble = n->a->ensemble,
        .image_suffix = o->suffix ? o->suffix : o->name,
        .on_image = isatty(STDERR_FILENO) && !n->a->quiet ? show_progress : NULL,
        .ctx = name,
    };
    const char *save = n->a->images ? n->a->images : o->save_img ? o->results_root : NULL;
    out->set = set;
    int status = dukd_run_dataset_open(&out->files, set, f);
    if (status == DUKD_DONE && save) {
        status = make_folder(save, set->name, folder, sizeof folder, f);
        e.image_folder = folder;
    }
    if (status == DUKD_DONE) status = dukd_evaluate(&out->networks, &e, out->files, f);
    if (status == DUKD_DONE) status = dukd_test_bicubic(out, o->metrics, o->metric_count, o->scale, f);
    return status;
}

/* Sets under `val` count too: BasicSR's test.py reads every entry of `datasets`. */
static const dukd_run_dataset *set_at(const dukd_run_options *o, int32_t i) {
    return i < o->test_count ? &o->test[i] : &o->val[i - o->test_count];
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
    status = dukd_run_engine_create(&n->engine, n->o, f);
    if (status == DUKD_DONE) status = dukd_ready_network_open(&n->student, &student, 0, f);
    if (status == DUKD_DONE && n->a->key)
        status = dukd_ready_network_check_key(&n->student, n->a->key, student.pretrained, f);
    if (status == DUKD_DONE && n->o->teacher.is_set && n->o->teacher.pretrained)
        status = dukd_ready_network_open(&n->teacher, &n->o->teacher, 0, f);
    return status;
}

static int run(const char *file, const test_arguments *a, dukd_failure *f) {
    dukd_run_options *o = NULL;
    const dukd_run_overrides overrides = {a->set.items, a->set.count, a->force.items, a->force.count};
    dukd_test_result *results = NULL;
    int status = dukd_run_options_read(&o, file, &overrides, NULL, f);
    if (status) return status;
    test_networks n = {.o = o, .a = a};
    int32_t count = o->test_count + o->val_count;
    if ((status = dukd_run_options_need_test(o, f))) goto end;
    if ((status = open_networks(&n, f))) goto end;
    results = calloc((size_t)count, sizeof *results);
    if (!results) {
        status = dukd_fail_memory(f, "the results", (unsigned long long)count * sizeof *results);
        goto end;
    }
    for (int32_t i = 0; i < count && status == DUKD_DONE; i++)
        status = test_set(&n, set_at(o, i), &results[i], f);
    if (status) goto end;
    const dukd_test_report report = {
        .options = o,
        .results = results,
        .count = count,
        .ensemble = a->ensemble,
        .weights = a->weights ? a->weights : o->student.pretrained,
        .key = n.student.report.key,
        .teacher = n.teacher.graph ? o->teacher.pretrained : NULL,
        .engine = dukd_engine_get_info(n.engine),
    };
    if (a->json)
        status = dukd_test_print_json(&report, f);
    else
        dukd_test_print_table(&report, a->markdown);
end:
    for (int32_t i = 0; results && i < count; i++) {
        dukd_evaluation_free(&results[i].networks);
        free(results[i].bicubic);
        dukd_dataset_close(results[i].files);
    }
    free(results);
    dukd_ready_network_close(&n.student);
    dukd_ready_network_close(&n.teacher);
    dukd_engine_destroy(n.engine);
    dukd_run_options_destroy(o);
    return status;
}

int dukd_cmd_test(int argc, char **argv) {
    test_arguments a = {0};
    const char *opt = NULL;
    dukd_texts files = {0};
    dukd_failure f = {0};
    const dukd_arg args[] = {
        {"--weights", "-w", DUKD_ARG_TEXT, "FILE", "test these weights (else path.pretrain_network_g)",
         &a.weights},
        {"--param-key", NULL, DUKD_ARG_TEXT, "KEY", "params or params_ema (else path.param_key_g)", &a.key},
        {"--self-ensemble", NULL, DUKD_ARG_FLAG, NULL, "also average eight orientations", &a.ensemble},
        {"--save", NULL, DUKD_ARG_TEXT, "DIR", "save the images in DIR/SET", &a.images},
        {"--json", NULL, DUKD_ARG_FLAG, NULL, "print JSON, for a program", &a.json},
        {"--markdown", NULL, DUKD_ARG_FLAG, NULL, "print Markdown tables", &a.markdown},
        {"--quiet", "-q", DUKD_ARG_FLAG, NULL, "no progress line", &a.quiet},
        {"--set", NULL, DUKD_ARG_TEXTS, "KEY=VALUE", "replace a key of the option file", &a.set},
        {"--opt", "-opt", DUKD_ARG_TEXT, "OPT.yml", "the option file, in BasicSR's spelling", &opt},
        {"--force_yml", NULL, DUKD_ARG_MANY, "KEY:KEY=VALUE", "--set in BasicSR's spelling", &a.force},
    };
    const dukd_command command = {
        .command = "test",
        .summary = "PSNR and SSIM on the test sets of an option file, image by image and on average.",
        .positionals = "OPT.yml",
        .details =
            "Sets are the entries of `datasets` but train. With network_t and its weights the teacher is\n"
            "measured too, and the student against it. Images are run whole.",
        .example =
            "dukd-host test yaml/demo/dukd.yml --weights experiments/demo/models/net_g_best.safetensors\n"
            "dukd-host test OPT.yml --self-ensemble --save results --json",
        .max_positionals = 1,
        .args = args,
        .arg_count = sizeof args / sizeof *args,
    };
    int status = dukd_args_parse(&command, argc, argv, &files, &f);
    const char *file = files.count ? files.items[0] : opt;
    if (status == DUKD_DONE && (!file || (files.count && opt)))
        status = dukd_fail(&f, DUKD_MISUSED, "give one option file: dukd-host test OPT.yml (see --help)");
    if (status == DUKD_DONE && a.json && a.markdown)
        status = dukd_fail(&f, DUKD_MISUSED, "--json and --markdown: choose one");
    if (status == DUKD_DONE) status = run(file, &a, &f);
    dukd_texts_free(&a.set);
    dukd_texts_free(&a.force);
    dukd_texts_free(&files);
    return dukd_command_end("test", status, &f);
}
