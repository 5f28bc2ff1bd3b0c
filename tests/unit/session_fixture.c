/* A host for tests of the plugin's sessions. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "session_fixture.h"
#include "support/fill.h"

double fixture_pattern(int64_t c, int64_t i, int64_t j) {
    return 0.02 * (double)i - 0.03 * (double)j + 0.05 * (double)c;
}

static double layer_element(const char *name, double w, double x, int64_t c, int64_t i, int64_t j) {
    uint64_t salt = 0;
    for (; *name != '\0'; name++) salt = salt * 31 + (unsigned char)*name;
    const double noise =
        (double)(dukd_fill_bits(salt, (uint64_t)(c * 1009 + i * 101 + j)) % 4096) / 4096 - 0.5;
    return w * x + noise;
}

/* ---------------------------------------------------------------- the host's services */

static int32_t tap_shape(void *ctx, const dukd_tap *tap, const int64_t in[4], int64_t out[4],
                         dukd_error *why) {
    const fixture *f = ctx;
    if (in[2] < f->smallest || in[3] < f->smallest) {
        if (why != NULL) snprintf(why->message, sizeof why->message, "%d pixels at least", (int)f->smallest);
        return 1;
    }
    const bool teacher = strcmp(f->networks[tap->network], "teacher") == 0;
    if (tap->layer != NULL) {
        if (teacher && f->odd_layer < 0) {
            if (why != NULL) snprintf(why->message, sizeof why->message, "its layers are body.0 and body.1");
            return 1;
        }
        memcpy(out, (int64_t[4]){in[0], FIXTURE_CHANNELS, in[2], in[3] + (teacher ? f->odd_layer : 0)},
               4 * sizeof *out);
        return 0;
    }
    const int32_t scale = f->net_scale[strcmp(f->networks[tap->network], "teacher") == 0];
    out[0] = in[0];
    out[1] = in[1];
    out[2] = in[2] * scale;
    out[3] = in[3] * scale;
    return 0;
}

static void *host_alloc(void *ctx, int32_t device_type, int32_t device_id, uint64_t size, uint64_t align,
                        void *stream) {
    fixture *f = ctx;
    if (device_type == DUKD_DEVICE_CUDA) {
        assert_non_null(f->device);
        assert_int_equal(device_id, f->device->id.device_id);
        if (f->allocations_left == 0) return NULL;
        if (f->allocations_left > 0) f->allocations_left--;
        f->outstanding++;
        return f->device->take((size_t)size);
    }
    assert_int_equal(device_type, DUKD_DEVICE_CPU);
    assert_int_equal(device_id, 0);
    assert_null(stream);
    assert_true(size > 0 && align > 0 && (align & (align - 1)) == 0);
    if (f->allocations_left == 0) return NULL;
    if (f->allocations_left > 0) f->allocations_left--;
    void *p = aligned_alloc((size_t)align, (size_t)((size + align - 1) / align * align));
    assert_non_null(p);
    memset(p, 0xa5, (size_t)size);
    f->outstanding++;
    f->allocated++;
    if (size > f->largest) f->largest = size;
    return p;
}

static void host_free(void *ctx, void *p, int32_t device_type, int32_t device_id, void *stream) {
    fixture *f = ctx;
    assert_non_null(p);
    f->outstanding--;
    if (device_type == DUKD_DEVICE_CUDA) {
        f->device->give_back(p);
        return;
    }
    assert_int_equal(device_type, DUKD_DEVICE_CPU);
    assert_int_equal(device_id, 0);
    assert_null(stream);
    free(p);
}

static void host_log(void *ctx, int32_t level, const char *message) {
    fixture *f = ctx;
    const size_t at = strlen(f->log);
    assert_null(strchr(message, '\n'));
    snprintf(f->log + at, sizeof f->log - at, "%s%s\n", level == DUKD_LOG_WARNING ? "warning: " : "",
             message);
}

