/* A plugin whose steps a test writes down: which passes, with which inputs, taps and flags. It makes no losses of its own: a tap's
 * gradient is a constant, and what it was called with can be looked at. One session at a time. */
#ifndef DUKD_TEST_TOY_PLUGIN_H
#define DUKD_TEST_TOY_PLUGIN_H

#include <stdint.h>

#include "dukd_plugin.h"

enum { TOY_PASSES = 4, TOY_INPUTS = 2, TOY_TAPS = 6 };

typedef enum {
    TOY_LR,       /* the batch's LR itself */
    TOY_MIRRORED, /* LR seen from right to left: a negative stride */
    TOY_HALF,     /* a dense tensor of half the size: LR's upper left quarter */
} toy_source;

typedef struct {
    uint32_t network, input, flags;
} toy_tap;

typedef struct {
    uint32_t flags;
    int32_t after; /* pass that must be submitted before this one is handed out; -1: none */
    uint32_t n_inputs, n_taps;
    toy_source inputs[TOY_INPUTS];
    toy_tap taps[TOY_TAPS];
} toy_pass;

typedef struct {
    uint32_t n_passes;
    toy_pass passes[TOY_PASSES];
    float gradient[TOY_PASSES][TOY_TAPS];    /* of every element of a tap */
    const char *layer[TOY_PASSES][TOY_TAPS]; /* NULL: the network's output */
    int32_t derived[TOY_PASSES][TOY_TAPS];   /* 1: `input` is an earlier tap */
    double loss;                             /* what read_losses says, as "l_toy" */
    int32_t fail_submit;                     /* pass whose submission is refused; -1: none */
    int32_t lie;   /* 1: the plan announces another number of taps than the passes have */
    int32_t stuck; /* 1: waits for ever */
} toy_script;

/* What happened, since toy_reset. */
typedef struct {
    char calls[1024];                    /* "begin next:0 next:wait submit:0 ... end read cancel" */
    float *values[TOY_PASSES][TOY_TAPS]; /* copies of what was submitted last; NULL: not yet */
    int64_t sizes[TOY_PASSES][TOY_TAPS];
    int64_t first_sample, iteration; /* of the last begin_step */
    uint32_t micro_index, micro_count;
    float first_lr;   /* the first element of its LR */
    uint64_t state;   /* what get_state gives and set_state takes */
    int32_t sessions; /* open */
} toy_report;

extern toy_script toy_plays;
extern toy_report toy_saw;

const dukd_plugin *toy_plugin(void);
void toy_reset(void); /* forgets what happened, and the script */

#endif
