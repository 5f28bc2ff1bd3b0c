/* Plugins that are none, of another draft, or with half their table; by every command that opens one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "host_run.h"
#include "test_bad_input_run.h"
#include "unit/data_fixture.h"
#include "unit/image_fixture.h"

/* A library of the build as NAME.so in the scratch folder. */
static void bring(const char *path, const char *name) {
    size_t size;
    unsigned char *data = fixture_load(path, &size);
    fixture_save(data_path(name), data, size);
    free(data);
}

static void bring_fake(const char *variant) {
    char path[1024], name[64];
    snprintf(path, sizeof path, "%s/fake_%s.so", DUKD_FAKE_FOLDER, variant);
    snprintf(name, sizeof name, "%s.so", variant);
    bring(path, name);
}

static void refused_everywhere(const char *file, const char *part, const char *part2) {
    static const char *const lines[] = {
        "plugin %s",
        "plugin %s --json",
        "train dukd.yml --plugin %s",
        "train scratch.yml --resume --plugin=%s",
        "preview dukd.yml -o p.png --plugin %s",
    };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        char line[256];
        snprintf(line, sizeof line, lines[i], file);
        REFUSED(1, line, file, part, part2);
    }
    char variable[128];
    snprintf(variable, sizeof variable, "DUKD_PLUGIN=%s", file);
    bad_now.environment = variable;
    REFUSED(1, "plugin", file, part, part2);
    bad_now.environment = NULL;
}

static void files_that_are_none(void **state) {
    (void)state;
    bring(DUKD_PLUGIN_FILE, "whole.so");
    fixture_save(data_path("empty.so"), "", 0);
    bad_copy("whole.so", "start.so", 20);
    bad_copy("whole.so", "head.so", 400);
    bad_copy("whole.so", "page.so", 4096);
    bad_copy("whole.so", "half.so", 100000);
    bad_done("plugin whole.so"); /* only what is cut is refused */
    refused_everywhere("nosuch.so", "No such file", NULL);
    refused_everywhere("./val", "directory", NULL);
    refused_everywhere("dukd.yml", "not a shared library", NULL);
    refused_everywhere("val/v0.png", "not a shared library", NULL);
    refused_everywhere("empty.so", "not a shared library", NULL);
    refused_everywhere("start.so", "not a shared library", NULL);
    refused_everywhere("head.so", "cut short", "build it again");
    refused_everywhere("page.so", "cut short", "build it again");
    refused_everywhere("half.so", "cut short", "build it again");
    refused_everywhere("libm.so.6", "no DUKD plugin", "dukd_get_plugin_draft");
}

static void tables(void **state) {
    (void)state;
    static const struct {
        const char *variant, *part, *part2;
    } cases[] = {
        {"no_entry", "no DUKD plugin", "dukd_get_plugin_draft"},
        {"undefined", "undefined symbol", "nobody_defines_this"},
        {"no_table", "no table", NULL},
        {"older", "draft 0", "rebuild the plugin"},
        {"newer", "draft 9", "rebuild the host"},
        {"half", "has 60 bytes", "rebuild the plugin"},
        {"no_get_info", "no get_info", "rebuild the plugin"},
        {"no_begin_step", "no begin_step", "rebuild the plugin"},
        {"no_set_state", "no set_state", "rebuild the plugin"},
        {"no_info", "describe itself", NULL},
        {"no_name", "describe itself", NULL},
        {"no_options", "row 0", "option table"},
        {"no_losses", "row 0", "loss table"},
    };
    bring_fake("whole");
    bad_done("plugin whole.so"); /* so each of the others is refused for what is wrong with it */
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char file[64];
        snprintf(file, sizeof file, "%s.so", cases[i].variant);
        bring_fake(cases[i].variant);
        refused_everywhere(file, cases[i].part, cases[i].part2);
    }
}

/* Another plugin's options are not this one's. */
static void another_plugin(void **state) {
    (void)state;
    bring_fake("whole");
    REFUSED(2, "train scratch.yml --plugin whole.so", "scratch.yml:", "unknown option train.terms");
    char text[8192]; /* without what only the other one knows */
    const char *whole = host_load("scratch.yml"), *terms = strstr(whole, "  terms: [rec]\n");
    assert_non_null(terms);
    snprintf(text, sizeof text, "%.*s%s", (int)(terms - whole), whole, strchr(terms, '\n') + 1);
    data_text(data_path("plain.yml"), text);
    REFUSED(2, "train plain.yml --plugin whole.so", "plain.yml: no", "create_session");
    REFUSED(2, "preview plain.yml -o p.png --plugin whole.so", "plain.yml: no", "create_session");
}

static void conform(void **state) {
    (void)state;
    REFUSED(2, "dukd-conform nosuch.so", "nosuch.so", "No such file");
    REFUSED(2, "dukd-conform ''", "cannot be read");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        BAD_TEST(files_that_are_none),
        BAD_TEST(tables),
        BAD_TEST(another_plugin),
        BAD_TEST(conform),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
