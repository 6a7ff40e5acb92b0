/* taffrail group lag: how far groups are behind, in records and seconds, and what that means.
 *
 * Samples are taken over a window, or for as long as it is watched; each opens its connections
 * anew, so that a broker may restart meanwhile. Partitions are remembered from sample to sample by
 * name; one row shows a partition, a topic or a group. */
#include <stdlib.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/hash.h"
#include "base/map.h"
#include "cli/group.h"
#include "cli/group_out.h"
#include "cli/group_view.h"
#include "cli/interrupt.h"
#include "cli/out.h"
#include "coord/lag.h"

#define TREND_SAMPLES 24
#define ROWS_MAX      100000 /* remembered partitions and rows, each */

enum by { BY_GROUP, BY_TOPIC, BY_PARTITION };

/* A row, or a partition that rows are made of; by its name. */
struct entry {
    struct str group, topic; /* owned, in one allocation; topic "" where it is a group's row */
    int32_t index;           /* -1: of a topic's or group's row */
    struct lag_watch watch;  /* a partition's */
    int64_t trend[TREND_SAMPLES];
    size_t trend_count; /* ever */
    uint64_t sample;    /* the one that it was seen in last */
    /* What the last sample says. */
    struct str state; /* the group's, in `text` */
    char state_text[32];
    int64_t messages, age_ms;
    double read_per_s, written_per_s;
    bool has_rates;
    size_t partition_count;
    struct lag_judgement judgement;
};

struct entry_key {
    struct str group, topic;
    int32_t index;
};

struct board {
    const struct args *args;
    enum by by;
    struct map partitions, rows;
    struct entry **order; /* rows of the last sample, in order */
    size_t row_count;
    uint64_t sample;
};

/* ---- entries ---- */

static bool entry_has_key(const void *entry, const void *key)
{
    const struct entry *own = entry;
    const struct entry_key *want = key;
    return own->index == want->index && str_eq(own->group, want->group) &&
           str_eq(own->topic, want->topic);
}

static struct entry *entry_get(struct map *map, struct str group, struct str topic, int32_t index)
{
    struct entry_key key = {group, topic, index};
    uint64_t hash = hash_u64(hash_str(hash_str(map->seed, group), topic), (uint32_t)index);
    struct entry *entry = map_find(map, hash, &key);
    if (entry || map->count >= ROWS_MAX)
        return entry;
    entry = calloc(1, sizeof(*entry) + group.len + topic.len + 1);
    if (!entry)
        client_out_of_memory();
    char *text = (char *)(entry + 1);
    memcpy(text, group.data, group.len);
    memcpy(text + group.len, topic.data, topic.len);
    entry->group = (struct str){text, group.len};
    entry->topic = (struct str){text + group.len, topic.len};
    entry->index = index;
    lag_watch_init(&entry->watch);
    if (map_insert(map, hash, entry) != ERR_OK)
        client_out_of_memory();
    return entry;
}

static void entries_free(struct map *map)
{
    struct map_iter iter;
    struct entry *entry;
    map_iter_init(&iter, map);
    while ((entry = map_iter_next(&iter)) != NULL)
        free(entry);
    map_deinit(map);
}

/* ---- a sample ---- */

/* Which of two verdicts is told of a row. */
static int gravity(enum lag_verdict verdict)
{
    static const int order[LAG_VERDICT_COUNT] = {
        [LAG_OK] = 0, [LAG_REWOUND] = 1, [LAG_BEHIND] = 2, [LAG_STOPPED] = 3, [LAG_STALLED] = 4};
    return order[verdict];
}

static void row_begin(struct board *board, struct entry *row, const struct group_view *view)
{
    if (row->sample == board->sample)
        return;
    row->sample = board->sample;
    row->messages = row->age_ms = GROUP_UNKNOWN;
    row->read_per_s = row->written_per_s = 0;
    row->has_rates = false;
    row->partition_count = 0;
    row->judgement = (struct lag_judgement){LAG_OK, "nothing is committed yet"};
    snprintf(row->state_text, sizeof(row->state_text), "%.*s", STR_ARG(view->state));
    row->state = str_of(row->state_text);
    board->order = realloc(board->order, (board->row_count + 1) * sizeof(struct entry *));
    if (!board->order)
        client_out_of_memory();
    board->order[board->row_count++] = row;
}

/* Adds a partition to its row. */
static void row_add(struct entry *row, const struct entry *partition,
                    const struct lag_judgement *judgement, int64_t age_ms)
{
    int64_t lag = lag_messages(partition->watch.committed, partition->watch.end);
    bool is_worse = row->partition_count == 0 ||
                    gravity(judgement->verdict) > gravity(row->judgement.verdict) ||
                    (judgement->verdict == row->judgement.verdict && age_ms > row->age_ms);
    if (lag != LAG_OFFSET_NONE)
        row->messages = (row->messages == GROUP_UNKNOWN ? 0 : row->messages) + lag;
    if (is_worse) {
        row->judgement.verdict = judgement->verdict;
        if (row->index >= 0 || judgement->verdict == LAG_OK)
            snprintf(row->judgement.reason, LAG_REASON_MAX, "%s", judgement->reason);
        else
            snprintf(row->judgement.reason, LAG_REASON_MAX, "%.*s-%d: %.100s",
                     STR_ARG(partition->topic), partition->index, judgement->reason);
    }
    if (age_ms > row->age_ms)
        row->age_ms = age_ms;
    row->read_per_s += partition->watch.read_per_s;
    row->written_per_s += partition->watch.written_per_s;
    row->has_rates = row->has_rates || partition->watch.has_rates;
    row->partition_count++;
}

