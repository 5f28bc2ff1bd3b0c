/* ZIP archives by libzip. */
#include "tensors/zip_file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zip.h>

#include "common/atomic_file.h"
#include "common/safetensors.h"

struct dukd_zip {
    zip_t *archive;
    const char *path;
    size_t size;
};

int dukd_zip_is_built_in(void) {
    return 1;
}

/* ---------------------------------------------------------------- reading */

int dukd_zip_open(dukd_zip **out, const void *bytes, size_t size, const char *path, dukd_failure *f) {
    zip_error_t error;
    *out = NULL;
    dukd_zip *z = calloc(1, sizeof *z);
    if (!z) return dukd_fail_memory(f, "a ZIP archive", sizeof *z);
    z->path = path;
    z->size = size;
    zip_error_init(&error);
    zip_source_t *source = zip_source_buffer_create(bytes, size, 0, &error);
    if (source) z->archive = zip_open_from_source(source, ZIP_RDONLY | ZIP_CHECKCONS, &error);
    if (z->archive) {
        *out = z;
    } else {
        dukd_fail(f, DUKD_FAILED, "%s: is a damaged ZIP archive: %s: the file may have been cut short", path,
                  zip_error_strerror(&error));
        zip_source_free(source);
        free(z);
    }
    zip_error_fini(&error);
    return *out ? DUKD_DONE : DUKD_FAILED;
}

void dukd_zip_close(dukd_zip *z) {
    if (!z) return;
    zip_discard(z->archive);
    free(z);
}

int64_t dukd_zip_count(const dukd_zip *z) {
    return zip_get_num_entries(z->archive, 0);
}
const char *dukd_zip_name(const dukd_zip *z, int64_t i) {
    const char *name = zip_get_name(z->archive, (zip_uint64_t)i, ZIP_FL_ENC_RAW);
    return name ? name : "";
}

int64_t dukd_zip_size(const dukd_zip *z, const char *name, dukd_failure *f) {
    const zip_uint64_t needed = ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE | ZIP_STAT_COMP_METHOD;
    zip_stat_t s;
    const char *wrong = NULL;
    zip_stat_init(&s);
    if (zip_stat(z->archive, name, ZIP_FL_ENC_RAW, &s) != 0 || (s.valid & needed) != needed)
        wrong = "is missing";
    else if (s.comp_method != ZIP_CM_STORE)
        wrong = "is compressed, which PyTorch's are not";
    else if (s.valid & ZIP_STAT_ENCRYPTION_METHOD && s.encryption_method != ZIP_EM_NONE)
        wrong = "is encrypted";
    else if (s.size != s.comp_size || s.size > z->size)
        wrong = "has a size that is not that of its bytes";
    if (!wrong) return (int64_t)s.size;
    dukd_fail(f, DUKD_FAILED, "%s: its entry '%s' %s", z->path, dukd_st_print(name).text, wrong);
    return -1;
}

int dukd_zip_read(dukd_zip *z, const char *name, void *to, int64_t size, dukd_failure *f) {
    zip_file_t *entry = zip_fopen(z->archive, name, ZIP_FL_ENC_RAW);
    char *at = to, more;
    int64_t left = size, got = 0;
    while (entry && left > 0 && (got = zip_fread(entry, at, (zip_uint64_t)left)) > 0) {
        at += got;
        left -= got;
    }
    /* The checksum is compared when the end is met. */
    const int complete = entry && left == 0 && zip_fread(entry, &more, 1) == 0;
    int status = DUKD_DONE;
    if (!complete)
        status =
            dukd_fail(f, DUKD_FAILED, "%s: its entry '%s' is damaged: %s", z->path, dukd_st_print(name).text,
                      entry ? zip_error_strerror(zip_file_get_error(entry)) : zip_strerror(z->archive));
    if (entry) zip_fclose(entry);
    return status;
}

/* ---------------------------------------------------------------- writing */

/* What libzip writes to: the stream of an atomic file. It seeks back to fill in each entry's checksum. */
typedef struct {
    FILE *stream;
    zip_error_t error;
} target;

static zip_int64_t failed(target *t) {
    zip_error_set(&t->error, ZIP_ER_WRITE, errno);
    return -1;
}

