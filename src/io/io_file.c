/* Files of the real system: the calls that block, and the way an operation takes.
 *
 * An operation that the page cache can serve at once is done inside the submitting call, and its
 * callback is queued: a write of at most WRITE_INLINE_BYTES_MAX, a read of cached pages
 * (RWF_NOWAIT). What would wait for the device goes to the ring or to the pool. A flush always
 * does.
 *
 * A crash in io_unlink leaves the file shorter, with its name. A file is truncated only if no
 * other name leads to it. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "io/real.h"

/* A file that may not grow further is a full disk to its writer. */
static enum err err_of_write(int errnum)
{
    return errnum == EFBIG ? ERR_NOSPACE : err_of_errno(errnum);
}

static enum err read_all(int fd, void *data, size_t len, uint64_t offset, size_t *moved)
{
    while (*moved < len) {
        ssize_t got =
            pread(fd, (char *)data + *moved, len - *moved, (off_t)(offset + (uint64_t)*moved));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return err_of_errno(errno);
        if (got == 0)
            return ERR_OK;
        *moved += (size_t)got;
    }
    return ERR_OK;
}

/* `flags`: 0 or RWF_DSYNC. */
static enum err write_all(int fd, const void *data, size_t len, uint64_t offset, int flags,
                          size_t *moved)
{
    while (*moved < len) {
        struct iovec iov = {(char *)(uintptr_t)data + *moved, len - *moved};
        ssize_t put = pwritev2(fd, &iov, 1, (off_t)(offset + (uint64_t)*moved), flags);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return err_of_write(errno);
        if (put == 0)
            return ERR_IO;
        *moved += (size_t)put;
    }
    return ERR_OK;
}

static enum err sync_file(int fd)
{
    while (fdatasync(fd) != 0) {
        if (errno != EINTR)
            return err_of_errno(errno);
    }
    return ERR_OK;
}

/* The disk is somebody else's nine tenths of the time; a slow one has work, and is not left with
 * files that pile up. */
static void pause_after(uint64_t took_ns)
{
    uint64_t pause_ns = took_ns * UNLINK_PAUSE_FACTOR;
    if (pause_ns < UNLINK_PAUSE_MIN_NS)
        pause_ns = UNLINK_PAUSE_MIN_NS;
    if (pause_ns > UNLINK_PAUSE_MAX_NS)
        pause_ns = UNLINK_PAUSE_MAX_NS;
    nanosleep(&(struct timespec){0, (long)pause_ns}, NULL);
}

/* Shortens a large file step by step, with pauses: everybody else's writes wait while the disk is
 * told of what became free, and, where the file system has a journal, while a commit frees it. A
 * GiB takes between a quarter of a second and five. */
static enum err shorten(int fd)
{
    struct stat stat;
    if (fstat(fd, &stat) != 0)
        return err_of_errno(errno);
    if (!S_ISREG(stat.st_mode) || stat.st_nlink != 1)
        return ERR_OK;
    for (off_t size = stat.st_size; size > UNLINK_STEP_BYTES;) {
        size -= UNLINK_STEP_BYTES;
        uint64_t began_ns = real_now_ns();
        if (ftruncate(fd, size) != 0)
            return err_of_errno(errno);
        pause_after(real_now_ns() - began_ns);
    }
    return ERR_OK;
}

static enum err unlink_in_steps(const char *path)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd >= 0) {
        enum err err = shorten(fd);
        close(fd);
        TRY(err);
    } else if (errno == ENOENT) {
        return ERR_NOENT;
    }
    return unlink(path) == 0 ? ERR_OK : err_of_errno(errno);
}

void file_op_perform(struct io_op *op)
{
    switch (op->kind) {
    case IO_READ:
    case IO_READ_CACHED:
    case IO_READ_DISK:
        op->err = read_all(op->file.fd, op->data, op->len, op->offset, &op->moved);
        break;
    case IO_WRITE:
        op->err = write_all(op->file.fd, op->data, op->len, op->offset, 0, &op->moved);
        break;
    case IO_WRITE_DURABLE:
        op->err = write_all(op->file.fd, op->data, op->len, op->offset, RWF_DSYNC, &op->moved);
        break;
    case IO_SYNC:
        op->err = sync_file(op->file.fd);
        break;
    case IO_UNLINK:
        op->err = unlink_in_steps(op->path);
        break;
    case IO_JOB:
        UNREACHABLE();
    }
}

