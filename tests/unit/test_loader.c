/* The loader: the same batches whatever the threads, errors in their place, a clean stop at any time. */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "data/loader.h"
#include "data_fixture.h"

enum { IMAGES = 7, BATCH = 4, SIDE = 6, SCALE = 3, BIG = SIDE * SCALE };
enum { LR_VALUES = BATCH * 3 * SIDE * SIDE, HR_VALUES = BATCH * 3 * BIG * BIG };

static dukd_dataset *some_images(int64_t cache_bytes) {
    for (int i = 0; i < IMAGES; i++) {
        char name[32];
        snprintf(name, sizeof name, "hr/%d.png", i);
        data_png(data_path(name), 40 + 3 * i, 52 - 2 * i, i == 3 ? 16 : 8, (uint64_t)i);
    }
    return data_open(
        &(dukd_dataset_options){.dataroot_gt = data_path("hr"), .scale = SCALE, .cache_bytes = cache_bytes});
}

static dukd_loader_options options_of(const dukd_dataset *d) {
    return (dukd_loader_options){.dataset = d,
                                 .batch = BATCH,
                                 .lr_side = SIDE,
                                 .enlarge = 3,
                                 .use_hflip = 1,
                                 .use_rot = 1,
                                 .workers = 2,
                                 .ahead = 2,
                                 .ranks = 1,
                                 .seed = 11,
                                 .first_iteration = 1};
}

static dukd_loader *loader_of(const dukd_loader_options *o) {
    dukd_loader *l = NULL;
    dukd_failure f = {0};
    if (dukd_loader_create(&l, o, &f) != DUKD_DONE) fail_msg("%s", f.message);
    return l;
}

static dukd_batch next_of(dukd_loader *l) {
    dukd_batch b = {0};
    dukd_failure f = {0};
    if (dukd_loader_next(l, &b, &f) != DUKD_DONE) fail_msg("%s", f.message);
    return b;
}

static void pause_ms(int ms) {
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000L}, NULL);
}

static void a_batch_holds_the_samples_of_its_iteration(void **state) {
    (void)state;
    dukd_dataset *d = some_images(0);
    const dukd_loader_options o = options_of(d);
    dukd_loader *l = loader_of(&o);
    const dukd_sampler s = {
        .seed = 11, .images = IMAGES, .enlarge = 3, .batch = BATCH, .ranks = 1, .use_hflip = 1, .use_rot = 1};
    assert_int_equal(dukd_loader_epoch_length(l), 5); /* 21 places */
    float small[3 * SIDE * SIDE], big[3 * BIG * BIG];
    for (int64_t t = 1; t <= 12; t++) {
        const dukd_batch b = next_of(l);
        assert_int_equal(b.iteration, t);
        assert_int_equal(b.first_sample, (t - 1) * BATCH);
        assert_int_equal(b.epoch, (t - 1) / 5);
        assert_int_equal((uintptr_t)b.lr % 64, 0);
        assert_int_equal((uintptr_t)b.hr % 64, 0);
        for (int64_t j = 0; j < BATCH; j++) {
            const int64_t k = b.first_sample + j, image = dukd_sampler_image(&s, k, NULL);
            dukd_image lr, hr;
            assert_int_equal(dukd_dataset_read(d, image, &lr, &hr, NULL), DUKD_DONE);
            const dukd_placement p = dukd_sampler_place(&s, k, lr.width, lr.height, SIDE);
            data_crop_ref(&lr, p.row, p.col, SIDE, p.orientation, small);
            data_crop_ref(&hr, p.row * SCALE, p.col * SCALE, BIG, p.orientation, big);
            assert_memory_equal(b.lr + j * LR_VALUES / BATCH, small, sizeof small);
            assert_memory_equal(b.hr + j * HR_VALUES / BATCH, big, sizeof big);
            dukd_image_free(&lr);
            dukd_image_free(&hr);
        }
    }
    dukd_loader_destroy(l);
    dukd_dataset_close(d);
}

