/* Goal: the simulated world keeps the promises of io.h and no more than those, is the same for the
 * same seed, and its crashes expose a program that acknowledges too early.
 * Method: a toy server appends numbers from a client to a file and acknowledges each after a
 * flush; it runs through crashes and faults under many seeds, once right and once with the flush
 * left out. Beside it, the disk's fates and the sockets one by one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "sim/world.h"

#define PORT 9092
#define S    UINT64_C(1000000000)

/* --- the toy: one connection at a time, eight bytes in, the same eight bytes out when durable ---
 */

struct toy {
    struct world_node *node;
    struct io *io;
    struct io_sock listener, conn;
    bool has_conn, is_busy, is_broken, flushes;
    struct io_file file;
    uint64_t size, number;
    uint8_t in[8];
    size_t in_len;
    struct io_op op;
};

static void toy_read(struct toy *toy);

static void toy_drop(struct toy *toy)
{
    if (toy->has_conn)
        io_sock_close(toy->io, &toy->conn);
    toy->has_conn = false;
    toy->in_len = 0;
}

static void toy_acknowledge(struct toy *toy)
{
    toy->is_busy = false;
    if (!toy->has_conn)
        return;
    struct slice reply = slice_of(&toy->number, sizeof(toy->number));
    size_t moved;
    if (io_sock_write(toy->io, &toy->conn, &reply, 1, &moved) != ERR_OK || moved != 8)
        toy_drop(toy); /* a reply cut short is none */
}

static void toy_on_synced(struct io_op *op)
{
    struct toy *toy = CONTAINER_OF(op, struct toy, op);
    if (op->err != ERR_OK) {
        toy->is_broken = true;
        toy_drop(toy);
        return;
    }
    toy_acknowledge(toy);
}

static void toy_on_written(struct io_op *op)
{
    struct toy *toy = CONTAINER_OF(op, struct toy, op);
    if (op->err != ERR_OK) {
        toy->is_broken = true;
        toy_drop(toy);
        return;
    }
    toy->size += 8;
    if (toy->flushes)
        io_sync(toy->io, op, toy->file, toy_on_synced);
    else
        toy_acknowledge(toy);
}

static void toy_on_conn(struct io_sock *sock, unsigned ready)
{
    (void)ready;
    toy_read(CONTAINER_OF(sock, struct toy, conn));
}

static void toy_read(struct toy *toy)
{
    size_t moved;
    if (toy->is_busy || toy->is_broken) {
        toy_drop(toy);
        return;
    }
    enum err err =
        io_sock_read(toy->io, &toy->conn, toy->in + toy->in_len, 8 - toy->in_len, &moved);
    if (err == ERR_AGAIN)
        return;
    if (err != ERR_OK) {
        toy_drop(toy);
        return;
    }
    toy->in_len += moved;
    if (toy->in_len < 8)
        return;
    memcpy(&toy->number, toy->in, 8);
    toy->in_len = 0;
    toy->is_busy = true;
    io_write(toy->io, &toy->op, toy->file, &toy->number, 8, toy->size, toy_on_written);
}

static void toy_on_listener(struct io_sock *sock, unsigned ready)
{
    (void)ready;
    struct toy *toy = CONTAINER_OF(sock, struct toy, listener);
    struct io_addr peer;
    struct io_sock next;
    enum err err = io_accept(toy->io, sock, &next, toy_on_conn, &peer);
    if (err == ERR_AGAIN)
        return;
    assert_int_equal(err, ERR_OK);
    toy_drop(toy);
    int fd = io_sock_release(toy->io, &next);
    io_sock_adopt(toy->io, &toy->conn, fd, toy_on_conn);
    toy->has_conn = true;
    io_sock_watch(toy->io, &toy->conn, IO_READABLE);
}

/* The file's folder is flushed before anything is acknowledged: names need it. A partial number
 * at the end is cut off. */
