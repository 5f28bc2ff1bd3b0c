/* Every bad argument has a message of its own, and after it nothing has changed: the right call that follows
 * succeeds. */
#include <limits.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "session_fixture.h"
#include "support/fill.h"
#include "support/guard.h"

#define OFFICIAL "model_type=DUKD", "train.pixel_opt.type=L1Loss", "train.kd_opt.type=L1Loss"

/* ---------------------------------------------------------------- create_session */

typedef struct {
    fixture f;
    dukd_session_params params;
    dukd_host host;
    const char *networks[3];
} creation;

static void creation_init(creation *c) {
    fixture_init(&c->f);
    fixture_must_open(&c->f, NULL);
    fixture_close(&c->f);
    c->host = c->f.host;
    c->networks[0] = "student";
    c->networks[1] = "teacher";
    c->networks[2] = "features";
    c->host.networks = c->networks;
    c->params = (dukd_session_params){.struct_size = DUKD_SESSION_PARAMS_SIZE,
                                      .host = &c->host,
                                      .micro_count = 1,
                                      .lr_shape = {2, 3, 8, 8},
                                      .scale = 2,
                                      .dtype = fixture_f32,
                                      .device = {DUKD_DEVICE_CPU, 0}};
}

static int32_t create(creation *c) {
    c->f.session = (dukd_session *)c; /* must be set to NULL */
    const int32_t status = c->f.plugin->create_session(&c->params, &c->f.session, &c->f.error);
    if (status < 0) {
        assert_null(c->f.session);
        assert_int_equal(c->f.error.code, status);
    }
    fixture_close(&c->f);
    return status;
}

#define CREATE_FAILS(code, change, ...)                                                                      \
    do {                                                                                                     \
        creation c;                                                                                          \
        creation_init(&c);                                                                                   \
        assert_int_equal(create(&c), DUKD_OK);                                                               \
        change;                                                                                              \
        assert_int_equal(create(&c), code);                                                                  \
        EXPECT_MESSAGE(&c.f, __VA_ARGS__);                                                                   \
    } while (0)

static void params_are_checked(void **state) {
    (void)state;
    CREATE_FAILS(DUKD_E_ARGUMENT, c.params.struct_size = 87, "params: struct_size is 87, expected 88");
    CREATE_FAILS(DUKD_E_ARGUMENT, c.params.struct_size = 0, "params: struct_size is 0");
    CREATE_FAILS(DUKD_E_ARGUMENT, c.params.struct_size = 0x7fffffff, "params: struct_size is 2147483647");
    CREATE_FAILS(DUKD_E_ARGUMENT, c.params.flags = 6, "params: flags are 0x6", "unknown");
    CREATE_FAILS(DUKD_E_ARGUMENT, c.params.micro_count = 0, "micro_count is 0");
    CREATE_FAILS(DUKD_E_ARGUMENT, c.params.scale = 0, "scale is 0");
    CREATE_FAILS(DUKD_E_ARGUMENT, c.params.scale = -2, "scale is -2");
    CREATE_FAILS(DUKD_E_ARGUMENT, c.params.scale = 65, "scale is 65");
    CREATE_FAILS(DUKD_E_ARGUMENT, c.params.lr_shape[0] = 0, "lr_shape is 0 x 3 x 8 x 8");
    CREATE_FAILS(DUKD_E_ARGUMENT, c.params.lr_shape[1] = -1, "lr_shape is 2 x -1 x 8 x 8");
    CREATE_FAILS(DUKD_E_ARGUMENT, c.params.lr_shape[2] = INT64_MAX, "lr_shape is");
    CREATE_FAILS(DUKD_E_ARGUMENT, c.params.lr_shape[3] = INT32_MAX, "lr_shape is", "31 bits");
    CREATE_FAILS(DUKD_E_ARGUMENT,
                 c.params.lr_shape[0] = c.params.lr_shape[2] = c.params.lr_shape[3] = 1 << 29, "too large");
    CREATE_FAILS(DUKD_E_ARGUMENT, c.params.dtype.bits = 64, "dtype is code 2, 64 bits, 1 lanes",
                 "f32, f16 or bf16");
    CREATE_FAILS(DUKD_E_ARGUMENT, c.params.dtype.code = 1, "dtype is code 1");
    CREATE_FAILS(DUKD_E_ARGUMENT, c.params.dtype.lanes = 4, "4 lanes");
    CREATE_FAILS(DUKD_E_ARGUMENT, c.params.device.device_type = 9, "device_type is 9");
    dukd_backend_info cuda = {.struct_size = DUKD_BACKEND_INFO_SIZE};
    assert_int_equal(dukd_get_plugin_draft(DUKD_ABI_DRAFT)->query_backend(1, &cuda, NULL), DUKD_OK);
    cuda.detail[100] = '\0'; /* messages are cut */
    if (cuda.usable == 0) {
        CREATE_FAILS(DUKD_E_UNSUPPORTED, c.params.device.device_type = DUKD_DEVICE_CUDA,
                     "the tensors are on a CUDA device", cuda.detail);
    }
    creation c;
    creation_init(&c);
    c.params.device.device_type = DUKD_DEVICE_CUDA_HOST; /* pinned memory is CPU memory */
    assert_int_equal(create(&c), DUKD_OK);
    assert_int_equal(c.f.plugin->create_session(NULL, &c.f.session, &c.f.error), DUKD_E_ARGUMENT);
    EXPECT_MESSAGE(&c.f, "params is NULL");
    assert_int_equal(c.f.plugin->create_session(&c.params, NULL, &c.f.error), DUKD_E_ARGUMENT);
    EXPECT_MESSAGE(&c.f, "out is NULL");
}

