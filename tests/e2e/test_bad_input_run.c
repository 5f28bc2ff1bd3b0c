#include "test_bad_input_run.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "host_run.h"
#include "models/model.h"
#include "support/edsr_net.h"
#include "train/file_network.h"
#include "train/weights.h"
#include "unit/data_fixture.h"
#include "unit/image_fixture.h"

enum { SECONDS = 60, WORDS = 32, TEXT = 1 << 16 };

bad_conditions bad_now;

/* ---------------------------------------------------------------- the scratch folder */

int bad_setup(void **state) {
    static const char spec[] =
        "{\"type\": \"EDSR\", \"num_in_ch\": 3, \"num_out_ch\": 3, \"num_feat\": 4, \"num_block\": 1, "
        "\"upscale\": 2, \"res_scale\": 0.1, \"img_range\": 255, \"rgb_mean\": [0.4488, 0.4371, 0.404]}";
    const dukd_st_entry entry = {DUKD_NETWORK_METADATA, spec};
    bad_now = (bad_conditions){0};
    if (host_setup(state)) return 1;
    dukd_graph *g = dukd_edsr_net(4, 1, 2, 0.1);
    float *w = dukd_weights_alloc(dukd_graph_weights(g));
    dukd_graph_init(g, 3, w);
    const int status = dukd_weights_save(data_path("net.safetensors"), g, w, NULL, &entry, 1, NULL);
    free(w);
    dukd_graph_destroy(g);
    return status;
}

int bad_teardown(void **state) {
    return host_teardown(state);
}

int bad_exists(const char *relative) {
    return host_exists(relative);
}

void bad_copy(const char *from, const char *to, int64_t bytes) {
    size_t size;
    unsigned char *data = fixture_load(data_path(from), &size);
    const size_t wanted = bytes <= 0 ? size - (size_t)-bytes : (size_t)bytes;
    unsigned char *copy = calloc(wanted + 1, 1);
    assert_non_null(copy);
    memcpy(copy, data, wanted < size ? wanted : size);
    fixture_save(data_path(to), copy, wanted);
    free(copy);
    free(data);
}

/* ---------------------------------------------------------------- what is on disk */

typedef struct {
    char *path;
    uint64_t hash;
} snapshot_row;

static struct {
    snapshot_row *rows;
    size_t count, room, skip; /* bytes of the scratch folder's own path */
} walk;

static uint64_t hash_file(const char *path) {
    uint64_t hash = 14695981039346656037u;
    FILE *file = fopen(path, "rb");
    if (!file) return 0;
    for (int c; (c = getc(file)) != EOF;) hash = (hash ^ (uint64_t)c) * 1099511628211u;
    fclose(file);
    return hash;
}

static int may_differ(const char *relative) {
    const size_t length = bad_now.may_leave ? strlen(bad_now.may_leave) : 0;
    return length && !strncmp(relative, bad_now.may_leave, length) &&
           (!relative[length] || relative[length] == '/');
}

static int visit(const char *path, const struct stat *info, int type, struct FTW *ftw) {
    (void)info;
    (void)ftw;
    const size_t length = strlen(path);
    if (length < walk.skip) return 0; /* the scratch folder itself */
    const char *relative = path + walk.skip;
    if (length > 5 && !strcmp(path + length - 5, ".part")) fail_msg("%s was left behind", relative);
    if (may_differ(relative)) return 0;
    if (walk.count == walk.room) {
        walk.room += 256;
        walk.rows = realloc(walk.rows, walk.room * sizeof *walk.rows);
        assert_non_null(walk.rows);
    }
    walk.rows[walk.count++] =
        (snapshot_row){.path = strdup(relative), .hash = type == FTW_F ? hash_file(path) : 1};
    return 0;
}

static int by_path(const void *a, const void *b) {
    return strcmp(((const snapshot_row *)a)->path, ((const snapshot_row *)b)->path);
}

static size_t take_snapshot(snapshot_row **rows) {
    memset(&walk, 0, sizeof walk);
    const char *root = data_path(".");
    walk.skip = strlen(root) + 1;
    if (nftw(root, visit, 16, FTW_PHYS)) fail_msg("%s cannot be walked", root);
    qsort(walk.rows, walk.count, sizeof *walk.rows, by_path);
    *rows = walk.rows;
    return walk.count;
}

static void free_snapshot(snapshot_row *rows, size_t count) {
    for (size_t i = 0; i < count; i++) free(rows[i].path);
    free(rows);
}

static void same_snapshot(const snapshot_row *a, size_t n, const snapshot_row *b, size_t m,
                          const char *line) {
    for (size_t i = 0; i < n || i < m; i++) {
        const int order = i >= n ? 1 : i >= m ? -1 : strcmp(a[i].path, b[i].path);
        if (order < 0) fail_msg("%s: %s is gone", line, a[i].path);
        if (order > 0) fail_msg("%s: left %s behind", line, b[i].path);
        if (a[i].hash != b[i].hash) fail_msg("%s: %s has changed", line, a[i].path);
    }
}

/* ---------------------------------------------------------------- running */

static char output_text[TEXT], error_text[TEXT], program_name[64];

/* Cuts `line` into words where it stands. */
static void split(char *line, const char *words[WORDS]) {
    int count = 0;
    for (char *p = line; *p;) {
        if (*p == ' ') {
            p++;
            continue;
        }
        assert_true(count < WORDS - 1);
        const char end = *p == '\'' ? '\'' : ' ';
        if (end == '\'') p++;
        words[count++] = p;
        while (*p && *p != end) p++;
        if (*p) *p++ = 0;
    }
    words[count] = NULL;
}

