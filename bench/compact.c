/* How fast one log is compacted, and in how much memory.
 *
 *   bench_compact DIR KEYS RECORDS [VALUE_BYTES [MAP_MIB [CODEC]]]
 *
 * Writes RECORDS records over KEYS keys into a log in DIR, a new folder, as a broker would: batches
 * of 500, segments of 512 MiB. The first KEYS records have each key once, what follows goes through
 * them again in another order. Then passes are run until nothing is left to do, with MAP_MIB of
 * memory for keys (128), and each is told with its bytes, its seconds and the process's peak; the
 * CPU time says how fast it would be alone on a machine. At the end the log is read: each key must
 * be there, with its newest record last. Leaves DIR. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/assert.h"
#include "bench/measure.h"
#include "log/compact.h"
#include "log/logdir.h"
#include "wire/batch_builder.h"

#define BATCH_RECORDS 500
#define KEY_BYTES     16

struct bench {
    struct io *io;
    struct log *log;
    struct log_owner owner;
    struct compressors compressors;
    uint64_t keys, records;
    size_t value_bytes;
    enum compression codec;
    bool is_waiting;
    struct compact_result result;
    double moved_mib;
};

static double now_s(void)
{
    return (double)now_ns() / 1e9;
}

static double peak_mib(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)usage.ru_maxrss / 1024;
}

static void on_advance(struct log_owner *owner, size_t bytes)
{
    (void)owner, (void)bytes;
}

static void on_failure(struct log_owner *owner, enum err err, const char *what)
{
    (void)owner;
    fprintf(stderr, "the log failed: %s (%s)\n", what, err_text(err));
    exit(1);
}

static void check(enum err err, const char *what)
{
    if (err == ERR_OK)
        return;
    fprintf(stderr, "%s: %s\n", what, err_text(err));
    exit(1);
}

/* --- writing --- */

/* The n-th record's key: all of them in one order, then in others. */
static uint64_t key_of(const struct bench *b, uint64_t n)
{
    uint64_t round = n / b->keys;
    return round == 0 ? n : (n % b->keys * 7919 + round * 104729) % b->keys;
}

struct appending {
    struct log_append op;
    bool is_done;
};

static void on_appended(struct log_append *op)
{
    CONTAINER_OF(op, struct appending, op)->is_done = true;
}

static void append(struct bench *b, uint64_t first, uint64_t count, struct buf *bytes)
{
    struct batch_options options = BATCH_OPTIONS_DEFAULT;
    struct batch_builder builder;
    int32_t min, max;
    static uint8_t value[1 << 16];
    options.compression = b->codec;
    compression_levels(b->codec, &min, &max, &options.level);
    buf_reset(bytes);
    batch_builder_init(&builder, bytes, &options);
    for (uint64_t n = first; n < first + count; n++) {
        char key[KEY_BYTES + 1];
        snprintf(key, sizeof(key), "%016" PRIx64, key_of(b, n));
        memcpy(value, &n, sizeof(n));
        struct record_fields fields = {.timestamp = (int64_t)n,
                                       .key = slice_of(key, KEY_BYTES),
                                       .value = slice_of(value, b->value_bytes)};
        check(batch_builder_append(&builder, &fields), "a record");
    }
    check(batch_builder_finish(&builder, &b->compressors), "a batch");
    batch_builder_deinit(&builder);
    struct appending out = {.op = {.kind = LOG_APPEND_LEADER,
                                   .batches = bytes->data,
                                   .len = bytes->len,
                                   .now_ms = io_wall_ms(b->io),
                                   .done = on_appended}};
    log_append(b->log, &out.op);
    while (!out.is_done)
        io_run_once(b->io, UINT64_MAX);
    check(out.op.err, "an append");
}

static void fill(struct bench *b)
{
    struct buf bytes;
    double begun = now_s();
    buf_init(&bytes, BUF_NO_LIMIT);
    for (uint64_t n = 0; n < b->records; n += BATCH_RECORDS) {
        append(b, n, b->records - n < BATCH_RECORDS ? b->records - n : BATCH_RECORDS, &bytes);
        if (n % (BATCH_RECORDS * UINT64_C(200)) == 0)
            log_flush(b->log);
    }
    buf_deinit(&bytes);
    log_flush(b->log);
    while (!log_is_idle(b->log))
        io_run_once(b->io, UINT64_MAX);
    printf("written: %" PRIu64 " records, %" PRIu64 " keys, %.1f MiB, %.1f s; peak %.0f MiB\n",
           b->records, b->keys, (double)log_size(b->log) / 1048576, now_s() - begun, peak_mib());
}

/* --- passes --- */

static void on_pass_done(void *arg, enum err err, const struct compact_result *result,
                         const char *why)
{
    struct bench *b = arg;
    check(err, why[0] ? why : "a pass");
    b->result = *result;
    b->is_waiting = false;
}

