/* Tagged fields of our own in Kafka's messages.
 *
 * The protocol lets anybody add them: a reader skips the tags that it does not know. Ours are
 * optional, say nothing that a client needs, and have numbers far from those that Kafka counts up
 * from 0. */
#ifndef WIRE_OWN_TAGS_H
#define WIRE_OWN_TAGS_H

/* DescribeLogDirs, a partition of the response: why its log cannot be compacted, in UTF-8. Absent
 * where that is not so. */
#define OWN_TAG_COMPACTION_PROBLEM 7001

#endif
