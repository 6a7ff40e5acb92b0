/* The keys of topics, groups and client-metrics subscriptions that Apache Kafka 4.3 knows,
        and where
 * topics take their defaults from. In columns: type, default, allowed values, what we do with it.
 *
 * Pure data, read by every shard. */
#include "meta/config_keys.h"

#define TOPIC(name, type_, value, check_, support_, text) \
    KEY_ROW(TOPIC, name, type_, value, support_, check_, text)
#define TOPIC_INTERNAL(name, type_, value, check_, support_, text) \
    KEY_ROW(TOPIC, name, type_, value, support_, check_, text, .is_internal = true)
#define TOPIC_OURS(name, type_, value, check_, support_, text) \
    KEY_ROW(TOPIC, name, type_, value, support_, check_, text, .is_ours = true)
#define GROUP(name, type_, value, check_, support_, text) \
    KEY_ROW(GROUP, name, type_, value, support_, check_, text)
#define METRICS(name, type_, value, check_, support_, text) \
    KEY_ROW(CLIENT_METRICS, name, type_, value, support_, check_, text)

/* clang-format off */
const struct config_def config_topic_keys[] = {
    TOPIC("cleanup.policy", LIST, "delete", LIST_OF("compact,delete"), HONOURED,
        DOC("What becomes of old segments: `delete` by retention, `compact` by key, both, or "
            "neither (empty: kept for ever).")),
    TOPIC("compression.gzip.level", INT, "-1", GZIP_LEVEL, HONOURED,
        DOC("Level for batches that the broker itself compresses with gzip; -1 is the "
            "library's own choice.")),
    TOPIC("compression.lz4.level", INT, "9", BETWEEN(1, 17), HONOURED,
        DOC("Level for batches that the broker itself compresses with lz4.")),
    TOPIC("compression.type", STRING, "producer",
        ONE_OF("uncompressed,zstd,lz4,snappy,gzip,producer"), HONOURED,
        DOC("The codec that batches are stored with; `producer` keeps what the producer chose.")),
    TOPIC("compression.zstd.level", INT, "3", BETWEEN(-131072, 22), HONOURED,
        DOC("Level for batches that the broker itself compresses with zstd.")),
    TOPIC("delete.retention.ms", LONG, "86400000", AT_LEAST(0), HONOURED,
        DOC("How long a compacted topic keeps tombstones, so that readers can still see that a "
            "key went away.")),
    TOPIC("file.delete.delay.ms", LONG, "60000", AT_LEAST(0), HONOURED,
        DOC("How long a removed segment's files stay on disk under a .deleted name before they "
            "are unlinked.")),
    TOPIC("flush.messages", LONG, "9223372036854775807", AT_LEAST(1), HONOURED,
        DOC("Flush the log to disk after this many records; the default leaves it to the flush "
            "that acknowledgements wait for.")),
    TOPIC("flush.ms", LONG, "9223372036854775807", AT_LEAST(0), HONOURED,
        DOC("Flush the log to disk at least this often while records arrive; the default "
            "leaves it to the flush that acknowledgements wait for.")),
    TOPIC("follower.replication.throttled.replicas", LIST, "", THROTTLED, HONOURED,
        DOC("Followers whose catching up is held to the follower rate: `partition:broker` "
            "pairs, or `*` for all.")),
    TOPIC("index.interval.bytes", INT, "4096", AT_LEAST(0), HONOURED,
        DOC("About how many bytes of log lie between two entries of the offset index.")),
    TOPIC_INTERNAL("internal.segment.bytes", INT, NULL, ANYTHING, NOT_BUILT, NO_DOC),
    TOPIC("leader.replication.throttled.replicas", LIST, "", THROTTLED, HONOURED,
        DOC("Leaders whose sending to followers is held to the leader rate: `partition:broker` "
            "pairs, or `*` for all.")),
    TOPIC("local.retention.bytes", LONG, "-2", AT_LEAST(-2), HONOURED,
        DOC("Bytes of a tiered partition to keep on local disk; -2 means as much as "
            "retention.bytes says.")),
    TOPIC("local.retention.ms", LONG, "-2", AT_LEAST(-2), HONOURED,
        DOC("How long a tiered partition stays on local disk; -2 means as long as retention.ms "
            "says.")),
    TOPIC("max.compaction.lag.ms", LONG, "9223372036854775807", AT_LEAST(1), HONOURED,
        DOC("The longest that a record may wait before compaction must consider it.")),
    TOPIC("max.message.bytes", INT, "1048588", AT_LEAST(0), HONOURED,
        DOC("The largest record batch, as stored, that the topic accepts.")),
    TOPIC("message.timestamp.after.max.ms", LONG, "3600000", AT_LEAST(0), HONOURED,
        DOC("How far a record's timestamp may lie ahead of the broker's clock before the "
            "record is refused.")),
    TOPIC("message.timestamp.before.max.ms", LONG, "9223372036854775807", AT_LEAST(0), HONOURED,
        DOC("How far a record's timestamp may lie behind the broker's clock before the record "
            "is refused.")),
    TOPIC("message.timestamp.type", STRING, "CreateTime", ONE_OF("CreateTime,LogAppendTime"),
        HONOURED,
        DOC("Whose time a record carries: the producer's (`CreateTime`) or the broker's at the "
            "append (`LogAppendTime`).")),
    TOPIC("min.cleanable.dirty.ratio", DOUBLE, "0.5", BETWEEN(0, 1), HONOURED,
        DOC("The share of not yet compacted bytes at which a log becomes worth compacting.")),
    TOPIC("min.compaction.lag.ms", LONG, "0", AT_LEAST(0), HONOURED,
        DOC("How long a record stays untouched by compaction after it was written.")),
    TOPIC("min.insync.replicas", INT, "1", AT_LEAST(1), HONOURED,
        DOC("How many replicas must have a write before an acks=all producer is told that it "
            "succeeded.")),
    TOPIC("preallocate", BOOLEAN, "false", ANYTHING, HONOURED,
        DOC("Reserve a segment's whole size on disk when it is created.")),
    TOPIC("remote.log.copy.disable", BOOLEAN, "false", ANYTHING, HONOURED,
        DOC("Stop copying segments of a tiered topic to remote storage.")),
    TOPIC("remote.log.delete.on.disable", BOOLEAN, "false", ANYTHING, HONOURED,
        DOC("Remove the remote data when tiering is switched off for the topic.")),
    TOPIC("remote.storage.enable", BOOLEAN, "false", ANYTHING, HONOURED,
        DOC("Keep the topic's older segments in remote storage.")),
    TOPIC("retention.bytes", LONG, "-1", ANYTHING, HONOURED,
        DOC("The size of a partition beyond which its oldest segments are removed; -1 is no "
            "limit.")),
    TOPIC("retention.ms", LONG, "604800000", AT_LEAST(-1), HONOURED,
        DOC("How long records are kept before their segment may be removed; -1 is for ever.")),
    TOPIC("segment.bytes", INT, "1073741824", AT_LEAST(1048576), HONOURED,
        DOC("The size at which a segment is closed and the next one begun.")),
    TOPIC("segment.index.bytes", INT, "10485760", AT_LEAST(4), HONOURED,
        DOC("The largest size of a segment's offset index; a full index begins a new segment.")),
    TOPIC("segment.jitter.ms", LONG, "0", AT_LEAST(0), HONOURED,
        DOC("A random part, at most this long, taken off segment.ms so that partitions do not "
            "all roll at once.")),
    TOPIC("segment.ms", LONG, "604800000", AT_LEAST(1), HONOURED,
        DOC("The age at which a segment is closed even when it is not full.")),
    TOPIC("unclean.leader.election.enable", BOOLEAN, "false", ANYTHING, HONOURED,
        DOC("Whether a replica that lacks acknowledged records may lead when no other is left, "
            "at the price of losing them.")),
    TOPIC_OURS("write.caching", BOOLEAN, "false", ANYTHING, HONOURED,
        DOC("Whether acks=all is answered when a record is in memory on every in-sync replica, as "
            "Apache Kafka does; otherwise it is on the disk by then. Not a key of Kafka's: a "
            "listing has it where it is set.")),
};

