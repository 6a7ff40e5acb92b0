/* io.h for one shard of a simulated node: its files and its loop. Sockets: simnet.c.
 *
 * A turn is an event of the world. It comes when something happened to this io (an operation
 * ended, bytes came, a wake, a timer is due), a little later than it could. Within a turn the
 * callbacks run in the order of the real loop: wake, sockets, timers, operations.
 *
 * A write reaches the file at its completion; a crash before lets any prefix of it arrive. A
 * blocking call takes no virtual time, but a crash may strike before it: the program then stops
 * inside the call. */
#include "sim/simio.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

#define WALL_START_MS INT64_C(1790000000000)

/* Stands for an io_op that is under way; the op is its owner's memory. */
struct sim_op {
    struct list link;
    struct world_event event;
    struct sim_io *sim;
    struct io_op *op;
    uint64_t mark; /* IO_SYNC: what it covers */
};

static int64_t wall_ms(const struct sim_io *sim)
{
    return WALL_START_MS + (int64_t)(sim->world->now_ns / 1000000) + sim->node->wall_skew_ms;
}

/* --- files that are open --- */

static struct disk_inode *inode_of(struct sim_io *sim, struct io_file file)
{
    ASSERT(file.fd >= 0 && file.fd < sim->node->file_count);
    struct disk_inode *inode = sim->node->files[file.fd].inode;
    ASSERT(inode); /* closed: the program uses a file after its end */
    return inode;
}

/* Numbers are never given out twice, so that a use after close is seen. */
static int file_add(struct world_node *node, struct disk_inode *inode, bool is_on_second)
{
    if (node->file_count == node->file_cap) {
        node->file_cap = node->file_cap ? node->file_cap * 2 : 64;
        node->files = realloc(node->files, (size_t)node->file_cap * sizeof(*node->files));
        ASSERT(node->files);
    }
    node->files[node->file_count] = (struct world_file){inode, is_on_second};
    return node->file_count++;
}

/* --- the disk that fails as a whole --- */

static bool is_on_second(const char *path)
{
    size_t len = strlen(WORLD_SECOND_DISK);
    return strncmp(path, WORLD_SECOND_DISK, len) == 0 && (path[len] == '/' || path[len] == '\0');
}

static enum err check_path(const struct sim_io *sim, const char *path)
{
    return sim->node->second_disk_fails && is_on_second(path) ? ERR_IO : ERR_OK;
}

static enum err check_file(const struct sim_io *sim, struct io_file file)
{
    bool is_bad = sim->node->second_disk_fails && sim->node->files[file.fd].is_on_second;
    return is_bad ? ERR_IO : ERR_OK;
}

/* --- blocking calls --- */

/* Before each call that changes the disk. */
static void maybe_crash(struct sim_io *sim)
{
    struct world *world = sim->world;
    if (!world->running || !world_chance(world, world->faults.crash_inside))
        return;
    ASSERT(world->running == sim->node);
    world->crash_now = sim->node;
    longjmp(world->crash_jump, 1);
}

static void trace_call(struct sim_io *sim, const char *path, enum err err)
{
    world_trace(sim->world, TRACE_CALL, world_hash(path, strlen(path)), err);
}

static enum err sim_open(struct io *io, const char *path, int flags, struct io_file *file)
{
    struct sim_io *sim = sim_of(io);
    TRY(check_path(sim, path));
    if (flags != IO_OPEN_READ)
        maybe_crash(sim);
    struct disk_inode *inode;
    enum err err = disk_open(&sim->node->disk, path, flags, wall_ms(sim), &inode);
    trace_call(sim, path, err);
    TRY(err);
    file->fd = file_add(sim->node, inode, is_on_second(path));
    return ERR_OK;
}

static void sim_close(struct io *io, struct io_file file)
{
    struct sim_io *sim = sim_of(io);
    struct disk_inode *inode = inode_of(sim, file);
    if (inode->lock_holder == file.fd + 1)
        inode->lock_holder = 0;
    LIST_FOREACH (node, &sim->ops) {
        const struct io_op *op = LIST_ENTRY(node, struct sim_op, link)->op;
        ASSERT(op->kind == IO_UNLINK || op->file.fd != file.fd); /* closed under an operation */
    }
    sim->node->files[file.fd].inode = NULL;
}

