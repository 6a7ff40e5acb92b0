/* Checkpoint files of the metadata log; the format is in snapshot.h.
 *
 * Offsets in a checkpoint count its own records from 0; the leader epoch of its batches is that of
 * its name. A batch holds at most SNAPSHOT_BATCH_RECORDS records. A file appears under its name
 * only when it is complete and on disk (written beside, synced, renamed), so a crash leaves at most
 * a .tmp, which nobody reads.
 *
 * Runs on shard 0; reading at start blocks, and so does writing, for as long as the disk takes. */
#include "broker/snapshot.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "wire/batch.h"
#include "wire/batch_builder.h"

#define SNAPSHOT_BATCH_RECORDS 2000
#define SNAPSHOT_NAME_MAX      64
#define CHECKPOINT_SUFFIX      ".checkpoint"

/* --- names --- */

static void snapshot_name(struct snapshot_id id, char name[SNAPSHOT_NAME_MAX])
{
    snprintf(name, SNAPSHOT_NAME_MAX, "%020" PRId64 "-%010" PRId32 CHECKPOINT_SUFFIX, id.end_offset,
             id.epoch);
}

static bool take_digits(const char **at, int count, int64_t *value)
{
    *value = 0;
    for (int i = 0; i < count; i++, (*at)++) {
        if (**at < '0' || **at > '9' || __builtin_mul_overflow(*value, 10, value) ||
            __builtin_add_overflow(*value, **at - '0', value))
            return false;
    }
    return true;
}

static bool parse_name(const char *name, struct snapshot_id *id)
{
    int64_t epoch;
    if (!take_digits(&name, 20, &id->end_offset) || *name++ != '-' ||
        !take_digits(&name, 10, &epoch) || epoch > INT32_MAX)
        return false;
    id->epoch = (int32_t)epoch;
    return strcmp(name, CHECKPOINT_SUFFIX) == 0;
}

static bool id_is_newer(struct snapshot_id a, struct snapshot_id b)
{
    return a.end_offset != b.end_offset ? a.end_offset > b.end_offset : a.epoch > b.epoch;
}

struct latest {
    struct snapshot_id id;
    bool found;
};

static enum err on_name(void *arg, const char *name, bool is_dir)
{
    struct latest *latest = arg;
    struct snapshot_id id;
    if (!is_dir && parse_name(name, &id) && (!latest->found || id_is_newer(id, latest->id)))
        *latest = (struct latest){id, true};
    return ERR_OK;
}

enum err snapshot_latest(struct io *io, struct str dir, struct snapshot_id *id)
{
    struct latest latest = {.found = false};
    TRY(io_list(io, dir.data, on_name, &latest));
    if (!latest.found)
        return ERR_NOENT;
    *id = latest.id;
    return ERR_OK;
}

/* --- writing --- */

static struct batch_options options_at(int64_t base_offset, int32_t epoch, bool is_control)
{
    struct batch_options options = BATCH_OPTIONS_DEFAULT;
    options.base_offset = base_offset;
    options.leader_epoch = epoch;
    options.is_control = is_control;
    return options;
}

static enum err put_controls(const struct quorum_control *controls, size_t count,
                             int64_t base_offset, int32_t epoch, int64_t now_ms, struct buf *out)
{
    struct batch_options options = options_at(base_offset, epoch, true);
    struct batch_builder builder;
    batch_builder_init(&builder, out, &options);
    enum err err = ERR_OK;
    for (size_t i = 0; err == ERR_OK && i < count; i++)
        err = batch_builder_append_control(&builder, now_ms, (enum control_type)controls[i].type,
                                           controls[i].value);
    if (err == ERR_OK)
        err = batch_builder_finish(&builder, NULL);
    batch_builder_deinit(&builder);
    return err;
}

static enum err put_records(const struct meta_record *records, size_t count, int64_t base_offset,
                            int32_t epoch, int64_t now_ms, struct buf *out)
{
    struct batch_options options = options_at(base_offset, epoch, false);
    struct batch_builder builder;
    struct buf value;
    batch_builder_init(&builder, out, &options);
    buf_init(&value, BUF_NO_LIMIT);
    enum err err = ERR_OK;
    for (size_t i = 0; err == ERR_OK && i < count; i++) {
        buf_reset(&value);
        err = meta_record_encode(&records[i], &value);
        struct record_fields fields = {.timestamp = now_ms, .value = buf_slice(&value)};
        if (err == ERR_OK)
            err = batch_builder_append(&builder, &fields);
    }
    if (err == ERR_OK)
        err = batch_builder_finish(&builder, NULL);
    buf_deinit(&value);
    batch_builder_deinit(&builder);
    return err;
}

