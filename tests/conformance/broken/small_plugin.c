/* The entry, the table, and what the plugin says of itself. */
#define DUKD_PLUGIN_BUILD
#include "small.h"

#include <dlfcn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const dukd_loss_info loss_rec = {DUKD_LOSS_INFO_SIZE, 0, "rec", "|S(x) - y|"};
static const dukd_loss_info loss_in = {DUKD_LOSS_INFO_SIZE, 0, "zoom_in", "|S(c) - T(c)|, c a crop of y"};
static const dukd_loss_info loss_out = {DUKD_LOSS_INFO_SIZE, 0, "zoom_out",
                                        "|S(d) - T(d)|, d: x scaled down"};
static const dukd_loss_info loss_nameless = {DUKD_LOSS_INFO_SIZE, 0, "", "?"};
static const dukd_loss_info *const losses[] = {&loss_rec, &loss_in, &loss_out, &loss_nameless};

static const dukd_plugin_info info = {
    .struct_size = DUKD_PLUGIN_INFO_SIZE,
    .n_losses = 3,
    .n_options = SMALL_OPTIONS,
    .n_backends = 2,
    .name = "small",
    .version = "1.0.0",
    .build = "for the tests of dukd-conform",
    .losses = losses,
    .options = small_option_table,
};

/* Descriptions that are wrong: with a loss without a name, with no version. */
static const dukd_plugin_info one_loss_more = {
    .struct_size = DUKD_PLUGIN_INFO_SIZE,
    .n_losses = 4,
    .n_options = SMALL_OPTIONS,
    .n_backends = 2,
    .name = "small",
    .version = "1.0.0",
    .build = "",
    .losses = losses,
    .options = small_option_table,
};
static const dukd_plugin_info no_version = {
    .struct_size = DUKD_PLUGIN_INFO_SIZE,
    .n_losses = 3,
    .n_options = SMALL_OPTIONS,
    .n_backends = 2,
    .name = "small",
    .version = "new",
    .build = "",
    .losses = losses,
    .options = small_option_table,
};

static const dukd_plugin_info *get_info(void) {
    return BROKEN(nameless_loss) ? &one_loss_more : BROKEN(no_version) ? &no_version : &info;
}

static int32_t query_backend(uint32_t index, dukd_backend_info *out, dukd_error *error) {
    static const dukd_backend_info known[2] = {
        {DUKD_BACKEND_INFO_SIZE, 1, DUKD_DEVICE_CPU, 0, "cpu", "plain C"},
        {DUKD_BACKEND_INFO_SIZE, 0, DUKD_DEVICE_CUDA, 0, "cuda", "not built"}};
    if (!out || out->struct_size < DUKD_BACKEND_INFO_SIZE)
        return small_error(error, DUKD_E_ARGUMENT, "query_backend: out is NULL, or too small");
    if (index >= 2)
        return small_error(error, DUKD_E_ARGUMENT, "query_backend: there is no backend %u", index);
    uint32_t size = out->struct_size;
    if (BROKEN(clears_tail)) memset(out, 0, size);
    memcpy(out, &known[index], DUKD_BACKEND_INFO_SIZE);
    out->struct_size = size;
    if (BROKEN(silent_backend) && !out->usable) out->detail[0] = 0;
    return DUKD_OK;
}

static const dukd_ext_draws draws = {.struct_size = DUKD_EXT_DRAWS_SIZE, .set_source = small_set_source};

static const void *get_extension(const char *id) {
    if (strcmp(id, DUKD_EXT_PARAMS) == 0) return &small_ext_params;
    return BROKEN(any_extension) || strcmp(id, DUKD_EXT_DRAWS) == 0 ? &draws : NULL;
}

#define TABLE(draft, extension)                                                                              \
    {                                                                                                        \
        .struct_size = DUKD_PLUGIN_SIZE, .abi_draft = (draft), .get_info = get_info,                         \
        .query_backend = query_backend, .get_extension = (extension), .create_session = small_create,        \
        .destroy_session = small_destroy, .get_plan = small_get_plan, .begin_step = small_begin_step,        \
        .next_pass = small_next_pass, .submit_pass = small_submit_pass, .end_step = small_end_step,          \
        .cancel_step = small_cancel_step, .read_losses = small_read_losses, .get_state = small_get_state,    \
        .set_state = small_set_state                                                                         \
    }

static const dukd_plugin table = TABLE(DUKD_ABI_DRAFT, get_extension);

/* Tables that are wrong: another one after a while, one of a draft that never was, one with a hole. */
static const dukd_plugin other_table = TABLE(DUKD_ABI_DRAFT, get_extension);
static const dukd_plugin lying_table = TABLE(UINT32_MAX, get_extension);
static const dukd_plugin holey_table = TABLE(DUKD_ABI_DRAFT, NULL);

static void *idle(void *p) {
    (void)p;
    pause();
    return NULL;
}

/* What an entry must not do. */
static void misbehave(void) {
    static atomic_int once;
    pthread_t thread;
    if (BROKEN(starts_thread) && !atomic_fetch_add(&once, 1)) pthread_create(&thread, NULL, idle, NULL);
    if (BROKEN(opens_file) && !atomic_fetch_add(&once, 1)) (void)!dup(STDERR_FILENO);
}

const dukd_plugin *dukd_get_plugin_draft(uint32_t draft) {
    static atomic_int calls;
    misbehave();
    if (BROKEN(no_other_draft) && draft != DUKD_ABI_DRAFT) return NULL;
    if (BROKEN(every_draft) && draft == UINT32_MAX) return &lying_table;
    if (BROKEN(another_table) && draft == DUKD_ABI_DRAFT && atomic_fetch_add(&calls, 1) > 1)
        return &other_table;
    if (BROKEN(hole_in_table)) return &holey_table;
    return &table;
}

/* A symbol that a version script lets out, where it is the wrong one. */
DUKD_EXPORT int small_helper(void);
int small_helper(void) {
    return 0;
}
