/* dukd_plugin.h: how a host trainer and a knowledge-distillation plugin for super-resolution talk to each
 * other.
 *
 * DRAFT 2. Host and plugin must have been built for the same draft; see dukd_get_plugin_draft at the end.
 * This file needs nothing but <stdint.h>, compiles as C99 and as C++, and holds for 64-bit little-endian
 * platforms.
 *
 * THE IDEA. The host has networks, data, an optimizer and a device; it knows nothing of distillation. The
 * plugin has a method; it knows nothing of networks. Per batch the plugin hands out PASSES. A pass carries
 * INPUTS (tensors that the plugin made, or the host's own batch) and TAPS (tensors that it wants computed
 * from them: "the student's output for input 1, and give it back its gradient", "the teacher's output for
 * input 0"). The host computes the taps and submits them; the plugin computes its losses and writes
 * d(loss)/d(tap); the host runs backward, and the optimizer when the pass's flags say so:
 *
 *     begin_step(session, &step, &error)                 the batch: LR and HR, iteration, first global sample
 *     while ((r = next_pass(session, &pass, &error)) == DUKD_OK)
 *         if (pass->flags & DUKD_PASS_ZERO_GRAD_BEFORE)  clear all gradients
 *         compute every tap of pass->taps                run student and teacher on pass->inputs
 *         submit_pass(session, &submit, &error)          values in, gradients out
 *         if (pass->flags & DUKD_PASS_BACKWARD)          backpropagate; parameter gradients add up
 *         if (pass->flags & DUKD_PASS_OPTIMIZE_AFTER)    one optimizer step; gradients are NOT cleared by it
 *         if (pass->flags & DUKD_PASS_EMA_AFTER)         one update of the weights' moving average
 *     end_step(session, &error)                          r was DUKD_STEP_DONE
 *     move the learning rate's schedule by one iteration
 *     read_losses(session, &losses, &error)              when a log line is due
 *
 * A host may take several passes before it submits them, in any order, to batch what the teacher has to do.
 * next_pass says DUKD_WAIT when the next pass depends on one that is not submitted yet (or must come after
 * its optimizer step): submit all you hold and do what their flags say, then ask again. A host that submits each pass
 * before it asks for the next is never told to wait.
 *
 * The plugin cannot see whether flags were obeyed: a host may run a step only to look at its losses or to check a
 * gradient. It keeps no history either: iterations may repeat, jump and go back. A host that keeps no average of the
 * weights ignores EMA_AFTER. A pass without ZERO_GRAD_BEFORE adds to the gradients that are there, also where an
 * optimizer step has used them already (the authors' official mode is such a method).
 *
 * TRAINED are all parameters of the student, those of every other network that has a tap with WANT_GRAD whose source is an input in
 * the plan, and those that the plugin brings itself (dukd_ext_params.h). A network whose taps with WANT_GRAD are all derived from
 * other taps (a feature extractor on the student's output) is not trained: gradients pass through it to the sources. Clearing,
 * backward, optimizer and average are for all that is trained. Networks may
 * share parameters (a student that is a part of its teacher): these are one, their gradients add up, and they are optimized once.
 *
 * MICRO-BATCHES. With micro_count m the loop runs m times an iteration, each time with its own part of the batch, begin_step
 * to end_step, micro_index 0 to m - 1. Flags clear in the first and optimize in the last; the
 * gradients of submit_pass are divided by m already, so the host must only add them up; the
 * schedule moves and losses can be read after the last. All parts have the session's shape: drop a last, smaller batch.
 *
 * THREADS. [discovery]: any thread, any time, no session needed. [session]: never two at once on the same
 * session, any thread otherwise; different sessions are independent. [thread-safe]: any thread, also while
 * another is inside the session. A session does not survive fork: in the child every call but destroy_session
 * returns DUKD_E_STATE.
 *
 * STREAMS, in CUDA sessions. begin_step, next_pass, submit_pass, end_step and cancel_step enqueue on the step's stream and
 * wait for nothing. What is said of tensors' data "until end_step" is meant in that stream's order: after end_step a host may
 * write to them or free them behind what is enqueued there. read_losses waits for the stream of the last step; create_session and
 * destroy_session may wait for the device. A host that goes on with another stream, for a step or a micro-batch, makes it
 * wait for the former one (cudaStreamWaitEvent). A stream must live until a step has begun on another one, or until
 * destroy_session. NULL is the legacy default stream; cudaStreamPerThread is refused. Capturing into a CUDA graph goes
 * by dukd_ext_graph.h alone. Streams and memory are those of the devices' primary contexts, as the CUDA runtime's are. Every
 * call leaves the thread's device and context as they were. A fault on the device, whoever caused it, is DUKD_E_BACKEND of the
 * call that meets it, and CUDA is then lost to the process. query_backend and create_session start CUDA: children that are
 * forked afterwards cannot use it.
 *
 * STRUCTS. Every struct but the DLPack ones begins with struct_size, set by whoever allocates it. A reader
 * touches nothing past struct_size. An input struct larger than the reader knows must be zero past what it
 * knows, else the reader answers DUKD_E_UNSUPPORTED; one smaller than the DUKD_..._SIZE of this draft is
 * DUKD_E_ARGUMENT. In an output struct the unknown tail is left as it was. Later versions only append. Fields
 * named pad are zero. Unknown flags are errors.
 *
 * ERRORS. Functions return an int32_t: DUKD_OK, a positive outcome, or a negative error. They take a
 * dukd_error that may be NULL and is written only on errors (never where its struct_size is too small): one struct can
 * serve all calls, and what is in it after DUKD_OK is of an earlier error. Messages are always terminated, cut at 255
 * bytes. After DUKD_E_ARGUMENT, _OPTION, _UNSUPPORTED and
 * _STATE nothing has changed. After any other error outputs are unspecified, and cancel_step and
 * destroy_session still work.
 *
 * STRINGS are UTF-8 and zero-terminated. Strings and arrays that a plugin gives out of [discovery] live as
 * long as the library is loaded; those it gives out of a session as long as the function's comment says. */
