/* Meetings of ranks, and exchanges of what they agree on. */
#include "train/ranks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/checked.h"
#include "train/ranks_backend.h"

struct dukd_ranks {
    const dukd_ranks_backend *backend;
    void *ctx;
    dukd_ranks_info info;
    int over;   /* a meeting has ended with a failure that all know of */
    int broken; /* an exchange did not work: nobody knows what the others do */
    char *room; /* [count][DUKD_RANKS_GATHER] */
};

/* What a rank brings to a meeting. */
typedef struct {
    uint32_t place, flags;
    int32_t status, pad0;
} report;

int dukd_ranks_create(dukd_ranks **out, const dukd_ranks_backend *backend, void *ctx,
                      const dukd_ranks_info *info, dukd_failure *f) {
    int64_t bytes = 0;
    *out = NULL;
    dukd_ranks *r = calloc(1, sizeof *r);
    if (r && dukd_checked_mul(info->count, DUKD_RANKS_GATHER, &bytes)) r->room = malloc((size_t)bytes);
    if (!r || !r->room) {
        free(r);
        dukd_fail_memory(f, "the table of ranks", (unsigned long long)bytes);
        backend->close(ctx, 1);
        return DUKD_FAILED;
    }
    r->backend = backend;
    r->ctx = ctx;
    r->info = *info;
    *out = r;
    return 0;
}

void dukd_ranks_close(dukd_ranks *r) {
    char why[DUKD_RANKS_WHY];
    const report last = {0};
    if (!r) return;
    /* What rank 0 has to say is said before any other's exit status makes the launcher end it. */
    if (!r->broken && r->backend->gather(r->ctx, &last, r->room, sizeof last, why)) r->broken = 1;
    r->backend->close(r->ctx, r->broken);
    free(r->room);
    free(r);
}

const dukd_ranks_info *dukd_ranks_get_info(const dukd_ranks *r) {
    static const dukd_ranks_info alone = {.count = 1, .local_count = 1};
    return r ? &r->info : &alone;
}

int dukd_ranks_speaks(const dukd_ranks *r) {
    return !r || r->info.rank == 0 || r->broken;
}

/* ---------------------------------------------------------------- meetings */

static const char *place_name(uint32_t place) {
    static const char *const names[] = {
        [DUKD_AT_PLUGIN] = "opening the plugin",
        [DUKD_AT_OPTIONS] = "reading the options",
        [DUKD_AT_TEXT] = "comparing the options",
        [DUKD_AT_SEED] = "drawing a seed",
        [DUKD_AT_THREADS] = "counting processors",
        [DUKD_AT_JOIN] = "joining devices",
        [DUKD_AT_START] = "comparing the starts",
        [DUKD_AT_WEIGHTS] = "comparing weights",
        [DUKD_AT_LOOP] = "between two iterations",
        [DUKD_AT_RECORD] = "recording a step",
        [DUKD_AT_GRADIENT] = "averaging gradients",
        [DUKD_AT_LOOK] = "waiting for its device",
        [DUKD_AT_LOSSES] = "averaging losses",
        [DUKD_AT_VALIDATION] = "validating",
        [DUKD_AT_END] = "at the end",
    };
    return place && place < sizeof names / sizeof *names ? names[place] : "at no place known here";
}

static int lost(dukd_ranks *r, const char *why, dukd_failure *f) {
    r->over = r->broken = 1;
    return dukd_fail(f, DUKD_FAILED, "rank %d: the other ranks cannot be reached any more: %s",
                     (int)r->info.rank, why);
}

/* The exchanges after the ranks are over: whoever is told again has the first message already. */
static int ended(const dukd_ranks *r, int status, dukd_failure *f) {
    return status ? status
                  : dukd_fail(f, DUKD_FAILED, "rank %d: the ranks do not work together any more",
                              (int)r->info.rank);
}

