#include "train/file_network.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dukd_yaml.h"
#include "tensors/tensor_source.h"

/* The options of a flat mapping as the settings of a network: JSON is YAML, so the option files' reader reads it. */
static int read_spec(const char *where, const dukd_yaml_flat *flat, dukd_model_spec *out, dukd_failure *f) {
    dukd_model_setting *settings = calloc(flat->count + 1, sizeof *settings);
    const char *type = NULL;
    int32_t count = 0;
    if (!settings) return dukd_fail_memory(f, "a network's options", (flat->count + 1) * sizeof *settings);
    for (size_t i = 0; i < flat->count; i++) {
        const dukd_yaml_leaf *leaf = &flat->leaves[i];
        if (strcmp(leaf->key, "type") == 0 && leaf->count == 1)
            type = leaf->values[0];
        else
            settings[count++] = (dukd_model_setting){.key = leaf->key,
                                                     .texts = leaf->values,
                                                     .count = (int32_t)leaf->count,
                                                     .is_list = leaf->is_list,
                                                     .where = where};
    }
    dukd_failure why = {0};
    int status = DUKD_DONE;
    if (!type)
        status = dukd_fail(f, DUKD_FAILED, "%s: names no type of network, such as EDSR", where);
    else if (dukd_model_spec_read(out, type, where, where, settings, count, &why))
        status = dukd_fail(f, DUKD_FAILED, "%s", why.message); /* a bad file: no option is wrong */
    free(settings);
    return status;
}

int dukd_network_of_text(const char *text, const char *where, dukd_model_spec *out, dukd_failure *f) {
    dukd_yaml_error error = {0};
    dukd_yaml *doc = dukd_yaml_read_text(text, strlen(text), where, &error);
    dukd_yaml_flat *flat = doc ? dukd_yaml_flatten(dukd_yaml_root(doc), &error) : NULL;
    int status = flat ? read_spec(where, flat, out, f)
                      : dukd_fail(f, DUKD_FAILED, "%s: is damaged: %s", where, error.message);
    dukd_yaml_flat_destroy(flat);
    dukd_yaml_destroy(doc);
    return status;
}

int dukd_file_network(const char *path, dukd_model_spec *out, dukd_failure *f) {
    dukd_tensor_source *file = NULL;
    int status = dukd_tensor_source_open(&file, path, f);
    if (status) return status;
    const char *text = dukd_tensor_source_metadata(file, DUKD_NETWORK_METADATA);
    if (text) {
        char where[1024];
        snprintf(where, sizeof where, "%s: " DUKD_NETWORK_METADATA, path);
        status = dukd_network_of_text(text, where, out, f);
    } else {
        status = dukd_fail(
            f, DUKD_FAILED,
            "%s: does not say which network it is of; give an option file with its network_g (--opt OPT.yml)",
            path);
    }
    dukd_tensor_source_close(file);
    return status;
}
