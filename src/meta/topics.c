/* Creating and deleting topics, and adding partitions. Sentences are Kafka's.
 * Pure; shard 0. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/assert.h"
#include "meta/controller_internal.h"
#include "meta/topic_support.h"

#define TOPIC_NAME_MAX     249
#define METADATA_TOPIC     "__cluster_metadata"
#define UNKNOWN_TOPIC_TEXT "This server does not host this topic-partition."
#define DUPLICATE_TEXT     "Duplicate topic name."

static bool is_name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
}

enum err topic_name_check(struct str name, struct arena *arena, struct meta_error *error)
{
    if (name.len == 0)
        return meta_error_set(error, arena, ERR_INVALID_TOPIC,
                              "Topic name is invalid: the empty string is not allowed");
    if (str_eq(name, STR(".")) || str_eq(name, STR("..")))
        return meta_error_set(error, arena, ERR_INVALID_TOPIC,
                              "Topic name is invalid: '%.*s' is not allowed", STR_ARG(name));
    if (name.len > TOPIC_NAME_MAX)
        return meta_error_set(error, arena, ERR_INVALID_TOPIC,
                              "Topic name is invalid: the length of '%.*s' is longer than the max "
                              "allowed length %d",
                              STR_ARG(name), TOPIC_NAME_MAX);
    for (size_t i = 0; i < name.len; i++)
        if (!is_name_char(name.data[i]))
            return meta_error_set(error, arena, ERR_INVALID_TOPIC,
                                  "Topic name is invalid: '%.*s' contains one or more characters "
                                  "other than ASCII alphanumerics, '.', '_' and '-'",
                                  STR_ARG(name));
    return ERR_OK;
}

/* --- names that collide in metrics, where '.' becomes '_' --- */

static bool collides(struct str a, struct str b)
{
    if (a.len != b.len || str_eq(a, b))
        return false;
    for (size_t i = 0; i < a.len; i++) {
        char x = a.data[i] == '.' ? '_' : a.data[i];
        char y = b.data[i] == '.' ? '_' : b.data[i];
        if (x != y)
            return false;
    }
    return true;
}

/* The existing topic that `name` collides with. Only names that share all up to the first '.' or
 * '_' can, so those are walked, in the order of their names. */
static const struct topic_image *find_collision(const struct image *image, struct str name)
{
    size_t prefix = 0;
    while (prefix < name.len && name.data[prefix] != '.' && name.data[prefix] != '_')
        prefix++;
    if (prefix == name.len)
        return NULL;
    struct table_iter iter;
    image_topics_seek(image, (struct str){name.data, prefix}, &iter);
    const struct topic_image *topic;
    while ((topic = table_next(&iter)) != NULL) {
        if (topic->name.len < prefix || memcmp(topic->name.data, name.data, prefix) != 0)
            return NULL;
        if (collides(topic->name, name))
            return topic;
    }
    return NULL;
}

/* --- configs of a topic --- */

/* The place of a key in the table, so that errors come in a fixed order. */
static const struct config_entry *entry_of(const struct config_entry *entries, size_t count,
                                           const char *key)
{
    for (size_t i = 0; i < count; i++)
        if (str_eq_cstr(entries[i].key, key))
            return &entries[i];
    return NULL;
}

static enum err check_lags(const struct config_entry *entries, size_t count, struct arena *arena,
                           struct meta_error *error)
{
    const struct config_entry *min = entry_of(entries, count, "min.compaction.lag.ms");
    const struct config_entry *max = entry_of(entries, count, "max.compaction.lag.ms");
    int64_t low = min ? config_value_i64(min->value) : 0;
    int64_t high = max ? config_value_i64(max->value) : INT64_MAX;
    if (low > high)
        return meta_error_set(error, arena, ERR_INVALID_CONFIG,
                              "conflict topic config setting min.compaction.lag.ms (%" PRId64
                              ") > max.compaction.lag.ms (%" PRId64 ")",
                              low, high);
    return ERR_OK;
}

