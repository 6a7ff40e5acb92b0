/* Reads a topic as a member of a consumer group and prints its records.
 *
 * The group says which partitions are the member's, and its committed offsets where it goes on;
 * --from is for partitions without one. What is printed is committed once a second, when partitions
 * go to another member, and at the end: never before it has left for standard output, so that a
 * crash prints records again and skips none. Reading ends where all of the member's partitions are
 * read to their end, after --count records, or at Ctrl-C; with --follow there is no end.
 *
 * Main thread; librdkafka calls back on it, while its queue is asked. */
#include "cli/consume_group.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "cli/consume_print.h"
#include "cli/interrupt.h"
#include "cli/position.h"

#define BATCH_RECORDS 1024
#define POLL_MS       100

/* A partition that is the member's. */
struct part {
    int32_t partition;
    bool is_unstored; /* something is printed that is not librdkafka's to commit yet... */
    int64_t next;     /* ...up to this offset */
    bool is_at_end;
};

struct member {
    const struct args *args;
    const char *topic;
    rd_kafka_t *rk;
    rd_kafka_queue_t *queue;
    struct part *parts; /* owned */
    size_t part_count;
    bool is_follow;
    int64_t heard_ms;
    struct printer printer;
};

/* ---- partitions come and go ---- */

static struct part *find_part(struct member *member, int32_t partition)
{
    for (size_t i = 0; i < member->part_count; i++) {
        if (member->parts[i].partition == partition)
            return &member->parts[i];
    }
    return NULL;
}

static void add_parts(struct member *member, const rd_kafka_topic_partition_list_t *list)
{
    size_t count = member->part_count + (size_t)list->cnt;
    struct part *parts = realloc(member->parts, (count + 1) * sizeof(*parts));
    if (!parts)
        exit(out_fail(EXIT_REFUSED, "out of memory"));
    member->parts = parts;
    for (int i = 0; i < list->cnt; i++)
        if (!find_part(member, list->elems[i].partition))
            parts[member->part_count++] = (struct part){.partition = list->elems[i].partition};
}

static void drop_parts(struct member *member, const rd_kafka_topic_partition_list_t *list)
{
    for (int i = 0; i < list->cnt; i++) {
        struct part *part = find_part(member, list->elems[i].partition);
        if (part)
            *part = member->parts[--member->part_count];
    }
}

/* What has left for standard output may be committed. */
static void store_printed(struct member *member)
{
    printer_flush(&member->printer);
    if (member->printer.code || member->printer.is_closed)
        return;
    rd_kafka_topic_partition_list_t *list =
        rdkafka.topic_partition_list_new((int)member->part_count);
    for (size_t i = 0; i < member->part_count; i++) {
        struct part *part = &member->parts[i];
        if (!part->is_unstored)
            continue;
        rdkafka.topic_partition_list_add(list, member->topic, part->partition)->offset = part->next;
        part->is_unstored = false;
    }
    /* Fails for a partition that is another's by now, and is read again there. */
    if (list->cnt > 0)
        (void)rdkafka.offsets_store(member->rk, list);
    rdkafka.topic_partition_list_destroy(list);
}

static void on_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t err,
                         rd_kafka_topic_partition_list_t *list, void *opaque)
{
    struct member *member = opaque;
    bool is_step = strcmp(rdkafka.rebalance_protocol(rk), "COOPERATIVE") == 0;
    member->heard_ms = clock_now_ms();
    if (err == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
        add_parts(member, list);
        if (is_step)
            rdkafka.error_destroy(rdkafka.incremental_assign(rk, list));
        else
            (void)rdkafka.assign(rk, list);
        return;
    }
    store_printed(member);
    drop_parts(member, list);
    if (is_step)
        rdkafka.error_destroy(rdkafka.incremental_unassign(rk, list));
    else
        (void)rdkafka.assign(rk, NULL);
}

/* ---- reading ---- */

static void on_error(struct member *member, const rd_kafka_message_t *message)
{
    struct part *part = find_part(member, message->partition);
    switch (message->err) {
    case RD_KAFKA_RESP_ERR__PARTITION_EOF:
        if (part)
            part->is_at_end = true;
        return;
    case RD_KAFKA_RESP_ERR__MAX_POLL_EXCEEDED: /* the output stood still; it joins again */
        return;
    case RD_KAFKA_RESP_ERR__TRANSPORT: /* librdkafka goes on by itself after these */
    case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
    case RD_KAFKA_RESP_ERR__RESOLVE:
        if (member->is_follow)
            return;
        break;
    default:
        break;
    }
    member->printer.code = rk_fail(message->err, rdkafka.message_errstr(message),
                                   "cannot read '%s' in the group", member->topic);
}

static void on_record(struct member *member, const rd_kafka_message_t *message)
{
    struct part *part = find_part(member, message->partition);
    if (!part || member->printer.left == 0)
        return;
    part->next = message->offset + 1;
    part->is_unstored = true;
    part->is_at_end = false;
    printer_put(&member->printer, message);
}

static bool is_read(const struct member *member)
{
    for (size_t i = 0; i < member->part_count; i++) {
        if (!member->parts[i].is_at_end)
            return false;
    }
    return member->part_count > 0 && !member->is_follow;
}

static bool may_go_on(const struct member *member)
{
    return printer_goes_on(&member->printer) && !is_read(member) && !interrupt_is_set();
}

