/* What is fused, seen from outside a backend: the nodes of EDSR, and that taps keep values apart. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/fusion.h"
#include "support/edsr_net.h"

static int32_t count_kind(const dukd_fused *f, dukd_node_kind kind) {
    int32_t n = 0;
    for (int32_t i = 0; i < f->count; i++) n += f->nodes[i].kind == kind;
    return n;
}

static dukd_fused fuse(const dukd_graph *g, int32_t count, const dukd_value *outputs) {
    dukd_fused fused;
    dukd_failure f = {0};
    if (dukd_fuse(&fused, g, outputs, count, (dukd_fuse_mode){.train = 1}, &f) != DUKD_DONE)
        fail_msg("%s", f.message);
    for (int32_t i = 0; i < fused.count; i++)
        for (int k = 0; k < DUKD_OP_MAX_OPERANDS; k++) assert_true(fused.nodes[i].in[k] < i);
    return fused;
}

/* EDSR x4 is its convolutions, one shuffle, and the two ends: everything else is fused. */
static void test_edsr(void **state) {
    (void)state;
    enum { BLOCKS = 5 };
    dukd_graph *g = dukd_edsr_net(16, BLOCKS, 4, .1);
    dukd_value out = dukd_graph_output(g);
    dukd_fused f = fuse(g, 1, &out);
    assert_int_equal(count_kind(&f, DUKD_NODE_CONV), 2 * BLOCKS + 5);
    assert_int_equal(count_kind(&f, DUKD_NODE_SHUFFLE), 1);
    assert_int_equal(f.count, 2 * BLOCKS + 5 + 1 + 2);
    int32_t relus = 0, sums = 0, scaled = 0;
    for (int32_t i = 0; i < f.count; i++) {
        const dukd_node *n = &f.nodes[i];
        if (n->kind != DUKD_NODE_CONV) continue;
        relus += n->act == DUKD_ACT_RELU;
        sums += n->in[1] >= 0;
        scaled += n->scale == .1f;
    }
    assert_int_equal(relus, BLOCKS);
    assert_int_equal(sums, BLOCKS + 1);
    assert_int_equal(scaled, BLOCKS);
    const dukd_node *last = &f.nodes[f.count - 2], *end = &f.nodes[f.count - 1];
    assert_int_equal(last->spread, 2); /* the second shuffle is done by the last convolution and the output */
    assert_int_equal(last->channels, 12);
    assert_int_equal(last->up, 2);
    assert_true(last->last);
    assert_int_equal(end->kind, DUKD_NODE_OUTPUT);
    assert_int_equal(end->spread, 2);
    assert_non_null(end->factors);
    assert_non_null(f.nodes[0].factors);
    dukd_fused_free(&f);
    dukd_graph_destroy(g);
}

/* A tap of what a fusion would hide keeps it: convolution, scale and sum are then nodes of their own. */
static void test_taps(void **state) {
    (void)state;
    dukd_graph *g = dukd_edsr_net(16, 1, 2, .1);
    dukd_value out = dukd_graph_output(g), conv = dukd_graph_find_layer(g, "body.0.conv2"),
               first = dukd_graph_find_layer(g, "body.0.conv1"), up = dukd_graph_find_layer(g, "upsample");
    assert_true(conv >= 0 && first >= 0 && up >= 0);
    dukd_fused f = fuse(g, 4, (dukd_value[]){out, conv, first, up});
    assert_int_equal(count_kind(&f, DUKD_NODE_OUTPUT), 4);
    assert_int_equal(count_kind(&f, DUKD_NODE_RELU), 1);
    assert_int_equal(count_kind(&f, DUKD_NODE_SCALE), 1);
    assert_int_equal(count_kind(&f, DUKD_NODE_ADD), 1);
    assert_int_equal(count_kind(&f, DUKD_NODE_SHUFFLE), 1);
    dukd_fused_free(&f);
    dukd_graph_destroy(g);
}

/* A convolution, a shuffle and the output (pixelshuffledirect): the output's conversion shuffles, unless the convolution is asked
 * for too. */
static void test_last_shuffle(void **state) {
    (void)state;
    static const float factors[3] = {2, 1, -1}, shifts[3] = {.5f, .25f, 0};
    dukd_failure failure = {0};
    dukd_graph *g = dukd_graph_create();
    dukd_value conv = dukd_graph_conv(g, dukd_graph_input(g, 3), 27, 3, "a");
    dukd_value out = dukd_graph_affine(g, dukd_graph_pixel_shuffle(g, conv, 3), factors, shifts);
    assert_int_equal(dukd_graph_finish(g, out, &failure), DUKD_DONE);
    dukd_fused f = fuse(g, 1, &out);
    assert_int_equal(f.count, 3);
    assert_int_equal(f.nodes[1].kind, DUKD_NODE_CONV);
    assert_true(f.nodes[1].last);
    assert_int_equal(f.nodes[1].order, 3);
    assert_int_equal(f.nodes[1].spread, 1);
    assert_int_equal(f.nodes[2].spread, 3);
    assert_int_equal(f.nodes[2].channels, 3);
    assert_ptr_equal(f.nodes[2].shifts, dukd_graph_op(g, out)->shifts);
    dukd_fused_free(&f);
    f = fuse(g, 2, (dukd_value[]){out, conv});
    assert_int_equal(count_kind(&f, DUKD_NODE_SHUFFLE), 1);
    dukd_fused_free(&f);
    dukd_graph_destroy(g);
}

/* Only what the outputs need is run. */
static void test_dead_operations(void **state) {
    (void)state;
    dukd_graph *g = dukd_edsr_net(16, 3, 4, 1);
    dukd_value body = dukd_graph_find_layer(g, "body.0");
    dukd_fused f = fuse(g, 1, &body);
    assert_int_equal(count_kind(&f, DUKD_NODE_CONV), 3);
    assert_int_equal(count_kind(&f, DUKD_NODE_SHUFFLE), 0);
    dukd_fused_free(&f);
    dukd_graph_destroy(g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_edsr),
        cmocka_unit_test(test_taps),
        cmocka_unit_test(test_last_shuffle),
        cmocka_unit_test(test_dead_operations),
    };
    return cmocka_run_group_tests_name("engine_fusion", tests, NULL, NULL);
}
