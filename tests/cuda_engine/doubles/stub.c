/* A library that is not whole: nothing but its version's function. */
#include <stddef.h>

__attribute__((visibility("default"))) size_t STUB_FUNCTION(void);

size_t STUB_FUNCTION(void) {
    return STUB_VERSION;
}
