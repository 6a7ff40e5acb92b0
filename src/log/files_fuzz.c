/* Goal: no content of a log's files makes opening, reading or searching it misbehave, and an opened
 * log keeps its promises.
 * Method: the first input byte says which file the rest is: a producer snapshot, the epochs, a log
 * folder's checkpoint, a segment with its two indexes (lengths first), a manifest, or what a
 * manifest says of a log. Segments are opened as after a clean stop and as after a crash, every
 * offset is read, and a record is appended. What was accepted is written and read again. */
#include "base/crc32c.h"
#include "log/fuzzing.h"

static void try_snapshot(struct slice bytes)
{
    struct producers producers, back;
    struct buf out;
    producers_init(&producers, 1);
    producers_init(&back, 2);
    buf_init(&out, BUF_NO_LIMIT);
    if (producers_snapshot_read(&producers, bytes) == ERR_OK) {
        ASSERT(producers_snapshot_write(&producers, &out) == ERR_OK);
        ASSERT(producers_snapshot_read(&back, buf_slice(&out)) == ERR_OK);
        ASSERT(back.map.count == producers.map.count);
    } else {
        ASSERT(producers.map.count == 0);
    }
    buf_deinit(&out);
    producers_deinit(&producers);
    producers_deinit(&back);
}

static void try_epochs(struct slice bytes)
{
    struct epochs epochs, back;
    struct buf out;
    epochs_init(&epochs);
    epochs_init(&back);
    buf_init(&out, BUF_NO_LIMIT);
    if (epochs_parse(&epochs, (struct str){(const char *)bytes.data, bytes.len}) == ERR_OK) {
        epochs_print(&epochs, &out);
        ASSERT(epochs_parse(&back, (struct str){(const char *)out.data, out.len}) == ERR_OK);
        ASSERT(back.count == epochs.count);
    }
    buf_deinit(&out);
    epochs_deinit(&epochs);
    epochs_deinit(&back);
}

static void try_checkpoint(struct slice bytes)
{
    struct logdir logdir;
    ASSERT(io_mkdir(io, dir) == ERR_OK);
    put_file(dir, LOGDIR_RECOVERY_POINTS, bytes);
    ASSERT(logdir_open(&logdir, io, str_of(dir)) == ERR_OK);
    logdir_close(&logdir);
    ASSERT(logdir_remove_folder(io, dir) == ERR_OK);
}

static void try_segment(struct slice bytes)
{
    if (bytes.len < 5)
        return;
    uint8_t flags = bytes.data[0];
    size_t log_len = be16_load(bytes.data + 1), index_len = be16_load(bytes.data + 3);
    bytes = (struct slice){bytes.data + 5, bytes.len - 5};
    if (log_len > bytes.len || index_len > bytes.len - log_len)
        return;
    ASSERT(io_mkdir(io, dir) == ERR_OK);
    put_file(dir, "00000000000000000000.log", (struct slice){bytes.data, log_len});
    put_file(dir, "00000000000000000000.index", (struct slice){bytes.data + log_len, index_len});
    put_file(dir, "00000000000000000000.timeindex",
             (struct slice){bytes.data + log_len + index_len, bytes.len - log_len - index_len});
    struct log_config config = small_config;
    config.is_dense = (flags & 2) != 0;
    struct log_open_options options = {.clean_shutdown = (flags & 1) != 0,
                                       .recovery_point = flags & 4 ? 1 : 0,
                                       .log_start_offset = -1};
    struct log_owner owner = {on_advance, on_failure};
    struct log_problem problem;
    struct log_position position;
    struct log *log;
    if (log_open(io, dir, &config, &options, &owner, &log, &problem) == ERR_OK) {
        read_all(log);
        for (int64_t timestamp = 0; timestamp < 2000; timestamp += 500)
            (void)!log_find_timestamp(log, &compressors, timestamp, INT64_MAX, &position);
        (void)!log_find_max_timestamp(log, &compressors, &position);
        append_one(log);
        (void)!log_close(log);
    } else {
        ASSERT(problem.text[0] != '\0');
    }
    ASSERT(logdir_remove_folder(io, dir) == ERR_OK);
}

