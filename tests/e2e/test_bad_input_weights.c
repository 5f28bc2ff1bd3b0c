/* Weights, training states and runs: missing, cut, garbage, of another network or scale, not finite, of another run. */
#include <glob.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "host_run.h"
#include "support/edsr_net.h"
#include "test_bad_input_run.h"
#include "train/weights.h"
#include "unit/data_fixture.h"
#include "unit/image_fixture.h"

/* Weights of another network, which do not say so. */
static void make_weights(const char *name, int32_t feat, int32_t blocks, int32_t scale, float spoil) {
    dukd_graph *g = dukd_edsr_net(feat, blocks, scale, 0.1);
    float *w = dukd_weights_alloc(dukd_graph_weights(g));
    dukd_graph_init(g, 5, w);
    if (spoil != 0) w[dukd_graph_param(g, 3)->offset] = spoil; /* body.0.conv1.bias */
    assert_int_equal(dukd_weights_save(data_path(name), g, w, NULL, NULL, 0, NULL), 0);
    free(w);
    dukd_graph_destroy(g);
}

/* FILE by every command that reads weights; the message names it and holds `part`. */
static void refused_everywhere(const char *file, const char *part, const char *part2) {
    static const char *const lines[] = {
        "test scratch.yml -w %s",
        "upscale val --opt scratch.yml -m %s -o up",
        "train scratch.yml --set path.pretrain_network_g=%s",
        "train dukd.yml --set path.pretrain_network_t=%s --set network_t.num_feat=4",
        "preview dukd.yml -o p.png --set path.pretrain_network_t=%s --set network_t.num_feat=4",
    };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        char line[256];
        snprintf(line, sizeof line, lines[i], file);
        REFUSED(1, line, file, part, part2);
    }
}

