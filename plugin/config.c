/* What options mean together. */
#include "config.h"

#include "report.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

const char *dukd_mode_name(uint32_t mode) {
    switch (mode) {
    case DUKD_MODE_PAPER:
        return "paper mode";
    case DUKD_MODE_OFFICIAL:
        return "official mode";
    case DUKD_MODE_BASEKD:
        return "BaseKD";
    case DUKD_MODE_FAKD:
        return "FAKD";
    default:
        return "SRModel";
    }
}

/* ---------------------------------------------------------------- which mode */

static uint32_t find_mode(const dukd_options *o) {
    const dukd_option_value *mode = &o->value[DUKD_OPT_MODE];
    switch ((int)o->value[DUKD_OPT_MODEL_TYPE].number) {
    case DUKD_MODEL_BASEKD:
        return DUKD_MODE_BASEKD;
    case DUKD_MODEL_SRMODEL:
        return DUKD_MODE_SRMODEL;
    case DUKD_MODEL_FAKD:
        return DUKD_MODE_FAKD;
    case DUKD_MODEL_DUKD:
        return mode->n == 0 || mode->number != 0 ? DUKD_MODE_OFFICIAL : DUKD_MODE_PAPER;
    default:
        return mode->n == 0 || mode->number == 0 ? DUKD_MODE_PAPER : DUKD_MODE_OFFICIAL;
    }
}

/* The option that decided the mode, for messages. */
static const char *mode_reason(const dukd_options *o, char room[96]) {
    const dukd_option_info *model = &dukd_option_row_of(DUKD_OPT_MODEL_TYPE)->info;
    const dukd_option_info *mode = &dukd_option_row_of(DUKD_OPT_MODE)->info;
    const dukd_option_value *given = &o->value[DUKD_OPT_MODE];
    const int choice = (int)o->value[DUKD_OPT_MODEL_TYPE].number;
    const bool by_mode = given->n > 0 && (choice == DUKD_MODEL_DUKDPLUGIN || choice == DUKD_MODEL_DUKD);
    if (by_mode) {
        snprintf(room, 96, "%s: %s", mode->name, mode->choices[(int)given->number]);
    } else {
        snprintf(room, 96, "%s: %s", model->name, model->choices[choice]);
    }
    return room;
}

/* No option of another mode may be given: it would be ignored without a word. */
static int32_t check_modes(const dukd_options *o, uint32_t mode, dukd_error *error) {
    for (int id = 0; id < DUKD_OPT_COUNT; id++) {
        const dukd_option_row *row = dukd_option_row_of((dukd_option_id)id);
        const dukd_option *given = o->value[id].given;
        if (given == NULL || given->kind == DUKD_VALUE_NULL || (row->modes & mode) != 0) continue;
        char place[96], reason[96];
        return dukd_report(error, DUKD_E_OPTION, "%s%s does not go together with %s: it is no option of %s",
                           dukd_option_place(given, place), row->info.name, mode_reason(o, reason),
                           dukd_mode_name(mode));
    }
    return DUKD_OK;
}

/* ---------------------------------------------------------------- the modes */

static double number(const dukd_options *o, dukd_option_id id) {
    return o->value[id].number;
}

/* The weight of rec or kd: as given, else 1, or what the method has that brings it. */
static double weight_of(const dukd_options *o, dukd_option_id id, double own) {
    return dukd_option_is_given(o, id) ? number(o, id) : own;
}

