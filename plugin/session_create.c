/* Making and destroying a session. */
#include "report.h"
#include "session.h"
#include "session_memory.h"
#include "tensor_check.h"

#include <locale.h>
#include <string.h>
#include <unistd.h>

/* auto is what the session's device says; a backend that is asked for by name is never replaced by another. */
static int32_t open_backend(dukd_session *s, dukd_error *error) {
    const bool on_cuda = s->geometry.device.device_type == DUKD_DEVICE_CUDA;
    const uint32_t asked = s->config.backend;
    dukd_error why = {.struct_size = DUKD_ERROR_SIZE};
    if (!on_cuda && asked != DUKD_BACKEND_CUDA) {
        return dukd_backend_cpu_create(&s->backend, &s->host, NULL, dukd_report_to(error));
    }
    if (asked == DUKD_BACKEND_CPU) {
        return dukd_report(
            error, DUKD_E_UNSUPPORTED,
            "backend: cpu is asked for, and the tensors are on a CUDA device: set backend: auto or cuda");
    }
    if (!on_cuda) {
        dukd_backend_info info = {.struct_size = DUKD_BACKEND_INFO_SIZE};
        dukd_backend_cuda_describe(&info);
        if (info.usable == 0) {
            return dukd_report(error, DUKD_E_UNSUPPORTED,
                               "backend: cuda is asked for, and %s (or set backend: auto or cpu)",
                               info.detail);
        }
        return dukd_report(
            error, DUKD_E_UNSUPPORTED,
            "backend: cuda is asked for, but the session's tensors are in CPU memory: give tensors of a CUDA "
            "device, or set backend: auto or cpu");
    }
    const int32_t status =
        dukd_backend_cuda_create(&s->backend, &s->host, s->geometry.device.device_id, &why);
    if (status == DUKD_OK) return DUKD_OK;
    return dukd_report(error, status, "%s, and %s",
                       asked == DUKD_BACKEND_CUDA ? "backend: cuda is asked for"
                                                  : "the tensors are on a CUDA device",
                       why.message);
}

/* On a device: places for what is chosen, a block for each micro-batch, and for what is known of graphs. */
static int32_t alloc_placed(dukd_session *s, dukd_error *error) {
    const uint64_t count = s->micro_count, size = s->choices_size;
    if (count > INT64_MAX / (size + sizeof *s->captured)) {
        return dukd_report(error, DUKD_E_MEMORY, "no memory for %u micro-batches: use fewer", s->micro_count);
    }
    s->captured = dukd_memory_alloc(&s->host, count * sizeof *s->captured);
    if (s->captured == NULL) {
        return dukd_report(error, DUKD_E_MEMORY, "no memory for %u micro-batches (%llu bytes)",
                           s->micro_count, (unsigned long long)(count * sizeof *s->captured));
    }
    memset(s->captured, 0, (size_t)(count * sizeof *s->captured));
    s->placed_choices = s->backend->alloc(s->backend, count * size);
    if (s->placed_choices != NULL) return DUKD_OK;
    return dukd_report(error, DUKD_E_MEMORY,
                       "the device has no memory for the choices of a batch (%llu bytes)",
                       (unsigned long long)(count * size));
}

