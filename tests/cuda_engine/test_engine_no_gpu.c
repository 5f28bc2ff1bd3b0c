/* The CUDA engine with the real CUDA runtime inside, on a machine that has no GPU: a clean message, and the engine on the processor works
 * as before. A skip where there is a GPU. test_engine_no_gpu libdukd-engine-cuda.so */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/engine.h"

int main(int argc, char **argv) {
    dukd_failure f = {0};
    dukd_engine *e = NULL;
    if (argc != 2) {
        fprintf(stderr, "usage: test_engine_no_gpu libdukd-engine-cuda.so\n");
        return 2;
    }
    setenv("DUKD_ENGINE_CUDA", argv[1], 1);
    if (dukd_engine_create(&e, "cuda", 1, &f) == DUKD_DONE) {
        printf("SKIP: there is a GPU here: %s\n", dukd_engine_get_info(e)->instruction_set);
        dukd_engine_destroy(e);
        return 77;
    }
    printf("%s\n", f.message);
    int failures =
        !strstr(f.message, "driver") && !strstr(f.message, "device") && !strstr(f.message, "cuDNN");
    if (failures) printf("FAILED: the message does not say what is missing\n");
    f = (dukd_failure){0};
    if (dukd_engine_create(&e, "onednn", 1, &f) != DUKD_DONE) {
        printf("FAILED: the engine on the processor: %s\n", f.message);
        failures++;
    }
    dukd_engine_destroy(e);
    return failures != 0;
}
