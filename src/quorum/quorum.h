/* KRaft consensus over the metadata log, as a pure step: an event in, effects out.
 *
 * This is the quorum of one voter: it elects itself in a new epoch at each start, and what is
 * durable here is committed. A configuration with another voter is refused with a sentence. The
 * driver (shard 0) carries out the effects in the order of the fields of struct quorum_effects and
 * reports back by events. */
#ifndef QUORUM_QUORUM_H
#define QUORUM_QUORUM_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/bytes.h"
#include "base/err.h"

#define QUORUM_VOTERS_MAX 1024

struct quorum_endpoint {
    struct str name; /* listener */
    struct str host;
    uint16_t port;
};

struct quorum_voter {
    int32_t id;
    struct uuid directory_id; /* zero where it is not known (static voters) */
    struct quorum_endpoint endpoint;
};

/* The file `quorum-state` in the metadata log's folder: JSON, replaced at each change. */
struct quorum_state_file {
    int32_t leader_id; /* -1: none */
    int32_t epoch;
    int32_t voted_id; /* -1: none */
    struct uuid voted_directory_id;
};

#define QUORUM_STATE_NONE ((struct quorum_state_file){-1, 0, -1, UUID_ZERO})

/* ERR_MALFORMED or ERR_UNSUPPORTED (newer data_version) with why. */
enum err quorum_state_parse(struct str text, struct quorum_state_file *state, char *why,
                            size_t why_size) MUST_USE;
void quorum_state_print(const struct quorum_state_file *state, struct buf *buf);

enum quorum_role { QUORUM_UNATTACHED, QUORUM_CANDIDATE, QUORUM_LEADER, QUORUM_STOPPED };

struct quorum_config {
    int32_t node_id;
    struct uuid directory_id;          /* of the metadata log's folder */
    struct quorum_endpoint endpoint;   /* where this controller listens (or would) */
    const struct quorum_voter *voters; /* from the log or snapshot, or controller.quorum.voters */
    size_t voter_count;
    int16_t kraft_version; /* 1: voters are in the log; 0: in the configuration */
};

struct quorum {
    enum quorum_role role;
    int32_t node_id;
    struct uuid directory_id;
    struct quorum_endpoint endpoint;
    int16_t kraft_version;
    struct quorum_state_file state; /* as persisted, or being persisted */
    int64_t epoch_start_offset;     /* of our epoch; -1 before it is known */
    int64_t log_end_offset;
    int64_t durable_end_offset;
    int64_t high_watermark;  /* -1: not known yet */
    bool voters_need_record; /* the log's voter entry lacks our present endpoint */
};

enum quorum_event_kind {
    QUORUM_EVENT_START,     /* log recovered: log_end_offset, log_epoch, and the state file read */
    QUORUM_EVENT_PERSISTED, /* the state file of the last effects is durable */
    QUORUM_EVENT_APPENDED,  /* the log now ends at log_end_offset (not yet durable) */
    QUORUM_EVENT_DURABLE,   /* the log is durable up to durable_end_offset */
    QUORUM_EVENT_STOP,      /* an append or a flush failed, or the node shuts down */
};

struct quorum_event {
    enum quorum_event_kind kind;
    int64_t now_ms;
    int64_t log_end_offset;
    int32_t log_epoch; /* START: the last epoch that the log holds */
    int64_t durable_end_offset;
    struct quorum_state_file state; /* START */
};

/* What the driver has to do, in this order. */
struct quorum_effects {
    bool persist; /* write quorum-state; then QUORUM_EVENT_PERSISTED */
    struct quorum_state_file state;
    bool append_leader_change; /* append the control batch that quorum_leader_records gives, in
                                  `epoch`; then APPENDED */
    int32_t epoch;
    bool became_leader;
    bool high_watermark_moved;
    int64_t high_watermark;
};

/* Refuses another voter, or a voter set without this node: *why has the sentence. */
enum err quorum_init(struct quorum *quorum, const struct quorum_config *config, char *why,
                     size_t why_size) MUST_USE;
enum err quorum_step(struct quorum *quorum, const struct quorum_event *event,
                     struct quorum_effects *effects) MUST_USE;

/* One control record: its key is version (i16, 0) and type (i16). */
struct quorum_control {
    int16_t type; /* 2 LeaderChange, 3 SnapshotHeader, 4 SnapshotFooter, 5 KRaftVersion, 6 Voters */
    struct slice value;
};

#define QUORUM_CONTROL_LEADER_CHANGE   2
#define QUORUM_CONTROL_SNAPSHOT_HEADER 3
#define QUORUM_CONTROL_SNAPSHOT_FOOTER 4
#define QUORUM_CONTROL_KRAFT_VERSION   5
#define QUORUM_CONTROL_KRAFT_VOTERS    6

/* The records of a new leader's first batch: LeaderChange, and KRaftVersion and KRaftVoters where
 * the log's last ones do not say the same (endpoint moved, or none yet). At most 3. */
enum err quorum_leader_records(const struct quorum *quorum, struct arena *arena,
                               struct quorum_control *controls, size_t *count) MUST_USE;
/* The same for a checkpoint's head: SnapshotHeader, KRaftVersion, KRaftVoters. */
enum err quorum_snapshot_head(int64_t last_contained_ms, int16_t kraft_version,
                              const struct quorum_voter *voters, size_t voter_count,
                              struct arena *arena, struct quorum_control *controls,
                              size_t *count) MUST_USE;
/* Voters of a KRaftVoters record's value. ERR_LIMIT over `cap`. */
enum err quorum_voters_decode(struct slice value, struct arena *arena, struct quorum_voter **voters,
                              size_t *count) MUST_USE;
enum err quorum_kraft_version_decode(struct slice value, int16_t *version) MUST_USE;

/* What DescribeQuorum answers. */
struct quorum_description {
    int32_t leader_id;
    int32_t leader_epoch;
    int64_t high_watermark;
    struct {
        int32_t id;
        struct uuid directory_id;
        int64_t log_end_offset;
        int64_t last_fetch_ms;
        int64_t last_caught_up_ms;
    } voter; /* the one */
    struct quorum_endpoint endpoint;
};

void quorum_describe(const struct quorum *quorum, int64_t now_ms, struct quorum_description *out);

#endif
