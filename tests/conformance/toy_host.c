#include "toy_host.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "trace.h"

static void wrong(toy_host *h, const char *format, ...) {
    va_list args;
    va_start(args, format);
    pthread_mutex_lock(&h->lock);
    if (!h->wrong[0]) vsnprintf(h->wrong, sizeof h->wrong, format, args);
    pthread_mutex_unlock(&h->lock);
    va_end(args);
}

/* Every service begins so. */
static void called(toy_host *h, const char *service) {
    if (trace_is_caller()) return;
    pthread_mutex_lock(&h->lock);
    if (!h->stray[0])
        snprintf(h->stray, sizeof h->stray,
                 "%s was called inside a task of parallel_for, or by a thread of the plugin's own", service);
    pthread_mutex_unlock(&h->lock);
}

/* ---- memory: each block has its head before it and a canary behind it ---- */

enum {
    TAIL = 32,
    FILL = 0xff,
    HEAD = 256
}; /* FILL is a NaN: memory that is used before it is written shows */

struct toy_block {
    toy_block *next, *previous;
    uint64_t size;
    uint8_t *whole, *data;
};

static void *host_alloc(void *ctx, int32_t type, int32_t id, uint64_t size, uint64_t align, void *stream) {
    toy_host *h = ctx;
    called(h, "alloc");
    if (type != DUKD_DEVICE_CPU || id != 0 || stream)
        wrong(h, "alloc asked for device %d, %d, but the session is on the CPU", type, id);
    if (!align || align & (align - 1)) {
        wrong(h, "alloc asked for alignment %llu, not a power of two", (unsigned long long)align);
        return NULL;
    }
    pthread_mutex_lock(&h->lock);
    int refuse = h->allocations_left == 0;
    h->refused += refuse;
    if (h->allocations_left > 0) h->allocations_left--;
    pthread_mutex_unlock(&h->lock);
    if (refuse || size > (uint64_t)1 << 40 || align > (uint64_t)1 << 30) return NULL;
    uint8_t *whole = malloc(HEAD + align + size + TAIL);
    if (!whole) return NULL;
    uintptr_t start = ((uintptr_t)whole + HEAD + align - 1) & ~(uintptr_t)(align - 1);
    uint8_t *data = whole + (start - (uintptr_t)whole);
    memset(data, FILL, size + TAIL);
    toy_block *b = (toy_block *)(void *)whole; /* HEAD is larger than a toy_block */
    *b = (toy_block){.size = size, .whole = whole, .data = data};
    pthread_mutex_lock(&h->lock);
    b->next = h->blocks;
    if (b->next) b->next->previous = b;
    h->blocks = b;
    h->held += (int64_t)size;
    pthread_mutex_unlock(&h->lock);
    return data;
}

static void host_free(void *ctx, void *p, int32_t type, int32_t id, void *stream) {
    toy_host *h = ctx;
    int overrun = 0;
    called(h, "free");
    if (!p) return;
    if (type != DUKD_DEVICE_CPU || id != 0 || stream) wrong(h, "free was given another device than alloc");
    pthread_mutex_lock(&h->lock);
    toy_block *b = h->blocks;
    while (b && b->data != p) b = b->next;
    if (b) {
        if (b->next) b->next->previous = b->previous;
        *(b->previous ? &b->previous->next : &h->blocks) = b->next;
        h->held -= (int64_t)b->size;
        for (int i = 0; i < TAIL; i++) overrun |= b->data[b->size + (uint64_t)i] != FILL;
    }
    pthread_mutex_unlock(&h->lock);
    if (!b) wrong(h, "free was given what alloc never gave, or a second time");
    if (overrun) wrong(h, "memory behind a block of the host's was written");
    if (b) free(b->whole);
}

int toy_owns(toy_host *h, const void *data, uint64_t size) {
    const uint8_t *p = data;
    pthread_mutex_lock(&h->lock);
    const toy_block *b = h->blocks;
    while (b && !(p >= b->data && p < b->data + b->size && size <= (uint64_t)(b->data + b->size - p)))
        b = b->next;
    pthread_mutex_unlock(&h->lock);
    return b != NULL;
}

void toy_extent(const dukd_tensor *t, const uint8_t **first, uint64_t *size) {
    int64_t low = 0, high = 0, dense = 1, element = t->dtype.bits / 8;
    for (int d = 3; d >= 0; d--) {
        int64_t stride = t->strides ? t->strides[d] : dense, reach = stride * (t->shape[d] - 1);
        *(reach < 0 ? &low : &high) += reach;
        dense *= t->shape[d];
    }
    *first = (const uint8_t *)t->data + t->byte_offset + low * element;
    *size = (uint64_t)((high - low + 1) * element);
}

/* ---- threads ---- */

