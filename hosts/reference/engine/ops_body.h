/* The operations of ops_kernels.h for one instruction set: TABLE is the name of the table to define. Included by
 * ops_base.c, ops_avx2.c and ops_avx512.c, which differ in the options of their compilation. */
#include <math.h>
#include <string.h>

#include "engine/ops_kernels.h"
#include "engine/ops_math.h"
#include "engine/ops_product.h"
#include "engine/ops_softmax.h"
#include "engine/ops_taps.h"
#include "engine/ops_window.h"

static inline int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

#define T       float
#define NAME(x) x##_f32
#define GET     vec_get_f32
#define PUT     vec_put_f32
#include "engine/ops_types.h"
#undef T
#undef NAME
#undef GET
#undef PUT

#define T uint16_t
#define T_BF16
#define NAME(x) x##_bf16
#define GET     vec_get_bf16
#define PUT     vec_put_bf16
#include "engine/ops_types.h"
#undef T
#undef T_BF16
#undef NAME
#undef GET
#undef PUT

const dukd_ops_kernels TABLE[2] = {[DUKD_TYPE_F32] = ENTRIES(f32), [DUKD_TYPE_BF16] = ENTRIES(bf16)};
