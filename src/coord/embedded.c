/* The consumer protocol inside of the classic one; see embedded.h. */
#include "coord/embedded.h"

#define VERSION_MAX 3

static bool read_version(struct slice *bytes, int16_t *version)
{
    if (bytes->len < sizeof(uint16_t))
        return false;
    *version = (int16_t)be16_load(bytes->data);
    if (*version < 0)
        return false;
    *bytes = slice_of(bytes->data + sizeof(uint16_t), bytes->len - sizeof(uint16_t));
    if (*version > VERSION_MAX)
        *version = VERSION_MAX; /* what is newer begins alike */
    return true;
}

enum err embedded_read_subscription(struct slice bytes, struct arena *arena,
                                    struct consumer_protocol_subscription *out)
{
    int16_t version;
    size_t used;
    if (!read_version(&bytes, &version))
        return ERR_MALFORMED;
    return codec_decode(&consumer_protocol_subscription_schema, version, bytes, &used, arena, out,
                        NULL);
}

enum err embedded_read_assignment(const struct coord_call *call, struct slice bytes, int32_t epoch,
                                  struct assignment *out)
{
    struct consumer_protocol_assignment assignment;
    struct assignment_builder builder;
    int16_t version;
    size_t used;
    *out = assignment_empty;
    if (bytes.len == 0)
        return ERR_OK;
    if (!read_version(&bytes, &version))
        return ERR_MALFORMED;
    TRY(codec_decode(&consumer_protocol_assignment_schema, version, bytes, &used, call->arena,
                     &assignment, NULL));
    if (assignment.user_data.len > 0)
        return ERR_UNSUPPORTED;
    assignment_builder_init(&builder, call->arena, true);
    for (int32_t i = 0; i < assignment.assigned_partitions_len; i++) {
        const struct consumer_protocol_assignment_assigned_partition *in =
            &assignment.assigned_partitions[i];
        struct coord_topic topic;
        if (!call->topics->by_name(call->topics->image, in->topic, &topic))
            continue;
        for (int32_t p = 0; p < in->partitions_len; p++)
            if (in->partitions[p] >= 0 && in->partitions[p] < topic.partition_count)
                TRY(assignment_builder_add(&builder, topic.id, in->partitions[p], epoch));
    }
    return assignment_builder_finish(&builder, out);
}

enum err embedded_read_owned(const struct coord_call *call,
                             const struct consumer_protocol_subscription *subscription,
                             struct assignment *out)
{
    struct assignment_builder builder;
    assignment_builder_init(&builder, call->arena, false);
    for (int32_t i = 0; i < subscription->owned_partitions_len; i++) {
        const struct consumer_protocol_subscription_owned_partition *in =
            &subscription->owned_partitions[i];
        struct coord_topic topic;
        if (!call->topics->by_name(call->topics->image, in->topic, &topic))
            continue;
        for (int32_t p = 0; p < in->partitions_len; p++)
            if (in->partitions[p] >= 0 && in->partitions[p] < topic.partition_count)
                TRY(assignment_builder_add(&builder, topic.id, in->partitions[p], 0));
    }
    return assignment_builder_finish(&builder, out);
}

enum err embedded_write_assignment(const struct coord_call *call, struct arena *arena,
                                   const struct assignment *assignment, struct slice subscription,
                                   struct slice *out)
{
    struct consumer_protocol_assignment value = {0};
    int16_t version;
    if (!read_version(&subscription, &version))
        return ERR_MALFORMED;
    value.assigned_partitions =
        arena_array(arena, assignment->count, sizeof(*value.assigned_partitions));
    if (!value.assigned_partitions)
        return ERR_NOMEM;
    for (size_t i = 0; i < assignment->count; i++) {
        const struct topic_partitions *topic = &assignment->topics[i];
        struct coord_topic known;
        if (!call->topics->by_id(call->topics->image, topic->topic_id, &known))
            continue;
        struct consumer_protocol_assignment_assigned_partition *to =
            &value.assigned_partitions[value.assigned_partitions_len++];
        to->topic = known.name;
        to->partitions = (int32_t *)(uintptr_t)topic->partitions; /* only read */
        to->partitions_len = (int32_t)topic->count;
    }
    struct buf bytes;
    buf_init(&bytes, BUF_NO_LIMIT);
    buf_put_be16(&bytes, (uint16_t)version);
    enum err err = bytes.err;
    if (err == ERR_OK)
        err = codec_encode(&consumer_protocol_assignment_schema, version, &value, &bytes, NULL);
    if (err == ERR_OK) {
        *out = arena_slice(arena, buf_slice(&bytes));
        err = out->data ? ERR_OK : ERR_NOMEM;
    }
    buf_deinit(&bytes);
    return err;
}
