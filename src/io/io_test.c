/* Goal: the real io keeps the promises of io.h, whichever way the disk is driven.
 * Method: every test runs on io_uring with all its flags, on io_uring without them, and on
 * threads, in a temporary folder and on loopback; wrong inputs and failing disks included. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/arena.h"
#include "io/io.h"
#include "io/real.h"

#define MIB ((size_t)1 << 20)

struct fixture {
    struct io *io;
    char dir[64];
    char path[128];
};

enum backend { URING, URING_PLAIN, THREADS };

static enum backend backend_now;

static enum err create_backend(struct io **io)
{
    switch (backend_now) {
    case URING:
        return io_real_create(IO_DISK_URING, io);
    case URING_PLAIN:
        return real_create_with(IO_DISK_URING, 0, io);
    case THREADS:
        break;
    }
    return io_real_create(IO_DISK_THREADS, io);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    strcpy(f->dir, "/tmp/io_test.XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->path, sizeof(f->path), "%s/file", f->dir);
    enum err err = create_backend(&f->io);
    if (err == ERR_UNSUPPORTED && backend_now != THREADS) {
        backend_now = THREADS; /* a system without io_uring: what it can do is tested */
        err = create_backend(&f->io);
    }
    assert_int_equal(err, ERR_OK);
    *state = f;
    return 0;
}

static enum err remove_entry(void *arg, const char *name, bool is_dir)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", (const char *)arg, name);
    return (is_dir ? rmdir(path) : unlink(path)) == 0 ? ERR_OK : ERR_IO;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(io_list(f->io, f->dir, remove_entry, f->dir), ERR_OK);
    assert_int_equal(rmdir(f->dir), 0);
    io_destroy(f->io);
    free(f);
    return 0;
}

/* A loop with nothing to do waits; it may wake early now and then. */
static void assert_sleeps(struct io *io)
{
    uint64_t start_ns = io_now_ns(io);
    int turns = 0;
    for (; io_now_ns(io) - start_ns < 20000000; turns++)
        io_run_once(io, 4000000);
    assert_true(turns <= 10);
}

/* --- operations --- */

struct waited_op {
    struct io_op op;
    bool done;
};

static void on_done(struct io_op *op)
{
    CONTAINER_OF(op, struct waited_op, op)->done = true;
}

static void wait_op(struct io *io, struct waited_op *w)
{
    assert_false(w->done); /* never inline */
    for (int i = 0; i < 10000 && !w->done; i++)
        io_run_once(io, 1000000000);
    assert_true(w->done);
}

static enum err op_write(struct io *io, struct io_file file, const void *data, size_t len,
                         uint64_t offset)
{
    struct waited_op w = {0};
    io_write(io, &w.op, file, data, len, offset, on_done);
    wait_op(io, &w);
    if (w.op.err == ERR_OK)
        assert_int_equal(w.op.moved, len);
    return w.op.err;
}

static enum err op_read(struct io *io, struct io_file file, void *data, size_t len, uint64_t offset,
                        size_t *moved)
{
    struct waited_op w = {0};
    io_read(io, &w.op, file, data, len, offset, on_done);
    wait_op(io, &w);
    *moved = w.op.moved;
    return w.op.err;
}

static enum err op_sync(struct io *io, struct io_file file)
{
    struct waited_op w = {0};
    io_sync(io, &w.op, file, on_done);
    wait_op(io, &w);
    return w.op.err;
}

static enum err op_unlink(struct io *io, const char *path)
{
    struct waited_op w = {0};
    io_unlink(io, &w.op, path, on_done);
    wait_op(io, &w);
    return w.op.err;
}

static struct io_file must_open(struct io *io, const char *path, int flags)
{
    struct io_file file;
    assert_int_equal(io_open(io, path, flags, &file), ERR_OK);
    return file;
}

static uint8_t *pattern(size_t len, unsigned salt)
{
    uint8_t *data = malloc(len);
    assert_non_null(data);
    for (size_t i = 0; i < len; i++)
        data[i] = (uint8_t)(i * 31 + i / 251 + salt);
    return data;
}

static void drop_cache(struct io_file file)
{
    assert_int_equal(fdatasync(file.fd), 0);
    assert_int_equal(posix_fadvise(file.fd, 0, 0, POSIX_FADV_DONTNEED), 0);
}

static void test_write_sync_read(void **state)
{
    struct fixture *f = *state;
    const size_t sizes[] = {1, 4096, MIB, MIB + 1, 5 * MIB + 3};
    struct io_file file = must_open(f->io, f->path, IO_OPEN_CREATE);
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        size_t len = sizes[i], moved;
        uint8_t *want = pattern(len, (unsigned)i), *got = calloc(1, len);
        assert_int_equal(op_write(f->io, file, want, len, 777), ERR_OK);
        assert_int_equal(op_sync(f->io, file), ERR_OK);
        for (int cold = 0; cold < 2; cold++) {
            if (cold)
                drop_cache(file);
            memset(got, 0, len);
            assert_int_equal(op_read(f->io, file, got, len, 777, &moved), ERR_OK);
            assert_int_equal(moved, len);
            assert_memory_equal(got, want, len);
        }
        free(want);
        free(got);
    }
    io_close(f->io, file);
}