enum err snapshot_encode(const struct quorum_control *controls, size_t control_count,
                         const struct meta_record *records, size_t record_count, int32_t epoch,
                         int64_t now_ms, struct buf *out)
{
    ASSERT(control_count > 0 && controls[0].type == QUORUM_CONTROL_SNAPSHOT_HEADER);
    TRY(put_controls(controls, control_count, 0, epoch, now_ms, out));
    int64_t offset = (int64_t)control_count;
    for (size_t at = 0; at < record_count;) {
        size_t left = record_count - at;
        size_t count = left < SNAPSHOT_BATCH_RECORDS ? left : SNAPSHOT_BATCH_RECORDS;
        TRY(put_records(records + at, count, offset, epoch, now_ms, out));
        at += count;
        offset += (int64_t)count;
    }
    static const uint8_t footer_value[] = {0, 0, 0}; /* version 0, no tagged fields */
    struct quorum_control footer = {QUORUM_CONTROL_SNAPSHOT_FOOTER,
                                    slice_of(footer_value, sizeof(footer_value))};
    return put_controls(&footer, 1, offset, epoch, now_ms, out);
}

struct removal {
    struct io *io;
    struct str dir;
    struct snapshot_id keep;
};

static enum err on_old_name(void *arg, const char *name, bool is_dir)
{
    const struct removal *removal = arg;
    struct snapshot_id id;
    if (is_dir || !parse_name(name, &id) || !id_is_newer(removal->keep, id))
        return ERR_OK;
    char path[4096];
    int len = snprintf(path, sizeof(path), "%.*s/%s", STR_ARG(removal->dir), name);
    if (len < 0 || (size_t)len >= sizeof(path))
        return ERR_LIMIT;
    return io_unlink_now(removal->io, path);
}

static enum err write_file(struct io *io, struct str dir, const struct image *image,
                           const struct quorum_control *controls, size_t control_count,
                           struct arena *arena, int64_t now_ms)
{
    struct meta_records records;
    struct buf content;
    struct snapshot_id id = {image->end_offset, image->epoch};
    char name[SNAPSHOT_NAME_MAX];
    meta_records_init(&records, arena);
    TRY(image_snapshot(image, &records));
    snapshot_name(id, name);
    struct str path = arena_printf(arena, "%.*s/%s", STR_ARG(dir), name);
    if (!path.data)
        return ERR_NOMEM;
    buf_init(&content, SNAPSHOT_BYTES_MAX);
    enum err err = snapshot_encode(controls, control_count, records.items, records.count,
                                   image->epoch, now_ms, &content);
    if (err == ERR_OK)
        err = io_replace_file(io, path.data, buf_slice(&content));
    buf_deinit(&content);
    if (err)
        return err;
    struct removal removal = {io, dir, id};
    return io_list(io, dir.data, on_old_name, &removal);
}

enum err snapshot_write(struct io *io, struct str dir, const struct image *image,
                        int16_t kraft_version, const struct quorum_voter *voters,
                        size_t voter_count, int64_t now_ms)
{
    struct arena arena;
    struct quorum_control controls[3];
    size_t count;
    arena_init(&arena, ARENA_NO_LIMIT);
    enum err err =
        quorum_snapshot_head(image->timestamp_ms < 0 ? 0 : image->timestamp_ms, kraft_version,
                             voters, voter_count, &arena, controls, &count);
    if (err == ERR_OK)
        err = write_file(io, dir, image, controls, count, &arena, now_ms);
    arena_deinit(&arena);
    return err;
}

/* --- reading --- */

struct snapshot_reader {
    struct str path;
    struct arena *arena;
    struct snapshot *snapshot;
    struct meta_error *why;
    bool has_header;
    bool has_footer;
};

static enum err broken(struct snapshot_reader *reader, enum err err, const char *what)
{
    return meta_error_set(reader->why, reader->arena, err, "the checkpoint %.*s %s",
                          STR_ARG(reader->path), what);
}

/* SnapshotHeader: version i16, last contained timestamp i64, tags. */
static enum err take_header(struct snapshot_reader *reader, struct slice value)
{
    if (reader->has_header || value.len < 10)
        return broken(reader, ERR_MALFORMED, "has a broken header");
    reader->has_header = true;
    reader->snapshot->last_contained_ms = (int64_t)be64_load(value.data + 2);
    return ERR_OK;
}

static enum err take_control(struct snapshot_reader *reader, const struct record *record)
{
    int16_t type;
    if (control_key_load(record->key, &type) || !record->value.data)
        return broken(reader, ERR_MALFORMED, "has a broken control record");
    if (!reader->has_header && type != QUORUM_CONTROL_SNAPSHOT_HEADER)
        return broken(reader, ERR_MALFORMED, "does not begin with a header");
    switch (type) {
    case QUORUM_CONTROL_SNAPSHOT_HEADER:
        return take_header(reader, record->value);
    case QUORUM_CONTROL_SNAPSHOT_FOOTER:
        reader->has_footer = true;
        return ERR_OK;
    case QUORUM_CONTROL_KRAFT_VERSION:
        if (quorum_kraft_version_decode(record->value, &reader->snapshot->kraft_version))
            return broken(reader, ERR_MALFORMED, "has a broken kraft.version");
        return ERR_OK;
    case QUORUM_CONTROL_KRAFT_VOTERS:
        if (quorum_voters_decode(record->value, reader->arena, &reader->snapshot->voters,
                                 &reader->snapshot->voter_count))
            return broken(reader, ERR_MALFORMED, "has a broken list of voters");
        return ERR_OK;
    default:
        return broken(reader, ERR_UNSUPPORTED,
                      "has a control record that this version does not know");
    }
}

