/* Reads partitions from one place to another and prints their records.
 *
 * Each partition gets a range [from, to) of offsets before anything is read: positions are resolved
 * against the low and high watermarks and, for times, by the broker's time index. Reading ends
 * where all ranges are read, after --count records, or at Ctrl-C; with --follow there is no end. A
 * record at the end of a range may be missing (compacted, a transaction's marker): the broker's end
 * of the partition ends the range as well. No group is joined and no offset is committed.
 *
 * librdkafka fetches ahead on its threads into one queue, from which the main thread takes records
 * by the thousand and formats them into one buffer, written when it is full or nothing is waiting.
 */
#include "cli/consume.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "cli/interrupt.h"
#include "cli/position.h"
#include "cli/record.h"
#include "cli/rk.h"

#define BATCH_RECORDS    4096
#define POLL_MS          100
#define OUT_BYTES        ((size_t)1 << 18)
#define PREFETCH_KIB     262144 /* of all partitions together */
#define PREFETCH_KIB_MIN 256

struct range {
    int32_t partition;
    int64_t from, to; /* to: INT64_MAX without an end */
    bool is_reading;
};

struct consumer {
    const struct args *args;
    const char *topic;
    rd_kafka_t *rk;
    rd_kafka_topic_t *rkt;
    rd_kafka_queue_t *queue;
    struct range *ranges; /* owned, by partition */
    size_t range_count, reading_count;
    struct position from, to;
    bool has_to, is_follow, is_quiet, is_json, wants_headers;
    int64_t from_ms, to_ms; /* of a time range; INT64_MIN and INT64_MAX without */
    int64_t left;           /* records still wanted; INT64_MAX: all */
    struct record_format format;
    struct buf separator;          /* the bytes of format.separator */
    struct record_header *headers; /* owned: of the record being printed */
    size_t header_cap;
    struct buf out;
    bool is_out_closed; /* the reader of our output went away */
    int code;
    uint64_t records, bytes;
    int64_t began_ms;
};

/* ---- output ---- */

static void flush_out(struct consumer *consumer)
{
    struct buf *out = &consumer->out;
    if (out->err != ERR_OK)
        consumer->code = out_fail(EXIT_REFUSED, "cannot print a record: %s", err_text(out->err));
    enum err err = ERR_OK;
    if (out->len && !consumer->is_out_closed && !consumer->code)
        err = out_write(buf_slice(out));
    if (err == ERR_CLOSED)
        consumer->is_out_closed = true;
    else if (err != ERR_OK)
        consumer->code =
            out_fail(EXIT_REFUSED, "cannot write to standard output: %s", strerror(errno));
    buf_reset(out);
}

static void view_headers(struct consumer *consumer, const rd_kafka_message_t *message,
                         struct record_view *record)
{
    rd_kafka_headers_t *from;
    if (rdkafka.message_headers(message, &from) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return;
    size_t count = rdkafka.header_cnt(from), len;
    if (count > consumer->header_cap) {
        struct record_header *headers = realloc(consumer->headers, count * sizeof(*headers));
        if (!headers)
            exit(out_fail(EXIT_REFUSED, "out of memory"));
        consumer->headers = headers;
        consumer->header_cap = count;
    }
    for (size_t i = 0; i < count; i++) {
        const char *name;
        const void *value;
        rdkafka.header_get_all(from, i, &name, &value, &len);
        consumer->headers[i] = (struct record_header){str_of(name), slice_of(value, len)};
    }
    record->headers = consumer->headers;
    record->header_count = count;
}

static void print_record(struct consumer *consumer, const rd_kafka_message_t *message,
                         int64_t timestamp_ms, bool is_append_time)
{
    struct record_view record = {
        .topic = str_of(consumer->topic),
        .partition = message->partition,
        .offset = message->offset,
        .timestamp_ms = timestamp_ms,
        .is_append_time = is_append_time,
        .key = slice_of(message->key, message->key_len),
        .value = slice_of(message->payload, message->len),
    };
    if (consumer->wants_headers)
        view_headers(consumer, message, &record);
    if (consumer->is_json)
        record_put_json(&consumer->out, &record);
    else
        record_put_text(&consumer->out, &consumer->format, &record);
    if (consumer->out.len >= OUT_BYTES)
        flush_out(consumer);
}

/* ---- reading ---- */

static struct range *find_range(struct consumer *consumer, int32_t partition)
{
    size_t low = 0, high = consumer->range_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (consumer->ranges[middle].partition < partition)
            low = middle + 1;
        else
            high = middle;
    }
    ASSERT(low < consumer->range_count && consumer->ranges[low].partition == partition);
    return &consumer->ranges[low];
}