static void the_host_is_checked(void **state) {
    (void)state;
    CREATE_FAILS(DUKD_E_ARGUMENT, c.params.host = NULL, "params->host is NULL");
    CREATE_FAILS(DUKD_E_ARGUMENT, c.host.struct_size = 88, "params->host: struct_size is 88, expected 96");
    CREATE_FAILS(DUKD_E_ARGUMENT, c.host.tap_shape = NULL, "tap_shape is NULL");
    CREATE_FAILS(DUKD_E_ARGUMENT, c.host.alloc = NULL, "alloc is NULL, but free is not");
    CREATE_FAILS(DUKD_E_ARGUMENT, c.host.free = NULL, "free is NULL, but alloc is not");
    CREATE_FAILS(DUKD_E_ARGUMENT, (c.host.parallel_for = NULL, c.host.max_threads = (uint32_t(*)(void *))1),
                 "parallel_for is NULL, but max_threads is not");
    CREATE_FAILS(DUKD_E_ARGUMENT, c.host.n_networks = 0, "no networks");
    CREATE_FAILS(DUKD_E_ARGUMENT, c.host.networks = NULL, "no networks");
    CREATE_FAILS(DUKD_E_ARGUMENT, c.networks[1] = NULL, "networks[1] is NULL");
    CREATE_FAILS(DUKD_E_ARGUMENT, c.networks[1] = "student",
                 "networks[0] and networks[1] are both \"student\"");
    CREATE_FAILS(DUKD_E_UNSUPPORTED, c.networks[0] = "pupil", "no network \"student\"");
    CREATE_FAILS(DUKD_E_UNSUPPORTED, c.host.n_networks = 1, "no network \"teacher\"", "without a teacher");
}

/* A struct of a later version: an unknown tail must be zero, and beyond struct_size nothing is read. */
static void larger_structs_of_later_versions(void **state) {
    (void)state;
    creation c;
    creation_init(&c);
    const size_t size = DUKD_SESSION_PARAMS_SIZE + 24;
    unsigned char *grown = dukd_guard_alloc(size, DUKD_GUARD_END);
    memset(grown, 0, size);
    memcpy(grown, &c.params, sizeof c.params);
    *(uint32_t *)(void *)grown = (uint32_t)size;
    assert_int_equal(
        c.f.plugin->create_session((const dukd_session_params *)(void *)grown, &c.f.session, &c.f.error),
        DUKD_OK);
    fixture_close(&c.f);
    grown[size - 1] = 1;
    assert_int_equal(
        c.f.plugin->create_session((const dukd_session_params *)(void *)grown, &c.f.session, &c.f.error),
        DUKD_E_UNSUPPORTED);
    EXPECT_MESSAGE(&c.f, "params: byte 111 is set", "88");
    dukd_guard_free(grown, size, DUKD_GUARD_END);
    /* exactly as large as this draft's, and nothing after it */
    dukd_session_params *exact = dukd_guard_alloc(sizeof *exact, DUKD_GUARD_END);
    *exact = c.params;
    assert_int_equal(c.f.plugin->create_session(exact, &c.f.session, &c.f.error), DUKD_OK);
    fixture_close(&c.f);
    dukd_guard_free(exact, sizeof *exact, DUKD_GUARD_END);
    dukd_error *small =
        dukd_guard_alloc(16, DUKD_GUARD_END); /* an error too small to write to is left alone */
    small->struct_size = 16;
    c.params.scale = 0;
    assert_int_equal(c.f.plugin->create_session(&c.params, &c.f.session, small), DUKD_E_ARGUMENT);
    assert_int_equal(((unsigned char *)small)[8], 0xa5);
    dukd_guard_free(small, 16, DUKD_GUARD_END);
    assert_int_equal(c.f.plugin->create_session(&c.params, &c.f.session, NULL),
                     DUKD_E_ARGUMENT); /* no error at all */
}

