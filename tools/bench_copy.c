/* How fast this machine copies. */
#include "bench_copy.h"

#include <string.h>
#ifdef _OPENMP
#include <omp.h>
#endif
#if defined(__x86_64__)
#include <immintrin.h>
#endif

typedef void (*copy_function)(char *to, const char *from,
                              int64_t bytes); /* bytes a multiple of 256, aligned to 64 */

static void copy_memcpy(char *to, const char *from, int64_t bytes) {
    memcpy(to, from, (size_t)bytes);
}

static void copy_stores(char *to, const char *from, int64_t bytes) {
    double *a = (double *)(void *)to;
    const double *b = (const double *)(const void *)from;
    for (int64_t i = 0; i < bytes / 8; i++) {
        a[i] = b[i] + 0.0;
    } /* an addition, or it becomes memcpy */
}

#if defined(__x86_64__)
static void copy_sse2(char *to, const char *from, int64_t bytes) {
    for (int64_t i = 0; i < bytes; i += 64) {
        for (int64_t j = i; j < i + 64; j += 16) {
            _mm_stream_si128((__m128i *)(void *)(to + j),
                             _mm_load_si128((const __m128i *)(const void *)(from + j)));
        }
    }
    _mm_sfence();
}

__attribute__((target("avx"))) static void copy_avx(char *to, const char *from, int64_t bytes) {
    for (int64_t i = 0; i < bytes; i += 64) {
        for (int64_t j = i; j < i + 64; j += 32) {
            _mm256_stream_si256((__m256i *)(void *)(to + j),
                                _mm256_load_si256((const __m256i *)(const void *)(from + j)));
        }
    }
    _mm_sfence();
}

__attribute__((target("avx512f"))) static void copy_avx512(char *to, const char *from, int64_t bytes) {
    for (int64_t i = 0; i < bytes; i += 256) {
        __m512i x[4];
        for (int64_t j = 0; j < 4; j++) {
            x[j] = _mm512_load_si512(from + i + 64 * j);
        }
        for (int64_t j = 0; j < 4; j++) {
            _mm512_stream_si512((__m512i *)(void *)(to + i + 64 * j), x[j]);
        }
    }
    _mm_sfence();
}

__attribute__((target("avx512f"))) static void copy_avx512_ahead(char *to, const char *from, int64_t bytes) {
    for (int64_t i = 0; i < bytes; i += 256) {
        __m512i x[4];
        for (int64_t j = 0; j < 4; j++) {
            _mm_prefetch(from + i + 64 * j + 4096, _MM_HINT_NTA);
        }
        for (int64_t j = 0; j < 4; j++) {
            x[j] = _mm512_load_si512(from + i + 64 * j);
        }
        for (int64_t j = 0; j < 4; j++) {
            _mm512_stream_si512((__m512i *)(void *)(to + i + 64 * j), x[j]);
        }
    }
    _mm_sfence();
}
#endif

int bench_list_copies(bench_copy kinds[BENCH_COPIES]) {
    int n = 0;
    kinds[n++] = (bench_copy){"memcpy", copy_memcpy};
    kinds[n++] = (bench_copy){"ordinary stores", copy_stores};
#if defined(__x86_64__)
    kinds[n++] = (bench_copy){"non-temporal 128 bits", copy_sse2};
    if (__builtin_cpu_supports("avx")) kinds[n++] = (bench_copy){"non-temporal 256 bits", copy_avx};
    if (__builtin_cpu_supports("avx512f")) {
        kinds[n++] = (bench_copy){"non-temporal 512 bits", copy_avx512};
        kinds[n++] = (bench_copy){"non-temporal 512 bits, prefetch", copy_avx512_ahead};
    }
#endif
    return n;
}

void bench_run_copy(bench_copy_function copy, char *to, const char *from, int64_t bytes, int threads) {
#ifdef _OPENMP
#pragma omp parallel num_threads(threads)
    {
        const int64_t t = omp_get_thread_num(), n = omp_get_num_threads();
        const int64_t begin = bytes / 256 * t / n * 256, end = bytes / 256 * (t + 1) / n * 256;
        copy(to + begin, from + begin, end - begin);
    }
#else
    (void)threads;
    copy(to, from, bytes / 256 * 256);
#endif
}

void bench_run_triad(double *a, const double *b, const double *c, int64_t n, int threads) {
    (void)threads;
#ifdef _OPENMP
#pragma omp parallel for simd num_threads(threads)
#endif
    for (int64_t i = 0; i < n; i++) {
        a[i] = b[i] + 3.0 * c[i];
    }
}
