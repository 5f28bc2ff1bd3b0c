/* The CUDA runtime's functions that the plugin and its tests call, under their real declarations.
 *
 * A stream is a queue that runs when somebody waits for it, so that a missing wait shows stale memory. A stream that is
 * captured puts its work into a graph. Every call can be made to fail. Handles of other kinds than streams, events and graphs
 * do not exist here; what is not written below does not link. */
#include "internal.hpp"

#include <chrono>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

namespace {

using namespace emulation;

struct event {
    uint64_t recorded = 0, done = 0; /* counts */
    double at = 0;                   /* seconds of the processor's clock when it was done */
    struct stream *on = nullptr;
    struct graph *captured = nullptr; /* recorded in a stream that was captured into it */
    uint64_t covers = 0;              /* pieces of that stream's work before it */
};

struct work {
    int device = 0;
    std::function<void()> run; /* or: */
    event *record = nullptr;   /* its count is `count` */
    event *wait = nullptr;     /* until its count is `count` */
    uint64_t count = 0;
};

struct graph {
    std::vector<work> nodes;
    bool broken = false;
};

struct stream {
    int device = 0;
    std::deque<work> queue;
    graph *capture = nullptr;
    /* Captured because it waited for an event of a stream that is, not because its capture was begun. Then: pieces of its work,
     * and how many of them another stream waits for. */
    bool joined = false;
    uint64_t captured = 0, waited_for = 0;
};

std::recursive_mutex lock;
int first_device; /* of the machine, that this process sees */
int devices = 2, driver = 13000, capability = 80, current_device;
int context =
    -1; /* the device whose primary context is the thread's (there is one thread here); -1: none yet */
bool primary[2];  /* devices that have one */
char contexts[2]; /* their handles */
cudaStreamCaptureMode exchanged = cudaStreamCaptureModeGlobal;
cudaError_t last_error = cudaSuccess;
stream default_stream[2];
std::set<stream *> streams;
std::set<event *> events;
std::set<graph *> graphs, executables;
std::map<void *, size_t> pinned;
std::set<const void *> loaded;
int64_t launches, unloaded, bytes_allocated, waits;

bool armed;
int64_t calls, fail_at;
cudaError_t fail_with, fail_named_with;
std::string failed, fail_name;
int64_t named_calls, fail_named_from; /* of that name so far; those before that number do not fail */
bool fail_named_once;
bool prompt; /* what a device was given is done before it is given a graph, or recorded */

/* What a call returns: errors are kept for cudaGetLastError. */
cudaError_t give(cudaError_t e) {
    if (e != cudaSuccess) last_error = e;
    return e;
}

/* Whether this call was told to fail. */
bool told_to_fail(const char *name) {
    static const bool told = from_environment();
    if (!armed || !told) return false;
    calls++;
    if (!fail_name.empty() && fail_name == name && ++named_calls >= fail_named_from &&
        (!fail_named_once || named_calls == fail_named_from)) {
        failed = name;
        last_error = fail_named_with;
        return true;
    }
    if (calls != fail_at) return false;
    failed = name;
    last_error = fail_with;
    return true;
}

#define CALL                                                                                                 \
    std::lock_guard<std::recursive_mutex> guard(lock);                                                       \
    if (told_to_fail(__func__)) return last_error

/* What needs a context makes one where the thread has none. */
void use_context() {
    primary[current_device] = true;
    context = current_device;
}

stream *stream_of(cudaStream_t handle) {
    if (handle == nullptr || handle == cudaStreamLegacy || handle == cudaStreamPerThread) {
        default_stream[current_device].device = current_device;
        return &default_stream[current_device];
    }
    stream *s = reinterpret_cast<stream *>(handle);
    return streams.count(s) != 0 ? s : nullptr;
}

void drain(stream *s);
void drain_to(event *e, uint64_t count);

double seconds() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

void perform(const work &w) {
    if (w.wait != nullptr) {
        if (events.count(w.wait) != 0) drain_to(w.wait, w.count);
        return;
    }
    if (w.record != nullptr) {
        if (events.count(w.record) != 0 && w.record->done < w.count) {
            w.record->done = w.count;
            w.record->at = seconds();
        }
        return;
    }
    w.run();
}

void drain(stream *s) {
    while (!s->queue.empty()) {
        const work w = s->queue.front();
        s->queue.pop_front();
        perform(w);
    }
}

/* What comes before an event, and no more: what is behind it may wait for something that never comes. */
void drain_to(event *e, uint64_t count) {
    while (e->done < count && e->on != nullptr && !e->on->queue.empty()) {
        const work w = e->on->queue.front();
        e->on->queue.pop_front();
        perform(w);
    }
}

void drain_device(int device) {
    drain(&default_stream[device]);
    for (stream *s : streams) {
        if (s->device == device) drain(s);
    }
}

/* What may not be called while a stream is captured (cudaStreamCaptureModeGlobal) breaks the capture, but for a thread that has said
 * that it knows (cudaThreadExchangeStreamCaptureMode). */
bool breaks_capture() {
    bool any = false;
    if (exchanged == cudaStreamCaptureModeRelaxed) return false;
    for (stream *s : streams) {
        if (s->capture == nullptr) continue;
        s->capture->broken = true;
        any = true;
    }
    return any;
}

cudaError_t enqueue(cudaStream_t handle, std::function<void()> run) {
    stream *s = stream_of(handle);
    if (s == nullptr || s->device != current_device) return give(cudaErrorInvalidResourceHandle);
    use_context();
    work w;
    w.device = s->device;
    w.run = std::move(run);
    if (s->capture != nullptr) {
        s->capture->nodes.push_back(w);
        s->captured++;
    } else {
        s->queue.push_back(w);
    }
    return cudaSuccess;
}

} // namespace

