/* dukd-make-images: pictures to train and test on where there is no photograph.
 *
 * They are made up of what single-image super-resolution learns from: things of all sizes before one another, edges of every
 * direction and sharpness, texture and 1/f grain, lettering, lines and grids in perspective. Their grey values, spectra and
 * gradients are those of photographs as far as tests/unit/test_make_images.c says, but photographs they are not. */
#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/failure.h"
#include "compose.h"
#include "data/image.h"
#include "glyphs.h"
#include "noise.h"
#include "scene.h"

#define MAX_COUNT   1000000
#define MIN_SIDE    16
#define MAX_SIDE    8192
#define MAX_THREADS 64

static const char help[] =
    "Makes pictures to train and test on where there is no photograph.\n"
    "\n"
    "usage: dukd-make-images [options] OUT_DIR\n"
    "\n"
    "options:\n"
    "  --count N      pictures to make (60), OUT_DIR/made_000000.png and on\n"
    "  --first N      number of the first picture (0): other numbers are other pictures\n"
    "  --seed N       another series of pictures (1)\n"
    "  --size WxH     pixels (384x256)\n"
    "  --threads N    as many pictures at once (one a processor); changes nothing in them\n"
    "  --help         this text\n"
    "\n"
    "example:\n"
    "  dukd-make-images --count 60 --seed 7 --size 384x256 pictures/train\n";

typedef struct {
    const char *folder;
    int64_t count, first, threads;
    uint64_t seed;
    int32_t width, height;
} order;

typedef struct {
    const order *o;
    const paint_tools *tools;
    _Atomic int64_t next; /* the next picture to make, from 0 */
    _Atomic int failed;
    pthread_mutex_t lock;
    dukd_failure failure; /* the first one */
} workshop;

static int make_picture(const workshop *w, scene *s, dukd_image *image, int64_t number, dukd_failure *f) {
    char *path;
    if (asprintf(&path, "%s/made_%06lld.png", w->o->folder, (long long)number) < 0)
        return dukd_fail_memory(f, "a file name", 64);
    scene_clear(s);
    compose_picture(s, w->o->seed, (uint64_t)number);
    scene_render(s, w->tools, image);
    const int status = dukd_image_write_png(path, image, f);
    free(path);
    return status;
}

static void *work(void *argument) {
    workshop *w = argument;
    dukd_failure f = {0};
    dukd_image image = {0};
    scene s;
    if (scene_create(&s, w->o->width, w->o->height) != 0)
        dukd_fail(&f, DUKD_FAILED, "out of memory: a picture of %dx%d", w->o->width, w->o->height);
    else
        dukd_image_create(&image, w->o->width, w->o->height, 8, &f);
    while (f.status == DUKD_DONE && !atomic_load(&w->failed)) {
        const int64_t i = atomic_fetch_add(&w->next, 1);
        if (i >= w->o->count) break;
        make_picture(w, &s, &image, w->o->first + i, &f);
    }
    if (f.status != DUKD_DONE) {
        pthread_mutex_lock(&w->lock);
        if (!atomic_exchange(&w->failed, 1)) w->failure = f;
        pthread_mutex_unlock(&w->lock);
    }
    dukd_image_free(&image);
    scene_free(&s);
    return NULL;
}

static int make_all(const order *o, dukd_failure *f) {
    noise n = {0};
    glyphs *g = malloc(sizeof *g);
    pthread_t threads[MAX_THREADS];
    int started = 0;
    if (!g || noise_create(&n, o->seed) != 0) {
        free(g);
        return dukd_fail(f, DUKD_FAILED, "out of memory: textures");
    }
    glyphs_create(g);
    const paint_tools tools = {.noise = &n, .glyphs = g};
    workshop w = {.o = o, .tools = &tools};
    pthread_mutex_init(&w.lock, NULL);
    while (started < o->threads && pthread_create(&threads[started], NULL, work, &w) == 0) started++;
    if (started == 0) work(&w); /* no threads to be had: one picture after the other, then */
    for (int i = 0; i < started; i++) pthread_join(threads[i], NULL);
    pthread_mutex_destroy(&w.lock);
    noise_free(&n);
    free(g);
    return w.failure.status == DUKD_DONE ? DUKD_DONE
                                         : dukd_fail(f, w.failure.status, "%s", w.failure.message);
}

