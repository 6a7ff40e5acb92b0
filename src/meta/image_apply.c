/* Records to image: a copy of the base image is changed record by record, then shown.
 *
 * What a record means is Kafka's (its image deltas). The copy is private until it is returned, so
 * parts that this copy made itself (their generation says so) are changed in place: a topic of
 * thousands of partitions is built in one go. A record that makes no sense here (an unknown topic,
 * a list that is too long, an end without a beginning) fails the whole step, and the copy is
 * dropped.
 *
 * Records of a metadata transaction are kept framed in `pending` until its end, then applied, or
 * dropped at its abort. Records that nothing acts on yet are kept framed in `carried`.
 *
 * Pure; shard 0. */
#include <inttypes.h>

#include "base/assert.h"
#include "meta/image_internal.h"
#include "wire/messages.h"

#define CARRIED_MAX 1000000

struct edit {
    struct image *image; /* ours alone */
    struct arena *arena; /* for texts and decoded pending records */
    struct meta_error *error;
};

static enum err fail(struct edit *edit, enum err err, const char *what)
{
    return meta_error_set(edit->error, edit->arena, err, "%s", what);
}

static enum err put_or_drop(struct table *table, void *entry, void (*unref)(void *))
{
    if (!entry)
        return ERR_NOMEM;
    enum err err = table_put(table, entry);
    if (err)
        unref(entry);
    return err;
}

/* --- topics --- */

static enum err unknown_topic(struct edit *edit, struct uuid id)
{
    char text[UUID_TEXT_LEN + 1];
    uuid_format(id, text);
    return meta_error_set(edit->error, edit->arena, ERR_MALFORMED, "the topic id %s is not known",
                          text);
}

/* Puts a topic into both tables; takes its reference over. */
static enum err topic_put(struct edit *edit, struct topic_image *topic)
{
    atomic_fetch_add_explicit(&topic->refs, 1, memory_order_relaxed);
    enum err err = table_put(&edit->image->topics, topic);
    if (err)
        topic_image_unref(topic);
    else
        err = table_put(&edit->image->topics_by_id, topic);
    if (err)
        topic_image_unref(topic);
    return err;
}

static enum err apply_topic(struct edit *edit, const struct topic_record *r)
{
    if (image_topic_by_name(edit->image, r->name))
        return meta_error_set(edit->error, edit->arena, ERR_MALFORMED,
                              "the topic %.*s exists already", STR_ARG(r->name));
    if (image_topic_by_id(edit->image, r->topic_id))
        return fail(edit, ERR_MALFORMED, "the topic id is in use");
    struct topic_image *topic = topic_image_create(r->name, r->topic_id, edit->image->generation);
    return topic ? topic_put(edit, topic) : ERR_NOMEM;
}

/* The topic as this edit's own, so that it may be changed in place. */
static enum err topic_own(struct edit *edit, struct uuid id, struct topic_image **out)
{
    struct topic_image *topic = table_find(&edit->image->topics_by_id, &id);
    if (!topic)
        return unknown_topic(edit, id);
    if (topic->generation != edit->image->generation) {
        topic = topic_image_clone(topic, edit->image->generation);
        if (!topic)
            return ERR_NOMEM;
        TRY(topic_put(edit, topic));
    }
    *out = topic;
    return ERR_OK;
}

static enum err apply_remove_topic(struct edit *edit, const struct remove_topic_record *r)
{
    struct image *image = edit->image;
    struct topic_image *topic = table_find(&image->topics_by_id, &r->topic_id);
    if (!topic)
        return unknown_topic(edit, r->topic_id);
    struct config_image key = {.type = CONFIG_TOPIC, .name = topic->name};
    TRY(table_remove(&image->configs, &key, NULL));
    uint32_t partitions = 0;
    for (uint32_t i = 0; i < topic->partition_count; i++)
        partitions += topic->partitions[i] != NULL;
    image->partition_count -= partitions;
    /* `topic` lives until it has left both tables. */
    TRY(table_remove(&image->topics, &topic->name, NULL));
    return table_remove(&image->topics_by_id, &r->topic_id, NULL);
}

