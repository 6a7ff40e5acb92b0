/* taffrail log: what is in the files of a log folder, and whether it is sound. No broker. */
#ifndef CLI_LOG_H
#define CLI_LOG_H

#include "cli/args.h"

int log_dump_run(const struct args *args);
int log_verify_run(const struct args *args);

/* Unpacked records of one batch may take this much. */
#define LOG_BATCH_BYTES_MAX ((size_t)1 << 30)

#endif
