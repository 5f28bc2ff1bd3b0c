/* Recipes of things that grow and lie about. */
#include <math.h>

#include "compose.h"

#define PI 3.14159265f

void compose_leaves(scene *s, artist *a) {
    const float largest = a->unit * artist_uniform(a, .2f, .4f),
                smallest = a->unit * artist_log_uniform(a, .008f, .03f);
    const float focus = artist_chance(a, .5f) ? 0 : artist_uniform(a, .5f, 4); /* blur of things far behind */
    const int shadows = artist_chance(a, .6f);
    float left = s->width * s->height * artist_uniform(a, 2.5f, 5);
    const float total = left;
    artist_background(a, s);
    while (left > 0 && s->count < SCENE_MAX_LAYERS) {
        const float radius = artist_radius(a, smallest, largest);
        layer *l = scene_add(s);
        artist_shape(a, l, artist_point(a, s, radius), radius);
        artist_paint(a, l, radius);
        l->softness = 1 + focus * (left / total) + (artist_chance(a, .1f) ? artist_log_uniform(a, 1, 12) : 0);
        l->paint.blur = l->softness - 1;
        if (shadows) artist_shadow(a, l, radius);
        left -= 2 * radius * radius;
    }
}

/* A blade of grass, a twig or a hair: bent, thinner towards its tip. */
static layer *blade(scene *s, artist *a, point foot, float angle, float length, float width, float bend) {
    layer *l = scene_add(s);
    shape *b = &l->shape;
    b->kind = SHAPE_STROKE;
    b->count = 7;
    b->centre = foot;
    b->size = (point){width, width * .15f};
    point p = foot;
    for (int i = 0; i < b->count; i++) {
        b->points[i] = p;
        p.x += cosf(angle) * length / 6;
        p.y += sinf(angle) * length / 6;
        angle += bend / 6;
    }
    l->paint.light = LIGHT_FLAT;
    l->paint.sun = a->sun;
    return l;
}

static colour green(artist *a, float light) {
    const float yellow = artist_uniform(a, .35f, 1.05f), blue = artist_uniform(a, .05f, .35f);
    return (colour){light * yellow, light, light * blue};
}

static void leaf(scene *s, artist *a, point at, float angle, float length, colour c) {
    layer *l = scene_add(s);
    l->shape.kind = SHAPE_LEAF;
    l->shape.centre = at;
    l->shape.size = (point){length, length * artist_uniform(a, .25f, .5f)};
    shape_rotate(&l->shape, angle);
    l->paint.first = c;
    l->paint.second = artist_shade(a, c, .35f);
    /* Veins: stripes across, and a rib as a stroke of its own. */
    artist_pattern(a, &l->paint, artist_chance(a, .6f) ? PATTERN_MARBLE : PATTERN_CLOUDS, at,
                   angle + artist_uniform(a, .4f, .8f), greater(6, length * .25f));
    l->paint.hardness = artist_uniform(a, 0, .3f);
    l->paint.offset = (point){at.x, at.y};
    l->paint.grain = artist_uniform(a, .02f, .15f);
    l->paint.light = LIGHT_SLOPE;
    l->paint.depth = artist_uniform(a, .2f, .6f);
    l->paint.sun = a->sun;
    artist_shadow(a, l, length * .5f);
    const float c1 = cosf(angle) * length, s1 = sinf(angle) * length;
    layer *rib =
        blade(s, a, (point){at.x - c1, at.y - s1}, angle, 1.8f * length, greater(.7f, length * .025f), 0);
    rib->paint.first = artist_shade(a, c, .8f);
}