static void take_group(struct board *board, const struct group_view *view)
{
    static const struct lag_rules rules = LAG_RULES_DEFAULT;
    int64_t now_ms = group_wall_ms();
    if (view->partition_count == 0 && board->by == BY_GROUP) {
        struct entry *row = entry_get(&board->rows, view->id, STR(""), -1);
        if (row)
            row_begin(board, row, view);
    }
    for (size_t i = 0; i < view->partition_count; i++) {
        const struct group_partition *in = &view->partitions[i];
        struct entry *own = entry_get(&board->partitions, view->id, in->topic, in->index);
        struct entry *row =
            entry_get(&board->rows, view->id, board->by >= BY_TOPIC ? in->topic : STR(""),
                      board->by == BY_PARTITION ? in->index : -1);
        if (!own || !row)
            continue;
        struct lag_judgement judgement;
        struct lag_facts facts = {in->begin, group_partition_age_ms(in, now_ms), in->owner != NULL};
        lag_watch_sample(&own->watch, clock_now_ms(), in->committed, in->end);
        lag_judge(&own->watch, &facts, &rules, &judgement);
        row_begin(board, row, view);
        row_add(row, own, &judgement, facts.oldest_ms);
    }
}

static int sample(struct board *board)
{
    const struct args *args = board->args;
    struct group_session session;
    struct group_listed *groups = NULL;
    size_t count = args->operand_count;
    board->sample++;
    board->row_count = 0;
    int failed = EXIT_FINE;
    int code = group_session_open(&session, args);
    if (!code && count == 0)
        code = group_list(&session, NULL, 0, NULL, 0, &groups, &count);
    for (size_t i = 0; !code && i < count; i++) {
        struct group_view view;
        struct str id = groups ? groups[i].id : str_of(args->operands[i]);
        /* A group that was listed may be gone; one that was named is missed once. */
        bool is_asked = !groups && board->sample == 1;
        int own = is_asked ? group_load(&session, id, GROUP_LOAD_TIMES, &view)
                           : group_load_quietly(&session, id, GROUP_LOAD_TIMES, &view);
        if (own == EXIT_FINE)
            take_group(board, &view);
        else if (is_asked)
            failed = failed ? failed : own;
        if (own == EXIT_UNREACHABLE)
            code = own;
    }
    group_session_close(&session);
    for (size_t i = 0; i < board->row_count; i++) {
        struct entry *row = board->order[i];
        row->trend[row->trend_count++ % TREND_SAMPLES] = row->messages < 0 ? 0 : row->messages;
    }
    return code ? code : failed;
}

/* ---- output ---- */

