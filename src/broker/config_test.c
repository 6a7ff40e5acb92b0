/* Goal: server.properties is read as Kafka reads it, and a wrong value stops with file, line, key,
 * what was wrong and what is allowed. Method: small files through the real io; what comes out, or
 * the whole sentence. Java's format has its own cases. */
#include "broker/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "broker/properties.h"

static struct io *io;
static struct arena arena;
static char path[] = "/tmp/taffrail-config-XXXXXX";
static struct broker_config config;
static struct config_problem problem;

static int setup(void **state)
{
    (void)state;
    strcpy(path + sizeof(path) - 7, "XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(io_real_create(IO_DISK_THREADS, &io), ERR_OK);
    arena_init(&arena, ARENA_NO_LIMIT);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink(path);
    io_destroy(io);
    arena_deinit(&arena);
    return 0;
}

static enum err load(const char *text, const char *override)
{
    if (text) {
        FILE *file = fopen(path, "w");
        assert_non_null(file);
        assert_int_equal(fwrite(text, 1, strlen(text), file), strlen(text));
        fclose(file);
    }
    return broker_config_load(&config, io, text ? path : NULL, &override, override ? 1 : 0,
                              STR("host.example"), &problem);
}

static void load_ok(const char *text, const char *override)
{
    enum err err = load(text, override);
    if (err)
        fail_msg("%.*s: %.*s", STR_ARG(problem.key), STR_ARG(problem.what));
}

static void assert_text(struct str s, const char *expected)
{
    if (!str_eq_cstr(s, expected))
        fail_msg("\"%.*s\" is not \"%s\"", STR_ARG(s), expected ? expected : "(null)");
}

/* --- the format --- */

static void javas_format_is_read(void **state)
{
    (void)state;
    static const char text[] = "# comment\n"
                               "  ! another\r\n"
                               "\n"
                               "a=1\n"
                               "b : 2\r"
                               "c 3\n"
                               "  d   =   4 5  \n"
                               "e=one,\\\n"
                               "     two,\\\r\n"
                               "\tthree\n"
                               "f\\ g\\=h=i\\tj\\\\\n"
                               "u=\\u00e4\\u20AC\n"
                               "empty=\n"
                               "alone\n"
                               "#z=\\\n"
                               "a=again\n"
                               "end=x\\";
    struct properties p;
    size_t line = 0;
    assert_int_equal(properties_parse(str_of(text), &arena, &p, &line), ERR_OK);
    assert_int_equal(p.count, 11);
    assert_text(properties_get(&p, "a"), "again");
    assert_text(properties_get(&p, "b"), "2");
    assert_text(properties_get(&p, "c"), "3");
    assert_text(properties_get(&p, "d"), "4 5  ");
    assert_text(properties_get(&p, "e"), "one,two,three");
    assert_text(properties_get(&p, "f g=h"), "i\tj\\");
    assert_text(properties_get(&p, "u"), "\xc3\xa4\xe2\x82\xac");
    assert_text(properties_get(&p, "empty"), "");
    assert_text(properties_get(&p, "alone"), "");
    assert_text(properties_get(&p, "end"), "x");
    assert_text(properties_get(&p, "z"), NULL);
    assert_int_equal(p.items[0].line, 4);
    assert_int_equal(p.items[5].line, 11);
    assert_int_equal(properties_parse(STR("a=1\nb=\\u00g0\n"), &arena, &p, &line), ERR_MALFORMED);
    assert_int_equal(line, 2);
    assert_int_equal(properties_parse(STR("\\u12"), &arena, &p, &line), ERR_MALFORMED);
    assert_int_equal(properties_parse(STR(""), &arena, &p, &line), ERR_OK);
    assert_int_equal(p.count, 0);
}

static void what_is_put_reads_back(void **state)
{
    (void)state;
    static const char *const values[] = {"", " x ", "a=b:c#d!e", "back\\slash", "\ttab\nline\r\f"};
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        struct buf buf;
        buf_init(&buf, BUF_NO_LIMIT);
        properties_put(&buf, STR("a key="), str_of(values[i]));
        struct properties p;
        size_t line;
        assert_int_equal(
            properties_parse((struct str){(const char *)buf.data, buf.len}, &arena, &p, &line),
            ERR_OK);
        assert_text(properties_get(&p, "a key="), values[i]);
        buf_deinit(&buf);
    }
}

