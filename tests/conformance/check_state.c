/* Group state: what a session remembers, and who may use it. */
#include <dirent.h>
#include <dlfcn.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "conform.h"
#include "toy_step.h"
#include "trace.h"

/* ---- the same call, the same bits ---- */

/* No seed stands for another: neither 0 nor the largest. */
static conform_result repeats(conform *c) {
    const uint64_t seeds[] = {7, 0, UINT64_MAX};
    const toy_run run = {.iteration = 3, .first_sample = 40};
    for (size_t k = 0; k < sizeof seeds / sizeof *seeds; k++) {
        toy_result r[2];
        for (int i = 0; i < 2; i++) {
            toy_session t;
            TRY(toy_prepare(c, &t, (toy_setup){0}));
            t.params.seed = seeds[k];
            TRY(toy_create(c, &t));
            if (toy_step(c, &t, &run, &r[i])) return CONFORM_FAIL;
            toy_close(c, &t);
        }
        REQUIRE(c, toy_identical(&r[0], &r[1]), "two sessions of seed %llu differ in the same step",
                (unsigned long long)seeds[k]);
        toy_result_free(&r[0]);
        toy_result_free(&r[1]);
    }
    return CONFORM_PASS;
}

/* Losses may depend on what was before (get_state carries it), but draws may not. */
static conform_result no_history(conform *c) {
    toy_result alone, later, earlier;
    toy_session t;
    TRY(toy_once(c, (toy_setup){0}, (toy_run){.iteration = 9, .first_sample = 18}, &alone));
    TRY(toy_open(c, &t, (toy_setup){0}));
    for (int64_t i = 1; i <= 3; i++) {
        if (toy_step(c, &t, &(toy_run){.iteration = i, .first_sample = 2 * i}, &earlier)) return CONFORM_FAIL;
        toy_result_free(&earlier);
    }
    if (toy_step(c, &t, &(toy_run){.iteration = 9, .first_sample = 18}, &later)) return CONFORM_FAIL;
    REQUIRE(c, alone.inputs_hash == later.inputs_hash,
            "the inputs of a step depend on the steps before it: a run could not be resumed with its seed");
    toy_result_free(&alone);
    toy_result_free(&later);
    toy_close(c, &t);
    return CONFORM_PASS;
}

/* ---- the saved state ---- */

/* The session's state, exactly as large as it says, ending where memory ends. */
static conform_result take_state(conform *c, const toy_session *t, uint8_t **out, uint64_t *size) {
    dukd_error e = {.struct_size = DUKD_ERROR_SIZE};
    int32_t code = c->plugin->get_state(t->s, NULL, size, &e);
    REQUIRE(c, code == DUKD_OK, "get_state(NULL) gave %d: %s", code, e.message);
    REQUIRE(c, *size < (uint64_t)1 << 30, "a state of %llu bytes", (unsigned long long)*size);
    uint64_t room = *size;
    *out = conform_guarded(room);
    code = c->plugin->get_state(t->s, *out, &room, &e);
    REQUIRE(c, code == DUKD_OK && room == *size, "get_state into its own size gave %d and %llu bytes: %s",
            code, (unsigned long long)room, e.message);
    return CONFORM_PASS;
}

