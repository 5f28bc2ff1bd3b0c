/* Evaluating a surface at a point: pattern, grain and light. */
#include "paint.h"

#include <math.h>

static float clamp(float v, float low, float high) {
    return v < low ? low : v > high ? high : v;
}

static float smooth(float from, float to, float v) {
    const float t = clamp((v - from) / (to - from), 0, 1);
    return t * t * (3 - 2 * t);
}

static colour mix(colour a, colour b, float t) {
    return (colour){a.r + t * (b.r - a.r), a.g + t * (b.g - a.g), a.b + t * (b.b - a.b)};
}

static colour scaled(colour c, float by) {
    return (colour){c.r * by, c.g * by, c.b * by};
}

/* ---- mapping ---- */

void paint_map_flat(paint *p, point origin, float angle, float period) {
    const float c = cosf(angle) / period, s = sinf(angle) / period;
    const float map[9] = {c, s, -(c * origin.x + s * origin.y), -s, c, s * origin.x - c * origin.y, 0, 0, 1};
    for (int i = 0; i < 9; i++) p->map[i] = map[i];
    p->footprint[0] = p->footprint[1] = 1 / period;
}

/* u, v and how much they change from one canvas pixel to the next at (x, y). */
static void map_at(const paint *p, float x, float y, float uv[2], float change[2]) {
    const float *m = p->map;
    const float w = 1 / (m[6] * x + m[7] * y + m[8]);
    uv[0] = (m[0] * x + m[1] * y + m[2]) * w;
    uv[1] = (m[3] * x + m[4] * y + m[5]) * w;
    change[0] = length_of(m[0] - uv[0] * m[6], m[1] - uv[0] * m[7]) * fabsf(w);
    change[1] = length_of(m[3] - uv[1] * m[6], m[4] - uv[1] * m[7]) * fabsf(w);
}

/* The map from the unit square to the corners in closed form (Heckbert, "Fundamentals of texture mapping and
 * image warping", 1989), then its adjoint. */
void paint_map_quad(paint *p, const point q[4], float width, float height) {
    const float dx1 = q[1].x - q[2].x, dx2 = q[3].x - q[2].x, sx = q[0].x - q[1].x + q[2].x - q[3].x;
    const float dy1 = q[1].y - q[2].y, dy2 = q[3].y - q[2].y, sy = q[0].y - q[1].y + q[2].y - q[3].y;
    const float area = dx1 * dy2 - dx2 * dy1;
    const float g = (sx * dy2 - dx2 * sy) / area, h = (dx1 * sy - sx * dy1) / area;
    const float a = q[1].x - q[0].x + g * q[1].x, b = q[3].x - q[0].x + h * q[3].x, c = q[0].x;
    const float d = q[1].y - q[0].y + g * q[1].y, e = q[3].y - q[0].y + h * q[3].y, f = q[0].y;
    const float inverse[9] = {e - f * h,     c * h - b,     b * f - c * e, f * g - d,    a - c * g,
                              c * d - a * f, d * h - e * g, b * g - a * h, a * e - b * d};
    for (int i = 0; i < 9; i++) p->map[i] = inverse[i] * (i < 3 ? width : i < 6 ? height : 1);
    /* The side with the largest divisor is the nearest. */
    float most = -1;
    for (int i = 0; i < 4; i++) {
        const point m = {.5f * (q[i].x + q[(i + 1) % 4].x), .5f * (q[i].y + q[(i + 1) % 4].y)};
        const float divisor = fabsf(inverse[6] * m.x + inverse[7] * m.y + inverse[8]);
        float uv[2];
        if (divisor <= most) continue;
        most = divisor;
        map_at(p, m.x, m.y, uv, p->footprint);
    }
}

/* ---- patterns ---- */

/* The share of [t - f/2, t + f/2] that lies in pulses [n, n + duty). */
static float pulse(float t, float duty, float f) {
    f = greater(f, 1e-3f);
    const float a = t - .5f * f, b = t + .5f * f, fa = floorf(a), fb = floorf(b);
    return ((fb - fa) * duty + lesser(b - fb, duty) - lesser(a - fa, duty)) / f;
}

/* 1 within `width` of 0 in units where a sample covers f. */
static float within(float distance, float width, float f) {
    return clamp((width - distance) / f + .5f, 0, 1);
}

