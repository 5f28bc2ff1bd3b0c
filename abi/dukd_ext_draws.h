/* Extension "dukd.draws/1": replaces a session's random draws, one by one, by choices of the host's.
 *
 * For replaying a recorded run (golden tests, comparing two hosts) and for looking at a chosen case. A
 * plugin's own draws are a pure function of the key below and of the session's seed; a host that sets no
 * source never needs this. */
#ifndef DUKD_EXT_DRAWS_H
#define DUKD_EXT_DRAWS_H

#include "dukd_plugin.h"

#ifdef __cplusplus
extern "C" {
#endif

#define DUKD_EXT_DRAWS "dukd.draws/1"

/* What is drawn. */
#define DUKD_DRAW_CROP_ROW 1u /* 0 .. bound - 1: row in HR of a zoomed-in crop */
#define DUKD_DRAW_CROP_COL 2u
/* 0 .. bound - 1: tile of the s x s grid, row-major. Crop k asks for the k-th of a random order, never the same
 * twice for an image. Official mode: the same for the whole batch (sample is -1). */
#define DUKD_DRAW_TILE 3u
/* What D does: asked for on a branch where D can act at all, also where the draw's own probability is 0. */
#define DUKD_DRAW_FLIP_W    4u /* 0 | 1: left-right */
#define DUKD_DRAW_FLIP_H    5u /* 0 | 1: up-down */
#define DUKD_DRAW_ROTATE    6u /* 0 .. 3: quarter turns counter-clockwise */
#define DUKD_DRAW_TRANSPOSE 7u /* 0 | 1 */
#define DUKD_DRAW_INVERT    8u /* 0 | 1 */

/* For which of the step's made inputs. */
#define DUKD_BRANCH_ZOOM_IN  1u
#define DUKD_BRANCH_ZOOM_OUT 2u

typedef struct dukd_draw {
    uint32_t struct_size;
    uint32_t what;   /* DUKD_DRAW_... */
    uint32_t branch; /* DUKD_BRANCH_... */
    uint32_t crop;   /* which of the crops of an image (zoom in with a count), from 0 */
    int64_t iteration;
    int64_t sample;     /* global index of the image; -1: one draw for the whole batch */
    uint64_t bound;     /* the result is below this */
    double probability; /* of a result other than 0, where the draw is a yes or no (or ROTATE); else 0 */
} dukd_draw;

#define DUKD_DRAW_SIZE 48u

/* Returns 1 and writes *value; or 0: the plugin draws; or a negative DUKD_E_... that begin_step returns. */
typedef int32_t (*dukd_draw_source)(void *ctx, const dukd_draw *draw, uint64_t *value);

typedef struct dukd_ext_draws {
    uint32_t struct_size;
    uint32_t pad0;
    /* [session] Between steps. source NULL: the plugin's own draws again. A value out of bounds is
     * DUKD_E_ARGUMENT. */
    int32_t (*set_source)(dukd_session *session, dukd_draw_source source, void *ctx, dukd_error *error);
} dukd_ext_draws;

#define DUKD_EXT_DRAWS_SIZE 16u

#ifdef __cplusplus
}
#endif

#endif