static void blossom(scene *s, artist *a, point at, float radius) {
    const colour c = artist_colour(a);
    const int petals = 5 + artist_pick(a, 9);
    const float start = artist_uniform(a, 0, 2 * PI);
    for (int i = 0; i < petals; i++) {
        const float angle = start + 2 * PI * (float)i / (float)petals;
        leaf(s, a, (point){at.x + .6f * radius * cosf(angle), at.y + .6f * radius * sinf(angle)}, angle,
             .55f * radius,
             artist_shade(a, (colour){lesser(c.r * 3, .9f), lesser(c.g * 3, .9f), lesser(c.b * 3, .9f)},
                          .08f));
    }
    layer *l = scene_add(s);
    l->shape.kind = SHAPE_ELLIPSE;
    l->shape.centre = at;
    l->shape.size = (point){.25f * radius, .25f * radius};
    l->paint.first = (colour){.7f, .45f, .05f};
    l->paint.second = (colour){.25f, .12f, .02f};
    artist_pattern(a, &l->paint, PATTERN_CELLS, at, 0, greater(5, radius * .06f));
    artist_shadow(a, l, .2f * radius);
}

void compose_plants(scene *s, artist *a) {
    layer *back = artist_background(a, s);
    back->paint.first = green(a, artist_log_uniform(a, .02f, .5f));
    back->paint.second = artist_shade(a, back->paint.first, 1);
    artist_pattern(a, &back->paint, PATTERN_CLOUDS, (point){0, 0}, 0, a->unit * artist_uniform(a, .3f, 1));
    const int kind = artist_pick(a, 3); /* grass, foliage, both */
    const float upright = -.5f * PI + artist_uniform(a, -.3f, .3f), spread = artist_uniform(a, .15f, .7f);
    if (kind != 1) {
        const int count = 500 + artist_pick(a, 1400);
        const float length = a->unit * artist_uniform(a, .25f, .6f),
                    width = a->unit * artist_log_uniform(a, .003f, .012f);
        for (int i = 0; i < count; i++) { /* rows from far to near */
            const float near = (float)i / (float)count;
            const point foot = {artist_uniform(a, -.1f, 1.1f) * s->width, (.25f + 1.1f * near) * s->height};
            layer *l = blade(s, a, foot, upright + spread * artist_uniform(a, -1, 1),
                             length * (.4f + .6f * near) * artist_uniform(a, .5f, 1), width * (.5f + near),
                             artist_uniform(a, -1.2f, 1.2f));
            l->paint.first = green(a, artist_log_uniform(a, .03f, .6f) * (.4f + .6f * near));
            l->softness = 1 + 4 * greater(0, .5f - near);
        }
    }
    if (kind != 0) {
        const int count = 60 + artist_pick(a, 240);
        for (int i = 0; i < count; i++) {
            const float size = artist_radius(a, a->unit * .025f, a->unit * .2f);
            leaf(s, a, artist_point(a, s, size), upright + 2.5f * spread * artist_uniform(a, -1, 1), size,
                 green(a, artist_log_uniform(a, .03f, .5f)));
        }
    }
    const int blossoms = artist_chance(a, .7f) ? artist_pick(a, 14) : 0;
    for (int i = 0; i < blossoms; i++)
        blossom(s, a, artist_point(a, s, 0), a->unit * artist_log_uniform(a, .03f, .15f));
}

void artist_foliage(artist *a, scene *s, point centre, point size) {
    const int count = 60 + artist_pick(a, 240);
    const float leaf_size = artist_log_uniform(a, .03f, .12f) * size.y + 1,
                hue = artist_log_uniform(a, .3f, 1);
    for (int i = 0; i < count; i++) {
        const float angle = artist_uniform(a, 0, 2 * PI), r = sqrtf(artist_uniform(a, 0, 1));
        const point at = {centre.x + r * size.x * cosf(angle), centre.y + r * size.y * sinf(angle)};
        layer *l = scene_add(s);
        l->shape.kind = artist_chance(a, .7f) ? SHAPE_LEAF : SHAPE_ELLIPSE;
        l->shape.centre = at;
        l->shape.size =
            (point){leaf_size * artist_uniform(a, .5f, 1.3f), leaf_size * artist_uniform(a, .25f, .6f)};
        shape_rotate(&l->shape, artist_uniform(a, 0, PI));
        const float light =
            artist_log_uniform(a, .02f, .3f) * (1 + .5f * (at.x - centre.x) / size.x * a->sun.x);
        l->paint.first = green(a, light);
        l->paint.first.r *= 1.2f * hue;
        artist_shadow(a, l, leaf_size);
    }
}

