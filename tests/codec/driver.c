/* Our side of the differential codec test; Differential.java is Apache Kafka's.
 *
 *   driver list             what there is: "schema NAME MIN MAX" and
 *                           "api KEY NAME MIN MAX FLEXIBLE BROKER CONTROLLER"
 *   driver generate N SEED  N invented messages for each schema and version, and the headers of
 *                           each API ("RequestHeader/KEY"), as frames
 *   driver check            reads frames: decodes, encodes, and compares the bytes
 *   driver corpus FOLDER    writes seeds for src/wire/codec_fuzz.c
 *
 * A frame: i16 length, schema name | i16 version | i32 length, message | i32 length, JSON */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "wire/api.h"
#include "wire/header.h"
#include "wire/messages.h"
#include "wire/records.h"

#define MESSAGE_MAX ((size_t)64 << 20)

static void list(void)
{
    for (int i = 0; i < msg_schemas_len; i++)
        printf("schema %s %d %d\n", msg_schemas[i]->name, msg_schemas[i]->version_min,
               msg_schemas[i]->version_max);
    for (int i = 0; i < api_table_len; i++) {
        const struct api_info *api = &api_table[i];
        printf("api %d %s %d %d %d %d %d\n", api->key, api->name, api->version_min,
               api->version_max, api->flexible_from == MSG_VERSION_NONE ? -1 : api->flexible_from,
               api->broker, api->controller);
    }
}

static void die(const char *what, const char *why)
{
    fprintf(stderr, "driver: %s: %s\n", what, why);
    exit(2);
}

static void put(const void *data, size_t len)
{
    if (len && fwrite(data, len, 1, stdout) != 1)
        die("stdout", "cannot write");
}

static void put_sized(const struct buf *buf)
{
    uint8_t size[4];
    be32_store(size, (uint32_t)buf->len);
    put(size, sizeof(size));
    put(buf->data, buf->len);
}

static void put_frame(const char *name, int16_t version, const struct buf *message,
                      const struct buf *json)
{
    uint8_t half[2];
    be16_store(half, (uint16_t)strlen(name));
    put(half, sizeof(half));
    put(name, strlen(name));
    be16_store(half, (uint16_t)version);
    put(half, sizeof(half));
    put_sized(message);
    put_sized(json);
}

/* The headers in front of one API's request and response. */
static void generate_headers(const struct api_info *api, int16_t version, struct buf *message,
                             struct buf *json)
{
    char name[64];
    struct request_header header = {api->key, version, 77, STR("rdkafka")};
    buf_reset(message);
    buf_reset(json);
    request_header_encode(api, &header, message);
    buf_printf(json,
               "{\"requestApiKey\":%d,\"requestApiVersion\":%d,\"correlationId\":77,"
               "\"clientId\":\"rdkafka\"}",
               api->key, version);
    snprintf(name, sizeof(name), "RequestHeader/%d", api->key);
    put_frame(name, version, message, json);

    buf_reset(message);
    buf_reset(json);
    response_header_encode(api, version, 78, message);
    buf_printf(json, "{\"correlationId\":78}");
    snprintf(name, sizeof(name), "ResponseHeader/%d", api->key);
    put_frame(name, version, message, json);
}