static enum err toy_open(struct toy *toy)
{
    struct io_stat stat;
    enum err err = io_mkdir(toy->io, "/data");
    if (err != ERR_OK && err != ERR_EXISTS)
        return err;
    TRY(io_sync_dir(toy->io, "/"));
    TRY(io_open(toy->io, "/data/file", IO_OPEN_CREATE, &toy->file));
    TRY(io_lock(toy->io, toy->file));
    TRY(io_sync_dir(toy->io, "/data"));
    TRY(io_stat_file(toy->io, toy->file, &stat));
    toy->size = stat.size - stat.size % 8;
    TRY(io_truncate(toy->io, toy->file, toy->size));
    return io_sync_now(toy->io, toy->file);
}

static void toy_start(struct world_node *node, void *arg)
{
    struct toy *toy = arg;
    bool flushes = toy->flushes;
    *toy = (struct toy){.node = node, .io = node->ios[0], .flushes = flushes};
    struct io_addr bound;
    if (toy_open(toy) != ERR_OK) {
        toy->is_broken = true;
        return;
    }
    assert_int_equal(
        io_listen(toy->io, &toy->listener, "", PORT, 16, true, toy_on_listener, &bound), ERR_OK);
    io_sock_watch(toy->io, &toy->listener, IO_READABLE);
}

/* --- its client: sends a number until it is acknowledged, then the next --- */

struct client {
    struct io *io;
    struct io_sock sock;
    bool is_open;
    struct io_timer timer;
    uint64_t number, acknowledged;
    size_t sent, got;
    uint8_t in[8];
};

static void client_connect(struct client *client);

static void client_retry(struct client *client)
{
    if (client->is_open)
        io_sock_close(client->io, &client->sock);
    client->is_open = false;
    io_timer_start(client->io, &client->timer, io_now_ns(client->io) + S / 10);
}

static void client_on_timer(struct io_timer *timer)
{
    struct client *client = CONTAINER_OF(timer, struct client, timer);
    if (client->is_open)
        client_retry(client);
    else
        client_connect(client);
}

static bool client_write(struct client *client)
{
    struct slice rest = {(const uint8_t *)&client->number + client->sent, 8 - client->sent};
    size_t moved;
    enum err err = io_sock_write(client->io, &client->sock, &rest, 1, &moved);
    client->sent += moved;
    io_sock_watch(client->io, &client->sock,
                  client->sent < 8 ? IO_READABLE | IO_WRITABLE : IO_READABLE);
    return err == ERR_OK || err == ERR_AGAIN;
}

static void client_on_sock(struct io_sock *sock, unsigned ready)
{
    struct client *client = CONTAINER_OF(sock, struct client, sock);
    if (ready & IO_WRITABLE && !client_write(client)) {
        client_retry(client);
        return;
    }
    if (!(ready & IO_READABLE))
        return;
    size_t moved;
    enum err err =
        io_sock_read(client->io, sock, client->in + client->got, 8 - client->got, &moved);
    if (err == ERR_AGAIN)
        return;
    if (err != ERR_OK) {
        client_retry(client);
        return;
    }
    client->got += moved;
    if (client->got < 8)
        return;
    assert_memory_equal(client->in, &client->number, 8);
    client->acknowledged = client->number++;
    client->got = client->sent = 0;
    io_timer_start(client->io, &client->timer, io_now_ns(client->io) + 5 * S);
    io_sock_watch(client->io, sock, IO_READABLE | IO_WRITABLE);
}

static void client_connect(struct client *client)
{
    client->sent = client->got = 0;
    client->is_open = true;
    assert_int_equal(io_connect(client->io, &client->sock, "n0", PORT, client_on_sock), ERR_OK);
    io_sock_watch(client->io, &client->sock, IO_READABLE | IO_WRITABLE);
    io_timer_start(client->io, &client->timer, io_now_ns(client->io) + 5 * S);
}

static void client_start(struct world_node *node, void *arg)
{
    struct client *client = arg;
    *client = (struct client){.io = node->ios[0], .number = 1};
    io_timer_init(&client->timer, client_on_timer);
    client_connect(client);
}

/* --- what came of it --- */

