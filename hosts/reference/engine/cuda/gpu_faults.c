/* Engines of cuDNN that are not taken although their notes keep our rules: those with known faults, and those that a person names. */
#include <stdlib.h>
#include <string.h>

#include "gpu_conv_state.h"

/* Names in DUKD_CUDNN_AVOID. */
static const char *const kind_names[] = {[GPU_CONV_FORWARD] = "forward",
                                         [GPU_CONV_DATA_GRADIENT] = "data",
                                         [GPU_CONV_WEIGHTS_GRADIENT] = "weights"};

/* Numbers of engines mean something for one kind of operation. Versions are the libraries' own; 0: any. */
typedef struct {
    int32_t every_kind;
    gpu_conv_kind kind;
    int64_t engine;
    int32_t capability;              /* ten times the device's */
    size_t cudnn_from, cudnn_before; /* cuDNN's versions that have it */
    size_t lt_before;                /* cuBLASLt's */
} fault;

static const fault faults[] = {
    /* Other bits from run to run, without the note that says so (PyTorch's issue 188288 and pull requests 188318, 189207, 189483). */
    {0, GPU_CONV_FORWARD, 5, 86, 92300, 92400, 0},
    /* May call a kernel of cuBLASLt that reaches beyond its memory (PyTorch's issue 190112 and pull request 191701). */
    {1, GPU_CONV_FORWARD, 58, 120, 0, 0, 130601},
    {1, GPU_CONV_FORWARD, 63, 120, 0, 0, 130601},
};

/* "forward:5,data:12,sums" has the word KIND:ENGINE, or a word alone (engine -1). */
static bool named(const char *list, const char *word, int64_t engine) {
    const size_t length = strlen(word);
    while (list != NULL && *list != 0) {
        const size_t part = strcspn(list, ",");
        if (part >= length && strncmp(list, word, length) == 0) {
            char *end = NULL;
            if (engine < 0 && part == length) return true;
            if (engine >= 0 && list[length] == ':' && strtoll(list + length + 1, &end, 10) == engine &&
                end == list + part)
                return true;
        }
        list += part + (list[part] == ',');
    }
    return false;
}

bool gpu_avoids(const gpu_libraries *l, const char *word) {
    return named(l->avoid, word, -1);
}

bool gpu_avoids_engine(const gpu_libraries *l, gpu_conv_kind kind, int64_t engine) {
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        const fault *f = &faults[i];
        if ((f->every_kind || f->kind == kind) && f->engine == engine && f->capability == l->capability &&
            l->cudnn_version >= f->cudnn_from &&
            (f->cudnn_before == 0 || l->cudnn_version < f->cudnn_before) &&
            (f->lt_before == 0 || l->lt_version < f->lt_before))
            return true;
    }
    return named(l->avoid, kind_names[kind], engine);
}
