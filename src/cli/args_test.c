/* Goal: what the user types becomes the command that was meant, or a message that says what to do.
 * Method: a small table of its own, every way to write an option, and every way to be wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "cli/args.h"
#include "cli/position.h"

static int never_run(const struct args *args)
{
    (void)args;
    return 1;
}

static const char *const colors[] = {"red", "green", NULL};
static const struct opt opts[] = {
    {.name = "size", .letter = 's', .kind = OPT_INT, .min = 1, .max = 9, .metavar = "N"},
    {.name = "name", .letter = 'n', .kind = OPT_TEXT, .metavar = "TEXT", .env = "ARGS_TEST_NAME"},
    {.name = "pair", .kind = OPT_PAIR, .metavar = "KEY=VALUE", .repeats = true},
    {.name = "color", .kind = OPT_CHOICE, .choices = colors, .metavar = "C", .fallback = "red"},
    {.name = "colors", .kind = OPT_LIST, .choices = colors, .metavar = "CS"},
    {.name = "wait", .kind = OPT_DURATION, .metavar = "DURATION"},
    {.name = "from", .kind = OPT_POSITION, .metavar = "POSITION"},
    {.name = "all", .letter = 'a', .kind = OPT_FLAG},
    {.name = "brief", .letter = 'q', .kind = OPT_FLAG},
};
static const struct operand operands[] = {{"THING"}, {"MORE", .optional = true}};
static const struct operand many[] = {{"KIND", .choices = colors}, {"NAME", .repeats = true}};
static const struct command commands[] = {
    {.noun = "boat",
     .verb = "build",
     .operands = operands,
     .operand_count = 2,
     .opts = opts,
     .opt_count = ARRAY_LEN(opts),
     .is_client = true,
     .number_opt = "from",
     .run = never_run},
    {.noun = "boat", .verb = "paint", .operands = many, .operand_count = 2, .run = never_run},
    {.noun = "sail", .operands = operands, .operand_count = 1, .run = never_run},
};
static const struct noun nouns[] = {{"boat", "Boats"}};
static const struct command_table table = {commands, ARRAY_LEN(commands), nouns, ARRAY_LEN(nouns)};

#define WORDS_MAX 16

/* Splits at spaces and parses; `why` gets the message. */
static enum err parse(struct args *args, char *line, struct buf *why)
{
    char *argv[WORDS_MAX] = {"taffrail"};
    int argc = 1;
    for (char *word = strtok(line, " "); word; word = strtok(NULL, " "))
        argv[argc++] = word;
    buf_init(why, 4096);
    enum err err = args_parse(args, &table, argc, argv, why);
    buf_put_u8(why, 0);
    return err;
}

static void refuses(const char *text, const char *expected)
{
    char line[256];
    struct args args;
    struct buf why;
    snprintf(line, sizeof(line), "%s", text);
    assert_int_equal(parse(&args, line, &why), ERR_USAGE);
    if (!strstr((const char *)why.data, expected))
        fail_msg("'%s' says: %s", text, (const char *)why.data);
    args_deinit(&args);
    buf_deinit(&why);
}

static void test_every_form_of_an_option(void **state)
{
    (void)state;
    const char *const lines[] = {
        "boat build x --size 3 --name=n --all",
        "boat build --size=3 x -n n -a",
        "boat build -s3 -nn -aq x",
        "boat build -qas 3 -n n x",
        "-b h:1 boat build x -s 3 -n n -a",
        "--bootstrap-server=h:1 boat build x -as3 -nn",
        "boat build -s 3 -n n --all -- x",
    };
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        char line[256];
        struct args args;
        struct buf why;
        snprintf(line, sizeof(line), "%s", lines[i]);
        if (parse(&args, line, &why) != ERR_OK)
            fail_msg("'%s' says: %s", lines[i], (const char *)why.data);
        assert_ptr_equal(args.command, &commands[0]);
        assert_int_equal(args_number(&args, "size"), 3);
        assert_string_equal(args_text(&args, "name"), "n");
        assert_true(args_has(&args, "all"));
        assert_int_equal(args.operand_count, 1);
        assert_string_equal(args.operands[0], "x");
        assert_string_equal(args_text(&args, "color"), "red");
        assert_false(args_has(&args, "color"));
        assert_null(args_text(&args, "wait"));
        args_deinit(&args);
        buf_deinit(&why);
    }
}

