/* Ranks by MPI: libdukd-mpi.so.
 *
 * Means are made here and not by MPI_Allreduce, whose order of additions is the library's business: each rank gets its part of a block
 * from all others, adds in the order of the ranks, in double precision, and gives the result to all. That moves as many bytes as
 * a ring does, and all ranks have the same bits whatever the library chooses. Blocks keep the memory small and the counts of
 * MPI below 2^31; the exchange of a block goes on while the one before is added up. */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "train/ranks_backend.h"

enum {
    BLOCK = 1 << 20, /* elements */
    SLOTS = 2,       /* blocks on their way */
    QUEUE = 64,      /* means begun and not ended; more are ended by mean_begin */
    STRIP = 1024,    /* elements that are added up at a time */
    PIECE = 1 << 28, /* bytes of one broadcast */
};

typedef struct {
    float *values;
    int64_t count;
} part;

typedef struct {
    MPI_Request request;
    float *values; /* the block: in place */
    int32_t count;
    float *from; /* [ranks][own part] what the others have of this rank's part */
    /* [ranks] each, of this block; MPI reads them until the exchange is done. */
    int *counts, *offsets, *own_counts, *own_offsets;
} slot;

typedef struct {
    MPI_Comm comm;
    int rank, ranks;
    slot slots[SLOTS];
    int first, busy; /* slots: the oldest exchange, and how many there are */
    part queue[QUEUE];
    int head, length; /* of the queue */
    int *numbers;     /* of all slots */
} world;

static int failed(int code, char *why) {
    char text[MPI_MAX_ERROR_STRING] = "";
    int length = 0;
    MPI_Error_string(code, text, &length);
    snprintf(why, DUKD_RANKS_WHY, "%.*s", length < 250 ? length : 250, text);
    return 1;
}

/* ---------------------------------------------------------------- life */

static void describe(char *out, size_t size) {
    char text[MPI_MAX_LIBRARY_VERSION_STRING] = "";
    int length = 0, version = 0, sub = 0;
    MPI_Get_version(&version, &sub);
    MPI_Get_library_version(text, &length);
    /* "Open MPI v4.1.4, package: ...", "MPICH Version:\t4.0.2\nMPICH Release date: ..." */
    text[strcspn(text, ",\n")] = 0;
    char *to = text;
    for (const char *at = text; *at; at++)
        if (*at != ':' && (*at != '\t' || to == text || to[-1] != ' ')) *to++ = *at == '\t' ? ' ' : *at;
    *to = 0;
    snprintf(out, size, "%.100s (MPI %d.%d)", text, version, sub);
}

static void release(world *w) {
    for (int i = 0; i < SLOTS; i++) free(w->slots[i].from);
    free(w->numbers);
    free(w);
}

/* Room for the parts of a block, and for the counts of MPI. */
static int make_room(world *w, char *why) {
    const size_t n = (size_t)w->ranks, each = BLOCK / n + 1;
    w->numbers = malloc(SLOTS * 4 * n * sizeof *w->numbers);
    int whole = w->numbers != NULL;
    for (int i = 0; i < SLOTS && whole; i++) {
        slot *s = &w->slots[i];
        s->counts = w->numbers + (size_t)i * 4 * n;
        s->offsets = s->counts + n;
        s->own_counts = s->offsets + n;
        s->own_offsets = s->own_counts + n;
        s->from = malloc(n * each * sizeof *s->from);
        whole = s->from != NULL;
    }
    if (whole) return 0;
    snprintf(why, DUKD_RANKS_WHY, "out of memory: blocks of gradients need %zu bytes",
             SLOTS * n * each * sizeof(float));
    return 1;
}

static int open_world(void **out, dukd_ranks_info *info, char *why) {
    int begun = 0, provided = 0, code;
    MPI_Comm local;
    MPI_Initialized(&begun);
    if (begun) {
        snprintf(why, DUKD_RANKS_WHY, "it is started in this process already");
        return 1;
    }
    /* Threads of the loader and of OpenMP never call it. */
    code = MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &provided);
    if (code != MPI_SUCCESS) return failed(code, why);
    world *w = calloc(1, sizeof *w);
    if (!w) {
        snprintf(why, DUKD_RANKS_WHY, "out of memory");
        return 1;
    }
    code = MPI_Comm_dup(MPI_COMM_WORLD, &w->comm);
    if (code == MPI_SUCCESS) code = MPI_Comm_set_errhandler(w->comm, MPI_ERRORS_RETURN);
    if (code == MPI_SUCCESS) code = MPI_Comm_rank(w->comm, &w->rank);
    if (code == MPI_SUCCESS) code = MPI_Comm_size(w->comm, &w->ranks);
    if (code == MPI_SUCCESS)
        code = MPI_Comm_split_type(w->comm, MPI_COMM_TYPE_SHARED, w->rank, MPI_INFO_NULL, &local);
    if (code == MPI_SUCCESS) {
        int rank, count;
        MPI_Comm_rank(local, &rank);
        MPI_Comm_size(local, &count);
        MPI_Comm_free(&local);
        info->rank = w->rank;
        info->count = w->ranks;
        info->local_rank = rank;
        info->local_count = count;
    }
    if (code != MPI_SUCCESS || make_room(w, why)) {
        if (code != MPI_SUCCESS) failed(code, why);
        release(w);
        return 1;
    }
    *out = w;
    return 0;
}

