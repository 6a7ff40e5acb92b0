/* Records between bytes, text and JSON. Pure.
 *
 * JSON cannot hold arbitrary bytes in a string, so a key, value or header value that is not UTF-8
 * goes under its name with "_base64" added: what is read back is byte for byte what was printed. */
#include "cli/record.h"

#include <jansson.h>
#include <stdlib.h>

#include "base/time.h"
#include "base/utf8.h"
#include "cli/out.h"

/* Millions of records go through here: no printf. */
#define PUT_LITERAL(out, text) buf_put(out, text, sizeof(text) - 1)

static void put_number(struct buf *out, int64_t number)
{
    char digits[20];
    size_t at = sizeof(digits);
    uint64_t left = number < 0 ? -(uint64_t)number : (uint64_t)number;
    do {
        digits[--at] = (char)('0' + left % 10);
        left /= 10;
    } while (left);
    if (number < 0)
        buf_put_u8(out, '-');
    buf_put(out, digits + at, sizeof(digits) - at);
}

/* ---- text ---- */

static void put_bytes(struct buf *out, const struct record_format *format, struct slice bytes)
{
    if (bytes.data == NULL)
        buf_put(out, "null", 4);
    else if (format->escape)
        put_escaped(out, bytes);
    else
        buf_put(out, bytes.data, bytes.len);
}

static void put_headers(struct buf *out, const struct record_format *format,
                        const struct record_view *record)
{
    for (size_t i = 0; i < record->header_count; i++) {
        const struct record_header *header = &record->headers[i];
        if (i > 0)
            buf_put_u8(out, ',');
        put_bytes(out, format, slice_of(header->key.data, header->key.len));
        buf_put_u8(out, '=');
        put_bytes(out, format, header->value);
    }
}

static void put_separator(struct buf *out, const struct record_format *format, bool *is_first)
{
    if (!*is_first)
        buf_put(out, format->separator.data, format->separator.len);
    *is_first = false;
}

static void put_timestamp(struct buf *out, int64_t timestamp_ms)
{
    char text[TIME_TEXT_MAX];
    if (timestamp_ms < 0) {
        buf_put_u8(out, '-');
        return;
    }
    time_format(timestamp_ms, text);
    buf_put(out, text, strlen(text));
}

void record_put_text(struct buf *out, const struct record_format *format,
                     const struct record_view *record)
{
    bool is_first = true;
    if (format->partition) {
        put_separator(out, format, &is_first);
        put_number(out, record->partition);
    }
    if (format->offset) {
        put_separator(out, format, &is_first);
        put_number(out, record->offset);
    }
    if (format->timestamp) {
        put_separator(out, format, &is_first);
        put_timestamp(out, record->timestamp_ms);
    }
    if (format->key) {
        put_separator(out, format, &is_first);
        put_bytes(out, format, record->key);
    }
    if (format->headers) {
        put_separator(out, format, &is_first);
        put_headers(out, format, record);
    }
    if (format->size) {
        put_separator(out, format, &is_first);
        put_number(out, (int64_t)(record->key.len + record->value.len));
    }
    if (format->value) {
        put_separator(out, format, &is_first);
        put_bytes(out, format, record->value);
    }
    buf_put_u8(out, '\n');
}

/* ---- JSON out ---- */

static void put_json_bytes(struct buf *out, const char *name, struct slice bytes)
{
    buf_put_u8(out, '"');
    buf_put(out, name, strlen(name));
    if (bytes.data == NULL) {
        PUT_LITERAL(out, "\":null");
    } else if (utf8_is_valid(bytes)) {
        PUT_LITERAL(out, "\":");
        put_json_string(out, bytes);
    } else {
        PUT_LITERAL(out, "_base64\":\"");
        put_base64(out, bytes);
        buf_put_u8(out, '"');
    }
}

