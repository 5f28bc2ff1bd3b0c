/* Extension "dukd.graph/1": steps that a host captures into a CUDA graph once and replays.
 *
 *     a step or two without a graph              libraries allocate what they need
 *     cudaStreamBeginCapture(stream)
 *     begin_step ... end_step, and what the host itself computes      all of it on `stream`; nothing runs yet
 *     cudaStreamEndCapture(stream), cudaGraphInstantiate
 *     for each iteration, the first included:
 *         the batch into the tensors that were captured               enqueued on a stream
 *         before_replay(session, &step, &error)                       draws of this iteration, enqueued on step.stream
 *         cudaGraphLaunch(graph, step.stream)
 *         read_losses(session, &losses, &error)                       when a log line is due: those of this replay
 *
 * What was captured are the session's kernels, which read the choices of a step (crops, augmentations) from device memory of a
 * fixed address. before_replay writes them there; it is not captured itself, and a captured begin_step writes none. A captured
 * step gives no losses; its origins in host memory are those of the step in whose name it was captured. A replay counts as a
 * step that was begun and ended. Steps without a graph may come between. One graph at a time: capturing another step takes its
 * place.
 *
 * MICRO-BATCHES are captured in their order, each from begin_step to end_step, into one graph or into a graph each. before_replay is
 * called for each micro-batch, in their order, before the launch of the graph that it is in: with one graph for all m of them m times and
 * then the launch; with a graph each, before_replay and launch in turns. read_losses comes after the last launch. The micro-batches
 * of a step are all captured, all replayed or all run without a graph (else DUKD_E_STATE). */
#ifndef DUKD_EXT_GRAPH_H
#define DUKD_EXT_GRAPH_H

#include "dukd_plugin.h"

#ifdef __cplusplus
extern "C" {
#endif

#define DUKD_EXT_GRAPH "dukd.graph/1"

typedef struct dukd_ext_graph {
    uint32_t struct_size;
    uint32_t pad0;
    /* [session] Between steps, before each launch of the graph. Only enqueues. step as for begin_step; lr and hr must be
     * where they were when the step (or its micro-batch step->micro_index) was captured, with the same strides. DUKD_E_STATE: no
     * step of this session was captured, or the stream is being captured now. */
    int32_t (*before_replay)(dukd_session *session, const dukd_step *step, dukd_error *error);
} dukd_ext_graph;

#define DUKD_EXT_GRAPH_SIZE 16u

#ifdef __cplusplus
}
#endif

#endif
