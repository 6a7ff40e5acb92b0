/* Tables, JSON and texts of the command line. Main thread only.
 *
 * Text that came from a cluster or a file is escaped before it reaches a terminal: a topic's config
 * or a record must not move the cursor. */
#include "cli/out.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/utf8.h"

/* A broker's own message may be in it: escaped line by line, because our lines are meant. */
static void say(const char *fmt, va_list list)
{
    char text[4096];
    struct buf escaped;
    vsnprintf(text, sizeof(text), fmt, list);
    buf_init(&escaped, BUF_NO_LIMIT);
    for (const char *line = text;;) {
        size_t len = strcspn(line, "\n");
        put_escaped(&escaped, slice_of(line, len));
        buf_put_u8(&escaped, '\n');
        if (line[len] == 0)
            break;
        line += len + 1;
    }
    fflush(stdout);
    fprintf(stderr, "taffrail: %.*s", (int)escaped.len, (const char *)escaped.data);
    buf_deinit(&escaped);
}

int out_fail(enum exit_code code, const char *fmt, ...)
{
    va_list list;
    va_start(list, fmt);
    say(fmt, list);
    va_end(list);
    return (int)code;
}

void out_note(const char *fmt, ...)
{
    va_list list;
    va_start(list, fmt);
    say(fmt, list);
    va_end(list);
}

enum err out_write(struct slice bytes)
{
    while (bytes.len > 0) {
        ssize_t done = write(STDOUT_FILENO, bytes.data, bytes.len);
        if (done >= 0) {
            bytes.data += done;
            bytes.len -= (size_t)done;
        } else if (errno == EAGAIN) {
            /* Another program made the terminal that we share non-blocking. */
            poll(&(struct pollfd){.fd = STDOUT_FILENO, .events = POLLOUT}, 1, -1);
        } else if (errno != EINTR) {
            return errno == EPIPE ? ERR_CLOSED : ERR_IO;
        }
    }
    return ERR_OK;
}

int out_buf(const struct buf *buf)
{
    if (buf->err != ERR_OK)
        return out_fail(EXIT_REFUSED, "cannot build the output: %s", err_text(buf->err));
    if (out_write(buf_slice(buf)) == ERR_IO)
        return out_fail(EXIT_REFUSED, "cannot write to standard output: %s", strerror(errno));
    return EXIT_FINE;
}

static int dump_to_buf(const char *data, size_t len, void *buf)
{
    buf_put(buf, data, len);
    return 0;
}

