/* taffrail group seek: where a group goes on reading. A dry run unless --execute is given.
 *
 * What is sought: the partitions of --topic, or those that the group has offsets of, or those of a
 * file. Each gets a new offset, kept within its log; then all are committed at once, as a consumer
 * without a membership does it, which a coordinator allows while the group has no members. */

#include <stdio.h>
#include <string.h>

#include "base/parse.h"
#include "cli/group.h"
#include "cli/group_logs.h"
#include "cli/group_out.h"
#include "cli/group_view.h"
#include "cli/out.h"
#include "cli/position.h"
#include "wire/errors.h"

#define FILE_BYTES_MAX ((size_t)64 << 20)
/* From version 10 on topics go by id. */
#define OFFSET_COMMIT_BY_NAME_MAX 9

struct seek {
    const struct args *args;
    struct group_session session;
    struct group_view view;
    bool is_new; /* there is no such group yet */
    struct group_partition *partitions;
    size_t count;
    int64_t *targets; /* of each partition; GROUP_UNKNOWN: it is left alone */
};

static void *seek_array(struct seek *seek, size_t count, size_t size)
{
    return client_array(&seek->session.client, count + 1, size);
}

/* ---- which partitions ---- */

static void add_partition(struct seek *seek, struct str topic, int32_t index, int64_t target)
{
    const struct group_partition *known =
        group_find_partition(seek->view.partitions, seek->view.partition_count, topic, index);
    seek->partitions[seek->count] = (struct group_partition){
        topic,         index,         -1,  known ? known->committed : GROUP_UNKNOWN, GROUP_UNKNOWN,
        GROUP_UNKNOWN, GROUP_UNKNOWN, NULL};
    seek->targets[seek->count++] = target;
}

static void make_room(struct seek *seek, size_t count)
{
    struct group_partition *partitions = seek_array(seek, seek->count + count, sizeof(*partitions));
    int64_t *targets = seek_array(seek, seek->count + count, sizeof(*targets));
    if (seek->count) {
        memcpy(partitions, seek->partitions, seek->count * sizeof(*partitions));
        memcpy(targets, seek->targets, seek->count * sizeof(*targets));
    }
    seek->partitions = partitions;
    seek->targets = targets;
}

static int add_whole_topic(struct seek *seek, struct str topic)
{
    struct metadata_request request;
    struct metadata_request_topic wanted;
    struct metadata_response response;
    MSG_INIT(metadata_request, &request);
    MSG_INIT(metadata_request_topic, &wanted);
    wanted.name = topic;
    request.topics = &wanted;
    request.topics_len = 1;
    request.allow_auto_topic_creation = false;
    int code = client_call(&seek->session.client, CLIENT_METADATA, &request, &response);
    if (code)
        return code;
    if (response.topics_len != 1 || response.topics[0].error_code)
        return out_fail(EXIT_NOT_FOUND,
                        "there is no topic '%.*s'; see which there are with 'taffrail topic list'",
                        STR_ARG(topic));
    make_room(seek, (size_t)response.topics[0].partitions_len);
    for (int32_t p = 0; p < response.topics[0].partitions_len; p++)
        add_partition(seek, topic, response.topics[0].partitions[p].partition_index, GROUP_UNKNOWN);
    return EXIT_FINE;
}

/* "orders" or "orders:0,2". */
static int add_topic(struct seek *seek, const char *text)
{
    size_t len = strcspn(text, ":");
    struct str topic = {text, len};
    if (len == 0)
        return out_fail(EXIT_USAGE, "--topic %s: not a TOPIC or TOPIC:PARTITION,...", text);
    if (text[len] == '\0')
        return add_whole_topic(seek, topic);
    for (const char *at = text + len; *at;) {
        int32_t index;
        at++;
        size_t digits = strcspn(at, ",");
        if (parse_i32((struct str){at, digits}, &index) != ERR_OK || index < 0)
            return out_fail(EXIT_USAGE, "--topic %s: '%.*s' is no partition", text, (int)digits,
                            at);
        make_room(seek, 1);
        add_partition(seek, topic, index, GROUP_UNKNOWN);
        at += digits;
    }
    return EXIT_FINE;
}

