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
