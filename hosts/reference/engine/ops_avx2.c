/* The operations of ops.h, compiled for AVX2 and FMA. */
#define TABLE dukd_ops_avx2
#include "engine/ops_body.h"
