/* Our side of the differential batch test; BatchDifferential.java is Apache Kafka's.
 *
 *   driver generate N SEED    N invented batches, one in hexadecimal on each line
 *   driver describe           reads such lines; prints each batch's fields and records
 *   driver damage N SEED      N cases for judge: "FLAGS HEX", most of them damaged
 *   driver judge              reads such lines; prints for each what a broker answers
 *   driver compare A B        two outputs of judge, ours and Kafka's, and the cases on stdin
 *
 * FLAGS: c the topic is compacted, a it has log append time, p the damage is within compressed
 * records. A judgement: wire code, [record indexes], and if accepted the greatest timestamp. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "wire/batch_builder.h"
#include "wire/batch_check.h"
#include "wire/errors.h"
#include "wire/testing.h"

#define NOW_MS          INT64_C(2000000)
#define BEFORE_MAX_MS   INT64_C(1500000)
#define AFTER_MAX_MS    INT64_C(3600000)
#define PRODUCE_VERSION 9
#define LEADER_EPOCH    7
#define UNPACKED_MAX    ((size_t)64 << 20)

static struct compressors compressors;
static struct buf scratch;

static void must(enum err err, const char *what)
{
    if (err == ERR_OK)
        return;
    fprintf(stderr, "driver: %s: %s\n", what, err_text(err));
    exit(2);
}

static void print_hex(struct slice bytes)
{
    for (size_t i = 0; i < bytes.len; i++)
        printf("%02x", bytes.data[i]);
}

static void print_nullable(struct slice bytes)
{
    if (bytes.data)
        print_hex(bytes);
    else
        printf("null");
}

/* --- generate --- */

static struct slice random_bytes(struct rng *rng, uint8_t *to, size_t len_max, bool nullable)
{
    if (nullable && rng_chance(rng, 1, 5))
        return SLICE_NULL;
    size_t len = (size_t)rng_below(rng, rng_chance(rng, 1, 20) ? len_max + 1 : 12);
    bool is_text = rng_chance(rng, 1, 2);
    for (size_t i = 0; i < len; i++)
        to[i] = is_text ? (uint8_t)('a' + i % 7) : (uint8_t)rng_u64(rng);
    return slice_of(to, len);
}

static void random_options(struct rng *rng, struct batch_options *options)
{
    *options = (struct batch_options)BATCH_OPTIONS_DEFAULT;
    int32_t min, max;
    options->compression = (enum compression)rng_below(rng, COMPRESSION_COUNT);
    compression_levels(options->compression, &min, &max, &options->level);
    options->leader_epoch = (int32_t)rng_range(rng, -1, 100);
    if (rng_chance(rng, 1, 2)) {
        options->producer_id = rng_range(rng, 0, INT64_MAX);
        options->producer_epoch = (int16_t)rng_range(rng, 0, INT16_MAX);
        options->base_sequence = (int32_t)rng_range(rng, 0, INT32_MAX);
        options->is_transactional = rng_chance(rng, 1, 2);
    }
}

static void append_random(struct rng *rng, struct batch_builder *builder, int64_t time_base)
{
    static uint8_t key[4000], value[70000], header_keys[4][300], header_values[4][300];
    struct record_header headers[4];
    struct record_fields fields = {
        .timestamp = time_base + rng_range(rng, -1000, 100000),
        .key = random_bytes(rng, key, sizeof(key), true),
        .value = random_bytes(rng, value, sizeof(value), true),
        .headers = headers,
        .header_count = rng_chance(rng, 1, 3) ? (size_t)rng_below(rng, 4) : 0,
    };
    for (size_t i = 0; i < fields.header_count; i++) {
        struct slice name = random_bytes(rng, header_keys[i], 200, false);
        for (size_t at = 0; at < name.len; at++)
            header_keys[i][at] = (uint8_t)('a' + header_keys[i][at] % 26);
        headers[i] = (struct record_header){{(const char *)name.data, name.len},
                                            random_bytes(rng, header_values[i], 200, true)};
    }
    must(batch_builder_append(builder, &fields), "append");
}

