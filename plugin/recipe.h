/* What a step does, as data: the passes, their inputs, taps and losses. A mode writes a recipe
 * (upcycle/paper.c, upcycle/official.c); the session carries it out and knows no mode. Pure functions of a
 * configuration. [thread-safe]
 *
 * A new loss adds taps and comparisons to a pass that has its input already (so that terms on identical
 * inputs share a pass and their taps), or a pass of its own. */
#ifndef DUKD_RECIPE_H
#define DUKD_RECIPE_H

#include "config.h"

#define DUKD_MAX_PASSES   3
#define DUKD_MAX_INPUTS   2 /* a pass */
#define DUKD_MAX_TAPS     4 /* a pass */
#define DUKD_MAX_COMPARES 2 /* a pass */
#define DUKD_MAX_LOSSES   6
#define DUKD_NO_TAP       UINT32_MAX

/* Where a pass's images come from. */
typedef enum {
    DUKD_IMAGES_LR,       /* the batch itself */
    DUKD_IMAGES_ZOOM_IN,  /* crops of HR, `crops` an image: image c N + b is crop c of batch image b */
    DUKD_IMAGES_ZOOM_OUT, /* LR scaled down */
} dukd_images;

typedef enum { DUKD_STUDENT, DUKD_TEACHER, DUKD_ROLES } dukd_role;

typedef struct {
    dukd_role network;
    uint32_t input; /* of the pass */
    uint32_t flags; /* DUKD_TAP_... */
} dukd_tap_recipe;

typedef enum { DUKD_TARGET_TAP, DUKD_TARGET_LR, DUKD_TARGET_HR } dukd_target_kind;

typedef struct {
    dukd_target_kind kind;
    uint32_t tap;  /* TAP */
    uint32_t loss; /* index into the recipe's losses */
} dukd_target_recipe;

/* L1 between a tap (mapped back by B where its input is the augmented one) and its targets. */
typedef struct {
    uint32_t value; /* tap */
    bool map_back;
    uint32_t n_targets;
    dukd_target_recipe target[2];
} dukd_compare_recipe;

typedef struct {
    dukd_images images;
    uint32_t flags; /* DUKD_PASS_... of a step without micro-batches */
    uint32_t n_inputs;
    uint32_t plain, augmented; /* inputs; the same where D can never act */
    uint32_t n_taps, n_compares;
    dukd_tap_recipe tap[DUKD_MAX_TAPS];
    dukd_compare_recipe compare[DUKD_MAX_COMPARES];
    uint32_t hardest; /* tap T(x) whose submission decides the crops of the zoom-in pass; DUKD_NO_TAP: none */
    int32_t after;    /* pass that must be submitted before this one is handed out; -1: none */
} dukd_pass_recipe;

typedef struct {
    const char *name;
    double weight;   /* in the total, and of its gradient */
    double reported; /* factor of the logged value: 1, or the weight where a mode logs weighted losses */
} dukd_loss_recipe;

typedef struct {
    uint32_t n_passes, n_losses;
    dukd_pass_recipe pass[DUKD_MAX_PASSES];
    dukd_loss_recipe loss[DUKD_MAX_LOSSES];
} dukd_recipe;

void dukd_recipe_build(dukd_recipe *r, const dukd_config *c);

/* ---- what the modes write with; indices are below the limits above (asserted) ---- */

/* A new pass with its inputs: two where `augments`, else one. */
dukd_pass_recipe *dukd_recipe_pass(dukd_recipe *r, dukd_images images, bool augments);
/* The tap of `network` at `input`; one that is there already is shared, and its flags are joined. */
uint32_t dukd_recipe_tap(dukd_pass_recipe *p, dukd_role network, uint32_t input, uint32_t flags);
/* One L1 term: the student's output for the augmented input against a target, added to a comparison that the
 * pass has already. weight > 0. `tap` is for DUKD_TARGET_TAP. */
void dukd_recipe_l1(dukd_recipe *r, dukd_pass_recipe *p, dukd_target_kind kind, uint32_t tap,
                    const char *name, double weight, double reported);

#endif
