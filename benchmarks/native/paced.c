/* A server whose token times are known: the ground truth for timing accuracy.
 *
 * It implements the part of OpenAI's chat API that load generators need: chunked server-sent events, one token each.
 * --mode paced: the first token FIRST ms after the request reached this machine's kernel, then one every 1/RATE s, each
 *               at its own deadline, even if the previous one was late.
 * --mode fast:  all tokens as fast as the connection accepts them, each in its own write.
 * --mode null:  the whole reply immediately, in one write.
 * The text of every token is the CLOCK_MONOTONIC time in nanoseconds just before the write that passes it to the kernel.
 * --truth FILE records {reply, number, arrived, before, before_real, after} for each token: six int64, where `arrived`
 * is when the request reached the kernel; the write happens between `before` and `after`.
 * It uses one thread, exits on SIGTERM or SIGINT, and prints as its last line totals, CPU time, and when the first request
 * of any kind and the first one for a reply reached the kernel (CLOCK_MONOTONIC).
 */
#include "wire.h"

#define IN_BUFFER_SIZE 65536
#define OUT_BUFFER_SIZE 65536
#define MAX_FDS 65536
#define BURST 16 /* in fast mode, tokens of one stream before the other streams get their turn */

enum mode { PACED, FAST, NULLED };

struct conn {
    int fd, ready; /* ready: TLS handshake done */
    SSL *ssl;
    char *in, *out;
    int in_length, out_length;
    int64_t reply, arrived, due;
    int sent, total, prompt; /* tokens */
    int streaming, usage, continuous, writing;
    unsigned generation; /* changes with every reply, so that deadlines of earlier replies can be recognised */
};

struct deadline {
    int64_t at;
    int fd;
    unsigned generation;
};

static enum mode mode = PACED;
static double rate = 50, first_ms = 50;
static int jitter; /* whether the first token of each reply is late by up to a gap more, so that phases differ */
static int early_role, default_tokens = 100;
static const char *host = "127.0.0.1";
static const char *truth_path;
static int64_t *truth;
static size_t truth_length, truth_capacity;
static struct conn *conns[MAX_FDS];
static struct deadline *heap;
static size_t heap_length, heap_capacity;
static int poller;
static volatile sig_atomic_t stopping;
static int64_t replies, tokens, blocked;
static int64_t first_request, first_chat; /* when they arrived; 0 before */
static int open_now, open_most;
#ifdef WITH_TLS
static SSL_CTX *tls;
#endif

static void on_signal(int number) { (void)number; stopping = 1; }

/* A heap of deadlines, earliest first. */
static void push(struct deadline d) {
    if (heap_length == heap_capacity) {
        heap_capacity = heap_capacity ? 2 * heap_capacity : 1024;
        heap = realloc(heap, heap_capacity * sizeof *heap);
    }
    size_t i = heap_length++;
    for (; i && heap[(i - 1) / 2].at > d.at; i = (i - 1) / 2) heap[i] = heap[(i - 1) / 2];
    heap[i] = d;
}

static struct deadline pop(void) {
    struct deadline top = heap[0], last = heap[--heap_length];
    size_t i = 0;
    for (size_t child; (child = 2 * i + 1) < heap_length; i = child) {
        if (child + 1 < heap_length && heap[child + 1].at < heap[child].at) child++;
        if (heap[child].at >= last.at) break;
        heap[i] = heap[child];
    }
    heap[i] = last;
    return top;
}

static void close_connection(struct conn *c) {
#ifdef WITH_TLS
    if (c->ssl) SSL_free(c->ssl);
#endif
    close(c->fd);
    conns[c->fd] = NULL;
    open_now--;
    free(c->in);
    free(c->out);
    free(c);
}

static void watch_writable(struct conn *c, int writing) {
    if (c->writing == writing) return;
    c->writing = writing;
    struct epoll_event e = {.events = EPOLLIN | (writing ? EPOLLOUT : 0), .data.fd = c->fd};
    epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &e);
}

