/* cuDNN's functions: handles and descriptors. */
#include "cudnn_double.hpp"
#include "emulation.h"

#include <cstdio>
#include <cstdlib>
#include <dlfcn.h>
#include <set>

namespace cudnn_double {

namespace {

std::string last_text;
int64_t full_with = -1; /* what was alive when there was no room first, since the last handle was made */
struct handle {
    cudaStream_t stream = nullptr;
};
std::set<handle *> handles;
std::map<cudnnBackendDescriptor_t, node_ref> descriptors;

template <class F> bool find(void *library, const char *name, F *out) {
    void *symbol = dlsym(library, name);
    memcpy(out, &symbol, sizeof symbol);
    return symbol != nullptr;
}

/* Of these the real library makes one for a device that is not there only when it is told what that device is like. */
bool needs_device(cudnnBackendDescriptorType_t type) {
    return type == CUDNN_BACKEND_ENGINE_DESCRIPTOR || type == CUDNN_BACKEND_ENGINECFG_DESCRIPTOR ||
           type == CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR || type == CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR;
}

/* The real parts, before the real library looks for them where the doubles are. */
void open_parts(void *library) {
    const std::string path = DOUBLES_REAL_CUDNN, folder = path.substr(0, path.rfind('/') + 1);
    Lmid_t space = LM_ID_BASE;
    if (dlinfo(library, RTLD_DI_LMID, &space) != 0) return;
    for (const char *part : {"graph", "ops", "engines_precompiled", "engines_runtime_compiled", "heuristic"})
        (void)dlmopen(space, (folder + "libcudnn_" + part + ".so.9").c_str(), RTLD_NOW | RTLD_LOCAL);
}

/* Kernels are loaded at an execution. Once there was no room for them, there is when something was given back. */
bool has_room() {
    if ((doubles_refused() & DOUBLES_NO_ROOM) == 0) return true;
    if (full_with < 0) full_with = emulation_alive();
    return emulation_alive() < full_with;
}

} // namespace

const real_functions *real() {
    static real_functions functions;
    static const bool there = [] {
        if (DOUBLES_REAL_CUDNN[0] == 0) return false;
        /* In a namespace of its own: it opens cuBLASLt by name, and must not find the double. */
        void *library = dlmopen(LM_ID_NEWLM, DOUBLES_REAL_CUDNN, RTLD_NOW | RTLD_LOCAL);
        if (library == nullptr) {
            fprintf(stderr, "the real cuDNN cannot be opened: %s\n", dlerror());
            return false;
        }
        open_parts(library);
        return find(library, "cudnnBackendCreateDescriptor", &functions.create) &&
               find(library, "cudnnBackendDestroyDescriptor", &functions.destroy) &&
               find(library, "cudnnBackendSetAttribute", &functions.set) &&
               find(library, "cudnnBackendGetAttribute", &functions.get) &&
               find(library, "cudnnBackendFinalize", &functions.finalize) &&
               find(library, "cudnnGetLastErrorString", &functions.last_error) &&
               find(library, "cudnnGetErrorString", &functions.error_string);
    }();
    return there ? &functions : nullptr;
}

cudnnStatus_t refuse(cudnnStatus_t status, const std::string &why) {
    last_text = why;
    return status;
}

cudnnStatus_t refuse_real(cudnnStatus_t status) {
    char text[512] = "";
    real()->last_error(text, sizeof text);
    return refuse(status, text);
}

node::~node() {
    if (real != nullptr) (void)cudnn_double::real()->destroy(real);
}

node_ref node_of(cudnnBackendDescriptor_t d) {
    const auto found = descriptors.find(d);
    return found == descriptors.end() ? nullptr : found->second;
}

void put_node(cudnnBackendDescriptor_t d, const node_ref &n) {
    descriptors[d] = n;
}

node_ref child(const node &n, int name, size_t index) {
    const auto found = n.attributes.find(name);
    if (found == n.attributes.end() || found->second.nodes.size() <= index) return nullptr;
    return found->second.nodes[index];
}

size_t children(const node &n, int name) {
    const auto found = n.attributes.find(name);
    return found == n.attributes.end() ? 0 : found->second.nodes.size();
}

const char *type_name(cudnnBackendDescriptorType_t type) {
    switch (type) {
    case CUDNN_BACKEND_TENSOR_DESCRIPTOR:
        return "tensor";
    case CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR:
        return "convolution";
    case CUDNN_BACKEND_POINTWISE_DESCRIPTOR:
        return "pointwise";
    case CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR:
        return "operation: forward convolution";
    case CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR:
        return "operation: data gradient";
    case CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR:
        return "operation: weights gradient";
    case CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR:
        return "operation: pointwise";
    case CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR:
        return "operation graph";
    case CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR:
        return "heuristics";
    case CUDNN_BACKEND_ENGINE_DESCRIPTOR:
        return "engine";
    case CUDNN_BACKEND_ENGINECFG_DESCRIPTOR:
        return "engine configuration";
    case CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR:
        return "execution plan";
    case CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR:
        return "variant pack";
    default:
        return NULL;
    }
}

static size_t size_of(cudnnBackendAttributeType_t type) {
    switch (type) {
    case CUDNN_TYPE_HANDLE:
    case CUDNN_TYPE_VOID_PTR:
        return sizeof(void *);
    case CUDNN_TYPE_BOOLEAN:
        return sizeof(bool);
    case CUDNN_TYPE_INT64:
    case CUDNN_TYPE_DOUBLE:
        return 8;
    case CUDNN_TYPE_DATA_TYPE:
    case CUDNN_TYPE_FLOAT:
    case CUDNN_TYPE_CONVOLUTION_MODE:
    case CUDNN_TYPE_HEUR_MODE:
    case CUDNN_TYPE_POINTWISE_MODE:
        return 4;
    default:
        return 0;
    }
}

static void note(const node &n, const char *what) {
    char text[128];
    (void)snprintf(text, sizeof text, "cuDNN: %s, %s", type_name(n.type), what);
    doubles_note(text, n.real != nullptr);
}

static cudnnStatus_t set(node &n, cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
                         int64_t count, const void *data) {
    if (n.finalized)
        return refuse(CUDNN_STATUS_NOT_INITIALIZED, "an attribute of a descriptor that is finalized");
    attribute a = {type, count, {}, {}};
    std::vector<cudnnBackendDescriptor_t> reals;
    if (type == CUDNN_TYPE_BACKEND_DESCRIPTOR) {
        const auto *list = static_cast<const cudnnBackendDescriptor_t *>(data);
        for (int64_t i = 0; i < count; i++) {
            const node_ref of = node_of(list[i]);
            if (of == nullptr)
                return refuse(CUDNN_STATUS_BAD_PARAM_NULL_POINTER, "a descriptor that is not there");
            if (!of->finalized)
                return refuse(CUDNN_STATUS_BAD_PARAM_NOT_FINALIZED, "a descriptor that is not finalized");
            a.nodes.push_back(of);
            reals.push_back(of->real);
        }
    } else {
        const size_t size = size_of(type);
        if (size == 0 || data == nullptr)
            return refuse(CUDNN_STATUS_BAD_PARAM_ATTRIBUTE_TYPE, "a type of an attribute");
        a.bytes.assign(static_cast<const char *>(data),
                       static_cast<const char *>(data) + size * static_cast<size_t>(count));
    }
    if (type == CUDNN_TYPE_HANDLE) {
        handle *h;
        memcpy(&h, data, sizeof h);
        if (handles.count(h) == 0) return refuse(CUDNN_STATUS_BAD_PARAM, "a handle that is not there");
    } else if (n.real != nullptr) {
        const cudnnStatus_t status =
            real()->set(n.real, name, type, count, reals.empty() ? data : reals.data());
        if (status != CUDNN_STATUS_SUCCESS) return refuse_real(status);
    }
    n.attributes[name] = a;
    return CUDNN_STATUS_SUCCESS;
}

static cudnnStatus_t finalize(node &n) {
    if (n.finalized) return refuse(CUDNN_STATUS_BAD_PARAM, "finalized twice");
    if (n.type == CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR &&
        (doubles_refused() & DOUBLES_NO_POINTWISE) != 0)
        return refuse(CUDNN_STATUS_NOT_SUPPORTED, "an operation that this version does not know");
    const std::string wrong = check(n);
    if (!wrong.empty()) return refuse(CUDNN_STATUS_BAD_PARAM, wrong);
    note(n, "finalized");
    cudnnStatus_t status = CUDNN_STATUS_SUCCESS;
    if (n.type == CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR) {
        status = finalize_heuristics(n);
    } else if (n.type == CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR) {
        status = finalize_plan(n);
    } else if (n.real != nullptr) {
        status = real()->finalize(n.real);
        if (status != CUDNN_STATUS_SUCCESS) return refuse_real(status);
    }
    n.finalized = status == CUDNN_STATUS_SUCCESS;
    return status;
}

} // namespace cudnn_double

