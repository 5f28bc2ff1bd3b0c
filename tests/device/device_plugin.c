#include "device_plugin.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device_memory.h"
#include "dukd_ext_params.h"

enum { MOST_IMAGES = 64, MOST_PASSES = 32, MOST_INPUTS = 16 };

/* What the plugin has made in its own memory, and where the host finds it. */
typedef struct {
    const void *from;
    size_t bytes;
    void *there;
} image;

typedef struct {
    dukd_pass pass;
    dukd_input input[MOST_INPUTS];
    dukd_tensor tensor[MOST_INPUTS];
    const dukd_input *inputs[MOST_INPUTS];
} shown_pass;

static const dukd_plugin *real;
static image images[MOST_IMAGES];
static shown_pass shown[MOST_PASSES];

/* ---------------------------------------------------------------- inputs */

static size_t extent(const dukd_tensor *t) {
    int64_t last = 0, dense = 1;
    for (int d = t->ndim - 1; d >= 0; d--) {
        device_require(!t->strides || t->strides[d] >= 0, "an input with negative strides");
        last += (t->shape[d] - 1) * (t->strides ? t->strides[d] : dense);
        dense *= t->shape[d];
    }
    return (size_t)(last + 1) * sizeof(float);
}

/* The same memory for the same image, so that a host can tell that it is the same. */
static void *shown_image(const void *from, size_t bytes) {
    for (int i = 0; i < MOST_IMAGES; i++) {
        image *m = &images[i];
        if (m->from && (m->from != from || m->bytes != bytes)) continue;
        if (!m->from) *m = (image){from, bytes, device_alloc(bytes)};
        device_require(m->there != NULL, "no memory for an input");
        memcpy(m->there, from, bytes);
        return m->there;
    }
    device_require(0, "more inputs than this test's plugin has room for");
    return NULL;
}

static const dukd_pass *shown_of(const dukd_pass *p) {
    device_require(p->id < MOST_PASSES && p->n_inputs <= MOST_INPUTS, "a pass that is too large");
    shown_pass *s = &shown[p->id];
    s->pass = *p;
    s->pass.inputs = s->inputs;
    for (uint32_t i = 0; i < p->n_inputs; i++) {
        s->input[i] = *p->inputs[i];
        s->tensor[i] = *p->inputs[i]->tensor;
        s->input[i].tensor = &s->tensor[i];
        s->inputs[i] = &s->input[i];
        const char *from = (const char *)s->tensor[i].data + s->tensor[i].byte_offset;
        if (device_has(from)) continue; /* the host's own */
        s->tensor[i].data = shown_image(from, extent(&s->tensor[i]));
        s->tensor[i].byte_offset = 0;
    }
    return &s->pass;
}

static void forget_images(void) {
    for (int i = 0; i < MOST_IMAGES; i++) device_release(images[i].there);
    memset(images, 0, sizeof images);
}

/* ---------------------------------------------------------------- the table */

#define OPENED(call)                                                                                         \
    device_open();                                                                                           \
    const int32_t code = call;                                                                               \
    device_close();                                                                                          \
    return code

static int32_t bind_params(dukd_session *session, const dukd_param_bind *bind, dukd_error *error) {
    const dukd_ext_params *ext = real->get_extension(DUKD_EXT_PARAMS);
    for (uint32_t i = 0; i < bind->n_params; i++)
        device_require(device_has(bind->values[i]->data) && device_has(bind->grads[i]->data),
                       "a parameter of the plugin's is in the processor's memory");
    OPENED(ext->bind(session, bind, error));
}

static const void *get_extension(const char *id) {
    static dukd_ext_params params;
    const void *ext = real->get_extension(id);
    if (!ext || strcmp(id, DUKD_EXT_PARAMS) != 0) return ext;
    memcpy(&params, ext, sizeof params);
    params.bind = bind_params;
    return &params;
}

static int32_t create_session(const dukd_session_params *params, dukd_session **out, dukd_error *error) {
    OPENED(real->create_session(params, out, error));
}

static void destroy_session(dukd_session *session) {
    device_open();
    real->destroy_session(session);
    device_close();
    forget_images();
}

static int32_t get_plan(dukd_session *session, const dukd_plan **out, dukd_error *error) {
    OPENED(real->get_plan(session, out, error));
}

static int32_t begin_step(dukd_session *session, const dukd_step *step, dukd_error *error) {
    device_require(device_has(step->lr->data) && device_has(step->hr->data),
                   "a batch is in the processor's memory");
    OPENED(real->begin_step(session, step, error));
}

static int32_t next_pass(dukd_session *session, const dukd_pass **out, dukd_error *error) {
    device_open();
    const int32_t code = real->next_pass(session, out, error);
    if (code == DUKD_OK) *out = shown_of(*out);
    device_close();
    return code;
}

static int32_t submit_pass(dukd_session *session, const dukd_submit *submit, dukd_error *error) {
    for (uint32_t i = 0; i < submit->n_taps; i++)
        device_require(device_has(submit->values[i]->data) &&
                           (!submit->grads[i] || device_has(submit->grads[i]->data)),
                       "a tap is in the processor's memory");
    OPENED(real->submit_pass(session, submit, error));
}

static int32_t end_step(dukd_session *session, dukd_error *error) {
    OPENED(real->end_step(session, error));
}

static int32_t cancel_step(dukd_session *session, dukd_error *error) {
    OPENED(real->cancel_step(session, error));
}

static int32_t read_losses(dukd_session *session, dukd_losses *out, dukd_error *error) {
    OPENED(real->read_losses(session, out, error));
}

static int32_t get_state(dukd_session *session, void *data, uint64_t *size, dukd_error *error) {
    OPENED(real->get_state(session, data, size, error));
}

static int32_t set_state(dukd_session *session, const void *data, uint64_t size, dukd_error *error) {
    OPENED(real->set_state(session, data, size, error));
}

const dukd_plugin *device_plugin_around(const dukd_plugin *plugin) {
    static dukd_plugin table;
    real = plugin;
    table = *plugin;
    table.get_extension = get_extension;
    table.create_session = create_session;
    table.destroy_session = destroy_session;
    table.get_plan = get_plan;
    table.begin_step = begin_step;
    table.next_pass = next_pass;
    table.submit_pass = submit_pass;
    table.end_step = end_step;
    table.cancel_step = cancel_step;
    table.read_losses = read_losses;
    table.get_state = get_state;
    table.set_state = set_state;
    return &table;
}

/* As a plugin of its own it is the project's, whose path the environment's DEVICE_TEST_PLUGIN says, else the build's. */
const dukd_plugin *dukd_get_plugin_draft(uint32_t draft) {
    const char *path = getenv("DEVICE_TEST_PLUGIN");
    void *library = dlopen(path ? path : DUKD_PLUGIN_PATH, RTLD_NOW | RTLD_LOCAL);
    void *symbol = library ? dlsym(library, DUKD_ENTRY_NAME) : NULL;
    dukd_get_plugin_draft_fn entry = NULL;
    memcpy(&entry, &symbol, sizeof entry);
    device_require(entry != NULL, "the plugin cannot be opened");
    return device_plugin_around(entry(draft));
}
