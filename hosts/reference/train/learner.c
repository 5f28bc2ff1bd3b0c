/* The student's weights, their average, Adam and the schedule around a stepper. */
#include "train/learner.h"

#include "train/weights.h"

static int from_loader(void *ctx, dukd_batch *out, dukd_failure *f) {
    return dukd_loader_next(ctx, out, f);
}
static double loader_waited(void *ctx) {
    return dukd_loader_waited(ctx);
}

dukd_batch_source dukd_batches_of_loader(dukd_loader *loader) {
    return (dukd_batch_source){.ctx = loader, .next = from_loader, .waited = loader_waited};
}

int dukd_learner_create(dukd_learner *l, const dukd_learner_options *options, dukd_failure *f) {
    dukd_engine *e = options->step.engine;
    *l = (dukd_learner){.engine = e, .graph = options->step.student, .schedule = options->schedule};
    l->count = dukd_graph_weights(l->graph);
    const int64_t bytes = l->count * (int64_t)sizeof *l->weights;
    const int average = options->step.ema_decay > 0;
    const float *start_ema = options->start_ema ? options->start_ema : options->start;
    int status = dukd_weights_room(e, l->count, "the student's weights", &l->weights, f);
    if (!status && average) status = dukd_weights_room(e, l->count, "the student's weights", &l->ema, f);
    if (!status) status = dukd_engine_upload(e, l->weights, options->start, bytes, f);
    if (!status && average) status = dukd_engine_upload(e, l->ema, start_ema, bytes, f);
    if (!status) status = dukd_adam_create(&l->adam, e, options->adam, l->count, f);
    if (status) goto fail;
    dukd_stepper_options step = options->step;
    step.weights = l->weights;
    step.ema = l->ema;
    step.adam = &l->adam;
    status = dukd_stepper_create(&l->stepper, &step, f);
    if (!status) return 0;
fail:
    dukd_learner_free(l);
    return status;
}

void dukd_learner_free(dukd_learner *l) {
    dukd_stepper_destroy(l->stepper);
    dukd_adam_free(&l->adam);
    dukd_engine_release(l->engine, l->weights);
    dukd_engine_release(l->engine, l->ema);
    *l = (dukd_learner){0};
}

int dukd_learner_prepare(dukd_learner *l, const dukd_batch *batch, dukd_failure *f) {
    return dukd_stepper_prepare(l->stepper, batch->lr, batch->hr, f);
}

int dukd_learner_step(dukd_learner *l, const dukd_batch *batch, dukd_failure *f) {
    if (batch->iteration != l->iteration + 1)
        return dukd_fail(f, DUKD_FAILED, "a batch of iteration %lld came where %lld was due",
                         (long long)batch->iteration, (long long)l->iteration + 1);
    l->rate = dukd_schedule_rate(&l->schedule, batch->iteration);
    int status =
        dukd_stepper_run(l->stepper, batch->iteration, batch->first_sample, batch->lr, batch->hr, l->rate, f);
    if (!status) l->iteration = batch->iteration;
    return status;
}
