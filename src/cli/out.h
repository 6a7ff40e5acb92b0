/* What the commands say: aligned tables or JSON on standard output, troubles on standard error, and
 * the exit codes that scripts can use. */
#ifndef CLI_OUT_H
#define CLI_OUT_H

#include <jansson.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/bytes.h"

enum exit_code {
    EXIT_FINE = 0,
    EXIT_REFUSED = 1,       /* the cluster refused or failed */
    EXIT_USAGE = 2,         /* wrong arguments */
    EXIT_UNREACHABLE = 3,   /* no broker answers */
    EXIT_NOT_FOUND = 4,     /* what was named does not exist */
    EXIT_INTERRUPTED = 130, /* Ctrl-C before the end */
};

/* One line "taffrail: ..." on standard error; returns the code. The text says what to do. */
int out_fail(enum exit_code code, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* A remark on standard error, where it does not disturb the data. */
void out_note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Prints and releases a JSON document with a newline. EXIT_FINE, or EXIT_REFUSED when standard
 * output cannot be written. */
int out_json(json_t *doc);
/* Prints a buffer to standard output; same results. A closed pipe is not a failure. */
int out_buf(const struct buf *buf);
/* One of the two, as the command was asked for; takes both. Same results. */
int out_either(bool is_json, json_t *doc, struct buf *text);
/* All of the bytes to standard output. ERR_CLOSED: its reader went away. ERR_IO: errno says why. */
enum err out_write(struct slice bytes) MUST_USE;
json_t *json_str(struct str s); /* null for a null string; invalid UTF-8 is escaped */

/* ---- text ---- */

/* Printable UTF-8 as it is; backslash, control characters and other bytes as \\, \n, \t, \xhh. */
void put_escaped(struct buf *buf, struct slice s);
/* The reverse, as people write it in an option: unknown escapes stay as they are. */
void put_unescaped(struct buf *buf, const char *text);
/* A JSON string with its quotes; `s` must be valid UTF-8. */
void put_json_string(struct buf *buf, struct slice s);
void put_base64(struct buf *buf, struct slice s);
/* Standard base64 with padding, appended to buf; ERR_MALFORMED leaves it partly written. */
enum err base64_decode(struct buf *buf, struct str text) MUST_USE;
/* "0 B", "999 B", "1.2 KiB", "3.0 GiB". */
#define SIZE_TEXT_MAX 16
void size_format(uint64_t size_bytes, char text[SIZE_TEXT_MAX]);

/* ---- tables ---- */

struct column {
    const char *title;
    bool is_number; /* aligned right */
};

/* Rows collected, then printed with aligned columns; without rows, nothing is printed. */
struct grid {
    const struct column *columns;
    size_t column_count;
    char **cells; /* owned, row by row */
    size_t cell_count, cell_cap;
};

void grid_init(struct grid *table, const struct column *columns, size_t column_count);
void grid_deinit(struct grid *table);
/* The next cell of the current row; control characters are escaped. */
void grid_put(struct grid *table, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void grid_print(const struct grid *table, struct buf *out);

#endif
