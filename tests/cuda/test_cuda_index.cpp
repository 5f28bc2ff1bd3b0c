/* How a block of l1 finds its tile and an element its place: products in place of divisions, for tensors of up to 2^31 tiles and places
 * beyond 2^31, against divisions and 128-bit products. The kernels' own functions, called on the host. */
#include "cuda_l1_device.h"

#include <cstdio>
#include <cstdlib>

__extension__ typedef __int128 wide;

static int failures;

static void expect(bool right, const char *what, int64_t a, int64_t b) {
    if (right) return;
    if (failures++ < 10)
        printf("%s: wrong for %lld, %lld\n", what, static_cast<long long>(a), static_cast<long long>(b));
}

static uint64_t state = 88172645463325252u;
static uint64_t random_bits() {
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return state;
}

static void quotients_by(int64_t d) {
    const dukd_cuda_divider v = dukd_cuda_divider_of(d);
    auto check = [&](int64_t n) {
        if (n < 0 || n > INT32_MAX) return;
        uint32_t rest = static_cast<uint32_t>(n);
        const uint32_t quotient = dukd_cuda_split(&v, &rest);
        expect(quotient == n / d && rest == n % d, "a quotient", n, d);
    };
    for (int64_t n = 0; n < 3; n++) check(n), check(INT32_MAX - n);
    const int64_t multiples[] = {1, 2, 3, INT32_MAX / d / 2, INT32_MAX / d};
    for (int64_t m : multiples) {
        for (int64_t by = -1; by < 2; by++) check(m * d + by);
    }
    for (int i = 0; i < 64; i++) check(static_cast<int64_t>(random_bits() >> 33));
}

static void every_divisor() {
    for (int64_t d = 1; d < 5000; d++) quotients_by(d);
    for (int shift = 12; shift < 32; shift++) {
        for (int64_t by = -2; by < 3; by++) {
            const int64_t d = (INT64_C(1) << shift) + by;
            if (d <= INT32_MAX) quotients_by(d);
        }
    }
    for (int i = 0; i < 5000; i++)
        quotients_by(static_cast<int64_t>(random_bits() >> (33 + i % 31)) + (i % 31 > 0));
}

static void tiles_of(int64_t n, int64_t c, int64_t h, int64_t w) {
    dukd_cuda_l1 p = {};
    p.tiles_h = (h - 1) / TILE + 1, p.tiles_w = (w - 1) / TILE + 1;
    p.by_tiles = dukd_cuda_divider_of(p.tiles_h * p.tiles_w);
    p.by_tiles_w = dukd_cuda_divider_of(p.tiles_w);
    p.by_planes = dukd_cuda_divider_of(c);
    const int64_t blocks = n * c * p.tiles_h * p.tiles_w;
    expect(blocks <= INT32_MAX, "the case itself", blocks, 0);
    for (int i = 0; i < 2000; i++) {
        const int64_t block =
            i == 0 ? blocks - 1 : static_cast<int64_t>(random_bits() % static_cast<uint64_t>(blocks));
        emulation::here.block.x = static_cast<unsigned>(block);
        const l1_tile t = l1_tile_of(p);
        const int64_t plane = block / (p.tiles_h * p.tiles_w), tile = block % (p.tiles_h * p.tiles_w);
        expect(t.n == plane / c && t.c == plane % c && t.row == tile / p.tiles_w * TILE &&
                   t.col == tile % p.tiles_w * TILE,
               "a tile", block, blocks);
    }
}

/* strides as of a tensor of more than 2^31 elements, or negative */
static void places() {
    for (int i = 0; i < 100000; i++) {
        dukd_cuda_view v = {};
        wide want = 0;
        uint32_t index[4];
        for (int k = 0; k < 4; k++) {
            v.stride[k] = static_cast<int64_t>(random_bits() >> (30 + random_bits() % 32));
            if (random_bits() % 2 != 0) v.stride[k] = -v.stride[k];
            index[k] = static_cast<uint32_t>(random_bits() >> (36 + random_bits() % 24));
            want += static_cast<wide>(v.stride[k]) * index[k];
        }
        const int64_t got = dukd_index(v, index[0], index[1], index[2], index[3]);
        expect(got == want, "a place", got, static_cast<int64_t>(want));
    }
}

int main() {
    every_divisor();
    tiles_of(1, 1, 1, 1);
    tiles_of(16, 3, 192, 192);
    tiles_of(700, 3, 32000, 32000); /* 2.15e12 elements, 2^31 tiles less 2 in 100 */
    tiles_of(1, 1, INT32_MAX - TILE, 33);
    tiles_of(1, 31, 33, INT32_MAX / 31);
    tiles_of(1 << 15, (1 << 15) - 1, 40, 5);
    places();
    if (failures > 0) printf("%d wrong\n", failures);
    return failures > 0;
}
