/* Networks made by the registry, and their weights from golden files. */
#include "support/edsr_net.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "models/model.h"

dukd_graph *dukd_test_net(const char *type, const char *words) {
    enum { MOST = 24, TEXTS = 96 };
    char buffer[1024], *rest = buffer;
    const char *texts[TEXTS];
    dukd_model_setting settings[MOST];
    int32_t count = 0, text_count = 0;
    assert_true(strlen(words) < sizeof buffer);
    memcpy(buffer, words, strlen(words) + 1);
    for (char *word = strsep(&rest, " "); word; word = strsep(&rest, " ")) {
        if (!*word) continue;
        char *value = strchr(word, '=');
        assert_true(value && count < MOST);
        *value++ = '\0';
        dukd_model_setting *s = &settings[count++];
        *s = (dukd_model_setting){.key = word, .texts = &texts[text_count], .is_list = *value == '['};
        if (strcmp(value, "null") == 0) continue;
        if (s->is_list) {
            value++;
            value[strcspn(value, "]")] = '\0';
        }
        for (char *item = strsep(&value, ","); item; item = strsep(&value, ",")) {
            assert_true(text_count < TEXTS);
            texts[text_count++] = item;
            s->count++;
        }
    }
    dukd_model_spec spec;
    dukd_graph *g = NULL;
    dukd_failure f = {0};
    if (dukd_model_spec_read(&spec, type, NULL, NULL, settings, count, &f) != DUKD_DONE)
        fail_msg("%s", f.message);
    if (dukd_model_build(&g, &spec, &f) != DUKD_DONE) fail_msg("%s", f.message);
    return g;
}

dukd_graph *dukd_edsr_net(int32_t feat, int32_t blocks, int32_t upscale, double res_scale) {
    char words[160];
    snprintf(words, sizeof words,
             "num_in_ch=3 num_out_ch=3 num_feat=%d num_block=%d upscale=%d res_scale=%.17g", (int)feat,
             (int)blocks, (int)upscale, res_scale);
    return dukd_test_net("EDSR", words);
}

void dukd_golden_weights(float *weights, const dukd_graph *g, dukd_golden *file, const char *prefix) {
    for (int32_t i = 0; i < dukd_graph_param_count(g); i++) {
        const dukd_param *p = dukd_graph_param(g, i);
        dukd_golden_tensor t = dukd_golden_f32(file, "%s.%s", prefix, p->name);
        assert_int_equal(t.ndim, p->ndim);
        assert_memory_equal(t.dims, p->dims, (size_t)p->ndim * sizeof *p->dims);
        memcpy(weights + p->offset, t.data, (size_t)p->count * sizeof *weights);
    }
}
