/* The two formats of torch.save: an archive, or pickles and storages one after the other. */
#include "tensors/torch_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/checked.h"

void dukd_torch_parts_free(dukd_torch_parts *p) {
    for (uint32_t i = 0; i < p->storage_count; i++) free(p->storages[i].data);
    free(p->storages);
    dukd_pickle_destroy(p->pickle);
    free(p->pickle_bytes);
    dukd_zip_close(p->zip);
}

/* A key for a message and for the name of an entry: short, and of characters that can be printed. */
typedef struct {
    char text[40];
} key_text;

static int show_key(key_text *out, dukd_py_text key) {
    const int fits = key.size > 0 && key.size < sizeof out->text;
    const size_t n = key.size < sizeof out->text ? key.size : sizeof out->text - 1;
    int plain = 1;
    for (size_t i = 0; i < n; i++) {
        const int good = key.at[i] > 0x20 && key.at[i] < 0x7F;
        plain = plain && good;
        out->text[i] = good ? (char)key.at[i] : '?';
    }
    out->text[n] = '\0';
    return fits && plain;
}

/* ---------------------------------------------------------------- storages */

static int by_key(const void *a, const void *b) {
    const dukd_py_text x = ((const dukd_torch_storage *)a)->key, y = ((const dukd_torch_storage *)b)->key;
    const size_t least = x.size < y.size ? x.size : y.size;
    const int order = least ? memcmp(x.at, y.at, least) : 0;
    return order ? order : (x.size > y.size) - (x.size < y.size);
}

dukd_torch_storage *dukd_torch_storage_of(const dukd_torch_parts *p, dukd_py_text key) {
    const dukd_torch_storage wanted = {.key = key};
    if (!p->storage_count) return NULL;
    return bsearch(&wanted, p->storages, p->storage_count, sizeof *p->storages, by_key);
}

int dukd_torch_find_storages(dukd_torch_parts *p, dukd_failure *f) {
    uint32_t all = 0;
    int64_t total = 0;
    key_text key;
    for (dukd_py i = 0; i < dukd_pickle_count(p->pickle); i++)
        all += dukd_pickle_at(p->pickle, i)->kind == DUKD_PY_STORAGE;
    if (!all) return DUKD_DONE;
    dukd_torch_storage *s = p->storages = calloc(all, sizeof *s);
    if (!s) return dukd_fail_memory(f, "a table of storages", all * sizeof *s);
    for (dukd_py i = 0; i < dukd_pickle_count(p->pickle); i++) {
        const dukd_py_value *v = dukd_pickle_at(p->pickle, i);
        if (v->kind != DUKD_PY_STORAGE) continue;
        s[p->storage_count++] =
            (dukd_torch_storage){.key = dukd_pickle_at(p->pickle, v->is.storage.key)->is.text,
                                 .type = v->is.storage.type,
                                 .count = v->is.storage.count,
                                 .place = -1};
    }
    qsort(s, all, sizeof *s, by_key);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < all; i++) {
        const int plain = show_key(&key, s[i].key);
        if (!plain)
            return dukd_fail(f, DUKD_FAILED, "%s: has a storage of the odd name '%s'", p->path, key.text);
        if (kept && by_key(&s[kept - 1], &s[i]) == 0) {
            if (s[kept - 1].type != s[i].type || s[kept - 1].count != s[i].count)
                return dukd_fail(f, DUKD_FAILED, "%s: storage '%s' has two types or sizes", p->path,
                                 key.text);
            continue;
        }
        s[kept++] = s[i];
    }
    p->storage_count = kept;
    for (uint32_t i = 0; i < kept; i++)
        if (!dukd_checked_mul(s[i].count, dukd_st_type_size(s[i].type), &s[i].bytes) ||
            !dukd_checked_add(total, s[i].bytes, &total) || (uint64_t)total > p->size) {
            show_key(&key, s[i].key);
            return dukd_fail(
                f, DUKD_FAILED,
                "%s: storage '%s' should have %lld numbers: with it the storages are larger than "
                "the file, which has %zu bytes and may have been cut short",
                p->path, key.text, (long long)s[i].count, p->size);
        }
    return DUKD_DONE;
}