#ifndef DUKD_PLUGIN_H
#define DUKD_PLUGIN_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if UINTPTR_MAX != UINT64_MAX
#error "dukd_plugin.h is defined for 64-bit platforms"
#endif

#define DUKD_ABI_DRAFT 2u

/* ---------------------------------------------------------------- outcomes */

#define DUKD_OK            0
#define DUKD_STEP_DONE     1 /* next_pass: this step has no more passes; submit those you hold, then end_step */
#define DUKD_WAIT          2 /* next_pass: submit the passes you hold, do what they say, then ask again */
#define DUKD_WEIGHTS_MOVED 3 /* cancel_step: done, but an optimizer step had been asked for already */

#define DUKD_E_ARGUMENT    (-1) /* a NULL, a wrong size, shape, type, stride, index or flag */
#define DUKD_E_OPTION      (-2) /* an option: unknown, wrong type, out of range, or not together with another */
#define DUKD_E_UNSUPPORTED (-3) /* well-formed, but this plugin, backend or host cannot do it */
#define DUKD_E_STATE       (-4) /* this call does not come now: order of calls, or a forked session */
#define DUKD_E_MEMORY      (-5) /* an allocation failed */
#define DUKD_E_BACKEND     (-6) /* the device or a library below failed */
#define DUKD_E_CANCELLED   (-7) /* the host's should_cancel said so */
#define DUKD_E_INTERNAL    (-8) /* a bug of the plugin */

typedef struct dukd_error {
    uint32_t struct_size; /* in: DUKD_ERROR_SIZE or more, set by the caller */
    int32_t code;         /* out: what the function returned */
    char message[256];    /* out: what was wrong and what to change; one line */
} dukd_error;

/* ---------------------------------------------------------------- tensors
 *
 * Bit-identical to DLPack's DLTensor: any framework's tensor can be passed by a pointer cast. Shapes are
 * N x C x H x W (ndim 4) unless said otherwise. strides count elements; NULL is dense row-major. The data
 * begin at (char *)data + byte_offset. Any strides are accepted (channels_last, slices, negative and zero
 * ones); only gradients whose elements overlap are refused. */

#define DUKD_DEVICE_CPU       1 /* kDLCPU */
#define DUKD_DEVICE_CUDA      2 /* kDLCUDA */
#define DUKD_DEVICE_CUDA_HOST 3 /* kDLCUDAHost: pinned memory, used as CPU memory: not by a CUDA session */

