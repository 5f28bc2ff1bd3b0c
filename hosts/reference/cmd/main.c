/* dukd-host: the reference host. This file holds the table of commands; each command is a file of its own. */
#include <stdio.h>
#include <string.h>

#include "cmd/args.h"
#include "cmd/commands.h"
#include "common/nearest.h"
#include "tensors/zip_file.h"
#include "train/ranks.h"

typedef struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *arguments, *summary;
} command_row;

static const command_row commands[] = {
    {"train", dukd_cmd_train, "OPT.yml", "train a network as an option file says (--resume goes on)"},
    {"test", dukd_cmd_test, "OPT.yml", "PSNR and SSIM on the test sets of an option file"},
    {"upscale", dukd_cmd_upscale, "-m NET IN... -o DIR", "super-resolve images of any size"},
    {"preview", dukd_cmd_preview, "OPT.yml", "a picture of what a training step sees"},
    {"info", dukd_cmd_info, "OPT.yml", "parameters, multiply-adds, memory and speed of the networks"},
    {"prepare", dukd_cmd_prepare, "HR_DIR OUT --scale 4", "bit-exact LR files and a tiled training set"},
    {"metrics", dukd_cmd_metrics, "SR_DIR HR_DIR --scale 4", "PSNR and SSIM of images on disk"},
    {"convert", dukd_cmd_convert, "A.pth B.safetensors",
     "checkpoints of BasicSR and of the networks' authors"},
    {"plugin", dukd_cmd_plugin, "[LIB.so]", "what a plugin says of itself"},
};
enum { COMMANDS = sizeof commands / sizeof *commands };

static void help(FILE *to) {
    fprintf(to, "dukd-host " DUKD_VERSION
                ": trains, tests and runs super-resolution networks with a DUKD plugin\n\n"
                "usage: dukd-host COMMAND ...\n\ncommands:\n");
    for (int i = 0; i < COMMANDS; i++)
        fprintf(to, "  %-8s %-24s %s\n", commands[i].name, commands[i].arguments, commands[i].summary);
    fprintf(to, "\nEvery command has --help with an example. Exit status: 0 done, 1 failed, 2 misused.\n"
                "\nexample:\n  dukd-host train yaml/demo/dukd.yml\n");
}

/* What was printed may have been lost long before the end: on a full disk, in a closed pipe. */
static int end(const char *command, int status) {
    const int lost = ferror(stdout);
    if (!fflush(stdout) && !lost) return status;
    if (status != DUKD_DONE) return status; /* it has been said what failed */
    fprintf(stderr, "dukd-host%s%s: cannot write to standard output: is the disk full?\n", command ? " " : "",
            command ? command : "");
    return DUKD_FAILED;
}

static int unknown(const char *word) {
    int32_t hit = dukd_nearest(word, &commands[0].name, COMMANDS, sizeof *commands);
    fprintf(stderr, "dukd-host: unknown command '%s'", word);
    if (hit >= 0) fprintf(stderr, ", did you mean '%s'?", commands[hit].name);
    fprintf(stderr, " (dukd-host --help lists them)\n");
    return DUKD_MISUSED;
}

int main(int argc, char **argv) {
    if (argc < 2) {
        help(stderr);
        return DUKD_MISUSED;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
        help(stdout);
        return end(NULL, DUKD_DONE);
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("dukd-host " DUKD_VERSION "%s\n",
               dukd_zip_is_built_in() ? ""
                                      : " (built without libzip: no .pth files of PyTorch 1.6 and later)");
        char mpi[512];
        dukd_ranks_describe(mpi, sizeof mpi);
        printf("  %s\n", mpi);
        return end(NULL, DUKD_DONE);
    }
    for (int i = 0; i < COMMANDS; i++)
        if (strcmp(argv[1], commands[i].name) == 0) return end(argv[1], commands[i].run(argc - 1, argv + 1));
    return unknown(argv[1]);
}
