/* Shared by server and reader: clocks, and I/O over TCP with or without TLS. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#ifdef WITH_TLS
#include <openssl/err.h>
#include <openssl/ssl.h>
#else
typedef void SSL;
#endif

static inline int64_t clock_ns(clockid_t id) {
    struct timespec t;
    clock_gettime(id, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static inline int64_t mono_ns(void) { return clock_ns(CLOCK_MONOTONIC); }

static inline double cpu_seconds(void) {
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return used.ru_utime.tv_sec + used.ru_stime.tv_sec + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

static void fail(const char *what) {
    perror(what);
    exit(1);
}

/* Fill in an IPv4 or IPv6 address; return its length. */
static socklen_t address_of(const char *host, int port, struct sockaddr_storage *into) {
    struct sockaddr_in *four = (void *)into;
    struct sockaddr_in6 *six = (void *)into;
    memset(into, 0, sizeof *into);
    if (inet_pton(AF_INET, host, &four->sin_addr) == 1) {
        four->sin_family = AF_INET;
        four->sin_port = htons(port);
        return sizeof *four;
    }
    if (inet_pton(AF_INET6, host, &six->sin6_addr) != 1) fail(host);
    six->sin6_family = AF_INET6;
    six->sin6_port = htons(port);
    return sizeof *six;
}

static void set_nonblocking(int fd) {
    int one = 1;
    fcntl(fd, F_SETFL, O_NONBLOCK);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

/* Return the number of bytes read, 0 at end of stream, -1 if it would block, -2 on error. */
static ssize_t receive(int fd, SSL *ssl, char *into, size_t capacity) {
#ifdef WITH_TLS
    if (ssl) {
        int n = SSL_read(ssl, into, (int)capacity);
        if (n > 0) return n;
        int error = SSL_get_error(ssl, n);
        ERR_clear_error();
        if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) return -1;
        return error == SSL_ERROR_ZERO_RETURN ? 0 : -2;
    }
#else
    (void)ssl;
#endif
    ssize_t n = recv(fd, into, capacity, 0);
    return n >= 0 ? n : errno == EAGAIN || errno == EINTR ? -1 : -2;
}

/* Return the number of bytes written, -1 if it would block, -2 on error. */
static ssize_t transmit(int fd, SSL *ssl, const char *from, size_t length) {
#ifdef WITH_TLS
    if (ssl) {
        int n = SSL_write(ssl, from, (int)length);
        if (n > 0) return n;
        int error = SSL_get_error(ssl, n);
        ERR_clear_error();
        return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? -1 : -2;
    }
#else
    (void)ssl;
#endif
    ssize_t n = send(fd, from, length, MSG_NOSIGNAL);
    return n >= 0 ? n : errno == EAGAIN || errno == EINTR ? -1 : -2;
}