/* Reads what is in the page cache. True if that was all; what is missing is left to do. */
static bool read_cached(struct real *real, struct io_op *op)
{
    while (op->moved < op->len && real->read_nowait) {
        struct iovec iov = {(char *)op->data + op->moved, op->len - op->moved};
        ssize_t got = preadv2(op->file.fd, &iov, 1, (off_t)(op->offset + op->moved), RWF_NOWAIT);
        if (got == 0)
            return true;
        if (got > 0) {
            op->moved += (size_t)got;
            continue;
        }
        if (errno == EINTR)
            continue;
        if (errno == ENOSYS)
            real->read_nowait = false;
        /* Any other error comes again, and is told, where the read is done in full. */
        return false;
    }
    return op->moved == op->len;
}

/* Asking with RWF_NOWAIT makes the kernel begin to read what is missing; this does not (Linux 6.5).
 */
static bool may_be_cached(const struct io_op *op)
{
    enum { CACHESTAT = 451 };
    struct {
        uint64_t offset, len;
    } range = {op->offset, op->len};
    struct {
        uint64_t cached, dirty, writeback, evicted, recently_evicted;
    } stat;
    if (syscall(CACHESTAT, op->file.fd, &range, &stat, 0) != 0)
        return true;
    uint64_t page = (uint64_t)sysconf(_SC_PAGE_SIZE);
    return stat.cached >= (op->offset + op->len - 1) / page - op->offset / page + 1;
}

static bool done_at_once(struct real *real, struct io_op *op)
{
    if (op->kind == IO_READ)
        return read_cached(real, op);
    if (op->kind == IO_READ_CACHED) {
        bool is_read = op->len == 0 || (may_be_cached(op) && read_cached(real, op));
        if (!is_read && real->read_nowait)
            op->err = ERR_AGAIN;
        return is_read || real->read_nowait;
    }
    if (op->kind == IO_WRITE && op->len <= WRITE_INLINE_BYTES_MAX) {
        file_op_perform(op);
        return true;
    }
    return false;
}

void real_submit(struct io *io, struct io_op *op)
{
    struct real *real = real_of(io);
    real->in_flight++;
    if (done_at_once(real, op))
        real_complete(real, op);
    else if (op->kind == IO_UNLINK)
        threads_submit(&real->unlinks, op);
    else if (op->kind == IO_JOB)
        threads_submit(&real->jobs, op);
    else if (real->uring)
        uring_submit(real->uring, op);
    else
        threads_submit(&real->pool, op);
}

void real_job_hurry(struct io *io, struct io_job *job)
{
    (void)job;
    threads_hurry(&real_of(io)->jobs);
}

enum err file_open(struct io *io, const char *path, int flags, struct io_file *file)
{
    (void)io;
    int how = O_CLOEXEC;
    how |= flags & (IO_OPEN_WRITE | IO_OPEN_CREATE | IO_OPEN_TRUNCATE) ? O_RDWR : O_RDONLY;
    how |= flags & IO_OPEN_CREATE ? O_CREAT : 0;
    how |= flags & IO_OPEN_EXCLUSIVE ? O_EXCL : 0;
    how |= flags & IO_OPEN_TRUNCATE ? O_TRUNC : 0;
    how |= flags & IO_OPEN_DIRECT ? O_DIRECT : 0;
    int fd;
    do {
        fd = open(path, how, 0644);
        if (fd < 0 && errno == EINVAL && (how & O_DIRECT)) {
            how &= ~O_DIRECT; /* as on tmpfs */
            errno = EINTR;
        }
    } while (fd < 0 && errno == EINTR);
    if (fd < 0)
        return err_of_errno(errno);
    file->fd = fd;
    return ERR_OK;
}

void file_close(struct io *io, struct io_file file)
{
    (void)io;
    close(file.fd);
}

static void stat_fill(const struct stat *stat, struct io_stat *out)
{
    *out = (struct io_stat){
        .size = (uint64_t)stat->st_size,
        .modified_ms = (int64_t)stat->st_mtim.tv_sec * 1000 + stat->st_mtim.tv_nsec / 1000000,
        .is_dir = S_ISDIR(stat->st_mode),
    };
}

