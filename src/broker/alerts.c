/* The state of each alert, and its calls. Runs on shard 0. A crash forgets all of it: an alert that
 * still holds begins again after the start. */
#include "broker/alerts.h"

#include <jansson.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/diag.h"
#include "base/hash.h"
#include "broker/outside.h"

#define RUNNING_MAX 2 /* jobs are few, and others need them */
#define LONG_AGO    (INT64_MIN / 2)
#define ENV_MAX     12
#define NAME_SHOWN  200

struct alert_state {
    size_t rule;
    struct str group; /* in this allocation */
    bool is_on;
    bool is_high; /* over the threshold when it was last known */
    int64_t high_since_ms;
    int64_t changed_ms; /* when it last went on or off */
    uint64_t look;      /* the last round that saw it */
};

struct state_key {
    size_t rule;
    struct str group;
};

struct alert_call {
    struct list link;
    struct alerts *alerts;
    const struct alert_rule *rule;
    struct outside outside;
    struct arena arena;
    bool is_running;
};

/* --- states --- */

static bool state_has_key(const void *entry, const void *key)
{
    const struct alert_state *state = entry;
    const struct state_key *want = key;
    return state->rule == want->rule && str_eq(state->group, want->group);
}

static uint64_t key_hash(const struct alerts *alerts, const struct state_key *key)
{
    return hash_u64(hash_str(alerts->states.seed, key->group), key->rule);
}

void alerts_init(struct alerts *alerts, struct io *io, const struct alert_rule *rules,
                 size_t rule_count, int32_t node_id, struct str cluster_id)
{
    *alerts = (struct alerts){.io = io,
                              .rules = rules,
                              .rule_count = rule_count,
                              .node_id = node_id,
                              .cluster_id = cluster_id};
    map_init(&alerts->states, rule_count, state_has_key);
    list_init(&alerts->calls);
}

static struct alert_state *state_create(struct alerts *alerts, const struct state_key *key,
                                        int64_t now_ms)
{
    if (alerts->states.count >= ALERT_STATES_MAX)
        return NULL;
    struct alert_state *state = calloc(1, sizeof(*state) + key->group.len + 1);
    if (!state)
        return NULL;
    char *name = (char *)(state + 1);
    memcpy(name, key->group.data, key->group.len);
    state->rule = key->rule;
    state->group = (struct str){name, key->group.len};
    state->high_since_ms = now_ms;
    state->changed_ms = LONG_AGO;
    if (map_insert(&alerts->states, key_hash(alerts, key), state) != ERR_OK) {
        free(state);
        return NULL;
    }
    return state;
}

static void state_free(struct alerts *alerts, struct alert_state *state)
{
    struct state_key key = {state->rule, state->group};
    void *removed = map_remove(&alerts->states, key_hash(alerts, &key), &key);
    ASSERT(removed == state);
    free(state);
}

/* --- calls --- */

static void start_calls(struct alerts *alerts);

static void call_free(struct alert_call *call)
{
    list_remove(&call->link);
    call->alerts->call_count--;
    arena_deinit(&call->arena);
    free(call);
}

static void on_called(struct outside *outside)
{
    struct alert_call *call = CONTAINER_OF(outside, struct alert_call, outside);
    struct alerts *alerts = call->alerts;
    alerts->running_count--;
    alerts->calls_made++;
    if (!outside->is_ok) {
        alerts->calls_failed++;
        diag_warn("lag", "alert %.*s: %s: %s", STR_ARG(call->rule->name),
                  outside->url ? outside->url->text.data : outside->argv[0], outside->what);
    }
    call_free(call);
    start_calls(alerts);
}

static void start_calls(struct alerts *alerts)
{
    LIST_FOREACH_SAFE (node, &alerts->calls) {
        struct alert_call *call = LIST_ENTRY(node, struct alert_call, link);
        if (alerts->is_stopping && !call->is_running)
            call_free(call);
        else if (!call->is_running && alerts->running_count < RUNNING_MAX) {
            call->is_running = true;
            alerts->running_count++;
            outside_start(alerts->io, &call->outside);
        }
    }
}

struct event {
    const struct alert_rule *rule;
    const struct alert_sample *sample;
    bool is_on;
};

/* Group names may hold anything; an environment holds no control characters of theirs. */
static char *env_text(struct arena *arena, const char *name, struct str value)
{
    struct str text = arena_printf(arena, "%s=%.*s", name, STR_ARG(value));
    char *at = (char *)(uintptr_t)text.data;
    for (size_t i = 0; at && i < text.len; i++) {
        if ((unsigned char)at[i] < ' ')
            at[i] = '?';
    }
    return at;
}