/* Memory for what is chosen: a block for all passes, and on a device its copies there. */
static int32_t alloc_choices(dukd_session *s, dukd_error *error) {
    uint64_t size = 0, taken = 0;
    for (uint32_t i = 0; i < s->recipe.n_passes; i++) {
        const uint32_t crops = s->recipe.pass[i].images == DUKD_IMAGES_ZOOM_IN ? s->config.crops : 1;
        size += dukd_samples_size((uint64_t)s->geometry.n * crops);
        taken += crops * sizeof(uint32_t);
    }
    s->choices_size = size;
    s->choices = dukd_memory_alloc(&s->host, size + taken);
    if (s->choices == NULL) {
        return dukd_report(error, DUKD_E_MEMORY, "no memory for the choices of a batch (%llu bytes)",
                           (unsigned long long)(size + taken));
    }
    memset(s->choices, 0, (size_t)(size + taken));
    char *here = s->choices, *tiles = here + size;
    for (uint32_t i = 0; i < s->recipe.n_passes; i++) {
        const uint32_t crops = s->recipe.pass[i].images == DUKD_IMAGES_ZOOM_IN ? s->config.crops : 1;
        const uint32_t count = (uint32_t)s->geometry.n * crops;
        dukd_samples_lay(&s->samples[i], here, count);
        dukd_samples_lay(&s->placed[i], here, count);
        s->samples[i].taken = (uint32_t *)(void *)tiles;
        here += dukd_samples_size(count);
        tiles += crops * sizeof(uint32_t);
    }
    if (!dukd_session_on_device(s)) return DUKD_OK;
    const int32_t status = alloc_placed(s, error);
    if (status == DUKD_OK) dukd_session_aim(s);
    return status;
}

/* The shapes of FAKD's and CSD's maps. */
static void load_of_features(const dukd_session *s, dukd_backend_load *load,
                             dukd_feature_load affinity[DUKD_MAX_PASSES * DUKD_MAX_LAYERS],
                             dukd_feature_load contrast[DUKD_MAX_PASSES * DUKD_MAX_LAYERS]) {
    for (uint32_t i = 0; i < s->recipe.n_passes; i++) {
        const dukd_pass_recipe *pass = &s->recipe.pass[i];
        for (uint32_t k = 0; k < pass->n_affinities; k++) {
            dukd_feature_load *to = &affinity[load->n_affinities++];
            memcpy(to->student, s->tap_shape[i][pass->affinity[k].student], sizeof to->student);
            memcpy(to->other, s->tap_shape[i][pass->affinity[k].teacher], sizeof to->other);
        }
        for (uint32_t k = 0; k < pass->n_contrasts; k++) {
            dukd_feature_load *to = &contrast[load->n_contrasts++];
            memcpy(to->student, s->tap_shape[i][pass->contrast[k].student], sizeof to->student);
            memcpy(to->other, s->tap_shape[i][pass->contrast[k].negatives], sizeof to->other);
        }
    }
    load->affinity = affinity;
    load->contrast = contrast;
}

/* What a device needs beside: workspaces, and places for the means. */
static int32_t prepare_device(dukd_session *s, dukd_error *error) {
    dukd_backend_load load = {.window_h = (int32_t)s->geometry.h, .window_w = (int32_t)s->geometry.w};
    dukd_feature_load affinity[DUKD_MAX_PASSES * DUKD_MAX_LAYERS],
        contrast[DUKD_MAX_PASSES * DUKD_MAX_LAYERS];
    int64_t most = 0;
    if (!dukd_session_on_device(s)) return DUKD_OK;
    for (uint32_t i = 0; i < s->recipe.n_passes; i++) {
        const dukd_pass_view *view = &s->planned[i];
        for (uint32_t t = 0; t < view->pass.n_taps; t++) {
            const int64_t *shape = s->tap_shape[i][t];
            const int64_t tiles = shape[0] * shape[1] * ((shape[2] + 31) / 32) * ((shape[3] + 31) / 32);
            if (tiles <= most) continue;
            most = tiles;
            memcpy(load.l1_shape, shape, sizeof load.l1_shape);
        }
        if (s->recipe.pass[i].hardest != DUKD_NO_TAP) dukd_geometry_hr(&s->geometry, load.hardest_shape);
    }
    load_of_features(s, &load, affinity, contrast);
    const int32_t status = s->backend->reserve(s->backend, &load, dukd_report_to(error));
    if (status != DUKD_OK) return status;
    const uint64_t means = (uint64_t)DUKD_MEANS * s->micro_count * DUKD_MAX_LOSSES;
    s->means = s->backend->alloc(s->backend, means * sizeof *s->means);
    if (s->means != NULL) return DUKD_OK;
    return dukd_report(error, DUKD_E_MEMORY, "the device has no memory for the losses of %u micro-batches",
                       s->micro_count);
}

