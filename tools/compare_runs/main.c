/* dukd-compare: methods side by side, from the folders of their runs. tools/compare builds and runs it. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/json_out.h"
#include "common/nearest.h"
#include "runs.h"
#include "statistics.h"

enum { MAX_RUNS = 64 };

typedef struct {
    const char *metric;
    char set[256];
    int json, markdown, count;
    dukd_run_history runs[MAX_RUNS];
    int first_of[MAX_RUNS]; /* by run: the first run of its method */
} comparison;

typedef struct {
    const char *title, *key;
    int by_seconds;
    double limit;
} condition;

static const dukd_run_point *point_of(const comparison *c, int run, const condition *k) {
    return k->by_seconds ? dukd_run_at_seconds(&c->runs[run], k->limit)
                         : dukd_run_at_iteration(&c->runs[run], (int64_t)k->limit);
}

/* ---- a row ---- */

typedef struct {
    const char *method;
    int seeds;
    double mean, deviation;          /* over seeds, of the mean over images */
    double iterations, seconds;      /* means over seeds, where the point was taken */
    dukd_paired against;             /* the first method */
    const dukd_run_history *example; /* one of its runs, for what it cost */
} row;

static int values_of(const comparison *c, int first, const condition *k, const double *values[MAX_RUNS]) {
    int n = 0;
    for (int i = first; i < c->count; i++)
        if (c->first_of[i] == first) {
            const dukd_run_point *p = point_of(c, i, k);
            if (!p) return 0;
            values[n++] = p->values;
        }
    return n;
}

static int make_row(const comparison *c, int first, const condition *k, row *out) {
    const double *own[MAX_RUNS], *base[MAX_RUNS];
    double means[MAX_RUNS];
    int64_t images = c->runs[0].image_count;
    int n = values_of(c, first, k, own), m = values_of(c, 0, k, base);
    if (!n || !m) return -1;
    *out = (row){.method = c->runs[first].method, .seeds = n, .example = &c->runs[first]};
    for (int i = 0; i < n; i++) means[i] = dukd_mean(own[i], images);
    for (int i = first; i < c->count; i++)
        if (c->first_of[i] == first) {
            out->iterations += (double)point_of(c, i, k)->iteration / n;
            out->seconds += point_of(c, i, k)->seconds / n;
        }
    out->mean = dukd_mean(means, n);
    out->deviation = dukd_deviation(means, n);
    out->against = dukd_paired_difference(own, n, base, m, images);
    return 0;
}

/* ---- printing ---- */

static void print_row(const comparison *c, const row *r, int is_base) {
    char deviation[32] = "", difference[64] = "";
    if (r->seeds > 1) snprintf(deviation, sizeof deviation, "%.4f", r->deviation);
    if (!is_base)
        snprintf(difference, sizeof difference, "%+.4f [%+.4f, %+.4f]", r->against.mean, r->against.low,
                 r->against.high);
    printf(c->markdown ? "| %s | %d | %.4f | %s | %.0f | %.0f | %s%s |\n"
                       : "  %-24s %5d %10.4f %10s %10.0f %9.0f%s%s\n",
           r->method, r->seeds, r->mean, deviation, r->iterations, r->seconds,
           difference[0] && !c->markdown ? "  " : "", difference);
}

static void print_table(const comparison *c, const condition *k) {
    char against[300];
    snprintf(against, sizeof against, "against %s [95 %%]", c->runs[0].method);
    printf(c->markdown ? "\n### %s\n\n" : "\n%s\n", k->title);
    printf(c->markdown ? "| %s | %s | %s %s | %s | %s | %s | %s |\n|---|---:|---:|---:|---:|---:|---:|\n"
                       : "  %-24s %5s %5s %4s %10s %10s %9s  %s\n",
           "method", "seeds", c->set, c->metric, "deviation", "iterations", "seconds", against);
    for (int i = 0; i < c->count; i++) {
        row r;
        if (c->first_of[i] != i) continue;
        if (make_row(c, i, k, &r))
            printf("  %-24s has no validation that early\n", c->runs[i].method);
        else
            print_row(c, &r, i == 0);
    }
}

