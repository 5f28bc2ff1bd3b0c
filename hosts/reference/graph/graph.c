/* A graph's lists - operations, parameters, layer names - and reading them back. */
#include "graph/graph.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/checked.h"
#include "graph/graph_state.h"

enum { MAX_COUNT = 1 << 20 }; /* of operations, parameters, layer names: more is a mistake, not a network */

dukd_graph *dukd_graph_create(void) {
    dukd_graph *g = calloc(1, sizeof *g);
    if (!g) return NULL;
    g->output = -1;
    g->multiple = 1;
    return g;
}

/* The graph owns what its public structures show as const. */
static void free_const(const void *p) {
    free((void *)(uintptr_t)p);
}

void dukd_graph_destroy(dukd_graph *g) {
    if (!g) return;
    for (int32_t i = 0; i < g->op_count; i++) {
        free_const(g->ops[i].factors);
        free_const(g->ops[i].shifts);
    }
    for (int32_t i = 0; i < g->param_count; i++) free_const(g->params[i].name);
    for (int32_t i = 0; i < g->layer_count; i++) free(g->layers[i].name);
    for (int32_t i = 0; i < g->constant_count; i++) free_const(g->constants[i].name);
    free(g->ops);
    free(g->params);
    free(g->layers);
    free(g->grids);
    free(g->constants);
    free(g);
}

bool dukd_graph_is_building(const dukd_graph *g) {
    return g && !g->closed && g->failure.status == DUKD_DONE;
}

bool dukd_graph_grow(dukd_graph *g, void **array, int32_t count, int32_t *room, size_t element) {
    if (count < *room) return true;
    if (count >= MAX_COUNT) {
        dukd_fail(&g->failure, DUKD_MISUSED,
                  "the network has more than %d operations, parameters or layer names", MAX_COUNT);
        return false;
    }
    int32_t wanted = count ? 2 * count : 64;
    void *larger = realloc(*array, (size_t)wanted * element);
    if (!larger) {
        dukd_fail_memory(&g->failure, "a network's graph", (size_t)wanted * element);
        return false;
    }
    *array = larger;
    *room = wanted;
    return true;
}

char *dukd_graph_copy_name(dukd_graph *g, const char *name) {
    size_t size = strlen(name) + 1;
    char *copy = malloc(size);
    if (!copy) {
        dukd_fail_memory(&g->failure, "a name in a network", size);
        return NULL;
    }
    return memcpy(copy, name, size);
}

char *dukd_graph_join_name(dukd_graph *g, const char *layer, const char *suffix) {
    char name[DUKD_GRAPH_MAX_NAME];
    int length = snprintf(name, sizeof name, "%s.%s", layer, suffix);
    if (length >= 0 && length < DUKD_GRAPH_MAX_NAME) return dukd_graph_copy_name(g, name);
    dukd_fail(&g->failure, DUKD_MISUSED, "the name of parameter '%s.%s' is longer than %d bytes", layer,
              suffix, DUKD_GRAPH_MAX_NAME - 1);
    return NULL;
}

const dukd_op *dukd_graph_operand(dukd_graph *g, dukd_value x, const char *what) {
    if (x >= 0 && x < g->op_count) return &g->ops[x];
    dukd_fail(&g->failure, DUKD_MISUSED, "%s: its operand %d is no value of this graph", what, (int)x);
    return NULL;
}

dukd_value dukd_graph_add_op(dukd_graph *g, dukd_op op) {
    void *ops = g->ops;
    bool fits = dukd_graph_grow(g, &ops, g->op_count, &g->op_room, sizeof *g->ops);
    g->ops = ops;
    if (!fits) return -1;
    op.up = dukd_graph_grid_scale(g, op.grid);
    g->ops[g->op_count] = op;
    return g->op_count++;
}

dukd_op dukd_graph_op_like(dukd_op_kind kind, const dukd_op *like, dukd_value x) {
    dukd_op op = {
        .kind = kind, .channels = like->channels, .grid = like->grid, .weight = -1, .bias = -1, .reach = -1};
    for (int32_t i = 0; i < DUKD_OP_MAX_OPERANDS; i++) op.in[i] = -1;
    op.in[0] = x;
    return op;
}

int32_t dukd_graph_add_param(dukd_graph *g, const char *layer, const char *suffix, int32_t ndim,
                             const int64_t *dims, dukd_init_kind init, double init_value) {
    char *name = dukd_graph_join_name(g, layer, suffix);
    if (!name) return -1;
    void *params = g->params;
    int64_t bytes;
    dukd_param p = {
        .name = name, .ndim = ndim, .count = 1, .offset = g->weights, .init = init, .init_value = init_value};
    for (int32_t d = 0; d < ndim; d++) {
        p.dims[d] = dims[d];
        p.count *= dims[d]; /* at most 4096 * 4096 * 31 * 31 */
    }
    if (dukd_graph_find_param(g, name) >= 0) {
        dukd_fail(&g->failure, DUKD_MISUSED, "two parameters are named '%s'", name);
        goto fail;
    }
    bool fits = dukd_graph_grow(g, &params, g->param_count, &g->param_room, sizeof *g->params);
    g->params = params;
    if (!fits) goto fail;
    if (!dukd_checked_mul(p.offset + p.count, sizeof(float), &bytes) || (uint64_t)bytes > SIZE_MAX / 2) {
        dukd_fail(&g->failure, DUKD_MISUSED, "the network's parameters do not fit into memory (at '%s')",
                  name);
        goto fail;
    }
    g->weights += p.count;
    g->params[g->param_count] = p;
    return g->param_count++;

fail:
    free(name);
    return -1;
}