void emulation::fail_named_at(int64_t first, bool once) {
    fail_named_from = first;
    fail_named_once = once;
}

void emulation::run_promptly() {
    prompt = true;
}

/* ---------------------------------------------------------------- launches */

void emulation::launch(void *handle, dim3 grid, dim3 block, size_t bytes, size_t argument_bytes,
                       std::function<void()> thread) {
    std::lock_guard<std::recursive_mutex> guard(lock);
    if (told_to_fail("launch")) return;
    const uint64_t threads = uint64_t(block.x) * block.y * block.z;
    const bool fits = threads >= 1 && threads <= 1024 && block.z <= 64 && grid.x >= 1 &&
                      grid.x <= 0x7fffffffu && grid.y >= 1 && grid.y <= 65535 && grid.z >= 1 &&
                      grid.z <= 65535 && bytes <= 48 << 10 && argument_bytes <= 4096;
    if (!fits) {
        last_error = cudaErrorInvalidConfiguration;
        return;
    }
    const int device = current_device;
    const std::function<void()> run = [=] {
        memory_open(device);
        run_grid(grid, block, bytes, device, thread);
        memory_close(device);
    };
    if (enqueue(static_cast<cudaStream_t>(handle), run) == cudaSuccess) launches++;
}

void emulation::look_if_loaded(const void *kernel) {
    std::lock_guard<std::recursive_mutex> guard(lock);
    unloaded += loaded.count(kernel) == 0;
}

/* ---------------------------------------------------------------- the machine */