static void random_batch(struct rng *rng, struct buf *out, struct batch_options *options,
                         int64_t time_base)
{
    random_options(rng, options);
    struct batch_builder builder;
    batch_builder_init(&builder, out, options);
    int64_t count = rng_chance(rng, 1, 30) ? 300 : rng_range(rng, 1, 6);
    while (count-- > 0)
        append_random(rng, &builder, time_base);
    must(batch_builder_finish(&builder, &compressors), "finish");
    batch_builder_deinit(&builder);
}

static void generate(struct rng *rng, long count)
{
    struct buf out;
    buf_init(&out, BUF_NO_LIMIT);
    for (; count > 0; count--) {
        struct batch_options options;
        buf_reset(&out);
        random_batch(rng, &out, &options, rng_range(rng, 2000, INT64_C(1) << 44));
        print_hex(buf_slice(&out));
        putchar('\n');
    }
    buf_deinit(&out);
}

/* --- describe --- */

static void describe_records(const struct batch *batch)
{
    struct records records;
    struct record record;
    must(records_init(&records, batch, &compressors, &scratch), "records");
    while (records_next(&records, &record)) {
        printf(" (%lld %lld ", (long long)record.offset, (long long)record.timestamp);
        print_nullable(record.key);
        putchar(' ');
        print_nullable(record.value);
        struct record_header header;
        while (record_header_next(&record.headers, &header)) {
            putchar(' ');
            print_hex(slice_of(header.key.data, header.key.len));
            putchar('=');
            print_nullable(header.value);
        }
        putchar(')');
    }
    must(records.err, "a record");
}

static void describe(struct slice bytes)
{
    struct batch batch;
    enum compression compression;
    must(batch_load(bytes, &batch), "load");
    must(batch_crc_is_valid(&batch) ? ERR_OK : ERR_CORRUPT_MESSAGE, "checksum");
    must(batch_compression(&batch, &compression) ? ERR_OK : ERR_CORRUPT_MESSAGE, "compression");
    printf("%lld-%lld epoch=%d %s txn=%d control=%d append=%d time=%lld-%lld producer=%lld/%d/%d-%d"
           " count=%d",
           (long long)batch.base_offset, (long long)batch.last_offset, batch.leader_epoch,
           compression_name(compression), batch_is_transactional(&batch), batch_is_control(&batch),
           batch_has_log_append_time(&batch), (long long)batch.base_timestamp,
           (long long)batch.max_timestamp, (long long)batch.producer_id, batch.producer_epoch,
           batch.base_sequence, batch_last_sequence(&batch), batch.count);
    describe_records(&batch);
    putchar('\n');
}

/* --- damage --- */

static uint8_t odd_byte(struct rng *rng, uint8_t before)
{
    static const uint8_t likely[] = {0, 1, 2, 3, 4, 5, 6, 8, 9, 16, 32, 33, 0x7f, 0x80, 0xff};
    if (rng_chance(rng, 1, 4))
        return (uint8_t)rng_u64(rng);
    return rng_chance(rng, 1, 4) ? before ^ 1 : likely[rng_below(rng, sizeof(likely))];
}

static void relength(struct buf *bytes)
{
    be32_store(bytes->data + BATCH_AT_LENGTH, (uint32_t)(bytes->len - BATCH_LOG_OVERHEAD));
}

