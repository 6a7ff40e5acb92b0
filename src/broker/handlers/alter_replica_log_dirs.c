/* AlterReplicaLogDirs (KIP-113): replicas of this broker move to other log folders. The answer says
 * that the move began; DescribeLogDirs shows how far it is. */
#include "broker/handlers/handlers.h"

#include "broker/scatter.h"
#include "repl/partition.h"

struct move_part {
    struct scatter_op op; /* first: scatter.h */
    struct str topic;
    uint32_t dir;
    int32_t result; /* which of the answer's topics it belongs to */
};

/* Among so many, what is named twice is looked for. */
#define REPEATS_MAX 1000

struct move_own {
    struct scatter scatter;
    struct move_part *parts;
    size_t count;
};

static void move_part(struct scatter_op *op)
{
    const struct move_part *part = (struct move_part *)op;
    /* Apache Kafka's answer for a partition that it has not got yet. */
    enum err err = op->partition ? mover_start(op->owner, op->partition, part->dir)
                                 : ERR_REPLICA_NOT_AVAILABLE;
    scatter_op_end(op, err);
}

static int32_t topic_of(struct alter_replica_log_dirs_response *response, struct str name)
{
    for (int32_t i = 0; i < response->results_len && i < REPEATS_MAX; i++)
        if (str_eq(response->results[i].topic_name, name))
            return i;
    response->results[response->results_len].topic_name = name;
    return response->results_len++;
}

/* The results of one topic lie in one stretch: counted first, then filled. */
static bool fill(struct request *req, const struct move_own *own)
{
    struct alter_replica_log_dirs_response *response = req->response;
    response->results = MSG_ARRAY(alter_replica_log_dirs_response_topic, &req->arena, own->count);
    struct alter_replica_log_dirs_response_partition *all =
        MSG_ARRAY(alter_replica_log_dirs_response_partition, &req->arena, own->count);
    if (!response->results || !all)
        return false;
    for (size_t i = 0; i < own->count; i++) {
        struct move_part *part = &own->parts[i];
        bool is_as_before = i > 0 && str_eq(part[-1].topic, part->topic);
        part->result = is_as_before ? part[-1].result : topic_of(response, part->topic);
        response->results[part->result].partitions_len++;
    }
    for (int32_t t = 0; t < response->results_len; t++) {
        response->results[t].partitions = all;
        all += response->results[t].partitions_len;
        response->results[t].partitions_len = 0;
    }
    for (size_t i = 0; i < own->count; i++) {
        struct alter_replica_log_dirs_response_topic *topic =
            &response->results[own->parts[i].result];
        struct alter_replica_log_dirs_response_partition *out =
            &topic->partitions[topic->partitions_len++];
        out->partition_index = own->parts[i].op.index;
        out->error_code = wire_code_of_err(own->parts[i].op.err);
    }
    return true;
}

static void alter_replica_log_dirs_finish(struct scatter *scatter)
{
    struct request *req = scatter->req;
    if (fill(req, scatter->own))
        request_reply(req);
    else
        request_over_limit(req);
}

static enum err find_dir(const struct node *node, struct str path, uint32_t *dir)
{
    for (uint32_t i = 0; i < node->hosting.dir_count; i++) {
        if (!str_eq(node->storage.dirs[i].path, path))
            continue;
        *dir = i;
        return dirs_is_online(&node->hosting, i) ? ERR_OK : ERR_KAFKA_STORAGE_ERROR;
    }
    return ERR_LOG_DIR_NOT_FOUND;
}

/* A partition that is named twice goes where it is named last. */
static struct move_part *part_of(struct move_own *own, struct str topic, int32_t index)
{
    for (size_t i = 0; i < own->count && i < REPEATS_MAX; i++)
        if (own->parts[i].op.index == index && str_eq(own->parts[i].topic, topic))
            return &own->parts[i];
    return &own->parts[own->count++];
}

static void add_dir(struct request *req, struct move_own *own,
                    const struct alter_replica_log_dirs_request_dir *in)
{
    const struct node *node = req->shard->node;
    uint32_t dir = 0;
    enum err dir_err = find_dir(node, in->path, &dir);
    for (int32_t t = 0; t < in->topics_len; t++) {
        enum err err;
        const struct topic_image *topic = request_topic(req, in->topics[t].name, UUID_ZERO, &err);
        for (int32_t p = 0; p < in->topics[t].partitions_len; p++) {
            struct move_part *part = part_of(own, in->topics[t].name, in->topics[t].partitions[p]);
            part->topic = in->topics[t].name;
            part->dir = dir;
            scatter_op_aim(&part->op, topic, topic ? dir_err : err, in->topics[t].partitions[p]);
            if (dir_err != ERR_OK) /* looked at first, as Apache Kafka does */
                part->op.err = dir_err;
        }
    }
}

void alter_replica_log_dirs_begin(struct request *req)
{
    const struct alter_replica_log_dirs_request *body = req->body;
    size_t count = 0;
    for (int32_t d = 0; d < body->dirs_len; d++)
        for (int32_t t = 0; t < body->dirs[d].topics_len; t++)
            count += (size_t)body->dirs[d].topics[t].partitions_len;
    struct move_own *own = request_array(req, 1, sizeof(*own));
    if (own)
        own->parts = request_array(req, count, sizeof(*own->parts));
    bool is_ok = own && own->parts;
    for (int32_t d = 0; is_ok && d < body->dirs_len; d++)
        add_dir(req, own, &body->dirs[d]);
    if (is_ok) {
        own->scatter.own = own;
        is_ok = scatter_start(&own->scatter, req, own->parts, own->count, sizeof(*own->parts),
                              move_part, alter_replica_log_dirs_finish) == ERR_OK;
    }
    if (!is_ok)
        request_over_limit(req);
}
