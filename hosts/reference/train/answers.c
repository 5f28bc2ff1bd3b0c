/* A frozen network's answers to the inputs of one training step. */
#include "train/answers.h"

#include <stdlib.h>
#include <string.h>

#include "common/checked.h"
#include "engine/mirror.h"
#include "train/weights.h"

/* Everything of one size and with the same outputs. */
typedef struct {
    int32_t height, width;
    int32_t output_count;
    dukd_value *outputs;
    int64_t in_size, *out_sizes; /* elements of one image; [output_count] */
    int32_t room, used, done;    /* images: at most in a step; asked for; answered */
    float *in;                   /* room images, gathered; in the engine's memory */
    float **out;                 /* [output_count] room images each; the same */
    float **place;               /* [output_count] where those of one call go */
    float *drops;                /* room images, all paths of each; NULL: the network has none */
    dukd_mirror factors;         /* the same as an exec takes them, path by path, of one call */
    int32_t dropping;            /* is any of the images not yet answered in training mode? */
    dukd_exec *exec;
} group;

typedef struct {
    const dukd_tensor *input;
    int32_t group, first, images;
    int32_t
        own; /* answers no other question: in training mode (drawn for one tap), or of weights that have changed */
} request;

struct dukd_answers {
    dukd_engine *engine;
    dukd_network *network;
    const dukd_graph *graph;
    int32_t group_count, request_count, request_room;
    group *groups;
    request *requests;
    dukd_answer_counts counts;
};

int dukd_dense(dukd_engine *e, const dukd_tensor *t, float *room, const float **out, dukd_failure *f) {
    const float *base = (const float *)((const char *)t->data + t->byte_offset);
    int64_t dense = 1;
    int same = 1;
    for (int i = 3; i >= 0 && t->strides; i--) {
        same = same && (t->shape[i] == 1 || t->strides[i] == dense);
        dense *= t->shape[i];
    }
    *out = same ? base : room;
    return same ? 0 : dukd_engine_gather(e, room, base, t->shape, t->strides, f);
}

static group *find_group(dukd_answers *a, int64_t height, int64_t width, const dukd_value *outputs,
                         int32_t count) {
    for (int32_t i = 0; i < a->group_count; i++) {
        group *g = &a->groups[i];
        if (g->height == height && g->width == width && g->output_count == count &&
            memcmp(g->outputs, outputs, (size_t)count * sizeof *outputs) == 0)
            return g;
    }
    return NULL;
}

/* Where a group keeps an output; -1: nowhere. */
static int32_t output_of(const group *g, dukd_value output) {
    for (int32_t i = 0; i < g->output_count; i++)
        if (g->outputs[i] == output) return i;
    return -1;
}

static int lay_out(dukd_answers *a, const dukd_question *q, dukd_failure *f) {
    group *g = find_group(a, q->height, q->width, q->outputs, q->output_count);
    if (!g) {
        const size_t count = (size_t)q->output_count;
        g = &a->groups[a->group_count++];
        g->height = q->height;
        g->width = q->width;
        g->output_count = q->output_count;
        g->outputs = malloc((count + 1) * sizeof *g->outputs);
        g->out_sizes = calloc(count + 1, sizeof *g->out_sizes);
        g->out = calloc(count + 1, sizeof *g->out);
        g->place = calloc(count + 1, sizeof *g->place);
        if (!g->outputs || !g->out_sizes || !g->out || !g->place)
            return dukd_fail_memory(f, "the answers of a network", count * sizeof *g->out);
        memcpy(g->outputs, q->outputs, count * sizeof *g->outputs);
    }
    if (q->images > INT32_MAX - g->room) return dukd_fail(f, DUKD_FAILED, "a step asks for too many images");
    g->room += q->images;
    a->request_room++;
    return 0;
}

static int images(const dukd_answers *a, const group *g, int64_t size, float **out, dukd_failure *f) {
    static const char what[] = "the answers of a network";
    int64_t elements;
    if (!dukd_checked_mul(g->room, size, &elements))
        return dukd_fail_memory(f, what, (unsigned long long)g->room * (unsigned long long)size * 4);
    return dukd_weights_room(a->engine, elements, what, out, f);
}

