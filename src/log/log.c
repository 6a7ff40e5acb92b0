/* A log's appends and reads.
 *
 * Runs on: the shard that owns the log. An append takes its offsets, and its place in the active
 * segment, when it is submitted; the log end follows when its bytes, and all before them, are
 * written, and the flushed offset when the segments have them on the disk. One with `sync` is given
 * to the write-ahead log when it is written, and is done when that has it on the disk, or a flush
 * has, whichever comes first; where the write-ahead log cannot take it a flush begins. Invariants:
 *
 *   start_offset <= end_offset <= next_offset, flushed_offset <= durable_offset <= end_offset
 *   `writing` holds exactly the appends of [end_offset, next_offset), in order
 *
 * What a crash leaves: whole batches up to some point at or behind the flushed offset, and possibly
 * a torn one, which recovery cuts off. */
#include "log/log.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/diag.h"
#include "base/plant.h"
#include "log/compact.h"
#include "log/internal.h"
#include "log/wal_replay.h"

/* After a full disk, for how long appends are refused without asking it again. */
#define FULL_DISK_PAUSE_MS 1000
/* Unused for so long, a log is flushed and its files are closed: many thousands of quiet partitions
 * hold no descriptors. */
#define IDLE_MS 30000
/* The most that is copied into the write-ahead log for an append with `sync` beside its own bytes.
 */
#define GAP_BYTES_MAX ((uint32_t)64 << 10)

static void on_written(struct io_op *op);
static void on_flushed(struct io_op *op);
static void on_mark_synced(struct manifest_waiter *waiter, enum err err);
static void flush_if_wanted(struct log *log);

int64_t log_start_offset(const struct log *log)
{
    return log->start_offset;
}

int64_t log_end_offset(const struct log *log)
{
    return log->end_offset;
}

int64_t log_next_offset(const struct log *log)
{
    return log->next_offset;
}

int64_t log_flushed_offset(const struct log *log)
{
    return log->flushed_offset;
}

int64_t log_recovery_point(const struct log *log)
{
    /* Until an epoch is in its file, recovery has to find it in the batches. */
    if (log->epochs_changed && log->epochs.count > 0) {
        int64_t epoch_start = log->epochs.entries[log->epochs.count - 1].start_offset;
        return epoch_start < log->flushed_offset ? epoch_start : log->flushed_offset;
    }
    return log->flushed_offset;
}

int64_t log_active_base_offset(const struct log *log)
{
    return log_active(log)->base_offset;
}

uint64_t log_size(const struct log *log)
{
    return log->size;
}

uint32_t log_segment_count(const struct log *log)
{
    return (uint32_t)log->segment_count;
}

bool log_is_offline(const struct log *log)
{
    return log->is_offline;
}

const char *log_dir_path(const struct log *log)
{
    return log->dir;
}

struct producers *log_producers(struct log *log)
{
    return &log->producers;
}

const struct epochs *log_epochs(const struct log *log)
{
    return &log->epochs;
}

void log_set_config(struct log *log, const struct log_config *config)
{
    log->config = *config;
    compact_retry(log);
    if (!config->is_compacted)
        log_compact_abort(log);
}

bool log_is_idle(const struct log *log)
{
    return list_is_empty(&log->writing) && list_is_empty(&log->unflushed) && !log->flush_segment &&
           log->reads == 0 && log->unlinks == 0 && log->jobs == 0;
}

static void end_append(struct log_append *op, enum err err)
{
    list_remove(&op->wal.link);
    op->err = err;
    op->done(op);
}

void log_take_offline(struct log *log)
{
    log->is_refusing = false;
    log->is_offline = true;
    struct list *node;
    while ((node = list_pop_front(&log->unflushed)) != NULL)
        end_append(LIST_ENTRY(node, struct log_append, link), ERR_KAFKA_STORAGE_ERROR);
    /* Those in `writing` end when the io gives them back. */
}

static void fail(struct log *log, enum err err, const char *what)
{
    if (!log->is_offline) {
        log->is_offline = true;
        log_distrust(log);
        log->owner->on_failure(log->owner, err, what);
    }
    log_take_offline(log);
}

