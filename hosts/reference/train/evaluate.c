/* A network over a data set: whole images through an engine, measured and saved. */
#include "train/evaluate.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/checked.h"
#include "engine/mirror.h"
#include "engine/tiles.h"

/* How many shapes of images a network may have plans for before they are all dropped. */
#define MAX_SHAPES 8

/* A network that forgets. */
typedef struct {
    dukd_engine *engine;
    dukd_precision precision;
    const dukd_graph *graph; /* NULL: no such network */
    const float *weights;
    dukd_network *network;
    int32_t shapes[MAX_SHAPES][2];
    int32_t shape_count;
} runner;

typedef struct {
    const dukd_evaluate_options *o;
    runner student, teacher;
    dukd_mirror input;                 /* 3 x h x w */
    dukd_mirror turned;                /* the same in one of eight orientations */
    dukd_mirror output, turned_output; /* 3 x H x W */
    float *mean;                       /* the same */
    int64_t input_room, output_room;   /* elements */
    double seconds;
} evaluator;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---------------------------------------------------------------- running */

/* Every shape needs a plan, and plans live as long as their network: a set of images of many sizes would pile them up. */
static int make_room(runner *r, int32_t height, int32_t width, dukd_failure *f) {
    for (int32_t i = 0; i < r->shape_count; i++)
        if (r->shapes[i][0] == height && r->shapes[i][1] == width) return 0;
    if (r->shape_count == MAX_SHAPES) {
        dukd_network_destroy(r->network);
        r->network = NULL;
        r->shape_count = 0;
    }
    int status = 0;
    if (!r->network) {
        status = dukd_network_create(&r->network, r->engine, r->graph, r->precision, f);
        if (!status) status = dukd_network_set_weights(r->network, r->weights, f);
    }
    r->shapes[r->shape_count][0] = height;
    r->shapes[r->shape_count++][1] = width;
    return status;
}

/* The planes that tiles are cut from and put into. */
typedef struct {
    const float *input;
    float *output;
    int32_t height, width, up;
} tiled;

static int read_tile(void *ctx, int32_t row, int32_t col, int32_t height, int32_t width, float *planes,
                     dukd_failure *f) {
    const tiled *t = ctx;
    (void)f;
    for (int64_t c = 0; c < 3; c++)
        for (int64_t y = 0; y < height; y++, planes += width)
            memcpy(planes, t->input + (c * t->height + row + y) * t->width + col,
                   (size_t)width * sizeof *planes);
    return 0;
}

static int write_tile(void *ctx, int32_t row, int32_t col, int32_t height, int32_t width, const float *planes,
                      int64_t stride, int64_t plane, dukd_failure *f) {
    const tiled *t = ctx;
    const int64_t full_height = (int64_t)t->height * t->up, full_width = (int64_t)t->width * t->up;
    (void)f;
    for (int64_t c = 0; c < 3; c++)
        for (int64_t y = 0; y < height; y++)
            memcpy(t->output + (c * full_height + row + y) * full_width + col,
                   planes + c * plane + y * stride, (size_t)width * sizeof *planes);
    return 0;
}

int32_t dukd_evaluate_overlap(const dukd_graph *g, int32_t overlap, int32_t *exact) {
    const int32_t radius = dukd_graph_receptive_radius(g);
    if (overlap < 0) overlap = radius < DUKD_EVALUATE_OVERLAP ? radius : DUKD_EVALUATE_OVERLAP;
    if (exact) *exact = overlap >= radius;
    return overlap;
}

static int run_tiles(evaluator *v, runner *r, int32_t height, int32_t width, const dukd_mirror *input,
                     const dukd_mirror *output, dukd_failure *f) {
    tiled t = {input->host, output->host, height, width, dukd_graph_upscale(r->graph)};
    const dukd_tile_options o = {.tile = v->o->tile       ? v->o->tile
                                         : height > width ? height
                                                          : width,
                                 .overlap = dukd_evaluate_overlap(r->graph, v->o->overlap, NULL),
                                 .ctx = &t,
                                 .read = read_tile,
                                 .write = write_tile};
    int status = make_room(r, height, width, f);
    const double start = now();
    if (!status) status = dukd_tiles_run(r->network, r->graph, height, width, &o, f);
    v->seconds += now() - start;
    return status;
}

