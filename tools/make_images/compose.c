/* The artist's hand: draws, colours, surfaces and forms that all recipes share. */
#include "compose.h"

#include <math.h>

#define PI 3.14159265f

float artist_uniform(artist *a, float low, float high) {
    return low + (high - low) * (float)dukd_random_unit(&a->random);
}

float artist_log_uniform(artist *a, float low, float high) {
    return low * powf(high / low, artist_uniform(a, 0, 1));
}

int artist_pick(artist *a, int count) {
    return (int)dukd_random_below(&a->random, (uint64_t)count);
}

int artist_chance(artist *a, float probability) {
    return dukd_random_unit(&a->random) < (double)probability;
}

float artist_radius(artist *a, float low, float high) {
    const float most = 1 / (low * low), least = 1 / (high * high);
    return 1 / sqrtf(most - artist_uniform(a, 0, 1) * (most - least));
}

point artist_point(artist *a, const scene *s, float margin) {
    const float x = artist_uniform(a, -margin, s->width + margin);
    return (point){x, artist_uniform(a, -margin, s->height + margin)};
}

/* ---- colour ---- */

/* A hue in turns, of full brightness, as linear light. */
static colour hue_of(float hue, float saturation) {
    float c[3];
    for (int i = 0; i < 3; i++) {
        const float t = hue + (float)(3 - i) / 3, d = fabsf((t - floorf(t)) * 6 - 3) - 1;
        const float full = d < 0 ? 0 : d > 1 ? 1 : d;
        c[i] = powf(1 - saturation + saturation * full, 2.2f);
    }
    return (colour){c[0], c[1], c[2]};
}

static void mix_colours(artist *a) {
    /* Centres of hue that are often seen: sky, foliage, earth, skin, brick, water, dusk, grey stone. */
    static const float centres[] = {.58f, .28f, .09f, .06f, .03f, .52f, .95f, .12f};
    a->vividness = artist_uniform(a, .25f, .8f);
    const float main = centres[artist_pick(a, 8)];
    for (int i = 0; i < 4; i++) {
        const float hue = (i < 2 ? main : centres[artist_pick(a, 8)]) + artist_uniform(a, -.05f, .05f);
        a->hues[i] = hue_of(hue, a->vividness * artist_uniform(a, .3f, 1));
    }
}

colour artist_colour(artist *a) {
    const colour h = a->hues[artist_pick(a, 4)], g = a->hues[artist_pick(a, 4)];
    const float t = artist_uniform(a, 0, .35f), light = artist_log_uniform(a, .03f, .95f);
    return (colour){light * (h.r + t * (g.r - h.r)), light * (h.g + t * (g.g - h.g)),
                    light * (h.b + t * (g.b - h.b))};
}

colour artist_shade(artist *a, colour of, float contrast) {
    const float by = artist_chance(a, .5f) ? 1 / (1 + contrast) : 1 + contrast;
    const colour c = artist_colour(a);
    const float t = artist_uniform(a, 0, .3f);
    return (colour){of.r * by + t * (c.r - of.r * by), of.g * by + t * (c.g - of.g * by),
                    of.b * by + t * (c.b - of.b * by)};
}

/* ---- surfaces ---- */

void artist_pattern(artist *a, paint *p, pattern_kind kind, point origin, float angle, float period) {
    p->pattern = kind;
    p->salt = (uint32_t)dukd_random_bits(&a->random);
    p->duty = artist_uniform(a, .15f, .85f);
    p->variation = artist_uniform(a, .1f, .9f);
    p->hardness = artist_chance(a, .5f) ? artist_uniform(a, .5f, 1) : artist_uniform(a, 0, .5f);
    p->warp = kind == PATTERN_MARBLE  ? artist_uniform(a, .05f, .5f)
              : artist_chance(a, .4f) ? artist_log_uniform(a, .02f, .2f)
                                      : 0;
    if (kind == PATTERN_TEXT) {
        p->duty = artist_uniform(a, .22f, .75f);
        period /= GLYPH_HEIGHT;
    }
    paint_map_flat(p, origin, angle, period);
}

