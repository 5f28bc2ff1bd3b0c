/* dukd-bench-crossing: what crossing the ABI costs. A whole step a pass, begin_step to end_step and read_losses, on tensors so small
 * that next to nothing is computed: what is left is checks of arguments, book-keeping and calls.
 *
 * Only the header is used, so any plugin can be measured. The best of several rounds counts. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "dukd_ext_params.h"

enum {
    CH = 3,
    SIDE = 2,
    SCALE = 2,
    STEPS = 20000,
    MOST_OPTIONS = 16,
    MOST_TAPS = 8,
    MOST_PARAMS = 8,
    ROOM = 1024
};

static const char usage[] =
    "usage: dukd-bench-crossing PLUGIN.so [--rounds N] [KEY=VALUE...]\n"
    "Microseconds that a pass costs when there is nothing to compute (1 x 3 x 2 x 2 pixels, scale 2).\n"
    "  --rounds N   of 20000 steps each, of which the best counts (default 20)\n"
    "example: dukd-bench-crossing lib/libdukd.so train.terms=rec --rounds 50\n";

static double now(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static dukd_error error = {.struct_size = DUKD_ERROR_SIZE};

static void must(const char *call, int32_t code) {
    if (code >= 0) return;
    fprintf(stderr, "dukd-bench-crossing: %s: %s\n", call, error.message);
    exit(1);
}

/* ---- the host: outputs are fixed, all tasks run here ---- */

static int32_t tap_shape(void *ctx, const dukd_tap *tap, const int64_t in[4], int64_t out[4],
                         dukd_error *why) {
    (void)ctx, (void)why;
    if (tap->layer || tap->from_layer) return 1;
    memcpy(out, (int64_t[4]){in[0], in[1], in[2] * SCALE, in[3] * SCALE}, 4 * sizeof *out);
    return 0;
}

static void parallel_for(void *ctx, uint32_t n, void (*task)(void *, uint32_t, uint32_t), void *arg) {
    (void)ctx;
    for (uint32_t i = 0; i < n; i++) task(arg, i, 0);
}

static uint32_t max_threads(void *ctx) {
    (void)ctx;
    return 1;
}

typedef struct {
    const dukd_plugin *plugin;
    dukd_session *session;
    float lr[CH * SIDE * SIDE], hr[CH * SIDE * SIDE * SCALE * SCALE];
    float values[MOST_TAPS][ROOM], grads[MOST_TAPS][ROOM];
    dukd_tensor value[MOST_TAPS], grad[MOST_TAPS];
    int64_t shape[MOST_TAPS][4];
    int64_t passes;
} bench;

static dukd_tensor dense(float *data, int64_t *shape) {
    return (dukd_tensor){.data = data,
                         .device = {DUKD_DEVICE_CPU, 0},
                         .ndim = 4,
                         .dtype = {DUKD_TYPE_FLOAT, 32, 1},
                         .shape = shape};
}

/* What a host does for a pass, but for its networks. */
static void submit(bench *b, const dukd_pass *pass) {
    const dukd_tensor *values[MOST_TAPS], *grads[MOST_TAPS];
    for (uint32_t i = 0; i < pass->n_taps; i++) {
        tap_shape(NULL, pass->taps[i], pass->inputs[pass->taps[i]->source_id]->tensor->shape, b->shape[i],
                  NULL);
        b->value[i] = dense(b->values[i], b->shape[i]);
        b->grad[i] = dense(b->grads[i], b->shape[i]);
        values[i] = &b->value[i];
        grads[i] = pass->taps[i]->flags & DUKD_TAP_WANT_GRAD ? &b->grad[i] : NULL;
    }
    const dukd_submit message = {.struct_size = DUKD_SUBMIT_SIZE,
                                 .pass_id = pass->id,
                                 .n_taps = pass->n_taps,
                                 .values = values,
                                 .grads = grads,
                                 .grad_scale = 1};
    must("submit_pass", b->plugin->submit_pass(b->session, &message, &error));
    b->passes++;
}

static void step(bench *b, int64_t iteration) {
    int64_t lr_shape[4] = {1, CH, SIDE, SIDE}, hr_shape[4] = {1, CH, SIDE * SCALE, SIDE * SCALE};
    const dukd_tensor lr = dense(b->lr, lr_shape), hr = dense(b->hr, hr_shape);
    const dukd_step message = {.struct_size = DUKD_STEP_SIZE,
                               .iteration = iteration,
                               .first_sample = iteration - 1,
                               .micro_count = 1,
                               .lr = &lr,
                               .hr = &hr};
    dukd_losses losses = {.struct_size = DUKD_LOSSES_SIZE};
    const dukd_pass *pass;
    int32_t code;
    must("begin_step", b->plugin->begin_step(b->session, &message, &error));
    while ((code = b->plugin->next_pass(b->session, &pass, &error)) == DUKD_OK) submit(b, pass);
    must("next_pass", code);
    must("end_step", b->plugin->end_step(b->session, &error));
    must("read_losses", b->plugin->read_losses(b->session, &losses, &error));
}

/* ---- opening it ---- */

static void open_plugin(bench *b, const char *path) {
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL),
         *symbol = library ? dlsym(library, DUKD_ENTRY_NAME) : NULL;
    dukd_get_plugin_draft_fn entry;
    if (!symbol) {
        fprintf(stderr, "dukd-bench-crossing: %s\n", dlerror());
        exit(1);
    }
    memcpy(&entry, &symbol, sizeof symbol);
    b->plugin = entry(DUKD_ABI_DRAFT);
    if (b->plugin->abi_draft == DUKD_ABI_DRAFT) return;
    fprintf(stderr, "dukd-bench-crossing: %s is of draft %u, not %u\n", path, b->plugin->abi_draft,
            DUKD_ABI_DRAFT);
    exit(1);
}

