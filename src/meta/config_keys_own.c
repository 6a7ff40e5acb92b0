/* The keys of server.properties that are ours, not Apache Kafka's. They are read at start, and are
 * no part of DescribeConfigs' answers, which list Kafka's.
 *
 * Pure data, read by every shard. */
#include "meta/config_keys.h"

#define OWN(name, type_, value, check_, text) \
    KEY_ROW(OWN, name, type_, value, HONOURED, check_, text)

/* clang-format off */
const struct config_def config_own_keys[] = {
    OWN("io.disk", STRING, "auto", ONE_OF("auto,uring,threads"),
        DOC("How files are read and written: io_uring, a few threads, or what the system has.")),
    OWN("lag.alert.NAME.clear", DOUBLE, NULL, AT_LEAST(0),
        DOC("The alert ends at this or less, in the unit of its .when; otherwise at 80 % of "
            "that.")),
    OWN("lag.alert.NAME.command", STRING, NULL, ANYTHING,
        DOC("Called when the alert begins and when it ends: an absolute path and arguments, "
            "without a shell. What happened is in the environment: TAFFRAIL_EVENT (begin, "
            "end), _ALERT, _GROUP, _MESSAGES, _SECONDS, _VERDICT, _REASON, _NODE, _CLUSTER.")),
    OWN("lag.alert.NAME.for.ms", LONG, "0", AT_LEAST(0),
        DOC("So long the lag must be over .when before the alert begins.")),
    OWN("lag.alert.NAME.group", STRING, "*", NON_EMPTY,
        DOC("Which groups: `*` stands for any text, `?` for one character. Each has its own "
            "alert.")),
    OWN("lag.alert.NAME.pause.ms", LONG, "10000", AT_LEAST(0),
        DOC("The least time between two calls for one group.")),
    OWN("lag.alert.NAME.topic", STRING, "*", NON_EMPTY,
        DOC("Which topics count, as .group.")),
    OWN("lag.alert.NAME.url", STRING, NULL, ANYTHING,
        DOC("Gets a POST of JSON when the alert begins and when it ends; http only: for anything "
            "else call a command.")),
    OWN("lag.alert.NAME.when", STRING, NULL, ANYTHING,
        DOC("`messages > N` or `seconds > N`: what the group has not read, in all of its "
            "partitions together, or how old the oldest of it is. NAME is yours; at most 64 "
            "alerts.")),
    OWN("lag.interval.ms", INT, "1000", AT_LEAST(100),
        DOC("How often the lag of consumer groups is looked at, where metrics or alerts want "
            "it.")),
    OWN("metrics.listeners", LIST, "", UNIQUE_LIST,
        DOC("Where /metrics, /healthz and /readyz are served, as `http://127.0.0.1:9644`; empty: "
            "nowhere. Whoever reaches the address may read them.")),
    OWN("metrics.partitions.max", INT, "10000", AT_LEAST(0),
        DOC("So many partitions, in the order of their topics' names, have lines of their own in "
            "/metrics; the rest counts in the totals.")),
    OWN("shards", INT, NULL, BETWEEN(1, 256),
        DOC("Threads that serve clients; one for each core unless it is set.")),
};
/* clang-format on */
const size_t config_own_key_count = ARRAY_LEN(config_own_keys);
