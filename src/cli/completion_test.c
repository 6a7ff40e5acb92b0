/* Goal: the completion scripts and the man page name every command and every option.
 * Method: walks the table of commands and looks for each name in each text; the shells that are
 * installed read their script. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/commands.h"
#include "cli/completion.h"

static const char *man_path;

static void expect(const struct buf *text, const char *what, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static void expect(const struct buf *text, const char *what, const char *fmt, ...)
{
    char needle[256];
    va_list list;
    va_start(list, fmt);
    vsnprintf(needle, sizeof(needle), fmt, list);
    va_end(list);
    if (!memmem(text->data, text->len, needle, strlen(needle)))
        fail_msg("%s does not hold '%s'", what, needle);
}

static void (*const makers[])(const struct command_table *, struct buf *) = {
    completion_put_bash, completion_put_zsh, completion_put_fish};
static const char *const shells[] = {"bash", "zsh", "fish"};

static void test_scripts_are_complete(void **state)
{
    (void)state;
    for (size_t shell = 0; shell < ARRAY_LEN(makers); shell++) {
        struct buf script;
        buf_init(&script, BUF_NO_LIMIT);
        makers[shell](&cli_commands, &script);
        for (size_t i = 0; i < cli_commands.command_count; i++) {
            const struct command *command = &cli_commands.commands[i];
            const struct opt *opt;
            expect(&script, shells[shell], "%s", command->noun);
            expect(&script, shells[shell], "%s", command->verb ? command->verb : "");
            for (size_t j = 0; (opt = command_opt(command, j)) != NULL; j++)
                expect(&script, shells[shell], shell == 2 ? "-l %s" : "--%s", opt->name);
        }
        buf_deinit(&script);
    }
}

/* Where a shell is installed, it accepts its script. */
static void test_shells_read_scripts(void **state)
{
    (void)state;
    for (size_t shell = 0; shell < ARRAY_LEN(makers); shell++) {
        char path[] = "/tmp/taffrail-completion-XXXXXX", command[128];
        struct buf script;
        int fd = mkstemp(path);
        assert_true(fd >= 0);
        buf_init(&script, BUF_NO_LIMIT);
        makers[shell](&cli_commands, &script);
        assert_int_equal(write(fd, script.data, script.len), script.len);
        close(fd);
        snprintf(command, sizeof(command), "! command -v %s >/dev/null || %s -n %s", shells[shell],
                 shells[shell], path);
        int status = system(command);
        unlink(path);
        buf_deinit(&script);
        assert_int_equal(status, 0);
    }
}

/* Texts go between single quotes in the scripts, and letters are unique in a command. */
static void test_table_is_sound(void **state)
{
    (void)state;
    for (size_t i = 0; i < cli_commands.command_count; i++) {
        const struct command *command = &cli_commands.commands[i];
        const struct opt *opt, *other;
        assert_non_null(command->run);
        assert_null(strchr(command->summary, '\''));
        for (size_t j = 0; (opt = command_opt(command, j)) != NULL; j++) {
            assert_null(strchr(opt->help, '\''));
            assert_true((opt->kind == OPT_FLAG) == (opt->metavar == NULL));
            for (size_t k = 0; k < j; k++) {
                other = command_opt(command, k);
                assert_string_not_equal(opt->name, other->name);
                assert_true(opt->letter == 0 || opt->letter != other->letter);
            }
        }
        for (size_t j = 0; j + 1 < command->operand_count; j++)
            assert_false(command->operands[j].repeats);
    }
}

static void test_man_page_is_complete(void **state)
{
    (void)state;
    struct buf page;
    FILE *file = fopen(man_path, "r");
    assert_non_null(file);
    buf_init(&page, BUF_NO_LIMIT);
    for (int byte; (byte = fgetc(file)) != EOF;)
        buf_put_u8(&page, (uint8_t)byte);
    fclose(file);
    for (size_t i = 0; i < cli_commands.command_count; i++) {
        const struct command *command = &cli_commands.commands[i];
        const struct opt *opt;
        expect(&page, man_path, ".Ss taffrail %s%s%s", command->noun, command->verb ? " " : "",
               command->verb ? command->verb : "");
        for (size_t j = 0; (opt = command_opt(command, j)) != NULL; j++) {
            if (opt->letter)
                expect(&page, man_path, ".It Fl %c , Fl Fl %s", opt->letter, opt->name);
            else
                expect(&page, man_path, ".It Fl Fl %s", opt->name);
        }
    }
    buf_deinit(&page);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scripts_are_complete),
        cmocka_unit_test(test_shells_read_scripts),
        cmocka_unit_test(test_table_is_sound),
        cmocka_unit_test(test_man_page_is_complete),
    };
    man_path = argc > 1 ? argv[1] : "docs/taffrail.1";
    return cmocka_run_group_tests(tests, NULL, NULL);
}