/* One change; true if it is within the records. The last bytes of a field matter most. */
static bool damage_once(struct rng *rng, struct buf *bytes)
{
    static const size_t header_at[] = {0,  7,  8,  11, 12, 16, 21, 22, 22, 22, 23, 26, 26,
                                       27, 34, 35, 42, 43, 50, 51, 53, 56, 57, 60, 60};
    switch (rng_below(rng, 10)) {
    case 0:
    case 1:
    case 2:
    case 3: {
        size_t at = header_at[rng_below(rng, ARRAY_LEN(header_at))];
        bytes->data[at] = odd_byte(rng, bytes->data[at]);
        return false;
    }
    case 4:
        bytes->len = BATCH_HEADER_BYTES + rng_below(rng, bytes->len - BATCH_HEADER_BYTES + 1);
        relength(bytes);
        return true;
    case 5:
        buf_put_u8(bytes, odd_byte(rng, 0));
        relength(bytes);
        return true;
    default: {
        size_t at = BATCH_HEADER_BYTES + rng_below(rng, bytes->len - BATCH_HEADER_BYTES);
        bytes->data[at] = odd_byte(rng, bytes->data[at]);
        return true;
    }
    }
}

static void damage_case(struct rng *rng, struct buf *bytes)
{
    static const int64_t time_bases[] = {1000000, 1000000, 1000000, 501000, 5599000, 100, 0};
    struct batch_options options;
    buf_reset(bytes);
    random_batch(rng, bytes, &options, time_bases[rng_below(rng, ARRAY_LEN(time_bases))]);
    bool in_records = false;
    for (uint64_t times = rng_below(rng, 3); times > 0 && bytes->len > BATCH_HEADER_BYTES; times--)
        in_records |= damage_once(rng, bytes);
    if (rng_chance(rng, 9, 10))
        be32_store(bytes->data + BATCH_AT_CRC, batch_crc_compute(buf_slice(bytes)));
    if (rng_chance(rng, 1, 30))
        bytes->len = rng_below(rng, bytes->len);
    if (rng_chance(rng, 1, 30)) {
        size_t len = (size_t)rng_below(rng, bytes->len + 1);
        if (buf_reserve(bytes, len))
            buf_put(bytes, bytes->data, len);
    }
    /* A damaged header may also make the records be read with another compression. */
    bool is_plain = options.compression == COMPRESSION_NONE &&
                    bytes->len > BATCH_AT_ATTRIBUTES + 1 &&
                    (bytes->data[BATCH_AT_ATTRIBUTES + 1] & BATCH_ATTR_COMPRESSION) == 0;
    printf("-%s%s%s ", rng_chance(rng, 1, 4) ? "c" : "", rng_chance(rng, 1, 4) ? "a" : "",
           in_records && !is_plain ? "p" : "");
    print_hex(buf_slice(bytes));
    putchar('\n');
}

static void damage(struct rng *rng, long count)
{
    struct buf bytes;
    buf_init(&bytes, BUF_NO_LIMIT);
    for (; count > 0; count--)
        damage_case(rng, &bytes);
    buf_deinit(&bytes);
}

/* --- judge --- */

static void judge(const char *flags, struct slice bytes)
{
    static struct batch_verdict verdict;
    struct batch_rules rules = {
        .produce_version = PRODUCE_VERSION,
        .now_ms = NOW_MS,
        .batch_bytes_max = INT32_MAX,
        .is_compacted = strchr(flags, 'c') != NULL,
        .has_log_append_time = strchr(flags, 'a') != NULL,
        .timestamp_before_max_ms = BEFORE_MAX_MS,
        .timestamp_after_max_ms = AFTER_MAX_MS,
        .keeps_compression = true,
    };
    enum err err = batch_check(&compressors, &scratch, bytes, &rules, &verdict);
    printf("%d [", wire_code_of_err(err));
    int32_t shown = verdict.record_error_count < BATCH_RECORD_ERRORS_MAX
                        ? verdict.record_error_count
                        : BATCH_RECORD_ERRORS_MAX;
    for (int32_t i = 0; i < shown; i++)
        printf("%s%d", i > 0 ? "," : "", verdict.record_errors[i].batch_index);
    if (err == ERR_OK)
        printf("] %lld\n", (long long)verdict.max_timestamp);
    else
        printf("] # %s\n", verdict.text);
}

/* --- compare --- */

struct lines {
    FILE *file;
    char *line;
    size_t cap;
};

