/* Making and destroying a CUDA backend; its memory and its stream. */
#include "cuda_backend.h"
#include "cuda_module.h"
#include "report.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ALIGNMENT 256u

/* ---------------------------------------------------------------- memory */

static void *take(dukd_backend *base, uint64_t size) {
    dukd_cuda_backend *b = dukd_cuda_backend_of(base);
    dukd_cuda_turn turn;
    enum cudaStreamCaptureMode mode = cudaStreamCaptureModeRelaxed;
    void *p = NULL;
    if (size > (uint64_t)INT64_MAX || dukd_cuda_enter(b, &turn, NULL) != DUKD_OK) return NULL;
    const bool relaxed = dukd_cuda_swap_capture_mode(&mode);
    if (b->alloc != NULL) {
        p = b->alloc(b->ctx, DUKD_DEVICE_CUDA, b->device, size, ALIGNMENT, b->stream);
    } else if (cudaMalloc(&p, size) != cudaSuccess) {
        (void)cudaGetLastError();
        p = NULL;
    }
    if (relaxed) (void)dukd_cuda_swap_capture_mode(&mode);
    dukd_cuda_leave(&turn);
    return p;
}

static void give_back(dukd_backend *base, void *p) {
    dukd_cuda_backend *b = dukd_cuda_backend_of(base);
    dukd_cuda_turn turn;
    enum cudaStreamCaptureMode mode = cudaStreamCaptureModeRelaxed;
    if (p == NULL || getpid() != b->owner)
        return; /* a forked child has no device: the memory is the parent's */
    const int32_t entered = dukd_cuda_enter(b, &turn, NULL);
    const bool relaxed = dukd_cuda_swap_capture_mode(&mode);
    if (b->free != NULL) {
        b->free(b->ctx, p, DUKD_DEVICE_CUDA, b->device, b->stream);
    } else if (cudaFree(p) != cudaSuccess) { /* waits for the device, so work in progress may still use it */
        (void)cudaGetLastError();
    }
    if (relaxed) (void)dukd_cuda_swap_capture_mode(&mode);
    if (entered == DUKD_OK) dukd_cuda_leave(&turn);
}

static int32_t reserve(dukd_backend *base, const dukd_backend_load *load, dukd_error *error) {
    dukd_cuda_backend *b = dukd_cuda_backend_of(base);
    b->partials = dukd_cuda_partials(load->l1_shape);
    b->columns = load->hardest_shape[0] > 0 ? dukd_cuda_columns(load) : 0;
    if (b->partials <= 0 || b->columns < 0) {
        return dukd_report(
            error, DUKD_E_UNSUPPORTED,
            "a tap of %lld x %lld x %lld x %lld is too large for the CUDA backend: use smaller batches",
            (long long)load->l1_shape[0], (long long)load->l1_shape[1], (long long)load->l1_shape[2],
            (long long)load->l1_shape[3]);
    }
    b->features_size = dukd_cuda_features_room(load);
    if (b->features_size < 0) {
        return dukd_report(
            error, DUKD_E_UNSUPPORTED,
            "a map of features is too large for the CUDA backend: use smaller batches or patches");
    }
    const struct {
        void **to;
        int64_t bytes;
    } parts[] = {{(void **)&b->partial, b->partials * 2 * (int64_t)sizeof *b->partial},
                 {(void **)&b->column, b->columns * (int64_t)sizeof *b->column},
                 {(void **)&b->features, b->features_size}};
    int64_t all = 0;
    bool taken = true;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        all += parts[i].bytes;
        if (!taken || parts[i].bytes == 0) continue;
        *parts[i].to = take(base, (uint64_t)parts[i].bytes);
        taken = *parts[i].to != NULL;
    }
    if (taken) return DUKD_OK;
    return dukd_report(
        error, DUKD_E_MEMORY,
        "the CUDA device is out of memory: the workspaces need %lld bytes; use smaller batches",
        (long long)all);
}

/* ---------------------------------------------------------------- steps */

/* What came of asking a stream something. A stream that CUDA does not know here is the caller's mistake, and nothing was done with it. */
static int32_t check_stream(cudaError_t status, const char *what, const dukd_cuda_backend *b,
                            dukd_error *error) {
    switch (status) {
    case cudaErrorInvalidResourceHandle:
    case cudaErrorIncompatibleDriverContext:
    case cudaErrorContextIsDestroyed:
        (void)cudaGetLastError();
        return dukd_report(
            error, DUKD_E_ARGUMENT,
            "step: stream is not one of CUDA device %d in this context (%s): make it by the CUDA "
            "runtime, or in the device's primary context, and keep it until the step has ended",
            b->device, cudaGetErrorName(status));
    default:
        return dukd_cuda_check((int)status, what, error);
    }
}

