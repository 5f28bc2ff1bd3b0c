/* Running dukd-host in a scratch folder: made-up images, an option file, the program, what it left. */
#ifndef DUKD_TEST_HOST_RUN_H
#define DUKD_TEST_HOST_RUN_H

#include <stdint.h>
#include <sys/types.h>

/* Setup and teardown for cmocka: a scratch folder (unit/data_fixture.h) with training images in train/, validation images in
 * val/, a teacher's weights in teacher.safetensors and two option files, dukd.yml and scratch.yml. */
int host_setup(void **state);
int host_teardown(void **state);

/* The program, started in the scratch folder with these arguments (the last one NULL). Its output goes to a file there. */
typedef struct {
    pid_t pid;
    int64_t file_limit; /* bytes a file may have; 0: no limit. Set it before host_start. */
    int32_t ranks; /* so many processes by mpirun, whose pid is then the one above; 0: without a launcher */
    /* Of the last rank, where it is started otherwise than the others: its folder in the scratch folder, and two more arguments. */
    const char *other_folder, *other_arguments[2];
    const char *other_environment; /* "NAME=VALUE" for it alone */
} host_process;
void host_start(host_process *p, const char *const *args);
/* Waits; the exit status, or minus the signal that ended it. */
int host_wait(host_process *p);
int host_ended(const host_process *p); /* it has, or is about to be waited for; does not wait */
/* The same as host_wait, but it must end by itself within so many seconds; else it is killed, and the test fails with the output. */
int host_must_end(host_process *p, int seconds);
/* Both: fails the test with the output where the status is another. */
void host_run(int status, const char *const *args);
#define HOST(status, ...) host_run(status, (const char *const[]){__VA_ARGS__, NULL})

/* The same by `ranks` processes. */
void host_run_ranks(int32_t ranks, int status, const char *const *args);
#define RANKS(ranks, status, ...) host_run_ranks(ranks, status, (const char *const[]){__VA_ARGS__, NULL})
/* GPUs that the test is to use, as tests/cuda_engine/on_gpu.c says; 0: the emulated device, or none. */
int host_gpus(void);
int host_has_ranks(void);              /* 0: this build has no MPI, which is printed as a reason to skip */
void host_needs_ranks_with_cuda(void); /* skips, with the reason, where two ranks cannot have a device each */

const char *host_output(void); /* of the last process: stdout and stderr together */
char *host_load(
    const char *
        relative); /* a text file of the scratch folder; fails where it is not there. Valid until the next call */
int host_exists(const char *relative);

/* All tensors of two safetensors files of the scratch folder are the same, bit by bit, and there are some. */
void host_same_tensors(const char *a, const char *b);
/* Two metrics.jsonl are the same but for seconds. */
void host_same_metrics(const char *a, const char *b);
/* The largest relative difference of any loss between two metrics.jsonl, which must both have `steps` lines with losses. */
double host_losses_apart(const char *a, const char *b, int steps);
/* The number after "KEY": in a JSON file, in its section "cost" or after it where the key is there; NaN where there is none. */
double host_json_number(const char *relative, const char *key);

#endif
