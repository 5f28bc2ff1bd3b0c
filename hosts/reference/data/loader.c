/* A ring of batches between workers, who fill them sample by sample in order, and the trainer, who takes them in order. */
#include "data/loader.h"

#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/checked.h"
#include "data/sampler.h"

#define MAX_WORKERS 256
#define MAX_AHEAD   256
#define MAX_SAMPLE  (INT64_C(1) << 60) /* of the first batch: a run on from there cannot overflow */
#define ALIGNMENT   64                 /* bytes: a cache line, and the widest vector */

typedef struct {
    float *lr, *hr;
    int64_t iteration;    /* whose batch it holds or gets; 0: none yet */
    int32_t missing;      /* samples not finished */
    int32_t failed_place; /* the first place of the batch that failed; batch: none */
    dukd_failure failure; /* of that place */
} slot;

struct dukd_loader {
    dukd_loader_options o;
    dukd_sampler sampler;
    int64_t lr_values, hr_values; /* of one sample */

    pthread_mutex_t lock;
    pthread_cond_t room;  /* a slot has been given back, or stop */
    pthread_cond_t ready; /* a batch is complete */
    slot *slots;          /* [slot_count]; iteration t has slot (t - first_iteration) mod slot_count */
    int64_t slot_count;
    int64_t next_iteration; /* where the next sample to be made is: */
    int32_t next_place;     /* its place in the batch */
    int64_t due;            /* the iteration that the caller gets next */
    int64_t given_back;     /* iterations before this one are no longer in the caller's hands */
    int stop;
    dukd_failure failure; /* what dukd_loader_next has reported */
    double waited;
    pthread_t *workers;
    int32_t worker_count; /* started */
};

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static slot *slot_of(const dukd_loader *l, int64_t iteration) {
    return &l->slots[(iteration - l->o.first_iteration) % l->slot_count];
}

static int64_t first_sample(const dukd_loader *l, int64_t iteration) {
    return l->o.shift + ((iteration - 1) * l->o.ranks + l->o.rank) * l->o.batch;
}

/* One sample of a batch into its place of the slot. */
static int make_sample(const dukd_loader *l, slot *s, int32_t place, dukd_failure *f) {
    const int64_t k = first_sample(l, s->iteration) + place;
    const int64_t image = dukd_sampler_image(&l->sampler, k, NULL);
    int32_t width, height;
    dukd_dataset_size(l->o.dataset, image, &width, &height);
    return dukd_dataset_crop(l->o.dataset, image,
                             dukd_sampler_place(&l->sampler, k, width, height, l->o.lr_side), l->o.lr_side,
                             s->lr + place * l->lr_values, s->hr + place * l->hr_values, f);
}

static void begin_batch(dukd_loader *l, slot *s, int64_t iteration) {
    s->iteration = iteration;
    s->missing = l->o.batch;
    s->failed_place = l->o.batch;
    s->failure = (dukd_failure){0};
}

static void end_sample(slot *s, int32_t place, const dukd_failure *own) {
    if (own->status != DUKD_DONE && place < s->failed_place) {
        s->failed_place = place;
        s->failure = *own;
    }
    s->missing--;
}

