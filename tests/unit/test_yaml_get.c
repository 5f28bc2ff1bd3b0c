/* Typed values by dotted path, ranges, lists; known keys and what an unknown one may have meant. */
#include <locale.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dukd_yaml.h"

static dukd_yaml *must(const char *text) {
    dukd_yaml_error e;
    dukd_yaml *y = dukd_yaml_read_text(text, strlen(text), "opt.yml", &e);
    if (!y) fail_msg("refused: %s", e.message);
    return y;
}

static dukd_yaml_error e;
#define SAYS(text) assert_string_equal(e.message, text)

static void integers(void **state) {
    (void)state;
    dukd_yaml *y =
        must("plain: 12\nhex: 0x1f\noctal: 017\nnew_octal: 0o17\nunder: 1_000\nsixty: 1:30\n"
             "float: !!float 5e3\nexp: 5e3\ndot: 4.0\nmin: -9223372036854775808\nmax: 18446744073709551615\n"
             "tenth: .1\ntext: auto\nquoted: '5'\nnil: ~\nbig: 1e19\nhuge: 99999999999999999999\n"
             "zero: -0\nlist: [1]\nsection: {a: 1}\nten: !!float 010\nnan: .nan\n");
    const dukd_yaml_node *root = dukd_yaml_root(y);
    static const struct {
        const char *path;
        int64_t value;
    } good[] = {{"plain", 12},   {"hex", 31},        {"octal", 15},   {"new_octal", 15},
                {"under", 1000}, {"sixty", 90},      {"float", 5000}, {"exp", 5000},
                {"dot", 4},      {"min", INT64_MIN}, {"zero", 0},     {"ten", 10}};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        int64_t v = 77;
        if (!dukd_yaml_get_int64(root, good[i].path, INT64_MIN, INT64_MAX, &v, &e)) fail_msg("%s", e.message);
        assert_int_equal(v, good[i].value);
    }
    int64_t v = 77;
    uint64_t u = 77;
    assert_true(dukd_yaml_get_int64(root, "absent", 0, 9, &v, &e));
    assert_true(dukd_yaml_get_int64(root, "nil", 0, 9, &v, &e));
    assert_true(dukd_yaml_get_int64(root, "nil.below", 0, 9, &v, &e));
    assert_true(dukd_yaml_get_int64(root, "section.b", 0, 9, &v, &e));
    assert_int_equal(v, 77);
    assert_true(dukd_yaml_get_uint64(root, "max", 0, UINT64_MAX, &u, &e));
    assert_true(u == UINT64_MAX);
    assert_true(dukd_yaml_get_uint64(root, "big", 0, UINT64_MAX, &u, &e));
    assert_true(u == 10000000000000000000u);

    static const char *const bad[] = {"max",  "tenth", "text",    "quoted", "big",
                                      "huge", "list",  "section", "nan"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_false(dukd_yaml_get_int64(root, bad[i], INT64_MIN, INT64_MAX, &v, &e));
        assert_int_equal(v, 77);
    }
    assert_false(dukd_yaml_get_uint64(root, "min", 0, UINT64_MAX, &u, &e));
    assert_false(dukd_yaml_get_uint64(root, "huge", 0, UINT64_MAX, &u, &e));
    assert_false(dukd_yaml_get_int64(root, "plain", 13, INT64_MAX, &v, &e));
    SAYS("opt.yml:1:8: plain: expected an integer of at least 13, found the integer 12");
    assert_false(dukd_yaml_get_int64(root, "plain", 0, 11, &v, &e));
    SAYS("opt.yml:1:8: plain: expected an integer from 0 to 11, found the integer 12");
    assert_true(dukd_yaml_get_int64(root, "plain", 12, 12, &v, &e));
    assert_false(dukd_yaml_get_int64(root, "text", INT64_MIN, INT64_MAX, &v, &e));
    SAYS("opt.yml:13:7: text: expected an integer, found the text \"auto\"");
    assert_false(dukd_yaml_get_int64(root, "quoted", INT64_MIN, INT64_MAX, &v, &e));
    SAYS("opt.yml:14:9: quoted: expected an integer, found the quoted text \"5\"");
    assert_false(dukd_yaml_get_int64(root, "section", INT64_MIN, INT64_MAX, &v, NULL));
    dukd_yaml_destroy(y);
}

