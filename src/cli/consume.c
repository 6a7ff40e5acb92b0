/* Reads partitions from one place to another and prints their records.
 *
 * Each partition gets a range [from, to) of offsets before anything is read: positions are resolved
 * against the low and high watermarks and, for times, by the broker's time index. Reading ends
 * where all ranges are read, after --count records, or at Ctrl-C; with --follow there is no end. A
 * record at the end of a range may be missing (compacted, a transaction's marker): the broker's end
 * of the partition ends the range as well. No group is joined and no offset is committed:
 * consume_group.c does that.
 *
 * librdkafka fetches ahead on its threads into one queue, from which the main thread takes records
 * by the thousand and formats them into one buffer, written when it is full or nothing is waiting.
 */
#include "cli/consume.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/assert.h"
#include "cli/consume_group.h"
#include "cli/consume_print.h"
#include "cli/interrupt.h"
#include "cli/position.h"

#define BATCH_RECORDS    4096
#define POLL_MS          100
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
    bool has_to, is_follow;
    int64_t from_ms, to_ms; /* of a time range; INT64_MIN and INT64_MAX without */
    struct printer printer;
};

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
    consumer->printer.code = rk_fail(message->err, rdkafka.message_errstr(message),
                                     "partition %d of '%s'", message->partition, consumer->topic);
}

static void on_record(struct consumer *consumer, const rd_kafka_message_t *message)
{
    rd_kafka_timestamp_type_t type;
    struct range *range = find_range(consumer, message->partition);
    if (!range->is_reading || consumer->printer.left == 0)
        return;
    if (message->offset + 1 >= range->to)
        end_range(consumer, range);
    if (message->offset >= range->to)
        return;
    int64_t timestamp_ms = rdkafka.message_timestamp(message, &type);
    if (timestamp_ms < consumer->from_ms || timestamp_ms >= consumer->to_ms)
        return;
    printer_put(&consumer->printer, message);
}

static bool may_go_on(const struct consumer *consumer)
{
    return printer_goes_on(&consumer->printer) && consumer->reading_count > 0 &&
           !interrupt_is_set();
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
            printer_flush(&consumer->printer);
        if (count > 0)
            heard_ms = clock_now_ms();
        else if (is_silent_too_long(consumer, heard_ms))
            consumer->printer.code = rk_fail_silence();
    }
    printer_flush(&consumer->printer);
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
    int count;
    int code =
        rk_count_partitions(consumer->rk, consumer->topic, args_timeout_ms(consumer->args), &count);
    return code ? code : choose_partitions(consumer, count);
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
    read_positions(consumer);
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

static int finish(const struct consumer *consumer)
{
    int code = printer_summary(&consumer->printer);
    if (consumer->printer.code)
        return consumer->printer.code;
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
    printer_deinit(&consumer->printer);
}

int consume_run(const struct args *args)
{
    if (args_has(args, "group"))
        return consume_group_run(args);
    struct consumer consumer = {.args = args, .topic = args->operands[0]};
    printer_init(&consumer.printer, args);
    interrupt_catch();
    int code = begin(&consumer);
    if (code == EXIT_FINE) {
        consumer.printer.began_ms = clock_now_ms();
        read_records(&consumer);
        code = finish(&consumer);
    }
    close_consumer(&consumer);
    return code;
}
