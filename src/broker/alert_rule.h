/* Alert rules of the configuration: when a group's lag is worth a call, and whom to call.
 *
 *   lag.alert.NAME.when=messages > 10000      or seconds > 5
 *   lag.alert.NAME.group=order-*              default *
 *   lag.alert.NAME.topic=*
 *   lag.alert.NAME.clear=8000                 where it is over; default 80 % of the threshold
 *   lag.alert.NAME.for.ms=0                   so long it must hold before it counts
 *   lag.alert.NAME.pause.ms=10000             the least time between two calls for one group
 *   lag.alert.NAME.command=/usr/local/bin/scale --up "my service"
 *   lag.alert.NAME.url=http://127.0.0.1:8080/hook
 *
 * Read at start; read-only from then on. */
#ifndef BROKER_ALERT_RULE_H
#define BROKER_ALERT_RULE_H

#include "base/arena.h"
#include "base/bytes.h"
#include "base/err.h"

#define ALERT_PREFIX    "lag.alert."
#define ALERT_RULES_MAX 64
#define ALERT_ARGS_MAX  64

enum alert_unit { ALERT_MESSAGES, ALERT_SECONDS };

struct alert_url {
    struct str text;
    struct str host; /* NUL-terminated, without brackets */
    uint16_t port;
    struct str path; /* with its query; "/" at least */
};

struct alert_rule {
    struct str name;
    struct str group, topic; /* patterns: * stands for any text, ? for one character */
    enum alert_unit unit;
    int64_t threshold; /* messages, or milliseconds; more than that is the alert */
    int64_t clear;     /* this or less ends it */
    int64_t for_ms;
    int64_t pause_ms;
    char **argv; /* NULL-terminated; NULL: no command */
    struct alert_url url;
    bool has_url;
    bool has_when, has_clear; /* while it is read */
};

/* Whether a key is one of an alert: then the alert's name and what is set of it. */
bool alert_key_split(struct str key, struct str *name, struct str *property);
/* Sets a property; on failure *why says what is wrong and *allowed what is right. */
enum err alert_rule_set(struct alert_rule *rule, struct str property, struct str value,
                        struct arena *arena, struct str *why, struct str *allowed) MUST_USE;
/* Fills what was not set. ERR_INVALID_CONFIG: .when is missing, or .clear is not below it. */
enum err alert_rule_finish(struct alert_rule *rule, struct arena *arena, const char **property,
                           struct str *why, struct str *allowed) MUST_USE;
void alert_rule_init(struct alert_rule *rule, struct str name);

bool alert_pattern_matches(struct str pattern, struct str text);

#endif
