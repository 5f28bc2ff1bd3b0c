/* Opening a safetensors file: mapping it, finding its header, and giving out its tensors. */
#include "common/safetensors.h"

#include <stdlib.h>
#include <string.h>

#include "common/mapped_file.h"
#include "common/safetensors_header.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "tensors are used as they lie in the file");

struct dukd_tensor_file {
    dukd_st_header header;
    dukd_mapped_file mapped; /* zeroed where the memory is the caller's */
    void *copy;              /* of all the data, or NULL: see align_data */
};

/* A file with tensors that are not aligned for their types is used from a copy in which each one is. Rare: writers pad
 * their headers. */
static int align_data(dukd_tensor_file *t, const char *path, dukd_failure *f) {
    dukd_st_header *h = &t->header;
    size_t total = 0;
    int aligned = 1;
    for (int32_t i = 0; i < h->count; i++) {
        size_t element = (size_t)dukd_st_type_size(h->tensors[i].type);
        aligned = aligned && (uintptr_t)h->tensors[i].data % element == 0;
        total += ((size_t)h->tensors[i].count * element + 7) / 8 *
                 8; /* the data lie in memory already: no overflow */
    }
    if (aligned) return DUKD_DONE;
    unsigned char *to = malloc(total ? total : 1);
    if (!to)
        return dukd_fail(f, DUKD_FAILED, "%s: out of memory: aligning its tensors needs %zu bytes", path,
                         total);
    t->copy = to;
    for (int32_t i = 0; i < h->count; i++) {
        size_t bytes = (size_t)h->tensors[i].count * (size_t)dukd_st_type_size(h->tensors[i].type);
        memcpy(to, h->tensors[i].data, bytes);
        h->tensors[i].data = to;
        to += (bytes + 7) / 8 * 8;
    }
    return DUKD_DONE;
}

static int read_file(dukd_tensor_file *t, const unsigned char *bytes, size_t size, const char *path,
                     dukd_failure *f) {
    if (size < 8)
        return dukd_fail(f, DUKD_FAILED, "%s: is no safetensors file: it has %zu bytes", path, size);
    uint64_t header = 0;
    for (int i = 7; i >= 0; i--) header = header << 8 | bytes[i];
    if (header > DUKD_ST_MAX_HEADER || (size > 8 && bytes[8] != '{'))
        return dukd_fail(f, DUKD_FAILED, "%s: is no safetensors file: it does not begin with a header", path);
    if (header < 2 || header > size - 8)
        return dukd_fail(
            f, DUKD_FAILED,
            "%s: its header should have %llu bytes, but only %zu are there: the file may have been cut short",
            path, (unsigned long long)header, size - 8);
    const unsigned char *data = bytes + 8 + header;
    int status = dukd_st_header_read(&t->header, bytes + 8, (size_t)header, data,
                                     (int64_t)(size - 8 - (size_t)header), path, f);
    return status == DUKD_DONE ? align_data(t, path, f) : status;
}

int dukd_tensor_file_open_memory(dukd_tensor_file **out, const void *bytes, size_t size, const char *name,
                                 dukd_failure *f) {
    *out = NULL;
    dukd_tensor_file *t = calloc(1, sizeof *t);
    if (!t) return dukd_fail_memory(f, "a safetensors file", sizeof *t);
    int status = read_file(t, bytes, size, name, f);
    if (status == DUKD_DONE)
        *out = t;
    else
        dukd_tensor_file_close(t);
    return status;
}

int dukd_tensor_file_open(dukd_tensor_file **out, const char *path, dukd_failure *f) {
    dukd_mapped_file mapped;
    *out = NULL;
    int status = dukd_mapped_file_open(&mapped, path, f);
    if (status == DUKD_DONE) status = dukd_tensor_file_open_memory(out, mapped.bytes, mapped.size, path, f);
    if (status == DUKD_DONE)
        (*out)->mapped = mapped;
    else
        dukd_mapped_file_close(&mapped);
    return status;
}

void dukd_tensor_file_close(dukd_tensor_file *t) {
    if (!t) return;
    dukd_st_header_free(&t->header);
    dukd_mapped_file_close(&t->mapped);
    free(t->copy);
    free(t);
}

int32_t dukd_tensor_file_count(const dukd_tensor_file *t) {
    return t->header.count;
}
const dukd_st_tensor *dukd_tensor_file_at(const dukd_tensor_file *t, int32_t i) {
    return &t->header.tensors[i];
}

int32_t dukd_tensor_file_metadata_count(const dukd_tensor_file *t) {
    return t->header.metadata_count;
}
const dukd_st_entry *dukd_tensor_file_metadata_at(const dukd_tensor_file *t, int32_t i) {
    return &t->header.metadata[i];
}

static int name_order(const void *name, const void *entry) {
    return strcmp(name, ((const dukd_st_name *)entry)->name);
}

static int key_order(const void *key, const void *entry) {
    return strcmp(key, ((const dukd_st_entry *)entry)->key);
}

const dukd_st_tensor *dukd_tensor_file_find(const dukd_tensor_file *t, const char *name) {
    const dukd_st_header *h = &t->header;
    const dukd_st_name *found = bsearch(name, h->names, (size_t)h->count, sizeof *h->names, name_order);
    return found ? &h->tensors[found->index] : NULL;
}

const char *dukd_tensor_file_metadata(const dukd_tensor_file *t, const char *key) {
    const dukd_st_header *h = &t->header;
    if (h->metadata_count == 0) return NULL;
    const dukd_st_entry *found =
        bsearch(key, h->metadata, (size_t)h->metadata_count, sizeof *h->metadata, key_order);
    return found ? found->value : NULL;
}
