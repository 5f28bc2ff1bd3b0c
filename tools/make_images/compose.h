/* What is in a picture: recipes that put painted shapes into a scene. */
#ifndef DUKD_COMPOSE_H
#define DUKD_COMPOSE_H

#include <stdint.h>

#include "common/random.h"
#include "scene.h"

/* Picture `index` of a series is of kind index modulo this. */
enum { COMPOSE_KINDS = 8 };

/* Fills a cleared scene: a function of (seed, index) and the scene's size alone. */
void compose_picture(scene *s, uint64_t seed, uint64_t index);

/* ---- for the recipes ---- */

typedef struct {
    dukd_random random;
    float unit;      /* the smaller side of the canvas */
    colour hues[4];  /* the picture's colours, of full brightness */
    float vividness; /* 0 grey .. 1 */
    point sun;       /* direction of the light, length .8 */
} artist;

float artist_uniform(artist *a, float low, float high);
float artist_log_uniform(artist *a, float low, float high);
int artist_pick(artist *a, int count);           /* 0 .. count - 1 */
int artist_chance(artist *a, float probability); /* 1 with this probability */
/* A radius with density r^-3 between low and high: the sizes of things in natural images. */
float artist_radius(artist *a, float low, float high);
point artist_point(artist *a, const scene *s, float margin); /* in the canvas, or up to margin outside */

colour artist_colour(artist *a);                           /* of the picture's colours, any brightness */
colour artist_shade(artist *a, colour of, float contrast); /* the same colour, lighter or darker */
/* Any pattern that suits a thing of this size, in two colours, with grain and light. */
void artist_paint(artist *a, layer *l, float size);
void artist_pattern(artist *a, paint *p, pattern_kind kind, point origin, float angle, float period);
/* A thing of random form. */
void artist_shape(artist *a, layer *l, point centre, float radius);
void artist_shadow(artist *a, layer *l, float size);
/* A heap of leaves, as a tree or a bush from afar. */
void artist_foliage(artist *a, scene *s, point centre, point size);
/* A surface over the whole canvas, behind all. */
layer *artist_background(artist *a, scene *s);

/* Recipes; each adds layers from the back to the front. */
void compose_leaves(scene *s, artist *a); /* dead leaves: things of all sizes, one before the other */
void compose_plants(scene *s, artist *a); /* blades, leaves and blossoms */
void compose_still(scene *s, artist *a);  /* shaded bodies on a table, out of focus behind */
void compose_hide(scene *s, artist *a);   /* fur, pebbles, zebra stripes */
void compose_street(scene *s, artist *a); /* houses in perspective, poles and wires */
void compose_page(scene *s, artist *a);   /* print, signs and labels */
void compose_cloth(scene *s, artist *a);  /* woven and printed cloth in folds */
void compose_shore(scene *s, artist *a);  /* sky, hills, water, rocks */

#endif
