/* Every golden file, written by Python, is read, written and read again: the same tensors. Where DUKD_PYTHON names a Python
 * that has safetensors and numpy, the format's own library compares as well. */
#include <dirent.h>
#include <setjmp.h>
#include <spawn.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/safetensors.h"
#include "support/golden.h"

extern char **environ;

static const char *const copy = "dukd_test_copy.safetensors"; /* in the test's working folder */

static dukd_tensor_file *open_file(const char *path) {
    dukd_tensor_file *t;
    dukd_failure f = {0};
    if (dukd_tensor_file_open(&t, path, &f) != DUKD_DONE) fail_msg("%s", f.message);
    return t;
}

static void write_copy(const dukd_tensor_file *t) {
    int32_t count = dukd_tensor_file_count(t);
    dukd_st_tensor *tensors = malloc(((size_t)count + 1) * sizeof *tensors);
    assert_non_null(tensors);
    for (int32_t i = 0; i < count; i++) tensors[i] = *dukd_tensor_file_at(t, i);
    dukd_failure f = {0};
    if (dukd_tensor_file_write(copy, tensors, count, NULL, 0, &f) != DUKD_DONE) fail_msg("%s", f.message);
    free(tensors);
}

static void assert_same(const dukd_tensor_file *a, const dukd_tensor_file *b) {
    assert_int_equal(dukd_tensor_file_count(a), dukd_tensor_file_count(b));
    assert_true(dukd_tensor_file_count(a) > 0);
    for (int32_t i = 0; i < dukd_tensor_file_count(a); i++) {
        const dukd_st_tensor *x = dukd_tensor_file_at(a, i), *y = dukd_tensor_file_find(b, x->name);
        assert_non_null(y);
        assert_true(x->type == y->type && x->ndim == y->ndim && x->count == y->count);
        assert_memory_equal(x->dims, y->dims, (size_t)x->ndim * sizeof *x->dims);
        assert_memory_equal(x->data, y->data, (size_t)(x->count * dukd_st_type_size(x->type)));
    }
}

static int python_says_same(const char *python, const char *a, const char *b) {
    char name[1024], script[1024], first[1024], second[1024];
    snprintf(name, sizeof name, "%s", python); /* as argv[0] too: by it Python finds its packages */
    snprintf(script, sizeof script, "%s/tests/golden/same_tensors.py", DUKD_SOURCE_DIR);
    snprintf(first, sizeof first, "%s", a);
    snprintf(second, sizeof second, "%s", b);
    char *const arguments[] = {name, script, first, second, NULL};
    pid_t pid;
    int status = -1;
    assert_int_equal(posix_spawn(&pid, python, NULL, NULL, arguments, environ), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* Calls for each golden file; returns how many there were. */
static int for_each_golden(void (*call)(const char *path)) {
    char folder_path[1024], path[2048];
    dukd_shared_path(folder_path, sizeof folder_path, "golden");
    DIR *folder = opendir(folder_path);
    assert_non_null(folder);
    int files = 0;
    for (struct dirent *entry = readdir(folder); entry; entry = readdir(folder)) {
        const char *end = strrchr(entry->d_name, '.');
        if (!end || strcmp(end, ".safetensors") != 0) continue;
        snprintf(path, sizeof path, "%s/%s", folder_path, entry->d_name);
        call(path);
        files++;
    }
    closedir(folder);
    return files;
}

static void copy_and_compare(const char *path) {
    dukd_tensor_file *t = open_file(path);
    write_copy(t);
    dukd_tensor_file *again = open_file(copy);
    assert_same(t, again);
    dukd_tensor_file_close(again);
    dukd_tensor_file_close(t);
    unlink(copy);
}

static void test_all_golden_files(void **state) {
    (void)state;
    assert_true(for_each_golden(copy_and_compare) > 0);
}

static void copy_and_ask_python(const char *path) {
    dukd_tensor_file *t = open_file(path);
    write_copy(t);
    dukd_tensor_file_close(t);
    int same = python_says_same(getenv("DUKD_PYTHON"), path, copy);
    unlink(copy);
    if (!same) fail_msg("%s: Python's library sees another file after writing", path);
}

static void test_python_reads_what_was_written(void **state) {
    (void)state;
    if (!getenv("DUKD_PYTHON")) {
        print_message("SKIP: DUKD_PYTHON names no Python with safetensors and numpy\n");
        skip();
    }
    assert_true(for_each_golden(copy_and_ask_python) > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_golden_files),
        cmocka_unit_test(test_python_reads_what_was_written),
    };
    return cmocka_run_group_tests_name("safetensors_golden", tests, NULL, NULL);
}
