/* The native reading path, as Python sees it.
 *
 *   sockets.h   which sockets are read, by which thread, and when did their bytes arrive?
 *   tls.h       what do they say, if they are encrypted?
 *   events.h    which of them are events of known patterns?
 *   patterns.h  what does such an event look like?
 *   received.h  what is kept of them until Python asks: at a reply's end, at a deadline, or when much is waiting?
 *
 * No object of Python is made or released while `reader->lock` is held, so that garbage collection, or whoever has the
 * interpreter's lock, never waits for it in a circle.
 */
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#define _GNU_SOURCE
#include <Python.h>
#include <math.h>
#include "sockets.h"

#ifndef SOURCES
#define SOURCES 0 /* checksum of the source files, by which native_extension.py knows what this was built from */
#endif
#define SSL_NAME "SSL of OpenSSL"

/* ---- Python: Stream -------------------------------------------------------------------------------------------- */

typedef struct {
    PyObject_HEAD
    struct reader *reader;
} Reader;

typedef struct {
    PyObject_HEAD
    struct stream *s;
    Reader *reader;
    PyObject *tls; /* holds the SSL */
} Stream;

static void stop_thread(struct reader *r) {
    if (!r->running || r->abandoned) return;
    pthread_mutex_lock(&r->lock);
    r->stopping = 1;
    pthread_mutex_unlock(&r->lock);
    if (write(r->stop_fd, &(uint64_t){1}, 8) != 8) return; /* cannot happen; the thread then lives as long as the process */
    r->running = 0; /* before another thread of Python can come here, too */
    Py_BEGIN_ALLOW_THREADS
    pthread_join(r->thread, NULL);
    Py_END_ALLOW_THREADS
}

/* In a forked process there is no thread, and the lock may be held for ever: its streams do nothing. */
static struct reader *lock(Stream *self) {
    struct reader *r = self->reader->reader;
    if (r->abandoned) return NULL;
    pthread_mutex_lock(&r->lock);
    return r;
}

static void stream_free(Stream *self) {
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    struct reader *r = self->s ? lock(self) : NULL;
    if (r) {
        forget(r, self->s);
        pthread_mutex_unlock(&r->lock);
        free_received(&self->s->got);
        free(self->s->pending.data);
        free(self->s->pending_pieces.data);
        free(self->s);
    }
    Py_XDECREF(self->tls);
    Py_XDECREF((PyObject *)self->reader);
    PyObject_Free(self);
    Py_DECREF((PyObject *)type);
}

static struct scratch python_scratch; /* guarded by the interpreter's lock */

static int is_waiting(const struct stream *s) {
    return s->ended || s->got.spans.length || s->got.lags.length || s->pending.length;
}

static PyObject *stream_stop(Stream *self, PyObject *unused) {
    (void)unused;
    int waiting = 0;
    struct reader *r = lock(self);
    if (r) {
        self->s->paused = 0;
        unwatch(r, self->s);
        self->s->fd = -1; /* it may be another connection's soon */
        waiting = is_waiting(self->s);
        pthread_mutex_unlock(&r->lock);
    }
    return PyBool_FromLong(waiting);
}

static PyObject *stream_drain(Stream *self, PyObject *unused) {
    (void)unused;
    struct reader *r = lock(self);
    if (!r) Py_RETURN_FALSE;
    struct stream *s = self->s;
    struct round round = begin_round(0, 0);
    int wake;
    while (!is_above(s, WAKE_READS, WAKE_EVENTS, WAKE_BYTES) && read_once(r, s, &python_scratch, &round, &wake));
    int waiting = is_waiting(s);
    pthread_mutex_unlock(&r->lock);
    return PyBool_FromLong(waiting);
}

static PyObject *stream_feed(Stream *self, PyObject *arguments) {
    const char *data;
    Py_ssize_t length;
    double at;
    int wake = 0;
    if (!PyArg_ParseTuple(arguments, "y#d", &data, &length, &at)) return NULL;
    struct reader *r = lock(self);
    if (r) {
        wake = take_wire(self->s, data, (size_t)length, at, &python_scratch);
        pthread_mutex_unlock(&r->lock);
    }
    return PyBool_FromLong(wake);
}

static PyObject *stream_set_defer(Stream *self, PyObject *value) {
    int defer = PyObject_IsTrue(value);
    if (defer < 0) return NULL;
    struct reader *r = lock(self);
    if (r) {
        self->s->defer = defer;
        pthread_mutex_unlock(&r->lock);
    }
    Py_RETURN_NONE;
}