static bool pass(struct bench *b, uint64_t map_bytes)
{
    struct compact_plan plan;
    check(log_compact_look(b->log, INT64_MAX, io_wall_ms(b->io), &plan), "a look");
    if (!plan.is_due)
        return false;
    struct compact_options options = {.map_bytes_max = map_bytes,
                                      .load_factor = 0.9,
                                      .now_ms = io_wall_ms(b->io),
                                      .done = on_pass_done,
                                      .arg = b};
    double begun = now_s(), cpu_begun = cpu_s();
    b->is_waiting = true;
    check(log_compact_begin(b->log, &plan, &options), "a pass");
    while (b->is_waiting)
        io_run_once(b->io, UINT64_MAX);
    double seconds = now_s() - begun;
    (void)log_tick(b->log, io_wall_ms(b->io), false); /* what was replaced goes */
    double read = (double)b->result.bytes_read / 1048576;
    double written = (double)b->result.bytes_written / 1048576;
    printf("pass to %lld: %.1f MiB read, %.1f written, %u segments kept, %.1f s (CPU %.1f), "
           "%.0f MiB/s; peak %.0f MiB\n",
           (long long)b->result.end_offset, read, written, b->result.segments_kept, seconds,
           cpu_s() - cpu_begun, (read + written) / seconds, peak_mib());
    b->moved_mib += read + written;
    fflush(stdout);
    return true;
}

/* --- checking --- */

#define SEEN UINT64_MAX

struct checked {
    struct bench *b;
    uint64_t *newest; /* [key]: n + 1 */
    uint64_t records;
    struct buf scratch;
};

static enum err on_batch(void *arg, const struct batch *batch)
{
    struct checked *checked = arg;
    struct records records;
    struct record record;
    TRY(records_init(&records, batch, &checked->b->compressors, &checked->scratch));
    while (records_next(&records, &record)) {
        uint64_t n;
        memcpy(&n, record.value.data, sizeof(n));
        uint64_t key = key_of(checked->b, n);
        if (checked->newest[key] > n)
            return ERR_INVALID_RECORD;
        checked->newest[key] = n + 1;
        checked->records++;
    }
    return records.err;
}

static void check_log(struct bench *b)
{
    struct checked checked = {.b = b};
    checked.newest = calloc(b->keys, sizeof(*checked.newest));
    if (!checked.newest)
        check(ERR_NOMEM, "the check");
    buf_init(&checked.scratch, (size_t)1 << 28);
    check(log_each_batch(b->log, 0, on_batch, &checked), "a read");
    for (uint64_t n = b->records; n-- > 0;) {
        uint64_t *newest = &checked.newest[key_of(b, n)];
        if (*newest != n + 1 && *newest != SEEN) {
            fprintf(stderr, "record %" PRIu64 ", the newest of its key, is not there\n", n);
            exit(1);
        }
        *newest = SEEN;
    }
    printf("left: %" PRIu64 " records, %.1f MiB, %u segments; all keys are right\n",
           checked.records, (double)log_size(b->log) / 1048576, log_segment_count(b->log));
    buf_deinit(&checked.scratch);
    free(checked.newest);
}

static void open_log(struct bench *b, const char *dir)
{
    static const struct log_config config = {
        .segment_bytes = 512 << 20,
        .segment_ms = INT64_MAX,
        .segment_index_bytes = 10 << 20,
        .index_interval_bytes = 4096,
        .retention_ms = -1,
        .retention_bytes = -1,
        .flush_messages = INT64_MAX,
        .flush_ms = INT64_MAX,
        .producer_expiration_ms = 86400000,
        .is_compacted = true,
        .max_compaction_lag_ms = 1,
    };
    struct log_open_options options = {.clean_shutdown = true, .log_start_offset = -1};
    struct log_problem problem;
    struct uuid id = {{1}};
    char path[256];
    snprintf(path, sizeof(path), "%s/bench-0", dir);
    check(io_mkdir(b->io, dir), dir);
    check(log_create(b->io, path, id), path);
    check(log_open(b->io, path, &config, &options, &b->owner, &b->log, &problem), problem.text);
}

int main(int argc, char **argv)
{
    if (argc < 4 || argc > 7) {
        fprintf(stderr, "usage: %s DIR KEYS RECORDS [VALUE_BYTES [MAP_MIB [CODEC]]]\n", argv[0]);
        return 2;
    }
    struct bench b = {.owner = {on_advance, on_failure},
                      .keys = strtoull(argv[2], NULL, 10),
                      .records = strtoull(argv[3], NULL, 10),
                      .value_bytes = argc > 4 ? strtoul(argv[4], NULL, 10) : 100};
    uint64_t map_mib = argc > 5 ? strtoull(argv[5], NULL, 10) : 128;
    if (b.keys == 0 || b.records == 0 || b.value_bytes < 8 || b.value_bytes > 1 << 16 ||
        (argc > 6 && !compression_parse(str_of(argv[6]), &b.codec))) {
        fprintf(stderr,
                "KEYS and RECORDS from 1 on, VALUE_BYTES from 8 to 65536, CODEC none, gzip, "
                "snappy, lz4 or zstd\n");
        return 2;
    }
    check(io_real_create(IO_DISK_AUTO, &b.io), "the io");
    compressors_init(&b.compressors);
    open_log(&b, argv[1]);
    fill(&b);
    double begun = now_s(), cpu_begun = cpu_s(), log_mib = (double)log_size(b.log) / 1048576;
    while (pass(&b, map_mib << 20))
        ;
    double seconds = now_s() - begun;
    printf("all passes: %.1f s (CPU %.1f), %.1f MiB moved, %.0f MiB/s; %.0f MiB/s of the log\n",
           seconds, cpu_s() - cpu_begun, b.moved_mib, b.moved_mib / seconds, log_mib / seconds);
    check_log(&b);
    while (!log_is_idle(b.log))
        io_run_once(b.io, UINT64_MAX);
    check(log_close(b.log), "the close");
    compressors_deinit(&b.compressors);
    io_destroy(b.io);
    return 0;
}