static int read_number(const char *option, const char *text, int64_t low, int64_t high, int64_t *out,
                       dukd_failure *f) {
    char *end;
    errno = 0;
    const long long value = strtoll(text, &end, 10);
    if (errno || end == text || *end || value < low || value > high)
        return dukd_fail(f, DUKD_MISUSED, "--%s is '%s': it must be a number from %lld to %lld", option, text,
                         (long long)low, (long long)high);
    *out = value;
    return DUKD_DONE;
}

static int read_size(const char *text, order *o, dukd_failure *f) {
    int used = 0;
    if (sscanf(text, "%5dx%5d%n", &o->width, &o->height, &used) != 2 || text[used] || o->width < MIN_SIDE ||
        o->height < MIN_SIDE || o->width > MAX_SIDE || o->height > MAX_SIDE)
        return dukd_fail(f, DUKD_MISUSED,
                         "--size is '%s': it must be WIDTHxHEIGHT, each %d to %d, as in 384x256", text,
                         MIN_SIDE, MAX_SIDE);
    return DUKD_DONE;
}

static int read_order(int argc, char **argv, order *o, dukd_failure *f) {
    static const struct option options[] = {{"count", required_argument, NULL, 'c'},
                                            {"first", required_argument, NULL, 'f'},
                                            {"seed", required_argument, NULL, 's'},
                                            {"size", required_argument, NULL, 'z'},
                                            {"threads", required_argument, NULL, 't'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    int64_t seed = 1;
    int status = DUKD_DONE, letter, at = 0;
    const long processors = sysconf(_SC_NPROCESSORS_ONLN);
    *o = (order){.count = 60,
                 .width = 384,
                 .height = 256,
                 .threads = processors < 1             ? 1
                            : processors > MAX_THREADS ? MAX_THREADS
                                                       : processors};
    opterr = 0;
    while (status == DUKD_DONE && (letter = getopt_long(argc, argv, "", options, &at)) >= 0) {
        switch (letter) {
        case 'c':
            status = read_number("count", optarg, 0, MAX_COUNT, &o->count, f);
            break;
        case 'f':
            status = read_number("first", optarg, 0, MAX_COUNT, &o->first, f);
            break;
        case 's':
            status = read_number("seed", optarg, 0, INT64_MAX, &seed, f);
            break;
        case 't':
            status = read_number("threads", optarg, 1, MAX_THREADS, &o->threads, f);
            break;
        case 'z':
            status = read_size(optarg, o, f);
            break;
        case 'h':
            fputs(help, stdout);
            exit(fflush(stdout) ? DUKD_FAILED : DUKD_DONE);
        default:
            status =
                dukd_fail(f, DUKD_MISUSED, "'%s': unknown option or no value; see --help", argv[optind - 1]);
        }
    }
    if (status != DUKD_DONE) return status;
    if (argc - optind != 1) return dukd_fail(f, DUKD_MISUSED, "one folder to write to is needed; see --help");
    o->folder = argv[optind];
    o->seed = (uint64_t)seed;
    return DUKD_DONE;
}

int main(int argc, char **argv) {
    order o;
    dukd_failure f = {0};
    struct stat info;
    int status = read_order(argc, argv, &o, &f);
    if (status == DUKD_DONE && mkdir(o.folder, 0777) != 0 &&
        (errno != EEXIST || stat(o.folder, &info) != 0 || !S_ISDIR(info.st_mode)))
        status = dukd_fail(&f, DUKD_FAILED, "%s: cannot make this folder: %s", o.folder, strerror(errno));
    if (status == DUKD_DONE) status = make_all(&o, &f);
    if (status != DUKD_DONE) fprintf(stderr, "dukd-make-images: %s\n", f.message);
    return status;
}