static float text(const paint *p, const glyphs *g, float u, float v, float f) {
    const float line = floorf(v / GLYPH_HEIGHT), letter = floorf(u / GLYPH_WIDTH);
    const int32_t j = (int32_t)line, i = (int32_t)letter;
    const float kind = noise_hash(i, j, p->salt);
    if (kind < .16f || noise_hash(j, 77, p->salt) < .08f) return 0; /* between words; an empty line */
    const int first = noise_hash(j, 5, p->salt) < .2f ||
                      noise_hash(i - 1, j, p->salt) < .16f; /* of a word, or all capitals */
    const float pick = noise_hash(i, j, p->salt + 1);
    int glyph;
    if (kind > .95f)
        glyph = GLYPH_CAPITALS + GLYPH_SMALL + (int)(pick * GLYPH_DIGITS);
    else if (first && noise_hash(j, 5, p->salt) < .55f)
        glyph = (int)(pick * GLYPH_CAPITALS);
    else
        glyph = GLYPH_CAPITALS + (int)(pick * GLYPH_SMALL);
    const float d = glyphs_at(g, glyph, u - letter * GLYPH_WIDTH, v - line * GLYPH_HEIGHT);
    const float thin = 2 * p->duty / f; /* strokes thinner than a sample become grey */
    return within(d, p->duty, f) * lesser(1, thin);
}

/* Distances to the nearest and second nearest of points jittered about a grid; which cell the nearest is. */
static void nearest_two(float u, float v, uint32_t salt, float *first, float *second, int32_t cell[2]) {
    const int32_t i = (int32_t)floorf(u), j = (int32_t)floorf(v);
    float a = 1e9f, b = 1e9f;
    for (int32_t y = j - 1; y <= j + 1; y++)
        for (int32_t x = i - 1; x <= i + 1; x++) {
            const float px = (float)x + .1f + .8f * noise_hash(x, y, salt) - u;
            const float py = (float)y + .1f + .8f * noise_hash(x, y, salt + 9) - v;
            const float d = px * px + py * py;
            if (d < a) {
                b = a;
                a = d;
                cell[0] = x;
                cell[1] = y;
            } else if (d < b) {
                b = d;
            }
        }
    *first = sqrtf(a);
    *second = sqrtf(b);
}

/* Threads over and under: how bright, and of which of the two colours. */
static colour weave(const paint *p, float u, float v, float f) {
    const float fu = u - floorf(u) - .5f, fv = v - floorf(v) - .5f;
    const int over = ((int)floorf(u) + (int)floorf(v)) & 1;
    const float along = over ? fu : fv, across = over ? fv : fu;
    const float detail = clamp(1.2f - f, 0, 1);
    const float height = sqrtf(greater(0, 1 - 3.6f * across * across)) * (1 - 1.3f * along * along);
    return scaled(over ? p->first : p->second, 1 + detail * (height - .65f));
}

static colour pattern_at(const paint *p, const paint_tools *tools, float u, float v, float f) {
    float t = 0, vary = 0;
    const noise *n = tools->noise;
    if (p->warp > 0 && p->pattern != PATTERN_TEXT && p->pattern != PATTERN_PLAIN) {
        const float scale = p->pattern == PATTERN_MARBLE ? 9 : 5;
        const float bend =
            noise_at(n, NOISE_CLOUD, u * scale + p->offset.y, v * scale + p->offset.x, f * scale);
        u += p->warp * bend;
        v -= p->pattern == PATTERN_MARBLE ? 0 : p->warp * bend;
    }
    const float hard = 1 - .95f * p->hardness;
    switch (p->pattern) {
    case PATTERN_PLAIN:
    case PATTERN_COUNT:
        return p->first;
    case PATTERN_CLOUDS:
        t = noise_at(n, NOISE_CLOUD, u * 64 + p->offset.x, v * 64 + p->offset.y, f * 64);
        t = smooth(-1.3f * hard, 1.3f * hard, t);
        break;
    case PATTERN_MARBLE:
        t = smooth(-hard - .6f * f, hard + .6f * f, sinf(6.2831853f * u)) * clamp(1.5f - 1.5f * f, 0, 1);
        break;
    case PATTERN_STRIPES:
        t = pulse(u, p->duty, f);
        break;
    case PATTERN_CHECKS: {
        const float a = pulse(u * .5f, .5f, f * .5f), b = pulse(v * .5f, .5f, f * .5f);
        t = a + b - 2 * a * b;
        break;
    }
    case PATTERN_BRICKS: {
        const float row = floorf(v * 2), shifted = u + .5f * row;
        t = greater(pulse(v * 2, .1f, f * 2), pulse(shifted, .05f, f));
        vary = noise_hash((int32_t)floorf(shifted), (int32_t)row, p->salt) - .5f;
        break;
    }
    case PATTERN_WINDOWS: {
        const float wide = .35f + .3f * p->duty, high = .75f * wide + .2f;
        const float pane = pulse(u - .5f + .5f * wide, wide, f) * pulse(v - .5f + .5f * high, high, f);
        const float bar = 1 - pulse(2 * (u - .5f) / wide + .05f, .1f, 2 * f / wide) * (p->salt & 1 ? .9f : 0);
        const float cross =
            1 - pulse(2 * (v - .45f) / high + .04f, .08f, 2 * f / high) * (p->salt & 2 ? .9f : 0);
        const float sill = pulse(v - .5f - .5f * high, .06f, f) * pulse(u - .5f + .6f * wide, 1.2f * wide, f);
        const float shade = noise_hash((int32_t)floorf(u), (int32_t)floorf(v), p->salt);
        const colour glass = scaled(p->second, 1 + p->variation * (shade > .85f ? 3 : 1.5f * shade - .75f));
        const colour wall = scaled(p->first, 1 + .5f * sill);
        return mix(wall, glass, pane * bar * cross);
    }
    case PATTERN_WEAVE:
        return weave(p, u, v, f);
    case PATTERN_CELLS: {
        float first, second;
        int32_t cell[2] = {0, 0};
        nearest_two(u, v, p->salt, &first, &second, cell);
        t = within(second - first, .1f, f + .04f);
        vary = noise_hash(cell[0], cell[1], p->salt + 3) - .5f - .8f * (first - .4f) * (1 - p->hardness);
        break;
    }
    case PATTERN_SCALES: {
        const float row = floorf(2 * v), x = u + .5f * row, fx = x - floorf(x) - .5f, fy = 2 * v - row;
        const float edge = fy - .95f * (1 - 4 * fx * fx) * .6f - .3f; /* above the arc shows the row behind */
        const int32_t back = edge > 0;
        t = within(fabsf(edge), .06f, 2 * f) * .8f + .35f * smooth(0, -.5f, edge) * (1 - back);
        vary = noise_hash((int32_t)floorf(x + .5f * (float)back), (int32_t)row + back, p->salt) - .5f;
        break;
    }
    case PATTERN_SPOTS: {
        const int32_t i = (int32_t)floorf(u), j = (int32_t)floorf(v);
        const float radius = .12f + .3f * noise_hash(i, j, p->salt) * (.4f + p->variation);
        const float dx = u - (float)i - .5f - (.48f - radius) * (2 * noise_hash(i, j, p->salt + 1) - 1);
        const float dy = v - (float)j - .5f - (.48f - radius) * (2 * noise_hash(i, j, p->salt + 2) - 1);
        t = within(length_of(dx, dy), radius, f);
        break;
    }
    case PATTERN_WOOD: {
        const float slow = noise_at(n, NOISE_CLOUD, u * 6 + p->offset.x, v * 18 + p->offset.y, f * 18);
        const float ring = sinf(6.2831853f * (v * 2.2f + .5f * slow)) * clamp(1.2f - 2 * f, 0, 1);
        const float fibre = noise_at(n, NOISE_ROUGH, u * 12 + p->offset.y, v * 160 + p->offset.x, f * 100);
        t = clamp(.4f + .28f * ring + .13f * fibre, 0, 1);
        break;
    }
    case PATTERN_TEXT:
        t = text(p, tools->glyphs, u, v, f);
        break;
    }
    return mix(scaled(p->first, 1 + p->variation * 1.3f * vary), p->second, t);
}