static void sizes_that_do_not_fit_are_refused_with_the_sizes(void **state) {
    (void)state;
    fixture f;
    fixture_init(&f);
    f.h = 6;
    f.w = 9;
    assert_int_equal(fixture_open(&f, OPTIONS("train.w_kd=1", "train.augment.rot90=0.5")), DUKD_E_OPTION);
    EXPECT_MESSAGE(&f, "opt.yml:2:3: train.augment.rot90 is 0.5", "6 x 9", "square");
    assert_int_equal(fixture_open(&f, NULL), DUKD_E_OPTION);
    EXPECT_MESSAGE(&f, "train.augment.rot90 is 0.3", "6 x 9");
    fixture_must_open(&f, OPTIONS("train.augment.rot90=0"));
    fixture_close(&f);
    fixture_must_open(&f, OPTIONS("train.terms=[rec, kd]")); /* nothing is turned */
    fixture_close(&f);
    assert_int_equal(fixture_open(&f, OPTIONS(OFFICIAL)), DUKD_E_UNSUPPORTED);
    EXPECT_MESSAGE(&f, "6 x 9", "square", "train.mode: paper");
    fixture_init(&f);
    f.h = 7;
    f.w = 8; /* LR is not square, and neither is 4 x 4 of 7 x 8: but that is */
    assert_int_equal(fixture_open(&f, OPTIONS("train.zoom_out=false")), DUKD_E_OPTION);
    EXPECT_MESSAGE(&f, "the zoomed-in image is 7 x 8");
    fixture_must_open(&f, OPTIONS("train.zoom_in=none"));
    fixture_close(&f);
    fixture_init(&f);
    f.h = 8;
    f.w = 9; /* 4 x 5 */
    assert_int_equal(fixture_open(&f, OPTIONS("train.zoom_in=none")), DUKD_E_OPTION);
    EXPECT_MESSAGE(&f, "the zoomed-out image is 4 x 5", "LR patches 8 x 9");
    fixture_init(&f);
    f.h = f.w = 9;
    assert_int_equal(fixture_open(&f, OPTIONS(OFFICIAL, "train.dukd_opt.zoom_out=true")), DUKD_E_UNSUPPORTED);
    EXPECT_MESSAGE(&f, "9 x 9", "no multiples of the scale 2", "train.dukd_opt.zoom_out: false");
    fixture_must_open(&f, OPTIONS(OFFICIAL));
    fixture_close(&f);
    fixture_must_open(&f, NULL); /* paper mode rounds up */
    fixture_close(&f);
}

