/* Telling the caller what went wrong. */
#include "report.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Bytes of the UTF-8 character that begins at s, or 0 where none does. */
static size_t character(const unsigned char *s) {
    static const unsigned least[5] = {0, 0, 0x80, 0x800, 0x10000}; /* shorter forms are not allowed */
    if (s[0] < 0x80) return 1;
    const size_t n = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
    if (s[0] < 0xc0 || s[0] > 0xf4) return 0;
    unsigned code = s[0] & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        if ((s[i] & 0xc0u) != 0x80u) return 0;
        code = code << 6 | (s[i] & 0x3fu);
    }
    return code < least[n] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000) ? 0 : n;
}

/* Copies whole characters, as many as fit before "..."; what is no character becomes one '?', controls blanks. */
static void copy_line(char *out, size_t capacity, const char *text) {
    const unsigned char *s = (const unsigned char *)text;
    size_t at = 0, room_for_dots = 0;
    while (*s != '\0') {
        const size_t n = character(s);
        if (at + (n > 0 ? n : 1) >= capacity) {
            memcpy(out + room_for_dots, "...", sizeof "...");
            return;
        }
        if (n > 1) {
            memcpy(out + at, s, n);
            at += n;
        } else {
            out[at++] = n == 0 ? '?' : *s < 0x20 || *s == 0x7f ? ' ' : (char)*s;
        }
        if (at + sizeof "..." <= capacity) room_for_dots = at;
        s += n > 0 ? n : 1;
        while (n == 0 && (*s & 0xc0u) == 0x80u) s++;
    }
    out[at] = '\0';
}

dukd_error *dukd_report_to(dukd_error *error) {
    return error != NULL && error->struct_size >= DUKD_ERROR_SIZE ? error : NULL;
}

int32_t dukd_report(dukd_error *error, int32_t code, const char *format, ...) {
    char text[4 * sizeof error->message];
    error = dukd_report_to(error);
    if (error == NULL) return code;
    va_list arguments;
    va_start(arguments, format);
    const int length = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    error->code = code;
    copy_line(error->message, sizeof error->message, length < 0 ? "" : text);
    return code;
}
