/* Cells and JSON values of group commands. Main thread only. */
#include "cli/group_out.h"

#include <time.h>

int64_t group_wall_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t group_partition_age_ms(const struct group_partition *partition, int64_t now_ms)
{
    int64_t lag = group_partition_lag(partition);
    if (lag <= 0)
        return lag; /* 0, or not known */
    if (partition->oldest_ms < 0)
        return GROUP_UNKNOWN;
    return now_ms > partition->oldest_ms ? now_ms - partition->oldest_ms : 0;
}

void group_add_up(const struct group_partition *partitions, size_t count, int64_t now_ms,
                  struct group_sum *sum)
{
    *sum = (struct group_sum){GROUP_UNKNOWN, GROUP_UNKNOWN, 0};
    for (size_t i = 0; i < count; i++) {
        int64_t lag = group_partition_lag(&partitions[i]);
        int64_t age_ms = group_partition_age_ms(&partitions[i], now_ms);
        if (lag == GROUP_UNKNOWN)
            continue;
        sum->messages = (sum->messages == GROUP_UNKNOWN ? 0 : sum->messages) + lag;
        sum->behind_count += lag > 0;
        if (age_ms > sum->age_ms)
            sum->age_ms = age_ms;
    }
}

void group_print_sum(const struct group_sum *sum, struct buf *out)
{
    if (sum->messages == GROUP_UNKNOWN) {
        buf_printf(out, "not known: nothing is committed\n");
        return;
    }
    buf_printf(out, "%lld record%s", (long long)sum->messages, sum->messages == 1 ? "" : "s");
    if (sum->behind_count)
        buf_printf(out, " in %zu partition%s", sum->behind_count,
                   sum->behind_count == 1 ? "" : "s");
    if (sum->messages > 0 && sum->age_ms >= 0)
        buf_printf(out, ", the oldest %.1f s old", (double)sum->age_ms / 1000);
    buf_put_u8(out, '\n');
}

void group_put_str(struct grid *table, struct str text)
{
    if (text.len)
        grid_put(table, "%.*s", STR_ARG(text));
    else
        grid_put(table, "-");
}

void group_put_number(struct grid *table, int64_t number)
{
    if (number < 0)
        grid_put(table, "-");
    else
        grid_put(table, "%lld", (long long)number);
}

void group_put_seconds(struct grid *table, int64_t ms)
{
    if (ms < 0)
        grid_put(table, "-");
    else
        grid_put(table, "%.1f", (double)ms / 1000);
}

json_t *group_number_json(int64_t number)
{
    return number < 0 ? json_null() : json_integer(number);
}

json_t *group_seconds_json(int64_t ms)
{
    return ms < 0 ? json_null() : json_real((double)ms / 1000);
}
