/* The networks that a host offers a plugin. */
#include "train/host_networks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/nearest.h"

static void add(dukd_host_networks *n, const char *name, dukd_role role, const dukd_graph *g) {
    if (!g) return;
    n->names[n->count] = name;
    n->roles[n->count] = role;
    n->graphs[n->count++] = g;
}

dukd_host_networks dukd_host_networks_of(const dukd_graph *student, const dukd_graph *teacher,
                                         const dukd_graph *features) {
    dukd_host_networks n = {0};
    add(&n, "student", DUKD_ROLE_STUDENT, student);
    add(&n, "teacher", DUKD_ROLE_TEACHER, teacher);
    add(&n, "features", DUKD_ROLE_FEATURES, features);
    return n;
}

static void refuse_layer(const dukd_graph *g, const char *layer, dukd_failure *f) {
    const int32_t count = dukd_graph_layer_count(g);
    const char **names = calloc((size_t)count + 1, sizeof *names);
    if (!names) {
        dukd_fail_memory(f, "the names of layers", (unsigned long long)count * sizeof *names);
        return;
    }
    for (int32_t i = 0; i < count; i++) names[i] = dukd_graph_layer_name(g, i, NULL);
    const int32_t near = dukd_nearest(layer, names, count, sizeof *names);
    if (near >= 0)
        dukd_fail(f, DUKD_MISUSED, "there is no layer '%.60s'; did you mean '%.60s'?", layer, names[near]);
    else if (count)
        dukd_fail(f, DUKD_MISUSED, "there is no layer '%.60s'; its layers are '%.60s' to '%.60s'", layer,
                  names[0], names[count - 1]);
    else
        dukd_fail(f, DUKD_MISUSED, "there is no layer '%.60s': this network names none", layer);
    free((void *)names);
}

dukd_value dukd_host_tap_value(const dukd_host_networks *n, const dukd_tap *tap, dukd_failure *f) {
    if (tap->network >= n->count) {
        dukd_fail(f, DUKD_MISUSED, "there is no network %u, only %u", tap->network, n->count);
        return -1;
    }
    const dukd_graph *g = n->graphs[tap->network];
    if (tap->from_layer) {
        dukd_fail(f, DUKD_MISUSED,
                  "this host computes taps from the beginning of a network, not from a layer ('%.60s')",
                  tap->from_layer);
        return -1;
    }
    if (!tap->layer) return dukd_graph_output(g);
    const dukd_value v = dukd_graph_find_layer(g, tap->layer);
    if (v < 0) refuse_layer(g, tap->layer, f);
    return v;
}

int dukd_host_tap_shape(const dukd_host_networks *n, const dukd_tap *tap, const int64_t in[4], int64_t out[4],
                        dukd_failure *f) {
    const dukd_value v = dukd_host_tap_value(n, tap, f);
    if (v < 0) return DUKD_MISUSED;
    const dukd_graph *g = n->graphs[tap->network];
    const int32_t channels = dukd_graph_op(g, 0)->channels;
    if (in[0] < 1 || in[1] != channels)
        return dukd_fail(
            f, DUKD_MISUSED, "it takes images of %d channels, not a source of %lld x %lld x %lld x %lld",
            (int)channels, (long long)in[0], (long long)in[1], (long long)in[2], (long long)in[3]);
    const int status = dukd_graph_check_size(g, in[2], in[3], f);
    if (status) return status;
    out[0] = in[0];
    out[1] = dukd_graph_op(g, v)->channels;
    dukd_graph_size(g, v, in[2], in[3], &out[2]);
    return DUKD_DONE;
}
