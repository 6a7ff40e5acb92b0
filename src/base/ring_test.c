/* Goal: items come out in order, once, complete, and a full or empty ring says so.
 * Method: the edges in one thread, then two threads that pass a hundred thousand messages through
 * a tiny ring (run it under ThreadSanitizer as well). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <sched.h>

#include "base/bytes.h"
#include "base/ring.h"

static void test_edges(void **state)
{
    (void)state;
    struct ring ring;
    assert_int_equal(ring_init(&ring, 4), ERR_OK);
    int items[4];
    assert_null(ring_pop(&ring));
    /* More rounds than slots, so that both indices pass the end. */
    for (int round = 0; round < 10; round++) {
        assert_true(ring_is_empty(&ring));
        for (size_t i = 0; i < 4; i++)
            assert_true(ring_push(&ring, &items[i]));
        assert_false(ring_push(&ring, &items[0]));
        assert_false(ring_is_empty(&ring));
        for (size_t i = 0; i < 4; i++)
            assert_ptr_equal(ring_pop(&ring), &items[i]);
        assert_null(ring_pop(&ring));
    }
    ring_deinit(&ring);
}

static void test_indices_wrap(void **state)
{
    (void)state;
    struct ring ring;
    assert_int_equal(ring_init(&ring, 2), ERR_OK);
    ring.head = ring.tail = ring.head_seen = ring.tail_seen = SIZE_MAX;
    int a, b;
    assert_true(ring_push(&ring, &a));
    assert_true(ring_push(&ring, &b));
    assert_false(ring_push(&ring, &a));
    assert_ptr_equal(ring_pop(&ring), &a);
    assert_ptr_equal(ring_pop(&ring), &b);
    assert_true(ring_is_empty(&ring));
    ring_deinit(&ring);
}

#define MESSAGES ((uint64_t)100000)

struct message {
    uint64_t number;
};

struct channel {
    struct ring ring;
    struct message messages[16];
};

static void *producer_run(void *arg)
{
    struct channel *channel = arg;
    for (uint64_t i = 0; i < MESSAGES; i++) {
        /* To push message i - 1 the producer saw that i - 9 was popped, thus i - 10 was read. */
        struct message *message = &channel->messages[i % ARRAY_LEN(channel->messages)];
        message->number = i;
        while (!ring_push(&channel->ring, message))
            sched_yield();
    }
    return NULL;
}

static void test_two_threads(void **state)
{
    (void)state;
    static struct channel channel;
    assert_int_equal(ring_init(&channel.ring, 8), ERR_OK);
    pthread_t producer;
    assert_int_equal(pthread_create(&producer, NULL, producer_run, &channel), 0);
    for (uint64_t want = 0; want < MESSAGES; want++) {
        struct message *message;
        while (!(message = ring_pop(&channel.ring)))
            sched_yield();
        assert_true(message->number == want);
    }
    assert_int_equal(pthread_join(producer, NULL), 0);
    assert_true(ring_is_empty(&channel.ring));
    ring_deinit(&channel.ring);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_edges),
        cmocka_unit_test(test_indices_wrap),
        cmocka_unit_test(test_two_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