static struct str next_field(struct str *line)
{
    const char *comma = line->len ? memchr(line->data, ',', line->len) : NULL;
    struct str field = {line->data, comma ? (size_t)(comma - line->data) : line->len};
    *line = comma ? (struct str){comma + 1, line->len - field.len - 1}
                  : (struct str){line->data + line->len, 0};
    while (field.len && (field.data[0] == ' ' || field.data[0] == '"')) {
        field.data++;
        field.len--;
    }
    while (field.len && strchr(" \"\r", field.data[field.len - 1]))
        field.len--;
    return field;
}

/* "topic,partition,offset", or with the group before them, as kafka-consumer-groups exports it. */
static int add_line(struct seek *seek, struct str line, size_t number)
{
    struct str fields[4], rest = line;
    size_t count = 0;
    int32_t index;
    int64_t offset;
    for (; rest.len && count < ARRAY_LEN(fields); count++)
        fields[count] = next_field(&rest);
    struct str *own = fields + (count == 4);
    if (rest.len || count < 3 || own[0].len == 0 || parse_i32(own[1], &index) != ERR_OK ||
        index < 0 || parse_i64_in(own[2], 0, INT64_MAX, &offset) != ERR_OK)
        return out_fail(EXIT_USAGE, "%s:%zu: not a TOPIC,PARTITION,OFFSET",
                        args_text(seek->args, "file"), number);
    if (count == 4 && !str_eq(fields[0], seek->view.id))
        return EXIT_FINE; /* another group's */
    make_room(seek, 1);
    add_partition(seek, own[0], index, offset);
    return EXIT_FINE;
}

static int add_file(struct seek *seek, const char *path)
{
    struct buf text;
    int code = EXIT_FINE;
    buf_init(&text, FILE_BYTES_MAX);
    FILE *file = fopen(path, "re");
    if (!file)
        return out_fail(EXIT_USAGE, "%s cannot be read: %m", path);
    for (char block[4096]; !feof(file) && !ferror(file);)
        buf_put(&text, block, fread(block, 1, sizeof(block), file));
    bool is_read = !ferror(file) && text.err == ERR_OK;
    fclose(file);
    /* The strings of partitions are views of it. */
    struct slice bytes = arena_slice(&seek->session.client.arena, buf_slice(&text));
    buf_deinit(&text);
    if (!is_read)
        return out_fail(EXIT_USAGE, "%s cannot be read, or is larger than 64 MiB", path);
    struct str rest = {(const char *)bytes.data, bytes.len};
    for (size_t number = 1; !code && rest.len; number++) {
        const char *end = memchr(rest.data, '\n', rest.len);
        struct str line = {rest.data, end ? (size_t)(end - rest.data) : rest.len};
        rest = end ? (struct str){end + 1, rest.len - line.len - 1} : (struct str){rest.data, 0};
        if (line.len && line.data[0] != '#' && line.data[0] != '\r')
            code = add_line(seek, line, number);
    }
    return code;
}

static int choose_partitions(struct seek *seek)
{
    const char *topic;
    int code = EXIT_FINE;
    if (args_has(seek->args, "file"))
        return add_file(seek, args_text(seek->args, "file"));
    for (size_t i = 0; !code && (topic = args_nth(seek->args, "topic", i)) != NULL; i++)
        code = add_topic(seek, topic);
    if (args_has(seek->args, "topic"))
        return code;
    make_room(seek, seek->view.partition_count);
    for (size_t i = 0; i < seek->view.partition_count; i++) {
        if (seek->view.partitions[i].committed >= 0)
            add_partition(seek, seek->view.partitions[i].topic, seek->view.partitions[i].index,
                          GROUP_UNKNOWN);
    }
    return EXIT_FINE;
}

