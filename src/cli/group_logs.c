/* Where the logs of a group's partitions begin and end, and how old what is unread is.
 *
 * One connection to each leader, and one request for all of its partitions. For the age the batch
 * at the committed offset is fetched: a broker gives at least one whole batch however little is
 * asked for, but only of the first partition that has one, so what has answered is left out of the
 * next request. Partitions whose leader does not answer keep GROUP_UNKNOWN. */
#include "cli/group_logs.h"

#include "cli/out.h"
#include "wire/batch.h"

/* From version 13 on topics go by id. */
#define FETCH_BY_NAME_MAX 12
#define SCRATCH_BYTES_MAX ((size_t)256 << 20)

/* ---- leaders ---- */

static int load_leaders(struct group_session *session, struct group_partition *partitions,
                        size_t count)
{
    struct metadata_request request;
    struct metadata_response response;
    struct client *client = &session->client;
    MSG_INIT(metadata_request, &request);
    request.topics = client_array(client, count + 1, sizeof(*request.topics));
    request.topics_len = 0;
    request.allow_auto_topic_creation = false;
    for (size_t i = 0; i < count; i++) {
        if (i > 0 && str_eq(partitions[i].topic, partitions[i - 1].topic))
            continue;
        struct metadata_request_topic *topic = &request.topics[request.topics_len++];
        MSG_INIT(metadata_request_topic, topic);
        topic->name = partitions[i].topic;
    }
    if (request.topics_len == 0)
        return EXIT_FINE;
    int code = client_call(client, CLIENT_METADATA, &request, &response);
    for (int32_t t = 0; !code && t < response.topics_len; t++) {
        const struct metadata_response_topic *topic = &response.topics[t];
        for (int32_t p = 0; p < topic->partitions_len; p++) {
            struct group_partition *own = group_find_partition(
                partitions, count, topic->name, topic->partitions[p].partition_index);
            if (own)
                own->leader = topic->partitions[p].leader_id;
        }
    }
    return code;
}

/* ---- offsets ---- */

static int find_at(struct client *broker, int32_t broker_id, struct group_partition *partitions,
                   size_t count, int64_t time_ms, int64_t *offsets)
{
    struct list_offsets_request request;
    struct list_offsets_response response;
    struct list_offsets_request_partition *all = client_array(broker, count + 1, sizeof(*all));
    size_t used = 0;
    MSG_INIT(list_offsets_request, &request);
    request.replica_id = -1;
    request.topics = client_array(broker, count + 1, sizeof(*request.topics));
    request.topics_len = 0;
    for (size_t i = 0; i < count; i++) {
        struct list_offsets_request_topic *topic =
            request.topics_len ? &request.topics[request.topics_len - 1] : NULL;
        if (partitions[i].leader != broker_id)
            continue;
        if (!topic || !str_eq(topic->name, partitions[i].topic)) {
            topic = &request.topics[request.topics_len++];
            MSG_INIT(list_offsets_request_topic, topic);
            topic->name = partitions[i].topic;
            topic->partitions = &all[used];
        }
        MSG_INIT(list_offsets_request_partition, &all[used]);
        all[used].partition_index = partitions[i].index;
        all[used++].timestamp = time_ms;
        topic->partitions_len++;
    }
    int code = used ? client_call(broker, CLIENT_LIST_OFFSETS, &request, &response) : EXIT_FINE;
    for (int32_t t = 0; !code && used && t < response.topics_len; t++) {
        const struct list_offsets_response_topic *topic = &response.topics[t];
        for (int32_t p = 0; p < topic->partitions_len; p++) {
            const struct list_offsets_response_partition *answer = &topic->partitions[p];
            const struct group_partition *own =
                group_find_partition(partitions, count, topic->name, answer->partition_index);
            if (own && !answer->error_code)
                offsets[own - partitions] = answer->offset;
        }
    }
    return code;
}

int group_find_offsets(struct group_session *session, struct group_partition *partitions,
                       size_t count, int64_t time_ms, int64_t *offsets)
{
    for (size_t i = 0; i < count; i++)
        offsets[i] = GROUP_UNKNOWN;
    for (int32_t b = 0; b < session->cluster.brokers_len; b++) {
        int32_t id = session->cluster.brokers[b].broker_id;
        bool is_needed = false;
        for (size_t i = 0; i < count; i++)
            is_needed = is_needed || partitions[i].leader == id;
        struct client *broker;
        int code = is_needed ? group_session_broker(session, id, &broker) : EXIT_FINE;
        if (!code && is_needed)
            code = find_at(broker, id, partitions, count, time_ms, offsets);
        if (code)
            return code;
    }
    return EXIT_FINE;
}

int group_load_logs(struct group_session *session, struct group_partition *partitions, size_t count)
{
    int64_t *offsets = client_array(&session->client, count + 1, sizeof(*offsets));
    int code = load_leaders(session, partitions, count);
    if (!code)
        code = group_find_offsets(session, partitions, count, GROUP_TIME_BEGINNING, offsets);
    for (size_t i = 0; !code && i < count; i++)
        partitions[i].begin = offsets[i];
    if (!code)
        code = group_find_offsets(session, partitions, count, GROUP_TIME_END, offsets);
    for (size_t i = 0; !code && i < count; i++)
        partitions[i].end = offsets[i];
    return code;
}

