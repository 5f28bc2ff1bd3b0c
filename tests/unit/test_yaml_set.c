/* Overrides from the command line, the flat list that goes over the plugin ABI, and writing: what is written reads back equal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dukd_yaml.h"

static dukd_yaml_error e;
#define SAYS(text) assert_string_equal(e.message, text)

static dukd_yaml *must(const char *text) {
    dukd_yaml *y = dukd_yaml_read_text(text, strlen(text), "opt.yml", &e);
    if (!y) fail_msg("refused: %s\n%s", e.message, text);
    return y;
}

static const char *text_at(const dukd_yaml *y, const char *path) {
    const dukd_yaml_node *node = dukd_yaml_find(dukd_yaml_root(y), path);
    if (!node) fail_msg("nothing at %s", path);
    return dukd_yaml_node_text(node);
}

static dukd_yaml_type type_at(const dukd_yaml *y, const char *path) {
    return dukd_yaml_node_type(dukd_yaml_find(dukd_yaml_root(y), path));
}

static const char base[] =
    "name: x\ntrain:\n  total_iter: 1000\n  betas: [0.9, 0.99]\n  noisy: ~\nlist: [{a: 1}, [1, 2]]\n";

/* ---------------------------------------------------------------- overrides */

static void set_values(void **state) {
    (void)state;
    dukd_yaml *y = must(base);
    static const char *const arguments[] = {
        "train.total_iter=20",
        "train.betas.1=0.999",
        "train.noisy.prob = .3 ",
        "datasets.val_1.name=Set5",
        "filename_tmpl={}x4",
        "lr=!!float 1e-4",
        "steps=[1, !!float 2e0, 'a b']",
        "quoted='5'",
        "equals=a=b",
        "empty=",
        "nothing=~",
        "colon=a: b # c",
        "list.0.a=2",
        "list.1=[]",
        "star=*.png",
        "none=none",
        "utf8=\xc3\xa4",
        "name=[x]",
        "path=C:\\x",
        "nested=[[1, 2], [3]]",
        "double=\"a\\tb\"",
    };
    for (unsigned i = 0; i < sizeof arguments / sizeof *arguments; i++) {
        if (!dukd_yaml_set(y, i + 1, arguments[i], &e)) fail_msg("%s", e.message);
    }
    assert_string_equal(text_at(y, "train.total_iter"), "20");
    assert_string_equal(text_at(y, "train.betas.1"), "0.999");
    assert_string_equal(text_at(y, "train.betas.0"), "0.9");
    assert_string_equal(text_at(y, "train.noisy.prob"), ".3");
    assert_int_equal(type_at(y, "train.noisy.prob"), DUKD_YAML_FLOAT);
    assert_string_equal(text_at(y, "datasets.val_1.name"), "Set5");
    assert_string_equal(text_at(y, "filename_tmpl"), "{}x4");
    assert_int_equal(type_at(y, "lr"), DUKD_YAML_FLOAT);
    assert_string_equal(text_at(y, "steps.2"), "a b");
    assert_int_equal(type_at(y, "steps.1"), DUKD_YAML_FLOAT);
    assert_int_equal(type_at(y, "quoted"), DUKD_YAML_STRING);
    assert_string_equal(text_at(y, "equals"), "a=b");
    assert_int_equal(type_at(y, "empty"), DUKD_YAML_NULL);
    assert_int_equal(type_at(y, "nothing"), DUKD_YAML_NULL);
    assert_string_equal(text_at(y, "colon"), "a: b # c");
    assert_string_equal(text_at(y, "list.0.a"), "2");
    assert_int_equal(dukd_yaml_node_count(dukd_yaml_find(dukd_yaml_root(y), "list.1")), 0);
    assert_string_equal(text_at(y, "star"), "*.png");
    assert_int_equal(type_at(y, "none"), DUKD_YAML_STRING);
    assert_string_equal(text_at(y, "name.0"), "x");
    assert_string_equal(text_at(y, "nested.1.0"), "3");
    assert_string_equal(text_at(y, "double"), "a\tb");
    /* Places and paths of what was put in. */
    dukd_yaml_place place = dukd_yaml_node_place(dukd_yaml_find(dukd_yaml_root(y), "train.noisy.prob"));
    assert_string_equal(place.file, "--set argument 3");
    assert_int_equal(place.column, 20);
    place = dukd_yaml_node_place(dukd_yaml_find(dukd_yaml_root(y), "steps.1"));
    assert_string_equal(place.file, "--set argument 7");
    assert_int_equal(place.line, 1);
    assert_int_equal(place.column, 11);
    int64_t v = 0;
    assert_false(dukd_yaml_get_int64(dukd_yaml_root(y), "train.noisy.prob", 0, 1, &v, &e));
    SAYS("--set argument 3:1:20: train.noisy.prob: expected an integer from 0 to 1, found the number .3");
    assert_false(dukd_yaml_get_int64(dukd_yaml_root(y), "nested.0.1", 0, 1, &v, &e));
    SAYS("--set argument 20:1:13: nested.0.1: expected an integer from 0 to 1, found the integer 2");
    dukd_yaml_destroy(y);
}

