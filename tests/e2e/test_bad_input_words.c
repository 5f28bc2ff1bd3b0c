/* Command lines: help that helps, options that do not exist, values that cannot be, arguments in the wrong place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "test_bad_input_run.h"

/* ---------------------------------------------------------------- help */

static void must_have(const char *text, const char *part, const char *of) {
    if (!strstr(text, part)) fail_msg("%s: no '%s' in\n%s", of, part, text);
}

/* Every option that a line of an example uses is one the help lists. What stands in quotes is another program's. */
static void check_example(const char *help, const char *of) {
    const char *example = strstr(help, "\nexample");
    if (!example) fail_msg("%s: no example in\n%s", of, help);
    bool quoted = false;
    for (const char *p = example; *p; p++) {
        char option[64];
        if (*p == '\'') quoted = !quoted;
        if (quoted || strncmp(p, " -", 2) != 0) continue;
        const size_t length = strcspn(p + 1, " \n=");
        assert_true(length < sizeof option);
        snprintf(option, sizeof option, "%.*s", (int)length, p + 1);
        if (strstr(help, option) > example) fail_msg("%s: %s of the example is not explained", of, option);
    }
}

static void help_of_every_command(void **state) {
    (void)state;
    static const struct {
        const char *command, *options[13];
    } rows[] = {
        {"train",
         {"--resume", "--set", "--seeds", "--plugin", "--quiet", "-opt", "--auto_resume", "--force_yml",
          "--engine"}},
        {"test",
         {"--weights", "--param-key", "--self-ensemble", "--save", "--tile", "--format", "--json",
          "--markdown", "--quiet", "--set", "-opt", "--force_yml", "--engine"}},
        {"upscale",
         {"--model", "--output", "--opt", "--set", "--param-key", "--suffix", "--tile", "--overlap", "--bf16",
          "--threads", "--quiet", "--engine"}},
        {"preview",
         {"--output", "--iteration", "--rows", "--student", "--plugin", "--set", "--force_yml", "--engine"}},
        {"info",
         {"--table1", "--model", "--size", "--seconds", "--runs", "--precision", "--threads", "--no-speed",
          "--json", "--quiet", "--set", "--force_yml", "--engine"}},
        {"prepare", {"--scale", "--border", "--only", "--tile", "--threads", "--json", "--quiet"}},
        {"metrics", {"--scale", "--crop-border", "--rgb", "--json"}},
        {"plugin", {"--json"}},
        {"convert", {"--opt", "--teacher", "--set", "--network", "--param-key", "--quiet"}},
    };
    const char *all = strdup(bad_done("dukd-host --help"));
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char line[64], usage[64];
        snprintf(usage, sizeof usage, "usage: dukd-host %s", rows[i].command);
        must_have(all, rows[i].command, "dukd-host --help");
        for (int k = 0; k < 3; k++) { /* wherever it stands, and whatever stands beside it */
            snprintf(line, sizeof line,
                     k == 0   ? "%s --help"
                     : k == 1 ? "%s -h"
                              : "%s nosuch --set --help",
                     rows[i].command);
            const char *help = bad_done(line);
            must_have(help, usage, line);
            for (const char *const *o = rows[i].options; o < rows[i].options + 13 && *o; o++)
                must_have(help, *o, line);
            check_example(help, line);
        }
    }
    free((void *)(uintptr_t)all);
    check_example(bad_done("dukd-compare --help"), "dukd-compare");
    check_example(bad_done("dukd-conform --help"), "dukd-conform");
    must_have(bad_done("dukd-host --version"), "dukd-host ", "--version");
}

/* ---------------------------------------------------------------- words */

static void commands(void **state) {
    (void)state;
    REFUSED(2, "dukd-host trian", "unknown command 'trian'", "'train'");
    REFUSED(2, "dukd-host nothing-like-it", "unknown command", "--help");
    REFUSED(2, "dukd-host -x", "unknown command");
    REFUSED(2, "dukd-host ''", "unknown command");
}

