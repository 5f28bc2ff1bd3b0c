/* Edit distance between short names, and the nearest of a list. */
#include "common/nearest.h"

#include <string.h>

enum { LONGEST = 63 };

static int lower(char c) {
    return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : (unsigned char)c;
}

static int least(int a, int b) {
    return a < b ? a : b;
}

/* Optimal string alignment distance of two names of at most LONGEST bytes. */
static int distance(const char *a, size_t a_length, const char *b, size_t b_length) {
    int rows[3][LONGEST + 1]; /* the last but one, the last and this row of the table */
    int *before = rows[0], *last = rows[1], *now = rows[2];
    for (size_t j = 0; j <= b_length; j++) last[j] = (int)j;
    for (size_t i = 1; i <= a_length; i++) {
        now[0] = (int)i;
        for (size_t j = 1; j <= b_length; j++) {
            int differ = lower(a[i - 1]) != lower(b[j - 1]);
            now[j] = least(last[j - 1] + differ, least(last[j], now[j - 1]) + 1);
            if (i > 1 && j > 1 && lower(a[i - 1]) == lower(b[j - 2]) && lower(a[i - 2]) == lower(b[j - 1]))
                now[j] = least(now[j], before[j - 2] + 1);
        }
        int *oldest = before;
        before = last;
        last = now;
        now = oldest;
    }
    return last[b_length];
}

int32_t dukd_nearest(const char *name, const char *const *names, int32_t count, size_t stride) {
    size_t length = strlen(name);
    if (length == 0 || length > LONGEST) return -1;
    int best = (int)(length + 2) / 3 + 1;
    int32_t found = -1;
    for (int32_t i = 0; i < count; i++) {
        const char *other = *(const char *const *)((const char *)names + (size_t)i * stride);
        size_t other_length = strlen(other);
        if (other_length > LONGEST) continue;
        int d = distance(name, length, other, other_length);
        if (d >= best) continue;
        best = d;
        found = i;
    }
    return found;
}
