/* Every command and option of `taffrail`. Parsing, help and completion read this table; the man
 * page is checked against it. To add a command: a row here, a run function in the file of its noun,
 * its lines in docs/taffrail.1. */
#include "cli/commands.h"

#include "broker/shard.h"
#include "cli/cluster.h"
#include "cli/completion.h"
#include "cli/config.h"
#include "cli/consume.h"
#include "cli/group.h"
#include "cli/log.h"
#include "cli/produce.h"
#include "cli/serve.h"
#include "cli/topic.h"

static const char *const shell_choices[] = {"bash", "zsh", "fish", NULL};
static const char *const input_choices[] = {"lines", "json", NULL};
static const char *const compression_choices[] = {"none", "gzip", "snappy", "lz4", "zstd", NULL};
static const char *const acks_choices[] = {"all", "1", "0", NULL};
static const char *const escape_choices[] = {"auto", "always", "never", NULL};
static const char *const isolation_choices[] = {"read_committed", "read_uncommitted", NULL};
static const char *const decode_choices[] = {"auto",   "none",     "offsets", "transactions",
                                             "shares", "metadata", NULL};
static const char *const state_choices[] = {
    "PreparingRebalance", "CompletingRebalance", "Stable",   "Empty", "Dead",
    "Assigning",          "Reconciling",         "NotReady", NULL};
static const char *const type_choices[] = {"classic", "consumer", "share", "streams", NULL};
static const char *const by_choices[] = {"group", "topic", "partition", NULL};
static const char *const print_choices[] = {"partition", "offset", "timestamp", "key",
                                            "headers",   "size",   "value",     NULL};

static const struct operand topic_operand[] = {{"TOPIC", .kind = OPERAND_TOPIC}};
static const struct operand topics_operand[] = {{"TOPIC", .kind = OPERAND_TOPIC, .repeats = true}};
static const struct operand new_topics_operand[] = {{"TOPIC", .repeats = true}};
static const struct operand group_operand[] = {{"GROUP", .kind = OPERAND_GROUP}};
static const struct operand groups_operand[] = {{"GROUP", .kind = OPERAND_GROUP, .repeats = true}};
static const struct operand any_groups_operand[] = {
    {"GROUP", .kind = OPERAND_GROUP, .optional = true, .repeats = true}};
static const struct operand kind_operand[] = {
    {"KIND", .kind = OPERAND_CHOICE, .choices = config_kinds, .optional = true}};
static const struct operand config_keys_operands[] = {
    {"KIND", .kind = OPERAND_CHOICE, .choices = config_kinds},
    {"NAME", .kind = OPERAND_WORD},
    {"KEY", .kind = OPERAND_WORD, .optional = true, .repeats = true}};
static const struct operand config_set_operands[] = {
    {"KIND", .kind = OPERAND_CHOICE, .choices = config_kinds},
    {"NAME", .kind = OPERAND_WORD},
    {"KEY=VALUE", .kind = OPERAND_WORD, .repeats = true}};
static const struct operand config_unset_operands[] = {
    {"KIND", .kind = OPERAND_CHOICE, .choices = config_kinds},
    {"NAME", .kind = OPERAND_WORD},
    {"KEY", .kind = OPERAND_WORD, .repeats = true}};
static const struct operand paths_operand[] = {{"PATH", .kind = OPERAND_FILE, .repeats = true}};
static const struct operand folders_operand[] = {{"FOLDER", .kind = OPERAND_FILE, .repeats = true}};
static const struct operand serve_operand[] = {{"FILE", .kind = OPERAND_FILE, .optional = true}};
static const struct operand shell_operand[] = {
    {"SHELL", .kind = OPERAND_CHOICE, .choices = shell_choices}};

#define OPT_PROPERTY                                                                     \
    {                                                                                    \
        .name = "property", .letter = 'X', .kind = OPT_PAIR, .metavar = "KEY=VALUE",     \
        .repeats = true, .help = "a setting of librdkafka, for security and for experts" \
    }

