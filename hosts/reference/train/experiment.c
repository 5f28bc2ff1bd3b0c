/* The folder of a run. */
#include "train/experiment.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

int dukd_make_folders(const char *path, dukd_failure *f) {
    char part[PATH_MAX];
    struct stat st;
    if (strlen(path) >= sizeof part)
        return dukd_fail(f, DUKD_FAILED, "the path '%.100s...' is too long", path);
    strcpy(part, path);
    for (char *p = part + 1;; p++) {
        const char end = *p;
        if (end != '/' && end) continue;
        *p = 0;
        if (mkdir(part, 0777) && errno != EEXIST)
            return dukd_fail(f, DUKD_FAILED, "%s: the folder cannot be made: %s", part, strerror(errno));
        if (!end) break;
        *p = '/';
    }
    if (stat(path, &st) == 0 && !S_ISDIR(st.st_mode))
        return dukd_fail(f, DUKD_FAILED, "%s: is no folder", path);
    return 0;
}

/* Locks ROOT/train.lock; the lock goes with the process, however it ends. */
static int lock_folder(dukd_experiment *e, dukd_failure *f) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/train.lock", e->root);
    e->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (e->lock < 0) return dukd_fail(f, DUKD_FAILED, "%s: cannot be made: %s", path, strerror(errno));
    if (flock(e->lock, LOCK_EX | LOCK_NB) == 0) return 0;
    return dukd_fail(f, DUKD_FAILED,
                     "%s: another process is training here: wait for it, or give the run another name",
                     e->root);
}

/* Renames what is at ROOT. Its lock is taken first: a run that is going on is not pulled away. */
static int archive(dukd_experiment *e, dukd_failure *f) {
    char when[32];
    struct tm parts;
    time_t now = time(NULL);
    int status = lock_folder(e, f);
    if (status) return status;
    localtime_r(&now, &parts);
    strftime(when, sizeof when, "%Y%m%d_%H%M%S", &parts);
    for (int i = 0; i < 100; i++) { /* two in one second */
        char more[16] = "";
        if (i) snprintf(more, sizeof more, "_%d", i);
        snprintf(e->archived, sizeof e->archived, "%s_archived_%s%s", e->root, when, more);
        if (access(e->archived, F_OK) != 0) break;
    }
    if (rename(e->root, e->archived))
        status = dukd_fail(f, DUKD_FAILED, "%s: cannot be renamed to %s: %s", e->root, e->archived,
                           strerror(errno));
    close(e->lock);
    e->lock = -1;
    return status;
}

int dukd_experiment_open(dukd_experiment *e, const char *root, int resume, dukd_failure *f) {
    struct stat st;
    *e = (dukd_experiment){.lock = -1};
    size_t length = strlen(root);
    while (length > 1 && root[length - 1] == '/') length--;
    if (length == 0 || length >= sizeof e->root - 32)
        return dukd_fail(f, DUKD_MISUSED, "path.experiments_root is empty or too long");
    memcpy(e->root, root, length);
    const int there = lstat(e->root, &st) == 0;
    int status = 0;
    if (there && !resume) status = archive(e, f);
    if (!status) status = dukd_make_folders(e->root, f);
    if (!status) status = lock_folder(e, f);
    snprintf(e->models, sizeof e->models, "%s/models", e->root);
    snprintf(e->states, sizeof e->states, "%s/training_states", e->root);
    snprintf(e->images, sizeof e->images, "%s/visualization", e->root);
    snprintf(e->events, sizeof e->events, "%s/tb_logger", e->root);
    if (!status) status = dukd_make_folders(e->models, f);
    if (!status) status = dukd_make_folders(e->states, f);
    if (status) dukd_experiment_close(e);
    return status;
}

void dukd_experiment_close(dukd_experiment *e) {
    if (e->lock >= 0) close(e->lock);
    e->lock = -1;
}
