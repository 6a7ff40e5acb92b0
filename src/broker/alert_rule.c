/* Reading alert rules. Pure; used at start, and the patterns on shard 0. */
#include "broker/alert_rule.h"

#include "base/parse.h"

#define CLEAR_SHARE      0.8
#define PAUSE_MS_DEFAULT 10000
#define MS_MAX           ((int64_t)366 * 86400000)

#define WHEN_FORM "messages > NUMBER or seconds > NUMBER"
#define URL_FORM  "http://HOST[:PORT][/PATH]; for anything else call a command, such as curl"
#define ARGV_FORM                                                                                 \
    "an absolute path and arguments between spaces; in \"quotes\" spaces count, and \\ quotes a " \
    "character"

void alert_rule_init(struct alert_rule *rule, struct str name)
{
    *rule = (struct alert_rule){
        .name = name, .group = STR("*"), .topic = STR("*"), .pause_ms = PAUSE_MS_DEFAULT};
}

bool alert_key_split(struct str key, struct str *name, struct str *property)
{
    size_t prefix = sizeof(ALERT_PREFIX) - 1;
    if (key.len <= prefix || memcmp(key.data, ALERT_PREFIX, prefix) != 0)
        return false;
    struct str rest = {key.data + prefix, key.len - prefix};
    const char *dot = memchr(rest.data, '.', rest.len);
    *name = (struct str){rest.data, dot ? (size_t)(dot - rest.data) : rest.len};
    *property = dot ? (struct str){dot + 1, rest.len - name->len - 1} : STR("");
    return true;
}

/* --- patterns --- */

bool alert_pattern_matches(struct str pattern, struct str text)
{
    size_t p = 0, t = 0, star = SIZE_MAX, mark = 0;
    while (t < text.len) {
        if (p < pattern.len && pattern.data[p] == '*') {
            star = p++;
            mark = t;
        } else if (p < pattern.len && (pattern.data[p] == '?' || pattern.data[p] == text.data[t])) {
            p++;
            t++;
        } else if (star != SIZE_MAX) {
            p = star + 1;
            t = ++mark;
        } else {
            return false;
        }
    }
    while (p < pattern.len && pattern.data[p] == '*')
        p++;
    return p == pattern.len;
}

/* --- values --- */

static struct str trim(struct str s)
{
    while (s.len > 0 && s.data[0] == ' ') {
        s.data++;
        s.len--;
    }
    while (s.len > 0 && s.data[s.len - 1] == ' ')
        s.len--;
    return s;
}

/* Seconds become milliseconds. */
static bool parse_amount(enum alert_unit unit, struct str text, int64_t *amount)
{
    double seconds;
    if (unit == ALERT_MESSAGES)
        return parse_i64_in(text, 0, INT64_MAX, amount) == ERR_OK;
    if (parse_f64(text, &seconds) != ERR_OK || seconds < 0 || seconds > 1e9)
        return false;
    *amount = (int64_t)(seconds * 1000);
    return true;
}

static bool parse_when(struct str text, struct alert_rule *rule)
{
    const char *sign = text.len ? memchr(text.data, '>', text.len) : NULL;
    if (!sign)
        return false;
    struct str left = trim((struct str){text.data, (size_t)(sign - text.data)});
    struct str right = trim((struct str){sign + 1, text.len - (size_t)(sign - text.data) - 1});
    if (str_eq(left, STR("messages")))
        rule->unit = ALERT_MESSAGES;
    else if (str_eq(left, STR("seconds")))
        rule->unit = ALERT_SECONDS;
    else
        return false;
    rule->has_when = true;
    return parse_amount(rule->unit, right, &rule->threshold);
}

/* "[::1]:8080" is cut at the last colon behind the bracket. */
static bool parse_url(struct str text, struct arena *arena, struct alert_url *url)
{
    static const char scheme[] = "http://";
    size_t skip = sizeof(scheme) - 1;
    int64_t port = 80;
    for (size_t i = 0; i < text.len; i++) {
        if ((unsigned char)text.data[i] <= ' ' || (unsigned char)text.data[i] >= 0x7f)
            return false;
    }
    if (text.len <= skip || memcmp(text.data, scheme, skip) != 0)
        return false;
    struct str rest = {text.data + skip, text.len - skip};
    const char *slash = memchr(rest.data, '/', rest.len);
    struct str where = {rest.data, slash ? (size_t)(slash - rest.data) : rest.len};
    struct str path = slash ? (struct str){slash, rest.len - where.len} : STR("/");
    size_t colon = where.len;
    while (colon > 0 && where.data[colon - 1] != ':' && where.data[colon - 1] != ']')
        colon--;
    if (colon > 0 && where.data[colon - 1] == ':') {
        struct str digits = {where.data + colon, where.len - colon};
        if (parse_i64_in(digits, 1, UINT16_MAX, &port) != ERR_OK)
            return false;
        where.len = colon - 1;
    }
    if (where.len > 1 && where.data[0] == '[' && where.data[where.len - 1] == ']')
        where = (struct str){where.data + 1, where.len - 2};
    if (where.len == 0 || memchr(where.data, '@', where.len))
        return false;
    *url = (struct alert_url){arena_str(arena, text), arena_str(arena, where), (uint16_t)port,
                              arena_str(arena, path)};
    return true;
}

