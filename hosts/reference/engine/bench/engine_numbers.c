/* dukd-engine-numbers: forward and backward of a network on the engine, from and to files of raw f32. The other half of
 * tools/check_networks_torch.py, which makes the numbers and judges the answers.
 *
 *     dukd-engine-numbers NETWORK 'KEY=VALUE ...' BATCH HEIGHT WIDTH f32|bf16 DIR
 *
 * NETWORK and its options are those of option files ("SwinIR", "depths=[6,6]"). Prints the multiply-adds of an image and one
 * line a parameter: its name and its number of elements. Then reads DIR/weights, DIR/input, DIR/cotangent and writes
 * DIR/output, DIR/d_input, DIR/d_weights; without a DIR/weights it ends after printing. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/engine.h"
#include "models/model.h"

typedef struct {
    float *data;
    int64_t count;
} numbers;

static int read_numbers(numbers *out, const char *folder, const char *name, int64_t count) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    out->data = malloc((size_t)count * sizeof(float));
    FILE *file = fopen(path, "rb");
    int good = out->data && file && fread(out->data, sizeof(float), (size_t)count, file) == (size_t)count;
    if (file) fclose(file);
    if (!good) fprintf(stderr, "dukd-engine-numbers: %s: cannot read %lld numbers\n", path, (long long)count);
    out->count = count;
    return good;
}

static int write_numbers(const char *folder, const char *name, const float *data, int64_t count) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "wb");
    int good = file && fwrite(data, sizeof(float), (size_t)count, file) == (size_t)count;
    if (file && fclose(file) != 0) good = 0;
    if (!good) fprintf(stderr, "dukd-engine-numbers: %s: cannot write\n", path);
    return good;
}

static int run(const dukd_graph *g, const dukd_exec_spec *spec, dukd_precision precision, const char *folder,
               dukd_failure *f) {
    int64_t pixels = (int64_t)spec->batch * 3 * spec->height * spec->width;
    int64_t weight_count = dukd_graph_weights(g), size[2];
    const dukd_value last = dukd_graph_output(g);
    dukd_graph_size(g, last, spec->height, spec->width, size);
    const int64_t out_count = (int64_t)spec->batch * dukd_graph_op(g, last)->channels * size[0] * size[1];
    numbers weights = {0}, input = {0}, cotangent = {0};
    float *output = calloc((size_t)out_count, sizeof *output),
          *d_input = calloc((size_t)pixels, sizeof *d_input);
    float *d_weights = calloc((size_t)weight_count, sizeof *d_weights);
    dukd_engine *e = NULL;
    dukd_network *n = NULL;
    dukd_exec *x = NULL;
    int status = DUKD_FAILED;
    if (!output || !d_input || !d_weights) {
        dukd_fail_memory(f, "numbers", (unsigned long long)out_count * sizeof *output);
        goto fail;
    }
    if (!read_numbers(&weights, folder, "weights", weight_count) ||
        !read_numbers(&input, folder, "input", pixels) ||
        !read_numbers(&cotangent, folder, "cotangent", out_count))
        goto fail;
    const float *d_output = cotangent.data;
    status = dukd_engine_create(&e, "onednn", 0, f);
    if (status == DUKD_DONE) status = dukd_network_create(&n, e, g, precision, f);
    if (status == DUKD_DONE) status = dukd_network_set_weights(n, weights.data, f);
    if (status == DUKD_DONE) status = dukd_network_compile(n, spec, &x, f);
    if (status == DUKD_DONE) status = dukd_exec_forward(x, spec->batch, input.data, &output, f);
    if (status == DUKD_DONE) status = dukd_exec_backward(x, &d_output, d_weights, d_input, f);
    if (status != DUKD_DONE) goto fail;
    if (!write_numbers(folder, "output", output, out_count) ||
        !write_numbers(folder, "d_input", d_input, pixels) ||
        !write_numbers(folder, "d_weights", d_weights, weight_count))
        status = DUKD_FAILED;
fail:
    dukd_network_destroy(n);
    dukd_engine_destroy(e);
    free(weights.data);
    free(input.data);
    free(cotangent.data);
    free(output);
    free(d_input);
    free(d_weights);
    return status;
}

/* "num_feat=8 depths=[2,2]" as settings; a value without brackets is a scalar, one in them a list. */
static int read_model(dukd_model_spec *out, const char *type, char *words, dukd_failure *f) {
    enum { MOST = DUKD_MODEL_MAX_OPTIONS, ITEMS = 128 };
    const char *items[ITEMS];
    dukd_model_setting settings[MOST];
    int32_t count = 0, used = 0;
    for (char *word = strtok(words, " "); word; word = strtok(NULL, " ")) {
        char *value = strchr(word, '=');
        if (!value || count == MOST)
            return dukd_fail(f, DUKD_MISUSED, "options are KEY=VALUE, not '%s'", word);
        *value++ = '\0';
        dukd_model_setting *s = &settings[count++];
        *s = (dukd_model_setting){.key = word, .texts = &items[used], .is_list = *value == '['};
        if (s->is_list) {
            value++;
            value[strcspn(value, "]")] = '\0';
        }
        for (char *end = value; used < ITEMS; value = end + 1) {
            end = value + (s->is_list ? strcspn(value, ",") : strlen(value));
            const int last = *end == '\0';
            *end = '\0';
            items[used++] = value;
            s->count++;
            if (last) break;
        }
    }
    return dukd_model_spec_read(out, type, NULL, NULL, settings, count, f);
}

int main(int argc, char **argv) {
    if (argc != 8) {
        fputs("usage: dukd-engine-numbers NETWORK 'KEY=VALUE ...' BATCH HEIGHT WIDTH f32|bf16 DIR\n", stderr);
        return DUKD_MISUSED;
    }
    dukd_failure f = {0};
    dukd_model_spec model;
    dukd_graph *g = NULL;
    int status = read_model(&model, argv[1], argv[2], &f);
    if (status == DUKD_DONE) status = dukd_model_build(&g, &model, &f);
    if (status == DUKD_DONE) {
        dukd_exec_spec spec = {
            .purpose = DUKD_TRAIN, .batch = atoi(argv[3]), .height = atoi(argv[4]), .width = atoi(argv[5])};
        printf("multiply-adds %lld\n", (long long)dukd_graph_multiply_adds(g, spec.height, spec.width));
        for (int32_t i = 0; i < dukd_graph_param_count(g); i++)
            printf("%s %lld\n", dukd_graph_param(g, i)->name, (long long)dukd_graph_param(g, i)->count);
        char path[4096];
        snprintf(path, sizeof path, "%s/weights", argv[7]);
        FILE *weights = fopen(path, "rb");
        if (weights) {
            fclose(weights);
            status = run(g, &spec, strcmp(argv[6], "bf16") == 0 ? DUKD_BF16 : DUKD_F32, argv[7], &f);
        }
    }
    dukd_graph_destroy(g);
    if (status != DUKD_DONE && f.message[0]) fprintf(stderr, "dukd-engine-numbers: %s\n", f.message);
    return status;
}
