/* Files of torch.save's: those that PyTorch wrote (fuzz/corpus/torch), those that we write, and those that lie. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "data_fixture.h"
#include "tensors/pickle.h"
#include "tensors/tensor_source.h"
#include "tensors/torch_file.h"
#include "tensors/zip_file.h"

#define NEED_ZIP()                                                                                           \
    if (!dukd_zip_is_built_in()) {                                                                           \
        print_message("SKIP: built without libzip\n");                                                       \
        skip();                                                                                              \
    }

static unsigned char *load(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    if (!file) fail_msg("%s cannot be opened", path);
    unsigned char *bytes = malloc(1 << 20);
    assert_non_null(bytes);
    *size = fread(bytes, 1, 1 << 20, file);
    fclose(file);
    return bytes;
}

static unsigned char *corpus(const char *name, size_t *size) {
    char path[512];
    snprintf(path, sizeof path, DUKD_SOURCE_DIR "/tests/fuzz/corpus/torch/%s", name);
    return load(path, size);
}

static void refused(const void *bytes, size_t size, const char *part) {
    dukd_torch_file *t;
    dukd_failure f = {0};
    assert_int_equal(dukd_torch_file_open_memory(&t, bytes, size, "f.pth", &f), DUKD_FAILED);
    assert_null(t);
    if (strncmp(f.message, "f.pth: ", 7) != 0 || !strstr(f.message, part))
        fail_msg("'%s' does not say '%s'", f.message, part);
}

static dukd_torch_file *opened(const void *bytes, size_t size) {
    dukd_torch_file *t;
    dukd_failure f = {0};
    if (dukd_torch_file_open_memory(&t, bytes, size, "f.pth", &f) != DUKD_DONE) fail_msg("%s", f.message);
    return t;
}

static void is_tensor(const dukd_torch_file *t, const char *name, const char *shape, const float *values) {
    const dukd_st_tensor *x = dukd_torch_file_find(t, name);
    char text[64] = "";
    if (!x) fail_msg("there is no %s", name);
    for (int32_t d = 0; d < x->ndim; d++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s%d", d ? "x" : "", (int)x->dims[d]);
    assert_string_equal(text, shape);
    assert_int_equal(x->type, DUKD_ST_F32);
    assert_memory_equal(x->data, values, (size_t)x->count * sizeof *values);
}

static const float bias[2] = {1, 2};

static void what_pytorch_has_written(void **state) {
    (void)state;
    static const struct {
        const char *file, *prefix;
    } cases[] = {{"zip.pth", "params."}, {"legacy.pth", ""}, {"protocol4.pth", ""}, {"state.pth", "net."}};
    float weight[24];
    for (int i = 0; i < 24; i++) weight[i] = (float)i;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char name[64];
        size_t size;
        if (i == 0 && !dukd_zip_is_built_in()) continue;
        unsigned char *bytes = corpus(cases[i].file, &size);
        dukd_torch_file *t = opened(bytes, size);
        free(bytes); /* nothing points into it */
        assert_int_equal(dukd_torch_file_count(t), 2);
        snprintf(name, sizeof name, "%sconv.weight", cases[i].prefix);
        is_tensor(t, name, "2x3x2x2", weight);
        snprintf(name, sizeof name, "%sconv.bias", cases[i].prefix);
        is_tensor(t, name, "2", bias);
        assert_null(dukd_torch_file_find(t, "conv"));
        dukd_torch_file_close(t);
    }
}

static void python_2_and_odd_layouts(void **state) {
    (void)state;
    static const float turned[6] = {0, 3, 1, 4, 2, 5}, ones[2] = {1, 1};
    size_t size;
    unsigned char *bytes = corpus("python2.pth", &size);
    dukd_torch_file *t = opened(bytes, size);
    is_tensor(t, "conv.bias", "2", bias);
    dukd_torch_file_close(t);
    free(bytes);
    bytes = corpus("turned.pth", &size);
    t = opened(bytes, size);
    is_tensor(t, "turned", "3x2", turned);
    is_tensor(t, "parameter", "2", ones);
    dukd_torch_file_close(t);
    free(bytes);
}

