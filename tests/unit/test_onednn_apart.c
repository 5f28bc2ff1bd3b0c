/* oneDNN stays inside the plugin: another one in the process, opened for all to see before libdukd or after it, changes no bit of FAKD and is
 * not changed. And without its module libdukd goes on by its own kernels and says so.
 *
 * The other one is a stand-in that fails whoever calls it (other_dnnl.c) and, where the environment's DUKD_OTHER_ONEDNN names a library of another
 * version (libdnnl.so.3 of the PyPI package onednn-cpu-gomp), that one. Each case is a process of its own. */
#include <dlfcn.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "dukd_plugin.h"
#include "support/fill.h"

enum { SIDE = 20, CHANNELS = 6, COUNT = CHANNELS * SIDE * SIDE };

typedef struct {
    int done;
    char log[4096], why[256];
    double total;
    float grad[COUNT];
    int version;   /* of the other oneDNN, major */
    float product; /* 2 x 3, by it, after all */
} result;

/* ---------------------------------------------------------------- a host of one layer */

static int32_t tap_shape(void *ctx, const dukd_tap *tap, const int64_t in[4], int64_t out[4],
                         dukd_error *why) {
    (void)ctx, (void)why, (void)tap;
    memcpy(out, (int64_t[4]){in[0], CHANNELS, in[2], in[3]}, 4 * sizeof *out);
    return 0;
}

static void log_line(void *ctx, int32_t level, const char *message) {
    result *r = ctx;
    (void)level;
    strncat(r->log, message, sizeof r->log - strlen(r->log) - 1);
}

static dukd_tensor dense(float *data, int64_t *shape) {
    return (dukd_tensor){.data = data,
                         .device = {DUKD_DEVICE_CPU, 0},
                         .ndim = 4,
                         .dtype = {DUKD_TYPE_FLOAT, 32, 1},
                         .shape = shape};
}

static int32_t run_step(const dukd_plugin *p, dukd_session *s, result *r, dukd_error *e) {
    static float lr[3 * SIDE * SIDE], hr[3 * 4 * SIDE * SIDE], maps[2][COUNT];
    int64_t small[4] = {1, 3, SIDE, SIDE}, large[4] = {1, 3, 2 * SIDE, 2 * SIDE},
            shape[4] = {1, CHANNELS, SIDE, SIDE};
    dukd_tensor x = dense(lr, small), y = dense(hr, large), f[2], g = dense(r->grad, shape);
    for (int i = 0; i < 2; i++) {
        dukd_fill_f32(maps[i], COUNT, (uint64_t)i, -1, 1);
        f[i] = dense(maps[i], shape);
    }
    const dukd_step step = {
        .struct_size = DUKD_STEP_SIZE, .iteration = 1, .micro_count = 1, .lr = &x, .hr = &y};
    const dukd_pass *pass = NULL;
    int32_t status = p->begin_step(s, &step, e);
    if (status == DUKD_OK) status = p->next_pass(s, &pass, e);
    const dukd_tensor *values[2] = {&f[0], &f[1]}, *grads[2] = {&g, NULL};
    const dukd_submit submit = {
        .struct_size = DUKD_SUBMIT_SIZE, .n_taps = 2, .values = values, .grads = grads, .grad_scale = 1};
    if (status == DUKD_OK) status = p->submit_pass(s, &submit, e);
    if (status == DUKD_OK && p->next_pass(s, &pass, e) == DUKD_STEP_DONE) status = p->end_step(s, e);
    dukd_losses losses = {.struct_size = DUKD_LOSSES_SIZE};
    if (status == DUKD_OK) status = p->read_losses(s, &losses, e);
    if (status == DUKD_OK) r->total = losses.values[losses.n_losses - 1];
    return status;
}

static void run_fakd(const char *path, result *r) {
    static const char *const networks[] = {"student", "teacher"};
    static const char *const values[4][1] = {{"fakd"}, {"0"}, {"0"}, {"body.1"}};
    static const char *const keys[4] = {"train.terms", "train.w_rec", "train.w_kd", "train.fakd.layers"};
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL),
         *symbol = library != NULL ? dlsym(library, DUKD_ENTRY_NAME) : NULL;
    if (symbol == NULL) {
        snprintf(r->why, sizeof r->why, "%s", dlerror());
        return;
    }
    dukd_get_plugin_draft_fn entry;
    memcpy(&entry, &symbol, sizeof entry);
    const dukd_plugin *p = entry(DUKD_ABI_DRAFT);
    dukd_option options[4];
    const dukd_option *list[4];
    for (int i = 0; i < 4; i++) {
        options[i] = (dukd_option){.struct_size = DUKD_OPTION_SIZE,
                                   .kind = DUKD_VALUE_SCALAR,
                                   .key = keys[i],
                                   .values = values[i],
                                   .n_values = 1};
        list[i] = &options[i];
    }
    const dukd_host host = {.struct_size = DUKD_HOST_SIZE,
                            .n_networks = 2,
                            .ctx = r,
                            .caps = DUKD_CAP_LAYERS,
                            .networks = networks,
                            .tap_shape = tap_shape,
                            .log = log_line};
    const dukd_session_params params = {.struct_size = DUKD_SESSION_PARAMS_SIZE,
                                        .host = &host,
                                        .options = list,
                                        .n_options = 4,
                                        .micro_count = 1,
                                        .lr_shape = {1, 3, SIDE, SIDE},
                                        .scale = 2,
                                        .dtype = {DUKD_TYPE_FLOAT, 32, 1},
                                        .device = {DUKD_DEVICE_CPU, 0}};
    dukd_error e = {.struct_size = DUKD_ERROR_SIZE};
    dukd_session *s = NULL;
    int32_t status = p->create_session(&params, &s, &e);
    if (status == DUKD_OK) status = run_step(p, s, r, &e);
    p->destroy_session(s);
    if (status != DUKD_OK) snprintf(r->why, sizeof r->why, "%s", e.message);
    r->done = status == DUKD_OK;
}