/* --- partitions --- */

static enum err take_list(struct edit *edit, const int32_t *list, int32_t len, const int32_t **to,
                          uint32_t *count)
{
    if (len > META_REPLICAS_MAX)
        return fail(edit, ERR_LIMIT, "a partition has too many replicas");
    *to = list;
    *count = len < 0 ? 0 : (uint32_t)len;
    return ERR_OK;
}

/* The directories of a partition whose record does not name them: not known yet. */
static enum err directories_unknown(struct edit *edit, uint32_t count, const struct uuid **to)
{
    struct uuid *directories = arena_array(edit->arena, count, sizeof(*directories));
    if (!directories)
        return ERR_NOMEM;
    for (uint32_t i = 0; i < count; i++)
        directories[i] = DIR_MIGRATING;
    *to = directories;
    return ERR_OK;
}

static enum err put_partition(struct edit *edit, struct topic_image *topic, int32_t index,
                              const struct partition_image *spec)
{
    bool is_new = image_partition(topic, index) == NULL;
    struct partition_image *partition = partition_image_create(spec);
    if (!partition)
        return ERR_NOMEM;
    enum err err = topic_image_put(topic, (uint32_t)index, partition);
    if (err)
        partition_image_unref(partition);
    else
        edit->image->partition_count += is_new;
    return err;
}

static enum err apply_partition(struct edit *edit, const struct partition_record *r)
{
    if (r->partition_id < 0 || r->partition_id >= META_PARTITIONS_MAX)
        return fail(edit, ERR_LIMIT, "the partition number is out of range");
    struct partition_image spec = {
        .leader = r->leader,
        .leader_epoch = r->leader_epoch,
        .partition_epoch = r->partition_epoch,
        .leader_recovery_state = r->leader_recovery_state,
        .directories = r->directories,
    };
    TRY(take_list(edit, r->replicas, r->replicas_len, &spec.replicas, &spec.replica_count));
    TRY(take_list(edit, r->isr, r->isr_len, &spec.isr, &spec.isr_count));
    TRY(take_list(edit, r->removing_replicas, r->removing_replicas_len, &spec.removing,
                  &spec.removing_count));
    TRY(take_list(edit, r->adding_replicas, r->adding_replicas_len, &spec.adding,
                  &spec.adding_count));
    TRY(take_list(edit, r->eligible_leader_replicas, r->eligible_leader_replicas_len, &spec.elr,
                  &spec.elr_count));
    TRY(take_list(edit, r->last_known_elr, r->last_known_elr_len, &spec.last_known_elr,
                  &spec.last_known_elr_count));
    if (r->directories_len <= 0)
        TRY(directories_unknown(edit, spec.replica_count, &spec.directories));
    else if ((uint32_t)r->directories_len != spec.replica_count)
        return fail(edit, ERR_MALFORMED, "a partition's replicas and directories differ in number");
    struct topic_image *topic = NULL;
    TRY(topic_own(edit, r->topic_id, &topic));
    return put_partition(edit, topic, r->partition_id, &spec);
}

/* The lists that a change names replace those of the partition. */
static enum err merge_lists(struct edit *edit, const struct partition_change_record *r,
                            struct partition_image *spec)
{
    if (r->isr_len >= 0)
        TRY(take_list(edit, r->isr, r->isr_len, &spec->isr, &spec->isr_count));
    if (r->removing_replicas_len >= 0)
        TRY(take_list(edit, r->removing_replicas, r->removing_replicas_len, &spec->removing,
                      &spec->removing_count));
    if (r->adding_replicas_len >= 0)
        TRY(take_list(edit, r->adding_replicas, r->adding_replicas_len, &spec->adding,
                      &spec->adding_count));
    if (r->eligible_leader_replicas_len >= 0)
        TRY(take_list(edit, r->eligible_leader_replicas, r->eligible_leader_replicas_len,
                      &spec->elr, &spec->elr_count));
    if (r->last_known_elr_len >= 0)
        TRY(take_list(edit, r->last_known_elr, r->last_known_elr_len, &spec->last_known_elr,
                      &spec->last_known_elr_count));
    uint32_t had = spec->replica_count;
    if (r->replicas_len >= 0)
        TRY(take_list(edit, r->replicas, r->replicas_len, &spec->replicas, &spec->replica_count));
    if (r->directories_len >= 0) {
        if ((uint32_t)r->directories_len != spec->replica_count)
            return fail(edit, ERR_MALFORMED,
                        "a partition's replicas and directories differ in number");
        spec->directories = r->directories;
    } else if (r->replicas_len >= 0 && had != spec->replica_count) {
        TRY(directories_unknown(edit, spec->replica_count, &spec->directories));
    }
    return ERR_OK;
}

