/* What the native reading path makes of the bytes of a stream: values of events that match known patterns, or bytes.
 *
 * matched_runs.py, http_framing.py and sse.py are the reference: for the same bytes, however they are cut into reads,
 * both paths lead to the same reply (tests/client/wire/native/test_native_paths.py).
 *
 *   start --> HEAD -- a 200 of an event stream, chunked --> CHUNKS <-+  a chunk of known events: their values are kept;
 *              |                                             |       |  any other chunk: its bytes are kept
 *              |                                             +-------+
 *              |                                             |
 *              +---- any other head ----> OPAQUE <-----------+  the last chunk, anything not understood,
 *                                                               or Python took what was incomplete
 *
 * All but OPAQUE keep what is incomplete as pending. Bytes of OPAQUE are handed over as they came. Python learns the
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

/* ---- The pending bytes, and the reads that they are of ----------------------------------------------------------- */

struct cursor {
    const char *data;
    size_t left;
    const struct piece *piece;
    size_t used; /* bytes of the piece */
};

static struct cursor first_pending(const struct stream *s) {
    return (struct cursor){s->got[PENDING_BYTES].data, s->got[PENDING_BYTES].length,
                           (struct piece *)(void *)s->got[PENDING_PIECES].data, 0};
}

/* Return the piece that holds the byte `offset` after the cursor. */
static const struct piece *piece_at(const struct cursor *c, size_t offset) {
    const struct piece *piece = c->piece;
    for (offset += c->used; offset >= piece->size; piece++) offset -= piece->size;
    return piece;
}

/* Move on by so many bytes; `keep`: they are for Python. */
static void advance(struct stream *s, struct cursor *c, size_t size, int keep) {
    c->left -= size;
    for (size_t here; size; size -= here) {
        if (c->used == c->piece->size) c->piece++, c->used = 0;
        here = c->piece->size - c->used < size ? c->piece->size - c->used : size;
        if (keep) keep_bytes(s, c->piece, c->data, here);
        c->data += here;
        c->used += here;
    }
}

/* Drop what is before the cursor. */
static void drop_before(struct stream *s, const struct cursor *c) {
    struct buffer *bytes = s->got + PENDING_BYTES, *pieces = s->got + PENDING_PIECES;
    struct piece *to = (struct piece *)(void *)pieces->data;
    struct piece *from = to + (c->piece - to), *end = to + pieces->length / sizeof *to;
    if (c->left) memmove(bytes->data, c->data, c->left);
    from->size -= (uint32_t)c->used;
    if (!from->size) from++;
    memmove(to, from, (size_t)(end - from) * sizeof *to);
    bytes->length = c->left;
    pieces->length = (size_t)(end - from) * sizeof *to;
}

/* Hand over what is pending, too. Where the next event begins isn't known any more then. */
static void settle(struct stream *s) {
    struct cursor c = first_pending(s);
    if (!c.left) return;
    advance(s, &c, c.left, 1);
    drop_before(s, &c);
    s->state = OPAQUE;
}

/* ---- The head ---------------------------------------------------------------------------------------------------- */

static int is(const char *text, size_t length, const char *expected) {
    return length == strlen(expected) && !strncasecmp(text, expected, length);
}

/* Return the length of the complete head of an event stream in chunks; 0 if it is incomplete, -1 for any other head. */
static ssize_t head_length(const char *data, size_t length) {
    static const char status[] = "HTTP/1.1 200";
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_0123456789";
    size_t known = sizeof status - 1;
    if (memcmp(data, status, known < length ? known : length)) return -1;
    int chunked = 0, events = 0;
    const char *end = data + length;
    for (const char *line = data, *stop; (stop = memchr(line, '\n', (size_t)(end - line))); line = stop + 1) {
        if (stop == line || stop[-1] != '\r') return -1;
        size_t size = (size_t)(stop - 1 - line), name = strspn(line, letters);
        if (!size) return events && chunked ? stop + 1 - data : -1;
        for (size_t i = 0; i < size; i++)
            if (line[i] < 0x20 || line[i] > 0x7e) return -1;
        if (line == data) {
            if (size > known && line[known] != ' ') return -1;
            continue;
        }
        if (!name || line[name] != ':') return -1;
        const char *value = line + name + 1 + strspn(line + name + 1, " ");
        size_t rest = (size_t)(stop - 1 - value);
        if (is(line, name, "upgrade") || is(line, name, "content-encoding") || is(line, name, "content-length")) return -1;
        if (is(line, name, "transfer-encoding")) {
            if (chunked++ || !is(value, rest, "chunked")) return -1;
        } else if (is(line, name, "content-type")) {
            if (events++ || rest < 17 || strncasecmp(value, "text/event-stream", 17)) return -1;
        }
    }
    return length > MAX_HEAD ? -1 : 0;
}

