/* The native reading path, as Python sees it.
 *
 *   sockets.h   which sockets are read, and when did their bytes arrive?
 *   tls.h       what do they say, if they are encrypted?
 *   events.h    which of them are events of known patterns?
 *   patterns.h  what does such an event look like?
 *   received.h  what is kept of them until Python asks: at a reply's end, at a deadline, or when much is waiting?
 *
 * No object of Python is made or released while a reader's lock is held, so that garbage collection, or whoever has the
 * interpreter's lock, never waits for it in a circle.
 */
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#define _GNU_SOURCE
#include <Python.h>
#include <structmember.h>
#include "sockets.h"

#ifndef SOURCES
#define SOURCES 0 /* checksum of the source files, by which native_extension.py knows what this was built from */
#endif
#define NAME "probe_ext.client.wire.native._reader"

typedef struct {
    PyObject_HEAD
    struct reader r;
} Reader;

typedef struct {
    PyObject_HEAD
    struct stream s;
    Reader *reader;
    PyObject *tls; /* holds the SSL */
} Stream;

static void object_free(void *self) {
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    PyObject_Free(self);
    Py_DECREF((PyObject *)type);
}

/* ---- Stream ---------------------------------------------------------------------------------------------------- */

/* In a forked process, the lock may be held for ever: its streams do nothing, and are leaked. */
static struct reader *lock(Stream *self) {
    struct reader *r = &self->reader->r;
    if (r->abandoned) return NULL;
    pthread_mutex_lock(&r->lock);
    return r;
}

static PyObject *unlock(struct reader *r, PyObject *result) {
    pthread_mutex_unlock(&r->lock);
    return Py_NewRef(result);
}

static PyObject *waiting(const struct stream *s) {
    return s->ended || s->got[SPANS].length || s->got[LAGS].length || s->got[PENDING_BYTES].length ? Py_True : Py_False;
}

static void stream_free(Stream *self) {
    struct reader *r = lock(self);
    if (r) {
        unwatch(r, &self->s);
        pthread_mutex_unlock(&r->lock);
        free_columns(self->s.got);
    }
    Py_XDECREF(self->tls);
    Py_DECREF((PyObject *)self->reader);
    object_free(self);
}

static PyObject *stream_stop(Stream *self, PyObject *unused) {
    struct reader *r = lock(self);
    if (!r) Py_RETURN_FALSE;
    unwatch(r, &self->s);
    self->s.fd = -1; /* it may be another connection's soon */
    return unlock(r, waiting(&self->s));
}

static PyObject *stream_drain(Stream *self, PyObject *unused) {
    struct reader *r = lock(self);
    if (!r) Py_RETURN_FALSE;
    struct round round = begin_round(0, 0);
    int wake;
    while (!is_above(&self->s, WAKE_READS, WAKE_EVENTS, WAKE_BYTES) && read_once(r, &self->s, &round, &wake));
    return unlock(r, waiting(&self->s));
}

static PyObject *stream_feed(Stream *self, PyObject *arguments) {
    const char *data;
    Py_ssize_t length;
    double at;
    if (!PyArg_ParseTuple(arguments, "y#d", &data, &length, &at)) return NULL;
    struct reader *r = lock(self);
    if (!r) Py_RETURN_FALSE;
    return unlock(r, take_wire(r, &self->s, data, (size_t)length, at) ? Py_True : Py_False);
}

static PyObject *stream_take(Stream *self, PyObject *unused) {
    struct stream s = {0};
    struct reader *r = lock(self);
    if (r) {
        settle(&self->s);
        if (!self->s.ended && !watch(r, &self->s)) fail(&self->s, errno); /* reading may have paused */
        s = self->s;
        memset(self->s.got, 0, sizeof s.got);
        pthread_mutex_unlock(&r->lock);
    }
#define COLUMN(n) s.got[n].data ? s.got[n].data : "", (Py_ssize_t)s.got[n].length
    PyObject *made = Py_BuildValue("y#y#y#y#y#y#y#Ndikd", COLUMN(SPANS), COLUMN(PIECES), COLUMN(BYTES), COLUMN(TIMES),
                                   COLUMN(COUNTS), COLUMN(TEXTS), COLUMN(LAGS), PyBool_FromLong(s.ended), s.ended_at, s.error,
                                   s.tls_error, s.reads ? s.last_at : -1.0);
    free_columns(s.got);
    return made;
}

