/* See bench_edsr.h. */
#include "engine/bench/bench_edsr.h"

#include "models/model.h"

dukd_graph *dukd_bench_edsr(const char *feat, const char *blocks, dukd_failure *f) {
    static const char *const three = "3", *const four = "4", *const res = "0.1";
    const dukd_model_setting settings[] = {
        {"num_in_ch", &three, 1, 0, NULL}, {"num_out_ch", &three, 1, 0, NULL},
        {"num_feat", &feat, 1, 0, NULL},   {"num_block", &blocks, 1, 0, NULL},
        {"upscale", &four, 1, 0, NULL},    {"res_scale", &res, 1, 0, NULL}};
    dukd_model_spec spec;
    dukd_graph *g = NULL;
    if (dukd_model_spec_read(&spec, "EDSR", NULL, NULL, settings, sizeof settings / sizeof *settings, f) ==
        DUKD_DONE)
        dukd_model_build(&g, &spec, f);
    return g;
}
