/* taffrail log dump: batches, records, indexes, producer snapshots and checkpoints as text or JSON.
 *
 * Records of internal topics are decoded with the schemas of their kind, known by the folder's name
 * or told with --decode. What cannot be read is said on standard error with its place, the dump
 * goes on with the next file, and the exit code is 1. */
#include <stdio.h>

#include "base/time.h"
#include "cli/log.h"
#include "cli/logfile.h"
#include "cli/out.h"
#include "cli/record.h"

#define OUT_BYTES    ((size_t)1 << 18)
#define DECODE_AUTO  0
#define DECODE_NONE  1
#define DECODE_FIRST 2 /* the choices from here on are families, in order */

struct dumper {
    const struct args *args;
    bool is_json, with_records;
    int64_t decode; /* index of the choice */
    const struct logfile *file;
    struct compressors compressors;
    struct buf scratch; /* a batch, unpacked */
    struct arena arena; /* of one record */
    struct buf out;
    int code;
};

static void flush_out(struct dumper *dumper)
{
    int code = out_buf(&dumper->out);
    if (code)
        dumper->code = code;
    buf_reset(&dumper->out);
}

static void end_line(struct dumper *dumper)
{
    buf_put_u8(&dumper->out, '\n');
    if (dumper->out.len >= OUT_BYTES)
        flush_out(dumper);
}

static void problem(struct dumper *dumper, size_t position, const char *what, const char *detail)
{
    dumper->code = out_fail(EXIT_REFUSED, "%s at byte %zu: %s%s%s", dumper->file->path, position,
                            what, detail ? ": " : "", detail ? detail : "");
}

static void put_time(struct buf *out, int64_t timestamp_ms)
{
    char text[TIME_TEXT_MAX] = "no-time";
    if (timestamp_ms >= 0)
        time_format(timestamp_ms, text);
    buf_printf(out, "%s", text);
}

/* {"file":...,"type":TYPE, and what is packed. Takes `json`. */
static void put_json_line(struct dumper *dumper, const char *type, json_t *json)
{
    json_object_set_new(json, "type", json_string(type));
    json_object_set_new(json, "file", json_str(str_of(dumper->file->path)));
    char *text = json_dumps(json, JSON_COMPACT);
    json_decref(json);
    buf_printf(&dumper->out, "%s", text ? text : "null");
    free(text);
    end_line(dumper);
}

/* ---- records ---- */

static bool family_for(const struct dumper *dumper, enum record_family *family)
{
    *family = dumper->decode >= DECODE_FIRST ? (enum record_family)(dumper->decode - DECODE_FIRST)
                                             : dumper->file->family;
    return dumper->decode >= DECODE_FIRST ||
           (dumper->decode == DECODE_AUTO && dumper->file->has_family);
}

static json_t *part_json(const struct record_part *part)
{
    struct buf text;
    buf_init(&text, BUF_NO_LIMIT);
    codec_print(part->schema, part->version, part->msg, true, &text);
    json_t *json = json_loadb((const char *)text.data, text.len, JSON_DECODE_ANY, NULL);
    buf_deinit(&text);
    return json ? json : json_null();
}

/* A record's key and value by its schema, as a JSON object; NULL where they are not of it. */
static json_t *decode_record(struct dumper *dumper, enum record_family family,
                             const struct record *record, struct codec_error *error)
{
    struct record_part key = {0}, value = {0};
    snprintf(error->text, sizeof(error->text), "the record has no value");
    if (family == RECORD_METADATA) {
        if (!record->value.data ||
            record_metadata_decode(record->value, &dumper->arena, &value, error) != ERR_OK)
            return NULL;
        return json_pack("{s:s, s:i, s:o}", "record", value.info->name, "version", value.version,
                         "data", part_json(&value));
    }
    snprintf(error->text, sizeof(error->text), "the record has no key");
    if (!record->key.data ||
        record_key_decode(family, record->key, &dumper->arena, &key, error) != ERR_OK)
        return NULL;
    if (!record->value.data)
        return json_pack("{s:s, s:o, s:n}", "record", key.info->name, "key", part_json(&key),
                         "data");
    if (record_value_decode(key.info, record->value, &dumper->arena, &value, error) != ERR_OK)
        return NULL;
    return json_pack("{s:s, s:o, s:i, s:o}", "record", key.info->name, "key", part_json(&key),
                     "version", value.version, "data", part_json(&value));
}

static const char *control_name(const struct record *record)
{
    static const char *const names[] = {"abort",           "commit",          "leader-change",
                                        "snapshot-header", "snapshot-footer", "kraft-version",
                                        "kraft-voters"};
    int16_t type;
    if (control_key_load(record->key, &type) != ERR_OK || type < 0 ||
        (size_t)type >= ARRAY_LEN(names))
        return "unknown";
    return names[type];
}