void record_put_json(struct buf *out, const struct record_view *record)
{
    PUT_LITERAL(out, "{\"topic\":\"");
    buf_put(out, record->topic.data, record->topic.len);
    PUT_LITERAL(out, "\",\"partition\":");
    put_number(out, record->partition);
    PUT_LITERAL(out, ",\"offset\":");
    put_number(out, record->offset);
    PUT_LITERAL(out, ",\"timestamp\":");
    put_number(out, record->timestamp_ms);
    PUT_LITERAL(out, ",\"timestamp_type\":");
    if (record->is_append_time)
        PUT_LITERAL(out, "\"append\",");
    else
        PUT_LITERAL(out, "\"create\",");
    put_json_bytes(out, "key", record->key);
    buf_put_u8(out, ',');
    put_json_bytes(out, "value", record->value);
    PUT_LITERAL(out, ",\"headers\":[");
    for (size_t i = 0; i < record->header_count; i++) {
        if (i > 0)
            buf_put_u8(out, ',');
        PUT_LITERAL(out, "{\"key\":");
        put_json_string(out, slice_of(record->headers[i].key.data, record->headers[i].key.len));
        buf_put_u8(out, ',');
        put_json_bytes(out, "value", record->headers[i].value);
        buf_put_u8(out, '}');
    }
    buf_put(out, "]}\n", 3);
}

/* ---- JSON in ---- */

static enum err refuse(struct buf *why, const char *what)
{
    buf_printf(why, "%s", what);
    return ERR_MALFORMED;
}

static enum err read_base64(const json_t *text, struct arena *arena, struct slice *bytes,
                            struct buf *why)
{
    struct buf decoded;
    buf_init(&decoded, BUF_NO_LIMIT);
    enum err err = ERR_MALFORMED;
    if (json_is_string(text))
        err = base64_decode(&decoded,
                            (struct str){json_string_value(text), json_string_length(text)});
    if (err == ERR_OK) {
        *bytes = arena_slice(
            arena, slice_of(decoded.data ? decoded.data : (const uint8_t *)"", decoded.len));
        err = bytes->data ? ERR_OK : ERR_NOMEM;
    }
    if (err != ERR_OK)
        buf_printf(why, "a field that ends in _base64 is not base64 text");
    buf_deinit(&decoded);
    return err;
}

/* A string's own bytes, null, or any other JSON value as compact text. */
static enum err read_bytes(const json_t *value, struct arena *arena, struct slice *bytes,
                           struct buf *why)
{
    *bytes = SLICE_NULL;
    if (json_is_null(value))
        return ERR_OK;
    if (json_is_string(value)) {
        *bytes = arena_slice(arena, slice_of(json_string_value(value), json_string_length(value)));
    } else {
        char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
        if (text)
            *bytes = arena_slice(arena, slice_of(text, strlen(text)));
        free(text);
    }
    if (bytes->data)
        return ERR_OK;
    buf_printf(why, "out of memory");
    return ERR_NOMEM;
}

static enum err read_header(const char *key, size_t key_len, const json_t *value, bool is_base64,
                            struct arena *arena, struct record_header *header, struct buf *why)
{
    header->key = arena_str(arena, (struct str){key, key_len});
    if (header->key.data == NULL)
        return ERR_NOMEM;
    return is_base64 ? read_base64(value, arena, &header->value, why)
                     : read_bytes(value, arena, &header->value, why);
}

static enum err read_header_object(const json_t *item, struct arena *arena,
                                   struct record_header *header, struct buf *why)
{
    const json_t *key = json_object_get(item, "key"), *value = json_object_get(item, "value");
    const json_t *coded = json_object_get(item, "value_base64");
    if (!json_is_string(key) || (!value && !coded))
        return refuse(why, "each of \"headers\" needs a \"key\" that is a string and a \"value\"");
    return read_header(json_string_value(key), json_string_length(key), coded ? coded : value,
                       coded != NULL, arena, header, why);
}