static bool lines_next(struct lines *lines)
{
    ssize_t len = getline(&lines->line, &lines->cap, lines->file);
    if (len <= 0)
        return false;
    lines->line[strcspn(lines->line, "\n")] = '\0';
    return true;
}

/* Without the reason behind the "#". */
static bool is_same(const char *ours, const char *theirs)
{
    size_t ours_len = strcspn(ours, "#"), theirs_len = strcspn(theirs, "#");
    while (ours_len > 0 && ours[ours_len - 1] == ' ')
        ours_len--;
    while (theirs_len > 0 && theirs[theirs_len - 1] == ' ')
        theirs_len--;
    return ours_len == theirs_len && memcmp(ours, theirs, ours_len) == 0;
}

/* Within damaged compressed records Kafka reads records while it unpacks, we after; it does not see
 * records that are longer than they say; and the libraries differ in what they call damaged. So
 * there the answers may differ, but what only we accept must be what Kafka itself trips over. */
static bool is_excused(const char *flags, const char *ours, const char *theirs)
{
    bool we_accept = strncmp(ours, "0 ", 2) == 0;
    return strchr(flags, 'p') != NULL && (!we_accept || strncmp(theirs, "-1 ", 3) == 0);
}

static int compare(const char *ours_path, const char *theirs_path)
{
    struct lines cases = {.file = stdin};
    struct lines ours = {.file = fopen(ours_path, "r")};
    struct lines theirs = {.file = fopen(theirs_path, "r")};
    if (!ours.file || !theirs.file)
        must(ERR_NOENT, "judgements");
    long same = 0, excused = 0, differ = 0, accepted = 0;
    while (lines_next(&cases)) {
        if (!lines_next(&ours) || !lines_next(&theirs))
            must(ERR_TRUNCATED, "judgements");
        accepted += strncmp(ours.line, "0 ", 2) == 0;
        char *flags_end = strchr(cases.line, ' ');
        *flags_end = '\0';
        if (is_same(ours.line, theirs.line)) {
            same++;
        } else if (is_excused(cases.line, ours.line, theirs.line)) {
            excused++;
        } else if (differ++ < 20) {
            printf("case %ld %s %.200s\n  ours   %s\n  theirs %s\n", same + excused + differ,
                   cases.line, flags_end + 1, ours.line, theirs.line);
        }
    }
    printf("judged %ld batches (%ld accepted): %ld the same, %ld excused, %ld differ\n",
           same + excused + differ, accepted, same, excused, differ);
    return differ > 0 || same == 0;
}

int main(int argc, char **argv)
{
    compressors_init(&compressors);
    buf_init(&scratch, UNPACKED_MAX);
    const char *verb = argc > 1 ? argv[1] : "";
    if (strcmp(verb, "compare") == 0 && argc == 4)
        return compare(argv[2], argv[3]);
    if (argc == 4) {
        struct rng rng;
        rng_init(&rng, strtoull(argv[3], NULL, 10));
        long count = strtol(argv[2], NULL, 10);
        if (strcmp(verb, "generate") == 0)
            generate(&rng, count);
        else if (strcmp(verb, "damage") == 0)
            damage(&rng, count);
        else
            must(ERR_USAGE, verb);
        return 0;
    }
    struct lines lines = {.file = stdin};
    struct buf bytes;
    buf_init(&bytes, BUF_NO_LIMIT);
    while (lines_next(&lines)) {
        char *hex = strchr(lines.line, ' ');
        if (hex)
            *hex++ = '\0';
        buf_reset(&bytes);
        hex_load(&bytes, hex ? hex : lines.line);
        if (strcmp(verb, "describe") == 0)
            describe(buf_slice(&bytes));
        else if (strcmp(verb, "judge") == 0 && hex)
            judge(lines.line, buf_slice(&bytes));
        else
            must(ERR_USAGE, verb);
    }
    buf_deinit(&bytes);
    return 0;
}
