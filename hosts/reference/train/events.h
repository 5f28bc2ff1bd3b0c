/* TensorBoard's event files, written without TensorFlow: scalars by tag and step.
 *
 * A file is a row of records: length (u64, little endian), masked CRC-32C of the length, data, masked CRC-32C of the data; the data
 * are Event messages of tensorflow/core/util/event.proto in the protocol-buffer wire format. Every record is handed to the
 * system when it is made, so that a killed run loses none; a torn last record is what readers of the format expect. */
#ifndef DUKD_EVENTS_H
#define DUKD_EVENTS_H

#include <stddef.h>
#include <stdint.h>

#include "common/failure.h"

typedef struct dukd_events dukd_events;

/* A new file events.out.tfevents.TIME.HOST.PID in `folder`, which exists. resumed_after: the run goes on after this step, so
 * that readers drop what earlier files hold from the next step on; less than 0: a new run. */
int dukd_events_open(dukd_events **out, const char *folder, int64_t resumed_after, dukd_failure *f);
/* One value. Anything may be written, also NaN. */
int dukd_events_scalar(dukd_events *e, const char *tag, int64_t step, double value, dukd_failure *f);
void dukd_events_close(dukd_events *e); /* NULL allowed */

/* CRC-32C (Castagnoli), and the form in which records hold it. */
uint32_t dukd_crc32c(const void *data, size_t size);
uint32_t dukd_crc32c_masked(const void *data, size_t size);

#endif
