/* What the tests of data sets and loaders share: a scratch folder, made-up images, and the plain way to turn a crop. */
#ifndef DUKD_TEST_DATA_FIXTURE_H
#define DUKD_TEST_DATA_FIXTURE_H

#include <stdint.h>

#include "data/dataset.h"
#include "data/image.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define DUKD_TEST_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define DUKD_TEST_SANITIZED 1
#endif
#endif
#ifndef DUKD_TEST_SANITIZED
#define DUKD_TEST_SANITIZED 0
#endif

/* Setup and teardown for cmocka: a new empty folder for each test, removed with all in it. */
int data_setup(void **state);
int data_teardown(void **state);
/* The path of `relative` inside the scratch folder; valid until 64 more calls. Folders on the way are made. */
const char *data_path(const char *relative);

/* An image that is smooth plus noise, of its own content for each `number`. */
dukd_image data_image(int32_t width, int32_t height, int32_t depth, uint64_t number);
/* The same written as PNG, and as tiled TIFF of `side`. Fail the test where that fails. */
void data_png(const char *path, int32_t width, int32_t height, int32_t depth, uint64_t number);
void data_write_png(const char *path, const dukd_image *image);
void data_write_tiled(const char *path, const dukd_image *image, int32_t side);
void data_text(const char *path, const char *text);

void data_same(const dukd_image *a, const dukd_image *b); /* size, depth and every sample */

dukd_dataset *data_open(const dukd_dataset_options *o); /* fails the test where it fails */
/* Opening must fail with this status and a message that holds both parts (part2 may be NULL). */
void data_refused(const dukd_dataset_options *o, int status, const char *part, const char *part2);

/* BasicSR's crop and augment, one step after the other, on copies: what dukd_dataset_crop must give. */
void data_crop_ref(const dukd_image *image, int32_t row, int32_t col, int32_t side, int32_t orientation,
                   float *planes);

#endif
