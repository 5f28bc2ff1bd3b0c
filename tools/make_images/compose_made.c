/* Recipes of things that people make. */
#include <math.h>

#include "compose.h"

#define PI 3.14159265f

/* A flat four-sided surface with corners clockwise from the upper left, patterned in perspective: across x down periods. */
static layer *panel(scene *s, artist *a, const point corner[4], pattern_kind kind, float across, float down) {
    layer *l = scene_add(s);
    l->shape.kind = SHAPE_POLYGON;
    l->shape.count = 4;
    for (int i = 0; i < 4; i++) l->shape.points[i] = corner[i];
    l->shape.centre = (point){.25f * (corner[0].x + corner[1].x + corner[2].x + corner[3].x),
                              .25f * (corner[0].y + corner[1].y + corner[2].y + corner[3].y)};
    l->shape.size =
        (point){fabsf(corner[2].x - corner[0].x) / 2 + 1, fabsf(corner[2].y - corner[0].y) / 2 + 1};
    artist_paint(a, l, a->unit);
    artist_pattern(a, &l->paint, kind, l->shape.centre, 0, 10);
    l->paint.warp = 0;
    paint_map_quad(&l->paint, corner, across, down);
    l->paint.light = LIGHT_SLOPE;
    l->paint.depth = artist_uniform(a, .1f, .5f);
    l->paint.grain = artist_log_uniform(a, .01f, .12f);
    return l;
}

static layer *line(scene *s, artist *a, point from, point to, float width, float sag) {
    layer *l = scene_add(s);
    l->shape.kind = SHAPE_STROKE;
    l->shape.count = 8;
    for (int i = 0; i < 8; i++) {
        const float t = (float)i / 7;
        l->shape.points[i] =
            (point){from.x + t * (to.x - from.x), from.y + t * (to.y - from.y) + 4 * sag * t * (1 - t)};
    }
    l->shape.size = (point){width, width};
    l->paint.first = artist_shade(a, (colour){.06f, .06f, .06f}, artist_uniform(a, .2f, 4));
    return l;
}

static void lettering(artist *a, layer *l, int dark_on_light) {
    const colour paper = artist_shade(a, (colour){.75f, .73f, .68f}, .15f),
                 ink = artist_shade(a, (colour){.03f, .03f, .035f}, .6f);
    l->paint.first = dark_on_light ? paper : ink;
    l->paint.second = dark_on_light ? ink : paper;
}

