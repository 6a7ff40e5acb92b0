/* From server.properties and overrides to struct broker_config.
 *
 * Three steps: the texts are gathered (the last of several settings of a key counts, an override
 * after the file); each is checked against the table of keys; then typed values are read, and what
 * concerns several keys together (listeners, quorum, folders) is worked out. The first wrong thing
 * ends it, with a sentence.
 *
 * Used at start only, on the main thread. */
#include "broker/config.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/parse.h"
#include "broker/listeners.h"
#include "broker/properties.h"
#include "coord/assignor.h"
#include "meta/topic_support.h"

#define CONFIG_FILE_BYTES_MAX ((size_t)1 << 20)

enum err config_refuse(struct config_loader *loader, const char *key, const char *allowed,
                       const char *fmt, ...)
{
    char text[512];
    va_list args;
    va_start(args, fmt);
    int len = vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    size_t used = len < 0 ? 0 : (size_t)len < sizeof(text) ? (size_t)len : sizeof(text) - 1;
    struct arena *arena = &loader->config->arena;
    const struct config_setting *setting = key ? config_setting_find(loader, key) : NULL;
    *loader->problem = (struct config_problem){
        .file = setting && setting->line > 0 ? loader->config->file : STR_NULL,
        .line = setting ? setting->line : 0,
        .key = str_of(key),
        .what = arena_str(arena, (struct str){text, used}),
        .allowed = allowed ? arena_str(arena, str_of(allowed)) : STR_NULL,
    };
    return ERR_INVALID_CONFIG;
}

/* --- gathering --- */

const struct config_setting *config_setting_find(const struct config_loader *loader,
                                                 const char *key)
{
    for (size_t i = 0; i < loader->count; i++)
        if (str_eq_cstr(loader->settings[i].key, key))
            return &loader->settings[i];
    return NULL;
}

static enum err put_setting(struct config_loader *loader, struct config_setting setting)
{
    size_t low = 0;
    size_t high = loader->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = str_cmp(loader->settings[middle].key, setting.key);
        if (order == 0) {
            loader->settings[middle] = setting;
            return ERR_OK;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    if (loader->count == loader->cap) {
        size_t cap = loader->cap ? loader->cap * 2 : 64;
        struct config_setting *grown = arena_array(&loader->config->arena, cap, sizeof(*grown));
        if (!grown)
            return ERR_NOMEM;
        if (loader->count)
            memcpy(grown, loader->settings, loader->count * sizeof(*grown));
        loader->settings = grown;
        loader->cap = cap;
    }
    memmove(loader->settings + low + 1, loader->settings + low,
            (loader->count - low) * sizeof(*loader->settings));
    loader->settings[low] = setting;
    loader->count++;
    return ERR_OK;
}

static enum err read_file(struct config_loader *loader, struct io *io, const char *path)
{
    struct arena *arena = &loader->config->arena;
    loader->config->file = arena_str(arena, str_of(path));
    uint8_t *data;
    size_t len;
    enum err err = io_read_file(io, path, CONFIG_FILE_BYTES_MAX, &data, &len);
    if (err) {
        (void)config_refuse(loader, NULL, NULL, "%s: the file cannot be read: %s", path,
                            err_text(err));
        return err;
    }
    struct properties properties;
    size_t error_line = 0;
    err = properties_parse((struct str){(const char *)data, len}, arena, &properties, &error_line);
    free(data);
    if (err == ERR_MALFORMED) {
        (void)config_refuse(loader, NULL, "\\u and four hexadecimal digits",
                            "a \\u escape is broken");
        loader->problem->file = loader->config->file;
        loader->problem->line = error_line;
        return ERR_INVALID_CONFIG;
    }
    TRY(err);
    for (size_t i = 0; i < properties.count; i++)
        TRY(put_setting(loader,
                        (struct config_setting){properties.items[i].key, properties.items[i].value,
                                                properties.items[i].line}));
    return ERR_OK;
}

static enum err read_override(struct config_loader *loader, const char *text)
{
    const char *equals = strchr(text, '=');
    if (!equals || equals == text)
        return config_refuse(loader, NULL, "--override key=value", "--override %s: not a key=value",
                             text);
    struct arena *arena = &loader->config->arena;
    struct str key = arena_str(arena, (struct str){text, (size_t)(equals - text)});
    struct str value = arena_str(arena, str_of(equals + 1));
    if (!key.data || !value.data)
        return ERR_NOMEM;
    return put_setting(loader, (struct config_setting){key, value, 0});
}

/* --- checking each --- */

/* NULL for a key that nobody knows. */
static const struct config_def *find_def(struct str key)
{
    const struct config_def *def = config_def_find(CONFIG_SCOPE_BROKER, key);
    return def ? def : config_def_find(CONFIG_SCOPE_OWN, key);
}

/* Of an alert, whose name is in the key: read by config_read_alerts. */
static bool is_alert_key(struct str key)
{
    struct str name, property;
    return alert_key_split(key, &name, &property);
}

/* The broker-wide default of a topic setting that no topic can have yet. */
static enum err check_topic_default(struct config_loader *loader,
                                    const struct config_setting *setting)
{
    static const char *const pairs[][2] = {
        {"log.cleanup.policy", "cleanup.policy"},
        {"log.preallocate", "preallocate"},
    };
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        struct meta_error why;
        if (str_eq_cstr(setting->key, pairs[i][0]) &&
            topic_support_check(str_of(pairs[i][1]), setting->value, &loader->config->arena, &why))
            return config_refuse(loader, pairs[i][0], NULL, "%.*s", STR_ARG(why.text));
    }
    return ERR_OK;
}

