/* Rows of `dukd-host info` as a table and as JSON. */
#include <stdio.h>
#include <string.h>

#include "cmd/info_rows.h"
#include "common/json_out.h"

static const char *const precision_names[2] = {[DUKD_F32] = "f32", [DUKD_BF16] = "bf16"};

/* ---- text ---- */

/* The paper's numbers hold for 256 x 256 alone. */
static int has_paper(const dukd_info_plan *plan, const dukd_info_row *rows) {
    return rows[0].paper && plan->height == 256 && plan->width == 256;
}

static void print_speeds(const dukd_info_plan *plan, const dukd_info_row *r) {
    for (int p = 0; p < 2; p++) {
        const dukd_info_speed *s = &r->speed[p];
        if (!plan->measured[p]) continue;
        if (s->problem.status)
            printf("  %9s %8s %4s", "-", "-", "-");
        else
            printf("  %9.3f %8.1f %4d", 1 / s->median, (double)s->memory / 1048576, (int)s->runs);
    }
}

static void print_head(const dukd_info_plan *plan, const dukd_info_row *rows, int width) {
    const int paper = has_paper(plan, rows);
    if (paper) {
        printf("%-*s  %16s  %21s", width, "", "parameters (M)", "multiply-adds (G)");
        for (int p = 0; p < 2; p++)
            if (plan->measured[p]) printf("  %23s", precision_names[p]);
        printf("\n%-*s  %8s %7s  %10s %10s", width, "network", "paper", "here", "paper", "here");
    } else {
        if (plan->measured[0] || plan->measured[1]) {
            printf("%-*s  %-8s %14s %18s", width, "", "", "", "");
            for (int p = 0; p < 2; p++)
                if (plan->measured[p]) printf("  %23s", precision_names[p]);
            printf("\n");
        }
        printf("%-*s  %-8s %14s %18s", width, "network", "type", "parameters", "multiply-adds (G)");
    }
    for (int p = 0; p < 2; p++)
        if (plan->measured[p]) printf("  %9s %8s %4s", "fps", "MiB", "runs");
    printf("\n");
}

static void print_row(const dukd_info_plan *plan, const dukd_info_row *rows, const dukd_info_row *r,
                      int width) {
    printf("%-*s  ", width, r->name);
    const double millions = (double)r->parameters / 1e6, milliards = (double)r->multiply_adds / 1e9;
    if (has_paper(plan, rows) && r->is_known)
        printf("%8.2f %7.2f  %10.2f %10.2f", r->paper->parameters, millions, r->paper->multiply_adds,
               milliards);
    else if (has_paper(plan, rows))
        printf("%8.2f %7s  %10.2f %10s", r->paper->parameters, "-", r->paper->multiply_adds, "-");
    else if (r->is_known)
        printf("%-8s %14lld %18.2f", r->spec.type->name, (long long)r->parameters, milliards);
    else
        printf("%-8s %14s %18s", "-", "-", "-");
    if (r->is_known) print_speeds(plan, r);
    if (r->problem.status) printf("  %s", r->problem.message);
    printf("\n");
    for (int p = 0; p < 2; p++) {
        const dukd_failure *why = &r->speed[p].problem;
        if (why->status) printf("%-*s  not run in %s: %s\n", width, "", precision_names[p], why->message);
    }
}

void dukd_info_print_text(const dukd_info_plan *plan, const dukd_info_row *rows, int32_t count,
                          const dukd_engine_info *engine) {
    int width = 7;
    for (int32_t i = 0; i < count; i++)
        if ((int)strlen(rows[i].name) > width) width = (int)strlen(rows[i].name);
    print_head(plan, rows, width);
    for (int32_t i = 0; i < count; i++) print_row(plan, rows, &rows[i], width);
    printf("\nfor one image of 3 x %lld x %lld", (long long)plan->height, (long long)plan->width);
    for (int32_t i = 0; i < count; i++)
        if (rows[i].is_known && (rows[i].height != plan->height || rows[i].width != plan->width))
            printf(" (%s: padded to %d x %d, the windows' multiple)", rows[i].name, (int)rows[i].height,
                   (int)rows[i].width);
    printf("; multiply-adds in the convention of the paper's tables\n");
    if (rows[0].paper)
        printf("paper: Table 1 of arXiv 2309.14162; the frames per second that it states were measured on a "
               "GPU and are not "
               "repeated here\n");
    if (!engine) return;
    printf("fps: one over the median of the runs after a warm-up; MiB: the most that the engine held; %s, "
           "%s, %d "
           "threads%s\n",
           engine->library, engine->instruction_set, engine->threads,
           engine->bf16 ? "" : "; this processor has no bf16, it is emulated");
    if (engine->passed_over[0]) printf("engine cuda was not taken: %s\n", engine->passed_over);
}

/* ---- JSON ---- */

static void put_speed(dukd_json *j, const dukd_info_speed *s, const char *key) {
    dukd_json_object(j, key);
    if (s->problem.status) {
        dukd_json_text(j, "problem", s->problem.message);
    } else {
        dukd_json_number(j, "frames_per_second", 1 / s->median);
        dukd_json_number(j, "seconds", s->median);
        dukd_json_integer(j, "runs", s->runs);
        dukd_json_integer(j, "peak_bytes", s->memory);
    }
    dukd_json_close(j);
}

static void put_row(dukd_json *j, const dukd_info_plan *plan, const dukd_info_row *r) {
    char spec[2048];
    dukd_json_object(j, NULL);
    dukd_json_text(j, "role", r->name);
    if (r->is_known) {
        dukd_model_spec_text(&r->spec, spec, sizeof spec);
        dukd_json_text(j, "network", spec);
        dukd_json_integer(j, "parameters", r->parameters);
        dukd_json_integer(j, "multiply_adds", r->multiply_adds);
        dukd_json_integer(j, "height", r->height);
        dukd_json_integer(j, "width", r->width);
    }
    if (r->problem.status) dukd_json_text(j, "problem", r->problem.message);
    if (r->paper) {
        dukd_json_object(j, "paper");
        dukd_json_number(j, "parameters_millions", r->paper->parameters);
        dukd_json_number(j, "multiply_adds_milliards_at_256x256", r->paper->multiply_adds);
        dukd_json_close(j);
    }
    for (int p = 0; p < 2 && r->is_known; p++)
        if (plan->measured[p]) put_speed(j, &r->speed[p], precision_names[p]);
    dukd_json_close(j);
}

int dukd_info_print_json(const dukd_info_plan *plan, const dukd_info_row *rows, int32_t count,
                         const dukd_engine_info *engine, dukd_failure *f) {
    dukd_json j = dukd_json_begin(stdout);
    dukd_json_object(&j, NULL);
    dukd_json_integer(&j, "height", plan->height);
    dukd_json_integer(&j, "width", plan->width);
    dukd_json_array(&j, "networks");
    for (int32_t i = 0; i < count; i++) put_row(&j, plan, &rows[i]);
    dukd_json_close(&j);
    if (engine) {
        dukd_json_text(&j, "engine", engine->name);
        if (engine->passed_over[0]) dukd_json_text(&j, "cuda_not_taken", engine->passed_over);
        dukd_json_text(&j, "library", engine->library);
        dukd_json_text(&j, "instruction_set", engine->instruction_set);
        dukd_json_integer(&j, "threads", engine->threads);
        dukd_json_boolean(&j, "bf16_in_hardware", engine->bf16);
    }
    dukd_json_close(&j);
    return dukd_json_end(&j, "standard output", f);
}
