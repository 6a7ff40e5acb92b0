/* Reads records from standard input, one a line, and hands them to librdkafka.
 *
 * The main thread reads and queues; librdkafka's threads batch and send. Its queue is bounded
 * (QUEUE_RECORDS, QUEUE_KIB): a full one makes the reader wait, so memory stays bounded however
 * fast the input comes. Only failures are reported back one by one (delivery.report.only.error);
 * what was queued, did not fail and is no longer in the queue is acknowledged. With acks=all the
 * producer is idempotent, so that a retry neither duplicates nor reorders.
 *
 * The end: the input's end, the first refused record, or Ctrl-C; each waits for what is queued. */
#include "cli/produce.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "cli/interrupt.h"
#include "cli/record.h"
#include "cli/rk.h"

#define QUEUE_RECORDS   "500000"
#define QUEUE_KIB       "262144"
#define READ_BYTES      ((size_t)1 << 18)
#define LINE_BYTES_MAX  ((size_t)1 << 30)
#define PROGRESS_MS     100
#define TOPIC_WAIT_MS   5000
#define BAR_WIDTH       24
#define TICKS_PER_CHECK 64 /* records between looks at the clock */

struct producer {
    const struct args *args;
    rd_kafka_t *rk;
    rd_kafka_topic_t *rkt;
    const char *topic;
    int32_t partition;        /* RD_KAFKA_PARTITION_UA: by key */
    struct slice key;         /* of every record; null: none */
    struct buf key_separator; /* empty: none */
    bool is_json_input;
    bool is_empty_null;
    struct record_header *headers; /* owned: those of every record */
    size_t header_count;
    struct arena arena; /* of one line */
    struct buf in;      /* input read and not used yet */
    size_t in_from;
    bool is_input_ended;
    uint64_t line; /* number of the current line, from 1 */
    int code;      /* what the program will exit with */

    uint64_t queued, failed, bytes;
    rd_kafka_resp_err_t first_err;

    int64_t rate; /* records a second; 0: no limit */
    int64_t began_ms, shown_ms;
    uint64_t input_bytes, input_size; /* input_size 0: not a file */
    bool has_progress;
};

static void on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque)
{
    (void)rk;
    struct producer *producer = opaque;
    if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR)
        return;
    producer->failed++;
    if (producer->first_err == RD_KAFKA_RESP_ERR_NO_ERROR)
        producer->first_err = message->err;
}

/* ---- progress ---- */

static uint64_t acknowledged(const struct producer *producer)
{
    uint64_t left = (uint64_t)rdkafka.outq_len(producer->rk) + producer->failed;
    return producer->queued > left ? producer->queued - left : 0;
}

static double seconds_since(int64_t began_ms)
{
    int64_t took_ms = clock_now_ms() - began_ms;
    return (double)(took_ms > 0 ? took_ms : 1) / 1000;
}

static void show_progress(struct producer *producer)
{
    char bar[BAR_WIDTH + 64] = "", size[SIZE_TEXT_MAX];
    uint64_t done = acknowledged(producer);
    if (producer->input_size) {
        double part = (double)producer->input_bytes / (double)producer->input_size;
        int filled = part >= 1 ? BAR_WIDTH : (int)(part * BAR_WIDTH);
        snprintf(bar, sizeof(bar), "[%.*s%.*s] %3d%%  ", filled,
                 "========================", BAR_WIDTH - filled, "                        ",
                 (int)(part * 100));
    }
    size_format(producer->bytes, size);
    fprintf(stderr, "\r%s%llu records  %s  %.0f/s\033[K", bar, (unsigned long long)done, size,
            (double)done / seconds_since(producer->began_ms));
    fflush(stderr);
}

static void tick(struct producer *producer)
{
    rdkafka.poll(producer->rk, 0);
    if (!producer->has_progress || clock_now_ms() - producer->shown_ms < PROGRESS_MS)
        return;
    producer->shown_ms = clock_now_ms();
    show_progress(producer);
}

