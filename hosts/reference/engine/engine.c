/* The engine's face: checks what callers pass, keeps what was compiled, and hands the work to a backend. */
#include "engine/engine.h"

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/engine_state.h"

enum { MAX_THREADS = 1024, MAX_OUTPUTS = 64, MAX_BATCH = 65536, MAX_SIDE = 65536 };

static const dukd_backend *const backends[] = {&dukd_backend_onednn};

struct dukd_network {
    dukd_engine *engine;
    const dukd_graph *graph;
    void *state;
    int has_weights;
    dukd_exec *execs; /* linked by `next` */
};

struct dukd_exec {
    dukd_network *network;
    void *state;        /* with drop paths that do nothing */
    void *dropping;     /* with drop paths; NULL until it is needed */
    void *last;         /* the one that ran last */
    const float *drops; /* for the next forward; NULL: none */
    dukd_gradient_listener listener;
    dukd_exec_spec spec; /* outputs are owned, output_count is at least 1 */
    dukd_exec *next;
};

int dukd_engine_enter(const dukd_engine *e) {
    int before = omp_get_max_threads();
    omp_set_num_threads(e->info.threads);
    return before;
}

void dukd_engine_leave(int before) {
    omp_set_num_threads(before);
}

static int open_backend(dukd_engine **out, const dukd_backend *backend, const dukd_engine_options *o,
                        dukd_failure *f) {
    dukd_engine *e = calloc(1, sizeof *e);
    if (!e) return dukd_fail_memory(f, "an engine", sizeof *e);
    e->backend = backend;
    e->info.name = backend->name;
    e->info.threads = o->threads ? o->threads : omp_get_max_threads();
    int before = dukd_engine_enter(e);
    e->place = (dukd_engine_place){.on_host = 1, .device_type = 1};
    int status = backend->engine_create(&e->state, o, &e->info, &e->place, f);
    dukd_engine_leave(before);
    if (status != DUKD_DONE) {
        free(e);
        return status;
    }
    *out = e;
    return DUKD_DONE;
}

static int open_cuda(dukd_engine **out, const dukd_engine_options *o, dukd_failure *f) {
    dukd_failure why = {0}; /* the module's reason may come without a place for it */
    const dukd_backend *backend = dukd_backend_cuda_open(&why);
    return backend ? open_backend(out, backend, o, f) : dukd_fail(f, why.status, "%s", why.message);
}

static int open_auto(dukd_engine **out, const dukd_engine_options *o, dukd_failure *f) {
    dukd_failure why = {0};
    if (o->without_cuda)
        dukd_fail(&why, DUKD_FAILED, "%s", o->without_cuda);
    else if (open_cuda(out, o, &why) == DUKD_DONE)
        return DUKD_DONE;
    const int status = open_backend(out, backends[0], o, f);
    if (status == DUKD_DONE)
        snprintf((*out)->info.passed_over, sizeof(*out)->info.passed_over, "%.255s", why.message);
    return status;
}

int dukd_engine_open(dukd_engine **out, const dukd_engine_options *o, dukd_failure *f) {
    *out = NULL;
    if (o->threads < 0 || o->threads > MAX_THREADS)
        return dukd_fail(f, DUKD_MISUSED, "an engine with %d threads: 0 (all) to %d are possible",
                         (int)o->threads, MAX_THREADS);
    if (strcmp(o->name, "auto") == 0) return open_auto(out, o, f);
    if (strcmp(o->name, "cuda") == 0) return open_cuda(out, o, f);
    for (size_t i = 0; i < sizeof backends / sizeof *backends; i++)
        if (strcmp(o->name, backends[i]->name) == 0) return open_backend(out, backends[i], o, f);
    return dukd_fail(f, DUKD_MISUSED, "there is no engine '%s'; there are: %s, cuda", o->name,
                     backends[0]->name);
}

int dukd_engine_create(dukd_engine **out, const char *name, int32_t threads, dukd_failure *f) {
    return dukd_engine_open(out, &(dukd_engine_options){.name = name, .threads = threads, .device = -1}, f);
}

void dukd_engine_list(dukd_engine_choice out[DUKD_ENGINES]) {
    static const char *const names[DUKD_ENGINES] = {"onednn", "cuda"};
    for (int i = 0; i < DUKD_ENGINES; i++) {
        dukd_engine *e = NULL;
        dukd_failure why = {0};
        out[i] = (dukd_engine_choice){.name = names[i]};
        out[i].usable = dukd_engine_create(&e, names[i], 0, &why) == DUKD_DONE;
        if (out[i].usable)
            snprintf(out[i].detail, sizeof out[i].detail, "%s, %s", e->info.library, e->info.instruction_set);
        else
            snprintf(out[i].detail, sizeof out[i].detail, "%.319s", why.message);
        dukd_engine_destroy(e);
    }
}