static enum err read_headers(json_t *json, struct arena *arena, struct record_view *record,
                             struct buf *why)
{
    size_t count = json_is_array(json) ? json_array_size(json) : json_object_size(json), i = 0;
    struct record_header *headers = arena_array(arena, count, sizeof(*headers));
    if (headers == NULL)
        return ERR_NOMEM;
    const char *name;
    json_t *item;
    if (json_is_array(json)) {
        json_array_foreach(json, i, item) TRY(read_header_object(item, arena, &headers[i], why));
    } else if (json_is_object(json)) {
        json_object_foreach(json, name, item)
            TRY(read_header(name, strlen(name), item, false, arena, &headers[i++], why));
    } else {
        return refuse(why, "\"headers\" is an object or an array");
    }
    record->headers = headers;
    record->header_count = count;
    return ERR_OK;
}

static enum err read_timestamp(const json_t *value, struct record_view *record, struct buf *why)
{
    if (json_is_integer(value) && json_integer_value(value) >= -1) {
        record->timestamp_ms = json_integer_value(value);
        return ERR_OK;
    }
    if (json_is_string(value) &&
        time_parse(str_of(json_string_value(value)), &record->timestamp_ms) == ERR_OK)
        return ERR_OK;
    return refuse(why, "\"timestamp\" is milliseconds since 1970 or text such as "
                       "\"2026-01-01T00:00:00Z\"");
}

static enum err read_partition(const json_t *value, struct record_view *record, struct buf *why)
{
    json_int_t number = json_integer_value(value);
    if (!json_is_integer(value) || number < 0 || number > INT32_MAX)
        return refuse(why, "\"partition\" is a number from 0 on");
    record->partition = (int32_t)number;
    return ERR_OK;
}

static enum err read_field(const char *name, json_t *value, struct arena *arena,
                           struct record_view *record, struct buf *why)
{
    if (strcmp(name, "key") == 0)
        return read_bytes(value, arena, &record->key, why);
    if (strcmp(name, "value") == 0)
        return read_bytes(value, arena, &record->value, why);
    if (strcmp(name, "key_base64") == 0)
        return read_base64(value, arena, &record->key, why);
    if (strcmp(name, "value_base64") == 0)
        return read_base64(value, arena, &record->value, why);
    if (strcmp(name, "headers") == 0)
        return read_headers(value, arena, record, why);
    if (strcmp(name, "timestamp") == 0)
        return read_timestamp(value, record, why);
    if (strcmp(name, "partition") == 0)
        return read_partition(value, record, why);
    /* What consume prints beside these is of the place it came from. */
    if (strcmp(name, "topic") == 0 || strcmp(name, "offset") == 0 ||
        strcmp(name, "timestamp_type") == 0)
        return ERR_OK;
    static const char *const names[] = {"key",     "value",     "key_base64", "value_base64",
                                        "headers", "timestamp", "partition"};
    const char *near = NULL;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (strcasecmp(names[i], name) == 0)
            near = names[i];
    }
    buf_printf(why, "unknown field \"%s\"; ", name);
    if (near)
        buf_printf(why, "did you mean \"%s\"?", near);
    else
        buf_printf(why, "a record has key, value, headers, partition, timestamp");
    return ERR_MALFORMED;
}

enum err record_parse_json(struct str line, struct arena *arena, struct record_view *record,
                           struct buf *why)
{
    json_error_t error;
    *record = (struct record_view){.partition = -1, .offset = -1, .timestamp_ms = -1};
    json_t *json = json_loadb(line.data, line.len, JSON_ALLOW_NUL | JSON_DECODE_ANY, &error);
    if (json == NULL) {
        buf_printf(why, "not JSON: %s at column %d", error.text, error.column);
        return ERR_MALFORMED;
    }
    enum err err = ERR_OK;
    const char *name;
    json_t *value;
    if (!json_is_object(json))
        err = refuse(why, "not a JSON object, such as {\"key\": \"a\", \"value\": \"b\"}");
    json_object_foreach(json, name, value)
    {
        err = read_field(name, value, arena, record, why);
        if (err != ERR_OK)
            break;
    }
    json_decref(json);
    return err;
}
