/* What there is to know of a consumer group, through Kafka's protocol alone: state and members from
 * its coordinator, committed offsets, and from the partitions' leaders where the logs begin and
 * end, and when the oldest unread record was written. */
#ifndef CLI_GROUP_VIEW_H
#define CLI_GROUP_VIEW_H

#include "cli/client.h"

/* Connections to the brokers of a cluster, opened when they are needed. */
struct group_session {
    const struct args *args;
    struct client client; /* to the bootstrap server */
    struct describe_cluster_response cluster;
    struct group_broker *brokers; /* in the client's arena, one for each broker of the cluster */
};

/* Functions that return int return an exit code and have said what went wrong. */

/* group_session_close is due either way. */
int group_session_open(struct group_session *session, const struct args *args);
void group_session_close(struct group_session *session);
/* The connection to a broker, the session's. */
int group_session_broker(struct group_session *session, int32_t broker_id, struct client **broker);

struct group_assigned {
    struct str topic;
    const int32_t *partitions;
    size_t partition_count;
};

struct group_member {
    struct str id, instance_id, client_id, host; /* instance_id null: not static */
    int32_t epoch;                               /* -1: a classic member */
    const struct group_assigned *assigned;
    size_t assigned_count;
};

#define GROUP_UNKNOWN INT64_C(-1)

struct group_partition {
    struct str topic;
    int32_t index;
    int32_t leader;                   /* -1: none, or no such partition any more */
    int64_t committed;                /* GROUP_UNKNOWN: nothing is committed, here and below */
    int64_t begin, end;               /* of the log */
    int64_t oldest_ms;                /* when the oldest unread record was written, since 1970 */
    const struct group_member *owner; /* NULL: no member has it */
};

/* Lives as long as its session. */
struct group_view {
    struct str id;
    const char *type; /* "classic", "consumer" */
    struct str state;
    struct str protocol_type; /* of a classic group: "consumer" as a rule */
    struct str assignor;
    int32_t epoch, assignment_epoch; /* -1: a classic group */
    int32_t coordinator;
    const struct group_member *members;
    size_t member_count;
    struct group_partition *partitions; /* committed or assigned, by topic and index */
    size_t partition_count;
};

enum group_load_depth {
    GROUP_LOAD_MEMBERS, /* state and members */
    GROUP_LOAD_OFFSETS, /* also partitions */
    GROUP_LOAD_TIMES,   /* also when the oldest unread records were written */
};

/* EXIT_NOT_FOUND where there is no such group, with the name that was perhaps meant. A coordinator
 * that is not ready is asked again until --timeout. */
int group_load(struct group_session *session, struct str id, enum group_load_depth depth,
               struct group_view *view);
/* The same without a word where there is no such group. */
int group_load_quietly(struct group_session *session, struct str id, enum group_load_depth depth,
                       struct group_view *view);
/* By topic and index, as the functions on arrays of partitions want them. */
void group_sort_partitions(struct group_partition *partitions, size_t count);
/* NULL if it is not among them. */
struct group_partition *group_find_partition(struct group_partition *partitions, size_t count,
                                             struct str topic, int32_t index);
/* Leaders and offsets of partitions whose topic and index are set. */
int group_load_logs(struct group_session *session, struct group_partition *partitions,
                    size_t count);
/* Whether nobody is in it, so that its offsets may be set. */
bool group_is_inactive(const struct group_view *view);
/* Records past the committed offset; GROUP_UNKNOWN where either is not known. */
int64_t group_partition_lag(const struct group_partition *partition);

/* Sends a request to the coordinator of a group, which may move: asks again while the answer's
 * code, at `error_code` within the response, says so. */
int group_call(struct group_session *session, struct str id, enum client_api api,
               int16_t version_max, const void *request, void *response,
               int16_t (*error_code)(const void *response), int32_t *coordinator);

struct group_listed {
    struct str id;
    struct str protocol_type, state, type; /* null where an old broker does not tell */
    int32_t coordinator;
};

/* All groups of the cluster, by id, in the session's memory. `states` and `types`: what to list;
 * count 0: all. A broker that cannot be asked is an error. */
int group_list(struct group_session *session, struct str *states, size_t state_count,
               struct str *types, size_t type_count, struct group_listed **groups, size_t *count);

#endif
