/* The JSON header of a safetensors file: scanned, then checked tensor by tensor against the data. */
#include "common/safetensors_header.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/checked.h"
#include "common/json_scan.h"

static const struct {
    const char *name;
    int32_t size;
} types[] = {
    [DUKD_ST_BOOL] = {"BOOL", 1}, [DUKD_ST_U8] = {"U8", 1},   [DUKD_ST_I8] = {"I8", 1},
    [DUKD_ST_I16] = {"I16", 2},   [DUKD_ST_U16] = {"U16", 2}, [DUKD_ST_F16] = {"F16", 2},
    [DUKD_ST_BF16] = {"BF16", 2}, [DUKD_ST_I32] = {"I32", 4}, [DUKD_ST_U32] = {"U32", 4},
    [DUKD_ST_F32] = {"F32", 4},   [DUKD_ST_F64] = {"F64", 8}, [DUKD_ST_I64] = {"I64", 8},
    [DUKD_ST_U64] = {"U64", 8},
};
enum { TYPE_COUNT = sizeof types / sizeof *types };

int32_t dukd_st_type_size(dukd_st_type type) {
    return types[type].size;
}
const char *dukd_st_type_name(dukd_st_type type) {
    return types[type].name;
}

dukd_st_printable dukd_st_print(const char *name) {
    dukd_st_printable p;
    size_t n = 0;
    for (; name[n] && n < 80; n++)
        p.text[n] = (unsigned char)name[n] < 0x20 || name[n] == 0x7F ? '?' : name[n];
    if (name[n]) {
        while (n > 0 && ((unsigned char)name[n] & 0xC0) == 0x80) n--; /* not in the middle of a character */
        memcpy(p.text + n, "...", 4);
    } else {
        p.text[n] = '\0';
    }
    return p;
}

/* Where a tensor lies in the data. */
typedef struct {
    int64_t begin, end;
    int32_t index;
} span;

typedef struct {
    dukd_json_scan json;
    dukd_st_header *h;
    span *spans; /* one a tensor */
    int32_t room, metadata_room;
    bool has_metadata;
    const char *path;
    dukd_failure *f;
} reader;

static bool no_memory(reader *r, size_t bytes) {
    dukd_fail(r->f, DUKD_FAILED, "%s: out of memory: its header needs %zu bytes", r->path, bytes);
    return dukd_json_scan_fail(&r->json, "out of memory");
}

/* Makes room for `wanted` elements. Counts stay far below INT32_MAX: an entry takes 6 bytes of the header at least. */
static bool grow(reader *r, void **array, int32_t wanted, size_t element) {
    void *larger = realloc(*array, (size_t)wanted * element);
    if (!larger) return no_memory(r, (size_t)wanted * element);
    *array = larger;
    return true;
}

static bool add_tensor(reader *r, const dukd_st_tensor *t, int64_t begin, int64_t end) {
    dukd_st_header *h = r->h;
    if (h->count == r->room) {
        int32_t wanted = h->count ? 2 * h->count : 64;
        void *tensors = h->tensors, *spans = r->spans;
        bool grown =
            grow(r, &tensors, wanted, sizeof *h->tensors) && grow(r, &spans, wanted, sizeof *r->spans);
        h->tensors = tensors;
        r->spans = spans;
        if (!grown) return false;
        r->room = wanted;
    }
    r->spans[h->count] = (span){begin, end, h->count};
    h->tensors[h->count++] = *t;
    return true;
}

/* {"key": "value", ...} */
static bool read_metadata(reader *r) {
    dukd_json_scan *s = &r->json;
    dukd_st_header *h = r->h;
    if (r->has_metadata) return dukd_json_scan_fail(s, "__metadata__ is there twice");
    r->has_metadata = true;
    if (!dukd_json_scan_expect(s, '{')) return false;
    if (dukd_json_scan_take(s, '}')) return true;
    do {
        if (h->metadata_count == r->metadata_room) {
            int32_t wanted = h->metadata_count ? 2 * h->metadata_count : 16;
            void *metadata = h->metadata;
            bool grown = grow(r, &metadata, wanted, sizeof *h->metadata);
            h->metadata = metadata;
            if (!grown) return false;
            r->metadata_room = wanted;
        }
        dukd_st_entry e;
        if (!dukd_json_scan_string(s, &e.key) || !dukd_json_scan_expect(s, ':') ||
            !dukd_json_scan_string(s, &e.value))
            return false;
        h->metadata[h->metadata_count++] = e;
    } while (dukd_json_scan_take(s, ','));
    return dukd_json_scan_expect(s, '}');
}

