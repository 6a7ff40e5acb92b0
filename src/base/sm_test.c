/* Goal: only the moves in the table happen, and the invariant sees each one.
 * Method: a three-state machine; a forbidden move and a broken invariant must abort, seen by a
 * child process. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/sm.h"

enum door_state { DOOR_OPEN, DOOR_SHUT, DOOR_LOCKED };

struct door {
    struct sm sm;
    bool has_key;
    unsigned checks;
};

static const struct sm_state door_states[] = {
    [DOOR_OPEN] = {"open", SM_TO(DOOR_SHUT)},
    [DOOR_SHUT] = {"shut", SM_TO(DOOR_OPEN) | SM_TO(DOOR_LOCKED)},
    [DOOR_LOCKED] = {"locked", SM_TO(DOOR_SHUT)},
};

static bool door_invariant(const struct sm *sm, unsigned before)
{
    (void)before;
    struct door *door = CONTAINER_OF(sm, struct door, sm);
    door->checks++;
    return sm->state != DOOR_LOCKED || door->has_key;
}

static void door_init(struct door *door, bool has_key)
{
    *door = (struct door){.has_key = has_key};
    sm_init(&door->sm, door_states, ARRAY_LEN(door_states), DOOR_OPEN, door_invariant);
}

static void test_allowed_moves(void **state)
{
    (void)state;
    struct door door;
    door_init(&door, true);
    assert_string_equal(sm_name(&door.sm), "open");
    assert_false(sm_may_move(&door.sm, DOOR_LOCKED));
    assert_false(sm_may_move(&door.sm, DOOR_OPEN));
    assert_false(sm_may_move(&door.sm, 3));
    sm_move(&door.sm, DOOR_SHUT);
    sm_move(&door.sm, DOOR_LOCKED);
    assert_string_equal(sm_name(&door.sm), "locked");
    assert_int_equal(door.checks, 3);
}

static bool aborts(void (*run)(struct door *), struct door *door)
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        signal(SIGABRT, SIG_DFL);
        fclose(stderr);
        run(door);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void lock_while_open(struct door *door)
{
    sm_move(&door->sm, DOOR_LOCKED);
}

static void shut_and_lock(struct door *door)
{
    sm_move(&door->sm, DOOR_SHUT);
    sm_move(&door->sm, DOOR_LOCKED);
}

static void test_forbidden_moves_abort(void **state)
{
    (void)state;
    struct door door;
    door_init(&door, true);
    assert_true(aborts(lock_while_open, &door));
    assert_false(aborts(shut_and_lock, &door));
    door_init(&door, false);
    assert_true(aborts(shut_and_lock, &door));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_allowed_moves),
        cmocka_unit_test(test_forbidden_moves_abort),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