static void put_plain_record(struct dumper *dumper, const struct batch *batch,
                             const struct record *record)
{
    static const struct record_format format = {.offset = true,
                                                .timestamp = true,
                                                .key = true,
                                                .headers = true,
                                                .value = true,
                                                .escape = true,
                                                .separator = {(const uint8_t *)"  ", 2}};
    struct record_view view = {.partition = -1,
                               .offset = record->offset,
                               .timestamp_ms = record->timestamp,
                               .is_append_time = batch_has_log_append_time(batch),
                               .key = record->key,
                               .value = record->value};
    /* A header takes two bytes at least, whatever number the record claims. */
    size_t count_max = record->headers.len / 2 + 1;
    struct record_header *headers = arena_array(&dumper->arena, count_max, sizeof(*headers));
    struct slice left = record->headers;
    while (headers && view.header_count < count_max &&
           record_header_next(&left, &headers[view.header_count]))
        view.header_count++;
    view.headers = headers;
    buf_printf(&dumper->out, "    ");
    record_put_text(&dumper->out, &format, &view);
}

static json_t *bytes_json(struct slice bytes)
{
    struct buf text;
    if (!bytes.data)
        return json_null();
    buf_init(&text, BUF_NO_LIMIT);
    put_base64(&text, bytes);
    json_t *json = json_stringn(text.data ? (const char *)text.data : "", text.len);
    buf_deinit(&text);
    return json;
}

static void put_record(struct dumper *dumper, const struct batch *batch,
                       const struct record *record, size_t position)
{
    enum record_family family;
    struct codec_error error = {""};
    json_t *decoded = NULL;
    if (!batch_is_control(batch) && family_for(dumper, &family)) {
        decoded = decode_record(dumper, family, record, &error);
        if (!decoded)
            problem(dumper, position, "a record cannot be decoded", error.text);
    }
    if (dumper->is_json) {
        json_t *json = decoded ? decoded
                               : json_pack("{s:o, s:o}", "key_base64", bytes_json(record->key),
                                           "value_base64", bytes_json(record->value));
        if (batch_is_control(batch))
            json_object_set_new(json, "control", json_string(control_name(record)));
        json_object_set_new(json, "offset", json_integer(record->offset));
        json_object_set_new(json, "timestamp", json_integer(record->timestamp));
        put_json_line(dumper, "record", json);
        return;
    }
    if (!decoded && !batch_is_control(batch)) {
        put_plain_record(dumper, batch, record);
        return;
    }
    buf_printf(&dumper->out, "    %lld  ", (long long)record->offset);
    put_time(&dumper->out, record->timestamp);
    if (decoded) {
        char *text = json_dumps(decoded, JSON_COMPACT);
        buf_printf(&dumper->out, "  %s", text ? text : "");
        free(text);
        json_decref(decoded);
    } else {
        buf_printf(&dumper->out, "  control: %s", control_name(record));
    }
    end_line(dumper);
}

static void put_records(struct dumper *dumper, const struct batch *batch, size_t position)
{
    struct records records;
    struct record record;
    enum err err = records_init(&records, batch, &dumper->compressors, &dumper->scratch);
    while (err == ERR_OK && records_next(&records, &record)) {
        arena_reset(&dumper->arena);
        put_record(dumper, batch, &record, position);
    }
    if (err == ERR_OK)
        err = records.err;
    if (err != ERR_OK)
        problem(dumper, position, "the batch's records cannot be read", err_text(err));
}

/* ---- batches ---- */

static void put_batch_json(struct dumper *dumper, const struct batch *batch, size_t position,
                           const char *compression, bool is_valid)
{
    put_json_line(
        dumper, "batch",
        json_pack("{s:I, s:I, s:I, s:I, s:i, s:i, s:s, s:s, s:I, s:I, s:I, s:i, s:i, s:i, s:b, "
                  "s:b, s:b, s:I, s:b}",
                  "position", (json_int_t)position, "size", (json_int_t)batch->size, "base_offset",
                  (json_int_t)batch->base_offset, "last_offset", (json_int_t)batch->last_offset,
                  "count", batch->count, "leader_epoch", batch->leader_epoch, "compression",
                  compression, "timestamp_type",
                  batch_has_log_append_time(batch) ? "append" : "create", "base_timestamp",
                  (json_int_t)batch->base_timestamp, "max_timestamp",
                  (json_int_t)batch->max_timestamp, "producer_id", (json_int_t)batch->producer_id,
                  "producer_epoch", batch->producer_epoch, "base_sequence", batch->base_sequence,
                  "last_sequence", batch_last_sequence(batch), "transactional",
                  batch_is_transactional(batch), "control", batch_is_control(batch),
                  "delete_horizon", (batch->attributes & BATCH_ATTR_DELETE_HORIZON) != 0, "crc",
                  (json_int_t)batch->crc, "crc_valid", is_valid));
}

