/* The table of options. A row more: a name in dukd_option_id, a line here, its meaning in config.c. */
#include "options.h"

#include <math.h>
#include <stddef.h>

static const char *const model_types[] = {"DUKDPlugin", "DUKD", "BaseKD", "SRModel", "FAKD"};
static const char *const modes[] = {"paper", "official"};
static const char *const terms[] = {"rec", "kd", "dukd", "fakd", "csd"};
static const char *const zoom_ins[] = {"random", "grid", "hardest", "none"};
static const char *const losses[] = {"L1Loss"};
static const char *const transformations[] = {"SA"};
static const char *const reductions[] = {"mean"};
static const char *const teacher_modes[] = {"eval", "train"};
static const char *const backends[] = {"auto", "cpu", "cuda"};

#define BOOL    DUKD_OPTION_BOOL
#define INT     DUKD_OPTION_INT
#define FLOAT   DUKD_OPTION_FLOAT
#define STRING  DUKD_OPTION_STRING
#define LIST_OF DUKD_OPTION_LIST |

#define NO_RANGE         -INFINITY, INFINITY
#define RANGE(low, high) low, high
#define NO_CHOICES       NULL, 0
#define CHOICES(list)    list, (uint32_t)(sizeof(list) / sizeof *(list))

#define PAPER    DUKD_MODE_PAPER
#define OFFICIAL DUKD_MODE_OFFICIAL
#define BASEKD   DUKD_MODE_BASEKD
#define SRMODEL  DUKD_MODE_SRMODEL
#define FAKD     DUKD_MODE_FAKD

#define WEIGHT_MAX 1e30 /* finite, and no product of two overflows */
#define CROPS_MAX  1024