/* Iterations first .. first + count - 1, appended as LR and HR of each. */
static float *batches(dukd_loader_options o, int64_t first, int64_t count) {
    float *all = malloc((size_t)count * (LR_VALUES + HR_VALUES) * sizeof *all), *to = all;
    assert_non_null(all);
    o.first_iteration = first;
    dukd_loader *l = loader_of(&o);
    const size_t lr_values = (size_t)o.batch * LR_VALUES / BATCH,
                 hr_values = (size_t)o.batch * HR_VALUES / BATCH;
    for (int64_t t = first; t < first + count; t++, to += lr_values + hr_values) {
        const dukd_batch b = next_of(l);
        assert_int_equal(b.iteration, t);
        memcpy(to, b.lr, lr_values * sizeof *to);
        memcpy(to + lr_values, b.hr, hr_values * sizeof *to);
    }
    dukd_loader_destroy(l);
    return all;
}

static void threads_change_no_bit(void **state) {
    (void)state;
    enum { COUNT = 17 };
    const size_t bytes = COUNT * (LR_VALUES + HR_VALUES) * sizeof(float);
    dukd_dataset *d = some_images(20000); /* about three images: they come and go */
    dukd_loader_options o = options_of(d);
    o.workers = 0;
    float *wanted = batches(o, 1, COUNT);
    const int32_t workers[] = {1, 2, 3, 8, 1, 8}, ahead[] = {1, 2, 5, 1, 20, 20};
    for (size_t i = 0; i < sizeof workers / sizeof *workers; i++) {
        o.workers = workers[i];
        o.ahead = ahead[i];
        float *got = batches(o, 1, COUNT);
        assert_memory_equal(got, wanted, bytes);
        free(got);
    }
    o.seed++;
    float *other = batches(o, 1, COUNT);
    assert_memory_not_equal(other, wanted, bytes);
    free(other);
    free(wanted);
    dukd_dataset_close(d);
}

/* Ten iterations of one rank with three batches, gone on from by ranks of one batch each: the samples are those that were due. */
static void a_shift_goes_on_with_other_batches(void **state) {
    (void)state;
    dukd_dataset *d = some_images(0);
    dukd_loader_options o = options_of(d);
    o.first_iteration = 11;
    o.ranks = 2;
    o.rank = 1;
    o.shift = 10 * 3 * BATCH - 10 * 2 * BATCH;
    dukd_loader *l = loader_of(&o);
    const dukd_batch b = next_of(l);
    assert_int_equal(b.iteration, 11);
    assert_int_equal(b.first_sample, 30 * BATCH + BATCH);
    const dukd_sampler s = {.seed = o.seed,
                            .images = IMAGES,
                            .enlarge = o.enlarge,
                            .batch = BATCH,
                            .ranks = 2,
                            .use_hflip = 1,
                            .use_rot = 1};
    float small[3 * SIDE * SIDE];
    dukd_image lr, hr;
    assert_int_equal(dukd_dataset_read(d, dukd_sampler_image(&s, b.first_sample, NULL), &lr, &hr, NULL),
                     DUKD_DONE);
    const dukd_placement p = dukd_sampler_place(&s, b.first_sample, lr.width, lr.height, SIDE);
    data_crop_ref(&lr, p.row, p.col, SIDE, p.orientation, small);
    assert_memory_equal(b.lr, small, sizeof small);
    dukd_image_free(&lr);
    dukd_image_free(&hr);
    dukd_loader_destroy(l);
    o.shift = -1 - 22 * BATCH; /* before the first sample */
    assert_int_equal(dukd_loader_create(&l, &o, NULL), DUKD_MISUSED);
    dukd_dataset_close(d);
}

