/* A plugin that is none: whole where no FAKE_ is defined (it can be loaded and asked, no more), else wrong in one way. */
#include "dukd_plugin.h"

#include <stddef.h>

#define EXPORTED __attribute__((visibility("default")))

#ifdef FAKE_NO_ENTRY
EXPORTED int dukd_get_plugin(void);
int dukd_get_plugin(void) {
    return 0;
}
#else

#ifdef FAKE_UNDEFINED
int nobody_defines_this(void);
#endif

static int32_t query_backend(uint32_t index, dukd_backend_info *out, dukd_error *error) {
    (void)index;
    (void)out;
    (void)error;
    return DUKD_E_ARGUMENT;
}
static const void *get_extension(const char *id) {
    (void)id;
    return NULL;
}
static int32_t create_session(const dukd_session_params *params, dukd_session **out, dukd_error *error) {
    (void)params;
    *out = NULL;
    error->message[0] = 'n';
    error->message[1] = 'o';
    error->message[2] = 0;
    return DUKD_E_UNSUPPORTED;
}
static void destroy_session(dukd_session *session) {
    (void)session;
}
static int32_t get_plan(dukd_session *s, const dukd_plan **out, dukd_error *error) {
    (void)s, (void)out, (void)error;
    return DUKD_E_STATE;
}
static int32_t begin_step(dukd_session *s, const dukd_step *step, dukd_error *error) {
    (void)s, (void)step, (void)error;
    return DUKD_E_STATE;
}
static int32_t next_pass(dukd_session *s, const dukd_pass **out, dukd_error *error) {
    (void)s, (void)out, (void)error;
    return DUKD_E_STATE;
}
static int32_t submit_pass(dukd_session *s, const dukd_submit *submit, dukd_error *error) {
    (void)s, (void)submit, (void)error;
    return DUKD_E_STATE;
}
static int32_t end_step(dukd_session *s, dukd_error *error) {
    (void)s, (void)error;
    return DUKD_E_STATE;
}
static int32_t read_losses(dukd_session *s, dukd_losses *out, dukd_error *error) {
    (void)s, (void)out, (void)error;
    return DUKD_E_STATE;
}
static int32_t get_state(dukd_session *s, void *data, uint64_t *size, dukd_error *error) {
    (void)s, (void)data, (void)size, (void)error;
    return DUKD_E_STATE;
}
static int32_t set_state(dukd_session *s, const void *data, uint64_t size, dukd_error *error) {
    (void)s, (void)data, (void)size, (void)error;
    return DUKD_E_STATE;
}

static const dukd_plugin_info *get_info(void) {
#ifdef FAKE_NO_INFO
    return NULL;
#else
    static const dukd_plugin_info info = {
        .struct_size = DUKD_PLUGIN_INFO_SIZE,
#ifndef FAKE_NO_NAME
        .name = "fake",
#endif
        .version = "1.0.0",
#ifdef FAKE_NO_OPTIONS
        .n_options = 3, /* and no rows */
#endif
#ifdef FAKE_NO_LOSSES
        .n_losses = 3,
#endif
    };
    return &info;
#endif
}

EXPORTED const dukd_plugin *dukd_get_plugin_draft(uint32_t draft);
const dukd_plugin *dukd_get_plugin_draft(uint32_t draft) {
#ifdef FAKE_NO_TABLE
    (void)draft;
    return NULL;
#else
    static dukd_plugin plugin = {
        .struct_size = DUKD_PLUGIN_SIZE,
        .abi_draft = DUKD_ABI_DRAFT,
        .get_info = get_info,
        .query_backend = query_backend,
        .get_extension = get_extension,
        .create_session = create_session,
        .destroy_session = destroy_session,
        .get_plan = get_plan,
        .begin_step = begin_step,
        .next_pass = next_pass,
        .submit_pass = submit_pass,
        .end_step = end_step,
        .cancel_step = end_step,
        .read_losses = read_losses,
        .get_state = get_state,
        .set_state = set_state,
    };
    (void)draft;
#ifdef FAKE_DRAFT
    plugin.abi_draft = FAKE_DRAFT;
#endif
#ifdef FAKE_HALF
    plugin.struct_size = DUKD_PLUGIN_SIZE / 2;
#endif
#ifdef FAKE_MISSING
    plugin.FAKE_MISSING = NULL;
#endif
#ifdef FAKE_UNDEFINED
    if (nobody_defines_this()) return NULL;
#endif
    return &plugin;
#endif
}
#endif