static int fail_silence(const struct member *member)
{
    if (member->part_count == 0)
        return out_fail(EXIT_UNREACHABLE,
                        "no partition of '%s' came to this member within the timeout; the other "
                        "members have them all, perhaps: see 'taffrail group describe'",
                        member->topic);
    return rk_fail_silence();
}

static void read_records(struct member *member)
{
    static rd_kafka_message_t *batch[BATCH_RECORDS];
    member->heard_ms = clock_now_ms();
    while (may_go_on(member)) {
        ssize_t count = rdkafka.consume_batch_queue(member->queue, POLL_MS, batch, BATCH_RECORDS);
        for (ssize_t i = 0; i < count; i++) {
            if (batch[i]->err)
                on_error(member, batch[i]);
            else
                on_record(member, batch[i]);
            rdkafka.message_destroy(batch[i]);
        }
        store_printed(member);
        int64_t now_ms = clock_now_ms();
        if (count > 0)
            member->heard_ms = now_ms;
        else if (!member->is_follow && now_ms - member->heard_ms > args_timeout_ms(member->args))
            member->printer.code = fail_silence(member);
    }
}

/* ---- begin and end ---- */

/* Where to begin without an offset of the group's; NULL after saying what is wrong. */
static const char *reset_of(const struct member *member)
{
    struct position from = {member->is_follow ? POSITION_END : POSITION_BEGINNING, 0};
    const char *text = args_text(member->args, "from");
    enum err err = text ? position_parse(str_of(text), &from) : ERR_OK;
    ASSERT(err == ERR_OK); /* args_parse checked it */
    if (from.kind == POSITION_BEGINNING || from.kind == POSITION_END)
        return from.kind == POSITION_END ? "latest" : "earliest";
    (void)out_fail(EXIT_USAGE,
                   "with --group, --from is beginning or end, for partitions without an offset of "
                   "the group's; 'taffrail group seek' sets where a group goes on");
    return NULL;
}

static int open_member(struct member *member)
{
    const char *const excluded[] = {"to", "partition"};
    for (size_t i = 0; i < ARRAY_LEN(excluded); i++) {
        if (args_has(member->args, excluded[i]))
            return out_fail(EXIT_USAGE,
                            "--group and --%s exclude each other: the group's members "
                            "share the partitions, and read on from its offsets",
                            excluded[i]);
    }
    if (args_text(member->args, "group")[0] == '\0')
        return out_fail(EXIT_USAGE, "--group needs a name");
    const char *reset = reset_of(member);
    if (!reset)
        return EXIT_USAGE;
    const char *const settings[] = {"group.id",
                                    args_text(member->args, "group"),
                                    "enable.partition.eof",
                                    "true",
                                    "check.crcs",
                                    "true",
                                    "auto.offset.reset",
                                    reset,
                                    "isolation.level",
                                    args_text(member->args, "isolation"),
                                    "enable.auto.offset.store",
                                    "false",
                                    "auto.commit.interval.ms",
                                    "1000",
                                    NULL};
    return rk_open_member(member->args, settings, on_rebalance, member, &member->rk);
}

static int join(struct member *member)
{
    int count;
    int64_t timeout_ms = args_timeout_ms(member->args);
    int code = rk_count_partitions(member->rk, member->topic, timeout_ms, &count);
    if (code)
        return code;
    rdkafka.poll_set_consumer(member->rk);
    member->queue = rdkafka.queue_get_consumer(member->rk);
    rd_kafka_topic_partition_list_t *topics = rdkafka.topic_partition_list_new(1);
    rdkafka.topic_partition_list_add(topics, member->topic, RD_KAFKA_PARTITION_UA);
    rd_kafka_resp_err_t err = rdkafka.subscribe(member->rk, topics);
    rdkafka.topic_partition_list_destroy(topics);
    return err ? rk_fail(err, NULL, "cannot subscribe to '%s'", member->topic) : EXIT_FINE;
}

/* What was printed is the group's before this member goes. */
static int commit_printed(struct member *member)
{
    rd_kafka_resp_err_t err = rdkafka.commit(member->rk, NULL, 0);
    if (err == RD_KAFKA_RESP_ERR_NO_ERROR || err == RD_KAFKA_RESP_ERR__NO_OFFSET)
        return EXIT_FINE;
    return rk_fail(err, NULL,
                   "cannot commit the group's last offsets: what was printed since the "
                   "commit before will be read again");
}

static int finish(struct member *member)
{
    int code = commit_printed(member);
    int summary_code = printer_summary(&member->printer);
    if (member->printer.code)
        return member->printer.code;
    if (code || summary_code || member->is_follow)
        return code ? code : summary_code;
    return interrupt_is_set() ? EXIT_INTERRUPTED : EXIT_FINE;
}

static void close_member(struct member *member)
{
    if (member->queue) {
        rdkafka.queue_destroy(member->queue);
        (void)rdkafka.consumer_close(member->rk); /* what is to be committed is */
    }
    if (member->rk)
        rdkafka.destroy(member->rk);
    free(member->parts);
    printer_deinit(&member->printer);
}

int consume_group_run(const struct args *args)
{
    struct member member = {
        .args = args, .topic = args->operands[0], .is_follow = args_has(args, "follow")};
    printer_init(&member.printer, args);
    interrupt_catch();
    int code = open_member(&member);
    if (!code)
        code = join(&member);
    if (!code) {
        member.printer.began_ms = clock_now_ms();
        read_records(&member);
        code = finish(&member);
    }
    close_member(&member);
    return code;
}
