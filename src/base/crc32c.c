/* CRC32C by ISA-L; see crc32c.h.
 *
 * ISA-L's function is the bare polynomial division: the inversions before and after, which the
 * usual definition has, are done here, and cancel out where one piece continues another. */
#include "base/crc32c.h"

#include <isa-l/crc.h>

/* ISA-L counts in int. */
#define PIECE_MAX ((size_t)1 << 30)

uint32_t crc32c(uint32_t crc, struct slice s)
{
    uint32_t state = ~crc;
    const uint8_t *at = s.data;
    for (size_t left = s.len; left > 0;) {
        size_t piece = left < PIECE_MAX ? left : PIECE_MAX;
        /* The cast is for a prototype that lacks const; nothing is written. */
        state = crc32_iscsi((unsigned char *)(uintptr_t)at, (int)piece, state);
        at += piece;
        left -= piece;
    }
    return ~state;
}
