/* A slow and lossy link between this network namespace and another, for kernels without netem.
 *
 * It makes a tun device in each, both named DEVICE, passes packets between them, each MICROSECONDS later, and drops
 * LOST of every 10,000. It says "ready" on standard output once both exist, and runs until it is ended.
 * Usage: link NAMESPACE DEVICE MICROSECONDS LOST
 */
#include "wire.h"
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>

#define MAX_PACKET 2048
#define MAX_WAITING 16384 /* packets each way; more are lost, as at a full router */

struct packet {
    int64_t due;
    ssize_t length;
    char data[MAX_PACKET];
};

struct way {
    int from, to, first, count;
    struct packet *waiting; /* a ring, in order */
};

static int64_t delay_ns;
static int lost;

static int make_device(const char *name) {
    struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI};
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK);
    snprintf(request.ifr_name, sizeof request.ifr_name, "%s", name);
    if (fd < 0 || ioctl(fd, TUNSETIFF, &request)) fail("tun");
    return fd;
}

static void accept_packets(struct way *w) {
    static char data[MAX_PACKET];
    for (ssize_t n; (n = read(w->from, data, sizeof data)) > 0;) {
        if (rand() % 10000 < lost || w->count == MAX_WAITING) continue;
        struct packet *p = w->waiting + (w->first + w->count++) % MAX_WAITING;
        p->due = mono_ns() + delay_ns;
        p->length = n;
        memcpy(p->data, data, (size_t)n);
    }
}

static void pass_due(struct way *w) {
    for (int64_t now = mono_ns(); w->count && w->waiting[w->first].due <= now; w->count--) {
        struct packet *p = w->waiting + w->first;
        if (write(w->to, p->data, (size_t)p->length) != p->length && errno != EIO && errno != EINVAL) fail("write");
        w->first = (w->first + 1) % MAX_WAITING;
    }
}

int main(int argc, char **argv) {
    if (argc < 5) return 2;
    char path[256];
    snprintf(path, sizeof path, "/run/netns/%s", argv[1]);
    delay_ns = atoll(argv[3]) * 1000;
    lost = atoi(argv[4]);
    prctl(PR_SET_TIMERSLACK, 1);
    int near = make_device(argv[2]), other = open(path, O_RDONLY);
    if (other < 0 || setns(other, CLONE_NEWNET)) fail(path);
    int far = make_device(argv[2]);
    struct way ways[2] = {{.from = near, .to = far}, {.from = far, .to = near}};
    for (int i = 0; i < 2; i++)
        if (!(ways[i].waiting = calloc(MAX_WAITING, sizeof *ways[i].waiting))) fail("memory");
    printf("ready\n");
    fflush(stdout);
    for (;;) {
        int64_t wait = 1000000000, now = mono_ns();
        for (int i = 0; i < 2; i++)
            if (ways[i].count && ways[i].waiting[ways[i].first].due - now < wait) wait = ways[i].waiting[ways[i].first].due - now;
        struct timespec limit = {0, wait < 0 ? 0 : wait > 999999999 ? 999999999 : wait};
        struct pollfd both[] = {{.fd = near, .events = POLLIN}, {.fd = far, .events = POLLIN}};
        ppoll(both, 2, &limit, NULL);
        for (int i = 0; i < 2; i++) accept_packets(ways + i), pass_due(ways + i);
    }
}
