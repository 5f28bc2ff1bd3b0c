/* Reading option files: scalars as PyYAML resolves them, BasicSR's conventions, places in every error, hostile files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "dukd_yaml.h"

static dukd_yaml *must(const char *text) {
    dukd_yaml_error e;
    dukd_yaml *y = dukd_yaml_read_text(text, strlen(text), "opt.yml", &e);
    if (!y) fail_msg("refused: %s", e.message);
    return y;
}

/* The text is refused; the message is "opt.yml" PLACE ": " and has `part` in it. */
static void refuse_bytes(const char *text, size_t size, const char *place, const char *part) {
    dukd_yaml_error e = {0};
    dukd_yaml *y = dukd_yaml_read_text(text, size, "opt.yml", &e);
    char start[64];
    assert_null(y);
    snprintf(start, sizeof start, "opt.yml%s: ", place);
    if (strncmp(e.message, start, strlen(start)) != 0 || !strstr(e.message, part)) {
        fail_msg("expected \"%s...%s\", got \"%s\"", start, part, e.message);
    }
    assert_int_equal(e.status, DUKD_YAML_WRONG);
    assert_string_equal(e.file, "opt.yml");
    unsigned line = 0, column = 0;
    if (*place) assert_int_equal(sscanf(place, ":%u:%u", &line, &column), 2);
    assert_int_equal(e.line, line);
    assert_int_equal(e.column, column);
    assert_null(strchr(e.message, '\n'));
}

static void refuse(const char *text, const char *place, const char *part) {
    refuse_bytes(text, strlen(text), place, part);
}

static const dukd_yaml_node *at(const dukd_yaml *y, const char *path) {
    const dukd_yaml_node *node = dukd_yaml_find(dukd_yaml_root(y), path);
    if (!node) fail_msg("nothing at %s", path);
    return node;
}

/* ---------------------------------------------------------------- what files say */

static void scalars_resolve_as_in_pyyaml(void **state) {
    (void)state;
    static const struct {
        const char *text;
        dukd_yaml_type type;
    } known[] = {
        {"", DUKD_YAML_NULL},
        {"~", DUKD_YAML_NULL},
        {"null", DUKD_YAML_NULL},
        {"Null", DUKD_YAML_NULL},
        {"none", DUKD_YAML_STRING},
        {"nUll", DUKD_YAML_STRING},
        {"yes", DUKD_YAML_BOOL},
        {"Off", DUKD_YAML_BOOL},
        {"TRUE", DUKD_YAML_BOOL},
        {"y", DUKD_YAML_STRING},
        {"yEs", DUKD_YAML_STRING},
        {"0", DUKD_YAML_INT},
        {"-12", DUKD_YAML_INT},
        {"1_000", DUKD_YAML_INT},
        {"017", DUKD_YAML_INT},
        {"08", DUKD_YAML_STRING},
        {"0o17", DUKD_YAML_STRING},
        {"0x1F", DUKD_YAML_INT},
        {"0b101", DUKD_YAML_INT},
        {"12:30:45", DUKD_YAML_INT},
        {"1:60", DUKD_YAML_STRING},
        {"18446744073709551616", DUKD_YAML_INT},
        {"255.", DUKD_YAML_FLOAT},
        {"0.4488", DUKD_YAML_FLOAT},
        {".5", DUKD_YAML_FLOAT},
        {"-.5", DUKD_YAML_STRING},
        {"1e-4", DUKD_YAML_STRING},
        {"1e3", DUKD_YAML_STRING},
        {"1.0e3", DUKD_YAML_STRING},
        {"1.0e+3", DUKD_YAML_FLOAT},
        {"1:30.5", DUKD_YAML_FLOAT},
        {".inf", DUKD_YAML_FLOAT},
        {"-.INF", DUKD_YAML_FLOAT},
        {".NaN", DUKD_YAML_FLOAT},
        {"-.nan", DUKD_YAML_STRING},
        {"2001-01-01", DUKD_YAML_STRING},
        {"'5'", DUKD_YAML_STRING},
        {"\"true\"", DUKD_YAML_STRING},
        {"!!float 1e-4", DUKD_YAML_FLOAT},
        {"!!float 5", DUKD_YAML_FLOAT},
        {"!!int 0o17", DUKD_YAML_INT},
        {"!!str 5", DUKD_YAML_STRING},
        {"!!bool yes", DUKD_YAML_BOOL},
        {"!!null ~", DUKD_YAML_NULL},
        {"!!float '1e-4'", DUKD_YAML_FLOAT},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        char text[64];
        snprintf(text, sizeof text, "a: %s\n", known[i].text);
        dukd_yaml *y = must(text);
        if (dukd_yaml_node_type(at(y, "a")) != known[i].type) {
            fail_msg("%s: type %d", known[i].text, dukd_yaml_node_type(at(y, "a")));
        }
        dukd_yaml_destroy(y);
    }
}

