#include "host_run.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/safetensors.h"
#include "support/edsr_net.h"
#include "train/weights.h"
#include "unit/data_fixture.h"

#define NETWORK(feat, blocks)                                                                                \
    "{type: EDSR, num_in_ch: 3, num_out_ch: 3, num_feat: " #feat ", num_block: " #blocks                     \
    ", upscale: 2, res_scale: 0.1, img_range: 255., rgb_mean: [0.4488, 0.4371, 0.4040]}\n"

/* Small enough that an iteration takes milliseconds. */
static const char common[] =
    "scale: 2\n"
    "manual_seed: 5\n"
    "num_threads: 2\n"
    "datasets:\n"
    "  train:\n"
    "    dataroot_gt: train\n"
    "    gt_size: 32\n"
    "    batch_size_per_gpu: 2\n"
    "    num_worker_per_gpu: 1\n"
    "  val:\n"
    "    name: tiny\n"
    "    dataroot_gt: val\n"
    "network_g: " NETWORK(4, 1) "train:\n"
                                "  ema_decay: 0.9\n"
                                "  optim_g: {type: Adam, lr: !!float 1e-3, betas: [0.9, 0.99]}\n"
                                "  scheduler: {type: MultiStepLR, milestones: [15], gamma: 0.5}\n"
                                "  total_iter: 24\n"
                                "val:\n"
                                "  val_freq: 8\n"
                                "logger: {print_freq: 3, save_checkpoint_freq: 5, use_tb_logger: true}\n";

int host_setup(void **state) {
    char text[4096];
    if (data_setup(state)) return 1;
    for (int i = 0; i < 3; i++) {
        char name[64];
        snprintf(name, sizeof name, "train/t%d.png", i);
        data_png(data_path(name), 52 + 4 * i, 48, 8, (uint64_t)i + 1);
        snprintf(name, sizeof name, "val/v%d.png", i);
        data_png(data_path(name), 40, 36 + 2 * i, 8, (uint64_t)i + 10);
    }
    dukd_graph *g = dukd_edsr_net(6, 1, 2, 0.1);
    float *w = dukd_weights_alloc(dukd_graph_weights(g));
    dukd_graph_init(g, 9, w);
    int status = dukd_weights_save(data_path("teacher.safetensors"), g, w, NULL, NULL, 0, NULL);
    free(w);
    dukd_graph_destroy(g);
    snprintf(text, sizeof text,
             "name: dukd\nmodel_type: DUKDPlugin\n%snetwork_t: " NETWORK(
                 6, 1) "path: {pretrain_network_t: teacher.safetensors}\n",
             common);
    data_text(data_path("dukd.yml"), text);
    snprintf(text, sizeof text, "name: scratch\nmodel_type: DUKDPlugin\n%s", common);
    char *train = strstr(text, "train:\n  ema"); /* the section, not the data set */
    if (!train) return 1;
    memmove(train + 27, train + 6, strlen(train + 6) + 1);
    memcpy(train, "train:\n  terms: [rec]", 21);
    memcpy(train + 21, "\n     ", 6);
    data_text(data_path("scratch.yml"), text);
    return status;
}

int host_teardown(void **state) {
    return data_teardown(state);
}

/* ---------------------------------------------------------------- the program */

#ifndef DUKD_MPIEXEC
#define DUKD_MPIEXEC ""
#endif
enum { ARGUMENTS = 120 };

int host_gpus(void) {
    const char *count = getenv("DUKD_TEST_DEVICES");
    return count ? atoi(count) : 0;
}

int host_has_ranks(void) {
    if (DUKD_MPIEXEC[0]) return 1;
    print_message("SKIP: this build has no MPI module (libopenmpi-dev or libmpich-dev, with mpirun)\n");
    return 0;
}

static size_t append(const char **argv, size_t count, const char *word) {
    assert_true(count < ARGUMENTS - 1);
    argv[count] = word;
    return count + 1;
}

/* "-n COUNT [-wdir FOLDER] [env NAME=VALUE] dukd-host ARGS [MORE]" */
static size_t append_ranks(const char **argv, size_t count, const char *number, const char *folder,
                           const char *environment, const char *const *args, const char *const *more) {
    count = append(argv, append(argv, count, "-n"), number);
    if (folder) count = append(argv, append(argv, count, "-wdir"), folder);
    if (environment) count = append(argv, append(argv, count, "/usr/bin/env"), environment);
    count = append(argv, count, DUKD_HOST_PATH);
    for (; *args; args++) count = append(argv, count, *args);
    for (int i = 0; i < 2 && more && more[i]; i++) count = append(argv, count, more[i]);
    return count;
}