static void networks_that_do_not_fit_are_refused_with_the_sizes(void **state) {
    (void)state;
    fixture f;
    fixture_init(&f);
    f.smallest = 5;
    assert_int_equal(fixture_open(&f, NULL), DUKD_E_UNSUPPORTED);
    EXPECT_MESSAGE(&f, "cannot take the zoomed-out image of 4 x 4", "LR patches are 8 x 8",
                   "train.zoom_out: false");
    assert_int_equal(fixture_open(&f, OPTIONS(OFFICIAL, "train.dukd_opt.zoom_out=true")), DUKD_E_UNSUPPORTED);
    EXPECT_MESSAGE(&f, "train.dukd_opt.zoom_out: false");
    fixture_must_open(&f, OPTIONS("train.zoom_out=false"));
    fixture_close(&f);
    f.smallest = 9;
    assert_int_equal(fixture_open(&f, OPTIONS("train.zoom_out=false")), DUKD_E_UNSUPPORTED);
    EXPECT_MESSAGE(&f, "cannot take the LR image of 8 x 8", "other patches");
    fixture_init(&f);
    f.net_scale[FIXTURE_TEACHER] = 4;
    assert_int_equal(fixture_open(&f, NULL), DUKD_E_ARGUMENT);
    EXPECT_MESSAGE(&f, "the teacher gives 2 x 3 x 32 x 32 for the LR image of 2 x 3 x 8 x 8", "scale 2",
                   "2 x 3 x 16 x 16");
    fixture_init(&f);
    f.net_scale[FIXTURE_STUDENT] = 1;
    assert_int_equal(fixture_open(&f, OPTIONS("train.terms=[rec]")), DUKD_E_ARGUMENT);
    EXPECT_MESSAGE(&f, "the student gives 2 x 3 x 8 x 8");
    fixture_close(&f);
}

/* ---------------------------------------------------------------- begin_step */

typedef struct {
    fixture f;
    dukd_step step;
    dukd_tensor lr, hr;
    int64_t shape[4], strides[4];
} beginning;

static void beginning_init(beginning *b) {
    fixture_init(&b->f);
    fixture_must_open(&b->f, NULL);
    fixture_batch(&b->f, 0);
    b->lr = b->f.lr.tensor;
    b->hr = b->f.hr.tensor;
    b->step = (dukd_step){
        .struct_size = DUKD_STEP_SIZE, .iteration = 1, .micro_count = 1, .lr = &b->lr, .hr = &b->hr};
    memcpy(b->shape, b->lr.shape, sizeof b->shape);
    memcpy(b->strides, ((const int64_t[4]){192, 64, 8, 1}), sizeof b->strides);
}

#define BEGIN_FAILS(code, change, ...)                                                                       \
    do {                                                                                                     \
        beginning b;                                                                                         \
        beginning_init(&b);                                                                                  \
        const dukd_step right = b.step;                                                                      \
        change;                                                                                              \
        assert_int_equal(b.f.plugin->begin_step(b.f.session, &b.step, &b.f.error), code);                    \
        EXPECT_MESSAGE(&b.f, __VA_ARGS__);                                                                   \
        b.step = right;                                                                                      \
        b.lr = b.f.lr.tensor;                                                                                \
        b.hr = b.f.hr.tensor;                                                                                \
        assert_int_equal(b.f.plugin->begin_step(b.f.session, &b.step, &b.f.error), DUKD_OK);                 \
        fixture_close(&b.f);                                                                                 \
    } while (0)

static void steps_are_checked(void **state) {
    (void)state;
    BEGIN_FAILS(DUKD_E_ARGUMENT, b.step.struct_size = 48, "step: struct_size is 48, expected 56");
    BEGIN_FAILS(DUKD_E_ARGUMENT, b.step.flags = 1, "step: flags are 0x1");
    BEGIN_FAILS(DUKD_E_ARGUMENT, b.step.iteration = 0, "iteration is 0", "from 1");
    BEGIN_FAILS(DUKD_E_ARGUMENT, b.step.first_sample = -1, "first_sample is -1");
    BEGIN_FAILS(DUKD_E_ARGUMENT, b.step.first_sample = INT64_MAX, "first_sample is 9223372036854775807");
    BEGIN_FAILS(DUKD_E_ARGUMENT, b.step.stream = &b, "stream is not NULL");
    BEGIN_FAILS(DUKD_E_ARGUMENT, b.step.lr = NULL, "step->lr is NULL");
    BEGIN_FAILS(DUKD_E_ARGUMENT, b.step.hr = NULL, "step->hr is NULL");
    beginning b;
    beginning_init(&b);
    assert_int_equal(b.f.plugin->begin_step(b.f.session, NULL, &b.f.error), DUKD_E_ARGUMENT);
    EXPECT_MESSAGE(&b.f, "step is NULL");
    assert_int_equal(b.f.plugin->begin_step(NULL, &b.step, &b.f.error), DUKD_E_ARGUMENT);
    EXPECT_MESSAGE(&b.f, "session is NULL");
    fixture_close(&b.f);
}