/* ---- serve ---- */

static const struct opt serve_opts[] = {
    {.name = "override",
     .letter = 'o',
     .kind = OPT_PAIR,
     .metavar = "KEY=VALUE",
     .repeats = true,
     .help = "a key of the configuration, in place of what the file says"},
    {.name = "shards",
     .kind = OPT_INT,
     .min = 1,
     .max = SHARD_COUNT_MAX,
     .metavar = "N",
     .help = "threads that own connections and partitions; otherwise one for each core"},
};

static const char serve_details[] =
    "FILE is a server.properties as Apache Kafka reads it. Without one, the broker listens on "
    "port\n"
    "9092 and keeps its data in ./data; all else is as in Kafka. A data folder that is empty is\n"
    "formatted; one that another process uses, or that neither Kafka nor Taffrail wrote, is "
    "refused\n"
    "untouched. SIGTERM and Ctrl-C stop it cleanly; a second one ends it at once.";

/* ---- topic ---- */

static const struct opt topic_create_opts[] = {
    {.name = "partitions",
     .letter = 'p',
     .kind = OPT_INT,
     .min = 1,
     .max = 100000,
     .metavar = "N",
     .help = "number of partitions; otherwise as num.partitions of the broker"},
    {.name = "replication-factor",
     .letter = 'r',
     .kind = OPT_INT,
     .min = 1,
     .max = 32767,
     .metavar = "N",
     .help = "replicas of each; otherwise as default.replication.factor"},
    {.name = "config",
     .letter = 'c',
     .kind = OPT_PAIR,
     .metavar = "KEY=VALUE",
     .repeats = true,
     .help = "a topic config"},
    {.name = "if-not-exists", .kind = OPT_FLAG, .help = "a topic that exists is no failure"},
    {.name = "validate-only", .kind = OPT_FLAG, .help = "check everything, create nothing"},
};

static const struct opt topic_list_opts[] = {
    {.name = "internal", .kind = OPT_FLAG, .help = "also topics of the cluster itself"},
    {.name = "names", .kind = OPT_FLAG, .help = "only the names, one a line"},
};

static const struct opt topic_alter_opts[] = {
    {.name = "partitions",
     .letter = 'p',
     .kind = OPT_INT,
     .min = 1,
     .max = 100000,
     .metavar = "N",
     .help = "grow to N partitions; records stay where they are"},
    {.name = "config",
     .letter = 'c',
     .kind = OPT_PAIR,
     .metavar = "KEY=VALUE",
     .repeats = true,
     .help = "set a config"},
    {.name = "unset",
     .kind = OPT_TEXT,
     .metavar = "KEY",
     .repeats = true,
     .help = "take a config back to what the broker has"},
};

static const struct opt topic_describe_opts[] = {
    {.name = "producers", .kind = OPT_FLAG, .help = "also who writes: ids, epochs, sequences"},
};

static const struct opt topic_delete_opts[] = {
    {.name = "if-exists", .kind = OPT_FLAG, .help = "a topic that does not exist is no failure"},
};

/* ---- config ---- */

static const struct opt config_describe_opts[] = {
    {.name = "all", .letter = 'a', .kind = OPT_FLAG, .help = "also those at their defaults"},
    {.name = "docs", .kind = OPT_FLAG, .help = "what each one means, in the words of the broker"},
};

static const struct opt config_change_opts[] = {
    {.name = "validate-only", .kind = OPT_FLAG, .help = "check everything, change nothing"},
};

static const char config_details[] = "KIND is topic, broker, group or client-metrics. A broker is "
                                     "named by its id; 'default' stands\n"
                                     "for the cluster-wide default of all brokers.";

/* ---- produce and consume ---- */

