/* The option table, what is read from option files, what options mean together, and every message about them.
 * Through the ABI wherever a session can tell. */
#include <locale.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "config.h"
#include "options.h"
#include "session_fixture.h"

/* ---------------------------------------------------------------- the table */

static void the_table_describes_itself(void **state) {
    (void)state;
    const dukd_plugin_info *info = dukd_get_plugin_draft(DUKD_ABI_DRAFT)->get_info();
    assert_int_equal(info->struct_size, DUKD_PLUGIN_INFO_SIZE);
    assert_string_equal(info->name, "dukd");
    assert_int_equal(info->n_options, DUKD_OPT_COUNT);
    assert_int_equal(info->n_losses, 5);
    assert_int_equal(info->n_backends, 2);
    assert_true(strlen(info->version) > 0 && strlen(info->build) > 0);
    for (uint32_t i = 0; i < info->n_losses; i++) {
        assert_int_equal(info->losses[i]->struct_size, DUKD_LOSS_INFO_SIZE);
        assert_true(strlen(info->losses[i]->name) > 0 && strlen(info->losses[i]->help) > 0);
    }
    for (uint32_t i = 0; i < info->n_options; i++) {
        const dukd_option_info *o = info->options[i];
        const uint32_t type = o->type & ~DUKD_OPTION_LIST;
        assert_int_equal(o->struct_size, DUKD_OPTION_INFO_SIZE);
        assert_true(type >= DUKD_OPTION_BOOL && type <= DUKD_OPTION_STRING);
        assert_true(strlen(o->name) > 0 && strlen(o->help) > 10);
        assert_null(strchr(o->help, '\n'));
        assert_true((o->n_choices > 0) == (o->choices != NULL));
        if (o->n_choices > 0) assert_true(type == DUKD_OPTION_STRING);
        if (type == DUKD_OPTION_STRING && o->n_choices == 0) assert_true(strstr(o->help, "ayers") != NULL);
        assert_true((type == DUKD_OPTION_INT || type == DUKD_OPTION_FLOAT) ==
                    (isfinite(o->min) && isfinite(o->max)));
        assert_true(o->min < o->max);
        for (uint32_t k = 0; k < i; k++) assert_string_not_equal(o->name, info->options[k]->name);
    }
}

static void the_defaults_are_the_papers(void **state) {
    (void)state;
    dukd_options options;
    dukd_config c;
    assert_int_equal(dukd_options_read(&options, NULL, 0, NULL), DUKD_OK);
    assert_int_equal(dukd_config_resolve(&c, &options, 4, NULL), DUKD_OK);
    assert_int_equal(c.mode, DUKD_MODE_PAPER);
    assert_true(c.w_rec == 1 && c.w_kd == 1 && c.w_dukd == 1);
    assert_int_equal(c.crop, DUKD_CROP_RANDOM);
    assert_int_equal(c.crops, 1);
    assert_true(c.zoom_out);
    assert_true(c.p_flip_w == 0.3 && c.p_flip_h == 0.3 && c.p_turn == 0.3 && c.p_invert == 0.3);
    assert_false(c.teacher_train);
    assert_int_equal(c.backend, DUKD_BACKEND_AUTO);
    for (int id = 0; id < DUKD_OPT_COUNT; id++) {
        assert_null(options.value[id].given);
        assert_true((options.value[id].n > 0) == (dukd_option_infos[id]->default_text != NULL));
    }
}

/* ---------------------------------------------------------------- what the session says */

static void opens(const char *const *options) {
    fixture f;
    fixture_init(&f);
    fixture_must_open(&f, options);
    fixture_close(&f);
}

/* The last of `parts` is NULL. */
static void refuses(int32_t code, const char *const *options, const char *const *parts) {
    fixture f;
    fixture_init(&f);
    const int32_t status = fixture_open(&f, options);
    if (status != code) fail_msg("%s: returned %d (%s)", options[0], status, f.error.message);
    assert_int_equal(f.error.code, code);
    assert_null(f.session);
    fixture_expect_message(&f, parts);
    fixture_close(&f);
}
#define REFUSES(options, ...) refuses(DUKD_E_OPTION, options, (const char *const[]){__VA_ARGS__, NULL})

