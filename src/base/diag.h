/* What the program says about itself: one line an event, to standard error.
 *
 *   2026-11-23T13:04:30.123Z WARN  listener: 3 more connections refused ...
 *
 * Any thread may call it: a line is one write(2). Pure modules do not call it; they return errors.
 */
#ifndef BASE_DIAG_H
#define BASE_DIAG_H

#include <stdbool.h>
#include <stdint.h>

enum diag_level { DIAG_DEBUG, DIAG_INFO, DIAG_WARN, DIAG_ERROR };

/* Lines below the level are dropped; DIAG_INFO at start. */
void diag_set_level(enum diag_level level);
bool diag_enabled(enum diag_level level);

/* `area` is the module that speaks; the message needs no newline and is one line: control
 * characters in it are escaped. */
void diag_line(enum diag_level level, const char *area, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#define diag_debug(area, ...)                         \
    do {                                              \
        if (diag_enabled(DIAG_DEBUG))                 \
            diag_line(DIAG_DEBUG, area, __VA_ARGS__); \
    } while (0)
#define diag_info(area, ...)  diag_line(DIAG_INFO, area, __VA_ARGS__)
#define diag_warn(area, ...)  diag_line(DIAG_WARN, area, __VA_ARGS__)
#define diag_error(area, ...) diag_line(DIAG_ERROR, area, __VA_ARGS__)

/* For events that a client can cause as often as it likes: at most `burst` lines in each period,
 * then a count. Embed one for each kind of event; owned by one thread. */
struct diag_rate {
    uint64_t period_start_ms;
    uint32_t said;
    uint64_t dropped;
};

#define DIAG_RATE_PERIOD_MS 10000
#define DIAG_RATE_BURST     5

/* True if the line may be said now; *dropped is how many were held back since the last one. */
bool diag_rate_allows(struct diag_rate *rate, uint64_t now_ms, uint64_t *dropped);

#endif