void compose_street(scene *s, artist *a) {
    const float w = s->width, h = s->height, horizon = h * artist_uniform(a, .45f, .8f);
    const point vanish = {w * artist_uniform(a, -.2f, 1.2f), horizon};
    layer *sky = artist_background(a, s);
    const float day = artist_log_uniform(a, .3f, .9f);
    sky->paint.first = (colour){.55f * day, .75f * day, day};
    sky->paint.second = (colour){.95f * day, .95f * day, .97f * day};
    artist_pattern(a, &sky->paint, PATTERN_CLOUDS, (point){0, 0}, 0, a->unit);
    sky->paint.grain = 0;
    static const pattern_kind floors[] = {PATTERN_BRICKS, PATTERN_CHECKS, PATTERN_CLOUDS, PATTERN_CELLS};
    const point ground[4] = {{vanish.x - .35f * w, horizon},
                             {vanish.x + .35f * w, horizon},
                             {vanish.x + 4 * w, h * 1.02f},
                             {vanish.x - 4 * w, h * 1.02f}};
    layer *road =
        panel(s, a, ground, floors[artist_pick(a, 4)], artist_uniform(a, 20, 60), artist_uniform(a, 10, 40));
    road->paint.grain = artist_uniform(a, .08f, .35f);
    road->shape.points[0].x -= 8 * w;
    road->shape.points[1].x += 8 * w;
    /* Houses towards the vanishing point from both sides, far ones first. */
    const int houses = 4 + artist_pick(a, 6);
    for (int i = houses; i >= 1; i--)
        for (int side = -1; side <= 1; side += 2) {
            const float near = powf(.62f, (float)i - 1), far = powf(.62f, (float)i);
            const float edge = side * w * artist_uniform(a, .45f, .75f),
                        top = h * artist_uniform(a, .5f, 1.3f), foot = h * .22f;
            const float x0 = vanish.x + edge * near * 1.6f, x1 = vanish.x + edge * far * 1.6f;
            point c[4] = {{x0, horizon - top * near},
                          {x1, horizon - top * far},
                          {x1, horizon + foot * far},
                          {x0, horizon + foot * near}};
            if (side > 0) { /* keep the order of the corners clockwise */
                const point swap0 = c[0], swap3 = c[3];
                c[0] = c[1], c[3] = c[2], c[1] = swap0, c[2] = swap3;
            }
            const float floors_high = artist_uniform(a, 4, 12);
            layer *wall = panel(s, a, c, PATTERN_WINDOWS, artist_uniform(a, 3, 9), floors_high);
            wall->paint.second = artist_shade(a, (colour){.06f, .08f, .1f}, .8f);
            wall->paint.first = artist_shade(a, wall->paint.first, .1f);
            /* The end wall, square to us. */
            const float depth = edge * .9f * near;
            const point e[4] = {{lesser(x0, x0 + depth), horizon - top * near},
                                {greater(x0, x0 + depth), horizon - top * near},
                                {greater(x0, x0 + depth), horizon + foot * near},
                                {lesser(x0, x0 + depth), horizon + foot * near}};
            if (artist_chance(a, .7f)) {
                const float bricks = artist_uniform(a, 8, 30);
                panel(s, a, e, artist_chance(a, .5f) ? PATTERN_BRICKS : PATTERN_WINDOWS, bricks,
                      bricks * top / fabsf(depth) * .8f);
            }
        }
    const int trees = artist_pick(a, 4);
    for (int i = 0; i < trees; i++) {
        const float high = h * artist_log_uniform(a, .08f, .35f), x = artist_uniform(a, 0, w),
                    foot = horizon + .3f * high;
        line(s, a, (point){x, foot - 1.6f * high}, (point){x, foot}, high * .04f, 0);
        artist_foliage(a, s, (point){x, foot - 1.5f * high},
                       (point){high * artist_uniform(a, .5f, .9f), high});
    }
    const int poles = artist_pick(a, 5);
    for (int i = 0; i < poles; i++) {
        const float x = artist_uniform(a, 0, w), width = artist_log_uniform(a, 1, 8);
        line(s, a, (point){x, h * artist_uniform(a, 0, .4f)}, (point){x, h * 1.1f}, width, 0);
        for (int j = artist_pick(a, 4); j > 0; j--)
            line(s, a, (point){-10, h * artist_uniform(a, 0, .4f)},
                 (point){w + 10, h * artist_uniform(a, 0, .4f)}, artist_log_uniform(a, .6f, 1.6f),
                 h * artist_uniform(a, 0, .1f));
    }
    const int signs = artist_pick(a, 4);
    for (int i = 0; i < signs; i++) {
        const point at = artist_point(a, s, 0);
        const float wide = a->unit * artist_uniform(a, .1f, .4f), high = wide * artist_uniform(a, .2f, .6f),
                    tilt = artist_uniform(a, -.2f, .2f) * high;
        const point c[4] = {
            at, {at.x + wide, at.y + tilt}, {at.x + wide, at.y + high - tilt}, {at.x, at.y + high}};
        const float lines = 1 + (float)artist_pick(a, 4);
        layer *l = panel(s, a, c, PATTERN_TEXT, lines * GLYPH_HEIGHT * wide / high, lines * GLYPH_HEIGHT);
        lettering(a, l, artist_chance(a, .5f));
        if (artist_chance(a, .5f)) l->paint.first = artist_colour(a);
        artist_shadow(a, l, high * .3f);
    }
}

