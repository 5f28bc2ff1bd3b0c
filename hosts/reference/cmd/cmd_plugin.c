/* dukd-host plugin: what a plugin says of itself, as text or JSON. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cmd/args.h"
#include "cmd/commands.h"
#include "common/json_out.h"
#include "common/plugin_load.h"
#include "engine/engine.h"

static const char *type_name(uint32_t type) {
    switch (type & ~DUKD_OPTION_LIST) {
    case DUKD_OPTION_BOOL:
        return "bool";
    case DUKD_OPTION_INT:
        return "int";
    case DUKD_OPTION_FLOAT:
        return "float";
    case DUKD_OPTION_STRING:
        return "string";
    default:
        return "unknown type";
    }
}

/* "0..1", ">= 0", "a | b | c", or nothing. */
static void range_text(const dukd_option_info *o, char *out, size_t size) {
    size_t used = 0;
    out[0] = 0;
    if (o->n_choices) {
        for (uint32_t i = 0; i < o->n_choices && used < size; i++)
            used += (size_t)snprintf(out + used, size - used, "%s%s", i ? " | " : "", o->choices[i]);
        return;
    }
    uint32_t type = o->type & ~DUKD_OPTION_LIST;
    if (type != DUKD_OPTION_INT && type != DUKD_OPTION_FLOAT) return;
    if (isfinite(o->min) && isfinite(o->max))
        snprintf(out, size, "%g..%g", o->min, o->max);
    else if (isfinite(o->min))
        snprintf(out, size, ">= %g", o->min);
    else if (isfinite(o->max))
        snprintf(out, size, "<= %g", o->max);
}

static int query(const dukd_library *l, uint32_t i, dukd_backend_info *b, dukd_failure *f) {
    dukd_error error = dukd_error_ready();
    *b = (dukd_backend_info){.struct_size = DUKD_BACKEND_INFO_SIZE};
    int32_t code = dukd_library_plugin(l)->query_backend(i, b, &error);
    return code == DUKD_OK ? DUKD_DONE : dukd_fail_plugin(f, "query_backend", code, &error);
}

static int print_text(const dukd_library *l, dukd_failure *f) {
    const dukd_plugin_info *info = dukd_library_info(l);
    printf("%s %s, ABI draft %u\n", info->name, info->version, dukd_library_plugin(l)->abi_draft);
    printf("  file   %s\n  build  %s\n\nbackends:\n", dukd_library_path(l), info->build ? info->build : "");
    for (uint32_t i = 0; i < info->n_backends; i++) {
        dukd_backend_info b;
        int status = query(l, i, &b, f);
        if (status) return status;
        printf("  %-8s %-10s %s\n", b.name, b.usable ? "usable" : "not usable", b.detail);
    }
    dukd_engine_choice engines[DUKD_ENGINES];
    dukd_engine_list(engines);
    printf("\nengines of dukd-host (option engine):\n");
    for (int i = 0; i < DUKD_ENGINES; i++)
        printf("  %-8s %-10s %s\n", engines[i].name, engines[i].usable ? "usable" : "not usable",
               engines[i].detail);
    printf("\nlosses (train.terms):\n");
    for (uint32_t i = 0; i < info->n_losses; i++)
        printf("  %-8s %s\n", info->losses[i]->name, info->losses[i]->help);
    printf("\noptions of an option file that this plugin reads:\n");
    for (uint32_t i = 0; i < info->n_options; i++) {
        const dukd_option_info *o = info->options[i];
        char range[160];
        range_text(o, range, sizeof range);
        printf("  %-28s %s%s%s%s%s%s\n", o->name, o->type & DUKD_OPTION_LIST ? "list of " : "",
               type_name(o->type), range[0] ? ", " : "", range, o->default_text ? ", default " : "",
               o->default_text ? o->default_text : "");
        printf("%31s%s\n", "", o->help ? o->help : "");
    }
    return DUKD_DONE;
}

