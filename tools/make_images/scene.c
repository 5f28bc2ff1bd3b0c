/* Rendering front to back, in blocks: what is hidden is never painted, and only at edges are distances needed. */
#include "scene.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 8 };
#define HIDDEN .004f /* light that still comes through from behind when the rest is left out */

int scene_create(scene *s, int32_t width, int32_t height) {
    *s = (scene){.width = (float)(width * SCENE_SAMPLES), .height = (float)(height * SCENE_SAMPLES)};
    const size_t pixels = (size_t)width * (size_t)height * SCENE_SAMPLES;
    s->layers = malloc((SCENE_MAX_LAYERS + 1) * sizeof *s->layers);
    s->canvas = malloc(pixels * SCENE_SAMPLES * 3 * sizeof *s->canvas);
    s->rows = malloc(pixels * 3 * sizeof *s->rows);
    s->band = malloc(SCENE_MAX_LAYERS * sizeof *s->band);
    if (s->layers && s->canvas && s->rows && s->band) return 0;
    scene_free(s);
    return -1;
}

void scene_free(scene *s) {
    free(s->layers);
    free(s->canvas);
    free(s->rows);
    free(s->band);
    *s = (scene){0};
}

void scene_clear(scene *s) {
    s->count = 0;
    s->sharpness = 1;
    s->exposure = 1;
}

layer *scene_add(scene *s) {
    layer *l = &s->layers[s->count];
    if (s->count < SCENE_MAX_LAYERS) s->count++;
    memset(l, 0, sizeof *l);
    l->softness = 1;
    l->opacity = 1;
    l->shape.cosine = 1;
    l->shape.size = (point){1, 1};
    l->paint.grain_scale = l->paint.grain_stretch = 1;
    paint_map_flat(&l->paint, (point){0, 0}, 0, 100);
    return l;
}

static void find_bounds(layer *l) {
    point low, high;
    shape_bounds(&l->shape, &low, &high);
    l->low = (point){low.x - l->softness, low.y - l->softness};
    l->high = (point){high.x + l->softness, high.y + l->softness};
    if (l->shadow_strength > 0) {
        const float s = l->shadow_softness;
        l->low =
            (point){lesser(l->low.x, low.x + l->shadow.x - s), lesser(l->low.y, low.y + l->shadow.y - s)};
        l->high = (point){greater(l->high.x, high.x + l->shadow.x + s),
                          greater(l->high.y, high.y + l->shadow.y + s)};
    }
}

/* The share of a sample inside an edge of this width. */
static float coverage(float distance, float softness) {
    const float t = .5f - distance / softness;
    return t <= 0 ? 0 : t >= 1 ? 1 : t * t * (3 - 2 * t);
}

typedef struct {
    colour seen[BLOCK * BLOCK];
    float through[BLOCK * BLOCK]; /* how much of what is behind is seen */
    float x, y;                   /* upper left corner */
    int width, height;
} block;

/* How far the block's points may be from its centre. */
static const float reach = .7072f * BLOCK * 1.3f; /* and a margin, as distances are not exact everywhere */

/* Whether anything was painted. */
static int paint_layer(block *b, const layer *l, const paint_tools *tools) {
    const float middle = shape_distance(&l->shape, b->x + .5f * BLOCK, b->y + .5f * BLOCK);
    if (middle > reach + l->softness) return 0;
    const int whole = middle < -reach - l->softness && l->paint.light != LIGHT_PILLOW;
    int painted = 0;
    for (int y = 0; y < b->height; y++)
        for (int x = 0; x < b->width; x++) {
            const int i = y * BLOCK + x;
            if (b->through[i] < HIDDEN) continue;
            const float px = b->x + (float)x + .5f, py = b->y + (float)y + .5f;
            const float distance = whole ? middle : shape_distance(&l->shape, px, py);
            const float cover = coverage(distance, l->softness) * l->opacity;
            if (cover <= 0) continue;
            const colour c = paint_at(&l->paint, tools, &l->shape, px, py, distance);
            const float share = b->through[i] * cover;
            b->seen[i] =
                (colour){b->seen[i].r + share * c.r, b->seen[i].g + share * c.g, b->seen[i].b + share * c.b};
            b->through[i] -= share;
            painted = 1;
        }
    return painted;
}

static void cast_shadow(block *b, const layer *l) {
    const float x0 = b->x - l->shadow.x, y0 = b->y - l->shadow.y;
    const float middle = shape_distance(&l->shape, x0 + .5f * BLOCK, y0 + .5f * BLOCK);
    if (middle > reach + l->shadow_softness) return;
    for (int y = 0; y < b->height; y++)
        for (int x = 0; x < b->width; x++) {
            const int i = y * BLOCK + x;
            if (b->through[i] < HIDDEN) continue;
            const float distance = shape_distance(&l->shape, x0 + (float)x + .5f, y0 + (float)y + .5f);
            b->through[i] *= 1 - l->shadow_strength * coverage(distance, l->shadow_softness);
        }
}

