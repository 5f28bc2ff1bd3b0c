/* See bench_networks.h. */
#include "engine/bench/bench_networks.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/bench/bare_convs.h"
#include "engine/bench/bare_products.h"
#include "engine/bench/bench_clock.h"
#include "models/model.h"

enum { MAX_SETTINGS = 12, MAX_ITEMS = 7, MAX_PRODUCTS = 16, MAX_TIMES = 40, IN_CACHE = 32 };
enum { FORWARD, DATA, WEIGHTS };
static const double time_for_product = .01; /* seconds */

typedef struct {
    const char *name, *type;
    int32_t batch; /* of training, for seconds */
    double limit;
    struct {
        const char *key, *items[MAX_ITEMS];
    } settings[MAX_SETTINGS];
} network;

#define RGB                                                                                                  \
    {"num_in_ch", {"3"}}, {"num_out_ch", {"3"}}, {                                                           \
        "upscale", {                                                                                         \
            "4"                                                                                              \
        }                                                                                                    \
    }
#define SIXES "6", "6", "6", "6"
#define SWINIR                                                                                               \
    {"upscale", {"4"}}, {"img_size", {"48"}}, {"window_size", {"8"}}, {"mlp_ratio", {"2"}},                  \
        {"upsampler", {"pixelshuffle"}}, {                                                                   \
        "img_range", {                                                                                       \
            "1"                                                                                              \
        }                                                                                                    \
    }

static const network networks[] = {
    {"EDSR-256-32",
     "EDSR",
     2,
     1.25,
     {RGB, {"num_feat", {"256"}}, {"num_block", {"32"}}, {"res_scale", {"0.1"}}}},
    {"EDSR-64-32",
     "EDSR",
     16,
     1.25,
     {RGB, {"num_feat", {"64"}}, {"num_block", {"32"}}, {"res_scale", {"0.1"}}}},
    {"RCAN-20-10",
     "RCAN",
     4,
     1.25,
     {RGB, {"num_feat", {"64"}}, {"num_block", {"20"}}, {"num_group", {"10"}}}},
    {"RCAN-6-10", "RCAN", 8, 1.25, {RGB, {"num_feat", {"64"}}, {"num_block", {"6"}}, {"num_group", {"10"}}}},
    {"SwinIR-180-36",
     "SwinIR",
     4,
     1.6,
     {SWINIR, {"embed_dim", {"180"}}, {"depths", {SIXES, "6", "6"}}, {"num_heads", {SIXES, "6", "6"}}}},
    {"SwinIR-60-24",
     "SwinIR",
     16,
     1.6,
     {SWINIR, {"embed_dim", {"60"}}, {"depths", {SIXES}}, {"num_heads", {SIXES}}}},
};

static dukd_graph *build(const network *n, dukd_failure *f) {
    dukd_model_setting settings[MAX_SETTINGS];
    int32_t count = 0;
    for (; count < MAX_SETTINGS && n->settings[count].key; count++) {
        const char *key = n->settings[count].key;
        int32_t items = 0;
        while (items < MAX_ITEMS && n->settings[count].items[items]) items++;
        int32_t list = strcmp(key, "depths") == 0 || strcmp(key, "num_heads") == 0;
        settings[count] = (dukd_model_setting){
            .key = key, .texts = n->settings[count].items, .count = items, .is_list = list};
    }
    dukd_model_spec spec;
    dukd_graph *g = NULL;
    if (dukd_model_spec_read(&spec, n->type, NULL, NULL, settings, count, f) == DUKD_DONE)
        dukd_model_build(&g, &spec, f);
    return g;
}

/* ---- the bare products of attention ---- */

typedef struct {
    dukd_bare_product product[MAX_PRODUCTS];
    double times[MAX_PRODUCTS], seconds[MAX_PRODUCTS];
    int count;
    dukd_type type;
} products;

static void add_product(products *p, dukd_bare_product x, double times) {
    /* A part of them that stays in the cache, as an attention's do. */
    double share = x.count > IN_CACHE ? (double)x.count / IN_CACHE : 1;
    if (x.count > IN_CACHE) x.count = IN_CACHE;
    int i = 0;
    while (i < p->count && memcmp(&p->product[i], &x, sizeof x) != 0) i++;
    if (i == MAX_PRODUCTS) return; /* no network has as many */
    if (i == p->count) {
        p->product[p->count++] = x;
        p->times[i] = 0;
        p->seconds[i] = INFINITY;
    }
    p->times[i] += times * share;
}

