/* A broken promise of our own: say where, and stop before it reaches a disk. */
#include "base/assert.h"

#include <stdio.h>
#include <stdlib.h>

_Noreturn void assert_fail(const char *expr, const char *file, int line)
{
    fprintf(stderr, "taffrail: %s:%d: assertion failed: %s\n", file, line, expr);
    abort();
}