#define DUKD_TYPE_FLOAT  2u /* kDLFloat: bits 16 or 32 */
#define DUKD_TYPE_BFLOAT 4u /* kDLBfloat: bits 16 */

typedef struct dukd_device {
    int32_t device_type; /* DUKD_DEVICE_... */
    int32_t device_id;
} dukd_device;

typedef struct dukd_dtype {
    uint8_t code;   /* DUKD_TYPE_... */
    uint8_t bits;   /* 32 or 16 */
    uint16_t lanes; /* 1 */
} dukd_dtype;

typedef struct dukd_tensor {
    void *data;
    dukd_device device;
    int32_t ndim;
    dukd_dtype dtype;
    int64_t *shape;   /* [ndim] */
    int64_t *strides; /* [ndim], or NULL */
    uint64_t byte_offset;
} dukd_tensor;

/* ---------------------------------------------------------------- what a plugin says of itself */

#define DUKD_OPTION_BOOL   1u /* true | false */
#define DUKD_OPTION_INT    2u
#define DUKD_OPTION_FLOAT  3u
#define DUKD_OPTION_STRING 4u     /* one of `choices` where there are any */
#define DUKD_OPTION_LIST   0x100u /* or-ed to a type: a list of it; a scalar counts as a list of one */

/* One row of the option table: option checking, --help and the documentation are made of it. */
typedef struct dukd_option_info {
    uint32_t struct_size;
    uint32_t type;              /* DUKD_OPTION_... */
    const char *name;           /* dotted key in an option file: "train.w_kd" */
    const char *default_text;   /* as one would write it; NULL: no default, the option may be absent */
    double min, max;            /* range of numbers, inclusive; -INFINITY and INFINITY: none */
    const char *const *choices; /* [n_choices], or NULL */
    uint32_t n_choices;
    uint32_t pad0;
    const char *help; /* one line */
} dukd_option_info;

typedef struct dukd_loss_info {
    uint32_t struct_size;
    uint32_t pad0;
    const char *name; /* as in train.terms */
    const char *help; /* one line: formula, source */
} dukd_loss_info;

typedef struct dukd_plugin_info {
    uint32_t struct_size;
    uint32_t n_losses;
    uint32_t n_options;
    uint32_t n_backends; /* query_backend takes 0 .. n_backends - 1 */
    const char *name;    /* "dukd" */
    const char *version; /* semantic version */
    const char *build;   /* compiler, options, libraries: free text for a bug report */
    const dukd_loss_info *const *losses;
    const dukd_option_info *const *options;
} dukd_plugin_info;

typedef struct dukd_backend_info {
    uint32_t struct_size;
    int32_t usable; /* 1: a session can use it on this machine; 0: `detail` says why not */
    int32_t device_type;
    uint32_t pad0;
    char name[32];    /* as in option `backend`: "cpu", "cuda" */
    char detail[256]; /* what it found ("AVX-512, 8 threads") or why it is not usable */
} dukd_backend_info;

/* ---------------------------------------------------------------- what a host gives a session */

/* One option of an option file that is meant for the plugin: a scalar, a list of scalars, or an explicit null, which means
 * the default. A host passes every key that is not its own, not only those of the option table, so that a mistyped one is
 * refused with the right name. Texts are as YAML resolves them: true and false, decimal integers, finite decimal
 * numbers (1e-4), each key once, strings without quotes. A list is a LIST, never a SCALAR of "[a, b]". A section that is there
 * but empty is a null of the section's own name ("train.noisy"). A host without lists can pass a list of one as a
 * SCALAR. Whoever has no file to name gives a place that helps all the same ("command line"). */
#define DUKD_VALUE_SCALAR 1u
#define DUKD_VALUE_LIST   2u
#define DUKD_VALUE_NULL   3u

typedef struct dukd_option {
    uint32_t struct_size;
    uint32_t kind;             /* DUKD_VALUE_... */
    const char *key;           /* "train.noisy.prob" */
    const char *place;         /* "file.yml:12:5", for messages; may be NULL */
    const char *const *values; /* [n_values] text as written, unquoted */
    uint32_t n_values;         /* scalar: 1; null: 0 */
    uint32_t pad0;
} dukd_option;

typedef struct dukd_tap dukd_tap;