static void the_log_shows(const char *const *options, const char *text) {
    fixture f;
    fixture_init(&f);
    fixture_must_open(&f, options);
    if (strstr(f.log, text) == NULL) fail_msg("\"%s\" is not in the log:\n%s", text, f.log);
    fixture_close(&f);
}

static void values_are_read_as_yaml_has_them(void **state) {
    (void)state;
    the_log_shows(OPTIONS("train.w_kd=0.5"), "weight of kd = 0.5;");
    the_log_shows(OPTIONS("train.w_kd=1e-4"), "weight of kd = 0.0001");
    the_log_shows(OPTIONS("train.w_kd=5."), "weight of kd = 5;");
    the_log_shows(OPTIONS("train.w_kd=+.25"), "weight of kd = 0.25;");
    the_log_shows(OPTIONS("train.zoom_in_count=3"), "zoom in count = 3;");
    const char *const falses[] = {"train.zoom_out=false", "train.zoom_out=False", "train.zoom_out=no",
                                  "train.zoom_out=OFF"};
    const char *const trues[] = {"train.zoom_out=true", "train.zoom_out=TRUE", "train.zoom_out=Yes",
                                 "train.zoom_out=on"};
    for (int i = 0; i < 4; i++) {
        the_log_shows(OPTIONS(falses[i]), "zoom out = false;");
        the_log_shows(OPTIONS(trues[i]), "zoom out = true;");
    }
    the_log_shows(OPTIONS("train.terms=kd"),
                  "weight of rec = 0; weight of kd = 1; weight of dukd = 0;"); /* a list of one */
    the_log_shows(OPTIONS("train.terms=[dukd, rec]"),
                  "weight of rec = 1; weight of kd = 0; weight of dukd = 1;");
    the_log_shows(OPTIONS("train.w_kd=~", "train.zoom_in=~"), "weight of kd = 1;"); /* null: not given */
}

static void wrong_values_are_refused_with_place_found_and_expected(void **state) {
    (void)state;
    REFUSES(OPTIONS("train.w_kd=abc"),
            "opt.yml:1:3: train.w_kd: found 'abc', expected a number of 0 or more");
    REFUSES(OPTIONS("train.w_rec=1", "train.w_kd=-1"),
            "opt.yml:2:3: train.w_kd: found '-1', expected a number of 0 or more");
    REFUSES(OPTIONS("train.w_kd=nan"), "found 'nan'");
    REFUSES(OPTIONS("train.w_kd=inf"), "found 'inf'");
    REFUSES(OPTIONS("train.w_kd=1e999"), "found '1e999'");
    REFUSES(OPTIONS("train.w_kd=0x10"), "found '0x10'");
    REFUSES(OPTIONS("train.w_kd=1,5"), "found '1,5'");
    REFUSES(OPTIONS("train.w_kd=1 "), "found '1 '");
    REFUSES(OPTIONS("train.w_kd="), "found ''");
    REFUSES(OPTIONS("train.w_kd=[1, 2]"), "train.w_kd: found a list, expected a number of 0 or more");
    REFUSES(OPTIONS("train.augment.hflip=1.01"), "found '1.01', expected a number from 0 to 1");
    REFUSES(OPTIONS("train.zoom_in_count=1.5"), "found '1.5', expected a whole number from 1 to 1024");
    REFUSES(OPTIONS("train.zoom_in_count=0"), "found '0', expected a whole number from 1 to 1024");
    REFUSES(OPTIONS("train.zoom_out=2"), "found '2', expected true or false");
    REFUSES(OPTIONS("train.zoom_in=Random"), "found 'Random', expected one of random, grid, hardest, none");
    REFUSES(OPTIONS("train.terms=[rec, fitnet]"),
            "found 'fitnet', expected a list, each one of rec, kd, dukd, fakd, csd");
    REFUSES(OPTIONS("train.terms=[rec, kd, rec]"), "found 'rec', expected", "none twice");
    REFUSES(OPTIONS("train.terms=[]"), "found an empty list");
    REFUSES(OPTIONS("model_type=DUKD", "train.kd_opt.type=L1Loss", "train.dukd_opt.n_gt_sub=[0]"),
            "opt.yml:3:3", "found '0'");
    REFUSES(OPTIONS("model_type=SRModel", "train.pixel_opt.type=MSELoss"),
            "found 'MSELoss', expected L1Loss");
    REFUSES(OPTIONS("model_type=SRModel", "train.pixel_opt.reduction=sum"), "found 'sum', expected mean");
    REFUSES(OPTIONS("model_type=FitNet"),
            "found 'FitNet', expected one of DUKDPlugin, DUKD, BaseKD, SRModel, FAKD");
    REFUSES(OPTIONS("backend=tpu"), "found 'tpu', expected one of auto, cpu, cuda");
}

