/* Sockets of the real system: TCP, non-blocking, watched by the loop's epoll set.
 *
 * A socket is in the epoll set while it watches something: one that watches nothing must not be
 * there, because the kernel reports a hang-up whether it was asked for or not, and the loop would
 * turn for nothing. Interest is level-triggered and costs a system call only when it changes. */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/assert.h"
#include "io/real.h"

#define SLICES_AT_ONCE 64

static void addr_fill(const struct sockaddr_storage *from, struct io_addr *out)
{
    *out = (struct io_addr){.port = 0};
    if (from->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)from;
        inet_ntop(AF_INET, &in->sin_addr, out->host, sizeof(out->host));
        out->port = ntohs(in->sin_port);
        return;
    }
    const struct sockaddr_in6 *in6 = (const void *)from;
    out->port = ntohs(in6->sin6_port);
    if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr))
        inet_ntop(AF_INET, &in6->sin6_addr.s6_addr[12], out->host, sizeof(out->host));
    else
        inet_ntop(AF_INET6, &in6->sin6_addr, out->host, sizeof(out->host));
}

/* Numeric hosts never ask a name server. */
static enum err resolve(const char *host, uint16_t port, bool listen, struct addrinfo **list)
{
    char service[8];
    snprintf(service, sizeof(service), "%u", port);
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | (listen ? AI_PASSIVE : 0);
    const char *node = *host ? host : NULL;
    if (getaddrinfo(node, service, &hints, list) == 0)
        return ERR_OK;
    hints.ai_flags &= ~AI_NUMERICHOST;
    int failed = getaddrinfo(node, service, &hints, list);
    return failed == 0 ? ERR_OK : failed == EAI_MEMORY ? ERR_NOMEM : ERR_NOENT;
}

static void set_option(int fd, int level, int name, int value)
{
    /* Options only tune: a socket without them still works. */
    (void)setsockopt(fd, level, name, &value, sizeof(value));
}

static enum err listen_at(const struct addrinfo *ai, int backlog, bool shared, int *out)
{
    int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return err_of_errno(errno);
    set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (shared)
        set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    if (ai->ai_family == AF_INET6)
        set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);
    if (bind(fd, ai->ai_addr, ai->ai_addrlen) != 0 || listen(fd, backlog) != 0) {
        enum err err = err_of_errno(errno);
        close(fd);
        return err;
    }
    *out = fd;
    return ERR_OK;
}

/* The IPv6 wildcard takes IPv4 too: it goes first; a system without IPv6 takes the other. */
static enum err listen_first(const struct addrinfo *list, int backlog, bool shared, int *fd)
{
    enum err err = ERR_NOENT;
    for (int pass = 0; pass < 2; pass++) {
        for (const struct addrinfo *ai = list; ai; ai = ai->ai_next) {
            if ((ai->ai_family == AF_INET6) != (pass == 0))
                continue;
            enum err tried = listen_at(ai, backlog, shared, fd);
            if (tried == ERR_OK || tried == ERR_BUSY || tried == ERR_ACCESS)
                return tried;
            err = tried;
        }
    }
    return err;
}

static void sock_own(struct real *real, struct io_sock *sock, int fd)
{
    sock->fd = fd;
    sock->watched = 0;
    list_push_back(&real->socks, &sock->link);
}

enum err sock_listen(struct io *io, struct io_sock *sock, const char *host, uint16_t port,
                     int backlog, bool shared, struct io_addr *bound)
{
    struct addrinfo *list;
    int fd = -1;
    TRY(resolve(host, port, true, &list));
    enum err err = listen_first(list, backlog, shared, &fd);
    freeaddrinfo(list);
    TRY(err);
    struct sockaddr_storage at;
    socklen_t len = sizeof(at);
    if (getsockname(fd, (struct sockaddr *)&at, &len) != 0) {
        err = err_of_errno(errno);
        close(fd);
        return err;
    }
    addr_fill(&at, bound);
    sock_own(real_of(io), sock, fd);
    return ERR_OK;
}