static int32_t should_cancel(void *ctx) {
    fixture *f = ctx;
    f->cancel_asked++;
    return f->cancel_after >= 0 && f->cancel_asked > f->cancel_after;
}

/* ---- parallel_for: threads take the next number until none is left ---- */

typedef struct {
    pthread_mutex_t lock;
    uint32_t next, n;
    void (*task)(void *arg, uint32_t i, uint32_t worker);
    void *arg;
} crowd;

typedef struct {
    crowd *crowd;
    uint32_t number;
} worker;

static void *work(void *ctx) {
    const worker *w = ctx;
    for (;;) {
        pthread_mutex_lock(&w->crowd->lock);
        const uint32_t i = w->crowd->next < w->crowd->n ? w->crowd->next++ : UINT32_MAX;
        pthread_mutex_unlock(&w->crowd->lock);
        if (i == UINT32_MAX) return NULL;
        w->crowd->task(w->crowd->arg, i, w->number);
    }
}

static void parallel_for(void *ctx, uint32_t n, void (*task)(void *arg, uint32_t i, uint32_t worker),
                         void *arg) {
    const fixture *f = ctx;
    pthread_t threads[16];
    worker workers[16];
    crowd all = {.n = n, .task = task, .arg = arg};
    pthread_mutex_init(&all.lock, NULL);
    for (uint32_t i = 0; i < f->threads; i++) {
        workers[i] = (worker){&all, i};
        assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
    }
    for (uint32_t i = 0; i < f->threads; i++) pthread_join(threads[i], NULL);
    pthread_mutex_destroy(&all.lock);
}

static uint32_t max_threads(void *ctx) {
    return ((const fixture *)ctx)->threads;
}

static void free_everywhere(const fixture *f, fixture_tensor *t) {
    if (t->there_memory != NULL) f->device->give_back(t->there_memory);
    t->there_memory = NULL;
    fixture_tensor_free(t);
}

/* ---------------------------------------------------------------- opening and closing */

static void around(const fixture *f, int entering) {
    if (f->device != NULL && f->device->around != NULL) f->device->around(entering);
}

/* Returns what a call into the plugin gave. */
#define CALL(f, call)                                                                                        \
    do {                                                                                                     \
        around(f, 1);                                                                                        \
        const int32_t status_of_call = (call);                                                               \
        around(f, 0);                                                                                        \
        return status_of_call;                                                                               \
    } while (0)

static int32_t submit_pass(fixture *f, const dukd_submit *submit) {
    CALL(f, f->plugin->submit_pass(f->session, submit, &f->error));
}

static int32_t next_pass(fixture *f, const dukd_pass **pass) {
    CALL(f, f->plugin->next_pass(f->session, pass, &f->error));
}

static int32_t end_step(fixture *f) {
    CALL(f, f->plugin->end_step(f->session, &f->error));
}

/* ThreadSanitizer does not know the barriers of OpenMP's library, and would see races in every loop: there
 * the host's threads take its place. */
#if defined(__SANITIZE_THREAD__)
#define OWN_THREADS 2
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define OWN_THREADS 2
#endif
#endif
#ifndef OWN_THREADS
#define OWN_THREADS 0
#endif

void fixture_init(fixture *f) {
    *f = (fixture){.n = 2,
                   .c = 3,
                   .h = 8,
                   .w = 8,
                   .scale = 2,
                   .micro_count = 1,
                   .seed = 7,
                   .caps = DUKD_CAP_TWO_STEPS | DUKD_CAP_MODE_TRAIN | DUKD_CAP_LAYERS | DUKD_CAP_DERIVED |
                           DUKD_CAP_OTHER_GRAD,
                   .networks = {"student", "teacher", "features"},
                   .n_networks = 3,
                   .own_memory = true,
                   .allocations_left = -1,
                   .cancel_after = -1,
                   .grad_scale = 1,
                   .net = {{0.9, 0.4}, {1.05, -0.3}},
                   .rate = 0.1};
    f->dtype = f->tap_dtype = f->grad_dtype = fixture_f32;
    f->threads = OWN_THREADS;
    f->plugin = dukd_get_plugin_draft(DUKD_ABI_DRAFT);
    f->error.struct_size = DUKD_ERROR_SIZE;
}