/* Send, or buffer behind data that is already waiting; return 0 if the connection is gone. */
static int send_or_buffer(struct conn *c, const char *text, int length) {
    if (!c->out_length) {
        ssize_t n = transmit(c->fd, c->ssl, text, length);
        if (n == -2) return 0;
        if (n < 0) n = 0;
        text += n;
        length -= n;
        if (!length) return 1;
        if (n || c->streaming) blocked++;
    }
    if (c->out_length + length > OUT_BUFFER_SIZE) return 0;
    memcpy(c->out + c->out_length, text, length);
    c->out_length += length;
    watch_writable(c, 1);
    return 1;
}

static int drain(struct conn *c) {
    while (c->out_length) {
        ssize_t n = transmit(c->fd, c->ssl, c->out, c->out_length);
        if (n == -2) return 0;
        if (n < 0) return 1;
        c->out_length -= n;
        memmove(c->out, c->out + n, c->out_length);
    }
    watch_writable(c, 0);
    return 1;
}

/* Encode an event as an HTTP chunk; return its length. */
static int chunk(char *into, const char *data, int length) {
    int head = sprintf(into, "%x\r\n", length + 8);
    memcpy(into + head, "data: ", 6);
    memcpy(into + head + 6, data, length);
    memcpy(into + head + 6 + length, "\n\n\r\n", 4);
    return head + length + 10;
}

static int event(struct conn *c, char *into, const char *delta, const char *finish) {
    char data[1024], usage[160] = "";
    if (c->continuous)
        sprintf(usage, ",\"usage\":{\"prompt_tokens\":%d,\"total_tokens\":%d,\"completion_tokens\":%d}", c->prompt,
                c->prompt + c->sent, c->sent);
    int length = sprintf(data,
                         "{\"id\":\"chatcmpl-%016llx\",\"object\":\"chat.completion.chunk\",\"created\":1795214602,"
                         "\"model\":\"paced\",\"choices\":[{\"index\":0,\"delta\":{%s},\"logprobs\":null,"
                         "\"finish_reason\":%s,\"token_ids\":null}]%s}",
                         (long long)c->reply, delta, finish, usage);
    return chunk(into, data, length);
}

static void record(struct conn *c, int64_t before, int64_t real, int64_t after) {
    if (!truth_path) return;
    if (truth_length + 6 > truth_capacity) {
        truth_capacity = truth_capacity ? 2 * truth_capacity : 1 << 20;
        truth = realloc(truth, truth_capacity * sizeof *truth);
    }
    int64_t row[6] = {c->reply, c->sent, c->arrived, before, real, after};
    memcpy(truth + truth_length, row, sizeof row);
    truth_length += 6;
}

/* Send the next token; return 0 if the connection is gone. */
static int send_token(struct conn *c) {
    char text[1536], delta[64];
    c->sent++;
    tokens++;
    int64_t real = clock_ns(CLOCK_REALTIME), before = mono_ns();
    sprintf(delta, "\"content\":\" %018lld\"", (long long)before);
    int length = event(c, text, delta, "null");
    int alive = send_or_buffer(c, text, length);
    record(c, before, real, mono_ns());
    return alive;
}

static int encode_ending(struct conn *c, char *into) {
    int n = event(c, into, "", "\"length\"");
    if (c->usage) {
        char data[256];
        int length = sprintf(data,
                             "{\"id\":\"chatcmpl-%016llx\",\"object\":\"chat.completion.chunk\",\"created\":1795214602,"
                             "\"model\":\"paced\",\"choices\":[],\"usage\":{\"prompt_tokens\":%d,\"total_tokens\":%d,"
                             "\"completion_tokens\":%d}}",
                             (long long)c->reply, c->prompt, c->prompt + c->sent, c->sent);
        n += chunk(into + n, data, length);
    }
    n += chunk(into + n, "[DONE]", 6);
    memcpy(into + n, "0\r\n\r\n", 5);
    return n + 5;
}

static int finish(struct conn *c) {
    char text[4096];
    int length = encode_ending(c, text);
    c->streaming = 0;
    c->generation++;
    return send_or_buffer(c, text, length);
}

static const char STREAM_HEAD[] =
    "HTTP/1.1 200 OK\r\nserver: paced\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
    "transfer-encoding: chunked\r\n\r\n";

