/* Ranks that begin a run: they must have the same options, data and networks, or they would train different things. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dukd_revision.h"
#include "engine/arrays.h"
#include "engine/join.h"
#include "engine/mirror.h"
#include "train/host_networks.h"
#include "train/trainer_run.h"

/* ---------------------------------------------------------------- options */

/* The first line in which two texts differ, without the spaces before it; at most 200 characters of each. */
static void first_difference(const char *a, const char *b, char line_a[201], char line_b[201]) {
    while (*a && *b) {
        const size_t n = strcspn(a, "\n"), m = strcspn(b, "\n");
        if (n != m || strncmp(a, b, n) != 0) break;
        a += n + (a[n] == '\n');
        b += m + (b[m] == '\n');
    }
    a += strspn(a, " ");
    b += strspn(b, " ");
    snprintf(line_a, 201, "%.*s", (int)strcspn(a, "\n"), a);
    snprintf(line_b, 201, "%.*s", (int)strcspn(b, "\n"), b);
}

int dukd_run_same_options(dukd_run *r, dukd_failure *f) {
    char *mine = NULL, *first = NULL;
    int64_t size = 0;
    int status = 0;
    if (!r->ranks) return 0;
    mine = dukd_run_options_yaml(r->o);
    if (!mine) status = dukd_fail_memory(f, "the options", 1);
    if (mine) size = (int64_t)strlen(mine) + 1;
    status = dukd_ranks_meet(r->ranks, DUKD_AT_OPTIONS, status, NULL, f);
    if (!status) status = dukd_ranks_broadcast(r->ranks, &size, sizeof size, f);
    if (status) goto end;
    first = malloc((size_t)size);
    if (!first) status = dukd_fail_memory(f, "the options of rank 0", (unsigned long long)size);
    if (first && r->writes) memcpy(first, mine, (size_t)size);
    status = dukd_ranks_meet(r->ranks, DUKD_AT_TEXT, status, NULL, f);
    if (!status) status = dukd_ranks_broadcast(r->ranks, first, size, f);
    if (!status && strcmp(mine, first) != 0) {
        char here[201], there[201];
        first_difference(mine, first, here, there);
        status = dukd_fail(f, DUKD_MISUSED,
                           "its options are not those of rank 0: '%s' here, '%s' there. Start all ranks with "
                           "the same option file and the same arguments",
                           here, there);
    }
end:
    free(mine);
    free(first);
    return status;
}

int dukd_run_share_seed(dukd_run *r, dukd_failure *f) {
    uint64_t seed = r->o->seed;
    if (!r->ranks) return 0;
    int status = dukd_ranks_meet(r->ranks, DUKD_AT_SEED, 0, NULL, f);
    if (!status) status = dukd_ranks_broadcast(r->ranks, &seed, sizeof seed, f);
    if (!status) dukd_run_options_set_seed(r->o, seed);
    return status;
}

int dukd_run_take_threads(dukd_run *r, dukd_failure *f) {
    int status = dukd_ranks_meet(r->ranks, DUKD_AT_THREADS, 0, NULL, f);
    if (!status) status = dukd_ranks_take_threads(r->ranks, r->o->threads, &r->threads, f);
    if (!status) r->o->threads = r->threads.threads;
    return status;
}

/* ---------------------------------------------------------------- devices */

/* Whether this rank's engine can join the others; nothing is waited for. */
static int make_ready(dukd_run *r, int *joins, char id[DUKD_JOIN_ID_BYTES], dukd_failure *f) {
    const dukd_ranks_info *ranks = dukd_ranks_get_info(r->ranks);
    const char *why = "";
    *joins = 0;
    if (dukd_engine_get_place(r->engine)->on_host) return 0;
    if (r->o->device >= 0 && ranks->local_count > 1)
        return dukd_fail(
            f, DUKD_MISUSED,
            "device: %d is one GPU, and there are %d ranks on this machine: take the key out, then "
            "each takes the GPU of its number",
            (int)r->o->device, (int)ranks->local_count);
    *joins = dukd_engine_can_join(r->engine, &why);
    if (!*joins)
        dukd_run_log_warn(&r->log, "gradients are averaged in the processor's memory, which is slow: %s",
                          why);
    /* Nobody waits in dukd_join_open for a rank that cannot come. */
    return *joins ? dukd_join_make_id(r->engine, r->writes ? id : NULL, f) : 0;
}