/* Weights of the terms. fakd and csd are whole losses where neither rec nor kd is listed; else what is listed counts. */
static int32_t resolve_terms(dukd_config *c, const dukd_options *o, dukd_error *error) {
    const uint64_t terms = o->value[DUKD_OPT_TERMS].set;
    const bool rec = (terms >> DUKD_TERM_REC & 1) != 0, kd = (terms >> DUKD_TERM_KD & 1) != 0;
    const bool fakd = (terms >> DUKD_TERM_FAKD & 1) != 0, csd = (terms >> DUKD_TERM_CSD & 1) != 0;
    char place[96];
    c->w_rec = rec ? weight_of(o, DUKD_OPT_W_REC, 1) : 0;
    c->w_kd = kd ? weight_of(o, DUKD_OPT_W_KD, 1) : 0;
    c->w_dukd = (terms >> DUKD_TERM_DUKD & 1) != 0 ? number(o, DUKD_OPT_W_DUKD) : 0;
    if (fakd && csd && !rec && !kd) {
        return dukd_report(
            error, DUKD_E_OPTION,
            "%strain.terms: fakd and csd bring different weights of rec and kd: list rec and kd "
            "too, with train.w_rec and train.w_kd",
            dukd_option_place(o->value[DUKD_OPT_TERMS].given, place));
    }
    if (!rec && !kd && fakd) {
        c->w_rec = weight_of(o, DUKD_OPT_W_REC, 0.5);
        c->w_kd = weight_of(o, DUKD_OPT_W_KD, 0.5);
    }
    if (!rec && !kd && csd) c->w_rec = weight_of(o, DUKD_OPT_W_REC, 1);
    int32_t status = DUKD_OK;
    if (fakd) c->w_fakd = number(o, DUKD_OPT_W_FAKD);
    if (c->w_fakd > 0)
        status = dukd_config_fakd_layers(c, o, DUKD_OPT_FAKD_LAYERS, DUKD_OPT_FAKD_TEACHER_LAYERS, error);
    if (csd) {
        c->w_csd = number(o, DUKD_OPT_W_CSD);
        c->w_csd_teacher = number(o, DUKD_OPT_W_CSD_TEACHER);
    }
    if (status == DUKD_OK && c->w_csd > 0) status = dukd_config_csd(c, o, error);
    return status;
}

static int32_t resolve_paper(dukd_config *c, const dukd_options *o, int32_t scale, dukd_error *error) {
    int32_t status = resolve_terms(c, o, error);
    if (status != DUKD_OK) return status;
    const dukd_crop_rule rules[] = {[DUKD_ZOOM_RANDOM] = DUKD_CROP_RANDOM,
                                    [DUKD_ZOOM_GRID] = DUKD_CROP_GRID,
                                    [DUKD_ZOOM_HARDEST] = DUKD_CROP_HARDEST,
                                    [DUKD_ZOOM_NONE] = DUKD_CROP_NONE};
    char place[96];
    c->crop = rules[(int)number(o, DUKD_OPT_ZOOM_IN)];
    c->crops = (uint32_t)number(o, DUKD_OPT_ZOOM_IN_COUNT);
    c->zoom_out = number(o, DUKD_OPT_ZOOM_OUT) != 0;
    c->p_flip_w = number(o, DUKD_OPT_HFLIP);
    c->p_flip_h = number(o, DUKD_OPT_VFLIP);
    c->p_turn = number(o, DUKD_OPT_ROT90);
    c->p_invert = number(o, DUKD_OPT_INVERT);
    dukd_option_place(o->value[DUKD_OPT_ZOOM_IN_COUNT].given, place);
    if (c->crop == DUKD_CROP_HARDEST && c->crops != 1) {
        return dukd_report(error, DUKD_E_OPTION,
                           "%strain.zoom_in_count: found %u, but train.zoom_in: hardest has one hardest crop "
                           "an image: leave it 1",
                           place, c->crops);
    }
    if (c->crop == DUKD_CROP_GRID && c->crops > (uint64_t)scale * (uint64_t)scale) {
        return dukd_report(
            error, DUKD_E_OPTION,
            "%strain.zoom_in_count: found %u, but train.zoom_in: grid has %d x %d tiles at scale %d", place,
            c->crops, scale, scale, scale);
    }
    if (c->w_dukd == 0) {
        c->crop = DUKD_CROP_NONE;
        c->zoom_out = false;
    }
    if (c->w_rec == 0 && c->w_kd == 0 && c->w_fakd == 0 && c->w_csd == 0 && c->w_csd_teacher == 0 &&
        c->crop == DUKD_CROP_NONE && !c->zoom_out) {
        return dukd_report(
            error, DUKD_E_OPTION,
            "%sno term of the loss is left: train.terms, train.w_rec, w_kd, w_dukd, w_fakd, w_csd, zoom_in "
            "and zoom_out switch "
            "all of them off",
            dukd_option_place(o->value[DUKD_OPT_TERMS].given, place));
    }
    return DUKD_OK;
}

/* A loss section (pixel_opt, kd_opt): its weight, or -1 where the section is absent. A section without its
 * type is refused. */
