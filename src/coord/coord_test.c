/* The frame: which partition has a group, timers, operations that wait. */
#include "coord/testing.h"

/* The numbers are Java's. */
static void test_partition_of(void **state)
{
    char many[1000];
    (void)state;
    memset(many, 'x', sizeof(many));
    assert_int_equal(coord_partition_of(STR(""), 50), 0);
    assert_int_equal(coord_partition_of(STR("a"), 50), 47);
    assert_int_equal(coord_partition_of(STR("my-group"), 50), 12);
    assert_int_equal(coord_partition_of(STR("console-consumer-12345"), 50), 6);
    assert_int_equal(coord_partition_of(STR("ä€😀"), 50), 1);
    assert_int_equal(coord_partition_of(STR("polygenelubricants"), 50), 0);
    assert_int_equal(coord_partition_of((struct str){many, sizeof(many)}, 50), 12);
    assert_int_equal(coord_partition_of(STR("\xff\xc3"), 50),
                     coord_partition_of(STR("\xef\xbf\xbd\xef\xbf\xbd"), 50));
    assert_int_equal(coord_partition_of(STR("anything"), 1), 0);
}

struct test_timer {
    struct coord_timer timer;
    int fired;
};

static void on_test_timer(struct coord *coord, const struct coord_call *call,
                          struct coord_timer *timer)
{
    struct test_timer *own = CONTAINER_OF(timer, struct test_timer, timer);
    own->fired++;
    if (own->fired < 3)
        coord_timer_set(coord, timer, call->now_ms + 10);
}

static void test_timers(void **state)
{
    struct test_coord t;
    struct test_timer a = {0}, b = {0};
    (void)state;
    test_init(&t);
    coord_timer_init(&a.timer, on_test_timer);
    coord_timer_init(&b.timer, on_test_timer);
    coord_timer_set(t.coord, &a.timer, t.now_ms + 100);
    coord_timer_set(t.coord, &b.timer, t.now_ms + 50);
    assert_int_equal(coord_deadline(t.coord), t.now_ms + 50);
    coord_timer_set(t.coord, &b.timer, t.now_ms + 200);
    assert_int_equal(coord_deadline(t.coord), t.now_ms + 100);
    test_pass(&t, 119);
    assert_int_equal(a.fired, 2);
    test_pass(&t, 1);
    assert_int_equal(a.fired, 3);
    coord_timer_stop(t.coord, &b.timer);
    coord_timer_stop(t.coord, &b.timer);
    test_pass(&t, 1000);
    assert_int_equal(a.fired, 3);
    assert_int_equal(b.fired, 0);
    test_end(&t);
}

static void test_forget(void **state)
{
    struct test_coord t;
    struct list waiting;
    struct coord_op one = {0}, other = {0};
    (void)state;
    test_init(&t);
    list_init(&waiting);
    coord_op_wait(&one, &waiting);
    coord_op_wait(&other, &waiting);
    coord_forget(&one, &t.done);
    assert_ptr_equal(test_done(&t), &one);
    assert_int_equal(one.err, ERR_NOT_COORDINATOR);
    coord_forget(&one, &t.done);
    assert_null(test_done(&t));
    coord_op_end(&other, ERR_OK, test_call(&t));
    coord_forget(&other, &t.done);
    assert_ptr_equal(test_done(&t), &other);
    assert_int_equal(other.err, ERR_OK);
    assert_true(list_is_empty(&waiting));
    test_end(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_partition_of),
        cmocka_unit_test(test_timers),
        cmocka_unit_test(test_forget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
