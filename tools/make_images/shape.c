/* Signed distances of the shapes. */
#include "shape.h"

#include <math.h>

void shape_rotate(shape *s, float angle) {
    s->cosine = cosf(angle);
    s->sine = sinf(angle);
}

static point turned(const shape *s, float x, float y) {
    const float dx = x - s->centre.x, dy = y - s->centre.y;
    return (point){s->cosine * dx + s->sine * dy, s->cosine * dy - s->sine * dx};
}

point shape_local(const shape *s, float x, float y) {
    const point p = turned(s, x, y);
    return (point){p.x / s->size.x, p.y / s->size.y};
}

/* First order in the distance: exact at the edge, where it matters. */
static float ellipse(point p, point size) {
    const float ax = p.x / size.x, ay = p.y / size.y;
    const float k = sqrtf(ax * ax + ay * ay);
    const float gx = ax / size.x, gy = ay / size.y, gradient = sqrtf(gx * gx + gy * gy);
    const float least = (size.x < size.y ? size.x : size.y);
    return k < .3f || gradient <= 0 ? (k - 1) * least : k * (k - 1) / gradient;
}

static float box(point p, point size, float round) {
    const float dx = fabsf(p.x) - size.x + round, dy = fabsf(p.y) - size.y + round;
    const float ox = dx > 0 ? dx : 0, oy = dy > 0 ? dy : 0;
    const float inside = dx > dy ? dx : dy;
    return sqrtf(ox * ox + oy * oy) + (inside < 0 ? inside : 0) - round;
}

/* Two circles through both ends (+-a, 0), bulging b to either side. */
static float leaf(point p, point size) {
    const float a = size.x, b = size.y;
    const float radius = (a * a + b * b) / (2 * b),
                off = radius - b; /* of a circle, and of its centre from the axis */
    const float x = fabsf(p.x), y = fabsf(p.y);
    if ((x - a) * off > a * y) return length_of(x - a, y); /* beyond the tip */
    return length_of(x, y + off) - radius;
}

static float polygon(const shape *s, float x, float y) {
    float nearest = 1e30f;
    int inside = 0;
    for (int i = 0, j = s->count - 1; i < s->count; j = i++) {
        const point a = s->points[i], b = s->points[j];
        const float ex = b.x - a.x, ey = b.y - a.y, wx = x - a.x, wy = y - a.y;
        float t = (wx * ex + wy * ey) / (ex * ex + ey * ey + 1e-12f);
        t = t < 0 ? 0 : t > 1 ? 1 : t;
        const float dx = wx - t * ex, dy = wy - t * ey, d = dx * dx + dy * dy;
        if (d < nearest) nearest = d;
        if ((a.y > y) != (b.y > y) && wx < ex * wy / ey) inside = !inside;
    }
    return inside ? -sqrtf(nearest) : sqrtf(nearest);
}

static float stroke(const shape *s, float x, float y) {
    float nearest = 1e30f;
    const float steps = (float)(s->count - 1);
    for (int i = 0; i + 1 < s->count; i++) {
        const point a = s->points[i], b = s->points[i + 1];
        const float ex = b.x - a.x, ey = b.y - a.y, wx = x - a.x, wy = y - a.y;
        float t = (wx * ex + wy * ey) / (ex * ex + ey * ey + 1e-12f);
        t = t < 0 ? 0 : t > 1 ? 1 : t;
        const float width = s->size.x + (s->size.y - s->size.x) * ((float)i + t) / steps;
        const float d = length_of(wx - t * ex, wy - t * ey) - width;
        if (d < nearest) nearest = d;
    }
    return nearest;
}

float shape_distance(const shape *s, float x, float y) {
    switch (s->kind) {
    case SHAPE_EVERYWHERE:
        return -1e6f;
    case SHAPE_ELLIPSE:
        return ellipse(turned(s, x, y), s->size);
    case SHAPE_BOX:
        return box(turned(s, x, y), s->size, s->round);
    case SHAPE_LEAF:
        return leaf(turned(s, x, y), s->size);
    case SHAPE_RING:
        return fabsf(length_of(x - s->centre.x, y - s->centre.y) - s->size.x) - s->size.y;
    case SHAPE_POLYGON:
        return polygon(s, x, y);
    case SHAPE_STROKE:
        return stroke(s, x, y);
    }
    return 1e6f;
}

void shape_bounds(const shape *s, point *low, point *high) {
    if (s->kind == SHAPE_EVERYWHERE) {
        *low = (point){-1e6f, -1e6f};
        *high = (point){1e6f, 1e6f};
    } else if (s->kind == SHAPE_POLYGON || s->kind == SHAPE_STROKE) {
        const float wider = s->size.x > s->size.y ? s->size.x : s->size.y;
        const float margin = s->kind == SHAPE_STROKE ? wider : 0;
        *low = *high = s->points[0];
        for (int i = 1; i < s->count; i++) {
            low->x = lesser(low->x, s->points[i].x);
            low->y = lesser(low->y, s->points[i].y);
            high->x = greater(high->x, s->points[i].x);
            high->y = greater(high->y, s->points[i].y);
        }
        *low = (point){low->x - margin, low->y - margin};
        *high = (point){high->x + margin, high->y + margin};
    } else {
        float rx, ry;
        if (s->kind == SHAPE_RING) {
            rx = ry = s->size.x + s->size.y;
        } else {
            rx = fabsf(s->cosine) * s->size.x + fabsf(s->sine) * s->size.y;
            ry = fabsf(s->sine) * s->size.x + fabsf(s->cosine) * s->size.y;
        }
        *low = (point){s->centre.x - rx, s->centre.y - ry};
        *high = (point){s->centre.x + rx, s->centre.y + ry};
    }
}
