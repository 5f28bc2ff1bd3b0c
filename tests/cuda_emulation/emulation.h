/* What tests tell the emulated CUDA runtime, and ask of it. C and C++.
 *
 * The runtime's own functions have their real names and declarations (cuda_runtime_api.h): a test calls cudaMalloc as a host
 * would. Nothing here may be called from two threads at once. */
#ifndef DUKD_EMULATION_H
#define DUKD_EMULATION_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define EMULATION_EXPORT __attribute__((visibility("default")))

/* Calls of the runtime and launches are counted from here on, while they are watched; emulation_disarm returns their number
 * and stops watching. The call with number fail_at (from 1; 0: none) fails with `error` (a cudaError_t). */
EMULATION_EXPORT void emulation_arm(int64_t fail_at, int32_t error);
EMULATION_EXPORT void emulation_watch(int32_t on);
EMULATION_EXPORT int64_t emulation_disarm(void);
/* Name of the call that was made to fail last; "" none. */
EMULATION_EXPORT const char *emulation_failed_call(void);
/* While calls are watched, every call of this name fails; NULL: none. */
EMULATION_EXPORT void emulation_fail_named(const char *name, int32_t error);

/* Kernels launched or captured, and bytes allocated on devices, since the program began. */
EMULATION_EXPORT int64_t emulation_launches(void);
EMULATION_EXPORT int64_t emulation_bytes_allocated(void);
/* Launches of kernels that cudaFuncGetAttributes was not called for before, since the program began: inside of a capture the driver
 * might have to load them. */
EMULATION_EXPORT int64_t emulation_unloaded(void);
/* Waits for a stream, an event or a device, since the program began. */
EMULATION_EXPORT int64_t emulation_waits(void);
/* Allocations, streams, events, graphs that are there. */
EMULATION_EXPORT int64_t emulation_alive(void);

/* The machine: its devices (at most 2) and the CUDA version of its driver (13000; 0: no driver). */
EMULATION_EXPORT void emulation_machine(int32_t devices, int32_t driver);
/* The machine's device (0 to 15) that is this process's device 0, for devices' UUIDs: as where a launcher shows each process its own. */
EMULATION_EXPORT void emulation_first_device(int32_t number);
/* Devices that have a context, bit 0 for device 0; and: none has, and `current` is the device
 * of a thread that has called nothing yet. */
EMULATION_EXPORT int32_t emulation_contexts(void);
EMULATION_EXPORT void emulation_forget_contexts(int32_t current);
/* Ten times the devices' compute capability (80 in the beginning). */
EMULATION_EXPORT void emulation_capability(int32_t ten_times);
/* Bytes that may be allocated on each device (INT64_MAX in the beginning). */
EMULATION_EXPORT void emulation_memory(int64_t bytes);
/* The same for a program that is no test's own, in its environment: DUKD_EMULATION has words parted by commas,
 *     devices=N  first=N (or rank: the launcher's local one)  driver=VERSION  capability=N  memory=BYTES
 *     prompt                what is in a stream has run before a graph is launched or recorded, as on a device that is fast enough; else
 *                           the program that fails in a step leaves the one before it undone, and others wait for it
 *     fail=NAME@N:ERROR     the Nth call of this name (from 1) fails with this cudaError_t; with a + behind it, those after it as well */

/* For doubles of libraries that compute on the device: work(ctx) takes its place in the stream, or in the graph that the stream is captured
 * into, and runs with the device's memory open; drop(ctx) (may be NULL) follows when it can run no more. What it reads and writes there
 * it says by emulation_read and emulation_wrote. Returns a cudaError_t; after an error drop has been called. */
EMULATION_EXPORT int32_t emulation_enqueue(void *stream, void (*work)(void *ctx), void (*drop)(void *ctx),
                                           void *ctx);
EMULATION_EXPORT void emulation_read(const void *p, int64_t bytes);
EMULATION_EXPORT void emulation_wrote(const void *p, int64_t bytes);
/* 1: [p, p + bytes) lies in one allocation of the device that is current. */
EMULATION_EXPORT int32_t emulation_is_device(const void *p, int64_t bytes);

/* 1: accesses of kernels are looked at for races and uninitialised reads. */
EMULATION_EXPORT int32_t emulation_checks_races(void);

#ifdef __cplusplus
}
#endif

#endif
