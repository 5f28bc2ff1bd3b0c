/* The command line of dukd-conform --host, and what its runs need. */
#include "host.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char host_help[] =
    "checking a host:\n"
    "  --host COMMAND      a shell command that trains with the plugin {plugin} for {steps} iterations, from "
    "the\n"
    "                      same weights each time; {work} is an empty folder, {micro} the number of parts "
    "into\n"
    "                      which a batch is split (left out: micro-batches are not checked)\n"
    "  --resumes COMMAND   goes on with the run in {work}, up to iteration {steps}\n"
    "  --loads COMMAND     the same as --host, but begins with the weights in the file {start}\n"
    "  --weights FILE      where a run writes its weights: FILE.safetensors, or plain f32 values under any\n"
    "                      other name; FILE#PREFIX: only tensors whose names begin so\n"
    "  --average FILE      the same for the average of the weights\n"
    "  --rate R            the command makes plain gradient descent at this rate: no momentum, no weight "
    "decay\n"
    "  --drops             student and teacher have layers that depend on the mode (dropout)\n"
    "  --spy FILE          dukd-spy.so, where it is not beside this program\n"
    "  --keep              leave the folder with all runs, and say where it is\n"
    "\n"
    "Names in braces are replaced by words for the shell: do not put quotes around them.\n";

/* Takes argv[*i] and its value; 0: it is none of these, -1: its value is missing or wrong. */
int host_take(host_setup *h, int argc, char **argv, int *i) {
    const struct {
        const char *name, **to;
    } texts[] = {{"--host", &h->command},    {"--resumes", &h->resumes}, {"--loads", &h->loads},
                 {"--weights", &h->weights}, {"--average", &h->average}, {"--spy", &h->spy_file}};
    for (size_t k = 0; k < sizeof texts / sizeof *texts; k++) {
        if (strcmp(argv[*i], texts[k].name) != 0) continue;
        if (*i + 1 >= argc) return -1;
        *texts[k].to = argv[++*i];
        return 1;
    }
    if (strcmp(argv[*i], "--drops") == 0) return h->drops = 1;
    if (strcmp(argv[*i], "--keep") == 0) return h->keep = 1;
    if (strcmp(argv[*i], "--rate") != 0) return 0;
    if (*i + 1 >= argc) return -1;
    char *end;
    h->rate = strtod(argv[++*i], &end);
    return !*end && h->rate > 0 && h->rate < 1e6 ? 1 : -1;
}

/* Why the templates cannot be used; NULL: they can. */
const char *host_wrong(const host_setup *h) {
    if (!strstr(h->command, "{plugin}") || !strstr(h->command, "{steps}"))
        return "--host wants a command with {plugin} and {steps}";
    if (h->resumes && (!strstr(h->resumes, "{plugin}") || !strstr(h->resumes, "{work}")))
        return "--resumes wants a command with {plugin} and {work}";
    if (h->loads && (!strstr(h->loads, "{plugin}") || !strstr(h->loads, "{start}")))
        return "--loads wants a command with {plugin} and {start}";
    if (h->loads && !h->weights) return "--loads goes with --weights";
    return NULL;
}

/* The spy lies beside the program, or where it was installed. */
static int find_spy(host_setup *h) {
    static const char *const places[] = {"dukd-spy.so", "../" DUKD_LIBDIR "/dukd/dukd-spy.so"};
    char self[PATH_MAX], path[2 * PATH_MAX];
    if (h->spy_file) return realpath(h->spy_file, h->spy) ? 0 : -1;
    const ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    if (n < 0) return -1;
    self[n] = 0;
    *strrchr(self, '/') = 0;
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        snprintf(path, sizeof path, "%s/%s", self, places[i]);
        if (realpath(path, h->spy)) return 0;
    }
    return -1;
}

int host_open(host_setup *h) {
    const char *folder = getenv("TMPDIR");
    if (find_spy(h)) {
        fprintf(stderr, "dukd-conform: %s: cannot be found; say where it is by --spy FILE\n",
                h->spy_file ? h->spy_file : "dukd-spy.so");
        return -1;
    }
    snprintf(h->root, sizeof h->root, "%.4000s/dukd-conform-XXXXXX", folder && *folder ? folder : "/tmp");
    if (mkdtemp(h->root)) return 0;
    fprintf(stderr, "dukd-conform: %s: no folder can be made: %s\n", h->root, strerror(errno));
    return -1;
}

void host_close(const host_setup *h) {
    if (h->keep)
        fprintf(stderr, "all runs are in %s\n", h->root);
    else
        host_remove(h->root);
}
