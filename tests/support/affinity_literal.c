/* See affinity_literal.h. */
#include "support/affinity_literal.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* [P][C]: column p of image n, divided by its norm plus 1e-8; norm[p] too */
static double *unit_columns(const affinity_map *f, int64_t n, double *norm) {
    const int64_t channels = f->shape[1], w = f->shape[3], pixels = f->shape[2] * w;
    double *unit = malloc((size_t)(pixels * channels) * sizeof *unit);
    assert_non_null(unit);
    for (int64_t p = 0; p < pixels; p++) {
        double squares = 0;
        for (int64_t c = 0; c < channels; c++) {
            unit[p * channels + c] = f->get(f->tensor, n, c, p / w, p % w);
            squares += unit[p * channels + c] * unit[p * channels + c];
        }
        norm[p] = sqrt(squares);
        for (int64_t c = 0; c < channels; c++) unit[p * channels + c] /= norm[p] + 1e-8;
    }
    return unit;
}

static double dot(const double *a, const double *b, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += a[i] * b[i];
    return sum;
}

double affinity_literal(const affinity_map *s, const affinity_map *t, double factor, double *grad,
                        double *size) {
    const int64_t cs = s->shape[1], ct = t->shape[1], pixels = s->shape[2] * s->shape[3];
    double total = 0, *norm = malloc((size_t)pixels * sizeof *norm),
           *slope = malloc((size_t)cs * sizeof *slope);
    assert_true(norm != NULL && slope != NULL);
    *size = 0;
    for (int64_t n = 0; n < s->shape[0]; n++) {
        double *ut = unit_columns(t, n, norm), *us = unit_columns(s, n, norm);
        for (int64_t p = 0; p < pixels; p++) {
            memset(slope, 0, (size_t)cs * sizeof *slope);
            for (int64_t q = 0; q < pixels; q++) {
                const double d = dot(us + p * cs, us + q * cs, cs) - dot(ut + p * ct, ut + q * ct, ct);
                total += fabs(d);
                if (p == q) continue; /* A_pp does not move with f_p but for eps */
                for (int64_t c = 0; c < cs; c++)
                    slope[c] += 2 * (d > 0 ? 1 : d < 0 ? -1 : 0) * us[q * cs + c];
            }
            const double along = dot(slope, us + p * cs, cs);
            for (int64_t c = 0; c < cs && grad != NULL; c++) {
                *size = fmax(*size, factor * (fabs(slope[c]) + 2) / (norm[p] + 1e-8) * (norm[p] != 0));
                grad[(n * cs + c) * pixels + p] =
                    norm[p] == 0 ? 0
                                 : factor * (slope[c] / (norm[p] + 1e-8) - us[p * cs + c] * along / norm[p]);
            }
        }
        free(us);
        free(ut);
    }
    free(norm);
    free(slope);
    return total;
}