int out_json(json_t *doc)
{
    struct buf buf;
    buf_init(&buf, BUF_NO_LIMIT);
    ASSERT(doc != NULL);
    int failed = json_dump_callback(doc, dump_to_buf, &buf,
                                    JSON_INDENT(2) | JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
    json_decref(doc);
    buf_put_u8(&buf, '\n');
    int code = failed ? out_fail(EXIT_REFUSED, "cannot build the JSON output: out of memory")
                      : out_buf(&buf);
    buf_deinit(&buf);
    return code;
}

int out_either(bool is_json, json_t *doc, struct buf *text)
{
    int code = is_json ? out_json(json_incref(doc)) : out_buf(text);
    json_decref(doc);
    buf_deinit(text);
    return code;
}

json_t *json_str(struct str s)
{
    if (str_is_null(s))
        return json_null();
    if (utf8_is_valid(slice_of(s.data, s.len)))
        return json_stringn(s.data, s.len);
    struct buf buf;
    buf_init(&buf, BUF_NO_LIMIT);
    put_escaped(&buf, slice_of(s.data, s.len));
    json_t *string = json_stringn((const char *)buf.data, buf.len);
    buf_deinit(&buf);
    return string;
}

/* ---- text ---- */

static size_t utf8_len(uint8_t lead)
{
    if (lead < 0x80)
        return 1;
    return lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
}

/* C1 controls (U+0080..U+009F) steer terminals as well. */
static bool is_c1_control(const uint8_t *at, size_t len)
{
    return len == 2 && at[0] == 0xc2 && at[1] < 0xa0;
}

static void put_escaped_byte(struct buf *buf, uint8_t byte)
{
    switch (byte) {
    case '\\':
        buf_put(buf, "\\\\", 2);
        break;
    case '\n':
        buf_put(buf, "\\n", 2);
        break;
    case '\r':
        buf_put(buf, "\\r", 2);
        break;
    case '\t':
        buf_put(buf, "\\t", 2);
        break;
    default:
        if (byte >= 0x20 && byte < 0x7f)
            buf_put_u8(buf, byte);
        else
            buf_printf(buf, "\\x%02x", byte);
    }
}

void put_escaped(struct buf *buf, struct slice s)
{
    for (size_t i = 0; i < s.len;) {
        size_t len = utf8_len(s.data[i]);
        if (len > 1 && len <= s.len - i && utf8_is_valid(slice_of(s.data + i, len)) &&
            !is_c1_control(s.data + i, len)) {
            buf_put(buf, s.data + i, len);
            i += len;
        } else {
            put_escaped_byte(buf, s.data[i++]);
        }
    }
}

static int hex_value(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    digit |= 0x20;
    return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

void put_unescaped(struct buf *buf, const char *text)
{
    static const char letters[] = "tnr0\\", bytes[] = "\t\n\r\0\\";
    for (; *text; text++) {
        const char *letter = text[0] == '\\' && text[1] ? strchr(letters, text[1]) : NULL;
        if (letter) {
            buf_put_u8(buf, (uint8_t)bytes[letter - letters]);
            text++;
        } else if (text[0] == '\\' && text[1] == 'x' && hex_value(text[2]) >= 0 &&
                   hex_value(text[3]) >= 0) {
            buf_put_u8(buf, (uint8_t)(hex_value(text[2]) << 4 | hex_value(text[3])));
            text += 3;
        } else {
            buf_put_u8(buf, (uint8_t)*text);
        }
    }
}

void put_json_string(struct buf *buf, struct slice s)
{
    static const char short_forms[] = "btn\0fr"; /* from \b = 8 on */
    buf_put_u8(buf, '"');
    size_t from = 0;
    for (size_t i = 0; i < s.len; i++) {
        uint8_t byte = s.data[i];
        if (byte >= 0x20 && byte != '"' && byte != '\\' && byte != 0x7f)
            continue;
        buf_put(buf, s.data + from, i - from);
        from = i + 1;
        if (byte == '"' || byte == '\\')
            buf_printf(buf, "\\%c", byte);
        else if (byte >= 8 && byte <= 13 && byte != 11)
            buf_printf(buf, "\\%c", short_forms[byte - 8]);
        else
            buf_printf(buf, "\\u%04x", byte);
    }
    buf_put(buf, s.data + from, s.len - from);
    buf_put_u8(buf, '"');
}

static const char base64_digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void put_base64(struct buf *buf, struct slice s)
{
    for (size_t i = 0; i < s.len; i += 3) {
        size_t left = s.len - i;
        uint32_t bits = (uint32_t)s.data[i] << 16;
        if (left > 1)
            bits |= (uint32_t)s.data[i + 1] << 8;
        if (left > 2)
            bits |= s.data[i + 2];
        const char quad[4] = {base64_digits[bits >> 18], base64_digits[bits >> 12 & 63],
                              left > 1 ? base64_digits[bits >> 6 & 63] : '=',
                              left > 2 ? base64_digits[bits & 63] : '='};
        buf_put(buf, quad, sizeof(quad));
    }
}

static int base64_value(char digit)
{
    const char *at = digit ? strchr(base64_digits, digit) : NULL;
    return at ? (int)(at - base64_digits) : -1;
}

enum err base64_decode(struct buf *buf, struct str text)
{
    if (text.len % 4 != 0)
        return ERR_MALFORMED;
    for (size_t i = 0; i < text.len; i += 4) {
        bool is_last = i + 4 == text.len;
        size_t padding = !is_last || text.data[i + 3] != '=' ? 0 : text.data[i + 2] != '=' ? 1 : 2;
        uint32_t bits = 0;
        for (size_t j = 0; j < 4; j++) {
            int value = j >= 4 - padding ? 0 : base64_value(text.data[i + j]);
            if (value < 0)
                return ERR_MALFORMED;
            bits = bits << 6 | (uint32_t)value;
        }
        const uint8_t bytes[3] = {(uint8_t)(bits >> 16), (uint8_t)(bits >> 8), (uint8_t)bits};
        buf_put(buf, bytes, 3 - padding);
    }
    return buf->err;
}

void size_format(uint64_t size_bytes, char text[SIZE_TEXT_MAX])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double size = (double)size_bytes;
    size_t unit = 0;
    while (size >= 1023.95 && unit + 1 < ARRAY_LEN(units)) {
        size /= 1024;
        unit++;
    }
    snprintf(text, SIZE_TEXT_MAX, unit ? "%.1f %s" : "%.0f %s", size, units[unit]);
}

/* ---- tables ---- */

void grid_init(struct grid *table, const struct column *columns, size_t column_count)
{
    *table = (struct grid){.columns = columns, .column_count = column_count};
}

void grid_deinit(struct grid *table)
{
    for (size_t i = 0; i < table->cell_count; i++)
        free(table->cells[i]);
    free(table->cells);
    *table = (struct grid){0};
}

void grid_put(struct grid *table, const char *fmt, ...)
{
    va_list list;
    char *text = NULL;
    if (table->cell_count == table->cell_cap) {
        size_t cap = table->cell_cap ? table->cell_cap * 2 : 64;
        char **cells = realloc(table->cells, cap * sizeof(*cells));
        if (!cells)
            exit(out_fail(EXIT_REFUSED, "out of memory"));
        table->cells = cells;
        table->cell_cap = cap;
    }
    va_start(list, fmt);
    int len = vasprintf(&text, fmt, list);
    va_end(list);
    struct buf escaped;
    buf_init(&escaped, BUF_NO_LIMIT);
    if (len >= 0)
        put_escaped(&escaped, slice_of(text, (size_t)len));
    buf_put_u8(&escaped, 0);
    free(text);
    if (len < 0 || escaped.err != ERR_OK)
        exit(out_fail(EXIT_REFUSED, "out of memory"));
    table->cells[table->cell_count++] = (char *)escaped.data;
}

/* Code points, which is columns for all that our tables hold. */
static size_t text_width(const char *text)
{
    size_t width = 0;
    for (; *text; text++)
        width += ((uint8_t)*text & 0xc0) != 0x80;
    return width;
}

static void put_cell(struct buf *out, const char *text, size_t width, bool is_number, bool is_last)
{
    size_t own = text_width(text);
    int padding = (int)(width - own);
    if (is_number)
        buf_printf(out, "%*s", padding, "");
    buf_put(out, text, strlen(text));
    if (!is_last)
        buf_printf(out, "%*s", (is_number ? 0 : padding) + 2, "");
}

static void put_row(const struct grid *table, struct buf *out, const size_t *widths,
                    char *const *cells)
{
    size_t n = table->column_count;
    for (size_t i = 0; i < n; i++) {
        const char *text = cells ? cells[i] : table->columns[i].title;
        put_cell(out, text, widths[i], table->columns[i].is_number, i + 1 == n);
    }
    while (out->len && out->data[out->len - 1] == ' ')
        out->len--;
    buf_put_u8(out, '\n');
}

void grid_print(const struct grid *table, struct buf *out)
{
    size_t widths[16], n = table->column_count;
    ASSERT(n <= ARRAY_LEN(widths));
    ASSERT(table->cell_count % n == 0);
    if (table->cell_count == 0)
        return;
    for (size_t i = 0; i < n; i++)
        widths[i] = text_width(table->columns[i].title);
    for (size_t i = 0; i < table->cell_count; i++) {
        size_t width = text_width(table->cells[i]);
        if (width > widths[i % n])
            widths[i % n] = width;
    }
    put_row(table, out, widths, NULL);
    for (size_t i = 0; i < table->cell_count; i += n)
        put_row(table, out, widths, table->cells + i);
}
