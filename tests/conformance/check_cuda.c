/* Group cuda: sessions on a CUDA device. What needs a device is a skip where the plugin says that none is usable, or where the CUDA
 * runtime, by which the checks get device memory, cannot be opened (--cudart FILE names it). */
#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <time.h>

#include "conform.h"
#include "dukd_ext_graph.h"
#include "toy_step.h"

/* ---- the CUDA runtime, opened by hand: this program is built without it ---- */

enum { TO_DEVICE = 1, TO_HOST = 2, NON_BLOCKING = 1 };

typedef struct {
    int (*count)(int *devices);
    int (*set_device)(int device);
    int (*get_device)(int *device);
    int (*malloc)(void **p, size_t size);
    int (*free)(void *p);
    int (*copy)(void *to, const void *from, size_t size, int kind, void *stream);
    int (*new_stream)(void **stream, unsigned flags);
    int (*destroy_stream)(void *stream);
    int (*wait)(void *stream);
    int (*call_host)(void *stream, void (*function)(void *arg), void *arg);
    int (*begin_capture)(void *stream, int mode);
    int (*end_capture)(void *stream, void **graph);
    int (*instantiate)(void **executable, void *graph, unsigned long long flags);
    int (*launch_graph)(void *executable, void *stream);
    int (*destroy_graph)(void *graph);
    int (*destroy_executable)(void *executable);
    void *stream;
} cuda;

static int find(void *library, const char *name, void *function) {
    void *symbol = dlsym(library, name);
    memcpy(function, &symbol, sizeof symbol);
    return symbol != NULL;
}

static conform_result open_cuda(conform *c, cuda *u) {
    const char *const names[] = {c->cudart, "libcudart.so", "libcudart.so.13", "libcudart.so.12"};
    void *library = NULL;
    int devices = 0;
    for (size_t i = c->cudart == NULL;
         i < (c->cudart != NULL ? 1 : sizeof names / sizeof *names) && library == NULL; i++) {
        library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
    }
    if (library == NULL)
        return conform_skip(c, "the CUDA runtime cannot be opened (%s): name it by --cudart", dlerror());
    if (!find(library, "cudaGetDeviceCount", &u->count) || !find(library, "cudaSetDevice", &u->set_device) ||
        !find(library, "cudaGetDevice", &u->get_device) || !find(library, "cudaMalloc", &u->malloc) ||
        !find(library, "cudaFree", &u->free) || !find(library, "cudaMemcpyAsync", &u->copy) ||
        !find(library, "cudaStreamCreateWithFlags", &u->new_stream) ||
        !find(library, "cudaStreamDestroy", &u->destroy_stream) ||
        !find(library, "cudaStreamSynchronize", &u->wait) ||
        !find(library, "cudaLaunchHostFunc", &u->call_host) ||
        !find(library, "cudaStreamBeginCapture", &u->begin_capture) ||
        !find(library, "cudaStreamEndCapture", &u->end_capture) ||
        !find(library, "cudaGraphInstantiateWithFlags", &u->instantiate) ||
        !find(library, "cudaGraphLaunch", &u->launch_graph) ||
        !find(library, "cudaGraphDestroy", &u->destroy_graph) ||
        !find(library, "cudaGraphExecDestroy", &u->destroy_executable)) {
        return conform_skip(c, "this CUDA runtime lacks a function: %s", dlerror());
    }
    if (u->count(&devices) || devices == 0 || u->new_stream(&u->stream, NON_BLOCKING)) {
        return conform_skip(c, "the CUDA runtime finds no device");
    }
    return CONFORM_PASS;
}

/* Ends the check's process where a copy fails: there is nothing to go on with. */
static void *device_copy(const cuda *u, const void *from, size_t size) {
    void *p = NULL;
    if (u->malloc(&p, size) || u->copy(p, from, size, TO_DEVICE, u->stream) || u->wait(u->stream)) abort();
    return p;
}

static void fetch(const cuda *u, void *to, const void *from, size_t size) {
    if (u->copy(to, from, size, TO_HOST, u->stream) || u->wait(u->stream)) abort();
}

/* ---- what the plugin says ---- */

static int find_backend(conform *c, dukd_backend_info *info) {
    const dukd_plugin_info *about = c->plugin->get_info();
    for (uint32_t i = 0; i < about->n_backends; i++) {
        *info = (dukd_backend_info){.struct_size = DUKD_BACKEND_INFO_SIZE};
        if (c->plugin->query_backend(i, info, NULL) == DUKD_OK && info->device_type == DUKD_DEVICE_CUDA)
            return 1;
    }
    return 0;
}

