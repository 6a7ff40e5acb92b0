/* Building record batches.
 *
 *   struct batch_options options = BATCH_OPTIONS_DEFAULT;
 *   batch_builder_init(&builder, &out, &options);
 *   TRY(batch_builder_append(&builder, &(struct record_fields){...}));  once for each record
 *   TRY(batch_builder_finish(&builder, &compressors));
 *   batch_builder_deinit(&builder);
 *
 * The batch goes to the end of `out`, which may hold batches before it. */
#ifndef WIRE_BATCH_BUILDER_H
#define WIRE_BATCH_BUILDER_H

#include "wire/batch.h"

struct batch_options {
    int64_t base_offset;
    int32_t leader_epoch;
    enum compression compression;
    int32_t level;           /* one of compression_levels; unused where there is none */
    int64_t log_append_time; /* BATCH_TIMESTAMP_NONE: the records' own times count */
    int64_t producer_id;
    int16_t producer_epoch;
    int32_t base_sequence;
    bool is_transactional;
    bool is_control;
};

#define BATCH_OPTIONS_DEFAULT                                                               \
    {                                                                                       \
        .base_offset = 0, .leader_epoch = BATCH_LEADER_EPOCH_NONE,                          \
        .compression = COMPRESSION_NONE, .log_append_time = BATCH_TIMESTAMP_NONE,           \
        .producer_id = BATCH_PRODUCER_ID_NONE, .producer_epoch = BATCH_PRODUCER_EPOCH_NONE, \
        .base_sequence = BATCH_SEQUENCE_NONE,                                               \
    }

struct record_fields {
    int64_t timestamp;
    struct slice key;
    struct slice value;
    const struct record_header *headers;
    size_t header_count;
};

struct batch_builder {
    struct batch_options options;
    struct buf *out;
    size_t start;     /* of the batch in out */
    struct buf plain; /* records that wait for compression */
    int64_t base_timestamp;
    int64_t max_timestamp;
    int32_t count;
    bool is_finished;
};

/* Borrows `out` until deinit; nothing else may be put there in between. */
void batch_builder_init(struct batch_builder *builder, struct buf *out,
                        const struct batch_options *options);
/* Drops a batch that was not finished: `out` is then as long as it was at init. */
void batch_builder_deinit(struct batch_builder *builder);
/* ERR_LIMIT: past out->limit or what a batch can count; ERR_NOMEM. The batch stays as it was. */
enum err batch_builder_append(struct batch_builder *builder,
                              const struct record_fields *fields) MUST_USE;
/* A control record; the options must say is_control. */
enum err batch_builder_append_control(struct batch_builder *builder, int64_t timestamp,
                                      enum control_type type, struct slice value) MUST_USE;
/* The size of the batch so far, before compression. */
size_t batch_builder_size(const struct batch_builder *builder);
/* Compresses, and writes the header. At least one record; `c` may be NULL without compression. */
enum err batch_builder_finish(struct batch_builder *builder, struct compressors *c) MUST_USE;

/* The marker that ends a transaction at its producer's partition: one control record. */
enum err batch_put_end_txn(struct buf *out, const struct batch_options *options, bool commit,
                           int32_t coordinator_epoch, int64_t timestamp) MUST_USE;

/* The same records in another compression, with offset deltas 0, 1, 2...; all else is kept.
 * `scratch` as for records_init. ERR_INVALID_RECORD, ERR_LIMIT, ERR_NOMEM. */
enum err batch_rewrite(struct compressors *c, const struct batch *batch, struct buf *scratch,
                       enum compression compression, int32_t level, struct buf *out) MUST_USE;

#endif
