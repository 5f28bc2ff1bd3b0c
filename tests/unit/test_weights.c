/* Weights of a network in files: what is written is read back, and what does not fit is named. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "data_fixture.h"
#include "support/edsr_net.h"
#include "support/fill.h"
#include "train/weights.h"

typedef struct {
    dukd_graph *g;
    int64_t count;
    float *a, *b, *out;
} fixture;

static void make(fixture *t, int32_t feat, int32_t blocks) {
    t->g = dukd_edsr_net(feat, blocks, 2, 0.1);
    t->count = dukd_graph_weights(t->g);
    t->a = dukd_weights_alloc(t->count);
    t->b = dukd_weights_alloc(t->count);
    t->out = dukd_weights_alloc(t->count);
    assert_true(t->a && t->b && t->out);
    dukd_fill_f32(t->a, t->count, 1, -1, 1);
    dukd_fill_f32(t->b, t->count, 2, -1, 1);
}

static void drop(fixture *t) {
    dukd_graph_destroy(t->g);
    free(t->a);
    free(t->b);
    free(t->out);
}

#define SAME(x, y, t) assert_memory_equal(x, y, (size_t)(t).count * sizeof(float))

static void what_is_saved_is_loaded(void **state) {
    (void)state;
    fixture t;
    dukd_weights_report r;
    make(&t, 6, 2);
    const char *path = data_path("net.safetensors");
    const dukd_st_entry note = {"iteration", "7"};
    assert_int_equal(dukd_weights_save(path, t.g, t.a, t.b, &note, 1, NULL), 0);
    assert_int_equal(dukd_weights_load(path, "params", 1, NULL, t.g, t.out, &r, NULL), 0);
    SAME(t.out, t.a, t);
    assert_string_equal(r.key, "params");
    assert_int_equal(r.loaded, dukd_graph_param_count(t.g));
    assert_int_equal(dukd_weights_differences(&r), 0);
    assert_int_equal(dukd_weights_load(path, "params_ema", 1, NULL, t.g, t.out, &r, NULL), 0);
    SAME(t.out, t.b, t);
    assert_string_equal(r.key, "params_ema");
    drop(&t);
}

static void a_missing_average_is_params(void **state) {
    (void)state;
    fixture t;
    dukd_weights_report r;
    make(&t, 4, 1);
    const char *path = data_path("net.safetensors");
    assert_int_equal(dukd_weights_save(path, t.g, t.a, NULL, NULL, 0, NULL), 0);
    assert_int_equal(dukd_weights_load(path, "params_ema", 1, NULL, t.g, t.out, &r, NULL), 0);
    assert_string_equal(r.key, "params");
    SAME(t.out, t.a, t);
    drop(&t);
}

/* Rows of a file that is not written by dukd_weights_save: other prefixes and types. */
static void write_as(const fixture *t, const char *path, const char *prefix, dukd_st_type type) {
    const int32_t n = dukd_graph_param_count(t->g);
    dukd_st_tensor rows[64];
    char names[64][128];
    void *data[64];
    assert_true(n <= 64);
    for (int32_t i = 0; i < n; i++) {
        const dukd_param *p = dukd_graph_param(t->g, i);
        const size_t size = (size_t)dukd_st_type_size(type);
        data[i] = calloc((size_t)p->count, size);
        assert_non_null(data[i]);
        for (int64_t k = 0; k < p->count; k++) {
            const float value = t->a[p->offset + k];
            const double wide = value;
            uint32_t bits;
            memcpy(&bits, &value, sizeof bits);
            const uint16_t high = (uint16_t)(bits >> 16);
            char *at = (char *)data[i] + (size_t)k * size;
            if (type == DUKD_ST_F64) memcpy(at, &wide, size);
            if (type == DUKD_ST_F32) memcpy(at, &value, size);
            if (type == DUKD_ST_BF16) memcpy(at, &high, size);
        }
        snprintf(names[i], sizeof names[i], "%s%s", prefix, p->name);
        rows[i] = (dukd_st_tensor){
            .name = names[i], .type = type, .ndim = p->ndim, .count = p->count, .data = data[i]};
        memcpy(rows[i].dims, p->dims, sizeof p->dims);
    }
    assert_int_equal(dukd_tensor_file_write(path, rows, n, NULL, 0, NULL), 0);
    for (int32_t i = 0; i < n; i++) free(data[i]);
}

