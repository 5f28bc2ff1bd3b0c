/* Safetensors: files that others wrote are read, files that are written read back, files that lie are refused. */
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/safetensors.h"
#include "safetensors_hostile.h"
#include "support/fill.h"
#include "support/guard.h"

static char folder[64];

static int setup(void **state) {
    (void)state;
    snprintf(folder, sizeof folder, "%s", "/tmp/dukd_test_XXXXXX");
    return mkdtemp(folder) && chdir(folder) == 0 ? 0 : -1;
}

static int teardown(void **state) {
    (void)state;
    return chdir("/") == 0 && rmdir(folder) == 0 ? 0 : -1; /* fails where a test left a file behind */
}

/* length, header, data (zeros) in one block that the caller frees. */
static unsigned char *make_file(const char *header, size_t header_size, size_t data_size, size_t *size) {
    *size = 8 + header_size + data_size;
    unsigned char *file = calloc(1, *size);
    assert_non_null(file);
    for (int i = 0; i < 8; i++) file[i] = (unsigned char)((uint64_t)header_size >> 8 * i);
    memcpy(file + 8, header, header_size);
    return file;
}

/* Opens from memory that ends at a guard page, so that a byte read too many is a fault. */
static int open_guarded(dukd_tensor_file **out, const unsigned char *bytes, size_t size, void **guarded,
                        dukd_failure *f) {
    *guarded = dukd_guard_alloc(size, DUKD_GUARD_END);
    memcpy(*guarded, bytes, size);
    return dukd_tensor_file_open_memory(out, *guarded, size, "x.st", f);
}

static void expect_refused(const unsigned char *bytes, size_t size, const char *message) {
    dukd_failure f = {0};
    void *guarded;
    dukd_tensor_file *t = (dukd_tensor_file *)folder; /* must come back as NULL */
    int status = open_guarded(&t, bytes, size, &guarded, &f);
    if (status != DUKD_FAILED || t) fail_msg("was not refused; it should say '%s'", message);
    if (strncmp(f.message, "x.st: ", 6) != 0 || !strstr(f.message, message))
        fail_msg("'%s' has no '%s'", f.message, message);
    dukd_guard_free(guarded, size, DUKD_GUARD_END);
}

/* ---- reading ---- */

/* Written by the Python package safetensors 0.8.0 from {"b": [[1.5, -2]] f32, "a": [7, 8, 9] u8, "é": -3 i64} with metadata
 * {"k": 'v "ü"'}. */
static const char python_header[] =
    "{\"__metadata__\":{\"k\":\"v "
    "\\\"\xc3\xbc\\\"\"},\"\xc3\xa9\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":"
    "[0,8]},\"b\":{\"dtype\":\"F32\",\"shape\":[1,2],\"data_offsets\":[8,16]},\"a\":{\"dtype\":\"U8\","
    "\"shape\":[3],"
    "\"data_offsets\":[16,19]}}    ";
static const unsigned char python_data[19] = {0xfd, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0,
                                              0xc0, 0x3f, 0,    0,    0,    0xc0, 7,    8,    9};

static unsigned char *python_file(size_t *size) {
    unsigned char *file = make_file(python_header, sizeof python_header - 1, sizeof python_data, size);
    memcpy(file + *size - sizeof python_data, python_data, sizeof python_data);
    return file;
}

static void test_reads_what_python_wrote(void **state) {
    (void)state;
    size_t size;
    unsigned char *file = python_file(&size);
    dukd_failure f = {0};
    dukd_tensor_file *t;
    if (dukd_tensor_file_open_memory(&t, file, size, "x.st", &f) != DUKD_DONE) fail_msg("%s", f.message);
    assert_int_equal(dukd_tensor_file_count(t), 3);
    const dukd_st_tensor *e = dukd_tensor_file_find(t, "\xc3\xa9"), *b = dukd_tensor_file_find(t, "b");
    const dukd_st_tensor *a = dukd_tensor_file_find(t, "a");
    assert_ptr_equal(dukd_tensor_file_at(t, 0), e);
    assert_ptr_equal(dukd_tensor_file_at(t, 1), b);
    assert_ptr_equal(dukd_tensor_file_at(t, 2), a);
    assert_true(e->type == DUKD_ST_I64 && e->ndim == 0 && e->count == 1);
    assert_true(*(const int64_t *)e->data == -3);
    assert_true(b->type == DUKD_ST_F32 && b->ndim == 2 && b->dims[0] == 1 && b->dims[1] == 2 &&
                b->count == 2);
    assert_true(((const float *)b->data)[0] == 1.5f && ((const float *)b->data)[1] == -2);
    assert_true(a->type == DUKD_ST_U8 && a->ndim == 1 && a->count == 3 && ((const uint8_t *)a->data)[2] == 9);
    assert_string_equal(dukd_tensor_file_metadata(t, "k"), "v \"\xc3\xbc\"");
    assert_null(dukd_tensor_file_metadata(t, "l"));
    assert_null(dukd_tensor_file_find(t, "c"));
    assert_null(dukd_tensor_file_find(t, "__metadata__"));
    dukd_tensor_file_close(t);
    dukd_tensor_file_close(NULL);
    free(file);
}

