/* The rule of struct_size for structs that a host hands in. */
#ifndef DUKD_STRUCT_CHECK_H
#define DUKD_STRUCT_CHECK_H

#include "dukd_plugin.h"

/* DUKD_OK; or DUKD_E_ARGUMENT where `object` is NULL, smaller than `known` bytes or absurdly large; or
 * DUKD_E_UNSUPPORTED where bytes past `known` are not zero. `name` is for messages ("step"). */
int32_t dukd_struct_check(const void *object, uint32_t known, const char *name, dukd_error *error);

#endif
