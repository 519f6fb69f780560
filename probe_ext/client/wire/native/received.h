/* What a stream has received and Python has not taken yet: columns that only grow. */
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

/* The columns up to LAGS are handed over; native_arrivals.py knows their layout. */
enum column { SPANS, PIECES, BYTES, TIMES, COUNTS, TEXTS, LAGS, PENDING_BYTES, PENDING_PIECES, COLUMNS };

struct buffer {
    char *data;
    size_t length, capacity;
};

struct piece { /* of one read */
    double at;
    uint32_t number, size;
};

struct lag { /* of one read, in seconds */
    double lag, overdue;
};

/* Pieces that are handed over as bytes, or successive events of one pattern. */
struct span {
    int32_t pattern, prompt; /* pattern -1: pieces */
    uint32_t count;          /* of pieces or events */
    uint32_t first_read, last_read, end_read, in_first, in_last, unresolved; /* in_…: events with text in that read */
    uint32_t text_bytes, event_bytes, wire_bytes;
};

enum state { HEAD, CHUNKS, OPAQUE };

struct stream {
    int fd;                  /* -1: there is nothing to read */
    void *tls;               /* the connection's SSL of OpenSSL; NULL without TLS */
    unsigned long tls_error; /* OpenSSL's code */
    enum state state;
    int watched, ended, error;
    atomic_int defer;                /* events may wait, until one looks like the last */
    int begun, at_boundary, pattern; /* at_boundary: what follows begins an event; begun: one came before */
    size_t since_boundary;
    uint32_t reads;
    double last_at, ended_at;
    struct buffer got[COLUMNS];
};

static int64_t clock_ns(clockid_t id) {
    struct timespec t;
    clock_gettime(id, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static size_t count(const struct stream *s, enum column column, size_t size) { return s->got[column].length / size; }

static void *last(const struct stream *s, enum column column, size_t size) {
    return s->got[column].data + s->got[column].length - size;
}

static void free_columns(struct buffer *columns) {
    for (int i = 0; i < COLUMNS; i++) free(columns[i].data);
}

static void fail(struct stream *s, int error) {
    if (s->ended) return;
    s->ended = 1;
    s->error = error;
    s->ended_at = (double)clock_ns(CLOCK_MONOTONIC) / 1e9;
}

/* Note that memory ran out. Nothing is kept from then on, so that nothing is missing between what is. */
static int without_memory(struct stream *s) {
    fail(s, ENOMEM);
    s->error = ENOMEM;
    return 0;
}

/* Make room for so many bytes more; return 0 without memory. */
static int grow(struct stream *s, struct buffer *b, size_t more) {
    size_t capacity = b->capacity ? b->capacity : 256;
    while (capacity < b->length + more) capacity *= 2;
    char *moved = realloc(b->data, capacity);
    if (!moved) return without_memory(s);
    *b = (struct buffer){moved, b->length, capacity};
    return 1;
}

/* Append to a column; return 0 without memory. */
static int append(struct stream *s, enum column column, const void *data, size_t size) {
    struct buffer *b = s->got + column;
    if (s->error == ENOMEM || (b->length + size > b->capacity && !grow(s, b, size))) return 0;
    if (size) memcpy(b->data + b->length, data, size);
    b->length += size;
    return 1;
}

/* Return the span for what was appended to other columns, NULL without memory: then Python does not look at it. */
static struct span *span_of(struct stream *s, int pattern) {
    struct span fresh = {.pattern = pattern, .prompt = -1};
    int continued = s->got[SPANS].length && ((struct span *)last(s, SPANS, sizeof fresh))->pattern == pattern;
    return continued || append(s, SPANS, &fresh, sizeof fresh) ? last(s, SPANS, sizeof fresh) : NULL;
}

static void keep_bytes(struct stream *s, const struct piece *of, const char *data, size_t size) {
    struct span *span = append(s, BYTES, data, size) ? span_of(s, -1) : NULL;
    if (!span) return;
    struct piece piece = {of->at, of->number, (uint32_t)size}, *before = span->count ? last(s, PIECES, sizeof piece) : NULL;
    if (before && before->number == of->number) before->size += (uint32_t)size;
    else if (append(s, PIECES, &piece, sizeof piece)) span->count++;
}

/* Keep an event of this read, which occupies `wire` bytes up to one of read `end`. */
static void keep_event(struct stream *s, const struct piece *of, const struct event *e, size_t wire, uint32_t end) {
    if (!append(s, TIMES, &of->at, sizeof of->at) || !append(s, COUNTS, &e->count, sizeof e->count)) return;
    if (!append(s, TEXTS, e->text, e->text_length) || !append(s, TEXTS, "\",\"", 3)) return;
    struct span *span = span_of(s, e->pattern);
    if (!span) return;
    uint32_t shown = e->text_length > 0;
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
}

/* Return whether more is waiting than this. */
static int is_above(const struct stream *s, size_t reads, size_t events, size_t bytes) {
    return count(s, PIECES, sizeof(struct piece)) > reads || count(s, TIMES, sizeof(double)) > events ||
           count(s, LAGS, sizeof(struct lag)) > events || s->got[BYTES].length + s->got[TEXTS].length > bytes;
}

#endif
