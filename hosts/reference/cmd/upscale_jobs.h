/* What `dukd-host upscale` is to do, all of it known and looked at before the first file is written. */
#ifndef DUKD_UPSCALE_JOBS_H
#define DUKD_UPSCALE_JOBS_H

#include <stdint.h>

#include "common/failure.h"

typedef struct {
    char *in, *out; /* an image, and the PNG file it becomes */
} dukd_upscale_job;

typedef struct {
    dukd_upscale_job *items; /* [count], in the order of the inputs */
    int64_t count;
} dukd_upscale_jobs;

/* inputs: images, and folders of images. Each becomes FOLDER/NAMESUFFIX.png (suffix may be NULL). Refused: an input that is not
 * there, two that would become one file, and a file that would be written over an input. Free it also after a failure. */
int dukd_upscale_jobs_make(dukd_upscale_jobs *out, const char *const *inputs, int32_t count,
                           const char *folder, const char *suffix, dukd_failure *f);
void dukd_upscale_jobs_free(dukd_upscale_jobs *jobs);

#endif
