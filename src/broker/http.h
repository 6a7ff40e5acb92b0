/* The HTTP listener for operators: /metrics, /healthz, /readyz.
 *
 * Belongs to shard 0. GNU libmicrohttpd speaks HTTP over its own epoll set, which the shard's loop
 * watches as it watches a socket: no thread, no lock. An answer that needs other shards suspends
 * its connection until their messages are back. */
#ifndef BROKER_HTTP_H
#define BROKER_HTTP_H

#include <stdbool.h>

#include "base/err.h"

struct http;
struct node;

/* Listens where metrics.listeners says; *http is NULL where it says nothing. Says why if it fails.
 */
enum err http_open(struct http **http, struct node *node) MUST_USE;
/* From now on nothing asks other shards. NULL is harmless, here and below. */
void http_drain(struct http *http);
/* Nothing of it is with another shard. */
bool http_is_idle(const struct http *http);
/* Ends every connection. It must be idle. */
void http_close(struct http *http);

#endif
