/* A shared library that is loaded when it is first needed, not with the program.
 *
 * For what most runs never use: each library that comes with the program costs every start time and
 * memory, and so does each that it needs in turn. Its header is used as always; its functions are
 * called through a table of pointers, of the types that the header declares. For a list of
 * functions X(prefix, name), LATE_FUNCTION makes the table's members and LATE_NAME their names. */
#ifndef BASE_LATE_H
#define BASE_LATE_H

#include <stddef.h>

#define LATE_FUNCTION(prefix, name) __typeof__(prefix##name) *name;
#define LATE_NAME(prefix, name)     #prefix #name,

/* Loads `file` for the rest of the process's life and fills a table of `count` functions with what
 * it has of those names. NULL, or why it cannot be used: a text that lasts until the next call.
 * One thread at a time. */
const char *late_load(const char *file, const char *const names[], void *table, size_t count);

#endif
