/* Any bytes as a file of torch.save's: refused with a message, or every tensor lies in memory and is found by its name. The
 * same bytes as a bare pickle too, which an archive's checksums would keep most changes from. */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "tensors/pickle.h"
#include "tensors/torch_file.h"

static void check(int condition) {
    if (!condition) abort();
}

static void check_failure(int status, const dukd_failure *f) {
    check(status == DUKD_FAILED && f->status == status && strncmp(f->message, "input: ", 7) == 0);
    for (const char *p = f->message; *p; p++) check((unsigned char)*p >= 0x20);
}

static void read_pickle(const uint8_t *data, size_t size) {
    dukd_pickle *p;
    dukd_failure f = {0};
    size_t used = 0;
    int status = dukd_pickle_read(&p, data, size, 0, &used, "input", &f);
    check(used <= size);
    if (status != DUKD_DONE) {
        check(!p);
        check_failure(status, &f);
        return;
    }
    check(dukd_pickle_root(p) < dukd_pickle_count(p));
    for (dukd_py i = 0; i < dukd_pickle_count(p); i++) {
        const dukd_py_value *v = dukd_pickle_at(p, i);
        if (v->kind == DUKD_PY_TEXT)
            check(v->is.text.at >= data && v->is.text.at + v->is.text.size <= data + size);
        if (v->kind == DUKD_PY_LIST || v->kind == DUKD_PY_TUPLE || v->kind == DUKD_PY_DICT)
            for (uint32_t k = 0; k < v->is.items.count; k++) check(v->is.items.at[k] < dukd_pickle_count(p));
    }
    dukd_pickle_destroy(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    dukd_torch_file *t;
    dukd_failure f = {0};
    read_pickle(data, size);
    int status = dukd_torch_file_open_memory(&t, data, size, "input", &f);
    if (status != DUKD_DONE) {
        check(!t);
        check_failure(status, &f);
        return 0;
    }
    static volatile unsigned char sink;
    for (int32_t i = 0; i < dukd_torch_file_count(t); i++) {
        const dukd_st_tensor *x = dukd_torch_file_at(t, i);
        const uint64_t element = (uint64_t)dukd_st_type_size(x->type), bytes = (uint64_t)x->count * element;
        check(dukd_torch_file_find(t, x->name) == x);
        check(x->ndim >= 0 && x->ndim <= DUKD_ST_MAX_DIMS && x->data && (uintptr_t)x->data % element == 0);
        int64_t count = 1;
        for (int32_t d = 0; d < x->ndim; d++) count *= x->dims[d];
        check(count == x->count && bytes <= size);
        for (uint64_t b = 0; b < bytes; b++)
            sink = (unsigned char)(sink + ((const unsigned char *)x->data)[b]);
    }
    dukd_torch_file_close(t);
    return 0;
}