static void nodes_know_text_tag_quotes_and_place(void **state) {
    (void)state;
    dukd_yaml *y = must("\xef\xbb\xbfname: 'it''s'  # comment\n"
                        "train:\n"
                        "  optim_g: {type: Adam, lr: !!float 1e-4}\n"
                        "  betas: [0.9,\n"
                        "          \"\\u00e9\\x41\"]\n"
                        "  \xc3\xa4\xc3\xb6: \xc3\xbc  x\n"
                        "text: |\n"
                        "  two\n"
                        "  lines\n");
    const dukd_yaml_node *n = at(y, "name");
    assert_string_equal(dukd_yaml_node_text(n), "it's");
    assert_true(dukd_yaml_node_quoted(n));
    assert_int_equal(dukd_yaml_node_place(n).line, 1);
    assert_int_equal(dukd_yaml_node_place(n).column, 7); /* the byte order mark is no column */
    assert_int_equal(dukd_yaml_node_key_place(n).column, 1);
    assert_string_equal(dukd_yaml_node_place(n).file, "opt.yml");
    n = at(y, "train.optim_g.lr");
    assert_string_equal(dukd_yaml_node_text(n), "1e-4");
    assert_int_equal(dukd_yaml_node_tag(n), DUKD_YAML_TAG_FLOAT);
    assert_false(dukd_yaml_node_quoted(n));
    assert_string_equal(dukd_yaml_node_key(n), "lr");
    assert_int_equal(dukd_yaml_node_key_place(n).column, 25);
    n = at(y, "train.betas");
    assert_int_equal(dukd_yaml_node_kind(n), DUKD_YAML_LIST);
    assert_int_equal(dukd_yaml_node_count(n), 2);
    n = dukd_yaml_node_at(n, 1);
    assert_string_equal(dukd_yaml_node_text(n), "\xc3\xa9"
                                                "A");
    assert_int_equal(dukd_yaml_node_place(n).line, 5);
    char *path = dukd_yaml_node_path(n);
    assert_string_equal(path, "train.betas.1");
    free(path);
    n = at(y, "train.\xc3\xa4\xc3\xb6");
    assert_int_equal(dukd_yaml_node_place(n).column, 7); /* columns count characters */
    n = at(y, "text");
    assert_string_equal(dukd_yaml_node_text(n), "two\nlines\n");
    assert_true(dukd_yaml_node_quoted(n));
    assert_null(dukd_yaml_find(dukd_yaml_root(y), "train.optim_g.lr.x"));
    assert_null(dukd_yaml_find(dukd_yaml_root(y), "train.betas.2"));
    assert_null(dukd_yaml_find(dukd_yaml_root(y), "nam"));
    dukd_yaml_destroy(y);
}

static void aliases_and_merge_keys(void **state) {
    (void)state;
    dukd_yaml *y = must("base: &b {type: disk, size: 1, x: [1, 2]}\n"
                        "more: &m {size: 2, extra: yes}\n"
                        "plain: &s 5\n"
                        "one: *b\n"
                        "two:\n"
                        "  <<: [*m, *b]\n"
                        "  type: lmdb\n"
                        "three: {<<: *b}\n"
                        "four: *s\n"
                        "plain2: &s 6\n"
                        "five: *s\n"
                        "'<<': quoted is a key\n");
    assert_string_equal(dukd_yaml_node_text(at(y, "one.x.1")), "2");
    assert_string_equal(dukd_yaml_node_text(at(y, "two.type")), "lmdb"); /* its own wins */
    assert_string_equal(dukd_yaml_node_text(at(y, "two.size")), "2");    /* the earlier wins */
    assert_string_equal(dukd_yaml_node_text(at(y, "two.extra")), "yes");
    assert_int_equal(dukd_yaml_node_count(at(y, "two")), 4);
    assert_int_equal(dukd_yaml_node_count(at(y, "three")), 3);
    assert_string_equal(dukd_yaml_node_text(at(y, "four")), "5");
    assert_string_equal(dukd_yaml_node_text(at(y, "five")), "6"); /* the latest of that name */
    assert_string_equal(dukd_yaml_node_text(at(y, "<<")), "quoted is a key");
    assert_true(dukd_yaml_equal(at(y, "one"), at(y, "base")));
    char *path = dukd_yaml_node_path(at(y, "three.x.0"));
    assert_string_equal(path, "three.x.0");
    free(path);
    dukd_yaml_destroy(y);
}

