/* Running a host's command once. */
#include "host.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 1 << 26 }; /* bytes of output or notes that are read */

/* ---- the command ---- */

static void append(char **at, const char *text, int quoted) {
    if (quoted) *(*at)++ = '\'';
    for (; *text; text++)
        if (quoted && *text == '\'') {
            memcpy(*at, "'\\''", 4);
            *at += 4;
        } else {
            *(*at)++ = *text;
        }
    if (quoted) *(*at)++ = '\'';
}

char *host_replace(const host_setup *h, const char *text, const char *work, const host_request *q,
                   int for_shell) {
    char steps[16], micro[16];
    snprintf(steps, sizeof steps, "%d", q->steps);
    snprintf(micro, sizeof micro, "%d", q->micro);
    const struct {
        const char *name, *value;
    } words[] = {{"{plugin}", h->spy},
                 {"{work}", work},
                 {"{steps}", steps},
                 {"{micro}", micro},
                 {"{start}", q->start ? q->start : ""}};
    size_t marks = 0;
    for (const char *t = text; (t = strchr(t, '{')); t++) marks++;
    char *out =
        malloc(strlen(text) + marks * (4 * PATH_MAX + 2) + 1); /* a quote in a value takes four bytes */
    char *at = out;
    while (out && *text) {
        size_t w = 0, n = sizeof words / sizeof *words;
        while (w < n && (!words[w].value || strncmp(text, words[w].name, strlen(words[w].name)) != 0)) w++;
        if (w < n) {
            append(&at, words[w].value, for_shell);
            text += strlen(words[w].name);
        } else {
            *at++ = *text++;
        }
    }
    if (out) *at = 0;
    return out;
}

static void set(const char *name, const char *value) {
    if (value)
        setenv(name, value, 1);
    else
        unsetenv(name);
}

static void in_child(const host_run *r, const host_request *q, const char *command) {
    char path[PATH_MAX + 16], scale[32];
    setpgid(0, 0);
    snprintf(path, sizeof path, "%s/output", r->folder);
    const int out = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644), in = open("/dev/null", O_RDONLY);
    if (out < 0 || in < 0) _exit(127);
    dup2(in, STDIN_FILENO);
    dup2(out, STDOUT_FILENO);
    dup2(out, STDERR_FILENO);
    snprintf(path, sizeof path, "%s/notes", r->folder);
    snprintf(scale, sizeof scale, "%.17g", q->scale);
    set("DUKD_SPY", q->scenario);
    set("DUKD_SPY_LOG", path);
    set("DUKD_SPY_TEST", q->test);
    set("DUKD_SPY_FAIL", q->fail);
    set("DUKD_SPY_SCALE", scale);
    execl("/bin/sh", "sh", "-c", command, (char *)NULL);
    _exit(127);
}

/* The command's status; -1: it did not end in time. */
static int wait_for(pid_t child, unsigned seconds) {
    struct timespec start, now;
    int status;
    clock_gettime(CLOCK_MONOTONIC, &start);
    for (;;) {
        const pid_t ended = waitpid(child, &status, WNOHANG);
        if (ended == child) return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        if (ended < 0 && errno != EINTR) return 127;
        clock_gettime(CLOCK_MONOTONIC, &now);
        if (now.tv_sec - start.tv_sec >= (time_t)seconds) {
            kill(-child, SIGKILL);
            waitpid(child, &status, 0);
            return -1;
        }
        nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    }
}

/* ---- what it left ---- */

static char *slurp(const char *folder, const char *name) {
    char path[PATH_MAX + 16];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "re");
    char *text = malloc(MOST + 1u);
    size_t size = file && text ? fread(text, 1, MOST, file) : 0;
    if (file) fclose(file);
    if (!text) return NULL;
    for (size_t i = 0; i < size; i++) text[i] = text[i] ? text[i] : ' ';
    text[size] = 0;
    char *fit = realloc(text, size + 1);
    return fit ? fit : text;
}

