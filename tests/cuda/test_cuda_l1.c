/* The CUDA backend's l1 by itself, against the CPU's: by vectors of a plane, by vectors of pixels with three channels last, and element
 * by element; at the edges of a tile and of a vector, with every B, and where one stride or the address forbids vectors. Gradients have the
 * CPU's bits, means its value to 1e-13. What does not fit the kernels' counts is refused. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cuda_ops_fixture.h"
#include "support/fill.h"

#define IMAGES 5

static const char *library;

static int set_up(void **state) {
    cuda_ops *o = calloc(1, sizeof *o);
    if (o == NULL) return 1;
    cuda_ops_open(o, library);
    *state = o;
    return 0;
}

static int tear_down(void **state) {
    cuda_ops_close(*state);
    free(*state);
    return 0;
}

enum { VALUE, GRAD, FIRST, SECOND, TENSORS };

/* What keeps rows from beginning where vectors do or from holding whole ones, one thing at a time: the address, one of three strides, a
 * width with room after it, pixels with room for one channel more. */
typedef enum {
    ODD_NOTHING,
    ODD_ADDRESS,
    ODD_ROWS,
    ODD_PLANES,
    ODD_IMAGES,
    ODD_WIDTH,
    ODD_PIXELS,
    ODDS
} oddity;

typedef struct {
    int64_t c, h, w;
    dukd_dtype type[TENSORS];
    fixture_layout layout[TENSORS];
    oddity odd[TENSORS];
    uint32_t n_targets, turn; /* turn: which B the first image has; the others have the next ones */
    bool no_grad;
    double spread; /* numbers are so many powers of two apart */
    double special;
} l1_case;

static void make(const cuda_ops *o, fixture_tensor *t, const l1_case *k, int which) {
    const int64_t shape[4] = {IMAGES, k->c, k->h, k->w}, larger[4] = {IMAGES, k->c + 1, k->h + 1, k->w + 8};
    const oddity odd = k->odd[which];
    uint64_t i = 0;
    fixture_tensor_make(t, odd != ODD_NOTHING ? larger : shape, k->type[which], k->layout[which]);
    if (odd != ODD_NOTHING) {
        const int64_t row = odd == ODD_WIDTH ? (k->w + 7) / 8 * 8 : k->w + (odd == ODD_ROWS),
                      plane = k->h * row + (odd == ODD_PLANES),
                      image = (k->c * plane + 7) / 8 * 8 + (odd == ODD_IMAGES), pixel = k->c + 1;
        const int64_t apart[4] = {image, plane, row, 1},
                      woven[4] = {k->h * k->w * pixel, 1, k->w * pixel, pixel};
        memcpy(t->strides, odd == ODD_PIXELS ? woven : apart, sizeof t->strides);
        memcpy(t->shape, shape, sizeof t->shape);
        t->tensor.strides = t->strides;
        t->tensor.byte_offset = odd == ODD_ADDRESS ? fixture_dtype_size(k->type[which]) : 0;
    }
    if (which != GRAD) {
        EACH_ELEMENT(&t->tensor, n, c, r, w) {
            const uint64_t bits = dukd_fill_bits(77u + (unsigned)which, i++);
            const double x = (double)(bits >> 40) * 0x1p-23 - 1.0;
            fixture_set(&t->tensor, n, c, r, w, x * exp2(k->spread * (double)(bits & 255) / 255.0));
        }
    }
    if (which == VALUE && k->special != 0) fixture_set(&t->tensor, 1, 0, k->h - 1, k->w - 1, k->special);
    cuda_map_send(o, t);
}

static bool alike(double a, double b) {
    return a == b || (isnan(a) && isnan(b)) || fabs(a - b) <= 1e-13 * fabs(a);
}