static bool build_env(struct alert_call *call, const struct event *event)
{
    struct arena *arena = &call->arena;
    const struct alert_sample *sample = event->sample;
    char **envp = arena_array(arena, ENV_MAX, sizeof(*envp));
    size_t n = 0;
    if (!envp)
        return false;
    envp[n++] = env_text(arena, "PATH",
                         STR("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"));
    envp[n++] = env_text(arena, "TAFFRAIL_ALERT", event->rule->name);
    envp[n++] = env_text(arena, "TAFFRAIL_EVENT", event->is_on ? STR("begin") : STR("end"));
    envp[n++] = env_text(arena, "TAFFRAIL_GROUP", sample->group);
    envp[n++] = env_text(arena, "TAFFRAIL_MESSAGES",
                         arena_printf(arena, "%lld", (long long)sample->messages));
    envp[n++] = env_text(
        arena, "TAFFRAIL_SECONDS",
        sample->age_ms < 0 ? STR("") : arena_printf(arena, "%.3f", (double)sample->age_ms / 1000));
    envp[n++] = env_text(arena, "TAFFRAIL_VERDICT", str_of(sample->verdict));
    envp[n++] = env_text(arena, "TAFFRAIL_REASON", str_of(sample->reason));
    envp[n++] = env_text(arena, "TAFFRAIL_NODE", arena_printf(arena, "%d", call->alerts->node_id));
    envp[n++] = env_text(arena, "TAFFRAIL_CLUSTER", call->alerts->cluster_id);
    static_assert(10 < ENV_MAX, "the last stays NULL");
    for (size_t i = 0; i < n; i++) {
        if (!envp[i])
            return false;
    }
    call->outside.envp = envp;
    return true;
}

static bool build_body(struct alert_call *call, const struct event *event)
{
    const struct alert_rule *rule = event->rule;
    const struct alert_sample *sample = event->sample;
    double threshold =
        rule->unit == ALERT_SECONDS ? (double)rule->threshold / 1000 : (double)rule->threshold;
    json_t *json = json_pack(
        "{s:s%, s:s, s:s%, s:s, s:f, s:I, s:o, s:s, s:s, s:i, s:s%, s:I}", "alert", rule->name.data,
        rule->name.len, "event", event->is_on ? "begin" : "end", "group", sample->group.data,
        sample->group.len, "unit", rule->unit == ALERT_SECONDS ? "seconds" : "messages",
        "threshold", threshold, "messages", (json_int_t)sample->messages, "seconds",
        sample->age_ms < 0 ? json_null() : json_real((double)sample->age_ms / 1000), "verdict",
        sample->verdict, "reason", sample->reason, "node", call->alerts->node_id, "cluster",
        call->alerts->cluster_id.data, call->alerts->cluster_id.len, "time_ms",
        (json_int_t)io_wall_ms(call->alerts->io));
    char *text = json ? json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(15)) : NULL;
    struct str copy = text ? arena_str(&call->arena, str_of(text)) : STR_NULL;
    free(text);
    json_decref(json);
    call->outside.body = slice_of(copy.data, copy.len);
    return copy.data != NULL;
}

static void add_call(struct alerts *alerts, const struct event *event, bool is_command)
{
    struct alert_call *call =
        alerts->call_count < ALERT_CALLS_MAX ? calloc(1, sizeof(*call)) : NULL;
    if (!call) {
        alerts->calls_dropped++;
        diag_warn("lag", "alert %.*s: a call is left out: %s", STR_ARG(event->rule->name),
                  alerts->call_count < ALERT_CALLS_MAX ? "out of memory" : "too many wait");
        return;
    }
    call->alerts = alerts;
    call->rule = event->rule;
    arena_init(&call->arena, (size_t)1 << 20);
    list_push_back(&alerts->calls, &call->link);
    alerts->call_count++;
    call->outside.done = on_called;
    bool is_built;
    if (is_command) {
        call->outside.argv = event->rule->argv;
        is_built = build_env(call, event);
    } else {
        call->outside.url = &event->rule->url;
        is_built = build_body(call, event);
    }
    if (!is_built) {
        alerts->calls_dropped++;
        diag_warn("lag", "alert %.*s: a call is left out: its text cannot be made",
                  STR_ARG(event->rule->name));
        call_free(call);
    }
}

/* --- going on and off --- */

