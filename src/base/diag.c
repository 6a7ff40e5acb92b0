/* The program's own log lines; see diag.h. */
#include "base/diag.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define DIAG_LINE_MAX 2048

static _Atomic int level_min = DIAG_INFO;
static const char *const level_names[] = {"DEBUG", "INFO ", "WARN ", "ERROR"};

void diag_set_level(enum diag_level level)
{
    atomic_store_explicit(&level_min, (int)level, memory_order_relaxed);
}

bool diag_enabled(enum diag_level level)
{
    return (int)level >= atomic_load_explicit(&level_min, memory_order_relaxed);
}

static void escape_controls(char *text)
{
    for (; *text; text++) {
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            *text = '?';
    }
}

void diag_line(enum diag_level level, const char *area, const char *fmt, ...)
{
    if (!diag_enabled(level))
        return;
    char line[DIAG_LINE_MAX];
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    struct tm utc;
    gmtime_r(&now.tv_sec, &utc);
    size_t len = strftime(line, sizeof(line), "%Y-%m-%dT%H:%M:%S", &utc);
    len +=
        (size_t)snprintf(line + len, sizeof(line) - len,
                         ".%03dZ %s %s: ", (int)(now.tv_nsec / 1000000), level_names[level], area);
    va_list args;
    va_start(args, fmt);
    vsnprintf(line + len, sizeof(line) - len - 1, fmt, args);
    va_end(args);
    escape_controls(line + len);
    len += strlen(line + len);
    line[len++] = '\n';
    ssize_t written = write(STDERR_FILENO, line, len);
    (void)written; /* nobody is left to tell */
}

bool diag_rate_allows(struct diag_rate *rate, uint64_t now_ms, uint64_t *dropped)
{
    if (now_ms - rate->period_start_ms >= DIAG_RATE_PERIOD_MS) {
        rate->period_start_ms = now_ms;
        rate->said = 0;
    }
    if (rate->said >= DIAG_RATE_BURST) {
        rate->dropped++;
        return false;
    }
    rate->said++;
    *dropped = rate->dropped;
    rate->dropped = 0;
    return true;
}
