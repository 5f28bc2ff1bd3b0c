/* See ops.h: window attention, divided over threads by windows. */
#include <math.h>
#include <string.h>

#include "engine/ops_work.h"

/* ---- scratch: the biases of all threads, then what each has of its own ---- */

static int64_t round_up(int64_t n, int64_t unit) {
    return (n + unit - 1) / unit * unit;
}

static int64_t tokens_of(const dukd_attention *a) {
    return (int64_t)a->window * a->window;
}

/* Floats of one table of biases, spread out for every pair of tokens. */
static int64_t bias_floats(const dukd_attention *a) {
    return a->heads * tokens_of(a) * round_up(tokens_of(a), 16);
}

/* Floats of a thread: see head_scratch_of in ops_window.h, and pair_scratch_of in ops_pairs.h. */
static int64_t head_floats(const dukd_worker *w, const dukd_tensor *qkv, const dukd_attention *a) {
    int64_t row = round_up(qkv->channels / 3 / a->heads, 16), block = DUKD_ATTENTION_BLOCK;
    int64_t tokens = tokens_of(a), pairs = round_up(tokens, 2) / 2;
    if (w->isa == DUKD_ISA_AVX512_BF16 && qkv->type == DUKD_TYPE_BF16) {
        int64_t halves = round_up(row, 32) / 2;
        return 2 * tokens * halves + 2 * pairs * row + 2 * block * halves + block * row + row * block +
               2 * tokens * row + 2 * tokens * block + pairs * block + tokens * block + 2 * block;
    }
    return 4 * (tokens + block) * row + 2 * tokens * block + 2 * block;
}

static int64_t offsets_of(const dukd_attention *a) { /* of one head in the table */
    return (2 * (int64_t)a->window - 1) * (2 * (int64_t)a->window - 1);
}

static int64_t windows_of(const dukd_tensor *qkv, const dukd_attention *a) {
    return (int64_t)qkv->images * (qkv->height / a->window) * (qkv->width / a->window);
}

/* Groups of windows whose gradients of the table are summed together: 64, or fewer where that leaves a group less than 16
 * windows (what a group costs at its end is that of two windows), but 8 where there are so many. */
static int64_t groups_of(const dukd_tensor *qkv, const dukd_attention *a) {
    int64_t windows = windows_of(qkv, a);
    int64_t groups = windows / 16 < 8 ? 8 : windows / 16 < 64 ? windows / 16 : 64;
    return windows < groups ? windows : groups;
}

int64_t dukd_run_attention_scratch(const dukd_worker *w, const dukd_tensor *qkv, const dukd_attention *a) {
    return (bias_floats(a) + w->threads * head_floats(w, qkv, a)) * (int64_t)sizeof(float);
}

int64_t dukd_run_attention_back_scratch(const dukd_worker *w, const dukd_tensor *qkv,
                                        const dukd_attention *a) {
    int64_t parts = round_up(groups_of(qkv, a) * a->heads * offsets_of(a), 16);
    return (bias_floats(a) + w->threads * (head_floats(w, qkv, a) + bias_floats(a)) + parts) *
           (int64_t)sizeof(float);
}

/* ---- the table ---- */

/* Row of the table for query i and key j, whose windows' sides are `side`. */
static int64_t offset_of(int64_t i, int64_t j, int64_t side) {
    return (i / side - j / side + side - 1) * (2 * side - 1) + i % side - j % side + side - 1;
}

/* bias[head][j][i], times `factor`, of rows [begin, end) of all heads. */
static void spread_table(float *bias, const dukd_attention *a, float factor, int64_t begin, int64_t end) {
    int64_t tokens = tokens_of(a), padded = round_up(tokens, 16), side = a->window;
    for (int64_t row = begin; row < end; row++) {
        float *b = bias + row * padded;
        for (int64_t y = 0; y < side; y++) { /* neighbouring queries have neighbouring offsets */
            const float *t = a->table + offset_of(y * side, row % tokens, side) * a->heads + row / tokens;
            for (int64_t x = 0; x < side; x++) b[y * side + x] = t[x * a->heads] * factor;
        }
        for (int64_t i = tokens; i < padded; i++) b[i] = 0;
    }
}

