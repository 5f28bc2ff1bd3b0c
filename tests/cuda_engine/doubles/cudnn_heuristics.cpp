/* Heuristics, engines and plans: doubled with engines that a caller must tell apart, or the real library's own for a device that it
 * is told about. */
#include "cudnn_double.hpp"

#include <cstdio>

namespace cudnn_double {

namespace {

/* In the order in which mode A proposes them; the last is the fallback. What the notes say an engine does (rounding its operands, an
 * order that changes) the double does, so that values show an engine that should not have been taken. */
const engine_kind engines[] = {
    {{CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC}, 0, true},
    {{CUDNN_NUMERICAL_NOTE_TENSOR_CORE, CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS}, 0, true},
    {{CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION}, 0, true},
    {{CUDNN_NUMERICAL_NOTE_FFT}, 0, true},
    {{CUDNN_NUMERICAL_NOTE_WINOGRAD, CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_6x6}, 0, true},
    {{}, int64_t(1) << 40, true}, /* too much workspace */
    {{}, int64_t(3) << 29, true}, /* the same for the largest convolutions */
    {{}, 0, false},               /* a proposal that makes no plan */
    {{CUDNN_NUMERICAL_NOTE_TENSOR_CORE}, 4096, true},
    {{CUDNN_NUMERICAL_NOTE_STRICT_NAN_PROP}, 1000, true},
    {{}, 0, true},
};
const int engine_count = sizeof engines / sizeof *engines, proposals_of_a = engine_count - 1;

bool is_pointwise(const node &op) {
    return op.type == CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR;
}

cudnnDataType_t output_type(const node &graph) {
    const node_ref last =
        child(graph, CUDNN_ATTR_OPERATIONGRAPH_OPS, children(graph, CUDNN_ATTR_OPERATIONGRAPH_OPS) - 1);
    shape s;
    const node_ref to = is_pointwise(*last) ? child(*last, CUDNN_ATTR_OPERATION_POINTWISE_YDESC) : nullptr;
    return to != nullptr && read_shape(*to, &s) ? s.type : CUDNN_DATA_FLOAT;
}

/* What the emulated device was told not to support. */
bool supported(const node &graph) {
    const int32_t refused = doubles_refused();
    const size_t count = children(graph, CUDNN_ATTR_OPERATIONGRAPH_OPS);
    if ((refused & DOUBLES_NO_CONVOLUTION) != 0 || ((refused & DOUBLES_NO_FUSION) != 0 && count > 1))
        return false;
    for (size_t i = 0; i < count; i++) {
        const node_ref op = child(graph, CUDNN_ATTR_OPERATIONGRAPH_OPS, i);
        conv_parts parts;
        shape x, w, b;
        if (is_pointwise(*op)) {
            const node_ref second = child(*op, CUDNN_ATTR_OPERATION_POINTWISE_BDESC);
            if ((refused & DOUBLES_NO_MIXED_BIAS) != 0 && second && read_shape(*second, &b) &&
                b.elements() == b.dims[1] && b.type == CUDNN_DATA_FLOAT &&
                output_type(graph) != CUDNN_DATA_FLOAT)
                return false;
            if ((refused & DOUBLES_NO_FUSED_ADDEND) != 0 && second && read_shape(*second, &b) &&
                b.dims[0] * b.dims[2] * b.dims[3] > 1)
                return false;
        } else if (read_conv(*op, &parts) && read_shape(*parts.x, &x) && read_shape(*parts.w, &w)) {
            if ((refused & DOUBLES_NO_BETA) != 0 && parts.beta != 0) return false;
            if ((refused & DOUBLES_NO_MIXED) != 0 && x.type != w.type) return false;
            if ((refused & DOUBLES_NO_NARROW) != 0 && w.type == CUDNN_DATA_BFLOAT16 &&
                op->type == CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR)
                return false;
        }
    }
    return true;
}

cudnnStatus_t real_child(const node &n, cudnnBackendAttributeName_t name, cudnnBackendDescriptor_t *out) {
    int64_t count = 0;
    return real()->get(n.real, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &count, out);
}

/* The real library's description of the device; made anew for each use, which keeps its own copy. */
cudnnStatus_t make_device(cudnnBackendDescriptor_t *out) {
    const char *json = doubles_device_json();
    cudnnStatus_t status = real()->create(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR, out);
    if (status == CUDNN_STATUS_SUCCESS)
        status = real()->set(*out, CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, CUDNN_TYPE_CHAR,
                             static_cast<int64_t>(strlen(json)) + 1, json);
    if (status == CUDNN_STATUS_SUCCESS) status = real()->finalize(*out);
    return status;
}

cudnnStatus_t finalize_on_device(node &n, cudnnBackendAttributeName_t name) {
    cudnnBackendDescriptor_t device = nullptr;
    cudnnStatus_t status = make_device(&device);
    if (status == CUDNN_STATUS_SUCCESS)
        status = real()->set(n.real, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &device);
    if (status == CUDNN_STATUS_SUCCESS) status = real()->finalize(n.real);
    const cudnnStatus_t result = status == CUDNN_STATUS_SUCCESS ? status : refuse_real(status);
    if (device != nullptr) (void)real()->destroy(device);
    return result;
}

} // namespace

const engine_kind &engine_of(int config) {
    return engines[config < 0 ? engine_count - 1 : config];
}

cudnnStatus_t finalize_heuristics(node &n) {
    n.graph = child(n, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH);
    if (!supported(*n.graph))
        return refuse(CUDNN_STATUS_NOT_SUPPORTED_GRAPH_PATTERN, "this graph is not supported");
    if (n.real != nullptr) return finalize_on_device(n, CUDNN_ATTR_ENGINEHEUR_DEVICEPROP);
    int mode = -1;
    (void)values(n, CUDNN_ATTR_ENGINEHEUR_MODE, 1, &mode);
    if (mode == CUDNN_HEUR_MODE_FALLBACK) {
        n.proposals = 1;
    } else if (mode == CUDNN_HEUR_MODE_A) {
        n.proposals = (doubles_refused() & DOUBLES_NO_HEURISTICS) != 0 ? 0 : proposals_of_a;
    } else {
        return refuse(CUDNN_STATUS_NOT_SUPPORTED, "a mode that the double does not know");
    }
    return CUDNN_STATUS_SUCCESS;
}

static void note_plan(const node &config, int64_t engine, int64_t workspace,
                      const std::vector<cudnnBackendNumericalNote_t> &notes) {
    doubles_plan *p = doubles_plan_mutable();
    p->plans++;
    p->engine = engine;
    p->workspace = workspace;
    p->proposals = config.proposals;
    p->operations = static_cast<int64_t>(children(*config.graph, CUDNN_ATTR_OPERATIONGRAPH_OPS));
    p->notes = 0;
    for (const auto note : notes) p->notes |= 1 << note;
}

cudnnStatus_t finalize_plan(node &n) {
    const node_ref config = child(n, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG);
    n.graph = config->graph;
    n.config = config->config;
    if (n.real == nullptr) {
        if (!engine_of(n.config).makes_plan)
            return refuse(CUDNN_STATUS_NOT_SUPPORTED, "this engine makes no plan");
        note_plan(*config, n.config, engine_of(n.config).workspace, engine_of(n.config).notes);
        return CUDNN_STATUS_SUCCESS;
    }
    const cudnnStatus_t status = finalize_on_device(n, CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP);
    if (status != CUDNN_STATUS_SUCCESS) return status;
    int64_t count = 0, workspace = 0, index = -1;
    cudnnBackendDescriptor_t engine = nullptr;
    (void)real()->create(CUDNN_BACKEND_ENGINE_DESCRIPTOR, &engine);
    (void)real_child(*config, CUDNN_ATTR_ENGINECFG_ENGINE, &engine);
    (void)real()->get(engine, CUDNN_ATTR_ENGINE_GLOBAL_INDEX, CUDNN_TYPE_INT64, 1, &count, &index);
    (void)real()->get(n.real, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, 1, &count,
                      &workspace);
    std::vector<cudnnBackendNumericalNote_t> notes(32);
    (void)real()->get(engine, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE, 32, &count,
                      notes.data());
    notes.resize(static_cast<size_t>(count));
    (void)real()->destroy(engine);
    note_plan(*config, index, workspace, notes);
    return CUDNN_STATUS_SUCCESS;
}

static cudnnStatus_t get_configs(const node &n, int64_t room, int64_t *count, void *out) {
    auto *list = static_cast<cudnnBackendDescriptor_t *>(out);
    std::vector<cudnnBackendDescriptor_t> reals;
    std::vector<node_ref> nodes;
    for (int64_t i = 0; i < room; i++) {
        const node_ref given = node_of(list[i]);
        if (given == nullptr || given->type != CUDNN_BACKEND_ENGINECFG_DESCRIPTOR)
            return refuse(CUDNN_STATUS_BAD_PARAM_DESCRIPTOR_TYPE, "no configurations to fill");
        nodes.push_back(given);
        reals.push_back(given->real);
    }
    int64_t all = n.proposals;
    if (n.real != nullptr) {
        const cudnnStatus_t status =
            real()->get(n.real, CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR, room, &all,
                        room > 0 ? reals.data() : nullptr);
        if (status != CUDNN_STATUS_SUCCESS) return refuse_real(status);
    }
    *count = room > 0 && room < all ? room : all;
    int mode = 0;
    (void)values(n, CUDNN_ATTR_ENGINEHEUR_MODE, 1, &mode);
    for (int64_t i = 0; i < room && i < all; i++) {
        node &to = *nodes[static_cast<size_t>(i)];
        to.finalized = true;
        to.graph = n.graph;
        to.config = mode == CUDNN_HEUR_MODE_FALLBACK ? engine_count - 1 : static_cast<int>(i);
        to.proposals = all;
    }
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t get_of_heuristics(const node &n, cudnnBackendAttributeName_t name, int64_t room, int64_t *count,
                                void *out) {
    if (!n.finalized)
        return refuse(CUDNN_STATUS_BAD_PARAM_NOT_FINALIZED, "an attribute of what is not finalized");
    if (n.type == CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR && name == CUDNN_ATTR_ENGINEHEUR_RESULTS)
        return get_configs(n, room, count, out);
    if (n.type == CUDNN_BACKEND_ENGINECFG_DESCRIPTOR && name == CUDNN_ATTR_ENGINECFG_ENGINE && room == 1) {
        const node_ref to = node_of(*static_cast<cudnnBackendDescriptor_t *>(out));
        if (to == nullptr) return refuse(CUDNN_STATUS_BAD_PARAM_DESCRIPTOR_TYPE, "no engine to fill");
        if (n.real != nullptr && real_child(n, name, &to->real) != CUDNN_STATUS_SUCCESS)
            return refuse_real(CUDNN_STATUS_BAD_PARAM);
        to->finalized = true;
        to->config = n.config;
        *count = 1;
        return CUDNN_STATUS_SUCCESS;
    }
    if (n.type == CUDNN_BACKEND_ENGINE_DESCRIPTOR && name == CUDNN_ATTR_ENGINE_NUMERICAL_NOTE) {
        if (n.real != nullptr) {
            const cudnnStatus_t status =
                real()->get(n.real, name, CUDNN_TYPE_NUMERICAL_NOTE, room, count, out);
            return status == CUDNN_STATUS_SUCCESS ? status : refuse_real(status);
        }
        const auto &notes = engine_of(n.config).notes;
        *count = static_cast<int64_t>(notes.size());
        for (int64_t i = 0; i < *count && i < room; i++)
            static_cast<cudnnBackendNumericalNote_t *>(out)[i] = notes[static_cast<size_t>(i)];
        return CUDNN_STATUS_SUCCESS;
    }
    if (n.type == CUDNN_BACKEND_ENGINE_DESCRIPTOR && name == CUDNN_ATTR_ENGINE_GLOBAL_INDEX) {
        *count = 1;
        int64_t index = n.config < 0 ? engine_count - 1 : n.config;
        if (n.real != nullptr) (void)real()->get(n.real, name, CUDNN_TYPE_INT64, 1, count, &index);
        memcpy(out, &index, sizeof index);
        return CUDNN_STATUS_SUCCESS;
    }
    if (n.type == CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR &&
        name == CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE) {
        *count = 1;
        int64_t workspace = engine_of(n.config).workspace;
        if (n.real != nullptr) (void)real()->get(n.real, name, CUDNN_TYPE_INT64, 1, count, &workspace);
        memcpy(out, &workspace, sizeof workspace);
        return CUDNN_STATUS_SUCCESS;
    }
    return refuse(CUDNN_STATUS_NOT_SUPPORTED, "an attribute that the double does not know");
}

} // namespace cudnn_double

extern "C" DOUBLES_EXPORT int32_t doubles_check_device(char *why, size_t room) {
    using namespace cudnn_double;
    cudnnBackendDescriptor_t device = nullptr;
    if (real() == nullptr || doubles_device_json() == nullptr) {
        (void)snprintf(why, room, "cuDNN is not installed");
        return 0;
    }
    const cudnnStatus_t status = make_device(&device);
    why[0] = 0;
    if (status != CUDNN_STATUS_SUCCESS) real()->last_error(why, room);
    if (device != nullptr) (void)real()->destroy(device);
    return status == CUDNN_STATUS_SUCCESS;
}
