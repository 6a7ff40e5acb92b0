/* Goal: the tables know every key that Apache Kafka 4.3.1 knows, values are judged as Kafka judges
 * them and in its words, and the value in force and its sources are those that Kafka names.
 * Method: counts and order of the tables, sentences taken from a running Kafka, and describes of
 * an image whose layers disagree. */
#include "meta/config_def.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/buf.h"
#include "meta/topic_support.h"
#include "wire/messages.h"

static struct arena arena;

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, ARENA_NO_LIMIT);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_deinit(&arena);
    return 0;
}

static void assert_text(struct str s, const char *expected)
{
    if (!str_eq_cstr(s, expected))
        fail_msg("\"%.*s\" is not \"%s\"", STR_ARG(s), expected ? expected : "(null)");
}

static void tables_are_complete_and_ordered(void **state)
{
    (void)state;
    /* What KafkaConfig, LogConfig, GroupConfig and ClientMetricsConfigs of 4.3.1 define. */
    static const size_t expected[] = {[CONFIG_SCOPE_BROKER] = 360 + 1, /* of QuotaConfig */
                                      [CONFIG_SCOPE_TOPIC] = 34 + 1,   /* write.caching is ours */
                                      [CONFIG_SCOPE_GROUP] = 17,
                                      [CONFIG_SCOPE_CLIENT_METRICS] = 3};
    for (int scope = CONFIG_SCOPE_BROKER; scope <= CONFIG_SCOPE_OWN; scope++) {
        const struct config_def *rows;
        size_t count = config_def_list((enum config_scope)scope, &rows);
        if (scope != CONFIG_SCOPE_OWN)
            assert_int_equal(count, expected[scope]);
        for (size_t i = 0; i < count; i++) {
            if (i > 0)
                assert_true(str_cmp(str_of(rows[i - 1].key), str_of(rows[i].key)) < 0);
            assert_ptr_equal(config_def_find((enum config_scope)scope, str_of(rows[i].key)),
                             &rows[i]);
            struct meta_error error;
            if (rows[i].fallback)
                assert_int_equal(
                    config_def_check(&rows[i], str_of(rows[i].fallback), &arena, &error), ERR_OK);
            if (rows[i].support == CONFIG_INHERENT)
                assert_non_null(rows[i].note);
            if ((scope == CONFIG_SCOPE_TOPIC && !rows[i].is_internal) || scope == CONFIG_SCOPE_OWN)
                assert_non_null(rows[i].doc);
            if (scope == CONFIG_SCOPE_BROKER && rows[i].support == CONFIG_HONOURED)
                assert_non_null(rows[i].doc);
            assert_true(config_def_allowed_text(&rows[i], &arena).len > 0);
        }
        assert_null(config_def_find((enum config_scope)scope, STR("no.such.key")));
        assert_null(config_def_find((enum config_scope)scope, STR("")));
    }
}

