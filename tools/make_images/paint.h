/* What a surface looks like: colours, a pattern laid on it flat or in perspective, grain, and light. */
#ifndef DUKD_PAINT_H
#define DUKD_PAINT_H

#include <stdint.h>

#include "glyphs.h"
#include "noise.h"
#include "shape.h"

typedef struct {
    float r, g, b; /* linear light, 0 .. about 1 */
} colour;

/* Patterns have a period of about 1 in u and v; a colour is mixed from `first` and `second`. */
typedef enum {
    PATTERN_PLAIN,
    PATTERN_CLOUDS,  /* 1/f noise between the colours */
    PATTERN_MARBLE,  /* stripes bent by noise, soft or hard */
    PATTERN_STRIPES, /* second: stripes of `duty` across u */
    PATTERN_CHECKS,
    PATTERN_BRICKS,  /* running bond, first: bricks that differ, second: mortar */
    PATTERN_WINDOWS, /* first: wall, second: panes that differ */
    PATTERN_WEAVE,   /* threads over and under */
    PATTERN_CELLS,   /* pebbles or skin: cells that differ, second: the gaps */
    PATTERN_SCALES,  /* overlapping rows of rounded tiles */
    PATTERN_SPOTS,   /* second: spots of different size on first */
    PATTERN_WOOD,    /* fine grain along u */
    PATTERN_TEXT, /* second: lines of letters on first; a letter is about 6 wide, a line 10 high (glyphs.h) */
    PATTERN_COUNT,
} pattern_kind;

typedef enum { LIGHT_FLAT, LIGHT_SLOPE, LIGHT_BALL, LIGHT_PILLOW, LIGHT_TUBE } light_kind;

typedef struct {
    colour first, second;
    pattern_kind pattern;
    /* (u, v) = (map[0..2] . (x, y, 1), map[3..5] . (x, y, 1)) / (map[6..8] . (x, y, 1)) */
    float map[9];
    float footprint
        [2];    /* how much u and v change from one canvas pixel to the next, where the surface is nearest */
    float duty; /* stripes, windows: the share of the second colour; text: half the width of a stroke */
    float variation; /* how much bricks, panes and cells differ, 0 .. 1 */
    float warp; /* marble: how far noise bends the stripes, in periods; patterns but text: a little of it */
    float hardness;                   /* marble, clouds: 0 soft .. 1 hard edges */
    float grain;                      /* strength of 1/f grain on the whole */
    float grain_scale, grain_stretch; /* texels a canvas pixel (in perspective where it is nearest); how
                                         much longer grain is along u */
    float blur;                       /* canvas pixels out of focus, which patterns lose their detail in */
    light_kind light;
    point sun;    /* direction of the light, length below 1 */
    float depth;  /* strength of the shading, 0 .. 1 */
    point offset; /* texels: where in the noise this surface lies */
    uint32_t salt;
} paint;

typedef struct {
    const noise *noise;
    const glyphs *glyphs;
} paint_tools;

/* The colour at (x, y), canvas pixels; distance: shape_distance there. */
colour paint_at(const paint *p, const paint_tools *tools, const shape *s, float x, float y, float distance);

/* Flat mapping: u along `angle`, one period in `period` canvas pixels. */
void paint_map_flat(paint *p, point origin, float angle, float period);
/* Perspective mapping: the corners (clockwise from the upper left) are (0, 0), (width, 0), (width, height), (0, height). */
void paint_map_quad(paint *p, const point corner[4], float width, float height);

#endif
