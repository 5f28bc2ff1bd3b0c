/* The log of a run. */
#include "train/run_log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

void dukd_run_log_begin(dukd_run_log *log, FILE *screen) {
    *log = (dukd_run_log){.screen = screen, .is_terminal = screen && isatty(fileno(screen))};
    log->early =
        open_memstream(&log->early_text, &log->early_size); /* without memory: the first lines are missing */
}

static void end_early(dukd_run_log *log) {
    if (log->early) fclose(log->early);
    log->early = NULL;
    if (log->file && log->early_text) fputs(log->early_text, log->file);
    free(log->early_text);
    log->early_text = NULL;
}

int dukd_run_log_open(dukd_run_log *log, const char *path, dukd_failure *f) {
    log->file = fopen(path, "a");
    if (!log->file) return dukd_fail(f, DUKD_FAILED, "%s: cannot be opened: %s", path, strerror(errno));
    end_early(log);
    return 0;
}

static void wipe(dukd_run_log *log) {
    if (log->dirty) fputs("\r\033[K", log->screen);
    log->dirty = 0;
}

void dukd_run_log_close(dukd_run_log *log) {
    if (log->screen) wipe(log);
    end_early(log);
    if (log->file) fclose(log->file);
    log->file = NULL;
}

static void say(dukd_run_log *log, const char *level, const char *text) {
    char when[32];
    struct tm parts;
    time_t now = time(NULL);
    localtime_r(&now, &parts);
    strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S", &parts);
    if (log->screen) {
        wipe(log);
        fprintf(log->screen, "%s %s: %s\n", when, level, text);
        fflush(log->screen);
    }
    if (log->early) fprintf(log->early, "%s %s: %s\n", when, level, text);
    if (!log->file) return;
    if ((fprintf(log->file, "%s %s: %s\n", when, level, text) < 0 || fflush(log->file)) &&
        !log->file_broken) {
        log->file_broken =
            1; /* a full disk must not end a run whose next checkpoint may fit; that one will say so */
        if (log->screen)
            fprintf(log->screen, "%s WARNING: the log file cannot be written: %s\n", when, strerror(errno));
    }
}

#define FORMATTED(text, format)                                                                              \
    char text[2048];                                                                                         \
    va_list args;                                                                                            \
    va_start(args, format);                                                                                  \
    vsnprintf(text, sizeof text, format, args);                                                              \
    va_end(args)

void dukd_run_log_info(dukd_run_log *log, const char *format, ...) {
    FORMATTED(text, format);
    say(log, "INFO", text);
}

void dukd_run_log_warn(dukd_run_log *log, const char *format, ...) {
    FORMATTED(text, format);
    say(log, "WARNING", text);
}

void dukd_run_log_progress(dukd_run_log *log, const char *format, ...) {
    if (!log->is_terminal) return;
    FORMATTED(text, format);
    struct winsize size;
    size_t columns = 80;
    if (ioctl(fileno(log->screen), TIOCGWINSZ, &size) == 0 && size.ws_col > 1) columns = size.ws_col;
    if (strlen(text) >= columns) { /* a wrapped line could not be written over; no word is cut in two */
        text[columns - 1] = 0;
        char *space = strrchr(text, ' ');
        if (space) *space = 0;
    }
    fprintf(log->screen, "\r%s\033[K", text);
    fflush(log->screen);
    log->dirty = 1;
}
