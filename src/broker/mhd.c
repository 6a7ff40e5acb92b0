/* The table of libmicrohttpd's functions; see mhd.h. */
#include "broker/mhd.h"

#include "base/bytes.h"
#include "base/diag.h"

/* As the linker would name it: the ABI that microhttpd.h belongs to. */
#define MHD_LIBRARY "libmicrohttpd.so.12"

struct mhd_functions mhd;

bool mhd_load(void)
{
    static const char *const names[] = {MHD_FUNCTIONS(LATE_NAME)};
    const char *why = late_load(MHD_LIBRARY, names, &mhd, ARRAY_LEN(names));
    if (why)
        diag_error("http",
                   "metrics.listeners: HTTP needs GNU libmicrohttpd, which cannot be loaded: %s; "
                   "install it (Debian and Ubuntu: the package libmicrohttpd12; Fedora: "
                   "libmicrohttpd) or remove the setting",
                   why);
    return !why;
}