/* The transpose of it: part[head][offset] = the sum of d_bias over all pairs of this offset. */
static void gather_table(float *part, const float *d_bias, const dukd_attention *a) {
    int64_t tokens = tokens_of(a), padded = round_up(tokens, 16), side = a->window;
    memset(part, 0, (size_t)(a->heads * offsets_of(a)) * sizeof *part);
    for (int64_t row = 0; row < a->heads * tokens; row++) {
        int64_t j = row % tokens;
        for (int64_t y = 0; y < side; y++) {
            float *o = part + row / tokens * offsets_of(a) + offset_of(y * side, j, side);
            const float *b = d_bias + row * padded + y * side;
            for (int64_t x = 0; x < side; x++) o[x] += b[x];
        }
    }
}

/* ---- calls ---- */

static dukd_attention_job job_of(const dukd_tensor *qkv, const dukd_attention *a, const float *bias) {
    int64_t tokens = tokens_of(a);
    return (dukd_attention_job){.qkv = qkv->data,
                                .bias = bias,
                                .height = qkv->height,
                                .width = qkv->width,
                                .channels = qkv->channels / 3,
                                .heads = a->heads,
                                .window = a->window,
                                .shift = a->shift,
                                .root = sqrtf((float)(qkv->channels / 3 / a->heads)),
                                .tokens = (int32_t)tokens,
                                .padded = (int32_t)round_up(tokens, 16)};
}

void dukd_run_attention(const dukd_worker *w, const dukd_tensor *out, const dukd_tensor *qkv,
                        const dukd_attention *a, void *scratch) {
    const dukd_ops_kernels *k = dukd_ops_of(w, qkv->type);
    float *bias = scratch, *own = bias + bias_floats(a);
    dukd_attention_job job = job_of(qkv, a, bias);
    job.out = out->data;
#pragma omp parallel num_threads(w->threads)
    {
        dukd_span s = dukd_my_share(a->heads * tokens_of(a), 1);
        spread_table(bias, a, job.root, s.begin, s.end);
#pragma omp barrier
        s = dukd_my_share(windows_of(qkv, a), 1);
        k->attention(&job, s.begin, s.end, own + omp_get_thread_num() * head_floats(w, qkv, a));
    }
}

void dukd_run_attention_back(const dukd_worker *w, const dukd_tensor *d_qkv, const dukd_tensor *d,
                             const dukd_tensor *qkv, const dukd_attention *a, float *d_table, void *scratch) {
    const dukd_ops_kernels *k = dukd_ops_of(w, qkv->type);
    int64_t spread = bias_floats(a), groups = groups_of(qkv, a), entries = a->heads * offsets_of(a);
    float *bias = scratch, *own = bias + spread,
          *parts = own + w->threads * (head_floats(w, qkv, a) + spread);
    dukd_attention_job job = job_of(qkv, a, bias);
    job.out = d_qkv->data;
    job.d = d->data;
#pragma omp parallel num_threads(w->threads)
    {
        dukd_span s = dukd_my_share(a->heads * tokens_of(a), 1);
        spread_table(bias, a, job.root, s.begin, s.end);
#pragma omp barrier
        float *mine = own + omp_get_thread_num() * (head_floats(w, qkv, a) + spread), *d_bias = mine;
        s = dukd_my_share(groups, 1);
        for (int64_t g = s.begin; g < s.end; g++) {
            dukd_span windows = dukd_part(windows_of(qkv, a), groups, g);
            memset(d_bias, 0, (size_t)spread * sizeof *d_bias);
            k->attention_back(&job, windows.begin, windows.end, d_bias, mine + spread);
            gather_table(parts + g * entries, d_bias, a);
        }
#pragma omp barrier
        s = dukd_my_share(entries, 16);
        for (int64_t e = s.begin; e < s.end; e++) {
            float sum = 0;
            for (int64_t g = 0; g < groups; g++) sum += parts[g * entries + e];
            d_table[e % offsets_of(a) * a->heads + e / offsets_of(a)] += sum;
        }
    }
}
