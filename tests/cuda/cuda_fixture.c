/* Sessions on a CUDA device for tests. */
#include <dlfcn.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cuda_fixture.h"

const dukd_plugin *cuda_open_plugin(int argc, char **argv) {
    dukd_get_plugin_draft_fn entry = NULL;
    dukd_backend_info info = {.struct_size = DUKD_BACKEND_INFO_SIZE};
    void *library = argc == 2 ? dlopen(argv[1], RTLD_NOW | RTLD_LOCAL) : NULL;
    void *symbol = library != NULL ? dlsym(library, DUKD_ENTRY_NAME) : NULL;
    memcpy(&entry, &symbol, sizeof entry);
    if (entry == NULL) {
        fprintf(stderr, "usage: %s libdukd.so: %s\n", argv[0], argc == 2 ? dlerror() : "no library given");
        exit(2);
    }
    const dukd_plugin *plugin = entry(DUKD_ABI_DRAFT);
    if (plugin->query_backend(1, &info, NULL) != DUKD_OK || info.usable == 0) {
        printf("SKIP: %s\n", info.detail);
        exit(77);
    }
    return plugin;
}

/* ---------------------------------------------------------------- the device */

static void *take(size_t bytes) {
    void *p = NULL;
    return cudaMalloc(&p, bytes) == cudaSuccess ? p : NULL;
}

static void give_back(void *p) {
    CUDA_OK(cudaFree(p));
}

static void up(void *stream, void *to, const void *from, size_t bytes) {
    CUDA_OK(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, stream));
    CUDA_OK(cudaStreamSynchronize(stream)); /* from may change now */
}

static void down(void *stream, void *to, const void *from, size_t bytes) {
    CUDA_OK(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, stream));
    CUDA_OK(cudaStreamSynchronize(stream));
}

void cuda_fixture_device(fixture_device *d, cudaStream_t stream) {
    *d = (fixture_device){.id = {DUKD_DEVICE_CUDA, 0},
                          .stream = stream,
                          .take = take,
                          .give_back = give_back,
                          .up = up,
                          .down = down};
}

/* ---------------------------------------------------------------- what a run gave */

static void add(cuda_record *r, const dukd_tensor *t) {
    EACH_ELEMENT(t, n, c, i, j) {
        if (r->count == r->room) {
            r->room = r->room * 2 + 4096;
            r->number = realloc(r->number, r->room * sizeof *r->number);
            assert_non_null(r->number);
        }
        r->number[r->count++] = fixture_get(t, n, c, i, j);
    }
    assert_true(r->n_tensors < sizeof r->end / sizeof *r->end);
    r->end[r->n_tensors++] = r->count;
}

static void write_down(void *ctx, const dukd_pass *pass, const dukd_tensor *const *values,
                       const dukd_tensor *const *grads) {
    cuda_record *r = ctx;
    (void)values;
    for (uint32_t i = 0; i < pass->n_inputs; i++) add(r, r->f->seen[i]);
    for (uint32_t i = 0; i < pass->n_taps; i++) {
        if (grads[i] != NULL) add(r, grads[i]);
    }
}

void cuda_run(fixture *f, const char *const *options, int steps, cuda_record *out) {
    dukd_losses losses = {.struct_size = DUKD_LOSSES_SIZE};
    *out = (cuda_record){.f = f};
    f->watch = write_down;
    f->watch_ctx = out;
    fixture_must_open(f, options);
    for (int i = 0; i < steps; i++) {
        const int64_t first = i * f->n * f->micro_count;
        for (uint32_t m = 0; m < f->micro_count; m++) fixture_step(f, i + 1, first + m * f->n, m);
        const int32_t status = f->plugin->read_losses(f->session, &losses, &f->error);
        if (status != DUKD_OK) fail_msg("read_losses: %s", f->error.message);
        for (uint32_t k = 0; k < losses.n_losses; k++) {
            assert_true(out->n_losses < sizeof out->loss / sizeof *out->loss);
            out->loss[out->n_losses++] = losses.values[k];
        }
    }
    fixture_close(f);
}

void cuda_record_free(cuda_record *r) {
    free(r->number);
    *r = (cuda_record){0};
}

static bool same(double a, double b) {
    return a == b ? signbit(a) == signbit(b) : isnan(a) && isnan(b);
}

void cuda_assert_same(const cuda_record *cpu, const cuda_record *cuda, const char *name) {
    assert_int_equal(cpu->count, cuda->count);
    assert_int_equal(cpu->n_losses, cuda->n_losses);
    assert_true(cpu->count > 0 && cpu->n_losses > 0);
    for (size_t i = 0; i < cpu->count; i++) {
        if (same(cpu->number[i], cuda->number[i])) continue;
        fail_msg("%s: number %zu of %zu is %.9g on the CPU and %.9g on CUDA", name, i, cpu->count,
                 cpu->number[i], cuda->number[i]);
    }
    for (size_t i = 0; i < cpu->n_losses; i++) {
        const double a = cpu->loss[i], b = cuda->loss[i];
        if (same(a, b) || fabs(a - b) <= 1e-13 * fabs(a)) continue;
        fail_msg("%s: loss %zu is %.17g on the CPU and %.17g on CUDA", name, i, a, b);
    }
}

static void close_to(const double *a, const double *b, size_t count, double most, const char *name) {
    double largest = 0;
    for (size_t i = 0; i < count; i++) {
        if (isfinite(a[i])) largest = fmax(largest, fabs(a[i]));
    }
    for (size_t i = 0; i < count; i++) {
        if (same(a[i], b[i]) || fabs(a[i] - b[i]) <= most * largest) continue;
        fail_msg("%s: element %zu of %zu is %.9g on the CPU and %.9g on CUDA", name, i, count, a[i], b[i]);
    }
}

void cuda_assert_close(const cuda_record *cpu, const cuda_record *cuda, double most, double of_losses,
                       const char *name) {
    assert_int_equal(cpu->count, cuda->count);
    assert_int_equal(cpu->n_tensors, cuda->n_tensors);
    assert_int_equal(cpu->n_losses, cuda->n_losses);
    assert_true(cpu->count > 0 && cpu->n_losses > 0);
    for (size_t i = 0; i < cpu->n_tensors; i++) {
        const size_t first = i > 0 ? cpu->end[i - 1] : 0;
        close_to(cpu->number + first, cuda->number + first, cpu->end[i] - first, most, name);
    }
    for (size_t i = 0; i < cpu->n_losses; i++) close_to(&cpu->loss[i], &cuda->loss[i], 1, of_losses, name);
}