static void test_values(void **state)
{
    (void)state;
    char line[] = "boat build x y --pair a=1 --pair b= --wait 1m30s -10 --colors green,red";
    struct args args;
    struct buf why;
    assert_int_equal(parse(&args, line, &why), ERR_OK);
    assert_string_equal(args_nth(&args, "pair", 0), "a=1");
    assert_string_equal(args_nth(&args, "pair", 1), "b=");
    assert_null(args_nth(&args, "pair", 2));
    assert_int_equal(args_number(&args, "wait"), 90000);
    assert_string_equal(args_text(&args, "from"), "-10");
    assert_true(args_list_has(&args, "colors", "red"));
    assert_false(args_list_has(&args, "colors", "gree"));
    assert_int_equal(args.operand_count, 2);
    assert_false(args_is_json(&args));
    args_deinit(&args);
    buf_deinit(&why);
}

static void test_environment(void **state)
{
    (void)state;
    char line[] = "boat build x", bad[] = "boat build x";
    struct args args;
    struct buf why;
    setenv("ARGS_TEST_NAME", "env", 1);
    assert_int_equal(parse(&args, line, &why), ERR_OK);
    assert_string_equal(args_text(&args, "name"), "env");
    assert_false(args_has(&args, "name"));
    args_deinit(&args);
    buf_deinit(&why);
    unsetenv("ARGS_TEST_NAME");
    setenv("TAFFRAIL_FORMAT", "xml", 1);
    assert_int_equal(parse(&args, bad, &why), ERR_USAGE);
    assert_non_null(strstr((const char *)why.data, "TAFFRAIL_FORMAT is 'xml'"));
    args_deinit(&args);
    buf_deinit(&why);
    unsetenv("TAFFRAIL_FORMAT");
}

static void test_wrong_usage(void **state)
{
    (void)state;
    refuses("", "see 'taffrail help'");
    refuses("baot build", "did you mean 'boat'?");
    refuses("zebra", "see 'taffrail help'");
    refuses("boat", "boat build|paint");
    refuses("boat biuld x", "did you mean 'boat build'?");
    refuses("boat zzzzzz", "boat build|paint");
    refuses("boat build x --sise 3", "did you mean '--size'?");
    refuses("boat build x --zzzzzz", "see 'taffrail help boat build'");
    refuses("boat build x -w", "has no option '-w'");
    refuses("boat build x -aw", "has no option '-w'");
    refuses("boat build", "THING is missing");
    refuses("boat build x y z", "'z' is one argument too many");
    refuses("boat build x --size", "--size needs a value: --size N");
    refuses("boat build x -s", "-s needs a value");
    refuses("boat build x --size 0", "a whole number from 1 to 9");
    refuses("boat build x --size 10", "a whole number from 1 to 9");
    refuses("boat build x --size 3x", "--size is '3x'");
    refuses("boat build x --size=", "--size is ''");
    refuses("boat build x --size 99999999999999999999", "from 1 to 9");
    refuses("boat build x --size 1 --size 2", "--size is given twice");
    refuses("boat build x --all=yes", "--all takes no value");
    refuses("boat build x --color blue", "one of: red, green");
    refuses("boat build x --colors red,", "comma-separated list of: red, green");
    refuses("boat build x --pair a", "it is KEY=VALUE");
    refuses("boat build x --pair =a", "it is KEY=VALUE");
    refuses("boat build x --wait 10", "a duration such as");
    refuses("boat build x --from soon", "an offset (1234)");
    refuses("boat build x -10q", "-10q");
    refuses("boat paint blue x", "KIND is 'blue', but it is one of: red, green");
    refuses("boat paint red", "NAME is missing");
    refuses("--size 3 boat build x", "'--size' comes before a command");
    refuses("help baot", "did you mean 'boat'?");
    refuses("help boat pant", "did you mean 'boat paint'?");
}

