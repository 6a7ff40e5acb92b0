/* Goal: no content of write-ahead logs makes reading them, or opening a log with them, misbehave;
 * and a log that was opened with them is in order without them.
 * Method: the input is a script of steps, u8 kind, u8 length, body. It puts commits whose checksums
 * are right but whose numbers, records and batches are as the input says, and bytes as they are,
 * into files; and batches into the segment that the log has, so that the two meet. Then the files
 * are read, each batch found is read back, the log opened, read and appended to; and opened again,
 * as after a clean stop and as after a crash, with the same end. */
#include "base/crc32c.h"
#include "log/fuzzing.h"
#include "log/wal_format.h"
#include "log/wal_replay.h"

#define FILES_MAX   3
#define FILE_BYTES  ((size_t)64 << 10)
#define BATCH_FIELD 6 /* bytes of the script for one batch */

static const struct uuid own_topic = {{1}};

struct script {
    uint8_t files[FILES_MAX][FILE_BYTES];
    size_t len[FILES_MAX];
    size_t file;
    struct buf segment;
    int64_t recovery_point;
    bool is_dense, has_file[FILES_MAX];
};

static struct script script;

/* A batch of one record. */
static void put_batch(struct buf *out, int64_t base_offset, int32_t epoch, uint8_t value)
{
    struct batch_options options = BATCH_OPTIONS_DEFAULT;
    struct batch_builder builder;
    struct record_fields fields = {.timestamp = 1, .value = slice_of(&value, 1)};
    size_t at = out->len;
    batch_builder_init(&builder, out, &options);
    ASSERT(batch_builder_append(&builder, &fields) == ERR_OK);
    ASSERT(batch_builder_finish(&builder, NULL) == ERR_OK);
    batch_builder_deinit(&builder);
    batch_stamp(out->data + at, base_offset, epoch, NULL);
}

/* u8 topic and partition, segment, place, offset, epoch, value. */
static void put_record(struct buf *out, const uint8_t *field)
{
    struct uuid topic = {{field[0] & 15}};
    struct buf batch;
    buf_init(&batch, BUF_NO_LIMIT);
    put_batch(&batch, field[3], field[4] & 3, field[5]);
    buf_put(out, topic.bytes, sizeof(topic.bytes));
    buf_put_be32(out, field[0] >> 4);
    buf_put_be32(out, (uint32_t)batch.len);
    buf_put_be64(out, field[1] & 3);
    buf_put_be32(out, (uint32_t)(field[2] * batch.len));
    buf_put(out, batch.data, batch.len);
    buf_deinit(&batch);
}

static void put_blocks(struct slice bytes)
{
    size_t at = script.len[script.file];
    if (bytes.len == 0 || bytes.len > FILE_BYTES - at)
        return;
    memcpy(script.files[script.file] + at, bytes.data, bytes.len);
    script.len[script.file] = at + wal_round_up(bytes.len);
}

/* u8 run, use of the file, number, first number, version; then the records: as the bytes are, or
 * made of fields. */
static void put_commit(struct slice body, bool is_raw)
{
    struct buf out;
    if (body.len < 5)
        return;
    struct slice rest = {body.data + 5, body.len - 5};
    buf_init(&out, BUF_NO_LIMIT);
    buf_put_be32(&out, WAL_MAGIC);
    buf_put_be32(&out, 0);
    buf_put_be32(&out, (uint32_t)(body.data[4] % 8 == 7 ? 2 : WAL_VERSION) << 24);
    buf_put_be32(&out, 0);
    for (int i = 0; i < 4; i++)
        buf_put_be64(&out, body.data[i]);
    buf_put_be32(&out, is_raw && rest.len > 0 ? rest.data[0] : (uint32_t)(rest.len / BATCH_FIELD));
    if (is_raw && rest.len > 0)
        buf_put(&out, rest.data + 1, rest.len - 1);
    for (; !is_raw && rest.len >= BATCH_FIELD;
         rest = slice_of(rest.data + BATCH_FIELD, rest.len - BATCH_FIELD))
        put_record(&out, rest.data);
    be32_store(out.data + WAL_AT_LENGTH, (uint32_t)out.len);
    be32_store(out.data + WAL_AT_CRC,
               crc32c(0, slice_of(out.data + WAL_AT_VERSION, out.len - WAL_AT_VERSION)));
    put_blocks(buf_slice(&out));
    buf_deinit(&out);
}

static void run_step(uint8_t kind, struct slice body)
{
    switch (kind) {
    case 'b': /* batches */
        put_commit(body, false);
        return;
    case 'c': /* a commit of anything */
        put_commit(body, true);
        return;
    case 'r': /* anything */
        put_blocks(body);
        return;
    case 'f': /* the next file */
        script.file = (script.file + 1) % FILES_MAX;
        script.has_file[script.file] = true;
        return;
    case 's': /* batches of the segment: u8 offset, epoch, value */
        for (; body.len >= 3; body = slice_of(body.data + 3, body.len - 3))
            put_batch(&script.segment, body.data[0], body.data[1] & 3, body.data[2]);
        return;
    case 't': /* its end is torn off */
        if (body.len > 0 && body.data[0] < script.segment.len)
            script.segment.len -= body.data[0];
        return;
    case 'o':
        if (body.len < 2)
            return;
        script.recovery_point = body.data[0];
        script.is_dense = body.data[1] & 1;
        return;
    default:
        return;
    }
}