static int split(host_run *r) {
    int n = 0;
    for (const char *s = r->text; (s = strchr(s, '\n')); s++) n++;
    r->lines = calloc((size_t)n + 1, sizeof *r->lines);
    if (!r->lines) return -1;
    for (char *s = r->text, *end; (end = strchr(s, '\n')); s = end + 1) {
        *end = 0;
        r->lines[r->n_lines++] = s;
    }
    return 0;
}

void host_free(host_run *r) {
    free(r->output);
    free(r->text);
    free(r->lines);
    *r = (host_run){0};
}

static int remove_one(const char *path, const struct stat *s, int kind, struct FTW *w) {
    (void)s;
    (void)kind;
    (void)w;
    return remove(path);
}

void host_remove(const char *folder) {
    nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* ---- all of it ---- */

static conform_result make_folder(conform *c, host_run *r, const host_request *q) {
    host_setup *h = c->host;
    int n = snprintf(r->folder, sizeof r->folder, "%s/%03d", h->root, ++h->runs);
    REQUIRE(c, n < (int)sizeof r->folder - 8, "the folder's name is too long");
    REQUIRE(c, mkdir(r->folder, 0755) == 0, "%s: %s", r->folder, strerror(errno));
    if (q->how == HOST_RESUMES) { /* in the folder of the run that is resumed */
        snprintf(r->work, sizeof r->work, "%s", q->folder);
        return CONFORM_PASS;
    }
    memcpy(r->work, r->folder, sizeof r->work);
    strcat(r->work, "/work");
    REQUIRE(c, mkdir(r->work, 0755) == 0, "%s: %s", r->work, strerror(errno));
    return CONFORM_PASS;
}

conform_result host_start(conform *c, host_run *r, host_request q) {
    const host_setup *h = c->host;
    memset(r, 0, sizeof *r);
    if (!q.steps) q.steps = 2;
    if (!q.micro) q.micro = 1;
    if (q.scale == 0) q.scale = h->scale != 0 ? h->scale : 1;
    TRY(make_folder(c, r, &q));
    const char *text = q.how == HOST_RESUMES ? h->resumes : q.how == HOST_LOADS ? h->loads : h->command;
    char *command = host_replace(h, text, r->work, &q, 1);
    REQUIRE(c, command, "no memory");
    const pid_t child = fork();
    if (child == 0) in_child(r, &q, command);
    free(command);
    REQUIRE(c, child > 0, "no process can be made: %s", strerror(errno));
    setpgid(child, child);
    r->status = wait_for(child, h->seconds);
    kill(-child, SIGKILL); /* what it has left running */
    r->output = slurp(r->folder, "output");
    r->text = slurp(r->folder, "notes");
    REQUIRE(c, r->output && r->text && split(r) == 0, "no memory");
    REQUIRE(c, r->status >= 0, "the command has not ended within %u seconds; its last words: %.200s",
            h->seconds, strlen(r->output) > 200 ? r->output + strlen(r->output) - 200 : r->output);
    return CONFORM_PASS;
}

/* The end of what it printed, in one line. */
static const char *last_words(const host_run *r) {
    size_t n = strlen(r->output);
    for (char *s = r->output; *s; s++)
        if ((unsigned char)*s < 0x20) *s = ' ';
    while (n && r->output[n - 1] == ' ') r->output[--n] = 0;
    return n > 300 ? r->output + n - 300 : r->output;
}

conform_result host_succeed(conform *c, host_run *r, host_request q) {
    TRY(host_start(c, r, q));
    const int steps = q.steps ? q.steps : 2, parts = q.micro ? q.micro : 1;
    REQUIRE(c, r->status < 128, "the command was ended by signal %d (%s); it said: %s", r->status - 128,
            strsignal(r->status - 128), last_words(r));
    REQUIRE(c, r->status == 0, "the command ended with status %d; it said: %s", r->status, last_words(r));
    const int ended = host_count(r, "end_step");
    if (q.how == HOST_RESUMES) return CONFORM_PASS;
    REQUIRE(c, ended == steps * parts, "%d of %d steps were ended", ended, steps * parts);
    return CONFORM_PASS;
}