static void names_without_a_key_and_of_data_parallel(void **state) {
    (void)state;
    fixture t;
    dukd_weights_report r;
    make(&t, 4, 1);
    write_as(&t, data_path("bare.safetensors"), "", DUKD_ST_F32);
    assert_int_equal(dukd_weights_load(data_path("bare.safetensors"), NULL, 1, NULL, t.g, t.out, &r, NULL),
                     0);
    SAME(t.out, t.a, t);
    memset(t.out, 0, (size_t)t.count * sizeof *t.out);
    assert_int_equal(
        dukd_weights_load(data_path("bare.safetensors"), "params", 1, NULL, t.g, t.out, &r, NULL), 0);
    assert_string_equal(r.key, "");
    SAME(t.out, t.a, t);
    write_as(&t, data_path("module.safetensors"), "params.module.", DUKD_ST_F32);
    memset(t.out, 0, (size_t)t.count * sizeof *t.out);
    assert_int_equal(
        dukd_weights_load(data_path("module.safetensors"), "params", 1, NULL, t.g, t.out, &r, NULL), 0);
    assert_int_equal(dukd_weights_differences(&r), 0);
    SAME(t.out, t.a, t);
    drop(&t);
}

static void other_types_are_converted(void **state) {
    (void)state;
    fixture t;
    make(&t, 4, 1);
    write_as(&t, data_path("f64.safetensors"), "params.", DUKD_ST_F64);
    assert_int_equal(
        dukd_weights_load(data_path("f64.safetensors"), "params", 1, NULL, t.g, t.out, NULL, NULL), 0);
    SAME(t.out, t.a, t);
    write_as(&t, data_path("bf16.safetensors"), "params.", DUKD_ST_BF16);
    assert_int_equal(
        dukd_weights_load(data_path("bf16.safetensors"), "params", 1, NULL, t.g, t.out, NULL, NULL), 0);
    for (int64_t i = 0; i < t.count; i++) assert_true(fabsf(t.out[i] - t.a[i]) <= fabsf(t.a[i]) / 128);
    dukd_failure f = {0};
    write_as(&t, data_path("i64.safetensors"), "params.", DUKD_ST_I64);
    assert_int_equal(dukd_weights_load(data_path("i64.safetensors"), "params", 1, NULL, t.g, t.out, NULL, &f),
                     DUKD_FAILED);
    assert_non_null(strstr(f.message, "floating-point"));
    drop(&t);
}

/* f16, bit pattern by bit pattern. */
static void halves(void **state) {
    (void)state;
    static const struct {
        uint16_t bits;
        float value;
    } known[] = {{0x0000, 0},        {0x3c00, 1},        {0xc000, -2},          {0x7bff, 65504},
                 {0x0400, 0x1p-14f}, {0x0001, 0x1p-24f}, {0x83ff, -0x3ffp-24f}, {0x3555, 0x1.554p-2f}};
    dukd_graph *g = dukd_graph_create();
    dukd_value x = dukd_graph_input(g, 1);
    x = dukd_graph_conv(g, x, 8, 1, "c");
    assert_int_equal(dukd_graph_finish(g, x, NULL), 0);
    uint16_t weight[8], bias[8] = {0};
    for (int i = 0; i < 8; i++) weight[i] = known[i].bits;
    bias[0] = 0x7c00; /* infinity */
    bias[1] = 0x7e00; /* NaN */
    const dukd_st_tensor rows[] = {
        {.name = "params.c.weight",
         .type = DUKD_ST_F16,
         .ndim = 4,
         .dims = {8, 1, 1, 1},
         .count = 8,
         .data = weight},
        {.name = "params.c.bias", .type = DUKD_ST_F16, .ndim = 1, .dims = {8}, .count = 8, .data = bias},
    };
    float out[16];
    assert_int_equal(dukd_tensor_file_write(data_path("half.safetensors"), rows, 2, NULL, 0, NULL), 0);
    assert_int_equal(dukd_weights_load(data_path("half.safetensors"), "params", 1, NULL, g, out, NULL, NULL),
                     0);
    for (int i = 0; i < 8; i++) assert_true(out[i] == known[i].value);
    assert_true(isinf(out[8]) && isnan(out[9]));
    dukd_graph_destroy(g);
}

