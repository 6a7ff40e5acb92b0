/* Goal: applying records gives the image that Kafka's own replay gives; images share without seeing
 * each other's changes; a snapshot rebuilds the same image; nonsense is an error that leaves the
 * base alone.
 * Method: random runs of valid records on a chain of images, each compared with the image made of
 * its own snapshot through encoded bytes; hand-written cases for merging rules; invalid records;
 * and the sizes that a cluster has, timed with a wide margin. */
#include "meta/image.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "base/rng.h"
#include "wire/messages.h"

static struct arena arena;
static struct meta_records records;

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, ARENA_NO_LIMIT);
    meta_records_init(&records, &arena);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_deinit(&arena);
    return 0;
}

#define NEW(type) MSG_ARRAY(type, &arena, 1)

static void add(enum meta_type type, const void *body)
{
    int16_t version = meta_record_version(type, MV_MAXIMUM);
    assert_int_equal(meta_records_add(&records, (int16_t)type, version, body), ERR_OK);
}

static struct uuid uuid_of(uint64_t n)
{
    struct uuid id = UUID_ZERO;
    be64_store(id.bytes + 8, n);
    id.bytes[0] = 1;
    return id;
}

static void add_topic(const char *name, uint64_t id)
{
    struct topic_record *r = NEW(topic_record);
    r->name = arena_str(&arena, str_of(name));
    r->topic_id = uuid_of(id);
    add(META_TOPIC, r);
}

static int32_t *ids(int32_t count)
{
    int32_t *list = arena_array(&arena, (size_t)count, sizeof(*list));
    assert_non_null(list);
    for (int32_t i = 0; i < count; i++)
        list[i] = i + 1;
    return list;
}

static void add_partition(uint64_t id, int32_t index, int32_t replicas)
{
    struct partition_record *r = NEW(partition_record);
    r->topic_id = uuid_of(id);
    r->partition_id = index;
    r->leader = 1;
    r->leader_epoch = 0;
    r->partition_epoch = 0;
    r->replicas = r->isr = ids(replicas);
    r->replicas_len = r->isr_len = replicas;
    r->directories = arena_array(&arena, (size_t)replicas, sizeof(struct uuid));
    r->directories_len = replicas;
    for (int32_t i = 0; i < replicas; i++)
        r->directories[i] = uuid_of((uint64_t)(100 + i));
    add(META_PARTITION, r);
}

static void add_config(enum config_type type, const char *name, const char *key, const char *value)
{
    struct config_record *r = NEW(config_record);
    r->resource_type = (int8_t)type;
    r->resource_name = arena_str(&arena, str_of(name));
    r->name = arena_str(&arena, str_of(key));
    r->value = value ? arena_str(&arena, str_of(value)) : STR_NULL;
    add(META_CONFIG, r);
}

static void add_feature(const char *name, int16_t level)
{
    struct feature_level_record *r = NEW(feature_level_record);
    r->name = str_of(name);
    r->feature_level = level;
    add(META_FEATURE_LEVEL, r);
}

static void add_broker(int32_t id, int64_t epoch)
{
    struct register_broker_record *r = NEW(register_broker_record);
    r->broker_id = id;
    r->broker_epoch = epoch;
    r->incarnation_id = uuid_of((uint64_t)epoch);
    r->rack = id % 2 ? STR("r1") : STR_NULL;
    r->end_points = MSG_ARRAY(register_broker_record_end_point, &arena, 2);
    r->end_points_len = 2;
    r->end_points[0].name = STR("PLAINTEXT");
    r->end_points[0].host = STR("one.example");
    r->end_points[0].port = 9092;
    r->end_points[1].name = STR("X");
    r->end_points[1].host = STR("");
    r->features = MSG_ARRAY(register_broker_record_feature, &arena, 1);
    r->features_len = 1;
    r->features[0].name = STR("metadata.version");
    r->features[0].max_supported_version = 30;
    r->log_dirs = arena_array(&arena, 1, sizeof(struct uuid));
    r->log_dirs[0] = uuid_of(100);
    r->log_dirs_len = 1;
    add(META_REGISTER_BROKER, r);
}

static struct image *empty(void)
{
    struct image *image;
    assert_int_equal(image_create_empty(&image), ERR_OK);
    return image;
}

/* Applies what was added and forgets it; takes the base over. */
static struct image *apply(struct image *base)
{
    struct image *next;
    struct meta_error error;
    enum err err =
        image_apply(base, records.items, records.count, base->end_offset + (int64_t)records.count,
                    1, 7, &arena, &next, &error);
    if (err)
        fail_msg("%.*s", STR_ARG(error.text));
    image_unref(base);
    meta_records_init(&records, &arena);
    return next;
}