static void put_batch_text(struct dumper *dumper, const struct batch *batch, size_t position,
                           const char *compression, bool is_valid)
{
    struct buf *out = &dumper->out;
    buf_printf(out, "  batch at %zu: offsets %lld to %lld, %d %s, %zu bytes, %s, %s ", position,
               (long long)batch->base_offset, (long long)batch->last_offset, batch->count,
               batch->count == 1 ? "record" : "records", batch->size, compression,
               batch_has_log_append_time(batch) ? "appended" : "created");
    put_time(out, batch->max_timestamp);
    buf_printf(out, ", leader epoch %d", batch->leader_epoch);
    if (batch_has_producer(batch))
        buf_printf(out, ", producer %lld epoch %d sequences %d to %d",
                   (long long)batch->producer_id, batch->producer_epoch, batch->base_sequence,
                   batch_last_sequence(batch));
    buf_printf(out, "%s%s%s, crc %08x %s", batch_is_transactional(batch) ? ", transactional" : "",
               batch_is_control(batch) ? ", control" : "",
               batch->attributes & BATCH_ATTR_DELETE_HORIZON ? ", delete horizon" : "", batch->crc,
               is_valid ? "ok" : "WRONG");
    end_line(dumper);
}

static void put_batch(struct dumper *dumper, const struct batch *batch, size_t position)
{
    enum compression compression;
    bool is_known = batch_compression(batch, &compression);
    bool is_valid = batch_crc_is_valid(batch);
    const char *name = is_known ? compression_name(compression) : "unknown";
    if (dumper->is_json)
        put_batch_json(dumper, batch, position, name, is_valid);
    else
        put_batch_text(dumper, batch, position, name, is_valid);
    if (!is_valid)
        problem(dumper, position, "the batch's checksum is wrong", NULL);
    if (dumper->with_records && is_valid)
        put_records(dumper, batch, position);
}

static void put_segment(struct dumper *dumper)
{
    struct batches batches;
    struct batch batch;
    const struct slice all = dumper->file->bytes;
    batches_init(&batches, all);
    while (batches_next(&batches, &batch))
        put_batch(dumper, &batch, (size_t)(batch.data - all.data));
    if (batches.err != ERR_OK)
        problem(dumper, all.len - batches.left.len, "no whole batch follows",
                err_text(batches.err));
}

/* ---- indexes ---- */

static void put_index(struct dumper *dumper)
{
    for (size_t i = 0; i < index_count(dumper->file); i++) {
        struct index_entry entry = index_at(dumper->file, i);
        if (dumper->is_json) {
            put_json_line(dumper, "index",
                          json_pack("{s:I, s:I}", "offset", (json_int_t)entry.offset, "position",
                                    (json_int_t)entry.position));
            continue;
        }
        buf_printf(&dumper->out, "  offset %lld  position %lld", (long long)entry.offset,
                   (long long)entry.position);
        end_line(dumper);
    }
}

static void put_timeindex(struct dumper *dumper)
{
    for (size_t i = 0; i < timeindex_count(dumper->file); i++) {
        struct timeindex_entry entry = timeindex_at(dumper->file, i);
        if (dumper->is_json) {
            put_json_line(dumper, "timeindex",
                          json_pack("{s:I, s:I}", "timestamp", (json_int_t)entry.timestamp_ms,
                                    "offset", (json_int_t)entry.offset));
            continue;
        }
        buf_printf(&dumper->out, "  time ");
        put_time(&dumper->out, entry.timestamp_ms);
        buf_printf(&dumper->out, "  offset %lld", (long long)entry.offset);
        end_line(dumper);
    }
}

static void put_txnindex(struct dumper *dumper)
{
    for (size_t i = 0; i < dumper->file->bytes.len / TXNINDEX_ENTRY_BYTES; i++) {
        struct txnindex_entry entry = txnindex_at(dumper->file, i);
        if (dumper->is_json) {
            put_json_line(dumper, "aborted_transaction",
                          json_pack("{s:I, s:I, s:I, s:I}", "producer_id",
                                    (json_int_t)entry.producer_id, "first_offset",
                                    (json_int_t)entry.first_offset, "last_offset",
                                    (json_int_t)entry.last_offset, "last_stable_offset",
                                    (json_int_t)entry.last_stable_offset));
            continue;
        }
        buf_printf(&dumper->out, "  aborted: producer %lld  offsets %lld to %lld  last stable %lld",
                   (long long)entry.producer_id, (long long)entry.first_offset,
                   (long long)entry.last_offset, (long long)entry.last_stable_offset);
        end_line(dumper);
    }
}

