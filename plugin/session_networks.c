/* What a session asks of the host's networks: that they are there, that they run as the recipe wants, that
 * their sizes fit. */
#include "report.h"
#include "session.h"

#include <stdio.h>
#include <string.h>

static const char *const role_names[DUKD_ROLES] = {
    [DUKD_STUDENT] = "student", [DUKD_TEACHER] = "teacher", [DUKD_FEATURES] = "features"};

static int32_t find_network(const dukd_host *host, dukd_role role, uint32_t *index, dukd_error *error) {
    for (uint32_t i = 0; i < host->n_networks; i++) {
        if (strcmp(host->networks[i], role_names[role]) == 0) {
            *index = i;
            return DUKD_OK;
        }
    }
    static const char *const advice[DUKD_ROLES] = {
        [DUKD_STUDENT] = "",
        [DUKD_TEACHER] = ": give it (network_t, path.pretrain_network_t), or train without a teacher",
        [DUKD_FEATURES] = ": give it (VGG19, whose weights come from a file), or train without csd",
    };
    return dukd_report(error, DUKD_E_UNSUPPORTED,
                       "host: there is no network \"%s\", and the loss needs one%s", role_names[role],
                       advice[role]);
}

/* What of the host the taps of fakd and csd need. */
static int32_t check_feature_caps(const dukd_session *s, dukd_error *error) {
    uint64_t needed = 0;
    for (uint32_t i = 0; i < s->recipe.n_passes; i++) {
        const dukd_pass_recipe *pass = &s->recipe.pass[i];
        for (uint32_t k = 0; k < pass->n_taps; k++) {
            const dukd_tap_recipe *tap = &pass->tap[k];
            if (tap->layer != NULL) needed |= DUKD_CAP_LAYERS;
            if (tap->derived) needed |= DUKD_CAP_DERIVED;
            if (tap->network != DUKD_STUDENT && (tap->flags & DUKD_TAP_WANT_GRAD) != 0)
                needed |= DUKD_CAP_OTHER_GRAD;
        }
    }
    const uint64_t missing = needed & ~s->host.caps;
    if (missing == 0) return DUKD_OK;
    return dukd_report(error, DUKD_E_UNSUPPORTED, "%s, which this host cannot do (no %s): train without %s",
                       (missing & DUKD_CAP_LAYERS) != 0 ? "the loss compares layers inside the networks"
                       : (missing & DUKD_CAP_DERIVED) != 0
                           ? "the loss needs a network run on another's output"
                           : "the loss has gradients for other networks than the student",
                       (missing & DUKD_CAP_LAYERS) != 0    ? "DUKD_CAP_LAYERS"
                       : (missing & DUKD_CAP_DERIVED) != 0 ? "DUKD_CAP_DERIVED"
                                                           : "DUKD_CAP_OTHER_GRAD",
                       s->config.w_fakd > 0 && (missing & DUKD_CAP_LAYERS) != 0 ? "fakd" : "csd");
}

