/* TCP for the command line: blocking in appearance, poll(2) with a deadline inside.
 *
 * A frame is a big-endian int32 length and that many bytes, both ways. A reply longer than
 * FRAME_BYTES_MAX, or without a correlation id, is taken for something that does not speak Kafka's
 * protocol. */
#include "cli/net.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/parse.h"
#include "cli/interrupt.h"
#include "cli/out.h"

#define FRAME_BYTES_MIN ((size_t)4) /* a correlation id */
#define FRAME_BYTES_MAX ((size_t)1 << 30)
#define CONNECT_MS_MAX  5000

enum err net_split(struct str server, char host[NET_PEER_MAX], char port[8])
{
    const char *host_at = server.data, *end = server.data + server.len;
    const char *colon = memrchr(server.data, ':', server.len), *host_end = colon ? colon : end;
    if (server.len && server.data[0] == '[') {
        const char *bracket = memchr(server.data, ']', server.len);
        if (!bracket || (bracket + 1 != end && bracket[1] != ':'))
            return ERR_MALFORMED;
        colon = bracket + 1 == end ? NULL : bracket + 1;
        host_at++;
        host_end = bracket;
    } else if (colon && memchr(server.data, ':', (size_t)(colon - server.data))) {
        return ERR_MALFORMED;
    }
    int64_t number = 9092;
    if (colon)
        TRY(parse_i64_in((struct str){colon + 1, (size_t)(end - colon - 1)}, 1, 65535, &number));
    size_t host_len = (size_t)(host_end - host_at);
    if (host_len == 0 || host_len > 253)
        return ERR_MALFORMED;
    memcpy(host, host_at, host_len);
    host[host_len] = 0;
    snprintf(port, 8, "%d", (int)number);
    return ERR_OK;
}

/* Waits until the socket is ready; ETIMEDOUT or another errno, 0 when it is. */
static int wait_ready(int fd, short events, int64_t deadline_ms)
{
    while (true) {
        int64_t left = deadline_ms - clock_now_ms();
        if (left <= 0)
            return ETIMEDOUT;
        struct pollfd ready = {.fd = fd, .events = events};
        int n = poll(&ready, 1, left > INT32_MAX ? INT32_MAX : (int)left);
        if (n > 0)
            return 0;
        if (n < 0 && errno != EINTR)
            return errno;
        if (n < 0)
            return EINTR;
    }
}

static int connect_one(const struct addrinfo *addr, int64_t deadline_ms, int *fd_out)
{
    int fd = socket(addr->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return errno;
    int failed = connect(fd, addr->ai_addr, addr->ai_addrlen) < 0 ? errno : 0;
    if (failed == EINPROGRESS)
        failed = wait_ready(fd, POLLOUT, deadline_ms);
    socklen_t len = sizeof(failed);
    if (!failed)
        getsockopt(fd, SOL_SOCKET, SO_ERROR, &failed, &len);
    if (failed) {
        close(fd);
        return failed;
    }
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    *fd_out = fd;
    return 0;
}

/* The reason as text, or NULL when connected. */
static const char *connect_named(const char *host, const char *port, int64_t timeout_ms, int *fd)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    int failed = getaddrinfo(host, port, &hints, &found);
    if (failed)
        return gai_strerror(failed);
    int64_t limit_ms = timeout_ms < CONNECT_MS_MAX ? timeout_ms : CONNECT_MS_MAX;
    int64_t deadline_ms = clock_now_ms() + limit_ms;
    failed = ECONNREFUSED;
    for (struct addrinfo *addr = found; addr && failed; addr = addr->ai_next)
        failed = connect_one(addr, deadline_ms, fd);
    freeaddrinfo(found);
    return failed ? strerror(failed) : NULL;
}