#define MAX_OPTIONS 32
#define MAX_VALUES  20

typedef struct {
    char text[160], place[32];
    const char *values[MAX_VALUES];
    dukd_option option;
} parsed_option;

static void parse_option(parsed_option *o, const char *text, int line) {
    *o = (parsed_option){0};
    snprintf(o->text, sizeof o->text, "%s", text);
    snprintf(o->place, sizeof o->place, "opt.yml:%d:3", line);
    char *value = strchr(o->text, '=');
    assert_non_null(value);
    *value++ = '\0';
    o->option = (dukd_option){
        .struct_size = DUKD_OPTION_SIZE, .kind = DUKD_VALUE_SCALAR, .key = o->text, .place = o->place};
    if (strcmp(value, "~") == 0) {
        o->option.kind = DUKD_VALUE_NULL;
        return;
    }
    if (*value == '[') {
        o->option.kind = DUKD_VALUE_LIST;
        char *rest = NULL;
        for (char *item = strtok_r(value, "[], ", &rest); item != NULL;
             item = strtok_r(NULL, "[], ", &rest)) {
            o->values[o->option.n_values++] = item;
        }
    } else {
        o->values[o->option.n_values++] = value;
    }
    o->option.values = o->values;
}

int32_t fixture_open(fixture *f, const char *const *options) {
    parsed_option parsed[MAX_OPTIONS];
    const dukd_option *list[MAX_OPTIONS];
    uint32_t n = 0;
    for (; options != NULL && options[n] != NULL; n++) {
        assert_true(n < MAX_OPTIONS);
        parse_option(&parsed[n], options[n], (int)n + 1);
        list[n] = &parsed[n].option;
    }
    f->host = (dukd_host){.struct_size = DUKD_HOST_SIZE,
                          .n_networks = f->n_networks,
                          .ctx = f,
                          .caps = f->caps,
                          .networks = f->networks,
                          .tap_shape = tap_shape,
                          .log = host_log,
                          .should_cancel = should_cancel};
    if (f->own_memory) {
        f->host.alloc = host_alloc;
        f->host.free = host_free;
    }
    if (f->threads > 0) {
        assert_true(f->threads <= 16);
        f->host.parallel_for = parallel_for;
        f->host.max_threads = max_threads;
    }
    for (int i = 0; i < 2; i++) {
        if (f->net_scale[i] == 0) f->net_scale[i] = f->scale;
    }
    dukd_session_params params = {.struct_size = DUKD_SESSION_PARAMS_SIZE,
                                  .flags = f->flags,
                                  .host = &f->host,
                                  .options = list,
                                  .n_options = n,
                                  .micro_count = f->micro_count,
                                  .seed = f->seed,
                                  .lr_shape = {f->n, f->c, f->h, f->w},
                                  .scale = f->scale,
                                  .dtype = f->dtype,
                                  .device = {DUKD_DEVICE_CPU, 0}};
    if (f->device != NULL) params.device = f->device->id;
    f->log[0] = '\0';
    f->allocated = 0;
    f->error.code = 0;
    f->error.message[0] = '\0';
    CALL(f, f->plugin->create_session(&params, &f->session, &f->error));
}

void fixture_must_open(fixture *f, const char *const *options) {
    if (fixture_open(f, options) != DUKD_OK) fail_msg("create_session: %s", f->error.message);
}

void fixture_close(fixture *f) {
    around(f, 1);
    f->plugin->destroy_session(f->session);
    around(f, 0);
    f->session = NULL;
    free_everywhere(f, &f->lr);
    free_everywhere(f, &f->hr);
    assert_int_equal(f->outstanding, 0);
}

