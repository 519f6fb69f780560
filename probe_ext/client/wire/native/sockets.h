/* Sockets, and the one thread that reads them without the interpreter's lock. socket_reactor.py, kernel_receive.py and
 * response_stream.py are the reference. `reader->lock` guards everything below a reader. Nothing here knows Python.
 */
#ifndef NATIVE_SOCKETS_H
#define NATIVE_SOCKETS_H
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include "tls.h"

#define READ_SIZE 32768
#define MAX_LAG_NS 60000000000LL
#define CLOCK_TOLERANCE_NS 20000
#define COALESCE_FROM 32 /* sockets */
#define MAX_READY 1024

/* ---- Reading a socket ------------------------------------------------------------------------------------------ */

/* What the reads of one moment share, as ReadRound of kernel_receive.py. */
struct round {
    int64_t offset;               /* from wall time to monotonic time */
    int64_t wait_start, wait_end; /* of the intended wait for more sockets; 0 without one */
};

/* As clock.read_clock_pair. */
static struct round begin_round(int64_t wait_start, int64_t wait_end) {
    int64_t narrowest = INT64_MAX, offset = 0;
    for (int i = 0; i < 5 && narrowest >= 1000; i++) {
        int64_t before = clock_ns(CLOCK_MONOTONIC), wall = clock_ns(CLOCK_REALTIME), after = clock_ns(CLOCK_MONOTONIC);
        if (after - before < narrowest) narrowest = after - before, offset = after - wall;
    }
    return (struct round){offset, wait_start, wait_end};
}

/* Note how late a read was, as kernel_receive.py does; return when its bytes arrived. */
static double arrival(struct stream *s, const struct msghdr *message, int64_t read_at, const struct round *round) {
    for (const struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR((struct msghdr *)message, (struct cmsghdr *)c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SO_TIMESTAMPNS) continue;
        struct timespec stamp;
        memcpy(&stamp, CMSG_DATA(c), sizeof stamp);
        int64_t at = stamp.tv_sec * 1000000000LL + stamp.tv_nsec + round->offset, lag = read_at - at;
        if (lag < -CLOCK_TOLERANCE_NS || lag >= MAX_LAG_NS) break; /* the wall clock stepped */
        if (lag < 0) at = read_at, lag = 0;
        int64_t waited = round->wait_end - (at > round->wait_start ? at : round->wait_start);
        int64_t overdue = at >= round->wait_end ? lag : lag > waited ? lag - waited : 0;
        struct lag entry = {(double)lag / 1e9, (double)overdue / 1e9};
        if (reserve(&s->got.lags, sizeof entry)) put(&s->got.lags, &entry, sizeof entry);
        else without_memory(s);
        return (double)at / 1e9;
    }
    return (double)read_at / 1e9;
}

struct scratch {
    char wire[READ_SIZE], plain[PLAIN_SIZE];
};

/* Take what was read, no bytes at the end of the connection; return whether the greenlet must be woken. */
static int take_wire(struct stream *s, const char *data, size_t length, double at, struct scratch *scratch) {
    int ended = !length, wake;
    if (s->tls) {
        length = decrypt(s, data, length, scratch->plain, &ended);
        data = scratch->plain;
    }
    wake = length && take_read(s, data, length, at);
    if (ended) fail(s, 0);
    return wake || s->ended;
}

/* Read once. Return whether there was something; set whether the greenlet must be woken. */
static int read_socket(struct stream *s, struct scratch *scratch, const struct round *round, int *wake) {
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(struct timespec))];
    struct iovec part = {scratch->wire, READ_SIZE};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    ssize_t n = recvmsg(s->fd, &message, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) return 0;
    int64_t now = clock_ns(CLOCK_MONOTONIC);
    if (n < 0) fail(s, errno);
    *wake = n < 0 || take_wire(s, scratch->wire, (size_t)n, n ? arrival(s, &message, now, round) : (double)now / 1e9, scratch);
    return 1;
}

/* ---- The reader and its thread --------------------------------------------------------------------------------- */

struct reader {
    pthread_mutex_t lock;
    pthread_t thread;
    int running, stopping, signalled, abandoned, failed, poller, wake_fd, stop_fd;
    atomic_int registered;
    atomic_llong delay_ns; /* how long to wait for more sockets */
    struct stream **streams;
    uint32_t *places, unused; /* the places of the table that are unused: so many at the start of `places` */
    uint32_t capacity, generation;
    struct stream *woken; /* list of those whose greenlet must be woken */
    struct scratch scratch;
};

#define STOP_KEY UINT64_MAX

static uint64_t key_of(const struct stream *s) { return (uint64_t)s->generation << 32 | s->index; }

static struct stream *stream_of(struct reader *r, uint64_t key) {
    uint32_t index = (uint32_t)key;
    struct stream *s = index < r->capacity ? r->streams[index] : NULL;
    return s && s->generation == key >> 32 ? s : NULL;
}

/* Start watching a socket; return 0 and set errno if the kernel cannot watch more. */
static int watch(struct reader *r, struct stream *s) {
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = key_of(s)};
    if (!s->registered && s->fd >= 0) {
        if (epoll_ctl(r->poller, EPOLL_CTL_ADD, s->fd, &event)) return 0;
        s->registered = 1;
        atomic_fetch_add(&r->registered, 1);
    }
    return 1;
}

