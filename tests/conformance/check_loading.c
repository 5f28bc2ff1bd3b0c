/* Group loading: opening the library, the entry, and what the plugin says of itself. */
#include <dirent.h>
#include <dlfcn.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "conform.h"

static conform_result open_entry(conform *c, dukd_get_plugin_draft_fn *entry) {
    c->handle = dlopen(c->path, RTLD_NOW | RTLD_LOCAL);
    REQUIRE(c, c->handle, "dlopen: %s", dlerror());
    void *symbol = dlsym(c->handle, DUKD_ENTRY_NAME);
    REQUIRE(c, symbol, "no symbol %s", DUKD_ENTRY_NAME);
    memcpy(entry, &symbol, sizeof symbol);
    return CONFORM_PASS;
}

static int count_entries(const char *folder) {
    int n = 0;
    DIR *d = opendir(folder);
    if (!d) return -1;
    while (readdir(d)) n++;
    closedir(d);
    return n;
}

static conform_result table(conform *c) {
    dukd_get_plugin_draft_fn entry;
    conform_result r = open_entry(c, &entry);
    if (r) return r;
    const dukd_plugin *p = entry(DUKD_ABI_DRAFT);
    REQUIRE(c, p, "the entry gives NULL");
    REQUIRE(c, p->abi_draft == DUKD_ABI_DRAFT,
            "the plugin has draft %u, this suite checks draft %u: rebuild the %s", p->abi_draft,
            DUKD_ABI_DRAFT, p->abi_draft < DUKD_ABI_DRAFT ? "plugin" : "suite");
    REQUIRE(c, p->struct_size >= DUKD_PLUGIN_SIZE, "the table has %u bytes, not %u", p->struct_size,
            DUKD_PLUGIN_SIZE);
    const void *const functions[] = {
        (const void *)(uintptr_t)p->get_info,        (const void *)(uintptr_t)p->query_backend,
        (const void *)(uintptr_t)p->get_extension,   (const void *)(uintptr_t)p->create_session,
        (const void *)(uintptr_t)p->destroy_session, (const void *)(uintptr_t)p->get_plan,
        (const void *)(uintptr_t)p->begin_step,      (const void *)(uintptr_t)p->next_pass,
        (const void *)(uintptr_t)p->submit_pass,     (const void *)(uintptr_t)p->end_step,
        (const void *)(uintptr_t)p->cancel_step,     (const void *)(uintptr_t)p->read_losses,
        (const void *)(uintptr_t)p->get_state,       (const void *)(uintptr_t)p->set_state,
    };
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
        REQUIRE(c, functions[i], "function %zu of the table is NULL", i);
    return CONFORM_PASS;
}

static conform_result entry_is_pure(conform *c) {
    dukd_get_plugin_draft_fn entry;
    int files = count_entries("/proc/self/fd"), threads = count_entries("/proc/self/task");
    conform_result r = open_entry(c, &entry);
    if (r) return r;
    const dukd_plugin *a = entry(DUKD_ABI_DRAFT);
    REQUIRE(c, a && a == entry(DUKD_ABI_DRAFT), "two calls give different tables");
    const dukd_plugin_info *info = a->get_info();
    REQUIRE(c, info && info == a->get_info(), "two calls of get_info give different pointers");
    if (threads > 0)
        REQUIRE(c, count_entries("/proc/self/task") == threads, "loading and discovery started threads");
    if (files > 0)
        REQUIRE(c, count_entries("/proc/self/fd") == files, "loading and discovery left files open");
    return CONFORM_PASS;
}

static conform_result other_draft(conform *c) {
    dukd_get_plugin_draft_fn entry;
    conform_result r = open_entry(c, &entry);
    if (r) return r;
    const uint32_t drafts[] = {0, DUKD_ABI_DRAFT + 1, UINT32_MAX};
    for (size_t i = 0; i < sizeof drafts / sizeof *drafts; i++) {
        const dukd_plugin *p = entry(drafts[i]);
        REQUIRE(c, p, "asked for draft %u the entry gives NULL: a host could not say which side to rebuild",
                drafts[i]);
        REQUIRE(c, p->struct_size >= 8 && p->abi_draft != drafts[i],
                "asked for draft %u it claims to have it", drafts[i]);
    }
    return CONFORM_PASS;
}

static conform_result again(conform *c) {
    dukd_get_plugin_draft_fn entry;
    conform_result r = open_entry(c, &entry);
    if (r) return r;
    const dukd_plugin *before = entry(DUKD_ABI_DRAFT);
    for (int i = 0; i < 20; i++) {
        dlclose(c->handle);
        if ((r = open_entry(c, &entry))) return r;
    }
    REQUIRE(c, entry(DUKD_ABI_DRAFT) == before, "closed and opened again it gives another table");
    return CONFORM_PASS;
}

