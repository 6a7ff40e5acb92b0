/* What every implementation of io.h shares: the base struct, its table of calls, and the turn's
 * common pieces (timers, wake). The real implementation and the simulator embed `struct io`. */
#ifndef IO_INTERNAL_H
#define IO_INTERNAL_H

#include "base/heap.h"
#include "io/io.h"

struct io_ops {
    const char *(*describe)(const struct io *io);
    void (*destroy)(struct io *io);
    uint64_t (*random)(struct io *io);
    void (*run_once)(struct io *io, uint64_t max_wait_ns);
    uint64_t (*clock)(const struct io *io); /* NULL: time stands still inside of a turn */
    void (*wake)(struct io *io);

    /* op is filled in; done comes from a later callback. */
    void (*submit)(struct io *io, struct io_op *op);
    /* The job was cancelled: a pause of it ends. */
    void (*job_hurry)(struct io *io, struct io_job *job);

    enum err (*open)(struct io *io, const char *path, int flags, struct io_file *file);
    void (*close)(struct io *io, struct io_file file);
    enum err (*stat_path)(struct io *io, const char *path, struct io_stat *out);
    enum err (*stat_file)(struct io *io, struct io_file file, struct io_stat *out);
    enum err (*list)(struct io *io, const char *dir, io_list_fn *fn, void *arg);
    enum err (*mkdir)(struct io *io, const char *path);
    enum err (*rmdir)(struct io *io, const char *path);
    enum err (*rename)(struct io *io, const char *from, const char *to);
    enum err (*unlink_now)(struct io *io, const char *path);
    enum err (*truncate)(struct io *io, struct io_file file, uint64_t size);
    enum err (*reserve)(struct io *io, struct io_file file, uint64_t size);
    enum err (*read_now)(struct io *io, struct io_file file, void *data, size_t len,
                         uint64_t offset, size_t *moved);
    enum err (*write_now)(struct io *io, struct io_file file, const void *data, size_t len,
                          uint64_t offset);
    enum err (*sync_now)(struct io *io, struct io_file file);
    enum err (*sync_dir)(struct io *io, const char *dir);
    enum err (*lock)(struct io *io, struct io_file file);
    enum err (*space)(struct io *io, const char *path, uint64_t *total, uint64_t *usable);

    enum err (*listen)(struct io *io, struct io_sock *sock, const char *host, uint16_t port,
                       int backlog, bool shared, struct io_addr *bound);
    enum err (*accept)(struct io *io, struct io_sock *listener, struct io_sock *sock,
                       struct io_addr *peer);
    enum err (*connect)(struct io *io, struct io_sock *sock, const char *host, uint16_t port);
    void (*sock_watch)(struct io *io, struct io_sock *sock, unsigned ready);
    enum err (*sock_read)(struct io *io, struct io_sock *sock, void *data, size_t len,
                          size_t *moved);
    enum err (*sock_write)(struct io *io, struct io_sock *sock, const struct slice *slices,
                           size_t count, size_t *moved);
    uint32_t (*sock_trip_us)(const struct io_sock *sock);
    void (*sock_close)(struct io *io, struct io_sock *sock);
    int (*sock_release)(struct io *io, struct io_sock *sock);
    void (*sock_adopt)(struct io *io, struct io_sock *sock, int fd);
};

struct io {
    const struct io_ops *ops;
    struct heap timers;
    uint64_t now_ns;
    int64_t wall_ms;
    struct io_stats stats;
    io_wake_fn *wake_fn; /* NULL: nobody listens */
    void *wake_arg;
};

void io_init(struct io *io, const struct io_ops *ops);
/* When the first timer is due; UINT64_MAX without timers. */
uint64_t io_timers_next_ns(const struct io *io);
/* Fires what is due at io->now_ns. A timer that is armed again from its callback waits for the
 * next turn, so that a turn ends. */
void io_timers_run(struct io *io);

/* Calls back an operation that has ended. */
void io_op_end(struct io *io, struct io_op *op);

#endif