struct outcome {
    uint64_t trace, events, acknowledged, stored;
    bool in_order; /* the file holds 1.. in order, repeats allowed, nothing acknowledged missing */
};

static void judge(struct world_node *node, const struct client *client, struct outcome *outcome)
{
    struct disk_inode *inode;
    uint64_t last = 0;
    outcome->in_order = true;
    if (disk_find(&node->disk, "/data/file", &inode) == ERR_OK) {
        for (size_t at = 0; at + 8 <= inode->now.len; at += 8) {
            uint64_t number;
            memcpy(&number, inode->now.data + at, 8);
            if (number == last + 1)
                last = number;
        }
    }
    outcome->stored = last;
    outcome->acknowledged = client->acknowledged;
    if (last < client->acknowledged)
        outcome->in_order = false;
}

static uint64_t progress_wanted;

static bool has_progress(void *arg)
{
    return ((const struct client *)arg)->acknowledged >= progress_wanted;
}

static struct outcome run(uint64_t seed, bool flushes, bool faults)
{
    static struct world world;
    static struct toy toy;
    static struct client client;
    world_init(&world, seed);
    toy.flushes = flushes;
    if (faults)
        world.faults = world_faults_swarm(&world.rng);
    struct world_node *server = world_node_add(&world, 1, toy_start, NULL, &toy);
    struct world_node *clients = world_node_add(&world, 1, client_start, NULL, &client);
    world_node_start(server);
    world.faults.crash_inside *= faults ? 10 : 0;
    world_node_start(clients);
    for (int round = 0; round < 8; round++) {
        world_run(&world, world.now_ns + rng_below(&world.rng, S / 2), NULL, NULL);
        if (faults && server->is_up)
            world_node_crash(server);
        if (!server->is_up)
            world_node_start(server);
    }
    world.faults = world_faults_none();
    if (server->is_up)
        world_node_crash(server);
    world_node_start(server);
    uint64_t before = client.acknowledged;
    progress_wanted = before + 20;
    world_run(&world, world.now_ns + 30 * S, has_progress, &client);
    assert_true(client.acknowledged >= progress_wanted); /* healed */
    struct outcome outcome = {.trace = world.trace, .events = world.event_count};
    judge(server, &client, &outcome);
    world_deinit(&world);
    return outcome;
}

static void test_calm(void **state)
{
    (void)state;
    struct outcome outcome = run(1, true, false);
    assert_true(outcome.in_order);
    assert_true(outcome.acknowledged > 1000);
    assert_true(outcome.stored - outcome.acknowledged <= 1);
}

static void test_flushed_survives(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct outcome outcome = run(seed, true, true);
        assert_true(outcome.in_order);
    }
}

static void test_unflushed_is_lost(void **state)
{
    (void)state;
    int lost = 0;
    for (uint64_t seed = 1; seed <= 60; seed++)
        lost += !run(seed, false, true).in_order;
    assert_true(lost > 5);
}

static void test_same_seed_same_trace(void **state)
{
    (void)state;
    uint64_t last = 0;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        struct outcome a = run(seed, true, true), b = run(seed, true, true);
        assert_true(a.trace == b.trace);
        assert_true(a.events == b.events);
        assert_true(a.trace != last);
        last = a.trace;
    }
}

/* --- the disk alone --- */

static struct disk_inode *open_file(struct disk *disk, const char *path)
{
    struct disk_inode *inode;
    assert_int_equal(disk_open(disk, path, IO_OPEN_CREATE, 0, &inode), ERR_OK);
    return inode;
}

static bool exists(struct disk *disk, const char *path)
{
    struct disk_inode *inode;
    return disk_find(disk, path, &inode) == ERR_OK;
}

