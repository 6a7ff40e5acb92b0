/* Goal: one voter becomes leader in a new epoch at each start, commits what is durable and no more,
 * and everything it keeps on disk is what Kafka keeps. Method: drive the steps as the broker does,
 * with crashes in between; compare encoded records with bytes that Kafka wrote; feed nonsense. */
#include "quorum/quorum.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "wire/testing.h"

static struct arena arena;
static char why[256];

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, ARENA_NO_LIMIT);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_deinit(&arena);
    return 0;
}

/* The directory id in the bytes below. */
static const struct uuid directory = {{0xd4, 0x93, 0xd1, 0xed, 0x84, 0x7e, 0x44, 0xcf, 0xa7, 0x7c,
                                       0x1f, 0xc8, 0x6b, 0xf1, 0xef, 0x1d}};
#define ENDPOINT                                   \
    {                                              \
        STR("CONTROLLER"), STR("localhost"), 19401 \
    }

static struct quorum_config config_of(const struct quorum_voter *voters, size_t count)
{
    return (struct quorum_config){.node_id = 1,
                                  .directory_id = directory,
                                  .endpoint = ENDPOINT,
                                  .voters = voters,
                                  .voter_count = count,
                                  .kraft_version = 1};
}

static struct quorum started(int64_t log_end, int32_t log_epoch, struct quorum_state_file file,
                             struct quorum_effects *effects)
{
    struct quorum_voter self = {1, directory, ENDPOINT};
    struct quorum_config config = config_of(&self, 1);
    struct quorum quorum;
    assert_int_equal(quorum_init(&quorum, &config, why, sizeof(why)), ERR_OK);
    struct quorum_event start = {.kind = QUORUM_EVENT_START,
                                 .log_end_offset = log_end,
                                 .log_epoch = log_epoch,
                                 .state = file};
    assert_int_equal(quorum_step(&quorum, &start, effects), ERR_OK);
    return quorum;
}

static void step(struct quorum *quorum, enum quorum_event_kind kind, int64_t offset,
                 struct quorum_effects *effects)
{
    struct quorum_event event = {
        .kind = kind, .now_ms = 5, .log_end_offset = offset, .durable_end_offset = offset};
    assert_int_equal(quorum_step(quorum, &event, effects), ERR_OK);
}

static void one_voter_leads_and_commits(void **state)
{
    (void)state;
    struct quorum_effects effects;
    struct quorum quorum = started(0, 0, QUORUM_STATE_NONE, &effects);
    assert_true(effects.persist);
    assert_false(effects.append_leader_change); /* not before the vote is durable */
    assert_int_equal(effects.state.epoch, 1);
    assert_int_equal(effects.state.leader_id, 1);
    struct quorum_description description;
    quorum_describe(&quorum, 9, &description);
    assert_int_equal(description.leader_id, -1);
    step(&quorum, QUORUM_EVENT_PERSISTED, 0, &effects);
    assert_true(effects.append_leader_change);
    assert_true(effects.became_leader);
    assert_int_equal(effects.epoch, 1);
    assert_false(effects.persist);
    step(&quorum, QUORUM_EVENT_APPENDED, 3, &effects);
    assert_false(effects.high_watermark_moved);
    step(&quorum, QUORUM_EVENT_APPENDED, 8, &effects);
    step(&quorum, QUORUM_EVENT_DURABLE, 3, &effects);
    assert_true(effects.high_watermark_moved);
    assert_int_equal(effects.high_watermark, 3);
    step(&quorum, QUORUM_EVENT_DURABLE, 3, &effects);
    assert_false(effects.high_watermark_moved);
    step(&quorum, QUORUM_EVENT_DURABLE, 8, &effects);
    assert_int_equal(effects.high_watermark, 8);
    quorum_describe(&quorum, 9, &description);
    assert_int_equal(description.leader_id, 1);
    assert_int_equal(description.high_watermark, 8);
    assert_int_equal(description.voter.log_end_offset, 8);
    step(&quorum, QUORUM_EVENT_STOP, 0, &effects);
    step(&quorum, QUORUM_EVENT_DURABLE, 8, &effects);
    assert_false(effects.high_watermark_moved);
}