int dukd_torch_load(dukd_torch_parts *p, dukd_torch_storage *s, dukd_failure *f) {
    key_text key;
    char name[sizeof p->prefix + sizeof "data/" + sizeof key.text];
    if (s->data) return DUKD_DONE;
    show_key(&key, s->key);
    s->data = malloc(s->bytes ? (size_t)s->bytes : 1);
    if (!s->data)
        return dukd_fail(f, DUKD_FAILED, "%s: out of memory: storage '%s' needs %lld bytes", p->path,
                         key.text, (long long)s->bytes);
    if (!p->zip) {
        memcpy(s->data, p->bytes + s->place, (size_t)s->bytes);
        return DUKD_DONE;
    }
    snprintf(name, sizeof name, "%sdata/%s", p->prefix, key.text);
    const int64_t there = dukd_zip_size(p->zip, name, f);
    if (there < 0) return DUKD_FAILED;
    if (there != s->bytes)
        return dukd_fail(f, DUKD_FAILED, "%s: its entry '%s' has %lld bytes, but its %lld numbers take %lld",
                         p->path, name, (long long)there, (long long)s->count, (long long)s->bytes);
    return dukd_zip_read(p->zip, name, s->data, s->bytes, f);
}

/* ---------------------------------------------------------------- the archive */

int dukd_torch_zip_has(const dukd_torch_parts *p, const char *name) {
    char full[sizeof p->prefix + 64];
    snprintf(full, sizeof full, "%s%s", p->prefix, name);
    for (int64_t i = 0; i < dukd_zip_count(p->zip); i++)
        if (strcmp(dukd_zip_name(p->zip, i), full) == 0) return 1;
    return 0;
}

int dukd_torch_zip_entry(dukd_torch_parts *p, const char *name, unsigned char **out, size_t *size,
                         dukd_failure *f) {
    char full[sizeof p->prefix + 64];
    snprintf(full, sizeof full, "%s%s", p->prefix, name);
    const int64_t bytes = dukd_zip_size(p->zip, full, f);
    *out = NULL;
    *size = 0;
    if (bytes < 0) return DUKD_FAILED;
    *out = malloc((size_t)bytes + 1);
    if (!*out) return dukd_fail_memory(f, "an entry of a ZIP archive", (unsigned long long)bytes + 1);
    *size = (size_t)bytes;
    return dukd_zip_read(p->zip, full, *out, bytes, f);
}

/* The folder that data.pkl lies in: every entry of PyTorch's lies below one, named after the file. */
static int find_prefix(dukd_torch_parts *p, dukd_failure *f) {
    static const char pickle[] = "/data.pkl";
    for (int64_t i = 0; i < dukd_zip_count(p->zip); i++) {
        const char *name = dukd_zip_name(p->zip, i);
        const size_t length = strlen(name), end = sizeof pickle - 1;
        if (length <= end || strcmp(name + length - end, pickle) != 0) continue;
        const size_t prefix = length - end + 1;
        if (memchr(name, '/', prefix - 1) || prefix >= sizeof p->prefix) continue;
        memcpy(p->prefix, name, prefix);
        p->prefix[prefix] = '\0';
        return DUKD_DONE;
    }
    return dukd_fail(f, DUKD_FAILED, "%s: is a ZIP archive, but none of PyTorch's: it has no data.pkl",
                     p->path);
}

/* PyTorch 2 says how the numbers lie; earlier ones ran where they lie as here. */
static int check_order(dukd_torch_parts *p, dukd_failure *f) {
    unsigned char *order = NULL;
    size_t size = 0;
    if (!dukd_torch_zip_has(p, "byteorder")) return DUKD_DONE;
    int status = dukd_torch_zip_entry(p, "byteorder", &order, &size, f);
    if (status == DUKD_DONE && (size < 6 || memcmp(order, "little", 6) != 0))
        status = dukd_fail(f, DUKD_FAILED,
                           "%s: was written on a big-endian machine: save it again on a little-endian one",
                           p->path);
    free(order);
    return status;
}

int dukd_torch_zip_open(dukd_torch_parts *p, dukd_failure *f) {
    size_t size, used;
    int status = dukd_zip_open(&p->zip, p->bytes, p->size, p->path, f);
    if (status == DUKD_DONE) status = find_prefix(p, f);
    if (status != DUKD_DONE) return status;
    if (dukd_torch_zip_has(p, "constants.pkl"))
        return dukd_fail(
            f, DUKD_FAILED,
            "%s: is a TorchScript program, not a file of tensors: save its state_dict with Python: "
            "torch.save(torch.jit.load(FILE).state_dict(), 'net.pth')",
            p->path);
    status = check_order(p, f);
    if (status == DUKD_DONE) status = dukd_torch_zip_entry(p, "data.pkl", &p->pickle_bytes, &size, f);
    if (status == DUKD_DONE)
        status = dukd_pickle_read(&p->pickle, p->pickle_bytes, size, 0, &used, p->path, f);
    if (status == DUKD_DONE) status = dukd_torch_find_storages(p, f);
    return status;
}

/* ---------------------------------------------------------------- before 1.6 */

/* 0x1950a86a20f9469cfc6c, which begins such a file, as a pickle holds it. */
static const unsigned char magic[] = {0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19};