static void files_that_call(void **state) {
    (void)state;
    size_t size;
    unsigned char *bytes = corpus("call.pth", &size);
    refused(bytes, size, "wants to call posix.system");
    free(bytes);
    NEED_ZIP()
    bytes = corpus("call_zip.pth", &size);
    refused(bytes, size, "wants to call posix.system");
    free(bytes);
    bytes = corpus("compressed.pth", &size);
    refused(bytes, size, "'a/data.pkl' is compressed");
    free(bytes);
    bytes = corpus("deep.pth", &size);
    refused(bytes, size, "more than 8 deep");
    free(bytes);
    bytes = corpus("itself.pth", &size);
    refused(bytes, size, "more than 8 deep");
    free(bytes);
}

/* ---------------------------------------------------------------- lies, in the format before 1.6 */

#define MAGIC                                                                                                \
    "\x80\x02\x8a\nl\xfc\x9c"                                                                                \
    "F\xf9 j\xa8P\x19."
#define START   MAGIC "\x80\x02M\xe9\x03.\x80\x02}X\x0d\0\0\0little_endian\x88s."
#define KEY(k)  "X\1\0\0\0" k
#define STORAGE "(X\7\0\0\0storagectorch\nFloatStorage\n" KEY("0") "X\3\0\0\0cpuK\4NtQ"
#define ORDERED "ccollections\nOrderedDict\n)R"
#define TENSOR(offset, dims, strides)                                                                        \
    "ctorch._utils\n_rebuild_tensor_v2\n(" STORAGE offset "(" dims "t(" strides "t\x89" ORDERED "tR"
#define NUMBERS                                                                                              \
    "\x80\x02]" KEY("0") "a.\4\0\0\0\0\0\0\0"                                                                \
                         "aaaabbbbccccdddd"
#define WITH(object) START "\x80\x02}" KEY("a") object "s." NUMBERS
#define PLAIN        TENSOR("K\0", "K\2K\2", "K\2K\1")
#define ROW(bytes, message)                                                                                  \
    { bytes, sizeof bytes - 1, message }

