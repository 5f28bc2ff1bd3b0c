/* The font's strokes, rounded where they are curves, and the distances to them. */
#include "glyphs.h"

#include <math.h>
#include <stddef.h>

/* Strokes separated by blanks: points as two digits, column and row; a stroke that starts with '~' is a curve, whose inner
 * corners are cut until they are round. */
static const char *const strokes[GLYPH_COUNT] = {
    "062046 1434",
    "0600 ~00404303 ~03434606",
    "~414000064645", /* A B C */
    "0600 ~00404606",
    "40000646 0333",
    "400006 0333", /* D E F */
    "~414000064643 4323",
    "0006 4046 0343",
    "2026 1030 1636", /* G H I */
    "~40460605",
    "0006 4003 0346",
    "000646", /* J K L */
    "0600234046",
    "06004640",
    "~200006464020", /* M N O */
    "0600 ~00404303",
    "~200006464020 2547",
    "0600 ~00404303 2346", /* P Q R */
    "~4140000343460605",
    "0040 2026",
    "~00064640", /* S T U */
    "002640",
    "0016233640",
    "0046 4006", /* V W X */
    "002340 2326",
    "00400646",
    "~444202064644 4246", /* Y Z a */
    "0006 ~040242460604",
    "~434202064645",
    "4046 ~444202064644", /* b c d */
    "0444 ~444202064645",
    "~402026 0232",
    "~444202064644 ~42480807", /* e f g */
    "0006 ~04024246",
    "2226 2020",
    "~22280807 2020", /* h i j */
    "0006 4204 0446",
    "2026",
    "0206 ~04022226 ~24224246", /* k l m */
    "0206 ~04024246",
    "~220206464222",
    "0208 ~040242460604", /* n o p */
    "4248 ~444202064644",
    "0206 ~04024243",
    "~420204444606", /* q r s */
    "~10164645 0232",
    "~02064644 4246",
    "022642", /* t u v */
    "0216243642",
    "0246 4206",
    "0226 421808", /* w x y */
    "02420646",
    "~200006464020",
    "112026 1636", /* z 0 1 */
    "~0100404206 0646",
    "~0100404323 ~2343460605",
    "36300444", /* 2 3 4 */
    "400003 ~0343460605",
    "~40000646430304",
    "004016", /* 5 6 7 */
    "~200003434020 ~230306464323",
    "~4303004043 ~414606", /* 8 9 */
};

typedef struct {
    float x, y;
} point;
enum { MAX_POINTS = 256 };

/* Cuts the inner corners of a curve: each inner point becomes two, a quarter of the way to its neighbours (Chaikin). */
static int round_corners(point *p, int count) {
    point from[MAX_POINTS];
    for (int pass = 0; pass < 3 && count >= 3 && 2 * count <= MAX_POINTS; pass++) {
        int n = 0;
        for (int i = 0; i < count; i++) from[i] = p[i];
        p[n++] = from[0];
        for (int i = 1; i + 1 < count; i++) {
            const point a = from[i - 1], b = from[i], c = from[i + 1];
            p[n++] = (point){b.x + .25f * (a.x - b.x), b.y + .25f * (a.y - b.y)};
            p[n++] = (point){b.x + .25f * (c.x - b.x), b.y + .25f * (c.y - b.y)};
        }
        p[n++] = from[count - 1];
        count = n;
    }
    return count;
}

static float to_segment(point p, point a, point b) {
    const float bx = b.x - a.x, by = b.y - a.y, px = p.x - a.x, py = p.y - a.y;
    const float length = bx * bx + by * by;
    float t = length > 0 ? (px * bx + py * by) / length : 0;
    t = t < 0 ? 0 : t > 1 ? 1 : t;
    return hypotf(px - t * bx, py - t * by);
}

static void draw(glyphs *g, int glyph, const point *p, int count) {
    for (int row = 0; row < GLYPH_ROWS; row++)
        for (int col = 0; col < GLYPH_COLUMNS; col++) {
            const point at = {(float)col / GLYPH_STEPS - 1, (float)row / GLYPH_STEPS - 1};
            float *distance = &g->distance[glyph][row][col];
            for (int i = 0; i < count - 1 || i == 0; i++) {
                const float d = to_segment(at, p[i], p[i + 1 < count ? i + 1 : i]);
                if (d < *distance) *distance = d;
            }
        }
}

void glyphs_create(glyphs *g) {
    for (int glyph = 0; glyph < GLYPH_COUNT; glyph++) {
        for (int i = 0; i < GLYPH_ROWS * GLYPH_COLUMNS; i++) (&g->distance[glyph][0][0])[i] = 1e3f;
        for (const char *c = strokes[glyph]; *c;) {
            point p[MAX_POINTS];
            int count = 0;
            const int curve = *c == '~';
            for (c += curve; *c && *c != ' '; c += 2)
                p[count++] = (point){(float)(c[0] - '0'), (float)(c[1] - '0')};
            if (*c) c++;
            if (curve) count = round_corners(p, count);
            draw(g, glyph, p, count);
        }
    }
}

float glyphs_at(const glyphs *g, int glyph, float x, float y) {
    float column = x * GLYPH_STEPS, row = y * GLYPH_STEPS;
    column = column < 0 ? 0 : column > GLYPH_COLUMNS - 1.01f ? GLYPH_COLUMNS - 1.01f : column;
    row = row < 0 ? 0 : row > GLYPH_ROWS - 1.01f ? GLYPH_ROWS - 1.01f : row;
    const int c = (int)column, r = (int)row;
    const float a = column - (float)c, b = row - (float)r;
    const float *top = &g->distance[glyph][r][c], *bottom = top + GLYPH_COLUMNS;
    const float upper = top[0] + a * (top[1] - top[0]), lower = bottom[0] + a * (bottom[1] - bottom[0]);
    return upper + b * (lower - upper);
}
