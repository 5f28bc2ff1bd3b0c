/* The result of a test as tables: text or Markdown. */
#include "cmd/test_table.h"

#include <stdio.h>
#include <string.h>

int dukd_test_has_column(const dukd_test_report *r, dukd_test_column c) {
    if (c == DUKD_TEST_ENSEMBLE) return r->ensemble;
    if (c == DUKD_TEST_TEACHER || c == DUKD_TEST_AGREEMENT) return r->teacher != NULL;
    return 1;
}

double dukd_test_cell(const dukd_test_result *r, int64_t i, dukd_test_column c, int32_t metric) {
    const dukd_evaluated_image *e = i < r->networks.count ? &r->networks.images[i] : &r->networks.mean;
    switch (c) {
    case DUKD_TEST_BICUBIC:
        return r->bicubic[i][metric];
    case DUKD_TEST_STUDENT:
        return e->plain[metric];
    case DUKD_TEST_ENSEMBLE:
        return e->ensemble[metric];
    case DUKD_TEST_TEACHER:
        return e->teacher[metric];
    default:
        return e->agreement[metric];
    }
}

const char *dukd_test_row_name(const dukd_test_result *r, int64_t i) {
    return i < r->networks.count ? r->networks.images[i].name : "mean";
}

/* ---- rows ---- */

typedef struct {
    const dukd_test_report *r;
    int markdown;
    int name_width; /* bytes of the longest name */
} table;

static void widen(table *t, const char *name) {
    const int length = (int)strlen(name);
    if (length > t->name_width) t->name_width = length;
}

static void begin_row(const table *t, const char *name) {
    printf("%s%-*s", t->markdown ? "| " : "  ", t->name_width, name);
}
static void put_cell(const table *t, const char *text) {
    printf("%s%15s", t->markdown ? " | " : "  ", text);
}
static void end_row(const table *t) {
    printf(t->markdown ? " |\n" : "\n");
}

static void print_head(const table *t) {
    static const char *const names[DUKD_TEST_COLUMNS] = {[DUKD_TEST_BICUBIC] = "bicubic",
                                                         [DUKD_TEST_STUDENT] = "student",
                                                         [DUKD_TEST_ENSEMBLE] = "ensemble",
                                                         [DUKD_TEST_TEACHER] = "teacher",
                                                         [DUKD_TEST_AGREEMENT] = "vs teacher"};
    const dukd_run_options *o = t->r->options;
    for (int rule = 0; rule <= t->markdown; rule++) {
        begin_row(t, rule ? "---" : "");
        for (int c = 0; c < DUKD_TEST_COLUMNS; c++)
            for (int32_t m = 0; m < o->metric_count && dukd_test_has_column(t->r, c); m++) {
                char text[64];
                snprintf(text, sizeof text, "%s %.24s", names[c], o->metrics[m].name);
                put_cell(t, rule ? "---:" : text);
            }
        end_row(t);
    }
}

static void print_row(const table *t, const char *name, const dukd_test_result *set, int64_t i) {
    const dukd_run_options *o = t->r->options;
    begin_row(t, name);
    for (int c = 0; c < DUKD_TEST_COLUMNS; c++)
        for (int32_t m = 0; m < o->metric_count && dukd_test_has_column(t->r, c); m++) {
            char text[64];
            snprintf(text, sizeof text, "%.*f", o->metrics[m].kind == DUKD_METRIC_PSNR ? 4 : 5,
                     dukd_test_cell(set, i, c, m));
            put_cell(t, text);
        }
    end_row(t);
}

/* ---- what the numbers were made with ---- */

static void print_conditions(const table *t) {
    const dukd_test_report *r = t->r;
    const dukd_run_options *o = r->options;
    printf("\n%sweights %s (%s)", t->markdown ? "" : "  ", r->weights, r->key[0] ? r->key : "no key");
    if (r->teacher) printf(", teacher %s (%s)", r->teacher, r->teacher_key[0] ? r->teacher_key : "no key");
    for (int32_t m = 0; m < o->metric_count; m++)
        printf("; %s: %s on %s, border %d", o->metrics[m].name,
               o->metrics[m].kind == DUKD_METRIC_PSNR ? "PSNR (dB)" : "SSIM",
               o->metrics[m].options.y_channel ? "Y" : "RGB", o->metrics[m].options.crop_border);
    printf("; %s",
           r->ensemble ? "ensemble: eight orientations averaged before clamping" : "no self-ensemble");
    if (r->tile)
        printf("; larger images in tiles of %d pixels and %d around them%s", r->tile, r->overlap,
               r->tiles_exact ? ", which changes nothing" : ": NOT what whole images give");
    else
        printf("; whole images, no tiles");
    if (r->multiple > 1) printf("; sides padded by reflection to multiples of %d", r->multiple);
    printf("; %s\n", o->precision == DUKD_BF16 ? "bf16" : "f32");
}

static void print_origin(const table *t, const dukd_run_dataset *set) {
    printf("%s%s: HR %s, LR ", t->markdown ? "\n" : "  ", set->name, set->files.dataroot_gt);
    if (set->files.dataroot_lq)
        printf("%s\n", set->files.dataroot_lq);
    else
        printf("made by bicubic downscaling, %s border\n", set->files.clamp_border ? "clamped" : "symmetric");
}

/* ---- tables ---- */

static void print_set(const dukd_test_report *r, const dukd_test_result *set, int markdown) {
    table t = {r, markdown, 4};
    for (int64_t i = 0; i < set->networks.count; i++) widen(&t, dukd_test_row_name(set, i));
    printf(markdown ? "\n### %s\n\n" : "\n%s\n", set->set->name);
    print_head(&t);
    for (int64_t i = 0; i <= set->networks.count; i++) {
        if (i == set->networks.count && !markdown) printf("\n");
        print_row(&t, dukd_test_row_name(set, i), set, i);
    }
    print_conditions(&t);
    print_origin(&t, set->set);
}

/* One row a set, as the papers have it. */
static void print_means(const dukd_test_report *r, int markdown) {
    table t = {r, markdown, 4};
    for (int32_t i = 0; i < r->count; i++) widen(&t, r->results[i].set->name);
    printf(markdown ? "\n### means\n\n" : "\nmeans\n");
    print_head(&t);
    for (int32_t i = 0; i < r->count; i++)
        print_row(&t, r->results[i].set->name, &r->results[i], r->results[i].networks.count);
    print_conditions(&t);
    for (int32_t i = 0; i < r->count; i++) print_origin(&t, r->results[i].set);
}

static void print_network(const char *role, const dukd_run_network *n, int markdown) {
    char spec[2048];
    dukd_model_spec_text(&n->spec, spec, sizeof spec);
    printf(markdown ? "\n%s: `%s`\n" : "%s: %s\n", role, spec);
}

void dukd_test_print_table(const dukd_test_report *r, int markdown) {
    printf("%s%s, x%d (%s, %s, %d threads)\n", markdown ? "## " : "", r->options->name, r->options->scale,
           r->engine->library, r->engine->instruction_set, r->engine->threads);
    print_network("student", &r->options->student, markdown);
    if (r->teacher) print_network("teacher", &r->options->teacher, markdown);
    for (int32_t i = 0; i < r->count; i++) print_set(r, &r->results[i], markdown);
    if (r->count > 1) print_means(r, markdown);
}