static void test_reads_any_json_that_means_the_same(void **state) {
    (void)state;
    static const char header[] =
        "{ \n\t\"\\ud83d\\ude00\\/\\n\" : { \"data_offsets\" : [ 0 , 2 ] , \"shape\" : [ 2 , 1 ] ,\r\n"
        "\"dtype\" : \"\\u0055\\u0038\" } , \"__metadata__\" : { } , \"none\" :"
        "{\"dtype\":\"F32\",\"shape\":[3,0],\"data_offsets\":[2,2]}, \"first\":"
        "{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]} } \n ";
    size_t size;
    unsigned char *file = make_file(header, sizeof header - 1, 2, &size);
    file[size - 1] = 77;
    dukd_failure f = {0};
    dukd_tensor_file *t;
    if (dukd_tensor_file_open_memory(&t, file, size, "x.st", &f) != DUKD_DONE) fail_msg("%s", f.message);
    const dukd_st_tensor *smile = dukd_tensor_file_find(t, "\xF0\x9F\x98\x80/\n");
    assert_non_null(smile);
    assert_true(smile->type == DUKD_ST_U8 && smile->count == 2 && ((const uint8_t *)smile->data)[1] == 77);
    const dukd_st_tensor *none = dukd_tensor_file_find(t, "none");
    assert_true(none && none->count == 0 && none->ndim == 2 && none->data);
    dukd_tensor_file_close(t);
    free(file);

    file = make_file("{}", 2, 0, &size);
    assert_int_equal(dukd_tensor_file_open_memory(&t, file, size, "x.st", NULL), DUKD_DONE);
    assert_int_equal(dukd_tensor_file_count(t), 0);
    assert_null(dukd_tensor_file_find(t, "a"));
    dukd_tensor_file_close(t);
    free(file);
}

static void test_aligns_what_the_file_did_not(void **state) {
    (void)state;
    /* An odd header, and a byte before the numbers. */
    static const char header[] = "{\"c\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
                                 "\"x\":{\"dtype\":\"F64\",\"shape\":[2],\"data_offsets\":[1,17]}}";
    size_t size;
    unsigned char *file = make_file(header, sizeof header - 1, 17, &size);
    double numbers[2] = {1.25, -7e300};
    file[size - 17] = 5;
    memcpy(file + size - 16, numbers, 16);
    dukd_tensor_file *t;
    assert_int_equal(dukd_tensor_file_open_memory(&t, file, size, "x.st", NULL), DUKD_DONE);
    const dukd_st_tensor *x = dukd_tensor_file_find(t, "x");
    assert_int_equal((uintptr_t)x->data % 8, 0);
    assert_memory_equal(x->data, numbers, 16);
    assert_int_equal(*(const uint8_t *)dukd_tensor_file_find(t, "c")->data, 5);
    dukd_tensor_file_close(t);
    free(file);
}

/* ---- files that lie ---- */

static void test_hostile_headers(void **state) {
    (void)state;
    for (int i = 0; i < DUKD_HOSTILE_FILES; i++) {
        const dukd_hostile_file *h = &dukd_hostile_files[i];
        size_t size;
        unsigned char *file = make_file(h->header, strlen(h->header), h->data_size, &size);
        expect_refused(file, size, h->message);
        free(file);
    }
}

