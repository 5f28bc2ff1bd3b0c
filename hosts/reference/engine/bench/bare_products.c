/* See bare_products.h. */
#include "engine/bench/bare_products.h"

#include <stdlib.h>
#include <string.h>

#include "engine/bench/bench_clock.h"
#include "engine/onednn/dnnl_compat.h"

typedef struct {
    dukd_dnnl *dnnl;
    dukd_description a, b, c;
    dnnl_primitive_desc_t desc;
    dnnl_primitive_t primitive;
    dnnl_memory_t memory[3];
    void *data[3];
} product;

static int64_t bytes_of(const dukd_bare_product *p, dukd_type type, int i) {
    int64_t elements = i == 0 ? p->m * p->k : i == 1 ? p->k * p->n : p->m * p->n;
    return p->count * elements * dukd_type_bytes(type);
}

static int make(product *x, const dukd_bare_product *p, dukd_type type, dukd_failure *f) {
    dnnl_data_type_t t = type == DUKD_TYPE_F32 ? dnnl_f32 : dnnl_bf16;
    int made = dukd_dnnl_create(&x->dnnl, f);
    if (made != DUKD_DONE) return made;
    dnnl_status_t status = dukd_describe(&x->a, 3, (int64_t[]){p->count, p->m, p->k}, t, dnnl_abc);
    if (status == dnnl_success)
        status = dukd_describe(&x->b, 3, (int64_t[]){p->count, p->k, p->n}, t, dnnl_abc);
    if (status == dnnl_success)
        status = dukd_describe(&x->c, 3, (int64_t[]){p->count, p->m, p->n}, t, dnnl_abc);
    if (status == dnnl_success)
        status =
            dukd_describe_product(&x->desc, x->dnnl, DUKD_REF(x->a), DUKD_REF(x->b), DUKD_REF(x->c), NULL);
    if (status == dnnl_success) status = dnnl_primitive_create(&x->primitive, x->desc);
    dukd_description_ref refs[3] = {DUKD_REF(x->a), DUKD_REF(x->b), DUKD_REF(x->c)};
    for (int i = 0; i < 3 && status == dnnl_success; i++) {
        int64_t bytes = (bytes_of(p, type, i) + 4095) / 4096 * 4096;
        x->data[i] = aligned_alloc(4096, (size_t)bytes);
        if (!x->data[i]) return dukd_fail_memory(f, "a benchmark", (unsigned long long)bytes);
        memset(x->data[i], 0, (size_t)bytes);
        status = dnnl_memory_create(&x->memory[i], refs[i], x->dnnl->engine, x->data[i]);
    }
    return status == dnnl_success ? DUKD_DONE : dukd_dnnl_failed(f, "a matrix product", status);
}

static void drop(product *x) {
    for (int i = 0; i < 3; i++) {
        if (x->memory[i]) dnnl_memory_destroy(x->memory[i]);
        free(x->data[i]);
    }
    if (x->primitive) dnnl_primitive_destroy(x->primitive);
    if (x->desc) dnnl_primitive_desc_destroy(x->desc);
    dukd_forget(&x->a);
    dukd_forget(&x->b);
    dukd_forget(&x->c);
    dukd_dnnl_destroy(x->dnnl);
}

int dukd_bare_product_measure(const dukd_bare_product *p, dukd_type type, double seconds, double *best,
                              dukd_failure *f) {
    product x = {0};
    int status = make(&x, p, type, f);
    dnnl_exec_arg_t args[3] = {
        {DNNL_ARG_SRC, x.memory[0]}, {DNNL_ARG_WEIGHTS, x.memory[1]}, {DNNL_ARG_DST, x.memory[2]}};
    double end = dukd_bench_now() + seconds;
    for (int runs = 0; status == DUKD_DONE && (runs < 3 || dukd_bench_now() < end); runs++) {
        double begin = dukd_bench_now();
        dnnl_status_t ran = dnnl_primitive_execute(x.primitive, x.dnnl->stream, 3, args);
        if (ran == dnnl_success) ran = dnnl_stream_wait(x.dnnl->stream);
        if (ran != dnnl_success) status = dukd_dnnl_failed(f, "a matrix product", ran);
        double took = dukd_bench_now() - begin;
        if (took < *best) *best = took;
    }
    drop(&x);
    return status;
}