static PyMethodDef stream_methods[] = {
    {"stop", (PyCFunction)stream_stop, METH_NOARGS, "Stop reading, at once; return whether anything is waiting. Idempotent."},
    {"drain", (PyCFunction)stream_drain, METH_NOARGS, "Read what the kernel holds, within bounds; return whether anything waits."},
    {"feed", (PyCFunction)stream_feed, METH_VARARGS, "feed(data, at): take bytes as if read, for tests; return whether this wakes."},
    {"take", (PyCFunction)stream_take, METH_NOARGS,
     "Return what arrived: spans, pieces, bytes, times, counts, texts and lags as arrays (native_arrivals.py); whether it ended, "
     "when, and by which error numbers, of the system and of OpenSSL; when the latest bytes arrived, or -1."},
    {NULL, NULL, 0, NULL},
};
static PyMemberDef stream_members[] = {
    {"defer", T_INT, offsetof(Stream, s.defer), 0, "Whether events may wait, until one looks like the last."},
    {NULL, 0, 0, 0, NULL},
};
static PyType_Slot stream_slots[] = {
    {Py_tp_dealloc, stream_free},
    {Py_tp_methods, stream_methods},
    {Py_tp_members, stream_members},
    {Py_tp_doc, "What one socket received. Made by Reader.open."},
    {0, NULL},
};
static PyType_Spec stream_spec = {NAME ".Stream", sizeof(Stream), 0,
                                  Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, stream_slots};
static PyTypeObject *stream_type;

/* ---- Reader ---------------------------------------------------------------------------------------------------- */

static PyObject *reader_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords) {
    int wake_fd = -1, stop_fd = -1;
    if (!PyArg_ParseTuple(arguments, "|ii", &wake_fd, &stop_fd)) return NULL;
    Reader *self = (Reader *)PyType_GenericAlloc(type, 0);
    if (!self) return NULL;
    self->r.wake_fd = wake_fd;
    self->r.stop_fd = stop_fd;
    self->r.delay_ns = 1000000;
    pthread_mutex_init(&self->r.lock, NULL);
    struct epoll_event stop = {.events = EPOLLIN, .data.fd = stop_fd};
    self->r.poller = epoll_create1(EPOLL_CLOEXEC);
    int failed = self->r.poller < 0 || (stop_fd >= 0 && epoll_ctl(self->r.poller, EPOLL_CTL_ADD, stop_fd, &stop));
    if (!failed) return (PyObject *)self;
    PyErr_SetFromErrno(PyExc_OSError);
    Py_DECREF((PyObject *)self);
    return NULL;
}

static void reader_free(Reader *self) {
    if (!self->r.abandoned) { /* else what the thread may just have changed is leaked */
        if (self->r.poller >= 0) close(self->r.poller);
        pthread_mutex_destroy(&self->r.lock);
        free(self->r.streams);
    }
    object_free(self);
}

static PyObject *reader_open(Reader *self, PyObject *arguments) {
    int fd, may_defer;
    double sent;
    PyObject *tls = NULL;
    unsigned long long ssl = 0;
    if (!PyArg_ParseTuple(arguments, "idp|(OK)", &fd, &sent, &may_defer, &tls, &ssl)) return NULL;
    Stream *made = (Stream *)PyType_GenericAlloc(stream_type, 0);
    if (!made) return NULL;
    made->reader = (Reader *)Py_NewRef((PyObject *)self);
    made->tls = Py_XNewRef(tls);
    made->s = (struct stream){.fd = fd, .tls = (void *)(uintptr_t)ssl, .last_at = sent, .pattern = -1};
    made->s.state = may_defer ? HEAD : OPAQUE;
    struct reader *r = lock(made);
    int watched = r && watch(r, &made->s), error = r ? errno : EBADF;
    if (r) pthread_mutex_unlock(&r->lock);
    if (watched) return (PyObject *)made;
    Py_DECREF((PyObject *)made);
    errno = error;
    return PyErr_SetFromErrno(PyExc_OSError);
}

