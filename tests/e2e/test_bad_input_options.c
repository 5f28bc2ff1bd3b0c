/* Option files: wrong types, ranges and keys, files that are none; each is refused at its place before anything is made. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "host_run.h"
#include "test_bad_input_run.h"
#include "unit/data_fixture.h"
#include "unit/image_fixture.h"

/* dukd.yml as bad.yml with `find` replaced; an '@' in `replace` is taken out and says where the error lies, as
 * "bad.yml:LINE:COLUMN". */
static void edit(const char *find, const char *replace, char *place, size_t size) {
    char text[8192];
    const char *old = host_load("dukd.yml"), *at = strstr(old, find);
    if (!at) fail_msg("dukd.yml does not hold '%s'", find);
    snprintf(text, sizeof text, "%.*s%s%s", (int)(at - old), old, replace, at + strlen(find));
    char *mark = strchr(text, '@');
    assert_non_null(mark);
    memmove(mark, mark + 1, strlen(mark));
    int line = 1, column = 1;
    for (const char *p = text; p < mark; p++) {
        column = *p == '\n' ? 1 : column + 1;
        line += *p == '\n';
    }
    snprintf(place, size, "bad.yml:%d:%d: ", line, column);
    data_text(data_path("bad.yml"), text);
}

typedef struct {
    const char *find, *replace, *part, *part2;
} edit_case;

static void refuse_edits(const edit_case *cases, size_t count, const char *line) {
    for (size_t i = 0; i < count; i++) {
        char place[64];
        edit(cases[i].find, cases[i].replace, place, sizeof place);
        REFUSED(2, line, place, cases[i].part, cases[i].part2);
    }
}
#define REFUSE_EDITS(cases, line) refuse_edits(cases, sizeof(cases) / sizeof *(cases), line)

static void keys(void **state) {
    (void)state;
    static const edit_case cases[] = {
        {"gt_size: 32", "@gt_sise: 32", "unknown option datasets.train.gt_sise", "datasets.train.gt_size?"},
        {"  ema_decay", "  @w_kdd: 1\n  ema_decay", "unknown option train.w_kdd", "train.w_kd?"},
        {"\ntrain:", "\n@trian:", "unknown option trian", "train?"},
        {"num_threads", "@num_thread", "unknown option", "num_threads?"},
        {"total_iter: 24", "total_iter: 24\n  @precision: f32", "train.precision", "move it there"},
        {"gt_size: 32", "gt_size: 32\n    @gt_size: 48", "\"gt_size\"", "a second time"},
        {"scale: 2\n", "scale: 2\n@scale: 3\n", "\"scale\"", "a second time"},
        {"type: EDSR", "type: @EDRS", "EDRS", "'EDSR'?"},
        {"num_feat: 4", "num_feet: @4", "num_feet", "'num_feat'?"},
    };
    REFUSE_EDITS(cases, "train bad.yml");
}

static void types(void **state) {
    (void)state;
    static const edit_case cases[] = {
        {"gt_size: 32", "gt_size: @\"a lot\"", "datasets.train.gt_size", "expected an integer"},
        {"gt_size: 32", "gt_size: @[1, 2]", "datasets.train.gt_size", "a list of 2"},
        {"gt_size: 32", "gt_size: @{a: 1}", "datasets.train.gt_size", "a section"},
        {"gt_size: 32", "gt_size: @~", "datasets.train.gt_size", "missing"},
        {"gt_size: 32", "gt_size: @32.5", "datasets.train.gt_size", "32.5"},
        {"scale: 2\n", "scale: @two\n", "scale", "expected an integer"},
        {"name: dukd", "name: @[a]", "name", "expected a text"},
        {"lr: !!float 1e-3", "lr: @fast", "train.optim_g.lr", "expected a number"},
        {"lr: !!float 1e-3", "lr: @.nan", "train.optim_g.lr", ".nan"},
        {"milestones: [15]", "milestones: @15", "train.scheduler.milestones", "a list"},
        {"milestones: [15]", "milestones: [@x]", "train.scheduler.milestones", "\"x\""},
        {"use_tb_logger: true", "use_tb_logger: @maybe", "logger.use_tb_logger", "maybe"},
        {"\ndatasets:", "\ndatasets: @3\nx:", "datasets", "a section"},
    };
    REFUSE_EDITS(cases, "train bad.yml");
}