static void refuse(const struct image *base, enum err expected, const char *sentence)
{
    struct image *next = NULL;
    struct meta_error error;
    assert_int_equal(
        image_apply(base, records.items, records.count, 9, 9, 9, &arena, &next, &error), expected);
    assert_null(next);
    if (!str_eq_cstr(error.text, sentence))
        fail_msg("%.*s", STR_ARG(error.text));
    meta_records_init(&records, &arena);
}

/* --- equality of images, by their snapshots' bytes --- */

static void snapshot_bytes(const struct image *image, struct buf *buf)
{
    struct meta_records snapshot;
    meta_records_init(&snapshot, &arena);
    assert_int_equal(image_snapshot(image, &snapshot), ERR_OK);
    for (size_t i = 0; i < snapshot.count; i++)
        assert_int_equal(meta_record_encode(&snapshot.items[i], buf), ERR_OK);
}

static struct image *through_snapshot(const struct image *image)
{
    struct meta_records snapshot, decoded;
    meta_records_init(&snapshot, &arena);
    meta_records_init(&decoded, &arena);
    assert_int_equal(image_snapshot(image, &snapshot), ERR_OK);
    for (size_t i = 0; i < snapshot.count; i++) {
        struct buf buf;
        buf_init(&buf, BUF_NO_LIMIT);
        assert_int_equal(meta_record_encode(&snapshot.items[i], &buf), ERR_OK);
        struct slice bytes = arena_slice(&arena, buf_slice(&buf));
        buf_deinit(&buf);
        struct meta_record record;
        struct meta_error error;
        assert_int_equal(meta_record_decode(bytes, &arena, &record, &error), ERR_OK);
        assert_int_equal(meta_records_add(&decoded, record.type, record.version, record.body),
                         ERR_OK);
    }
    struct image *base = empty();
    struct image *copy;
    struct meta_error error;
    assert_int_equal(image_apply(base, decoded.items, decoded.count, image->end_offset,
                                 image->epoch, image->timestamp_ms, &arena, &copy, &error),
                     ERR_OK);
    image_unref(base);
    return copy;
}

static void assert_same(const struct image *a, const struct image *b)
{
    struct buf bytes_a, bytes_b;
    buf_init(&bytes_a, BUF_NO_LIMIT);
    buf_init(&bytes_b, BUF_NO_LIMIT);
    snapshot_bytes(a, &bytes_a);
    snapshot_bytes(b, &bytes_b);
    assert_int_equal(bytes_a.len, bytes_b.len);
    if (bytes_a.len)
        assert_memory_equal(bytes_a.data, bytes_b.data, bytes_a.len);
    assert_int_equal(a->partition_count, b->partition_count);
    assert_int_equal(a->topics.count, b->topics_by_id.count);
    buf_deinit(&bytes_a);
    buf_deinit(&bytes_b);
}

/* --- the model: random valid histories --- */

#define MODEL_TOPICS 60

struct model {
    int partitions[MODEL_TOPICS]; /* -1: no such topic */
    uint64_t ids[MODEL_TOPICS];
    uint64_t next_id;
};

static void random_topic_step(struct rng *rng, struct model *model)
{
    size_t t = rng_below(rng, MODEL_TOPICS);
    char name[32];
    snprintf(name, sizeof(name), "topic-%zu", t);
    if (model->partitions[t] < 0) {
        model->ids[t] = ++model->next_id;
        model->partitions[t] = 0;
        add_topic(name, model->ids[t]);
        return;
    }
    switch (rng_below(rng, 8)) {
    case 0: {
        struct remove_topic_record *r = NEW(remove_topic_record);
        r->topic_id = uuid_of(model->ids[t]);
        add(META_REMOVE_TOPIC, r);
        model->partitions[t] = -1;
        return;
    }
    case 1:
        add_config(CONFIG_TOPIC, name, rng_chance(rng, 1, 2) ? "retention.ms" : "segment.ms",
                   rng_chance(rng, 1, 3) ? NULL : "12345");
        return;
    case 2:
        if (model->partitions[t] > 0) {
            struct partition_change_record *r = NEW(partition_change_record);
            r->topic_id = uuid_of(model->ids[t]);
            r->partition_id = (int32_t)rng_below(rng, (uint64_t)model->partitions[t]);
            r->leader = rng_chance(rng, 1, 2) ? -2 : (int32_t)rng_below(rng, 3);
            if (rng_chance(rng, 1, 2)) {
                r->isr = ids(1);
                r->isr_len = 1;
            }
            if (rng_chance(rng, 1, 3)) {
                r->eligible_leader_replicas = ids(2);
                r->eligible_leader_replicas_len = 2;
            }
            add(META_PARTITION_CHANGE, r);
        }
        return;
    default:
        add_partition(model->ids[t], model->partitions[t]++, 1 + (int32_t)rng_below(rng, 3));
    }
}

