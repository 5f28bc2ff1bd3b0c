/* A host for tests of the CPU backend. */
#include "kernel_host.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define MAX_THREADS 64

const char *const kernel_levels[KERNEL_LEVELS] = {"ref", "avx2", "avx512"};

typedef struct {
    kernel_host *host;
    void (*task)(void *arg, uint32_t i, uint32_t worker);
    void *arg;
    uint32_t n;
    atomic_uint next;
    atomic_bool busy[MAX_THREADS];
} region;

typedef struct {
    region *region;
    uint32_t worker;
} thread_arg;

static void *run_thread(void *p) {
    const thread_arg *a = p;
    region *r = a->region;
    for (;;) {
        const uint32_t i = atomic_fetch_add(&r->next, 1);
        if (i >= r->n) return NULL;
        if (atomic_exchange(&r->busy[a->worker], true)) atomic_store(&r->host->bad_worker, true);
        r->task(r->arg, i, a->worker);
        atomic_store(&r->busy[a->worker], false);
        atomic_fetch_add(&r->host->tasks, 1);
    }
}

/* Worker numbers from the highest down, so that scratch memory for too few of them is noticed. */
static void parallel_for(void *ctx, uint32_t n, void (*task)(void *arg, uint32_t i, uint32_t worker),
                         void *arg) {
    kernel_host *k = ctx;
    region r = {.host = k, .task = task, .arg = arg, .n = n};
    pthread_t threads[MAX_THREADS];
    thread_arg args[MAX_THREADS];
    bool started[MAX_THREADS] = {false};
    atomic_fetch_add(&k->regions, 1);
    for (uint32_t t = 0; t < k->threads; t++) {
        args[t] = (thread_arg){&r, k->threads - 1 - t};
        started[t] = pthread_create(&threads[t], NULL, run_thread, &args[t]) == 0;
        if (!started[t]) (void)run_thread(&args[t]);
    }
    for (uint32_t t = 0; t < k->threads; t++) {
        if (started[t]) (void)pthread_join(threads[t], NULL);
    }
}

static uint32_t max_threads(void *ctx) {
    return ((const kernel_host *)ctx)->threads;
}

static void *host_alloc(void *ctx, int32_t device_type, int32_t device_id, uint64_t size, uint64_t align,
                        void *stream) {
    kernel_host *k = ctx;
    const long long i = atomic_fetch_add(&k->allocated, 1);
    if (i == k->fail_at || device_type != DUKD_DEVICE_CPU || device_id != 0 || stream != NULL) return NULL;
    void *p = aligned_alloc((size_t)align, (size_t)((size + align - 1) / align * align));
    atomic_fetch_add(&k->bytes, (long long)size);
    if (p != NULL) memset(p, 0xff, (size_t)size); /* NaN in every type */
    return p;
}

static void host_free(void *ctx, void *p, int32_t device_type, int32_t device_id, void *stream) {
    kernel_host *k = ctx;
    if (device_type == DUKD_DEVICE_CPU && device_id == 0 && stream == NULL) atomic_fetch_add(&k->freed, 1);
    free(p);
}

void kernel_host_make(kernel_host *k, uint32_t threads) {
    memset(k, 0, sizeof *k);
    k->threads = threads < MAX_THREADS ? threads : MAX_THREADS;
    k->fail_at = -1;
    k->host = (dukd_host){.struct_size = DUKD_HOST_SIZE, .ctx = k, .alloc = host_alloc, .free = host_free};
    if (threads > 0) {
        k->host.parallel_for = parallel_for;
        k->host.max_threads = max_threads;
    }
}

dukd_backend *kernel_backend(const char *level, const dukd_host *host) {
    dukd_backend *b = NULL;
    dukd_error error = {.struct_size = DUKD_ERROR_SIZE};
    const int32_t status = dukd_backend_cpu_create(&b, host, level, &error);
    if (status == DUKD_E_UNSUPPORTED) return NULL;
    if (status != DUKD_OK) fail_msg("creating the cpu backend at level %s: %s", level, error.message);
    return b;
}

dukd_backend *kernel_backends[KERNEL_LEVELS];

int kernel_backends_make(void **state) {
    (void)state;
    for (int i = 0; i < KERNEL_LEVELS; i++) {
        kernel_backends[i] = kernel_backend(kernel_levels[i], NULL);
        if (kernel_backends[i] == NULL)
            print_message("level %s is not on this machine: skipped\n", kernel_levels[i]);
    }
    return kernel_backends[0] == NULL;
}

int kernel_backends_free(void **state) {
    (void)state;
    for (int i = 0; i < KERNEL_LEVELS; i++) {
        if (kernel_backends[i] != NULL) kernel_backends[i]->destroy(kernel_backends[i]);
        kernel_backends[i] = NULL;
    }
    return 0;
}
