/* Goal: of quotas and credentials the last record counts, whatever the order of an entity's parts,
 * and a removal takes one away. Method: hand-written records through an image. */
#include "meta/kept.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct arena arena;
static struct meta_records records;

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, ARENA_NO_LIMIT);
    meta_records_init(&records, &arena);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_deinit(&arena);
    return 0;
}

static void add(enum meta_type type, const void *body)
{
    int16_t version = meta_record_version(type, MV_MAXIMUM);
    assert_int_equal(meta_records_add(&records, (int16_t)type, version, body), ERR_OK);
}

static struct str name_of(const char *text)
{
    return text ? str_of(text) : STR_NULL;
}

/* `type` may be NULL: an entity of one part. */
static void add_quota(const char *user, const char *type, const char *name, const char *key,
                      double value, bool remove)
{
    struct client_quota_record *r = MSG_ARRAY(client_quota_record, &arena, 1);
    r->entity_len = type ? 2 : 1;
    r->entity = MSG_ARRAY(client_quota_record_entity, &arena, 2);
    r->entity[r->entity_len - 1].entity_type = STR("user");
    r->entity[r->entity_len - 1].entity_name = name_of(user);
    if (type) {
        r->entity[0].entity_type = str_of(type);
        r->entity[0].entity_name = name_of(name);
    }
    r->key = str_of(key);
    r->value = value;
    r->remove = remove;
    add(META_CLIENT_QUOTA, r);
}

static void add_credential(const char *user, int8_t mechanism, int32_t iterations)
{
    if (iterations > 0) {
        struct user_scram_credential_record *r = MSG_ARRAY(user_scram_credential_record, &arena, 1);
        r->name = str_of(user);
        r->mechanism = mechanism;
        r->iterations = iterations;
        add(META_USER_SCRAM_CREDENTIAL, r);
        return;
    }
    struct remove_user_scram_credential_record *r =
        MSG_ARRAY(remove_user_scram_credential_record, &arena, 1);
    r->name = str_of(user);
    r->mechanism = mechanism;
    add(META_REMOVE_USER_SCRAM_CREDENTIAL, r);
}

static struct image *image_of_records(void)
{
    struct image *empty, *image;
    struct meta_error error;
    assert_int_equal(image_create_empty(&empty), ERR_OK);
    assert_int_equal(image_apply(empty, records.items, records.count, (int64_t)records.count, 1, 1,
                                 &arena, &image, &error),
                     ERR_OK);
    image_unref(empty);
    return image;
}

static void test_quotas(void **state)
{
    (void)state;
    add_quota("a", NULL, NULL, "producer_byte_rate", 1, false);
    add_quota(NULL, NULL, NULL, "producer_byte_rate", 2, false);
    add_quota("", NULL, NULL, "producer_byte_rate", 3, false);
    add_quota("a", "client-id", "c", "producer_byte_rate", 4, false);
    add_quota("a", "zone", "c", "producer_byte_rate", 5, false); /* sorts behind user */
    add_quota("a", NULL, NULL, "consumer_byte_rate", 6, false);
    add_quota("a", NULL, NULL, "producer_byte_rate", 7, false); /* once more */
    add_quota("gone", NULL, NULL, "producer_byte_rate", 8, false);
    add_quota("gone", NULL, NULL, "producer_byte_rate", 0, true);
    add_quota("never", NULL, NULL, "producer_byte_rate", 0, true);
    add_credential("a", 1, 4096);
    struct image *image = image_of_records();
    const struct client_quota_record **quotas;
    size_t count;
    assert_int_equal(image_quotas(image, &arena, &quotas, &count), ERR_OK);
    static const double expected[] = {2, 3, 6, 7, 4, 5}; /* the default first, then by name */
    assert_int_equal(count, ARRAY_LEN(expected));
    for (size_t i = 0; i < count; i++)
        assert_true(quotas[i]->value == expected[i]);
    assert_int_not_equal(quota_entity_cmp(quotas[0], quotas[1]), 0);
    assert_int_equal(quota_entity_cmp(quotas[2], quotas[3]), 0);
    assert_true(str_eq(quotas[5]->entity[0].entity_type, STR("user")));
    image_unref(image);
}

static void test_credentials(void **state)
{
    (void)state;
    add_credential("b", 2, 8192);
    add_credential("b", 1, 4096);
    add_credential("a", 1, 5000);
    add_credential("b", 1, 6000);
    add_credential("gone", 1, 4096);
    add_credential("gone", 1, 0);
    add_credential("never", 1, 0);
    add_credential("back", 1, 4096);
    add_credential("back", 1, 0);
    add_credential("back", 1, 4097);
    add_quota("a", NULL, NULL, "producer_byte_rate", 1, false);
    struct image *image = image_of_records();
    const struct user_scram_credential_record **credentials;
    size_t count;
    assert_int_equal(image_credentials(image, &arena, &credentials, &count), ERR_OK);
    static const int32_t expected[] = {5000, 6000, 8192, 4097};
    assert_int_equal(count, ARRAY_LEN(expected));
    for (size_t i = 0; i < count; i++)
        assert_int_equal(credentials[i]->iterations, expected[i]);
    image_unref(image);
}

static void test_memory(void **state)
{
    (void)state;
    for (int i = 0; i < 1000; i++)
        add_quota("a", NULL, NULL, "producer_byte_rate", i, false);
    struct image *image = image_of_records();
    struct arena little;
    arena_init(&little, 10000);
    const struct client_quota_record **quotas;
    const struct user_scram_credential_record **credentials;
    size_t count;
    assert_int_equal(image_quotas(image, &little, &quotas, &count), ERR_NOMEM);
    assert_int_equal(image_credentials(image, &little, &credentials, &count), ERR_NOMEM);
    assert_int_equal(image_quotas(image, &arena, &quotas, &count), ERR_OK);
    assert_int_equal(count, 1);
    assert_true(quotas[0]->value == 999);
    arena_deinit(&little);
    image_unref(image);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(test_quotas),
        CASE(test_credentials),
        CASE(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