/* What the host can do; unknown bits are ignored. A plugin that needs more refuses the session and says what. So a host
 * without a cap never sees what the cap is for: without OTHER_GRAD only taps of the student have WANT_GRAD. A
 * host whose networks do the same in both modes has MODE_TRAIN. */
#define DUKD_CAP_TWO_STEPS  0x01ull /* several OPTIMIZE_AFTER in a step */
#define DUKD_CAP_LAYERS     0x02ull /* taps with from_layer or layer set */
#define DUKD_CAP_DERIVED    0x04ull /* taps computed from earlier taps */
#define DUKD_CAP_OTHER_GRAD 0x08ull /* gradients into networks other than the student */
#define DUKD_CAP_MODE_TRAIN 0x10ull /* networks other than the student in training mode */
#define DUKD_CAP_PARAMS     0x20ull /* trains the plugin's own parameters (dukd_ext_params.h) */

/* Log levels. */
#define DUKD_LOG_DEBUG   0
#define DUKD_LOG_INFO    1
#define DUKD_LOG_WARNING 2

/* Every function is called on a thread that has entered the plugin with a session of this host, never from inside a task
 * of parallel_for and never from a thread of the plugin's own: a host that has one session has one caller at a time. */
typedef struct dukd_host {
    uint32_t struct_size;
    uint32_t n_networks;
    void *ctx;                   /* given back in every call below */
    uint64_t caps;               /* DUKD_CAP_... */
    const char *const *networks; /* [n_networks] names: "student" is one of them, "teacher" and "features"
                                    where there are such */
    /* Shape of what tap `tap` gives for an input of shape `in`; `in` is that of the tap's source. Not 0: the
     * network cannot take this input or has no such layer: the host may write why into *why ("sides must be multiples of the window
     * 8"), and the plugin adds its own words. Required. Called inside create_session only. */
    int32_t (*tap_shape)(void *ctx, const dukd_tap *tap, const int64_t in[4], int64_t out[4],
                         dukd_error *why);
    /* Memory for what the plugin makes (images, workspaces). `align` is a power of two. device_type is CUDA or, in a CUDA session
     * too, CPU. On CUDA `stream` orders the use: that of the last step; NULL: there was none yet, and the memory is for streams
     * that are not known, so it must be ready when alloc returns, and may be used again only when the device is done with it. May
     * be NULL, both or none: the plugin then allocates by itself. alloc returns NULL when there is none. */
    void *(*alloc)(void *ctx, int32_t device_type, int32_t device_id, uint64_t size, uint64_t align,
                   void *stream);
    void (*free)(void *ctx, void *p, int32_t device_type, int32_t device_id, void *stream);
    /* One line of text without a final newline. May be NULL. */
    void (*log)(void *ctx, int32_t level, const char *message);
    /* Calls task(arg, i, worker) once for each i of 0 .. n - 1, on any threads, and returns when all are
     * done. worker is 0 .. max_threads - 1 and never the same for two calls at a time. Both or none; given
     * them, the plugin uses no threads of its own. */
    void (*parallel_for)(void *ctx, uint32_t n, void (*task)(void *arg, uint32_t i, uint32_t worker),
                         void *arg);
    uint32_t (*max_threads)(void *ctx);
    /* Not 0: give up soon; the call in progress returns DUKD_E_CANCELLED. May be NULL. */
    int32_t (*should_cancel)(void *ctx);
    /* A host's extension by its id, or NULL. The member itself may be NULL. */
    const void *(*get_extension)(void *ctx, const char *id);
} dukd_host;

/* Gradients will be asked for with a grad_scale other than 1; without the flag such a grad_scale is an error. */
#define DUKD_SESSION_LOSS_SCALE 0x1u

typedef struct dukd_session_params {
    uint32_t struct_size;
    uint32_t flags;                    /* DUKD_SESSION_... */
    const dukd_host *host;             /* copied, but what it points to must outlive the session */
    const dukd_option *const *options; /* [n_options], needed only during the call */
    uint32_t n_options;
    uint32_t micro_count; /* micro-batches a step, >= 1 */
    uint64_t seed;        /* of every random draw */
    int64_t lr_shape[4];  /* N, C, h, w of a (micro-)batch; N is what this rank holds */
    int32_t scale;        /* HR is N x C x scale h x scale w */
    dukd_dtype dtype;     /* of LR and HR, and so of the inputs the plugin makes */
    dukd_device device;   /* where LR, HR and taps will be */
} dukd_session_params;