static conform_result resumes(conform *c) {
    toy_session a, b;
    toy_result x, y;
    uint8_t *blob;
    uint64_t size, little;
    dukd_error e = {.struct_size = DUKD_ERROR_SIZE};
    TRY(toy_open(c, &a, (toy_setup){0}));
    TRY(toy_open(c, &b, (toy_setup){0}));
    for (int64_t i = 1; i <= 2; i++) {
        if (toy_step(c, &a, &(toy_run){.iteration = i}, &x)) return CONFORM_FAIL;
        toy_result_free(&x);
    }
    TRY(take_state(c, &a, &blob, &size));
    if (size) {
        little = size - 1;
        int32_t code = c->plugin->get_state(a.s, conform_guarded(size - 1), &little, &e);
        REQUIRE(c, code == DUKD_E_ARGUMENT, "get_state into too little room gave %d", code);
    }
    little = size + 100;
    uint8_t *more = conform_guarded(size + 100);
    REQUIRE(c, c->plugin->get_state(a.s, more, &little, &e) == DUKD_OK && little == size,
            "get_state into more room than it needs gave %llu bytes, not %llu", (unsigned long long)little,
            (unsigned long long)size);
    REQUIRE(c, !memcmp(more, blob, size), "the same state twice is not the same");
    int32_t code = c->plugin->set_state(b.s, blob, size, &e);
    REQUIRE(c, code == DUKD_OK, "set_state gave %d: %s", code, e.message);
    if (toy_step(c, &a, &(toy_run){.iteration = 3}, &x) || toy_step(c, &b, &(toy_run){.iteration = 3}, &y))
        return CONFORM_FAIL;
    REQUIRE(c, toy_identical(&x, &y), "after set_state the run goes on differently");
    toy_result_free(&x);
    toy_result_free(&y);
    toy_close(c, &a);
    toy_close(c, &b);
    return CONFORM_PASS;
}

static conform_result refuses(conform *c, const toy_session *t, const char *what, const void *data,
                              uint64_t size) {
    dukd_error e = {.struct_size = DUKD_ERROR_SIZE};
    int32_t code = c->plugin->set_state(t->s, data, size, &e);
    REQUIRE(c, code == DUKD_E_ARGUMENT && e.message[0], "%s: set_state gave %d: %s", what, code, e.message);
    return CONFORM_PASS;
}

/* A state of scale 4 in a session of scale 2. */
static conform_result foreign_state(conform *c, const toy_session *t) {
    toy_session other;
    uint8_t *foreign;
    uint64_t size;
    dukd_error e = {.struct_size = DUKD_ERROR_SIZE};
    TRY(toy_prepare(c, &other, (toy_setup){.scale = 4}));
    if (c->plugin->create_session(&other.params, &other.s, NULL) == DUKD_OK) {
        TRY(take_state(c, &other, &foreign, &size));
        TRY(refuses(c, t, "a state of scale 4 in a session of scale 2", foreign, size));
        c->plugin->set_state(t->s, foreign, size, &e);
        REQUIRE(c, strstr(e.message, "scale") || (strchr(e.message, '2') && strchr(e.message, '4')),
                "a state of scale 4 in a session of scale 2: the message does not name the difference: %s",
                e.message);
    }
    toy_close(c, &other);
    return CONFORM_PASS;
}

static conform_result state_refused(conform *c) {
    toy_session t;
    toy_result undisturbed, r;
    uint8_t *blob;
    uint64_t size;
    TRY(toy_once(c, (toy_setup){0}, (toy_run){0}, &undisturbed));
    TRY(toy_open(c, &t, (toy_setup){0}));
    TRY(foreign_state(c, &t));
    TRY(take_state(c, &t, &blob, &size));
    for (uint64_t n = 0; n < size; n += n < 64 ? 1 : 1 + size / 64) {
        uint8_t *cut = conform_guarded(n ? n : 1);
        memcpy(cut, blob, n);
        TRY(refuses(c, &t, "a state that is cut short", cut, n));
    }
    uint8_t *longer = conform_guarded(size + 8);
    memcpy(longer, blob, size);
    TRY(refuses(c, &t, "a state with 8 bytes more", longer, size + 8));
    for (uint64_t n = 0; n < size; n += n < 64 ? 1 : 1 + size / 64) {
        blob[n] ^= 0x55;
        TRY(refuses(c, &t, "a damaged state", blob, size));
        blob[n] ^= 0x55;
    }
    if (toy_step(c, &t, &(toy_run){0}, &r)) return CONFORM_FAIL;
    REQUIRE(c, toy_identical(&undisturbed, &r), "states that were refused have changed what a step does");
    toy_result_free(&undisturbed);
    toy_result_free(&r);
    toy_close(c, &t);
    return CONFORM_PASS;
}

