/* The lower bound: the CPU cost of reading the same bytes in a program that does nothing else.
 *
 * One epoll loop with one recv per readiness event, a byte search for the end of the reply, then the next request on
 * the same connection. It counts reads, tokens and CPU time; it does not measure latencies, parse or record anything.
 * With PAUSE (microseconds), it sleeps as long between rounds, and then reads all sockets that are ready: fewer wakeups
 * cost less than the reads that they save, so this is the cheapest way to read.
 * Usage: reader HOST PORT STREAMS SECONDS TOKENS PAUSE [tls]
 */
#include "wire.h"

#define BUFFER_SIZE 65536

static const char *host;
static int poller, port, max_tokens, secure;
static char request[512];
static int request_length;
static long long reads, tokens, replies;
#ifdef WITH_TLS
static SSL_CTX *context;
#endif

struct stream {
    int fd;
    SSL *ssl;
};

static void send_request(struct stream *s) {
    if (transmit(s->fd, s->ssl, request, request_length) != request_length) fail("request");
}

static void open_connection(struct stream *s) {
    struct sockaddr_storage there;
    socklen_t size = address_of(host, port, &there);
    s->fd = socket(there.ss_family, SOCK_STREAM, 0);
    if (s->fd < 0 || connect(s->fd, (void *)&there, size)) fail("connect");
#ifdef WITH_TLS
    if (secure) {
        s->ssl = SSL_new(context);
        SSL_set_fd(s->ssl, s->fd);
        if (SSL_connect(s->ssl) != 1) fail("handshake");
    }
#endif
    set_nonblocking(s->fd);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = s};
    epoll_ctl(poller, EPOLL_CTL_ADD, s->fd, &e);
}

static void count_tokens(const char *text, ssize_t length) {
    const char *at = text, *end = text + length;
    while ((at = memmem(at, end - at, "\"content\":\" ", 12))) tokens++, at += 12;
}

/* Return whether the reply has ended. */
static int read_some(struct stream *s) {
    static char text[BUFFER_SIZE];
    ssize_t n;
    int ended = 0;
    do {
        n = receive(s->fd, s->ssl, text, BUFFER_SIZE);
        if (n == 0 || n == -2) fail("connection");
        if (n < 0) break;
        reads++;
        count_tokens(text, n);
        ended |= memmem(text, n, "[DONE]", 6) != NULL;
    } while (s->ssl); /* epoll does not report records that OpenSSL has buffered */
    return ended;
}

int main(int argc, char **argv) {
    if (argc < 7) return 2;
    host = argv[1];
    port = atoi(argv[2]);
    int streams = atoi(argv[3]), active = streams;
    double seconds = atof(argv[4]);
    max_tokens = atoi(argv[5]);
    int pause_us = atoi(argv[6]);
    secure = argc > 7;
#ifdef WITH_TLS
    context = SSL_CTX_new(TLS_client_method());
#endif
    char body[256];
    int length = sprintf(body,
                         "{\"model\":\"paced\",\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"one two\"}],"
                         "\"stream_options\":{\"include_usage\":true,\"continuous_usage_stats\":true},\"max_tokens\":%d}",
                         max_tokens);
    request_length =
        sprintf(request, "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", length, body);
    poller = epoll_create1(0);
    struct stream *all = calloc(streams, sizeof *all);
    for (int i = 0; i < streams; i++) open_connection(all + i);
    double before = cpu_seconds();
    int64_t start = mono_ns(), stagger = streams > 1 ? (int64_t)(1e9 / streams) : 0;
    int started = 0;
    while (active) { /* start the streams over one second, like users */
        while (started < streams && mono_ns() >= start + started * stagger) send_request(all + started++);
        struct epoll_event events[256];
        if (pause_us) usleep((useconds_t)pause_us);
        int n = epoll_wait(poller, events, 256, started < streams ? 1 : -1);
        for (int i = 0; i < n; i++) {
            struct stream *s = events[i].data.ptr;
            if (!read_some(s)) continue;
            replies++;
            if ((double)(mono_ns() - start) < seconds * 1e9)
                send_request(s);
            else
                active--;
        }
    }
    double used = cpu_seconds() - before;
    printf("{\"replies\": %lld, \"tokens\": %lld, \"reads\": %lld, \"cpu_seconds\": %.6f, \"seconds\": %.3f}\n", replies,
           tokens, reads, used, (double)(mono_ns() - start) / 1e9);
    return 0;
}
