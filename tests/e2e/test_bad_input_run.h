/* Bad input, command by command: what runs a program, and holds it to what every refusal has in common. */
#ifndef DUKD_TEST_BAD_INPUT_RUN_H
#define DUKD_TEST_BAD_INPUT_RUN_H

#include <stdint.h>

/* Setup and teardown for cmocka: host_run.h's scratch folder (train/, val/, teacher.safetensors of 6 channels, dukd.yml,
 * scratch.yml) and net.safetensors, the student's weights (4 channels), which say so themselves. */
int bad_setup(void **state);
int bad_teardown(void **state);
#define BAD_TEST(name) cmocka_unit_test_setup_teardown(name, bad_setup, bad_teardown)

/* A command line: words are parted by spaces, '...' holds one with spaces or an empty one. The first word is a command of
 * dukd-host, or `dukd-compare`, `dukd-conform`, `dukd-host`. It runs in the scratch folder. */
typedef struct {
    int status; /* what it must exit with */
    const char *line;
    const char *part, *part2, *part3; /* each in its message; NULL: nothing */
} bad_case;

/* How the next commands are run; all zero: as they are. */
typedef struct {
    int64_t file_limit;      /* bytes that a file may have: writing more fails, as on a full disk */
    const char *output;      /* standard output goes to this file: /dev/full */
    const char *may_leave;   /* a folder (or file) below which files may be new or other than before */
    const char *environment; /* NAME=VALUE */
    int maps_much;           /* more than 6 GiB of addresses may be mapped, as the emulated device does */
} bad_conditions;
extern bad_conditions bad_now; /* zeroed by bad_setup */

/* Runs it and asserts: this exit status; one line on stderr, which begins with the program's and the command's name and holds
 * the parts; nothing on stdout but, in training, lines of the log that claim no result; every file of the scratch folder as it
 * was (but below may_leave), and nowhere a file that was being written. */
void bad_refused(int status, const char *line, const char *const parts[3]);
void bad_refused_all(const bad_case *cases, int count);
#define REFUSED(status, line, ...) bad_refused(status, line, (const char *const[3]){__VA_ARGS__})
#define REFUSED_ALL(cases)         bad_refused_all(cases, (int)(sizeof(cases) / sizeof *(cases)))

/* The same program must do it: status 0. Returns what it wrote to stdout; valid until the next command. */
const char *bad_done(const char *line);
const char *bad_output(void); /* what the last command wrote to stdout */
int bad_exists(const char *relative);
/* Copies a file of the scratch folder, cut or lengthened by zeros to `bytes` (0 and less: this many fewer than it has). */
void bad_copy(const char *from, const char *to, int64_t bytes);

#endif
