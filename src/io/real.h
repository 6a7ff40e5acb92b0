/* The real io, as its parts see it: io_epoll.c (loop and sockets), io_file.c (files), io_uring.c
 * and io_threads.c (disk work that would block). */
#ifndef IO_REAL_H
#define IO_REAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "io/internal.h"

#define NS_PER_S UINT64_C(1000000000)

struct uring;

/* The clock that only runs on, for any thread. */
static inline uint64_t real_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

/* How the threads of a pool are made. */
struct threads_options {
    unsigned thread_max;
    size_t stack_bytes;
    int niceness; /* added to the process's */
};

/* A few threads that take blocking operations from a queue. Started when first needed. */
struct threads {
    struct real *real;
    struct threads_options options;
    pthread_mutex_t lock;
    pthread_cond_t more;
    pthread_cond_t hurry; /* a job that pauses was cancelled */
    struct list jobs;     /* submitted, not yet taken */
    struct list done;     /* finished, not yet collected */
    unsigned job_count;
    unsigned idle_count; /* threads that wait for a job */
    unsigned thread_count;
    bool stopping;
    atomic_bool has_done; /* spares the loop the lock */
    pthread_t threads[8];
};

struct real {
    struct io io;
    int epoll_fd;
    /* Ends a wait: written by io_wake, the pool and the ring. It is watched edge-triggered and
     * never read: each write is an edge. */
    int event_fd;
    atomic_bool sleeping;     /* the loop is in, or about to enter, a wait */
    atomic_bool wake_pending; /* io_wake was called since the wake callback last ran */
    struct list socks;
    struct list done; /* operations whose callbacks are due */
    struct epoll_event *events;
    int event_count;     /* of the batch that is being handed out */
    unsigned in_flight;  /* operations submitted and not called back */
    struct uring *uring; /* NULL: the pool does disk work */
    struct threads pool;
    struct threads unlinks; /* apart, so that a large file never holds up reads and flushes */
    struct threads jobs;
    bool read_nowait; /* the system knows RWF_NOWAIT */
    uint64_t random[32];
    unsigned random_left;
};

/* Small buffered writes go straight to the page cache: io_uring would hand them to a kernel
 * thread, which costs more than the copy. */
#define WRITE_INLINE_BYTES_MAX (1 << 20)
/* Whoever writes meanwhile waits for a step at most: a millisecond on a disk that is told which
 * blocks are free. The pause is so many times as long as the step took. */
#define UNLINK_STEP_BYTES   (4 << 20)
#define UNLINK_PAUSE_FACTOR 9
#define UNLINK_PAUSE_MIN_NS 1000000
#define UNLINK_PAUSE_MAX_NS 20000000

static inline struct real *real_of(struct io *io)
{
    return CONTAINER_OF(io, struct real, io);
}

/* Ends the loop's wait, if it waits. Any thread. */
void real_notify(struct real *real);
/* Puts an operation's result where the loop finds it. The loop's thread only. */
void real_complete(struct real *real, struct io_op *op);

/* io_file.c */
void real_submit(struct io *io, struct io_op *op);
void real_job_hurry(struct io *io, struct io_job *job);
/* Does the operation, blocking; sets its result. Any thread. */
void file_op_perform(struct io_op *op);
enum err file_open(struct io *io, const char *path, int flags, struct io_file *file) MUST_USE;
void file_close(struct io *io, struct io_file file);
enum err file_stat_path(struct io *io, const char *path, struct io_stat *out) MUST_USE;
enum err file_stat(struct io *io, struct io_file file, struct io_stat *out) MUST_USE;
enum err file_list(struct io *io, const char *dir, io_list_fn *fn, void *arg) MUST_USE;
enum err file_mkdir(struct io *io, const char *path) MUST_USE;
enum err file_rmdir(struct io *io, const char *path) MUST_USE;
enum err file_rename(struct io *io, const char *from, const char *to) MUST_USE;
enum err file_unlink_now(struct io *io, const char *path) MUST_USE;
enum err file_truncate(struct io *io, struct io_file file, uint64_t size) MUST_USE;
enum err file_reserve(struct io *io, struct io_file file, uint64_t size) MUST_USE;
enum err file_read_now(struct io *io, struct io_file file, void *data, size_t len, uint64_t offset,
                       size_t *moved) MUST_USE;
enum err file_write_now(struct io *io, struct io_file file, const void *data, size_t len,
                        uint64_t offset) MUST_USE;
enum err file_sync_now(struct io *io, struct io_file file) MUST_USE;
enum err file_sync_dir(struct io *io, const char *dir) MUST_USE;
enum err file_lock(struct io *io, struct io_file file) MUST_USE;
enum err file_space(struct io *io, const char *path, uint64_t *total, uint64_t *usable) MUST_USE;

/* io_sock.c */
enum err sock_listen(struct io *io, struct io_sock *sock, const char *host, uint16_t port,
                     int backlog, bool shared, struct io_addr *bound) MUST_USE;
enum err sock_accept(struct io *io, struct io_sock *listener, struct io_sock *sock,
                     struct io_addr *peer) MUST_USE;
enum err sock_connect(struct io *io, struct io_sock *sock, const char *host,
                      uint16_t port) MUST_USE;
void sock_watch(struct io *io, struct io_sock *sock, unsigned ready);
enum err sock_read(struct io *io, struct io_sock *sock, void *data, size_t len,
                   size_t *moved) MUST_USE;
enum err sock_write(struct io *io, struct io_sock *sock, const struct slice *slices, size_t count,
                    size_t *moved) MUST_USE;
uint32_t sock_trip_us(const struct io_sock *sock);
void sock_close(struct io *io, struct io_sock *sock);
int sock_release(struct io *io, struct io_sock *sock);
void sock_adopt(struct io *io, struct io_sock *sock, int fd);

/* io_threads.c */
enum err threads_init(struct threads *pool, struct real *real,
                      const struct threads_options *options) MUST_USE;
void threads_deinit(struct threads *pool);
void threads_submit(struct threads *pool, struct io_op *op);
/* A cancelled job of the pool does not pause any longer. */
void threads_hurry(struct threads *pool);
/* Hands finished operations to real_complete. */
void threads_collect(struct threads *pool);

/* io_uring.c */
/* Setup flags that the ring does without if the kernel refuses them; tests pass fewer. */
extern const unsigned uring_flags_wanted;
/* ERR_UNSUPPORTED where the kernel, or the container, has no io_uring. */
enum err uring_create(struct real *real, unsigned flags, struct uring **uring) MUST_USE;
void uring_destroy(struct uring *uring);
void uring_submit(struct uring *uring, struct io_op *op);
/* Tells the kernel what was submitted since the last flush: one system call, or none. False when
 * the kernel, short of memory for a moment, did not take all of it: flush again soon. */
bool uring_flush(struct uring *uring) MUST_USE;
/* Hands finished operations to real_complete. */
void uring_collect(struct uring *uring);

/* io_epoll.c */
enum err real_create_with(enum io_disk disk, unsigned uring_flags, struct io **io) MUST_USE;

#endif