static void end_range(struct consumer *consumer, struct range *range)
{
    if (!range->is_reading)
        return;
    range->is_reading = false;
    consumer->reading_count--;
    rdkafka.consume_stop(consumer->rkt, range->partition);
}

static void on_consume_error(struct consumer *consumer, const rd_kafka_message_t *message)
{
    if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        if (!consumer->is_follow)
            end_range(consumer, find_range(consumer, message->partition));
        return;
    }
    /* librdkafka goes on by itself after these. */
    if (message->err == RD_KAFKA_RESP_ERR__TRANSPORT ||
        message->err == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN ||
        message->err == RD_KAFKA_RESP_ERR__RESOLVE) {
        if (consumer->is_follow)
            return;
    }
    consumer->code = rk_fail(message->err, rdkafka.message_errstr(message), "partition %d of '%s'",
                             message->partition, consumer->topic);
}

static void on_record(struct consumer *consumer, const rd_kafka_message_t *message)
{
    rd_kafka_timestamp_type_t type;
    struct range *range = find_range(consumer, message->partition);
    if (!range->is_reading || consumer->left == 0)
        return;
    if (message->offset + 1 >= range->to)
        end_range(consumer, range);
    if (message->offset >= range->to)
        return;
    int64_t timestamp_ms = rdkafka.message_timestamp(message, &type);
    if (timestamp_ms < consumer->from_ms || timestamp_ms >= consumer->to_ms)
        return;
    consumer->records++;
    consumer->bytes += message->key_len + message->len;
    consumer->left--;
    if (!consumer->is_quiet)
        print_record(consumer, message, timestamp_ms, type == RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME);
}

static bool may_go_on(const struct consumer *consumer)
{
    return consumer->code == EXIT_FINE && consumer->left > 0 && consumer->reading_count > 0 &&
           !consumer->is_out_closed && !interrupt_is_set();
}

/* Follow mode with a broker that went away waits for it; without follow, --timeout ends that. */
static bool is_silent_too_long(const struct consumer *consumer, int64_t heard_ms)
{
    return !consumer->is_follow && clock_now_ms() - heard_ms > args_timeout_ms(consumer->args);
}

static void read_records(struct consumer *consumer)
{
    static rd_kafka_message_t *batch[BATCH_RECORDS];
    int64_t heard_ms = clock_now_ms();
    while (may_go_on(consumer)) {
        ssize_t count = rdkafka.consume_batch_queue(consumer->queue, POLL_MS, batch, BATCH_RECORDS);
        for (ssize_t i = 0; i < count; i++) {
            if (batch[i]->err)
                on_consume_error(consumer, batch[i]);
            else
                on_record(consumer, batch[i]);
            rdkafka.message_destroy(batch[i]);
        }
        rdkafka.poll(consumer->rk, 0);
        if (count < BATCH_RECORDS)
            flush_out(consumer);
        if (count > 0)
            heard_ms = clock_now_ms();
        else if (is_silent_too_long(consumer, heard_ms))
            consumer->code =
                out_fail(EXIT_UNREACHABLE,
                         "nothing came from the brokers within the timeout; are they "
                         "reachable at the addresses they advertise? See 'taffrail cluster "
                         "info'");
    }
    flush_out(consumer);
}

/* ---- ranges ---- */

static int64_t wall_clock_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Times that brokers give a meaning of their own. */
enum { TIME_OF_END = -1, TIME_OF_BEGINNING = -2 };

/* The first offset at or after a time in each range, INT64_MAX where there is none; or the ends of
 * the partitions. One request to each broker, whatever the number of partitions. */
