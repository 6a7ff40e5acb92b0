/* What loads a broker for bench/run.py: one kind of load a run, one JSON object on standard output.
 *
 *   bench_load produce  PORT TOPIC RECORDS BYTES ACKS
 *       as many as one librdkafka producer can
 *   bench_load keyed    PORT TOPIC RECORDS BYTES KEYS
 *       likewise; each key once, and then all again in another order
 *   bench_load requests PORT TOPIC RECORDS BYTES
 *       one record a request, DEPTH of them in flight
 *   bench_load replay   PORT TOPIC RECORDS BYTES BATCH
 *       one batch of so many, made once and sent again and again, REPLAY_DEPTH in flight
 *   bench_load latency  PORT TOPIC RATE SECONDS BYTES
 *       end to end at a fixed rate
 *   bench_load fetch    PORT TOPIC BYTES
 *       all of it from the first offset on, so much a request
 *   bench_load acks     PORT TOPIC RATE SECONDS BYTES PARTITIONS
 *       until acks=all is answered
 *
 * All but the last go to partition 0 of a topic that is there or that the broker makes by itself;
 * that goes to all partitions in turn. 127.0.0.1 only.
 *
 * The latency loads are open: record n is due at start + n / rate, whether or not the broker keeps
 * up, and its latency counts from when it was due, not from when it was sent. So a pause shows in
 * all the records that it delayed. Producer and consumer are in one process and share its clock. */
#include <arpa/inet.h>
#include <errno.h>
#include <librdkafka/rdkafka.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/parse.h"
#include "bench/loader.h"
#include "bench/measure.h"
#include "wire/batch_builder.h"
#include "wire/header.h"
#include "wire/messages.h"

#define DEPTH            64
#define REPLAY_DEPTH     8
#define REPLAY_BATCH_MAX 100000
#define RECORD_BYTES_MAX 65536
#define ANSWER_MS        30000

struct load {
    uint16_t port;
    const char *topic;
    int64_t records;
    int64_t bytes;
    int64_t rate;
    int64_t partitions;
    int64_t keys;  /* 0: records have none */
    int64_t batch; /* records a request */
    int depth;     /* requests in flight */
    const char *acks;
};

static void print_rate(int64_t records, int64_t began_ns)
{
    double took_s = (double)(now_ns() - began_ns) / 1e9;
    printf("{\"records\": %lld, \"seconds\": %.4f, \"per_second\": %.1f, \"client_cpu_s\": %.3f}\n",
           (long long)records, took_s, (double)records / took_s, cpu_s());
}

/* Bytes of all values, so that nothing on the way can guess them. */
static void fill(uint8_t *value, size_t len)
{
    uint64_t x = 88172645463325252ULL;
    for (size_t i = 0; i < len; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        value[i] = (uint8_t)x;
    }
}

/* --- librdkafka --- */

static int64_t refused; /* records; written by the thread that polls */

static void on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque)
{
    (void)rk;
    (void)opaque;
    if (message->err && refused++ == 0)
        fprintf(stderr, "bench_load: %s\n", rd_kafka_err2str(message->err));
}

/* Of the thread that polls; a record's number and when it was due come back with its answer. */
static int64_t *ack_ns;
static int64_t ack_count;

static void on_ack(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque)
{
    int64_t stamp[2];
    on_delivery(rk, message, opaque);
    memcpy(stamp, message->payload, sizeof(stamp));
    if (ack_ns && stamp[0] >= 0)
        ack_ns[stamp[0]] = now_ns() - stamp[1];
    __atomic_store_n(&ack_count, ack_count + 1, __ATOMIC_RELEASE);
}

static void conf_set(rd_kafka_conf_t *conf, const char *key, const char *value)
{
    char why[256];
    if (rd_kafka_conf_set(conf, key, value, why, sizeof(why)) != RD_KAFKA_CONF_OK)
        fail(key, why);
}

