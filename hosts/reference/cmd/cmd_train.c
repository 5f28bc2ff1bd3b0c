/* dukd-host train: trains a network as an option file says. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd/args.h"
#include "cmd/commands.h"
#include "common/plugin_load.h"
#include "train/ranks.h"
#include "train/run_options.h"
#include "train/trainer.h"

enum { MAX_SEEDS = 100 };

typedef struct {
    const char *file, *plugin, *engine, *command;
    int32_t resume, auto_resume, quiet;
    dukd_texts set, force;
    uint64_t seeds[MAX_SEEDS];
    int32_t seed_count;
} train_arguments;

/* ---------------------------------------------------------------- signals */

static volatile sig_atomic_t stop_asked;

/* The first signal asks the trainer to save and leave; the second one does not wait for that. */
static void on_signal(int signal_number) {
    static const char message[] = "\nleaving at once; the last checkpoint is whole\n";
    if (stop_asked && signal_number == SIGINT) {
        if (write(STDERR_FILENO, message, sizeof message - 1) < 0) _exit(DUKD_FAILED);
        _exit(DUKD_FAILED);
    }
    stop_asked = 1;
}

static void catch_signals(const dukd_ranks *ranks) {
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    if (ranks) sigaction(SIGUSR1, &action, NULL); /* which launchers pass on, and do not kill after */
    struct sigaction hang_up;
    if (sigaction(SIGHUP, NULL, &hang_up) == 0 && hang_up.sa_handler != SIG_IGN) /* nohup stays nohup */
        sigaction(SIGHUP, &action, NULL);
}

/* ---------------------------------------------------------------- the command line */

static int read_seeds(train_arguments *a, const char *text, dukd_failure *f) {
    const char *p = text;
    while (p && *p) {
        char *end;
        errno = 0;
        unsigned long long seed = strtoull(p, &end, 10);
        if (end == p || (*end && *end != ',') || errno || *p == '-' || seed > INT64_MAX)
            return dukd_fail(f, DUKD_MISUSED,
                             "--seeds wants whole numbers with commas between them, not '%s'", text);
        if (a->seed_count == MAX_SEEDS)
            return dukd_fail(f, DUKD_MISUSED, "--seeds takes at most %d seeds", MAX_SEEDS);
        a->seeds[a->seed_count++] = seed;
        p = *end ? end + 1 : end;
    }
    return DUKD_DONE;
}

/* argv as one line, for the record. malloc'd; NULL: no memory. */
static char *join(int argc, char **argv) {
    size_t size = sizeof "dukd-host";
    for (int i = 0; i < argc; i++) size += strlen(argv[i]) + 1;
    char *line = malloc(size);
    if (!line) return NULL;
    strcpy(line, "dukd-host");
    for (int i = 0; i < argc; i++) {
        strcat(line, " ");
        strcat(line, argv[i]);
    }
    return line;
}

/* ---------------------------------------------------------------- runs */

/* seed NULL: the file's own. */
static int train_one(const train_arguments *a, const dukd_library *library, dukd_ranks *ranks,
                     const uint64_t *seed, dukd_failure *f) {
    dukd_run_options *o = NULL;
    const dukd_run_overrides overrides = {a->set.items, a->set.count, a->force.items, a->force.count};
    int status = dukd_run_options_read(&o, a->file, &overrides, dukd_library_info(library), f);
    if (!status) status = dukd_run_options_for_engine(o, a->engine, f);
    if (!status && seed) status = dukd_run_options_for_seed(o, *seed, f);
    const dukd_train_settings settings = {
        .options = o,
        .library = library,
        /* Of several runs some may not have begun when the others were interrupted. */
        .resume = a->auto_resume || (a->resume && seed) ? DUKD_RESUME_IF_ANY
                  : a->resume                           ? DUKD_RESUME_MUST
                                                        : DUKD_RESUME_NO,
        .stop = &stop_asked,
        .screen = a->quiet ? NULL : stdout,
        .command = a->command,
        .ranks = ranks,
    };
    if (status)
        status = dukd_ranks_meet(ranks, DUKD_AT_OPTIONS, status, NULL, f);
    else
        status = dukd_train(&settings, f);
    dukd_run_options_destroy(o);
    return status;
}