/* From input's host array to output's. */
static int run_network(evaluator *v, runner *r, int32_t height, int32_t width, const dukd_mirror *input,
                       const dukd_mirror *output, dukd_failure *f) {
    const int32_t multiple =
        dukd_graph_multiple(r->graph); /* other images are continued to it, by one tile or many */
    if ((v->o->tile && (height > v->o->tile || width > v->o->tile)) || height % multiple || width % multiple)
        return run_tiles(v, r, height, width, input, output, f);
    dukd_exec *exec = NULL;
    const dukd_exec_spec spec = {.purpose = DUKD_INFER, .batch = 1, .height = height, .width = width};
    int status = make_room(r, height, width, f);
    if (!status) status = dukd_network_compile(r->network, &spec, &exec, f);
    const int64_t pixels = (int64_t)3 * height * width, up = dukd_graph_upscale(r->graph);
    const double start = now();
    if (!status) status = dukd_mirror_up(input, pixels, f);
    if (!status) status = dukd_exec_forward(exec, 1, input->there, (float *const[]){output->there}, f);
    if (!status) status = dukd_mirror_down(output, pixels * up * up, f);
    v->seconds += now() - start;
    return status;
}

/* The picture of `planes` (3 x height x width) turned by `way`: bit 0 mirrors left-right, bit 1 top-bottom, bit 2 then exchanges
 * rows and columns. With back: undone, height and width being those of the upright picture. */
static void turn(const float *planes, int32_t height, int32_t width, int way, int back, float *out) {
    const int64_t h = height, w = width;
    for (int64_t c = 0; c < 3; c++)
        for (int64_t y = 0; y < h; y++)
            for (int64_t x = 0; x < w; x++) {
                int64_t ty = way & 2 ? h - 1 - y : y, tx = way & 1 ? w - 1 - x : x;
                int64_t upright = (c * h + y) * w + x,
                        turned = way & 4 ? (c * w + tx) * h + ty : (c * h + ty) * w + tx;
                if (back)
                    out[upright] = planes[turned];
                else
                    out[turned] = planes[upright];
            }
}

static int run_ensemble(evaluator *v, int32_t height, int32_t width, int32_t scale, dukd_failure *f) {
    const int64_t size = (int64_t)3 * height * scale * width * scale;
    int status = 0;
    for (int way = 0; way < 8 && !status; way++) {
        int32_t h = way & 4 ? width : height, w = way & 4 ? height : width;
        turn(v->input.host, height, width, way, 0, v->turned.host);
        status = run_network(v, &v->student, h, w, &v->turned, &v->turned_output, f);
        if (status) break;
        turn(v->turned_output.host, height * scale, width * scale, way, 1, v->output.host);
        if (way == 0)
            memcpy(v->mean, v->output.host, (size_t)size * sizeof *v->mean);
        else
            for (int64_t i = 0; i < size; i++) v->mean[i] += v->output.host[i];
    }
    for (int64_t i = 0; i < size; i++) v->mean[i] *= 0.125f;
    return status;
}

/* ---------------------------------------------------------------- measuring */

static int measure(const dukd_evaluate_options *o, const dukd_image *a, const dukd_image *b, double *values,
                   dukd_failure *f) {
    int status = 0;
    for (int32_t i = 0; i < o->metric_count && !status; i++) {
        const dukd_run_metric *m = &o->metrics[i];
        status = m->kind == DUKD_METRIC_SSIM ? dukd_metric_ssim(a, b, m->options, &values[i], f)
                                             : dukd_metric_psnr(a, b, m->options, &values[i], f);
    }
    return status;
}

/* What a saved image is called; not terminated. */
typedef struct {
    const char *text;
    int32_t length;
} image_name;

static int save_image(const dukd_evaluate_options *o, const image_name *name, const char *more,
                      const dukd_image *image, dukd_failure *f) {
    char path[4096];
    int n = snprintf(path, sizeof path, "%s/%.*s_%s%s.png", o->image_folder, (int)name->length, name->text,
                     o->image_suffix ? o->image_suffix : "out", more);
    if (n < 0 || (size_t)n >= sizeof path)
        return dukd_fail(f, DUKD_FAILED, "%s: the path of the image '%.*s' is too long", o->image_folder,
                         name->length < 100 ? (int)name->length : 100, name->text);
    return dukd_image_write_png(path, image, f);
}