static int find_offsets(struct consumer *consumer, int64_t time_ms, int64_t *offsets)
{
    rd_kafka_topic_partition_list_t *list =
        rdkafka.topic_partition_list_new((int)consumer->range_count);
    for (size_t i = 0; i < consumer->range_count; i++)
        rdkafka.topic_partition_list_add(list, consumer->topic, consumer->ranges[i].partition)
            ->offset = time_ms;
    rd_kafka_resp_err_t err =
        rdkafka.offsets_for_times(consumer->rk, list, args_timeout_ms(consumer->args));
    for (int i = 0; i < list->cnt && !err; i++) {
        ASSERT(list->elems[i].partition == consumer->ranges[i].partition);
        err = list->elems[i].err;
        offsets[i] = list->elems[i].offset >= 0 ? list->elems[i].offset : INT64_MAX;
    }
    rdkafka.topic_partition_list_destroy(list);
    return err ? rk_fail(err, NULL, "cannot ask for the offsets of '%s'", consumer->topic)
               : EXIT_FINE;
}

/* One place in a partition whose records are [low, high). */
static int64_t place(struct position position, int64_t low, int64_t high, int64_t at_time)
{
    switch (position.kind) {
    case POSITION_BEGINNING:
        return low;
    case POSITION_END:
        return high;
    case POSITION_OFFSET:
        return position.value;
    case POSITION_TAIL:
        return high - low > position.value ? high - position.value : low;
    case POSITION_TIME:
    case POSITION_AGO:
        return at_time < high ? at_time : high;
    }
    UNREACHABLE();
}

static void place_range(struct consumer *consumer, struct range *range, int64_t low, int64_t high,
                        int64_t from_time, int64_t to_time)
{
    range->from = place(consumer->from, low, high, from_time);
    if (range->from < low) {
        out_note("partition %d begins at offset %lld: earlier records are deleted",
                 range->partition, (long long)low);
        range->from = low;
    }
    if (range->from > high) {
        out_note("partition %d ends at offset %lld", range->partition, (long long)high);
        range->from = high;
    }
    range->to = consumer->has_to      ? place(consumer->to, low, high, to_time)
                : consumer->is_follow ? INT64_MAX
                                      : high;
    if (range->to > high && !consumer->is_follow)
        range->to = high;
}

static bool is_time(struct position position)
{
    return position.kind == POSITION_TIME || position.kind == POSITION_AGO;
}

static int place_ranges(struct consumer *consumer)
{
    size_t count = consumer->range_count;
    int64_t *offsets = calloc(count * 4, sizeof(*offsets));
    if (!offsets)
        return out_fail(EXIT_REFUSED, "out of memory");
    int64_t *low = offsets, *high = low + count, *from = high + count, *to = from + count;
    int code = find_offsets(consumer, TIME_OF_BEGINNING, low);
    if (!code)
        code = find_offsets(consumer, TIME_OF_END, high);
    if (!code && consumer->from_ms != INT64_MIN)
        code = find_offsets(consumer, consumer->from_ms, from);
    if (!code && consumer->to_ms != INT64_MAX)
        code = find_offsets(consumer, consumer->to_ms, to);
    for (size_t i = 0; i < count && !code; i++)
        place_range(consumer, &consumer->ranges[i], low[i], high[i], from[i], to[i]);
    free(offsets);
    return code;
}

static int compare_ranges(const void *a, const void *b)
{
    const struct range *x = a, *y = b;
    return (x->partition > y->partition) - (x->partition < y->partition);
}

/* Those of --partition, or all; `count` is how many the topic has. */
static int choose_partitions(struct consumer *consumer, int count)
{
    const char *text;
    size_t wanted = 0;
    while (args_nth(consumer->args, "partition", wanted) != NULL)
        wanted++;
    size_t all = wanted ? wanted : (size_t)count;
    consumer->ranges = calloc(all, sizeof(*consumer->ranges));
    if (!consumer->ranges)
        return out_fail(EXIT_REFUSED, "out of memory");
    for (size_t i = 0; i < all; i++) {
        text = args_nth(consumer->args, "partition", i);
        int32_t partition = text ? (int32_t)strtol(text, NULL, 10) : (int32_t)i;
        if (partition >= count)
            return out_fail(EXIT_NOT_FOUND, "'%s' has no partition %d: it has %d, from 0 on",
                            consumer->topic, partition, count);
        consumer->ranges[i].partition = partition;
    }
    consumer->range_count = all;
    qsort(consumer->ranges, all, sizeof(*consumer->ranges), compare_ranges);
    for (size_t i = 1; i < all; i++) {
        if (consumer->ranges[i].partition == consumer->ranges[i - 1].partition)
            return out_fail(EXIT_USAGE, "--partition %d is given twice",
                            consumer->ranges[i].partition);
    }
    return EXIT_FINE;
}

