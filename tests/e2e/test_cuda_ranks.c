/* Several ranks with engine: cuda, each on a device of its own: their steps are graphs with NCCL's sums inside, and how that ends where one rank
 * fails. On the emulated device, where a rank can be made to fail; most of it runs on two GPUs as well. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "host_run.h"
#include "unit/data_fixture.h"

#define SET(key_value) "--set", key_value
#define ON_CUDA        SET("engine=cuda"), "--plugin", CUDA_PLUGIN
#define STATE(name)    "experiments/" name "/training_states/20.state"
#define METRICS(name)  "experiments/" name "/metrics.jsonl"
#define BASE                                                                                                 \
    ON_CUDA, SET("precision=f32"), SET("num_threads=1"), SET("datasets.train.dataset_enlarge_ratio=4"),      \
        SET("train.total_iter=20"), SET("logger.save_checkpoint_freq=20")
/* Nothing is shown, validated or saved before the last iteration: what is told in between is told by the steps themselves. */
#define QUIET SET("logger.print_freq=20"), SET("val.val_freq=20")
/* Looks at the gradients before each optimizer step, and so records nothing. */
#define CALL_BY_CALL SET("train.nonfinite=skip")

static int setup(void **state) {
    return setenv("DUKD_ENGINE_CUDA", CUDA_ENGINE, 1) || setenv("DUKD_EMULATION", "prompt", 1) ||
           host_setup(state);
}

#define NEEDS_EMULATION()                                                                                    \
    do {                                                                                                     \
        host_needs_ranks_with_cuda();                                                                        \
        if (host_gpus()) {                                                                                   \
            print_message("SKIP: a GPU cannot be made to fail\n");                                           \
            skip();                                                                                          \
        }                                                                                                    \
    } while (0)

static const char *log_of(const char *name) {
    char path[128];
    snprintf(path, sizeof path, "experiments/%s/train_%s.log", name, name);
    return host_load(path);
}

/* ---------------------------------------------------------------- recorded or not, it is the same */

static void same_run(const char *const *more) {
    const char *args[60] = {"train", "dukd.yml", "-q", BASE, SET("logger.print_freq=1"), SET("name=graphs")};
    int count = 0, name;
    while (args[count]) count++;
    name = count - 1;
    for (int i = 0; more && more[i]; i++) args[count++] = more[i];
    host_run_ranks(2, 0, args);
    assert_null(strstr(log_of("graphs"), "call by call"));
    assert_null(strstr(log_of("graphs"), "processor's memory"));
    args[name] = "name=calls";
    args[count++] = "--set";
    args[count++] = "train.nonfinite=skip";
    host_run_ranks(2, 0, args);
    host_same_tensors(STATE("graphs"), STATE("calls"));
    host_same_metrics(METRICS("graphs"), METRICS("calls"));
}

static void paper_mode(void **state) {
    (void)state;
    host_needs_ranks_with_cuda();
    same_run(NULL);
}

/* Two optimizer steps an iteration, and no clearing between; plain descent sees how long a gradient is. */
static void official_mode(void **state) {
    static const char *const more[] = {SET("train.mode=official"),
                                       SET("train.pixel_opt.type=L1Loss"),
                                       SET("train.kd_opt.type=L1Loss"),
                                       SET("train.dukd_opt.n_gt_sub=[1]"),
                                       SET("train.dukd_opt.zoom_out=true"),
                                       SET("train.optim_g.type=SGD"),
                                       SET("train.optim_g.betas=~"),
                                       SET("train.optim_g.lr=0.02"),
                                       NULL};
    (void)state;
    host_needs_ranks_with_cuda();
    same_run(more);
}

static void micro_batches(void **state) {
    static const char *const more[] = {SET("train.micro_batches=2"), NULL};
    (void)state;
    host_needs_ranks_with_cuda();
    same_run(more);
}

/* One rank alone, whose micro-batches are a graph each. */
static void micro_batches_alone(void **state) {
#define ALONE(...)                                                                                           \
    HOST(0, "train", "dukd.yml", "-q", BASE, SET("logger.print_freq=1"), SET("train.micro_batches=2"),       \
         __VA_ARGS__)
    (void)state;
    ALONE(SET("name=graphs"));
    assert_null(strstr(log_of("graphs"), "call by call"));
    ALONE(SET("name=calls"), CALL_BY_CALL);
    host_same_tensors(STATE("graphs"), STATE("calls"));
    host_same_metrics(METRICS("graphs"), METRICS("calls"));
#undef ALONE
}

/* ---------------------------------------------------------------- a rank that fails */

/* Must end by itself, before NCCL's double has lost its patience with a rank that does not come. */
static int ends(host_process *p) {
    return host_must_end(p, 50);
}

