/* The operations of layout.h, compiled for AVX-512 (F, BW, DQ, VL). */
#define TABLE dukd_layout_avx512
#include "engine/layout_body.h"
