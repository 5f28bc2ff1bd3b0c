/* Textures of 1/f noise, made once and then looked up: what gives surfaces the spectrum of natural images. */
#ifndef DUKD_NOISE_H
#define DUKD_NOISE_H

#include <stdint.h>

enum { NOISE_CLOUD, NOISE_ROUGH, NOISE_KINDS }; /* amplitude falls with frequency as about 1/f; as 1/f^.5 */
enum { NOISE_SIDE = 512, NOISE_LEVELS = 8 };    /* texels a side; a pyramid of halved textures */

/* Periodic textures of mean 0 and deviation 1, level after level. */
typedef struct {
    float *level[NOISE_KINDS][NOISE_LEVELS];
} noise;

int noise_create(noise *n, uint64_t seed); /* 0, or -1: no memory */
void noise_free(noise *n);
/* The value at (u, v), in texels; footprint: texels that one sample covers, which chooses the level. */
float noise_at(const noise *n, int kind, float u, float v, float footprint);

/* A number in [0, 1) for a cell of a pattern. */
static inline float noise_hash(int32_t i, int32_t j, uint32_t salt) {
    uint32_t h = (uint32_t)i * 0x9E3779B1u ^ (uint32_t)j * 0x85EBCA77u ^ salt * 0xC2B2AE3Du;
    h = (h ^ h >> 15) * 0x2C1B3C6Du;
    h = (h ^ h >> 12) * 0x297A2D39u;
    return (float)((h ^ h >> 15) >> 8) * 0x1p-24f;
}

#endif
