/* Making and destroying a CPU backend: which instructions, which threads, whose memory. */
#include "cpu_backend.h"
#include "cpu_cache.h"
#include "cpu_features.h"
#include "report.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ALIGNMENT 64u

/* The reference, overridden by what is there, up to `level`; false: `level` is not known or not to be had. */
static bool choose_kernels(dukd_kernels *k, const char *level) {
    dukd_kernels_ref(k);
    if (level != NULL && strcmp(level, "ref") == 0) return true;
#if defined(DUKD_CPU_X86)
    if (dukd_cpu_has_avx2()) dukd_kernels_avx2(k);
    if (level == NULL || strcmp(level, "avx2") != 0) {
        if (dukd_cpu_has_avx512()) dukd_kernels_avx512(k);
    }
#endif
    return level == NULL || strcmp(level, k->name) == 0;
}

static void release_workspace(dukd_cpu_backend *b) {
    if (b->workspace != NULL && b->free != NULL) {
        b->free(b->ctx, b->workspace, DUKD_DEVICE_CPU, 0, NULL);
    } else {
        free(b->workspace);
    }
    b->workspace = NULL;
    b->workspace_bytes = 0;
}

void *dukd_cpu_workspace(dukd_cpu_backend *b, int64_t count, int64_t bytes, dukd_error *error) {
    const uint64_t most = (uint64_t)INT64_MAX - ALIGNMENT;
    if (count < 0 || bytes <= 0 || (uint64_t)count > most / (uint64_t)bytes) {
        (void)dukd_report(error, DUKD_E_MEMORY,
                          "out of memory: the workspace's size overflows; use smaller batches");
        return NULL;
    }
    const uint64_t size = ((uint64_t)count * (uint64_t)bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (b->workspace != NULL && size <= b->workspace_bytes) return b->workspace;
    release_workspace(b);
    b->workspace = b->alloc != NULL ? b->alloc(b->ctx, DUKD_DEVICE_CPU, 0, size, ALIGNMENT, NULL)
                                    : aligned_alloc(ALIGNMENT, size);
    if (b->workspace == NULL) {
        (void)dukd_report(error, DUKD_E_MEMORY,
                          "out of memory: the cpu backend's workspace needs %" PRIu64 " bytes", size);
        return NULL;
    }
    b->workspace_bytes = size;
    return b->workspace;
}

static void destroy(dukd_backend *base) {
    if (base == NULL) return;
    release_workspace(dukd_cpu_backend_of(base));
    free(base);
}

void dukd_backend_cpu_open_products(dukd_backend *base, const char *path, char detail[256]) {
    dukd_products *p = &dukd_cpu_backend_of(base)->products;
    dukd_products_open(p, path);
    (void)snprintf(detail, 256, "%s", p->detail);
}

static void prepare_products(dukd_backend *base, char detail[256]) {
    const dukd_cpu_backend *b = dukd_cpu_backend_of(base);
    if (b->own_products) {
        (void)snprintf(detail, 256, "the own kernels (%s)", b->kernels.name);
    } else {
        dukd_backend_cpu_open_products(base, NULL, detail);
    }
}

int32_t dukd_backend_cpu_create(dukd_backend **out, const dukd_host *host, const char *level,
                                dukd_error *error) {
    *out = NULL;
    dukd_kernels kernels;
    if (!choose_kernels(&kernels, level)) {
        return dukd_report(
            error, DUKD_E_UNSUPPORTED,
            "this processor does not have the instruction set '%s'; leave the choice to the plugin", level);
    }
    dukd_cpu_backend *b = calloc(1, sizeof *b);
    if (b == NULL) return dukd_report(error, DUKD_E_MEMORY, "out of memory: the cpu backend itself");
    b->kernels = kernels;
    b->products = (dukd_products){.kernels = &b->kernels};
    b->own_products = level != NULL;
    b->cache_bytes = dukd_cache_last_level_bytes();
    dukd_parallel_init(&b->parallel, host);
    if (host != NULL && host->alloc != NULL && host->free != NULL) {
        b->ctx = host->ctx;
        b->alloc = host->alloc;
        b->free = host->free;
    }
    b->base = (dukd_backend){
        .name = "cpu",
        .state = b,
        .zoom_in = dukd_cpu_zoom_in,
        .zoom_out = dukd_cpu_zoom_out,
        .l1 = dukd_cpu_l1,
        .hardest = dukd_cpu_hardest,
        .affinity = dukd_cpu_affinity,
        .contrast = dukd_cpu_contrast,
        .upscale = dukd_cpu_upscale,
        .prepare_products = prepare_products,
        .destroy = destroy,
    };
    *out = &b->base;
    return DUKD_OK;
}

void dukd_backend_cpu_describe(dukd_backend_info *out) {
    dukd_kernels kernels;
    (void)choose_kernels(&kernels, NULL);
    out->usable = 1;
    out->device_type = DUKD_DEVICE_CPU;
    (void)snprintf(out->name, sizeof out->name, "cpu");
    const uint32_t threads = dukd_parallel_own_threads();
    (void)snprintf(out->detail, sizeof out->detail, "instructions: %s; %s, %" PRIu32 " thread%s",
                   kernels.name, dukd_parallel_own_name(), threads, threads == 1 ? "" : "s");
}
