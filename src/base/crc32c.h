/* CRC32C (Castagnoli), the checksum of Kafka's record batches. */
#ifndef BASE_CRC32C_H
#define BASE_CRC32C_H

#include "base/bytes.h"

/* The checksum of what `crc` covers followed by `s`; 0 covers nothing. */
uint32_t crc32c(uint32_t crc, struct slice s);

#endif