/* Words as a shell would cut them, without all else that a shell does. */
static bool parse_argv(struct str text, struct arena *arena, char ***out)
{
    char **argv = arena_array(arena, ALERT_ARGS_MAX + 1, sizeof(*argv));
    char *at = arena_alloc(arena, text.len + 1);
    size_t count = 0, i = 0;
    if (!argv || !at)
        return false;
    for (;;) {
        while (i < text.len && text.data[i] == ' ')
            i++;
        if (i == text.len)
            break;
        if (count == ALERT_ARGS_MAX)
            return false;
        argv[count++] = at;
        bool is_quoted = false;
        for (; i < text.len && (is_quoted || text.data[i] != ' '); i++) {
            if (text.data[i] == '"') {
                is_quoted = !is_quoted;
                continue;
            }
            if (text.data[i] == '\\' && ++i == text.len)
                return false;
            *at++ = text.data[i];
        }
        if (is_quoted)
            return false;
        *at++ = '\0';
    }
    *out = argv;
    return count > 0 && argv[0][0] == '/';
}

static enum err refuse(struct arena *arena, struct str value, const char *form, struct str *why,
                       struct str *allowed)
{
    *why = arena_printf(arena, "Invalid value %.*s", STR_ARG(value));
    *allowed = str_of(form);
    return ERR_INVALID_CONFIG;
}

enum err alert_rule_set(struct alert_rule *rule, struct str property, struct str value,
                        struct arena *arena, struct str *why, struct str *allowed)
{
    if (str_eq(property, STR("when")))
        return parse_when(value, rule) ? ERR_OK : refuse(arena, value, WHEN_FORM, why, allowed);
    if (str_eq(property, STR("group")) || str_eq(property, STR("topic"))) {
        if (value.len == 0)
            return refuse(arena, value, "a name; * stands for any text, ? for one character", why,
                          allowed);
        *(str_eq(property, STR("group")) ? &rule->group : &rule->topic) = value;
        return ERR_OK;
    }
    if (str_eq(property, STR("clear"))) {
        /* Its unit is that of .when, which may come later. */
        double number;
        rule->has_clear = parse_f64(value, &number) == ERR_OK && number >= 0 && number < 9e15;
        rule->clear = rule->has_clear ? (int64_t)(number * 1000) : 0;
        return rule->has_clear
                   ? ERR_OK
                   : refuse(arena, value, "a number in the unit of .when", why, allowed);
    }
    if (str_eq(property, STR("for.ms")) || str_eq(property, STR("pause.ms"))) {
        int64_t *ms = str_eq(property, STR("for.ms")) ? &rule->for_ms : &rule->pause_ms;
        if (parse_i64_in(value, 0, MS_MAX, ms) != ERR_OK)
            return refuse(arena, value, "a whole number of milliseconds, at most a year", why,
                          allowed);
        return ERR_OK;
    }
    if (str_eq(property, STR("command")))
        return parse_argv(value, arena, &rule->argv)
                   ? ERR_OK
                   : refuse(arena, value, ARGV_FORM, why, allowed);
    if (str_eq(property, STR("url"))) {
        rule->has_url = parse_url(value, arena, &rule->url);
        return rule->has_url ? ERR_OK : refuse(arena, value, URL_FORM, why, allowed);
    }
    *why = arena_printf(arena, "an alert has no setting \"%.*s\"", STR_ARG(property));
    *allowed = STR("when, group, topic, clear, for.ms, pause.ms, command, url");
    return ERR_INVALID_CONFIG;
}

enum err alert_rule_finish(struct alert_rule *rule, struct arena *arena, const char **property,
                           struct str *why, struct str *allowed)
{
    *property = "when";
    if (!rule->has_when) {
        *why = STR("the alert does not say when");
        *allowed = STR(WHEN_FORM);
        return ERR_INVALID_CONFIG;
    }
    if (!rule->has_clear)
        rule->clear = (int64_t)((double)rule->threshold * CLEAR_SHARE);
    else if (rule->unit == ALERT_MESSAGES)
        rule->clear /= 1000;
    *property = "clear";
    if (rule->clear > rule->threshold) {
        *why = arena_printf(arena, "the alert would end above where it begins");
        *allowed = STR("at most the number of .when");
        return ERR_INVALID_CONFIG;
    }
    return ERR_OK;
}
