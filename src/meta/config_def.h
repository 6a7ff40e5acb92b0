/* Every configuration key that Apache Kafka 4.3 knows, and what we do with each.
 *
 * One table row a key: scope, type, default, what values are allowed, how it may change, whether
 * we honour it. From it come validation with Kafka's messages, DescribeConfigs answers, the
 * warning about keys without effect, and the documentation page. Pure: static data and functions
 * of their arguments. */
#ifndef META_CONFIG_DEF_H
#define META_CONFIG_DEF_H

#include "base/arena.h"
#include "base/buf.h"
#include "meta/image.h"
#include "meta/record.h"

enum config_scope {
    CONFIG_SCOPE_BROKER,
    CONFIG_SCOPE_TOPIC,
    CONFIG_SCOPE_GROUP,
    CONFIG_SCOPE_CLIENT_METRICS,
    CONFIG_SCOPE_OWN, /* of server.properties, and not Kafka's */
};

/* The numbers that DescribeConfigs carries. */
enum config_value_type {
    CONFIG_TYPE_UNKNOWN = 0,
    CONFIG_TYPE_BOOLEAN = 1,
    CONFIG_TYPE_STRING = 2,
    CONFIG_TYPE_INT = 3,
    CONFIG_TYPE_SHORT = 4,
    CONFIG_TYPE_LONG = 5,
    CONFIG_TYPE_DOUBLE = 6,
    CONFIG_TYPE_LIST = 7,
    CONFIG_TYPE_CLASS = 8,
    CONFIG_TYPE_PASSWORD = 9,
};

enum config_source {
    CONFIG_SOURCE_UNKNOWN = 0,
    CONFIG_SOURCE_DYNAMIC_TOPIC = 1,
    CONFIG_SOURCE_DYNAMIC_BROKER = 2,
    CONFIG_SOURCE_DYNAMIC_DEFAULT_BROKER = 3,
    CONFIG_SOURCE_STATIC_BROKER = 4,
    CONFIG_SOURCE_DEFAULT = 5,
    CONFIG_SOURCE_DYNAMIC_BROKER_LOGGER = 6,
    CONFIG_SOURCE_DYNAMIC_CLIENT_METRICS = 7,
    CONFIG_SOURCE_DYNAMIC_GROUP = 8,
};

enum config_update {
    CONFIG_READ_ONLY,
    CONFIG_PER_BROKER,
    CONFIG_CLUSTER_WIDE,
};

enum config_support {
    CONFIG_HONOURED,  /* does what Kafka documents */
    CONFIG_INHERENT,  /* accepted; how this program works makes it moot (`note` says how) */
    CONFIG_NOT_BUILT, /* accepted and without effect: named in the warning at start */
};

enum config_check {
    CONFIG_ANY,
    CONFIG_RANGE,            /* min, max (either may be absent) */
    CONFIG_ONE_OF,           /* a string of `allowed` */
    CONFIG_ONE_OF_ANY_CASE,  /* the same whatever its case */
    CONFIG_LIST_OF,          /* a list of words of `allowed` */
    CONFIG_LIST,             /* a list of anything but empty words */
    CONFIG_NON_EMPTY_STRING, /* not "" */
    CONFIG_GZIP_LEVEL,       /* 1..9 or -1 */
    CONFIG_THROTTLED_REPLICAS,
    CONFIG_ADDRESS_LIMITS, /* address_limits.h */
    CONFIG_OFFSET_RESET,   /* earliest, latest, by_duration:P1DT2H */
};

struct config_def {
    const char *key;
    const char *fallback; /* the default; NULL: none */
    enum config_scope scope;
    enum config_value_type type;
    enum config_check check;
    bool has_min, has_max;
    bool not_empty;            /* a list: needs an element */
    bool is_internal;          /* hidden from describe unless it is set, and from the page */
    bool is_quota;             /* hidden from describe unless it is set */
    bool is_ours;              /* not Kafka's: listed where it is set or asked for by name */
    enum config_update update; /* broker keys: may it change while the broker runs */
    enum config_support support;
    double min, max;     /* exact for the 64-bit bounds that occur: 0, 1, powers of two */
    const char *allowed; /* words between commas */
    const char *doc;     /* one sentence of ours; NULL where we have none to add */
    const char *note;    /* for CONFIG_INHERENT: why it is moot */
};

/* NULL for a key that the scope does not have. */
const struct config_def *config_def_find(enum config_scope scope, struct str key);
/* The rows of a scope, in the order of their keys. */
size_t config_def_list(enum config_scope scope, const struct config_def **first);