static void each_start_is_a_new_epoch(void **state)
{
    (void)state;
    struct quorum_effects effects;
    struct quorum_state_file file = {1, 7, -1, UUID_ZERO};
    started(10, 5, file, &effects);
    assert_int_equal(effects.state.epoch, 8);
    started(10, 12, file, &effects);
    assert_int_equal(effects.state.epoch, 13);
    struct quorum quorum = started(10, -1, QUORUM_STATE_NONE, &effects);
    assert_int_equal(effects.state.epoch, 1);
    /* What earlier epochs wrote is committed by the first record of this one. */
    step(&quorum, QUORUM_EVENT_PERSISTED, 0, &effects);
    step(&quorum, QUORUM_EVENT_DURABLE, 10, &effects);
    assert_false(effects.high_watermark_moved);
    step(&quorum, QUORUM_EVENT_APPENDED, 11, &effects);
    step(&quorum, QUORUM_EVENT_DURABLE, 11, &effects);
    assert_int_equal(effects.high_watermark, 11);
    struct quorum_voter self = {1, directory, ENDPOINT};
    struct quorum_config config = config_of(&self, 1);
    assert_int_equal(quorum_init(&quorum, &config, why, sizeof(why)), ERR_OK);
    struct quorum_event last = {.kind = QUORUM_EVENT_START, .log_epoch = INT32_MAX};
    assert_int_equal(quorum_step(&quorum, &last, &effects), ERR_RANGE);
}

static void others_are_refused(void **state)
{
    (void)state;
    struct quorum quorum;
    struct quorum_voter two[] = {{1, directory, ENDPOINT}, {2, {{1}}, ENDPOINT}};
    struct quorum_config config = config_of(two, 2);
    assert_int_equal(quorum_init(&quorum, &config, why, sizeof(why)), ERR_UNSUPPORTED);
    assert_string_equal(why, "another voter is configured (node 2): clusters are not built yet");
    config.voter_count = 0;
    assert_int_equal(quorum_init(&quorum, &config, why, sizeof(why)), ERR_VOTER_NOT_FOUND);
    struct quorum_voter replaced = {1, {{1}}, ENDPOINT};
    config = config_of(&replaced, 1);
    assert_int_equal(quorum_init(&quorum, &config, why, sizeof(why)), ERR_INVALID_VOTER_KEY);
    config.kraft_version = 0;
    assert_int_equal(quorum_init(&quorum, &config, why, sizeof(why)), ERR_OK);
    config.kraft_version = 2;
    assert_int_equal(quorum_init(&quorum, &config, why, sizeof(why)), ERR_UNSUPPORTED);
}

static void assert_hex(struct slice bytes, const char *hex)
{
    struct buf buf;
    buf_init(&buf, BUF_NO_LIMIT);
    hex_load(&buf, hex);
    assert_int_equal(bytes.len, buf.len);
    assert_memory_equal(bytes.data, buf.data, buf.len);
    buf_deinit(&buf);
}

#define VOTERS_HEX                                                                       \
    "00000200000001d493d1ed847e44cfa77c1fc86bf1ef1d020b434f4e54524f4c4c45520a6c6f63616c" \
    "686f73744bc90000000001000000"

static void control_records_are_kafkas_bytes(void **state)
{
    (void)state;
    struct quorum_effects effects;
    struct quorum quorum = started(0, 0, QUORUM_STATE_NONE, &effects);
    struct quorum_control controls[3];
    size_t count;
    assert_int_equal(quorum_leader_records(&quorum, &arena, controls, &count), ERR_OK);
    assert_int_equal(count, 3);
    assert_int_equal(controls[0].type, QUORUM_CONTROL_LEADER_CHANGE);
    assert_hex(controls[0].value, "0000000000010200000001000200000001"
                                  "0000");
    assert_int_equal(controls[1].type, QUORUM_CONTROL_KRAFT_VERSION);
    assert_hex(controls[1].value, "0000000100");
    assert_int_equal(controls[2].type, QUORUM_CONTROL_KRAFT_VOTERS);
    assert_hex(controls[2].value, VOTERS_HEX);
    int16_t version;
    assert_int_equal(quorum_kraft_version_decode(controls[1].value, &version), ERR_OK);
    assert_int_equal(version, 1);
    struct quorum_voter *voters;
    size_t voter_count;
    assert_int_equal(quorum_voters_decode(controls[2].value, &arena, &voters, &voter_count),
                     ERR_OK);
    assert_int_equal(voter_count, 1);
    assert_true(uuid_eq(voters[0].directory_id, directory));
    assert_true(str_eq(voters[0].endpoint.host, STR("localhost")));
    assert_int_equal(voters[0].endpoint.port, 19401);
    /* A log that has them is not told again. */
    quorum = started(5, 1, QUORUM_STATE_NONE, &effects);
    assert_int_equal(quorum_leader_records(&quorum, &arena, controls, &count), ERR_OK);
    assert_int_equal(count, 1);
    struct quorum_voter self = {1, directory, ENDPOINT};
    assert_int_equal(quorum_snapshot_head(1795440616988, 1, &self, 1, &arena, controls, &count),
                     ERR_OK);
    assert_int_equal(count, 3);
    assert_hex(controls[0].value, "0000000001a20899a61c00");
    assert_int_equal(quorum_snapshot_head(1, 0, NULL, 0, &arena, controls, &count), ERR_OK);
    assert_int_equal(count, 1);
    /* Every cut of the voters' bytes is an error. */
    struct buf buf;
    buf_init(&buf, BUF_NO_LIMIT);
    hex_load(&buf, VOTERS_HEX);
    for (size_t len = 0; len < buf.len; len++)
        assert_int_not_equal(
            quorum_voters_decode(slice_of(buf.data, len), &arena, &voters, &voter_count), ERR_OK);
    buf_deinit(&buf);
}