extern "C" {

cudaError_t CUDARTAPI cudaRuntimeGetVersion(int *version) {
    CALL;
    *version = CUDART_VERSION;
    return cudaSuccess;
}

cudaError_t CUDARTAPI cudaDriverGetVersion(int *version) {
    CALL;
    *version = driver;
    return cudaSuccess;
}

cudaError_t CUDARTAPI cudaGetDeviceCount(int *count) {
    CALL;
    *count = 0;
    if (driver < CUDART_VERSION / 1000 * 1000) return give(cudaErrorInsufficientDriver);
    if (devices == 0) return give(cudaErrorNoDevice);
    *count = devices;
    return cudaSuccess;
}

cudaError_t CUDARTAPI cudaGetDevice(int *device) {
    CALL;
    *device = current_device;
    return cudaSuccess;
}

cudaError_t CUDARTAPI cudaSetDevice(int device) {
    CALL;
    if (device < 0 || device >= devices) return give(cudaErrorInvalidDevice);
    current_device = device;
    use_context();
    return cudaSuccess;
}

/* ---- the driver's functions, which the runtime finds for those that ask ---- */

static int driver_get_context(void **out) {
    std::lock_guard<std::recursive_mutex> guard(lock);
    *out = context < 0 ? nullptr : &contexts[context];
    return 0;
}

static int driver_set_context(void *wanted) {
    std::lock_guard<std::recursive_mutex> guard(lock);
    context = -1;
    for (int i = 0; i < 2; i++) {
        if (wanted == &contexts[i]) current_device = context = i;
    }
    return 0;
}

cudaError_t CUDARTAPI cudaGetDriverEntryPointByVersion(const char *symbol, void **function, unsigned int,
                                                       unsigned long long,
                                                       cudaDriverEntryPointQueryResult *result) {
    CALL;
    const std::string name = symbol;
    *function = name == "cuCtxGetCurrent"   ? reinterpret_cast<void *>(driver_get_context)
                : name == "cuCtxSetCurrent" ? reinterpret_cast<void *>(driver_set_context)
                                            : nullptr;
    *result = *function != nullptr ? cudaDriverEntryPointSuccess : cudaDriverEntryPointSymbolNotFound;
    return cudaSuccess;
}

cudaError_t CUDARTAPI cudaGetDriverEntryPoint(const char *symbol, void **function, unsigned long long flags,
                                              cudaDriverEntryPointQueryResult *result) {
    return cudaGetDriverEntryPointByVersion(symbol, function, 0, flags, result);
}

cudaError_t CUDARTAPI cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode *mode) {
    CALL;
    std::swap(exchanged, *mode);
    return cudaSuccess;
}

cudaError_t CUDARTAPI cudaGetDeviceProperties(cudaDeviceProp *p, int device) {
    CALL;
    if (device < 0 || device >= devices) return give(cudaErrorInvalidDevice);
    *p = cudaDeviceProp();
    snprintf(p->name, sizeof p->name, "emulated device %d", device);
    p->major = capability / 10;
    p->minor = capability % 10;
    p->l2CacheSize = 2 << 10; /* benchmarks go around it: a large one would take them long */
    p->uuid.bytes[0] = static_cast<char>(0xd0 + first_device + device);
    return cudaSuccess;
}

cudaError_t CUDARTAPI cudaDeviceGetAttribute(int *value, cudaDeviceAttr attribute, int device) {
    CALL;
    if (device < 0 || device >= devices) return give(cudaErrorInvalidDevice);
    if (attribute != cudaDevAttrComputeCapabilityMajor && attribute != cudaDevAttrComputeCapabilityMinor) {
        return give(cudaErrorInvalidValue);
    }
    *value = attribute == cudaDevAttrComputeCapabilityMajor ? capability / 10 : capability % 10;
    return cudaSuccess;
}

cudaError_t CUDARTAPI cudaFuncGetAttributes(cudaFuncAttributes *a, const void *kernel) {
    CALL;
    if (kernel == nullptr) return give(cudaErrorInvalidDeviceFunction);
    loaded.insert(kernel);
    *a = cudaFuncAttributes();
    return cudaSuccess;
}

/* ---------------------------------------------------------------- errors */

cudaError_t CUDARTAPI cudaGetLastError(void) {
    std::lock_guard<std::recursive_mutex> guard(lock);
    const cudaError_t e = last_error;
    last_error = cudaSuccess;
    return e;
}

const char *CUDARTAPI cudaGetErrorName(cudaError_t e) {
    switch (e) {
    case cudaSuccess:
        return "cudaSuccess";
    case cudaErrorMemoryAllocation:
        return "cudaErrorMemoryAllocation";
    case cudaErrorLaunchFailure:
        return "cudaErrorLaunchFailure";
    case cudaErrorInvalidResourceHandle:
        return "cudaErrorInvalidResourceHandle";
    case cudaErrorStreamCaptureUnsupported:
        return "cudaErrorStreamCaptureUnsupported";
    default:
        return "another error";
    }
}

const char *CUDARTAPI cudaGetErrorString(cudaError_t e) {
    return e == cudaSuccess ? "no error" : "emulated failure";
}

/* ---------------------------------------------------------------- memory */