static rd_kafka_t *client_new(const struct load *load, rd_kafka_type_t type, const char *linger_ms)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    char servers[32], why[256];
    snprintf(servers, sizeof(servers), "127.0.0.1:%u", load->port);
    conf_set(conf, "bootstrap.servers", servers);
    conf_set(conf, "socket.nagle.disable", "true");
    if (type == RD_KAFKA_PRODUCER) {
        conf_set(conf, "acks", load->acks);
        conf_set(conf, "linger.ms", linger_ms);
        conf_set(conf, "batch.num.messages", "10000");
        conf_set(conf, "queue.buffering.max.messages", "1000000");
        conf_set(conf, "delivery.report.only.error", load->partitions > 0 ? "false" : "true");
        rd_kafka_conf_set_dr_msg_cb(conf, load->partitions > 0 ? on_ack : on_delivery);
    }
    rd_kafka_t *rk = rd_kafka_new(type, conf, why, sizeof(why));
    if (!rk)
        fail("librdkafka", why);
    return rk;
}

static void produce_to(rd_kafka_t *rk, rd_kafka_topic_t *rkt, int32_t partition, struct slice key,
                       void *value, size_t len)
{
    while (rd_kafka_produce(rkt, partition, RD_KAFKA_MSG_F_COPY, value, len, key.data, key.len,
                            NULL) != 0) {
        if (rd_kafka_last_error() != RD_KAFKA_RESP_ERR__QUEUE_FULL)
            fail("produce", rd_kafka_err2str(rd_kafka_last_error()));
        rd_kafka_poll(rk, 1);
    }
}

static void produce_one(rd_kafka_t *rk, rd_kafka_topic_t *rkt, void *value, size_t len)
{
    produce_to(rk, rkt, 0, SLICE_NULL, value, len);
}

/* The n-th record of a keyed load. */
static void produce_keyed(rd_kafka_t *rk, rd_kafka_topic_t *rkt, const struct load *load, int64_t n,
                          void *value)
{
    char key[17];
    int64_t round = n / load->keys;
    int64_t number = round == 0 ? n : (n % load->keys * 7919 + round * 104729) % load->keys;
    snprintf(key, sizeof(key), "%016llx", (unsigned long long)number);
    produce_to(rk, rkt, 0, slice_of(key, sizeof(key) - 1), value, (size_t)load->bytes);
}

static void flush(rd_kafka_t *rk)
{
    if (rd_kafka_flush(rk, ANSWER_MS) != RD_KAFKA_RESP_ERR_NO_ERROR)
        fail("flush", "records are unanswered");
    if (refused > 0)
        fail("produce", "records were refused");
}

static void run_produce(const struct load *load)
{
    rd_kafka_t *rk = client_new(load, RD_KAFKA_PRODUCER, "5");
    rd_kafka_topic_t *rkt = rd_kafka_topic_new(rk, load->topic, NULL);
    uint8_t value[RECORD_BYTES_MAX];
    fill(value, (size_t)load->bytes);
    /* The topic is made and its leader found before the clock starts. */
    if (load->keys > 0)
        produce_keyed(rk, rkt, load, 0, value);
    else
        produce_one(rk, rkt, value, (size_t)load->bytes);
    flush(rk);
    int64_t began_ns = now_ns();
    for (int64_t i = 0; i < load->records; i++) {
        if (load->keys > 0)
            produce_keyed(rk, rkt, load, i, value);
        else
            produce_one(rk, rkt, value, (size_t)load->bytes);
    }
    flush(rk);
    print_rate(load->records, began_ns);
    rd_kafka_topic_destroy(rkt);
    rd_kafka_destroy(rk);
}

/* --- latency --- */

struct reader {
    const struct load *load;
    int64_t *latencies_ns;
    int64_t expected;
    int64_t count;
    pthread_t thread;
};

/* A record's value begins with its number and when it was due. Number 0 is not counted: it only
 * proves that the way is open. */