static int train_all(const train_arguments *a, dukd_ranks *ranks, dukd_failure *f) {
    dukd_library *library = NULL;
    int status = dukd_library_open(&library, a->plugin, f);
    status = dukd_ranks_meet(ranks, DUKD_AT_PLUGIN, status, NULL, f);
    if (status) goto end;
    catch_signals(ranks);
    if (!a->seed_count) status = train_one(a, library, ranks, NULL, f);
    for (int32_t i = 0; i < a->seed_count && !status; i++)
        status = train_one(a, library, ranks, &a->seeds[i], f);
end:
    dukd_library_close(library);
    return status;
}

/* A failure is known to all ranks; one of them tells it, before any of them ends. */
static int train_by_ranks(const train_arguments *a, dukd_failure *f) {
    dukd_ranks *ranks = NULL;
    int status = dukd_ranks_open(&ranks, f);
    if (!status) status = train_all(a, ranks, f);
    if (!status || dukd_ranks_speaks(ranks)) status = dukd_command_end("train", status, f);
    fflush(stdout);
    dukd_ranks_close(ranks);
    return status;
}

int dukd_cmd_train(int argc, char **argv) {
    train_arguments a = {0};
    const char *opt = NULL, *seeds = NULL;
    dukd_texts files = {0};
    dukd_failure f = {0};
    char *line = join(argc, argv);
    const dukd_arg args[] = {
        {"--resume", NULL, DUKD_ARG_FLAG, NULL, "go on from the newest training state", &a.resume},
        {"--set", NULL, DUKD_ARG_TEXTS, "KEY=VALUE", "replace a key of the option file", &a.set},
        {"--seeds", NULL, DUKD_ARG_TEXT, "1,2,3", "train NAME_seed1, NAME_seed2, ... one after the other",
         &seeds},
        {"--engine", NULL, DUKD_ARG_TEXT, "NAME", "auto, onednn or cuda (else engine of the option file)",
         &a.engine},
        {"--plugin", NULL, DUKD_ARG_TEXT, "LIB.so", "the plugin (else $DUKD_PLUGIN, else ../lib/libdukd.so)",
         &a.plugin},
        {"--quiet", "-q", DUKD_ARG_FLAG, NULL, "nothing on the terminal; the log file has it all", &a.quiet},
        {"--opt", "-opt", DUKD_ARG_TEXT, "OPT.yml", "the option file, in BasicSR's spelling", &opt},
        {"--auto_resume", NULL, DUKD_ARG_FLAG, NULL,
         "as BasicSR: --resume where there is a state, else begin", &a.auto_resume},
        {"--force_yml", NULL, DUKD_ARG_MANY, "KEY:KEY=VALUE", "--set in BasicSR's spelling", &a.force},
    };
    const dukd_command command = {
        .command = "train",
        .summary = "Trains a network as an option file says. The plugin decides what is trained by.",
        .positionals = "OPT.yml",
        .details =
            "Everything goes to experiments/NAME: models/, training_states/, train_NAME.log, "
            "metrics.jsonl, run.json,\n"
            "tb_logger/. A folder of that name from an earlier run is renamed first. Ctrl-C saves and "
            "leaves; a second\n"
            "one leaves at once. A run that was interrupted, killed too, goes on by --resume with the "
            "same bits.\n"
            "Started by mpirun, the processes share each batch: batch_size_per_gpu is of each of them. "
            "mpirun -n 2 with a\n"
            "batch of 8 trains as one process with 16 does.\n"
            "Where other programs run too, set num_threads to the processors that are free: threads "
            "that wait for\n"
            "each other spin.",
        .example = "dukd-host train yaml/demo/dukd.yml\n"
                   "dukd-host train OPT.yml --set train.total_iter=1000 --set num_threads=4 --seeds 1,2,3\n"
                   "mpirun -n 2 dukd-host train OPT.yml\n"
                   "dukd-host train -opt OPT.yml --auto_resume --force_yml train:optim_g:lr=2e-4",
        .max_positionals = 1,
        .args = args,
        .arg_count = sizeof args / sizeof *args,
    };
    int status = dukd_args_parse(&command, argc, argv, &files, &f);
    a.file = files.count ? files.items[0] : opt;
    a.command = line;
    if (status == DUKD_DONE && (!a.file || (files.count && opt)))
        status = dukd_fail(&f, DUKD_MISUSED, "give one option file: dukd-host train OPT.yml (see --help)");
    if (status == DUKD_DONE) status = read_seeds(&a, seeds, &f);
    status = status == DUKD_DONE ? train_by_ranks(&a, &f) : dukd_command_end("train", status, &f);
    dukd_texts_free(&a.set);
    dukd_texts_free(&a.force);
    dukd_texts_free(&files);
    free(line);
    return status;
}
