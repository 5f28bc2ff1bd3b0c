/* The arguments of a command, declared as a table from which parsing and --help are made.
 *
 * Options are "--name VALUE", "--name=VALUE" or a flag; "--" ends them. BasicSR's single-dash "-opt" is an
 * alias like any other. Everything else is a positional argument. */
#ifndef DUKD_ARGS_H
#define DUKD_ARGS_H

#include <stdint.h>

#include "common/failure.h"

typedef enum {
    DUKD_ARG_FLAG,    /* target int32_t *: set to 1 */
    DUKD_ARG_TEXT,    /* target const char ** */
    DUKD_ARG_INTEGER, /* target int64_t * */
    DUKD_ARG_NUMBER,  /* target double * */
    DUKD_ARG_TEXTS,   /* target dukd_texts *: one value each time it is given */
    DUKD_ARG_MANY, /* target dukd_texts *: all that follows up to the next option (BasicSR's --force_yml) */
} dukd_arg_kind;

typedef struct {
    const char **items; /* point into argv */
    int32_t count;
} dukd_texts;

typedef struct {
    const char *name;  /* "--scale" */
    const char *alias; /* "-s", or NULL */
    dukd_arg_kind kind;
    const char *value; /* what its value is called in the help: "N"; NULL for flags */
    const char *help;
    void *target; /* keeps what it holds (the default) where the option is not given */
} dukd_arg;

typedef struct {
    const char *command;                      /* "upscale" */
    const char *summary;                      /* one line: what it does */
    const char *positionals;                  /* as shown in the usage line: "IN... -o DIR"; may be "" */
    const char *details;                      /* paragraphs after the options, or NULL */
    const char *example;                      /* complete command lines, one a line */
    int32_t min_positionals, max_positionals; /* max -1: any number */
    const dukd_arg *args;
    int32_t arg_count;
} dukd_command;

#define DUKD_HELP_SHOWN 100 /* --help was given and printed on stdout: leave with status 0 */

/* argv[0] is the command's name. Lists are allocated: free with dukd_texts_free. Returns DUKD_DONE,
 * DUKD_HELP_SHOWN or DUKD_MISUSED; the message of an unknown option names the nearest known one. */
int dukd_args_parse(const dukd_command *c, int argc, char **argv, dukd_texts *positionals, dukd_failure *f);
void dukd_args_help(const dukd_command *c);
void dukd_texts_free(dukd_texts *t); /* NULL allowed */

/* Prints "dukd-host COMMAND: MESSAGE" on stderr where there is a failure, and gives the exit status (0 for
 * DUKD_HELP_SHOWN). Commands end with return dukd_command_end(...). */
int dukd_command_end(const char *command, int status, const dukd_failure *f);

#endif
