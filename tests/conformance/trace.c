#include "trace.h"

#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "dukd_ext_params.h"

typedef enum {
    CALL_NONE,
    CALL_GET_INFO,
    CALL_QUERY_BACKEND,
    CALL_GET_EXTENSION,
    CALL_CREATE_SESSION,
    CALL_DESTROY_SESSION,
    CALL_GET_PLAN,
    CALL_BEGIN_STEP,
    CALL_NEXT_PASS,
    CALL_SUBMIT_PASS,
    CALL_END_STEP,
    CALL_CANCEL_STEP,
    CALL_READ_LOSSES,
    CALL_GET_STATE,
    CALL_SET_STATE,
    CALL_LIST,
    CALL_BIND,
    CALLS
} call_id;

static const char *const names[CALLS] = {
    [CALL_GET_INFO] = "get_info",
    [CALL_QUERY_BACKEND] = "query_backend",
    [CALL_GET_EXTENSION] = "get_extension",
    [CALL_CREATE_SESSION] = "create_session",
    [CALL_DESTROY_SESSION] = "destroy_session",
    [CALL_GET_PLAN] = "get_plan",
    [CALL_BEGIN_STEP] = "begin_step",
    [CALL_NEXT_PASS] = "next_pass",
    [CALL_SUBMIT_PASS] = "submit_pass",
    [CALL_END_STEP] = "end_step",
    [CALL_CANCEL_STEP] = "cancel_step",
    [CALL_READ_LOSSES] = "read_losses",
    [CALL_GET_STATE] = "get_state",
    [CALL_SET_STATE] = "set_state",
    [CALL_LIST] = "list of " DUKD_EXT_PARAMS,
    [CALL_BIND] = "bind of " DUKD_EXT_PARAMS,
};

/* Of the process's one table. */
static const dukd_plugin *plugin;
static _Atomic int32_t *progress;
static int in_threads;
static const dukd_ext_params *_Atomic params_ext; /* the same whoever asks */

/* Of this thread. */
static _Thread_local int inside, tasks;

int trace_is_caller(void) {
    return inside > 0 && tasks == 0;
}

void trace_task(int begins) {
    tasks += begins ? 1 : -1;
}

/* One [session] call with whatever arguments it takes. */
typedef struct {
    call_id id;
    dukd_session *session;
    const void *in; /* params, step, submit, data */
    void *out;      /* whatever is written */
    uint64_t *size; /* get_state */
    uint64_t bytes; /* set_state */
    dukd_error *error;
    int32_t result;
} call;

static void *perform(void *p) {
    call *k = p;
    inside++;
    switch (k->id) {
    case CALL_CREATE_SESSION:
        k->result = plugin->create_session(k->in, k->out, k->error);
        break;
    case CALL_DESTROY_SESSION:
        plugin->destroy_session(k->session);
        break;
    case CALL_GET_PLAN:
        k->result = plugin->get_plan(k->session, k->out, k->error);
        break;
    case CALL_BEGIN_STEP:
        k->result = plugin->begin_step(k->session, k->in, k->error);
        break;
    case CALL_NEXT_PASS:
        k->result = plugin->next_pass(k->session, k->out, k->error);
        break;
    case CALL_SUBMIT_PASS:
        k->result = plugin->submit_pass(k->session, k->in, k->error);
        break;
    case CALL_END_STEP:
        k->result = plugin->end_step(k->session, k->error);
        break;
    case CALL_CANCEL_STEP:
        k->result = plugin->cancel_step(k->session, k->error);
        break;
    case CALL_READ_LOSSES:
        k->result = plugin->read_losses(k->session, k->out, k->error);
        break;
    case CALL_GET_STATE:
        k->result = plugin->get_state(k->session, k->out, k->size, k->error);
        break;
    case CALL_SET_STATE:
        k->result = plugin->set_state(k->session, k->in, k->bytes, k->error);
        break;
    case CALL_LIST:
        k->result = atomic_load(&params_ext)->list(k->session, k->out, k->error);
        break;
    case CALL_BIND:
        k->result = atomic_load(&params_ext)->bind(k->session, k->in, k->error);
        break;
    default:
        abort(); /* in the check's own process */
    }
    inside--;
    return NULL;
}

static int32_t make(call k) {
    atomic_store(progress, (int32_t)k.id);
    if (in_threads) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, perform, &k)) abort();
        pthread_join(thread, NULL);
    } else {
        perform(&k);
    }
    atomic_store(progress, (int32_t)CALL_NONE);
    return k.result;
}

/* ---- the table ---- */