static PyObject *stream_take(Stream *self, PyObject *unused) {
    (void)unused;
    struct received got = {0};
    struct stream *s = self->s;
    double last_at = 0, ended_at = 0;
    int ended = 0, error = 0, any = 0;
    unsigned long tls_error = 0;
    struct reader *r = lock(self);
    if (r) {
        settle(s);
        got = s->got;
        memset(&s->got, 0, sizeof s->got);
        any = s->reads > 0, last_at = s->last_at;
        if (s->paused) {
            s->paused = 0;
            if (!watch(r, s)) fail(s, errno);
        }
        ended = s->ended, error = s->error, tls_error = s->tls_error, ended_at = s->ended_at;
        pthread_mutex_unlock(&r->lock);
    }
#define BYTES(buffer) (buffer).data ? (buffer).data : "", (Py_ssize_t)(buffer).length
    PyObject *made = Py_BuildValue("y#y#y#y#y#y#y#idikd", BYTES(got.spans), BYTES(got.pieces), BYTES(got.bytes),
                                   BYTES(got.times), BYTES(got.counts), BYTES(got.texts), BYTES(got.lags), ended, ended_at,
                                   error, tls_error, any ? last_at : -1.0);
    free_received(&got);
    return made;
}

static PyObject *stream_key(Stream *self, void *unused) {
    (void)unused;
    return PyLong_FromUnsignedLongLong(key_of(self->s));
}

static PyMethodDef stream_methods[] = {
    {"stop", (PyCFunction)stream_stop, METH_NOARGS, "Stop reading, at once; return whether anything is waiting. Idempotent."},
    {"drain", (PyCFunction)stream_drain, METH_NOARGS, "Read what the kernel holds, within bounds; return whether anything is waiting."},
    {"feed", (PyCFunction)stream_feed, METH_VARARGS, "feed(data, at): take bytes as if read, for tests; return whether this wakes."},
    {"set_defer", (PyCFunction)stream_set_defer, METH_O, "set_defer(flag): events may wait, until one looks like the last."},
    {"take", (PyCFunction)stream_take, METH_NOARGS, "Return what arrived, as arrays (native_arrivals.py): (spans, pieces, bytes, times, counts, texts, lags, ended, "
     "ended at, error number, OpenSSL's error code, last arrival or -1)."},
    {NULL, NULL, 0, NULL},
};
static PyGetSetDef stream_properties[] = {
    {"key", (getter)stream_key, NULL, "What Reader.woken calls this stream.", NULL}, {NULL, NULL, NULL, NULL, NULL}};
static PyType_Slot stream_slots[] = {{Py_tp_dealloc, stream_free}, {Py_tp_methods, stream_methods},
                                     {Py_tp_getset, stream_properties},
                                     {Py_tp_doc, "What one socket received. Made by Reader.open."}, {0, NULL}};
static PyType_Spec stream_spec = {"probe_ext.client.wire.native._reader.Stream", sizeof(Stream), 0,
                                  Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, stream_slots};
static PyTypeObject *stream_type;

/* ---- Python: Reader -------------------------------------------------------------------------------------------- */

static void reader_free(Reader *self) {
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    struct reader *r = self->reader;
    if (r && !r->abandoned) { /* in a forked process it is leaked: the thread that may have changed it is gone */
        stop_thread(r);
        int open[] = {r->poller, r->wake_fd, r->stop_fd};
        for (size_t i = 0; i < 3; i++)
            if (open[i] >= 0) close(open[i]);
        pthread_mutex_destroy(&r->lock);
        free(r->streams);
        free(r->places);
        free(r);
    }
    PyObject_Free(self);
    Py_DECREF((PyObject *)type);
}

static PyObject *reader_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords) {
    static char *names[] = {"thread", NULL};
    int thread = 1;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "|p", names, &thread)) return NULL;
    Reader *self = PyObject_New(Reader, type);
    if (!self) return NULL;
    struct reader *r = self->reader = calloc(1, sizeof *self->reader);
    if (!r) {
        Py_DECREF((PyObject *)self);
        return PyErr_NoMemory();
    }
    pthread_mutex_init(&r->lock, NULL);
    atomic_store(&r->delay_ns, 1000000);
    r->poller = epoll_create1(EPOLL_CLOEXEC);
    r->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    r->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct epoll_event stop = {.events = EPOLLIN, .data.u64 = STOP_KEY};
    int failed = r->poller < 0 || r->wake_fd < 0 || r->stop_fd < 0 || epoll_ctl(r->poller, EPOLL_CTL_ADD, r->stop_fd, &stop);
    if (!failed && thread && (errno = start_thread(r))) failed = 1;
    if (failed) {
        PyErr_SetFromErrno(PyExc_OSError);
        Py_DECREF((PyObject *)self);
        return NULL;
    }
    return (PyObject *)self;
}