static void test_disk_names(void **state)
{
    (void)state;
    struct disk disk;
    struct disk_inode *inode;
    struct rng rng;
    rng_init(&rng, 7);
    disk_init(&disk);
    assert_int_equal(disk_mkdir(&disk, "/a/b", 0), ERR_NOENT);
    assert_int_equal(disk_mkdir(&disk, "a/", 0), ERR_OK);
    assert_int_equal(disk_mkdir(&disk, "./a", 0), ERR_EXISTS);
    assert_int_equal(disk_mkdir(&disk, "/", 0), ERR_EXISTS);
    open_file(&disk, "/a//x");
    assert_int_equal(disk_open(&disk, "/a/x", IO_OPEN_CREATE | IO_OPEN_EXCLUSIVE, 0, &inode),
                     ERR_EXISTS);
    assert_int_equal(disk_open(&disk, "/a", IO_OPEN_WRITE, 0, &inode), ERR_IO);
    assert_int_equal(disk_open(&disk, "/a/y", IO_OPEN_WRITE, 0, &inode), ERR_NOENT);
    assert_int_equal(disk_open(&disk, "/a/x/y", IO_OPEN_CREATE, 0, &inode), ERR_NOENT);
    assert_int_equal(disk_rmdir(&disk, "/a"), ERR_EXISTS);
    assert_int_equal(disk_rmdir(&disk, "/a/x"), ERR_NOENT);
    assert_int_equal(disk_unlink(&disk, "/a"), ERR_IO);
    assert_int_equal(disk_rename(&disk, "/a/x", "/x"), ERR_UNSUPPORTED);
    assert_int_equal(disk_rename(&disk, "/a/none", "/a/y"), ERR_NOENT);
    open_file(&disk, "/a/y");
    assert_int_equal(disk_rename(&disk, "/a/x", "/a/y"), ERR_OK);
    assert_false(exists(&disk, "/a/x"));
    assert_int_equal(disk_rename(&disk, "/a", "/b"), ERR_OK);
    assert_true(exists(&disk, "/b/y"));
    assert_int_equal(disk_unlink(&disk, "/b/y"), ERR_OK);
    assert_int_equal(disk_unlink(&disk, "/b/y"), ERR_NOENT);
    assert_int_equal(disk_rmdir(&disk, "/b"), ERR_OK);
    disk_deinit(&disk);
}

/* Unflushed names go, flushed ones stay; a rename is whole or not at all. */
static void test_disk_crash_names(void **state)
{
    (void)state;
    int lost = 0, renamed = 0;
    for (uint64_t seed = 0; seed < 100; seed++) {
        struct disk disk;
        struct rng rng;
        struct disk_inode *root;
        rng_init(&rng, seed);
        disk_init(&disk);
        open_file(&disk, "/kept");
        open_file(&disk, "/old");
        assert_int_equal(disk_find(&disk, "/", &root), ERR_OK);
        disk_changes_keep(root, disk_changes_mark(root));
        assert_int_equal(disk_rename(&disk, "/old", "/new"), ERR_OK);
        open_file(&disk, "/lost");
        disk_crash(&disk, DISK_CRASH_PROCESS, &rng);
        assert_true(exists(&disk, "/new") && exists(&disk, "/lost"));
        disk_crash(&disk, DISK_CRASH_POWER, &rng);
        assert_true(exists(&disk, "/kept"));
        assert_true(exists(&disk, "/old") != exists(&disk, "/new"));
        assert_false(exists(&disk, "/lost") && exists(&disk, "/old")); /* in order */
        lost += !exists(&disk, "/lost");
        renamed += exists(&disk, "/new");
        disk_deinit(&disk);
    }
    assert_true(lost > 10 && lost < 90);
    assert_true(renamed > 10 && renamed < 90);
}

