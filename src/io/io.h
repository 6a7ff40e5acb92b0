/* The one seam to the outside: files, sockets, timers, clocks, entropy.
 *
 * A `struct io` belongs to one shard and is used from its thread only; io_wake is the exception.
 * There are two kinds: the real one (io_real_create: epoll for sockets, io_uring or a small thread
 * pool for disk) and the simulator's. Callbacks run from io_run_once only, never inside the call
 * that started the operation, so a caller's invariants hold when its own callbacks run.
 *
 * Files have two ways in. Data moves by operations that complete later (io_read, io_write,
 * io_sync, io_unlink): the caller embeds a `struct io_op` and lends it, and the memory it points
 * to, until its callback. Names and recovery use calls that block (io_open, io_rename,
 * io_read_now ...): they run at start, at stop and where a file is rolled.
 *
 * Sockets are told when they are ready (level-triggered) and are then read and written without
 * blocking: an idle connection needs no buffer. */
#ifndef IO_IO_H
#define IO_IO_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/heap.h"
#include "base/histogram.h"
#include "base/list.h"

struct io;

/* --- time and chance --- */

/* Monotonic; the time at which the current turn of the loop began. */
uint64_t io_now_ns(const struct io *io);
static inline uint64_t io_now_ms(const struct io *io)
{
    return io_now_ns(io) / 1000000;
}
/* Monotonic, read at the call: for measuring inside of a turn. */
uint64_t io_clock_ns(const struct io *io);
/* Milliseconds since 1970, as records carry it; the same for a whole turn of the loop. */
int64_t io_wall_ms(const struct io *io);
/* From the system's entropy, or from the simulation's seed. */
uint64_t io_random(struct io *io);

struct io_timer;
typedef void io_timer_fn(struct io_timer *timer);

struct io_timer {
    struct heap_node node; /* keyed by the time it is due, io_now_ns scale */
    io_timer_fn *fn;
    bool armed;
};

void io_timer_init(struct io_timer *timer, io_timer_fn *fn);
/* Arms it, or moves it; it fires once at or after at_ns. */
void io_timer_start(struct io *io, struct io_timer *timer, uint64_t at_ns);
void io_timer_stop(struct io *io, struct io_timer *timer); /* harmless when not armed */

/* --- files --- */

struct io_file {
    int fd; /* the simulator's are its own numbers */
};

#define IO_FILE_NONE          ((struct io_file){-1})
#define IO_FILE_IS_NONE(file) ((file).fd < 0)

struct io_op;
typedef void io_done(struct io_op *op);

enum io_kind {
    IO_READ,
    IO_READ_CACHED,
    IO_READ_DISK,
    IO_WRITE,
    IO_WRITE_DURABLE,
    IO_SYNC,
    IO_UNLINK,
    IO_JOB
};

struct io_op {
    struct list link; /* the io's while submitted */
    io_done *done;
    enum io_kind kind;
    struct io_file file;
    void *data;
    size_t len;
    uint64_t offset;
    const char *path;      /* IO_UNLINK */
    uint64_t submitted_ns; /* IO_SYNC, IO_WRITE_DURABLE */
    /* Results. */
    enum err err;
    size_t moved; /* bytes; less than len only for a read that met the end of the file */
};

/* A read that meets the end of the file is no error: `moved` says how far it came. */
void io_read(struct io *io, struct io_op *op, struct io_file file, void *data, size_t len,
             uint64_t offset, io_done *done);
/* The same, if all of it is in the page cache; else ERR_AGAIN, and `moved` says nothing. */
void io_read_cached(struct io *io, struct io_op *op, struct io_file file, void *data, size_t len,
                    uint64_t offset, io_done *done);
/* The same for what is surely not there: waits for the disk even where that could be avoided. */
void io_read_disk(struct io *io, struct io_op *op, struct io_file file, void *data, size_t len,
                  uint64_t offset, io_done *done);
/* Writes all of it or fails. Overlapping writes are ordered by the caller. */
void io_write(struct io *io, struct io_op *op, struct io_file file, const void *data, size_t len,
              uint64_t offset, io_done *done);
/* As io_write, and done means that these bytes are on the disk, whatever becomes of the rest of the
 * file. On a file that was opened with IO_OPEN_DIRECT, memory, length and offset are multiples of
 * IO_DIRECT_ALIGN. */
void io_write_durable(struct io *io, struct io_op *op, struct io_file file, const void *data,
                      size_t len, uint64_t offset, io_done *done);
