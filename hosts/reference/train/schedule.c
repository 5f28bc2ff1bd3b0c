/* The learning rate of an iteration: BasicSR's schedulers and warm-up as one pure function. */
#include "train/schedule.h"

#include <math.h>

/* The scheduler's event at step `at` applied to `rate`, in the order in which MultiStepRestartLR asks. */
static double apply(const dukd_schedule *s, int64_t at, double rate) {
    for (int32_t i = 0; i < s->restart_count; i++)
        if (s->restarts[i] == at) return s->rate * s->restart_weights[i];
    int32_t times = 0;
    for (int32_t i = 0; i < s->milestone_count; i++) times += s->milestones[i] == at;
    return times ? rate * pow(s->gamma, times) : rate;
}

/* The first event at or after `from`, or INT64_MAX. */
static int64_t next_event(const dukd_schedule *s, int64_t from) {
    int64_t next = INT64_MAX;
    for (int32_t i = 0; i < s->milestone_count; i++)
        if (s->milestones[i] >= from && s->milestones[i] < next) next = s->milestones[i];
    for (int32_t i = 0; i < s->restart_count; i++)
        if (s->restarts[i] >= from && s->restarts[i] < next) next = s->restarts[i];
    return next;
}

static double multi_step(const dukd_schedule *s, int64_t iteration) {
    double rate = s->rate;
    int64_t from = 0;
    if (s->warmup_iter > 1) { /* what the scheduler did during the warm-up was overwritten by it */
        rate = s->rate / (double)s->warmup_iter * (double)(s->warmup_iter - 1);
        from = s->warmup_iter - 1;
    }
    for (int64_t at = next_event(s, from); at <= iteration - 1; at = next_event(s, at + 1))
        rate = apply(s, at, rate);
    return rate;
}

static double cosine(const dukd_schedule *s, int64_t iteration) {
    int64_t at = iteration - 1, start = 0;
    int32_t i = 0;
    while (i + 1 < s->period_count && at > start + s->periods[i]) start += s->periods[i++];
    double place = (double)(at - start) / (double)s->periods[i];
    if (place > 1) place = 1;
    const double pi = 3.14159265358979323846;
    return s->eta_min + s->restart_weights[i] * 0.5 * (s->rate - s->eta_min) * (1 + cos(pi * place));
}

double dukd_schedule_rate(const dukd_schedule *s, int64_t iteration) {
    if (iteration < s->warmup_iter) return s->rate / (double)s->warmup_iter * (double)iteration;
    switch (s->kind) {
    case DUKD_SCHEDULE_MULTI_STEP:
    case DUKD_SCHEDULE_CONSTANT: /* one without events */
        return multi_step(s, iteration);
    case DUKD_SCHEDULE_COSINE:
        return s->period_count ? cosine(s, iteration) : s->rate;
    }
    return s->rate;
}