static void numbers_booleans_texts_choices(void **state) {
    (void)state;
    dukd_yaml *y =
        must("train:\n  lr: 1e-4\n  lr2: !!float 1e-4\n  minus: -.5\n  inf: .inf\n  nan: .nan\n  int: 3\n"
             "  hex: 0xffffffffffffffffffff\n  long: 123456789012345678901234567890\n  sixty: 1:30.5\n"
             "  q: '1.0'\n  yes: yes\n  one: 1\n  mode: paper\n  name: 010\n  empty: ''\n  none: ~\n");
    const dukd_yaml_node *root = dukd_yaml_root(y), *train = dukd_yaml_find(root, "train");
    static const struct {
        const char *path;
        double value;
    } good[] = {{"lr", 1e-4}, {"lr2", 1e-4}, {"minus", -.5},  {"inf", INFINITY},
                {"int", 3},   {"name", 8.0}, {"sixty", 90.5}, {"long", 123456789012345678901234567890.0}};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        double v = 77;
        if (!dukd_yaml_get_double(train, good[i].path, -INFINITY, INFINITY, &v, &e))
            fail_msg("%s", e.message);
        assert_true(v == good[i].value);
    }
    double v = 77;
    assert_false(dukd_yaml_get_double(train, "nan", -INFINITY, INFINITY, &v, &e));
    assert_false(dukd_yaml_get_double(train, "hex", -INFINITY, INFINITY, &v, &e));
    assert_false(dukd_yaml_get_double(train, "inf", 0, 1e300, &v, &e));
    assert_false(dukd_yaml_get_double(train, "q", 0, 9, &v, &e));
    assert_false(dukd_yaml_get_double(root, "train.minus", 0, 1, &v, &e));
    SAYS("opt.yml:4:10: train.minus: expected a number from 0 to 1, found the text \"-.5\"");
    assert_false(dukd_yaml_get_double(train, "minus", 0, INFINITY, &v,
                                      &e)); /* the path is from the root in any case */
    SAYS("opt.yml:4:10: train.minus: expected a number of at least 0, found the text \"-.5\"");
    assert_false(dukd_yaml_get_double(root, "train", 0, INFINITY, &v, &e));
    SAYS("opt.yml:2:3: train: expected a number of at least 0, found a section");
    assert_false(dukd_yaml_get_double(root, "train.lr.x", 0, 1, &v, &e));
    SAYS("opt.yml:2:7: train.lr: expected a section (with the key x in it), found the text \"1e-4\"");
    assert_true(v == 77);

    bool b = false;
    assert_true(dukd_yaml_get_bool(train, "yes", &b, &e));
    assert_true(b);
    assert_false(dukd_yaml_get_bool(train, "one", &b, &e));
    SAYS("opt.yml:13:8: train.one: expected true or false, found the integer 1");
    const char *text = "default";
    assert_true(dukd_yaml_get_string(train, "none", &text, &e));
    assert_string_equal(text, "default");
    assert_true(dukd_yaml_get_string(train, "name", &text, &e));
    assert_string_equal(text, "010");
    assert_true(dukd_yaml_get_string(train, "empty", &text, &e));
    assert_string_equal(text, "");
    assert_false(dukd_yaml_get_string(root, "train", &text, &e));
    static const char *const modes[] = {"official", "paper", NULL};
    int mode = 0;
    assert_true(dukd_yaml_get_choice(train, "mode", modes, &mode, &e));
    assert_int_equal(mode, 1);
    assert_false(dukd_yaml_get_choice(train, "lr", modes, &mode, &e));
    SAYS("opt.yml:2:7: train.lr: expected one of official, paper, found the text \"1e-4\"");
    assert_true(dukd_yaml_get_choice(train, "absent", modes, &mode, &e));
    assert_int_equal(mode, 1);
    assert_true(dukd_yaml_is_null(root, "train.none"));
    assert_false(dukd_yaml_is_null(root, "train.empty"));
    assert_false(dukd_yaml_is_null(root, "train.absent"));
    dukd_yaml_destroy(y);
}