/* --- values --- */

static void no_file_gives_a_node_for_this_machine(void **state)
{
    (void)state;
    load_ok(NULL, NULL);
    assert_int_equal(config.node_id, 1);
    assert_true(config.is_broker && config.is_controller);
    assert_int_equal(config.listener_count, 1);
    assert_text(config.listeners[0].name, "PLAINTEXT");
    assert_text(config.listeners[0].host, "");
    assert_int_equal(config.listeners[0].port, 9092);
    assert_int_equal(config.advertised_count, 1);
    assert_text(config.advertised[0].host, "localhost");
    assert_int_equal(config.log_dir_count, 1);
    assert_text(config.log_dirs[0], "data");
    assert_text(config.metadata_log_dir, "data");
    assert_int_equal(config.num_partitions, 1);
    assert_int_equal(config.socket_request_max_bytes, 104857600);
    assert_int_equal(config.log_retention_check_interval_ms, 300000);
    assert_text(config.controller_host, "localhost");
    assert_int_equal(config.controller_port, 9093);
    assert_int_equal(config.shards, 0);
    assert_int_equal(config.disk, IO_DISK_AUTO);
    assert_text(config.warning_keys, NULL);
    assert_non_null(strstr(config.warning_advertised.data, "advertised.listeners=PLAINTEXT://"));
    assert_text(config_static_get(&config.texts, STR("broker.id")), "1");
    broker_config_deinit(&config);
}

static void kafkas_own_example_is_read(void **state)
{
    (void)state;
    load_ok("process.roles=broker,controller\n"
            "node.id=7\n"
            "controller.quorum.bootstrap.servers=localhost:9093\n"
            "listeners=PLAINTEXT://:9092,CONTROLLER://:9093\n"
            "inter.broker.listener.name=PLAINTEXT\n"
            "advertised.listeners=PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093\n"
            "controller.listener.names=CONTROLLER\n"
            "listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT\n"
            "num.network.threads=3\n"
            "socket.send.buffer.bytes=102400\n"
            "log.dirs=/a/b/, /c,/a/b\n"
            "num.partitions=4\n"
            "log.retention.hours=168\n"
            "log.cleaner.io.buffer.size=2\n"
            "quota.window.num=2\n"
            "my.own=1\n",
            "num.partitions=5");
    assert_int_equal(config.node_id, 7);
    assert_int_equal(config.listener_count, 2);
    assert_true(config.listeners[1].is_controller);
    assert_int_equal(config.advertised_count, 2);
    assert_text(config.inter_broker_listener, "PLAINTEXT");
    assert_int_equal(config.log_dir_count, 2);
    assert_text(config.log_dirs[0], "/a/b");
    assert_text(config.log_dirs[1], "/c");
    assert_int_equal(config.num_partitions, 5);
    assert_text(config.warning_keys,
                "settings without effect: unknown: my.own; not supported yet: quota.window.num; "
                "not needed here: log.cleaner.io.buffer.size (reads are of a fixed size), "
                "num.network.threads (shards decide: see the `shards` setting)");
    assert_text(config_static_get(&config.texts, STR("log.retention.hours")), "168");
    broker_config_deinit(&config);
}

