/* The table of all commands and options: the one place where they are declared. */
#ifndef CLI_COMMANDS_H
#define CLI_COMMANDS_H

#include "cli/args.h"

extern const struct command_table cli_commands;

#endif
