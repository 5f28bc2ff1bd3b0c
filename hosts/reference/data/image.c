/* Images in memory, and the choice of a decoder by a file's first bytes. */
#include "data/image.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data/image_codec.h"

int dukd_image_check_size(const char *name, int64_t width, int64_t height, dukd_failure *f) {
    if (width < 1 || height < 1 || width > DUKD_IMAGE_MAX_SIDE || height > DUKD_IMAGE_MAX_SIDE ||
        width * height > DUKD_IMAGE_MAX_PIXELS) {
        return dukd_fail(
            f, DUKD_FAILED,
            "%s: the image would be %lld x %lld pixels; at most %d a side and %lld in all are read: "
            "cut it into smaller images, or replace the file if it is damaged",
            name, (long long)width, (long long)height, DUKD_IMAGE_MAX_SIDE, DUKD_IMAGE_MAX_PIXELS);
    }
    return DUKD_DONE;
}

static int64_t sample_count(const dukd_image *image) {
    return (int64_t)image->width * image->height * 3;
}

int dukd_image_create(dukd_image *out, int32_t width, int32_t height, int32_t depth, dukd_failure *f) {
    *out = (dukd_image){0};
    if (depth != 8 && depth != 16) {
        return dukd_fail(f, DUKD_MISUSED, "an image has 8 or 16 bits a sample, not %d", depth);
    }
    int status = dukd_image_check_size("image", width, height, f);
    if (status) return status;
    dukd_image image = {.width = width, .height = height, .depth = depth};
    size_t bytes = (size_t)sample_count(&image) * (size_t)(depth / 8);
    image.samples = malloc(bytes);
    if (!image.samples) return dukd_fail_memory(f, "an image", bytes);
    *out = image;
    return DUKD_DONE;
}

void dukd_image_free(dukd_image *image) {
    if (!image) return;
    free(image->samples);
    *image = (dukd_image){0};
}

void dukd_image_cut(dukd_image *image, int32_t width, int32_t height) {
    const size_t pixel = 3 * (size_t)(image->depth / 8);
    const size_t from = (size_t)image->width * pixel, to = (size_t)width * pixel;
    unsigned char *samples = image->samples;
    for (size_t y = 1; y < (size_t)height && from != to; y++)
        memmove(samples + y * to, samples + y * from, to);
    image->width = width;
    image->height = height;
}

int dukd_image_to_8_bit(const dukd_image *image, dukd_image *out, dukd_failure *f) {
    int status = dukd_image_create(out, image->width, image->height, 8, f);
    if (status) return status;
    const int64_t count = sample_count(image);
    uint8_t *to = out->samples;
    if (image->depth == 8) {
        memcpy(to, image->samples, (size_t)count);
    } else {
        const uint16_t *from = image->samples;
        for (int64_t i = 0; i < count; i++) to[i] = (uint8_t)((from[i] + 128) / 257);
    }
    return DUKD_DONE;
}

