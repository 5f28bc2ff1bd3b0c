/* Asking for memory ahead of its use, little by little: a few cache lines after each tile of a product, so that they arrive
 * while the processor multiplies. (In one go they would hold up the loads after them.) Included after ops_vec.h. */
#ifndef DUKD_OPS_AHEAD_H
#define DUKD_OPS_AHEAD_H

#include "engine/ops_vec.h"

enum { AHEAD_TENSORS = 3, AHEAD_LINE = 64 };

/* Pixels pixel[0 .. pixels) of some tensors, one after the other. */
typedef struct {
    const char *tensor[AHEAD_TENSORS];
    int64_t bytes[AHEAD_TENSORS]; /* of a pixel */
    const int64_t *pixel;
    int64_t pixels, tensors;
    int64_t lines;             /* of a step */
    int64_t next, token, byte; /* the tensor, pixel and byte that are next */
} ahead;

ALWAYS_INLINE void ahead_step(ahead *a) {
    for (int64_t i = 0; i < a->lines && a->next < a->tensors; i++) {
        vec_prefetch(a->tensor[a->next] + a->pixel[a->token] * a->bytes[a->next] + a->byte);
        a->byte += AHEAD_LINE;
        if (a->byte < a->bytes[a->next]) continue;
        a->byte = 0;
        if (++a->token < a->pixels) continue;
        a->token = 0;
        a->next++;
    }
}

#endif
