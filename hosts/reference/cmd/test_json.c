/* The result of a test as JSON, for programs. */
#include <stdio.h>

#include "cmd/test_table.h"
#include "common/json_out.h"

static void put_row(dukd_json *j, const dukd_test_report *r, const dukd_test_result *set, int64_t i) {
    static const char *const names[DUKD_TEST_COLUMNS] = {[DUKD_TEST_BICUBIC] = "bicubic",
                                                         [DUKD_TEST_STUDENT] = "student",
                                                         [DUKD_TEST_ENSEMBLE] = "self_ensemble",
                                                         [DUKD_TEST_TEACHER] = "teacher",
                                                         [DUKD_TEST_AGREEMENT] = "student_against_teacher"};
    const dukd_run_options *o = r->options;
    dukd_json_object(j, i < set->networks.count ? NULL : "mean");
    if (i < set->networks.count) dukd_json_text(j, "name", dukd_test_row_name(set, i));
    for (int c = 0; c < DUKD_TEST_COLUMNS; c++) {
        if (!dukd_test_has_column(r, c)) continue;
        dukd_json_object(j, names[c]);
        for (int32_t m = 0; m < o->metric_count; m++)
            dukd_json_number(j, o->metrics[m].name, dukd_test_cell(set, i, c, m));
        dukd_json_close(j);
    }
    dukd_json_close(j);
}

static void put_metrics(dukd_json *j, const dukd_run_options *o) {
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

static void put_set(dukd_json *j, const dukd_test_report *r, const dukd_test_result *set) {
    const dukd_dataset_options *files = &set->set->files;
    dukd_json_object(j, NULL);
    dukd_json_text(j, "name", set->set->name);
    dukd_json_text(j, "key", set->set->key);
    dukd_json_text(j, "hr", files->dataroot_gt);
    dukd_json_text(j, "lr", files->dataroot_lq); /* null: made of HR */
    if (!files->dataroot_lq)
        dukd_json_text(j, "lr_made_with_border", files->clamp_border ? "clamp" : "symmetric");
    dukd_json_number(j, "seconds", set->networks.seconds);
    dukd_json_array(j, "images");
    for (int64_t k = 0; k < set->networks.count; k++) put_row(j, r, set, k);
    dukd_json_close(j);
    put_row(j, r, set, set->networks.count);
    dukd_json_close(j);
}

int dukd_test_print_json(const dukd_test_report *r, dukd_failure *f) {
    const dukd_run_options *o = r->options;
    char spec[2048];
    dukd_json j = dukd_json_begin(stdout);
    dukd_model_spec_text(&o->student.spec, spec, sizeof spec);
    dukd_json_object(&j, NULL);
    dukd_json_text(&j, "name", o->name);
    dukd_json_integer(&j, "scale", o->scale);
    dukd_json_text(&j, "network", spec);
    dukd_json_text(&j, "weights", r->weights);
    dukd_json_text(&j, "param_key", r->key);
    if (r->teacher) {
        dukd_model_spec_text(&o->teacher.spec, spec, sizeof spec);
        dukd_json_text(&j, "teacher", spec);
        dukd_json_text(&j, "teacher_param_key", r->teacher_key);
    }
    dukd_json_text(&j, "teacher_weights", r->teacher);
    dukd_json_text(&j, "precision", o->precision == DUKD_BF16 ? "bf16" : "f32");
    dukd_json_text(&j, "library", r->engine->library);
    dukd_json_text(&j, "instruction_set", r->engine->instruction_set);
    dukd_json_integer(&j, "threads", r->engine->threads);
    dukd_json_boolean(&j, "tiles", r->tile != 0);
    if (r->tile) {
        dukd_json_integer(&j, "tile", r->tile);
        dukd_json_integer(&j, "overlap", r->overlap);
        dukd_json_boolean(&j, "tiles_exact", r->tiles_exact);
    }
    dukd_json_integer(&j, "padded_to_multiples_of", r->multiple);
    dukd_json_boolean(&j, "self_ensemble", r->ensemble);
    put_metrics(&j, o);
    dukd_json_array(&j, "sets");
    for (int32_t i = 0; i < r->count; i++) put_set(&j, r, &r->results[i]);
    dukd_json_close(&j);
    dukd_json_close(&j);
    return dukd_json_end(&j, "standard output", f);
}
