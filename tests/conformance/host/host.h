/* Checks of a host: its command is run with the spy for a plugin (../spy/spy.h), once or more a check, and what the spy has
 * noted, what the command has said and what it has written is looked at. */
#ifndef HOST_H
#define HOST_H

#include <limits.h>
#include <stddef.h>
#include <stdint.h>

#include "conform.h"

/* What the command line says of the host; and what its first run has shown. */
struct host_setup {
    const char *command, *resumes, *loads; /* for the shell; NULL: there is none */
    const char *weights, *average;         /* FILE or FILE#PREFIX, after a run; NULL: none */
    double rate;                           /* of plain gradient descent; 0: another optimizer, or not known */
    int drops;                             /* training mode shows in its networks */
    int keep;                              /* the folder stays */
    unsigned seconds;                      /* for a run */
    const char *spy_file;                  /* as it was told; NULL: to be found */
    char spy[PATH_MAX];                    /* the plugin */
    char root[PATH_MAX];                   /* folder of all runs */
    int runs;                              /* so far */
    /* learnt from the first run (host_learn) */
    int learnt;
    uint64_t caps;
    int has_teacher, has_alloc, has_parallel, has_log;
    double size; /* of the student's output: root of its mean square */
    double move; /* what a step moves the output's projection, for gradients of `scale` */
    double scale;
};
typedef struct host_setup host_setup;

/* How a command is run; zero is the usual way. */
typedef struct {
    const char *scenario; /* ../spy/spy_scenario.c */
    int steps;            /* 0: 2 */
    int micro;            /* 0: 1 */
    const char *test;     /* words for DUKD_SPY_TEST */
    const char *fail;     /* CALL@N */
    double scale;         /* of gradients; 0: what was learnt */
    enum { HOST_RUNS, HOST_RESUMES, HOST_LOADS } how;
    const char *start;  /* HOST_LOADS: the file of weights */
    const char *folder; /* HOST_RESUMES: of the run that is gone on with */
} host_request;

/* A run that is over. To be freed. */
typedef struct {
    char folder[PATH_MAX], work[PATH_MAX];
    int status;         /* of the command; 128 + signal where it was killed */
    char *output;       /* what it printed: both streams; terminated */
    char *text;         /* the spy's notes; lines end with 0 */
    const char **lines; /* [n_lines] */
    int n_lines;
} host_run;

/* host_command.c: the command line */
extern const char host_help[];
int host_take(host_setup *h, int argc, char **argv, int *i);
const char *host_wrong(const host_setup *h);
int host_open(host_setup *h); /* 0, or -1 after a message */
void host_close(const host_setup *h);

/* host_run.c. A command that does not end in time fails the check. */
conform_result host_start(conform *c, host_run *r, host_request request);
void host_free(host_run *r);
/* The same, and the command must have said that all is well, and ended so many steps. */
conform_result host_succeed(conform *c, host_run *r, host_request request);
/* {name} in a text replaced; malloc'd, NULL: no memory. work may be NULL. */
char *host_replace(const host_setup *h, const char *text, const char *work, const host_request *request,
                   int for_shell);
void host_remove(const char *folder);

/* host_notes.c: the spy's notes */
int host_is(const char *line, const char *call);
double host_number(const char *line, const char *key); /* NAN: none */
int host_text(const char *line, const char *key, char *out, size_t size);
int host_count(const host_run *r, const char *call);
const char *host_find(const host_run *r, const char *call, int from, int *at); /* NULL: none */
/* The n-th note of a tap in iteration, pass, tap; NULL: none. */
const char *host_tap(const host_run *r, int iteration, int pass, int tap);
/* Fails where the spy has found this rule broken. */
conform_result host_rule(conform *c, const host_run *r, const char *rule);
/* The projection of a tap; fails where it is not there or not finite. */
conform_result host_dot(conform *c, const host_run *r, int iteration, int pass, int tap, double *dot);
/* The projection of each image by itself; returns how many. */
int host_images(const char *line, double *out, int room);

/* Where a tap is. */
typedef struct {
    int iteration, pass, tap;
} host_at;
/* Runs, and reads these projections. */
conform_result host_dots(conform *c, host_request request, const host_at *at, int n, double *out);
/* Whether two projections are of the same weights, but for rounding. */
int host_same(const conform *c, double a, double b);
/* Passes where they are; `what` says what had no right to change it. */
conform_result host_still(conform *c, double before, double after, const char *what);

/* host_learn.c: what the first run has shown; a skip where nothing can be learnt from it. */
conform_result host_learn(conform *c);
conform_result host_needs_teacher(conform *c);
/* A step must move the output so that it can be seen. */
conform_result host_needs_move(conform *c);
conform_result host_needs_caps(conform *c, uint64_t cap, const char *name);

/* host_weights.c: what a run has written. values is malloc'd. */
typedef struct {
    float *values;
    int64_t count;
} host_weights;
conform_result host_read_weights(conform *c, const char *where, const host_run *r, host_weights *out);
/* Runs, and reads the weights that are there afterwards. */
conform_result host_weights_of(conform *c, host_request request, host_weights *out);
/* The file of a run's weights again, with others in it. */
conform_result host_write_weights(conform *c, const host_run *r, const float *values, int64_t count,
                                  const char *path);

extern const conform_group host_starting, host_calls, host_taps, host_flags, host_micro, host_errors,
    host_services, host_state, host_gradient, host_own;

#endif
