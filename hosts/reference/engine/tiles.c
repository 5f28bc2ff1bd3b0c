/* Cutting an image into tiles, continuing it where a network needs more than there is, and running them. */
#include "engine/tiles.h"

#include <stdlib.h>
#include <string.h>

#include "engine/mirror.h"

static int64_t divide_up(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}

dukd_tile_axis dukd_tile_axis_cut(int32_t size, int32_t tile, int32_t overlap, int32_t multiple) {
    int64_t all = divide_up(size, multiple), most = divide_up(tile, multiple); /* in multiples */
    int64_t count = divide_up(all, most), inner = divide_up(all, count);
    int64_t window = inner + 2 * divide_up(overlap, multiple);
    if (window > all) window = all;
    return (dukd_tile_axis){.count = (int32_t)divide_up(all, inner), /* an even cut may need fewer */
                            .inner = (int32_t)(inner * multiple),
                            .window = (int32_t)(window * multiple),
                            .size = (int32_t)(all * multiple)};
}

/* Where tile i's window begins: moved inside at the image's borders, so that all windows have one size. */
static int32_t window_start(const dukd_tile_axis *a, int32_t i, int32_t overlap) {
    int64_t start = (int64_t)i * a->inner - overlap;
    if (start > a->size - a->window) start = a->size - a->window;
    return start < 0 ? 0 : (int32_t)start;
}

/* The place among `size` that place i of the continued axis shows: there and back again, without the ends twice. */
static int32_t reflected(int32_t i, int32_t size) {
    if (size == 1) return 0;
    int32_t at = i % (2 * (size - 1));
    return at < size ? at : 2 * (size - 1) - at;
}

typedef struct {
    dukd_exec *exec;
    const dukd_tile_options *o;
    dukd_mirror input, output;
    float *part; /* what is read of a window that reaches beyond the image; NULL: none does */
    dukd_tile_axis rows, cols;
    int32_t height, width, overlap, up, channels;
} tile_run;

/* The places of an axis of `size` that a window needs: it begins with *first and has *count. */
static void needed(int32_t start, int32_t window, int32_t size, int32_t *first, int32_t *count) {
    int32_t last = 0;
    *first = size - 1;
    for (int32_t i = start; i < start + window; i++) {
        int32_t at = reflected(i, size);
        if (at < *first) *first = at;
        if (at > last) last = at;
    }
    *count = last - *first + 1;
}

static int read_window(const tile_run *t, int32_t y0, int32_t x0, dukd_failure *f) {
    const dukd_tile_options *o = t->o;
    const int32_t rows = t->rows.window, cols = t->cols.window;
    if (y0 + rows <= t->height && x0 + cols <= t->width)
        return o->read(o->ctx, y0, x0, rows, cols, t->input.host, f);
    int32_t y, x, h, w;
    needed(y0, rows, t->height, &y, &h);
    needed(x0, cols, t->width, &x, &w);
    int status = o->read(o->ctx, y, x, h, w, t->part, f);
    float *out = t->input.host;
    for (int32_t c = 0; c < t->channels && !status; c++)
        for (int32_t i = 0; i < rows; i++) {
            const float *row = t->part + ((int64_t)c * h + reflected(y0 + i, t->height) - y) * w;
            for (int32_t k = 0; k < cols; k++) *out++ = row[reflected(x0 + k, t->width) - x];
        }
    return status;
}

static int run_tile(const tile_run *t, int32_t ty, int32_t tx, dukd_failure *f) {
    int32_t y0 = window_start(&t->rows, ty, t->overlap), x0 = window_start(&t->cols, tx, t->overlap);
    int32_t y = ty * t->rows.inner, x = tx * t->cols.inner;
    int32_t h = t->height - y < t->rows.inner ? t->height - y : t->rows.inner;
    int32_t w = t->width - x < t->cols.inner ? t->width - x : t->cols.inner;
    int64_t stride = (int64_t)t->cols.window * t->up, plane = stride * t->rows.window * t->up;
    int status = read_window(t, y0, x0, f);
    if (status == DUKD_DONE) status = dukd_mirror_up(&t->input, t->input.count, f);
    if (status == DUKD_DONE)
        status = dukd_exec_forward(t->exec, 1, t->input.there, (float *const[]){t->output.there}, f);
    if (status == DUKD_DONE) status = dukd_mirror_down(&t->output, t->output.count, f);
    if (status) return status;
    const float *first = t->output.host + (int64_t)(y - y0) * t->up * stride + (int64_t)(x - x0) * t->up;
    return t->o->write(t->o->ctx, y * t->up, x * t->up, h * t->up, w * t->up, first, stride, plane, f);
}

