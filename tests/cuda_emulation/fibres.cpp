/* A block of CUDA threads as fibres of one OS thread. */
#include "internal.hpp"

#include <cstdarg>
#include <map>
#include <sys/mman.h>
#include <vector>

#if EMULATION_ASAN
#include <sanitizer/common_interface_defs.h>
#endif

#if !defined(__x86_64__)
#error "the emulation switches fibres in x86-64 assembly"
#endif

/* Saves the registers that a call keeps, and goes on where the other stack was left. */
extern "C" void emulation_switch(void **save, void *to);
asm(R"(
    .text
    .globl emulation_switch
    .hidden emulation_switch
    .type emulation_switch, @function
emulation_switch:
    push %rbp
    push %rbx
    push %r12
    push %r13
    push %r14
    push %r15
    mov %rsp, (%rdi)
    mov %rsi, %rsp
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbx
    pop %rbp
    ret
)");

namespace emulation {

place here;

void die(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "CUDA emulation: block %u, thread %u,%u: ", here.block.x, here.thread.x, here.thread.y);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    abort();
}

namespace {

const size_t stack_size = EMULATION_ASAN ? 256 << 10 : 64 << 10;

enum class state { fresh, ready, at_barrier, at_warp, done };

struct fibre {
    state now = state::fresh;
    void *sp = nullptr;
    char *stack = nullptr;
    dim3 index;
    int line = 0;
    uint32_t mask = 0;
    uint64_t value = 0;
    int delta = 0;
    bool exclusive = false; /* the lane is lane ^ delta, not lane + delta */
    void *fake = nullptr;   /* AddressSanitizer's */
};

struct shared_array {
    char *data = nullptr;
    int64_t block = -1; /* that has asked for it */
};

std::vector<fibre> fibres;
std::vector<char *> free_stacks;
fibre *current;
void *scheduler_sp;
[[maybe_unused]] void *scheduler_fake; /* AddressSanitizer's */
[[maybe_unused]] const void *scheduler_bottom;
[[maybe_unused]] size_t scheduler_size;
const std::function<void()> *thread_body;
std::map<std::pair<const void *, size_t>, shared_array> shared_arrays[2]; /* of each device */
int64_t blocks_run;
size_t dynamic_bytes;
int running_device, epoch;

char *take_stack() {
    if (!free_stacks.empty()) {
        char *stack = free_stacks.back();
        free_stacks.pop_back();
        return stack;
    }
    void *p = mmap(nullptr, stack_size + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED || mprotect(p, 4096, PROT_NONE) != 0) die("no memory for a stack");
    return static_cast<char *>(p) + 4096;
}

void arrived(void *fake) {
    (void)fake;
#if EMULATION_ASAN
    __sanitizer_finish_switch_fiber(fake, &scheduler_bottom, &scheduler_size);
#endif
}

/* From a fibre to the scheduler. */
void wait_here(bool for_good) {
    fibre *self = current;
    (void)for_good;
#if EMULATION_ASAN
    __sanitizer_start_switch_fiber(for_good ? nullptr : &self->fake, scheduler_bottom, scheduler_size);
#endif
    emulation_switch(&self->sp, scheduler_sp);
    arrived(self->fake);
}

void fibre_main() {
    arrived(nullptr);
    (*thread_body)();
    current->now = state::done;
    wait_here(true);
    die("a fibre went on after its end");
}

void enter(fibre *f, int number) {
    if (f->now == state::fresh) {
        f->stack = take_stack();
        void **top =
            reinterpret_cast<void **>(f->stack + stack_size) - 1; /* as after a call: 16 bytes and 8 */
        *--top = reinterpret_cast<void *>(fibre_main);
        for (int i = 0; i < 6; i++) *--top = nullptr;
        f->sp = top;
    }
    f->now = state::ready;
    current = f;
    here.thread = f->index;
    const dim3 &b = here.block, &grid = here.grid;
    shadow_thread(static_cast<int>(b.x + grid.x * (b.y + grid.y * b.z)), number);
#if EMULATION_ASAN
    __sanitizer_start_switch_fiber(&scheduler_fake, f->stack, stack_size);
#endif
    emulation_switch(&scheduler_sp, f->sp);
#if EMULATION_ASAN
    __sanitizer_finish_switch_fiber(scheduler_fake, nullptr, nullptr);
#endif
    shadow_thread(-1, 0);
    if (f->now == state::done) {
        free_stacks.push_back(f->stack);
        f->stack = nullptr;
    }
}

/* Warps of which all lanes of a mask have come to the same operation; true: some may go on. */
bool release_warps() {
    bool any = false;
    for (size_t first = 0; first < fibres.size(); first += 32) {
        const size_t lanes = fibres.size() - first < 32 ? fibres.size() - first : 32;
        for (size_t lane = 0; lane < lanes; lane++) {
            const fibre &leader = fibres[first + lane];
            if (leader.now != state::at_warp) continue;
            const uint32_t mask = leader.mask;
            bool complete = true;
            for (size_t other = 0; other < 32; other++) {
                if ((mask >> other & 1) == 0) continue;
                if (other >= lanes)
                    die("line %d: the mask %08x has lanes that the block does not have", leader.line, mask);
                const fibre &o = fibres[first + other];
                if (o.now != state::at_warp || o.mask != mask || o.line != leader.line) complete = false;
            }
            if (!complete) continue;
            uint64_t result[32];
            for (size_t other = 0; other < lanes; other++) {
                const fibre &o = fibres[first + other];
                const size_t delta = static_cast<size_t>(o.delta),
                             from = o.exclusive ? other ^ delta : other + delta;
                if (o.exclusive && (mask >> other & 1) != 0 && (from > 31 || (mask >> from & 1) == 0))
                    die("line %d: lane %zu asks lane %zu, which is not in the mask %08x", o.line, other, from,
                        mask);
                result[other] = from < 32 && (mask >> from & 1) != 0 ? fibres[first + from].value : o.value;
            }
            for (size_t other = 0; other < lanes; other++) {
                if ((mask >> other & 1) == 0) continue;
                fibres[first + other].value = result[other];
                fibres[first + other].now = state::ready;
            }
            any = true;
        }
    }
    return any;
}

void release_barrier() {
    int line = 0;
    size_t waiting = 0, gone = 0;
    for (const fibre &f : fibres) {
        if (f.now == state::done) gone++;
        if (f.now == state::at_warp)
            die("line %d: a warp operation waits for lanes that do not come", f.line);
        if (f.now != state::at_barrier) continue;
        waiting++;
        if (line != 0 && f.line != line)
            die("threads wait at the barriers of line %d and of line %d", line, f.line);
        line = f.line;
    }
    if (gone != 0)
        die("%zu threads wait at the barrier of line %d, and %zu have left the kernel", waiting, line, gone);
    for (fibre &f : fibres) f.now = state::ready;
    shadow_epoch(++epoch);
}

void run_block(dim3 block) {
    size_t number = 0;
    fibres.assign(static_cast<size_t>(block.x) * block.y * block.z, fibre());
    for (unsigned z = 0; z < block.z; z++) {
        for (unsigned y = 0; y < block.y; y++) {
            for (unsigned x = 0; x < block.x; x++) fibres[number++].index = dim3(x, y, z);
        }
    }
    epoch = 0;
    shadow_epoch(0);
    for (;;) {
        size_t done = 0;
        for (size_t i = 0; i < fibres.size(); i++) {
            if (fibres[i].now == state::fresh || fibres[i].now == state::ready)
                enter(&fibres[i], static_cast<int>(i));
            if (fibres[i].now == state::done) done++;
        }
        if (done == fibres.size()) break;
        if (!release_warps()) release_barrier();
    }
    blocks_run++;
}

} // namespace