static void say(const struct event *event)
{
    const struct alert_sample *sample = event->sample;
    int shown = sample->group.len < NAME_SHOWN ? (int)sample->group.len : NAME_SHOWN;
    char age[48] = "";
    if (sample->messages > 0 && sample->age_ms >= 0)
        snprintf(age, sizeof(age), ", the oldest %.1f s old", (double)sample->age_ms / 1000);
    diag_line(event->is_on ? DIAG_WARN : DIAG_INFO, "lag",
              "alert %.*s %s: group %.*s has %lld unread%s: %s: %s", STR_ARG(event->rule->name),
              event->is_on ? "begins" : "ends", shown, sample->group.data,
              (long long)sample->messages, age, sample->verdict, sample->reason);
}

static void change(struct alerts *alerts, struct alert_state *state,
                   const struct alert_sample *sample, int64_t now_ms)
{
    const struct alert_rule *rule = &alerts->rules[state->rule];
    state->is_on = !state->is_on;
    state->changed_ms = now_ms;
    *(state->is_on ? &alerts->begun : &alerts->ended) += 1;
    struct event event = {rule, sample, state->is_on};
    say(&event);
    if (rule->argv)
        add_call(alerts, &event, true);
    if (rule->has_url)
        add_call(alerts, &event, false);
    start_calls(alerts);
}

static int64_t value_of(const struct alert_rule *rule, const struct alert_sample *sample)
{
    if (rule->unit == ALERT_MESSAGES)
        return sample->messages;
    return sample->age_ms;
}

static void look_at(struct alerts *alerts, struct alert_state *state,
                    const struct alert_sample *sample, int64_t now_ms)
{
    const struct alert_rule *rule = &alerts->rules[state->rule];
    int64_t value = value_of(rule, sample);
    bool is_paused = now_ms - state->changed_ms < rule->pause_ms;
    /* An age that is not known, of records that are there, changes nothing. */
    bool is_known = value >= 0 || sample->messages <= 0;
    if (is_known)
        state->is_high = value > rule->threshold;
    if (!state->is_high)
        state->high_since_ms = now_ms;
    if (is_paused || !is_known)
        return;
    if (!state->is_on && state->is_high && now_ms - state->high_since_ms >= rule->for_ms)
        change(alerts, state, sample, now_ms);
    else if (state->is_on && value <= rule->clear)
        change(alerts, state, sample, now_ms);
}

void alerts_begin_round(struct alerts *alerts)
{
    alerts->look++;
}

void alerts_look(struct alerts *alerts, size_t rule, const struct alert_sample *sample,
                 int64_t now_ms)
{
    struct state_key key = {rule, sample->group};
    struct alert_state *state = map_find(&alerts->states, key_hash(alerts, &key), &key);
    if (!state && value_of(&alerts->rules[rule], sample) > alerts->rules[rule].threshold)
        state = state_create(alerts, &key, now_ms);
    if (!state)
        return;
    state->look = alerts->look;
    look_at(alerts, state, sample, now_ms);
}

/* Whether it can be forgotten: off, not on the way, and no pause to keep. */
static bool is_over(const struct alerts *alerts, const struct alert_state *state, int64_t now_ms)
{
    return !state->is_on && !state->is_high &&
           now_ms - state->changed_ms >= alerts->rules[state->rule].pause_ms;
}

void alerts_end_round(struct alerts *alerts, bool is_complete, int64_t now_ms)
{
    struct map_iter iter;
    map_iter_init(&iter, &alerts->states);
    for (struct alert_state *state; (state = map_iter_next(&iter)) != NULL;) {
        struct alert_sample nothing = {state->group, 0, 0, "ok", "the group has no offsets there"};
        if (state->look != alerts->look && is_complete)
            look_at(alerts, state, &nothing, now_ms);
        if (is_over(alerts, state, now_ms))
            state_free(alerts, state);
    }
}

void alerts_stop(struct alerts *alerts)
{
    alerts->is_stopping = true;
    LIST_FOREACH_SAFE (node, &alerts->calls) {
        struct alert_call *call = LIST_ENTRY(node, struct alert_call, link);
        if (call->is_running)
            outside_cancel(alerts->io, &call->outside);
    }
    start_calls(alerts);
}

bool alerts_are_idle(const struct alerts *alerts)
{
    return list_is_empty(&alerts->calls);
}

void alerts_deinit(struct alerts *alerts)
{
    ASSERT(alerts_are_idle(alerts));
    struct map_iter iter;
    map_iter_init(&iter, &alerts->states);
    for (struct alert_state *state; (state = map_iter_next(&iter)) != NULL;)
        free(state);
    map_deinit(&alerts->states);
}

void alerts_each(const struct alerts *alerts, alert_fn *fn, void *arg)
{
    struct map_iter iter;
    map_iter_init(&iter, &alerts->states);
    for (struct alert_state *state; (state = map_iter_next(&iter)) != NULL;) {
        if (state->is_on)
            fn(arg, &alerts->rules[state->rule], state->group);
    }
}
