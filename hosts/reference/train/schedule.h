/* The learning rate of an iteration, as BasicSR's schedulers set it.
 *
 * BasicSR steps its scheduler at the start of every iteration but the first (base_model.py,
 * update_learning_rate), so that the scheduler stands at t - 1 in iteration t: a milestone of 100000 first
 * acts at iteration 100001. MultiStepRestartLR multiplies the rate that is set, and a warm-up sets it too: in
 * BasicSR the rate stays where the warm-up left it, at init (W - 1) / W from iteration W on, until a restart.
 * That is reproduced (and shown by a test); CosineAnnealingRestartLR computes the rate anew and is not
 * concerned.
 *
 * The rate is a pure function of the iteration: nothing of it needs to be saved. [thread-safe] */
#ifndef DUKD_SCHEDULE_H
#define DUKD_SCHEDULE_H

#include <stdint.h>

#include "common/failure.h"

#define DUKD_SCHEDULE_MAX 64 /* milestones, restarts or periods */

typedef enum {
    DUKD_SCHEDULE_CONSTANT,
    DUKD_SCHEDULE_MULTI_STEP, /* MultiStepLR, MultiStepRestartLR */
    DUKD_SCHEDULE_COSINE,     /* CosineAnnealingRestartLR */
} dukd_schedule_kind;

/* Plain data. */
typedef struct {
    dukd_schedule_kind kind;
    double rate;         /* optim_g.lr */
    int64_t warmup_iter; /* linear over the iterations below it; 0 or -1: none */
    /* MULTI_STEP */
    int32_t milestone_count;
    int64_t milestones[DUKD_SCHEDULE_MAX]; /* in any order; one that is listed twice counts twice */
    double gamma;
    int32_t restart_count;
    int64_t restarts[DUKD_SCHEDULE_MAX];
    /* COSINE */
    int32_t period_count;
    int64_t periods[DUKD_SCHEDULE_MAX];
    double eta_min;
    /* MULTI_STEP: one a restart; COSINE: one a period */
    double restart_weights[DUKD_SCHEDULE_MAX];
} dukd_schedule;

/* The rate of iteration t, from 1. A cosine schedule past its last period (where BasicSR crashes) stays at
 * the end of that period. */
double dukd_schedule_rate(const dukd_schedule *s, int64_t iteration);

#endif