static enum err check_setting(struct config_loader *loader, const struct config_setting *setting)
{
    struct arena *arena = &loader->config->arena;
    const struct config_def *def = find_def(setting->key);
    if (!def)
        return ERR_OK;
    struct meta_error why;
    enum err err = config_def_check(def, setting->value, arena, &why);
    if (err) {
        struct str allowed = config_def_allowed_text(def, arena);
        return config_refuse(loader, def->key, allowed.data, "%.*s", STR_ARG(why.text));
    }
    return check_topic_default(loader, setting);
}

/* Settings that protect: to start without them would be worse than not to start. */
static enum err check_protection(struct config_loader *loader)
{
    const struct config_setting *authorizer = config_setting_find(loader, "authorizer.class.name");
    if (authorizer && authorizer->value.len > 0)
        return config_refuse(loader, "authorizer.class.name", "not set",
                             "access control is not supported by this version, and without it "
                             "everyone could do everything");
    return ERR_OK;
}

struct name_list {
    struct buf buf;
    size_t count;
};

static void name_list_add(struct name_list *list, struct str key, const char *note)
{
    buf_printf(&list->buf, "%s%.*s", list->count++ ? ", " : "", STR_ARG(key));
    if (note)
        buf_printf(&list->buf, " (%s)", note);
}

static void name_list_join(struct buf *out, const struct name_list *list, const char *title)
{
    if (list->count > 0)
        buf_printf(out, "%s%s: %.*s", out->len ? "; " : "", title, (int)list->buf.len,
                   (const char *)list->buf.data);
}

/* All keys that were set and have no effect, in one sentence. */
static enum err warn_about_keys(struct config_loader *loader)
{
    struct name_list unknown = {.count = 0}, not_built = {.count = 0}, moot = {.count = 0};
    buf_init(&unknown.buf, BUF_NO_LIMIT);
    buf_init(&not_built.buf, BUF_NO_LIMIT);
    buf_init(&moot.buf, BUF_NO_LIMIT);
    for (size_t i = 0; i < loader->count; i++) {
        struct str key = loader->settings[i].key;
        const struct config_def *def = find_def(key);
        if ((def && def->support == CONFIG_HONOURED) || is_alert_key(key))
            continue;
        if (!def)
            name_list_add(&unknown, key, NULL);
        else if (def->support == CONFIG_INHERENT)
            name_list_add(&moot, key, def->note);
        else
            name_list_add(&not_built, key, NULL);
    }
    struct buf out;
    buf_init(&out, BUF_NO_LIMIT);
    name_list_join(&out, &unknown, "unknown");
    name_list_join(&out, &not_built, "not supported yet");
    name_list_join(&out, &moot, "not needed here");
    enum err err = ERR_OK;
    if (out.len > 0) {
        loader->config->warning_keys =
            arena_printf(&loader->config->arena, "settings without effect: %.*s", (int)out.len,
                         (const char *)out.data);
        if (!loader->config->warning_keys.data)
            err = ERR_NOMEM;
    }
    buf_deinit(&unknown.buf);
    buf_deinit(&not_built.buf);
    buf_deinit(&moot.buf);
    buf_deinit(&out);
    return err;
}

/* --- values --- */

