#include "toy_host.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CANARY = 64 }; /* bytes on each side of a tensor */

const dukd_dtype toy_f32 = {DUKD_TYPE_FLOAT, 32, 1}, toy_bf16 = {DUKD_TYPE_BFLOAT, 16, 1};

/* ---- numbers ---- */

static uint64_t mix(uint64_t x) {
    x ^= x >> 31;
    x *= 0x9e3779b97f4a7c15u;
    x ^= x >> 29;
    x *= 0xbf58476d1ce4e5b9u;
    return x ^ x >> 32;
}
static double unit(uint64_t key) {
    return (double)(mix(key) >> 11) * 0x1p-53;
}
static void hash(uint64_t *h, const void *data, size_t size) {
    const uint8_t *b = data;
    for (size_t i = 0; i < size; i++) *h = (*h ^ b[i]) * 0x100000001b3u;
}

static float from_bf16(uint16_t bits) {
    uint32_t wide = (uint32_t)bits << 16;
    float value;
    memcpy(&value, &wide, sizeof value);
    return value;
}
static uint16_t to_bf16(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    if (isnan(value)) return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

/* ---- tensors ---- */

static uint8_t *address(const dukd_tensor *t, const int64_t at[4]) {
    int64_t offset = 0, dense = 1;
    for (int d = 3; d >= 0; d--) {
        offset += at[d] * (t->strides ? t->strides[d] : dense);
        dense *= t->shape[d];
    }
    return (uint8_t *)t->data + t->byte_offset + offset * (t->dtype.bits / 8);
}

float toy_get(const dukd_tensor *t, int64_t n, int64_t c, int64_t h, int64_t w) {
    const uint8_t *p = address(t, (const int64_t[4]){n, c, h, w});
    float value;
    uint16_t half;
    if (t->dtype.code == DUKD_TYPE_BFLOAT) {
        memcpy(&half, p, sizeof half);
        return from_bf16(half);
    }
    memcpy(&value, p, sizeof value);
    return value;
}

void toy_put(const toy_tensor *t, int64_t n, int64_t c, int64_t h, int64_t w, float value) {
    uint8_t *p = address(&t->t, (const int64_t[4]){n, c, h, w});
    uint16_t half = to_bf16(value);
    if (t->t.dtype.code == DUKD_TYPE_BFLOAT)
        memcpy(p, &half, sizeof half);
    else
        memcpy(p, &value, sizeof value);
}

int toy_tensor_make(toy_tensor *t, int64_t n, int64_t c, int64_t h, int64_t w, dukd_dtype type,
                    toy_layout layout) {
    int64_t row = layout == TOY_PADDED ? w + 3 : w;
    memset(t, 0, sizeof *t);
    memcpy(t->shape, (int64_t[4]){n, c, h, w}, sizeof t->shape);
    if (layout == TOY_CHANNELS_LAST)
        memcpy(t->strides, (int64_t[4]){h * w * c, 1, w * c, c}, sizeof t->strides);
    else
        memcpy(t->strides, (int64_t[4]){c * h * row, h * row, row, 1}, sizeof t->strides);
    t->bytes = (uint64_t)(n * c * h * row * type.bits / 8);
    t->memory = malloc(t->bytes + 2 * CANARY);
    if (!t->memory) return -1;
    memset(t->memory, 0xa5, t->bytes + 2 * CANARY);
    t->t =
        (dukd_tensor){.data = t->memory + CANARY, .device = {DUKD_DEVICE_CPU, 0}, .ndim = 4, .dtype = type};
    return 0;
}

/* A toy_tensor may be copied by value: shape and strides are pointed at where it is used. */
static const dukd_tensor *view(toy_tensor *t) {
    t->t.shape = t->shape;
    t->t.strides = t->strides;
    return &t->t;
}

void toy_tensor_free(toy_tensor *t) {
    free(t->memory);
    t->memory = NULL;
}

static int canary_broken(const toy_tensor *t) {
    for (int i = 0; i < CANARY; i++)
        if (t->memory[i] != 0xa5 || t->memory[CANARY + t->bytes + (uint64_t)i] != 0xa5) return 1;
    return 0;
}

/* ---- the host's services ---- */

static int32_t tap_shape(void *ctx, const dukd_tap *tap, const int64_t in[4], int64_t out[4]) {
    const toy_host *h = ctx;
    int32_t scale = tap->layer ? 1 : h->scale;
    memcpy(out, (int64_t[4]){in[0], tap->layer ? 8 : in[1], in[2] * scale, in[3] * scale}, 4 * sizeof *out);
    return 0;
}

static void *host_alloc(void *ctx, int32_t type, int32_t id, uint64_t size, uint64_t align, void *stream) {
    toy_host *h = ctx;
    (void)type, (void)id, (void)stream;
    if (h->fail_after == 0) return NULL;
    if (h->fail_after > 0) h->fail_after--;
    uint64_t room = align < 16 ? 16 : align;
    uint8_t *p = aligned_alloc(room, (size + room + room - 1) / room * room);
    if (!p) return NULL;
    memcpy(p, &size, sizeof size); /* the size lies before the block */
    h->allocated += (int64_t)size;
    memset(p + room, 0xff, size); /* NaN: memory that is used before it is written shows */
    memcpy(p + room - sizeof size, &room, sizeof room);
    return p + room;
}

static void host_free(void *ctx, void *p, int32_t type, int32_t id, void *stream) {
    toy_host *h = ctx;
    uint64_t room, size;
    (void)type, (void)id, (void)stream;
    if (!p) return;
    memcpy(&room, (uint8_t *)p - sizeof room, sizeof room);
    memcpy(&size, (uint8_t *)p - room, sizeof size);
    h->allocated -= (int64_t)size;
    free((uint8_t *)p - room);
}

typedef struct {
    void (*task)(void *arg, uint32_t i, uint32_t worker);
    void *arg;
    uint32_t first, step, n;
} share;

static void *run_share(void *p) {
    const share *s = p;
    for (uint32_t i = s->first; i < s->n; i += s->step) s->task(s->arg, i, s->first);
    return NULL;
}

static void parallel_for(void *ctx, uint32_t n, void (*task)(void *arg, uint32_t i, uint32_t worker),
                         void *arg) {
    const toy_host *h = ctx;
    pthread_t threads[64];
    share shares[64];
    uint32_t started = 0;
    for (uint32_t k = 0; k < h->threads; k++) shares[k] = (share){task, arg, k, h->threads, n};
    while (started + 1 < h->threads &&
           !pthread_create(&threads[started], NULL, run_share, &shares[started + 1]))
        started++;
    run_share(&shares[0]);
    for (uint32_t k = started + 1; k < h->threads; k++)
        run_share(&shares[k]); /* where no thread could be made */
    for (uint32_t k = 0; k < started; k++) pthread_join(threads[k], NULL);
}

static uint32_t max_threads(void *ctx) {
    return ((const toy_host *)ctx)->threads;
}

int toy_host_open(toy_host *h, int64_t n, int64_t height, int64_t width, int32_t scale) {
    static const char *const names[TOY_NETWORKS] = {"student", "teacher", "features"};
    uint32_t threads = h->threads;
    memset(h, 0, sizeof *h);
    h->n = n, h->channels = 3, h->height = height, h->width = width, h->scale = scale;
    h->fail_after = -1;
    h->threads = threads;
    h->host = (dukd_host){
        .struct_size = DUKD_HOST_SIZE,
        .n_networks = TOY_NETWORKS,
        .ctx = h,
        .caps = DUKD_CAP_TWO_STEPS | DUKD_CAP_LAYERS | DUKD_CAP_DERIVED | DUKD_CAP_OTHER_GRAD |
                DUKD_CAP_MODE_TRAIN,
        .networks = names,
        .tap_shape = tap_shape,
        .alloc = host_alloc,
        .free = host_free,
        .parallel_for = threads ? parallel_for : NULL,
        .max_threads = threads ? max_threads : NULL,
    };
    if (toy_tensor_make(&h->lr, n, 3, height, width, toy_f32, TOY_DENSE)) return -1;
    if (toy_tensor_make(&h->hr, n, 3, height * scale, width * scale, toy_f32, TOY_DENSE)) return -1;
    view(&h->lr), view(&h->hr);
    for (int64_t i = 0; i < n * 3 * height * width; i++)
        ((float *)h->lr.t.data)[i] = (float)unit((uint64_t)i + 1);
    for (int64_t i = 0; i < n * 3 * height * width * scale * scale; i++)
        ((float *)h->hr.t.data)[i] = (float)unit((uint64_t)i + 0x100000000u);
    return 0;
}

void toy_host_close(toy_host *h) {
    toy_tensor_free(&h->lr);
    toy_tensor_free(&h->hr);
}

dukd_session_params toy_params(const toy_host *h, const conform *c) {
    return (dukd_session_params){
        .struct_size = DUKD_SESSION_PARAMS_SIZE,
        .host = &h->host,
        .options = c->options,
        .n_options = c->n_options,
        .micro_count = 1,
        .seed = 7,
        .lr_shape = {h->n, h->channels, h->height, h->width},
        .scale = h->scale,
        .dtype = toy_f32,
        .device = {DUKD_DEVICE_CPU, 0},
    };
}

/* ---- a step ---- */

typedef struct {
    const dukd_pass *pass;
    toy_tensor values[TOY_MAX_TAPS], grads[TOY_MAX_TAPS];
} held_pass;

static const dukd_tensor *source_of(held_pass *p, const dukd_tap *tap) {
    if (tap->source_kind == DUKD_SOURCE_TAP) return view(&p->values[tap->source_id]);
    return p->pass->inputs[tap->source_id]->tensor;
}

static double direction(uint32_t tap, int64_t element) {
    return mix((uint64_t)element * 977 + tap) & 1 ? 1.0 : -1.0;
}

/* The networks' formulas. */
static void compute(const toy_host *h, held_pass *p, const dukd_tap *tap, const toy_run *run,
                    int first_wanted) {
    const dukd_tensor *in = source_of(p, tap);
    toy_tensor *out = &p->values[tap->id];
    int64_t scale = tap->layer ? 1 : h->scale, element = 0;
    double gain = tap->network == TOY_TEACHER ? 0.95 : 0.8;
    int wanted = (tap->flags & DUKD_TAP_WANT_GRAD) != 0;
    view(out);
    for (int64_t n = 0; n < out->shape[0]; n++)
        for (int64_t c = 0; c < out->shape[1]; c++)
            for (int64_t y = 0; y < out->shape[2]; y++)
                for (int64_t x = 0; x < out->shape[3]; x++, element++) {
                    double v = gain * toy_get(in, n, c % in->shape[1], y / scale, x / scale) +
                               0.1 * unit((uint64_t)element * 31 + tap->network);
                    if (wanted) v += run->step_along * direction(tap->id, element);
                    if (run->nan_value && first_wanted && element == 0) v = NAN;
                    toy_put(out, n, c, y, x, (float)v);
                }
}

static int make_tensors(conform *c, const toy_host *h, held_pass *p, const toy_run *run) {
    int first = 1;
    for (uint32_t i = 0; i < p->pass->n_taps; i++) {
        const dukd_tap *tap = p->pass->taps[i];
        int64_t shape[4];
        tap_shape((void *)(uintptr_t)h, tap, source_of(p, tap)->shape, shape);
        int wanted = (tap->flags & DUKD_TAP_WANT_GRAD) != 0;
        if (toy_tensor_make(&p->values[i], shape[0], shape[1], shape[2], shape[3],
                            run->bf16_values ? toy_bf16 : toy_f32, run->layout) ||
            (wanted &&
             toy_tensor_make(&p->grads[i], shape[0], shape[1], shape[2], shape[3], toy_f32, run->layout))) {
            conform_fail(c, "out of memory");
            return -1;
        }
        compute(h, p, tap, run, wanted && first);
        if (wanted) first = 0;
    }
    return 0;
}

static void record_pass(const dukd_pass *pass, toy_result *out) {
    out->passes++;
    hash(&out->flags_hash, &pass->flags, sizeof pass->flags);
    out->optimizer_steps += (pass->flags & DUKD_PASS_OPTIMIZE_AFTER) != 0;
    out->zeroed += (pass->flags & DUKD_PASS_ZERO_GRAD_BEFORE) != 0;
    out->averaged += (pass->flags & DUKD_PASS_EMA_AFTER) != 0;
    for (uint32_t i = 0; i < pass->n_inputs; i++) {
        const dukd_tensor *t = pass->inputs[i]->tensor;
        const dukd_origin *o = pass->inputs[i]->origin;
        for (int64_t n = 0; n < t->shape[0]; n++)
            for (int64_t ch = 0; ch < t->shape[1]; ch++)
                for (int64_t y = 0; y < t->shape[2]; y++)
                    for (int64_t x = 0; x < t->shape[3]; x++) {
                        float v = toy_get(t, n, ch, y, x);
                        hash(&out->inputs_hash, &v, sizeof v);
                    }
        if (o && o->augment) hash(&out->inputs_hash, o->augment, o->n_samples * sizeof *o->augment);
        if (o && o->rows) hash(&out->inputs_hash, o->rows, o->n_samples * sizeof *o->rows);
    }
}

static void record_grads(held_pass *p, toy_result *out) {
    for (uint32_t i = 0; i < p->pass->n_taps; i++) {
        toy_tensor *g = &p->grads[i];
        int64_t element = 0, untouched = 0;
        if (!g->memory) continue;
        out->wanted++;
        view(g);
        for (int64_t n = 0; n < g->shape[0]; n++)
            for (int64_t c = 0; c < g->shape[1]; c++)
                for (int64_t y = 0; y < g->shape[2]; y++)
                    for (int64_t x = 0; x < g->shape[3]; x++, element++) {
                        float v = toy_get(&g->t, n, c, y, x);
                        uint32_t bits;
                        memcpy(&bits, &v, sizeof bits);
                        untouched += bits == 0xa5a5a5a5u;
                        out->not_finite += !isfinite(v);
                        hash(&out->grads_hash, &bits, sizeof bits);
                        out->dot += (double)v * direction(i, element);
                        out->norm += fabs((double)v);
                    }
        out->not_written += untouched > 0;
        out->canaries_broken += canary_broken(g);
    }
}

static void free_pass(held_pass *p) {
    for (int i = 0; i < TOY_MAX_TAPS; i++) {
        toy_tensor_free(&p->values[i]);
        toy_tensor_free(&p->grads[i]);
    }
}

static int failed(conform *c, const char *call, int32_t code, const dukd_error *e) {
    conform_fail(c, "%s gave %d: %s", call, code, e->message);
    return -1;
}

static int submit(conform *c, dukd_session *s, held_pass *p, const toy_run *run) {
    const dukd_tensor *values[TOY_MAX_TAPS], *grads[TOY_MAX_TAPS];
    dukd_error e = {.struct_size = DUKD_ERROR_SIZE};
    for (uint32_t i = 0; i < p->pass->n_taps; i++) {
        values[i] = view(&p->values[i]);
        grads[i] = p->grads[i].memory ? view(&p->grads[i]) : NULL;
    }
    dukd_submit sub = {.struct_size = DUKD_SUBMIT_SIZE,
                       .pass_id = p->pass->id,
                       .n_taps = p->pass->n_taps,
                       .values = values,
                       .grads = grads,
                       .grad_scale = run->grad_scale != 0 ? run->grad_scale : 1};
    int32_t code = c->plugin->submit_pass(s, &sub, &e);
    return code == DUKD_OK ? 0 : failed(c, "submit_pass", code, &e);
}

static int take_total(conform *c, dukd_session *s, toy_result *out) {
    dukd_error e = {.struct_size = DUKD_ERROR_SIZE};
    dukd_losses losses = {.struct_size = DUKD_LOSSES_SIZE};
    int32_t code = c->plugin->read_losses(s, &losses, &e);
    if (code != DUKD_OK) return failed(c, "read_losses", code, &e);
    for (uint32_t i = 0; i < losses.n_losses; i++)
        if (strcmp(losses.names[i], "l_total") == 0) {
            out->total = losses.values[i];
            return 0;
        }
    conform_fail(c, "read_losses gives no l_total");
    return -1;
}

int toy_step(conform *c, toy_host *h, dukd_session *s, const toy_run *run, toy_result *out) {
    dukd_error e = {.struct_size = DUKD_ERROR_SIZE};
    uint32_t micro_count = run->micro_count ? run->micro_count : 1;
    dukd_step step = {.struct_size = DUKD_STEP_SIZE,
                      .iteration = run->iteration ? run->iteration : 1,
                      .first_sample = run->first_sample,
                      .micro_index = run->micro_index,
                      .micro_count = micro_count,
                      .lr = view(&h->lr),
                      .hr = view(&h->hr)};
    int result = 0;
    memset(out, 0, sizeof *out);
    int32_t code = c->plugin->begin_step(s, &step, &e);
    if (code != DUKD_OK) return failed(c, "begin_step", code, &e);
    for (int i = 0; i <= TOY_MAX_PASSES && !result; i++) {
        held_pass p = {0};
        code = c->plugin->next_pass(s, &p.pass, &e);
        if (code == DUKD_STEP_DONE) break;
        if (code != DUKD_OK) return failed(c, "next_pass", code, &e); /* WAIT too: nothing is held here */
        if (i == TOY_MAX_PASSES || p.pass->n_taps > TOY_MAX_TAPS) {
            conform_fail(c, "more than %d passes or %d taps: not what this suite can follow", TOY_MAX_PASSES,
                         TOY_MAX_TAPS);
            return -1;
        }
        record_pass(p.pass, out);
        result = make_tensors(c, h, &p, run);
        if (!result && !(run->leave_open && i == 1)) result = submit(c, s, &p, run);
        record_grads(&p, out);
        free_pass(&p);
        if (run->leave_open && (i == 1 || result)) break;
    }
    if (run->leave_open) {
        code = c->plugin->cancel_step(s, &e);
        return code == DUKD_OK || code == DUKD_WEIGHTS_MOVED ? result : failed(c, "cancel_step", code, &e);
    }
    if (result) return result;
    code = c->plugin->end_step(s, &e);
    if (code != DUKD_OK) return failed(c, "end_step", code, &e);
    return step.micro_index + 1 == micro_count ? take_total(c, s, out) : 0;
}
