/* Full disks and folders that cannot be written: one message, and what was there before is there after, whole. The tests may run as
 * root, whom no permission stops: a path below a regular file is what cannot be written. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "host_run.h"
#include "test_bad_input_run.h"
#include "unit/data_fixture.h"
#include "unit/image_fixture.h"

static void folders_that_cannot_be(void **state) {
    (void)state;
    static const bad_case cases[] = {
        {1, "upscale -m net.safetensors val -o dukd.yml", "dukd.yml", "folder", NULL},
        {1, "upscale -m net.safetensors val -o dukd.yml/up", "dukd.yml/up", "folder", NULL},
        {1, "test scratch.yml -w net.safetensors --save dukd.yml", "dukd.yml/tiny", "folder", NULL},
        {1, "test scratch.yml -w net.safetensors --save dukd.yml/a/b", "dukd.yml/a", "folder", NULL},
        {1, "preview dukd.yml -o dukd.yml/p.png", "dukd.yml/p.png", "Not a directory", NULL},
        {1, "preview dukd.yml -o nosuch/p.png", "nosuch/p.png", "No such file", NULL},
        {1, "prepare train dukd.yml -s 2", "dukd.yml", "folder", NULL},
        {1, "prepare train dukd.yml/out -s 2", "dukd.yml/out", "folder", NULL},
        {1, "train scratch.yml --set path.experiments_root=dukd.yml", "dukd.yml", NULL, NULL},
        {1, "train scratch.yml --set path.experiments_root=dukd.yml/experiments/x", "dukd.yml/experiments",
         NULL, NULL},
    };
    REFUSED_ALL(cases);
    mkdir(data_path("p.png"), 0777);
    REFUSED(1, "preview dukd.yml -o p.png", "p.png", "folder", "another name");
    data_text(data_path("experiments"), "a file of this name\n");
    REFUSED(1, "train scratch.yml", "experiments", "folder");
}

static void standard_output(void **state) {
    (void)state;
    static const bad_case cases[] = {
        {1, "dukd-host --help", "standard output", "disk full", NULL},
        {1, "dukd-host --version", "standard output", NULL, NULL},
        {1, "train --help", "standard output", NULL, NULL},
        {1, "test scratch.yml -w net.safetensors", "standard output", NULL, NULL},
        {1, "test scratch.yml -w net.safetensors --json", "standard output", NULL, NULL},
        {1, "info scratch.yml --no-speed", "standard output", NULL, NULL},
        {1, "info scratch.yml --no-speed --json", "standard output", NULL, NULL},
        {1, "metrics val val -s 2", "standard output", NULL, NULL},
        {1, "metrics val val -s 2 --json", "standard output", NULL, NULL},
        {1, "plugin", "standard output", NULL, NULL}, /* more than one buffer: lost before the end */
        {1, "plugin --json", "standard output", NULL, NULL},
    };
    bad_now.output = "/dev/full";
    REFUSED_ALL(cases);
    bad_done("train scratch.yml --quiet"); /* says nothing, so loses nothing */
    REFUSED(1, "dukd-compare experiments/scratch", "standard output");
}

/* Every command that writes files, with files limited to so many bytes, onto results of an earlier run. */
static void files_that_do_not_fit(void **state) {
    (void)state;
    bad_done("upscale -m net.safetensors val -o up -q");
    bad_done("preview dukd.yml -o p.png");
    bad_done("test scratch.yml -w net.safetensors --save saved");
    bad_now.file_limit = 600;
    static const bad_case cases[] = {
        {1, "upscale -m net.safetensors val -o up", "up/v0.png", "cannot be written", NULL},
        {1, "test scratch.yml -w net.safetensors --save saved", "saved/tiny/v0_scratch.png",
         "cannot be written", NULL},
        {1, "preview dukd.yml -o p.png", "p.png", "cannot be written", NULL},
    };
    REFUSED_ALL(cases); /* every file is as it was, none is half another */
    bad_now.may_leave = "set";
    REFUSED(1, "prepare train set -s 2", "set/", "cannot be written");
    assert_false(bad_exists("set/prepared.txt"));
    bad_now = (bad_conditions){0};
    bad_done("prepare train set -s 2 -q"); /* with room again it goes on */
    bad_done("train scratch.yml --quiet --set datasets.train.dataroot_gt=set");
}