static int make_drops(const dukd_answers *a, group *g, dukd_failure *f) {
    const int64_t count = (int64_t)dukd_graph_drop_count(a->graph) * g->room;
    if (!count) return 0;
    g->drops = dukd_weights_alloc(count);
    if (!g->drops) return dukd_fail_memory(f, "drop paths", (unsigned long long)count * sizeof *g->drops);
    return dukd_mirror_create(&g->factors, a->engine, count, "drop paths", f);
}

static int allocate(dukd_answers *a, group *g, dukd_failure *f) {
    g->in_size = (int64_t)dukd_graph_op(a->graph, 0)->channels * g->height * g->width;
    int status = images(a, g, g->in_size, &g->in, f);
    for (int32_t i = 0; i < g->output_count && !status; i++) {
        int64_t size[2];
        dukd_graph_size(a->graph, g->outputs[i], g->height, g->width, size);
        g->out_sizes[i] = dukd_graph_op(a->graph, g->outputs[i])->channels * size[0] * size[1];
        status = images(a, g, g->out_sizes[i], &g->out[i], f);
    }
    if (!status) status = make_drops(a, g, f);
    if (status) return status;
    const dukd_exec_spec spec = {.purpose = DUKD_INFER,
                                 .batch = g->room,
                                 .height = g->height,
                                 .width = g->width,
                                 .output_count = g->output_count,
                                 .outputs = g->outputs};
    return dukd_network_compile(a->network, &spec, &g->exec, f);
}

int dukd_answers_create(dukd_answers **out, dukd_engine *e, dukd_network *network, const dukd_graph *graph,
                        const dukd_question *questions, int32_t count, dukd_failure *f) {
    *out = NULL;
    dukd_answers *a = calloc(1, sizeof *a);
    if (a) {
        a->engine = e;
        a->network = network;
        a->graph = graph;
        a->groups = calloc((size_t)count + 1, sizeof *a->groups);
        a->requests = calloc((size_t)count + 1, sizeof *a->requests);
    }
    if (!a || !a->groups || !a->requests) {
        dukd_answers_destroy(a);
        return dukd_fail_memory(f, "the answers of a network", sizeof *a);
    }
    int status = 0;
    for (int32_t i = 0; i < count && !status; i++) status = lay_out(a, &questions[i], f);
    for (int32_t i = 0; i < a->group_count && !status; i++) status = allocate(a, &a->groups[i], f);
    if (status) {
        dukd_answers_destroy(a);
        return status;
    }
    *out = a;
    return 0;
}

void dukd_answers_destroy(dukd_answers *a) {
    if (!a) return;
    for (int32_t i = 0; a->groups && i < a->group_count; i++) {
        group *g = &a->groups[i];
        for (int32_t k = 0; g->out && k < g->output_count; k++) dukd_engine_release(a->engine, g->out[k]);
        free(g->outputs);
        free(g->out_sizes);
        free(g->out);
        free(g->place);
        dukd_engine_release(a->engine, g->in);
        free(g->drops);
        dukd_mirror_free(&g->factors);
    }
    free(a->groups);
    free(a->requests);
    free(a);
}

void dukd_answers_begin(dukd_answers *a) {
    a->request_count = 0;
    for (int32_t i = 0; i < a->group_count; i++)
        a->groups[i].used = a->groups[i].done = a->groups[i].dropping = 0;
}

void dukd_answers_stale(dukd_answers *a) {
    for (int32_t i = 0; i < a->request_count; i++) a->requests[i].own = 1;
}

/* Do both name the same elements? */
static int same_tensor(const dukd_tensor *a, const dukd_tensor *b) {
    if (a->data != b->data || a->byte_offset != b->byte_offset ||
        memcmp(a->shape, b->shape, 4 * sizeof *a->shape))
        return 0;
    if (!a->strides || !b->strides) return !a->strides && !b->strides;
    return memcmp(a->strides, b->strides, 4 * sizeof *a->strides) == 0;
}

/* Notes the factors of new images, 1 where there are none. */
static void keep_drops(const dukd_answers *a, group *g, int32_t images, const float *drops) {
    const int32_t paths = dukd_graph_drop_count(a->graph);
    for (int32_t n = 0; n < images; n++)
        for (int32_t i = 0; i < paths; i++)
            g->drops[(int64_t)(g->used + n) * paths + i] = drops ? drops[(int64_t)i * images + n] : 1;
    if (drops && paths > 0) g->dropping = 1;
}