static int send_response(struct conn *c, const char *status, const char *body) {
    char text[2048];
    int n = sprintf(text, "HTTP/1.1 %s\r\ncontent-type: application/json\r\ncontent-length: %zu\r\n\r\n%s", status,
                    strlen(body), body);
    return send_or_buffer(c, text, n);
}

static int stream_null(struct conn *c) {
    char *text = malloc(2048 + 512 * (size_t)c->total);
    int n = sprintf(text, "%s", STREAM_HEAD), alive;
    n += event(c, text + n, "\"role\":\"assistant\",\"content\":\"\"", "null");
    int64_t real = clock_ns(CLOCK_REALTIME), before = mono_ns();
    char delta[64];
    sprintf(delta, "\"content\":\" %018lld\"", (long long)before);
    for (int i = 0; i < c->total; i++) {
        c->sent++;
        tokens++;
        n += event(c, text + n, delta, "null");
    }
    n += encode_ending(c, text + n);
    alive = send_or_buffer(c, text, n);
    record(c, before, real, mono_ns());
    free(text);
    return alive;
}

static int send_role(struct conn *c) {
    char text[1024];
    return send_or_buffer(c, text, event(c, text, "\"role\":\"assistant\",\"content\":\"\"", "null"));
}

static int begin_stream(struct conn *c) {
    c->sent = 0;
    if (mode == NULLED) return stream_null(c);
    c->streaming = 1;
    if (!send_or_buffer(c, STREAM_HEAD, sizeof STREAM_HEAD - 1)) return 0;
    if ((early_role || mode == FAST) && !send_role(c)) return 0;
    if (mode == FAST) {
        watch_writable(c, 1);
        return 1;
    }
    c->due = c->arrived + (int64_t)(first_ms * 1e6) + (jitter ? (int64_t)(1e9 / rate * rand() / RAND_MAX) : 0);
    push((struct deadline){c->due, c->fd, c->generation});
    return 1;
}

static int number_after(const char *body, const char *key, int fallback) {
    const char *at = strstr(body, key);
    return at ? atoi(at + strlen(key) + strspn(at + strlen(key), "\": ")) : fallback;
}

static int is_true(const char *body, const char *key) {
    const char *at = strstr(body, key);
    return at && !strncmp(at + strlen(key) + strspn(at + strlen(key), "\": "), "true", 4);
}

static int handle(struct conn *c, const char *head, const char *body, int length) {
    if (!first_request) first_request = c->arrived;
    if (!strncmp(head, "GET /v1/models ", 15))
        return send_response(c, "200 OK",
                            "{\"object\":\"list\",\"data\":[{\"id\":\"paced\",\"object\":\"model\",\"owned_by\":\"bench\","
                            "\"root\":\"paced\",\"max_model_len\":131072}]}");
    if (!strncmp(head, "GET /health ", 12)) return send_response(c, "200 OK", "{}");
    if (strncmp(head, "POST ", 5) || !strstr(head, "/chat/completions "))
        return send_response(c, "404 Not Found", "{\"error\":{\"message\":\"paced: not found\",\"code\":404}}");
    if (!first_chat) first_chat = c->arrived;
    c->reply = ++replies;
    c->total = number_after(body, "\"max_completion_tokens\"", number_after(body, "\"max_tokens\"", default_tokens));
    c->prompt = length / 5;
    c->usage = is_true(body, "\"include_usage\"");
    c->continuous = is_true(body, "\"continuous_usage_stats\"");
    if (is_true(body, "\"stream\"")) return begin_stream(c);
    char text[512];
    sprintf(text,
            "{\"id\":\"chatcmpl-%lld\",\"object\":\"chat.completion\",\"created\":1795214602,\"model\":\"paced\","
            "\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"yes\"},"
            "\"finish_reason\":\"length\"}],\"usage\":{\"prompt_tokens\":%d,\"total_tokens\":%d,"
            "\"completion_tokens\":1}}",
            (long long)c->reply, c->prompt, c->prompt + 1);
    return send_response(c, "200 OK", text);
}