static void misspelt_options(void **state) {
    (void)state;
    static const bad_case cases[] = {
        {2, "train scratch.yml --rezume", "'--rezume'", "'--resume'", "dukd-host train --help"},
        {2, "train scratch.yml --auto-resume", "'--auto_resume'", NULL, NULL},
        {2, "test scratch.yml --weigths net.safetensors", "'--weights'", NULL, NULL},
        {2, "upscale -m net.safetensors val -o up --tiel 64", "'--tile'", NULL, NULL},
        {2, "preview dukd.yml --row 1", "'--rows'", NULL, NULL},
        {2, "info scratch.yml --no-spede", "'--no-speed'", NULL, NULL},
        {2, "prepare train out --scael 2", "'--scale'", NULL, NULL},
        {2, "metrics val val --scael=2", "'--scale", NULL, NULL},
        {2, "plugin --jsn", "'--json'", NULL, NULL},
        {2, "plugin -zzz", "unknown option '-zzz'", "--help", NULL},
        {2, "dukd-compare --jsno", "'--jsno'", "'--json'", NULL},
        {2, "dukd-conform --onyl x", "--onyl", "--help", NULL},
    };
    REFUSED_ALL(cases);
}

static void missing_words(void **state) {
    (void)state;
    static const bad_case cases[] = {
        {2, "train", "dukd-host train OPT.yml", NULL, NULL},
        {2, "test", "dukd-host test OPT.yml", NULL, NULL},
        {2, "upscale", "-m NET IN... -o DIR", NULL, NULL},
        {2, "upscale val", "-o DIR", NULL, NULL},
        {2, "upscale val -o up", "-m NET.safetensors", NULL, NULL},
        {2, "upscale -m net.safetensors -o up", "IN...", NULL, NULL},
        {2, "preview", "OPT.yml", NULL, NULL},
        {2, "info", "OPT.yml", NULL, NULL},
        {2, "prepare", "HR_DIR OUT --scale N", NULL, NULL},
        {2, "prepare train", "HR_DIR OUT --scale N", NULL, NULL},
        {2, "prepare train out", "--scale is missing", "--scale 4", NULL},
        {2, "metrics", "SR_DIR HR_DIR --scale N", NULL, NULL},
        {2, "metrics val val", "--scale is missing", "--scale 4", NULL},
        {2, "dukd-compare", "which runs", "--help", NULL},
        {2, "dukd-conform", "which plugin", "--help", NULL},
        {2, "train --opt", "--opt wants a value (OPT.yml)", NULL, NULL},
        {2, "train scratch.yml --set", "--set wants a value (KEY=VALUE)", NULL, NULL},
        {2, "test scratch.yml -w", "-w wants a value (FILE)", NULL, NULL},
        {2, "dukd-compare --set", "--set wants a value", NULL, NULL},
    };
    REFUSED_ALL(cases);
}

static void words_too_many(void **state) {
    (void)state;
    static const bad_case cases[] = {
        {2, "train scratch.yml dukd.yml", "too many arguments", NULL, NULL},
        {2, "train scratch.yml -opt dukd.yml", "one option file", NULL, NULL},
        {2, "test scratch.yml -opt dukd.yml", "one option file", NULL, NULL},
        {2, "info scratch.yml dukd.yml", "too many arguments", NULL, NULL},
        {2, "metrics val val val -s 2", "too many arguments", NULL, NULL},
        {2, "prepare train out more -s 2", "too many arguments", NULL, NULL},
        {2, "plugin a.so b.so", "too many arguments", NULL, NULL},
        {2, "dukd-conform a.so b.so", "b.so", NULL, NULL},
        {2, "train --quiet=3 scratch.yml", "--quiet takes no value", NULL, NULL},
        {2, "test scratch.yml -w net.safetensors --json --markdown", "choose one", NULL, NULL},
        {2, "upscale -m net.safetensors val -o up --set network_g.num_feat=8", "--opt OPT.yml", NULL, NULL},
    };
    REFUSED_ALL(cases);
}

/* A script's unset variable. */
static void empty_words(void **state) {
    (void)state;
    static const bad_case cases[] = {
        {2, "train ''", "empty", NULL, NULL},
        {2, "train scratch.yml --seeds ''", "--seeds", "empty", NULL},
        {2, "train scratch.yml --plugin ''", "--plugin", "empty", NULL},
        {2, "test scratch.yml --weights ''", "--weights", "empty", NULL},
        {2, "test scratch.yml -w net.safetensors --save ''", "--save", "empty", NULL},
        {2, "upscale -m net.safetensors val -o ''", "--output", "empty", NULL},
        {2, "upscale -m '' val -o up", "--model", "empty", NULL},
        {2, "upscale -m net.safetensors '' -o up", "empty", NULL, NULL},
        {2, "preview dukd.yml -o ''", "--output", "empty", NULL},
        {2, "prepare train '' -s 2", "argument 2 is empty", NULL, NULL},
        {2, "prepare '' out -s 2", "argument 1 is empty", NULL, NULL},
        {2, "metrics '' val -s 2", "argument 1 is empty", NULL, NULL},
        {2, "plugin ''", "empty", NULL, NULL},
    };
    REFUSED_ALL(cases);
}

