/* Opening a file of torch.save's: what names its dictionaries give, and the tensors' numbers in rows. */
#include "tensors/torch_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/checked.h"
#include "common/json_scan.h"
#include "common/utf8.h"
#include "tensors/torch_parts.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "numbers are used as they lie in the file");

enum {
    MAX_DEPTH = 8,          /* dictionaries in dictionaries */
    MAX_NAME = 512,         /* bytes of a full name */
    MAX_ENTRIES = 1 << 20,  /* of all dictionaries together, counted as often as they are met */
    MAX_GATHERED_TIMES = 8, /* bytes copied into rows, in sizes of the file: tensors may share a storage */
};

struct dukd_torch_file {
    dukd_st_tensor *tensors; /* names and data belong to us */
    int32_t count, room;
    dukd_st_tensor **sorted; /* by name */
    unsigned char **blocks;  /* what tensors' data point into: storages and gathered tensors */
    uint32_t block_count;
    dukd_st_entry *metadata;
    int32_t metadata_count;
    char *metadata_texts;
};

typedef struct {
    dukd_torch_file *t;
    dukd_torch_parts parts;
    dukd_failure *f;
    char name[MAX_NAME + 1];
    size_t length;
    uint32_t entries;
    int64_t gathered;
    dukd_py *values; /* of t->tensors, while the names are collected */
} opener;

/* ---------------------------------------------------------------- names */

static int add_tensor(opener *o, dukd_py value) {
    dukd_torch_file *t = o->t;
    if (t->count == t->room) {
        const int32_t wanted = t->room ? 2 * t->room : 64;
        dukd_st_tensor *tensors = realloc(t->tensors, (size_t)wanted * sizeof *tensors);
        if (tensors) t->tensors = tensors;
        dukd_py *values = realloc(o->values, (size_t)wanted * sizeof *values);
        if (values) o->values = values;
        if (!tensors || !values)
            return dukd_fail_memory(o->f, "a table of tensors", (size_t)wanted * sizeof *tensors);
        t->room = wanted;
    }
    char *name = malloc(o->length + 1);
    if (!name) return dukd_fail_memory(o->f, "a name", o->length + 1);
    memcpy(name, o->name, o->length);
    name[o->length] = '\0';
    o->values[t->count] = value;
    t->tensors[t->count++] = (dukd_st_tensor){.name = name};
    return DUKD_DONE;
}

/* Appends ".KEY" to the name that is being made. */
static int append_key(opener *o, dukd_py_text key) {
    const size_t dot = o->length > 0, whole = o->length + dot + key.size;
    const char *path = o->parts.path;
    if (key.size > MAX_NAME || whole > MAX_NAME)
        return dukd_fail(o->f, DUKD_FAILED, "%s: a name has %zu bytes, more than %d", path, whole, MAX_NAME);
    if (!key.size) return dukd_fail(o->f, DUKD_FAILED, "%s: a tensor has an empty name", path);
    for (size_t at = 0; at < key.size;) {
        const int n = key.at[at] ? dukd_utf8_length(key.at + at, key.size - at) : 0;
        if (!n) return dukd_fail(o->f, DUKD_FAILED, "%s: a tensor's name is no UTF-8 text", path);
        at += (size_t)n;
    }
    if (dot) o->name[o->length] = '.';
    memcpy(o->name + o->length + dot, key.at, key.size);
    o->length = whole;
    o->name[whole] = '\0';
    return DUKD_DONE;
}

static int walk(opener *o, const dukd_py_value *dict, int depth) {
    const dukd_pickle *p = o->parts.pickle;
    if (depth > MAX_DEPTH)
        return dukd_fail(o->f, DUKD_FAILED, "%s: has dictionaries in dictionaries, more than %d deep",
                         o->parts.path, MAX_DEPTH);
    for (uint32_t i = 0; i + 1 < dict->is.items.count; i += 2) {
        const dukd_py_value *key = dukd_pickle_at(p, dict->is.items.at[i]);
        const dukd_py_value *value = dukd_pickle_at(p, dict->is.items.at[i + 1]);
        const size_t before = o->length;
        if (++o->entries > MAX_ENTRIES)
            return dukd_fail(o->f, DUKD_FAILED, "%s: its dictionaries have more than %d entries",
                             o->parts.path, MAX_ENTRIES);
        if (key->kind != DUKD_PY_TEXT) continue;
        if (value->kind != DUKD_PY_TENSOR && value->kind != DUKD_PY_DICT) continue;
        int status = append_key(o, key->is.text);
        if (status == DUKD_DONE)
            status = value->kind == DUKD_PY_DICT ? walk(o, value, depth + 1)
                                                 : add_tensor(o, dict->is.items.at[i + 1]);
        if (status != DUKD_DONE) return status;
        o->length = before;
    }
    return DUKD_DONE;
}