typedef struct dukd_session dukd_session;

/* ---------------------------------------------------------------- a step */

typedef struct dukd_step {
    uint32_t struct_size;
    uint32_t flags;       /* 0 */
    int64_t iteration;    /* from 1; the same for all micro-batches of a step */
    int64_t first_sample; /* >= 0: global index of this batch's first image, counted over the run and over all
                             ranks: image n has index first_sample + n. The draws depend on it, so that ranks
                             and micro-batches draw as one. With r ranks of N images and m micro-batches:
                             ((iteration - 1) m + micro_index) N r + rank N. */
    uint32_t micro_index; /* 0 .. micro_count - 1 */
    uint32_t micro_count; /* as in the session's params */
    /* Values in [0, 1]; the data stay unchanged until end_step or cancel_step (inputs may alias them), the structs are
     * needed only during the call. */
    const dukd_tensor *lr; /* N x C x h x w */
    const dukd_tensor *hr; /* N x C x scale h x scale w */
    void *stream;          /* CUDA: cudaStream_t on which everything is ordered, see STREAMS. CPU: NULL */
} dukd_step;

/* Where the samples of an input come from, so that a host can recognise an input (and answer a teacher tap
 * from answers prepared in advance, exact only for an identical input). */
#define DUKD_ORIGIN_OTHER   0u /* made in another way: not to be reproduced from outside */
#define DUKD_ORIGIN_LR      1u /* the whole LR image */
#define DUKD_ORIGIN_HR      2u /* a window of the HR image, of the input's size, at (row, col) */
#define DUKD_ORIGIN_LR_DOWN 3u /* the LR image scaled down by `scale` (antialiased bicubic) */
/* What was then done to it, in this order. */
#define DUKD_AUGMENT_FLIP_W    1u /* columns reversed (left-right) */
#define DUKD_AUGMENT_FLIP_H    2u /* rows reversed (up-down) */
#define DUKD_AUGMENT_TRANSPOSE 4u /* rows become columns */
#define DUKD_AUGMENT_INVERT    8u /* 1 - x */

#define DUKD_ORIGIN_ON_DEVICE 0x1u /* the arrays below are device memory, in the stream's order */

typedef struct dukd_origin {
    uint32_t struct_size;
    uint32_t kind;              /* DUKD_ORIGIN_... */
    uint32_t flags;             /* DUKD_ORIGIN_ON_DEVICE */
    uint32_t n_samples;         /* the input's N */
    const int64_t *samples;     /* [n_samples] global index of the image it was made from */
    const int32_t *rows, *cols; /* [n_samples] HR pixels; NULL unless kind is HR */
    const uint32_t *augment;    /* [n_samples] DUKD_AUGMENT_... bits; NULL: none */
} dukd_origin;

/* Values as LR and HR have them, but not clamped: an image that was scaled down can leave [0, 1]. */
typedef struct dukd_input {
    uint32_t struct_size;
    uint32_t id; /* index in its pass */
    const dukd_tensor
        *tensor; /* of the session's type and device, any strides; read only; no data in a plan */
    const dukd_origin *origin; /* NULL in a plan */
} dukd_input;

#define DUKD_TAP_MODE_TRAIN                                                                                  \
    0x1u /* training mode (dropout, DropPath); no gradient by itself. Else evaluation */
#define DUKD_TAP_WANT_GRAD 0x2u /* submit_pass writes d(loss)/d(this tap) */
#define DUKD_TAP_KEEP      0x4u /* the value stays unchanged until end_step, not only during submit_pass */
#define DUKD_TAP_FLAGS     0x7u /* all that this draft has: a host refuses others */

#define DUKD_SOURCE_INPUT 0u /* source_id: an input of this pass */
#define DUKD_SOURCE_TAP   1u /* source_id: an earlier tap of this pass */

/* A tensor that the host computes. Weights are those of the moment when the pass is computed. */
struct dukd_tap {
    uint32_t struct_size;
    uint32_t id;          /* index in its pass */
    uint32_t network;     /* index into dukd_host.networks */
    uint32_t flags;       /* DUKD_TAP_... */
    uint32_t source_kind; /* DUKD_SOURCE_... */
    uint32_t source_id;
    const char *from_layer; /* where the source enters; NULL: the start of the network */
    const char *layer;      /* which layer's output is wanted; NULL: the network's output */
};

