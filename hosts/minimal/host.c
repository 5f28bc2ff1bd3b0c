/* A host in one file: distils a tiny upscaler with any plugin. C99 or C++11; libc and dlopen.
 *     dukd-host-minimal PLUGIN.so [iterations=300] [micro=1] [KEY=VALUE]...
 * Other KEYs are the plugin's. Exit status 0: the losses fell; 1: they did not, or something failed; 2: misused.
 * First what a trainer has anyway; from tap_shape on, the contract: see "A host in one file" in abi/README.md. */
#include "dukd_plugin.h"

#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SCALE = 2, FILTERS = SCALE * SCALE, BATCH = 4, COLOURS = 3, PATCH = 12, HR_PATCH = SCALE * PATCH };
enum { STUDENT, TEACHER, NETWORKS, WEIGHTS = FILTERS * 5 * 5 };
enum { MAX_PASSES = 16, MAX_TAPS = 16, MAX_OPTIONS = 64 };
static const char *const names[NETWORKS] = {"student", "teacher"};
static const int sides[NETWORKS] = {3, 5}; /* a network is FILTERS filters of side x side weights */
static float weights[NETWORKS][WEIGHTS], gradient[WEIGHTS], average[WEIGHTS]; /* these two: the student's */
static const dukd_tensor *lr, *hr, *values[MAX_PASSES][MAX_TAPS], *grads[MAX_PASSES][MAX_TAPS];
static const dukd_plugin *plugin;
static dukd_session *session;
static dukd_error error = {DUKD_ERROR_SIZE, 0, ""};

static int failed(int status, const char *what, const char *why) {
    fprintf(stderr, "dukd-host-minimal: %s: %s\n", what, why);
    return status;
}

/* Dense, f32, on the CPU. Never freed: each is needed until the process ends. */
static const dukd_tensor *new_tensor(const int64_t d[4]) {
    const dukd_tensor dense = {NULL, {DUKD_DEVICE_CPU, 0}, 4, {DUKD_TYPE_FLOAT, 32, 1}, NULL, NULL, 0};
    const size_t count = (size_t)(d[0] * d[1] * d[2] * d[3]);
    dukd_tensor *t = (dukd_tensor *)calloc(1, sizeof dense + 4 * sizeof *d + count * sizeof(float));
    if (!t) exit(failed(1, "a tensor", "out of memory"));
    *t = dense;
    t->shape = (int64_t *)memcpy(t + 1, d, 4 * sizeof *d);
    t->data = t->shape + 4;
    return t;
}

/* An element, wherever offset and strides put it; rows and columns beyond the border are the border's. */
static float *at(const dukd_tensor *t, int64_t n, int64_t c, int64_t y, int64_t x) {
    const int64_t *d = t->shape, *s = t->strides;
    y = y < 0 ? 0 : y < d[2] ? y : d[2] - 1;
    x = x < 0 ? 0 : x < d[3] ? x : d[3] - 1;
    return (float *)(void *)((char *)t->data + t->byte_offset) +
           (s ? n * s[0] + c * s[1] + y * s[2] + x * s[3] : ((n * d[1] + c) * d[2] + y) * d[3] + x);
}

/* A network: a pixel becomes SCALE x SCALE, each its value plus a filter over how its neighbours differ from it.
 * Forward writes `out`; backward reads d(loss)/d(out) there and adds to the student's gradient. */
static void compute(uint32_t net, const dukd_tensor *in, const dukd_tensor *out, int backward) {
    const int64_t *d = out->shape, side = sides[net];
    for (int64_t i = 0; i < d[0] * d[1] * d[2] * d[3]; i++) {
        const int64_t x = i % d[3], y = i / d[3] % d[2], plane = i / d[3] / d[2], c = plane % d[1],
                      n = plane / d[1];
        const int64_t filter = (y % SCALE * SCALE + x % SCALE) * side * side;
        const float here = *at(in, n, c, y / SCALE, x / SCALE), from_above = *at(out, n, c, y, x);
        if (!backward) *at(out, n, c, y, x) = here;
        for (int64_t k = 0; k < side * side; k++) {
            const int64_t row = y / SCALE + k / side - side / 2, col = x / SCALE + k % side - side / 2;
            const float difference = *at(in, n, c, row, col) - here;
            if (backward) gradient[filter + k] += from_above * difference;
            if (!backward) *at(out, n, c, y, x) += weights[net][filter + k] * difference;
        }
    }
}