static void another_network_is_named(void **state) {
    (void)state;
    fixture small, deep, wide;
    dukd_failure f = {0};
    dukd_weights_report r;
    make(&small, 4, 1);
    make(&deep, 4, 3);
    make(&wide, 8, 1);
    const char *path = data_path("small.safetensors");
    assert_int_equal(dukd_weights_save(path, small.g, small.a, NULL, NULL, 0, NULL), 0);

    assert_int_equal(dukd_weights_load(path, "params", 1, NULL, deep.g, deep.out, NULL, &f), DUKD_FAILED);
    assert_non_null(strstr(f.message, "small.safetensors"));
    assert_non_null(strstr(f.message, "body.1.conv1.weight (4x4x3x3) is missing"));

    memset(&f, 0, sizeof f);
    assert_int_equal(dukd_weights_load(path, "params", 1, NULL, wide.g, wide.out, NULL, &f), DUKD_FAILED);
    assert_non_null(strstr(f.message, "conv_first.weight is 4x3x3x3, not 8x3x3x3"));

    memset(&f, 0, sizeof f);
    const char *deep_path = data_path("deep.safetensors");
    assert_int_equal(dukd_weights_save(deep_path, deep.g, deep.a, NULL, NULL, 0, NULL), 0);
    assert_int_equal(dukd_weights_load(deep_path, "params", 1, NULL, small.g, small.out, NULL, &f),
                     DUKD_FAILED);
    assert_non_null(strstr(f.message, "body.1.conv1.weight is none of its parameters"));

    /* not strict: what fits is loaded, the rest keeps its values */
    memcpy(deep.out, deep.b, (size_t)deep.count * sizeof *deep.out);
    assert_int_equal(dukd_weights_load(path, "params", 0, NULL, deep.g, deep.out, &r, NULL), 0);
    assert_int_equal(r.loaded, dukd_graph_param_count(small.g));
    assert_int_equal(r.counts[DUKD_WEIGHTS_MISSING],
                     dukd_graph_param_count(deep.g) - dukd_graph_param_count(small.g));
    for (int32_t i = 0; i < dukd_graph_param_count(deep.g); i++) {
        const dukd_param *p = dukd_graph_param(deep.g, i);
        const int32_t at = dukd_graph_find_param(small.g, p->name);
        const float *want = at < 0 ? deep.b + p->offset : small.a + dukd_graph_param(small.g, at)->offset;
        assert_memory_equal(deep.out + p->offset, want, (size_t)p->count * sizeof *want);
    }
    drop(&small);
    drop(&deep);
    drop(&wide);
}

static void a_wrong_key_lists_the_right_ones(void **state) {
    (void)state;
    fixture t;
    dukd_failure f = {0};
    make(&t, 4, 1);
    write_as(&t, data_path("net.safetensors"), "state_dict.", DUKD_ST_F32);
    assert_int_equal(dukd_weights_load(data_path("net.safetensors"), "params", 1, NULL, t.g, t.out, NULL, &f),
                     DUKD_FAILED);
    assert_non_null(strstr(f.message, "'params'"));
    assert_non_null(strstr(f.message, "state_dict"));
    drop(&t);
}

/* One tensor of a file under other names; its numbers are those of parameter `of`. */
static dukd_st_tensor row(const fixture *t, const char *of, const char *name) {
    const dukd_param *p = dukd_graph_param(t->g, dukd_graph_find_param(t->g, of));
    dukd_st_tensor r = {
        .name = name, .type = DUKD_ST_F32, .ndim = p->ndim, .count = p->count, .data = t->a + p->offset};
    memcpy(r.dims, p->dims, sizeof p->dims);
    return r;
}

static const dukd_model_type *find_type(const char *name) {
    for (int32_t i = 0; i < dukd_model_type_count(); i++)
        if (strcmp(dukd_model_type_at(i)->name, name) == 0) return dukd_model_type_at(i);
    fail_msg("there is no network %s", name);
    return NULL;
}