/* With a buffer that is larger than what goes straight to the page cache, too. */
static void test_durable_write(void **state)
{
    struct fixture *f = *state;
    const int how[] = {IO_OPEN_CREATE, IO_OPEN_CREATE | IO_OPEN_DIRECT};
    const size_t len = 2 * MIB;
    uint8_t *want = aligned_alloc(IO_DIRECT_ALIGN, len);
    uint8_t *got = aligned_alloc(IO_DIRECT_ALIGN, len);
    assert_non_null(want);
    assert_non_null(got);
    for (size_t i = 0; i < ARRAY_LEN(how); i++) {
        size_t moved;
        struct waited_op w = {0};
        memset(want, 'a' + (int)i, len);
        struct io_file file = must_open(f->io, f->path, how[i]);
        io_write_durable(f->io, &w.op, file, want, len, IO_DIRECT_ALIGN, on_done);
        wait_op(f->io, &w);
        assert_int_equal(w.op.err, ERR_OK);
        assert_int_equal(w.op.moved, len);
        assert_int_equal(io_read_now(f->io, file, got, len, IO_DIRECT_ALIGN, &moved), ERR_OK);
        assert_int_equal(moved, len);
        assert_memory_equal(got, want, len);
        io_close(f->io, file);
    }
    struct waited_op w = {0};
    struct io_file reader = must_open(f->io, f->path, IO_OPEN_READ);
    io_write_durable(f->io, &w.op, reader, want, IO_DIRECT_ALIGN, 0, on_done);
    wait_op(f->io, &w);
    assert_int_not_equal(w.op.err, ERR_OK);
    io_close(f->io, reader);
    free(want);
    free(got);
}

static void test_read_at_end(void **state)
{
    struct fixture *f = *state;
    char got[64];
    size_t moved;
    struct io_file file = must_open(f->io, f->path, IO_OPEN_CREATE);
    assert_int_equal(op_read(f->io, file, got, sizeof(got), 0, &moved), ERR_OK);
    assert_int_equal(moved, 0);
    assert_int_equal(op_write(f->io, file, "0123456789", 10, 0), ERR_OK);
    for (int cold = 0; cold < 2; cold++) {
        if (cold)
            drop_cache(file);
        assert_int_equal(op_read(f->io, file, got, sizeof(got), 4, &moved), ERR_OK);
        assert_int_equal(moved, 6);
        assert_memory_equal(got, "456789", 6);
        assert_int_equal(op_read(f->io, file, got, sizeof(got), 10, &moved), ERR_OK);
        assert_int_equal(moved, 0);
        assert_int_equal(op_read(f->io, file, got, sizeof(got), 1 << 20, &moved), ERR_OK);
        assert_int_equal(moved, 0);
        assert_int_equal(op_read(f->io, file, got, 0, 3, &moved), ERR_OK);
    }
    assert_int_equal(io_read_now(f->io, file, got, sizeof(got), 8, &moved), ERR_OK);
    assert_int_equal(moved, 2);
    io_close(f->io, file);
}

static void test_wrong_files(void **state)
{
    struct fixture *f = *state;
    char got[16];
    size_t moved;
    struct io_file file = must_open(f->io, f->path, IO_OPEN_CREATE);
    io_close(f->io, file);

    struct io_file reader = must_open(f->io, f->path, IO_OPEN_READ);
    assert_int_not_equal(op_write(f->io, reader, "x", 1, 0), ERR_OK);
    uint8_t *large = pattern(2 * MIB, 0);
    assert_int_not_equal(op_write(f->io, reader, large, 2 * MIB, 0), ERR_OK);
    free(large);
    io_close(f->io, reader);

    struct io_file gone = {reader.fd};
    assert_int_not_equal(op_read(f->io, gone, got, sizeof(got), 0, &moved), ERR_OK);
    assert_int_not_equal(op_sync(f->io, gone), ERR_OK);

    struct io_file dir = must_open(f->io, f->dir, IO_OPEN_READ);
    assert_int_not_equal(op_read(f->io, dir, got, sizeof(got), 0, &moved), ERR_OK);
    io_close(f->io, dir);
}

/* More than the ring or the pool takes at once, each completing exactly once. */
static void test_many_at_once(void **state)
{
    struct fixture *f = *state;
    enum { COUNT = 700 };
    struct waited_op *ops = calloc(COUNT, sizeof(*ops));
    uint8_t *got = calloc(COUNT, 16), *want = pattern((size_t)COUNT * 16, 9);
    struct io_file file = must_open(f->io, f->path, IO_OPEN_CREATE);
    assert_int_equal(op_write(f->io, file, want, (size_t)COUNT * 16, 0), ERR_OK);
    drop_cache(file);
    for (size_t i = 0; i < COUNT; i++) {
        if (i % 50 == 49)
            io_sync(f->io, &ops[i].op, file, on_done);
        else
            io_read(f->io, &ops[i].op, file, got + i * 16, 16, i * 16, on_done);
    }
    for (size_t i = 0; i < COUNT; i++) {
        while (!ops[i].done)
            io_run_once(f->io, 1000000000);
        assert_int_equal(ops[i].op.err, ERR_OK);
        if (i % 50 != 49)
            assert_memory_equal(got + i * 16, want + i * 16, 16);
    }
    io_close(f->io, file);
    free(ops);
    free(got);
    free(want);
}

struct chain {
    struct io_op op;
    struct io *io;
    struct io_file file;
    int left;
    bool inside;
};

static void chain_next(struct io_op *op)
{
    struct chain *chain = CONTAINER_OF(op, struct chain, op);
    assert_false(chain->inside);
    assert_int_equal(op->err, ERR_OK);
    chain->inside = true;
    if (chain->left-- > 0)
        io_write(chain->io, &chain->op, chain->file, "abc", 3, (uint64_t)chain->left, chain_next);
    chain->inside = false;
}

/* A callback that submits again is not called inside itself, and the loop does not sleep on it. */
static void test_chain_does_not_wait(void **state)
{
    struct fixture *f = *state;
    struct chain chain = {.io = f->io, .left = 100};
    chain.file = must_open(f->io, f->path, IO_OPEN_CREATE);
    io_write(f->io, &chain.op, chain.file, "abc", 3, 0, chain_next);
    int turns = 0;
    for (; chain.left >= 0; turns++) {
        assert_true(turns < 200);
        io_run_once(f->io, UINT64_MAX);
    }
    io_close(f->io, chain.file);
}

/* --- a disk that refuses --- */