/* Handle the request in the buffer if it is complete; return 0 if the connection is gone. */
static int handle_buffered(struct conn *c) {
    c->in[c->in_length] = 0;
    char *blank_line = strstr(c->in, "\r\n\r\n");
    if (!blank_line || c->streaming) return 1;
    char *length_header = strcasestr(c->in, "\r\ncontent-length:");
    int length = length_header && length_header < blank_line ? atoi(length_header + 17) : 0;
    int whole = (int)(blank_line + 4 - c->in) + length;
    if (c->in_length < whole) return 1;
    char saved = c->in[whole];
    c->in[whole] = 0;
    *blank_line = 0;
    int alive = handle(c, c->in, blank_line + 4, length);
    c->in[whole] = saved;
    c->in_length -= whole;
    memmove(c->in, c->in + whole, c->in_length);
    return alive;
}

/* Return when the kernel received the next bytes of the socket, on the monotonic clock. */
static int64_t arrival(int fd) {
    char byte, capacity[128];
    struct iovec part = {&byte, 1};
    struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = capacity, .msg_controllen = sizeof capacity};
    if (recvmsg(fd, &m, MSG_PEEK) <= 0) return mono_ns();
    for (struct cmsghdr *a = CMSG_FIRSTHDR(&m); a; a = CMSG_NXTHDR(&m, a))
        if (a->cmsg_level == SOL_SOCKET && a->cmsg_type == SO_TIMESTAMPNS) {
            struct timespec t;
            memcpy(&t, CMSG_DATA(a), sizeof t);
            return mono_ns() - (clock_ns(CLOCK_REALTIME) - t.tv_sec * 1000000000LL - t.tv_nsec);
        }
    return mono_ns();
}

static int handshake(struct conn *c) {
#ifdef WITH_TLS
    if (c->ssl && !c->ready) {
        int done = SSL_accept(c->ssl);
        if (done != 1) {
            int error = SSL_get_error(c->ssl, done);
            ERR_clear_error();
            return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE;
        }
    }
#endif
    c->ready = 1;
    return 1;
}

static int readable(struct conn *c) {
    if (!c->ready && (!handshake(c) || !c->ready)) return c->ready || 1;
    int64_t at = arrival(c->fd);
    for (;;) {
        ssize_t n = receive(c->fd, c->ssl, c->in + c->in_length, IN_BUFFER_SIZE - 1 - c->in_length);
        if (n == 0 || n == -2) return 0;
        if (n < 0) return 1;
        c->arrived = at;
        c->in_length += n;
        if (!handle_buffered(c)) return 0;
        if (c->in_length >= IN_BUFFER_SIZE - 1) return 0;
    }
}

static int writable(struct conn *c) {
    if (!drain(c)) return 0;
    for (int i = 0; i < BURST && mode == FAST && c->streaming && !c->out_length; i++) {
        int alive = c->sent < c->total ? send_token(c) : finish(c) && handle_buffered(c);
        if (!alive) return 0;
    }
    if (!c->out_length) watch_writable(c, mode == FAST && c->streaming);
    return 1;
}

static void send_due(int64_t now) {
    while (heap_length && heap[0].at <= now) {
        struct deadline d = pop();
        struct conn *c = conns[d.fd];
        if (!c || c->generation != d.generation || !c->streaming) continue;
        int alive = (c->sent || early_role || send_role(c)) && send_token(c);
        if (alive && c->sent >= c->total) {
            alive = finish(c) && handle_buffered(c);
        } else if (alive) {
            c->due += (int64_t)(1e9 / rate);
            push((struct deadline){c->due, c->fd, c->generation});
        }
        if (!alive) close_connection(c);
    }
}

