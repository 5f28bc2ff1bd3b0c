/* The student's weights, their average, Adam and the schedule around a stepper. */
#include "train/learner.h"

#include <stdlib.h>
#include <string.h>

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
    *l = (dukd_learner){.graph = options->step.student, .schedule = options->schedule};
    l->count = dukd_graph_weights(l->graph);
    const size_t bytes = (size_t)l->count * sizeof *l->weights;
    const int average = options->step.ema_decay > 0;
    l->weights = dukd_weights_alloc(l->count);
    if (average) l->ema = dukd_weights_alloc(l->count);
    int status = 0;
    if (!l->weights || (average && !l->ema)) {
        status = dukd_fail_memory(f, "the student's weights", bytes);
        goto fail;
    }
    memcpy(l->weights, options->start, bytes);
    if (average) memcpy(l->ema, options->start_ema ? options->start_ema : options->start, bytes);
    status = dukd_adam_create(&l->adam, options->adam, l->count, f);
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
    free(l->weights);
    free(l->ema);
    *l = (dukd_learner){0};
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