static int next_pickle(dukd_torch_parts *p, size_t *at, dukd_pickle **out, dukd_failure *f) {
    size_t used = 0;
    const int status = dukd_pickle_read(out, p->bytes + *at, p->size - *at, *at, &used, p->path, f);
    *at += used;
    return status;
}

/* Magic number, protocol, and a dictionary that says how the numbers lie. */
static int read_start(dukd_torch_parts *p, size_t *at, dukd_failure *f) {
    dukd_pickle *number = NULL, *protocol = NULL, *system = NULL;
    int status = next_pickle(p, at, &number, f);
    if (status == DUKD_DONE) {
        const dukd_py_value *v = dukd_pickle_at(number, dukd_pickle_root(number));
        if (v->kind != DUKD_PY_LONG || v->is.text.size != sizeof magic ||
            memcmp(v->is.text.at, magic, sizeof magic) != 0)
            status = dukd_fail(f, DUKD_FAILED, "%s: is a pickle, but none of PyTorch's", p->path);
    }
    if (status == DUKD_DONE) status = next_pickle(p, at, &protocol, f);
    if (status == DUKD_DONE) status = next_pickle(p, at, &system, f);
    if (status == DUKD_DONE) {
        const dukd_py_value *v = dukd_pickle_at(protocol, dukd_pickle_root(protocol)),
                            *little = dukd_pickle_find(
                                system, dukd_pickle_at(system, dukd_pickle_root(system)), "little_endian");
        if (v->kind != DUKD_PY_INT || v->is.integer != 1001 || !little || little->kind != DUKD_PY_BOOL)
            status = dukd_fail(f, DUKD_FAILED, "%s: is of an unknown version of PyTorch's format", p->path);
        else if (!little->is.integer)
            status = dukd_fail(
                f, DUKD_FAILED,
                "%s: was written on a big-endian machine: save it again on a little-endian one", p->path);
    }
    dukd_pickle_destroy(number);
    dukd_pickle_destroy(protocol);
    dukd_pickle_destroy(system);
    return status;
}

/* A list of keys, and for each the count of its numbers in 8 bytes and the numbers. */
static int find_places(dukd_torch_parts *p, size_t at, dukd_failure *f) {
    dukd_pickle *list = NULL;
    key_text text;
    int status = next_pickle(p, &at, &list, f);
    if (status != DUKD_DONE) return status;
    const dukd_py_value *keys = dukd_pickle_at(list, dukd_pickle_root(list));
    if (keys->kind != DUKD_PY_LIST)
        status = dukd_fail(f, DUKD_FAILED, "%s: has no list of storages", p->path);
    for (uint32_t i = 0; status == DUKD_DONE && i < keys->is.items.count; i++) {
        const dukd_py_value *key = dukd_pickle_at(list, keys->is.items.at[i]);
        const dukd_py_text none = {(const unsigned char *)"", 0};
        dukd_torch_storage *s = key->kind == DUKD_PY_TEXT ? dukd_torch_storage_of(p, key->is.text) : NULL;
        show_key(&text, key->kind == DUKD_PY_TEXT ? key->is.text : none);
        uint64_t count = 0;
        if (!s || s->place >= 0) {
            status = dukd_fail(f, DUKD_FAILED, "%s: lists storage '%s' %s", p->path, text.text,
                               s ? "twice" : "which nothing refers to");
        } else if (p->size - at < 8 || (uint64_t)s->bytes > p->size - at - 8) {
            status =
                dukd_fail(f, DUKD_FAILED,
                          "%s: storage '%s' should have %lld bytes at byte %zu of %zu: the file may have "
                          "been cut short",
                          p->path, text.text, (long long)s->bytes, at, p->size);
        } else {
            for (size_t k = 8; k-- > 0;) count = count << 8 | p->bytes[at + k];
            if (count != (uint64_t)s->count)
                status = dukd_fail(f, DUKD_FAILED, "%s: storage '%s' has %llu numbers where %lld are meant",
                                   p->path, text.text, (unsigned long long)count, (long long)s->count);
            s->place = (int64_t)at + 8;
            at += 8 + (size_t)s->bytes;
        }
    }
    for (uint32_t i = 0; status == DUKD_DONE && i < p->storage_count; i++)
        if (p->storages[i].place < 0) {
            show_key(&text, p->storages[i].key);
            status = dukd_fail(f, DUKD_FAILED, "%s: storage '%s' is missing", p->path, text.text);
        }
    dukd_pickle_destroy(list);
    return status;
}

int dukd_torch_legacy_open(dukd_torch_parts *p, dukd_failure *f) {
    size_t at = 0;
    int status = read_start(p, &at, f);
    if (status == DUKD_DONE) status = next_pickle(p, &at, &p->pickle, f);
    if (status == DUKD_DONE) status = dukd_torch_find_storages(p, f);
    return status == DUKD_DONE ? find_places(p, at, f) : status;
}
