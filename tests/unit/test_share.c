/* A network that is the first channels of another: which numbers are whose, and which networks cannot be such a part. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/edsr_net.h"
#include "train/share.h"

static float *numbers(const dukd_graph *g, float first) {
    const int64_t count = dukd_graph_weights(g);
    float *values = malloc((size_t)count * sizeof *values);
    assert_non_null(values);
    for (int64_t i = 0; i < count; i++) values[i] = first + (float)i;
    return values;
}

/* Where element e of a parameter of `part` lies in the flat array of `whole`: the same indices. */
static int64_t place(const dukd_param *part, const dukd_param *whole, int64_t e) {
    int64_t at = 0, step = 1;
    for (int32_t d = part->ndim - 1; d >= 0; d--) {
        at += e % part->dims[d] * step;
        e /= part->dims[d];
        step *= whole->dims[d];
    }
    return whole->offset + at;
}

static void check(const char *type, const char *few, const char *many) {
    dukd_graph *part = dukd_test_net(type, few), *whole = dukd_test_net(type, many);
    float *small = numbers(part, 0.5f), *large = numbers(whole, 7), *before = numbers(whole, 7);
    dukd_share s;
    dukd_failure f = {0};
    if (dukd_share_open(&s, part, whole, &f)) fail_msg("%s", f.message);
    dukd_share_give(&s, small, large);
    for (int32_t i = 0; i < dukd_graph_param_count(part); i++) {
        const dukd_param *p = dukd_graph_param(part, i),
                         *w = dukd_graph_param(whole, dukd_graph_find_param(whole, p->name));
        for (int64_t e = 0; e < p->count; e++) {
            const int64_t at = place(p, w, e);
            assert_float_equal(large[at], before[at] + 0.5f + (float)(p->offset + e), 0);
            assert_float_equal(small[p->offset + e], 0, 0); /* handed over, once */
            before[at] = large[at];
        }
    }
    /* nothing else has changed */
    assert_memory_equal(large, before, (size_t)dukd_graph_weights(whole) * sizeof *large);
    dukd_share_take(&s, large, small);
    for (int32_t i = 0; i < dukd_graph_param_count(part); i++) {
        const dukd_param *p = dukd_graph_param(part, i),
                         *w = dukd_graph_param(whole, dukd_graph_find_param(whole, p->name));
        for (int64_t e = 0; e < p->count; e++)
            assert_float_equal(small[p->offset + e], large[place(p, w, e)], 0);
    }
    dukd_share_close(&s);
    free(small);
    free(large);
    free(before);
    dukd_graph_destroy(part);
    dukd_graph_destroy(whole);
}

static void test_edsr(void **state) {
    (void)state;
    check("EDSR", "num_in_ch=3 num_out_ch=3 num_feat=4 num_block=2 upscale=2",
          "num_in_ch=3 num_out_ch=3 num_feat=16 num_block=2 upscale=2");
    check("EDSR", "num_in_ch=3 num_out_ch=3 num_feat=3 num_block=1 upscale=3",
          "num_in_ch=3 num_out_ch=3 num_feat=3 num_block=1 upscale=3");
}

static void test_rcan(void **state) {
    (void)state;
    check("RCAN", "num_in_ch=3 num_out_ch=3 num_feat=4 num_group=1 num_block=1 squeeze_factor=2 upscale=4",
          "num_in_ch=3 num_out_ch=3 num_feat=8 num_group=1 num_block=1 squeeze_factor=2 upscale=4");
}

static void refused(dukd_graph *part, dukd_graph *whole, const char *words) {
    dukd_share s;
    dukd_failure f = {0};
    assert_int_equal(dukd_share_open(&s, part, whole, &f), DUKD_MISUSED);
    if (!strstr(f.message, words)) fail_msg("%s", f.message);
    dukd_share_close(&s);
    dukd_graph_destroy(part);
    dukd_graph_destroy(whole);
}

static void test_refused(void **state) {
    (void)state;
    refused(dukd_test_net("EDSR", "num_in_ch=3 num_out_ch=3 num_feat=8 num_block=1 upscale=2"),
            dukd_test_net("EDSR", "num_in_ch=3 num_out_ch=3 num_feat=4 num_block=1 upscale=2"),
            "conv_first.weight is");
    refused(dukd_test_net("EDSR", "num_in_ch=3 num_out_ch=3 num_feat=4 num_block=2 upscale=2"),
            dukd_test_net("EDSR", "num_in_ch=3 num_out_ch=3 num_feat=4 num_block=1 upscale=2"),
            "has no body.1.conv1.weight");
}

/* Shapes fit there, too: the first rows of q, k and v together are not those of fewer channels. */
static void test_channels_that_are_mixed(void **state) {
    (void)state;
    static const char few[] = "img_size=8 window_size=8 embed_dim=4 mlp_ratio=2 upscale=2 "
                              "upsampler=pixelshuffledirect depths=[1] num_heads=[2]",
                      many[] = "img_size=8 window_size=8 embed_dim=8 mlp_ratio=2 upscale=2 "
                               "upsampler=pixelshuffledirect depths=[1] num_heads=[2]";
    refused(dukd_test_net("SwinIR", few), dukd_test_net("SwinIR", many), "attention");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_edsr),
        cmocka_unit_test(test_rcan),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_channels_that_are_mixed),
    };
    return cmocka_run_group_tests_name("share", tests, NULL, NULL);
}