const struct config_def config_group_keys[] = {
    GROUP("consumer.assignment.interval.ms", INT, "1000", AT_LEAST(0), HONOURED,
        DOC("How soon after one target assignment the next may be computed.")),
    GROUP("consumer.heartbeat.interval.ms", INT, "5000", AT_LEAST(1), HONOURED,
        DOC("How often a settled member speaks.")),
    GROUP("consumer.session.timeout.ms", INT, "45000", AT_LEAST(1), HONOURED,
        DOC("How long a member may be silent before its partitions go to others.")),
    GROUP("share.assignment.interval.ms", INT, "1000", AT_LEAST(0), NOT_BUILT, NO_DOC),
    GROUP("share.auto.offset.reset", STRING, "latest", OFFSET_RESET, NOT_BUILT, NO_DOC),
    GROUP("share.delivery.count.limit", INT, "5", AT_LEAST(2), NOT_BUILT, NO_DOC),
    GROUP("share.heartbeat.interval.ms", INT, "5000", AT_LEAST(1), NOT_BUILT, NO_DOC),
    GROUP("share.isolation.level", STRING, "read_uncommitted",
        ONE_OF("read_committed,read_uncommitted"), NOT_BUILT, NO_DOC),
    GROUP("share.partition.max.record.locks", INT, "2000", AT_LEAST(100), NOT_BUILT, NO_DOC),
    GROUP("share.record.lock.duration.ms", INT, "30000", AT_LEAST(1000), NOT_BUILT, NO_DOC),
    GROUP("share.renew.acknowledge.enable", BOOLEAN, "true", ANYTHING, NOT_BUILT, NO_DOC),
    GROUP("share.session.timeout.ms", INT, "45000", AT_LEAST(1), NOT_BUILT, NO_DOC),
    GROUP("streams.assignment.interval.ms", INT, "1000", AT_LEAST(0), NOT_BUILT, NO_DOC),
    GROUP("streams.heartbeat.interval.ms", INT, "5000", AT_LEAST(1), NOT_BUILT, NO_DOC),
    GROUP("streams.initial.rebalance.delay.ms", INT, "3000", AT_LEAST(0), NOT_BUILT, NO_DOC),
    GROUP("streams.num.standby.replicas", INT, "0", AT_LEAST(0), NOT_BUILT, NO_DOC),
    GROUP("streams.session.timeout.ms", INT, "45000", AT_LEAST(1), NOT_BUILT, NO_DOC),
};

