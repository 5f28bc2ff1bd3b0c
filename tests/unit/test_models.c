/* The registry of networks, option checking, and the networks' shapes and numbers. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/nearest.h"
#include "models/model.h"

/* Reads "key=value" and "key=[a,b]" words into settings and then a spec. */
static int read_spec(dukd_model_spec *spec, const char *type, const char *words, dukd_failure *f) {
    static char buffer[1024];
    static const char *texts[64];
    static char places[24][24];
    dukd_model_setting settings[24];
    int32_t count = 0, text_count = 0;
    assert_true(strlen(words) < sizeof buffer);
    memcpy(buffer, words, strlen(words) + 1);
    char *rest = buffer;
    for (char *word = strsep(&rest, " "); word; word = strsep(&rest, " ")) {
        if (!*word) continue;
        assert_true(count < 24);
        char *value = strchr(word, '=');
        assert_non_null(value);
        *value++ = '\0';
        dukd_model_setting *s = &settings[count];
        snprintf(places[count], sizeof places[count], "opt.yml:%d:3", (int)count + 10);
        *s = (dukd_model_setting){.key = word, .texts = &texts[text_count], .where = places[count]};
        count++;
        if (strcmp(value, "null") == 0) continue;
        s->is_list = value[0] == '[';
        if (s->is_list) {
            value++;
            value[strlen(value) - 1] = '\0';
        }
        for (char *item = strsep(&value, ","); item; item = strsep(&value, ",")) {
            if (s->is_list && !*item) continue;
            assert_true(text_count < 64);
            texts[text_count++] = strcmp(item, "~") == 0 ? NULL : item;
            s->count++;
        }
    }
    return dukd_model_spec_read(spec, type, "opt.yml:9:9", "opt.yml:8:1", settings, count, f);
}

static dukd_graph *build_type(const char *type, const char *words) {
    dukd_model_spec spec;
    dukd_failure f = {0};
    dukd_graph *g = NULL;
    int status = read_spec(&spec, type, words, &f);
    if (status == DUKD_DONE) status = dukd_model_build(&g, &spec, &f);
    if (status != DUKD_DONE) fail_msg("%s", f.message);
    return g;
}

static dukd_graph *build(const char *words) {
    return build_type("EDSR", words);
}

#define COLOURS    "num_in_ch=3 num_out_ch=3 upscale=4 "
#define CLASSIC    "upscale=4 img_size=48 window_size=8 mlp_ratio=2 upsampler=pixelshuffle "
#define REACH_EDSR 68 /* 1 + 2 * 32 + 1, the upsampler's 1 and 1/2, the last's 1/4 */

/* Parameters and multiply-adds of the paper's networks, at 3 x 256 x 256. */
static void test_paper_table(void **state) {
    (void)state;
    static const struct {
        const char *type, *words;
        int64_t parameters;
        const char *giga;
        int32_t radius;
    } rows[] = {
        {"EDSR", COLOURS "num_feat=256 num_block=32 res_scale=0.1", 43089923, "3293.35", REACH_EDSR},
        {"EDSR", COLOURS "num_feat=64 num_block=32", 2699267, "207.28", REACH_EDSR},
        {"EDSR", COLOURS "num_feat=16 num_block=32", 170243, "13.32", REACH_EDSR},
        {"RCAN", COLOURS "num_feat=64 num_block=20 num_group=10", 15592355, "1044.03", DUKD_REACH_ALL},
        {"RCAN", COLOURS "num_feat=64 num_block=6 num_group=10", 5171315, "366.98", DUKD_REACH_ALL},
        /* 8 pixels a window but one, 1 a convolution */
        {"SwinIR", CLASSIC "embed_dim=180 depths=[6,6,6,6,6,6] num_heads=[6,6,6,6,6,6]", 11900199, "861.27",
         1 + 36 * 7 + 6 + 1 + 1 + 2},
        {"SwinIR", CLASSIC "embed_dim=60 depths=[6,6,6,6] num_heads=[6,6,6,6]", 1235439, "121.48",
         1 + 24 * 7 + 4 + 1 + 1 + 2},
        /* 715 and 433 thousand, and 40.9 and 32.5 G for an output of 1280 x 720 (.879 of these), as published; CARN-M's 412
         * thousand count the tails of three scales. */
        {"IMDN", "upscale=4", 715176, "46.54", DUKD_REACH_ALL},
        {"RFDN", "upscale=4", 433448, "27.05", DUKD_REACH_ALL},
        {"CARN_M", "upscale=4", 294147, "36.96", 1 + 3 * 3 * 2 + 2},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        dukd_graph *g = build_type(rows[i].type, rows[i].words);
        assert_int_equal(dukd_graph_weights(g), rows[i].parameters);
        char giga[32];
        snprintf(giga, sizeof giga, "%.2f", (double)dukd_graph_multiply_adds(g, 256, 256) / 1e9);
        assert_string_equal(giga, rows[i].giga);
        assert_int_equal(dukd_graph_upscale(g), 4);
        assert_int_equal(dukd_graph_receptive_radius(g), rows[i].radius);
        assert_int_equal(dukd_graph_multiple(g), strcmp(rows[i].type, "SwinIR") == 0 ? 8 : 1);
        dukd_graph_destroy(g);
    }
}