static void a_resumed_run_goes_on_where_it_was(void **state) {
    (void)state;
    dukd_dataset *d = some_images(0);
    const dukd_loader_options o = options_of(d);
    float *whole = batches(o, 1, 14);
    for (int64_t first = 2; first <= 13; first += 3) {
        float *rest = batches(o, first, 14 - first + 1);
        assert_memory_equal(rest, whole + (first - 1) * (LR_VALUES + HR_VALUES),
                            (size_t)(14 - first + 1) * (LR_VALUES + HR_VALUES) * sizeof *rest);
        free(rest);
    }
    float *far = batches(o, INT64_C(1) << 40, 2);
    free(far);
    free(whole);
    dukd_dataset_close(d);
}

/* Two ranks of 2 together see the samples of one of 4 (7 images x 4 = 28 places are a multiple of both). */
static void ranks_share_the_global_batch(void **state) {
    (void)state;
    dukd_dataset *d = some_images(0);
    dukd_loader_options o = options_of(d);
    o.enlarge = 4;
    dukd_loader *one = loader_of(&o), *half[2];
    o.ranks = 2;
    o.batch = 2;
    for (o.rank = 0; o.rank < 2; o.rank++) half[o.rank] = loader_of(&o);
    assert_int_equal(dukd_loader_epoch_length(one), dukd_loader_epoch_length(half[0]));
    for (int64_t t = 1; t <= 15; t++) {
        const dukd_batch b = next_of(one);
        for (int64_t rank = 0; rank < 2; rank++) {
            const dukd_batch r = next_of(half[rank]);
            assert_int_equal(r.iteration, t);
            assert_int_equal(r.first_sample, b.first_sample + 2 * rank);
            assert_memory_equal(r.lr, b.lr + rank * LR_VALUES / 2, LR_VALUES / 2 * sizeof(float));
            assert_memory_equal(r.hr, b.hr + rank * HR_VALUES / 2, HR_VALUES / 2 * sizeof(float));
        }
    }
    dukd_loader_destroy(one);
    dukd_loader_destroy(half[0]);
    dukd_loader_destroy(half[1]);
    dukd_dataset_close(d);
}

/* While the caller holds a batch the workers fill all others, and then rest. */
static void a_batch_stays_until_the_next_call(void **state) {
    (void)state;
    dukd_dataset *d = some_images(0);
    dukd_loader_options o = options_of(d);
    o.workers = 3;
    dukd_loader *l = loader_of(&o);
    float *copy = malloc(HR_VALUES * sizeof *copy);
    assert_non_null(copy);
    for (int t = 0; t < 6; t++) {
        const dukd_batch b = next_of(l);
        memcpy(copy, b.hr, HR_VALUES * sizeof *copy);
        pause_ms(20);
        assert_memory_equal(b.hr, copy, HR_VALUES * sizeof *copy);
    }
    const double waited = dukd_loader_waited(l);
    assert_true(waited >= 0 && waited < 5);
    for (int t = 0; t < 3; t++) { /* all made by now: no wait, to the last digit */
        pause_ms(100);
        next_of(l);
    }
    if (!DUKD_TEST_SANITIZED) assert_true(dukd_loader_waited(l) == waited);
    free(copy);
    dukd_loader_destroy(l);
    dukd_dataset_close(d);
}

static void waiting_is_measured(void **state) {
    (void)state;
    dukd_dataset *d = some_images(-1); /* every crop decodes */
    dukd_loader_options o = options_of(d);
    for (o.workers = 0; o.workers <= 1; o.workers++) {
        struct timespec start, end;
        dukd_loader *l = loader_of(&o);
        clock_gettime(CLOCK_MONOTONIC, &start);
        for (int t = 0; t < 60; t++) next_of(l);
        clock_gettime(CLOCK_MONOTONIC, &end);
        const double spent =
            (double)(end.tv_sec - start.tv_sec) + (double)(end.tv_nsec - start.tv_nsec) * 1e-9;
        assert_true(dukd_loader_waited(l) > 0.3 * spent);
        assert_true(dukd_loader_waited(l) <= spent);
        dukd_loader_destroy(l);
    }
    dukd_dataset_close(d);
}

