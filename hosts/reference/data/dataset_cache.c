/* The cache of decoded pairs: one lock, a list in order of use, a count of users for each pair. */
#include "data/dataset_cache.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

enum { MAKING, READY, FAILED };

typedef struct entry {
    dukd_image_pair pair;
    int64_t index, bytes, users;
    int state;
    dukd_failure failure;        /* of a FAILED entry, for those who waited */
    struct entry *newer, *older; /* neighbours in the list of pairs without users */
} entry;

struct dukd_cache {
    pthread_mutex_t lock;
    pthread_cond_t made;    /* some entry is no longer MAKING */
    entry **entries;        /* [count], NULL: not held */
    entry *newest, *oldest; /* pairs without users, by last use */
    int64_t count, limit;
    dukd_cache_make make;
    const void *context;
    dukd_cache_counts counts;
};

int dukd_cache_create(dukd_cache **out, int64_t count, int64_t limit, dukd_cache_make make,
                      const void *context, dukd_failure *f) {
    *out = NULL;
    dukd_cache *c = calloc(1, sizeof *c);
    if (c) c->entries = calloc((size_t)count, sizeof *c->entries);
    if (!c || !c->entries) {
        free(c);
        return dukd_fail_memory(f, "the table of decoded images",
                                (unsigned long long)count * sizeof *c->entries);
    }
    pthread_mutex_init(&c->lock, NULL); /* with default attributes neither can fail */
    pthread_cond_init(&c->made, NULL);
    c->count = count;
    c->limit = limit;
    c->make = make;
    c->context = context;
    *out = c;
    return DUKD_DONE;
}

static void unlink_entry(dukd_cache *c, entry *e) {
    *(e->newer ? &e->newer->older : &c->newest) = e->older;
    *(e->older ? &e->older->newer : &c->oldest) = e->newer;
    e->newer = e->older = NULL;
}

static void link_newest(dukd_cache *c, entry *e) {
    e->older = c->newest;
    *(c->newest ? &c->newest->newer : &c->oldest) = e;
    c->newest = e;
}

/* Takes an entry without users, not in the list, out of the table. */
static void drop(dukd_cache *c, entry *e) {
    c->entries[e->index] = NULL;
    c->counts.bytes -= e->bytes;
    dukd_image_free(&e->pair.lr);
    dukd_image_free(&e->pair.hr);
    free(e);
}

/* Drops the pairs unused for longest until the rest is within the limit, or all that is left is in use. */
static void make_room(dukd_cache *c) {
    while (c->counts.bytes > c->limit && c->oldest) {
        entry *e = c->oldest;
        unlink_entry(c, e);
        drop(c, e);
    }
}

void dukd_cache_destroy(dukd_cache *c) {
    if (!c) return;
    while (c->oldest) {
        entry *e = c->oldest;
        unlink_entry(c, e);
        drop(c, e);
    }
    assert(c->counts.bytes == 0);
    pthread_cond_destroy(&c->made);
    pthread_mutex_destroy(&c->lock);
    free(c->entries);
    free(c);
}

/* Waits for a pair that another thread is making. With the lock held; e has been counted as used. */
static int wait_for(dukd_cache *c, entry *e, dukd_failure *f) {
    while (e->state == MAKING) pthread_cond_wait(&c->made, &c->lock);
    if (e->state == READY) return DUKD_DONE;
    const int status = dukd_fail(f, e->failure.status, "%s", e->failure.message);
    if (--e->users == 0) free(e); /* its maker has taken it out of the table */
    return status;
}

/* Makes the pair of an entry that is in the table as MAKING. With the lock held, let go of meanwhile. */
static int make_pair(dukd_cache *c, entry *e, dukd_failure *f) {
    pthread_mutex_unlock(&c->lock);
    dukd_failure own = {0};
    const int status = c->make(c->context, e->index, &e->pair, &own);
    pthread_mutex_lock(&c->lock);
    c->counts.made++;
    pthread_cond_broadcast(&c->made);
    if (status == DUKD_DONE) {
        e->state = READY;
        return DUKD_DONE;
    }
    e->state = FAILED;
    e->failure = own;
    c->entries[e->index] = NULL;
    c->counts.bytes -= e->bytes;
    if (--e->users == 0) free(e);
    return dukd_fail(f, status, "%s", own.message);
}

int dukd_cache_get(dukd_cache *c, int64_t i, int64_t bytes, const dukd_image_pair **pair, dukd_failure *f) {
    assert(i >= 0 && i < c->count);
    int status = DUKD_DONE;
    pthread_mutex_lock(&c->lock);
    entry *e = c->entries[i];
    if (e) {
        c->counts.found++;
        if (e->users++ == 0) unlink_entry(c, e);
        status = wait_for(c, e, f);
    } else if ((e = calloc(1, sizeof *e))) {
        e->index = i;
        e->bytes = bytes;
        e->users = 1;
        e->state = MAKING;
        c->entries[i] = e;
        c->counts.bytes += bytes;
        make_room(c);
        if (c->counts.bytes > c->counts.peak_bytes) c->counts.peak_bytes = c->counts.bytes;
        status = make_pair(c, e, f);
    } else {
        status = dukd_fail_memory(f, "a decoded image", sizeof *e);
    }
    pthread_mutex_unlock(&c->lock);
    if (status == DUKD_DONE) *pair = &e->pair;
    return status;
}

void dukd_cache_put(dukd_cache *c, int64_t i) {
    pthread_mutex_lock(&c->lock);
    entry *e = c->entries[i];
    assert(e && e->users > 0);
    if (--e->users == 0) {
        link_newest(c, e);
        make_room(c);
    }
    pthread_mutex_unlock(&c->lock);
}

dukd_cache_counts dukd_cache_measure(dukd_cache *c) {
    pthread_mutex_lock(&c->lock);
    const dukd_cache_counts counts = c->counts;
    pthread_mutex_unlock(&c->lock);
    return counts;
}