const struct config_def config_metrics_keys[] = {
    METRICS("interval.ms", INT, "300000", ANYTHING, NOT_BUILT, NO_DOC),
    METRICS("match", LIST, "", UNIQUE_LIST, NOT_BUILT, NO_DOC),
    METRICS("metrics", LIST, "", UNIQUE_LIST, NOT_BUILT, NO_DOC),
};

const struct config_topic_synonym config_topic_synonyms[] = {
    {"segment.bytes", "log.segment.bytes", 1},
    {"segment.ms", "log.roll.ms", 1},
    {"segment.ms", "log.roll.hours", 3600000},
    {"segment.jitter.ms", "log.roll.jitter.ms", 1},
    {"segment.jitter.ms", "log.roll.jitter.hours", 3600000},
    {"segment.index.bytes", "log.index.size.max.bytes", 1},
    {"flush.messages", "log.flush.interval.messages", 1},
    {"flush.ms", "log.flush.interval.ms", 1},
    {"flush.ms", "log.flush.scheduler.interval.ms", 1},
    {"retention.bytes", "log.retention.bytes", 1},
    {"retention.ms", "log.retention.ms", 1},
    {"retention.ms", "log.retention.minutes", 60000},
    {"retention.ms", "log.retention.hours", 3600000},
    {"max.message.bytes", "message.max.bytes", 1},
    {"index.interval.bytes", "log.index.interval.bytes", 1},
    {"delete.retention.ms", "log.cleaner.delete.retention.ms", 1},
    {"min.compaction.lag.ms", "log.cleaner.min.compaction.lag.ms", 1},
    {"max.compaction.lag.ms", "log.cleaner.max.compaction.lag.ms", 1},
    {"file.delete.delay.ms", "log.segment.delete.delay.ms", 1},
    {"min.cleanable.dirty.ratio", "log.cleaner.min.cleanable.ratio", 1},
    {"cleanup.policy", "log.cleanup.policy", 1},
    {"unclean.leader.election.enable", "unclean.leader.election.enable", 1},
    {"min.insync.replicas", "min.insync.replicas", 1},
    {"compression.type", "compression.type", 1},
    {"compression.gzip.level", "compression.gzip.level", 1},
    {"compression.lz4.level", "compression.lz4.level", 1},
    {"compression.zstd.level", "compression.zstd.level", 1},
    {"preallocate", "log.preallocate", 1},
    {"message.timestamp.type", "log.message.timestamp.type", 1},
    {"message.timestamp.before.max.ms", "log.message.timestamp.before.max.ms", 1},
    {"message.timestamp.after.max.ms", "log.message.timestamp.after.max.ms", 1},
    {"local.retention.ms", "log.local.retention.ms", 1},
    {"local.retention.bytes", "log.local.retention.bytes", 1},
};
/* clang-format on */

const size_t config_topic_key_count = ARRAY_LEN(config_topic_keys);
const size_t config_group_key_count = ARRAY_LEN(config_group_keys);
const size_t config_metrics_key_count = ARRAY_LEN(config_metrics_keys);
const size_t config_topic_synonym_count = ARRAY_LEN(config_topic_synonyms);