cudaError_t CUDARTAPI cudaMalloc(void **p, size_t size) {
    CALL;
    use_context();
    if (breaks_capture()) return give(cudaErrorStreamCaptureUnsupported);
    if (size == 0) {
        *p = nullptr;
        return cudaSuccess;
    }
    *p = memory_take(size, current_device, true);
    if (*p == nullptr) return give(cudaErrorMemoryAllocation);
    bytes_allocated += static_cast<int64_t>(size);
    return cudaSuccess;
}

/* Waits for the device, as the real one does. A failure injected here is one that came from earlier work: the memory is free. */
cudaError_t CUDARTAPI cudaFree(void *p) {
    std::lock_guard<std::recursive_mutex> guard(lock);
    const bool fails = told_to_fail(__func__);
    if (p == nullptr) return fails ? last_error : cudaSuccess;
    if (breaks_capture()) return give(cudaErrorStreamCaptureUnsupported);
    const allocation *a = memory_find(p);
    if (a == nullptr) return give(cudaErrorInvalidValue);
    drain_device(a->device);
    if (!memory_give_back(p)) return give(cudaErrorInvalidValue);
    return fails ? last_error : cudaSuccess;
}

cudaError_t CUDARTAPI cudaPointerGetAttributes(cudaPointerAttributes *a, const void *p) {
    CALL;
    use_context();
    *a = cudaPointerAttributes();
    if (const allocation *found = memory_find(p)) {
        a->type = cudaMemoryTypeDevice;
        a->device = found->device;
        return cudaSuccess;
    }
    a->type = cudaMemoryTypeUnregistered;
    a->device = -2;
    for (const auto &block : pinned) {
        if (p >= block.first &&
            static_cast<const char *>(p) < static_cast<const char *>(block.first) + block.second) {
            a->type = cudaMemoryTypeHost;
        }
    }
    return cudaSuccess;
}

/* `from` and `to` are looked at when the copy runs; a size that does not fit an allocation is an error at once. */
static bool copy_fits(const void *p, size_t size, bool on_device) {
    const allocation *a = memory_find(p);
    if ((a != nullptr) != on_device) return false;
    return a == nullptr || static_cast<const char *>(p) + size <= a->data + a->size;
}

cudaError_t CUDARTAPI cudaMemcpyAsync(void *to, const void *from, size_t size, cudaMemcpyKind kind,
                                      cudaStream_t handle) {
    CALL;
    const bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
    const bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
    if (!copy_fits(to, size, to_device) || !copy_fits(from, size, from_device))
        return give(cudaErrorInvalidValue);
    return enqueue(handle, [=] {
        if (from_device) shadow_read(from, size);
        memory_open_one(from, true);
        memory_open_one(to, true);
        memcpy(to, from, size);
        memory_open_one(from, false);
        memory_open_one(to, false);
        if (to_device) shadow_written(to, size);
    });
}

cudaError_t CUDARTAPI cudaMemsetAsync(void *to, int value, size_t size, cudaStream_t handle) {
    CALL;
    if (!copy_fits(to, size, true)) return give(cudaErrorInvalidValue);
    return enqueue(handle, [=] {
        memory_open_one(to, true);
        memset(to, value, size);
        memory_open_one(to, false);
        shadow_written(to, size);
    });
}

cudaError_t CUDARTAPI cudaHostAlloc(void **p, size_t size, unsigned int) {
    CALL;
    use_context();
    if (breaks_capture()) return give(cudaErrorStreamCaptureUnsupported);
    *p = malloc(size);
    if (*p == nullptr) return give(cudaErrorMemoryAllocation);
    pinned[*p] = size;
    return cudaSuccess;
}

/* Waits for the device, as cudaFree. */
cudaError_t CUDARTAPI cudaFreeHost(void *p) {
    std::lock_guard<std::recursive_mutex> guard(lock);
    const bool fails = told_to_fail(__func__);
    if (p == nullptr) return fails ? last_error : cudaSuccess;
    if (breaks_capture()) return give(cudaErrorStreamCaptureUnsupported);
    if (pinned.erase(p) == 0) return give(cudaErrorInvalidValue);
    for (int device = 0; device < 2; device++) drain_device(device);
    free(p);
    return fails ? last_error : cudaSuccess;
}