static zip_int64_t callback(void *ctx, void *data, zip_uint64_t size, zip_source_cmd_t command) {
    target *t = ctx;
    zip_stat_t *s = data;
    switch (command) {
    case ZIP_SOURCE_SUPPORTS:
        return zip_source_make_command_bitmap(
            ZIP_SOURCE_SUPPORTS, ZIP_SOURCE_OPEN, ZIP_SOURCE_READ, ZIP_SOURCE_CLOSE, ZIP_SOURCE_STAT,
            ZIP_SOURCE_ERROR, ZIP_SOURCE_FREE, ZIP_SOURCE_SEEK, ZIP_SOURCE_TELL, ZIP_SOURCE_BEGIN_WRITE,
            ZIP_SOURCE_COMMIT_WRITE, ZIP_SOURCE_ROLLBACK_WRITE, ZIP_SOURCE_WRITE, ZIP_SOURCE_SEEK_WRITE,
            ZIP_SOURCE_TELL_WRITE, ZIP_SOURCE_REMOVE, -1);
    case ZIP_SOURCE_STAT: /* an empty archive, to be replaced */
        zip_stat_init(s);
        s->valid = ZIP_STAT_SIZE;
        return sizeof *s;
    case ZIP_SOURCE_ERROR:
        return zip_error_to_data(&t->error, data, size);
    case ZIP_SOURCE_WRITE:
        return fwrite(data, 1, size, t->stream) == size ? (zip_int64_t)size : failed(t);
    case ZIP_SOURCE_TELL_WRITE:
        return ftello(t->stream);
    case ZIP_SOURCE_SEEK_WRITE: {
        const off_t at = ftello(t->stream);
        if (at < 0 || fseeko(t->stream, 0, SEEK_END) != 0) return failed(t);
        const off_t length = ftello(t->stream);
        if (length < 0) return failed(t);
        const zip_int64_t to =
            zip_source_seek_compute_offset((zip_uint64_t)at, (zip_uint64_t)length, data, size, &t->error);
        if (to < 0) return -1;
        return fseeko(t->stream, (off_t)to, SEEK_SET) == 0 ? 0 : failed(t);
    }
    default: /* nothing to open, close or free, and nothing that could be read */
        return 0;
    }
}

/* 1 where the entry was added. Its bytes stay the caller's until zip_close has written them. */
static int add(zip_t *archive, const dukd_zip_entry *e) {
    /* Two in the afternoon of the first day that ZIP knows, wherever this runs: libzip stores local time. */
    struct tm first = {.tm_year = 80, .tm_mday = 1, .tm_hour = 14, .tm_isdst = -1};
    zip_source_t *bytes = zip_source_buffer(archive, e->bytes, e->size, 0);
    const zip_int64_t at = bytes ? zip_file_add(archive, e->name, bytes, ZIP_FL_ENC_UTF_8) : -1;
    if (at < 0) {
        zip_source_free(bytes);
        return 0;
    }
    return zip_set_file_compression(archive, (zip_uint64_t)at, ZIP_CM_STORE, 0) == 0 &&
           zip_file_set_mtime(archive, (zip_uint64_t)at, mktime(&first), 0) == 0;
}

static int write_archive(target *t, const char *path, const dukd_zip_entry *entries, int32_t count,
                         dukd_failure *f) {
    zip_t *archive = NULL;
    zip_source_t *source = zip_source_function_create(callback, t, &t->error);
    if (source) archive = zip_open_from_source(source, ZIP_CREATE | ZIP_TRUNCATE, &t->error);
    if (!archive) {
        zip_source_free(source);
        return dukd_fail(f, DUKD_FAILED, "%s: cannot be written: %s", path, zip_error_strerror(&t->error));
    }
    for (int32_t i = 0; i < count; i++)
        if (!add(archive, &entries[i])) {
            dukd_fail(f, DUKD_FAILED, "%s: its entry '%s' cannot be written: %s", path,
                      dukd_st_print(entries[i].name).text, zip_strerror(archive));
            zip_discard(archive);
            return DUKD_FAILED;
        }
    errno = 0;
    if (zip_close(archive) == 0) return DUKD_DONE;
    dukd_fail(f, DUKD_FAILED, "%s: cannot be written: %s", path, zip_strerror(archive));
    zip_discard(archive);
    return DUKD_FAILED;
}

int dukd_zip_write(const char *path, const dukd_zip_entry *entries, int32_t count, dukd_failure *f) {
    dukd_atomic_file *a;
    target t;
    int status = dukd_atomic_file_open(&a, path, f);
    if (status != DUKD_DONE) return status;
    t.stream = dukd_atomic_file_stream(a);
    zip_error_init(&t.error);
    status = write_archive(&t, path, entries, count, f);
    zip_error_fini(&t.error);
    if (status == DUKD_DONE) return dukd_atomic_file_commit(a, f);
    dukd_atomic_file_abandon(a);
    return status;
}
