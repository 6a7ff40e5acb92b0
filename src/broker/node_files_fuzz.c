/* Goal: no server.properties, meta.properties, quorum-state, checkpoint or control record makes its
 * reader misbehave; properties read back from what was written. Method: the first byte chooses the
 * kind; checkpoints get the right checksums put in, which guessing would take for ever to find. */
#include "base/assert.h"
#include "broker/properties.h"
#include "broker/snapshot.h"
#include "wire/batch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define ARENA_BYTES_MAX ((size_t)64 << 20)

static void check_properties(struct str text, struct arena *arena)
{
    struct properties found, again;
    size_t line = 0;
    if (properties_parse(text, arena, &found, &line) != ERR_OK)
        return;
    struct buf buf;
    buf_init(&buf, BUF_NO_LIMIT);
    for (size_t i = 0; i < found.count; i++)
        properties_put(&buf, found.items[i].key, found.items[i].value);
    struct str written = {buf.len ? (const char *)buf.data : "", buf.len};
    enum err err = properties_parse(written, arena, &again, &line);
    if (err != ERR_NOMEM) {
        ASSERT(err == ERR_OK);
        /* An empty key with an empty value is a line of "=". */
        ASSERT(found.count == again.count);
        for (size_t i = 0; i < found.count; i++) {
            ASSERT(str_eq(found.items[i].key, again.items[i].key));
            ASSERT(str_eq(found.items[i].value, again.items[i].value));
        }
    }
    buf_deinit(&buf);
}

static void check_quorum_state(struct str text)
{
    struct quorum_state_file state, again;
    char why[256];
    if (quorum_state_parse(text, &state, why, sizeof(why)) != ERR_OK)
        return;
    struct buf buf;
    buf_init(&buf, BUF_NO_LIMIT);
    quorum_state_print(&state, &buf);
    enum err err =
        quorum_state_parse((struct str){(const char *)buf.data, buf.len}, &again, why, sizeof(why));
    ASSERT(err == ERR_OK && again.epoch == state.epoch && again.leader_id == state.leader_id);
    buf_deinit(&buf);
}

static void check_checkpoint(const uint8_t *data, size_t len, struct arena *arena)
{
    uint8_t *copy = arena_alloc(arena, len);
    if (!copy)
        return;
    if (len)
        memcpy(copy, data, len);
    struct batch batch;
    for (size_t at = 0; batch_load(slice_of(copy + at, len - at), &batch) == ERR_OK;
         at += batch.size)
        be32_store(copy + at + BATCH_AT_CRC, batch_crc_compute(batch_bytes(&batch)));
    struct snapshot snapshot;
    struct meta_error why = {ERR_OK, STR_NULL};
    enum err err = snapshot_decode(slice_of(copy, len), STR("input"), arena, &snapshot, &why);
    ASSERT(err == ERR_OK || err == ERR_NOMEM || why.text.len > 0);
}

/* Control records of the metadata log, whose values the quorum reads. */
static void check_control(const uint8_t *data, size_t len, struct arena *arena)
{
    struct quorum_voter *voters = NULL;
    size_t count = 0;
    int16_t version;
    if (quorum_voters_decode(slice_of(data, len), arena, &voters, &count) == ERR_OK)
        ASSERT(count == 0 || voters);
    if (quorum_kraft_version_decode(slice_of(data, len), &version) == ERR_OK)
        ASSERT(len >= sizeof(version));
    int16_t type;
    if (control_key_load(slice_of(data, len), &type) == ERR_OK)
        ASSERT(len >= sizeof(type));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len == 0)
        return 0;
    struct str text = {(const char *)data + 1, len - 1};
    struct arena arena;
    arena_init(&arena, ARENA_BYTES_MAX);
    switch (data[0] % 4) {
    case 0:
        check_properties(text, &arena);
        break;
    case 1:
        check_quorum_state(text);
        break;
    case 3:
        check_control(data + 1, len - 1, &arena);
        break;
    default:
        check_checkpoint(data + 1, len - 1, &arena);
    }
    arena_deinit(&arena);
    return 0;
}
