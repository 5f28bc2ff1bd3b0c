/* A host in one file, to be broken: a linear upscaler as student and another as teacher, plain gradient descent, an average,
 * checkpoints; and --break NAME (breaks_host.def), for what dukd-conform --host must see.
 *
 *     broken_host --plugin LIB.so --steps N --out FOLDER [--micro M] [--resume] [--start FILE] [--break NAME] */
#include <dlfcn.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dukd_ext_params.h"
#include "dukd_plugin.h"
#include "toy_tensor.h"

enum {
    CH = 3,
    SIDE = 8,
    SCALE = 2,
    BATCH = 4,
    OUT = CH * SCALE * SCALE,
    WEIGHTS = OUT * CH + OUT,
    HELD = 16,
    TAPS = 6,
    OWN = 64 /* numbers that a plugin may bring, of at most 4 parameters */
};
enum { IMAGE = CH * SIDE * SIDE, IMAGE_OUT = IMAGE * SCALE * SCALE };
static const double RATE = 0.05, DECAY = 0.5, DROP = 0.3;

static const char *breaks = "";
static int broken(const char *name) {
    return strcmp(breaks, name) == 0;
}

typedef struct {
    const dukd_plugin *plugin;
    dukd_session *session;
    dukd_host host;
    const dukd_plan *plan;
    float w[WEIGHTS], teacher[WEIGHTS], average[WEIGHTS], gradient[WEIGHTS], momentum[WEIGHTS];
    float own[OWN], own_gradient[OWN];
    int n_own;
    double rate;
    int steps, first, micro, batch, noise, optimized;
    const char *out;
    float lr[BATCH * IMAGE], hr[BATCH * IMAGE_OUT];
    const dukd_pass *last;
    dukd_error error;
} trainer;

/* What one tap has: value, gradient, and the dense input it came from. */
typedef struct {
    dukd_tensor value, grad;
    int64_t shape[4], strange_shape[4];
    float v[BATCH * IMAGE_OUT], g[BATCH * IMAGE_OUT], x[BATCH * IMAGE];
} slot;
static slot slots[HELD][TAPS];

/* ---- the network: a 1x1 convolution to SCALE x SCALE times the channels, shuffled into place ---- */

static void forward(const trainer *t, const float *w, int n, const float *x, float *y) {
    (void)t;
    for (int i = 0; i < n; i++)
        for (int o = 0; o < OUT; o++)
            for (int p = 0; p < SIDE * SIDE; p++) {
                double sum = (double)w[OUT * CH + o];
                for (int c = 0; c < CH; c++)
                    sum += (double)w[o * CH + c] * (double)x[i * IMAGE + c * SIDE * SIDE + p];
                const int row = p / SIDE * SCALE + o / SCALE % SCALE, col = p % SIDE * SCALE + o % SCALE;
                y[i * IMAGE_OUT + (o / (SCALE * SCALE) * SIDE * SCALE + row) * SIDE * SCALE + col] =
                    (float)sum;
            }
}

static void backward(trainer *t, int n, const float *x, const float *g) {
    for (int i = 0; i < n; i++)
        for (int o = 0; o < OUT; o++)
            for (int p = 0; p < SIDE * SIDE; p++) {
                const int row = p / SIDE * SCALE + o / SCALE % SCALE, col = p % SIDE * SCALE + o % SCALE;
                const float d =
                    g[i * IMAGE_OUT + (o / (SCALE * SCALE) * SIDE * SCALE + row) * SIDE * SCALE + col];
                for (int c = 0; c < CH; c++)
                    t->gradient[o * CH + c] += d * x[i * IMAGE + c * SIDE * SIDE + p];
                if (!broken("bias_stays")) t->gradient[OUT * CH + o] += d;
            }
}

