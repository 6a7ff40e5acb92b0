/* Goal: what is encoded is decoded to the same bytes again, for every message and version; and no
 * bytes, however wrong, do more than return an error.
 * Method: invented messages from fixed seeds; each truncated at every byte, with bytes flipped, and
 * with counts and lengths that lie; and by hand the rules that invention does not reach: null,
 * missing fields, tags, scatter output, defaults. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/rng.h"
#include "wire/messages.h"

#define ROUNDS 4
#define LIMIT  ((size_t)16 << 20)

struct fixture {
    struct arena arena;
    struct buf bytes, again;
    struct rng rng;
    struct codec_error error;
};

static void fixture_init(struct fixture *f, uint64_t seed)
{
    arena_init(&f->arena, LIMIT);
    buf_init(&f->bytes, LIMIT);
    buf_init(&f->again, LIMIT);
    rng_init(&f->rng, seed);
    f->error.text[0] = '\0';
}

static void fixture_deinit(struct fixture *f)
{
    buf_deinit(&f->again);
    buf_deinit(&f->bytes);
    arena_deinit(&f->arena);
}

static void *new_msg(struct fixture *f, const struct msg_schema *schema)
{
    void *msg = arena_alloc(&f->arena, schema->root->size);
    assert_non_null(msg);
    return msg;
}

/* An invented message's bytes in f->bytes. */
static void invent(struct fixture *f, const struct msg_schema *schema, int16_t version)
{
    void *msg = new_msg(f, schema);
    buf_reset(&f->bytes);
    assert_int_equal(codec_random(schema, version, &f->rng, &f->arena, msg), ERR_OK);
    enum err err = codec_encode(schema, version, msg, &f->bytes, &f->error);
    if (err != ERR_OK)
        fail_msg("%s", f->error.text);
}

typedef void each_version(struct fixture *f, const struct msg_schema *schema, int16_t version);

static void for_each_version(each_version *body)
{
    struct fixture f;
    fixture_init(&f, 1);
    for (int i = 0; i < msg_schemas_len; i++) {
        const struct msg_schema *schema = msg_schemas[i];
        for (int16_t v = schema->version_min; v <= schema->version_max; v++) {
            body(&f, schema, v);
            arena_reset(&f.arena);
        }
    }
    fixture_deinit(&f);
}

static void round_trip(struct fixture *f, const struct msg_schema *schema, int16_t version)
{
    for (int i = 0; i < ROUNDS; i++) {
        invent(f, schema, version);
        void *msg = new_msg(f, schema);
        size_t used;
        enum err err =
            codec_decode(schema, version, buf_slice(&f->bytes), &used, &f->arena, msg, &f->error);
        if (err != ERR_OK)
            fail_msg("%s", f->error.text);
        assert_int_equal(used, f->bytes.len);
        buf_reset(&f->again);
        assert_int_equal(codec_encode(schema, version, msg, &f->again, NULL), ERR_OK);
        assert_int_equal(f->again.len, f->bytes.len);
        if (f->bytes.len)
            assert_memory_equal(f->again.data, f->bytes.data, f->bytes.len);
    }
}

static void test_round_trips(void **state)
{
    (void)state;
    for_each_version(round_trip);
}

/* Decodes a copy of its own size, so that the sanitizer sees a read past the end. */
static enum err decode_exact(struct fixture *f, const struct msg_schema *schema, int16_t version,
                             struct slice bytes, size_t *used)
{
    uint8_t *copy = malloc(bytes.len ? bytes.len : 1);
    assert_non_null(copy);
    if (bytes.len)
        memcpy(copy, bytes.data, bytes.len);
    void *msg = new_msg(f, schema);
    enum err err =
        codec_decode(schema, version, slice_of(copy, bytes.len), used, &f->arena, msg, &f->error);
    free(copy);
    return err;
}

static void truncate_everywhere(struct fixture *f, const struct msg_schema *schema, int16_t version)
{
    invent(f, schema, version);
    for (size_t len = 0; len < f->bytes.len; len++) {
        size_t used;
        enum err err = decode_exact(f, schema, version, slice_of(f->bytes.data, len), &used);
        if (err != ERR_TRUNCATED && err != ERR_MALFORMED)
            fail_msg("%s v%d cut to %zu of %zu: %s", schema->name, version, len, f->bytes.len,
                     err_name(err));
    }
}

static void test_truncation(void **state)
{
    (void)state;
    for_each_version(truncate_everywhere);
}

