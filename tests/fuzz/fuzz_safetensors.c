/* Any bytes as a safetensors file: refused with a message, or every tensor lies inside the file and is found by its name. */
#include <stdlib.h>
#include <string.h>

#include "common/safetensors.h"
#include "fuzz.h"

static void check(int condition) {
    if (!condition) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    dukd_tensor_file *t;
    dukd_failure f = {0};
    int status = dukd_tensor_file_open_memory(&t, data, size, "input", &f);
    if (status != DUKD_DONE) {
        check(status == DUKD_FAILED && !t && f.status == status && strncmp(f.message, "input: ", 7) == 0);
        for (const char *p = f.message; *p; p++) check((unsigned char)*p >= 0x20);
        return 0;
    }
    check(f.status == DUKD_DONE);
    uint64_t total = 0;
    static volatile unsigned char sink;
    for (int32_t i = 0; i < dukd_tensor_file_count(t); i++) {
        const dukd_st_tensor *x = dukd_tensor_file_at(t, i);
        uint64_t element = (uint64_t)dukd_st_type_size(x->type), bytes = (uint64_t)x->count * element;
        check(dukd_tensor_file_find(t, x->name) == x);
        check(x->ndim >= 0 && x->ndim <= DUKD_ST_MAX_DIMS && x->data && (uintptr_t)x->data % element == 0);
        int64_t count = 1;
        for (int32_t d = 0; d < x->ndim; d++) count *= x->dims[d];
        check(count == x->count);
        total += bytes;
        check(total <= size);
        for (uint64_t b = 0; b < bytes; b++)
            sink = (unsigned char)(sink + ((const unsigned char *)x->data)[b]);
    }
    dukd_tensor_file_metadata(t, "k");
    dukd_tensor_file_close(t);
    return 0;
}
