/* A stepper's insides: what step.c (session, iteration, life) and step_pass.c (one pass) share. Only for these two. */
#ifndef DUKD_STEP_STATE_H
#define DUKD_STEP_STATE_H

#include "dukd_ext_graph.h"
#include "engine/join.h"
#include "engine/mirror.h"
#include "engine/recording.h"
#include "engine/transfers.h"
#include "train/answers.h"
#include "train/drops.h"
#include "train/host_networks.h"
#include "train/share.h"
#include "train/step.h"
#include "train/step_plan.h"

/* A micro-batch as one. */
typedef struct {
    dukd_recording *recording;
    dukd_step_counts costs; /* of a replay */
    int64_t steps;          /* of the optimizer in it */
} dukd_part_record;

/* A step as one (step_record.c). */
typedef struct {
    const dukd_ext_graph *graph; /* the plugin's; NULL: steps are not recorded */
    dukd_part_record *parts;     /* [micro_batches]; NULL where graph is */
    int32_t recorded;            /* all of them are */
    int32_t runs;                /* iterations that were run call by call */
} dukd_step_record;

/* An iteration's batch, in the engine's memory. */
typedef struct {
    int64_t iteration, first_sample;
    const float *lr, *hr;
} dukd_step_batch;

/* A part of it as the plugin sees it. It points into itself. */
typedef struct {
    dukd_step step;
    dukd_tensor lr, hr;
    int64_t lr_shape[4], hr_shape[4];
} dukd_step_part;

struct dukd_stepper {
    dukd_stepper_options o;
    dukd_host host;
    dukd_host_networks networks;
    dukd_network *compiled[DUKD_MAX_NETWORKS];
    dukd_trained sets[DUKD_MAX_NETWORKS];  /* of each network; zeroed: frozen */
    dukd_mirror frozen[DUKD_MAX_NETWORKS]; /* weights of those that are frozen; zeroed: trained */
    dukd_share share;                      /* of student and teacher; zeroed: they share nothing */
    dukd_session *session;
    const dukd_plan *plan;
    dukd_step_plan slots;
    dukd_own_params own;                      /* that the plugin brings */
    dukd_answers *answers[DUKD_MAX_NETWORKS]; /* NULL: nothing is asked of the network that way */
    const dukd_pass **held;                   /* [plan->n_passes] */
    float *input_room;                        /* a dense copy of an input that is not */
    float *lr, *hr;                           /* the batch on a device; NULL on the processor */
    dukd_feed *lr_feed, *hr_feed;             /* what brings it there; NULL as well */
    int32_t prepared;                         /* the next batch has been sent */
    dukd_optimizer_scalars *scalars;          /* [scalar_room] of this iteration's optimizer steps, and */
    dukd_optimizer_scalars *scalars_there;    /* the same in the engine's memory */
    int32_t scalar_room, optimized;           /* optimized: steps taken in this iteration */
    /* In the engine's memory: not 0 where something that is not finite went into the gradients since they were cleared; with `late`
     * since the beginning. */
    int32_t *flag;
    int32_t
        late; /* 1: a device with nonfinite STOP. Steps look at the flag by themselves, the host looks later */
    dukd_report *reports[2]; /* of the flag after an iteration; with `late`, used in turn */
    int64_t reported[2];     /* the iteration that each is of; 0: none */
    dukd_step_record record;
    int broken;                      /* of this iteration, where the host knows it already */
    int64_t looked;                  /* the iteration whose losses were read last */
    int moved;                       /* an optimizer step was made since the average was updated */
    dukd_failure refused;            /* why a network cannot compute a tap of the plan */
    int64_t iteration, first_sample; /* of the part that is run */
    const dukd_tap_group *fresh;     /* whose activations the engine has kept; NULL: nobody's */
    int64_t run_passes[DUKD_MAX_NETWORKS], run_images[DUKD_MAX_NETWORKS]; /* forward runs, but for answers */
    dukd_step_counts counts; /* but for passes and images of networks: those before this stepper */
    dukd_losses losses;
    uint32_t begun;      /* bit i: the mean of set i's gradient has begun beside its backward */
    double *mean_losses; /* [losses.n_losses] over the ranks; NULL where there is one */
};

