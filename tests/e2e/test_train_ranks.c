/* Training by several ranks: two with a batch of 2 are one with a batch of 4; stopped, killed, resumed, and refused where they would train
 * different things. */
#include <dirent.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/safetensors.h"
#include "host_run.h"
#include "unit/data_fixture.h"

#define NEEDS_RANKS()                                                                                        \
    do {                                                                                                     \
        if (!host_has_ranks()) skip();                                                                       \
    } while (0)
#define STATE(name, iteration) "experiments/" name "/training_states/" iteration ".state"
#define MODEL(name, file)      "experiments/" name "/models/" file ".safetensors"
#define SET(key_value)         "--set", key_value
/* Epochs that a global batch fills, however many ranks share it. */
#define ONE_THREAD  SET("num_threads=1"), SET("datasets.train.dataset_enlarge_ratio=4")
#define WHOLE_BATCH SET("datasets.train.batch_size_per_gpu=4")
#define STEPS(n)    SET("train.total_iter=" #n), SET("logger.print_freq=1")

/* ---------------------------------------------------------------- comparing */

/* Norms over all tensors of `key` in three files: of what differs between a and b, of how far b is from `start`, and of b. */
typedef struct {
    double apart, moved, all;
} norms;

static norms measure(const char *a, const char *b, const char *start, const char *key) {
    dukd_tensor_file *files[3] = {NULL, NULL, NULL};
    const char *const paths[3] = {a, b, start};
    dukd_failure f = {0};
    double sums[3] = {0, 0, 0};
    int compared = 0;
    for (int i = 0; i < 3; i++)
        if (dukd_tensor_file_open(&files[i], data_path(paths[i]), &f)) fail_msg("%s", f.message);
    for (int32_t i = 0; i < dukd_tensor_file_count(files[0]); i++) {
        const dukd_st_tensor *t[3] = {dukd_tensor_file_at(files[0], i), NULL, NULL};
        if (strncmp(t[0]->name, key, strlen(key)) != 0 || t[0]->name[strlen(key)] != '.') continue;
        for (int k = 1; k < 3; k++) {
            t[k] = dukd_tensor_file_find(files[k], t[0]->name);
            assert_true(t[k] && t[k]->count == t[0]->count && t[k]->type == DUKD_ST_F32);
        }
        compared++;
        const float *x = t[0]->data, *y = t[1]->data, *z = t[2]->data;
        for (int64_t e = 0; e < t[0]->count; e++) {
            const double of[3] = {(double)x[e] - (double)y[e], (double)y[e] - (double)z[e], (double)y[e]};
            for (int k = 0; k < 3; k++) sums[k] += of[k] * of[k];
        }
    }
    for (int i = 0; i < 3; i++) dukd_tensor_file_close(files[i]);
    assert_true(compared > 1);
    return (norms){sqrt(sums[0]), sqrt(sums[1]), sqrt(sums[2])};
}

/* To rounding: Adam divides small gradients by their own size, so that the last bits of one may move a weight. */
static void close_enough(const char *a, const char *b, const char *start, const char *key) {
    const norms n = measure(a, b, start, key);
    print_message("%s: %.2g of the way, %.2g of the weights\n", key, n.apart / n.moved, n.apart / n.all);
    assert_true(n.moved > 1e-3 * n.all);
    assert_true(n.apart <= 1e-2 * n.moved);
    assert_true(n.apart <= 1e-4 * n.all);
}

