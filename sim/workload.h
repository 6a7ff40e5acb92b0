/* Clients of one topic in the simulated world: an administrator, idempotent producers with
 * acks=all, readers, and one that sends what no client would. They check all that they are told
 * (sim/model.h) and run on one io. */
#ifndef SIM_WORKLOAD_H
#define SIM_WORKLOAD_H

#include "sim/kconn.h"
#include "sim/model.h"
#include "wire/compress.h"

struct offset_commit_request;
struct offset_commit_request_partition;
struct offset_fetch_request;
struct offset_fetch_response;

#define WORKLOAD_READERS_MAX 4
#define WORKLOAD_IDS_MAX     1024
#define WORKLOAD_MEMBERS_MAX 40
#define WORKLOAD_MEMBER_ID   64
#define WORKLOAD_CONSUMERS   8
#define WORKLOAD_SESSION_MS  3000

struct workload;

/* Drawn from the seed. */
struct workload_options {
    uint32_t partitions, producers, readers, members, consumers;
    uint32_t depth; /* batches of a partition that a producer has in flight */
    uint32_t think_us_max;
    uint32_t records_max; /* that a producer makes for a partition */
    int16_t produce_version, fetch_version;
    enum compression compression;
    int32_t segment_ms, index_interval_bytes;
    bool flush_each; /* flush.messages=1 */
    bool hostile;
};

struct workload_batch {
    struct list link; /* of the stream, in order of sequence, until acknowledged */
    uint32_t n, count, sends;
    int32_t base_sequence;
    bool in_flight, is_given_up;
    struct buf bytes;
};

/* What one producer sends to one partition. */
struct workload_stream {
    struct list batches;
    uint32_t in_flight;
    bool is_broken; /* one failed: wait for those in flight, then send again from the first */
    int32_t sequence_next;
};

struct workload_producer {
    struct workload *w;
    uint32_t index;
    struct kconn conn;
    struct io_timer timer;
    struct kreq init;
    bool init_waits;
    int64_t producer_id; /* -1: none yet */
    uint32_t last_calls; /* of the workload's: those that were answered */
    int16_t producer_epoch;
    struct workload_stream streams[MODEL_PARTITIONS_MAX];
    uint64_t acked; /* batches */
};

struct workload_reader {
    struct workload *w;
    struct kconn conn;
    struct io_timer timer;
    struct kreq fetch;
    bool fetch_waits;
    struct model_reader parts[MODEL_PARTITIONS_MAX];
    int64_t acked_end[MODEL_PARTITIONS_MAX]; /* when the fetch was sent */
};

struct workload_admin {
    struct workload *w;
    struct kconn conn;
    struct io_timer timer;
    struct kreq req;
    bool req_waits;
    bool is_created;
    int64_t acked_end[MODEL_PARTITIONS_MAX]; /* when ListOffsets was sent */
    bool asks_latest;
};

struct workload_follower {
    char id[WORKLOAD_MEMBER_ID];
    size_t id_len;
};

/* What members of a group committed. */
struct workload_offsets {
    int64_t sent[MODEL_PARTITIONS_MAX];
    int64_t acked[MODEL_PARTITIONS_MAX];
    uint32_t acked_call[MODEL_PARTITIONS_MAX]; /* last_calls when the last one was sent */
};

/* A member of the consumer group. */
struct workload_member {
    struct workload *w;
    struct kconn conn;
    struct io_timer timer;
    struct kreq req;
    bool req_waits;
    struct kconn twin; /* on which a request comes a second time */
    struct kreq twin_req;
    bool twin_waits;
    int step;
    char id[WORKLOAD_MEMBER_ID];
    size_t id_len;     /* 0: none yet */
    uint32_t metadata; /* another each time that it joins */
    int32_t generation;
    bool is_leader;
    struct workload_follower followers[WORKLOAD_MEMBERS_MAX];
    uint32_t follower_count;
    uint32_t owned[MODEL_PARTITIONS_MAX];
    uint32_t owned_count;
    /* The commit that is under way. */
    uint32_t commit_partition, commit_call;
    int64_t commit_offset;
    bool is_stale;
    int32_t stale_generation;
    int64_t acked_when_asked[MODEL_PARTITIONS_MAX];
};

/* What was told to members of the group. */
struct workload_group {
    int32_t generation; /* the highest of which an assignment was given out */
    uint64_t stamp;     /* of its leader; 0: not known */
    struct workload_offsets offsets;
};

