/* A process that never rests: what shares a core with a ruler on a busy machine. Ends with its parent, or after ten
 * minutes. */
#include <unistd.h>

int main(void) {
    pid_t parent = getppid();
    alarm(600);
    while (getppid() == parent)
        for (volatile long i = 0; i < 1000000; i++);
    return 0;
}