static const struct {
    const char *bytes;
    size_t size;
    const char *message;
} lies[] = {
    /* shapes and places */
    ROW(WITH(TENSOR("K\1", "K\2K\2", "K\2K\1")), "'a' reaches outside its storage of 4 numbers"),
    ROW(WITH(TENSOR("K\0", "K\2K\2", "K\3K\1")), "'a' reaches outside its storage"),
    ROW(WITH(TENSOR("J\xff\xff\xff\xff", "K\2", "K\1")), "'a' reaches outside its storage"),
    ROW(WITH(TENSOR("K\3", "K\2K\2", "J\xff\xff\xff\xffK\1")), "'a' reaches outside its storage"),
    ROW(WITH(TENSOR("\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f", "K\2", "K\1")), "reaches outside"),
    ROW(WITH(TENSOR("K\0", "K\2", "\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f")), "reaches outside"),
    ROW(WITH(TENSOR("K\0",
                    "J\0\0\0\x40"
                    "J\0\0\0\x40"
                    "J\0\0\0\x40",
                    "K\0K\0K\0")),
        "shape of tensor 'a' is too large"),
    ROW(WITH(TENSOR("K\0", "J\xff\xff\xff\xff", "K\1")), "shape of tensor 'a' is negative"),
    ROW(WITH(TENSOR("K\0", "J\0\0\0\x40", "K\0")), "'a' shows the same numbers in several places"),
    ROW(WITH(TENSOR("K\0", "K\2K\2", "K\1")), "a tensor is not put together from"),
    ROW(WITH(TENSOR("K\0", "K\1K\1K\1K\1K\1K\1K\1K\1K\1", "K\1K\1K\1K\1K\1K\1K\1K\1K\1")), "at most 8 sizes"),
    ROW(WITH(TENSOR("K\0", "NK\2", "K\2K\1")), "a tensor is not put together from"),
    /* names */
    ROW(START "\x80\x02}(" KEY("a") PLAIN KEY("a") PLAIN "u." NUMBERS, "tensor 'a' is there twice"),
    ROW(START "\x80\x02}(X\3\0\0\0a.b" PLAIN KEY("a") "}" KEY("b") PLAIN "su." NUMBERS,
        "'a.b' is there twice"),
    ROW(START "\x80\x02}X\0\0\0\0" PLAIN "s." NUMBERS, "empty name"),
    ROW(START "\x80\x02}X\1\0\0\0\xff" PLAIN "s." NUMBERS, "no UTF-8"),
    ROW(START "\x80\x02}X\1\0\0\0\0" PLAIN "s." NUMBERS, "no UTF-8"),
    /* storages */
    ROW(START "\x80\x02}" KEY("a") PLAIN "s.\x80\x02].", "storage '0' is missing"),
    ROW(START "\x80\x02}" KEY("a") PLAIN "s.\x80\x02]" KEY("1") "a.", "'1' which nothing refers to"),
    ROW(START "\x80\x02}" KEY("a") PLAIN "s.\x80\x02]" KEY("0") "a.\5\0\0\0\0\0\0\0"
                                                                "aaaabbbbccccddddeeee",
        "storage '0' has 5 numbers where 4 are meant"),
    ROW(START "\x80\x02}" KEY("a") PLAIN "s.\x80\x02](" KEY("0") KEY("0") "e.\4\0\0\0\0\0\0\0"
                                                                          "aaaabbbbccccdddd",
        "lists storage '0' twice"),
    ROW(START "\x80\x02}" KEY("a") PLAIN "s.\x80\x02}.", "no list of storages"),
    ROW(START "\x80\x02}(" KEY("a")
            PLAIN KEY("b") "(X\7\0\0\0storagectorch\nFloatStorage\n" KEY("0") "X\3\0\0\0cpuK\5NtQu." NUMBERS,
        "storage '0' has two types or sizes"),
    ROW(START "\x80\x02(X\7\0\0\0storagectorch\nFloatStorage\n" KEY("0") "X\3\0\0\0cpuJ\0\0\0\x7fNtQ.",
        "larger than the file"),
    ROW(START "\x80\x02(X\7\0\0\0storagectorch\nDoubleStorage\n" KEY(
            "0") "X\3\0\0\0cpu\x8a\x08\0\0\0\0\0\0\0\x40NtQ.",
        "larger than the file"),
    ROW(START "\x80\x02(X\7\0\0\0storagectorch\nFloatStorage\n" KEY("0") "X\3\0\0\0cpuJ\xff\xff\xff\xffNtQ.",
        "a reference names no storage"),
    ROW(START "\x80\x02(X\7\0\0\0storagectorch\nFloatStorage\n" KEY("0") "X\3\0\0\0cpuK\4)tQ.",
        "view of a storage"),
    ROW(START "\x80\x02(X\7\0\0\0storagectorch\nFloatStorage\nX\2\0\0\0\n\nX\3\0\0\0cpuK\0NtQ.",
        "odd name '"),
    /* what wants to run */
    ROW(START "\x80\x02"
              "cos\nsystem\nX\4\0\0\0exit\x85R.",
        "wants to call os.system"),
    ROW(START "\x80\x02"
              "cbuiltins\neval\n.",
        "wants to call builtins.eval"),
    ROW(START "\x80\x04\x8c\2os\x8c\6system\x93.", "wants to call os.system"),
    ROW(START "\x80\x02"
              "ctorch\nQInt8Storage\n.",
        "wants to call torch.QInt8Storage"),
    ROW(START "\x80\x02"
              "c\x1b[2J\n\xff\n.",
        "wants to call ?[2J.?"),
    ROW(START "\x80\x02"
              "ctorch\nFloatStorage\n)R.",
        "it calls a type of storage"),
    ROW(START "\x80\x02}}b.", "attributes of what is no OrderedDict"),
    ROW(START "\x80\x02}}R.", "calls what is no function"),
    ROW(START "\x80\x02(ios\nsystem\n.", "opcode 0x69"),
    ROW(START "\x80\x02\x82\1.", "opcode 0x82"),
    ROW(START "\x80\x02Pos\n.", "opcode 0x50"),
    /* the machine */
    ROW(START "\x80\x02}r\xff\xff\xff\xff.", "memo number 4294967295 follows 0"),
    ROW(START "\x80\x02}q\x02.", "memo number 2 follows 0"),
    ROW(START "\x80\x02q\0.", "a value is missing"),
    ROW(START "\x80\x02h\0.", "memo number 0 was never written"),
    ROW(START "\x80\x02}q\x01h\0.", "memo number 0 was never written"),
    ROW(START "\x80\x02t.", "a mark is missing"),
    ROW(START "\x80\x02N(\x85.", "a value is missing"),
    ROW(START "\x80\x02(.", "a mark that nothing has used"),
    ROW(START "\x80\x02NN.", "more than one value"),
    ROW(START "\x80\x02.", "a value is missing"),
    ROW(START "\x80\x02}Na.", "put into what is no list"),
    ROW(START "\x80\x02]NNs.", "put into what is no dictionary"),
    ROW(START "\x80\x02}(Nu.", "a key without a value"),
    ROW(START "\x80\x02(Nd.", "a key without a value"),
    ROW(START "\x80\x02X\xff\xff\xff\xff.", "should have 4294967295 bytes"),
    ROW(START "\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\xff.", "should have 18446744073709551615 bytes"),
    ROW(START "\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7f.", "a frame should have"),
    ROW(START "\x80\x02\x8b\xff\xff\xff\xff.", "should have 4294967295 bytes"),
    ROW(START "\x80\x09N.", "protocol 9"),
    ROW(START "\x80\x02]"
              "ccollections\nOrderedDict\n](N]e\x85R.",
        "not made of a list of pairs"),
    /* the beginning */
    ROW(START "\x80\x02K\1.\x80\x02].", "no dictionary of tensors"),
    ROW("\x80\x02\x8a\nl\xfc\x9c"
        "F\xf9 j\xa8P\x18.",
        "is a pickle, but none of PyTorch's"),
    ROW("\x80\x02}q\0.", "is a pickle, but none of PyTorch's"),
    ROW(MAGIC "\x80\x02K\1.\x80\x02}.", "unknown version"),
    ROW(MAGIC "\x80\x02M\xe9\x03.\x80\x02}X\x0d\0\0\0little_endian\x89s.", "big-endian"),
    ROW("neither", "is no file of PyTorch's"),
};

