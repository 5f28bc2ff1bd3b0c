/* A scanner for JSON (RFC 8259) of which strings, integers and punctuation are needed. */
#include "common/json_scan.h"

#include <string.h>

#include "common/utf8.h"

void dukd_json_scan_start(dukd_json_scan *s, const void *text, size_t size, char *strings) {
    *s = (dukd_json_scan){
        .start = text, .at = text, .end = (const unsigned char *)text + size, .strings = strings};
}

bool dukd_json_scan_fail(dukd_json_scan *s, const char *wrong) {
    if (!s->wrong) s->wrong = wrong;
    return false;
}

static void skip_space(dukd_json_scan *s) {
    while (s->at < s->end && (*s->at == ' ' || *s->at == '\t' || *s->at == '\n' || *s->at == '\r')) s->at++;
}

bool dukd_json_scan_take(dukd_json_scan *s, char c) {
    if (s->wrong) return false;
    skip_space(s);
    if (s->at == s->end || *s->at != (unsigned char)c) return false;
    s->at++;
    return true;
}

bool dukd_json_scan_expect(dukd_json_scan *s, char c) {
    if (dukd_json_scan_take(s, c)) return true;
    switch (c) {
    case '{':
        return dukd_json_scan_fail(s, "expected '{'");
    case '}':
        return dukd_json_scan_fail(s, "expected ',' or '}'");
    case ']':
        return dukd_json_scan_fail(s, "expected ',' or ']'");
    case '[':
        return dukd_json_scan_fail(s, "expected '['");
    case ':':
        return dukd_json_scan_fail(s, "expected ':'");
    default:
        return dukd_json_scan_fail(s, "expected ','");
    }
}

bool dukd_json_scan_finish(dukd_json_scan *s) {
    if (s->wrong) return false;
    skip_space(s);
    return s->at == s->end || dukd_json_scan_fail(s, "expected nothing more");
}

bool dukd_json_scan_integer(dukd_json_scan *s, int64_t *out) {
    if (s->wrong) return false;
    skip_space(s);
    const unsigned char *first = s->at;
    int64_t number = 0;
    while (s->at < s->end && *s->at >= '0' && *s->at <= '9') {
        int digit = *s->at - '0';
        if (number > (INT64_MAX - digit) / 10) return dukd_json_scan_fail(s, "the number is too large");
        number = 10 * number + digit;
        s->at++;
    }
    if (s->at == first) return dukd_json_scan_fail(s, "expected a whole number, not negative");
    if (*first == '0' && s->at > first + 1) return dukd_json_scan_fail(s, "the number begins with a zero");
    if (s->at < s->end && (*s->at == '.' || *s->at == 'e' || *s->at == 'E'))
        return dukd_json_scan_fail(s, "expected a whole number");
    *out = number;
    return true;
}

/* Four hexadecimal digits, after \u. */
static bool hex4(dukd_json_scan *s, uint32_t *out) {
    *out = 0;
    if (s->end - s->at < 4) return dukd_json_scan_fail(s, "expected four hexadecimal digits");
    for (int i = 0; i < 4; i++, s->at++) {
        unsigned char c = *s->at;
        uint32_t digit;
        if (c >= '0' && c <= '9')
            digit = c - '0';
        else if (c >= 'a' && c <= 'f')
            digit = c - 'a' + 10u;
        else if (c >= 'A' && c <= 'F')
            digit = c - 'A' + 10u;
        else
            return dukd_json_scan_fail(s, "expected four hexadecimal digits");
        *out = *out << 4 | digit;
    }
    return true;
}

static void put_utf8(dukd_json_scan *s, uint32_t c) {
    int more = c < 0x80 ? 0 : c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
    static const unsigned char lead[4] = {0, 0xC0, 0xE0, 0xF0};
    *s->strings++ = (char)(lead[more] | c >> 6 * more);
    while (more-- > 0) *s->strings++ = (char)(0x80 | (c >> 6 * more & 0x3F));
}

/* What follows \u: one unit, or two that make a character beyond U+FFFF. */
static bool unicode_escape(dukd_json_scan *s) {
    uint32_t c, second;
    if (!hex4(s, &c)) return false;
    if (c == 0) return dukd_json_scan_fail(s, "a string contains NUL");
    if (c >= 0xDC00 && c <= 0xDFFF) return dukd_json_scan_fail(s, "half of a surrogate pair");
    if (c >= 0xD800 && c <= 0xDBFF) {
        if (s->end - s->at < 2 || s->at[0] != '\\' || s->at[1] != 'u')
            return dukd_json_scan_fail(s, "half of a surrogate pair");
        s->at += 2;
        if (!hex4(s, &second)) return false;
        if (second < 0xDC00 || second > 0xDFFF) return dukd_json_scan_fail(s, "half of a surrogate pair");
        c = 0x10000 + ((c - 0xD800) << 10) + (second - 0xDC00);
    }
    put_utf8(s, c);
    return true;
}

static bool escape(dukd_json_scan *s) {
    static const char names[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    if (s->at == s->end) return dukd_json_scan_fail(s, "a string does not end");
    char c = (char)*s->at++;
    if (c == 'u') return unicode_escape(s);
    const char *name = c ? strchr(names, c) : NULL;
    if (!name) return dukd_json_scan_fail(s, "an unknown escape in a string");
    *s->strings++ = meanings[name - names];
    return true;
}

bool dukd_json_scan_string(dukd_json_scan *s, const char **out) {
    if (s->wrong) return false;
    skip_space(s);
    if (s->at == s->end || *s->at != '"') return dukd_json_scan_fail(s, "expected a string");
    s->at++;
    *out = s->strings;
    while (s->at < s->end && *s->at != '"') {
        if (*s->at == '\\') {
            s->at++;
            if (!escape(s)) return false;
            continue;
        }
        if (*s->at < 0x20) return dukd_json_scan_fail(s, "a control character in a string");
        int length = dukd_utf8_length(s->at, (size_t)(s->end - s->at));
        if (length == 0) return dukd_json_scan_fail(s, "a string is not UTF-8");
        memcpy(s->strings, s->at, (size_t)length);
        s->strings += length;
        s->at += length;
    }
    if (s->at == s->end) return dukd_json_scan_fail(s, "a string does not end");
    s->at++;
    *s->strings++ = '\0';
    return true;
}