static void flip_bytes(struct fixture *f, const struct msg_schema *schema, int16_t version)
{
    invent(f, schema, version);
    for (int i = 0; i < ROUNDS * 4 && f->bytes.len; i++) {
        size_t at = (size_t)rng_below(&f->rng, f->bytes.len);
        uint8_t was = f->bytes.data[at];
        f->bytes.data[at] = rng_chance(&f->rng, 1, 2) ? 0xff : (uint8_t)rng_u64(&f->rng);
        size_t used;
        enum err err = decode_exact(f, schema, version, buf_slice(&f->bytes), &used);
        assert_true(err == ERR_OK ? used <= f->bytes.len : used == 0);
        f->bytes.data[at] = was;
    }
}

static void test_flipped_bytes(void **state)
{
    (void)state;
    for_each_version(flip_bytes);
}

static enum err decode_hex(struct fixture *f, const struct msg_schema *schema, int16_t version,
                           const char *hex, void *out)
{
    uint8_t bytes[256];
    size_t len = strlen(hex) / 2;
    for (size_t i = 0; i < len; i++) {
        unsigned byte;
        assert_int_equal(sscanf(hex + 2 * i, "%2x", &byte), 1);
        bytes[i] = (uint8_t)byte;
    }
    size_t used;
    struct slice copy = arena_slice(&f->arena, slice_of(bytes, len));
    return codec_decode(schema, version, copy, &used, &f->arena, out, &f->error);
}

static void test_lying_counts(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, 2);
    struct metadata_request request;
    /* 2,147,483,647 topics in no bytes; a million and one; an array that its bytes cannot hold. */
    assert_int_equal(decode_hex(&f, &metadata_request_schema, 4, "7fffffff", &request), ERR_LIMIT);
    assert_int_equal(decode_hex(&f, &metadata_request_schema, 4, "000f4241", &request), ERR_LIMIT);
    assert_int_equal(decode_hex(&f, &metadata_request_schema, 4, "00000003000000", &request),
                     ERR_TRUNCATED);
    assert_string_equal(f.error.text,
                        "MetadataRequest v4: topics at byte 4: an array of 3 elements of at least "
                        "2 bytes, but 3 bytes remain");
    /* A length over 32 bits, and tagged fields that are not there. */
    assert_int_equal(decode_hex(&f, &metadata_request_schema, 9, "ffffffffff7f", &request),
                     ERR_MALFORMED);
    assert_int_equal(decode_hex(&f, &metadata_request_schema, 9, "01000000ffff03", &request),
                     ERR_LIMIT);
    assert_int_equal(decode_hex(&f, &metadata_request_schema, 9, "010000007f00", &request),
                     ERR_TRUNCATED);
    assert_int_equal(request.topics_len, 0);
    fixture_deinit(&f);
}

static void test_null_is_checked(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, 3);
    struct metadata_request request;
    assert_int_equal(decode_hex(&f, &metadata_request_schema, 4, "ffffffff01", &request), ERR_OK);
    assert_int_equal(request.topics_len, -1);
    assert_true(request.allow_auto_topic_creation);
    /* Version 0 had no null: the empty array meant all topics. */
    assert_int_equal(decode_hex(&f, &metadata_request_schema, 0, "ffffffff", &request),
                     ERR_MALFORMED);
    /* A nullable array of strings has no null strings. */
    struct create_topics_request create;
    codec_init(&create_topics_request_schema, &create);
    create.topics = MSG_ARRAY(create_topics_request_topic, &f.arena, 1);
    create.topics_len = 1;
    create.topics[0].name = STR_NULL;
    assert_int_equal(codec_encode(&create_topics_request_schema, 7, &create, &f.bytes, &f.error),
                     ERR_MALFORMED);
    assert_string_equal(f.error.text,
                        "CreateTopicsRequest v7: topics[0].name null is not allowed here");
    assert_int_equal(f.bytes.len, 0);
    fixture_deinit(&f);
}

static void test_missing_fields(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, 4);
    struct metadata_request request;
    codec_init(&metadata_request_schema, &request);
    request.include_topic_authorized_operations = true;
    assert_int_equal(codec_encode(&metadata_request_schema, 8, &request, &f.bytes, &f.error),
                     ERR_OK);
    buf_reset(&f.bytes);
    assert_int_equal(codec_encode(&metadata_request_schema, 7, &request, &f.bytes, &f.error),
                     ERR_UNSUPPORTED_VERSION);
    assert_int_equal(f.bytes.len, 0);
    /* An ignorable field is left out silently. */
    struct metadata_response response;
    codec_init(&metadata_response_schema, &response);
    response.throttle_time_ms = 7;
    assert_int_equal(codec_encode(&metadata_response_schema, 0, &response, &f.bytes, &f.error),
                     ERR_OK);
    assert_int_equal(codec_encode(&metadata_response_schema, 99, &response, &f.bytes, &f.error),
                     ERR_UNSUPPORTED_VERSION);
    assert_int_equal(codec_encode(&metadata_response_schema, -1, &response, &f.bytes, &f.error),
                     ERR_UNSUPPORTED_VERSION);
    fixture_deinit(&f);
}