static PyObject *reader_open(Reader *self, PyObject *arguments) {
    int fd, may_defer;
    double sent;
    PyObject *tls = NULL;
    if (!PyArg_ParseTuple(arguments, "idp|O", &fd, &sent, &may_defer, &tls)) return NULL;
    void *ssl = tls && tls != Py_None ? PyCapsule_GetPointer(tls, SSL_NAME) : NULL;
    if (PyErr_Occurred()) return NULL;
    Stream *made = PyObject_New(Stream, stream_type);
    if (!made) return NULL;
    made->reader = (Reader *)Py_NewRef((PyObject *)self);
    made->tls = Py_XNewRef(tls);
    struct stream *s = made->s = calloc(1, sizeof *s);
    struct reader *r = s ? lock(made) : NULL;
    int error = s ? EBADF : ENOMEM;
    if (r) {
        error = make_place(r) ? 0 : ENOMEM;
        if (!error) {
            *s = (struct stream){.fd = fd, .index = r->places[--r->unused], .generation = ++r->generation, .last_at = sent, .tls = ssl,
                                 .pattern = -1, .state = may_defer ? HEAD : OPAQUE};
            r->streams[s->index] = s;
            if (!watch(r, s)) error = errno;
        }
        pthread_mutex_unlock(&r->lock);
    }
    if (!error) return (PyObject *)made;
    if (s && !s->generation) { /* it is not in the table */
        free(s);
        made->s = NULL;
    }
    Py_DECREF((PyObject *)made);
    errno = error;
    return PyErr_SetFromErrno(PyExc_OSError);
}

static PyObject *reader_woken(Reader *self, PyObject *unused) {
    (void)unused;
    struct reader *r = self->reader;
    PyObject *keys = PyList_New(0);
    uint64_t key = 0, signals;
    while (keys && !r->abandoned) { /* one at a time: no object is made while the lock is held */
        pthread_mutex_lock(&r->lock);
        struct stream *s = r->woken;
        if (s) {
            r->woken = s->next_woken;
            s->woken = 0;
            key = key_of(s);
        } else if (r->signalled) {
            r->signalled = read(r->wake_fd, &signals, sizeof signals) < 0;
        }
        pthread_mutex_unlock(&r->lock);
        if (!s) break;
        PyObject *number = PyLong_FromUnsignedLongLong(key);
        if (!number || PyList_Append(keys, number)) Py_CLEAR(keys);
        Py_XDECREF(number);
    }
    return keys;
}

/* The thread must not take its turn between the note of the time and the sending, so it is kept from reading. */
static PyObject *reader_send(Reader *self, PyObject *arguments) {
    struct reader *r = self->reader;
    int fd;
    const char *data;
    Py_ssize_t length;
    if (!PyArg_ParseTuple(arguments, "iy#", &fd, &data, &length)) return NULL;
    if (!r->abandoned) pthread_mutex_lock(&r->lock);
    int64_t at = clock_ns(CLOCK_MONOTONIC);
    ssize_t sent = send(fd, data, (size_t)length, MSG_DONTWAIT | MSG_NOSIGNAL);
    int error = errno;
    if (!r->abandoned) pthread_mutex_unlock(&r->lock);
    if (sent < 0 && (error == EAGAIN || error == EWOULDBLOCK || error == EINTR)) sent = 0;
    errno = error;
    return sent < 0 ? PyErr_SetFromErrno(PyExc_OSError) : Py_BuildValue("dn", (double)at / 1e9, (Py_ssize_t)sent);
}

static PyObject *reader_set_delay(Reader *self, PyObject *value) {
    double seconds = PyFloat_AsDouble(value);
    if (seconds == -1.0 && PyErr_Occurred()) return NULL;
    atomic_store(&self->reader->delay_ns, (long long)(seconds * 1e9));
    Py_RETURN_NONE;
}

static PyObject *reader_fileno(Reader *self, PyObject *unused) {
    (void)unused;
    return PyLong_FromLong(self->reader->wake_fd);
}