enum err topic_configs_check(const struct config_entry *entries, size_t count, struct arena *arena,
                             struct meta_error *error)
{
    for (size_t i = 0; i < count; i++)
        if (!config_def_find(CONFIG_SCOPE_TOPIC, entries[i].key))
            return meta_error_set(error, arena, ERR_INVALID_CONFIG,
                                  "Unknown topic config name: %.*s", STR_ARG(entries[i].key));
    const struct config_def *rows;
    size_t row_count = config_def_list(CONFIG_SCOPE_TOPIC, &rows);
    for (size_t i = 0; i < row_count; i++) {
        const struct config_entry *entry = entry_of(entries, count, rows[i].key);
        if (entry)
            TRY(config_def_check(&rows[i], entry->value, arena, error));
    }
    TRY(check_lags(entries, count, arena, error));
    for (size_t i = 0; i < count; i++)
        TRY(topic_support_check(entries[i].key, entries[i].value, arena, error));
    return ERR_OK;
}

/* Nulls beyond these are not listed. */
#define NULLS_NAMED_MAX 10

/* The last of several settings of one key counts. Unknown keys are not collected, so the work is
 * bounded by the number of keys that there are, whatever a request brings. */
static enum err collect_configs(const struct create_topic *topic, struct arena *arena,
                                struct config_entry **out, size_t *count, struct meta_error *error)
{
    const struct config_def *rows;
    struct config_entry *entries =
        arena_array(arena, config_def_list(CONFIG_SCOPE_TOPIC, &rows), sizeof(*entries));
    if (!entries)
        return ERR_NOMEM;
    struct str nulls = STR("");
    size_t null_count = 0;
    const struct config_entry *unknown = NULL;
    size_t n = 0;
    for (size_t i = 0; i < topic->config_count; i++) {
        const struct config_entry *given = &topic->configs[i];
        if (str_is_null(given->value)) {
            if (null_count++ < NULLS_NAMED_MAX)
                nulls = arena_printf(arena, "%.*s%s%.*s", STR_ARG(nulls), nulls.len ? "," : "",
                                     STR_ARG(given->key));
            continue;
        }
        if (!config_def_find(CONFIG_SCOPE_TOPIC, given->key)) {
            unknown = unknown ? unknown : given;
            continue;
        }
        size_t at = 0;
        while (at < n && !str_eq(entries[at].key, given->key))
            at++;
        entries[at] = *given;
        n += at == n;
    }
    if (null_count > 0)
        return meta_error_set(error, arena, ERR_INVALID_CONFIG,
                              "Null value not supported for topic configs: %.*s", STR_ARG(nulls));
    if (unknown)
        return topic_configs_check(unknown, 1, arena, error);
    *out = entries;
    *count = n;
    return topic_configs_check(entries, n, arena, error);
}

/* --- create --- */

struct creation {
    const struct controller *controller;
    const struct controller_call *call;
    const struct create_topic *topic;
    struct created_topic *answer;
    struct placement *placements;
    uint32_t partitions;
    struct config_entry *configs;
    size_t config_count;
    struct meta_error error;
};

static enum err refuse(struct creation *c, enum err err, const char *text)
{
    return meta_error_set(&c->error, c->call->arena, err, "%s", text);
}

