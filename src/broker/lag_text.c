/* Lag on the metrics page: kafka_exporter's names, and what those lack under ours. Runs on shard 0.
 */
#include "base/assert.h"
#include "broker/exposition.h"
#include "broker/lag.h"

typedef bool entry_value(const struct lag_entry *entry, double *value);

static bool current_offset(const struct lag_entry *entry, double *value)
{
    *value = (double)entry->watch.committed;
    return true;
}

static bool messages(const struct lag_entry *entry, double *value)
{
    *value = (double)lag_messages(entry->watch.committed, entry->watch.end);
    return *value >= 0;
}

static bool seconds(const struct lag_entry *entry, double *value)
{
    *value = (double)entry->age_ms / 1000;
    return entry->age_ms != LAG_MS_UNKNOWN;
}

static bool read_rate(const struct lag_entry *entry, double *value)
{
    *value = entry->watch.read_per_s;
    return entry->watch.has_rates;
}

static const struct {
    const char *name, *help;
    entry_value *value;
} entry_families[] = {
    {"kafka_consumergroup_current_offset", "The offset that the group has committed.",
     current_offset},
    {"kafka_consumergroup_lag", "Messages between the committed offset and the end.", messages},
    {"taffrail_consumergroup_lag_seconds", "Age of the oldest message that the group has not read.",
     seconds},
    {"taffrail_consumergroup_read_rate", "Messages a second that the group commits.", read_rate},
};

static void put_entries(const struct lag_view *view, size_t at, size_t rows_max,
                        struct exposition_labels *labels, struct buf *buf)
{
    exposition_family(buf, entry_families[at].name, EXPOSITION_GAUGE, entry_families[at].help);
    for (size_t i = 0; i < view->entry_count && i < rows_max; i++) {
        const struct lag_entry *entry = view->entries[i];
        double value;
        if (!entry->is_known || !entry_families[at].value(entry, &value))
            continue;
        exposition_labels_reset(labels);
        exposition_label(labels, "consumergroup", entry->group);
        exposition_label(labels, "topic", entry->topic);
        exposition_label_i64(labels, "partition", entry->partition);
        exposition_f64(buf, entry_families[at].name, labels, value);
    }
}

/* --- by topic and by group --- */

static void put_topic_sums(const struct lag_view *view, bool is_lag, size_t rows_max,
                           struct exposition_labels *labels, struct buf *buf)
{
    const char *name =
        is_lag ? "kafka_consumergroup_lag_sum" : "kafka_consumergroup_current_offset_sum";
    exposition_family(buf, name, EXPOSITION_GAUGE,
                      is_lag ? "Messages that the group has not read of a topic."
                             : "Sum of the offsets that the group has committed in a topic.");
    for (size_t i = 0; i < view->entry_count && i < rows_max;) {
        const struct lag_entry *first = view->entries[i];
        int64_t sum = 0;
        for (; i < view->entry_count && str_eq(view->entries[i]->group, first->group) &&
               str_eq(view->entries[i]->topic, first->topic);
             i++) {
            const struct lag_entry *entry = view->entries[i];
            int64_t lag = lag_messages(entry->watch.committed, entry->watch.end);
            if (entry->is_known)
                sum += !is_lag ? entry->watch.committed : lag > 0 ? lag : 0;
        }
        exposition_labels_reset(labels);
        exposition_label(labels, "consumergroup", first->group);
        exposition_label(labels, "topic", first->topic);
        exposition_i64(buf, name, labels, sum);
    }
}

static void put_members(const struct lag_view *view, size_t rows_max,
                        struct exposition_labels *labels, struct buf *buf)
{
    exposition_family(buf, "kafka_consumergroup_members", EXPOSITION_GAUGE,
                      "Members of the group.");
    for (size_t i = 0; i < view->group_count && i < rows_max; i++) {
        exposition_labels_reset(labels);
        exposition_label(labels, "consumergroup", view->groups[i].name);
        exposition_i64(buf, "kafka_consumergroup_members", labels,
                       (int64_t)view->groups[i].member_count);
    }
}