/* A device that two ranks have. Known to all of them alike. */
static int check_apart(const dukd_run *r, const void *all, dukd_failure *f) {
    enum { NAME = sizeof(((dukd_engine_place *)0)->unique) };
    const char *names = all;
    const int32_t count = dukd_ranks_get_info(r->ranks)->count;
    for (size_t a = 0; a < (size_t)count; a++)
        for (size_t b = a + 1; b < (size_t)count; b++)
            if (names[a * NAME] && memcmp(names + a * NAME, names + b * NAME, NAME) == 0)
                return dukd_fail(f, DUKD_MISUSED,
                                 "ranks %d and %d would share a GPU (%.36s): start no more processes on a "
                                 "machine than it has GPUs, or show each process its own",
                                 (int)a, (int)b, names + a * NAME);
    return 0;
}

int dukd_run_join(dukd_run *r, dukd_failure *f) {
    enum { STAYS_ALONE = 1 };
    char id[DUKD_JOIN_ID_BYTES] = {0};
    int joins = 0;
    if (!r->ranks) return 0;
    int status = make_ready(r, &joins, id, f);
    uint32_t flags = joins ? 0 : STAYS_ALONE;
    status = dukd_ranks_meet(r->ranks, DUKD_AT_JOIN, status, &flags, f);
    if (status || flags & STAYS_ALONE) return status; /* all or none */
    const dukd_engine_place *place = dukd_engine_get_place(r->engine);
    const void *all;
    status = dukd_ranks_broadcast(r->ranks, id, sizeof id, f);
    if (!status) status = dukd_ranks_gather(r->ranks, place->unique, sizeof place->unique, &all, f);
    if (!status) status = check_apart(r, all, f);
    if (!status)
        status =
            dukd_join_open(r->engine, id, dukd_ranks_get_info(r->ranks)->rank, (int32_t)r->info.ranks, f);
    if (!status) r->joined = 1;
    return dukd_ranks_meet(r->ranks, DUKD_AT_JOIN, status, NULL, f);
}

/* ---------------------------------------------------------------- what was found */

enum { FACTS = 7, FACT_ROOM = 200 };
typedef char fact[FACT_ROOM];
static const char *const fact_names[FACTS] = {
    "dukd-host",
    "the plugin",
    "the training images",
    "the validation images",
    "the student's first weights",
    "the weights of teacher and features",
    "the training state to go on from",
};

/* FNV-1a, 64 bits, on from `hash`. */
static uint64_t hash_on(uint64_t hash, const void *data, size_t bytes) {
    const unsigned char *p = data;
    for (size_t i = 0; i < bytes; i++) hash = (hash ^ p[i]) * UINT64_C(0x100000001b3);
    return hash;
}
#define HASH_START UINT64_C(0xcbf29ce484222325)

static uint64_t hash_weights(uint64_t hash, const dukd_graph *g, const float *weights) {
    return g ? hash_on(hash, weights, (size_t)dukd_graph_weights(g) * sizeof *weights) : hash;
}

static void collect(const dukd_run *r, fact out[FACTS]) {
    const dukd_plugin_info *p = dukd_library_info(r->settings->library);
    int64_t images = 0;
    uint64_t hash = HASH_START;
    memset(out, 0, FACTS * sizeof *out);
    snprintf(out[0], FACT_ROOM, DUKD_VERSION " (" DUKD_REVISION ")");
    snprintf(out[1], FACT_ROOM, "%s %s", p->name, p->version);
    snprintf(out[2], FACT_ROOM, "%" PRId64 " images, SHA-256 %s", r->data[0].images, r->data[0].sha256);
    for (int32_t i = 1; i < r->record.data_count; i++) {
        images += r->data[i].images;
        hash = hash_on(hash, r->data[i].sha256, sizeof r->data[i].sha256);
    }
    snprintf(out[3], FACT_ROOM, "%" PRId64 " images, hash %016" PRIx64, images, hash);
    snprintf(out[4], FACT_ROOM, "hash %016" PRIx64,
             hash_weights(HASH_START, r->student.graph, r->student.weights));
    hash = hash_weights(HASH_START, r->teacher.graph, r->teacher.weights);
    snprintf(out[5], FACT_ROOM, "hash %016" PRIx64,
             hash_weights(hash, r->features.graph, r->features.weights));
    if (r->resumed)
        snprintf(out[6], FACT_ROOM, "iteration %" PRId64 ", sample %" PRId64, r->learner.iteration,
                 r->shift + r->learner.iteration * r->o->train_data.batch * r->info.ranks);
    else
        snprintf(out[6], FACT_ROOM, "none");
}

