#include "train/file_network.h"

#include <stdlib.h>
#include <string.h>

#include "dukd_yaml.h"
#include "tensors/tensor_source.h"

/* The options of a flat mapping as the settings of a network: JSON is YAML, so the option files' reader reads it. */
static int read_spec(const char *path, const dukd_yaml_flat *flat, dukd_model_spec *out, dukd_failure *f) {
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
                                                     .where = path};
    }
    dukd_failure why = {0};
    int status = DUKD_DONE;
    if (!type)
        status = dukd_fail(f, DUKD_FAILED, "%s: its entry `%s` names no type", path, DUKD_NETWORK_METADATA);
    else if (dukd_model_spec_read(out, type, path, path, settings, count, &why))
        status = dukd_fail(f, DUKD_FAILED, "%s", why.message); /* a bad file: no option is wrong */
    free(settings);
    return status;
}

int dukd_file_network(const char *path, dukd_model_spec *out, dukd_failure *f) {
    dukd_tensor_source *file = NULL;
    dukd_yaml *doc = NULL;
    dukd_yaml_flat *flat = NULL;
    dukd_yaml_error error = {0};
    int status = dukd_tensor_source_open(&file, path, f);
    if (status) return status;
    const char *text = dukd_tensor_source_metadata(file, DUKD_NETWORK_METADATA);
    if (!text) {
        status = dukd_fail(
            f, DUKD_FAILED,
            "%s: does not say which network it is of; give an option file with its network_g (--opt OPT.yml)",
            path);
        goto end;
    }
    doc = dukd_yaml_read_text(text, strlen(text), path, &error);
    if (doc) flat = dukd_yaml_flatten(dukd_yaml_root(doc), &error);
    status = flat ? read_spec(path, flat, out, f)
                  : dukd_fail(f, DUKD_FAILED, "%s: its entry `%s` is damaged: %s", path,
                              DUKD_NETWORK_METADATA, error.message);
end:
    dukd_yaml_flat_destroy(flat);
    dukd_yaml_destroy(doc);
    dukd_tensor_source_close(file);
    return status;
}