static void limited_child(struct fixture *f)
{
    signal(SIGXFSZ, SIG_IGN);
    struct io *io;
    if (create_backend(&io) != ERR_OK)
        _exit(10);
    struct rlimit limit = {100000, 100000};
    setrlimit(RLIMIT_FSIZE, &limit);
    struct io_file file;
    if (io_open(io, f->path, IO_OPEN_CREATE, &file) != ERR_OK)
        _exit(11);
    uint8_t *data = pattern(3 * MIB, 1);
    if (op_write(io, file, data, 4096, 0) != ERR_OK)
        _exit(12);
    if (op_write(io, file, data, 4096, 98000) != ERR_NOSPACE) /* partly fits */
        _exit(13);
    if (op_write(io, file, data, 3 * MIB, 4096) != ERR_NOSPACE)
        _exit(14);
    if (io_write_now(io, file, data, 4096, 200000) != ERR_NOSPACE)
        _exit(15);
    if (op_write(io, file, data, 4096, 4096) != ERR_OK) /* and goes on after */
        _exit(16);
    _exit(0);
}

static void test_no_space(void **state)
{
    struct fixture *f = *state;
    pid_t child = fork();
    if (child == 0)
        limited_child(f);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);

    struct io_file full = must_open(f->io, "/dev/full", IO_OPEN_WRITE);
    assert_int_equal(op_write(f->io, full, "x", 1, 0), ERR_NOSPACE);
    uint8_t *data = pattern(2 * MIB, 1);
    assert_int_equal(op_write(f->io, full, data, 2 * MIB, 0), ERR_NOSPACE);
    free(data);
    io_close(f->io, full);
}

static void test_reserve(void **state)
{
    struct fixture *f = *state;
    struct io_file file = must_open(f->io, f->path, IO_OPEN_CREATE);
    assert_int_equal(op_write(f->io, file, "data", 4, 0), ERR_OK);
    enum err err = io_reserve(f->io, file, 4 * MIB);
    struct stat found;
    struct io_stat stat;
    if (err == ERR_OK) { /* the file system can */
        assert_int_equal(fstat(file.fd, &found), 0);
        assert_true((uint64_t)found.st_blocks * 512 >= 4 * MIB);
        assert_int_equal(io_stat_file(f->io, file, &stat), ERR_OK);
        assert_int_equal(stat.size, 4);
        assert_int_equal(io_truncate(f->io, file, 4), ERR_OK);
        assert_int_equal(fstat(file.fd, &found), 0);
        assert_true((uint64_t)found.st_blocks * 512 < 4 * MIB);
        assert_int_equal(io_reserve(f->io, file, UINT64_C(1) << 55), ERR_NOSPACE);
    } else {
        assert_int_equal(err, ERR_UNSUPPORTED);
    }
    io_close(f->io, file);
}

/* --- names --- */

static void test_unlink(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(op_unlink(f->io, f->path), ERR_NOENT);
    const uint64_t sizes[] = {0, 10, 100 * MIB};
    struct io_stat stat;
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct io_file file = must_open(f->io, f->path, IO_OPEN_CREATE);
        assert_int_equal(io_truncate(f->io, file, sizes[i]), ERR_OK);
        io_close(f->io, file);
        assert_int_equal(op_unlink(f->io, f->path), ERR_OK);
        assert_int_equal(io_stat_path(f->io, f->path, &stat), ERR_NOENT);
    }
    assert_int_not_equal(op_unlink(f->io, f->dir), ERR_OK);

    /* A second name keeps all of the content. */
    char other[160];
    snprintf(other, sizeof(other), "%s2", f->path);
    struct io_file file = must_open(f->io, f->path, IO_OPEN_CREATE);
    assert_int_equal(io_truncate(f->io, file, 40 * MIB), ERR_OK);
    io_close(f->io, file);
    assert_int_equal(link(f->path, other), 0);
    assert_int_equal(op_unlink(f->io, f->path), ERR_OK);
    assert_int_equal(io_stat_path(f->io, other, &stat), ERR_OK);
    assert_int_equal(stat.size, 40 * MIB);
}

static enum err count_entry(void *arg, const char *name, bool is_dir)
{
    assert_true(name[0] != '.');
    *(int *)arg += is_dir ? 100 : 1;
    return ERR_OK;
}

static enum err refuse_entry(void *arg, const char *name, bool is_dir)
{
    (void)arg, (void)name, (void)is_dir;
    return ERR_LIMIT;
}