/* A skip where no session can be made on a device. */
static conform_result need_device(conform *c, cuda *u) {
    dukd_backend_info info;
    if (!find_backend(c, &info)) return conform_skip(c, "the plugin has no CUDA backend");
    if (info.usable == 0) return conform_skip(c, "not usable here: %s", info.detail);
    return open_cuda(c, u);
}

static conform_result cuda_reason(conform *c) {
    dukd_backend_info info;
    dukd_error e = {.struct_size = DUKD_ERROR_SIZE};
    toy_session t;
    if (!find_backend(c, &info)) return conform_skip(c, "the plugin has no CUDA backend");
    TRY(toy_prepare(c, &t, (toy_setup){.bare = 1}));
    t.params.device = (dukd_device){DUKD_DEVICE_CUDA, 0};
    const int32_t code = c->plugin->create_session(&t.params, &t.s, &e);
    if (info.usable) {
        REQUIRE(c, code == DUKD_OK && t.s, "CUDA is usable (%s), but create_session gave %d: %s", info.detail,
                code, e.message);
    } else {
        REQUIRE(c, code < 0 && !t.s, "CUDA is not usable (%s), but create_session gave %d", info.detail,
                code);
        REQUIRE(c, strlen(e.message) > 10, "a session on CUDA is refused, but \"%s\" is no reason",
                e.message);
    }
    toy_close(c, &t);
    return CONFORM_PASS;
}

/* ---- a step, on the CPU (u NULL) or on a device ---- */

typedef struct {
    float *values; /* inputs and gradients in their order */
    int64_t count;
    double total;
} outcome;

static void keep(outcome *o, const float *values, int64_t n) {
    o->values = realloc(o->values, (uint64_t)(o->count + n) * sizeof *values);
    if (!o->values) abort();
    memcpy(o->values + o->count, values, (uint64_t)n * sizeof *values);
    o->count += n;
}

/* An input's values, wherever it lies. */
static void keep_input(outcome *o, const cuda *u, const dukd_tensor *x) {
    const uint8_t *first;
    uint64_t size;
    dukd_tensor here = *x;
    toy_extent(x, &first, &size);
    uint8_t *copy = malloc(size);
    if (!copy) abort();
    if (u) {
        fetch(u, copy, first, size);
        here.data = copy + ((const uint8_t *)x->data - first);
    }
    float *values = toy_values(&here);
    keep(o, values, toy_count(x->shape));
    free(values);
    free(copy);
}

typedef struct {
    dukd_tensor value, grad;
    int64_t shape[4], count;
    float *here;
} tap_room;

static dukd_tensor dense(const cuda *u, float *values, int64_t *shape) {
    const size_t size = (size_t)toy_count(shape) * sizeof *values;
    return (dukd_tensor){.data = u ? device_copy(u, values, size) : values,
                         .device = {u ? DUKD_DEVICE_CUDA : DUKD_DEVICE_CPU, 0},
                         .ndim = 4,
                         .dtype = toy_f32,
                         .shape = shape};
}

