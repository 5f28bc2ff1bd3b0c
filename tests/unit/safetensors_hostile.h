/* Safetensors files that lie: headers to be refused, each with a part of the message it deserves. Shared by the unit test
 * and, as a corpus, by the fuzz test. */
#ifndef DUKD_TEST_SAFETENSORS_HOSTILE_H
#define DUKD_TEST_SAFETENSORS_HOSTILE_H

#include <stddef.h>

typedef struct {
    const char *header; /* NUL-terminated JSON */
    size_t data_size;   /* bytes that follow it */
    const char *message;
} dukd_hostile_file;

#define AT(name, type, shape, offsets)                                                                       \
    "\"" name "\":{\"dtype\":\"" type "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"

static const dukd_hostile_file dukd_hostile_files[] = {
    /* places */
    {"{" AT("a", "F32", "[2]", "[0,8]") "," AT("b", "F32", "[2]", "[4,12]") "}", 12,
     "'b' begins at byte 4 of the data, inside another"},
    {"{" AT("a", "F32", "[2]", "[0,8]") "," AT("b", "F32", "[2]", "[0,8]") "}", 8,
     "begins at byte 0 of the data, inside another"},
    {"{" AT("a", "F32", "[1]", "[0,4]") "," AT("b", "F32", "[1]", "[8,12]") "}", 12,
     "'b' begins at byte 8 of the data, after a gap that begins at 4"},
    {"{" AT("a", "F32", "[1]", "[4,8]") "}", 8, "'a' begins at byte 4"},
    {"{" AT("a", "F32", "[1]", "[0,4]") "}", 5, "1 bytes at its end belong to no tensor"},
    {"{}", 3, "3 bytes at its end belong to no tensor"},
    {"{" AT("a", "F32", "[2]", "[0,8]") "}", 7,
     "'a' lies at bytes 0 to 8 of 7: outside the file, which may have been cut short"},
    {"{" AT("a", "F32", "[2]", "[8,0]") "}", 8, "'a' lies at bytes 8 to 0 of 8: outside the file"},
    {"{" AT("a", "F32", "[2]", "[9223372036854775800,9223372036854775807]") "}", 8, "outside the file"},
    {"{" AT("a", "F32", "[2]", "[0,4]") "}", 4, "'a' takes 8 bytes by its shape, but lies at bytes 0 to 4"},
    {"{" AT("a", "F64", "[1]", "[0,4]") "}", 4, "'a' takes 8 bytes"},
    {"{" AT("a", "F32", "[0]", "[0,4]") "}", 4, "'a' takes 0 bytes"},
    {"{" AT("a", "F32", "[]", "[0,0]") "}", 0, "'a' takes 4 bytes"},
    /* sizes that overflow */
    {"{" AT("a", "U8", "[9223372036854775807,2]", "[0,8]") "}", 8, "the shape of tensor 'a' is too large"},
    {"{" AT("a", "U8", "[4294967296,4294967296]", "[0,0]") "}", 0, "the shape of tensor 'a' is too large"},
    {"{" AT("a", "F64", "[2305843009213693952]", "[0,0]") "}", 0, "the shape of tensor 'a' is too large"},
    {"{" AT("a", "U8", "[9223372036854775808]", "[0,8]") "}", 8, "the number is too large"},
    {"{" AT("a", "U8", "[99999999999999999999999999]", "[0,8]") "}", 8, "the number is too large"},
    {"{" AT("a", "U8", "[8]", "[0,18446744073709551624]") "}", 8, "the number is too large"},
    /* numbers that are none */
    {"{" AT("a", "U8", "[-8]", "[0,8]") "}", 8, "expected a whole number, not negative"},
    {"{" AT("a", "U8", "[8.0]", "[0,8]") "}", 8, "expected a whole number"},
    {"{" AT("a", "U8", "[8e0]", "[0,8]") "}", 8, "expected a whole number"},
    {"{" AT("a", "U8", "[08]", "[0,8]") "}", 8, "begins with a zero"},
    {"{" AT("a", "U8", "[\"8\"]", "[0,8]") "}", 8, "expected a whole number"},
    {"{" AT("a", "U8", "[8,]", "[0,8]") "}", 8, "expected a whole number"},
    {"{" AT("a", "U8", "[8", "[0,8]") "}", 8, "expected a whole number"},
    {"{" AT("a", "U8", "8", "[0,8]") "}", 8, "expected '['"},
    {"{" AT("a", "U8", "[8]", "[0,8,9]") "}", 8, "expected ',' or ']'"},
    {"{" AT("a", "U8", "[8]", "[0]") "}", 8, "expected ','"},
    {"{" AT("a", "U8", "[1,1,1,1,1,1,1,1,8]", "[0,8]") "}", 8, "more than 8 dimensions"},
    /* names; the last of these end at the end of the memory */
    {"{" AT("a", "U8", "[1]", "[0,1]") "," AT("a", "U8", "[1]", "[1,2]") "}", 2, "tensor 'a' is there twice"},
    {"{" AT("a", "U8", "[1]", "[0,1]") "," AT("b", "U8", "[1]", "[2,3]") "," AT("\\u0061", "U8", "[1]",
                                                                                "[1,2]") "}",
     3, "tensor 'a' is there twice"},
    {"{" AT("", "U8", "[1]", "[0,1]") "}", 1, "a tensor has an empty name"},
    {"{" AT("a\\u0000b", "U8", "[1]", "[0,1]") "}", 1, "a string contains NUL"},
    {"{" AT("a\x01", "U8", "[1]", "[0,1]") "}", 1, "a control character"},
    {"{" AT("a\\x41", "U8", "[1]", "[0,1]") "}", 1, "an unknown escape"},
    {"{" AT("a\\u12g4", "U8", "[1]", "[0,1]") "}", 1, "four hexadecimal digits"},
    {"{\"a\\u12", 0, "four hexadecimal digits"},
    {"{\"a\\", 0, "a string does not end"},
    {"{\"a", 0, "a string does not end"},
    {"{" AT("\\ud83d", "U8", "[1]", "[0,1]") "}", 1, "half of a surrogate pair"},
    {"{" AT("\\ud83d\\u0041", "U8", "[1]", "[0,1]") "}", 1, "half of a surrogate pair"},
    {"{" AT("\\ude00", "U8", "[1]", "[0,1]") "}", 1, "half of a surrogate pair"},
    /* not UTF-8: lone continuation, cut short, overlong, surrogate, too high, never valid */
    {"{" AT("\x80", "U8", "[1]", "[0,1]") "}", 1, "not UTF-8"},
    {"{" AT("\xC3", "U8", "[1]", "[0,1]") "}", 1, "not UTF-8"},
    {"{" AT("\xE2\x82", "U8", "[1]", "[0,1]") "}", 1, "not UTF-8"},
    {"{" AT("\xF0\x9F\x98", "U8", "[1]", "[0,1]") "}", 1, "not UTF-8"},
    {"{" AT("\xC0\xAF", "U8", "[1]", "[0,1]") "}", 1, "not UTF-8"},
    {"{" AT("\xE0\x80\xAF", "U8", "[1]", "[0,1]") "}", 1, "not UTF-8"},
    {"{" AT("\xF0\x80\x80\xAF", "U8", "[1]", "[0,1]") "}", 1, "not UTF-8"},
    {"{" AT("\xED\xA0\x80", "U8", "[1]", "[0,1]") "}", 1, "not UTF-8"},
    {"{" AT("\xF4\x90\x80\x80", "U8", "[1]", "[0,1]") "}", 1, "not UTF-8"},
    {"{" AT("\xFF", "U8", "[1]", "[0,1]") "}", 1, "not UTF-8"},
    {"{\"\xF0\x9F\x98", 0, "not UTF-8"},
    /* entries */
    {"{" AT("a", "F8_E4M3", "[1]", "[0,1]") "}", 1,
     "tensor 'a' is of type 'F8_E4M3', which cannot be read here"},
    {"{" AT("a", "f32", "[1]", "[0,4]") "}", 4, "of type 'f32'"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1]}}", 1, "expected ','"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"shape\":[1]}}", 1, "each once"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1],\"x\":1}}", 1, "expected ',' or '}'"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"stride\":[0,1]}}", 1, "nothing else"},
    {"{\"a\":{}}", 1, "expected a string"},
    {"{\"a\":[]}", 1, "expected '{'"},
    {"{\"a\" 1}", 1, "expected ':'"},
    {"{\"a\":null}", 1, "expected '{'"},
    {"{1:2}", 1, "expected a string"},
    {"{,}", 1, "expected a string"},
    {"{" AT("a", "U8", "[1]", "[0,1]") ",}", 1, "expected a string"},
    {"{" AT("a", "U8", "[1]", "[0,1]") "", 1, "expected ',' or '}'"},
    {"{" AT("a", "U8", "[1]", "[0,1]") "}}", 1, "expected nothing more"},
    {"{" AT("a", "U8", "[1]", "[0,1]") "} x", 1, "expected nothing more"},
    /* metadata */
    {"{\"__metadata__\":{\"k\":1}}", 0, "expected a string"},
    {"{\"__metadata__\":{\"k\":{\"k\":{}}}}", 0, "expected a string"},
    {"{\"__metadata__\":{\"k\":null}}", 0, "expected a string"},
    {"{\"__metadata__\":[]}", 0, "expected '{'"},
    {"{\"__metadata__\":{\"k\":\"1\",\"l\":\"2\",\"\\u006b\":\"3\"}}", 0, "metadata 'k' is there twice"},
    {"{\"__metadata__\":{},\"__metadata__\":{}}", 0, "__metadata__ is there twice"},
    {"{\"__metadata__\":{\"k\":\"1\"", 0, "expected ',' or '}'"},
};
enum { DUKD_HOSTILE_FILES = sizeof dukd_hostile_files / sizeof *dukd_hostile_files };

#undef AT
#endif