static void the_state_file_is_kafkas(void **state)
{
    (void)state;
    struct quorum_state_file file;
    static const char written[] = "{\"leaderId\":1,\"leaderEpoch\":3,\"votedId\":-1,"
                                  "\"votedDirectoryId\":\"AAAAAAAAAAAAAAAAAAAAAA\","
                                  "\"data_version\":1}";
    assert_int_equal(quorum_state_parse(str_of(written), &file, why, sizeof(why)), ERR_OK);
    assert_int_equal(file.leader_id, 1);
    assert_int_equal(file.epoch, 3);
    struct buf buf;
    buf_init(&buf, BUF_NO_LIMIT);
    quorum_state_print(&file, &buf);
    assert_int_equal(buf.len, sizeof(written) - 1);
    assert_memory_equal(buf.data, written, buf.len);
    buf_deinit(&buf);
    assert_int_equal(
        quorum_state_parse(STR("{\"clusterId\":\"\",\"leaderId\":3000,\"leaderEpoch\":9,"
                               "\"votedId\":2,\"appliedOffset\":0,\"currentVoters\":"
                               "[{\"voterId\":3000},{\"voterId\":1}], \"data_version\":0} \n"),
                           &file, why, sizeof(why)),
        ERR_OK);
    assert_int_equal(file.epoch, 9);
    assert_int_equal(file.voted_id, 2);
    static const char *const bad[] = {
        "",
        "{",
        "{}",
        "[]",
        "x",
        "{\"leaderId\":1}",
        "{\"leaderId\":1,\"leaderEpoch\":x,\"data_version\":1}",
        "{\"leaderId\":1,\"leaderEpoch\":-3,\"data_version\":1}",
        "{\"leaderId\":1,\"leaderEpoch\":99999999999,\"data_version\":1}",
        "{\"leaderId\":1,\"leaderEpoch\":1,\"data_version\":1",
        "{\"leaderId\":1,\"leaderEpoch\":1,\"data_version\":1}}",
        "{\"leaderId\":1,\"leaderEpoch\":1,\"currentVoters\":[{,\"data_version\":1}",
        "{\"leaderId\":1,\"leaderEpoch\":1,\"votedDirectoryId\":\"x\",\"data_version\":1}",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(quorum_state_parse(str_of(bad[i]), &file, why, sizeof(why)),
                         ERR_MALFORMED);
    for (size_t len = 0; len < sizeof(written) - 1; len++)
        assert_int_equal(quorum_state_parse((struct str){written, len}, &file, why, sizeof(why)),
                         ERR_MALFORMED);
    assert_int_equal(
        quorum_state_parse(STR("{\"leaderId\":1,\"leaderEpoch\":1,\"data_version\":2}"), &file, why,
                           sizeof(why)),
        ERR_UNSUPPORTED);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(one_voter_leads_and_commits), CASE(each_start_is_a_new_epoch),
        CASE(others_are_refused),          CASE(control_records_are_kafkas_bytes),
        CASE(the_state_file_is_kafkas),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