/* Parameters of the plugin's own, where it has some. */
static void bind_params(bench *b) {
    static float data[2][ROOM];
    static dukd_tensor tensor[2][MOST_PARAMS];
    static const dukd_tensor *lists[2][MOST_PARAMS];
    const dukd_ext_params *ext = b->plugin->get_extension(DUKD_EXT_PARAMS);
    const dukd_param_list *list;
    int64_t used = 0;
    if (!ext) return;
    must("list", ext->list(b->session, &list, &error));
    for (uint32_t i = 0; i < list->n_params; i++) {
        int64_t count = 1;
        for (uint32_t d = 0; d < list->params[i]->ndim; d++) count *= list->params[i]->shape[d];
        if (i == MOST_PARAMS || used + count > ROOM) exit(1);
        for (int k = 0; k < 2; k++) {
            tensor[k][i] = dense(data[k] + used, (int64_t *)(uintptr_t)list->params[i]->shape);
            tensor[k][i].ndim = (int32_t)list->params[i]->ndim;
            lists[k][i] = &tensor[k][i];
        }
        used += count;
    }
    const dukd_param_bind bind = {.struct_size = DUKD_PARAM_BIND_SIZE,
                                  .flags = DUKD_BIND_INIT,
                                  .n_params = list->n_params,
                                  .values = lists[0],
                                  .grads = lists[1]};
    must("bind", ext->bind(b->session, &bind, &error));
}

static void open_session(bench *b, const dukd_option *const *options, uint32_t n_options) {
    static const char *const networks[] = {"student", "teacher"};
    static const dukd_host host = {.struct_size = DUKD_HOST_SIZE,
                                   .n_networks = 2,
                                   .caps = DUKD_CAP_MODE_TRAIN | DUKD_CAP_PARAMS | DUKD_CAP_TWO_STEPS,
                                   .networks = networks,
                                   .tap_shape = tap_shape,
                                   .parallel_for = parallel_for,
                                   .max_threads = max_threads};
    const dukd_session_params params = {.struct_size = DUKD_SESSION_PARAMS_SIZE,
                                        .host = &host,
                                        .options = options,
                                        .n_options = n_options,
                                        .micro_count = 1,
                                        .seed = 1,
                                        .lr_shape = {1, CH, SIDE, SIDE},
                                        .scale = SCALE,
                                        .dtype = {DUKD_TYPE_FLOAT, 32, 1},
                                        .device = {DUKD_DEVICE_CPU, 0}};
    must("create_session", b->plugin->create_session(&params, &b->session, &error));
    const dukd_plan *plan;
    must("get_plan", b->plugin->get_plan(b->session, &plan, &error));
    for (uint32_t p = 0; p < plan->n_passes; p++)
        if (plan->passes[p]->n_taps > MOST_TAPS) exit(1);
    bind_params(b);
}

/* ---- the command line ---- */

typedef struct {
    const char *path; /* NULL: misused */
    long rounds;
    dukd_option options[MOST_OPTIONS];
    const dukd_option *list[MOST_OPTIONS];
    const char *texts[MOST_OPTIONS];
    uint32_t n;
} arguments;

static void take_option(arguments *a, char *key, char *equals) {
    *equals = 0;
    a->texts[a->n] = equals + 1;
    a->options[a->n] = (dukd_option){.struct_size = DUKD_OPTION_SIZE,
                                     .kind = DUKD_VALUE_SCALAR,
                                     .key = key,
                                     .place = "command line",
                                     .values = &a->texts[a->n],
                                     .n_values = 1};
    a->list[a->n] = &a->options[a->n];
    a->n++;
}

static void read_arguments(arguments *a, int argc, char **argv) {
    a->rounds = 20;
    for (int i = 1; i < argc; i++) {
        char *equals = strchr(argv[i], '=');
        if (strcmp(argv[i], "--rounds") == 0 && i + 1 < argc) {
            a->rounds = strtol(argv[++i], NULL, 10);
        } else if (equals && a->n < MOST_OPTIONS) {
            take_option(a, argv[i], equals);
        } else if (!a->path && argv[i][0] != '-') {
            a->path = argv[i];
        } else {
            a->path = NULL;
            return;
        }
    }
}

int main(int argc, char **argv) {
    static bench b;
    static arguments a;
    if (argc == 2 && strcmp(argv[1], "--help") == 0) {
        fputs(usage, stdout);
        return 0;
    }
    read_arguments(&a, argc, argv);
    if (!a.path || a.rounds < 1) {
        fputs(usage, stderr);
        return 2;
    }
    open_plugin(&b, a.path);
    open_session(&b, a.list, a.n);
    double best = 1e9;
    int64_t iteration = 1;
    for (long r = 0; r < a.rounds; r++) {
        const int64_t before = b.passes;
        const double start = now();
        for (int i = 0; i < STEPS; i++) step(&b, iteration++);
        const double each = (now() - start) / (double)(b.passes - before);
        if (each < best) best = each;
    }
    const dukd_plugin_info *info = b.plugin->get_info();
    printf("%s %s: %.3f us a pass, begin_step to read_losses, %lld passes a step (limit 2 us)\n", info->name,
           info->version, 1e6 * best, (long long)(b.passes / (iteration - 1)));
    b.plugin->destroy_session(b.session);
    return 0;
}