static void unknown_keys_name_the_nearest(void **state) {
    (void)state;
    REFUSES(OPTIONS("train.zoom_inn=grid"), "opt.yml:1:3: unknown option train.zoom_inn",
            "train.zoom_in meant");
    REFUSES(OPTIONS("train.w_duk=1"), "train.w_dukd meant");
    REFUSES(OPTIONS("train.zomo_out=true"), "train.zoom_out meant");
    REFUSES(OPTIONS("train.hflip=0.5"),
            "train.augment.hflip meant"); /* the right word in the wrong section */
    REFUSES(OPTIONS("modle_type=DUKD"), "model_type meant");
    REFUSES(OPTIONS("train.optim_g.lr=1"), "unknown option train.optim_g.lr", "none");
    REFUSES(OPTIONS("x=1"), "unknown option x", "none");
    REFUSES(
        OPTIONS("train.kd_opt.perceptual_weight_of_the_teacher_that_is_longer_than_any_name_of_the_table=1"),
        "unknown option", "none");
    REFUSES(OPTIONS("train.noisy=0.3"), "train.noisy is a section", "train.noisy.prob");
    REFUSES(OPTIONS("train.noisyy=~"), "unknown option train.noisyy"); /* a null is no excuse */
}

static void an_option_given_twice_is_refused(void **state) {
    (void)state;
    REFUSES(OPTIONS("train.w_kd=1", "train.w_rec=1", "train.w_kd=2"),
            "opt.yml:3:3: train.w_kd is given twice", "opt.yml:1:3");
    REFUSES(OPTIONS("train.w_kd=~", "train.w_kd=2"), "given twice");
}

#define OFFICIAL "model_type=DUKD", "train.pixel_opt.type=L1Loss", "train.kd_opt.type=L1Loss"

static void the_mode_follows_from_model_type_and_mode(void **state) {
    (void)state;
    the_log_shows(OPTIONS("model_type=DUKDPlugin"), "mode = paper mode");
    the_log_shows(OPTIONS("model_type=DUKD", "train.mode=paper"), "mode = paper mode");
    the_log_shows(OPTIONS(OFFICIAL), "mode = official mode");
    the_log_shows(OPTIONS("train.mode=official", "train.kd_opt.type=L1Loss"), "mode = official mode");
    the_log_shows(OPTIONS(OFFICIAL, "train.mode=official"), "mode = official mode");
    the_log_shows(OPTIONS("model_type=BaseKD", "train.kd_opt.type=L1Loss"), "mode = BaseKD");
    the_log_shows(OPTIONS("model_type=SRModel", "train.pixel_opt.type=L1Loss"), "mode = SRModel");
}

