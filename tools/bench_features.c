/* dukd-bench-features: how fast FAKD's affinity is, against the rate of oneDNN's own matrix products in the same run; and what CSD's
 * operations cost.
 *
 * Multiply-adds are those that the affinity does (backend/cpu/cpu_affinity.c): it uses that A is symmetric, so that they are two thirds
 * of the plain count for equal channels; the plain count is printed beside. oneDNN's rate is the better of a large product, 1024 x 1024
 * x 1024, and of the one that A is, 2304 x 2304 x 64, each thread its own. Rounds are interleaved, the best counts. --cpu counts
 * processor time of one thread, for machines that others use at the same time. */
#include "backend.h"
#include "cpu/onednn/onednn_module.h"

#include <dlfcn.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#ifdef _OPENMP
#include <omp.h>
#endif

enum {
    N = 16,
    C = 64,
    SIDE = 48,
    POSITIONS = 4,
    PIXELS = SIDE * SIDE,
    TILE = 256,
    NEGATIVES = 10,
    LARGE = 1024
};

static const char usage[] = "usage: dukd-bench-features [--rounds N] [--threads N] [--cpu]\n"
                            "Speed of FAKD's affinity (16 x 64 x 48 x 48, four positions, forward and "
                            "backward) against oneDNN's matrix products,\n"
                            "and of CSD's operations.\n"
                            "  --rounds N   repetitions, of which the best counts (default 5)\n"
                            "  --threads N  threads (default: all)\n"
                            "  --cpu        processor time of one thread instead of seconds\n"
                            "example: dukd-bench-features --cpu\n";

static bool cpu_time;