/* ---------------------------------------------------------------- a device's memory */

/* The tensor where the plugin sees it, with the same elements and gaps. */
static const dukd_tensor *sent(const fixture *f, fixture_tensor *t) {
    if (f->device == NULL) return &t->tensor;
    if (t->there_memory == NULL) t->there_memory = f->device->take(t->bytes);
    t->there = t->tensor;
    t->there.data = (char *)t->there_memory + ((char *)t->tensor.data - (char *)t->memory);
    t->there.device = f->device->id;
    f->device->up(f->device->stream, t->there_memory, t->memory, t->bytes);
    return &t->there;
}

static void fetch(const fixture *f, fixture_tensor *t) {
    if (f->device != NULL) f->device->down(f->device->stream, t->memory, t->there_memory, t->bytes);
}

/* An input in plain memory: a dense one of the plugin's, or the batch's LR. */
static const dukd_tensor *input_here(fixture *f, const dukd_tensor *x, fixture_tensor *copy) {
    if (f->device == NULL) return x;
    if (x->data == f->lr.there.data) return &f->lr.tensor;
    assert_null(x->strides);
    assert_int_equal(x->byte_offset, 0);
    if (copy->memory == NULL) fixture_tensor_make(copy, x->shape, x->dtype, LAYOUT_DENSE);
    assert_memory_equal(copy->shape, x->shape, sizeof copy->shape);
    f->device->down(f->device->stream, copy->memory, x->data, copy->bytes);
    return &copy->tensor;
}

/* ---------------------------------------------------------------- steps */

static void fill_batch(const fixture *f, fixture_tensor *t, int32_t scale, int64_t first, uint64_t salt) {
    const int64_t shape[4] = {f->n, f->c, f->h * scale, f->w * scale};
    if (t->memory == NULL) fixture_tensor_make(t, shape, f->dtype, f->batch_layout);
    EACH_ELEMENT(&t->tensor, n, c, i, j) {
        /* k / 256: exact in every type */
        const uint64_t bits =
            dukd_fill_bits(salt + (uint64_t)(first + n), (uint64_t)((c * shape[2] + i) * shape[3] + j));
        fixture_set(&t->tensor, n, c, i, j, (double)(bits % 257) / 256);
    }
}

void fixture_batch(fixture *f, int64_t first) {
    fill_batch(f, &f->lr, 1, first, 1000000);
    fill_batch(f, &f->hr, f->scale, first, 2000000);
    if (!f->spot.on) return;
    const dukd_tensor *hr = &f->hr.tensor;
    if (f->spot.alone) {
        EACH_ELEMENT(hr, n, c, i, j) fixture_set(hr, n, c, i, j, 0);
    }
    for (int64_t n = 0; n < f->n; n++) fixture_set(hr, n, 0, f->spot.row, f->spot.col, f->spot.value);
}

int32_t fixture_begin(fixture *f, int64_t iteration, int64_t first, uint32_t micro_index) {
    const dukd_step step = {.struct_size = DUKD_STEP_SIZE,
                            .iteration = iteration,
                            .first_sample = first,
                            .micro_index = micro_index,
                            .micro_count = f->micro_count,
                            .lr = sent(f, &f->lr),
                            .hr = sent(f, &f->hr),
                            .stream = f->device != NULL ? f->device->stream : NULL};
    f->events[0] = '\0';
    f->optimized = 0;
    CALL(f, f->plugin->begin_step(f->session, &step, &f->error));
}

static void note(fixture *f, const char *format, ...) {
    const size_t at = strlen(f->events);
    va_list arguments;
    va_start(arguments, format);
    if (at > 0) snprintf(f->events + at, sizeof f->events - at, " ");
    vsnprintf(f->events + strlen(f->events), sizeof f->events - strlen(f->events), format, arguments);
    va_end(arguments);
}