static void optimize(trainer *t) {
    double rate = t->rate;
    if (broken("never_optimizes")) return;
    if (broken("uphill")) rate = -rate;
    if (broken("rate_falls_by_optimizer_steps") && t->optimized > 0) rate *= 0.9;
    if (broken("half_rate")) rate /= 2;
    double norm = 0;
    for (int i = 0; i < WEIGHTS; i++) norm += (double)t->gradient[i] * (double)t->gradient[i];
    if (broken("clips_gradients") && sqrt(norm) > 0.3) rate *= 0.3 / sqrt(norm);
    for (int i = 0; i < WEIGHTS; i++) {
        t->momentum[i] = (broken("momentum") ? 0.2f * t->momentum[i] : 0) + t->gradient[i];
        t->w[i] -= (float)(rate * (double)t->momentum[i]);
    }
    for (int i = 0; i < t->n_own && !broken("own_stays"); i++)
        t->own[i] -= (float)((broken("own_rate") ? 0.5 : 1) * rate * (double)t->own_gradient[i]);
    if (broken("teacher_learns")) memcpy(t->teacher, t->w, sizeof t->w);
    if (broken("optimizer_clears")) memset(t->gradient, 0, sizeof t->gradient);
    t->optimized++;
}

static void update_average(trainer *t) {
    for (int i = 0; i < WEIGHTS; i++)
        t->average[i] = (float)(DECAY * (double)t->average[i] + (1 - DECAY) * (double)t->w[i]);
}

/* ---- what the plugin is offered ---- */

static int32_t tap_shape(void *ctx, const dukd_tap *tap, const int64_t in[4], int64_t out[4],
                         dukd_error *why) {
    (void)ctx, (void)why;
    if ((tap->layer || tap->from_layer) && !broken("any_layer")) return 1;
    if (in[1] != CH || in[2] != SIDE || in[3] != SIDE) return 1;
    out[0] = in[0];
    out[1] = CH;
    out[2] = out[3] = SIDE * SCALE;
    return 0;
}

static void *take(void *ctx, int32_t type, int32_t id, uint64_t size, uint64_t align, void *stream) {
    (void)ctx, (void)type, (void)id, (void)stream;
    if (broken("not_aligned")) return malloc(size);
    return aligned_alloc(align < 16 ? 16 : align, (size + (align < 16 ? 16 : align) - 1) /
                                                      (align < 16 ? 16 : align) * (align < 16 ? 16 : align));
}
static void give(void *ctx, void *p, int32_t type, int32_t id, void *stream) {
    (void)ctx, (void)type, (void)id, (void)stream;
    free(p);
}
static void parallel_for(void *ctx, uint32_t n, void (*task)(void *, uint32_t, uint32_t), void *arg) {
    (void)ctx;
    for (uint32_t i = broken("leaves_first_task"); i < n; i++) task(arg, i, i % 2);
}
static uint32_t max_threads(void *ctx) {
    (void)ctx;
    return 2;
}
static void say(void *ctx, int32_t level, const char *message) {
    (void)ctx;
    if (level >= DUKD_LOG_WARNING && !broken("silent_log")) printf("plugin: %s\n", message);
}
static int32_t should_cancel(void *ctx) {
    (void)ctx;
    return broken("always_cancels");
}

/* ---- failures ---- */

/* 0, or 1 after telling the user; `call` names the break that says nothing. */
static int failed(trainer *t, const char *call, int32_t code) {
    char silent[64], ignored[64];
    snprintf(silent, sizeof silent, "silent_%s", call);
    snprintf(ignored, sizeof ignored, "ignores_%s", call);
    if (code >= 0 || broken(ignored)) return 0;
    fprintf(stderr, "%s failed: %s\n", call, broken(silent) ? "something went wrong" : t->error.message);
    return 1;
}

/* ---- a step ---- */

static double unit(uint64_t key) {
    return toy_unit(key * 0x9e3779b97f4a7c15u + 1);
}

