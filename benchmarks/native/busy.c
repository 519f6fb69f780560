/* A process that uses all CPU time it gets, to occupy a core on a busy machine. It exits with its parent, or after ten
 * minutes. */
#include <unistd.h>

int main(void) {
    pid_t parent = getppid();
    alarm(600);
    while (getppid() == parent)
        for (volatile long i = 0; i < 1000000; i++);
    return 0;
}
