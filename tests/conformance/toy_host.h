/* The smallest host that can hold a session: networks that are formulas (toy_step.h), tensors in plain memory, no weights; and
 * an eye on what the plugin asks of it. */
#ifndef TOY_HOST_H
#define TOY_HOST_H

#include <pthread.h>

#include "conform.h"
#include "toy_params.h"
#include "toy_tensor.h"

enum { TOY_STUDENT, TOY_TEACHER, TOY_FEATURES, TOY_NETWORKS };

/* How a session is made; zero is the usual way. */
typedef struct {
    int64_t n, height, width; /* of LR; 0: 2, 8, 8 */
    int32_t scale;            /* 0: 2 */
    uint32_t threads;         /* parallel_for is offered with so many; 0: it is not */
    int one_by_one;           /* parallel_for runs its tasks backwards, in one thread, as changing workers */
    int bare;                 /* the host offers nothing but what is required */
    uint32_t micro_count;     /* 0: 1 */
    uint32_t flags;
    uint64_t seed;         /* 0: 7 */
    dukd_dtype type;       /* of LR and HR; 0: f32 */
    toy_layout layout;     /* of LR and HR */
    int64_t allocations;   /* so many succeed, the others fail; 0: all succeed, -1: none */
    int32_t refuse_shapes; /* tap_shape refuses each input */
} toy_setup;

typedef struct toy_block toy_block;

/* Counters are written under the lock, and read where no call is in progress. */
typedef struct {
    dukd_host host;
    toy_setup setup;
    toy_tensor lr, hr;
    pthread_mutex_t lock;
    toy_block *blocks; /* that the plugin holds */
    int64_t held;      /* bytes of them */
    int64_t allocations_left, refused;
    int32_t shape_calls;   /* of tap_shape */
    int32_t cancel, asked; /* what should_cancel says, and how often it was asked */
    int64_t first_sample;  /* of the step in progress */
    int busy;              /* inside parallel_for */
    char wrong[160];       /* the first wrong thing that the plugin did; "" none */
    char stray[160];       /* the first service that was called where none may be; "" none */
} toy_host;

/* A host, params and a session, as a check needs them. Not to be copied. */
typedef struct {
    toy_host h;
    dukd_session_params params;
    dukd_session *s;
    toy_params own; /* the plugin's parameters */
} toy_session;

/* Host and params alone. */
conform_result toy_prepare(conform *c, toy_session *t, toy_setup setup);
/* Then the session, and memory for its parameters. A skip where the plugin refuses what it may refuse: micro-batches, loss scaling, 16-bit batches. */
conform_result toy_create(conform *c, toy_session *t);
/* Both. */
conform_result toy_open(conform *c, toy_session *t, toy_setup setup);
/* The session alone: what it then still holds of the host's memory is h.held. */
void toy_destroy(conform *c, toy_session *t);
/* Frees everything. What the plugin did wrong on the way is for the checks that look at it. */
void toy_close(conform *c, toy_session *t);

/* Whether these bytes are memory that the plugin got from the host. */
int toy_owns(toy_host *h, const void *data, uint64_t size);
/* First and last byte of a tensor's elements. */
void toy_extent(const dukd_tensor *t, const uint8_t **first, uint64_t *size);

/* Images of a batch whose first has this global index: each image depends on its index alone. */
void toy_fill(toy_host *h, int64_t first_sample);

#endif