static enum err change_partition(struct edit *edit, const struct partition_change_record *r)
{
    struct topic_image *topic = NULL;
    TRY(topic_own(edit, r->topic_id, &topic));
    const struct partition_image *old = image_partition(topic, r->partition_id);
    if (!old)
        return meta_error_set(edit->error, edit->arena, ERR_MALFORMED,
                              "partition %" PRId32 " of %.*s is not known", r->partition_id,
                              STR_ARG(topic->name));
    struct partition_image spec;
    memcpy(&spec, old, sizeof(spec));
    TRY(merge_lists(edit, r, &spec));
    if (r->leader != -2) {
        spec.leader = r->leader;
        spec.leader_epoch++;
    }
    if (r->leader_recovery_state >= 0)
        spec.leader_recovery_state = r->leader_recovery_state;
    spec.partition_epoch++;
    return put_partition(edit, topic, r->partition_id, &spec);
}

static enum err clear_topic_elr(struct edit *edit, struct uuid id)
{
    const struct topic_image *topic = image_topic_by_id(edit->image, id);
    for (uint32_t i = 0; topic && i < topic->partition_count; i++) {
        const struct partition_image *partition = topic->partitions[i];
        if (!partition || (partition->elr_count == 0 && partition->last_known_elr_count == 0))
            continue;
        struct partition_change_record change;
        MSG_INIT(partition_change_record, &change);
        change.topic_id = id;
        change.partition_id = (int32_t)i;
        change.eligible_leader_replicas_len = 0;
        change.last_known_elr_len = 0;
        TRY(change_partition(edit, &change));
        topic = image_topic_by_id(edit->image, id);
    }
    return ERR_OK;
}

/* No name: all topics. */
static enum err apply_clear_elr(struct edit *edit, const struct clear_elr_record *r)
{
    if (r->topic_name.len > 0) {
        const struct topic_image *topic = image_topic_by_name(edit->image, r->topic_name);
        if (!topic)
            return meta_error_set(edit->error, edit->arena, ERR_MALFORMED,
                                  "the topic %.*s is not known", STR_ARG(r->topic_name));
        return clear_topic_elr(edit, topic->id);
    }
    size_t count = edit->image->topics.count;
    struct uuid *ids = arena_array(edit->arena, count, sizeof(*ids));
    if (!ids)
        return ERR_NOMEM;
    size_t n = 0;
    IMAGE_TOPICS_EACH(iter, edit->image, topic)
    ids[n++] = topic->id;
    for (size_t i = 0; i < n; i++)
        TRY(clear_topic_elr(edit, ids[i]));
    return ERR_OK;
}

/* --- configs and features --- */

static enum err apply_config(struct edit *edit, const struct config_record *r)
{
    struct str name = r->resource_name;
    const struct config_image *old =
        image_config(edit->image, (enum config_type)r->resource_type, name);
    uint32_t old_count = old ? old->count : 0;
    struct config_entry *entries = arena_array(edit->arena, old_count + 1, sizeof(*entries));
    if (!entries)
        return ERR_NOMEM;
    struct config_image spec = {.type = (enum config_type)r->resource_type, .name = name};
    bool placed = str_is_null(r->value);
    for (uint32_t i = 0; i < old_count; i++) {
        int order = str_cmp(old->entries[i].key, r->name);
        if (order >= 0 && !placed) {
            entries[spec.count++] = (struct config_entry){r->name, r->value};
            placed = true;
        }
        if (order != 0)
            entries[spec.count++] = old->entries[i];
    }
    if (!placed)
        entries[spec.count++] = (struct config_entry){r->name, r->value};
    spec.entries = entries;
    if (spec.count == 0)
        return table_remove(&edit->image->configs, &spec, NULL);
    return put_or_drop(&edit->image->configs, config_image_create(&spec), config_image_unref);
}

