/* The networks that a host offers a plugin, and what their taps are.
 *
 * The student comes first; the teacher and the feature extractor follow where there are such. Layers are named as the graphs name
 * them (models/). A layer "from" which a tap is computed is refused: an engine runs a graph from its beginning.
 * [thread-safe, once filled] */
#ifndef DUKD_HOST_NETWORKS_H
#define DUKD_HOST_NETWORKS_H

#include <stdint.h>

#include "common/failure.h"
#include "dukd_plugin.h"
#include "graph/graph.h"

#define DUKD_MAX_NETWORKS 3

typedef enum { DUKD_ROLE_STUDENT, DUKD_ROLE_TEACHER, DUKD_ROLE_FEATURES } dukd_role;

typedef struct {
    uint32_t count;
    const char *names[DUKD_MAX_NETWORKS]; /* "student", "teacher", "features": for dukd_host */
    dukd_role roles[DUKD_MAX_NETWORKS];
    const dukd_graph *graphs[DUKD_MAX_NETWORKS];
} dukd_host_networks;

/* teacher and features may be NULL. The graphs outlive the result. */
dukd_host_networks dukd_host_networks_of(const dukd_graph *student, const dukd_graph *teacher,
                                         const dukd_graph *features);

/* The value of its network's graph that a tap names. -1: there is none, and f says why (nearest layer names included). */
dukd_value dukd_host_tap_value(const dukd_host_networks *n, const dukd_tap *tap, dukd_failure *f);

/* What dukd_host.tap_shape answers. in: N, C, H, W of the tap's source. Not 0: the failure says why. */
int dukd_host_tap_shape(const dukd_host_networks *n, const dukd_tap *tap, const int64_t in[4], int64_t out[4],
                        dukd_failure *f);

#endif
