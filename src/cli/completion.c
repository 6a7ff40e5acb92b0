/* Completion scripts.
 *
 * All three offer the nouns, a noun's verbs, a command's options, the words of an option that has
 * choices, and topics (asked of the cluster, briefly) or files where an operand is one. Texts from
 * the table are put in single quotes; none of them may hold one (a test sees to it). */
#include "cli/completion.h"

#include <stdio.h>

#include "cli/out.h"

#define TOPICS_COMMAND "taffrail topic list --names --timeout 1s 2>/dev/null"
#define GROUPS_COMMAND "taffrail group list --names --timeout 1s 2>/dev/null"

/* Whether this is the first command of its noun in the table. */
static bool is_first_of_noun(const struct command_table *table, size_t n)
{
    return n == 0 || strcmp(table->commands[n].noun, table->commands[n - 1].noun) != 0;
}

static void put_verbs(const struct command_table *table, const char *noun, struct buf *out)
{
    for (size_t i = 0; i < table->command_count; i++) {
        const struct command *command = &table->commands[i];
        if (command->verb && strcmp(command->noun, noun) == 0)
            buf_printf(out, "%s ", command->verb);
    }
}

static void put_nouns(const struct command_table *table, struct buf *out)
{
    for (size_t i = 0; i < table->command_count; i++) {
        if (is_first_of_noun(table, i))
            buf_printf(out, "%s ", table->commands[i].noun);
    }
    buf_printf(out, "help");
}

static void put_words(const char *const *words, struct buf *out)
{
    for (size_t i = 0; words[i]; i++)
        buf_printf(out, "%s%s", i ? " " : "", words[i]);
}

/* ---- bash ---- */

/* `"topic create"` or `"produce "`: how the scripts name a command. */
static void put_bash_command(const struct command *command, struct buf *out)
{
    buf_printf(out, "    '%s %s')\n", command->noun, command->verb ? command->verb : "");
    buf_printf(out, "        opts='");
    const struct opt *opt;
    for (size_t i = 0; (opt = command_opt(command, i)) != NULL; i++) {
        buf_printf(out, "--%s ", opt->name);
        if (opt->letter)
            buf_printf(out, "-%c ", opt->letter);
    }
    buf_printf(out, "'\n        case $prev in\n");
    for (size_t i = 0; (opt = command_opt(command, i)) != NULL; i++) {
        if (opt->kind == OPT_FLAG)
            continue;
        buf_printf(out, "        --%s", opt->name);
        if (opt->letter)
            buf_printf(out, "|-%c", opt->letter);
        buf_printf(out, ") words='");
        if (opt->choices)
            put_words(opt->choices, out);
        buf_printf(out, "'; value=1 ;;\n");
    }
    buf_printf(out, "        esac\n");
    if (command->operand_count) {
        const struct operand *operand = &command->operands[command->operand_count - 1];
        if (operand->kind == OPERAND_TOPIC)
            buf_printf(out, "        operand=topic\n");
        else if (operand->kind == OPERAND_GROUP)
            buf_printf(out, "        operand=group\n");
        else if (operand->kind == OPERAND_FILE)
            buf_printf(out, "        operand=file\n");
        if (command->operands[0].choices) {
            buf_printf(out, "        operand='");
            put_words(command->operands[0].choices, out);
            buf_printf(out, "'\n");
        }
    }
    buf_printf(out, "        ;;\n");
}

void completion_put_bash(const struct command_table *table, struct buf *out)
{
    buf_printf(out, "# bash completion for taffrail; made by 'taffrail completion bash'\n"
                    "_taffrail() {\n"
                    "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}\n"
                    "    local noun=${COMP_WORDS[1]} verb= opts= words= value= operand=\n"
                    "    COMPREPLY=()\n"
                    "    if (( COMP_CWORD == 1 )); then\n        COMPREPLY=($(compgen -W '");
    put_nouns(table, out);
    buf_printf(out, "' -- \"$cur\"))\n        return\n    fi\n    case $noun in\n");
    for (size_t i = 0; i < table->noun_count; i++) {
        buf_printf(out, "    %s)\n        verb=${COMP_WORDS[2]}\n", table->nouns[i].name);
        buf_printf(out, "        if (( COMP_CWORD == 2 )); then\n"
                        "            COMPREPLY=($(compgen -W '");
        put_verbs(table, table->nouns[i].name, out);
        buf_printf(out, "' -- \"$cur\"))\n            return\n        fi ;;\n");
    }
    buf_printf(out, "    esac\n    case \"$noun $verb\" in\n");
    for (size_t i = 0; i < table->command_count; i++)
        put_bash_command(&table->commands[i], out);
    buf_printf(out, "    esac\n"
                    "    if [[ $value ]]; then\n"
                    "        COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
                    "    elif [[ $cur == -* ]]; then\n"
                    "        COMPREPLY=($(compgen -W \"$opts\" -- \"$cur\"))\n"
                    "    elif [[ $operand == topic ]]; then\n"
                    "        COMPREPLY=($(compgen -W \"$(" TOPICS_COMMAND ")\" -- \"$cur\"))\n"
                    "    elif [[ $operand == group ]]; then\n"
                    "        COMPREPLY=($(compgen -W \"$(" GROUPS_COMMAND ")\" -- \"$cur\"))\n"
                    "    elif [[ $operand == file ]]; then\n"
                    "        COMPREPLY=($(compgen -f -- \"$cur\"))\n"
                    "    else\n"
                    "        COMPREPLY=($(compgen -W \"$operand\" -- \"$cur\"))\n"
                    "    fi\n"
                    "}\n"
                    "complete -o filenames -F _taffrail taffrail\n");
}

