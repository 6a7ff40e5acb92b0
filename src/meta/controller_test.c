/* Goal: requests get the records, codes and sentences that Apache Kafka 4.3.1 gives, a refused
 * element leaves no record, and what the records say is what the next request sees.
 * Method: one controller with one registered broker (two in the placement tests), driven as the
 * broker drives it; answers compared with those seen from a running Kafka. */
#include "meta/controller.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "meta/topic_support.h"
#include "wire/messages.h"

static struct arena arena;
static struct rng rng;
static struct meta_records records;
static struct controller controller;
static struct controller_call call;
static int64_t broker_epoch;

static void replay(void)
{
    struct meta_error error;
    enum err err = controller_replay(&controller, records.items, records.count,
                                     controller.head->end_offset + (int64_t)records.count, 1, 5,
                                     &arena, &error);
    if (err)
        fail_msg("%.*s", STR_ARG(error.text));
    meta_records_init(&records, &arena);
}

static int64_t add_broker(int32_t id, const char *rack, size_t dirs)
{
    static const struct endpoint_image endpoint = {
        .name = {"PLAINTEXT", 9}, .host = {"localhost", 9}, .port = 9092};
    struct uuid log_dirs[4] = {{{9, 1}}, {{9, 2}}, {{9, 3}}, {{9, 4}}};
    log_dirs[0].bytes[15] = (uint8_t)id;
    struct broker_registration registration = {
        .id = id,
        .incarnation_id = {{7}},
        .rack = str_of(rack),
        .endpoints = &endpoint,
        .endpoint_count = 1,
        .log_dirs = log_dirs,
        .log_dir_count = dirs,
    };
    struct meta_error error;
    int64_t epoch;
    assert_int_equal(controller_register_broker(&controller, &call, &registration,
                                                controller.head->end_offset, &epoch, &error),
                     ERR_OK);
    replay();
    assert_int_equal(image_broker(controller.head, id)->epoch, epoch);
    assert_int_equal(controller_unfence_broker(&controller, &call, id, epoch, &error), ERR_OK);
    replay();
    return epoch;
}

static struct config_entry file[] = {{{"num.partitions", 14}, {"3", 1}}};

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, ARENA_NO_LIMIT);
    rng_init(&rng, 42);
    meta_records_init(&records, &arena);
    struct image *image;
    assert_int_equal(image_create_empty(&image), ERR_OK);
    controller_init(&controller, image, 1, (struct config_static){file, 1});
    call = (struct controller_call){&arena, &rng, 1000, &records};
    struct meta_records bootstrap;
    meta_records_init(&bootstrap, &arena);
    assert_int_equal(features_bootstrap(&bootstrap), ERR_OK);
    struct meta_error error;
    assert_int_equal(
        controller_activate(&controller, &call, bootstrap.items, bootstrap.count, &error), ERR_OK);
    replay();
    broker_epoch = add_broker(1, NULL, 1);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    controller_deinit(&controller);
    arena_deinit(&arena);
    return 0;
}

static void assert_text(struct str s, const char *expected)
{
    if (!str_eq_cstr(s, expected))
        fail_msg("\"%.*s\" is not \"%s\"", STR_ARG(s), expected ? expected : "(null)");
}

/* --- start --- */

static void a_new_log_begins_as_kafkas(void **state)
{
    (void)state;
    assert_int_equal(image_metadata_version(controller.head), 30);
    assert_int_equal(image_feature(controller.head, STR("transaction.version")), 2);
    assert_int_equal(image_feature(controller.head, STR("eligible.leader.replicas.version")), 1);
    assert_int_equal(image_feature(controller.head, STR("kraft.version")), 0);
    assert_int_equal(controller.head->features.count, 6);
    const struct config_image *cluster = image_config(controller.head, CONFIG_BROKER, STR(""));
    assert_text(config_image_get(cluster, STR("min.insync.replicas")), "1");
    /* A second leader has nothing to add. */
    struct meta_error error;
    assert_int_equal(controller_activate(&controller, &call, NULL, 0, &error), ERR_OK);
    assert_int_equal(records.count, 0);
    assert_int_equal(features_check(controller.head, &arena, &error), ERR_OK);
}

static void an_open_transaction_is_aborted_by_a_new_leader(void **state)
{
    (void)state;
    struct begin_transaction_record *begin = MSG_ARRAY(begin_transaction_record, &arena, 1);
    assert_int_equal(meta_records_add(&records, META_BEGIN_TRANSACTION, 0, begin), ERR_OK);
    replay();
    struct meta_error error;
    assert_int_equal(controller_activate(&controller, &call, NULL, 0, &error), ERR_OK);
    assert_int_equal(records.count, 1);
    assert_int_equal(records.items[0].type, META_ABORT_TRANSACTION);
    replay();
    assert_false(controller.head->in_transaction);
}

static void levels_out_of_reach_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int16_t level;
        const char *sentence;
    } cases[] = {
        {"metadata.version", 31,
         "the metadata uses the feature metadata.version at level 31; this version runs at 7 to "
         "30"},
        {"time.travel", 1,
         "the metadata uses the feature time.travel at level 1, which this version does not know"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct feature_level_record *r = MSG_ARRAY(feature_level_record, &arena, 1);
        r->name = str_of(cases[i].name);
        r->feature_level = cases[i].level;
        assert_int_equal(meta_records_add(&records, META_FEATURE_LEVEL, 0, r), ERR_OK);
        replay();
        struct meta_error error;
        assert_int_equal(features_check(controller.head, &arena, &error), ERR_UNSUPPORTED);
        assert_text(error.text, cases[i].sentence);
        r->feature_level = i == 0 ? 30 : 0;
        assert_int_equal(meta_records_add(&records, META_FEATURE_LEVEL, 0, r), ERR_OK);
        replay();
    }
    struct meta_error error;
    struct image *image;
    assert_int_equal(image_create_empty(&image), ERR_OK);
    struct controller fresh;
    controller_init(&fresh, image, 1, (struct config_static){NULL, 0});
    assert_int_equal(controller_activate(&fresh, &call, NULL, 0, &error), ERR_UNSUPPORTED);
    controller_deinit(&fresh);
}

/* --- create --- */

static struct created_topic *create(const struct create_topic *topics, size_t count)
{
    struct created_topic *answers;
    assert_int_equal(controller_create_topics(&controller, &call, topics, count, false, &answers),
                     ERR_OK);
    return answers;
}

static struct create_topic plain(const char *name)
{
    return (struct create_topic){.name = str_of(name), .partitions = -1, .replication_factor = -1};
}

