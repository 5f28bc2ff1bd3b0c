/* What a fuzz target is: libFuzzer's entry, declared so that it has a prototype.
 *
 * Built with clang and -DDUKD_SANITIZE=fuzzer-no-link,address,undefined a target is a libFuzzer program; built any other
 * way fuzz_main.c runs it over its corpus and over changed copies of it, as a test. A target aborts where something is
 * wrong that is no crash. */
#ifndef DUKD_TEST_FUZZ_H
#define DUKD_TEST_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
