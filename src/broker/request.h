/* One request on its way through the broker.
 *
 * It belongs to the shard that accepted its connection. A handler's begin finds the typed message
 * in `body`, fills `response`, and ends the request exactly once, at once or later, with one of
 * request_reply, request_end_silent and request_close. Its memory is the arena's; the received
 * bytes are there, too, or borrowed from `frame` until the end. While a message of it is out at
 * another shard, that shard may write what the message says, and use the arena if it alone has a
 * message. */
#ifndef BROKER_REQUEST_H
#define BROKER_REQUEST_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/list.h"
#include "base/pool.h"
#include "broker/shard.h"
#include "wire/api.h"
#include "wire/codec.h"
#include "wire/header.h"

struct conn;
struct request;

typedef void request_fn(struct request *req);

/* One row for each API that is served. */
struct handler {
    int16_t key;
    int16_t version_min; /* advertised */
    int16_t version_max;
    bool is_pipelined;  /* may begin while earlier requests of its kind are still under way */
    request_fn *begin;  /* ends the request now or later */
    request_fn *cancel; /* the connection is gone: end soon; NULL where requests are short */
    request_fn *yield;  /* another waits behind it: end soon if it only waits for news; or NULL */
};

enum request_state { REQUEST_RUNNING, REQUEST_REPLY, REQUEST_SILENT, REQUEST_CLOSE };

struct reply_holder {
    struct rbuf *buf;    /* one reference */
    struct shard *owner; /* whose pool it is from */
};

struct request {
    struct list link; /* conn->requests, in order of arrival */
    struct conn *conn;
    struct shard *shard;
    const struct handler *handler;
    const struct api_info *api;
    struct request_header header;
    struct rbuf *frame; /* one reference; NULL: a small one, which is in the arena */
    struct arena arena;
    void *body;     /* typed, decoded */
    void *response; /* typed, with the schema's defaults */
    void *own;      /* the handler's */
    enum request_state state;
    uint64_t begin_ns; /* io_now_ns when its frame was complete */
    uint32_t holds;    /* who still points here; freed at zero */
    bool is_cancelled;

    struct buf out;           /* the encoded reply with its length prefix */
    struct codec_part *parts; /* record batches, which the reply carries without a copy */
    size_t part_count;
    struct reply_holder *holders; /* buffers behind the parts */
    size_t holder_count, holder_cap;
    size_t sent; /* of out and parts together */
};

/* Largest memory that one request's decoded form and answer may take. */
#define REQUEST_ARENA_BYTES_MAX ((size_t)64 << 20)

/* Decodes a frame (without its length) and begins it; ERR_NOMEM, or ERR_MALFORMED with the reason
 * in `why`, where Kafka closes the connection. Takes a reference on the frame's buffer, or copies.
 */
enum err request_begin(struct conn *conn, struct rbuf *frame, struct slice bytes, char *why,
                       size_t why_size) MUST_USE;
/* The handler that would serve the frame; NULL if none does. */
const struct handler *request_peek_handler(struct slice bytes);

void request_reply(struct request *req);
/* The same in another version than the request came in. */
void request_reply_version(struct request *req, int16_t version);
/* Ends it without an answer (Produce with acks=0). */
void request_end_silent(struct request *req);
/* Ends it and the connection: what Kafka does where no answer could be understood. */
void request_close(struct request *req, const char *why);

/* Keeps the buffer, of the owner's pool, until the reply is sent. Takes the caller's reference. */
enum err request_keep_rbuf(struct request *req, struct shard *owner, struct rbuf *rbuf) MUST_USE;

void request_hold(struct request *req);
/* Frees the request when it has ended and nobody holds it. */
void request_release(struct request *req);

/* Zeroed memory from the request's arena; NULL when its limit is reached. */
void *request_array(struct request *req, size_t count, size_t size) MUST_USE;

#endif