/* Every loss of every line, to 1e-5 of itself. */
static void same_losses(const char *run_a, const char *run_b, int at_least) {
    char path[128];
    snprintf(path, sizeof path, "experiments/%s/metrics.jsonl", run_a);
    char *text_a = strdup(host_load(path));
    snprintf(path, sizeof path, "experiments/%s/metrics.jsonl", run_b);
    char *text_b = strdup(host_load(path));
    assert_true(text_a && text_b);
    double worst = 0;
    int count = 0;
    const char *a = text_a, *b = text_b;
    while ((a = strstr(a, "\"l_")) && (b = strstr(b, "\"l_"))) {
        const char *value_a = strchr(a, ':'), *value_b = strchr(b, ':');
        assert_true(value_a - a == value_b - b && !strncmp(a, b, (size_t)(value_a - a)));
        const double x = strtod(value_a + 1, NULL), y = strtod(value_b + 1, NULL);
        assert_true(isfinite(x) && isfinite(y));
        worst = fmax(worst, fabs(x - y) / fmax(fabs(y), 1e-6));
        a = value_a;
        b = value_b;
        count++;
    }
    print_message("%d losses, %.2g apart\n", count, worst);
    assert_true(count >= at_least);
    assert_true(worst <= 1e-5);
    free(text_a);
    free(text_b);
}

/* Two ranks and one train 20 steps of the same option file; and where it began. */
#define TWO_AND_ONE(file, ...)                                                                               \
    do {                                                                                                     \
        RANKS(2, 0, "train", file, "-q", SET("name=two"), STEPS(20), ONE_THREAD, __VA_ARGS__);               \
        HOST(0, "train", file, "-q", SET("name=one"), STEPS(20), ONE_THREAD, WHOLE_BATCH, __VA_ARGS__);      \
        HOST(0, "train", file, "-q", SET("name=start"), STEPS(1), ONE_THREAD, SET("train.optim_g.lr=1e-30"), \
             __VA_ARGS__);                                                                                   \
        same_losses("two", "one", 20);                                                                       \
        close_enough(MODEL("two", "net_g_latest"), MODEL("one", "net_g_latest"),                             \
                     MODEL("start", "net_g_latest"), "params");                                              \
    } while (0)

/* ---------------------------------------------------------------- two are one */

static void paper_mode(void **state) {
    (void)state;
    NEEDS_RANKS();
    TWO_AND_ONE("dukd.yml", SET("train.zoom_in=hardest"));
    close_enough(MODEL("two", "net_g_latest"), MODEL("one", "net_g_latest"), MODEL("start", "net_g_latest"),
                 "params_ema");
    /* the cost is that of all ranks */
    assert_int_equal((int)host_json_number("experiments/two/run.json", "images"), 80);
    assert_int_equal((int)host_json_number("experiments/two/run.json", "student_images"),
                     (int)host_json_number("experiments/one/run.json", "student_images"));
    assert_int_equal((int)host_json_number("experiments/two/run.json", "teacher_images"),
                     (int)host_json_number("experiments/one/run.json", "teacher_images"));
    assert_int_equal((int)host_json_number("experiments/two/run.json", "optimizer_steps"), 20);
    assert_non_null(
        strstr(host_load("experiments/two/train_two.log"), "batch 2 on 2 ranks (global batch 4)"));
}

/* Adam hardly sees how long a gradient is; plain descent does. */
static void plain_descent(void **state) {
    (void)state;
    NEEDS_RANKS();
    TWO_AND_ONE("dukd.yml", SET("train.optim_g.type=SGD"), SET("train.optim_g.betas=~"),
                SET("train.optim_g.lr=0.02"));
}

static void official_mode(void **state) {
    (void)state;
    NEEDS_RANKS();
    TWO_AND_ONE("dukd.yml", SET("model_type=DUKD"), SET("train.pixel_opt.type=L1Loss"),
                SET("train.pixel_opt.loss_weight=1"), SET("train.kd_opt.type=L1Loss"),
                SET("train.kd_opt.loss_weight=1"), SET("train.dukd_opt.n_gt_sub=[2]"),
                SET("train.dukd_opt.zoom_out=true"), SET("train.noisy.prob=0.3"));
    assert_int_equal((int)host_json_number("experiments/two/run.json", "optimizer_steps"), 40);
}

