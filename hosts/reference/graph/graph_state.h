/* Inside graph/: a graph while it is built. What is public is in graph.h. */
#ifndef DUKD_GRAPH_STATE_H
#define DUKD_GRAPH_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "graph/graph.h"

enum {
    DUKD_GRAPH_MAX_KERNEL = 31,
    DUKD_GRAPH_MAX_UP = 64,
    DUKD_GRAPH_MAX_NAME = 128, /* with the final NUL */
};

typedef struct {
    char *name;
    dukd_value value;
} dukd_layer_name;

/* How a size follows from another one. UP stands on a grid of another kind, so that two shuffles by 2 and one by
 * 4 end at the same grid. */
typedef enum { DUKD_GRID_INPUT, DUKD_GRID_ONE, DUKD_GRID_UP, DUKD_GRID_CUT } dukd_grid_kind;
typedef struct {
    dukd_grid_kind kind;
    int32_t base;                    /* UP, CUT: the grid it comes from, an earlier one; otherwise -1 */
    int32_t up;                      /* UP: n -> n up */
    int32_t kernel, stride, padding; /* CUT: n -> (n + 2 padding - kernel) / stride + 1 */
} dukd_grid;

struct dukd_graph {
    dukd_failure failure; /* the first call that could not be done */
    bool closed;
    dukd_value output;
    int64_t weights;  /* elements of all parameters so far */
    int32_t multiple; /* of the input's sides */
    int32_t drops;
    dukd_op *ops;
    dukd_param *params;
    dukd_layer_name *layers;
    dukd_grid *grids;
    dukd_constant *constants;
    int32_t op_count, param_count, layer_count, grid_count, constant_count;
    int32_t op_room, param_room, layer_room, grid_room, constant_room;
};

bool dukd_graph_is_building(const dukd_graph *g);
/* Makes room for one more element of a growing array; false and a failure where that cannot be. */
bool dukd_graph_grow(dukd_graph *g, void **array, int32_t count, int32_t *room, size_t element);
/* A copy, and LAYER.SUFFIX, checked; NULL and a failure where it is too long or there is no memory. The caller owns
 * it. */
char *dukd_graph_copy_name(dukd_graph *g, const char *name);
char *dukd_graph_join_name(dukd_graph *g, const char *layer, const char *suffix);

/* The operation behind a value, or NULL and a failure that begins with `what`. It may move when an operation is
 * added. */
const dukd_op *dukd_graph_operand(dukd_graph *g, dukd_value x, const char *what);
/* An operation on x that keeps its channels and size. */
dukd_op dukd_graph_op_like(dukd_op_kind kind, const dukd_op *like, dukd_value x);
dukd_value dukd_graph_add_op(dukd_graph *g, dukd_op op);
/* The index of a new parameter LAYER.SUFFIX, or -1 and a failure. */
int32_t dukd_graph_add_param(dukd_graph *g, const char *layer, const char *suffix, int32_t ndim,
                             const int64_t *dims, dukd_init_kind init, double init_value);

/* The number of a grid that follows from grid `base`; the same for the same rule. -1 and a failure: no memory. */
int32_t dukd_graph_grid_up(dukd_graph *g, int32_t base, int32_t up);
int32_t dukd_graph_grid_cut(dukd_graph *g, int32_t base, int32_t kernel, int32_t stride, int32_t padding);
int32_t dukd_graph_grid_one(dukd_graph *g);
int32_t dukd_graph_grid_input(dukd_graph *g);
/* Of the grid relative to the input, 0 where there is no such number; relative to the nearest grid that is no
 * enlargement. */
int32_t dukd_graph_grid_scale(const dukd_graph *g, int32_t grid);
int32_t dukd_graph_grid_factor(const dukd_graph *g, int32_t grid);
bool dukd_graph_grid_is_one(const dukd_graph *g, int32_t grid);

/* Fills the `reach` of every operation once the output is known. */
void dukd_graph_find_reach(dukd_graph *g);

#endif