static void test_hostile_lengths(void **state) {
    (void)state;
    size_t size;
    unsigned char *file = python_file(&size);
    expect_refused(file, 0, "it has 0 bytes");
    expect_refused(file, 7, "it has 7 bytes");
    expect_refused(file, 8, "header should have 200 bytes, but only 0 are there");
    expect_refused(file, 207, "header should have 200 bytes, but only 199 are there");
    file[0] = 0;
    expect_refused(file, size, "header should have 0 bytes");
    file[0] = 1;
    expect_refused(file, size, "header should have 1 bytes");
    file[0] = 200;
    file[3] = 6; /* more than the format's limit */
    expect_refused(file, size, "does not begin with a header");
    memset(file, 0xFF, 8);
    expect_refused(file, size, "does not begin with a header");
    memset(file, 0, 8);
    file[0] = 200;
    file[8] = ' ';
    expect_refused(file, size, "does not begin with a header");
    free(file);
    expect_refused((const unsigned char *)"PK\3\4 this is a .pth of torch", 26,
                   "does not begin with a header");
}

/* Every prefix of a good file is refused, and so is the file with a byte more; nothing is read past the end. */
static void test_truncation(void **state) {
    (void)state;
    size_t size;
    unsigned char *file = python_file(&size);
    for (size_t cut = 0; cut < size; cut++) expect_refused(file, cut, "");
    unsigned char *longer = calloc(1, size + 1);
    assert_non_null(longer);
    memcpy(longer, file, size);
    expect_refused(longer, size + 1, "1 bytes at its end belong to no tensor");
    free(longer);
    free(file);
}

/* Whatever one byte becomes, the file is refused or all its tensors lie inside it. */
static void test_every_byte_changed(void **state) {
    (void)state;
    size_t size;
    unsigned char *file = python_file(&size);
    void *guarded = dukd_guard_alloc(size, DUKD_GUARD_END);
    int opened = 0;
    for (size_t i = 0; i < size - sizeof python_data; i++)
        for (int value = 0; value < 256; value++) {
            memcpy(guarded, file, size);
            ((unsigned char *)guarded)[i] = (unsigned char)value;
            dukd_failure f = {0};
            dukd_tensor_file *t;
            int status = dukd_tensor_file_open_memory(&t, guarded, size, "x.st", &f);
            assert_int_equal(f.status, status);
            if (status != DUKD_DONE) continue;
            opened++;
            uint64_t sum = 0;
            for (int32_t k = 0; k < dukd_tensor_file_count(t); k++) {
                const dukd_st_tensor *x = dukd_tensor_file_at(t, k);
                for (int64_t b = 0; b < x->count * dukd_st_type_size(x->type); b++)
                    sum += ((const unsigned char *)x->data)[b];
            }
            assert_true(sum > 0);
            dukd_tensor_file_close(t);
        }
    assert_in_range(opened, 200, 30000); /* other names and blanks are still files */
    dukd_guard_free(guarded, size, DUKD_GUARD_END);
    free(file);
}

/* Depth and length cost no stack and no quadratic time. */
static void test_large_hostile_headers(void **state) {
    (void)state;
    enum { LARGE = 4 << 20 };
    static const struct {
        const char *start, *repeat, *message;
    } rows[] = {
        {"{\"a\":", "{\"a\":", "a tensor has dtype, shape and data_offsets"},
        {"{\"a\":{\"shape\":", "[", "expected a whole number"},
        {"{\"__metadata__\":{\"k\":", "[", "expected a string"},
        {"{", " ", "expected a string"},
        {"{\"", "x", "a string does not end"},
        {"{\"__metadata__\":{\"k\":\"\"", ",\"k\":\"\"", "expected ',' or '}'"},
        {"{\"a\":{\"shape\":[0", ",0", "more than 8 dimensions"},
    };
    char *header = malloc(LARGE);
    assert_non_null(header);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        size_t length = strlen(rows[i].start), step = strlen(rows[i].repeat), size;
        memcpy(header, rows[i].start, length);
        for (; length + step <= LARGE; length += step) memcpy(header + length, rows[i].repeat, step);
        unsigned char *file = make_file(header, length, 0, &size);
        expect_refused(file, size, rows[i].message);
        free(file);
    }
    /* 280,000 keys of which the last repeats the first. */
    size_t length = (size_t)snprintf(header, LARGE, "{\"__metadata__\":{\"000000\":\"\""), size;
    for (int i = 1; i < 280000; i++)
        length += (size_t)snprintf(header + length, LARGE - length, ",\"%06d\":\"\"", i);
    length += (size_t)snprintf(header + length, LARGE - length, ",\"000000\":\"\"}}");
    unsigned char *file = make_file(header, length, 0, &size);
    expect_refused(file, size, "metadata '000000' is there twice");
    free(file);
    free(header);
}

