/* The options of the plugin: one table of rows. Reading, describing (get_info) and documenting are all made
 * from it.
 *
 * What options mean together (which mode one belongs to, what needs what) is config.c's affair. */
#ifndef DUKD_OPTIONS_H
#define DUKD_OPTIONS_H

#include "dukd_plugin.h"

#include <stdbool.h>

/* What a session trains by: model_type, and train.mode where that leaves a choice. Bits, because an option
 * may belong to several. */
#define DUKD_MODE_PAPER    1u  /* the paper's loss, one step an iteration */
#define DUKD_MODE_OFFICIAL 2u  /* the authors' released code, two steps */
#define DUKD_MODE_BASEKD   4u  /* losses A of the released code alone */
#define DUKD_MODE_SRMODEL  8u  /* BasicSR's plain training */
#define DUKD_MODE_FAKD     16u /* the released code's FAKD: losses A and the affinity of features */
#define DUKD_MODE_ALL      31u

/* The rows' names, in the order of the table. */
typedef enum {
    DUKD_OPT_MODEL_TYPE,
    DUKD_OPT_MODE,
    DUKD_OPT_TERMS,
    DUKD_OPT_W_REC,
    DUKD_OPT_W_KD,
    DUKD_OPT_W_DUKD,
    DUKD_OPT_W_FAKD,
    DUKD_OPT_W_CSD,
    DUKD_OPT_W_CSD_TEACHER,
    DUKD_OPT_FAKD_LAYERS,
    DUKD_OPT_FAKD_TEACHER_LAYERS,
    DUKD_OPT_CSD_LAYERS,
    DUKD_OPT_CSD_LAYER_WEIGHTS,
    DUKD_OPT_CSD_NEGATIVES,
    DUKD_OPT_CSD_DETACH,
    DUKD_OPT_ZOOM_IN,
    DUKD_OPT_ZOOM_IN_COUNT,
    DUKD_OPT_ZOOM_OUT,
    DUKD_OPT_HFLIP,
    DUKD_OPT_VFLIP,
    DUKD_OPT_ROT90,
    DUKD_OPT_INVERT,
    DUKD_OPT_PIXEL_TYPE,
    DUKD_OPT_PIXEL_WEIGHT,
    DUKD_OPT_PIXEL_REDUCTION,
    DUKD_OPT_KD_TYPE,
    DUKD_OPT_KD_WEIGHT,
    DUKD_OPT_KD_REDUCTION,
    DUKD_OPT_FEATURE_TYPE,
    DUKD_OPT_FEATURE_WEIGHT,
    DUKD_OPT_FEATURE_REDUCTION,
    DUKD_OPT_AFFINITY_TYPE,
    DUKD_OPT_POSITIONS,
    DUKD_OPT_POSITIONS_G,
    DUKD_OPT_POSITIONS_T,
    DUKD_OPT_NOISY_PROB,
    DUKD_OPT_N_GT_SUB,
    DUKD_OPT_OFFICIAL_ZOOM_OUT,
    DUKD_OPT_TEACHER_MODE,
    DUKD_OPT_BACKEND,
    DUKD_OPT_COUNT
} dukd_option_id;

/* Choices, as numbers: their places in the table's lists. */
enum { DUKD_MODEL_DUKDPLUGIN, DUKD_MODEL_DUKD, DUKD_MODEL_BASEKD, DUKD_MODEL_SRMODEL, DUKD_MODEL_FAKD };
enum { DUKD_TERM_REC, DUKD_TERM_KD, DUKD_TERM_DUKD, DUKD_TERM_FAKD, DUKD_TERM_CSD };
enum { DUKD_ZOOM_RANDOM, DUKD_ZOOM_GRID, DUKD_ZOOM_HARDEST, DUKD_ZOOM_NONE };
enum { DUKD_BACKEND_AUTO, DUKD_BACKEND_CPU, DUKD_BACKEND_CUDA };

typedef struct {
    dukd_option_info info;
    uint32_t modes; /* DUKD_MODE_... that it belongs to */
} dukd_option_row;

const dukd_option_row *dukd_option_row_of(dukd_option_id id);
extern const dukd_option_info *const dukd_option_infos[DUKD_OPT_COUNT];

/* One option as a session has it: as given, else the default. */
typedef struct {
    const dukd_option *given; /* NULL: not in the option file; else valid as long as the host's options */
    double number; /* of a scalar or of the first item of a list: the number; false 0, true 1; the place of a
                      choice */
    uint64_t set;  /* lists of choices: bit i is choice i */
    uint32_t n;    /* items; 0: no value at all (absent without a default, or null) */
} dukd_option_value;

typedef struct {
    dukd_option_value value[DUKD_OPT_COUNT];
} dukd_options;

/* Reads a host's options. A null counts as not given (value.given tells it from an absent one), and so does
 * the null of a section
 * ("train.noisy: ~"). DUKD_E_OPTION: unknown key (names the nearest), given twice, wrong type or range;
 * DUKD_E_ARGUMENT or _UNSUPPORTED: the structs themselves. Messages begin with the option's place. */
int32_t dukd_options_read(dukd_options *out, const dukd_option *const *options, uint32_t n,
                          dukd_error *error);

/* Item i of a list as text, as given, else of the default: in `room` (at least 1 byte; cut where it is too small). False
 * where there is none. */
bool dukd_option_item(const dukd_options *options, dukd_option_id id, uint32_t i, char *room, uint32_t size);
/* Whether the option file has a value for it, other than null. */
bool dukd_option_is_given(const dukd_options *options, dukd_option_id id);

/* "opt.yml:12:5: " of a given option with a place, else "". Writes into `room` and returns it. */
const char *dukd_option_place(const dukd_option *given, char room[96]);

#endif