/* ---- zsh ---- */

/* Texts of _arguments: brackets and colons have a meaning there. */
static void put_zsh_text(const char *text, struct buf *out)
{
    for (; *text; text++) {
        if (strchr("[]:\\", *text))
            buf_put_u8(out, '\\');
        buf_put_u8(out, (uint8_t)*text);
    }
}

static void put_zsh_opt(const struct opt *opt, const char *prefix, const char *name,
                        struct buf *out)
{
    buf_printf(out, "            '%s%s%s%s[", opt->repeats ? "*" : "", prefix, name,
               opt->kind == OPT_FLAG ? ""
               : opt->name == name   ? "="
                                     : "+");
    put_zsh_text(opt->help, out);
    buf_printf(out, "]");
    if (opt->kind != OPT_FLAG) {
        buf_printf(out, ":");
        put_zsh_text(opt->metavar, out);
        buf_printf(out, ":");
        if (opt->choices) {
            buf_printf(out, "(");
            put_words(opt->choices, out);
            buf_printf(out, ")");
        }
    }
    buf_printf(out, "' \\\n");
}

static void put_zsh_operand(const struct operand *operand, struct buf *out)
{
    buf_printf(out, "            '%s:%s:", operand->repeats ? "*" : "", operand->name);
    if (operand->kind == OPERAND_TOPIC)
        buf_printf(out, "_taffrail_topics");
    else if (operand->kind == OPERAND_GROUP)
        buf_printf(out, "_taffrail_groups");
    else if (operand->kind == OPERAND_FILE)
        buf_printf(out, "_files");
    else if (operand->choices) {
        buf_printf(out, "(");
        put_words(operand->choices, out);
        buf_printf(out, ")");
    }
    buf_printf(out, "' \\\n");
}

static void put_zsh_command(const struct command *command, struct buf *out)
{
    buf_printf(out, "    '%s %s')\n        _arguments -s \\\n", command->noun,
               command->verb ? command->verb : "");
    const struct opt *opt;
    for (size_t i = 0; (opt = command_opt(command, i)) != NULL; i++) {
        char letter[2] = {opt->letter, 0};
        put_zsh_opt(opt, "--", opt->name, out);
        if (opt->letter)
            put_zsh_opt(opt, "-", letter, out);
    }
    for (size_t i = 0; i < command->operand_count; i++)
        put_zsh_operand(&command->operands[i], out);
    buf_printf(out, "            && return ;;\n");
}

static void put_zsh_verbs(const struct command_table *table, const char *noun, struct buf *out)
{
    for (size_t i = 0; i < table->command_count; i++) {
        const struct command *command = &table->commands[i];
        if (!command->verb || strcmp(command->noun, noun) != 0)
            continue;
        buf_printf(out, "            '%s:", command->verb);
        put_zsh_text(command->summary, out);
        buf_printf(out, "'\n");
    }
}

static void put_zsh_nouns(const struct command_table *table, struct buf *out)
{
    for (size_t i = 0; i < table->command_count; i++) {
        if (!is_first_of_noun(table, i))
            continue;
        const char *summary = table->commands[i].summary;
        for (size_t j = 0; j < table->noun_count; j++) {
            if (strcmp(table->nouns[j].name, table->commands[i].noun) == 0)
                summary = table->nouns[j].summary;
        }
        buf_printf(out, "            '%s:", table->commands[i].noun);
        put_zsh_text(summary, out);
        buf_printf(out, "'\n");
    }
    buf_printf(out, "            'help:Says what a command does'\n");
}