void dukd_engine_destroy(dukd_engine *e) {
    if (!e) return;
    e->backend->engine_destroy(e->state);
    free(e);
}

const dukd_engine_info *dukd_engine_get_info(const dukd_engine *e) {
    return &e->info;
}

void dukd_engine_memory(const dukd_engine *e, int64_t *now, int64_t *peak) {
    e->backend->engine_memory(e->state, now, peak);
}

void dukd_engine_set_clock(dukd_engine *e, double (*now)(void)) {
    e->backend->engine_set_clock(e->state, now);
}

int32_t dukd_engine_times(dukd_engine *e, dukd_engine_time *out, int32_t room) {
    return e->backend->engine_times(e->state, out, room);
}

int dukd_network_create(dukd_network **out, dukd_engine *e, const dukd_graph *g, dukd_precision precision,
                        dukd_failure *f) {
    *out = NULL;
    if (precision != DUKD_F32 && precision != DUKD_BF16)
        return dukd_fail(f, DUKD_MISUSED, "a network's precision is f32 or bf16, not %d", (int)precision);
    dukd_network *n = calloc(1, sizeof *n);
    if (!n) return dukd_fail_memory(f, "a network", sizeof *n);
    n->engine = e;
    n->graph = g;
    int status = e->backend->network_create(&n->state, e->state, g, precision, f);
    if (status != DUKD_DONE) {
        free(n);
        return status;
    }
    *out = n;
    return DUKD_DONE;
}

static void exec_free(dukd_exec *x) {
    if (!x) return;
    if (x->network->engine->kept == x) x->network->engine->kept = NULL;
    if (x->state) x->network->engine->backend->exec_destroy(x->state);
    if (x->dropping) x->network->engine->backend->exec_destroy(x->dropping);
    free((void *)(uintptr_t)x->spec.outputs); /* owned, const for those who read */
    free(x);
}

void dukd_network_destroy(dukd_network *n) {
    if (!n) return;
    while (n->execs) {
        dukd_exec *next = n->execs->next;
        exec_free(n->execs);
        n->execs = next;
    }
    n->engine->backend->network_destroy(n->state);
    free(n);
}

dukd_engine *dukd_network_engine(const dukd_network *n) {
    return n->engine;
}

int dukd_network_set_weights(dukd_network *n, const float *weights, dukd_failure *f) {
    int before = dukd_engine_enter(n->engine);
    int status = n->engine->backend->network_set_weights(n->state, weights, f);
    dukd_engine_leave(before);
    n->has_weights = status == DUKD_DONE;
    return status;
}

static int check_spec(const dukd_network *n, const dukd_exec_spec *s, dukd_failure *f) {
    if (s->purpose != DUKD_INFER && s->purpose != DUKD_TRAIN)
        return dukd_fail(f, DUKD_MISUSED, "compiling a network: purpose %d is neither inference nor training",
                         (int)s->purpose);
    if (s->batch < 1 || s->batch > MAX_BATCH)
        return dukd_fail(f, DUKD_MISUSED, "compiling a network: a batch of %d images; 1 to %d are possible",
                         (int)s->batch, MAX_BATCH);
    if (s->height < 1 || s->width < 1 || s->height > MAX_SIDE || s->width > MAX_SIDE)
        return dukd_fail(
            f, DUKD_MISUSED,
            "compiling a network for images of %d x %d pixels (width x height): 1 to %d a side are possible",
            (int)s->width, (int)s->height, MAX_SIDE);
    if (s->output_count < 0 || s->output_count > MAX_OUTPUTS || (s->output_count > 0 && !s->outputs))
        return dukd_fail(f, DUKD_MISUSED, "compiling a network with %d outputs; up to %d are possible",
                         (int)s->output_count, MAX_OUTPUTS);
    for (int32_t i = 0; i < s->output_count; i++)
        if (s->outputs[i] < 0 || s->outputs[i] >= dukd_graph_op_count(n->graph))
            return dukd_fail(f, DUKD_MISUSED,
                             "compiling a network: output %d is value %d, which its graph does not have",
                             (int)i, (int)s->outputs[i]);
    return dukd_graph_check_size(n->graph, s->height, s->width, f);
}

static int same_spec(const dukd_exec_spec *a, const dukd_exec_spec *b) {
    return a->purpose == b->purpose && a->batch == b->batch && a->height == b->height &&
           a->width == b->width && a->output_count == b->output_count &&
           memcmp(a->outputs, b->outputs, (size_t)a->output_count * sizeof *a->outputs) == 0;
}