static void test_disk_crash_content(void **state)
{
    (void)state;
    unsigned outcomes = 0;
    for (uint64_t seed = 0; seed < 200; seed++) {
        struct disk disk;
        struct rng rng;
        struct disk_inode *root;
        rng_init(&rng, seed);
        disk_init(&disk);
        struct disk_inode *file = open_file(&disk, "/f");
        assert_int_equal(disk_find(&disk, "/", &root), ERR_OK);
        disk_changes_keep(root, disk_changes_mark(root));
        uint8_t block[1000], got[3000];
        size_t moved;
        memset(block, 'a', sizeof(block));
        assert_int_equal(disk_write(&disk, file, block, 1000, 0, 0), ERR_OK);
        uint64_t mark = disk_changes_mark(file);
        memset(block, 'b', sizeof(block));
        assert_int_equal(disk_write(&disk, file, block, 1000, 1000, 0), ERR_OK);
        disk_changes_keep(file, mark); /* covers the first write only */
        disk_crash(&disk, DISK_CRASH_POWER, &rng);
        disk_read(file, got, sizeof(got), 0, &moved);
        assert_in_range(moved, 1000, 2000);
        for (size_t i = 0; i < 1000; i++)
            assert_int_equal(got[i], 'a');
        bool all = moved == 2000 && memcmp(got + 1000, block, 1000) == 0;
        outcomes |= moved == 1000 ? 1 : moved < 2000 ? 2 : all ? 4 : 8;
        disk_deinit(&disk);
    }
    assert_int_equal(outcomes, 15); /* dropped, torn, kept and garbled were all seen */
}

/* After a flush that failed a later one does not bring the bytes back. */
static void test_disk_failed_flush(void **state)
{
    (void)state;
    struct disk disk;
    struct rng rng;
    struct disk_inode *root;
    rng_init(&rng, 3);
    disk_init(&disk);
    struct disk_inode *file = open_file(&disk, "/f");
    assert_int_equal(disk_find(&disk, "/", &root), ERR_OK);
    disk_changes_keep(root, disk_changes_mark(root));
    assert_int_equal(disk_write(&disk, file, "gone", 4, 0, 0), ERR_OK);
    disk_changes_lose(file, disk_changes_mark(file));
    disk_changes_keep(file, disk_changes_mark(file));
    char got[4];
    size_t moved;
    disk_read(file, got, 4, 0, &moved);
    assert_int_equal(moved, 4); /* it looks as if it were there */
    disk_crash(&disk, DISK_CRASH_POWER, &rng);
    disk_read(file, got, 4, 0, &moved);
    assert_int_equal(moved, 0);
    disk_deinit(&disk);
}

/* A durable write survives by itself, and what was written under it before does not come back. */
static void test_disk_durable_write(void **state)
{
    (void)state;
    struct disk disk;
    struct rng rng;
    struct disk_inode *root;
    char got[8];
    size_t moved;
    for (uint64_t seed = 0; seed < 50; seed++) {
        rng_init(&rng, seed);
        disk_init(&disk);
        struct disk_inode *file = open_file(&disk, "/f");
        assert_int_equal(disk_find(&disk, "/", &root), ERR_OK);
        disk_changes_keep(root, disk_changes_mark(root));
        assert_int_equal(disk_write(&disk, file, "older", 5, 0, 0), ERR_OK);
        assert_int_equal(disk_write_durable(&disk, file, "NEWER", 5, 0, 0), ERR_OK);
        assert_int_equal(disk_write(&disk, file, "gone", 4, 5, 0), ERR_OK);
        disk_crash(&disk, DISK_CRASH_POWER, &rng);
        disk_read(file, got, sizeof(got), 0, &moved);
        assert_true(moved >= 5);
        assert_memory_equal(got, "NEWER", 5);
        assert_int_equal(disk_write_durable(&disk, root, "x", 1, 0, 0), ERR_IO);
        disk.bytes_max = disk_bytes(&disk);
        assert_int_equal(disk_write_durable(&disk, file, "xx", 2, file->now.len, 0), ERR_NOSPACE);
        disk_deinit(&disk);
    }
}

