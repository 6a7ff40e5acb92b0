/* The bytes of the write-ahead log, as its writer and its reader share them; the rules: wal.c. */
#ifndef LOG_WAL_FORMAT_H
#define LOG_WAL_FORMAT_H

#include "base/bytes.h"
#include "io/io.h"

#define WAL_MAGIC       0x5446574cU /* "TFWL" */
#define WAL_VERSION     1
#define WAL_BLOCK_BYTES ((size_t)IO_DIRECT_ALIGN)

/* How far writes may run ahead of the oldest that is not done. */
#define WAL_WINDOW 2

/* A commit's header. */
enum {
    WAL_AT_MAGIC = 0,
    WAL_AT_CRC = 4,       /* CRC32C of all behind it, up to the commit's length */
    WAL_AT_VERSION = 8,   /* 1 byte, and three of zero */
    WAL_AT_LENGTH = 12,   /* of the commit, without what fills its last block */
    WAL_AT_RUN = 16,      /* a random number that each start draws */
    WAL_AT_SEQUENCE = 24, /* of this use of the file */
    WAL_AT_NUMBER = 32,   /* of the commit in its run, from 0 */
    WAL_AT_FIRST = 40,    /* number of the first commit of this use of the file */
    WAL_AT_COUNT = 48,    /* records */
    WAL_HEADER_BYTES = 52,
};

/* A record's header; the batches follow. */
enum {
    WAL_RECORD_AT_TOPIC = 0,
    WAL_RECORD_AT_PARTITION = 16,
    WAL_RECORD_AT_LENGTH = 20, /* of the batches */
    WAL_RECORD_AT_SEGMENT = 24,
    WAL_RECORD_AT_POSITION = 32,
    WAL_RECORD_HEADER_BYTES = 36,
};

static inline uint64_t wal_round_up(uint64_t len)
{
    return (len + WAL_BLOCK_BYTES - 1) / WAL_BLOCK_BYTES * WAL_BLOCK_BYTES;
}

#endif