void compose_page(scene *s, artist *a) {
    layer *table = artist_background(a, s);
    static const pattern_kind tables[] = {PATTERN_WOOD, PATTERN_CLOUDS, PATTERN_WEAVE, PATTERN_CHECKS,
                                          PATTERN_MARBLE};
    const pattern_kind under = tables[artist_pick(a, 5)];
    artist_pattern(a, &table->paint, under, (point){0, 0}, artist_uniform(a, 0, PI),
                   under == PATTERN_WOOD ? a->unit * .8f : a->unit * artist_log_uniform(a, .03f, .4f));
    const int sheets = 2 + artist_pick(a, 5);
    for (int i = 0; i < sheets; i++) {
        const point at = artist_point(a, s, -.1f * a->unit);
        const float wide = a->unit * artist_uniform(a, .25f, .75f),
                    high = wide * artist_uniform(a, .5f, 1.3f);
        const float angle = artist_uniform(a, -.6f, .6f), tilt = artist_uniform(a, .6f, 1);
        point c[4];
        for (int j = 0; j < 4; j++) { /* a rectangle turned, its upper edge shortened by perspective */
            const float x = (j == 0 || j == 3 ? -.5f : .5f) * wide * (j < 2 ? tilt : 1),
                        y = (j < 2 ? -.5f : .5f) * high;
            c[j] =
                (point){at.x + x * cosf(angle) - y * sinf(angle), at.y + x * sinf(angle) + y * cosf(angle)};
        }
        const float lines = artist_log_uniform(a, 2, 22);
        const int kind = artist_pick(a, 6);
        layer *l = panel(s, a, c,
                         kind < 4   ? PATTERN_TEXT
                         : kind < 5 ? PATTERN_STRIPES /* a bar code, a ruler */
                                    : PATTERN_CHECKS,
                         kind < 4 ? lines * GLYPH_HEIGHT * wide / high : 4 * lines,
                         kind < 4 ? lines * GLYPH_HEIGHT : 2 * lines);
        lettering(a, l, artist_chance(a, .75f));
        l->paint.grain *= .5f;
        if (kind < 4 && artist_chance(a, .4f)) l->shape.round = 1;
        artist_shadow(a, l, a->unit * .06f);
        if (artist_chance(a, .4f)) { /* a picture on the sheet */
            layer *p = scene_add(s);
            p->shape.kind = SHAPE_BOX;
            p->shape.centre = at;
            p->shape.size = (point){.2f * wide, .15f * high};
            shape_rotate(&p->shape, angle);
            artist_paint(a, p, .2f * wide);
        }
    }
    const int letters = artist_chance(a, .6f) ? 1 + artist_pick(a, 3) : 0;
    for (int i = 0; i < letters; i++) { /* a line of large letters, as on a poster */
        const point at = artist_point(a, s, 0);
        const float high = a->unit * artist_uniform(a, .12f, .35f), angle = artist_uniform(a, -.5f, .5f);
        layer *l = scene_add(s);
        l->shape.kind = SHAPE_BOX;
        l->shape.centre = at;
        l->shape.size = (point){a->unit * artist_uniform(a, .3f, .7f), .5f * high};
        shape_rotate(&l->shape, angle);
        l->paint.first = artist_colour(a);
        l->paint.second = artist_shade(a, l->paint.first, 6);
        artist_pattern(a, &l->paint, PATTERN_TEXT,
                       (point){at.x + .5f * high * sinf(angle), at.y - .5f * high * cosf(angle)}, angle,
                       high);
        l->paint.grain = artist_log_uniform(a, .01f, .1f);
        artist_shadow(a, l, high * .2f);
    }
    if (artist_chance(a, .5f)) { /* a pen */
        layer *pen = scene_add(s);
        pen->shape.kind = SHAPE_BOX;
        pen->shape.centre = artist_point(a, s, 0);
        pen->shape.size = (point){a->unit * .3f, a->unit * artist_uniform(a, .012f, .03f)};
        pen->shape.round = pen->shape.size.y;
        shape_rotate(&pen->shape, artist_uniform(a, 0, PI));
        artist_paint(a, pen, a->unit * .1f);
        pen->paint.light = LIGHT_TUBE;
        pen->paint.depth = .9f;
        artist_shadow(a, pen, a->unit * .06f);
    }
}