static bool read_type(reader *r, dukd_st_tensor *t) {
    const char *name;
    if (!dukd_json_scan_string(&r->json, &name)) return false;
    for (int i = 0; i < TYPE_COUNT; i++) {
        if (strcmp(types[i].name, name) != 0) continue;
        t->type = (dukd_st_type)i;
        return true;
    }
    dukd_fail(r->f, DUKD_FAILED, "%s: tensor '%s' is of type '%s', which cannot be read here", r->path,
              dukd_st_print(t->name).text, dukd_st_print(name).text);
    return dukd_json_scan_fail(&r->json, "an unknown type");
}

static bool read_shape(reader *r, dukd_st_tensor *t) {
    dukd_json_scan *s = &r->json;
    if (!dukd_json_scan_expect(s, '[')) return false;
    if (dukd_json_scan_take(s, ']')) return true;
    do {
        if (t->ndim == DUKD_ST_MAX_DIMS) return dukd_json_scan_fail(s, "a shape has more than 8 dimensions");
        if (!dukd_json_scan_integer(s, &t->dims[t->ndim])) return false;
        t->ndim++;
    } while (dukd_json_scan_take(s, ','));
    return dukd_json_scan_expect(s, ']');
}

/* {"dtype": .., "shape": [..], "data_offsets": [begin, end]}, in any order, each once. */
static bool read_tensor(reader *r, const char *name) {
    static const char *const keys[3] = {"dtype", "shape", "data_offsets"};
    dukd_json_scan *s = &r->json;
    dukd_st_tensor t = {.name = name};
    int64_t begin = 0, end = 0;
    bool seen[3] = {false, false, false};
    if (!dukd_json_scan_expect(s, '{')) return false;
    for (int i = 0; i < 3; i++) {
        const char *key;
        if (i > 0 && !dukd_json_scan_expect(s, ',')) return false;
        if (!dukd_json_scan_string(s, &key)) return false;
        int k = 0;
        while (k < 3 && strcmp(key, keys[k]) != 0) k++;
        if (k == 3 || seen[k])
            return dukd_json_scan_fail(
                s, "a tensor has dtype, shape and data_offsets, each once, and nothing else");
        seen[k] = true;
        if (!dukd_json_scan_expect(s, ':')) return false;
        bool good = k == 0   ? read_type(r, &t)
                    : k == 1 ? read_shape(r, &t)
                             : dukd_json_scan_expect(s, '[') && dukd_json_scan_integer(s, &begin) &&
                                   dukd_json_scan_expect(s, ',') && dukd_json_scan_integer(s, &end) &&
                                   dukd_json_scan_expect(s, ']');
        if (!good) return false;
    }
    return dukd_json_scan_expect(s, '}') && add_tensor(r, &t, begin, end);
}

static bool read_json(reader *r) {
    dukd_json_scan *s = &r->json;
    if (!dukd_json_scan_expect(s, '{')) return false;
    if (!dukd_json_scan_take(s, '}')) {
        do {
            const char *name;
            if (!dukd_json_scan_string(s, &name) || !dukd_json_scan_expect(s, ':')) return false;
            bool metadata = strcmp(name, "__metadata__") == 0;
            if (metadata ? !read_metadata(r) : !read_tensor(r, name)) return false;
        } while (dukd_json_scan_take(s, ','));
        if (!dukd_json_scan_expect(s, '}')) return false;
    }
    return dukd_json_scan_finish(s);
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const dukd_st_name *)a)->name, ((const dukd_st_name *)b)->name);
}

static int by_key(const void *a, const void *b) {
    return strcmp(((const dukd_st_entry *)a)->key, ((const dukd_st_entry *)b)->key);
}

static int by_place(const void *a, const void *b) {
    const span *x = a, *y = b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    return (x->end > y->end) - (x->end < y->end);
}

/* Names and keys, sorted, so that equal ones are neighbours: comparing all with all would take a hostile header
 * hours. */
