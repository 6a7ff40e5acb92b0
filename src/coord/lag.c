/* The verdict on a group's lag, from what changed when. Pure; any thread. */
#include "coord/lag.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/time.h"

#define RATE_MS 30000.0 /* how long a sample counts */

const char *lag_verdict_name(enum lag_verdict verdict)
{
    static const char *const names[LAG_VERDICT_COUNT] = {
        [LAG_OK] = "ok",           [LAG_BEHIND] = "behind",   [LAG_STALLED] = "stalled",
        [LAG_STOPPED] = "stopped", [LAG_REWOUND] = "rewound",
    };
    ASSERT((unsigned)verdict < LAG_VERDICT_COUNT);
    return names[verdict];
}

int64_t lag_messages(int64_t committed, int64_t end)
{
    if (committed < 0 || end < 0)
        return LAG_OFFSET_NONE;
    return end > committed ? end - committed : 0;
}

void lag_watch_init(struct lag_watch *watch)
{
    *watch = (struct lag_watch){.first_ms = LAG_MS_UNKNOWN,
                                .committed = LAG_OFFSET_NONE,
                                .end = LAG_OFFSET_NONE,
                                .rewind_ms = LAG_MS_UNKNOWN};
}

static void smooth(double *rate, double now, double dt_ms, bool is_first)
{
    *rate = is_first ? now : *rate + (now - *rate) * dt_ms / (RATE_MS + dt_ms);
}

static void note_rates(struct lag_watch *watch, int64_t dt_ms, int64_t committed, int64_t end)
{
    int64_t read = committed - watch->committed, written = end - watch->end;
    if (dt_ms <= 0 || watch->committed < 0 || committed < 0 || watch->end < 0 || end < 0)
        return;
    double dt = (double)dt_ms;
    smooth(&watch->read_per_s, read > 0 ? (double)read * 1000 / dt : 0, dt, !watch->has_rates);
    smooth(&watch->written_per_s, written > 0 ? (double)written * 1000 / dt : 0, dt,
           !watch->has_rates);
    watch->has_rates = true;
}

void lag_watch_sample(struct lag_watch *watch, int64_t now_ms, int64_t committed, int64_t end)
{
    int64_t before = watch->committed;
    if (watch->first_ms == LAG_MS_UNKNOWN) {
        watch->first_ms = now_ms;
        watch->step_ms = now_ms;
    } else {
        note_rates(watch, now_ms - watch->sample_ms, committed, end);
        if (before >= 0 && committed >= 0 && committed < before) {
            watch->rewind_ms = now_ms;
            watch->rewind_by = before - committed;
        }
        if (committed != before || lag_messages(before, watch->end) == 0)
            watch->step_ms = now_ms;
    }
    watch->sample_ms = now_ms;
    watch->committed = committed;
    watch->end = end;
}

static void judge(struct lag_judgement *judgement, enum lag_verdict verdict, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static void judge(struct lag_judgement *judgement, enum lag_verdict verdict, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    judgement->verdict = verdict;
    vsnprintf(judgement->reason, sizeof(judgement->reason), fmt, args);
    va_end(args);
}

/* Milliseconds matter below a second only. */
static void put_age(int64_t ms, char text[DURATION_TEXT_MAX])
{
    duration_format(ms < 1000 ? ms : ms / 1000 * 1000, text);
}

/* Old records, but someone is on the way to them. */
static void judge_behind(const struct lag_watch *watch, int64_t lag, const char *age,
                         struct lag_judgement *judgement)
{
    char left[DURATION_TEXT_MAX];
    double gain = watch->read_per_s - watch->written_per_s;
    if (!watch->has_rates) {
        judge(judgement, LAG_BEHIND, "%s", age);
    } else if (watch->read_per_s < 0.5) {
        put_age(watch->sample_ms - watch->step_ms, left);
        judge(judgement, LAG_BEHIND, "%s; no step for %s so far", age, left);
    } else if (gain > 0 && (double)lag / gain < 1e9) {
        duration_format((int64_t)((double)lag / gain) * 1000, left);
        judge(judgement, LAG_BEHIND, "%s; catches up at %.0f/s, done in %s", age, gain, left);
    } else {
        judge(judgement, LAG_BEHIND, "%s; reads %.0f/s of %.0f/s", age, watch->read_per_s,
              watch->written_per_s);
    }
}

void lag_judge(const struct lag_watch *watch, const struct lag_facts *facts,
               const struct lag_rules *rules, struct lag_judgement *judgement)
{
    int64_t now_ms = watch->sample_ms, lag = lag_messages(watch->committed, watch->end);
    int64_t still_ms = now_ms - watch->step_ms;
    char since[DURATION_TEXT_MAX], age[64] = "unread records";
    put_age(still_ms, since);
    if (facts->oldest_ms != LAG_MS_UNKNOWN) {
        char oldest[DURATION_TEXT_MAX];
        put_age(facts->oldest_ms, oldest);
        snprintf(age, sizeof(age), "the oldest unread record is %s old", oldest);
    }
    if (watch->rewind_ms != LAG_MS_UNKNOWN && now_ms - watch->rewind_ms < rules->rewound_ms) {
        put_age(now_ms - watch->rewind_ms, since);
        judge(judgement, LAG_REWOUND, "the committed offset went back by %" PRId64 " %s ago",
              watch->rewind_by, since);
    } else if (watch->committed < 0) {
        judge(judgement, facts->has_reader ? LAG_OK : LAG_STOPPED, "nothing is committed yet");
    } else if (watch->committed > watch->end && watch->end >= 0) {
        judge(judgement, LAG_STALLED, "the committed offset is past the end by %" PRId64,
              watch->committed - watch->end);
    } else if (lag <= 0) {
        judge(judgement, LAG_OK, "nothing is unread");
    } else if (watch->committed < facts->begin) {
        judge(judgement, facts->has_reader ? LAG_BEHIND : LAG_STOPPED,
              "%" PRId64 " records were deleted before they were read",
              facts->begin - watch->committed);
    } else if (!facts->has_reader) {
        judge(judgement, LAG_STOPPED, "no member reads it; %s", age);
    } else if (still_ms >= rules->stalled_ms) {
        judge(judgement, LAG_STALLED, "no step for %s; %s", since, age);
    } else if (facts->oldest_ms == LAG_MS_UNKNOWN
                   ? watch->has_rates && watch->written_per_s > watch->read_per_s * 1.05
                   : facts->oldest_ms >= rules->behind_ms) {
        judge_behind(watch, lag, age, judgement);
    } else {
        judge(judgement, LAG_OK, "%s", age);
    }
}
