/* What a session remembers: the state that a checkpoint keeps.
 *
 * Draws are pure functions, so nothing changes from step to step that would have to be saved. The state is
 * what the losses mean, as text: it lets a resumed run say that it would go on as another one. */
#include "report.h"
#include "session.h"
#include "struct_check.h"

#include <stdio.h>
#include <string.h>

int32_t dukd_session_set_draw_source(dukd_session *s, dukd_draw_source source, void *ctx, dukd_error *error) {
    const int32_t status = dukd_session_enter_idle(s, "set_source", error);
    if (status != DUKD_OK) return status;
    s->draws.source = source;
    s->draws.ctx = ctx;
    return DUKD_OK;
}

/* ---------------------------------------------------------------- state */

#define STATE_TEXT    8192
#define STATE_VERSION 1u

typedef struct {
    char magic[8];
    uint32_t version;
    uint32_t text_size; /* what follows, with the final 0 */
} state_head;

static const char magic[8] = "DUKDSTA";

static uint32_t state_text(const dukd_session *s, char room[STATE_TEXT]) {
    const dukd_geometry *g = &s->geometry;
    const int head = snprintf(room, STATE_TEXT, "seed = %llu\nscale = %d\nLR patch = %lld x %lld x %lld\n",
                              (unsigned long long)s->draws.seed, g->scale, (long long)g->c, (long long)g->h,
                              (long long)g->w);
    return (uint32_t)head + dukd_config_text(&s->config, "\n", room + head, STATE_TEXT - (uint32_t)head) + 1;
}

int32_t dukd_session_get_state(dukd_session *s, void *data, uint64_t *size, dukd_error *error) {
    const int32_t status = dukd_session_enter_idle(s, "get_state", error);
    if (status != DUKD_OK) return status;
    if (size == NULL) return dukd_report(error, DUKD_E_ARGUMENT, "get_state: size is NULL");
    char text[STATE_TEXT];
    state_head head = {.version = STATE_VERSION, .text_size = state_text(s, text)};
    memcpy(head.magic, magic, sizeof magic);
    const uint64_t needed = sizeof head + head.text_size;
    if (data != NULL && *size < needed) {
        return dukd_report(error, DUKD_E_ARGUMENT,
                           "get_state: there is room for %llu bytes, the state has %llu",
                           (unsigned long long)*size, (unsigned long long)needed);
    }
    *size = needed;
    if (data == NULL) return DUKD_OK;
    memcpy(data, &head, sizeof head);
    memcpy((char *)data + sizeof head, text, head.text_size);
    return DUKD_OK;
}

/* Names the first line in which two texts differ. */
static int32_t report_difference(const char *saved, const char *now, dukd_error *error) {
    while (*saved != '\0' && *now != '\0') {
        const size_t a = strcspn(saved, "\n"), b = strcspn(now, "\n");
        if (a != b || memcmp(saved, now, a) != 0) {
            return dukd_report(
                error, DUKD_E_ARGUMENT,
                "set_state: the state was saved with \"%.*s\", this session has \"%.*s\": resume with the "
                "options of the saved run",
                (int)(a < 80 ? a : 80), saved, (int)(b < 80 ? b : 80), now);
        }
        saved += a + (saved[a] == '\n');
        now += b + (now[b] == '\n');
    }
    return dukd_report(error, DUKD_E_ARGUMENT, "set_state: the state is of another version of this plugin");
}

int32_t dukd_session_set_state(dukd_session *s, const void *data, uint64_t size, dukd_error *error) {
    const int32_t status = dukd_session_enter_idle(s, "set_state", error);
    if (status != DUKD_OK) return status;
    if (data == NULL) return dukd_report(error, DUKD_E_ARGUMENT, "set_state: data is NULL");
    state_head head;
    if (size < sizeof head) {
        return dukd_report(error, DUKD_E_ARGUMENT,
                           "set_state: the state has %llu bytes, which is too short for one",
                           (unsigned long long)size);
    }
    memcpy(&head, data, sizeof head);
    if (memcmp(head.magic, magic, sizeof magic) != 0) {
        return dukd_report(error, DUKD_E_ARGUMENT, "set_state: this is no state of a dukd session");
    }
    if (head.version != STATE_VERSION) {
        return dukd_report(error, DUKD_E_ARGUMENT,
                           "set_state: the state has version %u, this plugin reads %u", head.version,
                           STATE_VERSION);
    }
    const char *saved = (const char *)data + sizeof head;
    if (size - sizeof head != head.text_size || head.text_size == 0 || saved[head.text_size - 1] != '\0') {
        return dukd_report(error, DUKD_E_ARGUMENT,
                           "set_state: the state is cut short or damaged (%llu bytes)",
                           (unsigned long long)size);
    }
    char now[STATE_TEXT];
    const uint32_t length = state_text(s, now);
    if (length != head.text_size || memcmp(saved, now, length) != 0)
        return report_difference(saved, now, error);
    s->next_micro = 0;
    s->may_restart = false;
    return DUKD_OK;
}
