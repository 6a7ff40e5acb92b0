/* Members of consumer groups for bench/groups.py: hundreds or thousands from one thread, each on a
 * connection of its own, speaking as the mainstream clients do.
 *
 *   bench_groups PROTOCOL CLIENT PORT TOPIC GROUPS MEMBERS PARTITIONS SESSION_MS HEARTBEAT_MS
 *
 * PROTOCOL is classic or consumer (KIP-848), CLIENT is java (4.x) or librdkafka. The groups have so
 * many members each; the topic is there and has so many partitions; the times are those of the
 * classic protocol. One JSON object on a line says that all groups have settled; then each line of
 * standard input is done, and answered by another:
 *
 *   arrive            one more member comes to the first group
 *   leave             the one that came last says that it leaves
 *   crash             the one that came last closes its connection and says nothing
 *   rest SECONDS      heartbeats only
 *   commit SECONDS N  N members commit the offset of a partition, each again once it is answered
 *
 * What a change took counts from the first byte of the JoinGroup (the heartbeat of epoch 0), of the
 * LeaveGroup (of epoch -1), or from the closing. It ends
 *
 *   classic   stable_ms: the last member has its SyncGroup answer of the new generation
 *   consumer  assigned_ms: by what members were told each partition has one owner, and all have
 *             said that they have what they were told
 *             stable_ms: moreover ConsumerGroupDescribe says so; looked at every few milliseconds
 *             told_ms: moreover each member was told the new epoch
 *
 * groups_member.c says how a member behaves. 127.0.0.1 only. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/parse.h"
#include "bench/groups_member.h"

/* All begin within this time, so that heartbeats do not come in a crowd; few members sooner. */
#define START_MS      6000
#define START_PACE_MS 30
#define LOOK_NEAR_MS  5 /* between two looks at the group, in the beginning */
#define LOOK_MS       25
#define LOOKS_NEAR_MS 500

/* --- when a group has settled --- */

static bool has_synced(void *arg)
{
    const struct group *group = arg;
    return group->count == group->synced;
}

/* Each partition has one owner, who has said that it has it. */
static bool is_assigned(void *arg)
{
    const struct group *group = arg;
    static bool *seen;
    int32_t count = 0;
    if (!seen)
        seen = must(calloc((size_t)all.partitions, sizeof(*seen)));
    memset(seen, 0, (size_t)all.partitions * sizeof(*seen));
    for (int32_t i = 0; i < group->count; i++) {
        const struct member *member = group->members[i];
        if (member->epoch == 0 || member->must_confirm)
            return false;
        for (int32_t p = 0; p < member->owned_len; p++) {
            if (seen[member->owned[p]])
                return false;
            seen[member->owned[p]] = true;
            count++;
        }
    }
    return count == all.partitions;
}

static bool is_settled(void *arg)
{
    const struct group *group = arg;
    bool is_new = all.is_consumer || group->generation > 0;
    return is_new && (all.is_consumer ? is_assigned(arg) : has_synced(arg));
}

static bool are_all_settled(void *arg)
{
    (void)arg;
    for (int32_t g = 0; g < all.group_count; g++)
        if (!is_settled(&all.groups[g]))
            return false;
    return true;
}

/* What the broker says of a consumer group. */
struct look {
    struct group *group;
    int32_t epoch_before;
    int32_t epoch;
    bool is_stable;
};

static void look(struct look *look)
{
    struct consumer_group_describe_request request;
    struct consumer_group_describe_response response;
    struct str id = str_of(look->group->id);
    codec_init(&consumer_group_describe_request_schema, &request);
    request.group_ids = &id;
    request.group_ids_len = 1;
    call(CONSUMER_DESCRIBE, &request, &response);
    check_code("ConsumerGroupDescribe", response.groups[0].error_code);
    look->epoch = response.groups[0].group_epoch;
    look->is_stable = look->epoch > look->epoch_before &&
                      response.groups[0].members_len == look->group->count &&
                      str_eq(response.groups[0].group_state, STR("Stable"));
}

static bool are_all_told(void *arg)
{
    const struct look *look = arg;
    for (int32_t i = 0; i < look->group->count; i++)
        if (look->group->members[i]->epoch < look->epoch)
            return false;
    return true;
}

/* --- a change, and what it takes --- */

struct change {
    int64_t began_ns;
    struct look look;
    int32_t generation_before;
};

static struct change change_prepare(void)
{
    struct group *group = &all.groups[0];
    struct change change = {.look.group = group, .generation_before = group->generation};
    if (all.is_consumer) {
        look(&change.look);
        change.look.epoch_before = change.look.epoch;
        change.look.is_stable = false;
    }
    return change;
}

