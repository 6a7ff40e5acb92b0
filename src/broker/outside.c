/* Programs and HTTP POSTs, as jobs beside the loop.
 *
 * A job's step never waits: it looks whether the program has ended or the socket is ready, and
 * pauses until the next look; only the look-up of a host's name may take longer. No shell: the
 * program gets its arguments as they are configured, an environment of its own, no input, and the
 * broker's standard error to write to. Of an HTTP answer only the status counts.
 *
 * Runs on: a thread for jobs; the beginning and the end on the shard. */
#include "broker/outside.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/assert.h"

#define MS                UINT64_C(1000000)
#define PAUSE_NS          (10 * MS)
#define PROGRAM_MS_MAX    UINT64_C(60000)
#define POST_MS_MAX       UINT64_C(10000)
#define REQUEST_BYTES_MAX ((size_t)64 << 10)

enum { STATE_BEGIN, STATE_PROGRAM, STATE_CONNECTING, STATE_SENDING, STATE_READING };

static uint64_t end(struct outside *outside, bool is_ok, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static uint64_t end(struct outside *outside, bool is_ok, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(outside->what, sizeof(outside->what), fmt, args);
    va_end(args);
    outside->is_ok = is_ok;
    return IO_JOB_DONE;
}

/* --- programs --- */

static int spawn(struct outside *outside)
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attr;
    sigset_t none, defaults;
    pid_t pid = -1;
    sigemptyset(&none);
    sigemptyset(&defaults);
    sigaddset(&defaults, SIGPIPE); /* the broker ignores it */
    posix_spawn_file_actions_init(&files);
    posix_spawnattr_init(&attr);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setsigdefault(&attr, &defaults);
    posix_spawnattr_setpgroup(&attr, 0);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
                                        POSIX_SPAWN_SETPGROUP);
    int failed = posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
    if (!failed)
        failed = posix_spawn_file_actions_adddup2(&files, 2, 1);
    if (!failed)
        failed = posix_spawn_file_actions_addclosefrom_np(&files, 3);
    if (!failed)
        failed = posix_spawn(&pid, outside->argv[0], &files, &attr, outside->argv, outside->envp);
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&files);
    outside->pid = failed ? -1 : pid;
    return failed;
}

/* With all that it started itself. */
static void kill_program(struct outside *outside)
{
    kill(-outside->pid, SIGKILL);
    while (waitpid(outside->pid, NULL, 0) < 0 && errno == EINTR)
        continue;
    outside->pid = -1;
}

static uint64_t look_at_program(struct outside *outside, uint64_t now_ns)
{
    int status = 0;
    pid_t got = waitpid(outside->pid, &status, WNOHANG);
    if (got == 0 && now_ns < outside->deadline_ns)
        return PAUSE_NS;
    if (got == 0) {
        kill_program(outside);
        return end(outside, false, "it did not end within %llu s and was killed",
                   (unsigned long long)(PROGRAM_MS_MAX / 1000));
    }
    outside->pid = -1;
    if (got < 0)
        return end(outside, false, "its end was missed: %s", strerror(errno));
    if (WIFSIGNALED(status))
        return end(outside, false, "it was ended by signal %d", WTERMSIG(status));
    if (WEXITSTATUS(status) != 0)
        return end(outside, false, "it ended with status %d", WEXITSTATUS(status));
    return end(outside, true, "done");
}

/* --- HTTP --- */

static uint64_t begin_post(struct outside *outside)
{
    char service[8];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV}, *list;
    snprintf(service, sizeof(service), "%u", outside->url->port);
    int failed = getaddrinfo(outside->url->host.data, service, &hints, &list);
    if (failed)
        return end(outside, false, "%s: %s", outside->url->host.data, gai_strerror(failed));
    outside->fd = socket(list->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    failed = outside->fd < 0 ? errno : 0;
    if (!failed && connect(outside->fd, list->ai_addr, list->ai_addrlen) != 0 &&
        errno != EINPROGRESS)
        failed = errno;
    freeaddrinfo(list);
    if (failed)
        return end(outside, false, "%s", strerror(failed));
    outside->state = STATE_CONNECTING;
    return 0;
}

static void build_request(struct outside *outside)
{
    const struct alert_url *url = outside->url;
    bool is_v6 = memchr(url->host.data, ':', url->host.len) != NULL;
    buf_printf(&outside->request,
               "POST %s HTTP/1.1\r\nHost: %s%s%s:%u\r\nUser-Agent: taffrail/" TAFFRAIL_VERSION
               "\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n"
               "Connection: close\r\n\r\n",
               url->path.data, is_v6 ? "[" : "", url->host.data, is_v6 ? "]" : "", url->port,
               outside->body.len);
    buf_put(&outside->request, outside->body.data, outside->body.len);
}

