/* Sums over ranks: two processes, each with a device of its own, that meet in NCCL. On the emulated device NCCL is a double
 * (doubles/nccl.cpp); on real ones it is itself, and the machine needs two. */
#include <cuda_runtime_api.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/cuda/gpu_ranks.h"
#include "gpu_fixture.h"

enum { RANKS = 2 };

static int mine;        /* this process's rank */
static int to_other[2]; /* rank 0 writes the id, rank 1 reads it */
static gpu_ranks *ranks;

static float term(int rank, int64_t i, int times) {
    return (float)(((i * 7 + 3) % 1001) * (rank + 1) * times) / 16;
}

static float mean_of(int64_t i, int times) {
    return (term(0, i, times) + term(1, i, times)) / RANKS;
}

static void open_ranks(void) {
    char id[GPU_RANKS_ID_BYTES];
    dukd_failure f = {0};
    if (mine == 0) {
        if (gpu_ranks_make_id(id, &f)) fail_msg("%s", f.message);
        assert_int_equal(write(to_other[1], id, sizeof id), sizeof id);
    } else {
        assert_int_equal(read(to_other[0], id, sizeof id), sizeof id);
    }
    if (gpu_ranks_open(&ranks, id, mine, RANKS, gpu_stream(), &f)) fail_msg("%s", f.message);
}

static void check(float *device, int64_t count, int times) {
    float *got = malloc((size_t)count * sizeof *got);
    gpu_download(got, device, count * 4);
    for (int64_t i = 0; i < count; i++)
        if (got[i] != mean_of(i, times))
            fail_msg("element %ld is %g, not %g", (long)i, got[i], mean_of(i, times));
    free(got);
}

static float *filled(int64_t count, int times) {
    float *values = malloc((size_t)count * sizeof *values), *device = gpu_alloc(count * 4);
    for (int64_t i = 0; i < count; i++) values[i] = term(mine, i, times);
    gpu_upload(device, values, count * 4);
    free(values);
    return device;
}

/* Small and large, one after the other; what is enqueued before a sum is in it, what is enqueued after the join sees it. */
static void test_sums(void **state) {
    static const int64_t counts[] = {1, 1000, (1 << 20) + 17, 3};
    dukd_failure f = {0};
    (void)state;
    for (size_t k = 0; k < sizeof counts / sizeof *counts; k++) {
        float *x = filled(counts[k], 1);
        float *copy = gpu_alloc(counts[k] * 4);
        GPU_OK(gpu_array_scale(gpu_stream(), x, 2, counts[k]));
        if (gpu_ranks_mean(ranks, x, counts[k], &f) || gpu_ranks_join(ranks, &f)) fail_msg("%s", f.message);
        GPU_OK(cudaMemcpyAsync(copy, x, (size_t)counts[k] * 4, cudaMemcpyDeviceToDevice, gpu_stream()));
        check(copy, counts[k], 2);
        gpu_free(copy);
        gpu_free(x);
    }
    assert_int_equal(gpu_ranks_check(ranks, &f), 0);
}

/* Two buckets that are summed while the stream goes on, captured and replayed. */
static void test_captured(void **state) {
    const int64_t count = 5000;
    float *a = filled(count, 1), *b = filled(count, 1);
    dukd_failure f = {0};
    cudaGraph_t graph;
    cudaGraphExec_t replay;
    (void)state;
    GPU_OK(cudaStreamBeginCapture(gpu_stream(), cudaStreamCaptureModeThreadLocal));
    if (gpu_ranks_mean(ranks, a, count, &f)) fail_msg("%s", f.message);
    GPU_OK(gpu_array_scale(gpu_stream(), b, 2, count));
    if (gpu_ranks_mean(ranks, b, count, &f) || gpu_ranks_join(ranks, &f)) fail_msg("%s", f.message);
    GPU_OK(gpu_array_add(gpu_stream(), a, b, count));
    GPU_OK(cudaStreamEndCapture(gpu_stream(), &graph));
    GPU_OK(cudaGraphInstantiate(&replay, graph, 0));
    GPU_OK(cudaGraphLaunch(replay, gpu_stream()));
    check(a, count, 3);
    check(b, count, 2);
    GPU_OK(cudaGraphExecDestroy(replay));
    GPU_OK(cudaGraphDestroy(graph));
    gpu_free(a);
    gpu_free(b);
}