static enum err place_by_hand(struct creation *c)
{
    const struct create_topic *topic = c->topic;
    if (topic->replication_factor != -1)
        return refuse(c, ERR_INVALID_REQUEST,
                      "A manual partition assignment was specified, but replication factor was "
                      "not set to -1.");
    if (topic->partitions != -1)
        return refuse(c, ERR_INVALID_REQUEST,
                      "A manual partition assignment was specified, but numPartitions was not set "
                      "to -1.");
    size_t count = topic->assignment_count;
    c->partitions = (uint32_t)count;
    c->placements = arena_array(c->call->arena, count, sizeof(*c->placements));
    if (!c->placements)
        return ERR_NOMEM;
    int32_t factor = -1;
    bool gap = false;
    for (size_t i = 0; i < count; i++) {
        int32_t index = topic->assignments[i].partition;
        gap = gap || index < 0 || (size_t)index >= count;
        struct placement placement;
        for (size_t j = 0; j < i; j++)
            if (topic->assignments[j].partition == index)
                return meta_error_set(&c->error, c->call->arena, ERR_INVALID_REPLICA_ASSIGNMENT,
                                      "Found multiple manual partition assignments for partition "
                                      "%" PRId32,
                                      index);
        TRY(placement_check(c->controller, c->call, &topic->assignments[i], factor, &placement,
                            &c->error));
        factor = (int32_t)placement.replica_count;
        if (!gap)
            c->placements[index] = placement;
    }
    if (gap)
        return refuse(c, ERR_INVALID_REPLICA_ASSIGNMENT,
                      "partitions should be a consecutive 0-based integer sequence");
    return ERR_OK;
}

static enum err place_by_count(struct creation *c)
{
    const struct create_topic *topic = c->topic;
    int32_t factor = topic->replication_factor;
    int32_t partitions = topic->partitions;
    if (factor < -1 || factor == 0)
        return refuse(c, ERR_INVALID_REPLICATION_FACTOR,
                      "Replication factor must be larger than 0, or -1 to use the default value.");
    if (partitions < -1 || partitions == 0)
        return refuse(c, ERR_INVALID_PARTITIONS,
                      "Number of partitions was set to an invalid non-positive value.");
    if (factor == -1)
        factor = (int32_t)controller_config_i64(c->controller, "default.replication.factor");
    if (partitions == -1)
        partitions = (int32_t)controller_config_i64(c->controller, "num.partitions");
    ASSERT(partitions > 0 && partitions <= CONTROLLER_PARTITIONS_MAX);
    if (factor < 1)
        return refuse(c, ERR_INVALID_REPLICATION_FACTOR,
                      "Replication factor must be larger than 0, or -1 to use the default value.");
    c->partitions = (uint32_t)partitions;
    c->placements = arena_array(c->call->arena, c->partitions, sizeof(*c->placements));
    if (!c->placements)
        return ERR_NOMEM;
    return placement_choose(c->controller, c->call, c->partitions, factor, c->placements,
                            &c->error);
}

static enum err add_records(struct creation *c)
{
    struct topic_record *r = CALL_BODY(c->call, topic_record);
    if (!r)
        return ERR_NOMEM;
    r->name = c->topic->name;
    r->topic_id = c->answer->id;
    TRY(controller_add(c->controller, c->call, META_TOPIC, r));
    for (size_t i = 0; i < c->config_count; i++) {
        struct config_record *config = CALL_BODY(c->call, config_record);
        if (!config)
            return ERR_NOMEM;
        config->resource_type = CONFIG_TOPIC;
        config->resource_name = c->topic->name;
        config->name = c->configs[i].key;
        config->value = c->configs[i].value;
        TRY(controller_add(c->controller, c->call, META_CONFIG, config));
    }
    for (uint32_t i = 0; i < c->partitions; i++)
        TRY(placement_add_partition(c->controller, c->call, c->answer->id, (int32_t)i,
                                    &c->placements[i], &c->error));
    return ERR_OK;
}