static void *alloc_image(const dukd_session *s, uint64_t size) {
    return dukd_session_on_device(s) ? s->backend->alloc(s->backend, size)
                                     : dukd_memory_alloc(&s->host, size);
}

static void free_image(const dukd_session *s, void *p) {
    if (p == NULL) return;
    if (dukd_session_on_device(s)) {
        s->backend->free(s->backend, p);
    } else {
        dukd_memory_free(&s->host, p);
    }
}

/* Memory of what the session makes itself; LR passes make nothing. */
static int32_t alloc_images(dukd_session *s, dukd_error *error) {
    for (uint32_t i = 0; i < s->recipe.n_passes; i++) {
        const dukd_pass_recipe *pass = &s->recipe.pass[i];
        for (uint32_t k = 0; k < pass->n_inputs; k++) {
            if (pass->images == DUKD_IMAGES_LR && k != pass->negatives) continue;
            int64_t shape[4];
            dukd_geometry_input(&s->geometry, &s->config, pass, k, shape);
            const uint64_t size =
                (uint64_t)(shape[0] * shape[1] * shape[2] * shape[3]) * dukd_dtype_size(s->geometry.dtype);
            s->images[i][k] = alloc_image(s, size);
            if (s->images[i][k] != NULL) continue;
            return dukd_report(
                error, DUKD_E_MEMORY, "%s memory for %s, %lld x %lld x %lld x %lld (%llu bytes)",
                dukd_session_on_device(s) ? "the device has no" : "no",
                k == pass->negatives ? "the negatives" : dukd_images_name(pass->images), (long long)shape[0],
                (long long)shape[1], (long long)shape[2], (long long)shape[3], (unsigned long long)size);
        }
    }
    return DUKD_OK;
}

static void name_losses(dukd_session *s) {
    for (uint32_t i = 0; i < s->recipe.n_losses; i++) s->loss_names[i] = s->recipe.loss[i].name;
    s->loss_names[s->recipe.n_losses] = "l_total";
}

/* What `auto` went by, said once. */
static const char *chosen_by(const dukd_session *s) {
    if (s->config.backend != DUKD_BACKEND_AUTO) return "";
    return dukd_session_on_device(s) ? " (auto: the tensors are on a CUDA device)"
                                     : " (auto: the tensors are in CPU memory)";
}

static void announce(const dukd_session *s) {
    const dukd_config *c = &s->config;
    char text[4096], products[256];
    dukd_config_text(c, "; ", text, sizeof text);
    dukd_session_log(&s->host, DUKD_LOG_INFO, "dukd " DUKD_VERSION ": %sbackend = %s%s", text,
                     s->backend->name, chosen_by(s));
    if (c->w_fakd > 0) {
        s->backend->prepare_products(s->backend, products);
        dukd_session_log(&s->host, DUKD_LOG_INFO, "dukd: matrix products of fakd by %s", products);
    }
    if (c->mode == DUKD_MODE_OFFICIAL && c->p_turn > 0) {
        dukd_session_log(&s->host, DUKD_LOG_INFO,
                         "dukd: official mode maps outputs back as the released code does: by the same "
                         "operations in the same "
                         "order, which does not undo a transpose with exactly one flip (paper mode does)");
    }
    if (c->ignored_tiles) {
        dukd_session_log(
            &s->host, DUKD_LOG_WARNING,
            "dukd: only the first number of train.dukd_opt.n_gt_sub (%u) is read, as in the released code",
            c->crops);
    }
}