static void put_verdicts(const struct lag_view *view, size_t rows_max,
                         struct exposition_labels *labels, struct buf *buf)
{
    const char *name = "taffrail_consumergroup_partitions";
    exposition_family(buf, name, EXPOSITION_GAUGE,
                      "Partitions of the group by what their lag means: ok, behind, stalled, "
                      "stopped or rewound.");
    for (size_t g = 0; g < view->group_count && g < rows_max; g++) {
        const struct lag_group *group = &view->groups[g];
        int64_t counts[LAG_VERDICT_COUNT] = {0};
        for (size_t i = 0; i < group->count; i++) {
            const struct lag_entry *entry = view->entries[group->first + i];
            if (entry->is_known)
                counts[entry->verdict]++;
        }
        for (int v = 0; v < LAG_VERDICT_COUNT; v++) {
            exposition_labels_reset(labels);
            exposition_label(labels, "consumergroup", group->name);
            exposition_label(labels, "verdict", str_of(lag_verdict_name((enum lag_verdict)v)));
            exposition_i64(buf, name, labels, counts[v]);
        }
    }
}

/* --- alerts --- */

struct alert_lines {
    struct exposition_labels *labels;
    struct buf *buf;
};

static void put_alert(void *arg, const struct alert_rule *rule, struct str group)
{
    struct alert_lines *lines = arg;
    exposition_labels_reset(lines->labels);
    exposition_label(lines->labels, "alert", rule->name);
    exposition_label(lines->labels, "consumergroup", group);
    exposition_i64(lines->buf, "taffrail_lag_alert", lines->labels, 1);
}

static void put_count(struct buf *buf, const char *name, const char *help, uint64_t count)
{
    exposition_family(buf, name, EXPOSITION_COUNTER, help);
    exposition_i64(buf, name, NULL, (int64_t)count);
}

static void put_alerts(const struct lag *lag, struct exposition_labels *labels, struct buf *buf)
{
    const struct alerts *alerts = lag_alerts(lag);
    struct alert_lines lines = {labels, buf};
    exposition_family(buf, "taffrail_lag_alert", EXPOSITION_GAUGE, "1 for each alert that is on.");
    alerts_each(alerts, put_alert, &lines);
    put_count(buf, "taffrail_lag_alerts_begun_total", "Alerts that began.", alerts->begun);
    put_count(buf, "taffrail_lag_alerts_ended_total", "Alerts that ended.", alerts->ended);
    put_count(buf, "taffrail_lag_alert_calls_total", "Commands and URLs that were called.",
              alerts->calls_made);
    put_count(buf, "taffrail_lag_alert_calls_failed_total", "Calls that failed.",
              alerts->calls_failed);
    put_count(buf, "taffrail_lag_alert_calls_dropped_total",
              "Calls that were left out because too many waited.", alerts->calls_dropped);
    exposition_family(buf, "taffrail_lag_left_out", EXPOSITION_GAUGE,
                      "Committed offsets that are not watched because there are too many.");
    exposition_i64(buf, "taffrail_lag_left_out", NULL, (int64_t)lag_view(lag)->left_out);
}

bool lag_text_step(const struct lag *lag, size_t at, size_t rows_max, struct buf *buf)
{
    enum { SUMS = ARRAY_LEN(entry_families), OFFSET_SUMS, MEMBERS, VERDICTS, ALERTS, COUNT };
    struct exposition_labels labels;
    const struct lag_view *view = lag ? lag_view(lag) : NULL;
    if (!lag || at >= COUNT)
        return false;
    exposition_labels_init(&labels);
    if (at < ARRAY_LEN(entry_families))
        put_entries(view, at, rows_max, &labels, buf);
    else if (at == SUMS || at == OFFSET_SUMS)
        put_topic_sums(view, at == SUMS, rows_max, &labels, buf);
    else if (at == MEMBERS)
        put_members(view, rows_max, &labels, buf);
    else if (at == VERDICTS)
        put_verdicts(view, rows_max, &labels, buf);
    else
        put_alerts(lag, &labels, buf);
    exposition_labels_deinit(&labels);
    return at + 1 < COUNT;
}
