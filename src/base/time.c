/* ISO 8601 times and durations with units; see time.h.
 *
 * Days and dates convert by the arithmetic of the proleptic Gregorian calendar, in eras of 400
 * years that begin on the first of March, so that the leap day is the last of its year. */
#include "base/time.h"

#include <stdio.h>

#include "base/assert.h"

#define SECOND_MS    INT64_C(1000)
#define MINUTE_MS    (60 * SECOND_MS)
#define HOUR_MS      (60 * MINUTE_MS)
#define DAY_MS       (24 * HOUR_MS)
#define WEEK_MS      (7 * DAY_MS)
#define ERA_DAYS     INT64_C(146097)
#define ERA_TO_EPOCH INT64_C(719468) /* days from 0000-03-01 to 1970-01-01 */

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

static int64_t days_of_date(int64_t year, int64_t month, int64_t day)
{
    year -= month <= 2;
    int64_t era = floor_div(year, 400);
    int64_t year_of_era = year - era * 400;
    int64_t day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * ERA_DAYS + day_of_era - ERA_TO_EPOCH;
}

static void date_of_days(int64_t days, int64_t *year, int64_t *month, int64_t *day)
{
    days += ERA_TO_EPOCH;
    int64_t era = floor_div(days, ERA_DAYS);
    int64_t day_of_era = days - era * ERA_DAYS;
    int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t month_from_march = (5 * day_of_year + 2) / 153;
    *day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    *month = month_from_march < 10 ? month_from_march + 3 : month_from_march - 9;
    *year = year_of_era + era * 400 + (*month <= 2);
}

void time_format(int64_t time_ms, char text[TIME_TEXT_MAX])
{
    int64_t days = floor_div(time_ms, DAY_MS);
    int64_t ms = (time_ms % DAY_MS + DAY_MS) % DAY_MS;
    int64_t year, month, day;
    date_of_days(days, &year, &month, &day);
    int len = snprintf(text, TIME_TEXT_MAX, "%s%04lld-%02d-%02dT%02d:%02d:%02d.%03dZ",
                       year < 0 ? "-" : "", (long long)(year < 0 ? -year : year), (int)month,
                       (int)day, (int)(ms / HOUR_MS), (int)(ms / MINUTE_MS % 60),
                       (int)(ms / SECOND_MS % 60), (int)(ms % SECOND_MS));
    ASSERT(len > 0 && len < TIME_TEXT_MAX);
}

/* What is left of a text while it is read. */
struct cursor {
    const char *at;
    const char *end;
};

static bool take_char(struct cursor *cursor, char c)
{
    if (cursor->at == cursor->end || *cursor->at != c)
        return false;
    cursor->at++;
    return true;
}

/* Exactly `count` digits. */
static bool take_digits(struct cursor *cursor, int count, int64_t *value)
{
    int64_t sum = 0;
    for (int i = 0; i < count; i++, cursor->at++) {
        if (cursor->at == cursor->end || *cursor->at < '0' || *cursor->at > '9')
            return false;
        sum = sum * 10 + (*cursor->at - '0');
    }
    *value = sum;
    return true;
}