static void test_names(void **state)
{
    struct fixture *f = *state;
    char sub[160], moved[160];
    snprintf(sub, sizeof(sub), "%s/sub", f->dir);
    snprintf(moved, sizeof(moved), "%s/moved", f->dir);
    struct io_file file;
    struct io_stat stat;
    uint64_t total, usable;

    assert_int_equal(io_open(f->io, f->path, IO_OPEN_READ, &file), ERR_NOENT);
    assert_true(IO_FILE_IS_NONE(file));
    assert_int_equal(io_open(f->io, f->path, IO_OPEN_WRITE, &file), ERR_NOENT);
    file = must_open(f->io, f->path, IO_OPEN_CREATE | IO_OPEN_EXCLUSIVE);
    assert_int_equal(io_write_now(f->io, file, "hello", 5, 0), ERR_OK);
    assert_int_equal(io_stat_file(f->io, file, &stat), ERR_OK);
    assert_int_equal(stat.size, 5);
    assert_false(stat.is_dir);
    assert_true(stat.modified_ms > 1600000000000);
    io_close(f->io, file);
    assert_int_equal(io_open(f->io, f->path, IO_OPEN_CREATE | IO_OPEN_EXCLUSIVE, &file),
                     ERR_EXISTS);
    file = must_open(f->io, f->path, IO_OPEN_WRITE | IO_OPEN_TRUNCATE);
    assert_int_equal(io_stat_file(f->io, file, &stat), ERR_OK);
    assert_int_equal(stat.size, 0);
    io_close(f->io, file);

    assert_int_equal(io_mkdir(f->io, sub), ERR_OK);
    assert_int_equal(io_mkdir(f->io, sub), ERR_EXISTS);
    assert_int_equal(io_stat_path(f->io, sub, &stat), ERR_OK);
    assert_true(stat.is_dir);
    int seen = 0;
    assert_int_equal(io_list(f->io, f->dir, count_entry, &seen), ERR_OK);
    assert_int_equal(seen, 101);
    assert_int_equal(io_list(f->io, f->dir, refuse_entry, NULL), ERR_LIMIT);
    assert_int_equal(io_list(f->io, f->path, count_entry, &seen), ERR_NOENT);

    assert_int_equal(io_rename(f->io, f->path, moved), ERR_OK);
    assert_int_equal(io_rename(f->io, f->path, moved), ERR_NOENT);
    assert_int_equal(io_sync_dir(f->io, f->dir), ERR_OK);
    assert_int_equal(io_sync_dir(f->io, moved), ERR_NOENT);
    assert_int_equal(io_rmdir(f->io, sub), ERR_OK);
    assert_int_equal(io_rmdir(f->io, sub), ERR_NOENT);
    assert_int_equal(io_unlink_now(f->io, moved), ERR_OK);
    assert_int_equal(io_unlink_now(f->io, moved), ERR_NOENT);
    assert_int_equal(io_space(f->io, f->dir, &total, &usable), ERR_OK);
    assert_true(usable > 0 && usable <= total);
    assert_int_equal(io_space(f->io, moved, &total, &usable), ERR_NOENT);
}

static void test_whole_files(void **state)
{
    struct fixture *f = *state;
    uint8_t *data;
    size_t len;
    assert_int_equal(io_read_file(f->io, f->path, 100, &data, &len), ERR_NOENT);
    assert_int_equal(io_replace_file(f->io, f->path, slice_of("first", 5)), ERR_OK);
    assert_int_equal(io_replace_file(f->io, f->path, slice_of("next", 4)), ERR_OK);
    assert_int_equal(io_read_file(f->io, f->path, 4, &data, &len), ERR_OK);
    assert_int_equal(len, 4);
    assert_string_equal((char *)data, "next");
    free(data);
    assert_int_equal(io_read_file(f->io, f->path, 3, &data, &len), ERR_LIMIT);
    assert_null(data);
    int seen = 0;
    assert_int_equal(io_list(f->io, f->dir, count_entry, &seen), ERR_OK);
    assert_int_equal(seen, 1); /* nothing is left beside it */
    assert_int_equal(io_replace_file(f->io, "/nowhere/at/all", slice_of("x", 1)), ERR_NOENT);
    assert_int_not_equal(io_replace_file(f->io, f->dir, slice_of("x", 1)), ERR_OK);
    char beside[160];
    snprintf(beside, sizeof(beside), "%s.tmp", f->dir);
    assert_int_equal(access(beside, F_OK), -1);
    assert_int_not_equal(io_read_file(f->io, f->dir, 1 << 20, &data, &len), ERR_OK);
}