static void stat_fill(const struct disk_inode *inode, struct io_stat *out)
{
    *out = (struct io_stat){inode->now.len, inode->modified_ms, inode->is_dir};
}

static enum err sim_stat_path(struct io *io, const char *path, struct io_stat *out)
{
    TRY(check_path(sim_of(io), path));
    struct disk_inode *inode;
    TRY(disk_find(&sim_of(io)->node->disk, path, &inode));
    stat_fill(inode, out);
    return ERR_OK;
}

static enum err sim_stat_file(struct io *io, struct io_file file, struct io_stat *out)
{
    stat_fill(inode_of(sim_of(io), file), out);
    return ERR_OK;
}

static int name_order(const void *a, const void *b)
{
    return strcmp(((const struct disk_entry *)a)->name, ((const struct disk_entry *)b)->name);
}

/* In an order that says nothing, as on a real disk; the callback may change the folder. */
static enum err sim_list(struct io *io, const char *path, io_list_fn *fn, void *arg)
{
    struct sim_io *sim = sim_of(io);
    TRY(check_path(sim, path));
    struct disk_inode *dir;
    TRY(disk_find(&sim->node->disk, path, &dir));
    if (!dir->is_dir)
        return ERR_NOENT;
    size_t count = dir->names_now.count;
    struct disk_entry *copy = calloc(count + 1, sizeof(*copy));
    ASSERT(copy);
    for (size_t i = 0; i < count; i++) {
        copy[i].name = strdup(dir->names_now.entries[i].name);
        copy[i].inode = dir->names_now.entries[i].inode;
    }
    qsort(copy, count, sizeof(*copy), name_order);
    for (size_t i = count; i > 1; i--) {
        size_t j = (size_t)rng_below(&sim->world->rng, i);
        struct disk_entry swap = copy[i - 1];
        copy[i - 1] = copy[j];
        copy[j] = swap;
    }
    enum err err = ERR_OK;
    for (size_t i = 0; i < count && err == ERR_OK; i++)
        err = fn(arg, copy[i].name, copy[i].inode->is_dir);
    for (size_t i = 0; i < count; i++)
        free(copy[i].name);
    free(copy);
    return err;
}

static enum err sim_mkdir(struct io *io, const char *path)
{
    struct sim_io *sim = sim_of(io);
    TRY(check_path(sim, path));
    maybe_crash(sim);
    enum err err = disk_mkdir(&sim->node->disk, path, wall_ms(sim));
    trace_call(sim, path, err);
    return err;
}

static enum err sim_rmdir(struct io *io, const char *path)
{
    struct sim_io *sim = sim_of(io);
    TRY(check_path(sim, path));
    maybe_crash(sim);
    enum err err = disk_rmdir(&sim->node->disk, path);
    trace_call(sim, path, err);
    return err;
}

static enum err sim_rename(struct io *io, const char *from, const char *to)
{
    struct sim_io *sim = sim_of(io);
    TRY(check_path(sim, to));
    maybe_crash(sim);
    enum err err = disk_rename(&sim->node->disk, from, to);
    trace_call(sim, to, err);
    return err;
}

static enum err sim_unlink_now(struct io *io, const char *path)
{
    struct sim_io *sim = sim_of(io);
    TRY(check_path(sim, path));
    maybe_crash(sim);
    enum err err = disk_unlink(&sim->node->disk, path);
    trace_call(sim, path, err);
    return err;
}

static enum err sim_truncate(struct io *io, struct io_file file, uint64_t size)
{
    struct sim_io *sim = sim_of(io);
    maybe_crash(sim);
    world_trace(sim->world, TRACE_CALL, (uint64_t)file.fd, size);
    TRY(check_file(sim, file));
    return disk_truncate(&sim->node->disk, inode_of(sim, file), size, wall_ms(sim));
}

/* Whether there is room now; nothing keeps it from others. */
static enum err sim_reserve(struct io *io, struct io_file file, uint64_t size)
{
    struct sim_io *sim = sim_of(io);
    maybe_crash(sim);
    world_trace(sim->world, TRACE_CALL, (uint64_t)file.fd, size);
    TRY(check_file(sim, file));
    return disk_reserve(&sim->node->disk, inode_of(sim, file), size);
}