static int32_t section_weight(const dukd_options *o, dukd_option_id type, dukd_option_id weight,
                              dukd_option_id reduction, double *out, dukd_error *error) {
    const dukd_option *given = o->value[type].given;
    if (given == NULL) given = o->value[weight].given;
    if (given == NULL) given = o->value[reduction].given;
    *out = given == NULL ? -1 : number(o, weight);
    if (given == NULL || o->value[type].n > 0) return DUKD_OK;
    char place[96];
    return dukd_report(error, DUKD_E_OPTION, "%s%s is missing: write %s: L1Loss",
                       dukd_option_place(given, place), dukd_option_row_of(type)->info.name,
                       dukd_option_row_of(type)->info.name);
}

static int32_t resolve_sections(dukd_config *c, const dukd_options *o, bool *pixel, bool *kd,
                                dukd_error *error) {
    int32_t status = section_weight(o, DUKD_OPT_PIXEL_TYPE, DUKD_OPT_PIXEL_WEIGHT, DUKD_OPT_PIXEL_REDUCTION,
                                    &c->w_rec, error);
    if (status != DUKD_OK) return status;
    status = section_weight(o, DUKD_OPT_KD_TYPE, DUKD_OPT_KD_WEIGHT, DUKD_OPT_KD_REDUCTION, &c->w_kd, error);
    if (status != DUKD_OK) return status;
    *pixel = c->w_rec >= 0;
    *kd = c->w_kd >= 0;
    if (!*pixel) c->w_rec = 0;
    if (!*kd) c->w_kd = 0;
    return DUKD_OK;
}

static int32_t resolve_official(dukd_config *c, const dukd_options *o, int32_t scale, dukd_error *error) {
    bool pixel, kd;
    char place[96], reason[96];
    const int32_t status = resolve_sections(c, o, &pixel, &kd, error);
    if (status != DUKD_OK) return status;
    const dukd_option_value *tiles = &o->value[DUKD_OPT_N_GT_SUB], *noisy = &o->value[DUKD_OPT_NOISY_PROB];
    c->crop = DUKD_CROP_BATCH_TILES;
    c->crops = (uint32_t)tiles->number;
    c->ignored_tiles = tiles->n > 1;
    c->zoom_out = number(o, DUKD_OPT_OFFICIAL_ZOOM_OUT) != 0;
    /* the key alone makes the section: "prob: ~" in it is a noisy that is not empty, without a prob */
    const double p = noisy->given != NULL ? noisy->number : 0;
    c->p_flip_w = c->p_flip_h = c->p_turn = c->p_invert = p;
    if (!kd) {
        return dukd_report(error, DUKD_E_OPTION,
                           "train.kd_opt is missing: official mode (%s) needs it; write train.kd_opt.type: "
                           "L1Loss, or train without a teacher by model_type: SRModel",
                           mode_reason(o, reason));
    }
    if (c->zoom_out && !pixel) {
        return dukd_report(error, DUKD_E_OPTION,
                           "%strain.dukd_opt.zoom_out needs train.pixel_opt in official mode; write "
                           "train.pixel_opt.type: L1Loss",
                           dukd_option_place(o->value[DUKD_OPT_OFFICIAL_ZOOM_OUT].given, place));
    }
    if (c->crops > (uint64_t)scale * (uint64_t)scale) {
        return dukd_report(error, DUKD_E_OPTION,
                           "%strain.dukd_opt.n_gt_sub: found %u, but there are %d x %d tiles at scale %d",
                           dukd_option_place(tiles->given, place), c->crops, scale, scale, scale);
    }
    if (c->w_kd == 0) {
        c->crop = DUKD_CROP_NONE;
        if (c->w_rec == 0 || !c->zoom_out) {
            return dukd_report(error, DUKD_E_OPTION,
                               "%strain.kd_opt.loss_weight: found 0, which leaves %s without a loss; train "
                               "without a teacher by "
                               "model_type: SRModel",
                               dukd_option_place(o->value[DUKD_OPT_KD_WEIGHT].given, place),
                               c->w_rec == 0 ? "official mode" : "the second step of official mode");
        }
    }
    return DUKD_OK;
}

