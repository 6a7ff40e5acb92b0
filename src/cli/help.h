/* Help: of everything, of a noun, of one command; and the pieces that messages share with it. */
#ifndef CLI_HELP_H
#define CLI_HELP_H

#include "cli/args.h"

void help_print_all(const struct command_table *table, struct buf *out);
void help_print_noun(const struct command_table *table, const char *noun, struct buf *out);
void help_print_command(const struct command *command, struct buf *out);

/* "a, b, c". */
void help_put_choices(struct buf *out, const char *const *choices);
/* "topic create". */
void help_put_command_name(struct buf *out, const struct command *command);
/* "taffrail topic create TOPIC...". */
void help_put_usage(struct buf *out, const struct command *command);

#endif