static void options_of_another_mode_are_refused_naming_both(void **state) {
    (void)state;
    REFUSES(OPTIONS(OFFICIAL, "train.w_kd=1"),
            "opt.yml:4:3: train.w_kd does not go together with model_type: DUKD", "official mode");
    REFUSES(OPTIONS("train.mode=official", "train.kd_opt.type=L1Loss", "train.zoom_in=grid"),
            "train.zoom_in does not go together with train.mode: official");
    REFUSES(OPTIONS(OFFICIAL, "train.augment.hflip=0"), "train.augment.hflip does not go together");
    REFUSES(OPTIONS(OFFICIAL, "train.zoom_out=true"), "train.zoom_out does not go together");
    REFUSES(OPTIONS("train.noisy.prob=0.3"),
            "train.noisy.prob does not go together with model_type: DUKDPlugin", "paper mode");
    REFUSES(OPTIONS("model_type=DUKD", "train.mode=paper", "train.pixel_opt.type=L1Loss"),
            "train.pixel_opt.type does not go together with train.mode: paper");
    REFUSES(OPTIONS("train.dukd_opt.n_gt_sub=[1]"), "train.dukd_opt.n_gt_sub does not go together");
    REFUSES(OPTIONS("model_type=BaseKD", "train.kd_opt.type=L1Loss", "train.mode=official"),
            "train.mode does not go together with model_type: BaseKD");
    REFUSES(OPTIONS("model_type=BaseKD", "train.kd_opt.type=L1Loss", "train.dukd_opt.zoom_out=true"),
            "BaseKD");
    REFUSES(OPTIONS("model_type=SRModel", "train.pixel_opt.type=L1Loss", "train.kd_opt.type=L1Loss"),
            "train.kd_opt.type does not go together with model_type: SRModel");
    REFUSES(OPTIONS("model_type=SRModel", "train.pixel_opt.type=L1Loss", "train.teacher_mode=eval"),
            "SRModel");
    /* a null one is no option */
    opens(OPTIONS(OFFICIAL, "train.w_kd=~"));
    opens(OPTIONS("train.noisy=~", "train.pixel_opt=~"));
}

static void missing_sections_are_named(void **state) {
    (void)state;
    REFUSES(OPTIONS("model_type=DUKD", "train.pixel_opt.type=L1Loss"), "train.kd_opt is missing",
            "official mode", "model_type: DUKD");
    REFUSES(OPTIONS("train.mode=official"), "train.kd_opt is missing", "train.mode: official");
    REFUSES(OPTIONS("model_type=DUKD", "train.kd_opt=~"), "train.kd_opt is missing");
    REFUSES(OPTIONS("model_type=DUKD", "train.kd_opt.type=L1Loss", "train.dukd_opt.zoom_out=true"),
            "opt.yml:3:3", "train.dukd_opt.zoom_out needs train.pixel_opt");
    REFUSES(OPTIONS("model_type=SRModel"), "train.pixel_opt is missing", "SRModel");
    REFUSES(OPTIONS("model_type=BaseKD"), "train.pixel_opt and train.kd_opt are missing", "BaseKD");
    REFUSES(OPTIONS("model_type=SRModel", "train.pixel_opt.loss_weight=2"),
            "opt.yml:2:3: train.pixel_opt.type is missing", "train.pixel_opt.type: L1Loss");
    REFUSES(OPTIONS("model_type=BaseKD", "train.kd_opt.reduction=mean"), "train.kd_opt.type is missing");
    opens(
        OPTIONS("model_type=DUKD", "train.kd_opt.type=L1Loss")); /* as released: no pixel loss, no zoom out */
}

static void options_that_leave_no_loss_are_refused(void **state) {
    (void)state;
    REFUSES(OPTIONS("train.w_rec=0", "train.w_kd=0", "train.w_dukd=0"), "no term of the loss is left");
    REFUSES(OPTIONS("train.terms=[dukd]", "train.zoom_in=none", "train.zoom_out=false"), "opt.yml:1:3",
            "no term of the loss is left");
    REFUSES(OPTIONS("train.terms=[kd]", "train.w_kd=0"), "no term of the loss is left");
    REFUSES(OPTIONS("model_type=SRModel", "train.pixel_opt.type=L1Loss", "train.pixel_opt.loss_weight=0"),
            "leaves no loss");
    REFUSES(OPTIONS("model_type=BaseKD", "train.kd_opt.type=L1Loss", "train.kd_opt.loss_weight=0"),
            "leave no loss");
    REFUSES(OPTIONS(OFFICIAL, "train.kd_opt.loss_weight=0"), "opt.yml:4:3",
            "the second step of official mode without a loss");
    REFUSES(OPTIONS(OFFICIAL, "train.kd_opt.loss_weight=0", "train.pixel_opt.loss_weight=0",
                    "train.dukd_opt.zoom_out=true"),
            "leaves official mode without a loss");
    opens(OPTIONS(OFFICIAL, "train.kd_opt.loss_weight=0", "train.dukd_opt.zoom_out=true"));
}