/* All settings that the new topic will have, as the answer carries them. */
static enum err describe_created(struct creation *c)
{
    const struct config_def *rows;
    size_t row_count = config_def_list(CONFIG_SCOPE_TOPIC, &rows);
    struct config_described *out = arena_array(c->call->arena, row_count, sizeof(*out));
    if (!out)
        return ERR_NOMEM;
    struct config_view view = controller_view(c->controller);
    size_t n = 0;
    for (size_t i = 0; i < row_count; i++) {
        const struct config_entry *own = entry_of(c->configs, c->config_count, rows[i].key);
        if ((rows[i].is_internal || rows[i].is_ours) && !own)
            continue;
        struct config_described *config = &out[n++];
        *config = (struct config_described){.key = str_of(rows[i].key),
                                            .type = rows[i].type,
                                            .source = CONFIG_SOURCE_DYNAMIC_TOPIC};
        /* The answer outlives the images that other values are borrowed from. */
        struct str value =
            own ? own->value
                : config_topic_value(&view, STR(""), &rows[i], c->call->arena, &config->source);
        config->value = arena_str(c->call->arena, value);
        if (!config->value.data)
            return ERR_NOMEM;
        config->is_default = config->source == CONFIG_SOURCE_DEFAULT;
    }
    c->answer->configs = out;
    c->answer->config_count = n;
    return ERR_OK;
}

static enum err create_one(struct creation *c)
{
    TRY(collect_configs(c->topic, c->call->arena, &c->configs, &c->config_count, &c->error));
    if (c->topic->assignment_count > 0)
        TRY(place_by_hand(c));
    else
        TRY(place_by_count(c));
    size_t before = c->call->records->count;
    c->answer->id = controller_random_uuid(c->call);
    enum err err = add_records(c);
    if (err) {
        c->call->records->count = before;
        return err;
    }
    c->answer->partitions = (int32_t)c->partitions;
    c->answer->replication_factor = (int16_t)c->placements[0].replica_count;
    return describe_created(c);
}

static enum err check_name(struct creation *c)
{
    struct str name = c->topic->name;
    if (str_eq_cstr(name, METADATA_TOPIC))
        return refuse(c, ERR_INVALID_REQUEST,
                      "Creation of internal topic " METADATA_TOPIC " is prohibited.");
    if (image_topic_by_name(c->controller->head, name))
        return meta_error_set(&c->error, c->call->arena, ERR_TOPIC_ALREADY_EXISTS,
                              "Topic '%.*s' already exists.", STR_ARG(name));
    TRY(topic_name_check(name, c->call->arena, &c->error));
    const struct topic_image *other = find_collision(c->controller->head, name);
    if (other)
        return meta_error_set(&c->error, c->call->arena, ERR_INVALID_TOPIC,
                              "Topic '%.*s' collides with existing topic: %.*s", STR_ARG(name),
                              STR_ARG(other->name));
    return ERR_OK;
}

/* Two new names of one request can collide too. */
static enum err check_earlier_names(struct creation *c, const struct create_topic *topics,
                                    const struct created_topic *answers, size_t index)
{
    struct str name = c->topic->name;
    if (!memchr(name.data, '.', name.len) && !memchr(name.data, '_', name.len))
        return ERR_OK;
    for (size_t i = 0; i < index; i++)
        if (!answers[i].err && collides(topics[i].name, c->topic->name))
            return meta_error_set(&c->error, c->call->arena, ERR_INVALID_TOPIC,
                                  "Topic '%.*s' collides with existing topic: %.*s",
                                  STR_ARG(c->topic->name), STR_ARG(topics[i].name));
    return ERR_OK;
}

static bool has_too_many_partitions(const struct controller *controller,
                                    const struct create_topic *topics, size_t count)
{
    int64_t fallback = controller_config_i64(controller, "num.partitions");
    int64_t total = 0;
    for (size_t i = 0; i < count; i++) {
        if (topics[i].assignment_count > 0)
            total += (int64_t)topics[i].assignment_count;
        else if (topics[i].partitions == -1)
            total += fallback;
        else if (topics[i].partitions > 0)
            total += topics[i].partitions;
    }
    return total > CONTROLLER_PARTITIONS_MAX;
}

/* Marks each name's first and later elements. A sort keeps a request of thousands of topics from
 * costing their square. */
struct named {
    struct str name;
    size_t index;
};

static int named_compare(const void *a, const void *b)
{
    const struct named *x = a;
    const struct named *y = b;
    int order = str_cmp(x->name, y->name);
    return order ? order : (x->index > y->index) - (x->index < y->index);
}

