/* Means, deviations, and the paired difference of two methods with its bootstrap interval. */
#ifndef DUKD_STATISTICS_H
#define DUKD_STATISTICS_H

#include <stdint.h>

double dukd_mean(const double *values, int64_t count);
/* Of a sample (n - 1); NaN for fewer than two. */
double dukd_deviation(const double *values, int64_t count);

typedef struct {
    double mean; /* of a - b over images, each image's values averaged over the seeds first */
    double low,
        high; /* 95 % bootstrap interval: images drawn anew, seeds drawn anew (Efron's percentile interval) */
} dukd_paired;

/* a[seed][image], b[seed][image]: the same images in the same order. Resamples 10,000 times with draws that depend on
 * nothing else, so that the same runs give the same interval. */
dukd_paired dukd_paired_difference(const double *const *a, int64_t a_seeds, const double *const *b,
                                   int64_t b_seeds, int64_t images);

#endif