static void test_messages_are_printable(void **state) {
    (void)state;
    char header[1000] = "{\"\\u001b[31m\\n";
    size_t length = strlen(header), size;
    while (length < 600) length += (size_t)sprintf(header + length, "\xc3\xa9");
    length +=
        (size_t)sprintf(header + length, "\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}");
    unsigned char *file = make_file(header, length, 0, &size);
    dukd_failure f = {0};
    dukd_tensor_file *t;
    assert_int_equal(dukd_tensor_file_open_memory(&t, file, size, "x.st", &f), DUKD_FAILED);
    assert_non_null(strstr(f.message, "tensor '?[31m?\xc3\xa9"));
    assert_non_null(strstr(f.message, "\xc3\xa9...' lies at bytes 0 to 4 of 0"));
    for (const char *p = f.message; *p; p++) assert_true((unsigned char)*p >= 0x20);
    free(file);
}

static void expect_open_failure(const char *path, const char *message) {
    dukd_failure f = {0};
    dukd_tensor_file *t = (dukd_tensor_file *)folder;
    assert_int_equal(dukd_tensor_file_open(&t, path, &f), DUKD_FAILED);
    assert_null(t);
    if (!strstr(f.message, message)) fail_msg("'%s' has no '%s'", f.message, message);
}

static void test_bad_files(void **state) {
    (void)state;
    expect_open_failure("missing", "missing: cannot be read: No such file or directory");
    expect_open_failure(folder, "it is a folder");
    assert_int_equal(mkfifo("fifo", 0666), 0);
    expect_open_failure("fifo", "it is no regular file");
    unlink("fifo");
    FILE *file = fopen("empty", "wb");
    assert_non_null(file);
    fclose(file);
    expect_open_failure("empty", "empty: is no safetensors file: it has 0 bytes");
    unlink("empty");
}

/* ---- writing ---- */

