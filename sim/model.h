/* What must hold of a topic's partitions, checked as the workload runs.
 *
 * The model learns which record is at an offset from acknowledgements and from reads, and does not
 * forget: a second answer that differs from the first is a violation. (Only a power cut makes it
 * forget what was read ahead of every acknowledgement.) So are a duplicate or a gap
 * in a producer's numbers, an offset that is skipped, and a record whose content is not what its
 * producer made. A violation ends the process with MODEL_EXIT_CORRECTNESS. */
#ifndef SIM_MODEL_H
#define SIM_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/rng.h"

struct world;

#define MODEL_EXIT_CRASH       127
#define MODEL_EXIT_LIVENESS    128
#define MODEL_EXIT_CORRECTNESS 129

#define MODEL_PRODUCERS_MAX  8
#define MODEL_PARTITIONS_MAX 8

/* A record's identity: the producer's n-th in that partition, counted from 0. */
struct model_record {
    bool is_known;
    uint32_t producer, n;
};

struct model_partition {
    struct model_record *at; /* [offset] */
    int64_t count, cap;
    int64_t acked_end;                     /* one past the last acknowledged offset */
    uint32_t made[MODEL_PRODUCERS_MAX];    /* records that the producer made so far */
    int64_t *offsets[MODEL_PRODUCERS_MAX]; /* [n]; -1: not known yet */
    bool *may_miss[MODEL_PRODUCERS_MAX];   /* [n]: the producer gave it up */
    uint32_t offsets_cap[MODEL_PRODUCERS_MAX];
};

struct model {
    struct world *world;
    struct model_partition partitions[MODEL_PARTITIONS_MAX];
};

/* A reader's place in one partition. */
struct model_reader {
    struct model *model;
    uint32_t partition;
    int64_t next;
    uint32_t seen[MODEL_PRODUCERS_MAX]; /* the next n of each producer */
};

void model_init(struct model *model, struct world *world);
void model_deinit(struct model *model);

/* Prints what is wrong, with the seed, and ends the process. */
_Noreturn void model_fail(const struct world *world, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* The next record that a producer makes for a partition: appends its value to `out`. */
uint32_t model_make(struct model *model, uint32_t partition, uint32_t producer, struct rng *rng,
                    struct buf *out);
/* `count` records from n on were acknowledged at base_offset and after. */
void model_acked(struct model *model, uint32_t partition, uint32_t producer, uint32_t n,
                 uint32_t count, int64_t base_offset);
/* The producer cannot know whether these records were written and will not send them again: they
 * may be there, once, or not. */
void model_give_up(struct model *model, uint32_t partition, uint32_t producer, uint32_t n,
                   uint32_t count);
/* The power was cut: what was read and never acknowledged may be gone. */
void model_power_cut(struct model *model);

void model_reader_init(struct model_reader *reader, struct model *model, uint32_t partition);
/* Whether it has read every record that must be there. */
bool model_reader_is_done(const struct model_reader *reader);
/* The reader got a record. */
void model_read(struct model_reader *reader, int64_t offset, struct slice value);

#endif
