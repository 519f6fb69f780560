/* A server whose token times are known: the truth that rulers are held against.
 *
 * Speaks as much of OpenAI's chat API as load generators ask for: streams chunked server-sent events, one token each.
 * paced: the first token FIRST ms after the request reached this machine's kernel, then one every 1/RATE s, each at its
 *        own deadline, whatever happened to the one before.
 * fast:  all tokens as fast as the connection takes them, each a write of its own.
 * null:  the whole reply in one write, at once.
 * The text of every token is the CLOCK_MONOTONIC time in nanoseconds, taken just before the write that hands it to the
 * kernel. --truth FILE records for each token {reply, number, arrived, before, before_real, after}: six int64, where
 * `arrived` is when the request reached the kernel, and the write lies between `before` and `after`.
 * One thread; ends on SIGTERM or SIGINT, and says on its last line what it did and what CPU that took.
 */
#include "wire.h"

#define IN_ROOM 65536
#define OUT_ROOM 65536
#define MAX_FDS 65536
#define BURST 16 /* tokens of one stream before the others have their turn, in fast mode */

enum mode { PACED, FAST, NULLED };

struct conn {
    int fd, ready; /* ready: TLS handshake done */
    SSL *ssl;
    char *in, *out;
    int in_length, out_length;
    int64_t reply, arrived, due;
    int sent, total, prompt; /* tokens */
    int streaming, usage, continuous, writing;
    unsigned life; /* counts the replies, so that a deadline of an earlier one is known as such */
};

struct deadline {
    int64_t at;
    int fd;
    unsigned life;
};

static enum mode mode = PACED;
static double rate = 50, first_ms = 50;
static int role_at_once, default_tokens = 100;
static const char *truth_path;
static int64_t *truth;
static size_t truth_length, truth_room;
static struct conn *conns[MAX_FDS];
static struct deadline *heap;
static size_t heap_length, heap_room;
static int poller;
static volatile sig_atomic_t ending;
static int64_t replies, tokens, blocked;
static int open_now, open_most;
#ifdef WITH_TLS
static SSL_CTX *tls;
#endif

static void on_signal(int number) { (void)number; ending = 1; }

