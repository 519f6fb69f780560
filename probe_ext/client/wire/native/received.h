/* What a stream has received and Python has not taken yet: columns that only grow, in step with one another. */
#ifndef NATIVE_RECEIVED_H
#define NATIVE_RECEIVED_H
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "patterns.h"

/* Waiting in a stream: above the first, its greenlet is woken; from the second on, reading pauses, so that the kernel
 * slows the server down. */
enum { WAKE_READS = 256, MAX_READS = 1024, WAKE_EVENTS = 4096, MAX_EVENTS = 16384 };
enum { WAKE_BYTES = 1 << 20, MAX_BYTES = 8 << 20 };

/* ---- Growable arrays ------------------------------------------------------------------------------------------- */

struct buffer {
    char *data;
    size_t length, capacity;
};

/* Make room for more bytes; return 0 without memory. */
static int reserve(struct buffer *b, size_t more) {
    if (b->length + more <= b->capacity) return 1;
    size_t capacity = b->capacity ? b->capacity : 256;
    while (capacity < b->length + more) capacity *= 2;
    char *data = realloc(b->data, capacity);
    if (!data) return 0;
    b->data = data;
    b->capacity = capacity;
    return 1;
}

/* Append bytes for which there is room. */
static void put(struct buffer *b, const void *data, size_t length) {
    if (length) memcpy(b->data + b->length, data, length);
    b->length += length;
}

#define COUNT(buffer, type) ((buffer).length / sizeof(type))
#define LAST(buffer, type) ((type *)(void *)((buffer).data + (buffer).length) - 1)

/* ---- Clocks ---------------------------------------------------------------------------------------------------- */

static int64_t clock_ns(clockid_t id) {
    struct timespec t;
    clock_gettime(id, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/* ---- A stream ----------------------------------------------------------------------------------------------------- */

struct piece { /* of one read */
    double at;
    uint32_t number, size;
};

struct lag { /* of one read, in seconds */
    double lag, overdue;
};

/* Pieces that are handed over as bytes, or successive events of one pattern. native_arrivals.py knows the layout. */
struct span {
    int32_t pattern, prompt; /* pattern -1: pieces */
    uint32_t count;          /* of pieces or events */
    uint32_t first_read, last_read, end_read, in_first, in_last, unresolved; /* in_…: events with text in that read */
    uint32_t text_bytes, event_bytes, wire_bytes;
};

struct received {
    struct buffer spans, pieces, bytes, times, counts, texts, lags;
};

enum state { HEAD, CHUNKS, BODY, OPAQUE };

struct stream {
    int fd;
    void *tls;              /* the connection's SSL of OpenSSL; NULL without TLS */
    unsigned long tls_error; /* OpenSSL's code */
    uint32_t index, generation;
    enum state state;
    int registered, paused, defer, ended, error, woken;
    int begun, at_boundary, pattern; /* at_boundary: what follows begins an event; begun: one came before */
    size_t since_boundary;
    uint64_t remaining; /* bytes of BODY */
    uint32_t reads;
    double last_at, ended_at;
    struct received got;
    struct buffer pending, pending_pieces;
    struct stream *next_woken;
};

static void free_received(struct received *r) {
    struct buffer *all[] = {&r->spans, &r->pieces, &r->bytes, &r->times, &r->counts, &r->texts, &r->lags};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]->data);
    memset(r, 0, sizeof *r);
}

static void fail(struct stream *s, int error) {
    if (!s->ended) {
        s->ended = 1;
        s->error = error;
        s->ended_at = (double)clock_ns(CLOCK_MONOTONIC) / 1e9;
    }
}

/* Return the span for what is kept next; there is room for one. */
static struct span *span_of(struct stream *s, int pattern) {
    struct buffer *spans = &s->got.spans;
    if (!spans->length || LAST(*spans, struct span)->pattern != pattern)
        put(spans, &(struct span){.pattern = pattern, .prompt = -1}, sizeof(struct span));
    return LAST(*spans, struct span);
}

/* Note that memory ran out; nothing is kept from then on, so that no bytes are missing between others. */
static int without_memory(struct stream *s) {
    fail(s, ENOMEM);
    s->error = ENOMEM;
    return 0;
}

static int can_keep(struct stream *s) { return s->error != ENOMEM && reserve(&s->got.spans, sizeof(struct span)); }

static int keep_bytes(struct stream *s, const struct piece *of, const char *data, size_t size) {
    struct buffer *pieces = &s->got.pieces, *bytes = &s->got.bytes;
    if (!can_keep(s) || !reserve(pieces, sizeof *of) || !reserve(bytes, size)) return without_memory(s);
    struct span *span = span_of(s, -1);
    put(bytes, data, size);
    if (span->count && LAST(*pieces, struct piece)->number == of->number) {
        LAST(*pieces, struct piece)->size += (uint32_t)size;
    } else {
        put(pieces, &(struct piece){of->at, of->number, (uint32_t)size}, sizeof *of);
        span->count++;
    }
    return 1;
}

/* Keep an event of this read, which occupies `wire` bytes up to one of read `end`. */
static int keep_event(struct stream *s, const struct piece *of, const struct event *e, size_t wire, uint32_t end) {
    struct received *got = &s->got;
    int shown = e->text_length > 0;
    if (!can_keep(s) || !reserve(&got->times, sizeof of->at) || !reserve(&got->counts, sizeof e->count) ||
        !reserve(&got->texts, e->text_length + 3))
        return without_memory(s);
    struct span *span = span_of(s, e->pattern);
    put(&got->times, &of->at, sizeof of->at);
    put(&got->counts, &e->count, sizeof e->count);
    put(&got->texts, e->text, e->text_length);
    put(&got->texts, "\",\"", 3);
    if (!span->count++) span->first_read = of->number;
    if (span->last_read != of->number) span->last_read = of->number, span->in_last = 0;
    span->end_read = end;
    span->in_last += shown;
    span->in_first += shown && of->number == span->first_read;
    span->unresolved += shown && span->in_last == 2;
    span->prompt = e->prompt;
    span->text_bytes += (uint32_t)e->text_length + 3;
    span->event_bytes += (uint32_t)e->length;
    span->wire_bytes += (uint32_t)wire;
    return 1;
}

/* Return whether more is waiting than this. */
static int is_above(const struct stream *s, size_t reads, size_t events, size_t bytes) {
    const struct received *r = &s->got;
    return COUNT(r->pieces, struct piece) > reads || COUNT(r->times, double) > events ||
           COUNT(r->lags, struct lag) > events || r->bytes.length + r->texts.length > bytes;
}

#endif
