/* Goal: old segments are read past the page cache, right and to the end, whatever happens to them
 * meanwhile.
 * Method: segments whose pages were dropped, read in pieces of many sizes by one and two readers;
 * afterwards the page cache must still be without them. Needs a file system on a disk; elsewhere
 * the reads are checked and the page cache is not. */
#include <fcntl.h>
#include <sys/mman.h>

#include "log/testing.h"

#define RECORDS       300
#define SEGMENT_PAGES 64
#define SEGMENT_BYTES (SEGMENT_PAGES * 4096)

static int setup(void **state)
{
    int failed = fixture_setup_in(state, ".");
    struct fixture *fixture = *state;
    if (failed)
        return failed;
    fixture->config.segment_bytes = SEGMENT_BYTES;
    log_set_config(fixture->log, &fixture->config);
    struct made_batch made = {.value_len = 9000};
    for (int i = 0; i < RECORDS; i++) {
        made.timestamp = 1000 + i;
        assert_int_equal(append_made(fixture, &made, i + 1 == RECORDS, NULL), ERR_OK);
    }
    log_flush(fixture->log);
    fixture_wait_idle(fixture);
    assert_true(log_segment_count(fixture->log) > 10);
    return 0;
}

/* Calls fn with the descriptor of each sealed segment. */
static void each_segment(struct fixture *fixture, void (*fn)(int fd, size_t *pages), size_t *pages)
{
    for (int64_t base = 0; base < log_active_base_offset(fixture->log); base++) {
        char path[256];
        fixture_path(fixture, base, ".log", path);
        int fd = open(path, O_RDONLY);
        if (fd < 0)
            continue;
        fn(fd, pages);
        close(fd);
    }
}

static void drop(int fd, size_t *pages)
{
    (void)pages;
    assert_int_equal(fsync(fd), 0);
    assert_int_equal(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
}

static void count_cached(int fd, size_t *pages)
{
    unsigned char resident[SEGMENT_PAGES];
    void *map = mmap(NULL, SEGMENT_BYTES, PROT_READ, MAP_SHARED, fd, 0);
    assert_true(map != MAP_FAILED);
    assert_int_equal(mincore(map, SEGMENT_BYTES, resident), 0);
    for (size_t i = 0; i < SEGMENT_PAGES; i++)
        *pages += resident[i] & 1;
    munmap(map, SEGMENT_BYTES);
}

static size_t cached_pages(struct fixture *fixture)
{
    size_t pages = 0;
    each_segment(fixture, count_cached, &pages);
    return pages;
}

/* One read; checks that whole batches follow each other from the offset on. The next offset. */
static int64_t read_some(struct fixture *fixture, int64_t offset, size_t bytes_max)
{
    struct reading reading = {.op = {.offset = offset,
                                     .end_offset = INT64_MAX,
                                     .bytes_max = bytes_max,
                                     .at_least_one = true}};
    assert_int_equal(read_wait(fixture, &reading), ERR_OK);
    struct batches batches;
    struct batch batch;
    batches_init(&batches, reading.op.batches);
    int64_t next = offset;
    while (batches_next(&batches, &batch)) {
        assert_true(batch_crc_is_valid(&batch));
        assert_int_equal(batch.base_offset, next);
        next = batch.last_offset + 1;
    }
    assert_true(next > offset);
    rbuf_unref(reading.op.buf);
    return next;
}

static void read_to_end(struct fixture *fixture, int64_t offset, size_t bytes_max)
{
    while (offset < log_end_offset(fixture->log))
        offset = read_some(fixture, offset, bytes_max);
    assert_int_equal(offset, RECORDS);
    fixture_wait_idle(fixture);
}

static void test_sizes(void **state)
{
    struct fixture *fixture = *state;
    static const size_t sizes[] = {1, 9990, 40960, 50000, 163840, 1 << 20};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        each_segment(fixture, drop, NULL);
        read_to_end(fixture, 0, sizes[i]);
    }
}

static void test_page_cache_stays_free(void **state)
{
    struct fixture *fixture = *state;
    each_segment(fixture, drop, NULL);
    if (cached_pages(fixture) > 0)
        skip(); /* as on a file system in memory */
    read_to_end(fixture, 0, 60000);
    /* Looking for the first batch goes through it: what the system reads ahead there is all. */
    assert_true(cached_pages(fixture) <= SEGMENT_PAGES);
}

/* Each finds what the other read ahead, or it is gone; both get all of it. */
static void test_two_readers(void **state)
{
    struct fixture *fixture = *state;
    int64_t at[2] = {0, 0};
    each_segment(fixture, drop, NULL);
    for (int turn = 0; at[0] < RECORDS || at[1] < RECORDS; turn++) {
        int who = turn % 3 == 0;
        if (at[who] < RECORDS)
            at[who] = read_some(fixture, at[who], who ? 30000 : 70000);
    }
}

/* What was read ahead is of segments that are gone, or cut, when the reader comes. */
static void test_segments_go(void **state)
{
    struct fixture *fixture = *state;
    each_segment(fixture, drop, NULL);
    int64_t next = read_some(fixture, 0, 50000);
    fixture_wait_idle(fixture);
    fixture->config.retention_bytes = 600000;
    log_set_config(fixture->log, &fixture->config);
    uint32_t removed;
    assert_int_equal(log_retain(fixture->log, 5000, &removed), ERR_OK);
    assert_true(removed > 3);
    struct reading reading = {
        .op = {.offset = next, .end_offset = INT64_MAX, .bytes_max = 50000, .at_least_one = true}};
    assert_int_equal(read_wait(fixture, &reading), ERR_OFFSET_OUT_OF_RANGE);

    int64_t start = log_start_offset(fixture->log);
    next = read_some(fixture, start, 50000);
    fixture_wait_idle(fixture);
    assert_int_equal(log_truncate_to(fixture->log, next), ERR_OK);
    reading = (struct reading){
        .op = {.offset = next, .end_offset = INT64_MAX, .bytes_max = 50000, .at_least_one = true}};
    assert_int_equal(read_wait(fixture, &reading), ERR_OK);
    assert_null(reading.op.buf);
}

/* The reader is back before the read ahead has ended, and asks for less than it reads. */
static void test_bounds(void **state)
{
    struct fixture *fixture = *state;
    each_segment(fixture, drop, NULL);
    int64_t next = read_some(fixture, 0, 80000);
    struct reading reading = {
        .op = {.offset = next, .end_offset = next + 1, .bytes_max = 80000, .at_least_one = true}};
    assert_int_equal(read_wait(fixture, &reading), ERR_OK);
    struct batch batch;
    assert_int_equal(batch_load(reading.op.batches, &batch), ERR_OK);
    assert_int_equal(batch.base_offset, next);
    assert_int_equal(batch.size, reading.op.batches.len);
    rbuf_unref(reading.op.buf);
    read_to_end(fixture, next, 20000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_sizes, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_page_cache_stays_free, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_two_readers, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_segments_go, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_bounds, setup, fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
