/* Weights that a host has written: a safetensors file, or, under any other name, plain f32 values. */
#include "host.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/safetensors.h"

/* FILE#PREFIX taken apart; the prefix lies in `file`, too. */
static const char *take_prefix(char *file) {
    char *mark = strrchr(file, '#');
    if (mark) *mark = 0;
    return mark ? mark + 1 : "";
}

static int is_safetensors(const char *file) {
    const size_t n = strlen(file), m = strlen(".safetensors");
    return n > m && strcmp(file + n - m, ".safetensors") == 0;
}

static int has_prefix(const dukd_st_tensor *t, const char *prefix) {
    return t->type == DUKD_ST_F32 && strncmp(t->name, prefix, strlen(prefix)) == 0;
}

static conform_result read_tensors(conform *c, const char *file, const char *prefix, host_weights *out) {
    dukd_tensor_file *t = NULL;
    dukd_failure why = {0};
    if (dukd_tensor_file_open(&t, file, &why)) return conform_fail(c, "%s", why.message);
    conform_result got = CONFORM_PASS;
    for (int32_t i = 0; i < dukd_tensor_file_count(t); i++)
        if (has_prefix(dukd_tensor_file_at(t, i), prefix)) out->count += dukd_tensor_file_at(t, i)->count;
    out->values = malloc((size_t)out->count * sizeof *out->values + 1);
    if (!out->values || !out->count)
        got = conform_fail(c, "%s has no f32 tensors whose names begin with '%s'", file, prefix);
    float *to = out->values;
    for (int32_t i = 0; i < dukd_tensor_file_count(t) && got == CONFORM_PASS; i++) {
        const dukd_st_tensor *one = dukd_tensor_file_at(t, i);
        if (!has_prefix(one, prefix)) continue;
        memcpy(to, one->data, (size_t)one->count * sizeof *to);
        to += one->count;
    }
    dukd_tensor_file_close(t);
    return got;
}

static conform_result read_plain(conform *c, const char *file, host_weights *out) {
    struct stat s;
    FILE *f = fopen(file, "re");
    if (!f || fstat(fileno(f), &s) || s.st_size < 4 || s.st_size % 4 || s.st_size > 1 << 30) {
        if (f) fclose(f);
        return conform_fail(c, "%s: no file of f32 values", file);
    }
    out->count = s.st_size / 4;
    out->values = malloc((size_t)s.st_size);
    const int good = out->values && fread(out->values, 4, (size_t)out->count, f) == (size_t)out->count;
    fclose(f);
    return good ? CONFORM_PASS : conform_fail(c, "%s: cannot be read", file);
}

static char *path_of(conform *c, const char *where, const host_run *r) {
    const host_request none = {.steps = 0};
    return host_replace(c->host, where, r->work, &none, 0);
}

conform_result host_read_weights(conform *c, const char *where, const host_run *r, host_weights *out) {
    *out = (host_weights){0};
    char *file = path_of(c, where, r);
    REQUIRE(c, file, "no memory");
    const char *prefix = take_prefix(file);
    conform_result got = is_safetensors(file) ? read_tensors(c, file, prefix, out) : read_plain(c, file, out);
    free(file);
    return got;
}

conform_result host_weights_of(conform *c, host_request q, host_weights *out) {
    host_run r;
    *out = (host_weights){0};
    conform_result got = host_succeed(c, &r, q);
    if (got == CONFORM_PASS) got = host_read_weights(c, c->host->weights, &r, out);
    host_free(&r);
    return got;
}

/* ---- writing ---- */

static conform_result write_tensors(conform *c, const char *file, const char *prefix, const float *values,
                                    const char *path) {
    dukd_tensor_file *t = NULL;
    dukd_failure why = {0};
    if (dukd_tensor_file_open(&t, file, &why)) return conform_fail(c, "%s", why.message);
    const int32_t n = dukd_tensor_file_count(t), m = dukd_tensor_file_metadata_count(t);
    dukd_st_tensor *list = calloc((size_t)n + 1, sizeof *list);
    dukd_st_entry *entries = calloc((size_t)m + 1, sizeof *entries);
    for (int32_t i = 0; list && i < n; i++) {
        list[i] = *dukd_tensor_file_at(t, i);
        if (!has_prefix(&list[i], prefix)) continue;
        list[i].data = values;
        values += list[i].count;
    }
    for (int32_t i = 0; entries && i < m; i++) entries[i] = *dukd_tensor_file_metadata_at(t, i);
    int status = !list || !entries || dukd_tensor_file_write(path, list, n, entries, m, &why);
    free(list);
    free(entries);
    dukd_tensor_file_close(t);
    return status ? conform_fail(c, "%s: cannot be written: %s", path, why.message) : CONFORM_PASS;
}

conform_result host_write_weights(conform *c, const host_run *r, const float *values, int64_t count,
                                  const char *path) {
    char *file = path_of(c, c->host->weights, r);
    REQUIRE(c, file, "no memory");
    const char *prefix = take_prefix(file);
    conform_result got = CONFORM_PASS;
    if (is_safetensors(file)) {
        got = write_tensors(c, file, prefix, values, path);
    } else {
        FILE *f = fopen(path, "we");
        const int good = f && fwrite(values, 4, (size_t)count, f) == (size_t)count;
        if ((f && fclose(f)) || !good) got = conform_fail(c, "%s: cannot be written", path);
    }
    free(file);
    return got;
}
