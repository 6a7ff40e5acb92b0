/* `taffrail serve`: the broker as a process. */
#ifndef CLI_SERVE_H
#define CLI_SERVE_H

#include "cli/args.h"

/* Returns the exit status: 0 after a clean stop, 1 where it could not start or had to stop. */
int serve_run(const struct args *args);

#endif
