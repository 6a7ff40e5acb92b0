/* Goal: no bytes make a decoder misbehave, and what is decoded is encoded to bytes that mean the
 * same. Method: the first byte says what the rest is: a frame as a broker receives it, a response,
 * a record of one of the internal topics or of the metadata log. What decodes is printed, encoded,
 * decoded and encoded again; both encodings must be equal.
 *
 *   0   what: one of enum input
 *   1   i16 API key | i16 version   (FUZZ_RESPONSE)
 *       u16 index of a schema | i16 version   (FUZZ_SCHEMA) */
#include "base/assert.h"
#include "wire/header.h"
#include "wire/messages.h"
#include "wire/records.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define MEMORY_MAX ((size_t)8 << 20)

enum input {
    FUZZ_FRAME,
    FUZZ_RESPONSE,
    FUZZ_SCHEMA,
    FUZZ_GROUP,
    FUZZ_TRANSACTION,
    FUZZ_SHARE,
    FUZZ_METADATA,
    FUZZ_INPUTS,
};

static struct arena arena;
static struct buf first, second, text;

static bool encode(const struct msg_schema *schema, int16_t version, const void *msg,
                   struct buf *out)
{
    buf_reset(out);
    enum err err = codec_encode(schema, version, msg, out, NULL);
    /* Unknown tags may come in any order, but are not sent on in a wrong one. */
    ASSERT(err == ERR_OK || err == ERR_MALFORMED);
    return err == ERR_OK;
}

/* `msg` was decoded: its encoding is a fixed point of decode and encode. */
static void check_again(const struct msg_schema *schema, int16_t version, const void *msg)
{
    buf_reset(&text);
    codec_print(schema, version, msg, true, &text);
    ASSERT(text.err == ERR_LIMIT || text.len >= 2);
    if (!encode(schema, version, msg, &first))
        return;
    void *again = arena_alloc(&arena, schema->root->size);
    size_t used;
    if (!again)
        return;
    enum err err = codec_decode(schema, version, buf_slice(&first), &used, &arena, again, NULL);
    if (err == ERR_NOMEM)
        return;
    ASSERT(err == ERR_OK && used == first.len);
    bool encoded = encode(schema, version, again, &second);
    ASSERT(encoded && first.len == second.len);
    ASSERT(first.len == 0 || memcmp(first.data, second.data, first.len) == 0);
}

static void decode(const struct msg_schema *schema, int16_t version, struct slice bytes)
{
    struct codec_error error = {""};
    size_t used;
    void *msg = arena_alloc(&arena, schema->root->size);
    ASSERT(msg != NULL);
    enum err err = codec_decode(schema, version, bytes, &used, &arena, msg, &error);
    ASSERT(used <= bytes.len);
    ASSERT((err == ERR_OK) == (error.text[0] == '\0'));
    if (err == ERR_OK)
        check_again(schema, version, msg);
}

static void decode_frame(struct slice bytes)
{
    struct request_header header;
    size_t used;
    if (request_header_decode(bytes, &header, &used) != ERR_OK)
        return;
    ASSERT(used <= bytes.len);
    const struct api_info *api = api_find(header.api_key);
    decode(api->request, header.api_version, slice_of(bytes.data + used, bytes.len - used));
}

static void decode_response(int16_t key, int16_t version, struct slice bytes)
{
    const struct api_info *api = api_find(key);
    int32_t correlation_id;
    size_t used;
    if (!api || response_header_decode(api, version, bytes, &correlation_id, &used) != ERR_OK)
        return;
    ASSERT(used <= bytes.len);
    decode(api->response, version, slice_of(bytes.data + used, bytes.len - used));
}

/* A record of a coordinator: u8 length of the key, the key, the value. */
static void decode_record(enum record_family family, struct slice bytes)
{
    struct record_part key, value;
    if (bytes.len == 0 || bytes.data[0] > bytes.len - 1)
        return;
    size_t key_len = bytes.data[0];
    if (record_key_decode(family, slice_of(bytes.data + 1, key_len), &arena, &key, NULL) != ERR_OK)
        return;
    check_again(key.schema, key.version, key.msg);
    struct slice rest = slice_of(bytes.data + 1 + key_len, bytes.len - 1 - key_len);
    if (record_value_decode(key.info, rest, &arena, &value, NULL) == ERR_OK)
        check_again(value.schema, value.version, value.msg);
}

static void decode_metadata(struct slice bytes)
{
    struct record_part part;
    if (record_metadata_decode(bytes, &arena, &part, NULL) == ERR_OK)
        check_again(part.schema, part.version, part.msg);
}

static void run(enum input input, struct slice bytes)
{
    switch (input) {
    case FUZZ_FRAME:
        decode_frame(bytes);
        return;
    case FUZZ_RESPONSE:
    case FUZZ_SCHEMA: {
        if (bytes.len < 4)
            return;
        int16_t which = (int16_t)be16_load(bytes.data);
        int16_t version = (int16_t)be16_load(bytes.data + 2);
        struct slice rest = slice_of(bytes.data + 4, bytes.len - 4);
        if (input == FUZZ_RESPONSE)
            decode_response(which, version, rest);
        else
            decode(msg_schemas[(uint16_t)which % msg_schemas_len], version, rest);
        return;
    }
    case FUZZ_GROUP:
        decode_record(RECORD_GROUP, bytes);
        return;
    case FUZZ_TRANSACTION:
        decode_record(RECORD_TRANSACTION, bytes);
        return;
    case FUZZ_SHARE:
        decode_record(RECORD_SHARE, bytes);
        return;
    default:
        decode_metadata(bytes);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len == 0)
        return 0;
    if (arena.limit == 0) {
        arena_init(&arena, MEMORY_MAX);
        buf_init(&first, MEMORY_MAX);
        buf_init(&second, MEMORY_MAX);
        buf_init(&text, MEMORY_MAX);
    }
    run((enum input)(data[0] % FUZZ_INPUTS), slice_of(data + 1, len - 1));
    arena_reset(&arena);
    return 0;
}
