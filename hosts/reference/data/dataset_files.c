/* Files of a data set: paths and names, in the order of the names. */
#include "data/dataset_files.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/image_list.h"

#define MAX_LINE 4096 /* bytes of a line of a meta info file, its end included */

const char *dukd_files_base(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static int by_name(const void *a, const void *b) {
    const dukd_file *x = a, *y = b;
    const int order = strcmp(x->name, y->name);
    return order ? order : strcmp(x->path, y->path);
}

/* Adds folder/file; *room: for how many there is memory. */
static int add(dukd_files *files, int64_t *room, const char *folder, const char *file, dukd_failure *f) {
    if (files->count == *room) {
        const int64_t more = *room ? 2 * *room : 64;
        dukd_file *grown = reallocarray(files->at, (size_t)more, sizeof *grown);
        if (!grown) goto fail;
        files->at = grown;
        *room = more;
    }
    const char *base = dukd_files_base(file);
    dukd_file made = {.path = dukd_image_path(folder, file),
                      .name = strndup(base, dukd_image_stem_length(base))};
    if (made.path && made.name) {
        files->at[files->count++] = made;
        return DUKD_DONE;
    }
    free(made.path);
    free(made.name);
fail:
    return dukd_fail_memory(f, "the list of images",
                            (unsigned long long)(files->count + 1) * sizeof *files->at);
}

int dukd_files_list(dukd_files *out, const char *folder, const char *key, dukd_failure *f) {
    dukd_image_list list = {0};
    dukd_failure why = {0};
    int64_t room = 0;
    *out = (dukd_files){0};
    int status = dukd_image_list_read(folder, &list, &why);
    if (status != DUKD_DONE) return dukd_fail(f, status, "%s: %s", key, why.message);
    for (int64_t i = 0; i < list.count && status == DUKD_DONE; i++)
        status = add(out, &room, folder, list.files[i], f);
    dukd_image_list_free(&list);
    if (status == DUKD_DONE)
        qsort(out->at, (size_t)out->count, sizeof *out->at, by_name);
    else
        dukd_files_free(out);
    return status;
}

/* Whether a listed path leads outside the folder it is listed for. */
static int leads_outside(const char *path) {
    if (path[0] == '/') return 1;
    for (const char *part = path; part; part = strchr(part, '/')) {
        part += *part == '/';
        if (!strncmp(part, "..", 2) && (part[2] == '/' || part[2] == 0)) return 1;
    }
    return 0;
}

/* A NUL or another control character, which no list of files has and every binary file. */
static int is_binary(const char *line, size_t size) {
    for (size_t i = 0; i < size; i++) {
        const unsigned char c = (unsigned char)line[i];
        if ((c < 32 && c != '\t' && c != '\r' && c != '\n') || c == 127) return 1;
    }
    return 0;
}

/* The first word of a line, whose other bytes are lost. */
static int read_line(dukd_files *out, int64_t *room, char *line, size_t size, const char *folder,
                     const char *place, dukd_failure *f) {
    if (is_binary(line, size))
        return dukd_fail(f, DUKD_FAILED, "%s: is no text: a meta_info_file lists one file name a line",
                         place);
    if (size >= MAX_LINE)
        return dukd_fail(f, DUKD_FAILED, "%s: more than %d bytes in a line: it must hold a file name", place,
                         MAX_LINE - 2);
    line[strcspn(line, " \t\r\n")] = 0;
    if (!line[0]) return DUKD_DONE;
    if (leads_outside(line))
        return dukd_fail(f, DUKD_FAILED, "%s: '%s' leads outside dataroot_gt: list paths inside it", place,
                         line);
    return add(out, room, folder, line, f);
}

static int read_lines(dukd_files *out, FILE *file, const char *folder, const char *meta_info_file,
                      dukd_failure *f) {
    char line[MAX_LINE + 1], place[512];
    int64_t room = 0;
    int status = DUKD_DONE;
    for (long long number = 1; status == DUKD_DONE; number++) {
        size_t size = 0;
        for (int c = 0; size < MAX_LINE && c != '\n' && (c = getc(file)) != EOF;) line[size++] = (char)c;
        line[size] = 0;
        if (size == 0) break;
        snprintf(place, sizeof place, "%.400s:%lld", meta_info_file, number);
        status = read_line(out, &room, line, size, folder, place, f);
    }
    if (status == DUKD_DONE && ferror(file))
        return dukd_fail(f, DUKD_FAILED, "meta_info_file: %s: cannot be read: %s", meta_info_file,
                         strerror(errno));
    return status;
}

int dukd_files_from_meta_info(dukd_files *out, const char *folder, const char *meta_info_file,
                              dukd_failure *f) {
    *out = (dukd_files){0};
    FILE *file = fopen(meta_info_file, "r");
    if (!file)
        return dukd_fail(f, DUKD_FAILED, "meta_info_file: %s: cannot be read: %s", meta_info_file,
                         strerror(errno));
    int status = read_lines(out, file, folder, meta_info_file, f);
    fclose(file);
    if (status == DUKD_DONE && out->count == 0)
        status = dukd_fail(f, DUKD_FAILED, "meta_info_file: %s lists no image", meta_info_file);
    if (status == DUKD_DONE) {
        qsort(out->at, (size_t)out->count, sizeof *out->at, by_name);
        for (int64_t i = 1; i < out->count && status == DUKD_DONE; i++)
            if (!strcmp(out->at[i].path, out->at[i - 1].path))
                status = dukd_fail(f, DUKD_FAILED, "meta_info_file: %s lists %s twice", meta_info_file,
                                   out->at[i].path);
    }
    if (status != DUKD_DONE) dukd_files_free(out);
    return status;
}

int64_t dukd_files_find(const dukd_files *files, const char *name, int64_t *count) {
    int64_t low = 0,
            high = files->count; /* the first place whose name is not before `name` lies in low .. high */
    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        if (strcmp(files->at[middle].name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *count = 0;
    while (low + *count < files->count && !strcmp(files->at[low + *count].name, name)) ++*count;
    return low;
}

void dukd_files_free(dukd_files *files) {
    if (!files) return;
    for (int64_t i = 0; i < files->count; i++) {
        free(files->at[i].path);
        free(files->at[i].name);
    }
    free(files->at);
    *files = (dukd_files){0};
}