static void unwatch(struct reader *r, struct stream *s) {
    if (!s->registered) return;
    epoll_ctl(r->poller, EPOLL_CTL_DEL, s->fd, NULL); /* NativeStream holds the socket, so that this is still its number */
    s->registered = 0;
    atomic_fetch_sub(&r->registered, 1);
}

/* Make sure that the table has an unused place; return 0 without memory. */
static int make_place(struct reader *r) {
    if (r->unused) return 1;
    uint32_t capacity = r->capacity ? 2 * r->capacity : 64;
    uint32_t *places = realloc(r->places, capacity * sizeof *places);
    if (!places) return 0;
    r->places = places;
    struct stream **streams = realloc(r->streams, capacity * sizeof *streams);
    if (!streams) return 0;
    r->streams = streams;
    while (r->capacity < capacity) {
        r->streams[r->capacity] = NULL;
        r->places[r->unused++] = r->capacity++;
    }
    return 1;
}

/* Remove a stream from the table, and from the list of those to be woken. */
static void forget(struct reader *r, struct stream *s) {
    unwatch(r, s);
    r->streams[s->index] = NULL;
    r->places[r->unused++] = s->index;
    struct stream **link = &r->woken;
    while (s->woken && *link && *link != s) link = &(*link)->next_woken;
    if (s->woken && *link) *link = s->next_woken;
}

static int read_once(struct reader *r, struct stream *s, struct scratch *scratch, const struct round *round, int *wake) {
    if (s->ended || s->fd < 0 || !read_socket(s, scratch, round, wake)) return 0;
    if (s->ended) {
        unwatch(r, s);
    } else if (is_above(s, MAX_READS - 1, MAX_EVENTS - 1, MAX_BYTES - 1)) {
        unwatch(r, s);
        s->paused = 1;
    }
    return 1;
}

static void note_woken(struct reader *r, struct stream *s) {
    if (s->woken) return;
    s->woken = 1;
    s->next_woken = r->woken;
    r->woken = s;
}

static void signal_hub(struct reader *r) {
    if (r->woken && !r->signalled) r->signalled = write(r->wake_fd, &(uint64_t){1}, 8) == 8;
}

static void read_ready(struct reader *r, const struct epoll_event *ready, int count, int64_t wait_start, int64_t wait_end) {
    struct round round = begin_round(wait_start, wait_end);
    for (int i = 0; i < count; i++) { /* unlocked between two sockets, so that others wait for one read at most */
        int wake = 0;
        pthread_mutex_lock(&r->lock);
        struct stream *s = stream_of(r, ready[i].data.u64);
        if (s && s->registered && read_once(r, s, &r->scratch, &round, &wake) && wake) note_woken(r, s);
        pthread_mutex_unlock(&r->lock);
    }
    pthread_mutex_lock(&r->lock);
    signal_hub(r);
    pthread_mutex_unlock(&r->lock);
}

/* End all streams with this error: nothing can be read any more. */
static void give_up(struct reader *r, int error) {
    pthread_mutex_lock(&r->lock);
    r->failed = error;
    for (uint32_t i = 0; i < r->capacity; i++)
        if (r->streams[i] && r->streams[i]->registered) {
            unwatch(r, r->streams[i]);
            fail(r->streams[i], error);
            note_woken(r, r->streams[i]);
        }
    signal_hub(r);
    pthread_mutex_unlock(&r->lock);
}

/* With many sockets, sleep briefly after a round, and then read all that are ready by then (see socket_reactor.py). */
static void *read_forever(void *argument) {
    struct reader *r = argument;
    struct epoll_event ready[MAX_READY];
    prctl(PR_SET_NAME, "probe-reader");
    for (int count = 0;;) {
        int64_t wait_start = 0, wait_end = 0;
        if (count > 0 && atomic_load(&r->registered) >= COALESCE_FROM) {
            int64_t delay = atomic_load(&r->delay_ns);
            struct timespec nap = {0, (long)delay};
            wait_start = clock_ns(CLOCK_MONOTONIC);
            wait_end = wait_start + delay;
            nanosleep(&nap, NULL);
            count = epoll_wait(r->poller, ready, MAX_READY, 0);
        } else {
            count = 0;
        }
        if (count <= 0) {
            wait_start = wait_end = 0;
            count = epoll_wait(r->poller, ready, MAX_READY, -1);
        }
        pthread_mutex_lock(&r->lock);
        int error = count < 0 && errno != EINTR ? errno : 0, stopping = r->stopping;
        pthread_mutex_unlock(&r->lock);
        if (error) give_up(r, error);
        if (stopping || error) return NULL;
        read_ready(r, ready, count, wait_start, wait_end);
    }
}

/* Start the thread without signals, except those of its own crashes; return an error number. */
static int start_thread(struct reader *r) {
    static const int crashes[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
    sigset_t blocked, before;
    sigfillset(&blocked);
    for (size_t i = 0; i < sizeof crashes / sizeof *crashes; i++) sigdelset(&blocked, crashes[i]);
    pthread_sigmask(SIG_SETMASK, &blocked, &before);
    int error = pthread_create(&r->thread, NULL, read_forever, r);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    r->running = !error;
    return error;
}

#endif
