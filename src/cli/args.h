/* The command line: one declarative table says which commands and options there are; parsing, help
 * texts, completions and the check of the man page all read it. */
#ifndef CLI_ARGS_H
#define CLI_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/err.h"

enum opt_kind {
    OPT_FLAG,
    OPT_TEXT,
    OPT_INT,      /* number: within min..max */
    OPT_DURATION, /* number: milliseconds; "10s" */
    OPT_CHOICE,   /* number: index into choices */
    OPT_PAIR,     /* KEY=VALUE, the key not empty */
    OPT_POSITION, /* a place in a partition: see position.h */
    OPT_LIST,     /* comma-separated words, each one of choices */
};

struct opt {
    const char *name;
    char letter; /* 0: there is only the long form */
    enum opt_kind kind;
    bool repeats;
    const char *metavar; /* NULL for a flag */
    const char *help;    /* one line, no full stop */
    const char *const *choices;
    int64_t min, max;
    const char *env;      /* the environment variable that stands in for it */
    const char *fallback; /* the value where nothing gives one */
};

/* What completion offers for an operand. */
enum operand_kind { OPERAND_WORD, OPERAND_TOPIC, OPERAND_GROUP, OPERAND_FILE, OPERAND_CHOICE };

struct operand {
    const char *name;
    enum operand_kind kind;
    bool optional;
    bool repeats; /* only the last one may */
    const char *const *choices;
};

struct args;

struct command {
    const char *noun; /* "topic" */
    const char *verb; /* "create", or NULL where the noun is the whole command */
    const char *summary;
    const char *details; /* paragraphs for its help; may be NULL */
    const struct operand *operands;
    size_t operand_count;
    const struct opt *opts;
    size_t opt_count;
    bool is_client;         /* talks to a cluster: has the client options as well */
    bool has_no_output;     /* has no --format */
    const char *number_opt; /* "-10" is short for this option with the value "-10" */
    int (*run)(const struct args *args);
};

struct noun {
    const char *name;
    const char *summary;
};

struct command_table {
    const struct command *commands;
    size_t command_count;
    const struct noun *nouns; /* those that have verbs */
    size_t noun_count;
};

struct arg_value {
    const struct opt *opt;
    const char *text; /* borrowed from argv, the environment or the table */
    int64_t number;
    bool is_given; /* by the user, not by the table's fallback */
};

struct args {
    const struct command_table *table;
    const struct command *command; /* NULL: only `wants_help` or `wants_version` is set */
    const char *noun;              /* for help on a noun: its name */
    bool wants_help;
    bool wants_version;
    struct arg_value *values;
    size_t value_count;
    const char **operands;
    size_t operand_count;
    const char **words; /* argv without the command's own words */
};

/* Borrows argv and the table. ERR_USAGE: `why` is what was wrong and what to do, one or two lines
 * without the program's name. args_deinit is due either way. */
enum err args_parse(struct args *args, const struct command_table *table, int argc, char **argv,
                    struct buf *why) MUST_USE;
void args_deinit(struct args *args);

/* The n-th option of a command, client options and those of every command last; NULL past the end.
 */
const struct opt *command_opt(const struct command *command, size_t n);

/* Options by long name; asking for a name that the command does not have is a bug. */
bool args_has(const struct args *args, const char *name);
const char *args_text(const struct args *args, const char *name); /* NULL: absent */
int64_t args_number(const struct args *args, const char *name);   /* must be present */
/* The n-th occurrence of an option that repeats; NULL past the last. */
const char *args_nth(const struct args *args, const char *name, size_t n);
/* Whether a word is in the value of an OPT_LIST option. */
bool args_list_has(const struct args *args, const char *name, const char *word);
bool args_is_json(const struct args *args);
/* --timeout of a client command, as librdkafka takes it. */
int args_timeout_ms(const struct args *args);

/* The word of `count` nearest to `word`, or NULL where none is near enough to be meant. */
const char *nearest_word(const char *word, const char *const *words, size_t count);

#endif
