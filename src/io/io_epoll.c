/* The real io: one epoll loop for sockets and wake-ups, with disk work beside it.
 *
 * A turn: tell the ring what was submitted, wait in epoll, read the clock, then run callbacks in
 * this order: wake, sockets, timers, operations, and wake again if it came meanwhile. An operation
 * that the page cache served inside a callback of this turn is called back in this turn. The
 * callbacks of the last step may queue more of them: the next turn then does not wait.
 *
 * Waking: `sleeping` is set before the last look at what could have come from other threads, and
 * who brings something looks at `sleeping` after it; both are sequentially consistent, so one of
 * the two sees the other, and a wake of a loop that is awake costs no system call. */
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/diag.h"
#include "io/real.h"

#define EVENTS_AT_ONCE 256
#define NS_PER_MS      UINT64_C(1000000)

static uint64_t real_clock(const struct io *io)
{
    (void)io;
    return real_now_ns();
}

static void clock_read(struct real *real)
{
    struct timespec now;
    real->io.now_ns = real_clock(&real->io);
    clock_gettime(CLOCK_REALTIME, &now);
    real->io.wall_ms = (int64_t)now.tv_sec * 1000 + now.tv_nsec / (long)NS_PER_MS;
}

static uint64_t real_random(struct io *io)
{
    struct real *real = real_of(io);
    if (real->random_left == 0) {
        ssize_t got = getrandom(real->random, sizeof(real->random), 0);
        ASSERT(got == (ssize_t)sizeof(real->random));
        real->random_left = ARRAY_LEN(real->random);
    }
    return real->random[--real->random_left];
}

void real_notify(struct real *real)
{
    if (!atomic_load_explicit(&real->sleeping, memory_order_seq_cst))
        return;
    const uint64_t one = 1;
    ssize_t put = write(real->event_fd, &one, sizeof(one));
    ASSERT(put == (ssize_t)sizeof(one));
}

static void real_wake(struct io *io)
{
    struct real *real = real_of(io);
    if (!atomic_exchange_explicit(&real->wake_pending, true, memory_order_seq_cst))
        real_notify(real);
}

void real_complete(struct real *real, struct io_op *op)
{
    list_push_back(&real->done, &op->link);
}

/* --- waiting --- */

static bool something_is_due(const struct real *real)
{
    return atomic_load_explicit(&real->wake_pending, memory_order_seq_cst) ||
           atomic_load_explicit(&real->pool.has_done, memory_order_seq_cst) ||
           atomic_load_explicit(&real->unlinks.has_done, memory_order_seq_cst) ||
           atomic_load_explicit(&real->jobs.has_done, memory_order_seq_cst);
}

/* How long the loop may wait, in ns. The clock is read once more here only if a timer is set: the
 * callbacks since the turn began may have taken their time. */
static uint64_t wait_bound(struct real *real, uint64_t max_wait_ns)
{
    if (max_wait_ns == 0 || !list_is_empty(&real->done))
        return 0;
    uint64_t due_ns = io_timers_next_ns(&real->io);
    if (due_ns == UINT64_MAX)
        return max_wait_ns;
    uint64_t now_ns = real_now_ns();
    uint64_t until_ns = due_ns > now_ns ? due_ns - now_ns : 0;
    return until_ns < max_wait_ns ? until_ns : max_wait_ns;
}

static int wait_for_events(struct real *real, uint64_t wait_ns)
{
    struct timespec ts = {(time_t)(wait_ns / NS_PER_S), (long)(wait_ns % NS_PER_S)};
    int count = epoll_pwait2(real->epoll_fd, real->events, EVENTS_AT_ONCE,
                             wait_ns == UINT64_MAX ? NULL : &ts, NULL);
    if (count < 0 && errno == ENOSYS) {
        /* Kernels before 5.11: round up, or the loop would turn until the timer is due. */
        uint64_t ms = wait_ns / NS_PER_MS + (wait_ns % NS_PER_MS != 0);
        count = epoll_wait(real->epoll_fd, real->events, EVENTS_AT_ONCE,
                           wait_ns == UINT64_MAX ? -1
                           : ms > INT32_MAX      ? INT32_MAX
                                                 : (int)ms);
    }
    ASSERT(count >= 0 || errno == EINTR);
    return count < 0 ? 0 : count;
}