/* FAKD's own: feature_opt and feature_distillation. */
static int32_t resolve_features(dukd_config *c, const dukd_options *o, dukd_error *error) {
    const bool apart =
        dukd_option_is_given(o, DUKD_OPT_POSITIONS_G) || dukd_option_is_given(o, DUKD_OPT_POSITIONS_T);
    char place[96];
    const int32_t status = section_weight(o, DUKD_OPT_FEATURE_TYPE, DUKD_OPT_FEATURE_WEIGHT,
                                          DUKD_OPT_FEATURE_REDUCTION, &c->w_fakd, error);
    if (status != DUKD_OK) return status;
    if (c->w_fakd < 0 || o->value[DUKD_OPT_AFFINITY_TYPE].n == 0) {
        return dukd_report(error, DUKD_E_OPTION, "%s is missing: model_type: FAKD needs it; write %s",
                           c->w_fakd < 0 ? "train.feature_opt" : "train.feature_distillation.type",
                           c->w_fakd < 0 ? "train.feature_opt.type: L1Loss"
                                         : "train.feature_distillation.type: SA");
    }
    if (apart && dukd_option_is_given(o, DUKD_OPT_POSITIONS)) {
        return dukd_report(
            error, DUKD_E_OPTION,
            "%strain.feature_distillation.positions is a list already: positions.g and positions.t "
            "are for the case that the names differ",
            dukd_option_place(o->value[DUKD_OPT_POSITIONS].given, place));
    }
    if (c->w_fakd == 0) return DUKD_OK;
    return dukd_config_fakd_layers(c, o, apart ? DUKD_OPT_POSITIONS_G : DUKD_OPT_POSITIONS,
                                   apart ? DUKD_OPT_POSITIONS_T : DUKD_OPT_POSITIONS, error);
}

static int32_t resolve_plain(dukd_config *c, const dukd_options *o, dukd_error *error) {
    bool pixel, kd;
    int32_t status = resolve_sections(c, o, &pixel, &kd, error);
    if (status == DUKD_OK && c->mode == DUKD_MODE_FAKD) status = resolve_features(c, o, error);
    if (status != DUKD_OK) return status;
    c->crops = 1;
    if (c->w_rec > 0 || c->w_kd > 0 || c->w_fakd > 0) return DUKD_OK;
    if (c->mode == DUKD_MODE_SRMODEL) {
        return dukd_report(error, DUKD_E_OPTION,
                           pixel ? "train.pixel_opt.loss_weight: found 0, which leaves no loss"
                                 : "train.pixel_opt is missing: model_type: SRModel needs it; write "
                                   "train.pixel_opt.type: L1Loss");
    }
    if (c->mode == DUKD_MODE_FAKD) {
        return dukd_report(
            error, DUKD_E_OPTION,
            "train.pixel_opt, train.kd_opt and train.feature_opt leave no loss: their loss_weight is 0");
    }
    return dukd_report(
        error, DUKD_E_OPTION,
        pixel || kd ? "train.pixel_opt and train.kd_opt leave no loss: their loss_weight is 0"
                    : "train.pixel_opt and train.kd_opt are missing: model_type: BaseKD needs one of them");
}

/* What nothing reads any more is set to one value, so that equal losses have equal configurations. */
static void drop_unused(dukd_config *c) {
    if (c->crop == DUKD_CROP_NONE) c->crops = 1;
    if (c->crop == DUKD_CROP_NONE && (!c->zoom_out || c->mode == DUKD_MODE_OFFICIAL)) {
        c->p_flip_w = c->p_flip_h = c->p_turn = c->p_invert = 0;
    }
    if (c->w_csd == 0) c->csd_detach = true;
    if (!dukd_config_teaches(c)) c->teacher_train = false;
}

int32_t dukd_config_resolve(dukd_config *out, const dukd_options *options, int32_t scale, dukd_error *error) {
    *out = (dukd_config){.mode = find_mode(options)};
    int32_t status = check_modes(options, out->mode, error);
    if (status != DUKD_OK) return status;
    out->backend = (uint32_t)number(options, DUKD_OPT_BACKEND);
    status = out->mode == DUKD_MODE_PAPER      ? resolve_paper(out, options, scale, error)
             : out->mode == DUKD_MODE_OFFICIAL ? resolve_official(out, options, scale, error)
                                               : resolve_plain(out, options, error);
    const dukd_option_value *teacher = &options->value[DUKD_OPT_TEACHER_MODE];
    const bool train_mode = out->mode != DUKD_MODE_PAPER || dukd_config_trains_teacher(out);
    out->teacher_train = teacher->n > 0 ? teacher->number != 0 : train_mode;
    if (status == DUKD_OK) drop_unused(out);
    return status;
}

