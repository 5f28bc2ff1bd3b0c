#include "common/failure.h"

#include <stdarg.h>
#include <stdio.h>

int dukd_fail(dukd_failure *f, int status, const char *format, ...) {
    if (f && f->status == DUKD_DONE) {
        va_list args;
        va_start(args, format);
        vsnprintf(f->message, sizeof f->message, format, args);
        va_end(args);
        f->status = status;
    }
    return status;
}

int dukd_fail_memory(dukd_failure *f, const char *what, unsigned long long bytes) {
    return dukd_fail(f, DUKD_FAILED, "out of memory: %s needs %llu bytes", what, bytes);
}
