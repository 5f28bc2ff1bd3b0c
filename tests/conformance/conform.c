/* The program dukd-conform: its arguments and its report. */
#include "conform.h"
#include "host/host.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TIME_LIMIT = 30, MAX_OPTIONS = 64, MAX_ITEMS = 16, NAME = 18 };

/* In this order. What comes after group session needs one. */
static const conform_group *const plugin_groups[] = {
    &conform_static, &conform_loading, &conform_session, &conform_versioning, &conform_options,
    &conform_errors, &conform_host,    &conform_passes,  &conform_steps,      &conform_numerics,
    &conform_params, &conform_state,   &conform_cuda};
/* The first check of the first group is a run, without which there is nothing to look at. */
static const conform_group *const host_groups[] = {&host_starting, &host_calls,  &host_taps,     &host_flags,
                                                   &host_micro,    &host_errors, &host_services, &host_state,
                                                   &host_gradient, &host_own};
enum {
    PLUGIN_GROUPS = sizeof plugin_groups / sizeof *plugin_groups,
    HOST_GROUPS = sizeof host_groups / sizeof *host_groups
};

/* The command line. */
typedef struct {
    conform base;
    dukd_option options[MAX_OPTIONS];
    const dukd_option *option_list[MAX_OPTIONS];
    const char *option_values[MAX_OPTIONS][MAX_ITEMS];
    char *only[MAX_OPTIONS];
    int n_only, list, json;
    unsigned seconds;
    host_setup host; /* command: NULL where a plugin is checked */
    const conform_group *const *groups;
    int n_groups;
} arguments;

static void help(void) {
    puts("dukd-conform: checks a plugin, or a host, against dukd_plugin.h, from outside\n"
         "\n"
         "usage: dukd-conform PLUGIN.so [options]\n"
         "       dukd-conform --host COMMAND [options]\n"
         "       dukd-conform --list [--host COMMAND]\n"
         "\n"
         "options:\n"
         "  --only NAME         only this check, or this group; may be repeated\n"
         "  --option KEY=VALUE  an option that every session of a plugin gets; may be repeated; a list is "
         "[a, b]\n"
         "  --cudart FILE       the CUDA runtime by which group cuda gets device memory (default: "
         "libcudart.so)\n"
         "  --seconds N         time limit of a plugin's check, or of one run of a host (default 30)\n"
         "  --json              print JSON, for a program\n"
         "  --list              list the groups and their checks, and what each checks\n"
         "  --help              this text\n");
    puts(host_help);
    puts("Each check runs in a process of its own: a plugin that crashes or hangs fails the check, and the\n"
         "others go on. A check that has nothing to look at is skipped, and says why.\n"
         "\n"
         "exit status: 0 no check failed, 1 some did, 2 misused\n"
         "\n"
         "examples:\n"
         "  dukd-conform ./libdukd.so\n"
         "  dukd-conform ./libdukd.so --only errors --only numerics --option train.mode=paper\n"
         "  dukd-conform --list --only steps\n"
         "  dukd-conform --host 'mytrainer --plugin {plugin} --iterations {steps} --out {work}' \\\n"
         "               --weights '{work}/last.safetensors' --rate 0.1");
}

static int misused(const char *what, const char *word) {
    fprintf(stderr, "dukd-conform: %s%s%s; see dukd-conform --help\n", what, word ? " " : "",
            word ? word : "");
    return 2;
}

/* [a, b]: its items, cut in place; their number, or -1. */
static int take_list(char *text, const char *items[MAX_ITEMS]) {
    int n = 0;
    char *end = strchr(text, ']'), *rest = NULL;
    if (!end || end[1]) return -1;
    *end = 0;
    for (char *item = strtok_r(text + 1, ", ", &rest); item; item = strtok_r(NULL, ", ", &rest)) {
        if (n == MAX_ITEMS) return -1;
        items[n++] = item;
    }
    return n;
}

/* KEY=VALUE, as a host would pass it from an option file. */
static int take_option(arguments *a, char *text) {
    char *equals = strchr(text, '=');
    uint32_t k = a->base.n_options;
    if (!equals || equals == text || k == MAX_OPTIONS) return -1;
    *equals = 0;
    int list = equals[1] == '[', n = 1;
    a->option_values[k][0] = equals + 1;
    if (list && (n = take_list(equals + 1, a->option_values[k])) < 0) return -1;
    a->options[k] = (dukd_option){.struct_size = DUKD_OPTION_SIZE,
                                  .kind = list ? DUKD_VALUE_LIST : DUKD_VALUE_SCALAR,
                                  .key = text,
                                  .place = "--option",
                                  .values = a->option_values[k],
                                  .n_values = (uint32_t)n};
    a->option_list[k] = &a->options[k];
    a->base.n_options++;
    return 0;
}

