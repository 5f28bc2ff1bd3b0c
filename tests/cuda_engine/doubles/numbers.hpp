/* Elements of the doubles' tensors, f32 or bf16, as double. */
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

namespace doubles_numbers {

inline double load(const char *at, bool is_f32, int64_t i) {
    uint32_t word = 0;
    if (is_f32) {
        memcpy(&word, at + 4 * i, 4);
    } else {
        uint16_t half;
        memcpy(&half, at + 2 * i, 2);
        word = uint32_t(half) << 16;
    }
    float f;
    memcpy(&f, &word, 4);
    return f;
}

/* To nearest, ties to even, leaving `bits` of the 23 of an f32's fraction. */
inline float rounded(float f, int bits) {
    uint32_t u;
    if (!std::isfinite(f)) return f;
    memcpy(&u, &f, 4);
    const int drop = 23 - bits;
    u += (1u << (drop - 1)) - 1 + ((u >> drop) & 1u);
    u &= ~((1u << drop) - 1);
    memcpy(&f, &u, 4);
    return f;
}

inline void store(char *at, bool is_f32, int64_t i, double value) {
    float f = static_cast<float>(value);
    if (is_f32) {
        memcpy(at + 4 * i, &f, 4);
        return;
    }
    f = rounded(f, 7);
    uint32_t u;
    memcpy(&u, &f, 4);
    const uint16_t half = static_cast<uint16_t>(std::isnan(f) ? 0x7fc0 : u >> 16);
    memcpy(at + 2 * i, &half, 2);
}

} // namespace doubles_numbers