static void test_tags(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, 5);
    struct metadata_request request;
    codec_init(&metadata_request_schema, &request);
    struct unknown_tag tags[2] = {{9, slice_of("x", 1)}, {9, slice_of("y", 1)}};
    request.unknown_tags = (struct unknown_tags){tags, 2};
    assert_int_equal(codec_encode(&metadata_request_schema, 9, &request, &f.bytes, &f.error),
                     ERR_MALFORMED);
    request.unknown_tags.len = 1;
    assert_int_equal(codec_encode(&metadata_request_schema, 8, &request, &f.bytes, &f.error),
                     ERR_UNSUPPORTED_VERSION);
    assert_int_equal(codec_encode(&metadata_request_schema, 9, &request, &f.bytes, &f.error),
                     ERR_OK);

    /* A known tag whose size is not its value's. */
    struct fetch_request fetch;
    assert_int_equal(
        decode_hex(&f, &fetch_request_schema, 12,
                   "ffffffff000001f400000001000000010000000000ffffffff0101010100020002", &fetch),
        ERR_MALFORMED);
    fixture_deinit(&f);
}

/* A tagged field of more than 127 bytes, whose size takes two. */
static void test_long_tag(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, 6);
    char text[200];
    memset(text, 'c', sizeof(text));
    struct fetch_request request;
    codec_init(&fetch_request_schema, &request);
    request.cluster_id = (struct str){text, sizeof(text)};
    assert_int_equal(codec_encode(&fetch_request_schema, 15, &request, &f.bytes, &f.error), ERR_OK);
    struct fetch_request again;
    size_t used;
    assert_int_equal(codec_decode(&fetch_request_schema, 15, buf_slice(&f.bytes), &used, &f.arena,
                                  &again, &f.error),
                     ERR_OK);
    assert_true(str_eq(again.cluster_id, request.cluster_id));
    fixture_deinit(&f);
}

static void test_scatter(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, 7);
    for (int round = 0; round < 200; round++) {
        struct fetch_response response;
        assert_int_equal(codec_random(&fetch_response_schema, 17, &f.rng, &f.arena, &response),
                         ERR_OK);
        buf_reset(&f.bytes);
        buf_reset(&f.again);
        assert_int_equal(codec_encode(&fetch_response_schema, 17, &response, &f.bytes, &f.error),
                         ERR_OK);
        struct codec_parts parts = {.arena = &f.arena};
        assert_int_equal(
            codec_encode_scatter(&fetch_response_schema, 17, &response, &f.again, &parts, &f.error),
            ERR_OK);
        assert_int_equal(f.again.len + parts.bytes, f.bytes.len);
        struct buf joined;
        buf_init(&joined, LIMIT);
        size_t at = 0;
        for (size_t i = 0; i < parts.len; i++) {
            buf_put(&joined, f.again.data + at, parts.items[i].at - at);
            buf_put(&joined, parts.items[i].bytes.data, parts.items[i].bytes.len);
            at = parts.items[i].at;
        }
        buf_put(&joined, f.again.data + at, f.again.len - at);
        assert_int_equal(joined.len, f.bytes.len);
        assert_memory_equal(joined.data, f.bytes.data, joined.len);
        buf_deinit(&joined);
        arena_reset(&f.arena);
    }
    fixture_deinit(&f);
}

static void test_memory_is_bounded(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, 8);
    struct arena small;
    arena_init(&small, 4096);
    struct metadata_request request;
    codec_init(&metadata_request_schema, &request);
    request.topics = MSG_ARRAY(metadata_request_topic, &f.arena, 1000);
    request.topics_len = 1000;
    assert_int_equal(codec_encode(&metadata_request_schema, 9, &request, &f.bytes, &f.error),
                     ERR_OK);
    size_t used;
    assert_int_equal(codec_decode(&metadata_request_schema, 9, buf_slice(&f.bytes), &used, &small,
                                  &request, &f.error),
                     ERR_NOMEM);
    struct buf full;
    buf_init(&full, 3);
    assert_int_equal(codec_encode(&metadata_request_schema, 9, &request, &full, &f.error),
                     ERR_LIMIT);
    buf_deinit(&full);
    arena_deinit(&small);
    fixture_deinit(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trips),
        cmocka_unit_test(test_truncation),
        cmocka_unit_test(test_flipped_bytes),
        cmocka_unit_test(test_lying_counts),
        cmocka_unit_test(test_null_is_checked),
        cmocka_unit_test(test_missing_fields),
        cmocka_unit_test(test_tags),
        cmocka_unit_test(test_long_tag),
        cmocka_unit_test(test_scatter),
        cmocka_unit_test(test_memory_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
