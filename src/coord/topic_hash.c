/* XXH3 (64 bits, seed 0) over: a zero byte, the id, the name, the number of partitions; for each
 * partition its number and for each rack its length and the rack. Integers are little-endian, the
 * id's two halves are each an integer; a string is its UTF-16 units followed by their number. */
#include <xxhash.h>

#include "base/assert.h"
#include "coord/topic_hash.h"

/* XXH3's state is opaque here: the pointer is the whole of it. */
static XXH3_state_t *state_of(struct topic_hash *hash)
{
    return (XXH3_state_t *)(void *)hash;
}

static void feed(XXH3_state_t *state, const void *bytes, size_t len)
{
    XXH_errorcode code = XXH3_64bits_update(state, bytes, len);
    ASSERT(code == XXH_OK);
}

static void feed_number(XXH3_state_t *state, uint64_t v, size_t size)
{
    uint8_t bytes[8];
    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)(v >> (8 * i));
    feed(state, bytes, size);
}

/* The code point at the front of valid UTF-8. */
static uint32_t take_code_point(struct str *rest)
{
    const uint8_t *at = (const uint8_t *)rest->data;
    size_t len = at[0] < 0x80 ? 1 : at[0] < 0xe0 ? 2 : at[0] < 0xf0 ? 3 : 4;
    if (len > rest->len)
        len = 1;
    uint32_t point = len == 1 ? at[0] : at[0] & (0x7fu >> len);
    for (size_t i = 1; i < len; i++)
        point = point << 6 | (at[i] & 0x3fu);
    rest->data += len;
    rest->len -= len;
    return point;
}

static uint32_t utf16_len(struct str s)
{
    uint32_t units = 0;
    while (s.len > 0)
        units += take_code_point(&s) >= 0x10000 ? 2 : 1;
    return units;
}

static void feed_str(XXH3_state_t *state, struct str s)
{
    uint32_t units = utf16_len(s);
    while (s.len > 0) {
        uint32_t point = take_code_point(&s);
        if (point >= 0x10000) {
            feed_number(state, 0xd800 + ((point - 0x10000) >> 10), 2);
            point = 0xdc00 + ((point - 0x10000) & 0x3ff);
        }
        feed_number(state, point, 2);
    }
    feed_number(state, units, 4);
}

struct topic_hash *topic_hash_begin(struct uuid id, struct str name, int32_t partition_count)
{
    XXH3_state_t *state = XXH3_createState();
    if (!state)
        return NULL;
    XXH_errorcode code = XXH3_64bits_reset(state);
    ASSERT(code == XXH_OK);
    feed_number(state, 0, 1);
    feed_number(state, be64_load(id.bytes), 8);
    feed_number(state, be64_load(id.bytes + 8), 8);
    feed_str(state, name);
    feed_number(state, (uint32_t)partition_count, 4);
    return (struct topic_hash *)(void *)state;
}

void topic_hash_partition(struct topic_hash *hash, int32_t partition)
{
    feed_number(state_of(hash), (uint32_t)partition, 4);
}

void topic_hash_rack(struct topic_hash *hash, struct str rack)
{
    feed_number(state_of(hash), utf16_len(rack), 4);
    feed_str(state_of(hash), rack);
}

uint64_t topic_hash_end(struct topic_hash *hash)
{
    uint64_t value = XXH3_64bits_digest(state_of(hash));
    (void)XXH3_freeState(state_of(hash));
    return value;
}

uint64_t topic_hash_of_group(const uint64_t *hashes, size_t count)
{
    static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "hashed as they are in memory");
    return count > 0 ? XXH3_64bits(hashes, count * sizeof(*hashes)) : 0;
}