static int name_order(const void *a, const void *b) {
    return strcmp((*(dukd_st_tensor *const *)a)->name, (*(dukd_st_tensor *const *)b)->name);
}

static int sort_names(opener *o) {
    dukd_torch_file *t = o->t;
    t->sorted = malloc(((size_t)t->count + 1) * sizeof *t->sorted);
    if (!t->sorted)
        return dukd_fail_memory(o->f, "a table of names", ((size_t)t->count + 1) * sizeof *t->sorted);
    for (int32_t i = 0; i < t->count; i++) t->sorted[i] = &t->tensors[i];
    qsort(t->sorted, (size_t)t->count, sizeof *t->sorted, name_order);
    for (int32_t i = 1; i < t->count; i++)
        if (strcmp(t->sorted[i - 1]->name, t->sorted[i]->name) == 0)
            return dukd_fail(o->f, DUKD_FAILED, "%s: tensor '%s' is there twice", o->parts.path,
                             dukd_st_print(t->sorted[i]->name).text);
    return DUKD_DONE;
}

/* ---------------------------------------------------------------- numbers */

typedef struct {
    int64_t offset, strides[DUKD_ST_MAX_DIMS]; /* in numbers */
    int contiguous;
} layout;

/* Shape and strides, checked against the storage. */
static int read_layout(opener *o, dukd_st_tensor *t, const dukd_py_value *v, const dukd_torch_storage *s,
                       layout *l) {
    const dukd_pickle *p = o->parts.pickle;
    const dukd_py_value *dims = dukd_pickle_at(p, v->is.tensor.dims),
                        *strides = dukd_pickle_at(p, v->is.tensor.strides);
    const char *path = o->parts.path;
    int64_t last, step, row = 1;
    t->type = s->type;
    t->ndim = (int32_t)dims->is.items.count;
    t->count = 1;
    l->offset = v->is.tensor.offset;
    l->contiguous = 1;
    for (int32_t d = 0; d < t->ndim; d++) {
        t->dims[d] = dukd_pickle_at(p, dims->is.items.at[d])->is.integer;
        l->strides[d] = dukd_pickle_at(p, strides->is.items.at[d])->is.integer;
        if (!dukd_checked_mul(t->count, t->dims[d], &t->count))
            return dukd_fail(o->f, DUKD_FAILED, "%s: the shape of tensor '%s' is %s", path,
                             dukd_st_print(t->name).text, t->dims[d] < 0 ? "negative" : "too large");
    }
    if (t->count == 0) return DUKD_DONE;
    last = l->offset;
    int inside = last >= 0;
    for (int32_t d = t->ndim; d-- > 0;) {
        inside = inside && dukd_checked_mul(t->dims[d] - 1, l->strides[d], &step) &&
                 dukd_checked_add(last, step, &last);
        l->contiguous = l->contiguous && (t->dims[d] == 1 || l->strides[d] == row);
        row *= t->dims[d]; /* at most count */
    }
    if (!inside || last >= s->count)
        return dukd_fail(o->f, DUKD_FAILED, "%s: tensor '%s' reaches outside its storage of %lld numbers",
                         path, dukd_st_print(t->name).text, (long long)s->count);
    if (t->count > s->count)
        return dukd_fail(
            o->f, DUKD_FAILED,
            "%s: tensor '%s' shows the same numbers in several places (%lld, and %lld are stored): save "
            "its contiguous() copy",
            path, dukd_st_print(t->name).text, (long long)t->count, (long long)s->count);
    return DUKD_DONE;
}

static unsigned char *add_block(opener *o, unsigned char *block) {
    unsigned char **blocks = realloc(o->t->blocks, ((size_t)o->t->block_count + 1) * sizeof *blocks);
    if (!blocks) {
        free(block);
        return NULL;
    }
    o->t->blocks = blocks;
    return blocks[o->t->block_count++] = block;
}

/* The numbers of a tensor that does not lie row after row, in memory of their own. */
static int gather(opener *o, dukd_st_tensor *t, const dukd_torch_storage *s, const layout *l) {
    const size_t element = (size_t)dukd_st_type_size(t->type), bytes = (size_t)t->count * element;
    int64_t index[DUKD_ST_MAX_DIMS] = {0}, at = l->offset;
    o->gathered += (int64_t)bytes;
    if (o->gathered / MAX_GATHERED_TIMES > (int64_t)o->parts.size)
        return dukd_fail(o->f, DUKD_FAILED,
                         "%s: tensor '%s' and others show the numbers of the file more than %d times",
                         o->parts.path, dukd_st_print(t->name).text, MAX_GATHERED_TIMES);
    unsigned char *to = malloc(bytes);
    if (to) to = add_block(o, to);
    if (!to) return dukd_fail_memory(o->f, "a tensor", bytes);
    t->data = to;
    for (int64_t i = 0; i < t->count; i++) {
        memcpy(to, s->data + (size_t)at * element, element);
        to += element;
        for (int32_t d = t->ndim; d-- > 0;) {
            at += l->strides[d];
            if (++index[d] < t->dims[d]) break;
            at -= index[d] * l->strides[d];
            index[d] = 0;
        }
    }
    return DUKD_DONE;
}

