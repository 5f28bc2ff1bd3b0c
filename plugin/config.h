/* What a session trains by: the options, resolved and checked against each other. Plain data; everything
 * after it reads this and no option. */
#ifndef DUKD_CONFIG_H
#define DUKD_CONFIG_H

#include "options.h"

#define DUKD_MAX_LAYERS 16 /* a list of them */
#define DUKD_LAYER_NAME 64 /* bytes of a layer's name, with the final 0 */

/* How zoomed-in crops are chosen. */
typedef enum {
    DUKD_CROP_NONE,
    DUKD_CROP_RANDOM,      /* any offset, each image its own */
    DUKD_CROP_GRID,        /* an aligned tile, each image its own */
    DUKD_CROP_BATCH_TILES, /* official: aligned tiles, the same for the whole batch */
    DUKD_CROP_HARDEST,     /* where |T(x) - y| is largest */
} dukd_crop_rule;

/* Layers of a network, by the host's names for them. */
typedef struct {
    uint32_t n;
    char name[DUKD_MAX_LAYERS][DUKD_LAYER_NAME];
} dukd_layer_list;

typedef struct {
    uint32_t mode; /* DUKD_MODE_... */
    /* Weights, 0 where a term is off. Official mode, BaseKD, SRModel, FAKD: w_rec is pixel_opt's, w_kd is kd_opt's,
     * w_fakd is feature_opt's, w_dukd 0. */
    double w_rec, w_kd, w_dukd;
    dukd_crop_rule crop; /* NONE where nothing needs it */
    uint32_t crops;      /* an image, >= 1 */
    bool zoom_out;       /* false where nothing needs it */
    /* D: probabilities of flip columns, flip rows, turn (paper) or transpose (official), invert */
    double p_flip_w, p_flip_h, p_turn, p_invert;
    bool teacher_train;                         /* the teacher runs in training mode */
    uint32_t backend;                           /* DUKD_BACKEND_... */
    bool ignored_tiles;                         /* n_gt_sub has numbers that nobody reads */
    double w_fakd;                              /* of the affinity; 0: no layers */
    dukd_layer_list fakd_student, fakd_teacher; /* as many of each */
    double w_csd, w_csd_teacher;                /* of L_con, and of |T - y| */
    dukd_layer_list csd;                        /* of the feature network; none where w_csd is 0 */
    double csd_weight[DUKD_MAX_LAYERS];         /* w_i of L_con */
    uint32_t negatives;                         /* at most; 0 where w_csd is 0 */
    bool csd_detach;                            /* L_con has no gradient for the teacher */
} dukd_config;

/* Whether the teacher is trained. */
bool dukd_config_trains_teacher(const dukd_config *c);
/* Whether anything asks the teacher. */
bool dukd_config_teaches(const dukd_config *c);
/* Whether D can change anything on zoomed-in (zoom_out: zoomed-out) images. */
bool dukd_config_augments(const dukd_config *c, bool zoom_out);

/* DUKD_E_OPTION: an option of another mode, one that is missing, or two that do not go together. scale: of
 * the session. */
int32_t dukd_config_resolve(dukd_config *out, const dukd_options *options, int32_t scale, dukd_error *error);

const char *dukd_mode_name(uint32_t mode); /* "paper mode", "official mode", "BaseKD", "SRModel", "FAKD" */

/* The configuration as text, "name = value" after "name = value", each followed by `separator`: what decides
 * which loss is computed and nothing else (not the backend, nor how a batch is cut). Writes at most `size`
 * bytes with the final 0; returns the length without it, which may be larger. */
uint32_t dukd_config_text(const dukd_config *c, const char *separator, char *room, uint32_t size);

/* ---- config_layers.c: what config.c reads the layers of fakd and csd with. All: DUKD_E_OPTION ---- */

/* fakd's layers from options `student` and `teacher` (absent: the student's names). */
int32_t dukd_config_fakd_layers(dukd_config *c, const dukd_options *o, dukd_option_id student,
                                dukd_option_id teacher, dukd_error *error);
/* csd's layers, their weights, its negatives. */
int32_t dukd_config_csd(dukd_config *c, const dukd_options *o, dukd_error *error);

#endif