static void values_are_judged_in_kafkas_words(void **state)
{
    (void)state;
    static const struct {
        enum config_scope scope;
        const char *key, *value, *sentence; /* NULL: accepted */
    } cases[] = {
        {CONFIG_SCOPE_TOPIC, "retention.ms", "-1", NULL},
        {CONFIG_SCOPE_TOPIC, "retention.ms", " +5 ", NULL},
        {CONFIG_SCOPE_TOPIC, "retention.ms", "-2",
         "Invalid value -2 for configuration retention.ms: Value must be at least -1"},
        {CONFIG_SCOPE_TOPIC, "retention.ms", "9223372036854775808",
         "Invalid value 9223372036854775808 for configuration retention.ms: Not a number of type "
         "LONG"},
        {CONFIG_SCOPE_TOPIC, "retention.ms", "",
         "Invalid value  for configuration retention.ms: Not a number of type LONG"},
        {CONFIG_SCOPE_TOPIC, "max.message.bytes", "2147483648",
         "Invalid value 2147483648 for configuration max.message.bytes: Not a number of type INT"},
        {CONFIG_SCOPE_TOPIC, "max.message.bytes", "1.5",
         "Invalid value 1.5 for configuration max.message.bytes: Not a number of type INT"},
        {CONFIG_SCOPE_TOPIC, "segment.bytes", "1",
         "Invalid value 1 for configuration segment.bytes: Value must be at least 1048576"},
        {CONFIG_SCOPE_TOPIC, "cleanup.policy", "shred",
         "Invalid value shred for configuration cleanup.policy: String must be one of: compact, "
         "delete"},
        {CONFIG_SCOPE_TOPIC, "cleanup.policy", "", NULL},
        {CONFIG_SCOPE_TOPIC, "cleanup.policy", "compact, delete", NULL},
        {CONFIG_SCOPE_TOPIC, "cleanup.policy", "compact,compact", NULL},
        {CONFIG_SCOPE_TOPIC, "min.cleanable.dirty.ratio", "NaN", NULL},
        {CONFIG_SCOPE_TOPIC, "min.cleanable.dirty.ratio", "0.5d", NULL},
        {CONFIG_SCOPE_TOPIC, "cleanup.policy", "delete,,compact",
         "Configuration 'cleanup.policy' values must not be empty."},
        {CONFIG_SCOPE_TOPIC, "cleanup.policy", ",",
         "Configuration 'cleanup.policy' values must not be empty."},
        {CONFIG_SCOPE_TOPIC, "compression.type", "ZSTD",
         "Invalid value ZSTD for configuration compression.type: String must be one of: "
         "uncompressed, zstd, lz4, snappy, gzip, producer"},
        {CONFIG_SCOPE_TOPIC, "compression.gzip.level", "-1", NULL},
        {CONFIG_SCOPE_TOPIC, "compression.gzip.level", "10",
         "Invalid value 10 for configuration compression.gzip.level: Value must be between 1 and 9 "
         "or equal to -1"},
        {CONFIG_SCOPE_TOPIC, "compression.lz4.level", "18",
         "Invalid value 18 for configuration compression.lz4.level: Value must be no more than 17"},
        {CONFIG_SCOPE_TOPIC, "compression.zstd.level", "-131073",
         "Invalid value -131073 for configuration compression.zstd.level: Value must be at least "
         "-131072"},
        {CONFIG_SCOPE_GROUP, "share.auto.offset.reset", "earliest", NULL},
        {CONFIG_SCOPE_GROUP, "share.auto.offset.reset", "by_duration:P1DT2H3M4.5S", NULL},
        {CONFIG_SCOPE_GROUP, "share.auto.offset.reset", "by_duration:PT5S", NULL},
        {CONFIG_SCOPE_GROUP, "share.auto.offset.reset", "by_duration:P3D", NULL},
        {CONFIG_SCOPE_GROUP, "share.auto.offset.reset", "by_duration:",
         "Invalid value by_duration: for configuration share.auto.offset.reset: Invalid value "
         "`by_duration:` for configuration share.auto.offset.reset. The value must be either "
         "'earliest', 'latest' or of the format 'by_duration:<PnDTnHnMn.nS>'."},
        {CONFIG_SCOPE_GROUP, "share.auto.offset.reset", "by_duration:PT5M5H",
         "Invalid value by_duration:PT5M5H for configuration share.auto.offset.reset: Invalid "
         "value "
         "`by_duration:PT5M5H` for configuration share.auto.offset.reset. The value must be either "
         "'earliest', 'latest' or of the format 'by_duration:<PnDTnHnMn.nS>'."},
        {CONFIG_SCOPE_GROUP, "share.auto.offset.reset", "by_duration:P1DT",
         "Invalid value by_duration:P1DT for configuration share.auto.offset.reset: Invalid value "
         "`by_duration:P1DT` for configuration share.auto.offset.reset. The value must be either "
         "'earliest', 'latest' or of the format 'by_duration:<PnDTnHnMn.nS>'."},
        {CONFIG_SCOPE_TOPIC, "preallocate", "FALSE", NULL},
        {CONFIG_SCOPE_TOPIC, "preallocate", "yes",
         "Invalid value yes for configuration preallocate: Expected value to be either true or "
         "false"},
        {CONFIG_SCOPE_TOPIC, "min.cleanable.dirty.ratio", "0.25", NULL},
        {CONFIG_SCOPE_TOPIC, "min.cleanable.dirty.ratio", "1.01",
         "Invalid value 1.01 for configuration min.cleanable.dirty.ratio: Value must be no more "
         "than 1"},
        {CONFIG_SCOPE_TOPIC, "min.cleanable.dirty.ratio", "23",
         "Invalid value 23.0 for configuration min.cleanable.dirty.ratio: Value must be no more "
         "than 1"},
        {CONFIG_SCOPE_TOPIC, "min.cleanable.dirty.ratio", "2147483647",
         "Invalid value 2.147483647E9 for configuration min.cleanable.dirty.ratio: Value must be "
         "no more than 1"},
        {CONFIG_SCOPE_TOPIC, "min.cleanable.dirty.ratio", "1e3",
         "Invalid value 1000.0 for configuration min.cleanable.dirty.ratio: Value must be no more "
         "than 1"},
        {CONFIG_SCOPE_TOPIC, "min.cleanable.dirty.ratio", "x",
         "Invalid value x for configuration min.cleanable.dirty.ratio: Not a number of type "
         "DOUBLE"},
        {CONFIG_SCOPE_TOPIC, "leader.replication.throttled.replicas", "0:1,1:2", NULL},
        {CONFIG_SCOPE_TOPIC, "leader.replication.throttled.replicas", "*", NULL},
        {CONFIG_SCOPE_TOPIC, "leader.replication.throttled.replicas", "0:",
         "Invalid value [0:] for configuration leader.replication.throttled.replicas: "
         "leader.replication.throttled.replicas must be the literal '*' or a list of replicas in "
         "the following format: [partitionId]:[brokerId],[partitionId]:[brokerId],..."},
        {CONFIG_SCOPE_BROKER, "listeners", "",
         "Configuration 'listeners' must not be empty. Valid values include: any non-empty value"},
        {CONFIG_SCOPE_BROKER, "process.roles", "",
         "Configuration 'process.roles' must not be empty. Valid values include: [broker, "
         "controller]"},
        {CONFIG_SCOPE_BROKER, "process.roles", "boss",
         "Invalid value boss for configuration process.roles: String must be one of: broker, "
         "controller"},
        {CONFIG_SCOPE_BROKER, "num.partitions", "0",
         "Invalid value 0 for configuration num.partitions: Value must be at least 1"},
        {CONFIG_SCOPE_BROKER, "offsets.topic.replication.factor", "40000",
         "Invalid value 40000 for configuration offsets.topic.replication.factor: Not a number of "
         "type SHORT"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct config_def *def = config_def_find(cases[i].scope, str_of(cases[i].key));
        assert_non_null(def);
        struct meta_error error = {ERR_OK, STR_NULL};
        enum err err = config_def_check(def, str_of(cases[i].value), &arena, &error);
        if (err != (cases[i].sentence ? ERR_INVALID_CONFIG : ERR_OK))
            fail_msg("%s=%s: %s", cases[i].key, cases[i].value, err_name(err));
        if (cases[i].sentence)
            assert_text(error.text, cases[i].sentence);
    }
}

static void what_cannot_be_honoured_is_refused(void **state)
{
    (void)state;
    struct meta_error error;
    assert_int_equal(topic_support_check(STR("cleanup.policy"), STR("delete"), &arena, &error),
                     ERR_OK);
    assert_int_equal(
        topic_support_check(STR("cleanup.policy"), STR("delete, compact"), &arena, &error), ERR_OK);
    assert_int_equal(topic_support_check(STR("remote.storage.enable"), STR("TRUE"), &arena, &error),
                     ERR_INVALID_CONFIG);
    assert_text(error.text, "Tiered Storage functionality is disabled in the broker. Topic cannot "
                            "be configured with remote log storage.");
    assert_int_equal(topic_support_check(STR("retention.ms"), STR("5"), &arena, &error), ERR_OK);
}

/* --- layers --- */

static void set(struct meta_records *records, enum config_type type, const char *name,
                const char *key, const char *value)
{
    struct config_record *r = MSG_ARRAY(config_record, &arena, 1);
    r->resource_type = (int8_t)type;
    r->resource_name = str_of(name);
    r->name = str_of(key);
    r->value = str_of(value);
    assert_int_equal(meta_records_add(records, META_CONFIG, 0, r), ERR_OK);
}

static struct image *image_with(const struct meta_records *records)
{
    struct image *empty, *image;
    struct meta_error error;
    assert_int_equal(image_create_empty(&empty), ERR_OK);
    assert_int_equal(
        image_apply(empty, records->items, records->count, 1, 1, 1, &arena, &image, &error),
        ERR_OK);
    image_unref(empty);
    return image;
}

static const struct config_described *find(const struct config_described *configs, size_t count,
                                           const char *key)
{
    for (size_t i = 0; i < count; i++)
        if (str_eq_cstr(configs[i].key, key))
            return &configs[i];
    return NULL;
}

/* "name=value@source ..." */
static struct str synonyms_text(const struct config_described *config)
{
    struct str out = STR("");
    for (size_t i = 0; i < config->synonym_count; i++)
        out = arena_printf(&arena, "%.*s%s%.*s=%.*s@%d", STR_ARG(out), i ? " " : "",
                           STR_ARG(config->synonyms[i].key), STR_ARG(config->synonyms[i].value),
                           (int)config->synonyms[i].source);
    return out;
}

static void check_described(const struct config_view *view, enum config_type type, const char *name,
                            const char *key, const char *value, enum config_source source,
                            const char *synonyms)
{
    struct config_described *configs;
    size_t count;
    struct meta_error error;
    assert_int_equal(
        config_describe(view, type, str_of(name), NULL, 0, &arena, &configs, &count, &error),
        ERR_OK);
    const struct config_described *config = find(configs, count, key);
    assert_non_null(config);
    assert_text(config->value, value);
    assert_int_equal(config->source, source);
    assert_text(synonyms_text(config), synonyms);
}

static void describes_are_kafkas(void **state)
{
    (void)state;
    struct config_entry file[] = {
        {STR("log.flush.scheduler.interval.ms"), STR("7000")},
        {STR("log.retention.hours"), STR("24")},
        {STR("log.roll.hours"), STR("5")},
        {STR("message.max.bytes"), STR("2000000")},
        {STR("ssl.keystore.password"), STR("secret")},
    };
    struct config_static configs = {file, ARRAY_LEN(file)};
    struct meta_records records;
    meta_records_init(&records, &arena);
    set(&records, CONFIG_BROKER, "", "min.insync.replicas", "1");
    set(&records, CONFIG_TOPIC, "t", "retention.ms", " +5 ");
    set(&records, CONFIG_TOPIC, "t", "preallocate", "FALSE");
    set(&records, CONFIG_TOPIC, "t", "cleanup.policy", " compact , delete,compact ");
    set(&records, CONFIG_TOPIC, "t", "min.cleanable.dirty.ratio", "0.250");
    set(&records, CONFIG_TOPIC, "t", "segment.bytes", "not a number");
    struct image *image = image_with(&records);
    struct config_view view = {image, &configs, 1};

    check_described(&view, CONFIG_TOPIC, "t", "preallocate", "false", CONFIG_SOURCE_DYNAMIC_TOPIC,
                    "preallocate=false@1 log.preallocate=false@5");
    check_described(&view, CONFIG_TOPIC, "t", "cleanup.policy", "compact,delete",
                    CONFIG_SOURCE_DYNAMIC_TOPIC,
                    "cleanup.policy=compact,delete@1 log.cleanup.policy=delete@5");
    check_described(&view, CONFIG_TOPIC, "t", "min.cleanable.dirty.ratio", "0.25",
                    CONFIG_SOURCE_DYNAMIC_TOPIC,
                    "min.cleanable.dirty.ratio=0.25@1 log.cleaner.min.cleanable.ratio=0.5@5");
    check_described(&view, CONFIG_TOPIC, "t", "segment.bytes", "not a number",
                    CONFIG_SOURCE_DYNAMIC_TOPIC,
                    "segment.bytes=not a number@1 log.segment.bytes=1073741824@5");

    check_described(&view, CONFIG_TOPIC, "t", "min.insync.replicas", "1",
                    CONFIG_SOURCE_DYNAMIC_DEFAULT_BROKER,
                    "min.insync.replicas=1@3 min.insync.replicas=1@5");
    check_described(&view, CONFIG_TOPIC, "t", "retention.ms", "5", CONFIG_SOURCE_DYNAMIC_TOPIC,
                    "retention.ms=5@1");
    check_described(&view, CONFIG_TOPIC, "u", "retention.ms", "86400000", CONFIG_SOURCE_DEFAULT,
                    "");
    check_described(&view, CONFIG_TOPIC, "u", "segment.ms", "18000000", CONFIG_SOURCE_DEFAULT, "");
    check_described(&view, CONFIG_TOPIC, "u", "flush.ms", "7000", CONFIG_SOURCE_DEFAULT, "");
    check_described(&view, CONFIG_TOPIC, "u", "max.message.bytes", "2000000",
                    CONFIG_SOURCE_STATIC_BROKER,
                    "message.max.bytes=2000000@4 message.max.bytes=1048588@5");
    check_described(&view, CONFIG_TOPIC, "u", "remote.storage.enable", "false",
                    CONFIG_SOURCE_DEFAULT, "");
    check_described(&view, CONFIG_BROKER, "1", "log.retention.hours", "24",
                    CONFIG_SOURCE_STATIC_BROKER,
                    "log.retention.hours=24@4 log.retention.hours=168@5");
    check_described(&view, CONFIG_BROKER, "1", "log.roll.ms", NULL, CONFIG_SOURCE_DEFAULT, "");
    check_described(&view, CONFIG_BROKER, "1", "ssl.keystore.password", NULL,
                    CONFIG_SOURCE_STATIC_BROKER, "ssl.keystore.password=@4");
    check_described(&view, CONFIG_GROUP, "g", "consumer.session.timeout.ms", "45000",
                    CONFIG_SOURCE_DEFAULT, "group.consumer.session.timeout.ms=45000@5");
    check_described(&view, CONFIG_GROUP, "g", "share.auto.offset.reset", "latest",
                    CONFIG_SOURCE_DEFAULT, "share.auto.offset.reset=latest@5");
    check_described(&view, CONFIG_CLIENT_METRICS, "cm", "interval.ms", "300000",
                    CONFIG_SOURCE_DEFAULT, "");
    image_unref(image);

    set(&records, CONFIG_BROKER, "1", "log.retention.ms", "-5");
    set(&records, CONFIG_BROKER, "", "log.retention.ms", "888");
    view.image = image = image_with(&records);
    check_described(&view, CONFIG_TOPIC, "u", "retention.ms", "-1", CONFIG_SOURCE_DYNAMIC_BROKER,
                    "log.retention.ms=-5@2 log.retention.ms=888@3 log.retention.hours=24@4 "
                    "log.retention.hours=168@5");
    check_described(&view, CONFIG_BROKER, "1", "log.retention.ms", "-5",
                    CONFIG_SOURCE_DYNAMIC_BROKER,
                    "log.retention.ms=-5@2 log.retention.ms=888@3 log.retention.hours=24@4 "
                    "log.retention.hours=168@5");
    check_described(&view, CONFIG_BROKER, "", "log.retention.ms", "888",
                    CONFIG_SOURCE_DYNAMIC_DEFAULT_BROKER, "log.retention.ms=888@3");
    image_unref(image);
}

/* A listing is Kafka's, key for key, until somebody uses a key of ours. */
static void own_keys_show_where_they_are_set(void **state)
{
    (void)state;
    struct config_static configs = {NULL, 0};
    struct meta_records records;
    struct config_described *listed;
    struct meta_error error;
    size_t count;
    struct str key = STR("write.caching");
    meta_records_init(&records, &arena);
    set(&records, CONFIG_TOPIC, "t", "write.caching", "true");
    struct image *image = image_with(&records);
    struct config_view view = {image, &configs, 1};
    check_described(&view, CONFIG_TOPIC, "t", "write.caching", "true", CONFIG_SOURCE_DYNAMIC_TOPIC,
                    "write.caching=true@1");
    assert_int_equal(
        config_describe(&view, CONFIG_TOPIC, STR("u"), NULL, 0, &arena, &listed, &count, &error),
        ERR_OK);
    assert_null(find(listed, count, "write.caching"));
    assert_int_equal(
        config_describe(&view, CONFIG_TOPIC, STR("u"), &key, 1, &arena, &listed, &count, &error),
        ERR_OK);
    assert_int_equal(count, 1);
    assert_text(listed[0].value, "false");
    struct topic_config values;
    config_topic_values(&view, STR("t"), &values);
    assert_true(values.write_caching);
    config_topic_values(&view, STR("u"), &values);
    assert_false(values.write_caching);
    image_unref(image);
}

static void describes_refuse_strangers_and_filter_keys(void **state)
{
    (void)state;
    struct config_view view = {.broker_id = 1};
    struct config_described *configs;
    size_t count;
    struct meta_error error;
    assert_int_equal(
        config_describe(&view, CONFIG_BROKER, STR("9"), NULL, 0, &arena, &configs, &count, &error),
        ERR_INVALID_REQUEST);
    assert_text(error.text, "Unexpected broker id, expected 1 or empty string, but received 9");
    assert_int_equal(
        config_describe(&view, CONFIG_BROKER, STR("x"), NULL, 0, &arena, &configs, &count, &error),
        ERR_INVALID_REQUEST);
    assert_text(error.text, "Broker id must be an integer, but it is: x");
    assert_int_equal(config_describe(&view, (enum config_type)99, STR("x"), NULL, 0, &arena,
                                     &configs, &count, &error),
                     ERR_INVALID_REQUEST);
    struct str keys[] = {STR("retention.ms"), STR("nope"), STR("segment.ms")};
    assert_int_equal(
        config_describe(&view, CONFIG_TOPIC, STR("t"), keys, 3, &arena, &configs, &count, &error),
        ERR_OK);
    assert_int_equal(count, 2);
    assert_int_equal(
        config_describe(&view, CONFIG_TOPIC, STR("t"), keys, 0, &arena, &configs, &count, &error),
        ERR_OK);
    assert_int_equal(count, 0);
    /* Kafka's 33 topic keys: the internal one is hidden. */
    assert_int_equal(
        config_describe(&view, CONFIG_TOPIC, STR("t"), NULL, 0, &arena, &configs, &count, &error),
        ERR_OK);
    assert_int_equal(count, 33);
    assert_int_equal(
        config_describe(&view, CONFIG_BROKER, STR(""), NULL, 0, &arena, &configs, &count, &error),
        ERR_OK);
    assert_int_equal(count, 0);
}

static void topic_values_follow_the_layers(void **state)
{
    (void)state;
    struct config_entry file[] = {{STR("compression.type"), STR("lz4")},
                                  {STR("log.retention.minutes"), STR("3")}};
    struct config_static configs = {file, ARRAY_LEN(file)};
    struct meta_records records;
    meta_records_init(&records, &arena);
    set(&records, CONFIG_TOPIC, "t", "retention.bytes", " 77 ");
    set(&records, CONFIG_TOPIC, "t", "message.timestamp.type", "LogAppendTime");
    set(&records, CONFIG_TOPIC, "t", "cleanup.policy", "");
    struct image *image = image_with(&records);
    struct config_view view = {image, &configs, 1};
    struct topic_config values;
    config_topic_values(&view, STR("t"), &values);
    assert_int_equal(values.retention_bytes, 77);
    assert_int_equal(values.retention_ms, 180000);
    assert_int_equal(values.compression, 3);
    assert_true(values.timestamp_is_append_time);
    assert_false(values.cleanup_delete);
    assert_false(values.cleanup_compact);
    config_topic_values(&view, STR("other"), &values);
    assert_int_equal(values.retention_bytes, -1);
    assert_true(values.cleanup_delete);
    assert_false(values.timestamp_is_append_time);
    assert_int_equal(values.flush_messages, INT64_MAX);
    assert_true(values.min_cleanable_dirty_ratio > 0.49 && values.min_cleanable_dirty_ratio < 0.51);
    view.configs = NULL;
    config_topic_values(&view, STR("other"), &values);
    assert_int_equal(values.compression, -1);
    assert_int_equal(values.retention_ms, 604800000);
    image_unref(image);
}

static void the_page_names_every_key(void **state)
{
    (void)state;
    struct buf buf;
    buf_init(&buf, BUF_NO_LIMIT);
    config_def_print_markdown(&buf);
    buf_put_u8(&buf, 0);
    assert_int_equal(buf.err, ERR_OK);
    assert_non_null(strstr((const char *)buf.data, "| `retention.ms` |"));
    assert_non_null(strstr((const char *)buf.data, "no effect: shards decide"));
    buf_deinit(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(tables_are_complete_and_ordered, setup, teardown),
        cmocka_unit_test_setup_teardown(values_are_judged_in_kafkas_words, setup, teardown),
        cmocka_unit_test_setup_teardown(what_cannot_be_honoured_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(describes_are_kafkas, setup, teardown),
        cmocka_unit_test_setup_teardown(own_keys_show_where_they_are_set, setup, teardown),
        cmocka_unit_test_setup_teardown(describes_refuse_strangers_and_filter_keys, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(topic_values_follow_the_layers, setup, teardown),
        cmocka_unit_test_setup_teardown(the_page_names_every_key, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
