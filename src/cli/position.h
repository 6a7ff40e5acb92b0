/* A place in a partition as people name it: where to begin or end reading. */
#ifndef CLI_POSITION_H
#define CLI_POSITION_H

#include "base/bytes.h"
#include "base/err.h"

enum position_kind {
    POSITION_BEGINNING,
    POSITION_END,
    POSITION_OFFSET, /* value: the offset */
    POSITION_TAIL,   /* value: so many offsets before the end */
    POSITION_TIME,   /* value: milliseconds since 1970 */
    POSITION_AGO,    /* value: milliseconds before now */
};

struct position {
    enum position_kind kind;
    int64_t value;
};

/* "beginning" or "earliest", "end" or "latest", "1234" (an offset), "-10" (ten offsets before the
 * end), "-1h" (an hour ago), "2026-01-01T00:00" (UTC unless it names a zone), "@1767225600000"
 * (milliseconds since 1970). */
enum err position_parse(struct str text, struct position *position) MUST_USE;

#define POSITION_FORMS \
    "beginning, end, an offset (1234), a tail (-10), an age (-1h) or a time (2026-01-01T00:00)"

#endif