/* Damage that was found, and what was not tried, leave the page cache as it was. */
static bool is_of_the_disk(enum err err)
{
    return err != ERR_NOMEM && err != ERR_MALFORMED && err != ERR_KAFKA_STORAGE_ERROR;
}

/* The system forgets a failed flush when it has told of it: a mark tells the next start. That goes
 * for the flush, too, under which the log went offline because another of its folder failed. */
void log_fail(struct log *log, enum err err, const char *what)
{
    if (is_of_the_disk(err))
        distrust_mark(log);
    fail(log, err, what);
}

/* --- append --- */

/* ERR_OK with op->is_duplicate set where every batch was appended before. */
static enum err check_producers(const struct log *log, struct log_append *op)
{
    struct batches batches;
    struct batch batch;
    batches_init(&batches, (struct slice){op->batches, op->len});
    while (batches_next(&batches, &batch)) {
        if (!batch_has_producer(&batch) || batch.base_sequence == BATCH_SEQUENCE_NONE)
            continue;
        struct producer_append append = log_producer_append(&batch);
        const struct producer_batch *duplicate;
        TRY(producers_check(&log->producers, &append, &duplicate));
        if (duplicate) {
            op->is_duplicate = true;
            op->base_offset = duplicate->first_offset;
            op->last_offset = duplicate->last_offset;
            op->log_append_ms = duplicate->timestamp;
            return ERR_OK;
        }
    }
    return batches.err;
}

/* Assigns offsets, or checks those that came from the leader; op->base_offset and last_offset. */
static enum err place_batches(struct log *log, struct log_append *op)
{
    struct batches batches;
    struct batch batch;
    int64_t next = log->next_offset;
    op->max_timestamp = -1;
    batches_init(&batches, (struct slice){op->batches, op->len});
    while (batches_next(&batches, &batch)) {
        if (batch.max_timestamp > op->max_timestamp)
            op->max_timestamp = batch.max_timestamp;
        if (op->kind == LOG_APPEND_LEADER)
            batch_stamp(op->batches + (batch.data - op->batches), next, op->leader_epoch, &batch);
        else if (batch.base_offset < next)
            return ERR_CORRUPT_MESSAGE;
        else if (batch.base_offset > next)
            TRY(log_mark(log, MANIFEST_RESHAPED, false)); /* from its entry on there was no gap */
        if (batch.data == op->batches)
            op->base_offset = batch.base_offset;
        next = batch.last_offset + 1;
    }
    op->last_offset = next - 1;
    return batches.err;
}

/* Time is measured by the records' own timestamps, so that an import of old records fills segments
 * like any other; by the clock only where they have none. */
static int64_t age_at_append(const struct segment *active, const struct log_append *op)
{
    if (active->first_timestamp < 0)
        return op->now_ms - active->created_ms;
    return op->max_timestamp - active->first_timestamp;
}

static bool must_roll(const struct log *log, const struct log_append *op)
{
    const struct segment *active = log_active(log);
    if (op->last_offset - active->base_offset > INT32_MAX)
        return true;
    if (active->reserved == 0)
        return false;
    const struct log_config *config = &log->config;
    return (uint64_t)active->reserved + op->len > (uint64_t)config->segment_bytes ||
           age_at_append(active, op) > config->segment_ms - active->jitter_ms ||
           index_is_full(log, active);
}

/* Everything that reads of the batches begins to know: epochs, producers, indexes. */
static enum err note_batches(struct log *log, struct log_append *op)
{
    struct segment *segment = op->segment;
    struct batches batches;
    struct batch batch;
    batches_init(&batches, (struct slice){op->batches, op->len});
    while (batches_next(&batches, &batch)) {
        TRY(log_note_epoch(log, batch.leader_epoch, batch.base_offset));
        TRY(log_note_producer(log, segment, &batch));
        TRY(index_note_batch(log, segment, op->position + (uint32_t)(batch.data - op->batches),
                             &batch));
    }
    return ERR_OK;
}

/* For lack of space, which passes: the producer will send it again. */
static void note_refused(struct log *log, const struct log_append *op)
{
    struct batches batches;
    struct batch batch;
    batches_init(&batches, (struct slice){op->batches, op->len});
    while (op->kind == LOG_APPEND_LEADER && batches_next(&batches, &batch)) {
        struct producer_append append = log_producer_append(&batch);
        if (!batch_has_producer(&batch) || batch_is_control(&batch))
            continue;
        enum err err = producers_expect_first(&log->producers, &append);
        (void)err; /* without memory for it, a gap may go unseen, as in Kafka */
    }
}