static enum err sim_read_now(struct io *io, struct io_file file, void *data, size_t len,
                             uint64_t offset, size_t *moved)
{
    struct sim_io *sim = sim_of(io);
    const struct disk_inode *inode = inode_of(sim, file);
    TRY(check_file(sim, file));
    if (inode->is_dir || world_chance(sim->world, sim->world->faults.read_error))
        return ERR_IO;
    disk_read(inode, data, len, offset, moved);
    return ERR_OK;
}

/* What an interrupted write leaves behind: any beginning of it. */
static void write_prefix(struct sim_io *sim, struct disk_inode *inode, const void *data, size_t len,
                         uint64_t offset)
{
    size_t some = (size_t)rng_below(&sim->world->rng, len + 1);
    enum err err = disk_write(&sim->node->disk, inode, data, some, offset, wall_ms(sim));
    (void)err; /* that nothing of it fitted is one of the outcomes */
}

static enum err write_all(struct sim_io *sim, struct io_file file, const void *data, size_t len,
                          uint64_t offset)
{
    struct disk_inode *inode = inode_of(sim, file);
    TRY(check_file(sim, file));
    if (world_chance(sim->world, sim->world->faults.write_error)) {
        world_say(sim->world, "%s: a write fails", sim->node->host);
        write_prefix(sim, inode, data, len, offset);
        return ERR_IO;
    }
    enum err err = disk_write(&sim->node->disk, inode, data, len, offset, wall_ms(sim));
    if (err == ERR_NOSPACE)
        write_prefix(sim, inode, data, len, offset);
    return err;
}

/* A failed or interrupted one leaves what an ordinary write leaves that nobody flushed. */
static enum err write_all_durable(struct sim_io *sim, struct io_file file, const void *data,
                                  size_t len, uint64_t offset)
{
    struct disk_inode *inode = inode_of(sim, file);
    enum err err = ERR_NOSPACE;
    TRY(check_file(sim, file));
    if (world_chance(sim->world, sim->world->faults.write_error)) {
        world_say(sim->world, "%s: a durable write fails", sim->node->host);
        err = ERR_IO;
    } else {
        err = disk_write_durable(&sim->node->disk, inode, data, len, offset, wall_ms(sim));
    }
    if (err != ERR_OK)
        write_prefix(sim, inode, data, len, offset);
    return err;
}

static enum err sim_write_now(struct io *io, struct io_file file, const void *data, size_t len,
                              uint64_t offset)
{
    struct sim_io *sim = sim_of(io);
    maybe_crash(sim);
    world_trace(sim->world, TRACE_CALL, offset, world_hash(data, len));
    return write_all(sim, file, data, len, offset);
}

static enum err sync_upto(struct sim_io *sim, struct io_file file, uint64_t mark)
{
    struct disk_inode *inode = inode_of(sim, file);
    if (check_file(sim, file) != ERR_OK ||
        world_chance(sim->world, sim->world->faults.sync_error)) {
        world_say(sim->world, "%s: a flush fails", sim->node->host);
        disk_changes_lose(inode, mark);
        sim->has_untold_failure = true;
        return ERR_IO;
    }
    disk_changes_keep(inode, mark);
    return ERR_OK;
}

static enum err sim_sync_now(struct io *io, struct io_file file)
{
    struct sim_io *sim = sim_of(io);
    maybe_crash(sim);
    return sync_upto(sim, file, disk_changes_mark(inode_of(sim, file)));
}

static enum err sim_sync_dir(struct io *io, const char *path)
{
    struct sim_io *sim = sim_of(io);
    TRY(check_path(sim, path));
    maybe_crash(sim);
    struct disk_inode *dir;
    TRY(disk_find(&sim->node->disk, path, &dir));
    if (!dir->is_dir)
        return ERR_NOENT;
    /* Names are the journal's: a flush that fails there stops the whole file system, which a
     * crash stands for better than an error. */
    disk_changes_keep(dir, disk_changes_mark(dir));
    return ERR_OK;
}

static enum err sim_lock(struct io *io, struct io_file file)
{
    struct sim_io *sim = sim_of(io);
    struct disk_inode *inode = inode_of(sim, file);
    if (inode->lock_holder && inode->lock_holder != file.fd + 1)
        return ERR_BUSY;
    inode->lock_holder = file.fd + 1;
    return ERR_OK;
}