static int compute(trainer *t, const dukd_pass *pass, slot *s, uint32_t i) {
    const dukd_tap *tap = pass->taps[i];
    const dukd_input *input = pass->inputs[broken("first_input") ? 0 : tap->source_id];
    dukd_tensor in = *input->tensor;
    const int n = (int)in.shape[0], is_student = tap->network == 0;
    if (broken("ignores_strides")) in.strides = NULL;
    toy_read(&in, s->x);
    static float cached[BATCH * IMAGE_OUT];
    forward(t, is_student ? t->w : t->teacher, n, s->x, s->v);
    if (broken("caches_output") && is_student) { /* from the first pass of a step */
        if (pass->id == 0 && i == 0)
            memcpy(cached, s->v, sizeof cached);
        else if (t->optimized)
            memcpy(s->v, cached, sizeof cached);
    }
    if (broken("swaps_images"))
        for (int a = 0, b = n - 1; a < b; a++, b--)
            for (int e = 0; e < IMAGE_OUT; e++) {
                const float x = s->v[a * IMAGE_OUT + e];
                s->v[a * IMAGE_OUT + e] = s->v[b * IMAGE_OUT + e];
                s->v[b * IMAGE_OUT + e] = x;
            }
    const int training = broken("always_evaluates")                ? 0
                         : broken("teacher_trains") && !is_student ? 1
                                                                   : (tap->flags & DUKD_TAP_MODE_TRAIN) != 0;
    for (int e = 0; training && e < n * IMAGE_OUT; e++)
        if (unit((uint64_t)++t->noise) < DROP) s->v[e] = 0;
    tap_shape(t, tap, in.shape, s->shape, NULL);
    s->value = (dukd_tensor){.data = s->v,
                             .device = {DUKD_DEVICE_CPU, 0},
                             .ndim = 4,
                             .dtype = {DUKD_TYPE_FLOAT, 32, 1},
                             .shape = s->shape};
    s->grad = s->value;
    s->grad.data = broken("gradient_over_value") ? s->v : s->g;
    return 0;
}

static int run_pass(trainer *t, const dukd_pass *pass, slot *s) {
    const dukd_tensor *values[TAPS], *grads[TAPS];
    t->last = pass;
    if (pass->flags & DUKD_PASS_ZERO_GRAD_BEFORE && !(broken("clears_once") && t->noise++))
        memset(t->gradient, 0, sizeof t->gradient);
    if ((pass->flags & DUKD_PASS_ZERO_GRAD_BEFORE && !broken("own_not_cleared")) ||
        broken("own_cleared_always"))
        memset(t->own_gradient, 0, sizeof t->own_gradient);
    if (broken("clears_always") || (broken("micro_clears") && t->micro > 1))
        memset(t->gradient, 0, sizeof t->gradient);
    for (uint32_t i = 0; i < pass->n_taps; i++) {
        compute(t, pass, &s[i], i);
        values[i] = &s[i].value;
        grads[i] =
            pass->taps[i]->flags & DUKD_TAP_WANT_GRAD || broken("gradient_for_all") ? &s[i].grad : NULL;
    }
    const dukd_submit m = {.struct_size = DUKD_SUBMIT_SIZE,
                           .pass_id =
                               broken("by_plan") && t->plan->n_passes > 2 ? pass->plan_index : pass->id,
                           .n_taps = pass->n_taps,
                           .values = values,
                           .grads = grads,
                           .grad_scale = 1};
    if (failed(t, "submit_pass", t->plugin->submit_pass(t->session, &m, &t->error))) return 1;
    const int64_t n = pass->n_inputs ? pass->inputs[0]->tensor->shape[0] : 0;
    static const slot *stale;
    for (uint32_t i = broken("last_tap_only") ? pass->n_taps - 1 : 0; i < pass->n_taps; i++)
        if (pass->flags & DUKD_PASS_BACKWARD && pass->taps[i]->flags & DUKD_TAP_WANT_GRAD) {
            backward(t, (int)n, s[i].x, s[i].g);
            stale = &s[i];
        }
    if (!(pass->flags & DUKD_PASS_BACKWARD) && broken("backward_always") && stale)
        backward(t, (int)n, stale->x, stale->g);
    const int each = (broken("optimizes_each_pass") && pass->flags & DUKD_PASS_BACKWARD) ||
                     (broken("micro_optimizes_each") && t->micro > 1);
    if (pass->flags & DUKD_PASS_OPTIMIZE_AFTER || each) optimize(t);
    if (pass->flags & DUKD_PASS_EMA_AFTER ||
        (broken("average_each_optimizer_step") && pass->flags & DUKD_PASS_OPTIMIZE_AFTER))
        update_average(t);
    return 0;
}