static int wait_in_epoll(struct real *real, uint64_t max_wait_ns)
{
    uint64_t wait_ns = wait_bound(real, max_wait_ns);
    if (wait_ns == 0)
        return wait_for_events(real, 0);
    atomic_store_explicit(&real->sleeping, true, memory_order_seq_cst);
    int count = wait_for_events(real, something_is_due(real) ? 0 : wait_ns);
    atomic_store_explicit(&real->sleeping, false, memory_order_relaxed);
    return count;
}

/* --- a turn --- */

static void run_wake(struct real *real)
{
    if (!atomic_load_explicit(&real->wake_pending, memory_order_relaxed))
        return;
    atomic_exchange_explicit(&real->wake_pending, false, memory_order_seq_cst);
    if (real->io.wake_fn)
        real->io.wake_fn(real->io.wake_arg);
}

static void run_socks(struct real *real)
{
    for (int i = 0; i < real->event_count; i++) {
        /* NULL: the event descriptor, or a socket that an earlier callback closed. */
        struct io_sock *sock = real->events[i].data.ptr;
        if (!sock)
            continue;
        uint32_t events = real->events[i].events;
        unsigned ready = (events & EPOLLIN ? (unsigned)IO_READABLE : 0) |
                         (events & EPOLLOUT ? (unsigned)IO_WRITABLE : 0);
        if (events & (EPOLLERR | EPOLLHUP))
            ready = IO_READABLE | IO_WRITABLE;
        ready &= sock->watched;
        if (ready)
            sock->fn(sock, ready);
    }
    real->event_count = 0;
}

static void run_done(struct real *real)
{
    struct list due;
    list_init(&due);
    list_splice(&due, &real->done);
    struct list *node;
    while ((node = list_pop_front(&due))) {
        struct io_op *op = LIST_ENTRY(node, struct io_op, link);
        ASSERT(real->in_flight > 0);
        real->in_flight--;
        io_op_end(&real->io, op);
    }
}

static void note_turn(struct io *io)
{
    uint64_t ns = real_clock(io) - io->now_ns;
    io->stats.turn_count++;
    io->stats.busy_ns += ns;
    if (ns > io->stats.turn_max_ns)
        io->stats.turn_max_ns = ns;
}

static void real_run_once(struct io *io, uint64_t max_wait_ns)
{
    struct real *real = real_of(io);
    if (real->uring && !uring_flush(real->uring))
        max_wait_ns = 0;
    /* Known from here on: whoever is called may close a socket that is among them. */
    real->event_count = wait_in_epoll(real, max_wait_ns);
    clock_read(real);
    run_wake(real);
    run_socks(real);
    io_timers_run(io);
    if (real->uring)
        uring_collect(real->uring);
    threads_collect(&real->pool);
    threads_collect(&real->unlinks);
    threads_collect(&real->jobs);
    run_done(real);
    run_wake(real); /* a callback that woke its own loop means: at the end of this turn */
    note_turn(io);
}

/* --- life --- */

static const char *real_describe(const struct io *io)
{
    const struct real *real = CONTAINER_OF(io, const struct real, io);
    return real->uring ? "epoll + io_uring" : "epoll + disk threads";
}

static void real_free(struct real *real)
{
    if (real->uring)
        uring_destroy(real->uring);
    if (real->event_fd >= 0)
        close(real->event_fd);
    if (real->epoll_fd >= 0)
        close(real->epoll_fd);
    free(real->events);
    free(real);
}