static void impossible_values(void **state) {
    (void)state;
    static const bad_case cases[] = {
        {2, "train scratch.yml --seeds 1,x", "--seeds", "'1,x'", NULL},
        {2, "train scratch.yml --seeds 1,,2", "--seeds", NULL, NULL},
        {2, "train scratch.yml --seeds -1", "--seeds", NULL, NULL},
        {2, "train scratch.yml --seeds 99999999999999999999", "--seeds", NULL, NULL},
        {2, "upscale val -m net.safetensors -o up --tile 3", "--tile", "16", "not 3"},
        {2, "upscale val -m net.safetensors -o up --tile abc", "--tile", "'abc'", NULL},
        {2, "upscale val -m net.safetensors -o up --tile 99999999999999999999", "--tile", NULL, NULL},
        {2, "upscale val -m net.safetensors -o up --overlap -1", "--overlap", "not -1", NULL},
        {2, "upscale val -m net.safetensors -o up --threads -5", "--threads", "not -5", NULL},
        {2, "upscale val -m net.safetensors -o up --threads 9999", "--threads", "1024", "not 9999"},
        {2, "upscale val -m net.safetensors -o up --suffix a/b", "--suffix", "'a/b'", NULL},
        {2, "preview dukd.yml --rows 0", "--rows", "1 to 64", "not 0"},
        {2, "preview dukd.yml --iteration 0", "--iteration", "not 0", NULL},
        {2, "preview dukd.yml --iteration 99999999999999999999", "--iteration", NULL, NULL},
        {2, "preview dukd.yml -o step.jpg", "--output", "PNG", "'step.jpg'"},
        {2, "info scratch.yml --size 0x5", "--size", "256x256", "'0x5'"},
        {2, "info scratch.yml --size 256", "--size", "'256'", NULL},
        {2, "info scratch.yml --size 9999999999999x1", "--size", NULL, NULL},
        {2, "info scratch.yml --seconds 0", "--seconds", NULL, NULL},
        {2, "info scratch.yml --runs 0", "--runs", "1 to 101", NULL},
        {2, "info scratch.yml --threads 1025", "--threads", "1024", NULL},
        {2, "info scratch.yml --precision f64", "--precision", "'f64'", NULL},
        {2, "test scratch.yml -w net.safetensors --format csv", "--format", "'csv'", "markdown"},
        {2, "info scratch.yml --seconds nan", "--seconds", "'nan'", NULL},
        {2, "prepare train out --scale 1", "--scale", "2 to 8", "'1'"},
        {2, "prepare train out --scale 2,", "--scale", "'2,'", NULL},
        {2, "prepare train out --scale 99999999999999999999", "--scale", NULL, NULL},
        {2, "prepare train out -s 2 --border mirror", "--border", "symmetric or clamp", "'mirror'"},
        {2, "prepare train out -s 2 --only hr", "--only", "lr or tiled", "'hr'"},
        {2, "prepare train out -s 2 --tile 7", "--tile", "multiple of 16", "not 7"},
        {2, "prepare train out -s 2 --threads 9999", "--threads", "64", "9999"},
        {2, "metrics val val -s 0", "--scale", "1 to 16", "not 0"},
        {2, "metrics val val -s two", "--scale", "'two'", NULL},
        {2, "metrics val val -s 2 --crop-border -1", "--crop-border", "-1", NULL},
        {2, "dukd-conform x.so --seconds 0", "--seconds", "0", NULL},
        {2, "dukd-conform x.so --option foo", "--option", "KEY=VALUE", "foo"},
        {2, "dukd-conform net.safetensors --only nosuch", "nosuch", NULL, NULL},
    };
    REFUSED_ALL(cases);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        BAD_TEST(help_of_every_command), BAD_TEST(commands),       BAD_TEST(misspelt_options),
        BAD_TEST(missing_words),         BAD_TEST(words_too_many), BAD_TEST(empty_words),
        BAD_TEST(impossible_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