static void forward(const fixture_net *net, int32_t scale, const dukd_tensor *x, const dukd_tensor *y) {
    EACH_ELEMENT(y, n, c, i, j) {
        fixture_set(y, n, c, i, j,
                    net->w * fixture_get(x, n, c, i / scale, j / scale) + net->b * fixture_pattern(c, i, j));
    }
}

static void forward_layer(const dukd_tap *tap, double w, const dukd_tensor *x, const dukd_tensor *y) {
    EACH_ELEMENT(y, n, c, i, j) {
        fixture_set(y, n, c, i, j,
                    layer_element(tap->layer, w, fixture_get(x, n, c % x->shape[1], i, j), c, i, j));
    }
}

static void backward(fixture *f, const dukd_tensor *x, const dukd_tensor *g) {
    EACH_ELEMENT(g, n, c, i, j) {
        const double d = fixture_get(g, n, c, i, j) / f->grad_scale;
        f->dw += d * fixture_get(x, n, c, i / f->scale, j / f->scale);
        f->db += d * fixture_pattern(c, i, j);
    }
}

static bool is_students_output(const fixture *f, const dukd_tap *tap) {
    return tap->layer == NULL && strcmp(f->networks[tap->network], "student") == 0;
}

static void obey(fixture *f, const dukd_pass *pass, const dukd_tensor *const *grads) {
    if ((pass->flags & DUKD_PASS_BACKWARD) != 0) {
        note(f, "backward");
        for (uint32_t i = 0; i < pass->n_taps; i++) {
            if (grads[i] != NULL && is_students_output(f, pass->taps[i]))
                backward(f, f->seen[pass->taps[i]->source_id], grads[i]);
        }
    }
    if ((pass->flags & DUKD_PASS_OPTIMIZE_AFTER) != 0) {
        note(f, "optimize");
        assert_true(f->optimized < 4);
        f->dw_at[f->optimized] = f->dw;
        f->db_at[f->optimized++] = f->db;
        f->net[FIXTURE_STUDENT].w -= f->rate * f->dw;
        f->net[FIXTURE_STUDENT].b -= f->rate * f->db;
    }
    if ((pass->flags & DUKD_PASS_EMA_AFTER) != 0) note(f, "ema");
}

int32_t fixture_submit(fixture *f, const dukd_pass *pass) {
    fixture_tensor value[FIXTURE_TAPS], grad[FIXTURE_TAPS] = {0};
    const dukd_tensor *values[FIXTURE_TAPS], *grads[FIXTURE_TAPS] = {NULL};
    assert_true(pass->n_taps <= FIXTURE_TAPS && pass->n_inputs <= FIXTURE_INPUTS);
    for (uint32_t i = 0; i < pass->n_inputs; i++) {
        f->seen[i] = input_here(f, pass->inputs[i]->tensor, &f->seen_copy[i]);
    }
    for (uint32_t i = 0; i < pass->n_taps; i++) {
        const dukd_tap *tap = pass->taps[i];
        const bool derived = tap->source_kind == DUKD_SOURCE_TAP;
        assert_true(tap->source_id < (derived ? i : pass->n_inputs));
        const dukd_tensor *x = derived ? &value[tap->source_id].tensor : f->seen[tap->source_id];
        const int which = strcmp(f->networks[tap->network], "teacher") == 0;
        int64_t shape[4];
        assert_int_equal(tap->id, i);
        assert_int_equal(tap_shape(f, tap, x->shape, shape, NULL), 0);
        fixture_tensor_make(&value[i], shape, f->tap_dtype, f->tap_layout);
        if (tap->layer != NULL) {
            forward_layer(tap, f->net[which].w, x, &value[i].tensor);
        } else {
            forward(&f->net[which], f->scale, x, &value[i].tensor);
            f->taps_run[which]++;
        }
        values[i] = sent(f, &value[i]);
        if ((tap->flags & DUKD_TAP_WANT_GRAD) == 0) continue;
        fixture_tensor_make(&grad[i], shape, f->grad_dtype,
                            (fixture_layout)((f->tap_layout + f->grad_layout_after) %
                                             LAYOUTS)); /* NaN: all must be overwritten */
        grads[i] = sent(f, &grad[i]);
    }
    const dukd_submit submit = {.struct_size = DUKD_SUBMIT_SIZE,
                                .pass_id = pass->id,
                                .n_taps = pass->n_taps,
                                .values = values,
                                .grads = grads,
                                .grad_scale = f->grad_scale,
                                .grad_scale_dev = f->grad_scale_dev};
    const int32_t status = submit_pass(f, &submit);
    for (uint32_t i = 0; i < pass->n_taps && status == DUKD_OK; i++) {
        values[i] = &value[i].tensor;
        if (grads[i] == NULL) continue;
        fetch(f, &grad[i]);
        grads[i] = &grad[i].tensor;
    }
    if (status == DUKD_OK) {
        note(f, "pass%u", pass->id);
        if ((pass->flags & DUKD_PASS_ZERO_GRAD_BEFORE) != 0) {
            note(f, "zero");
            f->dw = f->db = 0;
        }
        if (f->watch != NULL) f->watch(f->watch_ctx, pass, values, grads);
        obey(f, pass, grads);
    }
    for (uint32_t i = 0; i < pass->n_taps; i++) {
        free_everywhere(f, &value[i]);
        free_everywhere(f, &grad[i]);
    }
    for (uint32_t i = 0; i < pass->n_inputs; i++) fixture_tensor_free(&f->seen_copy[i]);
    return status;
}

