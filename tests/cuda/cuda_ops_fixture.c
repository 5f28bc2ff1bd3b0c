/* The operations of the CUDA backend by themselves, for tests. */
#include <dlfcn.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backend/cuda/cuda_module.h"
#include "cuda_ops_fixture.h"
#include "support/fill.h"

static const dukd_cuda_module_table *module;

static const dukd_cuda_module_table *open_module(const char *library) {
    char path[4096];
    dukd_cuda_module_fn entry = NULL;
    const char *slash = strrchr(library, '/');
    snprintf(path, sizeof path, "%.*s/%s", slash != NULL ? (int)(slash - library) : 1,
             slash != NULL ? library : ".", DUKD_CUDA_MODULE_FILE);
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    void *symbol = handle != NULL ? dlsym(handle, DUKD_CUDA_MODULE_ENTRY) : NULL;
    memcpy(&entry, &symbol, sizeof entry);
    if (entry == NULL) fail_msg("%s: %s", path, dlerror());
    return entry();
}

void cuda_ops_open(cuda_ops *o, const char *library) {
    memset(o, 0, sizeof *o);
    if (module == NULL) module = open_module(library);
    assert_int_equal(module->backend_size, sizeof(dukd_backend));
    CUDA_OK(cudaStreamCreateWithFlags(&o->stream, cudaStreamNonBlocking));
    cuda_fixture_device(&o->device, o->stream);
    o->mean = o->device.take(sizeof *o->mean);
    assert_int_equal(dukd_backend_cpu_create(&o->cpu, NULL, "ref", NULL), DUKD_OK);
}

void cuda_ops_close(cuda_ops *o) {
    o->cpu->destroy(o->cpu);
    o->device.give_back(o->mean);
    CUDA_OK(cudaStreamDestroy(o->stream));
}

void cuda_ops_begin(cuda_ops *o, const dukd_backend_load *load) {
    dukd_error error = {.struct_size = DUKD_ERROR_SIZE};
    bool recorded;
    dukd_backend_load whole = *load;
    for (int i = 0; i < 4 && load->l1_shape[0] == 0; i++) whole.l1_shape[i] = 1;
    if (module->create(&o->cuda, NULL, 0, &error) != DUKD_OK ||
        o->cuda->reserve(o->cuda, &whole, &error) != DUKD_OK ||
        o->cuda->begin(o->cuda, o->stream, &recorded, &error) != DUKD_OK) {
        fail_msg("%s", error.message);
    }
}

void cuda_ops_end(cuda_ops *o) {
    CUDA_OK(cudaStreamSynchronize(o->stream));
    o->cuda->destroy(o->cuda);
    o->cuda = NULL;
}

void cuda_map_send(const cuda_ops *o, fixture_tensor *t) {
    if (t->there_memory == NULL) t->there_memory = o->device.take(t->bytes);
    t->there = t->tensor;
    t->there.data = (char *)t->there_memory + ((char *)t->tensor.data - (char *)t->memory);
    t->there.device = o->device.id;
    o->device.up(o->stream, t->there_memory, t->memory, t->bytes);
}

void cuda_map_make(const cuda_ops *o, fixture_tensor *t, const int64_t shape[4], dukd_dtype type,
                   fixture_layout layout, uint64_t seed) {
    uint64_t k = 0;
    fixture_tensor_make(t, shape, type, layout);
    EACH_ELEMENT(&t->tensor, n, c, i, j) {
        fixture_set(&t->tensor, n, c, i, j, (double)(dukd_fill_bits(seed, k++) >> 40) * 0x1p-23 - 1.0);
    }
    cuda_map_send(o, t);
}

void cuda_map_make_room(const cuda_ops *o, fixture_tensor *t, const int64_t shape[4], dukd_dtype type,
                        fixture_layout layout) {
    fixture_tensor_make(t, shape, type, layout);
    cuda_map_send(o, t);
}

void cuda_map_fetch(const cuda_ops *o, fixture_tensor *t) {
    /* numbers without a byte of 0 mark what belongs to elements */
    const double mark = t->tensor.dtype.bits == 32                ? 0x1.010102p0
                        : t->tensor.dtype.code == DUKD_TYPE_FLOAT ? 0x1.004p0
                                                                  : 0x1.02p0;
    memset(t->memory, 0, t->bytes);
    EACH_ELEMENT(&t->tensor, n, c, i, j) fixture_set(&t->tensor, n, c, i, j, mark);
    unsigned char *got = malloc(t->bytes);
    assert_non_null(got);
    o->device.down(o->stream, got, t->there_memory, t->bytes);
    for (size_t i = 0; i < t->bytes; i++) {
        if (((unsigned char *)t->memory)[i] == 0 && got[i] != 0xff)
            fail_msg("byte %zu of %zu belongs to no element and was written", i, t->bytes);
    }
    memcpy(t->memory, got, t->bytes);
    free(got);
}

void cuda_map_free(const cuda_ops *o, fixture_tensor *t) {
    if (t->there_memory != NULL) o->device.give_back(t->there_memory);
    fixture_tensor_free(t);
}

double cuda_ops_mean(const cuda_ops *o) {
    double mean;
    o->device.down(o->stream, &mean, o->mean, sizeof mean);
    return mean;
}

void cuda_maps_same(const fixture_tensor *a, const fixture_tensor *b, const char *what) {
    EACH_ELEMENT(&a->tensor, n, c, i, j) {
        const double x = fixture_get(&a->tensor, n, c, i, j), y = fixture_get(&b->tensor, n, c, i, j);
        if (x == y ? signbit(x) == signbit(y) : isnan(x) && isnan(y)) continue;
        fail_msg("%s: element %d %d %d %d is %.9g and %.9g", what, (int)n, (int)c, (int)i, (int)j, x, y);
    }
}
