/* NCCL on the emulated device, under its real declarations: ranks are processes or threads of one machine, and meet in a file of
 * shared memory that the id names. A sum runs where the stream, or a replay of the graph that it was captured into, comes to it, waits there
 * for all ranks, and adds in the order of the ranks in f64. What the real library refuses and this one can see is refused: host memory,
 * another count, kind or order on the ranks. Where the real one would wait for ever this one ends the program: a communicator that is destroyed
 * while there are graphs with its sums, a sum that is captured on one rank alone.
 *
 * DUKD_NCCL=fail=N in the environment: the Nth sum that is asked for (from 1) is refused. */
#include "emulation.h"

#include <cuda_runtime_api.h>
#include <nccl.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include <fcntl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

namespace {

constexpr int64_t ROOM = 1 << 20; /* floats a rank may give at a time; larger sums go in parts */
constexpr int MOST = 8;           /* ranks */
constexpr double PATIENCE = 60;   /* seconds without the others */

struct meeting {
    std::atomic<int> arrived, round;
    std::atomic<int64_t> count[MOST]; /* of the sum that is under way, and what it is */
};

size_t meeting_bytes(int ranks) {
    return sizeof(meeting) + static_cast<size_t>(ranks) * ROOM * sizeof(float);
}

} // namespace

struct ncclComm {
    int rank, ranks, round;
    meeting *shared;
    ncclResult_t broken;
    std::string name;
    bool over;     /* destroyed or aborted: sums that are still in a stream do nothing */
    int captured;  /* sums in graphs, and in streams that graphs were launched in */
    int64_t asked; /* sums so far */
};