static int is_hidden(const block *b) {
    for (int y = 0; y < b->height; y++)
        for (int x = 0; x < b->width; x++)
            if (b->through[y * BLOCK + x] >= HIDDEN) return 0;
    return 1;
}

/* The layers that meet a row of blocks, from the front to the back; how many. */
static int find_band(scene *s, float top) {
    int count = 0;
    for (int i = s->count - 1; i >= 0; i--)
        if (s->layers[i].high.y >= top && s->layers[i].low.y <= top + BLOCK) s->band[count++] = i;
    return count;
}

static void render_block(const scene *s, const paint_tools *tools, int band_count, block *b) {
    memset(b->seen, 0, sizeof b->seen);
    for (int i = 0; i < BLOCK * BLOCK; i++) b->through[i] = 1;
    for (int i = 0; i < band_count; i++) {
        const layer *l = &s->layers[s->band[i]];
        if (l->high.x < b->x || l->low.x > b->x + BLOCK) continue;
        const int painted = paint_layer(b, l, tools);
        if (l->shadow_strength > 0) cast_shadow(b, l);
        if (painted && is_hidden(b)) break;
    }
    for (int y = 0; y < b->height; y++)
        memcpy(s->canvas + (((size_t)b->y + (size_t)y) * (size_t)s->width + (size_t)b->x) * 3,
               b->seen + y * BLOCK, (size_t)b->width * sizeof(colour));
}

/* ---- the camera ---- */

/* Half of a symmetric filter of 6 taps about the middle of two canvas pixels. A lens blurs; a camera sharpens a little. */
static void lens(float sharpness, float taps[3]) {
    taps[0] = .36f + .12f * sharpness;
    taps[1] = .13f - .06f * sharpness;
    taps[2] = .5f - taps[0] - taps[1];
}

static float filtered(const float *p, ptrdiff_t step, int at, int count, const float taps[3]) {
    float sum = 0;
    for (int k = 0; k < 3; k++) {
        const int before = at - k < 0 ? 0 : at - k, after = at + 1 + k > count - 1 ? count - 1 : at + 1 + k;
        sum += taps[k] * (p[before * step] + p[after * step]);
    }
    return sum;
}

/* Linear light to 8 bits, with a soft shoulder above .8. */
static uint8_t developed(float light) {
    if (light <= 0) return 0;
    if (light > .8f) light = .8f + .2f * (1 - expf(-(light - .8f) / .2f));
    return (uint8_t)(powf(light, 1 / 2.2f) * 255 + .5f);
}

enum { TONES = 4096 };

static void develop(scene *s, dukd_image *out) {
    float taps[3];
    uint8_t tones[TONES];
    const int width = (int)s->width, height = (int)s->height;
    lens(s->sharpness, taps);
    /* The table is over the square root of light: fine steps where it is dark. */
    for (int i = 0; i < TONES; i++) {
        const float root = (float)i / (TONES - 1) * 1.6f;
        tones[i] = developed(root * root);
    }
    for (int y = 0; y < height; y++)
        for (int x = 0; x < out->width; x++)
            for (int c = 0; c < 3; c++)
                s->rows[((size_t)y * (size_t)out->width + (size_t)x) * 3 + (size_t)c] =
                    filtered(s->canvas + (size_t)y * (size_t)width * 3 + c, 3, 2 * x, width, taps);
    const ptrdiff_t row = (ptrdiff_t)out->width * 3;
    for (int y = 0; y < out->height; y++)
        for (ptrdiff_t i = 0; i < row; i++) {
            const float light = s->exposure * filtered(s->rows + i, row, 2 * y, height, taps);
            const float tone = sqrtf(greater(light, 0)) * ((TONES - 1) / 1.6f) + .5f;
            ((uint8_t *)out->samples)[y * row + i] = tones[tone < TONES - 1 ? (int)tone : TONES - 1];
        }
}

void scene_render(scene *s, const paint_tools *tools, dukd_image *out) {
    block b;
    const int width = (int)s->width, height = (int)s->height;
    for (int i = 0; i < s->count; i++) find_bounds(&s->layers[i]);
    for (int y = 0; y < height; y += BLOCK) {
        const int band_count = find_band(s, (float)y);
        for (int x = 0; x < width; x += BLOCK) {
            b.x = (float)x;
            b.y = (float)y;
            b.width = width - x < BLOCK ? width - x : BLOCK;
            b.height = height - y < BLOCK ? height - y : BLOCK;
            render_block(s, tools, band_count, &b);
        }
    }
    develop(s, out);
}
