/* A picture as a stack of painted shapes, and its rendering. */
#ifndef DUKD_SCENE_H
#define DUKD_SCENE_H

#include "data/image.h"
#include "paint.h"
#include "shape.h"

enum { SCENE_SAMPLES = 2 };       /* canvas pixels a pixel of the picture, in each direction */
enum { SCENE_MAX_LAYERS = 6000 }; /* more are left out */

typedef struct {
    shape shape;
    paint paint;
    float softness; /* width of the edge, canvas pixels: 1 is sharp */
    float opacity;  /* 0 .. 1 */
    point shadow;   /* where its shadow falls on what is behind, relative to it, canvas pixels */
    float shadow_softness, shadow_strength; /* strength 0: none */
    point low, high;                        /* bounds with softness and shadow; filled in by scene_render */
} layer;

typedef struct {
    layer *layers; /* SCENE_MAX_LAYERS + 1, from the back to the front; the last one takes what is left out */
    int count;
    float width, height;  /* of the canvas, SCENE_SAMPLES times the picture's */
    float *canvas, *rows; /* height x width x 3 linear light; the same of the picture's width */
    int *band;            /* for scene_render: the layers that meet a row of blocks */
    float sharpness;      /* of the lens: 0 soft .. 1 sharp */
    float exposure;
} scene;

int scene_create(scene *s, int32_t width, int32_t height); /* of the picture; 0, or -1: no memory */
void scene_free(scene *s);
void scene_clear(scene *s);
/* A new layer in front of all others: zeroed, opaque, sharp, painted plain. */
layer *scene_add(scene *s);
/* Draws the picture into an 8-bit image of the scene's size. */
void scene_render(scene *s, const paint_tools *tools, dukd_image *out);

#endif