/* ---- many sessions ---- */

static int count_entries(const char *folder) {
    int n = 0;
    DIR *d = opendir(folder);
    if (!d) return 0;
    while (readdir(d)) n++;
    closedir(d);
    return n;
}

/* Bytes that malloc has given out; 0 where it cannot be known. */
static uint64_t malloc_in_use(void) {
#if defined(__GLIBC__) && (__GLIBC__ > 2 || __GLIBC_MINOR__ >= 33)
    struct mallinfo2 m = mallinfo2();
    return m.uordblks + m.hblkhd;
#else
    return 0;
#endif
}

/* LeakSanitizer's own look, where the suite is built with it: 1 is a leak. */
static int sanitizer_leaks(void) {
    int (*look)(void);
    void *symbol = dlsym(RTLD_DEFAULT, "__lsan_do_recoverable_leak_check");
    if (!symbol) return 0;
    memcpy(&look, &symbol, sizeof symbol);
    return look() != 0;
}

static conform_result live_and_die(conform *c, int n) {
    for (int i = 0; i < n; i++) {
        toy_session t;
        toy_result r;
        TRY(toy_open(c, &t, (toy_setup){0}));
        if (i % 20 == 0) { /* some after a step, some in the middle of one */
            if (toy_step(c, &t, &(toy_run){0}, &r)) return CONFORM_FAIL;
            toy_result_free(&r);
        } else if (i % 20 == 1) {
            const dukd_step step = toy_step_of(&t, &(toy_run){0});
            REQUIRE(c, c->plugin->begin_step(t.s, &step, NULL) == DUKD_OK, "begin_step failed");
        }
        toy_destroy(c, &t);
        REQUIRE(c, t.h.held == 0, "after destroy_session %lld bytes of the host's memory are still held",
                (long long)t.h.held);
        toy_close(c, &t);
    }
    return CONFORM_PASS;
}

static conform_result many_sessions(conform *c) {
    enum { WARM_UP = 60, SESSIONS = 1000 };
    TRY(live_and_die(c, WARM_UP));
    uint64_t before = malloc_in_use();
    int files = count_entries("/proc/self/fd"), threads = count_entries("/proc/self/task");
    TRY(live_and_die(c, SESSIONS));
    uint64_t after = malloc_in_use();
    /* less than a pointer a session: nothing that is theirs */
    REQUIRE(c, after < before + SESSIONS * sizeof(void *), "%d sessions have left %llu bytes behind",
            SESSIONS, (unsigned long long)(after - before));
    REQUIRE(c, count_entries("/proc/self/fd") == files, "sessions leave files open");
    REQUIRE(c, count_entries("/proc/self/task") <= threads, "sessions leave threads running");
    REQUIRE(c, !sanitizer_leaks(), "memory leaks: see the sanitizer's report");
    return CONFORM_PASS;
}

/* ---- threads ---- */

/* Made in one thread, used in others: first in a fresh one for each call, then in the first again. */
static conform_result any_thread(conform *c) {
    toy_result alone, r;
    toy_session t;
    TRY(toy_once(c, (toy_setup){0}, (toy_run){.iteration = 2}, &alone));
    for (int made_here = 0; made_here < 2; made_here++) {
        trace_in_threads(!made_here);
        TRY(toy_open(c, &t, (toy_setup){0}));
        trace_in_threads(made_here);
        int32_t code = toy_step(c, &t, &(toy_run){.iteration = 2}, &r);
        trace_in_threads(!made_here);
        toy_close(c, &t);
        if (code) return CONFORM_FAIL;
        REQUIRE(c, toy_identical(&alone, &r), "called from another thread a step gives other bits");
        toy_result_free(&r);
    }
    trace_in_threads(0);
    toy_result_free(&alone);
    return CONFORM_PASS;
}