static void force_yml_is_basicsr_s(void **state) {
    (void)state;
    dukd_yaml *y = must(base);
    static const char *const arguments[] = {
        "train:total_iter=10",
        "train:betas=[0.5, None]",
        "name=None",
        "a:b:c=True",
        "x=false",
        "minus=-1",
        "exp=1e-4",
        "f=!!float 5e3",
        "s=['a', \"None\"]",
        "y=none",
    };
    for (unsigned i = 0; i < sizeof arguments / sizeof *arguments; i++) {
        if (!dukd_yaml_force(y, i + 1, arguments[i], &e)) fail_msg("%s", e.message);
    }
    assert_string_equal(text_at(y, "train.total_iter"), "10");
    assert_string_equal(text_at(y, "train.betas.0"), "0.5");
    assert_int_equal(type_at(y, "train.betas.1"), DUKD_YAML_NULL);
    assert_int_equal(type_at(y, "name"), DUKD_YAML_NULL);
    assert_int_equal(type_at(y, "y"), DUKD_YAML_NULL);
    assert_int_equal(type_at(y, "a.b.c"), DUKD_YAML_BOOL);
    assert_int_equal(type_at(y, "x"), DUKD_YAML_BOOL);
    assert_int_equal(type_at(y, "f"), DUKD_YAML_FLOAT);
    assert_int_equal(type_at(y, "s.1"), DUKD_YAML_STRING); /* quoted: the word */
    int64_t v = 0;
    double d = 0;
    assert_true(dukd_yaml_get_int64(dukd_yaml_root(y), "minus", -9, 9, &v, &e));
    assert_int_equal(v, -1);
    assert_true(dukd_yaml_get_double(dukd_yaml_root(y), "exp", 0, 9, &d, &e));
    assert_true(d == 1e-4);
    assert_false(dukd_yaml_force(y, 3, "train.total_iter=10", &e));
    assert_true(strncmp(e.message, "--force_yml argument 3:1:1: ", 28) == 0);
    assert_non_null(strstr(e.message, "contains a dot"));
    dukd_yaml_destroy(y);
}

