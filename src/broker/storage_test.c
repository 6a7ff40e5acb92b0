/* Goal: a new folder is formatted as Kafka formats it and recognized afterwards; what is not ours,
 * or not for this node, is refused and left as it was; checkpoints read back what was written, and
 * any damage to one is noticed. Method: the real io on a folder under /tmp; interrupted formats are
 * made by removing what comes last; every byte of a checkpoint is flipped once. */
#include "broker/storage.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "broker/properties.h"
#include "broker/snapshot.h"
#include "meta/controller.h"
#include "wire/messages.h"

static struct io *io;
static struct arena arena;
static struct rng rng;
static char root[64];
static struct meta_error why;

static int setup(void **state)
{
    (void)state;
    strcpy(root, "/tmp/taffrail-storage-XXXXXX");
    assert_non_null(mkdtemp(root));
    assert_int_equal(io_real_create(IO_DISK_THREADS, &io), ERR_OK);
    arena_init(&arena, ARENA_NO_LIMIT);
    rng_init(&rng, 9);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof(command), "rm -rf '%s'", root);
    assert_int_equal(system(command), 0);
    io_destroy(io);
    arena_deinit(&arena);
    return 0;
}

static struct str in_root(const char *name)
{
    return arena_printf(&arena, "%s/%s", root, name);
}

