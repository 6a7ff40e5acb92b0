/* Messages as JSON. Pure; any thread.
 *
 * As Kafka's own converters write it: fields that the version lacks are left out, and so are
 * tagged fields at their default; bytes are base64, uuids are in Kafka's form, records that are
 * not shown are "<name>SizeInBytes". Unknown tagged fields are not shown. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "base/assert.h"
#include "wire/codec_internal.h"

struct printer {
    struct buf *out;
    bool with_records;
    int16_t version;
};

static void print_struct(struct printer *p, const struct msg_struct *type, const void *msg);

/* How many bytes the UTF-8 sequence at `text` has; 0 if it is none. */
static size_t utf8_len(const uint8_t *text, size_t len)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    uint8_t lead = text[0];
    if (lead < 0x80)
        return 1;
    size_t n = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
    if (lead < 0xc0 || lead > 0xf7 || n > len)
        return 0;
    uint32_t point = lead & (0xffu >> (n + 1));
    for (size_t i = 1; i < n; i++) {
        if ((text[i] & 0xc0) != 0x80)
            return 0;
        point = point << 6 | (text[i] & 0x3f);
    }
    bool is_surrogate = point >= 0xd800 && point <= 0xdfff;
    return point < least[n] || point > 0x10ffff || is_surrogate ? 0 : n;
}

static void print_text(struct buf *out, const char *text, size_t len)
{
    const uint8_t *at = (const uint8_t *)text;
    buf_put_u8(out, '"');
    for (size_t i = 0; i < len;) {
        size_t n = utf8_len(at + i, len - i);
        if (n == 0)
            buf_put(out, "\xef\xbf\xbd", 3);
        else if (at[i] < 0x20 || at[i] == 0x7f)
            buf_printf(out, "\\u%04x", at[i]);
        else if (at[i] == '"' || at[i] == '\\')
            buf_printf(out, "\\%c", at[i]);
        else
            buf_put(out, at + i, n);
        i += n ? n : 1;
    }
    buf_put_u8(out, '"');
}

static void print_base64(struct buf *out, struct slice bytes)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    buf_put_u8(out, '"');
    for (size_t i = 0; i < bytes.len; i += 3) {
        size_t n = bytes.len - i < 3 ? bytes.len - i : 3;
        uint32_t bits = (uint32_t)bytes.data[i] << 16;
        if (n > 1)
            bits |= (uint32_t)bytes.data[i + 1] << 8;
        if (n > 2)
            bits |= bytes.data[i + 2];
        char four[4] = {digits[bits >> 18], digits[bits >> 12 & 63],
                        n > 1 ? digits[bits >> 6 & 63] : '=', n > 2 ? digits[bits & 63] : '='};
        buf_put(out, four, sizeof(four));
    }
    buf_put_u8(out, '"');
}

/* Always a number that reads as a floating one: 3.0, not 3. JSON has no other words than null for
 * what is not finite. */
static void print_double(struct buf *out, double v)
{
    char text[32];
    if (!isfinite(v)) {
        buf_put(out, "null", 4);
        return;
    }
    snprintf(text, sizeof(text), "%.17g", v);
    buf_printf(out, "%s%s", text, strpbrk(text, ".e") ? "" : ".0");
}

static void print_bytes(struct buf *out, struct slice bytes)
{
    if (bytes.data)
        print_base64(out, bytes);
    else
        buf_put(out, "null", 4);
}

static void print_value(struct printer *p, const struct msg_field *field, const void *at)
{
    struct buf *out = p->out;
    switch ((enum msg_kind)field->kind) {
    case MSG_BOOL:
        buf_printf(out, "%s", *(const bool *)at ? "true" : "false");
        return;
    case MSG_I8:
        buf_printf(out, "%" PRId8, *(const int8_t *)at);
        return;
    case MSG_I16:
        buf_printf(out, "%" PRId16, *(const int16_t *)at);
        return;
    case MSG_U16:
        buf_printf(out, "%" PRIu16, *(const uint16_t *)at);
        return;
    case MSG_I32:
        buf_printf(out, "%" PRId32, *(const int32_t *)at);
        return;
    case MSG_U32:
        buf_printf(out, "%" PRIu32, *(const uint32_t *)at);
        return;
    case MSG_I64:
        buf_printf(out, "%" PRId64, *(const int64_t *)at);
        return;
    case MSG_F64:
        print_double(out, *(const double *)at);
        return;
    case MSG_UUID: {
        char text[UUID_TEXT_LEN + 1];
        uuid_format(*(const struct uuid *)at, text);
        buf_printf(out, "\"%s\"", text);
        return;
    }
    case MSG_STRING: {
        struct str s = *(const struct str *)at;
        if (s.data)
            print_text(out, s.data, s.len);
        else
            buf_put(out, "null", 4);
        return;
    }
    case MSG_BYTES:
    case MSG_RECORDS:
        print_bytes(out, *(const struct slice *)at);
        return;
    case MSG_STRUCT:
        if (field->is_pointer)
            at = *(void *const *)at;
        if (at)
            print_struct(p, field->type, at);
        else
            buf_put(out, "null", 4);
        return;
    }
    UNREACHABLE();
}

static void print_array(struct printer *p, const struct msg_field *field, const void *at)
{
    const struct codec_array *array = at;
    if (array->len < 0) {
        buf_put(p->out, "null", 4);
        return;
    }
    size_t size = codec_kind_size(field);
    buf_put_u8(p->out, '[');
    for (int32_t i = 0; i < array->len; i++) {
        if (i)
            buf_put_u8(p->out, ',');
        print_value(p, field, (const char *)array->items + (size_t)i * size);
    }
    buf_put_u8(p->out, ']');
}

static void print_field(struct printer *p, const struct msg_field *field, const void *msg)
{
    const void *at = codec_at_const(msg, field);
    if (field->kind == MSG_RECORDS) {
        const struct slice *records = at;
        if (records->data && !p->with_records) {
            buf_printf(p->out, "\"%sSizeInBytes\":%zu", field->name, records->len);
            return;
        }
    }
    buf_printf(p->out, "\"%s\":", field->name);
    if (field->is_array)
        print_array(p, field, at);
    else
        print_value(p, field, at);
}

static void print_struct(struct printer *p, const struct msg_struct *type, const void *msg)
{
    bool first = true;
    buf_put_u8(p->out, '{');
    for (const struct msg_field *f = type->fields; f < type->fields + type->fields_len; f++) {
        if (!codec_field_is_in(f, p->version))
            continue;
        if (codec_field_is_tagged(f, p->version) && codec_field_is_default(f, msg))
            continue;
        if (!first)
            buf_put_u8(p->out, ',');
        first = false;
        print_field(p, f, msg);
    }
    buf_put_u8(p->out, '}');
}

void codec_print(const struct msg_schema *schema, int16_t version, const void *msg,
                 bool with_records, struct buf *out)
{
    struct printer p = {out, with_records, version};
    print_struct(&p, schema->root, msg);
}