/* On return duplicate[i] is 0: the only one, 1: the first of several, 2: a later one. Null names
 * are never duplicates. */
static enum err find_duplicates(struct named *names, size_t count, struct arena *arena,
                                uint8_t **duplicate)
{
    uint8_t *marks = arena_zalloc(arena, count ? count : 1);
    if (!marks)
        return ERR_NOMEM;
    qsort(names, count, sizeof(*names), named_compare);
    for (size_t i = 1; i < count; i++) {
        if (str_is_null(names[i].name) || !str_eq(names[i].name, names[i - 1].name))
            continue;
        if (marks[names[i - 1].index] == 0)
            marks[names[i - 1].index] = 1;
        marks[names[i].index] = 2;
    }
    *duplicate = marks;
    return ERR_OK;
}

enum err controller_create_topics(const struct controller *controller,
                                  const struct controller_call *call,
                                  const struct create_topic *topics, size_t count,
                                  bool validate_only, struct created_topic **out)
{
    struct created_topic *answers = arena_array(call->arena, count, sizeof(*answers));
    struct named *names = arena_array(call->arena, count, sizeof(*names));
    if (!answers || !names)
        return ERR_NOMEM;
    for (size_t i = 0; i < count; i++)
        names[i] = (struct named){topics[i].name, i};
    uint8_t *duplicate;
    TRY(find_duplicates(names, count, call->arena, &duplicate));
    bool too_many = has_too_many_partitions(controller, topics, count);
    size_t before = call->records->count;
    for (size_t i = 0; i < count; i++) {
        struct creation c = {
            .controller = controller, .call = call, .topic = &topics[i], .answer = &answers[i]};
        answers[i] = (struct created_topic){.name = topics[i].name,
                                            .partitions = -1,
                                            .replication_factor = -1,
                                            .repeated = duplicate[i] == 2};
        enum err err = ERR_OK;
        if (duplicate[i])
            err = refuse(&c, ERR_INVALID_REQUEST, DUPLICATE_TEXT);
        else if (too_many)
            err = refuse(&c, ERR_POLICY_VIOLATION,
                         "Excessively large number of partitions per request.");
        if (!err)
            err = check_name(&c);
        if (!err)
            err = check_earlier_names(&c, topics, answers, i);
        if (!err)
            err = create_one(&c);
        if (err == ERR_NOMEM)
            return err;
        if (err)
            answers[i].id = UUID_ZERO;
        answers[i].err = err;
        answers[i].message = err ? c.error.text : STR_NULL;
    }
    if (validate_only)
        call->records->count = before;
    *out = answers;
    return ERR_OK;
}

/* --- delete --- */

static void deleted_error(struct deleted_topic *answer, enum err err, const char *text)
{
    answer->err = err;
    answer->message = str_of(text);
}

static enum err delete_one(const struct controller *controller, const struct controller_call *call,
                           struct deleted_topic *answer)
{
    struct remove_topic_record *r = CALL_BODY(call, remove_topic_record);
    if (!r)
        return ERR_NOMEM;
    r->topic_id = answer->id;
    return controller_add(controller, call, META_REMOVE_TOPIC, r);
}

/* Finds the topic of one element; the answer has its name and id, or why not. The name outlives the
 * topic: the answer is read after the deletion was applied. */