int64_t group_partition_lag(const struct group_partition *partition)
{
    if (partition->committed < 0 || partition->end < 0)
        return GROUP_UNKNOWN;
    return partition->end > partition->committed ? partition->end - partition->committed : 0;
}

/* ---- ages ---- */

struct reader {
    struct client *broker;
    struct compressors compressors;
    struct buf scratch;
    struct group_partition *partitions; /* of the group */
    size_t count;
    bool *is_waiting; /* of this broker, without an answer yet */
    size_t waiting_count;
};

/* Where to look: what was deleted cannot be read. */
static int64_t first_unread(const struct group_partition *partition)
{
    return partition->committed > partition->begin ? partition->committed : partition->begin;
}

/* The timestamp of the first record at or past the offset. What cannot be read, or is no data,
 * tells at least how new it is. */
static int64_t time_at(struct reader *reader, struct slice bytes, int64_t offset)
{
    struct batches batches;
    struct batch batch;
    batches_init(&batches, bytes);
    while (batches_next(&batches, &batch)) {
        struct records records;
        struct record record;
        if (batch.last_offset < offset)
            continue;
        if (batch_is_control(&batch) ||
            records_init(&records, &batch, &reader->compressors, &reader->scratch) != ERR_OK)
            return batch.max_timestamp;
        while (records_next(&records, &record)) {
            if (record.offset >= offset)
                return record.timestamp;
        }
    }
    return GROUP_UNKNOWN;
}

static void build_fetch(struct reader *reader, struct fetch_request *request)
{
    size_t used = 0;
    struct fetch_request_partition *all =
        client_array(reader->broker, reader->waiting_count + 1, sizeof(*all));
    MSG_INIT(fetch_request, request);
    request->max_bytes = 1;
    request->topics =
        client_array(reader->broker, reader->waiting_count + 1, sizeof(*request->topics));
    request->topics_len = 0;
    for (size_t i = 0; i < reader->count; i++) {
        const struct group_partition *partition = &reader->partitions[i];
        struct fetch_request_topic *topic =
            request->topics_len ? &request->topics[request->topics_len - 1] : NULL;
        if (!reader->is_waiting[i])
            continue;
        if (!topic || !str_eq(topic->topic, partition->topic)) {
            topic = &request->topics[request->topics_len++];
            MSG_INIT(fetch_request_topic, topic);
            topic->topic = partition->topic;
            topic->partitions = &all[used];
        }
        MSG_INIT(fetch_request_partition, &all[used]);
        all[used].partition = partition->index;
        all[used].fetch_offset = first_unread(partition);
        all[used++].partition_max_bytes = 1;
        topic->partitions_len++;
    }
}

/* Whoever answered, with records or with an error, waits no more. */
static void take_answers(struct reader *reader, const struct fetch_response *response)
{
    for (int32_t t = 0; t < response->responses_len; t++) {
        const struct fetch_response_topic *topic = &response->responses[t];
        for (int32_t p = 0; p < topic->partitions_len; p++) {
            const struct fetch_response_partition *answer = &topic->partitions[p];
            struct group_partition *own = group_find_partition(
                reader->partitions, reader->count, topic->topic, answer->partition_index);
            if (!own || !reader->is_waiting[own - reader->partitions] ||
                (!answer->error_code && answer->records.len == 0))
                continue;
            if (!answer->error_code)
                own->oldest_ms = time_at(reader, answer->records, first_unread(own));
            reader->is_waiting[own - reader->partitions] = false;
            reader->waiting_count--;
        }
    }
}

static int read_times(struct reader *reader)
{
    size_t before = 0;
    while (reader->waiting_count > 0 && reader->waiting_count != before) {
        struct fetch_request request;
        struct fetch_response response;
        before = reader->waiting_count;
        build_fetch(reader, &request);
        int code = client_call_at_most(reader->broker, CLIENT_FETCH, FETCH_BY_NAME_MAX, &request,
                                       &response);
        if (code)
            return code;
        take_answers(reader, &response);
    }
    return EXIT_FINE;
}

static bool has_unread(const struct group_partition *partition)
{
    return group_partition_lag(partition) > 0 && first_unread(partition) < partition->end;
}

int group_load_times(struct group_session *session, struct group_partition *partitions,
                     size_t count)
{
    struct reader reader = {.partitions = partitions, .count = count};
    int code = EXIT_FINE;
    reader.is_waiting = client_array(&session->client, count + 1, sizeof(*reader.is_waiting));
    compressors_init(&reader.compressors);
    buf_init(&reader.scratch, SCRATCH_BYTES_MAX);
    for (int32_t b = 0; !code && b < session->cluster.brokers_len; b++) {
        int32_t id = session->cluster.brokers[b].broker_id;
        reader.waiting_count = 0;
        for (size_t i = 0; i < count; i++) {
            reader.is_waiting[i] = partitions[i].leader == id && has_unread(&partitions[i]);
            reader.waiting_count += reader.is_waiting[i];
        }
        if (reader.waiting_count == 0)
            continue;
        code = group_session_broker(session, id, &reader.broker);
        if (!code)
            code = read_times(&reader);
    }
    compressors_deinit(&reader.compressors);
    buf_deinit(&reader.scratch);
    return code;
}