/* HR: places in an endless picture, as good as random, by the sample's number. LR: means of SCALE x SCALE pixels. */
static void make_batch(const dukd_step *step) {
    const int planes = (int)step->lr->shape[0] * COLOURS;
    memset(step->lr->data, 0, (size_t)(planes * PATCH * PATCH) * sizeof(float));
    for (int i = 0; i < planes * HR_PATCH * HR_PATCH; i++) {
        const int col = i % HR_PATCH, row = i / HR_PATCH % HR_PATCH, plane = i / HR_PATCH / HR_PATCH;
        const int c = plane % COLOURS, n = plane / COLOURS;
        uint64_t place = (uint64_t)(step->first_sample + n + 1) * 0x9E3779B97F4A7C15u;
        place = (place ^ place >> 31) * 0x9E3779B97F4A7C15u >> 40;
        const double x = col + (double)(place % 128), y = row + (double)(place / 128 % 128);
        const double rings = sin((x * x + y * y) / (700 + 100 * c)), waves = sin(x / 9 + 2 * sin(y / 13));
        *at(step->hr, n, c, row, col) = (float)(0.5 + 0.2 * rings + 0.2 * tanh(3 * waves));
        *at(step->lr, n, c, row / SCALE, col / SCALE) += *at(step->hr, n, c, row, col) / FILTERS;
    }
}

/* What a network makes of an input: only the host can say. Not 0: it cannot. Ours have no layers to look at. */
static int32_t tap_shape(void *ctx, const dukd_tap *tap, const int64_t in[4], int64_t out[4],
                         dukd_error *why) {
    (void)ctx, (void)why;
    for (int i = 0; i < 4; i++) out[i] = i < 2 ? in[i] : in[i] * SCALE;
    return in[1] != COLOURS || tap->layer || tap->from_layer || tap->source_kind != DUKD_SOURCE_INPUT;
}

/* Errors are negative, and the message is for the user. A session may be destroyed in every state. */
static int32_t check(const char *call, int32_t code) {
    if (code >= 0) return code;
    plugin->destroy_session(session);
    exit(failed(1, call, error.message));
}
#define CALL(function, ...) check(#function, plugin->function(__VA_ARGS__, &error))

/* A pass: its taps, their losses, then what its flags order, in this order. */
static void run_pass(const dukd_pass *pass, double rate) {
    const uint32_t flags = pass->flags, p = pass->plan_index;
    if (flags >= 2 * DUKD_PASS_EMA_AFTER || p >= MAX_PASSES || pass->n_taps > MAX_TAPS)
        exit(failed(1, "next_pass", "a pass is more than this host can do"));
    const dukd_submit submit = {DUKD_SUBMIT_SIZE, pass->id, pass->n_taps, 0, values[p], grads[p], 1, NULL};
    if (flags & DUKD_PASS_ZERO_GRAD_BEFORE) memset(gradient, 0, sizeof gradient);
    for (uint32_t i = 0; i < pass->n_taps; i++) {
        const dukd_tap *tap = pass->taps[i];
        const dukd_tensor *in = pass->inputs[tap->source_id]->tensor;
        int64_t shape[4];
        if ((tap->flags & ~DUKD_TAP_FLAGS) || tap_shape(NULL, tap, in->shape, shape, NULL))
            exit(failed(1, "next_pass", "a tap is more than this host can do"));
        if (!values[p][i]) values[p][i] = new_tensor(shape); /* of this plan_index for ever */
        if (!grads[p][i] && tap->flags & DUKD_TAP_WANT_GRAD) grads[p][i] = new_tensor(shape);
        compute(tap->network, in, values[p][i], 0);
    }
    CALL(submit_pass, session, &submit);
    for (uint32_t i = 0; i < pass->n_taps && flags & DUKD_PASS_BACKWARD; i++)
        if (grads[p][i]) compute(STUDENT, pass->inputs[pass->taps[i]->source_id]->tensor, grads[p][i], 1);
    for (int i = 0; i < WEIGHTS; i++) { /* plain gradient descent; the gradient stays as it is */
        if (flags & DUKD_PASS_OPTIMIZE_AFTER) weights[STUDENT][i] -= (float)rate * gradient[i];
        if (flags & DUKD_PASS_EMA_AFTER) average[i] += 0.02f * (weights[STUDENT][i] - average[i]);
    }
}

/* The library's one symbol gives the table of functions; both sides must have been built for the same draft. */
static void open_plugin(const char *path) {
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL), *symbol;
    dukd_get_plugin_draft_fn entry;
    if (!library || !(symbol = dlsym(library, DUKD_ENTRY_NAME))) exit(failed(1, "no plugin", dlerror()));
    memcpy(&entry, &symbol, sizeof entry); /* ISO C has no cast from an object's address to a function's */
    plugin = entry(DUKD_ABI_DRAFT);
    if (plugin->abi_draft == DUKD_ABI_DRAFT) return;
    exit(failed(1, "drafts differ", plugin->abi_draft < DUKD_ABI_DRAFT ? "rebuild plugin" : "rebuild host"));
}