/* q k^T and P v; backward two more of each kind: dO v^T, and P^T dO, dS k, dS^T q. */
static void add_products(products *p, const dukd_graph *g, int32_t images, int32_t height, int32_t width,
                         int train) {
    for (int32_t i = 0; i < dukd_graph_op_count(g); i++) {
        const dukd_op *op = dukd_graph_op(g, i);
        if (op->kind != DUKD_OP_ATTENTION) continue;
        int64_t size[2], tokens = (int64_t)op->kernel * op->kernel, d = op->channels / op->heads;
        dukd_graph_size(g, i, height, width, size);
        int64_t count = images * op->heads * (size[0] * size[1] / tokens);
        add_product(p, (dukd_bare_product){count, tokens, d, tokens}, train ? 2 : 1);
        add_product(p, (dukd_bare_product){count, tokens, tokens, d}, train ? 4 : 1);
    }
}

static int measure_products(products *p, dukd_failure *f) {
    int status = DUKD_DONE;
    for (int i = 0; i < p->count && status == DUKD_DONE; i++)
        status = dukd_bare_product_measure(&p->product[i], p->type, time_for_product, &p->seconds[i], f);
    return status;
}

static double product_seconds(const products *p) {
    double sum = 0;
    for (int i = 0; i < p->count; i++) sum += p->times[i] * p->seconds[i];
    return sum;
}

static double product_multiply_adds(const products *p) {
    double sum = 0;
    for (int i = 0; i < p->count; i++) {
        const dukd_bare_product *x = &p->product[i];
        sum += p->times[i] * (double)(x->count * x->m * x->k * x->n);
    }
    return sum;
}

/* ---- one network, inference or training ---- */

typedef struct {
    const network *net;
    dukd_graph *graph;
    dukd_network *network;
    dukd_exec *exec;
    dukd_bare_convs *bare;
    products products;
    float *weights, *d_weights, *in, *out, *d_out;
    int32_t images, height, width, train;
    double best[2]; /* seconds of forward and backward */
} bench;

static float *floats(int64_t count) {
    float *p = malloc((size_t)count * sizeof *p);
    for (int64_t i = 0; p && i < count; i++) p[i] = (float)(i * 2654435761u % 1000) / 1000.f;
    return p;
}

static int compile(bench *b, dukd_engine *e, const dukd_bench_network_options *o, dukd_failure *f) {
    dukd_type type = o->precision == DUKD_BF16 ? DUKD_TYPE_BF16 : DUKD_TYPE_F32;
    int64_t pixels = 3 * (int64_t)b->images * b->height * b->width, count = dukd_graph_weights(b->graph);
    b->weights = floats(count);
    b->in = floats(pixels);
    b->out = floats(pixels * 16);
    if (b->train) {
        b->d_weights = floats(count);
        b->d_out = floats(pixels * 16);
    }
    if (!b->weights || !b->in || !b->out || (b->train && (!b->d_weights || !b->d_out)))
        return dukd_fail_memory(f, "a benchmark", (unsigned long long)pixels * 64);
    dukd_graph_init(b->graph, 1, b->weights);
    b->products.type = type;
    add_products(&b->products, b->graph, b->images, b->height, b->width, b->train);
    int status = dukd_bare_create(&b->bare, type, f);
    for (int k = 0; k < (b->train ? 3 : 1) && status == DUKD_DONE; k++)
        status = dukd_bare_add(b->bare, k, b->graph,
                               k == FORWARD ? DUKD_CONV_FORWARD
                               : k == DATA  ? DUKD_CONV_DATA_GRADIENT
                                            : DUKD_CONV_WEIGHTS_GRADIENT,
                               b->images, b->height, b->width, 1, f);
    if (status == DUKD_DONE) status = dukd_network_create(&b->network, e, b->graph, o->precision, f);
    if (status == DUKD_DONE) status = dukd_network_set_weights(b->network, b->weights, f);
    dukd_exec_spec spec = {.purpose = b->train ? DUKD_TRAIN : DUKD_INFER,
                           .batch = b->images,
                           .height = b->height,
                           .width = b->width};
    if (status == DUKD_DONE) status = dukd_network_compile(b->network, &spec, &b->exec, f);
    return status;
}

static int run_once(bench *b, dukd_failure *f) {
    double begin = dukd_bench_now();
    int status = DUKD_DONE;
    if (b->train)
        status = dukd_network_set_weights(b->network, b->weights, f); /* as after an optimizer's step */
    if (status == DUKD_DONE) status = dukd_exec_forward(b->exec, b->images, b->in, &b->out, f);
    double middle = dukd_bench_now();
    const float *d = b->d_out;
    if (status == DUKD_DONE && b->train) status = dukd_exec_backward(b->exec, &d, b->d_weights, NULL, f);
    b->best[0] = fmin(b->best[0], middle - begin);
    b->best[1] = fmin(b->best[1], dukd_bench_now() - middle);
    return status;
}