static enum err resolve_deletion(const struct controller *controller,
                                 const struct delete_topic *wanted, struct arena *arena,
                                 struct deleted_topic *answer)
{
    bool has_name = !str_is_null(wanted->name);
    bool has_id = !uuid_is_zero(wanted->id);
    answer->name = wanted->name;
    if (has_name && has_id) {
        answer->id = wanted->id;
        deleted_error(answer, ERR_INVALID_REQUEST,
                      "You may not specify both topic name and topic id.");
        return ERR_OK;
    }
    if (!has_name && !has_id) {
        deleted_error(answer, ERR_INVALID_REQUEST, "Neither topic name nor id were specified.");
        return ERR_OK;
    }
    const struct topic_image *topic = has_name ? image_topic_by_name(controller->head, wanted->name)
                                               : image_topic_by_id(controller->head, wanted->id);
    if (!topic && has_name) {
        deleted_error(answer, ERR_UNKNOWN_TOPIC_OR_PARTITION, UNKNOWN_TOPIC_TEXT);
    } else if (!topic) {
        answer->id = wanted->id;
        deleted_error(answer, ERR_UNKNOWN_TOPIC_ID, "This server does not host this topic ID.");
    } else {
        answer->name = has_name ? wanted->name : arena_str(arena, topic->name);
        answer->id = topic->id;
    }
    return has_name || !topic || answer->name.data ? ERR_OK : ERR_NOMEM;
}

/* One run of elements that mean the same topic: Kafka gives them one answer, an error. */
static void refuse_run(const struct delete_topic *topics, struct deleted_topic *answers,
                       const struct named *run, size_t count)
{
    size_t by_name = 0;
    for (size_t i = 0; i < count; i++)
        by_name += !str_is_null(topics[run[i].index].name);
    for (size_t i = 0; i < count; i++) {
        struct deleted_topic *answer = &answers[run[i].index];
        answer->repeated = i > 0;
        deleted_error(answer, ERR_INVALID_REQUEST,
                      by_name == count ? DUPLICATE_TEXT
                      : by_name == 0
                          ? "Duplicate topic id."
                          : "The provided topic name maps to an ID that was already supplied.");
        if (by_name == count)
            answer->id = UUID_ZERO;
        if (by_name == 0)
            answer->name = STR_NULL;
    }
}

static enum err refuse_doubles(const struct delete_topic *topics, struct deleted_topic *answers,
                               size_t count, struct arena *arena)
{
    struct named *names = arena_array(arena, count, sizeof(*names));
    if (!names)
        return ERR_NOMEM;
    for (size_t i = 0; i < count; i++)
        names[i] =
            (struct named){answers[i].err == ERR_INVALID_REQUEST ? STR_NULL : answers[i].name, i};
    qsort(names, count, sizeof(*names), named_compare);
    size_t next;
    for (size_t at = 0; at < count; at = next) {
        next = at + 1;
        if (str_is_null(names[at].name))
            continue;
        while (next < count && str_eq(names[next].name, names[at].name))
            next++;
        if (next - at > 1)
            refuse_run(topics, answers, names + at, next - at);
    }
    return ERR_OK;
}

static bool deletion_is_enabled(const struct controller *controller)
{
    struct config_view view = controller_view(controller);
    enum config_source source;
    return config_value_bool(config_broker_value(
        &view, config_def_find(CONFIG_SCOPE_BROKER, STR("delete.topic.enable")), &source));
}

enum err controller_delete_topics(const struct controller *controller,
                                  const struct controller_call *call,
                                  const struct delete_topic *topics, size_t count,
                                  struct deleted_topic **out)
{
    struct deleted_topic *answers = arena_array(call->arena, count, sizeof(*answers));
    if (!answers)
        return ERR_NOMEM;
    *out = answers;
    if (!deletion_is_enabled(controller)) {
        for (size_t i = 0; i < count; i++) {
            answers[i] = (struct deleted_topic){.name = topics[i].name, .id = topics[i].id};
            deleted_error(&answers[i], ERR_TOPIC_DELETION_DISABLED, "Topic deletion is disabled.");
        }
        return ERR_OK;
    }
    for (size_t i = 0; i < count; i++)
        TRY(resolve_deletion(controller, &topics[i], call->arena, &answers[i]));
    TRY(refuse_doubles(topics, answers, count, call->arena));
    for (size_t i = 0; i < count; i++)
        if (!answers[i].err)
            TRY(delete_one(controller, call, &answers[i]));
    return ERR_OK;
}

/* --- more partitions --- */