static void tensors_are_checked(void **state) {
    (void)state;
    BEGIN_FAILS(DUKD_E_ARGUMENT, b.lr.ndim = 3, "step->lr: ndim is 3");
    BEGIN_FAILS(DUKD_E_ARGUMENT, b.lr.shape = NULL, "step->lr: shape is NULL");
    BEGIN_FAILS(DUKD_E_ARGUMENT, (b.lr.shape = b.shape, b.shape[2] = 7),
                "step->lr: shape is 2 x 3 x 7 x 8, expected 2 x 3 x 8 x 8");
    BEGIN_FAILS(DUKD_E_ARGUMENT, b.hr = b.lr, "step->hr: shape is 2 x 3 x 8 x 8, expected 2 x 3 x 16 x 16");
    BEGIN_FAILS(DUKD_E_ARGUMENT, b.lr.dtype = fixture_f16, "step->lr: type is f16", "expected f32");
    BEGIN_FAILS(DUKD_E_ARGUMENT, b.lr.dtype.bits = 8,
                "step->lr: type is a type this plugin does not know (code 2, 8 bits");
    BEGIN_FAILS(DUKD_E_ARGUMENT, b.hr.device.device_type = DUKD_DEVICE_CUDA,
                "step->hr: is on CUDA device 0, the session on the CPU");
    BEGIN_FAILS(DUKD_E_ARGUMENT, b.lr.data = NULL, "step->lr: data is NULL");
    BEGIN_FAILS(DUKD_E_ARGUMENT, b.lr.byte_offset = 2, "step->lr", "not aligned");
    BEGIN_FAILS(DUKD_E_ARGUMENT, b.lr.byte_offset = UINT64_MAX - 3, "step->lr", "not aligned");
    BEGIN_FAILS(DUKD_E_ARGUMENT, (b.lr.strides = b.strides, b.strides[2] = INT64_MAX), "step->lr: strides",
                "further than memory");
    BEGIN_FAILS(DUKD_E_ARGUMENT, (b.lr.strides = b.strides, b.strides[0] = INT64_MIN), "step->lr: strides",
                "further than memory");
    BEGIN_FAILS(DUKD_E_ARGUMENT, (b.lr.strides = b.strides, b.strides[1] = INT64_MAX / 8),
                "further than memory");
    /* what is only read may lie as it likes: the same pixel everywhere */
    beginning b;
    beginning_init(&b);
    memset(b.strides, 0, sizeof b.strides);
    b.lr.strides = b.strides;
    b.lr.device.device_type = DUKD_DEVICE_CUDA_HOST;
    b.lr.device.device_id = 3;
    assert_int_equal(b.f.plugin->begin_step(b.f.session, &b.step, &b.f.error), DUKD_OK);
    fixture_close(&b.f);
}

/* ---------------------------------------------------------------- submit_pass */

typedef struct {
    fixture f;
    const dukd_pass *pass;
    fixture_tensor value[2], grad;
    dukd_tensor v[2], g; /* to be spoilt */
    const dukd_tensor *values[2], *grads[2];
    int64_t strides[4], shape[4];
    dukd_submit submit;
} submission;

static void submission_init(submission *s, uint32_t flags) {
    memset(s, 0, sizeof *s);
    fixture_init(&s->f);
    s->f.flags = flags;
    fixture_must_open(&s->f, OPTIONS("train.zoom_in=none"));
    fixture_batch(&s->f, 0);
    assert_int_equal(fixture_begin(&s->f, 1, 0, 0), DUKD_OK);
    assert_int_equal(s->f.plugin->next_pass(s->f.session, &s->pass, &s->f.error), DUKD_OK);
    const int64_t shape[4] = {2, 3, 16, 16};
    for (int i = 0; i < 2; i++) {
        fixture_tensor_make(&s->value[i], shape, fixture_f32, LAYOUT_DENSE);
        dukd_fill_f32(s->value[i].memory, 2 * 3 * 16 * 16, (uint64_t)i, 0, 1);
        s->v[i] = s->value[i].tensor;
        s->values[i] = &s->v[i];
    }
    fixture_tensor_make(&s->grad, shape, fixture_f32, LAYOUT_DENSE);
    s->g = s->grad.tensor;
    s->grads[1] = &s->g;
    memcpy(s->shape, shape, sizeof s->shape);
    memcpy(s->strides, ((const int64_t[4]){768, 256, 16, 1}), sizeof s->strides);
    s->submit = (dukd_submit){.struct_size = DUKD_SUBMIT_SIZE,
                              .n_taps = 2,
                              .values = s->values,
                              .grads = s->grads,
                              .grad_scale = 1};
}