static int load_tensor(opener *o, int32_t i) {
    static const int64_t nothing = 0; /* where a tensor without numbers points to */
    dukd_st_tensor *t = &o->t->tensors[i];
    const dukd_py_value *v = dukd_pickle_at(o->parts.pickle, o->values[i]);
    const dukd_py_value *named = dukd_pickle_at(o->parts.pickle, v->is.tensor.storage);
    dukd_torch_storage *s =
        dukd_torch_storage_of(&o->parts, dukd_pickle_at(o->parts.pickle, named->is.storage.key)->is.text);
    layout l;
    int status = read_layout(o, t, v, s, &l); /* every storage of the pickle is in the table */
    if (status != DUKD_DONE) return status;
    if (t->count == 0) {
        t->data = &nothing;
        return DUKD_DONE;
    }
    status = dukd_torch_load(&o->parts, s, o->f);
    if (status != DUKD_DONE) return status;
    if (!l.contiguous) return gather(o, t, s, &l);
    t->data = s->data + (size_t)l.offset * (size_t)dukd_st_type_size(t->type);
    return DUKD_DONE;
}

/* Storages that tensors point into outlive the opening. */
static int keep_storages(opener *o) {
    for (uint32_t i = 0; i < o->parts.storage_count; i++) {
        unsigned char *data = o->parts.storages[i].data;
        if (!data) continue;
        o->parts.storages[i].data = NULL;
        if (!add_block(o, data)) return dukd_fail_memory(o->f, "a table of storages", sizeof data);
    }
    return DUKD_DONE;
}

/* ---------------------------------------------------------------- metadata */

static int entry_order(const void *a, const void *b) {
    return strcmp(((const dukd_st_entry *)a)->key, ((const dukd_st_entry *)b)->key);
}

/* {"key": "value", ...}, in an entry of the archive that only we write. */
static int scan_metadata(opener *o, dukd_json_scan *s) {
    dukd_torch_file *t = o->t;
    int32_t room = 0;
    if (!dukd_json_scan_expect(s, '{')) return 0;
    if (dukd_json_scan_take(s, '}')) return dukd_json_scan_finish(s);
    do {
        if (t->metadata_count == room) {
            room = room ? 2 * room : 16;
            dukd_st_entry *larger = realloc(t->metadata, (size_t)room * sizeof *larger);
            if (!larger) return dukd_json_scan_fail(s, "out of memory");
            t->metadata = larger;
        }
        dukd_st_entry *e = &t->metadata[t->metadata_count];
        if (!dukd_json_scan_string(s, &e->key) || !dukd_json_scan_expect(s, ':') ||
            !dukd_json_scan_string(s, &e->value))
            return 0;
        t->metadata_count++;
    } while (dukd_json_scan_take(s, ','));
    return dukd_json_scan_expect(s, '}') && dukd_json_scan_finish(s);
}

static int read_metadata(opener *o) {
    dukd_torch_file *t = o->t;
    unsigned char *text = NULL;
    size_t size;
    dukd_json_scan s;
    if (!o->parts.zip || !dukd_torch_zip_has(&o->parts, DUKD_TORCH_METADATA)) return DUKD_DONE;
    int status = dukd_torch_zip_entry(&o->parts, DUKD_TORCH_METADATA, &text, &size, o->f);
    if (status == DUKD_DONE && !(t->metadata_texts = malloc(size + 1)))
        status = dukd_fail_memory(o->f, "metadata", size + 1);
    if (status == DUKD_DONE) {
        dukd_json_scan_start(&s, text, size, t->metadata_texts);
        if (!scan_metadata(o, &s))
            status = dukd_fail(o->f, DUKD_FAILED, "%s: its entry '%s' is damaged: %s", o->parts.path,
                               DUKD_TORCH_METADATA, s.wrong);
    }
    free(text);
    if (status != DUKD_DONE || !t->metadata_count) return status;
    qsort(t->metadata, (size_t)t->metadata_count, sizeof *t->metadata, entry_order);
    for (int32_t i = 1; i < t->metadata_count; i++)
        if (strcmp(t->metadata[i - 1].key, t->metadata[i].key) == 0)
            return dukd_fail(o->f, DUKD_FAILED, "%s: metadata '%s' is there twice", o->parts.path,
                             dukd_st_print(t->metadata[i].key).text);
    return DUKD_DONE;
}