static void counts_fit_the_rule_and_the_scale(void **state) {
    (void)state;
    REFUSES(OPTIONS("train.zoom_in=hardest", "train.zoom_in_count=2"),
            "opt.yml:2:3: train.zoom_in_count: found 2", "hardest");
    REFUSES(OPTIONS("train.zoom_in=grid", "train.zoom_in_count=5"), "found 5", "2 x 2 tiles at scale 2");
    opens(OPTIONS("train.zoom_in=grid", "train.zoom_in_count=4"));
    opens(OPTIONS("train.zoom_in_count=5"));
    REFUSES(OPTIONS(OFFICIAL, "train.dukd_opt.n_gt_sub=[5]"), "train.dukd_opt.n_gt_sub: found 5",
            "2 x 2 tiles at scale 2");
    opens(OPTIONS(OFFICIAL, "train.dukd_opt.n_gt_sub=[4]"));
    the_log_shows(OPTIONS(OFFICIAL, "train.dukd_opt.n_gt_sub=[2, 1]"),
                  "warning: dukd: only the first number");
}

static void the_noisy_section_means_what_the_released_code_reads(void **state) {
    (void)state;
    the_log_shows(OPTIONS(OFFICIAL), "transpose = 0;");
    the_log_shows(OPTIONS(OFFICIAL, "train.noisy=~"), "transpose = 0;");
    the_log_shows(OPTIONS(OFFICIAL, "train.noisy.prob=0.25"), "transpose = 0.25;");
    the_log_shows(OPTIONS(OFFICIAL, "train.noisy.prob=~"),
                  "transpose = 0.3"); /* a section that is not empty */
    the_log_shows(OPTIONS(OFFICIAL, "train.noisy.prob=0.25"),
                  "does not undo a transpose with exactly one flip");
}

static void the_teachers_mode_has_the_modes_default(void **state) {
    (void)state;
    the_log_shows(NULL, "teacher mode = eval");
    the_log_shows(OPTIONS("train.teacher_mode=train"), "teacher mode = train");
    the_log_shows(OPTIONS(OFFICIAL), "teacher mode = train");
    the_log_shows(OPTIONS(OFFICIAL, "train.teacher_mode=eval"), "teacher mode = eval");
    the_log_shows(OPTIONS("model_type=BaseKD", "train.kd_opt.type=L1Loss"), "teacher mode = train");
    the_log_shows(OPTIONS("train.terms=[rec]", "train.teacher_mode=train"),
                  "teacher mode = eval"); /* there is none */
}

static void cuda_is_never_replaced_in_silence(void **state) {
    (void)state;
    /* tensors in CPU memory: refused everywhere; where CUDA cannot be used, with query_backend's reason */
    dukd_backend_info cuda = {.struct_size = DUKD_BACKEND_INFO_SIZE};
    assert_int_equal(dukd_get_plugin_draft(DUKD_ABI_DRAFT)->query_backend(1, &cuda, NULL), DUKD_OK);
    cuda.detail[100] = '\0'; /* messages are cut */
    refuses(DUKD_E_UNSUPPORTED, OPTIONS("backend=cuda"),
            (const char *const[]){"backend: cuda", cuda.usable ? "are in CPU memory" : cuda.detail, NULL});
    opens(OPTIONS("backend=cpu"));
    opens(OPTIONS("backend=auto"));
}

/* ---------------------------------------------------------------- the structs */

static int32_t open_raw(const dukd_option *const *options, uint32_t n, fixture *f) {
    fixture_init(f);
    fixture_must_open(f, NULL); /* for its host */
    fixture_close(f);
    const dukd_session_params params = {.struct_size = DUKD_SESSION_PARAMS_SIZE,
                                        .host = &f->host,
                                        .options = options,
                                        .n_options = n,
                                        .micro_count = 1,
                                        .lr_shape = {1, 3, 4, 4},
                                        .scale = 2,
                                        .dtype = fixture_f32,
                                        .device = {DUKD_DEVICE_CPU, 0}};
    dukd_session *session = (dukd_session *)f;
    const int32_t status = f->plugin->create_session(&params, &session, &f->error);
    if (status == DUKD_OK) {
        f->plugin->destroy_session(session);
    } else {
        assert_null(session);
    }
    return status;
}

