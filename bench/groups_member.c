/* Members of consumer groups; see groups_member.h.
 *
 * How a member behaves is from the clients' sources. A heartbeat is due its interval after the last
 * was sent. Java's classic member begins that interval anew when it has joined; librdkafka's goes
 * on. A rebalance is learnt from a heartbeat's answer, and answered with a JoinGroup at once. With
 * KIP-848 what was assigned is confirmed at once; else Java waits 100 ms after an answer before it
 * sends again, and librdkafka gives a request no more time than the interval it was told: later
 * answers are counted. There is nothing to commit and no callback at a revocation. */
#include "bench/groups_member.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SETTLE_MS        INT64_C(120000)
#define REBALANCE_MS     300000
#define JAVA_BACKOFF_MS  100
#define ANSWER_BYTES_MAX ((size_t)16 << 20)

struct everything all;

/* What Kafka's own client of 4.3 sends. */
static const struct api_use {
    int16_t key, version;
    const struct msg_schema *request, *response;
} apis[] = {
    {OFFSET_COMMIT, 9, &offset_commit_request_schema, &offset_commit_response_schema},
    {FIND_COORDINATOR, 6, &find_coordinator_request_schema, &find_coordinator_response_schema},
    {JOIN_GROUP, 9, &join_group_request_schema, &join_group_response_schema},
    {HEARTBEAT, 4, &heartbeat_request_schema, &heartbeat_response_schema},
    {LEAVE_GROUP, 5, &leave_group_request_schema, &leave_group_response_schema},
    {SYNC_GROUP, 5, &sync_group_request_schema, &sync_group_response_schema},
    {API_VERSIONS, 4, &api_versions_request_schema, &api_versions_response_schema},
    {CONSUMER_HEARTBEAT, 1, &consumer_group_heartbeat_request_schema,
     &consumer_group_heartbeat_response_schema},
    {CONSUMER_DESCRIBE, 1, &consumer_group_describe_request_schema,
     &consumer_group_describe_response_schema},
};

double ms_since(int64_t began_ns)
{
    return (double)(now_ns() - began_ns) / 1e6;
}

void *must(void *memory)
{
    if (!memory)
        fail("memory", strerror(errno));
    return memory;
}

bool is_not_ready(int16_t code)
{
    return code == wire_code_of_err(ERR_NOT_COORDINATOR) ||
           code == wire_code_of_err(ERR_COORDINATOR_NOT_AVAILABLE) ||
           code == wire_code_of_err(ERR_COORDINATOR_LOAD_IN_PROGRESS);
}

void check_code(const char *what, int16_t code)
{
    char why[64];
    snprintf(why, sizeof(why), "error code %d", code);
    if (code != 0)
        fail(what, why);
}

/* --- requests --- */

static const struct api_use *api_use_of(enum api api)
{
    for (size_t i = 0; i < ARRAY_LEN(apis); i++)
        if (apis[i].key == (int16_t)api)
            return &apis[i];
    fail("api", "it is not in the table");
}

static void send_all(int fd, const uint8_t *data, size_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, data, len, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) {
            struct pollfd wait = {.fd = fd, .events = POLLOUT};
            (void)poll(&wait, 1, -1);
            continue;
        }
        if (n < 0)
            fail("send", strerror(errno));
        data += n;
        len -= (size_t)n;
    }
}

static void send_request(int fd, enum api api, const void *body)
{
    const struct api_use *use = api_use_of(api);
    struct request_header header = {
        .api_key = use->key, .api_version = use->version, .client_id = STR("bench")};
    struct codec_error why;
    buf_reset(&all.out);
    buf_put_be32(&all.out, 0);
    request_header_encode(api_find(use->key), &header, &all.out);
    if (codec_encode(use->request, use->version, body, &all.out, &why) != ERR_OK)
        fail("request", why.text);
    be32_store(all.out.data, (uint32_t)(all.out.len - 4));
    send_all(fd, all.out.data, all.out.len);
}

static void ask(struct member *member, enum api api, const void *body)
{
    if (member->in_flight_len == IN_FLIGHT_MAX)
        fail("request", "too many are unanswered");
    member->in_flight[member->in_flight_len++] = api;
    send_request(member->fd, api, body);
}