struct str config_text(const struct config_loader *loader, const char *key)
{
    const struct config_setting *setting = config_setting_find(loader, key);
    if (setting)
        return setting->value;
    const struct config_def *def = find_def(str_of(key));
    ASSERT(def);
    return str_of(def->fallback);
}

static int64_t i64(const struct config_loader *loader, const char *key)
{
    return config_value_i64(config_text(loader, key));
}

static int32_t i32(const struct config_loader *loader, const char *key)
{
    return (int32_t)config_value_i64(config_text(loader, key));
}

static int16_t i16(const struct config_loader *loader, const char *key)
{
    return (int16_t)config_value_i64(config_text(loader, key));
}

static bool boolean(const struct config_loader *loader, const char *key)
{
    return config_value_bool(config_text(loader, key));
}

static bool is_word(struct str text, const char *word)
{
    return text.len == strlen(word) && strncasecmp(text.data, word, text.len) == 0;
}

static struct coord_consumer_config group_consumer(const struct config_loader *l)
{
    struct str policy = config_text(l, "group.consumer.migration.policy");
    bool is_both = is_word(policy, "bidirectional");
    struct coord_consumer_config c = {
        .session_timeout_ms = i32(l, "group.consumer.session.timeout.ms"),
        .session_timeout_min_ms = i32(l, "group.consumer.min.session.timeout.ms"),
        .session_timeout_max_ms = i32(l, "group.consumer.max.session.timeout.ms"),
        .heartbeat_interval_ms = i32(l, "group.consumer.heartbeat.interval.ms"),
        .heartbeat_interval_min_ms = i32(l, "group.consumer.min.heartbeat.interval.ms"),
        .heartbeat_interval_max_ms = i32(l, "group.consumer.max.heartbeat.interval.ms"),
        .assignment_interval_ms = i32(l, "group.consumer.assignment.interval.ms"),
        .assignment_interval_min_ms = i32(l, "group.consumer.min.assignment.interval.ms"),
        .assignment_interval_max_ms = i32(l, "group.consumer.max.assignment.interval.ms"),
        .assignment_interval_is_set = !str_is_null(
            config_static_get(&l->config->texts, STR("group.consumer.assignment.interval.ms"))),
        .group_size_max = i32(l, "group.consumer.max.size"),
        .allows_upgrade = is_both || is_word(policy, "upgrade"),
        .allows_downgrade = is_both || is_word(policy, "downgrade"),
    };
    struct str rest = config_text(l, "group.consumer.assignors");
    struct str name;
    enum assignor assignor;
    while (c.assignor_count < ARRAY_LEN(c.assignors) && config_list_next(&rest, &name))
        if (assignor_of_name(name, &assignor))
            c.assignors[c.assignor_count++] = (uint8_t)assignor;
    return c;
}

