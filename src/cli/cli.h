/* The command line: everything that `taffrail` does begins here. */
#ifndef CLI_CLI_H
#define CLI_CLI_H

/* Runs the command that the arguments name; returns the exit code. */
int cli_main(int argc, char **argv);

#endif