/* ---- light ---- */

static float light_at(const paint *p, const shape *s, float x, float y, float distance) {
    point l;
    float lit;
    switch (p->light) {
    case LIGHT_FLAT:
        break;
    case LIGHT_SLOPE:
        l = shape_local(s, x, y);
        return greater(.1f, 1 + p->depth * (l.x * p->sun.x + l.y * p->sun.y));
    case LIGHT_BALL: {
        l = shape_local(s, x, y);
        const float back = 1 - l.x * l.x - l.y * l.y, z = sqrtf(greater(back, 0));
        const float nx = s->cosine * l.x - s->sine * l.y, ny = s->sine * l.x + s->cosine * l.y;
        lit = nx * p->sun.x + ny * p->sun.y + z * .75f;
        return 1 - p->depth + p->depth * (.15f + 1.1f * greater(lit, 0)) +
               .9f * p->depth * powf(clamp(lit, 0, 1), 24);
    }
    case LIGHT_PILLOW:
        return 1 - p->depth * expf(distance / (.18f * lesser(s->size.x, s->size.y) + 1));
    case LIGHT_TUBE:
        l = shape_local(s, x, y);
        lit = sqrtf(greater(0, 1 - l.y * l.y)) * .8f + l.y * p->sun.y;
        return 1 - p->depth + p->depth * 1.2f * greater(lit, .05f);
    }
    return 1;
}

colour paint_at(const paint *p, const paint_tools *tools, const shape *s, float x, float y, float distance) {
    float uv[2], change[2];
    map_at(p, x, y, uv, change);
    const float f = sqrtf(change[0] * change[1]) * (1 + p->blur);
    colour c = pattern_at(p, tools, uv[0], uv[1], lesser(f, 1e3f));
    float bright = light_at(p, s, x, y, distance);
    if (p->grain > 0) {
        const float k = p->grain_scale, reference = sqrtf(p->footprint[0] * p->footprint[1]);
        const float n = noise_at(tools->noise, NOISE_ROUGH,
                                 uv[0] * k / (p->footprint[0] * p->grain_stretch) + p->offset.x,
                                 uv[1] * k / p->footprint[1] + p->offset.y, lesser(k * f / reference, 1e3f));
        bright *= greater(.15f, 1 + p->grain * n);
    }
    return scaled(c, bright);
}
