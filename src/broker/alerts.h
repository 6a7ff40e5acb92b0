/* Alerts on lag: when each rule's begins and ends for each group, and the calls that this makes.
 *
 * An alert begins once more is unread than the rule says, for as long as it says, and ends once it
 * is down to `clear`: each is one line in the log and one call, with at least `pause.ms` in
 * between. Belongs to shard 0. */
#ifndef BROKER_ALERTS_H
#define BROKER_ALERTS_H

#include "base/list.h"
#include "base/map.h"
#include "broker/alert_rule.h"
#include "io/io.h"

#define ALERT_STATES_MAX 10000 /* groups with an alert, or on the way to one */
#define ALERT_CALLS_MAX  256   /* that wait */

struct alerts {
    struct io *io;
    const struct alert_rule *rules;
    size_t rule_count;
    int32_t node_id;
    struct str cluster_id;
    struct map states;
    uint64_t look;     /* number of the round */
    struct list calls; /* those under way first */
    size_t call_count, running_count;
    bool is_stopping;
    /* For the metrics. */
    uint64_t begun, ended, calls_made, calls_failed, calls_dropped;
};

/* What a rule is held against: the unread records of one group in the topics of the rule. */
struct alert_sample {
    struct str group;
    int64_t messages;
    int64_t age_ms;      /* of the oldest; -1: not known */
    const char *verdict; /* of the worst partition */
    const char *reason;
};

/* Rules and names are borrowed. */
void alerts_init(struct alerts *alerts, struct io *io, const struct alert_rule *rules,
                 size_t rule_count, int32_t node_id, struct str cluster_id);
/* It must be idle. */
void alerts_deinit(struct alerts *alerts);

/* A round: each rule and group that it is about, then the end. */
void alerts_begin_round(struct alerts *alerts);
void alerts_look(struct alerts *alerts, size_t rule, const struct alert_sample *sample,
                 int64_t now_ms);
/* `is_complete`: every group was looked at; one that was not has nothing unread. */
void alerts_end_round(struct alerts *alerts, bool is_complete, int64_t now_ms);

/* Calls under way are cut short; no more are made. */
void alerts_stop(struct alerts *alerts);
bool alerts_are_idle(const struct alerts *alerts);

/* Those that are on, in no order. */
typedef void alert_fn(void *arg, const struct alert_rule *rule, struct str group);
void alerts_each(const struct alerts *alerts, alert_fn *fn, void *arg);

#endif