static void submission_free(submission *s) {
    fixture_close(&s->f);
    fixture_tensor_free(&s->value[0]);
    fixture_tensor_free(&s->value[1]);
    fixture_tensor_free(&s->grad);
}

/* Wrong, told, gradients untouched; then right, and accepted. */
#define SUBMIT_FAILS(code, change, ...)                                                                      \
    do {                                                                                                     \
        submission s;                                                                                        \
        submission_init(&s, 0);                                                                              \
        const submission right = s;                                                                          \
        change;                                                                                              \
        assert_int_equal(s.f.plugin->submit_pass(s.f.session, &s.submit, &s.f.error), code);                 \
        EXPECT_MESSAGE(&s.f, __VA_ARGS__);                                                                   \
        assert_true(isnan(*(const float *)s.grad.memory));                                                   \
        s.submit = right.submit;                                                                             \
        memcpy(s.v, right.v, sizeof s.v);                                                                    \
        s.g = right.g;                                                                                       \
        s.values[0] = &s.v[0];                                                                               \
        s.values[1] = &s.v[1];                                                                               \
        s.grads[0] = NULL;                                                                                   \
        s.grads[1] = &s.g;                                                                                   \
        assert_int_equal(s.f.plugin->submit_pass(s.f.session, &s.submit, &s.f.error), DUKD_OK);              \
        assert_false(isnan(*(const float *)s.grad.memory));                                                  \
        submission_free(&s);                                                                                 \
    } while (0)

