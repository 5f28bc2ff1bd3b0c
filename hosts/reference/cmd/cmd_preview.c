/* dukd-host preview: a picture of what a training step sees. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "cmd/args.h"
#include "cmd/commands.h"
#include "cmd/preview_step.h"
#include "common/plugin_load.h"
#include "data/picture.h"

typedef struct {
    const char *output, *plugin, *engine;
    int64_t iteration, rows;
    int32_t student;
    dukd_texts set, force;
} preview_arguments;

enum { GAP = 8, HEADING = 14, CAPTION = 12, LEAST_SIDE = 160 /* room for a heading */ };

/* "crop 12,40  flip-w transpose" of sample n; empty where nothing was done. */
static void caption(const dukd_preview_column *c, int64_t n, char *out, size_t size) {
    static const char *const words[] = {"flip-w", "flip-h", "transpose", "invert"};
    size_t used = 0;
    out[0] = 0;
    if (c->rows && c->cols) used = (size_t)snprintf(out, size, "at %d,%d ", c->rows[n], c->cols[n]);
    for (int bit = 0; c->augment && bit < 4 && used < size; bit++)
        if (c->augment[n] >> bit & 1) used += (size_t)snprintf(out + used, size - used, "%s ", words[bit]);
}

static int draw_cell(dukd_image *picture, const dukd_preview_column *c, int64_t n, int32_t x, int32_t y,
                     int32_t side, dukd_failure *f) {
    dukd_image cell = {0};
    char text[64];
    int32_t w = (int32_t)c->shape[3], h = (int32_t)c->shape[2], zoom = side / (w > h ? w : h);
    const float *planes = c->values + n * c->shape[1] * c->shape[2] * c->shape[3];
    int status = dukd_image_from_planes(planes, w, h, &cell, f);
    if (status == DUKD_DONE) dukd_picture_place(picture, x, y, &cell, 0, 0, w, h, zoom < 1 ? 1 : zoom);
    caption(c, n, text, sizeof text);
    dukd_picture_text(picture, x, y + side + 2, 1, text);
    dukd_image_free(&cell);
    return status;
}

static int draw(const dukd_preview *p, int32_t side, int64_t rows, const char *path, dukd_failure *f) {
    dukd_image picture = {0};
    int32_t step = side + GAP, line = side + CAPTION + GAP;
    int status =
        dukd_picture_create(&picture, GAP + step * p->count, HEADING + 2 * GAP + line * (int32_t)rows, f);
    for (int32_t c = 0; c < p->count && status == DUKD_DONE; c++) {
        const dukd_preview_column *column = &p->columns[c];
        char heading[96];
        snprintf(heading, sizeof heading, "%s  %lldx%lld", column->heading, (long long)column->shape[2],
                 (long long)column->shape[3]);
        dukd_picture_text(&picture, GAP + step * c, GAP, 1, heading);
        for (int64_t n = 0; n < rows && n < column->shape[0] && status == DUKD_DONE; n++)
            status =
                draw_cell(&picture, column, n, GAP + step * c, HEADING + GAP + line * (int32_t)n, side, f);
    }
    if (status == DUKD_DONE) status = dukd_image_write_png(path, &picture, f);
    dukd_image_free(&picture);
    return status;
}

typedef struct {
    dukd_library *library;
    dukd_run_options *o;
    dukd_engine *engine;
    dukd_ready_network student, teacher, features;
    dukd_dataset *set;
    dukd_loader *loader;
    dukd_preview preview;
} preview_parts;

static int open_parts(preview_parts *p, const char *file, const preview_arguments *a, dukd_failure *f) {
    const dukd_run_overrides overrides = {a->set.items, a->set.count, a->force.items, a->force.count};
    int status = dukd_library_open(&p->library, a->plugin, f);
    if (status == DUKD_DONE)
        status = dukd_run_options_read(&p->o, file, &overrides, dukd_library_info(p->library), f);
    if (status == DUKD_DONE) status = dukd_run_options_for_engine(p->o, a->engine, f);
    if (status) return status;
    const dukd_run_options *o = p->o;
    if (!o->has_train)
        return dukd_fail(f, DUKD_MISUSED, "%s: has no datasets.train: there is no step to look at", file);
    if (!o->student.is_set) return dukd_fail(f, DUKD_MISUSED, "%s: has no network_g", file);
    status = dukd_run_engine_create(&p->engine, o, dukd_library_plugin(p->library), f);
    if (status == DUKD_DONE) status = dukd_ready_network_open(&p->student, &o->student, o->seed, f);
    if (status == DUKD_DONE && o->teacher.is_set)
        status = dukd_ready_network_open(&p->teacher, &o->teacher, o->seed, f);
    if (status == DUKD_DONE && o->features.is_set)
        status = dukd_ready_network_open(&p->features, &o->features, o->seed, f);
    if (status == DUKD_DONE) status = dukd_run_dataset_open(&p->set, &o->train_set, f);
    if (status) return status;
    const dukd_loader_options loader = {.dataset = p->set,
                                        .batch = o->train_data.batch,
                                        .lr_side = o->train_data.gt_size / o->scale,
                                        .enlarge = o->train_data.enlarge,
                                        .use_hflip = o->train_data.use_hflip,
                                        .use_rot = o->train_data.use_rot,
                                        .ahead = 1,
                                        .ranks = 1,
                                        .seed = o->seed,
                                        .first_iteration = a->iteration};
    return dukd_loader_create(&p->loader, &loader, f);
}