/* fdatasync: covers every write to the file that was complete when it was submitted. */
void io_sync(struct io *io, struct io_op *op, struct io_file file, io_done *done);
/* Removes a file without stalling the caller or other files' writers, however large it is.
 * `path` is lent until done. */
void io_unlink(struct io *io, struct io_op *op, const char *path, io_done *done);

enum io_open_flags {
    IO_OPEN_READ = 0,
    IO_OPEN_WRITE = 1,     /* read and write */
    IO_OPEN_CREATE = 2,    /* create if it is not there (implies write) */
    IO_OPEN_EXCLUSIVE = 4, /* with create: ERR_EXISTS if it is there */
    IO_OPEN_TRUNCATE = 8,
    IO_OPEN_DIRECT = 16, /* past the page cache, where the file system lets us */
};

/* What every disk and file system takes for IO_OPEN_DIRECT. */
#define IO_DIRECT_ALIGN 4096

struct io_stat {
    uint64_t size;
    int64_t modified_ms; /* since 1970 */
    bool is_dir;
};

/* One name in a folder; valid during the callback. */
typedef enum err io_list_fn(void *arg, const char *name, bool is_dir);

enum err io_open(struct io *io, const char *path, int flags, struct io_file *file) MUST_USE;
void io_close(struct io *io, struct io_file file);
enum err io_stat_path(struct io *io, const char *path, struct io_stat *out) MUST_USE;
enum err io_stat_file(struct io *io, struct io_file file, struct io_stat *out) MUST_USE;
/* Stops at, and returns, the first error of the callback. */
enum err io_list(struct io *io, const char *dir, io_list_fn *fn, void *arg) MUST_USE;
enum err io_mkdir(struct io *io, const char *path) MUST_USE; /* one level; ERR_EXISTS if there */
enum err io_rmdir(struct io *io, const char *path) MUST_USE;
enum err io_rename(struct io *io, const char *from, const char *to) MUST_USE;
enum err io_unlink_now(struct io *io, const char *path) MUST_USE;
/* Also gives back what io_reserve took past `size`. */
enum err io_truncate(struct io *io, struct io_file file, uint64_t size) MUST_USE;
/* Takes blocks of the device for the file up to `size`; the file's own size stays. ERR_NOSPACE, or
 * ERR_UNSUPPORTED where the file system has no such thing. */
enum err io_reserve(struct io *io, struct io_file file, uint64_t size) MUST_USE;
enum err io_read_now(struct io *io, struct io_file file, void *data, size_t len, uint64_t offset,
                     size_t *moved) MUST_USE;
enum err io_write_now(struct io *io, struct io_file file, const void *data, size_t len,
                      uint64_t offset) MUST_USE;
enum err io_sync_now(struct io *io, struct io_file file) MUST_USE;
/* Makes the names in a folder durable. */
enum err io_sync_dir(struct io *io, const char *dir) MUST_USE;
/* Takes the file's advisory lock until it is closed; ERR_BUSY when another process has it. */
enum err io_lock(struct io *io, struct io_file file) MUST_USE;
/* Bytes of the device that holds the path. */
enum err io_space(struct io *io, const char *path, uint64_t *total, uint64_t *usable) MUST_USE;
/* Whole small file into memory (malloc; NUL-terminated past len); ERR_LIMIT over `limit`. */
enum err io_read_file(struct io *io, const char *path, size_t limit, uint8_t **data,
                      size_t *len) MUST_USE;
/* Replaces a file so that a crash leaves the old or the new one whole: written beside as
 * PATH.tmp, synced, renamed, and the folder synced. */
enum err io_replace_file(struct io *io, const char *path, struct slice content) MUST_USE;

/* --- long work beside the loop --- */

#define IO_JOB_DONE UINT64_MAX

struct io_job;
/* A bounded piece of a job, some milliseconds at most, on a thread beside the loop. It touches
 * what is the job's own and uses the file calls of `io` that block: no operations, no timers, no
 * chance, no clock but `now_ns` (the scale of io_now_ns). Returns for how many ns to pause before
 * the next piece, or IO_JOB_DONE. */
typedef uint64_t io_job_step(struct io_job *job, struct io *io, uint64_t now_ns);

/* Embedded by the caller and lent, with all that its steps touch, until op.done. */
struct io_job {
    struct io_op op; /* its err is the caller's to use */
    io_job_step *step;
    atomic_bool is_cancelled;
};

