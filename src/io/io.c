/* The seam's common part: hands each call to the implementation, and builds what needs no system
 * of its own (timers, whole small files). Runs on the thread of the io it is given. */
#include "io/io.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "io/internal.h"

#define PATH_BYTES_MAX 4096

void io_init(struct io *io, const struct io_ops *ops)
{
    *io = (struct io){.ops = ops};
    heap_init(&io->timers);
}

/* --- time and chance --- */

uint64_t io_now_ns(const struct io *io)
{
    return io->now_ns;
}

uint64_t io_clock_ns(const struct io *io)
{
    return io->ops->clock ? io->ops->clock(io) : io->now_ns;
}

int64_t io_wall_ms(const struct io *io)
{
    return io->wall_ms;
}

uint64_t io_random(struct io *io)
{
    return io->ops->random(io);
}

void io_timer_init(struct io_timer *timer, io_timer_fn *fn)
{
    *timer = (struct io_timer){.fn = fn};
}

void io_timer_start(struct io *io, struct io_timer *timer, uint64_t at_ns)
{
    ASSERT(timer->fn);
    heap_remove(&io->timers, &timer->node);
    heap_insert(&io->timers, &timer->node, at_ns);
    timer->armed = true;
}

void io_timer_stop(struct io *io, struct io_timer *timer)
{
    heap_remove(&io->timers, &timer->node);
    timer->armed = false;
}

uint64_t io_timers_next_ns(const struct io *io)
{
    const struct heap_node *first = heap_peek(&io->timers);
    return first ? first->key : UINT64_MAX;
}

void io_timers_run(struct io *io)
{
    /* Fires at most as many as there are now: one that is armed again for the past waits a turn. */
    for (size_t left = io->timers.count; left > 0; left--) {
        struct heap_node *node = heap_peek(&io->timers);
        if (!node || node->key > io->now_ns)
            return;
        heap_remove(&io->timers, node);
        struct io_timer *timer = HEAP_ENTRY(node, struct io_timer, node);
        timer->armed = false;
        timer->fn(timer);
    }
}

/* --- files --- */

static bool is_flush(enum io_kind kind)
{
    return kind == IO_SYNC || kind == IO_WRITE_DURABLE;
}

static void submit(struct io *io, struct io_op *op, enum io_kind kind, io_done *done)
{
    ASSERT(done);
    op->kind = kind;
    op->done = done;
    op->err = ERR_OK;
    op->moved = 0;
    op->submitted_ns = is_flush(kind) ? io_clock_ns(io) : 0;
    list_init(&op->link);
    io->ops->submit(io, op);
}

void io_op_end(struct io *io, struct io_op *op)
{
    if (is_flush(op->kind)) {
        struct io_stats *stats = &io->stats;
        histogram_add(op->kind == IO_SYNC ? &stats->syncs : &stats->durable_writes,
                      io_clock_ns(io) - op->submitted_ns);
        stats->sync_failures += op->err != ERR_OK;
    }
    op->done(op);
}

static void fill_read(struct io_op *op, struct io_file file, void *data, size_t len,
                      uint64_t offset)
{
    ASSERT(!IO_FILE_IS_NONE(file));
    op->file = file;
    op->data = data;
    op->len = len;
    op->offset = offset;
    op->path = NULL;
}

void io_read(struct io *io, struct io_op *op, struct io_file file, void *data, size_t len,
             uint64_t offset, io_done *done)
{
    fill_read(op, file, data, len, offset);
    submit(io, op, IO_READ, done);
}

void io_read_cached(struct io *io, struct io_op *op, struct io_file file, void *data, size_t len,
                    uint64_t offset, io_done *done)
{
    fill_read(op, file, data, len, offset);
    submit(io, op, IO_READ_CACHED, done);
}

void io_read_disk(struct io *io, struct io_op *op, struct io_file file, void *data, size_t len,
                  uint64_t offset, io_done *done)
{
    fill_read(op, file, data, len, offset);
    submit(io, op, IO_READ_DISK, done);
}

void io_write(struct io *io, struct io_op *op, struct io_file file, const void *data, size_t len,
              uint64_t offset, io_done *done)
{
    ASSERT(!IO_FILE_IS_NONE(file));
    op->file = file;
    op->data = (void *)(uintptr_t)data; /* only read from, as IO_WRITE says */
    op->len = len;
    op->offset = offset;
    op->path = NULL;
    submit(io, op, IO_WRITE, done);
}

void io_write_durable(struct io *io, struct io_op *op, struct io_file file, const void *data,
                      size_t len, uint64_t offset, io_done *done)
{
    ASSERT(!IO_FILE_IS_NONE(file));
    op->file = file;
    op->data = (void *)(uintptr_t)data; /* only read from */
    op->len = len;
    op->offset = offset;
    op->path = NULL;
    submit(io, op, IO_WRITE_DURABLE, done);
}

