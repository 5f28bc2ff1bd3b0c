/* dukd-host prepare: bit-exact bicubic LR files and a tiled training set from a folder of HR images. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd/args.h"
#include "cmd/commands.h"
#include "common/json_out.h"
#include "data/prepare.h"
#include "data/tiled.h"

typedef struct {
    dukd_texts scales; /* each a list: "2,3,4" */
    const char *border, *only;
    int64_t tile, threads;
    int32_t json, quiet;
} prepare_arguments;

static int parse_scales(const dukd_texts *texts, int32_t *scales, int32_t room, int32_t *count,
                        dukd_failure *f) {
    *count = 0;
    for (int32_t i = 0; i < texts->count; i++) {
        const char *text = texts->items[i];
        for (;;) {
            char *end;
            const long scale = strtol(text, &end, 10);
            if (end == text || (*end && *end != ',') || scale < 2 || scale > 8) {
                return dukd_fail(f, DUKD_MISUSED,
                                 "--scale wants whole numbers from 2 to 8, as 4 or 2,3,4, not '%s'",
                                 texts->items[i]);
            }
            if (*count == room) return dukd_fail(f, DUKD_MISUSED, "--scale: too many scales");
            scales[(*count)++] = (int32_t)scale;
            if (!*end) break;
            text = end + 1;
        }
    }
    if (!*count) return dukd_fail(f, DUKD_MISUSED, "--scale is missing: give --scale 4, or --scale 2,3,4");
    return DUKD_DONE;
}

static int is_one_of(const char *text, const char *first, const char *second) {
    return !text || !strcmp(text, first) || !strcmp(text, second);
}

static void show_progress(void *user, int64_t done, int64_t total, const char *file) {
    (void)user;
    fprintf(stderr, "\r\033[K%lld/%lld %.60s%s", (long long)done, (long long)total, file,
            done == total ? "\r\033[K" : "");
    fflush(stderr);
}

static int print_report(const dukd_prepare_options *o, const dukd_prepare_report *r, int json,
                        dukd_failure *f) {
    if (json) {
        dukd_json j = dukd_json_begin(stdout);
        dukd_json_object(&j, NULL);
        dukd_json_text(&j, "folder", o->out_dir);
        dukd_json_integer(&j, "images", r->images);
        dukd_json_array(&j, "scales");
        for (int32_t i = 0; i < r->scale_count; i++) dukd_json_integer(&j, NULL, r->scales[i]);
        dukd_json_close(&j);
        dukd_json_text(&j, "border", o->clamp_border ? "clamp" : "symmetric");
        dukd_json_integer(&j, "files_written", r->written);
        dukd_json_integer(&j, "files_kept", r->kept);
        dukd_json_close(&j);
        return dukd_json_end(&j, "standard output", f);
    }
    printf("%s: %lld images, scale", o->out_dir, (long long)r->images);
    for (int32_t i = 0; i < r->scale_count; i++) printf("%s %d", i ? "," : "", r->scales[i]);
    printf(", %s border: %lld files written, %lld kept\n", o->clamp_border ? "clamped" : "symmetric",
           (long long)r->written, (long long)r->kept);
    return DUKD_DONE;
}

static int run(const prepare_arguments *a, const char *hr_dir, const char *out_dir, dukd_failure *f) {
    int32_t scales[64], scale_count;
    int status = parse_scales(&a->scales, scales, 64, &scale_count, f);
    if (status) return status;
    if (!is_one_of(a->border, "symmetric", "clamp")) {
        return dukd_fail(f, DUKD_MISUSED, "--border wants symmetric or clamp, not '%s'", a->border);
    }
    if (!is_one_of(a->only, "lr", "tiled"))
        return dukd_fail(f, DUKD_MISUSED, "--only wants lr or tiled, not '%s'", a->only);
    if (a->tile < 16 || a->tile > DUKD_TILE_MAX_SIDE || a->tile % 16) {
        return dukd_fail(f, DUKD_MISUSED, "--tile wants a multiple of 16 up to %d, not %lld",
                         DUKD_TILE_MAX_SIDE, (long long)a->tile);
    }
    if (a->threads < 0 || a->threads > 64) {
        return dukd_fail(f, DUKD_MISUSED, "--threads wants a number up to 64, not %lld",
                         (long long)a->threads);
    }
    const dukd_prepare_options options = {
        .hr_dir = hr_dir,
        .out_dir = out_dir,
        .scales = scales,
        .scale_count = scale_count,
        .clamp_border = a->border && !strcmp(a->border, "clamp"),
        .tile = a->only && !strcmp(a->only, "lr") ? 0 : (int32_t)a->tile,
        .png = !a->only || !strcmp(a->only, "lr"),
        .threads = (int32_t)a->threads,
        .progress = isatty(STDERR_FILENO) && !a->quiet ? show_progress : NULL,
    };
    dukd_prepare_report report;
    status = dukd_prepare_run(&options, &report, f);
    return status ? status : print_report(&options, &report, a->json, f);
}

int dukd_cmd_prepare(int argc, char **argv) {
    prepare_arguments a = {.tile = DUKD_TILE_SIDE};
    dukd_texts folders = {0};
    dukd_failure f = {0};
    const dukd_arg args[] = {
        {"--scale", "-s", DUKD_ARG_TEXTS, "N[,N...]", "scales of the LR images, 2 to 8", &a.scales},
        {"--border", NULL, DUKD_ARG_TEXT, "KIND",
         "symmetric (MATLAB today, the default) or clamp (older MATLAB)", &a.border},
        {"--only", NULL, DUKD_ARG_TEXT, "WHAT", "lr: only the PNG files; tiled: only the tiled set", &a.only},
        {"--tile", NULL, DUKD_ARG_INTEGER, "N", "side of the tiles in pixels (64)", &a.tile},
        {"--threads", NULL, DUKD_ARG_INTEGER, "N", "images at a time (one a CPU, 8 at most)", &a.threads},
        {"--json", NULL, DUKD_ARG_FLAG, NULL, "print JSON, for a program", &a.json},
        {"--quiet", "-q", DUKD_ARG_FLAG, NULL, "no progress line", &a.quiet},
    };
    const dukd_command command = {
        .command = "prepare",
        .summary = "LR images as the SR benchmarks have them, and a set that training reads by tiles.",
        .positionals = "HR_DIR OUT --scale N",
        .details =
            "OUT/LR_bicubic/X4/NAMEx4.png     LR images, equal to MATLAB's imresize to the bit\n"
            "OUT/tiled/                       HR and LR as tiled TIFF; OUT as dataroot_gt uses them\n"
            "OUT/prepared.txt                 what is there: border, scales, sizes, SHA-256 of the "
            "sources\n\n"
            "Files that are there with the same pixels are kept: run it again to go on after a stop, or to\n"
            "add images or scales.",
        .example = "dukd-host prepare DIV2K/HR DIV2K/prepared --scale 4\n"
                   "dukd-host prepare Urban100/HR Urban100 --scale 2,3,4 --border clamp --only lr",
        .min_positionals = 2,
        .max_positionals = 2,
        .args = args,
        .arg_count = sizeof args / sizeof *args,
    };
    int status = dukd_args_parse(&command, argc, argv, &folders, &f);
    if (status == DUKD_DONE) status = run(&a, folders.items[0], folders.items[1], &f);
    dukd_texts_free(&a.scales);
    dukd_texts_free(&folders);
    return dukd_command_end("prepare", status, &f);
}