void dukd_graph_layer(dukd_graph *g, dukd_value x, const char *format, ...) {
    if (!dukd_graph_is_building(g)) return;
    char name[DUKD_GRAPH_MAX_NAME];
    va_list args;
    va_start(args, format);
    int length = vsnprintf(name, sizeof name, format, args);
    va_end(args);
    if (length < 1 || length >= DUKD_GRAPH_MAX_NAME) {
        dukd_fail(&g->failure, DUKD_MISUSED, "layer name '%s...' is empty or longer than %d bytes", name,
                  DUKD_GRAPH_MAX_NAME - 1);
        return;
    }
    if (!dukd_graph_operand(g, x, name)) return;
    if (dukd_graph_find_layer(g, name) >= 0) {
        dukd_fail(&g->failure, DUKD_MISUSED, "two layers are named '%s'", name);
        return;
    }
    void *layers = g->layers;
    bool fits = dukd_graph_grow(g, &layers, g->layer_count, &g->layer_room, sizeof *g->layers);
    g->layers = layers;
    char *copy = fits ? dukd_graph_copy_name(g, name) : NULL;
    if (!copy) return;
    g->layers[g->layer_count++] = (dukd_layer_name){copy, x};
    if (!g->ops[x].layer) g->ops[x].layer = copy;
}

static const char *first_layer_of(const dukd_graph *g, dukd_value x) {
    for (int32_t i = 0; i < g->layer_count; i++)
        if (g->layers[i].value == x) return g->layers[i].name;
    return NULL;
}

void dukd_graph_move_layer(dukd_graph *g, dukd_value x, const char *name) {
    if (!dukd_graph_is_building(g) || !dukd_graph_operand(g, x, name)) return;
    for (int32_t i = 0; i < g->layer_count; i++) {
        if (strcmp(g->layers[i].name, name) != 0) continue;
        const dukd_value before = g->layers[i].value;
        g->layers[i].value = x;
        g->ops[before].layer = first_layer_of(g, before);
        g->ops[x].layer = first_layer_of(g, x);
        return;
    }
    dukd_fail(&g->failure, DUKD_MISUSED, "there is no layer '%s' to move", name);
}

int dukd_graph_finish(dukd_graph *g, dukd_value output, dukd_failure *f) {
    if (!g) return dukd_fail_memory(f, "a network's graph", sizeof *g);
    if (dukd_graph_is_building(g)) dukd_graph_operand(g, output, "the network's output");
    if (g->failure.status != DUKD_DONE) return dukd_fail(f, g->failure.status, "%s", g->failure.message);
    if (g->closed) return dukd_fail(f, DUKD_MISUSED, "the network's graph is finished already");
    g->output = output;
    g->closed = true;
    dukd_graph_find_reach(g);
    return DUKD_DONE;
}

int32_t dukd_graph_op_count(const dukd_graph *g) {
    return g->op_count;
}
const dukd_op *dukd_graph_op(const dukd_graph *g, int32_t i) {
    return &g->ops[i];
}
dukd_value dukd_graph_output(const dukd_graph *g) {
    return g->output;
}
int32_t dukd_graph_upscale(const dukd_graph *g) {
    return g->ops[g->output].up;
}
int32_t dukd_graph_param_count(const dukd_graph *g) {
    return g->param_count;
}
const dukd_param *dukd_graph_param(const dukd_graph *g, int32_t i) {
    return &g->params[i];
}
int64_t dukd_graph_weights(const dukd_graph *g) {
    return g->weights;
}
int32_t dukd_graph_layer_count(const dukd_graph *g) {
    return g->layer_count;
}
int32_t dukd_graph_drop_count(const dukd_graph *g) {
    return g->drops;
}

float dukd_graph_drop_probability(const dukd_graph *g, int32_t i) {
    for (int32_t v = 0; v < g->op_count; v++)
        if (g->ops[v].kind == DUKD_OP_DROP_PATH && g->ops[v].drop == i) return g->ops[v].factor;
    return 0;
}

const char *dukd_graph_layer_name(const dukd_graph *g, int32_t i, dukd_value *value) {
    if (value) *value = g->layers[i].value;
    return g->layers[i].name;
}

int32_t dukd_graph_find_param(const dukd_graph *g, const char *name) {
    for (int32_t i = 0; i < g->param_count; i++)
        if (strcmp(g->params[i].name, name) == 0) return i;
    return -1;
}

dukd_value dukd_graph_find_layer(const dukd_graph *g, const char *layer) {
    for (int32_t i = 0; i < g->layer_count; i++)
        if (strcmp(g->layers[i].name, layer) == 0) return g->layers[i].value;
    return -1;
}