static enum err take_record(struct snapshot_reader *reader, const struct record *record)
{
    if (!reader->has_header)
        return broken(reader, ERR_MALFORMED, "does not begin with a header");
    if (!record->value.data)
        return broken(reader, ERR_MALFORMED, "has a record without a value");
    struct meta_record decoded;
    struct meta_error inner;
    enum err err = meta_record_decode(record->value, reader->arena, &decoded, &inner);
    if (err)
        return meta_error_set(reader->why, reader->arena, err, "the checkpoint %.*s: %.*s",
                              STR_ARG(reader->path), STR_ARG(inner.text));
    return meta_records_add(&reader->snapshot->records, decoded.type, decoded.version,
                            decoded.body);
}

static enum err take_batch(struct snapshot_reader *reader, const struct batch *batch)
{
    enum compression compression;
    struct records records;
    struct record record;
    if (!batch_crc_is_valid(batch))
        return broken(reader, ERR_CORRUPT_MESSAGE, "has a batch whose checksum is wrong");
    if (!batch_compression(batch, &compression) || compression != COMPRESSION_NONE)
        return broken(reader, ERR_UNSUPPORTED, "is compressed, which no version of Kafka writes");
    if (reader->has_footer)
        return broken(reader, ERR_MALFORMED, "goes on after its footer");
    if (records_init(&records, batch, NULL, NULL))
        return broken(reader, ERR_MALFORMED, "has a batch that cannot be read");
    while (records_next(&records, &record))
        TRY(batch_is_control(batch) ? take_control(reader, &record) : take_record(reader, &record));
    return records.err ? broken(reader, ERR_MALFORMED, "has a batch that cannot be read") : ERR_OK;
}

static enum err read_batches(struct snapshot_reader *reader, struct slice content)
{
    struct batches batches;
    struct batch batch;
    batches_init(&batches, content);
    while (batches_next(&batches, &batch))
        TRY(take_batch(reader, &batch));
    if (batches.err || batches.left.len > 0)
        return broken(reader, ERR_TRUNCATED, "ends within a batch");
    if (!reader->has_footer)
        return broken(reader, ERR_TRUNCATED, "has no footer: it is incomplete");
    return ERR_OK;
}

enum err snapshot_decode(struct slice content, struct str path, struct arena *arena,
                         struct snapshot *snapshot, struct meta_error *why)
{
    *snapshot = (struct snapshot){.kraft_version = -1};
    meta_records_init(&snapshot->records, arena);
    struct snapshot_reader reader = {
        .path = path, .arena = arena, .snapshot = snapshot, .why = why};
    return read_batches(&reader, content);
}

enum err snapshot_read(struct io *io, struct str path, struct arena *arena,
                       struct snapshot *snapshot, struct meta_error *why)
{
    uint8_t *data;
    size_t len;
    enum err err = io_read_file(io, path.data, SNAPSHOT_BYTES_MAX, &data, &len);
    if (err)
        return meta_error_set(why, arena, err, "the checkpoint %.*s cannot be read: %s",
                              STR_ARG(path), err_text(err));
    /* What is decoded points into the content. */
    struct slice content = arena_slice(arena, slice_of(data, len));
    free(data);
    if (!content.data)
        return ERR_NOMEM;
    snapshot->bytes = len;
    return snapshot_decode(content, path, arena, snapshot, why);
}

static enum err load_image(const struct snapshot *snapshot, struct snapshot_id id,
                           struct arena *arena, struct image **image, struct meta_error *why)
{
    struct image *empty;
    TRY(image_create_empty(&empty));
    enum err err =
        image_apply(empty, snapshot->records.items, snapshot->records.count, id.end_offset,
                    id.epoch, snapshot->last_contained_ms, arena, image, why);
    image_unref(empty);
    return err;
}

enum err snapshot_load(struct io *io, struct str dir, struct arena *arena, struct snapshot_id *id,
                       struct snapshot *snapshot, struct image **image, struct meta_error *why)
{
    *id = (struct snapshot_id){0, 0};
    *snapshot = (struct snapshot){.kraft_version = -1};
    meta_records_init(&snapshot->records, arena);
    enum err err = snapshot_latest(io, dir, id);
    if (err == ERR_NOENT)
        return image_create_empty(image);
    if (err)
        return meta_error_set(why, arena, err, "the folder %.*s cannot be read: %s", STR_ARG(dir),
                              err_text(err));
    char name[SNAPSHOT_NAME_MAX];
    snapshot_name(*id, name);
    struct str path = arena_printf(arena, "%.*s/%s", STR_ARG(dir), name);
    if (!path.data)
        return ERR_NOMEM;
    TRY(snapshot_read(io, path, arena, snapshot, why));
    return load_image(snapshot, *id, arena, image, why);
}
