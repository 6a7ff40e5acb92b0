/* DescribeLogDirs (KIP-113, KIP-827): what lies in which log folder, and how full its disk is. */
#include "broker/handlers/handlers.h"

#include <stdlib.h>
#include <string.h>

#include "broker/scatter.h"
#include "log/compact.h"
#include "repl/partition.h"
#include "wire/own_tags.h"

struct log_dir_part {
    struct scatter_op op; /* first: scatter.h */
    const struct topic_image *topic;
    uint32_t dir;
    int64_t size;
    char *compaction_problem; /* a copy (malloc), or NULL */
    bool is_moving;           /* and where to */
    struct mover_progress progress;
};

struct log_dirs_own {
    struct scatter scatter;
    struct image *image; /* one reference: topics are named after the owners were asked */
    struct log_dir_part *parts;
    size_t count;
};

static void measure_part(struct scatter_op *op)
{
    struct log_dir_part *part = (struct log_dir_part *)op;
    if (!op->partition || !op->partition->log) {
        scatter_op_end(op, ERR_REPLICA_NOT_AVAILABLE);
        return;
    }
    part->dir = op->partition->log_dir;
    part->size = (int64_t)log_size(op->partition->log);
    const char *problem = log_compact_problem(op->partition->log);
    part->compaction_problem = problem ? strdup(problem) : NULL;
    part->is_moving = mover_progress(op->partition, &part->progress);
    scatter_op_end(op, ERR_OK);
}

/* Beside what Kafka says of a partition; also seen by its clients, which skip it. */
static bool put_problem(struct request *req, const char *problem, struct unknown_tags *tags)
{
    if (!problem)
        return true;
    struct str text = arena_str(&req->arena, str_of(problem));
    struct unknown_tag *tag = arena_zalloc(&req->arena, sizeof(*tag));
    if (!text.data || !tag)
        return false;
    *tag = (struct unknown_tag){OWN_TAG_COMPACTION_PROBLEM, slice_of(text.data, text.len)};
    *tags = (struct unknown_tags){tag, 1};
    return true;
}

static bool is_in(const struct log_dir_part *part, uint32_t dir, bool is_future)
{
    if (part->op.err != ERR_OK)
        return false;
    return is_future ? part->is_moving && part->progress.dir == dir : part->dir == dir;
}

static void fill_partition(const struct log_dir_part *part, bool is_future,
                           struct describe_log_dirs_response_partition *out)
{
    out->partition_index = part->op.index;
    out->partition_size = is_future ? (int64_t)part->progress.size : part->size;
    out->offset_lag = is_future ? part->progress.offset_lag : 0;
    out->is_future_key = is_future;
}

static bool fill_topics(struct request *req, const struct log_dirs_own *own, uint32_t dir,
                        struct describe_log_dirs_response_result *out)
{
    out->topics = MSG_ARRAY(describe_log_dirs_response_topic, &req->arena, own->count);
    struct describe_log_dirs_response_partition *all =
        MSG_ARRAY(describe_log_dirs_response_partition, &req->arena, 2 * own->count);
    if (!out->topics || !all)
        return false;
    struct describe_log_dirs_response_topic *topic = NULL;
    for (size_t i = 0; i < 2 * own->count; i++) {
        const struct log_dir_part *part = &own->parts[i / 2];
        bool is_future = i % 2 == 1;
        if (!is_in(part, dir, is_future))
            continue;
        if (!topic || !str_eq(topic->name, part->topic->name)) {
            topic = &out->topics[out->topics_len++];
            topic->name = part->topic->name;
            topic->partitions = all;
        }
        topic->partitions_len++;
        fill_partition(part, is_future, all);
        if (!is_future && !put_problem(req, part->compaction_problem, &all->unknown_tags))
            return false;
        all++;
    }
    return true;
}

static bool fill_dir(struct request *req, const struct log_dirs_own *own, uint32_t dir,
                     struct describe_log_dirs_response_result *out)
{
    struct node *node = req->shard->node;
    const struct hosting_dir *hosting_dir = &node->hosting.dirs[dir];
    uint64_t total, usable;
    out->log_dir = node->storage.dirs[dir].path;
    if (atomic_load(&hosting_dir->is_offline)) {
        out->error_code = wire_code_of_err(ERR_KAFKA_STORAGE_ERROR);
        return true;
    }
    enum err err = io_space(req->shard->io, out->log_dir.data, &total, &usable);
    if (err == ERR_OK) {
        out->total_bytes = (int64_t)total;
        out->usable_bytes = (int64_t)usable;
    }
    return fill_topics(req, own, dir, out);
}

static void describe_log_dirs_finish(struct scatter *scatter)
{
    struct log_dirs_own *own = scatter->own;
    struct request *req = scatter->req;
    struct describe_log_dirs_response *response = req->response;
    struct node *node = req->shard->node;
    size_t count = node->hosting.dir_count;
    response->results = MSG_ARRAY(describe_log_dirs_response_result, &req->arena, count);
    bool is_ok = response->results != NULL;
    for (uint32_t dir = 0; is_ok && dir < count; dir++)
        is_ok = fill_dir(req, own, dir, &response->results[response->results_len++]);
    for (size_t i = 0; i < own->count; i++)
        free(own->parts[i].compaction_problem);
    if (is_ok)
        request_reply(req);
    else
        request_over_limit(req);
    image_unref(own->image);
}

static void add_part(struct log_dirs_own *own, const struct topic_image *topic, int32_t index)
{
    if (!image_partition(topic, index))
        return;
    struct log_dir_part *part = &own->parts[own->count++];
    part->topic = topic;
    part->op.topic_id = topic->id;
    part->op.index = index;
}

static bool add_all(struct request *req, struct log_dirs_own *own)
{
    own->parts = request_array(req, own->image->partition_count, sizeof(*own->parts));
    if (!own->parts)
        return false;
    IMAGE_TOPICS_EACH(iter, own->image, topic)
    {
        for (uint32_t i = 0; i < topic->partition_count; i++)
            add_part(own, topic, (int32_t)i);
    }
    return true;
}

static bool add_asked(struct request *req, struct log_dirs_own *own)
{
    const struct describe_log_dirs_request *body = req->body;
    size_t count = 0;
    for (int32_t t = 0; t < body->topics_len; t++)
        count += (size_t)body->topics[t].partitions_len;
    own->parts = request_array(req, count, sizeof(*own->parts));
    if (!own->parts)
        return false;
    for (int32_t t = 0; t < body->topics_len; t++) {
        const struct topic_image *topic = image_topic_by_name(own->image, body->topics[t].topic);
        for (int32_t p = 0; topic && p < body->topics[t].partitions_len; p++)
            add_part(own, topic, body->topics[t].partitions[p]);
    }
    return true;
}

void describe_log_dirs_begin(struct request *req)
{
    const struct describe_log_dirs_request *body = req->body;
    struct log_dirs_own *own = request_array(req, 1, sizeof(*own));
    if (!own) {
        request_over_limit(req);
        return;
    }
    own->image = image_ref(req->shard->image);
    own->scatter.own = own;
    if (!(body->topics_len < 0 ? add_all(req, own) : add_asked(req, own)) ||
        scatter_start(&own->scatter, req, own->parts, own->count, sizeof(*own->parts), measure_part,
                      describe_log_dirs_finish) != ERR_OK) {
        image_unref(own->image);
        request_over_limit(req);
    }
}