static void bad_overrides(void **state) {
    (void)state;
    static const struct {
        const char *argument, *message;
    } bad[] = {
        {"train.total_iter",
         "1:1: \"train.total_iter\" is not of the form path.key=value, like train.total_iter=1000"},
        {"=5", "1:1: \"=5\" is not of the form path.key=value, like train.total_iter=1000"},
        {"train..x=5", "1:7: a key is missing (empty) here"},
        {".x=5", "1:1: a key is missing (empty) here"},
        {"x.=5", "1:3: a key is missing (empty) here"},
        {"name.x=5", "1:1: name has no keys: it is the text \"x\" (opt.yml:1:7)"},
        {"train.betas.2=5", "1:1: train.betas is a list of 2: its elements are 0 to 1, not \"2\""},
        {"train.betas.x=5", "1:1: train.betas is a list of 2: its elements are 0 to 1, not \"x\""},
        {"train.betas.-1=5", "1:1: train.betas is a list of 2: its elements are 0 to 1, not \"-1\""},
        {"x=!!float y", "1:3: !!float in front of \"y\", which is none"},
        {"x=[1, !!int y]", "1:7: !!int in front of \"y\", which is none"},
        {"x='a': 1", "1:3: a value is a scalar or a list; set the keys of a section one by one"},
        {"x=[1\x01]", "1:5: control character U+0001; options are plain text"},
        {"x=a\xff", "1:4: byte 0xff is not valid UTF-8; save the file as UTF-8"},
    };
    dukd_yaml *y = must(base), *before = must(base);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char message[512];
        snprintf(message, sizeof message, "--set argument 7:%s", bad[i].message);
        assert_false(dukd_yaml_set(y, 7, bad[i].argument, &e));
        SAYS(message);
        assert_string_equal(e.file, "--set argument 7");
        assert_false(dukd_yaml_set(y, 7, bad[i].argument, NULL));
        assert_true(dukd_yaml_equal(dukd_yaml_root(y), dukd_yaml_root(before))); /* nothing has changed */
    }
    assert_false(dukd_yaml_set(y, 1, "x=[1, 2", &e));
    assert_non_null(strstr(e.message, "--set argument 1:2:1: not valid YAML"));
    char deep[256] = "a";
    for (int i = 0; i < 40; i++) strcat(deep, ".a");
    strcat(deep, "=1");
    assert_false(dukd_yaml_set(y, 1, deep, &e));
    assert_non_null(strstr(e.message, "more than 32 keys"));
    assert_false(dukd_yaml_set(
        y, 1, "a.b.c.d.e.f.g=[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]", &e));
    assert_non_null(strstr(e.message, "nested deeper than 32"));
    assert_true(dukd_yaml_equal(dukd_yaml_root(y), dukd_yaml_root(before)));
    dukd_yaml_destroy(before);
    dukd_yaml_destroy(y);
}

static void a_program_puts_values_in(void **state) {
    (void)state;
    dukd_yaml *y = must(base);
    assert_true(dukd_yaml_put(y, "manual_seed", "1234", "drawn at the start", &e));
    assert_true(dukd_yaml_put(y, "train.betas", "[1, 2]", "a default", &e));
    assert_string_equal(text_at(y, "manual_seed"), "1234");
    assert_string_equal(text_at(y, "train.betas.1"), "2");
    assert_string_equal(dukd_yaml_node_place(dukd_yaml_find(dukd_yaml_root(y), "manual_seed")).file,
                        "drawn at the start");
    assert_false(dukd_yaml_put(y, "name.x", "1", "a default", &e));
    assert_false(dukd_yaml_put(y, "", "1", "a default", &e));
    dukd_yaml_destroy(y);
}

/* ---------------------------------------------------------------- flat */