static conform_result one_pass(conform *c, toy_session *t, const cuda *u, const dukd_pass *pass, outcome *o) {
    tap_room rooms[TOY_MAX_TAPS];
    const dukd_tensor *values[TOY_MAX_TAPS], *grads[TOY_MAX_TAPS];
    dukd_error e = {.struct_size = DUKD_ERROR_SIZE};
    REQUIRE(c, pass->n_taps <= TOY_MAX_TAPS, "pass %u has %u taps, more than these checks hold", pass->id,
            pass->n_taps);
    for (uint32_t i = 0; i < pass->n_inputs; i++) keep_input(o, u, pass->inputs[i]->tensor);
    for (uint32_t i = 0; i < pass->n_taps; i++) {
        const dukd_tap *tap = pass->taps[i];
        tap_room *r = &rooms[i];
        const int64_t *in = tap->source_kind == DUKD_SOURCE_INPUT
                                ? pass->inputs[tap->source_id]->tensor->shape
                                : rooms[tap->source_id].shape;
        REQUIRE(c, t->h.host.tap_shape(t->h.host.ctx, tap, in, r->shape, NULL) == 0, "tap %u has no shape",
                i);
        r->count = toy_count(r->shape);
        r->here = malloc((uint64_t)r->count * sizeof *r->here);
        float *grad = malloc((uint64_t)r->count * sizeof *grad);
        if (!r->here || !grad) abort();
        for (int64_t k = 0; k < r->count; k++) {
            r->here[k] = (float)toy_unit((uint64_t)k * 64 + pass->plan_index * 8 + i);
            grad[k] = NAN;
        }
        r->value = dense(u, r->here, r->shape);
        r->grad = dense(u, grad, r->shape);
        if (u) free(grad);
        values[i] = &r->value;
        grads[i] = tap->flags & DUKD_TAP_WANT_GRAD ? &r->grad : NULL;
    }
    const dukd_submit submit = {.struct_size = DUKD_SUBMIT_SIZE,
                                .pass_id = pass->id,
                                .n_taps = pass->n_taps,
                                .values = values,
                                .grads = grads,
                                .grad_scale = 1};
    const int32_t code = c->plugin->submit_pass(t->s, &submit, &e);
    REQUIRE(c, code == DUKD_OK, "submit_pass gave %d: %s", code, e.message);
    for (uint32_t i = 0; i < pass->n_taps; i++) {
        tap_room *r = &rooms[i];
        float *grad = u ? r->here : r->grad.data;
        if (u) fetch(u, grad, r->grad.data, (size_t)r->count * sizeof *grad);
        if (grads[i]) keep(o, grad, r->count);
        if (u && (u->free(r->value.data) || u->free(r->grad.data))) abort();
        if (!u) free(r->grad.data);
        free(r->here);
    }
    return CONFORM_PASS;
}

static conform_result one_step(conform *c, const cuda *u, outcome *o) {
    toy_session t;
    const dukd_pass *pass;
    dukd_error e = {.struct_size = DUKD_ERROR_SIZE};
    dukd_losses losses = {.struct_size = DUKD_LOSSES_SIZE};
    int32_t code;
    int before = -1, after = -1;
    *o = (outcome){0};
    TRY(toy_prepare(c, &t, (toy_setup){.bare = 1, .n = 3}));
    if (u) t.params.device = (dukd_device){DUKD_DEVICE_CUDA, 0};
    TRY(toy_create(c, &t));
    toy_fill(&t.h, 0);
    float *x = toy_values(&t.h.lr.t), *y = toy_values(&t.h.hr.t);
    if (!x || !y) abort();
    dukd_tensor lr = dense(u, x, t.h.lr.shape), hr = dense(u, y, t.h.hr.shape);
    const dukd_step step = {.struct_size = DUKD_STEP_SIZE,
                            .iteration = 5,
                            .micro_count = 1,
                            .lr = &lr,
                            .hr = &hr,
                            .stream = u ? u->stream : NULL};
    if (u && u->get_device(&before)) abort();
    code = c->plugin->begin_step(t.s, &step, &e);
    REQUIRE(c, code == DUKD_OK, "begin_step gave %d: %s", code, e.message);
    while ((code = c->plugin->next_pass(t.s, &pass, &e)) == DUKD_OK) TRY(one_pass(c, &t, u, pass, o));
    REQUIRE(c, code == DUKD_STEP_DONE, "next_pass gave %d: %s", code, e.message);
    code = c->plugin->end_step(t.s, &e);
    REQUIRE(c, code == DUKD_OK, "end_step gave %d: %s", code, e.message);
    code = c->plugin->read_losses(t.s, &losses, &e);
    REQUIRE(c, code == DUKD_OK, "read_losses gave %d: %s", code, e.message);
    for (uint32_t i = 0; i < losses.n_losses; i++)
        if (strcmp(losses.names[i], "l_total") == 0) o->total = losses.values[i];
    if (u && (u->get_device(&after) || u->free(lr.data) || u->free(hr.data))) abort();
    REQUIRE(c, before == after, "device %d was current before the step, and device %d after it", before,
            after);
    free(x);
    free(y);
    toy_close(c, &t);
    return CONFORM_PASS;
}