/* ---------------------------------------------------------------- another oneDNN */

static void use_other(const char *path, result *r) {
    typedef struct {
        int major, minor, patch;
    } version;
    typedef int (*sgemm)(char, char, int64_t, int64_t, int64_t, float, const float *, int64_t, const float *,
                         int64_t, float, float *, int64_t);
    void *other = dlopen(path, RTLD_NOW | RTLD_GLOBAL);
    void *symbols[2] = {other != NULL ? dlsym(other, "dnnl_version") : NULL,
                        other != NULL ? dlsym(other, "dnnl_sgemm") : NULL};
    if (symbols[0] == NULL || symbols[1] == NULL) {
        snprintf(r->why, sizeof r->why, "%s", dlerror());
        return;
    }
    const version *(*tell)(void);
    sgemm multiply;
    memcpy(&tell, &symbols[0], sizeof tell);
    memcpy(&multiply, &symbols[1], sizeof multiply);
    const float a = 2, b = 3;
    r->version = tell()->major;
    (void)multiply('N', 'N', 1, 1, 1, 1, &a, 1, &b, 1, 0, &r->product, 1);
}

typedef enum { ALONE, BEFORE, AFTER } order;

/* In a process of its own: FAKD, with the other library before or after it. */
static void run_apart(const char *plugin, const char *other, order o, result *out) {
    result *r = mmap(NULL, sizeof *r, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(r != MAP_FAILED);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        if (o == BEFORE) use_other(other, r);
        if (r->why[0] == '\0') run_fakd(plugin, r);
        if (o == AFTER && r->done) {
            use_other(other, r);
            if (r->why[0] == '\0') run_fakd(plugin, r); /* again */
        }
        if (o == BEFORE && r->done) use_other(other, r); /* it is as it was */
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    *out = *r;
    munmap(r, sizeof *r);
    if (!out->done || out->why[0] != '\0') fail_msg("%s", out->why);
}

static bool sanitized(void) {
    return dlsym(RTLD_DEFAULT, "__asan_init") != NULL || dlsym(RTLD_DEFAULT, "__tsan_init") != NULL;
}

static void with_other(const char *other, int version, float product) {
    static result alone, both;
    if (sanitized()) {
        print_message("SKIP: a sanitizer's runtime refuses to open libraries apart\n");
        skip();
    }
    run_apart(DUKD_PLUGIN_PATH, NULL, ALONE, &alone);
#ifdef DUKD_HAS_ONEDNN
    assert_non_null(strstr(alone.log, "matrix products of fakd by oneDNN"));
#else
    print_message("SKIP: this build has no module of oneDNN: only that libdukd does not mind another one\n");
#endif
    for (order o = BEFORE; o <= AFTER; o++) {
        run_apart(DUKD_PLUGIN_PATH, other, o, &both);
        assert_memory_equal(both.grad, alone.grad, sizeof alone.grad);
        assert_memory_equal(&both.total, &alone.total, sizeof alone.total);
        assert_true(version == 0 ? both.version > 0 : both.version == version);
        assert_true(both.product == product);
        assert_memory_equal(both.log, alone.log, strlen(alone.log)); /* the same oneDNN, by its version */
    }
}

static void a_stand_in(void **state) {
    (void)state;
    with_other(DUKD_STAND_IN, 99, 0);
}

static void another_version(void **state) {
    (void)state;
    const char *other = getenv("DUKD_OTHER_ONEDNN");
    if (other == NULL) {
        print_message("SKIP: DUKD_OTHER_ONEDNN names no other oneDNN\n");
        skip();
    }
    with_other(other, 0, 6);
}

/* libdukd by itself, in a folder without the module: the own kernels, and the log says why. */
static void without_the_module(void **state) {
    (void)state;
    static result alone, with;
    char folder[] = "/tmp/dukd_apart_XXXXXX", path[64];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/libdukd.so", folder);
    FILE *from = fopen(DUKD_PLUGIN_PATH, "rb"), *to = fopen(path, "wb");
    assert_true(from != NULL && to != NULL);
    char room[65536];
    for (size_t n; (n = fread(room, 1, sizeof room, from)) > 0;) assert_int_equal(fwrite(room, 1, n, to), n);
    fclose(from);
    assert_int_equal(fclose(to), 0);
    run_apart(path, NULL, ALONE, &alone);
    run_apart(DUKD_PLUGIN_PATH, NULL, ALONE, &with);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(folder), 0);
    assert_non_null(strstr(alone.log, "by the own kernels ("));
    assert_non_null(strstr(alone.log, "libdukd-onednn.so: cannot open"));
    assert_true(fabs(alone.total - with.total) <= 1e-6 * fabs(with.total));
    double most = 0, largest = 0;
    for (int i = 0; i < COUNT; i++) {
        most = fmax(most, fabs((double)alone.grad[i] - (double)with.grad[i]));
        largest = fmax(largest, fabs((double)with.grad[i]));
    }
    assert_true(largest > 0 && most <= 1e-5 * largest);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_stand_in), cmocka_unit_test(another_version),
                                       cmocka_unit_test(without_the_module)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