/* Runs the steps one after the other, then calls back from the loop. A few jobs run at once; the
 * others wait for one of those to end. */
void io_job_start(struct io *io, struct io_job *job, io_job_step *step, io_done *done);
/* No further step is begun, a pause ends, and `done` comes soon. Harmless at any time of a job. */
void io_job_cancel(struct io *io, struct io_job *job);

/* --- sockets --- */

enum io_ready {
    IO_READABLE = 1, /* also: the peer is gone, or an error waits; read tells */
    IO_WRITABLE = 2,
};

#define IO_ADDR_TEXT_MAX 64

struct io_addr {
    char host[IO_ADDR_TEXT_MAX]; /* numeric */
    uint16_t port;
};

struct io_sock;
typedef void io_sock_fn(struct io_sock *sock, unsigned ready);

/* Embedded by its owner; the io's from io_accept, io_connect or io_listen to io_sock_close. */
struct io_sock {
    struct list link;
    int fd;
    unsigned watched; /* enum io_ready bits */
    io_sock_fn *fn;
};

/* Listens on host ("" is every address) and port (0 picks one); *bound says where. With `shared`,
 * every shard may listen on the same address and the system spreads the connections. The
 * callback's IO_READABLE means io_accept has something. */
enum err io_listen(struct io *io, struct io_sock *sock, const char *host, uint16_t port,
                   int backlog, bool shared, io_sock_fn *fn, struct io_addr *bound) MUST_USE;
/* ERR_AGAIN when nothing waits. The new socket watches nothing yet. */
enum err io_accept(struct io *io, struct io_sock *listener, struct io_sock *sock, io_sock_fn *fn,
                   struct io_addr *peer) MUST_USE;
/* Returns at once; becomes writable when connected, or readable with the error. */
enum err io_connect(struct io *io, struct io_sock *sock, const char *host, uint16_t port,
                    io_sock_fn *fn) MUST_USE;
void io_sock_watch(struct io *io, struct io_sock *sock, unsigned ready);
/* At least one byte, ERR_AGAIN, ERR_CLOSED (the peer ended the stream) or an error. */
enum err io_sock_read(struct io *io, struct io_sock *sock, void *data, size_t len,
                      size_t *moved) MUST_USE;
/* Gathers `count` slices; ERR_AGAIN when nothing could be taken. */
enum err io_sock_write(struct io *io, struct io_sock *sock, const struct slice *slices,
                       size_t count, size_t *moved) MUST_USE;
/* How long the way there and back took of late, as the system measured it; 0: not known. */
uint32_t io_sock_trip_us(struct io *io, const struct io_sock *sock);
/* Ends it; no callback comes after. Safe inside the socket's own callback. */
void io_sock_close(struct io *io, struct io_sock *sock);
/* Hands the stream to another shard: release gives the descriptor up without closing it, adopt
 * takes it in on the other side. */
int io_sock_release(struct io *io, struct io_sock *sock);
void io_sock_adopt(struct io *io, struct io_sock *sock, int fd, io_sock_fn *fn);

/* --- the loop --- */

/* Called in the turn after a wake, or at the end of the turn that the wake came in. */
typedef void io_wake_fn(void *arg);
void io_on_wake(struct io *io, io_wake_fn *fn, void *arg);
/* From any thread: makes the io's current or next wait end and its wake callback run. Cheap when
 * the loop is awake. */
void io_wake(struct io *io);

/* One turn: waits for something to happen (at most max_wait_ns; UINT64_MAX: no bound), then runs
 * the callbacks that are due. */
void io_run_once(struct io *io, uint64_t max_wait_ns);

/* What a loop did since it was made. */
struct io_stats {
    uint64_t turn_count;
    uint64_t busy_ns;       /* in turns, the waits left out */
    uint64_t turn_max_ns;   /* the longest turn since it was last set to 0 */
    struct histogram syncs; /* from the call of io_sync until it has ended */
    struct histogram durable_writes;
    uint64_t sync_failures; /* of both */
};
struct io_stats *io_stats(struct io *io);

enum io_disk { IO_DISK_AUTO, IO_DISK_URING, IO_DISK_THREADS };

/* The real one. AUTO takes io_uring where the kernel allows it and threads elsewhere. */
enum err io_real_create(enum io_disk disk, struct io **io) MUST_USE;
/* Nothing may be in flight. */
void io_destroy(struct io *io);
/* For people: "epoll + io_uring". */
const char *io_describe(const struct io *io);

#endif