enum { TOGETHER = 4, STEPS = 6 };

typedef struct {
    conform c; /* of its own: reasons are written there */
    toy_setup setup;
    toy_result results[STEPS];
    conform_result outcome;
    pthread_barrier_t *start;
} runner;

/* Beside others: none begins before all sessions are there. */
static conform_result run_all(runner *r) {
    toy_session t;
    conform_result opened = toy_open(&r->c, &t, r->setup);
    if (r->start) pthread_barrier_wait(r->start);
    TRY(opened);
    for (int i = 0; i < STEPS; i++)
        if (toy_step(&r->c, &t, &(toy_run){.iteration = i + 1, .first_sample = 2 * i}, &r->results[i]))
            return CONFORM_FAIL;
    toy_close(&r->c, &t);
    return CONFORM_PASS;
}

static void *run_thread(void *p) {
    runner *r = p;
    r->outcome = run_all(r);
    return NULL;
}

static conform_result parallel_sessions(conform *c) {
    static runner alone[TOGETHER], beside[TOGETHER];
    pthread_t threads[TOGETHER];
    pthread_barrier_t start;
    REQUIRE(c, !pthread_barrier_init(&start, NULL, TOGETHER), "no barrier");
    for (uint32_t k = 0; k < TOGETHER; k++) {
        const toy_setup setup = {.seed = 100 + k, .height = 8 + 2 * (int64_t)k, .width = 8 + 2 * (int64_t)k};
        alone[k] = (runner){.c = *c, .setup = setup};
        beside[k] = (runner){.c = *c, .setup = setup, .start = &start};
        conform_result r = run_all(&alone[k]);
        if (r) memcpy(c->why, alone[k].c.why, sizeof c->why);
        TRY(r);
    }
    for (int k = 0; k < TOGETHER; k++)
        if (pthread_create(&threads[k], NULL, run_thread, &beside[k])) abort(); /* the others would wait */
    for (int k = 0; k < TOGETHER; k++) pthread_join(threads[k], NULL);
    pthread_barrier_destroy(&start);
    for (int k = 0; k < TOGETHER; k++) {
        if (beside[k].outcome) memcpy(c->why, beside[k].c.why, sizeof c->why);
        TRY(beside[k].outcome);
        for (int i = 0; i < STEPS; i++) {
            REQUIRE(c, toy_identical(&alone[k].results[i], &beside[k].results[i]),
                    "beside other sessions a session gives other bits than alone");
            toy_result_free(&alone[k].results[i]);
            toy_result_free(&beside[k].results[i]);
        }
    }
    return CONFORM_PASS;
}

/* ---- fork ---- */

