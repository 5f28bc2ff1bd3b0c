/* Telling the caller what went wrong. */
#include "report.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Shortens text (of `capacity` bytes, filled to the brim) to whole UTF-8 characters and an ellipsis. */
static void cut(char *text, size_t capacity) {
    size_t end = capacity - sizeof "...";
    while (end > 0 && ((unsigned char)text[end] & 0xc0u) == 0x80u) end--;
    memcpy(text + end, "...", sizeof "...");
}

dukd_error *dukd_report_to(dukd_error *error) {
    return error != NULL && error->struct_size >= DUKD_ERROR_SIZE ? error : NULL;
}

int32_t dukd_report(dukd_error *error, int32_t code, const char *format, ...) {
    error = dukd_report_to(error);
    if (error == NULL) return code;
    error->code = code;
    va_list arguments;
    va_start(arguments, format);
    const int length = vsnprintf(error->message, sizeof error->message, format, arguments);
    va_end(arguments);
    if (length < 0) error->message[0] = '\0';
    if (length >= (int)sizeof error->message) cut(error->message, sizeof error->message);
    for (char *c = error->message; *c != '\0'; c++) {
        if ((unsigned char)*c < 0x20u || *c == 0x7f) *c = ' ';
    }
    return code;
}