static PyObject *reader_run(Reader *self, PyObject *unused) {
    Py_BEGIN_ALLOW_THREADS
    read_until_stopped(&self->r);
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

/* The thread must not take its turn between the note of the time and the sending, so it is kept from reading. */
static PyObject *reader_send(Reader *self, PyObject *arguments) {
    int fd;
    const char *data;
    Py_ssize_t length;
    if (!PyArg_ParseTuple(arguments, "iy#", &fd, &data, &length)) return NULL;
    if (!self->r.abandoned) pthread_mutex_lock(&self->r.lock);
    double at = (double)clock_ns(CLOCK_MONOTONIC) / 1e9;
    Py_ssize_t sent = send(fd, data, (size_t)length, MSG_DONTWAIT | MSG_NOSIGNAL);
    int error = errno;
    if (!self->r.abandoned) pthread_mutex_unlock(&self->r.lock);
    if (sent < 0 && (error == EAGAIN || error == EWOULDBLOCK || error == EINTR)) sent = 0;
    errno = error;
    return sent < 0 ? PyErr_SetFromErrno(PyExc_OSError) : Py_BuildValue("dn", at, sent);
}

static PyMethodDef reader_methods[] = {
    {"open", (PyCFunction)reader_open, METH_VARARGS,
     "open(descriptor, sent, may_defer[, what capture_tls returned]): read a socket; return its Stream. OSError."},
    {"run", (PyCFunction)reader_run, METH_NOARGS, "Read until `stop_fd` is readable, or `failed` says why not: a thread's work."},
    {"send", (PyCFunction)reader_send, METH_VARARGS, "send(descriptor, bytes) -> (monotonic time before, how many were sent). OSError."},
    {NULL, NULL, 0, NULL},
};
static PyMemberDef reader_members[] = {
    {"delay_ns", T_LONGLONG, offsetof(Reader, r.delay_ns), 0, "How long to wait for more sockets, below 1 s."},
    {"registered", T_INT, offsetof(Reader, r.watched), READONLY, "Number of sockets that are read."},
    {"failed", T_INT, offsetof(Reader, r.failed), READONLY, "The error number after which nothing is read any more; 0 without."},
    {"abandoned", T_INT, offsetof(Reader, r.abandoned), 0, "Set in a forked process, which must use nothing of it any more."},
    {NULL, 0, 0, 0, NULL},
};
static PyType_Slot reader_slots[] = {
    {Py_tp_new, reader_new},
    {Py_tp_dealloc, reader_free},
    {Py_tp_methods, reader_methods},
    {Py_tp_members, reader_members},
    {Py_tp_doc, "Reader(wake_fd=-1, stop_fd=-1): descriptors of streams that need attention, or -1, are written to `wake_fd`."},
    {0, NULL},
};
static PyType_Spec reader_spec = {NAME ".Reader", sizeof(Reader), 0, Py_TPFLAGS_DEFAULT, reader_slots};

/* ---- Functions ------------------------------------------------------------------------------------------------- */

static PyObject *add_pattern(PyObject *module, PyObject *encoded) {
    char *data, *copy;
    Py_ssize_t length;
    int number = pattern_count;
    if (PyBytes_AsStringAndSize(encoded, &data, &length)) return NULL;
    if (number == MAX_PATTERNS) return PyLong_FromLong(-1);
    if (!(copy = malloc((size_t)length))) return PyErr_NoMemory();
    patterns[number] = memcpy(copy, data, (size_t)length);
    atomic_store_explicit(&pattern_count, number + 1, memory_order_release);
    return PyLong_FromLong(number);
}

static PyObject *forget_patterns(PyObject *module, PyObject *unused) {
    pattern_count = 0;
    Py_RETURN_NONE;
}

static PyObject *load_openssl(PyObject *module, PyObject *addresses) {
    char *data;
    Py_ssize_t length;
    if (PyBytes_AsStringAndSize(addresses, &data, &length)) return NULL;
    if (length != sizeof openssl) Py_RETURN_FALSE;
    memcpy(&openssl, data, sizeof openssl);
    return PyBool_FromLong(openssl.CRYPTO_get_ex_new_index(EX_INDEX_SSL, 0, NULL, note_newest, NULL, NULL) >= 0);
}

/* Call a function that makes one of Python's SSL objects, and return that with the address of its SSL. */
static PyObject *capture_tls(PyObject *module, PyObject *make) {
    newest_ssl = NULL;
    PyObject *made = PyObject_CallNoArgs(make);
    return made ? Py_BuildValue("NK", made, (unsigned long long)(uintptr_t)newest_ssl) : NULL;
}

static PyMethodDef functions[] = {
    {"add_pattern", add_pattern, METH_O, "add_pattern(what patterns.h describes) -> number, or -1 if there is no room."},
    {"forget_patterns", forget_patterns, METH_NOARGS, "Forget all patterns, for tests: no stream may be read meanwhile."},
    {"load_openssl", load_openssl, METH_O, "load_openssl(addresses of the functions in tls.h): whether it can be used."},
    {"capture_tls", capture_tls, METH_O, "capture_tls(make) -> (the SSL object that make() returns, address of its SSL or 0)."},
    {NULL, NULL, 0, NULL},
};
static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_reader", "The native reading path.", -1, functions, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__reader(void) {
    PyObject *module = PyModule_Create(&definition);
    PyObject *reader_type = module ? PyType_FromSpec(&reader_spec) : NULL;
    stream_type = reader_type ? (PyTypeObject *)PyType_FromSpec(&stream_spec) : NULL;
    if (!stream_type || PyModule_AddObjectRef(module, "Reader", reader_type) ||
        PyModule_AddObjectRef(module, "Stream", (PyObject *)stream_type) ||
        PyModule_AddIntConstant(module, "SOURCES", (long)SOURCES))
        Py_CLEAR(module);
    Py_XDECREF(reader_type);
    return module;
}