/* In order, each once; a target goes with its partition. */
static int sort_partitions(struct seek *seek)
{
    size_t count = seek->count;
    struct group_partition *sorted = seek_array(seek, count, sizeof(*sorted));
    int64_t *targets = seek_array(seek, count, sizeof(*targets));
    if (count)
        memcpy(sorted, seek->partitions, count * sizeof(*sorted));
    group_sort_partitions(sorted, count);
    for (size_t i = 1; i < count; i++) {
        if (sorted[i].index == sorted[i - 1].index && str_eq(sorted[i].topic, sorted[i - 1].topic))
            return out_fail(EXIT_USAGE, "%.*s-%d is named twice", STR_ARG(sorted[i].topic),
                            sorted[i].index);
    }
    for (size_t i = 0; i < count; i++) {
        const struct group_partition *own = group_find_partition(
            sorted, count, seek->partitions[i].topic, seek->partitions[i].index);
        targets[own - sorted] = seek->targets[i];
    }
    seek->partitions = sorted;
    seek->targets = targets;
    return EXIT_FINE;
}

/* ---- where to ---- */

static int seek_to_time(struct seek *seek, int64_t time_ms)
{
    int64_t *offsets = seek_array(seek, seek->count, sizeof(*offsets));
    int code = group_find_offsets(&seek->session, seek->partitions, seek->count, time_ms, offsets);
    /* No record is as new: the end. */
    for (size_t i = 0; !code && i < seek->count; i++)
        seek->targets[i] = offsets[i] < 0 ? seek->partitions[i].end : offsets[i];
    return code;
}

static int seek_to(struct seek *seek, const struct position *position)
{
    if (position->kind == POSITION_TIME)
        return seek_to_time(seek, position->value);
    if (position->kind == POSITION_AGO)
        return seek_to_time(seek, group_wall_ms() - position->value);
    for (size_t i = 0; i < seek->count; i++) {
        const struct group_partition *partition = &seek->partitions[i];
        seek->targets[i] = position->kind == POSITION_BEGINNING ? partition->begin
                           : position->kind == POSITION_END     ? partition->end
                           : position->kind == POSITION_TAIL    ? partition->end - position->value
                                                                : position->value;
        if (position->kind == POSITION_TAIL && seek->targets[i] < 0)
            seek->targets[i] = 0;
    }
    return EXIT_FINE;
}

static void seek_by(struct seek *seek, int64_t step)
{
    for (size_t i = 0; i < seek->count; i++) {
        int64_t committed = seek->partitions[i].committed;
        if (committed < 0)
            out_note("%.*s-%d is left alone: nothing is committed there",
                     STR_ARG(seek->partitions[i].topic), seek->partitions[i].index);
        else if (step > 0 && committed > INT64_MAX - step)
            seek->targets[i] = INT64_MAX;
        else
            seek->targets[i] = committed + step < 0 ? 0 : committed + step;
    }
}

/* Offsets outside of the log would send the group wherever auto.offset.reset says. */
static int keep_in_log(struct seek *seek)
{
    for (size_t i = 0; i < seek->count; i++) {
        const struct group_partition *partition = &seek->partitions[i];
        int64_t *target = &seek->targets[i];
        if (partition->leader < 0 || partition->begin < 0 || partition->end < 0)
            return out_fail(EXIT_NOT_FOUND, "%.*s-%d does not exist, or has no leader",
                            STR_ARG(partition->topic), partition->index);
        if (*target == GROUP_UNKNOWN)
            continue;
        int64_t within = *target < partition->begin ? partition->begin
                         : *target > partition->end ? partition->end
                                                    : *target;
        if (within != *target)
            out_note("%.*s-%d: %lld is outside of the log; %lld is taken",
                     STR_ARG(partition->topic), partition->index, (long long)*target,
                     (long long)within);
        *target = within;
    }
    return EXIT_FINE;
}