bool is_in_flight(const struct member *member, enum api api)
{
    for (int i = 0; i < member->in_flight_len; i++)
        if (member->in_flight[i] == api)
            return true;
    return false;
}

static void set_due(struct member *member, int64_t at_ns)
{
    heap_remove(&all.due, &member->due);
    heap_insert(&all.due, &member->due, (uint64_t)(at_ns > 0 ? at_ns : 0));
}

static void ask_versions(int fd)
{
    struct api_versions_request request;
    codec_init(&api_versions_request_schema, &request);
    request.client_software_name = all.is_java ? STR("apache-kafka-java") : STR("librdkafka");
    request.client_software_version = all.is_java ? STR("4.3.1") : STR("2.11.0");
    send_request(fd, API_VERSIONS, &request);
}

/* A message inside of a message has its version in front. */
static struct slice with_version(const struct msg_schema *schema, int16_t version, const void *msg)
{
    struct buf bytes;
    buf_init(&bytes, BUF_NO_LIMIT);
    buf_put_be16(&bytes, (uint16_t)version);
    if (codec_encode(schema, version, msg, &bytes, NULL) != ERR_OK || bytes.err != ERR_OK)
        fail("protocol", "it cannot be encoded");
    struct slice copy = arena_slice(&all.arena, buf_slice(&bytes));
    buf_deinit(&bytes);
    return copy;
}

static void ask_join(struct member *member)
{
    static struct slice subscription;
    if (!subscription.data) {
        struct consumer_protocol_subscription say;
        struct str topic = str_of(all.topic);
        codec_init(&consumer_protocol_subscription_schema, &say);
        say.topics = &topic;
        say.topics_len = 1;
        struct slice bytes = with_version(&consumer_protocol_subscription_schema, 1, &say);
        subscription = slice_of(memcpy(must(malloc(bytes.len)), bytes.data, bytes.len), bytes.len);
    }
    struct join_group_request request;
    struct join_group_request_protocol protocol;
    codec_init(&join_group_request_schema, &request);
    MSG_INIT(join_group_request_protocol, &protocol);
    protocol.name = STR("range");
    protocol.metadata = subscription;
    request.group_id = str_of(member->group->id);
    request.session_timeout_ms = all.session_ms;
    request.rebalance_timeout_ms = REBALANCE_MS;
    request.member_id = str_of(member->id);
    request.protocol_type = STR("consumer");
    request.protocols = &protocol;
    request.protocols_len = 1;
    heap_remove(&all.due, &member->due);
    ask(member, JOIN_GROUP, &request);
}

static void ask_heartbeat(struct member *member)
{
    struct heartbeat_request request;
    codec_init(&heartbeat_request_schema, &request);
    request.group_id = str_of(member->group->id);
    request.generation_id = member->epoch;
    request.member_id = str_of(member->id);
    ask(member, HEARTBEAT, &request);
    all.heartbeats++;
    member->sent_ns = now_ns();
    set_due(member, member->sent_ns + all.heartbeat_ms * MS);
}

/* All that there is to say at a join; later what the member has, where that is to be confirmed. */
static void ask_consumer_heartbeat(struct member *member)
{
    struct consumer_group_heartbeat_request request;
    struct consumer_group_heartbeat_request_topic_partition topic;
    struct str name = str_of(all.topic);
    codec_init(&consumer_group_heartbeat_request_schema, &request);
    MSG_INIT(consumer_group_heartbeat_request_topic_partition, &topic);
    request.group_id = str_of(member->group->id);
    request.member_id = str_of(member->id);
    request.member_epoch = member->epoch;
    if (member->epoch == 0) {
        request.rebalance_timeout_ms = REBALANCE_MS;
        request.subscribed_topic_names = &name;
        request.subscribed_topic_names_len = 1;
    }
    if (member->epoch == 0 || member->must_confirm) {
        topic.topic_id = all.topic_id;
        topic.partitions = member->owned;
        topic.partitions_len = member->owned_len;
        request.topic_partitions = &topic;
        request.topic_partitions_len = member->owned_len > 0;
    }
    ask(member, CONSUMER_HEARTBEAT, &request);
    all.heartbeats++;
    member->must_confirm = false;
    member->sent_ns = now_ns();
    heap_remove(&all.due, &member->due); /* until it is answered */
}