static void write_text(const char *name, const char *text)
{
    FILE *file = fopen(in_root(name).data, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static struct str read_text(const char *name)
{
    uint8_t *data;
    size_t len;
    assert_int_equal(io_read_file(io, in_root(name).data, 1 << 20, &data, &len), ERR_OK);
    struct str text = arena_str(&arena, (struct str){(const char *)data, len});
    free(data);
    return text;
}

static struct broker_config config_of(const char *first, const char *second)
{
    struct broker_config config = {
        .node_id = 1,
        .controller_listener = STR("CONTROLLER"),
        .controller_host = STR("localhost"),
        .controller_port = 9093,
    };
    config.log_dirs = arena_array(&arena, 2, sizeof(*config.log_dirs));
    config.log_dirs[config.log_dir_count++] = in_root(first);
    if (second)
        config.log_dirs[config.log_dir_count++] = in_root(second);
    config.metadata_log_dir = config.log_dirs[0];
    return config;
}

static enum err open_storage(struct storage *storage, const struct broker_config *config)
{
    enum err err = storage_open(storage, io, config, STR_NULL, &rng, &why);
    if (err)
        why.text = arena_str(&arena, why.text);
    return err;
}

static void open_ok(struct storage *storage, const struct broker_config *config)
{
    if (open_storage(storage, config))
        fail_msg("%.*s", STR_ARG(why.text));
}

static void refused(const struct broker_config *config, enum err expected, const char *part)
{
    struct storage storage;
    enum err err = open_storage(&storage, config);
    storage_close(&storage, io);
    assert_int_equal(err, expected);
    if (!strstr(why.text.data, part))
        fail_msg("\"%.*s\" lacks \"%s\"", STR_ARG(why.text), part);
}

static bool exists(const char *name)
{
    return access(in_root(name).data, F_OK) == 0;
}

/* --- folders --- */

static void a_new_folder_is_formatted_once(void **state)
{
    (void)state;
    struct broker_config config = config_of("deep/a", "deep/b");
    struct storage storage;
    open_ok(&storage, &config);
    assert_true(storage.formatted_now);
    assert_int_equal(storage.dir_count, 2);
    assert_false(uuid_eq(storage.dirs[0].directory_id, storage.dirs[1].directory_id));
    assert_true(uuid_eq(storage.dirs[0].directory_id, storage.metadata_directory_id));
    assert_int_equal(storage.cluster_id.len, 22);
    assert_int_equal(storage.quorum_state.epoch, 0);
    assert_int_equal(storage.bootstrap.count, 6);
    struct str cluster_id = arena_str(&arena, storage.cluster_id);
    struct uuid directory = storage.metadata_directory_id;
    struct quorum_state_file epoch_3 = {1, 3, -1, UUID_ZERO};
    assert_int_equal(storage_save_quorum_state(&storage, io, &epoch_3), ERR_OK);
    /* Nobody else gets in meanwhile. */
    refused(&config, ERR_BUSY, "in use by another process");
    storage_close(&storage, io);
    assert_true(exists("deep/a/bootstrap.checkpoint"));
    assert_true(exists("deep/a/__cluster_metadata-0/00000000000000000000-0000000000.checkpoint"));
    assert_false(exists("deep/b/bootstrap.checkpoint"));
    struct properties found;
    size_t line;
    assert_int_equal(properties_parse(read_text("deep/b/meta.properties"), &arena, &found, &line),
                     ERR_OK);
    assert_int_equal(found.count, 4);
    assert_true(str_eq(properties_get(&found, "version"), STR("1")));
    assert_true(str_eq(properties_get(&found, "node.id"), STR("1")));
    assert_true(str_eq(properties_get(&found, "cluster.id"), cluster_id));
    open_ok(&storage, &config);
    assert_false(storage.formatted_now);
    assert_true(str_eq(storage.cluster_id, cluster_id));
    assert_true(uuid_eq(storage.metadata_directory_id, directory));
    assert_int_equal(storage.quorum_state.epoch, 3);
    storage_close(&storage, io);
}

static void an_interrupted_format_is_done_again(void **state)
{
    (void)state;
    struct broker_config config = config_of("a", "b");
    struct storage storage;
    open_ok(&storage, &config);
    storage_close(&storage, io);
    unlink(in_root("a/meta.properties").data);
    unlink(in_root("b/meta.properties").data);
    write_text("a/meta.properties.tmp", "half");
    open_ok(&storage, &config);
    assert_true(storage.formatted_now);
    storage_close(&storage, io);
    /* Between two folders: the second joins the first's cluster. */
    unlink(in_root("b/meta.properties").data);
    open_ok(&storage, &config);
    assert_false(storage.formatted_now);
    storage_close(&storage, io);
    assert_true(exists("b/meta.properties"));
    /* The metadata's folder gone: not a reason to begin anew. */
    unlink(in_root("a/meta.properties").data);
    refused(&config, ERR_FOREIGN, "should hold the cluster's metadata");
    assert_false(exists("a/meta.properties"));
}

static void strangers_are_refused_untouched(void **state)
{
    (void)state;
    struct broker_config config = config_of("a", NULL);
    assert_int_equal(io_mkdir(io, in_root("a").data), ERR_OK);
    write_text("a/letter.txt", "dear reader");
    refused(&config, ERR_FOREIGN, "holds letter.txt but no meta.properties");
    assert_false(exists("a/.lock"));
    unlink(in_root("a/letter.txt").data);
    static const struct {
        const char *text;
        enum err err;
        const char *part;
    } cases[] = {
        {"", ERR_FOREIGN, "has no version"},
        {"version=x\n", ERR_FOREIGN, "has no version"},
        {"version=0\nbroker.id=1\n", ERR_UNSUPPORTED, "from before KRaft"},
        {"version=2\nnode.id=1\ncluster.id=x\n", ERR_UNSUPPORTED,
         "version 2; this program reads 1"},
        {"version=1\ncluster.id=x\n", ERR_MALFORMED, "has no node.id"},
        {"version=1\nnode.id=9\ncluster.id=x\n", ERR_FOREIGN,
         "belongs to node 9, but node.id is 1"},
        {"version=1\nnode.id=1\n", ERR_MALFORMED, "has no cluster.id"},
        {"version=1\nnode.id=1\ncluster.id=x\ndirectory.id=short\n", ERR_MALFORMED,
         "directory.id that is none"},
        {"a=\\u1\n", ERR_MALFORMED, "line 1 is broken"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        write_text("a/meta.properties", cases[i].text);
        refused(&config, cases[i].err, cases[i].part);
        assert_false(exists("a/.lock"));
        assert_false(exists("a/bootstrap.checkpoint"));
        assert_true(str_eq_cstr(read_text("a/meta.properties"), cases[i].text));
    }
    struct broker_config both = config_of("a", "b");
    assert_int_equal(io_mkdir(io, in_root("b").data), ERR_OK);
    write_text("a/meta.properties", "version=1\nnode.id=1\ncluster.id=x\n");
    write_text("b/meta.properties", "version=1\nnode.id=1\ncluster.id=y\n");
    refused(&both, ERR_FOREIGN, "belongs to cluster y, not to x");
    static const char twin[] =
        "version=1\nnode.id=1\ncluster.id=x\ndirectory.id=1JPR7YR-RM-nfB_Ia_HvHQ\n";
    write_text("a/meta.properties", twin);
    write_text("b/meta.properties", twin);
    refused(&both, ERR_FOREIGN, "one is a copy of the other");
    write_text("c", "a file");
    struct broker_config on_file = config_of("c", NULL);
    struct storage storage;
    assert_int_not_equal(open_storage(&storage, &on_file), ERR_OK);
    storage_close(&storage, io);
}

static void folders_of_older_kafkas_get_an_id(void **state)
{
    (void)state;
    assert_int_equal(io_mkdir(io, in_root("a").data), ERR_OK);
    write_text("a/meta.properties", "version=1\nnode.id=1\ncluster.id=old\n");
    struct broker_config config = config_of("a", NULL);
    struct storage storage;
    open_ok(&storage, &config);
    assert_false(storage.formatted_now);
    struct uuid id = storage.metadata_directory_id;
    assert_false(uuid_is_zero(id));
    storage_close(&storage, io);
    open_ok(&storage, &config);
    assert_true(uuid_eq(storage.metadata_directory_id, id));
    assert_true(str_eq(storage.cluster_id, STR("old")));
    storage_close(&storage, io);
    assert_int_equal(io_mkdir(io, in_root("a/__cluster_metadata-0/x").data), ERR_OK);
    write_text("a/__cluster_metadata-0/quorum-state", "{}");
    refused(&config, ERR_MALFORMED, "quorum-state");
}

static void metadata_may_have_a_folder_of_its_own(void **state)
{
    (void)state;
    struct broker_config config = config_of("a", NULL);
    config.metadata_log_dir = in_root("m");
    struct storage storage;
    open_ok(&storage, &config);
    assert_int_equal(storage.dir_count, 1);
    assert_true(exists("m/bootstrap.checkpoint"));
    assert_true(exists("m/meta.properties"));
    assert_true(exists("a/meta.properties"));
    assert_false(uuid_eq(storage.dirs[0].directory_id, storage.metadata_directory_id));
    storage_close(&storage, io);
}

static void a_folder_that_fails_is_left_out(void **state)
{
    (void)state;
    struct broker_config config = config_of("a", "b");
    struct storage storage;
    write_text("b", "a file");
    refused(&config, ERR_IO, "a new cluster is made only when all of its folders can be");
    assert_false(exists("a/meta.properties"));
    assert_int_equal(unlink(in_root("b").data), 0);
    open_ok(&storage, &config);
    storage_close(&storage, io);
    assert_int_equal(rename(in_root("b").data, in_root("kept").data), 0);
    write_text("b", "a file");
    open_ok(&storage, &config);
    assert_false(storage.dirs[0].is_offline);
    assert_true(storage.dirs[1].is_offline);
    storage_close(&storage, io);
    /* That of the metadata is needed, and so is one for the records. */
    config.metadata_log_dir = config.log_dirs[1];
    refused(&config, ERR_FOREIGN, "should hold the cluster's metadata");
    struct broker_config alone = config_of("b", NULL);
    alone.metadata_log_dir = in_root("a");
    refused(&alone, ERR_EXISTS, "a file is in its way");
    /* What belongs to somebody else is no disk that failed. */
    assert_int_equal(unlink(in_root("b").data), 0);
    assert_int_equal(rename(in_root("kept").data, in_root("b").data), 0);
    write_text("b/meta.properties", "version=1\nnode.id=1\ncluster.id=y\n");
    config.metadata_log_dir = config.log_dirs[0];
    refused(&config, ERR_FOREIGN, "belongs to cluster y");
}

/* --- checkpoints --- */

static struct image *image_with_topics(int count)
{
    struct meta_records records;
    meta_records_init(&records, &arena);
    assert_int_equal(features_bootstrap(&records), ERR_OK);
    for (int i = 0; i < count; i++) {
        struct topic_record *topic = MSG_ARRAY(topic_record, &arena, 1);
        topic->name = arena_printf(&arena, "topic-%d", i);
        rng_bytes(&rng, topic->topic_id.bytes, sizeof(topic->topic_id.bytes));
        assert_int_equal(meta_records_add(&records, META_TOPIC, 0, topic), ERR_OK);
    }
    struct image *empty, *image;
    struct meta_error error;
    assert_int_equal(image_create_empty(&empty), ERR_OK);
    assert_int_equal(image_apply(empty, records.items, records.count, 100 + count, 4, 77, &arena,
                                 &image, &error),
                     ERR_OK);
    image_unref(empty);
    return image;
}

static void checkpoints_come_back(void **state)
{
    (void)state;
    struct quorum_voter self = {1, {{3}}, {STR("CONTROLLER"), STR("h"), 5}};
    struct str dir = str_of(root);
    struct snapshot_id id;
    struct snapshot snapshot;
    struct image *image, *read;
    assert_int_equal(snapshot_latest(io, dir, &id), ERR_NOENT);
    assert_int_equal(snapshot_load(io, dir, &arena, &id, &snapshot, &read, &why), ERR_OK);
    assert_int_equal(read->topics.count, 0);
    image_unref(read);
    write_text("00000000000000000900-0000000004.checkpoint.tmp", "x");
    write_text("00000000000000000900-000000000x.checkpoint", "x");
    for (int count = 1; count <= 5001; count += 2500) {
        image = image_with_topics(count);
        assert_int_equal(snapshot_write(io, dir, image, 1, &self, 1, 1000), ERR_OK);
        assert_int_equal(snapshot_load(io, dir, &arena, &id, &snapshot, &read, &why), ERR_OK);
        assert_int_equal(id.end_offset, 100 + count);
        assert_int_equal(id.epoch, 4);
        assert_int_equal(snapshot.last_contained_ms, 77);
        assert_int_equal(snapshot.kraft_version, 1);
        assert_int_equal(snapshot.voter_count, 1);
        assert_int_equal(read->topics.count, count);
        assert_int_equal(read->end_offset, image->end_offset);
        assert_int_equal(read->features.count, 6);
        image_unref(read);
        image_unref(image);
    }
    assert_false(exists("00000000000000000101-0000000004.checkpoint")); /* older ones went */
    /* A static voter set is not in the file. */
    image = image_with_topics(6000);
    assert_int_equal(snapshot_write(io, dir, image, 0, NULL, 0, 1000), ERR_OK);
    image_unref(image);
    assert_int_equal(snapshot_load(io, dir, &arena, &id, &snapshot, &read, &why), ERR_OK);
    assert_int_equal(snapshot.kraft_version, -1);
    image_unref(read);
}

static void damage_is_noticed(void **state)
{
    (void)state;
    struct quorum_voter self = {1, {{3}}, {STR("CONTROLLER"), STR("h"), 5}};
    struct image *image = image_with_topics(3);
    assert_int_equal(snapshot_write(io, str_of(root), image, 1, &self, 1, 1000), ERR_OK);
    image_unref(image);
    const char *name = "00000000000000000103-0000000004.checkpoint";
    struct str path = in_root(name);
    struct str good = read_text(name);
    struct snapshot snapshot;
    assert_int_equal(snapshot_read(io, path, &arena, &snapshot, &why), ERR_OK);
    for (size_t len = 0; len < good.len; len++) {
        assert_int_equal(io_replace_file(io, path.data, slice_of(good.data, len)), ERR_OK);
        assert_int_not_equal(snapshot_read(io, path, &arena, &snapshot, &why), ERR_OK);
        assert_true(why.text.len > 0);
    }
    for (size_t at = 0; at < good.len; at++) {
        char *bad = arena_alloc(&arena, good.len);
        memcpy(bad, good.data, good.len);
        bad[at] = (char)(bad[at] ^ 0x10);
        assert_int_equal(io_replace_file(io, path.data, slice_of(bad, good.len)), ERR_OK);
        enum err err = snapshot_read(io, path, &arena, &snapshot, &why);
        /* Offsets and leader epochs of a batch are outside of its checksum, and mean nothing
         * here: the first 16 bytes of each batch, but for the length. */
        if (!err)
            assert_int_equal(snapshot.records.count, 9);
    }
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(a_new_folder_is_formatted_once),
        CASE(an_interrupted_format_is_done_again),
        CASE(strangers_are_refused_untouched),
        CASE(folders_of_older_kafkas_get_an_id),
        CASE(metadata_may_have_a_folder_of_its_own),
        CASE(a_folder_that_fails_is_left_out),
        CASE(checkpoints_come_back),
        CASE(damage_is_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