#define DUKD_PASS_ZERO_GRAD_BEFORE 0x1u /* clear all parameter gradients before backward */
#define DUKD_PASS_BACKWARD         0x2u /* a tap of this pass wants its gradient: backpropagate from each that does */
#define DUKD_PASS_OPTIMIZE_AFTER   0x4u /* an optimizer step, after the backward of this and earlier passes */
#define DUKD_PASS_EMA_AFTER        0x8u /* one update of the weights' average, after the optimizer step */
#define DUKD_PASS_FLAGS            0xFu /* all that this draft has: a host refuses others */

/* Belongs to the session, valid until end_step or cancel_step (in a plan: until destroy_session). A host that
 * batches passes clears, runs backward and optimizes in the order in which they were handed out. */
typedef struct dukd_pass {
    uint32_t struct_size;
    uint32_t id;         /* counts the passes of a step from 0 */
    uint32_t plan_index; /* which pass of the plan this is */
    uint32_t flags;      /* DUKD_PASS_... */
    uint32_t n_inputs;
    uint32_t n_taps;
    const dukd_input *const *inputs; /* [n_inputs] */
    const dukd_tap *const *taps;     /* [n_taps] */
} dukd_pass;

/* Every pass that a step can hand out, each at most once a (micro-)step, with the same inputs' shapes and taps. Flags are
 * those of a step without micro-batches. So memory for values and gradients can be made once for each plan_index, here or
 * when the pass first comes, and KEEP needs nothing more; a host that does not want to know beforehand need not ask. */
typedef struct dukd_plan {
    uint32_t struct_size;
    uint32_t n_passes;
    const dukd_pass *const *passes; /* [n_passes], by plan_index */
} dukd_plan;

typedef struct dukd_submit {
    uint32_t struct_size;
    uint32_t pass_id;
    uint32_t n_taps; /* as in the pass */
    uint32_t pad0;
    /* [n_taps] Of the shape that tap_shape gave, f32, f16 or bf16, each its own. Needed during the call, the data of
     * KEEP until end_step; on CUDA in stream order. */
    const dukd_tensor *const *values;
    /* [n_taps] NULL for taps without WANT_GRAD, and only for those. f32 or the value's type; must not overlap values or
     * each other. Overwritten with grad_scale * d(loss)/d(tap), the other taps held fixed; zeros where that is zero. */
    const dukd_tensor *const *grads;
    double grad_scale; /* 1 without loss scaling; finite, not 0. Losses are never scaled. */
    /* CUDA: an f32 scalar (ndim 0) on the device that is multiplied in too; else NULL. */
    const dukd_tensor *grad_scale_dev;
} dukd_submit;

/* Named scalars of the last step that was ended. One is "l_total": the sum, weights included, of which the gradients of
 * all passes together are the derivative (at fixed weights). Whether another includes its weight is the plugin's to
 * say. Terms that are switched off have none. Not finite values are given as they are. */
typedef struct dukd_losses {
    uint32_t struct_size;
    uint32_t n_losses; /* out */
    int64_t iteration; /* out */
    /* out: [n_losses] "l_rec", ..., "l_total" (anywhere among them); the same in every step; until destroy_session */
    const char *const *names;
    /* out: [n_losses] means over the batch and the micro-batches; until the next end_step */
    const double *values;
} dukd_losses;

/* ---------------------------------------------------------------- the table of functions */

