#include "tensors/tensor_source.h"

#include <stdlib.h>
#include <string.h>

#include "common/mapped_file.h"
#include "tensors/torch_file.h"

struct dukd_tensor_source {
    dukd_tensor_file *safe; /* one of the two */
    dukd_torch_file *torch;
    dukd_mapped_file mapped; /* of a safetensors file */
};

int dukd_tensor_source_open(dukd_tensor_source **out, const char *path, dukd_failure *f) {
    dukd_tensor_source *s = calloc(1, sizeof *s);
    *out = NULL;
    if (!s) return dukd_fail_memory(f, "a file of tensors", sizeof *s);
    int status = dukd_mapped_file_open(&s->mapped, path, f);
    if (status == DUKD_DONE && dukd_torch_file_is(s->mapped.bytes, s->mapped.size)) {
        status = dukd_torch_file_open_memory(&s->torch, s->mapped.bytes, s->mapped.size, path, f);
        dukd_mapped_file_close(&s->mapped); /* its tensors are copies */
    } else if (status == DUKD_DONE) {
        status = dukd_tensor_file_open_memory(&s->safe, s->mapped.bytes, s->mapped.size, path, f);
    }
    if (status == DUKD_DONE)
        *out = s;
    else
        dukd_tensor_source_close(s);
    return status;
}

void dukd_tensor_source_close(dukd_tensor_source *s) {
    if (!s) return;
    dukd_tensor_file_close(s->safe);
    dukd_torch_file_close(s->torch);
    dukd_mapped_file_close(&s->mapped);
    free(s);
}

const char *dukd_tensor_source_format(const dukd_tensor_source *s) {
    return s->safe ? "safetensors" : "PyTorch";
}
int32_t dukd_tensor_source_count(const dukd_tensor_source *s) {
    return s->safe ? dukd_tensor_file_count(s->safe) : dukd_torch_file_count(s->torch);
}
const dukd_st_tensor *dukd_tensor_source_at(const dukd_tensor_source *s, int32_t i) {
    return s->safe ? dukd_tensor_file_at(s->safe, i) : dukd_torch_file_at(s->torch, i);
}
const dukd_st_tensor *dukd_tensor_source_find(const dukd_tensor_source *s, const char *name) {
    return s->safe ? dukd_tensor_file_find(s->safe, name) : dukd_torch_file_find(s->torch, name);
}
int32_t dukd_tensor_source_metadata_count(const dukd_tensor_source *s) {
    return s->safe ? dukd_tensor_file_metadata_count(s->safe) : dukd_torch_file_metadata_count(s->torch);
}
const dukd_st_entry *dukd_tensor_source_metadata_at(const dukd_tensor_source *s, int32_t i) {
    return s->safe ? dukd_tensor_file_metadata_at(s->safe, i) : dukd_torch_file_metadata_at(s->torch, i);
}

const char *dukd_tensor_source_metadata(const dukd_tensor_source *s, const char *key) {
    for (int32_t i = 0; i < dukd_tensor_source_metadata_count(s); i++)
        if (strcmp(dukd_tensor_source_metadata_at(s, i)->key, key) == 0)
            return dukd_tensor_source_metadata_at(s, i)->value;
    return NULL;
}