bool dukd_config_teaches(const dukd_config *c) {
    return c->w_kd > 0 || c->crop != DUKD_CROP_NONE || (c->mode == DUKD_MODE_PAPER && c->zoom_out) ||
           c->w_fakd > 0 || c->w_csd > 0 || c->w_csd_teacher > 0;
}

bool dukd_config_trains_teacher(const dukd_config *c) {
    return c->w_csd_teacher > 0 || (c->w_csd > 0 && !c->csd_detach);
}

bool dukd_config_augments(const dukd_config *c, bool zoom_out) {
    if (zoom_out && c->mode == DUKD_MODE_OFFICIAL)
        return false; /* the released code augments zoomed-in images only */
    return c->p_flip_w > 0 || c->p_flip_h > 0 || c->p_turn > 0 || c->p_invert > 0;
}

/* Text that grows in a room and counts what does not fit. */
typedef struct {
    char *room;
    const char *separator;
    uint32_t size, length;
} writer;

static void write_line(writer *w, const char *name, const char *value) {
    char *end = w->length < w->size ? w->room + w->length : NULL;
    const int n =
        snprintf(end, end != NULL ? w->size - w->length : 0, "%s = %s%s", name, value, w->separator);
    assert(n > 0);
    w->length += (uint32_t)n;
}

/* The shortest of the usual forms that reads back as the same number. */
static void write_number(writer *w, const char *name, double x) {
    char text[32];
    snprintf(text, sizeof text, "%.15g", x);
    if (strtod(text, NULL) != x) snprintf(text, sizeof text, "%.17g", x);
    write_line(w, name, text);
}

static void write_layers(writer *w, const char *name, const dukd_layer_list *list) {
    char text[DUKD_MAX_LAYERS * (DUKD_LAYER_NAME + 1)];
    int at = 0;
    text[0] = '\0';
    for (uint32_t i = 0; i < list->n; i++) {
        at += snprintf(text + at, sizeof text - (size_t)at, "%s%s", i > 0 ? " " : "", list->name[i]);
    }
    write_line(w, name, text);
}

/* Nothing of a method that is off: the text of a run without it is what it was before there were any. */
static void write_methods(writer *w, const dukd_config *c) {
    if (c->w_fakd > 0) {
        write_number(w, "weight of fakd", c->w_fakd);
        write_layers(w, "layers of fakd", &c->fakd_student);
        write_layers(w, "layers of fakd in the teacher", &c->fakd_teacher);
    }
    if (c->w_csd > 0) {
        write_number(w, "weight of csd", c->w_csd);
        write_layers(w, "layers of csd", &c->csd);
        for (uint32_t i = 0; i < c->csd.n; i++) write_number(w, "weight of a layer of csd", c->csd_weight[i]);
        write_number(w, "negatives of csd", c->negatives);
        write_line(w, "teacher detached in csd", c->csd_detach ? "true" : "false");
    }
    if (c->w_csd_teacher > 0) write_number(w, "weight of the teacher in csd", c->w_csd_teacher);
}

uint32_t dukd_config_text(const dukd_config *c, const char *separator, char *room, uint32_t size) {
    static const char *const crops[] = {"none", "random", "grid", "tiles of the batch", "hardest"};
    writer w = {.room = room, .separator = separator, .size = size};
    write_line(&w, "mode", dukd_mode_name(c->mode));
    write_number(&w, "weight of rec", c->w_rec);
    write_number(&w, "weight of kd", c->w_kd);
    write_number(&w, "weight of dukd", c->w_dukd);
    write_line(&w, "zoom in", crops[c->crop]);
    write_number(&w, "zoom in count", c->crops);
    write_line(&w, "zoom out", c->zoom_out ? "true" : "false");
    write_number(&w, "flip left-right", c->p_flip_w);
    write_number(&w, "flip up-down", c->p_flip_h);
    write_number(&w, c->mode == DUKD_MODE_OFFICIAL ? "transpose" : "rot90", c->p_turn);
    write_number(&w, "invert", c->p_invert);
    write_line(&w, "teacher mode", c->teacher_train ? "train" : "eval");
    write_methods(&w, c);
    return w.length;
}
