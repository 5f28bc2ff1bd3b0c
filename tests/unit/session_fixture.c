/* A host for tests of the plugin's sessions. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "session_fixture.h"
#include "support/fill.h"

const dukd_dtype fixture_f32 = {DUKD_TYPE_FLOAT, 32, 1}, fixture_f16 = {DUKD_TYPE_FLOAT, 16, 1},
                 fixture_bf16 = {DUKD_TYPE_BFLOAT, 16, 1};

/* ---------------------------------------------------------------- tensors */

size_t fixture_dtype_size(dukd_dtype type) {
    return type.bits / 8u;
}

/* By the definition of the formats: sign, exponent, `mantissa` bits; to nearest, ties to even. */
static uint16_t to_half(double x, int mantissa, int least_exponent) {
    const uint16_t sign = signbit(x) ? 0x8000u : 0;
    int exponent;
    x = fabs(x);
    if (x == 0) return sign;
    assert_true(isfinite(x));
    frexp(x, &exponent);
    if (exponent - 1 < least_exponent) exponent = least_exponent + 1;
    const double unit = ldexp(1, exponent - 1 - mantissa);
    const double units = nearbyint(x / unit); /* may reach the next power of two: the sum below carries */
    const int biased = exponent - 1 - least_exponent;
    return (uint16_t)(sign | (((unsigned)biased << mantissa) + (unsigned)units));
}

static double from_half(uint16_t h, int mantissa, int least_exponent) {
    const int biased = (h & 0x7fff) >> mantissa, fraction = h & ((1 << mantissa) - 1);
    const double x = biased == 0 ? ldexp(fraction, least_exponent - mantissa)
                                 : ldexp(fraction + (1 << mantissa), biased - 1 + least_exponent - mantissa);
    return (h & 0x8000u) != 0 ? -x : x;
}

static char *element(const dukd_tensor *t, int64_t n, int64_t c, int64_t i, int64_t j) {
    const int64_t index[4] = {n, c, i, j};
    int64_t at = 0, dense = 1;
    for (int d = 3; d >= 0; d--) {
        at += index[d] * (t->strides != NULL ? t->strides[d] : dense);
        dense *= t->shape[d];
    }
    return (char *)t->data + t->byte_offset + at * (int64_t)fixture_dtype_size(t->dtype);
}

double fixture_get(const dukd_tensor *t, int64_t n, int64_t c, int64_t i, int64_t j) {
    const char *p = element(t, n, c, i, j);
    if (t->dtype.bits == 32) {
        float x;
        memcpy(&x, p, sizeof x);
        return x;
    }
    uint16_t h;
    memcpy(&h, p, sizeof h);
    return t->dtype.code == DUKD_TYPE_FLOAT ? from_half(h, 10, -14) : from_half(h, 7, -126);
}

void fixture_set(const dukd_tensor *t, int64_t n, int64_t c, int64_t i, int64_t j, double value) {
    char *p = element(t, n, c, i, j);
    if (t->dtype.bits == 32) {
        const float x = (float)value;
        memcpy(p, &x, sizeof x);
        return;
    }
    const uint16_t h = t->dtype.code == DUKD_TYPE_FLOAT ? to_half(value, 10, -14) : to_half(value, 7, -126);
    memcpy(p, &h, sizeof h);
}

void fixture_dense(dukd_tensor *t, void *data, int64_t shape[4], dukd_dtype type) {
    *t =
        (dukd_tensor){.data = data, .device = {DUKD_DEVICE_CPU, 0}, .ndim = 4, .dtype = type, .shape = shape};
}

int64_t fixture_count(const dukd_tensor *t) {
    return t->shape[0] * t->shape[1] * t->shape[2] * t->shape[3];
}

double fixture_pattern(int64_t c, int64_t i, int64_t j) {
    return 0.02 * (double)i - 0.03 * (double)j + 0.05 * (double)c;
}

/* ---------------------------------------------------------------- the host's services */