static void read_plain_values(struct config_loader *l)
{
    struct broker_config *c = l->config;
    c->lag_interval_ms = i32(l, "lag.interval.ms");
    c->metrics_partitions_max = i32(l, "metrics.partitions.max");
    c->num_partitions = i32(l, "num.partitions");
    c->default_replication_factor = i16(l, "default.replication.factor");
    c->auto_create_topics_enable = boolean(l, "auto.create.topics.enable");
    c->delete_topic_enable = boolean(l, "delete.topic.enable");
    c->socket_request_max_bytes = i32(l, "socket.request.max.bytes");
    c->socket_send_buffer_bytes = i32(l, "socket.send.buffer.bytes");
    c->socket_receive_buffer_bytes = i32(l, "socket.receive.buffer.bytes");
    c->socket_listen_backlog_size = i32(l, "socket.listen.backlog.size");
    c->connections_max_idle_ms = i64(l, "connections.max.idle.ms");
    c->fetch_max_bytes = i32(l, "fetch.max.bytes");
    c->max_incremental_fetch_session_cache_slots =
        i32(l, "max.incremental.fetch.session.cache.slots");
    c->max_request_partition_size_limit = i32(l, "max.request.partition.size.limit");
    c->message_max_bytes = i32(l, "message.max.bytes");
    c->log_retention_check_interval_ms = i64(l, "log.retention.check.interval.ms");
    c->log_flush_scheduler_interval_ms = i64(l, "log.flush.scheduler.interval.ms");
    c->log_flush_offset_checkpoint_interval_ms = i32(l, "log.flush.offset.checkpoint.interval.ms");
    c->log_flush_start_offset_checkpoint_interval_ms =
        i32(l, "log.flush.start.offset.checkpoint.interval.ms");
    c->replica_high_watermark_checkpoint_interval_ms =
        i64(l, "replica.high.watermark.checkpoint.interval.ms");
    c->log_initial_task_delay_ms = i64(l, "log.initial.task.delay.ms");
    c->num_recovery_threads_per_data_dir = i32(l, "num.recovery.threads.per.data.dir");
    c->producer_id_expiration_ms = i32(l, "producer.id.expiration.ms");
    c->producer_id_expiration_check_interval_ms =
        i32(l, "producer.id.expiration.check.interval.ms");
    c->transaction_max_timeout_ms = i32(l, "transaction.max.timeout.ms");
    c->group_consumer = group_consumer(l);
    c->group_min_session_timeout_ms = i32(l, "group.min.session.timeout.ms");
    c->group_max_session_timeout_ms = i32(l, "group.max.session.timeout.ms");
    c->group_initial_rebalance_delay_ms = i32(l, "group.initial.rebalance.delay.ms");
    c->group_max_size = i32(l, "group.max.size");
    c->offset_metadata_max_bytes = i32(l, "offset.metadata.max.bytes");
    c->offsets_load_buffer_size = i32(l, "offsets.load.buffer.size");
    c->offsets_retention_check_interval_ms = i64(l, "offsets.retention.check.interval.ms");
    c->offsets_retention_minutes = i32(l, "offsets.retention.minutes");
    c->offsets_topic_compression_codec = i32(l, "offsets.topic.compression.codec");
    c->offsets_topic_segment_bytes = i32(l, "offsets.topic.segment.bytes");
    c->offsets_topic_num_partitions = i32(l, "offsets.topic.num.partitions");
    c->offsets_topic_replication_factor = i16(l, "offsets.topic.replication.factor");
    c->transaction_state_log_num_partitions = i32(l, "transaction.state.log.num.partitions");
    c->transaction_state_log_replication_factor =
        i16(l, "transaction.state.log.replication.factor");
    c->metadata_log_max_record_bytes_between_snapshots =
        i64(l, "metadata.log.max.record.bytes.between.snapshots");
    c->metadata_log_max_snapshot_interval_ms = i64(l, "metadata.log.max.snapshot.interval.ms");
    c->metadata_log_segment_bytes = i32(l, "metadata.log.segment.bytes");
    c->metadata_log_segment_ms = i64(l, "metadata.log.segment.ms");
    c->metadata_max_retention_bytes = i64(l, "metadata.max.retention.bytes");
    c->metadata_max_retention_ms = i64(l, "metadata.max.retention.ms");
    c->rack = config_text(l, "broker.rack");
}

static void read_own_keys(struct config_loader *loader)
{
    static const char *const disks[] = {
        [IO_DISK_AUTO] = "auto", [IO_DISK_URING] = "uring", [IO_DISK_THREADS] = "threads"};
    struct str shards = config_text(loader, "shards");
    loader->config->shards = str_is_null(shards) ? 0 : (uint32_t)config_value_i64(shards);
    struct str disk = config_text(loader, "io.disk");
    for (size_t i = 0; i < ARRAY_LEN(disks); i++) {
        if (str_eq_cstr(disk, disks[i]))
            loader->config->disk = (enum io_disk)i;
    }
}

/* What a node without a file is, and what Kafka fills in, so that DescribeConfigs says it. */
static enum err add_implied_settings(struct config_loader *loader)
{
    const struct config_setting *node = config_setting_find(loader, "node.id");
    const struct config_setting *broker = config_setting_find(loader, "broker.id");
    struct str id = node ? node->value : broker ? broker->value : STR("1");
    if (!node)
        TRY(put_setting(loader, (struct config_setting){STR("node.id"), id, 0}));
    if (!broker)
        TRY(put_setting(loader, (struct config_setting){STR("broker.id"), id, 0}));
    if (!config_setting_find(loader, "process.roles"))
        TRY(put_setting(
            loader, (struct config_setting){STR("process.roles"), STR("broker,controller"), 0}));
    if (!config_setting_find(loader, "controller.listener.names"))
        TRY(put_setting(loader, (struct config_setting){STR("controller.listener.names"),
                                                        STR("CONTROLLER"), 0}));
    if (str_is_null(loader->config->file) && !config_setting_find(loader, "log.dirs") &&
        !config_setting_find(loader, "log.dir"))
        TRY(put_setting(loader, (struct config_setting){STR("log.dirs"), STR("data"), 0}));
    return ERR_OK;
}