void ask_leave(struct member *member)
{
    member->is_leaving = true;
    if (all.is_consumer) {
        struct consumer_group_heartbeat_request request;
        codec_init(&consumer_group_heartbeat_request_schema, &request);
        request.group_id = str_of(member->group->id);
        request.member_id = str_of(member->id);
        request.member_epoch = -1;
        ask(member, CONSUMER_HEARTBEAT, &request);
        return;
    }
    struct leave_group_request request;
    struct leave_group_request_member leaver;
    codec_init(&leave_group_request_schema, &request);
    MSG_INIT(leave_group_request_member, &leaver);
    leaver.member_id = str_of(member->id);
    request.group_id = str_of(member->group->id);
    request.members = &leaver;
    request.members_len = 1;
    ask(member, LEAVE_GROUP, &request);
}

void ask_commit(struct member *member)
{
    struct offset_commit_request request;
    struct offset_commit_request_topic topic;
    struct offset_commit_request_partition partition;
    codec_init(&offset_commit_request_schema, &request);
    MSG_INIT(offset_commit_request_topic, &topic);
    MSG_INIT(offset_commit_request_partition, &partition);
    partition.partition_index = member->owned_len > 0 ? member->owned[0] : 0;
    partition.committed_offset = ++member->offset;
    partition.committed_metadata = STR("");
    topic.name = str_of(all.topic);
    topic.partitions = &partition;
    topic.partitions_len = 1;
    request.group_id = str_of(member->group->id);
    request.generation_id_or_member_epoch = member->epoch;
    request.member_id = str_of(member->id);
    request.topics = &topic;
    request.topics_len = 1;
    member->commit_ns = now_ns();
    ask(member, OFFSET_COMMIT, &request);
}

/* --- the leader of the classic protocol: each its share of the partitions, as `range` does --- */

static void ask_sync(struct member *member, const struct join_group_response *joined)
{
    struct sync_group_request request;
    int32_t count = joined->members_len;
    codec_init(&sync_group_request_schema, &request);
    request.group_id = str_of(member->group->id);
    request.generation_id = member->epoch;
    request.member_id = str_of(member->id);
    request.protocol_type = joined->protocol_type;
    request.protocol_name = joined->protocol_name;
    request.assignments = MSG_ARRAY(sync_group_request_assignment, &all.arena, (size_t)count);
    int32_t *numbers = arena_array(&all.arena, (size_t)all.partitions, sizeof(*numbers));
    if (!request.assignments || !numbers)
        fail("memory", "the arena has none");
    request.assignments_len = count;
    for (int32_t i = 0; i < all.partitions; i++)
        numbers[i] = i;
    for (int32_t i = 0, at = 0; i < count; i++) {
        int32_t share = all.partitions / count + (i < all.partitions % count);
        struct consumer_protocol_assignment assignment;
        struct consumer_protocol_assignment_assigned_partition assigned;
        codec_init(&consumer_protocol_assignment_schema, &assignment);
        MSG_INIT(consumer_protocol_assignment_assigned_partition, &assigned);
        assigned.topic = str_of(all.topic);
        assigned.partitions = numbers + at;
        assigned.partitions_len = share;
        assignment.assigned_partitions = &assigned;
        assignment.assigned_partitions_len = share > 0;
        request.assignments[i].member_id = joined->members[i].member_id;
        request.assignments[i].assignment =
            with_version(&consumer_protocol_assignment_schema, 1, &assignment);
        at += share;
    }
    ask(member, SYNC_GROUP, &request);
}

/* --- answers --- */

static void take_id(struct member *member, struct str id)
{
    if (id.len >= ID_MAX)
        fail("member id", "it is too long");
    memcpy(member->id, id.data, id.len);
    member->id[id.len] = '\0';
}