static int sort_names(reader *r) {
    dukd_st_header *h = r->h;
    size_t bytes = ((size_t)h->count + 1) * sizeof *h->names;
    h->names = malloc(bytes);
    if (!h->names) return dukd_fail_memory(r->f, "a table of tensors", bytes);
    for (int32_t i = 0; i < h->count; i++) h->names[i] = (dukd_st_name){h->tensors[i].name, i};
    qsort(h->names, (size_t)h->count, sizeof *h->names, by_name);
    for (int32_t i = 0; i < h->count; i++) {
        const char *name = h->names[i].name;
        if (!*name) return dukd_fail(r->f, DUKD_FAILED, "%s: a tensor has an empty name", r->path);
        if (i > 0 && strcmp(h->names[i - 1].name, name) == 0)
            return dukd_fail(r->f, DUKD_FAILED, "%s: tensor '%s' is there twice", r->path,
                             dukd_st_print(name).text);
    }
    if (h->metadata_count > 0) qsort(h->metadata, (size_t)h->metadata_count, sizeof *h->metadata, by_key);
    for (int32_t i = 1; i < h->metadata_count; i++)
        if (strcmp(h->metadata[i - 1].key, h->metadata[i].key) == 0)
            return dukd_fail(r->f, DUKD_FAILED, "%s: metadata '%s' is there twice", r->path,
                             dukd_st_print(h->metadata[i].key).text);
    return DUKD_DONE;
}

/* Shape, type and place of one tensor agree, and the place is in the file. */
static int check_tensor(reader *r, dukd_st_tensor *t, const span *place, int64_t data_size) {
    int64_t bytes = 0;
    bool fits = true;
    t->count = 1;
    for (int32_t d = 0; d < t->ndim; d++) fits = fits && dukd_checked_mul(t->count, t->dims[d], &t->count);
    fits = fits && dukd_checked_mul(t->count, types[t->type].size, &bytes);
    if (!fits)
        return dukd_fail(r->f, DUKD_FAILED, "%s: the shape of tensor '%s' is too large", r->path,
                         dukd_st_print(t->name).text);
    if (place->begin > place->end || place->end > data_size)
        return dukd_fail(
            r->f, DUKD_FAILED, "%s: tensor '%s' lies at bytes %lld to %lld of %lld: outside the file%s",
            r->path, dukd_st_print(t->name).text, (long long)place->begin, (long long)place->end,
            (long long)data_size, place->end > data_size ? ", which may have been cut short" : "");
    if (place->end - place->begin != bytes)
        return dukd_fail(r->f, DUKD_FAILED,
                         "%s: tensor '%s' takes %lld bytes by its shape, but lies at bytes %lld to %lld",
                         r->path, dukd_st_print(t->name).text, (long long)bytes, (long long)place->begin,
                         (long long)place->end);
    return DUKD_DONE;
}

/* The tensors in the order of their places fill the data without gap and overlap. */
static int check_places(reader *r, int64_t data_size) {
    dukd_st_header *h = r->h;
    int64_t filled = 0;
    if (h->count > 0) qsort(r->spans, (size_t)h->count, sizeof *r->spans, by_place);
    for (int32_t i = 0; i < h->count; i++) {
        const span *s = &r->spans[i];
        if (s->begin != filled)
            return dukd_fail(r->f, DUKD_FAILED, "%s: tensor '%s' begins at byte %lld of the data, %s %lld",
                             r->path, dukd_st_print(h->tensors[s->index].name).text, (long long)s->begin,
                             s->begin < filled ? "inside another one, which ends at"
                                               : "after a gap that begins at",
                             (long long)filled);
        filled = s->end;
    }
    if (filled != data_size)
        return dukd_fail(r->f, DUKD_FAILED, "%s: %lld bytes at its end belong to no tensor", r->path,
                         (long long)(data_size - filled));
    return DUKD_DONE;
}

int dukd_st_header_read(dukd_st_header *out, const void *json, size_t size, const unsigned char *data,
                        int64_t data_size, const char *path, dukd_failure *f) {
    reader r = {.h = out, .path = path, .f = f};
    *out = (dukd_st_header){0};
    int status = DUKD_FAILED;
    out->strings = malloc(size);
    if (!out->strings) {
        dukd_fail_memory(f, "the header of a safetensors file", size);
        goto end;
    }
    dukd_json_scan_start(&r.json, json, size, out->strings);
    if (!read_json(&r)) {
        dukd_fail(f, DUKD_FAILED, "%s: its header is damaged at byte %zu: %s", path,
                  (size_t)(r.json.at - r.json.start), r.json.wrong);
        goto end;
    }
    for (int32_t i = 0; i < out->count; i++) {
        if (check_tensor(&r, &out->tensors[i], &r.spans[i], data_size) != DUKD_DONE) goto end;
        out->tensors[i].data = data + r.spans[i].begin;
    }
    if (check_places(&r, data_size) != DUKD_DONE) goto end;
    status = sort_names(&r);
end:
    free(r.spans);
    if (status != DUKD_DONE) dukd_st_header_free(out);
    return status;
}

void dukd_st_header_free(dukd_st_header *h) {
    free(h->tensors);
    free(h->names);
    free(h->metadata);
    free(h->strings);
    *h = (dukd_st_header){0};
}
