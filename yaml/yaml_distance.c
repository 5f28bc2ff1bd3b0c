/* How far a misspelled word is from the right one. */
#include "dukd_yaml.h"

static int lower(char c) {
    return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : (unsigned char)c;
}

static unsigned least(unsigned a, unsigned b) {
    return a < b ? a : b;
}

/* Optimal string alignment, row by row; a row needs the two above it. */
unsigned dukd_yaml_distance(const char *a, size_t n, const char *b, size_t m) {
    unsigned rows[3][DUKD_YAML_WORD + 1];
    if (n > DUKD_YAML_WORD || m > DUKD_YAML_WORD) return DUKD_YAML_WORD;
    for (size_t j = 0; j <= m; j++) rows[0][j] = (unsigned)j;
    for (size_t i = 1; i <= n; i++) {
        unsigned *now = rows[i % 3];
        const unsigned *up = rows[(i + 2) % 3], *up2 = rows[(i + 1) % 3];
        now[0] = (unsigned)i;
        for (size_t j = 1; j <= m; j++) {
            const unsigned differ = lower(a[i - 1]) != lower(b[j - 1]);
            now[j] = least(up[j - 1] + differ, least(up[j], now[j - 1]) + 1);
            if (i > 1 && j > 1 && lower(a[i - 1]) == lower(b[j - 2]) && lower(a[i - 2]) == lower(b[j - 1]))
                now[j] = least(now[j], up2[j - 2] + 1);
        }
    }
    return rows[n % 3][m];
}