/* ---------------------------------------------------------------- what is refused */

static void errors_say_where_and_what(void **state) {
    (void)state;
    refuse("", ":1:1", "empty");
    refuse("# only a comment\n", ":2:1", "empty");
    refuse("---\n", ":2:1", "nothing (null)");
    refuse("- a\n- b\n", ":1:1", "found a list of 2");
    refuse("just words\n", ":1:1", "found the text \"just words\"");
    refuse("a: 1\n---\nb: 2\n", ":2:1", "second document");
    refuse("a: 1\nb: c: d\n", ":2:5", "mapping values are not allowed");
    refuse("a: 1\n\tb: 2\n", ":2:1", "indent with spaces");
    refuse("a:\n\tb: 2\n", ":2:1", "indent with spaces");
    refuse("a: [1, 2\nb: 3\n", ":2:2", "a list is not closed");
    refuse("a: 'x\n", ":2:1", "quote is not closed");
    refuse("a: @x\n", ":1:4", "quote texts that begin with a special character");
    refuse("a:\n  b: 1\n c: 2\n", ":3:2", "check the indentation");
    refuse("a: 1\nb\n", ":3:1", "neither \"key: value\"");
    refuse("a: {b}: c\n", ":1:7", "not valid YAML");
    refuse("{a: 1}: c\n", ":1:1", "a key must be a word");
    refuse("[a]: c\n", ":1:1", "a key must be a word");
    refuse("a: &x 1\n*x : 2\n", ":2:1", "a key must be a word");
    refuse("filename_tmpl: {}x4\n", ":1:18", "not valid YAML");
    refuse("a.b: 1\n", ":1:1", "contains a dot");
    refuse("~: 1\n", ":1:1", "key is missing");
    refuse("'': 1\n", ":1:1", "key is missing");
    refuse(": 1\n", ":1:1", "did not find expected key");
    refuse("{ : 1}\n", ":1:3", "did not find expected node content");
    refuse("\"a\\nb\": 1\n", ":1:1", "control character");
    refuse("!!int 1: 1\n", ":1:1", "a key with a tag");
    refuse("a: !!float abc\n", ":1:4", "!!float in front of \"abc\"");
    refuse("a: !!int 1e3\n", ":1:4", "!!int in front of");
    refuse("a: !!bool 1\n", ":1:4", "!!bool in front of");
    refuse("a: !!null x\n", ":1:4", "!!null in front of");
    refuse("a: !!python/object:os.system x\n", ":1:4", "python/object:os.system");
    refuse("a: !!binary aGk=\n", ":1:4", "binary");
    refuse("a: !!omap [x: 1]\n", ":1:4", "the tag");
    refuse("a: !own {x: 1}\n", ":1:4", "the tag !own");
    refuse("a: *nope\n", ":1:4", "nothing above is called &nope");
    refuse("a: &x [1, *x]\n", ":1:11", "stands inside what it refers to");
    refuse("a: {<<: 5}\n", ":1:9", "<< takes a mapping");
    refuse("a: {<<: [{x: 1}, y]}\n", ":1:18", "<< takes a mapping");
    refuse("a: {<<: {x: 1}, <<: {y: 1}}\n", ":1:17", "second time");
    refuse("a: \"x\\0y\"\n", ":1:4", "zero character");
    refuse("a: \"x\\qy\"\n", ":1:6", "unknown escape character");
    refuse("a: \"\\ud800\"\n", ":1:7", "invalid Unicode character escape");
}

static void duplicate_keys_name_both_places(void **state) {
    (void)state;
    refuse("train:\n  lr: 1\n  x: 2\n  lr: 3\n", ":4:3",
           "the key \"lr\" is here a second time; the first is in line 2, column 3");
    refuse("b: 1\na: 1\na: 2\nb: 2\n", ":3:1", "the first is in line 2");
    refuse("a: 1\n'a': 2\n", ":2:1", "second time");
    char text[4096] = "";
    for (int i = 0; i < 200; i++) sprintf(text + strlen(text), "k%03d: %d\n", i, i);
    dukd_yaml_destroy(must(text));
    strcat(text, "k007: again\n");
    refuse(text, ":201:1", "the first is in line 8");
    dukd_yaml_destroy(must("a: {x: 1}\nb: {x: 1}\n")); /* in different sections it is none */
}