int32_t dukd_session_find_networks(dukd_session *s, dukd_error *error) {
    uint32_t steps = 0;
    bool teacher_trains = false, needed[DUKD_ROLES] = {false};
    for (uint32_t i = 0; i < s->recipe.n_passes; i++) {
        const dukd_pass_recipe *pass = &s->recipe.pass[i];
        steps += (pass->flags & DUKD_PASS_OPTIMIZE_AFTER) != 0;
        for (uint32_t k = 0; k < pass->n_taps; k++) {
            needed[pass->tap[k].network] = true;
            if (pass->tap[k].network != DUKD_STUDENT && (pass->tap[k].flags & DUKD_TAP_MODE_TRAIN) != 0)
                teacher_trains = true;
        }
    }
    for (int role = 0; role < DUKD_ROLES; role++) {
        const int32_t status =
            needed[role] ? find_network(&s->host, (dukd_role)role, &s->network[role], error) : DUKD_OK;
        if (status != DUKD_OK) return status;
    }
    if (steps > 1 && (s->host.caps & DUKD_CAP_TWO_STEPS) == 0) {
        return dukd_report(
            error, DUKD_E_UNSUPPORTED,
            "official mode takes two optimizer steps an iteration, and this host can do one (no "
            "DUKD_CAP_TWO_STEPS): use train.mode: paper");
    }
    if (steps > 1 && s->micro_count > 1) {
        return dukd_report(error, DUKD_E_UNSUPPORTED,
                           "official mode takes its second step on weights that the first one moved, so it "
                           "cannot be cut into "
                           "micro-batches (micro_count %u): use one, or train.mode: paper",
                           s->micro_count);
    }
    if (steps > 1 && (s->flags & DUKD_SESSION_LOSS_SCALE) != 0) {
        return dukd_report(error, DUKD_E_UNSUPPORTED,
                           "official mode adds to gradients that the first step has used and unscaled, so "
                           "the loss cannot be "
                           "scaled (DUKD_SESSION_LOSS_SCALE): train without, or with train.mode: paper");
    }
    if (teacher_trains && (s->host.caps & DUKD_CAP_MODE_TRAIN) == 0) {
        return dukd_report(
            error, DUKD_E_UNSUPPORTED,
            "the teacher is to run in training mode, which this host cannot do (no DUKD_CAP_MODE_TRAIN): set "
            "train.teacher_mode: eval");
    }
    return check_feature_caps(s, error);
}

static const char *zoom_out_advice(const dukd_session *s, const dukd_pass_recipe *pass) {
    if (pass->images != DUKD_IMAGES_ZOOM_OUT) return "use other patches";
    return s->config.mode == DUKD_MODE_PAPER ? "use larger patches, or train.zoom_out: false"
                                             : "use larger patches, or train.dukd_opt.zoom_out: false";
}

/* In: the shape of the tap's source, which comes before it. */
static const int64_t *source_shape(const dukd_session *s, uint32_t at, const dukd_tap *tap) {
    if (tap->source_kind == DUKD_SOURCE_TAP) return s->tap_shape[at][tap->source_id];
    return s->planned[at].tensor[tap->source_id].shape;
}

static int32_t check_output(const dukd_session *s, const char *name, const char *image, const int64_t in[4],
                            const int64_t out[4], dukd_error *error) {
    const int64_t expected[4] = {in[0], in[1], in[2] * s->geometry.scale, in[3] * s->geometry.scale};
    if (memcmp(out, expected, sizeof expected) == 0) return DUKD_OK;
    return dukd_report(error, DUKD_E_ARGUMENT,
                       "the %s gives %lld x %lld x %lld x %lld for %s of %lld x %lld x %lld x %lld; at scale "
                       "%d it should be "
                       "%lld x %lld x %lld x %lld: is it a network of this scale?",
                       name, (long long)out[0], (long long)out[1], (long long)out[2], (long long)out[3],
                       image, (long long)in[0], (long long)in[1], (long long)in[2], (long long)in[3],
                       s->geometry.scale, (long long)expected[0], (long long)expected[1],
                       (long long)expected[2], (long long)expected[3]);
}

/* A layer may have any channels and any size, but one for each image. */
static int32_t check_layer(const char *name, const dukd_tap *tap, const int64_t in[4], const int64_t out[4],
                           dukd_error *error) {
    int64_t room = INT64_MAX / 8;
    for (int d = 0; d < 4; d++) room = out[d] >= 1 ? room / out[d] : 0;
    if (room > 0 && out[0] == in[0]) return DUKD_OK;
    return dukd_report(
        error, DUKD_E_ARGUMENT,
        "tap_shape: layer %s of the %s is %lld x %lld x %lld x %lld for an input of %lld images: expected as "
        "many images, and sizes of 1 or more",
        tap->layer, name, (long long)out[0], (long long)out[1], (long long)out[2], (long long)out[3],
        (long long)in[0]);
}

