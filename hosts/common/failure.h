/* How every fallible function of the hosts reports what went wrong.
 *
 * A function that can fail returns an int status and takes a dukd_failure as its last argument. The message
 * is written for the person at the terminal: what is wrong, where (file, line, tensor, option), what to do.
 * No function below hosts/ prints or exits; the command that called it prints the message and returns the
 * status as the exit status of the process. */
#ifndef DUKD_FAILURE_H
#define DUKD_FAILURE_H

enum {
    DUKD_DONE = 0,    /* success */
    DUKD_FAILED = 1,  /* the work could not be done: a bad file, a full disk, no memory */
    DUKD_MISUSED = 2, /* what was asked for is wrong: an option, an argument, an option file */
};

typedef struct {
    int status;         /* one of the above; DUKD_DONE when nothing failed */
    char message[1024]; /* UTF-8, no final newline */
} dukd_failure;

/* Fills *f (which may be NULL) and returns `status`, so that a caller can write
 *     return dukd_fail(f, DUKD_FAILED, "%s: cannot read: %s", path, strerror(errno));
 * The first failure wins: a second call on the same *f leaves the message as it is. [thread-safe on distinct
 * f] */
int dukd_fail(dukd_failure *f, int status, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* The same for memory: DUKD_FAILED, "out of memory: WHAT needs N bytes". */
int dukd_fail_memory(dukd_failure *f, const char *what, unsigned long long bytes);

#endif