static void *read_records(void *opaque)
{
    struct reader *reader = opaque;
    rd_kafka_t *rk = client_new(reader->load, RD_KAFKA_CONSUMER, NULL);
    rd_kafka_topic_t *rkt = rd_kafka_topic_new(rk, reader->load->topic, NULL);
    if (rd_kafka_consume_start(rkt, 0, 0) != 0)
        fail("consume", rd_kafka_err2str(rd_kafka_last_error()));
    int64_t last_ns = now_ns();
    while (reader->count < reader->expected) {
        rd_kafka_message_t *message = rd_kafka_consume(rkt, 0, 100);
        int64_t at_ns = now_ns();
        if (!message) {
            if (at_ns - last_ns > (int64_t)ANSWER_MS * 1000000)
                fail("consume", "records are missing");
            continue;
        }
        last_ns = at_ns;
        if (!message->err && message->len >= 16) {
            int64_t stamp[2];
            memcpy(stamp, message->payload, sizeof(stamp));
            if (stamp[0] != reader->count)
                fail("consume", "a record is lost, doubled or out of order");
            reader->latencies_ns[reader->count] = at_ns - stamp[1];
            __atomic_store_n(&reader->count, reader->count + 1, __ATOMIC_RELEASE);
        }
        rd_kafka_message_destroy(message);
    }
    rd_kafka_consume_stop(rkt, 0);
    rd_kafka_topic_destroy(rkt);
    rd_kafka_destroy(rk);
    return NULL;
}

static int compare_i64(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void produce_stamped(rd_kafka_t *rk, rd_kafka_topic_t *rkt, const struct load *load,
                            int64_t number, int64_t due_ns)
{
    uint8_t value[RECORD_BYTES_MAX];
    int64_t stamp[2] = {number, due_ns};
    memset(value, 'x', (size_t)load->bytes);
    memcpy(value, stamp, sizeof(stamp));
    produce_one(rk, rkt, value, (size_t)load->bytes);
}

/* The whole schedule, each record at its time or, when late, at once. */
static void produce_scheduled(rd_kafka_t *rk, rd_kafka_topic_t *rkt, const struct load *load)
{
    int64_t start_ns = now_ns() + 1000000;
    for (int64_t i = 0; i < load->records; i++) {
        int64_t due_ns = start_ns + (int64_t)((double)i * 1e9 / (double)load->rate);
        if (now_ns() < due_ns) {
            struct timespec due = {due_ns / 1000000000, due_ns % 1000000000};
            rd_kafka_poll(rk, 0);
            while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL) == EINTR)
                ;
        }
        produce_stamped(rk, rkt, load, i + 1, due_ns);
    }
}

static void print_latencies(int64_t *sorted, int64_t count)
{
    qsort(sorted, (size_t)count, sizeof(*sorted), compare_i64);
    printf("{\"records\": %lld, \"p50_ms\": %.4f, \"p99_ms\": %.4f, \"p999_ms\": %.4f, "
           "\"max_ms\": %.4f}\n",
           (long long)count, (double)sorted[count / 2] / 1e6,
           (double)sorted[count * 99 / 100] / 1e6, (double)sorted[count * 999 / 1000] / 1e6,
           (double)sorted[count - 1] / 1e6);
}

static void run_latency(const struct load *load)
{
    rd_kafka_t *rk = client_new(load, RD_KAFKA_PRODUCER, "0");
    rd_kafka_topic_t *rkt = rd_kafka_topic_new(rk, load->topic, NULL);
    struct reader reader = {.load = load, .expected = load->records + 1};
    reader.latencies_ns = calloc((size_t)reader.expected, sizeof(int64_t));
    if (!reader.latencies_ns)
        fail("memory", strerror(errno));
    prctl(PR_SET_TIMERSLACK, 1);
    produce_stamped(rk, rkt, load, 0, now_ns());
    flush(rk);
    if (pthread_create(&reader.thread, NULL, read_records, &reader) != 0)
        fail("thread", strerror(errno));
    while (__atomic_load_n(&reader.count, __ATOMIC_ACQUIRE) == 0)
        usleep(1000);
    usleep(100000);
    produce_scheduled(rk, rkt, load);
    flush(rk);
    pthread_join(reader.thread, NULL);
    print_latencies(reader.latencies_ns + 1, load->records);
    free(reader.latencies_ns);
    rd_kafka_topic_destroy(rkt);
    rd_kafka_destroy(rk);
}

