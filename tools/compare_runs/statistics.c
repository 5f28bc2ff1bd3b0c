#include "statistics.h"

#include <math.h>
#include <stdlib.h>

#include "common/random.h"

enum { RESAMPLES = 10000 };

double dukd_mean(const double *values, int64_t count) {
    double sum = 0;
    for (int64_t i = 0; i < count; i++) sum += values[i];
    return sum / (double)count;
}

double dukd_deviation(const double *values, int64_t count) {
    double mean = dukd_mean(values, count), sum = 0;
    if (count < 2) return NAN;
    for (int64_t i = 0; i < count; i++) sum += (values[i] - mean) * (values[i] - mean);
    return sqrt(sum / (double)(count - 1));
}

/* One resampling: the difference of two drawn seeds' means on one drawn set of images. r NULL: nothing is drawn anew. */
static double difference(const double *const *a, int64_t a_seeds, const double *const *b, int64_t b_seeds,
                         int64_t images, dukd_random *r) {
    double sum = 0;
    for (int64_t i = 0; i < images; i++) {
        uint64_t image = r ? dukd_random_below(r, (uint64_t)images) : (uint64_t)i;
        double x = 0, y = 0;
        for (int64_t s = 0; s < a_seeds; s++)
            x += a[r ? (int64_t)dukd_random_below(r, (uint64_t)a_seeds) : s][image];
        for (int64_t s = 0; s < b_seeds; s++)
            y += b[r ? (int64_t)dukd_random_below(r, (uint64_t)b_seeds) : s][image];
        sum += x / (double)a_seeds - y / (double)b_seeds;
    }
    return sum / (double)images;
}

static int by_value(const void *x, const void *y) {
    double a = *(const double *)x, b = *(const double *)y;
    return (a > b) - (a < b);
}

dukd_paired dukd_paired_difference(const double *const *a, int64_t a_seeds, const double *const *b,
                                   int64_t b_seeds, int64_t images) {
    dukd_paired out = {difference(a, a_seeds, b, b_seeds, images, NULL), NAN, NAN};
    double *drawn = malloc(RESAMPLES * sizeof *drawn);
    if (!drawn) return out;
    for (uint64_t i = 0; i < RESAMPLES; i++) {
        dukd_random r = dukd_random_stream(0, DUKD_RANDOM_BOOTSTRAP, i);
        drawn[i] = difference(a, a_seeds, b, b_seeds, images, &r);
    }
    qsort(drawn, RESAMPLES, sizeof *drawn, by_value);
    out.low = drawn[RESAMPLES * 25 / 1000];
    out.high = drawn[RESAMPLES * 975 / 1000 - 1];
    free(drawn);
    return out;
}