static int32_t tap_shape(void *ctx, const dukd_tap *tap, const int64_t in[4], int64_t out[4]) {
    const fixture *f = ctx;
    if (in[2] < f->smallest || in[3] < f->smallest) return 1;
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
    assert_int_equal(device_type, DUKD_DEVICE_CPU);
    assert_int_equal(device_id, 0);
    assert_null(stream);
    f->outstanding--;
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

/* ---------------------------------------------------------------- opening and closing */

void fixture_init(fixture *f) {
    *f = (fixture){.n = 2,
                   .c = 3,
                   .h = 8,
                   .w = 8,
                   .scale = 2,
                   .micro_count = 1,
                   .seed = 7,
                   .caps = DUKD_CAP_TWO_STEPS | DUKD_CAP_MODE_TRAIN,
                   .networks = {"student", "teacher"},
                   .n_networks = 2,
                   .own_memory = true,
                   .allocations_left = -1,
                   .cancel_after = -1,
                   .grad_scale = 1,
                   .net = {{0.9, 0.4}, {1.05, -0.3}},
                   .rate = 0.1};
    f->dtype = f->tap_dtype = f->grad_dtype = fixture_f32;
    f->plugin = dukd_get_plugin_draft(DUKD_ABI_DRAFT);
    f->error.struct_size = DUKD_ERROR_SIZE;
}

#define MAX_OPTIONS 32
#define MAX_VALUES  8

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
        for (char *item = strtok(value, "[], "); item != NULL; item = strtok(NULL, "[], ")) {
            o->values[o->option.n_values++] = item;
        }
    } else {
        o->values[o->option.n_values++] = value;
    }
    o->option.values = o->values;
}

