/* Parses the command line against the table of commands. Pure but for getenv.
 *
 * Words before the command may be common or client options ("taffrail -b host:9092 topic list").
 * A value follows its option as "--name value", "--name=value", "-n value" or "-nvalue". "--" ends
 * the options. Every value is checked here, so that commands see only what their table allows. */
#include "cli/args.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/parse.h"
#include "base/time.h"
#include "cli/help.h"
#include "cli/position.h"

#define DISTANCE_WORD_MAX 48
#define TIMEOUT_MS_MAX    (24 * 3600 * 1000)

static const char *const format_choices[] = {"text", "json", NULL};

/* --format is the last: command_opt leaves it out where nothing is printed. */
static const struct opt common_opts[] = {
    {.name = "help", .letter = 'h', .kind = OPT_FLAG, .help = "say what the command does"},
    {.name = "format",
     .kind = OPT_CHOICE,
     .metavar = "FORMAT",
     .choices = format_choices,
     .fallback = "text",
     .env = "TAFFRAIL_FORMAT",
     .help = "text for people, json for programs"},
};
static const struct opt client_opts[] = {
    {.name = "bootstrap-server",
     .letter = 'b',
     .kind = OPT_TEXT,
     .metavar = "HOST:PORT",
     .fallback = "localhost:9092",
     .env = "TAFFRAIL_BOOTSTRAP",
     .help = "a broker of the cluster; several with commas"},
    {.name = "timeout",
     .kind = OPT_DURATION,
     .metavar = "DURATION",
     .fallback = "30s",
     .help = "how long to wait for an answer"},
};

const struct opt *command_opt(const struct command *command, size_t n)
{
    if (n < command->opt_count)
        return &command->opts[n];
    n -= command->opt_count;
    if (command->is_client) {
        if (n < ARRAY_LEN(client_opts))
            return &client_opts[n];
        n -= ARRAY_LEN(client_opts);
    }
    size_t common = command->has_no_output ? ARRAY_LEN(common_opts) - 1 : ARRAY_LEN(common_opts);
    return n < common ? &common_opts[n] : NULL;
}

/* ---- words that are almost right ---- */