static void test_names(void **state) {
    (void)state;
    static const char *const x4[] = {"conv_first",   "body.0.conv1", "body.0.conv2",
                                     "body.1.conv1", "body.1.conv2", "conv_after_body",
                                     "upsample.0",   "upsample.2",   "conv_last"};
    static const int64_t out[] = {8, 8, 8, 8, 8, 8, 32, 32, 3};
    dukd_graph *g = build("num_in_ch=3 num_out_ch=3 num_feat=8 num_block=2 upscale=4 res_scale=0.1");
    assert_int_equal(dukd_graph_param_count(g), 18);
    for (int32_t i = 0; i < 9; i++) {
        char name[64];
        snprintf(name, sizeof name, "%s.weight", x4[i]);
        assert_string_equal(dukd_graph_param(g, 2 * i)->name, name);
        snprintf(name, sizeof name, "%s.bias", x4[i]);
        assert_string_equal(dukd_graph_param(g, 2 * i + 1)->name, name);
        assert_int_equal(dukd_graph_param(g, 2 * i)->dims[0], out[i]);
        assert_int_equal(dukd_graph_param(g, 2 * i)->dims[1], i == 0 ? 3 : 8);
        assert_true(dukd_graph_find_layer(g, x4[i]) > 0);
    }
    dukd_value body = dukd_graph_find_layer(g, "body");
    assert_int_equal(body, dukd_graph_find_layer(g, "body.1"));
    assert_int_equal(dukd_graph_op(g, body)->kind, DUKD_OP_ADD);
    assert_int_equal(dukd_graph_op(g, dukd_graph_find_layer(g, "body.0"))->kind, DUKD_OP_ADD);
    assert_int_equal(dukd_graph_find_layer(g, "body.2"), -1);
    dukd_value sum = dukd_graph_find_layer(g, "long_skip");
    assert_int_equal(dukd_graph_find_layer(g, "conv_after_body"), sum); /* BasicSR adds in place */
    assert_int_equal(dukd_graph_op(g, dukd_graph_op(g, sum)->in[0])->kind, DUKD_OP_CONV);
    assert_int_equal(dukd_graph_op(g, sum)->in[1], dukd_graph_find_layer(g, "conv_first"));
    assert_int_equal(dukd_graph_op(g, dukd_graph_find_layer(g, "upsample"))->up, 4);
    assert_int_equal(dukd_graph_op(g, dukd_graph_output(g))->kind, DUKD_OP_AFFINE);
    dukd_graph_destroy(g);

    g = build("num_in_ch=3 num_out_ch=3 num_feat=8 num_block=0 upscale=3");
    assert_int_equal(dukd_graph_find_layer(g, "body"), dukd_graph_find_layer(g, "conv_first"));
    assert_int_equal(dukd_graph_param(g, dukd_graph_find_param(g, "upsample.0.weight"))->dims[0], 72);
    assert_int_equal(dukd_graph_find_param(g, "upsample.2.weight"), -1);
    assert_int_equal(dukd_graph_upscale(g), 3);
    dukd_graph_destroy(g);
    g = build("num_in_ch=3 num_out_ch=3 num_feat=8 num_block=1 upscale=1");
    assert_int_equal(dukd_graph_find_layer(g, "upsample"), dukd_graph_find_layer(g, "long_skip"));
    assert_int_equal(dukd_graph_upscale(g), 1);
    dukd_graph_destroy(g);
}