static void launch_by_mpi(const host_process *p, const char **argv, const char *const *args) {
    static char number[16], folder[600];
    const int others = p->other_folder || p->other_arguments[0] || p->other_environment;
    size_t count = append(argv, 0, DUKD_MPIEXEC);
    snprintf(number, sizeof number, "%d", (int)p->ranks - others);
    count = append_ranks(argv, count, number, NULL, NULL, args, NULL);
    if (p->other_folder) snprintf(folder, sizeof folder, "%s", data_path(p->other_folder));
    if (!others) return;
    count = append(argv, count, ":");
    append_ranks(argv, count, "1", p->other_folder ? folder : NULL, p->other_environment, args,
                 p->other_arguments);
}

/* Open MPI as root, on fewer processors than ranks, and in a container. */
static void ready_mpi(void) {
    setenv("OMPI_ALLOW_RUN_AS_ROOT", "1", 1);
    setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1", 1);
    setenv("OMPI_MCA_rmaps_base_oversubscribe", "1", 1);
    setenv("OMPI_MCA_btl_vader_single_copy_mechanism", "none", 1);
}

void host_start(host_process *p, const char *const *args) {
    const char *argv[ARGUMENTS] = {"dukd-host"};
    if (p->ranks) {
        launch_by_mpi(p, argv, args);
    } else {
        size_t count = 1;
        for (size_t i = 0; args[i]; i++) count = append(argv, count, args[i]);
    }
    const char *output = data_path("output.txt");
    const char *folder = data_path(".");
    p->pid = fork();
    assert_true(p->pid >= 0);
    if (p->pid) return;
    int fd = open(output, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    if (fd < 0 || chdir(folder) || dup2(fd, 1) < 0 || dup2(fd, 2) < 0) _exit(120);
    if (p->file_limit) {
        const struct rlimit limit = {(rlim_t)p->file_limit, (rlim_t)p->file_limit};
        signal(SIGXFSZ, SIG_IGN); /* writing then fails with EFBIG, as it does with ENOSPC on a full disk */
        if (setrlimit(RLIMIT_FSIZE, &limit)) _exit(121);
    }
    setenv("OMP_WAIT_POLICY", "passive", 1);
    setenv("DUKD_ENGINE_CUDA", "none", 0); /* these tests are of the processor, whatever the machine has */
    if (p->ranks) ready_mpi();
    execv(p->ranks ? DUKD_MPIEXEC : DUKD_HOST_PATH, (char *const *)(uintptr_t)argv);
    _exit(122);
}

int host_wait(host_process *p) {
    int status = 0;
    while (waitpid(p->pid, &status, 0) < 0) assert_int_equal(errno, EINTR);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

int host_ended(const host_process *p) {
    siginfo_t info = {0};
    return waitid(P_PID, (id_t)p->pid, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid != 0;
}

int host_must_end(host_process *p, int seconds) {
    for (int i = 0; i < 50 * seconds; i++) {
        const struct timespec pause = {0, 20000000};
        if (host_ended(p)) return host_wait(p);
        nanosleep(&pause, NULL);
    }
    kill(p->pid, SIGKILL);
    host_wait(p);
    fail_msg("it hangs; it said:\n%s", host_output());
    return 0;
}

void host_needs_ranks_with_cuda(void) {
    if (!host_has_ranks()) skip();
    if (host_gpus() != 1) return;
    print_message("SKIP: there is one GPU, and two ranks want two\n");
    skip();
}

void host_run(int status, const char *const *args) {
    host_run_ranks(0, status, args);
}

void host_run_ranks(int32_t ranks, int status, const char *const *args) {
    host_process p = {.ranks = ranks};
    host_start(&p, args);
    const int got = host_wait(&p);
    if (got != status)
        fail_msg("dukd-host %s %s: status %d, not %d; it said:\n%s", args[0], args[1], got, status,
                 host_output());
}

/* ---------------------------------------------------------------- what it left */

char *host_load(const char *relative) {
    static char *text;
    FILE *file = fopen(data_path(relative), "r");
    if (!file)
        fail_msg("%s is not there; the program said:\n%s", relative,
                 strcmp(relative, "output.txt") ? host_output() : "");
    free(text);
    text = NULL;
    size_t size = 0, room = 0;
    for (;;) {
        if (room - size < 4096) {
            room += 65536;
            text = realloc(text, room);
            assert_non_null(text);
        }
        const size_t n = fread(text + size, 1, room - size - 1, file);
        size += n;
        if (!n) break;
    }
    text[size] = 0;
    fclose(file);
    return text;
}

const char *host_output(void) {
    return host_load("output.txt");
}
int host_exists(const char *relative) {
    return access(data_path(relative), F_OK) == 0;
}

void host_same_tensors(const char *a, const char *b) {
    dukd_tensor_file *x = NULL, *y = NULL;
    dukd_failure f = {0};
    if (dukd_tensor_file_open(&x, data_path(a), &f) || dukd_tensor_file_open(&y, data_path(b), &f))
        fail_msg("%s", f.message);
    assert_true(dukd_tensor_file_count(x) > 4);
    assert_int_equal(dukd_tensor_file_count(x), dukd_tensor_file_count(y));
    for (int32_t i = 0; i < dukd_tensor_file_count(x); i++) {
        const dukd_st_tensor *t = dukd_tensor_file_at(x, i), *u = dukd_tensor_file_find(y, t->name);
        if (!u || u->type != t->type || u->count != t->count ||
            memcmp(u->data, t->data, (size_t)t->count * (size_t)dukd_st_type_size(t->type)) != 0)
            fail_msg("%s differs between %s and %s", t->name, a, b);
    }
    dukd_tensor_file_close(x);
    dukd_tensor_file_close(y);
}

/* Cuts "seconds": NUMBER out of every line. */
static void drop_seconds(char *text) {
    for (char *p = strstr(text, "\"seconds\":"); p; p = strstr(p, "\"seconds\":")) {
        char *end = p + strcspn(p, ",}");
        memmove(p, end, strlen(end) + 1);
    }
}

void host_same_metrics(const char *a, const char *b) {
    char *x = strdup(host_load(a)), *y = strdup(host_load(b));
    assert_true(x && y);
    drop_seconds(x);
    drop_seconds(y);
    assert_true(strlen(x) > 100);
    assert_string_equal(x, y);
    free(x);
    free(y);
}

/* The numbers of line `line` whose keys begin with "l_"; their number, or -1: there is no such line. */
static int losses_of(const char *text, int line, double *out, int room) {
    int count = 0;
    while (line-- > 0 && text) text = strchr(text, '\n') ? strchr(text, '\n') + 1 : NULL;
    const char *end = text ? strchr(text, '\n') : NULL;
    if (!end) return -1;
    for (const char *p = text; (p = strstr(p, "\"l_")) && p < end && count < room; p++) {
        const char *colon = strchr(p, ':');
        assert_non_null(colon);
        out[count++] = strtod(colon + 1, NULL);
    }
    return count;
}

double host_losses_apart(const char *a, const char *b, int steps) {
    enum { ROOM = 16 };
    char *text = strdup(host_load(a));
    const char *other = host_load(b);
    double worst = 0, x[ROOM], y[ROOM];
    int seen = 0;
    assert_non_null(text);
    for (int line = 0;; line++) { /* those of a validation have none */
        const int count = losses_of(text, line, x, ROOM);
        assert_int_equal(losses_of(other, line, y, ROOM), count);
        if (count < 0) break;
        seen += count > 0;
        for (int i = 0; i < count; i++) {
            const double gap = fabs(x[i] - y[i]) / fabs(x[i]);
            if (!(gap <= worst)) worst = gap;
        }
    }
    assert_int_equal(seen, steps);
    free(text);
    return worst;
}

double host_json_number(const char *relative, const char *key) {
    char quoted[128];
    const char *text = host_load(relative);
    snprintf(quoted, sizeof quoted, "\"%s\":", key);
    const char *cost = strstr(text, "\"cost\""), *at = cost ? strstr(cost, quoted) : NULL;
    if (!at) at = strstr(text, quoted);
    return at ? strtod(at + strlen(quoted), NULL) : NAN;
}