static void random_other_step(struct rng *rng)
{
    switch (rng_below(rng, 6)) {
    case 0:
        add_feature(rng_chance(rng, 1, 2) ? "group.version" : "transaction.version",
                    (int16_t)rng_below(rng, 3));
        return;
    case 1:
        add_broker((int32_t)rng_below(rng, 4), (int64_t)rng_below(rng, 1000));
        return;
    case 2:
        add_config(CONFIG_BROKER, "", "min.insync.replicas", rng_chance(rng, 1, 4) ? NULL : "2");
        return;
    case 3: {
        struct client_quota_record *r = NEW(client_quota_record);
        r->key = STR("producer_byte_rate");
        r->value = 12.5;
        add(META_CLIENT_QUOTA, r);
        return;
    }
    case 4: {
        struct access_control_entry_record *r = NEW(access_control_entry_record);
        r->id = uuid_of(rng_u64(rng));
        r->principal = STR("User:x");
        add(META_ACCESS_CONTROL_ENTRY, r);
        return;
    }
    default: {
        struct register_controller_record *r = NEW(register_controller_record);
        r->controller_id = (int32_t)rng_below(rng, 3);
        r->end_points = MSG_ARRAY(register_controller_record_end_point, &arena, 1);
        r->end_points_len = 1;
        r->end_points[0].name = STR("CONTROLLER");
        add(META_REGISTER_CONTROLLER, r);
    }
    }
}

static void histories_survive_their_snapshots(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct rng rng;
        rng_init(&rng, seed);
        struct model model = {.next_id = 0};
        for (size_t t = 0; t < MODEL_TOPICS; t++)
            model.partitions[t] = -1;
        add_feature("metadata.version", 30);
        struct image *image = apply(empty());
        struct image *early = image_ref(image);
        struct buf early_bytes;
        for (int batch = 0; batch < 12; batch++) {
            if (batch == 5) {
                image_unref(early);
                early = image_ref(image);
                buf_init(&early_bytes, BUF_NO_LIMIT);
                snapshot_bytes(early, &early_bytes);
            }
            int steps = (int)rng_below(&rng, 60);
            for (int i = 0; i < steps; i++) {
                if (rng_chance(&rng, 1, 5))
                    random_other_step(&rng);
                else
                    random_topic_step(&rng, &model);
            }
            image = apply(image);
            uint64_t partitions = 0;
            for (size_t t = 0; t < MODEL_TOPICS; t++)
                partitions += model.partitions[t] > 0 ? (uint64_t)model.partitions[t] : 0;
            assert_int_equal(image->partition_count, partitions);
            struct image *copy = through_snapshot(image);
            assert_same(image, copy);
            image_unref(copy);
        }
        /* The image of long ago did not change. */
        struct buf now;
        buf_init(&now, BUF_NO_LIMIT);
        snapshot_bytes(early, &now);
        assert_int_equal(now.len, early_bytes.len);
        assert_memory_equal(now.data, early_bytes.data, now.len);
        buf_deinit(&now);
        buf_deinit(&early_bytes);
        image_unref(early);
        image_unref(image);
        arena_reset(&arena);
        meta_records_init(&records, &arena);
    }
}

/* --- rules --- */

static void a_change_merges_as_in_kafka(void **state)
{
    (void)state;
    add_topic("t", 1);
    add_partition(1, 0, 3);
    struct image *image = apply(empty());
    struct partition_change_record *r = NEW(partition_change_record);
    r->topic_id = uuid_of(1);
    r->partition_id = 0;
    r->isr = ids(2);
    r->isr_len = 2;
    add(META_PARTITION_CHANGE, r);
    image = apply(image);
    const struct partition_image *p = image_partition(image_topic_by_name(image, STR("t")), 0);
    assert_int_equal(p->isr_count, 2);
    assert_int_equal(p->leader, 1);
    assert_int_equal(p->leader_epoch, 0); /* no leader named: the epoch stays */
    assert_int_equal(p->partition_epoch, 1);
    assert_int_equal(p->replica_count, 3);
    r = NEW(partition_change_record);
    r->topic_id = uuid_of(1);
    r->partition_id = 0;
    r->leader = 1;
    r->leader_recovery_state = 1;
    add(META_PARTITION_CHANGE, r);
    image = apply(image);
    p = image_partition(image_topic_by_id(image, uuid_of(1)), 0);
    assert_int_equal(p->leader_epoch, 1); /* named, though the same: a new epoch */
    assert_int_equal(p->partition_epoch, 2);
    assert_int_equal(p->leader_recovery_state, 1);
    image_unref(image);
}

