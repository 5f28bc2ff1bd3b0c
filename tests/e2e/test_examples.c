/* Every option file of yaml/ trains: its sections, keys and values through host and plugin, its networks (made small), its
 * chain of files (teachers first, the x4 student from the x2 student). One iteration each, on made-up images. */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dukd_yaml.h"
#include "host_run.h"
#include "unit/data_fixture.h"

#define FOLDER DUKD_SOURCE_DIR "/yaml/"

enum { MAX_FILES = 96, MAX_ARGUMENTS = 40, ARGUMENT = 160 };

typedef struct {
    char path[512], name[128]; /* name: of the run */
    char type_g[16], type_t[16];
    int scale, is_teacher;
} example;

typedef struct {
    char text[MAX_ARGUMENTS][ARGUMENT];
    const char *list[MAX_ARGUMENTS + 1];
    int count;
} arguments;

static int setup(void **state) {
    if (host_setup(state)) return 1;
    for (int i = 0; i < 2; i++) {
        char name[64];
        snprintf(name, sizeof name, "hr/h%d.png", i);
        data_png(data_path(name), 100, 96, 8, (uint64_t)i + 20);
    }
    data_png(data_path("tests/v.png"), 96, 96, 8, 30);
    return 0;
}

static void add(arguments *a, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void add(arguments *a, const char *format, ...) {
    assert_true(a->count < MAX_ARGUMENTS);
    char *text = a->text[a->count];
    va_list args;
    va_start(args, format);
    assert_true(vsnprintf(text, ARGUMENT, format, args) < ARGUMENT);
    va_end(args);
    a->list[a->count++] = text;
    a->list[a->count] = NULL;
}

/* The same networks, small enough that an iteration takes milliseconds. */
static void add_network(arguments *a, const char *section, const char *type) {
    if (!strcmp(type, "SwinIR")) {
        add(a, "%s:embed_dim=12", section);
        add(a, "%s:depths=[2]", section);
        add(a, "%s:num_heads=[2]", section);
        return;
    }
    add(a, "%s:num_feat=4", section);
    add(a, "%s:num_block=1", section);
    if (strcmp(type, "RCAN") != 0) return;
    add(a, "%s:num_group=1", section);
    add(a, "%s:squeeze_factor=2", section);
}

/* LR patches of 16, which SwinIR's window divides; at x3 24, whose third it divides. */
static void add_data(arguments *a, const dukd_yaml *y, int scale) {
    const dukd_yaml_node *sets = dukd_yaml_find(dukd_yaml_root(y), "datasets");
    for (size_t i = 0; i < dukd_yaml_node_count(sets); i++) {
        const char *key = dukd_yaml_node_key(dukd_yaml_node_at(sets, i));
        const int train = !strcmp(key, "train");
        add(a, "datasets:%s:dataroot_gt=%s", key, train ? "hr" : "tests");
        add(a, "datasets:%s:dataroot_lq=none", key);
    }
    add(a, "datasets:train:gt_size=%d", (scale == 3 ? 24 : 16) * scale);
    add(a, "datasets:train:batch_size_per_gpu=2");
    add(a, "datasets:train:num_worker_per_gpu=1");
}

static const char *text_at(const dukd_yaml *y, const char *path) {
    const char *text = "";
    dukd_yaml_error e;
    if (!dukd_yaml_get_string(dukd_yaml_root(y), path, &text, &e)) fail_msg("%s", e.message);
    return text;
}

static dukd_yaml *open_file(const char *path) {
    dukd_yaml_error e = {0};
    dukd_yaml *y = dukd_yaml_read_file(path, &e);
    if (!y) fail_msg("%s", e.message);
    return y;
}

static int by_order(const void *a, const void *b) {
    const example *x = a, *y = b;
    if (x->is_teacher != y->is_teacher) return y->is_teacher - x->is_teacher;
    if (x->scale != y->scale) return x->scale - y->scale;
    return strcmp(x->path, y->path);
}

static int find_all(example *all) {
    static const char *const folders[] = {"demo", "table2", "table3", "table4"};
    int count = 0;
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        char folder[512];
        snprintf(folder, sizeof folder, FOLDER "%s", folders[i]);
        DIR *d = opendir(folder);
        assert_non_null(d);
        for (struct dirent *entry = readdir(d); entry; entry = readdir(d)) {
            const size_t size = strlen(entry->d_name);
            if (size < 4 || strcmp(entry->d_name + size - 4, ".yml") != 0) continue;
            assert_true(count < MAX_FILES);
            example *e = &all[count++];
            *e = (example){.is_teacher = !strncmp(entry->d_name, "teacher", 7)};
            assert_true(snprintf(e->path, sizeof e->path, "%s/%s", folder, entry->d_name) <
                        (int)sizeof e->path);
            dukd_yaml *y = open_file(e->path);
            snprintf(e->name, sizeof e->name, "%s", text_at(y, "name"));
            snprintf(e->type_g, sizeof e->type_g, "%s", text_at(y, "network_g.type"));
            snprintf(e->type_t, sizeof e->type_t, "%s", text_at(y, "network_t.type"));
            e->scale = atoi(text_at(y, "scale"));
            dukd_yaml_destroy(y);
        }
        closedir(d);
    }
    qsort(all, (size_t)count, sizeof *all, by_order);
    return count;
}

