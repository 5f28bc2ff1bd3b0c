/* A step as one: recorded after a few iterations that were run call by call, and replayed from then on.
 *
 * Everything that changes from step to step is read from the engine's memory: the batch, the optimizer's scalars, the factors of drop
 * paths, and the plugin's draws, which before_replay writes. What a step's calls count on the processor's side is counted once and added
 * with each replay. Micro-batches are recorded each on its own.
 *
 * Of several ranks all record in the same iteration, and all replay what they have recorded, or none does: they meet when the stepper
 * is made, and once more when the step is recorded, before anything has run. */
#include <stdio.h>
#include <stdlib.h>

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
    else if (dukd_step_ranks_wait(s))
        *why = "ranks average gradients in the processor's memory, in the middle of a step";
    else if (answers_drop(s))
        *why = "the teacher is in training mode and has drop paths";
    return !*why;
}

int dukd_step_open_record(dukd_stepper *s, dukd_failure *f) {
    const char *why;
    s->record = (dukd_step_record){0};
    int can = dukd_step_can_record(s, &why);
    const int status = dukd_step_all_can_record(s, &can, f);
    if (status || !can) return status;
    const size_t bytes = (size_t)s->o.micro_batches * sizeof *s->record.parts;
    s->record.parts = calloc(1, bytes);
    if (!s->record.parts) return dukd_fail_memory(f, "recorded steps", bytes);
    s->record.graph = s->o.plugin->get_extension(DUKD_EXT_GRAPH);
    return 0;
}

void dukd_step_forget_record(dukd_stepper *s) {
    for (int32_t i = 0; s->record.parts && i < s->o.micro_batches; i++) {
        dukd_recording_free(s->record.parts[i].recording);
        s->record.parts[i] = (dukd_part_record){0};
    }
    s->record.recorded = s->record.runs = 0;
}

void dukd_step_close_record(dukd_stepper *s) {
    dukd_step_forget_record(s);
    free(s->record.parts);
    s->record = (dukd_step_record){0};
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

/* Runs nothing: what the part's calls ask for is noted down, and what they count is taken back. */
static int record(dukd_stepper *s, const dukd_step *step, dukd_part_record *r, dukd_failure *f) {
    const dukd_step_counts before = dukd_stepper_counts(s);
    const int64_t steps = steps_taken(s);
    int status = dukd_recording_begin(s->o.engine, f);
    if (status) return status;
    status = dukd_step_run_part(s, step, f);
    if (status)
        dukd_recording_end(s->o.engine, NULL, NULL);
    else
        status = dukd_recording_end(s->o.engine, &r->recording, f);
    r->costs = dukd_stepper_counts(s);
    r->steps = steps_taken(s) - steps;
    add_costs(&r->costs, &before, -1);
    add_costs(&s->counts, &r->costs, -1);
    add_steps(s, -r->steps);
    return status;
}

/* The plugin wants all parts captured before the first is replayed. */
static int record_parts(dukd_stepper *s, const dukd_step_batch *b, dukd_failure *f) {
    int status = 0;
    for (int32_t i = 0; i < s->o.micro_batches && !status; i++) {
        dukd_step_part part;
        dukd_step_begin_part(s, b, i, &part);
        status = record(s, &part.step, &s->record.parts[i], f);
    }
    s->optimized = 0; /* none of it has run, nor begun to be averaged */
    s->begun = 0;
    return status;
}

int dukd_step_record_batch(dukd_stepper *s, const dukd_step_batch *b, int *replays, dukd_failure *f) {
    dukd_step_record *r = &s->record;
    dukd_failure why = {0};
    *replays = r->recorded;
    if (!r->graph || r->recorded || r->runs++ < RUNS_BEFORE) return 0;
    (void)record_parts(s, b, &why);
    const int status = dukd_step_all_recorded(s, &why, f);
    if (status) return status;
    *replays = r->recorded = !why.status;
    if (r->recorded) return 0;
    /* The step is still to be made. */
    char words[1200];
    snprintf(words, sizeof words, "steps are run call by call, they cannot be recorded: %s", why.message);
    if (s->o.log) s->o.log(s->o.log_ctx, DUKD_LOG_WARNING, words);
    dukd_step_close_record(s);
    return 0;
}

int dukd_step_replay_part(dukd_stepper *s, const dukd_step *step, dukd_failure *f) {
    const dukd_part_record *r = &s->record.parts[step->micro_index];
    dukd_error e = dukd_error_ready();
    int status = s->o.joined ? dukd_join_check(s->o.engine, f) : 0;
    if (status) return status;
    const int32_t code = s->record.graph->before_replay(s->session, step, &e);
    if (code != DUKD_OK) return dukd_fail_plugin(f, "before_replay", code, &e);
    status = dukd_recording_replay(r->recording, f);
    add_costs(&s->counts, &r->costs, 1);
    add_steps(s, r->steps);
    return status;
}