static void test_res_scale_of_one_costs_nothing(void **state) {
    (void)state;
    dukd_graph *plain = build("num_in_ch=3 num_out_ch=3 num_feat=8 num_block=3 upscale=2 res_scale=1");
    dukd_graph *scaled = build("num_in_ch=3 num_out_ch=3 num_feat=8 num_block=3 upscale=2 res_scale=1e-1");
    assert_int_equal(dukd_graph_op_count(scaled), dukd_graph_op_count(plain) + 3);
    int found = 0;
    for (int32_t i = 0; i < dukd_graph_op_count(scaled); i++) {
        const dukd_op *op = dukd_graph_op(scaled, i);
        if (op->kind == DUKD_OP_SCALE) found += op->factor == .1f;
    }
    assert_int_equal(found, 3);
    dukd_graph_destroy(plain);
    dukd_graph_destroy(scaled);
}

static void test_defaults_and_text(void **state) {
    (void)state;
    dukd_model_spec spec, other;
    dukd_failure f = {0};
    assert_int_equal(read_spec(&spec, "EDSR", "num_in_ch=3 num_out_ch=3", &f), DUKD_DONE);
    char line[512];
    static const char wanted[] =
        "{\"type\": \"EDSR\", \"num_in_ch\": 3, \"num_out_ch\": 3, \"num_feat\": 64, \"num_block\": 16, "
        "\"upscale\": 4, \"res_scale\": 1, \"img_range\": 255, \"rgb_mean\": [0.4488, 0.4371, 0.404]}";
    assert_int_equal(dukd_model_spec_text(&spec, line, sizeof line), strlen(wanted));
    assert_string_equal(line, wanted);
    assert_int_equal(dukd_model_spec_text(&spec, line, 12), strlen(wanted)); /* cut, as snprintf does */
    assert_string_equal(line, "{\"type\": \"E");
    assert_int_equal(dukd_model_spec_int(&spec, "num_feat"), 64);
    assert_int_equal(dukd_model_spec_int(&spec, "img_range"), -1);
    assert_int_equal(dukd_model_spec_int(&spec, "depth"), -1);

    assert_int_equal(
        read_spec(&other, "EDSR", "num_out_ch=3 upscale=4 num_in_ch=3 rgb_mean=[0.4488,.4371,4.04e-1]", &f),
        DUKD_DONE);
    assert_true(dukd_model_spec_same(&spec, &other));
    assert_int_equal(read_spec(&other, "EDSR", "num_out_ch=3 num_in_ch=3 rgb_mean=[0.4488,.4371,.4041]", &f),
                     DUKD_DONE);
    assert_false(dukd_model_spec_same(&spec, &other));
    assert_int_equal(
        read_spec(&spec, "EDSR", "num_in_ch=3 num_out_ch=3 res_scale=0.1 img_range=3.0000000000000004", &f),
        DUKD_DONE);
    dukd_model_spec_text(&spec, line, sizeof line);
    assert_non_null(strstr(line, "\"res_scale\": 0.1, \"img_range\": 3.0000000000000004,"));
}