/* All that is known before memory is asked for. */
static int32_t resolve(dukd_session *s, const dukd_session_params *params, dukd_error *error) {
    dukd_options options;
    int32_t status = dukd_session_check_params(params, &s->host, error);
    if (status == DUKD_OK) status = dukd_session_ask_cancel(&s->host, error);
    if (status == DUKD_OK) status = dukd_options_read(&options, params->options, params->n_options, error);
    if (status == DUKD_OK)
        status = dukd_geometry_check(&s->geometry, params, 1, error); /* the scale, for the next line */
    if (status == DUKD_OK) status = dukd_config_resolve(&s->config, &options, params->scale, error);
    if (status == DUKD_OK) status = dukd_geometry_check(&s->geometry, params, s->config.crops, error);
    if (status == DUKD_OK) status = dukd_geometry_suits(&s->geometry, &s->config, &options, error);
    if (status != DUKD_OK) return status;
    s->owner = getpid();
    s->flags = params->flags;
    s->micro_count = params->micro_count;
    s->draws.seed = params->seed;
    dukd_recipe_build(&s->recipe, &s->config);
    return dukd_session_find_networks(s, error);
}

static int32_t create(const dukd_session_params *params, dukd_session **out, dukd_error *error) {
    dukd_session draft = {0};
    int32_t status = resolve(&draft, params, error);
    if (status != DUKD_OK) return status;
    dukd_session *s = dukd_memory_alloc(&draft.host, sizeof *s);
    if (s == NULL) {
        return dukd_report(error, DUKD_E_MEMORY, "no memory for a session (%llu bytes)",
                           (unsigned long long)sizeof *s);
    }
    memcpy(s, &draft, sizeof *s);
    dukd_recipe_build(&s->recipe, &s->config); /* again: names of layers point into the configuration */
    dukd_session_build_views(s); /* the plan, for the checks; the live passes have no memory yet */
    status = dukd_session_check_taps(s, error);
    if (status == DUKD_OK) status = open_backend(s, error);
    if (status == DUKD_OK) status = alloc_choices(s, error);
    if (status == DUKD_OK) status = prepare_device(s, error);
    if (status == DUKD_OK) status = alloc_images(s, error);
    if (status == DUKD_OK) status = dukd_session_ask_cancel(&s->host, error);
    if (status != DUKD_OK) {
        dukd_session_destroy(s);
        return status;
    }
    dukd_session_build_views(s);
    name_losses(s);
    announce(s);
    *out = s;
    return DUKD_OK;
}

int32_t dukd_session_create(const dukd_session_params *params, dukd_session **out, dukd_error *error) {
    if (out == NULL) return dukd_report(error, DUKD_E_ARGUMENT, "create_session: out is NULL");
    *out = NULL;
    /* option files and messages write numbers with a point, whatever the host's locale does */
    const locale_t c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (c_locale == (locale_t)0) return dukd_report(error, DUKD_E_MEMORY, "no memory for the C locale");
    const locale_t host_locale = uselocale(c_locale);
    const int32_t status = create(params, out, error);
    uselocale(host_locale);
    freelocale(c_locale);
    return status;
}

void dukd_session_destroy(dukd_session *s) {
    if (s == NULL) return;
    const dukd_host host = s->host; /* outlives the memory that it is freed with */
    for (uint32_t i = 0; i < DUKD_MAX_PASSES; i++) {
        for (uint32_t k = 0; k < DUKD_MAX_INPUTS; k++) free_image(s, s->images[i][k]);
    }
    free_image(s, s->placed_choices);
    free_image(s, s->means);
    dukd_memory_free(&host, s->choices);
    dukd_memory_free(&host, s->captured);
    if (s->backend != NULL) s->backend->destroy(s->backend);
    dukd_memory_free(&host, s);
}

int32_t dukd_session_get_plan(dukd_session *s, const dukd_plan **out, dukd_error *error) {
    const int32_t status = dukd_session_enter(s, error);
    if (status != DUKD_OK) return status;
    if (out == NULL) return dukd_report(error, DUKD_E_ARGUMENT, "get_plan: out is NULL");
    *out = &s->plan;
    return DUKD_OK;
}