static enum err sim_space(struct io *io, const char *path, uint64_t *total, uint64_t *usable)
{
    TRY(check_path(sim_of(io), path));
    struct disk *disk = &sim_of(io)->node->disk;
    struct disk_inode *inode;
    TRY(disk_find(disk, path, &inode));
    uint64_t used = disk_bytes(disk);
    *total = disk->bytes_max == UINT64_MAX ? UINT64_C(1) << 40 : disk->bytes_max;
    *usable = used < *total ? *total - used : 0;
    return ERR_OK;
}

/* --- operations --- */

static void perform(struct sim_io *sim, struct sim_op *sim_op)
{
    struct io_op *op = sim_op->op;
    switch (op->kind) {
    case IO_READ_CACHED:
        if (rng_chance(&sim->world->rng, 1, 2)) {
            op->err = ERR_AGAIN;
            break;
        }
        op->err = sim_read_now(&sim->io, op->file, op->data, op->len, op->offset, &op->moved);
        break;
    case IO_READ:
    case IO_READ_DISK:
        op->err = sim_read_now(&sim->io, op->file, op->data, op->len, op->offset, &op->moved);
        break;
    case IO_WRITE:
        op->err = write_all(sim, op->file, op->data, op->len, op->offset);
        op->moved = op->err == ERR_OK ? op->len : 0;
        break;
    case IO_WRITE_DURABLE:
        op->err = write_all_durable(sim, op->file, op->data, op->len, op->offset);
        op->moved = op->err == ERR_OK ? op->len : 0;
        break;
    case IO_SYNC:
        op->err = sync_upto(sim, op->file, sim_op->mark);
        break;
    case IO_UNLINK:
        op->err = check_path(sim, op->path);
        if (op->err == ERR_OK)
            op->err = disk_unlink(&sim->node->disk, op->path);
        break;
    case IO_JOB:
        UNREACHABLE();
    }
}

static void end_op(struct sim_io *sim, struct sim_op *sim_op)
{
    list_remove(&sim_op->link);
    list_push_back(&sim->done, &sim_op->link);
    sim_io_kick(sim, sim->world->now_ns);
}

static void on_op_end(struct world_event *event)
{
    struct sim_op *sim_op = CONTAINER_OF(event, struct sim_op, event);
    struct sim_io *sim = sim_op->sim;
    perform(sim, sim_op);
    const struct io_op *op = sim_op->op;
    world_trace(sim->world, TRACE_OP, ((uint64_t)op->kind << 32) | op->err,
                op->kind <= IO_WRITE_DURABLE ? world_hash(op->data, op->moved) : 0);
    end_op(sim, sim_op);
}

/* One step of a job: an event of its own, so that everything can happen between two of them. */
static void on_job_step(struct world_event *event)
{
    struct sim_op *sim_op = CONTAINER_OF(event, struct sim_op, event);
    struct sim_io *sim = sim_op->sim;
    struct world *world = sim->world;
    struct io_job *job = CONTAINER_OF(sim_op->op, struct io_job, op);
    uint64_t pause_ns = IO_JOB_DONE;
    world_trace(world, TRACE_OP, (uint64_t)IO_JOB << 32, 0);
    if (!atomic_load(&job->is_cancelled)) {
        world->running = sim->node;
        pause_ns = job->step(job, &sim->io, world->now_ns);
        world->running = NULL;
    }
    if (pause_ns == IO_JOB_DONE)
        end_op(sim, sim_op);
    else
        world_schedule(world, event,
                       world->now_ns + pause_ns + world_delay_ns(world, &world->faults.disk_write));
}

static void sim_job_hurry(struct io *io, struct io_job *job)
{
    struct sim_io *sim = sim_of(io);
    LIST_FOREACH (node, &sim->ops) {
        struct sim_op *sim_op = LIST_ENTRY(node, struct sim_op, link);
        if (sim_op->op == &job->op)
            world_schedule(sim->world, &sim_op->event, sim->world->now_ns);
    }
}