/* A host that has set a locale with a decimal comma reads and writes the same. */
static void the_locale_does_not_matter(void **state) {
    (void)state;
    static const char *const commas[] = {"de_DE.UTF-8", "fr_FR.UTF-8", "de_DE", NULL};
    const char *set = NULL;
    for (size_t i = 0; commas[i] && !set; i++) set = setlocale(LC_NUMERIC, commas[i]);
    if (!set) {
        printf("no locale with a decimal comma is installed: nothing to try\n");
        skip();
    }
    dukd_yaml *y = must("a: 0.5\nb: 1:30.5\n");
    double v = 0;
    assert_true(dukd_yaml_get_double(dukd_yaml_root(y), "a", 0, 1, &v, &e));
    char *json = dukd_yaml_to_json(dukd_yaml_root(y), NULL, &e);
    setlocale(LC_NUMERIC, "C");
    assert_true(v == 0.5);
    assert_string_equal(json, "{\n  \"a\": 0.5,\n  \"b\": 90.5\n}\n");
    free(json);
    dukd_yaml_destroy(y);
}

static void lists(void **state) {
    (void)state;
    dukd_yaml *y =
        must("betas: [0.9, 0.99]\nsteps: [100000, 2e5]\nterms:\n- rec\n- kd\nflags: [yes, off]\nempty: []\n"
             "bad: [1, x, 3]\nscalar: 1\nnil: ~\nnested: [[1]]\n");
    const dukd_yaml_node *root = dukd_yaml_root(y);
    double d[3] = {5, 6, 7};
    size_t n = 1;
    assert_true(dukd_yaml_get_doubles(root, "nil", 0, 1, 2, 2, d, &n, &e));
    assert_true(dukd_yaml_get_doubles(root, "absent", 0, 1, 2, 2, d, &n, &e));
    assert_int_equal(n, 1);
    assert_true(d[0] == 5);
    assert_true(dukd_yaml_get_doubles(root, "betas", 0, 1, 2, 2, d, &n, &e));
    assert_int_equal(n, 2);
    assert_true(d[0] == .9 && d[1] == .99 && d[2] == 7);
    int64_t i[4];
    assert_true(dukd_yaml_get_int64s(root, "steps", 0, INT64_MAX, 0, 4, i, &n, &e));
    assert_true(n == 2 && i[0] == 100000 && i[1] == 200000);
    uint64_t u[2];
    assert_true(dukd_yaml_get_uint64s(root, "steps", 0, UINT64_MAX, 0, 2, u, &n, &e));
    assert_true(n == 2 && u[1] == 200000);
    const char *text[2];
    assert_true(dukd_yaml_get_strings(root, "terms", 1, 2, text, &n, &e));
    assert_string_equal(text[1], "kd");
    bool b[2];
    assert_true(dukd_yaml_get_bools(root, "flags", 1, 2, b, &n, &e));
    assert_true(b[0] && !b[1]);
    assert_true(dukd_yaml_get_bools(root, "empty", 0, 2, b, &n, &e));
    assert_int_equal(n, 0);
    assert_false(dukd_yaml_get_int64s(root, "bad", 0, 9, 1, 4, i, &n, &e));
    SAYS("opt.yml:8:10: bad.1: expected an integer from 0 to 9, found the text \"x\"");
    assert_false(dukd_yaml_get_int64s(root, "steps", 0, INT64_MAX, 3, 4, i, &n, &e));
    SAYS("opt.yml:2:8: steps: expected a list of 3 to 4, like [a, b], found a list of 2");
    assert_false(dukd_yaml_get_int64s(root, "steps", 0, INT64_MAX, 1, 1, i, &n, &e));
    SAYS("opt.yml:2:8: steps: expected a list of 1, like [a, b], found a list of 2");
    assert_false(dukd_yaml_get_int64s(root, "scalar", 0, 9, 1, 4, i, &n, &e));
    SAYS("opt.yml:9:9: scalar: expected a list of 1 to 4, like [a, b], found the integer 1");
    assert_false(dukd_yaml_get_int64s(root, "nested", 0, 9, 1, 4, i, &n, &e));
    int64_t v = 0;
    assert_true(dukd_yaml_get_int64(root, "nested.0.0", 0, 9, &v, &e));
    assert_int_equal(v, 1);
    dukd_yaml_destroy(y);
}

