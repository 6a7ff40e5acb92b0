/* Java's .properties text: `key=value` lines with comments, continued lines and escapes. */
#ifndef BROKER_PROPERTIES_H
#define BROKER_PROPERTIES_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/bytes.h"
#include "base/err.h"

struct property {
    struct str key;
    struct str value;
    size_t line; /* where it begins; the first is 1 */
};

struct properties {
    struct property *items; /* in the order of the text; a key may come again: the last counts */
    size_t count;
    size_t cap;
};

/* Keys and values live in the arena. ERR_MALFORMED (a broken \u escape): *error_line says where. */
enum err properties_parse(struct str text, struct arena *arena, struct properties *properties,
                          size_t *error_line) MUST_USE;
/* The last value of a key; null if there is none. */
struct str properties_get(const struct properties *properties, const char *key);
/* One line, escaped so that it reads back. */
void properties_put(struct buf *buf, struct str key, struct str value);

#endif