void compose_hide(scene *s, artist *a) {
    static const pattern_kind hides[] = {PATTERN_MARBLE, PATTERN_CELLS, PATTERN_SPOTS, PATTERN_SCALES,
                                         PATTERN_CLOUDS};
    const int regions = 1 + artist_pick(a, 4);
    layer *l = artist_background(a, s);
    for (int i = 0; i < regions; i++) {
        if (i > 0) {
            l = scene_add(s);
            artist_shape(a, l, artist_point(a, s, 0), a->unit * artist_uniform(a, .25f, .6f));
            artist_paint(a, l, a->unit * .3f);
            artist_shadow(a, l, a->unit * .15f);
        }
        l->paint.second = artist_shade(a, l->paint.first, artist_log_uniform(a, .8f, 6));
        artist_pattern(a, &l->paint, hides[artist_pick(a, 5)], artist_point(a, s, 0),
                       artist_uniform(a, 0, 2 * PI), artist_log_uniform(a, a->unit * .025f, a->unit * .14f));
        l->paint.warp = artist_uniform(a, .08f, .4f);
        l->paint.grain = artist_uniform(a, .05f, .35f);
        l->paint.grain_stretch = artist_uniform(a, 1, 9);
    }
    if (!artist_chance(a, .6f)) return;
    /* Hair: thousands of short strokes that follow a slowly turning direction. */
    const int count = 1500 + artist_pick(a, 3000);
    const float length = a->unit * artist_uniform(a, .04f, .14f), width = artist_log_uniform(a, .5f, 1.6f);
    const float turn = artist_uniform(a, 0, 2 * PI), waves = artist_uniform(a, 2, 8) / a->unit,
                phase = artist_uniform(a, 0, 6);
    const colour c = artist_colour(a);
    for (int i = 0; i < count; i++) {
        const point foot = artist_point(a, s, length);
        const float angle =
            turn + .7f * sinf(waves * foot.x + phase) * cosf(waves * foot.y) + artist_uniform(a, -.2f, .2f);
        layer *hair =
            blade(s, a, foot, angle, length * artist_uniform(a, .5f, 1), width, artist_uniform(a, -.6f, .6f));
        hair->paint.first = artist_shade(a, c, artist_uniform(a, .1f, 1.2f));
        hair->opacity = artist_uniform(a, .5f, 1);
    }
}

