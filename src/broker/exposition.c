/* Prometheus' text format. Pure but for memory; any thread. */
#include "broker/exposition.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/utf8.h"

/* Whole numbers up to here are exact in a double; most are, and printf costs ten times as much. */
#define EXACT_MAX 9007199254740992.0

#define LABELS_BYTES_MAX ((size_t)16 << 10)

/* Durations are told apart by the doubling from 16 us to 17 s; buckets in between are ours. */
#define LE_FIRST_SHIFT 14
#define LE_LAST_SHIFT  34

void exposition_labels_init(struct exposition_labels *labels)
{
    buf_init(&labels->text, LABELS_BYTES_MAX);
}

void exposition_labels_deinit(struct exposition_labels *labels)
{
    buf_deinit(&labels->text);
}

void exposition_labels_reset(struct exposition_labels *labels)
{
    buf_reset(&labels->text);
}

static void begin_label(struct buf *text, const char *key)
{
    if (text->len > 0)
        buf_put_u8(text, ',');
    buf_put(text, key, strlen(key));
    buf_put(text, "=\"", 2);
}

static bool is_plain(struct str value)
{
    for (size_t i = 0; i < value.len; i++) {
        if (value.data[i] == '\\' || value.data[i] == '"' || value.data[i] == '\n')
            return false;
    }
    return true;
}

void exposition_label(struct exposition_labels *labels, const char *key, struct str value)
{
    struct buf *text = &labels->text;
    bool is_text = utf8_is_valid(slice_of(value.data, value.len));
    begin_label(text, key);
    if (is_text && is_plain(value)) {
        buf_put(text, value.data, value.len);
        buf_put_u8(text, '"');
        return;
    }
    for (size_t i = 0; i < value.len; i++) {
        uint8_t c = (uint8_t)value.data[i];
        if (c == '\\' || c == '"')
            buf_put_u8(text, '\\');
        if (c == '\n')
            buf_put(text, "\\n", 2);
        else if (c >= 0x80 && !is_text)
            buf_put(text, "\xef\xbf\xbd", 3);
        else
            buf_put_u8(text, c);
    }
    buf_put_u8(text, '"');
}

/* Digits at the end of `text`; where they begin. */
static char *format_i64(char *end, int64_t value)
{
    uint64_t left = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    char *at = end;
    do
        *--at = (char)('0' + left % 10);
    while ((left /= 10) > 0);
    if (value < 0)
        *--at = '-';
    return at;
}

static void put_i64(struct buf *buf, int64_t value)
{
    char text[24];
    char *end = text + sizeof(text), *at = format_i64(end, value);
    buf_put(buf, at, (size_t)(end - at));
}

void exposition_label_i64(struct exposition_labels *labels, const char *key, int64_t value)
{
    begin_label(&labels->text, key);
    put_i64(&labels->text, value);
    buf_put_u8(&labels->text, '"');
}

void exposition_family(struct buf *buf, const char *name, enum exposition_type type,
                       const char *help)
{
    static const char *const types[] = {[EXPOSITION_COUNTER] = "counter",
                                        [EXPOSITION_GAUGE] = "gauge",
                                        [EXPOSITION_HISTOGRAM] = "histogram",
                                        [EXPOSITION_SUMMARY] = "summary"};
    buf_printf(buf, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, types[type]);
}

static void begin_sample(struct buf *buf, const char *name, const char *suffix,
                         const struct exposition_labels *labels)
{
    buf_put(buf, name, strlen(name));
    buf_put(buf, suffix, strlen(suffix));
    if (labels && labels->text.len > 0) {
        buf_put_u8(buf, '{');
        buf_put(buf, labels->text.data, labels->text.len);
        buf_put_u8(buf, '}');
    }
    buf_put_u8(buf, ' ');
}

void exposition_i64(struct buf *buf, const char *name, const struct exposition_labels *labels,
                    int64_t value)
{
    begin_sample(buf, name, "", labels);
    put_i64(buf, value);
    buf_put_u8(buf, '\n');
}

static void put_f64(struct buf *buf, double value)
{
    if (value > -EXACT_MAX && value < EXACT_MAX && value == (double)(int64_t)value)
        put_i64(buf, (int64_t)value);
    else if (isnan(value))
        buf_put(buf, "NaN", 3);
    else if (isinf(value))
        buf_put(buf, value > 0 ? "+Inf" : "-Inf", 4);
    else
        buf_printf(buf, "%.12g", value);
}

void exposition_f64(struct buf *buf, const char *name, const struct exposition_labels *labels,
                    double value)
{
    begin_sample(buf, name, "", labels);
    put_f64(buf, value);
    buf_put_u8(buf, '\n');
}

void exposition_histogram(struct buf *buf, const char *name, struct exposition_labels *labels,
                          const struct histogram *histogram)
{
    size_t len = labels->text.len;
    for (unsigned shift = LE_FIRST_SHIFT; shift <= LE_LAST_SHIFT; shift++) {
        uint64_t ns = UINT64_C(1) << shift;
        begin_label(&labels->text, "le");
        buf_printf(&labels->text, "%.12g\"", (double)ns / 1e9);
        begin_sample(buf, name, "_bucket", labels);
        put_i64(buf, (int64_t)histogram_count_below(histogram, ns));
        buf_put_u8(buf, '\n');
        labels->text.len = len;
    }
    begin_label(&labels->text, "le");
    buf_put(&labels->text, "+Inf\"", 5);
    begin_sample(buf, name, "_bucket", labels);
    labels->text.len = len;
    put_i64(buf, (int64_t)histogram->count);
    buf_put_u8(buf, '\n');
    begin_sample(buf, name, "_sum", labels);
    put_f64(buf, (double)histogram->sum_ns / 1e9);
    buf_put_u8(buf, '\n');
    begin_sample(buf, name, "_count", labels);
    put_i64(buf, (int64_t)histogram->count);
    buf_put_u8(buf, '\n');
}
