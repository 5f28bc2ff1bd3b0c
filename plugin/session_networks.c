/* What a session asks of the host's networks: that they are there, that they run as the recipe wants, that
 * their sizes fit. */
#include "report.h"
#include "session.h"

#include <stdio.h>
#include <string.h>

static const char *const role_names[DUKD_ROLES] = {[DUKD_STUDENT] = "student", [DUKD_TEACHER] = "teacher"};

static int32_t find_network(const dukd_host *host, dukd_role role, uint32_t *index, dukd_error *error) {
    for (uint32_t i = 0; i < host->n_networks; i++) {
        if (strcmp(host->networks[i], role_names[role]) == 0) {
            *index = i;
            return DUKD_OK;
        }
    }
    return dukd_report(error, DUKD_E_UNSUPPORTED,
                       "host: there is no network \"%s\", and the loss needs one%s", role_names[role],
                       role == DUKD_TEACHER
                           ? ": give it (network_t, path.pretrain_network_t), or train without a teacher"
                           : "");
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
    return DUKD_OK;
}

static const char *zoom_out_advice(const dukd_session *s, const dukd_pass_recipe *pass) {
    if (pass->images != DUKD_IMAGES_ZOOM_OUT) return "use other patches";
    return s->config.mode == DUKD_MODE_PAPER ? "use larger patches, or train.zoom_out: false"
                                             : "use larger patches, or train.dukd_opt.zoom_out: false";
}

static int32_t check_tap(dukd_session *s, const dukd_pass_recipe *pass, const dukd_pass_view *view,
                         uint32_t at, dukd_error *error) {
    const dukd_tap *tap = &view->tap[at];
    const int64_t *in = view->tensor[tap->source_id].shape, *expected = view->tap_shape[at];
    const char *name = role_names[pass->tap[at].network], *image = dukd_images_name(pass->images);
    int64_t out[4] = {0};
    dukd_error why = {.struct_size = DUKD_ERROR_SIZE};
    if (s->host.tap_shape(s->host.ctx, tap, in, out, &why) != 0) {
        why.message[sizeof why.message - 1] = '\0';
        return dukd_report(error, DUKD_E_UNSUPPORTED,
                           "the %s cannot take %s of %lld x %lld (LR patches are %lld x %lld)%s%s: %s", name,
                           image, (long long)in[2], (long long)in[3], (long long)s->geometry.h,
                           (long long)s->geometry.w, why.message[0] != '\0' ? ": " : "", why.message,
                           zoom_out_advice(s, pass));
    }
    if (memcmp(out, expected, sizeof out) == 0) return DUKD_OK;
    return dukd_report(error, DUKD_E_ARGUMENT,
                       "the %s gives %lld x %lld x %lld x %lld for %s of %lld x %lld x %lld x %lld; at scale "
                       "%d it should be "
                       "%lld x %lld x %lld x %lld: is it a network of this scale?",
                       name, (long long)out[0], (long long)out[1], (long long)out[2], (long long)out[3],
                       image, (long long)in[0], (long long)in[1], (long long)in[2], (long long)in[3],
                       s->geometry.scale, (long long)expected[0], (long long)expected[1],
                       (long long)expected[2], (long long)expected[3]);
}

int32_t dukd_session_check_taps(dukd_session *s, dukd_error *error) {
    for (uint32_t i = 0; i < s->recipe.n_passes; i++) {
        for (uint32_t k = 0; k < s->recipe.pass[i].n_taps; k++) {
            const int32_t status = check_tap(s, &s->recipe.pass[i], &s->planned[i], k, error);
            if (status != DUKD_OK) return status;
        }
    }
    return DUKD_OK;
}