static void flat_lists_every_value(void **state) {
    (void)state;
    dukd_yaml *y = must(
        "name: 'yes'\ntrain:\n  on: yes\n  hex: 0x10\n  under: 1_000\n  lr: !!float 1e-4\n  lr2: 1_0e-4\n"
        "  inf: -.inf\n  sixty: 1:30\n  f: 0.1\n  big: 99999999999999999999\n  noisy: ~\n  empty: {}\n"
        "  terms: [rec, off, ~, 010]\n  none: []\nlist:\n- {a: 1}\n- [2]\n- c\nstr: !!str 0x10\n");
    assert_true(dukd_yaml_set(y, 2, "train.zoom_in=grid", &e));
    static const struct {
        const char *key, *place, *values; /* separated by | */
        bool list, null;
    } known[] = {
        {"name", "opt.yml:1:7", "yes|", false, false},
        {"train.on", "opt.yml:3:7", "true|", false, false},
        {"train.hex", "opt.yml:4:8", "16|", false, false},
        {"train.under", "opt.yml:5:10", "1000|", false, false},
        {"train.lr", "opt.yml:6:7", "1e-4|", false, false},
        {"train.lr2", "opt.yml:7:8", "0.001|", false, false},
        {"train.inf", "opt.yml:8:8", "-inf|", false, false},
        {"train.sixty", "opt.yml:9:10", "90|", false, false},
        {"train.f", "opt.yml:10:6", "0.1|", false, false},
        {"train.big", "opt.yml:11:8", "99999999999999999999|", false, false},
        {"train.noisy", "opt.yml:12:10", "", false, true},
        {"train.terms", "opt.yml:14:10", "rec|false|~|8|", true, false},
        {"train.none", "opt.yml:15:9", "", true, false},
        {"train.zoom_in", "--set argument 2:1:15", "grid|", false, false},
        {"list.0.a", "opt.yml:17:7", "1|", false, false},
        {"list.1", "opt.yml:18:3", "2|", true, false},
        {"list.2", "opt.yml:19:3", "c|", false, false},
        {"str", "opt.yml:20:6", "0x10|", false, false},
    };
    dukd_yaml_flat *flat = dukd_yaml_flatten(dukd_yaml_root(y), &e);
    assert_non_null(flat);
    assert_int_equal(flat->count, sizeof known / sizeof *known);
    for (size_t i = 0; i < flat->count; i++) {
        const dukd_yaml_leaf *leaf = &flat->leaves[i];
        char values[256] = "";
        for (size_t k = 0; k < leaf->count; k++) {
            strcat(values, leaf->values[k]);
            strcat(values, "|");
        }
        assert_string_equal(leaf->key, known[i].key);
        assert_string_equal(leaf->place, known[i].place);
        assert_string_equal(values, known[i].values);
        assert_int_equal(leaf->is_list, known[i].list);
        assert_int_equal(leaf->is_null, known[i].null);
        assert_ptr_equal(leaf->node, dukd_yaml_find(dukd_yaml_root(y), leaf->key));
    }
    dukd_yaml_flat_destroy(flat);
    flat = dukd_yaml_flatten(dukd_yaml_find(dukd_yaml_root(y), "train.terms"), &e);
    assert_int_equal(flat->count, 1);
    assert_string_equal(flat->leaves[0].key, "train.terms");
    dukd_yaml_flat_destroy(flat);
    dukd_yaml_flat_destroy(NULL);
    dukd_yaml_destroy(y);
}

/* ---------------------------------------------------------------- writing */

static void written_as_a_person_would(void **state) {
    (void)state;
    dukd_yaml *y =
        must("a:   1 # one\nb: {c: [x,  'y z', \"5\"], d: {}, e: [], f: ~, g: }\nh: !!float 1e-4\n"
             "i: 'it''s'\nj: \"tab\\there\"\nk:\n- {m: 1, n: 2}\n- [1, [2]]\n- o, p\nl:\n- a, b\n- c\n"
             "'k e y': v\n");
    static const char expected[] = "a: 1\n"
                                   "b:\n"
                                   "  c: [x, 'y z', '5']\n"
                                   "  d: {}\n"
                                   "  e: []\n"
                                   "  f: ~\n"
                                   "  g: ~\n"
                                   "h: !!float 1e-4\n"
                                   "i: 'it''s'\n"
                                   "j: \"tab\\there\"\n"
                                   "k:\n"
                                   "  -\n"
                                   "    m: 1\n"
                                   "    n: 2\n"
                                   "  -\n"
                                   "    - 1\n"
                                   "    - [2]\n"
                                   "  - o, p\n"
                                   "l:\n"
                                   "  - a, b\n"
                                   "  - c\n"
                                   "'k e y': v\n";
    size_t size = 0;
    char *text = dukd_yaml_to_text(dukd_yaml_root(y), &size, &e);
    assert_string_equal(text, expected);
    assert_int_equal(size, strlen(expected));
    free(text);
    assert_true(dukd_yaml_set(y, 1, "b.c=[=, '5']", &e)); /* PyYAML has a type for "=", and no value of it */
    assert_true(dukd_yaml_set(y, 1, "a=*.png", &e));
    text = dukd_yaml_to_text(dukd_yaml_find(dukd_yaml_root(y), "a"), NULL, &e);
    assert_string_equal(text, "'*.png'\n");
    free(text);
    text = dukd_yaml_to_text(dukd_yaml_find(dukd_yaml_root(y), "b.c"), NULL, &e);
    assert_string_equal(text, "['=', '5']\n");
    free(text);
    dukd_yaml_destroy(y);
}

