/* Well-formed UTF-8. */
#include "common/utf8.h"

int dukd_utf8_length(const unsigned char *p, size_t left) {
    if (left == 0) return 0;
    if (p[0] < 0x80) return 1;
    /* Table 3-7 of the Unicode standard: the second byte's range depends on the first. */
    unsigned low = 0x80, high = 0xBF;
    int length;
    if (p[0] >= 0xC2 && p[0] <= 0xDF) {
        length = 2;
    } else if (p[0] >= 0xE0 && p[0] <= 0xEF) {
        length = 3;
        if (p[0] == 0xE0) low = 0xA0;
        if (p[0] == 0xED) high = 0x9F;
    } else if (p[0] >= 0xF0 && p[0] <= 0xF4) {
        length = 4;
        if (p[0] == 0xF0) low = 0x90;
        if (p[0] == 0xF4) high = 0x8F;
    } else {
        return 0;
    }
    if (left < (size_t)length || p[1] < low || p[1] > high) return 0;
    for (int i = 2; i < length; i++)
        if ((p[i] & 0xC0) != 0x80) return 0;
    return length;
}