/* Deadlines, soonest first. */
static void push(struct deadline d) {
    if (heap_length == heap_room) {
        heap_room = heap_room ? 2 * heap_room : 1024;
        heap = realloc(heap, heap_room * sizeof *heap);
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

static void hang_up(struct conn *c) {
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

static void want(struct conn *c, int writing) {
    if (c->writing == writing) return;
    c->writing = writing;
    struct epoll_event e = {.events = EPOLLIN | (writing ? EPOLLOUT : 0), .data.fd = c->fd};
    epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &e);
}

/* Send what waits, and then this; 0 when the connection is gone. */
static int put(struct conn *c, const char *text, int length) {
    if (!c->out_length) {
        ssize_t n = give(c->fd, c->ssl, text, length);
        if (n == -2) return 0;
        if (n < 0) n = 0;
        text += n;
        length -= n;
        if (!length) return 1;
        if (n || c->streaming) blocked++;
    }
    if (c->out_length + length > OUT_ROOM) return 0;
    memcpy(c->out + c->out_length, text, length);
    c->out_length += length;
    want(c, 1);
    return 1;
}

static int drain(struct conn *c) {
    while (c->out_length) {
        ssize_t n = give(c->fd, c->ssl, c->out, c->out_length);
        if (n == -2) return 0;
        if (n < 0) return 1;
        c->out_length -= n;
        memmove(c->out, c->out + n, c->out_length);
    }
    want(c, 0);
    return 1;
}

/* One event as a chunk; the number of bytes. */
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

static void note(struct conn *c, int64_t before, int64_t real, int64_t after) {
    if (!truth_path) return;
    if (truth_length + 6 > truth_room) {
        truth_room = truth_room ? 2 * truth_room : 1 << 20;
        truth = realloc(truth, truth_room * sizeof *truth);
    }
    int64_t row[6] = {c->reply, c->sent, c->arrived, before, real, after};
    memcpy(truth + truth_length, row, sizeof row);
    truth_length += 6;
}

/* The next token; 0 when the connection is gone. */
static int token(struct conn *c) {
    char text[1536], delta[64];
    c->sent++;
    tokens++;
    int64_t real = clock_ns(CLOCK_REALTIME), before = mono_ns();
    sprintf(delta, "\"content\":\" %018lld\"", (long long)before);
    int length = event(c, text, delta, "null");
    int alive = put(c, text, length);
    note(c, before, real, mono_ns());
    return alive;
}

static int last_words(struct conn *c, char *into) {
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
    int length = last_words(c, text);
    c->streaming = 0;
    c->life++;
    return put(c, text, length);
}

static const char STREAM_HEAD[] =
    "HTTP/1.1 200 OK\r\nserver: paced\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
    "transfer-encoding: chunked\r\n\r\n";

static int answer_whole(struct conn *c, const char *status, const char *body) {
    char text[2048];
    int n = sprintf(text, "HTTP/1.1 %s\r\ncontent-type: application/json\r\ncontent-length: %zu\r\n\r\n%s", status,
                    strlen(body), body);
    return put(c, text, n);
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
    n += last_words(c, text + n);
    alive = put(c, text, n);
    note(c, before, real, mono_ns());
    free(text);
    return alive;
}

static int say_role(struct conn *c) {
    char text[1024];
    return put(c, text, event(c, text, "\"role\":\"assistant\",\"content\":\"\"", "null"));
}

static int begin_stream(struct conn *c) {
    c->sent = 0;
    if (mode == NULLED) return stream_null(c);
    c->streaming = 1;
    if (!put(c, STREAM_HEAD, sizeof STREAM_HEAD - 1)) return 0;
    if ((role_at_once || mode == FAST) && !say_role(c)) return 0;
    if (mode == FAST) {
        want(c, 1);
        return 1;
    }
    c->due = c->arrived + (int64_t)(first_ms * 1e6);
    push((struct deadline){c->due, c->fd, c->life});
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
    if (!strncmp(head, "GET /v1/models ", 15))
        return answer_whole(c, "200 OK",
                            "{\"object\":\"list\",\"data\":[{\"id\":\"paced\",\"object\":\"model\",\"owned_by\":\"bench\","
                            "\"root\":\"paced\",\"max_model_len\":131072}]}");
    if (!strncmp(head, "GET /health ", 12)) return answer_whole(c, "200 OK", "{}");
    if (strncmp(head, "POST ", 5) || !strstr(head, "/chat/completions "))
        return answer_whole(c, "404 Not Found", "{\"error\":{\"message\":\"paced: no such page\",\"code\":404}}");
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
    return answer_whole(c, "200 OK", text);
}

/* Handle the request that the buffer holds whole, if it does; 0 when the connection is gone. */
static int look(struct conn *c) {
    c->in[c->in_length] = 0;
    char *gap = strstr(c->in, "\r\n\r\n");
    if (!gap || c->streaming) return 1;
    char *stated = strcasestr(c->in, "\r\ncontent-length:");
    int length = stated && stated < gap ? atoi(stated + 17) : 0, whole = (int)(gap + 4 - c->in) + length;
    if (c->in_length < whole) return 1;
    char kept = c->in[whole];
    c->in[whole] = 0;
    *gap = 0;
    int alive = handle(c, c->in, gap + 4, length);
    c->in[whole] = kept;
    c->in_length -= whole;
    memmove(c->in, c->in + whole, c->in_length);
    return alive;
}

/* When the kernel received what lies at the front of this socket, on the monotonic axis. */
static int64_t arrival(int fd) {
    char byte, room[128];
    struct iovec part = {&byte, 1};
    struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room};
    if (recvmsg(fd, &m, MSG_PEEK) <= 0) return mono_ns();
    for (struct cmsghdr *a = CMSG_FIRSTHDR(&m); a; a = CMSG_NXTHDR(&m, a))
        if (a->cmsg_level == SOL_SOCKET && a->cmsg_type == SO_TIMESTAMPNS) {
            struct timespec t;
            memcpy(&t, CMSG_DATA(a), sizeof t);
            return mono_ns() - (clock_ns(CLOCK_REALTIME) - t.tv_sec * 1000000000LL - t.tv_nsec);
        }
    return mono_ns();
}

static int shake_hands(struct conn *c) {
#ifdef WITH_TLS
    if (c->ssl && !c->ready) {
        int done = SSL_accept(c->ssl);
        if (done != 1) {
            int why = SSL_get_error(c->ssl, done);
            ERR_clear_error();
            return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE;
        }
    }
#endif
    c->ready = 1;
    return 1;
}

static int readable(struct conn *c) {
    if (!c->ready && (!shake_hands(c) || !c->ready)) return c->ready || 1;
    int64_t at = arrival(c->fd);
    for (;;) {
        ssize_t n = take(c->fd, c->ssl, c->in + c->in_length, IN_ROOM - 1 - c->in_length);
        if (n == 0 || n == -2) return 0;
        if (n < 0) return 1;
        c->arrived = at;
        c->in_length += n;
        if (!look(c)) return 0;
        if (c->in_length >= IN_ROOM - 1) return 0;
    }
}

static int writable(struct conn *c) {
    if (!drain(c)) return 0;
    for (int i = 0; i < BURST && mode == FAST && c->streaming && !c->out_length; i++) {
        int alive = c->sent < c->total ? token(c) : finish(c) && look(c);
        if (!alive) return 0;
    }
    if (!c->out_length) want(c, mode == FAST && c->streaming);
    return 1;
}

static void tell_due(int64_t now) {
    while (heap_length && heap[0].at <= now) {
        struct deadline d = pop();
        struct conn *c = conns[d.fd];
        if (!c || c->life != d.life || !c->streaming) continue;
        int alive = (c->sent || role_at_once || say_role(c)) && token(c);
        if (alive && c->sent >= c->total) {
            alive = finish(c) && look(c);
        } else if (alive) {
            c->due += (int64_t)(1e9 / rate);
            push((struct deadline){c->due, c->fd, c->life});
        }
        if (!alive) hang_up(c);
    }
}

static void welcome(int listener) {
    int fd, one = 1;
    while ((fd = accept(listener, NULL, NULL)) >= 0) {
        if (fd >= MAX_FDS) {
            close(fd);
            continue;
        }
        never_block(fd);
        setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &one, sizeof one);
        struct conn *c = conns[fd] = calloc(1, sizeof *c);
        static unsigned lives;
        c->fd = fd;
        c->life = lives += 1 << 16;
        c->in = malloc(IN_ROOM);
        c->out = malloc(OUT_ROOM);
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
    struct epoll_event happened[256];
    while (!ending) {
        int64_t now = mono_ns(), wait = heap_length ? heap[0].at - now : 200000000LL;
        if (wait < 0) wait = 0;
        struct timespec limit = {wait / 1000000000LL, wait % 1000000000LL};
        int n = epoll_pwait2(poller, happened, 256, &limit, NULL);
        tell_due(mono_ns());
        for (int i = 0; i < n; i++) {
            int fd = happened[i].data.fd, alive = 1;
            if (fd == listener) {
                welcome(listener);
                continue;
            }
            struct conn *c = conns[fd];
            if (c && happened[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) alive = readable(c);
            if (c && alive && happened[i].events & EPOLLOUT) alive = writable(c);
            if (c && !alive) hang_up(c);
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
        if (!strcmp(name, "--rate")) rate = atof(value);
        if (!strcmp(name, "--first-ms")) first_ms = atof(value);
        if (!strcmp(name, "--role")) role_at_once = !strcmp(value, "at-once");
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
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof here;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (void *)&here, size) || listen(listener, 4096)) fail("listen");
    getsockname(listener, (void *)&here, &size);
    poller = epoll_create1(0);
    struct epoll_event e = {.events = EPOLLIN, .data.fd = listener};
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &e);
    printf("%d\n", ntohs(here.sin_port));
    fflush(stdout);
    serve(listener);
    write_truth();
    printf("{\"replies\": %lld, \"tokens\": %lld, \"blocked\": %lld, \"most_open\": %d, \"cpu_seconds\": %.6f}\n",
           (long long)replies, (long long)tokens, (long long)blocked, open_most, cpu_seconds());
    return 0;
}
