/* Goal: each name that Apache Kafka or this program gives a file is known where it belongs, and no
 * other. Method: both kinds listed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "log/names.h"

struct name {
    const char *text;
    bool is_dir, is_known;
};

static void test_log_folder(void **state)
{
    static const struct name names[] = {
        {"meta.properties", false, true},
        {"meta.properties.tmp", false, true},
        {"bootstrap.checkpoint", false, true},
        {".lock", false, true},
        {".kafka_cleanshutdown", false, true},
        {"recovery-point-offset-checkpoint", false, true},
        {"log-start-offset-checkpoint.tmp", false, true},
        {"replication-offset-checkpoint", false, true},
        {"cleaner-offset-checkpoint", false, true},
        {"taffrail-manifest-0", false, true},
        {"taffrail-manifest-63.tmp", false, true},
        {"taffrail-wal-0-17", false, true},
        {"t-0", true, true},
        {"a-b.c-12", true, true},
        {"__cluster_metadata-0", true, true},
        {"t-0.0123456789abcdef0123456789abcdef-delete", true, true},
        {"t-0.0123456789abcdef0123456789abcdef-future", true, true},
        {"t-0.0123456789abcdef0123456789abcdef-stray", true, true},
        {"remote-log-index-cache", true, true},
        {"", false, false},
        {".tmp", false, false},
        {"t-0", false, false},
        {"meta.properties", true, false},
        {"meta.properties.old", false, false},
        {"taffrail-manifest-", false, false},
        {"taffrail-manifest-x", false, false},
        {"taffrail-wal-0", false, false},
        {"taffrail-wal-0-1-2", false, false},
        {"taffrail-wal--1", false, false},
        {"00000000000000000000.log", false, false},
        {"lost+found", true, false},
        {"t", true, false},
        {"t-", true, false},
        {"-0", true, false},
        {"t-+1", true, false},
        {"t-99999999999", true, false},
        {"t-0-delete", true, false},
        {"backup.x-delete", true, false},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (name_is_of_log_folder(str_of(names[i].text), names[i].is_dir) != names[i].is_known)
            fail_msg("'%s'", names[i].text);
    }
}

static void test_partition(void **state)
{
    static const struct name names[] = {
        {"00000000000000000000.log", false, true},
        {"09223372036854775807.index", false, true},
        {"00000000000000000042.timeindex", false, true},
        {"00000000000000000042.txnindex", false, true},
        {"00000000000000000042.snapshot", false, true},
        {"00000000000000000042.snapshot.deleted", false, true},
        {"00000000000000000042.log.cleaned", false, true},
        {"00000000000000000042.index.swap", false, true},
        {"00000000000000000042.snapshot.tmp", false, true},
        {"00000000000000000042.log.cut-4711", false, true},
        {"00000000000000000042.timeindex.bad", false, true},
        {"leader-epoch-checkpoint", false, true},
        {"leader-epoch-checkpoint.bad", false, true},
        {"partition.metadata", false, true},
        {"taffrail-log-start", false, true},
        {"taffrail-write-failed", false, true},
        {"", false, false},
        {".", false, false},
        {"0000000000000000042.log", false, false},
        {"000000000000000000042.log", false, false},
        {"0000000000000000004x.log", false, false},
        {"00000000000000000042", false, false},
        {"00000000000000000042.", false, false},
        {"00000000000000000042.logs", false, false},
        {"00000000000000000042.log.old", false, false},
        {"00000000000000000042.log.cut-", false, false},
        {"00000000000000000042.log (copy)", false, false},
        {"00000000000000000042.log", true, false},
        {"quorum-state", false, false},
        {"meta.properties", false, false},
        {"README", false, false},
        {"sub-0", true, false},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (name_is_of_partition(STR("t-0"), str_of(names[i].text), names[i].is_dir) !=
            names[i].is_known)
            fail_msg("'%s'", names[i].text);
    }
}

static void test_metadata(void **state)
{
    static const struct name names[] = {
        {"quorum-state", false, true},
        {"00000000000000000000-0000000000.checkpoint", false, true},
        {"00000000000000000042-0000000007.checkpoint.part", false, true},
        {"00000000000000000042-0000000007.checkpoint.deleted", false, true},
        {"00000000000000000042-0000000007.checkpoint.tmp", false, true},
        {"00000000000000000000.log", false, true},
        {"bootstrap.checkpoint", false, false},
        {"00000000000000000042.checkpoint", false, false},
        {"0000000000000000042-00000000007.checkpoint", false, false},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (name_is_of_partition(STR("__cluster_metadata-0"), str_of(names[i].text), false) !=
            names[i].is_known)
            fail_msg("'%s'", names[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_log_folder),
        cmocka_unit_test(test_partition),
        cmocka_unit_test(test_metadata),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
