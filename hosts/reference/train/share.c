/* A network whose parameters are part of another's. */
#include "train/share.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tensors/tensor_numbers.h"

static int is_block(const dukd_param *part, const dukd_param *whole) {
    if (part->ndim != whole->ndim) return 0;
    for (int32_t d = 0; d < part->ndim; d++)
        if (part->dims[d] > whole->dims[d]) return 0;
    return 1;
}

/* What a graph has that does not take its channels one by one and in order, so that the first channels of its parameters are no
 * network of the kind: q, k and v lie behind each other, and so do concatenated maps. NULL: nothing. */
static const char *mixes_channels(const dukd_graph *g) {
    for (int32_t i = 0; i < dukd_graph_op_count(g); i++) {
        const dukd_op *op = dukd_graph_op(g, i);
        if (op->kind == DUKD_OP_ATTENTION) return "attention";
        if (op->kind == DUKD_OP_CONCAT) return "concatenated maps";
        if (op->kind == DUKD_OP_SLICE) return "maps cut into parts";
        if (op->kind == DUKD_OP_CONV && op->groups != 1) return "convolutions in groups";
    }
    return NULL;
}

int dukd_share_open(dukd_share *out, const dukd_graph *part, const dukd_graph *whole, dukd_failure *f) {
    const int32_t count = dukd_graph_param_count(part);
    const char *mixing = mixes_channels(part);
    *out = (dukd_share){.part = part, .whole = whole};
    if (mixing)
        return dukd_fail(
            f, DUKD_MISUSED,
            "the student can be no part of a teacher: it has %s, whose first channels are no such "
            "network. EDSR and RCAN can",
            mixing);
    out->at = calloc((size_t)count + 1, sizeof *out->at);
    if (!out->at)
        return dukd_fail_memory(f, "a table of parameters", (unsigned long long)count * sizeof *out->at);
    for (int32_t i = 0; i < count; i++) {
        const dukd_param *p = dukd_graph_param(part, i);
        const int32_t at = out->at[i] = dukd_graph_find_param(whole, p->name);
        const dukd_param *w = at >= 0 ? dukd_graph_param(whole, at) : NULL;
        if (w && is_block(p, w)) continue;
        dukd_share_close(out);
        if (!w)
            return dukd_fail(f, DUKD_MISUSED,
                             "the student is no part of the teacher: the teacher has no %.80s; the two must "
                             "be of one type "
                             "and depth, the student with fewer channels",
                             p->name);
        return dukd_fail(f, DUKD_MISUSED,
                         "the student is no part of the teacher: its %.80s is %s, the teacher's %s; the two "
                         "must be of one "
                         "type, the student with fewer channels",
                         p->name, dukd_shape_show(p->ndim, p->dims).text,
                         dukd_shape_show(w->ndim, w->dims).text);
    }
    return DUKD_DONE;
}

void dukd_share_close(dukd_share *s) {
    free(s->at);
    *s = (dukd_share){0};
}

/* The dimensions of parameter i, the missing ones in front: of the part, and how far apart its elements lie in the whole. */
static void block_of(const dukd_share *s, int32_t i, int64_t shape[4], int64_t strides[4]) {
    const dukd_param *p = dukd_graph_param(s->part, i), *w = dukd_graph_param(s->whole, s->at[i]);
    int64_t step = 1;
    for (int32_t d = 3; d >= 0; d--) {
        const int32_t at = d - (4 - p->ndim);
        shape[d] = at < 0 ? 1 : p->dims[at];
        strides[d] = step;
        if (at >= 0) step *= w->dims[at];
    }
}

/* Calls for each run of elements that lie one after the other in both. */
static void each_row(const dukd_share *s, float *part_values, float *whole_values,
                     void (*row)(float *part, float *whole, int64_t count)) {
    for (int32_t i = 0; i < dukd_graph_param_count(s->part); i++) {
        int64_t shape[4], strides[4];
        block_of(s, i, shape, strides);
        float *from = part_values + dukd_graph_param(s->part, i)->offset,
              *first = whole_values + dukd_graph_param(s->whole, s->at[i])->offset;
        for (int64_t x = 0; x < shape[0]; x++)
            for (int64_t y = 0; y < shape[1]; y++)
                for (int64_t z = 0; z < shape[2]; z++, from += shape[3])
                    row(from, first + x * strides[0] + y * strides[1] + z * strides[2], shape[3]);
    }
}

static void take_row(float *part, float *whole, int64_t count) {
    memcpy(part, whole, (size_t)count * sizeof *part);
}

static void give_row(float *part, float *whole, int64_t count) {
    for (int64_t i = 0; i < count; i++) {
        whole[i] += part[i];
        part[i] = 0;
    }
}

void dukd_share_take(const dukd_share *s, const float *whole_values, float *part_values) {
    /* each_row is for both directions; take_row only reads the whole */
    each_row(s, part_values, (float *)(uintptr_t)whole_values, take_row);
}

void dukd_share_give(const dukd_share *s, float *part_values, float *whole_values) {
    each_row(s, part_values, whole_values, give_row);
}

/* On the processor the runs of elements are longer than what a tensor of any strides is copied by. */
static int is_here(const dukd_engine *e) {
    return dukd_engine_get_place(e)->on_host;
}

int dukd_share_take_there(const dukd_share *s, dukd_engine *e, const float *whole_values, float *part_values,
                          dukd_failure *f) {
    int status = 0;
    if (is_here(e)) {
        dukd_share_take(s, whole_values, part_values);
        return 0;
    }
    for (int32_t i = 0; i < dukd_graph_param_count(s->part) && !status; i++) {
        int64_t shape[4], strides[4];
        block_of(s, i, shape, strides);
        status = dukd_engine_gather(e, part_values + dukd_graph_param(s->part, i)->offset,
                                    whole_values + dukd_graph_param(s->whole, s->at[i])->offset, shape,
                                    strides, f);
    }
    return status;
}

int dukd_share_give_there(const dukd_share *s, dukd_engine *e, float *part_values, float *whole_values,
                          dukd_failure *f) {
    int status = 0;
    if (is_here(e)) {
        dukd_share_give(s, part_values, whole_values);
        return 0;
    }
    for (int32_t i = 0; i < dukd_graph_param_count(s->part) && !status; i++) {
        int64_t shape[4], strides[4];
        block_of(s, i, shape, strides);
        status =
            dukd_engine_scatter_add(e, whole_values + dukd_graph_param(s->whole, s->at[i])->offset,
                                    part_values + dukd_graph_param(s->part, i)->offset, shape, strides, f);
    }
    if (status) return status;
    return dukd_engine_clear(e, part_values, dukd_graph_weights(s->part) * (int64_t)sizeof *part_values, f);
}
