/* The layers of fakd and csd, as options name them. */
#include "config.h"

#include "report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A plain number N is body.N, as in the released code's positions. */
static int32_t read_layer(char name[DUKD_LAYER_NAME], const char *text, const char *key, const char *place,
                          dukd_error *error) {
    const bool plain = text[0] != '\0' && strspn(text, "0123456789") == strlen(text);
    const int n = snprintf(name, DUKD_LAYER_NAME, "%s%s", plain ? "body." : "", text);
    if (n > 0 && n < DUKD_LAYER_NAME) return DUKD_OK;
    return dukd_report(error, DUKD_E_OPTION, "%s%s: a layer's name has 1 to %d characters, found '%.80s'",
                       place, key, DUKD_LAYER_NAME - 1, text);
}

static int32_t read_layers(dukd_layer_list *out, const dukd_options *o, dukd_option_id id,
                           dukd_error *error) {
    const char *key = dukd_option_row_of(id)->info.name;
    char place[96], text[256];
    *out = (dukd_layer_list){0};
    dukd_option_place(o->value[id].given, place);
    while (dukd_option_item(o, id, out->n, text, sizeof text)) {
        if (out->n == DUKD_MAX_LAYERS) {
            return dukd_report(error, DUKD_E_OPTION, "%s%s: found more than %d layers, the most there may be",
                               place, key, DUKD_MAX_LAYERS);
        }
        char *name = out->name[out->n];
        const int32_t status = read_layer(name, text, key, place, error);
        if (status != DUKD_OK) return status;
        for (uint32_t k = 0; k < out->n; k++) {
            if (strcmp(out->name[k], name) != 0) continue;
            return dukd_report(error, DUKD_E_OPTION, "%s%s: layer %s is there twice", place, key, name);
        }
        out->n++;
    }
    return DUKD_OK;
}

int32_t dukd_config_fakd_layers(dukd_config *c, const dukd_options *o, dukd_option_id student,
                                dukd_option_id teacher, dukd_error *error) {
    const char *key = dukd_option_row_of(student)->info.name, *other = dukd_option_row_of(teacher)->info.name;
    char place[96];
    int32_t status = read_layers(&c->fakd_student, o, student, error);
    if (status == DUKD_OK) status = read_layers(&c->fakd_teacher, o, teacher, error);
    if (status != DUKD_OK) return status;
    if (c->fakd_student.n == 0) {
        return dukd_report(
            error, DUKD_E_OPTION,
            "%s is missing: name the layers whose affinity is compared, as [conv_first, 10, 21, "
            "conv_after_body] for EDSR with 32 blocks, [conv_first, 2, 6, conv_after_body] for RCAN",
            key);
    }
    if (!dukd_option_is_given(o, teacher)) c->fakd_teacher = c->fakd_student;
    if (c->fakd_student.n == c->fakd_teacher.n) return DUKD_OK;
    return dukd_report(error, DUKD_E_OPTION, "%s%s has %u layers, but %s has %u: each is compared with one",
                       dukd_option_place(o->value[teacher].given, place), other, c->fakd_teacher.n, key,
                       c->fakd_student.n);
}

int32_t dukd_config_csd(dukd_config *c, const dukd_options *o, dukd_error *error) {
    char place[96], text[64];
    const uint32_t weights = o->value[DUKD_OPT_CSD_LAYER_WEIGHTS].n;
    const int32_t status = read_layers(&c->csd, o, DUKD_OPT_CSD_LAYERS, error);
    if (status != DUKD_OK) return status;
    c->negatives = (uint32_t)o->value[DUKD_OPT_CSD_NEGATIVES].number;
    c->csd_detach = o->value[DUKD_OPT_CSD_DETACH].number != 0;
    if (weights != c->csd.n) {
        return dukd_report(
            error, DUKD_E_OPTION,
            "%strain.csd.layer_weights has %u numbers, but train.csd.layers has %u layers: give each "
            "layer its weight",
            dukd_option_place(o->value[DUKD_OPT_CSD_LAYER_WEIGHTS].given, place), weights, c->csd.n);
    }
    c->csd.n = 0;
    for (uint32_t i = 0; i < weights; i++) {
        dukd_option_item(o, DUKD_OPT_CSD_LAYER_WEIGHTS, i, text, sizeof text);
        const double weight = strtod(text, NULL); /* a number in its range: the reader has seen to it */
        if (weight == 0) continue;                /* and no work for it */
        if (c->csd.n < i) memcpy(c->csd.name[c->csd.n], c->csd.name[i], DUKD_LAYER_NAME);
        c->csd_weight[c->csd.n++] = weight;
    }
    if (c->csd.n > 0) return DUKD_OK;
    return dukd_report(error, DUKD_E_OPTION,
                       "%strain.csd.layer_weights are all 0: set train.w_csd: 0 to train without L_con",
                       dukd_option_place(o->value[DUKD_OPT_CSD_LAYER_WEIGHTS].given, place));
}
