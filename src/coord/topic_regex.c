/* RE2's syntax is read here, construct by construct, and written again as the least of PCRE2's:
 * groups that capture nothing, plain repeats, classes of numbers, anchors. So PCRE2 is never given
 * what a client wrote, and a construct that only one of the two has cannot slip through.
 *
 * What cannot change whether a whole name matches is left out: laziness, captures and their names,
 * and the flags m, s and U (names have no line breaks). Matching is PCRE2's breadth-first one,
 * which does not backtrack; its workspace and its recursion are bounded.
 *
 * The phrases of errors are those of Apache Kafka's library, which clients show to people. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/utf8.h"
#include "coord/topic_regex.h"

#define REPEAT_MAX      1000
#define GROUPS_MAX      200 /* inside of each other; PCRE2 takes 250 */
#define NAMED_MAX       200 /* named groups */
#define OUT_BYTES_MAX   (1 << 20)
#define WORKSPACE_LEN   20000 /* states of a match, three numbers each */
#define MATCH_DEPTH_MAX 1000

#define WHY_RANGE     "invalid character class range"
#define WHY_ESCAPE    "invalid escape sequence"
#define WHY_NAME      "invalid named capture"
#define WHY_TWICE     "duplicate capture group name"
#define WHY_PERL      "invalid or unsupported Perl syntax"
#define WHY_NESTED    "invalid nested repetition operator"
#define WHY_SIZE      "invalid repeat count"
#define WHY_BRACKET   "missing closing ]"
#define WHY_PAREN     "missing closing )"
#define WHY_ARGUMENT  "missing argument to repetition operator"
#define WHY_BACKSLASH "trailing backslash at end of expression"
#define WHY_LARGE     "too large"
#define WHY_UTF8      "not UTF-8"

struct topic_regex {
    pcre2_code *code;
    pcre2_match_data *data;
    pcre2_match_context *context;
    int workspace[WORKSPACE_LEN];
};

/* --- reading --- */

struct translator {
    struct str rest;
    struct buf *out;
    const char *why;   /* of an error */
    bool has_argument; /* something stands there that a repeat can repeat, */
    bool is_repeated;  /* it is a repeat already, */
    size_t argument;   /* and begins there in `out` */
    bool after_repeat; /* the construct just before is a repeat; */
    bool made_repeat;  /* this one is */
    int depth;
    bool ignore_case;
    bool ignore_case_written; /* what PCRE2 believes at this place */
    struct {
        bool ignore_case; /* what holds after it */
        size_t start;     /* in `out` */
    } groups[GROUPS_MAX]; /* that are open */
    struct str names[NAMED_MAX];
    int name_count;
};

static enum err refuse(struct translator *t, const char *why)
{
    t->why = why;
    return ERR_INVALID_REGULAR_EXPRESSION;
}

static bool looking_at(const struct translator *t, const char *text)
{
    size_t len = strlen(text);
    return t->rest.len >= len && memcmp(t->rest.data, text, len) == 0;
}

static void skip(struct translator *t, size_t len)
{
    ASSERT(len <= t->rest.len);
    t->rest.data += len;
    t->rest.len -= len;
}

/* The pattern was checked to be UTF-8. */
static uint32_t pop(struct translator *t)
{
    const uint8_t *at = (const uint8_t *)t->rest.data;
    size_t len = at[0] < 0x80 ? 1 : at[0] < 0xe0 ? 2 : at[0] < 0xf0 ? 3 : 4;
    uint32_t point = len == 1 ? at[0] : at[0] & (0x7fu >> len);
    for (size_t i = 1; i < len; i++)
        point = point << 6 | (at[i] & 0x3fu);
    skip(t, len);
    return point;
}

static bool next_is(const struct translator *t, char c)
{
    return t->rest.len > 0 && t->rest.data[0] == c;
}