enum err sock_accept(struct io *io, struct io_sock *listener, struct io_sock *sock,
                     struct io_addr *peer)
{
    struct sockaddr_storage from;
    for (;;) {
        socklen_t len = sizeof(from);
        int fd =
            accept4(listener->fd, (struct sockaddr *)&from, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
            addr_fill(&from, peer);
            sock_own(real_of(io), sock, fd);
            return ERR_OK;
        }
        /* One that gave up while it waited says nothing about the next. */
        if (errno != EINTR && errno != ECONNABORTED && errno != EPROTO)
            return err_of_errno(errno);
    }
}

enum err sock_connect(struct io *io, struct io_sock *sock, const char *host, uint16_t port)
{
    struct addrinfo *list;
    TRY(resolve(host, port, false, &list));
    enum err err = ERR_OK;
    int fd = socket(list->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        err = err_of_errno(errno);
    else if (connect(fd, list->ai_addr, list->ai_addrlen) != 0 && errno != EINPROGRESS) {
        err = err_of_errno(errno);
        close(fd);
    }
    freeaddrinfo(list);
    TRY(err);
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    sock_own(real_of(io), sock, fd);
    return ERR_OK;
}

void sock_watch(struct io *io, struct io_sock *sock, unsigned ready)
{
    struct real *real = real_of(io);
    struct epoll_event event = {.data.ptr = sock};
    event.events = (ready & IO_READABLE ? EPOLLIN : 0U) | (ready & IO_WRITABLE ? EPOLLOUT : 0U);
    int how = !ready ? EPOLL_CTL_DEL : !sock->watched ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
    int failed = epoll_ctl(real->epoll_fd, how, sock->fd, &event);
    /* It can fail for lack of kernel memory only, and there is no socket without a watch. */
    ASSERT(!failed);
    sock->watched = ready;
}

enum err sock_read(struct io *io, struct io_sock *sock, void *data, size_t len, size_t *moved)
{
    (void)io;
    for (;;) {
        ssize_t got = recv(sock->fd, data, len, 0);
        if (got > 0) {
            *moved = (size_t)got;
            return ERR_OK;
        }
        if (got == 0)
            return ERR_CLOSED;
        if (errno != EINTR)
            return err_of_errno(errno);
    }
}

enum err sock_write(struct io *io, struct io_sock *sock, const struct slice *slices, size_t count,
                    size_t *moved)
{
    (void)io;
    struct iovec iov[SLICES_AT_ONCE];
    size_t used = 0;
    for (size_t i = 0; i < count && used < SLICES_AT_ONCE; i++) {
        if (slices[i].len > 0)
            iov[used++] = (struct iovec){(void *)(uintptr_t)slices[i].data, slices[i].len};
    }
    ASSERT(used > 0);
    struct msghdr message = {.msg_iov = iov, .msg_iovlen = used};
    for (;;) {
        ssize_t put = sendmsg(sock->fd, &message, MSG_NOSIGNAL);
        if (put >= 0) {
            *moved = (size_t)put;
            return ERR_OK;
        }
        if (errno != EINTR)
            return err_of_errno(errno);
    }
}

/* The batch of events being handed out may still name the socket. */
static void forget(struct real *real, const struct io_sock *sock)
{
    for (int i = 0; i < real->event_count; i++) {
        if (real->events[i].data.ptr == sock)
            real->events[i].data.ptr = NULL;
    }
}

int sock_release(struct io *io, struct io_sock *sock)
{
    int fd = sock->fd;
    io_sock_watch(io, sock, 0);
    forget(real_of(io), sock);
    list_remove(&sock->link);
    sock->fd = -1;
    return fd;
}

uint32_t sock_trip_us(const struct io_sock *sock)
{
    struct tcp_info info;
    socklen_t len = sizeof(info);
    bool is_known = getsockopt(sock->fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0;
    return is_known ? info.tcpi_rtt : 0;
}

/* The descriptor would leave the epoll set by itself, but only once nobody has it any more: a child
 * on its way to another program keeps it a moment longer, and its events would find a socket that
 * is gone. */
void sock_close(struct io *io, struct io_sock *sock)
{
    if (sock->watched)
        sock_watch(io, sock, 0);
    forget(real_of(io), sock);
    list_remove(&sock->link);
    close(sock->fd);
    sock->fd = -1;
    sock->watched = 0;
}

void sock_adopt(struct io *io, struct io_sock *sock, int fd)
{
    sock_own(real_of(io), sock, fd);
}
