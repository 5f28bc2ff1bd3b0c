/* See fma_peak.h: chains of multiply-adds that depend on nothing but themselves, enough of them to hide the latency. */
#include "engine/bench/fma_peak.h"

#include "engine/bench/bench_clock.h"

#include <omp.h>
#include <stdint.h>

#ifdef DUKD_X86
#include <immintrin.h>

enum { CHAINS = 16, ROUNDS = 1 << 20 };

__attribute__((target("avx512f"))) static float chains_avx512(float x) {
    __m512 sum[CHAINS], a = _mm512_set1_ps(x);
    for (int i = 0; i < CHAINS; i++) sum[i] = _mm512_set1_ps((float)i);
    for (int r = 0; r < ROUNDS; r++)
        for (int i = 0; i < CHAINS; i++) sum[i] = _mm512_fmadd_ps(sum[i], a, a);
    for (int i = 1; i < CHAINS; i++) sum[0] = _mm512_add_ps(sum[0], sum[i]);
    return _mm512_reduce_add_ps(sum[0]);
}

__attribute__((target("avx512f,avx512bf16"))) static float chains_bf16(float x) {
    __m512 sum[CHAINS];
    __m512bh a = (__m512bh)_mm512_castps_si512(_mm512_set1_ps(x));
    for (int i = 0; i < CHAINS; i++) sum[i] = _mm512_set1_ps((float)i);
    for (int r = 0; r < ROUNDS; r++)
        for (int i = 0; i < CHAINS; i++) sum[i] = _mm512_dpbf16_ps(sum[i], a, a);
    for (int i = 1; i < CHAINS; i++) sum[0] = _mm512_add_ps(sum[0], sum[i]);
    return _mm512_reduce_add_ps(sum[0]);
}

__attribute__((target("avx2,fma"))) static float chains_avx2(float x) {
    enum { FEW = 12 };
    __m256 sum[FEW], a = _mm256_set1_ps(x);
    for (int i = 0; i < FEW; i++) sum[i] = _mm256_set1_ps((float)i);
    for (int r = 0; r < ROUNDS; r++)
        for (int i = 0; i < FEW; i++) sum[i] = _mm256_fmadd_ps(sum[i], a, a);
    float out[8];
    for (int i = 1; i < FEW; i++) sum[0] = _mm256_add_ps(sum[0], sum[i]);
    _mm256_storeu_ps(out, sum[0]);
    return out[0];
}

typedef struct {
    float (*run)(float);
    double adds; /* multiply-adds of a call */
} chains;

static chains best_chains(int bf16) {
    if (bf16 && __builtin_cpu_supports("avx512bf16")) return (chains){chains_bf16, 32. * CHAINS * ROUNDS};
    if (bf16) return (chains){0};
    if (__builtin_cpu_supports("avx512f")) return (chains){chains_avx512, 16. * CHAINS * ROUNDS};
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return (chains){chains_avx2, 8. * 12 * ROUNDS};
    return (chains){0};
}

double dukd_fma_peak(int threads, int bf16) {
    chains c = best_chains(bf16);
    if (!c.run) return 0;
    double best = 0;
    volatile float sink = 0;
    for (int repeat = 0; repeat < 5; repeat++) {
        double begin = dukd_bench_now();
#pragma omp parallel num_threads(threads)
        {
            float result = c.run(1e-3f);
#pragma omp critical
            sink = sink + result;
        }
        double rate = c.adds * threads / (dukd_bench_now() - begin);
        if (rate > best) best = rate;
    }
    return best;
}

#else

double dukd_fma_peak(int threads, int bf16) {
    (void)threads;
    (void)bf16;
    return 0;
}

#endif
