/* What the programs that load a broker share. A failure ends them. */
#ifndef BENCH_LOADER_H
#define BENCH_LOADER_H

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static inline _Noreturn void fail(const char *what, const char *why)
{
    fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what, why);
    exit(1);
}

static inline void receive_all(int fd, uint8_t *data, size_t len)
{
    while (len > 0) {
        ssize_t n = recv(fd, data, len, 0);
        if (n <= 0)
            fail("receive", n == 0 ? "the broker closed the connection" : strerror(errno));
        data += n;
        len -= (size_t)n;
    }
}

#endif
