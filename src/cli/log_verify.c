/* taffrail log verify: reads everything in a log folder and names each thing that is wrong.
 *
 *   segment    whole batches with right checksums; offsets rise, also from one segment to the next,
 *              and begin at or behind the offset in the name; the records unpack, are as many as
 * the header says, with the deltas it says index      entries rise and point at a batch that does
 * not begin behind the entry's offset timeindex  entries rise; no record before an entry's offset
 * is later than its timestamp txnindex   entries of version 0 whose offsets are in order snapshot
 * version, length, checksum checkpoint the count of its lines, their form, and rising leader epochs
 *
 * Nothing is changed. Each problem is a line with its place; the exit code is 1 if there is any. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/crc32c.h"
#include "base/parse.h"
#include "cli/client.h"
#include "cli/log.h"
#include "cli/logfile.h"
#include "cli/out.h"
#include "log/epochs.h"

/* A batch of the segment beside an index. */
struct mark {
    int64_t position, base_offset, last_offset;
    int64_t time_max_ms; /* of this batch and all before it */
};

struct verifier {
    const struct args *args;
    bool is_shallow;
    bool is_silent;
    const struct logfile *file;
    char folder[4096];    /* of the last segment */
    struct epochs epochs; /* of that folder, as leader-epoch-checkpoint has them */
    int64_t end_offset;   /* behind the last batch in that folder; -1: none yet */
    int32_t end_epoch;    /* leader epoch of that batch */
    struct compressors compressors;
    struct buf scratch;
    json_t *problems;
    uint64_t file_count, batch_count, record_count, byte_count;
};

