/* A coordinator for tests, with a log in memory: what is decided is encoded, decoded and replayed
 * as the driver would, and can be read again from the start. */
#ifndef COORD_TESTING_H
#define COORD_TESTING_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "coord/internal.h"
#include "wire/messages.h"

struct test_record {
    struct test_record *next;
    struct buf key, value;
    bool is_tombstone;
};

struct test_coord {
    struct coord_config config;
    struct coord *coord;
    struct arena arena; /* of answers: until test_end */
    struct rng rng;
    int64_t now_ms, wall_ms;
    size_t batch_bytes_max;
    struct coord_records records; /* of the last call */
    struct coord_call call;
    struct coord_topics topics;
    struct list done; /* operations, until they are taken */
    struct test_record *log, **log_end;
    size_t log_count;
};

static inline bool test_no_topic(const void *image, struct str name, struct coord_topic *topic)
{
    (void)image, (void)name, (void)topic;
    return false;
}

static inline bool test_no_topic_id(const void *image, struct uuid id, struct coord_topic *topic)
{
    (void)image, (void)id, (void)topic;
    return false;
}

static inline struct coord_call *test_call(struct test_coord *t)
{
    coord_records_init(&t->records, &t->arena);
    t->call = (struct coord_call){.arena = &t->arena,
                                  .rng = &t->rng,
                                  .now_ms = t->now_ms,
                                  .wall_ms = t->wall_ms,
                                  .topics = &t->topics,
                                  .batch_bytes_max = t->batch_bytes_max,
                                  .records = &t->records,
                                  .done = &t->done};
    return &t->call;
}

static inline void test_init(struct test_coord *t)
{
    *t = (struct test_coord){.config = {.session_timeout_min_ms = 3000,
                                        .session_timeout_max_ms = 1800000,
                                        .group_size_max = INT32_MAX,
                                        .offset_metadata_max = 4096,
                                        .offset_retention_ms = 7 * 86400000ll,
                                        .offset_check_interval_ms = 600000},
                             .now_ms = 1000,
                             .wall_ms = 1700000000000,
                             .batch_bytes_max = 1048588,
                             .topics = {NULL, test_no_topic, test_no_topic_id}};
    arena_init(&t->arena, ARENA_NO_LIMIT);
    rng_init(&t->rng, 1);
    list_init(&t->done);
    t->log_end = &t->log;
    t->coord = coord_create(&t->config, 1);
    assert_non_null(t->coord);
    coord_loaded(t->coord, test_call(t));
}

static inline void test_drop(struct test_coord *t)
{
    coord_destroy(t->coord, &t->done);
    t->coord = NULL;
}

static inline void test_end(struct test_coord *t)
{
    if (t->coord)
        test_drop(t);
    while (t->log) {
        struct test_record *record = t->log;
        t->log = record->next;
        buf_deinit(&record->key);
        buf_deinit(&record->value);
        free(record);
    }
    arena_deinit(&t->arena);
}

static inline void test_append(struct test_coord *t, const struct coord_record *record)
{
    struct test_record *kept = calloc(1, sizeof(*kept));
    assert_non_null(kept);
    buf_init(&kept->key, BUF_NO_LIMIT);
    buf_init(&kept->value, BUF_NO_LIMIT);
    kept->is_tombstone = !record->value;
    assert_int_equal(coord_record_encode_key(record, &kept->key), ERR_OK);
    if (record->value)
        assert_int_equal(coord_record_encode_value(record, &kept->value), ERR_OK);
    *t->log_end = kept;
    t->log_end = &kept->next;
    t->log_count++;
}

/* What the driver does after a call. */
static inline void test_commit(struct test_coord *t)
{
    assert_int_equal(t->records.err, ERR_OK);
    for (size_t i = 0; i < t->records.count; i++)
        test_append(t, &t->records.items[i]);
    assert_int_equal(coord_replay_all(t->coord, &t->records), ERR_OK);
}

/* The next operation that is answered; NULL: none. */
static inline struct coord_op *test_done(struct test_coord *t)
{
    struct list *node = list_pop_front(&t->done);
    return node ? LIST_ENTRY(node, struct coord_op, link) : NULL;
}

static inline void test_replay_one(struct test_coord *t, const struct test_record *record)
{
    struct coord_record decoded;
    struct slice value = record->is_tombstone ? SLICE_NULL : buf_slice(&record->value);
    assert_int_equal(coord_record_decode(buf_slice(&record->key), value, &t->arena, &decoded),
                     ERR_OK);
    assert_int_equal(coord_replay(t->coord, &decoded), ERR_OK);
}

/* A new coordinator from the log. Whoever waited is done. */
static inline void test_reload(struct test_coord *t)
{
    if (t->coord)
        test_drop(t);
    t->coord = coord_create(&t->config, 2);
    assert_non_null(t->coord);
    for (const struct test_record *record = t->log; record; record = record->next)
        test_replay_one(t, record);
    coord_loaded(t->coord, test_call(t));
    test_commit(t);
}

/* Time passes; timers run when they are due. */
static inline void test_pass(struct test_coord *t, int64_t ms)
{
    int64_t end = t->now_ms + ms;
    for (;;) {
        int64_t at = coord_deadline(t->coord);
        int64_t to = at > end ? end : at > t->now_ms ? at : t->now_ms;
        t->wall_ms += to - t->now_ms;
        t->now_ms = to;
        if (at > end)
            return;
        coord_tick(t->coord, test_call(t));
        test_commit(t);
    }
}

#endif