/* EDSR-PyTorch's names, with its layers for the mean colour. */
static void names_of_the_authors(void **state) {
    (void)state;
    static const char *const names[][2] = {
        {"conv_first", "head.0"},      {"body.0.conv1", "body.0.body.0"}, {"body.0.conv2", "body.0.body.2"},
        {"conv_after_body", "body.1"}, {"upsample.0", "tail.0.0"},        {"conv_last", "tail.1"},
    };
    static const float unit[9] = {1, 0, 0, 0, 1, 0, 0, 0, 1};
    float off[3] = {-114.444f, -111.4605f, -103.02f}, on[3] = {114.444f, 111.4605f, 103.02f};
    char ours[12][64], theirs[12][64];
    dukd_st_tensor rows[16];
    dukd_weights_report r;
    dukd_failure f = {0};
    fixture t;
    make(&t, 6, 1);
    for (int i = 0; i < 12; i++) {
        snprintf(ours[i], sizeof ours[i], "%s.%s", names[i / 2][0], i % 2 ? "bias" : "weight");
        snprintf(theirs[i], sizeof theirs[i], "%s.%s", names[i / 2][1], i % 2 ? "bias" : "weight");
        rows[i] = row(&t, ours[i], theirs[i]);
    }
    const dukd_st_tensor shift = {.type = DUKD_ST_F32, .ndim = 1, .dims = {3}, .count = 3},
                         turn = {
                             .type = DUKD_ST_F32, .ndim = 4, .dims = {3, 3, 1, 1}, .count = 9, .data = unit};
    rows[12] = rows[13] = shift;
    rows[14] = rows[15] = turn;
    rows[12].name = "sub_mean.bias", rows[12].data = off;
    rows[13].name = "add_mean.bias", rows[13].data = on;
    rows[14].name = "sub_mean.weight", rows[15].name = "add_mean.weight";
    const char *path = data_path("authors.safetensors");
    const dukd_model_type *type = find_type("EDSR");
    assert_int_equal(dukd_tensor_file_write(path, rows, 16, NULL, 0, &f), 0);
    if (dukd_weights_load(path, "params", 1, type, t.g, t.out, &r, &f)) fail_msg("%s", f.message);
    SAME(t.out, t.a, t);
    assert_int_equal(r.aliased, 12);
    assert_int_equal(dukd_weights_load(path, "params", 1, NULL, t.g, t.out, &r, NULL), DUKD_FAILED);

    on[1] = 113;
    assert_int_equal(dukd_tensor_file_write(path, rows, 16, NULL, 0, &f), 0);
    assert_int_equal(dukd_weights_load(path, "params", 1, type, t.g, t.out, &r, &f), DUKD_FAILED);
    assert_non_null(strstr(f.message, "add_mean.bias is 114.444, 113, 103.02, not 114.444, 111.46"));
    on[1] = 111.4605f;

    /* a parameter under both of its names */
    f = (dukd_failure){0};
    rows[12] = row(&t, "conv_first.bias", "conv_first.bias");
    assert_int_equal(dukd_tensor_file_write(path, rows, 13, NULL, 0, &f), 0);
    assert_int_equal(dukd_weights_load(path, "params", 0, type, t.g, t.out, &r, &f), DUKD_FAILED);
    assert_non_null(strstr(f.message, "are both the parameter conv_first.bias"));
    drop(&t);
}

static void aliases_of_rcan(void **state) {
    (void)state;
    static const char *const names[][2] = {
        {"body.2.body.1.body.0.weight", "body.2.residual_group.1.rcab.0.weight"},
        {"body.12.body.10.body.2.bias", "body.12.residual_group.10.rcab.2.bias"},
        {"body.2.body.1.body.3.conv_du.0.weight", "body.2.residual_group.1.rcab.3.attention.1.weight"},
        {"body.2.body.1.body.3.conv_du.2.weight", "body.2.residual_group.1.rcab.3.attention.3.weight"},
        {"body.2.body.20.weight", "body.2.conv.weight"},
        {"body.10.weight", "conv_after_body.weight"},
        {"tail.0.2.bias", "upsample.2.bias"},
    };
    static const char *const none[] = {
        "body.x.weight",  "body.1.body.2.body.4.weight", "body..weight", "body.1",
        "head.0",         "body.1234567890.weight",      "weight",       "",
        "head.0.x.weight"};
    const dukd_model_type *type = find_type("RCAN");
    char out[64], tiny[8];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        assert_non_null(dukd_model_find_alias(type, names[i][0], out, sizeof out));
        assert_string_equal(out, names[i][1]);
        assert_null(dukd_model_find_alias(type, names[i][0], tiny, sizeof tiny));
    }
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        assert_null(dukd_model_find_alias(type, none[i], out, sizeof out));
    assert_int_equal(dukd_model_find_alias(type, "sub_mean.bias", out, sizeof out)->mean, -1);
}