using namespace cudnn_double;

#define CALL                                                                                                 \
    if (doubles_told_to_fail(__func__) != 0)                                                                 \
    return refuse(CUDNN_STATUS_INTERNAL_ERROR, "a failure that was asked for")

#pragma GCC visibility push(default)
extern "C" {

size_t CUDNNWINAPI cudnnGetVersion(void) {
    return CUDNN_VERSION;
}

/* DOUBLES_CUDNN_CUDA in the environment: another version of CUDA that it was built for. */
size_t CUDNNWINAPI cudnnGetCudartVersion(void) {
    const char *told = getenv("DOUBLES_CUDNN_CUDA");
    return told != nullptr ? strtoul(told, nullptr, 10) : 13000;
}

const char *CUDNNWINAPI cudnnGetErrorString(cudnnStatus_t status) {
    if (real() != nullptr) return real()->error_string(status);
    return status == CUDNN_STATUS_SUCCESS          ? "CUDNN_STATUS_SUCCESS"
           : status == CUDNN_STATUS_INTERNAL_ERROR ? "CUDNN_STATUS_INTERNAL_ERROR"
           : status >= 3000 && status < 4000       ? "CUDNN_STATUS_NOT_SUPPORTED"
                                                   : "CUDNN_STATUS_BAD_PARAM";
}

void CUDNNWINAPI cudnnGetLastErrorString(char *message, size_t max_size) {
    (void)snprintf(message, max_size, "%s", last_text.c_str());
    last_text.clear();
}

cudnnStatus_t CUDNNWINAPI cudnnCreate(cudnnHandle_t *out) {
    CALL;
    if ((doubles_refused() & DOUBLES_NO_DEVICE) != 0)
        return refuse(CUDNN_STATUS_NOT_INITIALIZED, "cudaGetDeviceCount(&count) != cudaSuccess");
    full_with = -1;
    handle *h = new handle;
    handles.insert(h);
    doubles_count(1);
    doubles_note("cuDNN: handle", 0);
    *out = reinterpret_cast<cudnnHandle_t>(h);
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t CUDNNWINAPI cudnnDestroy(cudnnHandle_t h) {
    if (handles.erase(reinterpret_cast<handle *>(h)) == 0) return refuse(CUDNN_STATUS_BAD_PARAM, "no handle");
    delete reinterpret_cast<handle *>(h);
    doubles_count(-1);
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t CUDNNWINAPI cudnnSetStream(cudnnHandle_t h, cudaStream_t stream) {
    CALL;
    if (handles.count(reinterpret_cast<handle *>(h)) == 0) return refuse(CUDNN_STATUS_BAD_PARAM, "no handle");
    reinterpret_cast<handle *>(h)->stream = stream;
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t CUDNNWINAPI cudnnBackendCreateDescriptor(cudnnBackendDescriptorType_t type,
                                                       cudnnBackendDescriptor_t *out) {
    CALL;
    if (type_name(type) == nullptr)
        return refuse(CUDNN_STATUS_NOT_SUPPORTED, "a descriptor that the double does not know");
    const node_ref n = std::make_shared<node>();
    n->type = type;
    if (real() != nullptr && (!needs_device(type) || doubles_device_json() != nullptr)) {
        const cudnnStatus_t status = real()->create(type, &n->real);
        if (status != CUDNN_STATUS_SUCCESS) return refuse_real(status);
    }
    *out = malloc(1);
    put_node(*out, n);
    doubles_count(1);
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t CUDNNWINAPI cudnnBackendDestroyDescriptor(cudnnBackendDescriptor_t d) {
    if (descriptors.erase(d) == 0) {
        fprintf(stderr, "cuDNN's double: a descriptor that is not there is destroyed\n");
        abort();
    }
    free(d);
    doubles_count(-1);
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t CUDNNWINAPI cudnnBackendSetAttribute(cudnnBackendDescriptor_t d,
                                                   cudnnBackendAttributeName_t name,
                                                   cudnnBackendAttributeType_t type, int64_t count,
                                                   const void *data) {
    CALL;
    const node_ref n = node_of(d);
    if (n == nullptr) return refuse(CUDNN_STATUS_BAD_PARAM_NULL_POINTER, "no descriptor");
    return set(*n, name, type, count, data);
}

cudnnStatus_t CUDNNWINAPI cudnnBackendGetAttribute(cudnnBackendDescriptor_t const d,
                                                   cudnnBackendAttributeName_t name,
                                                   cudnnBackendAttributeType_t type, int64_t room,
                                                   int64_t *count, void *out) {
    CALL;
    const node_ref n = node_of(d);
    if (n == nullptr) return refuse(CUDNN_STATUS_BAD_PARAM_NULL_POINTER, "no descriptor");
    int64_t written = 0;
    const cudnnStatus_t status = get_of_heuristics(*n, name, room, &written, out);
    if (count != nullptr) *count = written;
    (void)type;
    return status;
}

cudnnStatus_t CUDNNWINAPI cudnnBackendFinalize(cudnnBackendDescriptor_t d) {
    CALL;
    const node_ref n = node_of(d);
    if (n == nullptr) return refuse(CUDNN_STATUS_BAD_PARAM_NULL_POINTER, "no descriptor");
    return finalize(*n);
}

cudnnStatus_t CUDNNWINAPI cudnnBackendExecute(cudnnHandle_t h, cudnnBackendDescriptor_t plan,
                                              cudnnBackendDescriptor_t pack) {
    CALL;
    const node_ref p = node_of(plan), v = node_of(pack);
    if (handles.count(reinterpret_cast<handle *>(h)) == 0 || p == nullptr || v == nullptr)
        return refuse(CUDNN_STATUS_BAD_PARAM_NULL_POINTER, "no handle, plan or variant pack");
    if (!has_room())
        return refuse(CUDNN_STATUS_INTERNAL_ERROR, "there is no room on the device for the kernels");
    doubles_note("cuDNN: execution", 0);
    return execute(reinterpret_cast<handle *>(h)->stream, p, v);
}

} // extern "C"
#pragma GCC visibility pop
