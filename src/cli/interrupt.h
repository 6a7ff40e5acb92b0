/* Ctrl-C and SIGTERM as a flag, so that a command can end cleanly and say how far it came. A second
 * one ends the program at once. */
#ifndef CLI_INTERRUPT_H
#define CLI_INTERRUPT_H

#include <stdbool.h>
#include <stdint.h>

void interrupt_catch(void);
bool interrupt_is_set(void);

/* Milliseconds of a clock that never jumps. */
int64_t clock_now_ms(void);

#endif
