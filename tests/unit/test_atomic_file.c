/* Atomic files: whole or not at all, whoever dies or fails in the middle. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/atomic_file.h"

static char folder[64];

static int setup(void **state) {
    (void)state;
    snprintf(folder, sizeof folder, "%s", "/tmp/dukd_test_XXXXXX");
    return mkdtemp(folder) && chdir(folder) == 0 ? 0 : -1;
}

static int teardown(void **state) {
    (void)state;
    return chdir("/") == 0 && rmdir(folder) == 0 ? 0 : -1; /* fails where a test left a file behind */
}

static void assert_content(const char *path, const char *wanted) {
    char content[64] = "";
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    size_t size = fread(content, 1, sizeof content - 1, file);
    fclose(file);
    assert_int_equal(size, strlen(wanted));
    assert_string_equal(content, wanted);
}

static void write_all(const char *path, const char *content) {
    dukd_atomic_file *a;
    dukd_failure f = {0};
    assert_int_equal(dukd_atomic_file_open(&a, path, &f), DUKD_DONE);
    assert_int_equal(dukd_atomic_file_write(a, content, strlen(content), &f), DUKD_DONE);
    if (dukd_atomic_file_commit(a, &f) != DUKD_DONE) fail_msg("%s", f.message);
}

static void test_commit_and_abandon(void **state) {
    (void)state;
    char absolute[96];
    snprintf(absolute, sizeof absolute, "%s/file", folder);
    mode_t mask = umask(027);
    write_all(absolute, "old");
    umask(mask);
    struct stat s;
    assert_int_equal(stat("file", &s), 0);
    assert_int_equal(s.st_mode & 0777, 0640);

    dukd_atomic_file *a;
    assert_int_equal(dukd_atomic_file_open(&a, "file", NULL), DUKD_DONE); /* a name without a folder */
    assert_true(fprintf(dukd_atomic_file_stream(a), "new %d", 42) > 0);
    fflush(dukd_atomic_file_stream(a));
    assert_content("file", "old");
    assert_content("file.part", "new 42");
    assert_int_equal(dukd_atomic_file_commit(a, NULL), DUKD_DONE);
    assert_content("file", "new 42");
    assert_int_equal(access("file.part", F_OK), -1);

    assert_int_equal(dukd_atomic_file_open(&a, "file", NULL), DUKD_DONE);
    assert_int_equal(dukd_atomic_file_write(a, "lost", 4, NULL), DUKD_DONE);
    dukd_atomic_file_abandon(a);
    dukd_atomic_file_abandon(NULL);
    assert_content("file", "new 42");
    assert_int_equal(access("file.part", F_OK), -1);
    unlink("file");
}

/* Runs `child` in another process, which must end by itself with status 0. */
static void in_child(void (*child)(void)) {
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        child();
        _exit(1);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void die_while_writing(void) {
    dukd_atomic_file *a;
    if (dukd_atomic_file_open(&a, "file", NULL) != DUKD_DONE) _exit(2);
    fputs("half of something long", dukd_atomic_file_stream(a));
    fflush(dukd_atomic_file_stream(a));
    _exit(0); /* as if killed: nothing is closed or removed */
}

static void test_killed_writer(void **state) {
    (void)state;
    write_all("file", "old");
    in_child(die_while_writing);
    assert_content("file", "old");
    assert_content("file.part", "half of something long");
    write_all("file", "new"); /* shorter than what was left */
    assert_content("file", "new");
    assert_int_equal(access("file.part", F_OK), -1);
    unlink("file");
}

static void open_refused(void) {
    dukd_atomic_file *a;
    dukd_failure f = {0};
    if (dukd_atomic_file_open(&a, "file", &f) != DUKD_FAILED || a) _exit(2);
    _exit(strstr(f.message, "file: another process is writing it") ? 0 : 3);
}

static void test_two_writers(void **state) {
    (void)state;
    dukd_atomic_file *a;
    assert_int_equal(dukd_atomic_file_open(&a, "file", NULL), DUKD_DONE);
    fputs("mine", dukd_atomic_file_stream(a));
    in_child(open_refused);
    assert_int_equal(dukd_atomic_file_commit(a, NULL), DUKD_DONE);
    assert_content("file", "mine");
    unlink("file");
}

static void expect_open_failure(const char *path, const char *message) {
    dukd_atomic_file *a = (dukd_atomic_file *)folder; /* must come back as NULL */
    dukd_failure f = {0};
    assert_int_equal(dukd_atomic_file_open(&a, path, &f), DUKD_FAILED);
    assert_null(a);
    if (!strstr(f.message, message)) fail_msg("'%s' has no '%s'", f.message, message);
}

static void test_bad_places(void **state) {
    (void)state;
    expect_open_failure("missing/file", "missing/file.part: cannot be written: No such file");
    expect_open_failure(folder, "it is a folder");
    assert_int_equal(mkfifo("fifo", 0666),
                     0); /* stands for a device: a test that fails must not harm a real one */
    expect_open_failure("fifo", "it is no regular file");
    unlink("fifo");
    expect_open_failure("", "'' cannot be written: it names no file");
    expect_open_failure("missing/", "it names no file");
    assert_int_equal(access(".part", F_OK), -1);
    write_all("victim", "kept");
    assert_int_equal(symlink("victim", "file.part"), 0);
    expect_open_failure("file", "file.part: cannot be written"); /* a planted link is not followed */
    assert_content("victim", "kept");
    unlink("file.part");
    unlink("victim");
}

/* A disk that fills up: the limit on file sizes gives the same failure of write(2). */
static void test_full_disk(void **state) {
    (void)state;
    write_all("file", "old");
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, SIG_IGN);
    struct rlimit small = {1000, before.rlim_max};
    static const char block[100000];

    for (int direct = 0; direct <= 1; direct++) {
        dukd_atomic_file *a;
        dukd_failure f = {0};
        assert_int_equal(dukd_atomic_file_open(&a, "file", &f), DUKD_DONE);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
        /* Large: fails in fwrite. Small: only the flush in commit can know. */
        size_t size = direct ? sizeof block : 2000;
        int written = dukd_atomic_file_write(a, block, size, &f);
        int committed = dukd_atomic_file_commit(a, &f);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
        assert_int_equal(written, direct ? DUKD_FAILED : DUKD_DONE);
        assert_int_equal(committed, DUKD_FAILED);
        assert_string_equal(f.message, "file: cannot be written: File too large");
        assert_content("file", "old");
        assert_int_equal(access("file.part", F_OK), -1);
    }
    signal(SIGXFSZ, SIG_DFL);
    unlink("file");
}

static void test_place_lost_meanwhile(void **state) {
    (void)state;
    dukd_atomic_file *a;
    dukd_failure f = {0};
    assert_int_equal(dukd_atomic_file_open(&a, "file", &f), DUKD_DONE);
    assert_int_equal(mkdir("file", 0777), 0);
    assert_int_equal(dukd_atomic_file_commit(a, &f), DUKD_FAILED);
    assert_non_null(strstr(f.message, "file: cannot be replaced: Is a directory"));
    assert_int_equal(access("file.part", F_OK), -1);
    assert_int_equal(rmdir("file"), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_commit_and_abandon), cmocka_unit_test(test_killed_writer),
        cmocka_unit_test(test_two_writers),        cmocka_unit_test(test_bad_places),
        cmocka_unit_test(test_full_disk),          cmocka_unit_test(test_place_lost_meanwhile),
    };
    return cmocka_run_group_tests_name("atomic_file", tests, setup, teardown);
}