static PyObject *reader_close(Reader *self, PyObject *unused) {
    (void)unused;
    stop_thread(self->reader);
    Py_RETURN_NONE;
}

static PyObject *reader_abandon(Reader *self, PyObject *unused) {
    (void)unused;
    self->reader->abandoned = 1;
    Py_RETURN_NONE;
}

static PyObject *reader_alive(Reader *self, void *unused) {
    (void)unused;
    pthread_mutex_lock(&self->reader->lock);
    int failed = self->reader->failed;
    pthread_mutex_unlock(&self->reader->lock);
    return PyBool_FromLong(!failed);
}

static PyObject *reader_registered(Reader *self, void *unused) {
    (void)unused;
    return PyLong_FromLong(atomic_load(&self->reader->registered));
}

static PyMethodDef reader_methods[] = {
    {"open", (PyCFunction)reader_open, METH_VARARGS, "open(descriptor, sent, may_defer, tls=None): read a socket; return its Stream. OSError. `tls`: of capture_tls."},
    {"woken", (PyCFunction)reader_woken, METH_NOARGS, "Return the keys of the streams that need attention, since the last call."},
    {"send", (PyCFunction)reader_send, METH_VARARGS, "send(descriptor, bytes) -> (monotonic time just before, how many were sent). OSError."},
    {"fileno", (PyCFunction)reader_fileno, METH_NOARGS, "A descriptor that is readable when `woken` has something to return."},
    {"set_delay", (PyCFunction)reader_set_delay, METH_O, "set_delay(seconds): how long to wait for more sockets, below 1 s."},
    {"close", (PyCFunction)reader_close, METH_NOARGS, "Stop the thread and wait for its end. Idempotent."},
    {"abandon", (PyCFunction)reader_abandon, METH_NOARGS, "In a forked process: use nothing of this reader any more."},
    {NULL, NULL, 0, NULL},
};
static PyGetSetDef reader_properties[] = {
    {"alive", (getter)reader_alive, NULL, "Whether its thread did not have to give up.", NULL},
    {"registered", (getter)reader_registered, NULL, "Number of sockets that are read.", NULL},
    {NULL, NULL, NULL, NULL, NULL}};
static PyType_Slot reader_slots[] = {{Py_tp_new, reader_new}, {Py_tp_dealloc, reader_free}, {Py_tp_methods, reader_methods},
                                     {Py_tp_getset, reader_properties},
                                     {Py_tp_doc, "Reader(thread=True): a thread that reads sockets."}, {0, NULL}};
static PyType_Spec reader_spec = {"probe_ext.client.wire.native._reader.Reader", sizeof(Reader), 0, Py_TPFLAGS_DEFAULT, reader_slots};

/* ---- Python: patterns ------------------------------------------------------------------------------------------ */

static PyObject *add_pattern(PyObject *module, PyObject *arguments) {
    (void)module;
    PyObject *literals;
    const char *kinds;
    if (!PyArg_ParseTuple(arguments, "O!s", &PyTuple_Type, &literals, &kinds)) return NULL;
    int number = atomic_load(&pattern_count), slots = (int)strlen(kinds);
    if (number == MAX_PATTERNS || slots > MAX_SLOTS) return PyLong_FromLong(-1);
    if (PyTuple_Size(literals) != slots + 1 || kinds[strspn(kinds, "tpcni")]) {
        PyErr_SetString(PyExc_ValueError, "one literal more than slots, which are of t, p, c, n, i");
        return NULL;
    }
    struct pattern *p = patterns + number;
    memset(p, 0, sizeof *p);
    p->slots = slots;
    memcpy(p->kind, kinds, (size_t)slots);
    for (int i = 0; i <= slots; i++) { /* never freed: the thread may match with it at any time */
        char *data;
        Py_ssize_t length;
        if (PyBytes_AsStringAndSize(PyTuple_GetItem(literals, i), &data, &length)) return NULL;
        p->length[i] = (size_t)length;
        if (!(p->literal[i] = malloc((size_t)length + 1))) return PyErr_NoMemory();
        memcpy(p->literal[i], data, (size_t)length);
    }
    atomic_store_explicit(&pattern_count, number + 1, memory_order_release);
    return PyLong_FromLong(number);
}

static PyObject *forget_patterns(PyObject *module, PyObject *unused) {
    (void)module, (void)unused;
    atomic_store(&pattern_count, 0);
    Py_RETURN_NONE;
}

/* ---- Python: TLS ----------------------------------------------------------------------------------------------- */