static void test_mistakes(void **state) {
    (void)state;
#define BASE "num_in_ch=3 num_out_ch=3 "
    static const struct {
        const char *type, *words, *message;
    } rows[] = {
        {"EDRS", BASE, "opt.yml:9:9: there is no network 'EDRS'; did you mean 'EDSR'?"},
        {"edsr", BASE, "opt.yml:9:9: there is no network 'edsr'; did you mean 'EDSR'?"},
        {"Transformer", BASE, "opt.yml:9:9: there is no network 'Transformer'; there is, for one, 'EDSR'"},
        {"EDSR", BASE "num_feats=64",
         "opt.yml:12:3: network EDSR has no option 'num_feats'; did you mean 'num_feat'?"},
        {"EDSR", BASE "window_size=8", "opt.yml:12:3: network EDSR has no option 'window_size'; take it out"},
        {"EDSR", "num_in_ch=3",
         "opt.yml:8:1: network EDSR needs num_out_ch (Channels of the output: 3 (RGB).)"},
        {"EDSR", BASE "num_feat=64.5",
         "opt.yml:12:3: num_feat of EDSR must be a whole number from 1 to 1024, not '64.5'"},
        {"EDSR", BASE "num_feat=0",
         "opt.yml:12:3: num_feat of EDSR must be a whole number from 1 to 1024, not '0'"},
        {"EDSR", BASE "num_feat=99999999999999999999", "not '99999999999999999999'"},
        {"EDSR", BASE "num_feat=0x40", "not '0x40'"},
        {"EDSR", BASE "num_feat=4-", "not '4-'"},
        {"EDSR", BASE "num_feat=~", "not '~'"},
        {"EDSR", BASE "num_feat=", "not ''"},
        {"EDSR", BASE "num_feat=[64]", "num_feat of EDSR must be one value, not a list"},
        {"EDSR", "num_in_ch=1 num_out_ch=3", "num_in_ch of EDSR must be 3, not '1'"},
        {"EDSR", BASE "res_scale=nan", "not 'nan'"},
        {"EDSR", BASE "res_scale=1e999", "not '1e999'"},
        {"EDSR", BASE "img_range=0", "img_range of EDSR must be a number from 0.001 to 1e+06, not '0'"},
        {"EDSR", BASE "rgb_mean=0.5", "rgb_mean of EDSR must be a list of 3 numbers"},
        {"EDSR", BASE "rgb_mean=[1,2]", "rgb_mean of EDSR must be a list of 3 numbers"},
        {"EDSR", BASE "rgb_mean=[1,x,3]", "not 'x'"},
        {"EDSR", BASE "upscale=2 upscale=2", "opt.yml:13:3: upscale is given twice; keep one"},
        {"SwinIR", "depths=6", "depths of SwinIR must be a list of 1 to 16 numbers"},
        {"SwinIR", "depths=[]", "depths of SwinIR must be a list of 1 to 16 numbers"},
        {"SwinIR", "depths=[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]", "a list of 1 to 16 numbers"},
        {"SwinIR", "depths=[6,6.5]",
         "depths of SwinIR must be a whole number, each, from 0 to 64, not '6.5'"},
        {"SwinIR", "ape=true", "ape of SwinIR must be false, not 'true'"},
        {"SwinIR", "patch_norm=1", "patch_norm of SwinIR must be true or false, not '1'"},
        {"SwinIR", "patch_norm=null", "must be true or false, not '~'"},
        {"SwinIR", "qk_scale=0.5", "qk_scale of SwinIR must be null, not '0.5'"},
        {"SwinIR", "drop_rate=0.1", "drop_rate of SwinIR must be 0, not '0.1'"},
        {"SwinIR", "upsampler=nearest+conv",
         "upsampler of SwinIR must be 'pixelshuffle', 'pixelshuffledirect' or '', not 'nearest+conv'"},
        {"SwinIR", "resi_connection=[1conv]", "resi_connection of SwinIR must be one value, not a list"},
        {"RCAN", BASE "num_group=null", "num_group of RCAN must be a whole number from 0 to 256, not '~'"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        dukd_model_spec spec;
        dukd_failure f = {0};
        assert_int_equal(read_spec(&spec, rows[i].type, rows[i].words, &f), DUKD_MISUSED);
        if (!strstr(f.message, rows[i].message)) fail_msg("'%s' has no '%s'", f.message, rows[i].message);
    }
    static const struct {
        const char *type, *words, *message;
    } builds[] = {
        {"EDSR", BASE "upscale=6", "opt.yml:8:1: network EDSR: upscale is 6; EDSR has 1, 2, 3, 4, 8 and 16"},
        {"EDSR", BASE "upscale=3 num_feat=512",
         "opt.yml:8:1: network EDSR: convolution 'upsample.0' has 4608 output channels; 1 to 4096"},
    };
    for (size_t i = 0; i < sizeof builds / sizeof *builds; i++) {
        dukd_model_spec spec;
        dukd_failure f = {0};
        dukd_graph *g = (dukd_graph *)&spec; /* must come back as NULL */
        assert_int_equal(read_spec(&spec, builds[i].type, builds[i].words, &f), DUKD_MISUSED);
        if (!strstr(f.message, builds[i].message)) fail_msg("'%s' has no '%s'", f.message, builds[i].message);
        f.status = DUKD_DONE;
        assert_int_equal(dukd_model_build(&g, &spec, &f), DUKD_MISUSED);
        assert_null(g);
    }
}

/* Parameters of RCAN and SwinIR by their names in BasicSR's checkpoints, and layers to tap. */
static void test_names_of_the_others(void **state) {
    (void)state;
    static const struct {
        const char *type, *words, *name;
        int32_t ndim;
        int64_t dims[4];
    } rows[] = {
        {"RCAN",
         "num_in_ch=3 num_out_ch=3 num_feat=8 num_group=3 num_block=2 squeeze_factor=4",
         "body.2.residual_group.1.rcab.3.attention.1.weight",
         4,
         {2, 8, 1, 1}},
        {"RCAN",
         "num_in_ch=3 num_out_ch=3 num_feat=8 num_group=3 num_block=2 squeeze_factor=4",
         "body.2.residual_group.1.rcab.3.attention.3.bias",
         1,
         {8}},
        {"RCAN",
         "num_in_ch=3 num_out_ch=3 num_feat=8 num_group=3 num_block=2 squeeze_factor=1",
         "body.0.conv.weight",
         4,
         {8, 8, 3, 3}},
        {"SwinIR",
         CLASSIC "embed_dim=12 depths=[2,4] num_heads=[2,3]",
         "layers.1.residual_group.blocks.3.attn.qkv.weight",
         2,
         {36, 12}},
        {"SwinIR",
         CLASSIC "embed_dim=12 depths=[2,4] num_heads=[2,3]",
         "layers.1.residual_group.blocks.3.attn.relative_position_bias_table",
         2,
         {225, 3}},
        {"SwinIR",
         CLASSIC "embed_dim=12 depths=[2,4] num_heads=[2,3] resi_connection=3conv",
         "layers.0.conv.2.weight",
         4,
         {3, 3, 1, 1}},
        {"SwinIR",
         CLASSIC "embed_dim=12 depths=[2] num_heads=[2]",
         "layers.0.residual_group.blocks.0.mlp.fc1.weight",
         2,
         {24, 12}},
        {"SwinIR", CLASSIC "embed_dim=12 depths=[2] num_heads=[2]", "patch_embed.norm.bias", 1, {12}},
        {"SwinIR",
         CLASSIC "embed_dim=12 depths=[2] num_heads=[2]",
         "conv_before_upsample.0.weight",
         4,
         {64, 12, 3, 3}},
        {"SwinIR",
         "upscale=3 img_size=14 upsampler=pixelshuffledirect",
         "upsample.0.weight",
         4,
         {27, 96, 3, 3}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        dukd_graph *g = build_type(rows[i].type, rows[i].words);
        int32_t found = dukd_graph_find_param(g, rows[i].name);
        if (found < 0) fail_msg("there is no '%s'", rows[i].name);
        const dukd_param *p = dukd_graph_param(g, found);
        assert_int_equal(p->ndim, rows[i].ndim);
        for (int32_t d = 0; d < p->ndim; d++) assert_int_equal(p->dims[d], rows[i].dims[d]);
        dukd_graph_destroy(g);
    }
    dukd_graph *g =
        build_type("RCAN", "num_in_ch=3 num_out_ch=3 num_feat=8 num_group=7 num_block=1 squeeze_factor=4");
    static const char *const layers[] = {"conv_first",      "body.2",    "body.6",
                                         "conv_after_body", "long_skip", "upsample"};
    for (size_t i = 0; i < sizeof layers / sizeof *layers; i++)
        assert_true(dukd_graph_find_layer(g, layers[i]) > 0);
    assert_int_equal(dukd_graph_find_layer(g, "body"), dukd_graph_find_layer(g, "body.6"));
    dukd_graph_destroy(g);
    g = build_type("SwinIR", CLASSIC "qkv_bias=false patch_norm=false embed_dim=12 depths=[2] num_heads=[2]");
    assert_int_equal(dukd_graph_find_param(g, "layers.0.residual_group.blocks.0.attn.qkv.bias"), -1);
    assert_int_equal(dukd_graph_find_param(g, "patch_embed.norm.bias"), -1);
    dukd_graph_destroy(g);
}

/* What follows from SwinIR's options beside its weights. */
static void test_swinir(void **state) {
    (void)state;
    dukd_graph *g =
        build_type("SwinIR", CLASSIC "embed_dim=12 depths=[2,3] num_heads=[2,2] drop_path_rate=0.2");
    /* Linearly from 0: the first block's paths are never dropped, each other has two. */
    assert_int_equal(dukd_graph_drop_count(g), 8);
    for (int32_t i = 0; i < 8; i++)
        assert_true(fabs(dukd_graph_drop_probability(g, i) - .05 * (1 + i / 2)) < 1e-7);
    /* An index for every block, a mask for every second. */
    assert_int_equal(dukd_graph_constant_count(g), 7);
    static const char *const names[] = {
        "layers.0.residual_group.blocks.0.attn.relative_position_index",
        "layers.0.residual_group.blocks.1.attn.relative_position_index",
        "layers.0.residual_group.blocks.1.attn_mask",
    };
    for (int32_t i = 0; i < 3; i++) assert_string_equal(dukd_graph_constant(g, i)->name, names[i]);
    const dukd_constant *mask = dukd_graph_constant(g, 2);
    assert_true(mask->ndim == 3 && mask->dims[0] == 36 && mask->dims[1] == 64 && mask->count == 36 * 64 * 64);
    dukd_graph_destroy(g);

    /* Images no larger than a window: one window, and nothing is shifted, as in BasicSR. */
    g = build_type("SwinIR",
                   "upscale=2 img_size=5 window_size=8 upsampler=pixelshuffle embed_dim=12 depths=[2] "
                   "num_heads=[2]");
    assert_int_equal(dukd_graph_multiple(g), 5);
    assert_int_equal(dukd_graph_constant_count(g), 2);
    for (int32_t i = 0; i < dukd_graph_op_count(g); i++) assert_int_equal(dukd_graph_op(g, i)->shift, 0);
    dukd_graph_destroy(g);

    g = build_type("SwinIR", "upscale=1 upsampler=null window_size=8 embed_dim=12 depths=[1] num_heads=[2]");
    assert_int_equal(dukd_graph_upscale(g), 1);
    assert_int_equal(dukd_graph_drop_count(g), 0);
    dukd_graph_destroy(g);
}

static void test_text_of_every_kind(void **state) {
    (void)state;
    dukd_model_spec spec, other;
    dukd_failure f = {0};
    char line[1024];
    assert_int_equal(
        read_spec(&spec, "SwinIR", CLASSIC "embed_dim=12 depths=[2,4] num_heads=[2,3] qk_scale=null", &f),
        DUKD_DONE);
    dukd_model_spec_text(&spec, line, sizeof line);
    assert_string_equal(
        line,
        "{\"type\": \"SwinIR\", \"img_size\": 48, \"patch_size\": 1, \"in_chans\": 3, \"embed_dim\": 12, "
        "\"depths\": [2, 4], \"num_heads\": [2, 3], \"window_size\": 8, \"mlp_ratio\": 2, \"qkv_bias\": "
        "true, "
        "\"qk_scale\": null, \"drop_rate\": 0, \"attn_drop_rate\": 0, \"drop_path_rate\": 0.1, \"ape\": "
        "false, "
        "\"patch_norm\": true, \"use_checkpoint\": false, \"upscale\": 4, \"img_range\": 1, "
        "\"upsampler\": \"pixelshuffle\", \"resi_connection\": \"1conv\"}");
    /* Lists of different lengths are different networks. */
    assert_int_equal(read_spec(&other, "SwinIR", CLASSIC "embed_dim=12 depths=[2] num_heads=[2]", &f),
                     DUKD_DONE);
    assert_false(dukd_model_spec_same(&spec, &other));
    assert_int_equal(read_spec(&other, "SwinIR", CLASSIC "embed_dim=12 depths=[2,4] num_heads=[2,3]", &f),
                     DUKD_DONE);
    assert_true(dukd_model_spec_same(&spec, &other));
}

/* VGG19's convolutions as torchvision has them: names, what CSD taps, sizes; without its own normalisation too. */
static void test_vgg19(void **state) {
    (void)state;
    static const struct {
        const char *layer;
        int32_t channels, side;
    } rows[] = {{"features.1", 64, 48},   {"features.4", 64, 24},  {"features.6", 128, 24},
                {"features.11", 256, 12}, {"features.20", 512, 6}, {"features.29", 512, 3}};
    dukd_graph *g = build_type("VGG19", "use_input_norm=true");
    assert_int_equal(dukd_graph_weights(g),
                     20024384); /* torchvision: 143,667,240 less the classifier's 123,642,856 */
    assert_int_equal(dukd_graph_param_count(g), 32);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const dukd_value v = dukd_graph_find_layer(g, rows[i].layer);
        int64_t size[2];
        assert_true(v > 0);
        const dukd_op *op = dukd_graph_op(g, v);
        dukd_graph_size(g, v, 48, 48, size);
        assert_int_equal(op->channels, rows[i].channels);
        assert_int_equal(size[0], rows[i].side);
        assert_int_equal(op->kind, i == 1 ? DUKD_OP_MAX_POOL : DUKD_OP_RELU);
    }
    const dukd_param *last = dukd_graph_param(g, dukd_graph_find_param(g, "features.34.weight"));
    assert_int_equal(last->dims[0], 512);
    assert_int_equal(last->dims[1], 512);
    assert_int_equal(dukd_graph_check_size(g, 16, 16, NULL), DUKD_DONE);
    const dukd_op *norm = dukd_graph_op(g, 1);
    assert_int_equal(norm->kind, DUKD_OP_AFFINE);
    assert_true(fabs((double)norm->factors[2] * .406 + (double)norm->shifts[2]) <
                1e-6); /* the mean becomes 0 */
    char name[64];
    const dukd_model_type *type = NULL;
    for (int32_t i = 0; i < dukd_model_type_count(); i++)
        if (strcmp(dukd_model_type_at(i)->name, "VGG19") == 0) type = dukd_model_type_at(i);
    const dukd_model_alias *a = dukd_model_find_alias(type, "classifier.3.weight", name, sizeof name);
    assert_true(a && !a->ours && !a->mean);
    dukd_graph_destroy(g);
    g = build_type("VGG19", "use_input_norm=false img_range=255");
    assert_int_equal(dukd_graph_op(g, 1)->kind, DUKD_OP_SCALE);
    dukd_graph_destroy(g);
}

/* Every table is one that the checks above can rely on. */
static void test_tables(void **state) {
    (void)state;
    assert_true(dukd_model_type_count() >= 1);
    for (int32_t t = 0; t < dukd_model_type_count(); t++) {
        const dukd_model_type *type = dukd_model_type_at(t);
        assert_true(type->name && type->help && type->build);
        assert_in_range(type->option_count, 1, DUKD_MODEL_MAX_OPTIONS);
        for (int32_t i = 0; i < type->option_count; i++) {
            const dukd_model_option *o = &type->options[i];
            assert_true(o->name && o->help && o->least <= o->most);
            assert_in_range(o->count, 1, DUKD_MODEL_MAX_LIST);
            assert_true(o->kind == DUKD_MODEL_FLOATS || o->kind == DUKD_MODEL_INTS || o->count == 1);
            assert_true((o->kind == DUKD_MODEL_WORD) == !!o->words);
            for (int k = 0; o->kind == DUKD_MODEL_WORD && k <= (int)o->most; k++)
                assert_non_null(o->words[k]);
            assert_true(!o->start == !!o->required);
            for (int32_t k = 0; o->start && k < o->count; k++)
                assert_true(o->start[k] >= o->least && o->start[k] <= o->most);
            for (int32_t j = 0; j < i; j++) assert_string_not_equal(o->name, type->options[j].name);
        }
    }
}

static void test_nearest(void **state) {
    (void)state;
    static const char *const names[] = {"num_feat", "num_block", "upscale", "res_scale", "lr"};
    static const struct {
        const char *name;
        int32_t found;
    } rows[] = {{"num_feat", 0},  {"numfeat", 0},     {"NUM_FEAT", 0}, {"num_faet", 0}, {"num_blocks", 1},
                {"upscael", 2},   {"upsc", -1},       {"scale", 2},    {"res-scal", 3}, {"rl", 4},
                {"learning", -1}, {"res_scaling", 3}, {"", -1},        {"x", -1}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int32_t found = dukd_nearest(rows[i].name, names, 5, sizeof *names);
        if (found != rows[i].found) fail_msg("'%s' gave %d", rows[i].name, (int)found);
    }
    char longer[100];
    memset(longer, 'a', sizeof longer);
    longer[99] = '\0';
    assert_int_equal(dukd_nearest(longer, names, 5, sizeof *names), -1);
    const char *const long_names[] = {longer};
    assert_int_equal(dukd_nearest("aaaa", long_names, 1, sizeof *long_names), -1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paper_table),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_res_scale_of_one_costs_nothing),
        cmocka_unit_test(test_defaults_and_text),
        cmocka_unit_test(test_mistakes),
        cmocka_unit_test(test_names_of_the_others),
        cmocka_unit_test(test_swinir),
        cmocka_unit_test(test_text_of_every_kind),
        cmocka_unit_test(test_vgg19),
        cmocka_unit_test(test_tables),
        cmocka_unit_test(test_nearest),
    };
    return cmocka_run_group_tests_name("models", tests, NULL, NULL);
}
