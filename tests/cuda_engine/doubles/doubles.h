/* Doubles of cuDNN and cuBLASLt for machines without a GPU: libcudnn.so.9 and libcublasLt.so.13 with the real declarations, whose
 * executions are plain loops in double on the emulated device's memory, in its streams. Where the real libraries are installed,
 * descriptors are made, filled and finalized by them as well, and what they refuse is refused.
 *
 * This is what tests tell the doubles and ask of them; not from two threads at once. */
#ifndef DUKD_DOUBLES_H
#define DUKD_DOUBLES_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DOUBLES_EXPORT __attribute__((visibility("default")))

/* Back to how it begins: nothing refused, nothing armed. */
DOUBLES_EXPORT void doubles_reset(void);

/* What the device does not support. */
enum {
    DOUBLES_NO_FUSION = 1,       /* graphs of several operations */
    DOUBLES_NO_FUSED_ADDEND = 2, /* graphs of several operations with a second tensor of the output's shape */
    DOUBLES_NO_BETA = 4,         /* sums into a gradient */
    DOUBLES_NO_MIXED = 8,        /* f32 gradients of bf16 operands, by cuDNN and by cuBLASLt */
    DOUBLES_NO_HEURISTICS = 16,  /* mode A proposes nothing */
    DOUBLES_NO_CONVOLUTION = 32, /* cuDNN computes nothing */
    DOUBLES_NO_PRODUCT = 64,     /* cuBLASLt computes nothing */
    DOUBLES_NO_MIXED_BIAS = 128, /* an f32 bias for a bf16 output */
    DOUBLES_NO_DEVICE = 256,     /* no handles */
    DOUBLES_NO_NARROW = 512,     /* weights' gradients in bf16 by cuDNN */
    DOUBLES_NO_ROOM = 2048,      /* cuDNN's executions fail until something of the device is given back */
    DOUBLES_NO_POINTWISE = 1024, /* cuDNN does not know what follows a convolution */
};
DOUBLES_EXPORT void doubles_refuse(int32_t what);

/* Calls of both libraries are counted from here on, and the one with number fail_at (from 1; 0: none) fails. */
DOUBLES_EXPORT void doubles_arm(int64_t fail_at);
DOUBLES_EXPORT int64_t doubles_disarm(void); /* the number of calls; nothing fails any more */
DOUBLES_EXPORT const char *
doubles_failed_call(void); /* name of the one that was made to fail last; "" none */

/* Descriptors and handles that are there. */
DOUBLES_EXPORT int64_t doubles_alive(void);

/* What was executed since doubles_reset. */
typedef struct {
    int64_t graphs, products;
    int32_t operations; /* of the last graph */
    int32_t engine;     /* of the last graph, see cudnn_heuristics.cpp */
    int32_t epilogue;   /* of the last product: cublasLtEpilogue_t */
    int32_t compute;    /* cublasComputeType_t */
    int32_t adds;       /* whether the last graph adds to a gradient */
} doubles_log;
DOUBLES_EXPORT doubles_log doubles_executed(void);

/* Where the real library is installed: heuristics and plans are its own, for a device of these properties (cuDNN's JSON) that is not
 * there. NULL: doubled. */
DOUBLES_EXPORT void doubles_device(const char *json);
/* The name of a function that cuDNN's double has besides cuDNN's: 1 where the real library takes the properties; else `why` says what it
 * says. */
typedef int32_t (*doubles_check_device_fn)(char *why, size_t room);
#define DOUBLES_CHECK_DEVICE "doubles_check_device"

/* The last plan that was made. */
typedef struct {
    int64_t plans; /* how many there were */
    int64_t engine, workspace, proposals, operations;
    int32_t notes; /* bits: 1 << cudnnBackendNumericalNote_t */
} doubles_plan;
DOUBLES_EXPORT doubles_plan doubles_last_plan(void);

/* Prints which descriptors the real libraries looked at, and what was doubled. */
DOUBLES_EXPORT void doubles_report(void);

/* ---- for the doubles ---- */
DOUBLES_EXPORT int32_t doubles_refused(void);
DOUBLES_EXPORT int32_t doubles_told_to_fail(const char *name);
DOUBLES_EXPORT void doubles_count(int32_t change);
DOUBLES_EXPORT doubles_log *doubles_log_mutable(void);
/* A line of the report: `calls` more of `what`, by the real library or doubled. */
DOUBLES_EXPORT void doubles_note(const char *what, int32_t real);
DOUBLES_EXPORT const char *doubles_device_json(void); /* NULL: doubled */
DOUBLES_EXPORT doubles_plan *doubles_plan_mutable(void);

#ifdef __cplusplus
}
#endif

#endif
