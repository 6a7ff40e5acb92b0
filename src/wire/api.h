/* The APIs of Kafka's protocol, from the schemas.
 *
 * This says what exists and how it is encoded; which of them a broker serves, and up to which
 * version, is its handler table's matter. */
#ifndef WIRE_API_H
#define WIRE_API_H

#include <stdbool.h>
#include <stdint.h>

#include "wire/codec.h"

struct api_info {
    int16_t key;
    const char *name; /* "Produce" */
    int16_t version_min, version_max;
    int16_t flexible_from; /* MSG_VERSION_NONE: never */
    bool broker;           /* offered on a broker's listeners */
    bool controller;       /* offered on a controller's listeners */
    const struct msg_schema *request;
    const struct msg_schema *response;
};

/* In the order of their keys. */
extern const struct api_info api_table[];
extern const int api_table_len;

/* NULL if there is no such API. */
const struct api_info *api_find(int16_t key);
/* "Unknown" if there is no such API. */
const char *api_name(int16_t key);

#endif