static int passes(trainer *t) {
    const dukd_pass *held[HELD];
    for (;;) {
        uint32_t n = 0;
        int32_t code = DUKD_OK;
        while (n < HELD) {
            code = t->plugin->next_pass(t->session, &held[n], &t->error);
            if (code != DUKD_OK) break;
            n++;
        }
        if (failed(t, "next_pass", code)) return 1;
        for (uint32_t i = 0; i < n; i++)
            if (run_pass(t, held[i], slots[broken("reuses_values") ? 0 : held[i]->id])) return 1;
        if (code == DUKD_STEP_DONE || (code == DUKD_WAIT && broken("wait_is_done")) || code < 0) return 0;
    }
}

static void make_batch(trainer *t, int64_t first) {
    for (int i = 0; i < t->batch * IMAGE; i++) t->lr[i] = (float)unit((uint64_t)(first * IMAGE + i));
    for (int i = 0; i < t->batch * IMAGE_OUT; i++) t->hr[i] = t->lr[i / 4];
    if (broken("bytes")) t->lr[0] = 255;
}

static void *late_call(void *arg) {
    trainer *t = arg;
    uint64_t size = 0;
    t->plugin->get_state(t->session, NULL, &size, NULL);
    return NULL;
}

static int part(trainer *t, int iteration, int micro) {
    int64_t shape[2][4] = {{t->batch, CH, SIDE, SIDE}, {t->batch, CH, SIDE * SCALE, SIDE * SCALE}};
    const int64_t first =
        ((int64_t)(iteration - 1) * t->micro + (broken("micro_index_stays") ? 0 : micro)) * t->batch;
    make_batch(t, first);
    dukd_tensor lr = {.data = t->lr,
                      .device = {DUKD_DEVICE_CPU, 0},
                      .ndim = 4,
                      .dtype = {DUKD_TYPE_FLOAT, 32, 1},
                      .shape = shape[0]};
    dukd_tensor hr = lr;
    hr.data = t->hr;
    hr.shape = shape[1];
    const dukd_step step = {.struct_size = DUKD_STEP_SIZE,
                            .iteration = iteration + (broken("skips_iteration") && iteration > 2),
                            .first_sample = broken("sample_stays") ? 0 : first,
                            .micro_index = (uint32_t)micro,
                            .micro_count = (uint32_t)t->micro,
                            .lr = &lr,
                            .hr = &hr};
    t->optimized = 0;
    /* a pass of the step before, which is the plugin's again */
    if (broken("reads_pass_late") && t->last && t->last->n_taps > TAPS) t->w[0] += 1;
    if (failed(t, "begin_step", t->plugin->begin_step(t->session, &step, &t->error))) return 1;
    if (passes(t)) {
        if (broken("goes_on")) t->plugin->end_step(t->session, NULL);
        t->plugin->cancel_step(t->session, NULL);
        return 1;
    }
    pthread_t thread;
    const int other = broken("two_threads") && pthread_create(&thread, NULL, late_call, t) == 0;
    if (broken("batch_changes")) t->lr[0] = 0.5f * t->lr[0] + 0.1f;
    const int bad = failed(t, "end_step", t->plugin->end_step(t->session, &t->error));
    if (other) pthread_join(thread, NULL);
    return bad;
}

/* ---- files ---- */

static int file(const trainer *t, const char *name, const char *mode, void *data, size_t size) {
    char path[4200];
    snprintf(path, sizeof path, "%s/%s", t->out, name);
    FILE *f = fopen(path, mode);
    const size_t done = !f ? 0 : mode[0] == 'w' ? fwrite(data, 1, size, f) : fread(data, 1, size, f);
    if (f) fclose(f);
    return f && done > 0 ? 0 : -1;
}

static int save(trainer *t) {
    uint8_t blob[4096] = {0};
    uint64_t size = 0, room;
    file(t, "weights.f32", "w", t->w, sizeof t->w);
    file(t, "average.f32", "w", t->average, sizeof t->average);
    if (!broken("own_not_saved")) file(t, "own.f32", "w", t->own, sizeof t->own);
    if (failed(t, "get_state", t->plugin->get_state(t->session, NULL, &size, &t->error)) ||
        size > sizeof blob - 8)
        return 1;
    room = size;
    if (failed(t, "get_state", t->plugin->get_state(t->session, blob + 8, &room, &t->error))) return 1;
    memcpy(blob, &room, 8);
    file(t, "state", "w", blob, sizeof blob);
    return file(t, "iteration", "w", &t->steps, sizeof t->steps);
}