static void close_world(void *ctx, int broken) {
    world *w = ctx;
    if (broken) MPI_Abort(w->comm, 1);
    MPI_Comm_free(&w->comm);
    MPI_Finalize();
    release(w);
}

/* ---------------------------------------------------------------- small things */

static int gather(void *ctx, const void *mine, void *all, int32_t bytes, char *why) {
    const world *w = ctx;
    const int code = MPI_Allgather(mine, bytes, MPI_BYTE, all, bytes, MPI_BYTE, w->comm);
    return code == MPI_SUCCESS ? 0 : failed(code, why);
}

static int broadcast(void *ctx, void *data, int64_t bytes, int32_t from, char *why) {
    const world *w = ctx;
    for (int64_t at = 0; at < bytes; at += PIECE) {
        const int64_t n = bytes - at < PIECE ? bytes - at : PIECE;
        const int code = MPI_Bcast((char *)data + at, (int)n, MPI_BYTE, from, w->comm);
        if (code != MPI_SUCCESS) return failed(code, why);
    }
    return 0;
}

/* ---------------------------------------------------------------- means */

/* Sends each rank its part of the next block of the queue. */
static int start(world *w, char *why) {
    part *p = &w->queue[w->head];
    slot *s = &w->slots[(w->first + w->busy) % SLOTS];
    s->values = p->values;
    s->count = p->count < BLOCK ? (int32_t)p->count : BLOCK;
    for (int64_t i = 0; i < w->ranks; i++) {
        s->offsets[i] = (int)(s->count * i / w->ranks);
        s->counts[i] = (int)(s->count * (i + 1) / w->ranks) - s->offsets[i];
    }
    for (int i = 0; i < w->ranks; i++) {
        s->own_counts[i] = s->counts[w->rank];
        s->own_offsets[i] = i * s->counts[w->rank];
    }
    p->values += s->count;
    p->count -= s->count;
    if (!p->count) {
        w->head = (w->head + 1) % QUEUE;
        w->length--;
    }
    const int code = MPI_Ialltoallv(s->values, s->counts, s->offsets, MPI_FLOAT, s->from, s->own_counts,
                                    s->own_offsets, MPI_FLOAT, w->comm, &s->request);
    if (code != MPI_SUCCESS) return failed(code, why);
    w->busy++;
    return 0;
}

/* out[count] = the mean of from[ranks][count], added in the order of the ranks. */
static void add_up(const float *from, int64_t count, int ranks, float *out) {
    double sum[STRIP];
    for (int64_t at = 0; at < count; at += STRIP) {
        const int64_t n = count - at < STRIP ? count - at : STRIP;
        for (int64_t i = 0; i < n; i++) sum[i] = from[at + i];
        for (int r = 1; r < ranks; r++)
            for (int64_t i = 0; i < n; i++) sum[i] += from[r * count + at + i];
        for (int64_t i = 0; i < n; i++) out[at + i] = (float)(sum[i] / ranks);
    }
}

/* The oldest block: adds up this rank's part and gives it to all. */
static int finish(world *w, char *why) {
    slot *s = &w->slots[w->first];
    int code = MPI_Wait(&s->request, MPI_STATUS_IGNORE);
    if (code != MPI_SUCCESS) return failed(code, why);
    add_up(s->from, s->counts[w->rank], w->ranks, s->values + s->offsets[w->rank]);
    code = MPI_Allgatherv(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, s->values, s->counts, s->offsets, MPI_FLOAT,
                          w->comm);
    if (code != MPI_SUCCESS) return failed(code, why);
    w->first = (w->first + 1) % SLOTS;
    w->busy--;
    return w->length ? start(w, why) : 0;
}

static int mean_end(void *ctx, char *why) {
    world *w = ctx;
    int status = 0;
    while (!status && (w->busy || w->length)) status = w->busy ? finish(w, why) : start(w, why);
    return status;
}

static int mean_begin(void *ctx, float *values, int64_t count, char *why) {
    world *w = ctx;
    if (count < 1) return 0;
    if (w->length == QUEUE && mean_end(w, why)) return 1;
    w->queue[(w->head + w->length++) % QUEUE] = (part){values, count};
    int status = 0;
    while (!status && w->busy < SLOTS && w->length) status = start(w, why);
    return status;
}

/* ---------------------------------------------------------------- the entry */

const dukd_ranks_backend *dukd_ranks_entry(void);

__attribute__((visibility("default"))) const dukd_ranks_backend *dukd_ranks_entry(void) {
    static const dukd_ranks_backend backend = {
        .version = DUKD_RANKS_BACKEND,
        .describe = describe,
        .open = open_world,
        .close = close_world,
        .gather = gather,
        .broadcast = broadcast,
        .mean_begin = mean_begin,
        .mean_end = mean_end,
    };
    return &backend;
}