/* Holds the reader back to the rate asked for. */
static void wait_for_rate(struct producer *producer)
{
    while (producer->rate && !interrupt_is_set()) {
        int64_t due_ms = producer->began_ms +
                         (int64_t)((double)producer->queued * 1000 / (double)producer->rate);
        int64_t wait_ms = due_ms - clock_now_ms();
        if (wait_ms <= 0)
            return;
        rdkafka.poll(producer->rk, wait_ms > PROGRESS_MS ? PROGRESS_MS : (int)wait_ms);
        tick(producer);
    }
}

/* ---- sending ---- */

static rd_kafka_resp_err_t send_plain(struct producer *producer, const struct record_view *record)
{
    /* librdkafka copies; its prototypes only lack the const. */
    int failed = rdkafka.produce(producer->rkt, record->partition, RD_KAFKA_MSG_F_COPY,
                                 (void *)(uintptr_t)record->value.data, record->value.len,
                                 record->key.data, record->key.len, NULL);
    return failed ? rdkafka.last_error() : RD_KAFKA_RESP_ERR_NO_ERROR;
}

static void add_headers(rd_kafka_headers_t *headers, const struct record_header *from, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        rd_kafka_resp_err_t err =
            rdkafka.header_add(headers, from[i].key.data, (ssize_t)from[i].key.len,
                               from[i].value.data, (ssize_t)from[i].value.len);
        ASSERT(err == RD_KAFKA_RESP_ERR_NO_ERROR);
    }
}

static rd_kafka_resp_err_t send_full(struct producer *producer, const struct record_view *record)
{
    rd_kafka_headers_t *headers =
        rdkafka.headers_new(record->header_count + producer->header_count);
    add_headers(headers, producer->headers, producer->header_count);
    add_headers(headers, record->headers, record->header_count);
    int64_t timestamp_ms = record->timestamp_ms > 0 ? record->timestamp_ms : 0; /* 0: now */
    rd_kafka_resp_err_t err = rdkafka.producev(
        producer->rk, RD_KAFKA_V_RKT(producer->rkt), RD_KAFKA_V_PARTITION(record->partition),
        RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
        RD_KAFKA_V_VALUE((void *)(uintptr_t)record->value.data, record->value.len),
        RD_KAFKA_V_KEY(record->key.data, record->key.len), RD_KAFKA_V_TIMESTAMP(timestamp_ms),
        RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_END);
    if (err)
        rdkafka.headers_destroy(headers);
    return err;
}

static int refuse_line(struct producer *producer, const char *why)
{
    return out_fail(EXIT_USAGE, "line %llu of the input: %s", (unsigned long long)producer->line,
                    why);
}

static int send_record(struct producer *producer, const struct record_view *record)
{
    bool is_plain = producer->header_count + record->header_count == 0 && record->timestamp_ms < 0;
    while (true) {
        rd_kafka_resp_err_t err =
            is_plain ? send_plain(producer, record) : send_full(producer, record);
        if (err == RD_KAFKA_RESP_ERR_NO_ERROR)
            break;
        if (err == RD_KAFKA_RESP_ERR__QUEUE_FULL) {
            if (interrupt_is_set() || producer->failed)
                return EXIT_FINE;
            rdkafka.poll(producer->rk, 10);
            tick(producer);
            continue;
        }
        if (err == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION)
            return out_fail(EXIT_NOT_FOUND, "line %llu of the input: '%s' has no partition %d",
                            (unsigned long long)producer->line, producer->topic, record->partition);
        return rk_fail(err, NULL, "line %llu of the input", (unsigned long long)producer->line);
    }
    producer->queued++;
    producer->bytes += record->key.len + record->value.len;
    return EXIT_FINE;
}

/* ---- lines ---- */