static void problem(struct verifier *verifier, int64_t position, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* position -1: the file as a whole. */
static void problem(struct verifier *verifier, int64_t position, const char *fmt, ...)
{
    char text[512];
    va_list list;
    va_start(list, fmt);
    vsnprintf(text, sizeof(text), fmt, list);
    va_end(list);
    json_array_append_new(verifier->problems,
                          json_pack("{s:o, s:I, s:s}", "file",
                                    json_str(str_of(verifier->file->path)), "position",
                                    (json_int_t)position, "problem", text));
    if (verifier->is_silent || args_is_json(verifier->args))
        return;
    fflush(stdout);
    if (position < 0)
        printf("%s: %s\n", verifier->file->path, text);
    else
        printf("%s at byte %lld: %s\n", verifier->file->path, (long long)position, text);
}

/* ---- segments ---- */

static void check_records(struct verifier *verifier, const struct batch *batch, int64_t position)
{
    struct records records;
    struct record record;
    int32_t last_delta = -1;
    int64_t time_max_ms = -1;
    enum err err = records_init(&records, batch, &verifier->compressors, &verifier->scratch);
    while (err == ERR_OK && records_next(&records, &record)) {
        verifier->record_count++;
        if (record.offset_delta <= last_delta)
            problem(verifier, position, "record %lld does not come behind the one before it",
                    (long long)record.offset);
        last_delta = record.offset_delta;
        if (record.timestamp > time_max_ms)
            time_max_ms = record.timestamp;
    }
    if (err == ERR_OK)
        err = records.err;
    if (err != ERR_OK) {
        problem(verifier, position, "the records of the batch cannot be read: %s", err_text(err));
        return;
    }
    if (last_delta > batch->last_offset_delta)
        problem(verifier, position,
                "the last record's offset %lld is behind the batch's last, %lld",
                (long long)(batch->base_offset + last_delta), (long long)batch->last_offset);
    if (time_max_ms > batch->max_timestamp)
        problem(verifier, position, "a record is later (%lld) than the batch's latest (%lld)",
                (long long)time_max_ms, (long long)batch->max_timestamp);
}

/* No checksum covers the leader epoch. One that is too new for the checkpoint may be right: a
 * broker that did not stop cleanly had no time to write it. */
static void check_epoch(struct verifier *verifier, const struct batch *batch, int64_t position)
{
    int32_t known = epochs_of_offset(&verifier->epochs, batch->base_offset);
    if (known >= 0 && batch->leader_epoch != known &&
        batch->leader_epoch <= epochs_latest(&verifier->epochs))
        problem(verifier, position,
                "leader epoch %d is not that of offset %lld, which is %d by "
                "leader-epoch-checkpoint",
                batch->leader_epoch, (long long)batch->base_offset, known);
}

static void check_batch(struct verifier *verifier, const struct batch *batch, int64_t position)
{
    verifier->batch_count++;
    if (batch->base_offset < verifier->end_offset)
        problem(verifier, position, "the batch begins at offset %lld, but %lld is to come",
                (long long)batch->base_offset, (long long)verifier->end_offset);
    if (verifier->file->kind == LOGFILE_SEGMENT && verifier->file->base_offset > batch->base_offset)
        problem(verifier, position, "the batch begins at offset %lld, before the segment's first",
                (long long)batch->base_offset);
    if (batch->leader_epoch < verifier->end_epoch)
        problem(verifier, position, "leader epoch %d comes behind epoch %d", batch->leader_epoch,
                verifier->end_epoch);
    check_epoch(verifier, batch, position);
    verifier->end_offset = batch->last_offset + 1;
    verifier->end_epoch = batch->leader_epoch;
    if (!batch_crc_is_valid(batch))
        problem(verifier, position, "the checksum is wrong: %08x is stored, %08x is right",
                batch->crc, batch_crc_compute(batch_bytes(batch)));
    else if (!verifier->is_shallow)
        check_records(verifier, batch, position);
}

/* One that is missing or malformed, which is said elsewhere, tells nothing. */
static void load_epochs(struct verifier *verifier)
{
    char path[sizeof(verifier->folder) + 32];
    struct logfile file;
    struct stat found;
    epochs_deinit(&verifier->epochs);
    epochs_init(&verifier->epochs);
    snprintf(path, sizeof(path), "%sleader-epoch-checkpoint", verifier->folder);
    if (verifier->folder[0] == '\0' || stat(path, &found) != 0)
        return;
    bool is_read = logfile_open(&file, path) == EXIT_FINE && file.bytes.len > 0;
    struct str text = {(const char *)file.bytes.data, file.bytes.len};
    if (is_read && epochs_parse(&verifier->epochs, text) != ERR_OK) {
        epochs_deinit(&verifier->epochs);
        epochs_init(&verifier->epochs);
    }
    logfile_close(&file);
}

/* A folder's segments follow each other; another folder begins anew, and so does a snapshot of the
 * metadata, whose offsets count its own records. */
static void enter_folder(struct verifier *verifier)
{
    const char *path = verifier->file->path;
    int len = (int)(verifier->file->name - path);
    char folder[sizeof(verifier->folder)];
    snprintf(folder, sizeof(folder), "%.*s", len, path);
    if (strcmp(folder, verifier->folder) == 0 && verifier->file->kind == LOGFILE_SEGMENT)
        return;
    snprintf(verifier->folder, sizeof(verifier->folder), "%s",
             verifier->file->kind == LOGFILE_SEGMENT ? folder : "");
    verifier->end_offset = -1;
    verifier->end_epoch = -1;
    load_epochs(verifier);
}

static bool is_all_zero(struct slice bytes)
{
    for (size_t i = 0; i < bytes.len; i++) {
        if (bytes.data[i])
            return false;
    }
    return true;
}

static void check_segment(struct verifier *verifier)
{
    struct batches batches;
    struct batch batch;
    const struct slice all = verifier->file->bytes;
    enter_folder(verifier);
    batches_init(&batches, all);
    while (batches_next(&batches, &batch))
        check_batch(verifier, &batch, batch.data - all.data);
    if (batches.err == ERR_OK)
        return;
    int64_t position = (int64_t)(all.len - batches.left.len);
    if (is_all_zero(batches.left))
        problem(verifier, position,
                "%zu bytes of zeros up to the end: the broker did not stop cleanly and cuts them "
                "when it starts",
                batches.left.len);
    else if (batches.err == ERR_TRUNCATED)
        problem(verifier, position,
                "the last %zu bytes are the beginning of a batch: the broker did not stop cleanly "
                "and cuts them when it starts",
                batches.left.len);
    else
        problem(verifier, position, "no batch follows (%s); %zu bytes are not readable",
                err_text(batches.err), batches.left.len);
}

/* ---- indexes ---- */

/* The batches of the segment beside an index; NULL after saying that there is none. */
static struct mark *read_marks(struct verifier *verifier, size_t *count)
{
    char path[4096];
    struct logfile segment;
    struct batches batches;
    struct batch batch;
    size_t cap = 0;
    struct mark *marks = NULL;
    int64_t time_max_ms = -1;
    const char *dot = strrchr(verifier->file->path, '.');
    *count = 0;
    snprintf(path, sizeof(path), "%.*s.log", (int)(dot - verifier->file->path),
             verifier->file->path);
    if (logfile_open(&segment, path) != EXIT_FINE) {
        problem(verifier, -1, "there is no segment beside this index");
        logfile_close(&segment);
        return NULL;
    }
    batches_init(&batches, segment.bytes);
    while (batches_next(&batches, &batch)) {
        if (*count == cap) {
            cap = cap ? cap * 2 : 1024;
            marks = realloc(marks, cap * sizeof(*marks));
            if (!marks)
                client_out_of_memory();
        }
        if (batch.max_timestamp > time_max_ms)
            time_max_ms = batch.max_timestamp;
        marks[(*count)++] = (struct mark){batch.data - segment.bytes.data, batch.base_offset,
                                          batch.last_offset, time_max_ms};
    }
    logfile_close(&segment);
    return marks;
}

static const struct mark *mark_at(const struct mark *marks, size_t count, int64_t position)
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (marks[middle].position < position)
            low = middle + 1;
        else
            high = middle;
    }
    return low < count && marks[low].position == position ? &marks[low] : NULL;
}