static bool is_digit(uint32_t c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter_or_digit(uint32_t c)
{
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static int hex_value(uint32_t c)
{
    if (is_digit(c))
        return (int)(c - '0');
    if (c >= 'a' && c <= 'f')
        return (int)(c - 'a' + 10);
    return c >= 'A' && c <= 'F' ? (int)(c - 'A' + 10) : -1;
}

/* --- writing --- */

static enum err put(struct translator *t, const char *text)
{
    buf_put(t->out, text, strlen(text));
    return t->out->err == ERR_LIMIT ? refuse(t, WHY_LARGE) : t->out->err;
}

static enum err put_char(struct translator *t, uint32_t point)
{
    char text[16];
    (void)snprintf(text, sizeof(text), "\\x{%x}", (unsigned)point);
    return put(t, text);
}

/* Something that a repeat can repeat begins. A flag before it is written now: it may have stood
 * between an earlier atom and its repeat. */
static enum err begin_atom(struct translator *t)
{
    if (t->ignore_case != t->ignore_case_written)
        TRY(put(t, t->ignore_case ? "(?i)" : "(?-i)"));
    t->ignore_case_written = t->ignore_case;
    t->has_argument = true;
    t->is_repeated = false;
    t->argument = t->out->len;
    return ERR_OK;
}

static enum err put_atom(struct translator *t, const char *text)
{
    TRY(begin_atom(t));
    return put(t, text);
}

static enum err put_literal(struct translator *t, uint32_t point)
{
    TRY(begin_atom(t));
    return put_char(t, point);
}

/* --- escapes --- */

/* "\x41" and "\x{41}", from behind the x. */
static enum err read_hex(struct translator *t, uint32_t *point)
{
    uint32_t value = 0;
    if (!next_is(t, '{')) {
        for (int i = 0; i < 2; i++) {
            int digit = t->rest.len > 0 ? hex_value(pop(t)) : -1;
            if (digit < 0)
                return refuse(t, WHY_ESCAPE);
            value = value * 16 + (uint32_t)digit;
        }
        *point = value;
        return ERR_OK;
    }
    skip(t, 1);
    bool has_digits = false;
    while (t->rest.len > 0) {
        uint32_t c = pop(t);
        if (c == '}' && has_digits) {
            *point = value;
            return ERR_OK;
        }
        int digit = hex_value(c);
        if (digit < 0)
            break;
        value = value * 16 + (uint32_t)digit;
        has_digits = true;
        if (value > 0x10ffff)
            break;
    }
    return refuse(t, WHY_ESCAPE);
}

/* From the backslash on: one character. */
static enum err read_escape(struct translator *t, uint32_t *point)
{
    static const char from[] = "afnrtv";
    static const char to[] = "\a\f\n\r\t\v";
    skip(t, 1);
    if (t->rest.len == 0)
        return refuse(t, WHY_BACKSLASH);
    uint32_t c = pop(t);
    if (c >= '0' && c <= '7') {
        bool has_more = t->rest.len > 0 && t->rest.data[0] >= '0' && t->rest.data[0] <= '7';
        if (c != '0' && !has_more)
            return refuse(t, WHY_ESCAPE);
        *point = c - '0';
        for (int i = 1;
             i < 3 && t->rest.len > 0 && t->rest.data[0] >= '0' && t->rest.data[0] <= '7'; i++)
            *point = *point * 8 + (pop(t) - '0');
        return ERR_OK;
    }
    if (c == 'x')
        return read_hex(t, point);
    const char *known = c < 0x80 ? strchr(from, (int)c) : NULL;
    if (known && *known) {
        *point = (uint32_t)to[known - from];
        return ERR_OK;
    }
    if (is_letter_or_digit(c))
        return refuse(t, WHY_ESCAPE);
    *point = c;
    return ERR_OK;
}

static bool is_class_escape(const struct translator *t)
{
    return t->rest.len >= 2 && t->rest.data[0] == '\\' && t->rest.data[1] != '\0' &&
           strchr("dDsSwWpP", t->rest.data[1]);
}

/* "\d", "\pL", "\p{^Greek}". */
static enum err class_escape(struct translator *t)
{
    if (t->rest.data[1] != 'p' && t->rest.data[1] != 'P') {
        char text[3] = {'\\', t->rest.data[1], '\0'};
        skip(t, 2);
        return put(t, text);
    }
    bool is_negated = t->rest.data[1] == 'P';
    skip(t, 2);
    struct str name = t->rest;
    if (next_is(t, '{')) {
        const char *end = memchr(name.data, '}', name.len);
        if (!end)
            return refuse(t, WHY_RANGE);
        name = (struct str){name.data + 1, (size_t)(end - name.data - 1)};
        skip(t, name.len + 2);
    } else {
        name.len = name.len > 0 ? 1 : 0;
        skip(t, name.len);
    }
    if (name.len > 0 && name.data[0] == '^') {
        is_negated = !is_negated;
        name = (struct str){name.data + 1, name.len - 1};
    }
    if (name.len == 0 || name.len > 40 || name.data[0] < 'A' || name.data[0] > 'Z')
        return refuse(t, WHY_RANGE);
    for (size_t i = 0; i < name.len; i++)
        if (!is_letter_or_digit((uint8_t)name.data[i]) && name.data[i] != '_')
            return refuse(t, WHY_RANGE);
    char text[64];
    (void)snprintf(text, sizeof(text), "\\p{%s%.*s}", is_negated ? "^" : "", STR_ARG(name));
    return put(t, text);
}

/* --- [classes] --- */

static enum err posix_class(struct translator *t, bool *is_class)
{
    static const char *const names[] = {"alnum", "alpha", "ascii", "blank", "cntrl",
                                        "digit", "graph", "lower", "print", "punct",
                                        "space", "upper", "word",  "xdigit"};
    *is_class = false;
    if (!looking_at(t, "[:"))
        return ERR_OK;
    const char *end = memmem(t->rest.data, t->rest.len, ":]", 2);
    if (!end)
        return ERR_OK;
    *is_class = true;
    struct str whole = {t->rest.data, (size_t)(end - t->rest.data) + 2};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        for (int negated = 0; negated < 2; negated++) {
            char text[16];
            (void)snprintf(text, sizeof(text), "[:%s%s:]", negated ? "^" : "", names[i]);
            if (!str_eq_cstr(whole, text))
                continue;
            skip(t, whole.len);
            return put(t, text);
        }
    }
    return refuse(t, WHY_RANGE);
}

static enum err class_char(struct translator *t, uint32_t *point)
{
    if (t->rest.len == 0)
        return refuse(t, WHY_BRACKET);
    if (next_is(t, '\\'))
        return read_escape(t, point);
    *point = pop(t);
    return ERR_OK;
}

static enum err class_range(struct translator *t)
{
    uint32_t low;
    TRY(class_char(t, &low));
    uint32_t high = low;
    if (next_is(t, '-') && !looking_at(t, "-]")) {
        skip(t, 1);
        TRY(class_char(t, &high));
        if (high < low)
            return refuse(t, WHY_RANGE);
    }
    TRY(put_char(t, low));
    if (high == low)
        return ERR_OK;
    TRY(put(t, "-"));
    return put_char(t, high);
}

static enum err read_class(struct translator *t)
{
    skip(t, 1);
    bool is_negated = next_is(t, '^');
    if (is_negated)
        skip(t, 1);
    TRY(put_atom(t, is_negated ? "[^" : "["));
    for (bool is_first = true; is_first || !next_is(t, ']'); is_first = false) {
        bool is_class;
        TRY(posix_class(t, &is_class));
        if (!is_class)
            TRY(is_class_escape(t) ? class_escape(t) : class_range(t));
    }
    skip(t, 1);
    return put(t, "]");
}

/* --- (groups) --- */

static enum err open_group(struct translator *t, bool ignore_case_inside)
{
    if (t->depth == GROUPS_MAX)
        return refuse(t, WHY_LARGE);
    TRY(put_atom(t, "(?:"));
    t->groups[t->depth].ignore_case = t->ignore_case;
    t->groups[t->depth].start = t->argument;
    t->depth++;
    t->ignore_case = ignore_case_inside;
    t->has_argument = false;
    return ERR_OK;
}

static enum err open_named_group(struct translator *t, size_t prefix)
{
    const char *end = memchr(t->rest.data, '>', t->rest.len);
    if (!end)
        return refuse(t, WHY_NAME);
    struct str name = {t->rest.data + prefix, (size_t)(end - t->rest.data) - prefix};
    for (size_t i = 0; i < name.len; i++)
        if (!is_letter_or_digit((uint8_t)name.data[i]) && name.data[i] != '_')
            return refuse(t, WHY_NAME);
    if (name.len == 0)
        return refuse(t, WHY_NAME);
    for (int i = 0; i < t->name_count; i++)
        if (str_eq(name, t->names[i]))
            return refuse(t, WHY_TWICE);
    if (t->name_count == NAMED_MAX)
        return refuse(t, WHY_LARGE);
    t->names[t->name_count++] = name;
    skip(t, prefix + name.len + 1);
    return open_group(t, t->ignore_case);
}

/* "(?i)" and "(?i:", from the bracket on. */
static enum err read_flags(struct translator *t)
{
    bool ignore_case = t->ignore_case;
    bool is_off = false;
    bool has_flag = false;
    skip(t, 2);
    while (t->rest.len > 0) {
        uint32_t c = pop(t);
        if (c == 'i' || c == 'm' || c == 's' || c == 'U') {
            ignore_case = c == 'i' ? !is_off : ignore_case;
            has_flag = true;
        } else if (c == '-' && !is_off) {
            is_off = true;
            has_flag = false;
        } else if ((c == ')' || c == ':') && (has_flag || !is_off)) {
            if (c == ':')
                return open_group(t, ignore_case);
            t->ignore_case = ignore_case;
            return ERR_OK;
        } else {
            break;
        }
    }
    return refuse(t, WHY_PERL);
}

static enum err read_open(struct translator *t)
{
    if (looking_at(t, "(?P<"))
        return open_named_group(t, 4);
    if (looking_at(t, "(?<"))
        return open_named_group(t, 3);
    if (looking_at(t, "(?"))
        return read_flags(t);
    skip(t, 1);
    return open_group(t, t->ignore_case);
}

static enum err read_close(struct translator *t)
{
    skip(t, 1);
    if (t->depth == 0)
        return refuse(t, WHY_PAREN);
    t->depth--;
    t->ignore_case = t->ignore_case_written = t->groups[t->depth].ignore_case;
    t->argument = t->groups[t->depth].start;
    t->has_argument = true;
    t->is_repeated = false;
    return put(t, ")");
}

/* --- repeats --- */

/* A number without a leading zero; -1: none. */
static int read_number(struct translator *t)
{
    size_t len = 0;
    while (len < t->rest.len && is_digit((uint8_t)t->rest.data[len]))
        len++;
    if (len == 0 || (len > 1 && t->rest.data[0] == '0'))
        return -1;
    int value = 0;
    for (size_t i = 0; i < len && value <= REPEAT_MAX; i++)
        value = value * 10 + (t->rest.data[i] - '0');
    skip(t, len);
    return value;
}

/* "{2}", "{2,}", "{2,3}"; what looks otherwise is a literal brace: *is_repeat is false, nothing
 * read. */
static enum err read_counts(struct translator *t, bool *is_repeat, int *min, int *max)
{
    struct str start = t->rest;
    *is_repeat = false;
    skip(t, 1);
    *min = *max = read_number(t);
    if (*min >= 0 && next_is(t, ',')) {
        skip(t, 1);
        *max = next_is(t, '}') ? INT32_MAX : read_number(t);
    }
    if (*min < 0 || *max < 0 || !next_is(t, '}')) {
        t->rest = start;
        return ERR_OK;
    }
    skip(t, 1);
    *is_repeat = true;
    if (*min > REPEAT_MAX || (*max > REPEAT_MAX && *max != INT32_MAX) || *max < *min)
        return refuse(t, WHY_SIZE);
    return ERR_OK;
}

/* A repeat of a repeat, with a flag in between: "a*(?i)*". PCRE2 wants brackets around the first.
 */
static enum err wrap_argument(struct translator *t)
{
    TRY(put(t, "(?:)"));
    char *at = (char *)t->out->data + t->argument;
    memmove(at + 3, at, t->out->len - t->argument - 4);
    memcpy(at, "(?:", 3);
    return ERR_OK;
}

static enum err put_repeat(struct translator *t, const char *text)
{
    if (next_is(t, '?'))
        skip(t, 1);
    if (t->after_repeat)
        return refuse(t, WHY_NESTED);
    if (!t->has_argument)
        return refuse(t, WHY_ARGUMENT);
    if (t->is_repeated)
        TRY(wrap_argument(t));
    t->is_repeated = t->made_repeat = true;
    return put(t, text);
}

static enum err read_brace(struct translator *t)
{
    bool is_repeat;
    int min;
    int max;
    TRY(read_counts(t, &is_repeat, &min, &max));
    if (!is_repeat) {
        t->made_repeat = true; /* RE2/J takes no repeat of a lone brace; nor do we */
        return put_literal(t, pop(t));
    }
    char text[32];
    if (max == INT32_MAX)
        (void)snprintf(text, sizeof(text), "{%d,}", min);
    else
        (void)snprintf(text, sizeof(text), "{%d,%d}", min, max);
    return put_repeat(t, text);
}

/* --- the whole --- */

static enum err read_quoted(struct translator *t)
{
    skip(t, 2);
    while (t->rest.len > 0) {
        if (looking_at(t, "\\E")) {
            skip(t, 2);
            return ERR_OK;
        }
        TRY(put_literal(t, pop(t)));
    }
    return ERR_OK;
}

static enum err read_backslash(struct translator *t)
{
    static const struct {
        const char *from;
        const char *to;
    } anchors[] = {{"\\A", "(?:\\A)"}, {"\\z", "(?:\\z)"}, {"\\b", "(?:\\b)"}, {"\\B", "(?:\\B)"}};
    for (size_t i = 0; i < ARRAY_LEN(anchors); i++) {
        if (!looking_at(t, anchors[i].from))
            continue;
        skip(t, 2);
        return put_atom(t, anchors[i].to);
    }
    if (looking_at(t, "\\Q"))
        return read_quoted(t);
    if (is_class_escape(t)) {
        TRY(begin_atom(t));
        return class_escape(t);
    }
    uint32_t point;
    TRY(read_escape(t, &point));
    return put_literal(t, point);
}

static enum err read_one(struct translator *t)
{
    switch (t->rest.data[0]) {
    case '(':
        return read_open(t);
    case ')':
        return read_close(t);
    case '|':
        skip(t, 1);
        t->has_argument = t->is_repeated = false;
        return put(t, "|");
    case '^':
        skip(t, 1);
        return put_atom(t, "(?:\\A)");
    case '$':
        skip(t, 1);
        return put_atom(t, "(?:\\z)");
    case '.':
        skip(t, 1);
        return put_atom(t, ".");
    case '[':
        return read_class(t);
    case '*':
        skip(t, 1);
        return put_repeat(t, "*");
    case '+':
        skip(t, 1);
        return put_repeat(t, "+");
    case '?':
        skip(t, 1);
        return put_repeat(t, "?");
    case '{':
        return read_brace(t);
    case '\\':
        return read_backslash(t);
    default:
        return put_literal(t, pop(t));
    }
}

static enum err translate(struct translator *t)
{
    if (!utf8_is_valid(slice_of(t->rest.data, t->rest.len)))
        return refuse(t, WHY_UTF8);
    TRY(put(t, "\\A(?:"));
    while (t->rest.len > 0) {
        t->after_repeat = t->made_repeat;
        t->made_repeat = false;
        TRY(read_one(t));
    }
    if (t->depth > 0)
        return refuse(t, WHY_PAREN);
    return put(t, ")\\z");
}

static enum err compile(struct slice pattern, struct topic_regex *regex, const char **why)
{
    int code = 0;
    PCRE2_SIZE where;
    regex->code =
        pcre2_compile(pattern.data, pattern.len, PCRE2_UTF | PCRE2_NEVER_BACKSLASH_C | PCRE2_DOTALL,
                      &code, &where, NULL);
    if (!regex->code) {
        *why = code == PCRE2_ERROR_UNKNOWN_UNICODE_PROPERTY ||
                       code == PCRE2_ERROR_MALFORMED_UNICODE_PROPERTY
                   ? WHY_RANGE
                   : WHY_LARGE;
        return code == PCRE2_ERROR_HEAP_FAILED ? ERR_NOMEM : ERR_INVALID_REGULAR_EXPRESSION;
    }
    regex->data = pcre2_match_data_create(1, NULL);
    regex->context = pcre2_match_context_create(NULL);
    if (!regex->data || !regex->context)
        return ERR_NOMEM;
    (void)pcre2_set_depth_limit(regex->context, MATCH_DEPTH_MAX);
    return ERR_OK;
}

enum err topic_regex_compile(struct str pattern, struct topic_regex **out,
                             char why[TOPIC_REGEX_WHY_MAX])
{
    struct buf text;
    buf_init(&text, OUT_BYTES_MAX);
    struct translator *t = calloc(1, sizeof(*t));
    struct topic_regex *regex = calloc(1, sizeof(*regex));
    enum err err = t && regex ? ERR_OK : ERR_NOMEM;
    if (err == ERR_OK) {
        t->rest = pattern;
        t->out = &text;
        err = translate(t);
    }
    if (err == ERR_OK)
        err = compile(buf_slice(&text), regex, &t->why);
    if (err == ERR_INVALID_REGULAR_EXPRESSION)
        (void)snprintf(why, TOPIC_REGEX_WHY_MAX, "%s", t->why);
    if (err != ERR_OK) {
        topic_regex_free(regex);
        regex = NULL;
    }
    *out = regex;
    free(t);
    buf_deinit(&text);
    return err;
}

void topic_regex_free(struct topic_regex *regex)
{
    if (!regex)
        return;
    pcre2_code_free(regex->code);
    pcre2_match_data_free(regex->data);
    pcre2_match_context_free(regex->context);
    free(regex);
}

bool topic_regex_matches(struct topic_regex *regex, struct str name)
{
    int count =
        pcre2_dfa_match(regex->code, (const uint8_t *)name.data, name.len, 0, PCRE2_ANCHORED,
                        regex->data, regex->context, regex->workspace, WORKSPACE_LEN);
    return count >= 0;
}
