/* Dispatches a command line to its command. */
#include "cli/cli.h"

#include <signal.h>
#include <stdio.h>

#include "cli/commands.h"
#include "cli/help.h"
#include "cli/out.h"

static int print_help(const struct args *args)
{
    struct buf out;
    buf_init(&out, BUF_NO_LIMIT);
    if (args->command)
        help_print_command(args->command, &out);
    else if (args->noun)
        help_print_noun(args->table, args->noun, &out);
    else
        help_print_all(args->table, &out);
    int code = out_buf(&out);
    buf_deinit(&out);
    return code;
}

static int run(const struct args *args)
{
    if (args->wants_version) {
        printf("taffrail %s\n", TAFFRAIL_VERSION);
        return EXIT_FINE;
    }
    return args->wants_help ? print_help(args) : args->command->run(args);
}

int cli_main(int argc, char **argv)
{
    struct args args;
    struct buf why;
    /* A reader that went away ends the output, not the program: see out_buf. */
    signal(SIGPIPE, SIG_IGN);
    buf_init(&why, 4096);
    enum err err = args_parse(&args, &cli_commands, argc, argv, &why);
    int code = err == ERR_OK ? run(&args)
                             : out_fail(EXIT_USAGE, "%.*s", (int)why.len, (const char *)why.data);
    args_deinit(&args);
    buf_deinit(&why);
    return code;
}
