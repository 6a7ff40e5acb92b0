/* Times and durations as people write them. Times are milliseconds since 1970 in UTC, as in
 * Kafka's records; this module has no clock. */
#ifndef BASE_TIME_H
#define BASE_TIME_H

#include "base/bytes.h"
#include "base/err.h"

/* The longest: "-292275055-05-16T16:47:04.192Z" and a NUL. */
#define TIME_TEXT_MAX 32

/* "2026-11-23T13:04:30.123Z". */
void time_format(int64_t time_ms, char text[TIME_TEXT_MAX]);
/* ISO 8601: "2026-11-23", then optionally "T13:04", ":30", ".123" and "Z" or "+01:00"; a space may
 * stand for the T. Without a zone it is UTC. ERR_MALFORMED, or ERR_RANGE for a 13th month. */
enum err time_parse(struct str text, int64_t *time_ms) MUST_USE;

/* "250ms", "10s", "1h30m", "7d": whole numbers, each with its unit (ms s m h d w), largest first.
 * ERR_MALFORMED, or ERR_RANGE past int64. */
enum err duration_parse(struct str text, int64_t *duration_ms) MUST_USE;
/* At most the two largest units: "0ms", "250ms", "10s", "1h30m", "-2d3h". */
#define DURATION_TEXT_MAX 32
void duration_format(int64_t duration_ms, char text[DURATION_TEXT_MAX]);

#endif
