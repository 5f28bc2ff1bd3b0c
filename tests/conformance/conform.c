/* The program dukd-conform: arguments, one process a check, the report. */
#include "conform.h"

#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { TIME_LIMIT = 30, MAX_OPTIONS = 64 };

conform_result conform_fail(conform *c, const char *format, ...) {
    va_list args;
    va_start(args, format);
    if (!c->why[0]) vsnprintf(c->why, sizeof c->why, format, args); /* the first reason is the reason */
    va_end(args);
    return CONFORM_FAIL;
}

conform_result conform_skip(conform *c, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(c->why, sizeof c->why, format, args);
    va_end(args);
    return CONFORM_SKIP;
}

void *conform_guarded(uint64_t size) {
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), room = (size + page - 1) / page * page;
    uint8_t *p = mmap(NULL, room + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED || mprotect(p + room, page, PROT_NONE)) abort(); /* in the check's own process */
    return p + room - size;
}

/* ---- one check ---- */

static int open_plugin(conform *c) {
    dukd_get_plugin_draft_fn entry;
    c->handle = dlopen(c->path, RTLD_NOW | RTLD_LOCAL);
    if (!c->handle) return conform_fail(c, "dlopen: %s", dlerror());
    void *symbol = dlsym(c->handle, DUKD_ENTRY_NAME);
    if (!symbol) return conform_fail(c, "no symbol %s", DUKD_ENTRY_NAME);
    memcpy(&entry, &symbol, sizeof symbol);
    c->plugin = entry(DUKD_ABI_DRAFT);
    if (!c->plugin || c->plugin->abi_draft != DUKD_ABI_DRAFT || c->plugin->struct_size < DUKD_PLUGIN_SIZE)
        return conform_fail(c, "the plugin has no table of draft %u", DUKD_ABI_DRAFT);
    return CONFORM_PASS;
}

static void in_child(conform *c, const conform_check *check, int to) {
    int early = strcmp(check->group, "static") == 0 || strcmp(check->group, "loading") == 0;
    conform_result r = early || open_plugin(c) == CONFORM_PASS ? check->run(c) : CONFORM_FAIL;
    ssize_t n = write(to, c->why, strlen(c->why));
    _exit(n < 0 ? CONFORM_FAIL : (int)r);
}

/* Runs the check in a child; why receives its reason, or what became of it. */
static conform_result run_check(const conform *base, const conform_check *check, char why[512]) {
    int ends[2];
    if (pipe(ends)) {
        snprintf(why, 512, "pipe: %s", strerror(errno));
        return CONFORM_FAIL;
    }
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        conform c = *base;
        close(ends[0]);
        alarm(TIME_LIMIT);
        in_child(&c, check, ends[1]);
    }
    close(ends[1]);
    size_t used = 0;
    for (ssize_t n; child > 0 && used < 511 && (n = read(ends[0], why + used, 511 - used)) > 0;)
        used += (size_t)n;
    why[used] = 0;
    close(ends[0]);
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child) {
        snprintf(why, 512, "cannot run a process: %s", strerror(errno));
        return CONFORM_FAIL;
    }
    if (WIFSIGNALED(status)) {
        int sig = WTERMSIG(status);
        if (sig == SIGALRM)
            snprintf(why, 512, "no answer within %d seconds", TIME_LIMIT);
        else
            snprintf(why, 512, "crashed: %s", strsignal(sig));
        return CONFORM_FAIL;
    }
    int code = WEXITSTATUS(status);
    if (code != CONFORM_PASS && code != CONFORM_FAIL && code != CONFORM_SKIP) {
        snprintf(why, 512, "the plugin ended the process with status %d", code);
        return CONFORM_FAIL;
    }
    return (conform_result)code;
}

/* ---- the program ---- */

typedef struct {
    const conform_check *checks;
    int count;
} group;

static int selected(const conform_check *check, char *const *only, int count) {
    if (!count) return 1;
    for (int i = 0; i < count; i++)
        if (strcmp(only[i], check->name) == 0 || strcmp(only[i], check->group) == 0) return 1;
    return 0;
}

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

static void help(void) {
    puts("dukd-conform: checks a plugin against dukd_plugin.h\n\n"
         "usage: dukd-conform PLUGIN.so [options]\n\n"
         "options:\n"
         "  --only NAME        this check or group; may be repeated\n"
         "  --list             list the checks and what they check\n"
         "  --option KEY=VALUE an option that every session gets; may be repeated\n"
         "  --json             print JSON, for a program\n"
         "  --help             this text\n\n"
         "Each check runs in a process of its own. Exit status: 0 all passed, 1 some failed, 2 misused.\n\n"
         "example:\n"
         "  dukd-conform ./libdukd.so\n"
         "  dukd-conform ./libdukd.so --only errors --option train.mode=paper");
}

