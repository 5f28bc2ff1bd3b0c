/* dukd-bench-plugin: how fast the plugin's CPU kernels are, against the memory bandwidth measured in the same
 * run.
 *
 * Every case works on buffer sets that together are four times the last-level cache and are taken in turn, so
 * that nothing is found in a cache. Cases are interleaved round by round, the best round counts, and the copy
 * that kernels are compared with is the best of several (ordinary and non-temporal stores, each width) over
 * the same buffers. */
#include "backend.h"
#include "bench_copy.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#ifdef _OPENMP
#include <omp.h>
#endif

enum { N = 16, C = 3, HR = 192, LR = 48, SCALE = 4, MAX_SETS = 4096, MAX_CASES = 256 };

static const char usage[] =
    "usage: dukd-bench-plugin [--json] [--rounds N] [--threads N] [--llc BYTES]\n"
    "Speed of the plugin's CPU kernels for a batch of 16 x 3 x 192 x 192 (LR 48 x 48, scale 4).\n"
    "  --json       one JSON object instead of the table\n"
    "  --rounds N   repetitions, of which the best counts (default 20)\n"
    "  --threads N  compare 1 thread with N (default: all)\n"
    "  --llc BYTES  size of the last-level cache (default: what the system says)\n"
    "example: dukd-bench-plugin --rounds 50\n";

/* ---------------------------------------------------------------- the machine */