/* Each limit stops training elsewhere: at its record, its first network, its first state. */
static void training_that_does_not_fit(void **state) {
    (void)state;
    static const struct {
        int64_t limit;
        const char *part;
    } cases[] = {{1000, "run.json"}, {6000, "net_g_5.safetensors"}, {16000, "5.state"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bad_now = (bad_conditions){.file_limit = cases[i].limit, .may_leave = "experiments"};
        REFUSED(1, "train scratch.yml --quiet", cases[i].part, "cannot be written");
        assert_false(bad_exists("experiments/scratch/models/net_g_latest.safetensors"));
        if (i == 0) continue; /* not even the record fits */
        const char *run = host_load("experiments/scratch/run.json");
        assert_non_null(strstr(run, "\"status\": \"failed\""));
        assert_non_null(strstr(run, cases[i].part));
    }
    bad_now = (bad_conditions){0};
    bad_done("train scratch.yml --quiet");
    assert_true(bad_exists("experiments/scratch/models/net_g_latest.safetensors"));
}

/* ---------------------------------------------------------------- a disk that is really full */

/* A small tmpfs, in a mount namespace of this process alone, with `room` bytes left on it. Skips where that is not allowed. */
static void mount_small(const char *path, size_t room) {
    enum { SIZE = 1 << 20, BLOCK = 4096 };
    static const char zeros[BLOCK];
    mkdir(path, 0777);
    if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
        mount("tmpfs", path, "tmpfs", 0, "size=1m")) {
        print_message(
            "no file system of its own for the full disk (%s): files of limited size stand in for it\n",
            strerror(errno));
        skip();
    }
    char name[512];
    snprintf(name, sizeof name, "%s/fill", path);
    FILE *file = fopen(name, "wb");
    assert_non_null(file);
    for (size_t filled = 0; filled + room + BLOCK <= SIZE; filled += BLOCK)
        if (fwrite(zeros, 1, BLOCK, file) != BLOCK) break;
    fclose(file);
}

static void a_full_disk(void **state) {
    (void)state;
    const char *disk = data_path("disk");
    mount_small(disk, 12 * 4096);
    bad_done("upscale -m net.safetensors val/v0.png -o disk/up -q");
    bad_now.may_leave = "disk/experiments";
    REFUSED(1, "train scratch.yml --quiet --set path.experiments_root=disk/experiments", "disk/experiments",
            "No space left");
    FILE *file = fopen(data_path("disk/rest"), "wb"); /* to the last block */
    assert_non_null(file);
    setvbuf(file, NULL, _IONBF, 0);
    while (putc(0, file) != EOF) continue;
    fclose(file);
    bad_now.may_leave = NULL;
    static const bad_case cases[] = {
        {1, "upscale -m net.safetensors val/v0.png -o disk/up", "disk/up/v0.png", "No space left", NULL},
        {1, "test scratch.yml -w net.safetensors --save disk/up", "disk/up/tiny", "No space left", NULL},
        {1, "preview dukd.yml -o disk/p.png", "disk/p.png", "No space left", NULL},
    };
    bad_now.may_leave = "disk/up/tiny"; /* an empty folder */
    REFUSED_ALL(cases);
    bad_now.may_leave = "disk/set";
    REFUSED(1, "prepare train disk/set -s 2", "disk/set", "No space left");
}

static int full_disk_teardown(void **state) {
    umount2(data_path("disk"), MNT_DETACH);
    return bad_teardown(state);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        BAD_TEST(folders_that_cannot_be),
        BAD_TEST(standard_output),
        BAD_TEST(files_that_do_not_fit),
        BAD_TEST(training_that_does_not_fit),
        cmocka_unit_test_setup_teardown(a_full_disk, bad_setup, full_disk_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