void artist_paint(artist *a, layer *l, float size) {
    paint *p = &l->paint;
    /* How often each pattern is seen. */
    static const pattern_kind often[] = {
        PATTERN_PLAIN,  PATTERN_PLAIN,  PATTERN_PLAIN,   PATTERN_PLAIN,   PATTERN_CLOUDS, PATTERN_CLOUDS,
        PATTERN_CLOUDS, PATTERN_MARBLE, PATTERN_STRIPES, PATTERN_STRIPES, PATTERN_WEAVE,  PATTERN_CELLS,
        PATTERN_SCALES, PATTERN_SPOTS,  PATTERN_WOOD,    PATTERN_CHECKS,  PATTERN_TEXT,   PATTERN_BRICKS,
    };
    const pattern_kind kind = often[artist_pick(a, sizeof often / sizeof *often)];
    const float least = kind == PATTERN_TEXT || kind == PATTERN_WOOD ? 26 : kind == PATTERN_CLOUDS ? 12 : 5;
    p->first = artist_colour(a);
    p->second = artist_shade(a, p->first, artist_log_uniform(a, .15f, 2.5f));
    artist_pattern(a, p, kind, l->shape.centre, artist_uniform(a, 0, 2 * PI),
                   artist_log_uniform(a, least, greater(size, least * 1.5f)));
    p->offset = (point){artist_uniform(a, 0, NOISE_SIDE), artist_uniform(a, 0, NOISE_SIDE)};
    p->grain = artist_chance(a, .75f) ? artist_log_uniform(a, .03f, .4f) : 0;
    p->grain_scale = artist_log_uniform(a, .3f, 1);
    p->grain_stretch = artist_chance(a, .3f) ? artist_uniform(a, 3, 12) : 1;
    p->light = (light_kind)artist_pick(a, 5);
    if (p->light == LIGHT_BALL && l->shape.kind != SHAPE_ELLIPSE) p->light = LIGHT_SLOPE;
    if (p->light == LIGHT_TUBE && l->shape.kind != SHAPE_BOX) p->light = LIGHT_PILLOW;
    p->depth = artist_uniform(a, .2f, .9f);
    p->sun = a->sun;
}

layer *artist_background(artist *a, scene *s) {
    layer *l = scene_add(s);
    l->shape.kind = SHAPE_EVERYWHERE;
    l->shape.centre = (point){s->width / 2, s->height / 2};
    l->shape.size = (point){s->width / 2, s->height / 2};
    artist_paint(a, l, a->unit);
    l->paint.light = LIGHT_SLOPE;
    return l;
}

/* ---- forms ---- */

static void polygon(artist *a, shape *s, float radius) {
    s->kind = SHAPE_POLYGON;
    s->count = 3 + artist_pick(a, 6);
    const float start = artist_uniform(a, 0, 2 * PI), spread = artist_chance(a, .3f) ? .7f : .25f;
    for (int i = 0; i < s->count; i++) {
        const float angle = start + 2 * PI * ((float)i + artist_uniform(a, -.25f, .25f)) / (float)s->count;
        const float r = radius * artist_uniform(a, 1 - spread, 1);
        s->points[i] = (point){s->centre.x + r * cosf(angle), s->centre.y + r * sinf(angle)};
    }
    s->size = (point){radius, radius};
}

void artist_shape(artist *a, layer *l, point centre, float radius) {
    shape *s = &l->shape;
    const float aspect = artist_log_uniform(a, .3f, 1);
    s->centre = centre;
    shape_rotate(s, artist_uniform(a, 0, 2 * PI));
    s->size = (point){radius, radius * aspect};
    switch (artist_pick(a, 8)) {
    case 0:
    case 1:
        s->kind = SHAPE_ELLIPSE;
        s->size.y = radius;
        break;
    case 2:
        s->kind = SHAPE_ELLIPSE;
        break;
    case 3:
        s->kind = SHAPE_BOX;
        s->round = artist_chance(a, .5f) ? 0 : s->size.y * artist_uniform(a, .1f, 1);
        break;
    case 4:
        s->kind = SHAPE_LEAF;
        s->size.y = radius * artist_uniform(a, .2f, .6f);
        break;
    case 5:
        s->kind = SHAPE_RING;
        s->size = (point){radius * .8f, radius * artist_uniform(a, .06f, .2f)};
        break;
    default:
        polygon(a, s, radius);
    }
}

void artist_shadow(artist *a, layer *l, float size) {
    const float far = size * artist_uniform(a, .03f, .3f);
    l->shadow = (point){-a->sun.x * far, -a->sun.y * far};
    l->shadow_softness = greater(2, size * artist_log_uniform(a, .05f, .5f));
    l->shadow_strength = artist_uniform(a, .2f, .7f);
}

void compose_picture(scene *s, uint64_t seed, uint64_t index) {
    static void (*const recipes[COMPOSE_KINDS])(scene *, artist *) = {
        compose_leaves, compose_street, compose_plants, compose_page,
        compose_still,  compose_hide,   compose_shore,  compose_cloth,
    };
    artist a = {.random = dukd_random_stream(seed, DUKD_RANDOM_PICTURE, index)};
    a.unit = lesser(s->width, s->height);
    const float angle = artist_uniform(&a, PI, 2 * PI); /* the light comes from above */
    a.sun = (point){.8f * cosf(angle), .8f * sinf(angle)};
    mix_colours(&a);
    s->sharpness = artist_uniform(&a, .4f, 1);
    s->exposure = artist_log_uniform(&a, .7f, 1.3f);
    recipes[index % COMPOSE_KINDS](s, &a);
}
