/* A network's parameters with all that belongs to their training. */
#include "train/trained.h"

#include <stdlib.h>
#include <string.h>

#include "train/sgd.h"
#include "train/weights.h"

static int make_gradient(dukd_trained *t, dukd_failure *f) {
    t->gradient = dukd_weights_alloc(t->count);
    if (t->gradient) return 0;
    dukd_fail_memory(f, "the gradient", (unsigned long long)t->count * sizeof(float));
    dukd_trained_free(t);
    return DUKD_FAILED;
}

int dukd_trained_create(dukd_trained *out, const dukd_graph *graph, const char *prefix, const float *start,
                        dukd_adam_options adam, int average, dukd_failure *f) {
    *out = (dukd_trained){.graph = graph, .prefix = prefix, .count = dukd_graph_weights(graph)};
    const size_t bytes = (size_t)out->count * sizeof *start;
    out->weights = out->own_weights = dukd_weights_alloc(out->count);
    if (average) out->ema = out->own_ema = dukd_weights_alloc(out->count);
    int status = 0;
    if (!out->weights || (average && !out->ema))
        status = dukd_fail_memory(f, "the weights of a network that is trained", bytes);
    if (!status) status = dukd_adam_create(&out->own_adam, adam, out->count, f);
    if (status) {
        dukd_trained_free(out);
        return status;
    }
    out->adam = &out->own_adam;
    memcpy(out->weights, start, bytes);
    if (average) memcpy(out->ema, start, bytes);
    return make_gradient(out, f);
}

int dukd_trained_borrow(dukd_trained *out, const dukd_graph *graph, float *weights, float *ema,
                        dukd_adam *adam, dukd_failure *f) {
    *out = (dukd_trained){.graph = graph,
                          .prefix = "",
                          .count = dukd_graph_weights(graph),
                          .weights = weights,
                          .ema = ema,
                          .adam = adam};
    return make_gradient(out, f);
}

void dukd_trained_free(dukd_trained *t) {
    free(t->gradient);
    free(t->own_weights);
    free(t->own_ema);
    dukd_adam_free(&t->own_adam);
    *t = (dukd_trained){0};
}

void dukd_trained_clear(dukd_trained *t) {
    if (t->graph) memset(t->gradient, 0, (size_t)t->count * sizeof *t->gradient);
}

void dukd_trained_optimize(dukd_trained *t, int sgd, double rate) {
    if (!t->graph || !t->adam) return;
    if (sgd)
        dukd_sgd_step(rate, t->adam->options.weight_decay, t->gradient, t->weights, t->count);
    else
        dukd_adam_step(t->adam, rate, t->gradient, t->weights);
}

void dukd_trained_average(dukd_trained *t, double decay) {
    if (t->graph && t->adam && t->ema) dukd_ema_update(t->ema, t->weights, t->count, decay);
}
