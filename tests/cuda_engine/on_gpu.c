/* Runs a test on a GPU, or says why it cannot: on_gpu COMMAND...
 *
 * A skip, 77, where the engine `cuda` cannot be used on this machine, with its reason. Else the command, which finds in its environment that
 * the tests' engine is cuda (DUKD_TEST_ENGINE) and how many GPUs there are (DUKD_TEST_DEVICES). */
#include <cuda_runtime_api.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/engine.h"

/* In a process of its own, so that the command begins without a context. Its exit status: the number of GPUs, 0: none can be used. */
static int look(void) {
    dukd_failure f = {0};
    dukd_engine *e = NULL;
    int devices = 0;
    if (dukd_engine_create(&e, "cuda", 1, &f) != DUKD_DONE) {
        printf("SKIP: no GPU can be used: %s\n", f.message);
        return 0;
    }
    printf("on %s, %s\n", dukd_engine_get_info(e)->instruction_set, dukd_engine_get_info(e)->library);
    dukd_engine_destroy(e);
    const cudaError_t status = cudaGetDeviceCount(&devices);
    if (status == cudaSuccess) return devices;
    printf("SKIP: no GPU can be used: cudaGetDeviceCount: %s\n", cudaGetErrorString(status));
    return 0;
}

int main(int argc, char **argv) {
    int status = 0;
    char count[16];
    if (argc < 2) {
        fprintf(stderr, "usage: on_gpu COMMAND...\n");
        return 2;
    }
    const pid_t pid = fork();
    if (pid < 0) return 1;
    if (pid == 0) {
        const int devices = look();
        fflush(stdout);
        _exit(devices > 100 ? 100 : devices);
    }
    if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status)) {
        fprintf(stderr, "on_gpu: looking for a GPU ended with signal %d\n", WTERMSIG(status));
        return 1;
    }
    if (WEXITSTATUS(status) == 0) return 77;
    snprintf(count, sizeof count, "%d", WEXITSTATUS(status));
    setenv("DUKD_TEST_ENGINE", "cuda", 1);
    setenv("DUKD_TEST_DEVICES", count, 1);
    execvp(argv[1], argv + 1);
    perror(argv[1]);
    return 1;
}
