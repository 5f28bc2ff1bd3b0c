/* Golden files: tensors computed elsewhere, in ../shared/golden (see its README), and other shared data.
 *
 * The shared folder is the environment's DUKD_SHARED, else ../shared beside the sources; the smaller golden files are in
 * tests/golden/data as well. Where a file is in neither the running cmocka test is skipped, with the reason printed. A file
 * that is there but damaged, and a tensor that is missing or of another type, fails the test. Names are printf
 * formats: dukd_golden_f32(g, "input.%d", i). */
#ifndef DUKD_TEST_GOLDEN_H
#define DUKD_TEST_GOLDEN_H

#include <stddef.h>
#include <stdint.h>

typedef struct dukd_golden dukd_golden;

typedef struct {
    const char *name; /* these three live as long as the file is open */
    const void *data;
    const int64_t *dims;
    int32_t ndim;
    int64_t count;
} dukd_golden_tensor;

/* golden/NAME.safetensors. Never NULL: skips or fails instead. */
dukd_golden *dukd_golden_open(const char *name);
void dukd_golden_close(dukd_golden *g); /* NULL is allowed */

dukd_golden_tensor dukd_golden_f32(dukd_golden *g, const char *name, ...)
    __attribute__((format(printf, 2, 3)));
dukd_golden_tensor dukd_golden_f64(dukd_golden *g, const char *name, ...)
    __attribute__((format(printf, 2, 3)));
dukd_golden_tensor dukd_golden_u8(dukd_golden *g, const char *name, ...)
    __attribute__((format(printf, 2, 3)));
dukd_golden_tensor dukd_golden_i32(dukd_golden *g, const char *name, ...)
    __attribute__((format(printf, 2, 3)));
dukd_golden_tensor dukd_golden_i64(dukd_golden *g, const char *name, ...)
    __attribute__((format(printf, 2, 3)));

int dukd_golden_has(dukd_golden *g, const char *name, ...) __attribute__((format(printf, 2, 3)));
int32_t dukd_golden_count(dukd_golden *g);
const char *dukd_golden_name(dukd_golden *g, int32_t i); /* of any type */

/* Writes the path of ../shared/RELATIVE ("data/Set5/HR") into out, or skips the running test where it is not there. */
void dukd_shared_path(char *out, size_t size, const char *relative);

#endif