/* ROW(id, key, type, default as one would write it or NULL, range, choices, modes it belongs to, help) */
#define TABLE(ROW)                                                                                           \
    ROW(MODEL_TYPE, "model_type", STRING, "DUKDPlugin", NO_RANGE, CHOICES(model_types), DUKD_MODE_ALL,       \
        "what to train by: DUKDPlugin: the paper's loss; DUKD, BaseKD: the authors' released code; "         \
        "SRModel: pixel loss; FAKD: the released code's FAKD")                                               \
    ROW(MODE, "train.mode", STRING, NULL, NO_RANGE, CHOICES(modes), PAPER | OFFICIAL,                        \
        "paper: one loss, one step; official: two steps as released; default: official for model_type "      \
        "DUKD, else paper")                                                                                  \
    ROW(TERMS, "train.terms", LIST_OF STRING, "[rec, kd, dukd]", NO_RANGE, CHOICES(terms), PAPER,            \
        "the terms of the loss: rec |S(x) - y|, kd |S(x) - T(x)|, dukd the upcycled data (zoom in, zoom "    \
        "out), fakd the affinity of features, csd contrast; fakd or csd without rec and kd bring their own") \
    ROW(W_REC, "train.w_rec", FLOAT, NULL, RANGE(0, WEIGHT_MAX), NO_CHOICES, PAPER,                          \
        "weight of rec; 0 switches it off; default: 1, and 0.5 where fakd brings rec")                       \
    ROW(W_KD, "train.w_kd", FLOAT, NULL, RANGE(0, WEIGHT_MAX), NO_CHOICES, PAPER,                            \
        "weight of kd; 0 switches it off; default: 1, and 0.5 where fakd brings kd")                         \
    ROW(W_DUKD, "train.w_dukd", FLOAT, "1", RANGE(0, WEIGHT_MAX), NO_CHOICES, PAPER,                         \
        "weight of dukd; 0 switches it off")                                                                 \
    ROW(W_FAKD, "train.w_fakd", FLOAT, "10", RANGE(0, WEIGHT_MAX), NO_CHOICES, PAPER,                        \
        "weight of fakd's sum over layers of mean |A_S - A_T|; 0 switches it off")                           \
    ROW(W_CSD, "train.w_csd", FLOAT, "200", RANGE(0, WEIGHT_MAX), NO_CHOICES, PAPER,                         \
        "weight of csd's contrast L_con; 0 switches it off")                                                 \
    ROW(W_CSD_TEACHER, "train.w_csd_teacher", FLOAT, "1", RANGE(0, WEIGHT_MAX), NO_CHOICES, PAPER,           \
        "weight of csd's |T(x) - y|, by which the teacher is trained; 0 switches it off")                    \
    ROW(FAKD_LAYERS, "train.fakd.layers", LIST_OF STRING, NULL, NO_RANGE, NO_CHOICES, PAPER,                 \
        "fakd's layers of the student, by BasicSR's names; a number N is body.N; conv_after_body is the "    \
        "map after the long skip")                                                                           \
    ROW(FAKD_TEACHER_LAYERS, "train.fakd.teacher_layers", LIST_OF STRING, NULL, NO_RANGE, NO_CHOICES, PAPER, \
        "fakd's layers of the teacher, one for each of the student's; default: the same names")              \
    ROW(CSD_LAYERS, "train.csd.layers", LIST_OF STRING,                                                      \
        "[features.1, features.6, features.11, features.20, features.29]", NO_RANGE, NO_CHOICES, PAPER,      \
        "csd's layers of the feature network, by torchvision's names for VGG19")                             \
    ROW(CSD_LAYER_WEIGHTS, "train.csd.layer_weights", LIST_OF FLOAT, "[0.03125, 0.0625, 0.125, 0.25, 1]",    \
        RANGE(0, WEIGHT_MAX), NO_CHOICES, PAPER, "weight of each of them in L_con")                          \
    ROW(CSD_NEGATIVES, "train.csd.negatives", INT, "10", RANGE(1, CROPS_MAX), NO_CHOICES, PAPER,             \
        "negatives of csd: this many bicubic-upsampled LR images of the batch, all where it has fewer")      \
    ROW(CSD_DETACH, "train.csd.detach_teacher", BOOL, "true", NO_RANGE, NO_CHOICES, PAPER,                   \
        "the teacher gets no gradient from L_con")                                                           \
    ROW(ZOOM_IN, "train.zoom_in", STRING, "random", NO_RANGE, CHOICES(zoom_ins), PAPER,                      \
        "crops of HR: at random, aligned tiles, where the teacher errs most, or none")                       \
    ROW(ZOOM_IN_COUNT, "train.zoom_in_count", INT, "1", RANGE(1, CROPS_MAX), NO_CHOICES, PAPER,              \
        "crops an image")                                                                                    \
    ROW(ZOOM_OUT, "train.zoom_out", BOOL, "true", NO_RANGE, NO_CHOICES, PAPER,                               \
        "also train on LR scaled down once more")                                                            \
    ROW(HFLIP, "train.augment.hflip", FLOAT, "0.3", RANGE(0, 1), NO_CHOICES, PAPER,                          \
        "probability that the student sees an upcycled image flipped left-right")                            \
    ROW(VFLIP, "train.augment.vflip", FLOAT, "0.3", RANGE(0, 1), NO_CHOICES, PAPER,                          \
        "probability that it sees it flipped up-down")                                                       \
    ROW(ROT90, "train.augment.rot90", FLOAT, "0.3", RANGE(0, 1), NO_CHOICES, PAPER,                          \
        "probability that it sees it turned by 90, 180 or 270 degrees; square images only")                  \
    ROW(INVERT, "train.augment.invert", FLOAT, "0.3", RANGE(0, 1), NO_CHOICES, PAPER,                        \
        "probability that it sees its colours inverted (1 - x)")                                             \
    ROW(PIXEL_TYPE, "train.pixel_opt.type", STRING, NULL, NO_RANGE, CHOICES(losses),                         \
        OFFICIAL | BASEKD | SRMODEL | FAKD, "loss between student and HR")                                   \
    ROW(PIXEL_WEIGHT, "train.pixel_opt.loss_weight", FLOAT, "1", RANGE(0, WEIGHT_MAX), NO_CHOICES,           \
        OFFICIAL | BASEKD | SRMODEL | FAKD, "its weight; 0 switches it off")                                 \
    ROW(PIXEL_REDUCTION, "train.pixel_opt.reduction", STRING, "mean", NO_RANGE, CHOICES(reductions),         \
        OFFICIAL | BASEKD | SRMODEL | FAKD, "mean over all elements")                                        \
    ROW(KD_TYPE, "train.kd_opt.type", STRING, NULL, NO_RANGE, CHOICES(losses), OFFICIAL | BASEKD | FAKD,     \
        "loss between student and teacher")                                                                  \
    ROW(KD_WEIGHT, "train.kd_opt.loss_weight", FLOAT, "1", RANGE(0, WEIGHT_MAX), NO_CHOICES,                 \
        OFFICIAL | BASEKD | FAKD, "its weight; 0 switches it off")                                           \
    ROW(KD_REDUCTION, "train.kd_opt.reduction", STRING, "mean", NO_RANGE, CHOICES(reductions),               \
        OFFICIAL | BASEKD | FAKD, "mean over all elements")                                                  \
    ROW(FEATURE_TYPE, "train.feature_opt.type", STRING, NULL, NO_RANGE, CHOICES(losses), FAKD,               \
        "loss between the affinities of student and teacher")                                                \
    ROW(FEATURE_WEIGHT, "train.feature_opt.loss_weight", FLOAT, "1", RANGE(0, WEIGHT_MAX), NO_CHOICES, FAKD, \
        "its weight; 0 switches it off")                                                                     \
    ROW(FEATURE_REDUCTION, "train.feature_opt.reduction", STRING, "mean", NO_RANGE, CHOICES(reductions),     \
        FAKD, "mean over all elements")                                                                      \
    ROW(AFFINITY_TYPE, "train.feature_distillation.type", STRING, NULL, NO_RANGE, CHOICES(transformations),  \
        FAKD, "SA: spatial affinity, what FAKD is; the released code's others are not here")                 \
    ROW(POSITIONS, "train.feature_distillation.positions", LIST_OF STRING, NULL, NO_RANGE, NO_CHOICES, FAKD, \
        "layers of student and teacher, by BasicSR's names; a number N is body.N; conv_after_body is the "   \
        "map after the long skip")                                                                           \
    ROW(POSITIONS_G, "train.feature_distillation.positions.g", LIST_OF STRING, NULL, NO_RANGE, NO_CHOICES,   \
        FAKD, "layers of the student, where the teacher's have other names")                                 \
    ROW(POSITIONS_T, "train.feature_distillation.positions.t", LIST_OF STRING, NULL, NO_RANGE, NO_CHOICES,   \
        FAKD, "layers of the teacher, one for each of the student's")                                        \
    ROW(NOISY_PROB, "train.noisy.prob", FLOAT, "0.3", RANGE(0, 1), NO_CHOICES, OFFICIAL,                     \
        "probability of each augmentation of a zoomed-in image; without the section train.noisy there is "   \
        "none")                                                                                              \
    ROW(N_GT_SUB, "train.dukd_opt.n_gt_sub", LIST_OF INT, "[1]", RANGE(1, CROPS_MAX), NO_CHOICES, OFFICIAL,  \
        "tiles of HR an iteration, the same for the whole batch; only the first number is read, as in the "  \
        "released code")                                                                                     \
    ROW(OFFICIAL_ZOOM_OUT, "train.dukd_opt.zoom_out", BOOL, "false", NO_RANGE, NO_CHOICES, OFFICIAL,         \
        "also train on LR scaled down once more")                                                            \
    ROW(TEACHER_MODE, "train.teacher_mode", STRING, NULL, NO_RANGE, CHOICES(teacher_modes),                  \
        PAPER | OFFICIAL | BASEKD | FAKD,                                                                    \
        "in which mode the teacher runs (DropPath); default: eval in paper mode (train where csd trains "    \
        "it), else train as in the "                                                                         \
        "released code")                                                                                     \
    ROW(BACKEND, "backend", STRING, "auto", NO_RANGE, CHOICES(backends), DUKD_MODE_ALL,                      \
        "what computes: auto takes the one for the device of the tensors")

#define TABLE_ROW(id, key, type, fallback, range, choices, belongs, help)                                    \
    [DUKD_OPT_##id] = {{DUKD_OPTION_INFO_SIZE, type, key, fallback, range, choices, 0, help}, belongs},
static const dukd_option_row rows[DUKD_OPT_COUNT] = {TABLE(TABLE_ROW)};

#define TABLE_INFO(id, key, type, fallback, range, choices, belongs, help)                                   \
    [DUKD_OPT_##id] = &rows[DUKD_OPT_##id].info,
const dukd_option_info *const dukd_option_infos[DUKD_OPT_COUNT] = {TABLE(TABLE_INFO)};

const dukd_option_row *dukd_option_row_of(dukd_option_id id) {
    return &rows[id];
}