/* Sets the factors of the images of one call: none where all are in evaluation. */
static int set_factors(const dukd_answers *a, const group *g, dukd_failure *f) {
    const int32_t paths = dukd_graph_drop_count(a->graph);
    dukd_exec_set_drops(g->exec, g->dropping ? g->factors.there : NULL);
    if (!g->dropping) return 0;
    for (int32_t n = g->done; n < g->used; n++)
        for (int32_t i = 0; i < paths; i++)
            g->factors.host[(int64_t)i * g->room + n - g->done] = g->drops[(int64_t)n * paths + i];
    return dukd_mirror_up(&g->factors, g->factors.count, f);
}

/* Has a request all these outputs? */
static int has_outputs(const dukd_answers *a, const request *q, const dukd_value *outputs, int32_t count) {
    for (int32_t i = 0; i < count; i++)
        if (output_of(&a->groups[q->group], outputs[i]) < 0) return 0;
    return 1;
}

int dukd_answers_want(dukd_answers *a, const dukd_tensor *input, const dukd_value *outputs,
                      int32_t output_count, const float *drops, int32_t *ticket, dukd_failure *f) {
    for (int32_t i = 0; i < a->request_count; i++)
        if (!drops && !a->requests[i].own && same_tensor(a->requests[i].input, input) &&
            has_outputs(a, &a->requests[i], outputs, output_count)) {
            *ticket = i;
            return 0;
        }
    group *g = find_group(a, input->shape[2], input->shape[3], outputs, output_count);
    if (!g || input->shape[0] > g->room - g->used || a->request_count == a->request_room)
        return dukd_fail(f, DUKD_FAILED,
                         "the plugin hands out a pass that its plan does not have (%lld x %lld x %lld)",
                         (long long)input->shape[0], (long long)input->shape[2], (long long)input->shape[3]);
    *ticket = a->request_count;
    a->requests[a->request_count++] = (request){.input = input,
                                                .group = (int32_t)(g - a->groups),
                                                .first = g->used,
                                                .images = (int32_t)input->shape[0],
                                                .own = drops != NULL};
    keep_drops(a, g, (int32_t)input->shape[0], drops);
    g->used += (int32_t)input->shape[0];
    return 0;
}

/* What is new in a group, in one call. Gathering copies images of LR size; one new input alone is used where it lies. */
static int run_group(dukd_answers *a, int32_t index, dukd_failure *f) {
    group *g = &a->groups[index];
    const float *source = NULL;
    int32_t fresh = 0;
    int status = 0;
    for (int32_t i = 0; i < a->request_count && !status; i++) {
        const request *q = &a->requests[i];
        if (q->group != index || q->first < g->done) continue;
        float *place = g->in + q->first * g->in_size;
        status = dukd_dense(a->engine, q->input, place, &source, f);
        if (!status && q->images < g->used - g->done && source != place)
            status = dukd_engine_copy(a->engine, place, source,
                                      q->images * g->in_size * (int64_t)sizeof *place, f);
        fresh++;
    }
    if (!fresh || status) return status;
    if (fresh > 1) source = g->in + g->done * g->in_size;
    for (int32_t i = 0; i < g->output_count; i++) g->place[i] = g->out[i] + g->done * g->out_sizes[i];
    status = set_factors(a, g, f);
    if (!status) status = dukd_exec_forward(g->exec, g->used - g->done, source, g->place, f);
    g->dropping = 0;
    a->counts.passes += fresh;
    a->counts.images += g->used - g->done;
    g->done = g->used;
    return status;
}

int dukd_answers_run(dukd_answers *a, dukd_failure *f) {
    int status = 0;
    for (int32_t i = 0; i < a->group_count && !status; i++) status = run_group(a, i, f);
    return status;
}

float *dukd_answers_value(const dukd_answers *a, int32_t ticket, dukd_value output) {
    const request *q = &a->requests[ticket];
    const group *g = &a->groups[q->group];
    const int32_t i = output_of(g, output);
    return g->out[i] + q->first * g->out_sizes[i];
}

dukd_answer_counts dukd_answers_counts(const dukd_answers *a) {
    return a->counts;
}