/* A member of the group that speaks the consumer protocol. */
struct workload_consumer {
    struct workload *w;
    uint32_t index;
    struct kconn conn;
    struct io_timer timer;
    struct kreq req;
    bool req_waits;
    struct kconn twin; /* on which a heartbeat comes a second time */
    struct kreq twin_req;
    bool twin_waits;
    char id[WORKLOAD_MEMBER_ID];
    char instance_id[8];
    bool must_find; /* the coordinator */
    bool is_static;
    bool is_misled;         /* one that came twice may have said what is not so any more */
    int32_t epoch;          /* 0: it must join */
    uint32_t owned, wanted; /* partitions that it reads, and shall read: a bit each */
    bool must_tell, must_tell_all;
    uint64_t sent_ns, heard_ns; /* its last request, and that of its last heartbeat's answer */
    /* The commit that is under way. */
    uint32_t commit_partition, commit_call;
    int32_t commit_epoch;
    int64_t commit_offset;
    bool must_be_refused;
    int64_t acked_when_asked[MODEL_PARTITIONS_MAX];
};

/* What was told to them. */
struct workload_consumers {
    struct workload_consumer *holder[MODEL_PARTITIONS_MAX];
    struct workload_offsets offsets;
};

struct workload_hostile {
    struct workload *w;
    struct kconn conn;
    struct io_timer timer;
    struct kreq req;
    bool req_waits;
};

struct workload {
    struct world *world;
    struct io *io;
    struct rng rng;
    struct workload_options options;
    struct model model;
    const char *host;
    uint16_t port;
    bool is_ready;       /* the topic is there */
    bool is_stopping;    /* producers make only their last batches */
    uint32_t last_calls; /* how often last batches were asked for */
    struct uuid topic_id;
    struct arena arena; /* of the request that is being built */
    struct compressors compressors;
    struct buf scratch;
    struct workload_admin admin;
    struct workload_producer producers[MODEL_PRODUCERS_MAX];
    struct workload_reader readers[WORKLOAD_READERS_MAX];
    struct workload_member members[WORKLOAD_MEMBERS_MAX];
    struct workload_group group;
    struct workload_consumer consumers[WORKLOAD_CONSUMERS];
    struct workload_consumers consumer_group;
    struct workload_hostile hostile;
    int64_t ids[WORKLOAD_IDS_MAX]; /* producer ids that were given out */
    uint32_t ids_count;
    uint64_t acked_batches, read_records, acked_commits;
};

void workload_init(struct workload *w, struct world *world, struct rng *rng);
/* In the io's callbacks from here on. */
void workload_start(struct workload *w, struct io *io, const char *host, uint16_t port);
/* What was read and never acknowledged may be gone: readers begin anew. */
void workload_power_cut(struct workload *w);
/* Producers make one last batch for each partition; readers begin anew at offset 0. */
void workload_stop(struct workload *w);
/* Everything made was acknowledged, and every reader has read all of it. */
bool workload_is_done(const struct workload *w);
/* What it waits for, for people. */
void workload_describe(const struct workload *w, char *text, size_t len);

/* workload_admin.c, workload_producer.c, workload_reader.c */
void admin_start(struct workload_admin *admin, struct workload *w);
void hostile_start(struct workload_hostile *hostile, struct workload *w);
void producer_start(struct workload_producer *producer, struct workload *w, uint32_t index);
bool producer_is_done(const struct workload_producer *producer);
void reader_start(struct workload_reader *reader, struct workload *w);
void reader_restart(struct workload_reader *reader);
bool reader_is_done(const struct workload_reader *reader);
/* workload_offsets.c */
/* One partition's offset, for the caller to set; the partition to put it in. */
struct offset_commit_request_partition *
offsets_fill_commit(struct workload *w, struct offset_commit_request *msg, uint32_t partition);
void offsets_acked(struct workload *w, struct workload_offsets *offsets, uint32_t partition,
                   int64_t offset);
/* All partitions; notes what was acknowledged by now. */
void offsets_fill_fetch(struct workload *w, const struct workload_offsets *offsets,
                        struct offset_fetch_request *msg, int64_t *acked_when_asked);
/* Ends the run if one that was acknowledged before they were asked for is not there, or one is that
 * nobody sent. */
void offsets_check(struct workload *w, const struct workload_offsets *offsets,
                   const struct offset_fetch_response *fetched, const int64_t *acked_when_asked);
/* A commit of each partition was acknowledged since the last call. */
bool offsets_are_done(const struct workload *w, const struct workload_offsets *offsets);
/* workload_group.c */
void member_start(struct workload_member *member, struct workload *w);
/* workload_consumer.c */
void consumer_start(struct workload_consumer *member, struct workload *w, uint32_t index);
/* After the trouble: all say all of themselves again. */
void consumers_stop(struct workload *w);
/* Ends the run if the id was given out before. */
void workload_learn_id(struct workload *w, int64_t producer_id);
uint64_t workload_think_ns(struct workload *w);

#endif