static enum err apply_feature(struct edit *edit, const struct feature_level_record *r)
{
    if (r->feature_level == 0)
        return table_remove(&edit->image->features, &r->name, NULL);
    return put_or_drop(&edit->image->features, feature_image_create(r->name, r->feature_level),
                       feature_image_unref);
}

/* --- brokers and controllers --- */

static uint32_t count_of(int32_t len)
{
    return len < 0 ? 0 : (uint32_t)len;
}

/* The schemas give brokers and controllers the same lists under different type names. */
#define TAKE_ENDPOINTS(edit, r, spec)                                                             \
    do {                                                                                          \
        uint32_t count_ = count_of((r)->end_points_len);                                          \
        struct endpoint_image *to_ = arena_array((edit)->arena, count_, sizeof(*to_));            \
        if (!to_)                                                                                 \
            return ERR_NOMEM;                                                                     \
        for (uint32_t i_ = 0; i_ < count_; i_++)                                                  \
            to_[i_] = (struct endpoint_image){(r)->end_points[i_].name, (r)->end_points[i_].host, \
                                              (r)->end_points[i_].port,                           \
                                              (r)->end_points[i_].security_protocol};             \
        (spec)->endpoints = to_;                                                                  \
        (spec)->endpoint_count = count_;                                                          \
    } while (0)
#define TAKE_FEATURES(edit, r, spec)                                                   \
    do {                                                                               \
        uint32_t count_ = count_of((r)->features_len);                                 \
        struct feature_range *to_ = arena_array((edit)->arena, count_, sizeof(*to_));  \
        if (!to_)                                                                      \
            return ERR_NOMEM;                                                          \
        for (uint32_t i_ = 0; i_ < count_; i_++)                                       \
            to_[i_] = (struct feature_range){(r)->features[i_].name,                   \
                                             (r)->features[i_].min_supported_version,  \
                                             (r)->features[i_].max_supported_version}; \
        (spec)->features = to_;                                                        \
        (spec)->feature_count = count_;                                                \
    } while (0)

static enum err apply_register_broker(struct edit *edit, const struct register_broker_record *r)
{
    struct broker_image spec = {
        .id = r->broker_id,
        .epoch = r->broker_epoch,
        .incarnation_id = r->incarnation_id,
        .rack = r->rack,
        .fenced = r->fenced,
        .in_controlled_shutdown = r->in_controlled_shutdown,
        .log_dir_count = count_of(r->log_dirs_len),
        .log_dirs = r->log_dirs,
        .cordoned_count = count_of(r->cordoned_log_dirs_len),
        .cordoned_log_dirs = r->cordoned_log_dirs,
    };
    TAKE_ENDPOINTS(edit, r, &spec);
    TAKE_FEATURES(edit, r, &spec);
    return put_or_drop(&edit->image->brokers, broker_image_create(&spec), broker_image_unref);
}

/* The broker's present state, to be changed and put back; its epoch must be the record's. */
static enum err broker_spec(struct edit *edit, int32_t id, int64_t epoch, struct broker_image *spec)
{
    const struct broker_image *broker = image_broker(edit->image, id);
    if (!broker)
        return meta_error_set(edit->error, edit->arena, ERR_MALFORMED,
                              "broker %" PRId32 " is not registered", id);
    if (broker->epoch != epoch)
        return meta_error_set(edit->error, edit->arena, ERR_MALFORMED,
                              "broker %" PRId32 " has the epoch %" PRId64 ", not %" PRId64, id,
                              broker->epoch, epoch);
    memcpy(spec, broker, sizeof(*spec));
    return ERR_OK;
}