/* ---------------------------------------------------------------- opening */

/* The tar format begins with a tar header, whose own mark is at byte 257. */
static int is_tar(const unsigned char *bytes, size_t size) {
    return size >= 512 && memcmp(bytes + 257, "ustar", 5) == 0;
}

static int is_zip(const unsigned char *bytes, size_t size) {
    return size >= 4 && memcmp(bytes, "PK\3\4", 4) == 0;
}

/* Protocol 2 to 5, then a frame or a long number. A safetensors file may begin so by chance (its length), but then its
 * header follows. */
static int is_pickle(const unsigned char *bytes, size_t size) {
    if (size < 3 || bytes[0] != 0x80 || bytes[1] < 2 || bytes[1] > 5) return 0;
    return size < 9 || bytes[8] != '{';
}

int dukd_torch_file_is(const void *bytes, size_t size) {
    return is_zip(bytes, size) || is_pickle(bytes, size) || is_tar(bytes, size);
}

static int open_parts(opener *o) {
    const char *path = o->parts.path;
    if (is_zip(o->parts.bytes, o->parts.size)) return dukd_torch_zip_open(&o->parts, o->f);
    if (is_pickle(o->parts.bytes, o->parts.size)) return dukd_torch_legacy_open(&o->parts, o->f);
    if (is_tar(o->parts.bytes, o->parts.size))
        return dukd_fail(
            o->f, DUKD_FAILED,
            "%s: is a tar archive, as PyTorch wrote before 0.4: load it with Python and save it again: "
            "torch.save(torch.load(FILE), 'net.pth')",
            path);
    return dukd_fail(o->f, DUKD_FAILED, "%s: is no file of PyTorch's", path);
}

static int open_file(opener *o) {
    int status = open_parts(o);
    if (status != DUKD_DONE) return status;
    const dukd_py_value *root = dukd_pickle_at(o->parts.pickle, dukd_pickle_root(o->parts.pickle));
    if (root->kind != DUKD_PY_DICT)
        return dukd_fail(o->f, DUKD_FAILED,
                         "%s: holds no dictionary of tensors, as net.state_dict() gives one", o->parts.path);
    status = walk(o, root, 1);
    if (status == DUKD_DONE) status = sort_names(o);
    for (int32_t i = 0; status == DUKD_DONE && i < o->t->count; i++) status = load_tensor(o, i);
    if (status == DUKD_DONE) status = keep_storages(o);
    if (status == DUKD_DONE) status = read_metadata(o);
    return status;
}

int dukd_torch_file_open_memory(dukd_torch_file **out, const void *bytes, size_t size, const char *path,
                                dukd_failure *f) {
    opener o = {.parts = {.path = path, .bytes = bytes, .size = size}, .f = f};
    *out = NULL;
    o.t = calloc(1, sizeof *o.t);
    if (!o.t) return dukd_fail_memory(f, "a PyTorch file", sizeof *o.t);
    const int status = open_file(&o);
    dukd_torch_parts_free(&o.parts);
    free(o.values);
    if (status == DUKD_DONE)
        *out = o.t;
    else
        dukd_torch_file_close(o.t);
    return status;
}

void dukd_torch_file_close(dukd_torch_file *t) {
    if (!t) return;
    for (int32_t i = 0; i < t->count; i++) {
        union {
            const char *in;
            char *out;
        } name = {t->tensors[i].name}; /* const to its readers; here it is the malloc of add_tensor */
        free(name.out);
    }
    for (uint32_t i = 0; i < t->block_count; i++) free(t->blocks[i]);
    free(t->blocks);
    free(t->tensors);
    free(t->sorted);
    free(t->metadata);
    free(t->metadata_texts);
    free(t);
}

int32_t dukd_torch_file_count(const dukd_torch_file *t) {
    return t->count;
}
const dukd_st_tensor *dukd_torch_file_at(const dukd_torch_file *t, int32_t i) {
    return &t->tensors[i];
}

static int find_order(const void *name, const void *entry) {
    return strcmp(name, (*(dukd_st_tensor *const *)entry)->name);
}

const dukd_st_tensor *dukd_torch_file_find(const dukd_torch_file *t, const char *name) {
    dukd_st_tensor *const *found = bsearch(name, t->sorted, (size_t)t->count, sizeof *t->sorted, find_order);
    return found ? *found : NULL;
}

int32_t dukd_torch_file_metadata_count(const dukd_torch_file *t) {
    return t->metadata_count;
}
const dukd_st_entry *dukd_torch_file_metadata_at(const dukd_torch_file *t, int32_t i) {
    return &t->metadata[i];
}