/* What BasicSR's SwinIR stores beside its parameters is no difference; another tensor is. */
static void constants_are_left_out(void **state) {
    (void)state;
    enum { MOST = 400 };
    static char names[MOST][128];
    static dukd_st_tensor rows[MOST];
    dukd_graph *g =
        dukd_test_net("SwinIR", "img_size=16 embed_dim=4 depths=[2] num_heads=[2] window_size=8 mlp_ratio=2 "
                                "upscale=2 upsampler=pixelshuffledirect");
    const int64_t count = dukd_graph_weights(g);
    float *w = dukd_weights_alloc(count), *out = dukd_weights_alloc(count);
    dukd_weights_report r;
    dukd_failure f = {0};
    assert_true(w && out);
    dukd_graph_init(g, 3, w);
    int32_t n = dukd_weights_rows(rows, g, "params", w);
    const int32_t parameters = n, constants = dukd_graph_constant_count(g);
    assert_true(n > 0 && constants == 3 &&
                n + constants < MOST); /* two indices, and the mask of the shifted block */
    void *numbers[3];
    for (int32_t i = 0; i < constants; i++) {
        const dukd_constant *c = dukd_graph_constant(g, i);
        numbers[i] = calloc((size_t)c->count, 8);
        assert_non_null(numbers[i]);
        dukd_constant_fill(c, numbers[i]);
        snprintf(names[i], sizeof names[i], "params.module.%s", c->name);
        rows[n] = (dukd_st_tensor){.name = names[i],
                                   .type = c->is_integer ? DUKD_ST_I64 : DUKD_ST_F32,
                                   .ndim = c->ndim,
                                   .count = c->count,
                                   .data = numbers[i]};
        memcpy(rows[n++].dims, c->dims, sizeof c->dims);
    }
    const char *path = data_path("swinir.safetensors");
    assert_int_equal(dukd_tensor_file_write(path, rows, n, NULL, 0, NULL), 0);
    if (dukd_weights_load(path, "params", 1, find_type("SwinIR"), g, out, &r, &f)) fail_msg("%s", f.message);
    assert_int_equal(r.loaded, parameters);
    assert_memory_equal(out, w, (size_t)count * sizeof *w);
    rows[n - 1].name = "params.layers.0.attn_musk";
    assert_int_equal(dukd_tensor_file_write(path, rows, n, NULL, 0, NULL), 0);
    assert_int_equal(dukd_weights_load(path, "params", 1, find_type("SwinIR"), g, out, &r, NULL),
                     DUKD_FAILED);
    assert_int_equal(r.counts[DUKD_WEIGHTS_UNUSED], 1);
    for (int32_t i = 0; i < constants; i++) free(numbers[i]);
    dukd_weights_rows_free(rows, parameters);
    free(w);
    free(out);
    dukd_graph_destroy(g);
}

/* What a load that is not strict leaves out: the first of each kind in words, the rest counted. */
static void differences_are_summarised(void **state) {
    (void)state;
    fixture wide, deep;
    dukd_weights_report r;
    make(&wide, 8, 1);
    make(&deep, 4, 6);
    const char *path = data_path("wide.safetensors");
    assert_int_equal(dukd_weights_save(path, wide.g, wide.a, NULL, NULL, 0, NULL), 0);
    assert_int_equal(dukd_weights_load(path, "params", 0, NULL, deep.g, deep.out, &r, NULL), 0);
    assert_int_equal(r.loaded, 1); /* conv_last.bias */
    assert_int_equal(r.counts[DUKD_WEIGHTS_DIFFERENT], 11);
    assert_int_equal(r.counts[DUKD_WEIGHTS_MISSING], 20);
    assert_int_equal(r.counts[DUKD_WEIGHTS_UNUSED], 0);
    assert_string_equal(r.words[DUKD_WEIGHTS_DIFFERENT][3], "body.0.conv1.bias is 8, not 4");
    assert_string_equal(r.words[DUKD_WEIGHTS_MISSING][1], "body.1.conv1.bias (4) is missing");
    drop(&wide);
    drop(&deep);
}

static void files_that_are_none(void **state) {
    (void)state;
    fixture t;
    dukd_failure f = {0};
    make(&t, 4, 1);
    assert_int_equal(dukd_weights_load(data_path("missing"), "params", 1, NULL, t.g, t.out, NULL, &f),
                     DUKD_FAILED);
    memset(&f, 0, sizeof f);
    data_text(data_path("old.pth"), "PK\3\4 a zip archive as torch.save makes it");
    assert_int_equal(dukd_weights_load(data_path("old.pth"), "params", 1, NULL, t.g, t.out, NULL, &f),
                     DUKD_FAILED);
    assert_non_null(strstr(f.message, "ZIP archive"));
    memset(&f, 0, sizeof f);
    data_text(data_path("empty"), "");
    assert_int_equal(dukd_weights_load(data_path("empty"), "params", 1, NULL, t.g, t.out, NULL, &f),
                     DUKD_FAILED);
    assert_non_null(strstr(f.message, "empty"));
    drop(&t);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, data_setup, data_teardown)
    const struct CMUnitTest tests[] = {
        TEST(what_is_saved_is_loaded),
        TEST(a_missing_average_is_params),
        TEST(halves),
        TEST(names_without_a_key_and_of_data_parallel),
        TEST(other_types_are_converted),
        TEST(another_network_is_named),
        TEST(a_wrong_key_lists_the_right_ones),
        TEST(names_of_the_authors),
        TEST(aliases_of_rcan),
        TEST(constants_are_left_out),
        TEST(differences_are_summarised),
        TEST(files_that_are_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
