/* Kernel l1, plain reference. */
#include "cpu_kernels_ref.h"

#include <math.h>

/* factor x sign(d); sign(0) is 0, sign(NaN) is NaN */
static float signed_factor(float factor, float d) {
    if (d > 0.0f) return factor;
    if (d < 0.0f) return -factor;
    return d == 0.0f ? 0.0f : dukd_f32_of_bits(0x7fc00000u);
}

static void sum_piece(const dukd_l1_job *job, int64_t sample, int64_t piece, double sum[2]) {
    const uint32_t back = job->back != NULL ? job->back[sample] : 0;
    const bool invert = (back & DUKD_AUGMENT_INVERT) != 0;
    const int64_t channels = job->value.c, cols = job->value.w, area = job->value.h * cols;
    double lane[2][DUKD_L1_LANES] = {{0.0}};
    int64_t end = (piece + 1) * DUKD_L1_PIECE;
    if (end > job->count) end = job->count;
    for (int64_t e = piece * DUKD_L1_PIECE; e < end; e++) {
        const int64_t c = job->channels_last ? e % channels : e / area;
        const int64_t pixel = job->channels_last ? e / channels : e % area;
        const int64_t row = pixel / cols, col = pixel % cols;
        const dukd_plane value = dukd_view_plane(&job->value, sample, c);
        const float v = dukd_plane_load(&value, row, col), restored = invert ? 1.0f - v : v;
        float gradient = 0.0f;
        for (uint32_t t = 0; t < job->n_targets; t++) {
            const dukd_plane target = dukd_plane_restore(dukd_view_plane(&job->target[t], sample, c), back);
            const float d = restored - dukd_plane_load(&target, row, col);
            lane[t][e % DUKD_L1_LANES] += (double)fabsf(d);
            const float g = signed_factor(invert ? -job->factor[t] : job->factor[t], d);
            gradient = t == 0 ? g : gradient + g;
        }
        if (job->grad.data != NULL) {
            const dukd_plane grad = dukd_view_plane(&job->grad, sample, c);
            dukd_plane_store(&grad, row, col, gradient);
        }
    }
    for (uint32_t t = 0; t < job->n_targets; t++) {
        sum[t] = 0.0;
        for (int i = 0; i < DUKD_L1_LANES; i++) {
            sum[t] += lane[t][i];
        }
    }
}

void dukd_l1_ref(const dukd_l1_job *job, int64_t piece, int64_t piece_end, double *sum) {
    for (int64_t i = piece; i < piece_end; i++) {
        sum_piece(job, i / job->pieces, i % job->pieces, sum + 2 * (i - piece));
    }
}
