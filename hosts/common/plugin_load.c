#include "common/plugin_load.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/library_file.h"

struct dukd_library {
    void *handle;
    const dukd_plugin *plugin;
    const dukd_plugin_info *info;
    char path[PATH_MAX];
};

dukd_error dukd_error_ready(void) {
    dukd_error e = {0};
    e.struct_size = DUKD_ERROR_SIZE;
    return e;
}

const char *dukd_outcome_name(int32_t code) {
    switch (code) {
    case DUKD_OK:
        return "DUKD_OK";
    case DUKD_STEP_DONE:
        return "DUKD_STEP_DONE";
    case DUKD_WAIT:
        return "DUKD_WAIT";
    case DUKD_WEIGHTS_MOVED:
        return "DUKD_WEIGHTS_MOVED";
    case DUKD_E_ARGUMENT:
        return "DUKD_E_ARGUMENT";
    case DUKD_E_OPTION:
        return "DUKD_E_OPTION";
    case DUKD_E_UNSUPPORTED:
        return "DUKD_E_UNSUPPORTED";
    case DUKD_E_STATE:
        return "DUKD_E_STATE";
    case DUKD_E_MEMORY:
        return "DUKD_E_MEMORY";
    case DUKD_E_BACKEND:
        return "DUKD_E_BACKEND";
    case DUKD_E_CANCELLED:
        return "DUKD_E_CANCELLED";
    case DUKD_E_INTERNAL:
        return "DUKD_E_INTERNAL";
    default:
        return "an outcome this host does not know";
    }
}

int dukd_fail_plugin(dukd_failure *f, const char *call, int32_t code, const dukd_error *error) {
    /* What cannot be done is what an option file asks for: patches, micro-batches, a backend, a teacher. */
    int status = code == DUKD_E_OPTION || code == DUKD_E_UNSUPPORTED ? DUKD_MISUSED : DUKD_FAILED;
    const char *message = error && error->message[0] ? error->message : "the plugin gave no message";
    if (code == DUKD_E_OPTION) return dukd_fail(f, status, "%s", message);
    return dukd_fail(f, status, "%s (the plugin's %s: %s)", message, call, dukd_outcome_name(code));
}

/* lib/libdukd.so beside the folder of the running program: build/release/bin/dukd-host and an installed
 * bin/dukd-host alike. */