static enum err put_broker(struct edit *edit, const struct broker_image *spec)
{
    return put_or_drop(&edit->image->brokers, broker_image_create(spec), broker_image_unref);
}

static enum err set_fenced(struct edit *edit, int32_t id, int64_t epoch, bool fenced)
{
    struct broker_image spec;
    TRY(broker_spec(edit, id, epoch, &spec));
    spec.fenced = fenced;
    return put_broker(edit, &spec);
}

static enum err apply_unregister_broker(struct edit *edit, const struct unregister_broker_record *r)
{
    struct broker_image spec;
    TRY(broker_spec(edit, r->broker_id, r->broker_epoch, &spec));
    return table_remove(&edit->image->brokers, &r->broker_id, NULL);
}

static enum err apply_broker_change(struct edit *edit,
                                    const struct broker_registration_change_record *r)
{
    struct broker_image spec;
    TRY(broker_spec(edit, r->broker_id, r->broker_epoch, &spec));
    if (r->fenced != 0)
        spec.fenced = r->fenced > 0;
    if (r->in_controlled_shutdown != 0)
        spec.in_controlled_shutdown = true;
    if (r->log_dirs_len > 0) {
        spec.log_dirs = r->log_dirs;
        spec.log_dir_count = (uint32_t)r->log_dirs_len;
    }
    if (r->cordoned_log_dirs_len >= 0) {
        spec.cordoned_log_dirs = r->cordoned_log_dirs;
        spec.cordoned_count = (uint32_t)r->cordoned_log_dirs_len;
    }
    return put_broker(edit, &spec);
}

static enum err apply_register_controller(struct edit *edit,
                                          const struct register_controller_record *r)
{
    struct controller_image spec = {
        .id = r->controller_id,
        .incarnation_id = r->incarnation_id,
        .zk_migration_ready = r->zk_migration_ready,
    };
    TAKE_ENDPOINTS(edit, r, &spec);
    TAKE_FEATURES(edit, r, &spec);
    return put_or_drop(&edit->image->controllers, controller_image_create(&spec),
                       controller_image_unref);
}

/* --- kept records, transactions --- */

/* Nothing is ever taken out of these tables alone, so the count numbers what arrives. */
static enum err keep(struct edit *edit, struct table *table, const struct meta_record *record)
{
    if (table->count >= CARRIED_MAX)
        return fail(edit, ERR_LIMIT, "too many records of kinds that are only kept");
    struct buf buf;
    buf_init(&buf, BUF_NO_LIMIT);
    enum err err = meta_record_encode(record, &buf);
    if (!err)
        err = put_or_drop(table, carried_image_create(table->count, buf_slice(&buf)),
                          carried_image_unref);
    buf_deinit(&buf);
    return err;
}

static enum err apply_one(struct edit *edit, const struct meta_record *record);

static enum err drop_pending(struct edit *edit)
{
    const struct table_kind *kind = edit->image->pending.kind;
    table_deinit(&edit->image->pending);
    table_init(&edit->image->pending, kind);
    edit->image->in_transaction = false;
    return ERR_OK;
}

static enum err apply_pending(struct edit *edit)
{
    edit->image->in_transaction = false;
    struct table_iter iter;
    table_begin(&iter, &edit->image->pending);
    const struct carried_image *carried;
    while ((carried = table_next(&iter)) != NULL) {
        struct meta_record record;
        TRY(meta_record_decode(carried->value, edit->arena, &record, edit->error));
        TRY(apply_one(edit, &record));
    }
    return drop_pending(edit);
}

static enum err apply_in_transaction(struct edit *edit, const struct meta_record *record)
{
    switch (record->type) {
    case META_BEGIN_TRANSACTION:
        return fail(edit, ERR_MALFORMED, "a metadata transaction begins inside of another");
    case META_END_TRANSACTION:
        return apply_pending(edit);
    case META_ABORT_TRANSACTION:
        return drop_pending(edit);
    case META_NO_OP:
        return ERR_OK;
    default:
        return keep(edit, &edit->image->pending, record);
    }
}