/* ---- The body ------------------------------------------------------------------------------------------------------ */

static int ends_with(const char *data, size_t length, const char *tail, size_t size) {
    return length >= size && !memcmp(data + length - size, tail, size);
}

/* Every event but the last ends with a brace, followed only by line ends and framing: such reads can wait. */
static int may_wait(const char *data, size_t length) {
    const char *tail = data + (length > TAIL ? length - TAIL : 0);
    return memchr(tail, '}', (size_t)(data + length - tail)) && !ends_with(data, length, "0\r\n\r\n", 5);
}

/* Return the length of the chunk of plain form at the cursor: size, CRLF, content, CRLF; 0 if it is incomplete, -1 for any
 * other, also the last one and large ones. Its content begins after `head` bytes. */
static ssize_t chunk_length(const struct cursor *c, size_t *head) {
    size_t n = 0, size = 0;
    const char *at = c->data;
    for (; n < c->left && n < 7 && hex_digit(at[n]) >= 0; n++) size = 16 * size + (size_t)hex_digit(at[n]);
    if (n == c->left) return 0;
    if (!n || at[n] != '\r') return -1;
    if (n + 1 == c->left) return 0;
    if (at[n + 1] != '\n' || !size || size > MAX_CHUNK) return -1;
    *head = n + 2;
    if (c->left < *head + size + 2) return 0;
    return ends_with(at, *head + size + 2, "\r\n", 2) ? (ssize_t)(*head + size + 2) : -1;
}

/* Take a chunk's content as events of known patterns. Nothing is kept unless they explain every byte of it. */
static int take_events(struct stream *s, const struct cursor *c, size_t head, size_t size) {
    struct event events[MAX_CHUNK_EVENTS];
    const char *at = c->data + head, *end = at + size;
    int found = 0, latest = s->pattern;
    for (; at < end; at += events[found++].length) {
        if (found == MAX_CHUNK_EVENTS || !match_any(latest, at, end, events + found)) return 0;
        latest = events[found].pattern;
    }
    uint32_t end_read = piece_at(c, head + size + 1)->number;
    size_t framing = head + 2, stop = head; /* the first event has the bytes of the framing */
    for (int i = 0; i < found; i++, framing = 0) {
        stop += events[i].length; /* an event arrives with its last byte */
        keep_event(s, piece_at(c, stop - 1), events + i, events[i].length + framing, end_read);
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

/* Return whether this content, which is kept as bytes, may be followed by events that are matched. */
static int is_understood(struct stream *s, const char *content, size_t size) {
    s->since_boundary += size;
    s->at_boundary = ends_event(content, size);
    if (!s->begun || s->since_boundary > MAX_CHUNK) return 0;
    if (s->at_boundary) s->since_boundary = 0;
    return 1;
}

/* Take the whole chunks, and everything once it is OPAQUE; return whether the last bytes were kept as such. */
static int take_body(struct stream *s, struct cursor *c) {
    int kept = 0;
    while (c->left && s->state == CHUNKS && !s->ended) {
        size_t head;
        ssize_t whole = chunk_length(c, &head);
        if (!whole) return kept;
        if (whole < 0) {
            s->state = OPAQUE;
            break;
        }
        const char *content = c->data + head;
        size_t size = (size_t)whole - head - 2;
        int matched = is_stream(s, content, size) && s->at_boundary && take_events(s, c, head, size);
        if (!matched && !is_understood(s, content, size)) s->state = OPAQUE;
        kept = !matched;
        advance(s, c, (size_t)whole, kept);
    }
    if (!c->left) return kept;
    advance(s, c, c->left, 1);
    return 1;
}

/* ---- A read ---------------------------------------------------------------------------------------------------------- */

/* Take a read in any state but OPAQUE; return whether the greenlet must be woken. */
static int take_framed(struct stream *s, const char *data, size_t length, const struct piece *piece) {
    if (!append(s, PENDING_BYTES, data, length) || !append(s, PENDING_PIECES, piece, sizeof *piece)) return 1;
    struct cursor c = first_pending(s);
    const char *start = c.data;
    int wake = 0;
    if (s->state == HEAD) {
        ssize_t head = head_length(c.data, c.left);
        if (!head) return 0;
        wake = head < 0;
        s->state = wake ? OPAQUE : CHUNKS;
        if (!wake) s->at_boundary = s->defer = 1;
        advance(s, &c, wake ? c.left : (size_t)head, 1);
    }
    wake |= take_body(s, &c) && !may_wait(start, (size_t)(c.data - start));
    /* Events that are whole inside a chunk that is not: as if the chunk were. */
    wake |= c.left && ends_with(data, length, "\n\n", 2) && !may_wait(data, length);
    drop_before(s, &c);
    return wake;
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

#endif
