/* The saved state: the configuration as a text, line by line, so that a difference can be named; and a checksum. There is nothing
 * else to remember: the parameters are in the host's checkpoint. */
#include "fitnets.h"

#include <stdio.h>
#include <string.h>

enum { ROOM = 1024, SUM = 17 }; /* 16 hexadecimal digits and a newline at the end */

static int32_t enter_idle(const dukd_session *s, const char *call, dukd_error *error) {
    int32_t status = fit_enter(s, error);
    if (!status && (s->open || s->next_micro))
        status = fit_error(error, DUKD_E_STATE, "%s comes between steps", call);
    return status;
}

static unsigned long long checksum(const char *text, size_t size) {
    unsigned long long h = 0xcbf29ce484222325u; /* FNV-1a */
    for (size_t i = 0; i < size; i++) h = (h ^ (unsigned char)text[i]) * 0x100000001b3u;
    return h;
}

/* Bytes of the state in `text`, which it always fits. */
static size_t describe(const dukd_session *s, char text[ROOM]) {
    const fit_config *c = &s->config;
    int n =
        snprintf(text, ROOM - SUM - 1,
                 "state fitnets 1\nseed %llu\nscale %d\nchannels %lld\nheight %lld\nwidth %lld\nterms%s%s\n"
                 "w_rec %a\nw_hint %a\nstudent_layer %s\nteacher_layer %s\nprojection %lld to %lld\n",
                 (unsigned long long)s->seed, s->scale, (long long)s->lr_shape[1], (long long)s->lr_shape[2],
                 (long long)s->lr_shape[3], c->term[FIT_REC] ? " rec" : "", c->term[FIT_HINT] ? " hint" : "",
                 c->weight[FIT_REC], c->weight[FIT_HINT], c->student_layer, c->teacher_layer,
                 (long long)s->weight_shape[1], (long long)s->weight_shape[0]);
    n += snprintf(text + n, SUM + 1, "%016llx\n", checksum(text, (size_t)n));
    return (size_t)n;
}

int32_t fit_get_state(dukd_session *s, void *data, uint64_t *size, dukd_error *error) {
    char text[ROOM];
    int32_t status = enter_idle(s, "get_state", error);
    if (status) return status;
    if (!size) return fit_error(error, DUKD_E_ARGUMENT, "get_state: size is NULL");
    const size_t n = describe(s, text);
    if (data && *size < n)
        return fit_error(error, DUKD_E_ARGUMENT, "get_state: room for %llu bytes, not for %llu",
                         (unsigned long long)*size, (unsigned long long)n);
    *size = n;
    if (data) memcpy(data, text, n);
    return DUKD_OK;
}

/* Whether this is a state as it was written. */
static bool is_whole(const char *text, uint64_t size) {
    char sum[SUM + 1];
    if (size <= SUM) return false;
    snprintf(sum, sizeof sum, "%016llx\n", checksum(text, (size_t)size - SUM));
    return memcmp(text + size - SUM, sum, SUM) == 0;
}

int32_t fit_set_state(dukd_session *s, const void *data, uint64_t size, dukd_error *error) {
    char now[ROOM], was[ROOM];
    int32_t status = enter_idle(s, "set_state", error);
    if (status) return status;
    if (!data) return fit_error(error, DUKD_E_ARGUMENT, "set_state: data is NULL");
    if (size >= ROOM || !is_whole(data, size))
        return fit_error(error, DUKD_E_ARGUMENT, "set_state: this is damaged, or no state of fitnets");
    memcpy(was, data, (size_t)size);
    was[size] = 0;
    now[describe(s, now)] = 0;
    char *rest_was = was, *rest_now = now;
    for (;;) {
        const char *a = strsep(&rest_was, "\n"), *b = strsep(&rest_now, "\n");
        if (!rest_was || !rest_now) break; /* the checksum's line */
        if (strcmp(a, b) != 0)
            return fit_error(error, DUKD_E_ARGUMENT, "set_state: the state has '%.90s', this session '%.90s'",
                             a, b);
    }
    return DUKD_OK;
}
