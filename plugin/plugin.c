/* The library's face: its one exported function, the table behind it, and what the plugin says of itself. */
#define DUKD_PLUGIN_BUILD
#include "dukd_plugin.h"

#include "backend/backend.h"
#include "dukd_ext_draws.h"
#include "dukd_ext_graph.h"
#include "options.h"
#include "report.h"
#include "session.h"

#include <string.h>

/* ---------------------------------------------------------------- what it says of itself */

static const dukd_loss_info loss_rec = {DUKD_LOSS_INFO_SIZE, 0, "rec", "|S(x) - y|, mean over all elements"};
static const dukd_loss_info loss_kd = {DUKD_LOSS_INFO_SIZE, 0, "kd",
                                       "|S(x) - T(x)|: response knowledge distillation"};
static const dukd_loss_info loss_dukd = {DUKD_LOSS_INFO_SIZE, 0, "dukd",
                                         "|D^-1 S(D(x_zo)) - T(x_zo)| + |D^-1 S(D(x_zi)) - T(x_zi)|: "
                                         "zoomed-out and zoomed-in images (arXiv 2309.14162)"};
static const dukd_loss_info loss_fakd = {DUKD_LOSS_INFO_SIZE, 0, "fakd",
                                         "w_fakd sum over layers of mean |A_S - A_T|, A = F^T F of the map "
                                         "with columns of norm 1; alone also |S(x) - y| / 2 + "
                                         "|S(x) - T(x)| / 2 (He et al. 2020)"};
static const dukd_loss_info loss_csd = {DUKD_LOSS_INFO_SIZE, 0, "csd",
                                        "w_csd sum_i w_i |F_i(T) - F_i(S)| / mean_K |F_i(neg) - F_i(S)| + "
                                        "w_csd_teacher |T(x) - y|, F: VGG19; alone also "
                                        "|S(x) - y| (Wang et al. 2021)"};
static const dukd_loss_info *const losses[] = {&loss_rec, &loss_kd, &loss_dukd, &loss_fakd, &loss_csd};

enum { N_BACKENDS = 2 }; /* cpu, cuda */

#if defined(__clang__)
#define BUILT_BY "clang " __clang_version__
#elif defined(__GNUC__)
#define BUILT_BY "gcc " __VERSION__
#else
#define BUILT_BY "an unknown compiler"
#endif

#if defined(NDEBUG)
#define BUILT_FOR "release"
#else
#define BUILT_FOR "with assertions"
#endif

static const dukd_plugin_info info = {
    .struct_size = DUKD_PLUGIN_INFO_SIZE,
    .n_losses = sizeof losses / sizeof *losses,
    .n_options = DUKD_OPT_COUNT,
    .n_backends = N_BACKENDS,
    .name = "dukd",
    .version = DUKD_VERSION,
    .build = BUILT_BY ", " BUILT_FOR ", backends cpu, cuda (a module apart)",
    .losses = losses,
    .options = dukd_option_infos,
};

static const dukd_plugin_info *get_info(void) {
    return &info;
}

static int32_t query_backend(uint32_t index, dukd_backend_info *out, dukd_error *error) {
    if (out == NULL) return dukd_report(error, DUKD_E_ARGUMENT, "query_backend: out is NULL");
    if (out->struct_size < DUKD_BACKEND_INFO_SIZE) {
        return dukd_report(error, DUKD_E_ARGUMENT, "query_backend: struct_size is %u, expected %u",
                           out->struct_size, DUKD_BACKEND_INFO_SIZE);
    }
    if (index >= N_BACKENDS) {
        return dukd_report(error, DUKD_E_ARGUMENT, "query_backend: index is %u, but there are %d backends",
                           index, N_BACKENDS);
    }
    /* what the caller knows of the struct beyond this plugin's version stays as it is */
    dukd_backend_info found = {.struct_size = out->struct_size};
    if (index == 0) {
        dukd_backend_cpu_describe(&found);
        found.struct_size = out->struct_size;
    } else {
        dukd_backend_cuda_describe(&found);
    }
    memcpy(out, &found, DUKD_BACKEND_INFO_SIZE);
    return DUKD_OK;
}

static const dukd_ext_draws ext_draws = {
    .struct_size = DUKD_EXT_DRAWS_SIZE,
    .set_source = dukd_session_set_draw_source,
};

static const dukd_ext_graph ext_graph = {
    .struct_size = DUKD_EXT_GRAPH_SIZE,
    .before_replay = dukd_session_before_replay,
};

static const void *get_extension(const char *id) {
    if (id == NULL) return NULL;
    if (strcmp(id, DUKD_EXT_DRAWS) == 0) return &ext_draws;
    return strcmp(id, DUKD_EXT_GRAPH) == 0 ? &ext_graph : NULL;
}

/* ---------------------------------------------------------------- the table and the entry */

static const dukd_plugin plugin = {
    .struct_size = DUKD_PLUGIN_SIZE,
    .abi_draft = DUKD_ABI_DRAFT,
    .get_info = get_info,
    .query_backend = query_backend,
    .get_extension = get_extension,
    .create_session = dukd_session_create,
    .destroy_session = dukd_session_destroy,
    .get_plan = dukd_session_get_plan,
    .begin_step = dukd_session_begin_step,
    .next_pass = dukd_session_next_pass,
    .submit_pass = dukd_session_submit_pass,
    .end_step = dukd_session_end_step,
    .cancel_step = dukd_session_cancel_step,
    .read_losses = dukd_session_read_losses,
    .get_state = dukd_session_get_state,
    .set_state = dukd_session_set_state,
};

/* Another draft gets the same table, of which it may read the first two fields. */
const dukd_plugin *dukd_get_plugin_draft(uint32_t draft) {
    (void)draft;
    return &plugin;
}
