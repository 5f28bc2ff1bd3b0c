/* dukd-host convert: checkpoints from one format and naming to another. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cmd/args.h"
#include "cmd/commands.h"
#include "tensors/torch_file.h"
#include "train/file_network.h"
#include "train/weights.h"

typedef struct {
    const char *from, *to;
    const char *opt, *key;
    dukd_texts set, network;
    int32_t teacher, quiet;
    int32_t to_torch; /* `to` is to be one of PyTorch's files */
} convert_arguments;

/* What is written, and what it points into. */
typedef struct {
    dukd_tensor_source *source;
    dukd_model_spec spec;
    dukd_graph *graph; /* NULL: no network is known, tensors are copied */
    float *weights[2]; /* of params and params_ema */
    void **constants;  /* numbers of the graph's constants */
    char **names;      /* of constants and of copied tensors */
    int32_t constant_count, name_count;
    dukd_st_tensor *rows;
    int32_t count, made[2]; /* rows; of them with names by dukd_weights_rows, from the beginning */
    dukd_st_entry *metadata;
    int32_t metadata_count;
    char spec_text[2048];
} conversion;

static const char *const keys[2] = {"params", "params_ema"};

static void free_conversion(conversion *c) {
    if (c->rows) dukd_weights_rows_free(c->rows, c->made[0] + c->made[1]);
    for (int32_t i = 0; i < c->constant_count; i++) free(c->constants[i]);
    for (int32_t i = 0; i < c->name_count; i++) free(c->names[i]);
    for (int k = 0; k < 2; k++) free(c->weights[k]);
    free(c->constants);
    free(c->names);
    free(c->rows);
    free(c->metadata);
    dukd_graph_destroy(c->graph);
    dukd_tensor_source_close(c->source);
}

/* ---------------------------------------------------------------- which network */

/* --network EDSR num_feat=64 ...: as the mapping {type: EDSR, num_feat: 64}. */
static int read_words(const convert_arguments *a, dukd_model_spec *spec, dukd_failure *f) {
    char *text = NULL;
    size_t size = 0;
    FILE *to = open_memstream(&text, &size);
    if (!to) return dukd_fail_memory(f, "the network's options", 1024);
    fprintf(to, "{type: %s", a->network.items[0]);
    int status = DUKD_DONE;
    for (int32_t i = 1; i < a->network.count && status == DUKD_DONE; i++) {
        const char *word = a->network.items[i], *equals = strchr(word, '=');
        if (!equals || equals == word || !equals[1])
            status = dukd_fail(f, DUKD_MISUSED, "--network wants NAME key=value ..., not '%s'", word);
        else
            fprintf(to, ", %.*s: %s", (int)(equals - word), word, equals + 1);
    }
    fputc('}', to);
    if (fclose(to) != 0 && status == DUKD_DONE)
        status = dukd_fail_memory(f, "the network's options", size + 1);
    if (status == DUKD_DONE) status = dukd_network_of_text(text, "--network", spec, f);
    free(text);
    return status == DUKD_DONE ? DUKD_DONE : DUKD_MISUSED;
}

static int read_option_file(const convert_arguments *a, dukd_model_spec *spec, dukd_failure *f) {
    const dukd_run_overrides overrides = {.set = a->set.items, .set_count = a->set.count};
    dukd_run_options *o = NULL;
    int status = dukd_run_options_read(&o, a->opt, &overrides, NULL, f);
    if (status != DUKD_DONE) return status;
    const dukd_run_network *n = a->teacher ? &o->teacher : &o->student;
    if (n->is_set)
        *spec = n->spec;
    else
        status = dukd_fail(f, DUKD_MISUSED, "%s: has no %s", a->opt, a->teacher ? "network_t" : "network_g");
    dukd_run_options_destroy(o);
    return status;
}