static enum err read_identity(struct config_loader *loader)
{
    struct broker_config *config = loader->config;
    config->node_id = i32(loader, "node.id");
    if (config->node_id < 0)
        return config_refuse(loader, "node.id", "a whole number, at least 0",
                             "the node's id is negative");
    if (i32(loader, "broker.id") != config->node_id)
        return config_refuse(loader, "broker.id", "the same value, or not set",
                             "broker.id differs from node.id");
    struct str roles = config_text(loader, "process.roles");
    struct str role;
    while (config_list_next(&roles, &role)) {
        config->is_broker = config->is_broker || str_eq(role, STR("broker"));
        config->is_controller = config->is_controller || str_eq(role, STR("controller"));
    }
    if (!config->is_broker || !config->is_controller)
        return config_refuse(loader, "process.roles", "broker,controller",
                             "clusters are not built yet: this node must be both broker and "
                             "controller");
    return ERR_OK;
}

static enum err read_rebalance_protocols(struct config_loader *loader)
{
    const char *key = "group.coordinator.rebalance.protocols";
    struct str rest = config_text(loader, key);
    struct str protocol;
    bool has_classic = false;
    while (config_list_next(&rest, &protocol)) {
        has_classic = has_classic || str_eq(protocol, STR("classic"));
        loader->config->has_consumer_protocol =
            loader->config->has_consumer_protocol || str_eq(protocol, STR("consumer"));
    }
    return has_classic ? ERR_OK
                       : config_refuse(loader, key, "a list with classic",
                                       "Disabling the 'classic' protocol is not supported");
}

static enum err check_connections(struct config_loader *loader)
{
    if (i32(loader, "max.connections.per.ip") > 0 ||
        config_text(loader, "max.connections.per.ip.overrides").len > 0)
        return ERR_OK;
    return config_refuse(loader, "max.connections.per.ip",
                         "more than 0, or max.connections.per.ip.overrides",
                         "nobody could connect: no address may have a connection");
}

static enum err read_log_dirs(struct config_loader *loader)
{
    struct broker_config *config = loader->config;
    const char *key = str_is_null(config_text(loader, "log.dirs")) ? "log.dir" : "log.dirs";
    struct str rest = config_text(loader, key);
    size_t cap = 1;
    for (size_t i = 0; i < rest.len; i++)
        cap += rest.data[i] == ',';
    config->log_dirs = arena_array(&config->arena, cap, sizeof(*config->log_dirs));
    if (!config->log_dirs)
        return ERR_NOMEM;
    struct str dir;
    while (config_list_next(&rest, &dir)) {
        /* NUL-terminated, and without the slashes that would make two names of one folder. */
        while (dir.len > 1 && dir.data[dir.len - 1] == '/')
            dir.len--;
        struct str copy = arena_str(&config->arena, dir);
        if (!copy.data)
            return ERR_NOMEM;
        bool known = false;
        for (size_t i = 0; i < config->log_dir_count; i++)
            known = known || str_eq(config->log_dirs[i], copy);
        if (!known)
            config->log_dirs[config->log_dir_count++] = copy;
    }
    struct str metadata = config_text(loader, "metadata.log.dir");
    config->metadata_log_dir = str_is_null(metadata) ? config->log_dirs[0] : metadata;
    return ERR_OK;
}

/* --- alerts --- */

static enum err refuse_alert(struct config_loader *loader, const char *key, struct str why,
                             struct str allowed)
{
    struct str text = arena_str(&loader->config->arena, allowed);
    return config_refuse(loader, key, text.data, "%.*s", STR_ARG(why));
}

/* A program that is not there would be missed when it is needed. */
static enum err check_command(struct config_loader *loader, struct io *io, const char *key,
                              const struct alert_rule *rule)
{
    struct io_stat stat;
    if (!rule->argv)
        return ERR_OK;
    enum err err = io_stat_path(io, rule->argv[0], &stat);
    if (err == ERR_OK && !stat.is_dir)
        return ERR_OK;
    return config_refuse(loader, key, "a program that is there", "%s: %s", rule->argv[0],
                         err == ERR_OK ? "it is a folder" : err_text(err));
}

static enum err finish_alert(struct config_loader *loader, struct alert_rule *rule)
{
    struct str why, allowed;
    const char *property;
    enum err err = alert_rule_finish(rule, &loader->config->arena, &property, &why, &allowed);
    if (err == ERR_OK)
        return ERR_OK;
    struct str key =
        arena_printf(&loader->config->arena, ALERT_PREFIX "%.*s.%s", STR_ARG(rule->name), property);
    return key.data ? refuse_alert(loader, key.data, why, allowed) : ERR_NOMEM;
}