namespace {

float *place_of(ncclComm *c, int rank) {
    return reinterpret_cast<float *>(c->shared + 1) + rank * ROOM;
}

double now() {
    timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

/* Until all ranks are here. */
bool meet(ncclComm *c) {
    const int round = c->round++;
    if (c->shared->arrived.fetch_add(1) + 1 == c->ranks) {
        c->shared->arrived = 0;
        c->shared->round = round + 1;
        return true;
    }
    for (const double begun = now(); c->shared->round <= round;) {
        if (now() - begun > PATIENCE) {
            c->broken = ncclRemoteError;
            return false;
        }
        usleep(50);
    }
    return true;
}

/* Communicators that are over stay: streams may have their sums. So does the list, to the end of the process. */
std::vector<ncclComm *> &all = *new std::vector<ncclComm *>;

struct sum {
    ncclComm *comm;
    const void *from;
    void *to;
    int64_t count;
    bool is_max, captured; /* is_max: the largest of int32; else the sum of f32 */
};

void drop_sum(void *ctx) {
    sum *s = static_cast<sum *>(ctx);
    s->comm->captured -= s->captured;
    delete s;
}

/* The same on all ranks: what it is and how many numbers. */
int64_t signature(const sum *s) {
    return s->count * 4 + s->is_max * 2 + s->captured;
}

/* `part` numbers of every rank, which lie in the shared memory, become those from `at` on. */
void add_up(const ncclComm *c, const sum *s, int64_t at, int64_t part) {
    for (int64_t i = 0; i < part; i++) {
        double total = 0;
        int32_t largest = INT32_MIN;
        for (int r = 0; r < c->ranks; r++) {
            const float *given = place_of(const_cast<ncclComm *>(c), r) + i;
            int32_t number;
            memcpy(&number, given, sizeof number);
            if (number > largest) largest = number;
            total += *given;
        }
        if (s->is_max)
            static_cast<int32_t *>(s->to)[at + i] = largest;
        else
            static_cast<float *>(s->to)[at + i] = static_cast<float>(total);
    }
}

void run_sum(void *ctx) {
    const sum *s = static_cast<const sum *>(ctx);
    ncclComm *c = s->comm;
    if (c->over) return;
    c->shared->count[c->rank] = signature(s);
    if (!meet(c)) return;
    for (int r = 0; r < c->ranks; r++) {
        const int64_t other = c->shared->count[r], mine = signature(s);
        if (other != mine) {
            fprintf(stderr, "NCCL's double: rank %d reduces %lld numbers (%s%s), rank %d %lld (%s%s)\n", r,
                    static_cast<long long>(other / 4), other & 2 ? "max" : "sum",
                    other & 1 ? ", of a graph" : "", c->rank, static_cast<long long>(mine / 4),
                    mine & 2 ? "max" : "sum", mine & 1 ? ", of a graph" : "");
            abort();
        }
    }
    emulation_read(s->from, s->count * 4);
    for (int64_t at = 0; at < s->count; at += ROOM) {
        const int64_t part = s->count - at < ROOM ? s->count - at : ROOM;
        memcpy(place_of(c, c->rank), static_cast<const float *>(s->from) + at, static_cast<size_t>(part) * 4);
        if (!meet(c)) return;
        add_up(c, s, at, part);
        if (!meet(c)) return;
    }
    emulation_wrote(s->to, s->count * 4);
}

/* Is this sum told to fail? A device has gone on meanwhile: what the stream was given before is done, and no other rank waits for it. */
bool refused(ncclComm *c, cudaStream_t stream) {
    const char *told = getenv("DUKD_NCCL");
    long long at = 0;
    c->asked++;
    if (told == nullptr || sscanf(told, "fail=%lld", &at) != 1 || c->asked != at) return false;
    cudaStreamCaptureStatus capture = cudaStreamCaptureStatusNone;
    if (cudaStreamIsCapturing(stream, &capture) == cudaSuccess && capture == cudaStreamCaptureStatusNone)
        (void)cudaStreamSynchronize(stream);
    return true;
}

} // namespace

extern "C" {

ncclResult_t ncclGetVersion(int *version) {
    *version = NCCL_VERSION_CODE;
    return ncclSuccess;
}

const char *ncclGetErrorString(ncclResult_t result) {
    return result == ncclRemoteError ? "remote process exited or there was a network error" : "an NCCL error";
}

ncclResult_t ncclGetUniqueId(ncclUniqueId *id) {
    memset(id, 0, sizeof *id);
    timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    snprintf(id->internal, sizeof id->internal, "/dukd_nccl_%d_%lld%09ld", static_cast<int>(getpid()),
             static_cast<long long>(t.tv_sec), t.tv_nsec);
    const int file = shm_open(id->internal, O_RDWR | O_CREAT | O_EXCL, 0600);
    if (file < 0) return ncclSystemError;
    /* Zeros: nobody has arrived. */
    const bool made = ftruncate(file, static_cast<off_t>(meeting_bytes(MOST))) == 0;
    close(file);
    return made ? ncclSuccess : ncclSystemError;
}

ncclResult_t ncclCommInitRank(ncclComm_t *out, int ranks, ncclUniqueId id, int rank) {
    if (ranks < 1 || ranks > MOST || rank < 0 || rank >= ranks) return ncclInvalidArgument;
    const int file = shm_open(id.internal, O_RDWR, 0600);
    if (file < 0) return ncclSystemError;
    void *p = mmap(nullptr, meeting_bytes(ranks), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (p == MAP_FAILED) return ncclSystemError;
    ncclComm *c =
        new ncclComm{rank, ranks, 0, static_cast<meeting *>(p), ncclSuccess, id.internal, false, 0, 0};
    if (!meet(c)) {
        munmap(p, meeting_bytes(ranks));
        delete c;
        return ncclRemoteError;
    }
    if (rank == 0) shm_unlink(id.internal);
    all.push_back(c);
    *out = c;
    return ncclSuccess;
}

ncclResult_t ncclAllReduce(const void *from, void *to, size_t count, ncclDataType_t type, ncclRedOp_t how,
                           ncclComm_t c, cudaStream_t stream) {
    const int64_t bytes = static_cast<int64_t>(count) * 4;
    const bool is_max = type == ncclInt32 && how == ncclMax;
    if (!is_max && (type != ncclFloat32 || how != ncclSum)) return ncclInvalidUsage;
    if (refused(c, stream)) return ncclInternalError;
    if (!emulation_is_device(from, bytes) || !emulation_is_device(to, bytes)) return ncclInvalidArgument;
    cudaStreamCaptureStatus capture = cudaStreamCaptureStatusNone;
    if (cudaStreamIsCapturing(stream, &capture) != cudaSuccess) return ncclUnhandledCudaError;
    const bool captured = capture != cudaStreamCaptureStatusNone;
    c->captured += captured;
    sum *s = new sum{c, from, to, static_cast<int64_t>(count), is_max, captured};
    const int32_t e = emulation_enqueue(stream, run_sum, drop_sum, s);
    return e == cudaSuccess ? ncclSuccess : ncclUnhandledCudaError;
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t c, ncclResult_t *error) {
    *error = c->broken;
    return ncclSuccess;
}

ncclResult_t ncclCommAbort(ncclComm_t c) {
    munmap(c->shared, meeting_bytes(c->ranks));
    c->over = true;
    return ncclSuccess;
}

ncclResult_t ncclCommDestroy(ncclComm_t c) {
    if (c->captured != 0) {
        fprintf(stderr, "NCCL's double: a communicator is destroyed, and graphs have %d sums of it\n",
                c->captured);
        abort();
    }
    return ncclCommAbort(c);
}
}