static void required_ones(void **state) {
    (void)state;
    dukd_yaml *y = must("path:\n  root: ~\ntrain: {optim_g: {type: Adam}}\nscale: 4\n");
    const dukd_yaml_node *root = dukd_yaml_root(y);
    assert_non_null(dukd_yaml_require(root, "train.optim_g.type", &e));
    assert_null(dukd_yaml_require(root, "name", &e));
    SAYS("opt.yml: the required option name is missing");
    assert_null(dukd_yaml_require(root, "train.optim_g.lr", &e));
    SAYS("opt.yml:3:9: the required option train.optim_g.lr is missing; it belongs into the section "
         "train.optim_g that "
         "begins here");
    assert_null(dukd_yaml_require(dukd_yaml_find(root, "train"), "optim_g.lr", &e));
    assert_non_null(strstr(e.message, "option train.optim_g.lr is"));
    assert_null(dukd_yaml_require(root, "train.scheduler.type", &e));
    assert_non_null(
        strstr(e.message, "option train.scheduler.type is missing; it belongs into the section train that"));
    assert_null(dukd_yaml_require(root, "path.root", &e));
    SAYS("opt.yml:2:9: path.root: is null, but it is required");
    assert_null(dukd_yaml_require(root, "scale.x", &e));
    assert_non_null(strstr(e.message, "scale: expected a section"));
    assert_null(dukd_yaml_require(root, "path.root.x", &e));
    assert_non_null(strstr(e.message, "path.root.x is missing"));
    assert_false(dukd_yaml_fail_at(&e, dukd_yaml_find(root, "scale"), "must be %d", 2));
    SAYS("opt.yml:4:8: scale: must be 2");
    dukd_yaml_destroy(y);
}

/* ---------------------------------------------------------------- known keys */

static const dukd_yaml_known known[] = {
    {"name", NULL},
    {"scale", NULL},
    {"datasets.*.dataroot_gt", NULL},
    {"datasets.*.dataroot_lq", NULL},
    {"datasets.train.gt_size", NULL},
    {"datasets.val*.name", NULL},
    {"network_g.**", NULL},
    {"train.ema_decay", NULL},
    {"train.optim_g.type", NULL},
    {"train.optim_g.lr", NULL},
    {"train.total_iter", NULL},
    {"train.noisy.prob", NULL},
    {"train.betas", NULL},
    {"val.metrics.*.type", NULL},
    {"val.metrics.*.crop_border", NULL},
    {"val.self_ensemble", "no code reads it"},
    {"logger.wandb.**", "for wandb"},
    {"both", "ignored here"},
    {"both", NULL},
    {"steps.*.lr", NULL},
};
enum { KNOWN = sizeof known / sizeof *known };

typedef struct {
    char text[4096];
} heard;

static void hear(void *ctx, const char *message) {
    heard *h = ctx;
    snprintf(h->text + strlen(h->text), sizeof h->text - strlen(h->text), "%s\n", message);
}

static void fine(const char *text, const char *warnings) {
    heard h = {""};
    dukd_yaml *y = must(text);
    if (!dukd_yaml_check_keys(dukd_yaml_root(y), known, KNOWN, hear, &h, &e)) fail_msg("%s", e.message);
    assert_string_equal(h.text, warnings);
    assert_true(dukd_yaml_check_keys(dukd_yaml_root(y), known, KNOWN, NULL, NULL, NULL));
    dukd_yaml_destroy(y);
}

static void unknown(const char *text, const char *message) {
    dukd_yaml *y = must(text);
    assert_false(dukd_yaml_check_keys(dukd_yaml_root(y), known, KNOWN, NULL, NULL, &e));
    SAYS(message);
    assert_false(dukd_yaml_check_keys(dukd_yaml_root(y), known, KNOWN, NULL, NULL, NULL));
    dukd_yaml_destroy(y);
}