typedef struct {
    void (*task)(void *arg, uint32_t i, uint32_t worker);
    void *arg;
    uint32_t first, step, n;
} share;

static void *run_share(void *p) {
    const share *s = p;
    trace_task(1);
    for (uint32_t i = s->first; i < s->n; i += s->step) s->task(s->arg, i, s->first);
    trace_task(0);
    return NULL;
}

static void run_threads(const toy_host *h, uint32_t n, void (*task)(void *arg, uint32_t i, uint32_t worker),
                        void *arg) {
    enum { MOST = 16 };
    pthread_t threads[MOST];
    share shares[MOST] = {{0}};
    uint32_t all = h->setup.threads < MOST ? h->setup.threads : MOST, started = 0;
    for (uint32_t k = 0; k < all; k++) shares[k] = (share){task, arg, k, all, n};
    while (started + 1 < all && !pthread_create(&threads[started], NULL, run_share, &shares[started + 1]))
        started++;
    run_share(&shares[0]);
    for (uint32_t k = started + 1; k < all; k++) run_share(&shares[k]); /* where no thread could be made */
    for (uint32_t k = 0; k < started; k++) pthread_join(threads[k], NULL);
}

static void parallel_for(void *ctx, uint32_t n, void (*task)(void *arg, uint32_t i, uint32_t worker),
                         void *arg) {
    toy_host *h = ctx;
    pthread_mutex_lock(&h->lock);
    int nested = h->busy++;
    pthread_mutex_unlock(&h->lock);
    if (nested) wrong(h, "parallel_for was called from inside a task");
    called(h, "parallel_for");
    if (h->setup.one_by_one || nested) {
        trace_task(1);
        for (uint32_t i = n; i-- > 0;) task(arg, i, i % h->setup.threads);
        trace_task(0);
    } else {
        run_threads(h, n, task, arg);
    }
    pthread_mutex_lock(&h->lock);
    h->busy--;
    pthread_mutex_unlock(&h->lock);
}

static uint32_t max_threads(void *ctx) {
    toy_host *h = ctx;
    called(h, "max_threads");
    return h->setup.threads;
}

/* ---- the other services ---- */

static int32_t tap_shape(void *ctx, const dukd_tap *tap, const int64_t in[4], int64_t out[4],
                         dukd_error *why) {
    (void)why;
    toy_host *h = ctx;
    int32_t scale = tap->layer ? 1 : h->setup.scale;
    pthread_mutex_lock(&h->lock);
    h->shape_calls++;
    pthread_mutex_unlock(&h->lock);
    if (h->setup.refuse_shapes) return 1;
    memcpy(out, (int64_t[4]){in[0], tap->layer ? 8 : in[1], in[2] * scale, in[3] * scale}, 4 * sizeof *out);
    return 0;
}

static void log_line(void *ctx, int32_t level, const char *message) {
    toy_host *h = ctx;
    called(h, "log");
    if (level < DUKD_LOG_DEBUG || level > DUKD_LOG_WARNING) wrong(h, "log has no level %d", level);
    if (!message || !message[0] || strchr(message, '\n'))
        wrong(h, "log was given %s, not one line of text", message ? message : "NULL");
}

static int32_t should_cancel(void *ctx) {
    toy_host *h = ctx;
    called(h, "should_cancel");
    pthread_mutex_lock(&h->lock);
    int32_t cancel = h->cancel;
    h->asked++;
    pthread_mutex_unlock(&h->lock);
    return cancel;
}

static const void *get_extension(void *ctx, const char *id) {
    called(ctx, "get_extension");
    if (!id) wrong(ctx, "get_extension was given NULL");
    return NULL;
}

/* ---- sessions ---- */

static void defaults(toy_setup *s) {
    if (!s->n) s->n = 2;
    if (!s->height) s->height = 8;
    if (!s->width) s->width = 8;
    if (!s->scale) s->scale = 2;
    if (!s->micro_count) s->micro_count = 1;
    if (!s->seed) s->seed = 7;
    if (!s->type.bits) s->type = toy_f32;
}