static conform_result cuda_equals_cpu(conform *c) {
    cuda u;
    outcome cpu, device;
    double largest = 0, difference = 0;
    TRY(need_device(c, &u));
    TRY(one_step(c, NULL, &cpu));
    TRY(one_step(c, &u, &device));
    REQUIRE(c, cpu.count == device.count, "%lld values on the CPU, %lld on CUDA", (long long)cpu.count,
            (long long)device.count);
    for (int64_t i = 0; i < cpu.count; i++) {
        const double d = fabs((double)cpu.values[i] - (double)device.values[i]);
        REQUIRE(c, isfinite(device.values[i]) || !isfinite(cpu.values[i]), "value %lld is not finite on CUDA",
                (long long)i);
        if (fabs((double)cpu.values[i]) > largest) largest = fabs((double)cpu.values[i]);
        if (d > difference) difference = d;
    }
    REQUIRE(c, difference <= 1e-5 * largest, "inputs and gradients differ by %g of at most %g", difference,
            largest);
    REQUIRE(c, fabs(cpu.total - device.total) <= 1e-6 * fabs(cpu.total),
            "l_total is %.9g on the CPU and %.9g on CUDA", cpu.total, device.total);
    free(cpu.values);
    free(device.values);
    if (u.destroy_stream(u.stream)) return conform_fail(c, "the step's stream cannot be destroyed");
    return CONFORM_PASS;
}

static conform_result cuda_refuses_host_tensors(conform *c) {
    cuda u;
    toy_session t;
    dukd_error e = {.struct_size = DUKD_ERROR_SIZE};
    TRY(need_device(c, &u));
    TRY(toy_prepare(c, &t, (toy_setup){.bare = 1}));
    t.params.device = (dukd_device){DUKD_DEVICE_CUDA, 0};
    TRY(toy_create(c, &t));
    const dukd_step step = {.struct_size = DUKD_STEP_SIZE,
                            .iteration = 1,
                            .micro_count = 1,
                            .lr = &t.h.lr.t,
                            .hr = &t.h.hr.t,
                            .stream = u.stream};
    const int32_t code = c->plugin->begin_step(t.s, &step, &e);
    REQUIRE(c, code == DUKD_E_ARGUMENT, "begin_step took a batch in host memory: it gave %d", code);
    REQUIRE(c, strlen(e.message) > 10, "a batch in host memory is refused without a reason");
    toy_close(c, &t);
    if (u.destroy_stream(u.stream)) return conform_fail(c, "the stream cannot be destroyed");
    return CONFORM_PASS;
}

/* ---- a session whose tensors are on the device before a step begins, so that a step has nothing to wait for ---- */

enum { MOST_PASSES = 8, GLOBAL_CAPTURE = 0, PATIENCE = 5 /* seconds */ };

typedef struct {
    toy_session t;
    dukd_tensor lr, hr;
    tap_room room[MOST_PASSES][TOY_MAX_TAPS];
    const dukd_plan *plan;
} prepared;

static conform_result prepare(conform *c, const cuda *u, prepared *p) {
    dukd_error e = {.struct_size = DUKD_ERROR_SIZE};
    TRY(toy_prepare(c, &p->t, (toy_setup){.bare = 1, .n = 3}));
    p->t.params.device = (dukd_device){DUKD_DEVICE_CUDA, 0};
    TRY(toy_create(c, &p->t));
    toy_fill(&p->t.h, 0);
    float *x = toy_values(&p->t.h.lr.t), *y = toy_values(&p->t.h.hr.t);
    if (!x || !y) abort();
    p->lr = dense(u, x, p->t.h.lr.shape);
    p->hr = dense(u, y, p->t.h.hr.shape);
    free(x);
    free(y);
    const int32_t code = c->plugin->get_plan(p->t.s, &p->plan, &e);
    REQUIRE(c, code == DUKD_OK, "get_plan gave %d: %s", code, e.message);
    for (uint32_t k = 0; k < p->plan->n_passes; k++) {
        const dukd_pass *pass = p->plan->passes[k];
        REQUIRE(c, k < MOST_PASSES && pass->n_taps <= TOY_MAX_TAPS, "a plan larger than these checks hold");
        for (uint32_t i = 0; i < pass->n_taps; i++) {
            const dukd_tap *tap = pass->taps[i];
            tap_room *r = &p->room[k][i];
            const int64_t *in = tap->source_kind == DUKD_SOURCE_INPUT
                                    ? pass->inputs[tap->source_id]->tensor->shape
                                    : p->room[k][tap->source_id].shape;
            REQUIRE(c, p->t.h.host.tap_shape(p->t.h.host.ctx, tap, in, r->shape, NULL) == 0,
                    "tap %u has no shape", i);
            r->count = toy_count(r->shape);
            r->here = malloc((uint64_t)r->count * sizeof *r->here);
            if (!r->here) abort();
            for (int64_t n = 0; n < r->count; n++) r->here[n] = (float)toy_unit((uint64_t)n * 64 + k * 8 + i);
            r->value = dense(u, r->here, r->shape);
            r->grad = dense(u, r->here, r->shape);
        }
    }
    return CONFORM_PASS;
}

