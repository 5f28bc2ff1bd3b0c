/* The spy's images, and the pattern by which it weighs outputs. Both are the same in every run, whatever the host's data. */
#include <stdlib.h>

#include "spy.h"

static double random_of(uint64_t a, uint64_t b, uint64_t c) {
    return toy_unit((a * 0x9e3779b97f4a7c15u + b) * 0xd1342543de82ef95u + c);
}

double spy_pattern(int64_t image, int64_t element, const int64_t shape[4]) {
    const int64_t channel = element / (shape[2] * shape[3]);
    const double size = 0.5 + 0.5 * random_of(3, (uint64_t)image, (uint64_t)element);
    return channel % 2 ? -size : size;
}

static toy_layout layout_of(char kind) {
    switch (kind) {
    case 'n':
        return TOY_NULL_STRIDES;
    case 'c':
        return TOY_CHANNELS_LAST;
    case 'k':
        return TOY_BACKWARDS;
    case 'g':
        return TOY_PADDED;
    case 'f':
        return TOY_OFFSET;
    default:
        return TOY_DENSE;
    }
}

/* Smooth with some noise, as photographs are; in [0, 1]. */
static float pixel(int other, int64_t image, int64_t c, int64_t y, int64_t x) {
    const double slope = random_of(5 + (uint64_t)other, (uint64_t)image, (uint64_t)c);
    const double wave = (double)((x + 2 * y + 3 * c) % 7) / 7;
    const double noise = random_of(9 + (uint64_t)other, (uint64_t)(image * 4 + c), (uint64_t)(y * 65536 + x));
    return (float)(0.4 * slope + 0.3 * wave + 0.3 * noise);
}

int spy_fill_input(dukd_session *s, spy_live *l, uint32_t i, char kind) {
    const int64_t *z = s->lr_shape;
    if (kind == 'l') {
        l->alias[i] = s->batch[0];
        return 0;
    }
    float *values = malloc((uint64_t)toy_count(z) * sizeof *values);
    if (!values || toy_tensor_make(&l->image[i], z, s->dtype, layout_of(kind))) {
        free(values);
        return -1;
    }
    float *to = values;
    for (int64_t n = 0; n < z[0]; n++) {
        const int64_t image = kind == 'r' && n > 0 ? n - 1 : n;
        for (int64_t c = 0; c < z[1]; c++)
            for (int64_t y = 0; y < z[2]; y++)
                for (int64_t x = 0; x < z[3]; x++)
                    *to++ = pixel(kind == 'q', (int64_t)s->micro * z[0] + image, c, y, x);
    }
    toy_write(&l->image[i].t, values);
    free(values);
    return 0;
}