static void generate(int count, uint64_t seed)
{
    struct arena arena;
    struct buf message, json;
    struct rng rng;
    struct codec_error error;
    arena_init(&arena, MESSAGE_MAX);
    buf_init(&message, MESSAGE_MAX);
    buf_init(&json, MESSAGE_MAX);
    rng_init(&rng, seed);
    for (int i = 0; i < msg_schemas_len; i++) {
        const struct msg_schema *schema = msg_schemas[i];
        for (int v = schema->version_min; v <= schema->version_max; v++) {
            for (int n = 0; n < count; n++) {
                int16_t version = (int16_t)v;
                arena_reset(&arena);
                buf_reset(&message);
                buf_reset(&json);
                void *msg = arena_zalloc(&arena, schema->root->size);
                if (!msg || codec_random(schema, version, &rng, &arena, msg) != ERR_OK)
                    die(schema->name, "out of memory");
                if (codec_encode(schema, version, msg, &message, &error) != ERR_OK)
                    die(schema->name, error.text);
                codec_print(schema, version, msg, false, &json);
                put_frame(schema->name, version, &message, &json);
            }
        }
    }
    for (int i = 0; i < api_table_len; i++)
        for (int v = api_table[i].version_min; v <= api_table[i].version_max; v++)
            generate_headers(&api_table[i], (int16_t)v, &message, &json);
    buf_deinit(&json);
    buf_deinit(&message);
    arena_deinit(&arena);
}

/* False at the end of the input. */
static bool get(void *to, size_t len)
{
    if (len == 0)
        return true;
    size_t got = fread(to, 1, len, stdin);
    if (got != 0 && got != len)
        die("stdin", "ends inside of a frame");
    return got == len;
}

static struct slice get_sized(struct arena *arena)
{
    uint8_t size[4];
    if (!get(size, sizeof(size)))
        die("stdin", "ends inside of a frame");
    size_t len = be32_load(size);
    uint8_t *data = len <= MESSAGE_MAX ? arena_alloc(arena, len) : NULL;
    if (!data || !get(data, len))
        die("stdin", "a frame is too large or ends early");
    return slice_of(data, len);
}

static const struct msg_schema *find_schema(struct str name)
{
    for (int i = 0; i < msg_schemas_len; i++)
        if (str_eq_cstr(name, msg_schemas[i]->name))
            return msg_schemas[i];
    return NULL;
}

static bool check_message(const struct msg_schema *schema, int16_t version, struct slice message,
                          struct arena *arena)
{
    struct codec_error error;
    size_t used;
    void *msg = arena_zalloc(arena, schema->root->size);
    if (!msg)
        die(schema->name, "out of memory");
    if (codec_decode(schema, version, message, &used, arena, msg, &error) != ERR_OK) {
        fprintf(stderr, "%s\n", error.text);
        return false;
    }
    struct buf again;
    buf_init(&again, MESSAGE_MAX);
    bool equal = codec_encode(schema, version, msg, &again, &error) == ERR_OK &&
                 used == message.len && again.len == message.len &&
                 (again.len == 0 || memcmp(again.data, message.data, again.len) == 0);
    if (!equal)
        fprintf(stderr, "%s v%d: %zu bytes, %zu decoded, %zu encoded again\n", schema->name,
                version, message.len, used, again.len);
    buf_deinit(&again);
    return equal;
}

static int check(void)
{
    struct arena arena;
    arena_init(&arena, MESSAGE_MAX * 4);
    uint8_t half[2];
    long checked = 0, wrong = 0;
    while (get(half, sizeof(half))) {
        char name[128];
        size_t len = be16_load(half);
        if (len >= sizeof(name) || !get(name, len) || !get(half, sizeof(half)))
            die("stdin", "no frame");
        const struct msg_schema *schema = find_schema((struct str){name, len});
        if (!schema)
            die("stdin", "a message that is not known");
        struct slice message = get_sized(&arena);
        (void)get_sized(&arena);
        checked++;
        wrong += !check_message(schema, (int16_t)be16_load(half), message, &arena);
        arena_reset(&arena);
    }
    arena_deinit(&arena);
    printf("from Apache Kafka to us: %ld messages, %ld differences\n", checked, wrong);
    return wrong ? 1 : 0;
}

/* One file of the fuzz corpus: what it is, and the bytes. */
static void write_seed(const char *folder, const char *name, uint8_t what, const struct buf *bytes)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *file = fopen(path, "wb");
    if (!file || fputc(what, file) == EOF || fwrite(bytes->data, bytes->len, 1, file) != 1 ||
        fclose(file) != 0)
        die(path, "cannot write");
}