static void each_lie_is_named(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++)
        refused(lies[i].bytes, lies[i].size, lies[i].message);
    static const char fine[] = WITH(PLAIN); /* what the others are variations of */
    dukd_torch_file *t = opened(fine, sizeof fine - 1);
    assert_int_equal(dukd_torch_file_count(t), 1);
    assert_memory_equal(dukd_torch_file_at(t, 0)->data, "aaaabbbbccccdddd", 16);
    dukd_torch_file_close(t);
}

static void too_many_values(void **state) {
    (void)state;
    const size_t size = 8 << 20;
    unsigned char *bytes = malloc(size);
    dukd_pickle *p;
    dukd_failure f = {0};
    size_t used;
    assert_non_null(bytes);
    memset(bytes, 'N', size);
    assert_int_equal(dukd_pickle_read(&p, bytes, size, 0, &used, "f", &f), DUKD_FAILED);
    assert_non_null(strstr(f.message, "it makes more than 4194304 values"));
    memset(bytes, '(', size);
    f = (dukd_failure){0};
    assert_int_equal(dukd_pickle_read(&p, bytes, size, 0, &used, "f", &f), DUKD_FAILED);
    assert_non_null(strstr(f.message, "it makes more than 4194304 values"));
    free(bytes);
}

/* Dictionaries that hold the one inside them a dozen times: small to write, 12^7 entries to walk. */
static void dictionaries_that_multiply(void **state) {
    (void)state;
    enum { LEVELS = 7, TIMES = 12 };
    unsigned char bytes[4096];
    static const char start[] = START "\x80\x02", open[] = "}(" KEY("a"), inner[] = "}q\0",
                      end[] = ".\x80\x02].";
    size_t n = 0;
#define PUT(text) (memcpy(bytes + n, text, sizeof(text) - 1), n += sizeof(text) - 1)
    PUT(start);
    for (int level = 0; level < LEVELS; level++) PUT(open);
    PUT(inner);
    for (unsigned char level = 0; level < LEVELS; level++) {
        for (unsigned char k = 1; k < TIMES; k++) {
            const unsigned char entry[] = {'X', 1, 0, 0, 0, (unsigned char)('a' + k), 'h', level};
            memcpy(bytes + n, entry, sizeof entry);
            n += sizeof entry;
        }
        bytes[n++] = 'u';
        bytes[n++] = 'q';
        bytes[n++] = (unsigned char)(level + 1);
    }
    PUT(end);
#undef PUT
    refused(bytes, n, "more than 1048576 entries");
}

static void cut_anywhere(void **state) {
    (void)state;
    static const char *const files[] = {"legacy.pth", "protocol4.pth", "python2.pth", "zip.pth"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        size_t size;
        if (i == 3 && !dukd_zip_is_built_in()) continue;
        unsigned char *bytes = corpus(files[i], &size);
        for (size_t n = 0; n < size; n++) {
            unsigned char *cut = malloc(n ? n : 1); /* of its own size, so that a byte too many is seen */
            assert_non_null(cut);
            memcpy(cut, bytes, n);
            refused(cut, n, "");
            free(cut);
        }
        free(bytes);
    }
}