static void removing_a_topic_removes_its_configs(void **state)
{
    (void)state;
    add_topic("t", 1);
    add_partition(1, 0, 1);
    add_config(CONFIG_TOPIC, "t", "retention.ms", "5");
    add_config(CONFIG_TOPIC, "t", "cleanup.policy", "delete");
    add_config(CONFIG_TOPIC, "t", "retention.ms", "6");
    struct image *image = apply(empty());
    const struct config_image *config = image_config(image, CONFIG_TOPIC, STR("t"));
    assert_int_equal(config->count, 2);
    assert_true(str_eq(config->entries[0].key, STR("cleanup.policy")));
    assert_true(str_eq(config_image_get(config, STR("retention.ms")), STR("6")));
    struct remove_topic_record *r = NEW(remove_topic_record);
    r->topic_id = uuid_of(1);
    add(META_REMOVE_TOPIC, r);
    image = apply(image);
    assert_null(image_topic_by_name(image, STR("t")));
    assert_null(image_topic_by_id(image, uuid_of(1)));
    assert_null(image_config(image, CONFIG_TOPIC, STR("t")));
    assert_int_equal(image->partition_count, 0);
    image_unref(image);
}

static void transactions_take_effect_at_their_end(void **state)
{
    (void)state;
    add(META_BEGIN_TRANSACTION, NEW(begin_transaction_record));
    add_topic("t", 1);
    struct image *image = apply(empty());
    assert_true(image->in_transaction);
    assert_null(image_topic_by_name(image, STR("t")));
    struct image *copy = through_snapshot(image);
    assert_same(image, copy);
    image_unref(copy);
    add_partition(1, 0, 1);
    add(META_END_TRANSACTION, NEW(end_transaction_record));
    image = apply(image);
    assert_false(image->in_transaction);
    assert_int_equal(image_topic_by_name(image, STR("t"))->partition_count, 1);
    add(META_BEGIN_TRANSACTION, NEW(begin_transaction_record));
    add_topic("gone", 2);
    add(META_ABORT_TRANSACTION, NEW(abort_transaction_record));
    add_topic("there", 3);
    image = apply(image);
    assert_null(image_topic_by_name(image, STR("gone")));
    assert_non_null(image_topic_by_name(image, STR("there")));
    image_unref(image);
}

static void broker_changes_need_the_right_epoch(void **state)
{
    (void)state;
    add_broker(1, 40);
    struct image *image = apply(empty());
    assert_true(image_broker(image, 1)->fenced);
    struct broker_registration_change_record *r = NEW(broker_registration_change_record);
    r->broker_id = 1;
    r->broker_epoch = 40;
    r->fenced = -1;
    add(META_BROKER_REGISTRATION_CHANGE, r);
    image = apply(image);
    const struct broker_image *broker = image_broker(image, 1);
    assert_false(broker->fenced);
    assert_int_equal(broker->endpoint_count, 2);
    assert_true(str_eq(broker->endpoints[0].host, STR("one.example")));
    assert_int_equal(broker->log_dir_count, 1);
    r->broker_epoch = 39;
    add(META_BROKER_REGISTRATION_CHANGE, r);
    refuse(image, ERR_MALFORMED,
           "metadata record 1 of 1 (BrokerRegistrationChangeRecord): broker 1 has the epoch 40, "
           "not 39");
    image_unref(image);
}

