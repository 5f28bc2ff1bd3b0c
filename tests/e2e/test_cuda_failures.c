/* dukd-host trains with engine: cuda, and a call of the CUDA runtime fails in the middle: steps that cannot be recorded are run call by
 * call to the same bits; what cannot go on ends with one message, and the run is taken up again where it was saved. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "host_run.h"
#include "unit/data_fixture.h"

#define TRAIN                                                                                                \
    "train", "dukd.yml", "--plugin", CUDA_PLUGIN, "--set", "engine=cuda", "--set", "precision=f32", "--set", \
        "train.total_iter=12", "--set", "val.val_freq=12", "--set"
#define METRICS(name) "experiments/" name "/metrics.jsonl"
#define STATE(name)   "experiments/" name "/training_states/12.state"

static int setup(void **state) {
    unsetenv("DUKD_EMULATION");
    return setenv("DUKD_ENGINE_CUDA", CUDA_ENGINE, 1) || host_setup(state);
}

/* cudaErrors by number: what the environment says. */
#define MEMORY      "2"
#define LAUNCH      "719"
#define INVALIDATED "901"

static void steps_that_cannot_be_recorded(void **state) {
    static const char *const failures[] = {"fail=cudaStreamBeginCapture@1:" LAUNCH,
                                           "fail=cudaStreamEndCapture@1:" INVALIDATED,
                                           "fail=cudaGraphInstantiate@1:" MEMORY};
    (void)state;
    HOST(0, TRAIN, "name=whole");
    assert_null(strstr(host_output(), "call by call"));
    for (size_t i = 0; i < sizeof failures / sizeof *failures; i++) {
        char name[32], made[128];
        snprintf(name, sizeof name, "name=eager%zu", i);
        setenv("DUKD_EMULATION", failures[i], 1);
        HOST(0, TRAIN, name);
        const char *said = strstr(host_output(), "steps are run call by call, they cannot be recorded: ");
        if (!said) fail_msg("%s: nobody said so: %s", failures[i], host_output());
        assert_null(strstr(said + 1, "steps are run")); /* once */
        snprintf(made, sizeof made, "experiments/eager%zu/training_states/12.state", i);
        host_same_tensors(STATE("whole"), made);
        snprintf(made, sizeof made, "experiments/eager%zu/metrics.jsonl", i);
        host_same_metrics(METRICS("whole"), made);
    }
}

/* Ends the run after its first state was saved, at iteration 5. */
static void calls_that_end_a_run(void **state) {
    static const struct {
        const char *fail, *words;
    } failures[] = {
        {"fail=cudaGraphLaunch@4:" LAUNCH, "replaying a step failed"},
        {"fail=cudaStreamWaitEvent@30:" LAUNCH "+", "ordering a batch's copy failed"},
        {"fail=cudaEventSynchronize@60:" LAUNCH "+", "waiting for "},
    };
    (void)state;
    HOST(0, TRAIN, "name=whole");
    for (size_t i = 0; i < sizeof failures / sizeof *failures; i++) {
        char name[32], made[128];
        snprintf(name, sizeof name, "name=ends%zu", i);
        setenv("DUKD_EMULATION", failures[i].fail, 1);
        HOST(1, TRAIN, name);
        if (!strstr(host_output(), "dukd-host train: ") || !strstr(host_output(), failures[i].words))
            fail_msg("%s: %s", failures[i].fail, host_output());
        unsetenv("DUKD_EMULATION");
        HOST(0, TRAIN, name, "--resume");
        assert_non_null(strstr(host_output(), "resumed after iteration "));
        snprintf(made, sizeof made, "experiments/ends%zu/training_states/12.state", i);
        host_same_tensors(STATE("whole"), made);
        snprintf(made, sizeof made, "experiments/ends%zu/metrics.jsonl", i);
        host_same_metrics(METRICS("whole"), made);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(steps_that_cannot_be_recorded, setup, host_teardown),
        cmocka_unit_test_setup_teardown(calls_that_end_a_run, setup, host_teardown),
    };
    return cmocka_run_group_tests_name("cuda_failures", tests, NULL, NULL);
}