/* What came out of a network as an image, measured against `hr` and, where the kind of output is saved, saved. */
static int finish(const evaluator *v, const float *planes, const dukd_image *hr, const image_name *name,
                  const char *save_as, double *values, dukd_image *out, dukd_failure *f) {
    int status = dukd_image_from_planes(planes, hr->width, hr->height, out, f);
    if (!status) status = measure(v->o, out, hr, values, f);
    if (!status && save_as && v->o->image_folder) status = save_image(v->o, name, save_as, out, f);
    return status;
}

static int grow(const evaluator *v, dukd_mirror *buffer, int64_t elements, dukd_failure *f) {
    dukd_mirror_free(buffer);
    return dukd_mirror_create(buffer, v->o->engine, elements, "an image", f);
}

static int grow_mean(evaluator *v, int64_t elements, dukd_failure *f) {
    int64_t bytes;
    free(v->mean);
    v->mean = NULL;
    if (dukd_checked_mul(elements, (int64_t)sizeof *v->mean, &bytes)) v->mean = malloc((size_t)bytes);
    return v->mean ? 0 : dukd_fail_memory(f, "an image", (unsigned long long)elements * sizeof *v->mean);
}

static int make_buffers(evaluator *v, const dukd_image *lr, const dukd_image *hr, dukd_failure *f) {
    const int64_t in = (int64_t)3 * lr->width * lr->height, out = (int64_t)3 * hr->width * hr->height;
    int status = 0;
    if (in > v->input_room) {
        v->input_room = 0;
        status = grow(v, &v->input, in, f);
        if (!status && v->o->self_ensemble) status = grow(v, &v->turned, in, f);
        if (status) return status;
        v->input_room = in;
    }
    if (out > v->output_room) {
        v->output_room = 0;
        status = grow(v, &v->output, out, f);
        if (!status && v->o->self_ensemble) status = grow(v, &v->turned_output, out, f);
        if (!status && v->o->self_ensemble) status = grow_mean(v, out, f);
        if (status) return status;
        v->output_room = out;
    }
    return status;
}

/* HR as it is compared: 8 bits. */
static int reduce_to_8(dukd_image *image, dukd_failure *f) {
    if (image->depth == 8) return 0;
    dukd_image small;
    int status = dukd_image_to_8_bit(image, &small, f);
    if (status) return status;
    dukd_image_free(image);
    *image = small;
    return 0;
}

static int evaluate_image(evaluator *v, const dukd_dataset *set, int64_t i, dukd_evaluated_image *out,
                          dukd_failure *f) {
    image_name name;
    name.text = dukd_dataset_result_name(set, i, &name.length);
    dukd_image lr = {0}, hr = {0}, sr = {0}, other = {0};
    const int32_t scale = dukd_dataset_scale(set);
    int status = dukd_dataset_read(set, i, &lr, &hr, f);
    if (!status) status = reduce_to_8(&hr, f);
    if (!status) status = make_buffers(v, &lr, &hr, f);
    if (status) goto end;
    dukd_image_to_planes(&lr, v->input.host);
    status = run_network(v, &v->student, lr.height, lr.width, &v->input, &v->output, f);
    if (!status) status = finish(v, v->output.host, &hr, &name, "", out->plain, &sr, f);
    if (!status && v->teacher.graph) {
        status = run_network(v, &v->teacher, lr.height, lr.width, &v->input, &v->output, f);
        if (!status) status = finish(v, v->output.host, &hr, &name, NULL, out->teacher, &other, f);
        if (!status) status = measure(v->o, &sr, &other, out->agreement, f);
        dukd_image_free(&other);
    }
    if (!status && v->o->self_ensemble) {
        status = run_ensemble(v, lr.height, lr.width, scale, f);
        if (!status) status = finish(v, v->mean, &hr, &name, "_x8", out->ensemble, &other, f);
        dukd_image_free(&other);
    }
end:
    dukd_image_free(&lr);
    dukd_image_free(&hr);
    dukd_image_free(&sr);
    return status;
}

/* ---------------------------------------------------------------- the set */

static void clear(dukd_evaluated_image *image, const char *name, double value) {
    image->name = name;
    for (int32_t i = 0; i < DUKD_RUN_MAX_METRICS; i++)
        image->plain[i] = image->ensemble[i] = image->teacher[i] = image->agreement[i] = value;
}