/* The name decides: a picture must not take the place of the option file, say. */
static int check(const preview_arguments *a, dukd_failure *f) {
    const size_t length = a->output ? strlen(a->output) : 0;
    if (a->output && (length < 5 || strcasecmp(a->output + length - 4, ".png")))
        return dukd_fail(f, DUKD_MISUSED, "--output wants the name of a PNG file, as step.png, not '%s'",
                         a->output);
    if (a->iteration < 1)
        return dukd_fail(f, DUKD_MISUSED, "--iteration wants 1 or more, not %lld", (long long)a->iteration);
    if (a->rows < 1 || a->rows > 64)
        return dukd_fail(f, DUKD_MISUSED, "--rows wants 1 to 64, not %lld", (long long)a->rows);
    return DUKD_DONE;
}

static int run(const char *file, const preview_arguments *a, dukd_failure *f) {
    preview_parts p = {0};
    dukd_batch batch;
    char path[512];
    int status = open_parts(&p, file, a, f);
    if (status == DUKD_DONE) status = dukd_loader_next(p.loader, &batch, f);
    if (status == DUKD_DONE) {
        const dukd_preview_request request = {.options = p.o,
                                              .plugin = dukd_library_plugin(p.library),
                                              .engine = p.engine,
                                              .student = &p.student,
                                              .teacher = &p.teacher,
                                              .features = &p.features,
                                              .batch = &batch,
                                              .seed = p.o->seed,
                                              .show_student = a->student};
        status = dukd_preview_run(&p.preview, &request, f);
    }
    if (status == DUKD_DONE) {
        snprintf(path, sizeof path, "%s_preview.png", p.o->name);
        const char *output = a->output ? a->output : path;
        int64_t rows = a->rows < p.o->train_data.batch ? a->rows : p.o->train_data.batch;
        int32_t side = p.o->train_data.gt_size;
        side *= (LEAST_SIDE + side - 1) / side;
        status = draw(&p.preview, side, rows, output, f);
        if (status == DUKD_DONE)
            printf("%s: iteration %lld, %lld of %d images, %d columns%s\n", output, (long long)a->iteration,
                   (long long)rows, p.o->train_data.batch, p.preview.count,
                   p.o->teacher.is_set && !p.o->teacher.pretrained
                       ? " (the teacher has no weights: it is random)"
                       : "");
    }
    dukd_preview_free(&p.preview);
    dukd_loader_destroy(p.loader);
    dukd_dataset_close(p.set);
    dukd_ready_network_close(&p.teacher);
    dukd_ready_network_close(&p.features);
    dukd_ready_network_close(&p.student);
    dukd_engine_destroy(p.engine);
    dukd_run_options_destroy(p.o);
    dukd_library_close(p.library);
    return status;
}

int dukd_cmd_preview(int argc, char **argv) {
    preview_arguments a = {.iteration = 1, .rows = 4};
    dukd_texts files = {0};
    dukd_failure f = {0};
    const dukd_arg args[] = {
        {"--output", "-o", DUKD_ARG_TEXT, "FILE.png", "where the picture goes (NAME_preview.png)", &a.output},
        {"--iteration", NULL, DUKD_ARG_INTEGER, "N", "which step (1)", &a.iteration},
        {"--rows", NULL, DUKD_ARG_INTEGER, "N", "how many images of the batch (4)", &a.rows},
        {"--student", NULL, DUKD_ARG_FLAG, NULL, "show the student's outputs too", &a.student},
        {"--engine", NULL, DUKD_ARG_TEXT, "NAME", "auto, onednn or cuda (else engine of the option file)",
         &a.engine},
        {"--plugin", NULL, DUKD_ARG_TEXT, "LIB.so", "the plugin (else $DUKD_PLUGIN, else ../lib/libdukd.so)",
         &a.plugin},
        {"--set", NULL, DUKD_ARG_TEXTS, "KEY=VALUE", "replace a key of the option file", &a.set},
        {"--force_yml", NULL, DUKD_ARG_MANY, "KEY:KEY=VALUE", "the same in BasicSR's spelling", &a.force},
    };
    const dukd_command command = {
        .command = "preview",
        .summary = "A picture of what a training step sees: x, y, zoom in, D, zoom out, the teacher's "
                   "answers, |T - y|.",
        .positionals = "OPT.yml",
        .details = "One row an image of the batch, one column an input or an answer. Smaller images are "
                   "enlarged by\n"
                   "repeating pixels. Below a crop stands where in HR it was cut, below D what it did.",
        .example = "dukd-host preview yaml/demo/dukd.yml -o step.png\n"
                   "dukd-host preview OPT.yml --iteration 1000 --student",
        .min_positionals = 1,
        .max_positionals = 1,
        .args = args,
        .arg_count = sizeof args / sizeof *args,
    };
    int status = dukd_args_parse(&command, argc, argv, &files, &f);
    if (status == DUKD_DONE) status = check(&a, &f);
    if (status == DUKD_DONE) status = run(files.items[0], &a, &f);
    dukd_texts_free(&a.set);
    dukd_texts_free(&a.force);
    dukd_texts_free(&files);
    return dukd_command_end("preview", status, &f);
}