static void ranges(void **state) {
    (void)state;
    static const edit_case cases[] = {
        {"gt_size: 32", "gt_size: @99999999999999999999", "datasets.train.gt_size", "8192"},
        {"gt_size: 32", "gt_size: @33", "datasets.train.gt_size", "no multiple of scale 2"},
        {"batch_size_per_gpu: 2", "batch_size_per_gpu: @2000000000", "batch_size_per_gpu", "4096"},
        {"num_worker_per_gpu: 1", "num_worker_per_gpu: @100000", "num_worker_per_gpu", "256"},
        {"scale: 2\n", "scale: @9\n", "scale", "2 to 8"},
        {"num_threads: 2", "num_threads: @9999", "num_threads", "1024"},
        {"num_threads: 2", "num_threads: @-1", "num_threads", "-1"},
        {"num_threads: 2", "num_threads: 2\nprecision: @fp16", "precision", "f32, bf16"},
        {"num_threads: 2", "num_threads: 2\nengine: @cudnn", "engine", "cudnn"},
        {"num_threads: 2", "num_threads: 2\nengine: @cuda", "engine", "no CUDA engine at 'none'"},
        {"num_threads: 2", "num_threads: 2\nbackend: @cuda", "backend", "no CUDA engine at 'none'"},
        {"num_threads: 2", "num_threads: 2\nengine: onednn\nbackend: @cuda", "backend", "set engine: cuda"},
        {"num_threads: 2", "num_threads: 2\ntf32: @often", "tf32", "true or false"},
        {"num_threads: 2", "num_threads: 2\ndevice: @-1", "device", "-1"},
        {"lr: !!float 1e-3", "lr: @-1", "train.optim_g.lr", "-1"},
        {"lr: !!float 1e-3", "lr: @1e30", "train.optim_g.lr", "1000000"},
        {"type: Adam", "type: @Adem", "train.optim_g.type", "Adam"},
        {"type: MultiStepLR", "type: @StepLR", "train.scheduler.type", "MultiStepLR"},
        {"ema_decay: 0.9", "ema_decay: @1.9", "train.ema_decay", "1.9"},
        {"total_iter: 24", "total_iter: @-3", "train.total_iter", "-3"},
        {"val_freq: 8", "val_freq: @0", "val.val_freq", "from 1"},
        {"print_freq: 3", "print_freq: @0", "logger.print_freq", "from 1"},
        {"num_feat: 4", "num_feat: @400000000", "num_feat", "1 to 1024"},
        {"num_in_ch: 3", "num_in_ch: @1", "num_in_ch", "must be 3"},
        {"upscale: 2", "upscale: @3", "network_g.upscale", "scale is 2"},
        {"name: dukd", "name: @../up", "name", "folder"},
        {"name: dukd", "name: @''", "name", "folder"},
        {"  ema_decay", "  w_kd: @-1\n  ema_decay", "train.w_kd", "'-1'"}, /* the plugin's own */
        {"  ema_decay", "  mode: @papier\n  ema_decay", "train.mode", "papier"},
    };
    REFUSE_EDITS(cases, "train bad.yml");
}

/* Options that are right by themselves, and that the plugin cannot do together: no other words, but other options. */
static void combinations(void **state) {
    (void)state;
    static const bad_case cases[] = {
        {2,
         "train dukd.yml --set model_type=DUKD --set train.pixel_opt.type=L1Loss --set "
         "train.kd_opt.type=L1Loss --set train.micro_batches=2",
         "--set argument 4:1:21: train.micro_batches: official mode", "use one", NULL},
        {2, "train dukd.yml --set train.w_kd=0 --set train.mode=official",
         "--set argument 1:1:12: train.w_kd", "train.mode: official", NULL},
        {2, "train dukd.yml --set backend=cuda",
         "--set argument 1:1:9: backend: ", "no CUDA engine at 'none'", NULL},
        {2, "preview dukd.yml -o p.png --set backend=cuda",
         "--set argument 1:1:9: backend: ", "no CUDA engine at 'none'", NULL},
        {2,
         "train dukd.yml --set model_type=DUKD --set train.kd_opt.type=L1Loss --set "
         "train.pixel_opt.type=L1Loss --set train.dukd_opt.zoom_out=true --set datasets.train.gt_size=30",
         "dukd.yml: ", "15 x 15", "train.dukd_opt.zoom_out"},
    };
    REFUSED_ALL(cases);
}

