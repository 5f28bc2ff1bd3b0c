/* Golden files by the host's reader of safetensors, behind a header without the host's names (they differ from the
 * ABI's). */
#include "support/golden.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/safetensors.h"

struct dukd_golden {
    dukd_tensor_file *file;
    char path[1024];
};

static int is_shared(char *out, size_t size, const char *relative) {
    const char *shared = getenv("DUKD_SHARED");
    int length = shared && *shared ? snprintf(out, size, "%s/%s", shared, relative)
                                   : snprintf(out, size, "%s/../shared/%s", DUKD_SOURCE_DIR, relative);
    assert_true(length > 0 && (size_t)length < size);
    return access(out, R_OK) == 0;
}

void dukd_shared_path(char *out, size_t size, const char *relative) {
    if (is_shared(out, size, relative)) return;
    print_message("SKIP: %s is not there; DUKD_SHARED names the folder of the shared data\n", out);
    skip();
}

/* The shared file, else the copy in the sources. */
static void golden_path(char *out, size_t size, const char *name) {
    char relative[256];
    assert_true(snprintf(relative, sizeof relative, "golden/%s.safetensors", name) < (int)sizeof relative);
    if (is_shared(out, size, relative)) return;
    assert_true(snprintf(out, size, "%s/tests/golden/data/%s.safetensors", DUKD_SOURCE_DIR, name) <
                (int)size);
    if (access(out, R_OK) != 0) dukd_shared_path(out, size, relative);
}

dukd_golden *dukd_golden_open(const char *name) {
    char path[1024];
    golden_path(path, sizeof path, name);
    dukd_golden *g = calloc(1, sizeof *g);
    assert_non_null(g);
    memcpy(g->path, path, sizeof path);
    dukd_failure f = {0};
    if (dukd_tensor_file_open(&g->file, path, &f) != DUKD_DONE) fail_msg("%s", f.message);
    return g;
}

void dukd_golden_close(dukd_golden *g) {
    if (!g) return;
    dukd_tensor_file_close(g->file);
    free(g);
}

static const dukd_st_tensor *find(dukd_golden *g, const char *format, va_list args, char *name, size_t size) {
    int length = vsnprintf(name, size, format, args);
    assert_true(length > 0 && (size_t)length < size);
    return dukd_tensor_file_find(g->file, name);
}

static dukd_golden_tensor get(dukd_golden *g, dukd_st_type type, const char *format, va_list args) {
    char name[256];
    const dukd_st_tensor *t = find(g, format, args, name, sizeof name);
    if (!t) fail_msg("%s has no tensor '%s'", g->path, name);
    if (t->type != type)
        fail_msg("%s: tensor '%s' is %s, not %s", g->path, name, dukd_st_type_name(t->type),
                 dukd_st_type_name(type));
    return (dukd_golden_tensor){
        .name = t->name, .data = t->data, .dims = t->dims, .ndim = t->ndim, .count = t->count};
}

#define GETTER(suffix, type)                                                                                 \
    dukd_golden_tensor dukd_golden_##suffix(dukd_golden *g, const char *name, ...) {                         \
        va_list args;                                                                                        \
        va_start(args, name);                                                                                \
        dukd_golden_tensor t = get(g, type, name, args);                                                     \
        va_end(args);                                                                                        \
        return t;                                                                                            \
    }
GETTER(f32, DUKD_ST_F32)
GETTER(f64, DUKD_ST_F64)
GETTER(u8, DUKD_ST_U8)
GETTER(i32, DUKD_ST_I32)
GETTER(i64, DUKD_ST_I64)

int dukd_golden_has(dukd_golden *g, const char *name, ...) {
    char full[256];
    va_list args;
    va_start(args, name);
    const dukd_st_tensor *t = find(g, name, args, full, sizeof full);
    va_end(args);
    return t != NULL;
}

int32_t dukd_golden_count(dukd_golden *g) {
    return dukd_tensor_file_count(g->file);
}
const char *dukd_golden_name(dukd_golden *g, int32_t i) {
    return dukd_tensor_file_at(g->file, i)->name;
}