static void json_for_programs(void **state) {
    (void)state;
    dukd_yaml *y = must("a: 0x10\nb: [1, 1e-4, .5, yes, ~, '5', \"q\\\"\\\\\\n\\x01\"]\nc: {d: .inf, e: {}, "
                        "f: []}\ng: [{h: \xc3\xa4}]\n"
                        "i: 99999999999999999999\nj: 255.\n");
    char *json = dukd_yaml_to_json(dukd_yaml_root(y), NULL, &e);
    assert_string_equal(
        json,
        "{\n  \"a\": 16,\n  \"b\": [1, 0.0001, 0.5, true, null, \"5\", \"q\\\"\\\\\\u000a\\u0001\"],\n"
        "  \"c\": {\n    \"d\": \".inf\",\n    \"e\": {},\n    \"f\": []\n  },\n"
        "  \"g\": [\n    {\n      \"h\": \"\xc3\xa4\"\n    }\n  ],\n  \"i\": 1e+20,\n  \"j\": 255\n}\n");
    free(json);
    dukd_yaml_destroy(y);
}

/* Writes the tree, reads it, compares; writes again, compares the bytes. */
static void round_trip(const dukd_yaml *y) {
    size_t n = 0, m = 0;
    char *text = dukd_yaml_to_text(dukd_yaml_root(y), &n, &e);
    assert_non_null(text);
    dukd_yaml *again = dukd_yaml_read_text(text, n, "written", &e);
    if (!again) fail_msg("does not read back: %s\n%s", e.message, text);
    if (!dukd_yaml_equal(dukd_yaml_root(y), dukd_yaml_root(again))) fail_msg("differs:\n%s", text);
    char *twice = dukd_yaml_to_text(dukd_yaml_root(again), &m, &e);
    if (m != n || memcmp(text, twice, n) != 0) fail_msg("written differently:\n%s\nthan:\n%s", twice, text);
    dukd_yaml_destroy(again);
    free(text);
    free(twice);
}

static uint64_t seed;
static unsigned draw(unsigned bound) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(seed >> 33) % bound;
}

/* A random value in flow form: everything that can stand between quotes, and scalars of every kind. */
static void random_value(char *out, size_t room, unsigned depth) {
    static const char *const scalars[] = {"1",
                                          "-1.5",
                                          "1e-4",
                                          "~",
                                          "",
                                          "yes",
                                          "a b",
                                          "a:b",
                                          "-.5",
                                          "0x1F",
                                          "1:30",
                                          "'5'",
                                          "''",
                                          "\"\"",
                                          "'a, b'",
                                          "\"\\n\"",
                                          "x#y",
                                          "-a",
                                          "!!float 1e3",
                                          "!!str 5",
                                          "!!str ~",
                                          "a-b",
                                          "1_000",
                                          "'# x'",
                                          "'- x'",
                                          "'a: b'",
                                          "'a '",
                                          "' a'",
                                          "'{}x4'",
                                          "\"\\u0085\\u2028\\ufeff\\x07\"",
                                          "'it''s'",
                                          "'='",
                                          "'%x'",
                                          "'@x'",
                                          "'...'",
                                          "'---'",
                                          "'~'",
                                          "'null'",
                                          "'?'",
                                          "'a:'",
                                          "!!int 0o7",
                                          "\xc3\xa4\xe2\x82\xac\xf0\x9f\x99\x82",
                                          "'*x'",
                                          "'&x'",
                                          "'a #b'",
                                          "'\\'",
                                          "\"\\\"\\\\\""};
    const unsigned kind = depth > 4 ? 0 : draw(4);
    size_t n = strlen(out);
    if (kind < 2 || room - n < 600) {
        snprintf(out + n, room - n, "%s", scalars[draw(sizeof scalars / sizeof *scalars)]);
        return;
    }
    const unsigned items = draw(4);
    snprintf(out + n, room - n, "%s", kind == 2 ? "[" : "{");
    for (unsigned i = 0; i < items; i++) {
        n = strlen(out);
        if (kind == 3) {
            static const char *const keys[] = {"k%u: ",   "'k %u': ", "\"k\\u00e9%u\": ", "%u: ",
                                               "'~%u': ", "'-%u': ",  "'%u:': ",          "\"a'%u\": "};
            snprintf(out + n, room - n, keys[draw(8)], i);
        }
        random_value(out, room, depth + 1);
        n = strlen(out);
        const bool empty =
            kind == 2 && (out[n - 1] == '[' || out[n - 1] == ' '); /* nothing cannot be an element */
        snprintf(out + n, room - n, "%s", empty ? "~, " : ", ");
    }
    n = strlen(out);
    snprintf(out + n, room - n, "%s", kind == 2 ? "]" : "}");
}