/* --- how long an answer takes --- */

static bool is_polling = true;

static void *poll_answers(void *opaque)
{
    while (__atomic_load_n(&is_polling, __ATOMIC_ACQUIRE))
        rd_kafka_poll(opaque, 100);
    return NULL;
}

static void wait_for_acks(int64_t count)
{
    for (int64_t waited_ms = 0; __atomic_load_n(&ack_count, __ATOMIC_ACQUIRE) < count;
         waited_ms++) {
        if (waited_ms > ANSWER_MS)
            fail("produce", "records are unanswered");
        usleep(1000);
    }
}

/* One record to each partition first, so that nothing is made or looked up under the clock. */
static void run_acks(const struct load *load)
{
    rd_kafka_t *rk = client_new(load, RD_KAFKA_PRODUCER, "0");
    rd_kafka_topic_t *rkt = rd_kafka_topic_new(rk, load->topic, NULL);
    uint8_t value[RECORD_BYTES_MAX];
    int64_t stamp[2] = {-1, 0};
    pthread_t thread;
    memset(value, 'x', (size_t)load->bytes);
    memcpy(value, stamp, sizeof(stamp));
    prctl(PR_SET_TIMERSLACK, 1);
    if (pthread_create(&thread, NULL, poll_answers, rk) != 0)
        fail("thread", strerror(errno));
    for (int64_t i = 0; i < load->partitions; i++)
        produce_to(rk, rkt, (int32_t)i, SLICE_NULL, value, (size_t)load->bytes);
    wait_for_acks(load->partitions);
    ack_ns = calloc((size_t)load->records, sizeof(int64_t));
    if (!ack_ns)
        fail("memory", strerror(errno));
    int64_t start_ns = now_ns() + 1000000;
    for (int64_t i = 0; i < load->records; i++) {
        stamp[0] = i;
        stamp[1] = start_ns + (int64_t)((double)i * 1e9 / (double)load->rate);
        struct timespec due = {stamp[1] / 1000000000, stamp[1] % 1000000000};
        while (now_ns() < stamp[1] &&
               clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL) == EINTR)
            ;
        memcpy(value, stamp, sizeof(stamp));
        produce_to(rk, rkt, (int32_t)(i % load->partitions), SLICE_NULL, value,
                   (size_t)load->bytes);
    }
    wait_for_acks(load->partitions + load->records);
    __atomic_store_n(&is_polling, false, __ATOMIC_RELEASE);
    pthread_join(thread, NULL);
    if (refused > 0)
        fail("produce", "records were refused");
    print_latencies(ack_ns, load->records);
    free(ack_ns);
    rd_kafka_topic_destroy(rkt);
    rd_kafka_destroy(rk);
}

/* --- one record a request, on a socket of our own --- */

static void send_all(int fd, const uint8_t *data, size_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, data, len, MSG_NOSIGNAL);
        if (n < 0)
            fail("send", strerror(errno));
        data += n;
        len -= (size_t)n;
    }
}

static int connect_to(uint16_t port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int one = 1;
    struct timeval wait = {ANSWER_MS / 1000, 0};
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0)
        fail("connect", strerror(errno));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
    return fd;
}

/* A Produce request with one batch, with its size in front. */
#define PRODUCE_VERSION 7

