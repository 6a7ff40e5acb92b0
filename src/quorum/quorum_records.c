/* What the quorum keeps on disk: control records of the log and checkpoints, and the file
 * quorum-state, which is one JSON object:
 *
 *   {"leaderId":1,"leaderEpoch":3,"votedId":-1,"votedDirectoryId":"AAAA...","data_version":1}
 *
 * data_version 0 (kraft.version 0) has `currentVoters` and no directory id; both are read, 1 is
 * written, which Kafka reads at either kraft.version. Pure; any thread. */
#include <inttypes.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/parse.h"
#include "quorum/quorum.h"
#include "wire/messages.h"

#define DATA_VERSION_MAX 1

/* --- quorum-state --- */

struct json {
    const char *at;
    const char *end;
};

static void json_space(struct json *json)
{
    while (json->at < json->end &&
           (*json->at == ' ' || *json->at == '\n' || *json->at == '\r' || *json->at == '\t'))
        json->at++;
}

static bool json_take(struct json *json, char c)
{
    json_space(json);
    if (json->at == json->end || *json->at != c)
        return false;
    json->at++;
    return true;
}

/* A string without escapes: none of the names and ids in this file needs them. */
static bool json_string(struct json *json, struct str *out)
{
    if (!json_take(json, '"'))
        return false;
    const char *start = json->at;
    while (json->at < json->end && *json->at != '"' && *json->at != '\\')
        json->at++;
    *out = (struct str){start, (size_t)(json->at - start)};
    return json_take(json, '"');
}

/* A number, a string (without its quotes), or a balanced list, as text. */
static bool json_value(struct json *json, struct str *out)
{
    json_space(json);
    if (json->at == json->end)
        return false;
    if (*json->at == '"')
        return json_string(json, out);
    const char *start = json->at;
    int depth = 0;
    while (json->at < json->end) {
        char c = *json->at;
        if (depth == 0 && (c == ',' || c == '}'))
            break;
        depth += c == '[' || c == '{';
        depth -= c == ']' || c == '}';
        json->at++;
    }
    while (json->at > start && json->at[-1] <= ' ')
        json->at--;
    *out = (struct str){start, (size_t)(json->at - start)};
    return depth == 0 && out->len > 0;
}

struct state_fields {
    struct quorum_state_file state;
    int32_t data_version;
    unsigned seen;
};

enum { SEEN_LEADER = 1, SEEN_EPOCH = 2, SEEN_VERSION = 4 };

static bool take_field(struct state_fields *fields, struct str key, struct str value)
{
    struct quorum_state_file *state = &fields->state;
    if (str_eq(key, STR("leaderId"))) {
        fields->seen |= SEEN_LEADER;
        return parse_i32(value, &state->leader_id) == ERR_OK;
    }
    if (str_eq(key, STR("leaderEpoch"))) {
        fields->seen |= SEEN_EPOCH;
        return parse_i32(value, &state->epoch) == ERR_OK && state->epoch >= 0;
    }
    if (str_eq(key, STR("data_version"))) {
        fields->seen |= SEEN_VERSION;
        return parse_i32(value, &fields->data_version) == ERR_OK;
    }
    if (str_eq(key, STR("votedId")))
        return parse_i32(value, &state->voted_id) == ERR_OK;
    if (str_eq(key, STR("votedDirectoryId")))
        return uuid_parse(value, &state->voted_directory_id);
    return true;
}

static bool take_object(struct json *json, struct state_fields *fields)
{
    if (!json_take(json, '{'))
        return false;
    if (json_take(json, '}'))
        return true;
    do {
        struct str key;
        struct str value;
        if (!json_string(json, &key) || !json_take(json, ':') || !json_value(json, &value) ||
            !take_field(fields, key, value))
            return false;
    } while (json_take(json, ','));
    return json_take(json, '}');
}

enum err quorum_state_parse(struct str text, struct quorum_state_file *state, char *why,
                            size_t why_size)
{
    struct json json = {text.data, text.data + text.len};
    struct state_fields fields = {.state = QUORUM_STATE_NONE};
    bool complete =
        take_object(&json, &fields) && fields.seen == (SEEN_LEADER | SEEN_EPOCH | SEEN_VERSION);
    json_space(&json);
    if (!complete || json.at != json.end) {
        snprintf(why, why_size, "quorum-state is not what Kafka or this program writes");
        return ERR_MALFORMED;
    }
    if (fields.data_version < 0 || fields.data_version > DATA_VERSION_MAX) {
        snprintf(why, why_size,
                 "quorum-state has data_version %" PRId32 "; this version reads 0 to %d",
                 fields.data_version, DATA_VERSION_MAX);
        return ERR_UNSUPPORTED;
    }
    *state = fields.state;
    return ERR_OK;
}

void quorum_state_print(const struct quorum_state_file *state, struct buf *buf)
{
    char voted[UUID_TEXT_LEN + 1];
    uuid_format(state->voted_directory_id, voted);
    buf_printf(buf,
               "{\"leaderId\":%" PRId32 ",\"leaderEpoch\":%" PRId32 ",\"votedId\":%" PRId32
               ",\"votedDirectoryId\":\"%s\",\"data_version\":%d}",
               state->leader_id, state->epoch, state->voted_id, voted, DATA_VERSION_MAX);
}

/* --- control records --- */

