/* taffrail completion: scripts for bash, zsh and fish, made from the table of commands. */
#ifndef CLI_COMPLETION_H
#define CLI_COMPLETION_H

#include "base/buf.h"
#include "cli/args.h"

int completion_run(const struct args *args);
int version_run(const struct args *args);

void completion_put_bash(const struct command_table *table, struct buf *out);
void completion_put_zsh(const struct command_table *table, struct buf *out);
void completion_put_fish(const struct command_table *table, struct buf *out);

#endif
