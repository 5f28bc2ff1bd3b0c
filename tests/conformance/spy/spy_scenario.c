/* A scenario in words: what each step hands out.
 *
 *     scenario  STEP | STEP ...        the last one is repeated; a step may be empty
 *     STEP      PASS PASS ...          in the order in which they are handed out
 *     PASS      FLAGS:INPUTS:TAPS
 *     FLAGS     of z ZERO_GRAD_BEFORE, b BACKWARD, o OPTIMIZE_AFTER, e EMA_AFTER, w WAIT comes before it, x a flag that is
 *               not known; - none
 *     INPUTS    letters: p the probe, q another image, r the probe with its first image twice, and without its
 *               last, n c k g f the probe with
 *               NULL strides, channels last, backwards, with gaps, with a byte_offset; l the host's own LR
 *     TAPS      with commas: s or t (student, teacher), the input's index, then T training mode, K keep, X a flag that is not
 *               known, =NUMBER wants a gradient, and the loss has so much of it
 *
 *     "zb:p:s0=1 bo:pl:s0=-1,t1K | -:p:s0" */
#include <stdlib.h>
#include <string.h>

#include "spy.h"

static int read_flags(spy_pass *p, const char **text) {
    static const char letters[] = "zboe";
    for (; **text && **text != ':'; ++*text) {
        const char *letter = strchr(letters, **text);
        if (letter)
            p->flags |= 1u << (letter - letters);
        else if (**text == 'w')
            p->waits = 1;
        else if (**text == 'x')
            p->flags |= SPY_UNKNOWN_FLAG;
        else if (**text != '-')
            return -1;
    }
    return *(*text)++ == ':' ? 0 : -1;
}

static int read_inputs(spy_pass *p, const char **text) {
    for (; **text && **text != ':'; ++*text) {
        if (p->n_inputs == SPY_INPUTS || !strchr("pqrnckgfl", **text)) return -1;
        p->inputs[p->n_inputs++] = **text;
    }
    return *(*text)++ == ':' && p->n_inputs ? 0 : -1;
}

static int read_tap(spy_pass *p, const char **text) {
    spy_tap t = {.network = *(*text)++};
    if (p->n_taps == SPY_TAPS || (t.network != 's' && t.network != 't')) return -1;
    t.input = (uint32_t)(*(*text)++ - '0');
    if (t.input >= p->n_inputs) return -1;
    for (; **text && **text != ',' && **text != ' '; ++*text)
        if (**text == 'T') {
            t.flags |= DUKD_TAP_MODE_TRAIN;
        } else if (**text == 'K') {
            t.flags |= DUKD_TAP_KEEP;
        } else if (**text == 'X') {
            t.flags |= SPY_UNKNOWN_FLAG;
        } else if (**text == '=') {
            char *end;
            t.flags |= DUKD_TAP_WANT_GRAD;
            t.coefficient = strtod(*text + 1, &end);
            if (end == *text + 1) return -1;
            *text = end - 1;
        } else {
            return -1;
        }
    p->taps[p->n_taps++] = t;
    return 0;
}

static int read_pass(spy_pass *p, const char **text) {
    memset(p, 0, sizeof *p);
    if (read_flags(p, text) || read_inputs(p, text)) return -1;
    do {
        if (read_tap(p, text)) return -1;
    } while (**text == ',' && (*text)++);
    return **text == ' ' || **text == '|' || !**text ? 0 : -1;
}

/* The same pass in two steps is one of the plan, twice in a step it is two. */
static int add_pass(spy_scenario *s, const spy_pass *p) {
    spy_step *step = &s->steps[s->n_steps - 1];
    uint32_t index = 0;
    for (; index < s->n_plan; index++) {
        int used = 0;
        for (uint32_t i = 0; i < step->n_passes; i++) used |= step->passes[i] == index;
        if (!used && memcmp(&s->plan[index], p, sizeof *p) == 0) break;
    }
    if (step->n_passes == SPY_PASSES || index == SPY_PASSES) return -1;
    if (index == s->n_plan) memcpy(&s->plan[s->n_plan++], p, sizeof *p); /* padding too: see above */
    step->passes[step->n_passes++] = index;
    return 0;
}

int spy_scenario_read(spy_scenario *out, const char *text) {
    memset(out, 0, sizeof *out);
    out->n_steps = 1;
    for (;;) {
        text += strspn(text, " ");
        if (!*text) return out->n_plan ? 0 : -1;
        if (*text == '|') {
            if (out->n_steps++ == SPY_STEPS) return -1;
            text++;
            continue;
        }
        spy_pass p;
        if (read_pass(&p, &text) || add_pass(out, &p)) return -1;
    }
}
