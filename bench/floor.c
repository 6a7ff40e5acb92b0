/* The floor under any broker: the least that can take records from Kafka's clients and hand them
 * on.
 *
 *   bench_floor PORT FILE
 *
 * One thread, epoll, one partition. A produce request is parsed just far enough to find its batch,
 * the checksum is verified, the offset stamped, the batch written through the page cache to FILE
 * and answered; a fetch is answered from there, or waits for the next batch. It keeps nothing,
 * checks no more than that, and knows only the versions it advertises: what it costs is what the
 * sockets, the checksum and the file cost. The latest topic that was produced to is the only one;
 * another name empties the file. Loopback only.
 *
 * Produce 3-7 and Fetch 4 are read by hand, as an own codec would be part of the cost; ApiVersions
 * and Metadata, asked once for each connection, with ours. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/crc32c.h"
#include "base/parse.h"
#include "wire/batch.h"
#include "wire/header.h"
#include "wire/messages.h"

#define FRAME_BYTES_MAX ((size_t)8 << 20)
#define CONNS_MAX       64
#define NAME_BYTES_MAX  256
#define FETCH_BYTES_MAX ((size_t)1 << 20)

struct fetch {
    int32_t correlation_id;
    int64_t offset;
    int64_t deadline_ms;
    size_t bytes_max;
    char name[NAME_BYTES_MAX];
    size_t name_len;
};

struct conn {
    int fd; /* -1: free */
    uint8_t *in;
    size_t in_len;
    struct buf out;
    size_t sent;
    bool is_parked;
    struct fetch fetch; /* valid while parked */
};

/* Where each batch begins, to find an offset. */
struct entry {
    int64_t offset;
    int64_t at;
};

static struct {
    int epoll;
    int listener;
    int file;
    uint16_t port;
    int64_t bytes;
    int64_t next_offset;
    char name[NAME_BYTES_MAX];
    size_t name_len;
    struct entry *index;
    size_t index_len, index_cap;
    struct conn conns[CONNS_MAX];
} state;

