/* Decoding JPEG with libjpeg-turbo. */
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>

#include <jerror.h>

#include "data/image_codec.h"

enum { MAX_SCANS = 1000 }; /* more scans than any encoder writes are an attack on the decoder's time */

/* Everything that outlives a longjmp lives here, in the caller's frame. */
typedef struct {
    struct jpeg_error_mgr errors; /* first: libjpeg hands back a pointer to it */
    struct jpeg_progress_mgr progress;
    jmp_buf leave;
    const dukd_image_source *source;
    struct jpeg_decompress_struct jpeg;
    dukd_image image;
    JSAMPLE *cmyk; /* one row of four samples a pixel, or NULL */
    int32_t orientation;
    char problem[JMSG_LENGTH_MAX]; /* what libjpeg said */
} jpeg_reading;

static void on_error(j_common_ptr jpeg) {
    jpeg_reading *r = (jpeg_reading *)jpeg->err;
    jpeg->err->format_message(jpeg, r->problem);
    longjmp(r->leave, 1);
}

/* libjpeg only warns where data are missing or damaged and makes pixels up: for training data that is an
 * error. */
static void on_message(j_common_ptr jpeg, int level) {
    if (level >= 0) return; /* a trace */
    switch (jpeg->err->msg_code) {
    case JWRN_ADOBE_XFORM:     /* an unknown marker of Adobe's */
    case JWRN_EXTRANEOUS_DATA: /* bytes between markers, skipped */
    case JWRN_JFIF_MAJOR:      /* a JFIF version of the future */
    case JWRN_TOO_MUCH_DATA:
        return;
    default:
        on_error(jpeg);
    }
}

static void on_output(j_common_ptr jpeg) {
    (void)jpeg;
}

static void on_progress(j_common_ptr jpeg) {
    if (((struct jpeg_decompress_struct *)jpeg)->input_scan_number > MAX_SCANS) {
        jpeg_reading *r = (jpeg_reading *)jpeg->err;
        snprintf(r->problem, sizeof r->problem, "more than %d scans", MAX_SCANS);
        longjmp(r->leave, 1);
    }
}

static int32_t orientation_of(const struct jpeg_decompress_struct *jpeg) {
    for (const struct jpeg_marker_struct *m = jpeg->marker_list; m; m = m->next) {
        if (m->marker == JPEG_APP0 + 1 && m->data_length >= 6 && !memcmp(m->data, "Exif\0\0", 6)) {
            return dukd_exif_orientation(m->data + 6, m->data_length - 6);
        }
    }
    return 1;
}

/* Inverted CMYK, as every program that writes CMYK JPEG stores it, the way OpenCV converts it: k - (255 - c)
 * k / 256. */
static void rgb_of_cmyk(const JSAMPLE *in, uint8_t *out, int32_t width) {
    for (int32_t x = 0; x < width; x++, in += 4, out += 3) {
        const int k = in[3];
        for (int c = 0; c < 3; c++) out[c] = (uint8_t)(k - ((255 - in[c]) * k >> 8));
    }
}

/* The part that libjpeg may leave by longjmp. Returns 0, or a status with *f set, or -1 with r->problem set.
 */
static int decode(jpeg_reading *r, int header_only, dukd_failure *f) {
    struct jpeg_decompress_struct *jpeg = &r->jpeg;
    if (setjmp(r->leave)) return -1;
    jpeg_create_decompress(jpeg);
    jpeg_stdio_src(jpeg, r->source->stream);
    jpeg_save_markers(jpeg, JPEG_APP0 + 1, 0xffff);
    jpeg->progress = &r->progress;
    jpeg_read_header(jpeg, TRUE);

    int status = dukd_image_check_size(r->source->name, jpeg->image_width, jpeg->image_height, f);
    if (status) return status;
    r->orientation = orientation_of(jpeg);
    const int32_t width = (int32_t)jpeg->image_width, height = (int32_t)jpeg->image_height;
    if (header_only) {
        r->image = (dukd_image){.width = width, .height = height, .depth = 8};
        return 0;
    }
    const int four = jpeg->num_components == 4;
    jpeg->out_color_space = four ? JCS_CMYK : JCS_RGB; /* grey becomes RGB too */
    jpeg_start_decompress(jpeg);
    if (jpeg->output_components != (four ? 4 : 3)) {
        snprintf(r->problem, sizeof r->problem, "it has %d components", jpeg->num_components);
        return -1;
    }
    status = dukd_image_create(&r->image, width, height, 8, f);
    if (status) return status;
    if (four) {
        r->cmyk = malloc((size_t)width * 4);
        if (!r->cmyk) return dukd_fail_memory(f, "a row of a CMYK image", (unsigned long long)width * 4);
    }
    uint8_t *row = r->image.samples;
    for (int32_t y = 0; y < height; y++, row += (size_t)width * 3) {
        JSAMPROW target = four ? r->cmyk : row;
        jpeg_read_scanlines(jpeg, &target, 1); /* a file is never suspended: always one row, or on_error */
        if (four) rgb_of_cmyk(r->cmyk, row, width);
    }
    jpeg_finish_decompress(jpeg);
    return 0;
}

int dukd_jpeg_decode(const dukd_image_source *source, int header_only, dukd_image *out, int32_t *orientation,
                     dukd_failure *f) {
    jpeg_reading r = {.source = source, .orientation = 1};
    r.jpeg.err = jpeg_std_error(&r.errors);
    r.errors.error_exit = on_error;
    r.errors.emit_message = on_message;
    r.errors.output_message = on_output;
    r.progress.progress_monitor = on_progress;
    int status = decode(&r, header_only, f);
    if (status < 0) {
        status = dukd_fail(f, DUKD_FAILED, "%s: damaged or truncated JPEG file (libjpeg: %s): replace it",
                           source->name, r.problem);
    }
    jpeg_destroy_decompress(&r.jpeg);
    free(r.cmyk);
    if (status) {
        dukd_image_free(&r.image);
        return status;
    }
    *out = r.image;
    *orientation = r.orientation;
    return DUKD_DONE;
}