static void build_request(const struct load *load, struct buf *out)
{
    uint8_t value[RECORD_BYTES_MAX];
    fill(value, (size_t)load->bytes);
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    struct buf batch;
    buf_init(&batch, BUF_NO_LIMIT);
    struct batch_options options = BATCH_OPTIONS_DEFAULT;
    struct batch_builder builder;
    batch_builder_init(&builder, &batch, &options);
    struct record_fields record = {.timestamp = (int64_t)now.tv_sec * 1000,
                                   .value = slice_of(value, (size_t)load->bytes)};
    for (int64_t i = 0; i < load->batch; i++) {
        if (batch_builder_append(&builder, &record) != ERR_OK)
            fail("batch", "it cannot be built");
    }
    if (batch_builder_finish(&builder, NULL) != ERR_OK)
        fail("batch", "it cannot be built");
    batch_builder_deinit(&builder);

    struct produce_request request;
    struct produce_request_topic topic;
    struct produce_request_partition partition;
    codec_init(&produce_request_schema, &request);
    MSG_INIT(produce_request_topic, &topic);
    MSG_INIT(produce_request_partition, &partition);
    partition.records = buf_slice(&batch);
    topic.name = str_of(load->topic);
    topic.partition_data = &partition;
    topic.partition_data_len = 1;
    request.acks = 1;
    request.timeout_ms = ANSWER_MS;
    request.topic_data = &topic;
    request.topic_data_len = 1;
    struct request_header header = {
        .api_key = 0, .api_version = PRODUCE_VERSION, .client_id = STR("bench")};
    buf_put_be32(out, 0);
    request_header_encode(api_find(0), &header, out);
    if (codec_encode(&produce_request_schema, PRODUCE_VERSION, &request, out, NULL) != ERR_OK)
        fail("request", "it cannot be encoded");
    be32_store(out->data, (uint32_t)(out->len - 4));
    buf_deinit(&batch);
}

/* The answer to one topic's one partition: its error code stands after correlation id, the number
 * of topics, the name, the number of partitions and the index. */
static void check_answer(const struct load *load, const uint8_t *frame, size_t len)
{
    size_t at = 4 + 4 + 2 + strlen(load->topic) + 4 + 4;
    if (len < at + 2)
        fail("answer", "it is too short");
    if (be16_load(frame + at) != 0)
        fail("answer", "the record was refused");
}

/* Takes the whole answers off the front of the bytes; how many there were. */
static int take_answers(const struct load *load, uint8_t *in, size_t *len)
{
    int count = 0;
    size_t at = 0;
    while (*len - at >= 4) {
        size_t size = be32_load(in + at);
        if (*len - at - 4 < size)
            break;
        check_answer(load, in + at + 4, size);
        at += 4 + size;
        count++;
    }
    memmove(in, in + at, *len - at);
    *len -= at;
    return count;
}

static void run_requests(const struct load *load)
{
    /* librdkafka makes the topic, so that the clock starts with it in place. */
    struct load first = *load;
    first.records = 1;
    rd_kafka_t *rk = client_new(&first, RD_KAFKA_PRODUCER, "0");
    rd_kafka_topic_t *rkt = rd_kafka_topic_new(rk, load->topic, NULL);
    uint8_t byte = 0;
    produce_one(rk, rkt, &byte, 1);
    flush(rk);
    rd_kafka_topic_destroy(rkt);
    rd_kafka_destroy(rk);

    struct buf request, window;
    buf_init(&request, BUF_NO_LIMIT);
    buf_init(&window, BUF_NO_LIMIT);
    build_request(load, &request);
    for (int i = 0; i < load->depth; i++)
        buf_put(&window, request.data, request.len);
    if (request.err != ERR_OK || window.err != ERR_OK)
        fail("request", "it cannot be built");
    int fd = connect_to(load->port);
    uint8_t in[65536];
    size_t in_len = 0;
    int64_t wanted = load->records / load->batch;
    int64_t sent = load->depth, answered = 0, began_ns = now_ns();
    send_all(fd, window.data, request.len * (size_t)load->depth);
    while (answered < wanted) {
        ssize_t n = recv(fd, in + in_len, sizeof(in) - in_len, 0);
        if (n <= 0)
            fail("receive", n == 0 ? "the broker closed the connection" : strerror(errno));
        in_len += (size_t)n;
        int64_t count = take_answers(load, in, &in_len);
        answered += count;
        int64_t left = wanted - sent;
        count = count < left ? count : left;
        if (count > 0)
            send_all(fd, window.data, request.len * (size_t)count);
        sent += count > 0 ? count : 0;
    }
    print_rate(answered * load->batch, began_ns);
    close(fd);
    buf_deinit(&request);
    buf_deinit(&window);
}

