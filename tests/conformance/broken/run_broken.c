/* Runs dukd-conform on the small plugin, or the small host, whole and broken in each way there is, and looks which checks fail.
 *
 *     conform_broken DUKD-CONFORM FOLDER [NAME...]
 *     conform_broken_host DUKD-CONFORM BROKEN_HOST [NAME...]
 *
 * FOLDER holds small_NAME.so for each line of breaks.def, and small_nothing.so; BROKEN_HOST takes the name of a line of
 * breaks_host.def. Without names: all of them, and that no check of dukd-conform is without a line on which it alone fails. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    const char *name, *checks, *arguments;
} line;

static const line lines[] = {
    {"nothing", "", ""},
#define BREAK(name, checks, arguments, what) {#name, checks, arguments},
#ifdef BROKEN_HOSTS
#include "breaks_host.def"
#else
    {"nothing", "", "--option train.two_steps=true"},
    {"nothing", "", "--option train.bias=true"},
    {"nothing", "", "--option train.w_zoom=0 --option train.crop=corner"},
#include "breaks.def"
#endif
#undef BREAK
};
enum { LINES = sizeof lines / sizeof *lines, ROOM = 1024, AT_ONCE = 4 };

/* The value of a JSON string field on this line of the report, which has one check a line. */
static int field(const char *text, const char *name, char *out, size_t room) {
    char key[64];
    snprintf(key, sizeof key, "\"%s\": \"", name);
    const char *start = strstr(text, key);
    if (!start) return 0;
    start += strlen(key);
    const char *end = strchr(start, '"');
    if (!end || (size_t)(end - start) >= room) return 0;
    memcpy(out, start, (size_t)(end - start));
    out[end - start] = 0;
    return 1;
}

/* Whether `name` is among the words of `list`. */
static int among(const char *list, const char *name) {
    size_t n = strlen(name);
    for (const char *s = list; (s = strstr(s, name)); s += n)
        if ((s == list || s[-1] == ' ') && (s[n] == ' ' || !s[n])) return 1;
    return 0;
}

static int count_words(const char *list) {
    int n = 0;
    for (const char *s = list; *s; s++) n += *s != ' ' && (s == list || s[-1] == ' ');
    return n;
}

static FILE *start(const char *program, const char *folder, const line *l) {
    char command[4096];
#ifdef BROKEN_HOSTS
    static const char all[] = "--plugin {plugin} --steps {steps} --micro {micro} --out {work}";
    snprintf(command, sizeof command,
             "'%s' --host \"'%s' --break %s %s\" --resumes \"'%s' --break %s %s --resume\" --loads \"'%s' "
             "--break %s %s "
             "--start {start}\" --weights {work}/weights.f32 --average {work}/average.f32 --rate 0.05 "
             "--drops --json %s "
             "2>/dev/null",
             program, folder, l->name, all, folder, l->name, all, folder, l->name, all, l->arguments);
#else
    snprintf(command, sizeof command, "'%s' '%s/small_%s.so' --json %s 2>/dev/null", program, folder, l->name,
             l->arguments);
#endif
    return popen(command, "r");
}

/* Reads a report; 0 where the checks that fail are those of the line. */
static int judge(FILE *report, const line *l) {
    char text[4 * ROOM], name[ROOM], result[ROOM];
    int failed = 0, wrong = 0, checks = 0;
    while (report && fgets(text, sizeof text, report)) {
        if (!field(text, "name", name, sizeof name) || !field(text, "result", result, sizeof result))
            continue;
        checks++;
        if (strcmp(result, "FAIL") != 0) continue;
        failed++;
        if (among(l->checks, name)) continue;
        wrong++;
        const char *why = strstr(text, "\"why\":");
        printf("%s %s: %s fails too: %s", l->name, l->arguments, name, why ? why : "\n");
    }
    int status = report ? pclose(report) : -1;
    if (checks == 0 || failed - wrong != count_words(l->checks)) {
        wrong++;
        printf("%s %s: of '%s' %d fail, of %d checks (status %d)\n", l->name, l->arguments, l->checks,
               failed - wrong, checks, status);
    }
    return wrong;
}

/* What only a plugin with a CUDA backend can fail: the mistakes in it are made by tests/cuda/run_mutants. */
static int needs_device(const char *check) {
    static const char *const names[] = {"cuda-equals-cpu", "cuda-host-tensors", "cuda-no-wait", "cuda-graph"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(check, names[i]) == 0) return 1;
    return 0;
}

/* A check that no library fails might as well not be there. */
static int uncovered(const char *program) {
    char command[2048], text[4 * ROOM], name[ROOM];
    int missing = 0, checks = 0;
#ifdef BROKEN_HOSTS
    snprintf(command, sizeof command, "'%s' --list --json --host x", program);
#else
    snprintf(command, sizeof command, "'%s' --list --json", program);
#endif
    FILE *list = popen(command, "r");
    while (list && fgets(text, sizeof text, list)) {
        int alone = 0;
        if (!field(text, "name", name, sizeof name)) continue;
        checks++;
        if (needs_device(name)) continue;
        for (int i = 0; i < LINES; i++) alone |= strcmp(lines[i].checks, name) == 0;
        missing += !alone;
        if (!alone) printf("%s: nothing fails this check alone\n", name);
    }
    if (list) pclose(list);
    if (!checks) printf("%s lists no checks\n", program);
    return missing || !checks;
}

static int selected(const char *name, char **names, int n) {
    for (int i = 0; i < n; i++)
        if (strcmp(names[i], name) == 0) return 1;
    return n == 0;
}

int main(int argc, char **argv) {
    FILE *running[LINES] = {NULL};
    int wrong = 0, ran = 0, next = 0, order[LINES], n = 0;
    if (argc < 3) {
        fprintf(stderr, "usage: conform_broken DUKD-CONFORM FOLDER [NAME...]\n");
        return 2;
    }
    for (int i = 0; i < LINES; i++)
        if (selected(lines[i].name, argv + 3, argc - 3)) order[n++] = i;
    for (int i = 0; i < n; i++) {
        for (; next < n && next < i + AT_ONCE; next++)
            running[next] = start(argv[1], argv[2], &lines[order[next]]);
        wrong += judge(running[i], &lines[order[i]]) != 0;
        ran++;
        fflush(stdout);
    }
    if (argc == 3) wrong += uncovered(argv[1]);
    printf("%d runs of dukd-conform, %d not as they should be\n", ran, wrong);
    return wrong || !ran ? 1 : 0;
}
