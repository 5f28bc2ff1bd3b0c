/* Which instructions this processor has and its system lets programs use. [thread-safe] */
#ifndef DUKD_CPU_FEATURES_H
#define DUKD_CPU_FEATURES_H

#include <stdbool.h>

bool dukd_cpu_has_avx2(void);   /* with FMA and F16C */
bool dukd_cpu_has_avx512(void); /* F, BW, DQ, VL; with the above */

#endif