void dukd_evaluation_average(dukd_evaluation *e) {
    clear(&e->mean, "mean", 0);
    for (int64_t i = 0; i < e->count; i++)
        for (int32_t m = 0; m < DUKD_RUN_MAX_METRICS; m++) {
            e->mean.plain[m] += e->images[i].plain[m];
            e->mean.ensemble[m] += e->images[i].ensemble[m];
            e->mean.teacher[m] += e->images[i].teacher[m];
            e->mean.agreement[m] += e->images[i].agreement[m];
        }
    for (int32_t m = 0; m < DUKD_RUN_MAX_METRICS; m++) {
        e->mean.plain[m] /= (double)e->count;
        e->mean.ensemble[m] /= (double)e->count;
        e->mean.teacher[m] /= (double)e->count;
        e->mean.agreement[m] /= (double)e->count;
    }
}

int dukd_evaluate_check(const dukd_dataset *set, const dukd_run_metric *metrics, int32_t count,
                        dukd_failure *f) {
    const int32_t scale = dukd_dataset_scale(set);
    for (int64_t i = 0; i < dukd_dataset_count(set); i++)
        for (int32_t m = 0; m < count; m++) {
            int32_t width, height;
            dukd_failure why = {0};
            dukd_dataset_size(set, i, &width, &height);
            int status = dukd_metric_check_size(width * scale, height * scale, metrics[m].options,
                                                metrics[m].kind == DUKD_METRIC_SSIM, &why);
            if (status)
                return dukd_fail(f, status, "%s: %s (crop_border of %s), or remove the image",
                                 dukd_dataset_path(set, i), why.message, metrics[m].name);
        }
    return 0;
}

static int check_network(const dukd_graph *g, const dukd_dataset *set, const char *which, dukd_failure *f) {
    const int32_t up = dukd_graph_upscale(g), scale = dukd_dataset_scale(set);
    if (up == scale) return 0;
    return dukd_fail(f, DUKD_MISUSED, "the %s enlarges %d times, the images %d times", which, up, scale);
}

int dukd_evaluate(dukd_evaluation *out, const dukd_evaluate_options *o, const dukd_dataset *set,
                  dukd_failure *f) {
    evaluator v = {.o = o};
    v.student =
        (runner){.engine = o->engine, .precision = o->precision, .graph = o->graph, .weights = o->weights};
    v.teacher = (runner){.engine = o->engine,
                         .precision = o->precision,
                         .graph = o->teacher_graph,
                         .weights = o->teacher_weights};
    *out = (dukd_evaluation){.count = dukd_dataset_count(set)};
    int status = check_network(o->graph, set, "network", f);
    if (!status && o->teacher_graph) status = check_network(o->teacher_graph, set, "teacher", f);
    if (!status) status = dukd_evaluate_check(set, o->metrics, o->metric_count, f);
    if (status) goto end;
    out->images = calloc((size_t)out->count + 1, sizeof *out->images);
    if (!out->images) {
        status = dukd_fail_memory(f, "the results", (unsigned long long)out->count * sizeof *out->images);
        goto end;
    }
    for (int64_t i = 0; i < out->count && !status; i++) {
        const int others = o->parts && i % o->parts != o->part;
        clear(&out->images[i], dukd_dataset_name(set, i), others ? 0 : NAN);
        if (others) continue;
        status = evaluate_image(&v, set, i, &out->images[i], f);
        if (!status && o->on_image && o->on_image(o->ctx, i + 1, out->count, &out->images[i]))
            status = dukd_fail(f, DUKD_FAILED, "interrupted");
    }
    if (!status && !o->parts) dukd_evaluation_average(out);
    out->seconds = v.seconds;
end:
    dukd_network_destroy(v.student.network);
    dukd_network_destroy(v.teacher.network);
    dukd_mirror_free(&v.input);
    dukd_mirror_free(&v.turned);
    dukd_mirror_free(&v.output);
    dukd_mirror_free(&v.turned_output);
    free(v.mean);
    if (status) dukd_evaluation_free(out);
    return status;
}

void dukd_evaluation_free(dukd_evaluation *e) {
    if (!e) return;
    free(e->images);
    *e = (dukd_evaluation){0};
}