static void sim_submit(struct io *io, struct io_op *op)
{
    struct sim_io *sim = sim_of(io);
    const struct world_faults *faults = &sim->world->faults;
    struct sim_op *sim_op = calloc(1, sizeof(*sim_op));
    ASSERT(sim_op);
    sim_op->sim = sim;
    sim_op->op = op;
    sim_op->event.fn = op->kind == IO_JOB ? on_job_step : on_op_end;
    if (op->kind == IO_SYNC)
        sim_op->mark = disk_changes_mark(inode_of(sim, op->file));
    const struct world_delay *delay = op->kind <= IO_READ_DISK ? &faults->disk_read
                                      : op->kind == IO_WRITE   ? &faults->disk_write
                                                               : &faults->disk_sync;
    list_push_back(&sim->ops, &sim_op->link);
    world_schedule(sim->world, &sim_op->event,
                   sim->world->now_ns + world_delay_ns(sim->world, delay));
}

/* --- the loop --- */

void sim_io_kick(struct sim_io *sim, uint64_t at_ns)
{
    uint64_t now_ns = sim->world->now_ns;
    uint64_t due_ns = at_ns > now_ns ? at_ns : now_ns;
    /* The loop is never so quick that nothing can come before it. */
    if (sim->turn.node.is_linked && sim->turn.node.key <= due_ns)
        return;
    due_ns += world_delay_ns(sim->world, &sim->world->faults.turn);
    if (!sim->turn.node.is_linked || sim->turn.node.key > due_ns)
        world_schedule(sim->world, &sim->turn, due_ns);
}

static void on_wake_event(struct world_event *event)
{
    struct sim_io *sim = CONTAINER_OF(event, struct sim_io, wake);
    world_trace(sim->world, TRACE_WAKE, sim->node->index, sim->index);
    sim->wake_pending = true;
    sim_io_kick(sim, sim->world->now_ns);
}

static void sim_wake(struct io *io)
{
    struct sim_io *sim = sim_of(io);
    if (!sim->wake.node.is_linked)
        world_schedule(sim->world, &sim->wake,
                       sim->world->now_ns + world_delay_ns(sim->world, &sim->world->faults.wake));
}

static size_t collect_ready(struct sim_io *sim)
{
    sim->ready_count = 0;
    LIST_FOREACH (node, &sim->socks) {
        struct io_sock *sock = LIST_ENTRY(node, struct io_sock, link);
        if (!net_ready(sock, sim))
            continue;
        if (sim->ready_count == sim->ready_cap) {
            sim->ready_cap = sim->ready_cap ? sim->ready_cap * 2 : 16;
            sim->ready = realloc(sim->ready, sim->ready_cap * sizeof(struct io_sock *));
            ASSERT(sim->ready);
        }
        sim->ready[sim->ready_count++] = sock;
    }
    return sim->ready_count;
}

static void run_socks(struct sim_io *sim)
{
    size_t count = collect_ready(sim);
    size_t first = count ? (size_t)rng_below(&sim->world->rng, count) : 0;
    for (size_t i = 0; i < count; i++) {
        struct io_sock *sock = sim->ready[(first + i) % count];
        unsigned ready = sock ? net_ready(sock, sim) : 0;
        if (ready)
            sock->fn(sock, ready);
    }
    sim->ready_count = 0;
}

static void run_done(struct sim_io *sim)
{
    struct list due;
    list_init(&due);
    list_splice(&due, &sim->done);
    struct list *node;
    while ((node = list_pop_front(&due))) {
        struct sim_op *sim_op = LIST_ENTRY(node, struct sim_op, link);
        struct io_op *op = sim_op->op;
        free(sim_op);
        io_op_end(&sim->io, op);
    }
}

/* When this loop has something to do, as far as it knows. */
static uint64_t next_turn_ns(struct sim_io *sim)
{
    if (sim->wake_pending || !list_is_empty(&sim->done))
        return sim->world->now_ns;
    LIST_FOREACH (node, &sim->socks) {
        if (net_ready(LIST_ENTRY(node, struct io_sock, link), sim))
            return sim->world->now_ns;
    }
    return io_timers_next_ns(&sim->io);
}

static void sim_run_once(struct io *io, uint64_t max_wait_ns)
{
    (void)max_wait_ns; /* the world waits */
    struct sim_io *sim = sim_of(io);
    io->now_ns = sim->world->now_ns;
    io->wall_ms = wall_ms(sim);
    if (sim->wake_pending) {
        sim->wake_pending = false;
        if (io->wake_fn)
            io->wake_fn(io->wake_arg);
    }
    run_socks(sim);
    io_timers_run(io);
    run_done(sim);
}

