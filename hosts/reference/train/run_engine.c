/* The engine that an option file asks for, and whether the plugin is where it is. */
#include <stdio.h>
#include <string.h>

#include "common/plugin_load.h"
#include "engine/arrays.h"
#include "train/run_read.h"

#define NO_CUDA_BACKEND "the plugin cannot be on CUDA here: "

/* `why` at the place of what asked for the engine; with the status that it has. */
static int refuse(const dukd_run_options *o, const char *key, const dukd_failure *why, dukd_failure *f) {
    dukd_failure placed = {0};
    if (o->engine_flag && strcmp(key, "engine") == 0)
        return dukd_fail(f, why->status, "--engine: %s", why->message);
    dukd_run_wrong_key(o, key, why, &placed);
    return dukd_fail(f, why->status, "%s", placed.message);
}

/* Can a session of the plugin be on CUDA? Else the reason. */
static int plugin_follows(const dukd_plugin *plugin, char *why, size_t size) {
    const dukd_plugin_info *info = plugin->get_info();
    snprintf(why, size, NO_CUDA_BACKEND "it has no backend for it");
    for (uint32_t i = 0; i < info->n_backends; i++) {
        dukd_backend_info b = {.struct_size = DUKD_BACKEND_INFO_SIZE};
        if (plugin->query_backend(i, &b, NULL) != DUKD_OK || b.device_type != DUKD_DEVICE_CUDA) continue;
        if (b.usable) return 1;
        snprintf(why, size, NO_CUDA_BACKEND "%.200s", b.detail);
    }
    return 0;
}

static int is(const char *text, const char *word) {
    return text && strcmp(text, word) == 0;
}

/* What is wrong with an engine that was opened; nothing: DUKD_DONE. */
static int check(const dukd_engine *e, const dukd_run_options *o, const dukd_plugin *plugin,
                 dukd_failure *f) {
    const int on_cuda = dukd_engine_get_place(e)->device_type == DUKD_DEVICE_CUDA;
    char words[320];
    dukd_failure why = {0};
    if (on_cuda && o->precision == DUKD_BF16 && !dukd_engine_get_info(e)->bf16) {
        dukd_fail(
            &why, DUKD_FAILED,
            "bf16: the GPU does not compute in it (%s; it needs sm_80 or later): set precision: f32, or "
            "engine: onednn",
            dukd_engine_get_info(e)->instruction_set);
        return refuse(o, "precision", &why, f);
    }
    if (!plugin) return DUKD_DONE;
    if (on_cuda && is(o->backend, "cpu")) {
        dukd_fail(&why, DUKD_MISUSED,
                  "cpu: but the engine is on CUDA, and both work on the same memory: take it out, or set "
                  "engine: onednn");
        return refuse(o, "backend", &why, f);
    }
    if (!on_cuda && is(o->backend, "cuda")) {
        dukd_fail(
            &why, DUKD_MISUSED,
            "cuda: but the engine is on the processor, and both work on the same memory: take it out, or "
            "set engine: cuda");
        return refuse(o, "backend", &why, f);
    }
    if (!on_cuda || plugin_follows(plugin, words, sizeof words)) return DUKD_DONE;
    dukd_fail(&why, DUKD_FAILED, "%s", words);
    return refuse(o, "engine", &why, f);
}

int dukd_run_engine_create(dukd_engine **out, const dukd_run_options *o, const dukd_plugin *plugin,
                           dukd_failure *f) {
    dukd_failure why = {0};
    dukd_engine_options options = {.name = o->engine_flag ? o->engine_flag : o->engine,
                                   .threads = o->threads,
                                   .device = o->device,
                                   .turn = o->rank_turn,
                                   .tf32 = o->tf32};
    const char *key = "engine";
    char words[320];
    *out = NULL;
    if (is(options.name, "auto") && plugin) { /* the plugin decides, where it is told or cannot */
        if (is(o->backend, "cuda")) {
            options.name = "cuda";
            key = "backend";
        } else if (is(o->backend, "cpu")) {
            options.without_cuda = "the plugin's backend is cpu";
        } else if (!plugin_follows(plugin, words, sizeof words)) {
            options.without_cuda = words;
        }
    }
    if (o->device >= 0 && is(options.name, "cuda")) key = "device";
    int status = dukd_engine_open(out, &options, &why);
    if (status) /* a number that there is not is misuse; what the machine lacks is not */
        return refuse(o, status == DUKD_MISUSED || strcmp(key, "device") != 0 ? key : "engine", &why, f);
    status = check(*out, o, plugin, f);
    if (status) {
        dukd_engine_destroy(*out);
        *out = NULL;
    }
    return status;
}