static void invent_seed(const struct msg_schema *schema, int16_t version, struct rng *rng,
                        struct arena *arena, struct buf *out)
{
    void *msg = arena_zalloc(arena, schema->root->size);
    if (!msg || codec_random(schema, version, rng, arena, msg) != ERR_OK ||
        codec_encode(schema, version, msg, out, NULL) != ERR_OK)
        die(schema->name, "cannot be made");
}

static void corpus(const char *folder)
{
    /* Produce, Fetch, Metadata, JoinGroup, ApiVersions, CreateTopics: old and new encodings. */
    static const int16_t keys[] = {0, 1, 3, 11, 18, 19};
    /* PartitionRecord, TransactionLog, OffsetCommit, ConsumerGroupMemberMetadata, ShareSnapshot */
    static const struct {
        enum record_family family;
        int16_t type;
        uint8_t what;
    } records[] = {{RECORD_METADATA, 3, 6},
                   {RECORD_TRANSACTION, 0, 4},
                   {RECORD_GROUP, 1, 3},
                   {RECORD_GROUP, 5, 3},
                   {RECORD_SHARE, 0, 5}};
    struct arena arena;
    struct buf out, key;
    struct rng rng;
    char name[64];
    arena_init(&arena, MESSAGE_MAX);
    buf_init(&out, MESSAGE_MAX);
    buf_init(&key, MESSAGE_MAX);
    rng_init(&rng, 1);
    for (size_t i = 0; i < 2 * ARRAY_LEN(keys); i++) {
        const struct api_info *api = api_find(keys[i / 2]);
        int16_t version = i % 2 ? api->version_max : api->version_min;
        struct request_header header = {api->key, version, 1, STR("client")};
        buf_reset(&out);
        request_header_encode(api, &header, &out);
        invent_seed(api->request, version, &rng, &arena, &out);
        snprintf(name, sizeof(name), "%s-request-%d", api->name, version);
        write_seed(folder, name, 0, &out);

        buf_reset(&out);
        buf_put_be16(&out, (uint16_t)api->key);
        buf_put_be16(&out, (uint16_t)version);
        response_header_encode(api, version, 1, &out);
        invent_seed(api->response, version, &rng, &arena, &out);
        snprintf(name, sizeof(name), "%s-response-%d", api->name, version);
        write_seed(folder, name, 1, &out);
    }
    for (size_t i = 0; i < ARRAY_LEN(records); i++) {
        const struct record_info *info = record_find(records[i].family, records[i].type);
        int16_t version = info->value->version_max;
        buf_reset(&out);
        buf_reset(&key);
        if (info->key) {
            buf_put_be16(&key, (uint16_t)info->type);
            invent_seed(info->key, 0, &rng, &arena, &key);
            buf_put_u8(&out, (uint8_t)key.len);
            buf_put(&out, key.data, key.len);
            buf_put_be16(&out, (uint16_t)version);
        } else {
            buf_put_uvarint(&out, 1);
            buf_put_uvarint(&out, (uint64_t)info->type);
            buf_put_uvarint(&out, (uint64_t)version);
        }
        invent_seed(info->value, version, &rng, &arena, &out);
        snprintf(name, sizeof(name), "%s-%d", info->name, version);
        write_seed(folder, name, records[i].what, &out);
    }
    buf_deinit(&key);
    buf_deinit(&out);
    arena_deinit(&arena);
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "list") == 0) {
        list();
        return 0;
    }
    if (argc == 4 && strcmp(argv[1], "generate") == 0) {
        generate(atoi(argv[2]), strtoull(argv[3], NULL, 10));
        return 0;
    }
    if (argc == 2 && strcmp(argv[1], "check") == 0)
        return check();
    if (argc == 3 && strcmp(argv[1], "corpus") == 0) {
        corpus(argv[2]);
        return 0;
    }
    fprintf(stderr, "usage: driver list | generate N SEED | check | corpus FOLDER\n");
    return 2;
}