static void submissions_are_checked(void **state) {
    (void)state;
    SUBMIT_FAILS(DUKD_E_ARGUMENT, s.submit.struct_size = 40, "submit: struct_size is 40, expected 48");
    SUBMIT_FAILS(DUKD_E_ARGUMENT, s.submit.pad0 = 1, "pad0 is not 0");
    SUBMIT_FAILS(DUKD_E_ARGUMENT, s.submit.pass_id = 2, "pass_id is 2, but the step has 2 passes");
    SUBMIT_FAILS(DUKD_E_STATE, s.submit.pass_id = 1, "pass 1 has not been handed out");
    SUBMIT_FAILS(DUKD_E_ARGUMENT, s.submit.n_taps = 1, "n_taps is 1, but pass 0 has 2");
    SUBMIT_FAILS(DUKD_E_ARGUMENT, s.submit.values = NULL, "values is NULL");
    SUBMIT_FAILS(DUKD_E_ARGUMENT, s.submit.grads = NULL, "grads is NULL");
    SUBMIT_FAILS(DUKD_E_ARGUMENT, s.submit.grad_scale = 0, "grad_scale is 0");
    SUBMIT_FAILS(DUKD_E_ARGUMENT, s.submit.grad_scale = NAN, "grad_scale is");
    SUBMIT_FAILS(DUKD_E_ARGUMENT, s.submit.grad_scale = INFINITY, "grad_scale is inf");
    SUBMIT_FAILS(DUKD_E_ARGUMENT, s.submit.grad_scale = 2, "grad_scale is not 1", "DUKD_SESSION_LOSS_SCALE");
    SUBMIT_FAILS(DUKD_E_ARGUMENT, s.submit.grad_scale_dev = &s.g, "grad_scale_dev is given",
                 "DUKD_SESSION_LOSS_SCALE");
    SUBMIT_FAILS(DUKD_E_ARGUMENT, s.values[0] = NULL, "values[0] (pass 0, teacher) is NULL");
    SUBMIT_FAILS(DUKD_E_ARGUMENT, s.values[1] = NULL, "values[1] (pass 0, student) is NULL");
    SUBMIT_FAILS(DUKD_E_ARGUMENT, s.grads[1] = NULL, "grads[1] (pass 0, student) is NULL");
    SUBMIT_FAILS(DUKD_E_ARGUMENT, s.grads[0] = &s.g, "grads[0] (pass 0, teacher) is not NULL",
                 "DUKD_TAP_WANT_GRAD");
    SUBMIT_FAILS(DUKD_E_ARGUMENT, (s.v[1].shape = s.shape, s.shape[3] = 17), "values[1]",
                 "2 x 3 x 16 x 17, expected 2 x 3 x 16 x 16");
    SUBMIT_FAILS(DUKD_E_ARGUMENT, s.v[0].dtype.bits = 64, "values[0]", "expected f32, f16 or bf16");
    SUBMIT_FAILS(DUKD_E_ARGUMENT, s.v[0].data = NULL, "values[0]", "data is NULL");
    SUBMIT_FAILS(DUKD_E_ARGUMENT, s.v[1].byte_offset = 1, "values[1]", "not aligned");
    SUBMIT_FAILS(DUKD_E_ARGUMENT, s.g.dtype = fixture_f16, "grads[1]", "type is f16", "expected f32");
    SUBMIT_FAILS(DUKD_E_ARGUMENT, (s.v[1].dtype = fixture_bf16, s.g.dtype = fixture_f16), "grads[1]",
                 "expected f32 or bf16");
    SUBMIT_FAILS(DUKD_E_ARGUMENT, (s.v[1].dtype = fixture_f16, s.g.dtype = fixture_bf16), "grads[1]",
                 "expected f32 or f16");
    SUBMIT_FAILS(DUKD_E_ARGUMENT, s.g.ndim = 5, "grads[1]", "ndim is 5");
    SUBMIT_FAILS(DUKD_E_ARGUMENT, s.g.device.device_type = 2, "grads[1]", "CUDA device 0");
    SUBMIT_FAILS(DUKD_E_ARGUMENT, (s.g.strides = s.strides, s.strides[1] = 0), "grads[1]", "overlap");
    SUBMIT_FAILS(DUKD_E_ARGUMENT, (s.g.strides = s.strides, s.strides[2] = -1), "grads[1]", "overlap");
    SUBMIT_FAILS(DUKD_E_ARGUMENT, (s.g.strides = s.strides, s.strides[0] = 767), "grads[1]", "overlap");
    SUBMIT_FAILS(DUKD_E_ARGUMENT, s.g.data = s.v[1].data, "grads[1] shares memory with values[1]");
    SUBMIT_FAILS(DUKD_E_ARGUMENT, (s.v[0].data = s.g.data, s.v[0].byte_offset = 4),
                 "grads[1] shares memory with values[0]");
    submission s;
    submission_init(&s, DUKD_SESSION_LOSS_SCALE);
    assert_int_equal(s.f.plugin->submit_pass(s.f.session, NULL, &s.f.error), DUKD_E_ARGUMENT);
    EXPECT_MESSAGE(&s.f, "submit is NULL");
    s.submit.grad_scale_dev = &s.g;
    assert_int_equal(s.f.plugin->submit_pass(s.f.session, &s.submit, &s.f.error), DUKD_E_ARGUMENT);
    EXPECT_MESSAGE(&s.f, "grad_scale_dev is for CUDA");
    submission_free(&s);
}

/* ---------------------------------------------------------------- the rest of the table */

static void other_arguments_are_checked(void **state) {
    (void)state;
    fixture f;
    dukd_losses losses = {.struct_size = DUKD_LOSSES_SIZE};
    fixture_init(&f);
    fixture_must_open(&f, NULL);
    assert_int_equal(f.plugin->get_plan(f.session, NULL, &f.error), DUKD_E_ARGUMENT);
    EXPECT_MESSAGE(&f, "get_plan: out is NULL");
    assert_int_equal(f.plugin->get_plan(NULL, NULL, &f.error), DUKD_E_ARGUMENT);
    EXPECT_MESSAGE(&f, "session is NULL");
    fixture_step(&f, 1, 0, 0);
    assert_int_equal(f.plugin->read_losses(f.session, NULL, &f.error), DUKD_E_ARGUMENT);
    EXPECT_MESSAGE(&f, "read_losses: out is NULL");
    losses.struct_size = 24;
    assert_int_equal(f.plugin->read_losses(f.session, &losses, &f.error), DUKD_E_ARGUMENT);
    EXPECT_MESSAGE(&f, "read_losses: struct_size is 24, expected 32");
    struct {
        dukd_losses losses;
        uint64_t later;
    } grown = {.losses = {.struct_size = DUKD_LOSSES_SIZE + 8}, .later = 5};
    assert_int_equal(f.plugin->read_losses(f.session, &grown.losses, &f.error), DUKD_OK);
    assert_int_equal(grown.later, 5);
    fixture_batch(&f, 0);
    assert_int_equal(fixture_begin(&f, 2, 0, 0), DUKD_OK);
    assert_int_equal(f.plugin->next_pass(f.session, NULL, &f.error), DUKD_E_ARGUMENT);
    EXPECT_MESSAGE(&f, "next_pass: out is NULL");
    fixture_close(&f);
}

