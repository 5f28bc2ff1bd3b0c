/* The spy's table and entry, and the door of every session's function. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "spy.h"

int32_t spy_error(dukd_error *error, int32_t code, const char *message) {
    if (error && error->struct_size >= DUKD_ERROR_SIZE) {
        error->code = code;
        snprintf(error->message, sizeof error->message, "%s", message);
    }
    return code;
}

int32_t spy_enter(dukd_session *s, const char *call, dukd_error *error) {
    if (!s || s->destroyed) {
        spy_wrong("order", "%s of %s", call, s ? "a session that was destroyed" : "a session that is NULL");
        return spy_error(error, s ? DUKD_E_STATE : DUKD_E_ARGUMENT, "there is no session");
    }
    if (s->failed && strcmp(call, "cancel_step") != 0) {
        spy_wrong("after-error", "%s after a failure that only cancel_step or destroy_session may follow",
                  call);
        return spy_error(error, DUKD_E_STATE, "the step has failed: cancel_step");
    }
    if (atomic_exchange(&s->inside, 1)) {
        spy_wrong("alone", "%s while another call is inside the same session", call);
        return spy_error(error, DUKD_E_STATE, "another call is inside the session");
    }
    if (spy_told("slow")) nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    if (!spy_shall_fail(call)) return DUKD_OK;
    spy_note("{\"call\": \"failure\", \"of\": \"%s\"}", call);
    s->failed = s->in_step;
    atomic_store(&s->inside, 0);
    return spy_error(error, DUKD_E_BACKEND, SPY_MESSAGE);
}

void spy_leave(dukd_session *s) {
    atomic_store(&s->inside, 0);
}

/* ---- what it says of itself ---- */

static const dukd_loss_info loss = {.struct_size = DUKD_LOSS_INFO_SIZE,
                                    .name = "spy",
                                    .help = "sums of outputs under a fixed pattern, as a scenario says"};
static const dukd_loss_info *const losses[] = {&loss};

#define OPTION(key, kind, text)                                                                              \
    {                                                                                                        \
        .struct_size = DUKD_OPTION_INFO_SIZE, .type = (kind), .name = (key), .min = -INFINITY,               \
        .max = INFINITY, .help = (text)                                                                      \
    }
/* Options that are only looked at: "spy.text" etc. under any section. */
static const dukd_option_info options[] = {
    OPTION("train.spy.text", DUKD_OPTION_STRING, "two words: only looked at"),
    OPTION("train.spy.number", DUKD_OPTION_FLOAT, "0.25: only looked at"),
    OPTION("train.spy.flag", DUKD_OPTION_BOOL, "true: only looked at"),
    OPTION("train.spy.list", DUKD_OPTION_STRING | DUKD_OPTION_LIST, "[1, 2.5, x]: only looked at"),
    OPTION("train.spy.none", DUKD_OPTION_STRING, "null: only looked at"),
};
static const dukd_option_info *const option_list[] = {&options[0], &options[1], &options[2], &options[3],
                                                      &options[4]};

static const dukd_plugin_info info = {
    .struct_size = DUKD_PLUGIN_INFO_SIZE,
    .n_losses = 1,
    .n_options = sizeof option_list / sizeof *option_list,
    .n_backends = 1,
    .name = "dukd-spy",
    .version = DUKD_VERSION,
    .build = "of dukd-conform: looks at hosts",
    .losses = losses,
    .options = option_list,
};

static const dukd_plugin_info *get_info(void) {
    return &info;
}

static int32_t query_backend(uint32_t index, dukd_backend_info *out, dukd_error *error) {
    if (index > 0 || !out || out->struct_size < DUKD_BACKEND_INFO_SIZE)
        return spy_error(error, DUKD_E_ARGUMENT, "query_backend: the spy has one backend");
    out->usable = 1;
    out->device_type = DUKD_DEVICE_CPU;
    out->pad0 = 0;
    snprintf(out->name, sizeof out->name, "cpu");
    snprintf(out->detail, sizeof out->detail, "plain C");
    return DUKD_OK;
}

static const void *get_extension(const char *id) {
    return id && strcmp(id, DUKD_EXT_PARAMS) == 0 ? &spy_ext_params : NULL;
}

static const dukd_plugin table = {
    .struct_size = DUKD_PLUGIN_SIZE,
    .abi_draft = DUKD_ABI_DRAFT,
    .get_info = get_info,
    .query_backend = query_backend,
    .get_extension = get_extension,
    .create_session = spy_create_session,
    .destroy_session = spy_destroy_session,
    .get_plan = spy_get_plan,
    .begin_step = spy_begin_step,
    .next_pass = spy_next_pass,
    .submit_pass = spy_submit_pass,
    .end_step = spy_end_step,
    .cancel_step = spy_cancel_step,
    .read_losses = spy_read_losses,
    .get_state = spy_get_state,
    .set_state = spy_set_state,
};

/* ---- the entry ---- */

static int32_t other_create(const dukd_session_params *params, dukd_session **out, dukd_error *error) {
    (void)params;
    if (out) *out = NULL;
    spy_wrong("draft", "create_session of a table that is of another draft");
    return spy_error(error, DUKD_E_ARGUMENT, "another draft");
}

const dukd_plugin *dukd_get_plugin_draft(uint32_t draft) {
    static dukd_plugin other;
    spy_note("{\"call\": \"entry\", \"draft\": %u}", draft);
    if (!spy_told("draft")) return &table;
    other = table;
    other.abi_draft = DUKD_ABI_DRAFT + 1;
    other.create_session = other_create;
    return &other;
}