int dukd_network_compile(dukd_network *n, const dukd_exec_spec *spec, dukd_exec **out, dukd_failure *f) {
    *out = NULL;
    int status = check_spec(n, spec, f);
    if (status != DUKD_DONE) return status;
    dukd_exec_spec s = *spec;
    dukd_value whole = dukd_graph_output(n->graph);
    if (s.output_count == 0) {
        s.output_count = 1;
        s.outputs = &whole;
    }
    for (dukd_exec *x = n->execs; x; x = x->next)
        if (same_spec(&x->spec, &s)) {
            *out = x;
            return DUKD_DONE;
        }

    size_t bytes = (size_t)s.output_count * sizeof *s.outputs;
    dukd_exec *x = calloc(1, sizeof *x);
    dukd_value *outputs = malloc(bytes);
    if (!x || !outputs) {
        free(x);
        free(outputs);
        return dukd_fail_memory(f, "compiling a network", sizeof *x + bytes);
    }
    memcpy(outputs, s.outputs, bytes);
    x->network = n;
    x->spec = s;
    x->spec.outputs = outputs;
    int before = dukd_engine_enter(n->engine);
    status = n->engine->backend->exec_create(&x->state, n->state, &x->spec, 0, f);
    dukd_engine_leave(before);
    if (status != DUKD_DONE) {
        exec_free(x);
        return status;
    }
    x->next = n->execs;
    n->execs = x;
    *out = x;
    return DUKD_DONE;
}

void dukd_exec_set_drops(dukd_exec *x, const float *factors) {
    x->drops = factors;
}

void dukd_exec_set_listener(dukd_exec *x, const dukd_gradient_listener *listener) {
    x->listener = listener ? *listener : (dukd_gradient_listener){0};
}

/* The state that computes with the drop paths as they are set. */
static int choose_state(dukd_exec *x, dukd_failure *f) {
    const dukd_network *n = x->network;
    x->last = x->state;
    if (!x->drops || dukd_graph_drop_count(n->graph) == 0) return DUKD_DONE;
    int status = DUKD_DONE;
    if (!x->dropping) status = n->engine->backend->exec_create(&x->dropping, n->state, &x->spec, 1, f);
    x->last = x->dropping;
    return status;
}

int dukd_exec_forward(dukd_exec *x, int32_t images, const float *input, float *const *outputs,
                      dukd_failure *f) {
    dukd_network *n = x->network;
    dukd_engine *e = n->engine;
    if (!n->has_weights) return dukd_fail(f, DUKD_MISUSED, "a network is run before it has weights");
    if (images < 1 || images > x->spec.batch || (x->spec.purpose == DUKD_TRAIN && images != x->spec.batch))
        return dukd_fail(f, DUKD_MISUSED, "a network compiled for %s%d images is run on %d",
                         x->spec.purpose == DUKD_TRAIN ? "training on " : "up to ", (int)x->spec.batch,
                         (int)images);
    if (x->spec.purpose == DUKD_TRAIN) e->kept = NULL;
    int before = dukd_engine_enter(e);
    int status = choose_state(x, f);
    if (status == DUKD_DONE) status = e->backend->exec_forward(x->last, images, input, outputs, x->drops, f);
    dukd_engine_leave(before);
    if (status == DUKD_DONE && x->spec.purpose == DUKD_TRAIN) e->kept = x;
    return status;
}

/* Are there steps that cannot leave out the parameters' gradients? */
static int needs_weights_gradient(const dukd_graph *g) {
    for (int32_t i = 0; i < dukd_graph_op_count(g); i++) {
        const dukd_op_kind kind = dukd_graph_op(g, i)->kind;
        if (kind == DUKD_OP_LAYER_NORM || kind == DUKD_OP_ATTENTION) return 1;
    }
    return 0;
}

int dukd_exec_backward(dukd_exec *x, const float *const *d_outputs, float *d_weights, float *d_input,
                       dukd_failure *f) {
    dukd_engine *e = x->network->engine;
    if (x->spec.purpose != DUKD_TRAIN)
        return dukd_fail(f, DUKD_MISUSED, "backward through a network that was compiled for inference");
    if (e->kept != x)
        return dukd_fail(
            f, DUKD_MISUSED,
            "backward without its forward: the last training forward of this engine was another's, or "
            "its backward was run already");
    if (!d_weights && needs_weights_gradient(x->network->graph))
        return dukd_fail(f, DUKD_MISUSED,
                         "backward through a network with layer norms or attention wants room for its "
                         "parameters' gradients: it cannot be a frozen one that gradients pass through");
    e->kept = NULL; /* backward reuses the memory of what it no longer needs */
    int before = dukd_engine_enter(e);
    const dukd_gradient_listener *listener = x->listener.ready && d_weights ? &x->listener : NULL;
    int status = e->backend->exec_backward(x->last, d_outputs, d_weights, d_input, listener, f);
    dukd_engine_leave(before);
    if (status == DUKD_DONE && listener && !e->backend->announces)
        listener->ready(listener->ctx, 0, dukd_graph_weights(x->network->graph));
    return status;
}
