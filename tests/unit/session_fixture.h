/* A host for tests of the plugin's sessions: two tiny networks whose gradients are easy to write down, a step
 * loop that obeys the flags and writes down what happened, memory that can run out, and options from strings.
 *
 * A network is f(x)[n, c, i, j] = w x[n, c, i / s, j / s] + b (0.02 i - 0.03 j + 0.05 c): it does not commute
 * with flips, turns or inversion, so that a wrong D or D^-1 shows. A layer of it, whatever its name, is
 * FIXTURE_CHANNELS maps of its source's size, w x and a pattern of its name; network "features" has nothing else,
 * and its source may be a tap. Everything fails the running cmocka test
 * where it cannot be done. */
#ifndef DUKD_TEST_SESSION_FIXTURE_H
#define DUKD_TEST_SESSION_FIXTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dukd_ext_draws.h"
#include "dukd_plugin.h"
#include "session_tensors.h"

enum { FIXTURE_STUDENT, FIXTURE_TEACHER };
enum { FIXTURE_CHANNELS = 5, FIXTURE_TAPS = 64, FIXTURE_INPUTS = 4 };

typedef struct {
    double w, b;
} fixture_net;

/* A device that has its own memory. Its functions fail the running test where they cannot do it. */
typedef struct {
    dukd_device id;
    void *stream;
    void *(*take)(size_t bytes);
    void (*give_back)(void *p);
    void (*up)(void *stream, void *to, const void *from, size_t bytes);
    void (*down)(void *stream, void *to, const void *from, size_t bytes); /* waits for the stream */
    void (*around)(int entering);                                         /* each call into the plugin */
} fixture_device;

typedef struct {
    /* ---- set before fixture_open; fixture_init gives them defaults ---- */
    const fixture_device *device; /* where the plugin's tensors are; NULL: plain memory */
    const dukd_tensor *grad_scale_dev;
    int64_t n, c, h, w;
    int32_t scale;
    uint32_t micro_count, flags;
    uint64_t seed, caps;
    dukd_dtype dtype;     /* of LR and HR */
    dukd_dtype tap_dtype; /* of taps */
    dukd_dtype grad_dtype;
    const char *networks[3];
    uint32_t n_networks;
    bool own_memory;          /* the host offers alloc and free; else the plugin allocates itself */
    int64_t allocations_left; /* before alloc gives NULL; negative: no end */
    int64_t smallest;         /* image that the networks take */
    int32_t net_scale[2];     /* scale of each network */
    int64_t odd_layer;        /* layers of the teacher are so much wider; -1: it has none */
    int32_t cancel_after;     /* asks of should_cancel before it says so; negative: never */
    double grad_scale;
    fixture_net net[2]; /* student, teacher */
    fixture_layout tap_layout, batch_layout;
    /* one value at (row, col) of each HR image, in channel 0; `alone`: all others are 0 */
    struct {
        bool on, alone;
        int64_t row, col;
        double value;
    } spot;
    uint32_t grad_layout_after; /* gradients lie as the layout so many after tap_layout */
    uint32_t threads;           /* of the host's parallel_for; 0: the host has none */
    double rate;                /* of plain gradient descent at OPTIMIZE_AFTER */
    bool collect;               /* take passes until WAIT before submitting any */

    /* ---- what happened ---- */
    const dukd_plugin *plugin;
    dukd_session *session;
    dukd_host host;
    dukd_error error;
    char log[2048];
    char events[1024];         /* "pass0 zero backward optimize ema ..." of the last step */
    double dw, db;             /* the student's gradient since the last clearing */
    double dw_at[4], db_at[4]; /* the same at each OPTIMIZE_AFTER of the last step */
    uint32_t optimized;
    uint32_t taps_run[2]; /* by network, since fixture_init */
    int64_t outstanding;  /* allocations not freed */
    int64_t allocated;    /* since fixture_open */
    uint64_t largest;     /* allocation */
    int32_t cancel_asked;
    /* called after each submit, with the pass, its values and gradients; may be NULL */
    void (*watch)(void *ctx, const dukd_pass *pass, const dukd_tensor *const *values,
                  const dukd_tensor *const *grads);
    void *watch_ctx;
    const dukd_tensor *seen[FIXTURE_INPUTS]; /* the inputs of the pass that is watched, in plain memory */
    fixture_tensor seen_copy[FIXTURE_INPUTS];

    fixture_tensor lr, hr; /* the batch */
} fixture;

/* f32, 2 x 3 x 8 x 8 at scale 2, all caps, seed 7, the three networks. */
void fixture_init(fixture *f);
/* Makes the session by options as "train.w_kd=0.5", "train.terms=[rec, kd]", "train.noisy=~"; NULL ends the
 * list (which may be NULL). Option i has the place "opt.yml:i+1:3". Returns what create_session did. */
int32_t fixture_open(fixture *f, const char *const *options);
/* The same, and it must succeed. */
void fixture_must_open(fixture *f, const char *const *options);
/* Destroys the session; checks that nothing is left allocated. */
void fixture_close(fixture *f);

/* Makes a batch of pseudo-random images: image k is the same for the same global number first + k. */
void fixture_batch(fixture *f, int64_t first);
/* begin_step with the fixture's batch. */
int32_t fixture_begin(fixture *f, int64_t iteration, int64_t first, uint32_t micro_index);
/* A whole step, as a host does it: fixture_batch, begin, passes, end. Fails the test on any error. */
void fixture_step(fixture *f, int64_t iteration, int64_t first, uint32_t micro_index);
/* Computes the taps of one pass, submits it, and does what its flags say. Returns what submit_pass did. */
int32_t fixture_submit(fixture *f, const dukd_pass *pass);

double fixture_loss(fixture *f,
                    const char *name); /* of the last step; fails where there is none of that name */
bool fixture_has_loss(fixture *f, const char *name);

double fixture_pattern(int64_t c, int64_t i, int64_t j);

/* Fails unless the fixture's last error message contains every one of `parts` (ended by NULL) and ends
 * neatly. */
void fixture_expect_message(const fixture *f, const char *const *parts);
#define EXPECT_MESSAGE(f, ...) fixture_expect_message(f, (const char *const[]){__VA_ARGS__, NULL})
#define OPTIONS(...)           ((const char *const[]){__VA_ARGS__, NULL})

#endif
