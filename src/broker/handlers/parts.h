/* Requests that name partitions, topic by topic, each of which is done by its owner and answered by
 * itself: DeleteRecords, ListOffsets and their like. What such an API needs to say is where its
 * messages have their topics and partitions, what the owner does, and how one answer is filled. */
#ifndef BROKER_HANDLERS_PARTS_H
#define BROKER_HANDLERS_PARTS_H

#include <stddef.h>

#include "broker/handlers/handlers.h"
#include "broker/scatter.h"

/* Embedded first in what the API needs for each partition; zeroed else. */
struct part {
    struct scatter_op op; /* first: scatter.h */
    const void *in;       /* the request's entry of the partition */
    void *out;            /* the answer's, at its defaults but for its index */
};

/* The topic that is being taken. */
struct part_topic {
    const struct topic_image *image; /* NULL: there is none */
    struct str name;
    const void *in; /* the request's entry */
};

/* Where a message has its topics, their names, their partitions and the indexes of these. */
struct parts_layout {
    size_t topics, topics_len, name, partitions, partitions_len, index;
    size_t topic_bytes, partition_bytes;
    const struct msg_struct *topic_type, *partition_type; /* the answer's */
};

struct parts_api {
    struct parts_layout in, out;
    size_t part_bytes;
    /* NULL, or: looks at the entry `at` of a topic before it goes to its owner; whether it gets an
     * answer at all. *err is what it is refused with so far. */
    bool (*take)(struct request *req, struct part *part, const struct part_topic *topic, int32_t at,
                 enum err *err);
    scatter_fn *run; /* on the owner */
    /* On the request's shard, for every partition, with its result in op.err; false: no memory. */
    bool (*fill)(struct request *req, struct part *part);
};

/* The layouts of API's generated messages: `name_` is what a topic's name is called, `partitions_`
 * its list in the request, whose elements have `index_` at their beginning. */
#define PARTS_LAYOUTS(api, name_, partitions_, index_)                                     \
    .in = {.topics = offsetof(struct api##_request, topics),                               \
           .topics_len = offsetof(struct api##_request, topics_len),                       \
           .name = offsetof(struct api##_request_topic, name_),                            \
           .partitions = offsetof(struct api##_request_topic, partitions_),                \
           .partitions_len = offsetof(struct api##_request_topic, partitions_##_len),      \
           .topic_bytes = sizeof(struct api##_request_topic),                              \
           .partition_bytes = sizeof(*((struct api##_request_topic *)NULL)->partitions_)}, \
    .out = {.topics = offsetof(struct api##_response, topics),                             \
            .topics_len = offsetof(struct api##_response, topics_len),                     \
            .name = offsetof(struct api##_response_topic, name_),                          \
            .partitions = offsetof(struct api##_response_topic, partitions),               \
            .partitions_len = offsetof(struct api##_response_topic, partitions_len),       \
            .index = offsetof(struct api##_response_partition, index_),                    \
            .topic_bytes = sizeof(struct api##_response_topic),                            \
            .partition_bytes = sizeof(struct api##_response_partition),                    \
            .topic_type = &api##_response_topic_type,                                      \
            .partition_type = &api##_response_partition_type}

/* Takes the request from begin to its reply. */
void parts_begin(struct request *req, const struct parts_api *api);

/* On the owner: the partition can be used, or why not. */
enum err part_check(const struct scatter_op *op) MUST_USE;

#endif
