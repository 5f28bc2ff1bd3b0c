/* Value noise summed over octaves on a torus, and its pyramid. */
#include "noise.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/random.h"

static void add_octave(float *texture, int cells, float amplitude, float *lattice, dukd_random *r) {
    const int step = NOISE_SIDE / cells;
    for (int i = 0; i < cells * cells; i++) lattice[i] = (float)(2 * dukd_random_unit(r) - 1) * amplitude;
    for (int y = 0; y < NOISE_SIDE; y++) {
        const float fy = (float)(y % step) / (float)step, sy = fy * fy * (3 - 2 * fy);
        const float *above = lattice + y / step * cells, *below = lattice + (y / step + 1) % cells * cells;
        for (int x = 0; x < NOISE_SIDE; x++) {
            const float fx = (float)(x % step) / (float)step, sx = fx * fx * (3 - 2 * fx);
            const int left = x / step, right = (left + 1) % cells;
            const float top = above[left] + sx * (above[right] - above[left]);
            const float bottom = below[left] + sx * (below[right] - below[left]);
            texture[y * NOISE_SIDE + x] += top + sy * (bottom - top);
        }
    }
}

static void normalise(float *texture) {
    enum { COUNT = NOISE_SIDE * NOISE_SIDE };
    double sum = 0, squares = 0;
    for (int i = 0; i < COUNT; i++) sum += texture[i];
    const double mean = sum / COUNT;
    for (int i = 0; i < COUNT; i++) squares += (texture[i] - mean) * (texture[i] - mean);
    const double deviation = sqrt(squares / COUNT);
    for (int i = 0; i < COUNT; i++) texture[i] = (float)((texture[i] - mean) / deviation);
}

static void halve(const float *from, float *to, int side) {
    for (int y = 0; y < side; y++)
        for (int x = 0; x < side; x++) {
            const float *p = from + 4 * y * side + 2 * x;
            to[y * side + x] = .25f * (p[0] + p[1] + p[2 * side] + p[2 * side + 1]);
        }
}

int noise_create(noise *n, uint64_t seed) {
    static const float falloff[NOISE_KINDS] = {.5f, .72f}; /* amplitude from octave to octave */
    memset(n, 0, sizeof *n);
    float *lattice = malloc(sizeof(float) * NOISE_SIDE * NOISE_SIDE);
    int good = lattice != NULL;
    for (int kind = 0; kind < NOISE_KINDS && good; kind++) {
        dukd_random r = dukd_random_stream(seed, DUKD_RANDOM_PICTURE, UINT64_MAX - (uint64_t)kind);
        for (int level = 0; level < NOISE_LEVELS && good; level++) {
            const size_t side = NOISE_SIDE >> level;
            good = (n->level[kind][level] = calloc(side * side, sizeof(float))) != NULL;
        }
        if (!good) break;
        float amplitude = 1;
        for (int cells = 4; cells <= NOISE_SIDE; cells *= 2, amplitude *= falloff[kind])
            add_octave(n->level[kind][0], cells, amplitude, lattice, &r);
        normalise(n->level[kind][0]);
        for (int level = 1; level < NOISE_LEVELS; level++)
            halve(n->level[kind][level - 1], n->level[kind][level], NOISE_SIDE >> level);
    }
    free(lattice);
    if (!good) noise_free(n);
    return good ? 0 : -1;
}

void noise_free(noise *n) {
    for (int kind = 0; kind < NOISE_KINDS; kind++)
        for (int level = 0; level < NOISE_LEVELS; level++) free(n->level[kind][level]);
    memset(n, 0, sizeof *n);
}

float noise_at(const noise *n, int kind, float u, float v, float footprint) {
    int level = 0, side = NOISE_SIDE;
    while (footprint > 1.5f && level < NOISE_LEVELS - 1) {
        footprint *= .5f;
        u *= .5f;
        v *= .5f;
        level++;
        side /= 2;
    }
    const float fu = floorf(u), fv = floorf(v), a = u - fu, b = v - fv;
    const int x0 = (int)fu & (side - 1), y0 = (int)fv & (side - 1);
    const int x1 = (x0 + 1) & (side - 1), y1 = (y0 + 1) & (side - 1);
    const float *t = n->level[kind][level];
    const float top = t[y0 * side + x0] + a * (t[y0 * side + x1] - t[y0 * side + x0]);
    const float bottom = t[y1 * side + x0] + a * (t[y1 * side + x1] - t[y1 * side + x0]);
    return top + b * (bottom - top);
}
