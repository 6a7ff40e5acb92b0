/* Kafka's error codes: the numbers that travel in responses, their names, and how they meet
 * enum err. Handlers turn an enum err into a code; clients (command line, simulator) go back. */
#ifndef WIRE_ERRORS_H
#define WIRE_ERRORS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/* The code for any enum err. Causes of our own that Kafka has no word for become the nearest one:
 * disk trouble is KAFKA_STORAGE_ERROR, malformed input INVALID_REQUEST, the rest
 * UNKNOWN_SERVER_ERROR. */
int16_t wire_code_of_err(enum err err);
/* ERR_UNKNOWN_SERVER_ERROR for a code that is not known. */
enum err wire_err_of_code(int16_t code);
/* Kafka's name of a code, "NONE" for 0; "UNKNOWN" for a code that is not known. */
const char *wire_code_name(int16_t code);
/* Whether Kafka's clients try again after this code. */
bool wire_code_is_retriable(int16_t code);

#endif
