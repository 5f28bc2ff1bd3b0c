/* A frozen network's answers to the inputs of one training step. */
#include "train/answers.h"

#include <stdlib.h>
#include <string.h>

#include "common/checked.h"
#include "train/weights.h"

/* Everything of one size. */
typedef struct {
    int32_t height, width;
    int64_t in_size, out_size; /* elements of one image */
    int32_t room, used, done;  /* images: at most in a step; asked for; answered */
    float *in;                 /* room images, gathered */
    float *out;                /* room images */
    float *drops;              /* room images, all paths of each; NULL: the network has none */
    float *factors;            /* the same as an exec takes them, path by path, of one call */
    int32_t dropping;          /* is any of the images not yet answered in training mode? */
    dukd_exec *exec;
} group;

typedef struct {
    const dukd_tensor *input;
    int32_t group, first, images;
    int32_t own; /* in training mode: drawn for one tap */
} request;

struct dukd_answers {
    dukd_network *network;
    const dukd_graph *graph;
    int32_t group_count, request_count, request_room;
    group *groups;
    request *requests;
    dukd_answer_counts counts;
};

const float *dukd_dense(const dukd_tensor *t, float *room) {
    const float *base = (const float *)((const char *)t->data + t->byte_offset);
    int64_t dense[4] = {0, 0, 0, 1};
    for (int i = 2; i >= 0; i--) dense[i] = dense[i + 1] * t->shape[i + 1];
    if (!t->strides) return base;
    int same = 1;
    for (int i = 0; i < 4; i++) same = same && (t->shape[i] == 1 || t->strides[i] == dense[i]);
    if (same) return base;
    for (int64_t n = 0; n < t->shape[0]; n++)
        for (int64_t c = 0; c < t->shape[1]; c++)
            for (int64_t y = 0; y < t->shape[2]; y++) {
                const float *row = base + n * t->strides[0] + c * t->strides[1] + y * t->strides[2];
                float *to = room + n * dense[0] + c * dense[1] + y * dense[2];
                for (int64_t x = 0; x < t->shape[3]; x++) to[x] = row[x * t->strides[3]];
            }
    return room;
}

static group *find_group(dukd_answers *a, int64_t height, int64_t width) {
    for (int32_t i = 0; i < a->group_count; i++)
        if (a->groups[i].height == height && a->groups[i].width == width) return &a->groups[i];
    return NULL;
}

static void lay_out(dukd_answers *a, const dukd_plan *plan, uint32_t index) {
    for (uint32_t i = 0; i < plan->n_passes; i++) {
        const dukd_pass *p = plan->passes[i];
        for (uint32_t k = 0; k < p->n_taps; k++) {
            if (p->taps[k]->network != index) continue;
            const int64_t *shape = p->inputs[p->taps[k]->source_id]->tensor->shape;
            group *g = find_group(a, shape[2], shape[3]);
            if (!g) {
                g = &a->groups[a->group_count++];
                g->height = (int32_t)shape[2];
                g->width = (int32_t)shape[3];
            }
            g->room += (int32_t)shape[0];
            a->request_room++;
        }
    }
}

static float *images(int32_t count, int64_t size) {
    int64_t elements;
    return dukd_checked_mul(count, size, &elements) ? dukd_weights_alloc(elements) : NULL;
}

static int allocate(dukd_answers *a, group *g, dukd_failure *f) {
    int64_t size[2];
    const dukd_value last = dukd_graph_output(a->graph);
    dukd_graph_size(a->graph, last, g->height, g->width, size);
    g->in_size = (int64_t)dukd_graph_op(a->graph, 0)->channels * g->height * g->width;
    g->out_size = dukd_graph_op(a->graph, last)->channels * size[0] * size[1];
    g->in = images(g->room, g->in_size);
    g->out = images(g->room, g->out_size);
    const int32_t paths = dukd_graph_drop_count(a->graph);
    if (paths > 0) {
        g->drops = images(g->room, paths);
        g->factors = images(g->room, paths);
    }
    if (!g->in || !g->out || (paths > 0 && (!g->drops || !g->factors)))
        return dukd_fail_memory(f, "the teacher's answers",
                                (unsigned long long)g->room * (unsigned long long)(g->in_size + g->out_size) *
                                    4);
    const dukd_exec_spec spec = {
        .purpose = DUKD_INFER, .batch = g->room, .height = g->height, .width = g->width};
    return dukd_network_compile(a->network, &spec, &g->exec, f);
}

int dukd_answers_create(dukd_answers **out, dukd_network *network, const dukd_graph *graph,
                        const dukd_plan *plan, uint32_t index, dukd_failure *f) {
    *out = NULL;
    uint32_t taps = 0;
    for (uint32_t i = 0; i < plan->n_passes; i++) taps += plan->passes[i]->n_taps;
    dukd_answers *a = calloc(1, sizeof *a);
    if (a) {
        a->network = network;
        a->graph = graph;
        a->groups = calloc((size_t)taps + 1, sizeof *a->groups);
        a->requests = calloc((size_t)taps + 1, sizeof *a->requests);
    }
    if (!a || !a->groups || !a->requests) {
        dukd_answers_destroy(a);
        return dukd_fail_memory(f, "the teacher's answers", sizeof *a);
    }
    int status = 0;
    lay_out(a, plan, index);
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
        free(a->groups[i].in);
        free(a->groups[i].out);
        free(a->groups[i].drops);
        free(a->groups[i].factors);
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

/* The factors of the images of one call, or NULL where all are in evaluation. */
static const float *factors_of(const dukd_answers *a, group *g) {
    const int32_t paths = dukd_graph_drop_count(a->graph);
    if (!g->dropping) return NULL;
    for (int32_t n = g->done; n < g->used; n++)
        for (int32_t i = 0; i < paths; i++)
            g->factors[(int64_t)i * g->room + n - g->done] = g->drops[(int64_t)n * paths + i];
    return g->factors;
}

int dukd_answers_want(dukd_answers *a, const dukd_tensor *input, const float *drops, int32_t *ticket,
                      dukd_failure *f) {
    for (int32_t i = 0; i < a->request_count; i++)
        if (!drops && !a->requests[i].own && same_tensor(a->requests[i].input, input)) {
            *ticket = i;
            return 0;
        }
    group *g = find_group(a, input->shape[2], input->shape[3]);
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
    for (int32_t i = 0; i < a->request_count; i++) {
        const request *q = &a->requests[i];
        if (q->group != index || q->first < g->done) continue;
        float *place = g->in + q->first * g->in_size;
        source = dukd_dense(q->input, place);
        if (q->images < g->used - g->done && source != place)
            memcpy(place, source, (size_t)(q->images * g->in_size) * sizeof *place);
        fresh++;
    }
    if (!fresh) return 0;
    if (fresh > 1) source = g->in + g->done * g->in_size;
    float *to = g->out + g->done * g->out_size;
    dukd_exec_set_drops(g->exec, factors_of(a, g));
    int status = dukd_exec_forward(g->exec, g->used - g->done, source, &to, f);
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

float *dukd_answers_value(const dukd_answers *a, int32_t ticket) {
    const request *q = &a->requests[ticket];
    const group *g = &a->groups[q->group];
    return g->out + q->first * g->out_size;
}

dukd_answer_counts dukd_answers_counts(const dukd_answers *a) {
    return a->counts;
}