static int find_partitions(struct consumer *consumer)
{
    const struct rd_kafka_metadata *md;
    int64_t timeout_ms = args_timeout_ms(consumer->args);
    rd_kafka_resp_err_t err =
        rdkafka.metadata(consumer->rk, 0, consumer->rkt, &md, (int)timeout_ms);
    if (err)
        return rk_fail(err, NULL, "cannot ask for topic '%s'", consumer->topic);
    ASSERT(md->topic_cnt == 1);
    err = md->topics[0].err;
    int count = md->topics[0].partition_cnt;
    rdkafka.metadata_destroy(md);
    if (err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
        return rk_fail_no_topic(consumer->rk, consumer->topic, timeout_ms);
    if (err)
        return rk_fail(err, NULL, "topic '%s'", consumer->topic);
    return choose_partitions(consumer, count);
}

static int start_ranges(struct consumer *consumer)
{
    for (size_t i = 0; i < consumer->range_count; i++) {
        struct range *range = &consumer->ranges[i];
        if (range->from >= range->to)
            continue;
        if (rdkafka.consume_start_queue(consumer->rkt, range->partition, range->from,
                                        consumer->queue) != 0)
            return rk_fail(rdkafka.last_error(), NULL, "partition %d of '%s'", range->partition,
                           consumer->topic);
        range->is_reading = true;
        consumer->reading_count++;
    }
    return EXIT_FINE;
}

/* ---- begin and end ---- */

static void read_format(struct consumer *consumer)
{
    const struct args *args = consumer->args;
    const char *escape = args_text(args, "escape");
    consumer->format = (struct record_format){
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
    put_unescaped(&consumer->separator,
                  args_has(args, "separator") ? args_text(args, "separator") : "\t");
    consumer->format.separator = buf_slice(&consumer->separator);
    consumer->is_json = args_is_json(args);
    consumer->wants_headers = consumer->is_json || consumer->format.headers;
}

/* Brokers give negative times a meaning of their own, and no record is that old. */
static int64_t time_of(struct position position)
{
    int64_t time_ms = position.value;
    if (position.kind == POSITION_AGO)
        time_ms = wall_clock_ms() - position.value;
    return time_ms > 0 ? time_ms : 0;
}

static void read_positions(struct consumer *consumer)
{
    const struct args *args = consumer->args;
    consumer->is_follow = args_has(args, "follow");
    consumer->has_to = args_has(args, "to");
    const char *from = args_text(args, "from");
    if (!from)
        from = consumer->is_follow ? "end" : "beginning";
    enum err err = position_parse(str_of(from), &consumer->from);
    if (err == ERR_OK && consumer->has_to)
        err = position_parse(str_of(args_text(args, "to")), &consumer->to);
    ASSERT(err == ERR_OK); /* args_parse checked both */
    consumer->from_ms = is_time(consumer->from) ? time_of(consumer->from) : INT64_MIN;
    consumer->to_ms = consumer->has_to && is_time(consumer->to) ? time_of(consumer->to) : INT64_MAX;
}

static void close_reader(struct consumer *consumer)
{
    if (consumer->queue)
        rdkafka.queue_destroy(consumer->queue);
    if (consumer->rkt)
        rdkafka.topic_destroy(consumer->rkt);
    if (consumer->rk)
        rdkafka.destroy(consumer->rk);
    consumer->queue = NULL;
    consumer->rkt = NULL;
    consumer->rk = NULL;
}

/* librdkafka bounds what it fetches ahead for each partition: they share PREFETCH_KIB. */
static int open_reader(struct consumer *consumer, size_t partition_count)
{
    char prefetch[24];
    size_t kib = PREFETCH_KIB / partition_count;
    snprintf(prefetch, sizeof(prefetch), "%zu", kib > PREFETCH_KIB_MIN ? kib : PREFETCH_KIB_MIN);
    const char *const settings[] = {"enable.partition.eof",
                                    "true",
                                    "check.crcs",
                                    "true",
                                    "auto.offset.reset",
                                    "earliest",
                                    "isolation.level",
                                    args_text(consumer->args, "isolation"),
                                    "queued.min.messages",
                                    "500000",
                                    "queued.max.messages.kbytes",
                                    prefetch,
                                    "fetch.message.max.bytes",
                                    "4194304",
                                    NULL};
    int code = rk_open(consumer->args, RD_KAFKA_CONSUMER, settings, &consumer->rk);
    if (code)
        return code;
    consumer->rkt = rdkafka.topic_new(consumer->rk, consumer->topic, NULL);
    if (!consumer->rkt)
        return rk_fail(rdkafka.last_error(), NULL, "topic '%s'", consumer->topic);
    consumer->queue = rdkafka.queue_new(consumer->rk);
    return EXIT_FINE;
}

static int begin(struct consumer *consumer)
{
    const struct args *args = consumer->args;
    read_positions(consumer);
    read_format(consumer);
    consumer->is_quiet = args_has(args, "quiet");
    consumer->left = args_has(args, "count") ? args_number(args, "count") : INT64_MAX;
    if (consumer->is_follow && consumer->has_to)
        return out_fail(EXIT_USAGE, "--follow has no end: leave --to or --follow out");
    if (consumer->to_ms <= consumer->from_ms)
        return out_fail(EXIT_USAGE, "--to is not after --from");
    int code = open_reader(consumer, 1);
    if (code)
        return code;
    code = find_partitions(consumer);
    if (!code)
        code = place_ranges(consumer);
    if (!code && consumer->range_count > 1) {
        close_reader(consumer);
        code = open_reader(consumer, consumer->range_count);
    }
    return code ? code : start_ranges(consumer);
}

static int print_summary(const struct consumer *consumer)
{
    int64_t took_ms = clock_now_ms() - consumer->began_ms;
    double took_s = (double)(took_ms > 0 ? took_ms : 1) / 1000;
    char size[SIZE_TEXT_MAX];
    size_format(consumer->bytes, size);
    if (consumer->is_quiet && consumer->is_json)
        return out_json(json_pack("{s:s, s:I, s:I, s:f}", "topic", consumer->topic, "records",
                                  (json_int_t)consumer->records, "bytes",
                                  (json_int_t)consumer->bytes, "seconds", took_s));
    if (consumer->is_quiet || isatty(STDERR_FILENO))
        out_note("%llu %s (%s) read from '%s' in %.1f s, %.0f/s",
                 (unsigned long long)consumer->records,
                 consumer->records == 1 ? "record" : "records", size, consumer->topic, took_s,
                 (double)consumer->records / took_s);
    return EXIT_FINE;
}

static int finish(const struct consumer *consumer)
{
    int code = print_summary(consumer);
    if (consumer->code)
        return consumer->code;
    if (code || consumer->is_follow)
        return code;
    return interrupt_is_set() ? EXIT_INTERRUPTED : EXIT_FINE;
}

static void close_consumer(struct consumer *consumer)
{
    for (size_t i = 0; i < consumer->range_count && consumer->reading_count; i++) {
        if (consumer->ranges[i].is_reading)
            rdkafka.consume_stop(consumer->rkt, consumer->ranges[i].partition);
    }
    close_reader(consumer);
    free(consumer->ranges);
    free(consumer->headers);
    buf_deinit(&consumer->out);
    buf_deinit(&consumer->separator);
}

int consume_run(const struct args *args)
{
    struct consumer consumer = {.args = args, .topic = args->operands[0]};
    buf_init(&consumer.out, BUF_NO_LIMIT);
    buf_init(&consumer.separator, BUF_NO_LIMIT);
    interrupt_catch();
    int code = begin(&consumer);
    if (code == EXIT_FINE) {
        consumer.began_ms = clock_now_ms();
        read_records(&consumer);
        code = finish(&consumer);
    }
    close_consumer(&consumer);
    return code;
}