static int print_json(const dukd_library *l, dukd_failure *f) {
    const dukd_plugin_info *info = dukd_library_info(l);
    dukd_json j = dukd_json_begin(stdout);
    dukd_json_object(&j, NULL);
    dukd_json_text(&j, "name", info->name);
    dukd_json_text(&j, "version", info->version);
    dukd_json_integer(&j, "abi_draft", dukd_library_plugin(l)->abi_draft);
    dukd_json_text(&j, "file", dukd_library_path(l));
    dukd_json_text(&j, "build", info->build);
    dukd_json_array(&j, "backends");
    for (uint32_t i = 0; i < info->n_backends; i++) {
        dukd_backend_info b;
        int status = query(l, i, &b, f);
        if (status) return status;
        dukd_json_object(&j, NULL);
        dukd_json_text(&j, "name", b.name);
        dukd_json_boolean(&j, "usable", b.usable);
        dukd_json_text(&j, "detail", b.detail);
        dukd_json_close(&j);
    }
    dukd_json_close(&j);
    dukd_engine_choice engines[DUKD_ENGINES];
    dukd_engine_list(engines);
    dukd_json_array(&j, "engines");
    for (int i = 0; i < DUKD_ENGINES; i++) {
        dukd_json_object(&j, NULL);
        dukd_json_text(&j, "name", engines[i].name);
        dukd_json_boolean(&j, "usable", engines[i].usable);
        dukd_json_text(&j, "detail", engines[i].detail);
        dukd_json_close(&j);
    }
    dukd_json_close(&j);
    dukd_json_array(&j, "losses");
    for (uint32_t i = 0; i < info->n_losses; i++) {
        dukd_json_object(&j, NULL);
        dukd_json_text(&j, "name", info->losses[i]->name);
        dukd_json_text(&j, "help", info->losses[i]->help);
        dukd_json_close(&j);
    }
    dukd_json_close(&j);
    dukd_json_array(&j, "options");
    for (uint32_t i = 0; i < info->n_options; i++) {
        const dukd_option_info *o = info->options[i];
        dukd_json_object(&j, NULL);
        dukd_json_text(&j, "name", o->name);
        dukd_json_text(&j, "type", type_name(o->type));
        dukd_json_boolean(&j, "list", (o->type & DUKD_OPTION_LIST) != 0);
        dukd_json_text(&j, "default", o->default_text);
        if (isfinite(o->min)) dukd_json_number(&j, "min", o->min);
        if (isfinite(o->max)) dukd_json_number(&j, "max", o->max);
        dukd_json_array(&j, "choices");
        for (uint32_t k = 0; k < o->n_choices; k++) dukd_json_text(&j, NULL, o->choices[k]);
        dukd_json_close(&j);
        dukd_json_text(&j, "help", o->help);
        dukd_json_close(&j);
    }
    dukd_json_close(&j);
    dukd_json_close(&j);
    return dukd_json_end(&j, "standard output", f);
}

int dukd_cmd_plugin(int argc, char **argv) {
    int32_t json = 0;
    dukd_texts files = {0};
    dukd_failure f = {0};
    dukd_library *library = NULL;
    const dukd_arg args[] = {
        {"--json", NULL, DUKD_ARG_FLAG, NULL, "print JSON, for a program", &json},
    };
    const dukd_command command = {
        .command = "plugin",
        .summary = "What a plugin says of itself: version, backends and whether they work here, losses, "
                   "options. And "
                   "which engines this program has.",
        .positionals = "[LIB.so]",
        .details = "Without LIB.so: $DUKD_PLUGIN, or the libdukd.so that came with this program.",
        .example = "dukd-host plugin\ndukd-host plugin ./libother.so --json",
        .max_positionals = 1,
        .args = args,
        .arg_count = 1,
    };
    int status = dukd_args_parse(&command, argc, argv, &files, &f);
    if (status == DUKD_DONE) status = dukd_library_open(&library, files.count ? files.items[0] : NULL, &f);
    if (status == DUKD_DONE) status = json ? print_json(library, &f) : print_text(library, &f);
    dukd_library_close(library);
    dukd_texts_free(&files);
    return dukd_command_end("plugin", status, &f);
}
