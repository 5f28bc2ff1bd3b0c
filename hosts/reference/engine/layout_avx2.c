/* The operations of layout.h, compiled for AVX2. */
#define TABLE dukd_layout_avx2
#include "engine/layout_body.h"