/* --- reading all of a partition --- */

#define FETCH_VERSION    11
#define ANSWER_BYTES_MAX ((size_t)64 << 20)

static void send_fetch(const struct load *load, int fd, int64_t offset)
{
    struct fetch_request request;
    struct fetch_request_topic topic;
    struct fetch_request_partition partition;
    struct buf out;
    buf_init(&out, BUF_NO_LIMIT);
    codec_init(&fetch_request_schema, &request);
    MSG_INIT(fetch_request_topic, &topic);
    MSG_INIT(fetch_request_partition, &partition);
    partition.fetch_offset = offset;
    partition.partition_max_bytes = (int32_t)load->bytes;
    topic.topic = str_of(load->topic);
    topic.partitions = &partition;
    topic.partitions_len = 1;
    request.replica_id = -1;
    request.max_wait_ms = 500;
    request.min_bytes = 1;
    request.session_epoch = -1;
    request.topics = &topic;
    request.topics_len = 1;
    struct request_header header = {
        .api_key = 1, .api_version = FETCH_VERSION, .client_id = STR("bench")};
    buf_put_be32(&out, 0);
    request_header_encode(api_find(1), &header, &out);
    if (codec_encode(&fetch_request_schema, FETCH_VERSION, &request, &out, NULL) != ERR_OK)
        fail("request", "it cannot be encoded");
    be32_store(out.data, (uint32_t)(out.len - 4));
    send_all(fd, out.data, out.len);
    buf_deinit(&out);
}

/* Behind the last whole batch of the answer; the end of the partition is *end_offset. */
static int64_t read_answer(struct slice frame, int64_t offset, int64_t *end_offset, int64_t *bytes)
{
    struct arena arena;
    struct fetch_response answer;
    size_t used;
    arena_init(&arena, ANSWER_BYTES_MAX);
    if (codec_decode(&fetch_response_schema, FETCH_VERSION, frame, &used, &arena, &answer, NULL) !=
            ERR_OK ||
        answer.responses_len != 1 || answer.responses[0].partitions_len != 1)
        fail("answer", "it cannot be read");
    const struct fetch_response_partition *partition = &answer.responses[0].partitions[0];
    if (answer.error_code != 0 || partition->error_code != 0)
        fail("answer", "the fetch was refused");
    struct batches batches;
    struct batch batch;
    batches_init(&batches, partition->records);
    while (batches_next(&batches, &batch)) {
        if (batch.base_offset != offset || !batch_crc_is_valid(&batch))
            fail("answer", "a batch is missing or damaged");
        offset = batch.last_offset + 1;
        *bytes += (int64_t)batch.size;
    }
    *end_offset = partition->high_watermark;
    arena_deinit(&arena);
    return offset;
}

