/* dukd-bench-cuda: the CUDA engine and the plugin's CUDA backend against their device, in one run: kernels against the bandwidth of a
 * copy, a training step against cuDNN's bare convolutions. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/bench/bench_gpu.h"

static const char usage[] =
    "usage: dukd-bench-cuda [kernels|plugin|step]... [--plugin FILE] [--rounds N] [--batch N] [--side N]\n"
    "The CUDA engine and the plugin's CUDA backend against the device they run on; all parts without a "
    "name.\n"
    "  kernels        the engine's own kernels: bytes a second, and the share of a copy's\n"
    "  plugin         loss, gradient and data hook of a DUKD step, through the ABI\n"
    "  step           a DUKD step (EDSR 64c 32b -> 16c 32b, x4) against the bare convolutions: f32, TF32, "
    "bf16\n"
    "  --plugin FILE  the plugin (default: $DUKD_PLUGIN, else lib/libdukd.so beside the program's folder)\n"
    "  --rounds N     repetitions, of which the best counts (default 20)\n"
    "  --batch N      images (default 16)\n"
    "  --side N       pixels a side of LR (default 48)\n"
    "example: dukd-bench-cuda kernels --batch 32\n";

enum { KERNELS = 1, PLUGIN = 2, STEP = 4 };

typedef struct {
    int parts;
    const char *plugin;
} arguments;

static int whole(const char *text, int32_t *out) {
    char *end;
    const long n = strtol(text, &end, 10);
    if (*end || n < 1 || n > 4096) return 0;
    *out = (int32_t)n;
    return 1;
}

static int read_arguments(arguments *a, dukd_bench_gpu *b, int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i], *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(word, "kernels") == 0)
            a->parts |= KERNELS;
        else if (strcmp(word, "plugin") == 0)
            a->parts |= PLUGIN;
        else if (strcmp(word, "step") == 0)
            a->parts |= STEP;
        else if (strcmp(word, "--plugin") == 0 && *value)
            a->plugin = argv[++i];
        else if ((strcmp(word, "--rounds") == 0 && whole(value, &b->rounds)) ||
                 (strcmp(word, "--batch") == 0 && whole(value, &b->batch)) ||
                 (strcmp(word, "--side") == 0 && whole(value, &b->side)))
            i++;
        else
            return 0;
    }
    if (!a->parts) a->parts = KERNELS | PLUGIN | STEP;
    return 1;
}

int main(int argc, char **argv) {
    dukd_bench_gpu b = {.rounds = 20, .batch = 16, .side = 48};
    arguments a = {0};
    dukd_failure f = {0};
    if (argc == 2 && strcmp(argv[1], "--help") == 0) {
        fputs(usage, stdout);
        return 0;
    }
    if (!read_arguments(&a, &b, argc, argv)) {
        fputs(usage, stderr);
        return 2;
    }
    int status = dukd_bench_gpu_open(&b, &f);
    if (!status && a.parts & KERNELS) status = dukd_bench_gpu_kernels(&b, &f);
    if (!status && a.parts & PLUGIN) status = dukd_bench_gpu_bandwidth(&b, &f);
    if (!status && a.parts & PLUGIN) status = dukd_bench_gpu_plugin(&b, a.plugin, &f);
    if (!status && a.parts & STEP) status = dukd_bench_gpu_step(&b, 0, 0, &f);
    if (!status && a.parts & STEP) status = dukd_bench_gpu_step(&b, 0, 1, &f);
    if (!status && a.parts & STEP) status = dukd_bench_gpu_step(&b, 1, 0, &f);
    if (!status) status = dukd_bench_gpu_bandwidth(&b, &f);
    if (!status)
        printf("at the end a copy moves %.0f GB/s; the most was %.0f\n", 1e-9 * b.last, 1e-9 * b.bandwidth);
    dukd_bench_gpu_close(&b);
    if (status) fprintf(stderr, "dukd-bench-cuda: %s\n", f.message);
    return status;
}
