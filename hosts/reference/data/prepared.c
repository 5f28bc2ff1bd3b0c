/* The manifest of a prepared set, and the names of its files. */
#include "data/prepared.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/atomic_file.h"
#include "data/image.h"
#include "data/image_list.h"
#include "data/tiled.h"

static const char FIRST_LINE[] = "dukd-prepared 1";
static const int64_t LARGEST_MANIFEST = (int64_t)1 << 30; /* bytes: ten million images */

/* ---- paths ---- */

static char *join(const char *folder, const char *subfolder, const char *name, int32_t scale,
                  const char *extension) {
    char *path = NULL;
    char where[32] = "", suffix[16] = "";
    if (scale) {
        snprintf(where, sizeof where, "LR_bicubic/X%d", scale);
        snprintf(suffix, sizeof suffix, "x%d", scale);
    } else {
        snprintf(where, sizeof where, "HR");
    }
    const size_t bytes = strlen(folder) + strlen(subfolder) + sizeof where + (name ? strlen(name) : 0) + 32;
    path = malloc(bytes);
    if (!path) return NULL;
    if (name) {
        snprintf(path, bytes, "%s/%s%s/%s%s%s", folder, subfolder, where, name, suffix, extension);
    } else {
        snprintf(path, bytes, "%s/%s%s", folder, subfolder, where);
    }
    return path;
}

char *dukd_prepared_tiled_path(const char *folder, const char *name, int32_t scale) {
    return join(folder, "tiled/", name, scale, ".tif");
}

char *dukd_prepared_png_path(const char *folder, const char *name, int32_t scale) {
    return join(folder, "", name, scale, ".png");
}

int dukd_prepared_is(const char *folder) {
    char *path = dukd_image_path(folder, DUKD_PREPARED_MANIFEST);
    const int is = path && access(path, F_OK) == 0;
    free(path);
    return is;
}

int dukd_prepared_has_scale(const dukd_prepared *set, int32_t scale) {
    for (int32_t i = 0; i < set->scale_count; i++) {
        if (set->scales[i] == scale) return 1;
    }
    return 0;
}

void dukd_prepared_free(dukd_prepared *set) {
    if (!set) return;
    for (int64_t i = 0; i < set->count; i++) {
        free(set->images[i].file);
        free(set->images[i].name);
    }
    free(set->images);
    *set = (dukd_prepared){0};
}

/* ---- writing ---- */

int dukd_prepared_write(const char *folder, const dukd_prepared *set, dukd_failure *f) {
    char *path = dukd_image_path(folder, DUKD_PREPARED_MANIFEST);
    if (!path) return dukd_fail_memory(f, "a file name", strlen(folder));
    dukd_atomic_file *file;
    int status = dukd_atomic_file_open(&file, path, f);
    free(path);
    if (status) return status;
    FILE *to = dukd_atomic_file_stream(file); /* commit sees what goes wrong on it */
    fprintf(to, "%s\nborder\t%s\nscales\t", FIRST_LINE, set->clamp_border ? "clamp" : "symmetric");
    for (int32_t i = 0; i < set->scale_count; i++) fprintf(to, "%s%d", i ? " " : "", set->scales[i]);
    fprintf(to, "\ntile\t%d\npng\t%d\nimages\t%lld\n", set->tile, set->has_png, (long long)set->count);
    for (int64_t i = 0; i < set->count; i++) {
        const dukd_prepared_image *image = &set->images[i];
        fprintf(to, "%s\t%d\t%d\t%d\t%s\n", image->sha256, image->width, image->height, image->depth,
                image->file);
    }
    return dukd_atomic_file_commit(file, f);
}

/* ---- reading ---- */

/* Walks the text, a line at a time; lines are cut in place. */
typedef struct {
    const char *path;
    char *at, *end;
    int64_t line; /* number of the current one */
    dukd_failure *f;
} reader;

static int damaged(const reader *r, const char *what) {
    return dukd_fail(r->f, DUKD_FAILED, "%s:%lld: %s: remove this file and run dukd-host prepare again",
                     r->path, (long long)r->line, what);
}

static char *next_line(reader *r) {
    r->line++;
    char *line = r->at, *end = memchr(r->at, '\n', (size_t)(r->end - r->at));
    if (!end) return NULL;
    *end = 0;
    r->at = end + 1;
    return strlen(line) == (size_t)(end - line) ? line : NULL; /* no 0 inside */
}

/* The text behind "KEY<tab>" of the next line, or NULL. */
static char *value_of(reader *r, const char *key) {
    char *line = next_line(r);
    const size_t length = strlen(key);
    return line && !strncmp(line, key, length) && line[length] == '\t' ? line + length + 1 : NULL;
}

/* A decimal number in low..high up to `stop`, which is stepped over. -1: there is none. */
static int64_t number(char **text, char stop, int64_t low, int64_t high) {
    char *end;
    if (!text || !*text || **text < '0' || **text > '9') return -1;
    errno = 0;
    const long long value = strtoll(*text, &end, 10);
    if (errno || *end != stop || value < low || value > high) return -1;
    *text = end + (stop != 0);
    return value;
}