static int find_network(conversion *c, const convert_arguments *a, dukd_failure *f) {
    const char *text = dukd_tensor_source_metadata(c->source, DUKD_NETWORK_METADATA);
    char where[1024];
    int status;
    if (a->opt)
        status = read_option_file(a, &c->spec, f);
    else if (a->network.count)
        status = read_words(a, &c->spec, f);
    else if (!text)
        return DUKD_DONE;
    else {
        snprintf(where, sizeof where, "%s: " DUKD_NETWORK_METADATA, a->from);
        status = dukd_network_of_text(text, where, &c->spec, f);
    }
    if (status == DUKD_DONE) status = dukd_model_build(&c->graph, &c->spec, f);
    if (status != DUKD_DONE) return status;
    if (dukd_model_spec_text(&c->spec, c->spec_text, sizeof c->spec_text) >= sizeof c->spec_text)
        return dukd_fail(f, DUKD_FAILED, "the network's options take more than %zu bytes",
                         sizeof c->spec_text);
    return DUKD_DONE;
}

/* ---------------------------------------------------------------- rows */

static int tell(const convert_arguments *a) {
    return !a->quiet;
}

/* A name that lives as long as the conversion; NULL: no memory. */
static const char *keep_name(conversion *c, const char *key, const char *name) {
    const size_t size = strlen(key) + strlen(name) + 2;
    char *text = malloc(size);
    if (!text) return NULL;
    snprintf(text, size, "%s%s%s", key, *key ? "." : "", name);
    return c->names[c->name_count++] = text;
}

/* One set of weights, as rows OURS.NAME. `theirs` is the key in the file. */
static int take_weights(conversion *c, const convert_arguments *a, int ours, const char *theirs, int exact,
                        dukd_failure *f) {
    const int64_t count = dukd_graph_weights(c->graph);
    dukd_weights_report r;
    c->weights[ours] = dukd_weights_alloc(count);
    if (!c->weights[ours])
        return dukd_fail_memory(f, "the weights", (unsigned long long)count * sizeof(float));
    int status =
        dukd_weights_read(c->source, a->from, theirs, 1, c->spec.type, c->graph, c->weights[ours], &r, f);
    if (status == DUKD_DONE && exact && strcmp(r.key, theirs) != 0)
        status = dukd_fail(f, DUKD_FAILED, "%s: has no weights under the key '%s'; there is %s%s", a->from,
                           theirs, r.key[0] ? "" : "no key", r.key);
    if (status == DUKD_DONE) status = dukd_weights_check(c->graph, c->weights[ours], a->from, f);
    if (status != DUKD_DONE) return status;
    c->made[ours] = dukd_weights_rows(c->rows + c->count, c->graph, keys[ours], c->weights[ours]);
    if (c->made[ours] < 0) {
        c->made[ours] = 0;
        return dukd_fail_memory(f, "the names of the parameters", 65536);
    }
    c->count += c->made[ours];
    if (tell(a))
        printf("%s: %d tensors, %lld parameters, from %s%s%s\n", keys[ours], r.loaded, (long long)count,
               r.key[0] ? "" : "names without a key", r.key,
               r.aliased ? ", renamed from the authors' names" : "");
    return DUKD_DONE;
}

/* What BasicSR's module stores beside its parameters, beside each set of weights. */
static int add_constants(conversion *c, const convert_arguments *a, dukd_failure *f) {
    const int32_t count = dukd_graph_constant_count(c->graph);
    for (int32_t i = 0; i < count; i++) {
        const dukd_constant *k = dukd_graph_constant(c->graph, i);
        void *numbers = calloc((size_t)k->count + 1, k->is_integer ? 8 : 4);
        if (!numbers) return dukd_fail_memory(f, k->name, (unsigned long long)k->count * 8);
        c->constants[c->constant_count++] = numbers;
        dukd_constant_fill(k, numbers);
        for (int ours = 0; ours < 2; ours++) {
            if (!c->weights[ours]) continue;
            dukd_st_tensor *row = &c->rows[c->count];
            *row = (dukd_st_tensor){.name = keep_name(c, keys[ours], k->name),
                                    .type = k->is_integer ? DUKD_ST_I64 : DUKD_ST_F32,
                                    .ndim = k->ndim,
                                    .count = k->count,
                                    .data = numbers};
            memcpy(row->dims, k->dims, sizeof k->dims);
            if (!row->name) return dukd_fail_memory(f, k->name, strlen(k->name));
            c->count++;
        }
    }
    if (count && tell(a)) printf("%d constants that BasicSR's module stores too\n", count);
    return DUKD_DONE;
}