void completion_put_zsh(const struct command_table *table, struct buf *out)
{
    buf_printf(out, "#compdef taffrail\n"
                    "# zsh completion for taffrail; made by 'taffrail completion zsh'\n"
                    "_taffrail_topics() {\n"
                    "    local -a topics\n"
                    "    topics=(${(f)\"$(" TOPICS_COMMAND ")\"})\n"
                    "    compadd -a topics\n"
                    "}\n"
                    "_taffrail_groups() {\n"
                    "    local -a groups\n"
                    "    groups=(${(f)\"$(" GROUPS_COMMAND ")\"})\n"
                    "    compadd -a groups\n"
                    "}\n"
                    "_taffrail() {\n"
                    "    local -a items\n"
                    "    local noun=$words[2] verb=\n"
                    "    if (( CURRENT == 2 )); then\n"
                    "        items=(\n");
    put_zsh_nouns(table, out);
    buf_printf(out, "        )\n        _describe command items\n        return\n    fi\n"
                    "    case $noun in\n");
    for (size_t i = 0; i < table->noun_count; i++) {
        buf_printf(out, "    %s)\n        if (( CURRENT == 3 )); then\n            items=(\n",
                   table->nouns[i].name);
        put_zsh_verbs(table, table->nouns[i].name, out);
        buf_printf(out, "            )\n            _describe command items\n            return\n"
                        "        fi\n        verb=$words[3]; shift words; (( CURRENT-- )) ;;\n");
    }
    buf_printf(out, "    esac\n    shift words; (( CURRENT-- ))\n    case \"$noun $verb\" in\n");
    for (size_t i = 0; i < table->command_count; i++)
        put_zsh_command(&table->commands[i], out);
    buf_printf(out, "    esac\n}\n_taffrail \"$@\"\n");
}

/* ---- fish ---- */

static void put_fish_condition(const struct command *command, struct buf *out)
{
    buf_printf(out, "complete -c taffrail -n '__taffrail_is %s", command->noun);
    if (command->verb)
        buf_printf(out, " %s", command->verb);
    buf_printf(out, "'");
}

static void put_fish_command(const struct command *command, struct buf *out)
{
    const struct opt *opt;
    for (size_t i = 0; (opt = command_opt(command, i)) != NULL; i++) {
        put_fish_condition(command, out);
        buf_printf(out, " -l %s", opt->name);
        if (opt->letter)
            buf_printf(out, " -s %c", opt->letter);
        if (opt->kind != OPT_FLAG)
            buf_printf(out, " -x");
        if (opt->choices) {
            buf_printf(out, " -a '");
            put_words(opt->choices, out);
            buf_printf(out, "'");
        }
        buf_printf(out, " -d '%s'\n", opt->help);
    }
    if (command->operand_count == 0)
        return;
    const struct operand *operand = &command->operands[command->operand_count - 1];
    if (operand->kind == OPERAND_TOPIC) {
        put_fish_condition(command, out);
        buf_printf(out, " -a '(" TOPICS_COMMAND ")'\n");
    } else if (operand->kind == OPERAND_GROUP) {
        put_fish_condition(command, out);
        buf_printf(out, " -a '(" GROUPS_COMMAND ")'\n");
    } else if (operand->kind == OPERAND_FILE) {
        put_fish_condition(command, out);
        buf_printf(out, " -F\n");
    }
    if (command->operands[0].choices) {
        put_fish_condition(command, out);
        buf_printf(out, " -a '");
        put_words(command->operands[0].choices, out);
        buf_printf(out, "'\n");
    }
}

void completion_put_fish(const struct command_table *table, struct buf *out)
{
    buf_printf(out, "# fish completion for taffrail; made by 'taffrail completion fish'\n"
                    "complete -c taffrail -f\n"
                    "function __taffrail_is\n"
                    "    set -l words (commandline -opc)\n"
                    "    set -e words[1]\n"
                    "    test (count $words) -ge (count $argv); or return 1\n"
                    "    for i in (seq (count $argv))\n"
                    "        test $words[$i] = $argv[$i]; or return 1\n"
                    "    end\n"
                    "end\n"
                    "function __taffrail_needs\n"
                    "    set -l words (commandline -opc)\n"
                    "    set -e words[1]\n"
                    "    test (count $words) -eq (count $argv); or return 1\n"
                    "    test \"$words\" = \"$argv\"\n"
                    "end\n"
                    "complete -c taffrail -n '__taffrail_needs' -a '");
    put_nouns(table, out);
    buf_printf(out, "'\n");
    for (size_t i = 0; i < table->noun_count; i++) {
        buf_printf(out, "complete -c taffrail -n '__taffrail_needs %s' -a '", table->nouns[i].name);
        put_verbs(table, table->nouns[i].name, out);
        buf_printf(out, "'\n");
    }
    for (size_t i = 0; i < table->command_count; i++)
        put_fish_command(&table->commands[i], out);
}

/* ---- commands ---- */

int completion_run(const struct args *args)
{
    struct buf out;
    buf_init(&out, BUF_NO_LIMIT);
    if (strcmp(args->operands[0], "bash") == 0)
        completion_put_bash(args->table, &out);
    else if (strcmp(args->operands[0], "zsh") == 0)
        completion_put_zsh(args->table, &out);
    else
        completion_put_fish(args->table, &out);
    int code = out_buf(&out);
    buf_deinit(&out);
    return code;
}

int version_run(const struct args *args)
{
    if (args_is_json(args))
        return out_json(json_pack("{s:s}", "version", TAFFRAIL_VERSION));
    printf("taffrail %s\n", TAFFRAIL_VERSION);
    return EXIT_FINE;
}