enum err file_stat_path(struct io *io, const char *path, struct io_stat *out)
{
    (void)io;
    struct stat st;
    if (stat(path, &st) != 0)
        return err_of_errno(errno);
    stat_fill(&st, out);
    return ERR_OK;
}

enum err file_stat(struct io *io, struct io_file file, struct io_stat *out)
{
    (void)io;
    struct stat st;
    if (fstat(file.fd, &st) != 0)
        return err_of_errno(errno);
    stat_fill(&st, out);
    return ERR_OK;
}

static bool entry_is_dir(DIR *dir, const struct dirent *entry)
{
    if (entry->d_type != DT_UNKNOWN && entry->d_type != DT_LNK)
        return entry->d_type == DT_DIR;
    struct stat st;
    return fstatat(dirfd(dir), entry->d_name, &st, 0) == 0 && S_ISDIR(st.st_mode);
}

static enum err list_open_dir(DIR *dir, io_list_fn *fn, void *arg)
{
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(dir);
        if (!entry)
            return err_of_errno(errno);
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        TRY(fn(arg, entry->d_name, entry_is_dir(dir, entry)));
    }
}

enum err file_list(struct io *io, const char *path, io_list_fn *fn, void *arg)
{
    (void)io;
    DIR *dir = opendir(path);
    if (!dir)
        return err_of_errno(errno);
    enum err err = list_open_dir(dir, fn, arg);
    closedir(dir);
    return err;
}

enum err file_mkdir(struct io *io, const char *path)
{
    (void)io;
    return mkdir(path, 0755) == 0 ? ERR_OK : err_of_errno(errno);
}

enum err file_rmdir(struct io *io, const char *path)
{
    (void)io;
    return rmdir(path) == 0 ? ERR_OK : err_of_errno(errno);
}

enum err file_rename(struct io *io, const char *from, const char *to)
{
    (void)io;
    return rename(from, to) == 0 ? ERR_OK : err_of_errno(errno);
}

enum err file_unlink_now(struct io *io, const char *path)
{
    (void)io;
    return unlink(path) == 0 ? ERR_OK : err_of_errno(errno);
}

enum err file_truncate(struct io *io, struct io_file file, uint64_t size)
{
    (void)io;
    while (ftruncate(file.fd, (off_t)size) != 0) {
        if (errno != EINTR)
            return err_of_write(errno);
    }
    return ERR_OK;
}

enum err file_reserve(struct io *io, struct io_file file, uint64_t size)
{
    (void)io;
    while (fallocate(file.fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)size) != 0) {
        if (errno == EOPNOTSUPP || errno == ENOSYS)
            return ERR_UNSUPPORTED;
        if (errno != EINTR)
            return err_of_write(errno);
    }
    return ERR_OK;
}

enum err file_read_now(struct io *io, struct io_file file, void *data, size_t len, uint64_t offset,
                       size_t *moved)
{
    (void)io;
    return read_all(file.fd, data, len, offset, moved);
}

enum err file_write_now(struct io *io, struct io_file file, const void *data, size_t len,
                        uint64_t offset)
{
    (void)io;
    size_t moved = 0;
    return write_all(file.fd, data, len, offset, 0, &moved);
}

enum err file_sync_now(struct io *io, struct io_file file)
{
    (void)io;
    return sync_file(file.fd);
}

enum err file_sync_dir(struct io *io, const char *dir)
{
    (void)io;
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_of_errno(errno);
    enum err err = fsync(fd) == 0 ? ERR_OK : err_of_errno(errno);
    close(fd);
    return err;
}

/* A lock of the open file, not of the process: it stays when another descriptor of the same file
 * is closed, and it still excludes the process-wide kind that the Java program takes. */
enum err file_lock(struct io *io, struct io_file file)
{
    (void)io;
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(file.fd, F_OFD_SETLK, &lock) == 0)
        return ERR_OK;
    return errno == EAGAIN || errno == EACCES ? ERR_BUSY : err_of_errno(errno);
}

enum err file_space(struct io *io, const char *path, uint64_t *total, uint64_t *usable)
{
    (void)io;
    struct statvfs st;
    if (statvfs(path, &st) != 0)
        return err_of_errno(errno);
    *total = (uint64_t)st.f_blocks * st.f_frsize;
    *usable = (uint64_t)st.f_bavail * st.f_frsize;
    return ERR_OK;
}
