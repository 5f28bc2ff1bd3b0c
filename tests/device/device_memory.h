/* Memory that a program cannot touch: pages without any access, but between device_open and device_close. What stands in for a device's
 * memory in the tests: a host that reads or writes it by itself, as it may the processor's, dies by SIGSEGV. [one thread] */
#ifndef DUKD_TEST_DEVICE_MEMORY_H
#define DUKD_TEST_DEVICE_MEMORY_H

#include <stddef.h>
#include <stdint.h>

void *device_alloc(size_t bytes); /* aligned to 256, zeroed; NULL: full */
void device_release(void *p);     /* filled with NaN; NULL allowed */
int device_has(const void *p);    /* 1: p lies there */
size_t device_held(void);         /* bytes of what is allocated */

/* From open to close everybody may touch it; both nest. */
void device_open(void);
void device_close(void);

/* Ends the program, saying what a host has done wrong, where `right` is 0. */
void device_require(int right, const char *what);

#endif