static const char swinir[] =
    "model_type: DUKDPlugin\nscale: 2\nmanual_seed: 5\n"
    "datasets:\n"
    "  train: {dataroot_gt: train, gt_size: 32, batch_size_per_gpu: 2, num_worker_per_gpu: 1}\n"
    "network_g: {type: SwinIR, upscale: 2, in_chans: 3, img_size: 16, window_size: 8, img_range: 1., depths: "
    "[2, 2], embed_dim: 12, num_heads: [2, 2], mlp_ratio: 2, upsampler: pixelshuffle, resi_connection: "
    "1conv, "
    "drop_path_rate: 0.4}\n"
    "train:\n"
    "  terms: [rec]\n"
    "  optim_g: {type: Adam, lr: !!float 1e-3}\n"
    "logger: {save_checkpoint_freq: 50}\n";

static void drop_paths(void **state) {
    (void)state;
    NEEDS_RANKS();
    data_text(data_path("swinir.yml"), swinir);
    TWO_AND_ONE("swinir.yml", SET("num_threads=1"));
}

static void micro_batches(void **state) {
    (void)state;
    NEEDS_RANKS();
    TWO_AND_ONE("dukd.yml", SET("train.micro_batches=2"));
}

/* CSD without its contrast, whose negatives are of the own batch: what is left trains student and teacher. */
#define BOTH SET("train.terms=[csd]"), SET("train.w_csd=0"), SET("train.w_csd_teacher=1")

static void a_trained_teacher(void **state) {
    (void)state;
    NEEDS_RANKS();
    TWO_AND_ONE("dukd.yml", BOTH);
    close_enough(MODEL("two", "net_t_latest"), MODEL("one", "net_t_latest"), MODEL("start", "net_t_latest"),
                 "params");
}

static void shared_weights(void **state) {
    (void)state;
    NEEDS_RANKS();
    TWO_AND_ONE("dukd.yml", BOTH, SET("train.share_weights=true"));
    close_enough(MODEL("two", "net_t_latest"), MODEL("one", "net_t_latest"), MODEL("start", "net_t_latest"),
                 "params");
}

static void parameters_of_the_plugin(void **state) {
    (void)state;
    NEEDS_RANKS();
    TWO_AND_ONE("dukd.yml", "--plugin", FITNETS_PLUGIN, SET("train.terms=[rec, hint]"));
    close_enough(STATE("two", "20"), STATE("one", "20"), STATE("start", "1"), "plugin");
}

/* Three ranks: parts of unequal length, and a mean that halves do not hide. */
static void three_are_one(void **state) {
    (void)state;
    NEEDS_RANKS();
    RANKS(3, 0, "train", "dukd.yml", "-q", SET("name=three"), STEPS(20), ONE_THREAD, SET("name=three"));
    HOST(0, "train", "dukd.yml", "-q", SET("name=one"), STEPS(20), ONE_THREAD,
         SET("datasets.train.batch_size_per_gpu=6"));
    HOST(0, "train", "dukd.yml", "-q", SET("name=start"), STEPS(1), SET("train.optim_g.lr=1e-30"));
    same_losses("three", "one", 20);
    close_enough(MODEL("three", "net_g_latest"), MODEL("one", "net_g_latest"), MODEL("start", "net_g_latest"),
                 "params");
}

/* Four ranks with an image each. */
static void four_are_one(void **state) {
    (void)state;
    NEEDS_RANKS();
    RANKS(4, 0, "train", "dukd.yml", "-q", SET("name=four"), STEPS(20), ONE_THREAD,
          SET("datasets.train.batch_size_per_gpu=1"));
    HOST(0, "train", "dukd.yml", "-q", SET("name=one"), STEPS(20), ONE_THREAD, WHOLE_BATCH);
    HOST(0, "train", "dukd.yml", "-q", SET("name=start"), STEPS(1), SET("train.optim_g.lr=1e-30"));
    same_losses("four", "one", 20);
    close_enough(MODEL("four", "net_g_latest"), MODEL("one", "net_g_latest"), MODEL("start", "net_g_latest"),
                 "params");
}

/* ---------------------------------------------------------------- bits */

static void one_rank_is_none(void **state) {
    (void)state;
    NEEDS_RANKS();
    RANKS(1, 0, "train", "dukd.yml", "-q");
    HOST(0, "train", "dukd.yml", "-q", SET("name=none"));
    host_same_tensors(STATE("dukd", "24"), STATE("none", "24"));
    host_same_tensors(MODEL("dukd", "net_g_best"), MODEL("none", "net_g_best"));
    host_same_metrics("experiments/dukd/metrics.jsonl", "experiments/none/metrics.jsonl");
}