static int beside_program(char out[PATH_MAX]) {
    char program[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
    if (n <= 0) return 0;
    program[n] = 0;
    for (int up = 0; up < 2; up++) {
        char *slash = strrchr(program, '/');
        if (!slash) return 0;
        *slash = 0;
    }
    int length = snprintf(out, PATH_MAX, "%s/lib/libdukd.so", program);
    return length > 0 && length < PATH_MAX && access(out, R_OK) == 0;
}

static int choose_path(dukd_library *l, const char *path, dukd_failure *f) {
    const char *from_environment = getenv("DUKD_PLUGIN");
    if (!path && from_environment && *from_environment) path = from_environment;
    if (!path && beside_program(l->path)) return DUKD_DONE;
    if (!path) path = "libdukd.so";
    /* dlopen searches the system's folders for a bare name: a name that is a file here means that file. */
    const char *prefix = !strchr(path, '/') && access(path, R_OK) == 0 ? "./" : "";
    int length = snprintf(l->path, sizeof l->path, "%s%s", prefix, path);
    if (length < 0 || length >= PATH_MAX)
        return dukd_fail(f, DUKD_MISUSED, "the plugin's path is longer than %d bytes", PATH_MAX);
    return DUKD_DONE;
}

/* The functions of a table must all be there: a NULL in the middle is a crash much later. */
static const char *first_missing(const dukd_plugin *p) {
    if (!p->get_info) return "get_info";
    if (!p->query_backend) return "query_backend";
    if (!p->get_extension) return "get_extension";
    if (!p->create_session) return "create_session";
    if (!p->destroy_session) return "destroy_session";
    if (!p->get_plan) return "get_plan";
    if (!p->begin_step) return "begin_step";
    if (!p->next_pass) return "next_pass";
    if (!p->submit_pass) return "submit_pass";
    if (!p->end_step) return "end_step";
    if (!p->cancel_step) return "cancel_step";
    if (!p->read_losses) return "read_losses";
    if (!p->get_state) return "get_state";
    if (!p->set_state) return "set_state";
    return NULL;
}

static int check_info(const dukd_library *l, dukd_failure *f) {
    const dukd_plugin_info *info = l->info;
    if (!info || info->struct_size < DUKD_PLUGIN_INFO_SIZE || !info->name || !info->version)
        return dukd_fail(f, DUKD_FAILED, "%s: the plugin does not describe itself (get_info)", l->path);
    for (uint32_t i = 0; i < info->n_options; i++)
        if (!info->options || !info->options[i] || info->options[i]->struct_size < DUKD_OPTION_INFO_SIZE ||
            !info->options[i]->name)
            return dukd_fail(f, DUKD_FAILED, "%s: row %u of the plugin's option table is incomplete", l->path,
                             i);
    for (uint32_t i = 0; i < info->n_losses; i++)
        if (!info->losses || !info->losses[i] || info->losses[i]->struct_size < DUKD_LOSS_INFO_SIZE ||
            !info->losses[i]->name)
            return dukd_fail(f, DUKD_FAILED, "%s: row %u of the plugin's loss table is incomplete", l->path,
                             i);
    return DUKD_DONE;
}

static int check_table(dukd_library *l, dukd_failure *f) {
    const dukd_plugin *p = l->plugin;
    if (!p) return dukd_fail(f, DUKD_FAILED, "%s: the plugin's entry gives no table", l->path);
    if (p->abi_draft != DUKD_ABI_DRAFT)
        return dukd_fail(
            f, DUKD_FAILED, "%s: the plugin speaks draft %u of the ABI, this host draft %u: rebuild the %s",
            l->path, p->abi_draft, DUKD_ABI_DRAFT, p->abi_draft < DUKD_ABI_DRAFT ? "plugin" : "host");
    if (p->struct_size < DUKD_PLUGIN_SIZE)
        return dukd_fail(f, DUKD_FAILED,
                         "%s: the plugin's table has %u bytes, draft %u has %u: rebuild the plugin", l->path,
                         p->struct_size, DUKD_ABI_DRAFT, DUKD_PLUGIN_SIZE);
    const char *missing = first_missing(p);
    if (missing)
        return dukd_fail(f, DUKD_FAILED, "%s: the plugin's table has no %s: rebuild the plugin", l->path,
                         missing);
    l->info = p->get_info();
    return check_info(l, f);
}

/* dlerror's text, without the path that it may begin with. */
static const char *why_not(const dukd_library *l) {
    const char *text = dlerror();
    const size_t length = strlen(l->path);
    if (!text) return "no reason was given";
    return strncmp(text, l->path, length) == 0 && strncmp(text + length, ": ", 2) == 0 ? text + length + 2
                                                                                       : text;
}

int dukd_library_open(dukd_library **out, const char *path, dukd_failure *f) {
    *out = NULL;
    dukd_library *l = calloc(1, sizeof *l);
    if (!l) return dukd_fail_memory(f, "the plugin's record", sizeof *l);
    int status = choose_path(l, path, f);
    if (!status) status = dukd_library_file_check(l->path, f);
    if (status) goto fail;
    l->handle = dlopen(l->path, RTLD_NOW | RTLD_LOCAL);
    if (!l->handle) {
        status = dukd_fail(f, DUKD_FAILED, "%s: cannot be opened as a plugin: %s", l->path, why_not(l));
        goto fail;
    }
    dukd_get_plugin_draft_fn entry;
    void *symbol = dlsym(l->handle, DUKD_ENTRY_NAME);
    if (!symbol) {
        status = dukd_fail(f, DUKD_FAILED, "%s: is a library but no DUKD plugin: it does not export %s",
                           l->path, DUKD_ENTRY_NAME);
        goto fail;
    }
    memcpy(&entry, &symbol,
           sizeof entry); /* ISO C has no cast from an object pointer to a function pointer */
    l->plugin = entry(DUKD_ABI_DRAFT);
    status = check_table(l, f);
    if (status) goto fail;
    *out = l;
    return DUKD_DONE;
fail:
    dukd_library_close(l);
    return status;
}

void dukd_library_close(dukd_library *l) {
    if (!l) return;
    if (l->handle) dlclose(l->handle);
    free(l);
}

const dukd_plugin *dukd_library_plugin(const dukd_library *l) {
    return l->plugin;
}
const dukd_plugin_info *dukd_library_info(const dukd_library *l) {
    return l->info;
}
const char *dukd_library_path(const dukd_library *l) {
    return l->path;
}