/* Takes samples in order, one at a time, and makes them without the lock. */
static void *work(void *argument) {
    dukd_loader *l = argument;
    pthread_mutex_lock(&l->lock);
    while (!l->stop) {
        if (l->next_iteration - l->given_back >= l->slot_count) {
            pthread_cond_wait(&l->room, &l->lock);
            continue;
        }
        slot *s = slot_of(l, l->next_iteration);
        const int32_t place = l->next_place;
        if (place == 0) begin_batch(l, s, l->next_iteration);
        if (++l->next_place == l->o.batch) {
            l->next_place = 0;
            l->next_iteration++;
        }
        pthread_mutex_unlock(&l->lock);
        dukd_failure own = {0};
        make_sample(l, s, place, &own);
        pthread_mutex_lock(&l->lock);
        end_sample(s, place, &own);
        if (s->missing == 0) pthread_cond_signal(&l->ready);
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

static int check_options(const dukd_loader_options *o, const dukd_sampler *sampler, dukd_failure *f) {
    int64_t samples;
    if (o->workers < 0 || o->workers > MAX_WORKERS)
        return dukd_fail(f, DUKD_MISUSED, "num_worker_per_gpu is %d: it must be 0 to %d", o->workers,
                         MAX_WORKERS);
    if (o->ahead < 1 || o->ahead > MAX_AHEAD)
        return dukd_fail(f, DUKD_MISUSED, "%d batches ahead: there must be 1 to %d", o->ahead, MAX_AHEAD);
    const int status = dukd_sampler_check(sampler, f);
    if (status != DUKD_DONE) return status;
    if (o->rank < 0 || o->rank >= o->ranks)
        return dukd_fail(f, DUKD_MISUSED, "rank %d of %d ranks: it must be 0 to %d", o->rank, o->ranks,
                         o->ranks - 1);
    if (o->first_iteration < 1 ||
        !dukd_checked_mul(o->first_iteration, (int64_t)o->ranks * o->batch, &samples) ||
        samples > MAX_SAMPLE || o->shift > MAX_SAMPLE || o->shift + samples < (int64_t)o->ranks * o->batch)
        return dukd_fail(
            f, DUKD_MISUSED,
            "the first iteration is %lld: it must be 1 or more, and no more than 2^60 samples on",
            (long long)o->first_iteration);
    return dukd_dataset_check_patch(o->dataset, o->lr_side, f);
}

/* A batch of `values` floats a sample. */
static int allocate(float **out, int64_t values, int32_t batch, dukd_failure *f) {
    int64_t bytes;
    if (!dukd_checked_mul(values, (int64_t)sizeof(float) * batch, &bytes) || bytes > INT64_MAX - ALIGNMENT)
        return dukd_fail(f, DUKD_MISUSED,
                         "a batch of %d patches of this size is too large: set a smaller gt_size or "
                         "batch_size_per_gpu",
                         batch);
    bytes = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    *out = aligned_alloc(ALIGNMENT, (size_t)bytes);
    return *out ? DUKD_DONE : dukd_fail_memory(f, "a batch of training images", (unsigned long long)bytes);
}

static int start_workers(dukd_loader *l, dukd_failure *f) {
    sigset_t all, before;
    int error = 0;
    sigfillset(&all);
    /* The workers inherit the mask: signals are the main thread's business. */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (l->worker_count < l->o.workers && !error) {
        error = pthread_create(&l->workers[l->worker_count], NULL, work, l);
        if (!error) l->worker_count++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error)
        return dukd_fail(f, DUKD_FAILED,
                         "cannot start loading thread %d of %d: %s: set a smaller num_worker_per_gpu",
                         l->worker_count + 1, l->o.workers, strerror(error));
    return DUKD_DONE;
}

int dukd_loader_create(dukd_loader **out, const dukd_loader_options *options, dukd_failure *f) {
    *out = NULL;
    const dukd_sampler sampler = {.seed = options->seed,
                                  .images = dukd_dataset_count(options->dataset),
                                  .enlarge = options->enlarge,
                                  .batch = options->batch,
                                  .ranks = options->ranks,
                                  .use_hflip = options->use_hflip,
                                  .use_rot = options->use_rot};
    int status = check_options(options, &sampler, f);
    if (status != DUKD_DONE) return status;
    const int64_t lr_side = options->lr_side, hr_side = lr_side * dukd_dataset_scale(options->dataset);
    dukd_loader *l = calloc(1, sizeof *l);
    if (!l) return dukd_fail_memory(f, "the loader", sizeof *l);
    l->o = *options;
    l->sampler = sampler;
    l->lr_values = 3 * lr_side * lr_side; /* a patch is no larger than an image: no overflow */
    l->hr_values = 3 * hr_side * hr_side;
    l->slot_count = options->workers ? (int64_t)options->ahead + 1 : 1;
    l->next_iteration = l->due = l->given_back = options->first_iteration;
    pthread_mutex_init(&l->lock, NULL); /* with default attributes none of the three can fail */
    pthread_cond_init(&l->room, NULL);
    pthread_cond_init(&l->ready, NULL);
    l->slots = calloc((size_t)l->slot_count, sizeof *l->slots);
    l->workers = calloc((size_t)options->workers + 1, sizeof *l->workers);
    if (!l->slots || !l->workers)
        status = dukd_fail_memory(f, "the loader", (unsigned long long)l->slot_count * sizeof *l->slots);
    for (int64_t i = 0; i < l->slot_count && status == DUKD_DONE; i++) {
        status = allocate(&l->slots[i].lr, l->lr_values, options->batch, f);
        if (status == DUKD_DONE) status = allocate(&l->slots[i].hr, l->hr_values, options->batch, f);
    }
    if (status == DUKD_DONE) status = start_workers(l, f);
    if (status == DUKD_DONE)
        *out = l;
    else
        dukd_loader_destroy(l);
    return status;
}

void dukd_loader_destroy(dukd_loader *l) {
    if (!l) return;
    pthread_mutex_lock(&l->lock);
    l->stop = 1;
    pthread_cond_broadcast(&l->room);
    pthread_mutex_unlock(&l->lock);
    for (int32_t i = 0; i < l->worker_count; i++) pthread_join(l->workers[i], NULL);
    pthread_cond_destroy(&l->ready);
    pthread_cond_destroy(&l->room);
    pthread_mutex_destroy(&l->lock);
    for (int64_t i = 0; l->slots && i < l->slot_count; i++) {
        free(l->slots[i].lr);
        free(l->slots[i].hr);
    }
    free(l->slots);
    free(l->workers);
    free(l);
}

/* Without workers: the whole batch, here. */
static void make_batch(dukd_loader *l) {
    slot *s = slot_of(l, l->due);
    begin_batch(l, s, l->due);
    for (int32_t place = 0; place < l->o.batch; place++) {
        dukd_failure own = {0};
        make_sample(l, s, place, &own);
        end_sample(s, place, &own);
    }
}

int dukd_loader_next(dukd_loader *l, dukd_batch *out, dukd_failure *f) {
    pthread_mutex_lock(&l->lock);
    const slot *s = slot_of(l, l->due);
    l->given_back = l->due; /* the batch of the last call: its slot is free from here on */
    if (l->failure.status == DUKD_DONE) {
        if (l->o.workers) {
            pthread_cond_broadcast(&l->room);
            if (s->iteration != l->due || s->missing) {
                const double start = now();
                while (s->iteration != l->due || s->missing) pthread_cond_wait(&l->ready, &l->lock);
                l->waited += now() - start;
            }
        } else {
            const double start = now();
            make_batch(l);
            l->waited += now() - start;
        }
        l->failure = s->failure;
        if (l->failure.status != DUKD_DONE) l->stop = 1; /* nothing after this batch will be asked for */
    }
    pthread_mutex_unlock(&l->lock);
    if (l->failure.status != DUKD_DONE) return dukd_fail(f, l->failure.status, "%s", l->failure.message);
    *out =
        (dukd_batch){.iteration = l->due, .first_sample = first_sample(l, l->due), .lr = s->lr, .hr = s->hr};
    dukd_sampler_image(&l->sampler, out->first_sample, &out->epoch);
    l->due++;
    return DUKD_DONE;
}

int64_t dukd_loader_epoch_length(const dukd_loader *l) {
    return dukd_sampler_epoch_length(&l->sampler);
}

double dukd_loader_waited(const dukd_loader *l) {
    return l->waited;
}