static void on_join(struct member *member, const struct join_group_response *response)
{
    if (response->error_code == wire_code_of_err(ERR_MEMBER_ID_REQUIRED)) {
        take_id(member, response->member_id);
        ask_join(member);
        return;
    }
    if (member->epoch == 0 && is_not_ready(response->error_code)) {
        set_due(member, now_ns() + NOT_READY_MS * MS);
        return;
    }
    check_code("JoinGroup", response->error_code);
    take_id(member, response->member_id);
    member->epoch = response->generation_id;
    if (all.is_java)
        set_due(member, now_ns() + all.heartbeat_ms * MS);
    ask_sync(member, response);
}

static void take_partitions(struct member *member, const int32_t *partitions, int32_t len)
{
    if (len > all.partitions)
        fail("assignment", "it has more than there is");
    if (len > 0)
        memcpy(member->owned, partitions, (size_t)len * sizeof(*partitions));
    member->owned_len = len;
}

static void on_sync(struct member *member, const struct sync_group_response *response)
{
    struct group *group = member->group;
    if (response->error_code == wire_code_of_err(ERR_REBALANCE_IN_PROGRESS)) {
        ask_join(member);
        return;
    }
    check_code("SyncGroup", response->error_code);
    struct consumer_protocol_assignment assignment;
    struct slice bytes = response->assignment;
    size_t used;
    if (bytes.len < 2 ||
        codec_decode(&consumer_protocol_assignment_schema, (int16_t)be16_load(bytes.data),
                     slice_of(bytes.data + 2, bytes.len - 2), &used, &all.arena, &assignment,
                     NULL) != ERR_OK)
        fail("SyncGroup", "no assignment");
    take_partitions(member, NULL, 0);
    if (assignment.assigned_partitions_len > 0)
        take_partitions(member, assignment.assigned_partitions[0].partitions,
                        assignment.assigned_partitions[0].partitions_len);
    if (member->epoch > group->generation) {
        group->generation = member->epoch;
        group->synced = 0;
    }
    group->synced += member->epoch == group->generation;
    if (!all.is_java)
        set_due(member, member->sent_ns == 0 ? 0 : member->sent_ns + all.heartbeat_ms * MS);
}

static void on_heartbeat(struct member *member, const struct heartbeat_response *response)
{
    if (member->is_leaving || is_in_flight(member, JOIN_GROUP))
        return;
    if (response->error_code == wire_code_of_err(ERR_REBALANCE_IN_PROGRESS)) {
        ask_join(member);
        return;
    }
    check_code("Heartbeat", response->error_code);
}

/* Java's pause has a jitter of up to a fifth either way. */
static int64_t java_backoff_ns(const struct member *member)
{
    int64_t jitter = (int64_t)(((uintptr_t)member >> 6) % 41) - 20;
    return JAVA_BACKOFF_MS * MS + jitter * JAVA_BACKOFF_MS * MS / 100;
}

static void on_consumer_heartbeat(struct member *member,
                                  const struct consumer_group_heartbeat_response *response)
{
    if (member->epoch == 0 && is_not_ready(response->error_code)) {
        set_due(member, now_ns() + NOT_READY_MS * MS);
        return;
    }
    check_code("ConsumerGroupHeartbeat", response->error_code);
    int64_t at_ns = now_ns();
    bool has_joined = member->epoch == 0;
    if (!all.is_java && !has_joined && at_ns - member->sent_ns > member->interval_ms * MS)
        all.late++;
    member->epoch = response->member_epoch;
    member->interval_ms = response->heartbeat_interval_ms;
    if (response->assignment) {
        const struct consumer_group_heartbeat_response_topic_partitions *topics =
            response->assignment->topic_partitions;
        bool has_any = response->assignment->topic_partitions_len > 0;
        int32_t len = has_any ? topics[0].partitions_len : 0;
        bool is_same = len == member->owned_len &&
                       (len == 0 || memcmp(member->owned, topics[0].partitions,
                                           (size_t)len * sizeof(*member->owned)) == 0);
        if (has_any)
            all.topic_id = topics[0].topic_id;
        take_partitions(member, has_any ? topics[0].partitions : NULL, len);
        member->must_confirm = has_joined || !is_same;
    }
    if (member->must_confirm) {
        ask_consumer_heartbeat(member);
        return;
    }
    int64_t due_ns = member->sent_ns + member->interval_ms * MS;
    if (all.is_java && due_ns < at_ns + java_backoff_ns(member))
        due_ns = at_ns + java_backoff_ns(member);
    set_due(member, due_ns);
}