static const struct opt produce_opts[] = {
    {.name = "input",
     .letter = 'i',
     .kind = OPT_CHOICE,
     .choices = input_choices,
     .metavar = "FORM",
     .fallback = "lines",
     .help = "what standard input holds, a record on each line"},
    {.name = "key-separator",
     .letter = 'K',
     .kind = OPT_TEXT,
     .metavar = "TEXT",
     .help = "what stands between key and value in a line; a line without it has no key"},
    {.name = "key", .letter = 'k', .kind = OPT_TEXT, .metavar = "TEXT", .help = "the key of all"},
    {.name = "header",
     .letter = 'H',
     .kind = OPT_PAIR,
     .metavar = "KEY=VALUE",
     .repeats = true,
     .help = "a header of each record"},
    {.name = "partition",
     .letter = 'p',
     .kind = OPT_INT,
     .min = 0,
     .max = INT32_MAX,
     .metavar = "N",
     .help = "the partition; otherwise by key, as Java clients choose"},
    {.name = "compression",
     .letter = 'z',
     .kind = OPT_CHOICE,
     .choices = compression_choices,
     .metavar = "CODEC",
     .fallback = "none",
     .help = "how batches are compressed"},
    {.name = "acks",
     .kind = OPT_CHOICE,
     .choices = acks_choices,
     .metavar = "ACKS",
     .fallback = "all",
     .help = "which replicas must have a record"},
    {.name = "rate",
     .kind = OPT_INT,
     .min = 1,
     .max = 1000000000,
     .metavar = "N",
     .help = "at most N records a second"},
    {.name = "empty-as-null",
     .kind = OPT_FLAG,
     .help = "an empty value is a null one, which deletes its key in a compacted topic"},
    {.name = "quiet", .letter = 'q', .kind = OPT_FLAG, .help = "no progress and no summary"},
    OPT_PROPERTY,
};

static const struct opt consume_opts[] = {
    {.name = "from",
     .kind = OPT_POSITION,
     .metavar = "POSITION",
     .help = "where to begin (default beginning; with --follow, end)"},
    {.name = "to",
     .kind = OPT_POSITION,
     .metavar = "POSITION",
     .help = "where to end, itself not included (default end)"},
    {.name = "follow", .letter = 'f', .kind = OPT_FLAG, .help = "wait for new records"},
    {.name = "count",
     .letter = 'n',
     .kind = OPT_INT,
     .min = 1,
     .max = INT64_MAX,
     .metavar = "N",
     .help = "stop after N records"},
    {.name = "partition",
     .letter = 'p',
     .kind = OPT_INT,
     .min = 0,
     .max = INT32_MAX,
     .metavar = "N",
     .repeats = true,
     .help = "only this partition"},
    {.name = "group",
     .letter = 'g',
     .kind = OPT_TEXT,
     .metavar = "GROUP",
     .help = "join this consumer group: it shares the partitions and keeps what is read"},
    {.name = "print",
     .kind = OPT_LIST,
     .choices = print_choices,
     .metavar = "FIELDS",
     .fallback = "value",
     .help = "fields of a line, in this order whatever order they are named in"},
    {.name = "separator",
     .kind = OPT_TEXT,
     .metavar = "TEXT",
     .help = "what stands between fields (default a tab); \\t, \\n, \\xhh stand for bytes"},
    {.name = "escape",
     .kind = OPT_CHOICE,
     .choices = escape_choices,
     .metavar = "WHEN",
     .fallback = "auto",
     .help = "print control characters and other bytes as \\xhh; auto is on a terminal"},
    {.name = "isolation",
     .kind = OPT_CHOICE,
     .choices = isolation_choices,
     .metavar = "LEVEL",
     .fallback = "read_committed",
     .help = "whether open and aborted transactions are shown"},
    {.name = "quiet", .letter = 'q', .kind = OPT_FLAG, .help = "count the records, print none"},
    OPT_PROPERTY,
};

/* ---- group ---- */

static const struct opt group_list_opts[] = {
    {.name = "state",
     .kind = OPT_LIST,
     .choices = state_choices,
     .metavar = "STATES",
     .help = "only groups in these states"},
    {.name = "type",
     .kind = OPT_LIST,
     .choices = type_choices,
     .metavar = "TYPES",
     .help = "only groups of these types"},
    {.name = "names", .kind = OPT_FLAG, .help = "only the names, one a line"},
};