static enum err parse_date(struct cursor *cursor, int64_t *days)
{
    static const uint8_t month_days[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int64_t year, month, day;
    if (!take_digits(cursor, 4, &year) || !take_char(cursor, '-') ||
        !take_digits(cursor, 2, &month) || !take_char(cursor, '-') || !take_digits(cursor, 2, &day))
        return ERR_MALFORMED;
    if (month < 1 || month > 12 || day < 1 || day > month_days[month - 1])
        return ERR_RANGE;
    bool is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    if (month == 2 && day == 29 && !is_leap)
        return ERR_RANGE;
    *days = days_of_date(year, month, day);
    return ERR_OK;
}

/* Digits after the point: any number of them, milliseconds kept. */
static bool take_fraction(struct cursor *cursor, int64_t *ms)
{
    int64_t unit = 100, sum = 0, digit;
    if (!take_digits(cursor, 1, &digit))
        return false;
    do {
        sum += digit * unit;
        unit /= 10;
    } while (cursor->at < cursor->end && take_digits(cursor, 1, &digit));
    *ms = sum;
    return true;
}

static enum err parse_clock(struct cursor *cursor, int64_t *ms)
{
    int64_t hour, minute, second = 0, fraction = 0;
    if (!take_digits(cursor, 2, &hour) || !take_char(cursor, ':') ||
        !take_digits(cursor, 2, &minute))
        return ERR_MALFORMED;
    if (take_char(cursor, ':')) {
        if (!take_digits(cursor, 2, &second))
            return ERR_MALFORMED;
        if (take_char(cursor, '.') && !take_fraction(cursor, &fraction))
            return ERR_MALFORMED;
    }
    if (hour > 23 || minute > 59 || second > 59)
        return ERR_RANGE;
    *ms = hour * HOUR_MS + minute * MINUTE_MS + second * SECOND_MS + fraction;
    return ERR_OK;
}

static enum err parse_zone(struct cursor *cursor, int64_t *east_ms)
{
    *east_ms = 0;
    if (cursor->at == cursor->end || take_char(cursor, 'Z'))
        return ERR_OK;
    bool west = take_char(cursor, '-');
    int64_t hour, minute;
    if (!west && !take_char(cursor, '+'))
        return ERR_MALFORMED;
    if (!take_digits(cursor, 2, &hour) || !take_char(cursor, ':') ||
        !take_digits(cursor, 2, &minute))
        return ERR_MALFORMED;
    if (hour > 18 || minute > 59)
        return ERR_RANGE;
    *east_ms = (hour * HOUR_MS + minute * MINUTE_MS) * (west ? -1 : 1);
    return ERR_OK;
}

enum err time_parse(struct str text, int64_t *time_ms)
{
    struct cursor cursor = {text.data, text.data + text.len};
    int64_t days, clock_ms = 0, east_ms = 0;
    TRY(parse_date(&cursor, &days));
    if (take_char(&cursor, 'T') || take_char(&cursor, ' ')) {
        TRY(parse_clock(&cursor, &clock_ms));
        TRY(parse_zone(&cursor, &east_ms));
    }
    if (cursor.at != cursor.end)
        return ERR_MALFORMED;
    *time_ms = days * DAY_MS + clock_ms - east_ms;
    return ERR_OK;
}

static const struct unit {
    const char *name;
    int64_t ms;
} units[] = {
    {"w", WEEK_MS}, {"d", DAY_MS}, {"h", HOUR_MS}, {"m", MINUTE_MS}, {"s", SECOND_MS}, {"ms", 1},
};

static const struct unit *take_unit(struct cursor *cursor)
{
    const char *start = cursor->at;
    while (cursor->at < cursor->end && *cursor->at >= 'a' && *cursor->at <= 'z')
        cursor->at++;
    struct str name = {start, (size_t)(cursor->at - start)};
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        if (str_eq_cstr(name, units[i].name))
            return &units[i];
    }
    return NULL;
}

enum err duration_parse(struct str text, int64_t *duration_ms)
{
    struct cursor cursor = {text.data, text.data + text.len};
    const struct unit *before = NULL;
    int64_t total = 0;
    bool overflow = false;
    do {
        int64_t number = 0, digit;
        if (!take_digits(&cursor, 1, &number))
            return ERR_MALFORMED;
        while (cursor.at < cursor.end && take_digits(&cursor, 1, &digit)) {
            overflow |= __builtin_mul_overflow(number, 10, &number);
            overflow |= __builtin_add_overflow(number, digit, &number);
        }
        const struct unit *unit = take_unit(&cursor);
        if (!unit || (before && unit <= before))
            return ERR_MALFORMED;
        before = unit;
        overflow |= __builtin_mul_overflow(number, unit->ms, &number);
        overflow |= __builtin_add_overflow(total, number, &total);
    } while (cursor.at < cursor.end);
    if (overflow)
        return ERR_RANGE;
    *duration_ms = total;
    return ERR_OK;
}

void duration_format(int64_t duration_ms, char text[DURATION_TEXT_MAX])
{
    uint64_t left = duration_ms < 0 ? 0 - (uint64_t)duration_ms : (uint64_t)duration_ms;
    int len = snprintf(text, DURATION_TEXT_MAX, "%s", duration_ms < 0 ? "-" : "");
    int parts = 0;
    /* From days down: a week is read, but people count days. */
    for (size_t i = 1; i < ARRAY_LEN(units) && parts < 2; i++) {
        uint64_t number = left / (uint64_t)units[i].ms;
        left %= (uint64_t)units[i].ms;
        bool is_last = i == ARRAY_LEN(units) - 1;
        if (number == 0 && !(is_last && parts == 0)) {
            parts += parts > 0;
            continue;
        }
        len += snprintf(text + len, (size_t)(DURATION_TEXT_MAX - len), "%llu%s",
                        (unsigned long long)number, units[i].name);
        ASSERT(len < DURATION_TEXT_MAX);
        parts++;
    }
}
