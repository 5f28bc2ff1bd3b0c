/* Writing torch.save's ZIP format: a pickle that puts the tensors together, and an entry for each one's numbers. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/checked.h"
#include "common/json_out.h"
#include "tensors/torch_file.h"
#include "tensors/torch_parts.h"
#include "tensors/zip_file.h"

#define PREFIX "archive/"

/* Keys of BasicSR and of others that become dictionaries. */
static const char *const groups[] = {"params", "params_ema", "state_dict"};
enum { GROUPS = sizeof groups / sizeof *groups };

static int group_of(const char *name) {
    for (int g = 0; g < GROUPS; g++) {
        const size_t length = strlen(groups[g]);
        if (strncmp(name, groups[g], length) == 0 && name[length] == '.' && name[length + 1]) return g;
    }
    return -1;
}

static const char *storage_name(dukd_st_type type) {
    switch (type) {
    case DUKD_ST_F32:
        return "FloatStorage";
    case DUKD_ST_F16:
        return "HalfStorage";
    case DUKD_ST_BF16:
        return "BFloat16Storage";
    case DUKD_ST_F64:
        return "DoubleStorage";
    case DUKD_ST_I64:
        return "LongStorage";
    case DUKD_ST_I32:
        return "IntStorage";
    case DUKD_ST_I16:
        return "ShortStorage";
    case DUKD_ST_I8:
        return "CharStorage";
    case DUKD_ST_U8:
        return "ByteStorage";
    case DUKD_ST_BOOL:
        return "BoolStorage";
    default:
        return NULL;
    }
}

/* ---------------------------------------------------------------- the pickle (protocol 2, opcodes as in pickle.c) */

static void put_number(FILE *to, uint64_t value, int bytes) {
    for (int i = 0; i < bytes; i++) putc((int)(value >> 8 * i & 255), to);
}

static void put_integer(FILE *to, int64_t value) {
    if (value < 256) {
        putc('K', to);
        put_number(to, (uint64_t)value, 1);
    } else if (value <= INT32_MAX) {
        putc('J', to);
        put_number(to, (uint64_t)value, 4);
    } else { /* two's complement in 8 bytes, which INT64_MAX fits */
        putc(0x8a, to);
        putc(8, to);
        put_number(to, (uint64_t)value, 8);
    }
}

static void put_text(FILE *to, const char *text) {
    putc('X', to);
    put_number(to, strlen(text), 4);
    fputs(text, to);
}

static void put_tuple(FILE *to, const int64_t *numbers, int32_t count) {
    putc('(', to);
    for (int32_t i = 0; i < count; i++) put_integer(to, numbers[i]);
    putc('t', to);
}

static void put_dictionary(FILE *to) {
    fputs("ccollections\nOrderedDict\n)R", to);
}

static void put_tensor(FILE *to, const dukd_st_tensor *t, int32_t number) {
    int64_t strides[DUKD_ST_MAX_DIMS], row = 1;
    char key[16];
    snprintf(key, sizeof key, "%d", number);
    for (int32_t d = t->ndim; d-- > 0; row *= t->dims[d] ? t->dims[d] : 1) strides[d] = row;
    fputs("ctorch._utils\n_rebuild_tensor_v2\n((", to);
    put_text(to, "storage");
    fprintf(to, "ctorch\n%s\n", storage_name(t->type));
    put_text(to, key);
    put_text(to, "cpu");
    put_integer(to, t->count);
    fputs("tQ", to);
    put_integer(to, 0);
    put_tuple(to, t->dims, t->ndim);
    put_tuple(to, strides, t->ndim);
    putc(0x89, to); /* requires_grad: False */
    put_dictionary(to);
    fputs("tR", to);
}

static void put_group(FILE *to, int group, const dukd_st_tensor *tensors, int32_t count) {
    const size_t skip = group < 0 ? 0 : strlen(groups[group]) + 1;
    for (int32_t i = 0; i < count; i++)
        if (group_of(tensors[i].name) == group) {
            put_text(to, tensors[i].name + skip);
            put_tensor(to, &tensors[i], i);
        }
}

static void put_all(FILE *to, const dukd_st_tensor *tensors, int32_t count) {
    fputs("\x80\x02", to);
    put_dictionary(to);
    putc('(', to);
    for (int g = 0; g < GROUPS; g++) {
        int32_t members = 0;
        for (int32_t i = 0; i < count; i++) members += group_of(tensors[i].name) == g;
        if (!members) continue;
        put_text(to, groups[g]);
        put_dictionary(to);
        putc('(', to);
        put_group(to, g, tensors, count);
        putc('u', to);
    }
    put_group(to, -1, tensors, count);
    fputs("u.", to);
}

/* ---------------------------------------------------------------- checks */