static void test_round_trip(void **state) {
    (void)state;
    enum { TYPES = DUKD_ST_U64 + 1 };
    unsigned char data[TYPES][48];
    char names[TYPES][32];
    dukd_st_tensor tensors[TYPES + 2];
    for (int i = 0; i < TYPES; i++) {
        dukd_fill_u8(data[i], 48, (uint64_t)i);
        snprintf(names[i], sizeof names[i], "type \"%d\"\\\n\xc3\xa9", i);
        tensors[i] = (dukd_st_tensor){.name = names[i],
                                      .type = (dukd_st_type)i,
                                      .ndim = 3,
                                      .dims = {1, 3, 2},
                                      .count = 6,
                                      .data = data[i]};
    }
    tensors[TYPES] = (dukd_st_tensor){.name = "scalar", .type = DUKD_ST_F16, .count = 1, .data = data[0]};
    tensors[TYPES + 1] = (dukd_st_tensor){.name = "none", .type = DUKD_ST_F64, .ndim = 2, .dims = {5, 0}};
    const dukd_st_entry metadata[] = {{"step", "12"},
                                      {"empty", ""},
                                      {"a \"key\"", "tab\t\x01 \xF0\x9F\x98\x80"},
                                      {"bytes", "/\xff\xfe/\xc3"}};
    dukd_failure f = {0};
    if (dukd_tensor_file_write("file", tensors, TYPES + 2, metadata, 4, &f) != DUKD_DONE)
        fail_msg("%s", f.message);

    dukd_tensor_file *t;
    if (dukd_tensor_file_open(&t, "file", &f) != DUKD_DONE) fail_msg("%s", f.message);
    assert_int_equal(dukd_tensor_file_count(t), TYPES + 2);
    for (int i = 0; i < TYPES + 2; i++) {
        const dukd_st_tensor *want = &tensors[i], *got = dukd_tensor_file_find(t, want->name);
        assert_non_null(got);
        assert_int_equal(got->type, want->type);
        assert_int_equal(got->ndim, want->ndim);
        assert_int_equal(got->count, want->count);
        for (int d = 0; d < want->ndim; d++) assert_int_equal(got->dims[d], want->dims[d]);
        size_t size = (size_t)dukd_st_type_size(want->type);
        assert_int_equal((uintptr_t)got->data % size, 0);
        if (want->count) assert_memory_equal(got->data, want->data, (size_t)want->count * size);
    }
    /* Larger elements first, else as given. */
    assert_string_equal(dukd_tensor_file_at(t, 0)->name, names[DUKD_ST_F64]);
    assert_string_equal(dukd_tensor_file_at(t, 3)->name, "none");
    assert_string_equal(dukd_tensor_file_at(t, TYPES + 1)->name, names[DUKD_ST_I8]);
    assert_string_equal(dukd_tensor_file_metadata(t, "step"), "12");
    assert_string_equal(dukd_tensor_file_metadata(t, "empty"), "");
    assert_string_equal(dukd_tensor_file_metadata(t, "a \"key\""), "tab\t\x01 \xF0\x9F\x98\x80");
    assert_string_equal(dukd_tensor_file_metadata(t, "bytes"), "/\xEF\xBF\xBD\xEF\xBF\xBD/\xEF\xBF\xBD");
    dukd_tensor_file_close(t);

    /* The format's own rules: blanks after the JSON, data aligned to 8. */
    unsigned char start[4096];
    FILE *file = fopen("file", "rb");
    assert_non_null(file);
    assert_true(fread(start, 1, sizeof start, file) > 1000);
    fclose(file);
    size_t header = start[0] + 256u * start[1];
    assert_int_equal(header % 8, 0);
    while (start[8 + header - 1] == ' ') header--;
    assert_int_equal(start[8 + header - 1], '}');
    assert_null(memchr(start + 8, '\n', header));
    unlink("file");
}

static void test_writes_every_header_length(void **state) {
    (void)state;
    for (int length = 1; length <= 17; length++) {
        char name[32] = "aaaaaaaaaaaaaaaaa";
        name[length] = '\0';
        double number = length;
        const dukd_st_tensor tensor = {.name = name, .type = DUKD_ST_F64, .count = 1, .data = &number};
        dukd_failure f = {0};
        dukd_tensor_file *t;
        assert_int_equal(dukd_tensor_file_write("file", &tensor, 1, NULL, 0, &f), DUKD_DONE);
        if (dukd_tensor_file_open(&t, "file", &f) != DUKD_DONE) fail_msg("%s", f.message);
        assert_true(*(const double *)dukd_tensor_file_find(t, name)->data == length);
        dukd_tensor_file_close(t);
    }
    assert_int_equal(dukd_tensor_file_write("file", NULL, 0, NULL, 0, NULL), DUKD_DONE);
    dukd_tensor_file *t;
    assert_int_equal(dukd_tensor_file_open(&t, "file", NULL), DUKD_DONE);
    assert_int_equal(dukd_tensor_file_count(t), 0);
    dukd_tensor_file_close(t);
    unlink("file");
}

static void expect_not_written(const dukd_st_tensor *tensors, int32_t count, const dukd_st_entry *metadata,
                               int32_t metadata_count, const char *message) {
    dukd_failure f = {0};
    assert_int_equal(dukd_tensor_file_write("file", tensors, count, metadata, metadata_count, &f),
                     DUKD_MISUSED);
    if (!strstr(f.message, message)) fail_msg("'%s' has no '%s'", f.message, message);
    assert_int_equal(access("file", F_OK), -1);
    assert_int_equal(access("file.part", F_OK), -1);
}