static void print_times(dukd_engine *e, int32_t rounds) {
    dukd_engine_time times[MAX_TIMES];
    int32_t count = dukd_engine_times(e, times, MAX_TIMES);
    double total = 0;
    for (int32_t i = 0; i < count; i++) total += times[i].seconds;
    for (int32_t i = 0; i < count; i++) {
        int32_t most = i;
        for (int32_t k = i; k < count; k++)
            if (times[k].seconds > times[most].seconds) most = k;
        dukd_engine_time t = times[most];
        times[most] = times[i];
        printf("    %-30s %5.1f %%  %9.2f ms  in %lld steps\n", t.kind, 100 * t.seconds / total,
               t.seconds * 1e3 / rounds, (long long)(t.steps / rounds));
    }
}

static void report(const bench *b, dukd_engine *e, const dukd_bench_network_options *o, double peak) {
    double convs = 0, adds = product_multiply_adds(&b->products), small = product_seconds(&b->products);
    for (int k = 0; k < 3; k++) {
        convs += dukd_bare_seconds(b->bare, k);
        adds += dukd_bare_multiply_adds(b->bare, k);
    }
    double engine = b->best[0] + (b->train ? b->best[1] : 0);
    int64_t now, most;
    dukd_engine_memory(e, &now, &most);
    if (o->verbose) {
        dukd_bare_print(b->bare);
        for (int i = 0; i < b->products.count; i++) {
            const dukd_bare_product *p = &b->products.product[i];
            printf("  %lld products of %lld x %lld x %lld: %9.3f ms\n", (long long)p->count, (long long)p->m,
                   (long long)p->k, (long long)p->n, b->products.seconds[i] * 1e3);
        }
    }
    printf("%-14s %-4s %s %d x 3 x %d x %d: engine %.3f s", b->net->name,
           o->precision == DUKD_BF16 ? "bf16" : "f32", b->train ? "train" : "infer", (int)b->images,
           (int)b->height, (int)b->width, engine);
    if (b->train) printf(" (%.3f + %.3f)", b->best[0], b->best[1]);
    printf(", bare %.3f s (%.3f of them attention's products): %.3f x (limit %.2f)", convs + small, small,
           engine / (convs + small), b->net->limit);
    if (peak > 0) printf("; %.1f %% of the FMA peak", 100 * adds / engine / peak);
    printf("; %.0f MiB\n", (double)most / (1 << 20));
    fflush(stdout);
}

static int bench_one(const network *net, dukd_engine *e, const dukd_bench_network_options *o, int train,
                     double peak, dukd_failure *f) {
    bench b = {.net = net,
               .train = train,
               .images = train ? (o->batch ? o->batch : net->batch) : 1,
               .height = train ? o->patch : o->height,
               .width = train ? o->patch : o->width,
               .best = {INFINITY, INFINITY}};
    b.graph = build(net, f);
    int status = b.graph ? compile(&b, e, o, f) : f->status;
    if (status == DUKD_DONE) status = run_once(&b, f); /* touches its memory, packs */
    b.best[0] = b.best[1] = INFINITY;
    dukd_engine_time unused;
    dukd_engine_times(e, &unused, 1);
    for (int32_t r = 0; r < o->rounds && status == DUKD_DONE; r++) {
        status = dukd_bare_measure(b.bare, f);
        if (status == DUKD_DONE) status = measure_products(&b.products, f);
        if (status == DUKD_DONE) status = run_once(&b, f);
    }
    if (status == DUKD_DONE) {
        report(&b, e, o, peak);
        if (o->profile) print_times(e, o->rounds);
    }
    dukd_bare_destroy(b.bare);
    dukd_network_destroy(b.network);
    dukd_graph_destroy(b.graph);
    free(b.weights);
    free(b.d_weights);
    free(b.in);
    free(b.out);
    free(b.d_out);
    return status;
}

int dukd_bench_networks(dukd_engine *e, const dukd_bench_network_options *o, double peak, dukd_failure *f) {
    int status = DUKD_DONE;
    if (o->profile) dukd_engine_set_clock(e, dukd_bench_now);
    for (size_t i = 0; i < sizeof networks / sizeof *networks; i++) {
        if (o->only && !strstr(networks[i].name, o->only)) continue;
        if (o->infer && status == DUKD_DONE) status = bench_one(&networks[i], e, o, 0, peak, f);
        if (o->train && status == DUKD_DONE) status = bench_one(&networks[i], e, o, 1, peak, f);
    }
    dukd_engine_set_clock(e, NULL);
    return status;
}
