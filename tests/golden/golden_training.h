/* Replays a recorded training run (official_*, paper_* of ../shared/golden) through the plugin's ABI:
 * networks by the double precision oracle, Adam and the average of the weights as the golden README states
 * them, draws by "dukd.draws/1". */
#ifndef DUKD_TEST_GOLDEN_TRAINING_H
#define DUKD_TEST_GOLDEN_TRAINING_H

#include <stdint.h>

#include "dukd_ext_draws.h"
#include "dukd_plugin.h"
#include "graph/graph.h"
#include "support/golden.h"

typedef struct {
    double *weights, *m, *v, *ema, *gradient;
    int64_t count, steps;
} trained;

typedef struct {
    /* ---- set by the test ---- */
    const char *file;
    const char *const *options; /* "train.w_kd=0.5", ...; ended by NULL */
    int32_t scale, images;
    dukd_draw_source source;
    /* called when a pass has been submitted and its gradients are added up, before the optimizer; may be NULL
     */
    void (*watch)(void *training, const dukd_pass *pass);

    /* ---- what there is ---- */
    dukd_golden *golden;
    dukd_graph *student_net, *teacher_net;
    float *teacher;
    trained student;
    int64_t iteration, iterations, h, w;
    int32_t optimized; /* OPTIMIZE_AFTER so far in this iteration */
    dukd_session *session;
    const dukd_plugin *plugin;
    dukd_losses losses; /* of the last iteration */
} training;

/* Opens the file and makes networks and session. Skips the running test where the file is not there. */
void training_open(training *t);
void training_close(training *t);
/* The next iteration: the recorded batch, all passes, all optimizer steps. */
void training_iterate(training *t);

double training_loss(const training *t, const char *name);
/* Index of an image among the draws of a table: crop c of image b is c * images + b. */
int64_t training_row(const training *t, const dukd_draw *draw);
/* Compares a gradient with tensors NAME.*: max|delta| / max|reference| per tensor. */
void training_check_gradient(const training *t, const char *name, double tolerance);
/* Compares weights with tensors NAME.*, absolutely. */
void training_check_weights(const training *t, const double *weights, const char *name, double tolerance);

#endif
