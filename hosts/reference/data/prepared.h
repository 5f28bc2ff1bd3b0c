/* What `dukd-host prepare` leaves behind, and its manifest.
 *
 *     OUT/prepared.txt                        the manifest, written last
 *     OUT/LR_bicubic/X4/NAMEx4.png            LR files, 8 bit, for every toolbox
 *     OUT/tiled/HR/NAME.tif                   HR, whole, tiled (tiled.h), 8 or 16 bit as the source
 *     OUT/tiled/LR_bicubic/X4/NAMEx4.tif      LR, tiled, 8 bit, the same pixels as the PNG
 *
 * The manifest is text, a line each, fields separated by one tab:
 *     dukd-prepared 1
 *     border   symmetric | clamp
 *     scales   2 3 4
 *     tile     64                             0: no tiled files
 *     images   5
 *     SHA256-of-the-source  width  height  depth  source file name        once an image, by name (bytes) */
#ifndef DUKD_PREPARED_H
#define DUKD_PREPARED_H

#include <stdint.h>

#include "common/failure.h"

#define DUKD_PREPARED_MANIFEST "prepared.txt"
#define DUKD_PREPARED_SCALES   7 /* 2..8 */

typedef struct {
    char *file;                   /* name of the source file, no folder */
    char *name;                   /* the same without its extension */
    char sha256[65];              /* of the source file */
    int32_t width, height, depth; /* HR */
} dukd_prepared_image;

typedef struct {
    int32_t clamp_border; /* 0 symmetric, 1 clamped */
    int32_t tile;         /* side of the tiles; 0: the set has no tiled files */
    int32_t has_png;      /* whether OUT/LR_bicubic is there */
    int32_t scale_count;
    int32_t scales[DUKD_PREPARED_SCALES]; /* ascending */
    int64_t count;
    dukd_prepared_image *images; /* by name (bytes) */
} dukd_prepared;

/* Whether `folder` has a manifest (which may still be damaged). */
int dukd_prepared_is(const char *folder);
/* Reads and checks the manifest; the files themselves are not looked at. */
int dukd_prepared_read(const char *folder, dukd_prepared *out, dukd_failure *f);
int dukd_prepared_write(const char *folder, const dukd_prepared *set, dukd_failure *f);
void dukd_prepared_free(dukd_prepared *set); /* NULL and zeroed allowed */
int dukd_prepared_has_scale(const dukd_prepared *set, int32_t scale);

/* Paths inside a set; allocated, the caller frees; NULL: no memory. scale 0: the HR file (tiled only). */
char *dukd_prepared_tiled_path(const char *folder, const char *name, int32_t scale);
char *dukd_prepared_png_path(const char *folder, const char *name, int32_t scale);

#endif
