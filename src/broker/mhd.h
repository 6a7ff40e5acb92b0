/* GNU libmicrohttpd, loaded when a listener for metrics is configured.
 *
 * It brings the whole of GnuTLS with it: an idle broker holds 2.6 MB more, and takes longer to
 * start. Who has no such listener need not pay for that (base/late.h). Shard 0 only. */
#ifndef BROKER_MHD_H
#define BROKER_MHD_H

#include <microhttpd.h>
#include <stdbool.h>

#include "base/late.h"

#define MHD_FUNCTIONS(X)                 \
    X(MHD_, add_response_header)         \
    X(MHD_, create_response_from_buffer) \
    X(MHD_, destroy_response)            \
    X(MHD_, get_daemon_info)             \
    X(MHD_, get_timeout)                 \
    X(MHD_, queue_response)              \
    X(MHD_, resume_connection)           \
    X(MHD_, run)                         \
    X(MHD_, start_daemon)                \
    X(MHD_, stop_daemon)                 \
    X(MHD_, suspend_connection)

struct mhd_functions {
    MHD_FUNCTIONS(LATE_FUNCTION)
};

/* Filled by mhd_load. */
extern struct mhd_functions mhd;

/* False after saying what is missing. Again is harmless. */
bool mhd_load(void);

#endif
