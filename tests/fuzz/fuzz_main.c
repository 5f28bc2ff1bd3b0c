/* Runs a fuzz target without libFuzzer: PROGRAM FOLDER [ROUNDS]
 *
 * Every file of FOLDER once as it is, then ROUNDS (default 200000) inputs made of them by seeded changes: the same every time.
 * The input that is being run is named when the target crashes, by a line printed before. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fuzz.h"
#include "support/fill.h"

enum { MAX_FILES = 256, MAX_BYTES = 1 << 16 };

typedef struct {
    uint8_t *bytes;
    size_t size;
} input;

static int compare_names(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int read_input(input *in, const char *folder, const char *name) {
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "rb");
    in->bytes = malloc(MAX_BYTES);
    if (!file || !in->bytes) {
        fprintf(stderr, "%s: cannot be read: %s\n", path, strerror(errno));
        if (file) fclose(file);
        return 0;
    }
    in->size = fread(in->bytes, 1, MAX_BYTES, file);
    fclose(file);
    return 1;
}

/* The target gets a block of exactly its size, so that a sanitizer or the allocator sees a byte too many. */
static void run(const uint8_t *bytes, size_t size) {
    uint8_t *exact = malloc(size ? size : 1);
    if (!exact) abort();
    if (size) memcpy(exact, bytes, size);
    LLVMFuzzerTestOneInput(exact, size);
    free(exact);
}

/* A few changes: a byte replaced, a bit flipped, a piece removed, doubled, or taken from another input. */
static size_t change(uint8_t *bytes, size_t size, const input *other, uint64_t seed) {
    uint64_t draw = 0;
#define DRAW(bound) ((size_t)(dukd_fill_bits(seed, draw++) % (uint64_t)(bound)))
    size_t changes = 1 + DRAW(4);
    for (size_t i = 0; i < changes && size > 0; i++) {
        size_t at = DRAW(size), length = 1 + DRAW(size - at < 16 ? size - at : 16);
        switch (DRAW(5)) {
        case 0:
            bytes[at] = (uint8_t)DRAW(256);
            break;
        case 1:
            bytes[at] ^= (uint8_t)(1u << DRAW(8));
            break;
        case 2:
            memmove(bytes + at, bytes + at + length, size - at - length);
            size -= length;
            break;
        case 3:
            if (size + length > MAX_BYTES) break;
            memmove(bytes + at + length, bytes + at, size - at);
            size += length;
            break;
        default:
            if (other->size < length) break;
            memcpy(bytes + at, other->bytes + DRAW(other->size - length + 1), length);
        }
    }
    return size;
#undef DRAW
}

int main(int argc, char **argv) {
    static char *names[MAX_FILES];
    static input inputs[MAX_FILES];
    static uint8_t changed[MAX_BYTES];
    int count = 0;
    long rounds = argc > 2 ? strtol(argv[2], NULL, 10) : 200000;
    DIR *folder = argc > 1 ? opendir(argv[1]) : NULL;
    if (!folder) {
        fprintf(stderr, "usage: %s FOLDER [ROUNDS]\n%s\n", argv[0],
                argc > 1 ? strerror(errno) : "no folder is given");
        return 2;
    }
    for (struct dirent *entry = readdir(folder); entry && count < MAX_FILES; entry = readdir(folder))
        if (entry->d_name[0] != '.') names[count++] = strdup(entry->d_name);
    closedir(folder);
    if (count == 0) {
        fprintf(stderr, "%s: is empty; a corpus has one file at least\n", argv[1]);
        return 1;
    }
    qsort(names, (size_t)count, sizeof *names, compare_names);
    for (int i = 0; i < count; i++) {
        if (!names[i] || !read_input(&inputs[i], argv[1], names[i])) return 1;
        printf("%s: %zu bytes\n", names[i], inputs[i].size);
        fflush(stdout);
        run(inputs[i].bytes, inputs[i].size);
    }
    printf("%ld changed inputs\n", rounds);
    for (long round = 0; round < rounds; round++) {
        if (round % 1000 == 0) {
            printf("from %ld\n", round);
            fflush(stdout);
        }
        const input *from = &inputs[dukd_fill_bits(1, (uint64_t)round) % (uint64_t)count];
        const input *other = &inputs[dukd_fill_bits(2, (uint64_t)round) % (uint64_t)count];
        memcpy(changed, from->bytes, from->size);
        run(changed, change(changed, from->size, other, 1000 + (uint64_t)round));
    }
    for (int i = 0; i < count; i++) {
        free(names[i]);
        free(inputs[i].bytes);
    }
    return 0;
}