int net_open(struct net *net, const char *servers, int64_t timeout_ms)
{
    *net = (struct net){.fd = -1, .timeout_ms = timeout_ms};
    buf_init(&net->in, FRAME_BYTES_MAX);
    const char *why = NULL;
    for (const char *at = servers;; at++) {
        struct str server = {at, strcspn(at, ",")};
        char host[NET_PEER_MAX], port[8];
        if (net_split(server, host, port) != ERR_OK)
            return out_fail(EXIT_USAGE,
                            "'%.*s' is not HOST:PORT, such as localhost:9092 or [::1]:9092",
                            STR_ARG(server));
        snprintf(net->peer, sizeof(net->peer), "%.*s", (int)server.len, server.data);
        why = connect_named(host, port, timeout_ms, &net->fd);
        if (!why)
            return EXIT_FINE;
        at += server.len;
        if (*at == 0)
            break;
    }
    return out_fail(EXIT_UNREACHABLE,
                    "no broker answers at %s: %s\n"
                    "Is one running there? Start one with 'taffrail serve', or name another with "
                    "-b HOST:PORT.",
                    servers, why);
}

void net_close(struct net *net)
{
    if (net->fd >= 0)
        close(net->fd);
    net->fd = -1;
    buf_deinit(&net->in);
}

int net_probe(const char *servers, int64_t timeout_ms)
{
    struct net net;
    int code = net_open(&net, servers, timeout_ms);
    net_close(&net);
    return code;
}

static int send_all(struct net *net, const uint8_t *data, size_t len, int64_t deadline_ms)
{
    while (len > 0) {
        ssize_t done = send(net->fd, data, len, MSG_NOSIGNAL);
        if (done > 0) {
            data += done;
            len -= (size_t)done;
            continue;
        }
        int failed = errno == EAGAIN ? wait_ready(net->fd, POLLOUT, deadline_ms) : errno;
        if (failed)
            return failed;
    }
    return 0;
}

static int receive_all(struct net *net, uint8_t *data, size_t len, int64_t deadline_ms)
{
    while (len > 0) {
        ssize_t done = recv(net->fd, data, len, 0);
        if (done == 0)
            return ECONNRESET;
        if (done > 0) {
            data += done;
            len -= (size_t)done;
            continue;
        }
        int failed = errno == EAGAIN ? wait_ready(net->fd, POLLIN, deadline_ms) : errno;
        if (failed)
            return failed;
    }
    return 0;
}

static int exchange(struct net *net, struct slice request, int64_t deadline_ms)
{
    uint8_t prefix[4];
    be32_store(prefix, (uint32_t)request.len);
    int failed = send_all(net, prefix, sizeof(prefix), deadline_ms);
    if (!failed)
        failed = send_all(net, request.data, request.len, deadline_ms);
    if (!failed)
        failed = receive_all(net, prefix, sizeof(prefix), deadline_ms);
    if (failed)
        return failed;
    size_t len = be32_load(prefix);
    buf_reset(&net->in);
    uint8_t *at =
        len >= FRAME_BYTES_MIN && len <= FRAME_BYTES_MAX ? buf_extend(&net->in, len) : NULL;
    if (!at)
        return EPROTO;
    return receive_all(net, at, len, deadline_ms);
}

int net_exchange(struct net *net, struct slice request)
{
    int failed = exchange(net, request, clock_now_ms() + net->timeout_ms);
    if (failed == ETIMEDOUT)
        return out_fail(
            EXIT_UNREACHABLE,
            "%s gave no answer within %lld ms; is it overloaded? Wait longer with --timeout",
            net->peer, (long long)net->timeout_ms);
    if (failed == EINTR)
        return EXIT_INTERRUPTED;
    if (failed == EPROTO)
        return out_fail(EXIT_UNREACHABLE,
                        "what listens at %s does not speak Kafka's protocol; is the port right?",
                        net->peer);
    if (failed == ECONNRESET || failed == EPIPE)
        return out_fail(
            EXIT_UNREACHABLE,
            "%s closed the connection; does it speak Kafka's protocol without TLS there?",
            net->peer);
    if (failed)
        return out_fail(EXIT_UNREACHABLE, "%s: %s", net->peer, strerror(failed));
    return EXIT_FINE;
}
