/* What the spy was told, and what it notes. */
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "spy.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

int spy_told(const char *word) {
    const char *words = getenv("DUKD_SPY_TEST");
    const size_t n = strlen(word);
    for (const char *s = words; s && (s = strstr(s, word)); s += n)
        if ((s == words || s[-1] == ',') && (s[n] == ',' || !s[n])) return 1;
    return 0;
}

int spy_shall_fail(const char *call) {
    static atomic_int calls;
    const char *told = getenv("DUKD_SPY_FAIL");
    const size_t n = strlen(call);
    if (!told || strncmp(told, call, n) != 0 || told[n] != '@') return 0;
    return atomic_fetch_add(&calls, 1) + 1 == atoi(told + n + 1);
}

double spy_scale(void) {
    const char *told = getenv("DUKD_SPY_SCALE");
    return told ? strtod(told, NULL) : 1;
}

static void write_line(const char *text, int size, int room) {
    static FILE *file;
    pthread_mutex_lock(&lock);
    const char *path = getenv("DUKD_SPY_LOG");
    if (!file && path) file = fopen(path, "ae");
    if (file && size > 0 && size < room) {
        fprintf(file, "%s\n", text);
        fflush(file); /* the host may be killed next */
    }
    pthread_mutex_unlock(&lock);
}

void spy_note(const char *format, ...) {
    char text[4096];
    va_list args;
    va_start(args, format);
    int size = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    write_line(text, size, (int)sizeof text);
}

const char *spy_json(char *out, uint64_t size, const char *text) {
    uint64_t used = 0;
    for (const unsigned char *s = (const unsigned char *)(text ? text : "(NULL)"); *s && used + 8 < size; s++)
        if (*s == '"' || *s == '\\')
            used += (uint64_t)sprintf(out + used, "\\%c", *s);
        else if (*s < 0x20)
            used += (uint64_t)sprintf(out + used, "\\u%04x", *s);
        else
            out[used++] = (char)*s;
    out[used] = 0;
    return out;
}

void spy_wrong(const char *rule, const char *format, ...) {
    char text[512], escaped[600];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    spy_note("{\"call\": \"wrong\", \"rule\": \"%s\", \"what\": \"%s\"}", rule,
             spy_json(escaped, sizeof escaped, text));
}

int spy_is_zero(const void *p, uint64_t size) {
    const uint8_t *b = p;
    for (uint64_t i = 0; i < size; i++)
        if (b[i]) return 0;
    return 1;
}