static void accept_all(int listener) {
    int fd, one = 1;
    while ((fd = accept(listener, NULL, NULL)) >= 0) {
        if (fd >= MAX_FDS) {
            close(fd);
            continue;
        }
        set_nonblocking(fd);
        setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &one, sizeof one);
        struct conn *c = conns[fd] = calloc(1, sizeof *c);
        static unsigned generations;
        c->fd = fd;
        c->generation = generations += 1 << 16;
        c->in = malloc(IN_BUFFER_SIZE);
        c->out = malloc(OUT_BUFFER_SIZE);
#ifdef WITH_TLS
        if (tls) {
            c->ssl = SSL_new(tls);
            SSL_set_fd(c->ssl, fd);
            SSL_set_accept_state(c->ssl);
        }
#endif
        c->ready = !c->ssl;
        if (++open_now > open_most) open_most = open_now;
        struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};
        epoll_ctl(poller, EPOLL_CTL_ADD, fd, &e);
    }
}

static void serve(int listener) {
    struct epoll_event events[256];
    while (!stopping) {
        int64_t now = mono_ns(), wait = heap_length ? heap[0].at - now : 200000000LL;
        if (wait < 0) wait = 0;
        struct timespec limit = {wait / 1000000000LL, wait % 1000000000LL};
        int n = epoll_pwait2(poller, events, 256, &limit, NULL);
        send_due(mono_ns());
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd, alive = 1;
            if (fd == listener) {
                accept_all(listener);
                continue;
            }
            struct conn *c = conns[fd];
            if (c && events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) alive = readable(c);
            if (c && alive && events[i].events & EPOLLOUT) alive = writable(c);
            if (c && !alive) close_connection(c);
        }
    }
}

static void use_tls(const char *certificate, const char *key) {
#ifdef WITH_TLS
    tls = SSL_CTX_new(TLS_server_method());
    SSL_CTX_set_num_tickets(tls, 0);
    SSL_CTX_set_mode(tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    if (SSL_CTX_use_certificate_file(tls, certificate, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_use_PrivateKey_file(tls, key, SSL_FILETYPE_PEM) != 1)
        fail("certificate");
#else
    (void)certificate, (void)key;
    fprintf(stderr, "paced: built without TLS\n");
    exit(1);
#endif
}

static void read_arguments(int argc, char **argv) {
    for (int i = 1; i + 1 < argc; i += 2) {
        const char *name = argv[i], *value = argv[i + 1];
        if (!strcmp(name, "--mode")) mode = !strcmp(value, "fast") ? FAST : !strcmp(value, "null") ? NULLED : PACED;
        if (!strcmp(name, "--host")) host = value;
        if (!strcmp(name, "--rate")) rate = atof(value);
        if (!strcmp(name, "--jitter")) jitter = atoi(value);
        if (!strcmp(name, "--first-ms")) first_ms = atof(value);
        if (!strcmp(name, "--role")) early_role = !strcmp(value, "at-once");
        if (!strcmp(name, "--truth")) truth_path = value;
        if (!strcmp(name, "--certificate")) use_tls(value, value);
    }
}

static void write_truth(void) {
    if (!truth_path) return;
    FILE *file = fopen(truth_path, "wb");
    if (!file || fwrite(truth, sizeof *truth, truth_length, file) != truth_length || fclose(file)) fail(truth_path);
}

int main(int argc, char **argv) {
    signal(SIGPIPE, SIG_IGN);
    signal(SIGTERM, on_signal);
    signal(SIGINT, on_signal);
    prctl(PR_SET_TIMERSLACK, 1);
    read_arguments(argc, argv);
    struct sockaddr_storage address;
    socklen_t size = address_of(host, 0, &address);
    int listener = socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (void *)&address, size) || listen(listener, 4096)) fail("listen");
    getsockname(listener, (void *)&address, &size);
    poller = epoll_create1(0);
    struct epoll_event e = {.events = EPOLLIN, .data.fd = listener};
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &e);
    printf("%d\n", ntohs(((struct sockaddr_in *)&address)->sin_port)); /* at the same place in both families */
    fflush(stdout);
    serve(listener);
    write_truth();
    printf("{\"replies\": %lld, \"tokens\": %lld, \"blocked\": %lld, \"most_open\": %d, \"cpu_seconds\": %.6f, "
           "\"first_request_ns\": %lld, \"first_chat_ns\": %lld}\n",
           (long long)replies, (long long)tokens, (long long)blocked, open_most, cpu_seconds(), (long long)first_request,
           (long long)first_chat);
    return 0;
}
