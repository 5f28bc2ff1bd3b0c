#include "engine/tiles.h"

#include <stdlib.h>

dukd_tile_axis dukd_tile_axis_cut(int32_t size, int32_t tile, int32_t overlap) {
    dukd_tile_axis a = {.count = (int32_t)(((int64_t)size + tile - 1) / tile)};
    a.inner = (int32_t)(((int64_t)size + a.count - 1) / a.count);
    a.count = (int32_t)(((int64_t)size + a.inner - 1) / a.inner); /* an even cut may need fewer */
    int64_t window = (int64_t)a.inner + 2 * (int64_t)overlap;
    a.window = window < size ? (int32_t)window : size;
    return a;
}

/* Where tile i's window begins: moved inside at the image's borders, so that all windows have one size. */
static int32_t window_start(const dukd_tile_axis *a, int32_t i, int32_t size, int32_t overlap) {
    int64_t start = (int64_t)i * a->inner - overlap;
    if (start > size - a->window) start = size - a->window;
    return start < 0 ? 0 : (int32_t)start;
}

typedef struct {
    dukd_exec *exec;
    float *input, *output;
    dukd_tile_axis rows, cols;
    int32_t height, width, overlap, up;
} tile_run;

static int run_tile(const tile_run *t, int32_t ty, int32_t tx, const dukd_tile_options *o, dukd_failure *f) {
    int32_t y0 = window_start(&t->rows, ty, t->height, t->overlap),
            x0 = window_start(&t->cols, tx, t->width, t->overlap);
    int32_t y = ty * t->rows.inner, x = tx * t->cols.inner;
    int32_t h = t->height - y < t->rows.inner ? t->height - y : t->rows.inner;
    int32_t w = t->width - x < t->cols.inner ? t->width - x : t->cols.inner;
    int64_t stride = (int64_t)t->cols.window * t->up, plane = stride * t->rows.window * t->up;
    int status = o->read(o->ctx, y0, x0, t->rows.window, t->cols.window, t->input, f);
    if (status == DUKD_DONE) status = dukd_exec_forward(t->exec, 1, t->input, (float *const[]){t->output}, f);
    if (status) return status;
    const float *first = t->output + (int64_t)(y - y0) * t->up * stride + (int64_t)(x - x0) * t->up;
    return o->write(o->ctx, y * t->up, x * t->up, h * t->up, w * t->up, first, stride, plane, f);
}

int dukd_tiles_run(dukd_network *network, const dukd_graph *graph, int32_t height, int32_t width,
                   const dukd_tile_options *options, dukd_failure *f) {
    tile_run t = {
        .height = height, .width = width, .up = dukd_graph_upscale(graph), .overlap = options->overlap};
    if (options->tile < 1)
        return dukd_fail(f, DUKD_MISUSED, "tiles of %d pixels: want 1 or more", options->tile);
    if (t.overlap < 0) t.overlap = dukd_graph_receptive_radius(graph);
    t.rows = dukd_tile_axis_cut(height, options->tile, t.overlap);
    t.cols = dukd_tile_axis_cut(width, options->tile, t.overlap);
    int64_t pixels = (int64_t)t.rows.window * t.cols.window;
    int64_t in = pixels * dukd_graph_op(graph, 0)->channels;
    int64_t out = pixels * t.up * t.up * dukd_graph_op(graph, dukd_graph_output(graph))->channels;
    const dukd_exec_spec spec = {
        .purpose = DUKD_INFER, .batch = 1, .height = t.rows.window, .width = t.cols.window};
    int status = DUKD_DONE;
    t.input = malloc((size_t)in * sizeof *t.input);
    t.output = malloc((size_t)out * sizeof *t.output);
    if (!t.input || !t.output) {
        status = dukd_fail_memory(f, "a tile (smaller tiles need less)",
                                  (unsigned long long)(in + out) * sizeof(float));
        goto end;
    }
    if ((status = dukd_network_compile(network, &spec, &t.exec, f))) goto end;
    for (int32_t i = 0; i < t.rows.count * t.cols.count && status == DUKD_DONE; i++) {
        status = run_tile(&t, i / t.cols.count, i % t.cols.count, options, f);
        if (status == DUKD_DONE && options->progress)
            options->progress(options->ctx, i + 1, (int64_t)t.rows.count * t.cols.count);
    }
end:
    free(t.output);
    free(t.input);
    return status;
}