/* The run whose network is this file's teacher: named by its path, or, where the path is that of a published checkpoint, the
 * teacher that can be trained instead. */
static void teacher_of(const example *e, const char *path, char *out, size_t size) {
    static const char *const stems[][2] = {{"EDSR", "c256b32"}, {"RCAN", "c64b20g10"}, {"SwinIR", "c180s36"}};
    if (strncmp(path, "experiments/pretrained_models/", 30) != 0) {
        snprintf(out, size, "%s", path);
        return;
    }
    for (size_t i = 0; i < sizeof stems / sizeof *stems; i++)
        if (!strcmp(stems[i][0], e->type_t))
            snprintf(out, size, "experiments/%s_x%d%s/models/net_g_latest.safetensors", e->type_t, e->scale,
                     stems[i][1]);
}

static void train_one(const example *e) {
    arguments a = {0};
    char result[256], teacher[256];
    dukd_yaml *y = open_file(e->path);
    add(&a, "train");
    add(&a, "-q");
    a.list[a.count++] = e->path;
    add(&a, "--force_yml");
    add_network(&a, "network_g", e->type_g);
    add_data(&a, y, e->scale);
    if (e->type_t[0]) {
        add_network(&a, "network_t", e->type_t);
        teacher_of(e, text_at(y, "path.pretrain_network_t"), teacher, sizeof teacher);
        add(&a, "path:pretrain_network_t=%s", teacher);
    }
    /* of small networks the layers that are left */
    if (dukd_yaml_find(dukd_yaml_root(y), "train.feature_distillation"))
        add(&a, "train:feature_distillation:positions=[conv_first, 0, conv_after_body]");
    if (dukd_yaml_find(dukd_yaml_root(y), "train.fakd"))
        add(&a, "train:fakd:layers=[conv_first, 0, conv_after_body]");
    if (dukd_yaml_find(dukd_yaml_root(y),
                       "network_f")) { /* a part of its teacher, and features that need no file */
        add(&a, "network_g:num_feat=2");
        add(&a, "path:pretrain_network_f=none");
        add(&a, "path:random_network_f=true");
    }
    add(&a, "train:total_iter=1");
    dukd_yaml_destroy(y);
    host_run(0, a.list);
    snprintf(result, sizeof result, "experiments/%s/models/net_g_latest.safetensors", e->name);
    if (!host_exists(result)) fail_msg("%s: no %s", e->path, result);
}

static void every_file_trains(void **state) {
    (void)state;
    static example all[MAX_FILES];
    const int count = find_all(all);
    assert_int_equal(count, 4 + 39 + 6 + 11);
    for (int i = 0; i < count; i++) train_one(&all[i]);
}

/* As they are, every key is known, and the networks are those of the paper's tables. */
static void every_file_is_read(void **state) {
    (void)state;
    static example all[MAX_FILES];
    const int count = find_all(all);
    for (int i = 0; i < count; i++) {
        host_run(0, (const char *const[]){"info", all[i].path, "--no-speed", "--json", "-q", NULL});
        const char *said = host_output();
        if (strstr(all[i].path, "table2/") && all[i].scale == 4 && !all[i].is_teacher &&
            !strstr(all[i].path, "csd_rcan")) {
            const char *teacher = !strcmp(all[i].type_t, "EDSR")   ? "\"parameters\": 43089923"
                                  : !strcmp(all[i].type_t, "RCAN") ? "\"parameters\": 15592355"
                                                                   : "\"parameters\": 11900199";
            const char *student = !strcmp(all[i].type_g, "EDSR")   ? "\"parameters\": 2699267"
                                  : !strcmp(all[i].type_g, "RCAN") ? "\"parameters\": 5171315"
                                                                   : "\"parameters\": 1235439";
            if (!strstr(said, teacher) || !strstr(said, student)) fail_msg("%s: %s", all[i].path, said);
        }
    }
    assert_int_equal(count, 4 + 39 + 6 + 11);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_file_is_read, setup, host_teardown),
        cmocka_unit_test_setup_teardown(every_file_trains, setup, host_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