void barrier(int line) {
    current->line = line;
    current->now = state::at_barrier;
    wait_here(false);
}

static uint64_t shuffle(int line, uint32_t mask, uint64_t value, int delta, bool exclusive) {
    const uint32_t lane =
        (here.thread.x + here.block_size.x * (here.thread.y + here.block_size.y * here.thread.z)) % 32;
    if ((mask >> lane & 1) == 0) die("line %d: lane %u is not in its own mask %08x", line, lane, mask);
    fibre *self = current;
    self->line = line;
    self->mask = mask;
    self->value = value;
    self->delta = delta;
    self->exclusive = exclusive;
    self->now = state::at_warp;
    wait_here(false);
    return self->value;
}

uint64_t shuffle_down(int line, uint32_t mask, uint64_t value, int delta) {
    return shuffle(line, mask, value, delta, false);
}

uint64_t shuffle_xor(int line, uint32_t mask, uint64_t value, int bits) {
    return shuffle(line, mask, value, bits, true);
}

void *shared(const void *array, size_t size) {
    shared_array &a = shared_arrays[running_device][{array, size}];
    if (a.data == nullptr) {
        a.data = memory_take(size, running_device, false);
        if (a.data == nullptr || size > 48 << 10) die("a block has no %zu bytes of shared memory", size);
    }
    if (a.block != blocks_run) {
        a.block = blocks_run;
        memset(a.data, 0xff, size);
        shadow_allocated(a.data, size);
    }
    return a.data;
}

void *dynamic_shared() {
    if (dynamic_bytes == 0) die("dynamic shared memory is used, and the launch asked for none");
    return shared(nullptr, dynamic_bytes);
}

void run_grid(dim3 grid, dim3 block, size_t bytes, int device, const std::function<void()> &thread) {
    thread_body = &thread;
    dynamic_bytes = bytes;
    running_device = device;
    here.grid = grid;
    here.block_size = block;
    shadow_launch();
    for (unsigned z = 0; z < grid.z; z++) {
        for (unsigned y = 0; y < grid.y; y++) {
            for (unsigned x = 0; x < grid.x; x++) {
                here.block = dim3(x, y, z);
                run_block(block);
            }
        }
    }
}

} // namespace emulation