static dukd_step step_of(const prepared *p, const cuda *u, int64_t iteration) {
    return (dukd_step){.struct_size = DUKD_STEP_SIZE,
                       .iteration = iteration,
                       .first_sample = 3 * iteration,
                       .micro_count = 1,
                       .lr = &p->lr,
                       .hr = &p->hr,
                       .stream = u->stream};
}

/* begin_step to end_step, and nothing of our own between the plugin's calls. */
static conform_result run_prepared(conform *c, const cuda *u, prepared *p, int64_t iteration) {
    const dukd_step step = step_of(p, u, iteration);
    const dukd_pass *pass;
    dukd_error e = {.struct_size = DUKD_ERROR_SIZE};
    int32_t code = c->plugin->begin_step(p->t.s, &step, &e);
    REQUIRE(c, code == DUKD_OK, "begin_step gave %d: %s", code, e.message);
    while ((code = c->plugin->next_pass(p->t.s, &pass, &e)) == DUKD_OK) {
        const dukd_tensor *values[TOY_MAX_TAPS], *grads[TOY_MAX_TAPS];
        for (uint32_t i = 0; i < pass->n_taps; i++) {
            tap_room *r = &p->room[pass->plan_index][i];
            values[i] = &r->value;
            grads[i] = pass->taps[i]->flags & DUKD_TAP_WANT_GRAD ? &r->grad : NULL;
        }
        const dukd_submit submit = {.struct_size = DUKD_SUBMIT_SIZE,
                                    .pass_id = pass->id,
                                    .n_taps = pass->n_taps,
                                    .values = values,
                                    .grads = grads,
                                    .grad_scale = 1};
        code = c->plugin->submit_pass(p->t.s, &submit, &e);
        REQUIRE(c, code == DUKD_OK, "submit_pass gave %d: %s", code, e.message);
    }
    REQUIRE(c, code == DUKD_STEP_DONE, "next_pass gave %d: %s", code, e.message);
    code = c->plugin->end_step(p->t.s, &e);
    REQUIRE(c, code == DUKD_OK, "end_step gave %d: %s", code, e.message);
    return CONFORM_PASS;
}

/* Gradients and l_total of the last step. */
static conform_result what_came(conform *c, const cuda *u, prepared *p, outcome *o) {
    dukd_error e = {.struct_size = DUKD_ERROR_SIZE};
    dukd_losses losses = {.struct_size = DUKD_LOSSES_SIZE};
    *o = (outcome){0};
    const int32_t code = c->plugin->read_losses(p->t.s, &losses, &e);
    REQUIRE(c, code == DUKD_OK, "read_losses gave %d: %s", code, e.message);
    for (uint32_t i = 0; i < losses.n_losses; i++)
        if (strcmp(losses.names[i], "l_total") == 0) o->total = losses.values[i];
    for (uint32_t k = 0; k < p->plan->n_passes; k++) {
        for (uint32_t i = 0; i < p->plan->passes[k]->n_taps; i++) {
            tap_room *r = &p->room[k][i];
            if (!(p->plan->passes[k]->taps[i]->flags & DUKD_TAP_WANT_GRAD)) continue;
            fetch(u, r->here, r->grad.data, (size_t)r->count * sizeof *r->here);
            keep(o, r->here, r->count);
        }
    }
    return CONFORM_PASS;
}

static void release(conform *c, const cuda *u, prepared *p) {
    for (uint32_t k = 0; k < p->plan->n_passes; k++) {
        for (uint32_t i = 0; i < p->plan->passes[k]->n_taps; i++) {
            tap_room *r = &p->room[k][i];
            if (u->free(r->value.data) || u->free(r->grad.data)) abort();
            free(r->here);
        }
    }
    if (u->free(p->lr.data) || u->free(p->hr.data)) abort();
    toy_close(c, &p->t);
}

typedef struct {
    volatile int open, gave_up;
} gate;

/* In the stream: nothing behind it runs before the gate is open. */
static void wait_at_gate(void *arg) {
    gate *g = arg;
    const struct timespec moment = {0, 1000000};
    for (int i = 0; !g->open && i < PATIENCE * 1000; i++) nanosleep(&moment, NULL);
    g->gave_up = !g->open;
}