static int choose_targets(struct seek *seek)
{
    const struct args *args = seek->args;
    struct position position;
    int code = EXIT_FINE;
    if (args_has(args, "to")) {
        /* args_parse checked the form. */
        if (position_parse(str_of(args_text(args, "to")), &position) != ERR_OK)
            return out_fail(EXIT_USAGE, "--to: %s", POSITION_FORMS);
        code = seek_to(seek, &position);
    } else if (args_has(args, "shift")) {
        seek_by(seek, args_number(args, "shift"));
    } else if (!args_has(args, "file")) {
        for (size_t i = 0; i < seek->count; i++)
            seek->targets[i] = seek->partitions[i].committed;
    }
    return code ? code : keep_in_log(seek);
}

/* ---- output ---- */

static int show(struct seek *seek, bool is_done)
{
    static const struct column columns[] = {{"GROUP", false},     {"TOPIC", false},
                                            {"PARTITION", true},  {"CURRENT-OFFSET", true},
                                            {"NEW-OFFSET", true}, {"LAG", true}};
    struct grid table;
    struct buf out;
    json_t *json = json_array();
    grid_init(&table, columns, ARRAY_LEN(columns));
    buf_init(&out, BUF_NO_LIMIT);
    for (size_t i = 0; i < seek->count; i++) {
        const struct group_partition *partition = &seek->partitions[i];
        int64_t target = seek->targets[i];
        if (target == GROUP_UNKNOWN)
            continue;
        json_array_append_new(
            json, json_pack("{s:o, s:o, s:i, s:o, s:I, s:I, s:b}", "group", json_str(seek->view.id),
                            "topic", json_str(partition->topic), "partition", partition->index,
                            "committed_offset", group_number_json(partition->committed),
                            "new_offset", (json_int_t)target, "lag",
                            (json_int_t)(partition->end - target), "executed", is_done));
        if (args_has(seek->args, "export"))
            buf_printf(&out, "%.*s,%d,%lld\n", STR_ARG(partition->topic), partition->index,
                       (long long)target);
        group_put_str(&table, seek->view.id);
        group_put_str(&table, partition->topic);
        grid_put(&table, "%d", partition->index);
        group_put_number(&table, partition->committed);
        group_put_number(&table, target);
        group_put_number(&table, partition->end - target);
    }
    if (!args_has(seek->args, "export"))
        grid_print(&table, &out);
    grid_deinit(&table);
    return out_either(args_is_json(seek->args), json, &out);
}

/* ---- committing ---- */

static int16_t commit_error(const void *response)
{
    const struct offset_commit_response *answer = response;
    for (int32_t t = 0; t < answer->topics_len; t++) {
        for (int32_t p = 0; p < answer->topics[t].partitions_len; p++) {
            if (answer->topics[t].partitions[p].error_code)
                return answer->topics[t].partitions[p].error_code;
        }
    }
    return 0;
}

static int fail_active(const struct seek *seek)
{
    return out_fail(EXIT_REFUSED,
                    "group '%.*s' has members; offsets can be set once they have stopped\n"
                    "see who they are with 'taffrail group describe --members'",
                    STR_ARG(seek->view.id));
}