static void bytes_that_are_no_text(void **state) {
    (void)state;
    refuse("a: 1\nb: x\xff\n", ":2:5", "byte 0xff is not valid UTF-8");
    refuse("a: \xc3\xa4 \xc0\xaf\n", ":1:6", "0xc0"); /* overlong */
    refuse("a: \xe0\x80\xaf\n", ":1:4", "0xe0");      /* overlong */
    refuse("a: \xf0\x8f\xbf\xbf\n", ":1:4", "0xf0");  /* overlong */
    refuse("a: \xed\xa0\x80\n", ":1:4", "0xed");      /* a surrogate */
    refuse("a: \xf4\x90\x80\x80\n", ":1:4", "0xf4");  /* beyond Unicode */
    refuse("a: \xe2\x82", ":1:4", "0xe2");            /* cut off */
    refuse("a: 1\r\nb: \x01\r\n", ":2:4", "control character U+0001");
    refuse("a: 1\rb: \x7f\r", ":2:4", "U+007F");
    refuse("a: x\xef\xbb\xbfy\n", ":1:5", "U+FEFF"); /* a byte order mark in the middle */
    refuse_bytes("a: 1\nb: \0\n", 10, ":2:4", "U+0000");
    refuse("\x7f"
           "ELF\x02\x01\x01",
           ":1:1", "control character");
    refuse("\x89PNG\r\n\x1a\n", ":1:1", "0x89");
    refuse_bytes("\xff\xfe"
                 "a\0:\0",
                 6, ":1:1", "0xff"); /* UTF-16 */
    dukd_yaml_destroy(must("a: 1\r\nb: \xf0\x9f\x99\x82 ok\r\n"));
}

/* n times `text`, after `before`; malloc'd. */
static char *repeated(const char *before, const char *text, size_t n) {
    const size_t head = strlen(before), size = strlen(text);
    char *out = malloc(head + n * size + 1);
    assert_non_null(out);
    memcpy(out, before, head);
    for (size_t i = 0; i < n; i++) memcpy(out + head + i * size, text, size);
    out[head + n * size] = 0;
    return out;
}

static void hostile_files_are_refused_quickly(void **state) {
    (void)state;
    const clock_t start = clock();
    static const struct {
        const char *before, *text;
        size_t n;
        const char *place, *part;
    } deep[] = {
        {"a: ", "[", 100000, ":1:35", "nested deeper than 32"},
        {"a: ", "{x: ", 100000, ":1:128", "nested deeper than 32"},
        {"", "- ", 100000, ":1:65", "nested deeper than 32"},
        {"", "? ", 100000, ":1:3", "a key must be a word"},
        {"a: ", "&a ", 100000, ":1:7", "not valid YAML"},
        {"a: ", "!x ", 100000, ":1:4", "the tag !x"},
        {"", "a: 1\n", 90000, ":2:1", "second time; the first is in line 1, column 1"},
        {"a: [", "x,", 200000, ":1:200001", "more than 100000 values"},
        {"a: [", "x,", 600000, "", "larger than 1048576 bytes"},
        {"a:\n", "- &x 1\n", 1001, ":1002:3", "more than 1000 anchors"},
        {"", "---\n", 1000, ":2:1", "second document"},
    };
    for (size_t i = 0; i < sizeof deep / sizeof *deep; i++) {
        char *text = repeated(deep[i].before, deep[i].text, deep[i].n);
        refuse(text, deep[i].place, deep[i].part);
        free(text);
    }
    /* Aliases that double at each step. */
    char bomb[4096] = "a0: &a0 [x, x]\n";
    for (int i = 1; i < 30; i++) sprintf(bomb + strlen(bomb), "a%d: &a%d [*a%d, *a%d]\n", i, i, i - 1, i - 1);
    refuse(bomb, ":15:18", "what this refers to makes more than 100000 values");
    strcpy(bomb, "a0: &a0 {x: 1}\n");
    for (int i = 1; i < 60; i++) sprintf(bomb + strlen(bomb), "a%d: &a%d {y: *a%d}\n", i, i, i - 1);
    refuse(bomb, ":32:15", "nests deeper than 32");
    /* One mapping merged so often that looking would take for ever. */
    char *wide = repeated("base: &b {", "", 0);
    wide = realloc(wide, 300000);
    assert_non_null(wide);
    size_t n = strlen(wide);
    for (int i = 0; i < 1000; i++) n += (size_t)sprintf(wide + n, "k%d: 1, ", i);
    n += (size_t)sprintf(wide + n, "}\nc:\n  <<: [");
    for (int i = 0; i < 101; i++) n += (size_t)sprintf(wide + n, "*b, ");
    sprintf(wide + n, "]\n");
    refuse(wide, ":3:400", "more than 100000 values");
    free(wide);
    /* A text of a megabyte is a text; as a key it is none. */
    char *text = repeated("a: ", "x", 1000000);
    dukd_yaml *y = must(text);
    assert_int_equal(strlen(dukd_yaml_node_text(at(y, "a"))), 1000000);
    double d = 3;
    dukd_yaml_error e;
    assert_false(dukd_yaml_get_double(dukd_yaml_root(y), "a", 0, 9, &d, &e));
    assert_non_null(strstr(e.message, "xxx...\""));
    dukd_yaml_destroy(y);
    free(text);
    text = repeated("a: ", "9", 1000000);
    y = must(text);
    assert_false(dukd_yaml_get_double(dukd_yaml_root(y), "a", 0, 9, &d, &e));
    dukd_yaml_destroy(y);
    free(text);
    text = repeated("\"", "k", 300);
    text = realloc(text, 320);
    strcat(text, "\": 1\n");
    refuse(text, ":1:1", "a key of 300 bytes");
    free(text);
    const double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
    if (seconds > 10) fail_msg("took %.1f s", seconds);
}

