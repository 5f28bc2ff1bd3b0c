/* The bytes of an option file: reading them, and refusing what is no text before YAML is tried on it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "yaml_tree.h"

char *dukd_yaml_load(const char *path, size_t *size, dukd_yaml_error *error) {
    const dukd_yaml_place place = {path, 0, 0};
    char *text = NULL;
    size_t n = 0;
    FILE *f = fopen(path, "rb");
    if (!f) {
        dukd_yaml_fail(error, DUKD_YAML_FAILED, &place, "cannot open the option file: %s", strerror(errno));
        return NULL;
    }
    const size_t room = (size_t)DUKD_YAML_MAX_BYTES + 1; /* one more shows that there is too much */
    text = malloc(room);
    if (!text) {
        dukd_yaml_fail_memory(error);
        goto fail;
    }
    errno = 0;
    n = fread(text, 1, room, f);
    if (ferror(f)) {
        dukd_yaml_fail(error, DUKD_YAML_FAILED, &place, "cannot read the option file: %s", strerror(errno));
        goto fail;
    }
    fclose(f);
    *size = n;
    return text;
fail:
    free(text);
    fclose(f);
    return NULL;
}

size_t dukd_yaml_utf8_decode(const unsigned char *text, size_t size, uint32_t *point) {
    if (size == 0) return 0;
    if (text[0] < 0x80) {
        *point = text[0];
        return 1;
    }
    const size_t n = text[0] >= 0xf0 ? 4 : text[0] >= 0xe0 ? 3 : 2;
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    if (text[0] < 0xc2 || text[0] > 0xf4 || n > size) return 0;
    uint32_t p = text[0] & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        if ((text[i] & 0xc0) != 0x80) return 0;
        p = p << 6 | (text[i] & 0x3fu);
    }
    if (p < least[n] || p > 0x10ffff || (p >= 0xd800 && p <= 0xdfff)) return 0;
    *point = p;
    return n;
}

bool dukd_yaml_printable(uint32_t p) {
    return (p >= 0x20 && p <= 0x7e) || p == 0x85 || (p >= 0xa0 && p <= 0xd7ff) ||
           (p >= 0xe000 && p <= 0xfffd && p != 0xfeff) || (p >= 0x10000 && p <= 0x10ffff);
}

bool dukd_yaml_text_check(const char *text, size_t size, dukd_yaml_place at, dukd_yaml_error *error) {
    if (size > DUKD_YAML_MAX_BYTES) {
        at.line = 0;
        return dukd_yaml_fail(error, DUKD_YAML_WRONG, &at, "larger than %d bytes: this is no option file",
                              DUKD_YAML_MAX_BYTES);
    }
    for (size_t i = 0; i < size;) {
        uint32_t p = 0;
        const size_t n = dukd_yaml_utf8_decode((const unsigned char *)text + i, size - i, &p);
        if (n == 0) {
            return dukd_yaml_fail(error, DUKD_YAML_WRONG, &at,
                                  "byte 0x%02x is not valid UTF-8; save the file as UTF-8",
                                  (unsigned char)text[i]);
        }
        if (!dukd_yaml_printable(p) && p != '\t' && p != '\n' && p != '\r') {
            return dukd_yaml_fail(error, DUKD_YAML_WRONG, &at,
                                  "control character U+%04X; options are plain text", (unsigned)p);
        }
        i += n;
        /* Lines as libyaml counts them. */
        if (p == '\n' || (p == '\r' && !(i < size && text[i] == '\n')) || p == 0x85 || p == 0x2028 ||
            p == 0x2029) {
            at.line++;
            at.column = 1;
        } else if (p != '\r') {
            at.column++;
        }
    }
    return true;
}

unsigned dukd_yaml_columns(const char *text, size_t size) {
    unsigned n = 0;
    for (size_t i = 0; i < size; i++) n += ((unsigned char)text[i] & 0xc0) != 0x80;
    return n;
}