static enum err add_control(struct quorum_control *controls, size_t *count, int16_t type,
                            const struct msg_schema *schema, const void *msg, struct arena *arena)
{
    struct buf buf;
    buf_init(&buf, BUF_NO_LIMIT);
    enum err err = codec_encode(schema, 0, msg, &buf, NULL);
    struct slice value = err ? SLICE_NULL : arena_slice(arena, buf_slice(&buf));
    buf_deinit(&buf);
    if (err)
        return err;
    if (!value.data)
        return ERR_NOMEM;
    controls[(*count)++] = (struct quorum_control){type, value};
    return ERR_OK;
}

static enum err add_kraft_version(struct quorum_control *controls, size_t *count,
                                  int16_t kraft_version, struct arena *arena)
{
    struct kraft_version_record r;
    MSG_INIT(kraft_version_record, &r);
    r.k_raft_version = kraft_version;
    return add_control(controls, count, QUORUM_CONTROL_KRAFT_VERSION, &kraft_version_record_schema,
                       &r, arena);
}

static enum err add_voters(struct quorum_control *controls, size_t *count,
                           const struct quorum_voter *voters, size_t voter_count,
                           struct arena *arena)
{
    ASSERT(voter_count <= QUORUM_VOTERS_MAX);
    struct voters_record r;
    MSG_INIT(voters_record, &r);
    r.voters = MSG_ARRAY(voters_record_voter, arena, voter_count);
    if (!r.voters)
        return ERR_NOMEM;
    r.voters_len = (int32_t)voter_count;
    for (size_t i = 0; i < voter_count; i++) {
        struct voters_record_voter *voter = &r.voters[i];
        voter->voter_id = voters[i].id;
        voter->voter_directory_id = voters[i].directory_id;
        voter->endpoints = MSG_ARRAY(voters_record_endpoint, arena, 1);
        if (!voter->endpoints)
            return ERR_NOMEM;
        voter->endpoints_len = 1;
        voter->endpoints[0].name = voters[i].endpoint.name;
        voter->endpoints[0].host = voters[i].endpoint.host;
        voter->endpoints[0].port = voters[i].endpoint.port;
        voter->k_raft_version_feature.min_supported_version = 0;
        voter->k_raft_version_feature.max_supported_version = 1;
    }
    return add_control(controls, count, QUORUM_CONTROL_KRAFT_VOTERS, &voters_record_schema, &r,
                       arena);
}

enum err quorum_leader_records(const struct quorum *quorum, struct arena *arena,
                               struct quorum_control *controls, size_t *count)
{
    *count = 0;
    struct leader_change_message_voter voter;
    MSG_INIT(leader_change_message_voter, &voter);
    voter.voter_id = quorum->node_id;
    struct leader_change_message change;
    MSG_INIT(leader_change_message, &change);
    change.leader_id = quorum->node_id;
    change.voters = change.granting_voters = &voter;
    change.voters_len = change.granting_voters_len = 1;
    TRY(add_control(controls, count, QUORUM_CONTROL_LEADER_CHANGE, &leader_change_message_schema,
                    &change, arena));
    if (!quorum->voters_need_record)
        return ERR_OK;
    struct quorum_voter self = {quorum->node_id, quorum->directory_id, quorum->endpoint};
    TRY(add_kraft_version(controls, count, quorum->kraft_version, arena));
    return add_voters(controls, count, &self, 1, arena);
}

enum err quorum_snapshot_head(int64_t last_contained_ms, int16_t kraft_version,
                              const struct quorum_voter *voters, size_t voter_count,
                              struct arena *arena, struct quorum_control *controls, size_t *count)
{
    *count = 0;
    struct snapshot_header_record header;
    MSG_INIT(snapshot_header_record, &header);
    header.last_contained_log_timestamp = last_contained_ms;
    TRY(add_control(controls, count, QUORUM_CONTROL_SNAPSHOT_HEADER, &snapshot_header_record_schema,
                    &header, arena));
    if (kraft_version <= 0)
        return ERR_OK;
    TRY(add_kraft_version(controls, count, kraft_version, arena));
    return add_voters(controls, count, voters, voter_count, arena);
}

enum err quorum_voters_decode(struct slice value, struct arena *arena, struct quorum_voter **voters,
                              size_t *count)
{
    struct voters_record r;
    size_t used;
    TRY(codec_decode(&voters_record_schema, 0, value, &used, arena, &r, NULL));
    if (r.voters_len < 0 || used != value.len)
        return ERR_MALFORMED;
    if (r.voters_len > QUORUM_VOTERS_MAX)
        return ERR_LIMIT;
    struct quorum_voter *list = arena_array(arena, (size_t)r.voters_len, sizeof(*list));
    if (!list)
        return ERR_NOMEM;
    for (int32_t i = 0; i < r.voters_len; i++) {
        list[i] = (struct quorum_voter){.id = r.voters[i].voter_id,
                                        .directory_id = r.voters[i].voter_directory_id};
        if (r.voters[i].endpoints_len > 0)
            list[i].endpoint = (struct quorum_endpoint){r.voters[i].endpoints[0].name,
                                                        r.voters[i].endpoints[0].host,
                                                        r.voters[i].endpoints[0].port};
    }
    *voters = list;
    *count = (size_t)r.voters_len;
    return ERR_OK;
}

enum err quorum_kraft_version_decode(struct slice value, int16_t *version)
{
    struct arena arena;
    arena_init(&arena, 4096);
    struct kraft_version_record r;
    size_t used;
    enum err err = codec_decode(&kraft_version_record_schema, 0, value, &used, &arena, &r, NULL);
    arena_deinit(&arena);
    if (err)
        return err;
    *version = r.k_raft_version;
    return ERR_OK;
}