static const dukd_plugin_info *get_info(void) {
    atomic_store(progress, (int32_t)CALL_GET_INFO);
    const dukd_plugin_info *info = plugin->get_info();
    atomic_store(progress, (int32_t)CALL_NONE);
    return info;
}

static int32_t query_backend(uint32_t index, dukd_backend_info *out, dukd_error *error) {
    atomic_store(progress, (int32_t)CALL_QUERY_BACKEND);
    int32_t result = plugin->query_backend(index, out, error);
    atomic_store(progress, (int32_t)CALL_NONE);
    return result;
}

static int32_t list_params(dukd_session *session, const dukd_param_list **out, dukd_error *error) {
    return make((call){.id = CALL_LIST, .session = session, .out = out, .error = error});
}

static int32_t bind_params(dukd_session *session, const dukd_param_bind *bind, dukd_error *error) {
    return make((call){.id = CALL_BIND, .session = session, .in = bind, .error = error});
}

static const dukd_ext_params noted_params = {
    .struct_size = DUKD_EXT_PARAMS_SIZE, .list = list_params, .bind = bind_params};

static const void *get_extension(const char *id) {
    atomic_store(progress, (int32_t)CALL_GET_EXTENSION);
    const void *extension = plugin->get_extension ? plugin->get_extension(id) : NULL; /* see check table */
    atomic_store(progress, (int32_t)CALL_NONE);
    if (!extension || strcmp(id, DUKD_EXT_PARAMS) != 0) return extension;
    atomic_store(&params_ext, (const dukd_ext_params *)extension);
    return &noted_params; /* whether the plugin's own is whole: see check extensions */
}

static int32_t create_session(const dukd_session_params *params, dukd_session **out, dukd_error *error) {
    return make((call){.id = CALL_CREATE_SESSION, .in = params, .out = out, .error = error});
}

static void destroy_session(dukd_session *session) {
    make((call){.id = CALL_DESTROY_SESSION, .session = session});
}

static int32_t get_plan(dukd_session *session, const dukd_plan **out, dukd_error *error) {
    return make((call){.id = CALL_GET_PLAN, .session = session, .out = out, .error = error});
}

static int32_t begin_step(dukd_session *session, const dukd_step *step, dukd_error *error) {
    return make((call){.id = CALL_BEGIN_STEP, .session = session, .in = step, .error = error});
}

static int32_t next_pass(dukd_session *session, const dukd_pass **out, dukd_error *error) {
    return make((call){.id = CALL_NEXT_PASS, .session = session, .out = out, .error = error});
}

static int32_t submit_pass(dukd_session *session, const dukd_submit *submit, dukd_error *error) {
    return make((call){.id = CALL_SUBMIT_PASS, .session = session, .in = submit, .error = error});
}

static int32_t end_step(dukd_session *session, dukd_error *error) {
    return make((call){.id = CALL_END_STEP, .session = session, .error = error});
}

static int32_t cancel_step(dukd_session *session, dukd_error *error) {
    return make((call){.id = CALL_CANCEL_STEP, .session = session, .error = error});
}

static int32_t read_losses(dukd_session *session, dukd_losses *out, dukd_error *error) {
    return make((call){.id = CALL_READ_LOSSES, .session = session, .out = out, .error = error});
}

static int32_t get_state(dukd_session *session, void *data, uint64_t *size, dukd_error *error) {
    return make((call){.id = CALL_GET_STATE, .session = session, .out = data, .size = size, .error = error});
}

static int32_t set_state(dukd_session *session, const void *data, uint64_t size, dukd_error *error) {
    return make((call){.id = CALL_SET_STATE, .session = session, .in = data, .bytes = size, .error = error});
}

static const dukd_plugin table = {
    .struct_size = DUKD_PLUGIN_SIZE,
    .abi_draft = DUKD_ABI_DRAFT,
    .get_info = get_info,
    .query_backend = query_backend,
    .get_extension = get_extension,
    .create_session = create_session,
    .destroy_session = destroy_session,
    .get_plan = get_plan,
    .begin_step = begin_step,
    .next_pass = next_pass,
    .submit_pass = submit_pass,
    .end_step = end_step,
    .cancel_step = cancel_step,
    .read_losses = read_losses,
    .get_state = get_state,
    .set_state = set_state,
};

const dukd_plugin *trace_table(const dukd_plugin *real, _Atomic int32_t *noted) {
    plugin = real;
    progress = noted;
    return &table;
}

void trace_in_threads(int on) {
    in_threads = on;
}

const char *trace_name(int32_t id) {
    return id > CALL_NONE && id < CALLS ? names[id] : NULL;
}