/* ---- errors ---- */

static void an_unreadable_file_is_reported_when_its_batch_is_due(void **state) {
    (void)state;
    for (int32_t workers = 0; workers <= 4; workers += 2) {
        dukd_dataset *d = some_images(0);
        dukd_loader_options o = options_of(d);
        o.workers = workers;
        o.ahead = 3;
        const dukd_sampler s = {.seed = o.seed, .images = IMAGES, .enlarge = 3, .batch = BATCH, .ranks = 1};
        /* Of the first 21 samples the place of every image is known: damage the one that comes last, then a second in
         * the same batch, after it, if there is one. */
        int64_t due[IMAGES], last = 0, k = 0;
        memset(due, -1, sizeof due);
        for (; k < 200; k++) {
            const int64_t image = dukd_sampler_image(&s, k, NULL);
            if (due[image] < 0) due[image] = k;
        }
        for (int64_t i = 0; i < IMAGES; i++)
            if (due[i] > due[last]) last = i;
        char name[32], broken[32];
        snprintf(name, sizeof name, "hr/%d.png", (int)last);
        data_text(data_path(name), "damaged");
        snprintf(broken, sizeof broken, "%d.png", (int)last);
        dukd_loader *l = loader_of(&o);
        const int64_t good = due[last] / BATCH;
        assert_true(good > 0);
        for (int64_t t = 1; t <= good; t++) {
            assert_int_equal(next_of(l).iteration, t);
            pause_ms(5); /* the workers are past the damaged file by now */
        }
        for (int again = 0; again < 3; again++) {
            dukd_batch b = {0};
            dukd_failure f = {0};
            assert_int_equal(dukd_loader_next(l, &b, &f), DUKD_FAILED);
            assert_non_null(strstr(f.message, broken));
        }
        dukd_loader_destroy(l);
        dukd_dataset_close(d);
    }
}

/* With all files gone the message is that of the first sample, whichever worker was the fastest. */
static void of_several_errors_the_first_sample_s_is_reported(void **state) {
    (void)state;
    for (int round = 0; round < 20; round++) {
        dukd_dataset *d = some_images(0);
        dukd_loader_options o = options_of(d);
        o.workers = 4;
        o.seed = (uint64_t)round;
        const dukd_sampler s = {.seed = o.seed, .images = IMAGES, .enlarge = 3, .batch = BATCH, .ranks = 1};
        for (int i = 0; i < IMAGES; i++) assert_int_equal(remove(dukd_dataset_path(d, i)), 0);
        dukd_loader *l = loader_of(&o);
        dukd_batch b = {0};
        dukd_failure f = {0};
        assert_int_equal(dukd_loader_next(l, &b, &f), DUKD_FAILED);
        assert_non_null(strstr(f.message, dukd_dataset_path(d, dukd_sampler_image(&s, 0, NULL))));
        dukd_loader_destroy(l);
        dukd_dataset_close(d);
    }
}

static void refused(dukd_loader_options o, int status, const char *part) {
    dukd_loader *l = NULL;
    dukd_failure f = {0};
    assert_int_equal(dukd_loader_create(&l, &o, &f), status);
    assert_null(l);
    if (!strstr(f.message, part)) fail_msg("'%s' does not say '%s'", f.message, part);
}