static void test_lock(void **state)
{
    struct fixture *f = *state;
    struct io_file mine = must_open(f->io, f->path, IO_OPEN_CREATE);
    struct io_file other = must_open(f->io, f->path, IO_OPEN_WRITE);
    assert_int_equal(io_lock(f->io, mine), ERR_OK);
    assert_int_equal(io_lock(f->io, other), ERR_BUSY);
    io_close(f->io, other); /* does not give up the lock of the first */
    pid_t child = fork();
    if (child == 0) {
        /* The process-wide kind, as the Java virtual machine takes it. */
        struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
        int fd = open(f->path, O_RDWR);
        _exit(fcntl(fd, F_SETLK, &lock) == 0 ? 1 : 0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    io_close(f->io, mine);
    other = must_open(f->io, f->path, IO_OPEN_WRITE);
    assert_int_equal(io_lock(f->io, other), ERR_OK);
    io_close(f->io, other);
}

/* --- timers --- */

struct waited_timer {
    struct io_timer timer;
    struct io *io;
    uint64_t fired_ns;
    int fired;
    uint64_t again_ns; /* 0: once */
    struct waited_timer *stops;
};

static void on_timer(struct io_timer *timer)
{
    struct waited_timer *w = CONTAINER_OF(timer, struct waited_timer, timer);
    assert_false(timer->armed);
    w->fired++;
    w->fired_ns = io_now_ns(w->io);
    if (w->stops)
        io_timer_stop(w->io, &w->stops->timer);
    if (w->again_ns)
        io_timer_start(w->io, timer, w->again_ns);
}

static void test_timers(void **state)
{
    struct fixture *f = *state;
    struct waited_timer t[4] = {0};
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        io_timer_init(&t[i].timer, on_timer);
        t[i].io = f->io;
    }
    io_run_once(f->io, 0);
    uint64_t start_ns = io_now_ns(f->io);
    io_timer_start(f->io, &t[0].timer, start_ns + 3000000);
    io_timer_start(f->io, &t[1].timer, start_ns + 900000000);
    io_timer_start(f->io, &t[1].timer, start_ns + 1000000); /* moved */
    io_timer_start(f->io, &t[2].timer, start_ns + 2000000);
    t[0].stops = &t[3];
    io_timer_start(f->io, &t[3].timer, start_ns + 3000000);
    io_timer_stop(f->io, &t[2].timer);
    io_timer_stop(f->io, &t[2].timer);
    while (!t[0].fired)
        io_run_once(f->io, UINT64_MAX);
    assert_int_equal(t[1].fired, 1);
    assert_int_equal(t[2].fired, 0);
    assert_int_equal(t[3].fired, 0); /* due in the same turn, stopped by the first */
    assert_true(t[1].fired_ns >= start_ns + 1000000);
    assert_true(t[0].fired_ns >= start_ns + 3000000);
    assert_true(t[0].fired_ns < start_ns + 500000000);

    /* One that is armed for the past each time does not keep a turn from ending. */
    t[2].again_ns = 1;
    io_timer_start(f->io, &t[2].timer, 1);
    io_run_once(f->io, UINT64_MAX);
    assert_int_equal(t[2].fired, 1);
    io_run_once(f->io, UINT64_MAX);
    assert_int_equal(t[2].fired, 2);
    io_timer_stop(f->io, &t[2].timer);

    assert_sleeps(f->io);
    assert_true(io_wall_ms(f->io) > 1600000000000);
    assert_true(io_random(f->io) != io_random(f->io));
}

/* --- wake --- */

struct waker {
    struct io *io;
    atomic_uint items; /* stands for a ring that the callback drains */
    unsigned woken;
    unsigned taken;
};

enum { WAKES = 20000, WAKERS = 3 };

static void *waker_main(void *arg)
{
    struct waker *waker = arg;
    for (int i = 0; i < WAKES; i++) {
        atomic_fetch_add_explicit(&waker->items, 1, memory_order_release);
        io_wake(waker->io);
        if (i % 64 == 0)
            nanosleep(&(struct timespec){0, 20000}, NULL);
    }
    return NULL;
}

static void on_wake(void *arg)
{
    struct waker *waker = arg;
    waker->woken++;
    waker->taken += atomic_exchange_explicit(&waker->items, 0, memory_order_acquire);
}

/* A lost wake would leave the loop asleep for ever: the test would not end. */
static void test_wake(void **state)
{
    struct fixture *f = *state;
    struct waker waker = {.io = f->io};
    pthread_t threads[WAKERS];
    io_on_wake(f->io, on_wake, &waker);
    io_wake(f->io); /* before a wait: the wait ends at once */
    io_run_once(f->io, UINT64_MAX);
    assert_int_equal(waker.woken, 1);
    for (int i = 0; i < WAKERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, waker_main, &waker), 0);
    while (waker.taken < WAKES * WAKERS)
        io_run_once(f->io, UINT64_MAX);
    for (int i = 0; i < WAKERS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(waker.taken, WAKES * WAKERS);
    unsigned woken = waker.woken;
    io_run_once(f->io, 0);
    io_run_once(f->io, 0);
    assert_true(waker.woken - woken <= 1); /* at most one that was still under way */
}

struct self_waker {
    struct io_op op;
    struct io *io;
    int woken;
};

static void on_self_wake(void *arg)
{
    ((struct self_waker *)arg)->woken++;
}

static void on_done_wake(struct io_op *op)
{
    io_wake(CONTAINER_OF(op, struct self_waker, op)->io);
}

/* A callback that wakes its own loop gets its wake at the end of the same turn. */
static void test_self_wake(void **state)
{
    struct fixture *f = *state;
    struct self_waker waker = {.io = f->io};
    io_on_wake(f->io, on_self_wake, &waker);
    struct io_file file = must_open(f->io, f->path, IO_OPEN_CREATE);
    io_write(f->io, &waker.op, file, "x", 1, 0, on_done_wake);
    io_run_once(f->io, UINT64_MAX);
    assert_int_equal(waker.woken, 1);
    io_run_once(f->io, 0);
    assert_int_equal(waker.woken, 1);
    io_close(f->io, file);
}

/* The loop may be made by one thread and turned by another. */
static void *turner_main(void *arg)
{
    struct fixture *f = arg;
    struct io_file file = must_open(f->io, f->path, IO_OPEN_CREATE);
    uint8_t *data = pattern(2 * MIB, 3);
    assert_int_equal(op_write(f->io, file, data, 2 * MIB, 0), ERR_OK);
    assert_int_equal(op_sync(f->io, file), ERR_OK);
    free(data);
    io_close(f->io, file);
    return NULL;
}

static void test_other_thread(void **state)
{
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, turner_main, *state), 0);
    pthread_join(thread, NULL);
}

/* --- sockets --- */

struct peer {
    struct io_sock sock;
    struct io *io;
    size_t got;
    size_t sent;
    size_t want; /* bytes to send */
    uint8_t *data;
    bool closed;
    bool connected;
    int calls;
    struct peer *closes; /* closed by this one's callback */
};

struct listener {
    struct io_sock sock;
    struct io *io;
    struct peer *accepted[8];
    size_t count;
    io_sock_fn *fn;
};

static void on_listener(struct io_sock *sock, unsigned ready)
{
    struct listener *l = CONTAINER_OF(sock, struct listener, sock);
    assert_int_equal(ready, IO_READABLE);
    struct io_addr from;
    enum err err;
    while ((err = io_accept(l->io, &l->sock, &l->accepted[l->count]->sock, l->fn, &from)) ==
           ERR_OK) {
        assert_string_equal(from.host, "127.0.0.1");
        assert_int_not_equal(from.port, 0);
        l->accepted[l->count]->io = l->io;
        io_sock_watch(l->io, &l->accepted[l->count]->sock, IO_READABLE);
        l->count++;
    }
    assert_int_equal(err, ERR_AGAIN);
}

static void on_echo(struct io_sock *sock, unsigned ready)
{
    struct peer *p = CONTAINER_OF(sock, struct peer, sock);
    p->calls++;
    assert_true(ready & IO_READABLE);
    uint8_t buf[100];
    size_t moved, put;
    enum err err = io_sock_read(p->io, sock, buf, sizeof(buf), &moved);
    if (err == ERR_CLOSED) {
        io_sock_close(p->io, sock);
        p->closed = true;
        return;
    }
    assert_int_equal(err, ERR_OK);
    p->got += moved;
    struct slice parts[3] = {{buf, moved / 2}, {NULL, 0}, {buf + moved / 2, moved - moved / 2}};
    assert_int_equal(io_sock_write(p->io, sock, parts, 3, &put), ERR_OK);
    assert_int_equal(put, moved);
}

