/* Writing a safetensors file: checking, ordering, the header's JSON, and the data. */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/atomic_file.h"
#include "common/checked.h"
#include "common/json_out.h"
#include "common/safetensors.h"
#include "common/safetensors_header.h"
#include "common/utf8.h"

static bool is_utf8(const char *s) {
    const unsigned char *p = (const unsigned char *)s;
    size_t left = strlen(s);
    while (left > 0) {
        int length = dukd_utf8_length(p, left);
        if (length == 0) return false;
        p += length;
        left -= (size_t)length;
    }
    return true;
}

static int by_text(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Names or keys: UTF-8, not empty, no two alike. `what` is "tensor" or "metadata". Sorts the array. */
static int check_names(const char **names, int32_t count, const char *what, const char *path,
                       dukd_failure *f) {
    if (count > 0) qsort(names, (size_t)count, sizeof *names, by_text);
    for (int32_t i = 0; i < count; i++) {
        const char *wrong = !*names[i]                                     ? "is empty"
                            : !is_utf8(names[i])                           ? "is not UTF-8"
                            : strcmp(names[i], "__metadata__") == 0        ? "is reserved"
                            : i > 0 && strcmp(names[i - 1], names[i]) == 0 ? "is given twice"
                                                                           : NULL;
        if (wrong)
            return dukd_fail(f, DUKD_MISUSED, "%s: not written: the %s name '%s' %s", path, what,
                             dukd_st_print(names[i]).text, wrong);
    }
    return DUKD_DONE;
}

static int check_all_names(const char *path, const dukd_st_tensor *tensors, int32_t count,
                           const dukd_st_entry *metadata, int32_t metadata_count, dukd_failure *f) {
    size_t most = (size_t)(count > metadata_count ? count : metadata_count);
    const char **names = malloc((most + 1) * sizeof *names);
    if (!names) return dukd_fail_memory(f, "a table of tensors", (most + 1) * sizeof *names);
    for (int32_t i = 0; i < count; i++) names[i] = tensors[i].name;
    int status = check_names(names, count, "tensor", path, f);
    for (int32_t i = 0; i < metadata_count; i++) names[i] = metadata[i].key;
    if (status == DUKD_DONE) status = check_names(names, metadata_count, "metadata", path, f);
    free(names);
    return status;
}

/* Bytes of a tensor that is what it says. */
static int check_tensor(const dukd_st_tensor *t, int64_t *bytes, const char *path, dukd_failure *f) {
    int64_t count = 1;
    bool good = t->ndim >= 0 && t->ndim <= DUKD_ST_MAX_DIMS;
    for (int32_t d = 0; good && d < t->ndim; d++) good = dukd_checked_mul(count, t->dims[d], &count);
    good = good && count == t->count && (count == 0 || t->data) &&
           dukd_checked_mul(count, dukd_st_type_size(t->type), bytes);
    if (good) return DUKD_DONE;
    return dukd_fail(f, DUKD_MISUSED, "%s: not written: shape, count and data of tensor '%s' do not agree",
                     path, dukd_st_print(t->name).text);
}

/* Calls for every tensor in the order of the file: larger elements first, otherwise as given. */
#define FOR_EACH_IN_FILE(i, tensors, count)                                                                  \
    for (int32_t element_size = 8; element_size >= 1; element_size /= 2)                                     \
        for (int32_t i = 0; i < (count); i++)                                                                \
            if (dukd_st_type_size((tensors)[i].type) == element_size)

static int put_tensors(dukd_json *j, const char *path, const dukd_st_tensor *tensors, int32_t count,
                       dukd_failure *f) {
    int64_t begin = 0, end, bytes = 0;
    FOR_EACH_IN_FILE(i, tensors, count) {
        const dukd_st_tensor *t = &tensors[i];
        int status = check_tensor(t, &bytes, path, f);
        if (status != DUKD_DONE) return status;
        if (!dukd_checked_add(begin, bytes, &end))
            return dukd_fail(f, DUKD_MISUSED, "%s: not written: its tensors are too large", path);
        dukd_json_object(j, t->name);
        dukd_json_text(j, "dtype", dukd_st_type_name(t->type));
        dukd_json_array(j, "shape");
        for (int32_t d = 0; d < t->ndim; d++) dukd_json_integer(j, NULL, t->dims[d]);
        dukd_json_close(j);
        dukd_json_array(j, "data_offsets");
        dukd_json_integer(j, NULL, begin);
        dukd_json_integer(j, NULL, end);
        dukd_json_close(j);
        dukd_json_close(j);
        begin = end;
    }
    return DUKD_DONE;
}

typedef struct {
    char *bytes;
    size_t size;
} header_text;

static int make_header(header_text *header, const char *path, const dukd_st_tensor *tensors, int32_t count,
                       const dukd_st_entry *metadata, int32_t metadata_count, dukd_failure *f) {
    FILE *to = open_memstream(&header->bytes, &header->size);
    if (!to) return dukd_fail(f, DUKD_FAILED, "%s: cannot make its header: %s", path, strerror(errno));
    dukd_json j = dukd_json_begin(to);
    j.indent = 0;
    dukd_json_object(&j, NULL);
    if (metadata_count > 0) {
        dukd_json_object(&j, "__metadata__");
        for (int32_t i = 0; i < metadata_count; i++) dukd_json_text(&j, metadata[i].key, metadata[i].value);
        dukd_json_close(&j);
    }
    int status = put_tensors(&j, path, tensors, count, f);
    dukd_json_close(&j);
    if (status == DUKD_DONE) status = dukd_json_end(&j, path, f);
    long size = ftell(to);
    fputs("       ", to);
    if (fclose(to) != 0 && status == DUKD_DONE) /* NULL bytes where there was no memory at all */
        status = dukd_fail(f, DUKD_FAILED, "%s: cannot make its header: %s", path, strerror(errno));
    if (status != DUKD_DONE) return status;
    /* The format pads with blanks, so the newline becomes one, and as many follow as align the data to 8. */
    header->bytes[size - 1] = ' ';
    header->size = ((size_t)size + 7) / 8 * 8;
    if (header->size > DUKD_ST_MAX_HEADER)
        return dukd_fail(f, DUKD_MISUSED, "%s: not written: names and metadata take more than %d bytes", path,
                         DUKD_ST_MAX_HEADER);
    return DUKD_DONE;
}

static int write_file(const char *path, const header_text *header, const dukd_st_tensor *tensors,
                      int32_t count, dukd_failure *f) {
    dukd_atomic_file *a;
    unsigned char length[8];
    for (int i = 0; i < 8; i++) length[i] = (unsigned char)((uint64_t)header->size >> 8 * i);
    int status = dukd_atomic_file_open(&a, path, f);
    if (status != DUKD_DONE) return status;
    status = dukd_atomic_file_write(a, length, sizeof length, f);
    if (status == DUKD_DONE) status = dukd_atomic_file_write(a, header->bytes, header->size, f);
    FOR_EACH_IN_FILE(i, tensors, count) {
        size_t bytes = (size_t)tensors[i].count * (size_t)element_size;
        if (status == DUKD_DONE) status = dukd_atomic_file_write(a, tensors[i].data, bytes, f);
    }
    if (status == DUKD_DONE) return dukd_atomic_file_commit(a, f);
    dukd_atomic_file_abandon(a);
    return status;
}

int dukd_tensor_file_write(const char *path, const dukd_st_tensor *tensors, int32_t count,
                           const dukd_st_entry *metadata, int32_t metadata_count, dukd_failure *f) {
    header_text header = {0};
    int status = check_all_names(path, tensors, count, metadata, metadata_count, f);
    if (status == DUKD_DONE) status = make_header(&header, path, tensors, count, metadata, metadata_count, f);
    if (status == DUKD_DONE) status = write_file(path, &header, tensors, count, f);
    free(header.bytes);
    return status;
}