void compose_still(scene *s, artist *a) {
    layer *wall = artist_background(a, s);
    const float table_top = s->height * artist_uniform(a, .45f, .75f);
    wall->paint.blur = artist_chance(a, .5f) ? artist_uniform(a, 1, 8) : 0;
    if (artist_chance(a, .5f)) { /* lights out of focus */
        const int lights = 20 + artist_pick(a, 60);
        for (int i = 0; i < lights; i++) {
            layer *l = scene_add(s);
            const float r = a->unit * artist_uniform(a, .015f, .07f);
            l->shape.kind = SHAPE_ELLIPSE;
            l->shape.centre = artist_point(a, s, 0);
            l->shape.size = (point){r, r};
            l->softness = r * artist_uniform(a, .1f, .6f);
            l->opacity = artist_uniform(a, .15f, .7f);
            l->paint.first = artist_colour(a);
        }
    }
    const point c[4] = {{.1f * s->width, table_top},
                        {.9f * s->width, table_top},
                        {1.8f * s->width, s->height},
                        {-.8f * s->width, s->height}};
    static const pattern_kind tables[] = {PATTERN_WOOD, PATTERN_CHECKS, PATTERN_WEAVE, PATTERN_BRICKS,
                                          PATTERN_STRIPES};
    const pattern_kind top = tables[artist_pick(a, 5)];
    const float periods = top == PATTERN_WOOD ? artist_uniform(a, 1, 4) : artist_log_uniform(a, 8, 60);
    layer *table = panel(s, a, c, top, periods, periods * .5f);
    table->paint.grain = artist_uniform(a, .03f, .3f);
    table->shape.points[0].x -= 8 * s->width;
    table->shape.points[1].x += 8 * s->width;
    const int things = 5 + artist_pick(a, 16);
    for (int i = 0; i < things; i++) {
        const float near = (float)i / (float)things,
                    radius = a->unit * artist_log_uniform(a, .06f, .28f) * (.7f + .5f * near);
        const point at = {artist_uniform(a, 0, s->width),
                          table_top + near * (s->height - table_top) - .6f * radius};
        layer *shadow = scene_add(s);
        shadow->shape.kind = SHAPE_ELLIPSE;
        shadow->shape.centre = (point){at.x - a->sun.x * radius * .4f, at.y + .93f * radius};
        shadow->shape.size = (point){1.1f * radius, .22f * radius};
        shadow->softness = .3f * radius;
        shadow->opacity = .75f;
        layer *l = scene_add(s);
        artist_shape(a, l, at, radius);
        if (artist_chance(a, .5f)) {
            l->shape.kind = SHAPE_ELLIPSE;
            l->shape.size = (point){radius, radius * artist_uniform(a, .8f, 1)};
        }
        artist_paint(a, l, radius);
        if (l->shape.kind == SHAPE_ELLIPSE) l->paint.light = LIGHT_BALL;
        if (l->shape.kind == SHAPE_BOX) l->paint.light = LIGHT_TUBE;
        l->paint.depth = artist_uniform(a, .6f, .95f);
        l->softness = 1 + 3 * fabsf(near - .6f) * artist_uniform(a, 0, 1);
        l->paint.blur = l->softness - 1;
        artist_shadow(a, l, radius * .3f);
    }
}

void compose_cloth(scene *s, artist *a) {
    static const pattern_kind cloths[] = {PATTERN_WEAVE, PATTERN_STRIPES, PATTERN_CHECKS, PATTERN_SPOTS,
                                          PATTERN_WEAVE, PATTERN_SCALES,  PATTERN_MARBLE};
    const int pieces = 1 + artist_pick(a, 5);
    for (int i = 0; i < pieces; i++) {
        layer *l = i ? scene_add(s) : artist_background(a, s);
        const float radius = a->unit * artist_uniform(a, .4f, .8f);
        if (i) {
            artist_shape(a, l, artist_point(a, s, 0), radius);
            if (l->shape.kind == SHAPE_RING) l->shape.kind = SHAPE_BOX;
            artist_paint(a, l, radius);
            artist_shadow(a, l, radius * .15f);
        }
        l->paint.second = artist_shade(a, l->paint.first, artist_log_uniform(a, .3f, 4));
        artist_pattern(a, &l->paint, cloths[artist_pick(a, 7)], artist_point(a, s, 0),
                       artist_uniform(a, 0, PI), artist_log_uniform(a, 5, a->unit * .12f));
        l->paint.warp = artist_chance(a, .7f) ? artist_log_uniform(a, .03f, .3f) : 0;
        l->paint.grain = artist_uniform(a, .02f, .15f);
        /* Folds: broad soft strokes of shadow and of light. */
        const int folds = artist_pick(a, 9);
        const float angle = artist_uniform(a, 0, PI);
        for (int j = 0; j < folds; j++) {
            const point at = artist_point(a, s, 0);
            const float turn = angle + artist_uniform(a, -.3f, .3f),
                        length = a->unit * artist_uniform(a, .5f, 1.5f);
            const float dx = .5f * length * cosf(turn), dy = .5f * length * sinf(turn);
            layer *fold = line(s, a, (point){at.x - dx, at.y - dy}, (point){at.x + dx, at.y + dy}, 1,
                               length * artist_uniform(a, -.1f, .1f));
            fold->softness = a->unit * artist_uniform(a, .05f, .25f);
            fold->opacity = artist_uniform(a, .2f, .55f);
            if (artist_chance(a, .35f)) {
                fold->paint.first = (colour){.8f, .78f, .75f};
                fold->opacity *= .4f;
            } else {
                fold->paint.first = (colour){.01f, .01f, .012f};
            }
        }
    }
    const int buttons = artist_chance(a, .5f) ? artist_pick(a, 10) : 0;
    for (int i = 0; i < buttons; i++) {
        layer *l = scene_add(s);
        const float r = a->unit * artist_uniform(a, .015f, .05f);
        artist_shape(a, l, artist_point(a, s, 0), r);
        artist_paint(a, l, r);
        artist_shadow(a, l, r);
    }
}
