#include "cmd/test_table.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/json_out.h"
#include "data/downscale.h"

static int measure(const dukd_run_metric *m, const dukd_image *a, const dukd_image *b, double *value,
                   dukd_failure *f) {
    return m->kind == DUKD_METRIC_PSNR ? dukd_metric_psnr(a, b, m->options, value, f)
                                       : dukd_metric_ssim(a, b, m->options, value, f);
}

static int bicubic_image(const dukd_test_result *r, int64_t i, const dukd_run_metric *metrics, int32_t count,
                         int32_t scale, double *values, dukd_failure *f) {
    dukd_image lr = {0}, hr = {0}, up = {0};
    int status = dukd_dataset_read(r->files, i, &lr, &hr, f);
    if (status == DUKD_DONE) status = dukd_upscale_bicubic(&lr, scale, &up, f);
    for (int32_t m = 0; m < count && status == DUKD_DONE; m++)
        status = measure(&metrics[m], &up, &hr, &values[m], f);
    dukd_image_free(&lr);
    dukd_image_free(&hr);
    dukd_image_free(&up);
    return status;
}

int dukd_test_bicubic(dukd_test_result *r, const dukd_run_metric *metrics, int32_t count, int32_t scale,
                      dukd_failure *f) {
    int64_t images = dukd_dataset_count(r->files);
    r->bicubic = calloc((size_t)images + 1, sizeof *r->bicubic);
    if (!r->bicubic)
        return dukd_fail_memory(f, "the bicubic results",
                                ((unsigned long long)images + 1) * sizeof *r->bicubic);
    for (int64_t i = 0; i < images; i++) {
        int status = bicubic_image(r, i, metrics, count, scale, r->bicubic[i], f);
        if (status) return status;
        for (int32_t m = 0; m < count; m++) r->bicubic[images][m] += r->bicubic[i][m] / (double)images;
    }
    return DUKD_DONE;
}

/* ---- columns ---- */

enum { BICUBIC, STUDENT, ENSEMBLE, TEACHER, AGREEMENT, COLUMNS };
static const char *const column_names[COLUMNS] = {"bicubic", "student", "ensemble", "teacher", "vs teacher"};
static const char *const json_names[COLUMNS] = {"bicubic", "student", "self_ensemble", "teacher",
                                                "student_against_teacher"};

static int has_column(const dukd_test_report *r, int c) {
    if (c == ENSEMBLE) return r->ensemble;
    if (c == TEACHER || c == AGREEMENT) return r->teacher != NULL;
    return 1;
}

/* Row i of a set; i == count is the mean. */
static double cell(const dukd_test_result *r, int64_t i, int c, int32_t m) {
    const dukd_evaluated_image *e = i < r->networks.count ? &r->networks.images[i] : &r->networks.mean;
    switch (c) {
    case BICUBIC:
        return r->bicubic[i][m];
    case STUDENT:
        return e->plain[m];
    case ENSEMBLE:
        return e->ensemble[m];
    case TEACHER:
        return e->teacher[m];
    default:
        return e->agreement[m];
    }
}

static const char *row_name(const dukd_test_result *r, int64_t i) {
    return i < r->networks.count ? r->networks.images[i].name : "mean";
}

/* ---- text and Markdown ---- */

static void print_set(const dukd_test_report *r, const dukd_test_result *set, int markdown) {
    const dukd_run_options *o = r->options;
    int name_width = 4;
    const char *bar = markdown ? " | " : "  ";
    for (int64_t i = 0; i < set->networks.count; i++) {
        int length = (int)strlen(row_name(set, i));
        if (length > name_width) name_width = length;
    }
    printf(markdown ? "\n### %s\n\n" : "\n%s\n", set->set->name);
    for (int line = -2; line <= set->networks.count; line++) {
        if (line == -1 && !markdown) continue;
        if (line == set->networks.count && !markdown) printf("\n");
        const char *name = line == -2 ? "" : line == -1 ? "---" : row_name(set, line);
        printf("%s%-*s", markdown ? "| " : "  ", name_width, name);
        for (int c = 0; c < COLUMNS; c++)
            for (int32_t m = 0; m < o->metric_count && has_column(r, c); m++) {
                char text[64];
                int digits = o->metrics[m].kind == DUKD_METRIC_PSNR ? 4 : 5;
                if (line == -2)
                    snprintf(text, sizeof text, "%s %.24s", column_names[c], o->metrics[m].name);
                else if (line == -1)
                    snprintf(text, sizeof text, "---:");
                else
                    snprintf(text, sizeof text, "%.*f", digits, cell(set, line, c, m));
                printf("%s%15s", bar, text);
            }
        printf(markdown ? " |\n" : "\n");
    }
}