/* What the manifest says of the log is about to become untrue. */
static enum err begin_change(struct log *log)
{
    enum err err = log_mark(log, MANIFEST_APPENDED, false);
    if (err == ERR_OK)
        return ERR_OK;
    if (err != ERR_NOSPACE && err != ERR_NOMEM)
        log_fail(log, err, "it could not be made ready for an append");
    return ERR_KAFKA_STORAGE_ERROR;
}

static void pause_appends(struct log *log)
{
    log->refuse_until_ms = io_now_ms(log->io) + FULL_DISK_PAUSE_MS;
    if (log->owner->on_full)
        log->owner->on_full(log->owner);
}

static enum err append_prepare(struct log *log, struct log_append *op)
{
    if (log->is_offline)
        return ERR_KAFKA_STORAGE_ERROR;
    if (log->is_refusing || io_now_ms(log->io) < log->refuse_until_ms)
        return ERR_KAFKA_STORAGE_ERROR;
    if (op->len == 0 || op->len > (size_t)INT32_MAX)
        return ERR_CORRUPT_MESSAGE;
    if (op->kind == LOG_APPEND_LEADER) {
        TRY(check_producers(log, op));
        if (op->is_duplicate)
            return ERR_OK;
        if (op->len > (size_t)log->config.segment_bytes)
            return ERR_RECORD_LIST_TOO_LARGE;
    }
    TRY(begin_change(log));
    TRY(place_batches(log, op));
    if (must_roll(log, op)) {
        enum err err = log_roll(log, op->base_offset, op->now_ms);
        if (err == ERR_NOSPACE || err == ERR_LIMIT) {
            pause_appends(log);
            return ERR_KAFKA_STORAGE_ERROR;
        }
        if (err != ERR_OK) {
            log_fail(log, err, "a new segment could not be made");
            return ERR_KAFKA_STORAGE_ERROR;
        }
    }
    op->segment = log_active(log);
    op->position = op->segment->reserved;
    enum err err = segment_open_file(log, op->segment, 0);
    if (err == ERR_OK)
        err = note_batches(log, op);
    if (err != ERR_OK) {
        /* State may be half taken over: only the disk tells what is true now. */
        log_fail(log, err, "an append could not be prepared");
        return ERR_KAFKA_STORAGE_ERROR;
    }
    return ERR_OK;
}

/* --- durability --- */

/* Ends the appends whose bytes are on the disk. */
static void settle_durable(struct log *log)
{
    while (!list_is_empty(&log->unflushed)) {
        struct log_append *append = LIST_ENTRY(log->unflushed.next, struct log_append, link);
        if (append->last_offset >= log->durable_offset)
            break;
        list_remove(&append->link);
        end_append(append, ERR_OK);
    }
}

void log_note_flushed(struct log *log)
{
    if (log->durable_offset < log->flushed_offset)
        log->durable_offset = log->flushed_offset;
    bool is_all = log->flushed_offset >= log->end_offset;
    if (log->wal)
        wal_release(log->wal, &log->wal_client, is_all ? INT64_MAX : log->flushed_offset);
    if (log->replay && (is_all || log->flushed_offset >= log->replay_offset)) {
        wal_group_settle(log->replay);
        log->replay = NULL;
    }
}

void log_forget_logged(struct log *log)
{
    log->logged_offset = 0;
    log->logged_segment = -1;
    log->logged_position = 0;
    if (log->durable_offset > log->end_offset)
        log->durable_offset = log->end_offset;
}

static void on_logged(struct wal_wait *wait)
{
    struct log_append *op = CONTAINER_OF(wait, struct log_append, wal);
    struct log *log = op->log;
    if (op->last_offset >= log->durable_offset)
        log->durable_offset = op->last_offset + 1;
    settle_durable(log);
}

/* Where in the append's segment the bytes begin that neither a flush nor the wal covers. False: it
 * is some of an older segment. */
