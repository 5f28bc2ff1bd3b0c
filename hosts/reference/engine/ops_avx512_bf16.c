/* The operations of ops.h, compiled for AVX-512 (F, BW, DQ, VL) and its bf16 instructions. */
#define TABLE dukd_ops_avx512_bf16
#include "engine/ops_body.h"