static enum err check_growth(const struct topic_image *topic,
                             const struct create_partitions *wanted, struct arena *arena,
                             struct meta_error *error)
{
    int64_t present = topic->partition_count;
    if (wanted->count == present)
        return meta_error_set(error, arena, ERR_INVALID_PARTITIONS,
                              "Topic already has %" PRId64 " partition(s).", present);
    if (wanted->count < present)
        return meta_error_set(error, arena, ERR_INVALID_PARTITIONS,
                              "The topic %.*s currently has %" PRId64 " partition(s); %" PRId32
                              " would not be an increase.",
                              STR_ARG(topic->name), present, wanted->count);
    int64_t additional = wanted->count - present;
    if (wanted->has_assignments && (size_t)additional != wanted->assignment_count)
        return meta_error_set(error, arena, ERR_INVALID_REPLICA_ASSIGNMENT,
                              "Attempted to add %" PRId64 " additional partition(s), but only %zu "
                              "assignment(s) were specified.",
                              additional, wanted->assignment_count);
    if (additional > CONTROLLER_PARTITIONS_MAX || wanted->count > META_PARTITIONS_MAX)
        return meta_error_set(error, arena, ERR_POLICY_VIOLATION,
                              "Excessively large number of partitions per request.");
    return ERR_OK;
}

static enum err grow_one(const struct controller *controller, const struct controller_call *call,
                         const struct create_partitions *wanted, struct meta_error *error)
{
    const struct topic_image *topic = image_topic_by_name(controller->head, wanted->topic);
    if (!topic) {
        *error = (struct meta_error){ERR_UNKNOWN_TOPIC_OR_PARTITION, STR_NULL};
        return ERR_UNKNOWN_TOPIC_OR_PARTITION;
    }
    TRY(check_growth(topic, wanted, call->arena, error));
    uint32_t additional = (uint32_t)wanted->count - topic->partition_count;
    const struct partition_image *first = image_partition(topic, 0);
    int32_t factor = first ? (int32_t)first->replica_count : 1;
    struct placement *placements = arena_array(call->arena, additional, sizeof(*placements));
    if (!placements)
        return ERR_NOMEM;
    if (!wanted->has_assignments)
        TRY(placement_choose(controller, call, additional, factor, placements, error));
    for (uint32_t i = 0; wanted->has_assignments && i < additional; i++)
        TRY(placement_check(controller, call, &wanted->assignments[i], factor, &placements[i],
                            error));
    for (uint32_t i = 0; i < additional; i++)
        TRY(placement_add_partition(controller, call, topic->id,
                                    (int32_t)(topic->partition_count + i), &placements[i], error));
    return ERR_OK;
}

enum err controller_create_partitions(const struct controller *controller,
                                      const struct controller_call *call,
                                      const struct create_partitions *topics, size_t count,
                                      bool validate_only, struct topic_answer **out)
{
    struct topic_answer *answers = arena_array(call->arena, count, sizeof(*answers));
    struct named *names = arena_array(call->arena, count, sizeof(*names));
    if (!answers || !names)
        return ERR_NOMEM;
    for (size_t i = 0; i < count; i++)
        names[i] = (struct named){topics[i].topic, i};
    uint8_t *duplicate;
    TRY(find_duplicates(names, count, call->arena, &duplicate));
    size_t first_record = call->records->count;
    for (size_t i = 0; i < count; i++) {
        struct meta_error error = {ERR_OK, STR_NULL};
        size_t before = call->records->count;
        enum err err = duplicate[i] ? meta_error_set(&error, call->arena, ERR_INVALID_REQUEST, "%s",
                                                     DUPLICATE_TEXT)
                                    : grow_one(controller, call, &topics[i], &error);
        if (err == ERR_NOMEM)
            return err;
        if (err)
            call->records->count = before;
        answers[i] = (struct topic_answer){topics[i].topic, duplicate[i] == 2, err,
                                           err ? error.text : STR_NULL};
    }
    if (validate_only)
        call->records->count = first_record;
    *out = answers;
    return ERR_OK;
}
