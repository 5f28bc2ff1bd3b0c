/* Elements of one image of a tensor as dense f32, and back; plain C. */
#ifndef DUKD_CPU_GATHER_H
#define DUKD_CPU_GATHER_H

#include "cpu_view.h"

/* Elements e .. e + count - 1 of image n, in the order c, h, w. [thread-safe] */
void dukd_gather(float *to, const dukd_view *v, int64_t n, int64_t e, int64_t count);
void dukd_scatter(const dukd_view *v, int64_t n, int64_t e, const float *from, int64_t count);

#endif