/* Rank 1 has this in its environment. The run ends with `status`, and says `text`, once. */
static void broken_run(const char *environment, int status, const char *text, const char *const *more) {
    const char *args[60] = {"train", "dukd.yml", "-q", BASE};
    int count = 0;
    while (args[count]) count++;
    for (int i = 0; more[i]; i++) args[count++] = more[i];
    host_process p = {.ranks = 2, .other_environment = environment};
    host_start(&p, args);
    const int got = ends(&p);
    if (got != status || (text && !strstr(host_output(), text)))
        fail_msg("status %d, wanted %d and '%s'; it said:\n%s", got, status, text, host_output());
}
#define BROKEN_RUN(environment, status, text, ...)                                                           \
    broken_run(environment, status, text, (const char *const[]){__VA_ARGS__, NULL})

/* Three iterations call by call, the fourth and all others are replays: that the 12th of them can fail says that there are so many. Rank 0
 * has launched its own, which waits for rank 1 on the device. */
static void a_replay_that_fails(void **state) {
    (void)state;
    NEEDS_EMULATION();
    BROKEN_RUN("DUKD_EMULATION=prompt,fail=cudaGraphLaunch@12:719", 1,
               "rank 1: CUDA: replaying a step failed", QUIET);
    assert_non_null(strstr(host_load("experiments/dukd/run.json"), "\"status\": \"failed\""));
    assert_true(host_json_number("experiments/dukd/run.json", "iterations") >= 14);
    assert_false(host_exists(STATE("dukd")));
}

/* The same where rank 0 would wait for that iteration at once: it is shown, and saved. */
static void a_replay_that_fails_where_all_look(void **state) {
    (void)state;
    NEEDS_EMULATION();
    BROKEN_RUN("DUKD_EMULATION=prompt,fail=cudaGraphLaunch@12:719", 1,
               "rank 1: CUDA: replaying a step failed", SET("logger.print_freq=1"), SET("val.val_freq=5"));
    BROKEN_RUN("DUKD_EMULATION=prompt,fail=cudaGraphLaunch@17:719", 1,
               "rank 1: CUDA: replaying a step failed", QUIET);
    assert_false(host_exists(STATE("dukd")));
}

/* What one rank cannot record no rank does, and the bits are those of a run that never wanted to. */
static void a_recording_that_fails_on_one_rank(void **state) {
    static const char *const fails[] = {"DUKD_EMULATION=prompt,fail=cudaGraphInstantiate@1:2",
                                        "DUKD_EMULATION=prompt,fail=cudaStreamBeginCapture@1:900",
                                        "DUKD_EMULATION=prompt,fail=cudaStreamEndCapture@1:901"};
    static const char *const names[] = {"name=late", "name=early", "name=middle"};
    (void)state;
    NEEDS_EMULATION();
    RANKS(2, 0, "train", "dukd.yml", "-q", BASE, QUIET, CALL_BY_CALL, SET("name=calls"));
    for (int i = 0; i < 3; i++) {
        char path[128];
        BROKEN_RUN(fails[i], 0, NULL, QUIET, SET(names[i]));
        if (!strstr(log_of(names[i] + 5), "run call by call, they cannot be recorded: rank 1: "))
            fail_msg("%s", host_output());
        snprintf(path, sizeof path, "experiments/%s/training_states/20.state", names[i] + 5);
        host_same_tensors(path, STATE("calls"));
    }
}

/* An iteration of dukd.yml asks for two sums, of the gradient and of the flag; the 8th is the second of the recording. */
static void a_sum_that_is_refused(void **state) {
    (void)state;
    NEEDS_EMULATION();
    BROKEN_RUN("DUKD_NCCL=fail=8", 1, "rank 1: ncclAllReduce", QUIET);
    BROKEN_RUN("DUKD_NCCL=fail=7", 1, "rank 1: ncclAllReduce", QUIET); /* beside backward */
    BROKEN_RUN("DUKD_NCCL=fail=3", 1, "rank 1: ncclAllReduce", QUIET); /* call by call */
    BROKEN_RUN("DUKD_NCCL=fail=9", 0, NULL, QUIET); /* there is none: what follows is replayed */
}

/* No memory of the device on one rank, in the middle of the run. */
static void no_memory_on_one_rank(void **state) {
    (void)state;
    NEEDS_EMULATION();
    BROKEN_RUN("DUKD_EMULATION=prompt,memory=300000", 1, "rank 1: ", QUIET);
    assert_false(host_exists(STATE("dukd")));
}

int main(int argc, char **argv) {
    if (argc > 1) cmocka_set_test_filter(argv[1]);
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, host_teardown)
    const struct CMUnitTest tests[] = {
        TEST(paper_mode),
        TEST(official_mode),
        TEST(micro_batches),
        TEST(micro_batches_alone),
        TEST(a_replay_that_fails),
        TEST(a_replay_that_fails_where_all_look),
        TEST(a_recording_that_fails_on_one_rank),
        TEST(a_sum_that_is_refused),
        TEST(no_memory_on_one_rank),
    };
    return cmocka_run_group_tests_name("cuda_ranks", tests, NULL, NULL);
}