/* ---------------------------------------------------------------- streams, events */

cudaError_t CUDARTAPI cudaLaunchHostFunc(cudaStream_t handle, cudaHostFn_t function, void *arg) {
    CALL;
    return enqueue(handle, [=] { function(arg); });
}

cudaError_t CUDARTAPI cudaStreamCreateWithFlags(cudaStream_t *out, unsigned int flags) {
    CALL;
    if (flags > cudaStreamNonBlocking) return give(cudaErrorInvalidValue);
    use_context();
    stream *s = new stream;
    s->device = current_device;
    streams.insert(s);
    *out = reinterpret_cast<cudaStream_t>(s);
    return cudaSuccess;
}

/* A failure injected here, or below, is one that came from earlier work: what is destroyed is gone. */
cudaError_t CUDARTAPI cudaStreamDestroy(cudaStream_t handle) {
    std::lock_guard<std::recursive_mutex> guard(lock);
    const bool fails = told_to_fail(__func__);
    stream *s = stream_of(handle);
    if (s == nullptr || handle == nullptr) return give(cudaErrorInvalidResourceHandle);
    drain(s);
    streams.erase(s);
    delete s;
    return fails ? last_error : cudaSuccess;
}

cudaError_t CUDARTAPI cudaStreamGetDevice(cudaStream_t handle, int *device) {
    CALL;
    const stream *s = stream_of(handle);
    if (s == nullptr) return give(cudaErrorInvalidResourceHandle);
    *device = s->device;
    return cudaSuccess;
}

cudaError_t CUDARTAPI cudaStreamSynchronize(cudaStream_t handle) {
    CALL;
    stream *s = stream_of(handle);
    if (s == nullptr) return give(cudaErrorInvalidResourceHandle);
    if (s->capture != nullptr) {
        s->capture->broken = true;
        return give(cudaErrorStreamCaptureUnsupported);
    }
    waits++;
    drain(s);
    return cudaSuccess;
}

cudaError_t CUDARTAPI cudaDeviceSynchronize(void) {
    CALL;
    if (breaks_capture()) return give(cudaErrorStreamCaptureUnsupported);
    waits++;
    drain_device(current_device);
    return cudaSuccess;
}

cudaError_t CUDARTAPI cudaEventCreateWithFlags(cudaEvent_t *out, unsigned int) {
    CALL;
    event *e = new event;
    events.insert(e);
    *out = reinterpret_cast<cudaEvent_t>(e);
    return cudaSuccess;
}

cudaError_t CUDARTAPI cudaEventDestroy(cudaEvent_t handle) {
    std::lock_guard<std::recursive_mutex> guard(lock);
    const bool fails = told_to_fail(__func__);
    event *e = reinterpret_cast<event *>(handle);
    if (events.erase(e) == 0) return give(cudaErrorInvalidResourceHandle);
    delete e;
    return fails ? last_error : cudaSuccess;
}

cudaError_t CUDARTAPI cudaEventRecord(cudaEvent_t handle, cudaStream_t on) {
    CALL;
    event *e = reinterpret_cast<event *>(handle);
    stream *s = stream_of(on);
    if (events.count(e) == 0 || s == nullptr) return give(cudaErrorInvalidResourceHandle);
    work w;
    w.record = e;
    w.count = ++e->recorded;
    e->on = s;
    /* In a graph the nodes run in the order of their capture: what is before the event is before it. */
    e->captured = s->capture;
    e->covers = s->captured;
    if (s->capture == nullptr) s->queue.push_back(w);
    return cudaSuccess;
}

cudaError_t CUDARTAPI cudaEventSynchronize(cudaEvent_t handle) {
    CALL;
    event *e = reinterpret_cast<event *>(handle);
    if (events.count(e) == 0) return give(cudaErrorInvalidResourceHandle);
    if (e->captured != nullptr) return give(cudaErrorCapturedEvent);
    waits++;
    drain_to(e, e->recorded);
    return cudaSuccess;
}

