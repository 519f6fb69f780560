/* Patterns of events: literals, and slots for the values between them. event_pattern.py learns them, and is the reference.
 *
 * A pattern is written as native_patterns.py encodes it: the length of a literal in two bytes, the literal, the letter of
 * the slot that follows, and so on; 0 after the last literal.
 */
#ifndef NATIVE_PATTERNS_H
#define NATIVE_PATTERNS_H
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>

enum slot { END, TEXT = 't', PROMPT = 'p', COMPLETION = 'c', NUMBER = 'n', ID = 'i' };
enum { MAX_PATTERNS = 256 }; /* a process learns 64 at most, a server has one or two */

/* Of the process, never changed or freed once counted, so that the thread needs no lock to read them. */
static const char *patterns[MAX_PATTERNS];
static atomic_int pattern_count;

struct event {
    int pattern, count, prompt; /* count, prompt: tokens; -1 without a slot */
    const char *text;
    size_t text_length, length;
};

static int hex_digit(char c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Return the length of the valid escape at `at`; 0 if it is none, or a surrogate, which is left to Python. */
static size_t escape_length(const char *at, const char *end) {
    if (end - at < 2 || !at[1] || !strchr("\"\\/bfnrtu", at[1])) return 0;
    if (at[1] != 'u') return 2;
    for (int i = 2; i < 6; i++)
        if (at + i >= end || hex_digit(at[i]) < 0) return 0;
    return hex_digit(at[2]) == 0xD && hex_digit(at[3]) >= 8 ? 0 : 6;
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
    default: return NULL;
    }
}

/* Return whether an event of this pattern begins at `at`, and fill in its values. */
static int match(int number, const char *at, const char *end, struct event *e) {
    const char *pattern = patterns[number], *start = at;
    *e = (struct event){.pattern = number, .count = -1, .prompt = -1, .text = at};
    for (;;) {
        uint16_t length;
        memcpy(&length, pattern, sizeof length);
        pattern += sizeof length;
        if (end - at < length || memcmp(at, pattern, length)) return 0;
        at += length;
        pattern += length;
        enum slot kind = (enum slot)*pattern++;
        if (kind == END) break;
        if (!(at = slot_end(kind, at, end, e))) return 0;
    }
    e->length = (size_t)(at - start);
    return 1;
}

/* Try the stream's latest pattern, then all, the newest first. */
static int match_any(int latest, const char *at, const char *end, struct event *e) {
    int known = atomic_load_explicit(&pattern_count, memory_order_acquire);
    if (latest >= 0 && match(latest, at, end, e)) return 1;
    for (int n = known - 1; n >= 0; n--)
        if (n != latest && match(n, at, end, e)) return 1;
    return 0;
}

#endif