static void on_turn(struct world_event *event)
{
    struct sim_io *sim = CONTAINER_OF(event, struct sim_io, turn);
    struct world *world = sim->world;
    world_trace(world, TRACE_TURN, sim->node->index, sim->index);
    world->running = sim->node;
    io_run_once(&sim->io, 0);
    world->running = NULL;
    /* The disk took no mark of it, whether it works again until the crash or not: the operator is
     * told that the machine has to be restarted before the program is. */
    sim->node->must_lose_writes |= sim->has_untold_failure && sim->node->second_disk_fails;
    sim->has_untold_failure = false;
    uint64_t next_ns = next_turn_ns(sim);
    if (next_ns != UINT64_MAX)
        sim_io_kick(sim, next_ns);
}

/* --- life --- */

static const char *sim_describe(const struct io *io)
{
    (void)io;
    return "simulated";
}

static uint64_t sim_random(struct io *io)
{
    return rng_u64(&sim_of(io)->world->rng);
}

/* The world's io_destroy is a crash: programs in it never end otherwise. */
static void sim_destroy(struct io *io)
{
    (void)io;
    UNREACHABLE();
}

static const struct io_ops sim_ops = {
    .describe = sim_describe,
    .destroy = sim_destroy,
    .random = sim_random,
    .run_once = sim_run_once,
    .wake = sim_wake,
    .submit = sim_submit,
    .job_hurry = sim_job_hurry,
    .open = sim_open,
    .close = sim_close,
    .stat_path = sim_stat_path,
    .stat_file = sim_stat_file,
    .list = sim_list,
    .mkdir = sim_mkdir,
    .rmdir = sim_rmdir,
    .rename = sim_rename,
    .unlink_now = sim_unlink_now,
    .truncate = sim_truncate,
    .reserve = sim_reserve,
    .read_now = sim_read_now,
    .write_now = sim_write_now,
    .sync_now = sim_sync_now,
    .sync_dir = sim_sync_dir,
    .lock = sim_lock,
    .space = sim_space,
    .listen = net_listen,
    .accept = net_accept,
    .connect = net_connect,
    .sock_watch = net_watch,
    .sock_read = net_read,
    .sock_write = net_write,
    .sock_trip_us = net_trip_us,
    .sock_close = net_close,
    .sock_release = net_release,
    .sock_adopt = net_adopt,
};

struct io *sim_io_create(struct world_node *node, uint32_t index)
{
    struct sim_io *sim = calloc(1, sizeof(*sim));
    ASSERT(sim);
    io_init(&sim->io, &sim_ops);
    sim->world = node->world;
    sim->node = node;
    sim->index = index;
    sim->turn.fn = on_turn;
    sim->wake.fn = on_wake_event;
    list_init(&sim->ops);
    list_init(&sim->done);
    list_init(&sim->socks);
    sim->io.now_ns = node->world->now_ns;
    sim->io.wall_ms = wall_ms(sim);
    sim_io_kick(sim, node->world->now_ns);
    return &sim->io;
}

static void op_crash(struct sim_io *sim, struct sim_op *sim_op)
{
    const struct io_op *op = sim_op->op;
    if (op->kind == IO_WRITE || op->kind == IO_WRITE_DURABLE)
        write_prefix(sim, inode_of(sim, op->file), op->data, op->len, op->offset);
    else if (op->kind == IO_SYNC && rng_chance(&sim->world->rng, 1, 2))
        disk_changes_keep(inode_of(sim, op->file), sim_op->mark);
    else if (op->kind == IO_UNLINK && rng_chance(&sim->world->rng, 1, 2))
        perform(sim, sim_op);
    world_unschedule(sim->world, &sim_op->event);
}

void sim_io_crash(struct io *io)
{
    struct sim_io *sim = sim_of(io);
    struct list *node;
    while ((node = list_pop_front(&sim->ops))) {
        struct sim_op *sim_op = LIST_ENTRY(node, struct sim_op, link);
        op_crash(sim, sim_op);
        free(sim_op);
    }
    while ((node = list_pop_front(&sim->done)))
        free(LIST_ENTRY(node, struct sim_op, link));
    net_crash(sim);
}

void sim_io_free(struct io *io)
{
    struct sim_io *sim = sim_of(io);
    world_unschedule(sim->world, &sim->turn);
    world_unschedule(sim->world, &sim->wake);
    free(sim->ready);
    free(sim);
}
