/* DescribeTopicPartitions (KIP-966): topics in the order of their names, a page at a time. */
#include "broker/handlers/handlers.h"

#include <stdlib.h>

#include "meta/controller.h"

struct page {
    struct request *req;
    struct describe_topic_partitions_response *response;
    int32_t left;        /* partitions that still fit */
    int32_t first_index; /* of the first topic */
};

static bool fill_partition(struct request *req, const struct partition_image *partition,
                           int32_t index, struct describe_topic_partitions_response_partition *out)
{
    out->partition_index = index;
    out->leader_id = partition->leader;
    out->leader_epoch = partition->leader_epoch;
    out->replica_nodes = ids_borrow(partition->replicas);
    out->replica_nodes_len = (int32_t)partition->replica_count;
    out->isr_nodes = ids_borrow(partition->isr);
    out->isr_nodes_len = (int32_t)partition->isr_count;
    out->eligible_leader_replicas = ids_borrow(partition->elr);
    out->eligible_leader_replicas_len = (int32_t)partition->elr_count;
    out->last_known_elr = ids_borrow(partition->last_known_elr);
    out->last_known_elr_len = (int32_t)partition->last_known_elr_count;
    return fill_offline_replicas(req, partition, &out->offline_replicas,
                                 &out->offline_replicas_len);
}

/* False when memory is out; *is_full when the page ends inside of, or before, the topic. */
static bool fill_topic(struct page *page, const struct topic_image *topic, bool *is_full)
{
    struct describe_topic_partitions_response *response = page->response;
    struct describe_topic_partitions_response_topic *out =
        &response->topics[response->topics_len++];
    uint32_t first = page->first_index > 0 ? (uint32_t)page->first_index : 0;
    page->first_index = 0;
    out->name = topic->name;
    out->topic_id = topic->id;
    out->is_internal = topic_is_internal(topic->name);
    out->topic_authorized_operations = AUTHORIZED_OPERATIONS_TOPIC;
    if (first > topic->partition_count)
        first = topic->partition_count;
    uint32_t count = topic->partition_count - first;
    *is_full = count > (uint32_t)page->left;
    if (*is_full)
        count = (uint32_t)page->left;
    out->partitions =
        MSG_ARRAY(describe_topic_partitions_response_partition, &page->req->arena, count);
    if (!out->partitions)
        return false;
    for (uint32_t i = first; i < first + count; i++) {
        if (topic->partitions[i] && !fill_partition(page->req, topic->partitions[i], (int32_t)i,
                                                    &out->partitions[out->partitions_len++]))
            return false;
    }
    page->left -= (int32_t)count;
    if (*is_full) {
        response->next_cursor = request_array(page->req, 1, sizeof(*response->next_cursor));
        if (!response->next_cursor)
            return false;
        response->next_cursor->topic_name = topic->name;
        response->next_cursor->partition_index = (int32_t)(first + count);
    }
    return true;
}

static int by_name(const void *a, const void *b)
{
    return str_cmp(((const struct describe_topic_partitions_request_topic *)a)->name,
                   ((const struct describe_topic_partitions_request_topic *)b)->name);
}

static void fill_missing(struct page *page, struct str name)
{
    struct describe_topic_partitions_response_topic *out =
        &page->response->topics[page->response->topics_len++];
    struct arena arena;
    struct meta_error error;
    arena_init(&arena, ARENA_NO_LIMIT);
    enum err err = topic_name_check(name, &arena, &error);
    arena_deinit(&arena);
    out->name = name;
    out->topic_authorized_operations = AUTHORIZED_OPERATIONS_TOPIC;
    out->error_code = wire_code_of_err(err == ERR_OK ? ERR_UNKNOWN_TOPIC_OR_PARTITION : err);
}

static bool fill_named(struct page *page, struct str from)
{
    const struct describe_topic_partitions_request *body = page->req->body;
    bool is_full = false;
    qsort(body->topics, (size_t)body->topics_len, sizeof(*body->topics), by_name);
    for (int32_t i = 0; i < body->topics_len && !is_full; i++) {
        struct str name = body->topics[i].name;
        enum err err;
        if ((i > 0 && str_eq(name, body->topics[i - 1].name)) || str_cmp(name, from) < 0)
            continue;
        const struct topic_image *topic = request_topic(page->req, name, UUID_ZERO, &err);
        if (!str_eq(name, from))
            page->first_index = 0;
        if (!topic)
            fill_missing(page, name);
        else if (!fill_topic(page, topic, &is_full))
            return false;
    }
    return true;
}

static bool fill_all(struct page *page, struct str from)
{
    struct table_iter iter;
    bool is_full = false;
    image_topics_seek(page->req->shard->image, from, &iter);
    for (const struct topic_image *topic; !is_full && (topic = table_next(&iter)) != NULL;) {
        if (!str_eq(topic->name, from))
            page->first_index = 0;
        if (!fill_topic(page, topic, &is_full))
            return false;
    }
    return true;
}

/* Where topics are named, the cursor is at one of them. */
static bool is_cursor_valid(const struct describe_topic_partitions_request *body)
{
    bool is_named = body->topics_len == 0;
    for (int32_t i = 0; i < body->topics_len; i++)
        is_named |= str_eq(body->topics[i].name, body->cursor->topic_name);
    return is_named && body->cursor->partition_index >= 0;
}

static void refuse(struct request *req, enum err err)
{
    const struct describe_topic_partitions_request *body = req->body;
    struct describe_topic_partitions_response *response = req->response;
    response->topics =
        MSG_ARRAY(describe_topic_partitions_response_topic, &req->arena, (size_t)body->topics_len);
    if (!response->topics) {
        request_over_limit(req);
        return;
    }
    response->topics_len = body->topics_len;
    for (int32_t i = 0; i < body->topics_len; i++) {
        response->topics[i].error_code = wire_code_of_err(err);
        response->topics[i].name = body->topics[i].name;
    }
    request_reply(req);
}

void describe_topic_partitions_begin(struct request *req)
{
    const struct describe_topic_partitions_request *body = req->body;
    struct describe_topic_partitions_response *response = req->response;
    const struct describe_topic_partitions_request_cursor *cursor = body->cursor;
    int32_t limit = req->shard->node->config->max_request_partition_size_limit;
    if (cursor && !is_cursor_valid(body)) {
        refuse(req, ERR_INVALID_REQUEST);
        return;
    }
    if (body->response_partition_limit < limit)
        limit = body->response_partition_limit;
    if (limit < 1)
        limit = 1;
    struct page page = {req, response, limit, cursor ? cursor->partition_index : 0};
    bool is_all = body->topics_len == 0;
    size_t room = is_all ? req->shard->image->topics.count : (size_t)body->topics_len;
    response->topics = MSG_ARRAY(describe_topic_partitions_response_topic, &req->arena, room);
    struct str from = cursor ? cursor->topic_name : STR("");
    if (!response->topics || !(is_all ? fill_all(&page, from) : fill_named(&page, from))) {
        request_over_limit(req);
        return;
    }
    request_reply(req);
}