static void a_topic_gets_defaults_and_an_answer_with_all_its_configs(void **state)
{
    (void)state;
    struct config_entry config = {STR("retention.ms"), STR("-1")};
    struct create_topic topic = plain("t");
    topic.configs = &config;
    topic.config_count = 1;
    struct created_topic *answer = create(&topic, 1);
    assert_int_equal(answer->err, ERR_OK);
    assert_true(str_is_null(answer->message));
    assert_int_equal(answer->partitions, 3);
    assert_int_equal(answer->replication_factor, 1);
    assert_false(uuid_is_zero(answer->id));
    assert_int_equal(answer->config_count, 33);
    for (size_t i = 0; i < answer->config_count; i++) {
        const struct config_described *c = &answer->configs[i];
        enum config_source expected =
            str_eq(c->key, STR("retention.ms"))          ? CONFIG_SOURCE_DYNAMIC_TOPIC
            : str_eq(c->key, STR("min.insync.replicas")) ? CONFIG_SOURCE_DYNAMIC_DEFAULT_BROKER
                                                         : CONFIG_SOURCE_DEFAULT;
        assert_int_equal(c->source, expected);
        assert_false(str_is_null(c->value));
    }
    assert_int_equal(records.items[0].type, META_TOPIC);
    assert_int_equal(records.items[1].type, META_CONFIG);
    assert_int_equal(records.count, 5);
    replay();
    const struct topic_image *image = image_topic_by_name(controller.head, STR("t"));
    assert_true(uuid_eq(image->id, answer->id));
    assert_int_equal(image->partition_count, 3);
    const struct partition_image *p = image_partition(image, 2);
    assert_int_equal(p->leader, 1);
    assert_int_equal(p->leader_epoch, 0);
    assert_int_equal(p->isr_count, 1);
    assert_true(uuid_eq(p->directories[0], image_broker(controller.head, 1)->log_dirs[0]));
}

static void only_validating_leaves_no_record(void **state)
{
    (void)state;
    struct create_topic topic = plain("dry");
    struct created_topic *answers;
    assert_int_equal(controller_create_topics(&controller, &call, &topic, 1, true, &answers),
                     ERR_OK);
    assert_int_equal(answers->err, ERR_OK);
    assert_int_equal(answers->partitions, 3);
    assert_int_equal(records.count, 0);
}