/* Which images of a tap these are, for the draws of its drop paths. */
dukd_drop_key dukd_step_key(const dukd_stepper *s, const dukd_pass *pass, uint32_t tap);

/* Everything that a pass asks for, but for what was answered already (answers). */
int dukd_step_run_pass(dukd_stepper *s, const dukd_pass *pass, dukd_failure *f);

/* One micro-batch, call by call. */
int dukd_step_run_part(dukd_stepper *s, const dukd_step *step, dukd_failure *f);

/* Begins with part i of a batch: *out is it, and what the stepper knows of it. */
void dukd_step_begin_part(dukd_stepper *s, const dukd_step_batch *b, int32_t i, dukd_step_part *out);

/* Records the batch's parts once that can be done: on an engine that records, with a plugin that has dukd.graph/1, after a few iterations
 * call by call. *replays: the parts are replayed and not run; on all ranks or on none. */
int dukd_step_record_batch(dukd_stepper *s, const dukd_step_batch *b, int *replays, dukd_failure *f);
int dukd_step_replay_part(dukd_stepper *s, const dukd_step *step, dukd_failure *f);
/* Whether this stepper's steps can be recorded at all; else *why says what stands against it. */
int dukd_step_can_record(const dukd_stepper *s, const char **why);
int dukd_step_open_record(dukd_stepper *s, dukd_failure *f); /* once everything else is made */
void dukd_step_close_record(dukd_stepper *s);
void dukd_step_forget_record(dukd_stepper *s); /* what was recorded no longer holds */

/* Draws the drop paths of all passes of the part that begins. */
int dukd_step_draw_drops(dukd_stepper *s, dukd_failure *f);

/* step_ranks.c. Around the backward of group k of a pass, where the engines have joined: gradients are averaged as they become ready.
 * dukd_step_listen returns whether this backward is one of those; then dukd_step_heard follows it. */
typedef struct {
    dukd_engine *engine;
    float *gradient;
    int64_t first, count; /* that are ready and not begun yet */
    int64_t begun;
    dukd_failure failure;
} dukd_bucket;
int dukd_step_listen(dukd_stepper *s, const dukd_pass *pass, int32_t k, dukd_bucket *b);
/* failed: the status of the backward; it is what comes back then. */
int dukd_step_heard(dukd_stepper *s, const dukd_pass *pass, int32_t k, dukd_bucket *b, int failed,
                    dukd_failure *f);

/* Do ranks meet on the processor in the middle of a step, and wait for it? Not where the engines have joined and steps look at the flag by
 * themselves: gradients and flag are averaged on the devices alone. */
static inline int dukd_step_ranks_wait(const dukd_stepper *s) {
    return s->o.ranks && !(s->o.joined && s->late);
}
/* step_ranks.c. A graph with sums over ranks must be recorded and replayed by all of them: *can becomes 0 where it is for any; *why becomes the
 * first rank's whose recording has failed (a failure in the sums is everybody's end). */
int dukd_step_all_can_record(dukd_stepper *s, int *can, dukd_failure *f);
int dukd_step_all_recorded(dukd_stepper *s, dukd_failure *why, dukd_failure *f);
/* step_ranks.c. Before the host waits for a step that ranks have not met in: one that has failed never comes to its sums. */
int dukd_step_before_look(dukd_stepper *s, dukd_failure *f);

/* step_ranks.c. Before an optimizer step: all ranks get the means of their gradients, and gradient_broken where it is set on any. What is in
 * the gradients from an earlier mean (of a step after which they were not cleared) stays what it is. After the losses were read: theirs. */
int dukd_step_average_gradients(dukd_stepper *s, dukd_failure *f);
int dukd_step_average_losses(dukd_stepper *s, dukd_failure *f);

/* Gives the trained networks their weights, after the arrays have changed. */
int dukd_step_set_weights(dukd_stepper *s, dukd_failure *f);

#endif