typedef struct dukd_plugin {
    uint32_t struct_size;
    uint32_t abi_draft; /* what the plugin was built for; these two fields are the same in every draft */

    /* [discovery] No threads, device contexts or files. */
    const dukd_plugin_info *(*get_info)(void);
    /* [discovery] Looks whether backend `index` can be used here; this may load its library. */
    int32_t (*query_backend)(uint32_t index, dukd_backend_info *out, dukd_error *error);
    /* [discovery] A table of functions by id ("dukd.draws/1"), or NULL where the plugin does not have it. */
    const void *(*get_extension)(const char *id);

    /* [session] Checks everything that can be checked: options, shapes, what the host can do. *out is NULL on
     * errors. */
    int32_t (*create_session)(const dukd_session_params *params, dukd_session **out, dukd_error *error);
    /* [session] Allowed in every state, also in the middle of a step. NULL is allowed. */
    void (*destroy_session)(dukd_session *session);
    /* [session] *out lives until destroy_session. */
    int32_t (*get_plan)(dukd_session *session, const dukd_plan **out, dukd_error *error);

    /* [session] The data hook: makes the inputs. On CUDA it only enqueues. After an error that may have changed
     * something there is a step, which only cancel_step ends. */
    int32_t (*begin_step)(dukd_session *session, const dukd_step *step, dukd_error *error);
    /* [session] DUKD_OK and a pass; DUKD_STEP_DONE; DUKD_WAIT; or an error. */
    int32_t (*next_pass)(dukd_session *session, const dukd_pass **out, dukd_error *error);
    /* [session] The loss callback: reads values, writes gradients. Each pass once. */
    int32_t (*submit_pass)(dukd_session *session, const dukd_submit *submit, dukd_error *error);
    /* [session] After DUKD_STEP_DONE with every pass submitted. Never waits for a device. */
    int32_t (*end_step)(dukd_session *session, dukd_error *error);
    /* [session] Gives the step up: the session is as before begin_step (with micro-batches: before that of this
     * micro-batch, which may be begun again, or the step anew with micro-batch 0). Gradients and weights are the
     * host's to restore. DUKD_OK, or DUKD_WEIGHTS_MOVED where a pass with OPTIMIZE_AFTER had been submitted. */
    int32_t (*cancel_step)(dukd_session *session, dukd_error *error);
    /* [session] Between steps, after the last micro-batch. Waits for the last step's stream. */
    int32_t (*read_losses)(dukd_session *session, dukd_losses *out, dukd_error *error);

    /* [session] Between steps: what a plugin needs beside seed and iteration to go on, at least a fingerprint of its
     * configuration. data NULL: *size receives the size. Else *size is the room in and the size
     * out. */
    int32_t (*get_state)(dukd_session *session, void *data, uint64_t *size, dukd_error *error);
    /* [session] Between steps. A state of another configuration is DUKD_E_ARGUMENT; the message names the
     * difference. */
    int32_t (*set_state)(dukd_session *session, const void *data, uint64_t size, dukd_error *error);
} dukd_plugin;

/* ---------------------------------------------------------------- sizes of this draft */

#define DUKD_DEVICE_SIZE         8u
#define DUKD_DTYPE_SIZE          4u
#define DUKD_TENSOR_SIZE         48u
#define DUKD_ERROR_SIZE          264u
#define DUKD_OPTION_INFO_SIZE    64u
#define DUKD_LOSS_INFO_SIZE      24u
#define DUKD_PLUGIN_INFO_SIZE    56u
#define DUKD_BACKEND_INFO_SIZE   304u
#define DUKD_OPTION_SIZE         40u
#define DUKD_HOST_SIZE           96u
#define DUKD_SESSION_PARAMS_SIZE 88u
#define DUKD_STEP_SIZE           56u
#define DUKD_ORIGIN_SIZE         48u
#define DUKD_INPUT_SIZE          24u
#define DUKD_TAP_SIZE            40u
#define DUKD_PASS_SIZE           40u
#define DUKD_PLAN_SIZE           16u
#define DUKD_SUBMIT_SIZE         48u
#define DUKD_LOSSES_SIZE         32u
#define DUKD_PLUGIN_SIZE         120u

/* ---------------------------------------------------------------- the entry
 * The only symbol that a plugin exports [discovery]. Pure: the same pointer every time, no side effects. A
 * plugin that does not have draft `draft` still returns a table; only its first two fields may then be read,
 * and the host tells the user which of the two has to be rebuilt (the one with the smaller number). */
#if defined(DUKD_PLUGIN_BUILD) && defined(__GNUC__)
#define DUKD_EXPORT __attribute__((visibility("default")))
#else
#define DUKD_EXPORT
#endif

DUKD_EXPORT const dukd_plugin *dukd_get_plugin_draft(uint32_t draft);
typedef const dukd_plugin *(*dukd_get_plugin_draft_fn)(uint32_t draft);
#define DUKD_ENTRY_NAME "dukd_get_plugin_draft"

#ifdef __cplusplus
}
#endif

#endif
