/* Sockets, and the loop that reads them without the interpreter's lock. socket_reactor.py, kernel_receive.py and
 * response_stream.py are the reference. Nothing here knows Python.
 *
 *   read_until_stopped:  wait for ready sockets --> read each once --> wake those who wait for a stream --+
 *                               ^                                                                       |
 *                               +---- with many sockets: sleep, so that the next round reads more <-----+
 *
 *   a stream:  watched -- much is waiting --> not watched -- Python took it --> watched
 *                 +------ end or error -----> not watched, ended
 */
#ifndef NATIVE_SOCKETS_H
#define NATIVE_SOCKETS_H
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include "tls.h"

#define READ_SIZE 32768
#define MAX_LAG_NS 60000000000LL
#define CLOCK_TOLERANCE_NS 20000
#define COALESCE_FROM 32 /* sockets */
#define MAX_READY 1024

struct reader {
    pthread_mutex_t lock; /* guards `streams` and all of each stream; never held while waiting */
    int abandoned;        /* by the parent of this process: the thread is gone, and may have held the lock */
    atomic_int failed;    /* why nothing can be read any more: an error number */
    atomic_int watched;   /* sockets */
    atomic_llong delay_ns; /* how long to wait for more sockets */
    int poller, stop_fd;  /* readable `stop_fd`: stop */
    int wake_fd;          /* a pipe that does not block, into which the numbers of the streams to be woken go */
    int capacity;
    struct stream **streams; /* those that are watched, by descriptor */
    char wire[READ_SIZE], plain[PLAIN_SIZE];
};

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
static double arrival(struct stream *s, struct msghdr *message, int64_t read_at, const struct round *round) {
    const struct cmsghdr *c = CMSG_FIRSTHDR(message);
    struct timespec stamp;
    if (!c || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SO_TIMESTAMPNS) return (double)read_at / 1e9;
    memcpy(&stamp, CMSG_DATA(c), sizeof stamp);
    int64_t at = stamp.tv_sec * 1000000000LL + stamp.tv_nsec + round->offset, lag = read_at - at;
    if (lag < -CLOCK_TOLERANCE_NS || lag >= MAX_LAG_NS) return (double)read_at / 1e9; /* the wall clock stepped */
    if (lag < 0) at = read_at, lag = 0;
    int64_t waited = round->wait_end - (at > round->wait_start ? at : round->wait_start);
    int64_t overdue = at >= round->wait_end ? lag : lag > waited ? lag - waited : 0;
    append(s, LAGS, &(struct lag){(double)lag / 1e9, (double)overdue / 1e9}, sizeof(struct lag));
    return (double)at / 1e9;
}

/* Take what was read, no bytes at the end of the connection; return whether the greenlet must be woken. */
static int take_wire(struct reader *r, struct stream *s, const char *data, size_t length, double at) {
    int ended = !length, wake;
    if (s->tls) {
        length = decrypt(s, data, length, r->plain, &ended);
        data = r->plain;
    }
    wake = length && take_read(s, data, length, at);
    if (ended) fail(s, 0);
    return wake || s->ended;
}

/* Read once. Return whether there was something; set whether the greenlet must be woken. */
static int read_socket(struct reader *r, struct stream *s, const struct round *round, int *wake) {
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(struct timespec))];
    struct iovec part = {r->wire, READ_SIZE};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    ssize_t n = recvmsg(s->fd, &message, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) return 0;
    int64_t now = clock_ns(CLOCK_MONOTONIC);
    if (n < 0) fail(s, errno);
    *wake = n < 0 || take_wire(r, s, r->wire, (size_t)n, n ? arrival(s, &message, now, round) : (double)now / 1e9);
    return 1;
}

/* ---- Which sockets are read ------------------------------------------------------------------------------------ */

/* Start watching a socket; return 0 and set errno if that is impossible. */
static int watch(struct reader *r, struct stream *s) {
    struct epoll_event event = {.events = EPOLLIN, .data.fd = s->fd};
    if (s->watched || s->fd < 0) return 1;
    if (s->fd >= r->capacity) {
        int capacity = 2 * s->fd + 64;
        struct stream **streams = realloc(r->streams, (size_t)capacity * sizeof *streams);
        if (!streams) return 0;
        memset(streams + r->capacity, 0, (size_t)(capacity - r->capacity) * sizeof *streams);
        r->streams = streams;
        r->capacity = capacity;
    }
    if (epoll_ctl(r->poller, EPOLL_CTL_ADD, s->fd, &event)) return 0;
    r->streams[s->fd] = s;
    s->watched = 1;
    r->watched++;
    return 1;
}

static void unwatch(struct reader *r, struct stream *s) {
    if (!s->watched) return;
    epoll_ctl(r->poller, EPOLL_CTL_DEL, s->fd, NULL); /* NativeStream holds the socket, so that this is still its number */
    r->streams[s->fd] = NULL;
    s->watched = 0;
    r->watched--;
}

static int read_once(struct reader *r, struct stream *s, const struct round *round, int *wake) {
    if (s->ended || s->fd < 0 || !read_socket(r, s, round, wake)) return 0;
    if (s->ended || is_above(s, MAX_READS - 1, MAX_EVENTS - 1, MAX_BYTES - 1)) unwatch(r, s);
    return 1;
}

/* ---- The loop ---------------------------------------------------------------------------------------------------- */

/* In vain only if the pipe is full: whoever reads that much wakes all. */
static void signal_hub(struct reader *r, int fd) {
    ssize_t written = write(r->wake_fd, &fd, sizeof fd);
    (void)written;
}

/* Read the sockets that are ready; return whether it is time to stop. */
static int read_ready(struct reader *r, const struct epoll_event *ready, int found, const struct round *round) {
    int woken[MAX_READY], wakes = 0, stop = 0;
    for (int i = 0; i < found; i++) { /* unlocked between two sockets, so that others wait for one read at most */
        int wake = 0, fd = ready[i].data.fd;
        pthread_mutex_lock(&r->lock);
        struct stream *s = fd < r->capacity ? r->streams[fd] : NULL; /* another one than was ready: then it reads nothing */
        if (s && read_once(r, s, round, &wake) && wake) woken[wakes++] = fd;
        pthread_mutex_unlock(&r->lock);
        stop |= fd == r->stop_fd;
    }
    for (int i = 0; i < wakes; i++) signal_hub(r, woken[i]);
    return stop;
}

/* With many sockets, sleep briefly after a round, and then read all that are ready by then (see socket_reactor.py). */
static void read_until_stopped(struct reader *r) {
    struct epoll_event ready[MAX_READY];
    prctl(PR_SET_NAME, "probe-reader");
    for (int found = 0;;) {
        int64_t wait_start = 0, wait_end = 0;
        if (found > 0 && r->watched >= COALESCE_FROM) {
            struct timespec nap = {0, (long)r->delay_ns};
            wait_start = clock_ns(CLOCK_MONOTONIC);
            wait_end = wait_start + nap.tv_nsec;
            nanosleep(&nap, NULL);
            found = epoll_wait(r->poller, ready, MAX_READY, 0);
        } else {
            found = 0;
        }
        if (found <= 0) {
            wait_start = wait_end = 0;
            found = epoll_wait(r->poller, ready, MAX_READY, -1);
        }
        if (found < 0 && errno != EINTR) {
            r->failed = errno;
            return signal_hub(r, -1);
        }
        struct round round = begin_round(wait_start, wait_end);
        if (read_ready(r, ready, found, &round)) return;
    }
}

#endif