static void the_same_bits_each_time(void **state) {
    (void)state;
    NEEDS_RANKS();
    RANKS(2, 0, "train", "dukd.yml", "-q", ONE_THREAD);
    RANKS(2, 0, "train", "dukd.yml", "-q", ONE_THREAD, SET("name=again"));
    host_same_tensors(STATE("dukd", "24"), STATE("again", "24"));
    host_same_metrics("experiments/dukd/metrics.jsonl", "experiments/again/metrics.jsonl");
}

/* A validation that is shared is the one that a rank has alone: one image each, and one of three over. */
static void validation_is_shared(void **state) {
    (void)state;
    NEEDS_RANKS();
    RANKS(2, 0, "train", "dukd.yml", "-q", ONE_THREAD);
    RANKS(2, 0, "train", "dukd.yml", "-q", ONE_THREAD, SET("name=alone"), SET("val.save_img=true"));
    host_same_metrics("experiments/dukd/metrics.jsonl", "experiments/alone/metrics.jsonl");
    assert_true(host_exists("experiments/alone/visualization/tiny/v2_24.png"));
    assert_false(host_exists("experiments/dukd/visualization"));
}

/* ---------------------------------------------------------------- stopped and resumed */

static void resumed_to_the_same_bits(void **state) {
    (void)state;
    NEEDS_RANKS();
    RANKS(2, 0, "train", "dukd.yml", "-q", ONE_THREAD, SET("name=whole"));
    RANKS(2, 0, "train", "dukd.yml", "-q", ONE_THREAD, SET("train.total_iter=13"));
    RANKS(2, 0, "train", "dukd.yml", "-q", ONE_THREAD, "--resume");
    host_same_tensors(STATE("whole", "24"), STATE("dukd", "24"));
    host_same_tensors(MODEL("whole", "net_g_latest"), MODEL("dukd", "net_g_latest"));
}

/* The text of a field in a state's metadata. */
static long long field(const char *file, const char *key) {
    dukd_tensor_file *t = NULL;
    dukd_failure f = {0};
    if (dukd_tensor_file_open(&t, data_path(file), &f)) fail_msg("%s", f.message);
    const char *text = dukd_tensor_file_metadata(t, key);
    const long long value = text ? atoll(text) : -1;
    dukd_tensor_file_close(t);
    return value;
}

static void resumed_by_other_ranks(void **state) {
    (void)state;
    NEEDS_RANKS();
    /* the same global batch: the same training */
    HOST(0, "train", "dukd.yml", "-q", ONE_THREAD, WHOLE_BATCH, STEPS(24), SET("name=one"));
    HOST(0, "train", "dukd.yml", "-q", ONE_THREAD, STEPS(1), SET("name=start"),
         SET("train.optim_g.lr=1e-30"));
    RANKS(2, 0, "train", "dukd.yml", "-q", ONE_THREAD, STEPS(12));
    HOST(0, "train", "dukd.yml", ONE_THREAD, WHOLE_BATCH, STEPS(24), "--resume");
    assert_non_null(strstr(host_output(), "written by a run of 2 ranks, now there are 1"));
    same_losses("dukd", "one", 24);
    close_enough(MODEL("dukd", "net_g_latest"), MODEL("one", "net_g_latest"), MODEL("start", "net_g_latest"),
                 "params");
    assert_int_equal((int)host_json_number("experiments/dukd/run.json", "images"), 96);
    /* another one: the samples go on where they were */
    RANKS(2, 0, "train", "dukd.yml", "-q", ONE_THREAD, STEPS(10));
    assert_int_equal(field(STATE("dukd", "10"), "next_sample"), 40);
    HOST(0, "train", "dukd.yml", "-q", ONE_THREAD, STEPS(24), "--resume");
    assert_int_equal(field(STATE("dukd", "24"), "next_sample"), 40 + 28);
    assert_int_equal(field(STATE("dukd", "24"), "ranks"), 1);
}