static void nonsense_is_refused(void **state)
{
    (void)state;
    add_topic("t", 1);
    struct image *image = apply(empty());
    add_topic("t", 2);
    refuse(image, ERR_MALFORMED,
           "metadata record 1 of 1 (TopicRecord): the topic t exists already");
    add_topic("u", 1);
    refuse(image, ERR_MALFORMED, "metadata record 1 of 1 (TopicRecord): the topic id is in use");
    add_topic("u", 5);
    add_partition(9, 0, 1);
    refuse(image, ERR_MALFORMED,
           "metadata record 2 of 2 (PartitionRecord): the topic id AQAAAAAAAAAAAAAAAAAACQ is not "
           "known");
    assert_null(image_topic_by_name(image, STR("u")));
    add_partition(1, META_PARTITIONS_MAX, 1);
    refuse(image, ERR_LIMIT,
           "metadata record 1 of 1 (PartitionRecord): the partition number is out of range");
    add_partition(1, -1, 1);
    refuse(image, ERR_LIMIT,
           "metadata record 1 of 1 (PartitionRecord): the partition number is out of range");
    add_partition(1, 0, META_REPLICAS_MAX + 1);
    refuse(image, ERR_LIMIT,
           "metadata record 1 of 1 (PartitionRecord): a partition has too many replicas");
    add(META_END_TRANSACTION, NEW(end_transaction_record));
    refuse(image, ERR_MALFORMED,
           "metadata record 1 of 1 (EndTransactionRecord): a metadata transaction ends that did "
           "not begin");
    struct producer_ids_record *ids_record = NEW(producer_ids_record);
    ids_record->next_producer_id = -5;
    add(META_PRODUCER_IDS, ids_record);
    refuse(image, ERR_MALFORMED,
           "metadata record 1 of 1 (ProducerIdsRecord): the next producer id goes backwards");
    assert_int_equal(meta_records_add(&records, 6, 0, ids_record), ERR_OK);
    refuse(image, ERR_UNSUPPORTED,
           "metadata record 1 of 1 (unknown type): records of this type are not known");
    image_unref(image);
    struct meta_record record;
    struct meta_error error;
    static const uint8_t unknown[] = {1, 99, 0};
    assert_int_equal(meta_record_decode(slice_of(unknown, 3), &arena, &record, &error),
                     ERR_UNSUPPORTED);
    for (size_t len = 0; len < 3; len++)
        assert_int_not_equal(meta_record_decode(slice_of(unknown, len), &arena, &record, &error),
                             ERR_OK);
}

/* --- size --- */

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static enum err count_diff(void *arg, const struct topic_image *before,
                           const struct topic_image *after)
{
    int *count = arg;
    *count += before != after;
    return ERR_OK;
}

/* Bounds ten times and more over what a release build takes: sanitizers and slow machines pass, a
 * change that copies everything does not. */
static void big_clusters_are_cheap_to_change(void **state)
{
    (void)state;
    char name[32];
    for (uint64_t t = 0; t < 10000; t++) {
        snprintf(name, sizeof(name), "topic-%05d", (int)t);
        add_topic(name, t + 1);
        add_partition(t + 1, 0, 1);
    }
    struct image *image = apply(empty());
    assert_int_equal(image->topics.count, 10000);
    add_topic("big", 20000);
    for (int32_t i = 0; i < 7500; i++)
        add_partition(20000, i, 1);
    double start = now_ms();
    image = apply(image);
    double bulk = now_ms() - start;
    assert_int_equal(image_topic_by_name(image, STR("big"))->partition_count, 7500);
    struct image *before = image_ref(image);
    start = now_ms();
    for (int i = 0; i < 20; i++) {
        struct partition_change_record *r = NEW(partition_change_record);
        r->topic_id = uuid_of((uint64_t)(i * 491 + 1));
        r->partition_id = 0;
        r->leader = 1;
        add(META_PARTITION_CHANGE, r);
        image = apply(image);
    }
    double single = (now_ms() - start) / 20;
    int changed = 0;
    assert_int_equal(image_topics_diff(before, image, count_diff, &changed), ERR_OK);
    assert_int_equal(changed, 20);
    printf("7,500 partitions in one batch: %.2f ms; one change among 10,000 topics: %.3f ms\n",
           bulk, single);
    assert_true(bulk < 1000);
    assert_true(single < 20);
    struct table_iter iter;
    image_topics_seek(image, STR("topic-00500"), &iter);
    const struct topic_image *topic = table_next(&iter);
    assert_true(str_eq(topic->name, STR("topic-00500")));
    image_unref(before);
    image_unref(image);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(histories_survive_their_snapshots, setup, teardown),
        cmocka_unit_test_setup_teardown(a_change_merges_as_in_kafka, setup, teardown),
        cmocka_unit_test_setup_teardown(removing_a_topic_removes_its_configs, setup, teardown),
        cmocka_unit_test_setup_teardown(transactions_take_effect_at_their_end, setup, teardown),
        cmocka_unit_test_setup_teardown(broker_changes_need_the_right_epoch, setup, teardown),
        cmocka_unit_test_setup_teardown(nonsense_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(big_clusters_are_cheap_to_change, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