static void bad_topics_get_kafkas_sentences(void **state)
{
    (void)state;
    struct create_topic existing[] = {plain("exists"), plain("a_b.c")};
    assert_int_equal(create(existing, 2)->err, ERR_OK);
    replay();
    static const int32_t one[] = {1}, twice[] = {1, 1}, stranger[] = {7};
    static const struct create_assignment nobody[] = {{0, NULL, 0}};
    static const struct create_assignment gap[] = {{0, one, 1}, {2, one, 1}};
    static const struct create_assignment again[] = {{0, one, 1}, {0, one, 1}};
    static const struct create_assignment to_twice[] = {{0, twice, 2}};
    static const struct create_assignment to_stranger[] = {{0, stranger, 1}};
    static const struct create_assignment good[] = {{0, one, 1}};
    static const struct config_entry unknown = {{"no.such.config", 14}, {"1", 1}};
    static const struct config_entry null_value = {{"cleanup.policy", 14}, {NULL, 0}};
    static const struct config_entry bad = {{"retention.ms", 12}, {"abc", 3}};
    static const struct config_entry lags[] = {{{"min.compaction.lag.ms", 21}, {"100", 3}},
                                               {{"max.compaction.lag.ms", 21}, {"10", 2}}};
    char long_name[251];
    memset(long_name, 'x', 250);
    long_name[250] = '\0';
#define BY_HAND(list) .assignments = (list), .assignment_count = ARRAY_LEN(list)
    const struct {
        struct create_topic topic;
        enum err err;
        const char *sentence;
    } cases[] = {
        {plain("exists"), ERR_TOPIC_ALREADY_EXISTS, "Topic 'exists' already exists."},
        {plain("a.b_c"), ERR_INVALID_TOPIC, "Topic 'a.b_c' collides with existing topic: a_b.c"},
        {plain(""), ERR_INVALID_TOPIC, "Topic name is invalid: the empty string is not allowed"},
        {plain(".."), ERR_INVALID_TOPIC, "Topic name is invalid: '..' is not allowed"},
        {plain("a b"), ERR_INVALID_TOPIC,
         "Topic name is invalid: 'a b' contains one or more characters other than ASCII "
         "alphanumerics, '.', '_' and '-'"},
        {plain(long_name), ERR_INVALID_TOPIC, NULL},
        {plain("__cluster_metadata"), ERR_INVALID_REQUEST,
         "Creation of internal topic __cluster_metadata is prohibited."},
        {{STR("t"), 0, -1},
         ERR_INVALID_PARTITIONS,
         "Number of partitions was set to an invalid non-positive value."},
        {{STR("t"), -2, -1},
         ERR_INVALID_PARTITIONS,
         "Number of partitions was set to an invalid non-positive value."},
        {{STR("t"), 2000000000, -1},
         ERR_POLICY_VIOLATION,
         "Excessively large number of partitions per request."},
        {{STR("t"), 1, 0},
         ERR_INVALID_REPLICATION_FACTOR,
         "Replication factor must be larger than 0, or -1 to use the default value."},
        {{STR("t"), 1, 2},
         ERR_INVALID_REPLICATION_FACTOR,
         "Unable to replicate the partition 2 time(s): The target replication factor of 2 cannot "
         "be reached because only 1 broker(s) are registered or some brokers have all their log "
         "directories cordoned."},
        {{STR("t"), 1, -1, BY_HAND(good)},
         ERR_INVALID_REQUEST,
         "A manual partition assignment was specified, but numPartitions was not set to -1."},
        {{STR("t"), -1, 1, BY_HAND(good)},
         ERR_INVALID_REQUEST,
         "A manual partition assignment was specified, but replication factor was not set to "
         "-1."},
        {{STR("t"), -1, -1, BY_HAND(nobody)},
         ERR_INVALID_REPLICA_ASSIGNMENT,
         "The manual partition assignment includes an empty replica list."},
        {{STR("t"), -1, -1, BY_HAND(to_stranger)},
         ERR_INVALID_REPLICA_ASSIGNMENT,
         "The manual partition assignment includes broker 7, but no such broker is registered."},
        {{STR("t"), -1, -1, BY_HAND(to_twice)},
         ERR_INVALID_REPLICA_ASSIGNMENT,
         "The manual partition assignment includes the broker 1 more than once."},
        {{STR("t"), -1, -1, BY_HAND(gap)},
         ERR_INVALID_REPLICA_ASSIGNMENT,
         "partitions should be a consecutive 0-based integer sequence"},
        {{STR("t"), -1, -1, BY_HAND(again)},
         ERR_INVALID_REPLICA_ASSIGNMENT,
         "Found multiple manual partition assignments for partition 0"},
        {{STR("t"), -1, -1, NULL, 0, &unknown, 1},
         ERR_INVALID_CONFIG,
         "Unknown topic config name: no.such.config"},
        {{STR("t"), -1, -1, NULL, 0, &null_value, 1},
         ERR_INVALID_CONFIG,
         "Null value not supported for topic configs: cleanup.policy"},
        {{STR("t"), -1, -1, NULL, 0, &bad, 1},
         ERR_INVALID_CONFIG,
         "Invalid value abc for configuration retention.ms: Not a number of type LONG"},
        {{STR("t"), -1, -1, NULL, 0, lags, 2},
         ERR_INVALID_CONFIG,
         "conflict topic config setting min.compaction.lag.ms (100) > max.compaction.lag.ms (10)"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct created_topic *answer = create(&cases[i].topic, 1);
        if (cases[i].sentence)
            assert_text(answer->message, cases[i].sentence);
        assert_int_equal(answer->err, cases[i].err);
        assert_int_equal(answer->partitions, -1);
        assert_true(uuid_is_zero(answer->id));
        assert_int_equal(records.count, 0);
    }
    struct create_topic by_hand = {STR("by-hand"), -1, -1, BY_HAND(good)};
    assert_int_equal(create(&by_hand, 1)->partitions, 1);
}

static void one_bad_topic_does_not_spoil_the_rest(void **state)
{
    (void)state;
    struct create_topic topics[] = {plain("one"),   plain("a b"), plain("twice"), plain("two"),
                                    plain("twice"), plain("x.y"), plain("x_y")};
    struct created_topic *answers = create(topics, ARRAY_LEN(topics));
    assert_int_equal(answers[0].err, ERR_OK);
    assert_int_equal(answers[1].err, ERR_INVALID_TOPIC);
    assert_int_equal(answers[2].err, ERR_INVALID_REQUEST);
    assert_text(answers[2].message, "Duplicate topic name.");
    assert_false(answers[2].repeated);
    assert_int_equal(answers[3].err, ERR_OK);
    assert_true(answers[4].repeated);
    assert_int_equal(answers[5].err, ERR_OK);
    assert_int_equal(answers[6].err, ERR_INVALID_TOPIC);
    replay();
    assert_int_equal(controller.head->topics.count, 3);
}

static void replicas_spread_over_brokers_and_racks(void **state)
{
    (void)state;
    add_broker(2, "b", 2);
    add_broker(3, "b", 1);
    add_broker(4, "a", 1);
    struct create_topic topic = {STR("t"), 400, 2};
    struct created_topic *answer = create(&topic, 1);
    assert_int_equal(answer->err, ERR_OK);
    replay();
    int led[5] = {0};
    const struct topic_image *image = image_topic_by_name(controller.head, STR("t"));
    for (int32_t i = 0; i < 400; i++) {
        const struct partition_image *p = image_partition(image, i);
        assert_int_equal(p->replica_count, 2);
        assert_int_not_equal(p->replicas[0], p->replicas[1]);
        assert_int_equal(p->leader, p->replicas[0]);
        led[p->leader]++;
        for (uint32_t r = 0; r < 2; r++)
            if (p->replicas[r] == 2)
                assert_true(uuid_is_zero(p->directories[r])); /* the broker chooses */
            else
                assert_false(uuid_is_zero(p->directories[r]));
    }
    for (int id = 1; id <= 4; id++)
        assert_int_equal(led[id], 100);
}

/* --- delete, grow --- */

static void deletes_are_kafkas(void **state)
{
    (void)state;
    struct create_topic topics[] = {plain("a"), plain("b"), plain("c"), plain("d"), plain("e")};
    struct created_topic *created = create(topics, 5);
    replay();
    struct delete_topic wanted[] = {{STR("a"), UUID_ZERO},     {STR_NULL, created[1].id},
                                    {STR("nope"), UUID_ZERO},  {STR_NULL, {{1, 2, 3}}},
                                    {STR("c"), created[2].id}, {STR_NULL, UUID_ZERO},
                                    {STR("d"), UUID_ZERO},     {STR("d"), UUID_ZERO},
                                    {STR("e"), UUID_ZERO},     {STR_NULL, created[4].id}};
    struct deleted_topic *answers;
    assert_int_equal(
        controller_delete_topics(&controller, &call, wanted, ARRAY_LEN(wanted), &answers), ERR_OK);
    static const struct {
        enum err err;
        const char *name, *sentence;
        bool repeated;
    } expected[] = {
        {ERR_OK, "a", NULL, false},
        {ERR_OK, "b", NULL, false},
        {ERR_UNKNOWN_TOPIC_OR_PARTITION, "nope", "This server does not host this topic-partition.",
         false},
        {ERR_UNKNOWN_TOPIC_ID, NULL, "This server does not host this topic ID.", false},
        {ERR_INVALID_REQUEST, "c", "You may not specify both topic name and topic id.", false},
        {ERR_INVALID_REQUEST, NULL, "Neither topic name nor id were specified.", false},
        {ERR_INVALID_REQUEST, "d", "Duplicate topic name.", false},
        {ERR_INVALID_REQUEST, "d", "Duplicate topic name.", true},
        {ERR_INVALID_REQUEST, "e",
         "The provided topic name maps to an ID that was already supplied.", false},
        {ERR_INVALID_REQUEST, "e",
         "The provided topic name maps to an ID that was already supplied.", true},
    };
    assert_int_equal(records.count, 2);
    replay(); /* the answers must not need the topics any more */
    assert_int_equal(controller.head->topics.count, 3);
    for (size_t i = 0; i < ARRAY_LEN(expected); i++) {
        assert_int_equal(answers[i].err, expected[i].err);
        assert_text(answers[i].name, expected[i].name);
        assert_text(answers[i].message, expected[i].sentence);
        assert_int_equal(answers[i].repeated, expected[i].repeated);
    }
    assert_true(uuid_eq(answers[8].id, created[4].id));
}

static void check_refused(const char *sentence)
{
    struct meta_error error = {ERR_OK, STR_NULL};
    enum err err = topic_support_check_all(controller.head, 1, &arena, &error);
    assert_int_equal(err, sentence ? ERR_UNSUPPORTED : ERR_OK);
    if (sentence && strncmp(error.text.data, sentence, strlen(sentence)) != 0)
        fail_msg("\"%.*s\" does not begin with \"%s\"", STR_ARG(error.text), sentence);
}

static void set_remote_storage(const char *value)
{
    struct config_record *r = arena_zalloc(&arena, sizeof(*r));
    r->resource_type = CONFIG_TOPIC;
    r->resource_name = STR("t");
    r->name = STR("remote.storage.enable");
    r->value = str_of(value);
    assert_int_equal(meta_records_add(&records, META_CONFIG, 0, r), ERR_OK);
    replay();
}

static void what_a_cluster_of_one_cannot_serve_is_named(void **state)
{
    (void)state;
    struct create_topic topic = plain("t");
    create(&topic, 1);
    replay();
    check_refused(NULL);
    set_remote_storage("false");
    check_refused(NULL);
    set_remote_storage("true");
    check_refused("the topic t has remote.storage.enable=true: records of it may be");
    set_remote_storage("false");
    add_broker(2, NULL, 1);
    check_refused("broker 2 is registered in the cluster");
    struct create_topic spread = {STR("s"), 1, 2};
    create(&spread, 1);
    replay();
    check_refused("s-0 has a replica on broker 2");
}

static void deletion_can_be_disabled(void **state)
{
    (void)state;
    static const struct config_entry off = {{"delete.topic.enable", 19}, {"false", 5}};
    controller.configs = (struct config_static){&off, 1};
    struct delete_topic wanted = {STR("a"), UUID_ZERO};
    struct deleted_topic *answers;
    assert_int_equal(controller_delete_topics(&controller, &call, &wanted, 1, &answers), ERR_OK);
    assert_int_equal(answers->err, ERR_TOPIC_DELETION_DISABLED);
}

static void partitions_are_added(void **state)
{
    (void)state;
    struct create_topic topic = plain("t");
    create(&topic, 1);
    replay();
    static const int32_t one[] = {1}, twice[] = {1, 1}, stranger[] = {9};
    static const struct create_assignment to_one[] = {{0, one, 1}};
    static const struct create_assignment to_nobody[] = {{0, NULL, 0}};
    static const struct create_assignment to_twice[] = {{0, twice, 2}};
    static const struct create_assignment to_stranger[] = {{0, stranger, 1}};
    const struct {
        struct create_partitions request;
        enum err err;
        const char *sentence;
    } cases[] = {
        {{STR("t"), 3}, ERR_INVALID_PARTITIONS, "Topic already has 3 partition(s)."},
        {{STR("t"), 1},
         ERR_INVALID_PARTITIONS,
         "The topic t currently has 3 partition(s); 1 would not be an increase."},
        {{STR("t"), -1},
         ERR_INVALID_PARTITIONS,
         "The topic t currently has 3 partition(s); -1 would not be an increase."},
        {{STR("t"), 2000000000},
         ERR_POLICY_VIOLATION,
         "Excessively large number of partitions per request."},
        {{STR("nope"), 5}, ERR_UNKNOWN_TOPIC_OR_PARTITION, NULL},
        {{STR("t"), 5, true, to_one, 1},
         ERR_INVALID_REPLICA_ASSIGNMENT,
         "Attempted to add 2 additional partition(s), but only 1 assignment(s) were specified."},
        {{STR("t"), 4, true, NULL, 0},
         ERR_INVALID_REPLICA_ASSIGNMENT,
         "Attempted to add 1 additional partition(s), but only 0 assignment(s) were specified."},
        {{STR("t"), 4, true, to_nobody, 1},
         ERR_INVALID_REPLICA_ASSIGNMENT,
         "The manual partition assignment includes an empty replica list."},
        {{STR("t"), 4, true, to_stranger, 1},
         ERR_INVALID_REPLICA_ASSIGNMENT,
         "The manual partition assignment includes broker 9, but no such broker is registered."},
        {{STR("t"), 4, true, to_twice, 1},
         ERR_INVALID_REPLICA_ASSIGNMENT,
         "The manual partition assignment includes the broker 1 more than once."},
    };
    struct topic_answer *answers;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(
            controller_create_partitions(&controller, &call, &cases[i].request, 1, false, &answers),
            ERR_OK);
        assert_text(answers->message, cases[i].sentence);
        assert_int_equal(answers->err, cases[i].err);
        assert_int_equal(records.count, 0);
    }
    struct create_partitions twins[] = {{STR("t"), 5}, {STR("t"), 6}};
    assert_int_equal(controller_create_partitions(&controller, &call, twins, 2, false, &answers),
                     ERR_OK);
    assert_text(answers[0].message, "Duplicate topic name.");
    assert_true(answers[1].repeated);
    struct create_partitions good = {STR("t"), 5};
    assert_int_equal(controller_create_partitions(&controller, &call, &good, 1, true, &answers),
                     ERR_OK);
    assert_int_equal(records.count, 0);
    assert_int_equal(controller_create_partitions(&controller, &call, &good, 1, false, &answers),
                     ERR_OK);
    assert_int_equal(records.count, 2);
    replay();
    assert_int_equal(image_topic_by_name(controller.head, STR("t"))->partition_count, 5);
}

