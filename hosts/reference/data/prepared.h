/* What `dukd-host prepare` leaves behind, and its manifest.
 *
 *     OUT/prepared.txt                     the manifest, written last
 *     OUT/LR_bicubic/X4/NAMEx4.png         LR, 8 bit, for every toolbox
 *     OUT/tiled/HR/NAME.tif                HR, whole, tiled (tiled.h), 8 or 16 bit as the source
 *     OUT/tiled/LR_bicubic/X4/NAMEx4.tif   LR, tiled, 8 bit, the same pixels as the PNG
 *
 * The manifest is text, one line each, fields separated by one tab:
 *     dukd-prepared 1
 *     border   symmetric                   or clamp
 *     scales   2 3 4                       ascending
 *     tile     64                          0: no tiled files
 *     png      1                           0: no LR_bicubic
 *     images   5
 *     SHA256-OF-SOURCE  WIDTH  HEIGHT  DEPTH  SOURCE-FILE     an image each, by name (bytes); size and depth of HR
 */
#ifndef DUKD_PREPARED_H
#define DUKD_PREPARED_H

#include <stdint.h>

#include "common/failure.h"

#define DUKD_PREPARED_MANIFEST "prepared.txt"
#define DUKD_PREPARED_SCALES   7 /* 2..8 */

typedef struct {
    char *file;                   /* of the source, no folder */
    char *name;                   /* the same without its extension; distinct within a set */
    char sha256[65];              /* of the source file */
    int32_t width, height, depth; /* of HR */
} dukd_prepared_image;

typedef struct {
    int32_t clamp_border; /* 0 symmetric, 1 clamped */
    int32_t tile;         /* side of the tiles; 0: the set has no tiled files */
    int32_t has_png;      /* whether LR_bicubic is there */
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
void dukd_prepared_free(dukd_prepared *set); /* NULL and zeroed allowed; zeroes it */
int dukd_prepared_has_scale(const dukd_prepared *set, int32_t scale);

/* Paths inside a set; allocated, the caller frees; NULL: no memory. scale 0: the HR file (tiled only). name NULL: its folder. */
char *dukd_prepared_tiled_path(const char *folder, const char *name, int32_t scale);
char *dukd_prepared_png_path(const char *folder, const char *name, int32_t scale);

#endif