static int32_t check_tap(dukd_session *s, uint32_t pass_at, uint32_t at, dukd_error *error) {
    const dukd_pass_recipe *pass = &s->recipe.pass[pass_at];
    const dukd_tap *tap = &s->planned[pass_at].tap[at];
    const int64_t *in = source_shape(s, pass_at, tap);
    const char *name = role_names[pass->tap[at].network], *image = dukd_images_name(pass->images);
    int64_t *out = s->tap_shape[pass_at][at];
    dukd_error why = {.struct_size = DUKD_ERROR_SIZE};
    if (s->host.tap_shape(s->host.ctx, tap, in, out, &why) != 0) {
        why.message[sizeof why.message - 1] = '\0';
        if (tap->layer != NULL) {
            return dukd_report(error, DUKD_E_UNSUPPORTED,
                               "the %s cannot give layer %s for an input of %lld x %lld%s%s", name,
                               tap->layer, (long long)in[2], (long long)in[3],
                               why.message[0] != '\0' ? ": " : "", why.message);
        }
        return dukd_report(error, DUKD_E_UNSUPPORTED,
                           "the %s cannot take %s of %lld x %lld (LR patches are %lld x %lld)%s%s: %s", name,
                           image, (long long)in[2], (long long)in[3], (long long)s->geometry.h,
                           (long long)s->geometry.w, why.message[0] != '\0' ? ": " : "", why.message,
                           zoom_out_advice(s, pass));
    }
    return tap->layer != NULL ? check_layer(name, tap, in, out, error)
                              : check_output(s, name, image, in, out, error);
}

/* What is compared must have one size: of fakd's maps the pixels, of csd's everything but the number of images. */
static int32_t check_pairs(const dukd_session *s, uint32_t at, dukd_error *error) {
    const dukd_pass_recipe *pass = &s->recipe.pass[at];
    for (uint32_t i = 0; i < pass->n_affinities; i++) {
        const uint32_t a = pass->affinity[i].student, b = pass->affinity[i].teacher;
        const int64_t *x = s->tap_shape[at][a], *y = s->tap_shape[at][b];
        if (x[2] == y[2] && x[3] == y[3]) continue;
        return dukd_report(error, DUKD_E_OPTION,
                           "fakd compares the student's layer %s, %lld x %lld pixels, with the teacher's "
                           "layer %s, %lld x %lld: "
                           "name layers of one size (train.fakd.layers, train.fakd.teacher_layers)",
                           pass->tap[a].layer, (long long)x[2], (long long)x[3], pass->tap[b].layer,
                           (long long)y[2], (long long)y[3]);
    }
    for (uint32_t i = 0; i < pass->n_contrasts; i++) {
        const dukd_contrast_recipe *c = &pass->contrast[i];
        const int64_t *x = s->tap_shape[at][c->student];
        if (memcmp(x, s->tap_shape[at][c->teacher], 4 * sizeof *x) == 0 &&
            memcmp(x + 1, s->tap_shape[at][c->negatives] + 1, 3 * sizeof *x) == 0)
            continue;
        return dukd_report(
            error, DUKD_E_ARGUMENT,
            "tap_shape: layer %s of the features has another size for the teacher's output or for the "
            "negatives than for the student's output, and these are images of one size",
            pass->tap[c->student].layer);
    }
    return DUKD_OK;
}

int32_t dukd_session_check_taps(dukd_session *s, dukd_error *error) {
    for (uint32_t i = 0; i < s->recipe.n_passes; i++) {
        for (uint32_t k = 0; k < s->recipe.pass[i].n_taps; k++) {
            const int32_t status = check_tap(s, i, k, error);
            if (status != DUKD_OK) return status;
        }
        const int32_t status = check_pairs(s, i, error);
        if (status != DUKD_OK) return status;
    }
    return DUKD_OK;
}