static void on_client(struct io_sock *sock, unsigned ready)
{
    struct peer *p = CONTAINER_OF(sock, struct peer, sock);
    p->calls++;
    if (ready & IO_WRITABLE) {
        p->connected = true;
        io_sock_watch(p->io, sock, IO_READABLE);
    }
    if (!(ready & IO_READABLE))
        return;
    size_t moved;
    enum err err = io_sock_read(p->io, sock, p->data + p->got, 100000 - p->got, &moved);
    if (err == ERR_AGAIN)
        return;
    if (err != ERR_OK) {
        p->closed = true;
        io_sock_close(p->io, sock);
        return;
    }
    p->got += moved;
}

static void listener_open(struct listener *l, struct io *io, struct peer *peers, size_t count,
                          io_sock_fn *fn, struct io_addr *at)
{
    *l = (struct listener){.io = io, .fn = fn};
    assert_true(count < ARRAY_LEN(l->accepted));
    for (size_t i = 0; i <= count; i++)
        l->accepted[i] = &peers[i];
    assert_int_equal(io_listen(io, &l->sock, "127.0.0.1", 0, 16, true, on_listener, at), ERR_OK);
    assert_int_not_equal(at->port, 0);
    io_sock_watch(io, &l->sock, IO_READABLE);
}

static void test_echo(void **state)
{
    struct fixture *f = *state;
    struct peer server[2] = {0}, client = {.io = f->io, .data = calloc(1, 100000)};
    struct listener l;
    struct io_addr at;
    listener_open(&l, f->io, server, 1, on_echo, &at);
    assert_int_equal(io_connect(f->io, &client.sock, "127.0.0.1", at.port, on_client), ERR_OK);
    io_sock_watch(f->io, &client.sock, IO_WRITABLE);
    while (!client.connected)
        io_run_once(f->io, UINT64_MAX);
    for (size_t round = 1; round <= 20; round++) {
        size_t moved;
        struct slice hello = slice_of("hello", 5);
        assert_int_equal(io_sock_write(f->io, &client.sock, &hello, 1, &moved), ERR_OK);
        while (client.got < round * 5)
            io_run_once(f->io, UINT64_MAX);
    }
    assert_memory_equal(client.data, "hellohello", 10);
    assert_int_equal(client.calls, 21); /* nothing is called without a cause */

    char byte;
    size_t moved;
    assert_int_equal(io_sock_read(f->io, &client.sock, &byte, 1, &moved), ERR_AGAIN);
    assert_in_range(io_sock_trip_us(f->io, &client.sock), 1, 10000000);
    io_sock_close(f->io, &client.sock);
    while (!server[0].closed)
        io_run_once(f->io, UINT64_MAX);
    io_sock_close(f->io, &l.sock);
    free(client.data);
}

static void test_connect_fails(void **state)
{
    struct fixture *f = *state;
    struct peer server[2] = {0}, client = {.io = f->io, .data = calloc(1, 100000)};
    struct listener l;
    struct io_addr at;
    listener_open(&l, f->io, server, 1, on_echo, &at);
    struct io_sock second;
    struct io_addr at2;
    assert_int_equal(io_listen(f->io, &second, "127.0.0.1", at.port, 16, false, on_listener, &at2),
                     ERR_BUSY);
    assert_int_equal(io_listen(f->io, &second, "192.0.2.1", at.port, 16, false, on_listener, &at2),
                     ERR_IO);
    io_sock_close(f->io, &l.sock);

    enum err err = io_connect(f->io, &client.sock, "127.0.0.1", at.port, on_client);
    if (err == ERR_OK) {
        io_sock_watch(f->io, &client.sock, IO_READABLE);
        while (!client.closed)
            io_run_once(f->io, UINT64_MAX);
    }
    free(client.data);
}

static void on_never(struct io_sock *sock, unsigned ready)
{
    (void)sock, (void)ready;
    fail();
}

static void on_fill(struct io_sock *sock, unsigned ready)
{
    struct peer *p = CONTAINER_OF(sock, struct peer, sock);
    assert_int_equal(ready, IO_WRITABLE);
    p->calls++;
    while (p->sent < p->want) {
        struct slice part = slice_of(p->data + p->sent % 65536, 65536 - p->sent % 65536);
        size_t left = p->want - p->sent, moved;
        part.len = part.len < left ? part.len : left;
        enum err err = io_sock_write(p->io, sock, &part, 1, &moved);
        if (err == ERR_AGAIN)
            return;
        assert_int_equal(err, ERR_OK);
        p->sent += moved;
    }
    io_sock_watch(p->io, sock, 0);
}

/* A reader that does not read stops its writer and nobody else: the loop then sleeps. */
static void test_slow_reader(void **state)
{
    struct fixture *f = *state;
    struct peer server[2] = {0}, client = {.io = f->io, .data = pattern(65536, 5)};
    struct listener l;
    struct io_addr at;
    listener_open(&l, f->io, server, 1, on_never, &at);
    client.want = 32 * MIB;
    assert_int_equal(io_connect(f->io, &client.sock, "127.0.0.1", at.port, on_fill), ERR_OK);
    io_sock_watch(f->io, &client.sock, IO_WRITABLE);
    while (l.count == 0)
        io_run_once(f->io, UINT64_MAX);
    io_sock_watch(f->io, &server[0].sock, 0);
    for (int i = 0; i < 100; i++)
        io_run_once(f->io, 1000000);
    assert_true(client.sent > 0 && client.sent < client.want);
    int calls = client.calls;
    size_t sent = client.sent;
    for (int i = 0; i < 10; i++)
        io_run_once(f->io, 1000000);
    assert_int_equal(client.calls, calls);
    assert_int_equal(client.sent, sent);

    uint8_t *buf = malloc(MIB);
    size_t got = 0, moved;
    while (got < client.want) {
        enum err err = io_sock_read(f->io, &server[0].sock, buf, MIB, &moved);
        if (err == ERR_AGAIN) {
            io_run_once(f->io, 1000000);
            continue;
        }
        assert_int_equal(err, ERR_OK);
        for (size_t i = 0; i < moved; i += 997)
            assert_int_equal(buf[i], client.data[(got + i) % 65536]);
        got += moved;
    }
    /* The peer goes while nothing is watched: the loop must not turn for it. */
    io_sock_close(f->io, &server[0].sock);
    assert_sleeps(f->io);
    io_sock_close(f->io, &client.sock);
    io_sock_close(f->io, &l.sock);
    free(buf);
    free(client.data);
}