static int take_network(conversion *c, const convert_arguments *a, dukd_failure *f) {
    const size_t per_set =
        (size_t)dukd_graph_param_count(c->graph) + (size_t)dukd_graph_constant_count(c->graph);
    c->rows = calloc(2 * per_set + 1, sizeof *c->rows);
    c->names = calloc(2 * per_set + 1, sizeof *c->names);
    c->constants = calloc(per_set + 1, sizeof *c->constants);
    if (!c->rows || !c->names || !c->constants)
        return dukd_fail_memory(f, "a table of tensors", 2 * per_set * sizeof *c->rows);
    if (tell(a)) printf("network: %s\n", c->spec_text);
    int found = 0, status = DUKD_DONE;
    if (a->key) {
        status = take_weights(c, a, 0, a->key, 1, f);
    } else {
        for (int k = 0; k < 2 && status == DUKD_DONE; k++)
            if (dukd_weights_has_key(c->source, keys[k])) {
                found = 1;
                status = take_weights(c, a, k, keys[k], 1, f);
            }
        if (status == DUKD_DONE && !found)
            status = take_weights(
                c, a, 0, dukd_weights_has_key(c->source, "state_dict") ? "state_dict" : "params", 0, f);
    }
    if (status == DUKD_DONE && a->to_torch) status = add_constants(c, a, f);
    return status;
}

/* Without a network: every tensor as it is, or those of one key, as params. */
static int take_copies(conversion *c, const convert_arguments *a, dukd_failure *f) {
    const int32_t count = dukd_tensor_source_count(c->source);
    c->rows = calloc((size_t)count + 1, sizeof *c->rows);
    c->names = calloc((size_t)count + 1, sizeof *c->names);
    if (!c->rows || !c->names)
        return dukd_fail_memory(f, "a table of tensors", ((size_t)count + 1) * sizeof *c->rows);
    const size_t length = a->key ? strlen(a->key) : 0;
    for (int32_t i = 0; i < count; i++) {
        dukd_st_tensor *row = &c->rows[c->count];
        *row = *dukd_tensor_source_at(c->source, i);
        if (a->key) {
            if (strncmp(row->name, a->key, length) != 0 || row->name[length] != '.') continue;
            row->name = keep_name(c, "params", row->name + length + 1);
            if (!row->name) return dukd_fail_memory(f, "a name", length);
        }
        c->count++;
    }
    if (!c->count)
        return dukd_fail(f, DUKD_FAILED, "%s: has no tensors%s%s%s", a->from,
                         a->key ? " under the key '" : "", a->key ? a->key : "", a->key ? "'" : "");
    if (tell(a))
        printf("%d tensors, as they are: neither the file nor --opt nor --network says which network it is\n",
               c->count);
    return DUKD_DONE;
}

/* The file's own, with the network that is known by now. */
static int take_metadata(conversion *c, dukd_failure *f) {
    const int32_t count = dukd_tensor_source_metadata_count(c->source);
    c->metadata = calloc((size_t)count + 1, sizeof *c->metadata);
    if (!c->metadata) return dukd_fail_memory(f, "metadata", ((size_t)count + 1) * sizeof *c->metadata);
    for (int32_t i = 0; i < count; i++) {
        const dukd_st_entry *e = dukd_tensor_source_metadata_at(c->source, i);
        if (!c->graph || strcmp(e->key, DUKD_NETWORK_METADATA) != 0) c->metadata[c->metadata_count++] = *e;
    }
    if (c->graph) c->metadata[c->metadata_count++] = (dukd_st_entry){DUKD_NETWORK_METADATA, c->spec_text};
    return DUKD_DONE;
}

static int run(const convert_arguments *a, dukd_failure *f) {
    conversion c = {0};
    int status = dukd_tensor_source_open(&c.source, a->from, f);
    if (status == DUKD_DONE) status = find_network(&c, a, f);
    if (status == DUKD_DONE) status = c.graph ? take_network(&c, a, f) : take_copies(&c, a, f);
    if (status == DUKD_DONE) status = take_metadata(&c, f);
    if (status == DUKD_DONE)
        status = (a->to_torch ? dukd_torch_file_write : dukd_tensor_file_write)(
            a->to, c.rows, c.count, c.metadata, c.metadata_count, f);
    if (status == DUKD_DONE && tell(a))
        printf("%s (%s) -> %s (%s)\n", a->from, dukd_tensor_source_format(c.source), a->to,
               a->to_torch ? "PyTorch" : "safetensors");
    free_conversion(&c);
    return status;
}

