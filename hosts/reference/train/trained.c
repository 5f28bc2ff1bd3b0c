/* A network's parameters with all that belongs to their training. */
#include "train/trained.h"

#include "train/weights.h"

static int make_gradient(dukd_trained *t, dukd_failure *f) {
    return dukd_weights_room(t->engine, t->count, "the gradient", &t->gradient, f);
}

int dukd_trained_create(dukd_trained *out, dukd_engine *e, const dukd_graph *graph, const char *prefix,
                        const float *start, dukd_adam_options adam, int average, dukd_failure *f) {
    static const char what[] = "the weights of a network that is trained";
    *out = (dukd_trained){.engine = e, .graph = graph, .prefix = prefix, .count = dukd_graph_weights(graph)};
    const int64_t bytes = out->count * (int64_t)sizeof *start;
    int status = dukd_weights_room(e, out->count, what, &out->own_weights, f);
    if (!status && average) status = dukd_weights_room(e, out->count, what, &out->own_ema, f);
    if (!status) status = dukd_adam_create(&out->own_adam, e, adam, out->count, f);
    out->weights = out->own_weights;
    out->ema = out->own_ema;
    out->adam = &out->own_adam;
    if (!status) status = dukd_engine_upload(e, out->weights, start, bytes, f);
    if (!status && average) status = dukd_engine_upload(e, out->ema, start, bytes, f);
    if (!status) status = make_gradient(out, f);
    if (status) dukd_trained_free(out);
    return status;
}

int dukd_trained_borrow(dukd_trained *out, dukd_engine *e, const dukd_graph *graph, float *weights,
                        float *ema, dukd_adam *adam, dukd_failure *f) {
    *out = (dukd_trained){.engine = e,
                          .graph = graph,
                          .prefix = "",
                          .count = dukd_graph_weights(graph),
                          .weights = weights,
                          .ema = ema,
                          .adam = adam};
    const int status = make_gradient(out, f);
    if (status) dukd_trained_free(out);
    return status;
}

void dukd_trained_free(dukd_trained *t) {
    dukd_engine_release(t->engine, t->gradient);
    dukd_engine_release(t->engine, t->own_weights);
    dukd_engine_release(t->engine, t->own_ema);
    dukd_adam_free(&t->own_adam);
    *t = (dukd_trained){0};
}

int dukd_trained_clear(dukd_trained *t, dukd_failure *f) {
    if (!t->graph) return 0;
    return dukd_engine_clear(t->engine, t->gradient, t->count * (int64_t)sizeof *t->gradient, f);
}

int dukd_trained_optimize(dukd_trained *t, int sgd, const dukd_optimizer_scalars *scalars,
                          const int32_t *broken, dukd_failure *f) {
    if (!t->graph || !t->adam) return 0;
    if (sgd) return dukd_sgd_step(t->adam, scalars, broken, t->gradient, t->weights, f);
    return dukd_adam_step(t->adam, scalars, broken, t->gradient, t->weights, f);
}

int dukd_trained_average(dukd_trained *t, double decay, const int32_t *broken, dukd_failure *f) {
    if (!t->graph || !t->adam || !t->ema) return 0;
    return dukd_ema_update(t->engine, broken, t->ema, t->weights, t->count, decay, f);
}