static void test_disk_space(void **state)
{
    (void)state;
    struct disk disk;
    disk_init(&disk);
    struct disk_inode *file = open_file(&disk, "/f");
    disk.bytes_max = 10;
    assert_int_equal(disk_write(&disk, file, "0123456789", 10, 0, 0), ERR_OK);
    assert_int_equal(disk_write(&disk, file, "x", 1, 10, 0), ERR_NOSPACE);
    assert_int_equal(disk_write(&disk, file, "x", 1, 9, 0), ERR_OK); /* an overwrite needs none */
    assert_int_equal(disk_truncate(&disk, file, 11, 0), ERR_NOSPACE);
    assert_int_equal(disk_truncate(&disk, file, 4, 0), ERR_OK);
    assert_int_equal(disk_bytes(&disk), 4);
    assert_int_equal(disk_truncate(&disk, file, 8, 0), ERR_OK);
    char got[8];
    size_t moved;
    disk_read(file, got, 8, 0, &moved);
    assert_memory_equal(got, "0123\0\0\0\0", 8);
    assert_int_equal(disk_unlink(&disk, "/f"), ERR_OK);
    assert_int_equal(disk_bytes(&disk), 0);
    disk_deinit(&disk);
}

/* --- jobs --- */

struct worker {
    struct io_job job;
    struct io *io;
    struct io_file file;
    int steps;
    uint64_t first_ns, last_ns;
    bool is_done, is_cancelled;
};

static uint64_t worker_step(struct io_job *job, struct io *io, uint64_t now_ns)
{
    struct worker *worker = CONTAINER_OF(job, struct worker, job);
    uint8_t byte = 7;
    if (worker->steps == 0)
        worker->first_ns = now_ns;
    worker->last_ns = now_ns;
    job->op.err = io_write_now(io, worker->file, &byte, 1, (uint64_t)worker->steps++);
    return worker->steps == 10 ? IO_JOB_DONE : S;
}

static void worker_done(struct io_op *op)
{
    CONTAINER_OF(op, struct worker, job.op)->is_done = true;
}

static void worker_start(struct world_node *node, void *arg)
{
    struct worker *worker = arg;
    worker->io = node->ios[0];
    worker->steps = 0;
    assert_int_equal(io_open(worker->io, "/w", IO_OPEN_CREATE, &worker->file), ERR_OK);
    io_job_start(worker->io, &worker->job, worker_step, worker_done);
    if (worker->is_cancelled)
        io_job_cancel(worker->io, &worker->job);
}

static void worker_crashed(struct world_node *node, void *arg)
{
    (void)node;
    (void)arg;
}

static bool worker_is_done(void *arg)
{
    return ((const struct worker *)arg)->is_done;
}

/* Steps and pauses are virtual time; a crash ends a job wherever it is; a cancelled one ends. */
static void test_jobs(void **state)
{
    (void)state;
    struct world world;
    struct worker worker = {0};
    world_init(&world, 1);
    struct world_node *node = world_node_add(&world, 1, worker_start, worker_crashed, &worker);
    world_node_start(node);
    world_run(&world, world.now_ns + 4 * S, worker_is_done, &worker);
    assert_false(worker.is_done);
    assert_in_range(worker.steps, 2, 5);
    world_node_crash(node);
    int steps = worker.steps;
    world_run(&world, world.now_ns + 20 * S, worker_is_done, &worker);
    assert_int_equal(worker.steps, steps);
    world_node_start(node);
    world_run(&world, world.now_ns + 20 * S, worker_is_done, &worker);
    assert_true(worker.is_done);
    assert_int_equal(worker.steps, 10);
    assert_true(worker.last_ns - worker.first_ns >= 9 * S);
    world_node_crash(node);
    worker.is_done = false;
    worker.is_cancelled = true;
    world_node_start(node);
    world_run(&world, world.now_ns + S, worker_is_done, &worker);
    assert_true(worker.is_done);
    assert_int_equal(worker.steps, 0);
    world_deinit(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_jobs),
        cmocka_unit_test(test_calm),
        cmocka_unit_test(test_flushed_survives),
        cmocka_unit_test(test_unflushed_is_lost),
        cmocka_unit_test(test_same_seed_same_trace),
        cmocka_unit_test(test_disk_names),
        cmocka_unit_test(test_disk_crash_names),
        cmocka_unit_test(test_disk_crash_content),
        cmocka_unit_test(test_disk_failed_flush),
        cmocka_unit_test(test_disk_durable_write),
        cmocka_unit_test(test_disk_space),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