static void on_closes_other(struct io_sock *sock, unsigned ready)
{
    struct peer *p = CONTAINER_OF(sock, struct peer, sock);
    (void)ready;
    p->calls++;
    if (p->closes->sock.fd >= 0)
        io_sock_close(p->io, &p->closes->sock);
    io_sock_close(p->io, sock);
}

/* Both are ready in one batch; the first callback closes both; the second must not come. */
static void test_close_inside_callback(void **state)
{
    struct fixture *f = *state;
    struct peer server[3] = {0}, client[2] = {{.io = f->io}, {.io = f->io}};
    struct listener l;
    struct io_addr at;
    listener_open(&l, f->io, server, 2, on_closes_other, &at);
    for (int i = 0; i < 2; i++)
        assert_int_equal(io_connect(f->io, &client[i].sock, "127.0.0.1", at.port, on_client),
                         ERR_OK);
    while (l.count < 2)
        io_run_once(f->io, UINT64_MAX);
    server[0].closes = &server[1];
    server[1].closes = &server[0];
    struct slice byte = slice_of("x", 1);
    size_t moved;
    for (int i = 0; i < 2; i++)
        assert_int_equal(io_sock_write(f->io, &client[i].sock, &byte, 1, &moved), ERR_OK);
    for (int i = 0; i < 5; i++)
        io_run_once(f->io, 1000000);
    assert_int_equal(server[0].calls + server[1].calls, 1);

    /* And a peer that reset while we write is an error, not a signal. */
    enum err err = ERR_OK;
    for (int i = 0; i < 100 && err == ERR_OK; i++)
        err = io_sock_write(f->io, &client[0].sock, &byte, 1, &moved);
    assert_int_equal(err, ERR_CLOSED);
    for (int i = 0; i < 2; i++)
        io_sock_close(f->io, &client[i].sock);
    io_sock_close(f->io, &l.sock);
}

static void on_wake_closes(void *arg)
{
    struct peer *p = arg;
    if (p->sock.fd < 0)
        return;
    io_sock_close(p->io, &p->sock);
    p->sock.watched = IO_READABLE; /* as memory looks that somebody else has by now */
}

/* A socket is ready and the loop is woken in one turn; who was woken closes the socket, and its
 * memory is gone before the sockets' callbacks run. */
static void on_closed_ready(struct io_sock *sock, unsigned ready)
{
    (void)sock, (void)ready;
    fail_msg("a socket that was closed is told that it is ready");
}

/* A child that was just forked still has the descriptor, and so the system still has the file that
 * was watched: its events must not reach the socket that is gone. */
static void test_close_what_a_child_has(void **state)
{
    struct fixture *f = *state;
    int pair[2];
    struct io_sock *sock = calloc(1, sizeof(*sock));
    assert_non_null(sock);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    io_sock_adopt(f->io, sock, pair[0], on_closed_ready);
    io_sock_watch(f->io, sock, IO_READABLE);
    int childs = dup(pair[0]);
    assert_true(childs >= 0);
    io_sock_close(f->io, sock);
    free(sock);
    assert_int_equal(write(pair[1], "x", 1), 1);
    io_run_once(f->io, 0);
    assert_sleeps(f->io);
    close(childs);
    close(pair[1]);
}

static void test_close_inside_wake(void **state)
{
    struct fixture *f = *state;
    struct peer server[2] = {0}, client = {.io = f->io};
    struct listener l;
    struct io_addr at;
    listener_open(&l, f->io, server, 1, on_closes_other, &at);
    assert_int_equal(io_connect(f->io, &client.sock, "127.0.0.1", at.port, on_client), ERR_OK);
    while (l.count < 1)
        io_run_once(f->io, UINT64_MAX);
    server[0].closes = &server[0];
    struct slice byte = slice_of("x", 1);
    size_t moved;
    assert_int_equal(io_sock_write(f->io, &client.sock, &byte, 1, &moved), ERR_OK);
    io_on_wake(f->io, on_wake_closes, &server[0]);
    io_wake(f->io);
    for (int i = 0; i < 5; i++)
        io_run_once(f->io, 1000000);
    io_on_wake(f->io, NULL, NULL);
    assert_int_equal(server[0].calls, 0);
    io_sock_close(f->io, &client.sock);
    io_sock_close(f->io, &l.sock);
}

static void test_move_to_other_shard(void **state)
{
    struct fixture *f = *state;
    struct peer server[2] = {0}, client = {.io = f->io, .data = calloc(1, 100000)};
    struct listener l;
    struct io_addr at;
    struct io *other;
    assert_int_equal(create_backend(&other), ERR_OK);
    listener_open(&l, f->io, server, 1, on_never, &at);
    assert_int_equal(io_connect(f->io, &client.sock, "127.0.0.1", at.port, on_client), ERR_OK);
    io_sock_watch(f->io, &client.sock, IO_WRITABLE);
    while (!client.connected || l.count == 0)
        io_run_once(f->io, UINT64_MAX);
    int fd = io_sock_release(f->io, &server[0].sock);
    io_sock_adopt(other, &server[0].sock, fd, on_echo);
    server[0].io = other;
    io_sock_watch(other, &server[0].sock, IO_READABLE);
    struct slice hello = slice_of("hello", 5);
    size_t moved;
    assert_int_equal(io_sock_write(f->io, &client.sock, &hello, 1, &moved), ERR_OK);
    while (client.got < 5) {
        io_run_once(other, 1000000);
        io_run_once(f->io, 1000000);
    }
    io_sock_close(f->io, &client.sock);
    while (!server[0].closed)
        io_run_once(other, UINT64_MAX);
    io_sock_close(f->io, &l.sock);
    io_destroy(other);
    free(client.data);
}

