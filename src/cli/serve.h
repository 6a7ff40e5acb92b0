/* `taffrail serve`: the broker as a process. */
#ifndef CLI_SERVE_H
#define CLI_SERVE_H

/* argv[0] is "serve". Returns the exit status: 0 after a clean stop, 1 where it could not start or
 * had to stop, 2 for wrong usage. */
int serve_main(int argc, char **argv);

#endif