/* --- configs --- */

struct alter_case {
    int8_t type;
    const char *name;
    const char *key, *value;
    int8_t op;
    enum err err;
    const char *sentence;
};

static struct altered_resource *alter(const struct alter_case *c)
{
    static struct alter_config config;
    config = (struct alter_config){str_of(c->key), str_of(c->value), c->op};
    struct alter_resource resource = {c->type, str_of(c->name), &config, 1};
    struct altered_resource *answers;
    assert_int_equal(controller_alter_configs(&controller, &call, &resource, 1, false, &answers),
                     ERR_OK);
    return answers;
}

static void alterations_get_kafkas_answers(void **state)
{
    (void)state;
    struct create_topic topic = plain("t");
    create(&topic, 1);
    replay();
    static const struct alter_case cases[] = {
        {2, "t", "retention.ms", "1000", ALTER_SET, ERR_OK, NULL},
        {2, "t", "retention.ms", "1", ALTER_APPEND, ERR_INVALID_CONFIG,
         "Can't APPEND to key retention.ms because its type is not LIST."},
        {2, "t", "retention.ms", "1", ALTER_SUBTRACT, ERR_INVALID_CONFIG,
         "Can't SUBTRACT to key retention.ms because its type is not LIST."},
        {2, "t", "nope", "1", ALTER_SET, ERR_INVALID_CONFIG, "Unknown topic config name: nope"},
        {2, "t", "", "1", ALTER_SET, ERR_INVALID_CONFIG, "Unknown topic config name: "},
        {2, "t", "retention.ms", NULL, ALTER_SET, ERR_INVALID_REQUEST,
         "Null value not supported for : retention.ms"},
        {2, "t", "retention.ms", "abc", ALTER_SET, ERR_INVALID_CONFIG,
         "Invalid value abc for configuration retention.ms: Not a number of type LONG"},
        {2, "t", "retention.ms", "1", 9, ERR_INVALID_REQUEST, "Unknown alter config operation 9"},
        {2, "nope", "retention.ms", "1", ALTER_SET, ERR_UNKNOWN_TOPIC_OR_PARTITION,
         "The topic 'nope' does not exist."},
        {2, "a b", "retention.ms", "1", ALTER_SET, ERR_INVALID_TOPIC,
         "Topic name is invalid: 'a b' contains one or more characters other than ASCII "
         "alphanumerics, '.', '_' and '-'"},
        {2, "", "retention.ms", "1", ALTER_SET, ERR_INVALID_REQUEST,
         "Default topic resources are not allowed."},
        {99, "x", "retention.ms", "1", ALTER_SET, ERR_INVALID_REQUEST, "Unknown resource type 99"},
        {4, "1", "log.dirs", "x", ALTER_SET, ERR_INVALID_REQUEST,
         "Cannot update these configs dynamically: [log.dirs]"},
        {4, "1", "log.cleaner.threads", "x", ALTER_SET, ERR_INVALID_REQUEST,
         "Invalid value x for configuration log.cleaner.threads: Not a number of type INT"},
        {4, "1", "num.io.threads", "17", ALTER_SET, ERR_INVALID_REQUEST,
         "num.io.threads can be halved or doubled at once, no more: it is 8, so from 4 to 16"},
        {4, "1", "num.io.threads", "3", ALTER_SET, ERR_INVALID_REQUEST,
         "num.io.threads can be halved or doubled at once, no more: it is 8, so from 4 to 16"},
        {4, "1", "num.io.threads", "16", ALTER_SET, ERR_OK, NULL},
        {4, "1", "num.io.threads", NULL, ALTER_DELETE, ERR_OK, NULL},
        {4, "1", "log.cleaner.threads", "0", ALTER_SET, ERR_INVALID_REQUEST,
         "log.cleaner.threads can be halved or doubled at once, no more: it is 1, so from 1 to 2"},
        {4, "9", "log.retention.ms", "1", ALTER_SET, ERR_INVALID_REQUEST,
         "Unexpected broker id, expected 1, but received 9"},
        {4, "x", "log.retention.ms", "1", ALTER_SET, ERR_INVALID_REQUEST,
         "Node id must be an integer, but it is: x"},
        {4, "1", "log.retention.ms", "777", ALTER_SET, ERR_OK, NULL},
        {4, "", "log.retention.ms", "888", ALTER_SET, ERR_OK, NULL},
        {4, "", "log.retention.hours", "8", ALTER_SET, ERR_INVALID_REQUEST,
         "Cannot update these configs dynamically: [log.retention.hours]"},
        {4, "", "listeners", "PLAINTEXT://:1", ALTER_SET, ERR_INVALID_REQUEST,
         "Cannot update these configs at default cluster level, broker id must be specified: "
         "[listeners]"},
        {4, "1", "min.insync.replicas", "2", ALTER_SET, ERR_INVALID_CONFIG,
         "Broker-level min.insync.replicas cannot be altered while ELR is enabled."},
        {4, "", "min.insync.replicas", NULL, ALTER_DELETE, ERR_INVALID_CONFIG,
         "Cluster-level min.insync.replicas cannot be removed while ELR is enabled."},
        {4, "", "min.insync.replicas", "2", ALTER_SET, ERR_OK, NULL},
        {4, "", "log.segment.bytes", "5", ALTER_SET, ERR_INVALID_REQUEST,
         "Invalid value 5 for configuration log.segment.bytes: Value must be at least 1048576"},
        {4, "", "num.io.threads", "12", ALTER_SET, ERR_OK, NULL},
        {4, "1", "log.cleaner.threads", "2", ALTER_SET, ERR_OK, NULL},
        {4, "1", "producer.id.expiration.ms", "2", ALTER_SET, ERR_INVALID_REQUEST,
         "This version cannot change producer.id.expiration.ms while the broker runs. Set it in "
         "server.properties and restart."},
        {4, "1", "max.connections", "2", ALTER_SET, ERR_OK, NULL},
        {4, "1", "max.connections.per.ip", "0", ALTER_SET, ERR_INVALID_REQUEST,
         "requirement failed: max.connections.per.ip can be set to zero only if "
         "max.connections.per.ip.overrides property is set."},
        {4, "", "max.connections.per.ip.overrides", "10.0.0.1:5", ALTER_SET, ERR_OK, NULL},
        {4, "", "max.connections.per.ip.overrides", "10.0.0.1:5,x:1", ALTER_SET,
         ERR_INVALID_REQUEST,
         "Invalid value x:1 for configuration max.connections.per.ip.overrides: It must be the "
         "number of an address, a colon and how many connections it may have; names are not looked "
         "up"},
        {4, "1", "ssl.keystore.password", "x", ALTER_SET, ERR_INVALID_REQUEST,
         "These security configs can be dynamically updated only per-listener using the listener "
         "prefix: [ssl.keystore.password]"},
        {8, "1", "kafka", "INFO", ALTER_SET, ERR_INVALID_CONFIG, "Logger kafka does not exist!"},
        {8, "1", "kafka", "INFO", ALTER_APPEND, ERR_INVALID_REQUEST,
         "APPEND operation is not allowed for the BROKER_LOGGER resource"},
        {8, "", "kafka", "INFO", ALTER_SET, ERR_INVALID_REQUEST,
         "Node id must be an integer, but it is: "},
        {16, "cm", "metrics", "a.", ALTER_APPEND, ERR_INVALID_CONFIG,
         "Can't APPEND to key metrics because its type is not LIST."},
        {16, "cm", "interval.ms", "5", ALTER_SET, ERR_INVALID_REQUEST,
         "Invalid value 5 for interval.ms, interval must be between 100 and 3600000 (1 hour)"},
        {16, "cm", "interval.ms", "1000", ALTER_SET, ERR_OK, NULL},
        {16, "cm", "match", "client_id=[a", ALTER_SET, ERR_INVALID_CONFIG,
         "Illegal client matching pattern: client_id=[a"},
        {16, "cm", "match", "client_id=(((a{1,99}){1,99}){1,99}){1,99}", ALTER_SET,
         ERR_INVALID_CONFIG, "Illegal client matching pattern: client_id=(((a{1"},
        {16, "cm", "match", "client_id=(((a{99}){99}){99}){99}", ALTER_SET, ERR_INVALID_CONFIG,
         "Illegal client matching pattern: client_id=(((a{99}){99}){99}){99}"},
        {16, "cm", "match", "client_id=a.*", ALTER_SET, ERR_OK, NULL},
        {16, "cm", "nope", "1", ALTER_SET, ERR_INVALID_REQUEST,
         "Unknown client metrics configuration: nope"},
        {16, "", "interval.ms", "1000", ALTER_SET, ERR_INVALID_REQUEST,
         "Subscription name can't be empty"},
        {32, "g", "consumer.session.timeout.ms", "5", ALTER_SET, ERR_INVALID_CONFIG,
         "consumer.session.timeout.ms must be greater than or equal to "
         "group.consumer.min.session.timeout.ms"},
        {32, "g", "consumer.heartbeat.interval.ms", "60000", ALTER_SET, ERR_INVALID_CONFIG,
         "consumer.heartbeat.interval.ms must be less than or equal to "
         "group.consumer.max.heartbeat.interval.ms"},
        {32, "g", "consumer.session.timeout.ms", "50000", ALTER_SET, ERR_OK, NULL},
        {32, "g", "nope", "1", ALTER_SET, ERR_INVALID_CONFIG, "Unknown group config name: nope"},
        {32, "", "consumer.session.timeout.ms", "50000", ALTER_SET, ERR_INVALID_REQUEST,
         "Default group resources are not allowed."},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct altered_resource *answer = alter(&cases[i]);
        assert_text(answer->message, cases[i].sentence);
        assert_int_equal(answer->err, cases[i].err);
        assert_int_equal(records.count, cases[i].err ? 0 : 1);
        replay();
    }
    const struct config_image *config = image_config(controller.head, CONFIG_TOPIC, STR("t"));
    assert_int_equal(config->count, 1);
    /* The same value again is no change for a topic. */
    alter(&cases[0]);
    assert_int_equal(records.count, 0);
}

