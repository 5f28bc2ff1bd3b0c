/* Feeds and reports (transfers.h): pinned memory, and copies that go on while a step computes. */
#include <cuda_runtime_api.h>
#include <stdlib.h>
#include <string.h>

#include "engine/cuda/gpu_state.h"

/* Of a report: `sent` alone, and no memory of the device. */
typedef struct {
    int64_t bytes;
    void *pinned, *device;
    cudaEvent_t sent, taken; /* out of `pinned`, or into it; nobody reads `device` any more */
} transfer;

static int make_event(cudaEvent_t *out, dukd_failure *f) {
    const cudaError_t status = cudaEventCreateWithFlags(out, cudaEventDisableTiming);
    if (status != cudaSuccess) *out = NULL;
    return gpu_check((int)status, "making an event", f);
}

/* What is under way into or out of its memory ends first. */
static void destroy(void *engine, void *state) {
    gpu_engine *e = engine;
    transfer *t = state;
    if (!t) return;
    (void)gpu_enter(e, NULL);
    if (t->sent && cudaEventSynchronize(t->sent) != cudaSuccess) (void)cudaGetLastError();
    if (t->taken && cudaEventSynchronize(t->taken) != cudaSuccess) (void)cudaGetLastError();
    if (t->sent && cudaEventDestroy(t->sent) != cudaSuccess) (void)cudaGetLastError();
    if (t->taken && cudaEventDestroy(t->taken) != cudaSuccess) (void)cudaGetLastError();
    if (t->device) gpu_array_give(e, t->device);
    if (t->pinned && cudaFreeHost(t->pinned) != cudaSuccess) (void)cudaGetLastError();
    free(t);
}

static int create(gpu_engine *e, int64_t bytes, const char *what, int is_feed, void **out, dukd_failure *f) {
    transfer *t = calloc(1, sizeof *t);
    if (!t) return dukd_fail_memory(f, what, sizeof *t);
    int status = gpu_enter(e, f);
    if (status != DUKD_DONE) {
        free(t);
        return status;
    }
    t->bytes = bytes;
    const cudaError_t pinned = cudaHostAlloc(&t->pinned, (size_t)bytes, cudaHostAllocDefault);
    if (pinned != cudaSuccess) t->pinned = NULL;
    status = gpu_check((int)pinned, "allocating pinned memory", f);
    if (status == DUKD_DONE) status = make_event(&t->sent, f);
    if (status == DUKD_DONE && is_feed) status = make_event(&t->taken, f);
    if (status == DUKD_DONE && is_feed) status = gpu_array_take(e, bytes, what, &t->device, f);
    /* Who had the array before may still have work in the engine's stream. */
    if (status == DUKD_DONE && is_feed)
        status = gpu_check((int)cudaEventRecord(t->taken, e->stream), "recording an event", f);
    cudaStream_t copies = NULL;
    if (status == DUKD_DONE && is_feed && !e->copies) {
        status = gpu_check((int)cudaStreamCreateWithFlags(&copies, cudaStreamNonBlocking),
                           "making a stream for copies", f);
        if (status == DUKD_DONE) e->copies = copies;
    }
    if (status != DUKD_DONE)
        destroy(e, t);
    else
        *out = t;
    return status;
}

static int feed_create(void *engine, int64_t bytes, const char *what, void **out, dukd_failure *f) {
    return create(engine, bytes, what, 1, out, f);
}

static int report_create(void *engine, int64_t bytes, const char *what, void **out, dukd_failure *f) {
    return create(engine, bytes, what, 0, out, f);
}

static int feed_room(void *engine, void *feed, void **out, dukd_failure *f) {
    const transfer *t = feed;
    int status = gpu_enter(engine, f);
    if (status != DUKD_DONE) return status;
    status = gpu_check((int)cudaEventSynchronize(t->sent), "waiting for a batch on its way", f);
    *out = t->pinned;
    return status;
}

static int feed_send(void *engine, void *feed, dukd_failure *f) {
    const gpu_engine *e = engine;
    const transfer *t = feed;
    int status = gpu_enter(e, f);
    if (status != DUKD_DONE) return status;
    status = gpu_check((int)cudaStreamWaitEvent(e->copies, t->taken, 0), "ordering a batch's copy", f);
    if (status == DUKD_DONE)
        status = gpu_check(
            (int)cudaMemcpyAsync(t->device, t->pinned, (size_t)t->bytes, cudaMemcpyHostToDevice, e->copies),
            "sending a batch", f);
    if (status == DUKD_DONE)
        status = gpu_check((int)cudaEventRecord(t->sent, e->copies), "recording an event", f);
    return status;
}

static int feed_take(void *engine, void *feed, void *to, dukd_failure *f) {
    const gpu_engine *e = engine;
    const transfer *t = feed;
    if (e->recording) return dukd_fail(f, DUKD_FAILED, "a batch is taken inside of a recorded step");
    int status = gpu_enter(e, f);
    if (status != DUKD_DONE) return status;
    status = gpu_check((int)cudaStreamWaitEvent(e->stream, t->sent, 0), "ordering a batch's copy", f);
    if (status == DUKD_DONE)
        status = gpu_check(
            (int)cudaMemcpyAsync(to, t->device, (size_t)t->bytes, cudaMemcpyDeviceToDevice, e->stream),
            "taking a batch", f);
    if (status == DUKD_DONE)
        status = gpu_check((int)cudaEventRecord(t->taken, e->stream), "recording an event", f);
    return status;
}

static int report_send(void *engine, void *report, const void *from, dukd_failure *f) {
    const gpu_engine *e = engine;
    const transfer *t = report;
    if (e->recording) return dukd_fail(f, DUKD_FAILED, "a report is sent inside of a recorded step");
    int status = gpu_enter(e, f);
    if (status != DUKD_DONE) return status;
    status =
        gpu_check((int)cudaMemcpyAsync(t->pinned, from, (size_t)t->bytes, cudaMemcpyDeviceToHost, e->stream),
                  "sending a report", f);
    if (status == DUKD_DONE)
        status = gpu_check((int)cudaEventRecord(t->sent, e->stream), "recording an event", f);
    return status;
}

static int report_read(void *engine, void *report, void *to_host, dukd_failure *f) {
    const transfer *t = report;
    int status = gpu_enter(engine, f);
    if (status != DUKD_DONE) return status;
    status = gpu_check((int)cudaEventSynchronize(t->sent), "waiting for a report", f);
    if (status == DUKD_DONE) memcpy(to_host, t->pinned, (size_t)t->bytes);
    return status;
}

const dukd_transfer_ops gpu_transfer_ops = {
    .feed_create = feed_create,
    .feed_destroy = destroy,
    .feed_room = feed_room,
    .feed_send = feed_send,
    .feed_take = feed_take,
    .report_create = report_create,
    .report_destroy = destroy,
    .report_send = report_send,
    .report_read = report_read,
};