static double now(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* From sysfs, else from the C library, else 32 MiB. */
static int64_t last_level_cache(void) {
    int64_t largest = 0;
    for (int i = 0; i < 8; i++) {
        char path[96], unit = 0;
        long long size = 0;
        (void)snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/size", i);
        FILE *f = fopen(path, "r");
        if (f == NULL) continue;
        if (fscanf(f, "%lld%c", &size, &unit) >= 1) {
            const int64_t bytes = size * (unit == 'K' ? 1024 : unit == 'M' ? 1024 * 1024 : 1);
            if (bytes > largest) largest = bytes;
        }
        (void)fclose(f);
    }
#ifdef _SC_LEVEL3_CACHE_SIZE
    if (largest <= 0) largest = sysconf(_SC_LEVEL3_CACHE_SIZE);
#endif
    return largest > 0 ? largest : 32 * 1024 * 1024;
}

static int all_threads(void) {
#ifdef _OPENMP
    return omp_get_max_threads();
#else
    return 1;
#endif
}

static void use_threads(int n) {
#ifdef _OPENMP
    omp_set_num_threads(n);
#else
    (void)n;
#endif
}

/* ---------------------------------------------------------------- cases */

typedef struct {
    dukd_tensor t;
    int64_t shape[4], strides[4];
} box;

typedef enum {
    CASE_COPY,
    CASE_TRIAD,
    CASE_L1,
    CASE_ZOOM_IN,
    CASE_ZOOM_OUT,
    CASE_HOOK,
    CASE_HARDEST
} case_kind;

typedef struct {
    case_kind kind;
    const char *name, *type, *level;
    dukd_dtype dtype, grad_dtype;
    uint32_t n_targets, augment; /* augment ~0u: as drawn in training, each operation with probability .3 */
    bool grad, channels_last;
    bench_copy_function copy;
    dukd_backend *backend;
    int64_t bytes;     /* moved in one call */
    double seconds[2]; /* best, with 1 thread and with many */
} bench_case;

typedef struct {
    char *pool; /* pool_bytes of numbers in [0, 1) of the type in hand */
    int64_t pool_bytes, llc;
    uint32_t turn;
    int32_t image[N], row[N], col[N], hard_row[N], hard_col[N];
    uint32_t drawn[N], same[N];
    char *made[4]; /* outputs of the data hook: used at once by the network, so always the same memory */
} bench_room;

static const dukd_dtype f32 = {DUKD_TYPE_FLOAT, 32, 1}, f16 = {DUKD_TYPE_FLOAT, 16, 1},
                        bf16 = {DUKD_TYPE_BFLOAT, 16, 1};

static void make_box(box *b, void *data, dukd_dtype dtype, int64_t h, int64_t w, bool channels_last) {
    *b = (box){.shape = {N, C, h, w}, .strides = {C * h * w, h * w, w, 1}};
    if (channels_last) {
        b->strides[1] = 1;
        b->strides[2] = w * C;
        b->strides[3] = C;
    }
    b->t = (dukd_tensor){data, {DUKD_DEVICE_CPU, 0}, 4, dtype, b->shape, b->strides, 0};
}

static int64_t tensor_bytes(dukd_dtype dtype, int64_t h, int64_t w) {
    return (int64_t)N * C * h * w * (dtype.bits / 8);
}

/* The next set of `bytes` bytes: sets are taken in turn over the whole pool. */
static char *next_set(bench_room *room, int64_t bytes) {
    const int64_t stride = (bytes + 4095) / 4096 * 4096, sets = room->pool_bytes / stride;
    return room->pool + (int64_t)(room->turn++ % (uint64_t)sets) * stride;
}

static void run_l1(bench_case *k, bench_room *room, char *set) {
    box value, grad, target[2];
    const int64_t step = tensor_bytes(k->dtype, HR, HR);
    make_box(&value, set, k->dtype, HR, HR, k->channels_last);
    make_box(&target[0], set + step, k->dtype, HR, HR, k->channels_last);
    make_box(&target[1], set + 2 * step, k->dtype, HR, HR, k->channels_last);
    make_box(&grad, set + (1 + k->n_targets) * step, k->grad_dtype, HR, HR, k->channels_last);
    dukd_l1_args a = {&value.t,
                      k->grad ? &grad.t : NULL,
                      {&target[0].t, &target[1].t},
                      {1e-6, 1e-6},
                      k->n_targets,
                      0,
                      k->augment != 0 ? room->same : NULL,
                      {0.0, 0.0},
                      {NULL, NULL},
                      NULL};
    (void)k->backend->l1(k->backend, &a, NULL);
}

static void run_zoom_in(bench_case *k, bench_room *room, char *set) {
    box hr, plain, augmented;
    make_box(&hr, set, k->dtype, HR, HR, false);
    make_box(&plain, room->made[0], k->dtype, LR, LR, false);
    make_box(&augmented, room->made[1], k->dtype, LR, LR, false);
    const dukd_zoom_in_args a = {&hr.t,
                                 &plain.t,
                                 &augmented.t,
                                 room->image,
                                 room->row,
                                 room->col,
                                 k->augment == ~0u ? room->drawn : room->same};
    (void)k->backend->zoom_in(k->backend, &a, NULL);
}

static void run_zoom_out(bench_case *k, bench_room *room, char *set) {
    box lr, plain, augmented;
    make_box(&lr, set, k->dtype, LR, LR, false);
    make_box(&plain, room->made[2], k->dtype, LR / SCALE, LR / SCALE, false);
    make_box(&augmented, room->made[3], k->dtype, LR / SCALE, LR / SCALE, false);
    const dukd_zoom_out_args a = {&lr.t, &plain.t, &augmented.t, k->augment == ~0u ? room->drawn : room->same,
                                  SCALE, 0};
    (void)k->backend->zoom_out(k->backend, &a, NULL);
}

static void run_hardest(bench_case *k, bench_room *room, char *set) {
    box a, b;
    make_box(&a, set, k->dtype, HR, HR, false);
    make_box(&b, set + tensor_bytes(k->dtype, HR, HR), k->dtype, HR, HR, false);
    const dukd_hardest_args h = {&a.t, &b.t, LR, LR, room->hard_row, room->hard_col};
    (void)k->backend->hardest(k->backend, &h, NULL);
}

/* Seconds of one call on the next set. */
static double run_case(bench_case *k, bench_room *room, int threads) {
    const int64_t hr = tensor_bytes(k->dtype, HR, HR), lr = tensor_bytes(k->dtype, LR, LR);
    const int64_t set_bytes = k->kind == CASE_ZOOM_IN    ? hr
                              : k->kind == CASE_ZOOM_OUT ? lr
                              : k->kind == CASE_HOOK     ? hr + lr
                              : k->kind == CASE_HARDEST  ? 2 * hr
                                                         : k->bytes;
    char *set = next_set(room, set_bytes);
    for (int n = 0; n < N; n++) {
        room->same[n] = k->augment;
    }
    const double begin = now();
    switch (k->kind) {
    case CASE_COPY:
        bench_run_copy(k->copy, set, set + k->bytes / 2, k->bytes / 2, threads);
        break;
    case CASE_TRIAD: {
        const int64_t n = k->bytes / 24;
        double *a = (double *)(void *)set;
        bench_run_triad(a, a + n, a + 2 * n, n, threads);
        break;
    }
    case CASE_L1:
        run_l1(k, room, set);
        break;
    case CASE_ZOOM_IN:
        run_zoom_in(k, room, set);
        break;
    case CASE_ZOOM_OUT:
        run_zoom_out(k, room, set);
        break;
    case CASE_HOOK:
        run_zoom_in(k, room, set);
        run_zoom_out(k, room, set + hr);
        break;
    case CASE_HARDEST:
        run_hardest(k, room, set);
        break;
    }
    return now() - begin;
}

/* ---------------------------------------------------------------- a run */

typedef struct {
    bench_case cases[MAX_CASES];
    int count;
} bench_list;

static void add_case(bench_list *l, bench_case k) {
    k.seconds[0] = k.seconds[1] = 1e9;
    if (l->count < MAX_CASES) l->cases[l->count++] = k;
}

static void add_kernels(bench_list *l, const char *level, dukd_backend *backend, const char *type,
                        dukd_dtype dtype) {
    const int64_t hr = tensor_bytes(dtype, HR, HR), hr_grad32 = tensor_bytes(f32, HR, HR);
    const int64_t lr = tensor_bytes(dtype, LR, LR), zo = tensor_bytes(dtype, LR / SCALE, LR / SCALE);
    const bench_case base = {
        .type = type, .level = level, .dtype = dtype, .grad_dtype = dtype, .backend = backend};
    bench_case k = base;
    k.kind = CASE_L1;
    k.name = "l1: rec + kd, gradient";
    k.n_targets = 2;
    k.grad = true;
    k.bytes = 4 * hr;
    add_case(l, k);
    if (dtype.bits == 16) {
        k.name = "l1: the same, f32 gradient";
        k.grad_dtype = f32;
        k.bytes = 3 * hr + hr_grad32;
        add_case(l, k);
        k.grad_dtype = dtype;
        k.bytes = 4 * hr;
    }
    k.name = "l1: the same, channels_last";
    k.channels_last = true;
    add_case(l, k);
    k.channels_last = false;
    k.name = "l1: sums only";
    k.grad = false;
    k.bytes = 3 * hr;
    add_case(l, k);
    k.name = "l1: one target, gradient";
    k.grad = true;
    k.n_targets = 1;
    k.bytes = 3 * hr;
    add_case(l, k);
    k.name = "l1: mapped back, inverted";
    k.augment = DUKD_AUGMENT_INVERT;
    add_case(l, k);
    k.name = "l1: mapped back, flipped";
    k.augment = DUKD_AUGMENT_FLIP_W;
    add_case(l, k);
    k.name = "l1: mapped back, transposed";
    k.augment = DUKD_AUGMENT_TRANSPOSE;
    add_case(l, k);
    k.name = "l1: mapped back, turned, inverted";
    k.augment = DUKD_AUGMENT_TRANSPOSE | DUKD_AUGMENT_FLIP_W | DUKD_AUGMENT_INVERT;
    add_case(l, k);

    k = base;
    k.augment = ~0u;
    k.kind = CASE_ZOOM_IN;
    k.name = "zoom in, D as drawn";
    k.bytes = 3 * lr;
    add_case(l, k);
    k.name = "zoom in, D transposes";
    k.augment = DUKD_AUGMENT_TRANSPOSE | DUKD_AUGMENT_INVERT;
    add_case(l, k);
    k.augment = ~0u;
    k.kind = CASE_ZOOM_OUT;
    k.name = "zoom out, D as drawn";
    k.bytes = lr + 2 * zo;
    add_case(l, k);
    k.kind = CASE_HOOK;
    k.name = "data hook: both";
    k.bytes = 4 * lr + 2 * zo;
    add_case(l, k);
    k.kind = CASE_HARDEST;
    k.name = "hardest";
    k.bytes = 2 * hr;
    add_case(l, k);
}

static uint16_t half_of_unit(double x, dukd_dtype dtype) { /* x in [0, 1), cut */
    const float y = (float)(x + 0x1p-10);
    uint32_t u;
    memcpy(&u, &y, sizeof u);
    return dtype.code == DUKD_TYPE_BFLOAT ? (uint16_t)(u >> 16) : (uint16_t)((u - 0x38000000u) >> 13);
}

static void fill_pool(bench_room *room, dukd_dtype dtype) {
    uint64_t state = 88172645463325252u;
    for (int64_t i = 0; i < room->pool_bytes / (dtype.bits / 8); i++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        const double x = (double)(state >> 12) * 0x1p-52;
        if (dtype.bits == 32) {
            ((float *)(void *)room->pool)[i] = (float)x;
        } else {
            ((uint16_t *)(void *)room->pool)[i] = half_of_unit(x, dtype);
        }
    }
}

static void run_rounds(bench_list *l, bench_room *room, int rounds, int threads) {
    for (int many = 0; many < 2; many++) {
        if (many == 1 && threads == 1) break;
        const int n = many == 0 ? 1 : threads;
        use_threads(n);
        for (int round = 0; round < rounds; round++) {
            for (int i = 0; i < l->count; i++) {
                bench_case *k = &l->cases[i];
                if (round >= 3 && k->level != NULL && strcmp(k->level, "ref") == 0) continue;
                const double seconds = run_case(k, room, n);
                if (seconds < k->seconds[many]) k->seconds[many] = seconds;
            }
        }
    }
}

static const bench_case *best_copy(const bench_list *l, int many) {
    const bench_case *best = NULL;
    for (int i = 0; i < l->count; i++) {
        if (l->cases[i].kind == CASE_COPY &&
            (best == NULL || l->cases[i].seconds[many] < best->seconds[many])) {
            best = &l->cases[i];
        }
    }
    return best;
}

static double gigabytes(const bench_case *k, int many) {
    return 1e-9 * (double)k->bytes / k->seconds[many];
}

static void print_table(const bench_list *l, const char *type, int threads) {
    const bench_case *copy[2] = {best_copy(l, 0), best_copy(l, threads > 1 ? 1 : 0)};
    printf("\n%s; best copy: 1 thread %.1f GB/s (%s)", type, gigabytes(copy[0], 0), copy[0]->name);
    if (threads > 1) printf(", %d threads %.1f GB/s (%s)", threads, gigabytes(copy[1], 1), copy[1]->name);
    printf("\n%-34s %-7s %9s %7s %8s", "", "", "1: us", "GB/s", "of copy");
    if (threads > 1) printf(" %8d: us %7s %8s %8s", threads, "GB/s", "of copy", "scaling");
    printf("\n");
    for (int i = 0; i < l->count; i++) {
        const bench_case *k = &l->cases[i];
        printf("%-34s %-7s %9.1f %7.1f %7.0f%%", k->name, k->level != NULL ? k->level : "",
               1e6 * k->seconds[0], gigabytes(k, 0), 100.0 * gigabytes(k, 0) / gigabytes(copy[0], 0));
        if (threads > 1) {
            printf(" %12.1f %7.1f %7.0f%% %8.2f", 1e6 * k->seconds[1], gigabytes(k, 1),
                   100.0 * gigabytes(k, 1) / gigabytes(copy[1], 1), k->seconds[0] / k->seconds[1]);
        }
        printf("\n");
    }
}

static void print_json(const bench_list *l, const char *type, int threads, bool first) {
    for (int i = 0; i < l->count; i++) {
        const bench_case *k = &l->cases[i];
        printf("%s\n  {\"type\": \"%s\", \"case\": \"%s\", \"level\": \"%s\", \"bytes\": %" PRId64,
               first && i == 0 ? "" : ",", type, k->name, k->level != NULL ? k->level : "", k->bytes);
        for (int many = 0; many < (threads > 1 ? 2 : 1); many++) {
            const double of_copy = gigabytes(k, many) / gigabytes(best_copy(l, many), many);
            printf(", \"seconds_%d\": %.9f, \"of_copy_%d\": %.4f", many == 0 ? 1 : threads, k->seconds[many],
                   many == 0 ? 1 : threads, of_copy);
        }
        printf("}");
    }
}

static const bench_case *find_case(const bench_list *l, const char *name, const char *level) {
    for (int i = 0; i < l->count; i++) {
        const bench_case *k = &l->cases[i];
        if (k->level != NULL && strcmp(k->level, level) == 0 && strcmp(k->name, name) == 0) return k;
    }
    return NULL;
}

/* The three figures that the plugin is held to. */
static void print_verdict(const bench_list *l, const char *level, int threads) {
    const bench_case *loss = find_case(l, "l1: rec + kd, gradient", level),
                     *hook = find_case(l, "data hook: both", level);
    if (loss == NULL || hook == NULL) return;
    printf("\nf32, %s:\n", level);
    for (int many = 0; many < (threads > 1 ? 2 : 1); many++) {
        printf("  %d thread%s: loss and gradient at %.0f%% of copy (80%% wanted); data hook %.2f of its time "
               "(.33 wanted)\n",
               many == 0 ? 1 : threads, many == 0 ? "" : "s",
               100.0 * gigabytes(loss, many) / gigabytes(best_copy(l, many), many),
               hook->seconds[many] / loss->seconds[many]);
    }
    if (threads > 1) {
        printf("  %d threads are %.2f times as fast as one (the copy: %.2f)\n", threads,
               loss->seconds[0] / loss->seconds[1],
               best_copy(l, 0)->seconds[0] / best_copy(l, 1)->seconds[1]);
    }
}

static bool make_room(bench_room *room, int64_t llc) {
    *room = (bench_room){.llc = llc};
    /* four times the cache, and at least three sets of the largest kind */
    const int64_t set = 4 * tensor_bytes(f32, HR, HR);
    room->pool_bytes = 4 * llc > 3 * set ? 4 * llc : 3 * set;
    room->pool_bytes = (room->pool_bytes + set - 1) / set * set + 3 * 4096;
    room->pool = aligned_alloc(4096, (size_t)((room->pool_bytes + 4095) / 4096 * 4096));
    for (int i = 0; i < 4; i++) {
        room->made[i] = aligned_alloc(64, (size_t)tensor_bytes(f32, LR, LR));
        if (room->made[i] == NULL) return false;
    }
    uint32_t state = 1;
    for (int n = 0; n < N; n++) {
        state = state * 1664525u + 1013904223u;
        room->image[n] = n;
        room->row[n] = (int32_t)((state >> 8) % (HR - LR + 1));
        room->col[n] = (int32_t)((state >> 17) % (HR - LR + 1));
        for (int bit = 0; bit < 4; bit++) {
            state = state * 1664525u + 1013904223u;
            if ((state >> 8) % 10 < 3) room->drawn[n] |= 1u << bit;
        }
    }
    return room->pool != NULL;
}

int main(int argc, char **argv) {
    bool json = false;
    long rounds = 20, threads = all_threads();
    int64_t llc = last_level_cache();
    for (int i = 1; i < argc; i++) {
        char *end = NULL;
        const bool has_value = i + 1 < argc;
        const long long value = has_value ? strtoll(argv[i + 1], &end, 10) : 0;
        const bool good = has_value && end != argv[i + 1] && *end == '\0' && value > 0;
        if (strcmp(argv[i], "--json") == 0) {
            json = true;
        } else if (strcmp(argv[i], "--rounds") == 0 && good && value < 100000) {
            rounds = (long)value;
            i++;
        } else if (strcmp(argv[i], "--threads") == 0 && good && value <= 1024) {
            threads = (long)value;
            i++;
        } else if (strcmp(argv[i], "--llc") == 0 && good && value < (1LL << 34)) {
            llc = value;
            i++;
        } else {
            const bool help = strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0;
            (void)fputs(usage, help ? stdout : stderr);
            if (!help) (void)fprintf(stderr, "dukd-bench-plugin: cannot use '%s'\n", argv[i]);
            return help ? 0 : 2;
        }
    }

    static bench_room room;
    static bench_list list;
    if (!make_room(&room, llc)) {
        (void)fprintf(stderr,
                      "dukd-bench-plugin: out of memory: buffers of four times the last-level cache (%" PRId64
                      " bytes); give a smaller --llc\n",
                      llc);
        return 1;
    }
    dukd_backend *backend[3] = {NULL, NULL, NULL};
    const char *levels[3] = {"ref", "avx2", "avx512"}, *best = "ref";
    for (int i = 0; i < 3; i++) {
        if (dukd_backend_cpu_create(&backend[i], NULL, levels[i], NULL) == DUKD_OK) best = levels[i];
    }
    dukd_backend_info info = {.struct_size = DUKD_BACKEND_INFO_SIZE};
    dukd_backend_cpu_describe(&info);
    if (json) {
        printf("{\"backend\": \"%s\", \"last_level_cache\": %" PRId64 ", \"threads\": %ld, \"results\": [",
               info.detail, llc, threads);
    } else {
        printf("%s; last-level cache %.0f MiB; best of %ld rounds over %.0f MB of buffers\n", info.detail,
               (double)llc / 1048576.0, rounds, 1e-6 * (double)room.pool_bytes);
    }
    const struct {
        const char *name;
        dukd_dtype dtype;
    } types[3] = {{"f32", f32}, {"bf16", bf16}, {"f16", f16}};
    for (int t = 0; t < 3; t++) {
        fill_pool(&room, types[t].dtype);
        list.count = 0;
        bench_copy copies[BENCH_COPIES];
        const int n_copies = bench_list_copies(copies);
        const int64_t bytes = 4 * tensor_bytes(f32, HR, HR);
        for (int i = 0; i < n_copies; i++) {
            add_case(&list, (bench_case){.kind = CASE_COPY,
                                         .name = copies[i].name,
                                         .dtype = f32,
                                         .copy = copies[i].copy,
                                         .bytes = bytes});
        }
        add_case(
            &list,
            (bench_case){.kind = CASE_TRIAD, .name = "STREAM triad", .dtype = f32, .bytes = bytes / 24 * 24});
        for (int i = 0; i < 3; i++) {
            if (backend[i] != NULL) add_kernels(&list, levels[i], backend[i], types[t].name, types[t].dtype);
        }
        run_rounds(&list, &room, (int)rounds, (int)threads);
        if (json) {
            print_json(&list, types[t].name, (int)threads, t == 0);
        } else {
            print_table(&list, types[t].name, (int)threads);
            if (t == 0) print_verdict(&list, best, (int)threads);
        }
    }
    if (json) printf("\n]}\n");
    for (int i = 0; i < 3; i++) {
        if (backend[i] != NULL) backend[i]->destroy(backend[i]);
    }
    for (int i = 0; i < 4; i++) {
        free(room.made[i]);
    }
    free(room.pool);
    return 0;
}
