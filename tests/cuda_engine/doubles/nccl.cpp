/* NCCL on the emulated device, under its real declarations: ranks are processes or threads of one machine, and meet in a file of
 * shared memory that the id names. A sum runs where the stream comes to it, waits there for all ranks, and adds in the order of the
 * ranks in f64. What the real library refuses and this one can see is refused: host memory, another count or order on the ranks. */
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
    std::atomic<int64_t> count[MOST];
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

struct sum {
    ncclComm *comm;
    const float *from;
    float *to;
    int64_t count;
};

void run_sum(void *ctx) {
    const sum *s = static_cast<const sum *>(ctx);
    ncclComm *c = s->comm;
    c->shared->count[c->rank] = s->count;
    if (!meet(c)) return;
    for (int r = 0; r < c->ranks; r++) {
        if (c->shared->count[r] != s->count) {
            fprintf(stderr, "NCCL's double: rank %d sums %lld numbers, rank %d %lld\n", r,
                    static_cast<long long>(c->shared->count[r]), c->rank, static_cast<long long>(s->count));
            abort();
        }
    }
    emulation_read(s->from, s->count * 4);
    for (int64_t at = 0; at < s->count; at += ROOM) {
        const int64_t part = s->count - at < ROOM ? s->count - at : ROOM;
        memcpy(place_of(c, c->rank), s->from + at, static_cast<size_t>(part) * 4);
        if (!meet(c)) return;
        for (int64_t i = 0; i < part; i++) {
            double total = 0;
            for (int r = 0; r < c->ranks; r++) total += place_of(c, r)[i];
            s->to[at + i] = static_cast<float>(total);
        }
        if (!meet(c)) return;
    }
    emulation_wrote(s->to, s->count * 4);
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
    ncclComm *c = new ncclComm{rank, ranks, 0, static_cast<meeting *>(p), ncclSuccess, id.internal};
    if (!meet(c)) {
        munmap(p, meeting_bytes(ranks));
        delete c;
        return ncclRemoteError;
    }
    if (rank == 0) shm_unlink(id.internal);
    *out = c;
    return ncclSuccess;
}

ncclResult_t ncclAllReduce(const void *from, void *to, size_t count, ncclDataType_t type, ncclRedOp_t how,
                           ncclComm_t c, cudaStream_t stream) {
    const int64_t bytes = static_cast<int64_t>(count) * 4;
    if (type != ncclFloat32 || how != ncclSum) return ncclInvalidUsage;
    if (!emulation_is_device(from, bytes) || !emulation_is_device(to, bytes)) return ncclInvalidArgument;
    sum *s =
        new sum{c, static_cast<const float *>(from), static_cast<float *>(to), static_cast<int64_t>(count)};
    const int32_t e = emulation_enqueue(
        stream, run_sum, [](void *ctx) { delete static_cast<sum *>(ctx); }, s);
    return e == cudaSuccess ? ncclSuccess : ncclUnhandledCudaError;
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t c, ncclResult_t *error) {
    *error = c->broken;
    return ncclSuccess;
}

ncclResult_t ncclCommDestroy(ncclComm_t c) {
    munmap(c->shared, meeting_bytes(c->ranks));
    delete c;
    return ncclSuccess;
}

ncclResult_t ncclCommAbort(ncclComm_t c) {
    return ncclCommDestroy(c);
}
}
