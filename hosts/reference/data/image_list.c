/* Listing the images of a folder. */
#include "data/image_list.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

size_t dukd_image_stem_length(const char *file) {
    const char *dot = strrchr(file, '.');
    return dot && dot != file ? (size_t)(dot - file) : strlen(file);
}

char *dukd_image_path(const char *folder, const char *file) {
    const size_t a = strlen(folder), b = strlen(file);
    const int slash = a > 0 && folder[a - 1] != '/';
    char *path = malloc(a + b + 2);
    if (!path) return NULL;
    memcpy(path, folder, a);
    if (slash) path[a] = '/';
    memcpy(path + a + slash, file, b + 1);
    return path;
}

static int is_image_name(const char *file) {
    static const char *const extensions[] = {".png", ".tif", ".tiff", ".jpg", ".jpeg"};
    if (*file == '.') return 0;
    const char *end = file + dukd_image_stem_length(file);
    for (size_t i = 0; i < sizeof extensions / sizeof *extensions; i++) {
        if (!strcasecmp(end, extensions[i])) return 1;
    }
    return 0;
}

static int by_bytes(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void dukd_image_list_free(dukd_image_list *list) {
    if (!list) return;
    for (int64_t i = 0; i < list->count; i++) free(list->files[i]);
    free(list->files);
    *list = (dukd_image_list){0};
}

static int add(dukd_image_list *list, int64_t *room, const char *file) {
    if (list->count == *room) {
        const int64_t more = *room ? 2 * *room : 64;
        char **files = realloc(list->files, (size_t)more * sizeof *files);
        if (!files) return -1;
        list->files = files;
        *room = more;
    }
    list->files[list->count] = strdup(file);
    if (!list->files[list->count]) return -1;
    list->count++;
    return 0;
}

int dukd_image_list_read(const char *folder, dukd_image_list *out, dukd_failure *f) {
    *out = (dukd_image_list){0};
    dukd_image_list list = {0};
    int64_t room = 0;
    int status = DUKD_DONE;
    DIR *dir = opendir(folder);
    if (!dir) {
        return dukd_fail(f, DUKD_FAILED, "%s: %s: a folder of images is needed here", folder,
                         strerror(errno));
    }
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(dir);
        if (!entry) {
            if (errno)
                status =
                    dukd_fail(f, DUKD_FAILED, "%s: the folder cannot be read: %s", folder, strerror(errno));
            break;
        }
        if (!is_image_name(entry->d_name)) continue;
        if (entry->d_type != DT_REG) { /* a link, or a file system that does not tell */
            struct stat info;
            if (!fstatat(dirfd(dir), entry->d_name, &info, 0) && !S_ISREG(info.st_mode)) continue;
        }
        if (add(&list, &room, entry->d_name)) {
            status = dukd_fail_memory(f, "a list of file names", (unsigned long long)list.count * 64);
            break;
        }
    }
    closedir(dir);
    if (!status && list.count == 0) {
        status =
            dukd_fail(f, DUKD_FAILED, "%s: no image in this folder (.png, .tif, .tiff, .jpg, .jpeg)", folder);
    }
    if (status) {
        dukd_image_list_free(&list);
        return status;
    }
    qsort(list.files, (size_t)list.count, sizeof *list.files, by_bytes);
    *out = list;
    return DUKD_DONE;
}