static void split_key(const struct producer *producer, struct str line, struct record_view *record)
{
    record->key = producer->key;
    record->value = slice_of(line.data, line.len);
    size_t len = producer->key_separator.len;
    if (len == 0)
        return;
    const char *at = memmem(line.data, line.len, producer->key_separator.data, len);
    if (!at)
        return;
    record->key = slice_of(line.data, (size_t)(at - line.data));
    record->value = slice_of(at + len, line.len - record->key.len - len);
}

static int send_json_line(struct producer *producer, struct str line)
{
    struct record_view record;
    struct buf why;
    buf_init(&why, 1024);
    arena_reset(&producer->arena);
    enum err err = record_parse_json(line, &producer->arena, &record, &why);
    buf_put_u8(&why, 0);
    int code = err == ERR_OK
                   ? EXIT_FINE
                   : refuse_line(producer, why.len > 1 ? (const char *)why.data : err_text(err));
    buf_deinit(&why);
    if (code)
        return code;
    if (producer->partition >= 0 || record.partition < 0)
        record.partition = producer->partition;
    if (record.key.data == NULL)
        record.key = producer->key;
    return send_record(producer, &record);
}

static int send_line(struct producer *producer, struct str line)
{
    producer->line++;
    if (producer->is_json_input) {
        bool is_blank = strspn(line.data, " \t\r") >= line.len;
        return is_blank ? EXIT_FINE : send_json_line(producer, line);
    }
    struct record_view record = {.partition = producer->partition, .timestamp_ms = -1};
    split_key(producer, line, &record);
    if (producer->is_empty_null && record.value.len == 0)
        record.value = SLICE_NULL;
    return send_record(producer, &record);
}

/* Appends what standard input has; waits for it at most PROGRESS_MS. False on a read error. */
static bool read_input(struct producer *producer)
{
    struct pollfd ready = {.fd = STDIN_FILENO, .events = POLLIN};
    int n = poll(&ready, 1, PROGRESS_MS);
    if (n <= 0)
        return n == 0 || errno == EINTR;
    if (producer->in_from > 0) {
        producer->in.len -= producer->in_from;
        memmove(producer->in.data, producer->in.data + producer->in_from, producer->in.len);
        producer->in_from = 0;
    }
    if (!buf_reserve(&producer->in, READ_BYTES + 1))
        return refuse_line(producer, "longer than 1 GiB"), false;
    ssize_t got = read(STDIN_FILENO, producer->in.data + producer->in.len, READ_BYTES);
    if (got < 0 && errno == EINTR)
        return true;
    if (got < 0)
        return out_note("cannot read standard input: %s", strerror(errno)), false;
    producer->in.len += (size_t)got;
    producer->input_bytes += (uint64_t)got;
    producer->is_input_ended = got == 0;
    producer->in.data[producer->in.len] = 0;
    return true;
}

static bool may_go_on(const struct producer *producer)
{
    return producer->code == EXIT_FINE && producer->failed == 0 && !interrupt_is_set();
}

/* Sends the whole lines that were read; at the input's end also one without a newline. */
static void send_lines(struct producer *producer)
{
    unsigned ticks = 0;
    while (may_go_on(producer) && producer->in_from < producer->in.len) {
        const char *from = (const char *)producer->in.data + producer->in_from;
        size_t left = producer->in.len - producer->in_from;
        char *end = memchr(from, '\n', left);
        if (!end && !producer->is_input_ended)
            return;
        size_t len = end ? (size_t)(end - from) : left;
        if (end)
            *end = 0;
        producer->code = send_line(producer, (struct str){from, len});
        producer->in_from += len + (end != NULL);
        if (++ticks % TICKS_PER_CHECK == 0 || producer->rate)
            tick(producer);
        wait_for_rate(producer);
    }
}

static void send_input(struct producer *producer)
{
    while (may_go_on(producer) && !producer->is_input_ended) {
        if (!read_input(producer)) {
            producer->code = EXIT_REFUSED;
            return;
        }
        send_lines(producer);
        tick(producer);
    }
}

