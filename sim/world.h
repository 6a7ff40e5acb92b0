/* The simulated world: time, chance, machines and the net between them, in one thread, from one
 * seed.
 *
 * A node is a machine: a disk that outlives crashes, and while it is up one io for each shard. What
 * runs on it is started by a callback that gets those ios and is driven by their callbacks only; a
 * crash abandons all of its memory where it stands. Everything that happens is an event in one
 * heap, in the order of virtual time; what is drawn by chance comes from the seed. The trace is a
 * hash over all events: two runs of a seed that differ in it differ in behaviour. */
#ifndef SIM_WORLD_H
#define SIM_WORLD_H

#include <setjmp.h>

#include "base/heap.h"
#include "base/rng.h"
#include "io/io.h"
#include "sim/disk.h"

#define WORLD_NODES_MAX  16
#define WORLD_SHARDS_MAX 8

struct world;
struct world_node;

struct world_event;
typedef void world_event_fn(struct world_event *event);

struct world_event {
    struct heap_node node;
    world_event_fn *fn;
};

/* A duration drawn anew each time: usually in [min, max], once in `tail_one_in` up to tail_max. */
struct world_delay {
    uint64_t min_us, max_us;
    uint64_t tail_one_in; /* 0: never */
    uint64_t tail_max_us;
};

/* How unkind the world is. A chance is in a million operations. */
struct world_faults {
    struct world_delay disk_read, disk_write, disk_sync, net, wake, turn;
    uint32_t read_error, write_error, sync_error;
    uint32_t net_reset;
    uint32_t short_move;   /* a socket moves less than it could */
    uint32_t crash_inside; /* a crash inside a blocking file call, names included */
    uint32_t power_cut;    /* of crashes: the rest only kill the process */
    uint64_t window_bytes; /* what a connection holds in flight */
};

/* A folder of this name, and all in it, lies on a disk of its own, which may fail. */
#define WORLD_SECOND_DISK "/data2"

struct world_file {
    struct disk_inode *inode; /* NULL: closed */
    bool is_on_second;
};

struct world_node {
    struct world *world;
    uint32_t index;
    char host[8]; /* "n0" */
    struct disk disk;
    bool is_up;
    uint32_t shard_count;
    struct io *ios[WORLD_SHARDS_MAX];
    int64_t wall_skew_ms;
    uint64_t crash_count;
    bool was_power_cut;       /* the last crash */
    bool second_disk_fails;   /* every use of it is an error */
    bool must_lose_writes;    /* a flush failed, and nothing on the disk tells the next start */
    struct world_file *files; /* [fd] */
    int file_count, file_cap;
    /* Starts the program. May run again for each start; `arg` is the caller's. */
    void (*start)(struct world_node *node, void *arg);
    /* Its memory was abandoned. */
    void (*crashed)(struct world_node *node, void *arg);
    void *arg;
};

struct world {
    uint64_t seed;
    struct rng rng;
    uint64_t now_ns;
    struct heap events;
    uint64_t event_count;
    uint64_t trace;
    struct world_faults faults;
    struct world_node nodes[WORLD_NODES_MAX];
    uint32_t node_count;
    struct list ends; /* of connections, and listeners: sim/net.h */
    int end_next;
    struct world_node *running; /* whose code is on the stack; NULL: nobody's */
    struct world_node *crash_now;
    jmp_buf crash_jump;
    bool verbose;
};

/* Without faults: short delays, nothing fails. */
struct world_faults world_faults_none(void);
/* Drawn from the seed; each run switches some kinds of trouble off altogether. */
struct world_faults world_faults_swarm(struct rng *rng);

void world_init(struct world *world, uint64_t seed);
/* Frees what is the world's. Programs that were running are abandoned. */
void world_deinit(struct world *world);

struct world_node *world_node_add(struct world *world, uint32_t shard_count,
                                  void (*start)(struct world_node *, void *),
                                  void (*crashed)(struct world_node *, void *), void *arg);
void world_node_start(struct world_node *node);
/* Outside of the node's own code. */
void world_node_crash(struct world_node *node);

/* Its loops take a turn soon: after it was called from outside of them. */
void world_node_poke(struct world_node *node);

void world_schedule(struct world *world, struct world_event *event, uint64_t at_ns);
void world_unschedule(struct world *world, struct world_event *event);
/* Runs events until stop(arg) or until none is left before the time. */
void world_run(struct world *world, uint64_t until_ns, bool (*stop)(void *arg), void *arg);

/* Adds to the trace. */
void world_trace(struct world *world, uint32_t kind, uint64_t a, uint64_t b);
uint64_t world_hash(const void *data, size_t len);
uint64_t world_delay_ns(struct world *world, const struct world_delay *delay);
bool world_chance(struct world *world, uint32_t in_a_million);
/* printf to standard error, after the virtual time, where the world is verbose. */
void world_say(const struct world *world, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#endif