static void lists_grow_and_shrink(void **state)
{
    (void)state;
    struct create_topic topic = plain("t");
    create(&topic, 1);
    replay();
    static const struct {
        const char *value;
        int8_t op;
        const char *after;
    } steps[] = {
        {"0:1", ALTER_APPEND, "0:1"},   {"1:1,0:1", ALTER_APPEND, "0:1,1:1"},
        {"0:1", ALTER_SUBTRACT, "1:1"}, {"5:5", ALTER_SUBTRACT, "1:1"},
        {"1:1", ALTER_SUBTRACT, ""},    {NULL, ALTER_DELETE, NULL},
        {"2:1", ALTER_SET, "2:1"},
    };
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        struct alter_case c = {.type = 2,
                               .name = "t",
                               .key = "leader.replication.throttled.replicas",
                               .value = steps[i].value,
                               .op = steps[i].op};
        assert_int_equal(alter(&c)->err, ERR_OK);
        replay();
        assert_text(
            config_image_get(image_config(controller.head, CONFIG_TOPIC, STR("t")), str_of(c.key)),
            steps[i].after);
    }
}

static void the_older_request_replaces_all(void **state)
{
    (void)state;
    struct create_topic topic = plain("t");
    create(&topic, 1);
    replay();
    struct alter_config first[] = {{STR("retention.ms"), STR("5"), 0},
                                   {STR("segment.ms"), STR("6"), 0}};
    struct alter_config second[] = {{STR("segment.ms"), STR("7"), 9}};
    struct alter_resource resource = {2, STR("t"), first, 2};
    struct altered_resource *answers;
    assert_int_equal(controller_replace_configs(&controller, &call, &resource, 1, false, &answers),
                     ERR_OK);
    assert_int_equal(answers->err, ERR_OK);
    replay();
    resource.configs = second;
    resource.count = 1;
    assert_int_equal(controller_replace_configs(&controller, &call, &resource, 1, true, &answers),
                     ERR_OK);
    assert_int_equal(records.count, 0);
    assert_int_equal(controller_replace_configs(&controller, &call, &resource, 1, false, &answers),
                     ERR_OK);
    replay();
    const struct config_image *config = image_config(controller.head, CONFIG_TOPIC, STR("t"));
    assert_int_equal(config->count, 1);
    assert_text(config_image_get(config, STR("segment.ms")), "7");
    struct alter_resource doubles[] = {{2, STR("t"), second, 1}, {2, STR("t"), second, 1}};
    assert_int_equal(controller_replace_configs(&controller, &call, doubles, 2, false, &answers),
                     ERR_OK);
    assert_text(answers[0].message, "Each resource must appear at most once.");
    assert_text(answers[1].message, "Each resource must appear at most once.");
    struct alter_config twice[] = {{STR("segment.ms"), STR("7"), 0},
                                   {STR("segment.ms"), STR("8"), 0}};
    resource.configs = twice;
    resource.count = 2;
    assert_int_equal(controller_alter_configs(&controller, &call, &resource, 1, false, &answers),
                     ERR_OK);
    assert_text(answers->message, "Error due to duplicate config keys");
    assert_int_equal(records.count, 0);
    /* Who replaces the settings of all brokers must name min.insync.replicas. */
    struct alter_config other[] = {{STR("log.retention.ms"), STR("7"), 0},
                                   {STR("min.insync.replicas"), STR("1"), 0}};
    struct alter_resource cluster = {4, STR(""), other, 1};
    assert_int_equal(controller_replace_configs(&controller, &call, &cluster, 1, false, &answers),
                     ERR_OK);
    assert_int_equal(answers->err, ERR_INVALID_CONFIG);
    assert_text(answers->message,
                "Cluster-level min.insync.replicas cannot be removed while ELR is enabled.");
    assert_int_equal(records.count, 0);
    cluster.count = 2;
    assert_int_equal(controller_replace_configs(&controller, &call, &cluster, 1, false, &answers),
                     ERR_OK);
    assert_int_equal(answers->err, ERR_OK);
    replay();
    assert_text(config_image_get(image_config(controller.head, CONFIG_BROKER, STR("")),
                                 STR("min.insync.replicas")),
                "1");
}