static double now(void) {
    struct timespec t;
    (void)clock_gettime(cpu_time ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int all_threads(void) {
#ifdef _OPENMP
    return omp_get_max_threads();
#else
    return 1;
#endif
}

/* ---------------------------------------------------------------- memory */

typedef struct {
    dukd_tensor t;
    int64_t shape[4];
} box;

static float *numbers(int64_t count, uint32_t seed) {
    float *x = malloc((size_t)count * sizeof *x);
    if (x == NULL) {
        (void)fputs("dukd-bench-features: out of memory\n", stderr);
        exit(1);
    }
    for (int64_t i = 0; i < count; i++) {
        seed = seed * 1664525u + 1013904223u;
        x[i] = (float)(seed >> 8) * 0x1p-23f - 1.0f;
    }
    return x;
}

static void make_box(box *b, int64_t n, int64_t c, int64_t h, int64_t w, uint32_t seed) {
    *b = (box){.shape = {n, c, h, w}};
    b->t = (dukd_tensor){
        numbers(n * c * h * w, seed), {DUKD_DEVICE_CPU, 0}, 4, {DUKD_TYPE_FLOAT, 32, 1}, b->shape, NULL, 0};
}

/* ---------------------------------------------------------------- oneDNN alone */

static bool open_module(dukd_onednn_module *out) {
#ifdef DUKD_ONEDNN_MODULE
    void *handle = dlopen(DUKD_ONEDNN_MODULE, RTLD_NOW | RTLD_LOCAL);
    void *symbol = handle != NULL ? dlsym(handle, DUKD_ONEDNN_MODULE_ENTRY) : NULL;
    dukd_onednn_module_fn entry;
    memcpy(&entry, &symbol, sizeof entry);
    return symbol != NULL && entry(DUKD_ONEDNN_MODULE_VERSION, out) == 0;
#else
    (void)out;
    return false;
#endif
}

/* Multiply-adds a second of a^T b, m x n x k, on all threads, each with its own matrices; the best of the rounds so far. */
static void time_product(const dukd_onednn_module *module, int64_t m, int64_t n, int64_t k, int threads,
                         double *best) {
    const int64_t size = m * k + k * n + m * n;
    float *room = numbers(size * threads, 1);
    double start = 0;
    const int repeats = (int)(4e9 / ((double)m * (double)n * (double)k)) + 1;
    for (int warm = 1; warm >= 0; warm--) {
        start = now();
#ifdef _OPENMP
#pragma omp parallel for schedule(static, 1) num_threads(threads)
#endif
        for (int i = 0; i < threads; i++) {
            float *a = room + size * i, *b = a + m * k, *c = b + k * n;
            for (int r = 0; r < (warm ? 1 : repeats); r++)
                module->product(1, 0, m, n, k, a, m, b, n, 0, c, n);
        }
    }
    const double rate = (double)m * (double)n * (double)k * repeats * threads / (now() - start);
    if (rate > *best) *best = rate;
    free(room);
}

/* ---------------------------------------------------------------- the operations */

/* What the affinity does: tiles on and above the diagonal, for both maps; slopes of both blocks of a tile. */
static double multiply_adds(void) {
    double tiles = 0, slopes = 0;
    for (int i = 0; i < PIXELS; i += TILE) {
        for (int j = i; j < PIXELS; j += TILE) {
            const double size =
                (double)(PIXELS - i < TILE ? PIXELS - i : TILE) * (PIXELS - j < TILE ? PIXELS - j : TILE);
            tiles += size;
            slopes += i == j ? size : 2 * size;
        }
    }
    return (2 * tiles + slopes) * C * N * POSITIONS;
}

static void time_affinity(dukd_backend *b, box maps[3], double *best) {
    const double start = now();
    for (int k = 0; k < POSITIONS; k++) {
        dukd_affinity_args a = {
            .student = &maps[0].t, .teacher = &maps[1].t, .grad = &maps[2].t, .factor = 1};
        if (b->affinity(b, &a, NULL) != DUKD_OK) exit(1);
    }
    const double seconds = now() - start;
    if (*best == 0 || seconds < *best) *best = seconds;
}

static void time_csd(dukd_backend *b, box maps[4], box images[2], double best[2]) {
    dukd_contrast_args a = {.student = &maps[0].t,
                            .teacher = &maps[1].t,
                            .negatives = &maps[2].t,
                            .grad_student = &maps[3].t,
                            .factor = 1};
    const dukd_upscale_args u = {.lr = &images[0].t, .out = &images[1].t, .scale = 4};
    const double start = now();
    if (b->contrast(b, &a, NULL) != DUKD_OK) exit(1);
    const double middle = now();
    if (b->upscale(b, &u, NULL) != DUKD_OK) exit(1);
    const double end = now();
    if (best[0] == 0 || middle - start < best[0]) best[0] = middle - start;
    if (best[1] == 0 || end - middle < best[1]) best[1] = end - middle;
}

static void print_affinity(const char *name, double seconds, double library) {
    const double rate = multiply_adds() / seconds;
    printf("affinity, %-24s %8.3f s %8.1f G multiply-adds/s", name, seconds, 1e-9 * rate);
    if (library > 0) printf("   %5.1f %% of oneDNN's rate", 100 * rate / library);
    printf("\n");
}

int main(int argc, char **argv) {
    long rounds = 5, threads = all_threads();
    for (int i = 1; i < argc; i++) {
        char *end = NULL;
        const long value = i + 1 < argc ? strtol(argv[i + 1], &end, 10) : 0;
        const bool good = end != NULL && end != argv[i + 1] && *end == '\0' && value > 0 && value <= 1024;
        if (strcmp(argv[i], "--cpu") == 0) {
            cpu_time = true;
        } else if (strcmp(argv[i], "--rounds") == 0 && good) {
            rounds = value;
            i++;
        } else if (strcmp(argv[i], "--threads") == 0 && good) {
            threads = value;
            i++;
        } else {
            const bool help = strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0;
            (void)fputs(usage, help ? stdout : stderr);
            if (!help) (void)fprintf(stderr, "dukd-bench-features: cannot use '%s'\n", argv[i]);
            return help ? 0 : 2;
        }
    }
    if (cpu_time) threads = 1;
#ifdef _OPENMP
    omp_set_num_threads((int)threads);
#endif
    box maps[3], features[4], images[2];
    for (int i = 0; i < 3; i++) make_box(&maps[i], N, C, SIDE, SIDE, (uint32_t)i);
    for (int i = 0; i < 4; i++)
        make_box(&features[i], i == 2 ? NEGATIVES : N, C, 2 * SIDE, 2 * SIDE, (uint32_t)i);
    make_box(&images[0], N, 3, SIDE, SIDE, 1);
    make_box(&images[1], NEGATIVES, 3, 4 * SIDE, 4 * SIDE, 2);
    dukd_onednn_module module = {0};
    dukd_backend *library = NULL, *own = NULL;
    char detail[256] = "", name[64] = "the own kernels";
    double large = 0, flat = 0, by_library = 0, by_own = 0, csd[2] = {0, 0};
    const bool has_library = open_module(&module);
    if (dukd_backend_cpu_create(&own, NULL, NULL, NULL) != DUKD_OK ||
        dukd_backend_cpu_create(&library, NULL, NULL, NULL) != DUKD_OK)
        return 1;
#ifdef DUKD_ONEDNN_MODULE
    dukd_backend_cpu_open_products(library, DUKD_ONEDNN_MODULE, detail);
#endif
    for (long r = 0; r < rounds; r++) {
        if (has_library) {
            time_product(&module, LARGE, LARGE, LARGE, (int)threads, &large);
            time_product(&module, PIXELS, PIXELS, C, (int)threads, &flat);
            time_affinity(library, maps, &by_library);
        }
        time_affinity(own, maps, &by_own);
        time_csd(own, features, images, csd);
    }
    const double best = large > flat ? large : flat, plain = 3.0 * C * PIXELS * PIXELS * N * POSITIONS;
    printf("%ld thread%s, %s, best of %ld rounds; 4 affinities of 16 x 64 x 48 x 48: %.1f G multiply-adds "
           "(%.1f without the symmetry)\n",
           threads, threads == 1 ? "" : "s", cpu_time ? "processor time" : "seconds", rounds,
           1e-9 * multiply_adds(), 1e-9 * plain);
    if (has_library) {
        printf("%s alone: %.1f G multiply-adds/s (1024^3), %.1f (2304 x 2304 x 64)\n", module.name,
               1e-9 * large, 1e-9 * flat);
        print_affinity(detail, by_library, best);
    } else {
        printf("SKIP: this build has no module of oneDNN: nothing to compare with\n");
    }
    print_affinity(name, by_own, best);
    printf("contrast, 16 x 64 x 96 x 96, %d negatives: %.3f s; upscaling %d x 3 x 48 x 48 by 4: %.4f s\n",
           NEGATIVES, csd[0], NEGATIVES, csd[1]);
    own->destroy(own);
    library->destroy(library);
    for (int i = 0; i < 3; i++) free(maps[i].t.data);
    for (int i = 0; i < 4; i++) free(features[i].t.data);
    for (int i = 0; i < 2; i++) free(images[i].t.data);
    return 0;
}