/* --- jobs --- */

struct work {
    struct io_job job;
    pthread_t loop;
    struct io_file file;
    int steps, steps_max;
    uint64_t pause_ns;
    uint64_t first_ns, last_ns;
    bool is_beside_loop;
    bool is_done;
};

static uint64_t work_step(struct io_job *job, struct io *io, uint64_t now_ns)
{
    struct work *work = CONTAINER_OF(job, struct work, job);
    if (work->steps++ == 0)
        work->first_ns = now_ns;
    work->last_ns = now_ns;
    work->is_beside_loop = !pthread_equal(work->loop, pthread_self());
    uint8_t byte = (uint8_t)work->steps;
    job->op.err = io_write_now(io, work->file, &byte, 1, (uint64_t)work->steps - 1);
    return work->steps == work->steps_max ? IO_JOB_DONE : work->pause_ns;
}

static void on_work_done(struct io_op *op)
{
    struct work *work = CONTAINER_OF(op, struct work, job.op);
    assert_true(pthread_equal(work->loop, pthread_self()));
    assert_false(work->is_done);
    work->is_done = true;
}

static void work_start(struct fixture *f, struct work *work, int steps_max, uint64_t pause_ns)
{
    *work = (struct work){.loop = pthread_self(), .steps_max = steps_max, .pause_ns = pause_ns};
    assert_int_equal(io_open(f->io, f->path, IO_OPEN_CREATE | IO_OPEN_TRUNCATE, &work->file),
                     ERR_OK);
    io_job_start(f->io, &work->job, work_step, on_work_done);
    assert_false(work->is_done);
}

static void work_wait(struct fixture *f, struct work *work)
{
    while (!work->is_done)
        io_run_once(f->io, UINT64_MAX);
    io_close(f->io, work->file);
}

static void test_job(void **state)
{
    struct fixture *f = *state;
    struct work work;
    uint8_t bytes[8];
    size_t moved;
    work_start(f, &work, 5, 0);
    work_wait(f, &work);
    assert_int_equal(work.steps, 5);
    assert_int_equal(work.job.op.err, ERR_OK);
    assert_true(work.is_beside_loop);
    struct io_file file;
    assert_int_equal(io_open(f->io, f->path, IO_OPEN_READ, &file), ERR_OK);
    assert_int_equal(io_read_now(f->io, file, bytes, sizeof(bytes), 0, &moved), ERR_OK);
    assert_int_equal(moved, 5);
    io_close(f->io, file);
}

static void test_job_pauses(void **state)
{
    struct fixture *f = *state;
    struct work work;
    work_start(f, &work, 3, 5 * UINT64_C(1000000));
    work_wait(f, &work);
    assert_int_equal(work.steps, 3);
    assert_true(work.last_ns - work.first_ns >= 10 * UINT64_C(1000000));
}

static void test_job_is_cancelled(void **state)
{
    struct fixture *f = *state;
    struct work work;
    /* In a pause of hours, or before its first step: the one as the other ends soon. */
    for (int i = 0; i < 20; i++) {
        work_start(f, &work, 1000, UINT64_C(3600000000000));
        for (int turns = 0; turns < i % 3; turns++)
            io_run_once(f->io, 1000000);
        io_job_cancel(f->io, &work.job);
        io_job_cancel(f->io, &work.job);
        work_wait(f, &work);
        assert_in_range(work.steps, 0, 1);
    }
    /* After its end nothing happens. */
    io_job_cancel(f->io, &work.job);
}

/* More than there are threads: those that wait for one come later, and a cancelled one among them
 * without a step. */
static void test_many_jobs(void **state)
{
    struct fixture *f = *state;
    enum { JOBS = 20 };
    struct work work[JOBS];
    for (int i = 0; i < JOBS; i++)
        work_start(f, &work[i], 1 + i, i < 10 ? 100000 : 0);
    io_job_cancel(f->io, &work[JOBS - 1].job);
    for (int i = 0; i < JOBS; i++)
        work_wait(f, &work[i]);
    for (int i = 0; i < JOBS - 1; i++)
        assert_int_equal(work[i].steps, 1 + i);
}

static void test_describe(void **state)
{
    struct fixture *f = *state;
    assert_non_null(strstr(io_describe(f->io), backend_now == THREADS ? "threads" : "io_uring"));
    struct io *automatic;
    assert_int_equal(io_real_create(IO_DISK_AUTO, &automatic), ERR_OK);
    io_destroy(automatic);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_write_sync_read),
        T(test_durable_write),
        T(test_read_at_end),
        T(test_wrong_files),
        T(test_many_at_once),
        T(test_chain_does_not_wait),
        T(test_no_space),
        T(test_reserve),
        T(test_unlink),
        T(test_names),
        T(test_whole_files),
        T(test_lock),
        T(test_timers),
        T(test_wake),
        T(test_close_inside_wake),
        T(test_self_wake),
        T(test_other_thread),
        T(test_echo),
        T(test_connect_fails),
        T(test_slow_reader),
        T(test_close_inside_callback),
        T(test_close_what_a_child_has),
        T(test_move_to_other_shard),
        T(test_job),
        T(test_job_pauses),
        T(test_job_is_cancelled),
        T(test_many_jobs),
        T(test_describe),
    };
#undef T
    int failed = 0;
    for (int backend = URING; backend <= THREADS; backend++) {
        backend_now = (enum backend)backend;
        failed += cmocka_run_group_tests(tests, NULL, NULL);
    }
    return failed;
}