static void test_refuses_to_write(void **state) {
    (void)state;
    float numbers[2] = {1, 2};
    const dukd_st_tensor good = {
        .name = "a", .type = DUKD_ST_F32, .ndim = 1, .dims = {2}, .count = 2, .data = numbers};
    dukd_st_tensor pair[2] = {good, good};
    expect_not_written(pair, 2, NULL, 0, "the tensor name 'a' is given twice");
    pair[1].name = "";
    expect_not_written(pair, 2, NULL, 0, "the tensor name '' is empty");
    pair[1].name = "\xff";
    expect_not_written(pair, 2, NULL, 0, "is not UTF-8");
    pair[1].name = "__metadata__";
    expect_not_written(pair, 2, NULL, 0, "is reserved");
    pair[1] = good;
    pair[1].name = "b";
    pair[1].count = 3;
    expect_not_written(pair, 2, NULL, 0, "shape, count and data of tensor 'b' do not agree");
    pair[1].count = 2;
    pair[1].data = NULL;
    expect_not_written(pair, 2, NULL, 0, "'b' do not agree");
    pair[1].data = numbers;
    pair[1].dims[0] = -2;
    pair[1].count = -2;
    expect_not_written(pair, 2, NULL, 0, "'b' do not agree");
    pair[1].ndim = DUKD_ST_MAX_DIMS + 1;
    expect_not_written(pair, 2, NULL, 0, "'b' do not agree");
    const dukd_st_entry twice[2] = {{"k", "1"}, {"k", "2"}};
    expect_not_written(&good, 1, twice, 2, "the metadata name 'k' is given twice");
}

static void test_failed_write_keeps_the_old_file(void **state) {
    (void)state;
    static float numbers[100000];
    const dukd_st_tensor small = {.name = "a", .type = DUKD_ST_F32, .count = 1, .data = numbers};
    const dukd_st_tensor large = {
        .name = "a", .type = DUKD_ST_F32, .ndim = 1, .dims = {100000}, .count = 100000, .data = numbers};
    dukd_failure f = {0};
    assert_int_equal(dukd_tensor_file_write("missing/file", &small, 1, NULL, 0, &f), DUKD_FAILED);
    assert_non_null(strstr(f.message, "missing/file"));

    assert_int_equal(dukd_tensor_file_write("file", &small, 1, NULL, 0, NULL), DUKD_DONE);
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    struct rlimit limit = {1000, before.rlim_max}; /* fails as a full disk does */
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    f = (dukd_failure){0};
    int status = dukd_tensor_file_write("file", &large, 1, NULL, 0, &f);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, SIG_DFL);
    assert_int_equal(status, DUKD_FAILED);
    assert_string_equal(f.message, "file: cannot be written: File too large");
    assert_int_equal(access("file.part", F_OK), -1);
    dukd_tensor_file *t;
    assert_int_equal(dukd_tensor_file_open(&t, "file", NULL), DUKD_DONE);
    assert_int_equal(dukd_tensor_file_find(t, "a")->count, 1);
    dukd_tensor_file_close(t);
    unlink("file");
}

/* A file may be replaced while it is open: the mapping keeps the old one. */
static void test_replaced_while_open(void **state) {
    (void)state;
    float number = 1;
    const dukd_st_tensor tensor = {.name = "a", .type = DUKD_ST_F32, .count = 1, .data = &number};
    dukd_tensor_file *t;
    assert_int_equal(dukd_tensor_file_write("file", &tensor, 1, NULL, 0, NULL), DUKD_DONE);
    assert_int_equal(dukd_tensor_file_open(&t, "file", NULL), DUKD_DONE);
    number = 2;
    assert_int_equal(dukd_tensor_file_write("file", &tensor, 1, NULL, 0, NULL), DUKD_DONE);
    assert_true(*(const float *)dukd_tensor_file_find(t, "a")->data == 1);
    dukd_tensor_file_close(t);
    unlink("file");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads_what_python_wrote),
        cmocka_unit_test(test_reads_any_json_that_means_the_same),
        cmocka_unit_test(test_aligns_what_the_file_did_not),
        cmocka_unit_test(test_hostile_headers),
        cmocka_unit_test(test_hostile_lengths),
        cmocka_unit_test(test_truncation),
        cmocka_unit_test(test_every_byte_changed),
        cmocka_unit_test(test_large_hostile_headers),
        cmocka_unit_test(test_messages_are_printable),
        cmocka_unit_test(test_bad_files),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_writes_every_header_length),
        cmocka_unit_test(test_refuses_to_write),
        cmocka_unit_test(test_failed_write_keeps_the_old_file),
        cmocka_unit_test(test_replaced_while_open),
    };
    return cmocka_run_group_tests_name("safetensors", tests, setup, teardown);
}