/* --- brokers, ids --- */

static void producer_ids_come_in_blocks_once(void **state)
{
    (void)state;
    struct meta_error error;
    int64_t first;
    int32_t count;
    for (int64_t block = 0; block < 3; block++) {
        assert_int_equal(controller_allocate_producer_ids(&controller, &call, 1, broker_epoch,
                                                          &first, &count, &error),
                         ERR_OK);
        assert_int_equal(first, block * 1000);
        assert_int_equal(count, 1000);
        replay();
    }
    assert_int_equal(controller_allocate_producer_ids(&controller, &call, 1, broker_epoch - 1,
                                                      &first, &count, &error),
                     ERR_STALE_BROKER_EPOCH);
    assert_int_equal(
        controller_allocate_producer_ids(&controller, &call, 9, 1, &first, &count, &error),
        ERR_STALE_BROKER_EPOCH);
    assert_int_equal(records.count, 0);
}

static void a_restart_raises_leader_epochs(void **state)
{
    (void)state;
    struct create_topic topic = plain("t");
    create(&topic, 1);
    replay();
    broker_epoch = add_broker(1, NULL, 1);
    const struct partition_image *p =
        image_partition(image_topic_by_name(controller.head, STR("t")), 0);
    assert_int_equal(p->leader, 1);
    assert_int_equal(p->leader_epoch, 1);
    struct meta_error error;
    assert_int_equal(controller_unfence_broker(&controller, &call, 1, broker_epoch, &error),
                     ERR_OK);
    assert_int_equal(records.count, 0);
    assert_int_equal(controller_unfence_broker(&controller, &call, 1, 0, &error),
                     ERR_STALE_BROKER_EPOCH);
    assert_int_equal(controller_unfence_broker(&controller, &call, 5, 0, &error),
                     ERR_BROKER_ID_NOT_REGISTERED);
}

/* What Apache Kafka leaves of a partition with one replica when it stops. */
static void kafkas_stopped_partitions_are_led_again(void **state)
{
    (void)state;
    struct create_topic topic = plain("t");
    struct created_topic *created = create(&topic, 1);
    replay();
    int32_t one[] = {1}, other[] = {1, 5};
    for (int32_t i = 0; i < 3; i++) {
        struct partition_change_record *r = MSG_ARRAY(partition_change_record, &arena, 1);
        r->topic_id = created->id;
        r->partition_id = i;
        r->leader = -1;
        r->isr_len = 0;
        if (i == 0) {
            r->eligible_leader_replicas = one;
            r->eligible_leader_replicas_len = 1;
        } else {
            r->last_known_elr = i == 1 ? one : other;
            r->last_known_elr_len = i;
        }
        assert_int_equal(meta_records_add(&records, META_PARTITION_CHANGE, 2, r), ERR_OK);
    }
    replay();
    add_broker(1, NULL, 1);
    for (int32_t i = 0; i < 3; i++) {
        const struct partition_image *p =
            image_partition(image_topic_by_name(controller.head, STR("t")), i);
        assert_int_equal(p->leader, i < 2 ? 1 : -1);
        assert_int_equal(p->isr_count, i < 2 ? 1 : 0);
        assert_int_equal(p->elr_count, 0);
        assert_int_equal(p->last_known_elr_count, i < 2 ? 0 : 2);
    }
}

static void fencing_moves_leaders(void **state)
{
    (void)state;
    add_broker(2, NULL, 1);
    struct create_topic topics[] = {{STR("both"), 4, 2}, {STR("single"), 4, 1}};
    assert_int_equal(create(topics, 2)->err, ERR_OK);
    replay();
    struct meta_error error;
    assert_int_equal(controller_fence_broker(&controller, &call, 2, &error), ERR_OK);
    replay();
    for (int32_t i = 0; i < 4; i++) {
        const struct partition_image *p =
            image_partition(image_topic_by_name(controller.head, STR("both")), i);
        assert_int_equal(p->leader, 1);
        assert_int_equal(p->isr_count, 1);
        assert_int_equal(p->replica_count, 2);
        p = image_partition(image_topic_by_name(controller.head, STR("single")), i);
        assert_int_equal(p->leader, p->replicas[0] == 2 ? -1 : 1);
        assert_int_equal(p->isr_count, p->replicas[0] == 2 ? 0 : 1);
        assert_int_equal(p->elr_count, p->replicas[0] == 2 ? 1 : 0);
    }
    assert_int_equal(controller_fence_broker(&controller, &call, 2, &error), ERR_OK);
    assert_int_equal(records.count, 0);
    struct create_topic more = {STR("more"), 2, 2};
    assert_int_equal(create(&more, 1)->err, ERR_OK);
    replay();
    const struct partition_image *p =
        image_partition(image_topic_by_name(controller.head, STR("more")), 0);
    assert_int_equal(p->leader, 1);
    assert_int_equal(p->isr_count, 1);
    add_broker(2, NULL, 1);
    for (int32_t i = 0; i < 4; i++) {
        p = image_partition(image_topic_by_name(controller.head, STR("single")), i);
        assert_int_equal(p->leader, p->replicas[0]);
    }
}

