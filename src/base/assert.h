/* Assertions that stay on in release builds.
 *
 * They state what this program promises itself. Bytes from a client or a disk are never asserted
 * about: those get an error value. */
#ifndef BASE_ASSERT_H
#define BASE_ASSERT_H

#include <assert.h> /* static_assert */

_Noreturn void assert_fail(const char *expr, const char *file, int line);

#define ASSERT(expr)                                \
    do {                                            \
        if (__builtin_expect(!(expr), 0))           \
            assert_fail(#expr, __FILE__, __LINE__); \
    } while (0)

#define UNREACHABLE() assert_fail("unreachable", __FILE__, __LINE__)

#endif
