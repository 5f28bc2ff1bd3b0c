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
#define DUKD_MAX_INPUTS   2                         /* a pass */
#define DUKD_MAX_TAPS     (2 + 5 * DUKD_MAX_LAYERS) /* a pass: outputs, fakd's layers, csd's */
#define DUKD_MAX_COMPARES 2                         /* a pass */
#define DUKD_MAX_LOSSES   8
#define DUKD_NO_TAP       UINT32_MAX
#define DUKD_NO_INPUT     UINT32_MAX

/* Where a pass's images come from. */
typedef enum {
    DUKD_IMAGES_LR,       /* the batch itself */
    DUKD_IMAGES_ZOOM_IN,  /* crops of HR, `crops` an image: image c N + b is crop c of batch image b */
    DUKD_IMAGES_ZOOM_OUT, /* LR scaled down */
} dukd_images;

typedef enum { DUKD_STUDENT, DUKD_TEACHER, DUKD_FEATURES, DUKD_ROLES } dukd_role;

typedef struct {
    dukd_role network;
    bool derived;      /* computed from a tap */
    uint32_t source;   /* input of the pass, or an earlier tap of it */
    uint32_t flags;    /* DUKD_TAP_... */
    const char *layer; /* in the configuration; NULL: the output */
} dukd_tap_recipe;

typedef enum { DUKD_TARGET_TAP, DUKD_TARGET_LR, DUKD_TARGET_HR } dukd_target_kind;

typedef struct {
    dukd_target_kind kind;
    uint32_t tap;  /* TAP */
    uint32_t loss; /* index into the recipe's losses */
} dukd_target_recipe;

/* One layer of FAKD: mean |A_S - A_T|, added to its loss. */
typedef struct {
    uint32_t student, teacher; /* taps */
    uint32_t loss;
} dukd_affinity_recipe;

/* One layer of CSD: weight |F(T) - F(S)| / (mean_K |F(neg) - F(S)| + 1e-7), added to its loss. */
typedef struct {
    uint32_t student, teacher, negatives; /* taps */
    uint32_t loss;
    double weight; /* of this layer in the loss */
} dukd_contrast_recipe;

/* L1 between a tap (mapped back by B where its input is the augmented one) and its targets. */
typedef struct {
    uint32_t value; /* tap */
    bool map_back;
    uint32_t
        n_targets; /* 0: only that its gradient is filled with zeros; what flows comes through derived taps */
    dukd_target_recipe target[2];
} dukd_compare_recipe;

typedef struct {
    dukd_images images;
    uint32_t flags; /* DUKD_PASS_... of a step without micro-batches */
    uint32_t n_inputs;
    uint32_t plain, augmented; /* inputs; the same where D can never act */
    uint32_t negatives;        /* the input that has the upsampled LR; DUKD_NO_INPUT: there is none */
    uint32_t n_taps, n_compares, n_affinities, n_contrasts;
    dukd_tap_recipe tap[DUKD_MAX_TAPS];
    dukd_compare_recipe compare[DUKD_MAX_COMPARES];
    dukd_affinity_recipe affinity[DUKD_MAX_LAYERS];
    dukd_contrast_recipe contrast[DUKD_MAX_LAYERS];
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

/* Layer names are those in *c, which must stay where it is. */
void dukd_recipe_build(dukd_recipe *r, const dukd_config *c);

/* ---- what the modes write with; indices are below the limits above (asserted) ---- */

/* A new pass with its inputs: two where `augments`, else one. */
dukd_pass_recipe *dukd_recipe_pass(dukd_recipe *r, dukd_images images, bool augments);
/* The output of `network` for `input`; one that is there already is shared, and its flags are joined. */
uint32_t dukd_recipe_tap(dukd_pass_recipe *p, dukd_role network, uint32_t input, uint32_t flags);
/* The same for any tap. Of other networks than the student one with a gradient and one without are two: what a loss holds
 * fixed has no derivative. */
uint32_t dukd_recipe_any_tap(dukd_pass_recipe *p, const dukd_tap_recipe *tap);
/* A comparison of tap `value`, which wants its gradient, without a target so far; one that is there is shared. */
dukd_compare_recipe *dukd_recipe_compare(dukd_pass_recipe *p, uint32_t value);
/* A target of a comparison, and its loss. */
void dukd_recipe_target(dukd_recipe *r, dukd_compare_recipe *compare, dukd_target_kind kind, uint32_t tap,
                        const char *name, double weight, double reported);
/* A loss; its index. */
uint32_t dukd_recipe_loss(dukd_recipe *r, const char *name, double weight, double reported);
/* One L1 term: the student's output for the augmented input against a target, added to a comparison that the
 * pass has already. weight > 0. `tap` is for DUKD_TARGET_TAP. */
void dukd_recipe_l1(dukd_recipe *r, dukd_pass_recipe *p, dukd_target_kind kind, uint32_t tap,
                    const char *name, double weight, double reported);

/* ---- recipe_features.c: fakd and csd on a pass of the LR images ---- */

/* FAKD's taps and affinities, where the configuration has them. */
void dukd_recipe_affinity(dukd_recipe *r, dukd_pass_recipe *p, const dukd_config *c, const char *name,
                          double reported);
/* CSD's: negatives, features, L_con, and the teacher's own loss. `answer` is the tap T(x). */
void dukd_recipe_contrast(dukd_recipe *r, dukd_pass_recipe *p, const dukd_config *c, uint32_t answer);

#endif
