/* The plugin's loops on PyTorch's threads; views of the plugin's tensors. */
#include "dukd_torch.h"

#include <dlfcn.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(sizeof(dukd_torch_team) == DUKD_TORCH_TEAM_SIZE, "bridge.py knows this size");

/* ---------------------------------------------------------------- threads */

int32_t dukd_torch_team_init(dukd_torch_team *team, const char *path, uint32_t threads) {
    void *library = dlopen(path, RTLD_LAZY | RTLD_NOLOAD | RTLD_LOCAL);
    if (library == NULL) return -1;
    /* dlsym of a handle looks in the library and in what it was linked to, in that order */
    void *parallel = dlsym(library, "GOMP_parallel"), *thread_num = dlsym(library, "omp_get_thread_num");
    dlclose(library); /* it was loaded before and stays */
    if (parallel == NULL || thread_num == NULL || threads < 1) return -1;
    memcpy(&team->parallel, &parallel, sizeof parallel);
    memcpy(&team->thread_num, &thread_num, sizeof thread_num);
    team->threads = threads;
    team->pad0 = 0;
    return 0;
}

typedef struct {
    const dukd_torch_team *team;
    void (*task)(void *arg, uint32_t i, uint32_t worker);
    void *arg;
    uint32_t n;
    atomic_uint next;
} loop;

/* Runs on each thread of the team: takes the next piece until there is none. */
static void take_pieces(void *data) {
    loop *l = data;
    const uint32_t worker = (uint32_t)l->team->thread_num();
    uint32_t i;
    while ((i = atomic_fetch_add_explicit(&l->next, 1, memory_order_relaxed)) < l->n)
        l->task(l->arg, i, worker);
}

void dukd_torch_parallel_for(void *ctx, uint32_t n, void (*task)(void *arg, uint32_t i, uint32_t worker),
                             void *arg) {
    const dukd_torch_team *team = ctx;
    if (team->threads == 1 || n == 1) {
        for (uint32_t i = 0; i < n; i++) task(arg, i, 0);
        return;
    }
    loop l = {.team = team, .task = task, .arg = arg, .n = n};
    atomic_init(&l.next, 0);
    team->parallel(take_pieces, &l, team->threads < n ? team->threads : n, 0);
}

uint32_t dukd_torch_max_threads(void *ctx) {
    return ((const dukd_torch_team *)ctx)->threads;
}

/* ---------------------------------------------------------------- views */

/* DLPack's DLManagedTensor; dukd_tensor is its DLTensor. */
typedef struct managed {
    dukd_tensor tensor;
    void *context;
    void (*deleter)(struct managed *self);
    int64_t numbers[]; /* [2 ndim] shape and strides */
} managed;

static void delete_view(managed *self) {
    free(self);
}

void *dukd_torch_view(const dukd_tensor *t) {
    if (t->ndim < 0) return NULL;
    const size_t ndim = (size_t)t->ndim, bytes = ndim * sizeof(int64_t);
    managed *m = calloc(1, sizeof *m + 2 * bytes);
    if (m == NULL) return NULL;
    m->tensor = *t;
    /* older PyTorch (2.8, say) does not look at byte_offset */
    m->tensor.data = (char *)t->data + t->byte_offset;
    m->tensor.byte_offset = 0;
    m->deleter = delete_view;
    m->tensor.shape = m->numbers;
    if (ndim > 0) memcpy(m->numbers, t->shape, bytes);
    if (t->strides != NULL && ndim > 0) {
        m->tensor.strides = m->numbers + ndim;
        memcpy(m->tensor.strides, t->strides, bytes);
    } else {
        m->tensor.strides = NULL;
    }
    return m;
}

void dukd_torch_view_free(void *view) {
    free(view);
}