static void directories_are_assigned(void **state)
{
    (void)state;
    struct create_topic topic = plain("t");
    struct created_topic *created = create(&topic, 1);
    replay();
    broker_epoch = add_broker(1, NULL, 3);
    struct uuid second = image_broker(controller.head, 1)->log_dirs[1];
    struct dir_assignment assignments[] = {
        {created->id, 1, second}, {created->id, 77, second}, {{{1, 1}}, 0, second}};
    enum err *errs;
    struct meta_error error;
    assert_int_equal(
        controller_assign_dirs(&controller, &call, 1, broker_epoch, assignments, 3, &errs, &error),
        ERR_OK);
    assert_int_equal(errs[0], ERR_OK);
    assert_int_equal(errs[1], ERR_UNKNOWN_TOPIC_OR_PARTITION);
    assert_int_equal(errs[2], ERR_UNKNOWN_TOPIC_ID);
    replay();
    const struct partition_image *p =
        image_partition(image_topic_by_name(controller.head, STR("t")), 1);
    assert_true(uuid_eq(p->directories[0], second));
    assert_int_equal(p->leader, 1);
    assert_int_equal(p->leader_epoch, 1); /* of the restart */
}

static const struct partition_image *partition_of_t(int32_t index)
{
    return image_partition(image_topic_by_name(controller.head, STR("t")), index);
}

static void assign(struct uuid topic_id, int32_t index, struct uuid directory)
{
    struct dir_assignment assignment = {topic_id, index, directory};
    enum err *errs;
    struct meta_error error;
    assert_int_equal(
        controller_assign_dirs(&controller, &call, 1, broker_epoch, &assignment, 1, &errs, &error),
        ERR_OK);
    assert_int_equal(errs[0], ERR_OK);
    replay();
}

static void a_failed_directory_takes_its_leaders(void **state)
{
    (void)state;
    struct meta_error error;
    struct create_topic topic = plain("t");
    broker_epoch = add_broker(1, NULL, 3);
    const struct broker_image *broker = image_broker(controller.head, 1);
    struct uuid first = broker->log_dirs[0], second = broker->log_dirs[1];
    struct uuid topic_id = create(&topic, 1)->id;
    replay();
    assign(topic_id, 0, first);
    assign(topic_id, 1, second);
    assert_int_equal(controller_dir_offline(&controller, &call, 1, 0, second, &error),
                     ERR_STALE_BROKER_EPOCH);
    assert_int_equal(controller_dir_offline(&controller, &call, 7, 0, second, &error),
                     ERR_BROKER_ID_NOT_REGISTERED);
    assert_int_equal(
        controller_dir_offline(&controller, &call, 1, broker_epoch, (struct uuid){{77}}, &error),
        ERR_OK);
    assert_int_equal(records.count, 0);
    assert_int_equal(controller_dir_offline(&controller, &call, 1, broker_epoch, second, &error),
                     ERR_OK);
    replay();
    assert_int_equal(image_broker(controller.head, 1)->log_dir_count, 2);
    assert_int_equal(partition_of_t(0)->leader, 1);
    assert_int_equal(partition_of_t(1)->leader, -1);
    assert_int_equal(partition_of_t(1)->isr_count, 0);
    assert_int_equal(partition_of_t(1)->elr[0], 1);
    assert_int_equal(partition_of_t(2)->leader, 1); /* not yet assigned */
    /* A start without the folder does not bring it back, one with it does. */
    broker_epoch = add_broker(1, NULL, 1);
    assert_int_equal(partition_of_t(0)->leader, 1);
    assert_int_equal(partition_of_t(1)->leader, -1);
    broker_epoch = add_broker(1, NULL, 3);
    assert_int_equal(partition_of_t(1)->leader, 1);
    assert_int_equal(partition_of_t(1)->isr[0], 1);
    assert_int_equal(partition_of_t(1)->elr_count, 0);
    /* One that cannot be served, and is mended; or that is found in another folder. */
    assign(topic_id, 0, DIR_LOST);
    assert_int_equal(partition_of_t(0)->leader, -1);
    broker_epoch = add_broker(1, NULL, 3);
    assert_int_equal(partition_of_t(0)->leader, -1);
    assign(topic_id, 0, second);
    assert_int_equal(partition_of_t(0)->leader, 1);
    assert_int_equal(partition_of_t(0)->isr_count, 1);
}

static enum err elect(const char *topic, int32_t index, bool unclean)
{
    struct meta_error error = {ERR_OK, STR_NULL};
    enum err err =
        controller_elect_leader(&controller, &call, str_of(topic), index, unclean, &error);
    assert_int_equal(error.err, err);
    if (err == ERR_OK)
        replay();
    return err;
}

static const struct partition_image *partition_of(const char *topic)
{
    return image_partition(image_topic_by_name(controller.head, str_of(topic)), 0);
}

static void leaders_are_elected_on_request(void **state)
{
    (void)state;
    struct meta_error error;
    int64_t second = add_broker(2, NULL, 1);
    struct create_assignment both = {0, (const int32_t[]){2, 1}, 2};
    struct create_assignment single = {0, (const int32_t[]){2}, 1};
    struct create_topic topics[] = {{STR("t"), -1, -1, &both, 1}, {STR("s"), -1, -1, &single, 1}};
    const struct created_topic *created = create(topics, 2);
    assert_int_equal(created[0].err, ERR_OK);
    assert_int_equal(created[1].err, ERR_OK);
    replay();
    assert_int_equal(elect("t", 0, false), ERR_ELECTION_NOT_NEEDED);
    assert_int_equal(elect("t", 0, true), ERR_ELECTION_NOT_NEEDED);
    assert_int_equal(elect("t", 1, false), ERR_UNKNOWN_TOPIC_OR_PARTITION);
    assert_int_equal(elect("t", -1, true), ERR_UNKNOWN_TOPIC_OR_PARTITION);
    assert_int_equal(elect("u", 0, false), ERR_UNKNOWN_TOPIC_OR_PARTITION);
    assert_int_equal(controller_fence_broker(&controller, &call, 2, &error), ERR_OK);
    replay();
    /* The preferred replica is away: one partition has another leader, one has none. */
    assert_int_equal(partition_of("t")->leader, 1);
    assert_int_equal(elect("t", 0, false), ERR_PREFERRED_LEADER_NOT_AVAILABLE);
    assert_int_equal(elect("t", 0, true), ERR_ELECTION_NOT_NEEDED);
    assert_int_equal(elect("s", 0, true), ERR_ELIGIBLE_LEADERS_NOT_AVAILABLE);
    assert_int_equal(elect("s", 0, false), ERR_PREFERRED_LEADER_NOT_AVAILABLE);
    /* It is back, but not in sync: only the unclean election takes it. */
    assert_int_equal(controller_unfence_broker(&controller, &call, 2, second, &error), ERR_OK);
    records.count = 1; /* the broker's record without the partitions' */
    replay();
    assert_int_equal(elect("s", 0, false), ERR_PREFERRED_LEADER_NOT_AVAILABLE);
    int32_t epoch = partition_of("s")->leader_epoch;
    assert_int_equal(elect("s", 0, true), ERR_OK);
    assert_int_equal(partition_of("s")->leader, 2);
    assert_int_equal(partition_of("s")->isr_count, 1);
    assert_int_equal(partition_of("s")->isr[0], 2);
    assert_int_equal(partition_of("s")->leader_epoch, epoch + 1);
    assert_int_equal(elect("s", 0, true), ERR_ELECTION_NOT_NEEDED);
}