static const char *program_of(const char *first) {
    if (!strcmp(first, "dukd-compare")) return DUKD_COMPARE_PATH;
    if (!strcmp(first, "dukd-conform")) return DUKD_CONFORM_PATH;
    return DUKD_HOST_PATH;
}

static void become(const char *path, const char *const *argv, const char *folder, int out, int err) {
    const struct rlimit core = {0, 0}, file = {(rlim_t)bad_now.file_limit, (rlim_t)bad_now.file_limit};
    const struct rlimit memory = {(rlim_t)6 << 30, (rlim_t)6 << 30};
    if (bad_now.output) out = open(bad_now.output, O_WRONLY);
    if (out < 0 || chdir(folder) || dup2(out, 1) < 0 || dup2(err, 2) < 0) _exit(120);
    setrlimit(RLIMIT_CORE, &core);
    /* What a header claims must not be allocated: with so much memory it would fail, and say something else. */
    if (!DUKD_TEST_SANITIZED && !bad_now.maps_much && setrlimit(RLIMIT_AS, &memory)) _exit(121);
    if (bad_now.file_limit) {
        signal(SIGXFSZ, SIG_IGN); /* writing then fails with EFBIG, as it does with ENOSPC on a full disk */
        if (setrlimit(RLIMIT_FSIZE, &file)) _exit(121);
    }
    unsetenv("DUKD_PLUGIN");
    setenv("OMP_WAIT_POLICY", "passive", 1);
    setenv("DUKD_ENGINE_CUDA", "none", 1); /* the processor, whatever the machine has */
    char *environment = bad_now.environment ? strdup(bad_now.environment) : NULL;
    if (environment) putenv(environment);
    alarm(SECONDS); /* kept by exec */
    execv(path, (char *const *)(uintptr_t)argv);
    _exit(122);
}

static void read_all(int fd, char *text) {
    const ssize_t size = pread(fd, text, TEXT - 1, 0);
    text[size > 0 ? size : 0] = 0;
    close(fd);
}

/* The exit status, or minus the signal. */
static int run(const char *line) {
    char *copy = strdup(line);
    const char *words[WORDS], *argv[WORDS + 1] = {"dukd-host"};
    assert_non_null(copy);
    split(copy, words);
    const char *path = program_of(words[0]);
    const int is_name = !strncmp(words[0], "dukd-", 5);
    for (int i = is_name, k = 1; i == 0 || words[i - 1]; i++, k++) argv[k] = words[i];
    snprintf(program_name, sizeof program_name, is_name ? "%s:" : "dukd-host %s:", words[0]);
    const char *folder = data_path(".");
    const int out = memfd_create("out", MFD_CLOEXEC), err = memfd_create("err", MFD_CLOEXEC);
    assert_true(out >= 0 && err >= 0);
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (!pid) become(path, argv, folder, out, err);
    int status = 0;
    while (waitpid(pid, &status, 0) < 0) assert_int_equal(errno, EINTR);
    read_all(out, output_text);
    read_all(err, error_text);
    free(copy);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

/* ---------------------------------------------------------------- what every refusal has in common */

static void must_be(int right, const char *line, const char *what) {
    if (!right) fail_msg("%s: %s\nstderr: %s\nstdout: %s", line, what, error_text, output_text);
}

/* Nothing on stdout reads like a result. Training has its log there, which may say how far it came. */
static void check_stdout(const char *line) {
    if (strncmp(line, "train ", 6) != 0) {
        must_be(!output_text[0], line, "something on stdout");
        return;
    }
    for (const char *p = output_text; *p; p = strchr(p, '\n') + 1) {
        must_be(strchr(p, '\n') != NULL, line, "half a line on stdout");
        must_be(!strncmp(p + 19, " INFO: ", 7) || !strncmp(p + 19, " WARNING: ", 10), line,
                "no line of the log");
    }
    must_be(!strstr(output_text, "INFO: done"), line, "claims to be done");
}

void bad_refused(int status, const char *line, const char *const parts[3]) {
    snapshot_row *before, *after;
    const size_t n = take_snapshot(&before);
    const int got = run(line);
    if (got != status)
        fail_msg("%s: status %d, not %d\nstderr: %s\nstdout: %s", line, got, status, error_text, output_text);
    const size_t length = strlen(error_text);
    must_be(length && strchr(error_text, '\n') == error_text + length - 1, line, "stderr is not one line");
    must_be(length > 30 && !strncmp(error_text, program_name, strlen(program_name)), line,
            "stderr does not begin with the command");
    must_be(!strstr(error_text, "(null)"), line, "a text is missing");
    for (int i = 0; i < 3; i++)
        if (parts[i] && !strstr(error_text, parts[i]))
            fail_msg("%s: does not say '%s' but\n%s", line, parts[i], error_text);
    check_stdout(line);
    const size_t m = take_snapshot(&after);
    same_snapshot(before, n, after, m, line);
    free_snapshot(before, n);
    free_snapshot(after, m);
}

void bad_refused_all(const bad_case *cases, int count) {
    for (int i = 0; i < count; i++) {
        const bad_case *c = &cases[i];
        const char *const parts[3] = {c->part, c->part2, c->part3};
        bad_refused(c->status, c->line, parts);
    }
}

const char *bad_done(const char *line) {
    const int status = run(line);
    if (status) fail_msg("%s: status %d\nstderr: %s\nstdout: %s", line, status, error_text, output_text);
    must_be(!error_text[0], line, "something on stderr");
    return output_text;
}

const char *bad_output(void) {
    return output_text;
}