static _Noreturn void fail(const char *what)
{
    fprintf(stderr, "bench_floor: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* --- reading a request by hand --- */

struct cursor {
    const uint8_t *at, *end;
    bool is_bad;
};

static const uint8_t *take(struct cursor *c, size_t len)
{
    static const uint8_t zero[8];
    if (c->is_bad || (size_t)(c->end - c->at) < len) {
        c->is_bad = true;
        return zero;
    }
    const uint8_t *at = c->at;
    c->at += len;
    return at;
}

static int32_t take_i32(struct cursor *c)
{
    return (int32_t)be32_load(take(c, 4));
}

static int64_t take_i64(struct cursor *c)
{
    return (int64_t)be64_load(take(c, 8));
}

static struct str take_string(struct cursor *c)
{
    int16_t len = (int16_t)be16_load(take(c, 2));
    if (len < 0)
        return STR_NULL;
    return (struct str){(const char *)take(c, (size_t)len), c->is_bad ? 0 : (size_t)len};
}

/* --- the partition --- */

static void topic_choose(struct str name)
{
    if (name.len == state.name_len && memcmp(name.data, state.name, name.len) == 0)
        return;
    if (ftruncate(state.file, 0) != 0)
        fail("truncate");
    state.bytes = state.next_offset = 0;
    state.index_len = 0;
    state.name_len = name.len;
    memcpy(state.name, name.data, name.len);
}

static void index_add(int64_t offset, int64_t at)
{
    if (state.index_len == state.index_cap) {
        state.index_cap = state.index_cap ? state.index_cap * 2 : 4096;
        state.index = realloc(state.index, state.index_cap * sizeof(*state.index));
        if (!state.index)
            fail("memory");
    }
    state.index[state.index_len++] = (struct entry){offset, at};
}

/* Where the batch that holds the offset begins. */
static int64_t index_find(int64_t offset)
{
    size_t low = 0, high = state.index_len;
    while (high - low > 1) {
        size_t middle = (low + high) / 2;
        if (state.index[middle].offset <= offset)
            low = middle;
        else
            high = middle;
    }
    return state.index_len ? state.index[low].at : 0;
}

/* Kafka's error code: 0, or 2 for a corrupt batch. */
static int16_t append(uint8_t *records, size_t len, int64_t *base_offset)
{
    struct batch batch;
    if (batch_load(slice_of(records, len), &batch) != ERR_OK || !batch_crc_is_valid(&batch))
        return 2;
    *base_offset = state.next_offset;
    batch_stamp(records, state.next_offset, 0, &batch);
    index_add(state.next_offset, state.bytes);
    if (pwrite(state.file, records, batch.size, state.bytes) != (ssize_t)batch.size)
        fail("write");
    state.bytes += (int64_t)batch.size;
    state.next_offset = batch.last_offset + 1;
    return 0;
}

/* --- answers --- */

static size_t frame_begin(struct conn *conn, int32_t correlation_id)
{
    size_t at = conn->out.len;
    buf_put_be32(&conn->out, 0);
    buf_put_be32(&conn->out, (uint32_t)correlation_id);
    return at;
}

static void frame_end(struct conn *conn, size_t at)
{
    if (conn->out.err != ERR_OK)
        fail("answer");
    be32_store(conn->out.data + at, (uint32_t)(conn->out.len - at - 4));
}

static void put_string(struct buf *out, const char *data, size_t len)
{
    buf_put_be16(out, (uint16_t)len);
    buf_put(out, data, len);
}

static bool produce(struct conn *conn, int16_t version, int32_t correlation_id, struct cursor *c)
{
    take_string(c); /* transactional id */
    int16_t acks = (int16_t)be16_load(take(c, 2));
    take(c, 4); /* timeout */
    int32_t topics = take_i32(c);
    struct str name = take_string(c);
    int32_t partitions = take_i32(c);
    int32_t index = take_i32(c);
    int32_t len = take_i32(c);
    if (topics != 1 || partitions != 1 || len < 0 || name.len >= NAME_BYTES_MAX)
        return false;
    const uint8_t *records = take(c, (size_t)len);
    if (c->is_bad)
        return false;
    topic_choose(name);
    int64_t base_offset = -1;
    /* The frame is ours to stamp: it lies in conn->in. */
    uint8_t *stamped = conn->in + (records - conn->in);
    int16_t error_code = append(stamped, (size_t)len, &base_offset);
    if (acks == 0)
        return true;
    size_t at = frame_begin(conn, correlation_id);
    buf_put_be32(&conn->out, 1);
    put_string(&conn->out, name.data, name.len);
    buf_put_be32(&conn->out, 1);
    buf_put_be32(&conn->out, (uint32_t)index);
    buf_put_be16(&conn->out, (uint16_t)error_code);
    buf_put_be64(&conn->out, (uint64_t)base_offset);
    buf_put_be64(&conn->out, UINT64_MAX); /* log append time */
    if (version >= 5)
        buf_put_be64(&conn->out, 0); /* log start offset */
    buf_put_be32(&conn->out, 0);     /* throttle time */
    frame_end(conn, at);
    return true;
}

static void fetch_answer(struct conn *conn)
{
    struct fetch *fetch = &conn->fetch;
    bool is_current =
        fetch->name_len == state.name_len && memcmp(fetch->name, state.name, state.name_len) == 0;
    int64_t end = is_current ? state.next_offset : 0;
    size_t len = 0;
    int64_t from = 0;
    if (fetch->offset < end) {
        from = index_find(fetch->offset);
        len = (size_t)(state.bytes - from);
        len = len < fetch->bytes_max ? len : fetch->bytes_max;
    }
    size_t at = frame_begin(conn, fetch->correlation_id);
    buf_put_be32(&conn->out, 0); /* throttle time */
    buf_put_be32(&conn->out, 1);
    put_string(&conn->out, fetch->name, fetch->name_len);
    buf_put_be32(&conn->out, 1);
    buf_put_be32(&conn->out, 0); /* partition */
    buf_put_be16(&conn->out, 0); /* error code */
    buf_put_be64(&conn->out, (uint64_t)end);
    buf_put_be64(&conn->out, (uint64_t)end);
    buf_put_be32(&conn->out, UINT32_MAX); /* aborted transactions */
    buf_put_be32(&conn->out, (uint32_t)len);
    uint8_t *records = buf_extend(&conn->out, len);
    if (len > 0 && (!records || pread(state.file, records, len, from) != (ssize_t)len))
        fail("read");
    frame_end(conn, at);
    conn->is_parked = false;
}

static bool fetch_has_data(const struct fetch *fetch)
{
    return fetch->offset < state.next_offset && fetch->name_len == state.name_len &&
           memcmp(fetch->name, state.name, state.name_len) == 0;
}

static bool fetch(struct conn *conn, int32_t correlation_id, struct cursor *c)
{
    struct fetch *fetch = &conn->fetch;
    take(c, 4); /* replica id */
    int32_t wait_ms = take_i32(c);
    take(c, 4 + 4 + 1); /* min bytes, max bytes, isolation */
    int32_t topics = take_i32(c);
    struct str name = take_string(c);
    int32_t partitions = take_i32(c);
    take(c, 4); /* partition */
    fetch->offset = take_i64(c);
    int32_t bytes_max = take_i32(c);
    if (c->is_bad || topics != 1 || partitions != 1 || name.len >= NAME_BYTES_MAX || bytes_max < 0)
        return false;
    fetch->bytes_max = (size_t)bytes_max < FETCH_BYTES_MAX ? (size_t)bytes_max : FETCH_BYTES_MAX;
    fetch->correlation_id = correlation_id;
    fetch->deadline_ms = now_ms() + wait_ms;
    memcpy(fetch->name, name.data, name.len);
    fetch->name_len = name.len;
    conn->is_parked = true;
    if (fetch_has_data(fetch))
        fetch_answer(conn);
    return true;
}

static void api_versions(struct conn *conn, int16_t version, int32_t correlation_id)
{
    static const struct api_versions_response_api_key served[] = {
        {.api_key = 0, .min_version = 3, .max_version = 7},
        {.api_key = 1, .min_version = 4, .max_version = 4},
        {.api_key = 3, .min_version = 1, .max_version = 4},
        {.api_key = 18, .min_version = 0, .max_version = 2},
    };
    bool is_known = version <= 2;
    struct api_versions_response_api_key keys[ARRAY_LEN(served)];
    struct api_versions_response response;
    codec_init(&api_versions_response_schema, &response);
    for (size_t i = 0; i < ARRAY_LEN(served); i++) {
        MSG_INIT(api_versions_response_api_key, &keys[i]);
        keys[i].api_key = served[i].api_key;
        keys[i].min_version = served[i].min_version;
        keys[i].max_version = served[i].max_version;
    }
    response.error_code = is_known ? 0 : 35; /* UNSUPPORTED_VERSION, always answered as version 0 */
    response.api_keys = keys;
    response.api_keys_len = ARRAY_LEN(keys);
    size_t at = frame_begin(conn, correlation_id);
    if (codec_encode(&api_versions_response_schema, is_known ? version : 0, &response, &conn->out,
                     NULL) != ERR_OK)
        fail("encode");
    frame_end(conn, at);
}

static bool metadata(struct conn *conn, int16_t version, int32_t correlation_id, struct cursor *c)
{
    struct arena arena;
    arena_init(&arena, FRAME_BYTES_MAX);
    struct metadata_request request;
    size_t used;
    bool is_good =
        codec_decode(&metadata_request_schema, version, slice_of(c->at, (size_t)(c->end - c->at)),
                     &used, &arena, &request, NULL) == ERR_OK;
    struct metadata_response response;
    codec_init(&metadata_response_schema, &response);
    struct metadata_response_broker broker;
    MSG_INIT(metadata_response_broker, &broker);
    broker.node_id = 1;
    broker.host = STR("127.0.0.1");
    broker.port = state.port;
    response.brokers = &broker;
    response.brokers_len = 1;
    response.controller_id = 1;
    int32_t leader = 1;
    int32_t count = is_good && request.topics_len > 0 ? request.topics_len : 0;
    response.topics = MSG_ARRAY(metadata_response_topic, &arena, (size_t)count);
    response.topics_len = count;
    for (int32_t i = 0; i < count; i++) {
        struct metadata_response_partition *partition =
            MSG_ARRAY(metadata_response_partition, &arena, 1);
        partition->leader_id = leader;
        partition->replica_nodes = partition->isr_nodes = &leader;
        partition->replica_nodes_len = partition->isr_nodes_len = 1;
        response.topics[i].name = request.topics[i].name;
        response.topics[i].partitions = partition;
        response.topics[i].partitions_len = 1;
    }
    size_t at = frame_begin(conn, correlation_id);
    if (codec_encode(&metadata_response_schema, version, &response, &conn->out, NULL) != ERR_OK)
        fail("encode");
    frame_end(conn, at);
    arena_deinit(&arena);
    return is_good;
}

/* False: the connection is closed. */
static bool handle(struct conn *conn, struct slice frame)
{
    struct request_header header;
    size_t used;
    if (request_header_decode(frame, &header, &used) != ERR_OK)
        return false;
    struct cursor c = {frame.data + used, frame.data + frame.len, false};
    int16_t version = header.api_version;
    switch (header.api_key) {
    case 0:
        return version >= 3 && version <= 7 && produce(conn, version, header.correlation_id, &c);
    case 1:
        return version == 4 && fetch(conn, header.correlation_id, &c);
    case 3:
        return version >= 1 && version <= 4 && metadata(conn, version, header.correlation_id, &c);
    case API_KEY_API_VERSIONS:
        api_versions(conn, version, header.correlation_id);
        return true;
    default:
        return false;
    }
}

/* --- connections --- */

static void conn_close(struct conn *conn)
{
    close(conn->fd);
    free(conn->in);
    buf_deinit(&conn->out);
    *conn = (struct conn){.fd = -1};
}

/* False: broken. What the socket does not take waits for EPOLLOUT. */
static bool conn_send(struct conn *conn)
{
    while (conn->sent < conn->out.len) {
        ssize_t n =
            send(conn->fd, conn->out.data + conn->sent, conn->out.len - conn->sent, MSG_NOSIGNAL);
        if (n < 0)
            return errno == EAGAIN;
        conn->sent += (size_t)n;
    }
    conn->sent = 0;
    buf_reset(&conn->out);
    return true;
}

static bool conn_receive(struct conn *conn)
{
    for (;;) {
        ssize_t n = recv(conn->fd, conn->in + conn->in_len, FRAME_BYTES_MAX - conn->in_len, 0);
        if (n < 0)
            return errno == EAGAIN;
        if (n == 0)
            return false;
        conn->in_len += (size_t)n;
        size_t at = 0;
        while (conn->in_len - at >= 4) {
            size_t len = be32_load(conn->in + at);
            if (len > FRAME_BYTES_MAX - 4)
                return false;
            if (conn->in_len - at - 4 < len)
                break;
            if (!handle(conn, slice_of(conn->in + at + 4, len)))
                return false;
            at += 4 + len;
        }
        memmove(conn->in, conn->in + at, conn->in_len - at);
        conn->in_len -= at;
    }
}

static void conn_accept(void)
{
    int fd = accept4(state.listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return;
    size_t i = 0;
    while (i < CONNS_MAX && state.conns[i].fd >= 0)
        i++;
    struct conn *conn = &state.conns[i < CONNS_MAX ? i : 0];
    if (i == CONNS_MAX || !(conn->in = malloc(FRAME_BYTES_MAX))) {
        close(fd);
        return;
    }
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    conn->fd = fd;
    buf_init(&conn->out, BUF_NO_LIMIT);
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = conn};
    if (epoll_ctl(state.epoll, EPOLL_CTL_ADD, fd, &event) != 0)
        fail("epoll");
}

/* Answers the fetches that data came for or whose time is over; how long to sleep at most. */
static int wake_parked(void)
{
    int64_t now = now_ms(), next = now + 1000;
    for (size_t i = 0; i < CONNS_MAX; i++) {
        struct conn *conn = &state.conns[i];
        if (conn->fd < 0 || !conn->is_parked)
            continue;
        if (fetch_has_data(&conn->fetch) || conn->fetch.deadline_ms <= now) {
            fetch_answer(conn);
            if (!conn_send(conn))
                conn_close(conn);
        } else if (conn->fetch.deadline_ms < next) {
            next = conn->fetch.deadline_ms;
        }
    }
    return (int)(next - now);
}

static void listen_on(uint16_t port)
{
    state.listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int one = 1;
    setsockopt(state.listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(state.listener, (struct sockaddr *)&address, sizeof(address)) != 0 ||
        listen(state.listener, 64) != 0)
        fail("listen");
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    if (epoll_ctl(state.epoll, EPOLL_CTL_ADD, state.listener, &event) != 0)
        fail("epoll");
}

int main(int argc, char **argv)
{
    int64_t port;
    if (argc != 3 || parse_i64_in(str_of(argv[1]), 1, UINT16_MAX, &port) != ERR_OK) {
        fprintf(stderr, "usage: bench_floor PORT FILE\n");
        return 2;
    }
    state.port = (uint16_t)port;
    state.file = open(argv[2], O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (state.file < 0)
        fail(argv[2]);
    for (size_t i = 0; i < CONNS_MAX; i++)
        state.conns[i].fd = -1;
    state.epoll = epoll_create1(EPOLL_CLOEXEC);
    listen_on(state.port);
    for (int wait_ms = 1000;; wait_ms = wake_parked()) {
        struct epoll_event events[CONNS_MAX];
        int n = epoll_wait(state.epoll, events, CONNS_MAX, wait_ms);
        for (int i = 0; i < n; i++) {
            struct conn *conn = events[i].data.ptr;
            if (!conn)
                conn_accept();
            else if (!conn_receive(conn) || !conn_send(conn))
                conn_close(conn);
        }
    }
}