static int resume(trainer *t) {
    uint8_t blob[4096];
    uint64_t size;
    if (file(t, "weights.f32", "r", t->w, sizeof t->w) ||
        file(t, "average.f32", "r", t->average, sizeof t->average) ||
        file(t, "state", "r", blob, sizeof blob) || file(t, "iteration", "r", &t->first, sizeof t->first))
        return 1;
    file(t, "own.f32", "r", t->own, sizeof t->own);
    if (broken("weights_do_not_come_back")) t->w[0] += 0.5f;
    memcpy(&size, blob, 8);
    if (broken("forgets_state")) {
        file(t, "iteration", "r", &t->first, sizeof t->first);
        blob[60] ^= 1;
    }
    return failed(t, "set_state", t->plugin->set_state(t->session, blob + 8, size, &t->error));
}

/* ---- parameters that the plugin brings ---- */

static int bind_own(trainer *t) {
    const dukd_ext_params *ext = t->plugin->get_extension(DUKD_EXT_PARAMS);
    const dukd_param_list *list = NULL;
    dukd_tensor tensor[2][4];
    const dukd_tensor *lists[2][4];
    if (!ext || broken("own_not_bound")) return 0;
    if (failed(t, "list", ext->list(t->session, &list, &t->error)) || !list || list->n_params > 4) return 1;
    for (uint32_t i = 0; i < list->n_params; i++) {
        const dukd_param_info *info = list->params[i];
        int64_t count = 1;
        for (uint32_t d = 0; d < info->ndim; d++) count *= info->shape[d];
        if (t->n_own + count > OWN) return 1;
        for (int k = 0; k < 2; k++) {
            tensor[k][i] = (dukd_tensor){.data = (k ? t->own_gradient : t->own) + t->n_own,
                                         .device = {DUKD_DEVICE_CPU, 0},
                                         .ndim = (int32_t)info->ndim,
                                         .dtype = {DUKD_TYPE_FLOAT, 32, 1},
                                         .shape = (int64_t *)(uintptr_t)info->shape};
            lists[k][i] = &tensor[k][i];
        }
        t->n_own += (int)count;
    }
    const dukd_param_bind bind = {.struct_size = DUKD_PARAM_BIND_SIZE,
                                  .flags = DUKD_BIND_INIT,
                                  .n_params = list->n_params,
                                  .values = lists[0],
                                  .grads = lists[1]};
    return failed(t, "bind", ext->bind(t->session, &bind, &t->error));
}

/* ---- all of it ---- */

static int open_session(trainer *t) {
    static const char *const networks[] = {"student", "teacher"};
    static const char *const text[] = {"two words"}, *const list[] = {"1", "2.5", "x"},
                             *const flat[] = {"[1, 2.5, x]"};
    const dukd_option options[] = {{.struct_size = DUKD_OPTION_SIZE,
                                    .kind = DUKD_VALUE_SCALAR,
                                    .key = "spy.text",
                                    .values = text,
                                    .n_values = 1},
                                   {.struct_size = DUKD_OPTION_SIZE,
                                    .kind = broken("flat_list") ? DUKD_VALUE_SCALAR : DUKD_VALUE_LIST,
                                    .key = "spy.list",
                                    .values = broken("flat_list") ? flat : list,
                                    .n_values = broken("flat_list") ? 1 : 3}};
    const dukd_option *const all[] = {&options[0], &options[1]};
    t->host = (dukd_host){.struct_size = DUKD_HOST_SIZE,
                          .n_networks = 2,
                          .ctx = t,
                          .caps = DUKD_CAP_TWO_STEPS | DUKD_CAP_MODE_TRAIN | DUKD_CAP_PARAMS,
                          .networks = networks,
                          .tap_shape = tap_shape,
                          .alloc = take,
                          .free = broken("alloc_alone") ? NULL : give,
                          .log = say,
                          .parallel_for = parallel_for,
                          .max_threads = max_threads,
                          .should_cancel = should_cancel};
    const dukd_session_params params = {.struct_size = DUKD_SESSION_PARAMS_SIZE,
                                        .host = &t->host,
                                        .options = all,
                                        .n_options = 2,
                                        .micro_count = (uint32_t)t->micro,
                                        .seed = 1,
                                        .lr_shape = {t->batch, CH, SIDE, SIDE},
                                        .scale = SCALE,
                                        .dtype = {DUKD_TYPE_FLOAT, 32, 1},
                                        .device = {DUKD_DEVICE_CPU, 0}};
    if (failed(t, "create_session", t->plugin->create_session(&params, &t->session, &t->error)) ||
        !t->session)
        return 1;
    if (failed(t, "get_plan", t->plugin->get_plan(t->session, &t->plan, &t->error))) return 1;
    if (broken("ignores_get_plan")) return 0;
    for (uint32_t p = 0; p < t->plan->n_passes && !broken("any_flag"); p++) {
        uint32_t wrong = t->plan->passes[p]->flags & ~0xfu;
        for (uint32_t i = 0; i < t->plan->passes[p]->n_taps; i++)
            wrong |= t->plan->passes[p]->taps[i]->flags & ~7u;
        if (!wrong) continue;
        fprintf(stderr, "pass %u has a flag that this host does not know\n", p);
        return 1;
    }
    return 0;
}