static int commit(struct seek *seek)
{
    struct offset_commit_request request;
    struct offset_commit_response response;
    struct offset_commit_request_partition *all = seek_array(seek, seek->count, sizeof(*all));
    int32_t coordinator;
    MSG_INIT(offset_commit_request, &request);
    request.group_id = seek->view.id;
    request.member_id = STR("");
    request.generation_id_or_member_epoch = -1;
    request.topics = seek_array(seek, seek->count, sizeof(*request.topics));
    request.topics_len = 0;
    for (size_t i = 0; i < seek->count; i++) {
        struct offset_commit_request_topic *topic =
            request.topics_len ? &request.topics[request.topics_len - 1] : NULL;
        if (seek->targets[i] == GROUP_UNKNOWN)
            continue;
        if (!topic || !str_eq(topic->name, seek->partitions[i].topic)) {
            topic = &request.topics[request.topics_len++];
            MSG_INIT(offset_commit_request_topic, topic);
            topic->name = seek->partitions[i].topic;
            topic->partitions = &all[i];
        }
        struct offset_commit_request_partition *out = &topic->partitions[topic->partitions_len++];
        MSG_INIT(offset_commit_request_partition, out);
        out->partition_index = seek->partitions[i].index;
        out->committed_offset = seek->targets[i];
        out->committed_metadata = STR("");
    }
    if (request.topics_len == 0)
        return EXIT_FINE;
    int code =
        group_call(&seek->session, seek->view.id, CLIENT_OFFSET_COMMIT, OFFSET_COMMIT_BY_NAME_MAX,
                   &request, &response, commit_error, &coordinator);
    int16_t error_code = code ? 0 : commit_error(&response);
    enum err err = wire_err_of_code(error_code);
    if (err == ERR_UNKNOWN_MEMBER_ID || err == ERR_ILLEGAL_GENERATION ||
        err == ERR_REBALANCE_IN_PROGRESS)
        return fail_active(seek);
    if (error_code)
        return client_fail(error_code, STR_NULL, "the offsets of group '%.*s' are not set",
                           STR_ARG(seek->view.id));
    return code;
}

/* ---- the command ---- */

static int check_usage(const struct args *args)
{
    int given = args_has(args, "to") + args_has(args, "shift") + args_has(args, "file");
    if (given > 1)
        return out_fail(EXIT_USAGE, "only one of --to, --shift and --file");
    if (given == 0 && !args_has(args, "export"))
        return out_fail(EXIT_USAGE, "say where to: --to POSITION, --shift N or --file FILE");
    if (args_has(args, "file") && args_has(args, "topic"))
        return out_fail(EXIT_USAGE, "the file says which partitions: no --topic with --file");
    if (args_has(args, "export") && args_has(args, "execute"))
        return out_fail(EXIT_USAGE, "--export only prints: not with --execute");
    return EXIT_FINE;
}

static int load_group(struct seek *seek)
{
    struct str id = str_of(seek->args->operands[0]);
    bool may_be_new = args_has(seek->args, "topic") || args_has(seek->args, "file");
    int code = may_be_new ? group_load_quietly(&seek->session, id, GROUP_LOAD_OFFSETS, &seek->view)
                          : group_load(&seek->session, id, GROUP_LOAD_OFFSETS, &seek->view);
    seek->is_new = may_be_new && code == EXIT_NOT_FOUND && !seek->view.type;
    return seek->is_new ? EXIT_FINE : code;
}

static int run(struct seek *seek)
{
    const struct args *args = seek->args;
    int code = load_group(seek);
    if (!code)
        code = choose_partitions(seek);
    if (!code)
        code = sort_partitions(seek);
    if (!code && seek->count == 0)
        return out_fail(EXIT_NOT_FOUND, "group '%.*s' has no offsets; name a topic with --topic",
                        STR_ARG(seek->view.id));
    if (!code)
        code = group_load_logs(&seek->session, seek->partitions, seek->count);
    if (!code)
        code = choose_targets(seek);
    if (code)
        return code;
    bool is_active = !seek->is_new && !group_is_inactive(&seek->view);
    if (args_has(args, "execute") && is_active)
        return fail_active(seek);
    if (args_has(args, "execute"))
        code = commit(seek);
    if (!code)
        code = show(seek, args_has(args, "execute"));
    if (!code && !args_has(args, "execute") && !args_has(args, "export")) {
        out_note("nothing was changed; --execute does it");
        if (is_active)
            out_note("the group has members, which must have stopped by then");
    }
    return code;
}

int group_seek_run(const struct args *args)
{
    struct seek seek = {.args = args};
    int code = check_usage(args);
    if (code)
        return code;
    code = group_session_open(&seek.session, args);
    if (!code)
        code = run(&seek);
    group_session_close(&seek.session);
    return code;
}