static void files_that_are_none(void **state) {
    (void)state;
    size_t size;
    unsigned char *net = fixture_load(data_path("net.safetensors"), &size);
    fixture_save(data_path("empty.st"), "", 0);
    fixture_save(data_path("five.st"), net, 5);
    fixture_save(data_path("head.st"), net, 100);
    fixture_save(data_path("cut.st"), net, size - 100);
    bad_copy("net.safetensors", "more.st", (int64_t)size + 3);
    memset(net, 0x7f, 8); /* a header of 10^18 bytes */
    fixture_save(data_path("huge.st"), net, size);
    for (size_t i = 0; i < size; i++) net[i] = (unsigned char)(i * 2654435761u >> 13);
    fixture_save(data_path("garbage.st"), net, size);
    memcpy(net, "PK\3\4", 4);
    fixture_save(data_path("torch.pth"), net, size);
    free(net);
    static const struct {
        const char *file, *part;
    } cases[] = {
        {"nosuch.st", "No such file"},
        {"val", "folder"},
        {"empty.st", "0 bytes"},
        {"five.st", "5 bytes"},
        {"head.st", "cut short"},
        {"cut.st", "cut short"},
        {"more.st", "3 bytes at its end"},
        {"huge.st", "no safetensors file"},
        {"garbage.st", "no safetensors file"},
        {"torch.pth", "ZIP archive"},
        {"val/v0.png", "no safetensors file"},
        {"scratch.yml", "no safetensors file"},
        {"/dev/null", "no regular file"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char line[128];
        refused_everywhere(cases[i].file, cases[i].part, NULL);
        snprintf(line, sizeof line, "upscale val -m %s -o up", cases[i].file);
        REFUSED(1, line, cases[i].file, cases[i].part);
    }
}

static void another_network(void **state) {
    (void)state;
    make_weights("wide.st", 8, 1, 2, 0);
    make_weights("deep.st", 4, 2, 2, 0);
    make_weights("x3.st", 4, 1, 3, 0);
    make_weights("x4.st", 4, 1, 4, 0);
    refused_everywhere("wide.st", "conv_first.weight is 8x3x3x3, not 4x3x3x3", "another network");
    refused_everywhere("deep.st", "body.1.conv1.weight is none of its parameters", "another network");
    refused_everywhere("x3.st", "upsample.0.weight is 36x4x3x3, not 16x4x3x3", "another network");
    refused_everywhere("x4.st", "upsample.2.weight is none of its parameters", "another network");
    static const bad_case cases[] = {
        {1, "upscale val -m wide.st -o up", "wide.st", "which network", "--opt OPT.yml"},
        {1, "test scratch.yml -w net.safetensors --param-key params_ema", "'params_ema'", "'params'", NULL},
        {1, "upscale val -m net.safetensors --param-key foo -o up", "'foo'", "'params'", NULL},
    };
    REFUSED_ALL(cases);
}

/* What a file says of itself is not trusted either. */
static void metadata(void **state) {
    (void)state;
    static const struct {
        const char *find, *replace; /* of equal length */
        const char *part;
    } cases[] = {
        {"EDSR", "EDSX", "'EDSX'"},
        {"num_feat\\\": 4", "num_feat\\\": 0", "num_feat"},
        {"num_feat", "num_feet", "num_feet"},
        {"upscale\\\": 2", "upscale\\\": 9", "upscale"},
        {"{\\\"type", "[\\\"type", "network_g"},
        {"num_block\\\": 1", "num_block\\\": 2", "another network"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t size;
        unsigned char *net = fixture_load(data_path("net.safetensors"), &size);
        unsigned char *at = memmem(net, size, cases[i].find, strlen(cases[i].find));
        if (!at) fail_msg("no %s in the metadata", cases[i].find);
        memcpy(at, cases[i].replace, strlen(cases[i].replace));
        fixture_save(data_path("odd.st"), net, size);
        free(net);
        REFUSED(1, "upscale val -m odd.st -o up", "odd.st", cases[i].part);
    }
}

static void not_finite(void **state) {
    (void)state;
    make_weights("nan.st", 4, 1, 2, NAN);
    make_weights("inf.st", 4, 1, 2, INFINITY);
    refused_everywhere("nan.st", "body.0.conv1.bias", "not finite");
    refused_everywhere("inf.st", "body.0.conv1.bias", "not finite");
}

/* A rate that throws the weights out of range: the run stops with what it had, and says what to change. */
static void a_loss_that_is_not_finite(void **state) {
    (void)state;
    bad_now.may_leave = "experiments";
    REFUSED(1,
            "train scratch.yml --set train.optim_g.lr=1e6 --set val.val_freq=~ --set "
            "train.scheduler.milestones=[] "
            "--set logger.save_checkpoint_freq=1000",
            "not finite", "train.optim_g.lr", "train.nonfinite: skip");
    assert_false(bad_exists("experiments/scratch/models/net_g_latest.safetensors"));
    const char *run = host_load("experiments/scratch/run.json");
    assert_non_null(strstr(run, "\"status\": \"failed\""));
    assert_non_null(strstr(run, "train.nonfinite: skip")); /* and why */
}

/* ---------------------------------------------------------------- states and runs */

static void states(void **state) {
    (void)state;
    REFUSED(1, "train scratch.yml --resume", "experiments/scratch/training_states", "without --resume");
    bad_done("train scratch.yml --quiet");
    static const bad_case cases[] = {
        {1, "train scratch.yml --set path.resume_state=nosuch", "nosuch", NULL, NULL},
        {1, "train scratch.yml --set path.resume_state=net.safetensors", "net.safetensors",
         "no training state", NULL},
        {1, "train scratch.yml --set path.resume_state=val/v0.png", "val/v0.png", NULL, NULL},
        {2, "train scratch.yml --resume --set train.total_iter=5", "iteration 24", "train.total_iter is 5",
         NULL},
        {2, "train scratch.yml --resume --set network_g.num_feat=8", "network_g.num_feat was 4", "is 8 now",
         "new run"},
        {2, "train scratch.yml --resume --set network_g.num_block=2", "network_g.num_block was 1", NULL,
         NULL},
    };
    REFUSED_ALL(cases);
    bad_copy("experiments/scratch/training_states/24.state", "experiments/scratch/training_states/24.state",
             -100);
    bad_copy("experiments/scratch/training_states/20.state", "experiments/scratch/training_states/20.state",
             50);
    REFUSED(1, "train scratch.yml --resume", "no complete training state", "without --resume");
    REFUSED(1, "train scratch.yml --set path.resume_state=experiments/scratch/training_states/24.state",
            "24.state", "cut short");
}

/* Training twice keeps what the first run has made. */
static void training_twice(void **state) {
    (void)state;
    glob_t found;
    bad_done("train scratch.yml --quiet");
    bad_copy("experiments/scratch/models/net_g_latest.safetensors", "first.safetensors", 0);
    bad_done("train scratch.yml --quiet --set manual_seed=77");
    assert_int_equal(
        glob(data_path("experiments/scratch_archived_*/models/net_g_latest.safetensors"), 0, NULL, &found),
        0);
    assert_int_equal(found.gl_pathc, 1);
    size_t a, b;
    unsigned char *old = fixture_load(found.gl_pathv[0], &a),
                  *kept = fixture_load(data_path("first.safetensors"), &b);
    assert_int_equal(a, b);
    assert_memory_equal(old, kept, a);
    free(old);
    free(kept);
    globfree(&found);
    /* what is refused does not move the run that is there */
    REFUSED(2, "train scratch.yml --set train.w_kdd=1", "train.w_kd");
    REFUSED(1, "train scratch.yml --set path.pretrain_network_g=nosuch.st", "nosuch.st");
    REFUSED(1, "train scratch.yml --set datasets.val.dataroot_gt=nosuch", "nosuch");
}

static void comparing(void **state) {
    (void)state;
    bad_done("train scratch.yml --quiet");
    bad_done("train scratch.yml --quiet --set name=other --set manual_seed=9");
    bad_done("train scratch.yml --quiet --set name=set --set datasets.val.dataroot_gt=train");
    static const bad_case cases[] = {
        {1, "dukd-compare nosuch", "nosuch/metrics.jsonl", "folder of a run", NULL},
        {1, "dukd-compare scratch.yml", "scratch.yml/metrics.jsonl", NULL, NULL},
        {1, "dukd-compare experiments", "experiments/metrics.jsonl", NULL, NULL},
        {1, "dukd-compare experiments/scratch nosuch", "nosuch/metrics.jsonl", NULL, NULL},
        {1, "dukd-compare experiments/scratch --set nosuch", "set nosuch", NULL, NULL},
        {1, "dukd-compare experiments/scratch --metric nosuch", "metric", NULL, NULL},
        {1, "dukd-compare experiments/scratch experiments/set", "different images", "experiments/set", NULL},
        {2, "dukd-compare experiments/scratch experiments/scratch/", "named twice", NULL, NULL},
    };
    REFUSED_ALL(cases);
    bad_done("dukd-compare experiments/scratch experiments/other");
    static const struct {
        const char *text, *part;
    } bad[] = {
        {"", "no validation"},
        {"{\"iteration\": 1}\n", "no validation"},
        {"{\"validation\": [1, 2}\n", "metrics.jsonl:1"},
        {"{\"validation\": 3}\n", "metrics.jsonl"},
        {"{\"iteration\": \"x\", \"validation\": {\"tiny\": {\"images\": []}}}\n", "metrics.jsonl"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        data_text(data_path("experiments/scratch/metrics.jsonl"), bad[i].text);
        REFUSED(1, "dukd-compare experiments/scratch", "experiments/scratch/metrics.jsonl", bad[i].part);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        BAD_TEST(files_that_are_none),
        BAD_TEST(another_network),
        BAD_TEST(metadata),
        BAD_TEST(not_finite),
        BAD_TEST(a_loss_that_is_not_finite),
        BAD_TEST(states),
        BAD_TEST(training_twice),
        BAD_TEST(comparing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