/* Every rank sees the same, and says the same. */
static int compare_facts(dukd_run *r, dukd_failure *f) {
    fact mine[FACTS];
    const void *all;
    _Static_assert(sizeof mine <= DUKD_RANKS_GATHER, "the facts go in one exchange");
    collect(r, mine);
    int status = dukd_ranks_gather(r->ranks, mine, sizeof mine, &all, f);
    const fact *first = all;
    for (int32_t k = 1; k < r->info.ranks && !status; k++)
        for (int32_t i = 0; i < FACTS && !status; i++) {
            const char *other = first[k * FACTS + i];
            if (strcmp(other, first[i]) != 0)
                status = dukd_fail(f, DUKD_MISUSED,
                                   "rank %d has not what rank 0 has. %s: %s there, %s on rank 0. All ranks "
                                   "must find the same files under the paths of the option file",
                                   (int)k, fact_names[i], other, first[i]);
        }
    return status;
}

/* ---------------------------------------------------------------- what is trained */

/* Rank 0's elements for all; of an array in the engine's memory, or NULL. */
static int share_array(dukd_run *r, float *values, int64_t count, dukd_failure *f) {
    dukd_mirror m = {0};
    if (!values || !count) return 0;
    int status = dukd_mirror_of_engine(&m, r->engine, values, count, "what is trained", f);
    status = dukd_ranks_meet(r->ranks, DUKD_AT_START, status, NULL, f);
    if (!status) status = dukd_ranks_broadcast(r->ranks, m.host, count * (int64_t)sizeof *m.host, f);
    if (!status) status = dukd_mirror_up(&m, count, f);
    dukd_mirror_free(&m);
    return status;
}

static int share_arrays(dukd_run *r, float *values, float *ema, dukd_adam *adam, int64_t count,
                        dukd_failure *f) {
    int status = share_array(r, values, count, f);
    if (!status) status = share_array(r, ema, count, f);
    if (!status && adam) status = share_array(r, adam->m, count, f);
    return status || !adam ? status : share_array(r, adam->v, count, f);
}

/* Rank 0's, where a plugin begins its own parameters with other values on another machine. */
static int share_trained(dukd_run *r, dukd_failure *f) {
    dukd_own_params *own = dukd_stepper_own_params(r->learner.stepper);
    int status = share_arrays(r, own->values, own->ema, &own->adam, own->count, f);
    for (uint32_t k = 0; k < DUKD_MAX_NETWORKS && !status; k++) {
        const dukd_trained *t = dukd_stepper_trained(r->learner.stepper, k);
        if (t) status = share_arrays(r, t->weights, t->ema, t->adam, t->count, f);
    }
    return status ? status : dukd_stepper_weights_changed(r->learner.stepper, f);
}

int dukd_run_same_start(dukd_run *r, dukd_failure *f) {
    int status = dukd_ranks_meet(r->ranks, DUKD_AT_START, 0, NULL, f);
    if (status || !r->ranks) return status;
    status = compare_facts(r, f);
    return status ? status : share_trained(r, f);
}

static int hash_array(dukd_run *r, const float *values, int64_t count, uint64_t *hash, dukd_failure *f) {
    dukd_mirror m = {0};
    if (!count) return 0;
    int status = dukd_mirror_of_engine(&m, r->engine, values, count, "what is trained", f);
    if (!status) *hash = hash_on(*hash, m.host, (size_t)count * sizeof *m.host);
    dukd_mirror_free(&m);
    return status;
}

int dukd_run_same_weights(dukd_run *r, dukd_failure *f) {
    uint64_t hash = HASH_START;
    const void *all;
    if (!r->ranks) return 0;
    const dukd_own_params *own = dukd_stepper_own_params(r->learner.stepper);
    int status = hash_array(r, own->values, own->count, &hash, f);
    for (uint32_t k = 0; k < DUKD_MAX_NETWORKS && !status; k++) {
        const dukd_trained *t = dukd_stepper_trained(r->learner.stepper, k);
        if (t) status = hash_array(r, t->weights, t->count, &hash, f);
    }
    status = dukd_ranks_meet(r->ranks, DUKD_AT_WEIGHTS, status, NULL, f);
    if (!status) status = dukd_ranks_gather(r->ranks, &hash, sizeof hash, &all, f);
    for (int32_t k = 1; k < r->info.ranks && !status; k++)
        if (memcmp((const char *)all + (size_t)k * sizeof hash, all, sizeof hash) != 0)
            status = dukd_fail(
                f, DUKD_FAILED,
                "iteration %" PRId64
                ": the weights of rank %d are no longer those of rank 0, and nothing is saved. Its "
                "machine computes something else (another processor, a fault of its memory), or this is a "
                "bug; the last training state is good",
                r->learner.iteration, (int)k);
    return status;
}