/* The message of the rank that has failed, for all. */
static int take_message(dukd_ranks *r, int32_t failed, int status, dukd_failure *f) {
    char why[DUKD_RANKS_WHY] = "", message[sizeof f->message];
    snprintf(message, sizeof message, "%s", f->message[0] ? f->message : "failed");
    if (r->backend->broadcast(r->ctx, message, sizeof message, failed, why)) return lost(r, why, f);
    r->over = 1;
    *f = (dukd_failure){0};
    message[sizeof message - 1] = 0;
    return failed ? dukd_fail(f, status, "rank %d: %s", (int)failed, message)
                  : dukd_fail(f, status, "%s", message);
}

int dukd_ranks_meet(dukd_ranks *r, dukd_ranks_place place, int status, uint32_t *flags, dukd_failure *f) {
    dukd_failure local = {0};
    char why[DUKD_RANKS_WHY] = "";
    if (!r) return status;
    if (!f) f = &local;
    if (r->over) return ended(r, status, f);
    const report mine = {.place = place, .flags = flags ? *flags : 0, .status = status};
    if (r->backend->gather(r->ctx, &mine, r->room, sizeof mine, why)) return lost(r, why, f);
    report first = {0};
    for (int32_t i = 0; i < r->info.count; i++) {
        report other;
        memcpy(&other, r->room + (size_t)i * sizeof other, sizeof other);
        if (other.status) return take_message(r, i, other.status, f);
        if (i == 0) first = other;
        first.flags |= other.flags;
        if (other.place == first.place) continue;
        r->over = 1; /* all ranks see the same */
        return dukd_fail(
            f, DUKD_FAILED,
            "the ranks have lost each other: rank %d is %s, rank 0 is %s. Does the plugin hand out "
            "other passes for other images?",
            (int)i, place_name(other.place), place_name(first.place));
    }
    if (flags) *flags = first.flags;
    return 0;
}

/* ---------------------------------------------------------------- exchanges */

int dukd_ranks_broadcast(dukd_ranks *r, void *data, int64_t bytes, dukd_failure *f) {
    char why[DUKD_RANKS_WHY] = "";
    if (!r) return 0;
    if (r->over) return ended(r, 0, f);
    return r->backend->broadcast(r->ctx, data, bytes, 0, why) ? lost(r, why, f) : 0;
}

int dukd_ranks_gather(dukd_ranks *r, const void *mine, int32_t bytes, const void **all, dukd_failure *f) {
    char why[DUKD_RANKS_WHY] = "";
    *all = mine;
    if (!r) return 0;
    if (r->over) return ended(r, 0, f);
    *all = r->room;
    return r->backend->gather(r->ctx, mine, r->room, bytes, why) ? lost(r, why, f) : 0;
}

int dukd_ranks_sum(dukd_ranks *r, double *values, int64_t count, dukd_failure *f) {
    const int64_t most = DUKD_RANKS_GATHER / (int64_t)sizeof *values;
    int status = 0;
    if (!r) return 0;
    for (int64_t at = 0; at < count && !status; at += most) {
        const int64_t n = count - at < most ? count - at : most;
        const void *all;
        status = dukd_ranks_gather(r, values + at, (int32_t)(n * (int64_t)sizeof *values), &all, f);
        for (int64_t i = 0; i < n && !status; i++) {
            double sum = 0, each;
            for (int64_t k = 0; k < r->info.count; k++) {
                memcpy(&each, (const char *)all + (size_t)(k * n + i) * sizeof each, sizeof each);
                sum = k ? sum + each : each;
            }
            values[at + i] = sum;
        }
    }
    return status;
}

int dukd_ranks_mean_begin(dukd_ranks *r, float *array, int64_t offset, int64_t count, dukd_failure *f) {
    char why[DUKD_RANKS_WHY] = "";
    if (!r) return 0;
    if (r->over) return ended(r, 0, f);
    return r->backend->mean_begin(r->ctx, array + offset, count, why) ? lost(r, why, f) : 0;
}

int dukd_ranks_mean_end(dukd_ranks *r, dukd_failure *f) {
    char why[DUKD_RANKS_WHY] = "";
    if (!r) return 0;
    if (r->over) return ended(r, 0, f);
    return r->backend->mean_end(r->ctx, why) ? lost(r, why, f) : 0;
}
