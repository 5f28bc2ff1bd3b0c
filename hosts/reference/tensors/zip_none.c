/* zip_file.h where libzip was not there when this was built. */
#include "tensors/zip_file.h"

static int refuse(const char *path, dukd_failure *f) {
    return dukd_fail(
        f, DUKD_FAILED,
        "%s: this dukd-host was built without libzip, so it neither reads nor writes PyTorch's files of 1.6 "
        "and later: install libzip-dev and build it again (tools/build)",
        path);
}

int dukd_zip_is_built_in(void) {
    return 0;
}
int dukd_zip_open(dukd_zip **out, const void *bytes, size_t size, const char *path, dukd_failure *f) {
    (void)bytes, (void)size;
    *out = NULL;
    return refuse(path, f);
}
void dukd_zip_close(dukd_zip *z) {
    (void)z;
}
int64_t dukd_zip_count(const dukd_zip *z) {
    (void)z;
    return 0;
}
const char *dukd_zip_name(const dukd_zip *z, int64_t i) {
    (void)z, (void)i;
    return "";
}
int64_t dukd_zip_size(const dukd_zip *z, const char *name, dukd_failure *f) {
    (void)z;
    dukd_fail(f, DUKD_FAILED, "%s: there is no ZIP archive", name);
    return -1;
}
int dukd_zip_read(dukd_zip *z, const char *name, void *to, int64_t size, dukd_failure *f) {
    (void)z, (void)to, (void)size;
    return dukd_fail(f, DUKD_FAILED, "%s: there is no ZIP archive", name);
}
int dukd_zip_write(const char *path, const dukd_zip_entry *entries, int32_t count, dukd_failure *f) {
    (void)entries, (void)count;
    return refuse(path, f);
}