static int is_known(const arguments *a, const char *name) {
    for (int g = 0; g < a->n_groups; g++) {
        if (strcmp(name, a->groups[g]->name) == 0) return 1;
        for (int i = 0; i < a->groups[g]->count; i++)
            if (strcmp(name, a->groups[g]->checks[i].name) == 0) return 1;
    }
    return 0;
}

/* What can be said once all words are known: which checks there are. */
static int finish_arguments(arguments *a) {
    a->groups = a->host.command ? host_groups : plugin_groups;
    a->n_groups = a->host.command ? HOST_GROUPS : PLUGIN_GROUPS;
    for (int i = 0; i < a->n_only; i++)
        if (!is_known(a, a->only[i])) return misused("no check or group is called", a->only[i]);
    if (a->host.command && a->base.path)
        return misused("a plugin or a host, not both; what is", a->base.path);
    if (a->list) return 0;
    if (!a->host.command) return a->base.path ? 0 : misused("which plugin?", NULL);
    a->base.host = &a->host;
    a->base.path = a->host.command;
    a->host.seconds = a->seconds;
    const char *wrong = host_wrong(&a->host);
    return wrong ? misused(wrong, NULL) : 0;
}

/* 0, or the exit status; *done: nothing else is to be done. */
static int read_arguments(arguments *a, int argc, char **argv, int *done) {
    a->base.options = a->option_list;
    a->seconds = TIME_LIMIT;
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i];
        const int taken = host_take(&a->host, argc, argv, &i);
        if (taken < 0) return misused("a value is missing or wrong after", word);
        if (taken) continue;
        if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
            help();
            *done = 1;
            return 0;
        }
        if (strcmp(word, "--list") == 0)
            a->list = 1;
        else if (strcmp(word, "--json") == 0)
            a->json = 1;
        else if (strcmp(word, "--only") == 0 && i + 1 < argc && a->n_only < MAX_OPTIONS) {
            a->only[a->n_only++] = argv[++i];
        } else if (strcmp(word, "--seconds") == 0 && i + 1 < argc) {
            char *end;
            long n = strtol(argv[++i], &end, 10);
            if (*end || n < 1 || n > 86400) return misused("--seconds wants a number, not", argv[i]);
            a->seconds = (unsigned)n;
        } else if (strcmp(word, "--cudart") == 0 && i + 1 < argc) {
            a->base.cudart = argv[++i];
        } else if (strcmp(word, "--option") == 0 && i + 1 < argc) {
            if (take_option(a, argv[++i])) return misused("--option wants KEY=VALUE, not", argv[i]);
        } else if (word[0] == '-') {
            return misused("unknown or incomplete option", word);
        } else if (a->base.path) {
            return misused("one plugin at a time; what is", word);
        } else {
            a->base.path = word;
        }
    }
    return finish_arguments(a);
}

static int selected(const arguments *a, const conform_group *group, const conform_check *check) {
    for (int i = 0; i < a->n_only; i++)
        if (strcmp(a->only[i], check->name) == 0 || strcmp(a->only[i], group->name) == 0) return 1;
    return a->n_only == 0;
}

/* ---- the report ---- */

static void json_text(const char *text) {
    putchar('"');
    for (const unsigned char *s = (const unsigned char *)text; *s; s++)
        if (*s == '"' || *s == '\\')
            printf("\\%c", *s);
        else if (*s < 0x20)
            printf("\\u%04x", *s);
        else
            putchar(*s);
    putchar('"');
}

static void json_check(const conform_group *group, const conform_check *check, const char *result,
                       const char *why, int first) {
    printf("%s\n  {\"group\": \"%s\", \"name\": \"%s\", ", first ? "" : ",", group->name, check->name);
    if (result) printf("\"result\": \"%s\", ", result);
    printf("\"contract\": ");
    json_text(check->contract);
    if (result) printf(", \"why\": ");
    if (result) json_text(why);
    putchar('}');
}

/* A failure says why on a line of its own; of a skip nothing but the reason is of interest. */
static void text_check(const conform_check *check, conform_result r, const char *why) {
    static const char *const words[] = {"pass", "FAIL", "SKIP:"};
    printf("  %-5s %-*s %s\n", words[r], NAME, check->name, r == CONFORM_SKIP ? why : check->contract);
    if (r == CONFORM_FAIL) printf("        %-*s -> %s\n", NAME, "", why);
}

static conform_result describe(conform *c) {
    const dukd_plugin_info *info = c->plugin->get_info();
    return conform_skip(c, "%s %s, draft %u (%s)", info->name, info->version, DUKD_ABI_DRAFT, info->build);
}