static void known_keys(void **state) {
    (void)state;
    fine("name: x\nscale: 4\ndatasets: {train: {gt_size: 1, dataroot_gt: a}, val_1: {name: Set5, "
         "dataroot_lq: ~}}\n"
         "network_g: {type: EDSR, deep: {er: [1]}}\ntrain: {noisy: ~, betas: [1, 2], optim_g: {}}\n"
         "val: {metrics: {psnr: {type: a}, ssim: {crop_border: 4}}}\nsteps: [{lr: 1}, {lr: 2}]\nboth: 1\n",
         "");
    fine("val:\n  self_ensemble: true\nlogger:\n  wandb:\n    project: p\n    id: ~\n",
         "opt.yml:2:3: val.self_ensemble is ignored: no code reads it\n"
         "opt.yml:5:5: logger.wandb.project is ignored: for wandb\n");
    fine("val: {self_ensemble: {a: {b: 1}}}\n",
         "opt.yml:1:7: val.self_ensemble is ignored: no code reads it\n");
}

static void unknown_keys_name_the_nearest(void **state) {
    (void)state;
    unknown("train:\n  ema_deacy: 1\n",
            "opt.yml:2:3: unknown option train.ema_deacy; did you mean train.ema_decay?");
    unknown("train: {EMA_decay: 1}\n",
            "opt.yml:1:9: unknown option train.EMA_decay; did you mean train.ema_decay?");
    unknown("trian: {ema_decay: 1}\n", "opt.yml:1:1: unknown option trian; did you mean train?");
    unknown("Scale: 1\n", "opt.yml:1:1: unknown option Scale; did you mean scale?");
    unknown("train: {lr: 1}\n",
            "opt.yml:1:9: unknown option train.lr; there is train.optim_g.lr: move it there");
    unknown("total_iter: 1\n",
            "opt.yml:1:1: unknown option total_iter; there is train.total_iter: move it there");
    unknown("total_itr: 1\n", "opt.yml:1:1: unknown option total_itr; did you mean train.total_iter?");
    unknown("optim_g: {type: Adam}\n",
            "opt.yml:1:1: unknown option optim_g; there is train.optim_g: move it there");
    unknown(
        "val: {crop_border: 4}\n",
        "opt.yml:1:7: unknown option val.crop_border; there is val.metrics.NAME.crop_border: move it there");
    unknown("val: {metrics: {psnr: {crop_boarder: 4}}}\n",
            "opt.yml:1:24: unknown option val.metrics.psnr.crop_boarder; did you mean "
            "val.metrics.psnr.crop_border?");
    unknown("datasets: {val_1: {nam: x}}\n",
            "opt.yml:1:20: unknown option datasets.val_1.nam; did you mean datasets.val_1.name?");
    unknown("datasets: {train: {dataroot: x}}\n",
            "opt.yml:1:20: unknown option datasets.train.dataroot; did you mean datasets.train.dataroot_gt?");
    unknown("train: {optim_g: {zzzzzzzz: 1}}\n",
            "opt.yml:1:19: unknown option train.optim_g.zzzzzzzz; known here: type, lr");
    unknown("steps: [{lr: 1}, {rl: 2}]\n",
            "opt.yml:1:19: unknown option steps.1.rl; did you mean steps.1.lr?");
    unknown(
        "train:\n  ema: 1\n  a1: 1\nb1: {c: 1}\nc1: 1\nd1: 1\ne1: 1\n",
        "opt.yml:2:3: unknown option train.ema; known here: ema_decay, optim_g, total_iter, noisy, betas; "
        "unknown too: train.a1 (line 3), b1 (line 4), c1 (line 5) and 2 more");
}

static void sections_and_values_are_not_mixed_up(void **state) {
    (void)state;
    unknown("train: 5\n",
            "opt.yml:1:8: train: expected a section (its keys indented in the lines below it), found "
            "the integer 5");
    unknown("train: [1]\n",
            "opt.yml:1:8: train: expected a section (its keys indented in the lines below it), found "
            "a list of 1");
    unknown("scale:\n  x: 1\n", "opt.yml:2:3: scale: expected a value, found a section");
    unknown("scale: [{x: 1}]\n", "opt.yml:1:8: scale: expected a value, found a list of 1");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers),
        cmocka_unit_test(numbers_booleans_texts_choices),
        cmocka_unit_test(the_locale_does_not_matter),
        cmocka_unit_test(lists),
        cmocka_unit_test(required_ones),
        cmocka_unit_test(known_keys),
        cmocka_unit_test(unknown_keys_name_the_nearest),
        cmocka_unit_test(sections_and_values_are_not_mixed_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