void io_sync(struct io *io, struct io_op *op, struct io_file file, io_done *done)
{
    ASSERT(!IO_FILE_IS_NONE(file));
    op->file = file;
    op->data = NULL;
    op->len = 0;
    op->offset = 0;
    op->path = NULL;
    submit(io, op, IO_SYNC, done);
}

void io_unlink(struct io *io, struct io_op *op, const char *path, io_done *done)
{
    op->file = IO_FILE_NONE;
    op->data = NULL;
    op->len = 0;
    op->offset = 0;
    op->path = path;
    submit(io, op, IO_UNLINK, done);
}

void io_job_start(struct io *io, struct io_job *job, io_job_step *step, io_done *done)
{
    ASSERT(step);
    job->step = step;
    atomic_store_explicit(&job->is_cancelled, false, memory_order_relaxed);
    job->op.file = IO_FILE_NONE;
    job->op.data = NULL;
    job->op.len = 0;
    job->op.offset = 0;
    job->op.path = NULL;
    submit(io, &job->op, IO_JOB, done);
}

void io_job_cancel(struct io *io, struct io_job *job)
{
    atomic_store_explicit(&job->is_cancelled, true, memory_order_seq_cst);
    io->ops->job_hurry(io, job);
}

enum err io_open(struct io *io, const char *path, int flags, struct io_file *file)
{
    *file = IO_FILE_NONE;
    return io->ops->open(io, path, flags, file);
}

void io_close(struct io *io, struct io_file file)
{
    ASSERT(!IO_FILE_IS_NONE(file));
    io->ops->close(io, file);
}

enum err io_stat_path(struct io *io, const char *path, struct io_stat *out)
{
    return io->ops->stat_path(io, path, out);
}

enum err io_stat_file(struct io *io, struct io_file file, struct io_stat *out)
{
    return io->ops->stat_file(io, file, out);
}

enum err io_list(struct io *io, const char *dir, io_list_fn *fn, void *arg)
{
    return io->ops->list(io, dir, fn, arg);
}

enum err io_mkdir(struct io *io, const char *path)
{
    return io->ops->mkdir(io, path);
}

enum err io_rmdir(struct io *io, const char *path)
{
    return io->ops->rmdir(io, path);
}

enum err io_rename(struct io *io, const char *from, const char *to)
{
    return io->ops->rename(io, from, to);
}

enum err io_unlink_now(struct io *io, const char *path)
{
    return io->ops->unlink_now(io, path);
}

enum err io_truncate(struct io *io, struct io_file file, uint64_t size)
{
    return io->ops->truncate(io, file, size);
}

enum err io_reserve(struct io *io, struct io_file file, uint64_t size)
{
    return io->ops->reserve(io, file, size);
}

enum err io_read_now(struct io *io, struct io_file file, void *data, size_t len, uint64_t offset,
                     size_t *moved)
{
    *moved = 0;
    return io->ops->read_now(io, file, data, len, offset, moved);
}

enum err io_write_now(struct io *io, struct io_file file, const void *data, size_t len,
                      uint64_t offset)
{
    return io->ops->write_now(io, file, data, len, offset);
}

enum err io_sync_now(struct io *io, struct io_file file)
{
    return io->ops->sync_now(io, file);
}

enum err io_sync_dir(struct io *io, const char *dir)
{
    return io->ops->sync_dir(io, dir);
}

enum err io_lock(struct io *io, struct io_file file)
{
    return io->ops->lock(io, file);
}

enum err io_space(struct io *io, const char *path, uint64_t *total, uint64_t *usable)
{
    return io->ops->space(io, path, total, usable);
}

static enum err read_open_file(struct io *io, struct io_file file, size_t limit, uint8_t **data,
                               size_t *len)
{
    struct io_stat stat;
    TRY(io_stat_file(io, file, &stat));
    if (stat.is_dir)
        return ERR_IO;
    if (stat.size > limit)
        return ERR_LIMIT;
    uint8_t *bytes = malloc((size_t)stat.size + 1);
    if (!bytes)
        return ERR_NOMEM;
    size_t moved;
    enum err err = io_read_now(io, file, bytes, (size_t)stat.size, 0, &moved);
    if (err != ERR_OK) {
        free(bytes);
        return err;
    }
    bytes[moved] = 0;
    *data = bytes;
    *len = moved;
    return ERR_OK;
}

enum err io_read_file(struct io *io, const char *path, size_t limit, uint8_t **data, size_t *len)
{
    *data = NULL;
    *len = 0;
    struct io_file file;
    TRY(io_open(io, path, IO_OPEN_READ, &file));
    enum err err = read_open_file(io, file, limit, data, len);
    io_close(io, file);
    return err;
}