/* A header that is believed, and the bytes behind it as they are; then as frames whose checksums
 * are right: u8 kind, u8 length, body. */
static void try_manifest(struct slice bytes)
{
    struct manifest_set set;
    struct buf file;
    bool whole;
    manifest_set_init(&set, 1);
    buf_init(&file, BUF_NO_LIMIT);
    buf_put(&file, "TFRMANIF", 8);
    buf_put_be32(&file, 1);
    buf_put_be32(&file, 3);
    uint32_t crc = crc32c(0, buf_slice(&file));
    buf_put_be32(&file, crc);
    size_t head = file.len;
    buf_put(&file, bytes.data, bytes.len);
    ASSERT(manifest_set_read(&set, buf_slice(&file), 3, &whole) == ERR_OK);
    manifest_set_forget(&set);
    file.len = head;
    while (bytes.len >= 2 && bytes.data[1] <= bytes.len - 2) {
        crc = crc32c(crc32c(crc, slice_of(bytes.data, 1)), slice_of(bytes.data + 2, bytes.data[1]));
        buf_put_be32(&file, bytes.data[1]);
        buf_put_be32(&file, crc);
        buf_put_u8(&file, bytes.data[0]);
        buf_put(&file, bytes.data + 2, bytes.data[1]);
        bytes = slice_of(bytes.data + 2 + bytes.data[1], bytes.len - 2 - bytes.data[1]);
    }
    ASSERT(file.err == ERR_OK);
    ASSERT(manifest_set_read(&set, buf_slice(&file), 3, &whole) == ERR_OK);
    manifest_set_deinit(&set);
    buf_deinit(&file);
}

/* An entry that is not true of its log: it is refused, or the log notices what is wrong. */
static void try_entry(struct slice bytes)
{
    if (bytes.len == 0)
        return;
    struct uuid id = {{1}};
    struct log_owner owner = {on_advance, on_failure};
    struct log_problem problem;
    struct log *log;
    struct log_open_options options = {.clean_shutdown = true, .log_start_offset = -1};
    ASSERT(log_create(io, dir, id) == ERR_OK);
    ASSERT(log_open(io, dir, &small_config, &options, &owner, &log, &problem) == ERR_OK);
    append_one(log);
    append_one(log);
    log_abandon(log);
    struct manifest_item item = {.key = {id, 0},
                                 .entry = slice_of(bytes.data + 1, bytes.len - 1),
                                 .mark = (enum manifest_mark)(bytes.data[0] % 4),
                                 .start_offset = -1};
    struct manifest_set none;
    manifest_set_init(&none, 1);
    ASSERT(manifest_set_write(&none, io, root, 0, 1, NULL, NULL) == ERR_OK);
    manifest_set_deinit(&none);
    options = (struct log_open_options){.log_start_offset = -1, .key = item.key, .item = &item};
    ASSERT(manifest_open(io, root, 0, &options.manifest) == ERR_OK);
    if (log_open(io, dir, &small_config, &options, &owner, &log, &problem) == ERR_OK) {
        read_all(log);
        append_one(log);
        (void)!log_close(log);
    } else {
        ASSERT(problem.text[0] != '\0');
    }
    manifest_close(options.manifest);
    ASSERT(manifest_remove_all(io, root, 0) == ERR_OK);
    ASSERT(logdir_remove_folder(io, dir) == ERR_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    /* Kinds that came later have numbers of their own: the corpus keeps its meaning. */
    static void (*const tries[])(struct slice) = {try_snapshot, try_epochs, try_checkpoint,
                                                  try_segment};
    if (len == 0)
        return 0;
    prepare();
    struct slice rest = {data + 1, len - 1};
    if (data[0] == 'm')
        try_manifest(rest);
    else if (data[0] == 'e')
        try_entry(rest);
    else
        tries[data[0] % ARRAY_LEN(tries)](rest);
    return 0;
}