static void what_is_written_reads_back_equal(void **state) {
    (void)state;
    for (seed = 0; seed < 3000;) {
        const uint64_t start = seed;
        char text[8192] = "root: ";
        random_value(text, sizeof text, 0);
        strcat(text, "\n");
        seed = start;
        dukd_yaml *y = must(text);
        round_trip(y);
        dukd_yaml_destroy(y);
        seed = start + 1;
    }
    /* Texts as they come from the command line, plain where they can be. */
    dukd_yaml *y = must("a: 1\n");
    for (unsigned i = 0; i < 3000; i++) {
        static const char alphabet[] = " :#-?,[]{}'\"!&*|>%@`=.~ax05_e+\\\xc3\xa4";
        char argument[64] = "x=";
        seed = i;
        const unsigned length = draw(6);
        for (unsigned k = 0; k < length; k++) {
            const unsigned c = draw(sizeof alphabet - 2);
            strncat(argument, alphabet + c, alphabet[c] == '\xc3' ? 2 : 1);
            if (alphabet[c] == '\xa4') argument[strlen(argument) - 1] = 'y';
        }
        if (dukd_yaml_set(y, 1, argument, NULL)) round_trip(y);
        argument[0] = 'y';
        memmove(argument + 3, argument + 2, strlen(argument + 2) + 1);
        memcpy(argument, "y=[", 3);
        strcat(argument, "]");
        if (dukd_yaml_set(y, 1, argument, NULL)) round_trip(y);
    }
    dukd_yaml_destroy(y);
    y = must("a: &x\n  b: [1, 2]\n  c: |\n    two\n    lines\nd: {<<: *x, e: *x}\nf: >\n  fol\n  ded\ng: "
             "plain\n  over\n\n"
             "  lines\n");
    round_trip(y);
    dukd_yaml_destroy(y);
}

static void equal_means_equal(void **state) {
    (void)state;
    static const struct {
        const char *a, *b;
        bool equal;
    } pairs[] = {
        {"a: 1\n", "{a: 1}", true},          {"a: ~\n", "a:\n", true},
        {"a: x\n", "a: 'x'\n", true},        {"a: 1\n", "a: '1'\n", false},
        {"a: 1e-4\n", "a: '1e-4'\n", false}, {"a: 1\n", "a: 2\n", false},
        {"a: 1\n", "b: 1\n", false},         {"a: [1]\n", "a: [1, 1]\n", false},
        {"a: [1]\n", "a: 1\n", false},       {"a: 1\nb: 2\n", "b: 2\na: 1\n", false},
        {"a: 1\n", "a: 1.\n", false},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        dukd_yaml *a = must(pairs[i].a), *b = must(pairs[i].b);
        if (dukd_yaml_equal(dukd_yaml_root(a), dukd_yaml_root(b)) != pairs[i].equal)
            fail_msg("%s%s", pairs[i].a, pairs[i].b);
        dukd_yaml_destroy(a);
        dukd_yaml_destroy(b);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(set_values),
        cmocka_unit_test(force_yml_is_basicsr_s),
        cmocka_unit_test(bad_overrides),
        cmocka_unit_test(a_program_puts_values_in),
        cmocka_unit_test(flat_lists_every_value),
        cmocka_unit_test(written_as_a_person_would),
        cmocka_unit_test(json_for_programs),
        cmocka_unit_test(what_is_written_reads_back_equal),
        cmocka_unit_test(equal_means_equal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