static void a_tar_archive(void **state) {
    (void)state;
    unsigned char tar[1024] = "storages";
    memcpy(tar + 257, "ustar", 5);
    refused(tar, sizeof tar, "tar archive, as PyTorch wrote before 0.4");
}

/* ---------------------------------------------------------------- archives */

#define ZIP_PICKLE                                                                                           \
    "\x80\x02}" KEY("a") "ctorch._utils\n_rebuild_tensor_v2\n((X\7\0\0\0storagectorch\nFloatStorage\n" KEY(  \
        "0") "X\3\0\0\0cpuK\4tQK\0(K\4t(K\1t\x89" ORDERED "tRs."

static void archive_refused(const dukd_zip_entry *entries, int32_t count, const char *part) {
    size_t size;
    assert_int_equal(dukd_zip_write(data_path("a.pth"), entries, count, NULL), DUKD_DONE);
    unsigned char *bytes = load(data_path("a.pth"), &size);
    refused(bytes, size, part);
    free(bytes);
}

static void archives_that_lie(void **state) {
    (void)state;
    NEED_ZIP()
    static const char pickle[] = ZIP_PICKLE;
    const dukd_zip_entry good = {"n/data.pkl", pickle, sizeof pickle - 1};
    const dukd_zip_entry short_data[] = {good, {"n/data/0", "aaaabbbbcccc", 12}, {"n/long", pickle, 40}};
    const dukd_zip_entry no_data[] = {good, {"n/data/1", "aaaabbbbccccdddd", 16}};
    const dukd_zip_entry big_endian[] = {good, {"n/byteorder", "big", 3}};
    const dukd_zip_entry script[] = {good, {"n/constants.pkl", "", 0}};
    const dukd_zip_entry other[] = {{"mimetype", "text", 4}};
    const dukd_zip_entry metadata[] = {
        good, {"n/data/0", "aaaabbbbccccdddd", 16}, {"n/dukd/metadata.json", "{\"a\":1}", 7}};
    const dukd_zip_entry twice[] = {good,
                                    {"n/data/0", "aaaabbbbccccdddd", 16},
                                    {"n/dukd/metadata.json", "{\"a\":\"1\",\"a\":\"2\"}", 17}};
    archive_refused(short_data, 3, "'n/data/0' has 12 bytes, but its 4 numbers take 16");
    archive_refused(no_data, 2, "'n/data/0' is missing");
    archive_refused(big_endian, 2, "big-endian");
    archive_refused(script, 2, "TorchScript");
    archive_refused(other, 1, "none of PyTorch's: it has no data.pkl");
    archive_refused(metadata, 3, "'dukd/metadata.json' is damaged");
    archive_refused(twice, 3, "metadata 'a' is there twice");

    /* a number changed: the checksum tells; a name made that of another entry: the directory does */
    const dukd_zip_entry fine[] = {good, {"n/data/0", "aaaabbbbccccdddd", 16}, {"n/data/1", "eeee", 4}};
    size_t size;
    assert_int_equal(dukd_zip_write(data_path("b.pth"), fine, 3, NULL), DUKD_DONE);
    unsigned char *bytes = load(data_path("b.pth"), &size);
    dukd_torch_file_close(opened(bytes, size));
    unsigned char *at = memmem(bytes, size, "aaaabbbb", 8);
    at[2] = 'x';
    refused(bytes, size, "'n/data/0' is damaged");
    at[2] = 'a';
    for (unsigned char *name = bytes; (name = memmem(name, size - (size_t)(name - bytes), "n/data/1", 8));
         name++)
        name[7] = '0';
    refused(bytes, size, "damaged ZIP archive");
    free(bytes);
}

