/* Records on their way to standard output; see consume_print.h. */
#include "cli/consume_print.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/interrupt.h"

#define OUT_BYTES ((size_t)1 << 18)

void printer_init(struct printer *printer, const struct args *args)
{
    *printer = (struct printer){
        .topic = args->operands[0],
        .is_quiet = args_has(args, "quiet"),
        .is_json = args_is_json(args),
        .left = args_has(args, "count") ? args_number(args, "count") : INT64_MAX,
    };
    buf_init(&printer->out, BUF_NO_LIMIT);
    buf_init(&printer->separator, BUF_NO_LIMIT);
    const char *escape = args_text(args, "escape");
    printer->format = (struct record_format){
        .partition = args_list_has(args, "print", "partition"),
        .offset = args_list_has(args, "print", "offset"),
        .timestamp = args_list_has(args, "print", "timestamp"),
        .key = args_list_has(args, "print", "key"),
        .headers = args_list_has(args, "print", "headers"),
        .size = args_list_has(args, "print", "size"),
        .value = args_list_has(args, "print", "value"),
        .escape =
            strcmp(escape, "always") == 0 || (strcmp(escape, "auto") == 0 && isatty(STDOUT_FILENO)),
    };
    put_unescaped(&printer->separator,
                  args_has(args, "separator") ? args_text(args, "separator") : "\t");
    printer->format.separator = buf_slice(&printer->separator);
    printer->wants_headers = printer->is_json || printer->format.headers;
}

void printer_deinit(struct printer *printer)
{
    free(printer->headers);
    buf_deinit(&printer->out);
    buf_deinit(&printer->separator);
}

void printer_flush(struct printer *printer)
{
    struct buf *out = &printer->out;
    if (out->err != ERR_OK)
        printer->code = out_fail(EXIT_REFUSED, "cannot print a record: %s", err_text(out->err));
    enum err err = ERR_OK;
    if (out->len && !printer->is_closed && !printer->code)
        err = out_write(buf_slice(out));
    if (err == ERR_CLOSED)
        printer->is_closed = true;
    else if (err != ERR_OK)
        printer->code =
            out_fail(EXIT_REFUSED, "cannot write to standard output: %s", strerror(errno));
    buf_reset(out);
}

static void view_headers(struct printer *printer, const rd_kafka_message_t *message,
                         struct record_view *record)
{
    rd_kafka_headers_t *from;
    if (rdkafka.message_headers(message, &from) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return;
    size_t count = rdkafka.header_cnt(from), len;
    if (count > printer->header_cap) {
        struct record_header *headers = realloc(printer->headers, count * sizeof(*headers));
        if (!headers)
            exit(out_fail(EXIT_REFUSED, "out of memory"));
        printer->headers = headers;
        printer->header_cap = count;
    }
    for (size_t i = 0; i < count; i++) {
        const char *name;
        const void *value;
        rdkafka.header_get_all(from, i, &name, &value, &len);
        printer->headers[i] = (struct record_header){str_of(name), slice_of(value, len)};
    }
    record->headers = printer->headers;
    record->header_count = count;
}

static void print_record(struct printer *printer, const rd_kafka_message_t *message)
{
    rd_kafka_timestamp_type_t type;
    struct record_view record = {
        .topic = str_of(printer->topic),
        .partition = message->partition,
        .offset = message->offset,
        .timestamp_ms = rdkafka.message_timestamp(message, &type),
        .key = slice_of(message->key, message->key_len),
        .value = slice_of(message->payload, message->len),
    };
    record.is_append_time = type == RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME;
    if (printer->wants_headers)
        view_headers(printer, message, &record);
    if (printer->is_json)
        record_put_json(&printer->out, &record);
    else
        record_put_text(&printer->out, &printer->format, &record);
    if (printer->out.len >= OUT_BYTES)
        printer_flush(printer);
}

void printer_put(struct printer *printer, const rd_kafka_message_t *message)
{
    printer->records++;
    printer->bytes += message->key_len + message->len;
    printer->left--;
    if (!printer->is_quiet)
        print_record(printer, message);
}

bool printer_goes_on(const struct printer *printer)
{
    return printer->code == EXIT_FINE && printer->left > 0 && !printer->is_closed;
}

int printer_summary(const struct printer *printer)
{
    int64_t took_ms = clock_now_ms() - printer->began_ms;
    double took_s = (double)(took_ms > 0 ? took_ms : 1) / 1000;
    char size[SIZE_TEXT_MAX];
    size_format(printer->bytes, size);
    if (printer->is_quiet && printer->is_json)
        return out_json(json_pack("{s:s, s:I, s:I, s:f}", "topic", printer->topic, "records",
                                  (json_int_t)printer->records, "bytes", (json_int_t)printer->bytes,
                                  "seconds", took_s));
    if (printer->is_quiet || isatty(STDERR_FILENO))
        out_note("%llu %s (%s) read from '%s' in %.1f s, %.0f/s",
                 (unsigned long long)printer->records, printer->records == 1 ? "record" : "records",
                 size, printer->topic, took_s, (double)printer->records / took_s);
    return EXIT_FINE;
}