static void l1(cuda_ops *o, const l1_case *k) {
    fixture_tensor t[TENSORS], cpu_grad;
    double mean[2] = {-1, -1};
    dukd_error error = {.struct_size = DUKD_ERROR_SIZE};
    uint32_t back[IMAGES];
    char what[160];
    int at = snprintf(what, sizeof what, "%d x %d x %d, %u targets, B from %u on,", (int)k->c, (int)k->h,
                      (int)k->w, k->n_targets, k->turn);
    for (int i = 0; i < TENSORS; i++)
        at += snprintf(what + at, sizeof what - (size_t)at, " %d%d%d",
                       k->type[i].code * 100 + k->type[i].bits, k->layout[i], k->odd[i]);
    for (uint32_t i = 0; i < IMAGES; i++) {
        back[i] = (k->turn + i * 7) % 16;
        if (k->h != k->w) back[i] &= ~(uint32_t)DUKD_AUGMENT_TRANSPOSE;
    }
    dukd_backend_load load = {.l1_shape = {IMAGES, k->c, k->h, k->w}};
    cuda_ops_begin(o, &load);
    for (int i = 0; i < TENSORS; i++) make(o, &t[i], k, i);
    fixture_tensor_make(&cpu_grad, t[GRAD].shape, k->type[GRAD], LAYOUT_DENSE);
    uint32_t *there = o->device.take(sizeof back);
    double *means = o->device.take(sizeof mean);
    o->device.up(o->stream, there, back, sizeof back);
    o->device.up(o->stream, means, mean, sizeof mean);
    dukd_l1_args a = {.value = &t[VALUE].there,
                      .grad = k->no_grad ? NULL : &t[GRAD].there,
                      .target = {&t[FIRST].there, k->n_targets > 1 ? &t[SECOND].there : NULL},
                      .factor = {0.37, -1.25},
                      .n_targets = k->n_targets,
                      .back = there,
                      .mean = {&means[0], k->n_targets > 1 ? &means[1] : NULL}};
    if (o->cuda->l1(o->cuda, &a, &error) != DUKD_OK) fail_msg("%s: %s", what, error.message);
    o->device.down(o->stream, mean, means, sizeof mean);
    a.value = &t[VALUE].tensor;
    a.grad = &cpu_grad.tensor;
    a.target[0] = &t[FIRST].tensor;
    a.target[1] = k->n_targets > 1 ? &t[SECOND].tensor : NULL;
    a.back = back;
    assert_int_equal(o->cpu->l1(o->cpu, &a, NULL), DUKD_OK);
    for (uint32_t i = 0; i < k->n_targets; i++) {
        const double want = a.sum[i] / (double)fixture_count(&t[VALUE].tensor);
        if (!alike(want, mean[i]))
            fail_msg("%s: mean %u is %.17g on CUDA, %.17g on the CPU", what, i, mean[i], want);
    }
    if (k->n_targets < 2) assert_true(mean[1] == -1);
    if (!k->no_grad) {
        cuda_map_fetch(o, &t[GRAD]);
        cuda_maps_same(&t[GRAD], &cpu_grad, what);
    }
    cuda_ops_end(o);
    o->device.give_back(there);
    o->device.give_back(means);
    for (int i = 0; i < TENSORS; i++) cuda_map_free(o, &t[i]);
    fixture_tensor_free(&cpu_grad);
}

static const fixture_layout layouts[][TENSORS] = {
    {LAYOUT_DENSE, LAYOUT_DENSE, LAYOUT_DENSE, LAYOUT_DENSE},
    {LAYOUT_CHANNELS_LAST, LAYOUT_CHANNELS_LAST, LAYOUT_CHANNELS_LAST, LAYOUT_CHANNELS_LAST},
    {LAYOUT_CHANNELS_LAST, LAYOUT_DENSE, LAYOUT_DENSE, LAYOUT_CHANNELS_LAST},
    {LAYOUT_DENSE, LAYOUT_CHANNELS_LAST, LAYOUT_CHANNELS_LAST, LAYOUT_DENSE},
    {LAYOUT_REVERSED, LAYOUT_DENSE, LAYOUT_SLICED, LAYOUT_CHANNELS_LAST},
};

static void set_types(l1_case *k, int kind) {
    const dukd_dtype types[][TENSORS] = {
        {fixture_f32, fixture_f32, fixture_f32, fixture_f32},
        {fixture_f16, fixture_f16, fixture_f16, fixture_f16},
        {fixture_bf16, fixture_bf16, fixture_bf16, fixture_bf16},
        {fixture_bf16, fixture_f32, fixture_f32, fixture_bf16},
        {fixture_f16, fixture_f16, fixture_f16, fixture_f32},
        {fixture_f32, fixture_f32, fixture_f16, fixture_bf16},
    };
    memcpy(k->type, types[kind], sizeof k->type);
}

/* A tile has 32 x 32 pixels, a vector 4 or 8. */
static void every_type_layout_and_size(void **state) {
    static const int64_t sizes[][2] = {{8, 8},   {1, 8},   {32, 32}, {40, 40},
                                       {36, 36}, {33, 33}, {9, 72},  {65, 4}};
    uint32_t turn = 0;
    for (size_t size = 0; size < sizeof sizes / sizeof *sizes; size++) {
        for (int types = 0; types < 6; types++) {
            for (size_t layout = 0; layout < sizeof layouts / sizeof *layouts; layout++) {
                l1_case k = {.c = 3,
                             .h = sizes[size][0],
                             .w = sizes[size][1],
                             .n_targets = 1 + turn % 2,
                             .turn = turn};
                set_types(&k, types);
                memcpy(k.layout, layouts[layout], sizeof k.layout);
                l1(*state, &k);
                turn += 3;
            }
        }
    }
}

static void every_way_back(void **state) {
    for (uint32_t turn = 0; turn < 16; turn++) {
        for (int kind = 0; kind < 6; kind++) {
            l1_case k = {.c = 3, .h = 40, .w = 40, .n_targets = 2, .turn = turn};
            set_types(&k, kind / 2);
            memcpy(k.layout, layouts[kind % 2], sizeof k.layout);
            l1(*state, &k);
        }
    }
}