static const struct opt group_describe_opts[] = {
    {.name = "members",
     .letter = 'm',
     .kind = OPT_FLAG,
     .help = "the members and what each has, in place of the partitions"},
};

static const struct opt group_lag_opts[] = {
    {.name = "by",
     .kind = OPT_CHOICE,
     .choices = by_choices,
     .metavar = "WHAT",
     .fallback = "group",
     .help = "what a row is about"},
    {.name = "window",
     .kind = OPT_DURATION,
     .metavar = "DURATION",
     .fallback = "2s",
     .help = "how long to look, for the rates; 0s is one look without rates"},
    {.name = "watch", .letter = 'w', .kind = OPT_FLAG, .help = "look again and again"},
    {.name = "interval",
     .kind = OPT_DURATION,
     .metavar = "DURATION",
     .fallback = "1s",
     .help = "how often, with --watch"},
    {.name = "count",
     .letter = 'n',
     .kind = OPT_INT,
     .min = 1,
     .max = INT64_MAX,
     .metavar = "N",
     .help = "stop after N looks, with --watch"},
};

static const struct opt group_seek_opts[] = {
    {.name = "to",
     .kind = OPT_POSITION,
     .metavar = "POSITION",
     .help = "where to go on: a POSITION as in consume"},
    {.name = "shift",
     .kind = OPT_INT,
     .min = -INT64_MAX,
     .max = INT64_MAX,
     .metavar = "N",
     .help = "so many records on, or back if negative"},
    {.name = "file",
     .kind = OPT_TEXT,
     .metavar = "FILE",
     .help = "lines TOPIC,PARTITION,OFFSET, as --export prints them"},
    {.name = "topic",
     .letter = 't',
     .kind = OPT_TEXT,
     .metavar = "TOPIC",
     .repeats = true,
     .help = "only this topic, or TOPIC:0,2 for some of its partitions; may be new to the group"},
    {.name = "execute", .kind = OPT_FLAG, .help = "do it; otherwise it is only shown"},
    {.name = "export",
     .kind = OPT_FLAG,
     .help = "print lines for --file; without a target, the offsets as they are"},
};

static const struct opt group_delete_opts[] = {
    {.name = "topic",
     .letter = 't',
     .kind = OPT_TEXT,
     .metavar = "TOPIC",
     .repeats = true,
     .help = "delete only the offsets of this topic"},
    {.name = "if-exists", .kind = OPT_FLAG, .help = "a group that does not exist is no failure"},
};

static const char group_lag_details[] =
    "Without a GROUP, of all groups. SECONDS is the age of the oldest record that is not read "
    "yet.\n"
    "The verdict is one of:\n"
    "  ok        nothing is unread, or nothing older than 10 s\n"
    "  behind    what is unread is older, but it is read\n"
    "  stalled   a member has the partition and did not get on for 10 s\n"
    "  stopped   something is unread and no member has the partition\n"
    "  rewound   the committed offset went back within the last minute";

static const char group_seek_details[] =
    "Shows, and with --execute sets, the offsets from which a group goes on. It must have no\n"
    "members then. Offsets are kept within the log. Without --topic and --file, all partitions\n"
    "that the group has offsets of.";

/* ---- log ---- */

static const struct opt log_dump_opts[] = {
    {.name = "records", .letter = 'r', .kind = OPT_FLAG, .help = "also the records of each batch"},
    {.name = "decode",
     .kind = OPT_CHOICE,
     .choices = decode_choices,
     .metavar = "KIND",
     .fallback = "auto",
     .help = "what the records are; auto goes by the name of the folder"},
};