static void what_is_written_is_read(void **state) {
    (void)state;
    NEED_ZIP()
    float numbers[6] = {1, -2, 3.5f, 1e-40f, 5, -0.0f};
    const int64_t whole[2] = {INT64_MIN, INT64_MAX};
    const dukd_st_tensor rows[] = {
        {.name = "params.a.weight",
         .type = DUKD_ST_F32,
         .ndim = 2,
         .dims = {2, 3},
         .count = 6,
         .data = numbers},
        {.name = "params_ema.a.weight",
         .type = DUKD_ST_F32,
         .ndim = 1,
         .dims = {6},
         .count = 6,
         .data = numbers},
        {.name = "index", .type = DUKD_ST_I64, .ndim = 1, .dims = {2}, .count = 2, .data = whole},
        {.name = "params.none", .type = DUKD_ST_F16, .ndim = 2, .dims = {0, 5}, .count = 0, .data = NULL},
        {.name = "scalar", .type = DUKD_ST_F64, .ndim = 0, .count = 1, .data = numbers},
    };
    const dukd_st_entry metadata[] = {{"network_g", "{\"type\": \"EDSR\"}"}, {"b", "two\nlines"}};
    dukd_tensor_source *s;
    dukd_failure f = {0};
    size_t a, b;
    assert_int_equal(dukd_torch_file_write(data_path("w.pth"), rows, 5, metadata, 2, &f), DUKD_DONE);
    assert_int_equal(dukd_tensor_source_open(&s, data_path("w.pth"), &f), DUKD_DONE);
    assert_string_equal(dukd_tensor_source_format(s), "PyTorch");
    assert_int_equal(dukd_tensor_source_count(s), 5);
    for (int i = 0; i < 5; i++) {
        const dukd_st_tensor *t = dukd_tensor_source_find(s, rows[i].name);
        assert_non_null(t);
        assert_int_equal(t->type, rows[i].type);
        assert_int_equal(t->ndim, rows[i].ndim);
        assert_memory_equal(t->dims, rows[i].dims, (size_t)t->ndim * sizeof *t->dims);
        if (t->count)
            assert_memory_equal(t->data, rows[i].data, (size_t)t->count * (size_t)dukd_st_type_size(t->type));
    }
    assert_int_equal(dukd_tensor_source_metadata_count(s), 2);
    assert_string_equal(dukd_tensor_source_metadata(s, "b"), "two\nlines");
    assert_string_equal(dukd_tensor_source_metadata(s, "network_g"), metadata[0].value);
    dukd_tensor_source_close(s);
    /* the same bytes every time */
    assert_int_equal(dukd_torch_file_write(data_path("x.pth"), rows, 5, metadata, 2, &f), DUKD_DONE);
    unsigned char *one = load(data_path("w.pth"), &a), *two = load(data_path("x.pth"), &b);
    assert_int_equal(a, b);
    assert_memory_equal(one, two, a);
    free(one);
    free(two);
}

static void what_cannot_be_written(void **state) {
    (void)state;
    const uint32_t number = 1;
    const dukd_st_tensor u32 = {
        .name = "n", .type = DUKD_ST_U32, .ndim = 1, .dims = {1}, .count = 1, .data = &number};
    dukd_st_tensor twice[2] = {u32, u32}, wrong = u32, group = u32;
    twice[0].type = twice[1].type = wrong.type = group.type = DUKD_ST_F32;
    wrong.count = 2;
    group.name = "params";
    const struct {
        const dukd_st_tensor *rows;
        int32_t count;
        const char *part;
    } cases[] = {{&u32, 1, "'n' is of type U32"},
                 {twice, 2, "'n' is given twice"},
                 {&wrong, 1, "'n' do not agree"},
                 {&group, 1, "'params' is that of a dictionary"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        dukd_failure f = {0};
        assert_int_equal(
            dukd_torch_file_write(data_path("never.pth"), cases[i].rows, cases[i].count, NULL, 0, &f),
            DUKD_MISUSED);
        if (!strstr(f.message, cases[i].part)) fail_msg("%s", f.message);
    }
}

/* A safetensors file whose header has 0x280 bytes begins as a pickle of protocol 2 does. */
static void a_safetensors_file_that_looks_like_a_pickle(void **state) {
    (void)state;
    char path[512];
    dukd_tensor_source *s;
    snprintf(path, sizeof path, DUKD_SOURCE_DIR "/tests/fuzz/corpus/torch/safetensors_640.st");
    assert_int_equal(dukd_tensor_source_open(&s, path, NULL), DUKD_DONE);
    assert_string_equal(dukd_tensor_source_format(s), "safetensors");
    dukd_tensor_source_close(s);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, data_setup, data_teardown)
    const struct CMUnitTest tests[] = {
        TEST(what_pytorch_has_written),
        TEST(python_2_and_odd_layouts),
        TEST(files_that_call),
        TEST(each_lie_is_named),
        TEST(too_many_values),
        TEST(dictionaries_that_multiply),
        TEST(cut_anywhere),
        TEST(a_tar_archive),
        TEST(archives_that_lie),
        TEST(what_is_written_is_read),
        TEST(what_cannot_be_written),
        TEST(a_safetensors_file_that_looks_like_a_pickle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