/* ---- begin and end ---- */

/* Partitions of the topic, creating it where the cluster does so for producers; 0 after saying what
 * failed. */
static int check_topic(struct producer *producer)
{
    int64_t deadline_ms = clock_now_ms() + TOPIC_WAIT_MS;
    int timeout_ms = args_timeout_ms(producer->args);
    while (true) {
        const struct rd_kafka_metadata *md;
        rd_kafka_resp_err_t err = rdkafka.metadata(producer->rk, 0, producer->rkt, &md, timeout_ms);
        if (err)
            return rk_fail(err, NULL, "cannot ask for topic '%s'", producer->topic);
        ASSERT(md->topic_cnt == 1);
        err = md->topics[0].err;
        int count = md->topics[0].partition_cnt;
        rdkafka.metadata_destroy(md);
        if (!err && producer->partition >= count)
            return out_fail(EXIT_NOT_FOUND, "'%s' has no partition %d: it has %d, from 0 on",
                            producer->topic, producer->partition, count);
        if (!err)
            return EXIT_FINE;
        bool is_coming = err == RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE ||
                         err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
        if (is_coming && clock_now_ms() < deadline_ms && !interrupt_is_set()) {
            rdkafka.poll(producer->rk, PROGRESS_MS);
            continue;
        }
        if (err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
            return out_fail(EXIT_NOT_FOUND,
                            "there is no topic '%s' and the cluster does not create it by itself; "
                            "create it with 'taffrail topic create %s'",
                            producer->topic, producer->topic);
        return rk_fail(err, NULL, "topic '%s'", producer->topic);
    }
}

static int read_headers(struct producer *producer)
{
    const char *pair;
    while (args_nth(producer->args, "header", producer->header_count) != NULL)
        producer->header_count++;
    producer->headers = calloc(producer->header_count + 1, sizeof(*producer->headers));
    if (!producer->headers)
        return out_fail(EXIT_REFUSED, "out of memory");
    for (size_t i = 0; (pair = args_nth(producer->args, "header", i)) != NULL; i++) {
        size_t len = strcspn(pair, "=");
        producer->headers[i].key = (struct str){pair, len};
        producer->headers[i].value = slice_of(pair + len + 1, strlen(pair + len + 1));
    }
    return EXIT_FINE;
}

static int open_producer(struct producer *producer)
{
    const struct args *args = producer->args;
    const char *acks = args_text(args, "acks");
    char timeout[24];
    snprintf(timeout, sizeof(timeout), "%d", args_timeout_ms(args));
    bool is_all = strcmp(acks, "all") == 0;
    const char *const settings[] = {"acks",
                                    acks,
                                    "enable.idempotence",
                                    is_all ? "true" : "false",
                                    "compression.type",
                                    args_text(args, "compression"),
                                    "message.timeout.ms",
                                    timeout,
                                    "partitioner",
                                    "murmur2_random",
                                    "queue.buffering.max.messages",
                                    QUEUE_RECORDS,
                                    "queue.buffering.max.kbytes",
                                    QUEUE_KIB,
                                    "delivery.report.only.error",
                                    "true",
                                    NULL};
    return rk_open_producer(args, settings, on_delivery, producer, &producer->rk);
}

static int begin(struct producer *producer)
{
    struct stat input;
    const struct args *args = producer->args;
    const char *key = args_text(args, "key");
    producer->key = key ? slice_of(key, strlen(key)) : SLICE_NULL;
    producer->partition = args_has(args, "partition") ? (int32_t)args_number(args, "partition")
                                                      : RD_KAFKA_PARTITION_UA;
    if (args_has(args, "key-separator")) {
        put_unescaped(&producer->key_separator, args_text(args, "key-separator"));
        if (producer->key_separator.len == 0)
            return out_fail(EXIT_USAGE, "--key-separator must not be empty");
    }
    producer->is_json_input = strcmp(args_text(args, "input"), "json") == 0;
    producer->is_empty_null = args_has(args, "empty-as-null");
    producer->rate = args_has(args, "rate") ? args_number(args, "rate") : 0;
    producer->has_progress =
        isatty(STDERR_FILENO) && !isatty(STDIN_FILENO) && !args_has(args, "quiet");
    if (fstat(STDIN_FILENO, &input) == 0 && S_ISREG(input.st_mode))
        producer->input_size = (uint64_t)input.st_size;
    int code = read_headers(producer);
    if (!code)
        code = open_producer(producer);
    if (code)
        return code;
    producer->rkt = rdkafka.topic_new(producer->rk, producer->topic, NULL);
    if (!producer->rkt)
        return rk_fail(rdkafka.last_error(), NULL, "topic '%s'", producer->topic);
    return check_topic(producer);
}

/* Waits for what is queued. librdkafka gives each record up after --timeout, so this ends. */
static void drain(struct producer *producer)
{
    bool was_interrupted = interrupt_is_set();
    while (rdkafka.outq_len(producer->rk) > 0) {
        /* The first Ctrl-C stops the reading; one that comes while waiting, the waiting. */
        if (!was_interrupted && interrupt_is_set())
            break;
        rdkafka.flush(producer->rk, PROGRESS_MS);
        tick(producer);
    }
    rdkafka.poll(producer->rk, 0);
    if (producer->has_progress)
        fprintf(stderr, "\r\033[K");
}

static int print_summary(const struct producer *producer)
{
    uint64_t done = acknowledged(producer);
    double took_s = seconds_since(producer->began_ms);
    char size[SIZE_TEXT_MAX];
    if (args_is_json(producer->args)) {
        json_t *json = json_pack("{s:s, s:I, s:I, s:I, s:f}", "topic", producer->topic, "records",
                                 (json_int_t)done, "failed", (json_int_t)(producer->queued - done),
                                 "bytes", (json_int_t)producer->bytes, "seconds", took_s);
        return out_json(json);
    }
    size_format(producer->bytes, size);
    if (!args_has(producer->args, "quiet"))
        out_note("%llu %s (%s) written to '%s' in %.1f s, %.0f/s", (unsigned long long)done,
                 done == 1 ? "record" : "records", size, producer->topic, took_s,
                 (double)done / took_s);
    return EXIT_FINE;
}

static int finish(struct producer *producer)
{
    drain(producer);
    uint64_t lost = producer->queued - acknowledged(producer);
    int code = print_summary(producer);
    if (producer->failed)
        code = rk_fail(producer->first_err, NULL, "%llu of %llu records were not acknowledged",
                       (unsigned long long)lost, (unsigned long long)producer->queued);
    if (producer->code)
        return producer->code;
    return code ? code : interrupt_is_set() ? EXIT_INTERRUPTED : EXIT_FINE;
}

int produce_run(const struct args *args)
{
    struct producer producer = {.args = args, .topic = args->operands[0]};
    buf_init(&producer.in, LINE_BYTES_MAX);
    buf_init(&producer.key_separator, BUF_NO_LIMIT);
    arena_init(&producer.arena, ARENA_NO_LIMIT);
    interrupt_catch();
    int code = begin(&producer);
    if (code == EXIT_FINE) {
        producer.began_ms = clock_now_ms();
        send_input(&producer);
        code = finish(&producer);
    }
    if (producer.rkt)
        rdkafka.topic_destroy(producer.rkt);
    if (producer.rk) {
        rdkafka.purge(producer.rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
        rdkafka.destroy(producer.rk);
    }
    free(producer.headers);
    arena_deinit(&producer.arena);
    buf_deinit(&producer.in);
    buf_deinit(&producer.key_separator);
    return code;
}