/* The keys of one alert follow each other: settings are in the order of their keys. */
static enum err read_alerts(struct config_loader *loader, struct io *io)
{
    struct broker_config *config = loader->config;
    struct arena *arena = &config->arena;
    struct alert_rule *rule = NULL;
    for (size_t i = 0; i < loader->count; i++) {
        struct str name, property, why = STR_NULL, allowed = STR_NULL;
        struct str key = arena_str(arena, loader->settings[i].key);
        if (!key.data)
            return ERR_NOMEM;
        if (!alert_key_split(key, &name, &property))
            continue;
        if (name.len == 0)
            return config_refuse(loader, key.data, "lag.alert.NAME.when", "the alert has no name");
        if (!config->alerts)
            config->alerts = arena_array(arena, ALERT_RULES_MAX, sizeof(*config->alerts));
        if (!config->alerts)
            return ERR_NOMEM;
        if (!rule || !str_eq(rule->name, name)) {
            if (config->alert_count == ALERT_RULES_MAX)
                return config_refuse(loader, key.data, "at most 64 alerts", "too many alerts");
            rule = &config->alerts[config->alert_count++];
            alert_rule_init(rule, name);
        }
        if (alert_rule_set(rule, property, loader->settings[i].value, arena, &why, &allowed))
            return refuse_alert(loader, key.data, why, allowed);
        if (str_eq(property, STR("command")))
            TRY(check_command(loader, io, key.data, rule));
    }
    for (size_t i = 0; i < config->alert_count; i++)
        TRY(finish_alert(loader, &config->alerts[i]));
    return ERR_OK;
}

static enum err keep_texts(struct config_loader *loader)
{
    struct config_entry *entries =
        arena_array(&loader->config->arena, loader->count, sizeof(*entries));
    if (!entries)
        return ERR_NOMEM;
    for (size_t i = 0; i < loader->count; i++)
        entries[i] = (struct config_entry){loader->settings[i].key, loader->settings[i].value};
    loader->config->texts = (struct config_static){entries, loader->count};
    return ERR_OK;
}

static enum err load(struct config_loader *loader, struct io *io, const char *path,
                     const char *const *overrides, size_t override_count)
{
    if (path)
        TRY(read_file(loader, io, path));
    for (size_t i = 0; i < override_count; i++)
        TRY(read_override(loader, overrides[i]));
    for (size_t i = 0; i < loader->count; i++)
        TRY(check_setting(loader, &loader->settings[i]));
    TRY(check_protection(loader));
    TRY(warn_about_keys(loader));
    TRY(add_implied_settings(loader));
    read_own_keys(loader);
    TRY(read_identity(loader));
    TRY(read_rebalance_protocols(loader));
    TRY(check_connections(loader));
    read_plain_values(loader);
    TRY(read_log_dirs(loader));
    TRY(config_read_listeners(loader));
    TRY(config_read_metrics_listeners(loader));
    TRY(read_alerts(loader, io));
    return keep_texts(loader);
}

enum err broker_config_load(struct broker_config *config, struct io *io, const char *path,
                            const char *const *overrides, size_t override_count,
                            struct str hostname, struct config_problem *problem)
{
    *config = (struct broker_config){.file = STR_NULL};
    *problem = (struct config_problem){.file = STR_NULL};
    arena_init(&config->arena, ARENA_NO_LIMIT);
    struct config_loader loader = {.config = config, .hostname = hostname, .problem = problem};
    enum err err = load(&loader, io, path, overrides, override_count);
    if (err && str_is_null(problem->what))
        problem->what = str_of(err_text(err));
    return err;
}

void broker_config_deinit(struct broker_config *config)
{
    arena_deinit(&config->arena);
}

void config_problem_print(const struct config_problem *problem, struct buf *buf)
{
    if (!str_is_null(problem->file) && problem->line > 0)
        buf_printf(buf, "%.*s:%zu: ", STR_ARG(problem->file), problem->line);
    if (!str_is_null(problem->key))
        buf_printf(buf, "%.*s: ", STR_ARG(problem->key));
    buf_printf(buf, "%.*s", STR_ARG(problem->what));
    if (!str_is_null(problem->allowed))
        buf_printf(buf, ". Allowed: %.*s", STR_ARG(problem->allowed));
}