static int misused(const char *what, const char *word) {
    fprintf(stderr, "dukd-conform: %s %s; see dukd-conform --help\n", what, word ? word : "");
    return 2;
}

/* KEY=VALUE, as a host would pass it from an option file. */
static int take_option(char *text, dukd_option *out, const char **value) {
    char *equals = strchr(text, '=');
    if (!equals || equals == text) return -1;
    *equals = 0;
    *value = equals + 1;
    *out = (dukd_option){.struct_size = DUKD_OPTION_SIZE,
                         .kind = DUKD_VALUE_SCALAR,
                         .key = text,
                         .place = "--option",
                         .values = value,
                         .n_values = 1};
    return 0;
}

int main(int argc, char **argv) {
    const group groups[] = {{conform_static, conform_static_count},
                            {conform_loading, conform_loading_count},
                            {conform_versioning, conform_versioning_count},
                            {conform_errors, conform_errors_count},
                            {conform_numerics, conform_numerics_count}};
    static dukd_option options[MAX_OPTIONS];
    static const dukd_option *option_list[MAX_OPTIONS];
    static const char *option_values[MAX_OPTIONS];
    static char *only[MAX_OPTIONS];
    int n_only = 0, list = 0, json = 0, counts[3] = {0, 0, 0}, printed = 0;
    conform base = {.options = option_list};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0) {
            help();
            return 0;
        }
        if (strcmp(argv[i], "--list") == 0)
            list = 1;
        else if (strcmp(argv[i], "--json") == 0)
            json = 1;
        else if (strcmp(argv[i], "--only") == 0 && i + 1 < argc && n_only < MAX_OPTIONS)
            only[n_only++] = argv[++i];
        else if (strcmp(argv[i], "--option") == 0 && i + 1 < argc && base.n_options < MAX_OPTIONS) {
            uint32_t k = base.n_options++;
            if (take_option(argv[++i], &options[k], &option_values[k]))
                return misused("--option wants KEY=VALUE, not", argv[i]);
            option_list[k] = &options[k];
        } else if (argv[i][0] == '-')
            return misused("unknown or incomplete option", argv[i]);
        else if (base.path)
            return misused("one plugin at a time; what is", argv[i]);
        else
            base.path = argv[i];
    }
    if (!base.path && !list) return misused("which plugin?", NULL);
    if (base.path && access(base.path, R_OK)) {
        fprintf(stderr, "dukd-conform: %s: cannot be read: %s\n", base.path, strerror(errno));
        return 2;
    }
    char *whole =
        base.path ? realpath(base.path, NULL) : NULL; /* dlopen would search for a bare name elsewhere */
    base.path = whole;
    if (json) printf("{\"checks\": [");
    for (size_t g = 0; g < sizeof groups / sizeof *groups; g++)
        for (int i = 0; i < groups[g].count; i++) {
            const conform_check *check = &groups[g].checks[i];
            char why[512] = "";
            if (!selected(check, only, n_only)) continue;
            printed++;
            if (list && !json) {
                printf("%-11s %-18s %s\n", check->group, check->name, check->contract);
                continue;
            }
            conform_result r = list ? CONFORM_SKIP : run_check(&base, check, why);
            const char *word = r == CONFORM_PASS ? "pass" : r == CONFORM_FAIL ? "FAIL" : "skip";
            counts[r == CONFORM_PASS ? 0 : r == CONFORM_FAIL ? 1 : 2]++;
            if (json) {
                printf("%s\n  {\"group\": \"%s\", \"name\": \"%s\", \"result\": \"%s\", \"contract\": ",
                       printed > 1 ? "," : "", check->group, check->name, list ? "" : word);
                json_text(check->contract);
                printf(", \"why\": ");
                json_text(why);
                printf("}");
            } else {
                printf("%s  %-11s %-18s %s\n", word, check->group, check->name,
                       r == CONFORM_PASS ? check->contract : why);
            }
        }
    free(whole);
    if (!printed && !list) return misused("no check or group is called", n_only ? only[0] : NULL);
    if (json)
        printf("\n], \"passed\": %d, \"failed\": %d, \"skipped\": %d}\n", counts[0], counts[1], counts[2]);
    else if (!list)
        printf("%d passed, %d failed, %d skipped\n", counts[0], counts[1], counts[2]);
    return counts[1] ? 1 : 0;
}
