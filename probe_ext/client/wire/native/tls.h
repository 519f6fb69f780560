/* TLS: decrypt what was read from a socket, as tls.py does, which is the reference.
 *
 * It is the OpenSSL that Python has loaded, whose functions native_extension.py looks up, so nothing is linked. Python makes
 * the connections, with its own contexts and certificates, and shakes hands; only then are records read here. OpenSSL tells
 * who asks for it of each SSL that is made (extra data), so no layout of Python's objects is assumed. Nothing here knows
 * Python or sockets.
 */
#ifndef NATIVE_TLS_H
#define NATIVE_TLS_H
#include "events.h"

enum { PLAIN_SIZE = 65536 }; /* more than a read, and what was left of a record before it, can contain */
enum { SSL_ERROR_WANT_READ = 2, SSL_ERROR_SYSCALL = 5, SSL_ERROR_ZERO_RETURN = 6, UNEXPECTED_EOF = 294 };
enum { BIO_CTRL_PENDING = 10, BIO_C_SET_BUF_MEM_EOF_RETURN = 130, BIO_RETRY_FLAGS = 15, EX_INDEX_SSL = 0 };

typedef void note_ssl(void *ssl, void *, void *, int, long, void *);

/* All of the public interface, and the same in OpenSSL 1.1.1 and 3. In the order of native_extension.py. */
static struct {
    int (*SSL_read)(void *ssl, void *into, int size);
    int (*SSL_get_error)(const void *ssl, int returned);
    void *(*SSL_get_rbio)(const void *ssl);
    int (*BIO_write)(void *bio, const void *data, int size);
    long (*BIO_ctrl)(void *bio, int command, long number, void *pointer);
    void (*BIO_clear_flags)(void *bio, int flags);
    void (*ERR_clear_error)(void);
    unsigned long (*ERR_peek_last_error)(void);
    int (*CRYPTO_get_ex_new_index)(int kind, long, void *, note_ssl *made, void *copied, void *freed);
} openssl;

static _Thread_local void *newest_ssl; /* that this thread has made */

static void note_newest(void *ssl, void *a, void *b, int c, long d, void *e) { newest_ssl = ssl; }

/* Decrypt bytes from the wire, none at its end, into PLAIN_SIZE bytes; return how many there are. Set whether no more will
 * come. */
static size_t decrypt(struct stream *s, const char *wire, size_t length, char *plain, int *ended) {
    void *incoming = openssl.SSL_get_rbio(s->tls);
    size_t size = 0;
    if (length && openssl.BIO_write(incoming, wire, (int)length) != (int)length) {
        without_memory(s);
        return 0;
    }
    if (!length) { /* as MemoryBIO.write_eof */
        openssl.BIO_clear_flags(incoming, BIO_RETRY_FLAGS);
        openssl.BIO_ctrl(incoming, BIO_C_SET_BUF_MEM_EOF_RETURN, 0, NULL);
    }
    openssl.ERR_clear_error();
    do {
        int n = openssl.SSL_read(s->tls, plain + size, (int)(PLAIN_SIZE - size));
        if (n <= 0) {
            int kind = openssl.SSL_get_error(s->tls, n);
            unsigned long error = openssl.ERR_peek_last_error();
            *ended = kind != SSL_ERROR_WANT_READ;
            if (*ended && kind != SSL_ERROR_ZERO_RETURN && kind != SSL_ERROR_SYSCALL && (error & 0xFFF) != UNEXPECTED_EOF)
                s->tls_error = error;
            openssl.ERR_clear_error(); /* Python expects none */
            break;
        }
        size += (size_t)n;
    } while (size < PLAIN_SIZE && (!length || openssl.BIO_ctrl(incoming, BIO_CTRL_PENDING, 0, NULL)));
    return size;
}

#endif
