/* What is said where cuDNN or cuBLASLt is missing, of another version, not whole, or has no GPU. Each case is a process of its own, which
 * finds its libraries by LD_LIBRARY_PATH or beside itself: test_gpu_libraries PART... — the message must have every part. A skip, 77,
 * where everything can be used. */
#include <stdio.h>
#include <string.h>

#include "engine/cuda/gpu_conv.h"

int main(int argc, char **argv) {
    dukd_failure f = {0};
    gpu_libraries *l = NULL;
    const int status = gpu_libraries_open(&l, NULL, &f);
    if (status == DUKD_DONE) {
        char text[128];
        gpu_libraries_text(l, text, sizeof text);
        gpu_libraries_close(l);
        printf("SKIP: there is a GPU here, and %s\n", text);
        return 77;
    }
    printf("%s\n", f.message);
    int missing = l != NULL || status != DUKD_FAILED || argc < 2;
    for (int i = 1; i < argc; i++) {
        if (strstr(f.message, argv[i]) != NULL) continue;
        printf("FAILED: the message lacks '%s'\n", argv[i]);
        missing = 1;
    }
    return missing;
}