int32_t fixture_open(fixture *f, const char *const *options) {
    static parsed_option parsed[MAX_OPTIONS];
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
    for (int i = 0; i < 2; i++) {
        if (f->net_scale[i] == 0) f->net_scale[i] = f->scale;
    }
    const dukd_session_params params = {.struct_size = DUKD_SESSION_PARAMS_SIZE,
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
    memcpy(f->lr_shape, params.lr_shape, sizeof f->lr_shape);
    memcpy(f->hr_shape, params.lr_shape, sizeof f->hr_shape);
    f->hr_shape[2] *= f->scale;
    f->hr_shape[3] *= f->scale;
    f->log[0] = '\0';
    f->allocated = 0;
    f->error.code = 0;
    f->error.message[0] = '\0';
    return f->plugin->create_session(&params, &f->session, &f->error);
}

void fixture_must_open(fixture *f, const char *const *options) {
    if (fixture_open(f, options) != DUKD_OK) fail_msg("create_session: %s", f->error.message);
}

void fixture_close(fixture *f) {
    f->plugin->destroy_session(f->session);
    f->session = NULL;
    free(f->lr);
    free(f->hr);
    f->lr = f->hr = NULL;
    assert_int_equal(f->outstanding, 0);
}

/* ---------------------------------------------------------------- steps */

static void fill_batch(dukd_tensor *t, void **data, int64_t shape[4], dukd_dtype type, int64_t first,
                       uint64_t salt) {
    fixture_dense(t, NULL, shape, type);
    if (*data == NULL) *data = malloc((size_t)fixture_count(t) * fixture_dtype_size(type));
    assert_non_null(*data);
    t->data = *data;
    for (int64_t n = 0; n < shape[0]; n++) {
        for (int64_t e = 0; e < shape[1] * shape[2] * shape[3]; e++) {
            /* k / 256: exact in every type */
            const double x = (double)(dukd_fill_bits(salt + (uint64_t)(first + n), (uint64_t)e) % 257) / 256;
            fixture_set(t, n, e / (shape[2] * shape[3]), e / shape[3] % shape[2], e % shape[3], x);
        }
    }
}

void fixture_batch(fixture *f, int64_t first) {
    fill_batch(&f->lr_tensor, &f->lr, f->lr_shape, f->dtype, first, 1000000);
    fill_batch(&f->hr_tensor, &f->hr, f->hr_shape, f->dtype, first, 2000000);
}

int32_t fixture_begin(fixture *f, int64_t iteration, int64_t first, uint32_t micro_index) {
    const dukd_step step = {.struct_size = DUKD_STEP_SIZE,
                            .iteration = iteration,
                            .first_sample = first,
                            .micro_index = micro_index,
                            .micro_count = f->micro_count,
                            .lr = &f->lr_tensor,
                            .hr = &f->hr_tensor};
    f->events[0] = '\0';
    f->optimized = 0;
    return f->plugin->begin_step(f->session, &step, &f->error);
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
    for (int64_t n = 0; n < y->shape[0]; n++) {
        for (int64_t c = 0; c < y->shape[1]; c++) {
            for (int64_t i = 0; i < y->shape[2]; i++) {
                for (int64_t j = 0; j < y->shape[3]; j++) {
                    fixture_set(y, n, c, i, j,
                                net->w * fixture_get(x, n, c, i / scale, j / scale) +
                                    net->b * fixture_pattern(c, i, j));
                }
            }
        }
    }
}

static void backward(fixture *f, const dukd_tensor *x, const dukd_tensor *g) {
    for (int64_t n = 0; n < g->shape[0]; n++) {
        for (int64_t c = 0; c < g->shape[1]; c++) {
            for (int64_t i = 0; i < g->shape[2]; i++) {
                for (int64_t j = 0; j < g->shape[3]; j++) {
                    const double d = fixture_get(g, n, c, i, j) / f->grad_scale;
                    f->dw += d * fixture_get(x, n, c, i / f->scale, j / f->scale);
                    f->db += d * fixture_pattern(c, i, j);
                }
            }
        }
    }
}

int32_t fixture_submit(fixture *f, const dukd_pass *pass) {
    dukd_tensor value[4], grad[4];
    const dukd_tensor *values[4], *grads[4] = {NULL};
    int64_t shape[4][4];
    assert_true(pass->n_taps <= 4);
    for (uint32_t i = 0; i < pass->n_taps; i++) {
        const dukd_tap *tap = pass->taps[i];
        const dukd_tensor *x = pass->inputs[tap->source_id]->tensor;
        const int which = strcmp(f->networks[tap->network], "teacher") == 0;
        assert_int_equal(tap->id, i);
        assert_int_equal(tap->source_kind, DUKD_SOURCE_INPUT);
        memcpy(shape[i], x->shape, sizeof shape[i]);
        shape[i][2] *= f->scale;
        shape[i][3] *= f->scale;
        fixture_dense(&value[i], NULL, shape[i], f->tap_dtype);
        value[i].data = malloc((size_t)fixture_count(&value[i]) * fixture_dtype_size(f->tap_dtype));
        assert_non_null(value[i].data);
        forward(&f->net[which], f->scale, x, &value[i]);
        values[i] = &value[i];
        f->taps_run[which]++;
        fixture_dense(&grad[i], NULL, shape[i], f->grad_dtype);
        if ((tap->flags & DUKD_TAP_WANT_GRAD) == 0) continue;
        const size_t bytes = (size_t)fixture_count(&grad[i]) * fixture_dtype_size(f->grad_dtype);
        grad[i].data = malloc(bytes);
        assert_non_null(grad[i].data);
        memset(grad[i].data, 0xff, bytes); /* NaN: all must be overwritten */
        grads[i] = &grad[i];
    }
    const dukd_submit submit = {.struct_size = DUKD_SUBMIT_SIZE,
                                .pass_id = pass->id,
                                .n_taps = pass->n_taps,
                                .values = values,
                                .grads = grads,
                                .grad_scale = f->grad_scale};
    const int32_t status = f->plugin->submit_pass(f->session, &submit, &f->error);
    if (status == DUKD_OK) {
        note(f, "pass%u", pass->id);
        if ((pass->flags & DUKD_PASS_ZERO_GRAD_BEFORE) != 0) {
            note(f, "zero");
            f->dw = f->db = 0;
        }
        if (f->watch != NULL) f->watch(f->watch_ctx, pass, values, grads);
        if ((pass->flags & DUKD_PASS_BACKWARD) != 0) {
            note(f, "backward");
            for (uint32_t i = 0; i < pass->n_taps; i++) {
                if (grads[i] != NULL) backward(f, pass->inputs[pass->taps[i]->source_id]->tensor, grads[i]);
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
    for (uint32_t i = 0; i < pass->n_taps; i++) {
        free(value[i].data);
        free(grad[i].data);
    }
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
        status = f->plugin->next_pass(f->session, &held[n], &f->error);
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
    if (f->plugin->end_step(f->session, &f->error) != DUKD_OK) fail_msg("end_step: %s", f->error.message);
}

/* ---------------------------------------------------------------- what came out */

static bool find_loss(fixture *f, const char *name, double *value) {
    dukd_losses losses = {.struct_size = DUKD_LOSSES_SIZE};
    if (f->plugin->read_losses(f->session, &losses, &f->error) != DUKD_OK)
        fail_msg("read_losses: %s", f->error.message);
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