/* ---------------------------------------------------------------- sources of draws in a session */

typedef struct {
    uint32_t what;
    uint64_t value;
    int32_t answer;
} one_draw;

static int32_t give_one(void *ctx, const dukd_draw *draw, uint64_t *value) {
    const one_draw *one = ctx;
    if (draw->what != one->what) return 0;
    *value = one->value;
    return one->answer;
}

static void a_bad_draw_is_told_and_changes_nothing(void **state) {
    (void)state;
    fixture f;
    one_draw one = {DUKD_DRAW_CROP_ROW, 9, 1};
    fixture_init(&f);
    f.h = 8;
    f.w = 10;
    fixture_must_open(&f, OPTIONS("train.augment.rot90=0"));
    const dukd_ext_draws *draws = f.plugin->get_extension(DUKD_EXT_DRAWS);
    assert_int_equal(draws->set_source(f.session, give_one, &one, &f.error), DUKD_OK);
    fixture_batch(&f, 0);
    assert_int_equal(fixture_begin(&f, 1, 0, 0), DUKD_E_ARGUMENT);
    EXPECT_MESSAGE(&f, "CROP_ROW", "below 9");
    one = (one_draw){DUKD_DRAW_CROP_ROW, 8, 1}; /* the last row that fits */
    assert_int_equal(fixture_begin(&f, 1, 0, 0), DUKD_OK);
    assert_int_equal(f.plugin->cancel_step(f.session, &f.error), DUKD_OK);
    one = (one_draw){DUKD_DRAW_ROTATE, 3, 1};
    assert_int_equal(fixture_begin(&f, 1, 0, 0), DUKD_E_ARGUMENT);
    EXPECT_MESSAGE(&f, "turns or transposes sample 0", "4 x 5");
    one = (one_draw){DUKD_DRAW_ROTATE, 2, 1}; /* upside down is no problem */
    assert_int_equal(fixture_begin(&f, 1, 0, 0), DUKD_OK);
    assert_int_equal(f.plugin->cancel_step(f.session, &f.error), DUKD_OK);
    one = (one_draw){DUKD_DRAW_INVERT, 0, DUKD_E_UNSUPPORTED};
    assert_int_equal(fixture_begin(&f, 1, 0, 0), DUKD_E_UNSUPPORTED);
    EXPECT_MESSAGE(&f, "source of draws failed (-3) at INVERT");
    one = (one_draw){DUKD_DRAW_INVERT, 0, DUKD_E_BACKEND}; /* such an error leaves a step to cancel */
    assert_int_equal(fixture_begin(&f, 1, 0, 0), DUKD_E_BACKEND);
    assert_int_equal(fixture_begin(&f, 1, 0, 0), DUKD_E_STATE);
    assert_int_equal(f.plugin->cancel_step(f.session, &f.error), DUKD_OK);
    assert_int_equal(draws->set_source(f.session, NULL, NULL, &f.error), DUKD_OK);
    assert_int_equal(draws->set_source(NULL, NULL, NULL, &f.error), DUKD_E_ARGUMENT);
    fixture_step(&f, 1, 0, 0);
    fixture_close(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(params_are_checked),
        cmocka_unit_test(the_host_is_checked),
        cmocka_unit_test(larger_structs_of_later_versions),
        cmocka_unit_test(sizes_that_do_not_fit_are_refused_with_the_sizes),
        cmocka_unit_test(networks_that_do_not_fit_are_refused_with_the_sizes),
        cmocka_unit_test(steps_are_checked),
        cmocka_unit_test(tensors_are_checked),
        cmocka_unit_test(submissions_are_checked),
        cmocka_unit_test(other_arguments_are_checked),
        cmocka_unit_test(a_bad_draw_is_told_and_changes_nothing),
    };
    return cmocka_run_group_tests_name("session_errors", tests, NULL, NULL);
}
