/* dukd-bench-loader: what making training batches costs, and whether a trainer would wait for them.
 *
 * Measured on a folder of HR images (LR made on the fly; first while the images are decoded, then from the cache) and on the tiled
 * set that `prepare` makes of it, in a scratch folder that is removed again. */
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "data/dataset.h"
#include "data/loader.h"
#include "data/prepare.h"
#include "data/tiled.h"

enum { BATCH = 16, SIDE = 48, SCALE = 4, BATCHES = 200, STEPS = 20 };
#define STEP_SECONDS 1.6 /* a step of the benchmark, in f32 on 2 cores */
#define PAUSE        .1  /* seconds of a step that is only waited for */

static const char usage[] =
    "usage: dukd-bench-loader HR_DIR\n"
    "Cost of batches of 16 crops of 192x192 (LR 48x48), from a folder and from a prepared set.\n"
    "example: dukd-bench-loader ../shared/data/BSDS200/HR\n";

static double seconds(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static dukd_loader_options loader_options(const dukd_dataset *d, int32_t workers) {
    return (dukd_loader_options){.dataset = d,
                                 .batch = BATCH,
                                 .lr_side = SIDE,
                                 .enlarge = 100,
                                 .use_hflip = 1,
                                 .use_rot = 1,
                                 .workers = workers,
                                 .ahead = 2,
                                 .ranks = 1,
                                 .seed = 1,
                                 .first_iteration = 1};
}

static int take(dukd_loader *l, int count, double *milliseconds, dukd_failure *f) {
    dukd_batch b;
    int status = DUKD_DONE;
    const double start = seconds(CLOCK_PROCESS_CPUTIME_ID);
    for (int i = 0; i < count && status == DUKD_DONE; i++) status = dukd_loader_next(l, &b, f);
    *milliseconds = (seconds(CLOCK_PROCESS_CPUTIME_ID) - start) / count * 1e3;
    return status;
}

/* How long a trainer of short steps waits for one worker. */
static int take_slowly(const dukd_dataset *d, double *share, dukd_failure *f) {
    dukd_loader *l = NULL;
    dukd_batch b;
    const dukd_loader_options o = loader_options(d, 1);
    int status = dukd_loader_create(&l, &o, f);
    if (status == DUKD_DONE) status = dukd_loader_next(l, &b, f); /* the first batch is always waited for */
    const double before = status == DUKD_DONE ? dukd_loader_waited(l) : 0, start = seconds(CLOCK_MONOTONIC);
    for (int i = 0; i < STEPS && status == DUKD_DONE; i++) {
        nanosleep(&(struct timespec){0, (long)(PAUSE * 1e9)}, NULL);
        status = dukd_loader_next(l, &b, f);
    }
    if (status == DUKD_DONE) *share = (dukd_loader_waited(l) - before) / (seconds(CLOCK_MONOTONIC) - start);
    dukd_loader_destroy(l);
    return status;
}

static int measure(const char *title, const char *root, dukd_failure *f) {
    dukd_dataset *d = NULL;
    dukd_loader *l = NULL;
    double cold = 0, warm = 0, share = 0;
    const dukd_dataset_options o = {.dataroot_gt = root, .scale = SCALE};
    int status = dukd_dataset_open(&d, &o, f);
    if (status == DUKD_DONE) {
        const dukd_loader_options lo = loader_options(d, 0);
        status = dukd_loader_create(&l, &lo, f);
    }
    if (status == DUKD_DONE) status = take(l, (int)(dukd_dataset_count(d) / BATCH) + 1, &cold, f);
    if (status == DUKD_DONE)
        status = take(l, 3 * (int)(dukd_dataset_count(d) / BATCH) + 1, &warm, f); /* the rest of the set */
    if (status == DUKD_DONE) status = take(l, BATCHES, &warm, f);
    if (status == DUKD_DONE) status = take_slowly(d, &share, f);
    if (status == DUKD_DONE) {
        const dukd_dataset_traffic t = dukd_dataset_measure(d);
        struct rusage use;
        getrusage(RUSAGE_SELF, &use);
        printf(
            "%-10s %5lld images: first batches %7.2f ms, then %6.2f ms of one core = %.3f %% of a %.1f s "
            "step; "
            "a trainer of %.0f ms a step waits %.3f %%; decoded %lld, cached %.0f MB, peak memory %.0f MB\n",
            title, (long long)dukd_dataset_count(d), cold, warm, warm / STEP_SECONDS / 10, STEP_SECONDS,
            PAUSE * 1e3, share * 100, (long long)t.decoded, (double)t.peak_bytes / 1e6,
            (double)use.ru_maxrss * 1024 / 1e6);
    }
    dukd_loader_destroy(l);
    dukd_dataset_close(d);
    return status;
}

static int remove_one(const char *path, const struct stat *info, int type, struct FTW *ftw) {
    (void)info;
    (void)type;
    (void)ftw;
    return remove(path);
}

int main(int argc, char **argv) {
    dukd_failure f = {0};
    if (argc != 2 || !strcmp(argv[1], "--help")) {
        fputs(usage, argc == 2 ? stdout : stderr);
        return argc == 2 ? DUKD_DONE : DUKD_MISUSED;
    }
    const char *tmp = getenv("TMPDIR");
    char scratch[512];
    snprintf(scratch, sizeof scratch, "%s/dukd_bench_XXXXXX", tmp ? tmp : "/tmp");
    const int32_t scale = SCALE;
    const dukd_prepare_options prepare = {
        .hr_dir = argv[1], .out_dir = scratch, .scales = &scale, .scale_count = 1, .tile = DUKD_TILE_SIDE};
    dukd_prepare_report report;
    int status =
        mkdtemp(scratch) ? DUKD_DONE : dukd_fail(&f, DUKD_FAILED, "%s: no folder can be made here", scratch);
    if (status != DUKD_DONE) goto fail;
    status = dukd_prepare_run(&prepare, &report, &f);
    if (status == DUKD_DONE)
        status = measure("prepared", scratch, &f); /* first: it has the lower peak of memory */
    if (status == DUKD_DONE) status = measure("folder", argv[1], &f);
    nftw(scratch, remove_one, 16, FTW_DEPTH | FTW_PHYS);
fail:
    if (status != DUKD_DONE) fprintf(stderr, "dukd-bench-loader: %s\n", f.message);
    return status;
}