static void replicas_stay_where_they_are(void **state)
{
    (void)state;
    struct create_topic topic = plain("t");
    assert_int_equal(create(&topic, 1)->err, ERR_OK);
    replay();
    const struct {
        const char *topic;
        int32_t index;
        const int32_t *brokers;
        size_t count;
        enum err err;
        const char *sentence;
    } cases[] = {
        {"t", 0, (const int32_t[]){1}, 1, ERR_OK, NULL},
        {"t", 0, NULL, 0, ERR_NO_REASSIGNMENT_IN_PROGRESS, NULL},
        {"t", 0, (const int32_t[]){7}, 1, ERR_INVALID_REPLICA_ASSIGNMENT,
         "The manual partition assignment includes broker 7, but no such broker is registered."},
        {"t", 0, (const int32_t[]){1, 1}, 2, ERR_INVALID_REPLICA_ASSIGNMENT,
         "The manual partition assignment includes the broker 1 more than once."},
        {"t", 3, (const int32_t[]){1}, 1, ERR_UNKNOWN_TOPIC_OR_PARTITION,
         "Unable to find partition t:3."},
        {"t", -1, NULL, 0, ERR_UNKNOWN_TOPIC_OR_PARTITION, "Unable to find partition t:-1."},
        {"u", 0, NULL, 0, ERR_UNKNOWN_TOPIC_OR_PARTITION, "Unable to find a topic named u."},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct meta_error error = {ERR_OK, STR_NULL};
        struct create_assignment target = {cases[i].index, cases[i].brokers, cases[i].count};
        assert_int_equal(controller_reassign(&controller, &call, str_of(cases[i].topic),
                                             cases[i].index, cases[i].brokers ? &target : NULL,
                                             &error),
                         cases[i].err);
        assert_text(error.text, cases[i].sentence);
        assert_int_equal(records.count, 0);
    }
    add_broker(2, NULL, 1);
    struct create_assignment elsewhere = {0, (const int32_t[]){2}, 1};
    struct meta_error error;
    assert_int_equal(controller_reassign(&controller, &call, STR("t"), 0, &elsewhere, &error),
                     ERR_INVALID_REPLICA_ASSIGNMENT);
    assert_int_equal(records.count, 0);
}

static enum err update(const struct feature_update *updates, size_t count, bool validate_only)
{
    struct meta_error error = {ERR_OK, STR_NULL};
    enum err err =
        controller_update_features(&controller, &call, updates, count, 1, validate_only, &error);
    if (err != ERR_OK)
        assert_int_equal(records.count, 0);
    assert_int_equal(error.err, err);
    return err;
}

static void features_go_up_and_down(void **state)
{
    (void)state;
    const struct feature_update wrong[] = {
        {STR("nope"), 1, FEATURE_UPGRADE},
        {STR("share.version"), 2, FEATURE_UPGRADE},
        {STR("share.version"), -1, FEATURE_SAFE_DOWNGRADE},
        {STR("share.version"), 0, FEATURE_UPGRADE},
        {STR("share.version"), 0, 0},
        {STR("share.version"), 0, 4},
        {STR("metadata.version"), 29, FEATURE_SAFE_DOWNGRADE},
        {STR("metadata.version"), 29, FEATURE_UNSAFE_DOWNGRADE},
        {STR("metadata.version"), 31, FEATURE_UPGRADE},
        {STR("kraft.version"), 0, FEATURE_SAFE_DOWNGRADE},
        {STR_NULL, 1, FEATURE_UPGRADE},
    };
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        const struct feature_update both[] = {{STR("streams.version"), 0, FEATURE_SAFE_DOWNGRADE},
                                              wrong[i]};
        assert_int_equal(update(both, 2, false), ERR_INVALID_UPDATE_VERSION);
    }
    const struct feature_update same[] = {{STR("metadata.version"), 30, FEATURE_UPGRADE},
                                          {STR("kraft.version"), 1, FEATURE_UPGRADE},
                                          {STR("share.version"), 1, FEATURE_SAFE_DOWNGRADE}};
    assert_int_equal(update(same, 3, false), ERR_OK);
    assert_int_equal(records.count, 0);

    const struct feature_update down[] = {
        {STR("eligible.leader.replicas.version"), 1, FEATURE_UPGRADE},
        {STR("eligible.leader.replicas.version"), 0, FEATURE_SAFE_DOWNGRADE}};
    assert_int_equal(update(down, 2, true), ERR_OK);
    assert_int_equal(records.count, 0);
    assert_int_equal(update(down, 2, false), ERR_OK);
    assert_int_equal(records.count, 1); /* the last that names it counts */
    replay();
    assert_int_equal(image_feature(controller.head, STR("eligible.leader.replicas.version")), 0);
    assert_int_equal(update(down, 1, false), ERR_OK);
    assert_int_equal(records.count, 1); /* min.insync.replicas of the cluster is still there */
    replay();
    assert_int_equal(image_feature(controller.head, STR("eligible.leader.replicas.version")), 1);
    const struct feature_update newer = {STR("share.version"), 0, FEATURE_UNSAFE_DOWNGRADE};
    assert_int_equal(update(&newer, 1, false), ERR_OK);
    replay();
    const struct feature_update back = {STR("share.version"), 1, FEATURE_SAFE_DOWNGRADE};
    assert_int_equal(update(&back, 1, false), ERR_INVALID_UPDATE_VERSION);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(a_new_log_begins_as_kafkas),
        CASE(an_open_transaction_is_aborted_by_a_new_leader),
        CASE(levels_out_of_reach_are_refused),
        CASE(a_topic_gets_defaults_and_an_answer_with_all_its_configs),
        CASE(only_validating_leaves_no_record),
        CASE(bad_topics_get_kafkas_sentences),
        CASE(one_bad_topic_does_not_spoil_the_rest),
        CASE(replicas_spread_over_brokers_and_racks),
        CASE(deletes_are_kafkas),
        CASE(what_a_cluster_of_one_cannot_serve_is_named),
        CASE(deletion_can_be_disabled),
        CASE(partitions_are_added),
        CASE(alterations_get_kafkas_answers),
        CASE(lists_grow_and_shrink),
        CASE(the_older_request_replaces_all),
        CASE(producer_ids_come_in_blocks_once),
        CASE(a_restart_raises_leader_epochs),
        CASE(kafkas_stopped_partitions_are_led_again),
        CASE(fencing_moves_leaders),
        CASE(directories_are_assigned),
        CASE(a_failed_directory_takes_its_leaders),
        CASE(leaders_are_elected_on_request),
        CASE(replicas_stay_where_they_are),
        CASE(features_go_up_and_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