static int read_scales(char *text, dukd_prepared *set) {
    int32_t before = 1;
    while (text) {
        char *blank = strchr(text, ' ');
        const int64_t scale = number(&text, blank ? ' ' : 0, before + 1, DUKD_PREPARED_SCALES + 1);
        if (scale < 0) return 0;
        before = set->scales[set->scale_count++] = (int32_t)scale;
        if (!blank) return 1;
    }
    return 0;
}

static int read_image(char *line, dukd_prepared_image *image) {
    if (!line || strspn(line, "0123456789abcdef") != 64 || line[64] != '\t') return 0;
    memcpy(image->sha256, line, 64);
    char *text = line + 65;
    image->width = (int32_t)number(&text, '\t', 1, DUKD_IMAGE_MAX_SIDE);
    if (image->width > 0) image->height = (int32_t)number(&text, '\t', 1, DUKD_IMAGE_MAX_SIDE);
    if (image->height > 0) image->depth = (int32_t)number(&text, '\t', 8, 16);
    if (image->depth != 8 && image->depth != 16) return 0;
    if (!*text || strchr(text, '/')) return 0;
    image->file = strdup(text);
    image->name = strndup(text, dukd_image_stem_length(text));
    return image->file && image->name;
}

static int parse(reader *r, dukd_prepared *set) {
    char *text = next_line(r);
    if (!text || strcmp(text, FIRST_LINE)) {
        return damaged(r, "not the manifest of a prepared set, or one of another version of dukd-host");
    }
    text = value_of(r, "border");
    if (!text || (strcmp(text, "symmetric") && strcmp(text, "clamp")))
        return damaged(r, "'border' should be here");
    set->clamp_border = !strcmp(text, "clamp");
    text = value_of(r, "scales");
    if (!read_scales(text, set)) return damaged(r, "'scales' should be here: 2..8, ascending");
    text = value_of(r, "tile");
    set->tile = (int32_t)number(&text, 0, 0, DUKD_TILE_MAX_SIDE);
    if (set->tile < 0) return damaged(r, "'tile' should be here");
    text = value_of(r, "png");
    set->has_png = (int32_t)number(&text, 0, 0, 1);
    if (set->has_png < 0) return damaged(r, "'png' should be here");
    text = value_of(r, "images");
    const int64_t least =
        64 +
        8; /* bytes of an image's line, at least: the count cannot ask for more memory than the file has */
    const int64_t count = number(&text, 0, 0, (r->end - r->at) / least);
    if (count < 0) return damaged(r, "'images' should be here, and as many lines behind it");
    set->images = calloc(count ? (size_t)count : 1, sizeof *set->images);
    if (!set->images)
        return dukd_fail_memory(r->f, "the list of a prepared set",
                                (unsigned long long)count * sizeof *set->images);
    for (; set->count < count; set->count++) {
        dukd_prepared_image *image = &set->images[set->count];
        if (!read_image(next_line(r), image)) {
            free(image->file);
            free(image->name);
            return damaged(r, "an image should be here: SHA-256, width, height, depth, file name");
        }
        if (set->count && strcmp(image[-1].name, image->name) >= 0) {
            set->count++; /* it is whole: freed with the others */
            return damaged(r, "images are not in the order of their names");
        }
    }
    if (r->at != r->end) return damaged(r, "more lines than images");
    return DUKD_DONE;
}

/* The whole file with a 0 behind it. */
static int load(const char *path, char **text, int64_t *bytes, dukd_failure *f) {
    struct stat info;
    FILE *file = fopen(path, "rbe");
    *text = NULL;
    int status = DUKD_DONE;
    if (!file || fstat(fileno(file), &info)) {
        status = dukd_fail(f, DUKD_FAILED, "%s: cannot be opened: %s", path, strerror(errno));
    } else if (!S_ISREG(info.st_mode) || info.st_size > LARGEST_MANIFEST) {
        status = dukd_fail(f, DUKD_FAILED, "%s: not the manifest of a prepared set", path);
    } else if (!(*text = malloc((size_t)info.st_size + 1))) {
        status = dukd_fail_memory(f, "the manifest of a prepared set", (unsigned long long)info.st_size);
    } else if (fread(*text, 1, (size_t)info.st_size, file) != (size_t)info.st_size) {
        status = dukd_fail(f, DUKD_FAILED, "%s: cannot be read", path);
    } else {
        *bytes = info.st_size;
        (*text)[info.st_size] = 0;
    }
    if (file) fclose(file);
    return status;
}

int dukd_prepared_read(const char *folder, dukd_prepared *out, dukd_failure *f) {
    *out = (dukd_prepared){0};
    dukd_prepared set = {0};
    char *text = NULL, *path = dukd_image_path(folder, DUKD_PREPARED_MANIFEST);
    int64_t bytes = 0;
    if (!path) return dukd_fail_memory(f, "a file name", strlen(folder));
    int status = load(path, &text, &bytes, f);
    if (!status) {
        reader r = {.path = path, .at = text, .end = text + bytes, .f = f};
        status = parse(&r, &set);
    }
    free(text);
    free(path);
    if (status) {
        dukd_prepared_free(&set);
        return status;
    }
    *out = set;
    return DUKD_DONE;
}