static enum err apply_producer_ids(struct edit *edit, const struct producer_ids_record *r)
{
    if (r->next_producer_id < edit->image->next_producer_id)
        return fail(edit, ERR_MALFORMED, "the next producer id goes backwards");
    edit->image->next_producer_id = r->next_producer_id;
    return ERR_OK;
}

static enum err apply_one(struct edit *edit, const struct meta_record *record)
{
    const void *body = record->body;
    const struct fence_broker_record *fence = body;
    const struct unfence_broker_record *unfence = body;
    switch ((enum meta_type)record->type) {
    case META_REGISTER_BROKER:
        return apply_register_broker(edit, body);
    case META_UNREGISTER_BROKER:
        return apply_unregister_broker(edit, body);
    case META_TOPIC:
        return apply_topic(edit, body);
    case META_PARTITION:
        return apply_partition(edit, body);
    case META_CONFIG:
        return apply_config(edit, body);
    case META_PARTITION_CHANGE:
        return change_partition(edit, body);
    case META_FENCE_BROKER:
        return set_fenced(edit, fence->id, fence->epoch, true);
    case META_UNFENCE_BROKER:
        return set_fenced(edit, unfence->id, unfence->epoch, false);
    case META_REMOVE_TOPIC:
        return apply_remove_topic(edit, body);
    case META_FEATURE_LEVEL:
        return apply_feature(edit, body);
    case META_PRODUCER_IDS:
        return apply_producer_ids(edit, body);
    case META_BROKER_REGISTRATION_CHANGE:
        return apply_broker_change(edit, body);
    case META_REGISTER_CONTROLLER:
        return apply_register_controller(edit, body);
    case META_CLEAR_ELR:
        return apply_clear_elr(edit, body);
    case META_NO_OP:
        return ERR_OK;
    case META_DELEGATION_TOKEN:
    case META_USER_SCRAM_CREDENTIAL:
    case META_CLIENT_QUOTA:
    case META_ACCESS_CONTROL_ENTRY:
    case META_REMOVE_ACCESS_CONTROL_ENTRY:
    case META_ZK_MIGRATION_STATE:
    case META_REMOVE_USER_SCRAM_CREDENTIAL:
    case META_REMOVE_DELEGATION_TOKEN:
        return keep(edit, &edit->image->carried, record);
    case META_BEGIN_TRANSACTION:
        edit->image->in_transaction = true;
        return ERR_OK;
    case META_END_TRANSACTION:
    case META_ABORT_TRANSACTION:
        return fail(edit, ERR_MALFORMED, "a metadata transaction ends that did not begin");
    }
    return fail(edit, ERR_UNSUPPORTED, "records of this type are not known");
}

enum err image_apply(const struct image *base, const struct meta_record *records, size_t count,
                     int64_t end_offset, int32_t epoch, int64_t timestamp_ms, struct arena *arena,
                     struct image **out, struct meta_error *error)
{
    struct meta_error inner = {ERR_OK, STR_NULL};
    struct edit edit = {.arena = arena, .error = &inner};
    TRY(image_copy(base, &edit.image));
    for (size_t i = 0; i < count; i++) {
        enum err err = edit.image->in_transaction ? apply_in_transaction(&edit, &records[i])
                                                  : apply_one(&edit, &records[i]);
        if (!err)
            continue;
        image_unref(edit.image);
        const char *name = meta_record_type_name(records[i].type);
        return meta_error_set(error, arena, err, "metadata record %zu of %zu (%s): %.*s", i + 1,
                              count, name ? name : "unknown type",
                              STR_ARG(inner.text.data ? inner.text : str_of(err_text(err))));
    }
    edit.image->end_offset = end_offset;
    edit.image->epoch = epoch;
    edit.image->timestamp_ms = timestamp_ms;
    *out = edit.image;
    return ERR_OK;
}