static void run_fetch(const struct load *load)
{
    int fd = connect_to(load->port);
    uint8_t *frame = malloc(ANSWER_BYTES_MAX);
    if (!frame)
        fail("memory", strerror(errno));
    int64_t offset = 0, end_offset = 1, bytes = 0, began_ns = now_ns();
    while (offset < end_offset) {
        uint8_t size[4];
        send_fetch(load, fd, offset);
        receive_all(fd, size, sizeof(size));
        size_t len = be32_load(size);
        if (len > ANSWER_BYTES_MAX || len < 4)
            fail("answer", "no answer has such a size");
        receive_all(fd, frame, len);
        offset = read_answer(slice_of(frame + 4, len - 4), offset, &end_offset, &bytes);
    }
    double took_s = (double)(now_ns() - began_ns) / 1e9;
    printf("{\"records\": %lld, \"bytes\": %lld, \"seconds\": %.4f, \"gb_per_second\": %.4f}\n",
           (long long)offset, (long long)bytes, took_s, (double)bytes / 1e9 / took_s);
    free(frame);
    close(fd);
}

static int64_t number(const char *text, int64_t min, int64_t max)
{
    int64_t value;
    if (parse_i64_in(str_of(text), min, max, &value) != ERR_OK)
        fail(text, "not a number in its range");
    return value;
}

int main(int argc, char **argv)
{
    const char *kind = argc > 4 ? argv[1] : "";
    struct load load = {.acks = "1"};
    if (argc > 4) {
        load.port = (uint16_t)number(argv[2], 1, UINT16_MAX);
        load.topic = argv[3];
    }
    if (argc == 7 && strcmp(kind, "produce") == 0) {
        load.records = number(argv[4], 1, INT64_C(1) << 40);
        load.bytes = number(argv[5], 1, RECORD_BYTES_MAX);
        load.acks = argv[6];
        run_produce(&load);
    } else if (argc == 7 && strcmp(kind, "keyed") == 0) {
        load.records = number(argv[4], 1, INT64_C(1) << 40);
        load.bytes = number(argv[5], 1, RECORD_BYTES_MAX);
        load.keys = number(argv[6], 1, INT64_C(1) << 40);
        run_produce(&load);
    } else if (argc == 6 && strcmp(kind, "requests") == 0) {
        load.records = number(argv[4], DEPTH, INT64_C(1) << 40);
        load.bytes = number(argv[5], 1, RECORD_BYTES_MAX);
        load.batch = 1;
        load.depth = DEPTH;
        run_requests(&load);
    } else if (argc == 7 && strcmp(kind, "replay") == 0) {
        load.bytes = number(argv[5], 1, RECORD_BYTES_MAX);
        load.batch = number(argv[6], 1, REPLAY_BATCH_MAX);
        load.depth = REPLAY_DEPTH;
        load.records = number(argv[4], load.batch * load.depth, INT64_C(1) << 40);
        run_requests(&load);
    } else if (argc == 7 && strcmp(kind, "latency") == 0) {
        load.rate = number(argv[4], 1, 10000000);
        load.records = load.rate * number(argv[5], 1, 3600);
        load.bytes = number(argv[6], 16, RECORD_BYTES_MAX);
        run_latency(&load);
    } else if (argc == 5 && strcmp(kind, "fetch") == 0) {
        load.bytes = number(argv[4], 1, INT32_MAX);
        run_fetch(&load);
    } else if (argc == 8 && strcmp(kind, "acks") == 0) {
        load.rate = number(argv[4], 1, 10000000);
        load.records = load.rate * number(argv[5], 1, 3600);
        load.bytes = number(argv[6], 16, RECORD_BYTES_MAX);
        load.partitions = number(argv[7], 1, 100000);
        load.acks = "all";
        run_acks(&load);
    } else {
        fprintf(stderr, "usage: bench_load produce PORT TOPIC RECORDS BYTES ACKS\n"
                        "       bench_load keyed PORT TOPIC RECORDS BYTES KEYS\n"
                        "       bench_load requests PORT TOPIC RECORDS BYTES\n"
                        "       bench_load replay PORT TOPIC RECORDS BYTES BATCH\n"
                        "       bench_load latency PORT TOPIC RATE SECONDS BYTES\n"
                        "       bench_load fetch PORT TOPIC BYTES\n"
                        "       bench_load acks PORT TOPIC RATE SECONDS BYTES PARTITIONS\n");
        return 2;
    }
    return 0;
}