static bool find_uncovered(const struct log *log, const struct log_append *op, uint32_t *position)
{
    const struct segment *segment = op->segment;
    int64_t covered = log->flushed_offset;
    if (covered < log->logged_offset)
        covered = log->logged_offset;
    *position = segment->flushed;
    if (log->logged_segment == segment->base_offset && log->logged_position > *position)
        *position = log->logged_position;
    return covered >= segment->base_offset && *position <= op->position;
}

/* Gives the append to the wal, with what was written between it and what is durable: an append
 * without `sync`, or one that a flush is under way for. */
static bool give_to_wal(struct log *log, struct log_append *op)
{
    uint32_t from;
    if (!log->wal || op->len > WAL_RECORD_BYTES_MAX || !find_uncovered(log, op, &from) ||
        op->position - from > GAP_BYTES_MAX)
        return false;
    struct wal_record record = {
        .topic_id = log->key.topic_id,
        .partition = log->key.index,
        .segment_base = op->segment->base_offset,
        .position = from,
        .gap = op->segment->file,
        .gap_bytes = op->position - from,
        .batches = slice_of(op->batches, op->len),
        .end_offset = op->last_offset + 1,
    };
    if (!wal_append(log->wal, &log->wal_client, &record, &op->wal))
        return false;
    log->logged_offset = op->last_offset + 1;
    log->logged_segment = op->segment->base_offset;
    log->logged_position = op->position + (uint32_t)op->len;
    return true;
}

static void wait_for_flush(struct log *log, const struct log_append *op)
{
    if (op->last_offset >= log->unlogged_offset)
        log->unlogged_offset = op->last_offset + 1;
}

void log_on_wal_flush(struct wal_client *client)
{
    log_flush(CONTAINER_OF(client, struct log, wal_client));
}

void log_on_wal_failed(struct wal_client *client, enum err err, const char *what)
{
    fail(CONTAINER_OF(client, struct log, wal_client), err, what);
}

/* The first copy of a duplicate may still be on its way. */
static void append_duplicate(struct log *log, struct log_append *op)
{
    op->written = true;
    if (op->last_offset >= log->end_offset) {
        list_push_back(&log->writing, &op->link);
    } else if (op->sync && op->last_offset >= log->durable_offset) {
        list_push_back(&log->unflushed, &op->link);
        if (op->last_offset >= log->logged_offset)
            wait_for_flush(log, op);
        flush_if_wanted(log);
    } else {
        end_append(op, ERR_OK);
    }
}

void log_append(struct log *log, struct log_append *op)
{
    op->log = log;
    op->is_duplicate = false;
    op->written = false;
    op->log_append_ms = -1;
    op->io.err = ERR_OK;
    op->wal = (struct wal_wait){.done = on_logged};
    list_init(&op->wal.link);
    list_init(&op->link);
    enum err err = append_prepare(log, op);
    if (err != ERR_OK) {
        if (err == ERR_KAFKA_STORAGE_ERROR && !log->is_offline)
            note_refused(log, op);
        end_append(op, err);
        return;
    }
    if (op->is_duplicate) {
        append_duplicate(log, op);
        return;
    }
    op->segment->reserved += (uint32_t)op->len;
    log->unsaved_bytes += op->len;
    log->next_offset = op->last_offset + 1;
    if (PLANTED(SKIP_OFFSET_AT_ROLL) && op->position == 0 && op->base_offset > 0)
        log->next_offset++;
    log->is_changed = true;
    list_push_back(&log->writing, &op->link);
    io_write(log->io, &op->io, op->segment->file, op->batches, op->len, op->position, on_written);
}

static void note_written(struct log *log, struct log_append *op)
{
    struct segment *segment = op->segment;
    log->messages_unflushed += op->last_offset + 1 - log->end_offset;
    log->end_offset = op->last_offset + 1;
    segment->size += (uint32_t)op->len;
    log->size += op->len;
    if (log->config.flush_ms < INT64_MAX && log->flush_due_ms < 0)
        log->flush_due_ms = op->now_ms > INT64_MAX - log->config.flush_ms
                                ? INT64_MAX
                                : op->now_ms + log->config.flush_ms;
    log->owner->on_advance(log->owner, op->len);
}

/* Takes the first of `writing`, whose bytes are written, out and ends it, or leaves it to a flush.
 */