/* The batch that holds the offset, or the first one behind it. */
static size_t mark_of_offset(const struct mark *marks, size_t count, int64_t offset)
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (marks[middle].last_offset < offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void check_tail(struct verifier *verifier, size_t entry_bytes)
{
    if (verifier->file->bytes.len % entry_bytes)
        problem(verifier, -1, "%zu bytes are not whole entries of %zu", verifier->file->bytes.len,
                entry_bytes);
}

static void check_index(struct verifier *verifier)
{
    size_t mark_count;
    struct mark *marks = read_marks(verifier, &mark_count);
    struct index_entry before = {-1, -1};
    check_tail(verifier, INDEX_ENTRY_BYTES);
    for (size_t i = 0; marks && i < index_count(verifier->file); i++) {
        struct index_entry entry = index_at(verifier->file, i);
        int64_t at = (int64_t)(i * INDEX_ENTRY_BYTES);
        const struct mark *mark = mark_at(marks, mark_count, entry.position);
        if (entry.offset <= before.offset || (i > 0 && entry.position <= before.position))
            problem(verifier, at, "offset %lld does not come behind the entry before it",
                    (long long)entry.offset);
        else if (!mark)
            problem(verifier, at, "no batch begins at position %lld of the segment",
                    (long long)entry.position);
        else if (mark->base_offset > entry.offset)
            problem(verifier, at, "offset %lld is before the batch at position %lld",
                    (long long)entry.offset, (long long)entry.position);
        before = entry;
    }
    free(marks);
}

static void check_timeindex(struct verifier *verifier)
{
    size_t mark_count;
    struct mark *marks = read_marks(verifier, &mark_count);
    struct timeindex_entry before = {INT64_MIN, -1};
    check_tail(verifier, TIMEINDEX_ENTRY_BYTES);
    for (size_t i = 0; marks && i < timeindex_count(verifier->file); i++) {
        struct timeindex_entry entry = timeindex_at(verifier->file, i);
        int64_t at = (int64_t)(i * TIMEINDEX_ENTRY_BYTES);
        size_t mark = mark_of_offset(marks, mark_count, entry.offset);
        if (entry.timestamp_ms < before.timestamp_ms || entry.offset < before.offset)
            problem(verifier, at, "timestamp %lld does not come behind the entry before it",
                    (long long)entry.timestamp_ms);
        else if (mark > 0 && marks[mark - 1].time_max_ms > entry.timestamp_ms)
            problem(verifier, at, "a record before offset %lld is later than its entry says",
                    (long long)entry.offset);
        before = entry;
    }
    free(marks);
}

static void check_txnindex(struct verifier *verifier)
{
    const struct logfile *file = verifier->file;
    check_tail(verifier, TXNINDEX_ENTRY_BYTES);
    for (size_t i = 0; i < file->bytes.len / TXNINDEX_ENTRY_BYTES; i++) {
        struct txnindex_entry entry = txnindex_at(file, i);
        int64_t at = (int64_t)(i * TXNINDEX_ENTRY_BYTES);
        if (be16_load(file->bytes.data + at) != 0)
            problem(verifier, at, "the entry is of version %d, not 0",
                    (int16_t)be16_load(file->bytes.data + at));
        else if (entry.first_offset > entry.last_offset ||
                 entry.last_stable_offset > entry.last_offset + 1)
            problem(verifier, at, "the offsets %lld, %lld, %lld are not in order",
                    (long long)entry.first_offset, (long long)entry.last_offset,
                    (long long)entry.last_stable_offset);
    }
}

static void check_producers(struct verifier *verifier)
{
    const struct slice all = verifier->file->bytes;
    if (all.len < PRODUCERS_HEAD_BYTES) {
        problem(verifier, -1, "the producer snapshot is cut");
        return;
    }
    int64_t count = (int32_t)be32_load(all.data + 6);
    uint32_t stored = be32_load(all.data + 2);
    uint32_t right =
        crc32c(0, slice_of(all.data + PRODUCERS_CRC_FROM, all.len - PRODUCERS_CRC_FROM));
    if (be16_load(all.data) != 1)
        problem(verifier, 0, "the producer snapshot is of version %d, not 1",
                (int16_t)be16_load(all.data));
    else if (stored != right)
        problem(verifier, 2, "the checksum is wrong: %08x is stored, %08x is right", stored, right);
    else if (count < 0 ||
             (uint64_t)count != (all.len - PRODUCERS_HEAD_BYTES) / PRODUCERS_ENTRY_BYTES ||
             (all.len - PRODUCERS_HEAD_BYTES) % PRODUCERS_ENTRY_BYTES != 0)
        problem(verifier, 6, "%lld producers do not fit %zu bytes", (long long)count, all.len);
}

/* ---- checkpoints ---- */

static struct str next_line(struct slice *left)
{
    const uint8_t *end = memchr(left->data, '\n', left->len);
    size_t len = end ? (size_t)(end - left->data) : left->len;
    struct str line = {(const char *)left->data, len};
    left->data += len + (end != NULL);
    left->len -= len + (end != NULL);
    return line;
}

/* "TOPIC PARTITION OFFSET", or "EPOCH OFFSET": the numbers behind the last blanks. */
static bool checkpoint_line_is_valid(struct str line, bool has_topic, int64_t numbers[2])
{
    for (int i = 1; i >= 0; i--) {
        const char *blank = memrchr(line.data, ' ', line.len);
        const char *from = blank ? blank + 1 : line.data;
        struct str digits = {from, (size_t)(line.data + line.len - from)};
        if (parse_i64(digits, &numbers[i]) != ERR_OK || (!blank && (i > 0 || has_topic)))
            return false;
        line.len = blank ? (size_t)(blank - line.data) : 0;
    }
    return has_topic ? line.len > 0 : line.len == 0;
}

static void check_checkpoint(struct verifier *verifier)
{
    struct slice left = verifier->file->bytes;
    bool has_topic = strcmp(verifier->file->name, "leader-epoch-checkpoint") != 0;
    int64_t version, count, numbers[2], epoch = -1, offset = -1;
    if (left.len == 0)
        return; /* a broker makes them empty and fills them later */
    if (parse_i64(next_line(&left), &version) != ERR_OK || version != 0) {
        problem(verifier, 0, "the first line is not version 0");
        return;
    }
    if (parse_i64(next_line(&left), &count) != ERR_OK || count < 0) {
        problem(verifier, 2, "the second line is not the number of entries");
        return;
    }
    int64_t found = 0;
    for (; left.len; found++) {
        int64_t at = (int64_t)(verifier->file->bytes.len - left.len);
        if (!checkpoint_line_is_valid(next_line(&left), has_topic, numbers)) {
            problem(verifier, at, "the line is not %s",
                    has_topic ? "TOPIC PARTITION OFFSET" : "EPOCH OFFSET");
            return;
        }
        if (!has_topic && (numbers[0] <= epoch || numbers[1] < offset))
            problem(verifier, at,
                    "leader epoch %lld from offset %lld does not come behind the line "
                    "before it",
                    (long long)numbers[0], (long long)numbers[1]);
        epoch = numbers[0];
        offset = numbers[1];
    }
    if (found != count)
        problem(verifier, -1, "%lld entries are announced, %lld are there", (long long)count,
                (long long)found);
}

/* ---- the command ---- */

static int verify_file(void *visitor, const struct logfile *file)
{
    struct verifier *verifier = visitor;
    verifier->file = file;
    if (file->kind == LOGFILE_FOREIGN) {
        problem(verifier, -1,
                "it is foreign: neither Apache Kafka nor Taffrail has such a name here; nobody "
                "reads it, and it should be moved away");
        return EXIT_FINE;
    }
    verifier->file_count++;
    verifier->byte_count += file->bytes.len;
    bool needs_offset = file->kind == LOGFILE_SEGMENT || file->kind == LOGFILE_INDEX ||
                        file->kind == LOGFILE_TIMEINDEX;
    if (needs_offset && file->base_offset < 0) {
        problem(verifier, -1, "the name does not begin with a base offset of 20 digits");
        return EXIT_FINE;
    }
    switch (file->kind) {
    case LOGFILE_SEGMENT:
    case LOGFILE_METADATA:
        check_segment(verifier);
        break;
    case LOGFILE_INDEX:
        check_index(verifier);
        break;
    case LOGFILE_TIMEINDEX:
        check_timeindex(verifier);
        break;
    case LOGFILE_TXNINDEX:
        check_txnindex(verifier);
        break;
    case LOGFILE_PRODUCERS:
        check_producers(verifier);
        break;
    case LOGFILE_CHECKPOINT:
        check_checkpoint(verifier);
        break;
    case LOGFILE_TEXT:
    case LOGFILE_OTHER:
    case LOGFILE_FOREIGN:
        break;
    }
    return EXIT_FINE;
}

static int print_summary(struct verifier *verifier)
{
    size_t count = json_array_size(verifier->problems);
    int code = count ? EXIT_REFUSED : EXIT_FINE;
    if (args_is_json(verifier->args)) {
        int failed = out_json(json_pack(
            "{s:I, s:I, s:I, s:I, s:O}", "files", (json_int_t)verifier->file_count, "bytes",
            (json_int_t)verifier->byte_count, "batches", (json_int_t)verifier->batch_count,
            "records", (json_int_t)verifier->record_count, "problems", verifier->problems));
        return failed ? failed : code;
    }
    char size[SIZE_TEXT_MAX], found[32];
    size_format(verifier->byte_count, size);
    snprintf(found, sizeof(found), "%zu problem%s", count, count == 1 ? "" : "s");
    printf("%llu files, %s, %llu batches, %llu records: %s\n",
           (unsigned long long)verifier->file_count, size,
           (unsigned long long)verifier->batch_count, (unsigned long long)verifier->record_count,
           count ? found : "no problem");
    return code;
}

json_t *log_verify_problems(const struct logfile *file)
{
    struct verifier verifier = {
        .is_silent = true, .end_offset = -1, .end_epoch = -1, .problems = json_array()};
    compressors_init(&verifier.compressors);
    buf_init(&verifier.scratch, LOG_BATCH_BYTES_MAX);
    int code = verify_file(&verifier, file);
    (void)code; /* what is wrong is in the problems */
    compressors_deinit(&verifier.compressors);
    buf_deinit(&verifier.scratch);
    epochs_deinit(&verifier.epochs);
    return verifier.problems;
}

int log_verify_run(const struct args *args)
{
    struct verifier verifier = {.args = args,
                                .is_shallow = args_has(args, "shallow"),
                                .end_offset = -1,
                                .end_epoch = -1,
                                .problems = json_array()};
    compressors_init(&verifier.compressors);
    buf_init(&verifier.scratch, LOG_BATCH_BYTES_MAX);
    int code = logfile_walk(args->operands, args->operand_count, verify_file, &verifier);
    if (!code)
        code = print_summary(&verifier);
    json_decref(verifier.problems);
    compressors_deinit(&verifier.compressors);
    buf_deinit(&verifier.scratch);
    epochs_deinit(&verifier.epochs);
    return code;
}