static void addresses_follow_kafkas_rules(void **state)
{
    (void)state;
    load_ok("node.id=1\nlisteners=client://:0,CONTROLLER://[::1]:9093\n"
            "listener.security.protocol.map=CLIENT:PLAINTEXT,CONTROLLER:PLAINTEXT\n",
            NULL);
    assert_text(config.listeners[0].name, "CLIENT");
    assert_text(config.advertised[0].host, "host.example");
    assert_int_equal(config.advertised_count, 1); /* the controller's is not for clients */
    assert_text(config.controller_host, "::1");
    assert_text(config.inter_broker_listener, "CLIENT");
    assert_text(config.warning_advertised, NULL);
    broker_config_deinit(&config);
    load_ok("listeners=PLAINTEXT://0.0.0.0:9092\n", NULL);
    assert_text(config.advertised[0].host, "host.example");
    broker_config_deinit(&config);
    load_ok("listeners=PLAINTEXT://127.0.0.1:9092\nmetadata.log.dir=/m\nshards=3\nio.disk=threads\n"
            "controller.quorum.voters=1@localhost:9093\nmetrics.listeners=http://[::1]:9644,http://"
            ":1\n",
            NULL);
    assert_int_equal(config.metrics_listener_count, 2);
    assert_text(config.metrics_listeners[0].host, "::1");
    assert_int_equal(config.metrics_listeners[0].port, 9644);
    assert_text(config.metrics_listeners[1].host, "");
    assert_int_equal(config.metrics_partitions_max, 10000);
    assert_text(config.warning_advertised, NULL);
    assert_text(config.metadata_log_dir, "/m");
    assert_int_equal(config.shards, 3);
    assert_int_equal(config.disk, IO_DISK_THREADS);
    assert_int_equal(config.voter_count, 1);
    broker_config_deinit(&config);
}