static const struct opt log_repair_opts[] = {
    {.name = "apply", .kind = OPT_FLAG, .help = "do it; otherwise it is only said"},
    {.name = "drop-damaged",
     .kind = OPT_FLAG,
     .help = "give up batches that cannot be read; an empty one takes the place of each"},
};

static const struct opt log_verify_opts[] = {
    {.name = "shallow", .kind = OPT_FLAG, .help = "checksums and order only, no records"},
};

static const char log_details[] = "PATH is a file, the folder of a partition, or a folder of such "
                                  "folders. No broker is asked and\n"
                                  "none should run on the folder.";

static const char log_repair_details[] =
    "FOLDER is the folder of a partition, or a log folder with such folders. No broker may run on\n"
    "it. Without --apply everything is said and nothing changed. What is cut out of a file is "
    "kept\n"
    "beside it; indexes, snapshots and leader epochs that are wrong are built again. What a crash "
    "left\n"
    "only in the write-ahead log is put back.";

static const char consume_details[] =
    "A POSITION is one of:\n"
    "  beginning, end       of each partition\n"
    "  1234                 an offset\n"
    "  -10                  ten offsets before the end; 'consume TOPIC -10' is short for it\n"
    "  -1h                  an hour ago; units ms, s, m, h, d, w\n"
    "  2026-01-01T00:00     a time, in UTC unless it ends in a zone such as +01:00\n"
    "  @1767225600000       a time in milliseconds since 1970\n\n"
    "With --group reading goes on at the group's offsets, and what is printed is committed once a\n"
    "second; --from, beginning or end, is for partitions without an offset. Without --follow it\n"
    "ends where all is read that the group gives to this member.";

static const char produce_details[] =
    "With --input json a line is an object: {\"key\": \"a\", \"value\": \"b\", \"headers\": "
    "{\"h\": "
    "\"x\"},\n\"partition\": 0, \"timestamp\": 1767225600000}; each field may be left out. What\n"
    "'consume --format json' prints is such input, so that the two together copy a topic.";

static const char completion_details[] =
    "Put the output where the shell looks for it:\n"
    "  taffrail completion bash > /etc/bash_completion.d/taffrail\n"
    "  taffrail completion zsh > \"${fpath[1]}/_taffrail\"\n"
    "  taffrail completion fish > ~/.config/fish/completions/taffrail.fish";

#define OPTS(array)     .opts = (array), .opt_count = ARRAY_LEN(array)
#define OPERANDS(array) .operands = (array), .operand_count = ARRAY_LEN(array)