/* Everything but memory and the exec. */
static tile_run lay_out(const dukd_graph *graph, int32_t height, int32_t width,
                        const dukd_tile_options *options) {
    const int32_t radius = dukd_graph_receptive_radius(graph), multiple = dukd_graph_multiple(graph);
    tile_run t = {.o = options,
                  .height = height,
                  .width = width,
                  .up = dukd_graph_upscale(graph),
                  .channels = dukd_graph_op(graph, 0)->channels,
                  .overlap = options->overlap};
    if (t.overlap < 0) t.overlap = radius == DUKD_REACH_ALL ? DUKD_TILES_OVERLAP : radius;
    t.overlap = (int32_t)(divide_up(t.overlap, multiple) * multiple);
    t.rows = dukd_tile_axis_cut(height, options->tile, t.overlap, multiple);
    t.cols = dukd_tile_axis_cut(width, options->tile, t.overlap, multiple);
    return t;
}

int dukd_tiles_differ(const dukd_graph *graph, int32_t height, int32_t width,
                      const dukd_tile_options *options) {
    const tile_run t = lay_out(graph, height, width, options);
    return t.rows.count * t.cols.count > 1 && t.overlap < dukd_graph_receptive_radius(graph);
}

int dukd_tiles_run(dukd_network *network, const dukd_graph *graph, int32_t height, int32_t width,
                   const dukd_tile_options *options, dukd_failure *f) {
    if (options->tile < 1)
        return dukd_fail(f, DUKD_MISUSED, "tiles of %d pixels: want 1 or more", options->tile);
    tile_run t = lay_out(graph, height, width, options);
    int64_t pixels = (int64_t)t.rows.window * t.cols.window, in = pixels * t.channels;
    int64_t out = pixels * t.up * t.up * dukd_graph_op(graph, dukd_graph_output(graph))->channels;
    /* The pixels behind a window's image that its continuation shows are fewer than a multiple. */
    const int32_t more = dukd_graph_multiple(graph);
    int64_t part = t.rows.size > height || t.cols.size > width
                       ? ((int64_t)t.rows.window + more) * (t.cols.window + more) * t.channels
                       : 0;
    const dukd_exec_spec spec = {
        .purpose = DUKD_INFER, .batch = 1, .height = t.rows.window, .width = t.cols.window};
    static const char what[] = "a tile (smaller tiles need less)";
    dukd_engine *e = dukd_network_engine(network);
    int status = dukd_mirror_create(&t.input, e, in, what, f);
    if (status == DUKD_DONE) status = dukd_mirror_create(&t.output, e, out, what, f);
    if (status == DUKD_DONE && part) {
        t.part = malloc((size_t)part * sizeof *t.part);
        if (!t.part) status = dukd_fail_memory(f, what, (unsigned long long)part * sizeof *t.part);
    }
    if (status == DUKD_DONE) status = dukd_network_compile(network, &spec, &t.exec, f);
    if (status) goto end;
    for (int32_t i = 0; i < t.rows.count * t.cols.count && status == DUKD_DONE; i++) {
        status = run_tile(&t, i / t.cols.count, i % t.cols.count, f);
        if (status == DUKD_DONE && options->progress)
            options->progress(options->ctx, i + 1, (int64_t)t.rows.count * t.cols.count);
    }
end:
    free(t.part);
    dukd_mirror_free(&t.output);
    dukd_mirror_free(&t.input);
    return status;
}