static enum err write_synced(struct io *io, const char *path, struct slice content)
{
    struct io_file file;
    TRY(io_open(io, path, IO_OPEN_WRITE | IO_OPEN_CREATE | IO_OPEN_TRUNCATE, &file));
    enum err err = io_write_now(io, file, content.data, content.len, 0);
    if (err == ERR_OK)
        err = io_sync_now(io, file);
    io_close(io, file);
    return err;
}

/* The folder of a path, in `dir`; "." where the path names none. */
static void path_folder(const char *path, char dir[PATH_BYTES_MAX])
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        snprintf(dir, PATH_BYTES_MAX, ".");
    else if (slash == path)
        snprintf(dir, PATH_BYTES_MAX, "/");
    else
        snprintf(dir, PATH_BYTES_MAX, "%.*s", (int)(slash - path), path);
}

enum err io_replace_file(struct io *io, const char *path, struct slice content)
{
    char beside[PATH_BYTES_MAX], dir[PATH_BYTES_MAX];
    int len = snprintf(beside, sizeof(beside), "%s.tmp", path);
    if (len < 0 || (size_t)len >= sizeof(beside))
        return ERR_LIMIT;
    path_folder(path, dir);

    enum err err = write_synced(io, beside, content);
    if (err == ERR_OK)
        err = io_rename(io, beside, path);
    if (err == ERR_OK)
        return io_sync_dir(io, dir);
    /* The first error is the one to tell; what is left beside is overwritten next time. */
    enum err cleanup = io_unlink_now(io, beside);
    (void)cleanup;
    return err;
}

/* --- sockets --- */

static void sock_init(struct io_sock *sock, io_sock_fn *fn)
{
    ASSERT(fn);
    *sock = (struct io_sock){.fd = -1, .fn = fn};
    list_init(&sock->link);
}

enum err io_listen(struct io *io, struct io_sock *sock, const char *host, uint16_t port,
                   int backlog, bool shared, io_sock_fn *fn, struct io_addr *bound)
{
    sock_init(sock, fn);
    return io->ops->listen(io, sock, host, port, backlog, shared, bound);
}

enum err io_accept(struct io *io, struct io_sock *listener, struct io_sock *sock, io_sock_fn *fn,
                   struct io_addr *peer)
{
    sock_init(sock, fn);
    return io->ops->accept(io, listener, sock, peer);
}

enum err io_connect(struct io *io, struct io_sock *sock, const char *host, uint16_t port,
                    io_sock_fn *fn)
{
    sock_init(sock, fn);
    return io->ops->connect(io, sock, host, port);
}

void io_sock_watch(struct io *io, struct io_sock *sock, unsigned ready)
{
    ASSERT((ready & ~(unsigned)(IO_READABLE | IO_WRITABLE)) == 0);
    if (ready != sock->watched)
        io->ops->sock_watch(io, sock, ready);
    ASSERT(sock->watched == ready);
}

enum err io_sock_read(struct io *io, struct io_sock *sock, void *data, size_t len, size_t *moved)
{
    ASSERT(len > 0);
    *moved = 0;
    return io->ops->sock_read(io, sock, data, len, moved);
}

enum err io_sock_write(struct io *io, struct io_sock *sock, const struct slice *slices,
                       size_t count, size_t *moved)
{
    *moved = 0;
    return io->ops->sock_write(io, sock, slices, count, moved);
}

uint32_t io_sock_trip_us(struct io *io, const struct io_sock *sock)
{
    return io->ops->sock_trip_us(sock);
}

void io_sock_close(struct io *io, struct io_sock *sock)
{
    ASSERT(sock->fd >= 0);
    io->ops->sock_close(io, sock);
    ASSERT(sock->fd < 0);
}

int io_sock_release(struct io *io, struct io_sock *sock)
{
    ASSERT(sock->fd >= 0);
    return io->ops->sock_release(io, sock);
}

void io_sock_adopt(struct io *io, struct io_sock *sock, int fd, io_sock_fn *fn)
{
    ASSERT(fd >= 0);
    sock_init(sock, fn);
    io->ops->sock_adopt(io, sock, fd);
}

/* --- the loop --- */

void io_on_wake(struct io *io, io_wake_fn *fn, void *arg)
{
    io->wake_fn = fn;
    io->wake_arg = arg;
}

void io_wake(struct io *io)
{
    io->ops->wake(io);
}

void io_run_once(struct io *io, uint64_t max_wait_ns)
{
    io->ops->run_once(io, max_wait_ns);
}

struct io_stats *io_stats(struct io *io)
{
    return &io->stats;
}

void io_destroy(struct io *io)
{
    io->ops->destroy(io);
}

const char *io_describe(const struct io *io)
{
    return io->ops->describe(io);
}