/* ---------------------------------------------------------------- the command */

static int ends_with(const char *text, const char *end) {
    const size_t a = strlen(text), b = strlen(end);
    return a > b && strcmp(text + a - b, end) == 0;
}

static int check(convert_arguments *a, dukd_failure *f) {
    struct stat from, to;
    a->to_torch = ends_with(a->to, ".pth") || ends_with(a->to, ".pt");
    if (!a->to_torch && !ends_with(a->to, ".safetensors"))
        return dukd_fail(f, DUKD_MISUSED,
                         "%s: is to be which format? its name has to end in .safetensors, .pth or .pt",
                         a->to);
    if (stat(a->from, &from) == 0 && stat(a->to, &to) == 0 && from.st_ino == to.st_ino &&
        from.st_dev == to.st_dev)
        return dukd_fail(f, DUKD_MISUSED,
                         "%s: would be overwritten by its own conversion; choose another name", a->to);
    if (a->opt && a->network.count)
        return dukd_fail(f, DUKD_MISUSED, "--opt and --network both say which network it is; give one");
    if (!a->opt && (a->set.count || a->teacher))
        return dukd_fail(f, DUKD_MISUSED, "%s is about an option file: name it with --opt OPT.yml",
                         a->teacher ? "--teacher" : "--set");
    return DUKD_DONE;
}

int dukd_cmd_convert(int argc, char **argv) {
    convert_arguments a = {0};
    dukd_texts files = {0};
    dukd_failure f = {0};
    const dukd_arg args[] = {
        {"--opt", NULL, DUKD_ARG_TEXT, "OPT.yml", "which network: that of an option file's network_g",
         &a.opt},
        {"--teacher", NULL, DUKD_ARG_FLAG, NULL, "its network_t instead", &a.teacher},
        {"--set", NULL, DUKD_ARG_TEXTS, "KEY=VALUE", "replace a key of the option file (with --opt)", &a.set},
        {"--network", NULL, DUKD_ARG_MANY, "NAME KEY=VALUE", "which network, without an option file",
         &a.network},
        {"--param-key", NULL, DUKD_ARG_TEXT, "KEY", "only the weights under this key, as params", &a.key},
        {"--quiet", "-q", DUKD_ARG_FLAG, NULL, "print nothing but errors", &a.quiet},
    };
    const dukd_command command = {
        .command = "convert",
        .summary =
            "Converts checkpoints: PyTorch's .pth and safetensors, BasicSR's names and those of the authors.",
        .positionals = "FROM TO",
        .details =
            "FROM is a .safetensors or .pth file of any of them, told by its contents; Python is not needed, "
            "and nothing\n"
            "in the file is run. TO is written as its name says: .safetensors, as train writes, or .pth, as "
            "BasicSR\n"
            "loads strictly. Its keys are params and, where FROM has it, params_ema.\n"
            "\n"
            "The network has to be known to rename the authors' tensors, to check shapes, and to store in TO "
            "which network\n"
            "it is. Files of train say it themselves. Where it is not known, tensors are copied as they are.",
        .example = "dukd-host convert net_g_250000.pth edsr.safetensors --opt "
                   "yaml/table2/paper_edsr_x4c256b32_c64b32.yml\n"
                   "dukd-host convert edsr_x2.pt edsr_x2.safetensors --network EDSR num_in_ch=3 num_out_ch=3 "
                   "num_feat=256 "
                   "num_block=32 upscale=2 res_scale=0.1\n"
                   "dukd-host convert net_g_best.safetensors net_g.pth",
        .min_positionals = 2,
        .max_positionals = 2,
        .args = args,
        .arg_count = sizeof args / sizeof *args,
    };
    int status = dukd_args_parse(&command, argc, argv, &files, &f);
    if (status == DUKD_DONE) {
        a.from = files.items[0];
        a.to = files.items[1];
        status = check(&a, &f);
    }
    if (status == DUKD_DONE) status = run(&a, &f);
    dukd_texts_free(&a.set);
    dukd_texts_free(&a.network);
    dukd_texts_free(&files);
    return dukd_command_end("convert", status, &f);
}
