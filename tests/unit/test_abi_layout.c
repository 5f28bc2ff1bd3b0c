/* The layout of every public struct of abi/: equal to the golden file abi/layout.golden, without a byte that
 * no field covers, and for the tensor equal to DLPack's own header.
 *
 *     test_abi_layout --print     prints the table that the golden file must equal
 *
 * A released line of the golden file never changes; an appended field is a line more. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <dlpack/dlpack.h>

#include "dukd_ext_draws.h"
#include "dukd_ext_graph.h"
#include "dukd_ext_params.h"

typedef struct {
    const char *of, *name; /* name NULL: the struct itself */
    size_t offset, size;
    size_t declared; /* DUKD_..._SIZE; 0 for DLPack's */
} row;

#define S(type, declared)                                                                                    \
    { #type, NULL, 0, sizeof(type), declared }
#define F(type, field)                                                                                       \
    { #type, #field, offsetof(type, field), sizeof(((type *)0)->field), 0 }

static const row rows[] = {
    S(dukd_error, DUKD_ERROR_SIZE),
    F(dukd_error, struct_size),
    F(dukd_error, code),
    F(dukd_error, message),
    S(dukd_device, 0),
    F(dukd_device, device_type),
    F(dukd_device, device_id),
    S(dukd_dtype, 0),
    F(dukd_dtype, code),
    F(dukd_dtype, bits),
    F(dukd_dtype, lanes),
    S(dukd_tensor, 0),
    F(dukd_tensor, data),
    F(dukd_tensor, device),
    F(dukd_tensor, ndim),
    F(dukd_tensor, dtype),
    F(dukd_tensor, shape),
    F(dukd_tensor, strides),
    F(dukd_tensor, byte_offset),
    S(dukd_option_info, DUKD_OPTION_INFO_SIZE),
    F(dukd_option_info, struct_size),
    F(dukd_option_info, type),
    F(dukd_option_info, name),
    F(dukd_option_info, default_text),
    F(dukd_option_info, min),
    F(dukd_option_info, max),
    F(dukd_option_info, choices),
    F(dukd_option_info, n_choices),
    F(dukd_option_info, pad0),
    F(dukd_option_info, help),
    S(dukd_loss_info, DUKD_LOSS_INFO_SIZE),
    F(dukd_loss_info, struct_size),
    F(dukd_loss_info, pad0),
    F(dukd_loss_info, name),
    F(dukd_loss_info, help),
    S(dukd_plugin_info, DUKD_PLUGIN_INFO_SIZE),
    F(dukd_plugin_info, struct_size),
    F(dukd_plugin_info, n_losses),
    F(dukd_plugin_info, n_options),
    F(dukd_plugin_info, n_backends),
    F(dukd_plugin_info, name),
    F(dukd_plugin_info, version),
    F(dukd_plugin_info, build),
    F(dukd_plugin_info, losses),
    F(dukd_plugin_info, options),
    S(dukd_backend_info, DUKD_BACKEND_INFO_SIZE),
    F(dukd_backend_info, struct_size),
    F(dukd_backend_info, usable),
    F(dukd_backend_info, device_type),
    F(dukd_backend_info, pad0),
    F(dukd_backend_info, name),
    F(dukd_backend_info, detail),
    S(dukd_option, DUKD_OPTION_SIZE),
    F(dukd_option, struct_size),
    F(dukd_option, kind),
    F(dukd_option, key),
    F(dukd_option, place),
    F(dukd_option, values),
    F(dukd_option, n_values),
    F(dukd_option, pad0),
    S(dukd_host, DUKD_HOST_SIZE),
    F(dukd_host, struct_size),
    F(dukd_host, n_networks),
    F(dukd_host, ctx),
    F(dukd_host, caps),
    F(dukd_host, networks),
    F(dukd_host, tap_shape),
    F(dukd_host, alloc),
    F(dukd_host, free),
    F(dukd_host, log),
    F(dukd_host, parallel_for),
    F(dukd_host, max_threads),
    F(dukd_host, should_cancel),
    F(dukd_host, get_extension),
    S(dukd_session_params, DUKD_SESSION_PARAMS_SIZE),
    F(dukd_session_params, struct_size),
    F(dukd_session_params, flags),
    F(dukd_session_params, host),
    F(dukd_session_params, options),
    F(dukd_session_params, n_options),
    F(dukd_session_params, micro_count),
    F(dukd_session_params, seed),
    F(dukd_session_params, lr_shape),
    F(dukd_session_params, scale),
    F(dukd_session_params, dtype),
    F(dukd_session_params, device),
    S(dukd_step, DUKD_STEP_SIZE),
    F(dukd_step, struct_size),
    F(dukd_step, flags),
    F(dukd_step, iteration),
    F(dukd_step, first_sample),
    F(dukd_step, micro_index),
    F(dukd_step, micro_count),
    F(dukd_step, lr),
    F(dukd_step, hr),
    F(dukd_step, stream),
    S(dukd_origin, DUKD_ORIGIN_SIZE),
    F(dukd_origin, struct_size),
    F(dukd_origin, kind),
    F(dukd_origin, flags),
    F(dukd_origin, n_samples),
    F(dukd_origin, samples),
    F(dukd_origin, rows),
    F(dukd_origin, cols),
    F(dukd_origin, augment),
    S(dukd_input, DUKD_INPUT_SIZE),
    F(dukd_input, struct_size),
    F(dukd_input, id),
    F(dukd_input, tensor),
    F(dukd_input, origin),
    S(dukd_tap, DUKD_TAP_SIZE),
    F(dukd_tap, struct_size),
    F(dukd_tap, id),
    F(dukd_tap, network),
    F(dukd_tap, flags),
    F(dukd_tap, source_kind),
    F(dukd_tap, source_id),
    F(dukd_tap, from_layer),
    F(dukd_tap, layer),
    S(dukd_pass, DUKD_PASS_SIZE),
    F(dukd_pass, struct_size),
    F(dukd_pass, id),
    F(dukd_pass, plan_index),
    F(dukd_pass, flags),
    F(dukd_pass, n_inputs),
    F(dukd_pass, n_taps),
    F(dukd_pass, inputs),
    F(dukd_pass, taps),
    S(dukd_plan, DUKD_PLAN_SIZE),
    F(dukd_plan, struct_size),
    F(dukd_plan, n_passes),
    F(dukd_plan, passes),
    S(dukd_submit, DUKD_SUBMIT_SIZE),
    F(dukd_submit, struct_size),
    F(dukd_submit, pass_id),
    F(dukd_submit, n_taps),
    F(dukd_submit, pad0),
    F(dukd_submit, values),
    F(dukd_submit, grads),
    F(dukd_submit, grad_scale),
    F(dukd_submit, grad_scale_dev),
    S(dukd_losses, DUKD_LOSSES_SIZE),
    F(dukd_losses, struct_size),
    F(dukd_losses, n_losses),
    F(dukd_losses, iteration),
    F(dukd_losses, names),
    F(dukd_losses, values),
    S(dukd_plugin, DUKD_PLUGIN_SIZE),
    F(dukd_plugin, struct_size),
    F(dukd_plugin, abi_draft),
    F(dukd_plugin, get_info),
    F(dukd_plugin, query_backend),
    F(dukd_plugin, get_extension),
    F(dukd_plugin, create_session),
    F(dukd_plugin, destroy_session),
    F(dukd_plugin, get_plan),
    F(dukd_plugin, begin_step),
    F(dukd_plugin, next_pass),
    F(dukd_plugin, submit_pass),
    F(dukd_plugin, end_step),
    F(dukd_plugin, cancel_step),
    F(dukd_plugin, read_losses),
    F(dukd_plugin, get_state),
    F(dukd_plugin, set_state),
    S(dukd_draw, DUKD_DRAW_SIZE),
    F(dukd_draw, struct_size),
    F(dukd_draw, what),
    F(dukd_draw, branch),
    F(dukd_draw, crop),
    F(dukd_draw, iteration),
    F(dukd_draw, sample),
    F(dukd_draw, bound),
    F(dukd_draw, probability),
    S(dukd_ext_draws, DUKD_EXT_DRAWS_SIZE),
    F(dukd_ext_draws, struct_size),
    F(dukd_ext_draws, pad0),
    F(dukd_ext_draws, set_source),
    S(dukd_param_info, DUKD_PARAM_INFO_SIZE),
    F(dukd_param_info, struct_size),
    F(dukd_param_info, flags),
    F(dukd_param_info, name),
    F(dukd_param_info, shape),
    F(dukd_param_info, ndim),
    F(dukd_param_info, pad0),
    S(dukd_param_list, DUKD_PARAM_LIST_SIZE),
    F(dukd_param_list, struct_size),
    F(dukd_param_list, n_params),
    F(dukd_param_list, params),
    S(dukd_param_bind, DUKD_PARAM_BIND_SIZE),
    F(dukd_param_bind, struct_size),
    F(dukd_param_bind, flags),
    F(dukd_param_bind, n_params),
    F(dukd_param_bind, pad0),
    F(dukd_param_bind, values),
    F(dukd_param_bind, grads),
    F(dukd_param_bind, stream),
    S(dukd_ext_params, DUKD_EXT_PARAMS_SIZE),
    F(dukd_ext_params, struct_size),
    F(dukd_ext_params, pad0),
    F(dukd_ext_params, list),
    F(dukd_ext_params, bind),
    S(dukd_ext_graph, DUKD_EXT_GRAPH_SIZE),
    F(dukd_ext_graph, struct_size),
    F(dukd_ext_graph, pad0),
    F(dukd_ext_graph, before_replay),
};
enum { ROWS = sizeof rows / sizeof *rows };

static void print_rows(FILE *to) {
    fprintf(to, "draft %u\n", DUKD_ABI_DRAFT);
    for (int i = 0; i < ROWS; i++)
        if (rows[i].name)
            fprintf(to, "    %3zu %3zu %s\n", rows[i].offset, rows[i].size, rows[i].name);
        else
            fprintf(to, "%s %zu\n", rows[i].of, rows[i].size);
}

static void test_golden(void **state) {
    (void)state;
    char *now = NULL, *golden = calloc(1, 65536);
    size_t size = 0;
    FILE *to = open_memstream(&now, &size), *from = fopen(DUKD_SOURCE_DIR "/abi/layout.golden", "r");
    assert_non_null(to);
    assert_non_null(golden);
    if (!from) fail_msg("abi/layout.golden cannot be read");
    print_rows(to);
    fclose(to);
    golden[fread(golden, 1, 65535, from)] = 0;
    fclose(from);
    assert_string_equal(now, golden);
    free(now);
    free(golden);
}

/* Fields listed above follow each other without a gap up to the end: no hidden padding, and no field missing
 * here. */
static void test_no_gaps(void **state) {
    (void)state;
    for (int i = 0; i < ROWS;) {
        const row *s = &rows[i++];
        size_t end = 0;
        assert_null(s->name);
        for (; i < ROWS && rows[i].name; i++) {
            if (rows[i].offset != end)
                fail_msg("%s.%s begins at %zu, not at %zu", s->of, rows[i].name, rows[i].offset, end);
            end += rows[i].size;
        }
        if (end != s->size) fail_msg("the fields of %s end at %zu of %zu bytes", s->of, end, s->size);
        if (s->declared) {
            assert_int_equal(s->size, s->declared);
            assert_int_equal(s->size % 8, 0);
            assert_string_equal(rows[s - rows + 1].name, "struct_size");
        }
    }
}

#define SAME_FIELD(ours, a, theirs, b)                                                                       \
    assert_int_equal(offsetof(ours, a), offsetof(theirs, b));                                                \
    assert_int_equal(sizeof(((ours *)0)->a), sizeof(((theirs *)0)->b))

static void test_dlpack(void **state) {
    (void)state;
    assert_int_equal(sizeof(dukd_tensor), sizeof(DLTensor));
    SAME_FIELD(dukd_tensor, data, DLTensor, data);
    SAME_FIELD(dukd_tensor, device, DLTensor, device);
    SAME_FIELD(dukd_tensor, ndim, DLTensor, ndim);
    SAME_FIELD(dukd_tensor, dtype, DLTensor, dtype);
    SAME_FIELD(dukd_tensor, shape, DLTensor, shape);
    SAME_FIELD(dukd_tensor, strides, DLTensor, strides);
    SAME_FIELD(dukd_tensor, byte_offset, DLTensor, byte_offset);
    SAME_FIELD(dukd_device, device_type, DLDevice, device_type);
    SAME_FIELD(dukd_device, device_id, DLDevice, device_id);
    SAME_FIELD(dukd_dtype, code, DLDataType, code);
    SAME_FIELD(dukd_dtype, bits, DLDataType, bits);
    SAME_FIELD(dukd_dtype, lanes, DLDataType, lanes);
    assert_int_equal(DUKD_DEVICE_CPU, kDLCPU);
    assert_int_equal(DUKD_DEVICE_CUDA, kDLCUDA);
    assert_int_equal(DUKD_DEVICE_CUDA_HOST, kDLCUDAHost);
    assert_int_equal(DUKD_TYPE_FLOAT, kDLFloat);
    assert_int_equal(DUKD_TYPE_BFLOAT, kDLBfloat);
}

int main(int argc, char **argv) {
    if (argc == 2 && strcmp(argv[1], "--print") == 0) {
        print_rows(stdout);
        return 0;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_golden), cmocka_unit_test(test_no_gaps),
                                       cmocka_unit_test(test_dlpack)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