/* A count, or a question mark where run.json does not say. */
static const char *count_text(int64_t count, char text[24]) {
    snprintf(text, 24, count < 0 ? "?" : "%lld", (long long)count);
    return text;
}

static void print_cost(const comparison *c) {
    char t[4][24];
    const char *format = c->markdown ? "| %s | %s | %s | %s | %s |\n" : "  %-24s %15s %12s %15s %15s\n";
    printf(c->markdown ? "\n" : "\nwhat a run of each has cost\n");
    printf(format, "method", "optimizer steps", "images seen", "student images", "teacher images");
    if (c->markdown) printf("|---|---:|---:|---:|---:|\n");
    for (int i = 0; i < c->count; i++) {
        const dukd_run_history *h = &c->runs[i];
        if (c->first_of[i] == i)
            printf(format, h->method, count_text(h->optimizer_steps, t[0]), count_text(h->images_seen, t[1]),
                   count_text(h->student_images, t[2]), count_text(h->teacher_images, t[3]));
    }
}

static void json_condition(const comparison *c, const condition *k, dukd_json *j) {
    dukd_json_object(j, k->key);
    dukd_json_number(j, k->by_seconds ? "seconds" : "iterations", k->limit);
    dukd_json_array(j, "methods");
    for (int i = 0; i < c->count; i++) {
        row r;
        if (c->first_of[i] != i || make_row(c, i, k, &r)) continue;
        dukd_json_object(j, NULL);
        dukd_json_text(j, "method", r.method);
        dukd_json_integer(j, "seeds", r.seeds);
        dukd_json_number(j, "mean", r.mean);
        dukd_json_number(j, "deviation", r.deviation);
        dukd_json_number(j, "iterations", r.iterations);
        dukd_json_number(j, "seconds", r.seconds);
        dukd_json_number(j, "difference", r.against.mean);
        dukd_json_number(j, "low", r.against.low);
        dukd_json_number(j, "high", r.against.high);
        dukd_json_integer(j, "optimizer_steps", r.example->optimizer_steps);
        dukd_json_integer(j, "teacher_images", r.example->teacher_images);
        dukd_json_integer(j, "student_images", r.example->student_images);
        dukd_json_close(j);
    }
    dukd_json_close(j);
    dukd_json_close(j);
}

static int report(const comparison *c, dukd_failure *f) {
    condition updates = {.title = "at equal updates", .key = "equal_updates", .limit = INFINITY};
    condition seconds = {
        .title = "at equal seconds of training", .key = "equal_seconds", .by_seconds = 1, .limit = INFINITY};
    for (int i = 0; i < c->count; i++) {
        const dukd_run_point *last = &c->runs[i].points[c->runs[i].point_count - 1];
        if ((double)last->iteration < updates.limit) updates.limit = (double)last->iteration;
        if (last->seconds < seconds.limit) seconds.limit = last->seconds;
    }
    if (c->json) {
        dukd_json j = dukd_json_begin(stdout);
        dukd_json_object(&j, NULL);
        dukd_json_text(&j, "set", c->set);
        dukd_json_text(&j, "metric", c->metric);
        dukd_json_integer(&j, "images", c->runs[0].image_count);
        json_condition(c, &updates, &j);
        json_condition(c, &seconds, &j);
        dukd_json_close(&j);
        return dukd_json_end(&j, "standard output", f);
    }
    printf("%s, %lld images, weights of the moving average where the run keeps one\n", c->set,
           (long long)c->runs[0].image_count);
    print_table(c, &updates);
    print_table(c, &seconds);
    print_cost(c);
    printf("\nDifferences are paired by image; the interval is a bootstrap over images and seeds (10,000 "
           "resamples).%s\n",
           c->runs[0].image_count < 10 ? " With so few images it is a rough one." : "");
    return DUKD_DONE;
}

/* ---- the program ---- */

