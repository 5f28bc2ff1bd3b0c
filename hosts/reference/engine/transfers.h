/* What goes between the processor and a device beside the engine's runs, so that neither waits for the other.
 *
 *     feed      to the device: the next batch, while a step computes
 *                   dukd_feed_room     memory of the processor's to fill; waits until what was sent before has been copied from it
 *                   dukd_feed_send     begins to copy, at once: not after the runs that were asked for, but beside them
 *                   dukd_feed_take     into an array of the engine's; ordered with its runs, which see what was sent
 *     report    from the device: whether a step was finite, while the next one computes
 *                   dukd_report_send   copies an array's contents when the runs that were asked for before are done; does not wait
 *                   dukd_report_read   what was sent last; waits for that alone, not for what was asked for since
 *
 * Any engine has them; without a backend's own (NULL in its table) a feed is uploaded when it is taken, and a report downloaded when it is
 * sent. A feed is sent once after each dukd_feed_room and taken once after each sending. Not inside of a recorded step (recording.h).
 *
 * For a backend: a feed is pinned memory, memory of the device's and two events; dukd_feed_send copies from one to the other on a stream
 * of the engine's for copies, after the event of the last dukd_feed_take; dukd_feed_take lets the engine's stream wait for that copy,
 * and copies on the device. A report is pinned memory and an event. [one thread at a time per engine] */
#ifndef DUKD_TRANSFERS_H
#define DUKD_TRANSFERS_H

#include "engine/engine.h"

typedef struct dukd_feed dukd_feed;
typedef struct dukd_report dukd_report;

/* bytes > 0; `what` is for the message. */
int dukd_feed_create(dukd_feed **out, dukd_engine *e, int64_t bytes, const char *what, dukd_failure *f);
void dukd_feed_destroy(dukd_feed *feed); /* NULL allowed; before its engine */
int dukd_feed_room(dukd_feed *feed, void **out, dukd_failure *f);
int dukd_feed_send(dukd_feed *feed, dukd_failure *f);
int dukd_feed_take(dukd_feed *feed, void *to, dukd_failure *f);

int dukd_report_create(dukd_report **out, dukd_engine *e, int64_t bytes, const char *what, dukd_failure *f);
void dukd_report_destroy(dukd_report *report); /* NULL allowed; before its engine */
int dukd_report_send(dukd_report *report, const void *from, dukd_failure *f);
int dukd_report_read(dukd_report *report, void *to_host, dukd_failure *f);

/* ---- what a backend has for it; all or none. `bytes` as the feed or report was made for ---- */
typedef struct {
    int (*feed_create)(void *engine, int64_t bytes, const char *what, void **out, dukd_failure *f);
    void (*feed_destroy)(void *engine, void *feed);
    int (*feed_room)(void *engine, void *feed, void **out, dukd_failure *f);
    int (*feed_send)(void *engine, void *feed, dukd_failure *f);
    int (*feed_take)(void *engine, void *feed, void *to, dukd_failure *f);
    int (*report_create)(void *engine, int64_t bytes, const char *what, void **out, dukd_failure *f);
    void (*report_destroy)(void *engine, void *report);
    int (*report_send)(void *engine, void *report, const void *from, dukd_failure *f);
    int (*report_read)(void *engine, void *report, void *to_host, dukd_failure *f);
} dukd_transfer_ops;

#endif