static int train(trainer *t) {
    dukd_losses losses = {.struct_size = DUKD_LOSSES_SIZE};
    for (int i = t->first + 1; i <= t->steps; i++) {
        for (int m = 0; m < t->micro; m++)
            if (part(t, i, m)) return 1;
        if (broken("rate_falls")) t->rate *= 0.9;
        if (failed(t, "read_losses", t->plugin->read_losses(t->session, &losses, &t->error))) return 1;
        if (broken("reads_again_in_step") && i == 2) t->plugin->next_pass(t->session, NULL, NULL);
    }
    return save(t);
}

static int open_plugin(trainer *t, const char *path) {
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL),
         *symbol = library ? dlsym(library, DUKD_ENTRY_NAME) : NULL;
    dukd_get_plugin_draft_fn entry;
    if (!symbol) return 1;
    memcpy(&entry, &symbol, sizeof symbol);
    t->plugin = entry(DUKD_ABI_DRAFT);
    if (t->plugin->abi_draft == DUKD_ABI_DRAFT || broken("any_draft")) return 0;
    fprintf(stderr, "the plugin is of draft %u, this host of draft %u\n", t->plugin->abi_draft,
            DUKD_ABI_DRAFT);
    return 1;
}

int main(int argc, char **argv) {
    static trainer t = {.rate = RATE, .micro = 1, .batch = BATCH};
    const char *plugin = NULL, *start = NULL;
    int go_on = 0;
    t.error.struct_size = DUKD_ERROR_SIZE;
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(argv[i], "--resume") == 0) {
            go_on = 1;
            continue;
        }
        if (strcmp(argv[i], "--plugin") == 0) plugin = value;
        if (strcmp(argv[i], "--steps") == 0) t.steps = atoi(value);
        if (strcmp(argv[i], "--micro") == 0) t.micro = atoi(value);
        if (strcmp(argv[i], "--out") == 0) t.out = value;
        if (strcmp(argv[i], "--start") == 0) start = value;
        if (strcmp(argv[i], "--break") == 0) breaks = value;
        i++;
    }
    if (!plugin || !t.out || t.micro < 1 || BATCH % t.micro) return 2;
    t.batch = BATCH / t.micro;
    for (int i = 0; i < WEIGHTS; i++) {
        t.w[i] = (float)(0.2 + 0.4 * unit((uint64_t)i + 7000));
        t.teacher[i] = (float)(0.2 + 0.4 * unit((uint64_t)i + 9000));
    }
    FILE *f = start ? fopen(start, "r") : NULL;
    if (f && fread(t.w, sizeof *t.w, WEIGHTS, f) != WEIGHTS) return 1;
    if (f) fclose(f);
    memcpy(t.average, t.w, sizeof t.w);
    int bad = open_plugin(&t, plugin);
    if (!bad) bad = open_session(&t);
    if (!bad) bad = bind_own(&t);
    if (!bad && go_on) bad = resume(&t);
    if (broken("starts_again")) t.first = 0;
    if (!bad) bad = train(&t);
    if (t.session && !broken("no_destroy")) t.plugin->destroy_session(t.session);
    return broken("status_0") ? 0 : broken("status_3") ? 3 : bad;
}