/* First bytes of the formats that are read. */
static dukd_image_decoder *decoder_of(const unsigned char *head, size_t bytes) {
    static const struct {
        unsigned char bytes[8];
        size_t count;
        dukd_image_decoder *decode;
    } formats[] = {
        {{0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'}, 8, dukd_png_decode},
        {{0xff, 0xd8, 0xff}, 3, dukd_jpeg_decode},
        {{'I', 'I', 42, 0}, 4, dukd_tiff_decode},
        {{'M', 'M', 0, 42}, 4, dukd_tiff_decode},
        {{'I', 'I', 43, 0}, 4, dukd_tiff_decode}, /* BigTIFF */
        {{'M', 'M', 0, 43}, 4, dukd_tiff_decode},
    };
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        if (bytes >= formats[i].count && !memcmp(head, formats[i].bytes, formats[i].count)) {
            return formats[i].decode;
        }
    }
    return NULL;
}

int dukd_image_decode(const dukd_image_source *source, int header_only, dukd_image *out, dukd_failure *f) {
    unsigned char head[8];
    size_t got = fread(head, 1, sizeof head, source->stream);
    if (got < sizeof head && ferror(source->stream)) {
        return dukd_fail(f, DUKD_FAILED, "%s: cannot be read: %s", source->name, strerror(errno));
    }
    dukd_image_decoder *decode = decoder_of(head, got);
    if (!decode) {
        return dukd_fail(
            f, DUKD_FAILED,
            "%s: not a PNG, TIFF or JPEG image (told by its first bytes, not by its name): convert it to "
            "PNG or remove it from the folder",
            source->name);
    }
    if (fseeko(source->stream, 0, SEEK_SET)) {
        return dukd_fail(f, DUKD_FAILED, "%s: cannot be read: %s", source->name, strerror(errno));
    }
    dukd_image image = {0};
    int32_t orientation = 1;
    int status = decode(source, header_only, &image, &orientation, f);
    if (status) return status;
    if (orientation < 1 || orientation > 8) orientation = 1; /* as if the file said nothing */
    if (orientation > 1) {
        status = dukd_image_orient(&image, orientation, source->name, f);
        if (status) {
            dukd_image_free(&image);
            return status;
        }
    }
    *out = image;
    return DUKD_DONE;
}

static int read_path(const char *path, int header_only, dukd_image *out, dukd_failure *f) {
    *out = (dukd_image){0};
    int status = DUKD_DONE;
    FILE *stream = NULL;
    struct stat info;
    /* O_NONBLOCK: a named pipe without a writer must not hang; it means nothing for a regular file. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &info)) {
        status = dukd_fail(f, DUKD_FAILED, "%s: cannot be opened: %s", path, strerror(errno));
        goto done;
    }
    if (!S_ISREG(info.st_mode)) {
        status = dukd_fail(f, DUKD_FAILED, "%s: %s, not an image file", path,
                           S_ISDIR(info.st_mode) ? "a folder" : "no regular file");
        goto done;
    }
    if (info.st_size == 0) {
        status = dukd_fail(f, DUKD_FAILED, "%s: the file is empty: replace it or remove it", path);
        goto done;
    }
    stream = fdopen(fd, "rb");
    if (!stream) {
        status = dukd_fail(f, DUKD_FAILED, "%s: cannot be opened: %s", path, strerror(errno));
        goto done;
    }
    fd = -1; /* the stream's now */
    const dukd_image_source source = {.name = path, .stream = stream, .size = info.st_size};
    status = dukd_image_decode(&source, header_only, out, f);
done:
    if (stream) fclose(stream);
    if (fd >= 0) close(fd);
    return status;
}

int dukd_image_read_header(const char *path, int32_t *width, int32_t *height, int32_t *depth,
                           dukd_failure *f) {
    dukd_image image;
    int status = read_path(path, 1, &image, f);
    if (status) return status;
    *width = image.width;
    *height = image.height;
    *depth = image.depth;
    return DUKD_DONE;
}

int dukd_image_read(const char *path, dukd_image *out, dukd_failure *f) {
    return read_path(path, 0, out, f);
}

void dukd_image_to_planes(const dukd_image *image, float *planes) {
    const int64_t pixels = (int64_t)image->width * image->height;
    float *red = planes, *green = planes + pixels, *blue = planes + 2 * pixels;
    if (image->depth == 8) {
        const uint8_t *in = image->samples;
        for (int64_t i = 0; i < pixels; i++) {
            red[i] = (float)in[3 * i] / 255.0f;
            green[i] = (float)in[3 * i + 1] / 255.0f;
            blue[i] = (float)in[3 * i + 2] / 255.0f;
        }
    } else {
        const uint16_t *in = image->samples;
        for (int64_t i = 0; i < pixels; i++) {
            red[i] = (float)in[3 * i] / 65535.0f;
            green[i] = (float)in[3 * i + 1] / 65535.0f;
            blue[i] = (float)in[3 * i + 2] / 65535.0f;
        }
    }
}

uint8_t dukd_image_sample(float value) {
    if (!(value > 0.0f)) return 0;
    if (value >= 1.0f) return 255;
    return (uint8_t)rintf(value * 255.0f); /* the default rounding mode: half to even */
}

int dukd_image_from_planes(const float *planes, int32_t width, int32_t height, dukd_image *out,
                           dukd_failure *f) {
    int status = dukd_image_create(out, width, height, 8, f);
    if (status) return status;
    const int64_t pixels = (int64_t)width * height;
    uint8_t *samples = out->samples;
    for (int64_t i = 0; i < pixels; i++) {
        for (int c = 0; c < 3; c++) samples[3 * i + c] = dukd_image_sample(planes[c * pixels + i]);
    }
    return DUKD_DONE;
}