static void run_script(struct slice bytes)
{
    memset(script.files, 0, sizeof(script.files));
    memset(script.len, 0, sizeof(script.len));
    memset(script.has_file, 0, sizeof(script.has_file));
    script.file = 0;
    script.has_file[0] = true;
    script.recovery_point = 0;
    script.is_dense = false;
    buf_init(&script.segment, BUF_NO_LIMIT);
    while (bytes.len >= 2 && bytes.data[1] <= bytes.len - 2) {
        size_t len = bytes.data[1];
        run_step(bytes.data[0], slice_of(bytes.data + 2, len));
        bytes = slice_of(bytes.data + 2 + len, bytes.len - 2 - len);
    }
}

/* In the order of their places, each once, and each a whole batch at its place in the files. */
static void check_group(const struct wal_group *group)
{
    for (size_t i = 0; i < group->count; i++) {
        const struct wal_entry *entry = &group->entries[i];
        struct batch batch;
        ASSERT(i == 0 || entry[-1].segment_base < entry->segment_base ||
               (entry[-1].segment_base == entry->segment_base &&
                entry[-1].position < entry->position));
        ASSERT(wal_group_find(group, entry->segment_base, entry->position) == entry);
        uint8_t *data = malloc(entry->len);
        ASSERT(data);
        ASSERT(wal_entry_read(group, io, entry, data) == ERR_OK);
        ASSERT(batch_load(slice_of(data, entry->len), &batch) == ERR_OK);
        ASSERT(batch.base_offset == entry->base_offset &&
               batch.last_offset + 1 == entry->end_offset);
        free(data);
    }
}

static enum err try_open(struct log_open_options options, struct log **log)
{
    static struct log_owner owner = {on_advance, on_failure};
    struct log_config config = small_config;
    struct log_problem problem = {0};
    config.is_dense = script.is_dense;
    options.log_start_offset = -1;
    options.key = (struct manifest_key){own_topic, 0};
    enum err err = log_open(io, dir, &config, &options, &owner, log, &problem);
    ASSERT(err == ERR_OK || problem.text[0] != '\0');
    return err;
}

/* What was put back is in the segments: nobody needs the write-ahead log any more. */
static void try_log(struct wal_group *group)
{
    struct log *log;
    struct log_open_options options = {.recovery_point = script.recovery_point, .replay = group};
    if (try_open(options, &log) != ERR_OK)
        return;
    read_all(log);
    append_one(log);
    int64_t end_offset = log_end_offset(log);
    if (log_close(log) != ERR_OK)
        return;
    for (int is_clean = 0; is_clean < 2; is_clean++) {
        options = (struct log_open_options){.clean_shutdown = is_clean};
        ASSERT(try_open(options, &log) == ERR_OK);
        ASSERT(log_end_offset(log) == end_offset);
        (void)!log_close(log);
    }
}

static void try_replay(void)
{
    struct wal_replay replay;
    bool is_read = wal_replay_open(&replay, io, root, false) == ERR_OK;
    struct map_iter iter;
    map_iter_init(&iter, &replay.groups);
    for (struct wal_group *group; is_read && (group = map_iter_next(&iter)) != NULL;)
        check_group(group);
    if (is_read)
        try_log(wal_replay_find(&replay, own_topic, 0));
    map_iter_init(&iter, &replay.groups);
    for (struct wal_group *group; is_read && (group = map_iter_next(&iter)) != NULL;)
        wal_group_settle(group);
    ASSERT(wal_replay_tidy(&replay, io) == ERR_OK);
    wal_replay_close(&replay);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    char name[40];
    prepare();
    run_script(slice_of(data, len));
    ASSERT(log_create(io, dir, own_topic) == ERR_OK);
    put_file(dir, "00000000000000000000.log", buf_slice(&script.segment));
    for (size_t i = 0; i < FILES_MAX; i++) {
        snprintf(name, sizeof(name), "taffrail-wal-0-%zu", i + 1);
        if (script.has_file[i])
            put_file(root, name, slice_of(script.files[i], script.len[i]));
    }
    try_replay();
    for (size_t i = 0; i < FILES_MAX; i++) {
        char path[200];
        snprintf(path, sizeof(path), "%s/taffrail-wal-0-%zu", root, i + 1);
        enum err err = io_unlink_now(io, path);
        ASSERT(err == ERR_OK || err == ERR_NOENT);
    }
    ASSERT(logdir_remove_folder(io, dir) == ERR_OK);
    buf_deinit(&script.segment);
    return 0;
}
