/* What the native reading path makes of the bytes of a stream: values of events that match known patterns, or bytes.
 *
 * matched_runs.py, http_framing.py and sse.py are the reference: for the same bytes, however they are cut into reads,
 * both paths lead to the same reply (tests/client/wire/native/test_native_paths.py).
 *
 *   start --> HEAD -- a 200 of an event stream, chunked --> CHUNKS <-+  a chunk of known events: their values are kept;
 *              |                                             |       |  any other chunk: its bytes are kept
 *              |                                             +-------+
 *              |
 *              +---- the same without chunks ------------> BODY <----+  a known event: its values are kept;
 *              |                                             |       |  any other event: its bytes are kept
 *              |                                             +-------+
 *              |                                             |
 *              +---- any other head ----> OPAQUE <-----------+  from either: the body's end, anything not understood
 *
 * All but OPAQUE keep what is incomplete in `pending`. Bytes of OPAQUE are handed over as they came. Python learns the
 * patterns of events and decides what any byte means; this file compares. Nothing here knows Python or sockets.
 */
#ifndef NATIVE_EVENTS_H
#define NATIVE_EVENTS_H
#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/types.h>
#include <time.h>

#define MAX_HEAD 16384 /* bytes; longer heads are left to Python */
#define MAX_CHUNK 8192 /* bytes of a chunk, and of an event over several chunks; longer ones are left to Python */
#define MAX_CHUNK_EVENTS 128
#define TAIL 12 /* a read that ends with an event has its closing brace within this many last bytes */

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

/* ---- Patterns: literals, and slots for the values between them (event_pattern.py) ------------------------------- */

enum slot { TEXT = 't', PROMPT = 'p', COMPLETION = 'c', NUMBER = 'n', ID = 'i' };
enum { MAX_SLOTS = 16, MAX_PATTERNS = 256 }; /* a process learns 64 at most, a server has one or two */

struct pattern {
    int slots;
    char kind[MAX_SLOTS];
    size_t length[MAX_SLOTS + 1];
    char *literal[MAX_SLOTS + 1];
};

/* Of the process, never changed once published, so that the thread needs no lock to read them. */
static struct pattern patterns[MAX_PATTERNS];
static atomic_int pattern_count;

struct event {
    int pattern, count, prompt; /* count, prompt: tokens; -1 without a slot */
    const char *text;
    size_t text_length, length;
};