void compose_shore(scene *s, artist *a) {
    const float horizon = s->height * artist_uniform(a, .25f, .65f);
    layer *sky = artist_background(a, s);
    const float day = artist_log_uniform(a, .25f, .9f), red = artist_uniform(a, .25f, 1);
    sky->paint.first = (colour){day * red, day * (.6f + .3f * red), day * artist_uniform(a, .8f, 1.2f)};
    sky->paint.second = (colour){.9f * day + .1f, .88f * day + .1f, .86f * day + .1f};
    artist_pattern(a, &sky->paint, PATTERN_CLOUDS, (point){0, 0}, 0, a->unit * artist_uniform(a, .4f, 1.5f));
    sky->paint.hardness = artist_uniform(a, 0, .6f);
    sky->paint.grain = 0;
    const int ridges = 1 + artist_pick(a, 4);
    for (int i = 0; i < ridges; i++) { /* hills, the far ones paler */
        const float near = ((float)i + 1) / (float)ridges, far = 1 - near;
        for (int j = 0; j < 5; j++) {
            layer *hill = scene_add(s);
            const float width = s->width * artist_uniform(a, .2f, .6f);
            hill->shape.kind = artist_chance(a, .5f) ? SHAPE_ELLIPSE : SHAPE_LEAF;
            hill->shape.centre = (point){artist_uniform(a, 0, s->width), horizon};
            hill->shape.size = (point){width, s->height * artist_uniform(a, .05f, .22f) * (.5f + .8f * far)};
            artist_paint(a, hill, a->unit * .1f);
            artist_pattern(a, &hill->paint, PATTERN_CLOUDS, hill->shape.centre, 0,
                           a->unit * artist_log_uniform(a, .05f, .4f));
            const colour c = hill->paint.first, air = sky->paint.first;
            hill->paint.first =
                (colour){c.r * .4f + far * air.r, c.g * .4f + far * air.g, c.b * .4f + far * air.b};
            hill->paint.second = artist_shade(a, hill->paint.first, .8f * near);
            hill->paint.light = LIGHT_SLOPE;
        }
    }
    layer *water = scene_add(s);
    const point edge[4] = {{-4 * s->width, horizon},
                           {5 * s->width, horizon},
                           {9 * s->width, s->height * 1.2f},
                           {-8 * s->width, s->height * 1.2f}};
    water->shape.kind = SHAPE_POLYGON;
    water->shape.count = 4;
    for (int i = 0; i < 4; i++) water->shape.points[i] = edge[i];
    artist_paint(a, water, a->unit);
    static const pattern_kind grounds[] = {PATTERN_CLOUDS, PATTERN_MARBLE, PATTERN_CELLS, PATTERN_CLOUDS,
                                           PATTERN_BRICKS};
    artist_pattern(a, &water->paint, grounds[artist_pick(a, 5)], (point){0, 0}, 0, 10);
    const point corner[4] = {{.3f * s->width, horizon - 1},
                             {.7f * s->width, horizon - 1},
                             {3 * s->width, s->height},
                             {-2 * s->width, s->height}};
    const float cells = artist_log_uniform(a, 6, 30);
    paint_map_quad(&water->paint, corner, cells, cells * artist_uniform(a, 1, 3));
    water->paint.light = LIGHT_FLAT;
    water->paint.grain = artist_uniform(a, .1f, .5f);
    water->paint.grain_stretch = artist_chance(a, .5f) ? artist_uniform(a, 2, 8) : 1;
    const int trees = artist_pick(a, 9);
    for (int i = 0; i < trees; i++) {
        const float high = s->height * artist_log_uniform(a, .03f, .2f);
        artist_foliage(a, s, (point){artist_uniform(a, 0, s->width), horizon - .7f * high},
                       (point){high * artist_uniform(a, .5f, 2), high});
    }
    const int rocks = 10 + artist_pick(a, 90);
    for (int i = 0; i < rocks; i++) {
        layer *rock = scene_add(s);
        const float near = sqrtf((float)i / (float)rocks),
                    radius = artist_radius(a, a->unit * .01f, a->unit * .25f) * (.3f + near);
        do {
            artist_shape(a, rock,
                         (point){artist_uniform(a, 0, s->width), horizon + near * (s->height - horizon)},
                         radius);
        } while (rock->shape.kind == SHAPE_RING || rock->shape.kind == SHAPE_LEAF);
        artist_paint(a, rock, radius);
        artist_pattern(a, &rock->paint, artist_chance(a, .3f) ? PATTERN_CELLS : PATTERN_CLOUDS,
                       rock->shape.centre, 0, radius);
        rock->paint.grain = artist_uniform(a, .1f, .4f);
        artist_shadow(a, rock, radius * .5f);
    }
    if (artist_chance(a, .6f)) { /* birds, reeds or rigging */
        const int count = 10 + artist_pick(a, 60);
        for (int i = 0; i < count; i++) {
            layer *l = blade(
                s, a,
                (point){artist_uniform(a, 0, s->width), horizon + artist_uniform(a, 0, s->height * .4f)},
                -.5f * PI + artist_uniform(a, -.2f, .2f), s->height * artist_uniform(a, .1f, .5f),
                artist_log_uniform(a, .7f, 4), artist_uniform(a, -.5f, .5f));
            l->paint.first = artist_shade(a, (colour){.08f, .07f, .05f}, .5f);
        }
    }
}