static void put_producers(struct dumper *dumper)
{
    size_t len = dumper->file->bytes.len;
    if (len < PRODUCERS_HEAD_BYTES) {
        problem(dumper, 0, "the producer snapshot is cut", NULL);
        return;
    }
    for (size_t i = 0; i < (len - PRODUCERS_HEAD_BYTES) / PRODUCERS_ENTRY_BYTES; i++) {
        struct producer_entry entry = producers_at(dumper->file, i);
        if (dumper->is_json) {
            put_json_line(dumper, "producer",
                          json_pack("{s:I, s:i, s:i, s:I, s:i, s:I, s:i, s:I}", "producer_id",
                                    (json_int_t)entry.producer_id, "epoch", entry.epoch,
                                    "last_sequence", entry.last_sequence, "last_offset",
                                    (json_int_t)entry.last_offset, "offset_delta",
                                    entry.offset_delta, "timestamp", (json_int_t)entry.timestamp_ms,
                                    "coordinator_epoch", entry.coordinator_epoch,
                                    "transaction_first_offset",
                                    (json_int_t)entry.transaction_first_offset));
            continue;
        }
        buf_printf(&dumper->out, "  producer %lld  epoch %d  sequence %d  offset %lld  time ",
                   (long long)entry.producer_id, entry.epoch, entry.last_sequence,
                   (long long)entry.last_offset);
        put_time(&dumper->out, entry.timestamp_ms);
        if (entry.transaction_first_offset >= 0)
            buf_printf(&dumper->out, "  open transaction from %lld",
                       (long long)entry.transaction_first_offset);
        end_line(dumper);
    }
}

/* ---- text files ---- */

static void put_lines(struct dumper *dumper)
{
    struct slice left = dumper->file->bytes;
    while (left.len) {
        const uint8_t *end = memchr(left.data, '\n', left.len);
        struct slice line = {left.data, end ? (size_t)(end - left.data) : left.len};
        if (dumper->is_json) {
            put_json_line(dumper, "line",
                          json_pack("{s:o}", "text",
                                    json_str((struct str){(const char *)line.data, line.len})));
        } else {
            buf_printf(&dumper->out, "  ");
            put_escaped(&dumper->out, line);
            end_line(dumper);
        }
        left.data += line.len + (end != NULL);
        left.len -= line.len + (end != NULL);
    }
}

/* ---- the command ---- */

static int dump_file(void *visitor, const struct logfile *file)
{
    struct dumper *dumper = visitor;
    if (file->kind == LOGFILE_FOREIGN)
        return EXIT_FINE; /* log verify names it */
    dumper->file = file;
    if (!dumper->is_json) {
        put_escaped(&dumper->out, slice_of(file->path, strlen(file->path)));
        end_line(dumper);
    }
    switch (file->kind) {
    case LOGFILE_SEGMENT:
    case LOGFILE_METADATA:
        put_segment(dumper);
        break;
    case LOGFILE_INDEX:
        put_index(dumper);
        break;
    case LOGFILE_TIMEINDEX:
        put_timeindex(dumper);
        break;
    case LOGFILE_TXNINDEX:
        put_txnindex(dumper);
        break;
    case LOGFILE_PRODUCERS:
        put_producers(dumper);
        break;
    case LOGFILE_CHECKPOINT:
    case LOGFILE_TEXT:
    case LOGFILE_OTHER:
    case LOGFILE_FOREIGN:
        put_lines(dumper);
        break;
    }
    flush_out(dumper);
    return EXIT_FINE;
}

int log_dump_run(const struct args *args)
{
    struct dumper dumper = {.args = args,
                            .is_json = args_is_json(args),
                            .with_records = args_has(args, "records"),
                            .decode = args_number(args, "decode")};
    compressors_init(&dumper.compressors);
    buf_init(&dumper.scratch, LOG_BATCH_BYTES_MAX);
    buf_init(&dumper.out, BUF_NO_LIMIT);
    arena_init(&dumper.arena, ARENA_NO_LIMIT);
    int code = logfile_walk(args->operands, args->operand_count, dump_file, &dumper);
    compressors_deinit(&dumper.compressors);
    buf_deinit(&dumper.scratch);
    buf_deinit(&dumper.out);
    arena_deinit(&dumper.arena);
    return code ? code : dumper.code;
}
