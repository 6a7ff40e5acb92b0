/* taffrail log: what is in the files of a log folder, and whether it is sound. No broker. */
#ifndef CLI_LOG_H
#define CLI_LOG_H

#include <jansson.h>

#include "cli/args.h"

int log_dump_run(const struct args *args);
int log_verify_run(const struct args *args);
int log_repair_run(const struct args *args);

struct logfile;
/* What `log verify` finds in one file, an array of objects; says nothing. */
json_t *log_verify_problems(const struct logfile *file);

struct io;
/* Makes all files of a partition's folder anew but its segments, whose batches must be sound.
 * `parent` is the log folder. An exit code, said on standard error. */
int log_rebuild(struct io *io, const char *folder, const char *parent);

/* Unpacked records of one batch may take this much. */
#define LOG_BATCH_BYTES_MAX ((size_t)1 << 30)

#endif
