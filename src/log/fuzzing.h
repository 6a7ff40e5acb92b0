/* What fuzz targets of the log share: a folder in memory where that is possible, and a log in it
 * that is read and written as a broker does. */
#ifndef LOG_FUZZING_H
#define LOG_FUZZING_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/diag.h"
#include "log/log.h"
#include "log/logdir.h"
#include "wire/batch_builder.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static char root[64], dir[80];
static struct io *io;
static struct rbuf_pool bufs;
static struct compressors compressors;

static inline void remove_root(void)
{
    ASSERT(io_rmdir(io, root) == ERR_OK);
}

static inline void prepare(void)
{
    if (io)
        return;
    diag_set_level(DIAG_ERROR + 1);
    /* In memory where that is possible: flushes of a disk would be most of the time. */
    snprintf(root, sizeof(root), "%s/log-fuzz-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    ASSERT(mkdtemp(root));
    snprintf(dir, sizeof(dir), "%s/t-0", root);
    ASSERT(io_real_create(IO_DISK_THREADS, &io) == ERR_OK);
    rbuf_pool_init(&bufs, 1 << 24, 1 << 20);
    compressors_init(&compressors);
    ASSERT(atexit(remove_root) == 0);
}

static inline void put_file(const char *folder, const char *name, struct slice content)
{
    char path[200];
    struct io_file file;
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    ASSERT(io_open(io, path, IO_OPEN_CREATE, &file) == ERR_OK);
    if (content.len > 0)
        ASSERT(io_write_now(io, file, content.data, content.len, 0) == ERR_OK);
    io_close(io, file);
}

static inline void on_advance(struct log_owner *owner, size_t size)
{
    (void)owner, (void)size;
}

static inline void on_failure(struct log_owner *owner, enum err err, const char *what)
{
    (void)owner, (void)err, (void)what;
}

struct reading {
    struct log_read op;
    bool done;
};

static inline void on_read(struct log_read *op)
{
    CONTAINER_OF(op, struct reading, op)->done = true;
}

/* Walks the log from its start, as a reader does: an error, or nothing more, ends it. */
static inline void read_all(struct log *log)
{
    int64_t offset = log_start_offset(log);
    for (int i = 0; i < 1000 && offset < log_end_offset(log); i++) {
        struct reading reading = {.op = {.offset = offset,
                                         .end_offset = log_end_offset(log),
                                         .bytes_max = 100,
                                         .at_least_one = true,
                                         .bufs = &bufs,
                                         .done = on_read}};
        log_read(log, &reading.op);
        while (!reading.done)
            io_run_once(io, UINT64_MAX);
        struct batch batch;
        int64_t before = offset;
        if (reading.op.err == ERR_OK && batch_load(reading.op.batches, &batch) == ERR_OK &&
            batch.last_offset >= offset)
            offset = batch.last_offset + 1;
        rbuf_unref(reading.op.buf);
        if (offset == before)
            return;
    }
}

static inline void on_appended(struct log_append *op)
{
    ASSERT(op->err != ERR_OK || op->base_offset == op->last_offset);
}

static inline void append_one(struct log *log)
{
    struct batch_options options = BATCH_OPTIONS_DEFAULT;
    struct batch_builder builder;
    struct record_fields fields = {.timestamp = 1, .value = slice_of("x", 1)};
    struct buf bytes;
    buf_init(&bytes, BUF_NO_LIMIT);
    batch_builder_init(&builder, &bytes, &options);
    ASSERT(batch_builder_append(&builder, &fields) == ERR_OK);
    ASSERT(batch_builder_finish(&builder, NULL) == ERR_OK);
    batch_builder_deinit(&builder);
    int64_t end_offset = log_end_offset(log);
    int32_t epoch = epochs_latest(log_epochs(log)); /* no leader is of an earlier one */
    struct log_append op = {.kind = LOG_APPEND_LEADER,
                            .batches = bytes.data,
                            .len = bytes.len,
                            .leader_epoch = epoch > 0 ? epoch : 0,
                            .now_ms = 1,
                            .sync = true,
                            .done = on_appended};
    log_append(log, &op);
    while (!log_is_idle(log))
        io_run_once(io, UINT64_MAX);
    if (op.err == ERR_OK)
        ASSERT(op.base_offset == end_offset && log_end_offset(log) == end_offset + 1);
    buf_deinit(&bytes);
}

static const struct log_config small_config = {.segment_bytes = 4096,
                                               .segment_ms = 1000,
                                               .segment_index_bytes = 1 << 20,
                                               .index_interval_bytes = 100,
                                               .retention_ms = -1,
                                               .retention_bytes = -1,
                                               .flush_messages = INT64_MAX,
                                               .flush_ms = INT64_MAX,
                                               .producer_expiration_ms = 1000};

#endif