/* ---------------------------------------------------------------- how it ends */

static void wait_for(const host_process *p, const char *relative) {
    for (int i = 0; i < 3000 && !host_exists(relative); i++) {
        const struct timespec pause = {0, 20000000};
        if (host_ended(p)) fail_msg("it ended before there was %s:\n%s", relative, host_output());
        nanosleep(&pause, NULL);
    }
    if (!host_exists(relative)) fail_msg("no %s after a minute", relative);
}

/* Must end by itself within a minute. */
static int ends(host_process *p) {
    return host_must_end(p, 60);
}

/* The process of `parent` that has RANK=`rank` in its environment, by any launcher's name for it; 0: none. Launchers may put a process of their
 * own between. */
static pid_t find_rank(pid_t parent, int rank) {
    DIR *processes = opendir("/proc");
    pid_t found = 0;
    assert_non_null(processes);
    for (const struct dirent *e = readdir(processes); e && !found; e = readdir(processes)) {
        char path[64], text[65536], name[2][40];
        const pid_t pid = (pid_t)atoi(e->d_name);
        snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
        FILE *file = pid > 0 ? fopen(path, "r") : NULL;
        if (!file) continue;
        size_t n = fread(text, 1, sizeof text - 1, file);
        fclose(file);
        text[n] = 0;
        const char *after = strrchr(text, ')');
        const pid_t father = after ? (pid_t)atoi(after + 3) : 0;
        if (!after || !strstr(text, "(dukd-host)") || father < 2) continue;
        snprintf(path, sizeof path, "/proc/%d/stat", (int)father);
        file = fopen(path, "r");
        int mine = father == parent;
        if (file) {
            n = fread(text, 1, sizeof text - 1, file);
            text[n] = 0;
            fclose(file);
            after = strrchr(text, ')');
            mine = mine || (after && (pid_t)atoi(after + 3) == parent);
        }
        snprintf(path, sizeof path, "/proc/%d/environ", (int)pid);
        file = mine ? fopen(path, "r") : NULL;
        if (!file) continue;
        n = fread(text, 1, sizeof text - 1, file);
        fclose(file);
        text[n] = 0;
        snprintf(name[0], sizeof name[0], "OMPI_COMM_WORLD_RANK=%d", rank);
        snprintf(name[1], sizeof name[1], "PMI_RANK=%d", rank);
        for (size_t at = 0; at < n; at += strlen(text + at) + 1)
            if (!strcmp(text + at, name[0]) || !strcmp(text + at, name[1])) found = pid;
    }
    closedir(processes);
    return found;
}

#define LONG_RUN                                                                                             \
    "train", "dukd.yml", "-q", ONE_THREAD, SET("train.total_iter=1000000"), SET("val.val_freq=1000000")

static void start_long(host_process *p) {
    const char *const args[] = {LONG_RUN, NULL};
    *p = (host_process){.ranks = 2};
    if (host_exists("experiments/dukd"))
        assert_int_equal(rename(data_path("experiments/dukd"), data_path("experiments/earlier")), 0);
    host_start(p, args);
    wait_for(p, MODEL("dukd", "net_g_20")); /* older states are removed, networks are not */
}

static void a_killed_rank_ends_the_run(void **state) {
    (void)state;
    NEEDS_RANKS();
    for (int rank = 1; rank >= 0; rank--) {
        host_process p;
        start_long(&p);
        const pid_t victim = find_rank(p.pid, rank);
        assert_true(victim > 1);
        assert_int_equal(kill(victim, SIGKILL), 0);
        assert_true(ends(&p) != 0);
        assert_non_null(strstr(host_load("experiments/dukd/run.json"), "\"status\": \"running\""));
    }
    RANKS(2, 2, LONG_RUN, "--resume", "--set", "train.total_iter=4"); /* what is there can be gone on from */
    assert_non_null(strstr(host_output(), "the state is of iteration"));
}