/* Every front part of a file that has everything either reads or fails with a place. */
static void truncated_files(void **state) {
    (void)state;
    static const char whole[] =
        "# start\nname: \"a\\u00e9\"\nscale: 4\nx: &x {a: [1, 'b'], c: ~}\ny:\n  <<: *x\n"
        "  lr: !!float 1e-4\n  t: >\n    folded\n    text\n  list:\n  - 1\n  - {z: 2}\n"
        "\xc3\xa4: \xf0\x9f\x99\x82\n";
    size_t read = 0;
    for (size_t n = 0; n <= strlen(whole); n++) {
        dukd_yaml_error e = {0};
        char *part = malloc(n ? n : 1); /* exactly as long, for AddressSanitizer */
        assert_non_null(part);
        memcpy(part, whole, n);
        dukd_yaml *y = dukd_yaml_read_text(part, n, "opt.yml", &e);
        free(part);
        read += y != NULL;
        if (!y) {
            assert_true(strncmp(e.message, "opt.yml:", 8) == 0);
            assert_true(e.line > 0 && e.column > 0);
        }
        dukd_yaml_destroy(y);
    }
    assert_true(read > 20);
    dukd_yaml_destroy(must(whole));
}

static void files_that_cannot_be_read(void **state) {
    (void)state;
    dukd_yaml_error e = {0};
    assert_null(dukd_yaml_read_file("/nowhere/opt.yml", &e));
    assert_int_equal(e.status, DUKD_YAML_FAILED);
    assert_string_equal(e.message,
                        "/nowhere/opt.yml: cannot open the option file: No such file or directory");
    assert_null(dukd_yaml_read_file("/", &e));
    assert_non_null(strstr(e.message, "directory"));
    assert_null(dukd_yaml_read_file("/dev/zero", &e));
    assert_non_null(strstr(e.message, "larger than 1048576 bytes"));
    assert_null(dukd_yaml_read_file("/dev/null", &e));
    assert_non_null(strstr(e.message, "/dev/null:1:1: the file is empty"));
    assert_null(dukd_yaml_read_file("/nowhere", NULL)); /* nobody has to listen */
    char name[] = "/tmp/dukd-yaml-XXXXXX";
    const int fd = mkstemp(name);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "a: 1\n", 5), 5);
    close(fd);
    dukd_yaml *y = dukd_yaml_read_file(name, &e);
    assert_non_null(y);
    assert_string_equal(dukd_yaml_node_place(at(y, "a")).file, name);
    dukd_yaml_destroy(y);
    unlink(name);
    dukd_yaml_destroy(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scalars_resolve_as_in_pyyaml),
        cmocka_unit_test(nodes_know_text_tag_quotes_and_place),
        cmocka_unit_test(aliases_and_merge_keys),
        cmocka_unit_test(errors_say_where_and_what),
        cmocka_unit_test(duplicate_keys_name_both_places),
        cmocka_unit_test(bytes_that_are_no_text),
        cmocka_unit_test(hostile_files_are_refused_quickly),
        cmocka_unit_test(truncated_files),
        cmocka_unit_test(files_that_cannot_be_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
