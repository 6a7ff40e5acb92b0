/* How the tables of keys are written. Private to src/meta.
 *
 * Each table is in the order of its keys; config_def_test holds that. Ranges say what Kafka's
 * validators say; a row without a range or a list takes whatever its type does. */
#ifndef META_CONFIG_KEYS_H
#define META_CONFIG_KEYS_H

#include "meta/config_def.h"

#define ANYTHING               .check = CONFIG_ANY
#define AT_LEAST(low)          .check = CONFIG_RANGE, .has_min = true, .min = (low)
#define BETWEEN(low, high)     AT_LEAST(low), .has_max = true, .max = (high)
#define ONE_OF(words)          .check = CONFIG_ONE_OF, .allowed = (words)
#define ONE_OF_ANY_CASE(words) .check = CONFIG_ONE_OF_ANY_CASE, .allowed = (words)
#define LIST_OF(words)         .check = CONFIG_LIST_OF, .allowed = (words)
#define FILLED_LIST_OF(words)  .check = CONFIG_LIST_OF, .allowed = (words), .not_empty = true
#define UNIQUE_LIST            .check = CONFIG_LIST
#define FILLED_LIST            .check = CONFIG_LIST, .not_empty = true
#define NON_EMPTY              .check = CONFIG_NON_EMPTY_STRING
#define GZIP_LEVEL             .check = CONFIG_GZIP_LEVEL
#define THROTTLED              .check = CONFIG_THROTTLED_REPLICAS
#define OFFSET_RESET           .check = CONFIG_OFFSET_RESET
#define ADDRESS_LIMITS         .check = CONFIG_ADDRESS_LIMITS

#define DOC(sentence) .doc = (sentence)
#define NOTE(reason)  .note = (reason)
#define NO_DOC        .doc = NULL

#define KEY_ROW(scope_, name, type_, value, support_, ...)                     \
    {                                                                          \
        .key = (name), .fallback = (value), .scope = CONFIG_SCOPE_##scope_,    \
        .type = CONFIG_TYPE_##type_, .support = CONFIG_##support_, __VA_ARGS__ \
    }

/* The tables: config_keys_broker.c, config_keys_topic.c, config_keys_own.c. */
extern const struct config_def config_broker_keys[];
extern const size_t config_broker_key_count;
extern const struct config_def config_topic_keys[];
extern const size_t config_topic_key_count;
extern const struct config_def config_group_keys[];
extern const size_t config_group_key_count;
extern const struct config_def config_metrics_keys[];
extern const size_t config_metrics_key_count;
extern const struct config_def config_own_keys[];
extern const size_t config_own_key_count;

/* The broker keys that a topic key takes its default from, in the order of their precedence. */
struct config_topic_synonym {
    const char *topic_key;
    const char *broker_key;
    int64_t factor; /* from the broker key's unit to the topic key's */
};

extern const struct config_topic_synonym config_topic_synonyms[];
extern const size_t config_topic_synonym_count;

#endif
