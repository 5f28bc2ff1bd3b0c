/* TensorBoard's event files: CRC-32C, records, and the few protocol-buffer fields that scalars need. */
#include "train/events.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct dukd_events {
    FILE *file;
    char path[4096];
};

uint32_t dukd_crc32c(const void *data, size_t size) {
    const unsigned char *p = data;
    uint32_t crc = 0xffffffffu;
    for (size_t i = 0; i < size; i++) {
        crc ^= p[i];
        for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (0x82f63b78u & -(crc & 1));
    }
    return ~crc;
}

uint32_t dukd_crc32c_masked(const void *data, size_t size) {
    uint32_t crc = dukd_crc32c(data, size);
    return (crc >> 15 | crc << 17) + 0xa282ead8u;
}

/* ---- the wire format: a buffer that fields are appended to ---- */

#define MESSAGE_ROOM 512

typedef struct {
    unsigned char bytes[MESSAGE_ROOM];
    size_t size;
} message;

enum { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 };

static void put_little(message *m, uint64_t value, int bytes) {
    for (int i = 0; i < bytes && m->size < MESSAGE_ROOM; i++)
        m->bytes[m->size++] = (unsigned char)(value >> 8 * i);
}

static void put_varint(message *m, uint64_t value) {
    while (value > 127) {
        put_little(m, (value & 127) | 128, 1);
        value >>= 7;
    }
    put_little(m, value, 1);
}

static void put_key(message *m, uint32_t field, uint32_t wire) {
    put_varint(m, field << 3 | wire);
}

static void put_double(message *m, uint32_t field, double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    put_key(m, field, FIXED64);
    put_little(m, bits, 8);
}

static void put_float(message *m, uint32_t field, float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    put_key(m, field, FIXED32);
    put_little(m, bits, 4);
}

static void put_bytes(message *m, uint32_t field, const void *data, size_t size) {
    put_key(m, field, BYTES);
    put_varint(m, size);
    if (size > MESSAGE_ROOM - m->size) size = MESSAGE_ROOM - m->size;
    memcpy(m->bytes + m->size, data, size);
    m->size += size;
}

/* Field numbers of Event, Summary, Summary.Value and SessionLog. */
enum {
    EVENT_WALL_TIME = 1,
    EVENT_STEP = 2,
    EVENT_FILE_VERSION = 3,
    EVENT_SUMMARY = 5,
    EVENT_SESSION_LOG = 7,
    SUMMARY_VALUE = 1,
    VALUE_TAG = 1,
    VALUE_SIMPLE = 2,
    SESSION_STATUS = 1,
    SESSION_START = 1,
};

static void begin_event(message *m, int64_t step) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    m->size = 0;
    put_double(m, EVENT_WALL_TIME, (double)now.tv_sec + 1e-9 * (double)now.tv_nsec);
    put_key(m, EVENT_STEP, VARINT);
    put_varint(m, (uint64_t)step);
}

static int write_record(dukd_events *e, const message *m, dukd_failure *f) {
    message head = {.size = 0}, tail = {.size = 0};
    put_little(&head, m->size, 8);
    put_little(&head, dukd_crc32c_masked(head.bytes, 8), 4);
    put_little(&tail, dukd_crc32c_masked(m->bytes, m->size), 4);
    if (fwrite(head.bytes, 1, head.size, e->file) == head.size &&
        fwrite(m->bytes, 1, m->size, e->file) == m->size &&
        fwrite(tail.bytes, 1, tail.size, e->file) == tail.size && fflush(e->file) == 0)
        return 0;
    return dukd_fail(f, DUKD_FAILED, "%s: cannot be written: %s", e->path, strerror(errno));
}

int dukd_events_open(dukd_events **out, const char *folder, int64_t resumed_after, dukd_failure *f) {
    int status = DUKD_FAILED;
    *out = NULL;
    dukd_events *e = calloc(1, sizeof *e);
    if (!e) return dukd_fail_memory(f, "the event file", sizeof *e);
    char host[64] = "localhost";
    if (gethostname(host, sizeof host) != 0 || !host[0]) strcpy(host, "localhost");
    host[sizeof host - 1] = 0;
    int n = snprintf(e->path, sizeof e->path, "%s/events.out.tfevents.%lld.%s.%d", folder,
                     (long long)time(NULL), host, (int)getpid());
    if (n < 0 || (size_t)n >= sizeof e->path) {
        dukd_fail(f, DUKD_FAILED, "%s: the path is too long", folder);
        goto fail;
    }
    e->file = fopen(e->path, "ab");
    if (!e->file) {
        dukd_fail(f, DUKD_FAILED, "%s: cannot be made: %s", e->path, strerror(errno));
        goto fail;
    }
    message m;
    begin_event(&m, 0);
    put_bytes(&m, EVENT_FILE_VERSION, "brain.Event:2", 13);
    if (write_record(e, &m, f)) goto fail;
    if (resumed_after >= 0) {
        message session = {.size = 0};
        put_key(&session, SESSION_STATUS, VARINT);
        put_varint(&session, SESSION_START);
        begin_event(&m, resumed_after + 1);
        put_bytes(&m, EVENT_SESSION_LOG, session.bytes, session.size);
        if (write_record(e, &m, f)) goto fail;
    }
    *out = e;
    return 0;
fail:
    dukd_events_close(e);
    return status;
}

int dukd_events_scalar(dukd_events *e, const char *tag, int64_t step, double value, dukd_failure *f) {
    message v = {.size = 0}, summary = {.size = 0}, m;
    size_t length = strlen(tag);
    if (length > 200) length = 200;
    put_bytes(&v, VALUE_TAG, tag, length);
    put_float(&v, VALUE_SIMPLE, (float)value);
    put_bytes(&summary, SUMMARY_VALUE, v.bytes, v.size);
    begin_event(&m, step);
    put_bytes(&m, EVENT_SUMMARY, summary.bytes, summary.size);
    return write_record(e, &m, f);
}

void dukd_events_close(dukd_events *e) {
    if (!e) return;
    if (e->file) fclose(e->file);
    free(e);
}
