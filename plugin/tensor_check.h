/* Checks of the tensors that a host hands in. */
#ifndef DUKD_TENSOR_CHECK_H
#define DUKD_TENSOR_CHECK_H

#include "dukd_plugin.h"

#include <stdbool.h>

/* Types a tensor may have, as a set. */
#define DUKD_ALLOW_F32  1u
#define DUKD_ALLOW_F16  2u
#define DUKD_ALLOW_BF16 4u
#define DUKD_ALLOW_ANY  7u

/* The bit of a type, or 0 where it is none of the three. */
uint32_t dukd_dtype_bit(dukd_dtype type);
const char *dukd_dtype_name(dukd_dtype type); /* "f32"; "a type this plugin does not know" */
uint32_t dukd_dtype_size(dukd_dtype type);    /* bytes; of one of the three */

/* Room for "device (65535, -2147483648)". */
#define DUKD_DEVICE_NAME_SIZE 32
/* "the CPU", "CUDA device 0", "device (13, 0)", in `text`, which it returns. */
const char *dukd_device_name(dukd_device device, char text[DUKD_DEVICE_NAME_SIZE]);

typedef struct {
    int64_t shape[4];   /* N, C, H, W, each >= 1 */
    uint32_t types;     /* DUKD_ALLOW_... */
    dukd_device device; /* of the session; pinned host memory counts as CPU, and the CPU's device_id is not
                           looked at */
} dukd_tensor_rule;

/* DUKD_E_ARGUMENT where *t breaks the rule, has no data, is not aligned to its elements, or reaches further
 * than memory can. `name` is for the message ("step->lr"). */
int32_t dukd_tensor_check(const dukd_tensor *t, const dukd_tensor_rule *rule, const char *name,
                          dukd_error *error);

/* The same, and elements that share memory are an error: for tensors that are written. */
int32_t dukd_tensor_check_writable(const dukd_tensor *t, const dukd_tensor_rule *rule, const char *name,
                                   dukd_error *error);

/* Whether two tensors that passed the check share memory, as far as that is seen at once: both without gaps and
 * their ranges meet, or both begin at the same element. */
bool dukd_tensors_meet(const dukd_tensor *a, const dukd_tensor *b);

/* Whether two different indices of such a tensor are the same element. Exact for any strides. shape >= 1. */
bool dukd_strides_overlap(const int64_t shape[4], const int64_t strides[4]);

#endif
