/* Goal: no records on the disk make a coordinator that replays them misbehave, nor anything it does
 * afterwards; no expression of a client makes the one for topics. Method: the input is a list of
 * records, each with its key and value; the coordinator replays them, loads, lets hours pass and is
 * dropped. Inputs that begin with 0xff are an expression and a name to match.
 *
 *   u16 key length | u16 value length, 0xffff: null | key | value     again and again
 *   u16 key length + 0x8000: the same, of a transaction of the producer that bits 13 and 14 name
 *   u16 0xffff | u16: the end of the producer's (bits 0 and 1) transaction; bit 2: it is committed
 */
#include "base/assert.h"
#include "coord/coord.h"
#include "coord/topic_regex.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define ARENA_BYTES_MAX ((size_t)16 << 20)
#define TICKS_MAX       200

static bool no_topic(const void *image, struct str name, struct coord_topic *topic)
{
    (void)image, (void)name, (void)topic;
    return false;
}

static bool no_topic_id(const void *image, struct uuid id, struct coord_topic *topic)
{
    (void)image, (void)id, (void)topic;
    return false;
}

static uint64_t no_hash(const void *image, const struct coord_topic *topic)
{
    (void)image, (void)topic;
    return 0;
}

static void no_names(const void *image, bool (*fn)(void *arg, struct str name), void *arg)
{
    (void)image, (void)fn, (void)arg;
}

static size_t no_count(const void *image)
{
    (void)image;
    return 0;
}

static int64_t one_version(const void *image)
{
    (void)image;
    return 1;
}

static bool no_config(const void *image, struct str group_id, struct str key, int32_t *value)
{
    (void)image, (void)group_id, (void)key, (void)value;
    return false;
}

static const struct coord_topics topics = {NULL,     no_topic, no_topic_id, no_hash,
                                           no_names, no_count, one_version, no_config};

static const struct coord_config config = {
    .session_timeout_min_ms = 6000,
    .session_timeout_max_ms = 1800000,
    .initial_rebalance_delay_ms = 3000,
    .group_size_max = INT32_MAX,
    .offset_metadata_max = 4096,
    .offset_retention_ms = 86400000,
    .offset_check_interval_ms = 600000,
    .consumer =
        {45000, 45000, 60000, 5000, 5000, 15000, 1000, 0, 15000, INT32_MAX, true, true, 2, {0, 1}},
};

/* False at the end of the input, or at a record that cannot be replayed: the log is refused then.
 */
static bool replay_next(struct coord *coord, struct slice *left, struct arena *arena)
{
    if (left->len < 4)
        return false;
    size_t key_len = be16_load(left->data), value_len = be16_load(left->data + 2);
    if (key_len == 0xffff) {
        *left = slice_of(left->data + 4, left->len - 4);
        return coord_replay_end(coord, value_len & 3, (value_len & 4) != 0) == ERR_OK;
    }
    bool is_pending = (key_len & 0x8000) != 0;
    int64_t producer_id = key_len >> 13 & 3;
    if (is_pending)
        key_len &= 0x1fff;
    bool is_tombstone = value_len == 0xffff;
    if (is_tombstone)
        value_len = 0;
    if (key_len + value_len > left->len - 4)
        return false;
    struct slice key = slice_of(left->data + 4, key_len);
    struct slice value = is_tombstone ? SLICE_NULL : slice_of(left->data + 4 + key_len, value_len);
    *left = slice_of(left->data + 4 + key_len + value_len, left->len - 4 - key_len - value_len);
    struct coord_record record;
    enum err err = coord_record_decode(key, value, arena, &record);
    if (err == ERR_UNSUPPORTED)
        return true;
    if (err != ERR_OK)
        return false;
    err = is_pending ? coord_replay_pending(coord, &record, producer_id)
                     : coord_replay(coord, &record);
    return err == ERR_OK;
}

/* Timeouts pass; what the coordinator decides it is told again, as if it had been written. */
static void live_on(struct coord *coord, struct arena *arena)
{
    struct rng rng;
    struct list done;
    struct coord_records records;
    struct coord_call call = {.arena = arena,
                              .rng = &rng,
                              .now_ms = 1000,
                              .wall_ms = 1700000000000,
                              .topics = &topics,
                              .batch_bytes_max = 1 << 20,
                              .records = &records,
                              .done = &done};
    rng_init(&rng, 1);
    list_init(&done);
    coord_records_init(&records, arena);
    coord_loaded(coord, &call);
    for (int i = 0; i < TICKS_MAX && records.err == ERR_OK; i++) {
        if (coord_replay_all(coord, &records) != ERR_OK)
            return;
        int64_t due_ms = coord_deadline(coord);
        if (due_ms == COORD_NEVER)
            return;
        if (due_ms > call.now_ms) {
            call.wall_ms += due_ms - call.now_ms;
            call.now_ms = due_ms;
        }
        coord_records_init(&records, arena);
        coord_tick(coord, &call);
    }
}

static void check_regex(const uint8_t *data, size_t len)
{
    char why[TOPIC_REGEX_WHY_MAX];
    const uint8_t *end = len ? memchr(data, '\0', len) : NULL;
    size_t pattern_len = end ? (size_t)(end - data) : len;
    struct topic_regex *regex;
    struct str name = {end ? (const char *)end + 1 : "a-topic", end ? len - pattern_len - 1 : 7};
    if (topic_regex_compile((struct str){(const char *)data, pattern_len}, &regex, why) != ERR_OK)
        return;
    (void)topic_regex_matches(regex, name);
    topic_regex_free(regex);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len > 0 && data[0] == 0xff) {
        check_regex(data + 1, len - 1);
        return 0;
    }
    struct arena arena;
    arena_init(&arena, ARENA_BYTES_MAX);
    struct coord *coord = coord_create(&config, 1);
    ASSERT(coord);
    struct slice left = slice_of(data, len);
    while (replay_next(coord, &left, &arena))
        continue;
    live_on(coord, &arena);
    struct list done;
    list_init(&done);
    coord_destroy(coord, &done);
    arena_deinit(&arena);
    return 0;
}