/* A signal to the launcher: everything is saved, and going on leads to the bits of a run that was never stopped. */
static void stopped_by(int signal_number) {
    host_process p;
    char last[64], iterations[64];
    start_long(&p);
    kill(p.pid, signal_number);
    assert_true(ends(&p) != 0);
    if (!strstr(host_output(), "everything is saved")) fail_msg("it said:\n%s", host_output());
    assert_non_null(strstr(host_load("experiments/dukd/run.json"), "\"status\": \"stopped\""));
    const int done = (int)host_json_number("experiments/dukd/run.json", "iterations");
    assert_true(done >= 15);
    snprintf(last, sizeof last, "experiments/dukd/training_states/%d.state", done + 5);
    snprintf(iterations, sizeof iterations, "train.total_iter=%d", done + 5);
    RANKS(2, 0, "train", "dukd.yml", "-q", ONE_THREAD, SET("val.val_freq=1000000"), "--resume", "--set",
          iterations);
    RANKS(2, 0, "train", "dukd.yml", "-q", ONE_THREAD, SET("val.val_freq=1000000"), SET("name=whole"),
          "--set", iterations);
    host_same_tensors("experiments/dukd/models/net_g_latest.safetensors",
                      "experiments/whole/models/net_g_latest.safetensors");
    assert_true(host_exists(last));
}

static void interrupted(void **state) {
    (void)state;
    NEEDS_RANKS();
    stopped_by(SIGINT);
}
static void terminated(void **state) {
    (void)state;
    NEEDS_RANKS();
    stopped_by(SIGTERM);
}
static void asked_by_sigusr1(void **state) {
    (void)state;
    NEEDS_RANKS();
    stopped_by(SIGUSR1);
}

/* Rank 0 cannot write, while rank 1 is computing: both end, by rank 0's message. */
static void a_rank_that_fails_is_not_waited_for(void **state) {
    (void)state;
    NEEDS_RANKS();
    host_process p;
    start_long(&p);
    assert_int_equal(rename(data_path("experiments/dukd/models"), data_path("experiments/dukd/gone")), 0);
    assert_int_equal(ends(&p), 1);
    if (!strstr(host_output(), "experiments/dukd/models")) fail_msg("it said:\n%s", host_output());
    assert_non_null(strstr(host_load("experiments/dukd/run.json"), "\"status\": \"failed\""));
}

/* ---------------------------------------------------------------- refused */

/* The last of two ranks is another; the run is refused with this text, and nothing is made. */
static void refused(const char *folder, const char *argument, const char *value, int status,
                    const char *text) {
    const char *const args[] = {"train", "scratch.yml", "-q", ONE_THREAD, NULL};
    host_process p = {.ranks = 2, .other_folder = folder, .other_arguments = {argument, value}};
    host_start(&p, args);
    assert_int_equal(ends(&p), status);
    if (!strstr(host_output(), text)) fail_msg("not '%s', but:\n%s", text, host_output());
    const char *said = strstr(host_output(), "dukd-host train:");
    assert_true(said && !strstr(said + 1, "dukd-host train:")); /* once */
    assert_false(host_exists("experiments/scratch"));
}

/* The scratch folder's files once more, for a rank that runs in `other/`. */
static void make_other(int images) {
    char name[64];
    data_text(data_path("other/scratch.yml"), strdup(host_load("scratch.yml")));
    for (int i = 0; i < images; i++) {
        snprintf(name, sizeof name, "other/train/t%d.png", i);
        data_png(data_path(name), 52 + 4 * i, 48, 8, (uint64_t)i + 1);
    }
    for (int i = 0; i < 3; i++) {
        snprintf(name, sizeof name, "other/val/v%d.png", i);
        data_png(data_path(name), 40, 36 + 2 * i, 8, (uint64_t)i + 10);
    }
}

