/* Random draws. */
#include "draws.h"

#include "philox.h"
#include "report.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct {
    uint64_t u, v;
} block;

static block draw_block(uint64_t seed, const dukd_draw *draw, uint32_t attempt) {
    const uint64_t iteration = (uint64_t)draw->iteration, sample = (uint64_t)draw->sample;
    const uint32_t seed_key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    const uint32_t purpose[4] = {(uint32_t)iteration, (uint32_t)(iteration >> 32),
                                 draw->what + 256u * draw->branch, draw->crop};
    uint32_t key[4], out[4];
    dukd_philox(purpose, seed_key, key);
    const uint32_t counter[4] = {(uint32_t)sample, (uint32_t)(sample >> 32), attempt, 0};
    dukd_philox(counter, key, out);
    return (block){out[0] | (uint64_t)out[1] << 32, out[2] | (uint64_t)out[3] << 32};
}

static uint64_t own_below(uint64_t seed, const dukd_draw *draw, uint64_t bound) {
    const uint64_t biased =
        (UINT64_MAX % bound + 1) % bound; /* 2^64 mod bound: so many values would come up once too often */
    for (uint32_t attempt = 0;; attempt++) {
        const uint64_t v = draw_block(seed, draw, attempt).v;
        if (v >= biased) return v % bound;
    }
}

static bool own_yes(uint64_t seed, const dukd_draw *draw, double p) {
    return (double)(draw_block(seed, draw, 0).u >> 11) * 0x1p-53 < p;
}

static const char *what_name(uint32_t what) {
    switch (what) {
    case DUKD_DRAW_CROP_ROW:
        return "CROP_ROW";
    case DUKD_DRAW_CROP_COL:
        return "CROP_COL";
    case DUKD_DRAW_TILE:
        return "TILE";
    case DUKD_DRAW_FLIP_W:
        return "FLIP_W";
    case DUKD_DRAW_FLIP_H:
        return "FLIP_H";
    case DUKD_DRAW_ROTATE:
        return "ROTATE";
    case DUKD_DRAW_TRANSPOSE:
        return "TRANSPOSE";
    default:
        return "INVERT";
    }
}

/* 1 and *value; 0: no source, or none for this draw; or an error. */
static int32_t ask_source(const dukd_draws *draws, const dukd_draw *draw, uint64_t *value,
                          dukd_error *error) {
    if (draws->source == NULL) return 0;
    const int32_t answer = draws->source(draws->ctx, draw, value);
    if (answer == 0) return 0;
    if (answer < 0) {
        return dukd_report(
            error, answer, "the source of draws failed (%d) at %s of iteration %lld, sample %lld, crop %u",
            answer, what_name(draw->what), (long long)draw->iteration, (long long)draw->sample, draw->crop);
    }
    if (answer > 1 || *value >= draw->bound) {
        return dukd_report(error, DUKD_E_ARGUMENT,
                           "the source of draws returned %d with %llu at %s of iteration %lld, sample %lld, "
                           "crop %u; expected 1 "
                           "and a value below %llu",
                           answer, (unsigned long long)*value, what_name(draw->what),
                           (long long)draw->iteration, (long long)draw->sample, draw->crop,
                           (unsigned long long)draw->bound);
    }
    return 1;
}

dukd_draw dukd_draw_of(uint32_t what, uint32_t branch, int64_t iteration, int64_t sample, uint32_t crop) {
    return (dukd_draw){.struct_size = DUKD_DRAW_SIZE,
                       .what = what,
                       .branch = branch,
                       .crop = crop,
                       .iteration = iteration,
                       .sample = sample};
}

int32_t dukd_draw_below(const dukd_draws *draws, dukd_draw draw, uint64_t bound, uint64_t *value,
                        dukd_error *error) {
    draw.bound = bound;
    const int32_t answer = ask_source(draws, &draw, value, error);
    if (answer < 0) return answer;
    if (answer == 0) *value = own_below(draws->seed, &draw, bound);
    return DUKD_OK;
}

int32_t dukd_draw_yes(const dukd_draws *draws, dukd_draw draw, double p, uint32_t *value, dukd_error *error) {
    uint64_t given = 0;
    draw.bound = 2;
    draw.probability = p;
    const int32_t answer = ask_source(draws, &draw, &given, error);
    if (answer < 0) return answer;
    *value = answer == 1 ? (uint32_t)given : own_yes(draws->seed, &draw, p);
    return DUKD_OK;
}

int32_t dukd_draw_turns(const dukd_draws *draws, dukd_draw draw, double p, uint32_t *value,
                        dukd_error *error) {
    uint64_t given = 0;
    draw.bound = 4;
    draw.probability = p;
    const int32_t answer = ask_source(draws, &draw, &given, error);
    if (answer < 0) return answer;
    if (answer == 0 && own_yes(draws->seed, &draw, p)) given = 1 + own_below(draws->seed, &draw, 3);
    *value = (uint32_t)given;
    return DUKD_OK;
}

int32_t dukd_draw_untaken(const dukd_draws *draws, dukd_draw draw, uint64_t bound, uint32_t *taken,
                          uint32_t n_taken, uint32_t *value, dukd_error *error) {
    uint64_t chosen = 0;
    draw.bound = bound;
    const int32_t answer = ask_source(draws, &draw, &chosen, error);
    if (answer < 0) return answer;
    if (answer == 0)
        chosen = own_below(draws->seed, &draw, bound - n_taken); /* the chosen-th of those that are left */
    uint32_t at = 0;
    for (; at < n_taken && taken[at] <= chosen; at++) {
        if (answer == 0) {
            chosen++;
        } else if (taken[at] == chosen) {
            return dukd_report(error, DUKD_E_ARGUMENT,
                               "the source of draws gave %llu twice at TILE of iteration %lld, sample %lld, "
                               "crop %u; the tiles "
                               "of an image are all different",
                               (unsigned long long)chosen, (long long)draw.iteration, (long long)draw.sample,
                               draw.crop);
        }
    }
    for (uint32_t i = n_taken; i > at; i--) taken[i] = taken[i - 1];
    taken[at] = (uint32_t)chosen;
    *value = (uint32_t)chosen;
    return DUKD_OK;
}
