/* Shapes as signed distances, from which come antialiased edges, blurred edges and shadows. All lengths are canvas pixels. */
#ifndef DUKD_SHAPE_H
#define DUKD_SHAPE_H

#include <math.h>

typedef struct {
    float x, y;
} point;

/* fminf, fmaxf and hypotf without their care for NaN and overflow, which costs a call. */
static inline float lesser(float a, float b) {
    return a < b ? a : b;
}
static inline float greater(float a, float b) {
    return a > b ? a : b;
}
static inline float length_of(float x, float y) {
    return sqrtf(x * x + y * y);
}

typedef enum {
    SHAPE_EVERYWHERE,
    SHAPE_ELLIPSE, /* half axes size.x, size.y */
    SHAPE_BOX,     /* half sides size.x, size.y; corners rounded by `round` */
    SHAPE_LEAF,    /* two arcs that meet in points: half length size.x, half width size.y */
    SHAPE_RING,    /* radius size.x, half thickness size.y */
    SHAPE_POLYGON, /* points, absolute */
    SHAPE_STROKE, /* a line through the points, absolute; half width from size.x at its start to size.y at its end */
} shape_kind;

enum { SHAPE_MAX_POINTS = 10 };

typedef struct {
    shape_kind kind;
    point centre, size;
    float cosine, sine; /* of the rotation about the centre */
    float round;
    int count;
    point points[SHAPE_MAX_POINTS];
} shape;

/* Distance to the edge, negative inside; exact near the edge, and grows by no more than about the way gone. */
float shape_distance(const shape *s, float x, float y);
/* A box around the shape: low and high corner. SHAPE_EVERYWHERE: all of the plane. */
void shape_bounds(const shape *s, point *low, point *high);
void shape_rotate(shape *s, float angle);
/* The place in the shape's own frame: (0, 0) its centre, +-1 its ends. */
point shape_local(const shape *s, float x, float y);

#endif