static int hex_digit(char c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Return the code unit of \uXXXX at `at`, -1 if it is none. */
static int code_unit(const char *at, const char *end) {
    int value = 0;
    if (end - at < 6 || at[0] != '\\' || at[1] != 'u') return -1;
    for (int i = 2; i < 6; i++) {
        int digit = hex_digit(at[i]);
        if (digit < 0) return -1;
        value = 16 * value + digit;
    }
    return value;
}

/* Return the length of the valid escape at `at`, 0 if it is none. */
static size_t escape_length(const char *at, const char *end) {
    if (end - at < 2) return 0;
    if (at[1] != 'u') return at[1] && strchr("\"\\/bfnrt", at[1]) ? 2 : 0;
    int unit = code_unit(at, end);
    if (unit < 0 || (unit >= 0xDC00 && unit < 0xE000)) return 0;
    if (unit < 0xD800 || unit >= 0xE000) return 6;
    int low = code_unit(at + 6, end);
    return low >= 0xDC00 && low < 0xE000 ? 12 : 0;
}

/* Return the length of the valid UTF-8 sequence of several bytes at `at`, 0 if it is none. */
static size_t utf8_length(const unsigned char *at, const unsigned char *end) {
    unsigned lead = at[0];
    size_t length = lead >= 0xC2 && lead < 0xE0 ? 2 : lead >= 0xE0 && lead < 0xF0 ? 3 : lead >= 0xF0 && lead < 0xF5 ? 4 : 0;
    if (!length || (size_t)(end - at) < length) return 0;
    unsigned low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80, high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
    if (at[1] < low || at[1] > high) return 0;
    for (size_t i = 2; i < length; i++)
        if (at[i] < 0x80 || at[i] > 0xBF) return 0;
    return length;
}

/* Return the end of the content of a JSON string that begins at `at`, NULL if it is invalid or has no end. */
static const char *text_end(const char *at, const char *end) {
    while (at < end) {
        unsigned char c = (unsigned char)*at;
        size_t length = 1;
        if (c == '"') return at;
        if (c < 0x20) return NULL;
        if (c == '\\') length = escape_length(at, end);
        if (c >= 0x80) length = utf8_length((const unsigned char *)at, (const unsigned char *)end);
        if (!length) return NULL;
        at += length;
    }
    return NULL;
}

static const char *id_end(const char *at, const char *end) {
    for (unsigned char c; at < end && (c = (unsigned char)*at) >= 0x20 && c < 0x80 && c != '"' && c != '\\';) at++;
    return at;
}

/* Return the end of a number of at most `most` digits, NULL if there is none; its value is stored if it is small. */
static const char *number_end(const char *at, const char *end, int most, int *value) {
    const char *start = at;
    int64_t number = 0;
    for (; at < end && *at >= '0' && *at <= '9' && at - start < most; at++) number = 10 * number + *at - '0';
    if (at == start || (*start == '0' && at - start > 1)) return NULL;
    if (value) *value = (int)number;
    return at;
}

static const char *slot_end(enum slot kind, const char *at, const char *end, struct event *e) {
    const char *stop;
    switch (kind) {
    case TEXT:
        stop = text_end(at, end);
        e->text = at;
        e->text_length = stop ? (size_t)(stop - at) : 0;
        return stop;
    case PROMPT: return number_end(at, end, 8, &e->prompt);
    case COMPLETION: return number_end(at, end, 8, &e->count);
    case NUMBER: return number_end(at, end, 15, NULL);
    case ID: return id_end(at, end);
    }
    return NULL;
}

/* Return whether an event of this pattern begins at `at`, and fill in its values. */
static int match(int number, const char *at, const char *end, struct event *e) {
    const struct pattern *p = patterns + number;
    const char *start = at;
    *e = (struct event){.pattern = number, .count = -1, .prompt = -1};
    for (int i = 0;; i++) {
        if ((size_t)(end - at) < p->length[i] || memcmp(at, p->literal[i], p->length[i])) return 0;
        at += p->length[i];
        if (i == p->slots) break;
        if (!(at = slot_end(p->kind[i], at, end, e))) return 0;
    }
    e->length = (size_t)(at - start);
    return 1;
}

/* Try the stream's latest pattern, then all, the newest first. */
static int match_any(int latest, const char *at, const char *end, struct event *e) {
    int count = atomic_load_explicit(&pattern_count, memory_order_acquire);
    if (latest >= 0 && match(latest, at, end, e)) return 1;
    for (int n = count - 1; n >= 0; n--)
        if (n != latest && match(n, at, end, e)) return 1;
    return 0;
}

/* ---- What a stream has received -------------------------------------------------------------------------------- */

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

/* ---- The state machine ----------------------------------------------------------------------------------------- */

/* Where in the pieces of a region its next byte is. */
struct cursor {
    const struct piece *piece;
    size_t used;
};

static void skip_bytes(struct cursor *c, size_t size) {
    for (c->used += size; c->used > c->piece->size; c->piece++) c->used -= c->piece->size;
}

/* Return the piece that holds the byte `offset` after the cursor. */
static const struct piece *piece_at(const struct cursor *c, size_t offset) {
    const struct piece *piece = c->piece;
    for (offset += c->used; offset >= piece->size; piece++) offset -= piece->size;
    return piece;
}

static void keep_region(struct stream *s, struct cursor *c, const char *data, size_t size) {
    while (size) {
        if (c->used == c->piece->size) c->piece++, c->used = 0;
        size_t here = c->piece->size - c->used < size ? c->piece->size - c->used : size;
        keep_bytes(s, c->piece, data, here);
        c->used += here;
        data += here;
        size -= here;
    }
}

static int ends_with(const char *data, size_t length, const char *tail, size_t size) {
    return length >= size && !memcmp(data + length - size, tail, size);
}

/* Every event but the last ends with a brace, followed only by line ends and framing: such reads can wait. */
static int may_wait(const char *data, size_t length) {
    const char *tail = data + (length > TAIL ? length - TAIL : 0);
    return memchr(tail, '}', (size_t)(data + length - tail)) && !ends_with(data, length, "0\r\n\r\n", 5);
}

enum framing { INCOMPLETE, WHOLE, STRANGE };

/* Find a chunk of plain form at `at`: size, CRLF, content, CRLF. STRANGE also for the last one and for large ones. */
static enum framing find_chunk(const char *at, size_t available, size_t *head, size_t *size) {
    size_t n = 0, value = 0;
    for (; n < available && n < 7 && hex_digit(at[n]) >= 0; n++) value = 16 * value + (size_t)hex_digit(at[n]);
    if (n == available) return INCOMPLETE;
    if (!n || at[n] != '\r') return STRANGE;
    if (n + 1 == available) return INCOMPLETE;
    if (at[n + 1] != '\n' || !value || value > MAX_CHUNK) return STRANGE;
    *head = n + 2;
    *size = value;
    if (available < n + value + 4) return INCOMPLETE;
    return ends_with(at, n + value + 4, "\r\n", 2) ? WHOLE : STRANGE;
}

/* Take a chunk's content as events of known patterns. Nothing is kept unless they explain every byte of it. */
static int take_events(struct stream *s, const struct cursor *c, const char *content, size_t head, size_t size) {
    struct event events[MAX_CHUNK_EVENTS];
    const char *at = content, *end = content + size;
    int count = 0, latest = s->pattern;
    for (; at < end; at += events[count++].length) {
        if (count == MAX_CHUNK_EVENTS || !match_any(latest, at, end, events + count)) return 0;
        latest = events[count].pattern;
    }
    uint32_t end_read = piece_at(c, head + size + 1)->number;
    for (size_t i = 0, stop = head; i < (size_t)count; i++) { /* an event arrives with its last byte */
        stop += events[i].length;
        keep_event(s, piece_at(c, stop - 1), events + i, events[i].length + (i ? 0 : head + 2), end_read);
    }
    s->pattern = latest;
    return 1;
}

/* Return whether the body is an event stream, by its first bytes, which body_form.py knows as one. */
static int is_stream(struct stream *s, const char *content, size_t size) {
    static const char *const fields[] = {"data:", "event:", "id:", ":"};
    for (size_t i = 0; !s->begun && i < sizeof fields / sizeof *fields; i++)
        s->begun = size >= strlen(fields[i]) && !memcmp(content, fields[i], strlen(fields[i]));
    return s->begun;
}

/* Return whether an event ends with this content and nothing of another follows, not even an empty line. Line ends of
 * other forms, which sse.py knows, only delay the next match. */
static int ends_event(const char *content, size_t size) {
    size_t tail = ends_with(content, size, "\r\n\r\n", 4) ? 4 : ends_with(content, size, "\n\n", 2) ? 2 : 0;
    return tail && size > tail && !memchr("\r\n", content[size - tail - 1], 2);
}

/* Return whether this chunk, which is kept as bytes, may be followed by events that are matched. */
static int is_understood(struct stream *s, const char *content, size_t size) {
    if (!s->begun) return 0;
    s->since_boundary += size;
    s->at_boundary = ends_event(content, size);
    if (s->since_boundary > MAX_CHUNK) return 0;
    if (s->at_boundary) s->since_boundary = 0;
    return 1;
}

/* Keep bytes that are not matched; return whether they wake. */
static int keep_other(struct stream *s, struct cursor *c, const char *data, size_t size) {
    keep_region(s, c, data, size);
    return !may_wait(data, size);
}

/* Take whole chunks from a region; return how many of its bytes are used up. */
static size_t take_chunks(struct stream *s, struct cursor *c, const char *data, size_t length, int *wake) {
    size_t done = 0, head = 0, size = 0;
    while (done < length && s->state == CHUNKS && !s->ended) {
        enum framing framing = find_chunk(data + done, length - done, &head, &size);
        if (framing == INCOMPLETE) return done;
        size_t whole = framing == WHOLE ? head + size + 2 : length - done;
        const char *content = data + done + head;
        if (framing == WHOLE && is_stream(s, content, size) && s->at_boundary && take_events(s, c, content, head, size)) {
            skip_bytes(c, whole);
            *wake = 0;
        } else {
            if (framing == STRANGE || !is_understood(s, content, size)) s->state = OPAQUE;
            *wake = keep_other(s, c, data + done, whole);
        }
        done += whole;
    }
    return done;
}

/* Take whole events from a region of BODY; return how many of its bytes are used up. */
static size_t take_body(struct stream *s, struct cursor *c, const char *data, size_t length, int *wake) {
    size_t done = 0, size;
    for (; done < length && s->state == BODY && !s->ended; done += size, s->remaining -= size) {
        const char *at = data + done, *end = data + length;
        struct event e;
        if (is_stream(s, at, length - done) && s->at_boundary && match_any(s->pattern, at, end, &e) &&
            e.length < s->remaining) { /* so that Python sees the body's last byte */
            const struct piece *last = piece_at(c, (size = e.length) - 1);
            keep_event(s, last, &e, size, last->number);
            skip_bytes(c, size);
            s->pattern = e.pattern;
            *wake = 0;
            continue;
        }
        const char *stop = memmem(at, length - done, "\n\n", 2);
        int strange = length - done >= s->remaining || memchr(at, '\r', length - done) || (!stop && length - done > MAX_CHUNK);
        if (!stop && !strange) return done;
        size = strange ? length - done : (size_t)(stop + 2 - at);
        if (strange || !is_understood(s, at, size)) s->state = OPAQUE;
        *wake = keep_other(s, c, at, size);
    }
    return done;
}

static int is_token_char(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

static int names(const char *line, size_t length, const char *name) {
    return length > strlen(name) && line[strlen(name)] == ':' && !strncasecmp(line, name, strlen(name));
}

/* Return the value of a number of at most 15 digits and nothing else, -1 if it is none. */
static int64_t whole_number(const char *at, const char *end) {
    int64_t value = 0;
    const char *start = at;
    for (; at < end && *at >= '0' && *at <= '9' && at - start < 15; at++) value = 10 * value + *at - '0';
    return at == end && at > start ? value : -1;
}

/* Return the length of the complete head of an event stream; 0 if it is incomplete, -1 for any other head. Set how the
 * body is framed. */
static ssize_t plain_head(struct stream *s, const char *data, size_t length) {
    static const char status[] = "HTTP/1.1 200";
    size_t known = sizeof status - 1 < length ? sizeof status - 1 : length;
    if (memcmp(data, status, known)) return -1;
    int chunked = 0, events = 0;
    int64_t sized = -1;
    const char *end = data + length;
    for (const char *line = data, *stop; (stop = memchr(line, '\n', (size_t)(end - line))); line = stop + 1) {
        if (stop == line || stop[-1] != '\r') return -1;
        const char *line_end = stop - 1;
        size_t size = (size_t)(line_end - line), name = 0;
        if (!size) {
            if (line == data || !events || (chunked && sized >= 0)) return -1;
            s->state = chunked ? CHUNKS : BODY;
            s->remaining = sized >= 0 ? (uint64_t)sized : UINT64_MAX;
            return stop + 1 - data;
        }
        for (size_t i = 0; i < size; i++)
            if (line[i] < 0x20 || line[i] > 0x7e) return -1;
        if (line == data) {
            if (size > known && line[known] != ' ') return -1;
            continue;
        }
        while (name < size && is_token_char(line[name])) name++;
        if (!name || name == size || line[name] != ':') return -1;
        const char *value = line + name + 1;
        while (value < line_end && *value == ' ') value++;
        size_t rest = (size_t)(line_end - value);
        if (names(line, size, "upgrade") || names(line, size, "content-encoding")) return -1;
        if (names(line, size, "content-length")) {
            if (sized >= 0 || (sized = whole_number(value, line_end)) < 0) return -1;
        } else if (names(line, size, "transfer-encoding")) {
            if (chunked++ || rest != 7 || strncasecmp(value, "chunked", 7)) return -1;
        } else if (names(line, size, "content-type")) {
            if (events++ || rest < 17 || strncasecmp(value, "text/event-stream", 17)) return -1;
        } else if (names(line, size, "connection")) {
            if (!(rest == 10 && !strncasecmp(value, "keep-alive", 10)) && !(rest == 5 && !strncasecmp(value, "close", 5)))
                return -1;
        }
    }
    return length > MAX_HEAD ? -1 : 0;
}

/* Take a region in any state but OPAQUE; return how many of its bytes are used up. */
static size_t take_region(struct stream *s, struct cursor *c, const char *data, size_t length, int *wake) {
    size_t done = 0;
    *wake = 0;
    if (s->state == HEAD) {
        ssize_t head = plain_head(s, data, length);
        if (!head) return 0;
        if (head < 0) {
            s->state = OPAQUE;
            keep_region(s, c, data, length);
            *wake = 1;
            return length;
        }
        keep_region(s, c, data, done = (size_t)head);
        s->at_boundary = s->defer = 1;
    }
    done += (s->state == CHUNKS ? take_chunks : take_body)(s, c, data + done, length - done, wake);
    if (done < length && (s->state == OPAQUE || s->ended)) {
        keep_region(s, c, data + done, length - done);
        *wake = !may_wait(data, length);
        done = length;
    }
    return done;
}

/* Drop the first bytes of what is pending. */
static void drop_pending(struct stream *s, size_t bytes) {
    struct piece *all = (struct piece *)(void *)s->pending_pieces.data;
    size_t count = COUNT(s->pending_pieces, struct piece), kept = 0;
    s->pending.length -= bytes;
    memmove(s->pending.data, s->pending.data + bytes, s->pending.length);
    for (size_t i = 0; i < count; i++) {
        size_t gone = bytes < all[i].size ? bytes : all[i].size;
        bytes -= gone;
        if (gone < all[i].size) all[kept++] = (struct piece){all[i].at, all[i].number, all[i].size - (uint32_t)gone};
    }
    s->pending_pieces.length = kept * sizeof *all;
}

static int add_pending(struct stream *s, struct piece piece, const char *data, size_t length) {
    piece.size = (uint32_t)length;
    if (!reserve(&s->pending, length) || !reserve(&s->pending_pieces, sizeof piece)) return without_memory(s);
    put(&s->pending, data, length);
    put(&s->pending_pieces, &piece, sizeof piece);
    return 1;
}

/* Take a read in any state but OPAQUE; return whether the greenlet must be woken. */
static int take_framed(struct stream *s, const char *data, size_t length, const struct piece *piece) {
    int wake;
    if (!s->pending.length) {
        size_t used = take_region(s, &(struct cursor){piece, 0}, data, length, &wake);
        if (used < length) add_pending(s, *piece, data + used, length - used);
    } else if (add_pending(s, *piece, data, length)) {
        struct cursor cursor = {(struct piece *)(void *)s->pending_pieces.data, 0};
        drop_pending(s, take_region(s, &cursor, s->pending.data, s->pending.length, &wake));
    } else {
        return 1;
    }
    /* Events that are whole inside a chunk that is not: as if the chunk were. */
    return wake || (s->pending.length && s->state == CHUNKS && ends_with(data, length, "\n\n", 2) && !may_wait(data, length));
}

/* Take the bytes of one read; return whether the greenlet must be woken. */
static int take_read(struct stream *s, const char *data, size_t length, double at) {
    struct piece piece = {at > s->last_at ? at : s->last_at, ++s->reads, (uint32_t)length};
    int wake;
    s->last_at = piece.at;
    if (s->state == OPAQUE) {
        keep_bytes(s, &piece, data, length);
        wake = !s->defer || !may_wait(data, length);
    } else {
        wake = take_framed(s, data, length, &piece);
    }
    return wake || s->ended || is_above(s, WAKE_READS, WAKE_EVENTS, WAKE_BYTES);
}

/* Hand over what is pending, too. Where the next event begins isn't known any more then. */
static void settle(struct stream *s) {
    if (!s->pending.length) return;
    struct cursor cursor = {(struct piece *)(void *)s->pending_pieces.data, 0};
    keep_region(s, &cursor, s->pending.data, s->pending.length);
    s->pending.length = s->pending_pieces.length = 0;
    s->state = OPAQUE;
}

#endif
