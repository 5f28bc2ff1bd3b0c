/* A step as one: recorded after a few iterations that were run call by call, and replayed from then on.
 *
 * Everything that changes from step to step is read from the engine's memory: the batch, the optimizer's scalars, the factors of drop
 * paths, and the plugin's draws, which before_replay writes. What a step's calls count on the processor's side is counted once and added
 * with each replay. */
#include <stdio.h>

#include "common/plugin_load.h"
#include "train/step_state.h"

/* Until then libraries allocate what they need, and networks are compiled as they are run. */
enum { RUNS_BEFORE = 3 };

/* Answers in training mode bring their factors along in the middle of a step. */
static int answers_drop(const dukd_stepper *s) {
    for (uint32_t p = 0; p < s->plan->n_passes; p++)
        for (int32_t k = 0; k < s->slots.passes[p].group_count; k++) {
            const dukd_tap_group *g = &s->slots.passes[p].groups[k];
            if (g->asked && g->drops.count) return 1;
        }
    return 0;
}

int dukd_step_can_record(const dukd_stepper *s, const char **why) {
    const dukd_ext_graph *graph = s->o.plugin->get_extension(DUKD_EXT_GRAPH);
    *why = NULL;
    if (!dukd_engine_can_record(s->o.engine))
        *why = "the engine records no steps";
    else if (!graph || graph->struct_size < DUKD_EXT_GRAPH_SIZE || !graph->before_replay)
        *why = "the plugin does not have " DUKD_EXT_GRAPH;
    else if (!s->late)
        *why = "train.nonfinite: skip looks at the gradients before each optimizer step";
    else if (s->o.micro_batches > 1)
        *why = "micro-batches are not recorded";
    else if (s->o.ranks)
        *why = "ranks meet in the middle of a step";
    else if (answers_drop(s))
        *why = "the teacher is in training mode and has drop paths";
    return !*why;
}

void dukd_step_open_record(dukd_stepper *s) {
    const char *why;
    s->record = (dukd_step_record){0};
    if (dukd_step_can_record(s, &why)) s->record.graph = s->o.plugin->get_extension(DUKD_EXT_GRAPH);
}

void dukd_step_forget_record(dukd_stepper *s) {
    dukd_recording_free(s->record.recording);
    s->record.recording = NULL;
    s->record.runs = 0;
}

/* ---------------------------------------------------------------- what a step counts */

/* Of set i, or of the plugin's own parameters behind them; NULL: they take no steps. */
static int64_t *adam_steps(dukd_stepper *s, int i) {
    if (i == DUKD_MAX_NETWORKS) return s->own.count ? &s->own.adam.steps : NULL;
    return s->sets[i].graph && s->sets[i].adam ? &s->sets[i].adam->steps : NULL;
}

static int64_t steps_taken(dukd_stepper *s) {
    for (int i = 0; i <= DUKD_MAX_NETWORKS; i++) /* all have taken the same */
        if (adam_steps(s, i)) return *adam_steps(s, i);
    return 0;
}

static void add_steps(dukd_stepper *s, int64_t steps) {
    for (int i = 0; i <= DUKD_MAX_NETWORKS; i++)
        if (adam_steps(s, i)) *adam_steps(s, i) += steps;
}

/* to += sign * of, but for `images`, which dukd_stepper_run counts. */
static void add_costs(dukd_step_counts *to, const dukd_step_counts *of, int sign) {
    to->optimizer_steps += sign * of->optimizer_steps;
    to->skipped_steps += sign * of->skipped_steps;
    to->student_passes += sign * of->student_passes;
    to->student_images += sign * of->student_images;
    to->teacher_passes += sign * of->teacher_passes;
    to->teacher_images += sign * of->teacher_images;
    to->feature_passes += sign * of->feature_passes;
    to->feature_images += sign * of->feature_images;
}

/* ---------------------------------------------------------------- recording */

/* Runs nothing: what the step's calls ask for is noted down, and what they count is taken back. */
static int record(dukd_stepper *s, const dukd_step *step, dukd_failure *f) {
    const dukd_step_counts before = dukd_stepper_counts(s);
    const int64_t steps = steps_taken(s);
    int status = dukd_recording_begin(s->o.engine, f);
    if (status) return status;
    status = dukd_step_run_part(s, step, f);
    if (status)
        dukd_recording_end(s->o.engine, NULL, NULL);
    else
        status = dukd_recording_end(s->o.engine, &s->record.recording, f);
    s->record.costs = dukd_stepper_counts(s);
    s->record.steps = steps_taken(s) - steps;
    add_costs(&s->record.costs, &before, -1);
    add_costs(&s->counts, &s->record.costs, -1);
    add_steps(s, -s->record.steps);
    s->optimized = 0;
    return status;
}

static int replay(dukd_stepper *s, const dukd_step *step, dukd_failure *f) {
    dukd_error e = dukd_error_ready();
    const int32_t code = s->record.graph->before_replay(s->session, step, &e);
    if (code != DUKD_OK) return dukd_fail_plugin(f, "before_replay", code, &e);
    const int status = dukd_recording_replay(s->record.recording, f);
    add_costs(&s->counts, &s->record.costs, 1);
    add_steps(s, s->record.steps);
    return status;
}

int dukd_step_run_or_replay(dukd_stepper *s, const dukd_step *step, dukd_failure *f) {
    dukd_step_record *r = &s->record;
    dukd_failure why = {0};
    if (!r->graph || (!r->recording && r->runs++ < RUNS_BEFORE)) return dukd_step_run_part(s, step, f);
    if (r->recording || !record(s, step, &why)) return replay(s, step, f);
    /* Nothing has run: the step is still to be made. */
    char words[1200];
    snprintf(words, sizeof words, "steps are run call by call, they cannot be recorded: %s", why.message);
    if (s->o.log) s->o.log(s->o.log_ctx, DUKD_LOG_WARNING, words);
    r->graph = NULL;
    return dukd_step_run_part(s, step, f);
}