static int32_t begin(dukd_backend *base, void *stream, bool *recorded, dukd_error *error) {
    dukd_cuda_backend *b = dukd_cuda_backend_of(base);
    enum cudaStreamCaptureStatus capture = cudaStreamCaptureStatusNone;
    dukd_cuda_turn turn;
    if (stream == cudaStreamPerThread)
        return dukd_report(error, DUKD_E_ARGUMENT,
                           "step: stream is cudaStreamPerThread, which is another one on every thread: make "
                           "one by cudaStreamCreate");
    int32_t status = dukd_cuda_enter(b, &turn, error);
    if (status != DUKD_OK) return status;
#if CUDART_VERSION >= 12080
    int device = b->device;
    if (stream != NULL) {
        const cudaError_t asked = cudaStreamGetDevice(stream, &device);
        if (asked == cudaErrorCallRequiresNewerDriver) {
            (void)cudaGetLastError(); /* the launches will say it */
        } else {
            status = check_stream(asked, "asking for the stream's device", b, error);
        }
    }
    if (status == DUKD_OK && device != b->device) {
        status = dukd_report(error, DUKD_E_ARGUMENT,
                             "step: stream belongs to CUDA device %d, the session to device %d", device,
                             b->device);
    }
#endif
    if (status == DUKD_OK) {
        status = check_stream(cudaStreamIsCapturing(stream, &capture),
                              "asking whether the stream is captured", b, error);
    }
    if (status == DUKD_OK && capture == cudaStreamCaptureStatusInvalidated) {
        status = dukd_report(error, DUKD_E_STATE,
                             "step: the capture of this stream was broken by an earlier call: end it");
    }
    dukd_cuda_leave(&turn);
    if (status != DUKD_OK) return status;
    b->stream = stream;
    *recorded = capture == cudaStreamCaptureStatusActive;
    return DUKD_OK;
}

static int32_t read_back(dukd_backend *base, void *stream, void *to, const void *from, uint64_t size,
                         dukd_error *error) {
    dukd_cuda_backend *b = dukd_cuda_backend_of(base);
    enum cudaStreamCaptureStatus capture = cudaStreamCaptureStatusNone;
    dukd_cuda_turn turn;
    int32_t status = dukd_cuda_enter(b, &turn, error);
    if (status != DUKD_OK) return status;
    status = dukd_cuda_check((int)cudaStreamIsCapturing(stream, &capture),
                             "asking whether the stream is captured", error);
    if (status == DUKD_OK && capture != cudaStreamCaptureStatusNone) {
        status = dukd_report(error, DUKD_E_STATE,
                             "read_losses: the step's stream is being captured: end the capture first");
    }
    if (status == DUKD_OK && size > sizeof b->landing) {
        status = dukd_report(error, DUKD_E_INTERNAL, "the CUDA backend is asked for %llu bytes at once",
                             (unsigned long long)size);
    }
    if (status == DUKD_OK) {
        status = dukd_cuda_check((int)cudaMemcpyAsync(b->landing, from, size, cudaMemcpyDeviceToHost, stream),
                                 "reading the losses", error);
    }
    if (status == DUKD_OK) {
        b->landing_busy = true;
        status = dukd_cuda_check((int)cudaStreamSynchronize(stream), "waiting for the stream", error);
    }
    if (status == DUKD_OK) {
        b->landing_busy = false;
        memcpy(to, b->landing, size);
    }
    dukd_cuda_leave(&turn);
    return status;
}

static int32_t owns(dukd_backend *base, const dukd_tensor *t, const char *name, dukd_error *error) {
    const dukd_cuda_backend *b = dukd_cuda_backend_of(base);
    struct cudaPointerAttributes a;
    dukd_cuda_turn turn;
    memset(&a, 0, sizeof a);
    const int32_t entered = dukd_cuda_enter(b, &turn, error); /* the runtime would make a context to answer */
    if (entered != DUKD_OK) return entered;
    const cudaError_t status = cudaPointerGetAttributes(&a, (const char *)t->data + t->byte_offset);
    dukd_cuda_leave(&turn);
    if (status == cudaErrorInvalidValue) {
        (void)cudaGetLastError(); /* how older drivers say that they do not know an address */
        a.type = cudaMemoryTypeUnregistered;
    } else if (status != cudaSuccess) {
        return dukd_cuda_check((int)status, "asking where a tensor lies", error);
    }
    if (a.type == cudaMemoryTypeManaged) return DUKD_OK;
    if (a.type != cudaMemoryTypeDevice) {
        return dukd_report(
            error, DUKD_E_ARGUMENT,
            "%s: says CUDA device %d, but its data are not memory of a device (the host's, or freed)", name,
            b->device);
    }
    if (a.device == b->device) return DUKD_OK;
    return dukd_report(error, DUKD_E_ARGUMENT, "%s: says CUDA device %d, but its data are on device %d", name,
                       b->device, a.device);
}

