/* What a group's lag in one partition means: rates, and a verdict with its reason.
 *
 * Fed with samples of the committed offset and of the log's end, however often; keeps no history,
 * only when what last changed, so that thousands of partitions can be watched. Pure: time comes in
 * as milliseconds of any clock that does not jump. */
#ifndef COORD_LAG_H
#define COORD_LAG_H

#include <stdbool.h>
#include <stdint.h>

#define LAG_OFFSET_NONE INT64_C(-1)
#define LAG_MS_UNKNOWN  INT64_C(-1)

enum lag_verdict {
    LAG_OK,      /* nothing is unread, or nothing old */
    LAG_BEHIND,  /* it is read, but what is unread is old */
    LAG_STALLED, /* who should read it does not get on */
    LAG_STOPPED, /* nobody reads it */
    LAG_REWOUND, /* the committed offset went back a short time ago */
};
#define LAG_VERDICT_COUNT 5

/* "ok", "behind", "stalled", "stopped", "rewound". */
const char *lag_verdict_name(enum lag_verdict verdict);

struct lag_rules {
    int64_t behind_ms;  /* unread records older than this are old */
    int64_t stalled_ms; /* so long without a step */
    int64_t rewound_ms; /* so long a step back is told */
};
/* Clients commit every 5 s unless they are told otherwise: 10 s without one are two missed. */
#define LAG_RULES_DEFAULT   \
    {                       \
        10000, 10000, 60000 \
    }

struct lag_watch {
    int64_t first_ms;  /* of the first sample */
    int64_t sample_ms; /* of the last */
    int64_t committed; /* LAG_OFFSET_NONE: nothing was committed yet */
    int64_t end;
    int64_t step_ms;   /* when it last went on, or when there began to be something to read */
    int64_t rewind_ms; /* when it last went back; LAG_MS_UNKNOWN: never */
    int64_t rewind_by;
    double read_per_s, written_per_s; /* smoothed over about half a minute */
    bool has_rates;
};

void lag_watch_init(struct lag_watch *watch);
/* `committed` LAG_OFFSET_NONE: nothing is committed. A sample of the same time as the last one
 * replaces it. */
void lag_watch_sample(struct lag_watch *watch, int64_t now_ms, int64_t committed, int64_t end);

/* Records between the committed offset and the end; LAG_OFFSET_NONE where nothing is committed. */
int64_t lag_messages(int64_t committed, int64_t end);

#define LAG_REASON_MAX 160

struct lag_judgement {
    enum lag_verdict verdict;
    char reason[LAG_REASON_MAX]; /* one sentence without a full stop */
};

/* What is known besides the samples. */
struct lag_facts {
    int64_t begin;     /* the log's first offset */
    int64_t oldest_ms; /* age of the oldest unread record; LAG_MS_UNKNOWN */
    bool has_reader;   /* a member has the partition */
};

void lag_judge(const struct lag_watch *watch, const struct lag_facts *facts,
               const struct lag_rules *rules, struct lag_judgement *judgement);

#endif
