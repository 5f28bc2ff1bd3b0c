#include "ranks_fixture.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "train/ranks_backend.h"

typedef struct {
    pthread_barrier_t barrier;
    char room[RANKS_MOST][DUKD_RANKS_GATHER];
    float values[RANKS_MOST][RANKS_FLOATS];
    char answers[RANKS_MOST][RANKS_ANSWER];
} shared;

static shared *page;

typedef struct {
    int32_t rank, count, left; /* left: exchanges before it breaks; -1: it does not */
    struct {
        float *values;
        int64_t count;
    } begun[16];
    int begun_count;
} member;

static int breaks(member *m, char *why) {
    if (m->left < 0 || m->left-- > 0) return 0;
    snprintf(why, DUKD_RANKS_WHY, "a line was cut");
    return 1;
}

static void describe(char *out, size_t size) {
    snprintf(out, size, "a page of memory");
}

static void close_member(void *ctx, int broken) {
    (void)ctx;
    (void)broken;
}

static int gather(void *ctx, const void *mine, void *all, int32_t bytes, char *why) {
    member *m = ctx;
    if (breaks(m, why)) return 1;
    memcpy(page->room[m->rank], mine, (size_t)bytes);
    pthread_barrier_wait(&page->barrier);
    for (int32_t i = 0; i < m->count; i++)
        memcpy((char *)all + (size_t)i * (size_t)bytes, page->room[i], (size_t)bytes);
    pthread_barrier_wait(&page->barrier);
    return 0;
}

static int broadcast(void *ctx, void *data, int64_t bytes, int32_t from, char *why) {
    member *m = ctx;
    if (breaks(m, why)) return 1;
    if (m->rank == from) memcpy(page->room[0], data, (size_t)bytes);
    pthread_barrier_wait(&page->barrier);
    memcpy(data, page->room[0], (size_t)bytes);
    pthread_barrier_wait(&page->barrier);
    return 0;
}

static int mean_begin(void *ctx, float *values, int64_t count, char *why) {
    member *m = ctx;
    if (breaks(m, why)) return 1;
    if (m->begun_count == 16 || count > RANKS_FLOATS) abort();
    m->begun[m->begun_count].values = values;
    m->begun[m->begun_count++].count = count;
    return 0;
}

static int mean_end(void *ctx, char *why) {
    member *m = ctx;
    if (breaks(m, why)) return 1;
    for (int k = 0; k < m->begun_count; k++) {
        float *values = m->begun[k].values;
        memcpy(page->values[m->rank], values, (size_t)m->begun[k].count * sizeof *values);
        pthread_barrier_wait(&page->barrier);
        for (int64_t i = 0; i < m->begun[k].count; i++) {
            double sum = 0;
            for (int32_t r = 0; r < m->count; r++) sum += page->values[r][i];
            values[i] = (float)(sum / m->count);
        }
        pthread_barrier_wait(&page->barrier);
    }
    m->begun_count = 0;
    return 0;
}

static const dukd_ranks_backend backend = {.version = DUKD_RANKS_BACKEND,
                                           .describe = describe,
                                           .close = close_member,
                                           .gather = gather,
                                           .broadcast = broadcast,
                                           .mean_begin = mean_begin,
                                           .mean_end = mean_end};

static void be_rank(const ranks_plan *plan, int32_t rank, ranks_body *body) {
    member m = {.rank = rank, .count = plan->count, .left = rank == plan->break_at ? plan->break_after : -1};
    const dukd_ranks_info info = {
        .rank = rank, .count = plan->count, .local_rank = rank, .local_count = plan->count};
    dukd_ranks *r = NULL;
    alarm(60); /* one that waits for ever fails the test */
    if (dukd_ranks_create(&r, &backend, &m, &info, NULL)) _exit(2);
    body(r, page->answers[rank]);
    _exit(0); /* nobody is closed: one may have been left alone, which is what some bodies are about */
}

void ranks_run(const ranks_plan *plan, ranks_body *body) {
    pid_t pids[RANKS_MOST];
    pthread_barrierattr_t a;
    assert_true(plan->count <= RANKS_MOST);
    if (!page) {
        page = mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        assert_true(page != MAP_FAILED);
    }
    memset(page, 0, sizeof *page);
    pthread_barrierattr_init(&a);
    pthread_barrierattr_setpshared(&a, PTHREAD_PROCESS_SHARED);
    assert_int_equal(pthread_barrier_init(&page->barrier, &a, (unsigned)plan->count), 0);
    fflush(NULL);
    for (int32_t i = 0; i < plan->count; i++) {
        pids[i] = fork();
        assert_true(pids[i] >= 0);
        if (!pids[i]) be_rank(plan, i, body);
    }
    int good = 1;
    for (int32_t i = 0; i < plan->count; i++) {
        int status = 0;
        waitpid(pids[i], &status, 0);
        good = good && WIFEXITED(status) && WEXITSTATUS(status) == 0;
    }
    if (!good) fail_msg("a rank did not end well");
}

const void *ranks_answer(int32_t rank) {
    return page->answers[rank];
}
