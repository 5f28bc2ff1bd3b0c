/* The operations of ops.h, compiled for AVX-512 (F, BW, DQ, VL). */
#define TABLE dukd_ops_avx512
#include "engine/ops_body.h"
