/* The reader of Java's .properties format.
 *
 * A natural line ends at \n, \r or \r\n. Blank lines and those whose first character is # or ! are
 * skipped. A line that ends in an odd number of backslashes goes on in the next one, whose leading
 * white space is dropped. The key ends at the first unescaped '=', ':' or white space. \t \n \r \f
 * and \uXXXX are escapes; a backslash before anything else is dropped. Bytes are taken as they are:
 * Java reads Latin-1, but people write UTF-8.
 *
 * Used at start only. */
#include "broker/properties.h"

#include "base/assert.h"

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\f';
}

static bool is_line_end(char c)
{
    return c == '\n' || c == '\r';
}

struct reader {
    const char *at;
    const char *end;
    size_t line;
    struct arena *arena;
};

/* Past the end of the natural line. */
static void skip_line(struct reader *r)
{
    while (r->at < r->end && !is_line_end(*r->at))
        r->at++;
    if (r->at == r->end)
        return;
    char first = *r->at++;
    if (first == '\r' && r->at < r->end && *r->at == '\n')
        r->at++;
    r->line++;
}

static void skip_space(struct reader *r)
{
    while (r->at < r->end && is_space(*r->at))
        r->at++;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* A code unit of \uXXXX as UTF-8; lone surrogates become three bytes as they are. */
static size_t utf8_put(char *to, uint32_t code)
{
    if (code < 0x80) {
        to[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        to[0] = (char)(0xc0 | (code >> 6));
        to[1] = (char)(0x80 | (code & 0x3f));
        return 2;
    }
    to[0] = (char)(0xe0 | (code >> 12));
    to[1] = (char)(0x80 | ((code >> 6) & 0x3f));
    to[2] = (char)(0x80 | (code & 0x3f));
    return 3;
}

/* The logical line with its continuations joined, escapes still in it. */
static enum err join_line(struct reader *r, struct str *line)
{
    char *to = arena_alloc(r->arena, (size_t)(r->end - r->at) + 1);
    if (!to)
        return ERR_NOMEM;
    size_t len = 0;
    while (r->at < r->end && !is_line_end(*r->at)) {
        char c = *r->at++;
        if (c != '\\') {
            to[len++] = c;
            continue;
        }
        if (r->at == r->end)
            break; /* a backslash at the end of the text */
        if (is_line_end(*r->at)) {
            skip_line(r);
            skip_space(r);
            continue;
        }
        to[len++] = c;
        to[len++] = *r->at++;
    }
    skip_line(r);
    *line = (struct str){to, len};
    return ERR_OK;
}

static enum err unescape(struct str text, struct arena *arena, struct str *out)
{
    char *to = arena_alloc(arena, text.len + 1);
    if (!to)
        return ERR_NOMEM;
    size_t len = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] != '\\' || i + 1 == text.len) {
            to[len++] = text.data[i];
            continue;
        }
        char c = text.data[++i];
        if (c != 'u') {
            to[len++] = (char)(c == 't'   ? '\t'
                               : c == 'n' ? '\n'
                               : c == 'r' ? '\r'
                               : c == 'f' ? '\f'
                                          : c);
            continue;
        }
        uint32_t code = 0;
        for (int digit = 0; digit < 4; digit++) {
            int value = ++i < text.len ? hex_value(text.data[i]) : -1;
            if (value < 0)
                return ERR_MALFORMED;
            code = code << 4 | (uint32_t)value;
        }
        len += utf8_put(to + len, code); /* six bytes became at most three */
    }
    to[len] = '\0';
    *out = (struct str){to, len};
    return ERR_OK;
}

static enum err add(struct properties *properties, struct arena *arena, struct property property)
{
    if (properties->count == properties->cap) {
        size_t cap = properties->cap ? properties->cap * 2 : 64;
        struct property *items = arena_array(arena, cap, sizeof(*items));
        if (!items)
            return ERR_NOMEM;
        if (properties->count)
            memcpy(items, properties->items, properties->count * sizeof(*items));
        properties->items = items;
        properties->cap = cap;
    }
    properties->items[properties->count++] = property;
    return ERR_OK;
}

static enum err split_line(struct str line, struct arena *arena, struct property *property)
{
    size_t key_len = 0;
    while (key_len < line.len && line.data[key_len] != '=' && line.data[key_len] != ':' &&
           !is_space(line.data[key_len]))
        key_len += line.data[key_len] == '\\' && key_len + 1 < line.len ? 2 : 1;
    size_t at = key_len;
    while (at < line.len && is_space(line.data[at]))
        at++;
    if (at < line.len && (line.data[at] == '=' || line.data[at] == ':')) {
        at++;
        while (at < line.len && is_space(line.data[at]))
            at++;
    }
    TRY(unescape((struct str){line.data, key_len}, arena, &property->key));
    return unescape((struct str){line.data + at, line.len - at}, arena, &property->value);
}

enum err properties_parse(struct str text, struct arena *arena, struct properties *properties,
                          size_t *error_line)
{
    *properties = (struct properties){.count = 0};
    struct reader r = {text.data, text.data + text.len, 1, arena};
    while (r.at < r.end) {
        skip_space(&r);
        if (r.at == r.end)
            break;
        if (is_line_end(*r.at) || *r.at == '#' || *r.at == '!') {
            skip_line(&r);
            continue;
        }
        struct property property = {.line = r.line};
        *error_line = r.line;
        struct str line;
        TRY(join_line(&r, &line));
        TRY(split_line(line, arena, &property));
        TRY(add(properties, arena, property));
    }
    return ERR_OK;
}

struct str properties_get(const struct properties *properties, const char *key)
{
    for (size_t i = properties->count; i > 0; i--)
        if (str_eq_cstr(properties->items[i - 1].key, key))
            return properties->items[i - 1].value;
    return STR_NULL;
}

static void put_escaped(struct buf *buf, struct str text, bool is_key)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i];
        if (c == '\n' || c == '\r' || c == '\t' || c == '\f') {
            buf_printf(buf, "\\%c", c == '\n' ? 'n' : c == '\r' ? 'r' : c == '\t' ? 't' : 'f');
            continue;
        }
        bool needs = c == '\\' || c == '#' || c == '!' || c == '=' || c == ':' ||
                     (c == ' ' && (is_key || i == 0));
        if (needs)
            buf_put_u8(buf, '\\');
        buf_put_u8(buf, (uint8_t)c);
    }
}

void properties_put(struct buf *buf, struct str key, struct str value)
{
    put_escaped(buf, key, true);
    buf_put_u8(buf, '=');
    put_escaped(buf, value, false);
    buf_put_u8(buf, '\n');
}