static void option_structs_are_checked(void **state) {
    (void)state;
    fixture f;
    const char *const one[] = {"1"}, *const none[] = {NULL};
    const dukd_option good = {.struct_size = DUKD_OPTION_SIZE,
                              .kind = DUKD_VALUE_SCALAR,
                              .key = "train.w_kd",
                              .values = one,
                              .n_values = 1};
    dukd_option o = good;
    const dukd_option *list[] = {&o};
    assert_int_equal(open_raw(list, 1, &f), DUKD_OK); /* no place: allowed */
    assert_int_equal(open_raw(NULL, 1, &f), DUKD_E_ARGUMENT);
    EXPECT_MESSAGE(&f, "options is NULL, n_options is 1");
    const dukd_option *const missing[] = {NULL};
    assert_int_equal(open_raw(missing, 1, &f), DUKD_E_ARGUMENT);
    EXPECT_MESSAGE(&f, "options[0] is NULL");
    o.struct_size--;
    assert_int_equal(open_raw(list, 1, &f), DUKD_E_ARGUMENT);
    EXPECT_MESSAGE(&f, "options[0]", "struct_size is 39, expected 40");
    o = good;
    o.key = NULL;
    assert_int_equal(open_raw(list, 1, &f), DUKD_E_ARGUMENT);
    EXPECT_MESSAGE(&f, "options[0]: key is NULL");
    o = good;
    o.kind = 4;
    assert_int_equal(open_raw(list, 1, &f), DUKD_E_ARGUMENT);
    EXPECT_MESSAGE(&f, "kind is 4");
    o = good;
    o.pad0 = 1;
    assert_int_equal(open_raw(list, 1, &f), DUKD_E_ARGUMENT);
    EXPECT_MESSAGE(&f, "pad0");
    o = good;
    o.n_values = 2;
    assert_int_equal(open_raw(list, 1, &f), DUKD_E_ARGUMENT);
    EXPECT_MESSAGE(&f, "n_values is 2 for a scalar");
    o = good;
    o.kind = DUKD_VALUE_NULL;
    assert_int_equal(open_raw(list, 1, &f), DUKD_E_ARGUMENT);
    EXPECT_MESSAGE(&f, "n_values is 1 for a null");
    o = good;
    o.values = NULL;
    assert_int_equal(open_raw(list, 1, &f), DUKD_E_ARGUMENT);
    EXPECT_MESSAGE(&f, "values is NULL");
    o = good;
    o.values = none;
    assert_int_equal(open_raw(list, 1, &f), DUKD_E_ARGUMENT);
    EXPECT_MESSAGE(&f, "values[0] is NULL");
}

static void messages_are_cut_between_characters_and_stay_one_line(void **state) {
    (void)state;
    fixture f;
    char value[600], key[400];
    const char *const one[] = {value};
    dukd_option o = {.struct_size = DUKD_OPTION_SIZE,
                     .kind = DUKD_VALUE_SCALAR,
                     .key = "train.w_kd",
                     .values = one,
                     .n_values = 1};
    const dukd_option *list[] = {&o};
    for (size_t shift = 0; shift < 4;
         shift++) { /* the cut falls inside a character of two bytes or beside it */
        memset(key, 'k', sizeof key);
        for (size_t i = shift; i + 2 < sizeof key; i += 2) memcpy(key + i, "\xc3\xa4", 2);
        key[sizeof key - 1 - (sizeof key - 1 - shift) % 2] = '\0';
        o.key = key;
        snprintf(value, sizeof value, "1");
        assert_int_equal(open_raw(list, 1, &f), DUKD_E_OPTION);
        const size_t length = strlen(f.error.message);
        assert_true(length > 200 && length < sizeof f.error.message);
        assert_string_equal(f.error.message + length - 3, "...");
        const unsigned char before = (unsigned char)f.error.message[length - 4];
        assert_true(before == 0xa4 || before < 0x80); /* a whole character, or an ASCII one */
    }
    o.key = "train.w_kd";
    snprintf(value, sizeof value, "1\n2\t3");
    assert_int_equal(open_raw(list, 1, &f), DUKD_E_OPTION);
    EXPECT_MESSAGE(&f, "found '1 2 3'");
    snprintf(value, sizeof value, "a\xff\xfe\x80z\xc0\xaf \xed\xa0\x80 \xe2\x82"); /* no UTF-8 in five ways */
    assert_int_equal(open_raw(list, 1, &f), DUKD_E_OPTION);
    EXPECT_MESSAGE(&f, "found 'a??z? ? ?'");
    /* a long place keeps its end, where line and column are */
    memset(key, 'd', sizeof key);
    memcpy(key + 300, "/o.yml:12:5", 12);
    o.place = key;
    assert_int_equal(open_raw(list, 1, &f), DUKD_E_OPTION);
    EXPECT_MESSAGE(&f, "dd/o.yml:12:5: train.w_kd");
}

