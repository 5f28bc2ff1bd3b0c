/* EDSR graphs made by the registry, and their weights from golden files. */
#include "support/edsr_net.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "models/model.h"

dukd_graph *dukd_edsr_net(int32_t feat, int32_t blocks, int32_t upscale, double res_scale) {
    char texts[4][32];
    snprintf(texts[0], sizeof texts[0], "%d", (int)feat);
    snprintf(texts[1], sizeof texts[1], "%d", (int)blocks);
    snprintf(texts[2], sizeof texts[2], "%d", (int)upscale);
    snprintf(texts[3], sizeof texts[3], "%.17g", res_scale);
    const char *const values[6] = {"3", "3", texts[0], texts[1], texts[2], texts[3]};
    const dukd_model_setting settings[6] = {
        {"num_in_ch", &values[0], 1, 0, NULL}, {"num_out_ch", &values[1], 1, 0, NULL},
        {"num_feat", &values[2], 1, 0, NULL},  {"num_block", &values[3], 1, 0, NULL},
        {"upscale", &values[4], 1, 0, NULL},   {"res_scale", &values[5], 1, 0, NULL},
    };
    dukd_model_spec spec;
    dukd_graph *g = NULL;
    dukd_failure f = {0};
    if (dukd_model_spec_read(&spec, "EDSR", NULL, NULL, settings, 6, &f) != DUKD_DONE)
        fail_msg("%s", f.message);
    if (dukd_model_build(&g, &spec, &f) != DUKD_DONE) fail_msg("%s", f.message);
    return g;
}

void dukd_golden_weights(float *weights, const dukd_graph *g, dukd_golden *file, const char *prefix) {
    for (int32_t i = 0; i < dukd_graph_param_count(g); i++) {
        const dukd_param *p = dukd_graph_param(g, i);
        dukd_golden_tensor t = dukd_golden_f32(file, "%s.%s", prefix, p->name);
        assert_int_equal(t.ndim, p->ndim);
        assert_memory_equal(t.dims, p->dims, (size_t)p->ndim * sizeof *p->dims);
        memcpy(weights + p->offset, t.data, (size_t)p->count * sizeof *weights);
    }
}