conform_result toy_prepare(conform *c, toy_session *t, toy_setup setup) {
    static const char *const names[TOY_NETWORKS] = {"student", "teacher", "features"};
    toy_host *h = &t->h;
    defaults(&setup);
    *t = (toy_session){.h.setup = setup};
    h->allocations_left = setup.allocations ? setup.allocations : INT64_MAX;
    if (setup.allocations < 0) h->allocations_left = 0;
    REQUIRE(c, !pthread_mutex_init(&h->lock, NULL), "no mutex");
    h->host = (dukd_host){
        .struct_size = DUKD_HOST_SIZE,
        .n_networks = TOY_NETWORKS,
        .ctx = h,
        .caps = DUKD_CAP_TWO_STEPS | DUKD_CAP_LAYERS | DUKD_CAP_DERIVED | DUKD_CAP_OTHER_GRAD |
                DUKD_CAP_MODE_TRAIN | DUKD_CAP_PARAMS,
        .networks = names,
        .tap_shape = tap_shape,
    };
    if (!setup.bare) {
        h->host.alloc = host_alloc;
        h->host.free = host_free;
        h->host.log = log_line;
        h->host.should_cancel = should_cancel;
        h->host.get_extension = get_extension;
    }
    if (setup.threads) {
        h->host.parallel_for = parallel_for;
        h->host.max_threads = max_threads;
    }
    const int64_t lr[4] = {setup.n, 3, setup.height, setup.width};
    const int64_t hr[4] = {setup.n, 3, setup.height * setup.scale, setup.width * setup.scale};
    REQUIRE(c,
            !toy_tensor_make(&h->lr, lr, setup.type, setup.layout) &&
                !toy_tensor_make(&h->hr, hr, setup.type, setup.layout),
            "the suite is out of memory");
    toy_fill(h, 0);
    t->params = (dukd_session_params){
        .struct_size = DUKD_SESSION_PARAMS_SIZE,
        .flags = setup.flags,
        .host = &h->host,
        .options = c->options,
        .n_options = c->n_options,
        .micro_count = setup.micro_count,
        .seed = setup.seed,
        .lr_shape = {lr[0], lr[1], lr[2], lr[3]},
        .scale = setup.scale,
        .dtype = setup.type,
        .device = {DUKD_DEVICE_CPU, 0},
    };
    return CONFORM_PASS;
}

/* Whether a session on the CPU can be asked for at all; else why not. */
static int cpu_usable(conform *c, char detail[256]) {
    uint32_t n = c->plugin->get_info()->n_backends;
    snprintf(detail, 256, "it has none");
    for (uint32_t i = 0; i < n; i++) {
        dukd_backend_info b = {.struct_size = DUKD_BACKEND_INFO_SIZE};
        if (c->plugin->query_backend(i, &b, NULL) != DUKD_OK || b.device_type != DUKD_DEVICE_CPU) continue;
        if (b.usable) return 1;
        snprintf(detail, 256, "%.200s", b.detail);
    }
    return 0;
}

conform_result toy_create(conform *c, toy_session *t) {
    dukd_error e = {.struct_size = DUKD_ERROR_SIZE};
    char detail[256];
    const toy_setup *u = &t->h.setup;
    int32_t code = c->plugin->create_session(&t->params, &t->s, &e);
    if (code == DUKD_E_UNSUPPORTED && (u->micro_count > 1 || u->flags || u->type.bits == 16))
        return conform_skip(c, "refused: %s", e.message);
    if (code != DUKD_OK && !cpu_usable(c, detail))
        return conform_skip(c, "no backend for the CPU is usable here: %s", detail);
    REQUIRE(c, code == DUKD_OK, "create_session gave %d: %s", code, e.message);
    REQUIRE(c, t->s, "create_session gave DUKD_OK, but no session");
    return toy_params_open(c, &t->own, t->s);
}

conform_result toy_open(conform *c, toy_session *t, toy_setup setup) {
    TRY(toy_prepare(c, t, setup));
    return toy_create(c, t);
}

void toy_destroy(conform *c, toy_session *t) {
    if (t->s) c->plugin->destroy_session(t->s);
    t->s = NULL;
    toy_params_free(&t->own);
}

void toy_close(conform *c, toy_session *t) {
    toy_destroy(c, t);
    for (toy_block *b = t->h.blocks, *next; b; b = next) {
        next = b->next;
        free(b->whole);
    }
    toy_tensor_free(&t->h.lr);
    toy_tensor_free(&t->h.hr);
    pthread_mutex_destroy(&t->h.lock);
}

static void fill(toy_tensor *t, int64_t first_sample, uint64_t salt) {
    int64_t image = t->shape[1] * t->shape[2] * t->shape[3], n = toy_count(t->shape);
    float *values = malloc((uint64_t)n * sizeof *values);
    if (!values) abort(); /* in the check's own process */
    for (int64_t i = 0; i < n; i++) {
        uint64_t sample = (uint64_t)(first_sample + i / image);
        values[i] = (float)toy_unit(salt + sample * 0x100000000u + (uint64_t)(i % image));
    }
    if (t->t.strides && t->strides[1] == 0) /* one plane: the first channel's */
        for (int64_t i = 0; i < n; i++)
            values[i] = values[i / image * image + i % (t->shape[2] * t->shape[3])];
    toy_write(&t->t, values);
    free(values);
}

void toy_fill(toy_host *h, int64_t first_sample) {
    fill(&h->lr, first_sample, 1);
    fill(&h->hr, first_sample, 0x4000000000000000u);
}