static const struct command commands[] = {
    {.noun = "serve",
     .summary = "Runs the broker",
     .details = serve_details,
     .run = serve_run,
     OPERANDS(serve_operand),
     OPTS(serve_opts),
     .has_no_output = true},
    {.noun = "topic",
     .verb = "create",
     .summary = "Creates topics",
     .run = topic_create_run,
     OPERANDS(new_topics_operand),
     OPTS(topic_create_opts),
     .is_client = true},
    {.noun = "topic",
     .verb = "list",
     .summary = "Lists the topics",
     .run = topic_list_run,
     OPTS(topic_list_opts),
     .is_client = true},
    {.noun = "topic",
     .verb = "describe",
     .summary = "Shows partitions, offsets, sizes and configs of topics",
     .run = topic_describe_run,
     OPERANDS(topics_operand),
     OPTS(topic_describe_opts),
     .is_client = true},
    {.noun = "topic",
     .verb = "alter",
     .summary = "Adds partitions to a topic, or changes its configs",
     .run = topic_alter_run,
     OPERANDS(topic_operand),
     OPTS(topic_alter_opts),
     .is_client = true},
    {.noun = "topic",
     .verb = "delete",
     .summary = "Deletes topics with all their records",
     .run = topic_delete_run,
     OPERANDS(topics_operand),
     OPTS(topic_delete_opts),
     .is_client = true},
    {.noun = "produce",
     .summary = "Writes records from standard input to a topic",
     .details = produce_details,
     .run = produce_run,
     OPERANDS(topic_operand),
     OPTS(produce_opts),
     .is_client = true},
    {.noun = "consume",
     .summary = "Prints the records of a topic",
     .details = consume_details,
     .run = consume_run,
     OPERANDS(topic_operand),
     OPTS(consume_opts),
     .is_client = true,
     .number_opt = "from"},
    {.noun = "group",
     .verb = "list",
     .summary = "Lists the groups",
     .run = group_list_run,
     OPTS(group_list_opts),
     .is_client = true},
    {.noun = "group",
     .verb = "describe",
     .summary = "Shows members, offsets and lag of groups",
     .run = group_describe_run,
     OPERANDS(groups_operand),
     OPTS(group_describe_opts),
     .is_client = true},
    {.noun = "group",
     .verb = "lag",
     .summary = "Shows how far groups are behind, and why",
     .details = group_lag_details,
     .run = group_lag_run,
     OPERANDS(any_groups_operand),
     OPTS(group_lag_opts),
     .is_client = true},
    {.noun = "group",
     .verb = "seek",
     .summary = "Sets where a group goes on reading",
     .details = group_seek_details,
     .run = group_seek_run,
     OPERANDS(group_operand),
     OPTS(group_seek_opts),
     .is_client = true},
    {.noun = "group",
     .verb = "delete",
     .summary = "Deletes groups, or offsets of theirs",
     .run = group_delete_run,
     OPERANDS(groups_operand),
     OPTS(group_delete_opts),
     .is_client = true},
    {.noun = "config",
     .verb = "list",
     .summary = "Lists what has configs",
     .run = config_list_run,
     OPERANDS(kind_operand),
     .is_client = true},
    {.noun = "config",
     .verb = "describe",
     .summary = "Shows configs and where their values come from",
     .details = config_details,
     .run = config_describe_run,
     OPERANDS(config_keys_operands),
     OPTS(config_describe_opts),
     .is_client = true},
    {.noun = "config",
     .verb = "set",
     .summary = "Sets configs",
     .details = config_details,
     .run = config_set_run,
     OPERANDS(config_set_operands),
     OPTS(config_change_opts),
     .is_client = true},
    {.noun = "config",
     .verb = "unset",
     .summary = "Takes configs back to their defaults",
     .details = config_details,
     .run = config_unset_run,
     OPERANDS(config_unset_operands),
     OPTS(config_change_opts),
     .is_client = true},
    {.noun = "cluster",
     .verb = "info",
     .summary = "Shows brokers, controller, quorum, features and log folders",
     .run = cluster_info_run,
     .is_client = true},
    {.noun = "log",
     .verb = "dump",
     .summary = "Prints what is in the files of a log folder",
     .details = log_details,
     .run = log_dump_run,
     OPERANDS(paths_operand),
     OPTS(log_dump_opts)},
    {.noun = "log",
     .verb = "verify",
     .summary = "Checks the files of a log folder",
     .details = log_details,
     .run = log_verify_run,
     OPERANDS(paths_operand),
     OPTS(log_verify_opts)},
    {.noun = "log",
     .verb = "repair",
     .summary = "Mends the files of partitions",
     .details = log_repair_details,
     .run = log_repair_run,
     OPERANDS(folders_operand),
     OPTS(log_repair_opts)},
    {.noun = "completion",
     .summary = "Prints the completion script of a shell",
     .details = completion_details,
     .run = completion_run,
     OPERANDS(shell_operand)},
    {.noun = "version", .summary = "Prints the version", .run = version_run},
};

static const struct noun nouns[] = {
    {"topic", "Topics"},
    {"group", "Consumer groups: members, offsets, lag"},
    {"config", "Configs of topics, brokers and groups"},
    {"cluster", "The cluster as a whole"},
    {"log", "Files of a log folder, without a broker"},
};

const struct command_table cli_commands = {
    .commands = commands,
    .command_count = ARRAY_LEN(commands),
    .nouns = nouns,
    .noun_count = ARRAY_LEN(nouns),
};