/* The time that emulating took: it says nothing of a device. */
cudaError_t CUDARTAPI cudaEventElapsedTime(float *ms, cudaEvent_t from, cudaEvent_t to) {
    CALL;
    const event *a = reinterpret_cast<event *>(from), *b = reinterpret_cast<event *>(to);
    if (events.count(reinterpret_cast<event *>(from)) == 0 ||
        events.count(reinterpret_cast<event *>(to)) == 0)
        return give(cudaErrorInvalidResourceHandle);
    if (a->done < a->recorded || b->done < b->recorded) return give(cudaErrorNotReady);
    *ms = static_cast<float>(1e3 * (b->at - a->at));
    return cudaSuccess;
}

cudaError_t CUDARTAPI cudaStreamWaitEvent(cudaStream_t handle, cudaEvent_t waited, unsigned int) {
    CALL;
    event *e = reinterpret_cast<event *>(waited);
    stream *s = stream_of(handle);
    if (events.count(e) == 0 || s == nullptr) return give(cudaErrorInvalidResourceHandle);
    if (e->captured != nullptr) {
        if (s->capture != nullptr && s->capture != e->captured) return give(cudaErrorStreamCaptureIsolation);
        if (s->capture == nullptr) {
            s->joined = true;
            s->captured = s->waited_for = 0;
        }
        s->capture = e->captured; /* the stream joins the capture */
        if (e->on != s && e->on->waited_for < e->covers) e->on->waited_for = e->covers;
        return cudaSuccess;
    }
    work w;
    w.wait = e;
    w.count = e->recorded;
    s->queue.push_back(w);
    return cudaSuccess;
}

/* ---------------------------------------------------------------- graphs */

cudaError_t CUDARTAPI cudaStreamIsCapturing(cudaStream_t handle, cudaStreamCaptureStatus *status) {
    CALL;
    const stream *s = stream_of(handle);
    if (s == nullptr) return give(cudaErrorInvalidResourceHandle);
    *status = s->capture == nullptr ? cudaStreamCaptureStatusNone
              : s->capture->broken  ? cudaStreamCaptureStatusInvalidated
                                    : cudaStreamCaptureStatusActive;
    return cudaSuccess;
}

cudaError_t CUDARTAPI cudaStreamBeginCapture(cudaStream_t handle, cudaStreamCaptureMode) {
    if (prompt) drain_device(current_device);
    CALL;
    stream *s = stream_of(handle);
    if (s == nullptr || s == &default_stream[s->device] || s->capture != nullptr)
        return give(cudaErrorStreamCaptureUnsupported);
    s->capture = new graph;
    return cudaSuccess;
}

cudaError_t CUDARTAPI cudaStreamEndCapture(cudaStream_t handle, cudaGraph_t *out) {
    CALL;
    stream *s = stream_of(handle);
    if (s == nullptr || s->capture == nullptr || s->joined) return give(cudaErrorIllegalState);
    graph *g = s->capture;
    s->capture = nullptr;
    bool unjoined = false;
    for (stream *other : streams) {
        if (other->capture != g) continue;
        unjoined |= other->waited_for < other->captured;
        other->capture = nullptr;
        other->joined = false;
    }
    for (event *e : events) {
        if (e->captured == g) e->captured = nullptr;
    }
    *out = nullptr;
    if (g->broken || unjoined) {
        const cudaError_t why = unjoined ? cudaErrorStreamCaptureUnjoined : cudaErrorStreamCaptureInvalidated;
        delete g;
        return give(why);
    }
    graphs.insert(g);
    *out = reinterpret_cast<cudaGraph_t>(g);
    return cudaSuccess;
}

cudaError_t CUDARTAPI cudaGraphInstantiate(cudaGraphExec_t *out, cudaGraph_t handle, unsigned long long) {
    CALL;
    graph *g = reinterpret_cast<graph *>(handle);
    if (graphs.count(g) == 0) return give(cudaErrorInvalidValue);
    graph *copy = new graph(*g);
    executables.insert(copy);
    *out = reinterpret_cast<cudaGraphExec_t>(copy);
    return cudaSuccess;
}

cudaError_t CUDARTAPI cudaGraphInstantiateWithFlags(cudaGraphExec_t *out, cudaGraph_t handle,
                                                    unsigned long long flags) {
    return cudaGraphInstantiate(out, handle, flags);
}