int main(int argc, char **argv) {
    /* A pixel's left (or upper) half from the means of five pixels: exact for polynomials of degree 4. */
    static const float half[5] = {-3 / 128.f, 22 / 128.f, 1, -22 / 128.f, 3 / 128.f};
    static dukd_host services; /* static: what is not set is NULL */
    static dukd_option options[MAX_OPTIONS];
    static const dukd_option *list[MAX_OPTIONS];
    static const char *texts[MAX_OPTIONS];
    uint32_t n = 0, micro = 1;
    int64_t iterations = 300;
    double first = 0, last = 0;
    for (int i = 2; i < argc; i++) { /* what is not ours is an option for the plugin, whatever it means */
        char *key = argv[i], *text = strchr(key, '=');
        if (!text || i == MAX_OPTIONS) return failed(2, key, "not KEY=VALUE, or one too many");
        texts[i] = text + 1, *text = 0;
        const dukd_option o = {DUKD_OPTION_SIZE, DUKD_VALUE_SCALAR, key, "command line", &texts[i], 1, 0};
        options[i] = o, list[n] = &options[i];
        if (strcmp(key, "iterations") && strcmp(key, "micro")) n++;
        if (!strcmp(key, "iterations")) iterations = strtol(texts[i], NULL, 10);
        if (!strcmp(key, "micro")) micro = (uint32_t)strtol(texts[i], NULL, 10);
    }
    if (argc < 2 || iterations < 1 || micro < 1 || BATCH % micro)
        return failed(2, "usage", "PLUGIN.so [iterations=300] [micro=1] [KEY=VALUE]...");
    for (int i = 0; i < WEIGHTS; i++) /* the teacher; for the right or lower half, mirrored */
        weights[TEACHER][i] = half[i / 50 ? 4 - i / 5 % 5 : i / 5 % 5] * half[i / 25 % 2 ? 4 - i % 5 : i % 5];
    open_plugin(argv[1]);
    const int64_t N = BATCH / micro, low[4] = {N, COLOURS, PATCH, PATCH},
                  high[4] = {N, COLOURS, HR_PATCH, HR_PATCH};
    lr = new_tensor(low), hr = new_tensor(high);
    services.struct_size = DUKD_HOST_SIZE;
    services.n_networks = NETWORKS, services.networks = names;
    services.caps = DUKD_CAP_TWO_STEPS | DUKD_CAP_MODE_TRAIN; /* no dropout: training mode changes nothing */
    services.tap_shape = tap_shape;
    const dukd_session_params params = {DUKD_SESSION_PARAMS_SIZE,   0,     &services, list,      n, micro, 1,
                                        {N, COLOURS, PATCH, PATCH}, SCALE, lr->dtype, lr->device};
    CALL(create_session, &params, &session);
    const int64_t tenth = (iterations + 9) / 10, learn = iterations < 10 ? 9 : iterations - tenth;
    for (int64_t i = 1; i <= iterations; i++) {
        const double rate = i > learn ? 0 : iterations < 10 ? 0.05 : 0.05 - 0.05 * (double)i / (double)learn;
        if (i > learn) memcpy(weights[STUDENT], average, sizeof average); /* from here on: only to look */
        for (uint32_t m = 0; m < micro; m++) {
            const int64_t sample = ((i - 1) * micro + m) * N;
            const dukd_step step = {DUKD_STEP_SIZE, 0, i, sample, m, micro, lr, hr, NULL};
            const dukd_pass *pass;
            make_batch(&step);
            CALL(begin_step, session, &step);
            while (CALL(next_pass, session, &pass) == DUKD_OK) run_pass(pass, rate);
            CALL(end_step, session); /* no pass is held back: it cannot have been DUKD_WAIT */
        }
        dukd_losses losses = {DUKD_LOSSES_SIZE, 0, 0, NULL, NULL};
        CALL(read_losses, session, &losses);
        for (uint32_t k = 0; k < losses.n_losses; k++) {
            if (i == 1 || i % tenth == 0) printf("%s %.5f ", losses.names[k], losses.values[k]);
            if (strcmp(losses.names[k], "l_total")) continue;
            if (i <= tenth) first += losses.values[k] / (double)tenth;
            if (i > learn) last += losses.values[k] / (double)tenth;
        }
        if (i == 1 || i % tenth == 0) printf("at iteration %d\n", (int)i);
    }
    printf("l_total: %.5f in the first tenth, %.5f in the last (averaged weights)\n", first, last);
    plugin->destroy_session(session);
    return iterations >= 10 && !(last < 0.9 * first); /* a fall by less may be chance; fewer than 10: a try */
}