static void other_numbers_of_channels(void **state) {
    for (int64_t c = 1; c < 5; c++) {
        for (int kind = 0; kind < 4; kind++) {
            l1_case k = {
                .c = c, .h = 16, .w = 16, .n_targets = 1, .turn = (uint32_t)kind, .no_grad = kind == 3};
            set_types(&k, kind % 3);
            memcpy(k.layout, layouts[kind % 2], sizeof k.layout);
            l1(*state, &k);
        }
    }
}

/* One tensor of four may not be read by vectors: for one reason at a time. */
static void what_forbids_vectors(void **state) {
    for (int odd = ODD_ADDRESS; odd < ODDS; odd++) {
        for (int which = 0; which < TENSORS; which++) {
            l1_case k = {.c = 3, .h = 8, .w = 8, .n_targets = 2, .turn = (uint32_t)(odd + which)};
            set_types(&k, which % 3);
            k.odd[which] = (oddity)odd;
            l1(*state, &k);
            if (odd < ODD_WIDTH) continue;
            /* all of them: widths of half a vector, two channels of three */
            for (int i = 0; i < TENSORS; i++) k.odd[i] = (oddity)odd;
            if (odd == ODD_PIXELS) k.c = 2;
            if (odd == ODD_WIDTH) k.w = k.type[VALUE].bits == 32 ? 6 : 12;
            l1(*state, &k);
        }
    }
}

static void numbers_of_any_size(void **state) {
    static const double special[] = {0, NAN, INFINITY};
    for (int kind = 0; kind < 12; kind++) {
        l1_case k = {
            .c = 3, .h = 40, .w = 40, .n_targets = 2, .turn = (uint32_t)kind, .special = special[kind % 3]};
        set_types(&k, kind < 6 ? 0 : 2);
        memcpy(k.layout, layouts[kind / 3 % 2 == 0 ? 0 : 4], sizeof k.layout);
        k.spread = 40;
        l1(*state, &k);
    }
}

/* ---------------------------------------------------------------- shapes beyond the kernels' counts */

static void refused(int32_t status, const dukd_error *error, const char *of) {
    assert_int_equal(status, DUKD_E_UNSUPPORTED);
    if (strstr(error->message, of) == NULL || strstr(error->message, "smaller batches") == NULL)
        fail_msg("not a message about %s: %s", of, error->message);
}

static void too_large_is_refused(void **state) {
    cuda_ops *o = *state;
    static const int64_t taps[][4] = {{1, 1, 1, INT64_C(1) << 31},
                                      {1, 1, (INT64_C(1) << 31) - 8, 1},
                                      {1 << 16, 1 << 15, 4, 4},
                                      {3, 3, 1 << 20, 1 << 20}};
    dukd_error error = {.struct_size = DUKD_ERROR_SIZE};
    cuda_ops_begin(o, &(dukd_backend_load){.l1_shape = {1, 1, 4, 4}});
    float *memory = o->device.take(16 * sizeof *memory);
    for (size_t i = 0; i < sizeof taps / sizeof *taps; i++) {
        int64_t shape[4];
        memcpy(shape, taps[i], sizeof shape);
        dukd_tensor t = {
            .data = memory, .device = o->device.id, .ndim = 4, .dtype = fixture_f32, .shape = shape};
        dukd_l1_args a = {.value = &t, .target = {&t}, .factor = {1}, .n_targets = 1, .mean = {o->mean}};
        refused(o->cuda->l1(o->cuda, &a, &error), &error, "a tap");
        refused(o->cuda->reserve(o->cuda,
                                 &(dukd_backend_load){.l1_shape = {shape[0], shape[1], shape[2], shape[3]}},
                                 &error),
                &error, "a tap of");
    }
    int64_t wide[4] = {1, 1, 1, (INT64_C(1) << 29) + 1}, small[4] = {1, 1, 1, (INT64_C(1) << 27) + 1};
    dukd_tensor lr = {.data = memory, .device = o->device.id, .ndim = 4, .dtype = fixture_f32, .shape = wide},
                less = lr;
    less.shape = small;
    refused(o->cuda->zoom_out(o->cuda, &(dukd_zoom_out_args){.lr = &lr, .plain = &less, .scale = 4}, &error),
            &error, "the zoomed-out image");
    const dukd_feature_load map = {.student = {1, 1 << 11, 1 << 10, 1 << 10},
                                   .other = {1, 1 << 11, 1 << 10, 1 << 10}};
    refused(o->cuda->reserve(
                o->cuda, &(dukd_backend_load){.l1_shape = {1, 1, 1, 1}, .n_contrasts = 1, .contrast = &map},
                &error),
            &error, "a map of features");
    o->device.give_back(memory);
    cuda_ops_end(o);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_type_layout_and_size, set_up, tear_down),
        cmocka_unit_test_setup_teardown(every_way_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(other_numbers_of_channels, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_forbids_vectors, set_up, tear_down),
        cmocka_unit_test_setup_teardown(numbers_of_any_size, set_up, tear_down),
        cmocka_unit_test_setup_teardown(too_large_is_refused, set_up, tear_down),
    };
    (void)cuda_open_plugin(argc, argv);
    library = argv[1];
    return cmocka_run_group_tests_name("cuda_l1", tests, NULL, NULL);
}