/* A student that works in windows of 8: patches that they do not divide, and patches that zoom out makes so. */
static void windows(void **state) {
    (void)state;
    static const char swinir[] = "network_g: {type: SwinIR, upscale: 2, in_chans: 3, img_size: 16, "
                                 "window_size: 8, img_range: 1., depths: "
                                 "[2], embed_dim: 12, num_heads: [2], mlp_ratio: 2, upsampler: "
                                 "pixelshuffledirect, resi_connection: 1conv}";
    char text[8192];
    const char *old = host_load("dukd.yml"), *at = strstr(old, "network_g:");
    assert_non_null(at);
    snprintf(text, sizeof text, "%.*s%s%s", (int)(at - old), old, swinir, strchr(at, '\n'));
    data_text(data_path("windows.yml"), text);
    static const bad_case cases[] = {
        {2, "train windows.yml --set datasets.train.gt_size=24", "windows.yml: the student cannot compute",
         "12 x 12 does not fit this network's windows", "multiples of 8, such as 8 x 8 or 16 x 16"},
        {2, "train windows.yml --set datasets.train.gt_size=16", "batches of 8 x 8", "an image of 4 x 4",
         "or switch zoom out off"},
    };
    REFUSED_ALL(cases);
    bad_now.may_leave = "experiments";
    bad_done("train windows.yml --set datasets.train.gt_size=32 --set train.total_iter=1");
}

/* The same reader stands behind every command that takes an option file. */
static void other_commands(void **state) {
    (void)state;
    static const edit_case cases[] = {
        {"gt_size: 32", "@gt_sise: 32", "gt_sise", "datasets.train.gt_size?"},
        {"gt_size: 32", "gt_size: @\"a lot\"", "datasets.train.gt_size", "expected an integer"},
        {"scale: 2\n", "scale: 2\n@scale: 3\n", "\"scale\"", "a second time"},
        {"num_feat: 4", "num_feat: @0", "num_feat", "1 to 1024"},
    };
    static const edit_case engine[] = {
        {"num_threads: 2", "num_threads: 2\nengine: @cudnn", "engine", "cudnn"}};
    REFUSE_EDITS(cases, "test bad.yml -w net.safetensors");
    REFUSE_EDITS(cases, "preview bad.yml -o p.png");
    REFUSE_EDITS(cases, "info bad.yml --no-speed");
    REFUSE_EDITS(cases, "upscale val -m net.safetensors -o up --opt bad.yml");
    REFUSE_EDITS(engine, "test bad.yml -w net.safetensors");
    REFUSE_EDITS(engine, "preview bad.yml -o p.png");
    REFUSE_EDITS(engine, "info bad.yml");
}

static void missing_sections(void **state) {
    (void)state;
    static const bad_case cases[] = {
        {2, "train dukd.yml --set network_g=~", "dukd.yml", "network_g is missing", NULL},
        {2, "train dukd.yml --set datasets.train=~", "dukd.yml", "datasets.train", NULL},
        {2, "train dukd.yml --set scale=~", "scale", "missing", NULL},
        {2, "train dukd.yml --set datasets.train.dataroot_gt=~", "datasets.train.dataroot_gt", "missing",
         NULL},
        /* knowledge distillation without somebody who knows */
        {2, "train dukd.yml --set network_t=~", "network_t is missing", "pretrain_network_t", NULL},
        {2, "train dukd.yml --set network_t=~ --set path=~", "dukd.yml", "\"teacher\"", "network_t"},
        {2, "preview dukd.yml --set network_t=~ --set path=~", "dukd.yml", "\"teacher\"", "network_t"},
        {2, "train dukd.yml --set path.pretrain_network_t=~", "path.pretrain_network_t is missing", "teacher",
         NULL},
        {2, "train dukd.yml --set model_type=SRModel", "dukd.yml", "train.pixel_opt", NULL},
        {2, "test scratch.yml", "scratch.yml", "path.pretrain_network_g", "--weights"},
        {2, "test scratch.yml -w net.safetensors --set datasets.val=~", "scratch.yml", "datasets.", NULL},
        {2, "upscale val --opt scratch.yml -o up", "path.pretrain_network_g", "-m NET", NULL},
        {2, "preview dukd.yml --set datasets.train=~", "datasets.train", NULL, NULL},
        {2, "preview dukd.yml --set network_g=~", "network_g", NULL, NULL},
        {2, "info dukd.yml --set network_g=~ --set network_t=~ --set path=~", "network_g", "network_t", NULL},
    };
    REFUSED_ALL(cases);
}