/* ---------------------------------------------------------------- create, destroy */

static void destroy(dukd_backend *base) {
    if (base == NULL) return;
    dukd_cuda_backend *b = dukd_cuda_backend_of(base);
    dukd_cuda_turn turn;
    if (b->landing_busy && getpid() == b->owner && dukd_cuda_enter(b, &turn, NULL) == DUKD_OK) {
        (void)cudaDeviceSynchronize();
        (void)cudaGetLastError();
        dukd_cuda_leave(&turn);
    }
    give_back(base, b->partial);
    give_back(base, b->column);
    give_back(base, b->features);
    free(b);
}

static int32_t load_kernels(const dukd_cuda_backend *b, dukd_error *error) {
    dukd_cuda_turn turn;
    enum cudaStreamCaptureMode mode = cudaStreamCaptureModeRelaxed;
    int32_t status = dukd_cuda_enter(b, &turn, error);
    if (status != DUKD_OK) return status;
    const bool relaxed = dukd_cuda_swap_capture_mode(&mode);
    int loaded = dukd_cuda_load_l1();
    if (loaded == 0) loaded = dukd_cuda_load_images();
    if (loaded == 0) loaded = dukd_cuda_load_hardest();
    if (loaded == 0) loaded = dukd_cuda_load_affinity();
    if (loaded == 0) loaded = dukd_cuda_load_contrast();
    if (relaxed) (void)dukd_cuda_swap_capture_mode(&mode);
    status = dukd_cuda_check(loaded, "loading the kernels", error);
    dukd_cuda_leave(&turn);
    return status;
}

static int32_t create(dukd_backend **out, const dukd_host *host, int32_t device_id, dukd_error *error) {
    int devices = 0;
    *out = NULL;
    const int32_t status = dukd_cuda_look(&devices, error);
    if (status != DUKD_OK) return status;
    if (device_id < 0 || device_id >= devices) {
        return dukd_report(error, DUKD_E_ARGUMENT, "there is no CUDA device %d: there %s %d, numbered from 0",
                           device_id, devices == 1 ? "is" : "are", devices);
    }
    int major, minor;
    const int32_t known = dukd_cuda_look_at(device_id, &major, &minor, error);
    if (known != DUKD_OK) return known;
    dukd_cuda_backend *b = calloc(1, sizeof *b);
    if (b == NULL) return dukd_report(error, DUKD_E_MEMORY, "out of memory: the CUDA backend itself");
    b->device = device_id;
    b->owner = getpid();
    b->contexts = dukd_cuda_find_contexts();
    if (host != NULL && host->alloc != NULL && host->free != NULL) {
        b->ctx = host->ctx;
        b->alloc = host->alloc;
        b->free = host->free;
    }
    b->base = (dukd_backend){
        .name = "cuda",
        .state = b,
        .alloc = take,
        .free = give_back,
        .reserve = reserve,
        .begin = begin,
        .place = dukd_cuda_place_op,
        .read = read_back,
        .owns = owns,
        .zoom_in = dukd_cuda_zoom_in_op,
        .zoom_out = dukd_cuda_zoom_out_op,
        .l1 = dukd_cuda_l1_op,
        .hardest = dukd_cuda_hardest_op,
        .affinity = dukd_cuda_affinity_op,
        .contrast = dukd_cuda_contrast_op,
        .upscale = dukd_cuda_upscale_op,
        .prepare_products = dukd_cuda_prepare_products,
        .destroy = destroy,
    };
    const int32_t loaded = load_kernels(b, error);
    if (loaded != DUKD_OK) {
        destroy(&b->base);
        return loaded;
    }
    *out = &b->base;
    return DUKD_OK;
}

static const dukd_cuda_module_table table = {
    .struct_size = sizeof table,
    .backend_size = sizeof(dukd_backend),
    .version = DUKD_VERSION,
    .create = create,
    .describe = dukd_cuda_describe,
};

const dukd_cuda_module_table *dukd_cuda_module(void) {
    return &table;
}
