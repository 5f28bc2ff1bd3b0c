/* `dukd-host prepare`: from a folder of HR images to a prepared set (prepared.h). */
#ifndef DUKD_PREPARE_H
#define DUKD_PREPARE_H

#include <stdint.h>

#include "common/failure.h"
#include "data/prepared.h"

typedef struct {
    const char *hr_dir;
    const char *out_dir;   /* made where it is not there */
    const int32_t *scales; /* each 2..8; repeated ones count once */
    int32_t scale_count;
    int32_t clamp_border; /* 0 symmetric, 1 clamped (downscale.h) */
    int32_t tile;         /* side of the tiles of the tiled set; 0: no tiled set */
    int32_t png;          /* 1: LR as PNG files */
    int32_t threads;      /* images at a time; 0: one a CPU, 8 at most */
    /* NULL, or called after each image, by one thread at a time. */
    void (*progress)(void *user, int64_t done, int64_t total, const char *file);
    void *user;
} dukd_prepare_options;

typedef struct {
    int64_t images, written,
        kept; /* images; files written; files that were there already with the same pixels */
    int32_t scale_count, scales[DUKD_PREPARED_SCALES];
} dukd_prepare_report;

/* Writes what is missing or different and keeps what is there with the same pixels, so a run that was stopped goes on. A set that is
 * there already keeps its other scales and files, brought up to date; another border is refused. Memory: one image and its LR
 * a thread, and the list of names. The first file that fails ends it, and no manifest is then left. [thread-safe] */
int dukd_prepare_run(const dukd_prepare_options *options, dukd_prepare_report *report, dukd_failure *f);

#endif
