/* hosts/minimal: the losses fall in every mode of the plugin, with another plugin too, and what is wrong is said. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

#define OFFICIAL                                                                                             \
    "model_type=DUKD train.pixel_opt.type=L1Loss train.kd_opt.type=L1Loss train.dukd_opt.zoom_out=true "

static char output[1 << 14];

/* The exit status; what it wrote to stdout and stderr is in `output`. */
static int run(const char *plugin, const char *arguments) {
    char command[4096];
    assert_true(snprintf(command, sizeof command, "'%s' %s%s%s %s 2>&1", MINIMAL_HOST, *plugin ? "'" : "",
                         plugin, *plugin ? "'" : "", arguments) < (int)sizeof command);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    output[fread(output, 1, sizeof output - 1, pipe)] = 0;
    const int status = pclose(pipe);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void assert_said(int status, int expected, const char *part) {
    if (status == expected && strstr(output, part)) return;
    fail_msg("exit status %d, expected %d and \"%s\":\n%s", status, expected, part, output);
}

/* The mean loss of the first tenth is at least `factor` times that of the last. */
static void assert_falls(const char *plugin, const char *arguments, double factor) {
    double first = 0, last = 0;
    const int status = run(plugin, arguments);
    const char *line = strstr(output, "\nl_total: ");
    if (status == 0 && line &&
        sscanf(line, " l_total: %lf in the first tenth, %lf in the last", &first, &last) == 2 && last > 0 &&
        first >= factor * last)
        return;
    fail_msg("exit status %d; expected losses that fall by a factor of %g:\n%s", status, factor, output);
}

static void losses_fall_in_paper_mode(void **state) {
    (void)state;
    assert_falls(DUKD_PLUGIN, "", 2.5);
    assert_falls(DUKD_PLUGIN, "train.zoom_in=hardest train.augment.invert=1", 2.5);
    assert_falls(DUKD_PLUGIN, "train.zoom_in=grid train.zoom_in_count=2 train.w_kd=0", 2.5);
    assert_falls(DUKD_PLUGIN, "train.terms=kd", 2.5);
    assert_falls(DUKD_PLUGIN, "model_type=SRModel train.pixel_opt.type=L1Loss", 2.5);
}

/* Steps as large as these settle only where gradients are cleared: without, the factor is below 3. */
static void gradients_are_cleared(void **state) {
    (void)state;
    assert_falls(DUKD_PLUGIN, "train.w_rec=40 train.w_kd=40 train.w_dukd=40", 5);
}

/* With noise, D is not undone where a transpose meets one flip (as released): a loss that no training takes away. */
static void losses_fall_in_official_mode(void **state) {
    (void)state;
    assert_falls(DUKD_PLUGIN, OFFICIAL, 1.7); /* S(LR/2) never becomes LR: l_zoom_out_pix has a floor */
    assert_falls(DUKD_PLUGIN, OFFICIAL "train.noisy.prob=0.3", 1.2);
    assert_falls(DUKD_PLUGIN, "model_type=BaseKD train.pixel_opt.type=L1Loss train.kd_opt.type=L1Loss", 2.5);
}

static void micro_batches(void **state) {
    (void)state;
    assert_falls(DUKD_PLUGIN, "micro=2 iterations=200", 2.5);
    assert_falls(DUKD_PLUGIN, "micro=4", 2.5);
    assert_said(run(DUKD_PLUGIN, OFFICIAL "micro=2"), 1,
                "create_session: official mode takes its second step");
}

static void another_plugin(void **state) {
    (void)state;
#ifdef OTHER_PLUGIN
    assert_falls(OTHER_PLUGIN, "", 2);
    assert_falls(OTHER_PLUGIN, "train.two_steps=true", 2);
#else
    print_message("SKIP: the conformance suite's small plugin is not built\n");
    skip();
#endif
}

static void no_progress_is_a_failure(void **state) {
    (void)state; /* a loss whose weight is next to nothing moves no weight of the network */
    assert_said(run(DUKD_PLUGIN, "train.terms=rec train.w_rec=1e-30"), 1, "l_total: ");
}

static void what_is_wrong_is_said(void **state) {
    (void)state;
    assert_said(run(DUKD_PLUGIN, "train.zoom_im=none"), 1, "command line: unknown option train.zoom_im");
    assert_said(run(DUKD_PLUGIN, "train.zoom_in_count=many"), 1, "train.zoom_in_count");
    assert_said(run("/no/such/plugin.so", ""), 1, "no plugin: /no/such/plugin.so");
    assert_said(run("libc.so.6", ""), 1, "no plugin: ");
    assert_said(run(DUKD_PLUGIN, "train.mode"), 2, "not KEY=VALUE");
    assert_said(run(DUKD_PLUGIN, "iterations=0"), 2, "usage: ");
    assert_said(run(DUKD_PLUGIN, "micro=-1"), 2, "usage: ");
    assert_said(run(DUKD_PLUGIN, "micro=3"), 2, "usage: "); /* batches have four images */
    assert_said(run("", ""), 2, "usage: ");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(losses_fall_in_paper_mode),
        cmocka_unit_test(losses_fall_in_official_mode),
        cmocka_unit_test(gradients_are_cleared),
        cmocka_unit_test(micro_batches),
        cmocka_unit_test(another_plugin),
        cmocka_unit_test(no_progress_is_a_failure),
        cmocka_unit_test(what_is_wrong_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