static void impossible_options_are_refused(void **state) {
    (void)state;
    dukd_dataset *d = some_images(0);
    const dukd_loader_options good = options_of(d);
    dukd_loader_options o;
    o = good, o.workers = -1, refused(o, DUKD_MISUSED, "num_worker_per_gpu is -1");
    o = good, o.workers = 257, refused(o, DUKD_MISUSED, "num_worker_per_gpu is 257");
    o = good, o.ahead = 0, refused(o, DUKD_MISUSED, "0 batches ahead");
    o = good, o.batch = 0, refused(o, DUKD_MISUSED, "batch_size_per_gpu is 0");
    o = good, o.batch = 22, refused(o, DUKD_MISUSED, "set dataset_enlarge_ratio to 4 or more");
    o = good, o.rank = 1, refused(o, DUKD_MISUSED, "rank 1 of 1");
    o = good, o.rank = -1, refused(o, DUKD_MISUSED, "rank -1 of 1");
    o = good, o.first_iteration = 0, refused(o, DUKD_MISUSED, "first iteration is 0");
    o = good, o.first_iteration = INT64_MAX, refused(o, DUKD_MISUSED, "first iteration is");
    o = good, o.lr_side = 0, refused(o, DUKD_MISUSED, "gt_size");
    o = good, o.lr_side = 14, refused(o, DUKD_FAILED, "0.png is 40x52: too small for patches of 42x42");
    dukd_dataset_close(d);
}

/* ---- stopping ---- */

static void it_stops_cleanly_at_any_time(void **state) {
    (void)state;
    dukd_loader_destroy(NULL);
    dukd_dataset *d = some_images(-1);
    for (int round = 0; round < 60; round++) {
        dukd_loader_options o = options_of(d);
        o.workers = round % 5;
        o.ahead = 1 + round % 3;
        dukd_loader *l = loader_of(&o);
        if (round % 4 == 1) pause_ms(1);
        for (int t = 0; t < round % 7; t++) next_of(l);
        if (round % 4 == 2) pause_ms(2);
        dukd_loader_destroy(l);
    }
    dukd_dataset_close(d);
}

static volatile sig_atomic_t signals;
static void count_signal(int number) {
    (void)number;
    signals++;
}

/* A signal sent to the process must find no worker to run its handler: SIGINT is for the thread that saves. */
static void workers_take_no_signals(void **state) {
    (void)state;
    dukd_dataset *d = some_images(0);
    const dukd_loader_options o = options_of(d);
    const struct sigaction count = {.sa_handler = count_signal};
    struct sigaction before;
    sigset_t usr1, mask, pending;
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    sigaction(SIGUSR1, &count, &before);
    dukd_loader *l = loader_of(&o);
    pthread_sigmask(SIG_BLOCK, &usr1, &mask);
    assert_false(sigismember(&mask, SIGUSR1)); /* creating the loader has left the caller's mask alone */
    next_of(l);
    kill(getpid(), SIGUSR1);
    pause_ms(50);
    sigpending(&pending);
    assert_true(sigismember(&pending, SIGUSR1));
    assert_int_equal(signals, 0);
    pthread_sigmask(SIG_SETMASK, &mask, NULL);
    assert_int_equal(signals, 1);
    sigaction(SIGUSR1, &before, NULL);
    dukd_loader_destroy(l);
    dukd_dataset_close(d);
}

#define IN_SCRATCH(test) cmocka_unit_test_setup_teardown(test, data_setup, data_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_SCRATCH(a_batch_holds_the_samples_of_its_iteration),
        IN_SCRATCH(threads_change_no_bit),
        IN_SCRATCH(a_resumed_run_goes_on_where_it_was),
        IN_SCRATCH(a_shift_goes_on_with_other_batches),
        IN_SCRATCH(ranks_share_the_global_batch),
        IN_SCRATCH(a_batch_stays_until_the_next_call),
        IN_SCRATCH(waiting_is_measured),
        IN_SCRATCH(an_unreadable_file_is_reported_when_its_batch_is_due),
        IN_SCRATCH(of_several_errors_the_first_sample_s_is_reported),
        IN_SCRATCH(impossible_options_are_refused),
        IN_SCRATCH(it_stops_cleanly_at_any_time),
        IN_SCRATCH(workers_take_no_signals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