/* The last samples, oldest first, as bars against the largest. */
static void put_trend(struct grid *table, const struct entry *row)
{
    static const char *const bars[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    struct buf text;
    int64_t top = 1;
    size_t count = row->trend_count < TREND_SAMPLES ? row->trend_count : TREND_SAMPLES;
    buf_init(&text, BUF_NO_LIMIT);
    for (size_t i = 0; i < count; i++)
        top = row->trend[i] > top ? row->trend[i] : top;
    for (size_t i = 0; i < count; i++) {
        int64_t value = row->trend[(row->trend_count - count + i) % TREND_SAMPLES];
        size_t bar = (size_t)((double)value / (double)top * 7 + 0.5);
        buf_put(&text, bars[bar < 8 ? bar : 7], strlen(bars[0]));
    }
    group_put_str(table, (struct str){(const char *)text.data, text.len});
    buf_deinit(&text);
}

static void put_rate(struct grid *table, const struct entry *row, double rate)
{
    if (row->has_rates)
        grid_put(table, "%.0f", rate);
    else
        grid_put(table, "-");
}

static size_t choose_columns(const struct board *board, bool with_trend, struct column *columns)
{
    size_t count = 0;
    columns[count++] = (struct column){"GROUP", false};
    columns[count++] = (struct column){"STATE", false};
    if (board->by >= BY_TOPIC)
        columns[count++] = (struct column){"TOPIC", false};
    if (board->by == BY_PARTITION)
        columns[count++] = (struct column){"PARTITION", true};
    columns[count++] = (struct column){"LAG", true};
    columns[count++] = (struct column){"SECONDS", true};
    columns[count++] = (struct column){"READ/S", true};
    columns[count++] = (struct column){"WRITTEN/S", true};
    if (with_trend)
        columns[count++] = (struct column){"TREND", false};
    columns[count++] = (struct column){"VERDICT", false};
    columns[count++] = (struct column){"REASON", false};
    return count;
}

static void print_rows(const struct board *board, bool with_trend, struct buf *out)
{
    struct column columns[16];
    struct grid table;
    grid_init(&table, columns, choose_columns(board, with_trend, columns));
    for (size_t i = 0; i < board->row_count; i++) {
        const struct entry *row = board->order[i];
        group_put_str(&table, row->group);
        group_put_str(&table, row->state);
        if (board->by >= BY_TOPIC)
            group_put_str(&table, row->topic);
        if (board->by == BY_PARTITION)
            grid_put(&table, "%d", row->index);
        group_put_number(&table, row->messages);
        group_put_seconds(&table, row->age_ms);
        put_rate(&table, row, row->read_per_s);
        put_rate(&table, row, row->written_per_s);
        if (with_trend)
            put_trend(&table, row);
        grid_put(&table, "%s", lag_verdict_name(row->judgement.verdict));
        grid_put(&table, "%s", row->judgement.reason);
    }
    if (table.cell_count == 0)
        buf_printf(out, "no groups with offsets\n");
    grid_print(&table, out);
    grid_deinit(&table);
}

static json_t *rows_json(const struct board *board)
{
    json_t *json = json_array();
    for (size_t i = 0; i < board->row_count; i++) {
        const struct entry *row = board->order[i];
        json_t *own = json_pack(
            "{s:o, s:o, s:o, s:o, s:o, s:o, s:s, s:s}", "group", json_str(row->group), "state",
            json_str(row->state), "lag", group_number_json(row->messages), "lag_seconds",
            group_seconds_json(row->age_ms), "read_per_second",
            row->has_rates ? json_real(row->read_per_s) : json_null(), "written_per_second",
            row->has_rates ? json_real(row->written_per_s) : json_null(), "verdict",
            lag_verdict_name(row->judgement.verdict), "reason", row->judgement.reason);
        if (board->by >= BY_TOPIC)
            json_object_set_new(own, "topic", json_str(row->topic));
        if (board->by == BY_PARTITION)
            json_object_set_new(own, "partition", json_integer(row->index));
        else
            json_object_set_new(own, "partitions", json_integer((json_int_t)row->partition_count));
        json_array_append_new(json, own);
    }
    return json;
}

static int show(const struct board *board, bool is_watched)
{
    struct buf out;
    if (args_is_json(board->args) && !is_watched)
        return out_json(rows_json(board));
    buf_init(&out, BUF_NO_LIMIT);
    if (args_is_json(board->args)) {
        /* One line a sample. */
        json_t *json = rows_json(board);
        char *text = json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(15));
        if (!text)
            client_out_of_memory();
        buf_printf(&out, "%s\n", text);
        free(text);
        json_decref(json);
    } else {
        if (is_watched && isatty(STDOUT_FILENO))
            buf_printf(&out, "\x1b[H\x1b[2J");
        print_rows(board, is_watched, &out);
    }
    int code = out_buf(&out);
    buf_deinit(&out);
    return code;
}

/* ---- the command ---- */

/* False once it was interrupted. */
static bool wait_ms(int64_t ms)
{
    int64_t until_ms = clock_now_ms() + ms;
    while (!interrupt_is_set() && clock_now_ms() < until_ms) {
        int64_t left_ms = until_ms - clock_now_ms();
        usleep((useconds_t)(left_ms > 100 ? 100 : left_ms) * 1000);
    }
    return !interrupt_is_set();
}

/* Until it is interrupted, or --count samples were shown. What fails is said, and tried again. */
static int watch(struct board *board)
{
    const struct args *args = board->args;
    int64_t left = args_has(args, "count") ? args_number(args, "count") : INT64_MAX;
    do {
        int code = sample(board);
        if (code == EXIT_FINE || board->row_count)
            code = show(board, true);
        if (code && code != EXIT_UNREACHABLE)
            return code;
    } while (--left > 0 && wait_ms(args_number(args, "interval")));
    return interrupt_is_set() ? EXIT_INTERRUPTED : EXIT_FINE;
}

/* Twice, so that there are rates. */
static int look(struct board *board)
{
    int code = sample(board);
    if (code && board->row_count == 0)
        return code;
    if (args_number(board->args, "window") > 0) {
        if (!wait_ms(args_number(board->args, "window")))
            return EXIT_INTERRUPTED;
        int again = sample(board);
        code = code ? code : again;
    }
    int failed = show(board, false);
    return code ? code : failed;
}

int group_lag_run(const struct args *args)
{
    struct board board = {.args = args, .by = (enum by)args_number(args, "by")};
    map_init(&board.partitions, 1, entry_has_key);
    map_init(&board.rows, 2, entry_has_key);
    interrupt_catch();
    int code = args_has(args, "watch") ? watch(&board) : look(&board);
    entries_free(&board.partitions);
    entries_free(&board.rows);
    free(board.order);
    return code;
}
