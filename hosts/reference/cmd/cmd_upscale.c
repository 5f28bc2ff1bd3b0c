/* dukd-host upscale: super-resolves images of any size, tile by tile. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd/args.h"
#include "cmd/commands.h"
#include "cmd/upscale_jobs.h"
#include "data/image.h"
#include "engine/mirror.h"
#include "engine/tiles.h"
#include "train/experiment.h"
#include "train/file_network.h"
#include "train/run_options.h"
#include "train/weights.h"

#define NOT_GIVEN INT64_MIN

typedef struct {
    const char *engine, *model, *opt, *key, *folder, *suffix;
    int64_t tile, overlap, threads;
    int32_t bf16, quiet;
    dukd_texts set;
} upscale_arguments;

typedef struct {
    dukd_engine *engine;
    dukd_ready_network ready;
    dukd_mirror weights; /* ready's, where the engine reads them */
    dukd_network *network;
} upscale_network;

/* ---- one image ---- */

typedef struct {
    const char *name;
    dukd_image in, out;
    int32_t show;
} upscale_image;

static int read_window(void *ctx, int32_t row, int32_t col, int32_t height, int32_t width, float *planes,
                       dukd_failure *f) {
    const dukd_image *in = &((const upscale_image *)ctx)->in;
    (void)f;
    for (int32_t c = 0; c < 3; c++)
        for (int32_t y = 0; y < height; y++)
            for (int32_t x = 0; x < width; x++) {
                size_t at = ((size_t)(row + y) * (size_t)in->width + (size_t)(col + x)) * 3 + (size_t)c;
                *planes++ = in->depth == 16 ? (float)((const uint16_t *)in->samples)[at] / 65535.0f
                                            : (float)((const uint8_t *)in->samples)[at] / 255.0f;
            }
    return DUKD_DONE;
}

static int write_part(void *ctx, int32_t row, int32_t col, int32_t height, int32_t width, const float *planes,
                      int64_t stride, int64_t plane, dukd_failure *f) {
    upscale_image *image = ctx;
    uint8_t *samples = image->out.samples;
    (void)f;
    for (int32_t y = 0; y < height; y++)
        for (int32_t x = 0; x < width; x++)
            for (int32_t c = 0; c < 3; c++)
                samples[((size_t)(row + y) * (size_t)image->out.width + (size_t)(col + x)) * 3 + (size_t)c] =
                    dukd_image_sample(planes[c * plane + y * stride + x]);
    return DUKD_DONE;
}

static void show_tiles(void *ctx, int64_t done, int64_t count) {
    const upscale_image *image = ctx;
    if (!image->show) return;
    fprintf(stderr, "\r%s: tile %lld of %lld%s", image->name, (long long)done, (long long)count,
            done == count ? "\r\033[K" : "");
    fflush(stderr);
}

/* All headers, before the first image is worked on and anything is made: a wrong name at the end of a long list is told at once. */
static int check_images(const dukd_upscale_jobs *jobs, int32_t up, dukd_failure *f) {
    for (int64_t i = 0; i < jobs->count; i++) {
        const char *path = jobs->items[i].in;
        int32_t width, height, depth;
        const int status = dukd_image_read_header(path, &width, &height, &depth, f);
        if (status) return status;
        if ((int64_t)width * up > DUKD_IMAGE_MAX_SIDE || (int64_t)height * up > DUKD_IMAGE_MAX_SIDE)
            return dukd_fail(f, DUKD_FAILED,
                             "%s: %d x %d times %d is more than %d pixels on a side: cut it first", path,
                             width, height, up, DUKD_IMAGE_MAX_SIDE);
    }
    return DUKD_DONE;
}

static int upscale_one(const upscale_network *n, const upscale_arguments *a, const dukd_upscale_job *job,
                       dukd_failure *f) {
    const char *slash = strrchr(job->in, '/');
    const int32_t up = dukd_graph_upscale(n->ready.graph);
    upscale_image image = {.name = slash ? slash + 1 : job->in, .show = !a->quiet && isatty(STDERR_FILENO)};
    int status = dukd_image_read(job->in, &image.in, f);
    if (status) return status;
    if (status == DUKD_DONE)
        status = dukd_image_create(&image.out, image.in.width * up, image.in.height * up, 8, f);
    const dukd_tile_options tiles = {.tile = (int32_t)a->tile,
                                     .overlap = a->overlap == NOT_GIVEN ? -1 : (int32_t)a->overlap,
                                     .ctx = &image,
                                     .read = read_window,
                                     .write = write_part,
                                     .progress = show_tiles};
    if (status == DUKD_DONE)
        status = dukd_tiles_run(n->network, n->ready.graph, image.in.height, image.in.width, &tiles, f);
    if (status == DUKD_DONE) status = dukd_image_write_png(job->out, &image.out, f);
    if (status == DUKD_DONE && !a->quiet &&
        dukd_tiles_differ(n->ready.graph, image.in.height, image.in.width, &tiles)) {
        fprintf(stderr,
                "%s: this network sees further than its tiles' margins: results differ a little from those "
                "of the "
                "whole image (a larger --tile or --overlap, where memory allows)\n",
                job->in);
    }
    if (status == DUKD_DONE && !a->quiet)
        printf("%s -> %s (%d x %d)\n", job->in, job->out, image.out.width, image.out.height);
    dukd_image_free(&image.in);
    dukd_image_free(&image.out);
    return status;
}

