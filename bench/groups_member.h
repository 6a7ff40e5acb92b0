/* Members of consumer groups that speak as the mainstream clients do: what groups_load.c loads a
 * broker with. One thread; failures end the program. */
#ifndef BENCH_GROUPS_MEMBER_H
#define BENCH_GROUPS_MEMBER_H

#include "base/heap.h"
#include "bench/loader.h"
#include "bench/measure.h"
#include "wire/errors.h"
#include "wire/header.h"
#include "wire/messages.h"

#define MS            INT64_C(1000000)
#define NOT_READY_MS  100
#define READ_BYTES    ((size_t)1 << 20)
#define IN_FLIGHT_MAX 4
#define ID_MAX        128

enum api {
    OFFSET_COMMIT = 8,
    FIND_COORDINATOR = 10,
    JOIN_GROUP = 11,
    HEARTBEAT = 12,
    LEAVE_GROUP = 13,
    SYNC_GROUP = 14,
    API_VERSIONS = 18,
    CONSUMER_HEARTBEAT = 68,
    CONSUMER_DESCRIBE = 69,
};

struct group {
    char id[64];
    struct member **members; /* those that live */
    int32_t count;
    int32_t generation; /* of the classic protocol: the highest that a member has */
    int32_t synced;     /* members that have it */
};

struct member {
    struct group *group;
    int fd;
    char id[ID_MAX];
    int32_t epoch; /* or generation */
    bool has_connected;
    enum api in_flight[IN_FLIGHT_MAX]; /* in the order of the answers to come */
    int in_flight_len;
    struct buf in; /* the beginning of an answer */
    struct heap_node due;
    int64_t interval_ms;
    int64_t sent_ns; /* the last heartbeat */
    /* KIP-848. */
    int32_t *owned;
    int32_t owned_len;
    bool must_confirm, is_leaving;
    /* Committing. */
    int64_t offset, commit_ns;
};

struct everything {
    bool is_consumer, is_java;
    uint16_t port;
    const char *topic;
    struct uuid topic_id; /* once a member has a partition */
    int32_t group_count, member_count, partitions, session_ms, heartbeat_ms;
    struct group *groups;
    int epoll_fd;
    bool is_stdin_ready;
    struct heap due;
    struct buf out;
    struct arena arena;
    uint8_t *read_bytes;
    int64_t heartbeats;
    int64_t late; /* answers that librdkafka would have given up before */
    /* Committing. */
    int64_t commit_until_ns;
    int64_t *commit_took_ns;
    size_t commit_count, commit_cap;
    int32_t committing;
};
extern struct everything all;

double ms_since(int64_t began_ns);
/* NULL ends the program. */
void *must(void *memory);
/* The coordinator has just been made, or is. */
bool is_not_ready(int16_t code);
void check_code(const char *what, int16_t code);

/* Connects; member_join once it has. */
struct member *member_connect(struct group *group);
void member_join(struct member *member);
/* The one that came last, which lives no more. */
struct member *member_take_last(struct group *group);
void member_free(struct member *member);
bool is_in_flight(const struct member *member, enum api api);
void ask_leave(struct member *member);
void ask_commit(struct member *member);

/* Asks on a connection that is no member's, and waits. */
void call(enum api api, const void *request, void *response);

/* Serves all members until there is nothing to do before the time; or until the time. */
void serve_once(int64_t until_ns);
void serve_until(int64_t until_ns);
/* Looks no less often than `every_ms`. */
void serve_while_not(bool (*is_done)(void *arg), void *arg, int64_t every_ms, const char *what);

#endif
