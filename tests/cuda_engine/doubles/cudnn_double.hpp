/* Between the files of cuDNN's double. */
#pragma once

#include "doubles.h"

#include <cudnn.h>

#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace cudnn_double {

struct node;
using node_ref = std::shared_ptr<node>;

struct attribute {
    cudnnBackendAttributeType_t type;
    int64_t count;
    std::vector<char> bytes;     /* of no descriptors */
    std::vector<node_ref> nodes; /* of descriptors */
};

/* What a descriptor stands for; others may hold it after the descriptor is gone. */
struct node {
    cudnnBackendDescriptorType_t type;
    bool finalized = false;
    std::map<int, attribute> attributes;
    cudnnBackendDescriptor_t real = nullptr; /* the real library's, where it looks at this one */
    int config = -1;                         /* of the doubled heuristics; see cudnn_heuristics.cpp */
    int64_t proposals = 0;                   /* of its heuristics */
    node_ref graph;                          /* of a heuristics, configuration, engine or plan */
    ~node();
};

/* The real library's functions; NULL where it is not installed. */
struct real_functions {
    decltype(&cudnnBackendCreateDescriptor) create;
    decltype(&cudnnBackendDestroyDescriptor) destroy;
    decltype(&cudnnBackendSetAttribute) set;
    decltype(&cudnnBackendGetAttribute) get;
    decltype(&cudnnBackendFinalize) finalize;
    decltype(&cudnnGetLastErrorString) last_error;
    decltype(&cudnnGetErrorString) error_string;
};
const real_functions *real();

/* Keeps what cudnnGetLastErrorString gives, and returns `status`. */
cudnnStatus_t refuse(cudnnStatus_t status, const std::string &why);
/* The same with the real library's text. */
cudnnStatus_t refuse_real(cudnnStatus_t status);

const char *type_name(cudnnBackendDescriptorType_t type);

/* An attribute's values; fewer than `count`: false. */
template <class T> bool values(const node &n, int name, int64_t count, T *out) {
    const auto found = n.attributes.find(name);
    if (found == n.attributes.end() || found->second.count < count) return false;
    if (found->second.bytes.size() < sizeof(T) * static_cast<size_t>(count)) return false;
    memcpy(out, found->second.bytes.data(), sizeof(T) * static_cast<size_t>(count));
    return true;
}
node_ref child(const node &n, int name, size_t index = 0);
size_t children(const node &n, int name);

/* A tensor's descriptor, read. */
struct shape {
    int64_t id = 0, dims[4] = {}, strides[4] = {}, alignment = 0;
    cudnnDataType_t type = CUDNN_DATA_FLOAT;
    bool is_virtual = false;
    int64_t elements() const { return dims[0] * dims[1] * dims[2] * dims[3]; }
};
bool read_shape(const node &n, shape *out);

/* A convolution operation's parts, by role: x, w and y (or dx, dw, dy in their places). */
struct conv_parts {
    node_ref x, w, y, conv;
    float alpha = 0, beta = 0;
};
bool read_conv(const node &op, conv_parts *out);

/* cudnn_checks.cpp: what finalizing finds wrong, "" nothing. */
std::string check(const node &n);

/* cudnn_heuristics.cpp */
cudnnStatus_t finalize_heuristics(node &n);
cudnnStatus_t finalize_plan(node &n);
cudnnStatus_t get_of_heuristics(const node &n, cudnnBackendAttributeName_t name, int64_t room, int64_t *count,
                                void *out);
/* What an engine does to the operands, and its workspace. */
struct engine_kind {
    std::vector<cudnnBackendNumericalNote_t> notes;
    int64_t workspace;
    bool makes_plan;
};
const engine_kind &engine_of(int config);

/* cudnn_execute.cpp */
cudnnStatus_t execute(cudaStream_t stream, const node_ref &plan, const node_ref &pack);

/* What a descriptor's handle means; NULL: none is there. */
node_ref node_of(cudnnBackendDescriptor_t d);
void put_node(cudnnBackendDescriptor_t d, const node_ref &n);

} // namespace cudnn_double
