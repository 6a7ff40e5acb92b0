/* The keys as a whole: finding a row, checking a value against it, printing the page.
 *
 * Values are checked as Kafka's ConfigDef does it: numbers and lists are trimmed first, and the
 * sentences are Kafka's, so that a script that reads them still works. Pure; any thread. */
#include "meta/config_def.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/parse.h"
#include "meta/address_limits.h"
#include "meta/config_keys.h"

size_t config_def_list(enum config_scope scope, const struct config_def **first)
{
    switch (scope) {
    case CONFIG_SCOPE_BROKER:
        *first = config_broker_keys;
        return config_broker_key_count;
    case CONFIG_SCOPE_TOPIC:
        *first = config_topic_keys;
        return config_topic_key_count;
    case CONFIG_SCOPE_GROUP:
        *first = config_group_keys;
        return config_group_key_count;
    case CONFIG_SCOPE_CLIENT_METRICS:
        *first = config_metrics_keys;
        return config_metrics_key_count;
    case CONFIG_SCOPE_OWN:
        *first = config_own_keys;
        return config_own_key_count;
    }
    UNREACHABLE();
}

const struct config_def *config_def_find(enum config_scope scope, struct str key)
{
    const struct config_def *rows;
    size_t low = 0;
    size_t high = config_def_list(scope, &rows);
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = str_cmp(str_of(rows[middle].key), key);
        if (order == 0)
            return &rows[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

/* Java's String.trim. */
static struct str trim(struct str s)
{
    while (s.len > 0 && (unsigned char)s.data[0] <= ' ') {
        s.data++;
        s.len--;
    }
    while (s.len > 0 && (unsigned char)s.data[s.len - 1] <= ' ')
        s.len--;
    return s;
}

bool config_list_next(struct str *rest, struct str *element)
{
    if (str_is_null(*rest))
        return false;
    const char *comma = rest->len ? memchr(rest->data, ',', rest->len) : NULL;
    size_t len = comma ? (size_t)(comma - rest->data) : rest->len;
    *element = trim((struct str){rest->data, len});
    *rest = comma ? (struct str){comma + 1, rest->len - len - 1} : STR_NULL;
    return true;
}

int64_t config_value_i64(struct str text)
{
    int64_t value = 0;
    enum err err = parse_i64(trim(text), &value);
    return err ? 0 : value;
}

/* Java reads what C does not call a number: NaN, and a type's letter behind the digits. */
static bool parse_java_double(struct str text, double *number)
{
    if (str_eq(text, STR("NaN")) || str_eq(text, STR("+NaN")) || str_eq(text, STR("-NaN"))) {
        *number = __builtin_nan("");
        return true;
    }
    if (text.len > 1 && strchr("dDfF", text.data[text.len - 1]))
        text.len--;
    return parse_f64(text, number) == ERR_OK;
}

double config_value_f64(struct str text)
{
    double value = 0;
    return parse_java_double(trim(text), &value) ? value : 0;
}

bool config_value_bool(struct str text)
{
    bool value = false;
    enum err err = parse_bool(trim(text), &value);
    return !err && value;
}

static enum err invalid(const struct config_def *def, struct str value, const char *why,
                        struct arena *arena, struct meta_error *error)
{
    return meta_error_set(error, arena, ERR_INVALID_CONFIG,
                          "Invalid value %.*s for configuration %s: %s", STR_ARG(value), def->key,
                          why);
}

static enum err range_failed(const struct config_def *def, struct str printed, bool below,
                             struct arena *arena, struct meta_error *error)
{
    char why[64];
    if (below)
        snprintf(why, sizeof(why), "Value must be at least %" PRId64, (int64_t)def->min);
    else if (def->max == (double)(int64_t)def->max)
        snprintf(why, sizeof(why), "Value must be no more than %" PRId64, (int64_t)def->max);
    else
        snprintf(why, sizeof(why), "Value must be no more than %g", def->max);
    return invalid(def, printed, why, arena, error);
}

/* As Java prints a double: the shortest digits that read back, and ".0" for whole numbers. */
static struct str double_text(double value, struct arena *arena)
{
    char digits[40];
    int precision = 1;
    if (value != value)
        return STR("NaN");
    do
        snprintf(digits, sizeof(digits), "%.*e", precision - 1, value);
    while (precision++ < 17 && strtod(digits, NULL) != value);
    double size = (value < 0 ? -value : value);
    char *e = strchr(digits, 'e');
    int32_t exponent = 0;
    enum err err = e ? parse_i32(str_of(e + 1), &exponent) : ERR_MALFORMED;
    ASSERT(err == ERR_OK);
    if (size == 0 || (size >= 1e-3 && size < 1e7)) {
        int decimals = precision - 2 - exponent;
        return arena_printf(arena, "%.*f", decimals < 1 ? 1 : decimals, value);
    }
    *e = '\0';
    return arena_printf(arena, "%s%sE%" PRId32, digits, strchr(digits, '.') ? "" : ".0", exponent);
}

static enum err check_double(const struct config_def *def, struct str value, struct arena *arena,
                             struct meta_error *error)
{
    double number;
    if (!parse_java_double(trim(value), &number))
        return invalid(def, value, "Not a number of type DOUBLE", arena, error);
    if (def->has_min && number < def->min)
        return range_failed(def, double_text(number, arena), true, arena, error);
    if (def->has_max && number > def->max)
        return range_failed(def, double_text(number, arena), false, arena, error);
    return ERR_OK;
}

static enum err check_integer(const struct config_def *def, struct str value, struct arena *arena,
                              struct meta_error *error)
{
    int64_t low = INT64_MIN;
    int64_t high = INT64_MAX;
    const char *why = "Not a number of type LONG";
    if (def->type == CONFIG_TYPE_INT) {
        low = INT32_MIN;
        high = INT32_MAX;
        why = "Not a number of type INT";
    } else if (def->type == CONFIG_TYPE_SHORT) {
        low = INT16_MIN;
        high = INT16_MAX;
        why = "Not a number of type SHORT";
    }
    int64_t number;
    if (parse_i64_in(trim(value), low, high, &number))
        return invalid(def, value, why, arena, error);
    struct str printed = arena_printf(arena, "%" PRId64, number);
    if (def->check == CONFIG_GZIP_LEVEL && number != -1 && (number < 1 || number > 9))
        return invalid(def, printed, "Value must be between 1 and 9 or equal to -1", arena, error);
    if (def->has_min && number < (int64_t)def->min)
        return range_failed(def, printed, true, arena, error);
    if (def->has_max && number > (int64_t)def->max)
        return range_failed(def, printed, false, arena, error);
    return ERR_OK;
}

static bool is_one_of(const char *allowed, struct str word, bool any_case)
{
    struct str rest = str_of(allowed);
    struct str candidate;
    while (config_list_next(&rest, &candidate)) {
        if (str_eq(candidate, word) ||
            (any_case && candidate.len == word.len &&
             (word.len == 0 || strncasecmp(candidate.data, word.data, word.len) == 0)))
            return true;
    }
    return false;
}

/* "compact,delete" to "compact, delete". */
static struct str spaced(const char *allowed, struct arena *arena)
{
    struct str out = STR("");
    struct str rest = str_of(allowed);
    struct str word;
    while (config_list_next(&rest, &word))
        out = arena_printf(arena, "%.*s%s%.*s", STR_ARG(out), out.len ? ", " : "", STR_ARG(word));
    return out;
}

static enum err not_one_of(const struct config_def *def, struct str word, struct arena *arena,
                           struct meta_error *error)
{
    struct str why = arena_printf(arena, "String must be one of%s: %.*s",
                                  def->check == CONFIG_ONE_OF_ANY_CASE ? " (case insensitive)" : "",
                                  STR_ARG(spaced(def->allowed, arena)));
    return invalid(def, word, why.data ? why.data : "", arena, error);
}

/* Bounds what is said about a list, and the comparison of its elements. */
#define LIST_ELEMENTS_MAX 1000

static size_t list_length(struct str value)
{
    size_t count = 0;
    struct str element;
    while (config_list_next(&value, &element))
        count++;
    return count;
}

/* `partition:broker`, digits both. */
static bool is_replica_pair(struct str element)
{
    const char *colon = element.len ? memchr(element.data, ':', element.len) : NULL;
    if (!colon || colon == element.data || colon == element.data + element.len - 1)
        return false;
    for (size_t i = 0; i < element.len; i++)
        if (element.data + i != colon && (element.data[i] < '0' || element.data[i] > '9'))
            return false;
    return true;
}

static enum err check_throttled(const struct config_def *def, struct str value, struct arena *arena,
                                struct meta_error *error)
{
    struct str all = trim(value);
    if (all.len == 0 || str_eq(all, STR("*")) || str_eq(all, STR(",")))
        return ERR_OK;
    struct str rest = all;
    struct str element;
    bool good = true;
    struct buf printed;
    buf_init(&printed, BUF_NO_LIMIT);
    buf_printf(&printed, "[");
    while (config_list_next(&rest, &element)) {
        good = good && is_replica_pair(element);
        buf_printf(&printed, "%s%.*s", printed.len > 1 ? ", " : "", STR_ARG(element));
    }
    buf_printf(&printed, "]");
    struct str shown = printed.err || good
                           ? STR("(list)")
                           : arena_str(arena, (struct str){(char *)printed.data, printed.len});
    buf_deinit(&printed);
    if (good)
        return ERR_OK;
    struct str why = arena_printf(arena,
                                  "%s must be the literal '*' or a list of replicas in the "
                                  "following format: [partitionId]:[brokerId],"
                                  "[partitionId]:[brokerId],...",
                                  def->key);
    return invalid(def, shown, why.data ? why.data : "", arena, error);
}

static enum err check_list(const struct config_def *def, struct str value, struct arena *arena,
                           struct meta_error *error)
{
    if (def->check == CONFIG_THROTTLED_REPLICAS) {
        if (list_length(value) > LIST_ELEMENTS_MAX * 100)
            return invalid(def, STR("(list)"), "The list is too long", arena, error);
        return check_throttled(def, value, arena, error);
    }
    struct str all = trim(value);
    if (all.len == 0) {
        if (!def->not_empty)
            return ERR_OK;
        return meta_error_set(
            error, arena, ERR_INVALID_CONFIG,
            "Configuration '%s' must not be empty. Valid values include: %s%.*s%s", def->key,
            def->allowed ? "[" : "any non-empty value",
            STR_ARG(def->allowed ? spaced(def->allowed, arena) : STR("")), def->allowed ? "]" : "");
    }
    if (list_length(all) > LIST_ELEMENTS_MAX)
        return invalid(def, STR("(list)"), "The list is too long", arena, error);
    struct str rest = all;
    struct str element;
    while (config_list_next(&rest, &element)) {
        if (element.len == 0)
            return meta_error_set(error, arena, ERR_INVALID_CONFIG,
                                  "Configuration '%s' values must not be empty.", def->key);
        if (def->allowed && !is_one_of(def->allowed, element, false))
            return not_one_of(def, element, arena, error);
    }
    return ERR_OK;
}

/* Digits, with a fraction if that is allowed, and one of `units`, which then begins behind it. */
static bool take_time(struct str *text, const char **units, bool may_be_fraction)
{
    size_t at = 0, point = SIZE_MAX;
    while (at < text->len && ((text->data[at] >= '0' && text->data[at] <= '9') ||
                              (text->data[at] == '.' && at > 0 && point == SIZE_MAX))) {
        if (text->data[at] == '.')
            point = at;
        at++;
    }
    const char *unit = at > 0 && at < text->len ? strchr(*units, text->data[at]) : NULL;
    if (!unit || *unit == '\0' || (point != SIZE_MAX && !(may_be_fraction && *unit == 'S')))
        return false;
    *units = unit + 1;
    *text = (struct str){text->data + at + 1, text->len - at - 1};
    return true;
}

/* ISO 8601 as Java reads it: P1DT2H3M4.5S, days first, T before the rest, each part once. */
static bool is_duration(struct str text)
{
    const char *days = "D", *times = "HMS";
    if (text.len < 3 || text.data[0] != 'P')
        return false;
    text = (struct str){text.data + 1, text.len - 1};
    bool has_days = take_time(&text, &days, false);
    if (text.len == 0)
        return has_days;
    if (text.data[0] != 'T' || text.len == 1)
        return false;
    text = (struct str){text.data + 1, text.len - 1};
    while (text.len > 0)
        if (!take_time(&text, &times, true))
            return false;
    return true;
}

static enum err check_offset_reset(const struct config_def *def, struct str value,
                                   struct arena *arena, struct meta_error *error)
{
    static const char prefix[] = "by_duration:";
    size_t len = sizeof(prefix) - 1;
    bool has_duration = value.len > len && memcmp(value.data, prefix, len) == 0;
    if (str_eq(value, STR("earliest")) || str_eq(value, STR("latest")) ||
        (has_duration && is_duration((struct str){value.data + len, value.len - len})))
        return ERR_OK;
    struct str why = arena_printf(arena,
                                  "Invalid value `%.*s` for configuration %s. The value must be "
                                  "either 'earliest', 'latest' or of the format "
                                  "'by_duration:<PnDTnHnMn.nS>'.",
                                  STR_ARG(value), def->key);
    return invalid(def, value, why.data ? why.data : "", arena, error);
}

static enum err check_address_limits(const struct config_def *def, struct str value,
                                     struct arena *arena, struct meta_error *error)
{
    struct address_limit limit;
    struct str element;
    if (value.len == 0)
        return ERR_OK;
    if (list_length(value) > LIST_ELEMENTS_MAX)
        return invalid(def, STR("(list)"), "The list is too long", arena, error);
    enum err err;
    do
        err = address_limit_next(&value, &limit, &element);
    while (err == ERR_OK);
    return err == ERR_NOENT ? ERR_OK
                            : invalid(def, element,
                                      "It must be the number of an address, a colon and how many "
                                      "connections it may have; names are not looked up",
                                      arena, error);
}

enum err config_def_check(const struct config_def *def, struct str value, struct arena *arena,
                          struct meta_error *error)
{
    ASSERT(value.data);
    bool truth;
    switch (def->type) {
    case CONFIG_TYPE_BOOLEAN:
        if (parse_bool(value, &truth))
            return invalid(def, value, "Expected value to be either true or false", arena, error);
        return ERR_OK;
    case CONFIG_TYPE_INT:
    case CONFIG_TYPE_SHORT:
    case CONFIG_TYPE_LONG:
        return check_integer(def, value, arena, error);
    case CONFIG_TYPE_DOUBLE:
        return check_double(def, value, arena, error);
    case CONFIG_TYPE_LIST:
        return check_list(def, value, arena, error);
    default:
        break;
    }
    struct str word = trim(value);
    if (def->check == CONFIG_OFFSET_RESET)
        return check_offset_reset(def, word, arena, error);
    if (def->check == CONFIG_ADDRESS_LIMITS)
        return check_address_limits(def, word, arena, error);
    if (def->check == CONFIG_NON_EMPTY_STRING && word.len == 0)
        return invalid(def, word, "String must be non-empty", arena, error);
    if ((def->check == CONFIG_ONE_OF || def->check == CONFIG_ONE_OF_ANY_CASE) &&
        !is_one_of(def->allowed, word, def->check == CONFIG_ONE_OF_ANY_CASE))
        return not_one_of(def, word, arena, error);
    return ERR_OK;
}

static bool list_has(struct str list, struct str word)
{
    struct str element;
    while (list.len > 0 && config_list_next(&list, &element))
        if (str_eq(element, word))
            return true;
    return false;
}

/* "a , b,a" to "a,b"; lists of replicas keep their doubles. */
static struct str canonical_list(struct str text, bool keep_doubles, struct arena *arena)
{
    char *to = arena_alloc(arena, text.len + 1);
    if (!to)
        return STR_NULL;
    size_t len = 0;
    struct str rest = trim(text);
    struct str element;
    while (rest.len > 0 && config_list_next(&rest, &element)) {
        if (!keep_doubles && list_has((struct str){to, len}, element))
            continue;
        if (len > 0)
            to[len++] = ',';
        memcpy(to + len, element.data, element.len);
        len += element.len;
    }
    return (struct str){to, len};
}

struct str config_value_canonical(const struct config_def *def, struct str text,
                                  struct arena *arena)
{
    struct meta_error error;
    if (str_is_null(text) || config_def_check(def, text, arena, &error))
        return text; /* set by a foreign log: shown as it is */
    switch (def->type) {
    case CONFIG_TYPE_INT:
    case CONFIG_TYPE_SHORT:
    case CONFIG_TYPE_LONG:
        return arena_printf(arena, "%" PRId64, config_value_i64(text));
    case CONFIG_TYPE_DOUBLE:
        return double_text(config_value_f64(text), arena);
    case CONFIG_TYPE_BOOLEAN:
        return config_value_bool(text) ? STR("true") : STR("false");
    case CONFIG_TYPE_LIST:
        return canonical_list(text, def->check == CONFIG_THROTTLED_REPLICAS, arena);
    case CONFIG_TYPE_PASSWORD:
        return text;
    default:
        return trim(text);
    }
}

static const char *type_text(enum config_value_type type)
{
    switch (type) {
    case CONFIG_TYPE_BOOLEAN:
        return "true or false";
    case CONFIG_TYPE_INT:
    case CONFIG_TYPE_SHORT:
    case CONFIG_TYPE_LONG:
        return "a whole number";
    case CONFIG_TYPE_DOUBLE:
        return "a number";
    case CONFIG_TYPE_LIST:
        return "a list between commas";
    case CONFIG_TYPE_CLASS:
        return "a Java class name";
    case CONFIG_TYPE_PASSWORD:
        return "a secret";
    default:
        return "text";
    }
}

struct str config_def_allowed_text(const struct config_def *def, struct arena *arena)
{
    const char *type = type_text(def->type);
    switch (def->check) {
    case CONFIG_RANGE:
        if (def->has_max)
            return arena_printf(arena, "%s, from %.15g to %.15g", type, def->min, def->max);
        return arena_printf(arena, "%s, at least %.15g", type, def->min);
    case CONFIG_ONE_OF:
    case CONFIG_ONE_OF_ANY_CASE:
        return arena_printf(arena, "one of %.*s", STR_ARG(spaced(def->allowed, arena)));
    case CONFIG_LIST_OF:
        return arena_printf(arena, "%s, of %.*s", type, STR_ARG(spaced(def->allowed, arena)));
    case CONFIG_GZIP_LEVEL:
        return arena_printf(arena, "%s, from 1 to 9, or -1", type);
    case CONFIG_OFFSET_RESET:
        return arena_printf(arena, "earliest, latest, or by_duration:P1DT2H3M4.5S");
    case CONFIG_ADDRESS_LIMITS:
        return arena_printf(arena, "a list of address:count");
    case CONFIG_THROTTLED_REPLICAS:
        return arena_printf(arena, "`*`, or a list of partition:broker");
    case CONFIG_NON_EMPTY_STRING:
        return arena_printf(arena, "%s that is not empty", type);
    case CONFIG_LIST:
    case CONFIG_ANY:
        break;
    }
    if (def->type == CONFIG_TYPE_INT)
        return arena_printf(arena, "%s, from %d to %d", type, INT32_MIN, INT32_MAX);
    return arena_printf(arena, "%s", type);
}

static void print_row(const struct config_def *def, struct arena *arena, struct buf *buf)
{
    static const char *const support[] = {
        [CONFIG_HONOURED] = "", [CONFIG_INHERENT] = "no effect: ", [CONFIG_NOT_BUILT] = "not yet"};
    struct str allowed = config_def_allowed_text(def, arena);
    buf_printf(buf, "| `%s` | %s | %.*s | %s%s |\n", def->key,
               !def->fallback             ? "none"
               : def->fallback[0] == '\0' ? "empty"
                                          : def->fallback,
               STR_ARG(allowed), support[def->support],
               def->doc    ? def->doc
               : def->note ? def->note
                           : "");
    arena_reset(arena);
}

void config_def_print_markdown(struct buf *buf)
{
    static const struct {
        enum config_scope scope;
        const char *title;
    } parts[] = {{CONFIG_SCOPE_BROKER, "server.properties"},
                 {CONFIG_SCOPE_OWN, "server.properties: keys that Apache Kafka does not have"},
                 {CONFIG_SCOPE_TOPIC, "Topics"},
                 {CONFIG_SCOPE_GROUP, "Groups"},
                 {CONFIG_SCOPE_CLIENT_METRICS, "Client metrics"}};
    struct arena arena;
    arena_init(&arena, ARENA_NO_LIMIT);
    buf_printf(buf,
               "# Configuration\n\nThe keys, units and defaults are Apache Kafka's, but for one "
               "table. \"Not yet\" is named in a warning when it is set, and has no effect.\n");
    for (size_t p = 0; p < ARRAY_LEN(parts); p++) {
        const struct config_def *rows;
        size_t count = config_def_list(parts[p].scope, &rows);
        buf_printf(buf,
                   "\n## %s\n\n| key | default | allowed | what it does |\n|---|---|---|---|\n",
                   parts[p].title);
        for (size_t i = 0; i < count; i++)
            if (!rows[i].is_internal)
                print_row(&rows[i], &arena, buf);
    }
    arena_deinit(&arena);
}