static PyObject *load_openssl(PyObject *module, PyObject *arguments) {
    (void)module;
    const char *library;
    return PyArg_ParseTuple(arguments, "z", &library) ? PyBool_FromLong(find_openssl(library)) : NULL;
}

static void release_tls(PyObject *capsule) { Py_XDECREF((PyObject *)PyCapsule_GetContext(capsule)); }

/* Call a function that makes one of Python's SSL objects. The capsule of its SSL holds the object. */
static PyObject *capture_tls(PyObject *module, PyObject *make) {
    (void)module;
    newest_ssl = NULL;
    PyObject *made = PyObject_CallNoArgs(make), *capsule = NULL;
    if (!made) return NULL;
    void *ssl = newest_ssl;
    if (ssl && (capsule = PyCapsule_New(ssl, SSL_NAME, release_tls)) && !PyCapsule_SetContext(capsule, made)) Py_INCREF(made);
    PyObject *both = PyErr_Occurred() ? NULL : PyTuple_Pack(2, made, capsule ? capsule : Py_None);
    Py_DECREF(made);
    Py_XDECREF(capsule);
    return both;
}

static PyObject *tls_pending(PyObject *module, PyObject *capsule) {
    (void)module;
    void *ssl = PyCapsule_GetPointer(capsule, SSL_NAME);
    return ssl ? PyLong_FromLong(openssl.BIO_ctrl(openssl.SSL_get_rbio(ssl), BIO_CTRL_PENDING, 0, NULL)) : NULL;
}

/* ---- Python: the rest of the module ---------------------------------------------------------------------------- */

/* What LatencySketch.add needs of values, as sketch.py finds it. Reading them once takes a third of what min, max and the
 * rest take one by one. */
static PyObject *bin_counts(PyObject *module, PyObject *arguments) {
    enum { LOWEST = -4096, BINS = 8192 };
    uint32_t counts[BINS] = {0};
    (void)module;
    PyObject *values;
    double scale, floor, minimum = INFINITY, maximum = -INFINITY;
    if (!PyArg_ParseTuple(arguments, "O!dd", &PyList_Type, &values, &scale, &floor)) return NULL;
    int lowest = BINS, highest = -1;
    Py_ssize_t low = 0;
    for (Py_ssize_t i = 0, count = PyList_Size(values); i < count; i++) {
        double value = PyFloat_AsDouble(PyList_GetItem(values, i)), bin;
        if (value == -1.0 && PyErr_Occurred()) return NULL;
        if (value < minimum) minimum = value;
        if (value > maximum) maximum = value;
        if (value <= floor) {
            low++;
            continue;
        }
        bin = ceil(log(value) * scale);
        if (!(bin >= LOWEST && bin < LOWEST + BINS)) {
            PyErr_SetString(PyExc_ValueError, "a value is out of range");
            return NULL;
        }
        int index = (int)bin - LOWEST;
        counts[index]++;
        if (index < lowest) lowest = index;
        if (index > highest) highest = index;
    }
    PyObject *found = PyDict_New();
    for (int i = lowest; found && i <= highest; i++) {
        if (!counts[i]) continue;
        PyObject *bin = PyLong_FromLong(i + LOWEST), *number = PyLong_FromUnsignedLong(counts[i]);
        if (!bin || !number || PyDict_SetItem(found, bin, number)) Py_CLEAR(found);
        Py_XDECREF(bin), Py_XDECREF(number);
    }
    return found ? Py_BuildValue("Nndd", found, low, minimum, maximum) : NULL;
}

static PyMethodDef functions[] = {
    {"add_pattern", add_pattern, METH_VARARGS, "add_pattern(literals, kinds) -> number, or -1 if there is no room."},
    {"forget_patterns", forget_patterns, METH_NOARGS, "Forget all patterns, for tests: no stream may be read meanwhile."},
    {"load_openssl", load_openssl, METH_VARARGS, "load_openssl(path of Python's _ssl, or None): whether OpenSSL is found there."},
    {"capture_tls", capture_tls, METH_O, "capture_tls(make) -> (the SSL object that make() returns, its handle for Reader.open or None)."},
    {"tls_pending", tls_pending, METH_O, "tls_pending(handle): how many bytes its SSL has not read yet."},
    {"bin_counts", bin_counts, METH_VARARGS, "bin_counts(values, scale, floor) -> ({bin: number of values above floor}, number of others, minimum, maximum); ValueError."},
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
