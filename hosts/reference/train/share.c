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

/* Calls for each run of elements that lie one after the other in both. */
static void each_row(const dukd_share *s, float *part_values, float *whole_values,
                     void (*row)(float *part, float *whole, int64_t count)) {
    for (int32_t i = 0; i < dukd_graph_param_count(s->part); i++) {
        const dukd_param *p = dukd_graph_param(s->part, i), *w = dukd_graph_param(s->whole, s->at[i]);
        int64_t a[4] = {1, 1, 1, 1}, b[4] = {1, 1, 1, 1}; /* dimensions, the missing ones in front */
        for (int32_t d = 0; d < p->ndim; d++) {
            a[4 - p->ndim + d] = p->dims[d];
            b[4 - p->ndim + d] = w->dims[d];
        }
        float *from = part_values + p->offset;
        for (int64_t x = 0; x < a[0]; x++)
            for (int64_t y = 0; y < a[1]; y++)
                for (int64_t z = 0; z < a[2]; z++, from += a[3])
                    row(from, whole_values + w->offset + ((x * b[1] + y) * b[2] + z) * b[3], a[3]);
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
