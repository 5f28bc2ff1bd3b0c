/* The entry, the table, and what the plugin says of itself. */
#define DUKD_PLUGIN_BUILD
#include "fitnets.h"

#include <string.h>

static const dukd_loss_info loss_rec = {DUKD_LOSS_INFO_SIZE, 0, "rec", "mean |S - y|"};
static const dukd_loss_info loss_hint = {
    DUKD_LOSS_INFO_SIZE, 0, "hint", "mean (P F_S - F_T)^2, P a learned 1x1 convolution (Romero et al. 2015)"};
static const dukd_loss_info *const losses[] = {&loss_rec, &loss_hint};

static const dukd_plugin_info info = {
    .struct_size = DUKD_PLUGIN_INFO_SIZE,
    .n_losses = FIT_TERMS,
    .n_options = FIT_OPTIONS,
    .n_backends = 1,
    .name = "fitnets",
    .version = "1.0.0",
    .build = "plain C, one thread or the host's",
    .losses = losses,
    .options = fit_option_table,
};

static const dukd_plugin_info *get_info(void) {
    return &info;
}

static int32_t query_backend(uint32_t index, dukd_backend_info *out, dukd_error *error) {
    static const dukd_backend_info cpu = {DUKD_BACKEND_INFO_SIZE,     1, DUKD_DEVICE_CPU, 0, "cpu",
                                          "plain C, double precision"};
    if (!out || out->struct_size < DUKD_BACKEND_INFO_SIZE)
        return fit_error(error, DUKD_E_ARGUMENT, "query_backend: out is NULL, or too small");
    if (index >= info.n_backends)
        return fit_error(error, DUKD_E_ARGUMENT, "query_backend: there is no backend %u", index);
    const uint32_t size = out->struct_size;
    memcpy(out, &cpu, DUKD_BACKEND_INFO_SIZE);
    out->struct_size = size;
    return DUKD_OK;
}

static const void *get_extension(const char *id) {
    return id && strcmp(id, DUKD_EXT_PARAMS) == 0 ? &fit_ext_params : NULL;
}

static const dukd_plugin table = {
    .struct_size = DUKD_PLUGIN_SIZE,
    .abi_draft = DUKD_ABI_DRAFT,
    .get_info = get_info,
    .query_backend = query_backend,
    .get_extension = get_extension,
    .create_session = fit_create,
    .destroy_session = fit_destroy,
    .get_plan = fit_get_plan,
    .begin_step = fit_begin_step,
    .next_pass = fit_next_pass,
    .submit_pass = fit_submit_pass,
    .end_step = fit_end_step,
    .cancel_step = fit_cancel_step,
    .read_losses = fit_read_losses,
    .get_state = fit_get_state,
    .set_state = fit_set_state,
};

/* Whoever asks for another draft reads `abi_draft` and sees which side has to be rebuilt. */
const dukd_plugin *dukd_get_plugin_draft(uint32_t draft) {
    (void)draft;
    return &table;
}
