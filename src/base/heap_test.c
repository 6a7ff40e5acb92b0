/* Goal: nodes leave in order of key and then of insertion, whatever was removed in between.
 * Method: random inserts, removals and pops against a scan of a plain array. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/heap.h"
#include "base/rng.h"

#define NODES 200

static struct heap_node *scan_first(struct heap_node *nodes)
{
    struct heap_node *first = NULL;
    for (size_t i = 0; i < NODES; i++) {
        struct heap_node *node = &nodes[i];
        if (!node->is_linked)
            continue;
        if (!first || node->key < first->key ||
            (node->key == first->key && node->turn < first->turn))
            first = node;
    }
    return first;
}

static void test_random_operations(void **state)
{
    (void)state;
    struct heap_node nodes[NODES] = {0};
    struct heap heap;
    heap_init(&heap);
    struct rng rng;
    rng_init(&rng, 1);
    size_t count = 0;
    for (int step = 0; step < 20000; step++) {
        struct heap_node *node = &nodes[rng_below(&rng, NODES)];
        if (rng_chance(&rng, 1, 3)) {
            struct heap_node *want = scan_first(nodes);
            assert_ptr_equal(heap_peek(&heap), want);
            assert_ptr_equal(heap_pop(&heap), want);
            count -= want != NULL;
        } else if (node->is_linked) {
            heap_remove(&heap, node);
            count--;
        } else {
            heap_insert(&heap, node, rng_below(&rng, 50));
            count++;
        }
        assert_int_equal(heap.count, count);
    }
}

static void test_equal_keys_in_order(void **state)
{
    (void)state;
    struct heap_node nodes[NODES] = {0};
    struct heap heap;
    heap_init(&heap);
    for (size_t i = 0; i < NODES; i++)
        heap_insert(&heap, &nodes[i], UINT64_MAX);
    for (size_t i = 0; i < NODES; i++)
        assert_ptr_equal(heap_pop(&heap), &nodes[i]);
    assert_null(heap_pop(&heap));
    assert_null(heap_peek(&heap));
}

static void test_remove_unlinked(void **state)
{
    (void)state;
    struct heap heap;
    heap_init(&heap);
    struct heap_node node = {0};
    heap_remove(&heap, &node);
    heap_insert(&heap, &node, 3);
    heap_remove(&heap, &node);
    heap_remove(&heap, &node);
    assert_int_equal(heap.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_operations),
        cmocka_unit_test(test_equal_keys_in_order),
        cmocka_unit_test(test_remove_unlinked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
