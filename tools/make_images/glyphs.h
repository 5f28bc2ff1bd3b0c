/* A small stroke font of our own: letters and digits as lines, kept as distances to them. */
#ifndef DUKD_GLYPHS_H
#define DUKD_GLYPHS_H

/* Glyph space: capitals stand on y = 6 and reach up to 0, their width is 0 .. 4; small letters start at y = 2 and hang down to 8. A
 * cell reaches from -1 to 5 across and from -1 to 9 down. */
enum { GLYPH_WIDTH = 6, GLYPH_HEIGHT = 10, GLYPH_STEPS = 5 }; /* cell in units; samples a unit */
enum { GLYPH_COLUMNS = GLYPH_WIDTH * GLYPH_STEPS + 1, GLYPH_ROWS = GLYPH_HEIGHT * GLYPH_STEPS + 1 };
enum { GLYPH_CAPITALS = 26, GLYPH_SMALL = 26, GLYPH_DIGITS = 10, GLYPH_COUNT = 62 }; /* in this order */

typedef struct {
    float distance[GLYPH_COUNT][GLYPH_ROWS][GLYPH_COLUMNS]; /* to the nearest stroke's middle, in units */
} glyphs;

void glyphs_create(glyphs *g);
/* The distance at (x, y) of the cell, 0 .. GLYPH_WIDTH and 0 .. GLYPH_HEIGHT from its upper left corner. */
float glyphs_at(const glyphs *g, int glyph, float x, float y);

#endif