/* What one rank has is all ranks', and nothing is what nobody has; as it is and replayed. */
static void test_any(void **state) {
    (void)state;
    for (int whose = -1; whose <= RANKS; whose++) {
        const int32_t own = whose == mine || whose == RANKS; /* or all have it */
        int32_t got[2] = {9, 9};
        int32_t *flag = gpu_alloc(sizeof *flag);
        dukd_failure f = {0};
        cudaGraph_t graph;
        cudaGraphExec_t replay;
        gpu_upload(flag, &own, sizeof own);
        if (gpu_ranks_any(ranks, flag, &f) || gpu_ranks_join(ranks, &f)) fail_msg("%s", f.message);
        gpu_download(&got[0], flag, sizeof *flag);
        gpu_upload(flag, &own, sizeof own);
        GPU_OK(cudaStreamBeginCapture(gpu_stream(), cudaStreamCaptureModeThreadLocal));
        if (gpu_ranks_any(ranks, flag, &f) || gpu_ranks_join(ranks, &f)) fail_msg("%s", f.message);
        GPU_OK(cudaStreamEndCapture(gpu_stream(), &graph));
        GPU_OK(cudaGraphInstantiate(&replay, graph, 0));
        GPU_OK(cudaGraphLaunch(replay, gpu_stream()));
        gpu_download(&got[1], flag, sizeof *flag);
        for (int i = 0; i < 2; i++) assert_int_equal(got[i], whose >= 0);
        GPU_OK(cudaGraphExecDestroy(replay));
        GPU_OK(cudaGraphDestroy(graph));
        gpu_free(flag);
    }
}

/* A sum that nothing waits for leaves the capture with work that nobody joined: the device says so. */
static void test_join_is_needed(void **state) {
    float *x = filled(10, 1);
    dukd_failure f = {0};
    cudaGraph_t graph;
    (void)state;
    GPU_OK(cudaStreamBeginCapture(gpu_stream(), cudaStreamCaptureModeThreadLocal));
    if (gpu_ranks_mean(ranks, x, 10, &f)) fail_msg("%s", f.message);
    assert_int_equal(cudaStreamEndCapture(gpu_stream(), &graph), cudaErrorStreamCaptureUnjoined);
    (void)cudaGetLastError();
    if (gpu_ranks_join(ranks, &f)) fail_msg("%s", f.message);
    gpu_free(x);
}

static void test_open_and_close(void **state) {
    (void)state;
    open_ranks();
    gpu_ranks_close(ranks, 0);
    open_ranks();
}

static int close_ranks(void **state) {
    (void)state;
    gpu_ranks_close(ranks, 0);
    ranks = NULL;
    return 0;
}

/* Host memory is not summed, and the message is NCCL's. */
static void test_refusal(void **state) {
#ifdef GPU_ON_DEVICE
    (void)state;
    skip();
#else
    float x[4] = {0};
    dukd_failure f = {0};
    (void)state;
    assert_int_equal(gpu_ranks_mean(ranks, x, 4, &f), DUKD_FAILED);
    assert_non_null(strstr(f.message, "ncclAllReduce"));
    f = (dukd_failure){0};
    assert_int_equal(gpu_ranks_join(ranks, &f), 0);
#endif
}

static volatile pid_t other;          /* of rank 0: the other process */
static volatile sig_atomic_t is_over; /* and whether it has ended well */

/* A rank that failed is waited for by the first one for ever, inside NCCL. */
static void on_end_of_other(int signal) {
    static const char failed[] = "the other rank failed\n", skips[] = "SKIP: the other rank has no device\n";
    int status = 0;
    (void)signal;
    if (waitpid(other, &status, WNOHANG) != other) return;
    is_over = 1;
    if (status == 0) return;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
        (void)!write(STDOUT_FILENO, skips, sizeof skips - 1);
        _exit(77);
    }
    (void)!write(STDERR_FILENO, failed, sizeof failed - 1);
    _exit(1);
}

/* The other rank is a process of its own, made before CUDA is called at all: what is initialised is of no use in a child. */
static int make_ranks(void) {
    sigset_t end, before;
    struct sigaction action = {.sa_handler = on_end_of_other, .sa_flags = SA_RESTART | SA_NOCLDSTOP};
    if (pipe(to_other) || sigemptyset(&end) || sigaddset(&end, SIGCHLD) ||
        sigprocmask(SIG_BLOCK, &end, &before) || sigaction(SIGCHLD, &action, NULL))
        return 0;
    fflush(stdout);
    const pid_t parent = getpid(), pid = fork();
    if (pid < 0) return 0;
    mine = pid == 0;
    other = pid;
    if (mine == 1) {
        (void)signal(SIGCHLD, SIG_DFL);
        if (prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != parent) _exit(1); /* not left behind */
    }
    return sigprocmask(SIG_SETMASK, &before, NULL) == 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_open_and_close), cmocka_unit_test(test_sums), cmocka_unit_test(test_captured),
        cmocka_unit_test(test_join_is_needed), cmocka_unit_test(test_any),  cmocka_unit_test(test_refusal),
    };
    if (!make_ranks()) return 1;
#ifdef GPU_ON_DEVICE
    int devices = 0;
    if (cudaGetDeviceCount(&devices) != cudaSuccess || devices < RANKS) {
        if (mine == 1) _exit(77);
        printf("SKIP: sums over ranks need %d devices; there are %d\n", RANKS, devices);
        return 77;
    }
    if (cudaSetDevice(mine) != cudaSuccess) return 1;
#endif
    gpu_open(gpu_load_arrays);
    int failed = cmocka_run_group_tests(tests, NULL, close_ranks);
    failed = gpu_close(failed);
    if (mine == 1) _exit(failed);
    while (!is_over) (void)usleep(1000);
    return failed;
}
