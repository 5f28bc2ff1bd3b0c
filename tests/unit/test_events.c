/* TensorBoard's event files: the checksum's published values, and every byte of a file read back by the format's rules. */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "data_fixture.h"
#include "train/events.h"

static void checksum(void **state) {
    (void)state;
    unsigned char bytes[32];
    assert_int_equal(dukd_crc32c("123456789", 9),
                     0xe3069283u); /* RFC 3720, appendix B.4, and the usual check value */
    memset(bytes, 0, sizeof bytes);
    assert_int_equal(dukd_crc32c(bytes, 32), 0x8a9136aau);
    memset(bytes, 0xff, sizeof bytes);
    assert_int_equal(dukd_crc32c(bytes, 32), 0x62a8ab43u);
    for (int i = 0; i < 32; i++) bytes[i] = (unsigned char)i;
    assert_int_equal(dukd_crc32c(bytes, 32), 0x46dd794eu);
    assert_int_equal(dukd_crc32c("", 0), 0);
    assert_int_equal(dukd_crc32c_masked("", 0), 0xa282ead8u);
    assert_int_equal(dukd_crc32c_masked("123456789", 9),
                     0xc78ab0e5u); /* rotated right by 15, plus the constant */
}

/* ---- a reader of what is written ---- */

typedef struct {
    double wall_time;
    int64_t step;
    char version[32], tag[256];
    float value;
    int has_value, session_status;
} event;

static uint64_t little(const unsigned char *p, int bytes) {
    uint64_t v = 0;
    for (int i = 0; i < bytes; i++) v |= (uint64_t)p[i] << 8 * i;
    return v;
}

static uint64_t varint(const unsigned char **p, const unsigned char *end) {
    uint64_t v = 0;
    for (int shift = 0;; shift += 7) {
        assert_true(*p < end && shift < 64);
        v |= (uint64_t)(**p & 127) << shift;
        if (!(*(*p)++ & 128)) return v;
    }
}

typedef struct {
    uint32_t field, wire;
    uint64_t number;
    const unsigned char *bytes;
    uint64_t size;
} wire_field;

static wire_field next_field(const unsigned char **p, const unsigned char *end) {
    wire_field f = {0};
    const uint64_t key = varint(p, end);
    f.field = (uint32_t)(key >> 3);
    f.wire = key & 7;
    if (f.wire == 0)
        f.number = varint(p, end);
    else if (f.wire == 2) {
        f.size = varint(p, end);
        f.bytes = *p;
        *p += f.size;
    } else {
        f.size = f.wire == 1 ? 8 : 4;
        assert_true(f.wire == 1 || f.wire == 5);
        f.number = little(*p, (int)f.size);
        *p += f.size;
    }
    assert_true(*p <= end);
    return f;
}

static void read_value(const wire_field *summary, event *out) {
    const unsigned char *p = summary->bytes, *end = p + summary->size;
    const wire_field value = next_field(&p, end);
    assert_true(value.field == 1 && value.wire == 2 && p == end);
    p = value.bytes;
    end = p + value.size;
    while (p < end) {
        const wire_field f = next_field(&p, end);
        if (f.field == 1) {
            assert_true(f.wire == 2 && f.size < sizeof out->tag);
            memcpy(out->tag, f.bytes, f.size);
        } else {
            assert_true(f.field == 2 && f.wire == 5);
            const uint32_t bits = (uint32_t)f.number;
            memcpy(&out->value, &bits, sizeof bits);
            out->has_value = 1;
        }
    }
}

static event read_event(const unsigned char *p, const unsigned char *end) {
    event e = {0};
    while (p < end) {
        const wire_field f = next_field(&p, end);
        if (f.field == 1 && f.wire == 1)
            memcpy(&e.wall_time, &f.number, sizeof e.wall_time);
        else if (f.field == 2 && f.wire == 0)
            e.step = (int64_t)f.number;
        else if (f.field == 3 && f.wire == 2 && f.size < sizeof e.version)
            memcpy(e.version, f.bytes, f.size);
        else if (f.field == 5 && f.wire == 2)
            read_value(&f, &e);
        else if (f.field == 7 && f.wire == 2) {
            const unsigned char *q = f.bytes;
            const wire_field status = next_field(&q, f.bytes + f.size);
            assert_true(status.field == 1 && status.wire == 0);
            e.session_status = (int)status.number;
        } else
            fail_msg("field %u of wire type %u", f.field, f.wire);
    }
    return e;
}

