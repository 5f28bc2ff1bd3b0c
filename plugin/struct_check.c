/* The rule of struct_size. */
#include "struct_check.h"

#include "report.h"

#include <string.h>

/* No struct of any version is larger; a size above is memory that was never set, and its tail is not looked
 * at. */
#define LARGEST 4096u

int32_t dukd_struct_check(const void *object, uint32_t known, const char *name, dukd_error *error) {
    if (object == NULL) return dukd_report(error, DUKD_E_ARGUMENT, "%s is NULL", name);
    uint32_t size = 0;
    memcpy(&size, object, sizeof size);
    if (size < known || size > LARGEST) {
        return dukd_report(error, DUKD_E_ARGUMENT,
                           "%s: struct_size is %u, expected %u: set it to the struct's DUKD_..._SIZE", name,
                           (unsigned)size, (unsigned)known);
    }
    const unsigned char *bytes = object;
    for (uint32_t i = known; i < size; i++) {
        if (bytes[i] != 0) {
            return dukd_report(
                error, DUKD_E_UNSUPPORTED,
                "%s: byte %u is set, but this plugin knows only the first %u: leave newer fields zero", name,
                (unsigned)i, (unsigned)known);
        }
    }
    return DUKD_OK;
}
