/* What a session trains by: the options, resolved and checked against each other. Plain data; everything
 * after it reads this and no option. */
#ifndef DUKD_CONFIG_H
#define DUKD_CONFIG_H

#include "options.h"

/* How zoomed-in crops are chosen. */
typedef enum {
    DUKD_CROP_NONE,
    DUKD_CROP_RANDOM,      /* any offset, each image its own */
    DUKD_CROP_GRID,        /* an aligned tile, each image its own */
    DUKD_CROP_BATCH_TILES, /* official: aligned tiles, the same for the whole batch */
    DUKD_CROP_HARDEST,     /* where |T(x) - y| is largest */
} dukd_crop_rule;

typedef struct {
    uint32_t mode; /* DUKD_MODE_... */
    /* Weights, 0 where a term is off. Official mode, BaseKD, SRModel: w_rec is pixel_opt's, w_kd is kd_opt's,
     * w_dukd 0. */
    double w_rec, w_kd, w_dukd;
    dukd_crop_rule crop; /* NONE where nothing needs it */
    uint32_t crops;      /* an image, >= 1 */
    bool zoom_out;       /* false where nothing needs it */
    /* D: probabilities of flip columns, flip rows, turn (paper) or transpose (official), invert */
    double p_flip_w, p_flip_h, p_turn, p_invert;
    bool teacher_train; /* the teacher runs in training mode */
    uint32_t backend;   /* DUKD_BACKEND_... */
    bool ignored_tiles; /* n_gt_sub has numbers that nobody reads */
} dukd_config;

/* Whether anything asks the teacher. */
bool dukd_config_teaches(const dukd_config *c);
/* Whether D can change anything on zoomed-in (zoom_out: zoomed-out) images. */
bool dukd_config_augments(const dukd_config *c, bool zoom_out);

/* DUKD_E_OPTION: an option of another mode, one that is missing, or two that do not go together. scale: of
 * the session. */
int32_t dukd_config_resolve(dukd_config *out, const dukd_options *options, int32_t scale, dukd_error *error);

const char *dukd_mode_name(uint32_t mode); /* "paper mode", "official mode", "BaseKD", "SRModel" */

/* The configuration as text, "name = value" after "name = value", each followed by `separator`: what decides
 * which loss is computed and nothing else (not the backend, nor how a batch is cut). Writes at most `size`
 * bytes with the final 0; returns the length without it, which may be larger. */
uint32_t dukd_config_text(const dukd_config *c, const char *separator, char *room, uint32_t size);

#endif