/* All events of the only file in `folder`. */
static int read_folder(const char *folder, event *out, int room) {
    char path[1024] = "";
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    for (const struct dirent *d = readdir(dir); d; d = readdir(dir))
        if (d->d_name[0] != '.') {
            assert_int_equal(strncmp(d->d_name, "events.out.tfevents.", 20), 0);
            assert_string_equal(path, "");
            snprintf(path, sizeof path, "%s/%s", folder, d->d_name);
        }
    closedir(dir);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    static unsigned char bytes[1 << 20];
    const size_t size = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    int count = 0;
    for (size_t at = 0; at < size; count++) {
        assert_true(at + 12 <= size && count < room);
        const uint64_t length = little(bytes + at, 8);
        assert_int_equal(little(bytes + at + 8, 4), dukd_crc32c_masked(bytes + at, 8));
        assert_true(length <= size - at - 16);
        assert_int_equal(little(bytes + at + 12 + length, 4), dukd_crc32c_masked(bytes + at + 12, length));
        out[count] = read_event(bytes + at + 12, bytes + at + 12 + length);
        at += 16 + length;
    }
    return count;
}

/* ---- tests ---- */

static void a_file_reads_back(void **state) {
    (void)state;
    dukd_events *e = NULL;
    event got[8];
    data_path("tb/x"); /* makes the folder */
    const char *folder = data_path("tb");
    assert_int_equal(dukd_events_open(&e, folder, -1, NULL), 0);
    assert_int_equal(dukd_events_scalar(e, "losses/l_rec", 1, 0.25, NULL), 0);
    assert_int_equal(dukd_events_scalar(e, "metrics/Set5/psnr", 300, 31.5, NULL), 0);
    assert_int_equal(dukd_events_scalar(e, "lr", INT64_C(1) << 40, 1e-4, NULL), 0);
    /* nothing is waiting in a buffer: a killed run has it all */
    assert_int_equal(read_folder(folder, got, 8), 4);
    dukd_events_close(e);
    assert_int_equal(read_folder(folder, got, 8), 4);
    assert_string_equal(got[0].version, "brain.Event:2");
    assert_true(got[0].wall_time > 1.6e9);
    assert_string_equal(got[1].tag, "losses/l_rec");
    assert_true(got[1].has_value && got[1].value == 0.25f && got[1].step == 1);
    assert_string_equal(got[2].tag, "metrics/Set5/psnr");
    assert_true(got[2].value == 31.5f && got[2].step == 300);
    assert_true(got[3].value == 1e-4f && got[3].step == INT64_C(1) << 40);
}

static void a_resumed_run_says_so(void **state) {
    (void)state;
    dukd_events *e = NULL;
    event got[4];
    data_path("tb/x");
    assert_int_equal(dukd_events_open(&e, data_path("tb"), 500, NULL), 0);
    dukd_events_close(e);
    assert_int_equal(read_folder(data_path("tb"), got, 4), 2);
    assert_int_equal(got[1].session_status, 1);
    assert_int_equal(got[1].step, 501);
}

static void a_long_tag_is_cut(void **state) {
    (void)state;
    char tag[5000];
    dukd_events *e = NULL;
    event got[4];
    memset(tag, 'x', sizeof tag);
    tag[sizeof tag - 1] = 0;
    data_path("tb/x");
    assert_int_equal(dukd_events_open(&e, data_path("tb"), -1, NULL), 0);
    assert_int_equal(dukd_events_scalar(e, tag, 1, 2, NULL), 0);
    dukd_events_close(e);
    assert_int_equal(read_folder(data_path("tb"), got, 4), 2);
    assert_true(strlen(got[1].tag) == 200 && got[1].value == 2);
}

static void a_folder_that_is_not_there(void **state) {
    (void)state;
    dukd_events *e = NULL;
    dukd_failure f = {0};
    assert_int_equal(dukd_events_open(&e, "/nonexistent/folder", -1, &f), DUKD_FAILED);
    assert_null(e);
    assert_non_null(strstr(f.message, "/nonexistent/folder"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(checksum),
        cmocka_unit_test_setup_teardown(a_file_reads_back, data_setup, data_teardown),
        cmocka_unit_test_setup_teardown(a_resumed_run_says_so, data_setup, data_teardown),
        cmocka_unit_test_setup_teardown(a_long_tag_is_cut, data_setup, data_teardown),
        cmocka_unit_test(a_folder_that_is_not_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