static void settle_first(struct log *log)
{
    struct log_append *op = LIST_ENTRY(list_pop_front(&log->writing), struct log_append, link);
    if (log->is_offline) {
        end_append(op, ERR_KAFKA_STORAGE_ERROR);
        return;
    }
    if (!op->is_duplicate)
        note_written(log, op);
    if (!op->sync || op->last_offset < log->durable_offset || PLANTED(ACK_BEFORE_FLUSH)) {
        end_append(op, ERR_OK);
        return;
    }
    list_push_back(&log->unflushed, &op->link);
    bool is_logged = op->is_duplicate ? op->last_offset < log->logged_offset : give_to_wal(log, op);
    if (!is_logged)
        wait_for_flush(log, op);
}

static void flush_if_wanted(struct log *log)
{
    if (log->unlogged_offset > log->flushed_offset ||
        log->messages_unflushed >= log->config.flush_messages)
        log_flush(log);
}

/* Ends, in order, the appends at the front whose bytes are written. */
static void settle(struct log *log)
{
    while (!list_is_empty(&log->writing) &&
           LIST_ENTRY(log->writing.next, struct log_append, link)->written)
        settle_first(log);
    flush_if_wanted(log);
}

/* After a write that found no space: the files are cut back to the log's end, and all that was
 * noted of the refused batches is forgotten. Segments that were begun behind it go. */
static enum err cut_back(struct log *log)
{
    log_drop_capture(log);
    while (log->segment_count > 1 && log_active(log)->base_offset > log->end_offset)
        TRY(log_drop_last_segment(log));
    struct segment *active = log_active(log);
    TRY(segment_open_file(log, active, 0));
    TRY(segment_cut_file(log, active, active->size));
    active->reserved = active->size;
    active->is_sealed = false;
    log->next_offset = log->end_offset;
    log->epochs_changed |= epochs_truncate_end(&log->epochs, log->end_offset);
    TRY(aborted_cut(log, active, log->end_offset));
    return log_rebuild_active(log);
}

static void on_full_disk(struct log *log)
{
    /* What lies behind the refused append cannot stay: wait until the io has all of it back. */
    LIST_FOREACH (node, &log->writing) {
        if (!LIST_ENTRY(node, struct log_append, link)->written)
            return;
    }
    while (LIST_ENTRY(log->writing.next, struct log_append, link)->io.err == ERR_OK)
        settle_first(log);
    struct list refused;
    list_init(&refused);
    list_splice(&refused, &log->writing);
    enum err err = cut_back(log);
    log->is_refusing = false;
    pause_appends(log);
    if (err != ERR_OK)
        log_fail(log, err, "the log could not be cut back on a full disk");
    LIST_FOREACH (at, &refused)
        note_refused(log, LIST_ENTRY(at, struct log_append, link));
    struct list *node;
    while ((node = list_pop_front(&refused)) != NULL)
        end_append(LIST_ENTRY(node, struct log_append, link), ERR_KAFKA_STORAGE_ERROR);
    flush_if_wanted(log);
}

static void on_written(struct io_op *io_op)
{
    struct log_append *op = CONTAINER_OF(io_op, struct log_append, io);
    struct log *log = op->log;
    op->written = true;
    if (io_op->err == ERR_NOSPACE && !log->is_offline)
        log->is_refusing = true;
    else if (io_op->err != ERR_OK)
        log_fail(log, io_op->err, "a write failed");
    if (log->is_refusing)
        on_full_disk(log);
    else
        settle(log);
}

/* --- flush --- */

static size_t first_unflushed(const struct log *log)
{
    /* Behind the log's end there may be segments into which nothing is written yet. */
    size_t last = log_segment_at(log, log->end_offset - 1);
    size_t at = log_segment_at(log, log->flushed_offset);
    while (at < last && log->segments[at]->flushed == log->segments[at]->size)
        at++;
    return at;
}

