/* Feeds and reports: a backend's own, or by upload and download. */
#include "engine/transfers.h"

#include <stdlib.h>
#include <string.h>

#include "engine/engine_state.h"

/* Both are the same: a backend's state, or memory of the processor's. */
typedef struct {
    dukd_engine *engine;
    int64_t bytes;
    void *state; /* the backend's; NULL without */
    void *room;  /* the processor's; NULL with */
} transfer;

struct dukd_feed {
    transfer t;
};
struct dukd_report {
    transfer t;
};

static const dukd_transfer_ops *ops_of(const transfer *t) {
    return t->engine->backend->transfers;
}

static int make_room(transfer *t, const char *what, dukd_failure *f) {
    t->room = malloc((size_t)t->bytes);
    return t->room ? DUKD_DONE : dukd_fail_memory(f, what, (unsigned long long)t->bytes);
}

int dukd_feed_create(dukd_feed **out, dukd_engine *e, int64_t bytes, const char *what, dukd_failure *f) {
    dukd_feed *feed = calloc(1, sizeof *feed);
    *out = NULL;
    if (!feed) return dukd_fail_memory(f, what, sizeof *feed);
    feed->t = (transfer){.engine = e, .bytes = bytes};
    const dukd_transfer_ops *ops = ops_of(&feed->t);
    const int status =
        ops ? ops->feed_create(e->state, bytes, what, &feed->t.state, f) : make_room(&feed->t, what, f);
    if (status)
        free(feed);
    else
        *out = feed;
    return status;
}

void dukd_feed_destroy(dukd_feed *feed) {
    if (!feed) return;
    if (feed->t.state) ops_of(&feed->t)->feed_destroy(feed->t.engine->state, feed->t.state);
    free(feed->t.room);
    free(feed);
}

int dukd_feed_room(dukd_feed *feed, void **out, dukd_failure *f) {
    const dukd_transfer_ops *ops = ops_of(&feed->t);
    *out = feed->t.room;
    return ops ? ops->feed_room(feed->t.engine->state, feed->t.state, out, f) : DUKD_DONE;
}

int dukd_feed_send(dukd_feed *feed, dukd_failure *f) {
    const dukd_transfer_ops *ops = ops_of(&feed->t);
    return ops ? ops->feed_send(feed->t.engine->state, feed->t.state, f) : DUKD_DONE;
}

int dukd_feed_take(dukd_feed *feed, void *to, dukd_failure *f) {
    const dukd_transfer_ops *ops = ops_of(&feed->t);
    if (ops) return ops->feed_take(feed->t.engine->state, feed->t.state, to, f);
    return dukd_engine_upload(feed->t.engine, to, feed->t.room, feed->t.bytes, f);
}

int dukd_report_create(dukd_report **out, dukd_engine *e, int64_t bytes, const char *what, dukd_failure *f) {
    dukd_report *report = calloc(1, sizeof *report);
    *out = NULL;
    if (!report) return dukd_fail_memory(f, what, sizeof *report);
    report->t = (transfer){.engine = e, .bytes = bytes};
    const dukd_transfer_ops *ops = ops_of(&report->t);
    const int status =
        ops ? ops->report_create(e->state, bytes, what, &report->t.state, f) : make_room(&report->t, what, f);
    if (status)
        free(report);
    else
        *out = report;
    return status;
}

void dukd_report_destroy(dukd_report *report) {
    if (!report) return;
    if (report->t.state) ops_of(&report->t)->report_destroy(report->t.engine->state, report->t.state);
    free(report->t.room);
    free(report);
}

int dukd_report_send(dukd_report *report, const void *from, dukd_failure *f) {
    const dukd_transfer_ops *ops = ops_of(&report->t);
    if (ops) return ops->report_send(report->t.engine->state, report->t.state, from, f);
    return dukd_engine_download(report->t.engine, report->t.room, from, report->t.bytes, f);
}

int dukd_report_read(dukd_report *report, void *to_host, dukd_failure *f) {
    const dukd_transfer_ops *ops = ops_of(&report->t);
    if (ops) return ops->report_read(report->t.engine->state, report->t.state, to_host, f);
    memcpy(to_host, report->t.room, (size_t)report->t.bytes);
    return DUKD_DONE;
}