static void wrong_values_say_where_what_and_what_is_allowed(void **state)
{
    (void)state;
    static const struct {
        const char *text, *override, *sentence; /* behind "FILE:" */
    } cases[] = {
        {"\n\nnum.partitions=0\n", NULL,
         "3: num.partitions: Invalid value 0 for configuration num.partitions: Value must be at "
         "least 1. Allowed: a whole number, at least 1"},
        {"a=1\n", "num.partitions=x",
         "num.partitions: Invalid value x for configuration num.partitions: Not a number of type "
         "INT. Allowed: a whole number, at least 1"},
        {"", "shards", "--override shards: not a key=value. Allowed: --override key=value"},
        {"shards=0\n", NULL,
         "1: shards: Invalid value 0 for configuration shards: Value must be at least 1. Allowed: "
         "a whole number, from 1 to 256"},
        {"io.disk=floppy\n", NULL,
         "1: io.disk: Invalid value floppy for configuration io.disk: String must be one of: auto, "
         "uring, threads. Allowed: one of auto, uring, threads"},
        {"metrics.listeners=localhost:9644\n", NULL,
         "1: metrics.listeners: Unable to parse localhost:9644 to a broker endpoint. Allowed: a "
         "list of http://host:port, or empty"},
        {"metrics.listeners=http://localhost:9644, https://localhost:9645\n", NULL,
         "1: metrics.listeners: HTTPS is not served, only http. Allowed: a list of "
         "http://host:port, or empty"},
        {"metrics.partitions.max=-1\n", NULL,
         "1: metrics.partitions.max: Invalid value -1 for configuration metrics.partitions.max: "
         "Value must be at least 0. Allowed: a whole number, at least 0"},
        {"listeners=PLAINTEXT:9092\n", NULL,
         "1: listeners: Unable to parse PLAINTEXT:9092 to a broker endpoint. Allowed: a list of "
         "NAME://host:port"},
        {"listeners=PLAINTEXT://:99999\n", NULL,
         "1: listeners: Unable to parse PLAINTEXT://:99999 to a broker endpoint. Allowed: a list "
         "of NAME://host:port"},
        {"listeners=PLAINTEXT://a:1,plaintext://b:2\n", NULL,
         "1: listeners: Each listener must have a different name, listeners: "
         "PLAINTEXT://a:1,plaintext://b:2. Allowed: a list of NAME://host:port, each name once"},
        {"listeners=PLAINTEXT://:1,CONTROLLER://b:1\n", NULL,
         "1: listeners: Each listener must have a different port, listeners: "
         "PLAINTEXT://:1,CONTROLLER://b:1. Allowed: a list of NAME://host:port, each port once"},
        {"listeners=CONTROLLER://b:1\n", NULL,
         "1: listeners: no listener is left for clients: all are the controller's. Allowed: a list "
         "of NAME://host:port, one of them for clients"},
        {"listeners=X://:1\n", NULL,
         "1: listeners: No security protocol defined for listener X. Allowed: names that "
         "listener.security.protocol.map maps"},
        {"listeners=SSL://:1\n", NULL,
         "1: listeners: the listener SSL uses SSL, which this version does not support. Allowed: "
         "PLAINTEXT"},
        {"advertised.listeners=PLAINTEXT://0.0.0.0:9092\n", NULL,
         "1: advertised.listeners: advertised.listeners cannot use the nonroutable meta-address "
         "0.0.0.0. Use a routable IP address.. Allowed: a name or address of this machine"},
        {"advertised.listeners=CONTROLLER://a:9092\n", NULL,
         "1: advertised.listeners: CONTROLLER is advertised, but there is no such listener. "
         "Allowed: names that `listeners` has"},
        {"process.roles=broker\n", NULL,
         "1: process.roles: clusters are not built yet: this node must be both broker and "
         "controller. Allowed: broker,controller"},
        {"group.coordinator.rebalance.protocols=consumer\n", NULL,
         "1: group.coordinator.rebalance.protocols: Disabling the 'classic' protocol is not "
         "supported. Allowed: a list with classic"},
        {"max.connections.per.ip=0\n", NULL,
         "1: max.connections.per.ip: nobody could connect: no address may have a connection. "
         "Allowed: more than 0, or max.connections.per.ip.overrides"},
        {"max.connections.per.ip.overrides=10.0.0.1:5,nobody:2\n", NULL,
         "1: max.connections.per.ip.overrides: Invalid value nobody:2 for configuration "
         "max.connections.per.ip.overrides: It must be the number of an address, a colon and how "
         "many connections it may have; names are not looked up. Allowed: a list of address:count"},
        {"node.id=1\nbroker.id=2\n", NULL,
         "2: broker.id: broker.id differs from node.id. Allowed: the same value, or not set"},
        {"controller.quorum.voters=1@a:1,2@b:1\n", NULL,
         "1: controller.quorum.voters: another voter is configured (2@b:1): clusters are not built "
         "yet. Allowed: this node alone, as id@host:port"},
        {"controller.quorum.voters=a:1\n", NULL,
         "1: controller.quorum.voters: a:1 is not a voter. Allowed: id@host:port"},
        {"controller.quorum.bootstrap.servers=a:1,b:1\n", NULL,
         "1: controller.quorum.bootstrap.servers: several controllers are configured: clusters are "
         "not built yet. Allowed: this node's controller alone"},
        {"log.dirs=/a,,/b\n", NULL,
         "1: log.dirs: Configuration 'log.dirs' values must not be empty.. Allowed: a list between "
         "commas"},
        {"authorizer.class.name=x\n", NULL,
         "1: authorizer.class.name: access control is not supported by this version, and without "
         "it everyone could do everything. Allowed: not set"},
        {"x=\\u12\n", NULL, "1: a \\u escape is broken. Allowed: \\u and four hexadecimal digits"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(load(cases[i].text, cases[i].override), ERR_INVALID_CONFIG);
        struct buf buf;
        buf_init(&buf, BUF_NO_LIMIT);
        config_problem_print(&problem, &buf);
        struct str sentence = {(const char *)buf.data, buf.len};
        if (problem.line > 0) {
            assert_memory_equal(sentence.data, path, sizeof(path) - 1);
            sentence = (struct str){sentence.data + sizeof(path), sentence.len - sizeof(path)};
        }
        assert_text(sentence, cases[i].sentence);
        buf_deinit(&buf);
        broker_config_deinit(&config);
    }
    assert_int_equal(broker_config_load(&config, io, "/no/such/file", NULL, 0, STR("h"), &problem),
                     ERR_NOENT);
    assert_non_null(strstr(problem.what.data, "/no/such/file: the file cannot be read"));
    broker_config_deinit(&config);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(javas_format_is_read),
        CASE(what_is_put_reads_back),
        CASE(no_file_gives_a_node_for_this_machine),
        CASE(kafkas_own_example_is_read),
        CASE(addresses_follow_kafkas_rules),
        CASE(wrong_values_say_where_what_and_what_is_allowed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
