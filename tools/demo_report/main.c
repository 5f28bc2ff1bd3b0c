/* dukd-demo-report: the table and the picture at the end of tools/demo. Bicubic upscaling is its first row by itself. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/image_list.h"
#include "report.h"
#include "runs.h"

static const char usage[] =
    "dukd-demo-report: the table and the picture at the end of tools/demo\n\n"
    "usage: dukd-demo-report --hr DIR --scale S --picture FILE.png LABEL=IMAGES[=RUN]...\n\n"
    "  --hr DIR        HR images; LR and bicubic upscaling are made of them\n"
    "  --scale S       2, 3 or 4\n"
    "  --picture FILE  where the picture goes\n"
    "  --rows N        images in the picture (4)\n"
    "  LABEL=IMAGES    a method and the folder of its images; =RUN is the folder of its training run\n\n"
    "example:\n"
    "  dukd-demo-report --hr test/HR --scale 2 --picture demo.png "
    "scratch=sr/scratch=experiments/demo_scratch\n";

static int misused(const char *what, const char *word) {
    fprintf(stderr, "dukd-demo-report: %s%s; see --help\n", what, word);
    return DUKD_MISUSED;
}

/* LABEL=IMAGES[=RUN], cut in place. */
static int add_method(report *r, char *text) {
    char *images = strchr(text, '='), *run = images ? strchr(images + 1, '=') : NULL;
    if (!images || r->method_count == REPORT_MAX_METHODS) return -1;
    *images++ = 0;
    if (run) *run++ = 0;
    report_method *m = &r->methods[r->method_count++];
    snprintf(m->label, sizeof m->label, "%s", text);
    m->folder = images;
    m->run = run;
    m->updates = -1;
    return 0;
}

static int read_costs(report *r, dukd_failure *f) {
    for (int m = 0; m < r->method_count; m++) {
        dukd_run_history h;
        char set[256] = "";
        if (!r->methods[m].run) continue;
        int status = dukd_run_history_read(&h, r->methods[m].run, set, "psnr", f);
        if (status == DUKD_DONE) {
            r->methods[m].updates = h.points[h.point_count - 1].iteration;
            r->methods[m].seconds = h.points[h.point_count - 1].seconds;
        }
        dukd_run_history_free(&h);
        if (status) return status;
    }
    return DUKD_DONE;
}

static int list_images(report *r, dukd_image_list *list, dukd_failure *f) {
    int status = dukd_image_list_read(r->hr_folder, list, f);
    if (status) return status;
    if (list->count > REPORT_MAX_IMAGES)
        return dukd_fail(f, DUKD_FAILED, "%s: has %lld images, %d at most", r->hr_folder,
                         (long long)list->count, REPORT_MAX_IMAGES);
    r->count = list->count;
    r->files = list->files;
    r->names = calloc((size_t)list->count, sizeof *r->names);
    for (int64_t i = 0; r->names && i < list->count; i++)
        r->names[i] = strndup(list->files[i], dukd_image_stem_length(list->files[i]));
    for (int64_t i = 0; i < list->count; i++)
        if (!r->names || !r->names[i])
            return dukd_fail_memory(f, "the images' names", (unsigned long long)list->count * 64);
    return DUKD_DONE;
}

int main(int argc, char **argv) {
    static report r = {.methods = {{.label = "bicubic", .updates = -1}}, .method_count = 1};
    const char *picture = NULL;
    int rows = 4;
    dukd_failure f = {0};
    dukd_image_list list = {0};
    for (int i = 1; i < argc; i++) {
        int more = i + 1 < argc;
        if (strcmp(argv[i], "--help") == 0) {
            fputs(usage, stdout);
            return DUKD_DONE;
        }
        if (strcmp(argv[i], "--hr") == 0 && more)
            r.hr_folder = argv[++i];
        else if (strcmp(argv[i], "--scale") == 0 && more)
            r.scale = atoi(argv[++i]);
        else if (strcmp(argv[i], "--picture") == 0 && more)
            picture = argv[++i];
        else if (strcmp(argv[i], "--rows") == 0 && more)
            rows = atoi(argv[++i]);
        else if (argv[i][0] == '-')
            return misused("unknown or incomplete option ", argv[i]);
        else if (add_method(&r, argv[i]))
            return misused("want LABEL=IMAGES[=RUN], not ", argv[i]);
    }
    if (!r.hr_folder || !picture || r.scale < 2 || r.scale > 8 || rows < 1)
        return misused("--hr, --scale and --picture are needed", "");
    int status = list_images(&r, &list, &f);
    if (status == DUKD_DONE) status = read_costs(&r, &f);
    if (status == DUKD_DONE) status = report_measure(&r, &f);
    if (status == DUKD_DONE) {
        report_print(&r);
        status = report_draw(&r, rows, picture, &f);
    }
    for (int64_t i = 0; r.names && i < r.count; i++) free(r.names[i]);
    free(r.names);
    dukd_image_list_free(&list);
    if (status) fprintf(stderr, "dukd-demo-report: %s\n", f.message);
    return status;
}
