/* See step_times.h. */
#include "engine/step_times.h"

#include <string.h>

void dukd_step_times_note(dukd_step_times *t, const char *kind, double seconds) {
    int32_t i = 0;
    while (i < DUKD_STEP_KINDS - 1 && t->of[i].kind && strcmp(t->of[i].kind, kind) != 0) i++;
    t->of[i].kind = kind;
    t->of[i].steps++;
    t->of[i].seconds += seconds;
}

int32_t dukd_step_times_take(dukd_step_times *t, dukd_engine_time *out, int32_t room) {
    int32_t count = 0;
    for (int32_t i = 0; i < DUKD_STEP_KINDS && t->of[i].kind; i++) {
        if (count < room) out[count++] = t->of[i];
        t->of[i] = (dukd_engine_time){0};
    }
    return count;
}
