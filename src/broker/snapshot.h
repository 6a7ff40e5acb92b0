/* Checkpoints of the metadata log: OFFSET-EPOCH.checkpoint files, as Kafka reads and writes them.
 *
 * A checkpoint is a run of record batches: a control batch with SnapshotHeader (and the voters),
 * batches of metadata records, a control batch with SnapshotFooter. OFFSET is the end offset of
 * what it contains, 20 digits; EPOCH 10 digits. */
#ifndef BROKER_SNAPSHOT_H
#define BROKER_SNAPSHOT_H

#include "base/arena.h"
#include "io/io.h"
#include "meta/image.h"
#include "quorum/quorum.h"

struct snapshot_id {
    int64_t end_offset;
    int32_t epoch;
};

#define SNAPSHOT_BYTES_MAX ((size_t)1 << 30)

/* The newest checkpoint of a metadata log's folder; ERR_NOENT when there is none. */
enum err snapshot_latest(struct io *io, struct str dir, struct snapshot_id *id) MUST_USE;

struct snapshot {
    struct meta_records records;
    int64_t last_contained_ms;
    int16_t kraft_version; /* -1: not said */
    struct quorum_voter *voters;
    size_t voter_count;
    size_t bytes; /* of the file */
};

/* Appends what a checkpoint holds: `controls` (a header first), the records, and the footer. */
enum err snapshot_encode(const struct quorum_control *controls, size_t control_count,
                         const struct meta_record *records, size_t record_count, int32_t epoch,
                         int64_t now_ms, struct buf *out) MUST_USE;
/* The same from memory, which must outlive what is decoded; `path` is for sentences. */
enum err snapshot_decode(struct slice content, struct str path, struct arena *arena,
                         struct snapshot *snapshot, struct meta_error *why) MUST_USE;
/* Reads a file: every batch's CRC is checked, header and footer must be there. */
enum err snapshot_read(struct io *io, struct str path, struct arena *arena,
                       struct snapshot *snapshot, struct meta_error *why) MUST_USE;
/* Reads the newest checkpoint (or starts empty) and makes the image of it. */
enum err snapshot_load(struct io *io, struct str dir, struct arena *arena, struct snapshot_id *id,
                       struct snapshot *snapshot, struct image **image,
                       struct meta_error *why) MUST_USE;
/* Writes beside, syncs, renames; then removes older checkpoints. */
enum err snapshot_write(struct io *io, struct str dir, const struct image *image,
                        int16_t kraft_version, const struct quorum_voter *voters,
                        size_t voter_count, int64_t now_ms) MUST_USE;

#endif