static int known_type(uint32_t type) {
    uint32_t base = type & ~DUKD_OPTION_LIST;
    return base >= DUKD_OPTION_BOOL && base <= DUKD_OPTION_STRING;
}

/* A table opened as every later group has it. */
static conform_result description(conform *c) {
    conform_result r = table(c);
    dukd_get_plugin_draft_fn entry;
    if (r || (r = open_entry(c, &entry))) return r;
    const dukd_plugin_info *info = entry(DUKD_ABI_DRAFT)->get_info();
    REQUIRE(c, info && info->struct_size >= DUKD_PLUGIN_INFO_SIZE, "get_info gives no description");
    REQUIRE(c, info->name && info->name[0] && info->version && info->version[0] && info->build,
            "name, version or build missing");
    REQUIRE(c, info->n_losses && info->losses, "no losses: what is it for?");
    for (uint32_t i = 0; i < info->n_losses; i++) {
        const dukd_loss_info *l = info->losses[i];
        REQUIRE(c,
                l && l->struct_size >= DUKD_LOSS_INFO_SIZE && l->name && l->name[0] && l->help && l->help[0],
                "loss %u is incomplete", i);
    }
    for (uint32_t i = 0; i < info->n_options; i++) {
        const dukd_option_info *o = info->options[i];
        REQUIRE(c, o && o->struct_size >= DUKD_OPTION_INFO_SIZE && o->name && o->name[0],
                "option %u has no name", i);
        REQUIRE(c, known_type(o->type), "option %s: unknown type %u", o->name, o->type);
        REQUIRE(c, o->help && o->help[0] && !strchr(o->help, '\n'), "option %s: help is one line", o->name);
        REQUIRE(c, !(o->min > o->max), "option %s: its range is empty", o->name);
        for (uint32_t k = 0; k < o->n_choices; k++)
            REQUIRE(c, o->choices[k], "option %s: choice %u is NULL", o->name, k);
        for (uint32_t k = 0; k < i; k++)
            REQUIRE(c, strcmp(o->name, info->options[k]->name), "option %s is there twice", o->name);
    }
    return CONFORM_PASS;
}

static conform_result backends(conform *c) {
    dukd_get_plugin_draft_fn entry;
    conform_result r = open_entry(c, &entry);
    int usable = 0;
    if (r) return r;
    const dukd_plugin *p = entry(DUKD_ABI_DRAFT);
    uint32_t n = p->get_info()->n_backends;
    REQUIRE(c, n, "has no backend");
    for (uint32_t i = 0; i < n; i++) {
        dukd_error e = {.struct_size = DUKD_ERROR_SIZE};
        dukd_backend_info b = {.struct_size = DUKD_BACKEND_INFO_SIZE};
        int32_t code = p->query_backend(i, &b, &e);
        REQUIRE(c, code == DUKD_OK, "query_backend(%u) gave %d: %s", i, code, e.message);
        REQUIRE(c, memchr(b.name, 0, sizeof b.name) && b.name[0], "backend %u has no name", i);
        REQUIRE(c, memchr(b.detail, 0, sizeof b.detail) && (b.usable || b.detail[0]),
                "backend %s does not say why it is not usable", b.name);
        usable += b.usable != 0;
    }
    REQUIRE(c, usable, "no backend is usable here");
    dukd_backend_info b = {.struct_size = DUKD_BACKEND_INFO_SIZE};
    REQUIRE(c, p->query_backend(n, &b, NULL) == DUKD_E_ARGUMENT,
            "query_backend past the last one is not DUKD_E_ARGUMENT");
    return CONFORM_PASS;
}

static conform_result extensions(conform *c) {
    dukd_get_plugin_draft_fn entry;
    conform_result r = open_entry(c, &entry);
    if (r) return r;
    const dukd_plugin *p = entry(DUKD_ABI_DRAFT);
    REQUIRE(c, !p->get_extension("no.such.extension/1"), "an unknown extension is not NULL");
    REQUIRE(c, !p->get_extension(""), "the empty extension is not NULL");
    REQUIRE(c, !p->get_extension(NULL), "extension NULL is not NULL");
    return CONFORM_PASS;
}

const conform_check conform_loading[] = {
    {"table", "loading", "the entry gives a whole table of this draft (The table of functions)", table},
    {"entry-is-pure", "loading", "same pointers every time, no threads, no files (The entry; get_info)",
     entry_is_pure},
    {"other-draft", "loading", "asked for another draft it still says which one it has (The entry)",
     other_draft},
    {"again", "loading", "closed and opened again it gives the same table (abi/README.md, rule 1)", again},
    {"description", "loading", "losses and option table are complete (What a plugin says of itself)",
     description},
    {"backends", "loading", "each backend says whether it is usable here, or why not (query_backend)",
     backends},
    {"extensions", "loading", "what is not there is NULL (get_extension)", extensions},
};
const int conform_loading_count = sizeof conform_loading / sizeof *conform_loading;
