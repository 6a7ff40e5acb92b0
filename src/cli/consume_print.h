/* Records on their way to standard output: formatted, counted, and written in large pieces.
 *
 * Main thread. What goes wrong is said, and its exit code kept in `code`. */
#ifndef CLI_CONSUME_PRINT_H
#define CLI_CONSUME_PRINT_H

#include "cli/args.h"
#include "cli/record.h"
#include "cli/rk.h"

struct printer {
    const char *topic;
    struct record_format format;
    struct buf separator;          /* the bytes of format.separator */
    struct record_header *headers; /* owned: of the record being printed */
    size_t header_cap;
    struct buf out;
    bool is_quiet, is_json, wants_headers;
    bool is_closed; /* the reader of our output went away */
    int code;
    int64_t left; /* records still wanted; INT64_MAX: all */
    uint64_t records, bytes;
    int64_t began_ms;
};

/* By the command's --print, --separator, --escape, --quiet, --count and --format. */
void printer_init(struct printer *printer, const struct args *args);
void printer_deinit(struct printer *printer);

/* One more of those that are wanted. */
void printer_put(struct printer *printer, const rd_kafka_message_t *message);
/* Everything so far, to standard output. */
void printer_flush(struct printer *printer);

/* Whether more can be printed, and is wanted. */
bool printer_goes_on(const struct printer *printer);
/* How much it was; an exit code. */
int printer_summary(const struct printer *printer);

#endif
