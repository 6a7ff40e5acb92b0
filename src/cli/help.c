/* Help texts from the table of commands. Pure. */
#include "cli/help.h"

#include <stdio.h>

#define HELP_COLUMN 34

void help_put_choices(struct buf *out, const char *const *choices)
{
    for (size_t i = 0; choices[i]; i++)
        buf_printf(out, "%s%s", i ? ", " : "", choices[i]);
}

void help_put_command_name(struct buf *out, const struct command *command)
{
    buf_printf(out, "%s%s%s", command->noun, command->verb ? " " : "",
               command->verb ? command->verb : "");
}

void help_put_usage(struct buf *out, const struct command *command)
{
    buf_printf(out, "taffrail ");
    help_put_command_name(out, command);
    for (size_t i = 0; i < command->operand_count; i++) {
        const struct operand *operand = &command->operands[i];
        buf_printf(out, operand->optional ? " [%s%s]" : " %s%s", operand->name,
                   operand->repeats ? "..." : "");
    }
}

static void put_padded(struct buf *out, const char *text)
{
    buf_printf(out, "  %-*s", HELP_COLUMN - 2, text);
    if (strlen(text) > HELP_COLUMN - 4)
        buf_printf(out, "\n%*s", HELP_COLUMN, "");
}

static void put_opt(struct buf *out, const struct opt *opt)
{
    char left[128], letter[8] = "    ";
    if (opt->letter)
        snprintf(letter, sizeof(letter), "-%c, ", opt->letter);
    snprintf(left, sizeof(left), "%s--%s%s%s", letter, opt->name, opt->metavar ? " " : "",
             opt->metavar ? opt->metavar : "");
    put_padded(out, left);
    buf_printf(out, "%s", opt->help);
    if (opt->choices) {
        buf_printf(out, ": ");
        help_put_choices(out, opt->choices);
    }
    if (opt->fallback)
        buf_printf(out, " (default %s)", opt->fallback);
    if (opt->env)
        buf_printf(out, " [%s]", opt->env);
    if (opt->repeats)
        buf_printf(out, "; may be repeated");
    buf_printf(out, "\n");
}

void help_print_command(const struct command *command, struct buf *out)
{
    buf_printf(out, "Usage: ");
    help_put_usage(out, command);
    buf_printf(out, " [options]\n\n%s.\n", command->summary);
    if (command->details)
        buf_printf(out, "\n%s\n", command->details);
    buf_printf(out, "\nOptions:\n");
    const struct opt *opt;
    for (size_t i = 0; (opt = command_opt(command, i)) != NULL; i++)
        put_opt(out, opt);
}

void help_print_noun(const struct command_table *table, const char *noun, struct buf *out)
{
    buf_printf(out, "Usage: taffrail %s COMMAND [options]\n\nCommands:\n", noun);
    for (size_t i = 0; i < table->command_count; i++) {
        const struct command *command = &table->commands[i];
        if (strcmp(command->noun, noun) == 0)
            buf_printf(out, "  %-14s %s\n", command->verb, command->summary);
    }
    buf_printf(out, "\n'taffrail help %s COMMAND' says more about one of them.\n", noun);
}

static const char *noun_summary(const struct command_table *table, const char *noun)
{
    for (size_t i = 0; i < table->noun_count; i++) {
        if (strcmp(table->nouns[i].name, noun) == 0)
            return table->nouns[i].summary;
    }
    return NULL;
}

static void put_noun_verbs(const struct command_table *table, const char *noun, struct buf *out)
{
    const char *between = "";
    for (size_t i = 0; i < table->command_count; i++) {
        if (strcmp(table->commands[i].noun, noun) != 0)
            continue;
        buf_printf(out, "%s%s", between, table->commands[i].verb);
        between = "|";
    }
}

void help_print_all(const struct command_table *table, struct buf *out)
{
    buf_printf(out, "Usage: taffrail COMMAND [options]\n\nCommands:\n");
    for (size_t i = 0; i < table->command_count; i++) {
        const struct command *command = &table->commands[i];
        if (i > 0 && strcmp(command->noun, command[-1].noun) == 0)
            continue;
        const char *summary = noun_summary(table, command->noun);
        buf_printf(out, "  %-12s %s", command->noun, summary ? summary : command->summary);
        if (summary) {
            buf_printf(out, ": ");
            put_noun_verbs(table, command->noun, out);
        }
        buf_printf(out, "\n");
    }
    buf_printf(out, "\n'taffrail help COMMAND' says more about one of them.\n"
                    "Clients talk to localhost:9092 unless -b HOST:PORT or TAFFRAIL_BOOTSTRAP says "
                    "otherwise.\n");
}
