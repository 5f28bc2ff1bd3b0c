/* A step as a CUDA graph (recording.h): what is put on the engine's stream between begin and end, by whomever. */
#include <cuda_runtime_api.h>
#include <stdlib.h>

#include "engine/cuda/gpu_state.h"

struct gpu_recording {
    cudaGraphExec_t graph; /* NULL: ended (gpu_recordings_end) */
    gpu_recording *next;   /* of the engine's */
};

/* Once nothing is recorded any more, memory that recordings might have used is anybody's again. */
static void let_go(gpu_engine *e) {
    if (e->recordings > 0) return;
    for (int32_t i = 0; i < e->array_count; i++) e->arrays[i].held = 0;
    for (int32_t i = 0; i < e->retired_count; i++) gpu_block_free(e, &e->retired[i]);
    e->retired_count = 0;
}

/* This thread alone is kept from calls that cannot be recorded: others read files meanwhile. */
static int record_begin(void *engine, dukd_failure *f) {
    gpu_engine *e = engine;
    if (e->recording) return dukd_fail(f, DUKD_MISUSED, "a step is recorded already");
    int status = gpu_enter(e, f);
    if (status != DUKD_DONE) return status;
    status = gpu_check((int)cudaStreamBeginCapture(e->stream, cudaStreamCaptureModeThreadLocal),
                       "beginning to record a step", f);
    if (status != DUKD_DONE) return status;
    e->recording = ++e->recorded;
    return DUKD_DONE;
}

/* Ends the capture, also where that fails at first: a stream that is captured is of no use. *graph: NULL after a failure. */
static int end_capture(gpu_engine *e, cudaGraph_t *graph, dukd_failure *f) {
    enum cudaStreamCaptureStatus still = cudaStreamCaptureStatusNone;
    *graph = NULL;
    const int status = gpu_check((int)cudaStreamEndCapture(e->stream, graph), "recording a step", f);
    if (status == DUKD_DONE) return status;
    *graph = NULL;
    if (cudaStreamIsCapturing(e->stream, &still) == cudaSuccess && still == cudaStreamCaptureStatusNone)
        return status;
    if (cudaStreamEndCapture(e->stream, graph) == cudaSuccess && *graph) (void)cudaGraphDestroy(*graph);
    (void)cudaGetLastError();
    *graph = NULL;
    return status;
}

static int record_end(void *engine, void **out, dukd_failure *f) {
    gpu_engine *e = engine;
    cudaGraph_t graph = NULL;
    gpu_recording *r = out ? calloc(1, sizeof *r) : NULL;
    if (!e->recording) {
        free(r);
        return dukd_fail(f, DUKD_MISUSED, "no step is recorded");
    }
    int status = gpu_enter(e, f);
    const int ended = end_capture(e, &graph, out ? f : NULL);
    e->recording = 0;
    e->changes++; /* weights that were packed are so in the graph alone */
    e->kept = NULL;
    if (status == DUKD_DONE) status = ended;
    if (out && status == DUKD_DONE && !r) status = dukd_fail_memory(f, "a recorded step", sizeof *r);
    if (out && status == DUKD_DONE)
        status = gpu_check((int)cudaGraphInstantiate(&r->graph, graph, 0), "preparing a recorded step", f);
    if (graph && cudaGraphDestroy(graph) != cudaSuccess) (void)cudaGetLastError();
    if (out && status == DUKD_DONE) {
        e->recordings++;
        r->next = e->all_recordings;
        e->all_recordings = r;
        *out = r;
        r = NULL;
    }
    let_go(e);
    free(r);
    return out ? status : DUKD_DONE;
}

static int record_replay(void *engine, void *recording, dukd_failure *f) {
    gpu_engine *e = engine;
    const gpu_recording *r = recording;
    int status = gpu_enter(e, f);
    if (status != DUKD_DONE) return status;
    if (!r->graph)
        status =
            dukd_fail(f, DUKD_MISUSED, "a recorded step is replayed after its engine has left the others");
    e->changes++;   /* the step may change weights */
    e->kept = NULL; /* and its forwards have been in the arena */
    if (status == DUKD_DONE)
        status = gpu_check((int)cudaGraphLaunch(r->graph, e->stream), "replaying a step", f);
    return status;
}

static void wait_for_stream(const gpu_engine *e) {
    if (cudaStreamSynchronize(e->stream) != cudaSuccess) (void)cudaGetLastError();
}

static void end_graph(gpu_recording *r) {
    if (r->graph && cudaGraphExecDestroy(r->graph) != cudaSuccess) (void)cudaGetLastError();
    r->graph = NULL;
}

/* CUDA lets a graph that runs end before it is destroyed: nothing need be waited for here. */
void gpu_recordings_end(gpu_engine *e, int waits) {
    if (e->all_recordings && waits) wait_for_stream(e);
    for (gpu_recording *r = e->all_recordings; r; r = r->next) end_graph(r);
}

static void record_free(void *engine, void *recording) {
    gpu_engine *e = engine;
    gpu_recording *r = recording;
    gpu_recording **at = &e->all_recordings;
    if (!r) return;
    (void)gpu_enter(e, NULL);
    wait_for_stream(e);
    end_graph(r);
    while (*at && *at != r) at = &(*at)->next;
    if (*at) *at = r->next;
    free(r);
    e->recordings--;
    let_go(e);
}

const dukd_recording_ops gpu_recording_ops = {
    .begin = record_begin,
    .end = record_end,
    .replay = record_replay,
    .free = record_free,
};