cudaError_t CUDARTAPI cudaGraphLaunch(cudaGraphExec_t handle, cudaStream_t on) {
    if (prompt) drain_device(current_device);
    CALL;
    graph *g = reinterpret_cast<graph *>(handle);
    stream *s = stream_of(on);
    if (executables.count(g) == 0 || s == nullptr) return give(cudaErrorInvalidValue);
    for (const work &w : g->nodes) s->queue.push_back(w);
    return cudaSuccess;
}

cudaError_t CUDARTAPI cudaGraphDestroy(cudaGraph_t handle) {
    std::lock_guard<std::recursive_mutex> guard(lock);
    const bool fails = told_to_fail(__func__);
    graph *g = reinterpret_cast<graph *>(handle);
    if (graphs.erase(g) == 0) return give(cudaErrorInvalidValue);
    delete g;
    return fails ? last_error : cudaSuccess;
}

cudaError_t CUDARTAPI cudaGraphExecDestroy(cudaGraphExec_t handle) {
    std::lock_guard<std::recursive_mutex> guard(lock);
    const bool fails = told_to_fail(__func__);
    graph *g = reinterpret_cast<graph *>(handle);
    if (executables.erase(g) == 0) return give(cudaErrorInvalidValue);
    delete g;
    return fails ? last_error : cudaSuccess;
}

/* ---------------------------------------------------------------- doubles of libraries */

int32_t emulation_enqueue(void *handle, void (*run)(void *ctx), void (*drop)(void *ctx), void *ctx) {
    std::lock_guard<std::recursive_mutex> guard(lock);
    const int device = current_device;
    const std::shared_ptr<void> kept(ctx, [drop](void *p) {
        if (drop != nullptr) drop(p);
    });
    return enqueue(static_cast<cudaStream_t>(handle), [=] {
        shadow_launch();
        memory_open(device);
        run(kept.get());
        memory_close(device);
    });
}

void emulation_read(const void *p, int64_t bytes) {
    shadow_read(p, static_cast<size_t>(bytes));
}

void emulation_wrote(const void *p, int64_t bytes) {
    shadow_written(p, static_cast<size_t>(bytes));
}

int32_t emulation_is_device(const void *p, int64_t bytes) {
    std::lock_guard<std::recursive_mutex> guard(lock);
    const allocation *a = memory_find(p);
    return a != nullptr && a->device == current_device &&
           static_cast<const char *>(p) + bytes <= a->data + a->size;
}

/* ---------------------------------------------------------------- what tests tell and ask */

void emulation_arm(int64_t at, int32_t error) {
    armed = false;
    calls = 0;
    fail_at = at;
    fail_with = static_cast<cudaError_t>(error);
    failed.clear();
}

void emulation_watch(int32_t on) {
    armed = on != 0;
}

int64_t emulation_disarm(void) {
    armed = false;
    fail_at = 0;
    last_error = cudaSuccess;
    return calls;
}

const char *emulation_failed_call(void) {
    return failed.c_str();
}

void emulation_fail_named(const char *name, int32_t error) {
    fail_name = name != nullptr ? name : "";
    fail_named_with = static_cast<cudaError_t>(error);
    fail_named_once = false;
    fail_named_from = named_calls = 0;
}

int64_t emulation_launches(void) {
    return launches;
}

int64_t emulation_unloaded(void) {
    return unloaded;
}

int64_t emulation_bytes_allocated(void) {
    return bytes_allocated;
}

int64_t emulation_waits(void) {
    return waits;
}

int64_t emulation_alive(void) {
    return memory_count() + static_cast<int64_t>(pinned.size() + streams.size() + events.size() +
                                                 graphs.size() + executables.size());
}

void emulation_machine(int32_t count, int32_t version) {
    devices = count;
    driver = version;
}

void emulation_first_device(int32_t number) {
    first_device = number;
}

void emulation_capability(int32_t ten_times) {
    capability = ten_times;
}

int32_t emulation_contexts(void) {
    return (primary[0] ? 1 : 0) | (primary[1] ? 2 : 0);
}

void emulation_forget_contexts(int32_t current) {
    primary[0] = primary[1] = false;
    context = -1;
    current_device = current;
}

void emulation_memory(int64_t bytes) {
    memory_limit(bytes);
}

} // extern "C"