/* Begins the flush of the oldest segment that needs one. */
static void flush_next(struct log *log)
{
    size_t at = first_unflushed(log);
    struct segment *segment = log->segments[at];
    enum err err = segment_open_file(log, segment, 0);
    if (err == ERR_OK)
        err = aborted_store(log, segment);
    if (err != ERR_OK) {
        log_fail(log, err, "a segment's flush could not be begun");
        return;
    }
    int64_t end_offset = segment_end_offset(log, at);
    log->flush_segment = segment;
    log->flush_size = segment->size;
    /* A sealed segment's last writes may still be under way. */
    log->flush_offset = end_offset < log->end_offset ? end_offset : log->end_offset;
    if (log_is_mark_synced(log)) {
        io_sync(log->io, &log->flush_op, segment->file, on_flushed);
        return;
    }
    log->waiter.done = on_mark_synced;
    manifest_sync(log->manifest, &log->waiter);
}

/* The next start will know that there is more than the manifest's entry says: the flush may count.
 */
static void on_mark_synced(struct manifest_waiter *waiter, enum err err)
{
    struct log *log = CONTAINER_OF(waiter, struct log, waiter);
    if (err == ERR_OK && !log->is_offline) {
        io_sync(log->io, &log->flush_op, log->flush_segment->file, on_flushed);
        return;
    }
    log->flush_op.err = err == ERR_OK ? ERR_KAFKA_STORAGE_ERROR : err;
    on_flushed(&log->flush_op);
}

void log_flush(struct log *log)
{
    if (log->is_offline)
        return;
    log->flush_wanted_offset = log->end_offset;
    log->messages_unflushed = 0;
    log->flush_due_ms = -1;
    if (!log->flush_segment && log->flushed_offset < log->end_offset)
        flush_next(log);
}

static void on_flushed(struct io_op *op)
{
    struct log *log = CONTAINER_OF(op, struct log, flush_op);
    struct segment *segment = log->flush_segment;
    log->flush_segment = NULL;
    if (segment->is_removed)
        segment_unref(log, segment);
    else if (op->err == ERR_OK && log->flush_size > segment->flushed)
        segment->flushed = log->flush_size;
    if (op->err != ERR_OK && !PLANTED(IGNORE_FAILED_FLUSH)) {
        log_fail(log, op->err, "a flush failed");
        return;
    }
    if (log->flush_offset > log->flushed_offset)
        log->flushed_offset = log->flush_offset;
    log_note_flushed(log);
    settle_durable(log);
    if (log->is_offline || log->flush_segment)
        return;
    enum err err = log_put_capture(log);
    if (err != ERR_OK)
        log_fail(log, err, "the manifest can neither be written nor removed");
    else if (log->unlogged_offset > log->flushed_offset)
        log_flush(log);
    else if (log->flushed_offset < log->flush_wanted_offset)
        flush_next(log);
}

/* A new epoch goes to its file when there are batches of it. */
static bool must_store_epochs(const struct log *log)
{
    const struct epochs *epochs = &log->epochs;
    return log->epochs_changed &&
           (epochs->count == 0 ||
            epochs->entries[epochs->count - 1].start_offset < log->end_offset);
}

/* What is not urgent. */
static enum log_tick_cost store(struct log *log)
{
    enum log_tick_cost cost = must_store_epochs(log) ? LOG_TICK_SYNCED : LOG_TICK_FREE;
    if (cost == LOG_TICK_SYNCED) {
        enum err err = log_write_epochs(log);
        if (err != ERR_OK && err != ERR_NOSPACE)
            log_fail(log, err, "the leader epochs could not be written");
    } else if (log_must_save(log)) {
        cost = LOG_TICK_WROTE;
        enum err err = log_save(log);
        if (err != ERR_OK)
            log_fail(log, err, "the manifest can neither be written nor removed");
    }
    return cost;
}

enum log_tick_cost log_tick(struct log *log, int64_t now_ms, bool may_store)
{
    if (log->is_offline)
        return LOG_TICK_FREE;
    bool is_idle = io_now_ms(log->io) - log->used_ms >= IDLE_MS && list_is_empty(&log->writing);
    bool is_replayed = log->replay && io_now_ms(log->io) >= log->replay_flush_ms;
    if ((log->flush_due_ms >= 0 && now_ms >= log->flush_due_ms) || is_replayed ||
        (is_idle && log->flushed_offset < log->end_offset))
        log_flush(log);
    else if (is_idle && !list_is_empty(&log->open_segments))
        log_close_idle(log);
    cold_tick(log, io_now_ms(log->io));
    log_run_removals(log, io_now_ms(log->io));
    return may_store ? store(log) : LOG_TICK_FREE;
}
