#include "cmd/args.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/nearest.h"

/* ---- help ---- */

static void print_option(const char *left, const char *help) {
    const int column = 30;
    int width = printf("  %s", left);
    if (width >= column) {
        printf("\n");
        width = 0;
    }
    printf("%*s%s\n", column - width, "", help);
}

void dukd_args_help(const dukd_command *c) {
    printf("%s\n\nusage: dukd-host %s %s%s\n\noptions:\n", c->summary, c->command, c->positionals,
           c->arg_count ? " [options]" : "");
    for (int32_t i = 0; i < c->arg_count; i++) {
        const dukd_arg *a = &c->args[i];
        char left[128];
        snprintf(left, sizeof left, "%s%s%s%s%s%s", a->alias ? a->alias : "", a->alias ? ", " : "", a->name,
                 a->value ? " " : "", a->value ? a->value : "", a->kind == DUKD_ARG_MANY ? "..." : "");
        print_option(left, a->help);
    }
    print_option("--help", "this text");
    if (c->details) printf("\n%s\n", c->details);
    printf("\nexample:\n");
    for (const char *line = c->example; line && *line;) {
        const char *end = strchr(line, '\n');
        int length = end ? (int)(end - line) : (int)strlen(line);
        printf("  %.*s\n", length, line);
        line = end ? end + 1 : NULL;
    }
}

/* ---- parsing ---- */

static const dukd_arg *find(const dukd_command *c, const char *word, size_t length) {
    for (int32_t i = 0; i < c->arg_count; i++) {
        const char *names[2] = {c->args[i].name, c->args[i].alias};
        for (int k = 0; k < 2; k++)
            if (names[k] && strlen(names[k]) == length && memcmp(names[k], word, length) == 0)
                return &c->args[i];
    }
    return NULL;
}

static int unknown(const dukd_command *c, const char *word, dukd_failure *f) {
    int32_t hit = c->arg_count ? dukd_nearest(word, &c->args[0].name, c->arg_count, sizeof *c->args) : -1;
    const char *nearest = hit >= 0 ? c->args[hit].name : NULL;
    return dukd_fail(f, DUKD_MISUSED, "unknown option '%s'%s%s%s; see dukd-host %s --help", word,
                     nearest ? ", did you mean '" : "", nearest ? nearest : "", nearest ? "'?" : "",
                     c->command);
}

static int append(dukd_texts *t, const char *text, dukd_failure *f) {
    const char **items = realloc(t->items, ((size_t)t->count + 1) * sizeof *items);
    if (!items)
        return dukd_fail_memory(f, "the list of arguments",
                                ((unsigned long long)t->count + 1) * sizeof *items);
    items[t->count++] = text;
    t->items = items;
    return DUKD_DONE;
}

static int store(const dukd_arg *a, const char *text, dukd_failure *f) {
    char *end = NULL;
    switch (a->kind) {
    case DUKD_ARG_TEXT:
        if (!*text)
            return dukd_fail(f, DUKD_MISUSED,
                             "%s has an empty value (an unset variable?): give one, or leave it out",
                             a->name);
        *(const char **)a->target = text;
        return DUKD_DONE;
    case DUKD_ARG_INTEGER: {
        errno = 0;
        long long number = strtoll(text, &end, 10);
        if (end == text || *end || errno)
            return dukd_fail(f, DUKD_MISUSED, "%s wants a whole number, not '%s'", a->name, text);
        *(int64_t *)a->target = number;
        return DUKD_DONE;
    }
    case DUKD_ARG_NUMBER: {
        double number = strtod(text, &end);
        if (end == text || *end || !isfinite(number))
            return dukd_fail(f, DUKD_MISUSED, "%s wants a number, not '%s'", a->name, text);
        *(double *)a->target = number;
        return DUKD_DONE;
    }
    case DUKD_ARG_TEXTS:
    case DUKD_ARG_MANY:
        return append(a->target, text, f);
    case DUKD_ARG_FLAG:
        break;
    }
    return dukd_fail(f, DUKD_MISUSED, "%s takes no value", a->name);
}

static int looks_like_option(const char *word) {
    return word[0] == '-' && word[1] && !(word[1] >= '0' && word[1] <= '9') && word[1] != '.';
}

/* One option at argv[*i], with what belongs to it; *i is left at its last word. */
static int parse_option(const dukd_command *c, int argc, char **argv, int *i, dukd_failure *f) {
    const char *word = argv[*i], *equals = strncmp(word, "--", 2) == 0 ? strchr(word, '=') : NULL;
    const dukd_arg *a = find(c, word, equals ? (size_t)(equals - word) : strlen(word));
    if (!a) return unknown(c, word, f);
    if (a->kind == DUKD_ARG_FLAG) {
        if (equals) return dukd_fail(f, DUKD_MISUSED, "%s takes no value", a->name);
        *(int32_t *)a->target = 1;
        return DUKD_DONE;
    }
    if (equals) return store(a, equals + 1, f);
    if (*i + 1 >= argc)
        return dukd_fail(f, DUKD_MISUSED, "%s wants a value (%s)", word, a->value ? a->value : "text");
    int status = store(a, argv[++*i], f);
    while (status == DUKD_DONE && a->kind == DUKD_ARG_MANY && *i + 1 < argc &&
           !looks_like_option(argv[*i + 1]))
        status = store(a, argv[++*i], f);
    return status;
}

static int check_positionals(const dukd_command *c, const dukd_texts *positionals, dukd_failure *f) {
    const int32_t count = positionals->count;
    for (int32_t i = 0; i < count; i++)
        if (!*positionals->items[i])
            return dukd_fail(f, DUKD_MISUSED,
                             "argument %d is empty (an unset variable?); usage: dukd-host %s %s (see --help)",
                             i + 1, c->command, c->positionals);
    if (count < c->min_positionals)
        return dukd_fail(f, DUKD_MISUSED, "something is missing; usage: dukd-host %s %s (see --help)",
                         c->command, c->positionals);
    if (c->max_positionals >= 0 && count > c->max_positionals)
        return dukd_fail(f, DUKD_MISUSED, "too many arguments; usage: dukd-host %s %s (see --help)",
                         c->command, c->positionals);
    return DUKD_DONE;
}

int dukd_args_parse(const dukd_command *c, int argc, char **argv, dukd_texts *positionals, dukd_failure *f) {
    int only_positionals = 0, status = DUKD_DONE;
    *positionals = (dukd_texts){0};
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--") == 0)
            break;
        else if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            dukd_args_help(c);
            return DUKD_HELP_SHOWN;
        }
    for (int i = 1; i < argc && status == DUKD_DONE; i++) {
        if (!only_positionals && strcmp(argv[i], "--") == 0)
            only_positionals = 1;
        else if (!only_positionals && looks_like_option(argv[i]))
            status = parse_option(c, argc, argv, &i, f);
        else
            status = append(positionals, argv[i], f);
    }
    return status ? status : check_positionals(c, positionals, f);
}

void dukd_texts_free(dukd_texts *t) {
    if (!t) return;
    free((void *)t->items);
    *t = (dukd_texts){0};
}

int dukd_command_end(const char *command, int status, const dukd_failure *f) {
    if (status == DUKD_DONE || status == DUKD_HELP_SHOWN) return 0;
    fflush(stdout);
    fprintf(stderr, "dukd-host %s: %s\n", command, f && f->message[0] ? f->message : "failed");
    return status;
}