static void on_commit(struct member *member, const struct offset_commit_response *response)
{
    int64_t at_ns = now_ns();
    check_code("OffsetCommit", response->topics[0].partitions[0].error_code);
    if (all.commit_count < all.commit_cap)
        all.commit_took_ns[all.commit_count] = at_ns - member->commit_ns;
    all.commit_count++;
    if (at_ns < all.commit_until_ns)
        ask_commit(member);
    else
        all.committing--;
}

/* Into the arena, which is emptied first. */
static void decode(const struct api_use *use, struct slice frame, void *response)
{
    int32_t correlation_id;
    size_t header, used;
    struct codec_error why;
    arena_reset(&all.arena);
    if (response_header_decode(api_find(use->key), use->version, frame, &correlation_id, &header) !=
        ERR_OK)
        fail(use->response->name, "it has no header");
    if (codec_decode(use->response, use->version, slice_of(frame.data + header, frame.len - header),
                     &used, &all.arena, response, &why) != ERR_OK)
        fail(use->response->name, why.text);
}

static void on_answer(struct member *member, struct slice frame)
{
    union {
        struct api_versions_response versions;
        struct join_group_response join;
        struct sync_group_response sync;
        struct heartbeat_response heartbeat;
        struct leave_group_response leave;
        struct offset_commit_response commit;
        struct consumer_group_heartbeat_response consumer_heartbeat;
    } response;
    if (member->in_flight_len == 0)
        fail("answer", "nothing was asked");
    enum api api = member->in_flight[0];
    const struct api_use *use = api_use_of(api);
    memmove(member->in_flight, member->in_flight + 1,
            (size_t)--member->in_flight_len * sizeof(*member->in_flight));
    decode(use, frame, &response);
    switch (api) {
    case API_VERSIONS:
        member->has_connected = true;
        break;
    case JOIN_GROUP:
        on_join(member, &response.join);
        break;
    case SYNC_GROUP:
        on_sync(member, &response.sync);
        break;
    case HEARTBEAT:
        on_heartbeat(member, &response.heartbeat);
        break;
    case LEAVE_GROUP:
        check_code("LeaveGroup", response.leave.error_code);
        break;
    case OFFSET_COMMIT:
        on_commit(member, &response.commit);
        break;
    case CONSUMER_HEARTBEAT:
        if (!member->is_leaving)
            on_consumer_heartbeat(member, &response.consumer_heartbeat);
        break;
    case FIND_COORDINATOR:
    case CONSUMER_DESCRIBE:
        fail("answer", "no member asks for this");
    }
}

static void receive(struct member *member)
{
    struct buf *in = &member->in;
    ssize_t n = recv(member->fd, all.read_bytes, READ_BYTES, 0);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0)
        fail("receive", n == 0 ? "the broker closed the connection" : strerror(errno));
    struct slice bytes = slice_of(all.read_bytes, (size_t)n);
    if (in->len > 0) {
        buf_put(in, bytes.data, bytes.len);
        bytes = buf_slice(in);
    }
    while (bytes.len >= 4 && bytes.len - 4 >= be32_load(bytes.data)) {
        size_t size = be32_load(bytes.data);
        on_answer(member, slice_of(bytes.data + 4, size));
        bytes = slice_of(bytes.data + 4 + size, bytes.len - 4 - size);
    }
    if (in->len > 0) {
        memmove(in->data, bytes.data, bytes.len);
        in->len = bytes.len;
    } else {
        buf_put(in, bytes.data, bytes.len);
    }
    if (in->err != ERR_OK)
        fail("memory", "none for an answer");
}

/* --- members come and go --- */

static int connect_to_broker(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(all.port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int one = 1;
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0)
        fail("connect", strerror(errno));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    return fd;
}