static int by_text(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int check_names(const char *path, const dukd_st_tensor *tensors, int32_t count, dukd_failure *f) {
    const char **names = malloc(((size_t)count + 1) * sizeof *names);
    int status = DUKD_DONE;
    if (!names) return dukd_fail_memory(f, "a table of tensors", ((size_t)count + 1) * sizeof *names);
    for (int32_t i = 0; i < count; i++) names[i] = tensors[i].name;
    qsort(names, (size_t)count, sizeof *names, by_text);
    for (int32_t i = 0; status == DUKD_DONE && i < count; i++) {
        const char *wrong = !*names[i]                                     ? "is empty"
                            : i > 0 && strcmp(names[i - 1], names[i]) == 0 ? "is given twice"
                                                                           : NULL;
        for (int g = 0; g < GROUPS; g++)
            if (strcmp(names[i], groups[g]) == 0) wrong = "is that of a dictionary";
        if (wrong)
            status = dukd_fail(f, DUKD_MISUSED, "%s: not written: the tensor name '%s' %s", path,
                               dukd_st_print(names[i]).text, wrong);
    }
    free(names);
    return status;
}

static int check_tensor(const char *path, const dukd_st_tensor *t, dukd_failure *f) {
    int64_t count = 1, bytes;
    int good = t->ndim >= 0 && t->ndim <= DUKD_ST_MAX_DIMS;
    for (int32_t d = 0; good && d < t->ndim; d++) good = dukd_checked_mul(count, t->dims[d], &count);
    good = good && count == t->count && (count == 0 || t->data) &&
           dukd_checked_mul(count, dukd_st_type_size(t->type), &bytes);
    if (!good)
        return dukd_fail(f, DUKD_MISUSED,
                         "%s: not written: shape, count and data of tensor '%s' do not agree", path,
                         dukd_st_print(t->name).text);
    if (!storage_name(t->type))
        return dukd_fail(f, DUKD_MISUSED,
                         "%s: not written: tensor '%s' is of type %s, which PyTorch does not store", path,
                         dukd_st_print(t->name).text, dukd_st_type_name(t->type));
    return DUKD_DONE;
}

/* ---------------------------------------------------------------- the archive */

typedef struct {
    char *bytes;
    size_t size;
} text;

static int end_text(FILE *to, const char *path, dukd_failure *f) {
    const int lost = ferror(to);
    if (fclose(to) == 0 && !lost) return DUKD_DONE;
    return dukd_fail(f, DUKD_FAILED, "%s: cannot be made: %s", path, strerror(errno));
}

static int make_pickle(text *out, const char *path, const dukd_st_tensor *tensors, int32_t count,
                       dukd_failure *f) {
    FILE *to = open_memstream(&out->bytes, &out->size);
    if (!to) return dukd_fail(f, DUKD_FAILED, "%s: cannot be made: %s", path, strerror(errno));
    put_all(to, tensors, count);
    return end_text(to, path, f);
}

static int make_metadata(text *out, const char *path, const dukd_st_entry *metadata, int32_t count,
                         dukd_failure *f) {
    FILE *to = open_memstream(&out->bytes, &out->size);
    if (!to) return dukd_fail(f, DUKD_FAILED, "%s: cannot be made: %s", path, strerror(errno));
    dukd_json j = dukd_json_begin(to);
    dukd_json_object(&j, NULL);
    for (int32_t i = 0; i < count; i++) dukd_json_text(&j, metadata[i].key, metadata[i].value);
    dukd_json_close(&j);
    const int status = dukd_json_end(&j, path, f), ended = end_text(to, path, f);
    return status ? status : ended;
}

typedef struct {
    char text[32];
} entry_name;

int dukd_torch_file_write(const char *path, const dukd_st_tensor *tensors, int32_t count,
                          const dukd_st_entry *metadata, int32_t metadata_count, dukd_failure *f) {
    text pickle = {0}, json = {0};
    int32_t n = 0;
    dukd_zip_entry *entries = calloc((size_t)count + 4, sizeof *entries);
    entry_name *names = calloc((size_t)count + 1, sizeof *names);
    int status = check_names(path, tensors, count, f);
    if (!entries || !names)
        status = dukd_fail_memory(f, "a table of entries", ((size_t)count + 4) * sizeof *entries);
    for (int32_t i = 0; status == DUKD_DONE && i < count; i++) status = check_tensor(path, &tensors[i], f);
    if (status == DUKD_DONE) status = make_pickle(&pickle, path, tensors, count, f);
    if (status == DUKD_DONE && metadata_count)
        status = make_metadata(&json, path, metadata, metadata_count, f);
    if (status == DUKD_DONE) {
        entries[n++] = (dukd_zip_entry){PREFIX "data.pkl", pickle.bytes, pickle.size};
        entries[n++] = (dukd_zip_entry){PREFIX "byteorder", "little", 6};
        for (int32_t i = 0; i < count; i++) {
            snprintf(names[i].text, sizeof names[i].text, PREFIX "data/%d", i);
            entries[n++] =
                (dukd_zip_entry){names[i].text, tensors[i].data,
                                 (size_t)tensors[i].count * (size_t)dukd_st_type_size(tensors[i].type)};
        }
        entries[n++] = (dukd_zip_entry){PREFIX "version", "3\n", 2};
        if (metadata_count)
            entries[n++] = (dukd_zip_entry){PREFIX DUKD_TORCH_METADATA, json.bytes, json.size};
        status = dukd_zip_write(path, entries, n, f);
    }
    free(pickle.bytes);
    free(json.bytes);
    free(names);
    free(entries);
    return status;
}