static void real_destroy(struct io *io)
{
    struct real *real = real_of(io);
    ASSERT(real->in_flight == 0);
    ASSERT(list_is_empty(&real->socks));
    threads_deinit(&real->pool);
    threads_deinit(&real->unlinks);
    threads_deinit(&real->jobs);
    real_free(real);
}

static const struct io_ops real_ops = {
    .describe = real_describe,
    .destroy = real_destroy,
    .random = real_random,
    .run_once = real_run_once,
    .clock = real_clock,
    .wake = real_wake,
    .submit = real_submit,
    .job_hurry = real_job_hurry,
    .open = file_open,
    .close = file_close,
    .stat_path = file_stat_path,
    .stat_file = file_stat,
    .list = file_list,
    .mkdir = file_mkdir,
    .rmdir = file_rmdir,
    .rename = file_rename,
    .unlink_now = file_unlink_now,
    .truncate = file_truncate,
    .reserve = file_reserve,
    .read_now = file_read_now,
    .write_now = file_write_now,
    .sync_now = file_sync_now,
    .sync_dir = file_sync_dir,
    .lock = file_lock,
    .space = file_space,
    .listen = sock_listen,
    .accept = sock_accept,
    .connect = sock_connect,
    .sock_watch = sock_watch,
    .sock_read = sock_read,
    .sock_write = sock_write,
    .sock_trip_us = sock_trip_us,
    .sock_close = sock_close,
    .sock_release = sock_release,
    .sock_adopt = sock_adopt,
};

static enum err open_loop(struct real *real)
{
    real->events = calloc(EVENTS_AT_ONCE, sizeof(*real->events));
    if (!real->events)
        return ERR_NOMEM;
    real->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (real->epoll_fd < 0)
        return err_of_errno(errno);
    real->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (real->event_fd < 0)
        return err_of_errno(errno);
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.ptr = NULL};
    if (epoll_ctl(real->epoll_fd, EPOLL_CTL_ADD, real->event_fd, &event) != 0)
        return err_of_errno(errno);
    return ERR_OK;
}

static enum err open_disk(struct real *real, enum io_disk disk, unsigned uring_flags)
{
    if (disk == IO_DISK_THREADS)
        return ERR_OK;
    enum err err = uring_create(real, uring_flags, &real->uring);
    return err == ERR_UNSUPPORTED && disk == IO_DISK_AUTO ? ERR_OK : err;
}

/* A job compresses and sorts, which wants more stack than a system call, and yields the processor
 * to whoever serves a request. */
static const struct threads_options disk_threads = {4, 64 << 10, 0};
static const struct threads_options unlink_threads = {1, 64 << 10, 0};
static const struct threads_options job_threads = {8, 512 << 10, 10};

static enum err open_pools(struct real *real)
{
    TRY(threads_init(&real->pool, real, &disk_threads));
    enum err err = threads_init(&real->unlinks, real, &unlink_threads);
    if (err == ERR_OK) {
        err = threads_init(&real->jobs, real, &job_threads);
        if (err != ERR_OK)
            threads_deinit(&real->unlinks);
    }
    if (err != ERR_OK)
        threads_deinit(&real->pool);
    return err;
}

enum err real_create_with(enum io_disk disk, unsigned uring_flags, struct io **io)
{
    struct real *real = calloc(1, sizeof(*real));
    if (!real)
        return ERR_NOMEM;
    io_init(&real->io, &real_ops);
    real->epoll_fd = real->event_fd = -1;
    real->read_nowait = true;
    list_init(&real->socks);
    list_init(&real->done);
    enum err err = open_loop(real);
    if (err == ERR_OK)
        err = open_disk(real, disk, uring_flags);
    if (err == ERR_OK)
        err = open_pools(real);
    if (err != ERR_OK) {
        real_free(real);
        return err;
    }
    clock_read(real);
    *io = &real->io;
    return ERR_OK;
}

enum err io_real_create(enum io_disk disk, struct io **io)
{
    return real_create_with(disk, uring_flags_wanted, io);
}