static const char usage[] =
    "dukd-compare: methods side by side: mean, deviation over seeds, and the paired difference with its "
    "bootstrap interval\n\n"
    "usage: tools/compare RUN... [options]\n\n"
    "A RUN is the folder of a training run (experiments/NAME). Runs NAME_seed1, NAME_seed2, ... are seeds of "
    "one method. The\n"
    "first method named is what the others are compared with.\n\n"
    "options:\n"
    "  --set NAME      validation set (the first one)\n"
    "  --metric NAME   as in val.metrics (psnr)\n"
    "  --json          print JSON, for a program\n"
    "  --markdown      print Markdown tables\n"
    "  --help          this text\n\n"
    "example:\n"
    "  tools/compare experiments/demo_scratch_seed* experiments/demo_kd_seed* experiments/demo_dukd_seed*\n";

static int is_same_folder(const char *a, const char *b) {
    struct stat x, y;
    return !stat(a, &x) && !stat(b, &y) && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

static int read_runs(comparison *c, char **folders, dukd_failure *f) {
    for (int i = 0; i < c->count; i++) {
        dukd_run_history *h = &c->runs[i], *base = &c->runs[0];
        for (int k = 0; k < i; k++)
            if (is_same_folder(folders[k], folders[i]))
                return dukd_fail(f, DUKD_MISUSED, "%s is named twice: it would count as two seeds",
                                 folders[i]);
        int status = dukd_run_history_read(h, folders[i], c->set, c->metric, f);
        if (status) return status;
        c->first_of[i] = i;
        for (int k = i - 1; k >= 0; k--)
            if (strcmp(c->runs[k].method, h->method) == 0) c->first_of[i] = c->first_of[k];
        if (h->image_count != base->image_count)
            return dukd_fail(f, DUKD_FAILED, "%s and %s were measured on different images", folders[0],
                             folders[i]);
        for (int64_t k = 0; k < h->image_count; k++)
            if (strcmp(h->images[k], base->images[k]))
                return dukd_fail(f, DUKD_FAILED, "%s and %s were measured on different images: %s, %s",
                                 folders[0], folders[i], base->images[k], h->images[k]);
    }
    return DUKD_DONE;
}

static int misused(const char *what) {
    fprintf(stderr, "dukd-compare: %s; see tools/compare --help\n", what);
    return DUKD_MISUSED;
}

static int misused_option(const char *word) {
    static const char *const names[] = {"--set", "--metric", "--json", "--markdown", "--help"};
    char what[512];
    const int32_t hit = dukd_nearest(word, names, sizeof names / sizeof *names, sizeof *names);
    if (hit >= 0 && strcmp(names[hit], word) == 0)
        snprintf(what, sizeof what, "%.200s wants a value", word);
    else
        snprintf(what, sizeof what, "unknown option '%.200s'%s%s%s", word, hit >= 0 ? ", did you mean '" : "",
                 hit >= 0 ? names[hit] : "", hit >= 0 ? "'?" : "");
    return misused(what);
}

int main(int argc, char **argv) {
    static comparison c = {.metric = "psnr"};
    char *folders[MAX_RUNS];
    dukd_failure f = {0};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0) {
            fputs(usage, stdout);
            return DUKD_DONE;
        }
        if (strcmp(argv[i], "--json") == 0)
            c.json = 1;
        else if (strcmp(argv[i], "--markdown") == 0)
            c.markdown = 1;
        else if (strcmp(argv[i], "--set") == 0 && i + 1 < argc)
            snprintf(c.set, sizeof c.set, "%s", argv[++i]);
        else if (strcmp(argv[i], "--metric") == 0 && i + 1 < argc)
            c.metric = argv[++i];
        else if (argv[i][0] == '-')
            return misused_option(argv[i]);
        else if (c.count == MAX_RUNS)
            return misused("too many runs (64 at most)");
        else
            folders[c.count++] = argv[i];
    }
    if (!c.count) return misused("which runs?");
    int status = read_runs(&c, folders, &f);
    if (status == DUKD_DONE) status = report(&c, &f);
    for (int i = 0; i < c.count; i++) dukd_run_history_free(&c.runs[i]);
    const int lost = ferror(stdout);
    if ((fflush(stdout) || lost) && status == DUKD_DONE)
        status = dukd_fail(&f, DUKD_FAILED, "cannot write to standard output: is the disk full?");
    if (status) fprintf(stderr, "dukd-compare: %s\n", f.message);
    return status;
}