static conform_result cuda_waits_for_nothing(conform *c) {
    cuda u;
    static prepared p;
    gate g = {0, 0};
    outcome free_run, gated;
    TRY(need_device(c, &u));
    TRY(prepare(c, &u, &p));
    TRY(run_prepared(c, &u, &p, 4));
    TRY(what_came(c, &u, &p, &free_run));
    if (u.call_host(u.stream, wait_at_gate, &g)) abort();
    const conform_result run = run_prepared(c, &u, &p, 4);
    g.open = 1;
    TRY(run);
    TRY(what_came(c, &u, &p, &gated));
    REQUIRE(c, !g.gave_up, "begin_step to end_step waited for the step's stream");
    REQUIRE(c,
            free_run.count == gated.count && free_run.total == gated.total &&
                memcmp(free_run.values, gated.values, (size_t)gated.count * sizeof *gated.values) == 0,
            "a step behind other work on its stream gave something else: not all of it is on the stream");
    free(free_run.values);
    free(gated.values);
    release(c, &u, &p);
    if (u.destroy_stream(u.stream)) return conform_fail(c, "the stream cannot be destroyed");
    return CONFORM_PASS;
}

static conform_result cuda_replays(conform *c) {
    cuda u;
    static prepared eager, captured;
    void *graph = NULL, *executable = NULL;
    dukd_error e = {.struct_size = DUKD_ERROR_SIZE};
    TRY(need_device(c, &u));
    const dukd_ext_graph *ext = c->plugin->get_extension(DUKD_EXT_GRAPH);
    if (!ext) return conform_skip(c, "the plugin has no extension " DUKD_EXT_GRAPH);
    TRY(prepare(c, &u, &eager));
    TRY(prepare(c, &u, &captured));
    TRY(run_prepared(c, &u, &captured, 1));
    if (u.begin_capture(u.stream, GLOBAL_CAPTURE)) abort();
    const conform_result run = run_prepared(c, &u, &captured, 9);
    const int broken = u.end_capture(u.stream, &graph);
    TRY(run);
    REQUIRE(c, !broken, "the capture of a step's stream was broken (CUDA error %d)", broken);
    if (u.instantiate(&executable, graph, 0) || u.destroy_graph(graph)) abort();
    for (int64_t i = 2; i < 6; i++) {
        outcome a, b;
        const dukd_step step = step_of(&captured, &u, i);
        TRY(run_prepared(c, &u, &eager, i));
        TRY(what_came(c, &u, &eager, &a));
        const int32_t code = ext->before_replay(captured.t.s, &step, &e);
        REQUIRE(c, code == DUKD_OK, "before_replay gave %d: %s", code, e.message);
        if (u.launch_graph(executable, u.stream)) abort();
        TRY(what_came(c, &u, &captured, &b));
        REQUIRE(c, a.count == b.count && memcmp(a.values, b.values, (size_t)a.count * sizeof *a.values) == 0,
                "gradients of iteration %lld are others when it is replayed", (long long)i);
        REQUIRE(c, a.total == b.total, "l_total of iteration %lld is %.9g, replayed %.9g", (long long)i,
                a.total, b.total);
        free(a.values);
        free(b.values);
    }
    if (u.destroy_executable(executable)) abort();
    release(c, &u, &eager);
    release(c, &u, &captured);
    if (u.destroy_stream(u.stream)) return conform_fail(c, "the stream cannot be destroyed");
    return CONFORM_PASS;
}

static const conform_check checks[] = {
    {"cuda-reason",
     "a session on a CUDA device can be made where query_backend says usable, else it is refused with a "
     "reason",
     cuda_reason},
    {"cuda-equals-cpu",
     "inputs, gradients and l_total are those of the CPU; the current device is the caller's again",
     cuda_equals_cpu},
    {"cuda-host-tensors", "a batch in host memory is refused by a session on a device",
     cuda_refuses_host_tensors},
    {"cuda-no-wait", "begin_step to end_step only enqueue, on the step's stream", cuda_waits_for_nothing},
    {"cuda-graph",
     "a step that was captured and is replayed gives what it gives without a graph (dukd.graph/1)",
     cuda_replays},
};
const conform_group conform_cuda = {"cuda", "sessions on a CUDA device", 0, checks,
                                    sizeof checks / sizeof *checks};
