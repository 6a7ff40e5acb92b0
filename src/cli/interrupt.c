/* The signal handler of the command line. */
#include "cli/interrupt.h"

#include <signal.h>
#include <time.h>

static volatile sig_atomic_t is_set;

static void on_signal(int number)
{
    (void)number;
    is_set = 1;
}

void interrupt_catch(void)
{
    /* SA_RESETHAND: the second signal has its default effect. No SA_RESTART: reads return. */
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

bool interrupt_is_set(void)
{
    return is_set != 0;
}

int64_t clock_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}
