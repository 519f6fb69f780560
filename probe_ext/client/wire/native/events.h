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
#include <strings.h>
#include "received.h"

#define MAX_HEAD 16384 /* bytes; longer heads are left to Python */
#define MAX_CHUNK 8192 /* bytes of a chunk, and of an event over several chunks; longer ones are left to Python */
#define MAX_CHUNK_EVENTS 128
#define TAIL 12 /* a read that ends with an event has its closing brace within this many last bytes */

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