/* Edits (insert, delete, replace, swap neighbours) between two short words. */
static size_t edit_distance(const char *a, const char *b)
{
    size_t rows[3][DISTANCE_WORD_MAX + 1];
    size_t a_len = strlen(a), b_len = strlen(b);
    if (a_len > DISTANCE_WORD_MAX || b_len > DISTANCE_WORD_MAX)
        return SIZE_MAX;
    for (size_t j = 0; j <= b_len; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= a_len; i++) {
        size_t *row = rows[i % 3];
        const size_t *above = rows[(i - 1) % 3], *two_above = rows[(i + 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= b_len; j++) {
            size_t best = above[j - 1] + (a[i - 1] != b[j - 1]);
            if (above[j] + 1 < best)
                best = above[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                two_above[j - 2] + 1 < best)
                best = two_above[j - 2] + 1;
            row[j] = best;
        }
    }
    return rows[a_len % 3][b_len];
}

/* Whether the letters of `part` stand in `word` in this order. */
static bool is_subsequence(const char *part, const char *word)
{
    for (; *part && *word; word++)
        part += *part == *word;
    return *part == 0;
}

/* Twice the edits; one less where letters are only missing. A word that was only begun is nearer
 * than any edit. */
static size_t word_distance(const char *typed, const char *word)
{
    size_t len = strlen(typed);
    if (len >= 3 && strncmp(typed, word, len) == 0)
        return 0;
    size_t distance = edit_distance(typed, word);
    return distance == SIZE_MAX ? SIZE_MAX : 2 * distance - is_subsequence(typed, word);
}

const char *nearest_word(const char *word, const char *const *words, size_t count)
{
    size_t best = 2 * (strlen(word) / 3 + 1);
    const char *found = NULL;
    for (size_t i = 0; i < count; i++) {
        size_t distance = word_distance(word, words[i]);
        if (distance <= best && (found == NULL || distance < best)) {
            best = distance;
            found = words[i];
        }
    }
    return found;
}

static void put_did_you_mean(struct buf *why, const char *prefix, const char *near)
{
    if (near)
        buf_printf(why, "; did you mean '%s%s'?", prefix, near);
}

/* ---- finding the command ---- */

static const char *const help_words[] = {"help", "-h", "--help", NULL};

static bool word_is_in(const char *word, const char *const *words)
{
    for (; *words; words++) {
        if (strcmp(word, *words) == 0)
            return true;
    }
    return false;
}

static bool noun_has_verbs(const struct command_table *table, const char *noun)
{
    for (size_t i = 0; i < table->noun_count; i++) {
        if (strcmp(table->nouns[i].name, noun) == 0)
            return true;
    }
    return false;
}

static const struct command *find_command(const struct command_table *table, const char *noun,
                                          const char *verb)
{
    for (size_t i = 0; i < table->command_count; i++) {
        const struct command *command = &table->commands[i];
        if (strcmp(command->noun, noun) != 0)
            continue;
        if (command->verb == NULL || (verb && strcmp(command->verb, verb) == 0))
            return command;
    }
    return NULL;
}

static enum err refuse_noun(const struct command_table *table, const char *word, struct buf *why)
{
    const char *words[128];
    size_t count = 0;
    ASSERT(table->command_count < ARRAY_LEN(words));
    for (size_t i = 0; i < table->command_count; i++)
        words[count++] = table->commands[i].noun;
    buf_printf(why, "there is no command '%s'", word);
    const char *near = nearest_word(word, words, count);
    put_did_you_mean(why, "", near);
    if (!near)
        buf_printf(why, "; see 'taffrail help'");
    return ERR_USAGE;
}

static enum err refuse_verb(const struct command_table *table, const char *noun, const char *verb,
                            struct buf *why)
{
    const char *words[128];
    size_t count = 0;
    for (size_t i = 0; i < table->command_count; i++) {
        if (strcmp(table->commands[i].noun, noun) == 0)
            words[count++] = table->commands[i].verb;
    }
    if (verb)
        buf_printf(why, "'%s' cannot '%s'", noun, verb);
    else
        buf_printf(why, "say what to do");
    const char *near = verb ? nearest_word(verb, words, count) : NULL;
    if (near) {
        buf_printf(why, "; did you mean '%s %s'?", noun, near);
        return ERR_USAGE;
    }
    buf_printf(why, ": taffrail %s ", noun);
    for (size_t i = 0; i < count; i++)
        buf_printf(why, "%s%s", i ? "|" : "", words[i]);
    return ERR_USAGE;
}

/* `help [NOUN [VERB]]`, in any spelling. */
static enum err parse_help(struct args *args, char **words, size_t count, struct buf *why)
{
    args->wants_help = true;
    if (count == 0)
        return ERR_OK;
    if (!noun_has_verbs(args->table, words[0])) {
        args->command = find_command(args->table, words[0], NULL);
        return args->command ? ERR_OK : refuse_noun(args->table, words[0], why);
    }
    args->noun = words[0];
    if (count == 1)
        return ERR_OK;
    args->command = find_command(args->table, words[0], words[1]);
    return args->command ? ERR_OK : refuse_verb(args->table, words[0], words[1], why);
}

/* ---- values ---- */

static bool choice_index(const struct opt *opt, struct str word, int64_t *index)
{
    for (size_t i = 0; opt->choices[i]; i++) {
        if (str_eq_cstr(word, opt->choices[i])) {
            *index = (int64_t)i;
            return true;
        }
    }
    return false;
}

static bool list_is_valid(const struct opt *opt, const char *text)
{
    int64_t index;
    while (true) {
        size_t len = strcspn(text, ",");
        if (!choice_index(opt, (struct str){text, len}, &index))
            return false;
        if (text[len] == 0)
            return true;
        text += len + 1;
    }
}

/* What the option wants, as the end of "'--x' is 'y', but ...". */
static void put_wanted(struct buf *why, const struct opt *opt)
{
    switch (opt->kind) {
    case OPT_INT:
        if (opt->max == INT64_MAX)
            buf_printf(why, "it is a whole number of at least %lld", (long long)opt->min);
        else
            buf_printf(why, "it is a whole number from %lld to %lld", (long long)opt->min,
                       (long long)opt->max);
        break;
    case OPT_DURATION:
        buf_printf(why, "it is a duration such as 500ms, 30s, 5m or 1h30m");
        break;
    case OPT_CHOICE:
        buf_printf(why, "it is one of: ");
        help_put_choices(why, opt->choices);
        break;
    case OPT_LIST:
        buf_printf(why, "it is a comma-separated list of: ");
        help_put_choices(why, opt->choices);
        break;
    case OPT_PAIR:
        buf_printf(why, "it is %s", opt->metavar);
        break;
    case OPT_POSITION:
        buf_printf(why, "it is %s", POSITION_FORMS);
        break;
    case OPT_FLAG:
    case OPT_TEXT:
        buf_printf(why, "it must not be empty");
        break;
    }
}

static bool value_is_valid(const struct opt *opt, const char *text, int64_t *number)
{
    struct position position;
    struct str str = str_of(text);
    switch (opt->kind) {
    case OPT_FLAG:
        return true;
    case OPT_TEXT:
        return true;
    case OPT_INT:
        return parse_i64_in(str, opt->min, opt->max, number) == ERR_OK;
    case OPT_DURATION:
        return duration_parse(str, number) == ERR_OK && *number >= 0;
    case OPT_CHOICE:
        return choice_index(opt, str, number);
    case OPT_LIST:
        return list_is_valid(opt, text);
    case OPT_PAIR:
        return strchr(text, '=') != NULL && text[0] != '=';
    case OPT_POSITION:
        return position_parse(str, &position) == ERR_OK;
    }
    UNREACHABLE();
}

static const struct arg_value *find_value(const struct args *args, const char *name)
{
    for (size_t i = 0; i < args->value_count; i++) {
        if (strcmp(args->values[i].opt->name, name) == 0)
            return &args->values[i];
    }
    return NULL;
}

/* `source` is how the user wrote it: "--name", "-n" or the environment variable. */
static enum err add_value(struct args *args, const struct opt *opt, const char *source,
                          const char *text, bool is_given, struct buf *why)
{
    struct arg_value value = {.opt = opt, .text = text, .is_given = is_given};
    if (text && !value_is_valid(opt, text, &value.number)) {
        buf_printf(why, "%s is '%s', but ", source, text);
        put_wanted(why, opt);
        return ERR_USAGE;
    }
    if (is_given && !opt->repeats && opt->kind != OPT_FLAG && find_value(args, opt->name)) {
        buf_printf(why, "%s is given twice", source);
        return ERR_USAGE;
    }
    args->values[args->value_count++] = value;
    return ERR_OK;
}

/* ---- options ---- */

static const struct opt *find_opt(const struct command *command, struct str name, char letter)
{
    const struct opt *opt;
    for (size_t i = 0; (opt = command_opt(command, i)) != NULL; i++) {
        if (letter ? opt->letter == letter : str_eq_cstr(name, opt->name))
            return opt;
    }
    return NULL;
}

static enum err refuse_opt(const struct command *command, const char *word, struct buf *why)
{
    const char *names[64];
    char typed[DISTANCE_WORD_MAX + 1] = "";
    size_t count = 0;
    const struct opt *opt;
    for (size_t i = 0; (opt = command_opt(command, i)) != NULL; i++) {
        ASSERT(count < ARRAY_LEN(names));
        names[count++] = opt->name;
    }
    buf_printf(why, "'");
    help_put_command_name(why, command);
    buf_printf(why, "' has no option '%s'", word);
    const char *near = NULL;
    if (strncmp(word, "--", 2) == 0) {
        snprintf(typed, sizeof(typed), "%.*s", (int)strcspn(word + 2, "="), word + 2);
        near = nearest_word(typed, names, count);
    }
    put_did_you_mean(why, "--", near);
    if (!near) {
        buf_printf(why, "; see 'taffrail help ");
        help_put_command_name(why, command);
        buf_printf(why, "'");
    }
    return ERR_USAGE;
}

/* The words still to be parsed. */
struct cursor {
    const char **words;
    size_t at, count;
};

static enum err next_value(struct cursor *cursor, const struct opt *opt, const char *source,
                           const char **text, struct buf *why)
{
    if (cursor->at == cursor->count) {
        buf_printf(why, "%s needs a value: %s %s", source, source, opt->metavar);
        return ERR_USAGE;
    }
    *text = cursor->words[cursor->at++];
    return ERR_OK;
}

static enum err parse_long(struct args *args, struct cursor *cursor, const char *word,
                           struct buf *why)
{
    const char *name = word + 2;
    size_t name_len = strcspn(name, "=");
    const char *text = name[name_len] ? name + name_len + 1 : NULL;
    const struct opt *opt = find_opt(args->command, (struct str){name, name_len}, 0);
    if (!opt)
        return refuse_opt(args->command, word, why);
    char source[DISTANCE_WORD_MAX];
    snprintf(source, sizeof(source), "--%s", opt->name);
    if (opt->kind == OPT_FLAG) {
        if (text) {
            buf_printf(why, "%s takes no value", source);
            return ERR_USAGE;
        }
    } else if (!text) {
        TRY(next_value(cursor, opt, source, &text, why));
    }
    return add_value(args, opt, source, text, true, why);
}

static enum err parse_letters(struct args *args, struct cursor *cursor, const char *word,
                              struct buf *why)
{
    for (const char *at = word + 1; *at; at++) {
        const struct opt *opt = find_opt(args->command, STR_NULL, *at);
        char source[3] = {'-', *at, 0};
        if (!opt)
            return refuse_opt(args->command, at == word + 1 ? word : source, why);
        if (opt->kind == OPT_FLAG) {
            TRY(add_value(args, opt, source, NULL, true, why));
            continue;
        }
        const char *text = at + 1;
        if (*text == 0)
            TRY(next_value(cursor, opt, source, &text, why));
        return add_value(args, opt, source, text, true, why);
    }
    return ERR_OK;
}

static enum err parse_words(struct args *args, struct cursor *cursor, struct buf *why)
{
    bool options_ended = false;
    while (cursor->at < cursor->count) {
        const char *word = cursor->words[cursor->at++];
        if (options_ended || word[0] != '-' || word[1] == 0) {
            args->operands[args->operand_count++] = word;
        } else if (strcmp(word, "--") == 0) {
            options_ended = true;
        } else if (args->command->number_opt && word[1] >= '0' && word[1] <= '9') {
            const struct opt *opt = find_opt(args->command, str_of(args->command->number_opt), 0);
            TRY(add_value(args, opt, word, word, true, why));
        } else if (word[1] == '-') {
            TRY(parse_long(args, cursor, word, why));
        } else {
            TRY(parse_letters(args, cursor, word, why));
        }
    }
    return ERR_OK;
}

static enum err check_operands(const struct args *args, struct buf *why)
{
    const struct command *command = args->command;
    size_t required = 0;
    bool unbounded = false;
    for (size_t i = 0; i < command->operand_count; i++) {
        required += !command->operands[i].optional;
        unbounded |= command->operands[i].repeats;
    }
    if (args->operand_count < required)
        buf_printf(why, "%s is missing", command->operands[args->operand_count].name);
    else if (!unbounded && args->operand_count > command->operand_count)
        buf_printf(why, "'%s' is one argument too many", args->operands[command->operand_count]);
    else
        return ERR_OK;
    buf_printf(why, "; usage: ");
    help_put_usage(why, command);
    buf_printf(why, " [options]");
    return ERR_USAGE;
}

static enum err check_operand_choices(const struct args *args, struct buf *why)
{
    for (size_t i = 0; i < args->operand_count && i < args->command->operand_count; i++) {
        const struct operand *operand = &args->command->operands[i];
        if (!operand->choices || word_is_in(args->operands[i], operand->choices))
            continue;
        buf_printf(why, "%s is '%s', but it is one of: ", operand->name, args->operands[i]);
        help_put_choices(why, operand->choices);
        return ERR_USAGE;
    }
    return ERR_OK;
}

static enum err add_fallbacks(struct args *args, struct buf *why)
{
    const struct opt *opt;
    for (size_t i = 0; (opt = command_opt(args->command, i)) != NULL; i++) {
        if (find_value(args, opt->name))
            continue;
        const char *env = opt->env ? getenv(opt->env) : NULL;
        if (env && *env)
            TRY(add_value(args, opt, opt->env, env, false, why));
        else if (opt->fallback)
            TRY(add_value(args, opt, opt->name, opt->fallback, false, why));
    }
    return ERR_OK;
}

/* Moves leading options (with their values) behind the command. Stops at the first other word. */
static size_t take_leading_options(struct args *args, int argc, char **argv, struct cursor *cursor)
{
    static const struct command leading = {.is_client = true};
    size_t at = 1;
    while (at < (size_t)argc && argv[at][0] == '-' && !word_is_in(argv[at], help_words)) {
        const char *word = argv[at];
        bool is_long = word[1] == '-';
        size_t name_len = is_long ? strcspn(word + 2, "=") : 0;
        const struct opt *opt = find_opt(&leading, (struct str){word + 2, name_len},
                                         is_long ? 0 : (word[1] ? word[1] : '-'));
        if (!opt)
            break;
        bool has_value = is_long ? word[2 + name_len] != 0 : word[2] != 0;
        args->words[cursor->count++] = argv[at++];
        if (opt->kind != OPT_FLAG && !has_value && at < (size_t)argc)
            args->words[cursor->count++] = argv[at++];
    }
    return at;
}

static enum err find_named_command(struct args *args, char **words, size_t count, size_t *taken,
                                   struct buf *why)
{
    const struct command_table *table = args->table;
    if (count == 0) {
        buf_printf(why, "say what to do; see 'taffrail help'");
        return ERR_USAGE;
    }
    if (word_is_in(words[0], help_words))
        return parse_help(args, words + 1, count - 1, why);
    if (strcmp(words[0], "--version") == 0 || strcmp(words[0], "-V") == 0) {
        args->wants_version = true;
        return ERR_OK;
    }
    if (words[0][0] == '-') {
        buf_printf(why, "'%s' comes before a command that knows it; see 'taffrail help'", words[0]);
        return ERR_USAGE;
    }
    if (noun_has_verbs(table, words[0]) && count > 1 && word_is_in(words[1], help_words))
        return parse_help(args, words, 1, why);
    args->command = find_command(table, words[0], count > 1 ? words[1] : NULL);
    if (args->command == NULL && noun_has_verbs(table, words[0]))
        return refuse_verb(table, words[0], count > 1 ? words[1] : NULL, why);
    if (args->command == NULL)
        return refuse_noun(table, words[0], why);
    *taken = args->command->verb ? 2 : 1;
    return ERR_OK;
}

enum err args_parse(struct args *args, const struct command_table *table, int argc, char **argv,
                    struct buf *why)
{
    ASSERT(argc >= 1);
    /* Each word gives at most one value per letter, each option at most one fallback. */
    size_t letters = 0;
    for (int i = 1; i < argc; i++)
        letters += strlen(argv[i]) + 1;
    *args = (struct args){.table = table};
    args->words = calloc((size_t)argc, sizeof(*args->words));
    args->operands = calloc((size_t)argc, sizeof(*args->operands));
    args->values = calloc(letters + 64, sizeof(*args->values));
    if (!args->words || !args->operands || !args->values) {
        buf_printf(why, "out of memory");
        return ERR_NOMEM;
    }
    struct cursor cursor = {.words = args->words};
    size_t at = take_leading_options(args, argc, argv, &cursor), taken = 0;
    TRY(find_named_command(args, argv + at, (size_t)argc - at, &taken, why));
    if (!args->command || args->wants_help)
        return ERR_OK;
    for (at += taken; at < (size_t)argc; at++)
        args->words[cursor.count++] = argv[at];
    TRY(parse_words(args, &cursor, why));
    if (args_has(args, "help")) {
        args->wants_help = true;
        return ERR_OK;
    }
    TRY(check_operands(args, why));
    TRY(check_operand_choices(args, why));
    return add_fallbacks(args, why);
}

void args_deinit(struct args *args)
{
    free(args->words);
    free(args->operands);
    free(args->values);
    *args = (struct args){0};
}

/* ---- what commands ask ---- */

static const struct arg_value *args_find(const struct args *args, const char *name)
{
    ASSERT(find_opt(args->command, str_of(name), 0) != NULL);
    return find_value(args, name);
}

bool args_has(const struct args *args, const char *name)
{
    const struct arg_value *value = args_find(args, name);
    return value && value->is_given;
}

const char *args_text(const struct args *args, const char *name)
{
    const struct arg_value *value = args_find(args, name);
    return value ? value->text : NULL;
}

int64_t args_number(const struct args *args, const char *name)
{
    const struct arg_value *value = args_find(args, name);
    ASSERT(value != NULL);
    return value->number;
}

const char *args_nth(const struct args *args, const char *name, size_t n)
{
    ASSERT(find_opt(args->command, str_of(name), 0)->repeats);
    for (size_t i = 0; i < args->value_count; i++) {
        if (strcmp(args->values[i].opt->name, name) == 0 && n-- == 0)
            return args->values[i].text;
    }
    return NULL;
}

bool args_list_has(const struct args *args, const char *name, const char *word)
{
    const char *text = args_text(args, name);
    while (text && *text) {
        size_t len = strcspn(text, ",");
        if (str_eq_cstr((struct str){text, len}, word))
            return true;
        text += len + (text[len] == ',');
    }
    return false;
}

int args_timeout_ms(const struct args *args)
{
    int64_t timeout_ms = args_number(args, "timeout");
    return timeout_ms < 1 ? 1 : timeout_ms > TIMEOUT_MS_MAX ? TIMEOUT_MS_MAX : (int)timeout_ms;
}

bool args_is_json(const struct args *args)
{
    return strcmp(args_text(args, "format"), "json") == 0;
}