void fixture_step(fixture *f, int64_t iteration, int64_t first, uint32_t micro_index) {
    const dukd_pass *held[8];
    uint32_t n = 0;
    int32_t status;
    fixture_batch(f, first);
    if (fixture_begin(f, iteration, first, micro_index) != DUKD_OK)
        fail_msg("begin_step: %s", f->error.message);
    do {
        status = next_pass(f, &held[n]);
        if (status < 0) fail_msg("next_pass: %s", f->error.message);
        if (status == DUKD_OK) n++;
        if (status == DUKD_WAIT) {
            assert_true(n > 0); /* else it would wait for ever */
            note(f, "wait");
        }
        if (status == DUKD_OK && f->collect) continue;
        for (uint32_t i = 0; i < n; i++) {
            if (fixture_submit(f, held[i]) != DUKD_OK) fail_msg("submit_pass: %s", f->error.message);
        }
        n = 0;
    } while (status != DUKD_STEP_DONE);
    if (end_step(f) != DUKD_OK) fail_msg("end_step: %s", f->error.message);
}

/* ---------------------------------------------------------------- what came out */

static bool find_loss(fixture *f, const char *name, double *value) {
    dukd_losses losses = {.struct_size = DUKD_LOSSES_SIZE};
    around(f, 1);
    const int32_t status = f->plugin->read_losses(f->session, &losses, &f->error);
    around(f, 0);
    if (status != DUKD_OK) fail_msg("read_losses: %s", f->error.message);
    for (uint32_t i = 0; i < losses.n_losses; i++) {
        if (strcmp(losses.names[i], name) != 0) continue;
        *value = losses.values[i];
        return true;
    }
    return false;
}

double fixture_loss(fixture *f, const char *name) {
    double value = 0;
    if (!find_loss(f, name, &value)) fail_msg("there is no loss %s", name);
    return value;
}

bool fixture_has_loss(fixture *f, const char *name) {
    double value;
    return find_loss(f, name, &value);
}

void fixture_expect_message(const fixture *f, const char *const *parts) {
    const char *message = f->error.message;
    assert_true(strlen(message) > 10 && message[strlen(message) - 1] != ' ');
    for (; *parts != NULL; parts++) {
        if (strstr(message, *parts) == NULL) fail_msg("\"%s\" is not in the message: %s", *parts, message);
    }
}