/* What is checked, as it calls itself: in a child, too. */
static void heading(const arguments *a) {
    static const conform_check check = {"describe", "", describe};
    static const conform_group group = {"describe", "", 0, &check, 1};
    conform c = a->base;
    printf("%s\n", c.path);
    if (c.host) return;
    if (conform_run(&c, &group, &check, a->seconds) == CONFORM_SKIP) printf("%s\n", c.why);
}

static void list_checks(const arguments *a) {
    int first = 1;
    if (a->json) printf("{\"checks\": [");
    for (int g = 0; g < a->n_groups; g++) {
        int headed = 0;
        for (int i = 0; i < a->groups[g]->count; i++) {
            const conform_check *check = &a->groups[g]->checks[i];
            if (!selected(a, a->groups[g], check)) continue;
            if (a->json)
                json_check(a->groups[g], check, NULL, NULL, first);
            else if (!headed++)
                printf("%s%s: %s\n", first ? "" : "\n", a->groups[g]->name, a->groups[g]->about);
            if (!a->json) printf("  %-*s %s\n", NAME, check->name, check->contract);
            first = 0;
        }
    }
    if (a->json) printf("\n]}\n");
}

/* Of a check in a group after `session`, where that one did not pass. */
static conform_result no_session(conform *c, conform_result session) {
    c->why[0] = 0;
    return conform_skip(c, "there is no session to look at: see create%s",
                        session == CONFORM_SKIP ? ", which was skipped" : "");
}

/* Of a host whose first run has shown nothing. */
static conform_result run_host_check(conform *c, const conform_group *group, const conform_check *check) {
    c->why[0] = 0;
    const conform_result learnt = group == &host_starting ? CONFORM_PASS : host_learn(c);
    const conform_result r = learnt == CONFORM_PASS ? check->run(c) : CONFORM_SKIP;
    if (r == CONFORM_PASS) c->why[0] = 0;
    return r;
}

static conform_result run_check(const arguments *a, conform *c, conform_result session,
                                const conform_group *group, const conform_check *check) {
    if (c->host) return run_host_check(c, group, check);
    const int needs_session = !group->loads_itself && group != &conform_session;
    return session == CONFORM_PASS || !needs_session ? conform_run(c, group, check, a->seconds)
                                                     : no_session(c, session);
}

static int run_checks(const arguments *a) {
    static const char *const results[] = {"pass", "FAIL", "skip"};
    int counts[3] = {0, 0, 0};
    conform c = a->base;
    /* asked first: it may not be among those that are selected */
    conform_result session =
        c.host ? CONFORM_PASS : conform_run(&c, &conform_session, conform_session.checks, a->seconds);
    if (a->json)
        printf("{\"checks\": [");
    else
        heading(a);
    for (int g = 0; g < a->n_groups; g++) {
        int headed = 0;
        for (int i = 0; i < a->groups[g]->count; i++) {
            const conform_check *check = &a->groups[g]->checks[i];
            if (!selected(a, a->groups[g], check)) continue;
            if (!a->json && !headed++) printf("\n%s: %s\n", a->groups[g]->name, a->groups[g]->about);
            conform_result r = run_check(a, &c, session, a->groups[g], check);
            if (a->json)
                json_check(a->groups[g], check, results[r], c.why, counts[0] + counts[1] + counts[2] == 0);
            else
                text_check(check, r, c.why);
            counts[r]++;
            fflush(stdout);
        }
    }
    if (a->json)
        printf("\n], \"passed\": %d, \"failed\": %d, \"skipped\": %d}\n", counts[CONFORM_PASS],
               counts[CONFORM_FAIL], counts[CONFORM_SKIP]);
    else
        printf("\n%d passed, %d failed, %d skipped\n", counts[CONFORM_PASS], counts[CONFORM_FAIL],
               counts[CONFORM_SKIP]);
    return counts[CONFORM_FAIL] ? 1 : 0;
}

int main(int argc, char **argv) {
    static arguments a;
    int done = 0, status = read_arguments(&a, argc, argv, &done);
    if (status || done) return status;
    if (a.list) {
        list_checks(&a);
        return 0;
    }
    if (a.host.command) {
        if (host_open(&a.host)) return 2;
        status = run_checks(&a);
        host_close(&a.host);
        return status;
    }
    char *whole = realpath(a.base.path, NULL); /* dlopen would search for a bare name elsewhere */
    if (!whole || access(whole, R_OK)) {
        fprintf(stderr, "dukd-conform: %s: cannot be read: %s\n", a.base.path, strerror(errno));
        free(whole);
        return 2;
    }
    a.base.path = whole;
    status = run_checks(&a);
    free(whole);
    return status;
}