static void test_help_and_version(void **state)
{
    (void)state;
    const struct {
        const char *line, *noun;
        const struct command *command;
    } cases[] = {
        {"help", NULL, NULL},
        {"--help", NULL, NULL},
        {"help boat", "boat", NULL},
        {"boat --help", "boat", NULL},
        {"boat help", "boat", NULL},
        {"help boat build", "boat", &commands[0]},
        {"boat build --help", NULL, &commands[0]},
        {"sail -h", NULL, &commands[2]},
        {"help sail", NULL, &commands[2]},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char line[64];
        struct args args;
        struct buf why;
        snprintf(line, sizeof(line), "%s", cases[i].line);
        assert_int_equal(parse(&args, line, &why), ERR_OK);
        assert_true(args.wants_help);
        assert_ptr_equal(args.command, cases[i].command);
        if (!args.command && cases[i].noun)
            assert_string_equal(args.noun, cases[i].noun);
        args_deinit(&args);
        buf_deinit(&why);
    }
    char version[] = "--version";
    struct args args;
    struct buf why;
    assert_int_equal(parse(&args, version, &why), ERR_OK);
    assert_true(args.wants_version);
    args_deinit(&args);
    buf_deinit(&why);
}

static void test_nearest_word(void **state)
{
    (void)state;
    const char *const words[] = {"from", "follow", "count", "retention.ms", "retention.bytes"};
    const size_t n = ARRAY_LEN(words);
    assert_string_equal(nearest_word("flow", words, n), "follow");
    assert_string_equal(nearest_word("folow", words, n), "follow");
    assert_string_equal(nearest_word("fol", words, n), "follow");
    assert_string_equal(nearest_word("cuont", words, n), "count");
    assert_string_equal(nearest_word("retention.sm", words, n), "retention.ms");
    assert_null(nearest_word("zzz", words, n));
    char long_word[200];
    memset(long_word, 'f', sizeof(long_word) - 1);
    long_word[sizeof(long_word) - 1] = 0;
    assert_null(nearest_word(long_word, words, n));
}

static void check_position(const char *text, enum position_kind kind, int64_t value)
{
    struct position position;
    assert_int_equal(position_parse(str_of(text), &position), ERR_OK);
    assert_int_equal(position.kind, kind);
    assert_true(position.value == value);
}

static void test_positions(void **state)
{
    (void)state;
    check_position("beginning", POSITION_BEGINNING, 0);
    check_position("end", POSITION_END, 0);
    check_position("earliest", POSITION_BEGINNING, 0);
    check_position("latest", POSITION_END, 0);
    check_position("0", POSITION_OFFSET, 0);
    check_position("9223372036854775807", POSITION_OFFSET, INT64_MAX);
    check_position("-10", POSITION_TAIL, 10);
    check_position("-1h30m", POSITION_AGO, 5400000);
    check_position("@1767225600000", POSITION_TIME, 1767225600000);
    check_position("2026-01-01T00:00", POSITION_TIME, 1767225600000);
    check_position("2026-01-01", POSITION_TIME, 1767225600000);
    check_position("2026-01-01T01:00+01:00", POSITION_TIME, 1767225600000);
    const char *const wrong[] = {"",
                                 "-",
                                 "@",
                                 "now",
                                 "-1x",
                                 "1h",
                                 "--1",
                                 "-+1",
                                 "@-1",
                                 "2026-13-01",
                                 "2026-01-01T25:00",
                                 "1.5",
                                 "@9e9",
                                 "9223372036854775808"};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        struct position position;
        if (position_parse(str_of(wrong[i]), &position) == ERR_OK)
            fail_msg("'%s' is taken for a position", wrong[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_form_of_an_option),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_environment),
        cmocka_unit_test(test_wrong_usage),
        cmocka_unit_test(test_help_and_version),
        cmocka_unit_test(test_nearest_word),
        cmocka_unit_test(test_positions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