/* A locale that writes 0,3: an installed one, or one compiled into `folder`. False: neither. */
static bool set_comma_locale(char folder[32]) {
    const char *const names[] = {"de_DE.UTF-8", "de_DE.utf8", "de_DE", "fr_FR.UTF-8", "fr_FR.utf8"};
    char command[128];
    folder[0] = '\0';
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (setlocale(LC_ALL, names[i]) != NULL) return true;
    }
    strcpy(folder, "/tmp/dukd_locale_XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(command, sizeof command, "localedef -i de_DE -f UTF-8 %s/de_DE.UTF-8 >/dev/null 2>&1", folder);
    if (system(command) != 0) return false;
    assert_int_equal(setenv("LOCPATH", folder, 1), 0);
    return setlocale(LC_ALL, "de_DE.UTF-8") != NULL;
}

/* Option files and messages have a point whatever the host's locale is. */
static void the_locale_of_the_host_does_not_matter(void **state) {
    (void)state;
    char folder[32], command[64];
    const bool set = set_comma_locale(folder);
    if (set) {
        assert_string_equal(localeconv()->decimal_point, ",");
        the_log_shows(OPTIONS("train.w_kd=0.5"), "weight of kd = 0.5;");
        REFUSES(OPTIONS("train.w_kd=0,5"), "found '0,5'");
        assert_string_equal(localeconv()->decimal_point, ",");
        setlocale(LC_ALL, "C");
    }
    if (folder[0] != '\0') {
        unsetenv("LOCPATH");
        snprintf(command, sizeof command, "rm -r %s", folder);
        assert_int_equal(system(command), 0);
    }
    if (!set) {
        print_message(
            "skipped: no locale with a decimal comma is installed, and localedef cannot make one\n");
        skip();
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_table_describes_itself),
        cmocka_unit_test(the_defaults_are_the_papers),
        cmocka_unit_test(values_are_read_as_yaml_has_them),
        cmocka_unit_test(wrong_values_are_refused_with_place_found_and_expected),
        cmocka_unit_test(unknown_keys_name_the_nearest),
        cmocka_unit_test(an_option_given_twice_is_refused),
        cmocka_unit_test(the_mode_follows_from_model_type_and_mode),
        cmocka_unit_test(options_of_another_mode_are_refused_naming_both),
        cmocka_unit_test(missing_sections_are_named),
        cmocka_unit_test(options_that_leave_no_loss_are_refused),
        cmocka_unit_test(counts_fit_the_rule_and_the_scale),
        cmocka_unit_test(the_noisy_section_means_what_the_released_code_reads),
        cmocka_unit_test(the_teachers_mode_has_the_modes_default),
        cmocka_unit_test(cuda_is_never_replaced_in_silence),
        cmocka_unit_test(option_structs_are_checked),
        cmocka_unit_test(messages_are_cut_between_characters_and_stay_one_line),
        cmocka_unit_test(the_locale_of_the_host_does_not_matter),
    };
    return cmocka_run_group_tests_name("options", tests, NULL, NULL);
}