struct member *member_connect(struct group *group)
{
    static uint64_t number;
    struct member *member = must(calloc(1, sizeof(*member)));
    member->group = group;
    member->owned = must(calloc((size_t)all.partitions, sizeof(*member->owned)));
    member->fd = connect_to_broker();
    buf_init(&member->in, ANSWER_BYTES_MAX);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = member};
    if (fcntl(member->fd, F_SETFL, O_NONBLOCK) != 0 ||
        epoll_ctl(all.epoll_fd, EPOLL_CTL_ADD, member->fd, &event) != 0)
        fail("connect", strerror(errno));
    if (all.is_consumer) /* invented by the client; such names only have to differ */
        snprintf(member->id, sizeof(member->id), "member-%llu", (unsigned long long)number++);
    member->in_flight[member->in_flight_len++] = API_VERSIONS;
    ask_versions(member->fd);
    return member;
}

void member_join(struct member *member)
{
    struct group *group = member->group;
    group->members =
        must(realloc(group->members, (size_t)(group->count + 1) * sizeof(*group->members)));
    group->members[group->count++] = member;
    if (all.is_consumer)
        ask_consumer_heartbeat(member);
    else
        ask_join(member);
}

/* It counts no more; its connection is still there. */
struct member *member_take_last(struct group *group)
{
    if (group->count == 0)
        fail("group", "nobody is left");
    struct member *member = group->members[--group->count];
    heap_remove(&all.due, &member->due);
    return member;
}

void member_free(struct member *member)
{
    heap_remove(&all.due, &member->due);
    close(member->fd);
    buf_deinit(&member->in);
    free(member->owned);
    free(member);
}

/* --- time passes --- */

static void beat(struct member *member)
{
    if (all.is_consumer) {
        ask_consumer_heartbeat(member);
    } else if (member->epoch == 0) {
        ask_join(member);
    } else if (is_in_flight(member, HEARTBEAT) || is_in_flight(member, SYNC_GROUP)) {
        set_due(member, now_ns() + all.heartbeat_ms * MS); /* this one is left out */
    } else {
        ask_heartbeat(member);
    }
}

void serve_once(int64_t until_ns)
{
    struct epoll_event events[256];
    struct heap_node *node;
    int64_t at_ns = now_ns(), wake_ns = until_ns;
    while ((node = heap_peek(&all.due)) != NULL && (int64_t)node->key <= at_ns) {
        heap_pop(&all.due);
        beat(HEAP_ENTRY(node, struct member, due));
    }
    if (node && (int64_t)node->key < wake_ns)
        wake_ns = (int64_t)node->key;
    struct timespec wait = {0, 0};
    if (wake_ns > at_ns)
        wait = (struct timespec){(wake_ns - at_ns) / 1000000000, (wake_ns - at_ns) % 1000000000};
    int count = epoll_pwait2(all.epoll_fd, events, (int)ARRAY_LEN(events), &wait, NULL);
    if (count < 0 && errno != EINTR)
        fail("epoll", strerror(errno));
    for (int i = 0; i < count; i++) {
        if (events[i].data.ptr)
            receive(events[i].data.ptr);
        else
            all.is_stdin_ready = true;
    }
}

void serve_until(int64_t until_ns)
{
    do {
        serve_once(until_ns);
    } while (now_ns() < until_ns);
}

void serve_while_not(bool (*is_done)(void *arg), void *arg, int64_t every_ms, const char *what)
{
    int64_t began_ns = now_ns();
    while (!is_done(arg)) {
        if (now_ns() - began_ns > SETTLE_MS * MS)
            fail(what, "it does not come to an end");
        serve_once(now_ns() + every_ms * MS);
    }
}

/* --- a connection that is no member's --- */

void call(enum api api, const void *request, void *response)
{
    static int fd = -1;
    static uint8_t *frame;
    const struct api_use *use = api_use_of(api);
    uint8_t size[4];
    if (fd < 0) {
        fd = connect_to_broker();
        frame = must(malloc(ANSWER_BYTES_MAX));
    }
    send_request(fd, api, request);
    receive_all(fd, size, sizeof(size));
    size_t len = be32_load(size);
    if (len > ANSWER_BYTES_MAX)
        fail(use->response->name, "it is too large");
    receive_all(fd, frame, len);
    decode(use, slice_of(frame, len), response);
}