static void other_ranks_are_refused(void **state) {
    (void)state;
    NEEDS_RANKS();
    refused(NULL, "--set", "train.optim_g.lr=0.5", 2,
            "rank 1: its options are not those of rank 0: 'lr: 0.5' here");
    refused(NULL, "--plugin", FITNETS_PLUGIN, 2, "the plugin: fitnets");
    refused(NULL, "--plugin", "nothing.so", 1, "rank 1: nothing.so: cannot be opened");
    make_other(2);
    refused("other", NULL, NULL, 2, "the training images: 2 images");
    make_other(3);
    data_png(data_path("other/train/t1.png"), 56, 48, 8, 77);
    refused("other", NULL, NULL, 2, "the training images: 3 images");
    make_other(3);
    data_png(data_path("other/val/v1.png"), 40, 38, 8, 77);
    refused("other", NULL, NULL, 2, "the validation images: 3 images");
    make_other(3); /* whose files are as those of rank 0 */
    const char *const args[] = {"train", "scratch.yml", "-q", ONE_THREAD, SET("train.total_iter=2"), NULL};
    host_process p = {.ranks = 2, .other_folder = "other"};
    host_start(&p, args);
    if (ends(&p) != 0) fail_msg("%s", host_output());
    assert_true(host_exists(STATE("scratch", "2")));
    assert_false(host_exists("other/experiments"));
}

/* A launcher without a module that reaches its processes: so many trainings of one folder are refused. */
static void a_launcher_without_mpi(void **state) {
    (void)state;
    setenv("OMPI_COMM_WORLD_SIZE", "2", 1);
    setenv("DUKD_MPI", "/nowhere/libdukd-mpi.so", 1);
    HOST(1, "train", "scratch.yml");
    assert_non_null(strstr(host_output(), "/nowhere/libdukd-mpi.so"));
    assert_non_null(strstr(host_output(), "Open MPI's mpirun has started several processes"));
    assert_false(host_exists("experiments/scratch"));
    setenv("OMPI_COMM_WORLD_SIZE", "1", 1);
    HOST(0, "train", "scratch.yml", "-q", SET("train.total_iter=1"));
    unsetenv("OMPI_COMM_WORLD_SIZE");
    unsetenv("DUKD_MPI");
}

/* A launcher of another MPI: the module knows of one process alone. */
static void a_launcher_of_another_mpi(void **state) {
    (void)state;
    NEEDS_RANKS();
    setenv("PMI_SIZE", "2", 1);
    setenv("PMI_RANK", "0", 1);
    setenv("OMPI_ALLOW_RUN_AS_ROOT", "1", 1);
    setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1", 1);
    const char *const args[] = {"train", "scratch.yml", NULL};
    host_process p = {0};
    host_start(&p, args);
    const int status = ends(&p);
    unsetenv("PMI_SIZE");
    unsetenv("PMI_RANK");
    assert_true(status != 0);
    assert_false(host_exists("experiments/scratch"));
    if (strstr(host_output(), "MPICH")) return; /* whose MPI_Init says it in its own words */
    if (!strstr(host_output(), "the launcher belongs to another MPI"))
        fail_msg("it said:\n%s", host_output());
}

/* test_train_ranks [NAME]: one of them alone, or those that a pattern with * fits. */
int main(int argc, char **argv) {
    if (argc > 1) cmocka_set_test_filter(argv[1]);
#define TEST(name) cmocka_unit_test_setup_teardown(name, host_setup, host_teardown)
    const struct CMUnitTest tests[] = {
        TEST(paper_mode),
        TEST(plain_descent),
        TEST(official_mode),
        TEST(drop_paths),
        TEST(micro_batches),
        TEST(a_trained_teacher),
        TEST(shared_weights),
        TEST(parameters_of_the_plugin),
        TEST(three_are_one),
        TEST(four_are_one),
        TEST(one_rank_is_none),
        TEST(the_same_bits_each_time),
        TEST(validation_is_shared),
        TEST(resumed_to_the_same_bits),
        TEST(resumed_by_other_ranks),
        TEST(a_killed_rank_ends_the_run),
        TEST(interrupted),
        TEST(terminated),
        TEST(asked_by_sigusr1),
        TEST(a_rank_that_fails_is_not_waited_for),
        TEST(other_ranks_are_refused),
        TEST(a_launcher_without_mpi),
        TEST(a_launcher_of_another_mpi),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
