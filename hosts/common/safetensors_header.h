/* The header of a safetensors file, as read: internal to safetensors*.c. */
#ifndef DUKD_SAFETENSORS_HEADER_H
#define DUKD_SAFETENSORS_HEADER_H

#include <stddef.h>
#include <stdint.h>

#include "common/failure.h"
#include "common/safetensors.h"

#define DUKD_ST_MAX_HEADER 100000000 /* bytes; the limit of the format's own library */

/* Sorted by name, to find and to tell repeated names. */
typedef struct {
    const char *name;
    int32_t index;
} dukd_st_name;

typedef struct {
    dukd_st_tensor *tensors; /* in the header's order; data points to where it lies in `data` */
    int32_t count;
    dukd_st_name *names;     /* of the tensors, sorted */
    dukd_st_entry *metadata; /* sorted by key */
    int32_t metadata_count;
    char *strings; /* all names, keys and values */
} dukd_st_header;

/* Reads `size` bytes of JSON and checks every tensor against the `data_size` bytes that follow. On failure *out is empty;
 * `path` begins the messages. */
int dukd_st_header_read(dukd_st_header *out, const void *json, size_t size, const unsigned char *data,
                        int64_t data_size, const char *path, dukd_failure *f);
void dukd_st_header_free(dukd_st_header *h); /* h may be zeroed */

#endif