static bool has_next_generation(void *arg)
{
    const struct change *change = arg;
    struct group *group = change->look.group;
    return group->generation > change->generation_before && has_synced(group);
}

static void finish_classic(struct change *change)
{
    serve_while_not(has_next_generation, change, 1000, "rebalance");
    printf("{\"stable_ms\": %.3f}\n", ms_since(change->began_ns));
}

static void finish_consumer(struct change *change)
{
    struct group *group = change->look.group;
    double assigned_ms = 0;
    for (bool is_first = true; !change->look.is_stable; is_first = false) {
        if (!is_first)
            serve_until(now_ns() +
                        (ms_since(change->began_ns) < LOOKS_NEAR_MS ? LOOK_NEAR_MS : LOOK_MS) * MS);
        serve_while_not(is_assigned, group, 1000, "rebalance");
        assigned_ms = assigned_ms > 0 ? assigned_ms : ms_since(change->began_ns);
        look(&change->look);
        /* What looked assigned was so before the change reached the group. */
        if (change->look.epoch == change->look.epoch_before)
            assigned_ms = 0;
    }
    double stable_ms = ms_since(change->began_ns);
    serve_while_not(are_all_told, &change->look, 1000, "rebalance");
    printf("{\"assigned_ms\": %.3f, \"stable_ms\": %.3f, \"told_ms\": %.3f}\n", assigned_ms,
           stable_ms, ms_since(change->began_ns));
}

static void change_finish(struct change *change)
{
    if (all.is_consumer)
        finish_consumer(change);
    else
        finish_classic(change);
}

static bool has_connected(void *arg)
{
    return ((struct member *)arg)->has_connected;
}

static void arrive(void)
{
    struct member *member = member_connect(&all.groups[0]);
    serve_while_not(has_connected, member, 1000, "connection");
    struct change change = change_prepare();
    change.began_ns = now_ns();
    member_join(member);
    change_finish(&change);
}

static bool has_no_answer_to_come(void *arg)
{
    return ((struct member *)arg)->in_flight_len == 0;
}

static void leave(void)
{
    struct change change = change_prepare();
    struct member *member = member_take_last(&all.groups[0]);
    change.began_ns = now_ns();
    ask_leave(member);
    change_finish(&change);
    serve_while_not(has_no_answer_to_come, member, 1000, "leaving");
    member_free(member);
}

static void crash(void)
{
    struct change change = change_prepare();
    change.began_ns = now_ns();
    member_free(member_take_last(&all.groups[0]));
    change_finish(&change);
}

static void rest(int64_t seconds)
{
    int64_t began_ns = now_ns(), before = all.heartbeats, late_before = all.late;
    double before_s = cpu_s();
    serve_until(began_ns + seconds * 1000 * MS);
    printf("{\"heartbeats\": %lld, \"late\": %lld, \"seconds\": %.3f, \"client_cpu_s\": %.3f}\n",
           (long long)(all.heartbeats - before), (long long)(all.late - late_before),
           ms_since(began_ns) / 1000, cpu_s() - before_s);
}

