/* What --json prints is JSON: commas, escapes, numbers that read back, and an error where the output is full. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/json_out.h"

static void test_document(void **state) {
    (void)state;
    char *text = NULL;
    size_t size = 0;
    dukd_failure f = {0};
    FILE *to = open_memstream(&text, &size);
    assert_non_null(to);
    dukd_json j = dukd_json_begin(to);
    j.indent = 0;
    dukd_json_object(&j, NULL);
    dukd_json_text(&j, "a \"b\"\\", "line\n\ttab \x01 \xc3\xa9");
    dukd_json_text(&j, "none", NULL);
    dukd_json_array(&j, "list");
    dukd_json_number(&j, NULL, 0.1);
    dukd_json_number(&j, NULL, 1.0 / 0.0);
    dukd_json_number(&j, NULL, 1e300);
    dukd_json_integer(&j, NULL, INT64_MIN);
    dukd_json_boolean(&j, NULL, 2);
    dukd_json_array(&j, NULL);
    dukd_json_close(&j);
    dukd_json_close(&j);
    dukd_json_close(&j);
    assert_int_equal(dukd_json_end(&j, "test", &f), DUKD_DONE);
    fclose(to);
    assert_string_equal(text,
                        "{\"a \\\"b\\\"\\\\\": \"line\\n\\ttab \\u0001 \xc3\xa9\", \"none\": null, \"list\": "
                        "[0.1, null, 1e+300, -9223372036854775808, true, []]}\n");
    free(text);
}

static void test_numbers_read_back(void **state) {
    (void)state;
    const double numbers[] = {1.0 / 3, 0.0, -1e-310, 123456789.123456789, 5e-324, 28.42};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        char text[64] = {0};
        FILE *to = fmemopen(text, sizeof text, "w");
        assert_non_null(to);
        dukd_json j = dukd_json_begin(to);
        dukd_json_number(&j, NULL, numbers[i]);
        assert_int_equal(dukd_json_end(&j, "test", NULL), DUKD_DONE);
        fclose(to);
        assert_true(strtod(text, NULL) == numbers[i]);
    }
}

static void test_errors(void **state) {
    (void)state;
    dukd_failure f = {0}, g = {0};
    FILE *full = fopen("/dev/full", "w");
    assert_non_null(full);
    dukd_json j = dukd_json_begin(full);
    dukd_json_text(&j, NULL, "x");
    assert_int_equal(dukd_json_end(&j, "/dev/full", &f), DUKD_FAILED);
    assert_non_null(strstr(f.message, "/dev/full"));
    dukd_json open_one = dukd_json_begin(full);
    dukd_json_object(&open_one, NULL);
    assert_int_equal(dukd_json_end(&open_one, "x", &g), DUKD_FAILED);
    assert_non_null(strstr(g.message, "not complete"));
    fclose(full);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_document),
                                       cmocka_unit_test(test_numbers_read_back),
                                       cmocka_unit_test(test_errors)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
