/* Group loading: opening the library, the entry, and what the plugin says of itself. Group session: that one can be made, without
 * which the groups after it have nothing to look at. */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fenv.h>
#include <float.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conform.h"
#include "dukd_ext_draws.h"
#include "dukd_ext_params.h"
#include "toy_host.h"

static conform_result open_table(conform *c, const dukd_plugin **out) {
    dukd_get_plugin_draft_fn entry;
    void *handle;
    TRY(conform_entry(c, &entry, &handle));
    const dukd_plugin *p = *out = entry(DUKD_ABI_DRAFT);
    REQUIRE(c, p, "the entry gives NULL");
    REQUIRE(c, p->abi_draft == DUKD_ABI_DRAFT,
            "the plugin has draft %u, this suite checks draft %u: rebuild the %s", p->abi_draft,
            DUKD_ABI_DRAFT, p->abi_draft < DUKD_ABI_DRAFT ? "plugin" : "suite");
    REQUIRE(c, p->struct_size >= DUKD_PLUGIN_SIZE, "the table has %u bytes, not %u", p->struct_size,
            DUKD_PLUGIN_SIZE);
    return CONFORM_PASS;
}

static conform_result table(conform *c) {
    const dukd_plugin *p;
    TRY(open_table(c, &p));
    REQUIRE(c, p->struct_size % 8 == 0, "the table's size, %u, is not a multiple of 8", p->struct_size);
#define THERE(name) REQUIRE(c, p->name, #name " of the table is NULL")
    THERE(get_info);
    THERE(query_backend);
    THERE(get_extension);
    THERE(create_session);
    THERE(destroy_session);
    THERE(get_plan);
    THERE(begin_step);
    THERE(next_pass);
    THERE(submit_pass);
    THERE(end_step);
    THERE(cancel_step);
    THERE(read_losses);
    THERE(get_state);
    THERE(set_state);
#undef THERE
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

/* Whether numbers below the smallest normal one are kept; -ffast-math switches that off for the whole process. */
static int keeps_small_numbers(void) {
    volatile float smallest = FLT_MIN;
    volatile float half = smallest / 2;
    return half > 0;
}

static conform_result entry_is_pure(conform *c) {
    int files = count_entries("/proc/self/fd"), threads = count_entries("/proc/self/task");
    int rounding = fegetround(), small = keeps_small_numbers();
    char locale[128];
    strncpy(locale, setlocale(LC_ALL, NULL), sizeof locale - 1);
    locale[sizeof locale - 1] = 0;
    dukd_get_plugin_draft_fn entry;
    void *handle;
    TRY(conform_entry(c, &entry, &handle));
    const dukd_plugin *a = entry(DUKD_ABI_DRAFT);
    REQUIRE(c, a && a == entry(DUKD_ABI_DRAFT), "two calls give different tables");
    const dukd_plugin_info *info = a->get_info();
    REQUIRE(c, info && info == a->get_info(), "two calls of get_info give different pointers");
    REQUIRE(c, threads < 0 || count_entries("/proc/self/task") == threads,
            "loading and get_info started threads");
    REQUIRE(c, files < 0 || count_entries("/proc/self/fd") == files, "loading and get_info left files open");
    REQUIRE(c, fegetround() == rounding && keeps_small_numbers() == small,
            "loading it changes how the process computes (linked with -ffast-math?)");
    REQUIRE(c, strncmp(locale, setlocale(LC_ALL, NULL), sizeof locale - 1) == 0,
            "loading it changes the locale");
    return CONFORM_PASS;
}

static conform_result other_draft(conform *c) {
    dukd_get_plugin_draft_fn entry;
    void *handle;
    TRY(conform_entry(c, &entry, &handle));
    const uint32_t drafts[] = {0, DUKD_ABI_DRAFT + 1, UINT32_MAX};
    for (size_t i = 0; i < sizeof drafts / sizeof *drafts; i++) {
        const dukd_plugin *p = entry(drafts[i]);
        REQUIRE(c, p, "asked for draft %u the entry gives NULL: a host could not say which side to rebuild",
                drafts[i]);
        REQUIRE(c, p->struct_size >= 8, "asked for draft %u the table has %u bytes", drafts[i],
                p->struct_size);
        /* it may well have the next draft too, but not these two */
        REQUIRE(c, drafts[i] == DUKD_ABI_DRAFT + 1 || p->abi_draft != drafts[i],
                "asked for draft %u it claims to have it", drafts[i]);
    }
    return CONFORM_PASS;
}

static conform_result again(conform *c) {
    dukd_get_plugin_draft_fn entry;
    void *handle;
    TRY(conform_entry(c, &entry, &handle));
    const dukd_plugin *before = entry(DUKD_ABI_DRAFT);
    const dukd_plugin_info *info = before ? before->get_info() : NULL;
    REQUIRE(c, info, "no table or no description");
    for (int i = 0; i < 20; i++) {
        dlclose(handle);
        TRY(conform_entry(c, &entry, &handle));
        const dukd_plugin *p = entry(DUKD_ABI_DRAFT);
        REQUIRE(c, p == before, "closed and opened again it gives another table");
        REQUIRE(c, p->get_info() == info, "closed and opened again it gives another description");
    }
    return CONFORM_PASS;
}

/* ---- what it says of itself ---- */

static int one_line(const char *text) {
    return text && text[0] && !strpbrk(text, "\r\n");
}

static int is_number(const char *text, int whole, double *value) {
    char *end = NULL;
    errno = 0;
    if (whole)
        *value = (double)strtoll(text, &end, 10);
    else
        *value = strtod(text, &end);
    return end != text && *end == 0 && errno == 0;
}

/* One value of an option's default. */
static conform_result value_fits(conform *c, const dukd_option_info *o, const char *text) {
    double value = 0;
    uint32_t base = o->type & ~DUKD_OPTION_LIST, k = 0;
    if (base == DUKD_OPTION_BOOL)
        REQUIRE(c, strcmp(text, "true") == 0 || strcmp(text, "false") == 0,
                "option %s: its default, '%s', is not true or false", o->name, text);
    if (base == DUKD_OPTION_INT || base == DUKD_OPTION_FLOAT)
        REQUIRE(c, is_number(text, base == DUKD_OPTION_INT, &value) && value >= o->min && value <= o->max,
                "option %s: its default, '%s', is no number of its range", o->name, text);
    while (k < o->n_choices && strcmp(o->choices[k], text) != 0) k++;
    REQUIRE(c, !o->n_choices || k < o->n_choices, "option %s: its default, '%s', is not among its choices",
            o->name, text);
    return CONFORM_PASS;
}

/* "0.3" or "[rec, kd]". */
static conform_result default_fits(conform *c, const dukd_option_info *o) {
    char text[512];
    if (!o->default_text) return CONFORM_PASS;
    if (!(o->type & DUKD_OPTION_LIST)) return value_fits(c, o, o->default_text);
    strncpy(text, o->default_text, sizeof text - 1);
    text[sizeof text - 1] = 0;
    char *rest = NULL;
    for (char *item = strtok_r(text, "[], ", &rest); item; item = strtok_r(NULL, "[], ", &rest))
        TRY(value_fits(c, o, item));
    return CONFORM_PASS;
}

static conform_result option_is_whole(conform *c, const dukd_option_info *o, uint32_t i) {
    REQUIRE(c, o && o->struct_size >= DUKD_OPTION_INFO_SIZE && o->name && o->name[0], "option %u has no name",
            i);
    uint32_t base = o->type & ~DUKD_OPTION_LIST;
    REQUIRE(c, base >= DUKD_OPTION_BOOL && base <= DUKD_OPTION_STRING, "option %s: unknown type %u", o->name,
            o->type);
    REQUIRE(c, one_line(o->help), "option %s: help is one line", o->name);
    REQUIRE(c, o->pad0 == 0, "option %s: pad0 is not zero", o->name);
    if (base == DUKD_OPTION_INT || base == DUKD_OPTION_FLOAT)
        REQUIRE(c, o->min <= o->max, "option %s: its range is empty", o->name);
    REQUIRE(c, !o->n_choices || o->choices, "option %s: choices is NULL", o->name);
    for (uint32_t k = 0; k < o->n_choices; k++)
        REQUIRE(c, o->choices[k], "option %s: choice %u is NULL", o->name, k);
    return default_fits(c, o);
}

static conform_result description(conform *c) {
    const dukd_plugin *p;
    TRY(open_table(c, &p));
    const dukd_plugin_info *info = p->get_info();
    REQUIRE(c, info && info->struct_size >= DUKD_PLUGIN_INFO_SIZE, "get_info gives no description");
    REQUIRE(c, info->name && info->name[0], "the plugin has no name");
    int major, minor, patch, read = 0;
    REQUIRE(c,
            info->version && sscanf(info->version, "%d.%d.%d%n", &major, &minor, &patch, &read) == 3 &&
                read >= 5 && (!info->version[read] || strchr("-+", info->version[read])),
            "version '%s' is no semantic version (1.2.3)", info->version ? info->version : "NULL");
    REQUIRE(c, info->build, "build is NULL");
    REQUIRE(c, info->n_losses && info->losses, "no losses: what is it for?");
    for (uint32_t i = 0; i < info->n_losses; i++) {
        const dukd_loss_info *l = info->losses[i];
        REQUIRE(c, l && l->struct_size >= DUKD_LOSS_INFO_SIZE && l->name && l->name[0] && one_line(l->help),
                "loss %u is incomplete", i);
        REQUIRE(c, l->pad0 == 0, "loss %s: pad0 is not zero", l->name);
        for (uint32_t k = 0; k < i; k++)
            REQUIRE(c, strcmp(l->name, info->losses[k]->name) != 0, "loss %s is there twice", l->name);
    }
    REQUIRE(c, !info->n_options || info->options, "options is NULL");
    for (uint32_t i = 0; i < info->n_options; i++) {
        TRY(option_is_whole(c, info->options[i], i));
        for (uint32_t k = 0; k < i; k++)
            REQUIRE(c, strcmp(info->options[i]->name, info->options[k]->name) != 0,
                    "option %s is there twice", info->options[i]->name);
    }
    return CONFORM_PASS;
}

static conform_result backends(conform *c) {
    const dukd_plugin *p;
    TRY(open_table(c, &p));
    uint32_t n = p->get_info()->n_backends;
    char names[16][32] = {{0}};
    REQUIRE(c, n, "has no backend");
    for (uint32_t i = 0; i < n; i++) {
        dukd_error e = {.struct_size = DUKD_ERROR_SIZE};
        dukd_backend_info b = {.struct_size = DUKD_BACKEND_INFO_SIZE};
        int32_t code = p->query_backend(i, &b, &e);
        REQUIRE(c, code == DUKD_OK, "query_backend(%u) gave %d: %s", i, code, e.message);
        REQUIRE(c, memchr(b.name, 0, sizeof b.name) && b.name[0], "backend %u has no name", i);
        REQUIRE(c, b.usable == 0 || b.usable == 1, "backend %s: usable is %d, not 0 or 1", b.name, b.usable);
        REQUIRE(c, memchr(b.detail, 0, sizeof b.detail) && (b.usable || b.detail[0]),
                "backend %s does not say why it is not usable", b.name);
        REQUIRE(c,
                b.device_type == DUKD_DEVICE_CPU || b.device_type == DUKD_DEVICE_CUDA ||
                    b.device_type == DUKD_DEVICE_CUDA_HOST,
                "backend %s: unknown device_type %d", b.name, b.device_type);
        REQUIRE(c, b.pad0 == 0, "backend %s: pad0 is not zero", b.name);
        for (uint32_t k = 0; k < i && k < 16; k++)
            REQUIRE(c, strcmp(b.name, names[k]) != 0, "backend %s is there twice", b.name);
        if (i < 16) memcpy(names[i], b.name, sizeof b.name);
    }
    return CONFORM_PASS;
}

static conform_result extensions(conform *c) {
    const dukd_plugin *p;
    TRY(open_table(c, &p));
    if (!p->get_extension) return conform_skip(c, "get_extension is NULL: see table");
    REQUIRE(c, !p->get_extension("no.such.extension/1"), "an unknown extension is not NULL");
    REQUIRE(c, !p->get_extension(""), "the empty extension is not NULL");
    REQUIRE(c, !p->get_extension("dukd.draws/999"), "an extension of another version is not NULL");
    const dukd_ext_draws *draws = p->get_extension(DUKD_EXT_DRAWS);
    REQUIRE(c, draws == p->get_extension(DUKD_EXT_DRAWS), "two calls of get_extension differ");
    REQUIRE(c, !draws || (draws->struct_size >= DUKD_EXT_DRAWS_SIZE && draws->set_source),
            DUKD_EXT_DRAWS " is incomplete");
    const dukd_ext_params *params = p->get_extension(DUKD_EXT_PARAMS);
    REQUIRE(c, !params || (params->struct_size >= DUKD_EXT_PARAMS_SIZE && params->list && params->bind),
            DUKD_EXT_PARAMS " is incomplete");
    return CONFORM_PASS;
}

static const conform_check checks[] = {
    {"table", "the entry gives a whole table of this draft (the table of functions)", table},
    {"entry-is-pure", "same pointers every time, no threads, no files, no side effects (the entry; get_info)",
     entry_is_pure},
    {"other-draft", "asked for another draft it still says which one it has (the entry)", other_draft},
    {"again", "closed and opened again it gives the same table (abi/README.md, rule 1)", again},
    {"description", "losses and option table are complete, defaults fit (what a plugin says of itself)",
     description},
    {"backends", "each backend says whether it is usable here, or why not (query_backend)", backends},
    {"extensions", "what is not there is NULL (get_extension)", extensions},
};
const conform_group conform_loading = {"loading", "opening it, and what it says of itself", 1, checks,
                                       sizeof checks / sizeof *checks};

/* ---- group session ---- */

static conform_result create(conform *c) {
    toy_session t;
    TRY(toy_open(c, &t, (toy_setup){0}));
    toy_close(c, &t);
    return CONFORM_PASS;
}

static const conform_check session_checks[] = {
    {"create", "a session can be made, with the options given here (create_session)", create},
};
const conform_group conform_session = {"session", "whether there is one to look at", 0, session_checks, 1};
