/* Convolutions and packed weights, made once and shared: equal layers share a convolution, execs of a network share packed
 * weights. */
#include <stdlib.h>
#include <string.h>

#include "engine/onednn/onednn_state.h"

/* Blocks that any convolution of the engine may need while it runs. */
static int reserve_for(onednn_engine *e, const dukd_conv *c, dukd_failure *f) {
    const dukd_conv_spec *s = dukd_conv_get_spec(c);
    int64_t plain = 4 * (dukd_conv_weights(s) + s->out_channels);
    int status = dukd_block_reserve(&e->scratch, dukd_conv_scratch_bytes(c), 0, &e->memory,
                                    "a convolution's scratch", f);
    if (status == DUKD_DONE)
        status = dukd_block_reserve(&e->plain, plain, 0, &e->memory, "packing weights", f);
    if (status == DUKD_DONE && s->kind == DUKD_CONV_WEIGHTS_GRADIENT)
        status = dukd_block_reserve(&e->packed_gradient, dukd_conv_packed_bytes(c), 0, &e->memory,
                                    "a convolution's gradient", f);
    return status;
}

int onednn_get_conv(onednn_engine *e, const dukd_conv_spec *spec, dukd_conv **out, dukd_failure *f) {
    for (int32_t i = 0; i < e->conv_count; i++)
        if (memcmp(dukd_conv_get_spec(e->convs[i]), spec, sizeof *spec) == 0) {
            *out = e->convs[i];
            return DUKD_DONE;
        }
    void *convs = e->convs;
    int status = dukd_grow(&convs, e->conv_count, &e->conv_room, sizeof(dukd_conv *), f);
    e->convs = convs;
    dukd_conv *c = NULL;
    if (status == DUKD_DONE) status = dukd_conv_create(&c, e->dnnl, spec, f);
    if (status == DUKD_DONE) status = reserve_for(e, c, f);
    if (status != DUKD_DONE) {
        dukd_conv_destroy(c);
        return status;
    }
    e->convs[e->conv_count++] = c;
    *out = c;
    return DUKD_DONE;
}

int onednn_get_packed(onednn_network *n, const dukd_run_conv *run, int32_t transposed, dukd_conv *conv,
                      int32_t *out, dukd_failure *f) {
    for (int32_t i = 0; i < n->packed_count; i++) {
        const onednn_packed *p = &n->packed[i];
        if (p->transposed == transposed && dukd_run_conv_same(&p->conv, run) &&
            dukd_conv_same_packing(p->layout, conv)) {
            *out = i;
            return DUKD_DONE;
        }
    }
    void *packed = n->packed;
    int status = dukd_grow(&packed, n->packed_count, &n->packed_room, sizeof *n->packed, f);
    n->packed = packed;
    if (status != DUKD_DONE) return status;
    onednn_packed p = {.conv = *run, .transposed = transposed, .layout = conv, .version = -1};
    dukd_memory_count *count = &n->engine->memory;
    status = dukd_block_reserve(&p.weights, dukd_conv_packed_bytes(conv), 0, count, "packed weights", f);
    if (status == DUKD_DONE && !transposed)
        status = dukd_block_reserve(&p.bias, 4 * (int64_t)run->out_channels, 0, count, "packed weights", f);
    if (status != DUKD_DONE) {
        dukd_block_free(&p.weights, count);
        return status;
    }
    n->packed[n->packed_count] = p;
    *out = n->packed_count++;
    return DUKD_DONE;
}

int onednn_refresh_packed(onednn_network *n, int32_t packed, dukd_failure *f) {
    onednn_packed *p = &n->packed[packed];
    if (p->version == n->version) return DUKD_DONE;
    float *plain = (float *)(void *)n->engine->plain.data;
    dukd_run_conv_pack(&p->conv, n->weights, plain, (float *)(void *)p->bias.data, p->transposed);
    int status = dukd_conv_pack(p->layout, p->weights.data, plain, f);
    if (status == DUKD_DONE) p->version = n->version;
    return status;
}