/* In the forked child, whose one session came from its parent. */
static conform_result calls_after_fork(conform *c, toy_session *t) {
    const dukd_plugin *p = c->plugin;
    const dukd_plan *plan;
    const dukd_pass *pass;
    dukd_losses losses = {.struct_size = DUKD_LOSSES_SIZE};
    const dukd_step step = toy_step_of(t, &(toy_run){.iteration = 2});
    uint64_t size = 0;
    dukd_error e = {.struct_size = DUKD_ERROR_SIZE};
#define REFUSED(call)                                                                                        \
    do {                                                                                                     \
        int32_t code = call;                                                                                 \
        REQUIRE(c, code == DUKD_E_STATE, "in a forked process " #call " gave %d", code);                     \
    } while (0)
    REFUSED(p->get_plan(t->s, &plan, &e));
    REFUSED(p->begin_step(t->s, &step, &e));
    REFUSED(p->next_pass(t->s, &pass, &e));
    REFUSED(p->end_step(t->s, &e));
    REFUSED(p->cancel_step(t->s, &e));
    REFUSED(p->read_losses(t->s, &losses, &e));
    REFUSED(p->get_state(t->s, NULL, &size, &e));
    REFUSED(p->set_state(t->s, &size, sizeof size, &e));
#undef REFUSED
    p->destroy_session(t->s);
    return CONFORM_PASS;
}

static conform_result forked(conform *c) {
    toy_session t;
    toy_result undisturbed, r;
    int status = 0;
    const toy_run first = {.iteration = 1}, second = {.iteration = 2};
    TRY(toy_open(c, &t, (toy_setup){0}));
    if (toy_step(c, &t, &first, &r)) return CONFORM_FAIL;
    toy_result_free(&r);
    if (toy_step(c, &t, &second, &undisturbed)) return CONFORM_FAIL;
    toy_close(c, &t);
    TRY(toy_open(c, &t, (toy_setup){0}));
    if (toy_step(c, &t, &first, &r)) return CONFORM_FAIL;
    toy_result_free(&r);
    conform *shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(c, shared != MAP_FAILED, "the suite is out of memory");
    *shared = *c;
    pid_t child = fork();
    REQUIRE(c, child >= 0, "cannot fork");
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* where it hangs, its parent's time limit ends both */
        _exit(calls_after_fork(shared, &t) ? 1 : 0);
    }
    REQUIRE(c, waitpid(child, &status, 0) == child, "cannot wait for a process");
    REQUIRE(c, !WIFSIGNALED(status), "in a forked process a call crashed: %s", strsignal(WTERMSIG(status)));
    REQUIRE(c, WEXITSTATUS(status) == 0, "%s", shared->why[0] ? shared->why : "a forked process was ended");
    munmap(shared, sizeof *shared);
    if (toy_step(c, &t, &second, &r)) return CONFORM_FAIL;
    REQUIRE(c, toy_identical(&undisturbed, &r), "after a fork the parent's session gives other bits");
    toy_result_free(&undisturbed);
    toy_result_free(&r);
    toy_close(c, &t);
    return CONFORM_PASS;
}

/* ---- manners ---- */

static conform_result quiet(conform *c) {
    FILE *file = tmpfile();
    int out = dup(STDOUT_FILENO), err = dup(STDERR_FILENO);
    toy_result r;
    char text[200] = "";
    REQUIRE(c, file && out >= 0 && err >= 0, "no temporary file");
    fflush(stdout);
    dup2(fileno(file), STDOUT_FILENO);
    dup2(fileno(file), STDERR_FILENO);
    conform_result ran = toy_once(c, (toy_setup){0}, (toy_run){0}, &r);
    c->plugin->create_session(NULL, NULL, NULL);
    fflush(stdout);
    dup2(out, STDOUT_FILENO);
    dup2(err, STDERR_FILENO);
    close(out);
    close(err);
    TRY(ran);
    toy_result_free(&r);
    rewind(file);
    size_t n = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    REQUIRE(c, n == 0, "prints: %s", text);
    return CONFORM_PASS;
}

static const conform_check checks[] = {
    {"repeats", "the same seed, iteration and samples give the same bits (dukd_session_params.seed)",
     repeats},
    {"no-history", "what is drawn does not depend on earlier steps (abi/README.md, rule 9)", no_history},
    {"resumes", "a session goes on from the state of another (get_state, set_state)", resumes},
    {"state-refused", "a state of another configuration, cut short or damaged is DUKD_E_ARGUMENT (set_state)",
     state_refused},
    {"many-sessions", "1000 sessions, made and destroyed, leave nothing behind (destroy_session)",
     many_sessions},
    {"any-thread", "calls may come from any thread (THREADS)", any_thread},
    {"parallel-sessions", "sessions at the same time do not disturb each other (THREADS)", parallel_sessions},
    {"fork", "after fork every call but destroy_session is DUKD_E_STATE in the child (THREADS)", forked},
    {"quiet", "prints nothing (abi/README.md, what a plugin does)", quiet},
};
const conform_group conform_state = {"state", "what a session remembers, and who may use it", 0, checks,
                                     sizeof checks / sizeof *checks};
