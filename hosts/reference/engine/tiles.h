/* Running a network over an image of any size, tile by tile.
 *
 * The image is cut into a grid of equal tiles. Each is run with a margin of `overlap` pixels on the sides that are not the
 * image's own border, and only its middle is kept. Where the overlap is the network's receptive radius
 * (dukd_graph_receptive_radius), a tile gives what the whole image would give; a smaller overlap is faster and differs
 * a little near the seams. A network that sees the whole image (DUKD_REACH_ALL) gives something a little different in more than
 * one tile, whatever the overlap. Memory is that of one tile.
 *
 * An image whose sides are no multiples of dukd_graph_multiple is continued right and below by reflection (the last pixel is
 * not repeated), and what comes of that is cut off; tiles begin and end at multiples. [one thread at a time per engine] */
#ifndef DUKD_TILES_H
#define DUKD_TILES_H

#include "engine/engine.h"

typedef struct {
    int32_t
        tile; /* side of a tile without its margin, in input pixels; the grid is made even, so tiles may be smaller */
    int32_t
        overlap; /* input pixels; less than 0: the receptive radius, or DUKD_TILES_OVERLAP where that is everything */
    void *ctx;
    /* Gives the input window: C x height x width at (row, col). */
    int (*read)(void *ctx, int32_t row, int32_t col, int32_t height, int32_t width, float *planes,
                dukd_failure *f);
    /* Takes a part of the output: C x height x width at (row, col), all in output pixels; rows of `planes` are `stride` apart,
     * channels `plane`. */
    int (*write)(void *ctx, int32_t row, int32_t col, int32_t height, int32_t width, const float *planes,
                 int64_t stride, int64_t plane, dukd_failure *f);
    void (*progress)(void *ctx, int64_t done, int64_t count); /* tiles; may be NULL */
} dukd_tile_options;

#define DUKD_TILES_OVERLAP 64

/* How an axis of `size` pixels is cut. */
typedef struct {
    int32_t count;  /* tiles */
    int32_t inner;  /* pixels kept of each but the last */
    int32_t window; /* pixels run for each */
    int32_t size;   /* of the axis, up to the next multiple */
} dukd_tile_axis;

/* All of the result are multiples of `multiple`; tile and overlap are rounded up to one. */
dukd_tile_axis dukd_tile_axis_cut(int32_t size, int32_t tile, int32_t overlap, int32_t multiple);

/* `graph` is the network's. Windows and results are the processor's. height, width: of the input image. */
/* Will this image be cut into more than one tile by dukd_tiles_run, in a way that its network can tell from the whole? */
int dukd_tiles_differ(const dukd_graph *graph, int32_t height, int32_t width,
                      const dukd_tile_options *options);
int dukd_tiles_run(dukd_network *network, const dukd_graph *graph, int32_t height, int32_t width,
                   const dukd_tile_options *options, dukd_failure *f);

#endif
