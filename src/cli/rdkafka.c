/* The table of librdkafka's functions; see rdkafka.h. */
#include "cli/rdkafka.h"

#include "base/bytes.h"
#include "cli/out.h"

/* As the linker would name it: the ABI that rdkafka.h belongs to. */
#define RDKAFKA_LIBRARY "librdkafka.so.1"

struct rdkafka_functions rdkafka;

int rdkafka_load(void)
{
    static const char *const names[] = {RDKAFKA_FUNCTIONS(LATE_NAME)};
    const char *why = late_load(RDKAFKA_LIBRARY, names, &rdkafka, ARRAY_LEN(names));
    if (!why)
        return EXIT_FINE;
    return out_fail(EXIT_REFUSED,
                    "this command needs librdkafka, which cannot be loaded: %s; install it (Debian "
                    "and Ubuntu: the package librdkafka1; Fedora: librdkafka)",
                    why);
}