static uint64_t finish_connect(struct outside *outside)
{
    int failed = 0;
    socklen_t len = sizeof(failed);
    if (getsockopt(outside->fd, SOL_SOCKET, SO_ERROR, &failed, &len) != 0)
        failed = errno;
    if (failed)
        return end(outside, false, "%s", strerror(failed));
    build_request(outside);
    if (outside->request.err != ERR_OK)
        return end(outside, false, "%s", err_text(outside->request.err));
    outside->state = STATE_SENDING;
    return 0;
}

static uint64_t send_more(struct outside *outside)
{
    ssize_t put = send(outside->fd, outside->request.data + outside->sent,
                       outside->request.len - outside->sent, MSG_NOSIGNAL);
    if (put < 0)
        return errno == EAGAIN || errno == EINTR ? PAUSE_NS
                                                 : end(outside, false, "%s", strerror(errno));
    outside->sent += (size_t)put;
    if (outside->sent == outside->request.len)
        outside->state = STATE_READING;
    return 0;
}

static uint64_t read_more(struct outside *outside)
{
    int status = 0;
    ssize_t got = recv(outside->fd, outside->head + outside->received,
                       sizeof(outside->head) - 1 - outside->received, 0);
    if (got < 0)
        return errno == EAGAIN || errno == EINTR ? PAUSE_NS
                                                 : end(outside, false, "%s", strerror(errno));
    outside->received += (size_t)got;
    outside->head[outside->received] = '\0';
    bool is_line = strchr(outside->head, '\n') || outside->received == sizeof(outside->head) - 1;
    if (got > 0 && !is_line)
        return 0;
    if (sscanf(outside->head, "HTTP/1.%*1[01] %3d", &status) != 1)
        return end(outside, false, "the answer is no HTTP");
    if (status < 200 || status > 299)
        return end(outside, false, "the answer is status %d", status);
    return end(outside, true, "done");
}

static uint64_t look_at_post(struct outside *outside, uint64_t now_ns)
{
    bool wants_write = outside->state != STATE_READING;
    struct pollfd poll_fd = {.fd = outside->fd, .events = wants_write ? POLLOUT : POLLIN};
    if (now_ns >= outside->deadline_ns)
        return end(outside, false, "no answer within %llu s",
                   (unsigned long long)(POST_MS_MAX / 1000));
    if (poll(&poll_fd, 1, 0) <= 0)
        return PAUSE_NS;
    if (outside->state == STATE_CONNECTING)
        return finish_connect(outside);
    return outside->state == STATE_SENDING ? send_more(outside) : read_more(outside);
}

/* --- the job --- */

static uint64_t step(struct io_job *job, struct io *io, uint64_t now_ns)
{
    struct outside *outside = CONTAINER_OF(job, struct outside, job);
    (void)io;
    if (outside->state == STATE_PROGRAM)
        return look_at_program(outside, now_ns);
    if (outside->state != STATE_BEGIN)
        return look_at_post(outside, now_ns);
    outside->deadline_ns = now_ns + (outside->argv ? PROGRAM_MS_MAX : POST_MS_MAX) * MS;
    if (!outside->argv)
        return begin_post(outside);
    int failed = spawn(outside);
    if (failed)
        return end(outside, false, "it cannot be started: %s", strerror(failed));
    outside->state = STATE_PROGRAM;
    return PAUSE_NS;
}

static void on_done(struct io_op *op)
{
    struct outside *outside = CONTAINER_OF(op, struct outside, job.op);
    if (outside->pid > 0) /* cancelled */
        kill_program(outside);
    if (outside->fd >= 0)
        close(outside->fd);
    buf_deinit(&outside->request);
    outside->done(outside);
}

void outside_start(struct io *io, struct outside *outside)
{
    ASSERT(!outside->argv != !outside->url);
    outside->state = STATE_BEGIN;
    outside->pid = -1;
    outside->fd = -1;
    outside->sent = outside->received = 0;
    outside->is_ok = false;
    snprintf(outside->what, sizeof(outside->what), "it was cut short by the broker's stop");
    buf_init(&outside->request, REQUEST_BYTES_MAX);
    io_job_start(io, &outside->job, step, on_done);
}

void outside_cancel(struct io *io, struct outside *outside)
{
    io_job_cancel(io, &outside->job);
}