/* ---- the network ---- */

static int open_engine(dukd_engine **out, const upscale_arguments *a, dukd_failure *f) {
    dukd_failure why = {0};
    const int status = dukd_engine_create(out, a->engine ? a->engine : "auto", (int32_t)a->threads, &why);
    return status ? dukd_fail(f, status, "%s%s", a->engine ? "--engine: " : "", why.message) : DUKD_DONE;
}

/* From the option file where there is one, else from what the weights file says of itself. */
static int open_network(upscale_network *n, const upscale_arguments *a, dukd_failure *f) {
    dukd_run_options *o = NULL;
    dukd_run_network from = {.is_set = 1, .strict = 1, .param_key = "params_ema"};
    dukd_precision precision = a->bf16 ? DUKD_BF16 : DUKD_F32;
    int status = DUKD_DONE;
    if (a->opt) {
        const dukd_run_overrides overrides = {.set = a->set.items, .set_count = a->set.count};
        if ((status = dukd_run_options_read(&o, a->opt, &overrides, NULL, f))) return status;
        from = o->student;
        status = dukd_run_options_for_engine(o, a->engine, f);
        o->threads = (int32_t)a->threads;
        if (o->precision == DUKD_BF16) precision = DUKD_BF16;
        if (!status && !from.is_set) status = dukd_fail(f, DUKD_MISUSED, "%s: has no network_g", a->opt);
    }
    if (a->model) from.pretrained = a->model;
    if (a->key) from.param_key = a->key;
    if (status == DUKD_DONE && !from.pretrained)
        status =
            dukd_fail(f, DUKD_MISUSED,
                      "which weights? give -m NET.safetensors, or set path.pretrain_network_g in %s", a->opt);
    if (status == DUKD_DONE && !a->opt) status = dukd_file_network(a->model, &from.spec, f);
    if (status == DUKD_DONE)
        status = o ? dukd_run_engine_create(&n->engine, o, NULL, f) : open_engine(&n->engine, a, f);
    if (status == DUKD_DONE) status = dukd_ready_network_open(&n->ready, &from, 0, f);
    if (status == DUKD_DONE && a->key)
        status = dukd_ready_network_check_key(&n->ready, a->key, from.pretrained, f);
    if (status == DUKD_DONE)
        status = dukd_network_create(&n->network, n->engine, n->ready.graph, precision, f);
    if (status == DUKD_DONE)
        status = dukd_mirror_of_host(&n->weights, n->engine, n->ready.weights,
                                     dukd_graph_weights(n->ready.graph), "a network's weights", f);
    if (status == DUKD_DONE) status = dukd_network_set_weights(n->network, n->weights.there, f);
    dukd_run_options_destroy(o);
    return status;
}

static int run(const dukd_texts *inputs, const upscale_arguments *a, dukd_failure *f) {
    upscale_network n = {0};
    dukd_upscale_jobs jobs;
    int status = dukd_upscale_jobs_make(&jobs, inputs->items, inputs->count, a->folder, a->suffix, f);
    if (status == DUKD_DONE) status = open_network(&n, a, f);
    if (status == DUKD_DONE) status = check_images(&jobs, dukd_graph_upscale(n.ready.graph), f);
    if (status == DUKD_DONE) status = dukd_make_folders(a->folder, f);
    for (int64_t i = 0; i < jobs.count && status == DUKD_DONE; i++)
        status = upscale_one(&n, a, &jobs.items[i], f);
    dukd_upscale_jobs_free(&jobs);
    dukd_network_destroy(n.network);
    dukd_mirror_free(&n.weights);
    dukd_ready_network_close(&n.ready);
    dukd_engine_destroy(n.engine);
    return status;
}