static void print_conditions(const dukd_test_report *r) {
    const dukd_run_options *o = r->options;
    printf("\nweights %s (%s)%s%s; %s, %s, %s, %d threads\n", r->weights, r->key[0] ? r->key : "no key",
           r->teacher ? "; teacher " : "", r->teacher ? r->teacher : "",
           o->precision == DUKD_BF16 ? "bf16" : "f32", r->engine->library, r->engine->instruction_set,
           r->engine->threads);
    for (int32_t m = 0; m < o->metric_count; m++)
        printf("%s: %s on %s, border %d pixels; ", o->metrics[m].name,
               o->metrics[m].kind == DUKD_METRIC_PSNR ? "PSNR (dB)" : "SSIM",
               o->metrics[m].options.y_channel ? "Y" : "RGB", o->metrics[m].options.crop_border);
    printf("whole images, no tiles%s\n",
           r->ensemble ? "; ensemble: eight orientations averaged before clamping" : "; no self-ensemble");
    for (int32_t i = 0; i < r->count; i++) {
        const dukd_run_dataset *set = r->results[i].set;
        printf("%s: HR %s, LR ", set->name, set->files.dataroot_gt);
        if (set->files.dataroot_lq)
            printf("%s\n", set->files.dataroot_lq);
        else
            printf("made by bicubic downscaling, %s border\n",
                   set->files.clamp_border ? "clamped" : "symmetric");
    }
}

void dukd_test_print_table(const dukd_test_report *r, int markdown) {
    char spec[1024];
    dukd_model_spec_text(&r->options->student.spec, spec, sizeof spec);
    printf("%s%s, x%d: %s\n", markdown ? "## " : "", r->options->name, r->options->scale, spec);
    for (int32_t i = 0; i < r->count; i++) print_set(r, &r->results[i], markdown);
    print_conditions(r);
}

/* ---- JSON ---- */

static void json_row(dukd_json *j, const dukd_test_report *r, const dukd_test_result *set, int64_t i) {
    const dukd_run_options *o = r->options;
    dukd_json_object(j, i < set->networks.count ? NULL : "mean");
    if (i < set->networks.count) dukd_json_text(j, "name", row_name(set, i));
    for (int c = 0; c < COLUMNS; c++) {
        if (!has_column(r, c)) continue;
        dukd_json_object(j, json_names[c]);
        for (int32_t m = 0; m < o->metric_count; m++)
            dukd_json_number(j, o->metrics[m].name, cell(set, i, c, m));
        dukd_json_close(j);
    }
    dukd_json_close(j);
}

static void json_metrics(dukd_json *j, const dukd_run_options *o) {
    dukd_json_array(j, "metrics");
    for (int32_t m = 0; m < o->metric_count; m++) {
        dukd_json_object(j, NULL);
        dukd_json_text(j, "name", o->metrics[m].name);
        dukd_json_text(j, "kind", o->metrics[m].kind == DUKD_METRIC_PSNR ? "psnr" : "ssim");
        dukd_json_text(j, "colour", o->metrics[m].options.y_channel ? "Y" : "RGB");
        dukd_json_integer(j, "crop_border", o->metrics[m].options.crop_border);
        dukd_json_close(j);
    }
    dukd_json_close(j);
}

int dukd_test_print_json(const dukd_test_report *r, dukd_failure *f) {
    const dukd_run_options *o = r->options;
    char spec[1024];
    dukd_json j = dukd_json_begin(stdout);
    dukd_model_spec_text(&o->student.spec, spec, sizeof spec);
    dukd_json_object(&j, NULL);
    dukd_json_text(&j, "name", o->name);
    dukd_json_integer(&j, "scale", o->scale);
    dukd_json_text(&j, "network", spec);
    dukd_json_text(&j, "weights", r->weights);
    dukd_json_text(&j, "param_key", r->key);
    dukd_json_text(&j, "teacher_weights", r->teacher);
    dukd_json_text(&j, "precision", o->precision == DUKD_BF16 ? "bf16" : "f32");
    dukd_json_text(&j, "library", r->engine->library);
    dukd_json_text(&j, "instruction_set", r->engine->instruction_set);
    dukd_json_integer(&j, "threads", r->engine->threads);
    dukd_json_boolean(&j, "tiles", 0);
    json_metrics(&j, o);
    dukd_json_array(&j, "sets");
    for (int32_t i = 0; i < r->count; i++) {
        const dukd_test_result *set = &r->results[i];
        dukd_json_object(&j, NULL);
        dukd_json_text(&j, "name", set->set->name);
        dukd_json_text(&j, "hr", set->set->files.dataroot_gt);
        dukd_json_text(&j, "lr", set->set->files.dataroot_lq); /* null: made of HR */
        dukd_json_number(&j, "seconds", set->networks.seconds);
        dukd_json_array(&j, "images");
        for (int64_t k = 0; k < set->networks.count; k++) json_row(&j, r, set, k);
        dukd_json_close(&j);
        json_row(&j, r, set, set->networks.count);
        dukd_json_close(&j);
    }
    dukd_json_close(&j);
    dukd_json_close(&j);
    return dukd_json_end(&j, "standard output", f);
}