static void overrides(void **state) {
    (void)state;
    static const bad_case cases[] = {
        {2, "train scratch.yml --set train.w_kdd=3", "--set", "train.w_kdd", "train.w_kd?"},
        {2, "train scratch.yml --set foo", "--set", "\"foo\"", "path.key=value"},
        {2, "train scratch.yml --set =3", "--set", "path.key=value", NULL},
        {2, "train scratch.yml --set train..x=3", "--set", "1:1:7", "empty"},
        {2, "train scratch.yml --set train=3", "--set", "train", "section"},
        {2, "train scratch.yml --set 'train.optim_g.lr=[1'", "--set", "not valid YAML", NULL},
        {2, "train scratch.yml --set name=a --set scale=x", "--set argument 2:1:7", "scale", NULL},
        {2, "train scratch.yml --force_yml train:totl_iter=10", "--force_yml", "train.totl_iter",
         "train.total_iter?"},
        {2,
         "test scratch.yml -w net.safetensors --set val.metrics.psnr.type=calculate_psnr --set "
         "val.metrics.psnr.crop_border=-1",
         "--set argument 2:1:", "val.metrics.psnr.crop_border", "-1"},
        {2, "test scratch.yml -w net.safetensors --set crop_bodrer=2", "--set", "unknown option crop_bodrer",
         "crop_border?"},
        {2, "info scratch.yml --set network_g.num_feet=3", "--set", "num_feet", "'num_feat'?"},
        {2, "preview dukd.yml --set train.w_kd=-1 -o p.png", "--set", "train.w_kd", NULL},
    };
    REFUSED_ALL(cases);
}

static void no_option_files(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int bytes; /* 0: all */
        const char *part, *part2;
    } files[] = {
        {"", 0, "bad.yml:1:1", "empty"},
        {"# nothing\n", 0, "bad.yml", "empty"},
        {"abc\n", 0, "bad.yml:1:1", "key: value"},
        {"- a\n- b\n", 0, "bad.yml:1:1", "key: value"},
        {"scale: 2\na: [1\n", 0, "bad.yml:3:1", "not valid YAML"},
        {"name: \"x\n", 0, "bad.yml:2:1", "quote"},
        {"a:\n\tb: 1\n", 0, "bad.yml:2:1", "spaces"},
        {"a: 1\n---\nb: 2\n", 0, "bad.yml:2:1", "second document"},
        {"a: *y\n", 0, "bad.yml:1:4", "&y"},
        {"a: \xff\n", 0, "bad.yml:1:4", "UTF-8"},
        {"a: 1\0\n", 6, "bad.yml:1:5", "control character"},
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        fixture_save(data_path("bad.yml"), files[i].text,
                     files[i].bytes ? (size_t)files[i].bytes : strlen(files[i].text));
        REFUSED(2, "train bad.yml", files[i].part, files[i].part2);
        REFUSED(2, "info bad.yml --no-speed", files[i].part, files[i].part2);
    }
    bad_copy("dukd.yml", "bad.yml", 3 << 20);
    REFUSED(2, "train bad.yml", "bad.yml", "1048576");
    static const bad_case cases[] = {
        {1, "train nosuch.yml", "nosuch.yml", "No such file", NULL},
        {1, "test nosuch.yml", "nosuch.yml", NULL, NULL},
        {1, "preview nosuch.yml", "nosuch.yml", NULL, NULL},
        {1, "info nosuch.yml", "nosuch.yml", NULL, NULL},
        {1, "upscale val -m net.safetensors -o up --opt nosuch.yml", "nosuch.yml", NULL, NULL},
        {1, "train val", "val", "directory", NULL},
        {2, "train net.safetensors", "net.safetensors:", NULL, NULL},
        {2, "test val/v0.png -w net.safetensors", "val/v0.png:", NULL, NULL},
    };
    REFUSED_ALL(cases);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        BAD_TEST(keys),
        BAD_TEST(types),
        BAD_TEST(ranges),
        BAD_TEST(combinations),
        BAD_TEST(windows),
        BAD_TEST(other_commands),
        BAD_TEST(overrides),
        BAD_TEST(missing_sections),
        BAD_TEST(no_option_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
