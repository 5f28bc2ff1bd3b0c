/* Which instructions this processor has. The compiler's runtime also asks whether the system saves the wide
 * registers. */
#include "cpu_features.h"

#if defined(__x86_64__)
#include <cpuid.h>

#define LEAF_1_ECX_F16C (1u << 29) /* what comes with AVX2 on every processor so far, but need not */

bool dukd_cpu_has_avx2(void) {
    unsigned a = 0, b = 0, c = 0, d = 0;
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
           __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & LEAF_1_ECX_F16C) != 0;
}

bool dukd_cpu_has_avx512(void) {
    return dukd_cpu_has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}
#else
bool dukd_cpu_has_avx2(void) {
    return false;
}
bool dukd_cpu_has_avx512(void) {
    return false;
}
#endif