static int compare_i64(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static bool has_committed(void *arg)
{
    (void)arg;
    return all.committing == 0;
}

/* The first member of each group, then the second of each, and so on. */
static void commit(int64_t seconds, int64_t count)
{
    int64_t began_ns = now_ns();
    double before_s = cpu_s();
    if (count > (int64_t)all.group_count * all.member_count)
        fail("commit", "there are not so many members");
    all.commit_cap = (size_t)seconds * 1000000;
    all.commit_took_ns = must(calloc(all.commit_cap, sizeof(*all.commit_took_ns)));
    all.commit_count = 0;
    all.commit_until_ns = began_ns + seconds * 1000 * MS;
    all.committing = (int32_t)count;
    for (int32_t i = 0; i < count; i++)
        ask_commit(all.groups[i % all.group_count].members[i / all.group_count]);
    serve_while_not(has_committed, NULL, 1000, "commits");
    double took_s = ms_since(began_ns) / 1000;
    size_t kept = all.commit_count < all.commit_cap ? all.commit_count : all.commit_cap;
    qsort(all.commit_took_ns, kept, sizeof(*all.commit_took_ns), compare_i64);
    printf("{\"commits\": %zu, \"per_second\": %.1f, \"p50_ms\": %.4f, \"p99_ms\": %.4f, "
           "\"client_cpu_s\": %.3f}\n",
           all.commit_count, (double)all.commit_count / took_s,
           (double)all.commit_took_ns[kept / 2] / 1e6,
           (double)all.commit_took_ns[kept * 99 / 100] / 1e6, cpu_s() - before_s);
    free(all.commit_took_ns);
}

/* --- what it is told --- */

static int64_t number(const char *text, int64_t min, int64_t max)
{
    int64_t value;
    if (!text || parse_i64_in(str_of(text), min, max, &value) != ERR_OK)
        fail(text ? text : "command", "not a number in its range");
    return value;
}

static void obey(char *line)
{
    char *words[3] = {NULL, NULL, NULL}, *rest_of_line = line;
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        words[i] = strsep(&rest_of_line, " ");
    if (strcmp(words[0], "arrive") == 0)
        arrive();
    else if (strcmp(words[0], "leave") == 0)
        leave();
    else if (strcmp(words[0], "crash") == 0)
        crash();
    else if (strcmp(words[0], "rest") == 0)
        rest(number(words[1], 1, 3600));
    else if (strcmp(words[0], "commit") == 0)
        commit(number(words[1], 1, 3600), number(words[2], 1, INT32_MAX));
    else
        fail(words[0], "no such command");
    fflush(stdout);
}

/* One command is written when the one before is answered, so a line is all that there is to read.
 */
static bool read_command(char *line, size_t size)
{
    all.is_stdin_ready = false;
    while (!all.is_stdin_ready)
        serve_once(now_ns() + 1000 * MS);
    ssize_t n = read(STDIN_FILENO, line, size - 1);
    if (n <= 0)
        return false;
    line[n] = '\0';
    line[strcspn(line, "\n")] = '\0';
    return true;
}

/* The first who asks makes `__consumer_offsets`. */
static void find_coordinator(void)
{
    struct find_coordinator_request request;
    struct find_coordinator_response response;
    struct str key = STR("bench");
    codec_init(&find_coordinator_request_schema, &request);
    request.coordinator_keys = &key;
    request.coordinator_keys_len = 1;
    do {
        usleep(NOT_READY_MS * 1000);
        call(FIND_COORDINATOR, &request, &response);
    } while (is_not_ready(response.coordinators[0].error_code));
    check_code("FindCoordinator", response.coordinators[0].error_code);
}

static void begin_groups(void)
{
    int64_t began_ns = now_ns();
    int64_t pace_ns = START_MS * MS / ((int64_t)all.group_count * all.member_count);
    if (pace_ns > START_PACE_MS * MS)
        pace_ns = START_PACE_MS * MS;
    all.groups = must(calloc((size_t)all.group_count, sizeof(*all.groups)));
    for (int32_t g = 0; g < all.group_count; g++) {
        struct group *group = &all.groups[g];
        snprintf(group->id, sizeof(group->id), "%s-%s-%s-%d", all.topic,
                 all.is_consumer ? "consumer" : "classic", all.is_java ? "java" : "librdkafka", g);
        for (int32_t m = 0; m < all.member_count; m++) {
            struct member *member = member_connect(group);
            serve_while_not(has_connected, member, 1000, "connection");
            member_join(member);
            serve_until(began_ns + ((int64_t)g * all.member_count + m + 1) * pace_ns);
        }
    }
    serve_while_not(are_all_settled, NULL, 20, "the beginning");
    printf("{\"settled_s\": %.3f}\n", ms_since(began_ns) / 1000);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    char line[256];
    if (argc != 10) {
        fprintf(stderr, "usage: bench_groups classic|consumer java|librdkafka PORT TOPIC GROUPS "
                        "MEMBERS PARTITIONS SESSION_MS HEARTBEAT_MS\n");
        return 2;
    }
    all.is_consumer = strcmp(argv[1], "consumer") == 0;
    all.is_java = strcmp(argv[2], "java") == 0;
    all.port = (uint16_t)number(argv[3], 1, UINT16_MAX);
    all.topic = argv[4];
    all.group_count = (int32_t)number(argv[5], 1, 100000);
    all.member_count = (int32_t)number(argv[6], 1, 100000);
    all.partitions = (int32_t)number(argv[7], 1, 100000);
    all.session_ms = (int32_t)number(argv[8], 1, INT32_MAX);
    all.heartbeat_ms = (int32_t)number(argv[9], 1, INT32_MAX);
    all.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    if (all.epoll_fd < 0 || epoll_ctl(all.epoll_fd, EPOLL_CTL_ADD, STDIN_FILENO, &event) != 0)
        fail("epoll", strerror(errno));
    heap_init(&all.due);
    buf_init(&all.out, BUF_NO_LIMIT);
    arena_init(&all.arena, ARENA_NO_LIMIT);
    all.read_bytes = must(malloc(READ_BYTES));
    find_coordinator();
    begin_groups();
    while (read_command(line, sizeof(line)))
        obey(line);
    return 0;
}