static int check(const upscale_arguments *a, dukd_failure *f) {
    if (!a->folder) return dukd_fail(f, DUKD_MISUSED, "where to? give -o DIR");
    if (!a->model && !a->opt) return dukd_fail(f, DUKD_MISUSED, "which network? give -m NET.safetensors");
    if (a->tile < 16 || a->tile > DUKD_IMAGE_MAX_SIDE)
        return dukd_fail(f, DUKD_MISUSED, "--tile wants 16 to %d pixels, not %lld", DUKD_IMAGE_MAX_SIDE,
                         (long long)a->tile);
    if (a->overlap != NOT_GIVEN && (a->overlap < 0 || a->overlap > 4096))
        return dukd_fail(f, DUKD_MISUSED, "--overlap wants 0 to 4096 pixels, not %lld",
                         (long long)a->overlap);
    if (a->threads < 0 || a->threads > 1024)
        return dukd_fail(f, DUKD_MISUSED, "--threads wants 0 (all) to 1024, not %lld", (long long)a->threads);
    if (a->suffix && strchr(a->suffix, '/'))
        return dukd_fail(f, DUKD_MISUSED, "--suffix becomes part of a file name, so it has no '/': '%s'",
                         a->suffix);
    if (a->set.count && !a->opt)
        return dukd_fail(f, DUKD_MISUSED,
                         "--set replaces a key of an option file: name it with --opt OPT.yml");
    return DUKD_DONE;
}

int dukd_cmd_upscale(int argc, char **argv) {
    upscale_arguments a = {.tile = 2048, .overlap = NOT_GIVEN};
    dukd_texts inputs = {0};
    dukd_failure f = {0};
    const dukd_arg args[] = {
        {"--model", "-m", DUKD_ARG_TEXT, "NET", "weights: net_g_best.safetensors of train, or a .pth file",
         &a.model},
        {"--output", "-o", DUKD_ARG_TEXT, "DIR", "folder for the results, NAME.png each", &a.folder},
        {"--opt", NULL, DUKD_ARG_TEXT, "OPT.yml",
         "option file with network_g, for weights that do not name theirs", &a.opt},
        {"--set", NULL, DUKD_ARG_TEXTS, "KEY=VALUE", "replace a key of the option file (with --opt)", &a.set},
        {"--param-key", NULL, DUKD_ARG_TEXT, "KEY", "params or params_ema (params_ema where the file has it)",
         &a.key},
        {"--suffix", NULL, DUKD_ARG_TEXT, "TEXT", "put behind the names: _x4", &a.suffix},
        {"--tile", NULL, DUKD_ARG_INTEGER, "N",
         "side of a tile in input pixels (2048); smaller needs less memory", &a.tile},
        {"--overlap", NULL, DUKD_ARG_INTEGER, "N", "margin of a tile (the receptive field: exact, no seams)",
         &a.overlap},
        {"--bf16", NULL, DUKD_ARG_FLAG, NULL, "compute in bfloat16: faster where the processor has it",
         &a.bf16},
        {"--engine", NULL, DUKD_ARG_TEXT, "NAME",
         "auto, onednn or cuda (engine of the option file, else auto)", &a.engine},
        {"--threads", NULL, DUKD_ARG_INTEGER, "N", "threads (all processors)", &a.threads},
        {"--quiet", "-q", DUKD_ARG_FLAG, NULL, "print nothing but errors", &a.quiet},
    };
    const dukd_command command = {
        .command = "upscale",
        .summary = "Super-resolves images of any size with a trained network.",
        .positionals = "-m NET IN... -o DIR",
        .details = "IN is an image (PNG, TIFF, JPEG) or a folder of them. Results are 8-bit PNG, "
                   "DIR/NAME.png, or with\n"
                   "--suffix DIR/NAMESUFFIX.png; those of an earlier run are replaced, an input never is.",
        .example = "dukd-host upscale -m net_g_best.safetensors photo.png -o results\n"
                   "dukd-host upscale -m net_g_best.safetensors photos -o results --tile 256 --bf16",
        .min_positionals = 1,
        .max_positionals = -1,
        .args = args,
        .arg_count = sizeof args / sizeof *args,
    };
    int status = dukd_args_parse(&command, argc, argv, &inputs, &f);
    if (status == DUKD_DONE) status = check(&a, &f);
    if (status == DUKD_DONE) status = run(&inputs, &a, &f);
    dukd_texts_free(&a.set);
    dukd_texts_free(&inputs);
    return dukd_command_end("upscale", status, &f);
}