/* Checks a value as Kafka's parser and validators do. On failure *error has ERR_INVALID_CONFIG and
 * Kafka's sentence: "Invalid value X for configuration Y: ...". */
enum err config_def_check(const struct config_def *def, struct str value, struct arena *arena,
                          struct meta_error *error) MUST_USE;
/* What the value may be, for people: "a whole number, at least 1". */
struct str config_def_allowed_text(const struct config_def *def, struct arena *arena);
/* Parsed values; the text has passed config_def_check. */
int64_t config_value_i64(struct str text);
double config_value_f64(struct str text);
bool config_value_bool(struct str text);
/* As Kafka shows a value: " +5 " as "5", "TRUE" as "true". Null stays null. */
struct str config_value_canonical(const struct config_def *def, struct str text,
                                  struct arena *arena);
/* The next element of a comma-separated list, trimmed; false at the end. */
bool config_list_next(struct str *rest, struct str *element);
/* The documentation of all keys as a Markdown page. */
void config_def_print_markdown(struct buf *buf);

/* --- what is in force, and why --- */

/* server.properties and --override, as text: entries in the order of their keys. */
struct config_static {
    const struct config_entry *entries;
    size_t count;
};

/* null if it is not set there */
struct str config_static_get(const struct config_static *configs, struct str key);

/* Where values come from, on one broker. */
struct config_view {
    const struct image *image;           /* dynamic values */
    const struct config_static *configs; /* this broker's file; NULL: none */
    int32_t broker_id;
};

struct config_synonym {
    struct str key;
    struct str value; /* null if sensitive or none */
    enum config_source source;
};

/* One line of a DescribeConfigs answer. */
struct config_described {
    struct str key;
    struct str value; /* null if sensitive or none */
    enum config_source source;
    enum config_value_type type;
    bool read_only;
    bool is_default; /* what version 0 of the answer carries */
    bool sensitive;
    struct str doc; /* null if there is none */
    size_t synonym_count;
    const struct config_synonym *synonyms;
};

/* The value of a topic key in force for a topic (which need not exist), and where it came from:
 * the topic, then for each broker synonym in turn: this broker's dynamic value, the cluster-wide
 * dynamic value, the file; then the default. The text is borrowed from the view, or from the
 * arena where a unit was converted (hours to milliseconds). */
struct str config_topic_value(const struct config_view *view, struct str topic,
                              const struct config_def *def, struct arena *arena,
                              enum config_source *source);
/* The value of a broker key in force; null if it has none. */
struct str config_broker_value(const struct config_view *view, const struct config_def *def,
                               enum config_source *source);

/* All keys of a resource, or those of `keys` where it is not NULL, in the order of their names.
 * The resource: a topic that exists; a broker's id in decimal, "" for the cluster-wide defaults; a
 * group; a client-metrics subscription. */
enum err config_describe(const struct config_view *view, enum config_type type, struct str name,
                         const struct str *keys, size_t key_count, struct arena *arena,
                         struct config_described **configs, size_t *count,
                         struct meta_error *error) MUST_USE;

/* A topic's settings as values, for the log. */
struct topic_config {
    bool cleanup_delete;
    bool cleanup_compact;
    bool preallocate;
    bool write_caching;
    bool unclean_leader_election;
    bool remote_storage;
    bool timestamp_is_append_time; /* message.timestamp.type=LogAppendTime */
    int8_t compression; /* -1 "producer", else the codec's number on the wire: 0 none 1 gzip 2
                           snappy 3 lz4 4 zstd */
    int32_t compression_gzip_level;
    int32_t compression_lz4_level;
    int32_t compression_zstd_level;
    int32_t max_message_bytes;
    int32_t min_insync_replicas;
    int32_t segment_bytes;
    int32_t segment_index_bytes;
    int32_t index_interval_bytes;
    int64_t segment_ms;
    int64_t segment_jitter_ms;
    int64_t retention_bytes;
    int64_t retention_ms;
    int64_t local_retention_bytes;
    int64_t local_retention_ms;
    int64_t delete_retention_ms;
    int64_t file_delete_delay_ms;
    int64_t flush_messages;
    int64_t flush_ms;
    int64_t min_compaction_lag_ms;
    int64_t max_compaction_lag_ms;
    int64_t timestamp_before_max_ms;
    int64_t timestamp_after_max_ms;
    double min_cleanable_dirty_ratio;
};

void config_topic_values(const struct config_view *view, struct str topic,
                         struct topic_config *out);

#endif
